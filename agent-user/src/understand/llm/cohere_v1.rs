//! Cohere's first chat (`/v1/chat`): one `message` beside a `chat_history`; calls and results of tools carry no ids.
//!
//! Shapes: docs.cohere.com, reference "Chat (v1)" and "Chat with Streaming (v1)".

use super::chat::declared;
use super::{Body, arc, arguments, call, message, number, role, some_text, text_of};
use crate::base::Value;
use crate::understand::{Llm, Message, Role, ToolCall, Usage};

pub(super) fn request(body: &Value) -> Llm {
    let preamble = body.get("preamble").filter(|text| text.as_str().is_some());
    let mut messages: Vec<Message> = preamble.map(|text| message(Role::System, text_of(Some(text)))).into_iter().collect();
    messages.extend(list(body, "chat_history").flat_map(turn));
    // Beside results of tools the message is empty, or what was asked before.
    messages.extend(
        body.get("message")
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .map(|text| message(Role::User, text.to_owned())),
    );
    messages.extend(results(body));
    Llm {
        model: arc(body.get("model")),
        messages,
        tools: list(body, "tools").filter_map(declared).collect(),
        conversation_id: arc(body.get("conversation_id")),
        streamed: body.get("stream").and_then(Value::as_bool).unwrap_or(false),
        ..Llm::default()
    }
}

fn list<'a>(of: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    of.get(name).and_then(Value::as_list).unwrap_or_default().iter()
}

fn turn(value: &Value) -> Vec<Message> {
    let results: Vec<Message> = results(value).collect();
    if !results.is_empty() {
        return results;
    }
    let mut said = message(role(value.get("role").and_then(Value::as_str)), text_of(value.get("message")));
    said.tool_calls = calls(value);
    vec![said]
}

fn results(of: &Value) -> impl Iterator<Item = Message> {
    list(of, "tool_results").map(|result| {
        let outputs = list(result, "outputs").map(Value::to_json).collect::<Vec<_>>();
        let mut said = message(Role::Tool, outputs.join("\n"));
        said.tool_name = arc(result.pointer("/call/name"));
        said
    })
}

fn calls(of: &Value) -> Vec<ToolCall> {
    let read = |item: &Value| Some(call(None, arc(item.get("name"))?, arguments(item.get("parameters"))));
    list(of, "tool_calls").filter_map(read).collect()
}

pub(super) fn response(body: &Body) -> Llm {
    let events: Vec<&Value> = body.values().collect();
    // The last event of a stream repeats the answer whole.
    if let Some(whole) =
        events.iter().find_map(|event| event.get("response").or(event.get("event_type").is_none().then_some(event)))
    {
        return answer(whole);
    }
    let text: String = events.iter().filter_map(|event| event.get("text")?.as_str()).collect();
    let mut calls: Vec<ToolCall> = events.iter().flat_map(|event| calls(event)).collect();
    calls.iter_mut().for_each(|call| call.partial = true);
    Llm {
        response_id: events.iter().find_map(|event| arc(event.get("generation_id"))),
        tool_calls: calls,
        text: some_text(text),
        ..Llm::default()
    }
}

fn answer(whole: &Value) -> Llm {
    Llm {
        response_id: arc(whole.get("response_id").or(whole.get("generation_id"))),
        stop_reason: arc(whole.get("finish_reason")),
        tool_calls: calls(whole),
        text: some_text(text_of(whole.get("text"))),
        usage: Usage {
            input_tokens: number(whole.pointer("/meta/tokens/input_tokens")),
            output_tokens: number(whole.pointer("/meta/tokens/output_tokens")),
            ..Usage::default()
        },
        ..Llm::default()
    }
}
