//! `flow`: values of one content that turn up in another call, found again through one level of encoding.
//!
//! Only keyed fingerprints are kept: of whole values, and of passages of long texts (winnowing). Short values give false positives,
//! paraphrase by a model defeats it.

use std::io::Read;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{Cell, Memory, Moment, PER_KEY, Verdict, observed, since};
use crate::base::{KeyedHash, Timestamp, Value};
use crate::decide::pack::{Condition, Match, Rule};
use crate::decide::ruleset::RuleSet;

pub(super) struct Flow<'a> {
    pub(super) from: &'a Condition,
    pub(super) to: &'a Condition,
    pub(super) within: Duration,
    pub(super) overlap: usize,
    pub(super) kind: Match,
    pub(super) not_from: &'a [String],
}

/// Fingerprints with the times they were last seen, oldest first.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Prints {
    #[serde(with = "indexmap::map::serde_seq")]
    values: IndexMap<u64, Timestamp>,
    #[serde(with = "indexmap::map::serde_seq")]
    passages: IndexMap<u64, Timestamp>,
}

/// In how many workflows a value was seen: what everybody says proves nothing.
#[derive(Debug, Default)]
pub(super) struct Common(IndexMap<u64, (u128, u8)>);

/// Workflows after which a value is common.
const COMMON: u8 = 8;

/// Values whose workflows are counted.
const COUNTED: usize = 65_536;

impl Common {
    fn note(&mut self, print: u64, workflow: u128) {
        if self.0.len() >= COUNTED {
            self.0.swap_remove_index(0);
        }
        let (last, count) = self.0.entry(print).or_insert((workflow, 1));
        if *last != workflow {
            *last = workflow;
            *count = count.saturating_add(1);
        }
    }

    fn holds(&self, print: u64) -> bool {
        self.0.get(&print).is_some_and(|(_, count)| *count >= COMMON)
    }
}

impl Memory {
    pub(super) fn flow(&mut self, parts: &Flow<'_>, rule: &Rule, moment: &Moment<'_>, set: &RuleSet) -> Verdict {
        let key = moment.key(&["workflow".to_owned()]).unwrap_or_default();
        if moment.holds(parts.from, set)
            && (moment.complete || moment.event.get("result").is_some())
            && let Some(content) = moment.event.get("result").or(moment.event.get("arg"))
        {
            let (values, passages) = prints(content, moment.hash);
            values.iter().for_each(|print| self.common.note(*print, key));
            if let Cell::Prints(known) = self.cell(key, rule.max_keys, || Cell::Prints(Prints::default())) {
                remember(&mut known.values, values, moment.now);
                remember(&mut known.passages, passages, moment.now);
            }
        }
        if !moment.holds(parts.to, set) || rule.when.as_ref().is_some_and(|when| moment.judge(when, set).truth != Ok(true)) {
            return None;
        }
        let common = std::mem::take(&mut self.common);
        let verdict = self.carried(parts, key, moment, &common);
        self.common = common;
        verdict
    }

    fn carried(&mut self, parts: &Flow<'_>, key: u128, moment: &Moment<'_>, common: &Common) -> Verdict {
        let Some(Cell::Prints(known)) = self.known(key) else { return None };
        let mut own = (Vec::new(), Vec::new());
        for value in parts.not_from.iter().filter_map(|name| moment.event.field(name)) {
            let (values, passages) = prints(value, moment.hash);
            own.0.extend(values);
            own.1.extend(passages);
        }
        let (values, passages) = prints(moment.event.get("arg")?, moment.hash);
        let start = since(moment, parts.within);
        let recent = |prints: &IndexMap<u64, Timestamp>, print: &u64| {
            prints.get(print).is_some_and(|at| *at >= start && *at <= moment.now)
        };
        let mut shared = 0;
        if parts.kind != Match::Text {
            let carried = |print: &&u64| !own.0.contains(print) && !common.holds(**print) && recent(&known.values, print);
            shared += values.iter().filter(carried).count();
        }
        if parts.kind != Match::Values {
            // A passage gives several fingerprints; two in a row are one passage that was carried over.
            const PASSAGE: usize = 2;
            let carried = passages.iter().filter(|print| !own.1.contains(print) && recent(&known.passages, print)).count();
            shared += usize::from(carried >= PASSAGE);
        }
        (shared >= parts.overlap).then(|| observed("overlap", shared as f64, parts.overlap as f64, parts.within))
    }
}

fn remember(known: &mut IndexMap<u64, Timestamp>, prints: Vec<u64>, now: Timestamp) {
    for print in prints {
        known.insert(print, now);
    }
    while known.len() > PER_KEY {
        known.swap_remove_index(0);
    }
}

/// Values of at least this many bytes are worth a fingerprint.
const SHORTEST: usize = 8;

/// Longest content that is read for passages.
const READ: usize = 64 << 10;

/// Fingerprints of whole values and of the words of that length in texts; and of passages of long texts.
fn prints(value: &Value, hash: &KeyedHash) -> (Vec<u64>, Vec<u64>) {
    let (mut values, mut passages) = (Vec::new(), Vec::new());
    leaves(value, &mut |text| {
        take(text, hash, &mut values, &mut passages);
        if let Some(decoded) = decoded(text) {
            take(&decoded, hash, &mut values, &mut passages);
        }
    });
    for found in [&mut values, &mut passages] {
        found.sort_unstable();
        found.dedup();
    }
    (values, passages)
}

fn take(text: &str, hash: &KeyedHash, values: &mut Vec<u64>, passages: &mut Vec<u64>) {
    let print = |text: &str| (hash.digest(text.to_lowercase().as_bytes()) >> 64) as u64;
    if text.len() >= SHORTEST {
        values.push(print(text.trim()));
    }
    if text.contains(char::is_whitespace) {
        let words = text.split(|letter: char| letter.is_whitespace() || ",;\"'()<>".contains(letter));
        values.extend(
            words.map(|word| word.trim_end_matches(['.', ':', '!', '?'])).filter(|word| word.len() >= SHORTEST).map(print),
        );
    }
    if text.len() > 64 {
        winnow(text, hash, passages);
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
    let grams: Vec<u64> = letters.windows(GRAM).map(|gram| (hash.digest(gram) >> 64) as u64).collect();
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
        let pairs = plain.as_bytes().chunks_exact(2);
        pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect::<Option<Vec<u8>>>()?
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

fn leaves(value: &Value, visit: &mut dyn FnMut(&str)) {
    match value {
        Value::Text(text) => visit(text),
        Value::Number(number) => visit(&number.text),
        Value::List(items) => items.iter().for_each(|item| leaves(item, visit)),
        Value::Map(entries) => entries.iter().for_each(|(_, nested)| leaves(nested, visit)),
        Value::Null | Value::Bool(_) => {}
    }
}
