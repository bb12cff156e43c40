//! **understand**: messages become [`Action`]s: LLM calls, declared tool calls, MCP and A2A requests, API calls.
//!
//! In: [`HttpEvent`]. Out: [`Draft`]. Only this stage knows provider JSON. It decides what one message means on its own and what
//! identity it carries; who caused whom is the next stage's work.

mod api;
mod calls;
mod identity;
mod llm;
mod memory;
mod ownership;
mod paths;
mod retry;
mod rpc;
mod side;
mod socket;
mod sources;
mod stage;
mod streams;
pub(crate) mod words;

use std::sync::Arc;

use crate::base::{ActionId, ExchangeId, Incomplete, ProcessKey, Sensitive, Timestamp, Value};
use crate::decode::Exchange;
use crate::reassemble::{Fact, Flow};

pub use sources::{HostSources, Source};
pub use stage::Understand;

/// What kind of step this is; the names are those of rules (`kind`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    LlmRequest,
    LlmResponse,
    ToolCall,
    ToolResult,
    McpRequest,
    ApiRequest,
    /// Only a response whose request was not seen: a seen one is folded into its `api.request` (`status`, `result`).
    ApiResponse,
    A2aRequest,
    ProcessExec,
    FileWrite,
    NetConnect,
    /// A memory tool or a vector store is written to.
    MemoryWrite,
    /// agentward on itself: a blind spot, loss, a dead probe.
    SelfReport,
}

impl Kind {
    pub const ALL: [Kind; 13] = [
        Kind::LlmRequest,
        Kind::LlmResponse,
        Kind::ToolCall,
        Kind::ToolResult,
        Kind::McpRequest,
        Kind::ApiRequest,
        Kind::ApiResponse,
        Kind::A2aRequest,
        Kind::ProcessExec,
        Kind::FileWrite,
        Kind::NetConnect,
        Kind::MemoryWrite,
        Kind::SelfReport,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::LlmRequest => "llm.request",
            Kind::LlmResponse => "llm.response",
            Kind::ToolCall => "tool.call",
            Kind::ToolResult => "tool.result",
            Kind::McpRequest => "mcp.request",
            Kind::ApiRequest => "api.request",
            Kind::ApiResponse => "api.response",
            Kind::A2aRequest => "a2a.request",
            Kind::ProcessExec => "process.exec",
            Kind::FileWrite => "file.write",
            Kind::NetConnect => "net.connect",
            Kind::MemoryWrite => "memory.write",
            Kind::SelfReport => "self",
        }
    }
}

/// A word and where it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    pub value: Arc<str>,
    /// `jwt:/sub`, `header:x-forwarded-user`, `path:tenant`, `process`, …
    pub source: Arc<str>,
    pub confidence: Confidence,
}

/// How far an identity can be trusted (policy-siem 5.2). Ordered: later is stronger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Confidence {
    #[default]
    Guessed,
    Claimed,
    /// The server answered 2xx to it.
    Accepted,
    Proved,
}

impl Confidence {
    pub fn name(self) -> &'static str {
        match self {
            Confidence::Guessed => "guessed",
            Confidence::Claimed => "claimed",
            Confidence::Accepted => "accepted",
            Confidence::Proved => "proved",
        }
    }
}

/// Who did it, for whom, with what authority. Every part is optional: absent means not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Identity {
    pub agent_id: Option<Claim>,
    pub agent_name: Option<Claim>,
    pub agent_version: Option<Arc<str>>,
    pub agent_framework: Option<Arc<str>>,
    pub user: Option<Claim>,
    pub user_roles: Vec<Arc<str>>,
    pub tenant: Option<Claim>,
    /// Sources disagree on the tenant.
    pub tenant_conflict: bool,
    pub token: Option<Token>,
    /// Keyed hash of the credential that was used; never the credential.
    pub credential: Option<Arc<str>>,
    pub traceparent: Option<Arc<str>>,
}

