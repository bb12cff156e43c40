//! What MCP says over HTTP beside a request and its own answer: the server asks and notes in its event streams, the client answers in
//! a POST of its own, and an answer may come by another exchange (the SSE transport of 2024-11-05, a stream that was resumed).
//!
//! In: exchanges that may carry such a stream, their events, and calls that wait. Out: the call that an answer belongs to. What the
//! messages mean is the stage's work.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;

use super::rpc::{Answer, Call};
use super::{Action, Mcp};
use crate::base::limits::OPEN_ACTIONS;
use crate::base::{ExchangeId, ProcessKey};
use crate::decode::{Request, header};
use crate::reassemble::Flow;

/// One event stream of a server.
#[derive(Clone)]
pub(super) struct Stream {
    pub(super) request: Arc<Request>,
    pub(super) flow: Arc<Flow>,
    pub(super) session: Arc<str>,
    /// The call that is answered in it: its answer is read when the exchange is done.
    pub(super) own: Option<Mcp>,
    /// The stream of the SSE transport: no answer comes once it is closed.
    only: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Asker {
    Client,
    Server,
}

/// Which call of which session, at which captured end: a host may see both.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    process: ProcessKey,
    inbound: bool,
    session: Arc<str>,
    asker: Asker,
    id: Arc<str>,
}

impl Place {
    pub(super) fn new(flow: &Flow, session: Arc<str>, asker: Asker, id: Arc<str>) -> Place {
        let inbound = flow.role == Some(crate::capture::Role::Server);
        Place { process: flow.process, inbound, session, asker, id }
    }

    /// Of a client's call.
    pub(super) fn of(action: &Action, session: Arc<str>, id: Arc<str>) -> Place {
        Place { process: action.process, inbound: action.inbound, session, asker: Asker::Client, id }
    }
}

/// The half of a call that was seen.
enum Half {
    Asked(Call, Box<Action>),
    Answered(Answer),
}

#[derive(Default)]
pub(super) struct Streams {
    open: BTreeMap<ExchangeId, Stream>,
    halves: IndexMap<Place, Half>,
}

/// The name under which the client's messages and the server's streams find each other: the session, else the address of the messages.
pub(super) fn session(request: &Request) -> Arc<str> {
    let named = header(&request.headers, SESSION).and_then(|value| std::str::from_utf8(value).ok());
    named.map_or_else(|| address(request, &target(request)), Arc::from)
}

pub(super) const SESSION: &str = "mcp-session-id";

fn target(request: &Request) -> String {
    let query = request.query.expose_content();
    if query.is_empty() { request.path.to_string() } else { format!("{}?{query}", request.path) }
}

fn address(request: &Request, target: &str) -> Arc<str> {
    format!("{}{target}", request.host).into()
}

/// Whether the client takes events for an answer.
pub(super) fn takes_events(request: &Request) -> bool {
    let accepted = header(&request.headers, "accept").unwrap_or_default().to_ascii_lowercase();
    memchr::memmem::find(&accepted, b"text/event-stream").is_some()
}

impl Streams {
    /// An exchange whose answer may be a stream of messages: of the call `own`, or, asked for by GET, of none.
    pub(super) fn expect(&mut self, id: ExchangeId, flow: &Arc<Flow>, request: &Arc<Request>, own: Option<&Mcp>) {
        let (request, flow, session) = (request.clone(), flow.clone(), session(request));
        let stream = Stream { request, flow, session, own: own.cloned(), only: false };
        self.open.insert(id, stream);
        if self.open.len() > OPEN_ACTIONS {
            self.open.pop_first();
        }
    }

