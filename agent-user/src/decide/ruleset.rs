//! Compiled packs: one vocabulary, the rules of all, and an index from events to the rules that can match them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::event::Event;
use super::index::{Index, LEARNED};
use super::lang::{Compiler, Context, Grant, Node, Paths, Set, Slots, evaluate, glob, nearest};
use super::pack::{Block, Exception, Fault, Mode, NamedList, Operation, Pack, Pattern, Rule, Target};
use crate::base::Value;
use crate::understand::{HostSources, Source};

/// Rules that judge together.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    pub rules: Vec<Arc<Rule>>,
    lists: BTreeMap<String, Arc<Set>>,
    pub(super) grants: Vec<Grant>,
    identities: Arc<[HostSources]>,
    operations: Operations,
    pub(super) paths: Paths,
    index: Index,
    /// The condition of each rule's `when`, beside each other: most of what is read of a rule that does not match.
    whens: Vec<Option<Node>>,
    /// Rules that alert when time passes.
    pub(super) timed: Vec<usize>,
    pub packs: Vec<(Arc<str>, Arc<str>, Arc<str>)>,
    /// Says whether two sets are the same.
    pub(super) stamp: u64,
}

impl RuleSet {
    /// Joins packs. What a pack says of others is checked here; every fault is told.
    pub fn join(packs: Vec<Pack>) -> Result<RuleSet, Vec<Fault>> {
        let mut set = RuleSet::default();
        let mut faults = Vec::new();
        let names: Vec<Arc<str>> = packs.iter().map(|pack| pack.name.clone()).collect();
        for (name, fault) in packs.iter().flat_map(|pack| &pack.requires) {
            if !names.iter().any(|known| **known == **name) {
                faults.push(with_hint(fault, name, names.iter().map(|name| &**name)));
            }
        }
        for (at, pack) in packs.iter().enumerate() {
            if packs[..at].iter().any(|earlier| earlier.name == pack.name) {
                let reason = format!("a pack called {} is already loaded; give this one a name of its own", pack.name);
                faults.push(Fault { file: pack.file.clone(), line: 1, column: 1, reason });
            }
        }
        set.lists = joined_lists(&packs);
        let mut seen: BTreeMap<Arc<str>, String> = BTreeMap::new();
        let mut filters = Vec::new();
        let mut identities = Vec::new();
        for pack in packs {
            set.operations.prepend(pack.operations);
            set.grants.extend(pack.grants);
            identities.splice(0..0, pack.identities);
            filters.extend(pack.filters);
            set.packs.push((pack.name, pack.version, pack.hash));
            for rule in pack.rules {
                let id = rule.reference.id.clone();
                if let Some(other) = seen.insert(id.clone(), pack.file.clone()) {
                    let reason = format!("rule {id} is already defined in {other}; give this one an id of its own");
                    faults.push(Fault { file: pack.file.clone(), line: rule.line, column: 1, reason });
                }
                for (name, fault) in rule.conditions().into_iter().flat_map(|condition| &condition.lists) {
                    if !set.lists.contains_key(name) {
                        faults.push(with_hint(fault, name, set.lists.keys().map(String::as_str)));
                    }
                }
                set.rules.push(Arc::new(rule));
            }
        }
        for filter in filters {
            for (pattern, fault) in &filter.rules {
                let mut hit = false;
                for rule in &mut set.rules {
                    if glob(rule.reference.id.as_bytes(), pattern.as_bytes()) {
                        Arc::make_mut(rule).except.push(filter.exception.clone());
                        hit = true;
                    }
                }
                if !hit {
                    faults.push(with_hint(fault, pattern, seen.keys().map(|id| &**id)));
                }
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        set.operations.fill_paths(&mut identities);
        set.identities = identities.into();
        set.compile();
        Ok(set)
    }

    /// The same vocabulary with one rule.
    pub fn only(&self, rule: &Arc<Rule>) -> RuleSet {
        let mut alone = Rule::clone(rule);
        if alone.mode == Mode::Off {
            alone.mode = Mode::Shadow;
        }
        let mut set = RuleSet {
            rules: vec![Arc::new(alone)],
            lists: self.lists.clone(),
            grants: self.grants.clone(),
            operations: self.operations.clone(),
            identities: self.identities.clone(),
            packs: self.packs.clone(),
            ..RuleSet::default()
        };
        set.compile();
        set
    }

    fn compile(&mut self) {
        // What the index asks of every event that a block learns from.
        for name in LEARNED {
            self.paths.slot(name);
        }
        for rule in &mut self.rules {
            let rule = Arc::make_mut(rule);
            let mut compiler = Compiler { paths: &mut self.paths, lists: &self.lists };
            for condition in rule.conditions_mut() {
                condition.program = compiler.compile(&condition.expression);
            }
            let block = rule.block.iter_mut().flat_map(Block::keys_mut);
            block.for_each(|keys| keys.compile(&mut self.paths));
        }
        self.index = Index::new(&self.rules, &self.paths);
        self.whens = self.rules.iter().map(|rule| rule.when.as_ref().map(|when| when.program.clone())).collect();
        let timed = |rule: &Rule| rule.mode != Mode::Off && matches!(rule.block, Some(Block::Then { .. }));
        self.timed = (0..self.rules.len()).filter(|at| timed(&self.rules[*at])).collect();
        let mut digest = Sha256::new();
        for (name, version, hash) in &self.packs {
            digest.update(format!("{name}\u{1f}{version}\u{1f}{hash}\u{1f}"));
        }
        self.rules.iter().for_each(|rule| digest.update(rule.reference.id.as_bytes()));
        self.stamp = digest.finalize().iter().take(8).fold(0, |stamp, byte| stamp << 8 | u64::from(*byte));
    }

    /// Positions of the rules that this event can touch, in their order.
    pub(super) fn candidates(&self, slots: &Slots<'_>, out: &mut Vec<u32>) {
        self.index.candidates(slots, out);
    }

    /// Positions of the rules whose `when` holds for this event alone; what rules remember is not asked. Gives their number.
    pub fn matching(&self, event: &Event<'_>, found: &mut Vec<u32>) -> usize {
        let slots = self.slots(event);
        self.index.candidates(&slots, found);
        found.retain(|at| {
            let when = self.whens[*at as usize].as_ref();
            when.is_some_and(|when| evaluate(when, &Context::new(&slots, &self.grants)) == Ok(true))
        });
        found.len()
    }

    /// Programs of a rule's conditions, for measurements.
    pub fn programs(&self, at: usize) -> Vec<&Node> {
        self.rules[at].conditions().into_iter().map(|condition| &condition.program).collect()
    }

    /// An event as the rules of this set read it.
    pub fn slots<'e>(&'e self, event: &'e Event<'e>) -> Slots<'e> {
        Slots::new(event, &self.paths)
    }

