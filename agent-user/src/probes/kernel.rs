//! The loaded probe object: programs, maps, counters. Everything it attached goes when it is dropped, or when the process dies.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;

use agent_wire::{counter, layout};
use aya::maps::{Array, HashMap as BpfHashMap, Map, MapData, PerCpuArray};
use aya::programs::trace_point::TracePointLink;
use aya::programs::uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeLink, UProbeScope};
use aya::programs::{TracePoint, UProbe};
use aya::{Ebpf, EbpfLoader};

use super::StartError;
use super::btf::Btf;

/// Built by `cargo xtask build`; empty when this program was built without it.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("AGENTWARD_PROBES"));

/// Programs by the name that the object gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Program {
    ReadEnter,
    ReadReturn,
    WriteEnter,
    /// Beside `WriteEnter` where that one does not sleep.
    WriteTouch,
    SetFd,
    SetBio,
    Ctrl,
    GnutlsName,
    Free,
    Clear,
    GoReadEnter,
    GoReadReturn,
    GoWriteEnter,
    GoClose,
    RustlsEncrypt,
    RustlsDecryptEnter,
    RustlsDecryptReturn,
    EmptyEnter,
    EmptyReturn,
}

impl Program {
    const ALL: [Program; 19] = [
        Program::ReadEnter,
        Program::ReadReturn,
        Program::WriteEnter,
        Program::WriteTouch,
        Program::SetFd,
        Program::SetBio,
        Program::Ctrl,
        Program::GnutlsName,
        Program::Free,
        Program::Clear,
        Program::GoReadEnter,
        Program::GoReadReturn,
        Program::GoWriteEnter,
        Program::GoClose,
        Program::RustlsEncrypt,
        Program::RustlsDecryptEnter,
        Program::RustlsDecryptReturn,
        Program::EmptyEnter,
        Program::EmptyReturn,
    ];

    fn name(self, sleepable: bool) -> &'static str {
        match self {
            Program::ReadEnter => "tls_read_enter",
            Program::ReadReturn if sleepable => "tls_read_return_sleepable",
            Program::ReadReturn => "tls_read_return",
            Program::WriteEnter if sleepable => "tls_write_enter_sleepable",
            Program::WriteEnter => "tls_write_enter",
            Program::WriteTouch => "tls_write_touch",
            Program::SetFd => "tls_set_fd",
            Program::SetBio => "tls_set_bio",
            Program::Ctrl => "tls_ctrl",
            Program::GnutlsName => "gnutls_server_name",
            Program::Free => "tls_free",
            Program::Clear => "tls_clear",
            Program::GoReadEnter => "go_read_enter",
            Program::GoReadReturn => "go_read_return",
            Program::GoWriteEnter => "go_write_enter",
            Program::GoClose => "go_close",
            Program::RustlsEncrypt => "rustls_encrypt",
            Program::RustlsDecryptEnter => "rustls_decrypt_enter",
            Program::RustlsDecryptReturn => "rustls_decrypt_return",
            Program::EmptyEnter => "empty_enter",
            Program::EmptyReturn => "empty_return",
        }
    }
}

/// Events of the scheduler: always on, they cost only those who fork or exec.
const PROCESS_EVENTS: &[(&str, &str, &str)] = &[
    ("process_fork", "sched", "sched_process_fork"),
    ("process_exec", "sched", "sched_process_exec"),
    ("process_exit", "sched", "sched_process_exit"),
];

/// Stands in for the others where only the cost of being called is measured.
const EMPTY_EVENT: (&str, &str, &str) = ("empty_event", "", "");

