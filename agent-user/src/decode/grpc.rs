//! gRPC over HTTP/2: length-prefixed messages inside a body, and protobuf without its schema.
//!
//! In: the bytes of a body whose content type is `application/grpc…`, in any split. Out: one [`Frame::Grpc`] a message, after
//! decompression. The body itself stays what DATA carried: its length and hash are of the messages with their prefixes.
//! Status and message of a call are trailer fields like any other.

use bytes::{Bytes, BytesMut};

use crate::base::limits::{FRAME_BYTES, PROTOBUF_DEPTH, PROTOBUF_FIELDS};
use crate::base::{Anomaly, Sensitive, Value};

use super::coding::{Coding, Decoder};
use super::{Frame, Header, header};

const LIMIT_MESSAGE: Anomaly = Anomaly::new("limit.grpc_message");
const UNKNOWN_FLAGS: Anomaly = Anomaly::new("grpc.unknown_flags");
const UNDECODABLE: Anomaly = Anomaly::new("grpc.undecodable_message");
const CUT: Anomaly = Anomaly::new("grpc.unfinished_message");

const PREFIX: usize = 5;
const COMPRESSED: u8 = 0x01;
/// gRPC-Web puts the trailers behind the messages.
const TRAILERS: u8 = 0x80;

/// gRPC over HTTP/2, whatever its message format; gRPC-Web is an ordinary HTTP exchange with the same messages.
pub(crate) fn is_grpc(headers: &[Header]) -> bool {
    header(headers, "content-type").is_some_and(|kind| {
        let rest = kind.strip_prefix(b"application/grpc");
        rest.is_some_and(|rest| rest.first().is_none_or(|next| matches!(next, b'+' | b';' | b' ')))
    })
}

/// gRPC or gRPC-Web in its binary form.
pub(crate) fn has_messages(headers: &[Header]) -> bool {
    is_grpc(headers)
        || header(headers, "content-type")
            .is_some_and(|kind| kind.strip_prefix(b"application/grpc-web").is_some_and(|rest| !rest.starts_with(b"-text")))
}

/// Messages of one body.
pub(crate) struct Messages {
    coding: Option<Coding>,
    held: BytesMut,
    /// Of a message that is too large or was cut by a hole: passed over.
    skip: usize,
    lost: bool,
}

impl Messages {
    pub(crate) fn new(headers: &[Header]) -> Messages {
        let coding = header(headers, "grpc-encoding").and_then(|name| Coding::list([name].into_iter()).ok()?.pop());
        Messages { coding, held: BytesMut::new(), skip: 0, lost: false }
    }

    pub(crate) fn push(&mut self, mut bytes: &[u8], frames: &mut Vec<Frame>, odd: &mut Vec<Anomaly>) {
        while !bytes.is_empty() && !self.lost {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            bytes = self.fill(PREFIX, bytes);
            let Some(&[flags, l3, l2, l1, l0]) = self.held.first_chunk::<PREFIX>() else { return };
            let len = u32::from_be_bytes([l3, l2, l1, l0]) as usize;
            if len > FRAME_BYTES {
                super::note(odd, LIMIT_MESSAGE);
                self.held.clear();
                self.skip = len;
                continue;
            }
            bytes = self.fill(PREFIX + len, bytes);
            if self.held.len() < PREFIX + len {
                return;
            }
            let message = self.held.split().freeze().slice(PREFIX..);
            self.message(flags, message, frames, odd);
        }
    }

    fn fill<'a>(&mut self, want: usize, bytes: &'a [u8]) -> &'a [u8] {
        let (part, rest) = bytes.split_at(bytes.len().min(want.saturating_sub(self.held.len())));
        self.held.extend_from_slice(part);
        rest
    }

    fn message(&self, flags: u8, message: Bytes, frames: &mut Vec<Frame>, odd: &mut Vec<Anomaly>) {
        if flags & !(COMPRESSED | TRAILERS) != 0 {
            super::note(odd, UNKNOWN_FLAGS);
        }
        if flags & TRAILERS != 0 {
            return;
        }
        if flags & COMPRESSED == 0 {
            return frames.push(Frame::Grpc(Sensitive::new(message)));
        }
        match self.coding.ok_or(UNDECODABLE).and_then(|coding| inflate(coding, &message)) {
            Ok(plain) => frames.push(Frame::Grpc(Sensitive::new(plain))),
            Err(anomaly) => super::note(odd, anomaly),
        }
    }

    /// Where the next message begins is not known any more.
    pub(crate) fn gap(&mut self) {
        self.lost = true;
        self.held = BytesMut::new();
    }

    pub(crate) fn end(&self, odd: &mut Vec<Anomaly>) {
        if !self.lost && (!self.held.is_empty() || self.skip > 0) {
            super::note(odd, CUT);
        }
    }
}

