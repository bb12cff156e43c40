//! `cargo xtask bench policy`: the policy engine beside rsigma, the `cel` crate, Hyperscan and a bare hash map, in one run.
//!
//! Medians of interleaved rounds of CPU time on one core; ratios count, not the numbers. Arguments: how many keys for the bound of
//! memory, and names of parts to measure instead of all.

#[path = "../support/clock.rs"]
mod clock;
mod hyperscan;
mod memory;
mod sets;

use std::collections::HashMap;
use std::hint::black_box;

use agentward::base::{Timestamp, Value as Ours};
use agentward::decide::lang::{Context, evaluate};
use agentward::decide::{Decide, Event, RuleSet, pack};
use clock::spent;
use rsigma_eval::Engine;
use rsigma_eval::event::JsonEvent;
use serde_json::{Value, json};

#[global_allocator]
static COUNTED: memory::Counted = memory::Counted;

const ROUNDS: usize = 9;

fn main() {
    println!("medians of {ROUNDS} interleaved rounds, CPU time of one core");
    let parts: [(&str, fn()); 6] = [
        ("condition", condition),
        ("scaling", scaling),
        ("rivals", rivals),
        ("texts", texts),
        ("blocks", blocks),
        ("memory", memory::blocks),
    ];
    let wanted: Vec<String> = std::env::args().skip(2).collect();
    let asked = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    parts.iter().filter(|(name, _)| asked(name)).for_each(|(_, measure)| measure());
}

/// Median seconds of CPU time of each work, all of them in each round.
fn measured<const N: usize>(works: [&mut dyn FnMut(); N]) -> [f64; N] {
    medians(works.map(|work| move || timed(&mut *work)))
}

/// The same of works that say themselves how long they took.
fn medians<const N: usize>(mut works: [impl FnMut() -> f64; N]) -> [f64; N] {
    let mut times: [Vec<f64>; N] = std::array::from_fn(|_| Vec::new());
    for _ in 0..ROUNDS {
        for (work, times) in works.iter_mut().zip(&mut times) {
            times.push(work());
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    })
}

fn timed(work: impl FnOnce()) -> f64 {
    let started = spent();
    work();
    spent() - started
}

fn verdict(met: bool) -> &'static str {
    if met { "met" } else { "NOT MET" }
}

pub fn ours(value: &Value) -> Ours {
    use agentward::base::value::Number;
    match value {
        Value::Null => Ours::Null,
        Value::Bool(flag) => Ours::Bool(*flag),
        Value::Number(number) => Ours::Number(Number { text: number.to_string().into() }),
        Value::String(text) => Ours::text(text.as_str()),
        Value::Array(items) => Ours::list(items.iter().map(ours)),
        Value::Object(entries) => Ours::map(entries.iter().map(|(key, value)| (key.as_str(), ours(value)))),
    }
}

pub fn rule_set(rules: &str) -> RuleSet {
    let text = format!("[pack]\nname = \"bench\"\nversion = \"1\"\n{rules}");
    let pack = pack::read("bench.toml", &text).unwrap_or_else(|faults| panic!("{}", faults[0]));
    RuleSet::join(vec![pack]).expect("one pack joins")
}

/// Six terms over an event, as in the research: every term is evaluated, the last decides.
fn condition() {
    let text = r#"kind == "api.request" && effect in ["money", "egress"] && status < 400 && http.host.endsWith(".corp.example") && tool.name != "noop" && arg.amount > 1000"#;
    let set = rule_set(&format!("[[rule]]\nid = \"r\"\ntitle = \"t\"\nseverity = \"low\"\nwhen = '''{text}'''\n"));
    let event = ours(&json!({"kind": "api.request", "op": "x", "effect": "money", "status": 201, "http": {"host": "api.corp.example"},
        "tool": {"name": "pay"}, "arg": {"amount": 1500, "to": "x"}}));
    const TIMES: usize = 200_000;
    let program = set.programs(0)[0];
    let read = Event::given(&event);
    let slots = set.slots(&read);
    let mut warm = || {
        for _ in 0..TIMES {
            let context = Context::new(black_box(&slots), &[]);
            assert_eq!(black_box(evaluate(black_box(program), &context)), Ok(true));
        }
    };
    let mut cold = || {
        for _ in 0..TIMES {
            let read = Event::given(black_box(&event));
            let slots = set.slots(&read);
            assert_eq!(black_box(evaluate(program, &Context::new(&slots, &[]))), Ok(true));
        }
    };
    let [warm, cold] = measured([&mut warm, &mut cold]).map(|time| time / TIMES as f64 * 1e9);
    println!("\none condition of six terms");
    println!("  {warm:8.1} ns an event that other rules have read      (at most 60: {})", verdict(warm <= 60.0));
    println!("  {cold:8.1} ns with reading the fields from the event");
}

