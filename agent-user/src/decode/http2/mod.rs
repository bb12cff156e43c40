//! HTTP/2 (RFC 9113): one connection's frames become exchanges; gRPC and WebSocket ride on its streams.
//!
//! In: bytes and holes of both directions, from the first byte or from the middle. Out: events. Flow control, priorities and
//! acknowledgements are of no interest to a reader. After a hole of known size inside DATA only that body suffers; after any
//! other the direction is silent until a chain of frames proves where it goes on, and its header table is unknown again.

mod frame;
mod head;
mod stream;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};

use crate::base::limits::{
    CLOSED_STREAMS, HEAD_BYTES, HTTP2_CONTINUATIONS, HTTP2_CONTROL_FRAMES, HTTP2_RESETS, HTTP2_RESYNC_BYTES, HTTP2_WEBSOCKETS,
    OPEN_EXCHANGES,
};
use crate::base::{Anomaly, Direction, ExchangeId, Incomplete, LossCause, Timestamp};
use crate::capture::Role;

use super::hpack::Decoder;
use super::{Out, Request, What, note};
use frame::{END_HEADERS, END_STREAM, Hole, Kind, PADDED, PRIORITY, Part as FramePart, Reader};
use head::List;
use stream::{At, Part, Stream};
use sync::Found;
pub(crate) use sync::{Chain, at_start};

/// RFC 9113 section 3.4.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frames were missed or never seen: this many bytes could not be placed.
const UNPLACED: Anomaly = Anomaly::new("http2.unplaced_bytes");
/// Content of streams whose beginning was not seen.
const ORPHANS: Anomaly = Anomaly::new("http2.orphan_data");
const MALFORMED: Anomaly = Anomaly::new("http2.malformed_frame");
const UNFINISHED_BLOCK: Anomaly = Anomaly::new("http2.unfinished_block");
const COMPRESSION: Anomaly = Anomaly::new("http2.compression_error");
const GOAWAY_ERROR: Anomaly = Anomaly::new("http2.goaway_error");
const LIMIT_CONTINUATIONS: Anomaly = Anomaly::new("limit.http2_continuations");
const LIMIT_BLOCK: Anomaly = Anomaly::new("limit.http2_block_bytes");
const LIMIT_STREAMS: Anomaly = Anomaly::new("limit.http2_streams");
const LIMIT_RESETS: Anomaly = Anomaly::new("limit.http2_resets");
const LIMIT_CONTROL: Anomaly = Anomaly::new("limit.http2_control_frames");

pub(crate) struct Connection {
    /// The direction of requests, once something told.
    client: Option<Direction>,
    sides: [Side; 2],
    /// Ordered, so that what is open at the end is handed on in the order of stream numbers.
    streams: BTreeMap<u32, Stream>,
    /// The highest number a request came on.
    newest: u32,
    /// Streams that are over: late frames of theirs mean nothing.
    closed: VecDeque<u32>,
    resets: usize,
    /// Frames that ask for work and carry nothing, since the last that did.
    control: usize,
    flags: Vec<Anomaly>,
}

/// One direction.
struct Side {
    phase: Phase,
    reader: Reader,
    hpack: Decoder,
    block: Option<Block>,
    /// Bytes of DATA on streams whose head was not seen.
    orphans: u64,
    /// Nothing but SETTINGS came yet, and nothing was missed.
    is_fresh: bool,
    /// Every frame since the connection began was seen.
    is_whole: bool,
}

enum Phase {
    /// What of the connection preface is still due.
    Preface(&'static [u8]),
    /// The first frame is due; it is SETTINGS.
    First,
    Frames,
    /// Frames begin somewhere ahead.
    Searching {
        held: BytesMut,
        from: usize,
        passed: u64,
        cause: Option<LossCause>,
    },
}

/// A header block that is not whole.
struct Block {
    stream: u32,
    /// Of a PUSH_PROMISE: the stream it announces.
    promised: Option<u32>,
    end_stream: bool,
    bytes: BytesMut,
    continuations: usize,
    anomalies: Vec<Anomaly>,
    over: bool,
}

impl Side {
    fn start(phase: Phase) -> Side {
        Side { phase, reader: Reader::default(), hpack: Decoder::new(), block: None, orphans: 0, is_fresh: true, is_whole: true }
    }

