//! The way from the bytes of a head to its fields and to where its body ends, for the measurement.

use bytes::Bytes;

use super::head::{self, Kind};
use super::{Names, framing};

/// Reads heads as one connection does.
#[derive(Default)]
pub struct Heads {
    names: Names,
}

impl Heads {
    /// Fields in a request head.
    pub fn request(&mut self, head: &Bytes) -> usize {
        self.read(Kind::Request, head)
    }

    /// Fields in a response head.
    pub fn response(&mut self, head: &Bytes) -> usize {
        self.read(Kind::Response, head)
    }

    fn read(&mut self, kind: Kind, bytes: &Bytes) -> usize {
        let Ok((end, all_crlf)) = head::find_end_of_lines(bytes, 0) else { return 0 };
        if !super::is_first_line(kind, bytes) {
            return 0;
        }
        let Some(parsed) = head::parse(kind, &bytes.slice(..end), all_crlf, &mut self.names) else { return 0 };
        let plan = match kind {
            Kind::Request => framing::of_request(&parsed.headers, parsed.is_http10, false),
            Kind::Response => framing::of_response(&parsed.headers, parsed.is_http10, 200, framing::Answers::default()),
        };
        parsed.headers.len() + plan.anomalies.len()
    }
}
