//! Anthropic Messages (`/v1/messages`).

use std::collections::BTreeMap;

use super::chat::declared;
use super::{Body, arc, arguments, call, message, number, result_of, role, some_text, text_of};
use crate::base::{Sensitive, Value};
use crate::understand::{Llm, Message, Role, ToolCall, Usage};

pub(super) fn request(body: &Value) -> Llm {
    let system = body.get("system").map(|system| message(Role::System, text_of(Some(system))));
    let messages = body.get("messages").and_then(Value::as_list).unwrap_or_default();
    Llm {
        model: arc(body.get("model")),
        messages: system.into_iter().chain(messages.iter().flat_map(read_message)).collect(),
        tools: body.get("tools").and_then(Value::as_list).unwrap_or_default().iter().filter_map(declared).collect(),
        streamed: body.get("stream").and_then(Value::as_bool).unwrap_or(false),
        conversation_id: None,
        ..Llm::default()
    }
}

/// One wire message holds text, calls and results: each result becomes a message of its own, before the text beside it.
fn read_message(value: &Value) -> Vec<Message> {
    let role = role(value.get("role").and_then(Value::as_str));
    let mut own = message(role, String::new());
    let mut results = Vec::new();
    let mut texts = Vec::new();
    match value.get("content") {
        Some(Value::List(blocks)) => {
            for block in blocks.iter() {
                if let Some(result) = tool_result(block) {
                    results.push(result);
                } else if let Some(call) = tool_use(block) {
                    own.tool_calls.push(call);
                } else {
                    texts.extend(block.get("text").and_then(Value::as_str));
                }
            }
        }
        content => texts.extend(content.and_then(Value::as_str)),
    }
    own.text = Sensitive::new(texts.join("\n").into());
    if !texts.is_empty() || !own.tool_calls.is_empty() || results.is_empty() {
        // What the provider's own tools gave back follows the call, in the same message.
        let at = if role == Role::Assistant { 0 } else { results.len() };
        results.insert(at, own);
    }
    results
}

/// `tool_result`, `mcp_tool_result`, `web_search_tool_result`, …
fn tool_result(block: &Value) -> Option<Message> {
    let kind = block.get("type").and_then(Value::as_str)?;
    if !kind.ends_with("tool_result") {
        return None;
    }
    let mut result = message(Role::Tool, result_of(block.get("content")));
    result.answers = arc(block.get("tool_use_id"));
    result.is_error = block.get("is_error").and_then(Value::as_bool).unwrap_or(false);
    Some(result)
}

fn tool_use(block: &Value) -> Option<ToolCall> {
    let remote = match block.get("type").and_then(Value::as_str)? {
        "tool_use" => false,
        "server_tool_use" | "mcp_tool_use" => true,
        _ => return None,
    };
    Some(ToolCall { remote, ..call(arc(block.get("id")), arc(block.get("name"))?, arguments(block.get("input"))) })
}

#[derive(Default)]
struct Block {
    start: Option<Value>,
    text: String,
    json: String,
    stopped: bool,
}

pub(super) fn response(body: &Body) -> Llm {
    match body {
        Body::Whole(value) => whole(value),
        Body::Events(events) => stream(events.iter().map(|(_, event)| event)),
    }
}

fn whole(value: &Value) -> Llm {
    let blocks = value.get("content").and_then(Value::as_list).unwrap_or_default();
    let texts: Vec<&str> =
        blocks.iter().filter(|block| is_text(block)).filter_map(|block| block.get("text").and_then(Value::as_str)).collect();
    Llm {
        response_id: arc(value.get("id")),
        model: arc(value.get("model")),
        stop_reason: arc(value.get("stop_reason")),
        refusal: value.get("stop_reason").and_then(Value::as_str) == Some("refusal"),
        tool_calls: blocks.iter().filter_map(tool_use).collect(),
        results: blocks.iter().filter_map(tool_result).collect(),
        text: some_text(texts.concat()),
        usage: value.get("usage").map(usage).unwrap_or_default(),
        error: arc(value.pointer("/error/type")),
        ..Llm::default()
    }
}

fn is_text(block: &Value) -> bool {
    block.get("type").and_then(Value::as_str) == Some("text")
}

fn stream<'a>(events: impl Iterator<Item = &'a Value>) -> Llm {
    let mut llm = Llm::default();
    let mut blocks: BTreeMap<i64, Block> = BTreeMap::new();
    for event in events {
        let index = event.get("index").and_then(Value::as_i64).unwrap_or(0);
        match event.get("type").and_then(Value::as_str) {
            Some("message_start") => {
                let message = event.get("message");
                llm = message.map(whole).unwrap_or_default();
            }
            Some("content_block_start") => blocks.entry(index).or_default().start = event.get("content_block").cloned(),
            Some("content_block_delta") => {
                let block = blocks.entry(index).or_default();
                block.text.push_str(event.pointer("/delta/text").and_then(Value::as_str).unwrap_or_default());
                block.json.push_str(event.pointer("/delta/partial_json").and_then(Value::as_str).unwrap_or_default());
            }
            Some("content_block_stop") => blocks.entry(index).or_default().stopped = true,
            Some("message_delta") => {
                llm.stop_reason = arc(event.pointer("/delta/stop_reason")).or(llm.stop_reason);
                llm.refusal = llm.stop_reason.as_deref() == Some("refusal");
                if let Some(later) = event.get("usage").map(usage) {
                    llm.usage.output_tokens = later.output_tokens.or(llm.usage.output_tokens);
                    llm.usage.input_tokens = later.input_tokens.or(llm.usage.input_tokens);
                    llm.usage.cached_tokens = later.cached_tokens.or(llm.usage.cached_tokens);
                }
            }
            Some("error") => llm.error = arc(event.pointer("/error/type")),
            _ => {}
        }
    }
    let mut text = String::new();
    for block in blocks.into_values() {
        let Some(start) = block.start else { continue };
        if is_text(&start) {
            text.push_str(start.get("text").and_then(Value::as_str).unwrap_or_default());
            text.push_str(&block.text);
        } else if let Some(result) = tool_result(&start) {
            llm.results.push(result);
        } else if let Some(mut call) = tool_use(&start) {
            if !block.json.is_empty() {
                call.arguments = arguments(Some(&Value::text(block.json)));
            }
            call.partial = !block.stopped;
            llm.tool_calls.push(call);
        }
    }
    llm.text = some_text(text);
    llm
}

fn usage(usage: &Value) -> Usage {
    Usage {
        input_tokens: number(usage.get("input_tokens")),
        output_tokens: number(usage.get("output_tokens")),
        cached_tokens: number(usage.get("cache_read_input_tokens")),
        reasoning_tokens: None,
    }
}
