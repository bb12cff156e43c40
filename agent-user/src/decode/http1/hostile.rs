//! Streams that want our memory or time, each beside a neighbour that must not notice.

use std::io::Write;

use crate::base::limits::{BODY_KEPT, CHUNK_LINE, EXPANSION_FREE, HEAD_BYTES, INTERIM_ANSWERS};
use crate::base::{ConnId, FlowId, ProcessKey, Sensitive};
use crate::capture::Source;
use crate::decode::{Decode, Exchange, Flow, HttpEvent};
use crate::reassemble::StreamEvent;

use super::heads::{LIMIT_HEAD, LIMIT_INTERIM};
use super::*;

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn flow(id: u64) -> Arc<Flow> {
    Arc::new(Flow {
        id: FlowId(id),
        conn: ConnId(format!("c{id}").into()),
        process: ProcessKey { pid: 1, start: 0 },
        source: Source::Openssl,
        role: None,
        sni: None,
        peer: None,
        local: None,
    })
}

/// Feeds the attack in records of 16 KiB; after each, a neighbour makes an exchange of its own. Gives what was said of the attack.
fn run(pieces: &[(Direction, Vec<u8>)]) -> Vec<HttpEvent> {
    let (mut stage, mut out, mut said, mut neighbours) = (Decode::default(), Vec::new(), Vec::new(), 0);
    let (attack, mut exchanges) = (flow(1), 0);
    let push = |stage: &mut Decode, flow: &Arc<Flow>, dir, bytes: &[u8], out: &mut Vec<HttpEvent>| {
        let bytes = Sensitive::new(Bytes::copy_from_slice(bytes));
        stage.push(StreamEvent::Data { flow: flow.clone(), ts: Timestamp(1), dir, off: 0, bytes }, out);
    };
    for (dir, bytes) in pieces {
        for record in bytes.chunks(16 << 10) {
            push(&mut stage, &attack, *dir, record, &mut out);
            said.append(&mut out);
            neighbours += 1;
            let neighbour = flow(2 + neighbours % 100);
            push(&mut stage, &neighbour, Direction::Out, GET, &mut out);
            push(&mut stage, &neighbour, Direction::In, OK, &mut out);
            exchanges += out.drain(..).filter(is_whole).count() as u64;
        }
    }
    assert_eq!(exchanges, neighbours, "each exchange of a neighbour is whole");
    stage.push(StreamEvent::Closed { flow: attack, ts: Timestamp(2), evicted: false }, &mut said);
    said
}

fn is_whole(event: &HttpEvent) -> bool {
    matches!(event, HttpEvent::Done { exchange, .. }
        if exchange.incomplete.is_empty() && exchange.anomalies.is_empty()
            && exchange.response.as_ref().is_some_and(|response| response.body.kept.expose_content() == "ok"))
}

fn exchanges(said: &[HttpEvent]) -> impl Iterator<Item = &Exchange> {
    said.iter().filter_map(|event| if let HttpEvent::Done { exchange, .. } = event { Some(&**exchange) } else { None })
}

#[track_caller]
fn check(name: &str, pieces: &[(Direction, Vec<u8>)], limit: &str) {
    let said = run(pieces);
    let in_exchange = exchanges(&said).any(|exchange| exchange.anomalies.iter().any(|anomaly| anomaly.name() == limit));
    let outside = said.iter().any(|event| matches!(event, HttpEvent::Anomaly { anomaly, .. } if anomaly.name() == limit));
    assert!(in_exchange || outside, "{name}: {limit} is not said");
    let kept: usize =
        exchanges(&said).filter_map(|exchange| Some(exchange.response.as_ref()?.body.kept.expose_content().len())).sum();
    assert!(kept <= BODY_KEPT, "{name} keeps {kept} bytes");
}

fn answer(fields: &str, body: &[u8]) -> Vec<(Direction, Vec<u8>)> {
    let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n").into_bytes();
    vec![(Direction::Out, GET.to_vec()), (Direction::In, [&head, body].concat())]
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).and_then(|()| encoder.finish()).expect("writing to memory works")
}

