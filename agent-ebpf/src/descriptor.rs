//! What stands behind a descriptor of the current process: the open file, its inode, and whether it is a pipe or a socket.
//!
//! Read from kernel memory at the moment of the call: `/proc` answers later, when a short-lived process is gone.

use agent_wire::layout;
use aya_ebpf::helpers::bpf_probe_read_kernel;
use aya_ebpf::helpers::generated::bpf_get_current_task;

/// Set by the loader from the kernel's BTF.
#[unsafe(no_mangle)]
static LAYOUT: [u32; layout::COUNT] = [0; layout::COUNT];

/// `S_IFMT` and two of its values (`include/uapi/linux/stat.h`).
const TYPE: u16 = 0o170_000;
const FIFO: u16 = 0o010_000;
const REGULAR: u16 = 0o100_000;
const SOCKET: u16 = 0o140_000;

/// `AF_UNIX` (`include/linux/socket.h`).
const UNIX: u16 = 1;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    Pipe,
    UnixSocket,
    Socket,
    Other,
}

/// An open file.
#[derive(Clone, Copy)]
pub(crate) struct Descriptor {
    /// Address of the `struct file`, the same for duplicated descriptors.
    pub(crate) file: u64,
    inode_at: u64,
    pub(crate) inode: u64,
}

fn at(place: usize) -> u64 {
    // SAFETY: reads a constant that the loader may change; `place` is one of `layout`'s constants.
    u64::from(unsafe { core::ptr::read_volatile((&raw const LAYOUT).cast::<u32>().add(place)) })
}

fn pointer(from: u64, place: usize) -> Option<u64> {
    // SAFETY: the helper checks the address.
    let value = unsafe { bpf_probe_read_kernel((from + at(place)) as *const u64) }.ok()?;
    if value == 0 { None } else { Some(value) }
}

/// Where the arguments of the program lie that the current process runs, and where they end.
#[inline(always)]
pub(crate) fn arguments() -> Option<(u64, u64)> {
    // SAFETY: the helper takes nothing.
    let memory = pointer(unsafe { bpf_get_current_task() }, layout::TASK_MEMORY)?;
    Some((pointer(memory, layout::ARGUMENTS_START)?, pointer(memory, layout::ARGUMENTS_END)?))
}

impl Descriptor {
    #[inline(always)]
    pub(crate) fn of(fd: i32) -> Option<Descriptor> {
        if fd < 0 {
            return None;
        }
        // SAFETY: the helper takes nothing.
        let task = unsafe { bpf_get_current_task() };
        let table = pointer(pointer(task, layout::TASK_FILES)?, layout::FILES_TABLE)?;
        // SAFETY: the helper checks the address.
        let size = unsafe { bpf_probe_read_kernel((table + at(layout::TABLE_SIZE)) as *const u32) }.ok()?;
        if fd as u32 >= size {
            return None;
        }
        let files = pointer(table, layout::TABLE_FILES)?;
        // SAFETY: as above.
        let file = unsafe { bpf_probe_read_kernel((files + fd as u64 * 8) as *const u64) }.ok()?;
        if file == 0 {
            return None;
        }
        let inode_at = pointer(file, layout::FILE_INODE)?;
        let inode = pointer(inode_at, layout::INODE_NUMBER)?;
        Some(Descriptor { file, inode_at, inode })
    }

    #[inline(always)]
    pub(crate) fn sort(&self) -> Sort {
        let mode = self.mode();
        if mode & TYPE == FIFO {
            return Sort::Pipe;
        }
        if mode & TYPE != SOCKET {
            return Sort::Other;
        }
        let family = pointer(self.file, layout::FILE_DATA)
            .and_then(|socket| pointer(socket, layout::SOCKET_SOCK))
            // SAFETY: as above.
            .and_then(|sock| unsafe { bpf_probe_read_kernel((sock + at(layout::SOCK_FAMILY)) as *const u16) }.ok());
        if family == Some(UNIX) { Sort::UnixSocket } else { Sort::Socket }
    }

    #[inline(always)]
    pub(crate) fn is_regular(&self) -> bool {
        self.mode() & TYPE == REGULAR
    }

    #[inline(always)]
    fn mode(&self) -> u16 {
        // SAFETY: the helper checks the address.
        unsafe { bpf_probe_read_kernel((self.inode_at + at(layout::INODE_MODE)) as *const u16) }.unwrap_or(0)
    }

    /// The inode where this is a pipe or a unix socket, else 0.
    #[inline(always)]
    pub(crate) fn local_inode(&self) -> u64 {
        if matches!(self.sort(), Sort::Pipe | Sort::UnixSocket) { self.inode } else { 0 }
    }
}
