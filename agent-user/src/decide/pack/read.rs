//! The reader: what is written becomes what is used, or faults that name file, line and column.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use toml::Spanned;

use super::raw::{RawHead, RawPack};
use super::{Condition, Fault, Filter, Pack};
use crate::base::Value;
use crate::base::value::Number;
use crate::decide::lang::{Expr, Grant, Node, is_known, parse, read_fields, remembers, suggest};
use crate::decide::step::ANSWER_FIELDS;

/// Effects that rules and vocabularies speak of.
pub(super) const EFFECTS: [&str; 8] = ["read", "write", "delete", "money", "admin", "egress", "approve", "exec"];

/// Largest rule file: packs are written by hand.
const FILE_BYTES: usize = 4 << 20;

/// Version of the engine that `pack.engine` is compared with.
const ENGINE: &str = env!("CARGO_PKG_VERSION");

/// Reads and checks one file; every fault is reported, not the first alone.
pub fn read(file: &str, text: &str) -> Result<Pack, Vec<Fault>> {
    let lines = std::iter::once(0).chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|newline| newline + 1)).collect();
    let reader = Reader { file, text, lines };
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

pub(super) struct Head {
    pub(super) name: Arc<str>,
    pub(super) version: Arc<str>,
    pub(super) hash: Arc<str>,
}

pub(super) struct Reader<'a> {
    pub(super) file: &'a str,
    text: &'a str,
    /// Where each line begins.
    lines: Vec<usize>,
}

impl Reader<'_> {
    pub(super) fn place(&self, at: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= at).max(1);
        let before = self.text.get(self.lines[line - 1]..at).unwrap_or_default();
        (line, before.chars().count() + 1)
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

    /// Faults inside the expression are placed in the file: exact for literal strings, whose text stands as it is.
    pub(super) fn condition(&self, text: &Spanned<String>) -> Result<Condition, Fault> {
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
        let remembers = remembers(&expression);
        Ok(Condition {
            text: text.get_ref().clone(),
            expression,
            program: Node::Bool(false),
            lists,
            fields,
            reads_answer,
            remembers,
        })
    }

    pub(super) fn names(&self, names: &[Spanned<String>]) -> Result<Vec<String>, Fault> {
        names.iter().map(|name| self.name(name)).collect()
    }

    /// A field name, or a list of them.
    pub(super) fn one_or_many(&self, written: &Spanned<toml::Value>) -> Result<Vec<String>, Fault> {
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

    pub(super) fn name(&self, name: &Spanned<String>) -> Result<String, Fault> {
        let text = name.get_ref();
        if is_known(text) {
            return Ok(text.clone());
        }
        let hint = suggest(text).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
        Err(self.fault(name.span().start, format!("unknown field `{text}`{hint}")))
    }

    pub(super) fn duration(&self, text: &Spanned<String>) -> Result<Duration, Fault> {
        duration(text.get_ref())
            .ok_or_else(|| self.fault(text.span().start, "a duration is a number with ms, s, m, h or d, for example `15m`"))
    }
}

pub(super) fn is_of_answer(field: &str) -> bool {
    ANSWER_FIELDS.iter().any(|answer| field.strip_prefix(answer).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
