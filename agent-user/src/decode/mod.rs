//! **decode**: ordered bytes become messages: HTTP/1, HTTP/2, gRPC, WebSocket, SSE, JSON-RPC lines.
//!
//! In: [`StreamEvent`]. Out: [`HttpEvent`]. Only this stage knows framing, transfer and content codings. It reports what was
//! said, or that it does not know; it never repairs silently.

#[cfg(feature = "bench")]
pub mod bench;
mod body;
mod coding;
mod detect;
pub(crate) mod eventstream;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod grpc;
mod hpack;
mod http1;
mod http2;
pub mod json;
pub mod jsonrpc;
pub mod multipart;
mod name;
mod ndjson;
pub(crate) mod sse;
mod target;
#[cfg(any(test, feature = "fuzz"))]
mod testing;
mod websocket;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::{Anomaly, Direction, ExchangeId, FlowId, Incomplete, LossCause, Sensitive, Timestamp, Value};
use crate::reassemble::{Fact, Flow, StreamEvent};

pub use name::Name;

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
    pub name: Name,
    pub value: Sensitive<Bytes>,
}

/// Stands for a field's name or value that refers to what an HTTP/2 sender said before the first byte that was seen. No field
/// name can hold `<`; the exchange says `headers_unknown`.
pub const UNKNOWN: &str = "<unknown>";

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
    /// A whole body that calls itself JSON, read once for all who ask.
    pub json: Option<Arc<Value>>,
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
    /// WHATWG server-sent event; `event` is `None` for the default type.
    Sse { event: Option<Arc<str>>, data: Sensitive<Bytes>, id: Option<Arc<str>> },
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
pub struct Decode {
    /// Ordered, so that the end of input closes flows in the order of their numbers.
    conns: BTreeMap<FlowId, Conn>,
    shared: Shared,
}

impl Decode {
    pub fn push(&mut self, event: StreamEvent, out: &mut Vec<HttpEvent>) {
        match event {
            StreamEvent::Data { flow, ts, dir, off: _, bytes } => {
                self.feed(flow, Piece { dir, ts, what: What::Data(bytes.into_content()) }, out);
            }
            StreamEvent::Gap { flow, ts, dir, off: _, missing, cause } => {
                self.feed(flow, Piece { dir, ts, what: What::Gap { missing, cause } }, out);
            }
            StreamEvent::Closed { flow, ts, evicted } => {
                if let Some(mut conn) = self.conns.remove(&flow.id) {
                    let mut engine = std::mem::take(&mut conn.engine);
                    engine.close(
                        ts,
                        if evicted { End::Evicted } else { End::Closed },
                        &mut Out { flow: &flow, bombs: &mut conn.bombs, shared: &mut self.shared, events: out },
                    );
                }
                out.push(HttpEvent::FlowClosed { flow, ts });
            }
            StreamEvent::Fact { ts, fact } => out.push(HttpEvent::Fact { ts, fact }),
        }
    }

    /// Nothing in this stage waits for time to pass: a flow ends when `reassemble` says so.
    pub fn tick(&mut self, _now: Timestamp, _out: &mut Vec<HttpEvent>) {}

    /// End of input: open exchanges are handed on with what they have.
    pub fn finish(&mut self, now: Timestamp, out: &mut Vec<HttpEvent>) {
        for (_, mut conn) in std::mem::take(&mut self.conns) {
            conn.engine.close(
                now,
                End::Input,
                &mut Out { flow: &conn.flow, bombs: &mut conn.bombs, shared: &mut self.shared, events: out },
            );
        }
    }

    fn feed(&mut self, flow: Arc<Flow>, piece: Piece, out: &mut Vec<HttpEvent>) {
        let conn = self.conns.entry(flow.id).or_insert_with(|| Conn::new(flow.clone()));
        conn.flow = flow;
        // While it runs the engine is not in the table: a panic inside it leaves an opaque connection behind, nothing half done.
        let mut engine = std::mem::take(&mut conn.engine);
        let mut out = Out { flow: &conn.flow, bombs: &mut conn.bombs, shared: &mut self.shared, events: out };
        // The next piece stands at the end.
        let mut waiting = Vec::new();
        let mut next = Some(piece);
        while let Some(piece) = next.take().or_else(|| waiting.pop()) {
            if let Next::Become(speaker, rest) = engine.feed(piece, &mut out) {
                engine = speaker;
                waiting.extend(rest.into_iter().rev());
            }
        }
        conn.engine = engine;
    }
}

/// What the stage keeps of one connection.
struct Conn {
    flow: Arc<Flow>,
    engine: Engine,
    /// Content that expanded beyond bounds so far.
    bombs: u8,
}

impl Conn {
    fn new(flow: Arc<Flow>) -> Conn {
        Conn { flow, engine: Engine::Undecided(Box::default()), bombs: 0 }
    }
}

/// What all connections share.
#[derive(Default)]
struct Shared {
    exchanges: u64,
    budget: body::Budget,
    names: http1::Names,
}

/// One event of a stream, as engines take it.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) dir: Direction,
    pub(crate) ts: Timestamp,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    Data(Bytes),
    Gap { missing: Option<u64>, cause: LossCause },
}

