//! `sequence`, `needs` and `then`: which steps came before, and which must still come.
//!
//! What waits or is remembered is joined by the values of `same`; without any, by the workflow. An absent value joins with nothing.

use std::collections::{BTreeMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::parts::Parts;
use super::{Cell, Memory, Moment, Verdict, since};
use crate::base::secret::Itself;
use crate::base::{ActionId, Timestamp, Value};
use crate::correlate::WorkflowId;
use crate::decide::pack::{Condition, Keys, Rule};
use crate::decide::ruleset::RuleSet;
use crate::decode::json;

/// Approvals of one key that can wait to be used (`use_once`).
const UNUSED: usize = 64;

/// Parts of `needs` and `then` whose names of the joining fields may differ.
const WHEN: usize = 0;
const EARLIER: usize = 1;
const LATER: usize = 1;

pub(super) struct Steps<'a> {
    pub(super) steps: &'a [Condition],
    pub(super) same: &'a Keys,
    pub(super) within: Duration,
    pub(super) without: Option<&'a Condition>,
    pub(super) ordered: bool,
}

/// A step that was seen, and when the chain that leads to it began.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Seen {
    begun: Timestamp,
    at: Timestamp,
}

pub(super) struct Needs<'a> {
    pub(super) earlier: &'a Condition,
    pub(super) same: &'a Keys,
    pub(super) within: Duration,
    pub(super) use_once: bool,
    pub(super) voided_by: Option<&'a Condition>,
}

impl Memory {
    pub(super) fn sequence(&mut self, rule: &Rule, parts: &Steps<'_>, moment: &Moment<'_>, set: &RuleSet) -> Verdict {
        let count = parts.steps.len();
        let named = if parts.same.differ() { count } else { 1 };
        if parts.without.is_some_and(|without| moment.holds(without, set)) {
            for key in (0..named).filter_map(|part| moment.key(parts.same, part)) {
                self.keys.swap_remove(&key);
            }
            return None;
        }
        let hits = (0..count).filter(|at| moment.holds(&parts.steps[*at], set)).fold(0_u32, |hits, at| hits | 1 << at);
        if hits == 0 {
            return None;
        }
        if named == 1 {
            return self.chained(moment.key(parts.same, 0)?, hits, rule, parts, moment, set);
        }
        // Steps that name the joining value differently may mean different chains.
        let keys: Vec<(usize, u128)> =
            (0..count).filter(|at| hits & 1 << at != 0).filter_map(|at| Some((at, moment.key(parts.same, at)?))).collect();
        keys.iter().enumerate().find_map(|(place, (_, key))| {
            let first = keys[..place].iter().all(|(_, before)| before != key);
            let hits = keys.iter().filter(|(_, other)| other == key).fold(0, |hits, (at, _)| hits | 1 << at);
            first.then(|| self.chained(*key, hits, rule, parts, moment, set)).flatten()
        })
    }

    /// `hits`: the steps that the moment can be, as bits.
    fn chained(&mut self, key: u128, hits: u32, rule: &Rule, parts: &Steps<'_>, moment: &Moment<'_>, set: &RuleSet) -> Verdict {
        let count = parts.steps.len();
        // Only a first step begins an ordered chain.
        if parts.ordered && hits & 1 == 0 && !self.keys.contains_key(&key) {
            return None;
        }
        let cell = self.cell(key, rule.max_keys, || Cell::Steps(vec![None; count].into()));
        let Cell::Steps(seen) = cell else { return None };
        let start = since(moment, parts.within);
        for step in seen.iter_mut() {
            *step = step.filter(|step| step.begun >= start);
        }
        let done = if parts.ordered { advance(seen, hits, moment.now) } else { tick_off(seen, hits, moment.now) };
        if !(done && rule.when.as_ref().is_none_or(|when| moment.judge(when, set).truth == Ok(true))) {
            return None;
        }
        let times = seen.iter().flatten().map(|step| Value::count(step.at.0));
        let times = Value::list(times.collect::<Vec<_>>());
        self.keys.swap_remove(&key);
        Some(Value::map([("steps", Value::int(count as i64)), ("times", times)]))
    }

