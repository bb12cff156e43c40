//! Server-sent events (WHATWG HTML, section 9.2): bytes of a body become [`Frame::Sse`].
//!
//! In: decoded body bytes in any split. Out: one frame per dispatched event. An event that the stream's end or a hole cuts is
//! not dispatched, as in a browser; a line or an event over the bound is given up and named.

use std::sync::Arc;

use bytes::Bytes;
use memchr::{memchr, memchr2};

use crate::base::limits::FRAME_BYTES;
use crate::base::{Anomaly, Sensitive};

use super::{Frame, note};

/// A line or event that never ends.
pub(crate) const LIMIT_EVENT: Anomaly = Anomaly::new("limit.sse_event");
/// The stream ended inside an event: a browser drops it, other readers may not.
pub(crate) const UNFINISHED: Anomaly = Anomaly::new("sse.ambiguous_unfinished_event");

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

#[derive(Default)]
pub(crate) struct Sse {
    /// The part of a line that came so far.
    line: Vec<u8>,
    /// The start of this line is not in `line`: a hole or the bound took it.
    line_cut: bool,
    /// Nothing counts until the next blank line.
    skipping: bool,
    after_cr: bool,
    past_first_line: bool,
    /// The first data line, as long as it is the only one and lies whole in a piece that came.
    single: Option<Bytes>,
    /// Data lines, each with a line feed after it.
    data: Vec<u8>,
    event: Option<Arc<str>>,
    id: Option<Arc<str>>,
    /// The type of an earlier event: streams repeat a handful of them.
    known_event: Option<Arc<str>>,
}

