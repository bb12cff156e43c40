//! Where frames begin, proved from their shape, when a direction was joined in the middle or bytes are missing.
//!
//! In: bytes. Out: an offset from which a chain of frames runs that bytes of anything else would hardly form, or the wish for
//! more. Each frame head counts the bits by which it is unlikely: exact lengths, unused flags unset, stream 0 where it must be,
//! small stream numbers. An earlier place that may still become a chain goes before a later one that is already proved, so
//! the answer does not depend on how the bytes were cut.

use bytes::Bytes;

use crate::base::limits::HTTP2_RESYNC_BYTES;

use super::super::hpack::Decoder;
use super::frame::{ACK, END_HEADERS, END_STREAM, HEAD_LEN, Head, Kind, PADDED, PRIORITY};

/// Bits that prove a chain at any offset. Heads are full of zeros, so that a view shifted by some bytes can look like one: the
/// chain must also be of three frames, of which one that is exact counts twice. Exact is a frame whose length and stream are
/// fixed, and a HEADERS frame whose block reads as one.
const PROOF: u32 = 110;
const PROOF_FRAMES: u32 = 3;
const EXACT: u32 = 60;
const READABLE_BLOCK: u32 = 24;
/// Bits that prove a single exact frame where bytes begin: senders mostly begin a frame there.
const PROOF_AT_START: u32 = 50;

/// A frame that is no DATA and is longer than this would not have been sent.
const LONGEST_CONTROL: usize = 64 << 10;
/// Longest DATA that still counts: the default of `SETTINGS_MAX_FRAME_SIZE` and what some raise it to.
const USUAL_DATA: usize = 16 << 10;
const LONGEST_DATA: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Frames begin at this offset.
    At(usize),
    /// Not decided. Nothing before this offset can be a frame head.
    More(usize),
}

/// Looks for the first chain at or after `from`. `begins` when a sender's write begins at offset 0, as far as we know.
pub(crate) fn find(bytes: &[u8], from: usize, begins: bool) -> Found {
    for offset in from..bytes.len() {
        match chain(&bytes[offset..], begins && offset == 0) {
            Chain::Proved => return Found::At(offset),
            Chain::Possible if bytes.len() < HTTP2_RESYNC_BYTES => return Found::More(offset),
            Chain::Possible | Chain::Refuted => {}
        }
    }
    Found::More(bytes.len())
}

/// What the first bytes of a connection's direction say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chain {
    Proved,
    Possible,
    Refuted,
}

/// Whether a direction whose first bytes are these speaks HTTP/2.
pub(crate) fn at_start(bytes: &[u8]) -> Chain {
    chain(bytes, true)
}

fn chain(bytes: &[u8], at_start: bool) -> Chain {
    let mut rest = bytes;
    let (mut bits, mut frames, mut in_block) = (0, 0, None);
    loop {
        let Some((octets, after)) = rest.split_first_chunk::<HEAD_LEN>() else {
            return if could_begin(rest) { Chain::Possible } else { Chain::Refuted };
        };
        let head = Head::read(octets);
        let Some(gained) = weigh(&head).filter(|_| frames > 0 || may_begin(&head)) else { return Chain::Refuted };
        // RFC 9113 section 6.10: nothing comes between the parts of a block.
        match (in_block, head.kind) {
            (Some(stream), Kind::Continuation) if stream == head.stream => {}
            (Some(_), _) | (None, Kind::Continuation) => return Chain::Refuted,
            (None, _) => {}
        }
        in_block = (head.kind.has_block() && !head.has(END_HEADERS)).then_some(head.stream);
        if !payload_fits(&head, after) {
            return Chain::Refuted;
        }
        // What is still to come of a payload may refute it.
        let judged = if head.kind == Kind::Data { head.len.min(1) } else { head.len };
        let Some(payload) = after.get(..judged) else { return Chain::Possible };
        let readable = match (head.kind, head.has(END_HEADERS)) {
            (Kind::Headers, true) => match reads_as_block(head, payload) {
                // A block that begins with an old table entry reads as nothing, but a write may begin with it.
                Some(readable) if readable || frames > 0 || at_start => readable,
                Some(_) | None => return Chain::Refuted,
            },
            _ => false,
        };
        let exact = readable || gained >= EXACT;
        bits += gained + if readable { READABLE_BLOCK } else { 0 };
        let alone = at_start && frames == 0 && exact && bits >= PROOF_AT_START;
        frames += if exact { 2 } else { 1 };
        if alone || bits >= PROOF && frames >= PROOF_FRAMES {
            return Chain::Proved;
        }
        let Some(next) = after.get(head.len..) else { return Chain::Possible };
        rest = next;
    }
}

