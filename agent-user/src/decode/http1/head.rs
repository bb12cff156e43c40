//! One message head: from the start line to the empty line.
//!
//! In: the bytes of a whole head. Out: [`Head`] with everything that two readers could read differently named. httparse reads
//! the heads that are as they should be: it is fast, fuzzed and strict about tokens. What it refuses is read line by line here,
//! as forgiving servers do, and flagged.

use std::mem::MaybeUninit;
use std::sync::Arc;

use bytes::Bytes;
use memchr::{memchr, memchr_iter};

use crate::base::limits::HEAD_FIELDS;
use crate::base::{Anomaly, Sensitive};
use crate::decode::{Header, note};

use super::names::Names;

/// Lines end with a line feed alone: a front end may not see the end of a line there.
const BARE_LF: Anomaly = Anomaly::new("http1.ambiguous_bare_lf");
/// RFC 9112 section 5.2: a field continued on the next line.
const OBS_FOLD: Anomaly = Anomaly::new("http1.ambiguous_obs_fold");
/// RFC 9112 section 2.2: whitespace between the start line and the first field.
const LEADING_SPACE: Anomaly = Anomaly::new("http1.ambiguous_leading_space");
/// RFC 9112 section 5.1: `Name : value`.
const SPACE_BEFORE_COLON: Anomaly = Anomaly::new("http1.ambiguous_space_before_colon");
const FIELD_NAME: Anomaly = Anomaly::new("http1.ambiguous_field_name");
/// NUL, a bare CR or another control character.
const FIELD_VALUE: Anomaly = Anomaly::new("http1.ambiguous_field_value");
/// A line without a colon.
const FIELD_LINE: Anomaly = Anomaly::new("http1.ambiguous_field_line");
pub(super) const START_LINE: Anomaly = Anomaly::new("http1.ambiguous_start_line");
const VERSION: Anomaly = Anomaly::new("http1.ambiguous_version");
const LIMIT_FIELDS: Anomaly = Anomaly::new("limit.head_fields");

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Request,
    Response,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Start {
    Request { method: Arc<str>, target: Bytes },
    Response { status: u16 },
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) start: Start,
    pub(super) is_http10: bool,
    /// All of them, also those beyond [`HEAD_FIELDS`], because framing depends on them.
    pub(super) headers: Vec<Header>,
    pub(super) anomalies: Vec<Anomaly>,
}

impl Head {
    /// Nothing odd at all: good enough to begin reading in the middle of a connection.
    pub(super) fn is_plain(&self) -> bool {
        self.anomalies.is_empty()
    }

    /// Gives up fields beyond the bound, once framing has been read from them. True if there were any.
    pub(super) fn shorten(&mut self) -> bool {
        let over = self.headers.len() > HEAD_FIELDS;
        if over {
            self.headers.truncate(HEAD_FIELDS);
            note(&mut self.anomalies, LIMIT_FIELDS);
        }
        over
    }
}

/// Where the empty line after the head ends, and how far a later search may start. The head ends at the first empty line
/// however it is written: a lone line feed is an end for most readers.
pub(super) fn find_end(bytes: &[u8], from: usize) -> Result<usize, usize> {
    find_end_of_lines(bytes, from).map(|(end, _)| end)
}

/// The same, and whether all line feeds from there on stand after a carriage return.
pub(super) fn find_end_of_lines(bytes: &[u8], from: usize) -> Result<(usize, bool), usize> {
    let mut all_crlf = true;
    for position in memchr_iter(b'\n', &bytes[from..]).map(|position| position + from) {
        let before = &bytes[..position];
        let line = before.strip_suffix(b"\r");
        all_crlf &= line.is_some();
        let before = line.unwrap_or(before);
        if before.is_empty() || before.ends_with(b"\n") {
            return Ok((position + 1, all_crlf));
        }
    }
    Err(bytes.len())
}

