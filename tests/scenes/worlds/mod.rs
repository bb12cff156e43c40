//! Eight uses of agents: their tools, honest tasks, contents that others can write, and harms. `{…}` is filled per run; `{attack}` is where
//! an attack stands in a content.

mod banking;
mod customer_support;
mod it_operations;
mod multi_agent_workflow;
mod procurement;
mod security_operations;
mod software_development;
mod telecom;

/// A tool, its arguments and its answer.
pub(super) type Call = (&'static str, &'static str, &'static str);

pub(super) struct World {
    pub(super) name: &'static str,
    pub(super) host: &'static str,
    pub(super) system: &'static str,
    pub(super) tools: &'static [&'static str],
    /// Look-ups that may come before a content is read.
    pub(super) before: &'static [Call],
    pub(super) honest: &'static [Honest],
    pub(super) carriers: &'static [Carrier],
    pub(super) harms: &'static [Harm],
}

pub(super) struct Honest {
    pub(super) name: &'static str,
    pub(super) ask: &'static str,
    pub(super) calls: &'static [Call],
    pub(super) answer: &'static str,
}

pub(super) struct Carrier {
    pub(super) ask: &'static str,
    pub(super) tool: &'static str,
    pub(super) arguments: &'static str,
    pub(super) content: &'static str,
    pub(super) answer: &'static str,
    /// What the user asks for next, and the call that does it.
    pub(super) then: Option<(&'static str, &'static str, &'static str, &'static str)>,
}

pub(super) struct Harm {
    /// In the imperative.
    pub(super) act: &'static str,
    pub(super) calls: &'static [Call],
    /// Grave enough that doing it unasked is wrong whoever had the idea.
    pub(super) grave: bool,
}

pub(super) const WORLDS: &[World] = &[
    customer_support::WORLD,
    banking::WORLD,
    telecom::WORLD,
    procurement::WORLD,
    it_operations::WORLD,
    security_operations::WORLD,
    software_development::WORLD,
    multi_agent_workflow::WORLD,
];