    /// The moment is judged before it is remembered: a step is never its own approval.
    pub(super) fn needs(
        &mut self,
        parts: &Needs<'_>,
        most: usize,
        matched: impl Fn() -> bool,
        moment: &Moment<'_>,
        set: &RuleSet,
    ) -> Verdict {
        let verdict = if matched() { self.missing(parts, moment) } else { None };
        if parts.voided_by.is_some_and(|voided| moment.holds(voided, set)) {
            self.voids.note(parts.same, most, moment);
        }
        if moment.holds(parts.earlier, set)
            && let Some(key) = moment.key(parts.same, EARLIER)
            && let Cell::Earlier(times) = self.cell(key, most, || Cell::Earlier(VecDeque::new()))
        {
            times.push_back(moment.now);
            // Without `use_once` the latest is enough.
            while times.len() > if parts.use_once { UNUSED } else { 1 } {
                times.pop_front();
            }
        }
        verdict
    }

    /// Says that nothing fit came earlier, and why.
    fn missing(&mut self, parts: &Needs<'_>, moment: &Moment<'_>) -> Verdict {
        let missing = |reason: &str| {
            Some(Value::map([("missing", Value::text(parts.earlier.text.as_str())), ("reason", Value::text(reason))]))
        };
        let voided = self.voids.latest(parts.same, moment);
        // A key that cannot be built names nothing that came earlier.
        let Some(key) = moment.key(parts.same, WHEN) else { return missing("absent") };
        let Some(Cell::Earlier(times)) = self.known(key) else { return missing("absent") };
        if times.is_empty() {
            return missing("already used");
        }
        let start = since(moment, parts.within);
        times.retain(|at| voided.is_none_or(|voided| *at > voided));
        if times.is_empty() {
            return missing("voided");
        }
        let stale = times.iter().all(|at| *at < start);
        times.retain(|at| *at >= start);
        match times.iter().position(|at| *at <= moment.now) {
            Some(at) => {
                if parts.use_once {
                    times.remove(at);
                }
                None
            }
            None => missing(if stale { "stale" } else { "absent" }),
        }
    }

    pub(super) fn then(
        &mut self,
        later: &Condition,
        same: &Keys,
        within: Duration,
        most: usize,
        matched: impl Fn() -> bool,
        moment: &Moment<'_>,
        set: &RuleSet,
    ) {
        if moment.holds(later, set)
            && let Some(key) = moment.key(same, LATER)
        {
            self.open.close(key);
        }
        if matched()
            && let Some(key) = moment.key(same, WHEN)
        {
            if self.open.len() >= most {
                self.evicted += 1;
            } else {
                self.open.add(moment.now.plus(within), Waiting { key, event: moment.event.whole(), step: moment.step });
            }
        }
    }

    /// `then` blocks whose time ran out: when, the event that waited, and the step that it was.
    pub(in crate::decide) fn overdue(&mut self, now: Timestamp) -> Vec<(Timestamp, Waiting)> {
        self.open.overdue(now)
    }
}

/// Takes a hit into an ordered chain, the last step first: one event is not two steps in a row. True when the chain is complete.
///
/// Each step keeps the latest beginning of a chain that leads to it, so that a repeated first step neither breaks an older chain nor
/// makes one look younger than it is.
fn advance(seen: &mut [Option<Seen>], hits: u32, now: Timestamp) -> bool {
    for at in (0..seen.len()).rev().filter(|at| hits & 1 << at != 0) {
        let begun = if at == 0 { Some(now) } else { seen[at - 1].map(|before| before.begun) };
        let Some(begun) = begun else { continue };
        if seen[at].is_none_or(|known| known.begun <= begun) {
            seen[at] = Some(Seen { begun, at: now });
        }
        if at + 1 == seen.len() {
            return true;
        }
    }
    false
}

/// Steps in any order: an event stands for one step, first of all for one that was not seen yet.
fn tick_off(seen: &mut [Option<Seen>], hits: u32, now: Timestamp) -> bool {
    if let Some(at) = (0..seen.len()).filter(|at| hits & 1 << at != 0).min_by_key(|at| seen[*at].map(|known| known.at)) {
        seen[at] = Some(Seen { begun: now, at: now });
    }
    seen.iter().all(Option::is_some)
}

