//! `owned`: whose an object is, learned from answers, asked of requests.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::parts::Parts;
use super::{Cell, Memory, Moment, Verdict, since, told};
use crate::base::limits::OBJECT_VIEWERS;
use crate::base::{Timestamp, Value};
use crate::decide::lang::Fact;
use crate::decide::pack::{Keys, Rule, Source, Target};
use crate::decide::ruleset::RuleSet;

pub(super) struct Owned<'a> {
    /// The type of the object, `*` for any.
    pub(super) kind: &'a str,
    pub(super) by: &'a Keys,
    pub(super) unknown: bool,
    pub(super) learn: Duration,
}

/// What is known of all objects with one id. Mostly that is one owner and one viewer, which lie here and nowhere else: each look at other
/// memory costs more than the rest of what is done with an object.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Object {
    owners: SmallVec<[Owner; 1]>,
    /// To whom it was shown, by their prints, and when.
    shown: SmallVec<[(u64, Timestamp); 1]>,
    /// It was shown to more than [`OBJECT_VIEWERS`] users: it is nobody's secret.
    public: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    /// Print of the object's type.
    kind: u64,
    at: Timestamp,
    /// Of the name, which is read only to tell it.
    print: u64,
    name: Arc<str>,
}

/// Types of objects that share an id and are told apart.
const KINDS: usize = 16;

impl Object {
    fn owner(&self, kind: u64, fresh: Timestamp) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.kind == kind && owner.at >= fresh)
    }

    /// It still belongs to whom it belonged.
    fn still_owned(&mut self, kind: u64, at: Timestamp) {
        if let Some(owner) = self.owners.iter_mut().find(|owner| owner.kind == kind) {
            owner.at = at;
        }
    }

    fn owned(&mut self, kind: u64, at: Timestamp, name: &str, print: u64) {
        match self.owners.iter_mut().find(|owner| owner.kind == kind) {
            Some(owner) => {
                owner.at = at;
                if owner.print != print {
                    (owner.print, owner.name) = (print, name.into());
                }
            }
            None => {
                if self.owners.len() >= KINDS {
                    self.owners.remove(0);
                }
                self.owners.push(Owner { kind, at, print, name: name.into() });
            }
        }
    }

    fn is_shown(&self, who: u64, fresh: Timestamp) -> bool {
        self.public || self.shown.iter().any(|(known, at)| *known == who && *at >= fresh)
    }

    fn show(&mut self, who: u64, now: Timestamp, fresh: Timestamp) {
        if self.public {
            return;
        }
        if let Some((_, at)) = self.shown.iter_mut().find(|(known, _)| *known == who) {
            *at = now;
            return;
        }
        if self.shown.len() >= OBJECT_VIEWERS {
            self.shown.retain(|(_, at)| *at >= fresh);
        }
        if self.shown.len() >= OBJECT_VIEWERS {
            self.public = true;
            self.shown = SmallVec::new();
            return;
        }
        self.shown.push((who, now));
    }
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
        self.by.all().any(|name| name.starts_with("tenant"))
    }
}

