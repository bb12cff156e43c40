//! HTTP/1.0 and 1.1 (RFC 9110, RFC 9112): both directions of one connection become exchanges.
//!
//! In: bytes and holes of either direction, in order of arrival. Out: [`HttpEvent`]s. Requests and responses are paired by order.
//! Where two readers could disagree one reading is taken, the one of the RFC, and the exchange says so; nothing is repaired.
//! After a hole it reads on where a message provably begins.

#[cfg(feature = "bench")]
pub mod bench;
mod chunked;
mod exchange;
mod framing;
mod head;
mod heads;
#[cfg(test)]
mod hostile;
mod names;
mod resync;
mod switch;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};

use crate::base::limits::HEAD_BYTES;
use crate::base::{Anomaly, Direction, Incomplete, LossCause, Timestamp};

use super::body::{self, Assembled, Assembler};
use super::detect::{Guess, guess};
use super::{End, Frame, Header, Out, Piece, Response, Upgrade, What, note};
use chunked::{Chunked, Part};
use exchange::Open;
use head::Kind;
pub(super) use names::Names;
pub(crate) use switch::Switch;

/// Bytes between the point where a direction was lost and the next head.
const LOST: Anomaly = Anomaly::new("http1.lost_bytes");
/// A message after one that said it was the last: some servers answer it, some never read it.
const AFTER_CLOSE: Anomaly = Anomaly::new("http1.ambiguous_after_close");
/// Fields after the body that would have changed how it was read.
const AMBIGUOUS_TRAILER: Anomaly = Anomaly::new("http1.ambiguous_trailer");

/// RFC 9110 section 5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte: u8 = 0;
    while byte < 0x7f {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let marks = b"!#$%&'*+-.^_`|~";
    let mut position = 0;
    while position < marks.len() {
        table[marks[position] as usize] = true;
        position += 1;
    }
    table
};

/// `method SP target SP HTTP/1.x`, as loosely as servers read it.
pub(crate) fn is_request_line(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    let Some(version) = line.len().checked_sub(b"HTTP/1.1".len()) else { return false };
    let (rest, version) = line.split_at(version);
    version[..b"HTTP/1.".len()].eq_ignore_ascii_case(b"HTTP/1.") && rest.ends_with(b" ") && rest.trim_ascii().contains(&b' ')
}

/// Whether a request line is one where nothing says that a message begins: the end of a body with the next head behind it reads
/// as a line as well, and so does a line whose start was not seen.
pub(crate) fn is_credible_request_line(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    let Some(space) = memchr::memchr(b' ', line) else { return false };
    let (method, target) = (&line[..space], line[space..].trim_ascii_start());
    let known = |known: &&[u8]| *known == method;
    let overlaps = |known: &&[u8]| known.ends_with(method) || method.ends_with(known);
    let names_target = matches!(target.first(), Some(b'/' | b'*'))
        || method == b"CONNECT"
        || [&b"http://"[..], b"https://"]
            .iter()
            .any(|start| target.get(..start.len()).is_some_and(|got| got.eq_ignore_ascii_case(start)));
    names_target && (resync::METHODS.iter().any(known) || !resync::METHODS.iter().any(overlaps))
}

pub(crate) struct Http1 {
    /// The direction of requests.
    client: Direction,
    request: Side,
    response: Side,
    /// In order of their request heads, which is the order of their responses.
    open: VecDeque<Open>,
    /// Who spoke last.
    turn: Option<Direction>,
}

/// How far one direction has been read.
struct Side {
    reading: Reading,
    /// The start of a head, or a window to look for one.
    buf: BytesMut,
    buf_ts: Timestamp,
    /// How far `buf` has been searched.
    searched: usize,
    /// Bytes that belong to no message.
    lost: u64,
    /// The hole that made us lose the direction.
    hole: Option<LossCause>,
    trust: Trust,
    /// The last message said `Connection: close`.
    closing: bool,
}

/// How far the bytes where a head is read are known to begin one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// The last message ended here.
    Sure,
    /// The direction was lost, but a turn begins here.
    Turn,
    /// Found by searching: only a head without fault counts.
    Found,
}

enum Reading {
    Head,
    Body {
        left: Left,
        assembler: Box<Assembler>,
    },
    /// After a request that may turn the connection into something else: its answer decides.
    Hold(Vec<Piece>),
    Lost,
}

enum Left {
    Length(u64),
    Chunked(Box<Chunked>),
    UntilClose,
}

/// What is to be done with the rest of a piece.
enum Step {
    Again,
    /// All bytes are used up.
    More,
    Switch(Upgrade),
}

/// Why there is no head yet.
enum Gather {
    More,
    Malformed,
    OverLimit,
}

