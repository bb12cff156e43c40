//! The journal: an append-only log of checksummed records in segment files, the source of every sink.
//!
//! A record is durable once [`Journal::sync`] returned; a torn tail after a crash is cut off at the next open, never anything
//! before it. Each sink reads with a [`Cursor`] of its own that moves only when its receiver acknowledged. Retention removes whole segments;
//! a cursor that pointed into one learns how many records it lost.

mod cursor;
mod segment;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use cursor::{Cursor, Read};
use segment::Segment;

/// Position of a record: segment files are numbered by the sequence number of their first record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sequence(pub u64);

/// Sizes in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub segment: u64,
    pub total: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { segment: 16 << 20, total: 256 << 20 }
    }
}

/// The writing end. One per folder: a lock file keeps a second daemon out.
pub struct Journal {
    folder: PathBuf,
    limits: Limits,
    current: Segment,
    next: Sequence,
    _lock: fs::File,
}

impl Journal {
    /// Opens or creates the journal of `folder` and repairs its tail.
    pub fn open(folder: &Path, limits: Limits) -> io::Result<Journal> {
        fs::create_dir_all(folder)?;
        let lock = fs::OpenOptions::new().create(true).truncate(false).write(true).open(folder.join("lock"))?;
        lock.try_lock().map_err(|_| io::Error::new(io::ErrorKind::AddrInUse, "another daemon uses this journal"))?;
        let (current, next) = match segment::list(folder)?.last() {
            Some(first) => Segment::reopen(folder, *first)?,
            None => (Segment::create(folder, Sequence(0))?, Sequence(0)),
        };
        Ok(Journal { folder: folder.to_owned(), limits, current, next, _lock: lock })
    }

    /// Appends one record; it is durable after the next [`Journal::sync`].
    pub fn append(&mut self, payload: &[u8]) -> io::Result<Sequence> {
        if self.current.len() > 0 && self.current.len() + segment::frame_len(payload) > self.limits.segment {
            self.current.sync()?;
            self.current = Segment::create(&self.folder, self.next)?;
            self.retain()?;
        }
        self.current.append(payload)?;
        let sequence = self.next;
        self.next = Sequence(sequence.0 + 1);
        Ok(sequence)
    }

    pub fn sync(&mut self) -> io::Result<()> {
        self.current.sync()
    }

    /// The number that the next record gets.
    pub fn next(&self) -> Sequence {
        self.next
    }

    /// Removes the oldest segments past the limit, never the one being written.
    fn retain(&self) -> io::Result<()> {
        let mut segments = Vec::new();
        for first in segment::list(&self.folder)? {
            let path = segment::path(&self.folder, first);
            segments.push((fs::metadata(&path)?.len(), path));
        }
        let mut total: u64 = segments.iter().map(|(length, _)| length).sum();
        segments.pop();
        for (length, path) in segments {
            if total <= self.limits.total {
                break;
            }
            fs::remove_file(path)?;
            total -= length;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
