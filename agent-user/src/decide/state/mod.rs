//! State blocks: what a rule remembers between events, by key, in event time, bounded.
//!
//! Keys are keyed hashes of the values they are made of: a key costs the same whatever its values are, and content that chooses values
//! cannot make keys collide. The oldest unused key makes room for a new one, and that is counted.

mod flow;
mod owned;
mod window;

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use siphasher::sip128::Hasher128;

use super::event::Event;
use super::lang::{Absent, Context, Fact, Slots, evaluate};
use super::pack::{Block, Condition, Drift, Rule};
use super::ruleset::RuleSet;
use crate::base::{KeyedHash, Timestamp, Value};
use window::{Distinct, Window};

/// Times or values kept of one key.
const PER_KEY: usize = 4096;

/// An event on its way through the rules.
pub(super) struct Moment<'a> {
    pub(super) event: &'a Event<'a>,
    pub(super) slots: &'a Slots<'a>,
    /// The same event as a reader sees it that takes the first of repeated keys.
    pub(super) other: Option<&'a Slots<'a>>,
    pub(super) now: Timestamp,
    /// Seen for the first time: conditions that need no answer are judged.
    pub(super) first: bool,
    /// The answer is in, or never will be.
    pub(super) complete: bool,
    pub(super) hash: &'a KeyedHash,
}

/// What a condition says of a moment, and whether its budget ended first.
pub(super) struct Judged {
    pub(super) truth: Result<bool, Absent>,
    pub(super) spent: bool,
}

impl Moment<'_> {
    /// False too when it is not the time to judge it.
    fn holds(&self, condition: &Condition, set: &RuleSet) -> bool {
        let time = if condition.reads_answer { self.complete } else { self.first };
        time && self.judge(condition, set).truth == Ok(true)
    }

    /// True when any reading of an ambiguous message satisfies the condition.
    pub(super) fn judge(&self, condition: &Condition, set: &RuleSet) -> Judged {
        let read = |slots: &Slots<'_>| {
            let context = Context::new(slots, set.grants());
            let truth = evaluate(&condition.program, &context);
            Judged { truth, spent: context.spent() }
        };
        let usual = read(self.slots);
        match self.other {
            Some(other) if usual.truth != Ok(true) => {
                let unusual = read(other);
                if unusual.truth == Ok(true) { unusual } else { usual }
            }
            _ => usual,
        }
    }

    /// `None` when a part is absent: then the event has no key.
    fn key(&self, names: &[String]) -> Option<u128> {
        let mut hasher = self.hash.hasher();
        for name in names {
            match self.event.entity(name) {
                Fact::Absent | Fact::Unread | Fact::Null => return None,
                Fact::Text(text) => add_text(&mut hasher, text),
                Fact::Number(number) => add_number(&mut hasher, number),
                Fact::Bool(flag) => add_part(&mut hasher, &Value::Bool(flag)),
                Fact::Tree(value) => add_part(&mut hasher, value),
            }
        }
        Some(hasher.finish128().as_u128())
    }

    fn part_hash(&self, value: &Value) -> u64 {
        let mut hasher = self.hash.hasher();
        add_part(&mut hasher, value);
        hasher.finish128().h1
    }

    /// An entity stands for its id.
    fn part(&self, name: &str) -> Option<String> {
        Some(match self.event.entity(name) {
            Fact::Absent | Fact::Unread | Fact::Null => return None,
            Fact::Text(text) => text.to_owned(),
            Fact::Number(number) => format!("{number}"),
            Fact::Bool(flag) => flag.to_string(),
            Fact::Tree(value) => value.get("id").or(value.get("name")).map_or_else(|| value.to_json(), plain),
        })
    }
}

/// Numbers by value, so that `1000` and `1000.0` are one key; entities by their id.
fn add_part(hasher: &mut impl Hasher, value: &Value) {
    match value {
        Value::Text(text) => add_text(hasher, text),
        Value::Number(number) => add_number(hasher, number.as_f64()),
        Value::Map(_) if value.get("id").is_some() => return value.get("id").into_iter().for_each(|id| add_part(hasher, id)),
        Value::Map(_) if value.get("name").is_some() => {
            return value.get("name").into_iter().for_each(|name| add_part(hasher, name));
        }
        other => {
            hasher.write_u8(3);
            hasher.write(other.to_json().as_bytes());
            hasher.write_u8(0xff);
        }
    }
}

