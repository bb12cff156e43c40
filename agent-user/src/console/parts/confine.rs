//! Shutting a process in, for good: no capabilities, a user of its own, no new privileges, Landlock, an allow list of system calls, and
//! memory that others of its user cannot read.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetStatus, Scope,
};
use rustix::fs::{Gid, Mode, OFlags, Uid, open};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use serde::{Deserialize, Serialize};

use super::seccomp;
use crate::console::Failure;

/// Who the confined parts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::console) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// A folder by a name that leads there whoever asks: by its path, or through a descriptor where the way is barred to this user.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    held: OwnedFd,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Folder, Failure> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let held = open(path, flags, Mode::empty()).map_err(|error| Failure::file(path, "open", &error.into()))?;
        Ok(Folder { path: path.to_owned(), held })
    }

    /// Asked after [`confine`].
    fn settle(&mut self) {
        if std::fs::read_dir(&self.path).is_err() {
            self.path = PathBuf::from(format!("/proc/self/fd/{}", self.held.as_raw_fd()));
        }
    }
}

/// What resolving a receiver's name reads: `resolver(5)`, `nsswitch.conf(5)`, and the authorities of TLS.
const RESOLVING: [&str; 9] = [
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/resolv.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ssl",
    "/run/systemd/resolve",
    "/run/nscd",
];

/// What a part is left with.
pub(super) struct Cell<'a> {
    loader: u32,
    user: Option<User>,
    /// Folders to read and write in.
    folders: &'a mut [Folder],
    /// Files and folders to read; those that are not there are left out.
    readable: &'a [&'a str],
    connects: bool,
}

impl<'a> Cell<'a> {
    /// The worker's: `folders` are those of journal and evidence. `loader` is the process that it may not outlive.
    pub(super) fn worker(loader: u32, user: Option<User>, folders: &'a mut [Folder]) -> Cell<'a> {
        Cell { loader, user, folders, readable: &[], connects: false }
    }

    /// The exporter's: `folders` is that of the journal.
    pub(super) fn exporter(loader: u32, user: Option<User>, folders: &'a mut [Folder]) -> Cell<'a> {
        Cell { loader, user, folders, readable: &RESOLVING, connects: true }
    }
}

/// Shuts this process in; gives what the kernel does not offer of it. It must have one thread only: the others would stay outside.
pub(super) fn confine(cell: Cell<'_>) -> Result<Vec<String>, Failure> {
    let failed = |what: &'static str| {
        move |error: io::Error| Failure::Host(format!("a part of the daemon cannot be shut in: {what}: {error}"))
    };
    let threads = std::fs::read_dir("/proc/self/task").map_err(failed("threads"))?.count();
    if threads != 1 {
        return Err(failed("threads")(io::Error::other(format!("there are {threads}"))));
    }
    let walls = walls(&cell).map_err(|error| failed("Landlock")(io::Error::other(error)))?;
    become_nobody(cell.user).map_err(failed("capabilities and user"))?;
    keep_memory_private().map_err(failed("core dumps"))?;
    // A change of user takes this back, so it stands behind it; a loader that died before is noticed by its absence.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| failed("its end")(error.into()))?;
    if rustix::process::getppid().is_none_or(|parent| parent.as_raw_nonzero().get().cast_unsigned() != cell.loader) {
        return Err(failed("its end")(io::Error::other("whoever started it is gone")));
    }
    rustix::thread::set_no_new_privs(true).map_err(|error| failed("no new privileges")(error.into()))?;
    let status = walls.restrict_self().map_err(|error| failed("Landlock")(io::Error::other(error)))?;
    let mut lacks = Vec::new();
    if status.ruleset == RulesetStatus::NotEnforced {
        lacks.push("Landlock (CONFIG_SECURITY_LANDLOCK, and `landlock` among the kernel's `lsm=`)".to_owned());
    }
    for folder in cell.folders {
        folder.settle();
    }
    seccomp::apply(cell.connects).map_err(|error| failed("seccomp")(io::Error::other(error)))?;
    Ok(lacks)
}

/// Everything that this and older kernels know is barred, but for what the cell names.
fn walls(cell: &Cell<'_>) -> Result<landlock::RulesetCreated, landlock::RulesetError> {
    let newest = ABI::V6;
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(newest))?
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::from_all(newest))?;
    if !cell.connects {
        ruleset = ruleset.handle_access(AccessNet::ConnectTcp)?;
    }
    let mut walls = ruleset.create()?;
    let every = AccessFs::from_all(newest) & !AccessFs::Execute;
    for folder in cell.folders.iter() {
        walls = walls.add_rule(PathBeneath::new(&folder.held, every))?;
    }
    for path in cell.readable {
        let Ok(held) = File::open(path) else { continue };
        let folder = held.metadata().is_ok_and(|state| state.is_dir());
        let read = if folder { AccessFs::ReadFile | AccessFs::ReadDir } else { AccessFs::ReadFile.into() };
        walls = walls.add_rule(PathBeneath::new(held, read))?;
    }
    Ok(walls)
}

fn become_nobody(user: Option<User>) -> io::Result<()> {
    drop_from_bounding_set(CapabilitySet::empty())?;
    // Kernels without ambient capabilities have none to clear.
    let _ = rustix::thread::clear_ambient_capability_set();
    if let Some(user) = user {
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        rustix::thread::set_thread_groups(&[])?;
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    }
    let none = CapabilitySet::empty();
    Ok(set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?)
}

/// Takes all but `kept` from what this process and its children can ever have, where it may.
pub(in crate::console) fn drop_from_bounding_set(kept: CapabilitySet) -> io::Result<()> {
    if capabilities(None)?.effective.contains(CapabilitySet::SETPCAP) {
        for capability in CapabilitySet::all().difference(kept).iter() {
            // Older kernels do not know the newest.
            let _ = rustix::thread::remove_capability_from_bounding_set(capability);
        }
    }
    Ok(())
}

/// No core dumps, and no other process of this user may read the memory: it holds what the watched agents sent.
pub(in crate::console) fn keep_memory_private() -> io::Result<()> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, none)?;
    Ok(rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// A terminal's Ctrl-C and a service manager's SIGTERM reach every process: the loader alone says when it is time.
pub(super) fn outlive_signals() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: to ignore a signal touches no memory.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}
