//! `flow`: values of one content that turn up in another call, found again through one level of encoding.
//!
//! Only keyed fingerprints are kept: of whole values, and of passages of long texts (winnowing). Short values give false positives,
//! paraphrase by a model defeats it.

use std::hash::BuildHasherDefault;
use std::io::Read;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{Cell, Memory, Moment, PER_KEY, Verdict, observed, since};
use crate::base::secret::Itself;
use crate::base::{KeyedHash, Timestamp, Value};
use crate::decide::Event;
use crate::decide::pack::{Condition, Match, Rule};
use crate::decide::ruleset::RuleSet;
use crate::decode::json;

pub(super) struct Flow<'a> {
    pub(super) from: &'a Condition,
    pub(super) to: &'a Condition,
    pub(super) within: Duration,
    pub(super) overlap: usize,
    pub(super) kind: Match,
    pub(super) not_from: &'a [String],
}

/// Fingerprints.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Prints {
    values: Traces,
    passages: Traces,
}

type ByPrint<V> = IndexMap<u64, V, BuildHasherDefault<Itself>>;

/// Fingerprints that are searched one after the other; more of them are found by hash.
const FEW: usize = 24;

/// Fingerprints with when and in what they were seen. Most contents have a few values.
#[derive(Debug, Serialize, Deserialize)]
enum Traces {
    Few(Vec<(u64, Seen)>),
    Many(#[serde(with = "indexmap::map::serde_seq")] ByPrint<Seen>),
}

impl Default for Traces {
    fn default() -> Traces {
        Traces::Few(Vec::new())
    }
}

impl Traces {
    fn get(&self, print: u64) -> Option<&Seen> {
        match self {
            Traces::Few(all) => all.iter().find(|(known, _)| *known == print).map(|(_, seen)| seen),
            Traces::Many(all) => all.get(&print),
        }
    }

    fn insert(&mut self, print: u64, seen: Seen) {
        match self {
            Traces::Few(all) => {
                if let Some((_, known)) = all.iter_mut().find(|(known, _)| *known == print) {
                    *known = seen;
                } else if all.len() < FEW {
                    if all.is_empty() {
                        all.reserve_exact(1);
                    }
                    all.push((print, seen));
                } else {
                    *self = Traces::Many(all.drain(..).chain([(print, seen)]).collect());
                }
            }
            Traces::Many(all) => drop(all.insert(print, seen)),
        }
    }

    /// The oldest make room.
    fn keep(&mut self, most: usize) {
        if let Traces::Many(all) = self {
            while all.len() > most {
                all.swap_remove_index(0);
            }
        }
    }

    fn each(&self, mut take: impl FnMut(u64, Seen)) {
        match self {
            Traces::Few(all) => all.iter().for_each(|(print, seen)| take(*print, *seen)),
            Traces::Many(all) => all.iter().for_each(|(print, seen)| take(*print, *seen)),
        }
    }
}

/// When a fingerprint was last seen, and the value that it is a part of: a value that is found by several parts counts once.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Seen {
    at: Timestamp,
    unit: u64,
}

/// In how many workflows a value was seen: what everybody says proves nothing.
#[derive(Debug, Default)]
pub(super) struct Common(ByPrint<(u128, u8)>);

/// Workflows after which a value is common.
const COMMON: u8 = 8;

/// Values whose workflows are counted.
const COUNTED: usize = 65_536;

impl Common {
    fn note(&mut self, print: u64, workflow: u128) {
        if let Some((last, count)) = self.0.get_mut(&print) {
            if *last != workflow {
                *last = workflow;
                *count = count.saturating_add(1);
            }
            return;
        }
        if self.0.len() >= COUNTED {
            self.0.swap_remove_index(0);
        }
        self.0.insert(print, (workflow, 1));
    }

    fn holds(&self, print: u64) -> bool {
        self.0.get(&print).is_some_and(|(_, count)| *count >= COMMON)
    }
}

impl Memory {
    pub(super) fn flow(&mut self, parts: &Flow<'_>, rule: &Rule, moment: &Moment<'_>, set: &RuleSet) -> Verdict {
        let key = moment.workflow();
        // What a call brings is not what it was made of: it is judged before its answer is remembered.
        let arrives =
            moment.holds(parts.to, set) && rule.when.as_ref().is_none_or(|when| moment.judge(when, set).truth == Ok(true));
        let common = std::mem::take(&mut self.common);
        let verdict = if arrives { self.carried(parts, key, moment, &common) } else { None };
        self.common = common;
        if moment.holds(parts.from, set)
            && let Some(content) = moment.event.get("result").or_else(|| told(moment.event))
        {
            let found = Reader::new(moment.hash, false).read(content, moment.now);
            found.values.each(|print, _| self.common.note(print, key));
            if let Cell::Prints(known) = self.cell(key, rule.max_keys, || Cell::Prints(Box::default())) {
                for (known, found) in [(&mut known.values, &found.values), (&mut known.passages, &found.passages)] {
                    found.each(|print, seen| known.insert(print, seen));
                    known.keep(PER_KEY);
                }
            }
        }
        verdict
    }

