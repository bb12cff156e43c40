//! HTTP/2 framing (RFC 9113 section 4): bytes of one direction become frames.
//!
//! In: bytes in any split, and holes of known size. Out: DATA piece by piece as it comes, every other known frame whole, frames
//! of unknown kinds not at all. It holds at most one frame's payload and judges nothing but sizes.

use bytes::{Buf, Bytes, BytesMut};

use crate::base::limits::HEAD_BYTES;

pub(crate) const HEAD_LEN: usize = 9;

/// Frame types of RFC 9113 section 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Data,
    Headers,
    Priority,
    RstStream,
    Settings,
    PushPromise,
    Ping,
    Goaway,
    WindowUpdate,
    Continuation,
    /// An extension; readers skip it (section 5.5).
    Other(u8),
}

impl Kind {
    fn from_octet(octet: u8) -> Kind {
        match octet {
            0 => Kind::Data,
            1 => Kind::Headers,
            2 => Kind::Priority,
            3 => Kind::RstStream,
            4 => Kind::Settings,
            5 => Kind::PushPromise,
            6 => Kind::Ping,
            7 => Kind::Goaway,
            8 => Kind::WindowUpdate,
            9 => Kind::Continuation,
            other => Kind::Other(other),
        }
    }

    /// Whether the frame carries a part of a header block, so that losing it loses the HPACK state.
    pub(crate) fn has_block(self) -> bool {
        matches!(self, Kind::Headers | Kind::PushPromise | Kind::Continuation)
    }
}

pub(crate) const END_STREAM: u8 = 0x01;
pub(crate) const ACK: u8 = 0x01;
pub(crate) const END_HEADERS: u8 = 0x04;
pub(crate) const PADDED: u8 = 0x08;
pub(crate) const PRIORITY: u8 = 0x20;

/// A frame's first nine octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) len: usize,
    pub(crate) kind: Kind,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    /// The bit that senders leave unset.
    pub(crate) reserved: bool,
}

impl Head {
    pub(crate) fn read(octets: &[u8; HEAD_LEN]) -> Head {
        let [l2, l1, l0, kind, flags, s3, s2, s1, s0] = *octets;
        Head {
            len: u32::from_be_bytes([0, l2, l1, l0]) as usize,
            kind: Kind::from_octet(kind),
            flags,
            stream: u32::from_be_bytes([s3 & 0x7f, s2, s1, s0]),
            reserved: s3 & 0x80 != 0,
        }
    }

    /// Whether a frame of this kind may have this length and stream (RFC 9113 section 6).
    pub(crate) fn is_well_formed(&self) -> bool {
        let of_connection = self.stream == 0;
        match self.kind {
            Kind::Data | Kind::Headers | Kind::PushPromise | Kind::Continuation => !of_connection,
            Kind::Priority => self.len == 5 && !of_connection,
            Kind::RstStream => self.len == 4 && !of_connection,
            Kind::Settings => self.len.is_multiple_of(6) && of_connection && (self.len == 0 || !self.has(ACK)),
            Kind::Ping => self.len == 8 && of_connection,
            Kind::Goaway => self.len >= 8 && of_connection,
            Kind::WindowUpdate => self.len == 4,
            Kind::Other(_) => true,
        }
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// What came out of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The next bytes of a DATA frame's content, without padding.
    Data { stream: u32, bytes: Bytes },
    /// A DATA frame is over.
    DataEnd { head: Head },
    /// Any other frame of RFC 9113, with its payload, padding included.
    Frame { head: Head, payload: Bytes },
    /// A frame whose payload is larger than we hold: it is skipped.
    TooLarge { head: Head },
    /// A DATA frame with more padding than payload: skipped.
    BadPadding { head: Head },
}

/// What a hole did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hole {
    /// Within a frame that nobody needs.
    Harmless,
    /// Within this frame; the next one begins where it would have.
    InFrame(Head),
    /// Frames may be missing: where the next begins must be proved anew.
    Lost,
}

enum State {
    Head,
    Payload {
        head: Head,
    },
    /// Content, then padding, of a DATA frame.
    Data {
        head: Head,
        content: usize,
        padding: usize,
    },
    /// The first octet of a padded DATA frame is due.
    PadLength {
        head: Head,
    },
    Skip {
        head: Head,
        left: usize,
    },
}

pub(crate) struct Reader {
    state: State,
    /// What came of a frame head or payload so far.
    held: BytesMut,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader { state: State::Head, held: BytesMut::new() }
    }
}

