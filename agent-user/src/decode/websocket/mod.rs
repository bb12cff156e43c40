//! WebSocket (RFC 6455) with permessage-deflate (RFC 7692), over an HTTP/1 upgrade or an HTTP/2 stream.
//!
//! In: the bytes of both directions after the handshake, in any split, and holes. Out: one [`Frame::WebSocket`] a message, its
//! fragments joined and inflated, control messages in between. A hole inside a payload makes that message incomplete; after any
//! other the direction is lost, because masked bytes prove nothing, and its bytes are counted.

#[cfg(test)]
mod tests;

use bytes::{Buf, Bytes, BytesMut};
use flate2::{Decompress, FlushDecompress, Status};

use crate::base::limits::{EXPANSION_FREE, EXPANSION_RATIO, WEBSOCKET_CONTROL_FRAMES, WEBSOCKET_FRAGMENTS};
use crate::base::{Anomaly, Direction, ExchangeId, Incomplete, LossCause, Timestamp};

use super::body::Assembler;
use super::coding::LIMIT_EXPANSION;
use super::{Frame, Opcode, Out, What};

const MESSAGE_CUT: Incomplete = Incomplete::new("message_cut");
const LOST: Anomaly = Anomaly::new("websocket.direction_lost");
const UNMASKED: Anomaly = Anomaly::new("websocket.unmasked_client_frame");
const MASKED: Anomaly = Anomaly::new("websocket.masked_server_frame");
const RESERVED_BITS: Anomaly = Anomaly::new("websocket.reserved_bits");
const RESERVED_OPCODE: Anomaly = Anomaly::new("websocket.reserved_opcode");
const BAD_CONTROL: Anomaly = Anomaly::new("websocket.bad_control_frame");
const BAD_LENGTH: Anomaly = Anomaly::new("websocket.ambiguous_length");
const STRAY_CONTINUATION: Anomaly = Anomaly::new("websocket.stray_continuation");
const INTERLEAVED: Anomaly = Anomaly::new("websocket.interleaved_message");
const INVALID_UTF8: Anomaly = Anomaly::new("websocket.invalid_utf8");
const LIMIT_FRAGMENTS: Anomaly = Anomaly::new("limit.websocket_fragments");
const LIMIT_CONTROL: Anomaly = Anomaly::new("limit.websocket_control_frames");

pub(crate) struct Socket {
    id: ExchangeId,
    /// The direction that masks.
    client: Direction,
    sides: [Side; 2],
}

impl Socket {
    /// `extensions` is the response's `Sec-WebSocket-Extensions`.
    pub(crate) fn new(id: ExchangeId, client: Direction, extensions: &[u8]) -> Socket {
        let side = |takes_over: Option<bool>| Side { inflater: takes_over.map(Inflater::new), ..Side::default() };
        let agreed = Deflate::agreed(extensions);
        let by_server = agreed.as_ref().map(|agreed| agreed.server_takes_over);
        let mut sides = [side(by_server), side(by_server)];
        sides[client as usize] = side(agreed.map(|agreed| agreed.client_takes_over));
        Socket { id, client, sides }
    }

    pub(crate) fn feed(&mut self, dir: Direction, ts: Timestamp, what: What, out: &mut Out<'_>) {
        match what {
            What::Data(bytes) => self.data(dir, ts, &bytes, out),
            What::Gap { missing, cause } => self.gap(dir, missing, &cause),
        }
    }

    pub(crate) fn data(&mut self, dir: Direction, ts: Timestamp, bytes: &Bytes, out: &mut Out<'_>) {
        let at = At { id: self.id, dir, ts, from_client: dir == self.client };
        let mut input = bytes.clone();
        self.sides[dir as usize].data(at, &mut input, out);
    }

    pub(crate) fn gap(&mut self, dir: Direction, missing: Option<u64>, cause: &LossCause) {
        self.sides[dir as usize].gap(missing, cause);
    }

