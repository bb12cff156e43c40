//! The proof of the confinement: what a part that was taken over would try, tried from inside ([`super::confine`], nothing less).
//!
//! Each action asks the kernel for something that harms nobody here: where it is not refused, it fails for another reason or has no
//! lasting effect. Outside of a cell none may be refused, or the table proves nothing.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libc::{c_long, syscall};

use super::confine::{Cell, Folder, confine};
use super::user;
use crate::console::{Failure, Outcome};

#[derive(clap::Args)]
pub(in crate::console) struct Arguments {
    /// Whose cell, or none.
    #[arg(value_enum)]
    cell: Who,
    /// A process of somebody else.
    target: i32,
    /// A folder whose subfolder `own` is the cell's.
    folder: PathBuf,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Who {
    Worker,
    Exporter,
    Free,
}

struct Scene<'a> {
    target: i32,
    /// Outside of the cell, and inside.
    outside: &'a Path,
    inside: &'a Path,
}

/// What it is, whether an exporter may do it, and how it is tried.
struct Act(&'static str, bool, fn(&Scene<'_>) -> io::Result<()>);

const NO: bool = false;
const EXPORTER_MAY: bool = true;

const ACTS: &[Act] = &[
    // Files of others.
    Act("read /etc/shadow", NO, |_| open("/etc/shadow")),
    Act("read the memory of another process", NO, |scene| open(&format!("/proc/{}/mem", scene.target))),
    Act("write its own memory behind its back", NO, |_| OpenOptions::new().write(true).open("/proc/self/mem").map(drop)),
    Act("read the environment of another process", NO, |scene| open(&format!("/proc/{}/environ", scene.target))),
    Act("list the home of root", NO, |_| fs::read_dir("/root").map(drop)),
    Act("make a file outside", NO, |scene| File::create(scene.outside.join("made")).map(drop)),
    Act("append to a file outside", NO, |scene| OpenOptions::new().append(true).open(scene.outside.join("there")).map(drop)),
    Act("make a folder outside", NO, |scene| fs::create_dir(scene.outside.join(std::process::id().to_string()))),
    Act("remove a file outside", NO, |scene| fs::remove_file(scene.outside.join("there"))),
    Act("move a file outside", NO, |scene| {
        fs::write(scene.inside.join("moved"), "")?;
        fs::rename(scene.inside.join("moved"), scene.outside.join("moved"))
    }),
    Act("make a symbolic link", NO, |scene| std::os::unix::fs::symlink("/", scene.inside.join("link"))),
    Act("give a file away", NO, |scene| {
        fs::write(scene.inside.join("given"), "")?;
        std::os::unix::fs::chown(scene.inside.join("given"), Some(1), None)
    }),
    Act("open a file by its handle", NO, |_| raw(libc::SYS_open_by_handle_at, [-100, 0, 0, 0])),
    // Views of the system.
    Act("mount", NO, |_| raw(libc::SYS_mount, [0; 4])),
    Act("unmount", NO, |_| raw(libc::SYS_umount2, [0; 4])),
    Act("change the root", NO, |_| raw(libc::SYS_chroot, [0; 4])),
    Act("make a namespace", NO, |_| raw(libc::SYS_unshare, [c_long::from(libc::CLONE_NEWUTS), 0, 0, 0])),
    Act("enter a namespace", NO, |_| raw(libc::SYS_setns, [-1, 0, 0, 0])),
    // Rights.
    Act("become root", NO, |_| raw(libc::SYS_setuid, [0; 4])),
    Act("change the groups", NO, |_| raw(libc::SYS_setgroups, [0; 4])),
    Act("take capabilities", NO, |_| take_capabilities()),
    Act("let others read its memory", NO, |_| raw(libc::SYS_prctl, [c_long::from(libc::PR_SET_DUMPABLE), 1, 0, 0])),
    Act("raise its limits", NO, |_| {
        let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        raw(libc::SYS_prlimit64, [0, libc::RLIMIT_CORE as c_long, (&raw const limit) as c_long, 0])
    }),
    // Programs.
    Act("start a program", NO, |_| {
        let nothing = [std::ptr::null::<libc::c_char>()];
        raw(libc::SYS_execve, [c"/nowhere".as_ptr() as c_long, nothing.as_ptr() as c_long, nothing.as_ptr() as c_long, 0])
    }),
    Act("make a program in memory", NO, |_| raw(libc::SYS_memfd_create, [c"x".as_ptr() as c_long, 0, 0, 0])),
    Act("start a program by its descriptor", NO, |_| raw(libc::SYS_execveat, [-1, c"".as_ptr() as c_long, 0, 0])),
    Act("make a process", NO, |_| fork()),
    Act("make a process by the new call", NO, |_| raw(libc::SYS_clone3, [0; 4])),
    Act("map code", NO, |_| map_code()),
    Act("load a kernel module", NO, |_| raw(libc::SYS_finit_module, [-1, c"".as_ptr() as c_long, 0, 0])),
    // Other processes.
    Act("trace another process", NO, |scene| raw(libc::SYS_ptrace, [0x4206, c_long::from(scene.target), 0, 0])),
    Act("read from another process", NO, |scene| raw(libc::SYS_process_vm_readv, [c_long::from(scene.target), 0, 0, 0])),
    Act("write to another process", NO, |scene| raw(libc::SYS_process_vm_writev, [c_long::from(scene.target), 0, 0, 0])),
    Act("signal another process", NO, |scene| raw(libc::SYS_kill, [c_long::from(scene.target), 0, 0, 0])),
    Act("signal a thread of another process", NO, |scene| {
        raw(libc::SYS_tgkill, [c_long::from(scene.target), c_long::from(scene.target), 0, 0])
    }),
    Act("hold another process", NO, |scene| raw(libc::SYS_pidfd_open, [c_long::from(scene.target), 0, 0, 0])),
    Act("take a descriptor of another process", NO, |_| raw(libc::SYS_pidfd_getfd, [-1, 0, 0, 0])),
    // The kernel's other doors.
    Act("call BPF", NO, |_| raw(libc::SYS_bpf, [0; 4])),
    Act("open a perf event", NO, |_| raw(libc::SYS_perf_event_open, [0; 4])),
    Act("use io_uring", NO, |_| raw(libc::SYS_io_uring_setup, [1, 0, 0, 0])),
    Act("use the keyring", NO, |_| raw(libc::SYS_keyctl, [0, -3, 0, 0])),
    Act("handle page faults", NO, |_| raw(libc::SYS_userfaultfd, [-1, 0, 0, 0])),
    Act("watch files", NO, |_| raw(libc::SYS_inotify_init1, [0; 4])),
    Act("share memory by a key", NO, |_| raw(libc::SYS_shmget, [0, 0, 0, 0])),
    Act("put input into a terminal", NO, |_| raw(libc::SYS_ioctl, [0, libc::TIOCSTI as c_long, 0, 0])),
    // The network.
    Act("make a socket", EXPORTER_MAY, |_| raw(libc::SYS_socket, [2, 1, 0, 0])),
    Act("make a local socket", EXPORTER_MAY, |_| raw(libc::SYS_socket, [1, 1, 0, 0])),
    Act("make a raw packet socket", NO, |_| raw(libc::SYS_socket, [17, 3, 0, 0])),
    Act("connect", EXPORTER_MAY, |_| raw(libc::SYS_connect, [-1, 0, 0, 0])),
    Act("listen", NO, |_| raw(libc::SYS_listen, [-1, 0, 0, 0])),
    Act("serve a port", NO, |_| std::net::TcpListener::bind("127.0.0.1:0").map(drop)),
];

