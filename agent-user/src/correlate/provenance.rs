//! Where the values of a call come from: the user's words, instructions, what tools returned, or the model alone.
//!
//! Only keyed fingerprints of values and words are kept. A value is found again through JSON, base64, URL encoding, case and white space. That
//! a value is not the user's says nothing yet: agents look things up all day. What separates a steered call is kept as facts
//! (see [`Provenance`]) and summed up in `injected`.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{Influence, Provenance};
use crate::base::limits::FINGERPRINTS;
use crate::base::{ActionId, KeyedHash, Value};
use crate::decode::json;
use crate::understand::words::{effect_of_tool, verbs_of, words};

/// Who can have written a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    User,
    System,
    Tool,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    origin: Origin,
    source: u32,
    field: bool,
}

/// A content that was read: which action brought it, and what it is like.
#[derive(Clone, Debug)]
struct Source {
    action: Option<ActionId>,
    third_party: bool,
    /// Effects that verbs in its free text name.
    acts: Vec<&'static str>,
    tool: Option<Arc<str>>,
}

/// What one conversation has read so far.
#[derive(Debug)]
pub(super) struct Memory {
    hash: KeyedHash,
    values: BTreeMap<u64, Seen>,
    sources: Vec<Source>,
    /// Effects and words of the user's requests.
    asked: Vec<&'static str>,
    asked_words: Vec<String>,
    delegates: bool,
    forgotten: bool,
}

/// Tools whose answers others can write: mail, web, files, tickets, reviews.
const THIRD_PARTY: &[&str] = &[
    "mail",
    "email",
    "emails",
    "inbox",
    "message",
    "messages",
    "web",
    "page",
    "webpage",
    "website",
    "url",
    "fetch",
    "browse",
    "search",
    "review",
    "reviews",
    "comment",
    "comments",
    "file",
    "files",
    "document",
    "documents",
    "doc",
    "ticket",
    "tickets",
    "issue",
    "issues",
    "slack",
    "channel",
    "calendar",
    "event",
    "events",
    "pdf",
    "attachment",
    "feed",
    "rss",
    "post",
    "posts",
    "note",
    "notes",
    "readme",
    "wiki",
    "invoice",
    "invoices",
    "bill",
    "chat",
    "sms",
    "dm",
    "pr",
    "pull",
    "log",
    "logs",
    "hotel",
    "hotels",
    "restaurant",
    "restaurants",
    "car",
    "product",
    "products",
    "listing",
    "description",
];

/// The user hands the decision to a content.
const DELEGATIONS: &[&str] = &[
    "as described",
    "as instructed",
    "follow the",
    "follow its",
    "instructions in",
    "according to",
    "what it says",
    "what they ask",
    "says to do",
    "do what",
    "as it says",
    "take care of",
    "handle the",
    "handle it",
    "carry out",
    "do the tasks",
    "do all the",
    "complete the tasks",
    "act on",
    "actions in",
    "todo",
    "to-do",
    "to do list",
    "whatever",
    "process the",
    "as stated",
    "as listed",
    "the steps in",
    "execute the",
];

/// Arguments shorter than this say nothing about where they come from.
const SHORTEST: usize = 3;

impl Memory {
    pub(super) fn new(hash: KeyedHash) -> Memory {
        Memory {
            hash,
            values: BTreeMap::new(),
            sources: Vec::new(),
            asked: Vec::new(),
            asked_words: Vec::new(),
            delegates: false,
            forgotten: false,
        }
    }

    /// The user spoke.
    pub(super) fn user(&mut self, text: &str) {
        let spoken = words(text);
        self.asked.extend(acts(&spoken));
        let lower = text.to_lowercase();
        self.delegates |= DELEGATIONS.iter().any(|phrase| lower.contains(phrase));
        self.text(text, Origin::User, None, None);
        const KEPT: usize = 512;
        self.asked_words.extend(spoken);
        self.asked_words.sort_unstable();
        self.asked_words.dedup();
        self.asked_words.truncate(KEPT);
    }

    pub(super) fn system(&mut self, text: &str) {
        self.text(text, Origin::System, None, None);
    }

    /// A tool answered.
    pub(super) fn tool(&mut self, text: &str, tool: Option<&Arc<str>>, action: Option<ActionId>) {
        self.text(text, Origin::Tool, tool, action);
    }