impl Reader {
    /// Takes from `input` until something is whole; `None` once it is empty.
    pub(crate) fn next(&mut self, input: &mut Bytes) -> Option<Part> {
        loop {
            match &mut self.state {
                State::Head => {
                    let octets = self.take(HEAD_LEN, input)?;
                    let head = Head::read(octets.as_ref().try_into().expect("as long as asked for"));
                    if let Some(part) = self.begin(head) {
                        return Some(part);
                    }
                }
                State::Payload { head } => {
                    let head = *head;
                    let payload = self.take(head.len, input)?;
                    self.state = State::Head;
                    return Some(Part::Frame { head, payload });
                }
                State::PadLength { head } => {
                    let head = *head;
                    if input.is_empty() {
                        return None;
                    }
                    let padding = usize::from(input.get_u8());
                    match (head.len - 1).checked_sub(padding) {
                        Some(content) => self.state = State::Data { head, content, padding },
                        None => {
                            self.state = State::Skip { head, left: head.len - 1 };
                            return Some(Part::BadPadding { head });
                        }
                    }
                }
                State::Data { head, content, padding } => {
                    let head = *head;
                    if *content > 0 {
                        if input.is_empty() {
                            return None;
                        }
                        let bytes = input.split_to(input.len().min(*content));
                        *content -= bytes.len();
                        return Some(Part::Data { stream: head.stream, bytes });
                    }
                    let left = *padding;
                    self.state = State::Skip { head, left };
                }
                State::Skip { head, left } => {
                    let head = *head;
                    let passed = input.len().min(*left);
                    input.advance(passed);
                    *left -= passed;
                    if *left > 0 {
                        return None;
                    }
                    self.state = State::Head;
                    if head.kind == Kind::Data {
                        return Some(Part::DataEnd { head });
                    }
                }
            }
        }
    }

    /// Bytes of a frame that is no DATA and not whole.
    pub(crate) fn unread(&self) -> usize {
        match self.state {
            State::Head => self.held.len(),
            State::Payload { .. } => HEAD_LEN + self.held.len(),
            State::Skip { head, left } if head.kind != Kind::Data => HEAD_LEN + head.len - left,
            State::Skip { .. } | State::PadLength { .. } | State::Data { .. } => 0,
        }
    }

    fn begin(&mut self, head: Head) -> Option<Part> {
        self.state = match head.kind {
            Kind::Data if head.has(PADDED) && head.len > 0 => State::PadLength { head },
            Kind::Data if head.has(PADDED) => {
                self.state = State::Skip { head, left: 0 };
                return Some(Part::BadPadding { head });
            }
            Kind::Data => State::Data { head, content: head.len, padding: 0 },
            Kind::Other(_) => State::Skip { head, left: head.len },
            _ if head.len > HEAD_BYTES => {
                self.state = State::Skip { head, left: head.len };
                return Some(Part::TooLarge { head });
            }
            Kind::Headers
            | Kind::Priority
            | Kind::RstStream
            | Kind::Settings
            | Kind::PushPromise
            | Kind::Ping
            | Kind::Goaway
            | Kind::WindowUpdate
            | Kind::Continuation => State::Payload { head },
        };
        None
    }

    /// `want` bytes in one piece, without a copy when they came in one.
    fn take(&mut self, want: usize, input: &mut Bytes) -> Option<Bytes> {
        if self.held.is_empty() && input.len() >= want {
            return Some(input.split_to(want));
        }
        let part = input.split_to(input.len().min(want - self.held.len()));
        self.held.extend_from_slice(&part);
        (self.held.len() == want).then(|| self.held.split().freeze())
    }

    /// `missing` bytes are not there, `None` for nobody knows how many. After [`Hole::Lost`] the reader stands at a frame's head.
    pub(crate) fn gap(&mut self, missing: Option<u64>) -> Hole {
        let missing = missing.and_then(|missing| usize::try_from(missing).ok());
        let (head, left) = match self.state {
            State::Head => return self.lost(missing),
            State::Payload { head } => (head, head.len - self.held.len()),
            State::PadLength { head } => (head, head.len),
            State::Data { head, content, padding } => (head, content + padding),
            State::Skip { head, left } => (head, left),
        };
        let Some(left) = missing.and_then(|missing| left.checked_sub(missing)) else { return self.lost(missing) };
        let harmless = missing == Some(0) || matches!(self.state, State::Skip { .. }) && !head.kind.has_block();
        if let (State::Data { content, padding, .. }, Some(missing)) = (&mut self.state, missing) {
            let of_content = missing.min(*content);
            *content -= of_content;
            *padding -= missing - of_content;
            return if of_content == 0 { Hole::Harmless } else { Hole::InFrame(head) };
        }
        if missing != Some(0) {
            self.held.clear();
            self.state = State::Skip { head, left };
        }
        if harmless { Hole::Harmless } else { Hole::InFrame(head) }
    }

