//! One stream: a request and its response (RFC 9113 section 8.1), or the WebSocket it became (RFC 8441).
//!
//! In: header lists and content of either half, holes, ends. Out: events. Which direction is the request's, and where frames
//! begin, the connection above knows.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::{Anomaly, Direction, ExchangeId, Incomplete, LossCause, Timestamp};

use super::super::body::{Assembled, Assembler};
use super::super::websocket::Socket;
use super::super::{Body, Exchange, Header, HttpEvent, Out, Protocol, Request, Response, UNKNOWN, grpc, header, note};
use super::head::{List, RequestHead};

const RESET: Incomplete = Incomplete::new("stream_reset");
const AMBIGUOUS_LENGTH: Anomaly = Anomaly::new("http2.ambiguous_length");
const AFTER_END: Anomaly = Anomaly::new("http2.ambiguous_after_end");
const EXTRA_BLOCK: Anomaly = Anomaly::new("http2.ambiguous_trailers");
const LIMIT_SOCKETS: Anomaly = Anomaly::new("limit.http2_websockets");
/// The server promised this request itself.
const PUSHED: Anomaly = Anomaly::new("http2.pushed");

/// Which part of an exchange bytes belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Request,
    Response,
}

/// Where an event comes from.
#[derive(Clone, Copy)]
pub(crate) struct At {
    pub(crate) ts: Timestamp,
    pub(crate) dir: Direction,
}

#[derive(Default)]
struct Half {
    ts: Timestamp,
    ended: Timestamp,
    headers: Vec<Header>,
    trailers: Vec<Header>,
    body: Option<Assembler>,
    assembled: Option<Assembled>,
    /// Content octets as sent.
    received: u64,
    begun: bool,
    closed: bool,
    /// Bytes of it are missing, so lengths prove nothing.
    holed: bool,
    /// Its head may have come before we saw this direction.
    late: bool,
    trailed: bool,
}

impl Half {
    fn begin(&mut self, list: &mut List, ts: Timestamp, out: &Out<'_>) {
        self.begun = true;
        self.ts = ts;
        self.headers = std::mem::take(&mut list.headers);
        let mut body = out.body(&self.headers);
        if list.coding_unknown {
            body.cut(Incomplete::HEADERS_UNKNOWN);
        }
        if let Some(length) = self.declared_length() {
            body.announce(length);
        }
        self.body = Some(body);
    }

    fn declared_length(&self) -> Option<u64> {
        std::str::from_utf8(header(&self.headers, "content-length")?).ok()?.parse().ok()
    }

    /// Lengths that differ, or are no numbers: a translation to HTTP/1 would frame by one of them.
    fn has_odd_length(&self) -> bool {
        let mut lengths =
            self.headers.iter().filter(|field| &*field.name == "content-length").map(|field| field.value.expose_content());
        let Some(first) = lengths.next().filter(|first| *first != UNKNOWN.as_bytes()) else { return false };
        first.is_empty() || !first.iter().all(u8::is_ascii_digit) || lengths.any(|other| other != first)
    }
}

pub(crate) struct Stream {
    number: u32,
    id: Option<ExchangeId>,
    protocol: Protocol,
    request: Half,
    response: Half,
    request_head: Option<RequestHead>,
    /// The request in its final form.
    whole_request: Option<Arc<Request>>,
    status: Option<u16>,
    told: bool,
    websocket: Option<Box<Socket>>,
    /// Whether a WebSocket here may inflate its messages: each window costs memory.
    inflates: bool,
    incomplete: Vec<Incomplete>,
    anomalies: Vec<Anomaly>,
}

impl Stream {
    pub(crate) fn new(number: u32) -> Stream {
        Stream {
            number,
            id: None,
            protocol: Protocol::Http2,
            request: Half::default(),
            response: Half::default(),
            request_head: None,
            whole_request: None,
            status: None,
            told: false,
            websocket: None,
            inflates: true,
            incomplete: Vec::new(),
            anomalies: Vec::new(),
        }
    }

