//! Recordings: what capture handed on, on disk, in two encodings of one model.
//!
//! [`awr`] is length-prefixed MessagePack for programs and bulk, [`jsonl`] one object a line for people. Both are read
//! record by record, so a recording larger than memory replays. A recording holds plaintext: whoever creates the file
//! gives it mode 0600.

mod awr;
mod jsonl;
mod model;

use std::fmt;
use std::io::{self, BufRead, Write};

use super::Observation;

/// Longest encoded record. The daemon writes 16 KiB chunks; a hand-made recording may hold a whole body in one. A hostile
/// length prefix must not allocate.
pub const RECORD_BYTES: usize = 256 << 20;

/// What is said of a file that ends inside a record.
const CUT: &str = "the recording is cut in the middle of this record (--lenient takes what stands before it)";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Awr,
    Jsonl,
}

impl Encoding {
    /// By the ending of a file name: `.awr` or `.jsonl`.
    pub fn from_name(name: &str) -> Option<Encoding> {
        match name.rsplit_once('.')?.1 {
            "awr" => Some(Encoding::Awr),
            "jsonl" => Some(Encoding::Jsonl),
            _ => None,
        }
    }
}

/// Where in a recording something is wrong. Lines, columns and records count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Line { line: u64, column: usize },
    Record { record: u64, offset: u64 },
}

/// A record that cannot be read. Its reason never quotes content.
#[derive(Debug)]
pub struct RecordingError {
    pub place: Place,
    pub reason: String,
    /// The file ends inside this record: everything before it was read.
    pub cut: bool,
}

impl fmt::Display for RecordingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Line { line, column } => write!(f, "{line}:{column}: {}", self.reason),
            Place::Record { record, offset } => write!(f, "record {record} at byte {offset}: {}", self.reason),
        }
    }
}

impl std::error::Error for RecordingError {}

/// Reads either encoding; which one is decided by the first bytes, not by the file's name.
pub struct Reader<R> {
    input: R,
    form: Form,
    lenient: bool,
    skipped: u64,
}

enum Form {
    Awr(awr::Position),
    Jsonl(jsonl::Position),
}

impl<R: BufRead> Reader<R> {
    /// `lenient`: unknown kinds are skipped and counted, unknown fields ignored, a cut at the end is the end.
    pub fn new(mut input: R, lenient: bool) -> Result<Reader<R>, RecordingError> {
        let start = input.fill_buf().map_err(|error| unreadable(Place::Record { record: 0, offset: 0 }, &error))?;
        let form = if start.first() == Some(&awr::MAGIC[0]) {
            Form::Awr(awr::Position::open(&mut input)?)
        } else {
            Form::Jsonl(jsonl::Position::default())
        };
        Ok(Reader { input, form, lenient, skipped: 0 })
    }

    /// The next observation; `None` at the end.
    pub fn next_observation(&mut self) -> Result<Option<Observation>, RecordingError> {
        loop {
            let read = match &mut self.form {
                Form::Awr(position) => position.read(&mut self.input, self.lenient),
                Form::Jsonl(position) => position.read(&mut self.input, self.lenient),
            };
            match read {
                Ok(Item::Observation(observation)) => return Ok(Some(observation)),
                Ok(Item::Skipped) => self.skipped += 1,
                Ok(Item::End) => return Ok(None),
                Err(error) if error.cut && self.lenient => {
                    self.skipped += 1;
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Records that a lenient reader passed over.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}

enum Item {
    Observation(Observation),
    Skipped,
    End,
}

fn unreadable(place: Place, error: &io::Error) -> RecordingError {
    RecordingError { place, reason: format!("cannot be read: {error}"), cut: false }
}

/// Writes one encoding.
pub struct Writer<W: Write> {
    output: W,
    encoding: Encoding,
    scratch: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// `program` goes into the header of an `.awr` file, e.g. `agentward 0.1.0`.
    pub fn new(mut output: W, encoding: Encoding, program: &str) -> io::Result<Writer<W>> {
        if encoding == Encoding::Awr {
            awr::write_header(&mut output, program)?;
        }
        Ok(Writer { output, encoding, scratch: Vec::new() })
    }

    pub fn write(&mut self, observation: &Observation) -> io::Result<()> {
        self.scratch.clear();
        match self.encoding {
            Encoding::Awr => awr::write(&mut self.output, &mut self.scratch, observation),
            Encoding::Jsonl => jsonl::write(&mut self.output, &mut self.scratch, observation),
        }
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    pub fn into_inner(self) -> W {
        self.output
    }
}

#[cfg(test)]
mod tests;