#[test]
fn limits_are_named_and_neighbours_do_not_notice() {
    let fields = |count: usize| {
        let fields: Vec<String> = (0..count).map(|number| format!("X-{number}: y\r\n")).collect();
        format!("GET /a HTTP/1.1\r\n{}\r\n", fields.concat()).into_bytes()
    };
    let request = |bytes: Vec<u8>| vec![(Direction::Out, bytes)];
    check(
        "a field without end",
        &request([b"GET /a HTTP/1.1\r\nX: ", &vec![b'x'; 4 * HEAD_BYTES][..]].concat()),
        "limit.head_bytes",
    );
    check("a target without end", &request([b"GET /", &vec![b'x'; 4 * HEAD_BYTES][..]].concat()), "protocol.unknown");
    check("many fields", &request(fields(1000)), "limit.head_fields");
    check("no end of fields", &request(fields(100_000)), "limit.head_bytes");
    check("requests without answers", &request(GET.repeat(20_000)), "limit.open_exchanges");
    let extension = format!("1;{}\r\nx\r\n", "x".repeat(CHUNK_LINE));
    check("chunk extensions", &answer("Transfer-Encoding: chunked", extension.repeat(300).as_bytes()), "limit.chunk_extension");
    check("a chunk size without end", &answer("Transfer-Encoding: chunked", &vec![b'0'; 1 << 20]), "limit.chunk_extension");
    let trailers = format!("0\r\n{}", "X: y\r\n".repeat(HEAD_BYTES));
    check("trailers without end", &answer("Transfer-Encoding: chunked", trailers.as_bytes()), "limit.trailer_bytes");
    let bomb = gzip(&vec![0; 4 * usize::try_from(EXPANSION_FREE).expect("fits")]);
    check("a gzip bomb", &answer("Content-Encoding: gzip", &bomb), "limit.expansion_ratio");
    check("a bomb in a transfer coding", &answer("Transfer-Encoding: gzip", &bomb), "limit.expansion_ratio");
    check("a bomb in a bomb", &answer("Content-Encoding: gzip, gzip", &gzip(&bomb)), "limit.expansion_ratio");
    let zstd = zstd::encode_all(&vec![0; 4 * usize::try_from(EXPANSION_FREE).expect("fits")][..], 3).expect("works");
    check("a zstd bomb", &answer("Content-Encoding: zstd", &zstd), "limit.expansion_ratio");
    check(
        "ten codings",
        &answer("Content-Encoding: gzip, gzip, gzip, gzip, gzip, gzip, gzip, gzip, gzip, gzip", b"x"),
        "limit.content_layers",
    );
    let line = [&b"data: "[..], &vec![b'x'; 2 << 20]].concat();
    check("a line of events without end", &answer("Content-Type: text/event-stream", &line), "limit.sse_event");
    check(
        "an event without end",
        &answer("Content-Type: text/event-stream", &b"data: xxxxxxxxxxxx\n".repeat(100_000)),
        "limit.sse_event",
    );
    let said = run(&answer("X: y", &vec![b'x'; BODY_KEPT + 1]));
    let last = exchanges(&said).next().expect("one exchange");
    assert_eq!(last.response.as_ref().map(|response| response.body.len), Some(BODY_KEPT as u64 + 1));
    assert_eq!(last.incomplete, [Incomplete::BODY_OVER_LIMIT]);
    assert_eq!(last.anomalies, [crate::decode::body::LIMIT_BODY]);
}

#[test]
fn an_answer_whose_head_never_ends() {
    let head = [&b"HTTP/1.1 200 OK\r\n"[..], &b"A: b\r\n".repeat(HEAD_BYTES / 6)].concat();
    let said = run(&[(Direction::Out, GET.to_vec()), (Direction::In, head)]);
    let [exchange] = exchanges(&said).collect::<Vec<_>>()[..] else { panic!("one exchange, not {said:?}") };
    assert_eq!(exchange.response.as_ref().map(|response| response.status), Some(200));
    assert_eq!(exchange.incomplete, [Incomplete::HEADERS_UNKNOWN, Incomplete::RESPONSE_CUT]);
    assert!(exchange.anomalies.contains(&LIMIT_HEAD));
}

#[test]
fn interim_answers_at_the_edge() {
    let named = |count: usize| {
        let answers = [&b"HTTP/1.1 103 Early\r\n\r\n".repeat(count), OK].concat();
        let said = run(&[(Direction::Out, GET.to_vec()), (Direction::In, answers)]);
        exchanges(&said).flat_map(|exchange| exchange.anomalies.clone()).collect::<Vec<_>>()
    };
    assert_eq!(named(INTERIM_ANSWERS), []);
    assert_eq!(named(INTERIM_ANSWERS + 1), [LIMIT_INTERIM]);
}

#[test]
fn the_fourth_bomb_is_not_opened() {
    let bomb = gzip(&vec![0; 2 * usize::try_from(EXPANSION_FREE).expect("fits")]);
    let one = answer(&format!("Content-Encoding: gzip\r\nContent-Length: {}", bomb.len()), &bomb);
    let said = run(&[one.clone(), one.clone(), one.clone(), one].concat());
    let limits: Vec<&str> = exchanges(&said).flat_map(|exchange| exchange.anomalies.iter().map(Anomaly::name)).collect();
    assert_eq!(limits, ["limit.expansion_ratio", "limit.expansion_ratio", "limit.expansion_ratio", "limit.bombs"]);
}
