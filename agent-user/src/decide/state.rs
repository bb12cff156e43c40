//! State blocks: what a rule remembers between events, by key, in event time, bounded.

use std::collections::{BTreeMap, VecDeque};

use indexmap::IndexMap;

use super::lang::{Absent, Context, evaluate, field};
use super::pack::{Block, Condition, Drift, Rule};
use super::ruleset::RuleSet;
use crate::base::limits::RULE_KEYS;
use crate::base::{KeyedHash, Timestamp, Value};

/// Times or values kept of one key: a threshold above this is met by it.
const PER_KEY: usize = 4096;

/// An event on its way through the rules.
pub(super) struct Moment<'a> {
    pub(super) event: &'a Value,
    pub(super) now: Timestamp,
    /// Seen for the first time: conditions that need no answer are judged.
    pub(super) first: bool,
    /// The answer is in, or never will be.
    pub(super) complete: bool,
}

impl Moment<'_> {
    /// False too when it is not the time to judge it.
    fn holds(&self, condition: &Condition, set: &RuleSet) -> bool {
        let time = if condition.reads_answer { self.complete } else { self.first };
        time && self.judge(condition, set) == Ok(true)
    }

    pub(super) fn judge(&self, condition: &Condition, set: &RuleSet) -> Result<bool, Absent> {
        evaluate(&condition.expression, &Context { event: self.event, vocabulary: &set.vocabulary })
    }

    fn key(&self, names: &[String]) -> Option<String> {
        let mut key = String::new();
        for name in names {
            key.push_str(&self.part(name)?);
            key.push('\u{1f}');
        }
        Some(key)
    }

    /// An entity stands for its id.
    fn part(&self, name: &str) -> Option<String> {
        let value = field(self.event, name)?;
        Some(match value {
            Value::Text(text) => text.to_string(),
            Value::Number(number) => format!("{}", number.as_f64()),
            Value::Map(_) if value.get("id").is_some() => value.get("id").map(plain)?,
            Value::Map(_) if value.get("name").is_some() => value.get("name").map(plain)?,
            other => other.to_json(),
        })
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_json(), str::to_owned)
}

/// What a block says of a moment: a violation with what was observed.
pub(super) type Verdict = Option<Value>;

/// The memory of one rule.
#[derive(Debug, Default)]
pub(super) struct Memory {
    keys: IndexMap<String, Cell>,
    pub(super) evicted: u64,
    /// `then`: deadlines with what waits for them.
    waiting: BTreeMap<(Timestamp, u64), (String, Value)>,
    serial: u64,
}

#[derive(Debug)]
enum Cell {
    Times(VecDeque<Timestamp>),
    Values(VecDeque<(Timestamp, String)>),
    Sums(VecDeque<(Timestamp, f64)>),
    /// Which steps were seen, and when.
    Steps(Vec<Option<Timestamp>>),
    /// An earlier step and whether it was used up.
    Earlier(VecDeque<Timestamp>),
    Owner(String),
    Shown(VecDeque<String>),
    Prints(VecDeque<(Timestamp, u64)>),
    Baseline {
        since: Timestamp,
        last: String,
        seen: VecDeque<String>,
    },
}

impl Memory {
    fn cell(&mut self, key: String, fresh: impl FnOnce() -> Cell) -> &mut Cell {
        if self.keys.len() >= RULE_KEYS && !self.keys.contains_key(&key) {
            self.keys.swap_remove_index(0);
            self.evicted += 1;
        }
        self.keys.entry(key).or_insert_with(fresh)
    }

