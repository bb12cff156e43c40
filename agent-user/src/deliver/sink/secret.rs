//! Secrets of sinks: read from a file each time they are needed, so that a rotated one is taken up, and wiped after use.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Where a secret stands. The configuration never holds the secret itself.
#[derive(Clone, Debug)]
pub struct SecretFile(PathBuf);

impl SecretFile {
    /// A relative path names a systemd credential (`LoadCredential=`).
    pub fn new(path: &Path) -> SecretFile {
        let folder = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from).filter(|_| path.is_relative());
        SecretFile(folder.map_or_else(|| path.to_owned(), |folder| folder.join(path)))
    }

    /// Without white space at its end, which editors add.
    pub(super) fn read(&self) -> io::Result<Zeroizing<String>> {
        let told = |why: &str| io::Error::other(format!("{}: {why}", self.0.display()));
        let state = fs::metadata(&self.0).map_err(|error| told(&format!("cannot read the secret: {error}")))?;
        if state.mode() & 0o007 != 0 {
            return Err(told("everybody may read or write this secret; run `chmod o= ` on it"));
        }
        let text =
            Zeroizing::new(fs::read_to_string(&self.0).map_err(|error| told(&format!("cannot read the secret: {error}")))?);
        let plain = Zeroizing::new(text.trim_end().to_owned());
        if plain.is_empty() { Err(told("the secret is empty")) } else { Ok(plain) }
    }
}
