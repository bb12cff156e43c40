//! What is said in a conversation and what tools return, taken into its memory: whose words, which record, which sentence.

use std::sync::Arc;

use super::content::{self, Piece, sentences};
use super::forms::{Shape, amount, forms, shape};
use super::memory::{Memory, Passage, Seen, Source, leaves};
use super::speech::{self, Acts};
use crate::base::limits::PASSAGES;
use crate::base::{ActionId, Value};
use crate::understand::words::words;

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
}

struct Reading {
    source: u32,
    template: Source,
    fields: Option<u32>,
    records: u32,
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
