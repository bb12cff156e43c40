//! `cargo xtask bench replay`: the pure pipeline on one core, beside a bare `httparse` + `serde_json` pass over the same bytes.
//!
//! The input is made here: model calls, shop calls and event streams as an agent makes them, 2,000 connections. Then plain calls alone
//! under the built-in rules, with the line that the daemon prints of each: what a watched API client costs.

use std::sync::Arc;

use agent_tests::clock::spent;
use agentward::base::{ConnId, Direction, KeyedHash, Sensitive, Timestamp};
use agentward::capture::{Chunk, Observation, Seen, Source};
use agentward::decide::{RuleSet, builtin};
use agentward::deliver::Redactor;
use agentward::deliver::line::{self, Palette};
use agentward::pipeline::{Output, Pipeline};
use bytes::Bytes;
use serde_json::json;

const CONNECTIONS: usize = 2000;
const ROUNDS: usize = 5;

/// A request and its answer.
type Pair = (Bytes, Bytes);

fn main() {
    let pairs: Vec<Pair> = (0..CONNECTIONS).flat_map(|number| [model(number), stream(number), shop(number)]).collect();
    let bytes: usize = pairs.iter().map(|(request, answer)| request.len() + answer.len()).sum();
    let observations = observed(&pairs, 3);
    let none = Arc::new(RuleSet::default());
    println!("{} exchanges, {:.1} MB; CPU time, best of {ROUNDS} rounds, one core", pairs.len(), bytes as f64 / 1e6);
    println!("{:32} {:>10} {:>14}", "", "MB/s", "exchanges/s");
    let mut times = Vec::new();
    for (name, work) in [
        ("bare httparse + serde_json", &(|| bare(&pairs)) as &dyn Fn() -> usize),
        ("whole pipeline", &|| pipeline(&observations, &none, &mut |_| ())),
    ] {
        let best = (0..ROUNDS)
            .map(|_| {
                let started = spent();
                assert_eq!(work(), pairs.len(), "{name}: every exchange is found");
                spent() - started
            })
            .fold(f64::INFINITY, f64::min);
        println!("{name:32} {:10.1} {:14.0}", bytes as f64 / 1e6 / best, pairs.len() as f64 / best);
        times.push(best);
    }
    println!("the pipeline takes {:.2} of the bare pass's time", times[1] / times[0]);
    plain();
}

/// Pages of a server, a connection for 30 of them.
fn plain() {
    const CALLS: usize = 30;
    let pairs: Vec<Pair> = (0..CONNECTIONS * 10).map(page).collect();
    let observations = observed(&pairs, CALLS);
    let rules = Arc::new(RuleSet::join(builtin().expect("a test reads them")).expect("a test joins them"));
    let redactor = Redactor::new(KeyedHash::new([0; 16]), false);
    let best = (0..ROUNDS)
        .map(|_| {
            let started = spent();
            let exchanges = pipeline(&observations, &rules, &mut |output| {
                if let Output::Step(step) = output
                    && step.completed
                {
                    std::hint::black_box(line::step(step, &redactor, Palette::Plain));
                }
            });
            assert_eq!(exchanges, pairs.len(), "every exchange is found");
            spent() - started
        })
        .fold(f64::INFINITY, f64::min);
    println!("plain calls, built-in rules, a line each: {:.2} us an exchange", best / pairs.len() as f64 * 1e6);
}

fn page(number: usize) -> Pair {
    let head = "GET /1024 HTTP/1.1\r\nHost: localhost:8443\r\n\r\n";
    let answer = format!(
        "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Tue, 24 Nov 2026 10:00:00 GMT\r\nContent-Type: text/plain\r\n\
         Content-Length: 1024\r\nLast-Modified: Tue, 24 Nov 2026 09:00:00 GMT\r\nConnection: keep-alive\r\nETag: \"{number:x}\"\r\n\
         Accept-Ranges: bytes\r\n\r\n{}",
        "x".repeat(1024)
    );
    (Bytes::from_static(head.as_bytes()), Bytes::from(answer))
}

fn message(head: &str, kind: &str, body: &str) -> Bytes {
    Bytes::from(format!("{head}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

fn post(host: &str, path: &str, body: &serde_json::Value) -> Bytes {
    let head = format!("POST {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer sk-x\r\nuser-agent: bench");
    message(&head, "application/json", &body.to_string())
}

fn ask(number: usize, streamed: bool) -> serde_json::Value {
    let history: Vec<_> = (0..20).map(|at| json!({"role": "user", "content": format!("{number} {at} ").repeat(20)})).collect();
    json!({"model": "gpt-5", "stream": streamed, "messages": history})
}

fn model(number: usize) -> Pair {
    let call = json!({"id": format!("call_{number}"), "type": "function",
        "function": {"name": "refund_order", "arguments": json!({"order_id": number.to_string(), "amount": 25}).to_string()}});
    let answer = json!({"id": format!("c{number}"), "object": "chat.completion", "model": "gpt-5",
        "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": null, "tool_calls": [call]}}],
        "usage": {"prompt_tokens": 900, "completion_tokens": 20, "total_tokens": 920}});
    (
        post("api.openai.com", "/v1/chat/completions", &ask(number, false)),
        message("HTTP/1.1 200 OK", "application/json", &answer.to_string()),
    )
}

