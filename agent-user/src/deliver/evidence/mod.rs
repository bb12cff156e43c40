//! Evidence that holds: each record of the journal is a leaf of an append-only Merkle log, whose signed checkpoints anyone can keep.
//!
//! In: journal records, through a cursor like any sink. Out: static files as C2SP tlog-tiles lays them out (`checkpoint`,
//! `tile/LEVEL/NUMBER`, `tile/entries/NUMBER`), and bundles that verify offline. What it cannot do: whoever is root on the host can feed
//! or stop it; checkpoints that were copied elsewhere before show a history that was rewritten later.

mod bundle;
mod merkle;
mod note;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub use bundle::{Bundle, Verdict, export, pack_hash, sha256, verify, verify_bundle};
use merkle::{Edge, Hash, WIDTH};
use note::Signer;
pub use note::{Checkpoint, Verifier};

use super::sink::{Fate, Parcel, Sink, Trouble};

/// Entries are at most this long in tlog-tiles; of a longer record the log keeps the hash.
const ENTRY_BYTES: usize = 0xffff;

/// The writing end; a sink like others, so that it is fed at least once and never blocks anybody.
pub struct Log {
    folder: PathBuf,
    signer: Signer,
    edge: Edge,
    /// Of the last tile that is not full.
    entries: Vec<Vec<u8>>,
    /// Journal number after the last one in the log: a record that comes again is passed over.
    next: u64,
}

impl Log {
    /// Opens or creates the log of `folder`; `origin` names this installation. What stands behind the last checkpoint is dropped: its
    /// records come again.
    pub fn open(folder: &Path, origin: &str) -> io::Result<Log> {
        fs::create_dir_all(folder.join("tile/entries"))?;
        let signer = Signer::new(origin, &seed(&folder.join("log.key"))?)?;
        fs::write(folder.join("log.pub"), signer.verifier().text() + "\n")?;
        let mut log = Log { folder: folder.to_owned(), signer, edge: Edge::default(), entries: Vec::new(), next: 0 };
        match fs::read_to_string(folder.join("checkpoint")) {
            Ok(note) => log.reopen(&note)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => log.checkpoint()?,
            Err(error) => return Err(error),
        }
        Ok(log)
    }

    fn reopen(&mut self, note: &str) -> io::Result<()> {
        let broken = |why: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {why}", self.folder.display()));
        let checkpoint =
            self.signer.verifier().open(note).ok_or_else(|| broken("the checkpoint is not signed by this log's key"))?;
        let mut edge = Edge::default();
        let mut entries = Vec::new();
        for number in 0..checkpoint.size.div_ceil(WIDTH as u64) {
            let count = usize::try_from(checkpoint.size - number * WIDTH as u64).unwrap_or(WIDTH).min(WIDTH);
            entries = read_entries(&self.folder, number, count)?;
            for entry in &entries {
                edge.push(merkle::leaf(entry), |_, _, _| Ok::<(), io::Error>(()))?;
            }
        }
        if edge.root() != checkpoint.root {
            return Err(broken(
                "the entries are not those of the checkpoint; keep the folder as evidence and start with a new one",
            ));
        }
        self.next = entries.last().and_then(|entry| sequence(entry)).map_or(0, |last| last + 1);
        if entries.len() == WIDTH {
            entries.clear();
        }
        (self.edge, self.entries) = (edge, entries);
        Ok(())
    }

    fn append(&mut self, batch: &[Parcel]) -> io::Result<()> {
        for parcel in batch {
            if parcel.sequence.0 < self.next {
                continue;
            }
            let entry = entry(parcel);
            let leaf = merkle::leaf(&entry);
            self.entries.push(entry);
            let folder = &self.folder;
            self.edge.push(leaf, |level, number, hashes| write_tile(folder, level, number, hashes))?;
            if self.entries.len() == WIDTH {
                let number = self.edge.size / WIDTH as u64 - 1;
                write_entries(&self.folder, number, &self.entries)?;
                self.entries.clear();
            }
            self.next = parcel.sequence.0 + 1;
        }
        self.partial()?;
        self.checkpoint()
    }

    /// Tiles that are not full have their width in their name.
    fn partial(&self) -> io::Result<()> {
        let mut span = WIDTH as u64;
        for (level, hashes) in self.edge.levels.iter().enumerate() {
            if !hashes.is_empty() {
                write_tile(&self.folder, level, self.edge.size / span, hashes)?;
            }
            span = span.saturating_mul(WIDTH as u64);
        }
        if self.entries.is_empty() { Ok(()) } else { write_entries(&self.folder, self.edge.size / WIDTH as u64, &self.entries) }
    }

    /// Last of all, so that a checkpoint never speaks of what is not on the disk.
    fn checkpoint(&self) -> io::Result<()> {
        let note = self.signer.sign(&Checkpoint { size: self.edge.size, root: self.edge.root() });
        replace(&self.folder.join("checkpoint"), note.as_bytes())
    }
}