    fn attached() -> Side {
        Side { hpack: Decoder::attached(), is_whole: false, ..Side::start(Phase::searching(None)) }
    }

    /// Blocks were missed.
    fn forget_blocks(&mut self) {
        self.hpack.forget();
        self.block = None;
    }
}

impl Phase {
    fn searching(cause: Option<LossCause>) -> Phase {
        Phase::Searching { held: BytesMut::new(), from: 0, passed: 0, cause }
    }
}

impl Connection {
    /// The first bytes of `client` are the preface.
    pub(crate) fn new(client: Direction) -> Connection {
        let mut sides = [Side::start(Phase::First), Side::start(Phase::First)];
        sides[client as usize].phase = Phase::Preface(PREFACE);
        Connection::build(Some(client), sides)
    }

    /// Joined in the middle.
    pub(crate) fn attached(role: Option<Role>) -> Connection {
        let client = role.map(|role| match role {
            Role::Client => Direction::Out,
            Role::Server => Direction::In,
        });
        Connection::build(client, [Side::attached(), Side::attached()])
    }

    /// After a 101: the request that asked for it is stream 1 (RFC 7540 section 3.2).
    pub(crate) fn upgraded(client: Direction, id: ExchangeId, request: Arc<Request>) -> Connection {
        let mut connection = Connection::new(client);
        connection.streams.insert(1, Stream::upgraded(1, id, request));
        connection
    }

    fn build(client: Option<Direction>, sides: [Side; 2]) -> Connection {
        let (streams, closed) = Default::default();
        Connection { client, sides, streams, newest: 0, closed, resets: 0, control: 0, flags: Vec::new() }
    }

    pub(crate) fn feed(&mut self, dir: Direction, ts: Timestamp, what: What, out: &mut Out<'_>) {
        match what {
            What::Data(bytes) => self.data(At { ts, dir }, bytes, out),
            What::Gap { missing, cause } => self.gap(At { ts, dir }, missing, &cause, out),
        }
    }

    fn data(&mut self, at: At, mut input: Bytes, out: &mut Out<'_>) {
        let side = &mut self.sides[at.dir as usize];
        if let Phase::Preface(due) = &mut side.phase {
            let equal = due.iter().zip(&input).take_while(|(due, byte)| due == byte).count();
            input.advance(equal);
            *due = &due[equal..];
            if due.is_empty() {
                side.phase = Phase::First;
            } else if !input.is_empty() {
                let passed = (PREFACE.len() - due.len()) as u64;
                side.phase = Phase::Searching { held: BytesMut::new(), from: 0, passed, cause: None };
            }
        }
        if let Phase::Searching { .. } = side.phase
            && !self.search(at, &mut input, out)
        {
            return;
        }
        while let Some(part) = self.sides[at.dir as usize].reader.next(&mut input) {
            self.part(part, at, out);
        }
    }

