//! One sink's thread: reads what is durable, delivers, acknowledges; waits with jitter after troubles; breaks the circuit of a receiver
//! that fails again and again; buries what is refused for good.

use std::hash::{BuildHasher, Hasher};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::dead::DeadLetters;
use super::{Entry, EntryKind, Outlet, SinkCounters, Tide, gap};
use crate::decode::json;
use crate::deliver::journal::{Cursor, Read, Sequence};
use crate::deliver::sink::{Fate, Parcel, Trouble, TroubleKind};

/// The pause after a trouble: anything up to this, doubled each time up to [`RETRY_MOST`] (full jitter).
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MOST: Duration = Duration::from_secs(30);

/// Longest that a receiver's own wish is honoured.
const WISH_MOST: Duration = Duration::from_secs(300);

/// Troubles in a row after which the circuit is broken: single records are tried until one arrives.
const BREAK_AFTER: u32 = 5;

/// An idle sink looks at the journal this often.
const IDLE: Duration = Duration::from_secs(1);

pub(super) struct Driver {
    cursor: Cursor,
    outlet: Outlet,
    dead: DeadLetters,
    seen: Arc<SinkCounters>,
    tide: Arc<Tide>,
    /// Read, not taken by the receiver yet.
    pending: Vec<Parcel>,
    /// The last record read, whether this sink wants it or not.
    read: Option<Sequence>,
    /// A refused batch is tried one by one until this record.
    single_until: Sequence,
    troubles: u32,
}

impl Driver {
    pub(super) fn new(cursor: Cursor, outlet: Outlet, folder: &Path, seen: Arc<SinkCounters>, tide: Arc<Tide>) -> Driver {
        let dead = DeadLetters::new(folder, &outlet.name);
        Driver { cursor, outlet, dead, seen, tide, pending: Vec::new(), read: None, single_until: Sequence(0), troubles: 0 }
    }

    pub(super) fn run(mut self) {
        loop {
            let (durable, ended) =
                self.tide.wait(self.cursor.position(), if self.pending.is_empty() { IDLE } else { Duration::ZERO });
            let pause = match self.round(durable) {
                Ok(more) if more => continue,
                Ok(_) => None,
                Err(trouble) => Some(self.pause(&trouble)),
            };
            if ended || pause.is_some_and(|pause| self.tide.ended_within(pause) && self.last_try()) {
                return;
            }
        }
    }

    /// The daemon ends while this sink waits after a trouble: one more try, then the rest waits in the journal.
    fn last_try(&mut self) -> bool {
        let (durable, _) = self.tide.wait(self.cursor.position(), Duration::ZERO);
        while self.round(durable).is_ok_and(|more| more) {}
        true
    }

    /// One delivery; true when there may be more to do at once.
    fn round(&mut self, durable: Sequence) -> Result<bool, Trouble> {
        if self.pending.is_empty() {
            self.fill(durable).map_err(|error| Trouble { kind: TroubleKind::Later(None), why: error.to_string() })?;
        }
        self.measure(durable);
        if self.pending.is_empty() {
            self.settle()?;
            return Ok(false);
        }
        let count = if self.single() { 1 } else { self.pending.len() };
        let fates = match self.outlet.sink.deliver(&self.pending[..count]) {
            Ok(fates) => fates,
            Err(Trouble { kind: TroubleKind::Refused, why }) if count == 1 => vec![Fate::Refused(why)],
            Err(Trouble { kind: TroubleKind::Refused, .. }) => {
                self.single_until = self.pending[count - 1].sequence;
                return Ok(true);
            }
            Err(trouble) => return Err(trouble),
        };
        self.conclude(&fates)
    }

    fn single(&self) -> bool {
        self.troubles >= BREAK_AFTER || self.pending[0].sequence <= self.single_until && self.single_until.0 > 0
    }

