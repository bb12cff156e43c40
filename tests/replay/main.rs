//! Recordings through the built program: the same bytes every time, in the contract's shape, equal to the goldens; and what is
//! said of input that cannot be used. No root, no kernel. `AGENTWARD_UPDATE=1` rewrites the goldens.

mod conformance;
mod public;
mod refused;
mod secrets;

use std::fs;
use std::path::PathBuf;

use agent_tests::Scratch;
use agent_tests::program::{agentward, binary, replay, root};
use agent_tests::shape;
use agent_tests::{compare, json_lines};
use serde_json::json;

/// Real recordings of the demo's agent; processes and paths are made up.
const RECORDINGS: [&str; 2] = ["honest-run", "bad-run"];

fn data(name: &str) -> PathBuf {
    root().join("tests/data").join(name)
}

/// `cargo test` in a fresh checkout has no program yet; `cargo xtask test` builds it first and sets the variable.
fn built() -> bool {
    let there = binary().exists();
    assert!(there || std::env::var_os("AGENTWARD_BIN").is_none(), "{} is missing", binary().display());
    if !there {
        eprintln!("left out: no built program; `cargo xtask test` builds it first");
    }
    there
}

fn printed(file: &str, emit: &str) -> String {
    let done = agentward(["replay", file, "--emit", emit, "--format", "json"]);
    assert!(done.status.success(), "{file} {emit}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("JSON is UTF-8")
}

#[test]
fn exchanges_are_those_of_the_goldens() {
    if !built() {
        return;
    }
    for name in RECORDINGS {
        let golden = data(&format!("{name}.exchanges.jsonl"));
        let seen = printed(data(&format!("{name}.jsonl")).to_str().expect("plain name"), "exchanges");
        if std::env::var_os("AGENTWARD_UPDATE").is_some() {
            fs::write(&golden, &seen).expect("the checkout is writable");
        }
        let wanted = fs::read_to_string(&golden).unwrap_or_else(|error| panic!("{}: {error}", golden.display()));
        for (number, (wanted, seen)) in wanted.lines().zip(seen.lines()).enumerate() {
            assert_eq!(wanted, seen, "{name}, exchange {}", number + 1);
        }
        assert_eq!(wanted.lines().count(), seen.lines().count(), "{name}");
    }
}

#[test]
fn both_encodings_print_the_same_bytes_every_time() {
    if !built() {
        return;
    }
    let scratch = Scratch::new("encodings");
    for name in RECORDINGS {
        let lines = data(&format!("{name}.jsonl"));
        let packed = scratch.path(&format!("{name}.awr"));
        let (lines, packed) = (lines.to_str().expect("plain name"), packed.to_str().expect("plain name"));
        let done = agentward(["record", "convert", lines, packed]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        for emit in ["exchanges", "actions", "workflows", "alerts"] {
            let first = printed(lines, emit);
            assert_eq!(first, printed(lines, emit), "{name} {emit}, twice");
            assert_eq!(first, printed(packed, emit), "{name} {emit}, packed");
        }
    }
}

#[test]
fn what_is_printed_has_the_contracts_shape() {
    if !built() {
        return;
    }
    for name in RECORDINGS {
        let file = data(&format!("{name}.jsonl"));
        for (emit, shape) in
            [("exchanges", shape::EXCHANGE), ("actions", shape::ACTION), ("workflows", shape::WORKFLOW), ("alerts", shape::ALERT)]
        {
            for more in [&[][..], &["--reveal"]] {
                let rows = replay(&file, emit, more);
                assert!(!rows.is_empty() || emit == "alerts", "{name}: no {emit}");
                rows.iter().for_each(|row| shape::check(shape, row));
            }
        }
    }
}

/// The rule that newcomers copy out of the README is one that works.
#[test]
fn the_first_rule_of_the_readme_passes_its_tests_and_fires() {
    if !built() {
        return;
    }
    let readme = fs::read_to_string(root().join("README.md")).expect("in the checkout");
    let (_, section) = readme.split_once("## The first rule").expect("the README has the section");
    let lines = section
        .lines()
        .skip_while(|line| !line.starts_with("    "))
        .take_while(|line| line.is_empty() || line.starts_with("    "));
    let text: String = lines.map(|line| format!("{}\n", line.strip_prefix("    ").unwrap_or_default())).collect();
    let scratch = Scratch::new("readme");
    let pack = scratch.path("shop.toml");
    fs::write(&pack, text).expect("the scratch folder is writable");
    let pack = pack.to_str().expect("plain name");
    for verb in ["check", "test"] {
        let done = agentward(["rules", verb, pack]);
        assert!(
            done.status.success(),
            "rules {verb}: {}{}",
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
    }
    for (name, raised) in [("bad-run", 1), ("honest-run", 0)] {
        let alerts = replay(&data(&format!("{name}.jsonl")), "alerts", &["--rules", pack, "--no-builtin"]);
        assert_eq!(alerts.len(), raised, "{name}");
    }
}

/// The comparison that the live tests rest on must itself find faults.
#[test]
fn the_comparison_finds_what_is_missing_invented_and_changed() {
    let row = |sha: &str| {
        json!({"method": "GET", "path": "/a", "query": "", "peer": "127.0.0.1:1", "client": {"pid": 7, "exe": "/x"}, "client_port": 9,
            "request": {"len": 0, "sha256": "e"}, "response": {"status": 200, "len": 3, "sha256": sha}})
    };
    let exchange = |sha: &str, peer: &str, incomplete: &[&str]| {
        json!({"id": "x1", "pid": 7, "peer": peer, "protocol": "http/1.1", "incomplete": incomplete,
            "request": {"method": "GET", "path": "/a", "query": "", "headers": [], "body": {"len": 0, "sha256": "e"}},
            "response": {"status": 200, "headers": [], "body": {"len": 3, "sha256": sha}}})
    };
    let holds = |ledger: &[serde_json::Value], exchanges: &[serde_json::Value]| {
        std::panic::catch_unwind(|| compare::check(ledger, exchanges, compare::End::Client)).is_ok()
    };
    let good = exchange("s", "127.0.0.1:1", &[]);
    assert!(holds(&[row("s")], std::slice::from_ref(&good)));
    assert!(!holds(&[row("s"), row("s")], std::slice::from_ref(&good)), "missing");
    assert!(!holds(&[row("s")], &[good.clone(), good]), "invented");
    assert!(!holds(&[row("s")], &[exchange("t", "127.0.0.1:1", &[])]), "another body");
    assert!(!holds(&[row("s")], &[exchange("s", "127.0.0.1:2", &[])]), "another peer");
    assert!(!holds(&[row("s")], &[exchange("s", "127.0.0.1:1", &["gap:ring_full"])]), "incomplete");
    assert_eq!(json_lines("{}\n[]\n").len(), 2);
}

/// A person reads a tree; a drawing holds one workflow.
#[test]
fn workflows_are_shown_as_trees_and_drawn_one_by_one() {
    if !built() {
        return;
    }
    let file = data("bad-run.jsonl");
    for (more, code, told) in [
        (&[][..], 0, "!   +0.080 s        api.request POST localhost:43811/v1/orders/2002/refunds"),
        (&["w2", "--format", "mermaid"], 0, "flowchart TD\n"),
        (&["w2", "--format", "dot"], 0, "digraph workflow {\n"),
        (&["--format", "dot"], 2, "name one of w1, w2"),
        (&["w9"], 2, "there is no workflow \"w9\""),
    ] {
        let file = file.to_str().expect("plain name");
        let done = agentward(["workflows"].iter().chain(more).chain(&["--from", file]));
        let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert_eq!(done.status.code(), Some(code), "{more:?}: {said}");
        assert!(said.contains(told), "{more:?}: {said}");
    }
}
