//! One message body, whatever carried it: content codings undone, hashed, counted, kept within bounds, and cut into frames as
//! they arrive.
//!
//! In: the bytes after transfer decoding, in order, and the holes between them. Out: frames at once, [`Assembled`] at the end.
//! It knows nothing of message framing: the protocol above says where a body begins and ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};

use crate::base::limits::{BODIES_KEPT_TOTAL, BODY_KEPT, BODY_ROOM, BODY_ROOM_TOTAL, BOMBS};
use crate::base::{Anomaly, Incomplete, LossCause, Sensitive};

use super::coding::{self, Coding, Decoder, Fault, Refused};
use super::sse::Sse;
use super::{Body, Frame, Header, eventstream, grpc, json, ndjson, note};

/// The coded bytes ended before their stream did.
pub(crate) const CONTENT_CUT: Incomplete = Incomplete::new("content_truncated");
/// More than is kept of one body, or of all that are open: the rest is counted and hashed.
pub(crate) const LIMIT_BODY: Anomaly = Anomaly::new("limit.body_bytes");
/// Too many bombs on this connection: bodies are no longer decoded.
pub(crate) const LIMIT_BOMBS: Anomaly = Anomaly::new("limit.bombs");

/// All kept bytes of all open bodies of the process, and the room made for announced ones, counted together.
#[derive(Clone, Default)]
pub(crate) struct Budget(Arc<Shares>);

#[derive(Default)]
struct Shares {
    kept: AtomicUsize,
    room: AtomicUsize,
}

/// Whether `bytes` more fit; then they are taken.
fn take(share: &AtomicUsize, bytes: usize, bound: usize) -> bool {
    let before = share.fetch_add(bytes, Ordering::Relaxed);
    let fits = before.saturating_add(bytes) <= bound;
    if !fits {
        share.fetch_sub(bytes, Ordering::Relaxed);
    }
    fits
}

/// What a body turned out to be.
#[derive(Debug, Default)]
pub(crate) struct Assembled {
    pub(crate) body: Body,
    /// Frames that were handed on.
    pub(crate) events: u64,
    pub(crate) incomplete: Vec<Incomplete>,
    pub(crate) anomalies: Vec<Anomaly>,
    pub(crate) was_bomb: bool,
}

/// SHA-256 of nothing.
const EMPTY_SHA256: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41, 0xe4, 0x64,
    0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// A body without bytes: there is none, or it is not known yet.
pub(crate) fn empty(complete: bool) -> Body {
    Body { sha256: EMPTY_SHA256, complete, ..Body::default() }
}

impl Assembled {
    /// There was no body.
    pub(crate) fn empty() -> Assembled {
        Assembled { body: empty(true), ..Assembled::default() }
    }

    /// There may have been a body.
    pub(crate) fn cut() -> Assembled {
        Assembled { body: empty(false), ..Assembled::default() }
    }
}

fn media_type(headers: &[Header]) -> &[u8] {
    let content_type = super::header(headers, "content-type").unwrap_or_default();
    content_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii()
}

/// RFC 8259, RFC 6839.
pub(crate) fn says_json(headers: &[Header]) -> bool {
    is_json(media_type(headers))
}

fn is_json(media_type: &[u8]) -> bool {
    let media_type = media_type.to_ascii_lowercase();
    media_type == b"application/json" || media_type == b"text/json" || media_type.ends_with(b"+json")
}

/// How a body is cut into frames; what is no stream has none.
enum Framing {
    Whole,
    /// Whole as well, and then read as JSON.
    Json,
    Sse(Box<Sse>),
    Lines(ndjson::Lines),
    EventStream(eventstream::Messages),
    Grpc(Box<grpc::Messages>),
}

