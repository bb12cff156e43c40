//! Doors for a fuzzer: one function a decoder, each over any bytes, each with the properties that must hold.
//!
//! The decoders that read one stream have their door beside their code; here are those that need a connection, and the list.

use crate::base::Direction;

use super::testing::{Step, events, lines};
use super::{Engine, Frame, eventstream, grpc, http2, jsonrpc, ndjson, websocket};

pub use super::coding::fuzz as coding;
pub use super::hpack::fuzz as hpack;
pub use super::json::fuzz as json;
pub use super::multipart::fuzz as multipart;
pub use super::sse::fuzz as sse;

/// A name and the function behind it.
pub type Door = (&'static str, fn(&[u8]));

/// By name, for the harness.
pub const DOORS: [Door; 13] = [
    ("any_connection", any_connection),
    ("coding", coding),
    ("event_stream", event_stream),
    ("grpc", grpc),
    ("hpack", hpack),
    ("http2_from_start", http2_from_start),
    ("http2_joined_late", http2_joined_late),
    ("json", json),
    ("jsonrpc", jsonrpc),
    ("multipart", multipart),
    ("ndjson", ndjson),
    ("sse", sse),
    ("websocket", websocket),
];

/// A connection whose protocol the bytes tell.
pub fn any_connection(data: &[u8]) {
    cut_does_not_matter(|| None, data);
}

pub fn http2_from_start(data: &[u8]) {
    cut_does_not_matter(|| Some(Engine::Http2(Box::new(http2::Connection::new(Direction::Out)))), data);
}

pub fn http2_joined_late(data: &[u8]) {
    cut_does_not_matter(|| Some(Engine::Http2(Box::new(http2::Connection::attached(None)))), data);
}

/// The first byte chooses the extensions.
pub fn websocket(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let extensions = ["", "permessage-deflate", "permessage-deflate; client_no_context_takeover; server_no_context_takeover"];
    let extensions = extensions[usize::from(*first) % extensions.len()].as_bytes();
    let id = crate::base::ExchangeId(1);
    let engine = || Some(Engine::Websocket(Box::new(websocket::Socket::new(id, Direction::Out, extensions))));
    cut_does_not_matter(engine, data);
}

pub fn jsonrpc(data: &[u8]) {
    cut_does_not_matter(|| Some(Engine::Jsonrpc(Box::<jsonrpc::Connection>::default())), data);
}

pub fn grpc(data: &[u8]) {
    let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut messages = grpc::Messages::new(&[]);
        collect(pieces, |piece, frames, odd| messages.push(piece, frames, odd))
    };
    assert_eq!(read(&mut std::iter::once(data)), read(&mut data.chunks(1)), "the cut does not matter");
    let _seen = grpc::protobuf(data);
}

pub fn event_stream(data: &[u8]) {
    let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut messages = eventstream::Messages::default();
        collect(pieces, |piece, frames, odd| messages.push(piece, frames, odd))
    };
    assert_eq!(read(&mut std::iter::once(data)), read(&mut data.chunks(1)), "the cut does not matter");
}

pub fn ndjson(data: &[u8]) {
    let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut lines = ndjson::Lines::default();
        collect(pieces, |piece, frames, odd| lines.push(piece, frames, odd))
    };
    assert_eq!(read(&mut std::iter::once(data)), read(&mut data.chunks(1)), "the cut does not matter");
}

fn collect(
    pieces: &mut dyn Iterator<Item = &[u8]>,
    mut push: impl FnMut(&[u8], &mut Vec<Frame>, &mut Vec<crate::base::Anomaly>),
) -> (Vec<Frame>, Vec<crate::base::Anomaly>) {
    let (mut frames, mut odd) = (Vec::new(), Vec::new());
    pieces.for_each(|piece| push(piece, &mut frames, &mut odd));
    (frames, odd)
}

/// Feeds the steps that `data` spells, whole and byte by byte.
fn cut_does_not_matter(engine: impl Fn() -> Option<Engine>, data: &[u8]) {
    let steps = steps(data);
    let whole = lines(&events(engine(), &steps, usize::MAX));
    assert_eq!(lines(&events(engine(), &steps, 1)), whole, "the cut does not matter");
}

