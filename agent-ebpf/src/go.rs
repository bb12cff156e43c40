//! Go's crypto/tls, in the register convention of Go 1.17 and later: receiver in rax, slice in rbx and rcx, goroutine in r14, results in rax on.
//!
//! ```text
//! func (c *Conn) Read(b []byte) (int, error)      probes behind the stack check and at every RET
//! func (c *Conn) Write(b []byte) (int, error)
//! func (c *Conn) Close() error
//! ```
//!
//! Never a return probe: Go moves stacks, and its unwinder does not know the kernel's return address. A call may end on another thread than
//! it began on, so it is kept by goroutine.

use agent_wire::{FLAG_OUT, source};
use aya_ebpf::helpers::bpf_probe_read_user as read_user;
use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;

use crate::maps::{ConnectionKey, ConnectionState, GO_READS, Part, Read};
use crate::tgid;
use crate::tls::{bind, close, connection, cookie, emit, guard, wanted};
use crate::verdict::{self, CONTRADICTED};

/// Place of `Sysfd` in `net.netFD`: behind the mutex of `poll.FD`, which it begins with.
const SYSFD: u64 = 16;

/// Longest slice that is believed.
const SLICE: u64 = 1 << 31;

#[uprobe]
pub fn go_write_enter(context: ProbeContext) -> u32 {
    guard(&context);
    if !wanted(&context) {
        return 0;
    }
    // SAFETY: the context of a probe is the saved registers.
    let (object, buffer, length) = unsafe { ((*context.regs).rax, (*context.regs).rbx, (*context.regs).rcx) };
    if length == 0 {
        return 0;
    }
    if length > SLICE {
        verdict::give(cookie(&context), CONTRADICTED);
        return 0;
    }
    let Some(state) = connection(object) else { return 0 };
    find_socket(object, state);
    verdict::listen(cookie(&context), buffer);
    // SAFETY: the map value stays valid for this run.
    let seen = unsafe { &mut *state };
    let offset = seen.out;
    seen.out = offset + length;
    let part = Part { object, generation: seen.generation, offset, fd: seen.fd, flags: FLAG_OUT, source: u16::from(source::GO) };
    emit::<false>(part, buffer, length);
    0
}

#[uprobe]
pub fn go_read_enter(context: ProbeContext) -> u32 {
    guard(&context);
    if !wanted(&context) {
        return 0;
    }
    // SAFETY: the context of a probe is the saved registers.
    let (object, buffer, length) = unsafe { ((*context.regs).rax, (*context.regs).rbx, (*context.regs).rcx) };
    let read = Read { object, buffer, length_at: length, stack: 0 };
    let _ = GO_READS.insert(goroutine(&context), read, 0);
    0
}

#[uprobe]
pub fn go_read_return(context: ProbeContext) -> u32 {
    guard(&context);
    let key = goroutine(&context);
    // SAFETY: plain values; copied before the entry is removed.
    let Some(read) = (unsafe { GO_READS.get(key) }).copied() else { return 0 };
    let _ = GO_READS.remove(key);
    // SAFETY: the context of a probe is the saved registers.
    let length = unsafe { (*context.regs).rax };
    if length == 0 {
        return 0;
    }
    if length > read.length_at {
        verdict::give(cookie(&context), CONTRADICTED);
        return 0;
    }
    let Some(state) = connection(read.object) else { return 0 };
    find_socket(read.object, state);
    verdict::listen(cookie(&context), read.buffer);
    // SAFETY: the map value stays valid for this run.
    let seen = unsafe { &mut *state };
    let offset = seen.inward;
    seen.inward = offset + length;
    let part =
        Part { object: read.object, generation: seen.generation, offset, fd: seen.fd, flags: 0, source: u16::from(source::GO) };
    emit::<false>(part, read.buffer, length);
    0
}

#[uprobe]
pub fn go_close(context: ProbeContext) -> u32 {
    guard(&context);
    // SAFETY: the context of a probe is the saved registers.
    close(unsafe { (*context.regs).rax });
    0
}

fn goroutine(context: &ProbeContext) -> ConnectionKey {
    // SAFETY: the context of a probe is the saved registers.
    ConnectionKey { object: unsafe { (*context.regs).r14 }, tgid: tgid(), pad: 0 }
}

/// `Conn` begins with the interface `net.Conn`: type and data. The data of a `*net.TCPConn` is a pointer to `netFD`. What else implements
/// the interface gives a number that is no socket, which the daemon finds out.
#[inline(always)]
fn find_socket(object: u64, state: *mut ConnectionState) {
    // SAFETY: the map value stays valid for this run.
    let seen = unsafe { &mut *state };
    if seen.fd >= 0 {
        return;
    }
    // SAFETY: the helper checks the addresses.
    let fd = unsafe { read_user((object + 8) as *const u64) }
        .and_then(|data| unsafe { read_user(data as *const u64) })
        .and_then(|socket| unsafe { read_user((socket + SYSFD) as *const u64) });
    if let Ok(fd) = fd
        && fd < 1 << 20
    {
        seen.exact = 1;
        bind(object, seen, fd as i32);
    }
}
