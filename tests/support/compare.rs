//! Exchanges that were seen beside those that a server says were made: nothing missing, nothing invented, every byte equal.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::Value;

/// What must be equal. `response` is `None` where the client left before the answer's end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pid: u64,
    peer: String,
    target: String,
    request: String,
    response: Option<String>,
}

/// Which end of the connections is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Client,
    /// The stand-in's process.
    Server(u32),
}

/// Compares the exchanges of the processes that the ledger names.
///
/// # Panics
/// With what is missing, what was invented, and what says that it is incomplete without a reason.
pub fn check(ledger: &[Value], exchanges: &[Value], end: End) {
    let made: Vec<Key> = ledger.iter().map(|row| made(row, end)).collect();
    let pids: BTreeSet<u64> = made.iter().map(|key| key.pid).collect();
    let cut: BTreeSet<(u64, String, String)> =
        made.iter().filter(|key| key.response.is_none()).map(|key| (key.pid, key.target.clone(), key.request.clone())).collect();
    let mut seen = Vec::new();
    for exchange in exchanges.iter().filter(|exchange| exchange["pid"].as_u64().is_some_and(|pid| pids.contains(&pid))) {
        if !exchange["protocol"].as_str().is_some_and(|name| name.starts_with("http/")) {
            continue;
        }
        let mut key = of_exchange(exchange);
        let is_cut = cut.contains(&(key.pid, key.target.clone(), key.request.clone()));
        if is_cut {
            key.response = None;
        }
        assert!(is_cut || is_whole(exchange), "{} says {}: {key:?}", exchange["id"], exchange["incomplete"]);
        seen.push(key);
    }
    let (made, seen) = (counted(&made), counted(&seen));
    let mut faults = String::new();
    for (key, count) in &made {
        let found = seen.get(key).copied().unwrap_or_default();
        if found < *count {
            let _ = writeln!(faults, "missing {}: {key:?}", count - found);
        }
    }
    for (key, count) in &seen {
        let known = made.get(key).copied().unwrap_or_default();
        if known < *count {
            let _ = writeln!(faults, "invented {}: {key:?}", count - known);
        }
    }
    assert!(faults.is_empty(), "{end:?}, of {} exchanges:\n{faults}", made.values().sum::<usize>());
}

/// Whole, or an event stream whose reader left after the last event: some clients never read the end mark of the body.
fn is_whole(exchange: &Value) -> bool {
    let reasons = exchange["incomplete"].as_array().map_or(&[][..], Vec::as_slice);
    let streamed = || {
        let headers = exchange["response"]["headers"].as_array().map_or(&[][..], Vec::as_slice);
        headers.iter().any(|header| header[0] == "content-type" && header[1] == "text/event-stream")
    };
    reasons.is_empty() || (reasons.len() == 1 && reasons[0] == "response_cut" && streamed())
}

fn counted(keys: &[Key]) -> BTreeMap<&Key, usize> {
    let mut counts = BTreeMap::new();
    for key in keys {
        *counts.entry(key).or_default() += 1;
    }
    counts
}

fn made(row: &Value, end: End) -> Key {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (pid, peer) = match end {
        End::Client => (row["client"]["pid"].as_u64().unwrap_or_default(), text(&row["peer"])),
        End::Server(pid) => (u64::from(pid), format!("127.0.0.1:{}", row["client_port"])),
    };
    Key {
        pid,
        peer,
        target: target(row),
        request: body(&row["request"]),
        response: (row["cut"] != true).then(|| format!("{} {}", row["response"]["status"], body(&row["response"]))),
    }
}

fn of_exchange(exchange: &Value) -> Key {
    let (request, response) = (&exchange["request"], &exchange["response"]);
    Key {
        pid: exchange["pid"].as_u64().unwrap_or_default(),
        peer: exchange["peer"].as_str().unwrap_or_default().to_owned(),
        target: target(request),
        request: body(&request["body"]),
        response: (!response.is_null()).then(|| format!("{} {}", response["status"], body(&response["body"]))),
    }
}

fn target(value: &Value) -> String {
    let text = |name: &str| value[name].as_str().unwrap_or("(none)");
    format!("{} {}?{}", text("method"), text("path"), text("query"))
}

fn body(value: &Value) -> String {
    format!("{} {}", value["len"], value["sha256"].as_str().unwrap_or("(none)"))
}

/// The program of each process in a recording's `exec` records must be the one that the server saw.
///
/// # Panics
/// When one differs, or a process of the ledger is not in the recording, or the recording says that something is not seen.
pub fn check_programs(ledger: &[Value], recording: &[Value]) {
    let mut programs: BTreeMap<u64, &str> = BTreeMap::new();
    for record in recording.iter().filter(|record| record["kind"] == "exec") {
        if let (Some(pid), Some(exe)) = (record["pid"].as_u64(), record["exe"].as_str()) {
            programs.insert(pid, exe);
        }
    }
    for row in ledger {
        let client = &row["client"];
        let pid = client["pid"].as_u64().unwrap_or_else(|| panic!("the server did not find its client: {row}"));
        assert_eq!(programs.get(&pid).copied(), client["exe"].as_str(), "program of process {pid}");
    }
    let blind = recording.iter().find(|record| record["cause"].as_str().is_some_and(|cause| cause.starts_with("blind:")));
    assert!(blind.is_none(), "a blind spot where everything is read: {blind:?}");
}
