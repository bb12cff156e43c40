//! A header list as a request or response head (RFC 9113 section 8).
//!
//! In: fields as HPACK gives them. Out: pseudo-header fields as what they mean, the rest as headers, and the name of each way in
//! which two readers could disagree: nothing is repaired.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::{Anomaly, Sensitive};
use crate::reassemble::Flow;

use super::super::hpack::{Decoder, Field, Malformed};
use super::super::http1::is_token;
use super::super::{Header, Name, UNKNOWN, note, target};

const UPPERCASE: Anomaly = Anomaly::new("http2.uppercase_name");
const BAD_NAME: Anomaly = Anomaly::new("http2.ambiguous_field_name");
const BAD_VALUE: Anomaly = Anomaly::new("http2.ambiguous_field_value");
const CONNECTION_FIELD: Anomaly = Anomaly::new("http2.ambiguous_connection_field");
const UNKNOWN_PSEUDO: Anomaly = Anomaly::new("http2.unknown_pseudo_header");
const DUPLICATE_PSEUDO: Anomaly = Anomaly::new("http2.ambiguous_duplicate_pseudo_header");
const LATE_PSEUDO: Anomaly = Anomaly::new("http2.ambiguous_late_pseudo_header");
const MISSING_PSEUDO: Anomaly = Anomaly::new("http2.missing_pseudo_header");
/// A method, target, scheme or authority that HTTP/1 could not carry: written into a request line it would read as something else.
const PSEUDO_VALUE: Anomaly = Anomaly::new("http2.ambiguous_pseudo_header_value");
const TWO_HOSTS: Anomaly = Anomaly::new("http2.ambiguous_host");
const LIMIT_FIELDS: Anomaly = Anomaly::new("limit.head_fields");
const LIMIT_BYTES: Anomaly = Anomaly::new("limit.head_bytes");
const LIMIT_TABLE: Anomaly = Anomaly::new("limit.hpack_table");
const LIMIT_SIZE_UPDATES: Anomaly = Anomaly::new("limit.hpack_size_updates");

/// RFC 7541 section 4.2: a table that shrank and grew again between two blocks needs two.
const SIZE_UPDATES: usize = 2;

/// A header list with its pseudo-header fields taken out.
#[derive(Debug, Default)]
pub(crate) struct List {
    pub(crate) headers: Vec<Header>,
    pub(crate) anomalies: Vec<Anomaly>,
    /// Names or values are from before the first byte we saw, or over a bound.
    pub(crate) unknown: bool,
    /// A field that is unknown may say how the content is coded.
    pub(crate) coding_unknown: bool,
    pub(crate) method: Option<Bytes>,
    pub(crate) scheme: Option<Bytes>,
    pub(crate) authority: Option<Bytes>,
    pub(crate) path: Option<Bytes>,
    pub(crate) protocol: Option<Bytes>,
    pub(crate) status: Option<Bytes>,
    /// A pseudo-header field of a request or a response stands in the list, its value known or not.
    pub(crate) of_request: bool,
    pub(crate) of_response: bool,
}

impl List {
    /// Reads a whole block.
    pub(crate) fn read(block: &[u8], hpack: &mut Decoder) -> Result<List, Malformed> {
        let mut list = List::default();
        let said = hpack.decode(block, |field| list.field(field))?;
        for (found, limit) in [
            (said.too_many, LIMIT_FIELDS),
            (said.too_large, LIMIT_BYTES),
            (said.table_over_limit, LIMIT_TABLE),
            (said.size_updates > SIZE_UPDATES, LIMIT_SIZE_UPDATES),
        ] {
            if found {
                note(&mut list.anomalies, limit);
            }
        }
        list.unknown |= said.too_many || said.too_large;
        list.coding_unknown |= said.too_many || said.too_large;
        Ok(list)
    }

    fn field(&mut self, field: &Field) {
        self.unknown |= field.name.is_none() || field.value.is_none();
        match &field.name {
            Some(name) if name.starts_with(':') => self.pseudo(name, field.value.clone()),
            name => self.regular(name.clone(), field.value.clone()),
        }
    }

    fn pseudo(&mut self, name: &str, value: Option<Bytes>) {
        if !self.headers.is_empty() {
            note(&mut self.anomalies, LATE_PSEUDO);
        }
        let slot = match name {
            ":method" => &mut self.method,
            ":scheme" => &mut self.scheme,
            ":authority" => &mut self.authority,
            ":path" => &mut self.path,
            ":protocol" => &mut self.protocol,
            ":status" => &mut self.status,
            _ => {
                note(&mut self.anomalies, UNKNOWN_PSEUDO);
                let value = value.unwrap_or(Bytes::from_static(UNKNOWN.as_bytes()));
                self.headers.push(Header { name: name.into(), value: Sensitive::new(value) });
                return;
            }
        };
        match name {
            ":status" => self.of_response = true,
            _ => self.of_request = true,
        }
        if slot.is_some() {
            note(&mut self.anomalies, DUPLICATE_PSEUDO);
        } else {
            *slot = value;
        }
    }

