//! Random expressions over random events: our language against the `cel` crate.
//!
//! What the language documents as different is marked when it is made: a difference there is explained, any other is a fault.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use agentward::base::Value as Ours;
use agentward::base::value::Number;
use agentward::decide::Event;
use agentward::decide::lang::{Compiler, Context, Paths, Set, Slots, evaluate, parse};
use serde_json::{Map, Value, json};

/// xorshift64*: the same on every machine.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or_default() % end.max(1)
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }
}

/// What a comparison of both gave.
#[derive(Debug, Default)]
pub struct Tally {
    pub same: u64,
    /// Refused by our type check: no event can make it hold, or it mixes types that a rule never means.
    pub refused: u64,
    pub explained: u64,
    /// Expression, event, ours, theirs.
    pub unexplained: Vec<String>,
    pub held: u64,
    pub absent: u64,
}

const TEXT_FIELDS: [&str; 9] =
    ["kind", "op", "effect", "user.id", "proc.name", "http.host", "tool.name", "object.id", "object.owner"];
const NUMBER_FIELDS: [&str; 4] = ["status", "step", "http.status", "proc.uid"];
const BOOL_FIELDS: [&str; 4] = ["declared", "inbound", "token.delegated", "mcp.is_error"];
const LIST_FIELDS: [&str; 4] = ["user.roles", "token.scopes", "token.act", "llm.tools"];
const OPEN: [&str; 8] = ["arg.a", "arg.b", "arg.c", "arg.list", "arg.map", "arg.map.x", "result.id", "result.rows"];
const WORDS: [&str; 10] = ["a", "admin", "api.request", "bash", "pay", "", "Ünï", "x y", "order-1", "api.corp.example"];
const GROUPS: [&str; 9] = ["user", "proc", "http", "tool", "object", "token", "mcp", "llm", "arg"];

/// A sum and its end, until it is written for one of the two: CEL's `+` also joins texts and lists, which the language leaves out, so
/// that the oracle is asked for `a - (0 - b)`, which is a sum of numbers and of nothing else.
const PLUS: char = '\u{1}';
const END: char = '\u{2}';

/// The expression as each of them writes it.
fn written(made: &str) -> (String, String) {
    let write = |plus: &str, end: &str| made.replace(PLUS, plus).replace(END, end);
    (write("+", ""), write("- (0 -", ")"))
}

struct Maker<'a> {
    random: &'a mut Random,
    variables: Vec<String>,
    /// The expression uses something in which the language differs on purpose.
    marked: bool,
}

