//! The reader: what is written becomes what is used, or faults that name file, line and column.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use toml::Spanned;

use super::raw::{RawDriftAlert, RawHead, RawMatch, RawMode, RawOrder, RawPack, RawRule, RawSeverity, RawTest, RawUnknown};
use super::{Block, Condition, Drift, Exception, Fault, Filter, Match, Mode, NamedList, Pack, Rule, Test};
use crate::base::limits::RULE_KEYS;
use crate::base::value::Number;
use crate::base::{Timestamp, Value};
use crate::decide::lang::{Expr, Grant, Node, is_known, nearest, parse, read_fields, suggest};
use crate::decide::step::ANSWER_FIELDS;
use crate::decide::{RuleRef, Severity};
use crate::understand::{HostSources, Source};

/// Effects that rules and vocabularies speak of.
pub(super) const EFFECTS: [&str; 8] = ["read", "write", "delete", "money", "admin", "egress", "approve", "exec"];

/// Groups close after this when a rule says nothing else.
const QUIET: Duration = Duration::from_secs(10 * 60);

/// Largest rule file: packs are written by hand.
const FILE_BYTES: usize = 4 << 20;

/// Version of the engine that `pack.engine` is compared with.
const ENGINE: &str = env!("CARGO_PKG_VERSION");

/// Largest counter threshold: what is above it is a budget, and `sum` counts it.
const HIGHEST: u64 = 100_000;

/// Reads and checks one file; every fault is reported, not the first alone.
pub fn read(file: &str, text: &str) -> Result<Pack, Vec<Fault>> {
    let reader = Reader { file, text };
    if text.len() > FILE_BYTES {
        return Err(vec![reader.fault(0, format!("longer than {FILE_BYTES} bytes; split the pack"))]);
    }
    let raw: RawPack = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        vec![reader.fault(at, toml_reason(error.message()))]
    })?;
    let mut faults = Vec::new();
    let head = Head {
        name: raw.pack.name.get_ref().as_str().into(),
        version: raw.pack.version.get_ref().as_str().into(),
        hash: hex(&Sha256::digest(text.as_bytes())).into(),
    };
    let requires = reader.head(&raw.pack, &mut faults);
    let mut rules = Vec::new();
    let mut ids: BTreeMap<String, usize> = BTreeMap::new();
    for rule in raw.rule {
        let at = rule.id.span().start;
        if let Some(before) = ids.insert(rule.id.get_ref().clone(), at) {
            faults.push(reader.fault(
                at,
                format!(
                    "rule {} is defined twice; first in line {}; give this one an id of its own",
                    rule.id.get_ref(),
                    reader.place(before).0
                ),
            ));
        }
        match reader.rule(&head, rule) {
            Ok(rule) => rules.push(rule),
            Err(mut found) => faults.append(&mut found),
        }
    }
    let mut operations = Vec::new();
    let mut named: BTreeMap<String, usize> = BTreeMap::new();
    for operation in raw.operation {
        let (at, id, pattern) = (operation.id.span().start, operation.id.get_ref().clone(), operation.pattern.get_ref().clone());
        // One operation may have several patterns; the same line twice is a slip.
        if let Some(before) = named.insert(format!("{id} {pattern}"), at) {
            faults.push(reader.fault(at, format!("operation {id} is written twice; first in line {}", reader.place(before).0)));
        }
        match reader.operation(operation) {
            Ok(operation) => operations.push(operation),
            Err(mut found) => faults.append(&mut found),
        }
    }
    let mut identities = Vec::new();
    for identity in &raw.identity {
        match reader.identity(identity) {
            Ok(sources) => identities.push(sources),
            Err(mut found) => faults.append(&mut found),
        }
    }
    let mut filters = Vec::new();
    for filter in raw.filter {
        match reader.exception(&filter.except) {
            Ok(exception) => {
                let rules = filter.rules.into_iter().map(|id| {
                    let fault = reader.fault(id.span().start, format!("no rule is called {}", id.get_ref()));
                    (id.into_inner(), fault)
                });
                filters.push(Filter { rules: rules.collect(), exception });
            }
            Err(fault) => faults.push(fault),
        }
    }
    let mut lists = BTreeMap::new();
    for (name, written) in raw.list {
        match reader.list(&written) {
            Ok(list) => {
                lists.insert(name, list);
            }
            Err(fault) => faults.push(fault),
        }
    }
    let mut grants = Vec::new();
    for grant in raw.grant {
        let (at, who) = (grant.who.span().start, grant.who.into_inner());
        if who.role.is_some() == who.user.is_some() {
            faults.push(reader.fault(at, "a grant names a `role` or a `user`, one of them"));
        }
        if grant.ops.is_empty() {
            faults.push(reader.fault(at, "a grant names operations, for example `ops = [\"account.*\"]`"));
        }
        grants.push(Grant { user: who.user, role: who.role, ops: grant.ops.into_iter().map(Spanned::into_inner).collect() });
    }
    if !faults.is_empty() {
        faults.sort_by_key(|fault| (fault.line, fault.column));
        return Err(faults);
    }
    Ok(Pack {
        name: head.name,
        version: head.version,
        hash: head.hash,
        file: file.into(),
        requires,
        lists,
        operations,
        identities,
        grants,
        filters,
        rules,
    })
}