/// Claims of a bearer token, read without being trusted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Token {
    pub iss: Option<Arc<str>>,
    pub aud: Vec<Arc<str>>,
    pub scopes: Vec<Arc<str>>,
    /// RFC 8693 `act` chain, current actor first.
    pub act: Vec<Arc<str>>,
    pub delegated: bool,
    /// Seconds since the epoch.
    pub exp: Option<i64>,
}

/// What was acted on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    pub kind: Option<Arc<str>>,
    pub id: Option<Arc<str>>,
    pub owner: Option<Arc<str>>,
    pub tenant: Option<Arc<str>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http {
    pub method: Arc<str>,
    pub host: Arc<str>,
    pub path: Arc<str>,
    pub query: Sensitive<Arc<str>>,
    /// Learned or declared path template, e.g. `/v1/orders/{id}/refunds`.
    pub template: Option<Arc<str>>,
    pub scheme: &'static str,
    pub peer: Option<Arc<str>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tool {
    pub name: Arc<str>,
    pub server: Option<Arc<str>>,
    /// SHA-256 over the canonical JSON of the definition, hex.
    pub schema_hash: Option<Arc<str>>,
    /// The provider's id of the call: joins a `tool.call` with its `tool.result`.
    pub call_id: Option<Arc<str>>,
    pub description: Option<Sensitive<Arc<str>>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mcp {
    pub server: Option<Arc<str>>,
    pub version: Option<Arc<str>>,
    pub method: Arc<str>,
    pub session: Option<Arc<str>>,
    pub client: Option<Arc<str>>,
    /// JSON-RPC id as text.
    pub request_id: Option<Arc<str>>,
    pub is_error: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub input_tokens: Option<u64>,
    pub output_tokens: Option<u64>,
    pub cached_tokens: Option<u64>,
    pub reasoning_tokens: Option<u64>,
}

/// One message of a conversation, reduced to what correlation and provenance need.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub role: Role,
    pub text: Sensitive<Arc<str>>,
    /// Tool calls that an assistant message repeats.
    pub tool_calls: Vec<ToolCall>,
    /// The call that a tool message answers.
    pub answers: Option<Arc<str>>,
    pub tool_name: Option<Arc<str>>,
    pub is_error: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    System,
    User,
    Assistant,
    Tool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    pub id: Option<Arc<str>>,
    pub name: Arc<str>,
    /// Parsed arguments; text that is no JSON stays text.
    pub arguments: Sensitive<Value>,
    /// Executed by the provider: no local effect follows.
    pub remote: bool,
    /// The stream ended inside it.
    pub partial: bool,
}

/// The call that message number `at` of a conversation answers: by its id; where a provider gives none (Ollama, Gemini, Cohere's first
/// chat), the call of the same name, else of the same place, in the turn before it.
pub(crate) fn call_of(messages: &[Message], at: usize) -> Option<&ToolCall> {
    let message = messages.get(at)?;
    if let Some(id) = &message.answers {
        return messages.iter().flat_map(|message| &message.tool_calls).find(|call| call.id.as_ref() == Some(id));
    }
    let turn = messages[..at].iter().rposition(|earlier| !earlier.tool_calls.is_empty())?;
    let results = messages[turn + 1..at].iter().filter(|earlier| earlier.role == Role::Tool);
    let calls = &messages[turn].tool_calls;
    match &message.tool_name {
        Some(name) => {
            let before = results.filter(|earlier| earlier.tool_name.as_ref() == Some(name)).count();
            calls.iter().filter(|call| call.name == *name).nth(before)
        }
        None => calls.get(results.count()),
    }
}

/// The LLM side of an action.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Llm {
    pub provider: Option<Arc<str>>,
    pub model: Option<Arc<str>>,
    /// Request: the whole conversation as sent, in order.
    pub messages: Vec<Message>,
    /// Request: tools offered to the model.
    pub tools: Vec<Tool>,
    /// Response.
    pub tool_calls: Vec<ToolCall>,
    /// Response: what the tools that the provider ran gave back.
    pub results: Vec<Message>,
    pub text: Option<Sensitive<Arc<str>>>,
    pub stop_reason: Option<Arc<str>>,
    pub refusal: bool,
    pub error: Option<Arc<str>>,
    pub usage: Usage,
    pub response_id: Option<Arc<str>>,
    pub previous_response_id: Option<Arc<str>>,
    pub conversation_id: Option<Arc<str>>,
    pub streamed: bool,
    /// Which of several answers on one connection this is about (`stream_id`).
    pub lane: Option<Arc<str>>,
}

