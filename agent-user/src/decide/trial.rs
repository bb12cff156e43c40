//! Inline tests of rules: tiny events against the rule alone.

use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;

use super::pack::{Rule, Test, duration, moment};
use super::{Alert, Decide, RuleSet};
use crate::base::{Incomplete, Timestamp, Value};

/// What a test saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub expected: usize,
    pub found: usize,
    /// What an alert is and was expected not to be.
    pub unlike: Option<String>,
}

impl Outcome {
    pub fn passed(&self) -> bool {
        self.expected == self.found && self.unlike.is_none()
    }

    /// Why it failed.
    pub fn reason(&self) -> String {
        match &self.unlike {
            Some(unlike) if self.expected == self.found => unlike.clone(),
            _ => format!("expected {} alerts, found {}", self.expected, self.found),
        }
    }
}

/// Between two events of a test that say nothing else. `after` in an event sets the pause before it.
const PAUSE: Duration = Duration::from_secs(1);

/// An hour into 2026: windows that look back must not start before the epoch.
const START: Timestamp = Timestamp(1_767_229_200_000_000_000);

/// Runs one test with the vocabulary of `set` and no other rule.
pub fn run(set: &RuleSet, rule: &Arc<Rule>, test: &Test) -> Outcome {
    let alone = set.only(rule);
    let mut decide = Decide::default();
    let mut alerts = Vec::new();
    let mut now = START;
    for event in &test.events {
        let pause = event.get("after").and_then(Value::as_str).and_then(duration).unwrap_or(PAUSE);
        now = event.get("time").and_then(moment).unwrap_or_else(|| now.plus(pause));
        decide.tick(&alone, now, &mut alerts);
        decide.push_event(&alone, &timed(event, now), now, &mut alerts);
    }
    decide.tick(&alone, now.plus(Duration::from_secs(366 * 86_400)), &mut alerts);
    let last: IndexMap<&str, &Alert> = alerts.iter().map(|alert| (&*alert.uid, alert)).collect();
    let unlike = last.values().zip(&test.expect).find_map(|(alert, wanted)| unlike(alert, wanted));
    Outcome { expected: test.alerts, found: last.len(), unlike }
}

/// Every action has a time.
fn timed(event: &Value, now: Timestamp) -> Value {
    let entries = event.as_map().unwrap_or_default().iter().filter(|(name, _)| !matches!(&**name, "time" | "after")).cloned();
    Value::map(entries.chain([("time".into(), Value::count(now.0))]))
}

fn unlike(alert: &Alert, wanted: &[(String, Value)]) -> Option<String> {
    let words =
        |words: &[Incomplete]| Value::list(words.iter().map(|Incomplete(word)| Value::text(word.as_ref())).collect::<Vec<_>>());
    let shown = Value::map([
        ("severity", Value::text(alert.severity.name())),
        ("proof", Value::text(alert.proof.name())),
        ("count", Value::count(alert.count)),
        ("group", alert.group.clone()),
        ("object", alert.object.clone()),
        ("actor", alert.actor.clone()),
        ("matched", alert.matched.clone()),
        ("state", alert.state.clone()),
        ("incomplete", words(&alert.incomplete)),
    ]);
    wanted.iter().find_map(|(name, wanted)| {
        // What matched is listed by dotted names.
        let (front, rest) = name.split_once('.').unwrap_or((name, ""));
        let found = shown
            .get(front)
            .filter(|_| !rest.is_empty())
            .and_then(|part| part.get(rest))
            .or_else(|| name.split('.').try_fold(&shown, |value, part| value.get(part)));
        let text = |value: Option<&Value>| value.map_or_else(|| "absent".into(), Value::to_json);
        (found != Some(wanted)).then(|| format!("expected `{name}` to be {}, it is {}", wanted.to_json(), text(found)))
    })
}

#[cfg(test)]
mod tests;
