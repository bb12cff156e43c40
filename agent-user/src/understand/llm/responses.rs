//! OpenAI Responses (`/v1/responses`).

use super::chat::declared;
use super::{Body, arc, arguments, call, message, number, result_of, role, some_text, text_of};
use crate::base::Value;
use crate::understand::{Llm, Message, Role, ToolCall, Usage};

pub(in crate::understand) fn request(body: &Value) -> Llm {
    let instructions = body.get("instructions").and_then(Value::as_str).map(|text| message(Role::System, text.into()));
    let input = match body.get("input") {
        Some(Value::Text(text)) => vec![message(Role::User, text.to_string())],
        Some(Value::List(items)) => items.iter().filter_map(item).collect(),
        _ => Vec::new(),
    };
    let conversation = body.get("conversation");
    Llm {
        model: arc(body.get("model")),
        messages: instructions.into_iter().chain(input).collect(),
        tools: body.get("tools").and_then(Value::as_list).unwrap_or_default().iter().filter_map(declared).collect(),
        previous_response_id: arc(body.get("previous_response_id")),
        conversation_id: arc(conversation).or_else(|| arc(conversation.and_then(|conversation| conversation.get("id")))),
        streamed: body.get("stream").and_then(Value::as_bool).unwrap_or(false),
        ..Llm::default()
    }
}

fn item(item: &Value) -> Option<Message> {
    match item.get("type").and_then(Value::as_str) {
        Some("function_call" | "custom_tool_call") => {
            let mut read = message(Role::Assistant, String::new());
            read.tool_calls = tool_call(item).into_iter().collect();
            Some(read)
        }
        Some(kind) if kind.ends_with("_call_output") => {
            let mut read = message(Role::Tool, result_of(item.get("output")));
            read.answers = arc(item.get("call_id"));
            Some(read)
        }
        Some("message") | None => Some(message(role(item.get("role").and_then(Value::as_str)), text_of(item.get("content")))),
        Some(_) => None,
    }
}

/// `function_call` and custom tools run at the client; others (`web_search_call`, `mcp_call`, …) ran at the provider.
fn tool_call(item: &Value) -> Option<ToolCall> {
    let kind = item.get("type").and_then(Value::as_str)?;
    let id = arc(item.get("call_id").or(item.get("id")));
    match kind {
        "function_call" => Some(call(id, arc(item.get("name"))?, arguments(item.get("arguments")))),
        "custom_tool_call" => Some(call(id, arc(item.get("name"))?, arguments(item.get("input")))),
        "local_shell_call" | "shell_call" | "apply_patch_call" | "computer_call" => {
            Some(call(id, kind.trim_end_matches("_call").into(), arguments(item.get("action").or(item.get("operation")))))
        }
        "mcp_call" => Some(ToolCall { remote: true, ..call(id, arc(item.get("name"))?, arguments(item.get("arguments"))) }),
        other if other.ends_with("_call") => {
            Some(ToolCall { remote: true, ..call(id, other.trim_end_matches("_call").into(), arguments(item.get("action"))) })
        }
        _ => None,
    }
}

pub(super) fn response(body: &Body) -> Llm {
    match body {
        Body::Whole(value) => whole(value),
        Body::Events(events) => {
            let last = events.iter().rev().find_map(|(_, event)| {
                let kind = event.get("type").and_then(Value::as_str)?;
                matches!(kind, "response.completed" | "response.incomplete" | "response.failed").then(|| event.get("response"))?
            });
            let items = || cut(events.iter().map(|(_, event)| event));
            match last.map(whole) {
                None => items(),
                // Some servers leave the items out of the last event: they were told one by one.
                Some(told) if told.tool_calls.is_empty() && told.text.is_none() => {
                    let Llm { tool_calls, results, text, refusal, .. } = items();
                    Llm { tool_calls, results, text, refusal: refusal || told.refusal, ..told }
                }
                Some(told) => told,
            }
        }
    }
}

pub(in crate::understand) fn whole(value: &Value) -> Llm {
    let mut llm = Llm { response_id: arc(value.get("id")), model: arc(value.get("model")), ..Llm::default() };
    let mut text = String::new();
    for item in value.get("output").and_then(Value::as_list).unwrap_or_default() {
        output(&mut llm, &mut text, item);
    }
    llm.text = some_text(text);
    llm.stop_reason = arc(value.pointer("/incomplete_details/reason")).or_else(|| arc(value.get("status")));
    llm.previous_response_id = arc(value.get("previous_response_id"));
    llm.error = arc(value.pointer("/error/code")).or_else(|| arc(value.pointer("/error/message")));
    if let Some(usage) = value.get("usage") {
        llm.usage = Usage {
            input_tokens: number(usage.get("input_tokens")),
            output_tokens: number(usage.get("output_tokens")),
            cached_tokens: number(usage.pointer("/input_tokens_details/cached_tokens")),
            reasoning_tokens: number(usage.pointer("/output_tokens_details/reasoning_tokens")),
        };
    }
    llm
}

fn output(llm: &mut Llm, text: &mut String, item: &Value) {
    if item.get("type").and_then(Value::as_str) == Some("message") {
        for part in item.get("content").and_then(Value::as_list).unwrap_or_default() {
            let said = part.get("text").or(part.get("transcript"));
            text.push_str(said.and_then(Value::as_str).unwrap_or_default());
            llm.refusal |= part.get("refusal").is_some();
        }
    } else if let Some(call) = tool_call(item) {
        llm.results.extend(given_back(item, &call));
        llm.tool_calls.push(call);
    }
}

/// What a tool that the provider ran gave back: `mcp_call`, `file_search_call`, `code_interpreter_call`.
fn given_back(item: &Value, call: &ToolCall) -> Option<Message> {
    let content = item.get("output").or(item.get("results")).or(item.get("outputs")).filter(|_| call.remote)?;
    let mut read = message(Role::Tool, result_of(Some(content)));
    read.answers.clone_from(&call.id);
    read.tool_name = Some(call.name.clone());
    read.is_error = item.get("error").is_some_and(|error| !matches!(error, Value::Null));
    (!read.text.expose_content().is_empty()).then_some(read)
}

/// A stream without its end: the items that were finished.
fn cut<'a>(events: impl Iterator<Item = &'a Value>) -> Llm {
    let mut llm = Llm::default();
    let mut text = String::new();
    for event in events {
        match event.get("type").and_then(Value::as_str) {
            Some("response.created" | "response.in_progress") => {
                llm.response_id = arc(event.pointer("/response/id"));
                llm.model = arc(event.pointer("/response/model"));
            }
            Some("response.output_item.done") => {
                if let Some(item) = event.get("item") {
                    output(&mut llm, &mut text, item);
                }
            }
            Some("error") => llm.error = arc(event.get("code").or(event.get("message"))),
            _ => {}
        }
    }
    llm.text = some_text(text);
    llm
}
