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
#[cfg(test)]
mod hostile;
mod names;
mod resync;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};

use crate::base::limits::{HEAD_BYTES, INTERIM_ANSWERS, OPEN_EXCHANGES, UNDECIDED_BYTES};
use crate::base::{Anomaly, Direction, Incomplete, LossCause, Sensitive, Timestamp};

use super::body::{self, Assembled, Assembler};
use super::detect::{Guess, guess};
use super::{End, Frame, Header, HttpEvent, Out, Piece, Protocol, Request, Response, Upgrade, What, header, note, target};
use chunked::{Chunked, Part};
use exchange::Open;
use framing::{Answers, Framing, Plan};
use head::{Head, Kind, Start};
pub(super) use names::Names;

/// Bytes where a head should be that are none.
const MALFORMED_HEAD: Anomaly = Anomaly::new("http1.malformed_head");
const LIMIT_HEAD: Anomaly = Anomaly::new("limit.head_bytes");
const LIMIT_EXCHANGES: Anomaly = Anomaly::new("limit.open_exchanges");
const LIMIT_INTERIM: Anomaly = Anomaly::new("limit.interim_answers");
/// Bytes between the point where a direction was lost and the next head.
const LOST: Anomaly = Anomaly::new("http1.lost_bytes");
/// 101 to a request that did not ask for it.
const UNASKED_SWITCH: Anomaly = Anomaly::new("http1.ambiguous_switch");
/// More than one `Host`, or one that the target contradicts: servers route by one or the other.
const AMBIGUOUS_HOST: Anomaly = Anomaly::new("http1.ambiguous_host");
/// A message after one that said it was the last: some servers answer it, some never read it.
const AFTER_CLOSE: Anomaly = Anomaly::new("http1.ambiguous_after_close");
/// Fields after the body that would have changed how it was read.
const AMBIGUOUS_TRAILER: Anomaly = Anomaly::new("http1.ambiguous_trailer");
/// A response after a hole that hid others: it answers the last request before it, unless the client pipelines.
const AMBIGUOUS_PAIRING: Anomaly = Anomaly::new("http1.ambiguous_pairing");

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

/// The connection becomes something else; the pieces that were not read yet, in order.
pub(crate) struct Switch {
    pub(crate) to: Upgrade,
    pub(crate) rest: Vec<Piece>,
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

    /// Gathers a head and acts on it.
    fn head(&mut self, kind: Kind, ts: Timestamp, bytes: &mut Bytes, out: &mut Out<'_>) -> Step {
        let side = self.side(kind);
        if side.buf.is_empty() {
            // RFC 9112 section 2.2: a request may come after empty lines.
            let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            bytes.advance(blank);
            side.buf_ts = ts;
            if bytes.is_empty() {
                return Step::More;
            }
        }
        let (head, all_crlf) = match side.gather(kind, bytes) {
            Ok(head) => head,
            Err(Gather::More) => return Step::More,
            Err(Gather::Malformed) => {
                self.malformed(kind, ts, bytes, out);
                return Step::Again;
            }
            Err(Gather::OverLimit) => {
                self.over_limit(kind, ts, out);
                return Step::Again;
            }
        };
        let (trust, head_ts) = (side.trust, side.buf_ts);
        let credible = match (trust, kind) {
            (Trust::Turn, Kind::Request) => is_credible_request_line(&head[..memchr::memchr(b'\n', &head).unwrap_or(head.len())]),
            (Trust::Sure | Trust::Turn | Trust::Found, _) => true,
        };
        let parsed = head::parse(kind, &head, all_crlf, &mut out.shared.names)
            .filter(|parsed| credible && (trust != Trust::Found || parsed.is_plain()));
        let Some(parsed) = parsed else {
            side.buf.extend_from_slice(&head);
            self.malformed(kind, ts, bytes, out);
            return Step::Again;
        };
        side.trust = Trust::Sure;
        let lost = std::mem::take(&mut side.lost);
        if lost > 0 {
            out.anomaly(self.dir(kind), ts, LOST, lost);
        }
        match parsed.start {
            Start::Request { .. } => {
                self.request_head(parsed, head_ts, ts, out);
                Step::Again
            }
            Start::Response { status } => self.response_head(parsed, status, head_ts, ts, out),
        }
    }