fn add_text(hasher: &mut impl Hasher, text: &str) {
    hasher.write_u8(1);
    hasher.write(text.as_bytes());
    hasher.write_u8(0xff);
}

fn add_number(hasher: &mut impl Hasher, number: f64) {
    hasher.write_u8(2);
    hasher.write_u64((number + 0.0).to_bits());
    hasher.write_u8(0xff);
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_json(), str::to_owned)
}

/// What a block says of a moment: a violation with what was observed.
pub(super) type Verdict = Option<Value>;

/// The memory of one rule.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Memory {
    #[serde(with = "indexmap::map::serde_seq")]
    keys: IndexMap<u128, Kept, BuildHasherDefault<Hashed>>,
    /// Where the search for a key to give up goes on.
    hand: usize,
    /// Keys given up for others.
    pub(super) evicted: u64,
    /// `then`: deadlines with what waits for them.
    #[serde(skip)]
    waiting: BTreeMap<(Timestamp, u64), Waiting>,
    #[serde(skip)]
    deadlines: IndexMap<u128, Vec<(Timestamp, u64)>>,
    serial: u64,
    #[serde(skip)]
    common: flow::Common,
}

/// Keys are hashes already.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u128(&mut self, key: u128) {
        self.0 = key as u64;
    }
}

#[derive(Debug)]
struct Waiting {
    key: u128,
    event: Value,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    cell: Cell,
    /// Used since the hand came by.
    used: bool,
}

#[derive(Debug, Serialize, Deserialize)]
enum Cell {
    Window(Window),
    Distinct(Distinct),
    /// Which steps were seen, and when.
    Steps(Box<[Option<Timestamp>]>),
    /// When the earlier step was seen.
    Earlier(VecDeque<Timestamp>),
    Owner(Timestamp, Arc<str>),
    /// Ids that a user was shown, by their hash.
    Shown(Timestamp),
    Prints(flow::Prints),
    Baseline(Box<Baseline>),
}

/// What values a key had: `drift`.
#[derive(Debug, Serialize, Deserialize)]
struct Baseline {
    since: Timestamp,
    last: String,
    /// Hashes of the values, with how often each was seen.
    seen: VecDeque<(u64, u32)>,
    total: u32,
}

impl Memory {
    fn cell(&mut self, key: u128, most: usize, fresh: impl FnOnce() -> Cell) -> &mut Cell {
        if let Some(at) = self.keys.get_index_of(&key) {
            let kept = &mut self.keys[at];
            kept.used = true;
            return &mut kept.cell;
        }
        while self.keys.len() >= most.max(1) {
            self.give_up_one();
        }
        // Room for as many as the rule may have is taken as it is needed, not at once.
        &mut self.keys.entry(key).or_insert(Kept { cell: fresh(), used: true }).cell
    }

    /// The clock algorithm: a key that was used since the last round stays for one more.
    fn give_up_one(&mut self) {
        loop {
            let at = self.hand % self.keys.len();
            let kept = &mut self.keys[at];
            if !kept.used {
                self.keys.swap_remove_index(at);
                self.evicted += 1;
                return;
            }
            kept.used = false;
            self.hand = at + 1;
        }
    }

    fn known(&mut self, key: u128) -> Option<&mut Cell> {
        self.keys.get_mut(&key).map(|kept| {
            kept.used = true;
            &mut kept.cell
        })
    }