/// First lines are looked at while they are this short, to notice early that they are none.
const EARLY: usize = 40;

impl Side {
    fn new(trust: Trust) -> Side {
        Side {
            reading: Reading::Head,
            buf: BytesMut::new(),
            buf_ts: Timestamp::default(),
            searched: 0,
            lost: 0,
            hole: None,
            trust,
            closing: false,
        }
    }

    /// Whether this head comes after the last message of its direction (RFC 9112 section 9.3).
    fn is_after_close(&mut self, headers: &[Header], is_http10: bool) -> bool {
        let closes = has_token(headers, "connection", b"close") || is_http10 && !has_token(headers, "connection", b"keep-alive");
        std::mem::replace(&mut self.closing, closes)
    }

    fn lose(&mut self) {
        self.reading = Reading::Lost;
        self.searched = 0;
    }

    fn drop_buf(&mut self) {
        self.lost += self.buf.len() as u64;
        self.buf.clear();
        self.searched = 0;
    }

    /// Takes a whole head off `bytes`, or all of them into the buffer. True beside it: no line ends without a carriage return.
    fn gather(&mut self, kind: Kind, bytes: &mut Bytes) -> Result<(Bytes, bool), Gather> {
        if self.buf.is_empty()
            && let Ok((end, all_crlf)) = head::find_end_of_lines(bytes, 0)
            && end <= HEAD_BYTES
        {
            // The same question as for a head that comes in pieces, or the answer would depend on the cut.
            return if is_first_line(kind, bytes) { Ok((bytes.split_to(end), all_crlf)) } else { Err(Gather::Malformed) };
        }
        let before = self.buf.len();
        let room = (HEAD_BYTES - before).min(bytes.len());
        self.buf.extend_from_slice(&bytes[..room]);
        match head::find_end(&self.buf, self.searched) {
            Ok(end) => {
                bytes.advance(end - before);
                self.buf.truncate(end);
                self.searched = 0;
                return if is_first_line(kind, &self.buf) {
                    Ok((self.buf.split().freeze(), false))
                } else {
                    Err(Gather::Malformed)
                };
            }
            Err(searched) => self.searched = searched,
        }
        bytes.advance(room);
        let line_ended = memchr::memchr(b'\n', &self.buf[before..]).is_some();
        if (before < EARLY || line_ended) && guess(&self.buf) != Guess::More && !is_first_line(kind, &self.buf) {
            return Err(Gather::Malformed);
        }
        Err(if self.buf.len() < HEAD_BYTES { Gather::More } else { Gather::OverLimit })
    }
}

impl Http1 {
    /// `joined`: bytes came before the first message that was recognised.
    pub(crate) fn new(client: Direction, joined: bool) -> Http1 {
        let trust = if joined { Trust::Turn } else { Trust::Sure };
        let side = || Side::new(trust);
        Http1 { client, request: side(), response: side(), open: VecDeque::new(), turn: None }
    }

    fn kind(&self, dir: Direction) -> Kind {
        if dir == self.client { Kind::Request } else { Kind::Response }
    }

    fn dir(&self, kind: Kind) -> Direction {
        match kind {
            Kind::Request => self.client,
            Kind::Response => self.client.opposite(),
        }
    }

    fn side(&mut self, kind: Kind) -> &mut Side {
        match kind {
            Kind::Request => &mut self.request,
            Kind::Response => &mut self.response,
        }
    }

    pub(crate) fn feed(&mut self, dir: Direction, ts: Timestamp, what: What, out: &mut Out<'_>) -> Option<Switch> {
        match what {
            What::Data(bytes) => self.data(dir, ts, bytes, out),
            What::Gap { missing, cause } => {
                self.gap(dir, ts, missing, &cause, out);
                None
            }
        }
    }

    fn data(&mut self, dir: Direction, ts: Timestamp, mut bytes: Bytes, out: &mut Out<'_>) -> Option<Switch> {
        let kind = self.kind(dir);
        let begins_turn = self.turn.replace(dir) != Some(dir);
        let side = self.side(kind);
        if begins_turn && matches!(side.reading, Reading::Lost) {
            // A message begins where a turn begins.
            side.drop_buf();
            side.reading = Reading::Head;
            side.trust = Trust::Turn;
        }
        while !bytes.is_empty() {
            let step = match &mut self.side(kind).reading {
                Reading::Head => self.head(kind, ts, &mut bytes, out),
                Reading::Body { .. } => self.body(kind, ts, &mut bytes, out),
                Reading::Hold(held) => {
                    held.push(Piece { dir, ts, what: What::Data(bytes.split_off(0)) });
                    self.check_hold();
                    Step::More
                }
                Reading::Lost => self.search(kind, &mut bytes),
            };
            match step {
                Step::Again | Step::More => {}
                Step::Switch(to) => return Some(self.switch(to, Piece { dir, ts, what: What::Data(bytes) }, out)),
            }
            if let Some(mut switch) = self.release(out) {
                switch.rest.push(Piece { dir, ts, what: What::Data(bytes) });
                return Some(switch);
            }
        }
        None
    }