    /// What is in the buffer is no head: a search begins with it.
    fn malformed(&mut self, kind: Kind, ts: Timestamp, bytes: &mut Bytes, out: &mut Out<'_>) {
        let dir = self.dir(kind);
        let side = self.side(kind);
        let was_sure = side.trust == Trust::Sure;
        side.lose();
        side.buf.extend_from_slice(bytes);
        *bytes = side.buf.split().freeze();
        side.searched = resync::past_first(kind, bytes);
        if was_sure {
            match self.open.front_mut().filter(|open| kind == Kind::Response && open.response.is_none()) {
                Some(open) => note(&mut open.anomalies, MALFORMED_HEAD),
                None => out.anomaly(dir, ts, MALFORMED_HEAD, 0),
            }
        }
    }

    /// Looks for a head in what was not read.
    fn search(&mut self, kind: Kind, bytes: &mut Bytes) -> Step {
        let side = self.side(kind);
        side.buf.extend_from_slice(bytes);
        bytes.clear();
        match resync::find(kind, &side.buf, side.searched) {
            Ok(start) => {
                side.lost += start as u64;
                side.buf.advance(start);
                *bytes = side.buf.split().freeze();
                side.searched = 0;
                side.reading = Reading::Head;
                side.trust = Trust::Found;
                Step::Again
            }
            Err(next) => {
                let passed = next.saturating_sub(resync::WINDOW);
                side.lost += passed as u64;
                side.buf.advance(passed);
                side.searched = next - passed;
                Step::More
            }
        }
    }

    /// A head without end: what its first lines say is reported, and the direction is lost.
    fn over_limit(&mut self, kind: Kind, ts: Timestamp, out: &mut Out<'_>) {
        let dir = self.dir(kind);
        let side = self.side(kind);
        let mut start = std::mem::take(&mut side.buf);
        let (head_ts, length) = (side.buf_ts, start.len() as u64);
        side.lose();
        side.lost += length;
        start.truncate(memchr::memrchr(b'\n', &start).map_or(0, |end| end + 1));
        start.extend_from_slice(b"\r\n");
        let Some(mut parsed) = head::parse(kind, &start.freeze(), false, &mut out.shared.names) else {
            return out.anomaly(dir, ts, LIMIT_HEAD, length);
        };
        note(&mut parsed.anomalies, LIMIT_HEAD);
        parsed.shorten();
        let reasons = match kind {
            Kind::Request => [Incomplete::HEADERS_UNKNOWN, Incomplete::REQUEST_CUT],
            Kind::Response => [Incomplete::HEADERS_UNKNOWN, Incomplete::RESPONSE_CUT],
        };
        match parsed.start {
            Start::Request { .. } => {
                self.open_request(parsed, head_ts, out);
                let open = self.open.back_mut().expect("it has just been opened");
                open.incomplete.extend(reasons);
                open.request_done = true;
                open.announce(out);
            }
            Start::Response { status } => {
                let open = self.answered(parsed.is_http10, out);
                open.anomalies.append(&mut parsed.anomalies);
                open.incomplete.extend(reasons);
                open.response = Some(Arc::new(new_response(status, parsed.headers, head_ts)));
                self.end_response(Assembled::cut(), Vec::new(), ts, out);
            }
        }
    }

    fn request_head(&mut self, mut head: Head, head_ts: Timestamp, ts: Timestamp, out: &mut Out<'_>) {
        if matches!(self.response.reading, Reading::Lost) && self.response.hole.is_some() {
            // Whoever does not pipeline sends the next request after the last response: that one was in the hole.
            let hole = self.response.hole.take();
            while let Some(mut open) = self.open.pop_front() {
                open.give_up(hole.as_ref());
                open.finish(ts, out);
            }
        }
        self.end_answer_to_unseen_head(ts, out);
        if self.open.len() >= OPEN_EXCHANGES {
            return self.too_many(ts, out);
        }
        self.request.hole = None;
        if self.request.is_after_close(&head.headers, head.is_http10) {
            note(&mut head.anomalies, AFTER_CLOSE);
        }
        let connect = matches!(&head.start, Start::Request { method, .. } if &**method == "CONNECT");
        let plan = framing::of_request(&head.headers, head.is_http10, connect);
        let reading = begin_body(&head.headers, &plan, out);
        let open = self.open_request(head, head_ts, out);
        open.take_plan(Kind::Request, plan);
        match reading {
            Some(reading) => self.request.reading = reading,
            None => self.end_request(Assembled::empty(), Vec::new(), ts, out),
        }
    }

