//! System calls of watched processes: which socket belongs to which TLS object, connect and accept, plaintext on sockets and pipes.

use agent_wire::{SocketAddress, counter, kind, tracked};
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_probe_read_user;
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;

use crate::maps::{INSIDE, Inside, RING, SYSCALLS, Syscall};
use crate::tls::{bind, connection, watched};
use crate::{count, header};

/// `EAGAIN`: the socket took nothing.
const AGAIN: i64 = -11;

fn enter(context: &TracePointContext, buffer_at: usize, length_at: usize, vectors: u32) -> u32 {
    if !watched(tracked::CONTENT) {
        return 0;
    }
    // SAFETY: the offsets are those of the events' formats: arguments of eight bytes from 16 on.
    let (fd, buffer, length) = unsafe {
        (
            context.read_at::<u64>(16).unwrap_or(0),
            context.read_at::<u64>(buffer_at).unwrap_or(0),
            context.read_at::<u64>(length_at).unwrap_or(0),
        )
    };
    let call = Syscall { buffer, length, fd: fd as i32, vectors };
    let _ = SYSCALLS.insert(bpf_get_current_pid_tgid(), call, 0);
    0
}

/// The call that this thread entered, and what it returned.
fn leave(context: &TracePointContext) -> Option<(u64, Syscall, i64)> {
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: plain values; copied before the entry is removed.
    let call = (unsafe { SYSCALLS.get(thread) }).copied()?;
    let _ = SYSCALLS.remove(thread);
    // SAFETY: `ret` stands at 16 in every sys_exit event.
    let returned = unsafe { context.read_at::<i64>(16) }.ok()?;
    Some((thread, call, returned))
}

/// A send after (or inside) a write tells the write's fd.
#[inline(always)]
fn sent(context: &TracePointContext) -> u32 {
    let Some((thread, call, returned)) = leave(context) else { return 0 };
    let Some(inside) = INSIDE.get_ptr_mut(thread) else { return 0 };
    // SAFETY: the entry belongs to this thread.
    let inside = unsafe { &mut *inside };
    if inside.wants_send == 0 {
        return 0;
    }
    inside.wants_send = 0;
    let Some(state) = connection(inside.object) else { return 0 };
    // SAFETY: the map value stays valid for this run.
    let seen = unsafe { &mut *state };
    let short = returned == AGAIN || (returned >= 0 && (returned as u64) < call.length);
    if short && seen.memory_bio == 0 {
        seen.blocked = 1;
    }
    if seen.exact == 0 && (returned >= 0 || returned == AGAIN) {
        bind(inside.object, seen, call.fd);
    }
    0
}

/// The last receive of a thread feeds the read that returns next.
#[inline(always)]
fn received(context: &TracePointContext) -> u32 {
    let Some((thread, call, returned)) = leave(context) else { return 0 };
    if returned <= 0 {
        return 0;
    }
    if let Some(inside) = INSIDE.get_ptr_mut(thread) {
        // SAFETY: the entry belongs to this thread.
        unsafe { (*inside).received = call.fd };
    } else {
        let _ = INSIDE.insert(thread, Inside { object: 0, received: call.fd, wants_send: 0 }, 0);
    }
    0
}

#[tracepoint]
pub fn write_enter(context: TracePointContext) -> u32 {
    enter(&context, 24, 32, 0)
}

#[tracepoint]
pub fn write_exit(context: TracePointContext) -> u32 {
    sent(&context)
}

#[tracepoint]
pub fn read_enter(context: TracePointContext) -> u32 {
    enter(&context, 24, 32, 0)
}

#[tracepoint]
pub fn read_exit(context: TracePointContext) -> u32 {
    received(&context)
}

/// `sendmsg`, `recvmsg`: a message header instead of a buffer.
#[tracepoint]
pub fn message_enter(context: TracePointContext) -> u32 {
    enter(&context, 24, 32, 1)
}

/// `connect(fd, address, length)`.
#[tracepoint]
pub fn connect_enter(context: TracePointContext) -> u32 {
    enter(&context, 24, 32, 0)
}

#[tracepoint]
pub fn connect_exit(context: TracePointContext) -> u32 {
    address(&context, kind::CONNECT)
}

/// `accept4(fd, address, length_at)`.
#[tracepoint]
pub fn accept_enter(context: TracePointContext) -> u32 {
    enter(&context, 24, 32, 0)
}

#[tracepoint]
pub fn accept_exit(context: TracePointContext) -> u32 {
    address(&context, kind::ACCEPT)
}

#[inline(always)]
fn address(context: &TracePointContext, kind: u16) -> u32 {
    let Some((_, call, returned)) = leave(context) else { return 0 };
    let mut record =
        SocketAddress { header: header(kind, 0, 0), fd: call.fd, result: returned as i32, address: [0; 28], reserved: 0 };
    if call.buffer != 0 {
        // SAFETY: at most 28 bytes into an array of 28; a shorter address leaves zeros when the page ends.
        let whole = unsafe { bpf_probe_read_user((&raw mut record.address).cast(), 28, call.buffer as *const _) };
        if whole != 0 {
            // SAFETY: as above.
            unsafe { bpf_probe_read_user((&raw mut record.address).cast(), 16, call.buffer as *const _) };
        }
    }
    if RING.output::<SocketAddress>(&record, 0).is_err() {
        count(counter::EVENTS_LOST, 1);
    }
    0
}

/// `close(fd)`.
#[tracepoint]
pub fn close_enter(context: TracePointContext) -> u32 {
    if !watched(tracked::CONTENT) {
        return 0;
    }
    // SAFETY: the offset is that of the event's format.
    let Ok(fd) = (unsafe { context.read_at::<u64>(16) }) else { return 0 };
    let record = SocketAddress { header: header(kind::FD_CLOSE, 0, 0), fd: fd as i32, ..Default::default() };
    if RING.output::<SocketAddress>(&record, 0).is_err() {
        count(counter::EVENTS_LOST, 1);
    }
    0
}