    pub(super) fn lists(&self) -> &BTreeMap<String, Arc<Set>> {
        &self.lists
    }

    /// Where requests say who acts.
    pub fn identities(&self) -> Arc<[HostSources]> {
        self.identities.clone()
    }

    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// Names the event by the vocabulary: the first operation that matches overrides what was inferred. True when what the operation
    /// says of the event is known with the answer only.
    pub(super) fn name(&self, event: &mut Event<'_>) -> bool {
        self.operations.name(event)
    }

    /// Some operation says where its answer names objects.
    pub(super) fn tells_owners(&self) -> bool {
        self.operations.all.iter().any(|operation| !operation.returns.is_empty())
    }

    /// What an operation's answer says of owners: `type`, `id` and `owner` pointers.
    pub(super) fn returns(&self, op: &str) -> Option<&BTreeMap<String, Target>> {
        let operation = self.operations.all.iter().find(|operation| &*operation.id == op);
        operation.map(|operation| &operation.returns).filter(|returns| !returns.is_empty())
    }
}

/// Operations, later packs first: they are more particular than the built-in ones. Exact inferred names are found by hash.
#[derive(Clone, Debug, Default)]
struct Operations {
    all: Vec<Operation>,
    exact: HashMap<String, usize>,
    /// Positions of those that must be tried one by one.
    others: Vec<usize>,
}

impl Operations {
    /// Variables of the path are those of the operations of that host.
    fn fill_paths(&self, identities: &mut [HostSources]) {
        for host in identities {
            let templates: Vec<Vec<String>> = self
                .all
                .iter()
                .filter_map(|operation| match &operation.pattern {
                    Pattern::Http { host: named, path, .. }
                        if *named == host.host || glob(named.as_bytes(), host.host.as_bytes()) =>
                    {
                        Some(path.clone())
                    }
                    Pattern::Http { .. } | Pattern::Inferred(_) => None,
                })
                .collect();
            let all = [&mut host.user, &mut host.tenant, &mut host.agent, &mut host.scopes];
            for source in all.into_iter().flatten() {
                if let Source::Path { name, templates: known } = source {
                    let variable = format!("{{{name}}}");
                    known.extend(templates.iter().filter(|template| template.contains(&variable)).cloned());
                }
            }
        }
    }