/// When keys were voided. What voids need not carry every part of a key: `{workflow}` alone voids each approval of that workflow.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Voids {
    /// Which parts were there, as bits in the order of `same`.
    shapes: Vec<u64>,
    #[serde(with = "indexmap::map::serde_seq")]
    times: ByKey<Timestamp>,
}

type ByKey<V> = IndexMap<u128, V, BuildHasherDefault<Itself>>;

impl Voids {
    fn note(&mut self, same: &Keys, most: usize, moment: &Moment<'_>) {
        let slots = same.slots(EARLIER).iter().take(64).enumerate();
        let shape = slots.filter(|(_, slot)| moment.has(**slot)).fold(0, |bits, (at, _)| bits | 1 << at);
        let Some(key) = part_of_key(same, EARLIER, shape, moment) else { return };
        if !self.shapes.contains(&shape) {
            self.shapes.push(shape);
        }
        if self.times.len() >= most.max(1) && !self.times.contains_key(&key) {
            self.times.swap_remove_index(0);
        }
        self.times.insert(key, moment.now);
    }

    fn latest(&self, same: &Keys, moment: &Moment<'_>) -> Option<Timestamp> {
        let times = self.shapes.iter().filter_map(|shape| self.times.get(&part_of_key(same, WHEN, *shape, moment)?));
        times.max().copied()
    }
}

fn part_of_key(same: &Keys, part: usize, shape: u64, moment: &Moment<'_>) -> Option<u128> {
    let slots = same.slots(part);
    if slots.is_empty() {
        return moment.key(same, part);
    }
    let mut parts = Parts::new(moment.hash);
    parts.number(shape);
    let mut there = slots.iter().take(64).enumerate().filter(|(at, _)| shape & 1 << at != 0);
    there.all(|(_, slot)| parts.fact(moment.slots.read(*slot))).then(|| parts.key())
}

/// Events that wait for a later step, by deadline and by key.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Open {
    waiting: BTreeMap<(Timestamp, u64), Waiting>,
    #[serde(with = "indexmap::map::serde_seq")]
    deadlines: ByKey<Vec<(Timestamp, u64)>>,
    serial: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(in crate::decide) struct Waiting {
    key: u128,
    #[serde(serialize_with = "without_content", deserialize_with = "from_json")]
    pub(in crate::decide) event: Value,
    /// Numbers of steps begin anew with the daemon.
    #[serde(skip)]
    pub(in crate::decide) step: Option<(ActionId, WorkflowId)>,
}

impl Open {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    fn add(&mut self, deadline: Timestamp, waiting: Waiting) {
        self.serial += 1;
        let place = (deadline, self.serial);
        self.deadlines.entry(waiting.key).or_default().push(place);
        self.waiting.insert(place, waiting);
    }

    fn close(&mut self, key: u128) {
        for deadline in self.deadlines.swap_remove(&key).unwrap_or_default() {
            self.waiting.remove(&deadline);
        }
    }

    fn overdue(&mut self, now: Timestamp) -> Vec<(Timestamp, Waiting)> {
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
        due.into_iter().map(|((at, _), waiting)| (at, waiting)).collect()
    }
}

/// What was said stays in memory: a file keeps who did what to which object.
fn without_content<S: Serializer>(event: &Value, to: S) -> Result<S::Ok, S::Error> {
    const KEPT: [&str; 14] = [
        "kind",
        "op",
        "effect",
        "workflow",
        "step",
        "status",
        "time",
        "agent",
        "tenant",
        "credential",
        "object",
        "tool",
        "mcp",
        "asked_by",
    ];
    let entries = event.as_map().unwrap_or_default();
    let user = event.get("user").and_then(|user| user.get("id")).map(|id| ("user", Value::map([("id", id.clone())])));
    let kept = KEPT.iter().filter_map(|name| Some((*name, entries.iter().find(|(key, _)| **key == **name)?.1.clone())));
    to.serialize_str(&Value::map(kept.chain(user)).to_json())
}

fn from_json<'de, D: Deserializer<'de>>(from: D) -> Result<Value, D::Error> {
    let text = String::deserialize(from)?;
    json::parse(text.as_bytes()).value.ok_or_else(|| serde::de::Error::custom("no JSON"))
}
