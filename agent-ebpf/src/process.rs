//! fork, exec and exit of every process: who is an agent is decided by the daemon, descent is inherited here.

use agent_wire::{ARGV_BYTES, Argv, Fork, Header, NAME, Named, counter, kind, tracked};
use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::{
    bpf_get_current_cgroup_id, bpf_get_current_uid_gid, bpf_probe_read_kernel_str, bpf_probe_read_user,
};
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;

use crate::descriptor::arguments;
use crate::maps::{NO_WAKEUP, RING, STDIO, TRACKED};
use crate::plain::note_stdio;
use crate::tls::wake;
use crate::{count, header, tgid};

/// `sched:sched_process_fork`: `parent_pid` at 12, `child_pid` at 20. It fires for threads too: the daemon tells them apart.
#[tracepoint]
pub fn process_fork(context: TracePointContext) -> u32 {
    // SAFETY: the offsets are those of the event's format.
    let Ok(child) = (unsafe { context.read_at::<u32>(20) }) else { return 0 };
    let parent = header(kind::FORK, 0, 0);
    // SAFETY: plain values.
    let tracked = unsafe { TRACKED.get(parent.tgid) }.copied().unwrap_or(0) & tracked::INHERITED;
    if tracked != 0 {
        // Before the child runs: its first call is already watched.
        let _ = TRACKED.insert(child, tracked, 0);
    }
    // SAFETY: plain values; copied before the map changes.
    if let Some(stdio) = unsafe { STDIO.get(parent.tgid) }.copied()
        && (stdio.input != 0 || stdio.output != 0)
    {
        // Until it runs a program of its own, the child speaks on its parent's.
        let _ = STDIO.insert(child, stdio, 0);
    }
    let record = Fork { header: parent, child, tracked };
    if RING.output::<Fork>(&record, wake()).is_err() {
        count(counter::EVENTS_LOST, 1);
    }
    0
}

/// `sched:sched_process_exec`: `__data_loc filename` at 8.
#[tracepoint]
pub fn process_exec(context: TracePointContext) -> u32 {
    // SAFETY: the offset is that of the event's format; the low half is the distance of the text from the record.
    let Ok(place) = (unsafe { context.read_at::<u32>(8) }) else { return 0 };
    note_stdio();
    tell_arguments();
    let Some(mut entry) = RING.reserve::<Named>(0) else {
        count(counter::EVENTS_LOST, 1);
        return 0;
    };
    let record = entry.as_mut_ptr();
    // SAFETY: the reservation is a whole `Named`; the helper writes at most NAME bytes.
    unsafe {
        let text = (context.as_ptr() as *const u8).add((place & 0xffff) as usize);
        let length = bpf_probe_read_kernel_str((&raw mut (*record).name).cast(), NAME as u32, text.cast());
        (*record).header = header(kind::EXEC, 0, if length > 0 { length as u32 - 1 } else { 0 });
        (*record).object = 0;
        (*record).generation = 0;
        (*record).extra = bpf_get_current_cgroup_id();
        (*record).word = bpf_get_current_uid_gid() as u32;
        (*record).parent = 0;
    }
    // A watched process's libraries are to be probed before it speaks.
    // SAFETY: plain values.
    let known = unsafe { TRACKED.get(tgid()) }.is_some_and(|flags| flags & tracked::CONTENT != 0);
    entry.submit(if known { 0 } else { wake() });
    0
}

/// The arguments as the kernel has just copied them for the new program: those that `execve` was given may lie in pages which nobody has
/// touched since the fork, and cannot be read there.
#[inline(always)]
fn tell_arguments() {
    let Some((start, end)) = arguments() else { return };
    let length = end.saturating_sub(start);
    let Some(mut entry) = RING.reserve::<Argv>(0) else {
        count(counter::EVENTS_LOST, 1);
        return;
    };
    // Volatile, so that the comparison stays: the verifier must see it on the very value that the helper gets.
    // SAFETY: reads a local.
    let mut length = unsafe { core::ptr::read_volatile(&raw const length) } as u32;
    if length > ARGV_BYTES as u32 {
        length = ARGV_BYTES as u32;
    }
    let record = entry.as_mut_ptr();
    // SAFETY: the reservation is a whole `Argv` and `length` is at most its data's.
    let fault = unsafe {
        (*record).header = header(kind::ARGV, 0, length);
        bpf_probe_read_user((&raw mut (*record).data).cast(), length, start as *const _)
    };
    if fault != 0 {
        entry.discard(0);
        return;
    }
    // The record of the exec follows at once.
    entry.submit(NO_WAKEUP);
}

/// `sched:sched_process_exit`.
#[tracepoint]
pub fn process_exit(_context: TracePointContext) -> u32 {
    let gone: Header = header(kind::EXIT, 0, 0);
    if gone.tgid != gone.tid {
        // A thread: its entry was made at clone, when it could have been a process.
        let _ = TRACKED.remove(gone.tid);
        let _ = STDIO.remove(gone.tid);
        return 0;
    }
    let _ = TRACKED.remove(gone.tgid);
    let _ = STDIO.remove(gone.tgid);
    if RING.output::<Header>(&gone, wake()).is_err() {
        count(counter::EVENTS_LOST, 1);
    }
    0
}
