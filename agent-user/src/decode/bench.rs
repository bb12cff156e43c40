//! Doors for `cargo xtask bench decode`: the inner paths of this stage, each as a function over bytes that gives a number to check.

use bytes::Bytes;

use super::Frame;
use super::coding::{Coding, Decoder};
use super::hpack;
use super::sse::Sse;

pub use super::http1::bench::Heads;

/// One direction of an HTTP/2 connection.
pub struct Hpack(hpack::Decoder);

impl Default for Hpack {
    fn default() -> Hpack {
        Hpack(hpack::Decoder::new())
    }
}

impl Hpack {
    /// Octets of names and values in a block.
    pub fn octets(&mut self, block: &[u8]) -> usize {
        let mut octets = 0;
        let read = self.0.decode(block, |field| {
            octets += field.name.as_ref().map_or(0, |name| name.len()) + field.value.as_ref().map_or(0, Bytes::len);
        });
        if read.is_ok() { octets } else { 0 }
    }
}

/// Events in a stream that comes in pieces.
pub fn sse(pieces: &[Bytes]) -> usize {
    let (mut sse, mut frames, mut odd) = (Sse::default(), Vec::new(), Vec::new());
    let mut events = 0;
    for piece in pieces {
        sse.push(piece, Some(piece), &mut frames, &mut odd);
        events += frames.drain(..).filter(|frame| matches!(frame, Frame::Sse { .. })).count();
    }
    events
}

/// Decoded octets of a body that comes in pieces.
pub fn decoded(coding: &str, pieces: &[Bytes]) -> usize {
    let Ok(codings) = Coding::list(std::iter::once(coding.as_bytes())) else { return 0 };
    let mut decoder = Decoder::new(&codings);
    let mut made = 0;
    let whole = pieces.iter().all(|piece| decoder.push(piece, &mut |part| made += part.len()).is_ok());
    if whole && decoder.is_complete() { made } else { 0 }
}