    /// Looks for the next provable frame. True when found: then `input` begins with it.
    fn search(&mut self, at: At, input: &mut Bytes, out: &mut Out<'_>) -> bool {
        let side = &mut self.sides[at.dir as usize];
        let Phase::Searching { held, from, passed, cause } = &mut side.phase else { return true };
        while !input.is_empty() {
            if *passed == 0 && cause.is_none() && held.len() < PREFACE.len() && PREFACE.starts_with(held) {
                let due = &PREFACE[held.len()..];
                let compared = due.len().min(input.len());
                if due[..compared] == input[..compared] {
                    held.extend_from_slice(&input.split_to(compared));
                    if held.len() == PREFACE.len() {
                        self.begins(at.dir);
                        return true;
                    }
                    continue;
                }
            }
            // A bound's worth at a time, so that the answer does not depend on how the bytes were cut.
            let room = input.len().min(HTTP2_RESYNC_BYTES - held.len());
            held.extend_from_slice(&input.split_to(room));
            match sync::find(held, *from, *passed == 0 && cause.is_none()) {
                Found::At(offset) => {
                    *passed += offset as u64;
                    side.is_fresh &= *passed == 0 && cause.is_none();
                    if *passed > 0 || cause.is_some() {
                        out.anomaly(at.dir, at.ts, UNPLACED, *passed);
                    }
                    let mut found = held.split_off(offset);
                    found.extend_from_slice(input);
                    *input = found.freeze();
                    side.phase = Phase::Frames;
                    return true;
                }
                Found::More(offset) => {
                    *from = offset;
                    if held.len() == HTTP2_RESYNC_BYTES {
                        // Half of the bound is room for the next chain.
                        let dropped = offset.max(HTTP2_RESYNC_BYTES / 2);
                        held.advance(dropped);
                        *passed += dropped as u64;
                        *from = 0;
                    }
                }
            }
        }
        false
    }

    /// The connection was not joined in the middle: the server's first frames were merely seen before the preface.
    fn begins(&mut self, client: Direction) {
        self.client = Some(client);
        self.sides[client as usize] = Side::start(Phase::First);
        let server = &mut self.sides[client.opposite() as usize];
        if server.is_fresh {
            server.hpack = Decoder::new();
            server.is_whole = true;
        }
    }

    fn gap(&mut self, at: At, missing: Option<u64>, cause: &LossCause, out: &mut Out<'_>) {
        let side = &mut self.sides[at.dir as usize];
        side.is_fresh = false;
        if let Phase::Searching { held, from, passed, .. } = &mut side.phase {
            *passed += held.len() as u64;
            held.clear();
            *from = 0;
            return;
        }
        match side.reader.gap(missing) {
            Hole::Harmless => {}
            Hole::InFrame(head) if head.kind == Kind::Data => {
                if let Some((stream, part)) = self.stream_of(head.stream, at.dir) {
                    stream.gap(part, cause, at.dir);
                }
            }
            Hole::InFrame(head) if head.kind.has_block() => {
                side.forget_blocks();
                self.lost_block(head.stream, head.kind == Kind::Headers && head.has(END_STREAM), Some(cause), at, out);
            }
            Hole::InFrame(_) => {}
            Hole::Lost => {
                side.forget_blocks();
                side.is_whole = false;
                side.phase = Phase::searching(Some(cause.clone()));
                let part = self.part_of(at.dir);
                for stream in self.streams.values_mut() {
                    stream.gap(part, cause, at.dir);
                }
            }
        }
    }

    fn client(&self) -> Direction {
        self.client.unwrap_or(Direction::Out)
    }

    fn part_of(&self, dir: Direction) -> Part {
        if dir == self.client() { Part::Request } else { Part::Response }
    }

    fn stream_of(&mut self, number: u32, dir: Direction) -> Option<(&mut Stream, Part)> {
        let part = self.part_of(dir);
        self.streams.get_mut(&number).map(|stream| (stream, part))
    }

