//! From an event to the rules that can match it: what each rule cannot do without is its anchor.
//!
//! An event looks up its own words; rules that hang on other words cost nothing. Texts that rules search are scanned once, by one
//! automaton for all rules that search them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use regex_syntax::hir::{Class, Hir, HirKind};

use super::lang::{Fact, Function, Node, Paths, Slot, Slots, WordHash};
use super::pack::{Block, Mode, Rule};
use super::search::Search;
use crate::base::Value;
use crate::base::value::is_plain;

/// One thing without which a condition cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Anchor {
    Equal(Slot, Arc<str>),
    Truth(Slot, bool),
    Present(Slot),
    /// A list or a map stands there: its items are asked, not its text.
    Tree(Slot),
    /// A text that stands in a field, or in a whole tree written as text; lower case.
    Within(Slot, bool, String),
}

/// Positions of rules, as a range of [`Index::places`]: rules that one word leads to stand beside each other.
#[derive(Clone, Copy, Debug)]
struct Places {
    from: u32,
    to: u32,
}

/// From the words of a field to rules.
type Words = HashMap<Arc<str>, Places, WordHash>;

/// Kinds of events; `None` for any.
type Kinds = Option<Vec<Arc<str>>>;

/// Anchors of which one must be there, and how many events are thought to pass.
type Need = (u32, Vec<Anchor>);

/// More alternatives than this are no anchor.
const ALTERNATIVES: usize = 256;

/// What an event has that a block learns ownership from.
pub(super) const LEARNED: [&str; 2] = ["result", "object"];

/// Shorter texts stand everywhere.
const SHORTEST: usize = 3;

#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    always: Vec<u32>,
    equal: Vec<(Slot, Words)>,
    places: Vec<u32>,
    truths: Vec<(Slot, bool, Vec<u32>)>,
    present: Vec<(Slot, Vec<u32>)>,
    trees: Vec<(Slot, Vec<u32>)>,
    texts: Vec<Haystack>,
    kind: Option<Slot>,
}

#[derive(Clone, Debug)]
struct Haystack {
    slot: Slot,
    whole: bool,
    /// No pattern holds a sign of JSON: none reaches from one value of a tree into the next.
    within_leaves: bool,
    search: Search,
    /// Rules of each pattern.
    rules: Vec<Places>,
    /// Kinds of events that its rules speak of; `None` when one speaks of all.
    kinds: Kinds,
}