impl Sse {
    /// `owner` holds the bytes, if anything does: then events need no copy.
    pub(crate) fn push(&mut self, mut bytes: &[u8], owner: Option<&Bytes>, frames: &mut Vec<Frame>, odd: &mut Vec<Anomaly>) {
        while let Some(&first) = bytes.first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            if let Some(owner) = owner
                && let Some(taken) = self.whole(bytes, owner, frames)
            {
                bytes = &bytes[taken..];
                continue;
            }
            // Every other line is empty: that is cheaper to see than to search for.
            let end = if first == b'\n' { Some(0) } else { memchr2(b'\r', b'\n', bytes) };
            let Some(end) = end else { return self.wait(bytes, odd) };
            self.after_cr = bytes[end] == b'\r';
            if self.line.is_empty() && !self.line_cut {
                self.end_line(&bytes[..end], owner, frames, odd);
            } else {
                self.wait(&bytes[..end], odd);
                let mut line = std::mem::take(&mut self.line);
                if !std::mem::take(&mut self.line_cut) {
                    self.end_line(&line, None, frames, odd);
                }
                line.clear();
                self.line = line;
            }
            bytes = &bytes[end + 1..];
        }
    }

    /// What most streams of models are made of: an event with one line of data that lies whole in a piece. Gives the bytes that it took.
    #[inline]
    fn whole(&mut self, bytes: &[u8], owner: &Bytes, frames: &mut Vec<Frame>) -> Option<usize> {
        let value = bytes.strip_prefix(b"data: ")?;
        if self.skipping || self.line_cut || self.single.is_some() || !(self.line.is_empty() && self.data.is_empty()) {
            return None;
        }
        let end = memchr2(b'\r', b'\n', value)?;
        if end >= FRAME_BYTES || value.get(end..end + 2)? != b"\n\n" {
            return None;
        }
        self.past_first_line = true;
        let data = Sensitive::new(owner.slice_ref(&value[..end]));
        frames.push(Frame::Sse { event: self.event.take(), data, id: self.id.take() });
        Some(b"data: ".len() + end + 2)
    }

    /// Bytes are missing here.
    pub(crate) fn gap(&mut self) {
        self.forget();
        self.line.clear();
        self.line_cut = true;
        self.skipping = true;
        self.after_cr = false;
        self.past_first_line = true;
    }

    pub(crate) fn end(&mut self, odd: &mut Vec<Anomaly>) {
        if self.single.is_some() || !self.data.is_empty() || self.line.starts_with(b"data") {
            note(odd, UNFINISHED);
        }
    }

    fn wait(&mut self, part: &[u8], odd: &mut Vec<Anomaly>) {
        if self.line_cut {
            return;
        }
        if self.line.len() + part.len() > FRAME_BYTES {
            self.give_up(odd);
            self.line = Vec::new();
            self.line_cut = true;
            return;
        }
        self.line.extend_from_slice(part);
    }

    fn give_up(&mut self, odd: &mut Vec<Anomaly>) {
        note(odd, LIMIT_EVENT);
        self.forget();
        self.data = Vec::new();
        self.skipping = true;
    }

    fn forget(&mut self) {
        self.single = None;
        self.data.clear();
        self.event = None;
        self.id = None;
    }

    fn end_line(&mut self, line: &[u8], owner: Option<&Bytes>, frames: &mut Vec<Frame>, odd: &mut Vec<Anomaly>) {
        let first_line = !std::mem::replace(&mut self.past_first_line, true);
        let line = if first_line { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
        if line.is_empty() {
            if !std::mem::take(&mut self.skipping) {
                self.dispatch(frames);
            }
            self.forget();
            return;
        }
        if self.skipping {
            return;
        }
        let (field, value) = split(line);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if let (Some(owner), None, true) = (owner, &self.single, self.data.is_empty()) {
                    if value.len() >= FRAME_BYTES {
                        return self.give_up(odd);
                    }
                    self.single = Some(owner.slice_ref(value));
                    return;
                }
                if let Some(first) = self.single.take() {
                    self.data.extend_from_slice(&first);
                    self.data.push(b'\n');
                }
                if self.data.len() + value.len() >= FRAME_BYTES {
                    return self.give_up(odd);
                }
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            b"event" => self.event = (!value.is_empty()).then(|| self.event_name(value)),
            b"id" if !value.contains(&0) => self.id = Some(String::from_utf8_lossy(value).into()),
            // `retry`, comments (an empty field name) and unknown fields change nothing that was said.
            _ => {}
        }
    }

    fn event_name(&mut self, name: &[u8]) -> Arc<str> {
        match &self.known_event {
            Some(known) if known.as_bytes() == name => known.clone(),
            _ => {
                let name: Arc<str> = String::from_utf8_lossy(name).into();
                self.known_event = Some(name.clone());
                name
            }
        }
    }

    fn dispatch(&mut self, frames: &mut Vec<Frame>) {
        let data = match (self.single.take(), self.data.split_last()) {
            (Some(single), _) => single,
            (None, Some((_, data))) => Bytes::copy_from_slice(data),
            (None, None) => return,
        };
        frames.push(Frame::Sse { event: self.event.take(), data: Sensitive::new(data), id: self.id.take() });
    }
}

/// A line's field and its value, which may follow a space. Most lines are data: that is seen without a search.
fn split(line: &[u8]) -> (&[u8], &[u8]) {
    if let Some(value) = line.strip_prefix(b"data:") {
        return (b"data", value);
    }
    match memchr(b':', line) {
        Some(colon) => (&line[..colon], &line[colon + 1..]),
        None => (line, &[]),
    }
}