    /// A response whose request was not seen promised a body, and the client speaks on before any of it: the request was a HEAD.
    fn end_answer_to_unseen_head(&mut self, ts: Timestamp, out: &mut Out<'_>) {
        let unseen = self.open.front().is_some_and(|open| open.request.is_none());
        if let Reading::Body { left: Left::Length(_), assembler } = &mut self.response.reading
            && unseen
            && assembler.is_untouched()
        {
            assembler.cut(Incomplete::RESPONSE_CUT);
            self.end_body(Kind::Response, ts, &Bytes::new(), out);
        }
    }

    /// The hole before a response may have hidden the answers to earlier requests. Whoever does not pipeline had all of them.
    fn give_up_hidden(&mut self, hole: &LossCause, head_ts: Timestamp, ts: Timestamp, out: &mut Out<'_>) {
        let asked_before =
            |open: Option<&Open>| open.and_then(|open| open.request.as_ref()).is_some_and(|next| next.ts <= head_ts);
        while asked_before(self.open.get(1)) {
            let mut hidden = self.open.pop_front().expect("there is one behind it");
            hidden.give_up(Some(hole));
            hidden.finish(ts, out);
            if let Some(open) = self.open.front_mut() {
                note(&mut open.anomalies, AMBIGUOUS_PAIRING);
            }
        }
    }

    /// More requests wait for an answer than anyone sends: from here on nobody could say which answer is whose.
    fn too_many(&mut self, ts: Timestamp, out: &mut Out<'_>) {
        while let Some(mut open) = self.open.pop_front() {
            note(&mut open.anomalies, LIMIT_EXCHANGES);
            note(&mut open.incomplete, Incomplete::EVICTED);
            open.give_up(None);
            open.finish(ts, out);
        }
        self.request.lose();
        self.response.drop_buf();
        self.response.lose();
    }

    fn open_request(&mut self, mut head: Head, ts: Timestamp, out: &mut Out<'_>) -> &mut Open {
        let over = head.shorten();
        let Start::Request { method, target } = &head.start else { unreachable!("the caller matched a request") };
        if !target.is_ascii() {
            // RFC 9112 section 3.2: senders encode such bytes, and readers take them for Latin-1 or for UTF-8.
            note(&mut head.anomalies, head::START_LINE);
        }
        let target = String::from_utf8_lossy(target);
        let scheme = if out.flow.source.is_tls() { "https" } else { "http" };
        let connect = &**method == "CONNECT";
        let (scheme, host, rest) = read_target(&target, connect, scheme, &head.headers, &mut head.anomalies, out);
        let (path, query) = target::path_and_query(rest);
        let upgrade = header(&head.headers, "upgrade").is_some();
        let open = Open {
            id: out.next_id(),
            protocol: if head.is_http10 { Protocol::Http10 } else { Protocol::Http11 },
            answers: Answers { head: &**method == "HEAD", connect },
            interims: 0,
            wants_upgrade: connect || upgrade,
            request: Some(Arc::new(Request {
                ts,
                method: method.clone(),
                scheme,
                host,
                path: path.into(),
                query: Sensitive::new(query.into()),
                headers: head.headers,
                body: body::empty(false),
                trailers: Vec::new(),
            })),
            request_done: false,
            announced: false,
            response: None,
            response_done: false,
            incomplete: if over { vec![Incomplete::HEADERS_UNKNOWN] } else { Vec::new() },
            anomalies: head.anomalies,
        };
        self.open.push_back(open);
        self.open.back_mut().expect("it has just been pushed")
    }

