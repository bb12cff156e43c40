//! The chunked transfer coding (RFC 9112 section 7.1), one chunk at a time.
//!
//! In: body bytes in any split. Out: [`Part`]s that point into them. Sizes written in odd ways are read as forgiving servers read
//! them, and named.

use bytes::{Bytes, BytesMut};
use memchr::memchr;

use crate::base::Anomaly;
use crate::base::limits::{CHUNK_LINE, HEAD_BYTES};
use crate::decode::note;

use super::head;

/// `0x5`, `+5`, ` 5`, `5 `, more than sixteen digits.
const SIZE: Anomaly = Anomaly::new("http1.ambiguous_chunk_size");
/// A line feed without its carriage return after a size or after data, or a bare CR inside the line.
const LINE_END: Anomaly = Anomaly::new("http1.ambiguous_chunk_line_end");
/// Not a chunk at all.
const MALFORMED: Anomaly = Anomaly::new("http1.malformed_chunk");
/// Not `;name=value`: a reader that looks for quotes may see another end of the line.
const EXTENSION: Anomaly = Anomaly::new("http1.ambiguous_chunk_extension");
const LIMIT_EXTENSION: Anomaly = Anomaly::new("limit.chunk_extension");
const LIMIT_TRAILERS: Anomaly = Anomaly::new("limit.trailer_bytes");

#[derive(Default)]
pub(super) struct Chunked {
    state: State,
    line: BytesMut,
    pub(super) anomalies: Vec<Anomaly>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// In the line with the size.
    #[default]
    Size,
    Data(u64),
    /// After the data of a chunk, before its line end.
    DataEnd,
    DataLineFeed,
    Trailers,
}

/// What the next bytes are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All bytes are used up.
    More,
    Data(Bytes),
    /// The body is over; the block of trailer lines with its empty line.
    End {
        trailers: Bytes,
    },
    /// No reader could go on from here.
    Broken,
}

impl Chunked {
    /// Takes the next part off the front of `bytes`.
    pub(super) fn next(&mut self, bytes: &mut Bytes) -> Part {
        loop {
            if bytes.is_empty() {
                return Part::More;
            }
            match self.state {
                State::Data(left) => {
                    let length = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    let left = left - length as u64;
                    self.state = if left == 0 { State::DataEnd } else { State::Data(left) };
                    return Part::Data(bytes.split_to(length));
                }
                State::Size => {
                    let Some(line) = self.take_line(bytes) else { return Part::More };
                    match self.read_size(&line) {
                        Some(0) => self.state = State::Trailers,
                        Some(size) => self.state = State::Data(size),
                        None => return self.broken(),
                    }
                }
                State::DataEnd | State::DataLineFeed => {
                    let expects_cr = self.state == State::DataEnd;
                    self.state = match bytes.split_to(1).as_ref() {
                        b"\n" => {
                            if expects_cr {
                                note(&mut self.anomalies, LINE_END);
                            }
                            State::Size
                        }
                        b"\r" if expects_cr => State::DataLineFeed,
                        _ => return self.broken(),
                    };
                }
                State::Trailers => {
                    let from = self.line.len().saturating_sub(2);
                    let before = self.line.len();
                    let room = HEAD_BYTES.saturating_sub(before).min(bytes.len());
                    self.line.extend_from_slice(&bytes[..room]);
                    match head::find_end(&self.line, from) {
                        Ok(end) => {
                            drop(bytes.split_to(end - before));
                            self.line.truncate(end);
                            return Part::End { trailers: self.line.split().freeze() };
                        }
                        Err(_) if self.line.len() >= HEAD_BYTES => {
                            note(&mut self.anomalies, LIMIT_TRAILERS);
                            return self.broken();
                        }
                        Err(_) => drop(bytes.split_to(room)),
                    }
                }
            }
        }
    }

    /// Skips a hole; false when it ends somewhere else than inside the data of this chunk.
    pub(super) fn skip(&mut self, missing: u64) -> bool {
        match self.state {
            State::Data(left) if missing < left => {
                self.state = State::Data(left - missing);
                true
            }
            State::Data(left) if missing == left => {
                self.state = State::DataEnd;
                true
            }
            State::Data(_) | State::Size | State::DataEnd | State::DataLineFeed | State::Trailers => false,
        }
    }

    fn broken(&mut self) -> Part {
        note(&mut self.anomalies, MALFORMED);
        Part::Broken
    }

    /// A whole line with its end, once it is there; what is longer than [`CHUNK_LINE`] is dropped and named.
    fn take_line(&mut self, bytes: &mut Bytes) -> Option<Bytes> {
        let (part, whole) = match memchr(b'\n', bytes) {
            Some(end) => (bytes.split_to(end + 1), true),
            None => (bytes.split_off(0), false),
        };
        if whole && self.line.is_empty() && part.len() <= CHUNK_LINE {
            return Some(part);
        }
        let room = CHUNK_LINE.saturating_sub(self.line.len()).min(part.len());
        self.line.extend_from_slice(&part[..room]);
        if room < part.len() {
            note(&mut self.anomalies, LIMIT_EXTENSION);
        }
        whole.then(|| self.line.split().freeze())
    }

    fn read_size(&mut self, line: &[u8]) -> Option<u64> {
        if line.ends_with(b"\n") && !line.ends_with(b"\r\n") {
            note(&mut self.anomalies, LINE_END);
        }
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if memchr(b'\r', line).is_some() {
            note(&mut self.anomalies, LINE_END);
        }
        let end = memchr(b';', line).unwrap_or(line.len());
        let (written, extensions) = line.split_at(end);
        if !are_extensions(extensions) {
            note(&mut self.anomalies, EXTENSION);
        }
        let digits = written.trim_ascii();
        let digits = digits.strip_prefix(b"+").unwrap_or(digits);
        let digits = digits.strip_prefix(b"0x").or(digits.strip_prefix(b"0X")).unwrap_or(digits);
        let length = digits.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        // RFC 9112 section 7.1.1 allows whitespace before the extension only.
        let bad_space = written.len() != written.trim_ascii_end().len() && written.len() == line.len();
        if length != digits.len() || length > 16 || digits.len() != written.trim_ascii_end().len() || bad_space {
            note(&mut self.anomalies, SIZE);
        }
        u64::from_str_radix(std::str::from_utf8(&digits[..length]).ok()?, 16).ok()
    }
}

/// RFC 9112 section 7.1.1: `*( BWS ";" BWS name [ BWS "=" BWS value ] )`.
fn are_extensions(mut text: &[u8]) -> bool {
    while let Some(rest) = head::trim(text).strip_prefix(b";") {
        let Some(rest) = skip_token(head::trim(rest)) else { return false };
        text = rest;
        if let Some(rest) = head::trim(text).strip_prefix(b"=") {
            let value = head::trim(rest);
            let Some(rest) = skip_quoted(value).or_else(|| skip_token(value)) else { return false };
            text = rest;
        }
    }
    head::trim(text).is_empty()
}

fn skip_token(text: &[u8]) -> Option<&[u8]> {
    let length = text.iter().take_while(|byte| super::is_token(**byte)).count();
    (length > 0).then(|| &text[length..])
}

fn skip_quoted(text: &[u8]) -> Option<&[u8]> {
    let mut escaped = false;
    let inside = text.strip_prefix(b"\"")?;
    let end = inside.iter().position(|&byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })?;
    Some(&inside[end + 1..])
}