#[cfg(any(test, feature = "fuzz"))]
pub fn fuzz(data: &[u8]) {
    let run = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut sse, mut frames, mut odd) = (Sse::default(), Vec::new(), Vec::new());
        pieces.for_each(|piece| {
            let owner = Bytes::copy_from_slice(piece);
            sse.push(&owner, Some(&owner).filter(|_| piece.len() > 1), &mut frames, &mut odd);
        });
        sse.end(&mut odd);
        (frames, odd)
    };
    assert_eq!(run(&mut std::iter::once(data)), run(&mut data.chunks(1)), "the cut does not matter");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events as `type:data#id`, joined by spaces, and anomalies.
    fn shown(frames: &[Frame], odd: &[Anomaly]) -> String {
        let frame = |frame: &Frame| match frame {
            Frame::Sse { event, data, id } => {
                let id = id.as_ref().map_or(String::new(), |id| format!("#{id}"));
                let event = event.as_deref().unwrap_or_default();
                format!("{event}:{}{id}", String::from_utf8_lossy(data.expose_content()))
            }
            other => format!("{other:?}"),
        };
        let frames = frames.iter().map(frame);
        frames.chain(odd.iter().map(|anomaly| format!("~{}", anomaly.name()))).collect::<Vec<_>>().join(" ")
    }

    fn run<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> String {
        let (mut sse, mut frames, mut odd) = (Sse::default(), Vec::new(), Vec::new());
        pieces.for_each(|piece| sse.push(piece, None, &mut frames, &mut odd));
        sse.end(&mut odd);
        shown(&frames, &odd)
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let bytes = text.as_bytes();
        assert_eq!(run(std::iter::once(bytes)), expected, "{text:?}");
        assert_eq!(run(bytes.chunks(1)), expected, "{text:?} one byte at a time");
        for cut in 0..bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            assert_eq!(run([head, tail].into_iter()), expected, "{text:?} cut at {cut}");
        }
    }

    #[test]
    fn the_grammar_of_the_standard() {
        check("data: a\n\n", ":a");
        check("data:a\r\n\r\ndata:  b\r\rdata:c\n\n", ":a : b :c");
        check("data: a\ndata: b\ndata\n\n", ":a\nb\n");
        check("event: x\nid: 7\ndata: a\n\ndata: b\n\n", "x:a#7 :b");
        check("\u{feff}data: a\n\n\u{feff}data: b\n\n", ":a");
        check(": comment\nretry: 10\nunknown: x\ndata: a\n\n", ":a");
        check("event: x\n\ndata: a\n\n", ":a");
        check("data\n\n", ":");
        check("id: a\0b\ndata: x\n\n", ":x");
        check("data: [DONE]\n\n", ":[DONE]");
        check("\n\n\r\r\n", "");
        check("data: a\n", "~sse.ambiguous_unfinished_event");
        check("data: a\n\ndata: b", ":a ~sse.ambiguous_unfinished_event");
        check("data: a\r\r\ndata: b\n\r\n", ":a :b");
    }

    #[test]
    fn a_hole_costs_the_event_it_is_in() {
        let (mut sse, mut frames, mut odd) = (Sse::default(), Vec::new(), Vec::new());
        sse.push(b"data: a\n\ndata: b", None, &mut frames, &mut odd);
        sse.gap();
        sse.push(b"ata: x\n\ndata: c\n\n", None, &mut frames, &mut odd);
        assert_eq!(shown(&frames, &odd), ":a :c");
    }

    #[test]
    fn a_line_and_an_event_at_the_edge() {
        let line = |length: usize| format!("data:{}\n\ndata:z\n\n", "x".repeat(length));
        let fits = FRAME_BYTES - "data:".len();
        let parts = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let (mut sse, mut frames, mut odd) = (Sse::default(), Vec::new(), Vec::new());
            pieces.for_each(|piece| sse.push(piece, None, &mut frames, &mut odd));
            (frames.len(), odd)
        };
        assert_eq!(parts(&mut line(fits).as_bytes().chunks(1000)), (2, vec![]));
        assert_eq!(parts(&mut line(fits + 1).as_bytes().chunks(1000)), (1, vec![LIMIT_EVENT]));
        let lines = |count: usize| format!("{}\n\n", "data:123\n".repeat(count)).into_bytes();
        assert_eq!(parts(&mut std::iter::once(&lines(FRAME_BYTES / 4)[..])), (1, vec![]));
        assert_eq!(parts(&mut std::iter::once(&lines(FRAME_BYTES / 4 + 1)[..])), (0, vec![LIMIT_EVENT]));
    }
}