/// Passes over the events in one work: the kernel's account of CPU time is coarse.
const PASSES: usize = 25;

/// How many rules matched.
fn pass(set: &RuleSet, events: &[Ours]) -> usize {
    let mut found = Vec::new();
    events.iter().map(|event| set.matching(&Event::given(black_box(event)), &mut found)).sum()
}

fn passes(set: &RuleSet, events: &[Ours]) {
    for _ in 0..PASSES {
        black_box(pass(set, events));
    }
}

fn scaling() {
    let few = rule_set(&sets::rules(100));
    let many = rule_set(&sets::rules(5000));
    let events: Vec<Ours> = sets::events(5000).iter().map(ours).collect();
    let [one, other] = measured([&mut || passes(&few, &events), &mut || passes(&many, &events)])
        .map(|time| time / (events.len() * PASSES) as f64 * 1e9);
    println!("\nrules and cost of an event");
    println!("  {one:8.0} ns under 100 rules");
    println!("  {other:8.0} ns under 5,000 rules: {:.2} x           (at most 2: {})", other / one, verdict(other / one <= 2.0));
}

fn rivals() {
    let set = rule_set(&sets::rules(1000));
    let raw = sets::events(1000);
    let events: Vec<Ours> = raw.iter().map(ours).collect();
    let mut sigma = Engine::new();
    let collection = rsigma_parser::parse_sigma_yaml(&sets::sigma(1000)).expect("Sigma");
    assert!(collection.errors.is_empty(), "{:?}", collection.errors.first());
    sigma.add_collection(&collection).expect("rules compile");
    let sigma_events: Vec<JsonEvent> = raw.iter().map(JsonEvent::borrow).collect();
    let programs: Vec<cel::Program> =
        sets::conditions(1000).iter().map(|condition| cel::Program::compile(condition).expect("CEL")).collect();
    let contexts: Vec<cel::Context> = raw.iter().take(20).map(cel_context).collect();
    let ours_matched = pass(&set, &events);
    let sigma_matched: usize = sigma_events.iter().map(|event| sigma.evaluate(event).len()).sum();
    let [own, rsigma, cel] = measured([
        &mut || passes(&set, &events),
        &mut || {
            for _ in 0..PASSES {
                sigma_events.iter().for_each(|event| drop(black_box(sigma.evaluate(event))));
            }
        },
        &mut || {
            for context in &contexts {
                for program in &programs {
                    drop(black_box(program.execute(context)));
                }
            }
        },
    ]);
    let all = (events.len() * PASSES) as f64;
    let (own, rsigma, cel) = (own / all, rsigma / all, cel / contexts.len() as f64);
    println!("\n1,000 rules, the same conditions and events ({ours_matched} matches here, {sigma_matched} in rsigma)");
    println!("  {:10.0} events/s", 1.0 / own);
    println!("  {:10.0} events/s rsigma: {:.1} x                 (at least 20: {})", 1.0 / rsigma, rsigma / own, verdict(rsigma / own >= 20.0));
    println!("  {:10.0} events/s cel: {:.0} x                    (at least 200: {})", 1.0 / cel, cel / own, verdict(cel / own >= 200.0));
}