impl Index {
    pub(super) fn new(rules: &[Arc<Rule>], paths: &Paths) -> Index {
        let mut index = Index::default();
        let mut equal: BTreeMap<Slot, HashMap<Arc<str>, Vec<u32>>> = BTreeMap::new();
        let mut truths: BTreeMap<(Slot, bool), Vec<u32>> = BTreeMap::new();
        let mut present: BTreeMap<Slot, Vec<u32>> = BTreeMap::new();
        let mut trees: BTreeMap<Slot, Vec<u32>> = BTreeMap::new();
        let mut texts: BTreeMap<(Slot, bool), BTreeMap<String, Vec<u32>>> = BTreeMap::new();
        let mut kinds: BTreeMap<(Slot, bool), Option<Vec<Arc<str>>>> = BTreeMap::new();
        let reader = Anchors { paths };
        for (at, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.mode != Mode::Off) {
            let at = u32::try_from(at).unwrap_or(u32::MAX);
            let Some(anchors) = reader.of_rule(rule) else {
                index.always.push(at);
                continue;
            };
            for (anchor, of_kinds) in anchors {
                let list = match anchor {
                    Anchor::Equal(slot, text) => equal.entry(slot).or_default().entry(text).or_default(),
                    Anchor::Truth(slot, truth) => truths.entry((slot, truth)).or_default(),
                    Anchor::Present(slot) => present.entry(slot).or_default(),
                    Anchor::Tree(slot) => trees.entry(slot).or_default(),
                    Anchor::Within(slot, whole, text) => {
                        let known = kinds.entry((slot, whole)).or_insert_with(|| Some(Vec::new()));
                        *known = match (known.take(), of_kinds) {
                            (Some(mut known), Some(more)) => {
                                known.extend(more);
                                Some(known)
                            }
                            _ => None,
                        };
                        texts.entry((slot, whole)).or_default().entry(text).or_default()
                    }
                };
                if list.last() != Some(&at) {
                    list.push(at);
                }
            }
        }
        for (slot, words) in equal {
            let words = words.into_iter().map(|(word, rules)| (word, index.keep(&rules))).collect();
            index.equal.push((slot, words));
        }
        index.truths = truths.into_iter().map(|((slot, truth), rules)| (slot, truth, rules)).collect();
        index.present = present.into_iter().collect();
        index.trees = trees.into_iter().collect();
        index.kind = paths.named("kind");
        for ((slot, whole), patterns) in texts {
            let words: Vec<&str> = patterns.keys().map(String::as_str).collect();
            let within_leaves = words.iter().all(|word| is_plain(word) && !word.contains(['{', '}', '[', ']', ':', ',']));
            match Search::new(&words) {
                Ok(search) => {
                    let rules = patterns.into_values().map(|rules| index.keep(&rules)).collect();
                    let mut kinds = kinds.remove(&(slot, whole)).flatten();
                    // One for each kind, not for each rule that speaks of it.
                    kinds.iter_mut().for_each(|kinds| {
                        kinds.sort_unstable();
                        kinds.dedup();
                    });
                    index.texts.push(Haystack { slot, whole, within_leaves, search, rules, kinds });
                }
                // Too many patterns for one automaton: their rules are tried on every event.
                Err(_) => index.always.extend(patterns.into_values().flatten()),
            }
        }
        index.always.sort_unstable();
        index.always.dedup();
        index
    }

    fn keep(&mut self, rules: &[u32]) -> Places {
        let place = |places: &[u32]| u32::try_from(places.len()).unwrap_or(u32::MAX);
        let from = place(&self.places);
        self.places.extend_from_slice(rules);
        Places { from, to: place(&self.places) }
    }

    fn kept(&self, places: Places) -> &[u32] {
        &self.places[places.from as usize..places.to as usize]
    }

    /// Positions of the rules that this event can touch, in their order.
    pub(super) fn candidates(&self, slots: &Slots<'_>, out: &mut Vec<u32>) {
        out.clear();
        out.extend_from_slice(&self.always);
        for (slot, words) in &self.equal {
            let found = match slots.read(*slot) {
                Fact::Text(text) => words.get(text),
                Fact::Tree(value) => value.get("id").and_then(Value::as_str).and_then(|id| words.get(id)),
                Fact::Unread | Fact::Absent | Fact::Null | Fact::Bool(_) | Fact::Number(_) => None,
            };
            out.extend(found.into_iter().flat_map(|places| self.kept(*places)));
        }
        for (slot, truth, rules) in &self.truths {
            if matches!(slots.read(*slot), Fact::Bool(found) if found == *truth) {
                out.extend_from_slice(rules);
            }
        }
        for (slot, rules) in &self.present {
            if !matches!(slots.read(*slot), Fact::Absent | Fact::Unread) {
                out.extend_from_slice(rules);
            }
        }
        for (slot, rules) in &self.trees {
            if matches!(slots.read(*slot), Fact::Tree(_)) {
                out.extend_from_slice(rules);
            }
        }
        for haystack in &self.texts {
            haystack.search(slots, self.kind, &mut |places| out.extend_from_slice(self.kept(places)));
        }
        if !out.is_sorted_by(|one, other| one < other) {
            out.sort_unstable();
            out.dedup();
        }
    }
}

