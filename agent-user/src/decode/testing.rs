//! What the tests of this stage share: a connection fed with bytes, and its events as lines to compare.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::{ConnId, Direction, FlowId, LossCause, ProcessKey, Sensitive, Timestamp};
use crate::capture::{Role, Source};
use crate::reassemble::{Flow, StreamEvent};

use super::{Body, Conn, Decode, Engine, Frame, Header, HttpEvent, Response};

#[derive(Clone)]
pub(crate) enum Step {
    Data(Direction, Vec<u8>),
    Gap(Direction, Option<u64>),
}

pub(crate) fn out(bytes: impl AsRef<[u8]>) -> Step {
    Step::Data(Direction::Out, bytes.as_ref().to_vec())
}

pub(crate) fn incoming(bytes: impl AsRef<[u8]>) -> Step {
    Step::Data(Direction::In, bytes.as_ref().to_vec())
}

pub(crate) fn flow(role: Option<Role>) -> Arc<Flow> {
    Arc::new(Flow {
        id: FlowId(1),
        conn: ConnId("c1".into()),
        process: ProcessKey { pid: 1, start: 0 },
        source: Source::Openssl,
        role,
        sni: Some("sni.example".into()),
        peer: None,
        local: None,
    })
}

/// Bytes from hex digits; other characters separate.
pub(crate) fn unhex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let number = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("hex is ASCII"), 16).expect("hex digits");
    digits.chunks(2).map(number).collect()
}

/// Feeds a connection that already speaks the protocol of `engine`, or is still to be told when there is none.
pub(crate) fn events(engine: Option<Engine>, steps: &[Step], piece: usize) -> Vec<HttpEvent> {
    let flow = flow(None);
    let mut decode = Decode::default();
    if let Some(engine) = engine {
        decode.conns.insert(flow.id, Conn { engine, ..Conn::new(flow.clone()) });
    }
    let mut events = Vec::new();
    let ts = Timestamp(1);
    let mut off = [0, 0];
    for step in steps {
        match step {
            Step::Data(dir, bytes) => {
                for bytes in bytes.chunks(piece) {
                    let bytes = Sensitive::new(Bytes::copy_from_slice(bytes));
                    let at = &mut off[*dir as usize];
                    let event = StreamEvent::Data { flow: flow.clone(), ts, dir: *dir, off: *at, bytes };
                    *at += 1;
                    decode.push(event, &mut events);
                }
            }
            Step::Gap(dir, missing) => {
                let off = off[*dir as usize];
                let (dir, missing, cause) = (*dir, *missing, LossCause::RingFull);
                decode.push(StreamEvent::Gap { flow: flow.clone(), ts, dir, off, missing, cause }, &mut events);
            }
        }
    }
    decode.push(StreamEvent::Closed { flow, ts, evicted: false }, &mut events);
    events
}

pub(crate) fn lines(events: &[HttpEvent]) -> Vec<String> {
    events.iter().filter_map(line).collect()
}

/// Only what is final: finished exchanges, messages, and what was odd.
fn line(event: &HttpEvent) -> Option<String> {
    match event {
        HttpEvent::Done { exchange, .. } => {
            let request = exchange.request.as_ref().map_or("-".into(), |request| {
                let query = request.query.expose_content();
                let mut line = format!("{} {}://{}{}", request.method, request.scheme, request.host, request.path);
                if !query.is_empty() {
                    line += &format!("?{query}");
                }
                line + &headers(&request.headers) + &body(&request.body) + &trailers(&request.trailers)
            });
            let response = exchange.response.as_ref().map_or("-".into(), |response| response_line(response));
            let stream = exchange.stream.map_or(String::new(), |stream| format!("/{stream}"));
            let mut line = format!("{} {}{stream}: {request} => {response}", exchange.id, exchange.protocol.name());
            for reason in &exchange.incomplete {
                line += &format!(" !{reason}");
            }
            for anomaly in &exchange.anomalies {
                line += &format!(" ~{}", anomaly.name());
            }
            Some(line)
        }
        HttpEvent::Frame { id, dir, frame, .. } => Some(format!("{id} {} {}", dir.name(), frame_line(frame))),
        HttpEvent::Anomaly { dir, anomaly, bytes, .. } => Some(format!("{} ~{} {bytes}", dir.name(), anomaly.name())),
        HttpEvent::Request { .. } | HttpEvent::ResponseHead { .. } | HttpEvent::FlowClosed { .. } | HttpEvent::Fact { .. } => {
            None
        }
    }
}

