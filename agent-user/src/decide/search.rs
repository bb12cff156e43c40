//! Many texts looked for at once, whatever the case of ASCII letters.
//!
//! Longer texts are skimmed for: of each, every few bytes that could stand at a sampled place are marked in a table, and only one place
//! in a stride is looked up (Wu and Manber 1994). Where a text may begin around a mark, an automaton reads on, each byte once at most: a
//! text made to hit every mark costs little more than the automaton alone.

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

/// Where texts may stand, told by a few of their bytes.
#[derive(Clone, Debug)]
struct Marks {
    /// Bytes that stand at a sampled place of some text.
    grams: Bloom,
    /// How texts begin: most bytes that stand in one stand elsewhere, too.
    starts: Bloom,
    gram: usize,
    stride: usize,
    longest: usize,
}

const WORD: usize = 8;

impl Marks {
    fn new(texts: &[(usize, &str)]) -> Marks {
        let lengths = texts.iter().map(|(_, text)| text.len());
        let shortest = lengths.clone().min().unwrap_or_default();
        let gram = if shortest > SKIMMED + 1 { 5 } else { 4 };
        let stride = shortest - gram + 1;
        let bytes = || texts.iter().map(|(_, text)| text.as_bytes());
        let sampled = bytes().flat_map(|text| text.windows(gram).take(stride)).map(padded);
        let first = shortest.min(WORD);
        Marks {
            grams: Bloom::new(gram, sampled.collect()),
            starts: Bloom::new(first, bytes().map(|text| padded(&text[..first])).collect()),
            gram,
            stride,
            longest: lengths.max().unwrap_or_default(),
        }
    }

    /// The first place at or after `at`, in strides, from which on a mark may be near; behind the last whole group of places, that one.
    #[inline]
    fn skim(&self, text: &[u8], mut at: usize) -> usize {
        const TOGETHER: usize = 4;
        let reach = (TOGETHER - 1) * self.stride + WORD;
        while let Some(ahead) = text.get(at..at + reach) {
            let mut found = 0;
            for place in 0..TOGETHER {
                found |= ahead[place * self.stride..].first_chunk().map_or(1, |bytes| self.grams.holds(*bytes));
            }
            if found != 0 {
                break;
            }
            at += TOGETHER * self.stride;
        }
        at
    }

    /// Parts of the text that hold every place where a pattern stands; none overlaps another.
    fn regions<'t>(&self, text: &'t [u8], mut each: impl FnMut(&'t [u8])) {
        let bytes = |at: usize| text[at..].first_chunk().copied().unwrap_or_else(|| padded(&text[at..]));
        let mut open = 0..0;
        let mut at = self.skim(text, 0);
        while at + self.gram <= text.len() {
            if self.grams.holds(bytes(at)) == 0 {
                at = self.skim(text, at + self.stride);
                continue;
            }
            // A pattern that has its sampled place here begins less than a stride before it.
            for start in (at + 1).saturating_sub(self.stride)..=at {
                if self.starts.holds(bytes(start)) != 0 {
                    if start >= open.end {
                        each(&text[open]);
                        open = start..0;
                    }
                    open.end = text.len().min(start + self.longest);
                }
            }
            at += self.stride;
        }
        each(&text[open]);
    }
}

/// A set of short byte strings of one length, whatever the case of their letters, that may say yes wrongly: a Bloom filter with both bits
/// of an entry in one word.
#[derive(Clone, Debug)]
struct Bloom {
    words: Box<[u64]>,
    /// Bits of a word's number.
    bits: u32,
    /// Spreads the bytes over a hash and drops those behind them.
    spread: u64,
}

/// A word of the table, and two of its bits.
struct Place {
    word: usize,
    one: u64,
    other: u64,
}

impl Bloom {
    fn new(length: usize, mut entries: Vec<[u8; WORD]>) -> Bloom {
        /// Tables up to this one stay in the first cache (32 KiB), beside the text; a fuller table there is worth more than a larger one.
        const NEAR_BITS: u32 = 12;
        /// Beyond it the table leaves the second cache.
        const MOST_BITS: u32 = 16;
        entries.sort_unstable();
        entries.dedup();
        let bits = match entries.len().next_power_of_two().ilog2() {
            bits if bits <= NEAR_BITS + 1 => bits.clamp(6, NEAR_BITS),
            bits => bits.min(MOST_BITS),
        };
        let mut bloom = Bloom { words: vec![0; 1 << bits].into(), bits, spread: 0x9e37_79b9_7f4a_7c15 << (64 - 8 * length) };
        for entry in entries {
            let Place { word, one, other } = bloom.place(entry);
            bloom.words[word] |= 1 << one | 1 << other;
        }
        bloom
    }

    #[inline]
    fn place(&self, bytes: [u8; WORD]) -> Place {
        const LOWER: u64 = 0x2020_2020_2020_2020;
        let hash = (u64::from_le_bytes(bytes) | LOWER).wrapping_mul(self.spread);
        let word = usize::try_from(hash >> (64 - self.bits)).unwrap_or_default();
        Place { word, one: hash >> 42 & 63, other: hash >> 36 & 63 }
    }

    /// 1 when both bits are set. Without a branch: places are looked at several at once.
    #[inline]
    fn holds(&self, bytes: [u8; WORD]) -> u64 {
        let Place { word, one, other } = self.place(bytes);
        let word = self.words[word];
        word >> one & word >> other & 1
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
