//! Model APIs: a request or response body in any provider's JSON becomes one [`Llm`].
//!
//! The dialect is known by the path and the shape of the body, not by the host: gateways and local servers speak them too. A stream
//! reads to the same value as the answer without stream.

mod anthropic;
mod bedrock;
mod chat;
mod cohere;
mod cohere_v1;
mod gemini;
mod ollama;
pub(super) mod responses;
mod stream;

use std::sync::Arc;

use super::{Llm, Message, Role, ToolCall};
use crate::base::{Sensitive, Value};
use crate::decode::{Request, Response, json};

pub(super) use stream::Body;

/// Who speaks how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// OpenAI Chat Completions and all that copy it.
    Chat,
    /// OpenAI Responses.
    Responses,
    Anthropic,
    /// Bedrock InvokeModel: the body is that of the model's maker.
    Invoke,
    Gemini,
    Ollama,
    /// Bedrock Converse.
    Converse,
    Cohere,
    CohereV1,
    /// Anthropic's text completions (`/v1/complete`).
    Complete,
}

/// `gen_ai.provider.name` of the OpenTelemetry GenAI conventions, by the end of the host name.
const PROVIDERS: &[(&str, &str)] = &[
    ("openai.azure.com", "azure.ai.openai"),
    ("services.ai.azure.com", "azure.ai.inference"),
    ("inference.ai.azure.com", "azure.ai.inference"),
    ("api.openai.com", "openai"),
    ("chatgpt.com", "openai"),
    ("api.anthropic.com", "anthropic"),
    ("generativelanguage.googleapis.com", "gcp.gemini"),
    ("aiplatform.googleapis.com", "gcp.vertex_ai"),
    ("amazonaws.com", "aws.bedrock"),
    ("api.mistral.ai", "mistral_ai"),
    ("cohere.com", "cohere"),
    ("cohere.ai", "cohere"),
    ("api.groq.com", "groq"),
    ("api.deepseek.com", "deepseek"),
    ("api.x.ai", "x_ai"),
    ("api.perplexity.ai", "perplexity"),
    ("watsonx.ai", "ibm.watsonx.ai"),
    ("openrouter.ai", "openrouter"),
    ("api.together.xyz", "together_ai"),
    ("api.together.ai", "together_ai"),
    ("api.cerebras.ai", "cerebras"),
    ("api.sambanova.ai", "sambanova"),
    ("integrate.api.nvidia.com", "nvidia"),
    ("huggingface.co", "hugging_face"),
    ("api.moonshot.ai", "moonshot_ai"),
    ("api.writer.com", "writer"),
    ("api.ai21.com", "ai21"),
    ("api.fireworks.ai", "fireworks_ai"),
];

impl Dialect {
    /// `None` when the request is no model call.
    pub(super) fn of(method: &str, path: &str, body: &Value) -> Option<Dialect> {
        if method != "POST" {
            return None;
        }
        let path = path.trim_end_matches('/');
        let has = |key: &str| body.get(key).is_some();
        let ends = |end: &str| path.ends_with(end);
        if ends("/completions") && (has("messages") || has("prompt")) {
            Some(Dialect::Chat)
        } else if ends("/responses") && (has("input") || has("previous_response_id") || has("prompt")) {
            Some(Dialect::Responses)
        } else if ends("/messages") && has("messages") && (has("max_tokens") || has("model")) {
            Some(Dialect::Anthropic)
        } else if path.contains(":generateContent") || path.contains(":streamGenerateContent") {
            has("contents").then_some(Dialect::Gemini)
        } else if path.contains(":rawPredict") || path.contains(":streamRawPredict") {
            has("messages").then_some(Dialect::Anthropic)
        } else if ends("/converse") || ends("/converse-stream") {
            has("messages").then_some(Dialect::Converse)
        } else if ends("/invoke") || ends("/invoke-with-response-stream") {
            let asks = ["messages", "prompt", "inputText"].into_iter().any(has);
            (path.contains("/model/") && asks).then_some(Dialect::Invoke)
        } else if ends("/api/chat") || ends("/api/generate") {
            (has("model") && (has("messages") || has("prompt"))).then_some(Dialect::Ollama)
        } else if ends("/v2/chat") {
            has("messages").then_some(Dialect::Cohere)
        } else if ends("/v1/chat") && has("message") {
            Some(Dialect::CohereV1)
        } else if ends("/complete") && has("prompt") && has("max_tokens_to_sample") {
            Some(Dialect::Complete)
        } else {
            converses(body).then_some(Dialect::Chat)
        }
    }

