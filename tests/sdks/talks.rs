//! MCP as its packages speak it: what agentward reads of each call and notification is what the client's session and the server said.
//!
//! `tests/peers/sdks/talk.py` lets the packages of PyPI and npm talk over pipes, SSE and streamable HTTP, by handshake and in the
//! revision without one, and writes what their own ends said.

use std::collections::BTreeMap;
use std::process::Command;

use agent_tests::{Scratch, json_lines, peers};
use agentward::understand::{Action, Kind};
use serde_json::{Value, json};

use crate::{Figures, content, equal, steps};

#[test]
fn mcp_is_read_as_its_packages_speak_it() {
    check("6", "1", "slice");
}

#[test]
#[ignore = "a minute: cargo xtask bench sdks"]
fn every_revision_of_mcp_is_read_as_its_packages_speak_it() {
    check(&crate::word("AGENTWARD_CASES", "60"), &crate::word("AGENTWARD_SEED", "1"), "all");
}

fn check(calls: &str, seed: &str, which: &str) {
    let Some(python) = crate::python() else { return };
    let scratch = Scratch::new("talks");
    let made = Command::new(python)
        .arg(peers::script("sdks/talk.py"))
        .args([seed, calls, which])
        .arg(peers::packages().join("sdks-node"))
        .arg(scratch.folder())
        .output()
        .expect("the interpreter is there");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut figures = Figures::default();
    for talk in json_lines(&std::fs::read_to_string(scratch.path("talks.jsonl")).expect("just written")) {
        let recording = scratch.path(talk["recording"].as_str().expect("the driver names it"));
        compare(&talk, &recording, &mut figures);
    }
    figures.conclude();
}

fn compare(talk: &Value, recording: &std::path::Path, figures: &mut Figures) {
    let text = |value: &Value| value.as_str().expect("the driver writes texts").to_owned();
    let (sdk, name) = (text(&talk["sdk"]), text(&talk["talk"]));
    // The last state of each action counts.
    let mut last = BTreeMap::new();
    for step in steps(recording) {
        last.insert(step.action.id, step);
    }
    let mut seen: Vec<Value> = Vec::new();
    for step in last.into_values() {
        if step.action.mcp.is_some() {
            assert!(step.completed, "{name}: {:?} is not completed", step.action.op);
            seen.push(read(&step.action));
        } else if step.action.http.as_ref().is_some_and(|http| &*http.method == "POST") {
            figures.fault(&sdk, &format!("{name}: {:?} is read as an API call", step.action.op));
        }
    }
    for said in talk["rows"].as_array().expect("the driver writes a list") {
        figures.called(&sdk);
        let same = |row: &Value| row["method"] == said["method"] && row["id"] == said["id"];
        let Some(at) = seen.iter().position(same) else {
            figures.fault(&sdk, &format!("{name}: {} {} is not seen", said["method"], said["id"]));
            continue;
        };
        let got = seen.remove(at);
        for (field, wanted) in said.as_object().expect("the driver writes objects") {
            let told = format!("{name}, {} {field}: {wanted}, read as {}", said["method"], got[field]);
            figures.field(&sdk, equal(wanted, &got[field]), || told);
        }
    }
    for row in seen {
        figures.fault(&sdk, &format!("{name}: nobody said {row}"));
    }
}

fn read(action: &Action) -> Value {
    let mcp = action.mcp.as_ref().expect("only these are read");
    let tool = action.tool.as_ref();
    json!({
        "kind": if action.kind == Kind::McpRequest { "mcp.request" } else { action.kind.name() },
        "method": &*mcp.method,
        "id": mcp.request_id.as_deref(),
        "arguments": content(action.arg.expose_content()),
        "result": action.result.as_ref().map(|result| content(result.expose_content())),
        "is_error": mcp.is_error,
        "tool": tool.map(|tool| &*tool.name),
        "schema": tool.and_then(|tool| tool.schema_hash.as_deref()),
        "server": mcp.server.as_deref(),
        "version": mcp.version.as_deref(),
        "client": mcp.client.as_deref(),
        "session": mcp.session.as_deref(),
    })
}
