//! Secrets of sinks: read from a file each time they are needed, so that a rotated one is taken up, and wiped after use.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::broker;

/// Where a secret stands. The configuration never holds the secret itself.
#[derive(Clone, Debug)]
pub struct SecretFile(PathBuf);

impl SecretFile {
    /// A relative path names a systemd credential (`LoadCredential=`).
    pub fn new(path: &Path) -> SecretFile {
        let folder = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from).filter(|_| path.is_relative());
        SecretFile(folder.map_or_else(|| path.to_owned(), |folder| folder.join(path)))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Without white space at its end, which editors add.
    pub(super) fn read(&self) -> io::Result<Zeroizing<String>> {
        let told = |why: &str| io::Error::other(format!("{}: {why}", self.0.display()));
        let unreadable = |error: io::Error| told(&format!("cannot read the secret: {error}"));
        let mut file = broker::read(&self.0).map_err(unreadable)?;
        let state = file.metadata().map_err(unreadable)?;
        if state.mode() & 0o007 != 0 {
            return Err(told("everybody may read or write this secret; run `chmod o= ` on it"));
        }
        // Room for it at once: a buffer that grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(usize::try_from(state.len()).unwrap_or(0) + 1));
        file.read_to_string(&mut text).map_err(unreadable)?;
        let plain = Zeroizing::new(text.trim_end().to_owned());
        if plain.is_empty() { Err(told("the secret is empty")) } else { Ok(plain) }
    }
}
