//! Where a message body ends (RFC 9112 section 6), and what a reader with other habits would say.
//!
//! In: the header fields of a message and what it answers. Out: [`Plan`]: one reading, and the anomalies and lengths of the
//! others.

use crate::base::Anomaly;
use crate::decode::coding::Coding;
use crate::decode::{Header, body, json, note};

use super::head::trim;

/// RFC 9112 section 6.1: both lengths at once, the classic smuggling vector.
const LENGTH_AND_CHUNKED: Anomaly = Anomaly::new("http1.ambiguous_length_and_chunked");
/// The same length more than once: allowed, but front ends differ.
const DUPLICATE_LENGTH: Anomaly = Anomaly::new("http1.ambiguous_duplicate_length");
/// Different lengths.
const CONFLICTING_LENGTH: Anomaly = Anomaly::new("http1.ambiguous_conflicting_length");
/// `+5`, `0x5`, `5 6`, an empty value, a number beyond 63 bits.
const LENGTH_VALUE: Anomaly = Anomaly::new("http1.ambiguous_length_value");
/// Not exactly `chunked` at the end and once: `xchunked`, `chunked, identity`, a second field.
const TRANSFER_ENCODING: Anomaly = Anomaly::new("http1.ambiguous_transfer_encoding");
const CHUNKED_IN_HTTP10: Anomaly = Anomaly::new("http1.ambiguous_chunked_in_http10");
/// A length on a message that cannot have a body (1xx, 204, an answer to HEAD): some readers wait for it.
pub(super) const LENGTH_WITHOUT_BODY: Anomaly = Anomaly::new("http1.ambiguous_length_without_body");

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    None,
    Length(u64),
    Chunked,
    UntilClose,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) framing: Framing,
    /// Codings of `Transfer-Encoding` beside `chunked`, in the order they were applied; `None` when one is unknown.
    pub(super) codings: Option<Vec<Coding>>,
    pub(super) anomalies: Vec<Anomaly>,
    /// Body lengths that other readers would take.
    pub(super) other_lengths: Vec<u64>,
}

/// What a response answers, as far as its body depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Answers {
    pub(super) head: bool,
    pub(super) connect: bool,
}

pub(super) fn of_request(headers: &[Header], is_http10: bool, connect: bool) -> Plan {
    let mut plan = read(headers, is_http10, true);
    if connect && !matches!(plan.framing, Framing::UntilClose | Framing::Length(0)) {
        // RFC 9110 section 9.3.6: what follows belongs to the tunnel.
        note(&mut plan.anomalies, LENGTH_WITHOUT_BODY);
        plan.framing = Framing::None;
    }
    if plan.framing == Framing::UntilClose {
        // RFC 9112 section 6.3 rule 7: a request without a readable length has no body.
        plan.framing = Framing::None;
    }
    note_empty_json(&mut plan, headers);
    plan
}

/// A length of 0 where the type announces a JSON text.
fn note_empty_json(plan: &mut Plan, headers: &[Header]) {
    if plan.framing == Framing::Length(0) && body::says_json(headers) {
        note(&mut plan.anomalies, json::EMPTY);
    }
}

pub(super) fn of_response(headers: &[Header], is_http10: bool, status: u16, answers: Answers) -> Plan {
    let mut plan = read(headers, is_http10, false);
    let informational = (100..200).contains(&status);
    let tunnel = answers.connect && (200..300).contains(&status);
    if informational || status == 204 || status == 304 || answers.head || tunnel {
        let says_length = !matches!(plan.framing, Framing::UntilClose | Framing::Length(0));
        if says_length && (informational || status == 204) {
            note(&mut plan.anomalies, LENGTH_WITHOUT_BODY);
        }
        plan.framing = Framing::None;
    }
    // Other answers promise no content.
    if status == 200 {
        note_empty_json(&mut plan, headers);
    }
    plan
}

fn values<'a>(headers: &'a [Header], name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    headers.iter().filter(move |header| &*header.name == name).map(|header| header.value.expose_content().as_ref())
}