    fn response_head(&mut self, mut head: Head, status: u16, head_ts: Timestamp, ts: Timestamp, out: &mut Out<'_>) -> Step {
        if let Some(hole) = self.response.hole.take() {
            self.give_up_hidden(&hole, head_ts, ts, out);
        }
        if (100..200).contains(&status) && status != 101 {
            // Interim: the final answer follows (RFC 9110 section 15.2).
            if let Some(open) = self.open.front_mut().filter(|open| open.response.is_none()) {
                open.interims += 1;
                if open.interims > INTERIM_ANSWERS {
                    note(&mut open.anomalies, LIMIT_INTERIM);
                }
            }
            return Step::Again;
        }
        if self.response.is_after_close(&head.headers, head.is_http10) {
            note(&mut head.anomalies, AFTER_CLOSE);
        }
        let is_http10 = head.is_http10;
        let open = self.answered(is_http10, out);
        let plan = framing::of_response(&head.headers, is_http10, status, open.answers);
        open.anomalies.extend(std::mem::take(&mut head.anomalies));
        if head.shorten() {
            note(&mut open.incomplete, Incomplete::HEADERS_UNKNOWN);
            open.anomalies.append(&mut head.anomalies);
        }
        if status == 101 {
            return self.switch_protocols(head, head_ts, ts, out);
        }
        let mut response = new_response(status, head.headers, head_ts);
        let reading = begin_body(&response.headers, &plan, out);
        response.body.complete = reading.is_none();
        let response = Arc::new(response);
        open.announce(out);
        out.events.push(HttpEvent::ResponseHead { id: open.id, ts: head_ts, response: response.clone() });
        let tunnel = open.answers.connect && (200..300).contains(&status);
        open.take_plan(Kind::Response, plan);
        open.response = Some(response);
        match reading {
            Some(reading) => self.response.reading = reading,
            None => self.answer(ts, out),
        }
        if tunnel { Step::Switch(Upgrade::Tunnel) } else { Step::Again }
    }

