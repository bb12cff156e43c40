//! One JSON object a line.

use std::io::{self, BufRead, Read, Write};

use bytes::Bytes;

use super::model::{Fields, Head, KINDS, read};
use super::{CUT, Item, Place, RECORD_BYTES, RecordingError, unreadable};
use crate::capture::Observation;

/// How far a reader has come.
#[derive(Default)]
pub(super) struct Position {
    line: u64,
    buffer: Vec<u8>,
}

impl Position {
    pub(super) fn read(&mut self, input: &mut impl BufRead, lenient: bool) -> Result<Item, RecordingError> {
        loop {
            self.buffer.clear();
            self.line += 1;
            let limit = RECORD_BYTES as u64 + 1;
            let length = input
                .take(limit)
                .read_until(b'\n', &mut self.buffer)
                .map_err(|error| unreadable(Place::Line { line: self.line, column: 1 }, &error))?;
            if length == 0 {
                return Ok(Item::End);
            }
            if self.buffer.len() > RECORD_BYTES {
                return Err(self.fault(RECORD_BYTES, format!("the line is longer than {RECORD_BYTES} bytes"), false));
            }
            if !self.buffer.trim_ascii().is_empty() {
                return self.parse(lenient);
            }
        }
    }

    fn parse(&self, lenient: bool) -> Result<Item, RecordingError> {
        let whole = self.buffer.ends_with(b"\n");
        let text = std::str::from_utf8(&self.buffer).map_err(|error| {
            let cut = !whole && error.error_len().is_none();
            let reason = if cut { CUT } else { "not UTF-8; put raw bytes into `data` as base64" };
            self.fault(error.valid_up_to() + 1, reason.into(), cut)
        })?;
        let head: Head<'_> = serde_json::from_str(text).map_err(|error| self.json_fault(&error, whole))?;
        if !KINDS.contains(&&*head.kind) {
            if lenient {
                return Ok(Item::Skipped);
            }
            let column = text.find("\"kind\"").map_or(1, |at| at + 1);
            let reason = format!("unknown kind, expected one of {} (--lenient skips it)", KINDS.join(", "));
            return Err(self.fault(column, reason, false));
        }
        let mut json = serde_json::Deserializer::from_str(text);
        let observation = read(&head.kind, lenient, &Bytes::new(), &mut json).map_err(|error| self.json_fault(&error, whole))?;
        json.end().map_err(|error| self.json_fault(&error, whole))?;
        Ok(Item::Observation(observation))
    }

    fn json_fault(&self, error: &serde_json::Error, whole: bool) -> RecordingError {
        // The last line has no end: a number or word that stops with it was cut just as a string was.
        let cut = !whole && (error.is_eof() || error.column() >= self.buffer.len());
        if cut {
            return self.fault(error.column().max(1), CUT.into(), true);
        }
        let full = error.to_string();
        // serde_json appends its own position, which counts within this line only.
        let reason = full.rsplit_once(" at line ").map_or(full.as_str(), |(reason, _)| reason);
        let hint = if reason.starts_with("unknown field") { " (--lenient ignores it)" } else { "" };
        self.fault(error.column().max(1), format!("{reason}{hint}"), false)
    }

    fn fault(&self, column: usize, reason: String, cut: bool) -> RecordingError {
        RecordingError { place: Place::Line { line: self.line, column }, reason, cut }
    }
}

pub(super) fn write(output: &mut impl Write, scratch: &mut Vec<u8>, observation: &Observation) -> io::Result<()> {
    serde_json::to_writer(&mut *scratch, &Fields(observation))?;
    scratch.push(b'\n');
    output.write_all(scratch)
}
