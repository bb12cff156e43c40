//! Model APIs over WebSocket: OpenAI Responses, whose answers interleave by `stream_id`, and Realtime.
//!
//! In: the messages of a connection that was opened at such an API. Out: what was asked and what was answered, lane by lane. Audio is
//! not read, its transcripts are.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::llm::responses;
use super::{Action, Llm};
use crate::base::Value;
use crate::decode::Request;
use crate::reassemble::Flow;

/// Items that a client sends ahead of a request, and answers that may be open; more are a client that never asks.
const ITEMS: usize = 512;
const LANES: usize = 256;

/// One connection.
pub(super) struct Socket {
    pub(super) request: Arc<Request>,
    pub(super) flow: Arc<Flow>,
    /// Instructions and tools of the session.
    session: Value,
    items: Vec<Value>,
    /// Requests that wait for their answer, by lane.
    open: BTreeMap<Arc<str>, Box<Action>>,
}

/// What a message is.
pub(super) enum Said {
    Asked(Box<Llm>),
    Answered(Box<Llm>),
}

/// Whether a connection that is upgraded there carries a model API.
pub(super) fn speaks(request: &Request) -> bool {
    let path = request.path.trim_end_matches('/');
    matches!(&*request.method, "GET" | "CONNECT") && (path.ends_with("/responses") || path.ends_with("/realtime"))
}

impl Socket {
    pub(super) fn new(request: Arc<Request>, flow: Arc<Flow>) -> Socket {
        Socket { request, flow, session: Value::Null, items: Vec::new(), open: BTreeMap::new() }
    }

    pub(super) fn waits(&mut self, lane: Arc<str>, action: Box<Action>) {
        if self.open.len() < LANES {
            self.open.insert(lane, action);
        }
    }

    /// The request that an answer belongs to: of its lane, else the oldest.
    pub(super) fn asked(&mut self, lane: &str) -> Option<Box<Action>> {
        if let Some(action) = self.open.remove(lane) {
            return Some(action);
        }
        self.open.pop_first().map(|(_, action)| action)
    }

    pub(super) fn read(&mut self, value: &Value, from_client: bool) -> Option<(Arc<str>, Said)> {
        let kind = value.get("type").and_then(Value::as_str)?;
        let lane: Arc<str> = value.get("stream_id").and_then(Value::as_str).unwrap_or_default().into();
        let inner = value.get("response");
        match (from_client, kind) {
            (true, "session.update") => {
                self.session = value.get("session").cloned().unwrap_or(Value::Null);
                None
            }
            (true, "conversation.item.create") => {
                self.items.extend(value.get("item").filter(|_| self.items.len() < ITEMS).cloned());
                None
            }
            (true, "response.create") => {
                let own = inner.unwrap_or(value);
                let items = std::mem::take(&mut self.items);
                let mut fields: Vec<(Arc<str>, Value)> = self.session.as_map().unwrap_or_default().to_vec();
                fields.extend(own.as_map().unwrap_or_default().iter().cloned());
                if own.get("input").is_none() && !items.is_empty() {
                    fields.push(("input".into(), Value::list(items)));
                }
                let mut llm = responses::request(&Value::Map(fields.into()));
                llm.streamed = true;
                Some((lane, Said::Asked(Box::new(llm))))
            }
            (false, "response.completed" | "response.done" | "response.incomplete" | "response.failed") => {
                let mut llm = responses::whole(inner?);
                llm.streamed = true;
                Some((lane, Said::Answered(Box::new(llm))))
            }
            _ => None,
        }
    }
}
