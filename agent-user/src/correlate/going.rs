//! What goes on after a restart of the daemon: no number is given twice, and a process that still runs is who it was, in its workflow.
//!
//! A process that was seen to start has the time of its fork; one that is met while it runs has the tick in which the kernel made it. Both
//! name the same process where they are near and the number is the same.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::WorkflowId;
use crate::base::{ProcessKey, Timestamp};

/// Furthest that both times of one process are apart: a tick, and what comes between a process and the word of it.
const NEAR: Duration = Duration::from_millis(50);

/// What a restart must not forget.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Going {
    pub(super) last_workflow: u64,
    pub(super) processes: Vec<Process>,
}

/// A process and the workflow that it was in last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) start: u64,
    pub(super) workflow: u64,
    pub(super) last: Timestamp,
    /// It talks to a model.
    pub(super) agent: bool,
}

/// The processes of before a restart.
#[derive(Default)]
pub(super) struct Former {
    by_pid: HashMap<u32, Process>,
}

impl Former {
    pub(super) fn new(processes: Vec<Process>) -> Former {
        Former { by_pid: processes.into_iter().map(|process| (process.pid, process)).collect() }
    }

    fn find(&self, key: ProcessKey) -> Option<&Process> {
        let near = |process: &&Process| Duration::from_nanos(process.start.abs_diff(key.start)) <= NEAR;
        self.by_pid.get(&key.pid).filter(near)
    }

    /// The process by the name that it had.
    pub(super) fn name(&self, key: ProcessKey) -> ProcessKey {
        self.find(key).map_or(key, |process| ProcessKey { start: process.start, ..key })
    }

    pub(super) fn is_agent(&self, key: ProcessKey) -> bool {
        self.find(key).is_some_and(|process| process.agent)
    }

    /// The workflow that it was in no longer than `quiet` ago.
    pub(super) fn workflow(&self, key: ProcessKey, now: Timestamp, quiet: Duration) -> Option<WorkflowId> {
        self.find(key).filter(|process| now.since(process.last) <= quiet).map(|process| WorkflowId(process.workflow))
    }

    pub(super) fn forget(&mut self, pid: u32) {
        self.by_pid.remove(&pid);
    }

    /// Those that are still to be told of at the next restart.
    pub(super) fn all(&self) -> impl Iterator<Item = &Process> {
        self.by_pid.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_who_it_was_where_number_and_start_agree() {
        const START: u64 = 1_790_000_000_123_456_789;
        let last = Timestamp(START).plus(Duration::from_secs(60));
        let former = Former::new(vec![Process { pid: 7, start: START, workflow: 3, last, agent: true }]);
        let met = START / 10_000_000 * 10_000_000;
        let quiet = Duration::from_secs(900);
        for (pid, start, after, known, workflow) in [
            (7, met, 1, true, Some(WorkflowId(3))),
            (7, START, 1, true, Some(WorkflowId(3))),
            (7, met, 1000, true, None),
            (7, met + 1_000_000_000, 1, false, None),
            (8, met, 1, false, None),
        ] {
            let key = ProcessKey { pid, start };
            assert_eq!(former.name(key), if known { ProcessKey { pid, start: START } } else { key }, "{key:?}");
            assert_eq!(former.is_agent(key), known, "{key:?}");
            assert_eq!(former.workflow(key, last.plus(Duration::from_secs(after)), quiet), workflow, "{key:?} {after}");
        }
    }
}
