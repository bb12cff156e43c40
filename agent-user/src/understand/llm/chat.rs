//! OpenAI Chat Completions (`/v1/chat/completions`) and the many that copy it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Body, arc, arguments, call, message, number, result_of, role, some_text, spoken, text_of};
use crate::base::{Sensitive, Value};
use crate::understand::{Llm, Message, Role, Tool, ToolCall, Usage};

pub(super) fn request(body: &Value) -> Llm {
    let messages = body.get("messages").and_then(Value::as_list).unwrap_or_default();
    let prompt = body.get("prompt").map(|prompt| message(Role::User, text_of(Some(prompt))));
    Llm {
        model: arc(body.get("model")),
        messages: messages.iter().map(read_message).chain(prompt).collect(),
        tools: tools(body),
        conversation_id: arc(body.get("conversation_id")),
        streamed: body.get("stream").and_then(Value::as_bool).unwrap_or(false),
        ..Llm::default()
    }
}

fn tools(body: &Value) -> Vec<Tool> {
    let listed = body.get("tools").or(body.get("functions")).and_then(Value::as_list).unwrap_or_default();
    listed.iter().filter_map(|tool| declared(function(tool))).collect()
}

/// What describes a tool or a call of one: a function with JSON arguments, a custom tool with a text, or the thing itself.
fn function(of: &Value) -> &Value {
    of.get("function").or(of.get("custom")).unwrap_or(of)
}

/// A tool offered to the model: `name`, `description`, a schema.
pub(super) fn declared(tool: &Value) -> Option<Tool> {
    let name = arc(tool.get("name").or(tool.get("type")))?;
    Some(Tool {
        name,
        schema_hash: Some(crate::understand::definition_hash(tool)),
        description: arc(tool.get("description")).map(Sensitive::new),
        ..Tool::default()
    })
}

pub(super) fn read_message(value: &Value) -> Message {
    let role = role(value.get("role").and_then(Value::as_str));
    let content = value.get("content");
    let mut read = message(role, if role == Role::Tool { result_of(content) } else { text_of(content) });
    read.tool_calls = calls(value);
    read.answers = arc(value.get("tool_call_id"));
    read.tool_name = arc(value.get("name"));
    read
}

fn calls(message: &Value) -> Vec<ToolCall> {
    let listed = message.get("tool_calls").and_then(Value::as_list).unwrap_or_default();
    let old = message.get("function_call").filter(|call| call.as_map().is_some());
    let modern = listed.iter().filter_map(|item| {
        let function = function(item);
        Some(call(
            arc(item.get("id")),
            arc(function.get("name"))?,
            arguments(function.get("arguments").or(function.get("input"))),
        ))
    });
    modern
        .chain(old.and_then(|function| Some(call(None, arc(function.get("name"))?, arguments(function.get("arguments"))))))
        .collect()
}

/// Tool calls of a stream by their index, or by id where a server leaves the index out.
#[derive(Default)]
struct Joined {
    id: Option<Arc<str>>,
    name: String,
    arguments: String,
}

pub(super) fn response(body: &Body) -> Llm {
    let mut llm = Llm::default();
    let mut text = String::new();
    let mut joined: BTreeMap<i64, Joined> = BTreeMap::new();
    for value in body.values() {
        llm.response_id = llm.response_id.or_else(|| arc(value.get("id")));
        llm.model = arc(value.get("model")).filter(|model| !model.is_empty()).or(llm.model);
        if let Some(usage) = value.get("usage").or(value.pointer("/x_groq/usage")).filter(|usage| usage.as_map().is_some()) {
            llm.usage = read_usage(usage);
        }
        if let Some(error) = value.get("error").filter(|error| !matches!(error, Value::Null)) {
            llm.error = super::error(&Body::Whole(value.clone()));
            llm.refusal |= error.get("code").and_then(Value::as_str) == Some("content_filter");
        }
        // Of several answers to one request the first counts; in a stream each has chunks of its own.
        let choices = value.get("choices").and_then(Value::as_list).unwrap_or_default();
        let first = |choice: &&Value| choice.get("index").and_then(Value::as_i64).unwrap_or(0) == 0;
        let Some(choice) = choices.iter().find(first) else { continue };
        llm.stop_reason = arc(choice.get("finish_reason")).or(llm.stop_reason);
        let delta = choice.get("delta").filter(|delta| delta.as_map().is_some());
        // Writer's streams say each piece under both names.
        if let Some(whole) = choice.get("message").filter(|_| delta.is_none()) {
            text.push_str(&spoken(whole.get("content")));
            llm.tool_calls.extend(calls(whole));
            llm.refusal |= whole.get("refusal").and_then(Value::as_str).is_some();
        }
        text.push_str(choice.get("text").and_then(Value::as_str).unwrap_or_default());
        if let Some(delta) = delta {
            text.push_str(&spoken(delta.get("content")));
            llm.refusal |= delta.get("refusal").and_then(Value::as_str).is_some();
            join(&mut joined, delta);
        }
    }
    let cut = llm.stop_reason.is_none();
    llm.tool_calls.extend(joined.into_values().filter(|call| !call.name.is_empty()).map(|part| {
        let whole = Value::text(part.arguments);
        let mut read = call(part.id, part.name.into(), arguments(Some(&whole)));
        read.partial = cut;
        read
    }));
    llm.text = some_text(text);
    llm
}

fn join(joined: &mut BTreeMap<i64, Joined>, delta: &Value) {
    for (position, part) in delta.get("tool_calls").and_then(Value::as_list).unwrap_or_default().iter().enumerate() {
        let id = arc(part.get("id")).filter(|id| !id.is_empty());
        let by_id =
            id.as_ref().and_then(|id| joined.iter().find(|(_, call)| call.id.as_ref() == Some(id)).map(|(index, _)| *index));
        let index =
            part.get("index").and_then(Value::as_i64).or(by_id).unwrap_or_else(|| {
                if id.is_some() { joined.len() as i64 } else { (joined.len() as i64 - 1).max(position as i64) }
            });
        let call = joined.entry(index).or_default();
        call.id = id.or(call.id.take());
        let function = function(part);
        call.name.push_str(function.get("name").and_then(Value::as_str).unwrap_or_default());
        match function.get("arguments").or(function.get("input")) {
            Some(Value::Text(text)) => call.arguments.push_str(text),
            Some(whole @ Value::Map(_)) => call.arguments = whole.to_json(),
            _ => {}
        }
    }
    if let Some(function) = delta.get("function_call") {
        let call = joined.entry(0).or_default();
        call.name.push_str(function.get("name").and_then(Value::as_str).unwrap_or_default());
        call.arguments.push_str(function.get("arguments").and_then(Value::as_str).unwrap_or_default());
    }
}

fn read_usage(usage: &Value) -> Usage {
    Usage {
        input_tokens: number(usage.get("prompt_tokens").or(usage.get("input_tokens"))),
        output_tokens: number(usage.get("completion_tokens").or(usage.get("output_tokens"))),
        cached_tokens: number(usage.pointer("/prompt_tokens_details/cached_tokens")),
        reasoning_tokens: number(usage.pointer("/completion_tokens_details/reasoning_tokens")),
    }
}
