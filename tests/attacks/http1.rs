//! Over HTTP/1: heads, framing, codings, and what bodies hold.

use std::io::Write;

use crate::world::{Attack, In, Out, Piece, attack, flood, numbered, say};

const GET: &str = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const MIB: usize = 1 << 20;

fn request(fields: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n")
}

fn response(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n")
}

pub fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).and_then(|()| encoder.finish()).expect("writing to memory works")
}

/// Zeros in any coding, hundreds to one and more.
fn bomb(coding: &str) -> Vec<u8> {
    let plain = vec![0; 3 * MIB];
    match coding {
        "gzip" => gzip(&plain),
        "deflate" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(&plain).and_then(|()| encoder.finish()).expect("writing to memory works")
        }
        "zstd" => zstd::encode_all(&plain[..], 3).expect("writing to memory works"),
        "br" => BROTLI_ZEROS.to_vec(),
        other => panic!("no bomb in {other}"),
    }
}

/// Eight MiB of zeros as the reference encoder writes them.
const BROTLI_ZEROS: &[u8] = b"\xcb\xff\xff\x3f\xf8\x27\x00\xe2\xb1\x40\x20\xf7\xfe\x6f";

pub fn attacks() -> Vec<Attack> {
    let mut all = vec![
        attack(
            "a request field without end",
            "limit.head_bytes",
            say(Out, "GET /a HTTP/1.1\r\nX: ").chain(flood(Out, 4 * MIB / 64, [b'x'; 64])),
        ),
        attack(
            "a response field without end",
            "limit.head_bytes",
            say(Out, GET).chain(say(In, "HTTP/1.1 200 OK\r\nX: ")).chain(flood(In, 4 * MIB / 64, [b'x'; 64])),
        ),
        attack("a target without end", "protocol.unknown", say(Out, "GET /").chain(flood(Out, 4 * MIB / 64, [b'x'; 64]))),
        attack(
            "a million request fields",
            "limit.head_bytes",
            say(Out, "GET /a HTTP/1.1\r\n").chain(numbered(Out, 1_000_000, |number| format!("X-{number}: y\r\n").into())),
        ),
        attack(
            "two hundred thousand response fields",
            "limit.head_bytes",
            say(Out, GET)
                .chain(say(In, "HTTP/1.1 200 OK\r\n"))
                .chain(numbered(In, 200_000, |number| format!("X-{number}: y\r\n").into())),
        ),
        attack(
            "short fields up to the bound on bytes",
            "limit.head_fields",
            say(Out, "GET /a HTTP/1.1\r\n").chain(flood(Out, 10_000, "A:\r\n")).chain(say(Out, "\r\n")),
        ),
        attack("a hundred thousand requests without an answer", "limit.open_exchanges", flood(Out, 100_000, GET)),
        attack("a hundred thousand answers without a request", "request_missing", flood(In, 100_000, "HTTP/1.1 204 No\r\n\r\n")),
        attack(
            "requests that want to upgrade, without an answer",
            "limit.open_exchanges",
            flood(Out, 20_000, "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n\r\n"),
        ),
        attack(
            "interim answers without end",
            "limit.interim_answers",
            say(Out, GET).chain(flood(In, 100_000, "HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n")),
        ),
        attack(
            "chunk extensions in an answer",
            "limit.chunk_extension",
            say(Out, GET).chain(say(In, response("Transfer-Encoding: chunked"))).chain(flood(
                In,
                300,
                format!("1;{}\r\nx\r\n", "x".repeat(8192)),
            )),
        ),
        attack(
            "chunk extensions in a request",
            "limit.chunk_extension",
            say(Out, request("Transfer-Encoding: chunked")).chain(flood(Out, 300, format!("1;{}\r\nx\r\n", "x".repeat(8192)))),
        ),
        attack(
            "a chunk size without end",
            "limit.chunk_extension",
            say(Out, GET).chain(say(In, response("Transfer-Encoding: chunked"))).chain(flood(In, 2 * MIB / 64, [b'0'; 64])),
        ),
        attack(
            "trailers without end",
            "limit.trailer_bytes",
            say(Out, GET).chain(say(In, response("Transfer-Encoding: chunked") + "0\r\n")).chain(flood(In, 200_000, "X: y\r\n")),
        ),
        attack(
            "more trailers than fields may be",
            "limit.head_fields",
            say(Out, GET)
                .chain(say(In, response("Transfer-Encoding: chunked") + "0\r\n"))
                .chain(flood(In, 1000, "X: y\r\n"))
                .chain(say(In, "\r\n")),
        ),
        attack(
            "a body without end",
            "limit.body_bytes",
            say(Out, GET).chain(say(In, response("X: y"))).chain(flood(In, 12 * MIB / 4096, [b'x'; 4096])),
        ),
        attack(
            "a request body without end",
            "limit.body_bytes",
            say(Out, request("Transfer-Encoding: chunked")).chain(flood(
                Out,
                12 * MIB / 4096,
                [b"1000\r\n", &[b'x'; 4096][..], b"\r\n"].concat(),
            )),
        ),
        attack(
            "a length that is a lie",
            "response_cut",
            say(Out, GET).chain(say(In, response("Content-Length: 9000000000000000000"))).chain(flood(In, MIB / 64, [b'x'; 64])),
        ),
        attack("a bomb in a bomb", "limit.expansion_ratio", answer("Content-Encoding: gzip, gzip", gzip(&bomb("gzip")))),
        attack("a bomb in a transfer coding", "limit.expansion_ratio", answer("Transfer-Encoding: gzip", bomb("gzip"))),
        attack(
            "ten codings",
            "limit.content_layers",
            answer("Content-Encoding: gzip, gzip, gzip, gzip, gzip, gzip, gzip, gzip, gzip, gzip", gzip(b"x")),
        ),
        attack(
            "codings of the content and of the transfer",
            "limit.content_layers",
            answer("Content-Encoding: br, gzip\r\nTransfer-Encoding: gzip", gzip(b"x")),
        ),
        attack("a hundred thousand empty members", "limit.content_work", empty_members()),
        attack(
            "empty blocks without end",
            "limit.content_work",
            answer("Content-Encoding: deflate", Vec::new()).chain(flood(In, 800_000, [0, 0, 0, 0xff, 0xff])),
        ),
        attack(
            "a fourth bomb",
            "limit.bombs",
            (0..4).flat_map(|_| {
                let bomb = bomb("gzip");
                say(Out, GET).chain(say(
                    In,
                    [response(&format!("Content-Encoding: gzip\r\nContent-Length: {}", bomb.len())).as_bytes(), &bomb].concat(),
                ))
            }),
        ),
        attack(
            "a line of events without end",
            "limit.sse_event",
            stream("text/event-stream").chain(say(In, "data: ")).chain(flood(In, 4 * MIB / 64, [b'x'; 64])),
        ),
        attack(
            "an event without end",
            "limit.sse_event",
            stream("text/event-stream").chain(flood(In, 200_000, "data: xxxxxxxxxxxxxx\n")),
        ),
        attack(
            "a comment without end",
            "limit.sse_event",
            stream("text/event-stream").chain(say(In, ":")).chain(flood(In, 4 * MIB / 64, [b'x'; 64])),
        ),
        attack(
            "a field name without end",
            "limit.sse_event",
            stream("text/event-stream").chain(flood(In, 4 * MIB / 64, [b'x'; 64])),
        ),
        attack(
            "a line of JSON without end",
            "limit.ndjson_line",
            stream("application/x-ndjson").chain(flood(In, 4 * MIB / 64, [b'1'; 64])),
        ),
        attack(
            "a message of an event stream without end",
            "limit.eventstream_message",
            stream("application/vnd.amazon.eventstream").chain(say(In, event_prelude(0x0080_0000))).chain(flood(
                In,
                4 * MIB / 64,
                [b'x'; 64],
            )),
        ),
        attack("JSON a hundred thousand deep", "limit.json_depth", posted("application/json", 100_000, "[")),
        attack("objects a hundred thousand deep", "limit.json_depth", posted("application/json", 100_000, "{\"a\":")),
        attack("JSON with a million keys", "limit.json_keys", keys(1_000_000)),
        attack("a string of two MiB", "limit.json_string", posted_whole("application/json", "\"", 2 * MIB, "x", "\"")),
        attack(
            "an answer a hundred thousand deep",
            "limit.json_depth",
            answer("Content-Type: application/problem+json\r\nContent-Length: 100000", vec![b'['; 100_000]),
        ),
        attack("a protocol that nobody knows", "protocol.unknown", flood(Out, 8 * MIB / 64, [0xaa; 64])),
        attack(
            "turns of a protocol that nobody knows",
            "protocol.unknown",
            (0..5_000).flat_map(|_| say(Out, "\x01\x02").chain(say(In, "\x03\x04"))),
        ),
        attack(
            "a request with the body of a hundred others",
            "limit.open_exchanges",
            flood(Out, 40_000, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"),
        ),
    ];
    for coding in ["gzip", "deflate", "br", "zstd"] {
        all.push(attack(
            "a bomb in an answer",
            "limit.expansion_ratio",
            answer(&format!("Content-Encoding: {coding}"), bomb(coding)),
        ));
        let bomb = bomb(coding);
        let head = request(&format!("Content-Encoding: {coding}\r\nContent-Length: {}", bomb.len()));
        all.push(attack("a bomb in a request", "limit.expansion_ratio", say(Out, [head.as_bytes(), &bomb].concat())));
    }
    all
}

fn answer<B: AsRef<[u8]>>(fields: &str, body: B) -> impl Iterator<Item = Piece> + use<B> {
    let pieces: Vec<Vec<u8>> = body.as_ref().chunks(16 << 10).map(<[u8]>::to_vec).collect();
    say(Out, GET).chain(say(In, response(fields))).chain(pieces.into_iter().map(|piece| (In, piece)))
}

fn stream(media_type: &str) -> impl Iterator<Item = Piece> + use<> {
    answer(&format!("Content-Type: {media_type}"), Vec::new())
}

fn posted(media_type: &str, times: usize, piece: &str) -> impl Iterator<Item = Piece> + use<> {
    posted_whole(media_type, "", times, piece, "")
}

fn posted_whole(media_type: &str, before: &str, times: usize, piece: &str, after: &str) -> impl Iterator<Item = Piece> + use<> {
    let length = before.len() + times * piece.len() + after.len();
    let head = request(&format!("Content-Type: {media_type}\r\nContent-Length: {length}"));
    say(Out, head + before).chain(flood(Out, times, String::from(piece))).chain(say(Out, after))
}

fn keys(count: usize) -> impl Iterator<Item = Piece> + use<> {
    // The bound on bodies holds fewer of the longest: these are as short as can be.
    let head = request("Content-Type: application/json\r\nTransfer-Encoding: chunked") + "1\r\n{\r\n";
    let key = |number: usize| {
        let text = format!("\"{:x}\":0,", number & 0xfff);
        format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
    };
    say(Out, head).chain(numbered(Out, count.min(800_000), key)).chain(say(Out, "5\r\n\"\":0}\r\n0\r\n\r\n"))
}

fn empty_members() -> impl Iterator<Item = Piece> + use<> {
    answer("Content-Encoding: gzip", Vec::new()).chain(flood(In, 100_000, gzip(b"")))
}

/// Lengths with their check: a message of `total` bytes.
fn event_prelude(total: u32) -> Vec<u8> {
    let mut prelude = [total.to_be_bytes(), 0u32.to_be_bytes()].concat();
    let check = crc32(&prelude);
    prelude.extend(check.to_be_bytes());
    prelude
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}
