//! Files that hold TLS libraries: found in the maps of processes and in the loader's cache, each inode attached once.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use agent_wire::PLACES;

use super::family::{Family, Site};
use super::reader::Reader;

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
    /// TLS stacks that are in it and were not found, with the reason.
    pub(super) doubts: Vec<String>,
}

impl Library {
    /// How its functions were found.
    pub(super) fn method(&self) -> &'static str {
        if self.sites.is_empty() {
            "none"
        } else if self.sites.iter().any(|site| site.judged != 0) {
            "resolved"
        } else {
            "symbols"
        }
    }

    /// A path to the open descriptor, which leads to the inode whatever happened to its name.
    pub(super) fn handle(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file.as_raw_fd()).into()
    }
}

/// Files that were looked at. Most hold no TLS library and are never opened again.
pub(super) struct Catalogue {
    seen: HashMap<Inode, Look>,
    reader: Reader,
    /// Whoever asks waits for the answer: so it is until everything that was there at the start is attached.
    patient: bool,
    /// Places judged by their hits, so far.
    places: u32,
}

enum Look {
    Asked,
    Done,
}

impl Catalogue {
    pub(super) fn start() -> io::Result<Catalogue> {
        Ok(Catalogue { seen: HashMap::new(), reader: Reader::start()?, patient: true, places: 0 })
    }

    /// Begins to read a program that has just been started.
    pub(super) fn expect(&mut self, path: &Path) {
        let Some(inode) = inode_of(path).filter(|inode| path.is_absolute() && !self.seen.contains_key(inode)) else { return };
        if let Ok(file) = File::open(path) {
            self.reader.ask(path, inode, file);
            self.seen.insert(inode, Look::Asked);
        }
    }

    /// From now on a file is read beside the work of the session, and asked for again.
    pub(super) fn hurry(&mut self) {
        self.patient = false;
    }

    /// Looks at a file that was not seen before; gives the library when it holds one. `None` while it is being read, too: then
    /// the inode is not known, and this must be called again.
    pub(super) fn look(&mut self, path: &Path, inode: Inode) -> Option<Library> {
        if !self.seen.contains_key(&inode) {
            // A file that cannot be opened is gone, with the process that had it.
            let file = File::open(path).ok()?;
            self.reader.ask(path, inode, file);
            self.seen.insert(inode, Look::Asked);
        }
        if !matches!(self.seen.get(&inode), Some(Look::Asked)) {
            return None;
        }
        let mut library = self.reader.answer(inode, self.patient)?;
        self.seen.insert(inode, Look::Done);
        if let Some(library) = &mut library {
            self.number(&mut library.sites);
        }
        library
    }

    pub(super) fn is_known(&self, inode: Inode) -> bool {
        matches!(self.seen.get(&inode), Some(Look::Done))
    }

    /// Gives each place that must be judged a number of its own. When they run out, the rest is attached without a judge.
    fn number(&mut self, sites: &mut [Site]) {
        let most = sites.iter().map(|site| site.judged).max().unwrap_or(0);
        for site in sites.iter_mut().filter(|site| site.judged > 0) {
            site.judged += self.places;
            if site.judged < PLACES {
                site.cookie |= u64::from(site.judged) << 32;
            }
        }
        self.places += most;
    }
}

pub(super) fn inode_of(path: &Path) -> Option<Inode> {
    let metadata = fs::metadata(path).ok()?;
    metadata.is_file().then(|| Inode { device: metadata.dev(), number: metadata.ino() })
}

/// A file that a process has mapped executable.
pub(super) struct Mapped {
    pub(super) inode: Inode,
    /// Opens the very file that is mapped, deleted or in another mount namespace.
    pub(super) path: PathBuf,
}

/// An executable part of a file in a process's memory.
pub(super) struct Region {
    pub(super) inode: Inode,
    start: u64,
    end: u64,
    pub(super) offset: u64,
}

impl Region {
    pub(super) fn holds(&self, offset: u64) -> bool {
        (self.offset..self.offset + (self.end - self.start)).contains(&offset)
    }

    pub(super) fn address_of(&self, offset: u64) -> u64 {
        self.start + (offset - self.offset)
    }
}

/// The executable files of a process, each once.
pub(super) fn mapped(pid: u32) -> Vec<Mapped> {
    let mut found: Vec<Mapped> = Vec::new();
    for region in regions(pid) {
        if found.iter().all(|other| other.inode != region.inode) {
            let path = format!("/proc/{pid}/map_files/{:x}-{:x}", region.start, region.end).into();
            found.push(Mapped { inode: region.inode, path });
        }
    }
    found
}

/// The executable parts of files in a process's memory.
pub(super) fn regions(pid: u32) -> Vec<Region> {
    let Ok(maps) = File::open(format!("/proc/{pid}/maps")) else { return Vec::new() };
    BufReader::new(maps).lines().map_while(Result::ok).filter_map(|line| region(&line)).collect()
}

/// `55d0-55e0 r-xp 00001000 fd:00 4711   /usr/bin/x`
fn region(line: &str) -> Option<Region> {
    let mut fields = line.split(' ');
    let (range, rights, offset) = (fields.next()?, fields.next()?, fields.next()?);
    let (device, number) = (fields.next()?, fields.next()?.parse().ok()?);
    let (start, end) = range.split_once('-')?;
    let hex = |text| u64::from_str_radix(text, 16).ok();
    let inode = Inode { device: device_number(device), number };
    let region = Region { inode, start: hex(start)?, end: hex(end)?, offset: hex(offset)? };
    (rights.contains('x') && number != 0).then_some(region)
}

/// `fd:00` of a maps line as `st_dev` spells it.
fn device_number(text: &str) -> u64 {
    let (major, minor) = text.split_once(':').unwrap_or(("0", "0"));
    let parse = |part| u32::from_str_radix(part, 16).unwrap_or(0);
    libc::makedev(parse(major), parse(minor))
}

/// Programs of one folder that are read ahead.
const IN_FOLDER: usize = 1024;

/// Places where a TLS library lies before any process has mapped it: attached ahead, so that a program that lives for milliseconds is seen.
/// `programs` are files, or folders whose programs are meant.
pub(super) fn installed(programs: &[PathBuf]) -> Vec<PathBuf> {
    const FOLDERS: [&str; 6] =
        ["/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/local/lib", "/lib64"];
    const NAMES: [&str; 2] = ["libssl.so", "libgnutls.so"];
    const PROGRAMS: [&str; 4] = ["/usr/bin/node", "/usr/local/bin/node", "/usr/bin/nodejs", "/opt/node/bin/node"];
    let mut found: Vec<PathBuf> = PROGRAMS.iter().map(PathBuf::from).filter(|path| path.exists()).collect();
    for place in programs {
        match fs::read_dir(place) {
            Ok(entries) => found.extend(entries.flatten().map(|entry| entry.path()).take(IN_FOLDER)),
            Err(_) => found.push(place.clone()),
        }
    }
    for folder in FOLDERS {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        found.extend(entries.map(|entry| entry.path()).filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            NAMES.iter().any(|library| name.starts_with(library))
        }));
    }
    found
}