impl Haystack {
    fn search(&self, slots: &Slots<'_>, kind: Option<Slot>, found: &mut impl FnMut(Places)) {
        if let (Some(kinds), Some(kind)) = (&self.kinds, kind)
            && !matches!(slots.read(kind), Fact::Text(found) if kinds.iter().any(|known| **known == *found))
        {
            return;
        }
        let mut take = |pattern: usize| found(self.rules[pattern]);
        let text = match slots.read(self.slot) {
            // The text of a tree is made only where its parts do not say the same.
            Fact::Tree(tree) if self.whole && self.within_leaves && self.leaves(tree, &mut take) => return,
            _ if self.whole => slots.as_text(self.slot),
            Fact::Text(text) => Some(text),
            _ => None,
        };
        let Some(text) = text else { return };
        self.search.each(text, &mut take);
    }

    /// Searches the parts of a tree; false when one of them is written otherwise in JSON.
    fn leaves(&self, tree: &Value, found: &mut impl FnMut(usize)) -> bool {
        let text = |text: &str, found: &mut _| {
            let plain = is_plain(text);
            if plain {
                self.search.each(text, found);
            }
            plain
        };
        match tree {
            Value::Null => text("null", found),
            Value::Bool(flag) => text(if *flag { "true" } else { "false" }, found),
            Value::Number(number) => text(&number.text, found),
            Value::Text(leaf) => text(leaf, found),
            Value::List(items) => items.iter().all(|item| self.leaves(item, found)),
            Value::Map(entries) => entries.iter().all(|(key, value)| text(key, found) && self.leaves(value, found)),
        }
    }
}

struct Anchors<'a> {
    paths: &'a Paths,
}

