//! One direction of one connection: chunks in any order become bytes in order, and holes with a size and a cause.
//!
//! In: chunks with or without offsets. Out: [`Run`]s. It does not know which connection it belongs to.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::base::Timestamp;
use crate::base::limits::OUT_OF_ORDER_BYTES;

/// What one waiting chunk costs beside its bytes.
pub(super) const PIECE_COST: usize = 64;

/// The next thing in a direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Run {
    Data { ts: Timestamp, off: u64, bytes: Bytes },
    Gap { off: u64, missing: Option<u64> },
}

#[derive(Default)]
pub(super) struct Half {
    /// Everything before this offset was handed on or given up.
    next: u64,
    /// Where the chunk that came last ended: one without an offset follows it.
    last_end: u64,
    /// Chunks that came before their turn, by offset.
    waiting: BTreeMap<u64, (Timestamp, Bytes)>,
    cost: usize,
    waits_since: Timestamp,
    /// The other direction spoke while this one waits.
    answered: bool,
    /// The producer numbers its bytes: a hole shows by itself.
    numbered: bool,
    /// Bytes that a loss record says are missing, and that no hole has shown yet. `Some(None)`: nobody knows how many.
    owed: Option<Option<u64>>,
}

impl Half {
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn waits_since(&self) -> Timestamp {
        self.waits_since
    }

    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    pub(super) fn push(&mut self, ts: Timestamp, off: Option<u64>, bytes: Bytes, out: &mut Vec<Run>) {
        self.numbered |= off.is_some();
        if off.is_none() && !self.numbered {
            self.pay(out);
        }
        let off = off.unwrap_or(self.last_end);
        let Some(end) = off.checked_add(bytes.len() as u64) else { return };
        self.last_end = end;
        if off > self.next {
            return self.wait(ts, off, bytes, out);
        }
        self.hand_on(ts, off, &bytes, out);
        self.drain(out);
    }

    /// The other direction speaks.
    pub(super) fn hear_other(&mut self) {
        self.answered = self.is_waiting();
    }

    /// Whether a chunk there comes after everything that waits, and after an answer to it.
    pub(super) fn begins_turn(&self, off: Option<u64>) -> bool {
        let end = self.waiting.last_key_value().map_or(0, |(off, (_, bytes))| off.saturating_add(bytes.len() as u64));
        self.answered && self.is_waiting() && end <= off.unwrap_or(self.last_end)
    }

    /// A loss record names this direction. Without offsets the hole is here; with them the next chunk will show where.
    pub(super) fn lose(&mut self, bytes: Option<u64>, out: &mut Vec<Run>) {
        self.owed = Some(match self.owed {
            None => bytes,
            Some(before) => before.zip(bytes).map(|(before, bytes)| before.saturating_add(bytes)),
        });
        if self.numbered {
            self.settle(out);
        } else {
            self.pay(out);
        }
    }

    /// Waiting is over: what waits is handed on, behind a hole.
    pub(super) fn give_up(&mut self, out: &mut Vec<Run>) {
        while let Some((&off, _)) = self.waiting.first_key_value() {
            self.skip_to(off, out);
            self.drain(out);
        }
    }

    /// Nothing follows any more: what is still owed was lost at the end.
    pub(super) fn end(&mut self, out: &mut Vec<Run>) {
        self.give_up(out);
        self.pay(out);
    }

    fn wait(&mut self, ts: Timestamp, off: u64, bytes: Bytes, out: &mut Vec<Run>) {
        if self.waiting.is_empty() {
            self.waits_since = ts;
            self.answered = false;
        }
        let longest = self.waiting.get(&off).is_none_or(|(_, there)| there.len() < bytes.len());
        if longest {
            self.cost += bytes.len() + PIECE_COST;
            if let Some((_, shorter)) = self.waiting.insert(off, (ts, bytes)) {
                self.cost -= shorter.len() + PIECE_COST;
            }
        }
        self.settle(out);
        if self.cost > OUT_OF_ORDER_BYTES {
            self.give_up(out);
        }
    }

    /// A hole that a loss record accounts for is not waited for.
    fn settle(&mut self, out: &mut Vec<Run>) {
        while let (Some(Some(owed)), Some((&off, _))) = (self.owed, self.waiting.first_key_value())
            && owed >= off - self.next
        {
            self.skip_to(off, out);
            self.drain(out);
        }
    }

    fn skip_to(&mut self, off: u64, out: &mut Vec<Run>) {
        let missing = off - self.next;
        self.owed = match self.owed {
            Some(Some(owed)) if owed > missing => Some(Some(owed - missing)),
            _ => None,
        };
        out.push(Run::Gap { off: self.next, missing: Some(missing) });
        self.next = off;
    }

    fn pay(&mut self, out: &mut Vec<Run>) {
        if let Some(missing) = self.owed.take().filter(|missing| *missing != Some(0)) {
            out.push(Run::Gap { off: self.next, missing });
            self.next = self.next.saturating_add(missing.unwrap_or(0));
            self.last_end = self.last_end.max(self.next);
        }
    }

    fn drain(&mut self, out: &mut Vec<Run>) {
        while let Some(first) = self.waiting.first_entry()
            && *first.key() <= self.next
        {
            let (off, (ts, bytes)) = first.remove_entry();
            self.cost -= bytes.len() + PIECE_COST;
            self.hand_on(ts, off, &bytes, out);
        }
    }

    /// Bytes that were seen before are dropped: the first to come wins, as in the buffer that was read.
    fn hand_on(&mut self, ts: Timestamp, off: u64, bytes: &Bytes, out: &mut Vec<Run>) {
        let seen = usize::try_from(self.next - off).unwrap_or(usize::MAX);
        if seen < bytes.len() {
            let bytes = bytes.slice(seen..);
            let off = self.next;
            self.next += bytes.len() as u64;
            out.push(Run::Data { ts, off, bytes });
        }
    }
}
