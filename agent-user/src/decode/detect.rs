//! Which protocol a connection speaks, told by content and never by port.
//!
//! In: the first bytes of each turn (bytes of one direction after bytes of the other), because a message begins where a turn
//! begins, also when we joined in the middle of the one before. Out: an engine, fed with everything that waited. Unknown is a
//! valid answer: its bytes are counted.

use bytes::BytesMut;
use memchr::memchr;

use crate::base::limits::UNDECIDED_BYTES;
use crate::base::{Anomaly, Direction, Timestamp};

use super::http1::{is_request_line, is_token};
use super::{Next, Out, Piece, What};

/// A protocol that nobody here reads.
pub(crate) const UNKNOWN: Anomaly = Anomaly::new("protocol.unknown");

/// What the first bytes of a turn say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guess {
    More,
    Http1Request,
    Http1Response,
    Http2Preface,
    None,
}

const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Longest first line that is waited for.
const LINE: usize = 16 << 10;

pub(crate) fn guess(bytes: &[u8]) -> Guess {
    if bytes.len() < HTTP2_PREFACE.len() && HTTP2_PREFACE.starts_with(bytes) {
        return Guess::More;
    }
    if bytes.starts_with(HTTP2_PREFACE) {
        return Guess::Http2Preface;
    }
    // RFC 9112 section 2.2: empty lines before a request line are skipped.
    let start = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
    let line = &bytes[start..];
    if line.starts_with(b"HTTP/1.") {
        return Guess::Http1Response;
    }
    if b"HTTP/1.".starts_with(line) {
        return Guess::More;
    }
    let method = line.iter().position(|&byte| !is_token(byte)).unwrap_or(line.len());
    if method > LONGEST_METHOD || method < line.len() && line[method] != b' ' || method == 0 && !line.is_empty() {
        return Guess::None;
    }
    match memchr(b'\n', line) {
        Some(end) if is_request_line(&line[..end]) => Guess::Http1Request,
        Some(_) => Guess::None,
        None if line.len() > LINE => Guess::None,
        None => Guess::More,
    }
}

const LONGEST_METHOD: usize = 32;

/// A connection whose protocol no byte has told yet.
#[derive(Default)]
pub(crate) struct Undecided {
    waiting: Vec<Piece>,
    bytes: usize,
    /// Whose turn it is, and how it began; `None` once that beginning said nothing.
    dir: Option<Direction>,
    turn: Option<BytesMut>,
    passed: Opaque,
}

impl Undecided {
    pub(crate) fn feed(&mut self, piece: Piece, _out: &mut Out<'_>) -> Next {
        let dir = piece.dir;
        if self.dir != Some(dir) || matches!(piece.what, What::Gap { .. }) {
            self.dir = Some(dir);
            self.turn = Some(BytesMut::new());
        }
        let guess = match (&piece.what, &mut self.turn) {
            (What::Data(bytes), Some(turn)) => {
                turn.extend_from_slice(&bytes[..bytes.len().min(LINE + 1)]);
                guess(turn)
            }
            (What::Data(_), None) | (What::Gap { .. }, _) => Guess::More,
        };
        self.keep(piece);
        match guess {
            Guess::More => Next::Stay,
            Guess::Http1Request | Guess::Http1Response | Guess::Http2Preface | Guess::None => {
                self.turn = None;
                Next::Stay
            }
        }
    }

    fn keep(&mut self, piece: Piece) {
        if let What::Data(bytes) = &piece.what {
            self.bytes += bytes.len();
        }
        self.waiting.push(piece);
        if self.bytes > UNDECIDED_BYTES {
            for piece in self.waiting.drain(..) {
                self.passed.feed(piece.dir, &piece.what);
            }
            self.bytes = 0;
        }
    }

    pub(crate) fn close(&mut self, ts: Timestamp, out: &mut Out<'_>) {
        for piece in self.waiting.drain(..) {
            self.passed.feed(piece.dir, &piece.what);
        }
        self.passed.close(ts, out);
    }
}

/// A connection that is only counted.
#[derive(Default)]
pub(crate) struct Opaque {
    bytes: [u64; 2],
}

impl Opaque {
    pub(crate) fn feed(&mut self, dir: Direction, what: &What) {
        if let What::Data(bytes) = what {
            self.bytes[dir as usize] += bytes.len() as u64;
        }
    }

    pub(crate) fn close(&mut self, ts: Timestamp, out: &mut Out<'_>) {
        for dir in [Direction::Out, Direction::In] {
            let bytes = self.bytes[dir as usize];
            if bytes > 0 {
                out.anomaly(dir, ts, UNKNOWN, bytes);
            }
        }
    }
}