    fn text(&mut self, text: &str, origin: Origin, tool: Option<&Arc<str>>, action: Option<ActionId>) {
        let third_party =
            origin == Origin::Tool && tool.is_none_or(|tool| words(tool).iter().any(|word| THIRD_PARTY.contains(&word.as_str())));
        let source = u32::try_from(self.sources.len()).unwrap_or(u32::MAX);
        let mut acts_named = Vec::new();
        match json::parse(text.as_bytes()).value.filter(|value| value.as_map().is_some() || value.as_list().is_some()) {
            Some(value) => self.leaves(&value, origin, source, &mut acts_named),
            None => {
                acts_named.extend(acts(&words(text)));
                self.prose(text, origin, source);
            }
        }
        self.sources.push(Source { action, third_party, acts: acts_named, tool: tool.cloned() });
    }

    fn leaves(&mut self, value: &Value, origin: Origin, source: u32, named: &mut Vec<&'static str>) {
        match value {
            Value::Map(entries) => entries.iter().for_each(|(_, nested)| self.leaves(nested, origin, source, named)),
            Value::List(items) => items.iter().for_each(|nested| self.leaves(nested, origin, source, named)),
            Value::Text(text) => {
                self.note(text, Seen { origin, source, field: true });
                if text.split_whitespace().count() > 3 {
                    named.extend(acts(&words(text)));
                    self.prose(text, origin, source);
                }
            }
            Value::Number(number) => self.note(&number.text, Seen { origin, source, field: true }),
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// Every word and every run of up to four of them: names, addresses, account numbers with spaces.
    fn prose(&mut self, text: &str, origin: Origin, source: u32) {
        let parts: Vec<&str> = text.split_whitespace().collect();
        for start in 0..parts.len() {
            for length in 1..=4.min(parts.len() - start) {
                let run = parts[start..start + length].join(" ");
                self.note(run.trim_matches(|letter: char| !letter.is_alphanumeric()), Seen { origin, source, field: false });
            }
        }
        for line in text.lines().filter(|line| line.len() <= 512) {
            self.note(line, Seen { origin, source, field: false });
        }
    }

    fn note(&mut self, text: &str, seen: Seen) {
        if self.values.len() >= FINGERPRINTS {
            self.forgotten = true;
            return;
        }
        for form in forms(text) {
            let print = self.print(&form);
            // The first to say it is the origin, except that the user's own words outrank all.
            let known = self.values.entry(print).or_insert(seen);
            if seen.origin < known.origin {
                *known = seen;
            } else if seen.origin == known.origin && seen.field && !known.field {
                known.field = true;
            }
        }
    }

    fn print(&self, text: &str) -> u64 {
        (self.hash.digest(text.as_bytes()) >> 64) as u64
    }

    fn find(&self, text: &str) -> Option<Seen> {
        forms(text).iter().find_map(|form| self.values.get(&self.print(form)).copied())
    }

    /// Judges one call by its name, effect and arguments.
    pub(super) fn judge(&self, tool: &str, effect: Option<&str>, arguments: &Value) -> Influence {
        let effect = effect.or_else(|| effect_of_tool(tool));
        let mut found = Vec::new();
        self.collect("", arguments, effect, &mut found);
        let said =
            words(tool).iter().any(|word| !GENERIC.contains(&word.as_str()) && self.asked_words.binary_search(word).is_ok());
        let asked = effect.is_some_and(|effect| self.asked.contains(&effect)) || said;
        let mut reasons = Vec::new();
        let injected = self.weigh(effect, asked, &found, &mut reasons);
        Influence { arguments: found, asked: Some(asked), injected, reasons }
    }

    fn collect(&self, name: &str, value: &Value, effect: Option<&str>, out: &mut Vec<Provenance>) {
        const MOST: usize = 64;
        if out.len() >= MOST {
            return;
        }
        match value {
            Value::Map(entries) => {
                for (key, nested) in entries.iter() {
                    let name = if name.is_empty() { key.to_string() } else { format!("{name}.{key}") };
                    self.collect(&name, nested, effect, out);
                }
            }
            Value::List(items) => items.iter().for_each(|nested| self.collect(name, nested, effect, out)),
            Value::Text(text) => out.extend(self.origin(name, text, effect)),
            Value::Number(number) => out.extend(self.origin(name, &number.text, effect)),
            Value::Null | Value::Bool(_) => {}
        }
    }

    fn origin(&self, name: &str, text: &str, effect: Option<&str>) -> Option<Provenance> {
        if text.trim().len() < SHORTEST && amount(text).is_none() {
            return None;
        }
        let seen = self.find(text);
        let source = seen.and_then(|seen| self.sources.get(seen.source as usize));
        let from_tool = seen.is_some_and(|seen| seen.origin == Origin::Tool);
        Some(Provenance {
            argument: name.into(),
            origin: match seen.map(|seen| seen.origin) {
                Some(Origin::User) => "user",
                Some(Origin::System) => "system",
                Some(Origin::Tool) if source.is_some_and(|source| source.third_party) => "document",
                Some(Origin::Tool) => "tool_result",
                None => "model",
            },
            from: source.and_then(|source| source.action),
            shape: if seen.is_some_and(|seen| seen.field) { "field" } else { "text" },
            third_party: from_tool && source.is_some_and(|source| source.third_party),
            instructed: from_tool && source.is_some_and(|source| effect.is_some_and(|effect| source.acts.contains(&effect))),
            delegated: from_tool && (self.delegates || source.is_some_and(|source| self.named(source))),
        })
    }

    /// The user named the source: "pay the bill in bill.txt" names a tool that reads files by its file.
    fn named(&self, source: &Source) -> bool {
        self.delegates && source.tool.is_some()
    }

    fn weigh(&self, effect: Option<&str>, asked: bool, found: &[Provenance], reasons: &mut Vec<&'static str>) -> f32 {
        let grave = effect.is_some_and(|effect| matches!(effect, "money" | "egress" | "delete" | "admin" | "exec" | "approve"));
        if !grave {
            return 0.0;
        }
        let foreign: Vec<&Provenance> = found.iter().filter(|argument| argument.third_party).collect();
        let mut score = 0.0_f32;
        if foreign.iter().any(|argument| argument.shape == "text") {
            reasons.push("value from free text that others can write");
            score += 0.4;
        } else if !foreign.is_empty() {
            reasons.push("value from a field that others can write");
            score += 0.15;
        }
        if foreign.iter().any(|argument| argument.instructed) {
            reasons.push("the same content asks for an act of this kind");
            score += 0.25;
        }
        if !asked {
            reasons.push("the user asked for no act of this kind");
            score += if foreign.is_empty() { 0.1 } else { 0.3 };
            let anywhere = self
                .sources
                .iter()
                .any(|source| source.third_party && effect.is_some_and(|effect| source.acts.contains(&effect)));
            if anywhere && foreign.is_empty() {
                reasons.push("a content that others can write asks for an act of this kind");
                score += 0.3;
            }
        }
        if found.iter().any(|argument| argument.delegated) || self.delegates {
            reasons.push("the user handed the decision to a content");
            score -= 0.5;
        }
        score.clamp(0.0, 1.0)
    }
}

/// Words of tool names that any request holds.
const GENERIC: &[&str] = &[
    "get", "list", "read", "search", "find", "the", "a", "to", "for", "of", "in", "on", "by", "with", "all", "new", "my", "user",
    "data", "item", "create", "update", "add",
];

/// The effects that words name, each once.
fn acts(words: &[String]) -> Vec<&'static str> {
    verbs_of().filter(|(_, verbs)| words.iter().any(|word| verbs.contains(&word.as_str()))).map(|(effect, _)| effect).collect()
}

/// A number in one spelling: `25`, `25.0`, `$25.00` and `1,000` as people write them.
fn amount(text: &str) -> Option<String> {
    let bare = text.trim_matches(|letter: char| !letter.is_ascii_digit() && letter != '-' && letter != '.').trim_end_matches('.');
    let digits: String = bare.chars().filter(|letter| *letter != ',').collect();
    let short = text.len() <= bare.len() + 4 && digits.starts_with(|letter: char| letter.is_ascii_digit() || letter == '-');
    let number: f64 = digits.parse().ok().filter(|_| short && digits.len() <= 15)?;
    Some(format!("{number}"))
}

/// A value in the forms it travels in: plain, without spaces, and as what base64 or URL encoding hide.
fn forms(text: &str) -> Vec<String> {
    let plain = text.trim().to_lowercase();
    if let Some(number) = amount(&plain) {
        return vec![number];
    }
    if plain.len() < SHORTEST {
        return Vec::new();
    }
    let mut forms = Vec::with_capacity(3);
    if plain.contains(char::is_whitespace) || plain.contains('-') {
        forms.push(plain.chars().filter(|letter| !letter.is_whitespace() && *letter != '-').collect());
    }
    if plain.contains('%') {
        forms.push(percent_encoding::percent_decode_str(&plain).decode_utf8_lossy().into_owned());
    }
    if text.len() >= 12
        && text.len().is_multiple_of(4)
        && let Some(decoded) = BASE64.decode(text.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok())
    {
        forms.push(decoded.trim().to_lowercase());
    }
    forms.push(plain);
    forms
}
