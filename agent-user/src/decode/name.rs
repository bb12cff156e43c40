//! Names of header fields. The usual ones cost nothing to copy: every head repeats them, and a counted reference for each is most
//! of what reading a head would cost.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

#[derive(Clone)]
pub struct Name(Kind);

#[derive(Clone)]
enum Kind {
    Usual(&'static str),
    Other(Arc<str>),
}

impl Name {
    pub(crate) const fn usual(name: &'static str) -> Name {
        Name(Kind::Usual(name))
    }

    /// `lower` is in lower case.
    pub(crate) fn new(lower: &str) -> Name {
        match USUAL.binary_search(&lower) {
            Ok(position) => Name(Kind::Usual(USUAL[position])),
            Err(_) => Name(Kind::Other(lower.into())),
        }
    }

    /// Without a look whether it is a usual one: what HPACK sends as a literal mostly is not, and then stands in the table.
    pub(crate) fn literal(name: &str) -> Name {
        Name(Kind::Other(name.into()))
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        match &self.0 {
            Kind::Usual(name) => name,
            Kind::Other(name) => name,
        }
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Name {
        Name::new(name)
    }
}

impl From<String> for Name {
    fn from(name: String) -> Name {
        Name::new(&name)
    }
}

impl From<Name> for Arc<str> {
    fn from(name: Name) -> Arc<str> {
        match name.0 {
            Kind::Usual(name) => name.into(),
            Kind::Other(name) => name,
        }
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        **self == **other
    }
}

impl Eq for Name {}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, f)
    }
}

/// In order. What API clients and servers send, beside what HPACK's static table holds.
const USUAL: [&str; 131] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-post",
    "accept-ranges",
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "age",
    "allow",
    "alt-svc",
    "anthropic-beta",
    "anthropic-organization-id",
    "anthropic-version",
    "api-key",
    "authorization",
    "cache-control",
    "cf-cache-status",
    "cf-ray",
    "connection",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "cross-origin-resource-policy",
    "date",
    "dnt",
    "etag",
    "expect",
    "expires",
    "forwarded",
    "from",
    "grpc-accept-encoding",
    "grpc-encoding",
    "grpc-message",
    "grpc-status",
    "grpc-timeout",
    "host",
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "keep-alive",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "mcp-protocol-version",
    "mcp-session-id",
    "openai-beta",
    "openai-organization",
    "openai-processing-ms",
    "openai-project",
    "openai-version",
    "origin",
    "priority",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "referer",
    "refresh",
    "request-id",
    "retry-after",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "server",
    "set-cookie",
    "strict-transport-security",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "upgrade-insecure-requests",
    "user-agent",
    "vary",
    "via",
    "www-authenticate",
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-security-token",
    "x-amzn-requestid",
    "x-api-key",
    "x-content-type-options",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-frame-options",
    "x-goog-api-client",
    "x-goog-api-key",
    "x-powered-by",
    "x-ratelimit-limit-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
    "x-request-id",
    "x-requested-with",
    "x-should-retry",
    "x-stainless-arch",
    "x-stainless-async",
    "x-stainless-lang",
    "x-stainless-os",
    "x-stainless-package-version",
    "x-stainless-read-timeout",
    "x-stainless-retry-count",
    "x-stainless-runtime",
    "x-stainless-runtime-version",
    "x-stainless-timeout",
    "x-xss-protection",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_names_are_in_order_and_found() {
        assert!(USUAL.is_sorted());
        for name in USUAL {
            assert!(matches!(Name::new(name).0, Kind::Usual(_)), "{name}");
        }
        assert!(matches!(Name::new("x-made-up").0, Kind::Other(_)));
        assert_eq!((&*Name::new("x-made-up"), Name::usual("date")), ("x-made-up", Name::new("date")));
    }
}