    /// Takes the moment in; says whether it violates the rule.
    pub(super) fn judge(&mut self, rule: &Rule, block: &Block, moment: &Moment<'_>, set: &RuleSet, hash: &KeyedHash) -> Verdict {
        let when = rule.when.as_ref();
        let matched = when.is_some_and(|when| moment.holds(when, set));
        let since = |within: std::time::Duration| {
            Timestamp(moment.now.0.saturating_sub(u64::try_from(within.as_nanos()).unwrap_or(u64::MAX)))
        };
        match block {
            Block::Count { by, within, over } => {
                let key = moment.key(by).filter(|_| matched)?;
                let Cell::Times(times) = self.cell(key, || Cell::Times(VecDeque::new())) else { return None };
                times.retain(|at| *at >= since(*within));
                times.push_back(moment.now);
                trim(times);
                (times.len() as u64 > *over).then(|| observed("count", times.len() as f64, *over as f64))
            }
            Block::Distinct { of, by, within, over } => {
                let (key, value) = (moment.key(by).filter(|_| matched)?, moment.part(of)?);
                let Cell::Values(values) = self.cell(key, || Cell::Values(VecDeque::new())) else { return None };
                values.retain(|(at, known)| *at >= since(*within) && *known != value);
                values.push_back((moment.now, value));
                trim(values);
                (values.len() as u64 > *over).then(|| observed("distinct", values.len() as f64, *over as f64))
            }
            Block::Sum { of, by, within, over } => {
                let key = moment.key(by).filter(|_| matched)?;
                let amount = field(moment.event, of)
                    .and_then(|value| value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()))
                    .filter(|amount| amount.is_finite())?;
                let Cell::Sums(sums) = self.cell(key, || Cell::Sums(VecDeque::new())) else { return None };
                sums.retain(|(at, _)| *at >= since(*within));
                sums.push_back((moment.now, amount));
                trim(sums);
                let total: f64 = sums.iter().map(|(_, amount)| amount).sum();
                (total > *over).then(|| observed("sum", total, *over))
            }
            Block::Sequence { steps, same, within, without, ordered } => {
                let key = moment.key(same)?;
                if without.as_ref().is_some_and(|without| moment.holds(without, set)) {
                    self.keys.swap_remove(&key);
                    return None;
                }
                let hits: Vec<usize> = (0..steps.len()).filter(|at| moment.holds(&steps[*at], set)).collect();
                if hits.is_empty() {
                    return None;
                }
                let count = steps.len();
                let Cell::Steps(seen) = self.cell(key.clone(), || Cell::Steps(vec![None; count])) else { return None };
                for at in seen.iter_mut() {
                    *at = at.filter(|at| *at >= since(*within));
                }
                // The last step first: one event must not be two steps in a row.
                let hit = hits.into_iter().rev().find(|at| !ordered || *at == 0 || seen[*at - 1].is_some())?;
                seen[hit] = Some(moment.now);
                let done = seen.iter().all(Option::is_some) && (!ordered || hit == count - 1);
                let also = when.is_none_or(|when| moment.judge(when, set) == Ok(true));
                if !(done && also) {
                    return None;
                }
                self.keys.swap_remove(&key);
                Some(Value::map([("steps", Value::int(count as i64))]))
            }
            Block::Needs { earlier, same, within, use_once, voided_by } => {
                let key = moment.key(same);
                if let Some(key) = key.clone().filter(|_| moment.holds(earlier, set)) {
                    let Cell::Earlier(times) = self.cell(key, || Cell::Earlier(VecDeque::new())) else { return None };
                    times.push_back(moment.now);
                    trim(times);
                    return None;
                }
                if let Some(key) = key.as_ref().filter(|_| voided_by.as_ref().is_some_and(|voided| moment.holds(voided, set))) {
                    self.keys.swap_remove(key);
                }
                if !matched {
                    return None;
                }
                let missing = |reason: &str| {
                    Some(Value::map([("missing", Value::text(earlier.text.as_str())), ("reason", Value::text(reason))]))
                };
                // A key that cannot be built names nothing that came earlier.
                let Some(key) = key else { return missing("absent") };
                let Some(Cell::Earlier(times)) = self.keys.get_mut(&key) else { return missing("absent") };
                times.retain(|at| *at >= since(*within));
                match times.back() {
                    Some(_) if *use_once => {
                        times.pop_front();
                        None
                    }
                    Some(_) => None,
                    None => missing("stale or used"),
                }
            }
            Block::Then { later, same, within } => {
                let key = moment.key(same)?;
                if moment.holds(later, set) {
                    self.waiting.retain(|_, (waiting, _)| *waiting != key);
                } else if matched {
                    self.serial += 1;
                    if self.waiting.len() < RULE_KEYS {
                        self.waiting.insert((moment.now.plus(*within), self.serial), (key, moment.event.clone()));
                    } else {
                        self.evicted += 1;
                    }
                }
                None
            }
            Block::Owned { object, by, unknown, .. } => self.owned(object, by, *unknown, rule, moment, set),
            Block::Flow { from, to, within, overlap, not_from } => {
                let key = format!("{}\u{1f}", moment.part("workflow").unwrap_or_default());
                if moment.holds(from, set) && (moment.complete || moment.event.get("result").is_some()) {
                    let content = moment.event.get("result").or(moment.event.get("arg"))?;
                    let prints = prints(content, hash);
                    let Cell::Prints(known) = self.cell(key.clone(), || Cell::Prints(VecDeque::new())) else { return None };
                    known.extend(prints.into_iter().map(|print| (moment.now, print)));
                    while known.len() > PER_KEY {
                        known.pop_front();
                    }
                }
                if !moment.holds(to, set) || when.is_some_and(|when| moment.judge(when, set) != Ok(true)) {
                    return None;
                }
                let Some(Cell::Prints(known)) = self.keys.get(&key) else { return None };
                let own: Vec<u64> =
                    not_from.iter().filter_map(|name| field(moment.event, name)).flat_map(|value| words(value, hash)).collect();
                let carried = prints(moment.event.get("arg")?, hash);
                let recent =
                    |print: &u64| known.iter().any(|(at, other)| other == print && *at >= since(*within) && *at <= moment.now);
                let shared = carried.iter().filter(|print| !own.contains(print) && recent(print)).count();
                (shared >= *overlap).then(|| observed("overlap", shared as f64, *overlap as f64))
            }
            Block::Drift { of, key, learn, alert } => {
                if when.is_some() && !matched || when.is_none() && !moment.first {
                    return None;
                }
                let (key, value) = (moment.key(key)?, moment.part(of)?);
                let now = moment.now;
                let fresh = value.clone();
                let known = self.keys.contains_key(&key);
                let Cell::Baseline { since, last, seen } =
                    self.cell(key, || Cell::Baseline { since: now, last: fresh.clone(), seen: VecDeque::from([fresh]) })
                else {
                    return None;
                };
                let learning = now.since(*since) < *learn;
                let before = std::mem::replace(last, value.clone());
                let new = !seen.contains(&value);
                if new {
                    seen.push_back(value.clone());
                    trim(seen);
                }
                let fires = known
                    && match alert {
                        Drift::Changed => before != value,
                        Drift::New | Drift::Rare => new && !learning,
                    };
                fires.then(|| Value::map([("before", Value::text(before)), ("now", Value::text(value))]))
            }
        }
    }

    /// Ownership: learned from answers, asked of requests.
    fn owned(&mut self, kind: &str, by: &str, unknown: bool, rule: &Rule, moment: &Moment<'_>, set: &RuleSet) -> Verdict {
        let who = moment.part(by);
        let mut verdict = None;
        let status = field(moment.event, "status").and_then(Value::as_i64).unwrap_or(200);
        let asks = rule.when.as_ref().map_or(moment.first, |when| moment.holds(when, set));
        if asks
            && field(moment.event, "object.type").and_then(Value::as_str).is_some_and(|found| kind == "*" || found == kind)
            && let (Some(id), Some(who)) = (moment.part("object.id"), who.as_ref())
        {
            let kind = field(moment.event, "object.type").and_then(Value::as_str).unwrap_or(kind);
            let owner = match self.keys.get(&format!("owner\u{1f}{kind}\u{1f}{id}")) {
                Some(Cell::Owner(owner)) => Some(owner.clone()),
                _ => None,
            };
            let prompt = field(moment.event, "user.prompt").and_then(Value::as_str).unwrap_or_default();
            let shown = prompt.contains(&id)
                || matches!(self.keys.get(&format!("shown\u{1f}{who}")), Some(Cell::Shown(ids)) if ids.contains(&id));
            verdict = match owner {
                Some(owner) if owner != *who => {
                    Some(Value::map([("grade", Value::text("owner_conflict")), ("owner", Value::text(owner))]))
                }
                Some(_) => None,
                None if unknown && !shown => Some(Value::map([("grade", Value::text("never_shown"))])),
                None => None,
            };
        }
        if moment.complete && (200..300).contains(&status) {
            self.learn(kind, who.as_deref(), moment, set);
        }
        verdict
    }

    fn learn(&mut self, kind: &str, who: Option<&str>, moment: &Moment<'_>, set: &RuleSet) {
        const OWNERS: [&str; 8] =
            ["owner_id", "ownerId", "owner", "customer_id", "customerId", "user_id", "userId", "account_owner"];
        let Some(result) = moment.event.get("result") else { return };
        let op = field(moment.event, "op").and_then(Value::as_str).unwrap_or_default();
        let named = field(moment.event, "object.type").and_then(Value::as_str).unwrap_or(kind).to_owned();
        let mut pairs = Vec::new();
        match set.returns(op) {
            Some(returns) => {
                let ids = returns.get("id").map(|pointer| all(result, pointer.trim_start_matches("result:"))).unwrap_or_default();
                let owners =
                    returns.get("owner").map(|pointer| all(result, pointer.trim_start_matches("result:"))).unwrap_or_default();
                let kind = returns.get("type").cloned().unwrap_or_else(|| named.clone());
                pairs.extend(ids.into_iter().enumerate().map(|(at, id)| (kind.clone(), id, owners.get(at).cloned())));
            }
            None => collect(result, &named, &OWNERS, &mut pairs, 0),
        }
        for (kind, id, owner) in pairs {
            if let Some(owner) = owner {
                self.cell(format!("owner\u{1f}{kind}\u{1f}{id}"), || Cell::Owner(owner));
            }
            if let Some(who) = who
                && let Cell::Shown(ids) = self.cell(format!("shown\u{1f}{who}"), || Cell::Shown(VecDeque::new()))
            {
                ids.push_back(id);
                trim(ids);
            }
        }
    }

    /// `then` blocks whose time ran out, with the event that waited.
    pub(super) fn overdue(&mut self, now: Timestamp) -> Vec<(Timestamp, Value)> {
        let later = self.waiting.split_off(&(Timestamp(now.0.saturating_add(1)), 0));
        std::mem::replace(&mut self.waiting, later).into_iter().map(|((at, _), (_, event))| (at, event)).collect()
    }
}

