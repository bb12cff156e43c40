//! Whole connections as text: what was said must come out, however the bytes were cut.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::base::limits::{HEAD_BYTES, HEAD_FIELDS, OPEN_EXCHANGES};
use crate::base::{ConnId, FlowId, ProcessKey, Sensitive};
use crate::capture::Source;
use crate::decode::{Body, Decode, Exchange, Flow, HttpEvent};
use crate::reassemble::StreamEvent;

use super::heads::LIMIT_EXCHANGES;
use super::*;

/// One event on the connection: bytes of the client (`>`) or of the server (`<`), a hole, or the close.
#[derive(Clone, Debug)]
enum Said {
    Bytes(Direction, Vec<u8>),
    Gap(Direction, Option<u64>),
    Close,
}

fn c(text: impl AsRef<[u8]>) -> Said {
    Said::Bytes(Direction::Out, text.as_ref().to_vec())
}

fn s(text: impl AsRef<[u8]>) -> Said {
    Said::Bytes(Direction::In, text.as_ref().to_vec())
}

fn flow() -> Arc<Flow> {
    Arc::new(Flow {
        id: FlowId(1),
        conn: ConnId("c".into()),
        process: ProcessKey { pid: 1, start: 0 },
        source: Source::Openssl,
        role: None,
        sni: Some("sni.example".into()),
        peer: None,
        local: None,
    })
}

fn run(said: &[Said]) -> Vec<HttpEvent> {
    let (mut stage, mut out, flow) = (Decode::default(), Vec::new(), flow());
    for (position, said) in said.iter().enumerate() {
        // Every piece of a case has the same time: cutting must not change what is said.
        let ts = Timestamp(1);
        let (flow, off) = (flow.clone(), position as u64);
        stage.push(
            match said.clone() {
                Said::Bytes(dir, bytes) => StreamEvent::Data { flow, ts, dir, off, bytes: Sensitive::new(bytes.into()) },
                Said::Gap(dir, missing) => StreamEvent::Gap { flow, ts, dir, off, missing, cause: LossCause::RingFull },
                Said::Close => StreamEvent::Closed { flow, ts, evicted: false },
            },
            &mut out,
        );
    }
    stage.finish(Timestamp(1), &mut out);
    out
}

fn exchanges(events: &[HttpEvent]) -> Vec<Arc<Exchange>> {
    let done = |event: &HttpEvent| match event {
        HttpEvent::Done { exchange, .. } => Some(exchange.clone()),
        _ => None,
    };
    events.iter().filter_map(done).collect()
}

fn text(body: &Body) -> String {
    let kept = body.kept.expose_content();
    if body.complete {
        assert_eq!(body.sha256, <[u8; 32]>::from(Sha256::digest(kept)), "the hash is that of the body");
        assert_eq!(body.len, kept.len() as u64);
    }
    format!("{}{}", String::from_utf8_lossy(kept), if body.complete { "" } else { "…" })
}

/// `1: GET host/path?query [request body] 200 [response body] !reason ~anomaly`, one line an exchange.
fn shown(events: &[HttpEvent]) -> String {
    let mut out = String::new();
    for exchange in exchanges(events) {
        write!(out, "{}:", exchange.id.0).expect("written to a String");
        if let Some(request) = &exchange.request {
            write!(out, " {} {}{}", request.method, request.host, request.path).expect("written to a String");
            if !request.query.expose_content().is_empty() {
                write!(out, "?{}", request.query.expose_content()).expect("written to a String");
            }
            if request.body != body::empty(true) {
                write!(out, " [{}]", text(&request.body)).expect("written to a String");
            }
        }
        if let Some(response) = &exchange.response {
            write!(out, " {}", response.status).expect("written to a String");
            if response.body != body::empty(true) {
                write!(out, " [{}]", text(&response.body)).expect("written to a String");
            }
            if response.events > 0 {
                write!(out, " {} events", response.events).expect("written to a String");
            }
        }
        for reason in &exchange.incomplete {
            write!(out, " !{reason}").expect("written to a String");
        }
        for anomaly in &exchange.anomalies {
            write!(out, " ~{}", anomaly.name()).expect("written to a String");
        }
        out.push('\n');
    }
    for event in events {
        if let HttpEvent::Anomaly { anomaly, bytes, dir, .. } = event {
            writeln!(out, "{} {} {bytes}", dir.name(), anomaly.name()).expect("written to a String");
        }
    }
    out
}

