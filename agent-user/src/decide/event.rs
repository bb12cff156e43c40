//! An event as rules read it: the names of the field registry over a step, read only as far as somebody asks.

use std::cell::OnceCell;
use std::sync::Arc;

use super::lang::Fact;
use super::step::{self, GROUPS, Leaf};
use crate::base::Value;
use crate::correlate::Step;

/// A step, or what a test says of one. Most rules look at a few fields: a group is made into a value when it is first read whole.
pub struct Event<'s> {
    source: Source<'s>,
    /// What stands in place of the source's own: the vocabulary's words, another reading of the arguments.
    instead: Vec<(&'static str, Value)>,
    /// Groups of a step that were read whole; room for them is made with the first.
    read: OnceCell<Box<[OnceCell<Option<Value>>; GROUPS.len()]>>,
}

#[derive(Clone, Copy)]
enum Source<'s> {
    Step(&'s Step),
    Given(&'s Value),
}

impl<'s> Event<'s> {
    pub fn of(step: &'s Step) -> Event<'s> {
        Event::new(Source::Step(step), Vec::new())
    }

    /// A map with the names of the registry.
    pub fn given(event: &'s Value) -> Event<'s> {
        Event::new(Source::Given(event), Vec::new())
    }

    fn new(source: Source<'s>, instead: Vec<(&'static str, Value)>) -> Event<'s> {
        Event { source, instead, read: OnceCell::new() }
    }

    /// From now on these stand in place of the fields of their names.
    pub(super) fn replace(&mut self, fields: Vec<(&'static str, Value)>) {
        self.instead = fields;
    }

    /// The same event with another field.
    pub(super) fn with(&self, name: &'static str, value: Value) -> Event<'s> {
        let kept = self.instead.iter().filter(|(known, _)| *known != name).cloned();
        Event::new(self.source, kept.chain([(name, value)]).collect())
    }

    /// A field of the first level.
    pub fn get(&self, name: &str) -> Option<&Value> {
        if let Some((_, value)) = self.instead.iter().find(|(known, _)| *known == name) {
            return Some(value);
        }
        match self.source {
            Source::Given(event) => event.get(name),
            Source::Step(step) => self.cell(name)?.get_or_init(|| step::value(step, name)).as_ref(),
        }
    }

    fn cell(&self, name: &str) -> Option<&OnceCell<Option<Value>>> {
        let read = || self.read.get_or_init(|| Box::new([const { OnceCell::new() }; GROUPS.len()]));
        GROUPS.iter().position(|known| *known == name).map(|at| &read()[at])
    }

    /// A dotted path; where objects repeat a key, the last wins as most readers choose. Null is as good as absent.
    pub fn field(&self, path: &str) -> Option<&Value> {
        let mut parts = path.split('.');
        let first = self.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part)).filter(|value| !matches!(value, Value::Null))
    }

    /// What a comparison reads, without making a value of it where the step has it ready.
    pub fn fact(&self, group: &str, below: Option<&str>) -> Fact<'_> {
        if let Source::Step(step) = self.source
            && !self.instead.iter().any(|(known, _)| *known == group)
        {
            match step::leaf(step, group, below) {
                None => return Fact::Absent,
                Some(Leaf::Text(text)) => return Fact::Text(text),
                Some(Leaf::Bool(flag)) => return Fact::Bool(flag),
                Some(Leaf::Number(number)) => return Fact::Number(number as f64),
                Some(Leaf::Tree(value)) => return Fact::from(value),
                Some(Leaf::Made(value)) if below.is_none() => {
                    return self
                        .cell(group)
                        .and_then(|cell| cell.get_or_init(|| Some(value)).as_ref())
                        .map_or(Fact::Absent, Fact::from);
                }
                Some(Leaf::Made(_)) => {}
            }
        }
        let value = self.get(group);
        let found = match below {
            Some(below) => value.and_then(|value| value.get(below)),
            None => value,
        };
        found.map_or(Fact::Absent, Fact::from)
    }

    /// A dotted path; an entity stands for its id, else its name.
    pub(super) fn entity(&self, path: &str) -> Fact<'_> {
        match path.split_once('.') {
            Some((group, below)) if !below.contains('.') => self.fact(group, Some(below)),
            Some(_) => self.field(path).map_or(Fact::Absent, Fact::from),
            None => match self.fact(path, Some("id")) {
                Fact::Absent => match self.fact(path, Some("name")) {
                    Fact::Absent => self.fact(path, None),
                    name => name,
                },
                id => id,
            },
        }
    }

    pub(super) fn text(&self, group: &str, below: Option<&str>) -> Option<&str> {
        match self.fact(group, below) {
            Fact::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Everything, for whoever keeps it.
    pub fn whole(&self) -> Value {
        match self.source {
            Source::Step(_) => Value::map(GROUPS.iter().filter_map(|name| Some((*name, self.get(name)?.clone())))),
            Source::Given(event) if self.instead.is_empty() => event.clone(),
            Source::Given(event) => {
                let entries = event.as_map().unwrap_or_default().iter();
                let kept = entries.filter(|(key, _)| !self.instead.iter().any(|(name, _)| **name == **key)).cloned();
                let instead = self.instead.iter().map(|(name, value)| (Arc::from(*name), value.clone()));
                Value::Map(kept.chain(instead).collect())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::recording::Reader;
    use crate::decide::lang::FIELDS;
    use crate::pipeline::{Output, Pipeline};

    /// Those of an agent's run.
    fn steps() -> Vec<Step> {
        let recording = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/bad-run.jsonl");
        let bytes = std::fs::read(recording).expect("it is in the repository");
        let mut reader = Reader::new(&bytes[..], false).expect("a recording");
        let mut pipeline = Pipeline::new(Arc::default());
        let mut outputs = Vec::new();
        while let Some(observation) = reader.next_observation().expect("it is whole") {
            pipeline.push(observation, &mut outputs);
        }
        pipeline.finish(&mut outputs);
        let steps = outputs.into_iter().filter_map(|output| match output {
            Output::Step(step) => Some(*step),
            _ => None,
        });
        steps.collect()
    }

    /// A field alone says what it says within the whole event.
    #[test]
    fn fields_are_the_same_alone_and_within_the_whole() {
        let steps = steps();
        assert!(steps.len() >= 5, "a run of an agent has more steps");
        let mut told = 0;
        for step in &steps {
            let whole = Event::of(step).whole();
            for (name, _) in FIELDS.iter().filter(|(name, _)| !name.ends_with(".*")) {
                let (group, below) = name.split_once('.').map_or((*name, None), |(group, below)| (group, Some(below)));
                let within = whole.get(group).and_then(|value| below.map_or(Some(value), |below| value.get(below)));
                let expected = within.map_or(Fact::Absent, Fact::from);
                assert_eq!(format!("{:?}", Event::of(step).fact(group, below)), format!("{expected:?}"), "{name} of {step:?}");
                told += usize::from(within.is_some());
            }
        }
        assert!(told > 100, "only {told} fields were present");
    }
}