/// What an engine reaches beyond its own state.
pub(crate) struct Out<'a> {
    pub(crate) flow: &'a Arc<Flow>,
    bombs: &'a mut u8,
    shared: &'a mut Shared,
    pub(crate) events: &'a mut Vec<HttpEvent>,
}

impl Out<'_> {
    /// The number of the next exchange; asked for when its first head is whole.
    pub(crate) fn next_id(&mut self) -> ExchangeId {
        self.shared.exchanges += 1;
        ExchangeId(self.shared.exchanges)
    }

    /// A body as these header fields describe it.
    pub(crate) fn body(&self, headers: &[Header]) -> body::Assembler {
        self.coded_body(headers, Some(&[]))
    }

    /// A body with codings beside those that its header fields name; `None` for unknown ones.
    fn coded_body(&self, headers: &[Header], transfer: Option<&[coding::Coding]>) -> body::Assembler {
        body::Assembler::new(headers, transfer, *self.bombs, &self.shared.budget)
    }

    /// A body that nothing describes: a WebSocket message.
    pub(crate) fn plain_body(&self) -> body::Assembler {
        body::Assembler::plain(&self.shared.budget)
    }

    pub(crate) fn bomb(&mut self) {
        *self.bombs = self.bombs.saturating_add(1);
    }

    pub(crate) fn frame(&mut self, id: ExchangeId, dir: Direction, ts: Timestamp, frame: Frame) {
        self.events.push(HttpEvent::Frame { id, flow: self.flow.clone(), ts, dir, frame });
    }

    /// Something outside of any exchange.
    pub(crate) fn anomaly(&mut self, dir: Direction, ts: Timestamp, anomaly: Anomaly, bytes: u64) {
        self.events.push(HttpEvent::Anomaly { flow: self.flow.clone(), ts, dir, anomaly, bytes });
    }
}

/// The protocol of a connection, with its state. Each engine has `data`, `gap` and `close`.
enum Engine {
    /// No byte told the protocol yet.
    Undecided(Box<detect::Undecided>),
    Http1(Box<http1::Http1>),
    Http2(Box<http2::Connection>),
    Websocket(Box<websocket::Socket>),
    Jsonrpc(Box<jsonrpc::Connection>),
    Opaque(detect::Opaque),
}

impl Default for Engine {
    fn default() -> Engine {
        Engine::Opaque(detect::Opaque::default())
    }
}

/// Whether the connection speaks on as before.
enum Next {
    Stay,
    /// Another protocol from here on, which also gets what was not consumed, in order.
    Become(Engine, Vec<Piece>),
}

/// What an HTTP/1 message turned its connection into.
pub(crate) enum Upgrade {
    /// RFC 6455: `id` is the upgrade exchange, `client` the direction of its request, `extensions` the response's
    /// `Sec-WebSocket-Extensions`.
    Websocket { id: ExchangeId, client: Direction, extensions: Bytes },
    /// RFC 7540 section 3.2: the request that asked for it is stream 1, its answer comes as HTTP/2.
    H2c { id: ExchangeId, client: Direction, request: Arc<Request> },
    /// CONNECT, or a protocol we do not know: its first bytes tell.
    Tunnel,
}

impl Engine {
    fn feed(&mut self, piece: Piece, out: &mut Out<'_>) -> Next {
        let Piece { dir, ts, what } = piece;
        match self {
            Engine::Undecided(undecided) => return undecided.feed(Piece { dir, ts, what }, out),
            Engine::Http1(http1) => {
                if let Some(switch) = http1.feed(dir, ts, what, out) {
                    return Next::Become(Engine::upgraded(switch.to), switch.rest);
                }
            }
            Engine::Http2(connection) => connection.feed(dir, ts, what, out),
            Engine::Websocket(socket) => socket.feed(dir, ts, what, out),
            Engine::Jsonrpc(connection) => connection.feed(dir, ts, what, out),
            Engine::Opaque(opaque) => opaque.feed(dir, &what),
        }
        Next::Stay
    }

    /// What speaks after an HTTP/1 message changed the protocol.
    fn upgraded(to: Upgrade) -> Engine {
        match to {
            Upgrade::Tunnel => Engine::Undecided(Box::default()),
            Upgrade::Websocket { id, client, extensions } => {
                Engine::Websocket(Box::new(websocket::Socket::new(id, client, &extensions)))
            }
            Upgrade::H2c { id, client, request } => Engine::Http2(Box::new(http2::Connection::upgraded(client, id, request))),
        }
    }

    fn close(&mut self, ts: Timestamp, end: End, out: &mut Out<'_>) {
        let evicted = end == End::Evicted;
        match self {
            Engine::Undecided(undecided) => undecided.close(ts, out),
            Engine::Http1(http1) => http1.close(ts, end, out),
            Engine::Http2(connection) => connection.close(ts, evicted, out),
            Engine::Websocket(socket) => socket.close(ts, out),
            Engine::Jsonrpc(connection) => connection.close(ts, evicted, out),
            Engine::Opaque(opaque) => opaque.close(ts, out),
        }
    }
}

/// Why no more bytes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The connection was closed: a body that runs until then is whole.
    Closed,
    /// Our table was full.
    Evicted,
    /// The input ended while the connection was open.
    Input,
}

/// Adds what is not in the list yet.
pub(crate) fn note<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}
