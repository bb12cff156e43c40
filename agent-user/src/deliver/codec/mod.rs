//! Codecs: one redacted native alert becomes one record in the words of a SIEM.
//!
//! In: the native view as a [`Value`], as it stands in the journal. Out: one line without its end. Every codec writes captured
//! text only through the escaping of its format: a separator inside a path must not start a new field.

mod cef;
mod ecs;
mod leef;
mod ocsf;
pub mod syslog;

use crate::base::Value;

/// Who the product is, in every format that asks.
const VENDOR: &str = "agentward";
const PRODUCT: &str = "agentward";
const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// The fields of `--emit alerts`.
    Native,
    /// OCSF 1.8.0, class 2004 Detection Finding.
    Ocsf,
    /// Elastic Common Schema 9.
    Ecs,
    /// ArcSight Common Event Format 0.
    Cef,
    /// Log Event Extended Format 2.0.
    Leef,
}

impl Codec {
    pub fn is_json(self) -> bool {
        match self {
            Codec::Native | Codec::Ocsf | Codec::Ecs => true,
            Codec::Cef | Codec::Leef => false,
        }
    }

    /// Name and version of what [`Codec::encode`] writes, for receivers that keep a schema beside each message.
    pub fn schema(self) -> &'static str {
        match self {
            Codec::Native => "agentward-alert-1",
            Codec::Ocsf => "ocsf-1.8.0",
            Codec::Ecs => "ecs-9.0.0",
            Codec::Cef => "cef-0",
            Codec::Leef => "leef-2.0",
        }
    }

    pub fn encode(self, alert: &Value) -> String {
        match self {
            Codec::Native => alert.to_json(),
            Codec::Ocsf => ocsf::encode(alert).to_json(),
            Codec::Ecs => ecs::encode(alert).to_json(),
            Codec::Cef => cef::encode(alert),
            Codec::Leef => leef::encode(alert),
        }
    }
}

/// Text at a JSON pointer; numbers as sent, absent as empty.
fn text(alert: &Value, pointer: &str) -> String {
    match alert.pointer(pointer) {
        Some(Value::Text(text)) => text.to_string(),
        Some(Value::Number(number)) => number.text.to_string(),
        Some(Value::Bool(flag)) => flag.to_string(),
        Some(nested @ (Value::List(_) | Value::Map(_))) => nested.to_json(),
        Some(Value::Null) | None => String::new(),
    }
}

/// The first pointer that has a text.
fn first(alert: &Value, pointers: &[&str]) -> Option<String> {
    pointers.iter().map(|pointer| text(alert, pointer)).find(|text| !text.is_empty())
}

/// Nanoseconds of the alert as milliseconds, the unit of OCSF, CEF and LEEF.
fn millis(alert: &Value) -> i64 {
    text(alert, "/time").parse::<u64>().map_or(0, |nanos| i64::try_from(nanos / 1_000_000).unwrap_or(i64::MAX))
}

/// RFC 3339 in UTC with milliseconds.
pub(super) fn rfc3339(alert: &Value) -> String {
    jiff::Timestamp::from_millisecond(millis(alert))
        .map_or_else(|_| "1970-01-01T00:00:00.000Z".into(), |time| format!("{time:.3}"))
}

/// 0 to 4 in the order of our severities.
pub(super) fn severity_rank(alert: &Value) -> u8 {
    match alert.pointer("/severity").and_then(Value::as_str) {
        Some("low") => 1,
        Some("medium") => 2,
        Some("high") => 3,
        Some("critical") => 4,
        _ => 0,
    }
}

/// The tags that start with `prefix`, without it.
fn tags_of<'a>(alert: &'a Value, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    let tags = alert.pointer("/tags").and_then(Value::as_list).unwrap_or_default();
    tags.iter().filter_map(Value::as_str).filter_map(move |tag| tag.strip_prefix(prefix))
}

/// Puts present texts into a map under construction.
struct Object(Vec<(&'static str, Value)>);

impl Object {
    fn new() -> Object {
        Object(Vec::new())
    }

    fn text(mut self, key: &'static str, value: Option<String>) -> Object {
        self.0.extend(value.map(|value| (key, Value::text(value))));
        self
    }

    fn put(mut self, key: &'static str, value: Value) -> Object {
        self.0.push((key, value));
        self
    }

    fn some(mut self, key: &'static str, value: Option<Value>) -> Object {
        self.0.extend(value.map(|value| (key, value)));
        self
    }

    /// `None` when nothing is in it.
    fn nonempty(self) -> Option<Value> {
        (!self.0.is_empty()).then(|| self.done())
    }

    fn done(self) -> Value {
        Value::map(self.0)
    }
}

#[cfg(test)]
mod tests;
