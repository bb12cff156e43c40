//! MCP over pipes: every line, at both ends.

use std::collections::BTreeMap;

use agent_tests::peers::{World, finish};
use agent_tests::program;
use serde_json::Value;

#[test]
#[ignore = "needs root: cargo xtask test"]
fn every_line_between_an_mcp_client_and_its_server_is_seen() {
    let world = World::start("stdio");
    let file = world.path("recording.jsonl");
    program::record(&file, &["--scope", "all"], || finish(world.python("clients/mcp_stdio.py")));
    let ledger = world.stdio_ledger();
    assert!(ledger.len() >= 8, "four calls and their answers, got {} lines", ledger.len());
    let server = &ledger[0]["pid"];
    let mut made = BTreeMap::new();
    for row in &ledger {
        *made.entry(text(&row["line"])).or_insert(0usize) += 1;
    }
    let exchanges = program::replay(&file, "exchanges", &["--reveal"]);
    let ends: std::collections::BTreeSet<u64> =
        exchanges.iter().filter(|e| e["protocol"] == "jsonrpc").filter_map(|e| e["pid"].as_u64()).collect();
    assert!(ends.contains(&server.as_u64().unwrap_or_default()) || ends.len() == 1, "ends seen: {ends:?}");
    for end in ends {
        let mut seen = BTreeMap::new();
        for exchange in exchanges.iter().filter(|e| e["protocol"] == "jsonrpc" && e["pid"] == end) {
            for side in ["request", "response"].map(|side| &exchange[side]).into_iter().filter(|side| !side.is_null()) {
                *seen.entry(text(&side["body"])).or_insert(0usize) += 1;
            }
        }
        assert_eq!(seen, made, "lines at process {end}");
    }
    eprintln!("stdio: {} lines made, as many seen", ledger.len());
}

fn text(body: &Value) -> String {
    format!("{} {}", body["len"], body["sha256"])
}