impl Maker<'_> {
    fn truth(&mut self, depth: usize) -> String {
        if depth == 0 {
            return match self.random.below(3) {
                0 => self.random.pick(&BOOL_FIELDS).to_owned(),
                1 => self.random.pick(&["true", "false"]).to_owned(),
                _ => {
                    let (one, other) = (self.text(0), self.text(0));
                    format!("{one} == {other}")
                }
            };
        }
        let down = depth - 1;
        match self.random.below(16) {
            0..=2 => format!("({} && {})", self.truth(down), self.truth(down)),
            3..=5 => format!("({} || {})", self.truth(down), self.truth(down)),
            6 => format!("!({})", self.truth(down)),
            7 => format!("({} ? {} : {})", self.truth(down), self.truth(down), self.truth(down)),
            8 => {
                let sign = self.random.pick(&["==", "!=", "<", "<=", ">", ">="]);
                format!("{} {sign} {}", self.number(down), self.number(down))
            }
            9 => {
                let sign = self.random.pick(&["==", "!=", "<", ">="]);
                format!("{} {sign} {}", self.text(down), self.text(down))
            }
            10 => {
                let sign = self.random.pick(&["==", "!="]);
                format!("{} {sign} {}", self.anything(down), self.anything(down))
            }
            11 => format!("{} in {}", self.anything(0), self.list(down)),
            12 => {
                let function = self.random.pick(&["startsWith", "endsWith", "contains"]);
                let receiver = self.text(down);
                // `contains` of a list asks for an item; CEL has it for text only.
                self.marked |= function == "contains" && ["arg.", "result.", "v"].iter().any(|open| receiver.contains(open));
                format!("{receiver}.{function}({})", self.text(0))
            }
            13 => self.has(),
            14 => {
                let pattern = self.random.pick(&["^a", "d.*n", "[0-9]+", "(pay|bash)$", "", "Ü"]);
                format!("{}.matches(\"{pattern}\")", self.text(down))
            }
            _ => {
                let over = if self.random.one_in(3) {
                    self.random.pick(&["arg", "arg.map", "user"]).to_owned()
                } else {
                    self.list(down)
                };
                let name = format!("v{}", self.variables.len());
                let fold = self.random.pick(&["exists", "all"]);
                self.variables.push(name.clone());
                let body = self.truth(down);
                self.variables.pop();
                format!("{over}.{fold}({name}, {body})")
            }
        }
    }

    fn has(&mut self) -> String {
        let path = self.random.pick(&[
            "user.id",
            "object.id",
            "proc.name",
            "arg.a",
            "arg.b",
            "arg.zz",
            "token.act",
            "arg.map.x",
            "arg.a.y",
        ]);
        // `has(a.b.c)` with an absent `a.b` is an error in CEL and false here.
        self.marked |= path.matches('.').count() > 1;
        format!("has({path})")
    }

    fn text(&mut self, depth: usize) -> String {
        match self.random.below(6) {
            0 | 1 => self.random.pick(&TEXT_FIELDS).to_owned(),
            2 if !self.variables.is_empty() => self.variables[self.random.below(self.variables.len())].clone(),
            3 => self.random.pick(&OPEN).to_owned(),
            4 if depth > 0 => format!("({} ? {} : {})", self.truth(depth - 1), self.text(depth - 1), self.text(depth - 1)),
            _ => format!("{:?}", self.random.pick(&WORDS)),
        }
    }

    fn number(&mut self, depth: usize) -> String {
        match self.random.below(9) {
            0 | 1 => self.random.pick(&NUMBER_FIELDS).to_owned(),
            2 => self.random.pick(&OPEN).to_owned(),
            3 if depth > 0 => format!("({} {PLUS} {}{END})", self.number(depth - 1), self.number(depth - 1)),
            4 if depth > 0 => format!("({} - {})", self.number(depth - 1), self.number(depth - 1)),
            5 => format!("size({})", if self.random.one_in(2) { self.text(0) } else { self.list(0) }),
            6 => format!("-{}", self.random.below(500)),
            7 if self.random.one_in(4) => {
                // Whole and broken numbers are one type here, and two that do not add up in CEL.
                self.marked = true;
                format!("{}.5", self.random.below(300))
            }
            _ => self.random.pick(&["0", "1", "2", "200", "404", "1000"]).to_owned(),
        }
    }

    fn list(&mut self, depth: usize) -> String {
        match self.random.below(4) {
            0 | 1 => self.random.pick(&LIST_FIELDS).to_owned(),
            2 => self.random.pick(&["arg.list", "arg.a", "result.rows"]).to_owned(),
            _ => {
                let items: Vec<String> = (0..self.random.below(4)).map(|_| self.anything(depth.saturating_sub(1))).collect();
                format!("[{}]", items.join(", "))
            }
        }
    }

    fn anything(&mut self, depth: usize) -> String {
        match self.random.below(8) {
            0..=2 => self.text(depth),
            3 => self.number(depth),
            4 => self.random.pick(&OPEN).to_owned(),
            5 => format!("arg.list[{}]", self.random.below(3)),
            6 => format!("arg.map[{:?}]", self.random.pick(&["x", "y"])),
            _ => self.random.pick(&["null", "true", "false"]).to_owned(),
        }
    }
}

fn scalar(random: &mut Random) -> Value {
    match random.below(6) {
        0 => json!(random.below(3)),
        1 => json!(i64::try_from(random.below(1000)).unwrap_or_default() - 500),
        2 => json!(random.one_in(2)),
        3 if random.one_in(6) => Value::Null,
        _ => json!(random.pick(&WORDS)),
    }
}

