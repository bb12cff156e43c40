//! JSON-RPC 2.0 on a pipe or socket: a message a line (MCP over stdio), or behind `Content-Length` (LSP).
//!
//! In: bytes and holes of both directions; either side may ask. Out: an exchange for each request, finished by the response of
//! the same id in the other direction, whenever it comes; a notification is an exchange that waits for nothing. What is not
//! JSON-RPC, like a server's log line on its standard output, is counted and named. [`messages`] reads the same messages out of
//! JSON that something else carried.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;
use memchr::memmem;

use crate::base::limits::{JSONRPC_BATCH, JSONRPC_MESSAGE_BYTES, OPEN_EXCHANGES};
use crate::base::{Anomaly, Direction, ExchangeId, Incomplete, LossCause, Sensitive, Timestamp, Value};

use super::{Body, Exchange, HttpEvent, Out, Protocol, Request, Response, What, json, note};

const NOT_JSONRPC: Anomaly = Anomaly::new("jsonrpc.other_text");
const DUPLICATE_ID: Anomaly = Anomaly::new("jsonrpc.ambiguous_id");
const VERSION: Anomaly = Anomaly::new("jsonrpc.version");
const LIMIT_MESSAGE: Anomaly = Anomaly::new("limit.jsonrpc_message");
/// A batch of more messages than anyone sends: the rest of it is counted, not read.
const LIMIT_BATCH: Anomaly = Anomaly::new("limit.jsonrpc_batch");
const LIMIT_OPEN: Anomaly = Anomaly::new("limit.open_exchanges");

/// One message of a JSON text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Message<'a> {
    Request {
        id: &'a Value,
        method: &'a str,
        params: Option<&'a Value>,
    },
    Notification {
        method: &'a str,
        params: Option<&'a Value>,
    },
    /// `result` or `error`, or both when the sender breaks the rules.
    Response {
        id: &'a Value,
        result: Option<&'a Value>,
        error: Option<&'a Value>,
    },
}

/// The messages of a JSON text: one, or those of a batch in order. What is none is left out.
pub fn messages(value: &Value) -> Vec<Message<'_>> {
    match value.as_list() {
        Some(batch) => batch.iter().filter_map(message).collect(),
        None => message(value).into_iter().collect(),
    }
}

fn message(value: &Value) -> Option<Message<'_>> {
    value.as_map()?;
    let id = value.get("id");
    let params = value.get("params");
    match (value.get("method").and_then(Value::as_str), id) {
        (Some(method), Some(id)) => Some(Message::Request { id, method, params }),
        (Some(method), None) => Some(Message::Notification { method, params }),
        (None, _) => {
            let (result, error) = (value.get("result"), value.get("error"));
            let answers = result.is_some() || error.is_some();
            answers.then_some(Message::Response { id: id.unwrap_or(&Value::Null), result, error })
        }
    }
}

/// What the first bytes of a direction say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guess {
    More,
    Yes,
    No,
}

const CONTENT_LENGTH: &[u8] = b"Content-Length:";

/// Whether bytes begin with a JSON-RPC message.
pub(crate) fn guess(bytes: &[u8]) -> Guess {
    let text = bytes.trim_ascii_start();
    match text.first() {
        None => Guess::More,
        Some(b'{' | b'[') => match memchr(b'\n', text) {
            None => Guess::More,
            Some(end) if is_message(&text[..end]) => Guess::Yes,
            Some(_) => Guess::No,
        },
        Some(_) if text.len() < CONTENT_LENGTH.len() && CONTENT_LENGTH.starts_with(text) => Guess::More,
        Some(_) if text.starts_with(CONTENT_LENGTH) => Guess::Yes,
        Some(_) => Guess::No,
    }
}

fn is_message(line: &[u8]) -> bool {
    memmem::find(line, b"\"jsonrpc\"").is_some() && json::parse(line).value.is_some_and(|value| !messages(&value).is_empty())
}

#[derive(Clone, Copy)]
struct At {
    ts: Timestamp,
    dir: Direction,
}

#[derive(Default)]
pub(crate) struct Connection {
    sides: [Side; 2],
    /// By the direction and the id of the request; the number of the exchange tells which is oldest.
    open: BTreeMap<(Direction, String), Open>,
}

struct Open {
    id: ExchangeId,
    request: Arc<Request>,
    anomalies: Vec<Anomaly>,
}

#[derive(Default)]
struct Side {
    held: BytesMut,
    framing: Framing,
    /// Bytes that are no message.
    other: u64,
    /// What a missing answer may be due to.
    hole: Option<LossCause>,
}

