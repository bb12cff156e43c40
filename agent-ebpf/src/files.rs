//! Files that watched processes make, open for writing, rename and remove: which, and that the kernel did so.

use agent_wire::{NAME, Named, counter, file, kind, tracked};
use aya_ebpf::helpers::generated::bpf_probe_read_user_str;
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_probe_read_user};
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;

use crate::budget::has_room;
use crate::descriptor::Descriptor;
use crate::maps::{RING, Syscall};
use crate::plain::leave;
use crate::tls::{inside, wake, watched};
use crate::{count, header};

/// Flags of `open` (`asm-generic/fcntl.h`).
const WRITES: u64 = 0o3;
const CREATES: u64 = 0o100;

/// Names without a directory's descriptor are those of the current one (`linux/fcntl.h`).
const HERE: u64 = -100_i64 as u64;

/// `open(name, flags, mode)`.
#[tracepoint]
pub fn open_enter(context: TracePointContext) -> u32 {
    opens(argument(&context, 1), HERE, argument(&context, 0))
}

/// `openat(directory, name, flags, mode)`.
#[tracepoint]
pub fn openat_enter(context: TracePointContext) -> u32 {
    opens(argument(&context, 2), argument(&context, 0), argument(&context, 1))
}

/// `openat2(directory, name, how, size)`: the flags come first in `how`.
#[tracepoint]
pub fn openat2_enter(context: TracePointContext) -> u32 {
    if !watched(tracked::FILES) {
        return 0;
    }
    // SAFETY: the helper checks the address.
    let flags = unsafe { bpf_probe_read_user(argument(&context, 2) as *const u64) }.unwrap_or(0);
    opens(flags, argument(&context, 0), argument(&context, 1))
}

/// `creat(name, mode)`.
#[tracepoint]
pub fn creat_enter(context: TracePointContext) -> u32 {
    opens(CREATES, HERE, argument(&context, 0))
}

#[inline(always)]
fn opens(flags: u64, directory: u64, name: u64) -> u32 {
    if flags & CREATES != 0 {
        note(file::CREATE, directory, name, 0)
    } else if flags & WRITES != 0 {
        note(file::WRITE, directory, name, 0)
    } else {
        0
    }
}

/// Devices, pipes and terminals are no files.
#[tracepoint]
pub fn open_exit(context: TracePointContext) -> u32 {
    let Some((_, call, returned)) = leave(&context) else { return 0 };
    if returned >= 0 && Descriptor::of(returned as i32).is_some_and(|open| open.is_regular()) {
        tell(call.fd as u32, call.vectors, call.buffer);
    }
    0
}

/// `unlink(name)`.
#[tracepoint]
pub fn unlink_enter(context: TracePointContext) -> u32 {
    note(file::UNLINK, HERE, argument(&context, 0), 0)
}

/// `unlinkat(directory, name, flags)`.
#[tracepoint]
pub fn unlinkat_enter(context: TracePointContext) -> u32 {
    note(file::UNLINK, argument(&context, 0), argument(&context, 1), 0)
}

/// `rename(old, new)`.
#[tracepoint]
pub fn rename_enter(context: TracePointContext) -> u32 {
    note(file::RENAME, HERE, argument(&context, 0), argument(&context, 1))
}

/// `renameat(old_directory, old, new_directory, new)`, `renameat2`. Both directories are nearly always the same.
#[tracepoint]
pub fn renameat_enter(context: TracePointContext) -> u32 {
    note(file::RENAME, argument(&context, 0), argument(&context, 1), argument(&context, 3))
}

/// Of `unlink` and `rename`.
#[tracepoint]
pub fn name_exit(context: TracePointContext) -> u32 {
    let Some((_, call, returned)) = leave(&context) else { return 0 };
    if returned == 0 {
        tell(call.fd as u32, call.vectors, call.buffer);
        if call.length != 0 {
            tell(file::RENAMED_TO, call.vectors, call.length);
        }
    }
    0
}

#[inline(always)]
fn argument(context: &TracePointContext, number: usize) -> u64 {
    // SAFETY: the offsets are those of the events' formats: arguments of eight bytes from 16 on.
    unsafe { context.read_at::<u64>(16 + 8 * number) }.unwrap_or(0)
}

/// What a call is about to do. The name is read when it returns: then its page is there.
#[inline(always)]
fn note(what: u32, directory: u64, name: u64, other: u64) -> u32 {
    if !watched(tracked::FILES) {
        return 0;
    }
    if let Some(inside) = inside(bpf_get_current_pid_tgid()) {
        // SAFETY: the entry belongs to this thread.
        unsafe { (*inside).call = Syscall { buffer: name, length: other, fd: what as i32, vectors: directory as u32 } };
    }
    0
}

#[inline(always)]
fn tell(what: u32, directory: u32, name: u64) {
    if !has_room(size_of::<Named>() as u64) {
        count(counter::EVENTS_LOST, 1);
        return;
    }
    let Some(mut entry) = RING.reserve::<Named>(0) else {
        count(counter::EVENTS_LOST, 1);
        return;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the reservation is a whole `Named`; the helper writes at most NAME bytes.
    let length = unsafe {
        let length = bpf_probe_read_user_str((&raw mut (*record).name).cast(), NAME as u32, name as *const _);
        (*record).header = header(kind::FILE, 0, if length > 0 { length as u32 - 1 } else { 0 });
        (*record).object = 0;
        (*record).generation = 0;
        (*record).extra = u64::from(directory);
        (*record).word = what;
        (*record).parent = 0;
        length
    };
    if length <= 1 {
        entry.discard(0);
        return;
    }
    entry.submit(wake());
}
