//! Google Gemini (`:generateContent`, `:streamGenerateContent`), at generativelanguage and Vertex.

use super::chat::declared;
use super::{Body, arc, arguments, call, message, number, role, some_text, text_of};
use crate::base::{Sensitive, Value};
use crate::understand::{Llm, Message, Role, Tool, ToolCall, Usage};

pub(super) fn request(body: &Value) -> Llm {
    let system = body.get("systemInstruction").or(body.get("system_instruction"));
    let system = system.map(|system| message(Role::System, text_of(system.get("parts").or(Some(system)))));
    let contents = body.get("contents").and_then(Value::as_list).unwrap_or_default();
    let tools = body.get("tools").and_then(Value::as_list).unwrap_or_default();
    let functions = tools.iter().flat_map(|tool| {
        tool.get("functionDeclarations").or(tool.get("function_declarations")).and_then(Value::as_list).unwrap_or_default()
    });
    // `{"googleSearch": {}}`: a tool of the provider's own.
    let own = tools.iter().filter_map(Value::as_map).flatten().filter(|(name, _)| !name.contains("unction"));
    let own = own.map(|(name, _)| Tool { name: name.clone(), ..Tool::default() });
    Llm {
        messages: system.into_iter().chain(contents.iter().flat_map(read_content)).collect(),
        tools: functions.filter_map(declared).chain(own).collect(),
        ..Llm::default()
    }
}

fn read_content(content: &Value) -> Vec<Message> {
    let mut own = message(role(content.get("role").and_then(Value::as_str)), String::new());
    let mut results = Vec::new();
    let mut texts = Vec::new();
    for part in content.get("parts").and_then(Value::as_list).unwrap_or_default() {
        if let Some(answer) = part.get("functionResponse").or(part.get("function_response")) {
            let mut result = message(Role::Tool, answer.get("response").map(Value::to_json).unwrap_or_default());
            result.answers = arc(answer.get("id"));
            result.tool_name = arc(answer.get("name"));
            results.push(result);
        } else if let Some(call) = function_call(part) {
            own.tool_calls.push(call);
        } else {
            texts.extend(part.get("text").and_then(Value::as_str));
        }
    }
    own.text = Sensitive::new(texts.join("\n").into());
    if !texts.is_empty() || !own.tool_calls.is_empty() || results.is_empty() {
        results.push(own);
    }
    results
}

/// Calls of functions, and code that the provider runs.
fn function_call(part: &Value) -> Option<ToolCall> {
    if let Some(code) = part.get("executableCode").or(part.get("executable_code")) {
        return Some(ToolCall { remote: true, ..call(arc(code.get("id")), "code_execution".into(), arguments(Some(code))) });
    }
    let function = part.get("functionCall").or(part.get("function_call"))?;
    Some(call(arc(function.get("id")), arc(function.get("name"))?, arguments(function.get("args"))))
}

pub(super) fn response(body: &Body) -> Llm {
    let mut llm = Llm::default();
    let mut text = String::new();
    for value in body.values() {
        llm.response_id = arc(value.get("responseId")).or(llm.response_id);
        llm.model = arc(value.get("modelVersion")).or(llm.model);
        llm.error = arc(value.pointer("/error/status")).or(llm.error);
        if let Some(usage) = value.get("usageMetadata") {
            llm.usage = read_usage(usage);
        }
        llm.refusal |= value.pointer("/promptFeedback/blockReason").is_some();
        let Some(candidate) = value.get("candidates").and_then(|candidates| candidates.index(0)) else { continue };
        llm.stop_reason = arc(candidate.get("finishReason")).or(llm.stop_reason);
        for part in candidate.pointer("/content/parts").and_then(Value::as_list).unwrap_or_default() {
            if part.get("thought").and_then(Value::as_bool) != Some(true) {
                text.push_str(part.get("text").and_then(Value::as_str).unwrap_or_default());
            }
            llm.tool_calls.extend(function_call(part));
        }
    }
    llm.text = some_text(text);
    llm
}

fn read_usage(usage: &Value) -> Usage {
    Usage {
        input_tokens: number(usage.get("promptTokenCount")),
        output_tokens: number(usage.get("candidatesTokenCount")),
        cached_tokens: number(usage.get("cachedContentTokenCount")),
        reasoning_tokens: number(usage.get("thoughtsTokenCount")),
    }
}