    /// Takes the moment in; says whether it violates the rule.
    pub(super) fn judge(&mut self, rule: &Rule, block: &Block, moment: &Moment<'_>, set: &RuleSet) -> Verdict {
        let when = rule.when.as_ref();
        let matched = || when.is_some_and(|when| moment.holds(when, set));
        let most = rule.max_keys;
        match block {
            Block::Count { by, within, over } => {
                let key = Some(()).filter(|()| matched()).and_then(|()| moment.key(by))?;
                let Cell::Window(window) = self.cell(key, most, || Cell::Window(Window::default())) else { return None };
                let count = window.add(moment.now, 1.0, *within, usize::try_from(*over).unwrap_or(usize::MAX));
                (count > *over as f64).then(|| observed("count", count, *over as f64, *within))
            }
            Block::Sum { of, by, within, over } => {
                let key = Some(()).filter(|()| matched()).and_then(|()| moment.key(by))?;
                let amount = moment
                    .event
                    .field(of)
                    .and_then(|value| value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()))
                    .filter(|amount| amount.is_finite())?;
                let Cell::Window(window) = self.cell(key, most, || Cell::Window(Window::default())) else { return None };
                let total = window.add(moment.now, amount, *within, PER_KEY);
                (total > *over).then(|| observed("sum", total, *over, *within))
            }
            Block::Distinct { of, by, within, over } => {
                let key = Some(()).filter(|()| matched()).and_then(|()| moment.key(by))?;
                let value = moment.part_hash(moment.event.field(of)?);
                let Cell::Distinct(distinct) = self.cell(key, most, || Cell::Distinct(Distinct::new(*over))) else { return None };
                let count = distinct.add(moment.now, value, *within, *over);
                (count > *over).then(|| observed("distinct", count as f64, *over as f64, *within))
            }
            Block::Sequence { steps, same, within, without, ordered } => {
                let parts = Steps { steps, same, within: *within, without: without.as_ref(), ordered: *ordered };
                self.sequence(rule, &parts, moment, set)
            }
            Block::Needs { earlier, same, within, use_once, voided_by } => {
                let key = moment.key(same);
                if let Some(key) = key.filter(|_| moment.holds(earlier, set)) {
                    let Cell::Earlier(times) = self.cell(key, most, || Cell::Earlier(VecDeque::new())) else { return None };
                    times.push_back(moment.now);
                    // Without `use_once` the latest is enough.
                    while times.len() > if *use_once { 64 } else { 1 } {
                        times.pop_front();
                    }
                    return None;
                }
                if let Some(key) = key.filter(|_| voided_by.as_ref().is_some_and(|voided| moment.holds(voided, set))) {
                    self.keys.swap_remove(&key);
                }
                if !matched() {
                    return None;
                }
                let missing = |reason: &str| {
                    Some(Value::map([("missing", Value::text(earlier.text.as_str())), ("reason", Value::text(reason))]))
                };
                // A key that cannot be built names nothing that came earlier.
                let Some(key) = key else { return missing("absent") };
                let Some(Cell::Earlier(times)) = self.known(key) else { return missing("absent") };
                let stale = times.iter().any(|at| *at < since(moment, *within));
                times.retain(|at| *at >= since(moment, *within));
                match times.back() {
                    Some(_) if *use_once => {
                        times.pop_front();
                        None
                    }
                    Some(_) => None,
                    None => missing(if stale { "stale" } else { "already used" }),
                }
            }
            Block::Then { later, same, within } => {
                let key = moment.key(same)?;
                if moment.holds(later, set) {
                    for deadline in self.deadlines.swap_remove(&key).unwrap_or_default() {
                        self.waiting.remove(&deadline);
                    }
                } else if matched() {
                    self.serial += 1;
                    if self.waiting.len() < most {
                        let deadline = (moment.now.plus(*within), self.serial);
                        self.waiting.insert(deadline, Waiting { key, event: moment.event.whole() });
                        self.deadlines.entry(key).or_default().push(deadline);
                    } else {
                        self.evicted += 1;
                    }
                }
                None
            }
            Block::Owned { object, by, unknown, learn } => {
                let parts = owned::Owned { kind: object, by, unknown: *unknown, learn: *learn };
                self.owned(&parts, rule, moment, set)
            }
            Block::Flow { from, to, within, overlap, kind, not_from } => {
                let parts = flow::Flow { from, to, within: *within, overlap: *overlap, kind: *kind, not_from };
                self.flow(&parts, rule, moment, set)
            }
            Block::Drift { of, key, learn, alert } => {
                if when.is_some() && !matched() || when.is_none() && !moment.first {
                    return None;
                }
                let (key, value) = (moment.key(key)?, moment.part(of)?);
                self.drift(key, value, *learn, *alert, most, moment)
            }
        }
    }

    fn sequence(&mut self, rule: &Rule, parts: &Steps<'_>, moment: &Moment<'_>, set: &RuleSet) -> Verdict {
        let key = moment.key(parts.same)?;
        if parts.without.is_some_and(|without| moment.holds(without, set)) {
            self.keys.swap_remove(&key);
            return None;
        }
        let count = parts.steps.len();
        let hits: Vec<usize> = (0..count).filter(|at| moment.holds(&parts.steps[*at], set)).collect();
        // Only a first step begins an ordered chain.
        if hits.is_empty() || (parts.ordered && !hits.contains(&0) && !self.keys.contains_key(&key)) {
            return None;
        }
        let cell = self.cell(key, rule.max_keys, || Cell::Steps(vec![None; count].into()));
        let Cell::Steps(seen) = cell else { return None };
        for at in seen.iter_mut() {
            *at = at.filter(|at| *at >= since(moment, parts.within));
        }
        // The last step first: one event must not be two steps in a row.
        let hit = hits.into_iter().rev().find(|at| !parts.ordered || *at == 0 || seen[*at - 1].is_some())?;
        seen[hit] = Some(moment.now);
        let done = seen.iter().all(Option::is_some) && (!parts.ordered || hit == count - 1);
        let also = rule.when.as_ref().is_none_or(|when| moment.judge(when, set).truth == Ok(true));
        if !(done && also) {
            return None;
        }
        let times: Vec<Value> = seen.iter().flatten().map(|at| Value::int(i64::try_from(at.0).unwrap_or(i64::MAX))).collect();
        self.keys.swap_remove(&key);
        Some(Value::map([("steps", Value::int(count as i64)), ("times", Value::list(times))]))
    }

    fn drift(&mut self, key: u128, value: String, learn: Duration, alert: Drift, most: usize, moment: &Moment<'_>) -> Verdict {
        /// A value is rare when it makes up less than one in a hundred of at least as many.
        const RARE: u32 = 100;
        const VALUES: usize = 64;
        let (now, hash) = (moment.now, moment.part_hash(&Value::text(value.as_str())));
        let fresh = || {
            let seen = VecDeque::from([(hash, 0)]);
            Cell::Baseline(Box::new(Baseline { since: now, last: value.clone(), seen, total: 0 }))
        };
        let known = self.keys.contains_key(&key);
        let Cell::Baseline(baseline) = self.cell(key, most, fresh) else { return None };
        let learning = now.since(baseline.since) < learn;
        let before = std::mem::replace(&mut baseline.last, value.clone());
        let place = baseline.seen.iter().position(|(seen, _)| *seen == hash);
        let new = place.is_none();
        let at = place.unwrap_or_else(|| {
            baseline.seen.push_back((hash, 0));
            if baseline.seen.len() > VALUES {
                baseline.seen.pop_front();
            }
            baseline.seen.len() - 1
        });
        baseline.seen[at].1 = baseline.seen[at].1.saturating_add(1);
        baseline.total = baseline.total.saturating_add(1);
        let rare = baseline.total >= RARE
            && baseline.seen[at].1 < baseline.total / RARE + 1
            && baseline.seen[at].1 * RARE < baseline.total;
        let fires = known
            && match alert {
                Drift::Changed => before != value && !learning,
                Drift::New => new && !learning,
                Drift::Rare => rare && !learning,
            };
        fires.then(|| Value::map([("before", Value::text(before)), ("now", Value::text(value))]))
    }

    /// `then` blocks whose time ran out, with the event that waited.
    pub(super) fn overdue(&mut self, now: Timestamp) -> Vec<(Timestamp, Value)> {
        if self.waiting.first_key_value().is_none_or(|((at, _), _)| *at > now) {
            return Vec::new();
        }
        let later = self.waiting.split_off(&(Timestamp(now.0.saturating_add(1)), 0));
        let due = std::mem::replace(&mut self.waiting, later);
        for (deadline, waiting) in &due {
            if let Some(deadlines) = self.deadlines.get_mut(&waiting.key) {
                deadlines.retain(|known| known != deadline);
                if deadlines.is_empty() {
                    self.deadlines.swap_remove(&waiting.key);
                }
            }
        }
        due.into_iter().map(|((at, _), waiting)| (at, waiting.event)).collect()
    }

    /// How many keys it remembers, and how many it gave up.
    pub(super) fn size(&self) -> (usize, u64) {
        (self.keys.len() + self.waiting.len(), self.evicted)
    }
}

struct Steps<'a> {
    steps: &'a [Condition],
    same: &'a [String],
    within: Duration,
    without: Option<&'a Condition>,
    ordered: bool,
}

fn since(moment: &Moment<'_>, within: Duration) -> Timestamp {
    Timestamp(moment.now.0.saturating_sub(u64::try_from(within.as_nanos()).unwrap_or(u64::MAX)))
}

fn observed(what: &str, value: f64, threshold: f64, within: Duration) -> Value {
    let number = |number: f64| Value::Number(crate::base::value::Number::from_f64(number));
    Value::map([
        ("what", Value::text(what)),
        ("observed", number(value)),
        ("threshold", number(threshold)),
        ("window", Value::text(format!("{}s", within.as_secs()))),
    ])
}