/// All ways to cut each piece in two, and one byte at a time. A long piece is cut near its ends and in steps in between.
fn cuts(said: &[Said]) -> Vec<Vec<Said>> {
    let mut all = Vec::new();
    let bytewise = said.iter().flat_map(|said| match said {
        Said::Bytes(dir, bytes) => bytes.iter().map(|byte| Said::Bytes(*dir, vec![*byte])).collect(),
        other => vec![other.clone()],
    });
    all.push(bytewise.collect());
    for (position, one) in said.iter().enumerate() {
        let Said::Bytes(dir, bytes) = one else { continue };
        let step = (bytes.len() / 2000).max(1);
        for cut in (1..bytes.len()).step_by(step) {
            let mut pieces = said.to_vec();
            let halves = [Said::Bytes(*dir, bytes[..cut].to_vec()), Said::Bytes(*dir, bytes[cut..].to_vec())];
            pieces.splice(position..=position, halves);
            all.push(pieces);
        }
    }
    all
}

#[track_caller]
fn check(said: &[Said], expected: &str) {
    let events = run(said);
    assert_eq!(shown(&events), expected, "{said:#?}");
    let done = exchanges(&events);
    for cut in cuts(said) {
        let events = run(&cut);
        assert_eq!(shown(&events), expected, "cut: {cut:#?}");
        assert_eq!(exchanges(&events), done);
    }
}

