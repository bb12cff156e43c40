//! OTLP logs: one LogRecord an alert, over HTTP with protobuf or over gRPC. Field numbers: opentelemetry/proto/logs/v1/logs.proto.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::client::{Answer, Client, Version};
use super::protobuf::{Message, bytes_field, varint_field};
use super::{Fate, OtlpProtocol, Parcel, SecretFile, Sink, Tls, Trouble, TroubleKind, all_delivered};
use crate::base::Value;
use crate::deliver::codec::{Codec, severity_rank};

const HTTP_PATH: &str = "/v1/logs";
const GRPC_PATH: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";

/// SeverityNumber for info, low, medium, high, critical: INFO, INFO3, WARN, ERROR, FATAL.
const SEVERITIES: [u64; 5] = [9, 11, 13, 17, 21];

/// Attributes with the pointers that feed them. GenAI names are those of the OpenTelemetry conventions of 2026, v0.1.0.
const ATTRIBUTES: &[(&str, &str)] = &[
    ("agentward.rule.id", "/rule/id"),
    ("agentward.rule.title", "/rule/title"),
    ("agentward.rule.version", "/rule/version"),
    ("agentward.rule.pack", "/rule/pack"),
    ("agentward.proof", "/proof"),
    ("agentward.workflow.id", "/workflow"),
    ("agentward.fix", "/fix"),
    ("gen_ai.agent.id", "/actor/agent/id"),
    ("gen_ai.agent.name", "/actor/agent/name"),
    ("gen_ai.tool.name", "/matched/tool.name"),
    ("user.id", "/actor/user/id"),
    ("process.executable.name", "/actor/proc/name"),
    ("process.executable.path", "/actor/proc/exe"),
];

pub(super) struct Otlp {
    client: Client,
    protocol: OtlpProtocol,
    bearer: Option<SecretFile>,
    host: String,
    codec: Codec,
}

impl Otlp {
    pub(super) fn new(
        url: &str,
        tls: &Tls,
        protocol: OtlpProtocol,
        bearer: Option<SecretFile>,
        host: &str,
        codec: Codec,
    ) -> io::Result<Otlp> {
        let version = match protocol {
            OtlpProtocol::Http => Version::Http1,
            OtlpProtocol::Grpc => Version::Http2,
        };
        Ok(Otlp { client: Client::new(url, tls, version)?, protocol, bearer, host: host.to_owned(), codec })
    }

    fn request(&self, batch: &[Parcel]) -> Vec<u8> {
        let resource = Message::default()
            .message(1, attribute("service.name", "agentward"))
            .message(1, attribute("service.version", env!("CARGO_PKG_VERSION")))
            .message(1, attribute("host.name", &self.host));
        let scope = Message::default().text(1, "agentward").text(2, env!("CARGO_PKG_VERSION"));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let observed = u64::try_from(now).unwrap_or(u64::MAX);
        let logs =
            batch.iter().fold(Message::default().message(1, scope), |logs, parcel| logs.message(2, record(parcel, observed)));
        let logs = Message::default().message(1, resource).message(2, logs);
        Message::default().message(1, logs).done()
    }

    fn headers(&self) -> Result<Vec<(&'static str, String)>, Trouble> {
        let mut headers = match self.protocol {
            OtlpProtocol::Http => vec![("content-type", "application/x-protobuf".to_owned())],
            OtlpProtocol::Grpc => vec![("content-type", "application/grpc".to_owned()), ("te", "trailers".to_owned())],
        };
        headers.push(("x-agentward-schema", self.codec.schema().to_owned()));
        if let Some(secret) = &self.bearer {
            headers.push(("authorization", format!("Bearer {}", *secret.read()?)));
        }
        Ok(headers)
    }
}