    fn regular(&mut self, name: Option<Name>, value: Option<Bytes>) {
        let name = name.map(|name| self.checked_name(name));
        self.coding_unknown |= match &name {
            Some(name) => &**name == "content-encoding" && value.is_none(),
            None => true,
        };
        // gRPC peers may agree to send `-bin` metadata as bytes.
        let is_binary = name.as_ref().is_some_and(|name| name.ends_with("-bin"));
        if !is_binary && value.as_ref().is_some_and(|value| value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))) {
            note(&mut self.anomalies, BAD_VALUE);
        }
        if let (Some(name), Some(value)) = (&name, &value) {
            // RFC 9113 section 8.2.2: a translation to HTTP/1 would act on these.
            let forbidden = match &**name {
                "connection" | "proxy-connection" | "keep-alive" | "transfer-encoding" | "upgrade" => true,
                "te" => !value.eq_ignore_ascii_case(b"trailers"),
                _ => false,
            };
            if forbidden {
                note(&mut self.anomalies, CONNECTION_FIELD);
            }
        }
        let value = value.unwrap_or(Bytes::from_static(UNKNOWN.as_bytes()));
        self.headers.push(Header { name: name.unwrap_or_else(|| UNKNOWN.into()), value: Sensitive::new(value) });
    }

    fn checked_name(&mut self, name: Name) -> Name {
        if name.is_empty() || !name.bytes().all(is_token) {
            note(&mut self.anomalies, BAD_NAME);
        }
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            note(&mut self.anomalies, UPPERCASE);
            return name.to_ascii_lowercase().into();
        }
        name
    }

    pub(crate) fn request(&mut self, flow: &Flow) -> RequestHead {
        let connect = self.method.as_deref() == Some(b"CONNECT");
        let missing = match connect && self.protocol.is_none() {
            // RFC 9113 section 8.5.
            true => self.authority.is_none(),
            false => self.method.is_none() || self.scheme.is_none() || self.path.is_none(),
        };
        if missing && !self.unknown {
            note(&mut self.anomalies, MISSING_PSEUDO);
        }
        if !self.has_plain_request_line(connect) {
            note(&mut self.anomalies, PSEUDO_VALUE);
        }
        let secure = match self.scheme.as_deref() {
            Some(b"http") => false,
            Some(b"https") => true,
            Some(_) | None => flow.source.is_tls(),
        };
        let scheme = if secure { "https" } else { "http" };
        let named = super::super::header(&self.headers, "host");
        if let (Some(authority), Some(host)) = (self.authority.as_deref(), named)
            && !authority.eq_ignore_ascii_case(host)
        {
            note(&mut self.anomalies, TWO_HOSTS);
        }
        let host = match self.authority.as_deref().or(named) {
            Some(host) => target::host(&String::from_utf8_lossy(host), scheme),
            None => flow.sni.clone().or_else(|| flow.peer.clone()).unwrap_or_else(|| "".into()),
        };
        let target = text(self.path.as_ref());
        let (path, query) = target::path_and_query(&target);
        RequestHead {
            method: text(self.method.as_ref()).as_str().into(),
            scheme,
            host,
            path: path.into(),
            query: Sensitive::new(query.into()),
            websocket: connect && self.protocol.as_deref().is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket")),
        }
    }

    /// RFC 9113 section 8.3.1. What is not there says nothing.
    fn has_plain_request_line(&self, connect: bool) -> bool {
        let all =
            |value: &Option<Bytes>, may: fn(u8) -> bool| value.as_ref().is_none_or(|value| value.iter().all(|byte| may(*byte)));
        let begins_path = self.path.as_ref().is_none_or(|path| path.starts_with(b"/") || connect || &path[..] == b"*");
        begins_path
            && self.method.as_ref().is_none_or(|method| !method.is_empty())
            && all(&self.method, is_token)
            && all(&self.path, |byte| byte.is_ascii_graphic())
            && all(&self.scheme, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
            && all(&self.authority, |byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'\\' | b'?' | b'#' | b'@'))
    }

    /// RFC 9113 section 8.3.2. 0 when it is unknown or no number.
    pub(crate) fn status(&mut self) -> u16 {
        let status = self.status.as_deref().filter(|digits| digits.len() == 3);
        let status = status.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        if status.is_none() && !self.unknown {
            note(&mut self.anomalies, MISSING_PSEUDO);
        }
        status.unwrap_or(0)
    }
}

/// What a request's pseudo-header fields mean. Empty where nothing is known.
pub(crate) struct RequestHead {
    pub(crate) method: Arc<str>,
    pub(crate) scheme: &'static str,
    pub(crate) host: Arc<str>,
    pub(crate) path: Arc<str>,
    pub(crate) query: Sensitive<Arc<str>>,
    /// RFC 8441.
    pub(crate) websocket: bool,
}

fn text(value: Option<&Bytes>) -> String {
    value.map_or_else(String::new, |value| String::from_utf8_lossy(value).into_owned())
}
