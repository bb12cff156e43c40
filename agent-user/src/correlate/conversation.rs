//! Conversations: which one a model request continues, and what the model decided in it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::provenance::Memory;
use super::{Cause, WorkflowId};
use crate::base::{ActionId, KeyedHash, ProcessKey, Timestamp, Value};
use crate::understand::words::words;
use crate::understand::{Action, Kind, Llm, Role, call_of};

/// A tool call that the model declared and whose effect may follow.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    pub(super) action: ActionId,
    pub(super) call_id: Option<Arc<str>>,
    pub(super) tool: Arc<str>,
    words: Vec<String>,
    /// Argument values as they would stand in a path or body.
    pub(super) values: BTreeSet<String>,
    pub(super) at: Timestamp,
    /// Its result was sent to the model: later effects are not its own.
    pub(super) answered: bool,
    /// Effects that followed from it.
    pub(super) effects: Vec<ActionId>,
}

/// Effects kept of one decision: a loop that writes files has no end.
const EFFECTS: usize = 64;

impl Decision {
    pub(super) fn brought_about(&mut self, effect: ActionId) {
        if self.effects.len() < EFFECTS {
            self.effects.push(effect);
        }
    }
}

/// One line of messages with a model.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) agent: ProcessKey,
    pub(super) workflow: WorkflowId,
    /// Keys under which the stage finds it again; they go when it goes.
    pub(super) keys: Vec<super::index::Key>,
    pub(super) decisions: Vec<Decision>,
    /// Under which decisions are found, while some are open.
    pub(super) announced: BTreeSet<u64>,
    pub(super) last_response: Option<ActionId>,
    /// The last answer was an error: the same request may come again.
    pub(super) failed: bool,
    pub(super) last_at: Timestamp,
    /// User messages so far.
    pub(super) turns: u32,
    pub(super) memory: Memory,
    pub(super) prompt: Option<crate::base::Sensitive<Arc<str>>>,
}

/// Decisions kept of one conversation; older ones have had their effects.
const DECISIONS: usize = 256;

impl Conversation {
    pub(super) fn new(agent: ProcessKey, workflow: WorkflowId, hash: KeyedHash) -> Conversation {
        Conversation {
            agent,
            workflow,
            keys: Vec::new(),
            decisions: Vec::new(),
            announced: BTreeSet::new(),
            last_response: None,
            failed: false,
            last_at: Timestamp::default(),
            turns: 0,
            memory: Memory::new(hash),
            prompt: None,
        }
    }

    /// Takes in what is new of a request.
    pub(super) fn listen(&mut self, llm: &Llm, known: usize, results: &BTreeMap<Arc<str>, ActionId>) {
        for (at, message) in llm.messages.iter().enumerate().skip(known) {
            let text = message.text.expose_content();
            match message.role {
                Role::User if !text.trim().is_empty() => {
                    self.turns += 1;
                    self.memory.user(text);
                    self.prompt = Some(message.text.clone());
                }
                Role::System => self.memory.system(text),
                Role::Tool => {
                    let asked = call_of(&llm.messages, at);
                    let tool = message.tool_name.clone().or_else(|| Some(asked?.name.clone()));
                    let action = message.answers.as_ref().and_then(|id| results.get(id)).copied();
                    let arguments = asked.map(|call| call.arguments.expose_content());
                    self.memory.tool(text, tool.as_ref(), arguments, action);
                }
                Role::User | Role::Assistant => {}
            }
        }
    }

    pub(super) fn answered(&mut self, action: &Action) {
        self.last_response = Some(action.id);
        self.last_at = action.time;
        self.failed = action.status.is_some_and(|status| status >= 400);
    }

    pub(super) fn decide(&mut self, action: &Action) {
        let Some(tool) = &action.tool else { return };
        let mut values = BTreeSet::new();
        leaves(action.arg.expose_content(), &mut values);
        self.decisions.push(Decision {
            action: action.id,
            call_id: tool.call_id.clone(),
            tool: tool.name.clone(),
            words: words(&tool.name),
            values,
            at: action.time,
            answered: false,
            effects: Vec::new(),
        });
        if self.decisions.len() > DECISIONS {
            self.decisions.remove(0);
        }
    }

