//! What may be shown of captured content: secrets become keyed hashes that still correlate, long text its length and hash.
//!
//! Names decide first (a field called `password`, a header `authorization`), then shapes (a JWT, a key with a vendor's prefix, a
//! card number that passes its check digit). Nothing here is certain: what no detector knows is shown, so free text is never
//! shown at length.

use std::borrow::Cow;
use std::sync::Arc;

use crate::base::shapes::{Class, Detector, detectors, may_hold};
use crate::base::value::Number;
use crate::base::{KeyedHash, Sensitive, Value};

/// Longest text of a message that is shown without `--reveal`; identifiers, names and amounts are shorter, letters and files longer.
const SHOWN_TEXT: usize = 256;

/// Opens content for output.
#[derive(Clone, Debug)]
pub struct Redactor {
    hash: KeyedHash,
    reveal: bool,
}

/// Parts of a field or header name that mark its value as secret.
const SECRET_NAMES: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "apikey",
    "authorization",
    "credentials",
    "privatekey",
    "accesskey",
    "cookie",
    "sessionkey",
    "authtoken",
    "accesstoken",
    "refreshtoken",
    "idtoken",
    "sessiontoken",
    "securitytoken",
    "bearer",
    "signature",
    "cvv",
    "cvc",
    "pincode",
    "otp",
];

/// Names that are secret only as a whole: `token` is, `max_tokens` is not.
const SECRET_WHOLE_NAMES: &[&str] =
    &["token", "pwd", "pin", "auth", "xauthtoken", "xcsrftoken", "xxsrftoken", "csrftoken", "sid", "apitoken"];

impl Redactor {
    pub fn new(hash: KeyedHash, reveal: bool) -> Redactor {
        Redactor { hash, reveal }
    }

    pub fn reveals(&self) -> bool {
        self.reveal
    }

    /// A short text: secrets and personal data inside are replaced.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.replace(text, true)
    }

    /// A URL part or header value: secrets are replaced, names and addresses stay, because they say what was acted on.
    pub fn location<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.replace(text, false)
    }

    /// Content of a message: shown when short, else its length and hash.
    pub fn content<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.reveal {
            Cow::Borrowed(text)
        } else if text.len() > SHOWN_TEXT {
            Cow::Owned(format!("<text:{}:{} bytes>", self.hash.label(text.as_bytes()), text.len()))
        } else {
            self.text(text)
        }
    }

    /// A header value by its name. One that is no UTF-8 is Latin-1, as field values were once (RFC 9110 section 5.5): then no byte
    /// of it is lost.
    pub fn header(&self, name: &str, value: &[u8]) -> String {
        if !self.reveal && is_secret_name(name) {
            return "<redacted>".into();
        }
        match std::str::from_utf8(value) {
            Ok(text) => self.location(text).into_owned(),
            Err(_) => self.location(&value.iter().map(|&byte| char::from(byte)).collect::<String>()).into_owned(),
        }
    }

    /// `a=1&token=x`: values of secret names are replaced.
    pub fn query(&self, query: &str) -> String {
        if self.reveal {
            return query.into();
        }
        let parts: Vec<Cow<'_, str>> = query
            .split('&')
            .map(|part| match part.split_once('=') {
                Some((name, _)) if is_secret_name(name) => Cow::Owned(format!("{name}=<redacted>")),
                Some(_) | None => self.query_part(part),
            })
            .collect();
        parts.join("&")
    }

    /// Looked at as its reader sees it: an encoded `:` or `@` hides nothing. A part without a secret stays as sent.
    fn query_part<'a>(&self, part: &'a str) -> Cow<'a, str> {
        let plain = part.replace('+', " ");
        let plain = percent_encoding::percent_decode_str(&plain).decode_utf8_lossy();
        match self.text(&plain) {
            Cow::Borrowed(_) => self.text(part),
            Cow::Owned(shown) => Cow::Owned(shown),
        }
    }

    /// A whole value: secret names, then shapes in each text, number and key.
    pub fn value(&self, value: &Value) -> Value {
        if self.reveal {
            return value.clone();
        }
        match value {
            Value::Null | Value::Bool(_) => value.clone(),
            Value::Number(number) => self.number(number),
            Value::Text(text) => match self.content(text) {
                Cow::Borrowed(_) => value.clone(),
                Cow::Owned(shown) => Value::text(shown),
            },
            Value::List(items) => Value::list(items.iter().map(|item| self.value(item))),
            Value::Map(entries) => Value::map(entries.iter().map(|(key, value)| {
                let shown: Arc<str> = self.content(key).into();
                let value = if is_secret_name(key) { self.hidden(value) } else { self.value(value) };
                (shown, value)
            })),
        }
    }

    /// Sensitive content that is a value.
    pub fn sensitive(&self, value: &Sensitive<Value>) -> Value {
        self.value(value.expose_content())
    }

    fn number(&self, number: &Number) -> Value {
        match self.text(&number.text) {
            Cow::Borrowed(_) => Value::Number(number.clone()),
            Cow::Owned(shown) => Value::text(shown),
        }
    }

    fn hidden(&self, value: &Value) -> Value {
        match value {
            Value::Null | Value::Bool(_) => value.clone(),
            Value::Text(text) if text.is_empty() => value.clone(),
            Value::Text(text) => Value::text(self.mark("secret", text)),
            Value::Number(number) => Value::text(self.mark("secret", &number.text)),
            Value::List(items) => Value::list(items.iter().map(|item| self.hidden(item))),
            Value::Map(entries) => Value::map(entries.iter().map(|(key, value)| (key.clone(), self.hidden(value)))),
        }
    }

    fn mark(&self, label: &str, text: &str) -> String {
        format!("<{label}:{}>", self.hash.label(text.as_bytes()))
    }

    fn replace<'a>(&self, text: &'a str, personal: bool) -> Cow<'a, str> {
        let mut shown = Cow::Borrowed(text);
        if self.reveal || text.len() < 6 || !may_hold(text, personal) {
            return shown;
        }
        for detector in detectors().filter(|detector| personal || detector.class == Class::Secret) {
            if let Some(changed) = self.replace_one(detector, &shown) {
                shown = Cow::Owned(changed);
            }
        }
        shown
    }

    fn replace_one(&self, detector: &Detector, text: &str) -> Option<String> {
        let mut out = String::new();
        let mut done = 0;
        for hit in detector.hits(text).filter(|hit| !text[hit.clone()].starts_with('<')) {
            out.push_str(&text[done..hit.start]);
            out.push_str(&self.mark(detector.label, &text[hit.clone()]));
            done = hit.end;
        }
        (done > 0).then(|| out + &text[done..])
    }
}