    fn carried(&mut self, parts: &Flow<'_>, key: u128, moment: &Moment<'_>, common: &Common) -> Verdict {
        let Some(Cell::Prints(known)) = self.known(key) else { return None };
        let content = |names: &mut dyn Iterator<Item = &str>| {
            let values: Vec<Value> = names.filter_map(|name| moment.event.field(name)).cloned().collect();
            Reader::new(moment.hash, true).read(&Value::list(values), moment.now)
        };
        let sent = content(&mut ["arg", "http.path", "system.path"].into_iter());
        let own = content(&mut parts.not_from.iter().map(String::as_str));
        let start = since(moment, parts.within);
        let recent = |seen: &Seen| seen.at >= start && seen.at <= moment.now;
        let mut units: Vec<u64> = Vec::new();
        if parts.kind != Match::Text {
            sent.values.each(|print, _| {
                if own.values.get(print).is_none() && !common.holds(print) {
                    units.extend(known.values.get(print).filter(|seen| recent(seen)).map(|seen| seen.unit));
                }
            });
            units.sort_unstable();
            units.dedup();
        }
        let mut shared = units.len();
        if parts.kind != Match::Values {
            // A passage gives several fingerprints; two in a row are one passage that was carried over.
            const PASSAGE: usize = 2;
            let mut carried = 0;
            sent.passages.each(|print, _| {
                let known = || known.passages.get(print).is_some_and(recent);
                carried += usize::from(own.passages.get(print).is_none() && known());
            });
            shared += usize::from(carried >= PASSAGE);
        }
        (shared >= parts.overlap).then(|| observed("overlap", shared as f64, parts.overlap as f64, parts.within))
    }
}

/// What came to the agent without being an answer: the arguments of a call that entered it, never those of one that it makes.
fn told<'e>(event: &'e Event<'_>) -> Option<&'e Value> {
    let kind = event.get("kind").and_then(Value::as_str);
    let makes =
        matches!(kind, Some("tool.call" | "api.request" | "mcp.request" | "a2a.request" | "memory.write" | "llm.response"));
    let entered = event.get("inbound").and_then(Value::as_bool) == Some(true);
    event.get("arg").filter(|_| entered || !makes)
}

/// Values of at least this many bytes are worth a fingerprint.
const SHORTEST: usize = 8;

/// Longest content that is read for passages, and longest text that is decoded.
const READ: usize = 64 << 10;

/// Texts up to this length are one value, whatever they are made of; longer ones hold many.
const ONE_VALUE: usize = 64;

/// Words of one content that are tried as an encoding of something.
const TRIED: usize = 64;

/// Takes fingerprints of a content: of whole values, of the words and their parts in texts, and of passages of long texts.
struct Reader<'a> {
    hash: &'a KeyedHash,
    /// Words are decoded too, not whole values alone: what leaves is dressed up, what came in is not.
    words: bool,
    tried: usize,
    found: Prints,
}

