//! The tree of RFC 6962 (section 2.1) over SHA-256, held as the tiles of C2SP tlog-tiles hold it: 256 hashes a tile, each hash of a
//! level the root of 256 of the level below.

use sha2::{Digest, Sha256};

pub(super) type Hash = [u8; 32];

/// Hashes in a full tile.
pub(super) const WIDTH: usize = 256;

pub(super) fn leaf(entry: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(entry).finalize().into()
}

pub(super) fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The root over perfect trees of one size, the last of which may be smaller.
pub(super) fn root(parts: &[Hash]) -> Hash {
    match parts {
        [] => Sha256::digest([]).into(),
        [only] => *only,
        _ => {
            let (left, right) = parts.split_at(half(parts.len()));
            node(&root(left), &root(right))
        }
    }
}

/// The largest power of two below `count`.
fn half(count: usize) -> usize {
    count.next_power_of_two() / 2
}

/// The right edge of a growing tree: for each level the hashes of its last tile that is not full.
#[derive(Clone, Debug, Default)]
pub(super) struct Edge {
    pub(super) levels: Vec<Vec<Hash>>,
    pub(super) size: u64,
}

impl Edge {
    /// Takes the next leaf; `full` is told each tile that it fills: level, number, hashes.
    pub(super) fn push<E>(&mut self, leaf: Hash, mut full: impl FnMut(usize, u64, &[Hash]) -> Result<(), E>) -> Result<(), E> {
        self.size += 1;
        let (mut level, mut hash, mut span) = (0, leaf, WIDTH as u64);
        loop {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let tile = &mut self.levels[level];
            tile.push(hash);
            if tile.len() < WIDTH {
                return Ok(());
            }
            full(level, self.size / span - 1, tile)?;
            hash = root(tile);
            tile.clear();
            (level, span) = (level + 1, span.saturating_mul(WIDTH as u64));
        }
    }

    pub(super) fn root(&self) -> Hash {
        let mut rest: Option<Hash> = None;
        for tile in &self.levels {
            let parts: Vec<Hash> = tile.iter().copied().chain(rest).collect();
            if !parts.is_empty() {
                rest = Some(root(&parts));
            }
        }
        rest.unwrap_or_else(|| root(&[]))
    }
}

/// The hashes beside the way from leaf `index` to the root of all `leaves`, lowest first (RFC 6962 section 2.1.1).
pub(super) fn path(leaves: &[Hash], index: usize) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(half(leaves.len()));
    let (mut way, other) = if index < left.len() { (path(left, index), right) } else { (path(right, index - left.len()), left) };
    way.push(root(other));
    way
}

/// The root that `leaf` at `index` of `size` and its path lead to (RFC 9162 section 2.1.3.2); `None` when they do not fit together.
pub(super) fn climb(leaf: Hash, index: u64, size: u64, path: &[Hash]) -> Option<Hash> {
    if index >= size {
        return None;
    }
    let (mut place, mut last, mut hash) = (index, size - 1, leaf);
    for other in path {
        if last == 0 {
            return None;
        }
        if place & 1 == 1 || place == last {
            hash = node(other, &hash);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, other);
        }
        place >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(hash: Hash) -> String {
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The published test vectors of Certificate Transparency: eight leaves and the roots of their prefixes.
    #[test]
    fn published_roots_are_reproduced() {
        let leaves: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let hashes: Vec<Hash> = leaves.iter().map(|entry| leaf(entry)).collect();
        for (size, expected) in [
            (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
            (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
            (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
            (5, "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
            (8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"),
        ] {
            assert_eq!(hex(root(&hashes[..size])), expected, "{size}");
        }
    }

    /// The edge agrees with the whole tree at each size across two tiles, and each path climbs to it; a wrong one does not.
    #[test]
    fn edge_paths_and_tree_agree() {
        let hashes: Vec<Hash> = (0..600_u32).map(|number| leaf(&number.to_le_bytes())).collect();
        let mut edge = Edge::default();
        let mut tiles = Vec::new();
        for (number, hash) in hashes.iter().enumerate() {
            edge.push::<()>(*hash, |level, place, tile| {
                tiles.push((level, place, tile.len()));
                Ok(())
            })
            .expect("this one cannot fail");
            assert_eq!(edge.root(), root(&hashes[..=number]), "{number}");
        }
        assert_eq!(tiles, [(0, 0, WIDTH), (0, 1, WIDTH)]);
        for size in [1, 2, 3, 255, 256, 257, 600] {
            let whole = root(&hashes[..size]);
            for index in [0, 1, size / 2, size - 1].into_iter().filter(|index| *index < size) {
                let way = path(&hashes[..size], index);
                assert_eq!(climb(hashes[index], index as u64, size as u64, &way), Some(whole), "{index} of {size}");
                assert_ne!(climb(hashes[(index + 1) % 600], index as u64, size as u64, &way), Some(whole));
            }
        }
    }
}