fn inflate(coding: Coding, message: &[u8]) -> Result<Bytes, Anomaly> {
    let mut decoder = Decoder::new(&[coding]);
    let mut plain = BytesMut::new();
    let mut over = false;
    let pushed = decoder.push(message, &mut |piece| {
        over |= plain.len() + piece.len() > FRAME_BYTES;
        if !over {
            plain.extend_from_slice(piece);
        }
    });
    match pushed {
        Ok(()) if over => Err(LIMIT_MESSAGE),
        Ok(()) if decoder.is_complete() => Ok(plain.freeze()),
        Ok(()) => Err(UNDECODABLE),
        Err(fault) => Err(fault.limit().unwrap_or(UNDECODABLE)),
    }
}

/// A protobuf message as far as it explains itself: field numbers as keys, varints and fixed fields as numbers, the rest as
/// text where it is UTF-8, as a nested message where it reads as one, else as the number of its bytes. `None` when the bytes
/// are no protobuf.
pub fn protobuf(message: &[u8]) -> Option<Value> {
    let mut fields = PROTOBUF_FIELDS;
    read_message(message, PROTOBUF_DEPTH, &mut fields)
}

fn read_message(mut rest: &[u8], depth: usize, fields: &mut usize) -> Option<Value> {
    let mut entries = Vec::new();
    while !rest.is_empty() {
        *fields = fields.checked_sub(1)?;
        let key = varint(&mut rest)?;
        let number = key >> 3;
        if number == 0 || number >= 1 << 29 {
            return None;
        }
        let value = match key & 7 {
            0 => Value::Number(crate::base::value::Number { text: varint(&mut rest)?.to_string().into() }),
            1 => {
                let (fixed, after) = rest.split_first_chunk::<8>()?;
                rest = after;
                Value::Number(crate::base::value::Number { text: u64::from_le_bytes(*fixed).to_string().into() })
            }
            2 => {
                let len = usize::try_from(varint(&mut rest)?).ok()?;
                let (bytes, after) = rest.split_at_checked(len)?;
                rest = after;
                read_bytes(bytes, depth, fields)
            }
            5 => {
                let (fixed, after) = rest.split_first_chunk::<4>()?;
                rest = after;
                Value::Number(crate::base::value::Number { text: u32::from_le_bytes(*fixed).to_string().into() })
            }
            _ => return None,
        };
        entries.push((number.to_string(), value));
    }
    Some(Value::map(entries))
}