fn event(random: &mut Random) -> Value {
    let mut event: Map<String, Value> = GROUPS.iter().map(|group| ((*group).to_owned(), json!({}))).collect();
    event.insert("result".into(), json!({}));
    let mut put = |path: &str, value: Value| {
        let (group, name) = path.split_once('.').unwrap_or(("", path));
        let map = if group.is_empty() { Some(&mut event) } else { event.get_mut(group).and_then(Value::as_object_mut) };
        map.expect("every group is there").insert(name.to_owned(), value);
    };
    for field in TEXT_FIELDS {
        if !random.one_in(4) {
            put(field, json!(random.pick(&WORDS)));
        }
    }
    for field in NUMBER_FIELDS {
        if !random.one_in(4) {
            put(field, json!(random.pick(&[0, 1, 2, 200, 404, 500])));
        }
    }
    for field in BOOL_FIELDS {
        if !random.one_in(4) {
            put(field, json!(random.one_in(2)));
        }
    }
    for field in LIST_FIELDS {
        if !random.one_in(4) {
            let items: Vec<&str> = (0..random.below(4)).map(|_| random.pick(&WORDS)).collect();
            put(field, json!(items));
        }
    }
    for name in ["arg.a", "arg.b", "arg.c", "result.id"] {
        if !random.one_in(4) {
            put(name, scalar(random));
        }
    }
    for name in ["arg.list", "result.rows"] {
        if !random.one_in(4) {
            let items: Vec<Value> = (0..random.below(4)).map(|_| scalar(random)).collect();
            put(name, Value::Array(items));
        }
    }
    if !random.one_in(4) {
        let mut map = Map::new();
        for name in ["x", "y"] {
            if !random.one_in(3) {
                map.insert(name.into(), scalar(random));
            }
        }
        put("arg.map", Value::Object(map));
    }
    Value::Object(event)
}

fn ours(value: &Value) -> Ours {
    match value {
        Value::Null => Ours::Null,
        Value::Bool(flag) => Ours::Bool(*flag),
        Value::Number(number) => Ours::Number(Number { text: number.to_string().into() }),
        Value::String(text) => Ours::text(text.as_str()),
        Value::Array(items) => Ours::list(items.iter().map(ours)),
        Value::Object(entries) => Ours::map(entries.iter().map(|(key, value)| (key.as_str(), ours(value)))),
    }
}

/// Whole numbers are `int` for the oracle: its conversion from JSON makes `uint` of those above zero, which add up with nothing.
fn theirs(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(flag) => cel::Value::Bool(*flag),
        Value::Number(number) => {
            number.as_i64().map_or_else(|| cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)), cel::Value::Int)
        }
        Value::String(text) => cel::Value::from(text.as_str()),
        Value::Array(items) => cel::Value::from(items.iter().map(theirs).collect::<Vec<cel::Value>>()),
        Value::Object(entries) => cel::Value::from(
            entries.iter().map(|(key, value)| (key.clone(), theirs(value))).collect::<HashMap<String, cel::Value>>(),
        ),
    }
}

/// Compares both on `count` expressions.
///
/// # Panics
/// When the oracle cannot take an event.
pub fn compare(seed: u64, count: u64) -> Tally {
    /// Expressions that share an event: making one for the oracle is dear.
    const SHARED: u64 = 16;
    let mut random = Random::new(seed);
    let mut tally = Tally::default();
    let lists: BTreeMap<String, Arc<Set>> = BTreeMap::new();
    let mut left = count;
    while left > 0 {
        let event = event(&mut random);
        let own_event = ours(&event);
        let mut context = cel::Context::default();
        for (name, value) in event.as_object().into_iter().flatten() {
            context.add_variable_from_value(name.as_str(), theirs(value));
        }
        for _ in 0..SHARED.min(left) {
            left -= 1;
            let depth = 1 + random.below(4);
            let mut maker = Maker { random: &mut random, variables: Vec::new(), marked: false };
            let (text, asked) = written(&maker.truth(depth));
            let marked = maker.marked;
            let Ok(parsed) = parse(&text) else {
                tally.refused += 1;
                continue;
            };
            let mut paths = Paths::default();
            let program = Compiler { paths: &mut paths, lists: &lists }.compile(&parsed);
            let own_event = Event::given(&own_event);
            let slots = Slots::new(&own_event, &paths);
            let mine = evaluate(&program, &Context::new(&slots, &[])).ok();
            let theirs = match cel::Program::compile(&asked).map(|program| program.execute(&context)) {
                Ok(Ok(cel::Value::Bool(truth))) => Some(truth),
                Ok(_) => None,
                Err(error) => {
                    tally.unexplained.push(format!("{text}: the oracle cannot parse it: {error}"));
                    continue;
                }
            };
            tally.held += u64::from(mine == Some(true));
            tally.absent += u64::from(mine.is_none());
            if mine == theirs {
                tally.same += 1;
            } else if marked {
                tally.explained += 1;
            } else {
                tally.unexplained.push(format!("{text}\n  on {event}\n  ours {mine:?}, oracle {theirs:?}"));
            }
        }
    }
    tally
}
