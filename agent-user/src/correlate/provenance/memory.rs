//! What one conversation has read so far, as fingerprints.

use std::collections::hash_map::Entry;

use super::forms::{Shape, each_form, forms, normal};
use super::speech::{Acts, Request};
use crate::base::limits::FINGERPRINTS;
use crate::base::{ActionId, KeyedHash, Prints, Value};

/// Where a value was seen. Places are passages by number.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) user: bool,
    pub(super) system: bool,
    pub(super) field: Option<u32>,
    pub(super) text: Option<u32>,
}

/// A content by one author: a record of what a tool returned.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) action: Option<ActionId>,
    pub(super) third_party: bool,
    /// The user's words name it: its file, address, subject or sender.
    pub(super) named: bool,
}

/// A sentence of a source, or its fields taken together.
#[derive(Clone, Debug)]
pub(super) struct Passage {
    pub(super) source: u32,
    /// Acts that it wants from its reader; those that it names in any way; those that the sentences around it want.
    pub(super) wanted: Acts,
    pub(super) mentioned: Acts,
    pub(super) around: Acts,
    pub(super) stems: Box<[u32]>,
}

#[derive(Debug)]
pub(in crate::correlate) struct Memory {
    hash: KeyedHash,
    pub(super) values: Prints<Seen>,
    pub(super) sources: Vec<Source>,
    pub(super) passages: Vec<Passage>,
    pub(super) request: Request,
    /// Values that the user gave, by their form, unless they only name a source.
    pub(super) given: Vec<(Shape, u64)>,
    pub(super) spoke: bool,
    /// Something did not fit: what is not found may have been there.
    pub(super) forgotten: bool,
}

impl Memory {
    pub(in crate::correlate) fn new(hash: KeyedHash) -> Memory {
        Memory {
            hash,
            values: Prints::default(),
            sources: Vec::new(),
            passages: Vec::new(),
            request: Request::default(),
            given: Vec::new(),
            spoke: false,
            forgotten: false,
        }
    }

    /// Fingerprints kept, for the bound over all conversations.
    pub(in crate::correlate) fn size(&self) -> usize {
        self.values.len() + self.passages.len()
    }

    /// Gives up what tools returned long ago; the user's request stays.
    pub(in crate::correlate) fn forget(&mut self) {
        self.values = Prints::default();
        self.passages = Vec::new();
        self.sources = Vec::new();
        self.forgotten = true;
    }

    /// Each word, each pair of neighbours, and numbers that are written in groups.
    pub(super) fn run(&mut self, text: &str, seen: Seen) {
        /// Longer than any account or telephone number: a column of numbers is not one of them.
        const GROUP: usize = 48;
        const QUOTES: [char; 4] = ['\'', '"', '`', '’'];
        const MARKS: [char; 11] = ['=', ',', ';', '|', '(', ')', '<', '>', '"', '[', ']'];
        let mut group = String::new();
        let mut pair = String::new();
        for raw in text.split_whitespace() {
            let word = normal(raw);
            if word.is_empty() {
                continue;
            }
            each_form(raw, &word, &mut |form| self.keep(form, seen));
            if let Some(stem) = raw.trim_end_matches(|letter: char| !letter.is_alphanumeric()).strip_suffix("'s") {
                self.note(stem, seen);
            }
            // `key=value`, `a/b,c`: the parts are values too.
            if raw.contains(MARKS) {
                raw.split(MARKS).for_each(|part| self.note(part, seen));
            }
            // `'ann@x.com'.Then`: no white space after the full stop.
            if raw.contains('@') && raw.contains(QUOTES) {
                raw.split(QUOTES).filter(|part| part.contains('@')).for_each(|part| self.note(part, seen));
            }
            if !pair.is_empty() {
                pair.push_str(&word);
                self.keep(&pair, seen);
                pair.clear();
            }
            pair.push_str(&word);
            pair.push(BETWEEN);
            if word.bytes().any(|letter| letter.is_ascii_digit()) {
                if group.len() + word.len() > GROUP {
                    group.clear();
                }
                group.push_str(&word);
                if group.len() > word.len() {
                    self.keep(&group, seen);
                }
            } else {
                group.clear();
            }
        }
    }

    pub(super) fn note(&mut self, text: &str, seen: Seen) {
        each_form(text, &normal(text), &mut |form| self.keep(form, seen));
    }

