//! The judgement of one call: facts about each argument and about the whole, and one number that sums them up.

use std::borrow::Cow;
use std::sync::Arc;

use super::forms::{SHORTEST, Shape, amount, shape};
use super::memory::{Memory, Passage, Seen, leaves};
use super::speech::{Acts, COMMON, sentence, stem};
use super::{Influence, Provenance};
use crate::base::Value;
use crate::understand::words::{effect_of_tool, words};

/// Arguments that carry content; all others say to whom, to what or how much.
const CONTENT: &[&str] = &[
    "body",
    "content",
    "text",
    "message",
    "description",
    "note",
    "notes",
    "subject",
    "title",
    "summary",
    "comment",
    "reason",
    "memo",
    "caption",
    "html",
    "markdown",
    "prompt",
    "query",
    "question",
    "details",
    "msg",
    "label",
    "name",
];

/// Words that any call may hold: they are no targets.
const EMPTY_WORDS: &[&str] =
    &["true", "false", "none", "null", "yes", "all", "any", "default", "json", "text", "usd", "eur", "read", "write"];

impl Memory {
    /// Judges one call by its name, effect and arguments.
    pub(in crate::correlate) fn judge(&self, tool: &str, effect: Option<&str>, arguments: &Value) -> Influence {
        let effect = effect.or_else(|| effect_of_tool(tool));
        let call = Call::new(tool, effect, arguments);
        let mut found = Vec::new();
        leaves("", arguments, &mut |name, text| {
            const MOST: usize = 64;
            if found.len() < MOST {
                self.argument(&call, name, text, &mut found);
            }
        });
        let asked = self.asked(&call, &found);
        let beside = self.stands_beside(&call, arguments);
        let unsaid = self.unsaid(arguments, &found);
        Influence { unsaid, ..self.weigh(&call, asked, beside, found) }
    }

    /// Arguments, by their names in full, that are neither the user's words nor looked up. Of what cannot be traced, as `true`, the name
    /// decides alone.
    fn unsaid(&self, arguments: &Value, found: &[Provenance]) -> Vec<Arc<str>> {
        let mut out: Vec<Arc<str>> = Vec::new();
        if !self.spoke {
            return out;
        }
        scalars("", arguments, &mut |name| {
            const MOST: usize = 64;
            let mut traced = found.iter().filter(|argument| &*argument.argument == name).peekable();
            let own = traced.peek().is_some() && traced.all(|argument| !matches!(argument.origin, "model" | "document"));
            let spoken = || {
                words(name)
                    .iter()
                    .map(|word| stem(word))
                    .any(|stem| self.request.stems.binary_search_by(|known| known.as_str().cmp(&stem)).is_ok())
            };
            if out.len() < MOST && !own && !spoken() && !out.iter().any(|known| **known == *name) {
                out.push(name.into());
            }
        });
        out
    }

    fn argument(&self, call: &Call, name: &str, text: &str, out: &mut Vec<Provenance>) {
        let trimmed = text.trim();
        if trimmed.len() < SHORTEST && amount(trimmed).is_none() || EMPTY_WORDS.contains(&trimmed.to_ascii_lowercase().as_str()) {
            return;
        }
        let many = trimmed.split_whitespace().count();
        let last = name.rsplit('.').next().unwrap_or(name).to_ascii_lowercase();
        let carries = many > 8 || words(&last).iter().any(|word| CONTENT.contains(&word.as_str()));
        let seen = self.find(trimmed).or_else(|| self.copied(trimmed).map(|(_, seen)| seen));
        let weak = shape(trimmed) == Shape::Number && trimmed.chars().filter(char::is_ascii_digit).count() < 3;
        out.push(self.describe(call, name, seen, carries, weak));
        if carries && many > 1 {
            // Addresses and links inside are targets of their own.
            for word in
                trimmed.split(|letter: char| letter.is_whitespace() || matches!(letter, '<' | '>' | '(' | ')' | '"' | '[' | ']'))
            {
                if matches!(shape(word), Shape::Mail | Shape::Link | Shape::Account)
                    && let Some(seen) = self.find(word)
                {
                    out.push(Provenance { target: true, ..self.describe(call, name, Some(seen), true, false) });
                }
            }
        } else if carries
            && matches!(shape(trimmed), Shape::Mail | Shape::Link | Shape::Account)
            && let Some(last) = out.last_mut()
        {
            last.target = true;
        }
    }