/// System calls that bind connections to sockets.
const SOCKET_EVENTS: &[(&str, &str, &str)] = &[
    ("write_enter", "syscalls", "sys_enter_write"),
    ("write_exit", "syscalls", "sys_exit_write"),
    ("write_enter", "syscalls", "sys_enter_sendto"),
    ("write_exit", "syscalls", "sys_exit_sendto"),
    ("message_enter", "syscalls", "sys_enter_sendmsg"),
    ("write_exit", "syscalls", "sys_exit_sendmsg"),
    ("vector_enter", "syscalls", "sys_enter_writev"),
    ("write_exit", "syscalls", "sys_exit_writev"),
    ("read_enter", "syscalls", "sys_enter_read"),
    ("read_exit", "syscalls", "sys_exit_read"),
    ("read_enter", "syscalls", "sys_enter_recvfrom"),
    ("read_exit", "syscalls", "sys_exit_recvfrom"),
    ("message_enter", "syscalls", "sys_enter_recvmsg"),
    ("read_exit", "syscalls", "sys_exit_recvmsg"),
    ("vector_enter", "syscalls", "sys_enter_readv"),
    ("read_exit", "syscalls", "sys_exit_readv"),
    ("connect_enter", "syscalls", "sys_enter_connect"),
    ("connect_exit", "syscalls", "sys_exit_connect"),
    ("accept_enter", "syscalls", "sys_enter_accept4"),
    ("accept_exit", "syscalls", "sys_exit_accept4"),
    ("accept_enter", "syscalls", "sys_enter_accept"),
    ("accept_exit", "syscalls", "sys_exit_accept"),
    ("close_enter", "syscalls", "sys_enter_close"),
    ("open_enter", "syscalls", "sys_enter_open"),
    ("open_exit", "syscalls", "sys_exit_open"),
    ("openat_enter", "syscalls", "sys_enter_openat"),
    ("open_exit", "syscalls", "sys_exit_openat"),
    ("openat2_enter", "syscalls", "sys_enter_openat2"),
    ("open_exit", "syscalls", "sys_exit_openat2"),
    ("creat_enter", "syscalls", "sys_enter_creat"),
    ("open_exit", "syscalls", "sys_exit_creat"),
    ("unlink_enter", "syscalls", "sys_enter_unlink"),
    ("name_exit", "syscalls", "sys_exit_unlink"),
    ("unlinkat_enter", "syscalls", "sys_enter_unlinkat"),
    ("name_exit", "syscalls", "sys_exit_unlinkat"),
    ("rename_enter", "syscalls", "sys_enter_rename"),
    ("name_exit", "syscalls", "sys_exit_rename"),
    ("renameat_enter", "syscalls", "sys_enter_renameat"),
    ("name_exit", "syscalls", "sys_exit_renameat"),
    ("renameat_enter", "syscalls", "sys_enter_renameat2"),
    ("name_exit", "syscalls", "sys_exit_renameat2"),
];

/// Rings of io_uring; a kernel may be built without them.
const RING_EVENTS: &[(&str, &str, &str)] = &[("ring_enter", "syscalls", "sys_enter_io_uring_setup")];

/// One attached program: detached when it is dropped.
#[expect(dead_code, reason = "held for what its end does")]
pub(super) enum Link {
    Uprobe(UProbeLink),
    Event(TracePointLink),
}

pub(super) struct Kernel {
    object: Ebpf,
    ring: MapData,
    tracked: BpfHashMap<MapData, u32, u32>,
    stdio: BpfHashMap<MapData, u32, [u64; 2]>,
    unjudged: Array<MapData, u32>,
    spent: Array<MapData, u64>,
    reader: MapData,
    counters: PerCpuArray<MapData, u64>,
    verdicts: Array<MapData, u64>,
    files: MapData,
    sleepable: bool,
    /// Only programs that do nothing are attached.
    empty: bool,
    reaper: Sender<Vec<Link>>,
    /// Lots of links that were given to the reaper, and those that are gone.
    dying: u64,
    dead: Arc<AtomicU64>,
}

impl Kernel {
    /// Loads and verifies every program; attaches nothing.
    pub(super) fn load(ring_bytes: u32, call_bytes: u32, empty: bool) -> Result<Kernel, StartError> {
        if OBJECT.is_empty() {
            return Err(StartError::NoObject);
        }
        let layout = layout()?;
        let mut object = EbpfLoader::new()
            .map_max_entries("RING", ring_bytes)
            .override_global("CALL_BYTES", &call_bytes, true)
            .override_global("LAYOUT", &layout, true)
            .load(OBJECT)
            .map_err(|error| StartError::refused("load the probe object", &error))?;
        let sleepable = sleepable_is_safe();
        for program in Program::ALL.into_iter().filter(|program| *program != Program::WriteTouch || !sleepable) {
            let loaded: &mut UProbe = named(&mut object, program.name(sleepable))?;
            loaded.load().map_err(|error| StartError::refused(program.name(sleepable), &error))?;
        }
        let mut loaded = HashMap::new();
        for (name, _, _) in PROCESS_EVENTS.iter().chain(SOCKET_EVENTS).chain(RING_EVENTS).chain(&[EMPTY_EVENT]) {
            if loaded.insert(*name, ()).is_none() {
                let program: &mut TracePoint = named(&mut object, name)?;
                program.load().map_err(|error| StartError::refused(name, &error))?;
            }
        }
        let ring = raw(&mut object, "RING")?;
        let tracked = take(&mut object, "TRACKED")?;
        let stdio = take(&mut object, "STDIO")?;
        let unjudged = take(&mut object, "UNJUDGED")?;
        let spent = take(&mut object, "SPENT")?;
        let reader = raw(&mut object, "READER")?;
        let counters = take(&mut object, "COUNTERS")?;
        let verdicts = take(&mut object, "VERDICTS")?;
        let files = raw(&mut object, "FILES")?;
        // The kernel waits for every CPU before a probe is gone: nobody else needs to.
        let (reaper, given) = std::sync::mpsc::channel::<Vec<Link>>();
        let dead = Arc::new(AtomicU64::new(0));
        let counted = dead.clone();
        std::thread::Builder::new()
            .name("detach".into())
            .spawn(move || {
                for links in given {
                    drop(links);
                    counted.fetch_add(1, Ordering::Release);
                }
            })
            .map_err(|error| StartError::refused("start a thread", &error))?;
        Ok(Kernel {
            object,
            ring,
            tracked,
            stdio,
            unjudged,
            spent,
            reader,
            counters,
            verdicts,
            files,
            sleepable,
            empty,
            reaper,
            dying: 0,
            dead,
        })
    }

