//! The stage: steps against rules, twice where a rule can wait for the answer and another cannot.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::event::Event;
use super::pack::{Mode, Rule};
use super::ruleset::{RuleSet, block_print};
use super::state::{Judged, Memory, Moment, Sightings};
use super::{Alert, Link, Proof, RuleRef, Severity};
use crate::base::limits::{OPEN_ACTIONS, RULE_KEYS};
use crate::base::{ActionId, Incomplete, KeyedHash, Timestamp, Value};
use crate::correlate::{Step, WorkflowId};

/// Steps remembered for the chains of alerts.
const REMEMBERED: usize = 8_192;

/// Longest chain of an alert.
const CHAIN: usize = 32;

pub struct Decide {
    hash: KeyedHash,
    /// What each rule remembers, in the order of the rules.
    memories: Vec<Kept>,
    /// How each fares, apart from what is read more seldom.
    counts: Vec<Counts>,
    /// What `seen()` remembers, over all rules.
    seen: Arc<Sightings>,
    /// The set that `memories` belongs to.
    stamp: u64,
    candidates: Vec<u32>,
    /// Alerts by group.
    groups: IndexMap<(Arc<str>, String), Finding>,
    /// Findings whose latest repetitions were not told yet.
    untold: usize,
    /// When those that are over were given up.
    swept: Timestamp,
    /// Which alerts an action that waits for its answer raised.
    raised: IndexMap<ActionId, Vec<(Arc<str>, String)>>,
    steps: IndexMap<ActionId, Remembered>,
}

/// Repetitions that are told one by one; later ones are told together, [`TELL`] after the last time. A flood of them must not become one
/// of alerts.
const TOLD_EACH: u64 = 16;
const TELL: Duration = Duration::from_secs(1);

/// An alert and its repetitions.
struct Finding {
    alert: Alert,
    latest: Timestamp,
    told: Timestamp,
    untold: bool,
    /// How long repetitions join it.
    quiet: Duration,
}

impl Finding {
    /// Neither a repetition nor an answer can change it any more.
    fn is_over(&self, now: Timestamp) -> bool {
        !self.untold && now.since(self.latest) >= self.quiet.max(ANSWERED)
    }
}

/// An answer that comes later than this proves nothing of an alert that was told.
const ANSWERED: Duration = Duration::from_secs(60 * 60);

/// How often findings that are over are looked for.
const SWEEP: Duration = Duration::from_secs(60);

/// Judgements over budget after which a rule only counts.
const PATIENCE: u32 = 16;

/// A rule's memory.
struct Kept {
    id: Arc<str>,
    print: u64,
    memory: Memory,
}

/// How a rule fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that the index thought it might match.
    pub judged: u64,
    pub matched: u64,
    /// Conditions that could not be judged because a field was absent.
    pub unknown: u64,
    /// Judgements that ended with the budget.
    pub over_budget: u32,
    /// Keys that its block remembers now, and those it gave up for others.
    pub keys: usize,
    pub evicted: u64,
}

/// What is remembered, as it is written down.
#[derive(Serialize, Deserialize)]
struct Saved<M, S> {
    /// Rule id, fingerprint of the block, the memory.
    rules: Vec<(Arc<str>, u64, M)>,
    seen: S,
}

struct Remembered {
    link: Link,
    cause: Option<ActionId>,
    served: bool,
}

impl Default for Decide {
    fn default() -> Decide {
        Decide::new(KeyedHash::new([0; 16]))
    }
}

impl Decide {
    pub fn new(hash: KeyedHash) -> Decide {
        Decide {
            hash,
            memories: Vec::new(),
            counts: Vec::new(),
            seen: Arc::default(),
            stamp: 0,
            candidates: Vec::new(),
            groups: IndexMap::new(),
            untold: 0,
            swept: Timestamp::default(),
            raised: IndexMap::new(),
            steps: IndexMap::new(),
        }
    }