impl Framing {
    fn of(headers: &[Header]) -> Framing {
        let media_type = media_type(headers);
        if media_type.eq_ignore_ascii_case(b"text/event-stream") {
            Framing::Sse(Box::default())
        } else if ndjson::is_ndjson(media_type) {
            Framing::Lines(ndjson::Lines::default())
        } else if media_type.eq_ignore_ascii_case(eventstream::MEDIA_TYPE) {
            Framing::EventStream(eventstream::Messages::default())
        } else if grpc::has_messages(headers) {
            Framing::Grpc(Box::new(grpc::Messages::new(headers)))
        } else if is_json(media_type) {
            Framing::Json
        } else {
            Framing::Whole
        }
    }

    fn push(&mut self, bytes: &[u8], owner: Option<&Bytes>, frames: &mut Vec<Frame>, odd: &mut Vec<Anomaly>) {
        match self {
            Framing::Whole | Framing::Json => {}
            Framing::Sse(sse) => sse.push(bytes, owner, frames, odd),
            Framing::Lines(lines) => lines.push(bytes, frames, odd),
            Framing::EventStream(messages) => messages.push(bytes, frames, odd),
            Framing::Grpc(messages) => messages.push(bytes, frames, odd),
        }
    }

    fn gap(&mut self) {
        match self {
            Framing::Whole | Framing::Json => {}
            Framing::Sse(sse) => sse.gap(),
            Framing::Lines(lines) => lines.gap(),
            Framing::EventStream(messages) => messages.gap(),
            Framing::Grpc(messages) => messages.gap(),
        }
    }

    fn end(&mut self, frames: &mut Vec<Frame>, odd: &mut Vec<Anomaly>) {
        match self {
            Framing::Whole | Framing::Json => {}
            Framing::Sse(sse) => sse.end(odd),
            Framing::Lines(lines) => lines.end(frames),
            Framing::EventStream(messages) => messages.end(odd),
            Framing::Grpc(messages) => messages.end(odd),
        }
    }
}

pub(crate) struct Assembler {
    decoder: Coded,
    /// Bytes before content decoding.
    raw: u64,
    plain: Plain,
}

/// Where the content decoding stands.
enum Coded {
    Identity,
    Running(Box<Running>),
    /// Not decoded: bytes stand for themselves.
    Raw,
    /// The stream broke: what follows is counted as it came, but means nothing.
    Broken {
        raw: Sha256,
    },
    /// A hole or a bomb: what follows is dropped.
    Dropped,
}

/// A coded body whose first bytes are wrong was never coded at all, whatever its header says: some servers read it anyway.
const PROBATION: usize = 64;

struct Running {
    decoder: Decoder,
    /// SHA-256 of the bytes as they came, for a body that turns out not to be decodable.
    raw: Sha256,
    probation: Vec<u8>,
}

impl Running {
    /// During probation bytes go in one by one, so that the verdict does not depend on how they were cut.
    fn push(&mut self, bytes: &[u8], sink: &mut dyn FnMut(&[u8])) -> Result<(), Fault> {
        self.raw.update(bytes);
        let early = bytes.len().min(PROBATION - self.probation.len());
        for byte in &bytes[..early] {
            self.probation.push(*byte);
            self.decoder.push(std::slice::from_ref(byte), sink)?;
        }
        self.decoder.push(&bytes[early..], sink)
    }

    fn was_never_coded(&self) -> bool {
        self.probation.len() < PROBATION && !self.decoder.has_output()
    }
}

impl Assembler {
    /// A body as its header fields describe it. `transfer` are codings applied after those of the content, `None` unknown ones;
    /// `bombs` is the number of bombs seen on this connection.
    pub(crate) fn new(headers: &[Header], transfer: Option<&[Coding]>, bombs: u8, budget: &Budget) -> Assembler {
        let values = headers.iter().filter(|header| &*header.name == "content-encoding");
        let codings = Coding::list(values.map(|header| header.value.expose_content().as_ref()));
        let codings = codings.and_then(|codings| Coding::stack(codings, transfer));
        let framing = Framing::of(headers);
        Assembler::build(codings, framing, bombs, budget)
    }

    /// A body without header fields of its own: a WebSocket message, a part of something larger.
    pub(crate) fn plain(budget: &Budget) -> Assembler {
        Assembler::build(Ok(Vec::new()), Framing::Whole, 0, budget)
    }

