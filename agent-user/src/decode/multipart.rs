//! Multipart bodies (RFC 2046 section 5.1, RFC 7578): one body becomes its parts.
//!
//! In: a `Content-Type` and the decoded body. Out: [`Parts`], slices of the body. A boundary that the type does not name, or that
//! never closes, is said; nothing is guessed from the content.

use std::sync::Arc;

use bytes::Bytes;
use memchr::memmem;

use crate::base::limits::{MULTIPART_HEAD, MULTIPART_PARTS};
use crate::base::{Anomaly, Sensitive};

use super::{Header, note};

/// RFC 2046 section 5.1.1: 70 characters at most.
const LONGEST_BOUNDARY: usize = 70;

const INVALID: Anomaly = Anomaly::new("multipart.invalid");
/// The closing delimiter is missing: some readers take the last part, some refuse the body.
const UNCLOSED: Anomaly = Anomaly::new("multipart.ambiguous_unclosed");
/// Bytes before the first or after the last delimiter, which nobody is meant to read.
const OUTSIDE: Anomaly = Anomaly::new("multipart.ambiguous_outside");
/// The same name or file name twice on one part.
const DUPLICATE: Anomaly = Anomaly::new("multipart.ambiguous_duplicate_parameter");
const LIMIT_PARTS: Anomaly = Anomaly::new("limit.multipart_parts");

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The form field.
    pub name: Option<Sensitive<Arc<str>>>,
    pub file: Option<Sensitive<Arc<str>>>,
    pub headers: Vec<Header>,
    pub body: Sensitive<Bytes>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    pub parts: Vec<Part>,
    pub anomalies: Vec<Anomaly>,
}

/// `None` when the type is no multipart type.
pub fn parse(content_type: &[u8], body: &Bytes) -> Option<Parts> {
    let (media_type, parameters) = split_parameters(content_type);
    if !media_type.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/")) {
        return None;
    }
    let mut all = Parts::default();
    let boundary = parameter(parameters, b"boundary", &mut all.anomalies);
    match boundary.filter(|boundary| (1..=LONGEST_BOUNDARY).contains(&boundary.len())) {
        Some(boundary) => read(body, &boundary, &mut all),
        None => note(&mut all.anomalies, INVALID),
    }
    Some(all)
}

fn read(body: &Bytes, boundary: &[u8], all: &mut Parts) {
    let delimiter = [b"--", boundary].concat();
    let Some((before, mut at)) = next_delimiter(body, 0, &delimiter) else { return note(&mut all.anomalies, INVALID) };
    if before > 0 {
        note(&mut all.anomalies, OUTSIDE);
    }
    loop {
        let rest = &body[at..];
        if let Some(after) = rest.strip_prefix(b"--") {
            if !after.trim_ascii().is_empty() {
                note(&mut all.anomalies, OUTSIDE);
            }
            return;
        }
        let line = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let Some(start) = after_line_end(rest, line).map(|length| at + length) else { return note(&mut all.anomalies, INVALID) };
        if all.parts.len() == MULTIPART_PARTS {
            return note(&mut all.anomalies, LIMIT_PARTS);
        }
        match next_delimiter(body, start, &delimiter) {
            Some((end, next)) => {
                read_part(&body.slice(start..end), all);
                at = next;
            }
            None => {
                note(&mut all.anomalies, UNCLOSED);
                return read_part(&body.slice(start..), all);
            }
        }
    }
}

/// The next delimiter at the start of a line: where the part before it ends, and where the delimiter does.
fn next_delimiter(body: &[u8], from: usize, delimiter: &[u8]) -> Option<(usize, usize)> {
    for found in memmem::find_iter(&body[from..], delimiter) {
        let (at, before) = (from + found, &body[from..from + found]);
        let after = &body[at + delimiter.len()..];
        let ends = matches!(after.first(), None | Some(b'\r' | b'\n' | b' ' | b'\t')) || after.starts_with(b"--");
        let line_end = if before.ends_with(b"\r\n") { 2 } else { usize::from(before.ends_with(b"\n")) };
        if ends && (line_end > 0 || before.is_empty()) {
            return Some((at - line_end, at + delimiter.len()));
        }
    }
    None
}

