//! Tests inside rules: their events and what they expect.

use super::raw::RawTest;
use super::read::{Reader, duration, value};
use super::{Fault, Test};
use crate::base::{Timestamp, Value};
use crate::decide::lang::{is_known, nearest, suggest};

impl Reader<'_> {
    /// Field names in events are checked, too: a misspelled one would make a silent test pass for ever.
    pub(super) fn test(&self, raw: RawTest, line: usize) -> Result<Test, Fault> {
        let mut events = Vec::with_capacity(raw.events.len());
        for event in raw.events {
            let at = event.span().start;
            let event = value(toml::Value::Table(event.into_inner()));
            let mut names = Vec::new();
            names_of("", &event, &mut names);
            if let Some(name) = names.iter().find(|name| *name != "after" && !is_known(name)) {
                let hint = suggest(name).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
                return Err(self.fault(at, format!("unknown field `{name}` in a test{hint}")));
            }
            if event.get("time").is_some_and(|time| moment(time).is_none()) {
                return Err(self.fault(at, "`time` is a date and time such as 2026-03-01T09:30:00Z, or nanoseconds since 1970"));
            }
            if event.get("after").is_some_and(|after| after.as_str().and_then(duration).is_none()) {
                return Err(self.fault(at, "`after` is a duration such as `5m`"));
            }
            events.push(event);
        }
        if events.is_empty() {
            return Err(Fault { file: self.file.into(), line, column: 1, reason: "a test has at least one event".into() });
        }
        let mut expect = Vec::with_capacity(raw.expect.len());
        for alert in raw.expect {
            let at = alert.span().start;
            let alert = value(toml::Value::Table(alert.into_inner()));
            let mut fields = Vec::new();
            expected("", &alert, &mut fields);
            if let Some((name, _)) = fields.iter().find(|(name, _)| !ALERT.contains(&name.split('.').next().unwrap_or_default()))
            {
                let front = name.split('.').next().unwrap_or_default();
                let hint = nearest(front, ALERT.iter().copied())
                    .map_or_else(|| format!("; one of {}", ALERT.join(", ")), |near| format!("; did you mean `{near}`?"));
                return Err(self.fault(at, format!("an alert has no `{front}`{hint}")));
            }
            expect.push(fields);
        }
        if expect.len() > raw.alerts {
            let reason = format!("`expect` describes {} alerts and `alerts` is {}", expect.len(), raw.alerts);
            return Err(Fault { file: self.file.into(), line, column: 1, reason });
        }
        Ok(Test { name: raw.name, events, alerts: raw.alerts, expect, line })
    }
}

/// What `expect` may ask of an alert.
const ALERT: [&str; 9] = ["severity", "proof", "count", "group", "object", "actor", "matched", "state", "incomplete"];

/// The leaves of an expected alert by their dotted names.
fn expected(front: &str, alert: &Value, out: &mut Vec<(String, Value)>) {
    for (key, nested) in alert.as_map().unwrap_or_default() {
        let name = if front.is_empty() { key.to_string() } else { format!("{front}.{key}") };
        match nested {
            Value::Map(_) => expected(&name, nested, out),
            _ => out.push((name, nested.clone())),
        }
    }
}

/// A point in time as tests write it.
pub(crate) fn moment(written: &Value) -> Option<Timestamp> {
    match written {
        Value::Number(_) => u64::try_from(written.as_i64()?).ok().map(Timestamp),
        Value::Text(text) => {
            let time: jiff::Timestamp = text.parse().ok()?;
            u64::try_from(time.as_nanosecond()).ok().map(Timestamp)
        }
        _ => None,
    }
}

/// The dotted names of a test's event, down to the level that the registry knows.
fn names_of(front: &str, event: &Value, out: &mut Vec<String>) {
    for (key, nested) in event.as_map().unwrap_or_default() {
        let name = if front.is_empty() { key.to_string() } else { format!("{front}.{key}") };
        let open = matches!(&*name, "arg" | "result") || name.contains('.');
        if nested.as_map().is_some() && !open {
            names_of(&name, nested, out);
        } else {
            out.push(name);
        }
    }
}