    fn build(codings: Result<Vec<Coding>, Refused>, framing: Framing, bombs: u8, budget: &Budget) -> Assembler {
        let mut plain = Plain::new(framing, budget);
        let decoder = match codings {
            Ok(codings) if codings.is_empty() => Coded::Identity,
            Ok(codings) if bombs < BOMBS => {
                Coded::Running(Box::new(Running { decoder: Decoder::new(&codings), raw: Sha256::new(), probation: Vec::new() }))
            }
            Ok(_) => {
                note(&mut plain.anomalies, LIMIT_BOMBS);
                Coded::Raw
            }
            Err(refused) => {
                if refused == Refused::Layers {
                    note(&mut plain.anomalies, coding::LIMIT_LAYERS);
                }
                Coded::Raw
            }
        };
        Assembler { decoder, raw: 0, plain }
    }

    pub(crate) fn data(&mut self, bytes: &Bytes, frames: &mut Vec<Frame>) {
        self.raw += bytes.len() as u64;
        match &mut self.decoder {
            Coded::Identity => self.plain.bytes(bytes, frames),
            Coded::Raw => self.plain.raw(bytes, frames),
            Coded::Broken { raw } => raw.update(bytes),
            Coded::Dropped => {}
            Coded::Running(running) => {
                let before = running.probation.len();
                let plain = &mut self.plain;
                let Err(fault) = running.push(bytes, &mut |piece| plain.slice(piece, frames)) else { return };
                if let Some(limit) = fault.limit() {
                    note(&mut plain.incomplete, Incomplete::BODY_OVER_LIMIT);
                    note(&mut plain.anomalies, limit);
                    plain.was_bomb = fault != Fault::Length;
                    self.decoder = Coded::Dropped;
                } else if running.was_never_coded() {
                    let early = Bytes::copy_from_slice(&running.probation[..before]);
                    plain.raw(&early, frames);
                    plain.raw(bytes, frames);
                    self.decoder = Coded::Raw;
                } else {
                    self.decoder = Coded::Broken { raw: running.raw.clone() };
                }
            }
        }
    }

    /// Bytes of the body are missing here. What comes after it is counted and hashed, but no longer kept: it would read as if
    /// it followed.
    pub(crate) fn gap(&mut self, cause: &LossCause) {
        note(&mut self.plain.incomplete, Incomplete::gap(cause));
        self.plain.hole = true;
        self.plain.framing.gap();
        if matches!(self.decoder, Coded::Running(_)) {
            self.decoder = Coded::Dropped;
        }
    }

    /// Whether no byte came and none is missing.
    pub(crate) fn is_untouched(&self) -> bool {
        self.raw == 0 && !self.plain.hole
    }

    /// The protocol above says how long it will be.
    pub(crate) fn announce(&mut self, length: u64) {
        if matches!(self.decoder, Coded::Identity) {
            self.plain.kept.announced = usize::try_from(length).unwrap_or(usize::MAX);
        }
    }

    /// The protocol above knows that the body is not whole.
    pub(crate) fn cut(&mut self, reason: Incomplete) {
        note(&mut self.plain.incomplete, reason);
        self.plain.cut = true;
    }

    pub(crate) fn finish(mut self, frames: &mut Vec<Frame>) -> Assembled {
        match &self.decoder {
            Coded::Running(running) => {
                if running.decoder.has_trailing() {
                    note(&mut self.plain.anomalies, coding::TRAILING);
                }
                if !running.decoder.is_complete() {
                    self.cut(CONTENT_CUT);
                }
            }
            Coded::Raw if self.raw > 0 => note(&mut self.plain.incomplete, Incomplete::UNDECODABLE),
            Coded::Broken { raw } => {
                self.plain.hash = raw.clone();
                self.plain.len = self.raw;
                note(&mut self.plain.incomplete, Incomplete::UNDECODABLE);
            }
            Coded::Identity | Coded::Raw | Coded::Dropped => {}
        }
        self.plain.finish(frames)
    }
}