/// Whether a chain may begin with this frame. An empty DATA frame is nearly all zeros, and parts of a block prove nothing. A view
/// shifted into the next number reads its leading zeros as the end of the stream number: only odd ones begin, which are also
/// those of requests (RFC 9113 section 5.1.1).
fn may_begin(head: &Head) -> bool {
    match head.kind {
        Kind::Data => head.len > 0 && head.stream % 2 == 1,
        Kind::Headers => head.has(END_HEADERS) && head.stream % 2 == 1,
        Kind::Continuation | Kind::PushPromise => false,
        Kind::Priority | Kind::RstStream | Kind::Settings | Kind::Ping | Kind::Goaway | Kind::WindowUpdate | Kind::Other(_) => {
            true
        }
    }
}

/// Whether less than a head can still become one: the top octet of a length is small, and a type follows.
fn could_begin(octets: &[u8]) -> bool {
    octets.first().is_none_or(|&top| top <= (LONGEST_DATA >> 16) as u8) && octets.get(3).is_none_or(|&kind| kind <= 9)
}

/// Whether a block begins with a pseudo-header field; `None` when it is none at all.
fn reads_as_block(head: Head, payload: &[u8]) -> Option<bool> {
    let (_, block) = super::fragment(head, Bytes::copy_from_slice(payload))?;
    let mut first = None;
    Decoder::attached()
        .decode(&block, |field| {
            let is_pseudo = field.name.as_ref().is_some_and(|name| name.starts_with(':'));
            first.get_or_insert(is_pseudo);
        })
        .ok()?;
    Some(first.unwrap_or(false))
}

/// Content of a frame, as far as it is there, where the specification fixes it.
fn payload_fits(head: &Head, payload: &[u8]) -> bool {
    let number = || payload.first_chunk::<4>().map(|octets| u32::from_be_bytes(*octets));
    match head.kind {
        // Error codes are small (section 7); increments are not zero (section 6.9).
        Kind::RstStream => number().is_none_or(|code| code < 0x100),
        Kind::WindowUpdate => number().is_none_or(|increment| increment & 0x7fff_ffff != 0),
        Kind::Settings => {
            payload[..payload.len().min(head.len)].chunks_exact(6).all(|setting| setting[0] == 0 || setting[0] == 0xf0)
        }
        Kind::Data | Kind::Headers | Kind::PushPromise if head.has(PADDED) => {
            head.len > 0 && payload.first().is_none_or(|&padding| usize::from(padding) < head.len)
        }
        Kind::Data
        | Kind::Headers
        | Kind::PushPromise
        | Kind::Priority
        | Kind::Ping
        | Kind::Goaway
        | Kind::Continuation
        | Kind::Other(_) => true,
    }
}

/// Bits by which nine octets are unlikely to be this head by chance; `None` when no sender would write it.
fn weigh(head: &Head) -> Option<u32> {
    const KIND: u32 = 8;
    const ON_CONNECTION: u32 = 32;
    const EXACT_LENGTH: u32 = 24;
    let (flags, zero_stream) = match head.kind {
        Kind::Data => (END_STREAM | PADDED, false),
        Kind::Headers => (END_STREAM | END_HEADERS | PADDED | PRIORITY, false),
        Kind::Priority | Kind::RstStream => (0, false),
        Kind::Settings | Kind::Ping => (ACK, true),
        Kind::PushPromise => (END_HEADERS | PADDED, false),
        Kind::Goaway => (0, true),
        Kind::WindowUpdate => (0, head.stream == 0),
        Kind::Continuation => (END_HEADERS, false),
        Kind::Other(_) => return None,
    };
    if head.reserved || head.flags & !flags != 0 || zero_stream != (head.stream == 0) {
        return None;
    }
    let length = match head.kind {
        Kind::Data if head.len <= USUAL_DATA => 10,
        Kind::Data if head.len <= LONGEST_DATA => 4,
        Kind::Headers | Kind::Continuation | Kind::PushPromise if head.len <= LONGEST_CONTROL => 8,
        Kind::Priority if head.len == 5 => EXACT_LENGTH,
        Kind::RstStream | Kind::WindowUpdate if head.len == 4 => EXACT_LENGTH,
        Kind::Ping if head.len == 8 => EXACT_LENGTH,
        Kind::Settings if head.len.is_multiple_of(6) && head.len <= 6 * 32 && !(head.has(ACK) && head.len > 0) => 18,
        Kind::Goaway if (8..=1024).contains(&head.len) => 14,
        Kind::Data
        | Kind::Headers
        | Kind::Continuation
        | Kind::PushPromise
        | Kind::Priority
        | Kind::RstStream
        | Kind::WindowUpdate
        | Kind::Ping
        | Kind::Settings
        | Kind::Goaway
        | Kind::Other(_) => return None,
    };
    // Streams are numbered from 1; the reserved bit counts as well.
    let stream = if zero_stream { ON_CONNECTION } else { head.stream.leading_zeros() };
    Some(KIND + (8 - flags.count_ones()) + length + stream)
}