impl Anchors<'_> {
    /// Every anchor of a rule, with the kinds of its condition; `None` when it must see every event.
    fn of_rule(&self, rule: &Rule) -> Option<Vec<(Anchor, Kinds)>> {
        // A block that learns from every answer.
        if let Some(Block::Owned { .. }) = &rule.block {
            return LEARNED.iter().map(|name| Some((Anchor::Present(self.paths.named(name)?), None))).collect();
        }
        let mut found = Vec::new();
        for (at, condition) in rule.conditions().into_iter().enumerate() {
            // The `when` of a flow narrows its `to`; of a sequence its last step.
            let narrows =
                at == 0 && rule.when.is_some() && matches!(rule.block, Some(Block::Flow { .. } | Block::Sequence { .. }));
            if narrows {
                continue;
            }
            let (_, anchors) = self.of(&condition.program)?;
            let kinds = self.kinds(&condition.program);
            found.extend(anchors.into_iter().map(|anchor| (anchor, kinds.clone())));
        }
        (!found.is_empty()).then_some(found)
    }

    fn weight(&self, slot: Slot) -> u32 {
        match self.paths.name(slot) {
            "kind" => 40,
            "effect" => 20,
            "http.method" | "status" | "http.scheme" => 30,
            "mcp.method" | "object.type" | "provider" => 8,
            _ => 2,
        }
    }

    fn presence(&self, slot: Slot) -> Need {
        let weight = match self.paths.name(slot) {
            "kind" | "op" | "arg" | "workflow" | "time" | "step" | "incomplete" | "anomalies" | "inbound" | "side_call" => 400,
            "result" | "status" | "proc" | "proc.pid" | "proc.name" | "agent" | "agent.id" | "agent.name" | "user" => 200,
            _ => 60,
        };
        (weight, vec![Anchor::Present(slot)])
    }

    fn of(&self, node: &Node) -> Option<Need> {
        match node {
            Node::TextIs(slot, text, true) => Some((self.weight(*slot), vec![Anchor::Equal(*slot, text.clone())])),
            Node::TextIn(slot, set) if set.texts.len() <= ALTERNATIVES => {
                let mut texts: Vec<&Arc<str>> = set.texts.iter().collect();
                texts.sort_unstable();
                let count = u32::try_from(texts.len()).unwrap_or(u32::MAX);
                let anchors = texts.into_iter().map(|text| Anchor::Equal(*slot, text.clone())).collect();
                Some((self.weight(*slot).saturating_mul(count), anchors))
            }
            Node::BoolIs(slot, truth) => Some((80, vec![Anchor::Truth(*slot, *truth)])),
            Node::Has(one) => match &**one {
                Node::Slot(slot) => Some(self.presence(*slot)),
                _ => None,
            },
            Node::All(parts) => parts.iter().filter_map(|part| self.of(part)).min_by_key(|(weight, _)| *weight),
            Node::Any(parts) => {
                let mut all = (0_u32, Vec::new());
                for part in parts {
                    let (weight, anchors) = self.of(part)?;
                    all.0 = all.0.saturating_add(weight);
                    all.1.extend(anchors);
                }
                (all.1.len() <= ALTERNATIVES).then_some(all)
            }
            Node::Matches(one, regex) => {
                let required = regex_syntax::parse(regex.as_str()).ok().and_then(|hir| required(&hir));
                self.within(one, required).or_else(|| self.strict(node))
            }
            Node::Call(Function::Contains | Function::StartsWith | Function::EndsWith, arguments) => match arguments.get(1) {
                Some(Node::Text(text)) => {
                    self.within(&arguments[0], Some(vec![text.to_lowercase()])).or_else(|| self.strict(node))
                }
                _ => self.strict(node),
            },
            Node::Part(slot, _, text) => {
                self.within(&Node::Slot(*slot), Some(vec![text.to_lowercase()])).or_else(|| self.strict(node))
            }
            Node::Bool(_) => None,
            other => self.strict(other),
        }
    }

    /// The texts of which one stands in what is searched.
    fn within(&self, searched: &Node, texts: Option<Vec<String>>) -> Option<Need> {
        let texts = texts.filter(|texts| texts.iter().all(|text| text.len() >= SHORTEST && text.is_ascii()))?;
        let (slot, whole) = match searched {
            Node::TextOf(slot) => (*slot, true),
            Node::Slot(slot) if !matches!(self.paths.name(*slot), "arg" | "result") => (*slot, false),
            _ => return None,
        };
        let list = (!whole && self.open(slot)).then_some(Anchor::Tree(slot));
        Some((15, texts.into_iter().map(|text| Anchor::Within(slot, whole, text)).chain(list).collect()))
    }

    fn open(&self, slot: Slot) -> bool {
        let name = self.paths.name(slot);
        name.starts_with("arg.")
            || name.starts_with("result.")
            || super::lang::FIELDS.iter().any(|(known, kind)| *known == name && *kind != super::lang::Type::Text)
    }

    /// A field whose absence makes the node unknown.
    fn strict(&self, node: &Node) -> Option<Need> {
        match node {
            Node::Slot(slot)
            | Node::TextOf(slot)
            | Node::TextIs(slot, ..)
            | Node::NumberIs(slot, ..)
            | Node::BoolIs(slot, _)
            | Node::Part(slot, ..)
            | Node::TextIn(slot, _) => Some(self.presence(*slot)),
            Node::Not(one) | Node::Negate(one) | Node::Matches(one, _) | Node::InSet(one, _) | Node::Index(one, _) => {
                self.strict(one)
            }
            Node::Compare(_, one, other) | Node::In(one, other) | Node::Add(one, other) | Node::Subtract(one, other) => {
                self.strict(one).or_else(|| self.strict(other))
            }
            Node::Call(_, arguments) => arguments.iter().find_map(|argument| self.strict(argument)),
            Node::Every { over, .. } => self.strict(over),
            Node::Choose(parts) => self.strict(&parts.0),
            Node::Constant(_)
            | Node::Number(_)
            | Node::Text(_)
            | Node::Bool(_)
            | Node::Variable(..)
            | Node::List(_)
            | Node::Named(_)
            | Node::Has(_)
            | Node::All(_)
            | Node::Any(_) => None,
        }
    }

    /// The kinds without which the condition cannot hold.
    fn kinds(&self, node: &Node) -> Option<Vec<Arc<str>>> {
        match node {
            Node::TextIs(slot, text, true) if self.paths.name(*slot) == "kind" => Some(vec![text.clone()]),
            Node::TextIn(slot, set) if self.paths.name(*slot) == "kind" => Some(set.texts.iter().cloned().collect()),
            Node::All(parts) => parts.iter().find_map(|part| self.kinds(part)),
            Node::Any(parts) => {
                let all: Option<Vec<Vec<Arc<str>>>> = parts.iter().map(|part| self.kinds(part)).collect();
                all.map(|all| all.concat())
            }
            _ => None,
        }
    }
}