    fn gap(&mut self, dir: Direction, ts: Timestamp, missing: Option<u64>, cause: &LossCause, out: &mut Out<'_>) {
        let kind = self.kind(dir);
        self.turn = Some(dir);
        let side = self.side(kind);
        side.drop_buf();
        match &mut side.reading {
            Reading::Hold(held) => held.push(Piece { dir, ts, what: What::Gap { missing, cause: cause.clone() } }),
            Reading::Head | Reading::Lost => {
                side.hole = Some(cause.clone());
                side.lose();
            }
            Reading::Body { left, assembler } => {
                assembler.gap(cause);
                let inside = match (left, missing) {
                    (Left::UntilClose, _) => true,
                    (Left::Length(left), Some(missing)) if missing <= *left => {
                        *left -= missing;
                        true
                    }
                    (Left::Chunked(chunked), Some(missing)) => chunked.skip(missing),
                    (Left::Length(_) | Left::Chunked(_), _) => false,
                };
                if !inside {
                    side.hole = Some(cause.clone());
                    self.end_body(kind, ts, &Bytes::new(), out);
                    self.side(kind).lose();
                } else if matches!(side.reading, Reading::Body { left: Left::Length(0), .. }) {
                    self.end_body(kind, ts, &Bytes::new(), out);
                }
            }
        }
    }

    pub(crate) fn close(&mut self, ts: Timestamp, end: End, out: &mut Out<'_>) {
        for kind in [Kind::Request, Kind::Response] {
            let dir = self.dir(kind);
            let side = self.side(kind);
            if let Reading::Body { left, assembler } = &mut side.reading {
                let whole = matches!(left, Left::UntilClose) && end == End::Closed;
                if !whole {
                    assembler.cut(if kind == Kind::Request { Incomplete::REQUEST_CUT } else { Incomplete::RESPONSE_CUT });
                }
                self.end_body(kind, ts, &Bytes::new(), out);
            }
            let side = self.side(kind);
            side.drop_buf();
            if let Reading::Hold(held) = &side.reading {
                side.lost += held_bytes(held) as u64;
            }
            let lost = std::mem::take(&mut side.lost);
            if lost > 0 {
                out.anomaly(dir, ts, LOST, lost);
            }
        }
        let hole = self.response.hole.take();
        while let Some(mut open) = self.open.pop_front() {
            if end == End::Evicted {
                note(&mut open.incomplete, Incomplete::EVICTED);
            }
            open.give_up(hole.as_ref());
            open.finish(ts, out);
        }
    }

