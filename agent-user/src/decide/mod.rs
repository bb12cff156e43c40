//! **decide**: a step and the rules become [`Alert`]s with proof and a fix.
//!
//! In: [`Step`] and a compiled [`RuleSet`]. Out: [`Alert`]. Pure and total: what can go wrong is found when rules are loaded.

mod builtin;
mod engine;
mod event;
pub mod explain;
mod index;
pub mod lang;
pub mod pack;
mod ruleset;
mod search;
mod state;
mod step;
pub mod trial;

use std::sync::Arc;

use crate::base::{ActionId, Incomplete, Timestamp, Value};
use crate::correlate::WorkflowId;

pub use builtin::{builtin, sources};
pub use engine::{Counts, Decide};
pub use event::Event;
pub use ruleset::RuleSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

/// What the answer proves: refused or unanswered, served (2xx), or no answer is possible for this kind of step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Proof {
    None,
    Attempted,
    Served,
}

impl Proof {
    pub fn name(self) -> &'static str {
        match self {
            Proof::None => "none",
            Proof::Attempted => "attempted",
            Proof::Served => "served",
        }
    }
}

/// The part of a rule that an alert carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleRef {
    pub id: Arc<str>,
    pub title: Arc<str>,
    pub version: Arc<str>,
    pub pack: Arc<str>,
    pub pack_hash: Arc<str>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    pub action: ActionId,
    pub kind: &'static str,
    pub time: Timestamp,
    pub summary: String,
}

/// A violation. The same `uid` again is an update: better proof, higher count.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    pub uid: Arc<str>,
    pub time: Timestamp,
    pub rule: Arc<RuleRef>,
    pub severity: Severity,
    pub proof: Proof,
    /// Values of the group keys.
    pub group: Value,
    pub count: u64,
    pub workflow: WorkflowId,
    pub action: ActionId,
    pub chain: Vec<Link>,
    pub actor: Value,
    pub object: Value,
    /// The fields that the condition read, with their values, redacted.
    pub matched: Value,
    pub state: Value,
    pub tags: Vec<Arc<str>>,
    pub fix: Arc<str>,
    pub incomplete: Vec<Incomplete>,
    /// Evaluated and counted, not delivered.
    pub shadow: bool,
}
