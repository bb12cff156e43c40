//! Model SDKs as they are sold: what agentward reads in their calls is what the SDKs asked and what they read in the answers.
//!
//! `tests/peers/sdks` calls through a TCP proxy that writes a recording, so no probes are needed. The oracle is the other side: the
//! case, which the stand-in's journal confirms, and the SDK's own parse of the answer.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use agent_tests::{Scratch, json_lines, peers};
use agentward::base::Value as Content;
use agentward::capture::recording::Reader;
use agentward::correlate::Step;
use agentward::decide::RuleSet;
use agentward::pipeline::{Output, Pipeline};
use agentward::understand::{Kind, Llm, Role, ToolCall};
use serde_json::{Value, json};

mod many;
mod talks;

/// In the usual run; the rest of the SDKs, with more cases, is `cargo xtask bench sdks`.
#[test]
fn sdks_are_read_as_they_read_themselves() {
    check("3", "1", "slice");
}

#[test]
#[ignore = "a minute: cargo xtask bench sdks"]
fn every_sdk_is_read_as_it_reads_itself() {
    check(&word("AGENTWARD_CASES", "60"), &word("AGENTWARD_SEED", "1"), "all");
}

fn word(name: &str, usual: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| usual.to_owned())
}

fn python() -> Option<PathBuf> {
    let python = peers::packages().join("sdks/bin/python");
    if !python.exists() {
        eprintln!("left out: needs {}; `cargo xtask test` makes it", python.display());
        return None;
    }
    Some(python)
}

/// What was compared of each SDK, and what differs.
#[derive(Default)]
struct Figures {
    /// Calls, fields, differing fields.
    of: BTreeMap<String, [usize; 3]>,
    faults: Vec<String>,
}

impl Figures {
    fn called(&mut self, sdk: &str) {
        self.of.entry(sdk.to_owned()).or_default()[0] += 1;
    }

    fn field(&mut self, sdk: &str, same: bool, told: impl FnOnce() -> String) {
        self.of.entry(sdk.to_owned()).or_default()[1] += 1;
        if !same {
            self.fault(sdk, &told());
        }
    }

    fn fault(&mut self, sdk: &str, told: &str) {
        self.of.entry(sdk.to_owned()).or_default()[2] += 1;
        self.faults.push(format!("{sdk}: {told}"));
    }

    fn conclude(self) {
        for (sdk, [calls, fields, differ]) in &self.of {
            eprintln!("{sdk:24} {calls:5} calls {fields:6} fields {differ:4} differ");
        }
        let faults = &self.faults;
        assert!(!self.of.is_empty(), "nothing was compared");
        assert!(faults.is_empty(), "{} differ:\n{}", faults.len(), faults[..faults.len().min(40)].join("\n"));
    }
}

fn check(cases: &str, seed: &str, which: &str) {
    let Some(python) = python() else { return };
    let scratch = Scratch::new("sdks");
    let made = Command::new(python)
        .arg(peers::script("sdks/sdks.py"))
        .args([cases, seed, which])
        .arg(peers::packages().join("sdks-node"))
        .arg(scratch.folder())
        .output()
        .expect("the interpreter is there");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let truth = json_lines(&std::fs::read_to_string(scratch.path("truth.jsonl")).expect("just written"));
    let seen = calls(&scratch.path("recording.jsonl"));
    let mut figures = Figures::default();
    for (number, said) in truth.iter().enumerate() {
        let sdk = said["sdk"].as_str().expect("the driver names it");
        figures.called(sdk);
        let Some((asked, answered)) = seen.get(number) else {
            figures.fault(sdk, &format!("call {number} is not seen"));
            continue;
        };
        for (half, got) in [("asked", asked), ("answered", answered)] {
            for (field, wanted) in said[half].as_object().expect("the driver writes objects") {
                // What the SDK does not tell cannot be compared.
                if half == "answered" && wanted.is_null() {
                    continue;
                }
                let told = || format!("{}, {half} {field}: {wanted}, read as {}", said["case"], got[field]);
                figures.field(sdk, equal(wanted, &got[field]), told);
            }
        }
    }
    for _ in truth.len()..seen.len() {
        figures.fault("beside", "a call is seen that nobody made");
    }
    figures.conclude();
}

