//! Frames by hand, and sessions that another implementation made (`sessions/`, by h2 4.3 and hpack 4.1 from PyPI).

use super::super::Engine;
use super::super::HttpEvent;
use super::super::testing::{Step, events, in_all_pieces, incoming, lines, out, split_everywhere, unhex};
use super::*;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u32).to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Literals without indexing.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        out.push(0);
        for text in [name, value] {
            assert!(text.len() < 127);
            out.push(text.len() as u8);
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

const GET: [(&str, &str); 4] = [(":method", "GET"), (":scheme", "https"), (":authority", "a.example"), (":path", "/p?q=1")];
const OK: [(&str, &str); 1] = [(":status", "200")];

fn settings() -> Vec<u8> {
    frame(4, 0, 0, &[])
}

fn client(frames: &[Vec<u8>]) -> Step {
    out([PREFACE, &settings(), &frames.concat()].concat())
}

fn server(frames: &[Vec<u8>]) -> Step {
    incoming([settings(), frames.concat()].concat())
}

fn started() -> Option<Engine> {
    Some(Engine::Http2(Box::new(Connection::new(Direction::Out))))
}

fn attached() -> Option<Engine> {
    Some(Engine::Http2(Box::new(Connection::attached(None))))
}

fn check(steps: &[Step], expected: &[&str]) {
    assert_eq!(in_all_pieces(started, steps, 40), expected);
}

fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(1, flags, stream, &block(fields))
}