    /// Both directions are over.
    pub(crate) fn close(&mut self, ts: Timestamp, out: &mut Out<'_>) {
        for dir in [Direction::Out, Direction::In] {
            let at = At { id: self.id, dir, ts, from_client: dir == self.client };
            self.sides[dir as usize].close(at, out);
        }
    }
}

/// What RFC 7692 section 7.1 lets the ends agree on, as far as a reader cares: any window fits into the largest.
struct Deflate {
    client_takes_over: bool,
    server_takes_over: bool,
}

impl Deflate {
    fn agreed(extensions: &[u8]) -> Option<Deflate> {
        let text = std::str::from_utf8(extensions).ok()?;
        let mut parameters = text
            .split(',')
            .map(|extension| extension.split(';').map(str::trim))
            .find_map(|mut parts| parts.next().filter(|name| name.eq_ignore_ascii_case("permessage-deflate")).map(|_| parts))?;
        let mut deflate = Deflate { client_takes_over: true, server_takes_over: true };
        parameters.by_ref().for_each(|parameter| match parameter.to_ascii_lowercase().as_str() {
            "client_no_context_takeover" => deflate.client_takes_over = false,
            "server_no_context_takeover" => deflate.server_takes_over = false,
            _ => {}
        });
        Some(deflate)
    }
}

#[derive(Clone, Copy)]
struct At {
    id: ExchangeId,
    dir: Direction,
    ts: Timestamp,
    from_client: bool,
}

/// RFC 6455 section 5.2.
#[derive(Clone, Copy)]
struct Head {
    fin: bool,
    compressed: bool,
    kind: Kind,
    mask: Option<[u8; 4]>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Continuation,
    Start(Opcode),
    Control(Opcode),
    Reserved,
}

impl Kind {
    fn from_bits(bits: u8) -> Kind {
        match bits {
            0 => Kind::Continuation,
            1 => Kind::Start(Opcode::Text),
            2 => Kind::Start(Opcode::Binary),
            8 => Kind::Control(Opcode::Close),
            9 => Kind::Control(Opcode::Ping),
            10 => Kind::Control(Opcode::Pong),
            _ => Kind::Reserved,
        }
    }
}

enum State {
    Head,
    Payload { head: Head, left: u64, masked: usize },
    Lost { bytes: u64 },
}

struct Side {
    state: State,
    held: BytesMut,
    /// The message whose fragments come.
    message: Option<Message>,
    /// The control message inside or between fragments.
    control: Option<Message>,
    /// Control messages since the last frame of another kind.
    controls: usize,
    inflater: Option<Inflater>,
    /// Each fault is said once a direction.
    said: Vec<Anomaly>,
}

impl Default for Side {
    fn default() -> Side {
        let (held, said) = Default::default();
        Side { state: State::Head, held, message: None, control: None, controls: 0, inflater: None, said }
    }
}

struct Message {
    opcode: Opcode,
    body: Assembler,
    fragments: usize,
    compressed: bool,
    utf8: Option<Utf8>,
}

impl Side {
    fn say(&mut self, anomaly: Anomaly, at: At, out: &mut Out<'_>) {
        if !self.said.contains(&anomaly) {
            self.said.push(anomaly.clone());
            out.anomaly(at.dir, at.ts, anomaly, 0);
        }
    }

    fn data(&mut self, at: At, input: &mut Bytes, out: &mut Out<'_>) {
        loop {
            match &mut self.state {
                State::Lost { bytes } => {
                    *bytes += input.len() as u64;
                    return;
                }
                State::Head => {
                    let Some((head, left)) = self.head(at, input, out) else { return };
                    self.state = State::Payload { head, left, masked: 0 };
                    self.begin(head, at, out);
                }
                State::Payload { head, left, masked } => {
                    let head = *head;
                    let taken = input.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    let piece = input.split_to(taken);
                    let offset = *masked;
                    *left -= taken as u64;
                    *masked = (*masked + taken) & 3;
                    let over = *left == 0;
                    if taken > 0 {
                        let piece = head.mask.map_or_else(|| piece.clone(), |mask| unmask(&piece, mask, offset));
                        self.payload(head, &piece, at, out);
                    }
                    if !over {
                        return;
                    }
                    self.state = State::Head;
                    self.end(head, at, out);
                }
            }
        }
    }

