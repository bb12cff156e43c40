//! **correlate**: actions become [`Step`]s of a workflow: which one, caused by what, with what confidence.
//!
//! In: [`Draft`]. Out: [`Step`]. It owns the process tree, the open workflows and the provenance of arguments. It makes the
//! process, file and connect actions out of facts, because only it knows which processes are agents.

mod announced;
mod conversation;
mod effects;
mod ends;
mod going;
mod index;
mod provenance;
mod stage;
#[cfg(test)]
mod tests;
mod tree;

use std::sync::Arc;

use crate::base::{ActionId, ProcessKey, Timestamp};
use crate::understand::{Action, Claim};

pub use going::Going;
pub use stage::Correlate;

/// Workflow as this stage numbers it; printed `w1`, `w2`, ….
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkflowId(pub u64);

impl std::fmt::Display for WorkflowId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "w{}", self.0)
    }
}

/// Why a step is believed to follow from another.
#[derive(Clone, Debug, PartialEq)]
pub struct Cause {
    pub action: ActionId,
    /// `declared_tool_call`, `tool_result`, `same_arguments`, `history_prefix`, `response_id`, `child_process`, `time_window`, …
    pub why: &'static str,
    /// 0 to 1.
    pub confidence: f32,
}

/// Where the value of one argument came from (issue: provenance of arguments).
#[derive(Clone, Debug, PartialEq)]
pub struct Provenance {
    /// Name of the argument, dotted for nested ones.
    pub argument: Arc<str>,
    /// `user`, `system`, `tool_result`, `document`, `model`.
    pub origin: &'static str,
    /// The action whose content held the value.
    pub from: Option<ActionId>,
    /// `field`: the value stood in a field of its own; `text`: inside free text; `none`: in no content.
    pub shape: &'static str,
    /// The content it came from can be written by third parties (mail, web page, review, file, ticket).
    pub third_party: bool,
    /// The same content asks its reader to act, and the act is of this call's kind.
    pub instructed: bool,
    /// The user told the agent to do what contents say, or pointed at them for the details of an act of this kind.
    pub delegated: bool,
    /// The user's words name that source: its file, address, subject or sender.
    pub named: bool,
    /// The argument says to whom, to what or how much; others carry content.
    pub target: bool,
}

/// Facts about the whole call that separate a hijacked one from a look-up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Influence {
    pub arguments: Vec<Provenance>,
    /// The user asked for an act of this kind; `None` when that cannot be told (nothing said, or not in English).
    pub asked: Option<bool>,
    /// The call serves the request; otherwise it stands beside it.
    pub serves: bool,
    /// The user gave an address, account or sum, and the call uses another one that stands in somebody's text.
    pub beside: bool,
    /// `none`; `scoped`: the user pointed at a content for the details; `wide`: the user told the agent to do what a content says.
    pub delegation: &'static str,
    /// Arguments that the model or a content filled in although the user said neither their names nor their values.
    pub unsaid: Vec<Arc<str>>,
    /// 0: the user's own will; 1: content steered it.
    pub injected: f32,
    pub reasons: Vec<&'static str>,
}

/// Process facts of the acting process, as rules read them (`proc.*`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Proc {
    pub key: Option<ProcessKey>,
    pub parent: Option<u32>,
    pub name: Option<Arc<str>>,
    pub exe: Option<Arc<str>>,
    pub args: crate::base::Sensitive<Arc<str>>,
    pub uid: Option<u32>,
    pub cwd: Option<Arc<str>>,
    pub cgroup: Option<Arc<str>>,
    /// Names of the ancestors, nearest first.
    pub ancestors: Vec<Arc<str>>,
}

/// A step of a workflow. `completed` is false the first time (request seen), true when the answer is in.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub completed: bool,
    pub action: Arc<Action>,
    pub workflow: WorkflowId,
    /// Position in the workflow, from 1.
    pub index: u32,
    pub causes: Vec<Cause>,
    pub proc: Arc<Proc>,
    /// The agent that acts: the process that talks to the model.
    pub agent: Option<ProcessKey>,
    /// The user who asked, where it entered the agent; the credential used is in `action.identity`.
    pub asked_by: Option<Claim>,
    /// Declared by the model: `Some(false)` marks an effect that no tool call announced.
    pub declared: Option<bool>,
    pub influence: Option<Arc<Influence>>,
    /// The words of the user that began this workflow.
    pub prompt: Option<crate::base::Sensitive<Arc<str>>>,
}

/// A workflow as it stands, for `--emit workflows` and the terminal.
#[derive(Clone, Debug, PartialEq)]
pub struct Workflow {
    pub id: WorkflowId,
    pub agent: Arc<Proc>,
    pub agent_name: Option<Arc<str>>,
    pub user: Option<Claim>,
    pub tenant: Option<Claim>,
    pub started: Timestamp,
    pub ended: Option<Timestamp>,
    pub steps: Vec<ActionId>,
    pub edges: Vec<(ActionId, ActionId, &'static str, f32)>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Correlated {
    Step(Box<Step>),
    /// The workflow is over (quiet, or its process ended).
    WorkflowClosed(Box<Workflow>),
    Exchange {
        ts: Timestamp,
        exchange: Arc<crate::decode::Exchange>,
    },
}
