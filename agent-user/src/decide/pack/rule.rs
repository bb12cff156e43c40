//! A rule as it is written, and its exceptions.

use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;

use super::block::default_group;
use super::raw::{RawMode, RawRule, RawSeverity};
use super::read::{Head, Reader, value};
use super::{Block, Exception, Fault, Mode, Rule};
use crate::base::Value;
use crate::base::limits::RULE_KEYS;
use crate::decide::lang::{is_known, suggest};
use crate::decide::{RuleRef, Severity};

/// Groups close after this when a rule says nothing else.
const QUIET: Duration = Duration::from_secs(10 * 60);

impl Reader<'_> {
    pub(super) fn rule(&self, head: &Head, raw: RawRule) -> Result<Rule, Vec<Fault>> {
        let mut faults = Vec::new();
        let at = raw.id.span().start;
        let mut keep = |result: Result<(), Fault>| faults.extend(result.err());
        let mut when = None;
        if let Some(text) = &raw.when {
            keep(self.condition(text).map(|condition| when = Some(condition)));
        }
        let mut block = None;
        keep(self.block(&raw, at).map(|found| block = found));
        let waits = block.as_ref().is_some_and(Block::reads_answer);
        let id = raw.id.get_ref();
        if id.is_empty() || !id.chars().all(|letter| letter.is_ascii_alphanumeric() || ".-_:".contains(letter)) {
            faults.push(self.fault(at, "an id has letters, digits and . - _ :, for example `refunds.above-limit`"));
        }
        if raw.title.get_ref().trim().is_empty() {
            faults.push(self.fault(raw.title.span().start, "a title says what happened in one line"));
        }
        if raw.when.is_none() && block.is_none() && faults.is_empty() {
            faults.push(self.fault(at, "a rule needs `when` or a state block"));
        }
        let mut except = Vec::new();
        for exception in &raw.except {
            match self.exception(exception) {
                Ok(exception) => except.push(exception),
                Err(fault) => faults.push(fault),
            }
        }
        let group = match &raw.group {
            Some(names) => self.names(names),
            None => Ok(default_group(block.as_ref())),
        };
        let quiet = raw.quiet.as_ref().map_or(Ok(QUIET), |text| self.duration(text));
        let mut tests = Vec::new();
        for test in raw.test {
            let line = self.place(test.span().start).0;
            match self.test(test.into_inner(), line) {
                Ok(test) => tests.push(test),
                Err(fault) => faults.push(fault),
            }
        }
        let max_keys = match &raw.max_keys {
            None => RULE_KEYS,
            Some(keys) if (1..=1_000_000).contains(keys.get_ref()) => *keys.get_ref(),
            Some(keys) => {
                faults.push(self.fault(keys.span().start, "`max_keys` is a number from 1 to 1000000"));
                RULE_KEYS
            }
        };
        match (group, quiet) {
            (Ok(group), Ok(quiet)) if faults.is_empty() => Ok(waiting(Rule {
                reference: Arc::new(RuleRef {
                    id: raw.id.get_ref().as_str().into(),
                    title: raw.title.into_inner().into(),
                    version: head.version.clone(),
                    pack: head.name.clone(),
                    pack_hash: head.hash.clone(),
                }),
                severity: match raw.severity {
                    RawSeverity::Info => Severity::Info,
                    RawSeverity::Low => Severity::Low,
                    RawSeverity::Medium => Severity::Medium,
                    RawSeverity::High => Severity::High,
                    RawSeverity::Critical => Severity::Critical,
                },
                when,
                block,
                except,
                tags: raw.tags.into_iter().map(|tag| Arc::from(tag.into_inner())).collect(),
                fix: raw.fix.into(),
                why: raw.why.into(),
                false_positives: raw.false_positives.into(),
                mode: match raw.mode {
                    Some(RawMode::Shadow) => Mode::Shadow,
                    Some(RawMode::Off) => Mode::Off,
                    Some(RawMode::Alert) | None => Mode::Alert,
                },
                waits,
                group,
                quiet,
                tests,
                max_keys,
                line: self.place(at).0,
            })),
            (group, quiet) => {
                faults.extend(group.err());
                faults.extend(quiet.err());
                Err(faults)
            }
        }
    }

    pub(super) fn exception(&self, table: &Spanned<toml::Table>) -> Result<Exception, Fault> {
        let at = table.span().start;
        let line = self.place(at).0;
        let mut exception = Exception { fields: Vec::new(), why: None, until: None, by: None, line };
        for (key, written) in table.get_ref() {
            match key.as_str() {
                "why" => exception.why = written.as_str().map(str::to_owned),
                "by" => exception.by = written.as_str().map(str::to_owned),
                "until" => {
                    let text = written.as_datetime().map(ToString::to_string).or(written.as_str().map(str::to_owned));
                    let until = text.as_deref().and_then(day_end);
                    exception.until = Some(until.ok_or_else(|| self.fault(at, "`until` is a date such as 2027-01-31"))?);
                }
                field if is_known(field) && !written.is_table() => {
                    exception.fields.push((field.to_owned(), value(written.clone())))
                }
                field => {
                    // `proc.args = …` without quotes is a nested table.
                    let mut leaves = Vec::new();
                    flatten(field, &value(written.clone()), &mut leaves);
                    if let Some((name, _)) = leaves.iter().find(|(name, _)| !is_known(name)) {
                        let hint = suggest(name).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
                        return Err(self.fault(at, format!("unknown field `{name}` in an exception{hint}")));
                    }
                    exception.fields.append(&mut leaves);
                }
            }
        }
        if exception.fields.is_empty() {
            return Err(self.fault(at, "an exception names at least one field"));
        }
        Ok(exception)
    }
}

/// All conditions of a rule that waits for the answer wait with it.
fn waiting(mut rule: Rule) -> Rule {
    if rule.waits {
        rule.conditions_mut().into_iter().for_each(|condition| condition.reads_answer = true);
    }
    rule
}

fn flatten(name: &str, value: &Value, out: &mut Vec<(String, Value)>) {
    match value.as_map().filter(|_| !is_known(name) || !name.contains('.')) {
        Some(entries) => entries.iter().for_each(|(key, nested)| flatten(&format!("{name}.{key}"), nested, out)),
        None => out.push((name.to_owned(), value.clone())),
    }
}

/// The last second of a day in UTC.
fn day_end(text: &str) -> Option<i64> {
    let date: jiff::civil::Date = text.get(..10)?.parse().ok()?;
    let midnight = date.tomorrow().ok()?.to_datetime(jiff::civil::Time::midnight());
    Some(jiff::tz::TimeZone::UTC.to_timestamp(midnight).ok()?.as_second())
}
