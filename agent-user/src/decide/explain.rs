//! Why a rule did or did not fire: each term of its conditions over one event, with the fields that it read.

use std::sync::Arc;

use super::event::Event;
use super::lang::{Absent, Compiler, Context, Expr, Slots, evaluate, read_fields, terms};
use super::pack::{Block, Condition, Rule};
use super::ruleset::RuleSet;
use crate::base::{Timestamp, Value};

/// One condition of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// `when`, `from`, `earlier`, `steps[0]`, …
    pub name: String,
    pub truth: Truth,
    pub terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    pub text: String,
    pub truth: Truth,
    /// Fields that it reads, in order; `None` where the event has none.
    pub fields: Vec<(String, Option<Value>)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    True,
    False,
    /// A field that it needs is not there: no match, and counted.
    Absent,
}

impl Truth {
    pub fn name(self) -> &'static str {
        match self {
            Truth::True => "true",
            Truth::False => "false",
            Truth::Absent => "absent",
        }
    }

    fn of(truth: Result<bool, Absent>) -> Truth {
        match truth {
            Ok(true) => Truth::True,
            Ok(false) => Truth::False,
            Err(Absent) => Truth::Absent,
        }
    }
}

impl RuleSet {
    /// The conditions of a rule over an event, which is named by the vocabulary first.
    pub fn explain(&self, rule: &Arc<Rule>, mut event: Event<'_>) -> Vec<Explained> {
        self.name(&mut event);
        let mut paths = self.paths.clone();
        named(rule)
            .into_iter()
            .map(|(name, condition)| {
                let mut judge = |expression: &Expr| {
                    let program = Compiler { paths: &mut paths, lists: self.lists() }.compile(expression);
                    let slots = Slots::new(&event, &paths);
                    Truth::of(evaluate(&program, &Context::new(&slots, self.grants())))
                };
                let truth = judge(&condition.expression);
                let terms = terms(&condition.expression)
                    .into_iter()
                    .map(|term| Term { text: term.to_string(), truth: judge(term), fields: fields(term, &event) })
                    .collect();
                Explained { name, truth, terms }
            })
            .collect()
    }

    /// Why the exception that holds for the event is there.
    pub fn excepted(&self, rule: &Rule, mut event: Event<'_>, now: Timestamp) -> Option<String> {
        self.name(&mut event);
        let seconds = i64::try_from(now.0 / 1_000_000_000).unwrap_or(i64::MAX);
        let held = rule.except.iter().find(|exception| super::ruleset::excepted(exception, &event, seconds))?;
        Some(held.why.clone().unwrap_or_else(|| "an exception without a reason".into()))
    }
}

fn fields(term: &Expr, event: &Event<'_>) -> Vec<(String, Option<Value>)> {
    let mut found: Vec<(String, Option<Value>)> = Vec::new();
    read_fields(term, &mut |name| {
        if !found.iter().any(|(known, _)| known == name) {
            found.push((name.to_owned(), event.field(name).cloned()));
        }
    });
    found
}

/// Conditions as a rule file names them.
fn named(rule: &Rule) -> Vec<(String, &Condition)> {
    let block: Vec<(String, &Condition)> = match &rule.block {
        Some(Block::Sequence { steps, without, .. }) => {
            let steps = steps.iter().enumerate().map(|(at, step)| (format!("steps[{at}]"), step));
            steps.chain(without.iter().map(|without| ("without".into(), without))).collect()
        }
        Some(Block::Needs { earlier, voided_by, .. }) => {
            let voided = voided_by.iter().map(|voided| ("voided_by".to_owned(), voided));
            std::iter::once(("earlier".to_owned(), earlier)).chain(voided).collect()
        }
        Some(Block::Then { later, .. }) => vec![("later".into(), later)],
        Some(Block::Flow { from, to, .. }) => vec![("from".into(), from), ("to".into(), to)],
        Some(Block::Count { without, .. }) => without.iter().map(|without| ("without".into(), without)).collect(),
        Some(Block::Distinct { .. } | Block::Sum { .. } | Block::Owned { .. } | Block::Drift { .. }) | None => Vec::new(),
    };
    rule.when.iter().map(|when| ("when".to_owned(), when)).chain(block).collect()
}
