//! What one conversation has read so far, as fingerprints.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::content::{self, Piece, sentences};
use super::forms::{Shape, amount, each_form, forms, normal, shape};
use super::speech::{self, Acts, Request};
use crate::base::limits::{FINGERPRINTS, PASSAGES};
use crate::base::{ActionId, KeyedHash, Prints, Value};
use crate::understand::words::words;

/// Where a value was seen. Places are passages by number.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) user: bool,
    pub(super) system: bool,
    pub(super) field: Option<u32>,
    pub(super) text: Option<u32>,
}

/// A content by one author: a record of what a tool returned.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) action: Option<ActionId>,
    pub(super) third_party: bool,
    /// The user's words name it: its file, address, subject or sender.
    pub(super) named: bool,
}

/// A sentence of a source, or its fields taken together.
#[derive(Clone, Debug)]
pub(super) struct Passage {
    pub(super) source: u32,
    /// Acts that it wants from its reader; those that it names in any way; those that the sentences around it want.
    pub(super) wanted: Acts,
    pub(super) mentioned: Acts,
    pub(super) around: Acts,
    stems: Box<[u32]>,
}

#[derive(Debug)]
pub(in crate::correlate) struct Memory {
    hash: KeyedHash,
    values: Prints<Seen>,
    pub(super) sources: Vec<Source>,
    pub(super) passages: Vec<Passage>,
    pub(super) request: Request,
    /// Values that the user gave, by their form, unless they only name a source.
    given: Vec<(Shape, u64)>,
    pub(super) spoke: bool,
    /// Something did not fit: what is not found may have been there.
    pub(super) forgotten: bool,
}

/// Values that the user gave, of one conversation.
const GIVEN: usize = 256;

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
    "product",
    "products",
    "listing",
    "description",
    "tweet",
    "tweets",
    "gmail",
    "repo",
    "repository",
    "news",
    "article",
    "forum",
    "thread",
    "site",
    "http",
    "download",
    "transcript",
    "task",
    "tasks",
];

/// Tags that programs put around contents which they paste into the user's message.
const PASTED: &[&str] = &[
    "document",
    "documents",
    "context",
    "email",
    "emails",
    "web_page",
    "webpage",
    "page",
    "search_results",
    "search_result",
    "file",
    "attachment",
    "tool_result",
    "tool_output",
    "observation",
    "retrieved",
    "source",
    "untrusted",
    "external",
    "data",
    "article",
    "ticket",
    "review",
];

impl Memory {
    pub(in crate::correlate) fn new(hash: KeyedHash) -> Memory {
        Memory {
            hash,
            values: Prints::default(),
            sources: Vec::new(),
            passages: Vec::new(),
            request: Request::default(),
            given: Vec::new(),
            spoke: false,
            forgotten: false,
        }
    }

    /// Fingerprints kept, for the bound over all conversations.
    pub(in crate::correlate) fn size(&self) -> usize {
        self.values.len() + self.passages.len()
    }

    /// Gives up what tools returned long ago; the user's request stays.
    pub(in crate::correlate) fn forget(&mut self) {
        self.values = Prints::default();
        self.passages = Vec::new();
        self.sources = Vec::new();
        self.forgotten = true;
    }

    /// The user spoke. What a program pasted into the message between tags is a content, not the user's word.
    pub(in crate::correlate) fn user(&mut self, text: &str) {
        let (own, pasted) = own_words(text);
        if !own.trim().is_empty() {
            self.spoke = true;
            let said = speech::request(&own);
            self.request.wanted = self.request.wanted.and(said.wanted);
            self.request.hands_over |= said.hands_over;
            self.request.refers |= said.refers;
            self.request.understood |= said.understood;
            self.request.stems.extend(said.stems);
            self.request.stems.sort_unstable();
            self.request.stems.dedup();
            const KEPT: usize = 1024;
            self.request.stems.truncate(KEPT);
            let user = Seen { user: true, ..Seen::default() };
            self.run(&own, user);
            content::read(&own, &mut |piece| {
                if let Piece::Field { value, .. } = piece {
                    self.note(value, user);
                }
            });
            let values = own
                .split_whitespace()
                .map(|word| (shape(word), word))
                .filter(|(form, _)| matches!(form, Shape::Mail | Shape::Link | Shape::Account | Shape::Number));
            let prints = values.filter_map(|(form, word)| Some((form, self.print(forms(word).first()?))));
            let room = GIVEN.saturating_sub(self.given.len());
            let given: Vec<_> = prints.take(room).collect();
            self.given.extend(given);
        }
        for text in pasted {
            self.tool(&text, None, None, None);
        }
    }