/// `head` ends with its empty line; empty lines before it are gone. `all_crlf` when that is known of its lines. `None`: no start
/// line that anybody would accept.
pub(super) fn parse(kind: Kind, head: &Bytes, all_crlf: bool, names: &mut Names) -> Option<Head> {
    let strictly = match kind {
        Kind::Request => parse_request(head, names),
        Kind::Response => parse_response(head, names),
    };
    let mut parsed = match strictly {
        Some(parsed) => parsed,
        None => parse_loosely(kind, head, names)?,
    };
    if !all_crlf && has_bare_lf(head) {
        note(&mut parsed.anomalies, BARE_LF);
    }
    Some(parsed)
}

/// The fields after a chunked body; the same grammar without a start line.
pub(super) fn parse_trailers(bytes: &Bytes, names: &mut Names, anomalies: &mut Vec<Anomaly>) -> Vec<Header> {
    let mut headers = Vec::new();
    read_fields(bytes, 0, &mut headers, names, anomalies);
    if has_bare_lf(bytes) {
        note(anomalies, BARE_LF);
    }
    if headers.len() > HEAD_FIELDS {
        headers.truncate(HEAD_FIELDS);
        note(anomalies, LIMIT_FIELDS);
    }
    headers
}

/// Room for the fields of any head that is not over the bound, on the stack and never initialised.
type Fields<'b> = [MaybeUninit<httparse::Header<'b>>; HEAD_FIELDS];

fn parse_request(head: &Bytes, names: &mut Names) -> Option<Head> {
    let mut fields: Fields<'_> = [const { MaybeUninit::uninit() }; HEAD_FIELDS];
    let mut request = httparse::Request::new(&mut []);
    let status = request.parse_with_uninit_headers(head, &mut fields).ok()?;
    let (method, target) = (request.method?, request.path?);
    (status == httparse::Status::Complete(head.len())).then(|| Head {
        start: Start::Request { method: names.method(method), target: head.slice_ref(target.as_bytes()) },
        is_http10: request.version == Some(0),
        headers: collect(head, request.headers, names),
        anomalies: Vec::new(),
    })
}

fn parse_response(head: &Bytes, names: &mut Names) -> Option<Head> {
    let mut fields: Fields<'_> = [const { MaybeUninit::uninit() }; HEAD_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let status = config.parse_response_with_uninit_headers(&mut response, head, &mut fields).ok()?;
    let code = response.code.filter(|code| *code >= 100)?;
    (status == httparse::Status::Complete(head.len())).then(|| Head {
        start: Start::Response { status: code },
        is_http10: response.version == Some(0),
        headers: collect(head, response.headers, names),
        anomalies: Vec::new(),
    })
}

fn collect(head: &Bytes, fields: &[httparse::Header<'_>], names: &mut Names) -> Vec<Header> {
    let field = |field: &httparse::Header<'_>| Header {
        name: names.field(field.name.as_bytes()),
        value: Sensitive::new(head.slice_ref(field.value)),
    };
    fields.iter().map(field).collect()
}

/// The reading of those who forgive.
fn parse_loosely(kind: Kind, head: &Bytes, names: &mut Names) -> Option<Head> {
    let end = memchr(b'\n', head)? + 1;
    let line = trim_line(&head[..end]);
    let mut anomalies = Vec::new();
    let (start, is_http10) = match kind {
        Kind::Request => read_request_line(head, line, names, &mut anomalies)?,
        Kind::Response => read_status_line(line, &mut anomalies)?,
    };
    let mut headers = Vec::new();
    read_fields(head, end, &mut headers, names, &mut anomalies);
    Some(Head { start, is_http10, headers, anomalies })
}

fn read_request_line(head: &Bytes, line: &[u8], names: &mut Names, anomalies: &mut Vec<Anomaly>) -> Option<(Start, bool)> {
    let first = memchr(b' ', line)?;
    let last = memchr::memrchr(b' ', line)?;
    let (method, target, version) = (&line[..first], line.get(first + 1..last)?, &line[last + 1..]);
    if method.is_empty() || !method.iter().all(|&byte| super::is_token(byte)) || target.trim_ascii().is_empty() {
        return None;
    }
    let is_http10 = read_version(version, anomalies)?;
    if target.iter().any(|byte| *byte <= b' ' || *byte == 0x7f) {
        note(anomalies, START_LINE);
    }
    let method = names.method(std::str::from_utf8(method).ok()?);
    Some((Start::Request { method, target: head.slice_ref(target.trim_ascii()) }, is_http10))
}

