//! A small JSON-like value that keeps what policy needs: number text as sent, key order, duplicate keys.

use std::borrow::Cow;
use std::sync::Arc;

/// A value read from a message. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(Arc<str>),
    List(Arc<[Value]>),
    /// In order, duplicates kept: two readers may pick different ones, a rule sees both.
    Map(Arc<[(Arc<str>, Value)]>),
}

/// A number with its text as sent: `1e400`, `0.10` and 30-digit ids lose nothing.
#[derive(Clone, Debug)]
pub struct Number {
    pub text: Arc<str>,
}

impl PartialEq for Number {
    /// Equal as numbers, so `1000` is `1000.0`.
    fn eq(&self, other: &Number) -> bool {
        self.text == other.text || self.as_f64() == other.as_f64()
    }
}

// The same text is the same number, also where it is none.
impl Eq for Number {}

impl Number {
    pub fn from_f64(number: f64) -> Number {
        Number { text: format!("{number}").into() }
    }

    /// A confidence or share of one, in two decimals: more than any of ours means. What rules compare is what people read.
    pub fn share(of_one: f32) -> Number {
        Number::from_f64((f64::from(of_one) * 100.0).round() / 100.0)
    }

    pub fn as_f64(&self) -> f64 {
        self.text.parse().unwrap_or(f64::NAN)
    }

    /// The exact integer, when it is one and fits.
    pub fn as_i64(&self) -> Option<i64> {
        self.text.parse().ok()
    }
}

impl Value {
    pub fn text(text: impl Into<Arc<str>>) -> Value {
        Value::Text(text.into())
    }

    pub fn int(number: i64) -> Value {
        Value::Number(Number { text: number.to_string().into() })
    }

    /// A length or a counter; one that does not fit is [`i64::MAX`].
    pub fn count(number: impl TryInto<i64>) -> Value {
        Value::int(number.try_into().unwrap_or(i64::MAX))
    }

    /// A text as it is, anything else as JSON.
    pub fn plain(&self) -> Cow<'_, str> {
        self.as_str().map_or_else(|| self.to_json().into(), Cow::Borrowed)
    }

    pub fn map<K: Into<Arc<str>>>(entries: impl IntoIterator<Item = (K, Value)>) -> Value {
        Value::Map(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    pub fn list(items: impl IntoIterator<Item = Value>) -> Value {
        Value::List(items.into_iter().collect())
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Value::Number(number) => Some(number.as_f64()),
            _ => None,
        }
    }

    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Number(number) => number.as_i64(),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub fn as_map(&self) -> Option<&[(Arc<str>, Value)]> {
        match self {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The last entry of that key, as most JSON readers choose. [`Value::candidates`] gives all of them.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_map()?.iter().rev().find(|(name, _)| &**name == key).map(|(_, value)| value)
    }

    pub fn candidates<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a Value> {
        self.as_map().unwrap_or_default().iter().filter(move |(name, _)| &**name == key).map(|(_, value)| value)
    }

    pub fn index(&self, position: usize) -> Option<&Value> {
        self.as_list()?.get(position)
    }

    /// RFC 6901 JSON Pointer without escapes expanded beyond `~0` and `~1`.
    pub fn pointer(&self, pointer: &str) -> Option<&Value> {
        if pointer.is_empty() {
            return Some(self);
        }
        pointer.strip_prefix('/')?.split('/').try_fold(self, |value, token| match value {
            Value::List(items) => items.get(token.parse::<usize>().ok()?),
            _ => value.get(&token.replace("~1", "/").replace("~0", "~")),
        })
    }

    /// Compact JSON text.
    pub fn to_json(&self) -> String {
        let mut out = String::with_capacity(self.json_size());
        self.write_json(&mut out);
        out
    }

    /// About as many bytes as its JSON takes.
    fn json_size(&self) -> usize {
        const SIGNS: usize = 4;
        SIGNS
            + match self {
                Value::Null | Value::Bool(_) => SIGNS,
                Value::Number(number) => number.text.len(),
                Value::Text(text) => text.len() + 16,
                Value::List(items) => items.iter().map(Value::json_size).sum(),
                Value::Map(entries) => entries.iter().map(|(key, value)| key.len() + 16 + value.json_size()).sum(),
            }
    }

    fn write_json(&self, out: &mut String) {
        match self {
            Value::Null => out.push_str("null"),
            Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
            Value::Number(number) => out.push_str(&number.text),
            Value::Text(text) => push_json_string(out, text),
            Value::List(items) => {
                out.push('[');
                for (position, item) in items.iter().enumerate() {
                    if position > 0 {
                        out.push(',');
                    }
                    item.write_json(out);
                }
                out.push(']');
            }
            Value::Map(entries) => {
                out.push('{');
                for (position, (key, value)) in entries.iter().enumerate() {
                    if position > 0 {
                        out.push(',');
                    }
                    push_json_string(out, key);
                    out.push(':');
                    value.write_json(out);
                }
                out.push('}');
            }
        }
    }
}

/// RFC 8259 section 7, with every character escaped that a terminal obeys, or that some readers take for the end of a line.
pub fn push_json_string(out: &mut String, text: &str) {
    use std::fmt::Write;
    // With room for what closes the containers around it.
    out.reserve(text.len() + 16);
    out.push('"');
    let mut rest = text;
    loop {
        let (plain, odd) = rest.split_at(plain_ascii(rest.as_bytes()));
        out.push_str(plain);
        let mut characters = odd.chars();
        let Some(character) = characters.next() else { break };
        rest = characters.as_str();
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                write!(out, "\\u{:04x}", character as u32).expect("writing to a String cannot fail");
            }
            control if control.is_control() => {
                write!(out, "\\u{:04x}", control as u32).expect("writing to a String cannot fail");
            }
            other => out.push(other),
        }
    }
    out.push('"');
}

/// True when the text stands in JSON as it is.
pub fn is_plain(text: &str) -> bool {
    plain_ascii(text.as_bytes()) == text.len()
}

/// How many ASCII characters stand for themselves; a block at a time, which the compiler makes vector code of.
fn plain_ascii(bytes: &[u8]) -> usize {
    const BLOCK: usize = 64;
    let ends = |byte: u8| !(0x20..0x7f).contains(&byte) | (byte == b'"') | (byte == b'\\');
    let blocks = bytes.chunks_exact(BLOCK).take_while(|block| !block.iter().fold(false, |found, byte| found | ends(*byte)));
    let whole = blocks.count() * BLOCK;
    bytes[whole..].iter().position(|byte| ends(*byte)).map_or(bytes.len(), |at| whole + at)
}