impl Sink for Otlp {
    fn deliver(&mut self, batch: &[Parcel]) -> Result<Vec<Fate>, Trouble> {
        let message = self.request(batch);
        let headers = self.headers()?;
        let response = match self.protocol {
            OtlpProtocol::Http => {
                let path = match self.client.path() {
                    "/" => HTTP_PATH.to_owned(),
                    path => path.to_owned(),
                };
                let answer = self.client.post(&path, &headers, &Bytes::from(message))?;
                match answer.trouble("the collector") {
                    // The protocol names the codes to try again: 429, 502, 503, 504. Ours are more patient, never less.
                    Some(trouble) => return Err(trouble),
                    None => answer.body,
                }
            }
            OtlpProtocol::Grpc => {
                let answer = self.client.post(GRPC_PATH, &headers, &Bytes::from(framed(&message)))?;
                unary(&answer)?
            }
        };
        // A partial success must not be sent again (OTLP specification), and which records were rejected is not said: all of the
        // batch are kept as dead letters.
        Ok(match rejected(&response)? {
            0 => all_delivered(batch),
            count => vec![Fate::Refused(format!("the collector rejected {count} of {} records", batch.len())); batch.len()],
        })
    }
}

fn rejected(response: &[u8]) -> Result<u64, Trouble> {
    let count = bytes_field(response, 1).and_then(|partial| varint_field(partial, 1));
    count.ok_or_else(|| Trouble::later("the collector's answer is no protobuf: is this its address?"))
}

fn record(parcel: &Parcel, observed: u64) -> Message {
    let text = |pointer: &str| parcel.alert.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut record = Message::default()
        .fixed64(1, parcel.time)
        .varint(2, SEVERITIES[usize::from(severity_rank(&parcel.alert))])
        .text(3, &text("/severity"))
        .message(5, Message::default().text(1, &parcel.text))
        .message(6, attribute("event.id", &parcel.id()))
        .message(6, attribute("agentward.uid", &parcel.uid));
    for (name, pointer) in ATTRIBUTES {
        let value = text(pointer);
        if !value.is_empty() {
            record = record.message(6, attribute(name, &value));
        }
    }
    let number =
        |pointer: &str| parcel.alert.pointer(pointer).and_then(Value::as_i64).and_then(|number| u64::try_from(number).ok());
    for (name, pointer) in [("process.pid", "/actor/proc/pid"), ("agentward.count", "/count")] {
        if let Some(number) = number(pointer) {
            let value = Message::default().varint(3, number);
            record = record.message(6, Message::default().text(1, name).message(2, value));
        }
    }
    if let Some(tags) = parcel.alert.pointer("/tags").and_then(Value::as_list) {
        let list = tags.iter().filter_map(Value::as_str);
        let array = list.fold(Message::default(), |array, tag| array.message(1, Message::default().text(1, tag)));
        record = record.message(6, Message::default().text(1, "agentward.tags").message(2, Message::default().message(5, array)));
    }
    record.fixed64(11, observed).text(12, "agentward.alert")
}

fn attribute(name: &str, value: &str) -> Message {
    Message::default().text(1, name).message(2, Message::default().text(1, value))
}

/// One uncompressed gRPC message.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0], &length.to_be_bytes()[..], message].concat()
}

/// The one message of a unary answer. Codes: grpc/status.
fn unary(answer: &Answer) -> Result<Bytes, Trouble> {
    if let Some(trouble) = answer.trouble("the collector") {
        return Err(Trouble { kind: TroubleKind::Later(None), why: trouble.why });
    }
    let status = answer.trailers.get("grpc-status").or_else(|| answer.headers.get("grpc-status"));
    let status = status.and_then(|status| status.to_str().ok()).and_then(|status| status.parse::<u32>().ok());
    match status {
        Some(0) => Ok(answer.body.get(5..).map_or_else(Bytes::new, |_| answer.body.slice(5..))),
        // INVALID_ARGUMENT, FAILED_PRECONDITION: what the message holds is at fault.
        Some(code @ (3 | 9)) => Err(Trouble::refused(format!("the collector answered gRPC status {code}"))),
        // RESOURCE_EXHAUSTED wants patience.
        Some(8) => {
            Err(Trouble { kind: TroubleKind::Later(Some(Duration::from_secs(5))), why: "the collector is overloaded".into() })
        }
        Some(code) => Err(Trouble::later(format!("the collector answered gRPC status {code}"))),
        None => Err(Trouble::later("the answer has no gRPC status: is this the collector's address?")),
    }
}