#[derive(Default)]
enum Framing {
    /// The next byte tells.
    #[default]
    Between,
    Line,
    /// Header fields up to an empty line, with the length they told so far.
    Header {
        length: Option<usize>,
    },
    Content {
        left: usize,
    },
    /// What follows a hole is the rest of a line, which is no message, or a line that began right there.
    AfterHole,
    /// Passed over up to the line's end.
    SkipLine,
    SkipContent {
        left: usize,
    },
}

impl Side {
    /// The next whole message, or line that is none.
    fn next(&mut self, input: &mut Bytes, odd: &mut Vec<Anomaly>) -> Option<Bytes> {
        loop {
            match &mut self.framing {
                Framing::Between => {
                    let blank = input.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(input.len());
                    input.advance(blank);
                    self.framing = match input.first()? {
                        b'C' | b'c' => Framing::Header { length: None },
                        _ => Framing::Line,
                    };
                }
                Framing::Line => {
                    let line = self.until(b"\n", input, odd)?;
                    self.framing = Framing::Between;
                    if !line.is_empty() {
                        return Some(line);
                    }
                }
                Framing::Header { length } => {
                    let length = *length;
                    let line = self.until(b"\n", input, odd)?;
                    self.framing = match (content_length(&line), length) {
                        _ if !matches!(self.framing, Framing::Header { .. }) => continue,
                        (Some(length), _) => Framing::Header { length: Some(length) },
                        (None, Some(left)) if line.is_empty() && left > JSONRPC_MESSAGE_BYTES => {
                            note(odd, LIMIT_MESSAGE);
                            Framing::SkipContent { left }
                        }
                        (None, Some(left)) if line.is_empty() => Framing::Content { left },
                        (None, _) if is_header_field(&line) => continue,
                        // A log line that begins like a header field.
                        (None, _) => {
                            self.framing = Framing::Between;
                            return Some(line);
                        }
                    };
                }
                Framing::Content { left } => {
                    let want = *left - self.held.len();
                    let part = input.split_to(input.len().min(want));
                    if part.len() < want {
                        self.held.extend_from_slice(&part);
                        return None;
                    }
                    self.framing = Framing::Between;
                    return Some(self.join(part));
                }
                Framing::AfterHole => {
                    let line = self.until(b"\n", input, odd)?;
                    self.framing = Framing::Between;
                    if is_message(&line) {
                        return Some(line);
                    }
                    self.other += line.len() as u64 + 1;
                }
                Framing::SkipLine => {
                    let end = memchr(b'\n', input);
                    let passed = end.map_or(input.len(), |end| end + 1);
                    input.advance(passed);
                    self.other += passed as u64;
                    end?;
                    self.framing = Framing::Between;
                }
                Framing::SkipContent { left } => {
                    let passed = input.len().min(*left);
                    input.advance(passed);
                    *left -= passed;
                    self.other += passed as u64;
                    if *left > 0 {
                        return None;
                    }
                    self.framing = Framing::Between;
                }
            }
        }
    }

    fn join(&mut self, last: Bytes) -> Bytes {
        if self.held.is_empty() {
            return last;
        }
        self.held.extend_from_slice(&last);
        self.held.split().freeze()
    }

    fn until(&mut self, end: &[u8; 1], input: &mut Bytes, odd: &mut Vec<Anomaly>) -> Option<Bytes> {
        let found = memchr(end[0], input);
        let part = input.split_to(found.unwrap_or(input.len()));
        if self.held.len() + part.len() > JSONRPC_MESSAGE_BYTES {
            note(odd, LIMIT_MESSAGE);
            self.other += (self.held.len() + part.len()) as u64;
            self.held = BytesMut::new();
            self.framing = if found.is_some() { Framing::Between } else { Framing::SkipLine };
            return found.map(|_| Bytes::new());
        }
        if found.is_none() {
            self.held.extend_from_slice(&part);
            return None;
        }
        input.advance(1);
        let mut line = self.join(part);
        line.truncate(line.trim_ascii_end().len());
        Some(line)
    }

    fn gap(&mut self, missing: Option<u64>, cause: LossCause) {
        self.hole = Some(cause);
        self.other += self.held.len() as u64;
        let held = std::mem::take(&mut self.held).len();
        self.framing = match self.framing {
            Framing::Content { left } => skip_content(left - held, missing),
            Framing::SkipContent { left } => skip_content(left, missing),
            Framing::Between | Framing::Line | Framing::Header { .. } | Framing::AfterHole | Framing::SkipLine => {
                Framing::AfterHole
            }
        };
    }
}

