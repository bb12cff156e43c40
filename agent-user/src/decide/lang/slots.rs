//! What an event says, by slot: each path is looked up once per event, however many rules read it.

use std::cell::{Cell, OnceCell};
use std::collections::HashMap;
use std::sync::LazyLock;

use super::fields::FIELDS;
use crate::base::Value;
use crate::decide::Event;

/// Number of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u32);

/// Paths below `arg` and `result` that are remembered once read; further ones are looked up each time.
const OWN_PATHS: usize = 256;

/// The numbers of paths: those of the registry, then those below `arg` and `result` in the order in which rules name them.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    own: Vec<Vec<Box<str>>>,
    names: Vec<Box<str>>,
    known: HashMap<Box<str>, u32>,
}

static REGISTRY: LazyLock<HashMap<&'static str, u32>> =
    LazyLock::new(|| FIELDS.iter().zip(0..).map(|((name, _), at)| (*name, at)).collect());

impl Paths {
    pub fn slot(&mut self, path: &str) -> Slot {
        if let Some(at) = REGISTRY.get(path).or_else(|| self.known.get(path)) {
            return Slot(*at);
        }
        let at = u32::try_from(FIELDS.len() + self.own.len()).unwrap_or(u32::MAX);
        self.own.push(path.split('.').map(Box::from).collect());
        self.names.push(path.into());
        self.known.insert(path.into(), at);
        Slot(at)
    }

    /// The number of a name of the registry.
    pub fn registered(name: &str) -> Option<Slot> {
        REGISTRY.get(name).map(|at| Slot(*at))
    }

    pub fn name(&self, slot: Slot) -> &str {
        let at = slot.0 as usize;
        FIELDS.get(at).map_or_else(|| &*self.names[at - FIELDS.len()], |(name, _)| name)
    }
}

/// A value without its allocation: what comparisons read.
#[derive(Clone, Copy, Debug)]
pub enum Fact<'e> {
    Unread,
    Absent,
    Null,
    Bool(bool),
    Number(f64),
    Text(&'e str),
    /// A list or a map.
    Tree(&'e Value),
}

impl<'e> From<&'e Value> for Fact<'e> {
    fn from(value: &'e Value) -> Fact<'e> {
        match value {
            Value::Null => Fact::Null,
            Value::Bool(flag) => Fact::Bool(*flag),
            Value::Number(number) => Fact::Number(number.as_f64()),
            Value::Text(text) => Fact::Text(text),
            Value::List(_) | Value::Map(_) => Fact::Tree(value),
        }
    }
}

/// One event, read lazily.
pub struct Slots<'e> {
    event: &'e Event<'e>,
    paths: &'e Paths,
    facts: Vec<Cell<Fact<'e>>>,
    argument: OnceCell<String>,
    answer: OnceCell<String>,
}

impl<'e> Slots<'e> {
    pub fn new(event: &'e Event<'e>, paths: &'e Paths) -> Slots<'e> {
        let count = FIELDS.len() + paths.own.len().min(OWN_PATHS);
        let mut facts = Vec::with_capacity(count);
        facts.resize_with(count, || Cell::new(Fact::Unread));
        Slots { event, paths, facts, argument: OnceCell::new(), answer: OnceCell::new() }
    }

    pub fn event(&self) -> &'e Event<'e> {
        self.event
    }

    /// Never [`Fact::Unread`].
    #[inline]
    pub fn read(&self, slot: Slot) -> Fact<'e> {
        let Some(cell) = self.facts.get(slot.0 as usize) else { return self.find(slot) };
        match cell.get() {
            Fact::Unread => {
                let found = self.find(slot);
                cell.set(found);
                found
            }
            known => known,
        }
    }

    #[cold]
    fn find(&self, slot: Slot) -> Fact<'e> {
        let at = slot.0 as usize;
        if let Some((name, _)) = FIELDS.get(at) {
            return match name.split_once('.') {
                None => self.event.fact(name, None),
                Some((group, below)) => self.event.fact(group, Some(below)),
            };
        }
        let mut parts = self.paths.own[at - FIELDS.len()].iter();
        let first = parts.next().and_then(|name| self.event.get(name));
        let found = first.and_then(|first| parts.try_fold(first, |value, part| value.get(part)));
        found.map_or(Fact::Absent, Fact::from)
    }

    /// `text(arg)` and `text(result)`, made once.
    pub fn as_text(&self, slot: Slot) -> Option<&str> {
        let cell = match self.paths.name(slot) {
            "arg" => &self.argument,
            "result" => &self.answer,
            _ => return None,
        };
        if let Some(made) = cell.get() {
            return Some(made);
        }
        let made = match self.read(slot) {
            Fact::Tree(value) => value.to_json(),
            Fact::Text(text) => text.to_owned(),
            _ => return None,
        };
        Some(cell.get_or_init(|| made))
    }
}
