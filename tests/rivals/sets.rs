//! Rules and events of a bench: a quarter each by operation, by tool, by host and path, by a word in an argument.

use serde_json::{Value, json};

/// The conditions of `count` rules, in CEL.
pub fn conditions(count: usize) -> Vec<String> {
    (0..count)
        .map(|at| match at % 4 {
            0 => format!(r#"kind == "api.request" && op == "service{at}.create" && arg.amount > {}"#, 100 + at),
            1 => format!(r#"kind == "tool.call" && tool.name in ["tool_{at}", "old_tool_{at}"] && effect != "read""#),
            2 => format!(r#"http.host == "api{at}.corp.example" && http.path.startsWith("/v1/secret") && status < 400"#),
            _ => format!(r#"kind == "tool.call" && arg.text.contains("forbidden word {at} of the list")"#),
        })
        .collect()
}

pub fn rules(count: usize) -> String {
    conditions(count)
        .iter()
        .enumerate()
        .map(|(at, condition)| format!("[[rule]]\nid = \"r{at}\"\ntitle = \"t\"\nseverity = \"low\"\nwhen = '{condition}'\n"))
        .collect()
}

/// The same conditions in Sigma.
pub fn sigma(count: usize) -> String {
    let rule = |at: usize| {
        let selection = match at % 4 {
            0 => format!("        kind: 'api.request'\n        op: 'service{at}.create'\n        arg.amount|gt: {}", 100 + at),
            1 => format!("        kind: 'tool.call'\n        tool.name:\n            - 'tool_{at}'\n            - 'old_tool_{at}'"),
            2 => format!("        http.host: 'api{at}.corp.example'\n        http.path|startswith: '/v1/secret'\n        status|lt: 400"),
            _ => format!("        kind: 'tool.call'\n        arg.text|contains: 'forbidden word {at} of the list'"),
        };
        let (filter, condition) =
            if at % 4 == 1 { ("    filter:\n        effect: 'read'\n", "selection and not filter") } else { ("", "selection") };
        format!("title: r{at}\nid: 00000000-0000-4000-8000-{at:012}\nlogsource:\n    product: agent\ndetection:\n    selection:\n{selection}\n{filter}    condition: {condition}\nlevel: low\n")
    };
    (0..count).map(rule).collect::<Vec<_>>().join("---\n")
}

/// 400 events: most match nothing, as in life.
pub fn events(rules: usize) -> Vec<Value> {
    (0..400)
        .map(|at| {
            let near = (at * 37) % rules;
            match at % 4 {
                0 => json!({"kind": "api.request", "op": format!("service{}.create", near / 4 * 4), "effect": "write", "status": 201,
                    "http": {"host": "api.shop.example", "path": "/v1/orders", "method": "POST"}, "agent": {"name": "bot"},
                    "arg": {"amount": at, "note": "a note of the usual length"}, "workflow": "w1", "proc": {"name": "python3", "pid": 7}}),
                1 => json!({"kind": "tool.call", "op": format!("tool:tool_{near}"), "effect": "read", "tool": {"name": format!("tool_{near}")},
                    "agent": {"name": "bot"}, "arg": {"text": "find me the orders of last week and tell me which are late"},
                    "workflow": "w2", "provenance": {"injected": 0.1, "asked": true}}),
                2 => json!({"kind": "api.request", "op": "GET x", "effect": "read", "status": 200,
                    "http": {"host": format!("api{near}.corp.example"), "path": "/v1/public/items", "method": "GET"}, "arg": {},
                    "workflow": "w3", "user": {"id": "u-1"}, "proc": {"name": "node", "pid": 9}}),
                _ => json!({"kind": "tool.call", "op": "tool:write_note", "effect": "write", "tool": {"name": "write_note"},
                    "arg": {"text": format!("this note has some allowed words and word {near} among others, it is of no interest")},
                    "agent": {"name": "bot"}, "workflow": "w4"}),
            }
        })
        .collect()
}

struct Letters(u64);

impl Letters {
    fn word(&mut self) -> String {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let length = 4 + (self.0 >> 60) as usize % 6;
        (0..length).map(|at| char::from(b'a' + ((self.0 >> (5 * at + 7)) % 26) as u8)).collect()
    }
}

/// Pairs of words, as people forbid them.
pub fn literals(count: usize) -> Vec<String> {
    let mut letters = Letters(7);
    (0..count).map(|_| format!("{} {}", letters.word(), letters.word())).collect()
}

/// 1,000 texts of about 2 KB; one in ten holds a literal.
pub fn texts() -> Vec<String> {
    let forbidden = literals(1000);
    let mut letters = Letters(99);
    (0..1000)
        .map(|at| {
            let mut words: Vec<String> = (0..300).map(|_| letters.word()).collect();
            if at % 10 == 0 {
                words.push(forbidden[at].clone());
            }
            words.join(" ")
        })
        .collect()
}

pub const BLOCKS: [(&str, &str); 9] = [
    ("count", "when = 'kind == \"x\"'\ncount = { by = [\"user\"], within = \"1h\", over = 1000 }"),
    ("distinct", "when = 'kind == \"x\"'\ndistinct = { of = \"object.id\", by = [\"user\"], within = \"1h\", over = 100 }"),
    ("sum", "when = 'kind == \"x\"'\nsum = { of = \"arg.amount\", by = [\"user\"], within = \"1h\", over = 1000000000 }"),
    ("sequence", "sequence = { steps = ['op == \"a\"', 'op == \"b\"'], same = [\"user\"], within = \"1h\" }"),
    ("needs", "when = 'op == \"pay\"'\nneeds = { earlier = 'op == \"a\"', same = [\"user\"], within = \"1h\" }"),
    ("then", "when = 'op == \"a\"'\nthen = { later = 'op == \"b\"', same = [\"user\"], within = \"1s\" }"),
    ("owned", "when = 'kind == \"x\"'\nowned = { object = \"order\", by = \"user\" }"),
    ("flow", "flow = { from = 'op == \"a\"', to = 'op == \"z\"', within = \"1h\" }"),
    ("drift", "when = 'kind == \"x\"'\ndrift = { of = \"tool.schema_hash\", key = [\"user\"], alert = \"changed\" }"),
];

/// `then` where every other event is what the one before it waits for: nothing is left to remember.
pub const ANSWERED: (&str, &str) =
    ("then, answered", "when = 'op == \"a\"'\nthen = { later = 'op == \"b\"', same = [\"user\"], within = \"1s\" }");

pub fn block_event(block: &str, key: usize) -> Value {
    let id = format!("key-{key:08}");
    match block {
        // Asked for, and answered with what is remembered: whose it is, and that it was shown.
        "owned" => json!({"kind": "x", "op": "a", "user": {"id": id}, "object": {"type": "order", "id": id}, "status": 200, "result": {"id": id, "owner_id": id}}),
        "then, answered" => {
            let id = format!("key-{:08}", key / 2);
            json!({"kind": "x", "op": if key % 2 == 0 { "a" } else { "b" }, "user": {"id": id}, "object": {"id": "1"}, "arg": {"amount": 5}})
        }
        "flow" => json!({"kind": "x", "op": "a", "workflow": id, "result": {"value": "DE89370400440532013000"}}),
        _ => json!({"kind": "x", "op": "a", "user": {"id": id}, "object": {"id": "1"}, "arg": {"amount": 5}, "tool": {"schema_hash": "h"}}),
    }
}
