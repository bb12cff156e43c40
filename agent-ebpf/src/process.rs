//! fork, exec and exit of every process: who is an agent is decided by the daemon, descent is inherited here.

use agent_wire::{ARGV_BYTES, ARGV_COUNT, Argv, Fork, Header, NAME, Named, counter, kind, tracked};
use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::{
    bpf_get_current_cgroup_id, bpf_get_current_uid_gid, bpf_probe_read_kernel_str, bpf_probe_read_user, bpf_probe_read_user_str,
};
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;

use crate::maps::{RING, STDIO, TRACKED};
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

/// `syscalls:sys_enter_execve`: `argv` at 24; `execveat`: at 32. The arguments as the kernel is about to copy them.
#[tracepoint]
pub fn execve_enter(context: TracePointContext) -> u32 {
    arguments(&context, 24)
}

#[tracepoint]
pub fn execveat_enter(context: TracePointContext) -> u32 {
    arguments(&context, 32)
}

#[inline(always)]
fn arguments(context: &TracePointContext, offset: usize) -> u32 {
    // SAFETY: the offset is that of the event's format.
    let Ok(argv) = (unsafe { context.read_at::<u64>(offset) }) else { return 0 };
    let Some(mut entry) = RING.reserve::<Argv>(0) else {
        count(counter::EVENTS_LOST, 1);
        return 0;
    };
    let record = entry.as_mut_ptr();
    let mut used = 0_usize;
    for position in 0..ARGV_COUNT {
        let mut text = 0_u64;
        // SAFETY: reads one pointer; the helper checks the address.
        let read = unsafe { bpf_probe_read_user((&raw mut text).cast(), 8, (argv + position as u64 * 8) as *const _) };
        if read != 0 || text == 0 || used >= ARGV_BYTES - NAME {
            break;
        }
        // SAFETY: `used` is below ARGV_BYTES - NAME, and the helper writes at most NAME bytes.
        let length = unsafe {
            let place = (&raw mut (*record).data).cast::<u8>().add(used & (ARGV_BYTES - 1));
            bpf_probe_read_user_str(place.cast(), NAME as u32, text as *const _)
        };
        if length <= 0 {
            break;
        }
        used += (length as usize) & (NAME * 2 - 1);
    }
    // SAFETY: the reservation is a whole `Argv`.
    unsafe { (*record).header = header(kind::ARGV, 0, used as u32) };
    entry.submit(wake());
    0
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
