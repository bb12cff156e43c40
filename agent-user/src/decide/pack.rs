//! A pack: one TOML file with vocabulary and rules. Strict: an unknown key, field or function is a fault with line and column.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use toml::Spanned;

use super::event::ANSWER_FIELDS;
use super::lang::{Expr, Grant, is_known, parse, read_fields, suggest};
use super::{RuleRef, Severity};
use crate::base::Value;
use crate::base::value::Number;

/// A fault of a rule file: `file:line:column: reason`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.reason)
    }
}

/// A pack as written and checked.
#[derive(Clone, Debug)]
pub struct Pack {
    pub name: Arc<str>,
    pub version: Arc<str>,
    /// SHA-256 of the file, hex.
    pub hash: Arc<str>,
    pub file: String,
    pub lists: BTreeMap<String, NamedList>,
    pub operations: Vec<Operation>,
    pub grants: Vec<Grant>,
    pub filters: Vec<Filter>,
    pub rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
pub struct NamedList {
    pub values: Vec<Value>,
    /// Adds to the list of that name in another pack instead of replacing it.
    pub append: bool,
}

/// Names an API call.
#[derive(Clone, Debug)]
pub struct Operation {
    pub id: Arc<str>,
    pub pattern: Pattern,
    pub effect: Option<Arc<str>>,
    /// `type`, then `id`, `owner`, `tenant` by their sources.
    pub object: BTreeMap<String, String>,
    pub arg: BTreeMap<String, String>,
    pub returns: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
pub enum Pattern {
    /// `POST host/path/{name}`; a method or host of `*` takes any.
    Http { method: String, host: String, path: Vec<String> },
    /// `mcp:tool`, `tool:name`, `a2a:method`: the inferred operation, as a glob.
    Inferred(String),
}

/// An exclusion for named rules.
#[derive(Clone, Debug)]
pub struct Filter {
    pub rules: Vec<String>,
    pub exception: Exception,
}

/// Field values that make a match no violation.
#[derive(Clone, Debug)]
pub struct Exception {
    pub fields: Vec<(String, Value)>,
    pub why: Option<String>,
    /// Seconds since the epoch after which it no longer holds.
    pub until: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Alert,
    Shadow,
    Off,
}

#[derive(Clone, Debug)]
pub struct Rule {
    pub reference: Arc<RuleRef>,
    pub severity: Severity,
    pub when: Option<Condition>,
    pub block: Option<Block>,
    pub except: Vec<Exception>,
    pub tags: Vec<Arc<str>>,
    pub fix: Arc<str>,
    pub why: Arc<str>,
    pub mode: Mode,
    pub group: Vec<String>,
    pub quiet: Duration,
    pub tests: Vec<Test>,
    pub line: usize,
}

/// An expression with what it reads.
#[derive(Clone, Debug)]
pub struct Condition {
    pub text: String,
    pub expression: Expr,
    pub fields: Vec<String>,
    /// It can be judged only when the answer is in.
    pub reads_answer: bool,
}

/// What a rule remembers between events.
#[derive(Clone, Debug)]
pub enum Block {
    Count { by: Vec<String>, within: Duration, over: u64 },
    Distinct { of: String, by: Vec<String>, within: Duration, over: u64 },
    Sum { of: String, by: Vec<String>, within: Duration, over: f64 },
    Sequence { steps: Vec<Condition>, same: Vec<String>, within: Duration, without: Option<Condition>, ordered: bool },
    Needs { earlier: Condition, same: Vec<String>, within: Duration, use_once: bool, voided_by: Option<Condition> },
    Then { later: Condition, same: Vec<String>, within: Duration },
    Owned { object: String, by: String, unknown: bool, learn: Duration },
    Flow { from: Condition, to: Condition, within: Duration, overlap: usize, not_from: Vec<String> },
    Drift { of: String, key: Vec<String>, learn: Duration, alert: Drift },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    New,
    Changed,
    Rare,
}

#[derive(Clone, Debug)]
pub struct Test {
    pub name: String,
    pub events: Vec<Value>,
    pub alerts: usize,
    pub line: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPack {
    pack: RawHead,
    #[serde(default)]
    list: BTreeMap<String, RawList>,
    #[serde(default)]
    operation: Vec<RawOperation>,
    #[serde(default)]
    #[expect(dead_code, reason = "checked for shape")]
    identity: Vec<RawIdentity>,
    #[serde(default)]
    grant: Vec<RawGrant>,
    #[serde(default)]
    filter: Vec<RawFilter>,
    #[serde(default)]
    rule: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "keys that people may write; the engine range is checked by hand")]
struct RawHead {
    name: String,
    version: String,
    engine: Option<String>,
    description: Option<String>,
    #[serde(default)]
    requires: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawList {
    Values(Vec<toml::Value>),
    Table(RawListTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawListTable {
    values: Vec<toml::Value>,
    merge: Option<Merge>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Merge {
    Append,
    Replace,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOperation {
    id: String,
    #[serde(rename = "match")]
    pattern: Spanned<String>,
    effect: Option<Spanned<String>>,
    #[serde(default)]
    object: BTreeMap<String, String>,
    #[serde(default)]
    arg: BTreeMap<String, String>,
    #[serde(default)]
    returns: BTreeMap<String, String>,
}

/// Which of the sources that were found names the user, tenant and agent of a host. Sources are read in a fixed order of trust;
/// the keys are accepted so that a pack can state what it expects.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "keys that people may write")]
struct RawIdentity {
    #[serde(rename = "for")]
    host: String,
    #[serde(default)]
    user: Vec<String>,
    #[serde(default)]
    tenant: Vec<String>,
    #[serde(default)]
    agent: Vec<String>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    trust_headers_from: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGrant {
    who: RawWho,
    ops: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWho {
    role: Option<String>,
    user: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFilter {
    rules: Vec<String>,
    except: Spanned<toml::Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    id: Spanned<String>,
    title: String,
    severity: RawSeverity,
    when: Option<Spanned<String>>,
    count: Option<RawCount>,
    distinct: Option<RawDistinct>,
    sum: Option<RawSum>,
    sequence: Option<RawSequence>,
    needs: Option<RawNeeds>,
    then: Option<RawThen>,
    owned: Option<RawOwned>,
    flow: Option<RawFlow>,
    drift: Option<RawDrift>,
    #[serde(default)]
    except: Vec<Spanned<toml::Table>>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    fix: String,
    #[serde(default)]
    why: String,
    #[serde(default)]
    #[expect(dead_code, reason = "documentation for the reader of the pack")]
    false_positives: Option<String>,
    mode: Option<RawMode>,
    group: Option<Vec<Spanned<String>>>,
    quiet: Option<Spanned<String>>,
    #[serde(default)]
    test: Vec<Spanned<RawTest>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawSeverity {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawMode {
    Alert,
    Shadow,
    Off,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCount {
    #[serde(default)]
    by: Vec<Spanned<String>>,
    within: Spanned<String>,
    over: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDistinct {
    of: Spanned<String>,
    #[serde(default)]
    by: Vec<Spanned<String>>,
    within: Spanned<String>,
    over: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSum {
    of: Spanned<String>,
    #[serde(default)]
    by: Vec<Spanned<String>>,
    within: Spanned<String>,
    over: toml::Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSequence {
    steps: Vec<Spanned<String>>,
    #[serde(default)]
    same: Vec<Spanned<String>>,
    within: Spanned<String>,
    without: Option<Spanned<String>>,
    order: Option<RawOrder>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawOrder {
    Strict,
    Any,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNeeds {
    earlier: Spanned<String>,
    #[serde(default)]
    same: Vec<Spanned<String>>,
    within: Spanned<String>,
    #[serde(default)]
    use_once: bool,
    voided_by: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawThen {
    later: Spanned<String>,
    #[serde(default)]
    same: Vec<Spanned<String>>,
    within: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOwned {
    object: String,
    by: Spanned<String>,
    unknown: Option<RawUnknown>,
    learn: Option<Spanned<String>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawUnknown {
    Alert,
    Ignore,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFlow {
    from: Spanned<String>,
    to: Spanned<String>,
    within: Spanned<String>,
    overlap: Option<usize>,
    not_from: Option<Spanned<toml::Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDrift {
    of: Spanned<String>,
    key: Vec<Spanned<String>>,
    learn: Option<Spanned<String>>,
    alert: RawDriftAlert,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawDriftAlert {
    New,
    Changed,
    Rare,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTest {
    name: String,
    events: Vec<toml::Table>,
    alerts: usize,
}

/// Effects that rules and vocabularies speak of.
const EFFECTS: [&str; 8] = ["read", "write", "delete", "money", "admin", "egress", "approve", "exec"];

/// Groups close after this when a rule says nothing else.
const QUIET: Duration = Duration::from_secs(10 * 60);

/// Largest rule file: packs are written by hand.
const FILE_BYTES: usize = 4 << 20;

/// Reads and checks one file; every fault of its rules is reported, not the first alone.
pub fn read(file: &str, text: &str) -> Result<Pack, Vec<Fault>> {
    let reader = Reader { file, text };
    if text.len() > FILE_BYTES {
        return Err(vec![reader.fault(0, format!("longer than {FILE_BYTES} bytes"))]);
    }
    let raw: RawPack = toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        vec![reader.fault(at, toml_reason(error.message()))]
    })?;
    let head = Head {
        name: raw.pack.name.as_str().into(),
        version: raw.pack.version.as_str().into(),
        hash: hex(&Sha256::digest(text.as_bytes())).into(),
    };
    let mut faults = Vec::new();
    let mut rules = Vec::new();
    let mut ids: BTreeMap<String, usize> = BTreeMap::new();
    for rule in raw.rule {
        let at = rule.id.span().start;
        if let Some(before) = ids.insert(rule.id.get_ref().clone(), at) {
            faults.push(
                reader
                    .fault(at, format!("rule {} is defined twice; first in line {}", rule.id.get_ref(), reader.place(before).0)),
            );
        }
        match reader.rule(&head, rule) {
            Ok(rule) => rules.push(rule),
            Err(mut found) => faults.append(&mut found),
        }
    }
    let mut operations = Vec::new();
    for operation in raw.operation {
        match reader.operation(operation) {
            Ok(operation) => operations.push(operation),
            Err(fault) => faults.push(fault),
        }
    }
    let mut filters = Vec::new();
    for filter in raw.filter {
        match reader.exception(&filter.except) {
            Ok(exception) => filters.push(Filter { rules: filter.rules, exception }),
            Err(fault) => faults.push(fault),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(Pack {
        name: head.name,
        version: head.version,
        hash: head.hash,
        file: file.into(),
        lists: raw.list.into_iter().map(|(name, list)| (name, named_list(list))).collect(),
        operations,
        grants: raw.grant.into_iter().map(|grant| Grant { user: grant.who.user, role: grant.who.role, ops: grant.ops }).collect(),
        filters,
        rules,
    })
}

struct Head {
    name: Arc<str>,
    version: Arc<str>,
    hash: Arc<str>,
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    fn place(&self, at: usize) -> (usize, usize) {
        let before = &self.text[..at.min(self.text.len())];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
    }

    fn fault(&self, at: usize, reason: impl Into<String>) -> Fault {
        let (line, column) = self.place(at);
        Fault { file: self.file.into(), line, column, reason: reason.into() }
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
            let test = test.into_inner();
            tests.push(Test {
                name: test.name,
                events: test.events.into_iter().map(|event| value(toml::Value::Table(event))).collect(),
                alerts: test.alerts,
                line,
            });
        }
        match (group, quiet) {
            (Ok(group), Ok(quiet)) if faults.is_empty() => Ok(Rule {
                reference: Arc::new(RuleRef {
                    id: raw.id.get_ref().as_str().into(),
                    title: raw.title.into(),
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
                tags: raw.tags.into_iter().map(Arc::from).collect(),
                fix: raw.fix.into(),
                why: raw.why.into(),
                mode: match raw.mode {
                    Some(RawMode::Shadow) => Mode::Shadow,
                    Some(RawMode::Off) => Mode::Off,
                    Some(RawMode::Alert) | None => Mode::Alert,
                },
                group,
                quiet,
                tests,
                line: self.place(at).0,
            }),
            (group, quiet) => {
                faults.extend(group.err());
                faults.extend(quiet.err());
                Err(faults)
            }
        }
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
                within: self.duration(&block.within)?,
                over: block.over,
            }));
        }
        if let Some(block) = &raw.distinct {
            needs_when("distinct")?;
            let (of, by, within) = (self.name(&block.of)?, self.names(&block.by)?, self.duration(&block.within)?);
            return Ok(Some(Block::Distinct { of, by, within, over: block.over }));
        }
        if let Some(block) = &raw.sum {
            needs_when("sum")?;
            let over = block.over.as_float().or(block.over.as_integer().map(|number| number as f64));
            let over = over.ok_or_else(|| self.fault(block.of.span().start, "`over` is a number"))?;
            return Ok(Some(Block::Sum {
                of: self.name(&block.of)?,
                by: self.names(&block.by)?,
                within: self.duration(&block.within)?,
                over,
            }));
        }
        if let Some(block) = &raw.sequence {
            if block.steps.len() < 2 {
                return Err(self.fault(at, "a sequence has at least two steps"));
            }
            let steps = block.steps.iter().map(|step| self.condition(step)).collect::<Result<_, _>>()?;
            let without = block.without.as_ref().map(|text| self.condition(text)).transpose()?;
            let ordered = !matches!(block.order, Some(RawOrder::Any));
            return Ok(Some(Block::Sequence {
                steps,
                same: self.names(&block.same)?,
                within: self.duration(&block.within)?,
                without,
                ordered,
            }));
        }
        if let Some(block) = &raw.needs {
            needs_when("needs")?;
            return Ok(Some(Block::Needs {
                earlier: self.condition(&block.earlier)?,
                same: self.names(&block.same)?,
                within: self.duration(&block.within)?,
                use_once: block.use_once,
                voided_by: block.voided_by.as_ref().map(|text| self.condition(text)).transpose()?,
            }));
        }
        if let Some(block) = &raw.then {
            needs_when("then")?;
            return Ok(Some(Block::Then {
                later: self.condition(&block.later)?,
                same: self.names(&block.same)?,
                within: self.duration(&block.within)?,
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
                from: self.condition(&block.from)?,
                to: self.condition(&block.to)?,
                within: self.duration(&block.within)?,
                overlap: block.overlap.unwrap_or(1).max(1),
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
        let expression = parse(text.get_ref()).map_err(|fault| {
            let span = text.span();
            let written = &self.text[span.clone()];
            let start = written.find(text.get_ref().as_str()).map_or(span.start, |quote| span.start + quote + fault.at);
            self.fault(start, fault.reason)
        })?;
        let mut fields = Vec::new();
        read_fields(&expression, &mut |name| {
            if !fields.iter().any(|known| known == name) {
                fields.push(name.to_owned());
            }
        });
        let reads_answer = fields
            .iter()
            .any(|field| ANSWER_FIELDS.iter().any(|answer| field == answer || field.starts_with(&format!("{answer}."))));
        Ok(Condition { text: text.get_ref().clone(), expression, fields, reads_answer })
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
        let mut exception = Exception { fields: Vec::new(), why: None, until: None };
        for (key, written) in table.get_ref() {
            match key.as_str() {
                "why" => exception.why = written.as_str().map(str::to_owned),
                "by" => {}
                "until" => {
                    let text = written.as_datetime().map(ToString::to_string).or(written.as_str().map(str::to_owned));
                    let until = text.as_deref().and_then(day_end);
                    exception.until = Some(until.ok_or_else(|| self.fault(at, "`until` is a date such as 2027-01-31"))?);
                }
                field if is_known(field) => exception.fields.push((field.to_owned(), value(written.clone()))),
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

    fn operation(&self, raw: RawOperation) -> Result<Operation, Fault> {
        if let Some(effect) = raw.effect.as_ref().filter(|effect| !EFFECTS.contains(&effect.get_ref().as_str())) {
            return Err(self.fault(effect.span().start, format!("unknown effect, expected one of {}", EFFECTS.join(", "))));
        }
        let text = raw.pattern.get_ref();
        let pattern = match text.split_once(' ') {
            Some((method, target)) => {
                let (host, path) =
                    target.split_once('/').ok_or_else(|| self.fault(raw.pattern.span().start, "expected METHOD host/path"))?;
                Pattern::Http { method: method.into(), host: host.into(), path: path.split('/').map(str::to_owned).collect() }
            }
            None if ["mcp:", "tool:", "a2a:", "exec:", "jsonrpc:"].iter().any(|front| text.starts_with(front)) => {
                Pattern::Inferred(text.clone())
            }
            None => {
                return Err(
                    self.fault(raw.pattern.span().start, "expected `METHOD host/path`, `mcp:tool`, `tool:name` or `a2a:method`")
                );
            }
        };
        Ok(Operation {
            id: raw.id.into(),
            pattern,
            effect: raw.effect.map(|effect| effect.into_inner().into()),
            object: raw.object,
            arg: raw.arg,
            returns: raw.returns,
        })
    }
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

fn named_list(list: RawList) -> NamedList {
    match list {
        RawList::Values(values) => NamedList { values: values.into_iter().map(value).collect(), append: false },
        RawList::Table(table) => NamedList {
            values: table.values.into_iter().map(value).collect(),
            append: matches!(table.merge, Some(Merge::Append)),
        },
    }
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
pub(super) fn value(written: toml::Value) -> Value {
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
