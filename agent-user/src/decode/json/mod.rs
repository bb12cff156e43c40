//! JSON for policy: one pass, strict RFC 8259 grammar, and every way in which two readers could disagree is named.
//!
//! In: the bytes of one text. Out: [`Parsed`]: the value with duplicate keys and number text kept, and anomalies. A text that
//! is not JSON, nests too deep or has too many keys gives no value. It never guesses at broken syntax.

mod text;

use std::sync::Arc;

use crate::base::limits::{JSON_DEPTH, JSON_KEYS, JSON_STRING};
use crate::base::value::Number;
use crate::base::{Anomaly, Value};

use text::Unescaped;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    pub value: Option<Value>,
    /// Each kind once, in a fixed order.
    pub anomalies: Vec<Anomaly>,
}

/// The same key twice in one object: readers keep the first, the last, or refuse (RFC 8259 section 4).
pub const DUPLICATE_KEY: Anomaly = Anomaly::new("json.duplicate_key");
/// Two keys that differ only by case: Go and .NET bind both to one field.
pub const CASE_VARIANT_KEY: Anomaly = Anomaly::new("json.case_variant_key");
/// An integer that a double cannot hold exactly, or a number so small that a double makes it 0: JavaScript sees another number.
pub const INEXACT_NUMBER: Anomaly = Anomaly::new("json.inexact_number");
/// A number beyond the range of a double, or an integer beyond 64 bits: readers wrap, saturate or refuse.
pub const HUGE_NUMBER: Anomaly = Anomaly::new("json.huge_number");
/// Bytes that are not UTF-8; they are shown as U+FFFD.
pub const INVALID_UTF8: Anomaly = Anomaly::new("json.invalid_utf8");
/// `\ud800` without its other half; shown as U+FFFD.
pub const LONE_SURROGATE: Anomaly = Anomaly::new("json.lone_surrogate");
/// A byte order mark before the text; some readers refuse it (RFC 8259 section 8.1).
pub const BYTE_ORDER_MARK: Anomaly = Anomaly::new("json.byte_order_mark");
pub const INVALID: Anomaly = Anomaly::new("json.invalid");
/// No text at all where one was announced: some readers refuse it, some take it for null or an empty object.
pub const EMPTY: Anomaly = Anomaly::new("json.empty");
pub const LIMIT_DEPTH: Anomaly = Anomaly::new("limit.json_depth");
pub const LIMIT_KEYS: Anomaly = Anomaly::new("limit.json_keys");
/// A string longer than [`JSON_STRING`]. It is read all the same: pictures come like this, and the body has a bound of its own.
pub const LIMIT_STRING: Anomaly = Anomaly::new("limit.json_string");

pub fn parse(text: &[u8]) -> Parsed {
    if text.is_empty() {
        return Parsed { value: None, anomalies: vec![EMPTY] };
    }
    let mut odd = Vec::new();
    match std::str::from_utf8(text) {
        Ok(text) => read(text, odd),
        Err(_) => {
            odd.push(INVALID_UTF8);
            read(&String::from_utf8_lossy(text), odd)
        }
    }
}

fn read(text: &str, mut odd: Vec<Anomaly>) -> Parsed {
    let text = match text.strip_prefix('\u{feff}') {
        Some(rest) => {
            odd.push(BYTE_ORDER_MARK);
            rest
        }
        None => text,
    };
    let (items, entries, scratch, known_keys, known_values) = Default::default();
    let mut reader = Reader { text, at: 0, depth: 0, keys: 0, odd, items, entries, scratch, known_keys, known_values };
    let value = match reader.document() {
        Ok(value) => Some(value),
        Err(stop) => {
            reader.note(match stop {
                Stop::Invalid => INVALID,
                Stop::Depth => LIMIT_DEPTH,
                Stop::Keys => LIMIT_KEYS,
            });
            None
        }
    };
    let mut anomalies = reader.odd;
    anomalies.sort();
    Parsed { value, anomalies }
}