    /// Reads on in a body.
    fn body(&mut self, kind: Kind, ts: Timestamp, bytes: &mut Bytes, out: &mut Out<'_>) -> Step {
        let mut frames = Vec::new();
        let Reading::Body { left, assembler } = &mut self.side(kind).reading else { return Step::Again };
        let mut ended = None;
        match left {
            Left::UntilClose => assembler.data(&bytes.split_off(0), &mut frames),
            Left::Length(left) => {
                let part = bytes.split_to(usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len()));
                *left -= part.len() as u64;
                assembler.data(&part, &mut frames);
                if *left == 0 {
                    ended = Some(Ended::Whole(Bytes::new()));
                }
            }
            Left::Chunked(chunked) => loop {
                match chunked.next(bytes) {
                    Part::Data(part) => assembler.data(&part, &mut frames),
                    Part::More => break,
                    Part::End { trailers } => break ended = Some(Ended::Whole(trailers)),
                    Part::Broken => break ended = Some(Ended::Broken),
                }
            },
        }
        self.emit(kind, ts, frames, out);
        match ended {
            None => Step::More,
            Some(Ended::Whole(trailers)) => {
                self.end_body(kind, ts, &trailers, out);
                Step::Again
            }
            Some(Ended::Broken) => {
                if let Reading::Body { assembler, .. } = &mut self.side(kind).reading {
                    assembler.cut(cut(kind));
                }
                self.end_body(kind, ts, &Bytes::new(), out);
                self.side(kind).lose();
                Step::Again
            }
        }
    }

    /// The body is over, whole or not.
    fn end_body(&mut self, kind: Kind, ts: Timestamp, trailers: &Bytes, out: &mut Out<'_>) {
        let reading = std::mem::replace(&mut self.side(kind).reading, Reading::Head);
        let Reading::Body { left, assembler } = reading else { return };
        let mut frames = Vec::new();
        let mut assembled = assembler.finish(&mut frames);
        self.emit(kind, ts, frames, out);
        if assembled.was_bomb {
            out.bomb();
        }
        if let Left::Chunked(mut chunked) = left {
            assembled.anomalies.append(&mut chunked.anomalies);
        }
        let trailers = head::parse_trailers(trailers, &mut out.shared.names, &mut assembled.anomalies);
        if trailers.iter().any(|field| matches!(&*field.name, "content-length" | "transfer-encoding" | "host")) {
            note(&mut assembled.anomalies, AMBIGUOUS_TRAILER);
        }
        match kind {
            Kind::Request => self.end_request(assembled, trailers, ts, out),
            Kind::Response => self.end_response(assembled, trailers, ts, out),
        }
    }

    fn emit(&mut self, kind: Kind, ts: Timestamp, frames: Vec<Frame>, out: &mut Out<'_>) {
        let open = if kind == Kind::Request { self.open.back() } else { self.open.front() };
        let Some(id) = open.map(|open| open.id) else { return };
        let dir = self.dir(kind);
        for frame in frames {
            out.frame(id, dir, ts, frame);
        }
    }

    fn end_request(&mut self, assembled: Assembled, trailers: Vec<Header>, ts: Timestamp, out: &mut Out<'_>) {
        let Some(open) = self.open.back_mut() else { return };
        let body = open.absorb(assembled);
        if let Some(request) = &mut open.request {
            let request = Arc::make_mut(request);
            request.body = body;
            request.trailers = trailers;
        }
        open.request_done = true;
        open.announce(out);
        if open.wants_upgrade && open.response.is_none() {
            self.request.reading = Reading::Hold(Vec::new());
        }
        self.finish_front(ts, out);
    }

    fn end_response(&mut self, assembled: Assembled, trailers: Vec<Header>, ts: Timestamp, out: &mut Out<'_>) {
        let Some(open) = self.open.front_mut() else { return };
        let events = assembled.events;
        let mut body = open.absorb(assembled);
        if open.request.is_none() && body.kept.expose_content().starts_with(b"HTTP/1.") {
            // The request may have been a HEAD: then this is the next response.
            note(&mut open.anomalies, framing::LENGTH_WITHOUT_BODY);
            body.complete = false;
        }
        if let Some(response) = &mut open.response {
            let response = Arc::make_mut(response);
            response.body = body;
            response.trailers = trailers;
            response.events = events;
            response.ended = ts;
        }
        self.answer(ts, out);
    }

    /// The response in front is over.
    fn answer(&mut self, ts: Timestamp, out: &mut Out<'_>) {
        if let Some(open) = self.open.front_mut() {
            open.response_done = true;
        }
        self.finish_front(ts, out);
    }

    /// Hands on the exchange in front when both of its sides are over. A response may come before its request is whole.
    fn finish_front(&mut self, ts: Timestamp, out: &mut Out<'_>) {
        if self.open.front().is_some_and(|open| open.request_done && open.response_done) {
            let open = self.open.pop_front().expect("it was just looked at");
            open.finish(ts, out);
        }
    }
}

/// Whether a field that is a list of tokens has this one, in any case.
fn has_token(headers: &[Header], name: &str, token: &[u8]) -> bool {
    headers.iter().filter(|field| &*field.name == name).any(|field| {
        field.value.expose_content().split(|&byte| byte == b',').any(|item| head::trim(item).eq_ignore_ascii_case(token))
    })
}

enum Ended {
    Whole(Bytes),
    Broken,
}

fn is_first_line(kind: Kind, head: &[u8]) -> bool {
    match guess(head) {
        Guess::Http1Request => kind == Kind::Request,
        Guess::Http1Response => kind == Kind::Response,
        Guess::More | Guess::Http2Preface | Guess::None => false,
    }
}

fn held_bytes(held: &[Piece]) -> usize {
    held.iter().map(|piece| if let What::Data(bytes) = &piece.what { bytes.len() } else { 0 }).sum()
}

fn cut(kind: Kind) -> Incomplete {
    match kind {
        Kind::Request => Incomplete::REQUEST_CUT,
        Kind::Response => Incomplete::RESPONSE_CUT,
    }
}

fn new_response(status: u16, headers: Vec<Header>, ts: Timestamp) -> Response {
    Response { ts, ended: ts, status, headers, body: body::empty(false), trailers: Vec::new(), events: 0 }
}