    /// The decision that an effect follows from, with the reason and how sure that is.
    pub(super) fn cause_of(&self, effect: &Sought<'_>) -> Option<Fit> {
        let Sought { action, text, place, command, own, op } = effect;
        let open: Vec<usize> = (0..self.decisions.len()).filter(|at| self.is_open(*at, action)).collect();
        let scored = open.iter().map(|at| {
            let decision = &self.decisions[*at];
            let shared = decision
                .values
                .iter()
                .filter(|value| text.contains(*value) || holds(place, value) || holds(command, value))
                .count();
            let same_name = !own.is_empty() && decision.words.ends_with(own);
            let similar = decision.words.iter().filter(|word| op.iter().any(|other| alike(word, other))).count();
            let (why, confidence) = match (same_name, shared, similar) {
                (true, 1.., _) if shared == decision.values.len() => ("same_arguments", 0.99),
                // Other conversations may call the same tool with some of the same values.
                (true, 1.., _) => ("same_arguments", 0.92),
                (true, 0, _) => ("same_tool", 0.9),
                (false, 2.., _) => ("same_arguments", 0.95),
                (false, 1, 1..) => ("same_arguments", 0.95),
                (false, 1, 0) => ("same_arguments", 0.8),
                (false, 0, 1..) => ("similar_name", 0.7),
                (false, 0, 0) if open.len() == 1 => ("time_window", 0.6),
                (false, 0, 0) => ("time_window", 0.4),
            };
            let cause = Cause { action: decision.action, why, confidence };
            Fit { at: *at, cause, shared, fresh: decision.effects.is_empty(), since: decision.at }
        });
        scored.max_by(Fit::order)
    }

    /// A decision has effects until its result was sent back, and for a while after it was made.
    fn is_open(&self, at: usize, action: &Action) -> bool {
        const LONGEST: std::time::Duration = std::time::Duration::from_secs(600);
        let decision = &self.decisions[at];
        let age = action.time.since(decision.at);
        !decision.answered && age < LONGEST && !action.time.is_before(decision.at) && action.id != decision.action
    }
}

/// How well a decision explains an effect.
pub(super) struct Fit {
    /// Its place among the conversation's decisions.
    pub(super) at: usize,
    pub(super) cause: Cause,
    /// Values of its arguments that the effect says, too.
    shared: usize,
    /// It had no effect yet.
    fresh: bool,
    since: Timestamp,
}

impl Fit {
    /// The better one is greater; of equals the first that has no effect yet, else the latest.
    pub(super) fn order(&self, other: &Fit) -> Ordering {
        let by_time = (self.since, self.at).cmp(&(other.since, other.at));
        let by_age = if self.fresh { by_time.reverse() } else { by_time };
        let by_reason = self.cause.confidence.total_cmp(&other.cause.confidence).then(self.shared.cmp(&other.shared));
        by_reason.then(self.fresh.cmp(&other.fresh)).then(by_age)
    }
}

/// An effect as it is compared with decisions: taken apart once, however many conversations are asked.
pub(super) struct Sought<'a> {
    pub(super) action: &'a Action,
    pub(super) text: BTreeSet<String>,
    pub(super) place: String,
    pub(super) command: String,
    own: Vec<String>,
    op: Vec<String>,
}

impl Sought<'_> {
    pub(super) fn new(action: &Action) -> Sought<'_> {
        let mut text = BTreeSet::new();
        leaves(action.arg.expose_content(), &mut text);
        let argv = action.system.as_ref().map(|effect| effect.argv.expose_content().join(" ").to_lowercase());
        Sought {
            action,
            text,
            place: action.http.as_ref().map(|http| http.path.to_lowercase()).unwrap_or_default(),
            command: argv.unwrap_or_default(),
            own: action.tool.as_ref().map(|tool| words(&tool.name)).unwrap_or_default(),
            op: words(action.op.as_deref().unwrap_or_default()),
        }
    }
}

/// A value of some length inside a path or command line.
fn holds(text: &str, value: &str) -> bool {
    value.len() >= 2 && text.contains(value)
}

/// `refund` and `refunds`, `order` and `orders`.
fn alike(one: &str, other: &str) -> bool {
    one.len() >= 3 && (one == other || one.strip_suffix('s') == Some(other) || other.strip_suffix('s') == Some(one))
}

/// Scalar leaves in lower case; short ones say nothing.
fn leaves(value: &Value, out: &mut BTreeSet<String>) {
    const MOST: usize = 64;
    if out.len() >= MOST {
        return;
    }
    match value {
        Value::Map(entries) => entries.iter().for_each(|(_, nested)| leaves(nested, out)),
        Value::List(items) => items.iter().for_each(|nested| leaves(nested, out)),
        Value::Text(text) if (2..=256).contains(&text.len()) => {
            out.insert(text.to_lowercase());
        }
        Value::Number(number) if number.text.len() >= 2 => {
            out.insert(number.text.to_string());
        }
        Value::Text(_) | Value::Number(_) | Value::Null | Value::Bool(_) => {}
    }
}

/// Kinds that a tool call can bring about.
pub(super) fn is_effect(kind: Kind) -> bool {
    match kind {
        Kind::McpRequest
        | Kind::ApiRequest
        | Kind::ApiResponse
        | Kind::A2aRequest
        | Kind::ProcessExec
        | Kind::FileWrite
        | Kind::NetConnect
        | Kind::MemoryWrite => true,
        Kind::LlmRequest | Kind::LlmResponse | Kind::ToolCall | Kind::ToolResult | Kind::SelfReport => false,
    }
}
