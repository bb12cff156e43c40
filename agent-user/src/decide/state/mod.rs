//! State blocks: what a rule remembers between events, by key, in event time, bounded.
//!
//! Keys are keyed hashes of the values they are made of: a key costs the same whatever its values are, and content that chooses values
//! cannot make keys collide. The oldest unused key makes room for a new one, and that is counted.

mod chain;
mod drift;
mod flow;
mod owned;
mod parts;
mod seen;
mod window;

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::hash::BuildHasherDefault;
use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::event::Event;
use super::lang::{Absent, Context, Fact, Slot, Slots, evaluate};
use super::pack::{Block, Condition, Keys, Rule};
use super::ruleset::RuleSet;
use crate::base::secret::Itself;
use crate::base::{ActionId, KeyedHash, Timestamp, Value};
use crate::correlate::WorkflowId;
use parts::Parts;
pub(super) use seen::Sightings;
use window::{Distinct, Ring, Window};

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
    /// The step that it is, where it is one.
    pub(super) step: Option<(ActionId, WorkflowId)>,
    pub(super) seen: &'a Sightings,
    /// What is to be noted as seen once every rule was asked.
    pub(super) sighted: &'a RefCell<Vec<u128>>,
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
            if condition.remembers {
                return self.judge_seen(condition, slots, set);
            }
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

    /// What joins events: `None` when a part is absent, because what is not known is equal to nothing. Without names it is the workflow.
    fn key(&self, keys: &Keys, part: usize) -> Option<u128> {
        let slots = keys.slots(part);
        if slots.is_empty() {
            return Some(self.workflow());
        }
        let mut parts = Parts::new(self.hash);
        slots.iter().all(|slot| parts.fact(self.slots.read(*slot))).then(|| parts.key())
    }

    /// Events of no workflow join with each other.
    fn workflow(&self) -> u128 {
        let mut parts = Parts::new(self.hash);
        parts.fact(self.event.fact("workflow", None));
        parts.key()
    }

    /// What events are counted by: a part that is absent is a value of its own; `None` when all of them are.
    fn group(&self, keys: &Keys) -> Option<u128> {
        let mut parts = Parts::new(self.hash);
        let slots = keys.slots(0);
        let mut known = slots.is_empty();
        for slot in slots {
            if parts.fact(self.slots.read(*slot)) {
                known = true;
            } else {
                parts.absent();
            }
        }
        known.then(|| parts.key())
    }

    /// The one field that a block looks at.
    fn only(&self, of: &Keys) -> Fact<'_> {
        of.slots(0).first().map_or(Fact::Absent, |slot| self.slots.read(*slot))
    }

    fn print_of(&self, fact: Fact<'_>) -> Option<u64> {
        let mut parts = Parts::new(self.hash);
        parts.fact(fact).then(|| parts.print())
    }

    fn has(&self, slot: Slot) -> bool {
        !matches!(self.slots.read(slot), Fact::Absent | Fact::Unread | Fact::Null)
    }
}

/// As people write it.
fn told(fact: Fact<'_>) -> Option<Cow<'_, str>> {
    Some(match fact {
        Fact::Absent | Fact::Unread | Fact::Null => return None,
        Fact::Text(text) => text.into(),
        Fact::Number(number) => format!("{number}").into(),
        Fact::Bool(flag) => flag.to_string().into(),
        Fact::Tree(value) => value.to_json().into(),
    })
}

/// What a block says of a moment: a violation with what was observed.
pub(super) type Verdict = Option<Value>;

/// The memory of one rule.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Memory {
    #[serde(with = "indexmap::map::serde_seq")]
    keys: IndexMap<u128, Kept, BuildHasherDefault<Itself>>,
    /// Where the search for a key to give up goes on.
    hand: usize,
    /// Keys given up for others.
    pub(super) evicted: u64,
    /// What waits for a later step.
    open: chain::Open,
    /// What was voided.
    voids: chain::Voids,
    #[serde(skip)]
    common: flow::Common,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    cell: Cell,
    /// Used since the hand came by.
    used: bool,
}