fn read_bytes(bytes: &[u8], depth: usize, fields: &mut usize) -> Value {
    let is_text = |text: &&str| !text.chars().any(|character| character.is_control() && !character.is_whitespace());
    if let Some(text) = std::str::from_utf8(bytes).ok().filter(is_text) {
        return Value::text(text);
    }
    let nested = depth.checked_sub(1).and_then(|depth| read_message(bytes, depth, fields));
    nested.unwrap_or_else(|| Value::map([("bytes", Value::count(bytes.len()))]))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &'static str)]) -> Vec<Header> {
        fields.iter().map(|(name, value)| Header { name: (*name).into(), value: Sensitive::new((*value).into()) }).collect()
    }

    fn message(flags: u8, payload: &[u8]) -> Vec<u8> {
        [&[flags][..], &(payload.len() as u32).to_be_bytes(), payload].concat()
    }

    fn read(encoding: &'static str, pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<Anomaly>) {
        let mut messages = Messages::new(&headers(&[("grpc-encoding", encoding)]));
        let (mut frames, mut odd) = (Vec::new(), Vec::new());
        for piece in pieces {
            messages.push(piece, &mut frames, &mut odd);
        }
        messages.end(&mut odd);
        let show = |frame: &Frame| match frame {
            Frame::Grpc(message) => message.expose_content().to_vec(),
            other => panic!("{other:?}"),
        };
        (frames.iter().map(show).collect(), odd)
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(plain).expect("writing to memory");
        encoder.finish().expect("writing to memory")
    }

    #[test]
    fn messages_in_every_split() {
        let bytes = [message(0, b"one"), message(0, b""), message(1, &gzip(b"two")), message(0x80, b"grpc-status: 0")].concat();
        let expected = (vec![b"one".to_vec(), vec![], b"two".to_vec()], vec![]);
        assert_eq!(read("gzip", &[&bytes]), expected);
        assert_eq!(read("gzip", &bytes.chunks(1).collect::<Vec<_>>()), expected);
        for at in 0..=bytes.len() {
            assert_eq!(read("gzip", &[&bytes[..at], &bytes[at..]]), expected, "split at {at}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        assert_eq!(read("snappy", &[&message(1, b"x")]), (vec![], vec![UNDECODABLE]));
        assert_eq!(read("gzip", &[&message(1, b"x")]), (vec![], vec![UNDECODABLE]));
        assert_eq!(read("gzip", &[&message(2, b"x")]), (vec![b"x".to_vec()], vec![UNKNOWN_FLAGS]));
        assert_eq!(read("gzip", &[&message(0, b"xyz")[..6]]), (vec![], vec![CUT]));
        // 64 MiB of zeros in 64 KiB.
        assert_eq!(
            read("gzip", &[&message(1, &gzip(&vec![0; 64 << 20])), &message(0, b"y")]),
            (vec![b"y".to_vec()], vec![super::super::coding::LIMIT_EXPANSION])
        );
    }

    #[test]
    fn messages_are_bounded() {
        let after = message(0, b"y");
        let (seen, odd) = read("", &[&message(0, &vec![0; FRAME_BYTES]), &after]);
        assert_eq!((seen.len(), odd), (2, vec![]));
        let (seen, odd) = read("", &[&message(0, &vec![0; FRAME_BYTES + 1]), &after]);
        assert_eq!((seen, odd), (vec![b"y".to_vec()], vec![LIMIT_MESSAGE]));
    }

    #[test]
    fn content_types() {
        for (kind, grpc, messages) in [
            ("application/grpc", true, true),
            ("application/grpc+proto", true, true),
            ("application/grpc;charset=x", true, true),
            ("application/grpc-web+proto", false, true),
            ("application/grpc-web-text", false, false),
            ("application/grpcx", false, false),
            ("application/json", false, false),
        ] {
            let headers = headers(&[("content-type", kind)]);
            assert_eq!((is_grpc(&headers), has_messages(&headers)), (grpc, messages), "{kind}");
        }
    }

    #[test]
    fn protobuf_explains_itself() {
        // The examples of the protobuf encoding guide, and nesting.
        let cases: [(&[u8], &str); 6] = [
            (&[0x08, 0x96, 0x01], r#"{"1":150}"#),
            (b"\x12\x07testing", r#"{"2":"testing"}"#),
            (&[0x1a, 0x03, 0x08, 0x96, 0x01], r#"{"3":{"1":150}}"#),
            (&[0x0d, 1, 0, 0, 0, 0x11, 2, 0, 0, 0, 0, 0, 0, 0], r#"{"1":1,"2":2}"#),
            (&[0x0a, 0x02, 0xff, 0xfe], r#"{"1":{"bytes":2}}"#),
            (&[], "{}"),
        ];
        for (message, json) in cases {
            assert_eq!(protobuf(message).map(|value| value.to_json()).as_deref(), Some(json));
        }
        for bad in [&[0x08][..], &[0x00], &[0x0b], &[0x12, 0x05, b'x'], &[0xff; 11]] {
            assert_eq!(protobuf(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn protobuf_is_bounded() {
        let fields = |count: usize| protobuf(&[0x08, 0x01].repeat(count));
        assert!(fields(PROTOBUF_FIELDS).is_some());
        assert_eq!(fields(PROTOBUF_FIELDS + 1), None);
        let mut nested = vec![0x08, 0x96, 0x01];
        for _ in 0..PROTOBUF_DEPTH + 5 {
            let mut outer = vec![0x0a, nested.len() as u8];
            outer.append(&mut nested);
            nested = outer;
        }
        let text = protobuf(&nested).expect("a message").to_json();
        assert_eq!((text.matches("{\"1\":").count(), text.matches("bytes").count()), (PROTOBUF_DEPTH + 1, 1), "{text}");
    }
}