impl Memory {
    pub(super) fn owned(&mut self, parts: &Owned<'_>, rule: &Rule, moment: &Moment<'_>, set: &RuleSet) -> Verdict {
        let mut verdict = None;
        let mut asked = None;
        let status = moment.event.get("status").and_then(Value::as_i64).unwrap_or(200);
        let served = moment.complete && (200..300).contains(&status);
        let waits = rule.when.as_ref().is_some_and(|when| when.reads_answer);
        let asks = rule.when.as_ref().map_or(moment.first, |when| moment.holds(when, set));
        // The answer says whose it is, and nobody knew before.
        let says =
            !moment.first && !waits && served && rule.when.as_ref().is_none_or(|when| moment.judge(when, set).truth == Ok(true));
        let object = moment.event.get("object");
        let of_object = |name: &str| object.and_then(|object| object.get(name)).and_then(|value| told(value.into()));
        let kind = object.and_then(|object| object.get("type")).and_then(Value::as_str);
        let who = moment.only(parts.by);
        let viewer = moment.print_of(who);
        let user = told(who).zip(viewer).map(|(name, viewer)| User {
            print: if matches!(who, Fact::Text(_)) { viewer } else { print(moment, &name) },
            name,
            viewer,
        });
        if (asks || says)
            && let Some(kind) = kind.filter(|found| parts.kind == "*" || *found == parts.kind)
            && let (Some(id), Some(user)) = (of_object("id"), &user)
        {
            let fresh = since(moment, parts.learn);
            let named = type_print(kind);
            let key = place(moment, &id);
            let at = self.keys.get_index_of(&key);
            at.into_iter().for_each(|at| self.keys[at].used = true);
            let known = match at.map(|at| &self.keys[at].cell) {
                Some(Cell::Object(object)) => Some(object),
                _ => None,
            };
            let seen = known.is_some_and(|object| object.is_shown(user.viewer, fresh));
            let remembered = known.and_then(|object| object.owner(named, fresh));
            let announced = match remembered {
                Some(_) => None,
                None => of_object(if parts.by_tenant() { "tenant" } else { "owner" }),
            };
            // Whether it has an owner, and who that is if not the one who asks.
            let owner: Option<Option<Arc<str>>> = match (remembered, &announced) {
                // It was judged by this when it was asked for.
                (Some(_), _) if says => None,
                (Some(owner), _) => Some((owner.print != user.print).then(|| owner.name.clone())),
                (None, Some(name)) => Some((*name != user.name).then(|| Arc::from(&**name))),
                (None, None) => None,
            };
            if asks
                && owner.is_some()
                && let Cell::Object(object) = self.cell_at(at, key, rule.max_keys, || Cell::Object(Box::default()))
            {
                match &announced {
                    Some(name) => object.owned(named, moment.now, name, owner_print(moment, Some(user), name)),
                    None => object.still_owned(named, moment.now),
                }
            }
            let prompted = || prompted(moment, &id);
            verdict = match owner {
                Some(Some(owner)) => Some(Value::map([("grade", Value::text("owner_conflict")), ("owner", Value::Text(owner))])),
                Some(None) => None,
                None if asks && parts.unknown && !seen && !prompted() => {
                    Some(Value::map([("grade", Value::text("never_shown"))]))
                }
                None => None,
            };
            asked = Some(Asked { kind, named, id, key, at });
        }
        if served {
            self.learn(parts, viewer, user.as_ref(), asked.as_ref(), rule.max_keys, moment, set);
        }
        verdict
    }

    fn learn(
        &mut self,
        parts: &Owned<'_>,
        viewer: Option<u64>,
        user: Option<&User<'_>>,
        asked: Option<&Asked<'_>>,
        most: usize,
        moment: &Moment<'_>,
        set: &RuleSet,
    ) {
        let Some(result) = moment.event.get("result") else { return };
        let named = match asked {
            Some(asked) => asked.kind,
            None => moment.event.text("object", Some("type")).unwrap_or(parts.kind),
        };
        let named_print = || asked.map_or_else(|| type_print(named), |asked| asked.named);
        let fresh = since(moment, parts.learn);
        let mut learn = |kind: u64, id: &str, owner: Option<&str>| {
            // Mostly the object that was asked for.
            let (key, at) = match asked.filter(|asked| asked.id == id) {
                Some(asked) => (asked.key, asked.at),
                None => (place(moment, id), None),
            };
            let Cell::Object(object) = self.cell_at(at, key, most, || Cell::Object(Box::default())) else { return };
            if let Some(owner) = owner {
                object.owned(kind, moment.now, owner, owner_print(moment, user, owner));
            }
            if let Some(viewer) = viewer {
                object.show(viewer, moment.now, fresh);
            }
        };
        let op = if set.tells_owners() { moment.event.text("op", None) } else { None };
        match op.and_then(|op| set.returns(op)) {
            Some(returns) => {
                let all = |name: &str| returns.get(name).map(|target| targets(result, target)).unwrap_or_default();
                let owners = all(if parts.by_tenant() { "tenant" } else { "owner" });
                let kind = match returns.get("type").map(|target| &target.source) {
                    Some(Source::Word(word)) => type_print(word),
                    _ => named_print(),
                };
                let ids = all("id").into_iter().enumerate();
                ids.for_each(|(at, id)| learn(kind, &id, owners.get(at).map(String::as_str)));
            }
            None => {
                let owners: &[&str] = if parts.by_tenant() { &TENANTS } else { &OWNERS };
                let kind = named_print();
                let mut objects = Objects { kind: named, owners, left: MOST };
                objects.each(result, 0, &mut |id, owner| learn(kind, id, owner));
            }
        }
    }
}

