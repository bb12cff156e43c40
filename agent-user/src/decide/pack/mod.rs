//! A pack: one TOML file with vocabulary and rules. Strict: an unknown key, field, list or function is a fault with line and column.
//!
//! In: the text of a file. Out: [`Pack`], or every [`Fault`] that was found. What needs other packs to be judged (lists, required packs,
//! filters) is checked where packs are joined.

mod block;
mod lint;
mod operation;
mod raw;
mod read;
mod rule;
mod test;
mod vocabulary;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::event::Event;
use super::lang::{Expr, Grant, Node, Paths, Slot};
use super::ruleset::excepted;
use super::{RuleRef, Severity};
use crate::base::{Timestamp, Value};
use crate::understand::HostSources;

pub use lint::{Warning, bytes_per_key, lint};
pub use operation::{Operation, Pattern, Source, Target};
pub use read::{duration, read};
pub(crate) use test::moment;

/// A fault of a rule file: `file:line:column: reason`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.reason)
    }
}

/// A pack as written and checked.
#[derive(Clone, Debug)]
pub struct Pack {
    pub name: Arc<str>,
    pub version: Arc<str>,
    /// SHA-256 of the file, hex.
    pub hash: Arc<str>,
    pub file: String,
    /// Packs that must be there, too, with the place that says so.
    pub requires: Vec<(String, Fault)>,
    pub lists: BTreeMap<String, NamedList>,
    pub operations: Vec<Operation>,
    pub identities: Vec<HostSources>,
    pub grants: Vec<Grant>,
    pub filters: Vec<Filter>,
    pub rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
pub struct NamedList {
    pub values: Vec<Value>,
    pub line: usize,
    /// Adds to the list of that name in another pack instead of replacing it.
    pub append: bool,
}

/// An exclusion for named rules.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Globs over rule ids, each with the fault to tell when no rule has such an id.
    pub rules: Vec<(String, Fault)>,
    pub exception: Exception,
}

/// Field values that make a match no violation.
#[derive(Clone, Debug)]
pub struct Exception {
    pub fields: Vec<(String, Value)>,
    pub why: Option<String>,
    /// Seconds since the epoch after which it no longer holds.
    pub until: Option<i64>,
    /// Who answers for it.
    pub by: Option<String>,
    pub line: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Alert,
    Shadow,
    Off,
}

#[derive(Clone, Debug)]
pub struct Rule {
    pub reference: Arc<RuleRef>,
    pub severity: Severity,
    pub when: Option<Condition>,
    pub block: Option<Block>,
    pub except: Vec<Exception>,
    pub tags: Vec<Arc<str>>,
    pub fix: Arc<str>,
    pub why: Arc<str>,
    pub false_positives: Arc<str>,
    pub mode: Mode,
    /// Its block reads what only the answer brings.
    pub waits: bool,
    pub group: Vec<String>,
    pub quiet: Duration,
    pub tests: Vec<Test>,
    /// Keys that its block remembers at most.
    pub max_keys: usize,
    pub line: usize,
}

impl Rule {
    /// True when an exception holds for the event at that time.
    pub(super) fn exempts(&self, event: &Event<'_>, now: Timestamp) -> bool {
        let seconds = i64::try_from(now.0 / 1_000_000_000).unwrap_or(i64::MAX);
        self.except.iter().any(|exception| excepted(exception, event, seconds))
    }

    /// Every condition it has, the one of `when` first.
    pub fn conditions(&self) -> Vec<&Condition> {
        let block: Vec<&Condition> = match &self.block {
            Some(Block::Sequence { steps, without, .. }) => steps.iter().chain(without).collect(),
            Some(Block::Needs { earlier, voided_by, .. }) => std::iter::once(earlier).chain(voided_by).collect(),
            Some(Block::Then { later, .. }) => vec![later],
            Some(Block::Flow { from, to, .. }) => vec![from, to],
            Some(Block::Count { without, .. }) => without.iter().collect(),
            Some(Block::Distinct { .. } | Block::Sum { .. } | Block::Owned { .. } | Block::Drift { .. }) | None => Vec::new(),
        };
        self.when.iter().chain(block).collect()
    }

    pub(super) fn conditions_mut(&mut self) -> Vec<&mut Condition> {
        let block: Vec<&mut Condition> = match &mut self.block {
            Some(Block::Sequence { steps, without, .. }) => steps.iter_mut().chain(without).collect(),
            Some(Block::Needs { earlier, voided_by, .. }) => std::iter::once(earlier).chain(voided_by).collect(),
            Some(Block::Then { later, .. }) => vec![later],
            Some(Block::Flow { from, to, .. }) => vec![from, to],
            Some(Block::Count { without, .. }) => without.iter_mut().collect(),
            Some(Block::Distinct { .. } | Block::Sum { .. } | Block::Owned { .. } | Block::Drift { .. }) | None => Vec::new(),
        };
        self.when.iter_mut().chain(block).collect()
    }
}

