//! Captured content and what may be shown of it.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use siphasher::sip::SipHasher13;
use siphasher::sip128::SipHasher24;

/// Content of a watched process. It never prints itself; only `deliver` opens it, after redaction.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sensitive<T>(T);

impl<T> Sensitive<T> {
    pub fn new(content: T) -> Self {
        Sensitive(content)
    }

    /// The name is long so that a review notices each place that looks inside.
    pub fn expose_content(&self) -> &T {
        &self.0
    }

    pub fn into_content(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Sensitive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<sensitive>")
    }
}

/// Makes fingerprints that correlate within one installation and say nothing to anybody without its key
/// (SipHash-2-4-128, Aumasson and Bernstein 2012).
#[derive(Clone)]
pub struct KeyedHash {
    key: [u8; 16],
}

impl KeyedHash {
    /// `key` comes from the shell: random and kept on disk in the daemon, fixed in a replay so that output repeats.
    pub fn new(key: [u8; 16]) -> Self {
        KeyedHash { key }
    }

    pub fn digest(&self, content: &[u8]) -> u128 {
        SipHasher24::new_with_key(&self.key).hash(content).as_u128()
    }

    /// A fingerprint for as long as the process lives (SipHash-1-3).
    pub fn print(&self, content: &[u8]) -> u64 {
        SipHasher13::new_with_key(&self.key).hash(content)
    }

    /// What stands for a key of any size in a table (SipHash-1-3-128).
    pub fn key(&self, content: &[u8]) -> u128 {
        siphasher::sip128::SipHasher13::new_with_key(&self.key).hash(content).as_u128()
    }

    /// 16 hex digits: enough to correlate, too few to matter if a key leaks.
    pub fn label(&self, content: &[u8]) -> String {
        format!("{:016x}", (self.digest(content) >> 64) as u64)
    }
}

impl fmt::Debug for KeyedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyedHash(<key>)")
    }
}

/// What is known by its fingerprint. Nobody without the key can choose one, so it is its own hash.
pub type Prints<V> = HashMap<u64, V, BuildHasherDefault<Itself>>;

/// Hashes a fingerprint, of either width, to itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Itself(u64);

impl Hasher for Itself {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, print: u64) {
        self.0 = print;
    }

    fn write_u128(&mut self, print: u128) {
        self.0 = print as u64;
    }
}
