//! Cohere (`/v2/chat`).

use std::collections::BTreeMap;

use super::chat::{declared, read_message};
use super::{Body, arc, arguments, call, number, some_text, spoken};
use crate::base::Value;
use crate::understand::{Llm, ToolCall, Usage};

pub(super) fn request(body: &Value) -> Llm {
    let messages = body.get("messages").and_then(Value::as_list).unwrap_or_default();
    let tools = body.get("tools").and_then(Value::as_list).unwrap_or_default();
    Llm {
        model: arc(body.get("model")),
        messages: messages.iter().map(read_message).collect(),
        tools: tools.iter().filter_map(|tool| declared(tool.get("function").unwrap_or(tool))).collect(),
        streamed: body.get("stream").and_then(Value::as_bool).unwrap_or(false),
        ..Llm::default()
    }
}

fn function(item: &Value) -> Option<ToolCall> {
    let function = item.get("function")?;
    Some(call(arc(item.get("id")), arc(function.get("name"))?, arguments(function.get("arguments"))))
}

pub(super) fn response(body: &Body) -> Llm {
    let mut llm = Llm::default();
    let mut text = String::new();
    let mut calls: BTreeMap<i64, (ToolCall, String)> = BTreeMap::new();
    for value in body.values() {
        llm.response_id = arc(value.get("id")).or(llm.response_id);
        let end =
            value.get("delta").filter(|_| value.get("type").and_then(Value::as_str) == Some("message-end")).unwrap_or(value);
        llm.stop_reason = arc(end.get("finish_reason")).or(llm.stop_reason);
        if let Some(tokens) = end.pointer("/usage/tokens") {
            llm.usage = Usage {
                input_tokens: number(tokens.get("input_tokens")),
                output_tokens: number(tokens.get("output_tokens")),
                ..Usage::default()
            };
        }
        if let Some(message) = value.get("message") {
            text.push_str(&spoken(message.get("content")));
            llm.tool_calls
                .extend(message.get("tool_calls").and_then(Value::as_list).unwrap_or_default().iter().filter_map(function));
        }
        let index = value.get("index").and_then(Value::as_i64).unwrap_or(0);
        text.push_str(value.pointer("/delta/message/content/text").and_then(Value::as_str).unwrap_or_default());
        if let Some(part) = value.pointer("/delta/message/tool_calls") {
            match function(part) {
                Some(started) => {
                    let json = part.pointer("/function/arguments").and_then(Value::as_str).unwrap_or_default().to_owned();
                    calls.insert(index, (started, json));
                }
                None => {
                    if let Some((_, json)) = calls.get_mut(&index) {
                        json.push_str(part.pointer("/function/arguments").and_then(Value::as_str).unwrap_or_default());
                    }
                }
            }
        }
    }
    llm.tool_calls
        .extend(calls.into_values().map(|(call, json)| ToolCall { arguments: arguments(Some(&Value::text(json))), ..call }));
    llm.text = some_text(text);
    llm
}
