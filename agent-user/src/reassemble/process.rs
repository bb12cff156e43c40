//! Which process a pid means at this moment: pids are used again, so each use is a generation with its own key.
//!
//! In: the process records in order. Out: [`ProcessKey`]s.

use std::collections::HashMap;
use std::time::Duration;

use crate::base::limits::PROCESSES;
use crate::base::{LossCause, ProcessKey, Timestamp};

/// The kernel's start time and the time of the first record about a process differ by scheduling only.
const START_SLACK: Duration = Duration::from_millis(100);

#[derive(Default)]
pub(super) struct Processes {
    by_pid: HashMap<u32, Generation>,
}

struct Generation {
    key: ProcessKey,
    first_seen: Timestamp,
    last_seen: Timestamp,
    start: Option<u64>,
    over: bool,
    loss: Option<LossCause>,
}

impl Processes {
    /// The process that `pid` means now; a record about it is proof that it exists.
    pub(super) fn key(&mut self, pid: u32, ts: Timestamp) -> ProcessKey {
        match self.by_pid.get_mut(&pid) {
            Some(generation) if !generation.over => {
                generation.last_seen = ts;
                generation.key
            }
            _ => self.begin(pid, ts, None),
        }
    }

    /// An exec keeps the process; a start time that cannot be this one's shows that the pid was used again.
    pub(super) fn exec(&mut self, pid: u32, start: Option<u64>, ts: Timestamp) -> ProcessKey {
        let Some(generation) = self.by_pid.get_mut(&pid).filter(|generation| !generation.over) else {
            return self.begin(pid, ts, start);
        };
        let same = match (start, generation.start) {
            (None, _) => true,
            (Some(start), Some(known)) => start == known,
            (Some(start), None) => start <= generation.first_seen.plus(START_SLACK).0,
        };
        if !same {
            return self.begin(pid, ts, start);
        }
        generation.start = generation.start.or(start);
        generation.last_seen = ts;
        generation.key
    }

    /// A fork makes a new process, unless a record of the child overtook this one.
    pub(super) fn fork(&mut self, pid: u32, ts: Timestamp) -> ProcessKey {
        match self.by_pid.get(&pid) {
            Some(generation) if !generation.over && generation.first_seen.plus(START_SLACK) >= ts => generation.key,
            _ => self.begin(pid, ts, Some(ts.0)),
        }
    }

    pub(super) fn exit(&mut self, pid: u32, ts: Timestamp) -> ProcessKey {
        let key = self.key(pid, ts);
        if let Some(generation) = self.by_pid.get_mut(&pid) {
            generation.over = true;
        }
        key
    }

    pub(super) fn lose(&mut self, pid: u32, ts: Timestamp, cause: &LossCause) {
        self.key(pid, ts);
        if let Some(generation) = self.by_pid.get_mut(&pid) {
            generation.loss = Some(cause.clone());
        }
    }

    pub(super) fn loss(&self, pid: u32) -> Option<&LossCause> {
        self.by_pid.get(&pid)?.loss.as_ref()
    }

    /// `start` zero stands for a process that was there before us; only the first of a pid can be.
    fn begin(&mut self, pid: u32, ts: Timestamp, start: Option<u64>) -> ProcessKey {
        let used_before = self.by_pid.contains_key(&pid);
        let key = ProcessKey { pid, start: start.unwrap_or(if used_before { ts.0 } else { 0 }) };
        // A forked child's exact start comes with its exec.
        let start = start.filter(|&start| start != ts.0);
        let generation = Generation { key, first_seen: ts, last_seen: ts, start, over: false, loss: None };
        self.by_pid.insert(pid, generation);
        if self.by_pid.len() > PROCESSES {
            self.forget_oldest();
        }
        key
    }

    /// Drops a sixteenth at once, so that a fork storm does not pay for a search each time.
    fn forget_oldest(&mut self) {
        let mut ages: Vec<(bool, Timestamp, u32)> =
            self.by_pid.iter().map(|(&pid, generation)| (!generation.over, generation.last_seen, pid)).collect();
        ages.sort_unstable();
        for (_, _, pid) in ages.into_iter().take(PROCESSES / 16) {
            self.by_pid.remove(&pid);
        }
    }
}