    pub(in crate::correlate) fn system(&mut self, text: &str) {
        self.run(text, Seen { system: true, ..Seen::default() });
    }

    /// A tool answered; `asked` are the arguments it was called with.
    pub(in crate::correlate) fn tool(
        &mut self,
        text: &str,
        tool: Option<&Arc<str>>,
        asked: Option<&Value>,
        action: Option<ActionId>,
    ) {
        let open = tool.is_none_or(|tool| words(tool).iter().any(|word| THIRD_PARTY.contains(&word.as_str())));
        let mut prints = Vec::new();
        if let Some(asked) = asked {
            leaves("", asked, &mut |_, value| {
                let telling =
                    |form: &&String| form.len() >= 4 || form.len() == 3 && form.bytes().all(|byte| byte.is_ascii_digit());
                prints.extend(forms(value).first().filter(telling).map(|form| self.print(form)))
            });
        }
        let mut called_for = prints.iter().any(|print| self.values.get(print).is_some_and(|seen| seen.user));
        if let Some(asked) = asked {
            leaves("", asked, &mut |_, value| called_for |= self.is_spoken_of(value));
        }
        called_for |= self.request.refers && tool.is_some_and(|tool| self.is_pointed_at(tool));
        self.given.retain(|(_, print)| !prints.contains(print));
        let source = Source { action, third_party: open, named: called_for };
        // Sentences wait until their neighbours are known.
        let mut state = Reading { source: self.open_source(source.clone()), template: source, fields: None, records: 0 };
        content::read(text, &mut |piece| self.piece(&mut state, piece));
    }

    /// A name of two words or more, all of which the user said: `team-meeting-minutes.docx`.
    fn is_spoken_of(&self, value: &str) -> bool {
        if value.len() > 80 {
            return false;
        }
        let name = value.rsplit('/').next().unwrap_or(value);
        let name = name.rsplit_once('.').filter(|(_, ending)| ending.len() <= 4).map_or(name, |(stem, _)| stem);
        let words = words(name);
        let common = |stem: &str| speech::COMMON.contains(&stem);
        let said = |stem: &str| self.request.stems.binary_search_by(|known| known.as_str().cmp(stem)).is_ok();
        let mut stems = words.iter().map(|word| speech::stem(word));
        words.len() >= 2
            && stems.clone().all(|stem| common(&stem) || said(&stem))
            && stems.by_ref().filter(|stem| !common(stem)).nth(1).is_some()
    }

    /// "As promised in the message": `read_message` reads what the user speaks of.
    fn is_pointed_at(&self, tool: &str) -> bool {
        words(tool).iter().any(|word| {
            let stem = speech::stem(word);
            let thing =
                stem.len() >= 4 && !speech::COMMON.contains(&&*stem) && speech::sentence(&format!("the {word}")).0.wanted.0 == 0;
            thing && self.request.stems.binary_search_by(|known| known.as_str().cmp(&stem)).is_ok()
        })
    }

    fn open_source(&mut self, source: Source) -> u32 {
        self.sources.push(source);
        u32::try_from(self.sources.len() - 1).unwrap_or(u32::MAX)
    }

    fn piece(&mut self, state: &mut Reading, piece: Piece<'_>) {
        match piece {
            Piece::Record => {
                const MOST: u32 = 512;
                state.records += 1;
                if state.records <= MOST && state.fields.is_some() {
                    state.source = self.open_source(state.template.clone());
                    state.fields = None;
                }
            }
            Piece::Field { key, value } => {
                let place = match state.fields {
                    Some(place) => place,
                    None => {
                        let place = self.open_passage(Passage {
                            source: state.source,
                            wanted: Acts::default(),
                            mentioned: Acts::default(),
                            around: Acts::default(),
                            stems: Box::default(),
                        });
                        state.fields = Some(place);
                        place
                    }
                };
                let told = value.len() >= 6 && amount(value).is_none() && !key.to_ascii_lowercase().contains("date");
                if told
                    && let Some(seen) = forms(value).first().and_then(|form| self.values.get(&self.print(form))).copied()
                    && seen.user
                {
                    self.sources[state.source as usize].named = true;
                    let print = forms(value).first().map(|form| self.print(form));
                    self.given.retain(|(_, given)| Some(*given) != print);
                } else if told && self.is_spoken_of(value) {
                    self.sources[state.source as usize].named = true;
                }
                let short = value.split_whitespace().count() <= 6;
                self.note(value, Seen { field: Some(place), ..Seen::default() });
                if !short || value.contains(' ') {
                    self.run(value, Seen { field: Some(place), ..Seen::default() });
                }
            }
            Piece::Text { text, .. } => self.prose(state.source, text),
        }
    }

