//! AWS event stream encoding (`application/vnd.amazon.eventstream`): messages with typed headers and two checksums.
//!
//! In: body bytes in any split. Out: one [`Frame::EventStream`] a message whose checksums hold; header values of other types are
//! written as text. A damaged message is left out and named; a damaged prelude ends the reading, because lengths are lost.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Buf, Bytes, BytesMut};

use crate::base::limits::FRAME_BYTES;
use crate::base::{Anomaly, Sensitive};

use super::{Frame, note};

const BAD_PRELUDE: Anomaly = Anomaly::new("eventstream.bad_prelude");
const BAD_MESSAGE_CRC: Anomaly = Anomaly::new("eventstream.bad_message_crc");
const BAD_HEADERS: Anomaly = Anomaly::new("eventstream.bad_headers");
const UNFINISHED: Anomaly = Anomaly::new("eventstream.unfinished_message");
const LIMIT_MESSAGE: Anomaly = Anomaly::new("limit.eventstream_message");

pub(crate) const MEDIA_TYPE: &[u8] = b"application/vnd.amazon.eventstream";

/// Total length, length of the headers, checksum of both.
const PRELUDE: usize = 12;
const CRC: usize = 4;

#[derive(Default)]
pub(crate) struct Messages {
    held: BytesMut,
    /// Of a message over the bound.
    skip: usize,
    lost: bool,
}

impl Messages {
    pub(crate) fn push(&mut self, mut bytes: &[u8], frames: &mut Vec<Frame>, odd: &mut Vec<Anomaly>) {
        while !bytes.is_empty() && !self.lost {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = self.fill(PRELUDE, &bytes[skipped..]);
            let Some(prelude) = self.held.first_chunk::<PRELUDE>() else { return };
            let Some((total, headers)) = lengths(prelude) else {
                note(odd, BAD_PRELUDE);
                return self.gap();
            };
            if total > FRAME_BYTES {
                note(odd, LIMIT_MESSAGE);
                self.skip = total - PRELUDE;
                self.held.clear();
                continue;
            }
            bytes = self.fill(total, bytes);
            if self.held.len() < total {
                return;
            }
            message(&self.held.split().freeze(), headers, frames, odd);
        }
    }

    fn fill<'a>(&mut self, want: usize, bytes: &'a [u8]) -> &'a [u8] {
        let (part, rest) = bytes.split_at(bytes.len().min(want.saturating_sub(self.held.len())));
        self.held.extend_from_slice(part);
        rest
    }

    /// Where the next message begins is not known any more.
    pub(crate) fn gap(&mut self) {
        self.lost = true;
        self.held = BytesMut::new();
    }

    pub(crate) fn end(&self, odd: &mut Vec<Anomaly>) {
        if !self.lost && (!self.held.is_empty() || self.skip > 0) {
            note(odd, UNFINISHED);
        }
    }
}

/// Total length and length of the headers, when the prelude is whole and consistent.
fn lengths(prelude: &[u8; PRELUDE]) -> Option<(usize, usize)> {
    let mut fields = &prelude[..];
    let (total, headers, crc) = (fields.get_u32(), fields.get_u32(), fields.get_u32());
    let (total, headers) = (usize::try_from(total).ok()?, usize::try_from(headers).ok()?);
    let consistent = crc32fast::hash(&prelude[..8]) == crc && total >= PRELUDE + CRC && headers <= total - PRELUDE - CRC;
    consistent.then_some((total, headers))
}

fn message(message: &Bytes, headers: usize, frames: &mut Vec<Frame>, odd: &mut Vec<Anomaly>) {
    let (covered, mut crc) = message.split_at(message.len() - CRC);
    if crc32fast::hash(covered) != crc.get_u32() {
        return note(odd, BAD_MESSAGE_CRC);
    }
    let end = message.len() - CRC;
    let Some(headers_read) = read_headers(message.slice(PRELUDE..PRELUDE + headers)) else {
        return note(odd, BAD_HEADERS);
    };
    frames.push(Frame::EventStream { headers: headers_read, payload: Sensitive::new(message.slice(PRELUDE + headers..end)) });
}

fn read_headers(mut rest: Bytes) -> Option<Vec<(Arc<str>, Arc<str>)>> {
    let mut headers = Vec::new();
    while !rest.is_empty() {
        let name_len = usize::from(rest.get_u8());
        let name = take(&mut rest, name_len)?;
        let name: Arc<str> = std::str::from_utf8(&name).ok()?.into();
        headers.push((name, read_value(&mut rest)?));
    }
    Some(headers)
}

fn read_value(rest: &mut Bytes) -> Option<Arc<str>> {
    let value = match rest.try_get_u8().ok()? {
        0 => "true".into(),
        1 => "false".into(),
        2 => rest.try_get_i8().ok()?.to_string(),
        3 => rest.try_get_i16().ok()?.to_string(),
        4 => rest.try_get_i32().ok()?.to_string(),
        // 8 is a time in milliseconds.
        5 | 8 => rest.try_get_i64().ok()?.to_string(),
        6 => {
            let len = rest.try_get_u16().ok()?;
            BASE64.encode(take(rest, len.into())?)
        }
        7 => {
            let len = rest.try_get_u16().ok()?;
            std::str::from_utf8(&take(rest, len.into())?).ok()?.to_owned()
        }
        9 => uuid(rest.try_get_u128().ok()?),
        _ => return None,
    };
    Some(value.into())
}

fn uuid(number: u128) -> String {
    let hex = format!("{number:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn take(rest: &mut Bytes, len: usize) -> Option<Bytes> {
    (rest.len() >= len).then(|| rest.split_to(len))
}
