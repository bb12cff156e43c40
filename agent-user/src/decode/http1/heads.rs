//! Where a message begins: heads are gathered, read, and paired with the exchange that they belong to.

use std::sync::Arc;

use bytes::{Buf, Bytes};

use super::exchange::Open;
use super::framing::{Answers, Framing, Plan};
use super::head::{Head, Kind, Start};
use super::{
    AFTER_CLOSE, Gather, Http1, LOST, Left, Reading, Step, Trust, framing, head, is_credible_request_line, new_response, resync,
};
use crate::base::limits::{INTERIM_ANSWERS, OPEN_EXCHANGES};
use crate::base::{Anomaly, Incomplete, LossCause, Sensitive, Timestamp};
use crate::decode::body::Assembled;
use crate::decode::{Header, HttpEvent, Out, Protocol, Request, Upgrade, body, header, note, target};

/// Bytes where a head should be that are none.
const MALFORMED_HEAD: Anomaly = Anomaly::new("http1.malformed_head");
pub(super) const LIMIT_HEAD: Anomaly = Anomaly::new("limit.head_bytes");
pub(super) const LIMIT_EXCHANGES: Anomaly = Anomaly::new("limit.open_exchanges");
pub(super) const LIMIT_INTERIM: Anomaly = Anomaly::new("limit.interim_answers");
/// More than one `Host`, or one that the target contradicts: servers route by one or the other.
const AMBIGUOUS_HOST: Anomaly = Anomaly::new("http1.ambiguous_host");
/// A response after a hole that hid others: it answers the last request before it, unless the client pipelines.
const AMBIGUOUS_PAIRING: Anomaly = Anomaly::new("http1.ambiguous_pairing");

impl Http1 {
    /// Gathers a head and acts on it.
    pub(super) fn head(&mut self, kind: Kind, ts: Timestamp, bytes: &mut Bytes, out: &mut Out<'_>) -> Step {
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
    pub(super) fn search(&mut self, kind: Kind, bytes: &mut Bytes) -> Step {
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
