//! Files that hold TLS libraries: found in the maps of processes and in the loader's cache, each inode attached once.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::elf::{Elf, FILE_BYTES};
use super::family::{Family, Site, plan, wanted};

/// What the kernel attaches to: overlay and bind mounts of one file share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Inode {
    pub(super) device: u64,
    pub(super) number: u64,
}

/// A file with a TLS library in it. The open descriptor survives deletion and upgrade of the path.
pub(super) struct Library {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) family: Family,
    pub(super) sites: Vec<Site>,
}

impl Library {
    /// A path to the open descriptor, which leads to the inode whatever happened to its name.
    pub(super) fn handle(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }
}

/// Files that were looked at. Most hold no TLS library and are never opened again.
#[derive(Default)]
pub(super) struct Catalogue {
    seen: HashMap<Inode, bool>,
}

impl Catalogue {
    /// Looks at a file that was not seen before; gives the library when it holds one.
    pub(super) fn look(&mut self, path: &Path, inode: Inode) -> Option<Library> {
        if self.seen.contains_key(&inode) {
            return None;
        }
        let library = read_library(path).ok().flatten();
        self.seen.insert(inode, library.is_some());
        library
    }

    pub(super) fn is_known(&self, inode: Inode) -> bool {
        self.seen.contains_key(&inode)
    }
}

pub(super) fn inode_of(path: &Path) -> Option<Inode> {
    let metadata = fs::metadata(path).ok()?;
    metadata.is_file().then(|| Inode { device: metadata.dev(), number: metadata.ino() })
}

fn read_library(path: &Path) -> io::Result<Option<Library>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    if !(64..=FILE_BYTES).contains(&length) {
        return Ok(None);
    }
    let mut magic = [0; 4];
    file.read_exact(&mut magic)?;
    if magic != *b"\x7fELF" {
        return Ok(None);
    }
    let data = read_all(&file, length)?;
    let planned = Elf::read(&data, wanted).and_then(|elf| plan(&elf));
    drop(data);
    Ok(planned.map(|(family, sites)| Library { path: path.to_owned(), file, family, sites }))
}

/// Copied, not mapped: a file that shrinks under a mapping would raise SIGBUS here.
fn read_all(file: &File, length: u64) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

/// A file that a process has mapped executable.
pub(super) struct Mapped {
    pub(super) inode: Inode,
    /// Opens the very file that is mapped, deleted or in another mount namespace.
    pub(super) path: PathBuf,
}

/// The executable files of a process, each once.
pub(super) fn mapped(pid: u32) -> Vec<Mapped> {
    let Ok(maps) = File::open(format!("/proc/{pid}/maps")) else { return Vec::new() };
    let mut found: Vec<Mapped> = Vec::new();
    for line in BufReader::new(maps).lines().map_while(Result::ok) {
        let mut fields = line.split(' ');
        let (Some(range), Some(rights), Some(_), Some(device), Some(number)) =
            (fields.next(), fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let number: u64 = number.parse().unwrap_or(0);
        if !rights.contains('x') || number == 0 {
            continue;
        }
        let inode = Inode { device: device_number(device), number };
        if found.iter().all(|other| other.inode != inode) {
            found.push(Mapped { inode, path: format!("/proc/{pid}/map_files/{range}").into() });
        }
    }
    found
}

/// `fd:00` of a maps line as `st_dev` spells it.
fn device_number(text: &str) -> u64 {
    let (major, minor) = text.split_once(':').unwrap_or(("0", "0"));
    let parse = |part| u32::from_str_radix(part, 16).unwrap_or(0);
    libc::makedev(parse(major), parse(minor))
}

/// Places where a TLS library lies before any process has mapped it: attached ahead, so that a program that lives for milliseconds is seen.
pub(super) fn installed() -> Vec<PathBuf> {
    const FOLDERS: [&str; 6] =
        ["/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib", "/lib64"];
    const NAMES: [&str; 2] = ["libssl.so", "libgnutls.so"];
    const PROGRAMS: [&str; 4] = ["/usr/bin/node", "/usr/local/bin/node", "/usr/bin/nodejs", "/opt/node/bin/node"];
    let mut found: Vec<PathBuf> = PROGRAMS.iter().map(PathBuf::from).filter(|path| path.exists()).collect();
    for folder in FOLDERS {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        found.extend(entries.map(|entry| entry.path()).filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            NAMES.iter().any(|library| name.starts_with(library))
        }));
    }
    found
}
