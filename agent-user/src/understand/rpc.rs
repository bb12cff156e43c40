//! MCP and A2A over JSON-RPC: over HTTP, in event streams, on standard input and output.

use std::sync::Arc;

use super::llm::Body;
use super::streams::SESSION;
use super::{Action, Kind, Mcp, Tool};
use crate::base::{Anomaly, Sensitive, Value};
use crate::decode::jsonrpc::{Message, messages};
use crate::decode::{Header, Request, Response, header};

/// What a JSON-RPC request is.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) protocol: Protocol,
    pub(super) method: Arc<str>,
    /// The id as JSON text; `None` for a notification.
    pub(super) id: Option<Arc<str>>,
    pub(super) params: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Mcp,
    A2a,
    Other,
}

/// Method families of MCP 2024-11-05 to 2025-11-25.
const MCP_METHODS: &[&str] = &[
    "tools/",
    "resources/",
    "prompts/",
    "sampling/",
    "elicitation/",
    "roots/",
    "completion/",
    "logging/",
    "notifications/",
    "server/",
    "subscriptions/",
    "tasks/result",
];

const MISMATCH: Anomaly = Anomaly::new("mcp.header_mismatch");

/// Methods of A2A 0.2, 0.3 and 1.0.
const A2A_METHODS: &[&str] = &[
    "message/send",
    "message/stream",
    "tasks/send",
    "tasks/sendSubscribe",
    "tasks/get",
    "tasks/list",
    "tasks/cancel",
    "tasks/resubscribe",
    "tasks/pushNotificationConfig/",
    "agent/getAuthenticatedExtendedCard",
    "SendMessage",
    "SendStreamingMessage",
    "GetTask",
    "ListTasks",
    "CancelTask",
    "SubscribeToTask",
    "GetExtendedAgentCard",
];

/// The first request (or notification) in a body; batches are read by their first, as servers must refuse them since 2025-06-18.
pub(super) fn call(request: &Request, body: &Value, stdio: bool) -> Option<Call> {
    let (id, method, params) = messages(body).into_iter().find_map(|message| match message {
        Message::Request { id, method, params } => Some((Some(id), method, params)),
        Message::Notification { method, params } => Some((None, method, params)),
        Message::Response { .. } => None,
    })?;
    let mcp_header = header(&request.headers, SESSION).or(header(&request.headers, "mcp-protocol-version")).is_some();
    let known = |table: &[&str]| table.iter().any(|name| method == *name || (name.ends_with('/') && method.starts_with(name)));
    let protocol =
        // Some methods have the same name in both; A2A is not spoken over pipes.
        if mcp_header || known(MCP_METHODS) || matches!(method, "initialize" | "ping") || stdio {
            Protocol::Mcp
        } else if known(A2A_METHODS) {
            Protocol::A2a
        } else {
            Protocol::Other
        };
    Some(Call::new(protocol, id, method, params))
}

impl Call {
    pub(super) fn new(protocol: Protocol, id: Option<&Value>, method: &str, params: Option<&Value>) -> Call {
        let params = params.cloned().unwrap_or_else(|| Value::map::<&str>([]));
        Call { protocol, method: method.into(), id: id.map(id_text), params }
    }
}

/// A text as it is, a number as JSON.
pub(super) fn id_text(id: &Value) -> Arc<str> {
    id.as_str().map_or_else(|| id.to_json().into(), Arc::from)
}

/// What a call of another agent does. An answer that wants a login (`AUTH_REQUIRED`) or more words is no approval: nothing is approved
/// by A2A itself.
pub(super) fn effect_of_a2a(method: &str) -> &'static str {
    if method.contains("ancel") {
        "delete"
    } else if method.to_lowercase().contains("send") || method.contains("stream") {
        "egress"
    } else {
        "read"
    }
}

/// The method that a call means in A2A's binding to HTTP with JSON. What is asked of tasks there looks like any other API.
pub(super) fn a2a_over_http(request: &Request, body: &Value) -> Option<&'static str> {
    let path = request.path.trim_end_matches('/');
    let said = body.pointer("/message/parts").or(body.pointer("/message/content")).is_some();
    let methods = [("/message:send", "message/send"), ("/message:stream", "message/stream")];
    let named = methods.iter().find(|(end, _)| path.ends_with(end)).map(|(_, method)| *method);
    named.filter(|_| said && &*request.method == "POST")
}

