//! The shape of what `replay --format json` prints: the fields that other programs rely on, with their types.

use serde_json::Value;

/// `a.b` is a field of a field, `a[]` each element of a list; `?` after a type allows null.
type Shape = &'static [(&'static str, &'static str)];

const BODY: Shape = &[("len", "number"), ("sha256", "text"), ("complete", "flag")];

pub const EXCHANGE: Shape = &[
    ("id", "text"),
    ("conn", "text"),
    ("pid", "number"),
    ("protocol", "text"),
    ("stream", "number?"),
    ("request.ts", "number"),
    ("request.method", "text"),
    ("request.scheme", "text"),
    ("request.host", "text"),
    ("request.path", "text"),
    ("request.query", "text"),
    ("request.headers[][]", "text"),
    ("response.ts", "number"),
    ("response.status", "number"),
    ("response.headers[][]", "text"),
    ("response.events", "number"),
    ("incomplete[]", "text"),
];

pub const ACTION: Shape = &[
    ("id", "text"),
    ("time", "number"),
    ("workflow", "text"),
    ("step", "number"),
    ("kind", "text"),
    ("caused_by[].id", "text"),
    ("caused_by[].why", "text"),
    ("caused_by[].confidence", "number"),
    ("incomplete[]", "text"),
];

pub const WORKFLOW: Shape = &[
    ("id", "text"),
    ("started", "number"),
    ("ended", "number?"),
    ("steps[]", "text"),
    ("edges[][]", "any"),
    ("alerts[]", "text"),
];

pub const ALERT: Shape = &[
    ("uid", "text"),
    ("time", "number"),
    ("rule.id", "text"),
    ("rule.title", "text"),
    ("rule.version", "text"),
    ("rule.pack", "text"),
    ("rule.pack_hash", "text"),
    ("severity", "text"),
    ("proof", "text"),
    ("count", "number"),
    ("workflow", "text"),
    ("action", "text"),
    ("chain[].action", "text"),
    ("chain[].kind", "text"),
    ("chain[].time", "number"),
    ("chain[].summary", "text"),
    ("actor", "map"),
    ("object", "any"),
    ("matched", "map"),
    ("tags[]", "text"),
    ("fix", "text"),
    ("incomplete[]", "text"),
];

/// # Panics
/// With the first field that is missing or of another type.
pub fn check(shape: Shape, row: &Value) {
    for (path, kind) in shape {
        follow(row, path, kind, path);
    }
    for side in ["request", "response"] {
        if row[side].get("body").is_some() {
            for (path, kind) in BODY {
                follow(&row[side]["body"], path, kind, path);
            }
        }
    }
}

fn follow(value: &Value, path: &str, kind: &str, whole: &str) {
    if let Some(rest) = path.strip_prefix("[]") {
        let list = value.as_array().unwrap_or_else(|| panic!("{whole}: no list but {value}"));
        list.iter().for_each(|element| follow(element, rest, kind, whole));
        return;
    }
    let path = path.strip_prefix('.').unwrap_or(path);
    if path.is_empty() {
        let (name, optional) = kind.strip_suffix('?').map_or((kind, false), |name| (name, true));
        let fits = match name {
            "text" => value.is_string(),
            "number" => value.is_number(),
            "flag" => value.is_boolean(),
            "map" => value.is_object(),
            _ => true,
        };
        assert!(fits || (optional && value.is_null()), "{whole}: no {kind} but {value}");
        return;
    }
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (name, rest) = path.split_at(end);
    let found = value.get(name).unwrap_or_else(|| panic!("{whole}: missing in {value}"));
    // A whole branch may be absent: a request without an answer.
    if !found.is_null() || rest.is_empty() {
        follow(found, rest, kind, whole);
    }
}
