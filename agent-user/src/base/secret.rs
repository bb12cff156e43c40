//! Captured content and what may be shown of it.

use std::fmt;
use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher24};

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
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write(content);
        hasher.finish128().as_u128()
    }

    /// For a key that is written in parts.
    pub fn hasher(&self) -> siphasher::sip128::SipHasher13 {
        siphasher::sip128::SipHasher13::new_with_key(&self.key)
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
