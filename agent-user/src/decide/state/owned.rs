//! `owned`: whose an object is, learned from answers, asked of requests.

use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;

use siphasher::sip128::Hasher128;

use super::{Cell, Memory, Moment, Verdict, since};
use crate::base::{Timestamp, Value};
use crate::decide::pack::{Rule, Source, Target};
use crate::decide::ruleset::RuleSet;

pub(super) struct Owned<'a> {
    /// The type of the object, `*` for any.
    pub(super) kind: &'a str,
    pub(super) by: &'a str,
    pub(super) unknown: bool,
    pub(super) learn: Duration,
}

/// Fields of an object that name its owner.
const OWNERS: [&str; 12] = [
    "owner_id",
    "ownerId",
    "owner",
    "customer_id",
    "customerId",
    "user_id",
    "userId",
    "account_owner",
    "accountOwner",
    "created_by_user",
    "patient_id",
    "member_id",
];

/// Fields of an object that name its tenant.
const TENANTS: [&str; 7] = ["tenant_id", "tenantId", "tenant", "org_id", "orgId", "organization_id", "workspace_id"];

impl Owned<'_> {
    /// Objects belong to tenants, not to users.
    fn by_tenant(&self) -> bool {
        self.by.starts_with("tenant")
    }
}

/// An object of an answer: type, id, owner.
struct Shown {
    kind: String,
    id: String,
    owner: Option<String>,
}

impl Memory {
    pub(super) fn owned(&mut self, parts: &Owned<'_>, rule: &Rule, moment: &Moment<'_>, set: &RuleSet) -> Verdict {
        let who = moment.part(parts.by);
        let mut verdict = None;
        let status = moment.event.field("status").and_then(Value::as_i64).unwrap_or(200);
        let served = moment.complete && (200..300).contains(&status);
        let waits = rule.when.as_ref().is_some_and(|when| when.reads_answer);
        let asks = rule.when.as_ref().map_or(moment.first, |when| moment.holds(when, set));
        // The answer says whose it is, and nobody knew before.
        let told =
            !moment.first && !waits && served && rule.when.as_ref().is_none_or(|when| moment.judge(when, set).truth == Ok(true));
        let kind = moment.event.field("object.type").and_then(Value::as_str);
        if (asks || told)
            && let Some(kind) = kind.filter(|found| parts.kind == "*" || *found == parts.kind)
            && let (Some(id), Some(who)) = (moment.part("object.id"), who.as_ref())
        {
            let fresh = since(moment, parts.learn);
            let said = moment.part(if parts.by_tenant() { "object.tenant" } else { "object.owner" });
            let place = key(moment, &["owner", kind, &id]);
            let owner = match self.known(place) {
                // It was judged by this when it was asked for.
                Some(Cell::Owner(at, owner)) if *at >= fresh => Some(owner.clone()).filter(|_| !told),
                _ => said.map(Arc::from),
            };
            if asks && let Some(owner) = &owner {
                *self.cell(place, rule.max_keys, || Cell::Owner(moment.now, Arc::from(""))) =
                    Cell::Owner(moment.now, owner.clone());
            }
            let prompt = moment.event.field("user.prompt").and_then(Value::as_str).unwrap_or_default();
            let seen = matches!(self.known(key(moment, &["shown", who, &id])), Some(Cell::Shown(at)) if *at >= fresh);
            verdict = match owner {
                Some(owner) if *owner != **who => {
                    Some(Value::map([("grade", Value::text("owner_conflict")), ("owner", Value::Text(owner))]))
                }
                Some(_) => None,
                None if asks && parts.unknown && !seen && !names(prompt, &id) => {
                    Some(Value::map([("grade", Value::text("never_shown"))]))
                }
                None => None,
            };
        }
        if served {
            self.learn(parts, who.as_deref(), rule.max_keys, moment, set);
        }
        verdict
    }

