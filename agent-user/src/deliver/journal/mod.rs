//! The journal: an append-only log of checksummed records in segment files, the source of every sink.
//!
//! A record is durable once [`Journal::sync`] returned; a torn tail after a crash is cut off at the next open, never anything
//! before it. Each sink reads with a [`Cursor`] of its own that moves only when its receiver acknowledged. Retention removes whole segments;
//! a cursor that pointed into one learns how many records it lost.

mod cursor;
mod fault;
mod segment;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

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
    /// Kept free for alerts, for the day the disk is full.
    pub reserve: u64,
    /// Segments whose last record is older are removed.
    pub age: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { segment: 16 << 20, total: 256 << 20, reserve: 8 << 20, age: None }
    }
}

/// The writing end. One per folder: a lock file keeps a second daemon out.
pub struct Journal {
    folder: PathBuf,
    limits: Limits,
    current: Segment,
    next: Sequence,
    /// The number after the last record that is known to be on the disk.
    synced: Sequence,
    reserve: Reserve,
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
        let mut reserve = Reserve { path: folder.join("reserve"), bytes: limits.reserve, asked: 0 };
        reserve.close();
        Ok(Journal { folder: folder.to_owned(), limits, current, next, synced: next, reserve, _lock: lock })
    }

    /// Appends one record; it is durable after the next [`Journal::sync`].
    pub fn append(&mut self, payload: &[u8]) -> io::Result<Sequence> {
        if self.current.len() > 0 && self.current.len() + segment::frame_len(payload) > self.limits.segment {
            self.sync()?;
            self.current = Segment::create(&self.folder, self.next)?;
            // Old segments that cannot be removed now are tried again at the next turn; the record goes on.
            let _ = self.retain();
        }
        self.current.append(payload)?;
        let sequence = self.next;
        self.next = Sequence(sequence.0 + 1);
        Ok(sequence)
    }

    pub fn sync(&mut self) -> io::Result<()> {
        self.current.sync()?;
        self.synced = self.next;
        Ok(())
    }

    /// After an error nobody knows which of the records since the last [`Journal::sync`] stand: they are taken back, and their numbers
    /// are given again.
    pub fn take_back(&mut self) {
        self.current.take_back();
        self.next = self.synced;
    }

    /// The disk is full: gives the space that was kept for alerts to whoever writes next. False when there was none.
    pub fn open_reserve(&mut self) -> bool {
        self.reserve.open()
    }

    /// Keeps the space again, where it was given away.
    pub fn close_reserve(&mut self) {
        self.reserve.close();
    }

    /// The number that the next record gets.
    pub fn next(&self) -> Sequence {
        self.next
    }

    /// Removes the oldest segments past the limit, never the one being written.
    fn retain(&self) -> io::Result<()> {
        fault::at(fault::Point::Remove)?;
        let mut segments = Vec::new();
        for first in segment::list(&self.folder)? {
            let path = segment::path(&self.folder, first);
            let state = fs::metadata(&path)?;
            let age = state.modified().ok().and_then(|written| written.elapsed().ok());
            segments.push((state.len(), age.unwrap_or_default(), path));
        }
        let mut total: u64 = segments.iter().map(|(length, ..)| length).sum();
        segments.pop();
        for (length, age, path) in segments {
            if total <= self.limits.total && self.limits.age.is_none_or(|longest| age <= longest) {
                break;
            }
            fs::remove_file(path)?;
            total -= length;
        }
        Ok(())
    }
}

/// A file of zeros that holds space on the disk.
struct Reserve {
    path: PathBuf,
    bytes: u64,
    /// How often [`Reserve::close`] was asked since it last tried: a disk that is still full must not be tried with each record.
    asked: u32,
}

impl Reserve {
    const TRY_EVERY: u32 = 64;

    fn open(&mut self) -> bool {
        self.asked = 0;
        fs::remove_file(&self.path).is_ok()
    }

    fn close(&mut self) {
        if self.bytes == 0 || self.path.exists() {
            return;
        }
        if self.asked.is_multiple_of(Self::TRY_EVERY) {
            // Written, not punched: a hole holds no space. Without room for it the journal goes on as it is.
            let zeros = vec![0; usize::try_from(self.bytes).unwrap_or(0)];
            if fs::write(&self.path, zeros).is_err() {
                let _ = fs::remove_file(&self.path);
            }
        }
        self.asked = self.asked.wrapping_add(1);
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
