//! Over HTTP/2: frames, header blocks, streams, and what streams carry.

use crate::http1::gzip;
use crate::world::{Attack, In, Out, Piece, attack, flood, numbered, say};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// `GET https://a/`, the authority as a literal.
const BLOCK: &[u8] = b"\x82\x87\x84\x01\x01a";
const MIB: usize = 1 << 20;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PROMISE: u8 = 5;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: usize, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("frames are small").to_be_bytes();
    let stream = u32::try_from(stream).expect("streams are few").to_be_bytes();
    [&length[1..], &[kind, flags], &stream, payload].concat()
}

fn client(first: Vec<u8>, rest: impl Iterator<Item = Piece> + 'static) -> impl Iterator<Item = Piece> {
    say(Out, PREFACE).chain(say(Out, first)).chain(rest)
}

fn request(number: usize) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, BLOCK)
}

/// A request whose answer begins with these fields.
fn answered(fields: &[(&str, &str)]) -> impl Iterator<Item = Piece> + use<> {
    let mut block = vec![0x88];
    for (name, value) in fields {
        block.extend(literal(0, name, value));
    }
    client(request(0), say(In, [frame(SETTINGS, 0, 0, b""), frame(HEADERS, END_HEADERS, 1, &block)].concat()))
}

/// A literal with a name (RFC 7541 section 6.2), short strings only.
fn literal(first: u8, name: &str, value: &str) -> Vec<u8> {
    let short = |text: &str| u8::try_from(text.len()).expect("shorter than 127");
    [&[first, short(name)], name.as_bytes(), &[short(value)], value.as_bytes()].concat()
}

/// An integer with a prefix of so many bits below `first` (RFC 7541 section 5.1).
fn integer(first: u8, prefix: u32, mut value: usize) -> Vec<u8> {
    let most = (1usize << prefix) - 1;
    if value < most {
        return vec![first | u8::try_from(value).expect("below the prefix")];
    }
    let mut octets = vec![first | u8::try_from(most).expect("a prefix has at most eight bits")];
    value -= most;
    while value >= 0x80 {
        octets.push(0x80 | u8::try_from(value & 0x7f).expect("seven bits"));
        value >>= 7;
    }
    octets.push(u8::try_from(value).expect("seven bits"));
    octets
}

/// An entry of four thousand octets in the table.
fn large_entry() -> Vec<u8> {
    [&[0x40, 1, b'k'][..], &integer(0, 7, 4000), &[b'v'; 4000]].concat()
}

fn websocket(number: usize) -> Vec<u8> {
    let block = [
        b"\x02\x07CONNECT\x87\x84\x01\x01a".to_vec(),
        literal(0, ":protocol", "websocket"),
        literal(0, "sec-websocket-extensions", "permessage-deflate"),
    ];
    frame(HEADERS, END_HEADERS, 2 * number + 1, &block.concat())
}

fn accepted(number: usize) -> Vec<u8> {
    let block = [vec![0x88], literal(0, "sec-websocket-extensions", "permessage-deflate")].concat();
    frame(HEADERS, END_HEADERS, 2 * number + 1, &block)
}

