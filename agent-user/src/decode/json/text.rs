//! The characters of a JSON string, eight bytes at a time.
//!
//! In: bytes behind the opening quote, known to be UTF-8. Out: how many stand for themselves, and a buffer that takes them together
//! with what escapes stand for. Most of a chat body is strings full of `\"` and `\n`: between two of them stand a few dozen bytes, for
//! which a call to copy memory would cost more than the copy.

/// How many bytes stand for themselves, up to a quote, a backslash or a control character.
pub(super) fn plain(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    for _ in 0..WORDS_FIRST {
        let Some((word, after)) = rest.split_first_chunk::<WORD>() else { return bytes.len() - rest.len() + tail(rest) };
        let hit = ends(u64::from_le_bytes(*word));
        if hit != 0 {
            return bytes.len() - rest.len() + first(hit);
        }
        rest = after;
    }
    // Long: a block at a time, which the compiler makes vector code of.
    while let Some((block, after)) = rest.split_first_chunk::<BLOCK>() {
        if block.iter().fold(false, |found, &byte| found | ends_plain(byte)) {
            break;
        }
        rest = after;
    }
    while let Some((word, after)) = rest.split_first_chunk::<WORD>() {
        let hit = ends(u64::from_le_bytes(*word));
        if hit != 0 {
            return bytes.len() - rest.len() + first(hit);
        }
        rest = after;
    }
    bytes.len() - rest.len() + tail(rest)
}

/// A string with its escapes undone, as far as it was read. The buffer is used again for the next one.
#[derive(Default)]
pub(super) struct Unescaped {
    bytes: Vec<u8>,
    made: usize,
}

impl Unescaped {
    pub(super) fn clear(&mut self) {
        self.made = 0;
    }

    /// Takes the bytes that stand for themselves, and says how many they are.
    pub(super) fn take_plain(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while let Some((word, after)) = rest.split_first_chunk::<WORD>() {
            self.room::<WORD>().copy_from_slice(word);
            let hit = ends(u64::from_le_bytes(*word));
            if hit != 0 {
                self.made += first(hit);
                return bytes.len() - rest.len() + first(hit);
            }
            self.made += WORD;
            rest = after;
        }
        let last = tail(rest);
        for &byte in &rest[..last] {
            self.room::<1>()[0] = byte;
            self.made += 1;
        }
        bytes.len() - rest.len() + last
    }

    pub(super) fn push(&mut self, character: char) {
        self.made += character.encode_utf8(self.room::<4>()).len();
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.made]).expect("whole characters of UTF-8 text, and characters")
    }

    fn room<const N: usize>(&mut self) -> &mut [u8; N] {
        if self.bytes.len() < self.made + N {
            self.bytes.resize((self.made + N).max(2 * self.bytes.len()).max(LEAST), 0);
        }
        self.bytes[self.made..].first_chunk_mut().expect("there is room now")
    }
}

const WORD: usize = 8;
const BLOCK: usize = 32;
/// Strings shorter than these are looked through by words alone.
const WORDS_FIRST: usize = 4;
const LEAST: usize = 256;

const ONES: u64 = 0x0101_0101_0101_0101;
const TOPS: u64 = 0x8080_8080_8080_8080;

/// The top bit of the first byte that ends a plain run, counted from the low end; bytes above it may be marked without cause.
fn ends(word: u64) -> u64 {
    let is_zero = |bytes: u64| bytes.wrapping_sub(ONES) & !bytes;
    let quote = is_zero(word ^ (ONES * b'"' as u64));
    let backslash = is_zero(word ^ (ONES * b'\\' as u64));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | backslash | control) & TOPS
}

fn first(hit: u64) -> usize {
    hit.trailing_zeros() as usize / 8
}

fn tail(bytes: &[u8]) -> usize {
    bytes.iter().position(|&byte| ends_plain(byte)).unwrap_or(bytes.len())
}

fn ends_plain(byte: u8) -> bool {
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place() {
        for length in [1, 7, 8, 9, 31, 32, 33, 100, 200] {
            for at in 0..length {
                for byte in 0..=u8::MAX {
                    let mut bytes = vec![b'a'; length];
                    bytes[at] = byte;
                    let expected = if ends_plain(byte) { at } else { length };
                    assert_eq!(plain(&bytes), expected, "{byte:#x} at {at} of {length}");
                    let mut unescaped = Unescaped::default();
                    assert_eq!(unescaped.take_plain(&bytes), expected, "{byte:#x} at {at} of {length}");
                    assert_eq!(unescaped.bytes[..unescaped.made], bytes[..expected]);
                }
            }
        }
    }
}