fn after_line_end(text: &[u8], at: usize) -> Option<usize> {
    match &text[at..] {
        [b'\r', b'\n', ..] => Some(at + 2),
        [b'\n', ..] => Some(at + 1),
        _ => None,
    }
}

fn read_part(part: &Bytes, all: &mut Parts) {
    // The line end of the delimiter is that of the empty line when a part has no fields.
    let mut fields = Vec::new();
    let mut at = 0;
    loop {
        let Some(length) = memchr::memchr(b'\n', &part[at..]).filter(|length| at + length < MULTIPART_HEAD) else {
            if !fields.is_empty() || at < part.len() {
                note(&mut all.anomalies, INVALID);
            }
            break;
        };
        let line = part[at..at + length].strip_suffix(b"\r").unwrap_or(&part[at..at + length]);
        at += length + 1;
        if line.is_empty() {
            break;
        }
        match memchr::memchr(b':', line) {
            Some(colon) => fields.push(Header {
                name: String::from_utf8_lossy(line[..colon].trim_ascii()).to_ascii_lowercase().into(),
                value: Sensitive::new(part.slice_ref(line[colon + 1..].trim_ascii())),
            }),
            None => note(&mut all.anomalies, INVALID),
        }
    }
    let disposition = super::header(&fields, "content-disposition").map(<[u8]>::to_vec).unwrap_or_default();
    let (_, parameters) = split_parameters(&disposition);
    let text = |value: Vec<u8>| Sensitive::new(Arc::from(String::from_utf8_lossy(&value)));
    let name = parameter(parameters, b"name", &mut all.anomalies).map(text);
    let file = parameter(parameters, b"filename", &mut all.anomalies).map(text);
    all.parts.push(Part { name, file, headers: fields, body: Sensitive::new(part.slice(at..)) });
}

fn split_parameters(value: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    (value[..end].trim_ascii(), &value[end..])
}

/// The first value of a parameter (RFC 9110 section 5.6.6), without quotes.
fn parameter(mut text: &[u8], wanted: &[u8], anomalies: &mut Vec<Anomaly>) -> Option<Vec<u8>> {
    let mut found = None;
    while let Some(rest) = text.trim_ascii().strip_prefix(b";") {
        let end = rest.iter().position(|byte| matches!(byte, b'=' | b';')).unwrap_or(rest.len());
        let name = rest[..end].trim_ascii();
        let (value, after) = match rest[end..].strip_prefix(b"=") {
            Some(value) => parameter_value(value.trim_ascii_start()),
            None => (Vec::new(), &rest[end..]),
        };
        if name.eq_ignore_ascii_case(wanted) {
            if found.is_some() {
                note(anomalies, DUPLICATE);
            }
            found = found.or(Some(value));
        }
        text = after;
    }
    found
}

fn parameter_value(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = memchr::memchr(b';', text).unwrap_or(text.len());
        return (text[..end].trim_ascii().to_vec(), &text[end..]);
    };
    let mut value = Vec::new();
    let mut bytes = quoted.iter().enumerate();
    while let Some((position, &byte)) = bytes.next() {
        match byte {
            b'"' => {
                let after = &quoted[position + 1..];
                let end = memchr::memchr(b';', after).unwrap_or(after.len());
                return (value, &after[end..]);
            }
            // Browsers do not escape a backslash in a file name: only `\"` and `\\` are escapes to everyone.
            b'\\' if matches!(quoted.get(position + 1), Some(b'"' | b'\\')) => {
                value.extend(bytes.next().map(|(_, &byte)| byte));
            }
            other => value.push(other),
        }
    }
    (value, &[])
}