/// Prints each action with the number of its error, 0 for none, and whether the cell may have it.
pub(in crate::console) fn run(arguments: &Arguments) -> Outcome {
    let failed = |error: io::Error| Failure::file(&arguments.folder, "write", &error);
    let own = arguments.folder.join("own");
    super::hand_over(&own, user())?;
    fs::write(arguments.folder.join("there"), "").map_err(failed)?;
    let mut folders = [Folder::open(&own)?];
    let parent = rustix::process::getppid().map_or(0, |parent| parent.as_raw_nonzero().get().cast_unsigned());
    match arguments.cell {
        Who::Free => {}
        Who::Worker => drop(confine(Cell::worker(parent, user(), &mut folders))?),
        Who::Exporter => drop(confine(Cell::exporter(parent, user(), &mut folders))?),
    }
    let scene = Scene { target: arguments.target, outside: &arguments.folder, inside: &folders[0].path };
    // Inside a cell its own folder is open: what is refused is refused by the walls.
    fs::write(scene.inside.join("kept"), "").map_err(failed)?;
    for Act(name, exporter_may, act) in ACTS {
        let error = act(&scene).err().map_or(0, |error| error.raw_os_error().unwrap_or(-1));
        let allowed = matches!(arguments.cell, Who::Exporter) && *exporter_may;
        println!("{}", serde_json::json!({ "action": name, "errno": error, "allowed": allowed }));
    }
    Ok(ExitCode::SUCCESS)
}

fn open(path: &str) -> io::Result<()> {
    File::open(path).map(drop)
}

/// A system call whose arguments point to nothing, or to what the caller keeps alive.
fn raw(number: c_long, [a, b, c, d]: [c_long; 4]) -> io::Result<()> {
    // SAFETY: pointers among the arguments are null, or lead to values that outlive the call and are large enough for it.
    let done = unsafe { syscall(number, a, b, c, d, 0, 0) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn fork() -> io::Result<()> {
    // SAFETY: the child does nothing but end.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: as above.
        0 => unsafe { libc::_exit(0) },
        child => {
            let mut status = 0;
            // SAFETY: `status` outlives the call.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            Ok(())
        }
    }
}

fn take_capabilities() -> io::Result<()> {
    use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
    let held = capabilities(None)?;
    // Outside of a cell, what is held already is taken again.
    let wanted = if held.permitted.is_empty() { CapabilitySet::SYS_ADMIN } else { held.permitted };
    Ok(set_capabilities(None, CapabilitySets { effective: wanted, permitted: wanted, inheritable: held.inheritable })?)
}

fn map_code() -> io::Result<()> {
    let (code, memory) = (libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at a place of the kernel's choice touches no other memory; it is left to the end of the process.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, code, memory, -1, 0) };
    if page == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}