    fn default_provider(self) -> &'static str {
        match self {
            Dialect::Chat | Dialect::Responses => "openai",
            Dialect::Anthropic | Dialect::Complete => "anthropic",
            Dialect::Invoke | Dialect::Converse => "aws.bedrock",
            Dialect::Gemini => "gcp.gemini",
            Dialect::Ollama => "ollama",
            Dialect::Cohere | Dialect::CohereV1 => "cohere",
        }
    }

    pub(super) fn provider(self, host: &str) -> Arc<str> {
        let host = host.split(':').next().unwrap_or_default();
        let known = PROVIDERS
            .iter()
            .find(|(end, _)| host == *end || host.strip_suffix(end).is_some_and(|front| front.ends_with(['.', '-'])));
        known.map_or(self.default_provider(), |(_, name)| name).into()
    }

    pub(super) fn request(self, request: &Request, body: &Value) -> Llm {
        let mut llm = match self {
            Dialect::Chat => chat::request(body),
            Dialect::Responses => responses::request(body),
            Dialect::Anthropic => anthropic::request(body),
            Dialect::Invoke => bedrock::invoke(body),
            Dialect::Gemini => gemini::request(body),
            Dialect::Ollama => ollama::request(body),
            Dialect::Converse => bedrock::request(body),
            Dialect::Cohere => cohere::request(body),
            Dialect::CohereV1 => cohere_v1::request(body),
            Dialect::Complete => chat::request(body),
        };
        llm.provider = Some(self.provider(&request.host));
        if llm.model.is_none() {
            llm.model = model_of_path(&request.path);
        }
        llm.streamed |= STREAMS.iter().any(|word| request.path.ends_with(word));
        llm
    }

    /// What the response says. An error answer says only that.
    pub(super) fn response(self, response: &Response) -> Llm {
        let body = Body::read(response);
        if response.status >= 400 {
            return Llm { error: error(&body), ..Llm::default() };
        }
        let mut llm = match self {
            Dialect::Chat => chat::response(&body),
            Dialect::Responses => responses::response(&body),
            Dialect::Anthropic => anthropic::response(&body),
            Dialect::Invoke => bedrock::invoked(bedrock::unwrap(body)),
            Dialect::Gemini => gemini::response(&body),
            Dialect::Ollama => ollama::response(&body),
            Dialect::Converse => bedrock::response(&body),
            Dialect::Cohere => cohere::response(&body),
            Dialect::CohereV1 => cohere_v1::response(&body),
            Dialect::Complete => bedrock::invoked(body),
        };
        if self == Dialect::Invoke {
            bedrock::counted(&response.headers, &mut llm.usage);
        }
        llm.streamed = response.events > 0;
        llm.refusal |= llm.stop_reason.as_deref().is_some_and(|reason| REFUSALS.contains(&reason));
        llm
    }
}

/// Reasons to stop that are a refusal: of the model, of a filter, of a guardrail.
const REFUSALS: [&str; 12] = [
    "refusal",
    "content_filter",
    "content_filtered",
    "guardrail_intervened",
    "SAFETY",
    "PROHIBITED_CONTENT",
    "BLOCKLIST",
    "SPII",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "ERROR_TOXIC",
    "MODEL_ARMOR",
];

/// Where the path, and not the body, asks for a stream.
const STREAMS: [&str; 4] = ["/converse-stream", "/invoke-with-response-stream", ":streamGenerateContent", ":streamRawPredict"];

/// A conversation at a path that nobody knows: a model is named, and every message has a role and something said.
fn converses(body: &Value) -> bool {
    const ROLES: [&str; 5] = ["system", "developer", "user", "assistant", "tool"];
    let messages = body.get("messages").and_then(Value::as_list).unwrap_or_default();
    let said = |message: &Value| {
        message.get("role").and_then(Value::as_str).is_some_and(|role| ROLES.contains(&role))
            && (message.get("content").is_some() || message.get("tool_calls").is_some())
    };
    body.get("model").and_then(Value::as_str).is_some() && !messages.is_empty() && messages.iter().all(said)
}

/// `/v1beta/models/gemini-2.5-pro:generateContent`, `/model/anthropic.claude-v1:0/converse`, `/deployments/gpt-5/chat/completions`.
fn model_of_path(path: &str) -> Option<Arc<str>> {
    let mut parts = path.split('/');
    while let Some(part) = parts.next() {
        let name = match part {
            // An id or an ARN, both with colons of their own.
            "model" | "deployments" | "serving-endpoints" | "endpoints" => parts.next()?,
            "models" | "tunedModels" => parts.next()?.split(':').next()?,
            _ => continue,
        };
        // `/models/chat/completions` names none.
        return (!matches!(name, "" | "chat" | "openapi"))
            .then(|| percent_encoding::percent_decode_str(name).decode_utf8_lossy().into());
    }
    None
}

