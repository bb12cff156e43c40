//! One process that says more than can be worked through must not hold up the others, and to work it through must not take the time of
//! those who are watched: while the daemon is late, or takes more than its share of a host without an idle processor, each process has
//! an allowance, and what it says beyond is given up, and told as lost.
//!
//! In: events of the ring in their order, and what share the daemon took ([`super::share`]). Out: the same events, with chunks beyond the
//! allowance turned into losses, and the allowance that the kernel side is to hold processes to, cut meanwhile and raised again later.

use std::collections::HashMap;
use std::time::Duration;

use agent_wire::{Account, WHILE};

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

/// The least for a daemon that is in time and takes too much: about a megabyte a second.
const CROWDED_LEAST: u64 = 256 << 10;

/// It raises the allowance again below this part of its share.
const CONTENT: f64 = 0.7;

#[derive(Default)]
pub(super) struct Shed {
    late_since: Option<u64>,
    turned: u64,
    /// 0: as much as finds room.
    allowance: u64,
    /// The daemon took about its share of a busy host.
    crowded: bool,
    /// Bytes, and since when they were counted.
    read: (u64, u64),
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
            if before > 0 && !self.crowded && waited < IN_TIME && now.saturating_sub(self.turned) > RAISE {
                (self.allowance, self.turned) = (before + before / 4, now);
                if self.allowance > ENOUGH {
                    self.allowance = 0;
                    self.accounts.clear();
                }
            }
        }
        (self.allowance != before).then_some(self.allowance)
    }

    /// How many times its share of a busy host the daemon took; gives the allowance when it changes. `now` in ns.
    pub(super) fn spend(&mut self, taken: f64, now: u64) -> Option<u64> {
        let (read, since) = std::mem::replace(&mut self.read, (0, now));
        self.crowded = taken > CONTENT;
        if taken <= 1.0 {
            return None;
        }
        let before = self.allowance;
        // As if one had said all of it: it did, or the next look cuts deeper.
        let said = || (u128::from(read) << WHILE) / u128::from(now.saturating_sub(since).max(1));
        let (allowed, least) = match before {
            0 => (u64::try_from(said()).unwrap_or(u64::MAX), CROWDED_LEAST),
            // What was cut to less because the daemon was late stays so.
            before => (before, CROWDED_LEAST.min(before)),
        };
        self.allowance = ((allowed as f64 / taken) as u64).max(least);
        self.turned = now;
        (self.allowance != before).then_some(self.allowance)
    }

    /// What is late was let in before the allowance was what it is now.
    pub(super) fn look(&mut self, event: &mut Event, now: u64) {
        let What::Chunk { object, dir, ref data, .. } = event.what else { return };
        let bytes = data.len() as u64;
        self.read.0 += bytes;
        if self.allowance == 0 || now.saturating_sub(event.time) <= LATE {
            return;
        }
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

    /// One process that says 64 MiB a while, and a daemon that needs so much of its share for each MiB that it reads in a while, looked at
    /// five times a second for twenty seconds; gives the allowance after each look.
    fn crowded(share: f64) -> Vec<u64> {
        const LOOK: usize = 200_000_000;
        let mut shed = Shed::default();
        let mut seen = Vec::new();
        for now in (10 * SECOND..30 * SECOND).step_by(LOOK) {
            let read = if shed.allowance == 0 { 64 << 20 } else { shed.allowance };
            shed.read = ((read * LOOK as u64) >> WHILE, now - LOOK as u64);
            shed.spend(share * read as f64 / f64::from(1 << 20), now);
            shed.pace(now, now);
            seen.push(shed.allowance);
        }
        seen
    }

    #[test]
    fn a_busy_host_is_left_to_those_who_work_on_it() {
        assert_eq!(crowded(0.01), vec![0; 100], "little is taken: nothing is given up");
        let settled = crowded(0.4)[5..].to_vec();
        assert!(settled.iter().all(|allowance| (1 << 20..=5 << 19).contains(allowance)), "about its share: {settled:?}");
        assert_eq!(crowded(100.0)[99], CROWDED_LEAST, "so much everybody may say");
        let mut shed = Shed { allowance: LEAST, ..Shed::default() };
        assert_eq!(shed.spend(10.0, SECOND), None, "late and crowded: the lower allowance stays");
        shed.spend(0.0, 2 * SECOND);
        assert_eq!(shed.pace(3 * SECOND, 3 * SECOND), Some(LEAST + LEAST / 4), "an idle processor: raised again");
    }
}
