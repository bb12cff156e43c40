//! The matrix: one client a row, whose exchanges must be seen as its server received them.

use std::fs;
use std::process::Command;

use agent_tests::compare::{self, End};
use agent_tests::peers::{World, finish};
use agent_tests::{each_client, json_lines, program};

/// A client, and how many exchanges it makes at least (so that an idle client is no success).
struct Case {
    name: &'static str,
    exchanges: usize,
    client: fn(&World) -> Command,
}

const CASES: [Case; 11] = [
    Case { name: "curl", exchanges: 9, client: curl },
    Case { name: "git", exchanges: 2, client: git },
    Case { name: "wget", exchanges: 5, client: wget },
    Case { name: "python_openai", exchanges: 12, client: |world| world.python("clients/openai_sync.py") },
    Case { name: "python_openai_asyncio", exchanges: 16, client: |world| world.python("clients/openai_async.py") },
    Case { name: "python_anthropic", exchanges: 10, client: |world| world.python("clients/anthropic_both.py") },
    Case { name: "node_fetch", exchanges: 12, client: |world| world.node("fetch.mjs") },
    Case { name: "node_openai", exchanges: 6, client: |world| world.node("openai.mjs") },
    Case { name: "python_mcp_http", exchanges: 4, client: |world| world.python("clients/mcp_http.py") },
    Case { name: "python_mapped", exchanges: 1, client: mapped },
    Case { name: "node_mcp_http", exchanges: 5, client: |world| world.node("mcp_sdk.mjs") },
];

/// Every size class, both directions, codings, framings, bodiless answers.
fn curl(world: &World) -> Command {
    let url = world.url();
    fs::write(world.path("upload"), vec![0xA5; 300_001]).expect("the scratch folder is writable");
    let mut curl = world.client("curl");
    curl.args(["-sS", "--http1.1"]);
    for ask in ["n=0", "n=1", "n=16384", "n=1000000", "n=70000&gzip=1", "n=50000&chunked=1", "status=204"] {
        curl.args(["-o", "/dev/null", &format!("{url}/echo?{ask}")]);
    }
    curl.args(["--next", "-sS", "--http1.1", "--data-binary", "@upload", "-o", "/dev/null", &format!("{url}/echo?n=100")]);
    curl.args(["--next", "-sS", "--http1.1", "--head", "-o", "/dev/null", &format!("{url}/echo?n=100")]);
    curl
}

/// A clone over the smart protocol, by GnuTLS.
fn git(world: &World) -> Command {
    let git = |words: &[&str]| {
        let mut git = world.client("git");
        git.args(["-c", "user.name=t", "-c", "user.email=t@example.com"]).args(words);
        finish(git);
    };
    git(&["init", "-q", "work"]);
    fs::write(world.path("work/file"), (0..400_000u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>()).expect("writable");
    git(&["-C", "work", "add", "file"]);
    git(&["-C", "work", "commit", "-q", "-m", "one"]);
    git(&["clone", "-q", "--bare", "work", "repo.git"]);
    let mut clone = world.client("git");
    clone.args(["clone", "-q", &format!("{}/git/repo.git", world.url()), "clone"]);
    clone
}

fn wget(world: &World) -> Command {
    let url = world.url();
    fs::write(world.path("upload"), vec![0x5A; 200_000]).expect("the scratch folder is writable");
    let mut wget = world.client("wget");
    wget.arg("-q").arg("-O/dev/null").arg("--ca-certificate").arg(world.path("ca.pem"));
    wget.args(["--post-file", "upload"]);
    wget.args(["n=0", "n=1", "n=16385", "n=500000", "n=30000&chunked=1"].map(|ask| format!("{url}/echo?{ask}")));
    wget
}

/// A body whose pages are not in the client's memory when it is written.
fn mapped(world: &World) -> Command {
    fs::write(world.path("upload"), vec![0xC3; 300_000]).expect("the scratch folder is writable");
    let mut client = world.python("clients/cold.py");
    client.arg("upload");
    client
}

fn check(case: &Case, scope: &str) {
    let world = World::start(case.name);
    let client = (case.client)(&world);
    let before = world.ledger().len();
    let file = world.path("recording.jsonl");
    program::record(&file, &["--scope", scope], || finish(client));
    let ledger = world.ledger().split_off(before);
    assert!(ledger.len() >= case.exchanges, "the client made {} exchanges only", ledger.len());
    compare::check_programs(&ledger, &json_lines(&fs::read_to_string(&file).expect("the recorder wrote it")));
    let exchanges = program::replay(&file, "exchanges", &["--reveal"]);
    compare::check(&ledger, &exchanges, End::Client);
    for exchange in exchanges.iter().filter(|exchange| ledger.iter().any(|row| row["client"]["pid"] == exchange["pid"])) {
        assert_eq!(exchange["sni"], "localhost", "the name that the client asks for: {exchange}");
    }
    eprintln!("{}: {} exchanges made, as many seen, bodies equal", case.name, ledger.len());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn exchanges_are_seen_as_their_server_received_them() {
    each_client(&CASES, |case| case.name, |case| check(case, "all"));
}
