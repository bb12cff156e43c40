//! Any other call: its arguments, what it acts on, and what it does, by method, path and names.

use std::sync::Arc;

use super::{Http, Object};
use crate::base::{Sensitive, Value};
use crate::decode::{Body, Header, Request, header, json};
use crate::reassemble::Flow;

/// The address of a call; `template` is its path, generalised.
pub(super) fn http(request: &Request, flow: &Flow, template: Arc<str>) -> Http {
    Http {
        method: request.method.clone(),
        host: request.host.clone(),
        path: request.path.clone(),
        query: request.query.clone(),
        template: Some(template),
        scheme: request.scheme,
        peer: flow.peer.clone(),
    }
}

/// Body fields and query parameters by name; a body that is no map is `{"body": …}`.
pub(super) fn arguments(request: &Request) -> Sensitive<Value> {
    let mut entries: Vec<(Arc<str>, Value)> = Vec::new();
    match body(&request.headers, &request.body) {
        Some(Value::Map(fields)) => entries.extend(fields.iter().cloned()),
        Some(other) => entries.push(("body".into(), other)),
        None => {}
    }
    for (name, value) in form(request.query.expose_content()) {
        if entries.iter().all(|(known, _)| *known != name) {
            entries.push((name, value));
        }
    }
    Sensitive::new(Value::Map(entries.into()))
}

/// JSON or a form; `None` for what is neither.
pub(super) fn body(headers: &[Header], body: &Body) -> Option<Value> {
    if let Some(value) = &body.json {
        return Some(Value::clone(value));
    }
    let bytes = body.kept.expose_content();
    let media =
        header(headers, "content-type").map(|value| String::from_utf8_lossy(value).to_ascii_lowercase()).unwrap_or_default();
    if media.starts_with("application/x-www-form-urlencoded") {
        let text = std::str::from_utf8(bytes).ok()?;
        // Programs send JSON under this type too (curl's default for -d).
        if !matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'[')) {
            return Some(Value::map(form(text)));
        }
    }
    let looks = matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'['));
    (looks || media.contains("json")).then(|| json::parse(bytes).value).flatten()
}

/// `a=1&b=x%20y` (WHATWG URL, application/x-www-form-urlencoded).
pub(super) fn form(text: &str) -> Vec<(Arc<str>, Value)> {
    let decode = |part: &str| -> Arc<str> {
        if !part.bytes().any(|byte| matches!(byte, b'+' | b'%')) {
            return part.into();
        }
        percent_encoding::percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into()
    };
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), Value::text(decode(value)))
        })
        .collect()
}

/// A request for a token (RFC 6749, RFC 8693): it gives its sender the right that its grant holds, and changes nothing.
pub(super) fn asks_for_token(arguments: &Value) -> bool {
    arguments.get("grant_type").is_some_and(|grant| grant.as_str().is_some())
}

/// Numbers, UUIDs, hashes and mixtures (`ord_81x`, `u-1`); words and versions (`v1`, `2024-01`) are no ids.
pub(super) fn is_id(segment: &str) -> bool {
    let bytes = segment.as_bytes();
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    let version = || bytes.len() <= 7 && matches!(bytes, [b'v' | b'V', b'0'..=b'9', ..]);
    if digits == 0 || version() || bytes.contains(&b':') && segment.ends_with(char::is_alphabetic) {
        return false;
    }
    let all = digits == bytes.len();
    let long = bytes.len() >= 16;
    let marked = bytes.iter().any(|byte| matches!(byte, b'-' | b'_' | b'@' | b'.' | b'%'));
    all || long || marked || digits * 3 >= bytes.len()
}

/// What the path names (a collection and an id), else what an argument names.
pub(super) fn object(path: &str, named: Option<(&str, &str)>, arguments: &Value) -> Option<Object> {
    if let Some((collection, id)) = named {
        let id = percent_encoding::percent_decode_str(id).decode_utf8_lossy().into_owned();
        return Some(Object {
            kind: Some(singular(collection).into()),
            id: Some(id.into()),
            owner: owner(arguments),
            tenant: tenant(path, arguments),
        });
    }
    let (kind, id) = argument_id(arguments)?;
    Some(Object { kind: Some(kind.into()), id: Some(id.into()), owner: owner(arguments), tenant: tenant(path, arguments) })
}