/// Why reading ended without a value.
enum Stop {
    Invalid,
    Depth,
    Keys,
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    keys: usize,
    odd: Vec<Anomaly>,
    /// What the containers around this place hold so far, one stack for all of them.
    items: Vec<Value>,
    entries: Vec<(Arc<str>, Value)>,
    scratch: Unescaped,
    known_keys: Known,
    known_values: Known,
}

/// Texts that were seen; two that share a slot push each other out.
type Known = [Option<Arc<str>>; KNOWN];

const KNOWN: usize = 32;

/// The text, made once as long as it stands in its slot.
fn known(known: &mut Known, text: &str) -> Arc<str> {
    let slot = &mut known[slot(text)];
    match slot {
        Some(known) if **known == *text => known.clone(),
        _ => slot.insert(Arc::from(text)).clone(),
    }
}

fn slot(text: &str) -> usize {
    let bytes = text.as_bytes();
    let ends = bytes.first().zip(bytes.last()).map_or(0, |(&first, &last)| usize::from(first) * 3 + usize::from(last));
    (ends + bytes.len() * 7) % KNOWN
}

/// Longer values are seldom the same again.
const SHORT: usize = 24;

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Value, Stop> {
        let value = self.value()?;
        self.space();
        if self.at == self.text.len() { Ok(value) } else { Err(Stop::Invalid) }
    }

    fn value(&mut self) -> Result<Value, Stop> {
        self.space();
        match self.peek() {
            Some(b'{') => self.nested(Self::map),
            Some(b'[') => self.nested(Self::list),
            Some(b'"') => self.string().map(Value::Text),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(Stop::Invalid),
        }
    }

    /// Recursion stays below [`JSON_DEPTH`], which fits the stack of any thread.
    fn nested(&mut self, read: fn(&mut Self) -> Result<Value, Stop>) -> Result<Value, Stop> {
        if self.depth == JSON_DEPTH {
            return Err(Stop::Depth);
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn list(&mut self) -> Result<Value, Stop> {
        let base = self.items.len();
        self.space();
        if !self.eat(b']') {
            loop {
                let item = self.value()?;
                self.items.push(item);
                self.space();
                if self.eat(b']') {
                    break;
                }
                self.expect(b',')?;
            }
        }
        Ok(Value::List(self.items.drain(base..).collect()))
    }

    fn map(&mut self) -> Result<Value, Stop> {
        let base = self.entries.len();
        self.space();
        if !self.eat(b'}') {
            loop {
                self.space();
                let key = self.key()?;
                self.keys += 1;
                if self.keys > JSON_KEYS {
                    return Err(Stop::Keys);
                }
                self.space();
                self.expect(b':')?;
                let value = self.value()?;
                self.entries.push((key, value));
                self.space();
                if self.eat(b'}') {
                    break;
                }
                self.expect(b',')?;
            }
        }
        let twins = compare_keys(&self.entries[base..]);
        if twins.same {
            self.note(DUPLICATE_KEY);
        }
        if twins.by_case {
            self.note(CASE_VARIANT_KEY);
        }
        Ok(Value::Map(self.entries.drain(base..).collect()))
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, Stop> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(Stop::Invalid);
        }
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> Result<Value, Stop> {
        let start = self.at;
        self.eat(b'-');
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(Stop::Invalid),
        }
        let integer = &self.text[start..self.at];
        let mut whole = true;
        if self.eat(b'.') {
            whole = false;
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            whole = false;
            if !self.eat(b'+') {
                self.eat(b'-');
            }
            self.digits()?;
        }
        let text = &self.text[start..self.at];
        if whole && !exact(integer) {
            self.note(INEXACT_NUMBER);
        }
        if text.len() > SAFE_DIGITS || !whole {
            self.check_range(text, whole);
        }
        Ok(Value::Number(Number { text: text.into() }))
    }

    fn check_range(&mut self, text: &str, whole: bool) {
        if whole && text.parse::<i64>().is_err() || text.parse::<f64>().is_ok_and(f64::is_infinite) {
            self.note(HUGE_NUMBER);
        }
        if !whole && vanishes(text) {
            self.note(INEXACT_NUMBER);
        }
    }

    fn digits(&mut self) -> Result<(), Stop> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(Stop::Invalid) }
    }

    fn string(&mut self) -> Result<Arc<str>, Stop> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let text = self.characters(&mut scratch).map(|text| self.shared(text));
        self.scratch = scratch;
        if text.as_ref().is_ok_and(|text: &Arc<str>| text.len() > JSON_STRING) {
            self.note(LIMIT_STRING);
        }
        text
    }

    /// A key; the same few come again and again in one text.
    fn key(&mut self) -> Result<Arc<str>, Stop> {
        let mut scratch = std::mem::take(&mut self.scratch);
        let key = self.characters(&mut scratch).map(|text| known(&mut self.known_keys, text));
        self.scratch = scratch;
        key
    }

    /// Short values repeat as keys do: `user`, `function`, `string`.
    fn shared(&mut self, text: &str) -> Arc<str> {
        if text.len() <= SHORT { known(&mut self.known_values, text) } else { Arc::from(text) }
    }

    /// The characters of a string, in the text itself where none is escaped.
    fn characters<'s>(&mut self, scratch: &'s mut Unescaped) -> Result<&'s str, Stop>
    where
        'a: 's,
    {
        self.expect(b'"')?;
        let start = self.at;
        self.at += text::plain(&self.text.as_bytes()[start..]);
        if self.eat(b'"') {
            return Ok(&self.text[start..self.at - 1]);
        }
        self.at = start;
        scratch.clear();
        loop {
            self.at += scratch.take_plain(&self.text.as_bytes()[self.at..]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(scratch.as_str());
                }
                Some(b'\\') => {
                    self.at += 1;
                    scratch.push(self.escape()?);
                }
                _ => return Err(Stop::Invalid),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Stop> {
        let letter = self.peek().ok_or(Stop::Invalid)?;
        self.at += 1;
        Ok(match letter {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err(Stop::Invalid),
        })
    }

    fn unicode(&mut self) -> Result<char, Stop> {
        let first = self.hex4()?;
        if let Some(character) = char::from_u32(u32::from(first)) {
            return Ok(character);
        }
        let after = self.at;
        if self.eat(b'\\') && self.eat(b'u') {
            let second = self.hex4()?;
            if let Some(Ok(character)) = char::decode_utf16([first, second]).next() {
                return Ok(character);
            }
        }
        self.at = after;
        self.note(LONE_SURROGATE);
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex4(&mut self) -> Result<u16, Stop> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4).ok_or(Stop::Invalid)?;
        let mut code = 0;
        for &digit in digits {
            let nibble = char::from(digit).to_digit(16).ok_or(Stop::Invalid)?;
            code = code << 4 | u16::try_from(nibble).expect("a hexadecimal digit is below 16");
        }
        self.at += 4;
        Ok(code)
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), Stop> {
        if self.eat(byte) { Ok(()) } else { Err(Stop::Invalid) }
    }

    fn note(&mut self, anomaly: Anomaly) {
        if !self.odd.contains(&anomaly) {
            self.odd.push(anomaly);
        }
    }
}