    fn lost(&mut self, missing: Option<usize>) -> Hole {
        if missing == Some(0) {
            return Hole::Harmless;
        }
        *self = Reader::default();
        Hole::Lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let len = (payload.len() as u32).to_be_bytes();
        [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    /// Parts with the pieces of DATA joined, as `(kind, stream, bytes)`.
    fn read(reader: &mut Reader, pieces: &[&[u8]]) -> Vec<String> {
        let mut out = Vec::new();
        let mut content = Vec::new();
        for piece in pieces {
            let mut input = Bytes::copy_from_slice(piece);
            while let Some(part) = reader.next(&mut input) {
                match part {
                    Part::Data { bytes, .. } => content.extend_from_slice(&bytes),
                    Part::DataEnd { head } => {
                        out.push(format!("data {} {:?}", head.stream, String::from_utf8_lossy(&content)));
                        content.clear();
                    }
                    Part::Frame { head, payload } => out.push(format!("{:?} {} {payload:?}", head.kind, head.stream)),
                    Part::TooLarge { head } => out.push(format!("too large {:?}", head.kind)),
                    Part::BadPadding { .. } => out.push("bad padding".into()),
                }
            }
            assert!(input.is_empty());
        }
        out
    }

    fn traffic() -> Vec<u8> {
        [
            frame(4, 0, 0, &[0, 3, 0, 0, 0, 100]),
            frame(1, 4, 1, b"block"),
            frame(0, 0, 1, b"hello"),
            frame(0, 8, 1, b"\x03world\0\0\0"),
            frame(0, 8, 1, b"\x09short"),
            frame(0, 8, 1, b""),
            frame(0x0c, 0, 0, b"extension"),
            frame(0, 1, 1, b""),
            frame(9, 4, 3, &vec![0; HEAD_BYTES + 1]),
            frame(6, 0, 0, b"pingpong"),
        ]
        .concat()
    }

    #[test]
    fn frames_in_every_split() {
        let bytes = traffic();
        let expected = [
            r#"Settings 0 b"\0\x03\0\0\0d""#,
            r#"Headers 1 b"block""#,
            r#"data 1 "hello""#,
            r#"data 1 "world""#,
            "bad padding",
            r#"data 1 """#,
            "bad padding",
            r#"data 1 """#,
            r#"data 1 """#,
            "too large Continuation",
            r#"Ping 0 b"pingpong""#,
        ];
        assert_eq!(read(&mut Reader::default(), &[&bytes]), expected);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(&mut Reader::default(), &single), expected);
        for split in (0..200).chain(bytes.len() - 20..=bytes.len()) {
            let (first, second) = bytes.split_at(split);
            assert_eq!(read(&mut Reader::default(), &[first, second]), expected, "split at {split}");
        }
    }

    #[test]
    fn a_hole_inside_a_frame_keeps_the_next_one() {
        let data = frame(0, 1, 5, b"0123456789");
        let ping = frame(6, 0, 0, b"pingpong");
        for begin in HEAD_LEN..data.len() {
            for end in begin + 1..=data.len() {
                let mut reader = Reader::default();
                assert!(read(&mut reader, &[&data[..begin]]).is_empty());
                let hole = reader.gap(Some((end - begin) as u64));
                assert!(matches!(hole, Hole::InFrame(Head { stream: 5, .. })));
                let seen = read(&mut reader, &[&data[end..], &ping]);
                assert_eq!(seen.len(), 2, "{seen:?}");
                assert_eq!(seen[1], r#"Ping 0 b"pingpong""#);
            }
        }
        let headers = frame(1, 4, 5, b"0123456789");
        let mut reader = Reader::default();
        read(&mut reader, &[&headers[..12]]);
        assert!(matches!(reader.gap(Some(2)), Hole::InFrame(Head { kind: Kind::Headers, .. })));
        assert_eq!(read(&mut reader, &[&headers[14..], &ping]), [r#"Ping 0 b"pingpong""#]);
    }

    #[test]
    fn a_hole_past_a_frame_is_lost() {
        let data = frame(0, 1, 5, b"0123456789");
        for (seen, missing) in [(12, Some(8)), (12, None), (4, Some(1)), (0, Some(1)), (data.len(), Some(1))] {
            let mut reader = Reader::default();
            read(&mut reader, &[&data[..seen]]);
            assert_eq!(reader.gap(missing), Hole::Lost, "{seen} {missing:?}");
            assert_eq!(read(&mut reader, &[&frame(6, 0, 0, b"pingpong")]), [r#"Ping 0 b"pingpong""#]);
        }
    }
}
