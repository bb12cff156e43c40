//! What waits for the disk: alerts, and behind them evidence.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::{Entry, EntryKind};
use crate::base::limits::{ALERTS_WAITING, EVIDENCE_WAITING};

/// Entries taken at once.
const GROUP: usize = 1024;

#[derive(Default)]
pub(super) struct Lanes {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    alerts: VecDeque<Entry>,
    evidence: VecDeque<Entry>,
    lost: Lost,
    closed: bool,
}

/// What did not fit since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lost {
    pub(super) alerts: u64,
    pub(super) evidence: u64,
}

impl Lanes {
    /// False when the lane is full: the entry is given up and counted.
    pub(super) fn push(&self, entry: Entry) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = match entry.kind {
            EntryKind::Evidence => state.evidence.len() < EVIDENCE_WAITING,
            EntryKind::Alert | EntryKind::Gap | EntryKind::Heartbeat => state.alerts.len() < ALERTS_WAITING,
        };
        match (entry.kind, fits) {
            (EntryKind::Evidence, true) => state.evidence.push_back(entry),
            (EntryKind::Evidence, false) => state.lost.evidence += 1,
            (EntryKind::Alert | EntryKind::Gap | EntryKind::Heartbeat, true) => state.alerts.push_back(entry),
            (EntryKind::Alert | EntryKind::Gap | EntryKind::Heartbeat, false) => state.lost.alerts += 1,
        }
        drop(state);
        self.wake.notify_one();
        fits
    }

    pub(super) fn close(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.wake.notify_one();
    }

    /// Everything that waits, alerts first, at most a group; empty after `longest`, and for good when closed. `None`: the end.
    pub(super) fn take(&self, longest: Duration, evidence: bool) -> Option<(Vec<Entry>, Lost)> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |state: &mut State| {
            state.alerts.is_empty() && (state.evidence.is_empty() || !evidence) && state.lost == Lost::default() && !state.closed
        };
        let mut state = self.wake.wait_timeout_while(state, longest, idle).unwrap_or_else(PoisonError::into_inner).0;
        let count = state.alerts.len().min(GROUP);
        let mut group: Vec<Entry> = state.alerts.drain(..count).collect();
        if evidence {
            let count = state.evidence.len().min(GROUP - count);
            group.extend(state.evidence.drain(..count));
        }
        let lost = std::mem::take(&mut state.lost);
        if group.is_empty() && lost == Lost::default() && state.closed { None } else { Some((group, lost)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: EntryKind, number: u64) -> Entry {
        Entry { kind, time: number, uid: String::new(), revision: 0, json: String::new() }
    }

    #[test]
    fn alerts_go_first_and_full_lanes_count() {
        let lanes = Lanes::default();
        for number in 0..=EVIDENCE_WAITING as u64 {
            assert_eq!(lanes.push(entry(EntryKind::Evidence, number)), number < EVIDENCE_WAITING as u64);
        }
        for number in 0..=ALERTS_WAITING as u64 {
            assert_eq!(lanes.push(entry(EntryKind::Alert, number)), number < ALERTS_WAITING as u64);
        }
        let (mut alerts, mut evidence, mut lost) = (0, 0, Lost::default());
        lanes.close();
        while let Some((group, more)) = lanes.take(Duration::ZERO, true) {
            lost = Lost { alerts: lost.alerts + more.alerts, evidence: lost.evidence + more.evidence };
            for entry in group {
                match entry.kind {
                    EntryKind::Evidence => evidence += 1,
                    _ => {
                        assert_eq!(evidence, 0, "an alert behind evidence");
                        alerts += 1;
                    }
                }
            }
        }
        assert_eq!((alerts, evidence), (ALERTS_WAITING, EVIDENCE_WAITING));
        assert_eq!(lost, Lost { alerts: 1, evidence: 1 });
    }
}
