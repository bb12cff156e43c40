//! What an event says, by slot: each path is looked up once per event, however many rules read it.

use std::cell::{Cell, OnceCell};
use std::collections::HashMap;

use super::fields::{FIELDS, Type, is_entity};
use crate::base::Value;
use crate::decide::Event;

/// Number of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u32);

/// Paths that are remembered once read; further ones are looked up each time.
const REMEMBERED: usize = 384;

/// The numbers of paths, in the order in which rules name them.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    all: Vec<Path>,
    names: Vec<Box<str>>,
    known: HashMap<Box<str>, Slot>,
}

#[derive(Clone, Debug)]
enum Path {
    /// Of the registry: a group, and what is asked of it.
    Field(&'static str, Option<&'static str>),
    /// Below `arg` and `result`.
    Own(Vec<Box<str>>),
    /// What stands for an entity: its id, else its name.
    Entity(&'static str),
}

impl Path {
    fn new(path: &str) -> Path {
        match FIELDS.iter().find(|(name, _)| *name == path) {
            Some((name, _)) => match name.split_once('.') {
                None => Path::Field(name, None),
                Some((group, below)) => Path::Field(group, Some(below)),
            },
            None => Path::Own(path.split('.').map(Box::from).collect()),
        }
    }
}

impl Paths {
    pub fn slot(&mut self, path: &str) -> Slot {
        self.add(path, || Path::new(path))
    }

    /// The number of what a path joins events by: an entity stands for its id, else its name, and without either is not there.
    pub fn key(&mut self, path: &str) -> Slot {
        match FIELDS
            .iter()
            .find(|(name, kind)| *name == path && matches!(kind, Type::Entity | Type::Map | Type::Any) && !name.contains('.'))
        {
            Some((name, _)) => self.add(&format!("id of {name}"), || Path::Entity(name)),
            None => self.slot(path),
        }
    }

    fn add(&mut self, name: &str, path: impl FnOnce() -> Path) -> Slot {
        if let Some(slot) = self.named(name) {
            return slot;
        }
        let slot = Slot(u32::try_from(self.all.len()).unwrap_or(u32::MAX));
        self.all.push(path());
        self.names.push(name.into());
        self.known.insert(name.into(), slot);
        slot
    }

    /// The number of a path that some rule names.
    pub fn named(&self, path: &str) -> Option<Slot> {
        self.known.get(path).copied()
    }

    pub fn name(&self, slot: Slot) -> &str {
        &self.names[slot.0 as usize]
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
        let facts = vec![const { Cell::new(Fact::Unread) }; paths.all.len().min(REMEMBERED)];
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
        match &self.paths.all[slot.0 as usize] {
            Path::Field(group, below) => self.event.fact(group, *below),
            Path::Own(parts) => {
                let mut parts = parts.iter();
                let first = parts.next().and_then(|name| self.event.get(name));
                let found = first.and_then(|first| parts.try_fold(first, |value, part| value.get(part)));
                found.map_or(Fact::Absent, Fact::from)
            }
            Path::Entity(name) => match self.event.entity(name) {
                Fact::Tree(Value::Map(_)) if is_entity(name) => Fact::Absent,
                other => other,
            },
        }
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