    /// RFC 7540 section 3.2: the request came as HTTP/1 and is over.
    pub(crate) fn upgraded(number: u32, id: ExchangeId, request: Arc<Request>) -> Stream {
        let mut stream = Stream::new(number);
        stream.id = Some(id);
        stream.request.begun = true;
        stream.request.closed = true;
        stream.whole_request = Some(request);
        stream.told = true;
        stream
    }

    fn half(&mut self, part: Part) -> &mut Half {
        match part {
            Part::Request => &mut self.request,
            Part::Response => &mut self.response,
        }
    }

    pub(crate) fn is_websocket(&self) -> bool {
        self.websocket.is_some()
    }

    /// Other WebSockets of the connection took all the memory there is for windows.
    pub(crate) fn forbid_inflating(&mut self) {
        self.inflates = false;
        self.note(LIMIT_SOCKETS);
    }

    /// Whether the next response head may turn the stream into a WebSocket.
    pub(crate) fn asks_for_websocket(&self) -> bool {
        self.websocket.is_none() && self.request_head.as_ref().is_some_and(|head| head.websocket)
    }

    /// The head of this half may have been missed.
    pub(crate) fn joined_late(&mut self, part: Part) {
        self.half(part).late = true;
    }

    pub(crate) fn note(&mut self, anomaly: Anomaly) {
        note(&mut self.anomalies, anomaly);
    }

    fn id(&mut self, out: &mut Out<'_>) -> ExchangeId {
        *self.id.get_or_insert_with(|| out.next_id())
    }

    pub(crate) fn block(&mut self, part: Part, mut list: List, at: At, out: &mut Out<'_>) {
        if self.half(part).closed {
            return self.note(AFTER_END);
        }
        if list.unknown {
            note(&mut self.incomplete, Incomplete::HEADERS_UNKNOWN);
        }
        let half = self.half(part);
        let of_head = if part == Part::Request { list.of_request } else { list.of_response };
        if half.begun || (half.holed || half.late) && !of_head {
            self.trailers(part, list);
        } else {
            match part {
                Part::Request => self.begin_request(&mut list, at, out),
                Part::Response => self.begin_response(&mut list, at, out),
            }
            self.add_anomalies(list.anomalies);
        }
    }

    fn add_anomalies(&mut self, anomalies: Vec<Anomaly>) {
        for anomaly in anomalies {
            self.note(anomaly);
        }
    }

    fn trailers(&mut self, part: Part, list: List) {
        // RFC 9113 section 8.1: one trailer section, without pseudo-header fields.
        let half = self.half(part);
        let odd = half.trailed || list.of_request || list.of_response;
        half.trailed = true;
        half.trailers.extend(list.headers);
        if odd {
            self.note(EXTRA_BLOCK);
        }
        self.add_anomalies(list.anomalies);
    }

    fn begin_request(&mut self, list: &mut List, at: At, out: &mut Out<'_>) {
        let head = list.request(out.flow);
        self.id(out);
        self.request.begin(list, at.ts, out);
        if grpc::is_grpc(&self.request.headers) {
            self.protocol = Protocol::Grpc;
        }
        self.request_head = Some(head);
    }

    fn begin_response(&mut self, list: &mut List, at: At, out: &mut Out<'_>) {
        let status = list.status();
        if (100..200).contains(&status) {
            return;
        }
        let id = self.id(out);
        self.response.begin(list, at.ts, out);
        self.response.ended = at.ts;
        self.status = Some(status);
        if grpc::is_grpc(&self.response.headers) {
            self.protocol = Protocol::Grpc;
        }
        self.tell(out);
        let response = Arc::new(self.response_with(Body::default(), 0));
        out.events.push(HttpEvent::ResponseHead { id, ts: at.ts, response });
        let opened = self.request_head.as_ref().is_some_and(|head| head.websocket) && (200..300).contains(&status);
        if opened {
            self.open_websocket(id, at, out);
        }
    }