    /// Takes a frame head; `None` while it is not whole.
    fn head(&mut self, at: At, input: &mut Bytes, out: &mut Out<'_>) -> Option<(Head, u64)> {
        loop {
            let want = head_len(&self.held);
            if self.held.len() == want {
                break;
            }
            let part = input.split_to(input.len().min(want - self.held.len()));
            self.held.extend_from_slice(&part);
            if self.held.len() < want {
                return None;
            }
        }
        let mut octets = self.held.split().freeze();
        let (first, second) = (octets.get_u8(), octets.get_u8());
        let (left, least) = match second & 0x7f {
            126 => (u64::from(octets.get_u16()), 126),
            127 => (octets.get_u64(), 1 << 16),
            small => (u64::from(small), 0),
        };
        if left < least || left >> 63 != 0 {
            self.say(BAD_LENGTH, at, out);
        }
        let mask = (second & 0x80 != 0).then(|| octets.get_u32().to_be_bytes());
        match (mask, at.from_client) {
            (None, true) => self.say(UNMASKED, at, out),
            (Some(_), false) => self.say(MASKED, at, out),
            (Some(_), true) | (None, false) => {}
        }
        let head = Head { fin: first & 0x80 != 0, compressed: first & 0x40 != 0, kind: Kind::from_bits(first & 0x0f), mask };
        let starts = matches!(head.kind, Kind::Start(_));
        if first & 0x30 != 0 || head.compressed && !(starts && self.inflater.is_some()) {
            self.say(RESERVED_BITS, at, out);
        }
        if matches!(head.kind, Kind::Control(_)) && (!head.fin || left > 125) {
            self.say(BAD_CONTROL, at, out);
        }
        Some((head, left))
    }

    fn begin(&mut self, head: Head, at: At, out: &mut Out<'_>) {
        match head.kind {
            Kind::Start(opcode) => {
                if self.message.is_some() {
                    self.say(INTERLEAVED, at, out);
                    self.cut(at, out);
                }
                self.message = Some(Message {
                    opcode,
                    body: out.plain_body(),
                    fragments: 0,
                    compressed: head.compressed,
                    utf8: (opcode == Opcode::Text).then(Utf8::default),
                });
                if let Some(inflater) = &mut self.inflater {
                    inflater.begin();
                }
            }
            Kind::Control(opcode) => {
                let utf8 = (opcode == Opcode::Close).then(|| Utf8 { skip: CLOSE_CODE, ..Utf8::default() });
                self.control = Some(Message { opcode, body: out.plain_body(), fragments: 0, compressed: false, utf8 });
            }
            Kind::Continuation if self.message.is_none() => self.say(STRAY_CONTINUATION, at, out),
            Kind::Continuation => {}
            Kind::Reserved => self.say(RESERVED_OPCODE, at, out),
        }
    }

    fn payload(&mut self, head: Head, piece: &Bytes, at: At, out: &mut Out<'_>) {
        let message = match head.kind {
            Kind::Start(_) | Kind::Continuation => self.message.as_mut(),
            Kind::Control(_) => self.control.as_mut(),
            Kind::Reserved => None,
        };
        let Some(message) = message else { return };
        if !message.compressed {
            return message.take(piece);
        }
        match &mut self.inflater {
            Some(inflater) => {
                if inflater.push(piece, message) == Inflated::Bomb {
                    message.body.cut(Incomplete::BODY_OVER_LIMIT);
                    self.say(LIMIT_EXPANSION, at, out);
                }
            }
            // Nobody agreed on a compression: the bytes stand for themselves.
            None => {
                message.body.cut(Incomplete::UNDECODABLE);
                message.take(piece);
            }
        }
    }