/// A step is a byte for its kind, two for its length, and its bytes.
fn steps(mut data: &[u8]) -> Vec<Step> {
    let mut steps = Vec::new();
    while let Some((&[kind, high, low], rest)) = data.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        let dir = if kind & 1 == 0 { Direction::Out } else { Direction::In };
        data = rest;
        if kind & 0xf0 == 0xf0 {
            steps.push(Step::Gap(dir, (kind & 2 == 0).then_some(length as u64)));
            continue;
        }
        let (bytes, rest) = data.split_at(length.min(data.len()));
        steps.push(Step::Data(dir, bytes.to_vec()));
        data = rest;
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of which such streams are made.
    const SEEDS: [&[u8]; 12] = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"\0\0\x05\x01\x05\0\0\0\x01\x82\x84\x87\x41\x01a",
        b"\0\0\x03\x01\x04\0\0\0\x01\x88\x40\x01a\x01b\xbe",
        b"\0\0\x03\0\x01\0\0\0\x01abc",
        b"\0\0\x08\x06\0\0\0\0\0pingpong",
        b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x08",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\"}\n",
        b"Content-Length: 2\r\n\r\n{}",
        b"\x81\x03abc\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\0",
        b"data: x\n\nid: 1\r\r",
    ];

    /// A short run each time; `AGENTWARD_FUZZ_RUNS` sets a longer one.
    #[test]
    fn doors_hold() {
        let runs = std::env::var("AGENTWARD_FUZZ_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(300);
        let seed = std::env::var("AGENTWARD_FUZZ_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1_u64);
        for (name, door) in DOORS {
            let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            for run in 0..runs {
                let data = random.input();
                let held = std::panic::catch_unwind(|| door(&data));
                assert!(held.is_ok(), "{name}, run {run}: {data:02x?}");
            }
        }
    }

    /// Streams of every protocol, each of their pieces cut in two at every offset, and all of them byte by byte: nothing else comes out.
    /// `AGENTWARD_SPLITS` says how many cuts at least (`cargo xtask fuzz --splits N`).
    #[test]
    fn cuts_do_not_matter() {
        let wanted = std::env::var("AGENTWARD_SPLITS").ok().and_then(|wanted| wanted.parse().ok()).unwrap_or(5_000_usize);
        let engines: [fn() -> Option<Engine>; 5] = [
            || None,
            || Some(Engine::Http2(Box::new(http2::Connection::new(Direction::Out)))),
            || Some(Engine::Http2(Box::new(http2::Connection::attached(None)))),
            || Some(Engine::Jsonrpc(Box::<jsonrpc::Connection>::default())),
            || {
                let socket = websocket::Socket::new(crate::base::ExchangeId(1), Direction::Out, b"permessage-deflate");
                Some(Engine::Websocket(Box::new(socket)))
            },
        ];
        let (mut random, mut cuts, mut streams) = (Random(7), 0, 0);
        while cuts < wanted {
            let engine = engines[streams % engines.len()];
            streams += 1;
            let steps = steps(&random.input());
            let whole = lines(&events(engine(), &steps, usize::MAX));
            assert_eq!(lines(&events(engine(), &steps, 1)), whole, "stream {streams}, byte by byte");
            for (number, step) in steps.iter().enumerate() {
                let Step::Data(dir, bytes) = step else { continue };
                for at in 1..bytes.len() {
                    let mut parts = steps.clone();
                    let halves = [&bytes[..at], &bytes[at..]].map(|half| Step::Data(*dir, half.to_vec()));
                    parts.splice(number..=number, halves);
                    assert_eq!(lines(&events(engine(), &parts, usize::MAX)), whole, "stream {streams}, piece {number}, at {at}");
                    cuts += 1;
                }
            }
        }
        eprintln!("{cuts} cuts in {streams} streams, and each stream byte by byte: 0 differ");
    }

    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % bound
        }

        fn input(&mut self) -> Vec<u8> {
            let mut data = Vec::new();
            for _ in 0..self.below(12) {
                let mut seed = SEEDS[self.below(SEEDS.len())].to_vec();
                for _ in 0..self.below(3) {
                    let at = self.below(seed.len());
                    match self.below(3) {
                        0 => seed[at] = self.below(256) as u8,
                        1 => seed.truncate(at + 1),
                        _ => seed.insert(at, self.below(256) as u8),
                    }
                }
                if self.below(4) > 0 {
                    let kind = if self.below(8) == 0 { 0xf0 } else { 0 } | self.below(4) as u8;
                    data.extend([kind, 0, seed.len() as u8]);
                }
                data.extend(seed);
            }
            data
        }
    }
}
