//! Which protocol a connection speaks, told by content and never by port.
//!
//! In: the first bytes of each turn (bytes of one direction after bytes of the other), because a message begins where a turn
//! begins, also when we joined in the middle of the one before. Out: an engine, fed with everything that waited. Unknown is a
//! valid answer: its bytes are counted.

use bytes::BytesMut;
use memchr::memchr;

use crate::base::limits::UNDECIDED_BYTES;
use crate::base::{Anomaly, Direction, Timestamp};

use super::http1::{Http1, is_credible_request_line, is_request_line, is_token};
use super::{Engine, Next, Out, Piece, What, http2, jsonrpc};

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

/// What HTTP says to the first bytes of a turn.
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

/// What all protocols together say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Wait,
    Unknown,
    Http1Request,
    Http1Response,
    Http2Preface,
    Http2Frames,
    Jsonrpc,
}

impl Verdict {
    /// No more bytes are waited for.
    fn at_last(self) -> Verdict {
        if self == Verdict::Wait { Verdict::Unknown } else { self }
    }
}

fn judge(turn: &[u8]) -> Verdict {
    match guess(turn) {
        Guess::More => return Verdict::Wait,
        // The first line after empty ones; what is no request here may be the end of one.
        Guess::Http1Request => {
            let start = turn.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(0);
            let end = memchr(b'\n', &turn[start..]).map_or(turn.len(), |end| start + end);
            let credible = is_credible_request_line(&turn[start..end]);
            return if credible { Verdict::Http1Request } else { Verdict::Unknown };
        }
        Guess::Http1Response => return Verdict::Http1Response,
        Guess::Http2Preface => return Verdict::Http2Preface,
        Guess::None => {}
    }
    let frames = http2::at_start(turn);
    let message = jsonrpc::guess(turn);
    match (frames, message) {
        (http2::Chain::Proved, _) => Verdict::Http2Frames,
        (_, jsonrpc::Guess::Yes) => Verdict::Jsonrpc,
        (http2::Chain::Possible, _) | (_, jsonrpc::Guess::More) => Verdict::Wait,
        (http2::Chain::Refuted, jsonrpc::Guess::No) => Verdict::Unknown,
    }
}

/// A connection whose protocol no byte has told yet.
#[derive(Default)]
pub(crate) struct Undecided {
    waiting: Vec<Piece>,
    bytes: usize,
    /// Whose turn it is, and how it began; `None` once that beginning said nothing.
    dir: Option<Direction>,
    turn: Option<BytesMut>,
    turns: u64,
    passed: Opaque,
}

impl Undecided {
    pub(crate) fn feed(&mut self, piece: Piece, out: &mut Out<'_>) -> Next {
        let Piece { dir, ts, .. } = piece;
        if self.dir != Some(dir) || matches!(piece.what, What::Gap { .. }) {
            self.dir = Some(dir);
            self.turn = Some(BytesMut::new());
            self.turns += 1;
        }
        let verdict = match (&piece.what, &mut self.turn) {
            (What::Data(bytes), Some(turn)) => {
                let room = UNDECIDED_BYTES.saturating_sub(turn.len()).min(bytes.len());
                turn.extend_from_slice(&bytes[..room]);
                if room < bytes.len() { judge(turn).at_last() } else { judge(turn) }
            }
            (What::Data(_), None) | (What::Gap { .. }, _) => Verdict::Wait,
        };
        let joined = self.turns > 1 || self.passed.has_any();
        let engine = match verdict {
            Verdict::Wait => {
                self.keep(piece);
                return Next::Stay;
            }
            Verdict::Unknown => {
                self.turn = None;
                self.keep(piece);
                return Next::Stay;
            }
            Verdict::Http1Request => Engine::Http1(Box::new(Http1::new(dir, joined))),
            Verdict::Http1Response => Engine::Http1(Box::new(Http1::new(dir.opposite(), joined))),
            Verdict::Http2Preface => Engine::Http2(Box::new(http2::Connection::new(dir))),
            Verdict::Http2Frames => Engine::Http2(Box::new(http2::Connection::attached(out.flow.role))),
            Verdict::Jsonrpc => Engine::Jsonrpc(Box::default()),
        };
        self.passed.close(ts, out);
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.push(piece);
        Next::Become(engine, waiting)
    }

    /// Lets a piece wait; what waits too long is only counted.
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
    fn has_any(&self) -> bool {
        self.bytes != [0, 0]
    }

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