/// Fills the action of a call.
pub(super) fn describe(action: &mut Action, call: &Call, request: &Request) {
    match call.protocol {
        Protocol::Mcp => {
            action.kind = Kind::McpRequest;
            action.mcp = Some(Mcp {
                version: text(&request.headers, "mcp-protocol-version")
                    .or_else(|| word(&call.params, "/protocolVersion"))
                    .or_else(|| meta(&call.params, "protocolVersion")?.as_str().map(Arc::from)),
                method: call.method.clone(),
                session: text(&request.headers, SESSION),
                client: word(&call.params, "/clientInfo/name").or_else(|| word(meta(&call.params, "clientInfo")?, "/name")),
                request_id: call.id.clone(),
                ..Mcp::default()
            });
            if &*call.method == "tools/call" {
                let name = word(&call.params, "/name").unwrap_or_else(|| "?".into());
                action.op = Some(format!("mcp:{name}").into());
                action.effect = super::words::effect_of_tool(&name).map(Arc::from);
                action.tool = Some(Tool { name, call_id: call.id.clone(), ..Tool::default() });
                let arguments = call.params.get("arguments").cloned().unwrap_or_else(|| Value::map::<&str>([]));
                action.object = super::api::object("", None, &arguments);
                action.arg = Sensitive::new(arguments);
            } else {
                // Asking the user: the answer is what approves. One name in every revision: 2026-07-28 asks inside of the call.
                let asks = &*call.method == "elicitation/create";
                let name = if asks { ELICITATION.into() } else { format!("mcp:{}", call.method) };
                action.op = Some(name.into());
                action.effect = Some(if asks { "approve" } else { "read" }.into());
                action.arg = Sensitive::new(call.params.clone());
            }
        }
        Protocol::A2a => {
            action.kind = Kind::A2aRequest;
            action.op = Some(format!("a2a:{}", call.method).into());
            action.effect = Some(effect_of_a2a(&call.method).into());
            action.arg = Sensitive::new(call.params.clone());
        }
        Protocol::Other => {
            action.op = Some(format!("jsonrpc:{}", call.method).into());
            action.effect = super::words::effect_of_tool(&call.method).map(Arc::from);
            action.arg = Sensitive::new(call.params.clone());
        }
    }
}

/// What the header fields of a call say that its body does not (2026-07-28).
pub(super) fn mismatch(call: &Call, request: &Request) -> Option<Anomaly> {
    let name = word(&call.params, "/name").or_else(|| word(&call.params, "/uri"));
    let differs = |header: &str, said: Option<&str>| text(&request.headers, header).is_some_and(|told| Some(&*told) != said);
    let odd = differs("mcp-method", Some(&*call.method)) || differs("mcp-name", name.as_deref());
    (call.protocol == Protocol::Mcp && odd).then_some(MISMATCH)
}

/// The call that a retry continues (2026-07-28): the state that the server gave, else the same call again.
pub(super) fn continued(call: &Call, result: Option<&Value>) -> Option<String> {
    let state = result.unwrap_or(&call.params).get("requestState").and_then(Value::as_str);
    let name = call.params.get("name").and_then(Value::as_str).unwrap_or_default();
    let arguments = call.params.get("arguments").map(Value::to_json).unwrap_or_default();
    (call.protocol == Protocol::Mcp).then(|| state.map_or_else(|| format!("{} {name} {arguments}", call.method), str::to_owned))
}

/// The operation that asks the user.
pub(super) const ELICITATION: &str = "mcp:elicitation";

/// What the user answered, as `elicitation/create` is answered: `action` and `content`. The answers of 2026-07-28 stand under names of
/// their own; the first that is one is meant, and one that was declined counts more than any that was accepted.
pub(super) fn answered(answers: &Value) -> Value {
    let each = answers.as_map().unwrap_or_default().iter().map(|(_, answer)| answer);
    let acted = |answer: &&Value| answer.get("action").and_then(Value::as_str).is_some();
    let accepted = |answer: &Value| answer.get("action").and_then(Value::as_str) == Some("accept");
    let chosen = each.filter(acted).min_by_key(|answer| accepted(answer));
    chosen.unwrap_or(answers).clone()
}

/// What requests and answers say of their senders since 2026-07-28.
fn meta<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    value.get("_meta")?.get(&format!("io.modelcontextprotocol/{name}"))
}

/// The name of the server that gave an answer.
pub(super) fn server_of(result: &Value) -> Option<Arc<str>> {
    word(meta(result, "serverInfo")?, "/name").filter(|name| !name.is_empty())
}

/// The server wants answers of the user before it goes on.
pub(super) fn wants_input(result: &Value) -> bool {
    result.get("inputRequests").is_some() || result.get("resultType").and_then(Value::as_str) == Some("input_required")
}

/// The answer of a call, wherever it stands in the response.
pub(super) struct Answer {
    pub(super) result: Value,
    pub(super) is_error: bool,
}

pub(super) fn answer(call: &Call, response: &Response) -> Option<Answer> {
    let id = call.id.as_ref()?;
    let body = Body::read(response);
    body.values().flat_map(answers).find_map(|(answered, answer)| (answered == *id).then_some(answer))
}

/// The answers in a body, with the ids of the calls that they answer.
pub(super) fn answers(body: &Value) -> Vec<(Arc<str>, Answer)> {
    messages(body).into_iter().filter_map(|message| Answer::of(&message)).collect()
}

impl Answer {
    pub(super) fn of(message: &Message<'_>) -> Option<(Arc<str>, Answer)> {
        let Message::Response { id, result, error } = message else { return None };
        let failed = error.is_some() || result.and_then(|result| result.get("isError")).and_then(Value::as_bool) == Some(true);
        let value = result.cloned().or_else(|| error.map(|error| Value::map([("error", error.clone())])))?;
        Some((id_text(id), Answer { result: value, is_error: failed }))
    }
}

pub(super) fn text(headers: &[Header], name: &str) -> Option<Arc<str>> {
    header(headers, name).and_then(|value| std::str::from_utf8(value).ok()).map(Arc::from)
}

fn word(value: &Value, pointer: &str) -> Option<Arc<str>> {
    value.pointer(pointer).and_then(Value::as_str).map(Arc::from)
}