/// The object that an argument names: `order_id`, `orderId`, `id`.
pub(super) fn argument_id(arguments: &Value) -> Option<(String, String)> {
    let entries = arguments.as_map()?;
    entries.iter().find_map(|(name, value)| {
        let id = match value {
            Value::Text(text) if !text.is_empty() && text.len() <= 128 => text.to_string(),
            Value::Number(number) => number.text.to_string(),
            _ => return None,
        };
        let lower = name.to_ascii_lowercase();
        let excluded = [
            "request",
            "session",
            "trace",
            "correlation",
            "idempotency",
            "conversation",
            "thread",
            "tenant",
            "org",
            "client",
            "message",
            "run",
        ];
        let kind = name
            .strip_suffix("_id")
            .or_else(|| name.strip_suffix("Id"))
            .or_else(|| name.strip_suffix("ID"))
            .or_else(|| name.strip_suffix("-id"))?;
        (!kind.is_empty() && !excluded.iter().any(|word| lower.starts_with(word))).then(|| (kind.to_ascii_lowercase(), id))
    })
}

fn owner(arguments: &Value) -> Option<Arc<str>> {
    ["owner_id", "ownerId", "owner", "customer_id", "customerId", "user_id", "userId", "account_id"].iter().find_map(|name| {
        match arguments.get(name) {
            Some(Value::Text(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.text.clone()),
            _ => None,
        }
    })
}

fn tenant(path: &str, arguments: &Value) -> Option<Arc<str>> {
    let mut parts = path.split('/');
    while let Some(part) = parts.next() {
        if matches!(part, "tenants" | "tenant" | "orgs" | "organizations" | "workspaces") {
            return parts.next().filter(|id| !id.is_empty()).map(Arc::from);
        }
    }
    ["tenant_id", "tenantId", "tenant", "org_id", "organization_id"]
        .iter()
        .find_map(|name| arguments.get(name).and_then(Value::as_str))
        .map(Arc::from)
}

pub(super) fn singular(word: &str) -> String {
    let word = word.to_ascii_lowercase();
    if let Some(stem) = word.strip_suffix("ies") {
        return format!("{stem}y");
    }
    match word.strip_suffix('s') {
        Some(stem) if !stem.ends_with('s') && stem.len() > 1 => stem.to_owned(),
        _ => word,
    }
}

#[cfg(test)]
mod tests {
    use super::super::paths::Segments;
    use super::*;

    #[test]
    fn paths_are_generalised() {
        for (path, expected) in [
            ("/v1/orders/1001/refunds", "/v1/orders/{id}/refunds"),
            ("/users/u-1", "/users/{id}"),
            ("/api/v2/items/3fa85f64-5717-4562-b3fc-2c963f66afa6", "/api/v2/items/{id}"),
            ("/health", "/health"),
            ("/", "/"),
            ("/v1/chat/completions", "/v1/chat/completions"),
            ("/files/ord_81x", "/files/{id}"),
        ] {
            assert_eq!(&*Segments::of(path).template(&path.into()), expected);
        }
    }

    #[test]
    fn the_object_is_the_last_collection_with_an_id() {
        for (path, body, kind, id) in [
            ("/v1/orders/1001/refunds", "{}", "order", "1001"),
            ("/users/u-1/orders/17", "{}", "order", "17"),
            ("/companies/9", "{}", "company", "9"),
            ("/refund", r#"{"order_id":"77"}"#, "order", "77"),
            ("/refund", r#"{"invoiceId":8}"#, "invoice", "8"),
        ] {
            let object =
                object(path, Segments::of(path).last_object(), &json::parse(body.as_bytes()).value.expect("JSON")).expect(path);
            assert_eq!((object.kind.as_deref(), object.id.as_deref()), (Some(kind), Some(id)), "{path}");
        }
        assert_eq!(object("/health", None, &Value::map::<&str>([])), None);
    }
}