/// An expression with what it reads.
#[derive(Clone, Debug)]
pub struct Condition {
    pub text: String,
    pub expression: Expr,
    /// Compiled with the lists of the rule set it was joined into.
    pub program: Node,
    /// Lists that it names, each with the fault to tell when no pack defines it.
    pub lists: Vec<(String, Fault)>,
    pub fields: Vec<String>,
    /// It can be judged only when the answer is in.
    pub reads_answer: bool,
    /// It asks what was seen before.
    pub remembers: bool,
}

/// The fields that join or group the events of a block. Events that play different parts in it (steps, what needs and what is needed)
/// may carry the same thing under different names.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Names by part; one list where all parts share them.
    parts: Vec<Vec<String>>,
    /// Where the rule set reads them.
    slots: Vec<Box<[Slot]>>,
}

impl Keys {
    pub(super) fn new(parts: Vec<Vec<String>>) -> Keys {
        debug_assert!(!parts.is_empty(), "a list of no names is one part");
        Keys { parts, slots: Vec::new() }
    }

    /// As an event of that part names them.
    pub fn names(&self, part: usize) -> &[String] {
        &self.parts[part.min(self.parts.len() - 1)]
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &String> {
        self.parts.iter().flatten()
    }

    /// Names differ from part to part.
    pub(super) fn differ(&self) -> bool {
        self.parts.len() > 1
    }

    pub(super) fn compile(&mut self, paths: &mut Paths) {
        self.slots = self.parts.iter().map(|names| names.iter().map(|name| paths.key(name)).collect()).collect();
    }

    pub(super) fn slots(&self, part: usize) -> &[Slot] {
        &self.slots[part.min(self.slots.len() - 1)]
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|names| write!(f, "{names:?}"))
    }
}

/// What a rule remembers between events.
#[derive(Clone, Debug)]
pub enum Block {
    /// `without` begins anew when it holds.
    Count {
        by: Keys,
        within: Duration,
        over: u64,
        without: Option<Condition>,
    },
    Distinct {
        of: Keys,
        by: Keys,
        within: Duration,
        over: u64,
    },
    Sum {
        of: Keys,
        by: Keys,
        within: Duration,
        over: f64,
    },
    Sequence {
        steps: Vec<Condition>,
        same: Keys,
        within: Duration,
        without: Option<Condition>,
        ordered: bool,
    },
    Needs {
        earlier: Condition,
        same: Keys,
        within: Duration,
        use_once: bool,
        voided_by: Option<Condition>,
    },
    Then {
        later: Condition,
        same: Keys,
        within: Duration,
    },
    Owned {
        object: String,
        by: Keys,
        unknown: bool,
        learn: Duration,
    },
    Flow {
        from: Condition,
        to: Condition,
        within: Duration,
        overlap: usize,
        kind: Match,
        not_from: Vec<String>,
    },
    Drift {
        of: Keys,
        key: Keys,
        learn: Duration,
        alert: Drift,
    },
}

impl Block {
    /// The fields that it joins, groups or compares by.
    pub(super) fn keys_mut(&mut self) -> Vec<&mut Keys> {
        match self {
            Block::Count { by, .. } | Block::Owned { by, .. } => vec![by],
            Block::Distinct { of, by, .. } | Block::Sum { of, by, .. } => vec![of, by],
            Block::Sequence { same, .. } | Block::Needs { same, .. } | Block::Then { same, .. } => vec![same],
            Block::Drift { of, key, .. } => vec![of, key],
            Block::Flow { .. } => Vec::new(),
        }
    }

    /// As a rule file names it.
    pub fn name(&self) -> &'static str {
        match self {
            Block::Count { .. } => "count",
            Block::Distinct { .. } => "distinct",
            Block::Sum { .. } => "sum",
            Block::Sequence { .. } => "sequence",
            Block::Needs { .. } => "needs",
            Block::Then { .. } => "then",
            Block::Owned { .. } => "owned",
            Block::Flow { .. } => "flow",
            Block::Drift { .. } => "drift",
        }
    }
}

/// Which traces of a content `flow` compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    Any,
    /// Whole values only.
    Values,
    /// Passages of long texts only.
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    New,
    Changed,
    Rare,
}

#[derive(Clone, Debug)]
pub struct Test {
    pub name: String,
    pub events: Vec<Value>,
    pub alerts: usize,
    /// Fields of the alerts, in their order: dotted names and what they must be.
    pub expect: Vec<Vec<(String, Value)>>,
    pub line: usize,
}
