//! A response body as JSON: one value, or the events of a stream in order.

use std::sync::Arc;

use crate::base::Value;
use crate::decode::{Frame, Response, eventstream, header, json, sse};

/// JSON of an answer.
pub(in crate::understand) enum Body {
    Whole(Value),
    /// Event name (empty for the default) and data.
    Events(Vec<(Arc<str>, Value)>),
}

impl Body {
    /// By the media type; a body that is JSON whatever its type says is read as that.
    pub(in crate::understand) fn read(response: &Response) -> Body {
        let bytes = response.body.kept.expose_content();
        let media = header(&response.headers, "content-type")
            .map(|value| String::from_utf8_lossy(value).to_ascii_lowercase())
            .unwrap_or_default();
        let mut frames = Vec::new();
        let mut odd = Vec::new();
        if media.contains("event-stream") && !media.contains("amazon")
            || bytes.starts_with(b"data:")
            || bytes.starts_with(b"event:")
        {
            sse::Sse::default().push(bytes, None, &mut frames, &mut odd);
            return Body::Events(frames.iter().filter_map(event).collect());
        }
        if media.contains("vnd.amazon.eventstream") {
            eventstream::Messages::default().push(bytes, &mut frames, &mut odd);
            return Body::Events(frames.iter().filter_map(event).collect());
        }
        if let Some(value) = response.body.json.as_deref().cloned().or_else(|| json::parse(bytes).value) {
            return match value {
                // Gemini without `alt=sse` streams one array of responses.
                Value::List(items) => Body::Events(items.iter().map(|item| ("".into(), item.clone())).collect()),
                one => Body::Whole(one),
            };
        }
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
        Body::Events(lines.filter_map(|line| Some(("".into(), json::parse(line).value?))).collect())
    }

    /// The values: one, or those of the events.
    pub(in crate::understand) fn values(&self) -> Box<dyn Iterator<Item = &Value> + '_> {
        match self {
            Body::Whole(value) => Box::new(std::iter::once(value)),
            Body::Events(events) => Box::new(events.iter().map(|(_, value)| value)),
        }
    }
}

fn event(frame: &Frame) -> Option<(Arc<str>, Value)> {
    match frame {
        Frame::Sse { event, data, .. } => Some((event.clone().unwrap_or_default(), json::parse(data.expose_content()).value?)),
        Frame::EventStream { headers, payload } => {
            // A stream that fails says so in its last message.
            let named = |(name, _): &&(Arc<str>, Arc<str>)| matches!(&**name, ":event-type" | ":exception-type" | ":error-code");
            let name = headers.iter().find(named).map_or_else(|| "".into(), |(_, value)| value.clone());
            Some((name, json::parse(payload.expose_content()).value?))
        }
        Frame::Line(_) | Frame::Grpc(_) | Frame::WebSocket { .. } => None,
    }
}
