//! Who may ask: sizes, host names, origins, sessions. Everything here is decided before a page is thought of.
//!
//! The console shows what agents did for people. Its enemies: a web page in the operator's browser that sends requests to loopback
//! (cross-origin, DNS rebinding), another user of the host, and what agents captured (that one is met by escaping and the CSP).

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, ORIGIN};
use hyper::{Method, StatusCode, Uri};
use sha2::{Digest, Sha256};

use crate::console::Failure;

/// Longest path with query, and longest body: a login is all that is ever sent.
const PATH_BYTES: usize = 1024;
pub(super) const BODY_BYTES: usize = 1024;
/// A guess at a shorter token could succeed.
const TOKEN_BYTES: usize = 32;
/// People at once; the oldest session ends first.
const SESSIONS: usize = 32;
const SESSION_LASTS: Duration = Duration::from_secs(12 * 60 * 60);
const COOKIE_NAME: &str = "agentward";

pub(super) struct Gate {
    /// `Host` values that are answered, in lower case.
    hosts: Vec<String>,
    token: [u8; 32],
    sessions: Mutex<VecDeque<([u8; 32], Instant)>>,
    /// Users whom the unix socket vouches for; `None`: everybody logs in with the token.
    peers: Option<Vec<u32>>,
}

/// Refused, with the reason for the person who is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused(pub(super) StatusCode, pub(super) &'static str);

impl Gate {
    pub(super) fn new(hosts: Vec<String>, token: &str, peers: Option<Vec<u32>>) -> Gate {
        Gate { hosts, token: digest(token.as_bytes()), sessions: Mutex::default(), peers }
    }

    /// What can be said of a request before it is known who sends it.
    pub(super) fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Refused> {
        if uri.path_and_query().map_or(0, |path| path.as_str().len()) > PATH_BYTES {
            return Err(Refused(StatusCode::URI_TOO_LONG, "the address is too long"));
        }
        let length = headers.get(CONTENT_LENGTH).map(|length| length.to_str().ok().and_then(|text| text.parse::<usize>().ok()));
        if length.is_some_and(|length| length.is_none_or(|length| length > BODY_BYTES)) {
            return Err(Refused(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large"));
        }
        if !matches!(*method, Method::GET | Method::HEAD | Method::POST) {
            return Err(Refused(StatusCode::METHOD_NOT_ALLOWED, "only GET, HEAD and POST are answered"));
        }
        let host = one(headers, HOST.as_str()).map(str::to_ascii_lowercase);
        let Some(host) = host.filter(|host| self.hosts.contains(host)) else {
            // A name that resolves to loopback is how a foreign page would reach it.
            return Err(Refused(
                StatusCode::MISDIRECTED_REQUEST,
                "this host name is not served here; add it to `hosts` in [console]",
            ));
        };
        if let Some(origin) = headers.get(ORIGIN) {
            let same = origin.to_str().is_ok_and(|origin| {
                let name = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
                name.is_some_and(|name| name.eq_ignore_ascii_case(&host))
            });
            if !same {
                return Err(Refused(StatusCode::FORBIDDEN, "requests of other origins are refused"));
            }
        }
        let site = one(headers, "sec-fetch-site").unwrap_or("none");
        let opens_a_page = *method == Method::GET && one(headers, "sec-fetch-mode").is_none_or(|mode| mode == "navigate");
        if !matches!(site, "none" | "same-origin") && !opens_a_page {
            return Err(Refused(StatusCode::FORBIDDEN, "requests of other sites are refused"));
        }
        Ok(())
    }

    /// The cookie of a session, the token as `Authorization: Bearer` (programs), or a user of the socket.
    pub(super) fn admits(&self, headers: &HeaderMap, peer: Option<u32>) -> bool {
        if let (Some(users), Some(peer)) = (&self.peers, peer) {
            return users.contains(&peer);
        }
        let bearer = one(headers, AUTHORIZATION.as_str()).and_then(|value| value.strip_prefix("Bearer "));
        bearer.is_some_and(|token| self.is_token(token)) || self.in_session(headers)
    }

    pub(super) fn is_token(&self, token: &str) -> bool {
        same(&digest(token.as_bytes()), &self.token)
    }

    /// A cookie for who gave the token.
    pub(super) fn begin_session(&self) -> std::io::Result<String> {
        let id = hex(&random()?);
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.push_back((digest(id.as_bytes()), Instant::now()));
        if sessions.len() > SESSIONS {
            sessions.pop_front();
        }
        Ok(format!("{COOKIE_NAME}={id}; HttpOnly; SameSite=Strict; Path=/; Max-Age={}", SESSION_LASTS.as_secs()))
    }

    pub(super) fn end_session(&self, headers: &HeaderMap) -> String {
        let ids: Vec<[u8; 32]> = cookies(headers).map(|id| digest(id.as_bytes())).collect();
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).retain(|(known, _)| !ids.contains(known));
        format!("{COOKIE_NAME}=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0")
    }

    fn in_session(&self, headers: &HeaderMap) -> bool {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.retain(|(_, begun)| begun.elapsed() < SESSION_LASTS);
        cookies(headers).any(|id| {
            let id = digest(id.as_bytes());
            // All are compared, so that time says nothing about which one was near.
            sessions.iter().fold(false, |found, (known, _)| same(&id, known) | found)
        })
    }
}

/// The only value of a header: two of a kind are how requests are smuggled past a check.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        (Some(_), Some(_)) | (None, _) => None,
    }
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().strip_prefix(COOKIE_NAME)?.strip_prefix('='))
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// In constant time, over digests: neither length nor content of the secret can be felt.
fn same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.iter().zip(other).fold(0, |differ, (one, other)| differ | (one ^ other)) == 0
}

