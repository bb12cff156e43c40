//! Doors for a fuzzer: those of the decoders, and one over sequences of observations through the whole pipeline.
//!
//! In: any bytes. Out: nothing, or a panic where a property does not hold.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::{ConnId, Direction, LossCause, Sensitive, Timestamp};
use crate::capture::{Chunk, Exec, FileEffect, FileOp, Loss, Observation, Seen, Socket, SocketOp, Source};
use crate::decide::RuleSet;
use crate::decode;
use crate::pipeline::{Output, Pipeline};

pub use crate::decode::fuzz::Door;

/// All doors, by name.
pub fn doors() -> impl Iterator<Item = Door> {
    decode::fuzz::DOORS.into_iter().chain([("observations", observations as fn(&[u8]))])
}

/// Processes, connections and files come and go in any order, chunks overtake each other and overlap, anything may be lost. The same
/// observations conclude the same, no stage panics, and whoever speaks afterwards is understood.
pub fn observations(data: &[u8]) {
    let seen = read(data);
    let first = run(&seen);
    assert!(first == run(&seen), "the same observations conclude the same");
    let panicked = first.iter().any(|output| matches!(output, Output::Panicked { .. }));
    assert!(!panicked, "no stage panics");
    let is_neighbour = |output: &&Output| matches!(output, Output::Exchange(exchange) if &*exchange.flow.conn.0 == NEIGHBOUR);
    let told: Vec<&Output> = first.iter().filter(is_neighbour).collect();
    let whole = |output: &&Output| {
        matches!(output, Output::Exchange(exchange)
            if exchange.response.as_ref().is_some_and(|response| response.body.complete && response.body.kept.expose_content() == "ok"))
    };
    assert!(told.len() == 1 && told.iter().all(whole), "the neighbour is understood");
}

const NEIGHBOUR: &str = "neighbour";

fn run(seen: &[Seen]) -> Vec<Output> {
    let mut pipeline = Pipeline::new(Arc::new(RuleSet::default()));
    let mut out = Vec::new();
    let afterwards = [
        chunk(NEIGHBOUR, 9, Direction::Out, None, b"GET /n HTTP/1.1\r\nHost: n\r\n\r\n"),
        chunk(NEIGHBOUR, 9, Direction::In, None, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    ];
    // Time enough between two for a tick, now and then for a pause.
    let mut ts = 1_790_000_000_000_000_000;
    for (number, what) in seen.iter().cloned().chain(afterwards).enumerate() {
        ts += if number % 7 == 6 { 10_000_000_000 } else { 60_000_000 };
        pipeline.push(Observation { ts: Timestamp(ts), what }, &mut out);
    }
    pipeline.finish(&mut out);
    out
}

/// An observation is a byte for its kind, one for who and where, and for chunks and paths one for a length, with so many bytes.
fn read(mut data: &[u8]) -> Vec<Seen> {
    let mut seen = Vec::new();
    while let Some((&[kind, whose], rest)) = data.split_first_chunk::<2>() {
        data = rest;
        let pid = u32::from(whose & 3) + 1;
        let conn = format!("c{}", whose >> 2 & 3);
        let dir = if whose & 0x10 == 0 { Direction::Out } else { Direction::In };
        let far = u64::from(whose >> 5);
        let mut bytes = || {
            let (length, rest) = data.split_first().map_or((0, data), |(length, rest)| (usize::from(*length), rest));
            let (bytes, rest) = rest.split_at(length.min(rest.len()));
            data = rest;
            bytes
        };
        let text = |bytes: &[u8]| -> Arc<str> { String::from_utf8_lossy(bytes).into() };
        seen.push(match kind % 12 {
            0..=3 => chunk(&conn, pid, dir, None, bytes()),
            4 => chunk(&conn, pid, dir, Some(far * 5), bytes()),
            5 => Seen::Close { pid, conn: ConnId(conn.as_str().into()) },
            6 => Seen::Loss(Loss {
                cause: LossCause::RingFull,
                count: 1,
                pid: (whose & 0x20 == 0).then_some(pid),
                conn: (whose & 0x40 == 0).then(|| ConnId(conn.as_str().into())),
                dir: (whose & 0x80 == 0).then_some(dir),
                bytes: Some(far),
            }),
            7 => Seen::Exec(Exec { pid, ppid: Some(u32::from(whose >> 2 & 3)), exe: text(bytes()), ..Exec::default() }),
            8 => Seen::Fork { pid, ppid: u32::from(whose >> 2 & 3) + 1 },
            9 => Seen::Exit { pid, code: None },
            10 => Seen::File(FileEffect { pid, op: FileOp::Write, path: text(bytes()), to: None }),
            _ => Seen::Socket(Socket {
                pid,
                fd: Some(u32::from(whose >> 4)),
                op: [SocketOp::Connect, SocketOp::Accept, SocketOp::Close][usize::from(whose >> 5) % 3],
                local: Some("127.0.0.1:1".into()),
                peer: Some("127.0.0.1:2".into()),
                conn: Some(ConnId(conn.as_str().into())),
            }),
        });
    }
    seen
}

fn chunk(conn: &str, pid: u32, dir: Direction, off: Option<u64>, bytes: &[u8]) -> Seen {
    Seen::Chunk(Chunk {
        pid,
        tid: None,
        conn: ConnId(conn.into()),
        dir,
        off,
        data: Sensitive::new(Bytes::copy_from_slice(bytes)),
        // One pipe among the connections, so that its protocol is looked for as well.
        source: if conn == "c3" { Source::Stdio } else { Source::Openssl },
        sni: None,
        peer: None,
        local: None,
        role: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committed_corpora_hold() {
        let corpora = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus");
        for (name, door) in doors() {
            let mut files = 0;
            for file in std::fs::read_dir(corpora.join(name)).expect("each door has a corpus") {
                let path = file.expect("readable").path();
                door(&std::fs::read(&path).expect("readable"));
                files += 1;
            }
            assert!(files > 0, "{name} has no corpus");
        }
    }

    /// A word of each kind, in any order: what the corpus of this door does not have.
    #[test]
    fn sequences_of_observations_hold() {
        let mut state = 1u64;
        let mut below = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % bound
        };
        for _ in 0..200 {
            let mut data = Vec::new();
            for _ in 0..below(24) {
                let text = WORDS[below(WORDS.len())];
                data.extend([below(12) as u8, below(256) as u8, text.len() as u8]);
                data.extend(text);
            }
            observations(&data);
        }
    }

    const WORDS: [&[u8]; 8] = [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
        b"POST /v1/chat/completions HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 30\r\n\r\n",
        b"{\"model\":\"m\",\"messages\":[]}   ",
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\"}\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"/usr/bin/python3",
        b"",
    ];
}