    fn describe(&self, call: &Call, name: &str, seen: Option<Seen>, carries: bool, weak: bool) -> Provenance {
        let passage = |place: Option<u32>| place.and_then(|place| self.passages.get(place as usize));
        let mut told = Provenance {
            argument: name.into(),
            origin: "model",
            from: None,
            shape: "none",
            third_party: false,
            instructed: false,
            delegated: false,
            named: false,
            target: !carries,
        };
        let Some(seen) = seen else { return told };
        if seen.user {
            told.origin = "user";
            return told;
        }
        // Small numbers stand everywhere: only a field of their own says something.
        let text = passage(seen.text).filter(|_| !weak);
        let field = passage(seen.field);
        let Some(place) = field.or(text) else {
            told.origin = if seen.system { "system" } else { "model" };
            return told;
        };
        let source = &self.sources[place.source as usize];
        // A value that stands in a field of its own may be named by somebody's sentences as well.
        let wanted = text.is_some_and(|passage| {
            passage.wanted.has(call.acts) || passage.around.has(call.acts) || (!carries && passage.mentioned.has(call.acts))
        });
        told.shape = if field.is_some() { "field" } else { "text" };
        told.third_party = field.is_none() || source.third_party;
        told.origin = if told.third_party { "document" } else { "tool_result" };
        told.from = source.action;
        told.instructed = wanted;
        told.named = source.named;
        told.delegated = self.request.hands_over || (self.request.refers && self.wants(call));
        told
    }

    fn wants(&self, call: &Call) -> bool {
        self.request.wanted.has(call.acts)
    }

    /// Whether the user asked for an act of this kind; `None` when nobody can tell.
    fn asked(&self, call: &Call, found: &[Provenance]) -> Option<bool> {
        if !self.spoke {
            return None;
        }
        let request = &self.request;
        let speaks = call.things.iter().any(|thing| request.stems.iter().any(|stem| alike(stem, thing)));
        let looked_up = found.iter().any(|argument| argument.target && argument.shape == "field");
        let pointed = request.refers && found.iter().any(|argument| argument.named);
        let own = found.iter().any(|argument| argument.target && argument.origin == "user");
        let kind = request.wanted.has(call.effect);
        let verb = request.wanted.has(call.acts);
        let says = call.verbs.iter().any(|verb| request.stems.binary_search(verb).is_ok());
        let asked = match call.name {
            "read" => kind || speaks || own,
            "write" | "" => {
                (verb && (speaks || own || looked_up || pointed || call.things.is_empty()))
                    || (says && (speaks || own))
                    || (call.verbs.is_empty() && speaks)
            }
            "money" => kind || (verb && says && (own || self.gave_another(Shape::Number))) || (request.refers && speaks),
            "admin" => (kind || verb) && (speaks || own || says),
            "egress" => kind || (request.wanted.has(Acts::of_effect("write")) && speaks),
            _ => kind || (says && verb),
        };
        if asked { Some(true) } else { request.understood.then_some(false) }
    }

    /// The user gave an address, account or sum, and the call uses another one that stands in somebody's text.
    fn stands_beside(&self, call: &Call, arguments: &Value) -> bool {
        let mut beside = false;
        leaves("", arguments, &mut |_, text| {
            let form = shape(text);
            let counts =
                matches!(form, Shape::Mail | Shape::Link | Shape::Account) || (form == Shape::Number && call.name == "money");
            beside |= counts && self.gave_another(form) && self.find(text).is_some_and(|seen| !seen.user && seen.text.is_some());
        });
        beside
    }

    fn weigh(&self, call: &Call, asked: Option<bool>, beside: bool, found: Vec<Provenance>) -> Influence {
        let foreign = |argument: &&Provenance| argument.third_party && argument.target && argument.origin == "document";
        let text = found.iter().filter(foreign).find(|argument| argument.shape == "text");
        let field = found.iter().filter(foreign).find(|argument| argument.shape == "field");
        let steered = text.or(field);
        let carried = found
            .iter()
            .find(|argument| !argument.target && argument.instructed && argument.third_party && argument.shape == "text");
        let elsewhere = self.wanted_elsewhere(call.acts, &call.spoken, call.grave());
        let instructed = found.iter().filter(foreign).any(|argument| argument.instructed);
        let named = match (text.or(carried), steered) {
            (Some(argument), _) | (None, Some(argument)) => argument.named || carried.is_some_and(|argument| argument.named),
            (None, None) => elsewhere.is_some_and(|passage: &Passage| self.sources[passage.source as usize].named),
        };
        let mut reasons = Vec::new();
        let mut score = 0.0_f32;
        let mut add = |points: f32, reason: &'static str| {
            score += points;
            reasons.push(reason);
        };
        if asked == Some(false) {
            match (text, field) {
                (Some(_), _) => {
                    add(0.15, "the user asked for no act of this kind");
                    add(0.7, "value from free text that others can write");
                    if instructed {
                        add(0.1, "the same content asks for an act of this kind");
                    }
                }
                (None, Some(_)) => {
                    add(0.15, "the user asked for no act of this kind");
                    add(0.3, "value from a field that others can write");
                    if instructed || elsewhere.is_some() {
                        add(0.3, "the same content asks for an act of this kind");
                    }
                }
                (None, None) => {
                    add(0.2, "the user asked for no act of this kind");
                    if carried.is_some() || elsewhere.is_some() {
                        add(0.55, "a content that others can write asks for an act of this kind");
                    }
                }
            }
        } else {
            match (text, field) {
                (Some(_), _) => {
                    add(0.35, "value from free text that others can write");
                    if instructed {
                        add(0.4, "the same content asks for an act of this kind");
                    }
                }
                (None, Some(_)) if instructed => {
                    add(0.1, "value from a field that others can write");
                    add(0.35, "the same content asks for an act of this kind");
                }
                (None, Some(_)) => add(0.1, "value from a field that others can write"),
                (None, None) => {}
            }
            if text.is_none() && carried.is_some() {
                add(0.6, "its words stand in a content that asks for an act of this kind");
            }
            if beside {
                add(0.3, "the user named another target or sum");
            }
        }
        // What the user handed over or pointed at is authorized as far as it was meant.
        let influenced = steered.is_some() || carried.is_some() || elsewhere.is_some();
        let delegation = match () {
            () if !influenced => "none",
            () if self.request.hands_over => "wide",
            // Who points at mails for a date has not asked for mails to be sent.
            () if self.request.refers && asked != Some(false) && (call.name != "egress" || self.wants(call)) => "scoped",
            () => "none",
        };
        match delegation {
            "wide" if named || !self.sources.iter().any(|source| source.named) => {
                reasons.push("the user handed the decision to a content");
                score = if beside { score.min(0.65) } else { score.min(if named { 0.1 } else { 0.3 }) };
            }
            "scoped" => {
                reasons.push("the user pointed at a content for the details");
                let ordered = instructed && text.is_some();
                if ordered && !named {
                    reasons.push("and it is not this one");
                    score += 0.1;
                }
                let most = match (beside, ordered, named) {
                    (_, true, false) => 0.85,
                    (true, _, _) => 0.75,
                    (false, true, true) => 0.4,
                    (false, false, true) => 0.1,
                    (false, false, false) => 0.3,
                };
                score = score.min(most);
            }
            _ => {}
        }
        if call.name == "read" {
            score = score.min(0.55);
        }
        let serves = asked != Some(false) && score < 0.5;
        let unsaid = Vec::new();
        Influence { arguments: found, asked, serves, beside, delegation, unsaid, injected: score.clamp(0.0, 1.0), reasons }
    }
}

