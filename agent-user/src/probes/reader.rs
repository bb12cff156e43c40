//! Reads files in search of TLS libraries, on a thread of its own: a program of some hundred megabytes must not hold up the ring. Small files
//! go first. What a file without symbols holds is remembered on disk.
//!
//! In: open files. Out: libraries with the places of their probes.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

use super::elf::{Elf, FILE_BYTES};
use super::family::{plan, wanted};
use super::libraries::{Inode, Library};
use super::stripped::family;
use crate::resolve::{Knowledge, Report, Stack, build_id, resolve};

/// Remembered answers. Where it cannot be written, every start reads anew.
const REMEMBERED: &str = "/var/cache/agentward/resolved";

/// Signatures that replace the embedded ones.
const SIGNATURES: &str = "/etc/agentward/signatures.toml";

#[derive(Default)]
struct Desk {
    /// By size, smallest first.
    orders: BinaryHeap<Reverse<(u64, Inode)>>,
    files: HashMap<Inode, (PathBuf, File)>,
    answers: HashMap<Inode, Option<Library>>,
    closed: bool,
}

pub(super) struct Reader {
    desk: Arc<(Mutex<Desk>, Condvar)>,
}

impl Reader {
    pub(super) fn start() -> io::Result<Reader> {
        let desk = Arc::new((Mutex::new(Desk::default()), Condvar::new()));
        let at_work = desk.clone();
        std::thread::Builder::new().name("resolve".into()).spawn(move || work(&at_work))?;
        Ok(Reader { desk })
    }

    pub(super) fn ask(&self, path: &Path, inode: Inode, file: File) {
        let size = file.metadata().map_or(0, |metadata| metadata.len());
        let mut desk = lock(&self.desk.0);
        desk.orders.push(Reverse((size, inode)));
        desk.files.insert(inode, (path.to_owned(), file));
        self.desk.1.notify_all();
    }

    /// The answer about a file that was asked about; `None` while there is none.
    pub(super) fn answer(&self, inode: Inode, wait: bool) -> Option<Option<Library>> {
        let mut desk = lock(&self.desk.0);
        while wait && !desk.answers.contains_key(&inode) {
            desk = self.desk.1.wait(desk).unwrap_or_else(PoisonError::into_inner);
        }
        desk.answers.remove(&inode)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        lock(&self.desk.0).closed = true;
        self.desk.1.notify_all();
    }
}

/// Nothing is left half-done under this lock, so a panic elsewhere does not spoil it.
fn lock(desk: &Mutex<Desk>) -> MutexGuard<'_, Desk> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

fn work((desk, news): &(Mutex<Desk>, Condvar)) {
    let knowledge = knowledge();
    loop {
        let mut open = lock(desk);
        while open.orders.is_empty() && !open.closed {
            open = news.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
        if open.closed {
            return;
        }
        let Some(Reverse((_, inode))) = open.orders.pop() else { continue };
        let Some((path, file)) = open.files.remove(&inode) else { continue };
        drop(open);
        // A file that breaks the reader is a blind spot, not the end of all reading.
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| library(path, file, &knowledge)));
        let answer = found.ok().and_then(Result::ok).flatten();
        lock(desk).answers.insert(inode, answer);
        news.notify_all();
    }
}

fn knowledge() -> Knowledge {
    let Ok(text) = fs::read_to_string(SIGNATURES) else { return Knowledge::embedded() };
    Knowledge::parse(&text).unwrap_or_else(|error| {
        tracing::warn!("{SIGNATURES} is not used: {error}");
        Knowledge::embedded()
    })
}

fn library(path: PathBuf, file: File, knowledge: &Knowledge) -> io::Result<Option<Library>> {
    let length = file.metadata()?.len();
    if !(64..=FILE_BYTES).contains(&length) {
        return Ok(None);
    }
    let mut magic = [0; 4];
    file.read_exact_at(&mut magic, 0)?;
    if magic != *b"\x7fELF" {
        return Ok(None);
    }
    // Copied, not mapped: a file that shrinks under a mapping would raise SIGBUS here.
    let mut data = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact_at(&mut data, 0)?;
    let report = remembered(&data, knowledge);
    let planned = Elf::read(&data, wanted).and_then(|elf| plan(&elf, &report));
    // A cipher below rustls is no door of its own.
    let doubts = report.doubts.iter().filter(|doubt| doubt.stack != Stack::AwsLc);
    let unread = doubts.clone().next().map(|doubt| (family(doubt.stack), Vec::new()));
    let doubts = doubts.map(|doubt| format!("{}: {}", doubt.stack.name(), doubt.reason)).collect();
    Ok(planned.or(unread).map(|(family, sites)| Library { path, file, family, sites, doubts }))
}

/// What the resolver says of these bytes, now or at an earlier time.
fn remembered(data: &[u8], knowledge: &Knowledge) -> Report {
    let file = key(data).map(|key| Path::new(REMEMBERED).join(format!("{}-{key}.json", knowledge.digest())));
    if let Some(report) = file.as_ref().and_then(|file| serde_json::from_slice(&fs::read(file).ok()?).ok()) {
        return report;
    }
    // What is refused holds nothing that could be attached to.
    let report = resolve(data, knowledge).unwrap_or_default();
    if let Some(file) = file.filter(|_| !report.found.is_empty() || !report.doubts.is_empty()) {
        // Only time is lost where it cannot be kept.
        let _ = keep(&file, &report);
    }
    report
}

/// Build-id, else size and hash of the first 64 KiB; with the size, so that a forged build-id alone is not enough.
fn key(data: &[u8]) -> Option<String> {
    let head = data.get(..data.len().min(64 << 10))?;
    let hash = Sha256::digest(head).iter().take(12).map(|byte| format!("{byte:02x}")).collect::<String>();
    Some(format!("{}-{}-{hash}", build_id(data).unwrap_or_default(), data.len()))
}

fn keep(file: &Path, report: &Report) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(REMEMBERED)?;
    let fresh = file.with_extension("new");
    let _ = fs::remove_file(&fresh);
    let mut out = File::options().write(true).create_new(true).mode(0o600).open(&fresh)?;
    out.write_all(&serde_json::to_vec(report)?)?;
    fs::rename(fresh, file)
}