    /// Takes over a rule set: state stays where the rule and its block are the same.
    fn adopt(&mut self, rules: &RuleSet) {
        if self.stamp == rules.stamp && self.memories.len() == rules.rules.len() {
            return;
        }
        let old = self.memories.drain(..).zip(self.counts.drain(..));
        let mut old: BTreeMap<(Arc<str>, u64), (Kept, Counts)> =
            old.map(|(kept, counts)| ((kept.id.clone(), kept.print), (kept, counts))).collect();
        self.stamp = rules.stamp;
        for rule in &rules.rules {
            let (id, print) = (rule.reference.id.clone(), block_print(rule));
            let fresh = || (Kept { id: id.clone(), print, memory: Memory::default() }, Counts::default());
            let (kept, counts) = old.remove(&(id.clone(), print)).unwrap_or_else(fresh);
            self.memories.push(kept);
            self.counts.push(counts);
        }
    }

    /// What rules remember, for a file: a restart forgets nothing.
    pub fn save(&self) -> Vec<u8> {
        let rules = self.memories.iter().map(|kept| (kept.id.clone(), kept.print, &kept.memory)).collect();
        let saved: Saved<&Memory, &Sightings> = Saved { rules, seen: &*self.seen };
        rmp_serde::to_vec(&saved).expect("memories hold nothing that cannot be written")
    }

    /// Takes back what [`Decide::save`] gave, where rules and blocks are the same. False when it is not readable: then nothing changes.
    pub fn restore(&mut self, rules: &RuleSet, saved: &[u8]) -> bool {
        let Ok(saved) = rmp_serde::from_slice::<Saved<Memory, Sightings>>(saved) else { return false };
        self.adopt(rules);
        self.seen = Arc::new(saved.seen);
        let mut saved: BTreeMap<(Arc<str>, u64), Memory> =
            saved.rules.into_iter().map(|(id, print, memory)| ((id, print), memory)).collect();
        for kept in &mut self.memories {
            if let Some(memory) = saved.remove(&(kept.id.clone(), kept.print)) {
                kept.memory = memory;
            }
        }
        true
    }

    /// How each rule fares.
    pub fn counts(&self) -> impl Iterator<Item = (&Arc<str>, Counts)> {
        self.memories.iter().zip(&self.counts).map(|(kept, counts)| {
            let (keys, evicted) = kept.memory.size();
            (&kept.id, Counts { keys, evicted, ..*counts })
        })
    }

    /// How many values `seen()` remembers, and how many it gave up.
    pub fn seen(&self) -> (usize, u64) {
        self.seen.size()
    }

    pub fn push(&mut self, rules: &RuleSet, step: &Step, out: &mut Vec<Alert>) {
        self.adopt(rules);
        // A call that is sent again is the first one once more: it counts once, and what came of it is judged.
        let id = step.action.repeats.filter(|first| self.steps.contains_key(first)).unwrap_or(step.action.id);
        let known = self.steps.contains_key(&id);
        self.remember(step);
        let mut event = Event::of(step);
        let late = rules.name(&mut event);
        let proof = proof(step);
        if !late || step.completed {
            // Served once, it is not served again by being sent again.
            let again = id != step.action.id && self.steps.get(&id).is_some_and(|first| first.served);
            let time = Time { now: step.action.time, first: late || !known, complete: step.completed && !again };
            self.judge(rules, &event, time, Subject::Step(step, proof), out);
        }
        if step.completed
            && step.action.status.is_some_and(|status| status < 400)
            && let Some(first) = self.steps.get_mut(&id)
        {
            first.served = true;
        }
        if step.completed && known {
            self.upgrade(id, step, proof, out);
        }
    }

    /// One event that is no step: inline tests of rules, measurements.
    pub fn push_event(&mut self, rules: &RuleSet, event: &Value, now: Timestamp, out: &mut Vec<Alert>) {
        self.adopt(rules);
        let mut event = Event::given(event);
        rules.name(&mut event);
        self.judge(rules, &event, Time { now, first: true, complete: true }, Subject::Event, out);
    }

    /// Windows that end without a later step.
    pub fn tick(&mut self, rules: &RuleSet, now: Timestamp, out: &mut Vec<Alert>) {
        self.adopt(rules);
        self.overdue(rules, now, out);
        self.tell(|finding| now.since(finding.told) >= TELL, out);
        if now.since(self.swept) >= SWEEP {
            self.swept = now;
            self.groups.retain(|_, finding| !finding.is_over(now));
        }
    }

    /// The end: what was kept to be told together is told.
    pub fn finish(&mut self, out: &mut Vec<Alert>) {
        self.tell(|_| true, out);
    }

