//! Ollama (`/api/chat`, `/api/generate`): one JSON, or a line each.

use super::chat::{declared, read_message};
use super::{Body, arc, arguments, call, message, number, some_text, text_of};
use crate::base::Value;
use crate::understand::{Llm, Role, Usage};

pub(super) fn request(body: &Value) -> Llm {
    let messages = body.get("messages").and_then(Value::as_list).unwrap_or_default();
    let system = body.get("system").map(|system| message(Role::System, text_of(Some(system))));
    let prompt = body.get("prompt").map(|prompt| message(Role::User, text_of(Some(prompt))));
    let tools = body.get("tools").and_then(Value::as_list).unwrap_or_default();
    Llm {
        model: arc(body.get("model")),
        messages: system.into_iter().chain(messages.iter().map(read_message)).chain(prompt).collect(),
        tools: tools.iter().filter_map(|tool| declared(tool.get("function").unwrap_or(tool))).collect(),
        streamed: body.get("stream").and_then(Value::as_bool).unwrap_or(true),
        ..Llm::default()
    }
}

pub(super) fn response(body: &Body) -> Llm {
    let mut llm = Llm::default();
    let mut text = String::new();
    for value in body.values() {
        llm.model = arc(value.get("model")).or(llm.model);
        llm.error = arc(value.get("error")).or(llm.error);
        llm.stop_reason = arc(value.get("done_reason")).or(llm.stop_reason);
        text.push_str(value.get("response").and_then(Value::as_str).unwrap_or_default());
        text.push_str(value.pointer("/message/content").and_then(Value::as_str).unwrap_or_default());
        for item in value.pointer("/message/tool_calls").and_then(Value::as_list).unwrap_or_default() {
            let function = item.get("function").unwrap_or(item);
            llm.tool_calls.extend(
                arc(function.get("name")).map(|name| call(arc(item.get("id")), name, arguments(function.get("arguments")))),
            );
        }
        if value.get("done").and_then(Value::as_bool) == Some(true) {
            llm.usage = Usage {
                input_tokens: number(value.get("prompt_eval_count")),
                output_tokens: number(value.get("eval_count")),
                ..Usage::default()
            };
        }
    }
    llm.text = some_text(text);
    llm
}