/// Keys of one object that some reader takes for the same.
#[derive(Default)]
struct Twins {
    same: bool,
    by_case: bool,
}

impl Twins {
    fn found(&mut self, same: bool) {
        self.same |= same;
        self.by_case |= !same;
    }
}

fn compare_keys(entries: &[(Arc<str>, Value)]) -> Twins {
    let mut twins = Twins::default();
    if entries.len() <= FEW_KEYS {
        let is_ascii = entries.iter().all(|(key, _)| key.is_ascii());
        let mut seen = 0u64;
        for (position, (key, _)) in entries.iter().enumerate() {
            let mark = mark(key);
            if is_ascii && seen & mark == 0 {
                seen |= mark;
                continue;
            }
            for (earlier, _) in &entries[..position] {
                let folds = || !is_ascii && fold(key) == fold(earlier);
                if key.eq_ignore_ascii_case(earlier) || folds() {
                    twins.found(key == earlier);
                }
            }
        }
        return twins;
    }
    let mut folded: Vec<(String, &str)> = entries.iter().map(|(key, _)| (fold(key), &**key)).collect();
    folded.sort_unstable();
    for pair in folded.windows(2) {
        if pair[0].0 == pair[1].0 {
            twins.found(pair[0].1 == pair[1].1);
        }
    }
    twins
}