impl<'a> Reader<'a> {
    fn new(hash: &'a KeyedHash, words: bool) -> Reader<'a> {
        Reader { hash, words, tried: 0, found: Prints::default() }
    }

    fn read(mut self, content: &Value, now: Timestamp) -> Prints {
        self.leaves(content, now, 0);
        self.found
    }

    fn leaves(&mut self, value: &Value, now: Timestamp, depth: usize) {
        match value {
            Value::Text(text) => self.text(text, now, depth),
            Value::Number(number) => self.plain(&number.text, now),
            Value::List(items) => items.iter().for_each(|item| self.leaves(item, now, depth)),
            Value::Map(entries) => entries.iter().for_each(|(_, nested)| self.leaves(nested, now, depth)),
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// A text, what it encodes, and the values in it where it is JSON.
    fn text(&mut self, text: &str, now: Timestamp, depth: usize) {
        if depth == 0
            && text.len() <= READ
            && matches!(text.trim_start().as_bytes().first(), Some(b'{' | b'['))
            && let Some(inner @ (Value::Map(_) | Value::List(_))) = json::parse(text.as_bytes()).value
        {
            return self.leaves(&inner, now, 1);
        }
        self.plain(text, now);
        if let Some(decoded) = decoded(text) {
            self.plain(&decoded, now);
        }
    }

    fn plain(&mut self, text: &str, now: Timestamp) {
        let text = text.trim();
        let whole = if text.len() >= SHORTEST { Some(self.value(text, None, now)) } else { None };
        let unit = whole.filter(|_| text.len() <= ONE_VALUE);
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            let coarse = text.split(|letter: char| letter.is_whitespace() || ",;\"'()<>".contains(letter));
            for word in coarse.map(|word| word.trim_end_matches(['.', ':', '!', '?'])).filter(|word| word.len() >= SHORTEST) {
                let unit = self.value(word, unit, now);
                for part in word.split(|letter: char| "{}[]|&=:?!/\\`#".contains(letter)) {
                    if part.len() >= SHORTEST && part.len() < word.len() {
                        self.value(part, Some(unit), now);
                        self.dressed(part, now);
                    }
                }
                if word.len() < text.len() {
                    self.dressed(word, now);
                }
            }
        }
        if text.len() > ONE_VALUE {
            let mut passages = Vec::new();
            winnow(text, self.hash, &mut passages);
            passages.into_iter().for_each(|print| self.found.passages.insert(print, Seen { at: now, unit: print }));
        }
    }

    /// What a word of a text may encode.
    fn dressed(&mut self, word: &str, now: Timestamp) {
        if !self.words || self.tried >= TRIED {
            return;
        }
        self.tried += 1;
        if let Some(inner) = decoded(word) {
            self.value(inner.trim(), None, now);
            for part in inner.split(|letter: char| letter.is_whitespace() || ",;\"'()<>{}[]|&=:?".contains(letter)) {
                if part.len() >= SHORTEST {
                    self.value(part, None, now);
                }
            }
        }
    }

    /// Gives what it counts as: itself, or the value that it is a part of.
    fn value(&mut self, text: &str, unit: Option<u64>, now: Timestamp) -> u64 {
        let print = self.print(text);
        let unit = unit.unwrap_or(print);
        if self.found.values.get(print).is_none() {
            self.found.values.insert(print, Seen { at: now, unit });
        }
        unit
    }

    /// Whatever the case of its letters.
    fn print(&self, text: &str) -> u64 {
        let mut lower = [0; 64];
        match lower.get_mut(..text.len()).filter(|_| text.is_ascii()) {
            Some(lower) => {
                lower.copy_from_slice(text.as_bytes());
                lower.make_ascii_lowercase();
                self.hash.print(lower)
            }
            None => self.hash.print(text.to_lowercase().as_bytes()),
        }
    }
}

/// Winnowing (Schleimer, Wilkerson, Aiken 2003): of each run of hashes over letters the smallest, so that equal passages of some length
/// share one whatever stands around them. Case, spaces and signs do not count.
fn winnow(text: &str, hash: &KeyedHash, out: &mut Vec<u64>) {
    const GRAM: usize = 24;
    const RUN: usize = 16;
    let letters: Vec<u8> = text
        .bytes()
        .filter(|byte| byte.is_ascii_alphanumeric() || *byte >= 0x80)
        .map(|byte| byte.to_ascii_lowercase())
        .take(READ)
        .collect();
    let grams: Vec<u64> = letters.windows(GRAM).map(|gram| hash.print(gram)).collect();
    let mut last = None;
    for run in grams.windows(RUN) {
        let least = run.iter().min().copied();
        if least != last {
            out.extend(least);
            last = least;
        }
    }
}

/// What base64, hex, URL encoding or gzip inside base64 hide; one level.
fn decoded(text: &str) -> Option<String> {
    let plain = text.trim();
    if plain.len() < 12 || plain.len() > READ {
        return None;
    }
    if plain.contains('%') {
        let decoded = percent_encoding::percent_decode_str(plain).decode_utf8().ok()?;
        return (decoded != plain).then(|| decoded.into_owned());
    }
    let bytes = if plain.len().is_multiple_of(2) && plain.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let pairs = plain.as_bytes().chunks_exact(2);
        pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect::<Option<Vec<u8>>>()?
    } else {
        STANDARD.decode(plain).or_else(|_| URL_SAFE_NO_PAD.decode(plain.trim_end_matches('='))).ok()?
    };
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut text = String::new();
        flate2::read::GzDecoder::new(&bytes[..]).take(READ as u64).read_to_string(&mut text).ok()?;
        return Some(text);
    }
    // Many a word is base64 of something; only text is worth reading.
    String::from_utf8(bytes).ok().filter(|text| text.chars().all(|letter| !letter.is_control() || letter.is_whitespace()))
}
