//! Globs over names: the only patterns that are not regular expressions.

/// `*` any text, `?` any byte. Linear in the text for each star.
pub(crate) fn matches(text: &[u8], pattern: &[u8]) -> bool {
    let (mut at, mut in_pattern) = (0, 0);
    let mut star = None;
    while at < text.len() {
        match pattern.get(in_pattern) {
            Some(b'*') => {
                star = Some((at, in_pattern));
                in_pattern += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[at] => {
                at += 1;
                in_pattern += 1;
            }
            _ => {
                let Some((from, star_at)) = star else { return false };
                star = Some((from + 1, star_at));
                at = from + 1;
                in_pattern = star_at + 1;
            }
        }
    }
    pattern[in_pattern..].iter().all(|byte| *byte == b'*')
}