/// A bit that ASCII keys share when they differ by case alone, and others seldom.
fn mark(key: &str) -> u64 {
    let bytes = key.as_bytes();
    let letter = |position: usize| bytes.get(position).map_or(0, |byte| usize::from(byte & 0x1f));
    let mixed = letter(0) * 7 + letter(bytes.len() / 2) * 3 + letter(bytes.len().saturating_sub(1)) + bytes.len() * 5;
    1 << (mixed % 64)
}

/// Up to here comparing all pairs is cheaper than sorting.
const FEW_KEYS: usize = 12;

/// Every integer of so many digits fits a double exactly.
const SAFE_DIGITS: usize = 15;

/// Simple case folding as Go's `encoding/json` does it, where the Kelvin sign is a `k` and a long s is an `s`.
fn fold(key: &str) -> String {
    if key.is_ascii() { key.to_ascii_lowercase() } else { key.to_uppercase().to_lowercase() }
}

/// Whether a double makes 0 of a number that is not.
fn vanishes(text: &str) -> bool {
    let digits = text.split(['e', 'E']).next().unwrap_or_default();
    text.parse::<f64>() == Ok(0.0) && digits.bytes().any(|byte| matches!(byte, b'1'..=b'9'))
}

/// Whether a double holds this integer exactly.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "losing precision is what is tested")]
fn exact(integer: &str) -> bool {
    integer.len() <= SAFE_DIGITS || integer.parse::<i128>().is_ok_and(|number| number as f64 as i128 == number)
}

