//! What a request is aimed at: host, path and query, out of the forms that requests use.
//!
//! In: a request target or `:authority` and `:path`. Out: the parts as sent; only the scheme's own port is left off, and the
//! host is in lower case, because names do not differ by case (RFC 9110 section 4.2.3).

use std::sync::Arc;

/// `authority` without a port that says nothing.
pub(crate) fn host(authority: &str, scheme: &str) -> Arc<str> {
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let default = if scheme == "https" { ":443" } else { ":80" };
    authority.strip_suffix(default).unwrap_or(authority).to_ascii_lowercase().into()
}

/// Path and query, without the question mark.
pub(crate) fn path_and_query(target: &str) -> (&str, &str) {
    target.split_once('?').unwrap_or((target, ""))
}

/// Absolute form (RFC 9112 section 3.2.2): scheme, authority, and the rest.
pub(crate) fn absolute(target: &str) -> Option<(&'static str, &str, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    let scheme = ["http", "https"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known))?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    Some((scheme, authority, if path.is_empty() { "/" } else { path }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        for (authority, scheme, expected) in [
            ("Api.Example", "https", "api.example"),
            ("api.example:443", "https", "api.example"),
            ("api.example:443", "http", "api.example:443"),
            ("api.example:80", "http", "api.example"),
            ("[::1]:8443", "https", "[::1]:8443"),
            ("user:secret@api.example", "https", "api.example"),
        ] {
            assert_eq!(&*host(authority, scheme), expected);
        }
        assert_eq!(path_and_query("/a?b?c"), ("/a", "b?c"));
        assert_eq!(path_and_query("*"), ("*", ""));
        assert_eq!(absolute("http://a.example"), Some(("http", "a.example", "/")));
        assert_eq!(absolute("HTTPS://a:1/b?c"), Some(("https", "a:1", "/b?c")));
        assert_eq!(absolute("http://a?c"), Some(("http", "a", "?c")));
        assert_eq!(absolute("ftp://a/"), None);
        assert_eq!(absolute("/a://b"), None);
    }
}
