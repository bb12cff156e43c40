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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> (Vec<String>, Vec<Anomaly>) {
        let (mut lines, mut frames, mut odd) = (Lines::default(), Vec::new(), Vec::new());
        for piece in pieces {
            lines.push(piece, &mut frames, &mut odd);
        }
        lines.end(&mut frames);
        let show = |frame: &Frame| match frame {
            Frame::Line(line) => String::from_utf8_lossy(line.expose_content()).into_owned(),
            other => panic!("{other:?}"),
        };
        (frames.iter().map(show).collect(), odd)
    }

    #[test]
    fn lines_in_every_split() {
        let text = b"{\"a\":1}\n\n{\"b\":2}\r\n  \r\n[3]\n\"last\"";
        let expected = (vec!["{\"a\":1}".to_owned(), "{\"b\":2}".into(), "[3]".into(), "\"last\"".into()], vec![]);
        assert_eq!(read(&[text]), expected);
        assert_eq!(read(&text.chunks(1).collect::<Vec<_>>()), expected);
        for at in 0..=text.len() {
            assert_eq!(read(&[&text[..at], &text[at..]]), expected, "split at {at}");
        }
    }

    #[test]
    fn a_line_is_bounded() {
        let line = vec![b'1'; FRAME_BYTES];
        let (lines, odd) = read(&[&line, b"\n2"]);
        assert_eq!((lines.len(), odd), (2, vec![]));
        assert_eq!(read(&[&line, b"1\n2"]), (vec!["2".into()], vec![LIMIT_LINE]));
    }

    #[test]
    fn a_hole_takes_its_line() {
        let (mut lines, mut frames, mut odd) = (Lines::default(), Vec::new(), Vec::new());
        lines.push(b"1\n{\"cu", &mut frames, &mut odd);
        lines.gap();
        lines.push(b"t\"}\n2\n", &mut frames, &mut odd);
        lines.end(&mut frames);
        assert_eq!(frames, [Frame::Line(Sensitive::new("1".into())), Frame::Line(Sensitive::new("2".into()))]);
    }
}
