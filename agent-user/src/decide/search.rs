//! Many texts looked for at once, whatever the case of ASCII letters.
//!
//! Longer texts are skimmed for: of each, every few bytes that could stand at a sampled place are marked in a table, and only one place
//! in a stride is looked up (Wu and Manber 1994). What is around a mark goes through an automaton, each byte once at most: a text made
//! to hit every mark costs what the automaton alone costs.

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind, BuildError, MatchKind};

/// Automata of this many bytes of patterns are compiled to tables.
const TABLE_BYTES: usize = 64 << 10;

/// Shorter texts leave no stride.
const SKIMMED: usize = 6;

#[derive(Clone, Debug)]
pub(super) struct Search {
    short: Option<Automaton>,
    long: Option<(Marks, Automaton)>,
}

#[derive(Clone, Debug)]
struct Automaton {
    machine: AhoCorasick,
    /// What the patterns are called outside.
    names: Vec<usize>,
}

impl Search {
    /// Patterns are known by their places in `texts`.
    pub(super) fn new(texts: &[&str]) -> Result<Search, BuildError> {
        let all = || texts.iter().copied().enumerate();
        let (long, short): (Vec<_>, Vec<_>) = all().partition(|(_, text)| text.len() >= SKIMMED);
        let long = (!long.is_empty()).then(|| Ok((Marks::new(&long), Automaton::new(&long)?)));
        let short = (!short.is_empty()).then(|| Automaton::new(&short));
        Ok(Search { short: short.transpose()?, long: long.transpose()? })
    }

    /// Calls `found` with each pattern that stands in the text, perhaps more than once.
    pub(super) fn each(&self, text: &str, found: &mut impl FnMut(usize)) {
        let text = text.as_bytes();
        if let Some(short) = &self.short {
            short.each(text, found);
        }
        if let Some((marks, long)) = &self.long {
            marks.regions(text, |region| long.each(region, found));
        }
    }
}

impl Automaton {
    fn new(texts: &[(usize, &str)]) -> Result<Automaton, BuildError> {
        let bytes: usize = texts.iter().map(|(_, text)| text.len()).sum();
        let kind = if bytes <= TABLE_BYTES { AhoCorasickKind::DFA } else { AhoCorasickKind::ContiguousNFA };
        let mut builder = AhoCorasickBuilder::new();
        builder.ascii_case_insensitive(true).match_kind(MatchKind::Standard).kind(Some(kind)).prefilter(false);
        let machine = builder.build(texts.iter().map(|(_, text)| text))?;
        Ok(Automaton { machine, names: texts.iter().map(|(name, _)| *name).collect() })
    }

    fn each(&self, text: &[u8], found: &mut impl FnMut(usize)) {
        self.machine.find_overlapping_iter(text).for_each(|hit| found(self.names[hit.pattern().as_usize()]));
    }
}

/// Which few bytes stand at a sampled place of some text: a Bloom filter, both bits of an entry in one word.
#[derive(Clone, Debug)]
struct Marks {
    words: Box<[u64]>,
    /// Bits of a word's number.
    bits: u32,
    /// Spreads the bytes of a gram over a hash and drops those behind them.
    spread: u64,
    gram: usize,
    stride: usize,
    longest: usize,
}

const WORD: usize = 8;

/// A word of the table, and two of its bits.
struct Place {
    word: usize,
    one: u64,
    other: u64,
}

impl Marks {
    fn new(texts: &[(usize, &str)]) -> Marks {
        /// Beyond it the table leaves the second cache.
        const MOST_BITS: u32 = 16;
        let lengths = texts.iter().map(|(_, text)| text.len());
        let shortest = lengths.clone().min().unwrap_or_default();
        let gram = if shortest > SKIMMED + 1 { 5 } else { 4 };
        let stride = shortest - gram + 1;
        let bits = (texts.len() * stride).next_power_of_two().ilog2().clamp(6, MOST_BITS);
        let mut marks = Marks {
            words: vec![0; 1 << bits].into(),
            bits,
            spread: 0x9e37_79b9_7f4a_7c15 << (64 - 8 * gram),
            gram,
            stride,
            longest: lengths.max().unwrap_or_default(),
        };
        for (_, text) in texts {
            for gram in text.as_bytes().windows(gram).take(stride) {
                let Place { word, one, other } = marks.place(padded(gram));
                marks.words[word] |= 1 << one | 1 << other;
            }
        }
        marks
    }

    #[inline]
    fn place(&self, bytes: [u8; WORD]) -> Place {
        const LOWER: u64 = 0x2020_2020_2020_2020;
        let hash = (u64::from_le_bytes(bytes) | LOWER).wrapping_mul(self.spread);
        let word = usize::try_from(hash >> (64 - self.bits)).unwrap_or_default();
        Place { word, one: hash >> 42 & 63, other: hash >> 36 & 63 }
    }

    #[inline]
    fn holds(&self, bytes: [u8; WORD]) -> bool {
        let Place { word, one, other } = self.place(bytes);
        let word = self.words[word];
        word >> one & 1 != 0 && word >> other & 1 != 0
    }

    /// Parts of the text that hold every place where a pattern stands; none overlaps another.
    fn regions<'t>(&self, text: &'t [u8], mut each: impl FnMut(&'t [u8])) {
        let mut open = 0..0;
        let mut at = 0;
        while at + self.gram <= text.len() {
            let bytes = text[at..].first_chunk().copied().unwrap_or_else(|| padded(&text[at..]));
            if self.holds(bytes) {
                let from = (at + 1).saturating_sub(self.stride);
                if from >= open.end {
                    each(&text[open]);
                    open = from..0;
                }
                open.end = text.len().min(at + self.longest);
            }
            at += self.stride;
        }
        each(&text[open]);
    }
}

fn padded(bytes: &[u8]) -> [u8; WORD] {
    let mut word = [0; WORD];
    word[..bytes.len()].copy_from_slice(bytes);
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What one search for each text finds.
    fn check(texts: &[&str], text: &str) {
        let lower = text.to_ascii_lowercase();
        let expected: Vec<usize> = (0..texts.len()).filter(|at| lower.contains(texts[*at])).collect();
        let mut found = Vec::new();
        Search::new(texts).expect("few texts").each(text, &mut |at| found.push(at));
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, expected, "{texts:?} in {text}");
    }

    #[test]
    fn every_text_at_every_place() {
        let texts = ["curl", "abcabc", "abcabcd", "cabcabca", "forbidden word", "forbidden words of a list", "é marks"];
        for text in texts {
            for before in 0..40 {
                for after in [0, 1, 7, 8, 40] {
                    check(&texts, &format!("{}{text}{}", "-".repeat(before), "c".repeat(after)));
                    check(
                        &texts[4..],
                        &format!("{}{}{text}", "FORBIDDEN ".repeat(before % 3), "ab".repeat(before)).to_uppercase(),
                    );
                }
            }
        }
        check(&texts, "");
        check(&["abcabc"], &"abcab".repeat(30));
        check(&[], "abc");
    }
}