/// After a hole inside content that began.
fn skip_content(left: usize, missing: Option<u64>) -> Framing {
    let missing = missing.and_then(|missing| usize::try_from(missing).ok());
    match missing.and_then(|missing| left.checked_sub(missing)) {
        Some(left) => Framing::SkipContent { left },
        None => Framing::AfterHole,
    }
}

fn content_length(line: &[u8]) -> Option<usize> {
    let (name, value) = line.split_at_checked(CONTENT_LENGTH.len())?;
    let value = std::str::from_utf8(value).ok()?;
    if name.eq_ignore_ascii_case(CONTENT_LENGTH) { value.trim().parse().ok() } else { None }
}

fn is_header_field(line: &[u8]) -> bool {
    const CONTENT_TYPE: &[u8] = b"content-type:";
    line.get(..CONTENT_TYPE.len()).is_some_and(|name| name.eq_ignore_ascii_case(CONTENT_TYPE))
}

impl Connection {
    pub(crate) fn feed(&mut self, dir: Direction, ts: Timestamp, what: What, out: &mut Out<'_>) {
        let at = At { ts, dir };
        match what {
            What::Gap { missing: Some(0), .. } => {}
            What::Gap { missing, cause } => self.sides[dir as usize].gap(missing, cause),
            What::Data(mut input) => loop {
                let mut odd = Vec::new();
                let text = self.sides[dir as usize].next(&mut input, &mut odd);
                for anomaly in odd {
                    out.anomaly(dir, ts, anomaly, 0);
                }
                let Some(text) = text else { return };
                self.text(&text, at, out);
            },
        }
    }

    /// A line or content: a message, a batch, or something else.
    fn text(&mut self, text: &Bytes, at: At, out: &mut Out<'_>) {
        if text.first() != Some(&b'[') {
            return self.one(text, at, out);
        }
        let mut elements = Elements::of(text);
        for part in elements.by_ref().take(JSONRPC_BATCH) {
            self.one(&part, at, out);
        }
        let passed = elements.at;
        if elements.next().is_some() {
            out.anomaly(at.dir, at.ts, LIMIT_BATCH, 0);
        }
        self.sides[at.dir as usize].other += text[passed..].trim_ascii().len() as u64;
    }

    /// A single message, or something else.
    fn one(&mut self, text: &Bytes, at: At, out: &mut Out<'_>) {
        let parsed = json::parse(text);
        let Some(said) = parsed.value.as_ref().and_then(message) else {
            self.sides[at.dir as usize].other += text.len() as u64;
            for limit in parsed.anomalies.into_iter().filter(|anomaly| anomaly.name().starts_with("limit.")) {
                out.anomaly(at.dir, at.ts, limit, 0);
            }
            return;
        };
        let mut anomalies = parsed.anomalies;
        if parsed.value.as_ref().and_then(|value| value.get("jsonrpc")).and_then(Value::as_str) != Some("2.0") {
            note(&mut anomalies, VERSION);
        }
        self.message(said, text, anomalies, at, out);
    }

    fn message(&mut self, said: Message<'_>, text: &Bytes, anomalies: Vec<Anomaly>, at: At, out: &mut Out<'_>) {
        match said {
            Message::Request { id, method, .. } => {
                let open = open(method, text, anomalies, at, out);
                self.wait((at.dir, id.to_json()), open, at, out);
            }
            Message::Notification { method, .. } => {
                let open = open(method, text, anomalies, at, out);
                open.done(None, Vec::new(), at.ts, out);
            }
            Message::Response { id, .. } => {
                let body = body(text, out);
                let response =
                    Response { ts: at.ts, ended: at.ts, status: 0, headers: Vec::new(), body, trailers: Vec::new(), events: 0 };
                let response = Arc::new(response);
                match self.open.remove(&(at.dir.opposite(), id.to_json())) {
                    Some(mut open) => {
                        out.events.push(HttpEvent::ResponseHead { id: open.id, ts: at.ts, response: response.clone() });
                        for anomaly in anomalies {
                            note(&mut open.anomalies, anomaly);
                        }
                        open.done(Some(response), Vec::new(), at.ts, out);
                    }
                    None => {
                        let id = out.next_id();
                        let incomplete = vec![Incomplete::REQUEST_MISSING];
                        push_done(id, None, Some(response), incomplete, anomalies, at.ts, out);
                    }
                }
            }
        }
    }