    /// RFC 8441 section 5: from here on DATA is the WebSocket's.
    fn open_websocket(&mut self, id: ExchangeId, at: At, out: &mut Out<'_>) {
        let extensions = header(&self.response.headers, "sec-websocket-extensions").filter(|_| self.inflates).unwrap_or_default();
        self.websocket = Some(Box::new(Socket::new(id, at.dir.opposite(), extensions)));
        self.request.closed = true;
        self.response.closed = true;
        self.finish_half(Part::Request, at, out);
        self.finish_half(Part::Response, at, out);
        self.done(at.ts, out);
        // The ends of the stream are the socket's from here on.
        self.request.closed = false;
        self.response.closed = false;
    }

    /// Hands the request on once, when it is whole or answered.
    fn tell(&mut self, out: &mut Out<'_>) {
        let Some(id) = self.id else { return };
        if self.told || !self.request.begun {
            return;
        }
        self.told = true;
        let request = match &self.whole_request {
            Some(request) => request.clone(),
            None => match self.request_with(Body::default()) {
                Some(request) => Arc::new(request),
                None => return,
            },
        };
        out.events.push(HttpEvent::Request { id, flow: out.flow.clone(), protocol: self.protocol, request });
    }

    pub(crate) fn data(&mut self, part: Part, bytes: &Bytes, at: At, out: &mut Out<'_>) {
        if let Some(socket) = &mut self.websocket {
            return socket.data(at.dir, at.ts, bytes, out);
        }
        let half = self.half(part);
        if half.closed {
            return self.note(AFTER_END);
        }
        half.received += bytes.len() as u64;
        half.ended = at.ts;
        let Some(body) = &mut half.body else { return };
        let mut frames = Vec::new();
        body.data(bytes, &mut frames);
        self.hand_on(frames, at, out);
    }

    fn hand_on(&mut self, frames: Vec<super::super::Frame>, at: At, out: &mut Out<'_>) {
        if frames.is_empty() {
            return;
        }
        // Somebody who reads frames of a request wants to know of which.
        self.tell(out);
        let id = self.id(out);
        for frame in frames {
            out.frame(id, at.dir, at.ts, frame);
        }
    }

    /// Content, or more, is missing in this half.
    pub(crate) fn gap(&mut self, part: Part, cause: &LossCause, dir: Direction) {
        if let Some(socket) = &mut self.websocket {
            return socket.gap(dir, None, cause);
        }
        let half = self.half(part);
        if half.closed {
            return;
        }
        half.holed = true;
        if let Some(body) = &mut half.body {
            body.gap(cause);
        }
        note(&mut self.incomplete, Incomplete::gap(cause));
    }

    /// A header block of this half was seen but cannot be read.
    pub(crate) fn lost_block(&mut self, part: Part) {
        let half = self.half(part);
        if !half.closed {
            half.holed = true;
            note(&mut self.incomplete, Incomplete::HEADERS_UNKNOWN);
        }
    }

    /// END_STREAM. True when the stream is over.
    pub(crate) fn end(&mut self, part: Part, at: At, out: &mut Out<'_>) -> bool {
        if self.half(part).closed {
            return false;
        }
        self.half(part).closed = true;
        if self.websocket.is_none() {
            self.half(part).ended = at.ts;
            self.finish_half(part, at, out);
        }
        // Nobody knows when a request ends whose head was never seen.
        let over = self.response.closed && (self.request.closed || !self.request.begun);
        if over {
            match &mut self.websocket {
                Some(socket) => socket.close(at.ts, out),
                None => self.done(at.ts, out),
            }
        }
        over
    }

