//! Strings that only a TLS library holds, and the code that refers to them.

use std::collections::BTreeMap;

use memchr::memmem;

use super::Refused;
use super::image::{Image, u32_at};

/// Copies of one string, and references to all strings. Someone who fills a file with either gets a refusal.
const COPIES: usize = 64;
const REFERENCES: usize = 16_384;

/// Longest path before a file's tail.
const PATH: usize = 512;

/// What is searched for: a whole name, or a path that ends so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text<'s> {
    Name(&'s str),
    Tail(&'s str),
}

/// Addresses of each wanted string, by its index in `wanted`.
pub(super) fn strings(image: &Image<'_>, wanted: &[Text<'_>]) -> Result<BTreeMap<u64, usize>, Refused> {
    let mut found = BTreeMap::new();
    for (index, text) in wanted.iter().enumerate() {
        let (Text::Name(word) | Text::Tail(word)) = text;
        let needle = [word.as_bytes(), b"\0"].concat();
        let finder = memmem::Finder::new(&needle);
        let mut copies = 0;
        for run in image.loaded().filter(|run| image.is_constant(run.address)) {
            for at in finder.find_iter(run.bytes) {
                copies += 1;
                if copies > COPIES {
                    return Err(Refused::TooMany("copies of one string"));
                }
                // A linker may have merged a name into a longer string that ends so.
                let start = match text {
                    Text::Name(_) => at,
                    Text::Tail(_) => {
                        let from = at.saturating_sub(PATH);
                        memchr::memrchr(0, &run.bytes[from..at]).map_or(from, |zero| from + zero + 1)
                    }
                };
                found.insert(run.address + start as u64, index);
            }
        }
    }
    Ok(found)
}

/// Where code loads one of the addresses into a register: address of the instruction, string.
pub(super) fn references(image: &Image<'_>, strings: &BTreeMap<u64, usize>) -> Result<Vec<(u64, usize)>, Refused> {
    let mut found = Vec::new();
    if strings.is_empty() {
        return Ok(found);
    }
    let (low, high) = (strings.keys().next().copied().unwrap_or(0), strings.keys().next_back().copied().unwrap_or(0));
    let mut add = |place: u64, index: usize| {
        found.push((place, index));
        if found.len() > REFERENCES { Err(Refused::TooMany("references to strings")) } else { Ok(()) }
    };
    for run in image.code() {
        // lea r64, [rip + distance]
        for at in memchr::memchr_iter(0x8d, run.bytes) {
            let Some(before) = at.checked_sub(1) else { continue };
            if run.bytes[before] & 0xfb != 0x48 || run.bytes.get(at + 1).is_none_or(|form| form & 0xc7 != 0x05) {
                continue;
            }
            let Some(distance) = u32_at(run.bytes, at + 2) else { continue };
            let target = (run.address + at as u64 + 6).wrapping_add_signed(i64::from(distance.cast_signed()));
            if (low..=high).contains(&target)
                && let Some(index) = strings.get(&target)
            {
                add(run.address + before as u64, *index)?;
            }
        }
        if !image.fixed {
            continue;
        }
        // mov r32, address
        for (address, index) in strings {
            let Ok(narrow) = u32::try_from(*address) else { continue };
            for at in memmem::find_iter(run.bytes, &narrow.to_le_bytes()) {
                let Some(before) = at.checked_sub(1).filter(|before| matches!(run.bytes[*before], 0xb8..=0xbf)) else { continue };
                let extended = before > 0 && run.bytes[before - 1] == 0x41;
                add(run.address + (before - usize::from(extended)) as u64, *index)?;
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}
