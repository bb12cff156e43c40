//! The kernel side: uprobes at the doors of TLS libraries, tracepoints for processes, sockets and files.
//!
//! Uprobe programs run preemptible (kernels from 6.0), so none uses per-CPU scratch: what a call carries from entry to return lies in a
//! hash map keyed by thread, and bytes go straight into a ring reservation. `guard` keeps them off the private per-CPU
//! stacks of kernels from 6.13, which two preempted tasks would share.

#![no_std]
#![no_main]
// BPF has atomic addition but the target does not say so to `core::sync::atomic`.
#![feature(core_intrinsics)]
#![expect(internal_features, reason = "see above")]

mod budget;
mod descriptor;
mod files;
mod go;
mod maps;
mod plain;
mod process;
mod rustls;
mod tls;
mod touch;
mod verdict;

use agent_wire::{Header, counter};
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, generated::bpf_ktime_get_boot_ns};

/// The helpers for user memory are open to programs under the GPL or a licence compatible with it.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
pub static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses a program that can reach this.
    loop {}
}

fn header(kind: u16, flags: u16, length: u32) -> Header {
    let id = bpf_get_current_pid_tgid();
    Header {
        // SAFETY: the helper takes nothing and touches no memory of ours.
        time: unsafe { bpf_ktime_get_boot_ns() },
        tgid: (id >> 32) as u32,
        tid: id as u32,
        kind,
        flags,
        length,
    }
}

fn tgid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// Adds to a counter.
fn count(index: u32, amount: u64) {
    if let Some(cell) = maps::COUNTERS.get_ptr_mut(index) {
        // SAFETY: the map value outlives the program's run and is only ever accessed atomically.
        unsafe { core::intrinsics::atomic_xadd::<u64, u64, { core::intrinsics::AtomicOrdering::Relaxed }>(cell, amount) };
    }
}

fn count_filtered() {
    count(counter::FILTERED, 1);
}