/// A process or file effect of a tracked process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    pub exe: Option<Arc<str>>,
    pub argv: Sensitive<Vec<Arc<str>>>,
    pub path: Option<Arc<str>>,
    pub to: Option<Arc<str>>,
    pub op: &'static str,
    pub peer: Option<Arc<str>>,
}

/// The normalized step that rules judge (policy-siem 2.4).
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    pub id: ActionId,
    pub time: Timestamp,
    pub kind: Kind,
    pub process: ProcessKey,
    pub flow: Option<Arc<Flow>>,
    pub exchange: Option<ExchangeId>,
    /// Operation id: of the vocabulary where one names it, else inferred (`POST shop.example/v1/orders/{id}/refunds`,
    /// `mcp:read_file`, `tool:refund_order`).
    pub op: Option<Arc<str>>,
    /// `read`, `write`, `delete`, `money`, `admin`, `egress`, `approve`, `exec`.
    pub effect: Option<Arc<str>>,
    pub identity: Identity,
    pub object: Option<Object>,
    /// Arguments by name; a body that is no map is `{"body": …}`.
    pub arg: Sensitive<Value>,
    pub result: Option<Sensitive<Value>>,
    pub status: Option<u16>,
    pub http: Option<Http>,
    pub tool: Option<Tool>,
    pub mcp: Option<Mcp>,
    pub llm: Option<Box<Llm>>,
    pub system: Option<Effect>,
    /// The captured process was the server: this call entered it.
    pub inbound: bool,
    /// The agent's own housekeeping (title generation, telemetry), not the user's workflow.
    pub side_call: bool,
    /// The call that this one sends again: it carries the same idempotency key to the same operation.
    pub repeats: Option<ActionId>,
    pub incomplete: Vec<Incomplete>,
    pub anomalies: Vec<crate::base::Anomaly>,
}

/// What understand hands on. An action is `Opened` when its request is known and `Completed` when its answer is (or
/// never will be); both carry the same id. Actions without an answer are `Completed` at once, without `Opened`.
#[derive(Clone, Debug, PartialEq)]
pub enum Draft {
    Opened(Box<Action>),
    Completed(Box<Action>),
    /// Processes, sockets, files: correlate keeps the tree and makes effects of them.
    Fact {
        ts: Timestamp,
        fact: Fact,
    },
    /// For `replay --emit exchanges` and the ledger; correlate ignores it.
    Exchange {
        ts: Timestamp,
        exchange: Arc<Exchange>,
    },
}

/// SHA-256 over the canonical JSON of a tool's definition, hex: keys sorted, so that order says nothing.
pub(crate) fn definition_hash(definition: &Value) -> Arc<str> {
    use sha2::{Digest, Sha256};
    use std::fmt::Write;
    let digest = Sha256::digest(canonical(definition).to_json().as_bytes());
    let mut text = String::with_capacity(64);
    for byte in digest {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
    }
    text.into()
}

fn canonical(value: &Value) -> Value {
    match value {
        Value::Map(entries) => {
            let mut sorted: Vec<(Arc<str>, Value)> = entries.iter().map(|(key, value)| (key.clone(), canonical(value))).collect();
            sorted.sort_by(|one, other| one.0.cmp(&other.0));
            Value::Map(sorted.into())
        }
        Value::List(items) => Value::list(items.iter().map(canonical)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => value.clone(),
    }
}