    /// Events that every mode needs.
    pub(super) fn attach_process_events(&mut self) -> Result<Vec<Link>, StartError> {
        let mut links = self.attach_events(PROCESS_EVENTS)?;
        links.extend(self.attach_events(RING_EVENTS).unwrap_or_default());
        Ok(links)
    }

    /// System calls of everybody; the programs look at those of watched processes.
    pub(super) fn attach_socket_events(&mut self) -> Result<Vec<Link>, StartError> {
        if !self.empty {
            return self.attach_events(SOCKET_EVENTS);
        }
        let events: Vec<_> = SOCKET_EVENTS.iter().map(|(_, category, event)| (EMPTY_EVENT.0, *category, *event)).collect();
        self.attach_events(&events)
    }

    fn attach_events(&mut self, events: &[(&str, &str, &str)]) -> Result<Vec<Link>, StartError> {
        let mut links = Vec::with_capacity(events.len());
        for (name, category, event) in events {
            let program: &mut TracePoint = named(&mut self.object, name)?;
            let id = program.attach(category, event).map_err(|error| StartError::refused(event, &error))?;
            links.push(Link::Event(program.take_link(id).map_err(|error| StartError::refused(event, &error))?));
        }
        Ok(links)
    }

    /// Attaches to a file offset of `target`, which may be a `/proc/self/fd` path: the kernel takes the inode.
    pub(super) fn attach(
        &mut self,
        program: Program,
        target: &Path,
        offset: u64,
        pid: Option<NonZeroU32>,
        cookie: u64,
    ) -> Result<Link, StartError> {
        let program = if !self.empty {
            program
        } else if matches!(program, Program::ReadReturn | Program::RustlsDecryptReturn) {
            Program::EmptyReturn
        } else {
            Program::EmptyEnter
        };
        let name = program.name(self.sleepable);
        let loaded: &mut UProbe = named(&mut self.object, name)?;
        let point = UProbeAttachPoint { location: UProbeAttachLocation::AbsoluteOffset(offset), cookie: Some(cookie) };
        let scope = pid.map_or(UProbeScope::AllProcesses, UProbeScope::OneProcess);
        let id = loaded.attach(point, target, scope).map_err(|error| StartError::refused(name, &error))?;
        loaded.take_link(id).map(Link::Uprobe).map_err(|error| StartError::refused(name, &error))
    }

    /// What must stand at the same place. The kernel runs the newest attachment first, so it is attached second; in another order a page
    /// that is not in memory is lost, and counted.
    pub(super) fn companion(&self, program: Program) -> Option<Program> {
        (program == Program::WriteEnter && !self.sleepable).then_some(Program::WriteTouch)
    }

    /// Ends links without waiting for it.
    pub(super) fn detach(&mut self, links: Vec<Link>) {
        self.dying += 1;
        // The thread ends with this object only.
        let _ = self.reaper.send(links);
    }

    /// True when no ended link is left in the kernel.
    pub(super) fn is_settled(&self) -> bool {
        self.dead.load(Ordering::Acquire) == self.dying
    }

    /// The verdict on a process: flags of `agent_wire::tracked`.
    pub(super) fn judge(&mut self, pid: u32, flags: u32) {
        // A full map means 65,536 judged processes: the newcomer is treated like those that nobody has judged.
        let _ = self.tracked.insert(pid, flags, 0);
    }

