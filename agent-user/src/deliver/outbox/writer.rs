//! The writer thread: what waits becomes durable in groups. A disk that is full or fails costs evidence first, then waiting; what was
//! said to be durable is, and the daemon goes on.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::lanes::{Lanes, Lost};
use super::{Counters, Entry, EntryKind, Tide, gap, now};
use crate::base::limits::ALERTS_WAITING;
use crate::deliver::journal::Journal;

/// Longest wait for entries, and the pause after the disk refused.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) struct Writer {
    journal: Journal,
    folder: PathBuf,
    counters: Arc<Counters>,
    tide: Arc<Tide>,
    /// Taken, not durable yet. Longer than a group only while the disk refuses.
    held: VecDeque<Entry>,
    failing: bool,
    lost: Lost,
}

impl Writer {
    pub(super) fn new(journal: Journal, folder: &Path, counters: Arc<Counters>, tide: Arc<Tide>) -> Writer {
        let folder = folder.to_owned();
        Writer { journal, folder, counters, tide, held: VecDeque::new(), failing: false, lost: Lost::default() }
    }

    pub(super) fn run(mut self, lanes: &Lanes) {
        while let Some((group, lost)) = lanes.take(PAUSE, !self.failing) {
            self.lost.alerts += lost.alerts;
            self.lost.evidence += lost.evidence;
            self.hold(group);
            self.commit();
            if self.failing {
                // The lanes go on filling meanwhile; nobody waits for this thread.
                std::thread::sleep(PAUSE);
            }
        }
        self.commit();
        self.tide.set(self.journal.next(), true);
    }

    fn hold(&mut self, group: Vec<Entry>) {
        for entry in group {
            if self.held.len() < ALERTS_WAITING {
                self.held.push_back(entry);
            } else if entry.kind == EntryKind::Evidence {
                self.lost.evidence += 1;
                self.counters.evidence_dropped.fetch_add(1, Ordering::Relaxed);
            } else {
                self.lost.alerts += 1;
                self.counters.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Group commit: all that is held becomes durable with one sync, or stays held.
    fn commit(&mut self) {
        let lost = self.lost;
        let gaps = [("alerts", lost.alerts), ("evidence", lost.evidence)];
        let mut records: Vec<Entry> = gaps
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(lane, count)| gap(lane, self.journal.next().0, count, "queue_full", now()))
            .collect();
        records.extend(self.held.iter().cloned());
        if records.is_empty() {
            return;
        }
        match self.write(&records) {
            Ok(()) => {
                self.counters.written.fetch_add(records.len() as u64, Ordering::Relaxed);
                self.held.clear();
                self.lost = Lost::default();
                self.recovered();
                self.tide.set(self.journal.next(), false);
            }
            Err(error) => self.refused(&error),
        }
    }

    fn write(&mut self, records: &[Entry]) -> io::Result<()> {
        let written = records.iter().try_for_each(|entry| {
            let bytes = rmp_serde::to_vec_named(entry).map_err(io::Error::other)?;
            self.journal.append(&bytes).map(|_| ())
        });
        // After a failed sync nobody knows what of the pages stands: all of the group is taken back, and written anew later.
        written.and_then(|()| self.journal.sync()).inspect_err(|_| self.journal.take_back())
    }

    /// Said once; alerts go on to the terminal, and wait here for the disk.
    fn refused(&mut self, error: &io::Error) {
        self.counters.disk_errors.fetch_add(1, Ordering::Relaxed);
        if error.kind() == io::ErrorKind::StorageFull {
            // Evidence gives way; the space kept for alerts is opened.
            let before = self.held.len();
            self.held.retain(|entry| entry.kind != EntryKind::Evidence);
            let given_up = (before - self.held.len()) as u64;
            self.lost.evidence += given_up;
            self.counters.evidence_dropped.fetch_add(given_up, Ordering::Relaxed);
            if self.journal.open_reserve() {
                return self.commit();
            }
        }
        if !self.failing {
            super::tell(format_args!("{}: the journal cannot be written: {error}; alerts wait in memory", self.folder.display()));
        }
        self.failing = true;
        self.counters.disk_failing.store(true, Ordering::Relaxed);
    }

    fn recovered(&mut self) {
        if std::mem::take(&mut self.failing) {
            super::tell(format_args!("{}: the journal can be written again", self.folder.display()));
            self.counters.disk_failing.store(false, Ordering::Relaxed);
        }
        self.journal.close_reserve();
    }
}