#[cfg(any(test, feature = "fuzz"))]
pub fn fuzz(data: &[u8]) {
    let body = Bytes::copy_from_slice(data);
    let parts = parse(b"multipart/form-data; boundary=x", &body).expect("the type is multipart");
    let total: usize = parts.parts.iter().map(|part| part.body.expose_content().len()).sum();
    assert!(total <= data.len(), "parts do not overlap");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name/file=body`, joined by spaces, and anomalies.
    #[track_caller]
    fn check(content_type: &str, body: &str, expected: &str) {
        let parsed = parse(content_type.as_bytes(), &Bytes::copy_from_slice(body.as_bytes())).expect("multipart");
        let text = |value: &Option<Sensitive<Arc<str>>>| {
            value.as_ref().map_or("-".to_owned(), |value| value.expose_content().to_string())
        };
        let part = |part: &Part| {
            format!("{}/{}={}", text(&part.name), text(&part.file), String::from_utf8_lossy(part.body.expose_content()))
        };
        let anomalies = parsed.anomalies.iter().map(|anomaly| format!("~{}", anomaly.name()));
        let shown: Vec<String> = parsed.parts.iter().map(part).chain(anomalies).collect();
        assert_eq!(shown.join(" "), expected, "{body:?}");
    }

    const FORM: &str = "multipart/form-data; boundary=b1";

    #[test]
    fn forms() {
        let form = "--b1\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--b1\r\nContent-Disposition: form-data; name=f; \
                    filename=\"x \\\"y\\\".txt\"\r\nContent-Type: text/plain\r\n\r\nline\r\n--b1x\r\n--b1--\r\n";
        check(FORM, form, "a/-=1 f/x \"y\".txt=line\r\n--b1x");
        check("Multipart/Mixed; charset=utf-8; Boundary=\"b1\"", "--b1\r\n\r\nbody\r\n--b1--", "-/-=body");
        check(FORM, "--b1--\r\n", "");
        check(FORM, "--b1\n\nunix\n--b1--\n", "-/-=unix");
        check(FORM, "preamble\r\n--b1\r\n\r\nx\r\n--b1--\r\nepilogue", "-/-=x ~multipart.ambiguous_outside");
        check(FORM, "--b1\r\n\r\nx", "-/-=x ~multipart.ambiguous_unclosed");
        check(FORM, "--b1\r\n\r\n\r\n--b1--", "-/-=");
        check(FORM, "--b1 \t\r\nA: b\r\n\r\nx\r\n--b1--", "-/-=x");
        check(FORM, "nothing here", "~multipart.invalid");
        check("multipart/form-data", "--b1--", "~multipart.invalid");
        check(
            FORM,
            "--b1\r\nContent-Disposition: form-data; name=a; name=b\r\n\r\nx\r\n--b1--",
            "a/-=x ~multipart.ambiguous_duplicate_parameter",
        );
        assert_eq!(parse(b"application/json", &Bytes::new()), None);
    }

    #[test]
    fn parts_at_the_edge() {
        let parts = |count: usize| {
            let body = format!("{}--b1--", "--b1\r\n\r\nx\r\n".repeat(count));
            let parsed = parse(FORM.as_bytes(), &Bytes::from(body)).expect("multipart");
            (parsed.parts.len(), parsed.anomalies)
        };
        assert_eq!(parts(MULTIPART_PARTS), (MULTIPART_PARTS, vec![]));
        assert_eq!(parts(MULTIPART_PARTS + 1), (MULTIPART_PARTS, vec![LIMIT_PARTS]));
    }

    #[test]
    fn a_part_head_at_the_edge() {
        let head = |length: usize| {
            let field = format!("A: {}", "x".repeat(length - "A: \n\n".len()));
            let body = format!("--b1\n{field}\n\nbody\n--b1--");
            parse(FORM.as_bytes(), &Bytes::from(body)).expect("multipart")
        };
        assert_eq!(head(MULTIPART_HEAD).anomalies, []);
        assert_eq!(head(MULTIPART_HEAD + 1).anomalies, [INVALID]);
    }

    #[test]
    fn any_bytes() {
        for body in ["--x", "--x\r", "--x\r\n", "--x\r\n\r", "--x\r\n--x\r\n--x--", "\n--x\nA\n--x", "--x\r\n\r\n--x--"] {
            fuzz(body.as_bytes());
        }
    }
}
