//! Finding the next message head after bytes were lost.
//!
//! In: a window of bytes of one direction. Out: where a head begins that cannot be anything else. A body may quote a head (a
//! batch of requests, a manual); better to stay lost until the next turn than to invent a message.

use memchr::memmem;

use super::head::Kind;

/// The methods that a head in the middle of nowhere may begin with.
pub(super) const METHODS: [&[u8]; 9] = [b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"HEAD", b"OPTIONS", b"CONNECT", b"TRACE"];

/// Bytes from the start of a first line to its end that are looked back upon.
pub(super) const WINDOW: usize = 16 << 10;

/// The last bytes of a window may be the beginning of a head whose first line is not whole.
const UNDECIDED_TAIL: usize = b"HTTP/1.1 200 ".len();

/// Where the first head begins, or from where to search again when more bytes are there.
pub(super) fn find(kind: Kind, window: &[u8], from: usize) -> Result<usize, usize> {
    for found in memmem::find_iter(&window[from..], b"HTTP/1.") {
        let at = from + found;
        if window.len() - at < UNDECIDED_TAIL {
            return Err(at);
        }
        let start = match kind {
            Kind::Request => request_start(window, at),
            Kind::Response => is_status_line(&window[at..]).then_some(at),
        };
        if let Some(start) = start.filter(|&start| may_follow(&window[..start])) {
            return Ok(start);
        }
    }
    Err(window.len().saturating_sub(UNDECIDED_TAIL).max(from))
}

/// From where to search when the head at the start of `window` was none.
pub(super) fn past_first(kind: Kind, window: &[u8]) -> usize {
    match find(kind, window, 0) {
        Ok(0) => memmem::find(window, b"HTTP/1.").map_or(0, |at| at + 1),
        Ok(_) | Err(_) => 0,
    }
}

fn is_status_line(line: &[u8]) -> bool {
    let [_, _, _, _, _, _, _, b'0' | b'1', b' ', code @ ..] = line else { return false };
    code.iter().take(3).all(u8::is_ascii_digit) && matches!(code.get(3), Some(b' ' | b'\r'))
}

/// `at` is where the version stands.
fn request_start(window: &[u8], at: usize) -> Option<usize> {
    if !matches!(&window[at + 7..], [b'0' | b'1', b'\r', b'\n', ..]) {
        return None;
    }
    let before = window[..at].strip_suffix(b" ")?;
    let target = before.iter().rposition(|&byte| byte <= b' ' || byte == 0x7f)?;
    if before[target] != b' ' || target + 1 == before.len() {
        return None;
    }
    let method = before[..target].iter().rposition(|&byte| !super::is_token(byte)).map_or(0, |position| position + 1);
    METHODS.contains(&&before[method..target]).then_some(method)
}

/// After a line end a head can only begin where chunks end; anything else there is a quotation.
fn may_follow(before: &[u8]) -> bool {
    !before.ends_with(b"\n") || before.ends_with(b"\r\n0\r\n\r\n") || before == b"0\r\n\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: Kind, window: &str, expected: Option<usize>) {
        assert_eq!(find(kind, window.as_bytes(), 0).ok(), expected, "{window:?}");
    }

    #[test]
    fn heads_that_cannot_be_anything_else() {
        use Kind::{Request, Response};
        check(Request, "tail}POST /v1 HTTP/1.1\r\nHost: a\r\n", Some(5));
        check(Request, "GET / HTTP/1.0\r\nHost: a\r\n", Some(0));
        check(Request, "5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n", Some(15));
        check(Request, "tailPOST /v1 HTTP/1.1\r\nHost: a\r\n", None);
        check(Request, "Content-Type: application/http\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n", None);
        check(Request, "for example\nGET / HTTP/1.1\r\nHost: a\r\n", None);
        check(Request, "x}GET / HTTP/1.1\nHost: a\r\n\r\n", None);
        check(Response, "tail}HTTP/1.1 200 OK\r\nA: b\r\n\r\n", Some(5));
        check(Response, "HTTP/1.1 204\r\nA: b\r\n\r\n", Some(0));
        check(Response, "tail}HTTP/1.1 2000 OK\r\nA: b\r\n\r\n", None);
        check(Response, "\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n\r\n", None);
    }

    #[test]
    fn search_goes_on_where_it_stopped() {
        let window = b"noise}HTTP/1.1 200 OK\r\n";
        let mut from = 0;
        for length in 0..=window.len() {
            match find(Kind::Response, &window[..length], from) {
                Ok(at) => return assert_eq!(at, 6),
                Err(next) => from = next,
            }
        }
        panic!("not found");
    }
}