/// `UntilClose` stands for "no length given".
fn read(headers: &[Header], is_http10: bool, is_request: bool) -> Plan {
    let mut plan =
        Plan { framing: Framing::UntilClose, codings: Some(Vec::new()), anomalies: Vec::new(), other_lengths: Vec::new() };
    let length = read_length(headers, &mut plan);
    let mut fields = values(headers, "transfer-encoding").peekable();
    if fields.peek().is_none() {
        if let Some(length) = length {
            plan.framing = Framing::Length(length);
        }
        return plan;
    }
    if is_http10 {
        note(&mut plan.anomalies, CHUNKED_IN_HTTP10);
    }
    let transfer = read_transfer(fields, &mut plan);
    if length.is_some() {
        note(&mut plan.anomalies, LENGTH_AND_CHUNKED);
    }
    // RFC 9112 section 6.3 rule 4: a response that is not chunked at the end runs until the close, a request is an error; those
    // servers that accept it look for the word.
    let chunked = transfer == Transfer::ChunkedLast || transfer == Transfer::ChunkedBefore && is_request;
    match (chunked, length) {
        (true, _) => {
            plan.framing = Framing::Chunked;
            if let Some(length) = length {
                note(&mut plan.other_lengths, length);
            }
        }
        (false, Some(length)) => plan.framing = Framing::Length(length),
        (false, None) => {}
    }
    plan
}

/// The first length that can be read at all; the others are noted.
fn read_length(headers: &[Header], plan: &mut Plan) -> Option<u64> {
    let mut first = None;
    for value in values(headers, "content-length").flat_map(|value| value.split(|&byte| byte == b',')) {
        let value = trim(value);
        let strict = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        if !strict {
            note(&mut plan.anomalies, LENGTH_VALUE);
        }
        // What `strtol` makes of it.
        let digits = value.strip_prefix(b"+").unwrap_or(value);
        let digits = &digits[..digits.iter().take_while(|byte| byte.is_ascii_digit()).count()];
        let Some(length) = parse_length(digits) else {
            note(&mut plan.anomalies, LENGTH_VALUE);
            continue;
        };
        match first {
            None => first = Some(length),
            Some(first) if first == length => note(&mut plan.anomalies, DUPLICATE_LENGTH),
            Some(_) => {
                note(&mut plan.anomalies, CONFLICTING_LENGTH);
                if plan.other_lengths.len() < OTHER_LENGTHS {
                    note(&mut plan.other_lengths, length);
                }
            }
        }
    }
    first
}

/// Readings that are listed; more of them say nothing new.
const OTHER_LENGTHS: usize = 4;

fn parse_length(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|length| *length <= i64::MAX as u64)
}

/// Where `chunked` stands among the transfer codings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Transfer {
    ChunkedLast,
    ChunkedBefore,
    NotChunked,
}

fn read_transfer<'a>(fields: impl Iterator<Item = &'a [u8]>, plan: &mut Plan) -> Transfer {
    let (mut count, mut last, mut chunked, mut odd) = (0, false, 0, false);
    for field in fields {
        count += 1;
        for token in field.split(|&byte| byte == b',') {
            let token = trim(token);
            last = token.eq_ignore_ascii_case(b"chunked");
            chunked += usize::from(last);
            if !last {
                odd |= !take_coding(token, plan);
            }
        }
    }
    if odd || count != 1 || chunked != 1 || !last {
        note(&mut plan.anomalies, TRANSFER_ENCODING);
    }
    match (last, chunked) {
        (true, _) => Transfer::ChunkedLast,
        (false, 0) => Transfer::NotChunked,
        (false, _) => Transfer::ChunkedBefore,
    }
}

/// A coding beside `chunked`; false when it is none that a sender may use there.
fn take_coding(token: &[u8], plan: &mut Plan) -> bool {
    match Coding::list(std::iter::once(token)) {
        Ok(codings) => {
            let known = !codings.is_empty();
            if let Some(all) = &mut plan.codings {
                all.extend(codings);
            }
            known
        }
        Err(_) => {
            plan.codings = None;
            false
        }
    }
}