fn response_line(response: &Response) -> String {
    let events = if response.events > 0 { format!(" events={}", response.events) } else { String::new() };
    response.status.to_string() + &headers(&response.headers) + &body(&response.body) + &trailers(&response.trailers) + &events
}

fn headers(list: &[Header]) -> String {
    let show = |header: &Header| format!("{}={}", header.name, String::from_utf8_lossy(header.value.expose_content()));
    if list.is_empty() { String::new() } else { format!(" [{}]", list.iter().map(show).collect::<Vec<_>>().join(", ")) }
}

fn trailers(list: &[Header]) -> String {
    if list.is_empty() { String::new() } else { format!(" trailers{}", headers(list)) }
}

/// Long bodies by their length and the first bytes of their hash.
fn body(body: &Body) -> String {
    let kept = body.kept.expose_content();
    let hash = format!("{:02x}{:02x}{:02x}", body.sha256[0], body.sha256[1], body.sha256[2]);
    let mut line = match body.len {
        0 => String::new(),
        1..=60 => format!(" {:?}", String::from_utf8_lossy(kept)),
        len => format!(" {len}#{hash}"),
    };
    if !body.complete {
        line += "(incomplete)";
    }
    line
}

fn frame_line(frame: &Frame) -> String {
    let text = |bytes: &Bytes| match bytes.len() {
        0..=60 => format!("{:?}", String::from_utf8_lossy(bytes)),
        len => len.to_string(),
    };
    match frame {
        Frame::Sse { event, data, .. } => {
            format!("sse {} {}", event.as_deref().unwrap_or_default(), text(data.expose_content()))
        }
        Frame::Line(line) => format!("line {}", text(line.expose_content())),
        Frame::EventStream { headers, payload } => {
            let headers: Vec<_> = headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("eventstream [{}] {}", headers.join(", "), text(payload.expose_content()))
        }
        Frame::Grpc(message) => format!("grpc {}", text(message.expose_content())),
        Frame::WebSocket { opcode, body: payload, incomplete } => {
            let mut line = format!("{opcode:?}{}", body(payload));
            for reason in incomplete {
                line += &format!(" !{reason}");
            }
            line
        }
    }
}

/// The same bytes in pieces of every size up to `sizes` give the same lines; they are returned.
pub(crate) fn in_all_pieces(engine: impl Fn() -> Option<Engine>, steps: &[Step], sizes: usize) -> Vec<String> {
    let whole = lines(&events(engine(), steps, usize::MAX));
    for size in 1..=sizes {
        assert_eq!(lines(&events(engine(), steps, size)), whole, "in pieces of {size}");
    }
    whole
}

/// The step `number` cut in two at every offset gives the same lines.
pub(crate) fn split_everywhere(engine: impl Fn() -> Option<Engine>, steps: &[(Direction, &[u8])]) -> usize {
    let all = |cut: Option<(usize, usize)>| {
        let mut parts = Vec::new();
        for (number, (dir, bytes)) in steps.iter().enumerate() {
            match cut {
                Some((step, at)) if step == number => {
                    parts.push(Step::Data(*dir, bytes[..at].to_vec()));
                    parts.push(Step::Data(*dir, bytes[at..].to_vec()));
                }
                Some(_) | None => parts.push(Step::Data(*dir, bytes.to_vec())),
            }
        }
        lines(&events(engine(), &parts, usize::MAX))
    };
    let whole = all(None);
    let mut splits = 0;
    for (number, (_, bytes)) in steps.iter().enumerate() {
        for at in 1..bytes.len() {
            assert_eq!(all(Some((number, at))), whole, "step {number} split at {at}");
            splits += 1;
        }
    }
    splits
}