    fn wait(&mut self, key: (Direction, String), open: Open, at: At, out: &mut Out<'_>) {
        if self.open.len() >= OPEN_EXCHANGES {
            let oldest = self.open.iter().min_by_key(|(_, open)| open.id).map(|(key, _)| key.clone());
            if let Some(mut oldest) = oldest.and_then(|key| self.open.remove(&key)) {
                note(&mut oldest.anomalies, LIMIT_OPEN);
                oldest.done(None, vec![Incomplete::EVICTED, Incomplete::RESPONSE_MISSING], at.ts, out);
            }
        }
        if let Some(mut earlier) = self.open.insert(key, open) {
            note(&mut earlier.anomalies, DUPLICATE_ID);
            earlier.done(None, vec![Incomplete::RESPONSE_MISSING], at.ts, out);
        }
    }

    pub(crate) fn close(&mut self, ts: Timestamp, evicted: bool, out: &mut Out<'_>) {
        for dir in [Direction::Out, Direction::In] {
            // A last line needs no end.
            let side = &mut self.sides[dir as usize];
            let rest = std::mem::take(&mut side.held).freeze();
            match side.framing {
                Framing::Line if !rest.is_empty() => self.text(&rest, At { ts, dir }, out),
                _ => side.other += rest.len() as u64,
            }
        }
        let mut open: Vec<_> = std::mem::take(&mut self.open).into_iter().collect();
        open.sort_by_key(|(_, open)| open.id);
        for ((dir, _), open) in open {
            let mut incomplete = vec![Incomplete::RESPONSE_MISSING];
            incomplete.extend(evicted.then_some(Incomplete::EVICTED));
            incomplete.extend(self.sides[dir.opposite() as usize].hole.as_ref().map(Incomplete::gap));
            open.done(None, incomplete, ts, out);
        }
        for dir in [Direction::Out, Direction::In] {
            let other = self.sides[dir as usize].other;
            if other > 0 {
                out.anomaly(dir, ts, NOT_JSONRPC, other);
            }
        }
    }
}

fn open(method: &str, text: &Bytes, anomalies: Vec<Anomaly>, at: At, out: &mut Out<'_>) -> Open {
    let id = out.next_id();
    let request = Arc::new(Request {
        ts: at.ts,
        method: method.into(),
        scheme: "stdio",
        host: "".into(),
        path: "".into(),
        query: Sensitive::new("".into()),
        headers: Vec::new(),
        body: body(text, out),
        trailers: Vec::new(),
    });
    let (flow, protocol) = (out.flow.clone(), Protocol::Jsonrpc);
    out.events.push(HttpEvent::Request { id, flow, protocol, request: request.clone() });
    Open { id, request, anomalies }
}

fn body(text: &Bytes, out: &Out<'_>) -> Body {
    let mut body = out.plain_body();
    body.data(text, &mut Vec::new());
    body.finish(&mut Vec::new()).body
}

impl Open {
    fn done(self, response: Option<Arc<Response>>, incomplete: Vec<Incomplete>, ts: Timestamp, out: &mut Out<'_>) {
        push_done(self.id, Some(self.request), response, incomplete, self.anomalies, ts, out);
    }
}

fn push_done(
    id: ExchangeId,
    request: Option<Arc<Request>>,
    response: Option<Arc<Response>>,
    incomplete: Vec<Incomplete>,
    anomalies: Vec<Anomaly>,
    ts: Timestamp,
    out: &mut Out<'_>,
) {
    let flow = out.flow.clone();
    let exchange = Exchange { id, flow, protocol: Protocol::Jsonrpc, stream: None, request, response, incomplete, anomalies };
    out.events.push(HttpEvent::Done { ts, exchange: Arc::new(exchange) });
}

/// The bytes of each element of a JSON array, as they were sent.
struct Elements<'a> {
    array: &'a Bytes,
    /// Behind the last element and its comma, or behind the array's end.
    at: usize,
    closed: bool,
}

impl Elements<'_> {
    fn of(array: &Bytes) -> Elements<'_> {
        Elements { array, at: 1, closed: false }
    }
}

impl Iterator for Elements<'_> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.closed {
            return None;
        }
        let (mut depth, mut quoted, mut escaped) = (1usize, false, false);
        for (offset, &byte) in self.array[self.at..].iter().enumerate() {
            if quoted {
                quoted = escaped || byte != b'"';
                escaped = !escaped && byte == b'\\';
                continue;
            }
            match byte {
                b'"' => quoted = true,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            if depth == 0 || depth == 1 && byte == b',' {
                let part = self.array.slice(self.at..self.at + offset);
                self.at += offset + 1;
                self.closed = depth == 0;
                return Some(part.slice_ref(part.trim_ascii()));
            }
        }
        None
    }
}