    fn part(&mut self, part: FramePart, at: At, out: &mut Out<'_>) {
        let side = &mut self.sides[at.dir as usize];
        if let FramePart::Data { stream, bytes } = &part {
            self.control = 0;
            let orphaned = match self.stream_of(*stream, at.dir) {
                Some((stream, part)) => {
                    stream.data(part, bytes, at, out);
                    0
                }
                None => bytes.len() as u64,
            };
            self.sides[at.dir as usize].orphans += orphaned;
            return;
        }
        let (FramePart::DataEnd { head }
        | FramePart::Frame { head, .. }
        | FramePart::TooLarge { head }
        | FramePart::BadPadding { head }) = part
        else {
            return;
        };
        if matches!(side.phase, Phase::First) {
            side.phase = Phase::Frames;
            if head.kind != Kind::Settings {
                // RFC 9113 section 3.4: we were not there when the connection began.
                self.flag(at, MALFORMED, out);
            }
        }
        let side = &mut self.sides[at.dir as usize];
        side.is_fresh &= head.kind == Kind::Settings && !head.has(frame::ACK);
        if head.kind != Kind::Continuation {
            self.drop_block(at, out);
        }
        if !head.is_well_formed() {
            self.flag(at, MALFORMED, out);
        }
        match part {
            FramePart::Data { .. } => {}
            FramePart::DataEnd { head } => {
                if head.stream == 0 {
                    self.flag(at, MALFORMED, out);
                }
                if head.has(END_STREAM) {
                    self.end_stream(head.stream, at, out);
                } else if head.stream != 0 {
                    self.count_control(at, out);
                }
            }
            FramePart::Frame { head, payload } => self.frame(head, payload, at, out),
            FramePart::TooLarge { head } => {
                self.flag(at, LIMIT_BLOCK, out);
                if head.kind.has_block() {
                    self.sides[at.dir as usize].forget_blocks();
                    self.lost_block(head.stream, head.has(END_STREAM), None, at, out);
                }
            }
            FramePart::BadPadding { .. } => self.flag(at, MALFORMED, out),
        }
    }

    fn frame(&mut self, head: frame::Head, payload: Bytes, at: At, out: &mut Out<'_>) {
        match head.kind {
            Kind::Headers | Kind::PushPromise => self.begin_block(head, payload, at, out),
            Kind::Continuation => self.continue_block(head, &payload, at, out),
            Kind::RstStream => {
                let Some(mut stream) = self.streams.remove(&head.stream) else { return };
                self.was_closed(head.stream);
                self.resets += 1;
                if self.resets == HTTP2_RESETS + 1 {
                    self.flag(at, LIMIT_RESETS, out);
                }
                stream.reset(self.client(), at.ts, out);
            }
            Kind::Goaway => {
                let code = payload.get(4..8).map(|code| u32::from_be_bytes(code.try_into().expect("four octets")));
                match code {
                    Some(0) => {}
                    Some(_) => self.flag(at, GOAWAY_ERROR, out),
                    None => self.flag(at, MALFORMED, out),
                }
            }
            Kind::Settings | Kind::Ping | Kind::Priority => {
                self.count_control(at, out);
            }
            Kind::WindowUpdate | Kind::Data | Kind::Other(_) => {}
        }
    }

    /// A frame that carries nothing. The end of a DATA frame that did is the first of a row.
    fn count_control(&mut self, at: At, out: &mut Out<'_>) {
        self.control += 1;
        if self.control == HTTP2_CONTROL_FRAMES + 1 {
            self.flag(at, LIMIT_CONTROL, out);
        }
    }

    fn begin_block(&mut self, head: frame::Head, payload: Bytes, at: At, out: &mut Out<'_>) {
        self.control = 0;
        let Some((promised, fragment)) = fragment(head, payload) else {
            self.sides[at.dir as usize].forget_blocks();
            self.flag(at, MALFORMED, out);
            return self.lost_block(head.stream, head.has(END_STREAM), None, at, out);
        };
        let end_stream = head.kind == Kind::Headers && head.has(END_STREAM);
        if head.has(END_HEADERS) {
            return self.block(head.stream, promised, end_stream, &fragment, Vec::new(), at, out);
        }
        self.sides[at.dir as usize].block = Some(Block {
            stream: head.stream,
            promised,
            end_stream,
            bytes: BytesMut::from(&fragment[..]),
            continuations: 0,
            anomalies: Vec::new(),
            over: false,
        });
    }