    fn finish_half(&mut self, part: Part, at: At, out: &mut Out<'_>) {
        // Its answer was not seen, or came before the request could be read: the content is a socket's, unread.
        let may_be_websocket = self.asks_for_websocket() && self.status.is_none_or(|status| (200..300).contains(&status));
        let half = self.half(part);
        let Some(mut body) = half.body.take() else { return };
        if may_be_websocket && half.received > 0 {
            body.cut(Incomplete::UNDECODABLE);
        }
        if !half.closed {
            body.cut(if part == Part::Request { Incomplete::REQUEST_CUT } else { Incomplete::RESPONSE_CUT });
        }
        let mut frames = Vec::new();
        let assembled = body.finish(&mut frames);
        let (closed, holed, received, declared) = (half.closed, half.holed, half.received, half.declared_length());
        let odd_length = half.has_odd_length();
        half.assembled = Some(Assembled::default());
        self.hand_on(frames, at, out);
        for reason in &assembled.incomplete {
            note(&mut self.incomplete, reason.clone());
        }
        for anomaly in &assembled.anomalies {
            note(&mut self.anomalies, anomaly.clone());
        }
        if assembled.was_bomb {
            out.bomb();
        }
        // An answer to HEAD, or 304, declares what it would have sent.
        let must_match = part == Part::Request || received > 0;
        if odd_length || closed && !holed && must_match && declared.is_some_and(|declared| declared != received) {
            self.note(AMBIGUOUS_LENGTH);
        }
        self.half(part).assembled = Some(assembled);
        if part == Part::Request && closed {
            let body = self.request.assembled.take().unwrap_or_default().body;
            self.whole_request = self.request_with(body).map(Arc::new);
            self.tell(out);
        }
    }

    fn request_with(&self, body: Body) -> Option<Request> {
        let head = self.request_head.as_ref()?;
        Some(Request {
            ts: self.request.ts,
            method: head.method.clone(),
            scheme: head.scheme,
            host: head.host.clone(),
            path: head.path.clone(),
            query: head.query.clone(),
            headers: self.request.headers.clone(),
            body,
            trailers: self.request.trailers.clone(),
        })
    }

    fn response_with(&self, body: Body, events: u64) -> Response {
        Response {
            ts: self.response.ts,
            ended: self.response.ended,
            status: self.status.unwrap_or(0),
            headers: self.response.headers.clone(),
            body,
            trailers: self.response.trailers.clone(),
            events,
        }
    }

    /// RST_STREAM.
    pub(crate) fn reset(&mut self, client: Direction, ts: Timestamp, out: &mut Out<'_>) {
        self.abandon(Some(RESET), client, ts, out);
    }

    /// The stream is over before its time. `client` is the direction of requests.
    pub(crate) fn abandon(&mut self, reason: Option<Incomplete>, client: Direction, ts: Timestamp, out: &mut Out<'_>) {
        if let Some(socket) = &mut self.websocket {
            return socket.close(ts, out);
        }
        if let Some(reason) = reason {
            note(&mut self.incomplete, reason);
        }
        for (part, dir) in [(Part::Request, client), (Part::Response, client.opposite())] {
            if self.half(part).begun && !self.half(part).closed {
                self.finish_half(part, At { ts, dir }, out);
                note(
                    &mut self.incomplete,
                    if part == Part::Request { Incomplete::REQUEST_CUT } else { Incomplete::RESPONSE_CUT },
                );
            }
        }
        self.done(ts, out);
    }

    /// The request that a PUSH_PROMISE holds.
    pub(crate) fn promise(&mut self, list: List, at: At, out: &mut Out<'_>) {
        self.note(PUSHED);
        self.block(Part::Request, list, at, out);
        self.end(Part::Request, at, out);
    }

    fn done(&mut self, ts: Timestamp, out: &mut Out<'_>) {
        if self.id.is_none() && self.incomplete.is_empty() {
            return;
        }
        let id = self.id(out);
        self.tell(out);
        let request = match self.whole_request.take() {
            Some(request) => Some(request),
            None => {
                let body = self.request.assembled.take().unwrap_or_default().body;
                self.request_with(body).map(Arc::new)
            }
        };
        let response = self.response.begun.then(|| {
            let assembled = self.response.assembled.take().unwrap_or_default();
            Arc::new(self.response_with(assembled.body, assembled.events))
        });
        if request.is_none() {
            note(&mut self.incomplete, Incomplete::REQUEST_MISSING);
        }
        if response.is_none() {
            note(&mut self.incomplete, Incomplete::RESPONSE_MISSING);
        }
        let exchange = Exchange {
            id,
            flow: out.flow.clone(),
            protocol: self.protocol,
            stream: Some(u64::from(self.number)),
            request,
            response,
            incomplete: std::mem::take(&mut self.incomplete),
            anomalies: std::mem::take(&mut self.anomalies),
        };
        out.events.push(HttpEvent::Done { ts, exchange: Arc::new(exchange) });
    }
}
