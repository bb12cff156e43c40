//! Pages of a write that are not in the process's memory: fetched by sleeping, just before the probe at the same place reads them.
//!
//! A sleepable program may hold no program array, so it cannot carry the guard that keeps the others off the private per-CPU stacks of
//! kernels from 6.13, and there two tasks that sleep in it would share one. It stays off them by size: a function gets a private stack
//! only when its frame has 64 bytes or more. The daemon's tests measure both functions here.

use agent_wire::tracked;
use aya_ebpf::cty::c_void;
use aya_ebpf::helpers::generated::{bpf_copy_from_user, bpf_loop, bpf_probe_read_user};
use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;

use crate::tls::{call_bytes, watched};

const PAGE: u64 = 4096;

/// Entry of a write: `(object, buffer, length)`.
#[uprobe(sleepable)]
pub fn tls_write_touch(context: ProbeContext) -> u32 {
    if !watched(tracked::CONTENT) {
        return 0;
    }
    let (Some(buffer), Some(length)) = (context.arg::<u64>(1), context.arg::<u64>(2)) else { return 0 };
    let cap = u64::from(call_bytes());
    let length = if length > cap { cap } else { length };
    let mut first = buffer & !(PAGE - 1);
    let pages = (buffer + length + PAGE - 1 - first) / PAGE;
    // SAFETY: the callback has the helper's signature and sees `first`, which outlives the call.
    unsafe { bpf_loop(pages as u32, page as *mut c_void, (&raw mut first).cast(), 0) };
    0
}

extern "C" fn page(index: u64, first: *const u64) -> i64 {
    // SAFETY: the loop hands on the pointer that `tls_write_touch` gave it.
    let at = unsafe { *first } + index * PAGE;
    let mut byte = 0_u8;
    let place: *mut c_void = (&raw mut byte).cast();
    // A page that is there costs a look; one that cannot be had ends the loop, and the probe that reads it counts the fault.
    // SAFETY: one byte into a local; the helpers check the address.
    let gone = unsafe { bpf_probe_read_user(place, 1, at as *const _) != 0 && bpf_copy_from_user(place, 1, at as *const _) != 0 };
    i64::from(gone)
}