    pub(super) fn keep(&mut self, form: &str, seen: Seen) {
        let print = self.print(form);
        let full = self.values.len() >= FINGERPRINTS;
        let known = match self.values.entry(print) {
            Entry::Vacant(_) if full => {
                self.forgotten = true;
                return;
            }
            entry => entry.or_default(),
        };
        known.user |= seen.user;
        known.system |= seen.system;
        known.field = known.field.or(seen.field);
        let wants = |place: Option<u32>| {
            place.and_then(|place| self.passages.get(place as usize)).is_some_and(|passage| passage.wanted.0 != 0)
        };
        if known.text.is_none() || (wants(seen.text) && !wants(known.text)) {
            known.text = seen.text.or(known.text);
        }
    }

    pub(super) fn print(&self, text: &str) -> u64 {
        self.hash.print(text.as_bytes())
    }

    pub(super) fn short_print(&self, text: &str) -> u32 {
        (self.print(text) >> 32) as u32
    }

    /// Where a value was seen, whole or word for word in one place.
    pub(super) fn find(&self, text: &str) -> Option<Seen> {
        if let Some(seen) = forms(text).iter().find_map(|form| self.values.get(&self.print(form))) {
            return Some(*seen);
        }
        let words: Vec<_> = text.split_whitespace().map(normal).filter(|word| !word.is_empty()).collect();
        if !(2..=12).contains(&words.len()) {
            return None;
        }
        let known = |form: &str| self.values.get(&self.print(form)).copied();
        let pairs: Vec<Option<Seen>> = words.windows(2).map(|two| known(&pair(&two[0], &two[1]))).collect();
        let long_words = words.iter().filter(|word| word.len() >= super::forms::SHORTEST);
        if long_words.clone().count() > 0 && long_words.clone().all(|word| known(word).is_some_and(|seen| seen.user)) {
            return Some(Seen { user: true, ..Seen::default() });
        }
        let all = pairs.iter().copied().collect::<Option<Vec<Seen>>>()?;
        all.iter().find(|seen| !seen.user).or(all.first()).copied()
    }

    /// The share of a long text that stands, word by word, in what tools returned, and where.
    pub(super) fn copied(&self, text: &str) -> Option<(f32, Seen)> {
        let words: Vec<_> = text.split_whitespace().map(normal).filter(|word| !word.is_empty()).take(512).collect();
        if words.len() < 3 {
            return None;
        }
        let pairs: Vec<Seen> =
            words.windows(2).filter_map(|two| self.values.get(&self.print(&pair(&two[0], &two[1])))).copied().collect();
        let foreign = pairs.iter().filter(|seen| !seen.user && (seen.text.is_some() || seen.field.is_some()));
        let share = foreign.clone().count() as f32 / (words.len() - 1) as f32;
        let mut own = pairs.iter().filter(|seen| seen.user);
        match foreign.clone().next() {
            Some(first) if share >= 0.5 => Some((share, *first)),
            _ => own
                .next()
                .filter(|_| pairs.iter().filter(|seen| seen.user).count() * 2 >= words.len() - 1)
                .map(|seen| (1.0, *seen)),
        }
    }

    /// The user gave another value of this form.
    pub(super) fn gave_another(&self, form: Shape) -> bool {
        self.given.iter().any(|(given, _)| *given == form)
    }

    /// A passage of somebody else's that wants an act of these kinds and speaks of these things; and whether the user named its source.
    pub(super) fn wanted_elsewhere(&self, acts: Acts, things: &[String], strong: bool) -> Option<&Passage> {
        let things: Vec<u32> = things.iter().map(|thing| self.short_print(thing)).collect();
        let speaks = |passage: &&Passage| passage.stems.iter().any(|stem| things.contains(stem));
        let wants = |passage: &&Passage| passage.wanted.has(acts) && self.sources[passage.source as usize].third_party;
        let with_things = self.passages.iter().filter(wants).find(speaks);
        with_things.or_else(|| self.passages.iter().filter(|_| strong).find(wants))
    }
}

/// Stands between two words of a pair.
const BETWEEN: char = '\u{1}';

fn pair(one: &str, other: &str) -> String {
    format!("{one}{BETWEEN}{other}")
}

/// Scalars of a value with the names they stand under.
pub(super) fn leaves(name: &str, value: &Value, each: &mut impl FnMut(&str, &str)) {
    match value {
        Value::Map(entries) => {
            for (key, nested) in entries.iter() {
                if name.is_empty() {
                    leaves(key, nested, each);
                } else {
                    leaves(&format!("{name}.{key}"), nested, each);
                }
            }
        }
        Value::List(items) => items.iter().for_each(|nested| leaves(name, nested, each)),
        Value::Text(text) => each(name, text),
        Value::Number(number) => each(name, &number.text),
        Value::Null | Value::Bool(_) => {}
    }
}
