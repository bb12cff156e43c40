//! `cargo xtask bench understand`: what it costs to turn messages into actions and steps, on one core.
//!
//! Three figures: actions a second with what a step costs, the state of an open workflow with many of them open, and the cost of one
//! more turn when the history behind it grows. Decoding is done before the clock starts.

use agent_tests::clock::spent;
use agentward::base::{ConnId, Direction, Sensitive, Timestamp};
use agentward::capture::{Chunk, Observation, Role, Seen, Source};
use agentward::correlate::{Correlate, Correlated};
use agentward::decode::{Decode, HttpEvent};
use agentward::reassemble::Reassemble;
use agentward::understand::Understand;
use bytes::Bytes;
use serde_json::{Value, json};

/// Open at once in the second part, as many as the stage keeps.
const OPEN: usize = 100_000;

fn main() {
    throughput();
    state();
    history();
}

/// Bytes that the process holds.
fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    text.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok()).expect("as the kernel documents it") * 4096.0
}

#[derive(Default)]
struct Decoder {
    reassemble: Reassemble,
    decode: Decode,
    now: u64,
}

impl Decoder {
    fn exchange(&mut self, conn: &str, pid: u32, host: &str, path: &str, asked: &Value, answered: &Value) -> Vec<HttpEvent> {
        let (asked, answered) = (asked.to_string(), answered.to_string());
        let kind = "content-type: application/json\r\ncontent-length:";
        let request = format!("POST {path} HTTP/1.1\r\nhost: {host}\r\n{kind} {}\r\n\r\n{asked}", asked.len());
        let response = format!("HTTP/1.1 200 OK\r\n{kind} {}\r\n\r\n{answered}", answered.len());
        let mut events = Vec::new();
        for (dir, text) in [(Direction::Out, request), (Direction::In, response)] {
            let what = Seen::Chunk(Chunk {
                pid,
                tid: None,
                conn: ConnId(conn.into()),
                dir,
                off: None,
                data: Sensitive::new(Bytes::from(text)),
                source: Source::Openssl,
                sni: None,
                peer: None,
                local: None,
                role: Some(Role::Client),
            });
            self.see(what, &mut events);
        }
        self.see(Seen::Close { pid, conn: ConnId(conn.into()) }, &mut events);
        events
    }

    fn see(&mut self, what: Seen, events: &mut Vec<HttpEvent>) {
        self.now += 1_000;
        let mut streams = Vec::new();
        self.reassemble.push(Observation { ts: Timestamp(1_790_000_000_000_000_000 + self.now), what }, &mut streams);
        streams.into_iter().for_each(|event| self.decode.push(event, events));
    }
}

#[derive(Default)]
struct Meaning {
    understand: Understand,
    correlate: Correlate,
}

impl Meaning {
    fn push(&mut self, events: Vec<HttpEvent>) -> usize {
        let (mut drafts, mut out) = (Vec::new(), Vec::new());
        events.into_iter().for_each(|event| self.understand.push(event, &mut drafts));
        drafts.into_iter().for_each(|draft| self.correlate.push(draft, &mut out));
        out.iter().filter(|one| matches!(one, Correlated::Step(step) if step.completed)).count()
    }
}

/// One turn of an agent: the model's call with its history, and the shop call that follows.
fn turn(decoder: &mut Decoder, number: usize, round: usize, history: &mut Vec<Value>) -> [Vec<HttpEvent>; 2] {
    let order = (number * 100 + round).to_string();
    let call = json!({"id": format!("call_{order}"), "type": "function",
        "function": {"name": "refund_order", "arguments": json!({"order_id": order, "amount": 25}).to_string()}});
    let message = json!({"role": "assistant", "content": null, "tool_calls": [call]});
    let answer = json!({"id": format!("r{order}"), "model": "gpt-5", "usage": {"prompt_tokens": 9, "completion_tokens": 9},
        "choices": [{"index": 0, "finish_reason": "tool_calls", "message": message}]});
    let pid = 1000 + number as u32 % 200;
    let asked = json!({"model": "gpt-5", "messages": history});
    let model = decoder.exchange(&format!("m{order}"), pid, "api.openai.com", "/v1/chat/completions", &asked, &answer);
    let path = format!("/v1/orders/{order}/refunds");
    let refund = json!({"order_id": order, "amount": 25});
    let shop =
        decoder.exchange(&format!("s{order}"), pid, "shop.example", &path, &refund, &json!({"id": order, "owner_id": "u-1"}));
    history.push(message);
    history.push(json!({"role": "tool", "tool_call_id": format!("call_{order}"),
        "content": format!("refund of order {order} is booked for the customer, who was told by mail")}));
    [model, shop]
}

fn begin(number: usize) -> Vec<Value> {
    vec![
        json!({"role": "system", "content": "You are the support agent of a shop. Refund what was bought."}),
        json!({"role": "user", "content": format!("Please refund the open orders of customer {number} and tell me when it is done.")}),
    ]
}

fn throughput() {
    let mut decoder = Decoder::default();
    let mut meaning = Meaning::default();
    let (mut actions, mut time) = (0, 0.0);
    for number in 0..2_000 {
        let mut history = begin(number);
        for round in 0..6 {
            for events in turn(&mut decoder, number, round, &mut history) {
                let started = spent();
                actions += meaning.push(events);
                time += spent() - started;
            }
        }
    }
    println!("{actions} actions, {:.0} a second on one core, {:.1} us each", actions as f64 / time, time / actions as f64 * 1e6);
}

fn state() {
    let mut decoder = Decoder::default();
    let mut meaning = Meaning::default();
    let before = resident();
    let (mut first, mut last) = (0.0, 0.0);
    for number in 0..OPEN {
        let mut history = begin(number);
        let events = turn(&mut decoder, number, 0, &mut history);
        let started = spent();
        events.into_iter().for_each(|events| {
            meaning.push(events);
        });
        let took = spent() - started;
        if number < OPEN / 10 {
            first += took;
        } else if number >= OPEN - OPEN / 10 {
            last += took;
        }
    }
    println!("{:.0} bytes of state per open workflow with {OPEN} open", (resident() - before) / OPEN as f64);
    println!("the last tenth of them took {:.2} of the time of the first tenth", last / first);
    // One more than fit: the oldest goes.
    let more = (0..OPEN / 10).map(|number| {
        let mut history = begin(OPEN + number);
        turn(&mut decoder, OPEN + number, 0, &mut history).into_iter().map(|events| meaning.push(events)).sum::<usize>()
    });
    let steps: usize = more.sum();
    println!(
        "{} more past the bound: {:.0} bytes per kept workflow, {steps} steps",
        OPEN / 10,
        (resident() - before) / OPEN as f64
    );
}

fn history() {
    println!("{:>10} {:>12} {:>14}", "messages", "us a turn", "ns a message");
    for length in [10, 100, 1_000] {
        let mut decoder = Decoder::default();
        let mut meaning = Meaning::default();
        let mut history = begin(1);
        let rounds = length / 2;
        let mut tail = 0.0;
        for round in 0..rounds {
            for events in turn(&mut decoder, 1, round, &mut history) {
                let started = spent();
                meaning.push(events);
                if round + 4 >= rounds {
                    tail += (spent() - started) / 4.0;
                }
            }
        }
        println!("{length:10} {:12.0} {:14.0}", tail * 1e6, tail * 1e9 / length as f64);
    }
}