    fn tell(&mut self, due: impl Fn(&Finding) -> bool, out: &mut Vec<Alert>) {
        if self.untold == 0 {
            return;
        }
        for finding in self.groups.values_mut().filter(|finding| finding.untold && due(finding)) {
            (finding.untold, finding.told) = (false, finding.latest);
            self.untold -= 1;
            out.push(finding.alert.clone());
        }
    }

    /// A finding that makes room, or a later one of its group: its last repetitions are told now or never.
    fn close(&mut self, finding: Option<Finding>, out: &mut Vec<Alert>) {
        if let Some(finding) = finding.filter(|finding| finding.untold) {
            self.untold -= 1;
            out.push(finding.alert);
        }
    }

    fn overdue(&mut self, rules: &RuleSet, now: Timestamp, out: &mut Vec<Alert>) {
        for at in rules.timed.iter().copied() {
            let rule = &rules.rules[at];
            for (time, waiting) in self.memories[at].memory.overdue(now) {
                let state = Value::map([("missing", Value::text("the later step did not come"))]);
                let subject = waiting.step.map_or(Subject::Event, |(action, workflow)| Subject::Past(action, workflow));
                self.counts[at].matched += 1;
                self.raise(rule, &Event::given(&waiting.event), time, state, subject, rule.mode == Mode::Shadow, out);
            }
        }
    }

    fn judge(&mut self, rules: &RuleSet, event: &Event<'_>, time: Time, subject: Subject<'_>, out: &mut Vec<Alert>) {
        self.overdue(rules, time.now, out);
        let slots = rules.slots(event);
        let other = other_reading(event);
        let other_slots = other.as_ref().map(|other| rules.slots(other));
        let hash = self.hash.clone();
        let (seen, sighted) = (self.seen.clone(), RefCell::new(Vec::new()));
        let moment = Moment {
            event,
            slots: &slots,
            other: other_slots.as_ref(),
            now: time.now,
            first: time.first,
            complete: time.complete,
            hash: &hash,
            step: match subject {
                Subject::Step(step, _) => Some((step.action.id, step.workflow)),
                Subject::Past(..) | Subject::Event => None,
            },
            seen: &seen,
            sighted: &sighted,
        };
        let mut candidates = std::mem::take(&mut self.candidates);
        rules.candidates(&slots, &mut candidates);
        if let Some(other) = &other_slots {
            let mut more = Vec::new();
            rules.candidates(other, &mut more);
            candidates.extend(more);
            candidates.sort_unstable();
            candidates.dedup();
        }
        for at in candidates.iter().map(|at| *at as usize) {
            let rule = &rules.rules[at];
            let counts = &mut self.counts[at];
            counts.judged += 1;
            let mut spent = false;
            let state = match (&rule.block, &rule.when) {
                (Some(block), _) => self.memories[at].memory.judge(rule, block, &moment, rules),
                (None, Some(when)) => {
                    let time = if when.reads_answer { moment.complete } else { moment.first };
                    match time.then(|| moment.judge(when, rules)) {
                        Some(Judged { truth: Ok(true), .. }) => Some(Value::Null),
                        Some(Judged { truth: Err(_), spent: cut }) => {
                            counts.unknown += 1;
                            spent = cut;
                            None
                        }
                        Some(Judged { truth: Ok(false), .. }) | None => None,
                    }
                }
                (None, None) => None,
            };
            counts.over_budget += u32::from(spent);
            let over = counts.over_budget;
            if spent && over == PATIENCE {
                self.raise(&over_budget(rule), event, moment.now, Value::Null, subject, false, out);
            }
            if let Some(state) = state {
                self.counts[at].matched += 1;
                let shadow = rule.mode == Mode::Shadow || over >= PATIENCE;
                self.raise(rule, event, moment.now, state, subject, shadow, out);
            }
        }
        self.candidates = candidates;
        let step = moment.step.map(|(action, _)| action);
        drop(seen);
        if let Some(seen) = Arc::get_mut(&mut self.seen) {
            seen.note(sighted.into_inner().into_iter(), step);
        }
    }

