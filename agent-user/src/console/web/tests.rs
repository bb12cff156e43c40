//! The description of the API against its answers.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::console::control::Board;
use crate::console::{RuleSource, api, show};

/// A board that shows the recorded bad run.
fn board() -> Arc<Board> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/bad-run.jsonl");
    let rules = RuleSource { rules: Vec::new(), no_builtin: false };
    show::painted(&[file], &rules, false, false).expect("the recording reads")
}

fn description() -> Value {
    serde_json::from_str(super::OPENAPI).expect("the description is JSON")
}

/// What of `value` does not fit `schema`: this knows the part of JSON Schema that the description uses.
fn misfits(description: &Value, schema: &Value, value: &Value, place: &str, out: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        let pointer = name.strip_prefix('#').expect("references are local");
        let named = description.pointer(pointer).unwrap_or_else(|| panic!("{name} is not described"));
        return misfits(description, named, value, place, out);
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        other => panic!("{place}: type {other}"),
    };
    let fits = kinds.iter().any(|kind| match *kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{place}: type {other}"),
    });
    if !fits {
        out.push(format!("{place}: {value} is no {kinds:?}"));
    }
    if let (Some(properties), Some(fields)) = (schema["properties"].as_object(), value.as_object()) {
        out.extend(
            fields.keys().filter(|name| !properties.contains_key(*name)).map(|name| format!("{place}.{name} is not described")),
        );
        for (name, schema) in properties {
            match fields.get(name) {
                Some(field) => misfits(description, schema, field, &format!("{place}.{name}"), out),
                None => out.push(format!("{place}.{name} is missing")),
            }
        }
    }
    if let Some(items) = value.as_array() {
        for (at, item) in items.iter().enumerate() {
            let schema = schema["prefixItems"].get(at).unwrap_or(&schema["items"]);
            misfits(description, schema, item, &format!("{place}[{at}]"), out);
        }
    }
}

#[test]
fn the_api_answers_as_described() {
    let (board, description) = (board(), description());
    let first = |path: &str, field: &str| {
        let rows: Value = serde_json::from_str(&api::answer(&board, path).expect("a list")).expect("JSON");
        rows[0][field].as_str().expect("a name").to_owned()
    };
    let mut faults = Vec::new();
    for (path, methods) in description["paths"].as_object().expect("paths") {
        if path == "/v1/events" {
            continue;
        }
        let asked = path
            .replace("/agents/{id}", &format!("/agents/{}", first("/v1/agents", "id")))
            .replace("/workflows/{id}", &format!("/workflows/{}", first("/v1/alerts", "workflow")))
            .replace("{uid}", &first("/v1/alerts", "uid"));
        let answer = api::answer(&board, &asked).unwrap_or_else(|| panic!("{asked} is described and not there"));
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        let schema = &methods["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        if path != "/v1/status" {
            misfits(&description, schema, &answer, path, &mut faults);
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn what_is_not_there_is_not_answered() {
    let board = board();
    for path in [
        "",
        "/v1",
        "/v1/",
        "/v2/overview",
        "/v1/alerts/none",
        "/v1/workflows/9",
        "/v1/workflows/w999",
        "/v1/agents/x",
        "/v1/x/y/z",
    ] {
        assert_eq!(api::answer(&board, path), None, "{path}");
    }
}

#[test]
fn lists_are_as_long_as_asked() {
    let board = board();
    for (query, rows) in [("", 2), ("?limit=1", 1), ("?limit=0", 0), ("?limit=x", 2), ("?limit=99999999999999999999", 2)] {
        let answer = api::answer(&board, &format!("/v1/workflows{query}")).expect("a list");
        let list: Vec<Value> = serde_json::from_str(&answer).expect("JSON");
        assert_eq!(list.len(), rows, "{query}");
    }
}

/// A report is one file: whatever it holds, it loads and runs nothing.
#[test]
fn a_report_stands_alone() {
    let board = board();
    let uid = board.picture.alerts(1)[0].uid.clone();
    let report = super::pages::report(&board.picture.alert_of(&uid).expect("the alert"));
    for (what, wanted) in
        [("<script", 0), ("src=", 0), ("<link", 0), ("href=\"/", 0), ("@import", 0), ("<svg", 9), ("What to do", 1)]
    {
        assert_eq!(report.matches(what).count(), wanted, "{what}");
    }
}