    fn prose(&mut self, source: u32, text: &str) {
        let parts = sentences(text);
        let read: Vec<_> = parts.iter().map(|part| speech::sentence(part)).collect();
        for (at, part) in parts.iter().enumerate() {
            let near = read[at.saturating_sub(2)..read.len().min(at + 2)].iter();
            let around = near.fold(Acts::default(), |acts, (said, _)| acts.and(said.wanted));
            let (said, stems) = &read[at];
            let place = self.open_passage(Passage {
                source,
                wanted: said.wanted,
                mentioned: said.named,
                around,
                stems: stems.iter().take(24).map(|stem| self.short_print(stem)).collect(),
            });
            self.run(part, Seen { text: Some(place), ..Seen::default() });
        }
    }

    fn open_passage(&mut self, passage: Passage) -> u32 {
        if self.passages.len() >= PASSAGES {
            // Its acts are kept with the last one, so that they are not lost.
            self.forgotten = true;
            if let Some(last) = self.passages.last_mut() {
                last.wanted = last.wanted.and(passage.wanted);
            }
        } else {
            self.passages.push(passage);
        }
        u32::try_from(self.passages.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// Each word, each pair of neighbours, and numbers that are written in groups.
    fn run(&mut self, text: &str, seen: Seen) {
        /// Longer than any account or telephone number: a column of numbers is not one of them.
        const GROUP: usize = 48;
        const QUOTES: [char; 4] = ['\'', '"', '`', '’'];
        const MARKS: [char; 11] = ['=', ',', ';', '|', '(', ')', '<', '>', '"', '[', ']'];
        let mut group = String::new();
        let mut pair = String::new();
        for raw in text.split_whitespace() {
            let word = normal(raw);
            if word.is_empty() {
                continue;
            }
            each_form(raw, &word, &mut |form| self.keep(form, seen));
            if let Some(stem) = raw.trim_end_matches(|letter: char| !letter.is_alphanumeric()).strip_suffix("'s") {
                self.note(stem, seen);
            }
            // `key=value`, `a/b,c`: the parts are values too.
            if raw.contains(MARKS) {
                raw.split(MARKS).for_each(|part| self.note(part, seen));
            }
            // `'ann@x.com'.Then`: no white space after the full stop.
            if raw.contains('@') && raw.contains(QUOTES) {
                raw.split(QUOTES).filter(|part| part.contains('@')).for_each(|part| self.note(part, seen));
            }
            if !pair.is_empty() {
                pair.push_str(&word);
                self.keep(&pair, seen);
                pair.clear();
            }
            pair.push_str(&word);
            pair.push(BETWEEN);
            if word.bytes().any(|letter| letter.is_ascii_digit()) {
                if group.len() + word.len() > GROUP {
                    group.clear();
                }
                group.push_str(&word);
                if group.len() > word.len() {
                    self.keep(&group, seen);
                }
            } else {
                group.clear();
            }
        }
    }

    fn note(&mut self, text: &str, seen: Seen) {
        each_form(text, &normal(text), &mut |form| self.keep(form, seen));
    }

    pub(super) fn keep(&mut self, form: &str, seen: Seen) {
        let print = self.print(form);
        let full = self.values.len() >= FINGERPRINTS;
        let known = match self.values.entry(print) {
            Entry::Vacant(_) if full => {
                self.forgotten = true;
                return;
            }
            entry => entry.or_default(),
        };
        known.user |= seen.user;
        known.system |= seen.system;
        known.field = known.field.or(seen.field);
        let wants = |place: Option<u32>| {
            place.and_then(|place| self.passages.get(place as usize)).is_some_and(|passage| passage.wanted.0 != 0)
        };
        if known.text.is_none() || (wants(seen.text) && !wants(known.text)) {
            known.text = seen.text.or(known.text);
        }
    }

    fn print(&self, text: &str) -> u64 {
        self.hash.print(text.as_bytes())
    }

    fn short_print(&self, text: &str) -> u32 {
        (self.print(text) >> 32) as u32
    }

    /// Where a value was seen, whole or word for word in one place.
    pub(super) fn find(&self, text: &str) -> Option<Seen> {
        if let Some(seen) = forms(text).iter().find_map(|form| self.values.get(&self.print(form))) {
            return Some(*seen);
        }
        let words: Vec<_> = text.split_whitespace().map(normal).filter(|word| !word.is_empty()).collect();
        if !(2..=12).contains(&words.len()) {
            return None;
        }
        let known = |form: &str| self.values.get(&self.print(form)).copied();
        let pairs: Vec<Option<Seen>> = words.windows(2).map(|two| known(&pair(&two[0], &two[1]))).collect();
        let long_words = words.iter().filter(|word| word.len() >= super::forms::SHORTEST);
        if long_words.clone().count() > 0 && long_words.clone().all(|word| known(word).is_some_and(|seen| seen.user)) {
            return Some(Seen { user: true, ..Seen::default() });
        }
        let all = pairs.iter().copied().collect::<Option<Vec<Seen>>>()?;
        all.iter().find(|seen| !seen.user).or(all.first()).copied()
    }

    /// The share of a long text that stands, word by word, in what tools returned, and where.
    pub(super) fn copied(&self, text: &str) -> Option<(f32, Seen)> {
        let words: Vec<_> = text.split_whitespace().map(normal).filter(|word| !word.is_empty()).take(512).collect();
        if words.len() < 3 {
            return None;
        }
        let pairs: Vec<Seen> =
            words.windows(2).filter_map(|two| self.values.get(&self.print(&pair(&two[0], &two[1])))).copied().collect();
        let foreign = pairs.iter().filter(|seen| !seen.user && (seen.text.is_some() || seen.field.is_some()));
        let share = foreign.clone().count() as f32 / (words.len() - 1) as f32;
        let mut own = pairs.iter().filter(|seen| seen.user);
        match foreign.clone().next() {
            Some(first) if share >= 0.5 => Some((share, *first)),
            _ => own
                .next()
                .filter(|_| pairs.iter().filter(|seen| seen.user).count() * 2 >= words.len() - 1)
                .map(|seen| (1.0, *seen)),
        }
    }

    /// The user gave another value of this form.
    pub(super) fn gave_another(&self, form: Shape) -> bool {
        self.given.iter().any(|(given, _)| *given == form)
    }

    /// A passage of somebody else's that wants an act of these kinds and speaks of these things; and whether the user named its source.
    pub(super) fn wanted_elsewhere(&self, acts: Acts, things: &[String], strong: bool) -> Option<&Passage> {
        let things: Vec<u32> = things.iter().map(|thing| self.short_print(thing)).collect();
        let speaks = |passage: &&Passage| passage.stems.iter().any(|stem| things.contains(stem));
        let wants = |passage: &&Passage| passage.wanted.has(acts) && self.sources[passage.source as usize].third_party;
        let with_things = self.passages.iter().filter(wants).find(speaks);
        with_things.or_else(|| self.passages.iter().filter(|_| strong).find(wants))
    }
}

struct Reading {
    source: u32,
    template: Source,
    fields: Option<u32>,
    records: u32,
}

/// Stands between two words of a pair.
const BETWEEN: char = '\u{1}';

fn pair(one: &str, other: &str) -> String {
    format!("{one}{BETWEEN}{other}")
}

/// Scalars of a value with the names they stand under.
pub(super) fn leaves(name: &str, value: &Value, each: &mut impl FnMut(&str, &str)) {
    match value {
        Value::Map(entries) => {
            for (key, nested) in entries.iter() {
                if name.is_empty() {
                    leaves(key, nested, each);
                } else {
                    leaves(&format!("{name}.{key}"), nested, each);
                }
            }
        }
        Value::List(items) => items.iter().for_each(|nested| leaves(name, nested, each)),
        Value::Text(text) => each(name, text),
        Value::Number(number) => each(name, &number.text),
        Value::Null | Value::Bool(_) => {}
    }
}

/// The user's words, and what was pasted between them.
fn own_words(text: &str) -> (String, Vec<String>) {
    let mut own = String::new();
    let mut pasted = Vec::new();
    let mut rest = text;
    'text: while let Some(open) = rest.find('<') {
        for tag in PASTED {
            let inside = &rest[open + 1..];
            let Some(after) = inside.strip_prefix(tag) else { continue };
            let Some(start) = after.starts_with(['>', ' ']).then(|| after.find('>')).flatten() else { continue };
            let close = format!("</{tag}>");
            let Some(end) = after.find(&close) else { continue };
            if start + 1 > end {
                continue;
            }
            own.push_str(&rest[..open]);
            own.push(' ');
            pasted.push(after[start + 1..end].to_owned());
            rest = &after[end + close.len()..];
            continue 'text;
        }
        own.push_str(&rest[..=open]);
        rest = &rest[open + 1..];
    }
    own.push_str(rest);
    (own, pasted)
}