    fn raise(
        &mut self,
        rule: &Arc<Rule>,
        event: &Event<'_>,
        now: Timestamp,
        state: Value,
        subject: Subject<'_>,
        shadow: bool,
        out: &mut Vec<Alert>,
    ) {
        if rule.exempts(event, now) {
            return;
        }
        let values: Vec<(Arc<str>, Value)> =
            rule.group.iter().map(|name| (Arc::from(name.as_str()), event.field(name).map_or(Value::Null, entity))).collect();
        let group = Value::Map(values.into());
        let key = (rule.reference.id.clone(), group.to_json());
        let (action, proof) = match subject {
            Subject::Step(step, proof) => (Some(step), proof),
            Subject::Past(..) | Subject::Event => (None, proof_of(event)),
        };
        if let Some(step) = action {
            self.note_raised(step.action.id, key.clone());
        }
        let (id, workflow) = match subject {
            Subject::Step(step, _) => (step.action.id, step.workflow),
            Subject::Past(action, workflow) => (action, workflow),
            Subject::Event => (ActionId(0), WorkflowId(0)),
        };
        let chain = self.chain(id);
        if let Some(finding) = self.groups.get_mut(&key)
            && now.since(finding.latest) < rule.quiet
        {
            let alert = &mut finding.alert;
            finding.latest = now;
            alert.count += 1;
            let news = proof > alert.proof || alert.count <= TOLD_EACH || now.since(finding.told) >= TELL;
            alert.proof = alert.proof.max(proof);
            // What followed from the step that was reported first shows more of what happened.
            if chain.iter().any(|link| link.action == alert.action) && alert.action != id {
                alert.action = id;
                alert.chain = chain;
                alert.object = event.field("object").cloned().unwrap_or(Value::Null);
                alert.matched = matched(rule, event);
            }
            self.untold -= usize::from(finding.untold);
            finding.untold = !news;
            self.untold += usize::from(finding.untold);
            if news {
                finding.told = now;
                out.push(finding.alert.clone());
            }
            return;
        }
        let name = format!("{}\u{1f}{}\u{1f}{}\u{1f}{}\u{1f}{}", key.0, rule.reference.version, key.1, id, now.0);
        let alert = Alert {
            uid: format!("{:032x}", KeyedHash::new(*b"agentward-alerts").digest(name.as_bytes())).into(),
            time: now,
            rule: rule.reference.clone(),
            severity: rule.severity,
            proof,
            group,
            count: 1,
            workflow,
            action: id,
            chain,
            actor: part(event, &["agent", "user", "asked_by", "tenant", "credential", "proc"]),
            object: event.field("object").cloned().unwrap_or(Value::Null),
            matched: matched(rule, event),
            state,
            tags: rule.tags.clone(),
            fix: rule.fix.clone(),
            incomplete: action.map_or_else(|| incomplete_of(event), |step| step.action.incomplete.clone()),
            shadow,
        };
        if self.groups.len() >= RULE_KEYS {
            let oldest = self.groups.swap_remove_index(0).map(|(_, finding)| finding);
            self.close(oldest, out);
        }
        let finding = Finding { alert: alert.clone(), latest: now, told: now, untold: false, quiet: rule.quiet };
        let before = self.groups.insert(key, finding);
        self.close(before, out);
        out.push(alert);
    }

    fn note_raised(&mut self, id: ActionId, key: (Arc<str>, String)) {
        if self.raised.len() >= OPEN_ACTIONS {
            self.raised.swap_remove_index(0);
        }
        let keys = self.raised.entry(id).or_default();
        if !keys.contains(&key) {
            keys.push(key);
        }
    }

    /// The answer proves more than the request did: the same alert again.
    fn upgrade(&mut self, id: ActionId, step: &Step, proof: Proof, out: &mut Vec<Alert>) {
        for key in self.raised.get(&id).cloned().unwrap_or_default() {
            let Some(Finding { alert, .. }) = self.groups.get_mut(&key) else { continue };
            let more = proof > alert.proof || (alert.action == step.action.id && alert.incomplete != step.action.incomplete);
            if more {
                alert.proof = alert.proof.max(proof);
                if alert.action == step.action.id {
                    alert.incomplete.clone_from(&step.action.incomplete);
                }
                out.push(alert.clone());
            }
        }
    }

    fn remember(&mut self, step: &Step) {
        let action = &*step.action;
        // The strongest cause leads back to the user's request.
        let cause = step.causes.iter().max_by(|one, other| one.confidence.total_cmp(&other.confidence)).map(|cause| cause.action);
        let link = Link { action: action.id, kind: action.kind.name(), time: action.time, summary: summary(step) };
        let served = self.steps.get(&action.id).is_some_and(|known| known.served);
        self.steps.insert(action.id, Remembered { link, cause, served });
        if self.steps.len() > REMEMBERED {
            self.steps.swap_remove_index(0);
        }
    }

