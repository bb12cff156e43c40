//! Whose an object is, learned from answers: records that carry an id and an owner or tenant.
//!
//! In: bodies of answers. Out: owner and tenant of an object that a later call names.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::Object;
use crate::base::Value;
use crate::base::limits::OWNED_OBJECTS;

const OWNER_KEYS: &[&str] = &[
    "owner_id",
    "ownerid",
    "owner",
    "user_id",
    "userid",
    "customer_id",
    "customerid",
    "customer",
    "account_holder",
    "belongs_to",
    "account_owner",
    "holder",
    "holder_id",
    "created_for",
    "patient_id",
    "employee_id",
    "member_id",
];
const TENANT_KEYS: &[&str] =
    &["tenant_id", "tenantid", "tenant", "org_id", "organization_id", "organisation_id", "workspace_id", "company_id"];
const ID_KEYS: &[&str] = &["id", "_id", "uuid", "uid", "key", "number", "slug"];

#[derive(Clone, Debug, PartialEq, Eq)]
struct Belongs {
    kind: Option<Arc<str>>,
    owner: Option<Arc<str>>,
    tenant: Option<Arc<str>>,
}

#[derive(Debug, Default)]
pub(super) struct Owners {
    known: HashMap<(Arc<str>, Arc<str>), Belongs>,
    order: VecDeque<(Arc<str>, Arc<str>)>,
}

impl Owners {
    /// Reads an answer of `place` (a host, an MCP server). `asked` is the object that the call named.
    pub(super) fn learn(&mut self, place: &Arc<str>, asked: Option<&Object>, answer: &Value) {
        let mut budget = 2_000;
        self.walk(place, asked.and_then(|asked| asked.kind.as_ref()), answer, 0, &mut budget);
        // The record itself, when it does not repeat its id.
        if let (Some(asked), Some(entries)) = (asked, answer.as_map())
            && let Some(id) = &asked.id
            && scalar(entries, ID_KEYS).is_none()
        {
            let (owner, tenant) = (scalar(entries, OWNER_KEYS), scalar(entries, TENANT_KEYS));
            self.keep(place, id.clone(), Belongs { kind: asked.kind.clone(), owner, tenant });
        }
    }

    fn walk(&mut self, place: &Arc<str>, kind: Option<&Arc<str>>, value: &Value, depth: usize, budget: &mut usize) {
        const DEEPEST: usize = 8;
        if depth > DEEPEST || *budget == 0 {
            return;
        }
        *budget -= 1;
        match value {
            Value::List(items) => items.iter().for_each(|item| self.walk(place, kind, item, depth + 1, budget)),
            Value::Map(entries) => {
                let own_id = kind.and_then(|kind| {
                    entries.iter().find(|(name, _)| {
                        let name = name.to_ascii_lowercase().replace(['_', '-'], "");
                        name == **kind || name == format!("{kind}id")
                    })
                });
                let id = scalar(entries, ID_KEYS).or_else(|| own_id.and_then(|(_, value)| word(value)));
                if let Some(id) = id {
                    let owner = scalar(entries, OWNER_KEYS).filter(|owner| *owner != id);
                    self.keep(place, id, Belongs { kind: kind.cloned(), owner, tenant: scalar(entries, TENANT_KEYS) });
                }
                for (name, nested) in entries.iter().filter(|(_, nested)| nested.as_map().is_some() || nested.as_list().is_some())
                {
                    let plain = matches!(
                        &**name,
                        "items" | "data" | "results" | "records" | "rows" | "value" | "content" | "entries" | "list"
                    );
                    let named: Option<Arc<str>> = (!plain).then(|| super::api::singular(name).into());
                    self.walk(place, named.as_ref().or(kind.filter(|_| plain)), nested, depth + 1, budget);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {}
        }
    }

    fn keep(&mut self, place: &Arc<str>, id: Arc<str>, belongs: Belongs) {
        if belongs.owner.is_none() && belongs.tenant.is_none() {
            return;
        }
        let key = (place.clone(), id);
        if self.known.insert(key.clone(), belongs).is_none() {
            self.order.push_back(key);
        }
        if self.known.len() > OWNED_OBJECTS
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// What was learned of an object; what the server said outranks what the call claims.
    pub(super) fn fill(&self, place: &Arc<str>, object: &mut Object) {
        let Some(id) = &object.id else { return };
        let Some(known) = self.known.get(&(place.clone(), id.clone())) else { return };
        let other = matches!((&known.kind, &object.kind), (Some(known), Some(asked)) if known != asked);
        if other {
            return;
        }
        object.owner = known.owner.clone().or(object.owner.take());
        object.tenant = known.tenant.clone().or(object.tenant.take());
    }
}

fn scalar(entries: &[(Arc<str>, Value)], names: &[&str]) -> Option<Arc<str>> {
    names.iter().find_map(|name| {
        let (_, value) = entries.iter().find(|(key, _)| key.to_ascii_lowercase() == *name)?;
        match value {
            Value::Map(nested) => nested.iter().find(|(key, _)| &**key == "id").and_then(|(_, id)| word(id)),
            plain => word(plain),
        }
    })
}

fn word(value: &Value) -> Option<Arc<str>> {
    match value {
        Value::Text(text) if !text.is_empty() && text.len() <= 128 => Some(text.clone()),
        Value::Number(number) => Some(number.text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::json;

    #[test]
    fn owners_are_learned_from_records_and_lists() {
        let shop: Arc<str> = "shop".into();
        for (asked, answer, object, owner, tenant) in [
            (Some(("order", "17")), r#"{"owner_id":"u-2","total":5}"#, ("order", "17"), Some("u-2"), None),
            (None, r#"{"items":[{"id":"a1","user_id":7,"tenant_id":"t-1"}]}"#, ("x", "a1"), Some("7"), Some("t-1")),
            (None, r#"{"orders":[{"id":3,"customer":{"id":"c-9"}}]}"#, ("order", "3"), Some("c-9"), None),
            (None, r#"{"orders":[{"id":3,"customer":{"id":"c-9"}}]}"#, ("invoice", "3"), None, None),
            (
                Some(("order", "18")),
                r#"{"order":"18","customer":"ada@example.com"}"#,
                ("order", "18"),
                Some("ada@example.com"),
                None,
            ),
        ] {
            let mut owners = Owners::default();
            let object_of =
                |(kind, id): (&str, &str)| Object { kind: Some(kind.into()), id: Some(id.into()), ..Object::default() };
            let asked = asked.map(object_of);
            owners.learn(&shop, asked.as_ref(), &json::parse(answer.as_bytes()).value.expect("JSON"));
            let mut found = object_of(object);
            owners.fill(&shop, &mut found);
            assert_eq!((found.owner.as_deref(), found.tenant.as_deref()), (owner, tenant), "{answer}");
        }
    }

    #[test]
    fn the_oldest_object_is_forgotten_at_the_bound() {
        let mut owners = Owners::default();
        let shop: Arc<str> = "shop".into();
        for number in 0..=OWNED_OBJECTS {
            owners.keep(&shop, number.to_string().into(), Belongs { kind: None, owner: Some("u".into()), tenant: None });
        }
        let mut first = Object { id: Some("0".into()), ..Object::default() };
        owners.fill(&shop, &mut first);
        assert_eq!((first.owner, owners.known.len()), (None, OWNED_OBJECTS));
    }
}