    fn conclude(&mut self, fates: &[Fate]) -> Result<bool, Trouble> {
        let mut later = Vec::new();
        for (number, parcel) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            match fates.get(number) {
                Some(Fate::Delivered) => {
                    self.seen.delivered.fetch_add(1, Ordering::Relaxed);
                    self.seen.bytes.fetch_add(parcel.text.len() as u64, Ordering::Relaxed);
                }
                Some(Fate::Refused(reason)) => match self.dead.put(&parcel, reason) {
                    Ok(()) => {
                        self.seen.dead.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(_) => later.push(parcel),
                },
                Some(Fate::Later) | None => later.push(parcel),
            }
        }
        self.pending = later;
        let some_later = fates.contains(&Fate::Later);
        if some_later && fates.iter().all(|fate| *fate == Fate::Later) {
            return Err(Trouble { kind: TroubleKind::Later(None), why: "nothing was taken".into() });
        }
        self.troubles = 0;
        self.seen.broken.store(false, Ordering::Relaxed);
        self.settle()?;
        if some_later {
            return Err(Trouble { kind: TroubleKind::Later(None), why: "some records were not taken".into() });
        }
        Ok(true)
    }

    /// Moves the durable position to before the oldest record that still waits.
    fn settle(&mut self) -> Result<(), Trouble> {
        let done = match self.pending.first() {
            Some(first) => first.sequence.0.checked_sub(1).map(Sequence),
            None => self.read,
        };
        if let Some(done) = done {
            self.cursor.acknowledge(done)?;
        }
        Ok(())
    }

    fn pause(&mut self, trouble: &Trouble) -> Duration {
        self.troubles = self.troubles.saturating_add(1);
        self.seen.failures.fetch_add(1, Ordering::Relaxed);
        if self.troubles == BREAK_AFTER {
            self.seen.broken.store(true, Ordering::Relaxed);
            super::tell(format_args!(
                "sink {}: {}; its alerts wait in the journal, one is tried now and then",
                self.outlet.name, trouble.why
            ));
        }
        let ceiling = RETRY_FIRST.saturating_mul(1 << self.troubles.min(16).saturating_sub(1)).min(RETRY_MOST);
        let jittered = ceiling.mul_f64(fraction());
        match trouble.kind {
            TroubleKind::Later(Some(wish)) => wish.min(WISH_MOST).max(jittered),
            TroubleKind::Later(None) | TroubleKind::Refused => jittered,
        }
    }

    /// Reads until the batch is full or nothing durable is left.
    fn fill(&mut self, durable: Sequence) -> io::Result<()> {
        while self.pending.len() < self.outlet.batch && self.cursor.position() < durable {
            match self.cursor.read()? {
                Read::Record { sequence, payload } => {
                    self.read = Some(sequence);
                    match rmp_serde::from_slice::<Entry>(&payload) {
                        Ok(entry) => self.take(sequence, entry),
                        // Of another version of the daemon; its checksum was right, so it is no damage to stop at.
                        Err(_) => {
                            self.seen.lost.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
                Read::Lost { from, count } => {
                    self.seen.lost.fetch_add(count, Ordering::Relaxed);
                    let last = Sequence(from.0 + count - 1);
                    self.read = Some(last);
                    self.take(last, gap(&self.outlet.name, from.0, count, "retention", super::now()));
                }
                Read::End => break,
            }
        }
        self.cursor.refresh()
    }

    fn take(&mut self, sequence: Sequence, entry: Entry) {
        if entry.kind == EntryKind::Evidence && !self.outlet.everything {
            return;
        }
        let Some(alert) = json::parse(entry.json.as_bytes()).value else { return };
        if !self.outlet.everything && !self.outlet.filter.wants(&alert) {
            return;
        }
        let text = self.outlet.codec.encode(&alert);
        let Entry { uid, revision, time, .. } = entry;
        self.pending.push(Parcel { sequence, uid, revision, time, alert, text });
    }

    fn measure(&self, durable: Sequence) {
        let waiting = durable.0.saturating_sub(self.cursor.position().0) + self.pending.len() as u64;
        self.seen.queued.store(waiting, Ordering::Relaxed);
        self.seen.oldest.store(self.pending.first().map_or(0, |parcel| parcel.time), Ordering::Relaxed);
    }
}

/// Between 0 and 1, different each time: receivers must not be hit by all hosts at once.
fn fraction() -> f64 {
    let bits = std::collections::hash_map::RandomState::new().build_hasher().finish();
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}
