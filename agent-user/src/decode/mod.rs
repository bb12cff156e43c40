//! **decode**: ordered bytes become messages: HTTP/1, HTTP/2, gRPC, WebSocket, SSE, JSON-RPC lines.
//!
//! In: [`StreamEvent`]. Out: [`HttpEvent`]. Only this stage knows framing, transfer and content codings. It reports what was
//! said, or that it does not know; it never repairs silently.

pub mod json;

use std::sync::Arc;

use bytes::Bytes;

use crate::base::{Anomaly, Direction, ExchangeId, Incomplete, Sensitive, Timestamp};
use crate::reassemble::{Fact, Flow, StreamEvent};

/// How the exchange was framed; the names are those of `replay --emit exchanges`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    Http10,
    Http11,
    Http2,
    Grpc,
    /// The upgrade exchange keeps its HTTP protocol; this names the messages after it.
    Websocket,
    /// Newline-delimited JSON-RPC on a pipe or socket: `method` is the RPC method, `host` and `path` are empty,
    /// `status` of the answer is 0 because JSON-RPC has none.
    Jsonrpc,
}

impl Protocol {
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Http10 => "http/1.0",
            Protocol::Http11 => "http/1.1",
            Protocol::Http2 => "http/2",
            Protocol::Grpc => "grpc",
            Protocol::Websocket => "websocket",
            Protocol::Jsonrpc => "jsonrpc",
        }
    }
}

/// A header field: name in lower case, value as sent (may be any bytes), in order of arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub name: Arc<str>,
    pub value: Sensitive<Bytes>,
}

/// Lookup over a field list.
pub fn header<'a>(headers: &'a [Header], name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|header| &*header.name == name).map(|header| header.value.expose_content().as_ref())
}

/// A message body after transfer and content decoding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// The first bytes, at most `limits::BODY_KEPT`; all of them unless `len` says more.
    pub kept: Sensitive<Bytes>,
    /// Decoded length, kept or not.
    pub len: u64,
    /// SHA-256 of the whole decoded body.
    pub sha256: [u8; 32],
    /// False when bytes are missing, cut, or could not be decoded.
    pub complete: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub ts: Timestamp,
    pub method: Arc<str>,
    pub scheme: &'static str,
    /// `Host` or `:authority` without a port that is the scheme's default; SNI or peer where the message names none.
    pub host: Arc<str>,
    /// Without the query. Percent-encoding as sent.
    pub path: Arc<str>,
    pub query: Sensitive<Arc<str>>,
    pub headers: Vec<Header>,
    pub body: Body,
    pub trailers: Vec<Header>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub ts: Timestamp,
    /// When the last byte was seen.
    pub ended: Timestamp,
    pub status: u16,
    pub headers: Vec<Header>,
    pub body: Body,
    pub trailers: Vec<Header>,
    /// Framed events inside the body: SSE events, NDJSON lines, event-stream or gRPC messages.
    pub events: u64,
}

/// One request with its response, finished one way or another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    pub id: ExchangeId,
    pub flow: Arc<Flow>,
    pub protocol: Protocol,
    /// HTTP/2 stream number.
    pub stream: Option<u64>,
    pub request: Option<Arc<Request>>,
    pub response: Option<Arc<Response>>,
    pub incomplete: Vec<Incomplete>,
    pub anomalies: Vec<Anomaly>,
}

/// A piece of a stream inside a message, handed on as soon as it is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// WHATWG server-sent event; `event` is empty for the default type.
    Sse { event: Arc<str>, data: Sensitive<Bytes>, id: Option<Arc<str>> },
    /// One line of newline-delimited JSON.
    Line(Sensitive<Bytes>),
    /// AWS event stream message: string headers (`:event-type`, …) and payload.
    EventStream { headers: Vec<(Arc<str>, Arc<str>)>, payload: Sensitive<Bytes> },
    /// A gRPC message after decompression.
    Grpc(Sensitive<Bytes>),
    /// A WebSocket message, fragments joined and inflated. `sha256` and `len` are of the whole payload.
    WebSocket { opcode: Opcode, body: Body, incomplete: Vec<Incomplete> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Opcode {
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpEvent {
    /// The request is whole, or its response has begun. `Done` repeats it in its final form.
    Request {
        id: ExchangeId,
        flow: Arc<Flow>,
        protocol: Protocol,
        request: Arc<Request>,
    },
    /// The final response head (no 1xx) was seen; its body follows as frames, if it is a stream, and in `Done`.
    ResponseHead {
        id: ExchangeId,
        ts: Timestamp,
        response: Arc<Response>,
    },
    Frame {
        id: ExchangeId,
        flow: Arc<Flow>,
        ts: Timestamp,
        dir: Direction,
        frame: Frame,
    },
    Done {
        ts: Timestamp,
        exchange: Arc<Exchange>,
    },
    /// Odd bytes outside of any exchange, e.g. a direction that was lost. `protocol.unknown` carries the byte count.
    Anomaly {
        flow: Arc<Flow>,
        ts: Timestamp,
        dir: Direction,
        anomaly: Anomaly,
        bytes: u64,
    },
    FlowClosed {
        flow: Arc<Flow>,
        ts: Timestamp,
    },
    Fact {
        ts: Timestamp,
        fact: Fact,
    },
}

/// The stage.
#[derive(Default)]
pub struct Decode {}

impl Decode {
    pub fn push(&mut self, _event: StreamEvent, _out: &mut Vec<HttpEvent>) {}

    pub fn tick(&mut self, _now: Timestamp, _out: &mut Vec<HttpEvent>) {}

    /// End of input: open exchanges are handed on with what they have.
    pub fn finish(&mut self, _now: Timestamp, _out: &mut Vec<HttpEvent>) {}
}