fn error(body: &Body) -> Option<Arc<str>> {
    let value = match body {
        Body::Whole(value) => value,
        Body::Events(events) => &events.first()?.1,
    };
    let error = value.get("error").unwrap_or(value);
    let word = ["type", "code", "status", "message", "__type"].iter().find_map(|name| error.get(name).and_then(Value::as_str));
    word.or(error.as_str()).map(Arc::from).or_else(|| Some("error".into()))
}

/// Arguments as a value: providers send JSON text or an object. Text that is no JSON stays text.
fn arguments(value: Option<&Value>) -> Sensitive<Value> {
    let value = match value {
        Some(Value::Text(text)) if text.trim().is_empty() => Value::map::<&str>([]),
        Some(Value::Text(text)) => json::parse(text.as_bytes()).value.unwrap_or_else(|| Value::Text(text.clone())),
        Some(value) => value.clone(),
        None => Value::map::<&str>([]),
    };
    Sensitive::new(value)
}

fn arc(value: Option<&Value>) -> Option<Arc<str>> {
    value.and_then(Value::as_str).map(Arc::from)
}

/// A count. Some providers write whole numbers with a fraction of nothing.
fn number(value: Option<&Value>) -> Option<u64> {
    let Some(Value::Number(number)) = value else { return None };
    let whole = number.as_f64();
    let exact = number.as_i64().or_else(|| (whole.fract() == 0.0 && whole.abs() < 9e15).then_some(whole as i64));
    exact.and_then(|number| u64::try_from(number).ok())
}

/// What a model said: the parts follow each other, as they do in a stream.
fn spoken(content: Option<&Value>) -> String {
    match content {
        Some(Value::List(parts)) => {
            parts.iter().filter_map(|part| part.as_str().or_else(|| part.get("text").and_then(Value::as_str))).collect()
        }
        content => text_of(content),
    }
}

/// What a tool gave back: texts, and the texts of documents and search results in it.
fn result_of(content: Option<&Value>) -> String {
    let Some(content) = content else { return String::new() };
    match content {
        Value::Text(text) => text.to_string(),
        Value::List(parts) => {
            let texts: Vec<String> = parts.iter().map(|part| result_of(Some(part))).filter(|text| !text.is_empty()).collect();
            texts.join("\n")
        }
        Value::Map(_) => {
            let inside = ["text", "output", "content", "document", "source", "data", "json"].into_iter();
            let part = inside.filter_map(|name| content.get(name)).find(|part| !matches!(part, Value::Null));
            // Images and files in base64 are no text.
            let encoded =
                matches!(content.get("type").and_then(Value::as_str), Some("base64" | "image" | "input_image" | "input_file"));
            match part.filter(|_| !encoded) {
                Some(part) => result_of(Some(part)),
                None if encoded || content.get("type").is_some() => String::new(),
                None => content.to_json(),
            }
        }
        Value::Null => String::new(),
        other => other.to_json(),
    }
}

/// The text of a content: a string, or the `text` of its parts.
fn text_of(content: Option<&Value>) -> String {
    match content {
        Some(Value::Text(text)) => text.to_string(),
        Some(Value::List(parts)) => {
            let texts = parts.iter().filter_map(|part| part.as_str().or_else(|| part.get("text").and_then(Value::as_str)));
            texts.collect::<Vec<_>>().join("\n")
        }
        Some(Value::Map(_)) => content.and_then(|part| part.get("text")).and_then(Value::as_str).unwrap_or_default().to_owned(),
        _ => String::new(),
    }
}

fn message(role: Role, text: String) -> Message {
    Message { role, text: Sensitive::new(text.into()), tool_calls: Vec::new(), answers: None, tool_name: None, is_error: false }
}

fn role(name: Option<&str>) -> Role {
    match name {
        Some("system" | "developer") => Role::System,
        Some("assistant" | "model" | "chatbot" | "CHATBOT") => Role::Assistant,
        Some("tool" | "function" | "TOOL") => Role::Tool,
        _ => Role::User,
    }
}

fn some_text(text: String) -> Option<Sensitive<Arc<str>>> {
    (!text.is_empty()).then(|| Sensitive::new(text.into()))
}

fn call(id: Option<Arc<str>>, name: Arc<str>, arguments: Sensitive<Value>) -> ToolCall {
    ToolCall { id, name, arguments, remote: false, partial: false }
}

#[cfg(test)]
mod tests;