fn stream(number: usize) -> Pair {
    let delta = |text: &str| {
        json!({"id": format!("s{number}"), "object": "chat.completion.chunk", "model": "gpt-5",
            "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]})
    };
    let events: String = (0..50).map(|word| format!("data: {}\n\n", delta(&format!("word{word} ")))).collect();
    let answer = message("HTTP/1.1 200 OK", "text/event-stream", &format!("{events}data: [DONE]\n\n"));
    (post("api.openai.com", "/v1/chat/completions", &ask(number, true)), answer)
}

fn shop(number: usize) -> Pair {
    let path = format!("/v1/orders/{number}/refunds");
    let answer = message("HTTP/1.1 201 Created", "application/json", r#"{"refund":"r-1","status":"done"}"#);
    (post("shop.example", &path, &json!({"order_id": number.to_string(), "amount": 25})), answer)
}

/// Each connection carries so many pairs, cut as TLS records are.
fn observed(pairs: &[Pair], each: usize) -> Vec<Observation> {
    let mut out = Vec::new();
    for (number, pairs) in pairs.chunks(each).enumerate() {
        let conn = ConnId(Arc::from(format!("c{number}")));
        let mut offsets = [0; 2];
        for (request, answer) in pairs {
            for (dir, bytes) in [(Direction::Out, request), (Direction::In, answer)] {
                let offset = &mut offsets[usize::from(dir == Direction::In)];
                for at in (0..bytes.len()).step_by(16 << 10) {
                    let data = bytes.slice(at..bytes.len().min(at + (16 << 10)));
                    let length = data.len() as u64;
                    out.push(Observation {
                        ts: Timestamp(1_790_000_000_000_000_000 + out.len() as u64 * 1000),
                        what: chunk(number, &conn, dir, *offset, data),
                    });
                    *offset += length;
                }
            }
        }
        let close = Seen::Close { pid: 1000 + number as u32 % 50, conn };
        out.push(Observation { ts: Timestamp(1_790_000_000_000_000_000 + out.len() as u64 * 1000), what: close });
    }
    out
}

fn chunk(number: usize, conn: &ConnId, dir: Direction, off: u64, data: Bytes) -> Seen {
    Seen::Chunk(Chunk {
        pid: 1000 + number as u32 % 50,
        tid: None,
        conn: conn.clone(),
        dir,
        off: Some(off),
        data: Sensitive::new(data),
        source: Source::Openssl,
        sni: None,
        peer: None,
        local: None,
        role: None,
    })
}

fn pipeline(observations: &[Observation], rules: &Arc<RuleSet>, look: &mut dyn FnMut(&Output)) -> usize {
    let mut pipeline = Pipeline::new(rules.clone());
    let mut outputs = Vec::new();
    let mut exchanges = 0;
    let mut count = |outputs: &mut Vec<Output>| {
        for output in outputs.drain(..) {
            exchanges += usize::from(matches!(output, Output::Exchange(_)));
            look(&output);
        }
    };
    for observation in observations {
        pipeline.push(observation.clone(), &mut outputs);
        count(&mut outputs);
    }
    pipeline.finish(&mut outputs);
    count(&mut outputs);
    exchanges
}

/// Heads, then the JSON of each body or event: the least that anybody must do who wants to know what was said.
fn bare(pairs: &[Pair]) -> usize {
    let mut whole = 0;
    for (request, answer) in pairs {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut parsed = httparse::Request::new(&mut headers);
        let Ok(httparse::Status::Complete(body)) = parsed.parse(request) else { continue };
        let asked = serde_json::from_slice::<serde_json::Value>(&request[body..]).is_ok();
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut parsed = httparse::Response::new(&mut headers);
        let Ok(httparse::Status::Complete(body)) = parsed.parse(answer) else { continue };
        let body = &answer[body..];
        let read = match body.starts_with(b"data: ") {
            true => body
                .split(|byte| *byte == b'\n')
                .filter_map(|line| line.strip_prefix(b"data: "))
                .all(|event| event == b"[DONE]" || serde_json::from_slice::<serde_json::Value>(event).is_ok()),
            false => serde_json::from_slice::<serde_json::Value>(body).is_ok(),
        };
        whole += usize::from(asked && read);
    }
    whole
}