    fn end(&mut self, head: Head, at: At, out: &mut Out<'_>) {
        match head.kind {
            Kind::Control(_) => {
                self.controls += 1;
                if self.controls == WEBSOCKET_CONTROL_FRAMES + 1 {
                    self.say(LIMIT_CONTROL, at, out);
                }
                if let Some(control) = self.control.take() {
                    self.emit(control, at, out);
                }
            }
            Kind::Start(_) | Kind::Continuation => {
                self.controls = 0;
                let Some(message) = &mut self.message else { return };
                message.fragments += 1;
                if message.fragments == WEBSOCKET_FRAGMENTS + 1 {
                    self.say(LIMIT_FRAGMENTS, at, out);
                }
                if !head.fin {
                    return;
                }
                let Some(mut message) = self.message.take() else { return };
                if let (true, Some(inflater)) = (message.compressed, &mut self.inflater)
                    && inflater.push(&TAIL, &mut message) == Inflated::Bomb
                {
                    message.body.cut(Incomplete::BODY_OVER_LIMIT);
                    self.say(LIMIT_EXPANSION, at, out);
                }
                if let Some(inflater) = &mut self.inflater {
                    inflater.end();
                }
                self.emit(message, at, out);
            }
            Kind::Reserved => {}
        }
    }

    fn emit(&mut self, message: Message, at: At, out: &mut Out<'_>) {
        let valid = message.utf8.as_ref().is_none_or(Utf8::is_valid);
        let assembled = message.body.finish(&mut Vec::new());
        if !valid && assembled.body.complete {
            // Each one counts: this is content, not framing.
            out.anomaly(at.dir, at.ts, INVALID_UTF8, assembled.body.len);
        }
        assembled.anomalies.into_iter().for_each(|anomaly| self.say(anomaly, at, out));
        let frame = Frame::WebSocket { opcode: message.opcode, body: assembled.body, incomplete: assembled.incomplete };
        out.frame(at.id, at.dir, at.ts, frame);
    }

    /// The message that waits for fragments will not get them.
    fn cut(&mut self, at: At, out: &mut Out<'_>) {
        for mut message in [self.control.take(), self.message.take()].into_iter().flatten() {
            message.body.cut(MESSAGE_CUT);
            self.emit(message, at, out);
        }
    }

    fn gap(&mut self, missing: Option<u64>, cause: &LossCause) {
        if missing == Some(0) {
            return;
        }
        let within = match (&mut self.state, missing) {
            (State::Payload { left, masked, .. }, Some(missing)) if missing <= *left => {
                *left -= missing;
                *masked = (*masked + (missing & 3) as usize) & 3;
                true
            }
            (State::Lost { .. }, _) => return,
            (State::Payload { .. } | State::Head, _) => false,
        };
        for message in [&mut self.control, &mut self.message].into_iter().flatten() {
            message.body.gap(cause);
            message.utf8 = None;
        }
        if let Some(inflater) = &mut self.inflater {
            inflater.broken = true;
        }
        if !within {
            self.state = State::Lost { bytes: 0 };
        }
    }

    fn close(&mut self, at: At, out: &mut Out<'_>) {
        self.cut(at, out);
        if let State::Lost { bytes } = self.state {
            out.anomaly(at.dir, at.ts, LOST, bytes);
        }
    }
}

/// Octets of a close message before its reason (RFC 6455 section 5.5.1).
const CLOSE_CODE: usize = 2;

impl Message {
    fn take(&mut self, piece: &Bytes) {
        if let Some(utf8) = &mut self.utf8 {
            utf8.push(piece);
        }
        self.body.data(piece, &mut Vec::new());
    }
}

/// How long a head is, as far as its first octets tell.
fn head_len(held: &[u8]) -> usize {
    let [_, second, ..] = held else { return 2 };
    let length = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + length + if second & 0x80 != 0 { 4 } else { 0 }
}

