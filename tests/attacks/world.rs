//! One attacker, a hundred neighbours, the whole pipeline.

use std::collections::BTreeSet;
use std::sync::Arc;

use agentward::base::{ConnId, Direction, Sensitive, Timestamp};
use agentward::capture::{Chunk, Observation, Seen, Source};
use agentward::decide::RuleSet;
use agentward::pipeline::{Output, Pipeline};
use bytes::Bytes;

pub use Direction::{In, Out};

pub const NEIGHBOURS: usize = 100;

/// What an attacker sends at once.
pub type Piece = (Direction, Vec<u8>);

pub struct Attack {
    pub name: &'static str,
    /// The anomaly or the reason that must be named.
    pub limit: &'static str,
    pub source: Source,
    pub pieces: Box<dyn Iterator<Item = Piece>>,
}

pub fn attack(name: &'static str, limit: &'static str, pieces: impl Iterator<Item = Piece> + 'static) -> Attack {
    Attack { name, limit, source: Source::Openssl, pieces: Box::new(pieces) }
}

/// One piece.
pub fn say<B: AsRef<[u8]>>(dir: Direction, bytes: B) -> std::iter::Once<Piece> {
    std::iter::once((dir, bytes.as_ref().to_vec()))
}

/// The same piece again and again; pieces are gathered to the size of a record.
pub fn flood<B: AsRef<[u8]>>(dir: Direction, times: usize, piece: B) -> impl Iterator<Item = Piece> + use<B> {
    let piece = piece.as_ref().to_vec();
    numbered(dir, times, move |_| piece.clone())
}

/// Pieces that differ, gathered to the size of a record.
pub fn numbered(dir: Direction, times: usize, piece: impl Fn(usize) -> Vec<u8> + 'static) -> impl Iterator<Item = Piece> {
    let mut number = 0;
    std::iter::from_fn(move || {
        let mut record = Vec::with_capacity(16 << 10);
        while record.len() < 16 << 10 && number < times {
            record.extend(piece(number));
            number += 1;
        }
        (!record.is_empty()).then_some((dir, record))
    })
}

#[derive(Default)]
pub struct Told {
    pub limit: &'static str,
    pub named: bool,
    pub said: BTreeSet<String>,
    pub sent: u64,
    pub growth: u64,
    pub panics: usize,
    /// Exchanges that the neighbours made, and those that were seen whole.
    pub made: usize,
    pub whole: usize,
}

const QUESTION: &str = r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#;
const ANSWER: &str = r#"{"choices":[{"message":{"role":"assistant","content":"hello yourself"}}]}"#;

/// Feeds the attack; between its pieces neighbours make exchanges of their own.
pub fn run(attack: Attack) -> Told {
    let mut told = Told { limit: attack.limit, ..Told::default() };
    let mut world = World { pipeline: Pipeline::new(Arc::new(RuleSet::default())), out: Vec::new(), now: 1 };
    forget_peak();
    let before = memory("VmRSS:");
    let mut neighbours = 0;
    for (number, (dir, bytes)) in attack.pieces.enumerate() {
        told.sent += bytes.len() as u64;
        world.push("attacker", attack.source, dir, bytes);
        if number < NEIGHBOURS || number.is_multiple_of(16) {
            world.exchange(neighbours % NEIGHBOURS);
            neighbours += 1;
        }
        world.judge(&mut told);
    }
    while neighbours < NEIGHBOURS {
        world.exchange(neighbours);
        neighbours += 1;
    }
    world.pipeline.push(world.at(Seen::Close { pid: 7, conn: ConnId("attacker".into()) }), &mut world.out);
    world.pipeline.finish(&mut world.out);
    world.judge(&mut told);
    told.growth = memory("VmHWM:").saturating_sub(before);
    told.made = neighbours;
    told.named = told.said.contains(told.limit);
    told
}

struct World {
    pipeline: Pipeline,
    out: Vec<Output>,
    now: u64,
}

impl World {
    fn at(&self, what: Seen) -> Observation {
        Observation { ts: Timestamp(1_790_000_000_000_000_000 + self.now * 1000), what }
    }

    fn push(&mut self, conn: &str, source: Source, dir: Direction, bytes: Vec<u8>) {
        self.now += 1;
        let chunk = Chunk {
            pid: 7,
            tid: None,
            conn: ConnId(conn.into()),
            dir,
            off: None,
            data: Sensitive::new(Bytes::from(bytes)),
            source,
            sni: None,
            peer: None,
            local: None,
            role: None,
        };
        self.pipeline.push(self.at(Seen::Chunk(chunk)), &mut self.out);
    }

    fn exchange(&mut self, number: usize) {
        let conn = format!("n{number}");
        let head = "Content-Type: application/json\r\nContent-Length:";
        let question = format!("POST /v1/chat/completions HTTP/1.1\r\nHost: llm\r\n{head} {}\r\n\r\n{QUESTION}", QUESTION.len());
        let answer = format!("HTTP/1.1 200 OK\r\n{head} {}\r\n\r\n{ANSWER}", ANSWER.len());
        self.push(&conn, Source::Openssl, Out, question.into());
        self.push(&conn, Source::Openssl, In, answer.into());
    }

    fn judge(&mut self, told: &mut Told) {
        for output in self.out.drain(..) {
            match output {
                Output::Exchange(exchange) if &*exchange.flow.conn.0 == "attacker" => {
                    told.said.extend(exchange.anomalies.iter().map(|anomaly| anomaly.kind().to_owned()));
                    told.said.extend(exchange.incomplete.iter().map(ToString::to_string));
                }
                Output::Exchange(exchange) => {
                    let is = |body: Option<&agentward::decode::Body>, text: &str| {
                        body.is_some_and(|body| body.complete && body.kept.expose_content() == text)
                    };
                    let whole = exchange.incomplete.is_empty()
                        && exchange.anomalies.is_empty()
                        && is(exchange.request.as_ref().map(|request| &request.body), QUESTION)
                        && is(exchange.response.as_ref().map(|response| &response.body), ANSWER);
                    told.whole += usize::from(whole);
                }
                Output::Odd { anomaly, .. } => drop(told.said.insert(anomaly.kind().to_owned())),
                Output::Message(message) => told.said.extend(message.incomplete.iter().map(ToString::to_string)),
                Output::Panicked { .. } => told.panics += 1,
                Output::Step(_) | Output::Workflow(_) | Output::Alert(_) => {}
            }
        }
    }
}

/// Bytes, from what the kernel says of this process.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the kernel says so");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib << 10
}

/// The peak of resident memory counts from here (proc(5): 5 to `clear_refs`).
fn forget_peak() {
    std::fs::write("/proc/self/clear_refs", "5").expect("one's own peak can be reset");
}