    fn prepend(&mut self, operations: Vec<Operation>) {
        self.all.splice(0..0, operations);
        self.exact.clear();
        self.others.clear();
        for (at, operation) in self.all.iter().enumerate() {
            match &operation.pattern {
                Pattern::Inferred(name) if !name.contains(['*', '?']) => {
                    self.exact.entry(name.clone()).or_insert(at);
                }
                Pattern::Inferred(_) | Pattern::Http { .. } => self.others.push(at),
            }
        }
    }

    fn name(&self, event: &mut Event<'_>) -> bool {
        if self.all.is_empty() {
            return false;
        }
        let exact = event.text("op", None).and_then(|op| self.exact.get(op)).copied();
        let before = exact.unwrap_or(usize::MAX);
        let other = self.others.iter().take_while(|at| **at < before).find_map(|at| Some((*at, self.all[*at].matches(event)?)));
        let (at, variables) = match (other, exact) {
            (Some(other), _) => other,
            (None, Some(at)) => (at, BTreeMap::new()),
            (None, None) => return false,
        };
        let operation = &self.all[at];
        let said = operation.name(event, &variables);
        event.replace(said);
        operation.reads_answer()
    }
}

/// Lists replace those of earlier packs; what appends comes after every replacement, whatever the order of packs.
fn joined_lists(packs: &[Pack]) -> BTreeMap<String, Arc<Set>> {
    let mut values: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    let of = |append: bool| {
        packs.iter().flat_map(|pack| &pack.lists).filter(move |(_, list): &(&String, &NamedList)| list.append == append)
    };
    for (name, list) in of(false) {
        values.insert(name, list.values.clone());
    }
    for (name, list) in of(true) {
        values.entry(name).or_default().extend(list.values.iter().cloned());
    }
    values.into_iter().map(|(name, values)| (name.to_owned(), Arc::new(Set::new(values)))).collect()
}

fn with_hint<'a>(fault: &Fault, word: &str, names: impl Iterator<Item = &'a str>) -> Fault {
    let hint = nearest(word, names).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Fault { reason: format!("{}{hint}", fault.reason), ..fault.clone() }
}

/// A fingerprint of what a rule remembers and how: state survives a reload when it is the same.
pub(super) fn block_print(rule: &Rule) -> u64 {
    let when = rule.when.as_ref().map_or("", |when| when.text.as_str());
    let text = match &rule.block {
        None => String::new(),
        Some(Block::Sequence { steps, same, within, without, ordered }) => {
            let steps: Vec<&str> = steps.iter().map(|step| step.text.as_str()).collect();
            format!("sequence {steps:?} {same} {within:?} {:?} {ordered}", without.as_ref().map(|without| &without.text))
        }
        Some(Block::Needs { earlier, same, within, use_once, voided_by }) => {
            format!("needs {} {same} {within:?} {use_once} {:?}", earlier.text, voided_by.as_ref().map(|voided| &voided.text))
        }
        Some(Block::Then { later, same, within }) => format!("then {} {same} {within:?}", later.text),
        Some(Block::Flow { from, to, within, overlap, kind, not_from }) => {
            format!("flow {} {} {within:?} {overlap} {kind:?} {not_from:?}", from.text, to.text)
        }
        Some(Block::Count { by, within, over, without }) => {
            format!("count {by} {within:?} {over} {:?}", without.as_ref().map(|without| &without.text))
        }
        Some(Block::Distinct { of, by, within, over }) => format!("distinct {of} {by} {within:?} {over}"),
        Some(Block::Sum { of, by, within, over }) => format!("sum {of} {by} {within:?} {over}"),
        Some(Block::Owned { object, by, unknown, learn }) => format!("owned {object} {by} {unknown} {learn:?}"),
        Some(Block::Drift { of, key, learn, alert }) => format!("drift {of} {key} {learn:?} {alert:?}"),
    };
    let digest = Sha256::digest(format!("{when}\u{1f}{text}"));
    digest.iter().take(8).fold(0, |print, byte| print << 8 | u64::from(*byte))
}

/// True when the exception holds at that time.
pub(super) fn excepted(exception: &Exception, event: &Event<'_>, seconds: i64) -> bool {
    exception.until.is_none_or(|until| seconds <= until)
        && exception.fields.iter().all(|(name, wanted)| {
            event.field(name).is_some_and(|found| match (found, wanted) {
                (Value::Text(found), Value::Text(wanted)) => glob(found.as_bytes(), wanted.as_bytes()),
                (Value::Map(_), Value::Text(wanted)) => {
                    found.get("id").and_then(Value::as_str).is_some_and(|id| glob(id.as_bytes(), wanted.as_bytes()))
                }
                (found, Value::List(wanted)) => wanted.contains(found),
                (found, wanted) => found == wanted,
            })
        })
}
