//! Compiled packs: one vocabulary, the rules of all, and for each kind of event the rules that can match it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::lang::{Expr, Vocabulary, glob};
use super::pack::{Exception, Fault, Mode, Operation, Pack, Pattern, Rule};
use crate::base::Value;

/// Rules that judge together.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    pub rules: Vec<Arc<Rule>>,
    pub(super) vocabulary: Vocabulary,
    operations: Vec<Operation>,
    /// Rules by the kinds they can match; `None` stands for any kind.
    by_kind: BTreeMap<Option<String>, Vec<usize>>,
    pub packs: Vec<(Arc<str>, Arc<str>, Arc<str>)>,
}

impl RuleSet {
    /// Joins packs. A rule id that two packs define is a fault of the later one.
    pub fn join(packs: Vec<Pack>) -> Result<RuleSet, Vec<Fault>> {
        let mut set = RuleSet::default();
        let mut faults = Vec::new();
        let mut seen: BTreeMap<Arc<str>, String> = BTreeMap::new();
        let mut filters = Vec::new();
        for pack in packs {
            for (name, list) in pack.lists {
                let known = set.vocabulary.lists.entry(name).or_default();
                if !list.append {
                    known.clear();
                }
                known.extend(list.values);
            }
            // A later pack's operations are more particular than the built-in ones.
            set.operations.splice(0..0, pack.operations);
            set.vocabulary.grants.extend(pack.grants);
            filters.extend(pack.filters);
            set.packs.push((pack.name, pack.version, pack.hash));
            for rule in pack.rules {
                let id = rule.reference.id.clone();
                if let Some(other) = seen.insert(id.clone(), pack.file.clone()) {
                    faults.push(Fault {
                        file: pack.file.clone(),
                        line: rule.line,
                        column: 1,
                        reason: format!("rule {id} is already defined in {other}"),
                    });
                }
                set.rules.push(Arc::new(rule));
            }
        }
        for filter in filters {
            for rule in set
                .rules
                .iter_mut()
                .filter(|rule| filter.rules.iter().any(|pattern| glob(rule.reference.id.as_bytes(), pattern.as_bytes())))
            {
                Arc::make_mut(rule).except.push(filter.exception.clone());
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        set.index();
        Ok(set)
    }

    /// The same vocabulary with one rule.
    pub fn only(&self, rule: &Arc<Rule>) -> RuleSet {
        let mut alone = Rule::clone(rule);
        if alone.mode == Mode::Off {
            alone.mode = Mode::Shadow;
        }
        let mut set = RuleSet {
            rules: vec![Arc::new(alone)],
            vocabulary: self.vocabulary.clone(),
            operations: self.operations.clone(),
            ..RuleSet::default()
        };
        set.index();
        set
    }

    fn index(&mut self) {
        for (at, rule) in self.rules.iter().enumerate().filter(|(_, rule)| rule.mode != Mode::Off) {
            let kinds = match (&rule.block, &rule.when) {
                // Blocks have conditions of their own, on other kinds.
                (Some(_), _) | (None, None) => None,
                (None, Some(condition)) => kinds(&condition.expression),
            };
            match kinds {
                Some(kinds) => kinds.into_iter().for_each(|kind| self.by_kind.entry(Some(kind)).or_default().push(at)),
                None => self.by_kind.entry(None).or_default().push(at),
            }
        }
    }

    /// The rules that an event of this kind can touch, in their order.
    pub(super) fn candidates(&self, kind: &str) -> Vec<usize> {
        let mut found: Vec<usize> =
            self.by_kind.get(&None).into_iter().chain(self.by_kind.get(&Some(kind.to_owned()))).flatten().copied().collect();
        found.sort_unstable();
        found
    }

    /// Names the event by the vocabulary: the first operation that matches overrides what was inferred.
    pub(super) fn name(&self, event: Value) -> Value {
        let Some((operation, variables)) =
            self.operations.iter().find_map(|operation| Some((operation, matches(operation, &event)?)))
        else {
            return event;
        };
        let mut changed: Vec<(&str, Value)> = vec![("op", Value::text(operation.id.clone()))];
        if let Some(effect) = &operation.effect {
            changed.push(("effect", Value::text(effect.clone())));
        }
        let source = |text: &str| resolve(text, &event, &variables);
        if !operation.object.is_empty() {
            let mut object: Vec<(Arc<str>, Value)> = Vec::new();
            for (key, text) in &operation.object {
                let value = if key == "type" { Some(Value::text(text.as_str())) } else { source(text) };
                object.extend(value.map(|value| (Arc::from(key.as_str()), value)));
            }
            changed.push(("object", Value::Map(object.into())));
        }
        if !operation.arg.is_empty() {
            let mut arguments: Vec<(Arc<str>, Value)> = event.get("arg").and_then(Value::as_map).unwrap_or_default().to_vec();
            for (key, text) in &operation.arg {
                if let Some(value) = source(text) {
                    arguments.retain(|(name, _)| **name != **key);
                    arguments.push((Arc::from(key.as_str()), value));
                }
            }
            changed.push(("arg", Value::Map(arguments.into())));
        }
        let entries = event.as_map().unwrap_or_default();
        let kept = entries.iter().filter(|(key, _)| !changed.iter().any(|(name, _)| **key == **name)).cloned();
        Value::Map(kept.chain(changed.iter().map(|(key, value)| (Arc::from(*key), value.clone()))).collect())
    }

    /// What an operation's answer says of owners: `type`, `id` and `owner` pointers.
    pub(super) fn returns(&self, op: &str) -> Option<&BTreeMap<String, String>> {
        self.operations
            .iter()
            .find(|operation| &*operation.id == op)
            .map(|operation| &operation.returns)
            .filter(|returns| !returns.is_empty())
    }
}

/// The values of `kind` without which the condition cannot hold.
fn kinds(expression: &Expr) -> Option<BTreeSet<String>> {
    use super::lang::Comparison;
    let word = |expression: &Expr| match expression {
        Expr::Literal(Value::Text(text)) => Some(text.to_string()),
        _ => None,
    };
    match expression {
        Expr::And(one, other) => match (kinds(one), kinds(other)) {
            (Some(one), Some(other)) => Some(one.intersection(&other).cloned().collect()),
            (one, other) => one.or(other),
        },
        Expr::Or(one, other) => Some(kinds(one)?.union(&kinds(other)?).cloned().collect()),
        Expr::Compare(Comparison::Equal, one, other) => match (&**one, &**other) {
            (Expr::Field(name), literal) | (literal, Expr::Field(name)) if name == "kind" => Some([word(literal)?].into()),
            _ => None,
        },
        Expr::In(one, list) => match (&**one, &**list) {
            (Expr::Field(name), Expr::List(items)) if name == "kind" => items.iter().map(word).collect(),
            _ => None,
        },
        _ => None,
    }
}

/// The variables of the path when the operation is the event's.
fn matches(operation: &Operation, event: &Value) -> Option<BTreeMap<String, String>> {
    let word = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    match &operation.pattern {
        Pattern::Inferred(pattern) => glob(word("/op").as_bytes(), pattern.as_bytes()).then(BTreeMap::new),
        Pattern::Http { method, host, path } => {
            let named = word("/http/host");
            let bare = named.rsplit_once(':').map_or(named, |(name, _)| name);
            let host_matches = glob(named.as_bytes(), host.as_bytes()) || glob(bare.as_bytes(), host.as_bytes());
            if !(host_matches && (method == "*" || word("/http/method") == method)) || named.is_empty() {
                return None;
            }
            let mut variables = BTreeMap::new();
            let segments: Vec<&str> = word("/http/path").trim_start_matches('/').split('/').collect();
            if segments.len() != path.len() {
                return None;
            }
            for (pattern, segment) in path.iter().zip(segments) {
                match pattern.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                    Some(name) if !segment.is_empty() => {
                        variables.insert(
                            name.to_owned(),
                            percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned(),
                        );
                    }
                    Some(_) => return None,
                    None if glob(segment.as_bytes(), pattern.as_bytes()) => {}
                    None => return None,
                }
            }
            Some(variables)
        }
    }
}

/// `body:/amount number`, `path:tenant`, `query:q`, `result:/id`, `user.id`.
fn resolve(source: &str, event: &Value, variables: &BTreeMap<String, String>) -> Option<Value> {
    let (place, kind) = source.split_once(' ').unwrap_or((source, ""));
    let found = match place.split_once(':') {
        Some(("body" | "arg", pointer)) => event.get("arg")?.pointer(pointer).cloned(),
        Some(("query", name)) => event.get("arg")?.get(name).cloned(),
        Some(("path", name)) => variables.get(name).map(|value| Value::text(value.as_str())),
        Some(("result", pointer)) => event.get("result")?.pointer(pointer).cloned(),
        Some(_) => None,
        None => super::lang::field(event, place).cloned(),
    }?;
    Some(match (&found, kind) {
        (Value::Text(text), "number") => {
            let number: f64 = text.trim().parse().ok()?;
            Value::Number(crate::base::value::Number::from_f64(number))
        }
        _ => found,
    })
}

/// True when the exception holds at that time.
pub(super) fn excepted(exception: &Exception, event: &Value, seconds: i64) -> bool {
    exception.until.is_none_or(|until| seconds <= until)
        && exception.fields.iter().all(|(name, wanted)| {
            super::lang::field(event, name).is_some_and(|found| match (found, wanted) {
                (Value::Text(found), Value::Text(wanted)) => glob(found.as_bytes(), wanted.as_bytes()),
                (found, Value::List(wanted)) => wanted.contains(found),
                (found, wanted) => found == wanted,
            })
        })
}
