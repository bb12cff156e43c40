//! Newline-delimited JSON (`application/x-ndjson`, `application/jsonl`, …): each line of a body is a [`Frame::Line`].
//!
//! In: body bytes in any split. Out: lines without their end, empty ones left out; the last needs none. A line over the bound
//! is given up and named.

use bytes::{Bytes, BytesMut};
use memchr::memchr;

use crate::base::limits::FRAME_BYTES;
use crate::base::{Anomaly, Sensitive};

use super::{Frame, note};

const LIMIT_LINE: Anomaly = Anomaly::new("limit.ndjson_line");

/// Whether a media type, without parameters, says so.
pub(crate) fn is_ndjson(media_type: &[u8]) -> bool {
    let names: [&[u8]; 7] = [
        b"application/x-ndjson",
        b"application/ndjson",
        b"application/jsonl",
        b"application/x-jsonl",
        b"application/jsonlines",
        b"application/x-jsonlines",
        b"application/stream+json",
    ];
    names.iter().any(|name| media_type.eq_ignore_ascii_case(name))
}

#[derive(Default)]
pub(crate) struct Lines {
    held: BytesMut,
    /// The line was cut by a hole or is too long: passed over.
    skip: bool,
}

impl Lines {
    pub(crate) fn push(&mut self, mut bytes: &[u8], frames: &mut Vec<Frame>, odd: &mut Vec<Anomaly>) {
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            self.hold(line, odd);
            self.end_line(frames);
            bytes = rest;
        }
        self.hold(bytes, odd);
    }

    fn hold(&mut self, part: &[u8], odd: &mut Vec<Anomaly>) {
        if self.held.len() + part.len() > FRAME_BYTES {
            note(odd, LIMIT_LINE);
            self.skip = true;
            self.held = BytesMut::new();
        }
        if !self.skip {
            self.held.extend_from_slice(part);
        }
    }

    fn end_line(&mut self, frames: &mut Vec<Frame>) {
        let line = self.held.split();
        if !std::mem::take(&mut self.skip) && !line.trim_ascii().is_empty() {
            frames.push(Frame::Line(Sensitive::new(Bytes::copy_from_slice(line.strip_suffix(b"\r").unwrap_or(&line)))));
        }
    }

    pub(crate) fn gap(&mut self) {
        self.skip = true;
        self.held = BytesMut::new();
    }

    pub(crate) fn end(&mut self, frames: &mut Vec<Frame>) {
        self.end_line(frames);
    }
}
