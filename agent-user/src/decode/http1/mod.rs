//! HTTP/1.0 and 1.1 (RFC 9110, RFC 9112).

/// RFC 9110 section 5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// `method SP target SP HTTP/1.x`, as loosely as servers read it.
pub(crate) fn is_request_line(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    let Some(version) = line.len().checked_sub(b"HTTP/1.1".len()) else { return false };
    let (rest, version) = line.split_at(version);
    version.starts_with(b"HTTP/1.") && rest.ends_with(b" ") && rest.trim_ascii().contains(&b' ')
}
