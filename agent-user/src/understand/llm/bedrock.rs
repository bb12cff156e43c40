//! AWS Bedrock: Converse and ConverseStream, and the envelope of InvokeModelWithResponseStream.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::chat::declared;
use super::{Body, arc, arguments, call, message, number, role, some_text, spoken, text_of};
use crate::base::{Sensitive, Value};
use crate::decode::{Header, header, json};
use crate::understand::{Llm, Message, Role, ToolCall, Usage};

pub(super) fn request(body: &Value) -> Llm {
    let system = body.get("system").map(|system| message(Role::System, text_of(Some(system))));
    let messages = body.get("messages").and_then(Value::as_list).unwrap_or_default();
    let tools = body.pointer("/toolConfig/tools").and_then(Value::as_list).unwrap_or_default();
    Llm {
        messages: system.into_iter().chain(messages.iter().flat_map(read_message)).collect(),
        tools: tools.iter().filter_map(|tool| declared(tool.get("toolSpec").unwrap_or(tool))).collect(),
        ..Llm::default()
    }
}

fn read_message(value: &Value) -> Vec<Message> {
    let mut own = message(role(value.get("role").and_then(Value::as_str)), String::new());
    let mut results = Vec::new();
    let mut texts = Vec::new();
    for block in value.get("content").and_then(Value::as_list).unwrap_or_default() {
        if let Some(answer) = block.get("toolResult") {
            let parts = answer.get("content").and_then(Value::as_list).unwrap_or_default();
            let shown = parts.iter().map(|part| {
                part.get("text")
                    .and_then(Value::as_str)
                    .map_or_else(|| part.get("json").map(Value::to_json).unwrap_or_default(), str::to_owned)
            });
            let mut result = message(Role::Tool, shown.collect::<Vec<_>>().join("\n"));
            result.answers = arc(answer.get("toolUseId"));
            result.is_error = answer.get("status").and_then(Value::as_str) == Some("error");
            results.push(result);
        } else if let Some(call) = block.get("toolUse").and_then(tool_use) {
            own.tool_calls.push(call);
        } else {
            texts.extend(block.get("text").and_then(Value::as_str));
        }
    }
    own.text = Sensitive::new(texts.join("\n").into());
    if !texts.is_empty() || !own.tool_calls.is_empty() || results.is_empty() {
        results.push(own);
    }
    results
}

fn tool_use(block: &Value) -> Option<ToolCall> {
    Some(call(arc(block.get("toolUseId")), arc(block.get("name"))?, arguments(block.get("input"))))
}

pub(super) fn response(body: &Body) -> Llm {
    match body {
        Body::Whole(value) => {
            let blocks = value.pointer("/output/message/content").and_then(Value::as_list).unwrap_or_default();
            let texts: Vec<String> =
                blocks.iter().map(|block| spoken(block.pointer("/citationsContent/content").or(block.get("text")))).collect();
            Llm {
                stop_reason: arc(value.get("stopReason")),
                tool_calls: blocks.iter().filter_map(|block| block.get("toolUse").and_then(tool_use)).collect(),
                text: some_text(texts.concat()),
                usage: value.get("usage").map(usage).unwrap_or_default(),
                ..Llm::default()
            }
        }
        Body::Events(events) => {
            let mut llm = Llm::default();
            let mut text = String::new();
            let mut calls: BTreeMap<i64, (ToolCall, String)> = BTreeMap::new();
            for (name, event) in events {
                let index = event.get("contentBlockIndex").and_then(Value::as_i64).unwrap_or(0);
                match &**name {
                    "contentBlockStart" => {
                        if let Some(call) = event.pointer("/start/toolUse").and_then(tool_use) {
                            calls.insert(index, (call, String::new()));
                        }
                    }
                    "contentBlockDelta" => {
                        text.push_str(event.pointer("/delta/text").and_then(Value::as_str).unwrap_or_default());
                        if let (Some((_, json)), Some(part)) =
                            (calls.get_mut(&index), event.pointer("/delta/toolUse/input").and_then(Value::as_str))
                        {
                            json.push_str(part);
                        }
                    }
                    "messageStop" => llm.stop_reason = arc(event.get("stopReason")),
                    "metadata" => llm.usage = event.get("usage").map(usage).unwrap_or_default(),
                    other if other.ends_with("Exception") => llm.error = Some(other.into()),
                    _ => {}
                }
            }
            let cut = llm.stop_reason.is_none();
            llm.tool_calls = calls
                .into_values()
                .map(|(call, json)| ToolCall { arguments: arguments(Some(&Value::text(json))), partial: cut, ..call })
                .collect();
            llm.text = some_text(text);
            llm
        }
    }
}