/// Numbers by value, texts that hold JSON by what they hold.
fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len() && one.iter().all(|(key, value)| other.get(key).is_some_and(|other| equal(value, other)))
        }
        (Value::String(one), Value::String(other)) if one != other => {
            let parsed =
                |text: &str| serde_json::from_str::<Value>(text).ok().filter(|value| value.is_object() || value.is_array());
            parsed(one).zip(parsed(other)).is_some_and(|(one, other)| equal(&one, &other))
        }
        (one, other) => one == other,
    }
}

/// Every step of a recording, in each of its states.
fn steps(recording: &Path) -> Vec<Step> {
    let mut reader = Reader::new(BufReader::new(File::open(recording).expect("just written")), false).expect("a recording");
    let mut pipeline = Pipeline::new(Arc::new(RuleSet::join(Vec::new()).expect("no rules")));
    let mut outputs = Vec::new();
    while let Some(observation) = reader.next_observation().expect("a record") {
        pipeline.push(observation, &mut outputs);
    }
    pipeline.finish(&mut outputs);
    let step = |output| if let Output::Step(step) = output { Some(*step) } else { None };
    outputs.into_iter().filter_map(step).collect()
}

/// Every model call of a recording, in the order of the requests: what was asked, what was answered.
fn calls(recording: &Path) -> Vec<(Value, Value)> {
    let mut calls = Vec::new();
    let mut by_exchange = BTreeMap::new();
    for step in steps(recording) {
        let (Some(exchange), Some(llm)) = (step.action.exchange, step.action.llm.as_deref()) else { continue };
        match step.action.kind {
            Kind::LlmRequest => {
                by_exchange.insert(exchange, calls.len());
                calls.push((asked(llm), Value::Null));
            }
            Kind::LlmResponse => calls[by_exchange[&exchange]].1 = answered(llm),
            _ => {}
        }
    }
    calls
}

fn asked(llm: &Llm) -> Value {
    let mut atoms = Vec::new();
    for message in &llm.messages {
        let role = match message.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        };
        let text = message.text.expose_content();
        if message.role == Role::Tool {
            atoms.push(json!([role, "result", message.answers.as_deref(), &**text, message.is_error]));
        } else if !text.is_empty() {
            atoms.push(json!([role, "text", &**text]));
        }
        atoms.extend(
            message
                .tool_calls
                .iter()
                .map(|call| json!([role, "call", call.id.as_deref(), &*call.name, content(call.arguments.expose_content())])),
        );
    }
    let tools: Vec<Value> = llm
        .tools
        .iter()
        .map(|tool| {
            let description = tool.description.as_ref().map(|text| &**text.expose_content());
            json!([&*tool.name, description, tool.schema_hash.as_deref()])
        })
        .collect();
    json!({
        "provider": llm.provider.as_deref(), "model": llm.model.as_deref(), "streamed": llm.streamed, "tools": tools, "messages": atoms,
    })
}

fn answered(llm: &Llm) -> Value {
    let call = |call: &ToolCall| json!({"id": call.id.as_deref(), "name": &*call.name, "arguments": content(call.arguments.expose_content())});
    json!({
        "text": llm.text.as_ref().map_or("", |text| text.expose_content()),
        "calls": llm.tool_calls.iter().filter(|call| !call.remote).map(call).collect::<Vec<_>>(),
        "remote": llm.tool_calls.iter().filter(|call| call.remote).map(call).collect::<Vec<_>>(),
        "stop": llm.stop_reason.as_deref(),
        "input": llm.usage.input_tokens, "output": llm.usage.output_tokens,
        "cached": llm.usage.cached_tokens, "reasoning": llm.usage.reasoning_tokens,
        "model": llm.model.as_deref(),
        "refusal": llm.refusal,
        "error": llm.error.as_deref(),
        "failed": llm.error.is_some(),
    })
}

fn content(value: &Content) -> Value {
    serde_json::from_str(&value.to_json()).expect("a value prints as JSON")
}