fn random() -> std::io::Result<[u8; 32]> {
    use ring::rand::SecureRandom;
    let mut bytes = [0; 32];
    // Asked of the kernel, not of a file: the daemon's worker reaches none.
    let none = |_| std::io::Error::other("the system gives no random bytes");
    ring::rand::SystemRandom::new().fill(&mut bytes).map_err(none)?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The token of this installation: made once, kept with mode 0600. Without a file, one for this run.
pub(super) fn token(path: Option<&Path>) -> Result<String, Failure> {
    use std::io::Write;
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let Some(path) = path else {
        let bytes = random().map_err(|error| Failure::Internal(error.into()))?;
        return Ok(hex(&bytes));
    };
    let failed = |error| Failure::file(path, "read or make the token of the console", &error);
    match std::fs::metadata(path) {
        Ok(known) => {
            if known.permissions().mode() & 0o077 != 0 {
                return Err(Failure::Input(format!("{}: others may read this token; run chmod 600 on it", path.display())));
            }
            let token = std::fs::read_to_string(path).map_err(failed)?.trim().to_owned();
            if token.len() < TOKEN_BYTES {
                let reason = "a token needs at least 32 characters; remove the file to have one made";
                return Err(Failure::Input(format!("{}: {reason}", path.display())));
            }
            Ok(token)
        }
        Err(_) => {
            let token = hex(&random().map_err(failed)?);
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(failed)?;
            }
            let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path).map_err(failed)?;
            file.write_all(token.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
            Ok(token)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn gate() -> Gate {
        Gate::new(vec!["127.0.0.1:8790".into(), "localhost:8790".into()], TOKEN, None)
    }

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value"))).collect()
    }

    #[test]
    fn strangers_are_refused_before_anything_is_read() {
        let own = ("host", "127.0.0.1:8790");
        for (method, lines, expected) in [
            (Method::GET, vec![own], Ok(())),
            (Method::GET, vec![("host", "LOCALHOST:8790")], Ok(())),
            (Method::GET, vec![], Err(421)),
            (Method::GET, vec![("host", "evil.example")], Err(421)),
            (Method::GET, vec![("host", "evil.example:8790")], Err(421)),
            (Method::GET, vec![("host", "127.0.0.1:8791")], Err(421)),
            (Method::GET, vec![own, own], Err(421)),
            (Method::DELETE, vec![own], Err(405)),
            (Method::OPTIONS, vec![own, ("origin", "http://evil.example")], Err(405)),
            (Method::GET, vec![own, ("origin", "http://127.0.0.1:8790")], Ok(())),
            (Method::GET, vec![own, ("origin", "http://evil.example")], Err(403)),
            (Method::GET, vec![own, ("origin", "null")], Err(403)),
            (Method::POST, vec![own, ("origin", "http://127.0.0.1:9999")], Err(403)),
            (Method::POST, vec![own, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")], Err(403)),
            (Method::GET, vec![own, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")], Ok(())),
            (Method::GET, vec![own, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")], Err(403)),
            (Method::GET, vec![own, ("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors")], Ok(())),
            (Method::POST, vec![own, ("content-length", "1024")], Ok(())),
            (Method::POST, vec![own, ("content-length", "1025")], Err(413)),
            (Method::POST, vec![own, ("content-length", "-1")], Err(413)),
        ] {
            let found = gate().check(&method, &Uri::from_static("/"), &headers(&lines)).map_err(|refused| refused.0.as_u16());
            assert_eq!(found, expected, "{method} {lines:?}");
        }
        let long: Uri = format!("/{}", "a".repeat(PATH_BYTES)).parse().expect("an address");
        assert_eq!(gate().check(&Method::GET, &long, &headers(&[own])).map_err(|refused| refused.0.as_u16()), Err(414));
    }

    #[test]
    fn only_the_token_or_a_session_is_admitted() {
        let gate = gate();
        let cookie = gate.begin_session().expect("randomness");
        let pair: String = cookie.split(';').next().expect("a first part").to_owned();
        let admitted = |name: &'static str, value: &str| {
            gate.admits(&[(name.parse().expect("a name"), value.parse().expect("a value"))].into_iter().collect(), None)
        };
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"));
        assert!(admitted("cookie", &pair) && admitted("cookie", &format!("a=b; {pair}")));
        assert!(admitted("authorization", &format!("Bearer {TOKEN}")));
        for (name, value) in [
            ("cookie", "agentward="),
            ("cookie", "agentward=0"),
            ("cookie", TOKEN),
            ("authorization", "Bearer "),
            ("authorization", TOKEN),
            ("authorization", "Bearer 0123456789abcdef0123456789abcdeF"),
        ] {
            assert!(!admitted(name, value), "{name}: {value}");
        }
        let headers: HeaderMap = [(COOKIE, pair.parse().expect("a value"))].into_iter().collect();
        gate.end_session(&headers);
        assert!(!gate.admits(&headers, None));
    }

    #[test]
    fn the_socket_vouches_for_its_users_only() {
        let gate = Gate::new(Vec::new(), TOKEN, Some(vec![0, 1000]));
        assert!(gate.admits(&HeaderMap::new(), Some(1000)));
        assert!(!gate.admits(&HeaderMap::new(), Some(1001)));
        assert!(!gate.admits(&HeaderMap::new(), None));
    }

    #[test]
    fn sessions_are_bounded() {
        let gate = gate();
        let first = gate.begin_session().expect("randomness");
        for _ in 0..SESSIONS {
            gate.begin_session().expect("randomness");
        }
        let pair = first.split(';').next().expect("a first part");
        assert!(!gate.admits(&[(COOKIE, pair.parse().expect("a value"))].into_iter().collect(), None));
    }
}