    /// The exchange that the next response belongs to; one without a request when none was seen.
    fn answered(&mut self, is_http10: bool, out: &mut Out<'_>) -> &mut Open {
        let waits = self.open.front().is_some_and(|open| open.response.is_none());
        if !waits {
            let protocol = if is_http10 { Protocol::Http10 } else { Protocol::Http11 };
            self.open.push_front(Open::unasked(out.next_id(), protocol, self.request.hole.as_ref()));
        }
        self.open.front_mut().expect("one was there or has just been pushed")
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

    /// Nobody waits so long for an answer: what was held is read as requests.
    fn check_hold(&mut self) {
        if let Reading::Hold(held) = &self.request.reading
            && held_bytes(held) > UNDECIDED_BYTES
            && let Some(open) = self.open.back_mut()
        {
            open.wants_upgrade = false;
        }
    }

    /// Reads what was held back once the connection is known to stay as it is.
    fn release(&mut self, out: &mut Out<'_>) -> Option<Switch> {
        let waits = self.open.back().is_some_and(|open| open.wants_upgrade && open.response.is_none());
        let Reading::Hold(held) = &mut self.request.reading else { return None };
        if waits {
            return None;
        }
        let mut held = std::mem::take(held).into_iter();
        self.request.reading = Reading::Head;
        let turn = self.turn;
        while let Some(Piece { dir, ts, what }) = held.next() {
            match what {
                What::Data(bytes) => {
                    if let Some(mut switch) = self.data(dir, ts, bytes, out) {
                        switch.rest.extend(held);
                        return Some(switch);
                    }
                }
                What::Gap { missing, cause } => self.gap(dir, ts, missing, &cause, out),
            }
        }
        self.turn = turn;
        None
    }

    /// 101: the exchange is over, and so is HTTP/1 on this connection.
    fn switch_protocols(&mut self, head: Head, head_ts: Timestamp, ts: Timestamp, out: &mut Out<'_>) -> Step {
        let client = self.client;
        let Some(open) = self.open.front_mut() else { return Step::Again };
        if !open.wants_upgrade {
            note(&mut open.anomalies, UNASKED_SWITCH);
        }
        open.announce(out);
        let names =
            |word: &str| header(&head.headers, "upgrade").is_some_and(|value| value.eq_ignore_ascii_case(word.as_bytes()));
        if names("h2c")
            && let Some(request) = open.request.clone()
            && has_token(&request.headers, "upgrade", b"h2c")
        {
            let id = open.id;
            self.open.pop_front();
            return Step::Switch(Upgrade::H2c { id, client, request });
        }
        let upgrade = if names("websocket") {
            let extensions = head.headers.iter().filter(|field| &*field.name == "sec-websocket-extensions");
            let extensions: Vec<&[u8]> = extensions.map(|field| field.value.expose_content().as_ref()).collect();
            Upgrade::Websocket { id: open.id, client, extensions: extensions.join(&b","[..]).into() }
        } else {
            Upgrade::Tunnel
        };
        let mut response = new_response(101, head.headers, head_ts);
        response.body.complete = true;
        let response = Arc::new(response);
        out.events.push(HttpEvent::ResponseHead { id: open.id, ts: head_ts, response: response.clone() });
        open.response = Some(response);
        self.answer(ts, out);
        Step::Switch(upgrade)
    }

    /// Everything that was not read goes to the next protocol, what the client sent first.
    fn switch(&mut self, to: Upgrade, rest: Piece, out: &mut Out<'_>) -> Switch {
        let mut pieces = match std::mem::replace(&mut self.request.reading, Reading::Head) {
            Reading::Hold(held) => held,
            Reading::Head | Reading::Body { .. } | Reading::Lost => Vec::new(),
        };
        let ts = rest.ts;
        if !matches!(&rest.what, What::Data(bytes) if bytes.is_empty()) {
            pieces.push(rest);
        }
        while let Some(mut open) = self.open.pop_front() {
            open.give_up(None);
            open.finish(ts, out);
        }
        Switch { to, rest: pieces }
    }
}

/// Whether a field that is a list of tokens has this one, in any case.
fn has_token(headers: &[Header], name: &str, token: &[u8]) -> bool {
    headers.iter().filter(|field| &*field.name == name).any(|field| {
        field.value.expose_content().split(|&byte| byte == b',').any(|item| head::trim(item).eq_ignore_ascii_case(token))
    })
}

fn is_first_line(kind: Kind, head: &[u8]) -> bool {
    match guess(head) {
        Guess::Http1Request => kind == Kind::Request,
        Guess::Http1Response => kind == Kind::Response,
        Guess::More | Guess::Http2Preface | Guess::None => false,
    }
}

enum Ended {
    Whole(Bytes),
    Broken,
}

fn cut(kind: Kind) -> Incomplete {
    match kind {
        Kind::Request => Incomplete::REQUEST_CUT,
        Kind::Response => Incomplete::RESPONSE_CUT,
    }
}

fn held_bytes(held: &[Piece]) -> usize {
    held.iter().map(|piece| if let What::Data(bytes) = &piece.what { bytes.len() } else { 0 }).sum()
}

/// `None` when there is no body to read.
fn begin_body(headers: &[Header], plan: &Plan, out: &Out<'_>) -> Option<Reading> {
    let left = match plan.framing {
        Framing::None | Framing::Length(0) => return None,
        Framing::Length(length) => Left::Length(length),
        Framing::Chunked => Left::Chunked(Box::default()),
        Framing::UntilClose => Left::UntilClose,
    };
    let mut assembler = Box::new(out.coded_body(headers, plan.codings.as_deref()));
    if let Left::Length(length) = left {
        assembler.announce(length);
    }
    Some(Reading::Body { left, assembler })
}

fn new_response(status: u16, headers: Vec<Header>, ts: Timestamp) -> Response {
    Response { ts, ended: ts, status, headers, body: body::empty(false), trailers: Vec::new(), events: 0 }
}

/// Scheme, host, and path with query. The forms are those of RFC 9112 section 3.2.
fn read_target<'a>(
    target: &'a str,
    connect: bool,
    scheme: &'static str,
    headers: &[Header],
    anomalies: &mut Vec<Anomaly>,
    out: &Out<'_>,
) -> (&'static str, Arc<str>, &'a str) {
    let mut named = headers.iter().filter(|field| &*field.name == "host");
    let field = named.next().map(|field| String::from_utf8_lossy(field.value.expose_content()));
    if named.next().is_some() {
        note(anomalies, AMBIGUOUS_HOST);
    }
    if connect {
        return (scheme, target::host(target, scheme), "");
    }
    if let Some((scheme, authority, rest)) = target::absolute(target) {
        let host = target::host(authority, scheme);
        if field.is_some_and(|field| target::host(&field, scheme) != host) {
            note(anomalies, AMBIGUOUS_HOST);
        }
        return (scheme, host, rest);
    }
    let host = match field.filter(|field| !field.is_empty()) {
        Some(field) => target::host(&field, scheme),
        None => out.flow.sni.clone().or(out.flow.peer.clone()).unwrap_or_default(),
    };
    (scheme, host, target)
}
