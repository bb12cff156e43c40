//! The reading end: one per sink, its position on disk.

use std::fs::{self, File};
use std::io::{self, BufReader, Read as _, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::Sequence;
use super::segment::{self, frame_len, read_frame};

/// What a cursor finds next.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    Record {
        sequence: Sequence,
        payload: Vec<u8>,
    },
    /// Retention removed records before this cursor had delivered them.
    Lost {
        from: Sequence,
        count: u64,
    },
    /// Nothing new yet.
    End,
}

/// Reads in order; [`Cursor::acknowledge`] moves the durable position.
pub struct Cursor {
    folder: PathBuf,
    file: PathBuf,
    /// Next record to read.
    next: Sequence,
    acknowledged: Sequence,
    open: Option<Open>,
}

struct Open {
    first: Sequence,
    /// Byte offset and number of the next record in this segment.
    offset: u64,
    next: Sequence,
    reader: BufReader<File>,
}

impl Cursor {
    /// `name` is the sink's; a cursor that does not exist yet starts at `start`.
    pub fn open(folder: &Path, name: &str, start: Sequence) -> io::Result<Cursor> {
        let file = folder.join(format!("{name}.cursor"));
        let acknowledged = match fs::read_to_string(&file) {
            Ok(text) => text.trim().parse().map(Sequence).map_err(|_| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("{}: damaged; remove it to deliver again from the start", file.display()),
                )
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Kept at once: a sink whose receiver is down until the next start must not begin at that later place.
                keep(&file, start)?;
                start
            }
            Err(error) => return Err(error),
        };
        Ok(Cursor { folder: folder.to_owned(), file, next: acknowledged, acknowledged, open: None })
    }

    /// A position behind the end points to records that the disk lost although it had confirmed them; it goes back to the end.
    pub fn clamp(&mut self, end: Sequence) {
        self.acknowledged = self.acknowledged.min(end);
        self.next = self.next.min(end);
    }

    /// The next record after the last one read.
    pub fn read(&mut self) -> io::Result<Read> {
        loop {
            if self.open.as_ref().is_none_or(|open| open.next != self.next) && !self.seek()? {
                return Ok(Read::End);
            }
            let open = self.open.as_mut().expect("seek opened a segment");
            if open.first > self.next {
                let lost = Read::Lost { from: self.next, count: open.first.0 - self.next.0 };
                self.next = open.first;
                return Ok(lost);
            }
            let mut payload = Vec::new();
            if read_frame(&mut open.reader, &mut payload)? {
                let sequence = self.next;
                open.offset += frame_len(&payload);
                open.next = Sequence(sequence.0 + 1);
                self.next = open.next;
                return Ok(Read::Record { sequence, payload });
            }
            // The tail: the writer may be in the middle of this frame, or has gone on to another segment.
            let (first, offset) = (open.first, open.offset);
            open.reader.seek(SeekFrom::Start(offset))?;
            let later = segment::list(&self.folder)?.into_iter().find(|other| *other > first);
            match later {
                Some(later) if later <= self.next => self.open = None,
                Some(later) => {
                    // Damage in the middle: what stood between is lost, and said so.
                    let lost = Read::Lost { from: self.next, count: later.0 - self.next.0 };
                    self.next = later;
                    self.open = None;
                    return Ok(lost);
                }
                None => return Ok(Read::End),
            }
        }
    }

    /// Everything up to and including `sequence` has arrived. Durable when this returns.
    pub fn acknowledge(&mut self, sequence: Sequence) -> io::Result<()> {
        let position = Sequence(sequence.0 + 1);
        if position <= self.acknowledged {
            return Ok(());
        }
        keep(&self.file, position)?;
        self.acknowledged = position;
        Ok(())
    }

    /// Reads again from the last acknowledged record: after a failed delivery.
    pub fn rewind(&mut self) {
        self.next = self.acknowledged;
    }

    /// Forgets what was read ahead: records behind the durable end may have been taken back and written anew.
    pub fn refresh(&mut self) -> io::Result<()> {
        if let Some(open) = &mut self.open {
            open.reader.seek(SeekFrom::Start(open.offset))?;
        }
        Ok(())
    }

    /// The record that [`Cursor::read`] looks for next.
    pub fn position(&self) -> Sequence {
        self.next
    }

    pub fn acknowledged(&self) -> Sequence {
        self.acknowledged
    }

    /// Opens the segment that holds `next`, or the oldest one after it. False when there is none.
    fn seek(&mut self) -> io::Result<bool> {
        let segments = segment::list(&self.folder)?;
        let holding = segments.iter().rev().find(|first| **first <= self.next).or(segments.first());
        let Some(first) = holding.copied() else { return Ok(false) };
        let mut reader = BufReader::new(File::open(segment::path(&self.folder, first))?);
        let (mut offset, mut at, mut payload) = (0, first, Vec::new());
        while at < self.next && read_frame(&mut reader, &mut payload)? {
            offset += frame_len(&payload);
            at = Sequence(at.0 + 1);
        }
        if at < self.next {
            // This segment ends before: either `next` is the number of a record to come, or a later segment begins after a hole.
            let mut rest = [0; 1];
            let exhausted = reader.read(&mut rest)? == 0;
            self.open = Some(Open { first, offset, next: self.next, reader });
            return Ok(exhausted || segments.last() != Some(&first));
        }
        reader.seek(SeekFrom::Start(offset))?;
        self.open = Some(Open { first, offset, next: at.max(self.next), reader });
        Ok(true)
    }
}

/// Whole or not at all, through a second file.
fn keep(path: &Path, position: Sequence) -> io::Result<()> {
    let temporary = path.with_extension("cursor.new");
    let mut file = File::create(&temporary)?;
    writeln!(file, "{}", position.0)?;
    file.sync_data()?;
    fs::rename(&temporary, path)
}
