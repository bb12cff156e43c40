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
        match self.coding.and_then(|coding| inflate(coding, &message)) {
            Some(plain) => frames.push(Frame::Grpc(Sensitive::new(plain))),
            None => super::note(odd, UNDECODABLE),
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

fn inflate(coding: Coding, message: &[u8]) -> Option<Bytes> {
    let mut decoder = Decoder::new(&[coding]);
    let mut plain = BytesMut::new();
    let mut over = false;
    let pushed = decoder.push(message, &mut |piece| {
        over |= plain.len() + piece.len() > FRAME_BYTES;
        if !over {
            plain.extend_from_slice(piece);
        }
    });
    (pushed.is_ok() && !over && decoder.is_complete()).then(|| plain.freeze())
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
    nested.unwrap_or_else(|| Value::map([("bytes", Value::int(i64::try_from(bytes.len()).unwrap_or(i64::MAX)))]))
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
