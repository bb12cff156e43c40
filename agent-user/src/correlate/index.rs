//! Finding the conversation that a model request continues, at a cost that does not grow with the number of open ones.
//!
//! Agents send the whole history again, a part of it, or only the number of the last answer. Each conversation is therefore known by
//! several keys: the chain of its messages up to now, its last answer, the ids of its tool calls, the provider's own ids.

use std::collections::HashMap;
use std::sync::Arc;

use crate::base::{KeyedHash, ProcessKey};
use crate::understand::{Llm, Message, Role};

/// Conversation as the stage numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ConversationId(pub(super) u64);

/// Something that names a conversation. Histories count within a process; the ids of providers are unique everywhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Chain(ProcessKey, u64),
    /// The chain of a first request whose answer was an error.
    Failed(ProcessKey, u64),
    Answer(ProcessKey, u64),
    Call(Option<ProcessKey>, Arc<str>),
    Response(Arc<str>),
    Named(ProcessKey, Arc<str>),
}

#[derive(Debug, Default)]
pub(super) struct Index {
    /// The conversations that a key names, latest last; agents may run the same words twice.
    named: HashMap<Key, Vec<ConversationId>>,
}

/// Conversations that share a key and are told apart; more are a loop over the same words.
const SHARED: usize = 64;

impl Index {
    pub(super) fn put(&mut self, key: Key, id: ConversationId) {
        let list = self.named.entry(key).or_default();
        if !list.contains(&id) {
            list.push(id);
            if list.len() > SHARED {
                list.remove(0);
            }
        }
    }

    pub(super) fn remove(&mut self, key: &Key, id: ConversationId) {
        if let Some(list) = self.named.get_mut(key) {
            list.retain(|other| *other != id);
            if list.is_empty() {
                self.named.remove(key);
            }
        }
    }

    /// The latest conversation of that key.
    pub(super) fn one(&self, key: &Key) -> Option<ConversationId> {
        self.named.get(key).and_then(|list| list.last()).copied()
    }

    /// The conversation of that key, when it is one.
    fn only(&self, key: &Key) -> Option<ConversationId> {
        self.named.get(key).filter(|list| list.len() == 1).and_then(|list| list.first()).copied()
    }
}

/// A request's messages as fingerprints: of each alone and of all up to it. System messages are left out: programs rewrite them with
/// the time of day.
pub(super) struct Prints {
    pub(super) alone: Vec<u64>,
    pub(super) chain: Vec<u64>,
}

impl Prints {
    pub(super) fn of(llm: &Llm, hash: &KeyedHash) -> Prints {
        let mut prints = Prints { alone: Vec::with_capacity(llm.messages.len()), chain: Vec::with_capacity(llm.messages.len()) };
        let mut chain = 0;
        for message in &llm.messages {
            let alone = print(message, hash);
            if message.role != Role::System {
                chain = link(chain, alone, hash);
            }
            prints.alone.push(alone);
            prints.chain.push(chain);
        }
        prints
    }

    pub(super) fn last(&self) -> u64 {
        self.chain.last().copied().unwrap_or(0)
    }
}

pub(super) fn link(chain: u64, next: u64, hash: &KeyedHash) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&chain.to_le_bytes());
    bytes[8..].copy_from_slice(&next.to_le_bytes());
    hash.print(&bytes)
}

fn print(message: &Message, hash: &KeyedHash) -> u64 {
    let mut text = String::with_capacity(message.text.expose_content().len() + 64);
    text.push(match message.role {
        Role::System => 's',
        Role::User => 'u',
        Role::Assistant => 'a',
        Role::Tool => 't',
    });
    text.push_str(message.text.expose_content().trim());
    for call in &message.tool_calls {
        text.push('\u{0}');
        text.push_str(&call.name);
        text.push_str(call.id.as_deref().unwrap_or_default());
    }
    text.push_str(message.answers.as_deref().unwrap_or_default());
    hash.print(text.as_bytes())
}

/// The fingerprint that an answer has when an agent sends it back.
pub(super) fn print_of_answer(llm: &Llm, hash: &KeyedHash) -> u64 {
    let message = Message {
        role: Role::Assistant,
        text: llm.text.clone().unwrap_or_default(),
        tool_calls: llm.tool_calls.iter().filter(|call| !call.remote).cloned().collect(),
        answers: None,
        tool_name: None,
        is_error: false,
    };
    print(&message, hash)
}

/// An answer that says next to nothing (`OK`) names no conversation.
pub(super) fn tells(llm: &Llm) -> bool {
    llm.tool_calls.iter().any(|call| call.id.as_ref().is_some_and(|id| id.len() >= 8))
        || llm.text.as_ref().is_some_and(|text| text.expose_content().len() >= 24)
}

/// The conversation of a request, how many of its messages that one has heard, why, and how sure that is.
pub(super) struct Found {
    pub(super) id: ConversationId,
    pub(super) known: usize,
    pub(super) why: &'static str,
    pub(super) confidence: f32,
}

impl Index {
    pub(super) fn find(&self, process: ProcessKey, llm: &Llm, prints: &Prints) -> Option<Found> {
        let found = |id, known, why, confidence| Some(Found { id, known, why, confidence });
        if let Some(previous) = &llm.previous_response_id
            && let Some(id) = self.one(&Key::Response(previous.clone()))
        {
            return found(id, 0, "response_id", 1.0);
        }
        if let Some(name) = &llm.conversation_id
            && let Some(id) = self.one(&Key::Named(process, name.clone()))
        {
            return found(id, 0, "conversation_id", 1.0);
        }
        let continues = llm.messages.iter().any(|message| message.role == Role::Assistant || message.role == Role::Tool);
        if !continues {
            // The same first words again are another conversation, unless they are sent again after an error.
            let id = self.one(&Key::Failed(process, prints.last()))?;
            return found(id, llm.messages.len(), "retry", 0.9);
        }
        // The longest history that ends in an answer of the model names its conversation alone.
        let mut unsure = None;
        for at in (0..prints.chain.len()).rev() {
            let key = Key::Chain(process, prints.chain[at]);
            if let Some(id) = self.only(&key) {
                if llm.messages[at].role == Role::Assistant || at + 1 < llm.messages.len() || unsure.is_none() {
                    return found(id, at + 1, "history_prefix", 0.95);
                }
            } else if unsure.is_none() {
                unsure = self.one(&key).map(|id| (id, at + 1));
            }
        }
        // Parts of the history: calls by their ids, answers by their words. Other processes may go on with them.
        for (at, message) in llm.messages.iter().enumerate().rev() {
            let ids = message.tool_calls.iter().filter_map(|call| call.id.clone()).chain(message.answers.clone());
            for id in ids {
                if let Some(id) = self.only(&Key::Call(Some(process), id.clone())) {
                    return found(id, at.saturating_sub(1), "tool_call_id", 0.95);
                }
                if let Some(id) = self.only(&Key::Call(None, id.clone())).filter(|_| id.len() >= 16) {
                    return found(id, at.saturating_sub(1), "tool_call_id", 0.85);
                }
            }
            if message.role == Role::Assistant
                && let Some(id) = self.only(&Key::Answer(process, prints.alone[at]))
            {
                return found(id, at + 1, "last_answer", 0.85);
            }
        }
        unsure.and_then(|(id, known)| found(id, known, "history_prefix", 0.5))
    }
}