#[derive(Debug, Serialize, Deserialize)]
enum Cell {
    Ring(Ring),
    Window(Window),
    Distinct(Distinct),
    /// Which steps were seen.
    Steps(Box<[Option<chain::Seen>]>),
    /// When the earlier step was seen.
    Earlier(VecDeque<Timestamp>),
    Object(Box<owned::Object>),
    Prints(Box<flow::Prints>),
    Baseline(Box<drift::Baseline>),
    Sighting(seen::Sighting),
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

    /// The same where the key may stand at that place.
    fn cell_at(&mut self, place: Option<usize>, key: u128, most: usize, fresh: impl FnOnce() -> Cell) -> &mut Cell {
        match place.filter(|at| self.keys.get_index(*at).is_some_and(|(known, _)| *known == key)) {
            Some(at) => {
                let kept = &mut self.keys[at];
                kept.used = true;
                &mut kept.cell
            }
            None => self.cell(key, most, fresh),
        }
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
        let exempt = || rule.exempts(moment.event, moment.now);
        let matched = || when.is_some_and(|when| moment.holds(when, set)) && !exempt();
        let most = rule.max_keys;
        match block {
            Block::Count { by, within, over, without } => {
                if without.as_ref().is_some_and(|without| moment.holds(without, set)) {
                    moment.group(by).and_then(|key| self.keys.swap_remove(&key));
                    return None;
                }
                let key = Some(()).filter(|()| matched()).and_then(|()| moment.group(by))?;
                let Cell::Ring(ring) = self.cell(key, most, || Cell::Ring(Ring::new(*over))) else { return None };
                let count = ring.add(moment.now, *within, *over);
                (count > *over).then(|| observed("count", count as f64, *over as f64, *within))
            }
            Block::Sum { of, by, within, over } => {
                let key = Some(()).filter(|()| matched()).and_then(|()| moment.group(by))?;
                let amount = match moment.only(of) {
                    Fact::Number(number) => Some(number),
                    Fact::Text(text) => text.trim().parse().ok(),
                    Fact::Absent | Fact::Unread | Fact::Null | Fact::Bool(_) | Fact::Tree(_) => None,
                };
                let amount = amount.filter(|amount: &f64| amount.is_finite())?;
                let Cell::Window(window) = self.cell(key, most, || Cell::Window(Window::default())) else { return None };
                let total = window.add(moment.now, amount, *within);
                (total > *over).then(|| observed("sum", total, *over, *within))
            }
            Block::Distinct { of, by, within, over } => {
                let key = Some(()).filter(|()| matched()).and_then(|()| moment.group(by))?;
                let value = moment.print_of(moment.only(of))?;
                let Cell::Distinct(distinct) = self.cell(key, most, || Cell::Distinct(Distinct::new(*over))) else { return None };
                let count = distinct.add(moment.now, value, *within, *over);
                (count > *over).then(|| observed("distinct", count as f64, *over as f64, *within))
            }
            Block::Sequence { steps, same, within, without, ordered } => {
                let parts = chain::Steps { steps, same, within: *within, without: without.as_ref(), ordered: *ordered };
                self.sequence(rule, &parts, moment, set)
            }
            Block::Needs { earlier, same, within, use_once, voided_by } => {
                let parts = chain::Needs { earlier, same, within: *within, use_once: *use_once, voided_by: voided_by.as_ref() };
                self.needs(&parts, most, matched, moment, set)
            }
            Block::Then { later, same, within } => {
                self.then(later, same, *within, most, matched, moment, set);
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
                let time = if rule.waits { moment.complete } else { moment.first };
                if when.is_some() && !matched() || when.is_none() && (!time || exempt()) {
                    return None;
                }
                self.drift(moment.group(key)?, moment.only(of), *learn, *alert, most, moment)
            }
        }
    }

    /// How many keys it remembers, and how many it gave up.
    pub(super) fn size(&self) -> (usize, u64) {
        (self.keys.len() + self.open.len(), self.evicted)
    }
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