/// Texts of which one stands in every match, in lower case.
fn required(hir: &Hir) -> Option<Vec<String>> {
    let mut best: Option<Vec<String>> = None;
    let mut offer = |texts: Vec<String>| {
        let shortest = |texts: &[String]| texts.iter().map(String::len).min().unwrap_or_default();
        let better = best.as_ref().is_none_or(|best| (shortest(&texts), best.len()) > (shortest(best), texts.len()));
        if better && shortest(&texts) >= SHORTEST && texts.len() <= 64 {
            best = Some(texts);
        }
    };
    match hir.kind() {
        HirKind::Literal(literal) => {
            if let Ok(text) = std::str::from_utf8(&literal.0) {
                offer(vec![text.to_lowercase()]);
            }
        }
        HirKind::Capture(capture) => return required(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => return required(&repetition.sub),
        HirKind::Alternation(parts) => {
            let all: Option<Vec<Vec<String>>> = parts.iter().map(required).collect();
            offer(all?.concat());
        }
        HirKind::Concat(parts) => {
            let mut run = String::new();
            for part in parts {
                match part.kind() {
                    HirKind::Literal(literal) => {
                        if let Ok(text) = std::str::from_utf8(&literal.0) {
                            run.push_str(&text.to_lowercase());
                            continue;
                        }
                    }
                    HirKind::Class(class) => {
                        if let Some(letter) = one_letter(class) {
                            run.push(letter);
                            continue;
                        }
                    }
                    _ => {}
                }
                offer(vec![std::mem::take(&mut run)]);
                if let Some(texts) = required(part) {
                    offer(texts);
                }
            }
            offer(vec![run]);
        }
        HirKind::Empty | HirKind::Class(_) | HirKind::Look(_) | HirKind::Repetition(_) => {}
    }
    best
}

/// A class that is one letter in both cases. The long s and the Kelvin sign are other letters: their classes are no letter.
fn one_letter(class: &Class) -> Option<char> {
    let letters: Vec<char> = match class {
        Class::Unicode(class) => class.ranges().iter().flat_map(|range| [range.start(), range.end()]).collect(),
        Class::Bytes(class) => class.ranges().iter().flat_map(|range| [range.start() as char, range.end() as char]).collect(),
    };
    let first = letters.first()?.to_ascii_lowercase();
    (letters.len() == 4
        && letters[0] == letters[1]
        && letters[2] == letters[3]
        && letters.iter().all(|letter| letter.to_ascii_lowercase() == first))
    .then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_give_the_texts_that_they_need() {
        for (pattern, expected) in [
            ("(?i)(curl|wget)[^|]{0,400}", Some(vec!["curl", "wget"])),
            ("^bash\\s", Some(vec!["bash"])),
            ("(?i)approv", Some(vec!["approv"])),
            ("a|b", None),
            ("(refund)+x?", Some(vec!["refund"])),
            ("[0-9]+", None),
            ("(?i)denied|refused", Some(vec!["denied", "refu"])),
        ] {
            let found = required(&regex_syntax::parse(pattern).expect("a pattern"));
            assert_eq!(found, expected.map(|texts| texts.into_iter().map(str::to_owned).collect()), "{pattern}");
        }
    }
}