    /// What is wanted of processes without a verdict.
    pub(super) fn judge_others(&mut self, flags: u32) {
        let _ = self.unjudged.set(0, flags, 0);
    }

    /// Hits of unwanted processes in a library since the start.
    pub(super) fn spent(&self, account: u32) -> u64 {
        self.spent.get(&account, 0).unwrap_or(0)
    }

    /// Inodes of the standard input and output of a process that runs already.
    pub(super) fn note_stdio(&mut self, pid: u32, stdio: agent_wire::Stdio) {
        // The map drops the longest unused when it is full.
        let _ = self.stdio.insert(pid, [stdio.input, stdio.output], 0);
    }

    /// Hits for and against a place that was found without a symbol.
    pub(super) fn verdict(&self, place: u32) -> (u64, u64) {
        let cell = |index| self.verdicts.get(&index, 0).unwrap_or(0);
        (cell(place * 2), cell(place * 2 + 1))
    }

    /// `agent_wire::counter` by index.
    pub(super) fn counters(&self) -> Vec<u64> {
        (0..counter::COUNT).map(|index| self.counters.get(&index, 0).map_or(0, |cells| cells.iter().sum())).collect()
    }

    /// What [`super::drain::Drain::open`] takes: the ring, and what its reader says of itself.
    pub(super) fn ring(&self) -> [BorrowedFd<'_>; 2] {
        [self.ring.fd().as_fd(), self.reader.fd().as_fd()]
    }

    /// What the kernel side knows of open files: see [`super::facts`].
    pub(super) fn files(&self) -> Result<BpfHashMap<MapData, [u64; 2], [u64; 5]>, StartError> {
        let refused = |error: aya::maps::MapError| StartError::refused("share a map", &error);
        let copy = self.files.fd().as_fd().try_clone_to_owned().map_err(|error| StartError::refused("share a map", &error))?;
        MapData::from_fd(copy).and_then(Map::from_map_data).and_then(BpfHashMap::try_from).map_err(refused)
    }
}

/// Where the fields of [`layout::FIELDS`] lie in this kernel.
fn layout() -> Result<[u32; layout::COUNT], StartError> {
    const PLACE: &str = "/sys/kernel/btf/vmlinux";
    let what = || format!("the layout of its structures ({PLACE}, CONFIG_DEBUG_INFO_BTF)");
    let blob = std::fs::read(PLACE).map_err(|error| StartError::refused(&what(), &error))?;
    let lacks = |what: String, why: &str| StartError::Refused { what, why: why.into() };
    let btf = Btf::read(&blob).ok_or_else(|| lacks(what(), "it cannot be read"))?;
    let mut offsets = [0; layout::COUNT];
    for (offset, (structure, field)) in offsets.iter_mut().zip(layout::FIELDS) {
        *offset =
            btf.offset(structure, field).ok_or_else(|| lacks(format!("`{structure}.{field}`"), "no such field in its BTF"))?;
    }
    Ok(offsets)
}

/// Sleepable programs read pages that are not in memory. From 6.13 on the kernel gives such a program one private stack a CPU, whether or
/// not it sleeps or is preempted on it, and they cannot carry the guard against it. There the plain ones are used, and beside the write
/// stands a small one that fetches pages. At the return of a read the buffer was just written: a page gone since is counted.
fn sleepable_is_safe() -> bool {
    let release = super::kernel_release();
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).filter_map(|number| number.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < (6, 13)
}

fn named<'a, T>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut T, StartError>
where
    &'a mut T: TryFrom<&'a mut aya::programs::Program, Error = aya::programs::ProgramError>,
{
    let program =
        object.program_mut(name).ok_or_else(|| StartError::Refused { what: name.into(), why: "not in the object".into() })?;
    program.try_into().map_err(|error| StartError::refused(name, &error))
}

fn take<T: TryFrom<aya::maps::Map, Error = aya::maps::MapError>>(object: &mut Ebpf, name: &str) -> Result<T, StartError> {
    let map = object.take_map(name).ok_or_else(|| StartError::Refused { what: name.into(), why: "not in the object".into() })?;
    map.try_into().map_err(|error| StartError::refused(name, &error))
}

/// A map whose cells this side does not read, for others who map it.
fn raw(object: &mut Ebpf, name: &str) -> Result<MapData, StartError> {
    match object.take_map(name) {
        Some(Map::RingBuf(map) | Map::Array(map) | Map::HashMap(map) | Map::LruHashMap(map)) => Ok(map),
        _ => Err(StartError::Refused { what: name.into(), why: "not in the object".into() }),
    }
}
