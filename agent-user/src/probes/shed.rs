//! One process that says more than can be worked through must not hold up the others: while the daemon is late, each process has an
//! allowance, and what it says beyond is given up, and told as lost.
//!
//! In: events of the ring in their order. Out: the same, with chunks beyond the allowance turned into losses, and the allowance that
//! the kernel side is to hold processes to, halved while it is late and raised again when it is not.

use std::collections::HashMap;
use std::time::Duration;

use agent_wire::Account;

use crate::base::LossCause;
use crate::capture::ring::{Event, What};

/// An event that waited longer is late.
const LATE: u64 = Duration::from_millis(150).as_nanos() as u64;

/// So long may all be late before anything is given up: a burst, or what came while the daemon was paused, is caught up with.
const PATIENCE: u64 = Duration::from_millis(300).as_nanos() as u64;

/// An event that waited less is in time.
const IN_TIME: u64 = Duration::from_millis(20).as_nanos() as u64;

/// Between two cuts of the allowance, and between two raises.
const CUT: u64 = Duration::from_millis(60).as_nanos() as u64;
const RAISE: u64 = Duration::from_millis(250).as_nanos() as u64;

/// Allowances in bytes a while ([`agent_wire::WHILE`]): the first, the least, and one above which none is needed. The least is some fifty
/// calls of a model a second.
const FIRST: u64 = 256 << 10;
const LEAST: u64 = 64 << 10;
const ENOUGH: u64 = 16 << 20;

#[derive(Default)]
pub(super) struct Shed {
    late_since: Option<u64>,
    turned: u64,
    /// 0: as much as finds room.
    allowance: u64,
    accounts: HashMap<u32, Account>,
    /// Chunks and bytes that were given up here; the kernel side counts its own.
    pub(super) given_up: (u64, u64),
}

impl Shed {
    /// How long the event that is looked at now has waited, on the clock of the events (ns); gives the allowance when it changes.
    pub(super) fn pace(&mut self, time: u64, now: u64) -> Option<u64> {
        let waited = now.saturating_sub(time);
        let before = self.allowance;
        if waited > LATE {
            let since = *self.late_since.get_or_insert(now);
            if before == 0 {
                if now.saturating_sub(since) > PATIENCE {
                    (self.allowance, self.turned) = (FIRST, now);
                }
            } else if now.saturating_sub(self.turned) > CUT {
                (self.allowance, self.turned) = ((before / 2).max(LEAST), now);
            }
        } else {
            self.late_since = None;
            if before > 0 && waited < IN_TIME && now.saturating_sub(self.turned) > RAISE {
                (self.allowance, self.turned) = (before + before / 4, now);
                if self.allowance > ENOUGH {
                    self.allowance = 0;
                    self.accounts.clear();
                }
            }
        }
        (self.allowance != before).then_some(self.allowance)
    }

    /// What is late was let in before the allowance was what it is now.
    pub(super) fn look(&mut self, event: &mut Event, now: u64) {
        let What::Chunk { object, dir, ref data, .. } = event.what else { return };
        if self.allowance == 0 || now.saturating_sub(event.time) <= LATE {
            return;
        }
        let bytes = data.len() as u64;
        if !self.accounts.entry(event.tgid).or_default().admits(event.time, bytes, self.allowance) {
            self.given_up.0 += 1;
            self.given_up.1 += bytes;
            event.what = What::Lost { object, dir, bytes, cause: LossCause::RingFull };
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::base::Direction;
    use crate::capture::Source;
    use crate::capture::ring::Object;

    const SECOND: u64 = 1_000_000_000;

    /// A process (its number, bytes a chunk) says a chunk each millisecond for ten seconds beside others, and is heard so much later;
    /// gives what was lost of each, and the last allowance.
    fn lost(processes: &[(u32, usize)], late: impl Fn(u64) -> u64) -> (Vec<u64>, u64) {
        let mut shed = Shed::default();
        let mut lost = vec![0; processes.len()];
        for time in (10 * SECOND..20 * SECOND).step_by(1_000_000) {
            let now = time + late(time - 10 * SECOND);
            shed.pace(time, now);
            for (at, (tgid, length)) in processes.iter().enumerate() {
                let what = What::Chunk {
                    object: Object { address: 1, generation: 1 },
                    dir: Direction::Out,
                    offset: 0,
                    fd: 3,
                    source: Source::Openssl,
                    server: false,
                    data: Bytes::from(vec![0; *length]),
                };
                let mut event = Event { time, tgid: *tgid, tid: *tgid, what };
                shed.look(&mut event, now);
                if let What::Lost { bytes, .. } = event.what {
                    lost[at] += bytes;
                }
            }
        }
        (lost, shed.allowance)
    }

    #[test]
    fn only_the_loud_lose_and_only_while_it_is_late() {
        let (loud, quiet) = ((1, 16 << 10), (2, 100));
        assert_eq!(lost(&[loud, quiet], |_| SECOND / 10), (vec![0, 0], 0), "in time");
        assert_eq!(lost(&[loud, quiet], |at| if at < SECOND / 4 { SECOND } else { 0 }), (vec![0, 0], 0), "a burst");
        let (both, allowance) = lost(&[loud, quiet], |_| SECOND);
        assert!(both[0] > 100 << 20 && both[1] == 0 && allowance == LEAST, "late: {both:?} {allowance}");
        assert_eq!(lost(&[quiet, (3, 100)], |_| SECOND).0, [0, 0], "late without anybody loud");
        let (three, _) = lost(&[loud, (4, 16 << 10), quiet], |_| SECOND);
        assert!(three[0] > 100 << 20 && three[1] > 100 << 20 && three[2] == 0, "two are loud: {three:?}");
        let (_, allowance) = lost(&[loud, quiet], |at| if at < SECOND { SECOND } else { 0 });
        assert_eq!(allowance, 0, "in time again");
    }
}
