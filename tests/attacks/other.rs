//! Over WebSocket, and JSON-RPC on a pipe.

use std::io::Write;

use agentward::capture::Source;

use crate::world::{Attack, In, Out, Piece, attack, flood, numbered, say};

const MIB: usize = 1 << 20;

fn socket(extensions: &str) -> impl Iterator<Item = Piece> + use<> {
    let extensions = if extensions.is_empty() { String::new() } else { format!("Sec-WebSocket-Extensions: {extensions}\r\n") };
    say(Out, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
        .chain(say(In, format!("HTTP/1.1 101 S\r\nUpgrade: websocket\r\n{extensions}\r\n")))
}

fn on_pipe(attack: Attack) -> Attack {
    Attack { source: Source::Stdio, ..attack }
}

fn deflated() -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![0; 3 * MIB]).and_then(|()| encoder.finish()).expect("writing to memory works")
}

pub fn attacks() -> Vec<Attack> {
    let bomb = deflated();
    let length = u16::try_from(bomb.len()).expect("a thousand to one").to_be_bytes();
    vec![
        attack(
            "a hundred thousand fragments",
            "limit.websocket_fragments",
            socket("").chain(say(In, "\x01\x00")).chain(flood(In, 100_000, "\x00\x01x")),
        ),
        attack(
            "a bomb in a message",
            "limit.expansion_ratio",
            socket("permessage-deflate").chain(say(In, [b"\xc1\x7e", &length[..], &bomb].concat())),
        ),
        attack(
            "a message without end",
            "limit.body_bytes",
            socket("").chain(say(In, b"\x82\x7f\0\0\0\x01\0\0\0\0")).chain(flood(In, 12 * MIB / 4096, [b'x'; 4096])),
        ),
        attack(
            "a control message without end",
            "websocket.bad_control_frame",
            socket("").chain(say(In, b"\x89\x7f\0\0\0\x01\0\0\0\0")).chain(flood(In, 4 * MIB / 64, [b'x'; 64])),
        ),
        attack(
            "control messages between two fragments",
            "limit.websocket_control_frames",
            socket("").chain(say(In, "\x01\x00")).chain(flood(In, 100_000, b"\x89\x00")),
        ),
        on_pipe(attack(
            "a message on a pipe without end",
            "limit.jsonrpc_message",
            say(Out, "{\"jsonrpc\":\"2.0\",\"method\":\"a\"}\n{\"a\":\"").chain(flood(Out, 12 * MIB / 64, [b'x'; 64])),
        )),
        on_pipe(attack(
            "a message of a terabyte",
            "limit.jsonrpc_message",
            say(Out, "Content-Length: 1000000000000\r\n\r\n").chain(flood(Out, 4 * MIB / 64, [b'x'; 64])),
        )),
        on_pipe(attack(
            "calls without an answer",
            "limit.open_exchanges",
            numbered(Out, 20_000, |number| format!("{{\"jsonrpc\":\"2.0\",\"id\":{number},\"method\":\"a\"}}\n").into()),
        )),
        on_pipe(attack(
            "one id for every call",
            "jsonrpc.ambiguous_id",
            flood(Out, 20_000, "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\"}\n"),
        )),
        on_pipe(attack(
            "a batch of a hundred thousand",
            "limit.jsonrpc_batch",
            say(Out, "{\"jsonrpc\":\"2.0\",\"method\":\"a\"}\n[")
                .chain(numbered(Out, 20_000, |number| {
                    format!("{{\"jsonrpc\":\"2.0\",\"id\":{number},\"method\":\"a\"}},").into()
                }))
                .chain(say(Out, "{}]\n")),
        )),
        on_pipe(attack(
            "a call a hundred thousand deep",
            "limit.json_depth",
            say(Out, "{\"jsonrpc\":\"2.0\",\"method\":\"a\"}\n{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\",\"params\":")
                .chain(flood(Out, 100_000, "["))
                .chain(say(Out, "\n")),
        )),
    ]
}