const GET: &str = "GET /a HTTP/1.1\r\nHost: a.example\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn framings_of_responses() {
    for (response, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "200 [hello]"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "200"),
        ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "200"),
        ("HTTP/1.0 200 OK\r\n\r\nuntil the end", "200 [until the end]"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n", "200 [hello world]"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\nA\r\n0123456789\r\n000\r\nX-Sum: 1\r\n\r\n", "200 [0123456789]"),
        ("HTTP/1.1 204 No Content\r\n\r\n", "204"),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", "304"),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
            "200 [x]",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", "200 [hel…] !response_cut"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "200 [hello…] !response_cut"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nxyz\r\n0\r\n\r\n", "200 [xyz…] !content_undecodable"),
    ] {
        check(&[c(GET), s(response), Said::Close], &format!("1: GET a.example/a {expected}\n"));
    }
    check(&[c(GET), s("HTTP/1.0 200 OK\r\n\r\nno close")], "1: GET a.example/a 200 [no close…] !response_cut\n");
    check(
        &[c("HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n"), s("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), c(GET), s(OK)],
        "1: HEAD a/a 200\n2: GET a.example/a 200 [ok]\n",
    );
}

#[test]
fn framings_of_requests() {
    for (request, expected) in [
        ("POST /a?b=c HTTP/1.1\r\nHost: A.example:443\r\nContent-Length: 2\r\n\r\nhi", "POST a.example/a?b=c [hi]"),
        ("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", "POST a/a [hi]"),
        ("\r\n\r\nPOST /a HTTP/1.1\r\nHost: a:8443\r\nContent-Length: 0\r\n\r\n", "POST a:8443/a"),
        ("DELETE /a HTTP/1.0\r\n\r\n", "DELETE sni.example/a"),
        ("GET http://b.example/c?d HTTP/1.1\r\nHost: b.example\r\n\r\n", "GET b.example/c?d"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS a*"),
        ("PURGE /a HTTP/1.1\r\nHost: a\r\nAccept:\r\n\r\n", "PURGE a/a"),
    ] {
        check(&[c(request), s(OK), Said::Close], &format!("1: {expected} 200 [ok]\n"));
    }
    check(&[c(GET)], "1: GET a.example/a !response_missing\n");
    check(
        &[c("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc"), Said::Close],
        "1: POST a/ [abc…] !request_cut !response_missing\n",
    );
    check(&[c("GET / HTT"), Said::Close], "out protocol.unknown 9\n");
}

#[test]
fn pairs() {
    check(&[c([GET, GET].concat()), s([OK, OK].concat())], "1: GET a.example/a 200 [ok]\n2: GET a.example/a 200 [ok]\n");
    check(&[s(GET), c(OK)], "1: GET a.example/a 200 [ok]\n");
    // The answer comes before the request is whole.
    check(
        &[
            c("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab"),
            s("HTTP/1.1 413 Big\r\nContent-Length: 0\r\n\r\n"),
            c("cd"),
            c(GET),
            s(OK),
        ],
        "1: POST a/ [abcd] 413\n2: GET a.example/a 200 [ok]\n",
    );
    check(&[s(OK), c(GET), s(OK)], "1: 200 [ok] !request_missing\n2: GET a.example/a 200 [ok]\n");
}

#[test]
fn two_readers_may_disagree() {
    let request = |fields: &str, body: &str| format!("POST /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}");
    for (fields, body, expected) in [
        (
            "Content-Length: 3\r\nTransfer-Encoding: chunked",
            "2\r\nhi\r\n0\r\n\r\n",
            "[hi] 200 [ok] ~http1.ambiguous_length_and_chunked ~http1.other_reading:request_length=3",
        ),
        ("Content-Length: 2\r\nContent-Length: 2", "hi", "[hi] 200 [ok] ~http1.ambiguous_duplicate_length"),
        (
            "Content-Length: 2\r\nContent-Length: 7",
            "hi",
            "[hi] 200 [ok] ~http1.ambiguous_conflicting_length ~http1.other_reading:request_length=7",
        ),
        ("Content-Type: application/json\r\nContent-Length: 0", "", "200 [ok] ~json.empty"),
        ("Content-Length: 2, 2", "hi", "[hi] 200 [ok] ~http1.ambiguous_duplicate_length"),
        ("Content-Length: +2", "hi", "[hi] 200 [ok] ~http1.ambiguous_length_value"),
        ("Content-Length: 0x2", "", "200 [ok] ~http1.ambiguous_length_value"),
        ("Content-Length: 99999999999999999999", "", "200 [ok] ~http1.ambiguous_length_value"),
        ("Content-Length : 2", "hi", "[hi] 200 [ok] ~http1.ambiguous_space_before_colon"),
        ("Transfer-Encoding: xchunked", "", "200 [ok] ~http1.ambiguous_transfer_encoding"),
        ("Transfer-Encoding: chunked, identity", "0\r\n\r\n", "200 [ok] ~http1.ambiguous_transfer_encoding"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n", "200 [ok] ~http1.ambiguous_transfer_encoding"),
        ("X: a\r\n b\r\nContent-Length: 2", "hi", "[hi] 200 [ok] ~http1.ambiguous_obs_fold"),
        ("X: a\nContent-Length: 2", "hi", "[hi] 200 [ok] ~http1.ambiguous_bare_lf"),
        ("X: a\0b\r\nContent-Length: 2", "hi", "[hi] 200 [ok] ~http1.ambiguous_field_value"),
        ("X\x0b: a\r\nContent-Length: 2", "hi", "[hi] 200 [ok] ~http1.ambiguous_field_name"),
        ("no colon\r\nContent-Length: 2", "hi", "[hi] 200 [ok] ~http1.ambiguous_field_line"),
        ("X:\rTransfer-Encoding: chunked", "", "200 [ok] ~http1.ambiguous_field_value"),
        ("X: a\x0c", "", "200 [ok] ~http1.ambiguous_field_value"),
        ("Transfer-Encoding: \x0bchunked", "", "200 [ok] ~http1.ambiguous_field_value ~http1.ambiguous_transfer_encoding"),
        ("Host: b", "", "200 [ok] ~http1.ambiguous_host"),
        ("Transfer-Encoding: chunked", "0x2\r\nhi\r\n0\r\n\r\n", "[hi] 200 [ok] ~http1.ambiguous_chunk_size"),
        ("Transfer-Encoding: chunked", "2 \r\nhi\r\n0\r\n\r\n", "[hi] 200 [ok] ~http1.ambiguous_chunk_size"),
        ("Transfer-Encoding: chunked", "2 ; x\r\nhi\r\n0\r\n\r\n", "[hi] 200 [ok]"),
        ("Transfer-Encoding: chunked", "2;a=\"b;c\";d = e\r\nhi\r\n0\r\n\r\n", "[hi] 200 [ok]"),
        ("Transfer-Encoding: chunked", "2;a=\"b\r\nhi\r\n0\r\n\r\n", "[hi] 200 [ok] ~http1.ambiguous_chunk_extension"),
        ("Transfer-Encoding: chunked", "2\nhi\r\n0\r\n\r\n", "[hi] 200 [ok] ~http1.ambiguous_chunk_line_end"),
        ("Transfer-Encoding: chunked", "2\r\nhi\n0\r\n\r\n", "[hi] 200 [ok] ~http1.ambiguous_chunk_line_end"),
        ("Transfer-Encoding: chunked", "0\r\nContent-Length: 4\r\n\r\n", "200 [ok] ~http1.ambiguous_trailer"),
        ("Transfer-Encoding: chunked", "2\r\nhi!\r\n", "[hi…] 200 [ok] !request_cut ~http1.malformed_chunk"),
        (
            "Transfer-Encoding: chunked",
            "zz\r\nhi",
            "[…] 200 [ok] !request_cut ~http1.ambiguous_chunk_size ~http1.malformed_chunk",
        ),
    ] {
        let events = shown(&run(&[c(request(fields, body)), s(OK)]));
        assert_eq!(events.lines().next(), Some(format!("1: POST a/a {expected}").as_str()), "{fields:?} {body:?}");
        check(&[c(request(fields, body)), s(OK)], &events);
    }
    for (response, expected) in [
        ("HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\n", "204 ~http1.ambiguous_length_without_body"),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "200 ~http1.ambiguous_chunked_in_http10"),
        ("HTTP/1.1 200 OK\nContent-Length: 1\n\nx", "200 [x] ~http1.ambiguous_bare_lf"),
        ("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nrest", "200 [rest] ~http1.ambiguous_length_value"),
        ("HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n", "200 ~http1.ambiguous_start_line"),
        ("HTTP/1.7 200 OK\r\nContent-Length: 0\r\n\r\n", "200 ~http1.ambiguous_version"),
    ] {
        check(&[c(GET), s(response), Said::Close], &format!("1: GET a.example/a {expected}\n"));
    }
    check(&[c("GET  /a b HTTP/1.1\r\nHost: a\r\n\r\n"), s(OK)], "1: GET a/a b 200 [ok] ~http1.ambiguous_start_line\n");
    check(&[c("GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"), s(OK)], "1: GET b/ 200 [ok] ~http1.ambiguous_host\n");
    check(&[c("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n"), s(OK)], "1: GET a/\u{e9} 200 [ok] ~http1.ambiguous_start_line\n");
}

/// RFC 9112 section 9.3: an HTTP/1.0 message is the last of its direction unless it says `keep-alive`.
#[test]
fn http10_ends_with_its_message() {
    let old = "GET /a HTTP/1.0\r\nHost: a.example\r\n\r\n";
    let kept = "GET /a HTTP/1.0\r\nHost: a.example\r\nConnection: Keep-Alive\r\n\r\n";
    check(
        &[c(old), s(OK), c(GET), s(OK)],
        "1: GET a.example/a 200 [ok]\n2: GET a.example/a 200 [ok] ~http1.ambiguous_after_close\n",
    );
    check(&[c(kept), s(OK), c(GET), s(OK)], "1: GET a.example/a 200 [ok]\n2: GET a.example/a 200 [ok]\n");
}

#[test]
fn other_protocols_take_over() {
    let upgrade = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n";
    let switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: foo\r\n\r\n";
    check(
        &[c(upgrade), s([switching, "\x01\x02"].concat()), c("\x03"), Said::Close],
        "1: GET a/ws 101\nout protocol.unknown 1\nin protocol.unknown 2\n",
    );
    let h2c = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nContent-Length: 4\r\n\r\n";
    check(
        &[c(GET), s([h2c, "body"].concat()), Said::Close],
        "1: GET a.example/a 101 ~http1.ambiguous_switch\nin protocol.unknown 4\n",
    );
    check(&[c([upgrade, GET].concat()), s([OK, OK].concat())], "1: GET a/ws 200 [ok]\n2: GET a.example/a 200 [ok]\n");
    let connect = "CONNECT b.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\n";
    check(&[c(connect), s("HTTP/1.1 200 OK\r\n\r\n"), c(GET), s(OK)], "1: CONNECT b.example 200\n2: GET a.example/a 200 [ok]\n");
    check(
        &[c(connect), s("HTTP/1.1 403 No\r\nContent-Length: 1\r\n\r\nx"), c(GET), s(OK)],
        "1: CONNECT b.example 403 [x]\n2: GET a.example/a 200 [ok]\n",
    );
}

#[test]
fn holes() {
    let post = |length: usize| format!("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
    let out = |missing| Said::Gap(Direction::Out, missing);
    let into = |missing| Said::Gap(Direction::In, missing);
    let next = "2: GET a.example/a 200 [ok]\n";
    // Inside a body of known length only that body suffers.
    check(
        &[c(post(6) + "ab"), out(Some(2)), c("ef"), c(GET), s([OK, OK].concat())],
        &format!("1: POST a/a [ab…] 200 [ok] !gap:ring_full\n{next}"),
    );
    check(
        &[c(post(4) + "ab"), out(Some(2)), c(GET), s([OK, OK].concat())],
        &format!("1: POST a/a [ab…] 200 [ok] !gap:ring_full\n{next}"),
    );
    check(
        &[
            c(GET),
            s("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na"),
            into(Some(2)),
            s("d\r\n0\r\n\r\n"),
            c(GET),
            s(OK),
        ],
        &format!("1: GET a.example/a 200 [a…] !gap:ring_full\n{next}"),
    );
    // The hole goes beyond the body, or nobody knows how far: the next turn begins with a message.
    check(
        &[c(post(4) + "ab"), out(None), c("whatever"), s(OK), c(GET), s(OK)],
        &format!("1: POST a/a [ab…] 200 [ok] !gap:ring_full\n{next}out http1.lost_bytes 8\n"),
    );
    check(
        &[c(post(4) + "ab"), out(Some(9)), c("x}"), c(GET), s([OK, OK].concat())],
        &format!("1: POST a/a [ab…] 200 [ok] !gap:ring_full\n{next}out http1.lost_bytes 2\n"),
    );
    check(
        &[c(GET), s("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"), into(None), s("rest"), c(GET), s(OK)],
        &format!("1: GET a.example/a 200 [ab…] !gap:ring_full\n{next}in http1.lost_bytes 4\n"),
    );
    // A head in a hole.
    check(
        &[c(GET), into(Some(30)), s("tail"), c(GET), s(OK)],
        &format!("1: GET a.example/a !response_missing !gap:ring_full\n{next}in http1.lost_bytes 4\n"),
    );
    check(
        &[out(Some(30)), c("tail"), s(OK), c(GET), s(OK)],
        &format!("1: 200 [ok] !request_missing !gap:ring_full\n{next}out http1.lost_bytes 4\n"),
    );
    check(
        &[c("GET /a HT"), out(Some(9)), c("ple\r\n\r\n"), s(OK), c(GET), s(OK)],
        &format!("1: 200 [ok] !request_missing !gap:ring_full\n{next}out http1.lost_bytes 16\n"),
    );
    // The hole shows itself when the next response comes: that one answers the request before it, not the first without an answer.
    check(
        &[c(GET), c(GET), into(Some(40)), s(OK), c(GET), s(OK)],
        "1: GET a.example/a !response_missing !gap:ring_full\n2: GET a.example/a 200 [ok] ~http1.ambiguous_pairing\n\
         3: GET a.example/a 200 [ok]\n",
    );
    // Until the close a hole changes nothing but the body.
    check(
        &[c(GET), s("HTTP/1.0 200 OK\r\n\r\nab"), into(None), s("cd"), Said::Close],
        "1: GET a.example/a 200 [ab…] !gap:ring_full\n",
    );
}

#[test]
fn joined_in_the_middle() {
    check(&[s("tail of a body"), c(GET), s(OK)], "1: GET a.example/a 200 [ok]\nin http1.lost_bytes 14\n");
    check(
        &[c("tail}"), s(OK), c(GET), s(OK)],
        "1: 200 [ok] !request_missing\n2: GET a.example/a 200 [ok]\nout http1.lost_bytes 5\n",
    );
    // Words of a body, or the end of a method, are no request line.
    check(
        &[c("pay me now GET /b HTTP/1.1\r\nHost: b\r\n\r\n"), s(OK), c(GET), s(OK)],
        "1: GET b/b 200 [ok]\n2: GET a.example/a 200 [ok]\nout http1.lost_bytes 11\n",
    );
    check(
        &[c("EAD /b HTTP/1.1\r\nHost: b\r\n\r\n"), s("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), c(GET), s(OK)],
        "1: 200 […] !request_missing !response_cut\n2: GET a.example/a 200 [ok]\nout http1.lost_bytes 28\n",
    );
    // A body that quotes a request is no request.
    check(
        &[c("see\nGET /quoted HTTP/1.1\r\nHost: a\r\n\r\nbye"), s(OK), c(GET), s(OK)],
        "1: 200 [ok] !request_missing\n2: GET a.example/a 200 [ok]\nout http1.lost_bytes 40\n",
    );
}

#[test]
fn not_http() {
    check(&[c("\x16\x03\x01\x02"), s("SSH-2.0-x\r\n"), Said::Close], "out protocol.unknown 4\nin protocol.unknown 11\n");
    check(&[c("HELO there\r\n"), Said::Close], "out protocol.unknown 12\n");
}

#[test]
fn server_sent_events_arrive_one_by_one() {
    let response = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
    let said = [c(GET), s([response, "9\r\ndata: a\n\n\r\n"].concat()), s("10\r\nevent: b\ndata:c\n\r\n1\r\n\n\r\n0\r\n\r\n")];
    let events = run(&said);
    let frames: Vec<&Frame> =
        events.iter().filter_map(|event| if let HttpEvent::Frame { frame, .. } = event { Some(frame) } else { None }).collect();
    let sse = |event: &str, data: &str| Frame::Sse {
        event: (!event.is_empty()).then(|| event.into()),
        data: Sensitive::new(Bytes::copy_from_slice(data.as_bytes())),
        id: None,
    };
    assert_eq!(frames, [&sse("", "a"), &sse("b", "c")]);
    check(&said, "1: GET a.example/a 200 [data: a\n\nevent: b\ndata:c\n\n] 2 events\n");
}

#[test]
fn head_bytes_at_the_edge() {
    let request = |size: usize| {
        let start = "GET /a HTTP/1.1\r\nHost: a\r\nX: ";
        format!("{start}{}\r\n\r\n", "x".repeat(size - start.len() - 4))
    };
    assert_eq!(shown(&run(&[c(request(HEAD_BYTES)), s(OK)])), "1: GET a/a 200 [ok]\n");
    let over = format!(
        "1: GET a/a […] 200 [ok] !headers_unknown !request_cut ~limit.head_bytes\nout http1.lost_bytes {}\n",
        HEAD_BYTES + 1
    );
    assert_eq!(shown(&run(&[c(request(HEAD_BYTES + 1)), s(OK)])), over);
}

#[test]
fn fields_at_the_edge() {
    let request = |count: usize| format!("GET /a HTTP/1.1\r\n{}Host: a\r\n\r\n", "X: y\r\n".repeat(count - 1));
    assert_eq!(shown(&run(&[c(request(HEAD_FIELDS)), s(OK)])), "1: GET a/a 200 [ok]\n");
    let shown = shown(&run(&[c(request(HEAD_FIELDS + 1)), s(OK)]));
    assert_eq!(shown, "1: GET sni.example/a 200 [ok] !headers_unknown ~limit.head_fields\n");
}

#[test]
fn open_exchanges_at_the_edge() {
    let events = run(&[c(GET.repeat(OPEN_EXCHANGES)), s(OK.repeat(OPEN_EXCHANGES))]);
    assert_eq!(exchanges(&events).iter().filter(|exchange| exchange.incomplete.is_empty()).count(), OPEN_EXCHANGES);
    let events = run(&[c(GET.repeat(OPEN_EXCHANGES + 1))]);
    let evicted = exchanges(&events);
    assert!(evicted.iter().all(|exchange| exchange.anomalies == [LIMIT_EXCHANGES]), "{}", shown(&events));
    assert_eq!(evicted.len(), OPEN_EXCHANGES);
}