    fn continue_block(&mut self, head: frame::Head, payload: &[u8], at: At, out: &mut Out<'_>) {
        let side = &mut self.sides[at.dir as usize];
        let Some(block) = side.block.as_mut().filter(|block| block.stream == head.stream) else {
            // Its beginning was missed, or it stands where none may.
            side.forget_blocks();
            if side.is_whole {
                self.flag(at, MALFORMED, out);
            }
            return self.lost_block(head.stream, false, None, at, out);
        };
        block.continuations += 1;
        if block.continuations > HTTP2_CONTINUATIONS {
            note(&mut block.anomalies, LIMIT_CONTINUATIONS);
        }
        if block.bytes.len() + payload.len() > HEAD_BYTES {
            note(&mut block.anomalies, LIMIT_BLOCK);
            block.over = true;
            block.bytes = BytesMut::new();
        }
        if !block.over {
            block.bytes.extend_from_slice(payload);
        }
        if !head.has(END_HEADERS) {
            return;
        }
        let Some(block) = side.block.take() else { return };
        if !block.over {
            return self.block(block.stream, block.promised, block.end_stream, &block.bytes, block.anomalies, at, out);
        }
        side.forget_blocks();
        for anomaly in block.anomalies {
            self.flag(at, anomaly, out);
        }
        self.lost_block(block.stream, block.end_stream, None, at, out);
    }

    /// A whole header block.
    fn block(
        &mut self,
        number: u32,
        promised: Option<u32>,
        end_stream: bool,
        block: &[u8],
        anomalies: Vec<Anomaly>,
        at: At,
        out: &mut Out<'_>,
    ) {
        let Ok(mut list) = List::read(block, &mut self.sides[at.dir as usize].hpack) else {
            self.flag(at, COMPRESSION, out);
            return self.lost_block(number, end_stream, None, at, out);
        };
        list.anomalies.extend(anomalies);
        if self.client.is_none() && promised.is_none() {
            self.client = match (list.of_request, list.of_response) {
                (true, false) => Some(at.dir),
                (false, true) => Some(at.dir.opposite()),
                (true, true) | (false, false) => None,
            };
        }
        if let Some(promised) = promised {
            self.open(promised, at, out).promise(list, at, out);
            return;
        }
        if number == 0 {
            return self.flag(at, MALFORMED, out);
        }
        let part = self.part_of(at.dir);
        if !self.streams.contains_key(&number) {
            // Late frames of a stream that is over, or trailers of one whose head was never seen.
            let begins = match part {
                Part::Request => list.of_request || self.sides[at.dir as usize].is_whole && number > self.newest,
                Part::Response => list.of_response,
            };
            if self.closed.contains(&number) || !begins {
                for anomaly in list.anomalies {
                    self.flag(at, anomaly, out);
                }
                return;
            }
        }
        if part == Part::Response && self.streams.get(&number).is_some_and(Stream::asks_for_websocket) {
            let sockets = self.streams.values().filter(|stream| stream.is_websocket()).count();
            if let Some(stream) = self.streams.get_mut(&number).filter(|_| sockets >= HTTP2_WEBSOCKETS) {
                stream.forbid_inflating();
            }
        }
        if part == Part::Request && !self.streams.contains_key(&number) {
            // RFC 9113 section 5.1.1: odd, and higher than all before.
            if self.sides[at.dir as usize].is_whole && (number.is_multiple_of(2) || number <= self.newest) {
                self.flag(at, MALFORMED, out);
            }
            self.newest = self.newest.max(number);
        }
        let stream = self.open(number, at, out);
        stream.block(part, list, at, out);
        if end_stream {
            self.end_stream(number, at, out);
        }
    }

    /// The stream of that number, new if there is none.
    fn open(&mut self, number: u32, at: At, out: &mut Out<'_>) -> &mut Stream {
        if self.streams.len() >= OPEN_EXCHANGES && !self.streams.contains_key(&number) {
            self.flag(at, LIMIT_STREAMS, out);
            if let Some((oldest, mut stream)) = self.streams.pop_first() {
                stream.note(LIMIT_STREAMS);
                stream.abandon(Some(Incomplete::EVICTED), self.client(), at.ts, out);
                self.was_closed(oldest);
            }
        }
        let client = self.client();
        let (asking, answering) = (&self.sides[client as usize], &self.sides[client.opposite() as usize]);
        // A response that is still to come follows the frames seen by now; a request that is not here yet is past.
        let late = [(Part::Request, !asking.is_whole), (Part::Response, matches!(answering.phase, Phase::Searching { .. }))];
        self.streams.entry(number).or_insert_with(|| {
            let mut stream = Stream::new(number);
            late.into_iter().filter(|(_, late)| *late).for_each(|(part, _)| stream.joined_late(part));
            stream
        })
    }