    fn learn(&mut self, parts: &Owned<'_>, who: Option<&str>, most: usize, moment: &Moment<'_>, set: &RuleSet) {
        let Some(result) = moment.event.get("result") else { return };
        let op = moment.event.field("op").and_then(Value::as_str).unwrap_or_default();
        let named = moment.event.field("object.type").and_then(Value::as_str).unwrap_or(parts.kind);
        let mut shown = Vec::new();
        match set.returns(op) {
            Some(returns) => {
                let ids = returns.get("id").map(|target| targets(result, target)).unwrap_or_default();
                let owners = returns
                    .get(if parts.by_tenant() { "tenant" } else { "owner" })
                    .map(|target| targets(result, target))
                    .unwrap_or_default();
                let kind = match returns.get("type").map(|target| &target.source) {
                    Some(Source::Word(word)) => word.to_string(),
                    _ => named.to_owned(),
                };
                let pairs = ids.into_iter().enumerate();
                shown.extend(pairs.map(|(at, id)| Shown { kind: kind.clone(), id, owner: owners.get(at).cloned() }));
            }
            None => {
                let owners: &[&str] = if parts.by_tenant() { &TENANTS } else { &OWNERS };
                collect(result, named, owners, &mut shown, 0);
            }
        }
        for Shown { kind, id, owner } in shown {
            if let Some(owner) = owner {
                let cell = self.cell(key(moment, &["owner", &kind, &id]), most, || Cell::Owner(moment.now, Arc::from("")));
                *cell = Cell::Owner(moment.now, owner.into());
            }
            if let Some(who) = who {
                *self.cell(key(moment, &["shown", who, &id]), most, || Cell::Shown(Timestamp(0))) = Cell::Shown(moment.now);
            }
        }
    }
}

fn key(moment: &Moment<'_>, parts: &[&str]) -> u128 {
    let mut hasher = moment.hash.hasher();
    for part in parts {
        hasher.write(part.as_bytes());
        hasher.write_u8(0xff);
    }
    hasher.finish128().as_u128()
}

/// The words hold the id as a word of its own: `12` is not named by `1200`.
fn names(prompt: &str, id: &str) -> bool {
    prompt.match_indices(id).any(|(at, _)| {
        let outside = |letter: Option<char>| letter.is_none_or(|letter| !letter.is_alphanumeric());
        outside(prompt[..at].chars().next_back()) && outside(prompt[at + id.len()..].chars().next())
    })
}

/// The scalars at a pointer in which `*` stands for every item.
fn targets(value: &Value, target: &Target) -> Vec<String> {
    let pointer = match &target.source {
        Source::Result(pointer) | Source::Body(pointer) => pointer,
        Source::Word(_) | Source::Query(_) | Source::Path(_) | Source::Field(_) => return Vec::new(),
    };
    let mut found = vec![value];
    for part in pointer.split('/').filter(|part| !part.is_empty()) {
        found = found
            .into_iter()
            .flat_map(|value| match (part, value) {
                ("*", Value::List(items)) => items.iter().collect::<Vec<_>>(),
                (_, Value::List(items)) => part.parse().ok().and_then(|at: usize| items.get(at)).into_iter().collect(),
                _ => value.get(part).into_iter().collect(),
            })
            .collect();
    }
    found.into_iter().map(|value| value.plain().into_owned()).collect()
}

/// Objects of an answer with id and owner, wherever they stand.
fn collect(value: &Value, kind: &str, owners: &[&str], out: &mut Vec<Shown>, depth: usize) {
    const DEEPEST: usize = 8;
    const MOST: usize = 1000;
    if depth > DEEPEST || out.len() >= MOST {
        return;
    }
    match value {
        Value::Map(entries) => {
            let own = format!("{kind}_id");
            let scalar = |value: &&Value| matches!(value, Value::Text(_) | Value::Number(_));
            if let Some(id) = value.get("id").or(value.get(&own)).filter(scalar) {
                let owner = owners.iter().find_map(|name| value.get(name)).filter(scalar);
                out.push(Shown {
                    kind: kind.to_owned(),
                    id: id.plain().into_owned(),
                    owner: owner.map(|owner| owner.plain().into_owned()),
                });
            }
            entries.iter().for_each(|(_, nested)| collect(nested, kind, owners, out, depth + 1));
        }
        Value::List(items) => items.iter().for_each(|nested| collect(nested, kind, owners, out, depth + 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {}
    }
}
