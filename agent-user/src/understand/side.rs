//! Calls that agent programs make for themselves: titles, safety checks, telemetry. They are nobody's request.

use super::Llm;
use super::Role;
use crate::base::Value;
use crate::decode::{Request, header};

/// What titles and summaries are asked for with.
const WISHES: [&str; 6] = [
    "generate a concise title",
    "generate a short title",
    "title for this conversation",
    "title for the conversation",
    "generate a title",
    "sentence-case title",
];

/// Parts of the names of models that judge texts and do nothing else.
const GUARDS: [&str; 8] =
    ["llama-guard", "llama_guard", "prompt-guard", "shieldgemma", "granite-guardian", "safeguard", "nemoguard", "wildguard"];

/// Where programs report how they are used and what went wrong.
const TELEMETRY: [&str; 13] = [
    "sentry.io",
    "posthog.com",
    "segment.io",
    "statsigapi.net",
    "featuregates.org",
    "mixpanel.com",
    "amplitude.com",
    "datadoghq.com",
    "langfuse.com",
    "smith.langchain.com",
    "honeycomb.io",
    "nr-data.net",
    "bugsnag.com",
];

/// A model call without tools that asks for a title, or asks a model that only judges.
pub(super) fn asks(llm: &Llm) -> bool {
    let guard = llm.model.as_ref().is_some_and(|model| {
        let model = model.to_lowercase();
        GUARDS.iter().any(|name| model.contains(name))
    });
    let titles = || {
        llm.messages.iter().filter(|message| matches!(message.role, Role::System | Role::User)).any(|message| {
            let text = message.text.expose_content().to_lowercase();
            WISHES.iter().any(|wish| text.contains(wish))
        })
    };
    llm.tools.is_empty() && (guard || llm.messages.len() <= 4 && titles())
}

/// A report or a safety check. What a model decided may go to the same places: that is for `correlate` to see.
pub(super) fn reports(request: &Request, body: &Value) -> bool {
    if &*request.method != "POST" {
        return false;
    }
    let host = request.host.split(':').next().unwrap_or_default();
    let path = request.path.trim_end_matches('/');
    let known = TELEMETRY.iter().any(|end| host.strip_suffix(end).is_some_and(|front| front.is_empty() || front.ends_with('.')));
    // OpenTelemetry's protocol (OTLP/HTTP), as JSON or in its binary form.
    let binary = header(&request.headers, "content-type").is_some_and(|media| media.starts_with(b"application/x-protobuf"));
    let spans = [("/v1/traces", "resourceSpans"), ("/v1/metrics", "resourceMetrics"), ("/v1/logs", "resourceLogs")];
    let telemetry = spans.iter().any(|(end, field)| path.ends_with(end) && (binary || body.get(field).is_some()));
    let openai = host == "api.openai.com" && path == "/v1/traces/ingest";
    let moderation = path.ends_with("/moderations") && body.get("input").is_some();
    known || telemetry || openai || moderation
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Sensitive, Timestamp};
    use crate::decode::{Body, Header, json};

    #[test]
    fn reports_are_known_by_host_path_and_body() {
        for (method, host, path, media, body, expected) in [
            ("POST", "o1.ingest.sentry.io", "/api/1/envelope/", "text/plain", "", true),
            ("POST", "notsentry.io", "/api/1/envelope/", "text/plain", "", false),
            ("POST", "localhost:4318", "/v1/traces", "application/x-protobuf", "", true),
            ("POST", "otel.desk.example", "/v1/traces", "application/json", r#"{"resourceSpans":[]}"#, true),
            ("POST", "shop.example", "/v1/logs", "application/json", r#"{"text":"x"}"#, false),
            ("POST", "api.openai.com", "/v1/traces/ingest", "application/json", r#"{"data":[]}"#, true),
            ("POST", "api.openai.com", "/v1/moderations", "application/json", r#"{"input":"x"}"#, true),
            ("GET", "us.posthog.com", "/decide", "application/json", "", false),
        ] {
            let media = Header { name: "content-type".into(), value: Sensitive::new(media.into()) };
            let request = Request {
                ts: Timestamp::default(),
                method: method.into(),
                scheme: "https",
                host: host.into(),
                path: path.into(),
                query: Sensitive::new("".into()),
                headers: vec![media],
                body: Body::default(),
                trailers: Vec::new(),
            };
            let value = json::parse(body.as_bytes()).value.unwrap_or(Value::Null);
            assert_eq!(reports(&request, &value), expected, "{method} {host}{path}");
        }
    }

    #[test]
    fn a_model_that_judges_is_asked_on_the_side() {
        let of = |model: &str| Llm { model: Some(model.into()), ..Llm::default() };
        for (model, expected) in [("meta-llama/Llama-Guard-4-12B", true), ("gpt-oss-safeguard-20b", true), ("gpt-5", false)] {
            assert_eq!(asks(&of(model)), expected, "{model}");
        }
    }
}
