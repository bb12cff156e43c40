//! `seen(label, value)`: what earlier events brought, over all rules that use the label, bounded.
//!
//! An event brings a value where the condition that asks could hold for it, whatever `seen` says: the order of terms, and which rules the
//! index leaves out, change nothing. It is noted when every rule was asked, and a step that is judged twice has not seen itself.

use std::cell::RefCell;

use serde::{Deserialize, Serialize};

use super::parts::Parts;
use super::{Cell, Judged, Memory, Moment};
use crate::base::limits::SIGHTINGS;
use crate::base::{ActionId, Value};
use crate::decide::lang::{Context, Fact, Seen, Slots, evaluate};
use crate::decide::pack::Condition;
use crate::decide::ruleset::RuleSet;

/// What was seen under all labels.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(in crate::decide) struct Sightings(Memory);

/// The step that brought a value first. Numbers of steps begin anew with the daemon.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sighting {
    #[serde(skip)]
    by: Option<ActionId>,
}

impl Sightings {
    fn holds(&self, key: u128, step: Option<ActionId>) -> bool {
        match self.0.keys.get(&key).map(|kept| &kept.cell) {
            Some(Cell::Sighting(Sighting { by })) => by.is_none() || *by != step,
            _ => false,
        }
    }

    pub(in crate::decide) fn note(&mut self, keys: impl Iterator<Item = u128>, step: Option<ActionId>) {
        for key in keys {
            self.0.cell(key, SIGHTINGS, || Cell::Sighting(Sighting { by: step }));
        }
    }

    /// How many values it remembers, and how many it gave up.
    pub(in crate::decide) fn size(&self) -> (usize, u64) {
        self.0.size()
    }
}

impl Moment<'_> {
    pub(super) fn judge_seen(&self, condition: &Condition, slots: &Slots<'_>, set: &RuleSet) -> Judged {
        let asked = RefCell::new(Vec::new());
        let step = self.step.map(|(action, _)| action);
        let look = |label: &str, value: &Value| {
            let key = self.sighting(label, value);
            asked.borrow_mut().push(key);
            self.seen.holds(key, step)
        };
        let with = |seen: &Seen<'_>| {
            let context = Context { seen: Some(seen), ..Context::new(slots, set.grants()) };
            let truth = evaluate(&condition.program, &context);
            Judged { truth, spent: context.spent() }
        };
        let found = with(&look);
        let could = [true, false].into_iter().any(|says| {
            let holds = with(&|label: &str, value: &Value| {
                asked.borrow_mut().push(self.sighting(label, value));
                says
            });
            holds.truth == Ok(true)
        });
        if could {
            self.sighted.borrow_mut().append(&mut asked.borrow_mut());
        }
        found
    }

    fn sighting(&self, label: &str, value: &Value) -> u128 {
        let mut parts = Parts::new(self.hash);
        parts.text(label);
        parts.fact(Fact::from(value));
        parts.key()
    }
}