fn read_status_line(line: &[u8], anomalies: &mut Vec<Anomaly>) -> Option<(Start, bool)> {
    let (version, rest) = line.split_at_checked(b"HTTP/1.1".len())?;
    let is_http10 = read_version(version, anomalies)?;
    let code = rest.trim_ascii_start();
    if !rest.starts_with(b" ") {
        return None;
    }
    let digits = code.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let status = std::str::from_utf8(&code[..digits]).ok()?.parse().ok().filter(|status| (100..=999).contains(status))?;
    if digits != 3 || code.len() + 1 != rest.len() || code.get(3).is_some_and(|byte| *byte != b' ') {
        note(anomalies, START_LINE);
    }
    if code[digits..].iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        note(anomalies, START_LINE);
    }
    Some((Start::Response { status }, is_http10))
}

/// True for HTTP/1.0. RFC 9110 section 2.5: a higher minor version is read as 1.1.
fn read_version(version: &[u8], anomalies: &mut Vec<Anomaly>) -> Option<bool> {
    match version {
        b"HTTP/1.0" => Some(true),
        b"HTTP/1.1" => Some(false),
        [name @ .., b'1', b'.', minor] if name.eq_ignore_ascii_case(b"HTTP/") && minor.is_ascii_digit() => {
            note(anomalies, VERSION);
            Some(*minor == b'0')
        }
        _ => None,
    }
}

/// Reads field lines from `at` up to the empty line.
fn read_fields(head: &Bytes, mut at: usize, headers: &mut Vec<Header>, names: &mut Names, anomalies: &mut Vec<Anomaly>) {
    while let Some(length) = memchr(b'\n', &head[at..]) {
        let line = trim_line(&head[at..=at + length]);
        at += length + 1;
        if line.is_empty() {
            return;
        }
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            match headers.last_mut() {
                Some(field) => {
                    note(anomalies, OBS_FOLD);
                    check_value(line, anomalies);
                    unfold(field, line);
                    continue;
                }
                None => note(anomalies, LEADING_SPACE),
            }
        }
        let Some(colon) = memchr(b':', line) else {
            note(anomalies, FIELD_LINE);
            continue;
        };
        let (name, value) = (trim_start(&line[..colon]), trim(&line[colon + 1..]));
        if name.ends_with(b" ") || name.ends_with(b"\t") {
            note(anomalies, SPACE_BEFORE_COLON);
        }
        let name = trim(name);
        if name.is_empty() || !name.iter().all(|&byte| super::is_token(byte)) {
            note(anomalies, FIELD_NAME);
        }
        check_value(value, anomalies);
        headers.push(Header { name: names.field(name), value: Sensitive::new(head.slice_ref(value)) });
    }
}

fn check_value(value: &[u8], anomalies: &mut Vec<Anomaly>) {
    if value.iter().any(|&byte| byte < b' ' && byte != b'\t' || byte == 0x7f) {
        note(anomalies, FIELD_VALUE);
    }
}

/// RFC 9112 section 5.2: the fold becomes a space.
fn unfold(field: &mut Header, line: &[u8]) {
    let mut value = field.value.expose_content().to_vec();
    value.push(b' ');
    value.extend_from_slice(trim(line));
    field.value = Sensitive::new(Bytes::from(trim(&value).to_vec()));
}

/// Without optional whitespace (RFC 9110 section 5.6.3): a CR or a form feed stays, because other readers may trip over it.
pub(super) fn trim(text: &[u8]) -> &[u8] {
    let text = trim_start(text);
    let end = text.iter().rposition(|byte| !matches!(byte, b' ' | b'\t')).map_or(0, |last| last + 1);
    &text[..end]
}

fn trim_start(text: &[u8]) -> &[u8] {
    &text[text.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(text.len())..]
}

fn trim_line(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn has_bare_lf(head: &[u8]) -> bool {
    memchr_iter(b'\n', head).any(|position| position == 0 || head[position - 1] != b'\r')
}