fn cel_context(event: &Value) -> cel::Context<'static, 'static> {
    let mut context = cel::Context::default();
    for (name, value) in event.as_object().expect("a map") {
        context.add_variable(name.as_str(), value).expect("JSON is CEL");
    }
    context
}

fn texts() {
    let words = sets::literals(1000);
    let rules: String = words
        .iter()
        .enumerate()
        .map(|(at, word)| format!("[[rule]]\nid = \"t{at}\"\ntitle = \"t\"\nseverity = \"low\"\nwhen = 'kind == \"tool.call\" && text(arg).contains(\"{word}\")'\n"))
        .collect();
    let set = rule_set(&rules);
    let raw = sets::texts();
    let events: Vec<Ours> =
        raw.iter().map(|text| ours(&json!({"kind": "tool.call", "op": "tool:post", "arg": {"text": text}}))).collect();
    let bytes: usize = raw.iter().map(String::len).sum();
    let scanner = hyperscan::Scanner::new(&words);
    let mine = pass(&set, &events);
    let theirs: usize = raw.iter().map(|text| scanner.scan(text.as_bytes())).sum();
    let [own, other] = measured([
        &mut || passes(&set, &events),
        &mut || {
            for _ in 0..PASSES {
                black_box(raw.iter().map(|text| scanner.scan(text.as_bytes())).sum::<usize>());
            }
        },
    ])
    .map(|time| time / PASSES as f64);
    println!("\n1,000 texts searched in {} KB ({mine} rules matched here, {theirs} hits in Hyperscan)", bytes / 1000);
    println!("  {:8.0} MB/s, the text of the arguments made and rules judged", bytes as f64 / own / 1e6);
    println!("  {:8.0} MB/s Hyperscan: {:.2} x of it            (at least 0.5: {})", bytes as f64 / other / 1e6, other / own, verdict(other / own >= 0.5));
}

/// Each state block beside an upsert into a hash map of the same keys.
///
/// Events are made as they are judged, a batch at a time and outside the measured time: the daemon judges a step that it has just built,
/// not one that lies in cold memory. The bare map gets its keys in the same way.
fn blocks() {
    const KEYS: usize = 50_000;
    println!("\nstate blocks, {KEYS} keys in turn, beside HashMap<String, u64> with the same keys");
    for (name, body) in sets::BLOCKS.into_iter().chain([sets::ANSWERED]) {
        let set = rule_set(&format!("[[rule]]\nid = \"b\"\ntitle = \"t\"\nseverity = \"low\"\n{body}\n"));
        let mut map: HashMap<String, u64> = HashMap::new();
        let mut decide = Decide::default();
        let mut now = 1_790_000_000_000_000_000_u64;
        let mut alerts = Vec::new();
        let mut judge = |event: &Ours| {
            now += 1000;
            decide.push_event(&set, event, Timestamp(now), &mut alerts);
            alerts.clear();
        };
        let mut upsert = |key: &String| *map.entry(black_box(key).clone()).or_insert(0) += 1;
        let works: [&mut dyn FnMut() -> f64; 2] = [
            &mut || in_batches(KEYS, |key| ours(&sets::block_event(name, key)), &mut judge),
            &mut || in_batches(KEYS, |key| format!("key-{key:08}"), &mut upsert),
        ];
        let [own, bare] = medians(works).map(|time| time / KEYS as f64 * 1e9);
        let rate = bare / own;
        println!("  {name:14} {own:7.0} ns an event, bare upsert {bare:5.0} ns: {rate:.2} x       (at least 0.3: {})", verdict(rate >= 0.3));
    }
}

/// Seconds of CPU time that the work took, without those of making what it gets.
fn in_batches<T>(count: usize, make: impl Fn(usize) -> T, mut work: impl FnMut(&T)) -> f64 {
    const BATCH: usize = 250;
    let mut seconds = 0.0;
    for first in (0..count).step_by(BATCH) {
        let made: Vec<T> = (first..count.min(first + BATCH)).map(&make).collect();
        seconds += timed(|| made.iter().for_each(&mut work));
    }
    seconds
}
