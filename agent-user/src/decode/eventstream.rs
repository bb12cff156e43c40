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

#[cfg(test)]
mod tests {
    use super::super::testing::unhex;
    use super::*;

    /// Three messages as botocore 1.4x reads them: strings; every type; no headers.
    const MESSAGES: [&str; 3] = [
        "0000007e00000057d6cf45900b3a6576656e742d74797065070011636f6e74656e74426c6f636b44656c74610d3a636f6e74656e742d7479706507\
         00106170706c69636174696f6e2f6a736f6e0d3a6d6573736167652d747970650700056576656e747b2264656c7461223a7b2274657874223a2248\
         69227d7d48768d49",
        "0000005800000048154692c1017400016601016202fb017303fed401690400011170016c05ffffff0000000000017906000361626302747308\
         000001a0c4506c000175090123456789abcdef0123456789abcdefbc698351",
        "0000001500000000cd22c79b706c61696e783cf0df",
    ];

    const SHOWN: [&str; 3] = [
        r#":event-type=contentBlockDelta :content-type=application/json :message-type=event {"delta":{"text":"Hi"}}"#,
        "t=true f=false b=-5 s=-300 i=70000 l=-1099511627776 y=YWJj ts=1790000000000 u=01234567-89ab-cdef-0123-456789abcdef ",
        "plain",
    ];

    fn read(pieces: &[&[u8]]) -> (Vec<String>, Vec<Anomaly>) {
        let (mut messages, mut frames, mut odd) = (Messages::default(), Vec::new(), Vec::new());
        for piece in pieces {
            messages.push(piece, &mut frames, &mut odd);
        }
        messages.end(&mut odd);
        let show = |frame: &Frame| match frame {
            Frame::EventStream { headers, payload } => {
                let headers: String = headers.iter().map(|(name, value)| format!("{name}={value} ")).collect();
                headers + &String::from_utf8_lossy(payload.expose_content())
            }
            other => panic!("{other:?}"),
        };
        (frames.iter().map(show).collect(), odd)
    }

    fn all() -> Vec<u8> {
        unhex(&MESSAGES.concat())
    }

    #[test]
    fn every_header_type_in_every_split() {
        let bytes = all();
        let expected = (SHOWN.map(String::from).to_vec(), vec![]);
        assert_eq!(read(&[&bytes]), expected);
        assert_eq!(read(&bytes.chunks(1).collect::<Vec<_>>()), expected);
        for at in 0..=bytes.len() {
            assert_eq!(read(&[&bytes[..at], &bytes[at..]]), expected, "split at {at}");
        }
    }

    #[test]
    fn no_flipped_bit_passes() {
        let bytes = all();
        let first = unhex(MESSAGES[0]).len();
        for bit in 0..first * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let (shown, odd) = read(&[&damaged]);
            if bit / 8 < PRELUDE {
                assert_eq!((shown, odd), (vec![], vec![BAD_PRELUDE]), "bit {bit}");
            } else {
                assert_eq!(
                    (shown, odd),
                    (SHOWN[1..].iter().map(|&shown| shown.into()).collect(), vec![BAD_MESSAGE_CRC]),
                    "bit {bit}"
                );
            }
        }
    }

    /// A message whose payload is `len` zeros.
    fn message_of(len: usize) -> Vec<u8> {
        let mut bytes = [((len + PRELUDE + CRC) as u32).to_be_bytes(), [0; 4]].concat();
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        bytes.resize(PRELUDE + len, 0);
        bytes.extend(crc32fast::hash(&bytes).to_be_bytes());
        bytes
    }

    #[test]
    fn messages_are_bounded() {
        let largest = FRAME_BYTES - PRELUDE - CRC;
        let after = unhex(MESSAGES[2]);
        let (shown, odd) = read(&[&message_of(largest), &after]);
        assert_eq!((shown.len(), odd), (2, vec![]));
        let (shown, odd) = read(&[&message_of(largest + 1), &after]);
        assert_eq!((shown, odd), (vec!["plain".to_owned()], vec![LIMIT_MESSAGE]));
    }

    #[test]
    fn ends_and_holes() {
        let bytes = all();
        assert_eq!(read(&[&bytes[..5]]).1, [UNFINISHED]);
        let (mut messages, mut frames, mut odd) = (Messages::default(), Vec::new(), Vec::new());
        messages.push(&bytes[..5], &mut frames, &mut odd);
        messages.gap();
        messages.push(&bytes, &mut frames, &mut odd);
        messages.end(&mut odd);
        assert!(frames.is_empty() && odd.is_empty(), "where the next message begins is unknown");
    }
}