    /// The stream that an event belongs to, when it is known to be MCP's.
    pub(super) fn at(&mut self, id: ExchangeId, event: Option<&str>, data: &[u8]) -> Option<Stream> {
        let stream = self.open.get_mut(&id)?;
        if event == Some("endpoint") && stream.own.is_none() {
            // The SSE transport: where the client's messages go, by path or whole.
            let told = std::str::from_utf8(data).ok()?.trim();
            let path = told.split_once("://").map_or(told, |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
            stream.session = address(&stream.request, path);
            stream.only = true;
            return None;
        }
        let known = stream.only || stream.own.is_some() || header(&stream.request.headers, SESSION).is_some();
        known.then(|| stream.clone())
    }

    /// The exchange is done. Calls that only this stream would have answered stay without an answer: they are given back.
    pub(super) fn ended(&mut self, id: ExchangeId) -> Vec<Action> {
        let Some(stream) = self.open.remove(&id).filter(|stream| stream.only) else { return Vec::new() };
        // An answer whose call is still under way is not lost.
        let of_it = |place: &Place, half: &Half| {
            matches!(half, Half::Asked(..)) && place.session == stream.session && place.process == stream.flow.process
        };
        let (gone, kept) = std::mem::take(&mut self.halves).into_iter().partition(|(place, half)| of_it(place, half));
        self.halves = kept;
        asked(gone)
    }

    /// Whether that call waits: a stream that is resumed says it again.
    pub(super) fn waits(&self, place: &Place) -> bool {
        matches!(self.halves.get(place), Some(Half::Asked(..)))
    }

    /// Whether a stream is open in which all answers of that session come.
    pub(super) fn listens(&self, process: ProcessKey, session: &Arc<str>) -> bool {
        self.open.values().any(|stream| stream.only && stream.session == *session && stream.flow.process == process)
    }

    /// Keeps a call until it is answered elsewhere.
    pub(super) fn wait(&mut self, place: Place, call: Call, action: Box<Action>) {
        self.halves.insert(place, Half::Asked(call, action));
    }

    /// The answer of a call that came by a stream before the exchange of the call was over.
    pub(super) fn early(&mut self, action: &Action, call: &Call, session: &Arc<str>) -> Option<Answer> {
        let place = Place::of(action, session.clone(), call.id.clone()?);
        match self.halves.get(&place)? {
            Half::Answered(_) => match self.halves.swap_remove(&place)? {
                Half::Answered(answer) => Some(answer),
                Half::Asked(..) => None,
            },
            Half::Asked(..) => None,
        }
    }

    /// The call that is answered. An answer that comes before its call is let go is kept, if anybody may come for it.
    pub(super) fn answer(&mut self, place: Place, answer: Answer, keep: bool) -> Option<(Call, Box<Action>, Answer)> {
        match self.halves.swap_remove(&place) {
            Some(Half::Asked(call, action)) => Some((call, action, answer)),
            Some(Half::Answered(_)) | None => {
                if keep {
                    self.halves.insert(place, Half::Answered(answer));
                }
                None
            }
        }
    }

    /// What is too much to keep.
    pub(super) fn overflow(&mut self) -> Option<Box<Action>> {
        let full = self.halves.len() > OPEN_ACTIONS;
        full.then(|| self.halves.swap_remove_index(0)).flatten().and_then(|(_, half)| half.asked())
    }

    pub(super) fn finish(&mut self) -> Vec<Action> {
        asked(std::mem::take(&mut self.halves))
    }
}

impl Half {
    fn asked(self) -> Option<Box<Action>> {
        match self {
            Half::Asked(_, action) => Some(action),
            Half::Answered(_) => None,
        }
    }
}

fn asked(halves: IndexMap<Place, Half>) -> Vec<Action> {
    let mut actions: Vec<Action> = halves.into_values().filter_map(Half::asked).map(|action| *action).collect();
    actions.sort_by_key(|action| action.id);
    actions
}

impl Stream {
    pub(super) fn place(&self, asker: Asker, id: Arc<str>) -> Place {
        Place::new(&self.flow, self.session.clone(), asker, id)
    }

    /// Whether this answers the call that the stream is the answer of.
    pub(super) fn is_own(&self, id: &str) -> bool {
        self.own.as_ref().and_then(|own| own.request_id.as_deref()) == Some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Value;

    #[test]
    fn answers_that_nobody_waits_for_make_room() {
        let mut streams = Streams::default();
        let key = ProcessKey { pid: 1, start: 0 };
        for number in 0..OPEN_ACTIONS + 100 {
            let id = number.to_string().into();
            let place = Place { process: key, inbound: false, session: "s".into(), asker: Asker::Client, id };
            assert!(streams.answer(place, Answer { result: Value::Null, is_error: false }, true).is_none());
            assert!(streams.overflow().is_none(), "nobody asked");
        }
        assert_eq!(streams.halves.len(), OPEN_ACTIONS);
    }
}