/// Names of everything that has a value, as [`leaves`] names them.
fn scalars(name: &str, value: &Value, each: &mut impl FnMut(&str)) {
    match value {
        Value::Map(entries) if name.is_empty() => entries.iter().for_each(|(key, nested)| scalars(key, nested, each)),
        Value::Map(entries) => entries.iter().for_each(|(key, nested)| scalars(&format!("{name}.{key}"), nested, each)),
        Value::List(items) => items.iter().for_each(|nested| scalars(name, nested, each)),
        Value::Bool(_) | Value::Number(_) | Value::Text(_) => each(name),
        Value::Null => {}
    }
}

/// What is known of a call before its arguments are traced.
struct Call {
    name: &'static str,
    effect: Acts,
    /// Kinds of act: its effect's, and those of the verbs in its name.
    acts: Acts,
    verbs: Vec<String>,
    /// What its name speaks of, verbs left out.
    things: Vec<String>,
    /// The same, and the words of its arguments.
    spoken: Vec<String>,
}

impl Call {
    fn new(tool: &str, effect: Option<&str>, arguments: &Value) -> Call {
        const NAMES: [&str; 8] = ["money", "egress", "delete", "admin", "exec", "approve", "write", "read"];
        let name = NAMES.iter().find(|name| Some(**name) == effect).copied().unwrap_or("");
        let own = words(tool);
        let (said, _) = sentence(&own.join(" "));
        let named = if name == "read" { said.named } else { Acts(said.named.0 & !Acts::of_effect("read").0) };
        let effect = Acts::of_effect(name);
        let stems: Vec<String> = own.iter().map(|word| stem(word).into_owned()).collect();
        let is_verb = |word: &String| sentence(word).0.wanted.0 != 0;
        let is_plain_verb = |word: &String| sentence(&format!("the {word}")).0.wanted.0 != 0;
        let verbs: Vec<String> = stems.iter().filter(|word| is_verb(word)).cloned().collect();
        let things: Vec<String> = stems
            .iter()
            .filter(|word| word.len() >= 3 && !COMMON.contains(&word.as_str()) && !is_plain_verb(word))
            .cloned()
            .collect();
        let mut spoken = things.clone();
        leaves("", arguments, &mut |_, text| {
            if spoken.len() < 64 && text.len() < 256 {
                let words = words(text);
                let stems = words.iter().map(|word| stem(word));
                spoken.extend(stems.filter(|word| word.len() >= 3 && !COMMON.contains(&&**word)).map(Cow::into_owned));
            }
        });
        Call { name, effect, acts: effect.and(named), verbs, things, spoken }
    }

    fn grave(&self) -> bool {
        matches!(self.name, "money" | "delete" | "admin" | "exec" | "approve" | "egress")
    }
}

/// `remind` and `reminder`, `reserv` and `reserve`.
fn alike(one: &str, other: &str) -> bool {
    one == other || (one.len() >= 5 && other.starts_with(one)) || (other.len() >= 5 && one.starts_with(other))
}