    /// From the user's request to the violating step.
    fn chain(&self, id: ActionId) -> Vec<Link> {
        let mut chain = Vec::new();
        let mut at = Some(id);
        while let Some(step) = at.and_then(|id| self.steps.get(&id)) {
            if chain.len() >= CHAIN || chain.iter().any(|link: &Link| link.action == step.link.action) {
                break;
            }
            chain.push(step.link.clone());
            at = step.cause;
        }
        chain.reverse();
        chain
    }
}

/// When a step is judged: conditions that read answers wait for them.
#[derive(Clone, Copy)]
struct Time {
    now: Timestamp,
    first: bool,
    complete: bool,
}

/// Says that a rule costs too much; it goes on in shadow.
fn over_budget(rule: &Rule) -> Arc<Rule> {
    let reference = RuleRef {
        id: "agentward.rule-over-budget".into(),
        title: format!("The rule {} costs too much and only counts from now on", rule.reference.id).into(),
        ..RuleRef::clone(&rule.reference)
    };
    Arc::new(Rule {
        reference: Arc::new(reference),
        severity: Severity::Medium,
        when: None,
        block: None,
        except: Vec::new(),
        tags: vec!["cwe:400".into()],
        fix: "Narrow what `exists` and `all` walk over, or test the size of the list first.".into(),
        why: Arc::default(),
        false_positives: Arc::default(),
        group: Vec::new(),
        tests: Vec::new(),
        ..rule.clone()
    })
}

/// The event as a reader sees it that takes the first of repeated keys, when its request repeats keys.
fn other_reading<'s>(event: &Event<'s>) -> Option<Event<'s>> {
    let argument = event.get("arg")?;
    repeats(argument).then(|| event.with("arg", first_of_each(argument)))
}

fn repeats(value: &Value) -> bool {
    match value {
        Value::Map(entries) => {
            let twice = if entries.len() <= 16 {
                entries.iter().enumerate().any(|(at, (key, _))| entries[..at].iter().any(|(known, _)| known == key))
            } else {
                let mut seen = HashSet::with_capacity(entries.len());
                !entries.iter().all(|(key, _)| seen.insert(key))
            };
            twice || entries.iter().any(|(_, nested)| repeats(nested))
        }
        Value::List(items) => items.iter().any(repeats),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => false,
    }
}

fn first_of_each(value: &Value) -> Value {
    match value {
        Value::Map(entries) => {
            let mut seen = HashSet::new();
            let first = entries.iter().filter(|(key, _)| seen.insert(key.clone()));
            Value::Map(first.map(|(key, nested)| (key.clone(), first_of_each(nested))).collect())
        }
        Value::List(items) => Value::list(items.iter().map(first_of_each)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => value.clone(),
    }
}

#[derive(Clone, Copy)]
enum Subject<'a> {
    Step(&'a Step, Proof),
    /// A step of before, whose time to be followed ran out.
    Past(ActionId, WorkflowId),
    Event,
}

/// `served`: the other side did it. Kinds that have no answer prove nothing by one.
fn proof(step: &Step) -> Proof {
    use crate::understand::Kind;
    let action = &*step.action;
    match action.kind {
        Kind::ApiRequest | Kind::ApiResponse | Kind::A2aRequest | Kind::McpRequest | Kind::MemoryWrite => {
            let refused = action.mcp.as_ref().and_then(|mcp| mcp.is_error);
            graded(step.completed, refused, action.status)
        }
        Kind::ProcessExec | Kind::FileWrite | Kind::NetConnect => Proof::Served,
        Kind::LlmRequest | Kind::LlmResponse | Kind::ToolCall | Kind::ToolResult | Kind::SelfReport => Proof::None,
    }
}

fn graded(completed: bool, refused: Option<bool>, status: Option<u16>) -> Proof {
    let ok = match (refused, status) {
        (Some(failed), _) => !failed,
        (None, Some(status)) => (200..300).contains(&status),
        (None, None) => false,
    };
    if completed && ok { Proof::Served } else { Proof::Attempted }
}

/// The same of an event that is no step.
fn proof_of(event: &Event<'_>) -> Proof {
    match event.get("kind").and_then(Value::as_str) {
        Some("api.request" | "api.response" | "a2a.request" | "mcp.request" | "memory.write") => {
            let status = event.field("status").or(event.field("http.status")).and_then(Value::as_i64);
            graded(
                true,
                event.field("mcp.is_error").and_then(Value::as_bool),
                status.and_then(|status| u16::try_from(status).ok()),
            )
        }
        Some("process.exec" | "file.write" | "net.connect") => Proof::Served,
        _ => Proof::None,
    }
}

fn incomplete_of(event: &Event<'_>) -> Vec<Incomplete> {
    let reasons = event.get("incomplete").and_then(Value::as_list).unwrap_or_default();
    reasons.iter().filter_map(Value::as_str).map(|reason| Incomplete(reason.to_owned().into())).collect()
}

/// An entity stands for its id.
fn entity(value: &Value) -> Value {
    value.get("id").or(value.get("name")).unwrap_or(value).clone()
}

fn part(event: &Event<'_>, names: &[&'static str]) -> Value {
    Value::map(names.iter().filter_map(|name| Some((*name, event.field(name)?.clone()))).map(|(name, value)| {
        // The prompt is content, not identity.
        let entries =
            value.as_map().map(|entries| Value::Map(entries.iter().filter(|(key, _)| &**key != "prompt").cloned().collect()));
        (name, entries.unwrap_or(value))
    }))
}