/// Case, `-` and `_` do not matter: `X-Api-Key`, `apiKey` and `api_key` are one name.
fn is_secret_name(name: &str) -> bool {
    // A field whose name `decode` cannot know may be any.
    if name == crate::decode::UNKNOWN {
        return true;
    }
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect();
    SECRET_WHOLE_NAMES.contains(&plain.as_str()) || SECRET_NAMES.iter().any(|secret| plain.contains(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor(reveal: bool) -> Redactor {
        Redactor::new(KeyedHash::new([7; 16]), reveal)
    }

    /// `secret` must not stay in `text`, and a second look at the result must change nothing.
    fn check(text: &str, secret: &str) {
        let shown = redactor(false).text(text).into_owned();
        assert!(!shown.contains(secret), "{text} -> {shown}");
        assert_eq!(redactor(true).text(text), text);
    }

    #[test]
    fn secrets_become_hashes() {
        for (text, secret) in [
            ("key sk-proj-abcdefghijklmnopqrstuvwxyz012345 used", "abcdefghijklmnop"),
            ("Authorization: Bearer abcdefghijklmnop", "abcdefghijklmnop"),
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1LTEifQ.c2lnbmF0dXJl", "eyJzdWIiOiJ1LTEifQ"),
            ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN7"),
            ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "abcdefghij"),
            ("xoxb-123456789012-abcdefghijkl", "123456789012"),
            ("postgres://app:hunter22@db/x", "hunter22"),
            ("password = correct-horse", "correct-horse"),
            ("card 4111 1111 1111 1111 ok", "4111 1111"),
            ("DE89 3704 0044 0532 0130 00", "0532"),
            ("write to bob@example.com", "bob@"),
            ("-----BEGIN PRIVATE KEY-----\nMIIabc\n-----END PRIVATE KEY-----", "MIIabc"),
        ] {
            check(text, secret);
        }
    }

    #[test]
    fn ordinary_text_stays() {
        for text in [
            "order 1001",
            "1790000000000000000",
            "2026-11-24T10:00:00Z",
            "max_tokens: 400",
            "sk-8",
            "4111 1111 1111 1112",
            "skip-this-step-please-now",
            "basic training, bearer of messages",
        ] {
            assert_eq!(redactor(false).text(text), text);
        }
    }

    #[test]
    fn names_decide_before_shapes() {
        let value = Value::map([
            ("user", Value::text("u-1")),
            ("apiKey", Value::text("plain")),
            ("max_tokens", Value::int(9)),
            ("token", Value::text("t")),
            ("note", Value::text("x".repeat(SHOWN_TEXT + 1))),
            ("edge", Value::text("x".repeat(SHOWN_TEXT))),
        ]);
        let shown = redactor(false).value(&value);
        assert_eq!(shown.get("user"), value.get("user"));
        assert_eq!(shown.get("max_tokens"), value.get("max_tokens"));
        assert_eq!(shown.get("edge"), value.get("edge"));
        for hidden in ["apiKey", "token", "note"] {
            assert_ne!(shown.get(hidden), value.get(hidden), "{hidden}");
        }
        assert_eq!(redactor(true).value(&value), value);
    }

    #[test]
    fn the_same_secret_gives_the_same_hash() {
        let shown = |text| redactor(false).text(text).into_owned();
        assert_eq!(shown("Bearer abcdefghijklmnop"), shown("Bearer abcdefghijklmnop"));
        assert_ne!(shown("Bearer abcdefghijklmnop"), shown("Bearer abcdefghijklmnoq"));
    }

    #[test]
    fn headers_and_queries_by_name() {
        let redactor = redactor(false);
        assert_eq!(redactor.header("x-api-key", b"1"), "<redacted>");
        assert_eq!(redactor.header("set-cookie", b"a=b"), "<redacted>");
        assert_eq!(redactor.header(crate::decode::UNKNOWN, b"Bearer abc"), "<redacted>");
        assert_eq!(redactor.header("host", b"api.example"), "api.example");
        assert_eq!(redactor.query("a=1&access_token=zz&b=x%20y"), "a=1&access_token=<redacted>&b=x%20y");
        for query in ["to=bob@example.com", "to=bob%40example.com", "t=123456789%3Aabcdefghijklmnopqrstuvwxyz012345678"] {
            let shown = redactor.query(query);
            assert!(!shown.contains("bob") && !shown.contains("abcdefgh"), "{shown}");
        }
    }
}
