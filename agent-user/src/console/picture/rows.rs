//! What the API answers: version 1 of its types, written by the model and read by the web pages, `agentward top` and other programs.
//!
//! All text is redacted before it gets here; who prints it makes it printable or escapes it. Times are nanoseconds since the epoch.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub(crate) type Text = Arc<str>;
/// Field name (dotted) and value.
pub(crate) type Pairs = Vec<(Text, Text)>;

/// How often, and from when to when.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Use {
    pub(crate) name: Text,
    pub(crate) count: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// First used when its agent was known for a while: what the agent used to do did not need it.
    pub(crate) new: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Overview {
    pub(crate) version: Text,
    /// Grows with each change.
    pub(crate) revision: u64,
    pub(crate) now: u64,
    /// Since when this picture is painted.
    pub(crate) since: u64,
    pub(crate) recording: bool,
    pub(crate) agents: Vec<AgentRow>,
    pub(crate) models: Vec<Use>,
    pub(crate) tools: Vec<Use>,
    pub(crate) hosts: Vec<Use>,
    pub(crate) open_workflows: u64,
    pub(crate) workflows: u64,
    pub(crate) alerts: Severities,
    /// Steps and alerts by minute, oldest first, the current minute last.
    pub(crate) minutes: Vec<Minute>,
    /// What is incomplete in what was seen, by reason.
    pub(crate) incomplete: Vec<(Text, u64)>,
    pub(crate) coverage: Coverage,
    /// Records that this picture let go to stay small.
    pub(crate) forgotten: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Severities {
    pub(crate) info: u64,
    pub(crate) low: u64,
    pub(crate) medium: u64,
    pub(crate) high: u64,
    pub(crate) critical: u64,
}

impl Severities {
    pub(crate) fn total(&self) -> u64 {
        self.info + self.low + self.medium + self.high + self.critical
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Minute {
    /// Nanoseconds since the epoch of its begin.
    pub(crate) at: u64,
    pub(crate) steps: u64,
    pub(crate) alerts: u64,
    /// Of these, high or critical.
    pub(crate) grave: u64,
}

/// What can be seen, and what cannot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Coverage {
    /// False while no probes report: a recording, or a daemon that has just started.
    pub(crate) probes: bool,
    pub(crate) libraries: Vec<Library>,
    pub(crate) connections: u64,
    pub(crate) counters: Vec<(Text, u64)>,
    pub(crate) observations: u64,
    pub(crate) exchanges: u64,
    pub(crate) incomplete: u64,
    pub(crate) faults: u64,
    pub(crate) sinks: Vec<SinkRow>,
    /// One sentence for each thing that is not seen or was lost.
    pub(crate) blind: Vec<Text>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Library {
    pub(crate) path: Text,
    pub(crate) family: Text,
    pub(crate) sites: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct SinkRow {
    pub(crate) name: Text,
    pub(crate) delivered: u64,
    pub(crate) failures: u64,
    pub(crate) lost: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct AgentRow {
    /// `pid@start`, unique on this host.
    pub(crate) id: Text,
    pub(crate) name: Text,
    pub(crate) pid: u32,
    pub(crate) steps: u64,
    pub(crate) steps_last_minute: u64,
    pub(crate) workflows: u64,
    pub(crate) alerts: u64,
    pub(crate) grave: u64,
    pub(crate) model: Text,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct AgentDetail {
    pub(crate) row: AgentRow,
    pub(crate) identity: Pairs,
    pub(crate) users: Vec<Use>,
    pub(crate) models: Vec<Use>,
    pub(crate) tools: Vec<ToolRow>,
    pub(crate) hosts: Vec<Use>,
    pub(crate) scopes: Vec<ScopeRow>,
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) workflows: Vec<WorkflowRow>,
    pub(crate) alerts: Vec<AlertRow>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ToolRow {
    pub(crate) used: Use,
    /// The model was offered it.
    pub(crate) offered: bool,
    /// Its definition became another one since it was first seen.
    pub(crate) changed: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScopeRow {
    pub(crate) scope: Text,
    /// Some call had to do with what the scope names, judged by its words.
    pub(crate) used: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct WorkflowRow {
    pub(crate) id: Text,
    pub(crate) agent: Text,
    pub(crate) agent_name: Text,
    pub(crate) user: Text,
    pub(crate) prompt: Text,
    pub(crate) started: u64,
    pub(crate) last: u64,
    pub(crate) open: bool,
    pub(crate) steps: u64,
    pub(crate) alerts: u64,
    pub(crate) severity: Text,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct WorkflowDetail {
    pub(crate) row: WorkflowRow,
    pub(crate) steps: Vec<Arc<StepRow>>,
    pub(crate) alerts: Vec<AlertRow>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct StepRow {
    pub(crate) id: Text,
    pub(crate) index: u32,
    pub(crate) time: u64,
    pub(crate) kind: Text,
    pub(crate) op: Text,
    pub(crate) effect: Text,
    pub(crate) summary: Text,
    pub(crate) process: Text,
    pub(crate) status: Option<u16>,
    /// False while its answer is awaited.
    pub(crate) completed: bool,
    /// No tool call of the model announced it.
    pub(crate) undeclared: bool,
    pub(crate) causes: Vec<CauseRow>,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) result: Pairs,
    /// 0: the user's own will; 1: content steered it.
    pub(crate) injected: f32,
    pub(crate) reasons: Vec<Text>,
    pub(crate) incomplete: Vec<Text>,
    pub(crate) anomalies: Vec<Text>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct CauseRow {
    pub(crate) id: Text,
    pub(crate) why: Text,
    pub(crate) confidence: f32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Argument {
    pub(crate) name: Text,
    pub(crate) value: Text,
    /// `user`, `system`, `tool_result`, `document`, `model`, or empty: not judged.
    pub(crate) origin: Text,
    /// The step whose content held the value.
    pub(crate) from: Text,
    /// That content can be written by third parties.
    pub(crate) untrusted: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct AlertRow {
    pub(crate) uid: Text,
    pub(crate) time: u64,
    pub(crate) severity: Text,
    pub(crate) proof: Text,
    pub(crate) count: u64,
    pub(crate) rule: Text,
    pub(crate) title: Text,
    pub(crate) workflow: Text,
    pub(crate) action: Text,
    pub(crate) agent: Text,
    pub(crate) agent_name: Text,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct AlertDetail {
    pub(crate) row: AlertRow,
    pub(crate) chain: Vec<LinkRow>,
    pub(crate) actor: Pairs,
    pub(crate) object: Pairs,
    pub(crate) matched: Pairs,
    pub(crate) state: Pairs,
    pub(crate) group: Pairs,
    pub(crate) tags: Vec<Text>,
    pub(crate) fix: Text,
    pub(crate) why: Text,
    pub(crate) condition: Text,
    pub(crate) rule_version: Text,
    pub(crate) pack: Text,
    pub(crate) pack_hash: Text,
    pub(crate) incomplete: Vec<Text>,
    /// The violating step and those whose content its arguments came from, while they are remembered.
    pub(crate) steps: Vec<Arc<StepRow>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LinkRow {
    pub(crate) id: Text,
    pub(crate) kind: Text,
    pub(crate) time: u64,
    pub(crate) summary: Text,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RuleRow {
    pub(crate) id: Text,
    pub(crate) title: Text,
    pub(crate) severity: Text,
    pub(crate) mode: Text,
    pub(crate) pack: Text,
    pub(crate) version: Text,
    pub(crate) hits: u64,
    pub(crate) shadow_hits: u64,
    pub(crate) last: u64,
    /// What the rule costs: steps that the index could not keep from it, keys that its block remembers, those that it gave up for others, and
    /// judgements that ended with the rule's budget.
    pub(crate) judged: u64,
    pub(crate) keys: u64,
    pub(crate) evicted: u64,
    pub(crate) over_budget: u64,
    pub(crate) condition: Text,
    pub(crate) tags: Vec<Text>,
    pub(crate) exceptions: Vec<ExceptionRow>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ExceptionRow {
    pub(crate) fields: Text,
    pub(crate) why: Text,
    /// Seconds since the epoch.
    pub(crate) until: Option<i64>,
    pub(crate) expired: bool,
}
