//! Programs that carry a TLS library of their own and name nothing: each exchange must be seen as its server received it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use agent_tests::compare::{self, End};
use agent_tests::peers::{World, packages, script};
use agent_tests::{each_client, json_lines, program};

/// A program, the library that it carries, and how many exchanges it makes at least.
struct Stack {
    name: &'static str,
    source: &'static str,
    exchanges: usize,
    client: fn(&World) -> Command,
    /// The file with the library.
    carrier: fn() -> PathBuf,
    /// Some fail by design: a stand-in is no model.
    must_succeed: bool,
}

/// Small enough for every run.
const SMALL: [Stack; 3] = [
    Stack {
        name: "openssl_static_stripped",
        source: "openssl",
        exchanges: 12,
        client: openssl_static,
        carrier: || packages().join("openssl-static/client"),
        must_succeed: true,
    },
    Stack {
        name: "curl_cffi",
        source: "boringssl",
        exchanges: 12,
        client: |world| world.python("clients/cffi.py"),
        carrier: || library("curl_cffi/_wrapper.abi3.so"),
        must_succeed: true,
    },
    Stack {
        name: "rustls_ring_stripped",
        source: "rustls",
        exchanges: 12,
        client: rustls_ring,
        carrier: || packages().join("rustls-ring/release/rustls-client"),
        must_succeed: true,
    },
];

const LARGE: [Stack; 7] = [
    Stack {
        name: "bun_fetch",
        source: "boringssl",
        exchanges: 12,
        client: bun,
        carrier: || node_program("@oven/bun-linux-x64/bin/bun"),
        must_succeed: true,
    },
    Stack {
        name: "opencode_as_bun",
        source: "boringssl",
        exchanges: 12,
        client: opencode,
        carrier: || node_program("opencode-linux-x64/bin/opencode"),
        must_succeed: true,
    },
    Stack {
        name: "deno_fetch",
        source: "rustls",
        exchanges: 12,
        client: deno,
        carrier: || node_program("@deno/linux-x64-glibc/deno"),
        must_succeed: true,
    },
    Stack {
        name: "uv_index",
        source: "rustls",
        exchanges: 2,
        client: uv,
        carrier: || packages().join("stacks-venv/bin/uv"),
        must_succeed: true,
    },
    Stack {
        name: "codex_exec",
        source: "rustls",
        exchanges: 1,
        client: codex,
        carrier: || node_program(CODEX),
        must_succeed: false,
    },
    Stack {
        name: "go",
        source: "go",
        exchanges: 12,
        client: |world| go(world, "client"),
        carrier: || packages().join("go/client"),
        must_succeed: true,
    },
    Stack {
        name: "go_stripped",
        source: "go",
        exchanges: 12,
        client: |world| go(world, "client-stripped"),
        carrier: || packages().join("go/client-stripped"),
        must_succeed: true,
    },
];

const CODEX: &str = "codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex";

/// A file of a Python package of the clients' environment.
fn library(name: &str) -> PathBuf {
    let versions = fs::read_dir(packages().join("venv/lib")).expect("`cargo xtask test` made it");
    let version = versions.flatten().next().expect("it has one version");
    version.path().join("site-packages").join(name)
}

fn openssl_static(world: &World) -> Command {
    let mut client = world.client(packages().join("openssl-static/client"));
    client.arg(world.port().to_string()).arg(world.path("ca.pem"));
    client
}

fn rustls_ring(world: &World) -> Command {
    world.client(packages().join("rustls-ring/release/rustls-client"))
}

fn node_program(name: &str) -> PathBuf {
    packages().join("stacks-node/node_modules").join(name)
}

fn bun(world: &World) -> Command {
    let mut client = world.client(node_program("@oven/bun-linux-x64/bin/bun"));
    client.arg(script("clients/fetch.mjs"));
    client
}