/// The decoded side.
struct Plain {
    framing: Framing,
    hash: Sha256,
    len: u64,
    kept: Kept,
    hole: bool,
    cut: bool,
    was_bomb: bool,
    events: u64,
    incomplete: Vec<Incomplete>,
    anomalies: Vec<Anomaly>,
}

impl Plain {
    fn new(framing: Framing, budget: &Budget) -> Plain {
        Plain {
            framing,
            hash: Sha256::new(),
            len: 0,
            kept: Kept::new(budget),
            hole: false,
            cut: false,
            was_bomb: false,
            events: 0,
            incomplete: Vec::new(),
            anomalies: Vec::new(),
        }
    }

    fn bytes(&mut self, bytes: &Bytes, frames: &mut Vec<Frame>) {
        if !self.hole {
            self.kept.bytes(bytes);
        }
        self.read(bytes, Some(bytes), frames);
    }

    fn slice(&mut self, bytes: &[u8], frames: &mut Vec<Frame>) {
        if !self.hole {
            self.kept.slice(bytes);
        }
        self.read(bytes, None, frames);
    }

    /// Bytes that could not be decoded: counted and kept as they are, but no frames are read from them.
    fn raw(&mut self, bytes: &Bytes, frames: &mut Vec<Frame>) {
        self.framing = Framing::Whole;
        self.bytes(bytes, frames);
    }

    fn read(&mut self, bytes: &[u8], owner: Option<&Bytes>, frames: &mut Vec<Frame>) {
        self.hash.update(bytes);
        self.len += bytes.len() as u64;
        let before = frames.len();
        self.framing.push(bytes, owner, frames, &mut self.anomalies);
        self.events += (frames.len() - before) as u64;
    }

    fn finish(mut self, frames: &mut Vec<Frame>) -> Assembled {
        let before = frames.len();
        self.framing.end(frames, &mut self.anomalies);
        self.events += (frames.len() - before) as u64;
        let complete = self.incomplete.is_empty() && !self.cut;
        if self.kept.over {
            note(&mut self.incomplete, Incomplete::BODY_OVER_LIMIT);
            note(&mut self.anomalies, LIMIT_BODY);
        }
        let mut json = None;
        let kept = Sensitive::new(self.kept.finish());
        if complete && self.len > 0 && kept.expose_content().len() as u64 == self.len && matches!(self.framing, Framing::Json) {
            let parsed = json::parse(kept.expose_content());
            parsed.anomalies.into_iter().for_each(|anomaly| note(&mut self.anomalies, anomaly));
            json = parsed.value.map(Arc::new);
        }
        let body = Body { kept, len: self.len, sha256: self.hash.finalize().into(), complete, json };
        Assembled { body, events: self.events, incomplete: self.incomplete, anomalies: self.anomalies, was_bomb: self.was_bomb }
    }
}

/// The first bytes of a body. A body that came in one piece is kept without copying it.
struct Kept {
    budget: Budget,
    taken: usize,
    /// How long the body will be, as somebody said, and the room that was made for it.
    announced: usize,
    room: usize,
    first: Bytes,
    rest: BytesMut,
    over: bool,
}

impl Kept {
    fn new(budget: &Budget) -> Kept {
        Kept { budget: budget.clone(), taken: 0, announced: 0, room: 0, first: Bytes::new(), rest: BytesMut::new(), over: false }
    }

    fn len(&self) -> usize {
        self.first.len() + self.rest.len()
    }

    /// How many of `bytes` more may be kept; fewer than asked only once.
    fn allow(&mut self, bytes: usize) -> usize {
        if self.over {
            return 0;
        }
        let mut allowed = bytes.min(BODY_KEPT - self.len());
        if !take(&self.budget.0.kept, allowed, BODIES_KEPT_TOTAL) {
            allowed = 0;
        }
        self.taken += allowed;
        self.over = allowed < bytes;
        allowed
    }

    fn bytes(&mut self, bytes: &Bytes) {
        if self.len() > 0 {
            return self.slice(bytes);
        }
        let allowed = self.allow(bytes.len());
        self.first = bytes.slice(..allowed);
    }