/// The fields that the rule's conditions read, with their values.
fn matched(rule: &Rule, event: &Event<'_>) -> Value {
    use super::pack::Block;
    let mut names: Vec<&str> = rule.when.iter().flat_map(|condition| condition.fields.iter().map(String::as_str)).collect();
    match &rule.block {
        Some(Block::Flow { to, .. }) => names.extend(to.fields.iter().map(String::as_str)),
        Some(Block::Sequence { steps, .. }) => {
            names.extend(steps.last().into_iter().flat_map(|step| step.fields.iter().map(String::as_str)))
        }
        Some(Block::Drift { of, key, .. }) => names.extend(of.names(0).iter().chain(key.names(0)).map(String::as_str)),
        Some(Block::Sum { of, .. } | Block::Distinct { of, .. }) => names.extend(of.names(0).iter().map(String::as_str)),
        Some(Block::Owned { .. }) => names.extend(["object.type", "object.id", "user.id"]),
        Some(Block::Count { .. } | Block::Needs { .. } | Block::Then { .. }) | None => {}
    }
    let mut seen = Vec::new();
    for name in names {
        if !seen.iter().any(|(known, _): &(&str, Value)| *known == name)
            && let Some(value) = event.field(name)
        {
            seen.push((name, value.clone()));
        }
    }
    Value::map(seen)
}

/// One phrase for the chain; `deliver` redacts it.
fn summary(step: &Step) -> String {
    use crate::understand::Kind;
    let action = &*step.action;
    let op = action.op.as_deref().unwrap_or(action.kind.name());
    match action.kind {
        Kind::LlmRequest => {
            step.prompt.as_ref().map_or_else(|| op.to_owned(), |prompt| format!("user: {}", cut(prompt.expose_content())))
        }
        Kind::LlmResponse => {
            let calls: Vec<&str> = action.llm.iter().flat_map(|llm| &llm.tool_calls).map(|call| &*call.name).collect();
            if calls.is_empty() { format!("{op} answers") } else { format!("{op} decides {}", calls.join(", ")) }
        }
        Kind::ProcessExec => action
            .system
            .as_ref()
            .map_or_else(|| op.to_owned(), |effect| format!("exec {}", cut(&effect.argv.expose_content().join(" ")))),
        Kind::FileWrite => action
            .system
            .as_ref()
            .map_or_else(|| op.to_owned(), |effect| format!("{} {}", effect.op, effect.path.as_deref().unwrap_or("?"))),
        _ => {
            let arguments = action.arg.expose_content();
            let shown = if arguments.as_map().is_some_and(<[_]>::is_empty) {
                String::new()
            } else {
                format!(" {}", cut(&arguments.to_json()))
            };
            format!("{op}{shown}")
        }
    }
}

fn cut(text: &str) -> String {
    const SHOWN: usize = 120;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