/// InvokeModel: Anthropic's messages, Nova's (those of Converse), or a prompt as the older models take it.
pub(super) fn invoke(body: &Value) -> Llm {
    if body.get("anthropic_version").is_some() {
        return super::anthropic::request(body);
    }
    if let Some(messages) = body.get("messages").and_then(Value::as_list) {
        // Blocks of Converse have no type.
        let blocks = messages.iter().filter_map(|message| message.get("content")?.as_list()).flat_map(|blocks| blocks.iter());
        let typed = blocks.clone().any(|block| block.get("type").is_some()) || blocks.count() == 0;
        return if typed { super::chat::request(body) } else { request(body) };
    }
    let prompt = body.get("prompt").or(body.get("inputText"));
    Llm { messages: prompt.map(|prompt| message(Role::User, text_of(Some(prompt)))).into_iter().collect(), ..Llm::default() }
}

/// The answer to [`invoke`], known by its shape.
pub(super) fn invoked(body: Body) -> Llm {
    match body {
        Body::Whole(value) if value.get("output").is_some() => response(&Body::Whole(value)),
        Body::Whole(value) if value.get("choices").is_some() => super::chat::response(&Body::Whole(value)),
        Body::Whole(value) if value.get("content").is_some() || value.get("error").is_some() => {
            super::anthropic::response(&Body::Whole(value))
        }
        Body::Whole(value) => plain(std::iter::once(&value)),
        Body::Events(events) if events.iter().any(|(_, event)| event.get("type").is_some()) => {
            super::anthropic::response(&Body::Events(events))
        }
        // Nova: the event's name is the only key of its data.
        Body::Events(events) if events.iter().any(|(_, event)| event.get("messageStart").is_some()) => {
            let named = events.iter().filter_map(|(_, event)| event.as_map()?.first().cloned());
            response(&Body::Events(named.collect()))
        }
        Body::Events(events) => plain(events.iter().map(|(_, event)| event)),
    }
}

/// Titan, Claude 2, Llama, Mistral and Cohere's command: text under a key of each maker's own.
fn plain<'a>(values: impl Iterator<Item = &'a Value>) -> Llm {
    const TEXTS: [&str; 6] =
        ["/results/0/outputText", "/outputText", "/completion", "/generation", "/generations/0/text", "/outputs/0/text"];
    const STOPS: [&str; 7] = [
        "/results/0/completionReason",
        "/completionReason",
        "/stop_reason",
        "/stopReason",
        "/generations/0/finish_reason",
        "/outputs/0/stop_reason",
        "/finish_reason",
    ];
    let mut llm = Llm::default();
    let mut text = String::new();
    for value in values {
        text.push_str(TEXTS.iter().find_map(|at| value.pointer(at)?.as_str()).unwrap_or_default());
        llm.stop_reason = STOPS.iter().find_map(|at| arc(value.pointer(at))).or(llm.stop_reason);
        let metrics = value.get("amazon-bedrock-invocationMetrics");
        let count = |names: &[&str], metric: &str| {
            let own = names.iter().find_map(|at| number(value.pointer(at)));
            own.or_else(|| number(metrics.and_then(|metrics| metrics.get(metric))))
        };
        let input = count(&["/inputTextTokenCount", "/prompt_token_count"], "inputTokenCount");
        let output =
            count(&["/results/0/tokenCount", "/totalOutputTextTokenCount", "/generation_token_count"], "outputTokenCount");
        llm.usage.input_tokens = input.or(llm.usage.input_tokens);
        llm.usage.output_tokens = output.or(llm.usage.output_tokens);
    }
    llm.text = some_text(text);
    llm
}

/// Tokens, where the maker's body does not count them: InvokeModel says them in the head, too.
pub(super) fn counted(headers: &[Header], usage: &mut Usage) {
    let count = |name| std::str::from_utf8(header(headers, name)?).ok()?.trim().parse().ok();
    usage.input_tokens = usage.input_tokens.or_else(|| count("x-amzn-bedrock-input-token-count"));
    usage.output_tokens = usage.output_tokens.or_else(|| count("x-amzn-bedrock-output-token-count"));
}

/// InvokeModelWithResponseStream wraps each event of the model in `{"bytes": base64}`.
pub(super) fn unwrap(body: Body) -> Body {
    match body {
        Body::Whole(value) => Body::Whole(value),
        Body::Events(events) => Body::Events(
            events
                .into_iter()
                .filter_map(|(name, event)| {
                    let Some(bytes) = event.get("bytes").and_then(Value::as_str) else { return Some((name, event)) };
                    Some((name, json::parse(&BASE64.decode(bytes).ok()?).value?))
                })
                .collect(),
        ),
    }
}

fn usage(usage: &Value) -> Usage {
    Usage {
        input_tokens: number(usage.get("inputTokens")),
        output_tokens: number(usage.get("outputTokens")),
        cached_tokens: number(usage.get("cacheReadInputTokens")),
        reasoning_tokens: None,
    }
}
