//! Which conversations of an agent announced what an effect says, found at a cost that does not grow with the number of open ones.
//!
//! A decision is known by one word of each value of its arguments and by its tool's name, an effect by all its words.

use std::collections::BTreeSet;

use super::conversation::{Decision, Sought};
use super::index::ConversationId;
use crate::base::{KeyedHash, ProcessKey};

/// Conversations of an agent that are all looked at.
const FEW: usize = 64;
/// Of more: the latest, and the latest that said each word; a word that more have said tells little.
const LATEST: usize = 16;
/// Words of one effect that are looked for.
const WORDS: usize = 64;
/// Words kept of one conversation.
const KEPT: usize = 1024;

#[derive(Debug, Default)]
pub(super) struct Announced(BTreeSet<(ProcessKey, u64, ConversationId)>);

impl Announced {
    /// `words` are those of the conversation so far; what is new is added.
    pub(super) fn put(
        &mut self,
        agent: ProcessKey,
        id: ConversationId,
        decision: &Decision,
        words: &mut BTreeSet<u64>,
        hash: &KeyedHash,
    ) {
        let said = decision.values.iter().map(|value| longest(value)).chain([&*decision.tool]);
        for word in said.map(|word| hash.print(word.to_lowercase().as_bytes())) {
            if words.len() < KEPT && words.insert(word) {
                self.0.insert((agent, word, id));
            }
        }
    }

    pub(super) fn remove(&mut self, agent: ProcessKey, id: ConversationId, words: &mut BTreeSet<u64>) {
        for word in std::mem::take(words) {
            self.0.remove(&(agent, word, id));
        }
    }

    /// Those of the agent's busy conversations that may have decided an effect.
    pub(super) fn find(
        &self,
        agent: ProcessKey,
        busy: &BTreeSet<ConversationId>,
        effect: &Sought<'_>,
        hash: &KeyedHash,
    ) -> BTreeSet<ConversationId> {
        if busy.len() <= FEW {
            return busy.clone();
        }
        let mut found: BTreeSet<ConversationId> = busy.iter().rev().take(LATEST).copied().collect();
        let whole = effect.text.iter().map(|value| longest(value));
        let parts = [&effect.place, &effect.command].into_iter().flat_map(|text| runs(text));
        let tool = effect.action.tool.as_ref().map(|tool| &*tool.name);
        for word in tool.into_iter().chain(whole).chain(parts).take(WORDS) {
            let word = hash.print(word.to_lowercase().as_bytes());
            let said = self.0.range((agent, word, ConversationId(0))..=(agent, word, ConversationId(u64::MAX)));
            found.extend(said.rev().take(LATEST).map(|(.., id)| *id).filter(|id| busy.contains(id)));
        }
        found
    }
}

/// Letters and digits that stand together.
fn runs(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphanumeric()).filter(|run| run.len() >= 2)
}

fn longest(value: &str) -> &str {
    runs(value).max_by_key(|run| run.len()).unwrap_or(value)
}