impl Sink for Log {
    fn deliver(&mut self, batch: &[Parcel]) -> Result<Vec<Fate>, Trouble> {
        if let Err(error) = self.append(batch) {
            // What is in memory may be ahead of the files: the last checkpoint is the truth.
            let folder = self.folder.clone();
            let note = fs::read_to_string(folder.join("checkpoint"))?;
            self.reopen(&note)?;
            return Err(Trouble::from(io::Error::other(format!("{}: {error}", folder.display()))));
        }
        Ok(vec![Fate::Delivered; batch.len()])
    }
}

/// `{"sequence":n,"record":{…}}`; of a record too long for the log, `"sha256"` in its place.
fn entry(parcel: &Parcel) -> Vec<u8> {
    let whole = format!("{{\"sequence\":{},\"record\":{}}}", parcel.sequence.0, parcel.text);
    if whole.len() <= ENTRY_BYTES {
        return whole.into_bytes();
    }
    use sha2::{Digest, Sha256};
    let hash: String = Sha256::digest(parcel.text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let uid = serde_json::Value::from(parcel.uid.as_str());
    format!("{{\"sequence\":{},\"record\":{{\"uid\":{uid}}},\"sha256\":\"{hash}\"}}", parcel.sequence.0).into_bytes()
}

fn sequence(entry: &[u8]) -> Option<u64> {
    serde_json::from_slice::<serde_json::Value>(entry).ok()?.get("sequence")?.as_u64()
}

/// `x001/x234/067` for 1234067.
fn place(number: u64) -> String {
    let mut text = format!("{:03}", number % 1000);
    let mut rest = number / 1000;
    while rest > 0 {
        text = format!("x{:03}/{text}", rest % 1000);
        rest /= 1000;
    }
    text
}

fn tile_path(folder: &Path, kind: &str, number: u64, width: usize) -> PathBuf {
    let full = folder.join("tile").join(kind).join(place(number));
    if width == WIDTH { full } else { PathBuf::from(format!("{}.p", full.display())).join(width.to_string()) }
}

fn write_tile(folder: &Path, level: usize, number: u64, hashes: &[Hash]) -> io::Result<()> {
    replace(&tile_path(folder, &level.to_string(), number, hashes.len()), &hashes.concat())?;
    drop_partial(folder, &level.to_string(), number, hashes.len())
}

/// A full tile stands for all of its narrower ones.
fn drop_partial(folder: &Path, kind: &str, number: u64, width: usize) -> io::Result<()> {
    let narrower = PathBuf::from(format!("{}.p", tile_path(folder, kind, number, WIDTH).display()));
    if width == WIDTH && narrower.exists() { fs::remove_dir_all(narrower) } else { Ok(()) }
}

/// Each entry behind its length in two bytes, high one first.
fn write_entries(folder: &Path, number: u64, entries: &[Vec<u8>]) -> io::Result<()> {
    let mut bytes = Vec::new();
    for entry in entries {
        let length = u16::try_from(entry.len()).map_err(io::Error::other)?;
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(entry);
    }
    replace(&tile_path(folder, "entries", number, entries.len()), &bytes)?;
    drop_partial(folder, "entries", number, entries.len())
}

fn read_entries(folder: &Path, number: u64, count: usize) -> io::Result<Vec<Vec<u8>>> {
    let full = tile_path(folder, "entries", number, WIDTH);
    let path = if count == WIDTH || full.exists() { full } else { tile_path(folder, "entries", number, count) };
    let bytes = fs::read(&path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    let broken = || io::Error::new(io::ErrorKind::InvalidData, format!("{}: not whole", path.display()));
    let (mut rest, mut entries) = (&bytes[..], Vec::new());
    while entries.len() < count {
        let (length, after) = rest.split_first_chunk::<2>().ok_or_else(broken)?;
        let (entry, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or_else(broken)?;
        entries.push(entry.to_vec());
        rest = after;
    }
    Ok(entries)
}

/// Whole or not at all, and on the disk when this returns.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let temporary = path.with_extension("new");
    let mut file = fs::File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(temporary, path)
}

/// Made once, with mode 0600.
fn seed(path: &Path) -> io::Result<zeroize::Zeroizing<Vec<u8>>> {
    use ring::rand::SecureRandom;
    use std::os::unix::fs::OpenOptionsExt;
    match fs::read(path) {
        Ok(seed) => return Ok(zeroize::Zeroizing::new(seed)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut seed = zeroize::Zeroizing::new(vec![0; 32]);
    ring::rand::SystemRandom::new().fill(&mut seed).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    let mut file = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?;
    file.write_all(&seed)?;
    file.sync_all()?;
    Ok(seed)
}

#[cfg(test)]
mod tests;