#[test]
fn a_request_and_its_response() {
    check(
        &[
            client(&[headers(1, 5, &[&GET[..], &[("accept", "*/*")]].concat())]),
            server(&[headers(1, 4, &OK), frame(0, 0, 1, b"hel"), frame(0, 1, 1, b"lo")]),
        ],
        &[r#"x1 http/2/1: GET https://a.example/p?q=1 [accept=*/*] => 200 "hello""#],
    );
}

#[test]
fn every_shape_of_a_header_block() {
    let whole = block(&GET);
    let padded = [&[3][..], &whole, &[0; 3]].concat();
    let prioritised = [&[0, 0, 0, 0, 16][..], &whole].concat();
    let both = [&[2, 0, 0, 0, 0, 16][..], &whole, &[0; 2]].concat();
    for (flags, payload) in [(5, &whole), (5 | 8, &padded), (5 | 0x20, &prioritised), (5 | 0x28, &both)] {
        check(
            &[client(&[frame(1, flags, 1, payload)]), server(&[headers(1, 5, &OK)])],
            &["x1 http/2/1: GET https://a.example/p?q=1 => 200"],
        );
    }
    let continued = [frame(1, 1, 1, &whole[..5]), frame(9, 0, 1, &whole[5..9]), frame(9, 0, 1, &[]), frame(9, 4, 1, &whole[9..])];
    check(&[client(&continued), server(&[headers(1, 5, &OK)])], &["x1 http/2/1: GET https://a.example/p?q=1 => 200"]);
}

#[test]
fn interim_responses_and_trailers() {
    check(
        &[
            client(&[headers(1, 4, &GET), frame(0, 0, 1, b"up"), headers(1, 5, &[("x-sum", "1")])]),
            server(&[
                headers(1, 4, &[(":status", "100")]),
                headers(1, 4, &[(":status", "103"), ("link", "x")]),
                headers(1, 4, &OK),
                frame(0, 8, 1, b"\x02down\0\0"),
                headers(1, 5, &[("grpc-status", "0")]),
            ]),
        ],
        &[r#"x1 http/2/1: GET https://a.example/p?q=1 "up" trailers [x-sum=1] => 200 "down" trailers [grpc-status=0]"#],
    );
}

#[test]
fn many_streams_at_once() {
    check(
        &[
            client(&[headers(1, 4, &GET), headers(3, 5, &GET), frame(0, 1, 1, b"one")]),
            server(&[
                headers(3, 4, &OK),
                headers(1, 4, &OK),
                frame(0, 0, 3, b"thr"),
                frame(0, 1, 1, b"eno"),
                frame(6, 0, 0, b"pingpong"),
                frame(0, 1, 3, b"ee"),
            ]),
        ],
        &[
            r#"x1 http/2/1: GET https://a.example/p?q=1 "one" => 200 "eno""#,
            r#"x2 http/2/3: GET https://a.example/p?q=1 => 200 "three""#,
        ],
    );
}

#[test]
fn resets_pushes_and_the_end() {
    check(
        &[
            client(&[headers(1, 5, &GET), headers(3, 4, &GET), headers(5, 5, &GET), frame(3, 0, 3, &[0, 0, 0, 8])]),
            server(&[
                headers(1, 4, &OK),
                frame(0, 0, 1, b"par"),
                frame(3, 0, 1, &[0, 0, 0, 2]),
                frame(5, 4, 5, &[&[0, 0, 0, 2][..], &block(&GET)].concat()),
                headers(2, 4, &OK),
                frame(0, 1, 2, b"pushed"),
                frame(7, 0, 0, &[0, 0, 0, 5, 0, 0, 0, 0]),
            ]),
        ],
        &[
            "x2 http/2/3: GET https://a.example/p?q=1(incomplete) => - !stream_reset !request_cut !response_missing",
            r#"x1 http/2/1: GET https://a.example/p?q=1 => 200 "par"(incomplete) !stream_reset !response_cut"#,
            r#"x4 http/2/2: GET https://a.example/p?q=1 => 200 "pushed" ~http2.pushed"#,
            "x3 http/2/5: GET https://a.example/p?q=1 => - !response_missing",
        ],
    );
}

#[test]
fn what_two_readers_may_read_differently_is_named() {
    let cases = [
        (&[("Accept", "x")][..], " [accept=x]", "http2.uppercase_name"),
        (&[("a b", "x")][..], " [a b=x]", "http2.ambiguous_field_name"),
        (&[("a", "x\r\ny: z")][..], " [a=x\r\ny: z]", "http2.ambiguous_field_value"),
        (&[("transfer-encoding", "chunked")][..], " [transfer-encoding=chunked]", "http2.ambiguous_connection_field"),
        (&[("te", "gzip")][..], " [te=gzip]", "http2.ambiguous_connection_field"),
        (&[(":method", "PUT")][..], "", "http2.ambiguous_duplicate_pseudo_header"),
        (&[("a", "b"), (":path", "/")][..], " [a=b]", "http2.ambiguous_late_pseudo_header"),
        (&[("host", "b.example")][..], " [host=b.example]", "http2.ambiguous_host"),
        (&[(":new", "x")][..], " [:new=x]", "http2.unknown_pseudo_header"),
    ];
    for (extra, shown, anomaly) in cases {
        let seen =
            in_all_pieces(started, &[client(&[headers(1, 5, &[&GET[..], extra].concat())]), server(&[headers(1, 5, &OK)])], 3);
        assert!(seen[0].starts_with(&format!("x1 http/2/1: GET https://a.example/p?q=1{shown} => 200 ~")), "{seen:?}");
        assert!(seen[0].contains(&format!("~{anomaly}")), "{seen:?}");
    }
    check(
        &[client(&[headers(1, 5, &[(":method", "GET")])]), server(&[headers(1, 5, &[])])],
        &["x1 http/2/1: GET https://sni.example => 0 ~http2.missing_pseudo_header"],
    );
    check(
        &[
            client(&[headers(1, 4, &[&GET[..], &[("content-length", "3")]].concat()), frame(0, 1, 1, b"four")]),
            server(&[headers(1, 5, &OK), frame(0, 1, 1, b"late")]),
        ],
        &[
            r#"x1 http/2/1: GET https://a.example/p?q=1 [content-length=3] "four" => 200 ~http2.ambiguous_length"#,
            "in ~http2.orphan_data 4",
        ],
    );
}

#[test]
fn malformed_frames_are_named_and_survived() {
    let fine = "x1 http/2/3: GET https://a.example/p?q=1 => 200";
    let cases: [(Vec<u8>, &str); 12] = [
        (frame(1, 0x0d, 1, &[200, 0x82]), "out ~http2.malformed_frame 0"),
        (frame(9, 4, 1, &[0x82]), "x2 http/2/1: - => - !headers_unknown !request_missing !response_missing"),
        (frame(3, 0, 1, &[0, 0, 0]), "out ~http2.malformed_frame 0"),
        (frame(4, 0, 0, &[0; 5]), "out ~http2.malformed_frame 0"),
        (frame(4, 1, 0, &[0; 6]), "out ~http2.malformed_frame 0"),
        (frame(6, 0, 3, &[0; 8]), "out ~http2.malformed_frame 0"),
        (frame(2, 0, 1, &[0; 4]), "out ~http2.malformed_frame 0"),
        (frame(0, 8, 1, b"\x09x"), "out ~http2.malformed_frame 0"),
        (frame(1, 5, 0, &block(&GET)), "out ~http2.malformed_frame 0"),
        (frame(7, 0, 0, &[0]), "out ~http2.malformed_frame 0"),
        (frame(7, 0, 0, &[0, 0, 0, 0, 0, 0, 0, 1]), "out ~http2.goaway_error 0"),
        (frame(0, 0, 0, b"x"), "out ~http2.malformed_frame 0"),
    ];
    for (bad, anomaly) in cases {
        let seen = in_all_pieces(started, &[client(&[bad, headers(3, 5, &GET)]), server(&[headers(3, 5, &OK)])], 3);
        assert!(seen.contains(&anomaly.to_owned()) && seen.contains(&fine.to_owned()), "{seen:?}");
    }
}

#[test]
fn an_unreadable_block_leaves_the_next_one_readable() {
    check(
        &[client(&[frame(1, 5, 1, &[0x80]), headers(3, 5, &GET)]), server(&[headers(1, 5, &OK), headers(3, 5, &OK)])],
        &[
            "out ~http2.compression_error 0",
            "x2 http/2/1: - => 200 !headers_unknown !request_missing",
            "x1 http/2/3: GET https://a.example/p?q=1 => 200",
        ],
    );
}

#[test]
fn a_block_interrupted_is_lost() {
    check(
        &[
            client(&[frame(1, 1, 1, &block(&GET)), frame(6, 0, 0, b"pingpong"), headers(3, 5, &GET)]),
            server(&[headers(3, 5, &OK)]),
        ],
        &[
            "out ~http2.unfinished_block 0",
            "x1 http/2/3: GET https://a.example/p?q=1 => 200",
            "x2 http/2/1: - => - !headers_unknown !request_missing !response_missing",
        ],
    );
}

/// What a translation to HTTP/1 would write into its request line, or frame by.
#[test]
fn values_that_http1_would_read_otherwise() {
    let odd = "~http2.ambiguous_pseudo_header_value";
    for (field, value, expected) in [
        (":method", "GET /a HTTP/1.1", format!("GET /a HTTP/1.1 https://a.example/p?q=1 => 200 {odd}")),
        (":path", "/a b", format!("GET https://a.example/a b => 200 {odd}")),
        (":path", "a", format!("GET https://a.examplea => 200 {odd}")),
        (":path", "/a\r\nb", format!("GET https://a.example/a\r\nb => 200 {odd}")),
        (":scheme", "https://b/?", format!("GET https://a.example/p?q=1 => 200 {odd}")),
        (":authority", "u@b", format!("GET https://b/p?q=1 => 200 {odd}")),
        ("content-length", "x", "GET https://a.example/p?q=1 [content-length=x] => 200 ~http2.ambiguous_length".into()),
        ("content-length", "0", "GET https://a.example/p?q=1 [content-length=0] => 200".into()),
    ] {
        let mut fields: Vec<(&str, &str)> = GET.into_iter().filter(|(name, _)| *name != field).collect();
        fields.insert(if field.starts_with(':') { 0 } else { fields.len() }, (field, value));
        check(&[client(&[headers(1, 5, &fields)]), server(&[headers(1, 5, &OK)])], &[&format!("x1 http/2/1: {expected}")]);
    }
    let twice = [&GET[..], &[("content-length", "3"), ("content-length", "4")]].concat();
    check(
        &[client(&[headers(1, 4, &twice), frame(0, 1, 1, b"abc")]), server(&[headers(1, 5, &OK)])],
        &[
            r#"x1 http/2/1: GET https://a.example/p?q=1 [content-length=3, content-length=4] "abc" => 200 ~http2.ambiguous_length"#,
        ],
    );
}

/// RFC 9113 section 5.1.1.
#[test]
fn numbers_that_no_client_may_use() {
    for (first, second, odd) in [(1, 3, false), (2, 3, true), (3, 1, true)] {
        let requests = client(&[headers(first, 5, &GET), headers(second, 5, &GET)]);
        let seen = in_all_pieces(started, &[requests], 3);
        assert_eq!(seen.contains(&"out ~http2.malformed_frame 0".to_owned()), odd, "{seen:?}");
    }
}

/// Where every frame was seen, fields without a request line are a request that lacks it, not the end of one.
#[test]
fn a_request_without_its_pseudo_header_fields() {
    check(
        &[client(&[headers(1, 5, &[("a", "b")])]), server(&[headers(1, 5, &OK)])],
        &["x1 http/2/1:  https://sni.example [a=b] => 200 ~http2.missing_pseudo_header"],
    );
    // Late trailers of a stream that is over change nothing.
    check(
        &[client(&[headers(1, 4, &GET), frame(3, 0, 1, &[0; 4]), headers(1, 5, &[("a", "b")])])],
        &["x1 http/2/1: GET https://a.example/p?q=1(incomplete) => - !stream_reset !request_cut !response_missing"],
    );
}

/// What the end cuts off is counted, and a block without an end is a request nobody could read.
#[test]
fn frames_cut_by_the_end_are_counted() {
    check(
        &[client(&[frame(1, 1, 1, &block(&GET))]), server(&[headers(1, 5, &OK)[..12].to_vec()])],
        &[
            "out ~http2.unfinished_block 0",
            "x1 http/2/1: - => - !headers_unknown !request_missing !response_missing",
            "in ~http2.unplaced_bytes 12",
        ],
    );
    check(&[client(&[]), incoming(b"bodyproto")], &["in ~http2.unplaced_bytes 9"]);
}

#[test]
fn a_hole_inside_content_harms_that_body_only() {
    let frames =
        [headers(1, 4, &OK), frame(0, 0, 1, b"0123456789"), headers(3, 4, &OK), frame(0, 1, 3, b"x"), frame(0, 1, 1, b"end")];
    let begin = settings().len() + frames[0].len() + 9 + 2;
    let Step::Data(_, bytes) = server(&frames) else { panic!("data") };
    let steps = [
        client(&[headers(1, 5, &GET), headers(3, 5, &GET)]),
        incoming(&bytes[..begin]),
        Step::Gap(Direction::In, Some(5)),
        incoming(&bytes[begin + 5..]),
    ];
    check(
        &steps,
        &[
            r#"x2 http/2/3: GET https://a.example/p?q=1 => 200 "x""#,
            r#"x1 http/2/1: GET https://a.example/p?q=1 => 200 "01"(incomplete) !gap:ring_full"#,
        ],
    );
}

#[test]
fn a_larger_hole_is_left_at_the_next_provable_frame() {
    let before = [settings(), headers(1, 4, &OK), frame(0, 0, 1, b"begin")].concat();
    let after = [
        b"rest of a frame".to_vec(),
        frame(8, 0, 0, &[0, 0, 1, 0]),
        frame(0, 1, 1, b"end"),
        headers(3, 4, &OK),
        frame(0, 1, 3, b"x"),
    ];
    let steps = [
        client(&[headers(1, 5, &GET), headers(3, 5, &GET)]),
        incoming(&before),
        Step::Gap(Direction::In, None),
        incoming(after.concat()),
    ];
    check(
        &steps,
        &[
            "in ~http2.unplaced_bytes 15",
            r#"x1 http/2/1: GET https://a.example/p?q=1 => 200 "begin"(incomplete) !gap:ring_full"#,
            r#"x2 http/2/3: GET https://a.example/p?q=1 => 200 "x" !gap:ring_full"#,
        ],
    );
}

#[test]
fn joined_in_the_middle() {
    let steps = [
        incoming([b"tail".to_vec(), frame(0, 1, 1, b"old"), headers(3, 4, &OK), frame(0, 1, 3, b"new")].concat()),
        out([headers(5, 5, &GET), frame(8, 0, 0, &[0, 0, 1, 0])].concat()),
        incoming(headers(5, 5, &OK)),
    ];
    let seen = in_all_pieces(attached, &steps, 40);
    assert_eq!(
        seen,
        [
            "in ~http2.unplaced_bytes 4",
            r#"x1 http/2/3: - => 200 "new" !request_missing"#,
            "x2 http/2/5: GET https://a.example/p?q=1 => 200",
            "in ~http2.orphan_data 3",
        ]
    );
}

#[test]
fn a_body_whose_coding_is_unknown_is_not_complete() {
    // Index 70 may be `content-encoding`; 0x1a is `content-encoding` itself with a literal value.
    let unknown = [block(&OK), vec![0x80 | 70]].concat();
    let known = [block(&OK), b"\x0f\x0b\x08identity".to_vec(), b"\x00\x01a\x01b".to_vec()].concat();
    let steps = [
        out([headers(5, 5, &GET), headers(7, 5, &GET)].concat()),
        incoming([frame(1, 4, 5, &unknown), frame(0, 1, 5, b"x"), frame(1, 4, 7, &known), frame(0, 1, 7, b"y")].concat()),
    ];
    assert_eq!(
        in_all_pieces(attached, &steps, 40),
        [
            r#"x1 http/2/5: GET https://a.example/p?q=1 => 200 [<unknown>=<unknown>] "x"(incomplete) !headers_unknown"#,
            r#"x2 http/2/7: GET https://a.example/p?q=1 => 200 [content-encoding=identity, a=b] "y""#,
        ]
    );
}

#[test]
fn a_server_that_speaks_first_is_no_middle() {
    // Index 62 refers to what the block before inserted: certain only when the table was empty at first.
    let response = [block(&OK), b"\x40\x01a\x01b".to_vec(), vec![0xbe]].concat();
    let steps = [
        incoming(settings()),
        client(&[headers(1, 5, &GET)]),
        incoming([frame(1, 4, 1, &response), frame(1, 5, 1, &[0xbf])].concat()),
    ];
    let expected =
        ["in ~http2.compression_error 0", "x1 http/2/1: GET https://a.example/p?q=1 => 200 [a=b, a=b] !headers_unknown"];
    assert_eq!(in_all_pieces(|| None, &steps, 40), expected);
    assert_eq!(in_all_pieces(attached, &steps, 40), expected);
}

#[test]
fn a_continuation_flood_is_named_and_bounded() {
    let whole = block(&GET);
    let flood = |count: usize, size: usize| {
        let mut frames = vec![frame(1, 1, 1, &whole)];
        frames.extend((1..count).map(|_| frame(9, 0, 1, &vec![0x82; size])));
        frames.push(frame(9, 4, 1, &[]));
        [client(&frames), server(&[headers(1, 5, &OK)])]
    };
    let seen = |count, size| lines(&events(started(), &flood(count, size), usize::MAX));
    let fine = "x1 http/2/1: GET https://a.example/p?q=1 => 200";
    assert_eq!(seen(HTTP2_CONTINUATIONS, 0), [fine]);
    assert_eq!(seen(HTTP2_CONTINUATIONS + 1, 0), [format!("{fine} ~{}", LIMIT_CONTINUATIONS.name())]);
    // 1000 frames of 1000 octets are past the bound on a block.
    assert_eq!(
        seen(1000, 1000),
        [
            "out ~limit.http2_continuations 0",
            "out ~limit.http2_block_bytes 0",
            "x1 http/2/1: - => 200 !headers_unknown !request_missing"
        ]
    );
}

#[test]
fn floods_are_named_at_their_bound() {
    let resets = |count: u32| {
        let frames: Vec<_> = (0..count)
            .flat_map(|number| [headers(2 * number + 1, 5, &GET), frame(3, 0, 2 * number + 1, &[0, 0, 0, 8])])
            .collect();
        lines(&events(started(), &[client(&frames)], usize::MAX))
    };
    let named = |lines: &[String], anomaly: &Anomaly| lines.iter().filter(|line| line.contains(anomaly.name())).count();
    assert_eq!(named(&resets(HTTP2_RESETS as u32), &LIMIT_RESETS), 0);
    let over = resets(HTTP2_RESETS as u32 + 1);
    assert_eq!((named(&over, &LIMIT_RESETS), over.len()), (1, HTTP2_RESETS + 2), "each is still reported");

    // The client's first SETTINGS counts.
    let control = |count: usize| lines(&events(started(), &[client(&vec![settings(); count - 1])], usize::MAX));
    assert_eq!(named(&control(HTTP2_CONTROL_FRAMES), &LIMIT_CONTROL), 0);
    assert_eq!(named(&control(HTTP2_CONTROL_FRAMES + 1), &LIMIT_CONTROL), 1);

    let empty = |count: usize| {
        let frames = [vec![headers(1, 4, &GET)], vec![frame(0, 8, 1, &[1, 0]); count]].concat();
        lines(&events(started(), &[client(&frames)], usize::MAX))
    };
    assert_eq!(named(&empty(HTTP2_CONTROL_FRAMES), &LIMIT_CONTROL), 0);
    assert_eq!(named(&empty(HTTP2_CONTROL_FRAMES + 1), &LIMIT_CONTROL), 1);

    let streams = |count: u32| {
        let frames: Vec<_> = (0..count).map(|number| headers(2 * number + 1, 4, &GET)).collect();
        lines(&events(started(), &[client(&frames)], usize::MAX))
    };
    assert_eq!(named(&streams(OPEN_EXCHANGES as u32), &LIMIT_STREAMS), 0);
    let over = streams(OPEN_EXCHANGES as u32 + 1);
    assert!(
        over[1].starts_with("x1 ") && over[1].ends_with("!request_cut !response_missing ~limit.http2_streams"),
        "{}",
        over[1]
    );
    assert!(over[1].contains("!evicted"));
}

#[test]
fn extended_connect_carries_a_websocket() {
    let connect =
        [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":authority", "a.example"), (":path", "/ws")];
    check(
        &[
            client(&[headers(1, 4, &connect)]),
            server(&[headers(1, 4, &OK)]),
            out(frame(0, 0, 1, &[0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2])),
            incoming([frame(0, 0, 1, &[0x81, 2, b'y']), frame(0, 1, 1, b"o\x88\x00")].concat()),
            out(frame(0, 1, 1, &[])),
        ],
        &["x1 http/2/1: CONNECT https://a.example/ws => 200", r#"x1 out Text "hi""#, r#"x1 in Text "yo""#, "x1 in Close"],
    );
}

#[test]
fn inflating_sockets_are_bounded() {
    let connect =
        [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":authority", "a.example"), (":path", "/ws")];
    let agreed = [&OK[..], &[("sec-websocket-extensions", "permessage-deflate")]].concat();
    let hello = unhex("c1 07 f2 48 cd c9 c9 07 00");
    let streams = (0..=HTTP2_WEBSOCKETS as u32).map(|number| 2 * number + 1);
    let asked: Vec<_> = streams.clone().map(|number| headers(number, 4, &connect)).collect();
    let answered: Vec<_> = streams.flat_map(|number| [headers(number, 4, &agreed), frame(0, 0, number, &hello)]).collect();
    let seen = lines(&events(started(), &[client(&asked), server(&answered)], usize::MAX));
    assert_eq!(seen.iter().filter(|line| line.ends_with(r#"in Text "Hello""#)).count(), HTTP2_WEBSOCKETS);
    assert!(seen.iter().any(|line| line.contains("/129: CONNECT") && line.ends_with("~limit.http2_websockets")), "{seen:#?}");
}

/// A session another implementation made: `out HEX` and `in HEX` lines, then one `= ` line for each exchange.
struct Session {
    steps: Vec<(Direction, Vec<u8>)>,
    expected: Vec<String>,
}

impl Session {
    fn read(text: &str) -> Session {
        let mut session = Session { steps: Vec::new(), expected: Vec::new() };
        for line in text.lines() {
            match line.split_once(' ').expect("a word and the rest") {
                ("out", hex) => session.steps.push((Direction::Out, unhex(hex))),
                ("in", hex) => session.steps.push((Direction::In, unhex(hex))),
                (_, exchange) => session.expected.push(exchange.to_owned()),
            }
        }
        session
    }

    fn steps(&self, from: usize) -> Vec<Step> {
        self.steps[from..].iter().map(|(dir, bytes)| Step::Data(*dir, bytes.clone())).collect()
    }

    /// Whatever was missed: each whole exchange is true, and so is each part of the others.
    fn check_truth(&self, seen: &[HttpEvent]) -> usize {
        let mut whole = 0;
        for event in seen {
            let HttpEvent::Done { exchange, .. } = event else { continue };
            let line = lines(std::slice::from_ref(event)).remove(0);
            let stream = format!("/{}: ", exchange.stream.expect("HTTP/2 has streams"));
            let truth = self
                .expected
                .iter()
                .find(|expected| expected.starts_with(&stream))
                .unwrap_or_else(|| panic!("no stream of the session: {line}"));
            if exchange.incomplete.is_empty() {
                assert!(line.ends_with(truth.as_str()), "{line}\nis not\n{truth}");
                whole += 1;
                continue;
            }
            let (asked, answered) = truth.split_once(" => ").expect("both halves");
            if let Some(request) = &exchange.request {
                assert!(request.method.is_empty() || asked.contains(&format!(": {} ", request.method)));
                assert!(request.path.is_empty() || asked.contains(&*request.path));
                check_fields(&request.headers, asked);
                check_fields(&request.trailers, asked);
            }
            if let Some(response) = &exchange.response {
                assert!(response.status == 0 || answered.starts_with(&response.status.to_string()), "{line}\nis not\n{truth}");
                check_fields(&response.headers, answered);
                check_fields(&response.trailers, answered);
            }
        }
        whole
    }
}

fn check_fields(fields: &[crate::decode::Header], truth: &str) {
    for field in fields {
        let value = String::from_utf8_lossy(field.value.expose_content());
        if &*field.name != crate::decode::UNKNOWN && value != crate::decode::UNKNOWN {
            let shown = format!("{}={value}", field.name);
            assert!(truth.contains(&format!("{shown},")) || truth.contains(&format!("{shown}]")), "{shown} is not in {truth}");
        }
    }
}

fn final_lines(seen: &[HttpEvent]) -> Vec<String> {
    let mut found: Vec<_> =
        lines(seen).iter().map(|line| line.split_once(" http/2").expect("an exchange").1.to_owned()).collect();
    found.sort();
    found
}

fn committed() -> Session {
    Session::read(include_str!("sessions/h2.txt"))
}

#[test]
fn a_session_of_another_implementation() {
    let session = committed();
    assert_eq!(final_lines(&events(None, &session.steps(0), usize::MAX)), session.expected);
    let pieces: Vec<(Direction, &[u8])> = session.steps.iter().map(|(dir, bytes)| (*dir, &bytes[..])).collect();
    assert!(split_everywhere(|| None, &pieces) > 2000);
    for size in 1..20 {
        assert_eq!(final_lines(&events(None, &session.steps(0), size)), session.expected);
    }
}

#[test]
fn joined_anywhere_nothing_is_guessed() {
    let whole = join_anywhere(&committed());
    assert!(whole > 150, "{whole}");
}

/// Joins at every byte; the number of whole exchanges seen.
fn join_anywhere(session: &Session) -> usize {
    let mut whole = 0;
    for from in 1..session.steps.len() {
        let len = session.steps[from].1.len();
        for skipped in 0..len {
            let mut steps = session.steps(from);
            if let Step::Data(_, bytes) = &mut steps[0] {
                bytes.drain(..skipped);
            }
            whole += session.check_truth(&events(None, &steps, usize::MAX));
        }
    }
    whole
}

#[test]
fn holes_anywhere_nothing_is_guessed() {
    let whole = holes_anywhere(&committed());
    assert!(whole > 1000, "{whole}");
}

/// Holes of four sizes at every fifth byte, with and without their size told; the number of whole exchanges seen.
fn holes_anywhere(session: &Session) -> usize {
    let mut whole = 0;
    for number in 1..session.steps.len() {
        let (dir, bytes) = &session.steps[number];
        for begin in (0..bytes.len()).step_by(5) {
            for missing in [1, 9, 30, bytes.len()] {
                let end = (begin + missing).min(bytes.len());
                for told in [Some((end - begin) as u64), None] {
                    let mut steps = session.steps(0);
                    let parts = [
                        Step::Data(*dir, bytes[..begin].to_vec()),
                        Step::Gap(*dir, told),
                        Step::Data(*dir, bytes[end..].to_vec()),
                    ];
                    steps.splice(number..=number, parts);
                    whole += session.check_truth(&events(None, &steps, usize::MAX));
                }
            }
        }
    }
    whole
}

/// Sessions of the same kind below the folder that a variable names: not part of this repository.
fn sessions_of(variable: &str) -> impl Iterator<Item = Session> {
    let root = std::env::var(variable).ok();
    let entries = root.into_iter().flat_map(|root| std::fs::read_dir(root).expect("the folder is readable"));
    entries.map(|entry| Session::read(&std::fs::read_to_string(entry.expect("an entry").path()).expect("text")))
}

#[test]
fn many_sessions_of_another_implementation() {
    let (mut exchanges, mut whole) = (0, 0);
    for session in sessions_of("AGENTWARD_H2_SESSIONS") {
        for size in [usize::MAX, 1000, 17, 3] {
            assert_eq!(final_lines(&events(None, &session.steps(0), size)), session.expected);
        }
        exchanges += session.expected.len();
        for from in (1..session.steps.len()).step_by(5) {
            whole += session.check_truth(&events(None, &session.steps(from), usize::MAX));
        }
    }
    println!("{exchanges} exchanges equal, {whole} whole ones after joining late");
}

#[test]
fn many_sessions_joined_and_holed() {
    let (mut joined, mut holed) = (0, 0);
    for session in sessions_of("AGENTWARD_H2_HOLES") {
        joined += join_anywhere(&session);
        holed += holes_anywhere(&session);
    }
    println!("{joined} whole exchanges after joining, {holed} beside holes, all true");
}

#[test]
fn many_sessions_split_everywhere() {
    let mut splits = 0;
    for session in sessions_of("AGENTWARD_H2_SPLITS") {
        assert_eq!(final_lines(&events(None, &session.steps(0), usize::MAX)), session.expected);
        let pieces: Vec<(Direction, &[u8])> = session.steps.iter().map(|(dir, bytes)| (*dir, &bytes[..])).collect();
        splits += split_everywhere(|| None, &pieces);
    }
    println!("{splits} splits, 0 differing");
}

#[test]
fn grpc_messages_and_status() {
    let call = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/shop.Orders/Refund"),
        (":authority", "a.example:80"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ];
    let answer = [(":status", "200"), ("content-type", "application/grpc+proto")];
    check(
        &[
            client(&[headers(1, 4, &call), frame(0, 0, 1, b"\0\0\0\0\x02\x08"), frame(0, 1, 1, b"\x01")]),
            server(&[
                headers(1, 4, &answer),
                frame(0, 0, 1, b"\0\0\0\0\x03one\0\0\0\0\x03two"),
                headers(1, 5, &[("grpc-status", "0"), ("grpc-message", "")]),
            ]),
            out(headers(3, 5, &call)),
            incoming(headers(3, 5, &[&answer[..], &[("grpc-status", "5")]].concat())),
        ],
        &[
            r#"x1 out grpc "\u{8}\u{1}""#,
            r#"x1 in grpc "one""#,
            r#"x1 in grpc "two""#,
            r#"x1 grpc/1: POST http://a.example/shop.Orders/Refund [te=trailers, content-type=application/grpc] "\0\0\0\0\u{2}\u{8}\u{1}" => 200 [content-type=application/grpc+proto] "\0\0\0\0\u{3}one\0\0\0\0\u{3}two" trailers [grpc-status=0, grpc-message=] events=2"#,
            "x2 grpc/3: POST http://a.example/shop.Orders/Refund [te=trailers, content-type=application/grpc] => 200 [content-type=application/grpc+proto, grpc-status=5]",
        ],
    );
}

#[test]
fn upgraded_from_http1() {
    let steps = [
        out(
            "GET /p HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
        ),
        incoming([&b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"[..], &settings()].concat()),
        client(&[headers(3, 5, &GET)]),
        incoming([headers(1, 4, &OK), frame(0, 1, 1, b"one"), headers(3, 5, &OK)].concat()),
    ];
    let seen = in_all_pieces(|| None, &steps, 40);
    assert!(
        seen.iter().any(|line| line.starts_with("x1 http/2/1: GET https://a.example/p ") && line.ends_with(r#"=> 200 "one""#)),
        "{seen:#?}"
    );
    assert!(seen.contains(&"x2 http/2/3: GET https://a.example/p?q=1 => 200".to_owned()), "{seen:#?}");
}