    /// A header block that cannot be read: what it said is unknown, that it was there is not.
    fn lost_block(&mut self, number: u32, end_stream: bool, cause: Option<&LossCause>, at: At, out: &mut Out<'_>) {
        if number == 0 || self.closed.contains(&number) {
            return;
        }
        let part = self.part_of(at.dir);
        let stream = self.open(number, at, out);
        stream.lost_block(part);
        if let Some(cause) = cause {
            stream.gap(part, cause, at.dir);
        }
        if end_stream {
            self.end_stream(number, at, out);
        }
    }

    /// No more of a header block comes.
    fn drop_block(&mut self, at: At, out: &mut Out<'_>) {
        let side = &mut self.sides[at.dir as usize];
        let Some(block) = side.block.take() else { return };
        side.forget_blocks();
        self.flag(at, UNFINISHED_BLOCK, out);
        self.lost_block(block.stream, block.end_stream, None, at, out);
    }

    fn end_stream(&mut self, number: u32, at: At, out: &mut Out<'_>) {
        let Some((stream, part)) = self.stream_of(number, at.dir) else { return };
        if stream.end(part, at, out) {
            self.streams.remove(&number);
            self.was_closed(number);
        }
    }

    fn was_closed(&mut self, number: u32) {
        if self.closed.len() == CLOSED_STREAMS {
            self.closed.pop_front();
        }
        self.closed.push_back(number);
    }

    /// Once a connection each: a flood of faults is one fault.
    fn flag(&mut self, at: At, anomaly: Anomaly, out: &mut Out<'_>) {
        if !self.flags.contains(&anomaly) {
            self.flags.push(anomaly.clone());
            out.anomaly(at.dir, at.ts, anomaly, 0);
        }
    }

    pub(crate) fn close(&mut self, ts: Timestamp, evicted: bool, out: &mut Out<'_>) {
        let reason = evicted.then_some(Incomplete::EVICTED);
        for dir in [Direction::Out, Direction::In] {
            self.drop_block(At { ts, dir }, out);
        }
        for (_, mut stream) in std::mem::take(&mut self.streams) {
            stream.abandon(reason.clone(), self.client(), ts, out);
        }
        for dir in [Direction::Out, Direction::In] {
            let side = &self.sides[dir as usize];
            if let Phase::Searching { held, passed, .. } = &side.phase {
                let bytes = passed + held.len() as u64;
                if bytes > 0 {
                    out.anomaly(dir, ts, UNPLACED, bytes);
                }
            }
            let unread = side.reader.unread();
            if unread > 0 {
                out.anomaly(dir, ts, UNPLACED, unread as u64);
            }
            if side.orphans > 0 {
                out.anomaly(dir, ts, ORPHANS, side.orphans);
            }
        }
    }
}

/// The promised stream and the header block fragment of a HEADERS or PUSH_PROMISE frame, without padding and priority.
fn fragment(head: frame::Head, mut payload: Bytes) -> Option<(Option<u32>, Bytes)> {
    let padding = if head.has(PADDED) { usize::from(payload.try_get_u8().ok()?) } else { 0 };
    let promised = match head.kind {
        Kind::PushPromise => Some(payload.try_get_u32().ok()? & 0x7fff_ffff),
        _ => None,
    };
    if head.kind == Kind::Headers && head.has(PRIORITY) {
        payload.try_get_u32().ok()?;
        payload.try_get_u8().ok()?;
    }
    payload.truncate(payload.len().checked_sub(padding)?);
    Some((promised, payload))
}