/// The object of the request, where the rule looked at it.
struct Asked<'a> {
    kind: &'a str,
    /// Print of the type.
    named: u64,
    id: Cow<'a, str>,
    key: u128,
    /// Where its memory was.
    at: Option<usize>,
}

/// Who asks.
struct User<'a> {
    name: Cow<'a, str>,
    /// Print of the name, as owners have one.
    print: u64,
    /// Print of the fact, which tells a number from a text.
    viewer: u64,
}

/// FNV-1a, 64 bits. Types are words of a vocabulary, nobody's secret, and who chooses the word needs no second one with its print: no key.
fn type_print(kind: &str) -> u64 {
    kind.bytes().fold(0xcbf2_9ce4_8422_2325, |print, byte| (print ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Of an owner's name.
fn print(moment: &Moment<'_>, name: &str) -> u64 {
    let mut parts = Parts::new(moment.hash);
    parts.text(name);
    parts.print()
}

/// Mostly it is whoever asks, whose print is known.
fn owner_print(moment: &Moment<'_>, user: Option<&User<'_>>, owner: &str) -> u64 {
    user.filter(|user| user.name == owner).map_or_else(|| print(moment, owner), |user| user.print)
}

fn place(moment: &Moment<'_>, id: &str) -> u128 {
    let mut parts = Parts::new(moment.hash);
    parts.text(id);
    parts.key()
}

fn prompted(moment: &Moment<'_>, id: &str) -> bool {
    moment.event.text("user", Some("prompt")).is_some_and(|prompt| names(prompt, id))
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

/// Objects that are learned of one answer.
const MOST: usize = 1000;

/// Objects of an answer with id and owner, wherever they stand.
struct Objects<'a> {
    kind: &'a str,
    /// Fields that name an owner, the most telling first.
    owners: &'a [&'a str],
    left: usize,
}

impl Objects<'_> {
    fn each(&mut self, value: &Value, depth: usize, found: &mut dyn FnMut(&str, Option<&str>)) {
        const DEEPEST: usize = 8;
        if depth > DEEPEST || self.left == 0 {
            return;
        }
        match value {
            Value::Map(entries) => {
                let scalar = |value: &&Value| matches!(value, Value::Text(_) | Value::Number(_));
                let own = |(key, _): &&(Arc<str>, Value)| key.strip_suffix("_id") == Some(self.kind);
                let own = || entries.iter().rev().find(own).map(|(_, value)| value);
                if let Some(id) = value.get("id").or_else(own).filter(scalar) {
                    let owner = self.owners.iter().find_map(|name| value.get(name)).filter(scalar).map(Value::plain);
                    self.left -= 1;
                    found(&id.plain(), owner.as_deref());
                }
                entries.iter().for_each(|(_, nested)| self.each(nested, depth + 1, found));
            }
            Value::List(items) => items.iter().for_each(|nested| self.each(nested, depth + 1, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {}
        }
    }
}
