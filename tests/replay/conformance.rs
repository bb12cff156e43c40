//! Traffic that other implementations made (`tests/peers/conformance.py`), replayed: what is printed is what was said.

use std::collections::BTreeMap;
use std::process::Command;

use agent_tests::program::{agentward, replay};
use agent_tests::{Scratch, json_lines, peers, shape};
use serde_json::Value;

/// Connections of one run; `AGENTWARD_CONNECTIONS` makes more, `AGENTWARD_SEED` others.
const CONNECTIONS: &str = "45";

#[test]
fn traffic_of_other_implementations_is_reported_as_it_was_said() {
    if !super::built() || !peers::python().exists() {
        eprintln!("left out: needs the built program and {}; `cargo xtask test` makes both", peers::python().display());
        return;
    }
    let scratch = Scratch::new("conformance");
    let (recording, truth) = (scratch.path("recording.jsonl"), scratch.path("truth.jsonl"));
    let word = |name: &str, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.to_owned());
    let made = Command::new(peers::python())
        .arg(peers::script("conformance.py"))
        .args([word("AGENTWARD_SEED", "1"), word("AGENTWARD_CONNECTIONS", CONNECTIONS)])
        .args([&recording, &truth])
        .output()
        .expect("the interpreter is there");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let truth = json_lines(&std::fs::read_to_string(&truth).expect("just written"));
    let seen = replay(&recording, "exchanges", &["--reveal"]);
    seen.iter().filter(|row| row.get("dir").is_none()).for_each(|row| shape::check(shape::EXCHANGE, row));
    let (truth, mut seen) = (by_connection(truth), by_connection(seen));
    let (mut faults, mut kinds) = (Vec::new(), BTreeMap::<String, usize>::new());
    for (conn, said) in truth {
        let got = seen.remove(&conn).unwrap_or_default();
        if said.len() != got.len() {
            faults.push(format!("{conn}: {} were made, {} are seen", said.len(), got.len()));
        }
        for (said, got) in said.iter().zip(&got) {
            *kinds.entry(said["protocol"].to_string()).or_default() += 1;
            differences("", said, got, &mut faults);
            if let Some(odd) = got.get("anomalies") {
                faults.push(format!("{conn}: {odd}"));
            }
        }
    }
    faults.extend(seen.keys().map(|conn| format!("{conn}: nobody made this")));
    eprintln!("compared {kinds:?}, {} differ", faults.len());
    assert!(faults.is_empty(), "{}", faults[..faults.len().min(20)].join("\n"));
}

/// In an order that both sides have: that of messages, of streams, of requests.
fn by_connection(rows: Vec<Value>) -> BTreeMap<String, Vec<Value>> {
    let mut all = BTreeMap::<String, Vec<Value>>::new();
    for row in rows {
        all.entry(row["conn"].as_str().unwrap_or_default().to_owned()).or_default().push(row);
    }
    let number =
        |row: &Value| row["id"].as_str().and_then(|id| id[1..].parse::<u64>().ok()).filter(|_| row["protocol"] == "jsonrpc");
    for rows in all.values_mut() {
        rows.sort_by_key(|row| (row.get("dir").is_some(), row["stream"].as_u64(), number(row)));
    }
    all
}

/// Everything that `said` holds must stand in `got`.
fn differences(at: &str, said: &Value, got: &Value, faults: &mut Vec<String>) {
    match said {
        Value::Object(fields) => {
            for (name, value) in fields {
                match name.as_str() {
                    "grpc_status" => {
                        let lists =
                            ["trailers", "headers"].map(|list| got["response"][list].as_array().cloned().unwrap_or_default());
                        let status = lists.iter().flatten().find(|field| field[0] == "grpc-status");
                        if status.is_none_or(|field| field[1] != *value) {
                            faults.push(format!("{at}/grpc-status: {value}, seen {status:?}"));
                        }
                    }
                    // What the sender does not know.
                    "incomplete" if value.is_null() => {}
                    _ => differences(&format!("{at}/{name}"), value, &got[name.as_str()], faults),
                }
            }
        }
        other if other == got => {}
        other => faults.push(format!("{at}: {other}, seen {got}").chars().take(400).collect()),
    }
}

/// The names of bounds are part of what operators read: a flood outside of any exchange is told as well.
#[test]
fn what_is_odd_outside_of_exchanges_is_emitted() {
    if !super::built() {
        return;
    }
    let scratch = Scratch::new("anomalies");
    let file = scratch.path("odd.jsonl");
    let chunk = |ts: u64, dir: &str, text: &str| serde_json::json!({"ts": ts, "kind": "chunk", "pid": 1, "conn": "c", "dir": dir, "text": text, "source": "openssl"});
    let lines = [
        chunk(1, "out", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        chunk(2, "in", "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"a\":1,\"a\":2}"),
        chunk(3, "in", "\u{1}\u{2}\u{3}"),
    ];
    std::fs::write(&file, lines.map(|line| format!("{line}\n")).concat()).expect("the scratch folder is writable");
    let done = agentward(["replay", file.to_str().expect("plain name"), "--emit", "anomalies", "--format", "json"]);
    let rows = json_lines(&String::from_utf8_lossy(&done.stdout));
    let said: Vec<&str> = rows.iter().filter_map(|row| row["anomaly"].as_str()).collect();
    for word in
        ["http1.ambiguous_length_and_chunked", "http1.other_reading:request_length=3", "json.duplicate_key", "http1.lost_bytes"]
    {
        assert!(said.contains(&word), "{word} is not among {said:?}");
    }
}