/// A program that was compiled with Bun is Bun.
fn opencode(world: &World) -> Command {
    let mut client = world.client(node_program("opencode-linux-x64/bin/opencode"));
    client.env("BUN_BE_BUN", "1").arg(script("clients/fetch.mjs"));
    client
}

fn deno(world: &World) -> Command {
    let mut client = world.client(node_program("@deno/linux-x64-glibc/deno"));
    client.args(["run", "-A", "--no-config", "--cert"]).arg(world.path("ca.pem")).arg(script("clients/fetch.mjs"));
    client.env("DENO_DIR", world.path("deno"));
    client
}

fn uv(world: &World) -> Command {
    let mut client = world.client(packages().join("stacks-venv/bin/uv"));
    client.args(["pip", "install", "--no-cache", "--no-config", "--python", "python3", "--target"]).arg(world.path("target"));
    client.args(["--index-url", &format!("{}/simple/", world.url()), "agentward-nothing"]);
    client
}

/// Its model is the stand-in, which does not know the call: Codex gives up, and what it asked is an exchange.
fn codex(world: &World) -> Command {
    let home = world.path("codex-home");
    fs::create_dir_all(&home).expect("the scratch folder is writable");
    let provider = format!(
        "model = \"stand-in\"\nmodel_provider = \"standin\"\n[model_providers.standin]\nname = \"standin\"\nbase_url = \"{}/v1\"\n\
         wire_api = \"responses\"\nenv_key = \"OPENAI_API_KEY\"\nrequest_max_retries = 1\nstream_max_retries = 0\n",
        world.url()
    );
    fs::write(home.join("config.toml"), provider).expect("the scratch folder is writable");
    let mut client = world.client(node_program(CODEX));
    client.env("CODEX_HOME", &home).env("CODEX_CA_CERTIFICATE", world.path("ca.pem"));
    client.args(["exec", "--skip-git-repo-check", "Say hello."]);
    client
}

fn go(world: &World, name: &str) -> Command {
    world.client(packages().join("go").join(name))
}

fn check(stack: &Stack) {
    let world = World::start(stack.name);
    let mut client = (stack.client)(&world);
    let file = world.path("recording.jsonl");
    // Nothing is known of a program before it first runs, unless it is named.
    let config = world.path("agentward.toml");
    fs::write(&config, format!("[capture]\nprograms = [{:?}]\n", (stack.carrier)())).expect("the scratch folder is writable");
    let config = config.to_str().expect("test files have plain names");
    program::record(&file, &["--scope", "all", "--config", config], || {
        let done = client.output().unwrap_or_else(|error| panic!("{client:?}: {error}"));
        let words = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success() || !stack.must_succeed, "{client:?}: {}: {words}", done.status);
    });
    let ledger = world.ledger();
    assert!(ledger.len() >= stack.exchanges, "the client made {} exchanges only", ledger.len());
    let recording = json_lines(&fs::read_to_string(&file).expect("the recorder wrote it"));
    compare::check_programs(&ledger, &recording);
    compare::check(&ledger, &program::replay(&file, "exchanges", &["--reveal"]), End::Client);
    let pid = &ledger[0]["client"]["pid"];
    let other = recording.iter().find(|row| row["kind"] == "chunk" && row["pid"] == *pid && row["source"] != stack.source);
    assert!(other.is_none_or(|row| row["source"] == "plain" || row["source"] == "stdio"), "read elsewhere: {other:?}");
    eprintln!("{}: {} exchanges made, as many seen, bodies equal, read in {}", stack.name, ledger.len(), stack.source);
}

fn check_all(stacks: &[Stack]) {
    each_client(stacks, |stack| stack.name, check);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn small_stacks_without_symbols_are_read() {
    check_all(&SMALL);
}

#[test]
#[ignore = "needs root and 700 MB of programs: cargo xtask test --only stacks"]
fn every_stack_is_read() {
    check_all(&SMALL);
    check_all(&LARGE);
}