fn trim<T>(kept: &mut VecDeque<T>) {
    while kept.len() > PER_KEY {
        kept.pop_front();
    }
}

fn observed(what: &str, value: f64, threshold: f64) -> Value {
    let number = |number: f64| Value::Number(crate::base::value::Number::from_f64(number));
    Value::map([("what", Value::text(what)), ("observed", number(value)), ("threshold", number(threshold))])
}

/// The scalars at a pointer in which `*` stands for every item.
fn all(value: &Value, pointer: &str) -> Vec<String> {
    let mut found = vec![value];
    for part in pointer.split('/').filter(|part| !part.is_empty()) {
        found = found
            .into_iter()
            .flat_map(|value| match (part, value) {
                ("*", Value::List(items)) => items.iter().collect::<Vec<_>>(),
                (_, Value::List(items)) => part.parse().ok().and_then(|at: usize| items.get(at)).into_iter().collect(),
                _ => value.get(part).into_iter().collect(),
            })
            .collect();
    }
    found.into_iter().map(plain).collect()
}

/// Objects of an answer with id and owner, wherever they stand.
fn collect(value: &Value, kind: &str, owners: &[&str], out: &mut Vec<(String, String, Option<String>)>, depth: usize) {
    const DEEPEST: usize = 8;
    const MOST: usize = 1000;
    if depth > DEEPEST || out.len() >= MOST {
        return;
    }
    match value {
        Value::Map(entries) => {
            let own = format!("{kind}_id");
            if let Some(id) = value.get("id").or(value.get(&own)).filter(|id| matches!(id, Value::Text(_) | Value::Number(_))) {
                let owner = owners
                    .iter()
                    .find_map(|name| value.get(name))
                    .filter(|owner| matches!(owner, Value::Text(_) | Value::Number(_)));
                out.push((kind.to_owned(), plain(id), owner.map(plain)));
            }
            entries.iter().for_each(|(_, nested)| collect(nested, kind, owners, out, depth + 1));
        }
        Value::List(items) => items.iter().for_each(|nested| collect(nested, kind, owners, out, depth + 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {}
    }
}

/// Fingerprints of leaves of at least eight bytes, and of the words of that length in long texts.
fn prints(value: &Value, hash: &KeyedHash) -> Vec<u64> {
    const SHORTEST: usize = 8;
    let mut found = Vec::new();
    leaves(value, &mut |text| {
        if text.len() >= SHORTEST {
            found.push((hash.digest(text.trim().to_lowercase().as_bytes()) >> 64) as u64);
        }
        if text.contains(char::is_whitespace) {
            let words = text.split(|letter: char| letter.is_whitespace() || ",;\"'()<>".contains(letter));
            found.extend(
                words
                    .map(|word| word.trim_end_matches(['.', ':', '!', '?']))
                    .filter(|word| word.len() >= SHORTEST)
                    .map(|word| (hash.digest(word.to_lowercase().as_bytes()) >> 64) as u64),
            );
        }
    });
    found.sort_unstable();
    found.dedup();
    found
}

fn words(value: &Value, hash: &KeyedHash) -> Vec<u64> {
    prints(value, hash)
}

fn leaves(value: &Value, visit: &mut dyn FnMut(&str)) {
    match value {
        Value::Text(text) => visit(text),
        Value::Number(number) => visit(&number.text),
        Value::List(items) => items.iter().for_each(|item| leaves(item, visit)),
        Value::Map(entries) => entries.iter().for_each(|(_, nested)| leaves(nested, visit)),
        Value::Null | Value::Bool(_) => {}
    }
}