#[cfg(any(test, feature = "fuzz"))]
pub fn fuzz(data: &[u8]) {
    let first = parse(data);
    if let Some(value) = &first.value {
        let again = parse(value.to_json().as_bytes());
        assert_eq!(again.value.as_ref(), Some(value), "printing and reading again must not change a value");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value as compact JSON (`-` for none) and the anomalies.
    fn check(text: impl AsRef<[u8]>, value: &str, anomalies: &[&str]) {
        let text = text.as_ref();
        let parsed = parse(text);
        let shown = parsed.value.as_ref().map_or("-".to_owned(), Value::to_json);
        let odd: Vec<&str> = parsed.anomalies.iter().map(Anomaly::name).collect();
        assert_eq!((shown.as_str(), odd.as_slice()), (value, anomalies), "{}", String::from_utf8_lossy(text));
        fuzz(text);
    }

    #[test]
    fn grammar() {
        for text in ["null", "true", "[]", "{}", "[1,-0,0.5,1e9,1E-2]", r#"{"a":[{"b":null}],"c":""}"#] {
            check(text, text, &[]);
        }
        check(" { \"a\" :\t[ 1 ,\r\n2 ] } ", r#"{"a":[1,2]}"#, &[]);
        check(r#""\"\\\/\b\f\n\r\t\u0041""#, r#""\"\\/\u0008\u000c\n\r\tA""#, &[]);
        check(r#""\u00e9\n\ud83d\ude00\/""#, "\"\u{e9}\\n\u{1f600}/\"", &[]);
        check("", "-", &["json.empty"]);
        for text in [
            " ",
            "nul",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":1,}",
            "{a:1}",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "--1",
            "'a'",
            "[1 2]",
            "\"a",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\t\"",
            "[1]]",
            "NaN",
            "[\"a\" :1]",
            "\u{a0}1",
            "\"\\",
        ] {
            check(text, "-", &["json.invalid"]);
        }
    }

    #[test]
    fn readers_may_disagree() {
        check(r#"{"a":1,"a":2}"#, r#"{"a":1,"a":2}"#, &["json.duplicate_key"]);
        check(r#"{"a":1,"\u0061":2}"#, r#"{"a":1,"a":2}"#, &["json.duplicate_key"]);
        check(r#"{"amount":1,"Amount":2}"#, r#"{"amount":1,"Amount":2}"#, &["json.case_variant_key"]);
        check("{\"k\":1,\"\u{212a}\":2}", "{\"k\":1,\"\u{212a}\":2}", &["json.case_variant_key"]);
        check("{\"s\":1,\"\u{17f}\":2}", "{\"s\":1,\"\u{17f}\":2}", &["json.case_variant_key"]);
        check("9007199254740992", "9007199254740992", &[]);
        check("9007199254740993", "9007199254740993", &["json.inexact_number"]);
        check("1e400", "1e400", &["json.huge_number"]);
        check("9223372036854775807", "9223372036854775807", &["json.inexact_number"]);
        check("9223372036854775808", "9223372036854775808", &["json.huge_number"]);
        check("-9223372036854775808", "-9223372036854775808", &[]);
        check("100000000000000000000", "100000000000000000000", &["json.huge_number"]);
        check("0.5e-999", "0.5e-999", &["json.inexact_number"]);
        check("0.0e-999", "0.0e-999", &[]);
        check(b"\"a\xffb\"", "\"a\u{fffd}b\"", &["json.invalid_utf8"]);
        check(r#""\ud800x""#, "\"\u{fffd}x\"", &["json.lone_surrogate"]);
        check(r#""\ud800\ud83d\ude00""#, "\"\u{fffd}\u{1f600}\"", &["json.lone_surrogate"]);
        check("\u{feff}{}", "{}", &["json.byte_order_mark"]);
        check(b"[\xff]", "-", &["json.invalid", "json.invalid_utf8"]);
    }

    #[test]
    fn strings_at_the_bound_are_named_and_read() {
        for (length, odd) in [(JSON_STRING, &[][..]), (JSON_STRING + 1, &["limit.json_string"][..])] {
            let text = format!("\"{}\"", "x".repeat(length));
            check(&text, &text, odd);
        }
    }

    #[test]
    fn duplicates_among_many_keys() {
        let keys = |last: &str| {
            let listed: Vec<String> = (0..40).map(|number| format!("\"key{number}\":0")).collect();
            format!("{{{},{last}}}", listed.join(","))
        };
        let few = |last: &str| format!("{{\"role\":0,\"content\":0,\"tool_calls\":0,\"rOLb\":0,{last}}}");
        for (last, odd) in
            [("\"name\":1", None), ("\"content\":1", Some(DUPLICATE_KEY)), ("\"Tool_Calls\":1", Some(CASE_VARIANT_KEY))]
        {
            assert_eq!(parse(few(last).as_bytes()).anomalies, Vec::from_iter(odd));
        }
        for (last, odd) in [("\"z\":1", None), ("\"key7\":1", Some(DUPLICATE_KEY)), ("\"KEY7\":1", Some(CASE_VARIANT_KEY))] {
            assert_eq!(parse(keys(last).as_bytes()).anomalies, Vec::from_iter(odd));
        }
    }

    #[test]
    fn depth_at_the_edge() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(JSON_DEPTH).as_bytes()).value.is_some());
        for depth in [JSON_DEPTH + 1, 100_000] {
            check(nested(depth), "-", &["limit.json_depth"]);
        }
    }

    #[test]
    fn keys_at_the_edge() {
        let map = |count: usize| {
            let keys: Vec<String> = (0..count).map(|number| format!("\"{number}\":0")).collect();
            format!("{{{}}}", keys.join(","))
        };
        assert!(parse(map(JSON_KEYS).as_bytes()).value.is_some());
        assert_eq!(parse(map(JSON_KEYS + 1).as_bytes()).anomalies, [LIMIT_KEYS]);
    }
}