    fn slice(&mut self, bytes: &[u8]) {
        let allowed = self.allow(bytes.len());
        if allowed == 0 {
            return;
        }
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            let mut room = (first.len() + allowed).next_power_of_two();
            let announced = self.announced.min(BODY_ROOM);
            if announced > room && take(&self.budget.0.room, announced, BODY_ROOM_TOTAL) {
                self.room = announced;
                room = announced;
            }
            self.rest.reserve(room);
            self.rest.extend_from_slice(&first);
        }
        self.rest.extend_from_slice(&bytes[..allowed]);
    }

    fn finish(mut self) -> Bytes {
        if self.first.is_empty() { std::mem::take(&mut self.rest).freeze() } else { std::mem::take(&mut self.first) }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.budget.0.kept.fetch_sub(self.taken, Ordering::Relaxed);
        self.budget.0.room.fetch_sub(self.room, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> Vec<Header> {
        let field = |(name, value): &(&str, &str)| Header {
            name: (*name).into(),
            value: Sensitive::new(Bytes::copy_from_slice(value.as_bytes())),
        };
        fields.iter().map(field).collect()
    }

    fn assemble<'a>(coding: &str, pieces: impl Iterator<Item = &'a [u8]>) -> Assembled {
        let mut assembler = Assembler::new(&headers(&[("content-encoding", coding)]), Some(&[]), 0, &Budget::default());
        let mut frames = Vec::new();
        pieces.for_each(|piece| assembler.data(&Bytes::copy_from_slice(piece), &mut frames));
        assembler.finish(&mut frames)
    }

    /// What is kept, the length, and the reasons.
    #[track_caller]
    fn check(coding: &str, raw: &[u8], kept: &[u8], len: usize, incomplete: &[Incomplete]) {
        for cut in 0..raw.len().max(1) {
            let (head, tail) = raw.split_at(cut);
            for assembled in [assemble(coding, [head, tail].into_iter()), assemble(coding, raw.chunks(1))] {
                assert_eq!(assembled.body.kept.expose_content(), kept, "{coding} cut at {cut}");
                assert_eq!((assembled.body.len, assembled.incomplete.as_slice()), (len as u64, incomplete));
                assert_eq!(assembled.body.complete, incomplete.is_empty());
                let hashed = if incomplete == [Incomplete::UNDECODABLE] { raw } else { kept };
                assert_eq!(assembled.body.sha256, <[u8; 32]>::from(Sha256::digest(hashed)));
            }
        }
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(plain).and_then(|()| encoder.finish()).expect("writing to memory works")
    }

    #[test]
    fn bodies_in_every_cut() {
        check("", b"plain", b"plain", 5, &[]);
        check("identity", b"plain", b"plain", 5, &[]);
        check("gzip", b"", b"", 0, &[]);
        let coded = gzip(b"decoded text");
        check("gzip", &coded, b"decoded text", 12, &[]);
        check("gzip", &coded[..coded.len() - 3], b"decoded text", 12, &[CONTENT_CUT]);
        check("gzip", b"{\"never\": \"coded\"}", b"{\"never\": \"coded\"}", 18, &[Incomplete::UNDECODABLE]);
        check("compress", b"whatever", b"whatever", 8, &[Incomplete::UNDECODABLE]);
        check("br, gzip, zstd", b"whatever", b"whatever", 8, &[Incomplete::UNDECODABLE]);
        let mut damaged = gzip(b"decoded text");
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        check("gzip", &damaged, b"decoded text", damaged.len(), &[Incomplete::UNDECODABLE]);
    }

    #[test]
    fn a_hole_ends_what_is_kept() {
        let mut assembler = Assembler::plain(&Budget::default());
        let mut frames = Vec::new();
        assembler.data(&Bytes::from_static(b"before"), &mut frames);
        assembler.gap(&LossCause::RingFull);
        assembler.data(&Bytes::from_static(b"after"), &mut frames);
        let assembled = assembler.finish(&mut frames);
        assert_eq!(assembled.body.kept.expose_content().as_ref(), b"before");
        assert_eq!((assembled.body.len, assembled.body.complete), (11, false));
        assert_eq!(assembled.incomplete, [Incomplete::gap(&LossCause::RingFull)]);
    }

    /// Frames before a hole stand, what it cut is none, and those after it whose beginning is certain are read.
    #[test]
    fn a_hole_in_each_kind_of_stream() {
        for (kind, before, after, events) in [
            ("text/event-stream", &b"data: a\n\nda"[..], &b"ta: b\n\ndata: c\n\n"[..], 2),
            ("application/x-ndjson", b"{}\n{\"a", b"\":1}\n[]\n", 2),
            ("application/grpc", b"\0\0\0\0\x01x\0\0", b"\0\0\x01y", 1),
            ("application/vnd.amazon.eventstream", b"\0\0", b"\0\x10", 0),
        ] {
            let mut assembler = Assembler::new(&headers(&[("content-type", kind)]), Some(&[]), 0, &Budget::default());
            let mut frames = Vec::new();
            assembler.data(&Bytes::from_static(before), &mut frames);
            assembler.gap(&LossCause::RingFull);
            assembler.data(&Bytes::from_static(after), &mut frames);
            let assembled = assembler.finish(&mut frames);
            assert_eq!((assembled.events, frames.len()), (events, frames.len()), "{kind}: {frames:?}");
            assert_eq!(assembled.incomplete, [Incomplete::gap(&LossCause::RingFull)], "{kind}");
        }
    }

    #[test]
    fn kept_bytes_at_the_edge() {
        let piece = Bytes::from(vec![b'x'; BODY_KEPT / 2]);
        let keep = |extra: &'static [u8]| {
            let mut assembler = Assembler::plain(&Budget::default());
            let mut frames = Vec::new();
            for piece in [piece.clone(), piece.clone(), Bytes::from_static(extra)] {
                assembler.data(&piece, &mut frames);
            }
            let assembled = assembler.finish(&mut frames);
            (assembled.body.kept.expose_content().len(), assembled.body.len, assembled.body.complete, assembled.incomplete)
        };
        assert_eq!(keep(b""), (BODY_KEPT, BODY_KEPT as u64, true, vec![]));
        assert_eq!(keep(b"y"), (BODY_KEPT, BODY_KEPT as u64 + 1, true, vec![Incomplete::BODY_OVER_LIMIT]));
    }

    #[test]
    fn all_bodies_together_at_the_edge() {
        let budget = Budget::default();
        let piece = Bytes::from(vec![b'x'; BODY_KEPT]);
        let open = || {
            let mut assembler = Assembler::plain(&budget);
            assembler.data(&piece, &mut Vec::new());
            assembler
        };
        let mut all: Vec<Assembler> = (0..BODIES_KEPT_TOTAL / BODY_KEPT).map(|_| open()).collect();
        let over = open().finish(&mut Vec::new());
        assert_eq!((over.body.kept.expose_content().len(), over.body.len), (0, BODY_KEPT as u64));
        assert_eq!(over.incomplete, [Incomplete::BODY_OVER_LIMIT]);
        drop(all.pop());
        assert_eq!(open().finish(&mut Vec::new()).incomplete, [], "what is given back can be kept again");
    }

    #[test]
    fn bombs_at_the_edge() {
        let coded = Bytes::from(gzip(b"text"));
        for (bombs, expected) in [(BOMBS - 1, &b"text"[..]), (BOMBS, &coded)] {
            let fields = headers(&[("content-encoding", "gzip")]);
            let mut assembler = Assembler::new(&fields, Some(&[]), bombs, &Budget::default());
            assembler.data(&coded, &mut Vec::new());
            let assembled = assembler.finish(&mut Vec::new());
            assert_eq!(assembled.body.kept.expose_content(), expected);
            assert_eq!(assembled.anomalies.contains(&LIMIT_BOMBS), bombs == BOMBS);
        }
    }
}
