//! `.awr`: [`MAGIC`], then frames of a `u32` little-endian length and a MessagePack map with the same field names as `.jsonl`.
//!
//! The first frame is the header `{"version": 1, "program": "agentward …"}`. Payload is a MessagePack `bin`.

use std::io::{self, BufRead, ErrorKind, Write};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::model::{Fields, Head, KINDS, read};
use super::{CUT, Item, Place, RECORD_BYTES, RecordingError, unreadable};
use crate::capture::Observation;

/// Not UTF-8 (so never JSON), and damaged by any transfer that rewrites line ends, as in PNG.
pub(super) const MAGIC: [u8; 8] = *b"\x89AWR\r\n\x1a\n";

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Header<'a> {
    version: u32,
    program: &'a str,
}

/// How far a reader has come.
pub(super) struct Position {
    record: u64,
    offset: u64,
}

impl Position {
    /// Reads magic and header.
    pub(super) fn open(input: &mut impl BufRead) -> Result<Position, RecordingError> {
        let mut position = Position { record: 0, offset: 0 };
        let mut magic = [0; MAGIC.len()];
        let read = position.fill(input, &mut magic)?;
        if read < magic.len() && MAGIC.starts_with(&magic[..read]) {
            return Err(position.fault("the recording is cut in its header: it holds nothing", true));
        }
        if magic != MAGIC {
            return Err(position.fault("not a recording: neither .awr nor JSON lines", false));
        }
        let frame = match position.frame(input) {
            Ok(Some(frame)) => frame,
            Err(error) if !error.cut => return Err(error),
            Ok(None) | Err(_) => return Err(position.fault("the recording is cut in its header: it holds nothing", true)),
        };
        let header: Header<'_> = rmp_serde::from_slice(&frame).map_err(|_| position.fault("the header is damaged", false))?;
        if header.version != VERSION {
            let reason = format!(
                "recording version {}, this program reads {VERSION}; convert it with the program that made it",
                header.version
            );
            return Err(position.fault(&reason, false));
        }
        Ok(position)
    }

    pub(super) fn read(&mut self, input: &mut impl BufRead, lenient: bool) -> Result<Item, RecordingError> {
        let start = self.offset;
        self.record += 1;
        let Some(frame) = self.frame(input)? else { return Ok(Item::End) };
        let place = Place::Record { record: self.record, offset: start };
        let bad = |error: rmp_serde::decode::Error| RecordingError { place, reason: error.to_string(), cut: false };
        let head: Head<'_> = rmp_serde::from_slice(&frame).map_err(bad)?;
        if !KINDS.contains(&&*head.kind) {
            if lenient {
                return Ok(Item::Skipped);
            }
            return Err(RecordingError { place, reason: "unknown kind (--lenient skips it)".into(), cut: false });
        }
        let mut message = rmp_serde::Deserializer::from_read_ref(&*frame);
        read(&head.kind, lenient, &frame, &mut message).map(Item::Observation).map_err(bad)
    }

    /// The next frame; `None` at a clean end.
    fn frame(&mut self, input: &mut impl BufRead) -> Result<Option<Bytes>, RecordingError> {
        let mut length = [0; 4];
        match self.fill(input, &mut length)? {
            0 => return Ok(None),
            4 => {}
            _ => return Err(self.cut()),
        }
        let length = u32::from_le_bytes(length) as usize;
        if length > RECORD_BYTES {
            return Err(
                self.fault(&format!("a record of {length} bytes is longer than {RECORD_BYTES}: the file is damaged"), false)
            );
        }
        let mut frame = vec![0; length];
        if self.fill(input, &mut frame)? < length {
            return Err(self.cut());
        }
        Ok(Some(frame.into()))
    }

    fn fill(&mut self, input: &mut impl BufRead, buffer: &mut [u8]) -> Result<usize, RecordingError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match input.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(Place::Record { record: self.record, offset: self.offset }, &error)),
            }
        }
        self.offset += filled as u64;
        Ok(filled)
    }

    fn cut(&self) -> RecordingError {
        self.fault(CUT, true)
    }

    fn fault(&self, reason: &str, cut: bool) -> RecordingError {
        RecordingError { place: Place::Record { record: self.record, offset: self.offset }, reason: reason.into(), cut }
    }
}

pub(super) fn write_header(output: &mut impl Write, program: &str) -> io::Result<()> {
    output.write_all(&MAGIC)?;
    let header = rmp_serde::to_vec_named(&Header { version: VERSION, program }).map_err(io::Error::other)?;
    write_frame(output, &header)
}

pub(super) fn write(output: &mut impl Write, scratch: &mut Vec<u8>, observation: &Observation) -> io::Result<()> {
    rmp_serde::encode::write_named(scratch, &Fields(observation)).map_err(io::Error::other)?;
    write_frame(output, scratch)
}

fn write_frame(output: &mut impl Write, frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).ok().filter(|length| *length as usize <= RECORD_BYTES);
    let length = length.ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "record too long"))?;
    output.write_all(&length.to_le_bytes())?;
    output.write_all(frame)
}