fn unmask(piece: &[u8], mask: [u8; 4], offset: usize) -> Bytes {
    let mut plain = BytesMut::from(piece);
    let mask = [mask[offset & 3], mask[(offset + 1) & 3], mask[(offset + 2) & 3], mask[(offset + 3) & 3]];
    for four in plain.chunks_mut(4) {
        for (byte, mask) in four.iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }
    plain.freeze()
}

/// What the sender took off each message (RFC 7692 section 7.2.1).
static TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

struct Inflater {
    /// Made for the first compressed message: its window costs memory.
    inflate: Option<Decompress>,
    /// The window outlives a message: what broke once stays broken.
    takes_over: bool,
    broken: bool,
    raw: u64,
    made: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inflated {
    Fine,
    Bomb,
}

const PIECE: usize = 16 << 10;

impl Inflater {
    fn new(takes_over: bool) -> Inflater {
        Inflater { inflate: None, takes_over, broken: false, raw: 0, made: 0 }
    }

    fn begin(&mut self) {
        self.raw = 0;
        self.made = 0;
        if !self.takes_over {
            self.inflate = None;
            self.broken = false;
        }
    }

    /// A message is over. When nothing later refers to it, its window goes.
    fn end(&mut self) {
        if !self.takes_over {
            self.inflate = None;
        }
    }

    fn push(&mut self, mut input: &[u8], message: &mut Message) -> Inflated {
        let mut piece = [0; PIECE];
        self.raw += input.len() as u64;
        let inflate = self.inflate.get_or_insert_with(|| Decompress::new(false));
        loop {
            if self.broken {
                message.body.cut(Incomplete::UNDECODABLE);
                message.utf8 = None;
                return Inflated::Fine;
            }
            let (taken, made) = (inflate.total_in(), inflate.total_out());
            let status = inflate.decompress(input, &mut piece, FlushDecompress::None);
            let taken = usize::try_from(inflate.total_in() - taken).expect("no more than was given");
            let made = usize::try_from(inflate.total_out() - made).expect("no more than there is room for");
            input = &input[taken..];
            self.made += made as u64;
            if made > 0 {
                message.take(&Bytes::copy_from_slice(&piece[..made]));
            }
            match status {
                Err(_) => self.broken = true,
                // RFC 7692 section 7.2.3.4: a final block may be followed by others.
                Ok(Status::StreamEnd) => inflate.reset(false),
                Ok(Status::Ok | Status::BufError) if self.made > EXPANSION_FREE && self.made / EXPANSION_RATIO > self.raw => {
                    self.broken = true;
                    return Inflated::Bomb;
                }
                Ok(Status::Ok | Status::BufError) => {}
            }
            if !self.broken && made < PIECE && (input.is_empty() || taken == 0 && made == 0) {
                return Inflated::Fine;
            }
        }
    }
}

/// UTF-8 in pieces.
#[derive(Default)]
struct Utf8 {
    /// Bytes in front that are no text.
    skip: usize,
    /// A character that is not whole.
    partial: Vec<u8>,
    invalid: bool,
}

impl Utf8 {
    fn push(&mut self, mut bytes: &[u8]) {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        bytes = &bytes[skipped..];
        while !self.partial.is_empty() && !self.invalid {
            let Some((&byte, rest)) = bytes.split_first() else { return };
            bytes = rest;
            self.partial.push(byte);
            match std::str::from_utf8(&self.partial) {
                Ok(_) => self.partial.clear(),
                Err(error) => self.invalid |= error.error_len().is_some(),
            }
        }
        if let Err(error) = std::str::from_utf8(bytes) {
            self.invalid |= error.error_len().is_some();
            self.partial = bytes[error.valid_up_to()..].iter().take(3).copied().collect();
        }
    }

    fn is_valid(&self) -> bool {
        !self.invalid && self.partial.is_empty()
    }
}
