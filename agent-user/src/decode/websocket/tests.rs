//! Frames by hand, and sessions that another implementation made (`sessions/`, by wsproto 1.3 from PyPI).

use super::super::Engine;
use super::super::testing::{Step, events, in_all_pieces, incoming, lines, out, split_everywhere, unhex};
use super::*;

fn socket(extensions: &'static str) -> impl Fn() -> Option<Engine> {
    move || Some(Engine::Websocket(Box::new(Socket::new(ExchangeId(1), Direction::Out, extensions.as_bytes()))))
}

const DEFLATE: &str = "permessage-deflate; client_no_context_takeover; server_no_context_takeover";

/// From the server: unmasked.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = match payload.len() {
        0..126 => vec![payload.len() as u8],
        126..65_536 => [&[126][..], &(payload.len() as u16).to_be_bytes()].concat(),
        _ => [&[127][..], &(payload.len() as u64).to_be_bytes()].concat(),
    };
    [&[first][..], &len, payload].concat()
}

fn check(extensions: &'static str, steps: &[Step], expected: &[&str]) {
    assert_eq!(in_all_pieces(socket(extensions), steps, 30), expected);
}

#[test]
fn examples_of_the_specification() {
    // RFC 6455 section 5.7 and RFC 7692 section 7.2.3.
    let hello = r#"x1 in Text "Hello""#;
    check("", &[incoming(unhex("81 05 48 65 6c 6c 6f"))], &[hello]);
    check("", &[out(unhex("81 85 37 fa 21 3d 7f 9f 4d 51 58"))], &[r#"x1 out Text "Hello""#]);
    check("", &[incoming(unhex("01 03 48 65 6c 80 02 6c 6f"))], &[hello]);
    check(
        "",
        &[incoming(unhex("89 05 48 65 6c 6c 6f")), out(unhex("8a 85 37 fa 21 3d 7f 9f 4d 51 58"))],
        &[r#"x1 in Ping "Hello""#, r#"x1 out Pong "Hello""#],
    );
    let once = "c1 07 f2 48 cd c9 c9 07 00";
    check(DEFLATE, &[incoming(unhex(once))], &[hello]);
    check(DEFLATE, &[incoming(unhex("41 03 f2 48 cd 80 04 c9 c9 07 00"))], &[hello]);
    let again = [unhex(once), unhex("c1 05 f2 00 11 00 00")].concat();
    check("permessage-deflate", &[incoming(again)], &[hello, hello]);
    // Stored, with a final block, and in two blocks.
    check(DEFLATE, &[incoming(unhex("c1 0b 00 05 00 fa ff 48 65 6c 6c 6f 00"))], &[hello]);
    check(DEFLATE, &[incoming([unhex("c1 08 f3 48 cd c9 c9 07 00 00"), unhex(once)].concat())], &[hello, hello]);
    check(DEFLATE, &[incoming(unhex("c1 0d f2 48 05 00 00 00 ff ff ca c9 c9 07 00"))], &[hello]);
}

#[test]
fn control_messages_between_fragments() {
    let steps = [incoming(
        [frame(0x01, b"one "), frame(0x89, b"?"), frame(0x00, b""), frame(0x80, b"two"), frame(0x88, b"\x03\xe8bye")].concat(),
    )];
    let seen = in_all_pieces(socket(""), &steps, 30);
    assert_eq!(seen[..2], [r#"x1 in Ping "?""#, r#"x1 in Text "one two""#]);
    assert!(seen[2].starts_with("x1 in Close"), "{seen:?}");
}

#[test]
fn every_form_of_length() {
    for len in [0, 1, 125, 126, 65_535, 65_536] {
        let payload = vec![b'a'; len];
        let seen = lines(&events(socket("")(), &[incoming(frame(0x82, &payload))], 1000));
        assert_eq!(seen.len(), 1);
        assert!(len < 61 || seen[0].starts_with(&format!("x1 in Binary {len}#")), "{seen:?}");
    }
}

#[test]
fn faults_are_named() {
    let cases: [(&'static str, Step, &str); 10] = [
        ("", out(frame(0x81, b"x")), "out ~websocket.unmasked_client_frame 0"),
        ("", incoming(unhex("81 81 00 00 00 00 78")), "in ~websocket.masked_server_frame 0"),
        ("", incoming(frame(0xc1, b"x")), "in ~websocket.reserved_bits 0"),
        (DEFLATE, incoming(frame(0xa1, b"x")), "in ~websocket.reserved_bits 0"),
        ("", incoming(frame(0x83, b"x")), "in ~websocket.reserved_opcode 0"),
        ("", incoming(frame(0x09, b"x")), "in ~websocket.bad_control_frame 0"),
        ("", incoming(frame(0x80, b"x")), "in ~websocket.stray_continuation 0"),
        ("", incoming([frame(0x01, b"x"), frame(0x81, b"y")].concat()), "in ~websocket.interleaved_message 0"),
        ("", incoming(frame(0x81, b"\xff")), "in ~websocket.invalid_utf8 1"),
        ("", incoming(unhex("82 7e 00 01 78")), "in ~websocket.ambiguous_length 0"),
    ];
    for (extensions, step, anomaly) in cases {
        let seen = in_all_pieces(socket(extensions), &[step], 5);
        assert!(seen.contains(&anomaly.to_owned()), "{anomaly}: {seen:?}");
    }
}

#[test]
fn text_is_utf8_across_fragments() {
    let euro = "€";
    let split = [frame(0x01, &euro.as_bytes()[..1]), frame(0x80, &euro.as_bytes()[1..])].concat();
    check("", &[incoming(split)], &[r#"x1 in Text "€""#]);
    let cut = in_all_pieces(socket(""), &[incoming(frame(0x81, &euro.as_bytes()[..2]))], 3);
    assert!(cut[0].contains("websocket.invalid_utf8"), "{cut:?}");
    check("", &[incoming(frame(0x82, b"\x00"))], &[r#"x1 in Binary "\0""#]);
}

#[test]
fn holes_and_ends() {
    let message = frame(0x81, b"0123456789");
    let next = frame(0x81, b"next");
    let hole = |seen: usize, missing: Option<u64>, rest: Vec<u8>| {
        [incoming(&message[..seen]), Step::Gap(Direction::In, missing), incoming(rest)]
    };
    check(
        "",
        &hole(4, Some(3), [&message[7..], &next].concat()),
        &[r#"x1 in Text "01"(incomplete) !gap:ring_full"#, r#"x1 in Text "next""#],
    );
    check(
        "",
        &hole(4, None, next.clone()),
        &[r#"x1 in Text "01"(incomplete) !gap:ring_full !message_cut"#, "in ~websocket.direction_lost 6"],
    );
    check("", &hole(0, Some(3), next), &["in ~websocket.direction_lost 6"]);
    check("", &[incoming(&message[..5])], &[r#"x1 in Text "012"(incomplete) !message_cut"#]);
    // Masked payload keeps its phase over a hole.
    let masked: Vec<u8> = b"0123456789".iter().zip([1, 2, 3, 4].iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    let masked = [&[0x81, 0x8a, 1, 2, 3, 4][..], &masked, &[0x81, 0x81, 9, 9, 9, 9, b'z' ^ 9]].concat();
    check(
        "",
        &[out(&masked[..8]), Step::Gap(Direction::Out, Some(3)), out(&masked[11..])],
        &[r#"x1 out Text "01"(incomplete) !gap:ring_full"#, r#"x1 out Text "z""#],
    );
}

#[test]
fn compression_after_a_hole_depends_on_the_window() {
    let hello = "c1 07 f2 48 cd c9 c9 07 00";
    let bytes = unhex(&[hello, hello].join(" "));
    let steps = [incoming(&bytes[..4]), Step::Gap(Direction::In, Some(2)), incoming(&bytes[6..])];
    let cut = r#"x1 in Text(incomplete) !gap:ring_full !content_undecodable"#;
    let seen = in_all_pieces(socket(DEFLATE), &steps, 4);
    assert_eq!(seen[1], r#"x1 in Text "Hello""#, "{seen:?}");
    let seen = in_all_pieces(socket("permessage-deflate"), &steps, 4);
    assert!(seen[0].contains("gap:ring_full") && seen[1].contains("content_undecodable"), "{seen:?} {cut}");
}

#[test]
fn a_bomb_is_bounded_and_the_rest_goes_on() {
    let bomb = {
        let mut deflate = flate2::Compress::new(flate2::Compression::best(), false);
        let mut coded = Vec::with_capacity(1 << 20);
        deflate.compress_vec(&vec![0; 64 << 20], &mut coded, flate2::FlushCompress::Sync).expect("room for it");
        coded.truncate(coded.len() - 4);
        coded
    };
    let steps = [incoming([frame(0xc2, &bomb), unhex("c1 07 f2 48 cd c9 c9 07 00")].concat())];
    let seen = lines(&events(socket(DEFLATE)(), &steps, 4096));
    assert_eq!(seen[0], "in ~limit.expansion_ratio 0");
    let kept: u64 = seen[1]
        .strip_prefix("x1 in Binary ")
        .and_then(|rest| rest.split_once('#'))
        .expect("a length")
        .0
        .parse()
        .expect("a number");
    assert!(kept < 2 << 20 && seen[1].contains("body_over_limit"), "{seen:?}");
    assert_eq!(seen[2], r#"x1 in Text "Hello""#);
}

#[test]
fn a_control_flood_is_named() {
    let named = |count: usize| {
        let bytes = [frame(0x89, b"").repeat(count), frame(0x81, b"x"), frame(0x89, b"").repeat(count)].concat();
        lines(&events(socket("")(), &[incoming(bytes)], usize::MAX))
            .into_iter()
            .filter(|line| line.contains('~'))
            .collect::<Vec<_>>()
    };
    assert!(named(WEBSOCKET_CONTROL_FRAMES).is_empty());
    assert_eq!(named(WEBSOCKET_CONTROL_FRAMES + 1), ["in ~limit.websocket_control_frames 0"]);
}

#[test]
fn a_fragment_flood_is_named() {
    let flood = |count: usize| {
        let mut bytes = frame(0x01, b"");
        (1..count - 1).for_each(|_| bytes.extend(frame(0x00, b"")));
        bytes.extend(frame(0x80, b""));
        lines(&events(socket("")(), &[incoming(bytes)], usize::MAX))
    };
    assert_eq!(flood(WEBSOCKET_FRAGMENTS), ["x1 in Text"]);
    assert_eq!(flood(WEBSOCKET_FRAGMENTS + 1), ["in ~limit.websocket_fragments 0", "x1 in Text"]);
}

struct Session {
    extensions: &'static str,
    steps: Vec<(Direction, Vec<u8>)>,
    expected: Vec<&'static str>,
}

fn session(text: &'static str) -> Session {
    let (first, rest) = text.split_once('\n').expect("lines");
    let (mut steps, mut expected) = (Vec::new(), Vec::new());
    for line in rest.lines() {
        match line.split_once(' ').expect("a word and the rest") {
            ("out", hex) => steps.push((Direction::Out, unhex(hex))),
            ("in", hex) => steps.push((Direction::In, unhex(hex))),
            (_, message) => expected.push(message),
        }
    }
    Session { extensions: first.trim_start_matches(['#', ' ']), steps, expected }
}

fn check_session(text: &'static str, everywhere: bool) -> usize {
    let Session { extensions, steps, expected } = session(text);
    let fed: Vec<Step> = steps.iter().map(|(dir, bytes)| Step::Data(*dir, bytes.clone())).collect();
    let seen = in_all_pieces(socket(extensions), &fed, 7);
    assert_eq!(seen.len(), expected.len());
    for (seen, expected) in seen.iter().zip(&expected) {
        assert!(seen == expected || expected.contains(" Close ") && seen.starts_with(expected), "{seen}\nis not\n{expected}");
    }
    if everywhere {
        let pieces: Vec<(Direction, &[u8])> = steps.iter().map(|(dir, bytes)| (*dir, &bytes[..])).collect();
        split_everywhere(socket(extensions), &pieces);
    }
    seen.len()
}

#[test]
fn sessions_of_another_implementation() {
    for text in [include_str!("sessions/0.txt"), include_str!("sessions/2.txt"), include_str!("sessions/5.txt")] {
        assert_eq!(check_session(text, true), 31 + text.matches("Pong").count());
    }
}

/// Sessions of the same kind below `AGENTWARD_WS_SESSIONS`: not part of this repository.
#[test]
fn many_sessions_of_another_implementation() {
    let Ok(root) = std::env::var("AGENTWARD_WS_SESSIONS") else { return };
    let mut messages = 0;
    for entry in std::fs::read_dir(root).expect("the folder is readable") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("text");
        messages += check_session(text.leak(), false);
    }
    println!("{messages} messages equal");
    assert!(messages > 0);
}

#[test]
fn upgraded_from_http1() {
    let steps = [
        out("GET /ws HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
        incoming([&b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"[..], &unhex("c1 07 f2 48 cd c9 c9 07 00")].concat()),
        out(unhex("81 85 37 fa 21 3d 7f 9f 4d 51 58")),
        incoming(unhex("c1 05 f2 00 11 00 00 88 00")),
    ];
    let seen = in_all_pieces(|| None, &steps, 40);
    assert!(seen[0].starts_with("x1 http/1.1: GET https://a.example/ws") && seen[0].contains(" => 101"), "{seen:#?}");
    assert_eq!(seen[1..], [r#"x1 in Text "Hello""#, r#"x1 out Text "Hello""#, r#"x1 in Text "Hello""#, "x1 in Close"]);
}