pub fn attacks() -> Vec<Attack> {
    let begun = |flags| frame(HEADERS, flags, 1, BLOCK);
    let bomb = gzip(&vec![0; 3 * MIB]);
    vec![
        attack(
            "a million empty CONTINUATION frames",
            "limit.http2_continuations",
            client(begun(0), flood(Out, 1_000_000, frame(CONTINUATION, 0, 1, b"")))
                .chain(say(Out, frame(CONTINUATION, END_HEADERS, 1, b""))),
        ),
        attack(
            "CONTINUATION frames that never end",
            "limit.http2_block_bytes",
            client(begun(0), flood(Out, 3000, frame(CONTINUATION, 0, 1, &[0; 1000])))
                .chain(say(Out, frame(CONTINUATION, END_HEADERS, 1, b""))),
        ),
        attack(
            "fifty thousand resets",
            "limit.http2_resets",
            client(
                Vec::new(),
                numbered(Out, 50_000, |number| [request(number), frame(RESET, 0, 2 * number + 1, &[0, 0, 0, 8])].concat()),
            ),
        ),
        attack(
            "resets by the server",
            "limit.http2_resets",
            client(
                Vec::new(),
                (0..1500)
                    .flat_map(|number| say(Out, request(number)).chain(say(In, frame(RESET, 0, 2 * number + 1, &[0, 0, 0, 7])))),
            ),
        ),
        attack(
            "a flood of SETTINGS",
            "limit.http2_control_frames",
            client(Vec::new(), flood(Out, 50_000, frame(SETTINGS, 0, 0, b""))),
        ),
        attack(
            "a flood of PING",
            "limit.http2_control_frames",
            client(Vec::new(), flood(Out, 50_000, frame(PING, 0, 0, b"pingpong"))),
        ),
        attack(
            "a flood of PRIORITY",
            "limit.http2_control_frames",
            client(Vec::new(), numbered(Out, 50_000, |number| frame(PRIORITY, 0, 2 * number + 1, &[0; 5]))),
        ),
        attack(
            "fifty thousand fields of one octet",
            "limit.head_fields",
            client(frame(HEADERS, END_HEADERS | END_STREAM, 1, &[BLOCK, &[0xb0; 16_000]].concat()), std::iter::empty()),
        ),
        attack(
            "one large entry, referred to again and again",
            "limit.head_bytes",
            client(
                frame(HEADERS, END_HEADERS | END_STREAM, 1, &[&large_entry(), &[0xbe; 12_000][..]].concat()),
                std::iter::empty(),
            ),
        ),
        attack(
            "large entries in every request",
            "limit.head_bytes",
            client(
                Vec::new(),
                numbered(Out, 500, |number| {
                    frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &[BLOCK, &large_entry(), &[0xbe; 100]].concat())
                }),
            ),
        ),
        attack(
            "a table larger than anyone needs",
            "limit.hpack_table",
            client(
                Vec::new(),
                numbered(Out, 300, |number| {
                    let size = if number == 0 { integer(0x20, 5, 100 << 20) } else { Vec::new() };
                    frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &[size, large_entry()].concat())
                }),
            ),
        ),
        attack(
            "a table that is thrashed",
            "limit.hpack_size_updates",
            client(
                Vec::new(),
                numbered(Out, 1000, |number| {
                    let updates: Vec<u8> =
                        (0..1000).flat_map(|at| integer(0x20, 5, if at % 2 == 0 { 0 } else { 4096 })).collect();
                    frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &[&updates, BLOCK].concat())
                }),
            ),
        ),
        attack(
            "streams that never end",
            "limit.http2_streams",
            client(Vec::new(), numbered(Out, 100_000, |number| frame(HEADERS, END_HEADERS, 2 * number + 1, BLOCK))),
        ),
        attack(
            "streams whose bodies never end",
            "limit.http2_streams",
            client(
                Vec::new(),
                numbered(Out, 2000, |number| {
                    [frame(HEADERS, END_HEADERS, 2 * number + 1, BLOCK), frame(DATA, 0, 2 * number + 1, &[b'x'; 1000])].concat()
                }),
            ),
        ),
        attack(
            "promises without end",
            "limit.http2_streams",
            client(Vec::new(), say(In, frame(SETTINGS, 0, 0, b""))).chain(numbered(In, 50_000, |number| {
                frame(PROMISE, END_HEADERS, 1, &[&u32::try_from(2 * number + 2).expect("few").to_be_bytes(), BLOCK].concat())
            })),
        ),
        attack(
            "a header frame of a megabyte",
            "limit.http2_block_bytes",
            client([&[0x10, 0, 0, HEADERS, END_HEADERS, 0, 0, 0, 1], &[0; 64][..]].concat(), flood(Out, MIB / 64, [0; 64])),
        ),
        attack("content on stream 0", "http2.malformed_frame", client(Vec::new(), flood(Out, 10_000, frame(DATA, 0, 0, b"x")))),
        attack(
            "content of streams that do not exist",
            "http2.orphan_data",
            client(Vec::new(), numbered(Out, 100_000, |number| frame(DATA, 0, 2 * number + 1, b"x"))),
        ),
        attack(
            "blocks that cannot be read",
            "http2.compression_error",
            client(Vec::new(), numbered(Out, 50_000, |number| frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &[0x80]))),
        ),
        attack(
            "padding and nothing else",
            "limit.http2_control_frames",
            client(begun(END_HEADERS), flood(Out, 20_000, frame(DATA, 8, 1, &[&[255][..], &[0; 255]].concat()))),
        ),
        attack(
            "frames that are none after a preface",
            "protocol.unknown",
            say(Out, &PREFACE[..20]).chain(flood(Out, 4 * MIB / 64, [0x55; 64])),
        ),
        attack(
            "a bomb in a stream",
            "limit.expansion_ratio",
            answered(&[("content-encoding", "gzip")])
                .chain(bomb.chunks(8000).map(|part| (In, frame(DATA, 0, 1, part))).collect::<Vec<_>>().into_iter()),
        ),
        attack(
            "an event without end in a stream",
            "limit.sse_event",
            answered(&[("content-type", "text/event-stream")]).chain(flood(
                In,
                5000,
                frame(DATA, 0, 1, &b"data: xxxxxx\n".repeat(30)),
            )),
        ),
        attack(
            "a gRPC message of a gigabyte",
            "limit.grpc_message",
            answered(&[("content-type", "application/grpc")])
                .chain(say(In, frame(DATA, 0, 1, &[0, 0x40, 0, 0, 0])))
                .chain(flood(In, 2 * MIB / 1000, frame(DATA, 0, 1, &[b'x'; 1000]))),
        ),
        attack(
            "a bomb in a gRPC message",
            "limit.expansion_ratio",
            answered(&[("content-type", "application/grpc"), ("grpc-encoding", "gzip")]).chain({
                let bomb = gzip(&vec![0; 3 * MIB]);
                let length = u32::try_from(bomb.len()).expect("small").to_be_bytes();
                say(In, frame(DATA, 0, 1, &[&[1], &length[..], &bomb].concat()))
            }),
        ),
        attack(
            "WebSockets without end on one connection",
            "limit.http2_websockets",
            client(Vec::new(), say(In, frame(SETTINGS, 0, 0, b"")))
                .chain((0..200).flat_map(|number| say(Out, websocket(number)).chain(say(In, accepted(number))))),
        ),
    ]
}