struct Head {
    name: Arc<str>,
    version: Arc<str>,
    hash: Arc<str>,
}

pub(super) struct Reader<'a> {
    file: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    pub(super) fn place(&self, at: usize) -> (usize, usize) {
        let before = self.text.get(..at).unwrap_or(self.text);
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
    }

    pub(super) fn fault(&self, at: usize, reason: impl Into<String>) -> Fault {
        let (line, column) = self.place(at);
        Fault { file: self.file.into(), line, column, reason: reason.into() }
    }

    /// Name, version and engine of the pack; gives what it requires.
    fn head(&self, raw: &RawHead, faults: &mut Vec<Fault>) -> Vec<(String, Fault)> {
        for (name, what) in [(&raw.name, "name"), (&raw.version, "version")] {
            if name.get_ref().trim().is_empty() {
                faults.push(self.fault(name.span().start, format!("a pack needs a {what}")));
            }
        }
        if let Some(engine) = &raw.engine {
            match fits(engine.get_ref()) {
                Some(true) => {}
                Some(false) => faults.push(self.fault(
                    engine.span().start,
                    format!("this pack is for engine {}; this is {ENGINE}: use the pack's version for it", engine.get_ref()),
                )),
                None => faults.push(self.fault(engine.span().start, "a range is such as `>=0.1, <0.2`")),
            }
        }
        let requires = raw.requires.iter();
        requires
            .map(|name| {
                let fault = self.fault(name.span().start, format!("the pack {} is required and not there", name.get_ref()));
                (name.get_ref().clone(), fault)
            })
            .collect()
    }

    fn identity(&self, raw: &super::raw::RawIdentity) -> Result<HostSources, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut sources = |written: &[Spanned<String>]| -> Vec<Source> {
            written.iter().filter_map(|source| self.source(source).map_err(|fault| faults.push(fault)).ok()).collect()
        };
        let (user, tenant) = (sources(&raw.user), sources(&raw.tenant));
        let (agent, scopes) = (sources(&raw.agent), sources(&raw.scopes));
        let mut trusted = Vec::new();
        for network in &raw.trust_headers_from {
            match parse_network(network.get_ref()) {
                Some(network) => trusted.push(network),
                None => faults.push(self.fault(network.span().start, "a network is such as `10.2.0.0/16`")),
            }
        }
        if raw.host.get_ref().trim().is_empty() {
            faults
                .push(self.fault(raw.host.span().start, "`for` names a host, for example `api.example.com` or `*.corp.example`"));
        }
        let host = raw.host.get_ref().clone();
        if faults.is_empty() { Ok(HostSources { host, user, tenant, agent, scopes, trusted }) } else { Err(faults) }
    }

    /// `jwt:/sub`, `header:x-forwarded-user`, `path:tenant`, `query:user`, `body:/user_id`, `proc:exe`.
    fn source(&self, written: &Spanned<String>) -> Result<Source, Fault> {
        const SOURCES: [&str; 6] = ["jwt", "header", "path", "query", "body", "proc"];
        let (text, at) = (written.get_ref(), written.span().start);
        let (front, rest) = text.split_once(':').unwrap_or((text, ""));
        let pointer = || {
            let fault = || self.fault(at, format!("a pointer begins with a slash; did you mean `{front}:/{rest}`?"));
            if rest.starts_with('/') { Ok(rest.to_owned()) } else { Err(fault()) }
        };
        if rest.is_empty() && SOURCES.contains(&front) {
            return Err(self.fault(at, format!("`{front}:` names nothing; for example `jwt:/sub` or `header:x-forwarded-user`")));
        }
        match front {
            "jwt" => Ok(Source::Jwt(pointer()?)),
            "body" => Ok(Source::Body(pointer()?)),
            "header" => Ok(Source::Header(rest.to_ascii_lowercase())),
            "query" => Ok(Source::Query(rest.into())),
            "path" => Ok(Source::Path { name: rest.into(), templates: Vec::new() }),
            "proc" => Ok(Source::Process),
            _ => {
                let hint = nearest(text, SOURCES.iter().copied()).map(|near| format!("; did you mean `{near}:…`?"));
                let hint = hint.unwrap_or_else(|| "; one of jwt:, header:, path:, query:, body:, proc:".into());
                Err(self.fault(at, format!("unknown source `{text}`{hint}")))
            }
        }
    }

    /// `name = [...]`, or a table with `values` and `merge = "append"`.
    fn list(&self, written: &Spanned<toml::Value>) -> Result<NamedList, Fault> {
        let at = written.span().start;
        let shape = || self.fault(at, "a list is `[\"a\", \"b\"]` or `{ values = [\"a\"], merge = \"append\" }`");
        let (items, append) = match written.get_ref() {
            toml::Value::Array(items) => (items, false),
            toml::Value::Table(table) => {
                if let Some(key) = table.keys().find(|key| !["values", "merge"].contains(&key.as_str())) {
                    let hint = nearest(key, ["values", "merge"].into_iter()).map(|near| format!("; did you mean `{near}`?"));
                    return Err(self.fault(at, format!("unknown key `{key}`{}", hint.unwrap_or_default())));
                }
                let append = match table.get("merge").map(toml::Value::as_str) {
                    None | Some(Some("replace")) => false,
                    Some(Some("append")) => true,
                    Some(_) => return Err(self.fault(at, "`merge` is `append` or `replace`")),
                };
                (table.get("values").and_then(toml::Value::as_array).ok_or_else(shape)?, append)
            }
            _ => return Err(shape()),
        };
        if items.iter().any(|item| item.is_table() || item.is_array()) {
            return Err(self.fault(at, "a list holds texts, numbers and truth values, no lists or tables"));
        }
        Ok(NamedList { values: items.iter().cloned().map(value).collect(), append, line: self.place(at).0 })
    }

    fn rule(&self, head: &Head, raw: RawRule) -> Result<Rule, Vec<Fault>> {
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

    /// Field names in events are checked, too: a misspelled one would make a silent test pass for ever.
    fn test(&self, raw: RawTest, line: usize) -> Result<Test, Fault> {
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

    fn over(&self, over: &Spanned<u64>) -> Result<u64, Fault> {
        if *over.get_ref() <= HIGHEST {
            return Ok(*over.get_ref());
        }
        Err(self.fault(over.span().start, format!("`over` is at most {HIGHEST}; a budget above it is a `sum`")))
    }

    /// A window is longer than nothing and at most 30 days.
    fn window(&self, text: &Spanned<String>) -> Result<Duration, Fault> {
        const LONGEST: Duration = Duration::from_secs(30 * 86_400);
        let window = self.duration(text)?;
        if window.is_zero() {
            return Err(self.fault(text.span().start, "a window of no length holds nothing; for example `15m`"));
        }
        if window > LONGEST {
            return Err(self.fault(text.span().start, "a window is at most `30d`: state is kept no longer"));
        }
        Ok(window)
    }

    fn block(&self, raw: &RawRule, at: usize) -> Result<Option<Block>, Fault> {
        let given = [
            raw.count.is_some(),
            raw.distinct.is_some(),
            raw.sum.is_some(),
            raw.sequence.is_some(),
            raw.needs.is_some(),
            raw.then.is_some(),
            raw.owned.is_some(),
            raw.flow.is_some(),
            raw.drift.is_some(),
        ];
        if given.iter().filter(|given| **given).count() > 1 {
            return Err(self.fault(at, "a rule has at most one state block; write two rules"));
        }
        let needs_when = |block: &str| match raw.when {
            Some(_) => Ok(()),
            None => Err(self.fault(at, format!("`{block}` needs a `when`"))),
        };
        if let Some(block) = &raw.count {
            needs_when("count")?;
            return Ok(Some(Block::Count {
                by: self.names(&block.by)?,
                within: self.window(&block.within)?,
                over: self.over(&block.over)?,
                without: block.without.as_ref().map(|text| self.condition(text)).transpose()?,
            }));
        }
        if let Some(block) = &raw.distinct {
            needs_when("distinct")?;
            let (of, by, within) = (self.name(&block.of)?, self.names(&block.by)?, self.window(&block.within)?);
            return Ok(Some(Block::Distinct { of, by, within, over: self.over(&block.over)? }));
        }
        if let Some(block) = &raw.sum {
            needs_when("sum")?;
            let written = block.over.get_ref();
            let over = written.as_float().or(written.as_integer().map(|number| number as f64)).filter(|over| over.is_finite());
            let over = over.ok_or_else(|| self.fault(block.over.span().start, "`over` is a number"))?;
            return Ok(Some(Block::Sum {
                of: self.name(&block.of)?,
                by: self.names(&block.by)?,
                within: self.window(&block.within)?,
                over,
            }));
        }
        if let Some(block) = &raw.sequence {
            let written = block.steps.get_ref();
            if !(2..=16).contains(&written.len()) {
                return Err(self.fault(block.steps.span().start, "a sequence has two to sixteen steps"));
            }
            let steps = written.iter().map(|step| self.condition(step)).collect::<Result<_, _>>()?;
            let without = block.without.as_ref().map(|text| self.condition(text)).transpose()?;
            let ordered = !matches!(block.order, Some(RawOrder::Any));
            return Ok(Some(Block::Sequence {
                steps,
                same: self.names(&block.same)?,
                within: self.window(&block.within)?,
                without,
                ordered,
            }));
        }
        if let Some(block) = &raw.needs {
            needs_when("needs")?;
            return Ok(Some(Block::Needs {
                earlier: self.condition(&block.earlier)?,
                same: self.names(&block.same)?,
                within: self.window(&block.within)?,
                use_once: block.use_once,
                voided_by: block.voided_by.as_ref().map(|text| self.condition(text)).transpose()?,
            }));
        }
        if let Some(block) = &raw.then {
            needs_when("then")?;
            return Ok(Some(Block::Then {
                later: self.condition(&block.later)?,
                same: self.names(&block.same)?,
                within: self.window(&block.within)?,
            }));
        }
        if let Some(block) = &raw.owned {
            const DAY: Duration = Duration::from_secs(24 * 3600);
            return Ok(Some(Block::Owned {
                object: block.object.clone(),
                by: self.name(&block.by)?,
                unknown: matches!(block.unknown, Some(RawUnknown::Alert)),
                learn: block.learn.as_ref().map_or(Ok(DAY), |text| self.duration(text))?,
            }));
        }
        if let Some(block) = &raw.flow {
            let not_from = block.not_from.as_ref().map_or(Ok(Vec::new()), |names| self.one_or_many(names))?;
            return Ok(Some(Block::Flow {
                from: Condition { reads_answer: true, ..self.condition(&block.from)? },
                to: self.condition(&block.to)?,
                within: self.window(&block.within)?,
                overlap: block.overlap.unwrap_or(1).max(1),
                kind: match block.kind {
                    Some(RawMatch::Values) => Match::Values,
                    Some(RawMatch::Text) => Match::Text,
                    Some(RawMatch::Any) | None => Match::Any,
                },
                not_from,
            }));
        }
        if let Some(block) = &raw.drift {
            return Ok(Some(Block::Drift {
                of: self.name(&block.of)?,
                key: self.names(&block.key)?,
                learn: block.learn.as_ref().map_or(Ok(Duration::ZERO), |text| self.duration(text))?,
                alert: match block.alert {
                    RawDriftAlert::New => Drift::New,
                    RawDriftAlert::Changed => Drift::Changed,
                    RawDriftAlert::Rare => Drift::Rare,
                },
            }));
        }
        Ok(None)
    }

    /// Faults inside the expression are placed in the file: exact for literal strings, whose text stands as it is.
    fn condition(&self, text: &Spanned<String>) -> Result<Condition, Fault> {
        let span = text.span();
        let written = self.text.get(span.clone()).unwrap_or_default();
        let quote = written.find(text.get_ref().as_str()).filter(|_| !text.get_ref().is_empty());
        let place = |at: usize| quote.map_or(span.start, |quote| span.start + quote + at);
        let expression = parse(text.get_ref()).map_err(|fault| self.fault(place(fault.at), fault.reason))?;
        let mut lists = Vec::new();
        named_lists(&expression, &mut |name, at| {
            lists.push((name.to_owned(), self.fault(place(at), format!("no list is called `{name}`"))));
        });
        let mut fields = Vec::new();
        read_fields(&expression, &mut |name| {
            if !fields.iter().any(|known| known == name) {
                fields.push(name.to_owned());
            }
        });
        let reads_answer = fields.iter().any(|field| is_of_answer(field));
        Ok(Condition { text: text.get_ref().clone(), expression, program: Node::Bool(false), lists, fields, reads_answer })
    }

    fn names(&self, names: &[Spanned<String>]) -> Result<Vec<String>, Fault> {
        names.iter().map(|name| self.name(name)).collect()
    }

    /// A field name, or a list of them.
    fn one_or_many(&self, written: &Spanned<toml::Value>) -> Result<Vec<String>, Fault> {
        let texts = match written.get_ref() {
            toml::Value::String(text) => vec![text.as_str()],
            toml::Value::Array(items) => items.iter().filter_map(toml::Value::as_str).collect(),
            _ => Vec::new(),
        };
        if texts.is_empty() {
            return Err(self.fault(written.span().start, "expected a field name or a list of them"));
        }
        texts.into_iter().map(|text| self.name(&Spanned::new(written.span(), text.to_owned()))).collect()
    }

    fn name(&self, name: &Spanned<String>) -> Result<String, Fault> {
        let text = name.get_ref();
        if is_known(text) {
            return Ok(text.clone());
        }
        let hint = suggest(text).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
        Err(self.fault(name.span().start, format!("unknown field `{text}`{hint}")))
    }

    fn duration(&self, text: &Spanned<String>) -> Result<Duration, Fault> {
        duration(text.get_ref())
            .ok_or_else(|| self.fault(text.span().start, "a duration is a number with ms, s, m, h or d, for example `15m`"))
    }

    fn exception(&self, table: &Spanned<toml::Table>) -> Result<Exception, Fault> {
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

impl Block {
    /// It counts, joins or compares by something that only the answer brings: its conditions wait for it.
    fn reads_answer(&self) -> bool {
        let (one, names) = match self {
            Block::Count { by, .. } => (None, by),
            Block::Distinct { of, by, .. } | Block::Sum { of, by, .. } => (Some(of), by),
            Block::Sequence { same, .. } | Block::Needs { same, .. } | Block::Then { same, .. } => (None, same),
            Block::Drift { of, key, .. } => (Some(of), key),
            Block::Owned { .. } | Block::Flow { .. } => return false,
        };
        one.into_iter().chain(names).any(|name| is_of_answer(name))
    }
}

fn is_of_answer(field: &str) -> bool {
    ANSWER_FIELDS.iter().any(|answer| field.strip_prefix(answer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

fn default_group(block: Option<&Block>) -> Vec<String> {
    let keys = match block {
        Some(Block::Count { by, .. } | Block::Distinct { by, .. } | Block::Sum { by, .. }) => by.clone(),
        Some(Block::Drift { key, .. }) => key.clone(),
        Some(Block::Sequence { same, .. } | Block::Needs { same, .. } | Block::Then { same, .. }) => same.clone(),
        Some(Block::Owned { .. } | Block::Flow { .. }) | None => Vec::new(),
    };
    if keys.is_empty() { vec!["workflow".into()] } else { keys }
}

/// `did you mean` for keys, and one line.
fn toml_reason(message: &str) -> String {
    let reason = message.trim_end().replace('\n', ", ");
    let unknown = reason.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`'));
    let Some((wrong, rest)) = unknown else { return reason };
    let known = rest.split('`').skip(1).step_by(2);
    let best = known.map(|name| (strsim::damerau_levenshtein(wrong, name), name)).min();
    match best.filter(|(distance, _)| *distance <= 2) {
        Some((_, name)) => format!("unknown key `{wrong}`; did you mean `{name}`?"),
        None => reason.replacen("unknown field", "unknown key", 1),
    }
}

/// A TOML value as rules see it.
pub(crate) fn value(written: toml::Value) -> Value {
    match written {
        toml::Value::String(text) => Value::text(text),
        toml::Value::Integer(number) => Value::int(number),
        toml::Value::Float(number) => Value::Number(Number::from_f64(number)),
        toml::Value::Boolean(flag) => Value::Bool(flag),
        toml::Value::Datetime(time) => Value::text(time.to_string()),
        toml::Value::Array(items) => Value::list(items.into_iter().map(value)),
        toml::Value::Table(table) => Value::map(table.into_iter().map(|(key, nested)| (key, value(nested)))),
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

fn named_lists<'a>(expression: &'a Expr, visit: &mut dyn FnMut(&'a str, usize)) {
    if let Expr::NamedList(name, at) = expression {
        visit(name, *at);
    }
    expression.parts().into_iter().for_each(|part| named_lists(part, visit));
}

/// `>=0.1, <0.2` holds for this engine; `None` when it is no range.
fn fits(range: &str) -> Option<bool> {
    let numbers = |text: &str| -> Option<Vec<u64>> {
        let mut numbers: Vec<u64> = text.trim().split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
        numbers.resize(3, 0);
        Some(numbers)
    };
    let own = numbers(ENGINE)?;
    let mut all = true;
    for part in range.split(',') {
        let part = part.trim();
        let digits = part.find(|letter: char| letter.is_ascii_digit())?;
        let wanted = numbers(&part[digits..])?;
        all &= match part[..digits].trim() {
            ">=" => own >= wanted,
            ">" => own > wanted,
            "<=" => own <= wanted,
            "<" => own < wanted,
            "=" | "==" => own == wanted,
            "^" | "" => own >= wanted && own[..2] == wanted[..2],
            _ => return None,
        };
    }
    Some(all)
}

fn flatten(name: &str, value: &Value, out: &mut Vec<(String, Value)>) {
    match value.as_map().filter(|_| !is_known(name) || !name.contains('.')) {
        Some(entries) => entries.iter().for_each(|(key, nested)| flatten(&format!("{name}.{key}"), nested, out)),
        None => out.push((name.to_owned(), value.clone())),
    }
}

/// `500ms`, `30s`, `15m`, `24h`, `7d`.
pub fn duration(text: &str) -> Option<Duration> {
    let split = text.find(|letter: char| !letter.is_ascii_digit())?;
    let number: u64 = text[..split].parse().ok()?;
    let unit = match &text[split..] {
        "ms" => return Some(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    number.checked_mul(unit).map(Duration::from_secs)
}

/// The last second of a day in UTC.
fn day_end(text: &str) -> Option<i64> {
    let date: jiff::civil::Date = text.get(..10)?.parse().ok()?;
    let midnight = date.tomorrow().ok()?.to_datetime(jiff::civil::Time::midnight());
    Some(jiff::tz::TimeZone::UTC.to_timestamp(midnight).ok()?.as_second())
}

/// An address with the length of its prefix; without one, the address alone.
fn parse_network(text: &str) -> Option<(std::net::IpAddr, u8)> {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let address: std::net::IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Some(most), |length| length.parse().ok())?;
    (length <= most).then_some((address, length))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
