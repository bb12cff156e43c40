//! `--emit exchanges`.

use std::fmt::Write;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{Fields, reasons, time, unsigned};
use crate::base::{Anomaly, Direction, ExchangeId, Value};
use crate::decode::{Body, Exchange, Header, Opcode, Protocol, Request, Response};
use crate::deliver::{Message, Redactor};
use crate::reassemble::Flow;

pub fn exchange(exchange: &Exchange, redactor: &Redactor) -> Value {
    let mut fields = Fields::default();
    fields.text("id", exchange.id.to_string());
    flow(&mut fields, &exchange.flow);
    fields
        .text("protocol", exchange.protocol.name())
        .put("stream", exchange.stream.map_or(Value::Null, unsigned))
        .put("request", exchange.request.as_deref().map_or(Value::Null, |seen| request(seen, redactor)))
        .put("response", exchange.response.as_deref().map_or(Value::Null, |seen| response(seen, redactor)))
        .put("incomplete", reasons(&exchange.incomplete));
    if !exchange.anomalies.is_empty() {
        fields.put("anomalies", Value::list(exchange.anomalies.iter().map(|anomaly| Value::text(anomaly.0.as_ref()))));
    }
    fields.done()
}

/// One WebSocket message.
pub fn message(message: &Message, redactor: &Redactor) -> Value {
    let mut fields = Fields::default();
    fields.text("id", message.exchange.to_string());
    flow(&mut fields, &message.flow);
    fields
        .text("protocol", Protocol::Websocket.name())
        .put("ts", time(message.ts))
        .text(
            "dir",
            match message.dir {
                Direction::Out => "out",
                Direction::In => "in",
            },
        )
        .text(
            "opcode",
            match message.opcode {
                Opcode::Text => "text",
                Opcode::Binary => "binary",
                Opcode::Close => "close",
                Opcode::Ping => "ping",
                Opcode::Pong => "pong",
            },
        )
        .put("body", body(&message.body, redactor))
        .put("incomplete", reasons(&message.incomplete));
    fields.done()
}

/// `outside`: the direction and the bytes concerned, where it belongs to no exchange.
pub fn anomaly(seen: &Flow, exchange: Option<ExchangeId>, outside: Option<(Direction, u64)>, anomaly: &Anomaly) -> Value {
    let mut fields = Fields::default();
    flow(&mut fields, seen);
    fields.put("exchange", exchange.map_or(Value::Null, |id| Value::text(id.to_string())));
    if let Some((dir, bytes)) = outside {
        fields.text("dir", dir.name()).number("bytes", bytes);
    }
    fields.text("anomaly", anomaly.0.as_ref());
    fields.done()
}

fn flow(fields: &mut Fields, flow: &Flow) {
    fields
        .text("conn", flow.conn.0.clone())
        .number("pid", u64::from(flow.process.pid))
        .some_text("peer", flow.peer.as_ref())
        .some_text("sni", flow.sni.as_ref());
}

fn request(request: &Request, redactor: &Redactor) -> Value {
    let mut fields = Fields::default();
    fields
        .put("ts", time(request.ts))
        .text("method", request.method.clone())
        .text("scheme", request.scheme)
        .text("host", request.host.clone())
        .text("path", redactor.location(&request.path))
        .text("query", redactor.query(request.query.expose_content()))
        .put("headers", headers(&request.headers, redactor))
        .put("body", body(&request.body, redactor));
    trailers(&mut fields, &request.trailers, redactor);
    fields.done()
}

fn response(response: &Response, redactor: &Redactor) -> Value {
    let mut fields = Fields::default();
    fields
        .put("ts", time(response.ts))
        .number("status", u64::from(response.status))
        .put("headers", headers(&response.headers, redactor))
        .put("body", body(&response.body, redactor))
        .number("events", response.events);
    trailers(&mut fields, &response.trailers, redactor);
    fields.done()
}

fn trailers(fields: &mut Fields, trailers: &[Header], redactor: &Redactor) {
    if !trailers.is_empty() {
        fields.put("trailers", headers(trailers, redactor));
    }
}

fn headers(list: &[Header], redactor: &Redactor) -> Value {
    Value::list(list.iter().map(|header| {
        let value = redactor.header(&header.name, header.value.expose_content());
        Value::list([Value::text(Arc::<str>::from(header.name.clone())), Value::text(value)])
    }))
}

fn body(body: &Body, redactor: &Redactor) -> Value {
    let mut fields = Fields::default();
    fields.number("len", body.len).text("sha256", hex(&body.sha256)).put("complete", Value::Bool(body.complete));
    if redactor.reveals() {
        let kept = body.kept.expose_content();
        match std::str::from_utf8(kept) {
            Ok(text) => fields.text("text", text),
            Err(_) => fields.text("base64", BASE64.encode(kept)),
        };
    }
    fields.done()
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(out, "{byte:02x}").expect("writing to a String cannot fail");
    }
    out
}
