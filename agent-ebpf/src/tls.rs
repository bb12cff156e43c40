//! TLS libraries: reads at entry and return, writes at entry, what binds an object to a socket and a name.

use agent_wire::{
    COOKIE_LIBRARY, COOKIE_OWN, Chunk, ChunkHead, Connection, FLAG_OUT, FLAG_TRUNCATED, LARGE, LIBRARIES, MEDIUM, NAME, Named,
    SMALL, counter, kind, loss, reader, result, source, tracked,
};
use aya_ebpf::EbpfContext;
use aya_ebpf::cty::c_void;
use aya_ebpf::helpers::generated::{
    bpf_copy_from_user, bpf_get_attach_cookie, bpf_ktime_get_boot_ns, bpf_loop, bpf_probe_read_user, bpf_probe_read_user_str,
};
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_probe_read_user as read_user};
use aya_ebpf::macros::{tracepoint, uprobe, uretprobe};
use aya_ebpf::programs::{ProbeContext, RetProbeContext, TracePointContext};

use crate::budget::admits;
use crate::maps::{
    AVAILABLE, CLOSED, CONNECTIONS, ConnectionKey, ConnectionState, INSIDE, Inside, NO_WAKEUP, NOWHERE, Part, READER, RING, Read,
    SIZE, SPENT, Syscall, TLS_SOCKETS, TRACKED, UNJUDGED,
};
use crate::{count, count_filtered, header, tgid, verdict};

/// Most bytes read of one call; set by the loader.
#[unsafe(no_mangle)]
static CALL_BYTES: u32 = 4 << 20;

/// `SSL_CTRL_SET_TLSEXT_HOSTNAME` of openssl/tls1.h.
const CTRL_SET_HOSTNAME: u64 = 55;

pub(crate) fn call_bytes() -> u32 {
    // SAFETY: reads a constant that the loader may change.
    unsafe { core::ptr::read_volatile(&raw const CALL_BYTES) }
}

/// What is wanted of the current process: the verdict on it, else the one on processes that nobody has judged yet.
#[inline(always)]
pub(crate) fn watched(flag: u32) -> bool {
    verdict() & flag != 0
}

#[inline(always)]
fn verdict() -> u32 {
    // SAFETY: map values are plain integers; a concurrent update gives the old or the new one.
    match unsafe { TRACKED.get(tgid()) } {
        Some(flags) => *flags,
        None => UNJUDGED.get(0).copied().unwrap_or(0),
    }
}

/// True for a hit with bytes of a process that is wanted; the others are put on the library's account.
#[inline(always)]
pub(crate) fn wanted<C: EbpfContext>(context: &C) -> bool {
    let verdict = verdict();
    if verdict & tracked::CONTENT == 0 {
        unwanted(context);
        return false;
    }
    counts(verdict, cookie(context))
}

/// False for a hit of a link that is not the one that counts in this process: a library may be probed machine-wide and in the process
/// alone for the moment between the two.
#[inline(always)]
pub(crate) fn counts(verdict: u32, cookie: u64) -> bool {
    let own = verdict & tracked::own((cookie >> COOKIE_LIBRARY) as u32 & (LIBRARIES - 1)) != 0;
    own == (cookie & COOKIE_OWN != 0)
}

/// A hit of a process that is not wanted: on the account of its library, whose machine-wide probes end when it is spent.
#[inline(always)]
fn unwanted<C: EbpfContext>(context: &C) -> u32 {
    count_filtered();
    let slot = (cookie(context) >> COOKIE_LIBRARY) as u32 & (LIBRARIES - 1);
    if let Some(spent) = SPENT.get_ptr_mut(slot) {
        // SAFETY: the map value outlives the program's run and is only ever accessed atomically.
        unsafe { core::intrinsics::atomic_xadd::<u64, u64, { core::intrinsics::AtomicOrdering::Relaxed }>(spent, 1) };
    }
    0
}

/// See the module comment of `main`: the call is never taken.
#[inline(always)]
pub(crate) fn guard<C: EbpfContext>(context: &C) {
    // SAFETY: reads a constant that the loader may change, so the compiler cannot drop the branch.
    if unsafe { core::ptr::read_volatile(&raw const CALL_BYTES) } == 0 {
        // SAFETY: the array is empty, so the call falls through.
        unsafe { NOWHERE.tail_call(context, 0) };
    }
}

#[inline(always)]
pub(crate) fn cookie<C: EbpfContext>(context: &C) -> u64 {
    // SAFETY: the helper reads the link's cookie of this context.
    unsafe { bpf_get_attach_cookie(context.as_ptr()) }
}

fn key(object: u64) -> ConnectionKey {
    ConnectionKey { object, tgid: tgid(), pad: 0 }
}

pub(crate) fn socket(fd: i32) -> ConnectionKey {
    key(fd as u32 as u64)
}

/// The state of a connection, made when it is first seen.
#[inline(always)]
pub(crate) fn connection(object: u64) -> Option<*mut ConnectionState> {
    let key = key(object);
    if let Some(known) = CONNECTIONS.get_ptr_mut(key) {
        return Some(known);
    }
    let fresh = ConnectionState {
        // SAFETY: the helper takes nothing.
        generation: unsafe { bpf_ktime_get_boot_ns() },
        out: 0,
        inward: 0,
        last_buffer: 0,
        last_length: 0,
        fd: -1,
        exact: 0,
        memory_bio: 0,
        blocked: 0,
        votes: 0,
    };
    let _ = CONNECTIONS.insert(key, fresh, 0);
    CONNECTIONS.get_ptr_mut(key)
}

/// Where the function that frees an object could not be found, the end of its socket ends the connection.
#[inline(always)]
fn renew(cookie: u64, object: u64, state: *mut ConnectionState) {
    if cookie >> 32 == 0 {
        return;
    }
    // SAFETY: the map value stays valid for this run.
    let seen = unsafe { &mut *state };
    if seen.fd < 0 {
        return;
    }
    let socket = ConnectionKey { object: u64::from(seen.fd as u32), tgid: tgid(), pad: 0 };
    // SAFETY: a plain number.
    if unsafe { CLOSED.get(socket) }.is_none_or(|closed| *closed < seen.generation) {
        return;
    }
    report(kind::CLOSE, object, seen, 0);
    // SAFETY: the helper takes nothing.
    seen.generation = unsafe { bpf_ktime_get_boot_ns() };
    seen.out = 0;
    seen.inward = 0;
    seen.last_buffer = 0;
    seen.last_length = 0;
    seen.fd = -1;
    seen.exact = 0;
    seen.memory_bio = 0;
    seen.blocked = 0;
}

/// Entry of a read: `(object, buffer, length, length_at)`.
#[uprobe]
pub fn tls_read_enter(context: ProbeContext) -> u32 {
    guard(&context);
    if !watched(tracked::CONTENT) {
        return unwanted(&context);
    }
    let (Some(object), Some(buffer)) = (context.arg::<u64>(0), context.arg::<u64>(1)) else { return 0 };
    // SAFETY: the context of a probe is the saved registers.
    let stack = unsafe { (*context.regs).rsp };
    let Some(inside) = inside(bpf_get_current_pid_tgid()) else { return 0 };
    // SAFETY: the entry belongs to this thread.
    let inside = unsafe { &mut *inside };
    // Only the outermost call emits: a nested one stands deeper on the stack. An entry left over from a longjmp stands as deep or deeper.
    if stack < inside.read.stack {
        return 0;
    }
    inside.read = Read { object, buffer, length_at: context.arg::<u64>(3).unwrap_or(0), stack };
    inside.object = object;
    inside.wants_send = 0;
    0
}

/// Return of a read. A page that was swapped out is lost, and counted.
#[uretprobe]
pub fn tls_read_return(context: RetProbeContext) -> u32 {
    guard(&context);
    read_return::<false>(&context)
}

/// The same for kernels where a sleeping program is safe: a page that is not in memory is fetched. Sleepable programs may not hold a
/// program array, so they have no guard against private stacks.
#[uretprobe(sleepable)]
pub fn tls_read_return_sleepable(context: RetProbeContext) -> u32 {
    read_return::<true>(&context)
}

#[inline(always)]
fn read_return<const SLEEP: bool>(context: &RetProbeContext) -> u32 {
    let thread = bpf_get_current_pid_tgid();
    let known = INSIDE.get_ptr_mut(thread);
    // SAFETY: the entry belongs to this thread.
    let read = known.map_or(Read::NONE, |inside| unsafe { (*inside).read });
    if read.stack == 0 {
        if watched(tracked::CONTENT) {
            count(counter::UNPAIRED, 1);
        }
        return 0;
    }
    // SAFETY: the context of a probe is the saved registers.
    let stack = unsafe { (*context.regs).rsp };
    if stack < read.stack {
        return 0;
    }
    let Some(inside) = known else { return 0 };
    // SAFETY: the entry belongs to this thread.
    let received = unsafe {
        (*inside).read.stack = 0;
        (*inside).received
    };
    let returned = context.ret::<u64>() as i32;
    if returned <= 0 {
        return 0;
    }
    let cookie = cookie(context);
    let length = if (cookie >> 8) as u8 == result::POINTER_4 {
        // SAFETY: the helper checks the address.
        unsafe { read_user(read.length_at as *const u64) }.unwrap_or(0)
    } else {
        returned as u64
    };
    verdict::listen(cookie, read.buffer);
    let Some(state) = connection(read.object) else { return 0 };
    renew(cookie, read.object, state);
    bind_received(received, read.object, state);
    // SAFETY: the map value stays valid for this run.
    let (generation, offset, fd) = unsafe { ((*state).generation, (*state).inward, (*state).fd) };
    // The offset moves before any reservation: what cannot be reserved is a hole of known size.
    unsafe { (*state).inward = offset + length };
    let part = Part { object: read.object, generation, offset, fd, flags: 0, source: u16::from(cookie as u8) };
    emit::<SLEEP>(part, read.buffer, length);
    0
}

/// Entry of a write: `(object, buffer, length)`.
#[uprobe]
pub fn tls_write_enter(context: ProbeContext) -> u32 {
    guard(&context);
    write_enter::<false>(&context)
}

#[uprobe(sleepable)]
pub fn tls_write_enter_sleepable(context: ProbeContext) -> u32 {
    write_enter::<true>(&context)
}

#[inline(always)]
fn write_enter<const SLEEP: bool>(context: &ProbeContext) -> u32 {
    let verdict = verdict();
    if verdict & tracked::CONTENT == 0 {
        return unwanted(context);
    }
    let thread = bpf_get_current_pid_tgid();
    let cookie = cookie(context);
    if !counts(verdict, cookie) {
        return 0;
    }
    let (Some(object), Some(buffer), Some(mut length)) = (context.arg::<u64>(0), context.arg::<u64>(1), context.arg::<u64>(2))
    else {
        return 0;
    };
    if (cookie >> 8) as u8 == result::LENGTH && (cookie as u8) != source::GNUTLS {
        // `int`: the upper half of the register is not defined.
        let narrow = length as i32;
        if narrow <= 0 {
            return 0;
        }
        length = narrow as u64;
    }
    if length == 0 || length > u64::from(u32::MAX) {
        return 0;
    }
    verdict::listen(cookie, buffer);
    let Some(state) = connection(object) else { return 0 };
    renew(cookie, object, state);
    mark(thread, object, 1);
    // SAFETY: the map value stays valid for this run.
    let seen = unsafe { &mut *state };
    if seen.blocked != 0 {
        seen.blocked = 0;
        // The same bytes again, or the part of them that was not taken.
        let end = buffer + length == seen.last_buffer + seen.last_length;
        if end || length == seen.last_length {
            count(counter::RETRIED, 1);
            return 0;
        }
    }
    seen.last_buffer = buffer;
    seen.last_length = length;
    let offset = seen.out;
    seen.out = offset + length;
    let part =
        Part { object, generation: seen.generation, offset, fd: seen.fd, flags: FLAG_OUT, source: u16::from(cookie as u8) };
    emit::<SLEEP>(part, buffer, length);
    0
}

/// `SSL_set_fd`, `SSL_set_rfd`, `SSL_set_wfd`, `gnutls_transport_set_int2`: `(object, fd)`.
#[uprobe]
pub fn tls_set_fd(context: ProbeContext) -> u32 {
    guard(&context);
    if !watched(tracked::CONTENT) {
        return 0;
    }
    let (Some(object), Some(fd)) = (context.arg::<u64>(0), context.arg::<u64>(1)) else { return 0 };
    if let Some(state) = connection(object) {
        // SAFETY: the map value stays valid for this run.
        let seen = unsafe { &mut *state };
        seen.exact = 1;
        bind(object, seen, fd as i32);
        let _ = TLS_SOCKETS.insert(socket(fd as i32), object, 0);
    }
    0
}

/// `SSL_set_bio(object, read, write)`: bytes travel through memory unless an fd is set, too.
#[uprobe]
pub fn tls_set_bio(context: ProbeContext) -> u32 {
    guard(&context);
    if !watched(tracked::CONTENT) {
        return 0;
    }
    let Some(object) = context.arg::<u64>(0) else { return 0 };
    if let Some(state) = connection(object) {
        // SAFETY: the map value stays valid for this run.
        let seen = unsafe { &mut *state };
        if seen.exact == 0 {
            seen.memory_bio = 1;
        }
    }
    0
}

/// `SSL_ctrl(object, 55, _, name)`.
#[uprobe]
pub fn tls_ctrl(context: ProbeContext) -> u32 {
    guard(&context);
    if context.arg::<u64>(1) != Some(CTRL_SET_HOSTNAME) || !watched(tracked::CONTENT) {
        return 0;
    }
    if let (Some(object), Some(name)) = (context.arg::<u64>(0), context.arg::<u64>(3)) {
        server_name(object, name, NAME as u32);
    }
    0
}

/// `gnutls_server_name_set(object, type, name, length)`.
#[uprobe]
pub fn gnutls_server_name(context: ProbeContext) -> u32 {
    guard(&context);
    if !watched(tracked::CONTENT) {
        return 0;
    }
    if let (Some(object), Some(name), Some(length)) = (context.arg::<u64>(0), context.arg::<u64>(2), context.arg::<u64>(3)) {
        server_name(object, name, (length as u32).saturating_add(1));
    }
    0
}

/// `SSL_free`, `gnutls_deinit`: whatever comes after is another connection.
#[uprobe]
pub fn tls_free(context: ProbeContext) -> u32 {
    guard(&context);
    if let Some(object) = context.arg::<u64>(0) {
        close(object);
    }
    0
}

/// `SSL_clear`: after it comes another connection. OpenSSL calls it itself before each handshake (`state_machine` in
/// ssl/statem/statem.c), when the socket and the server's name are set already: those it does not clear, either.
#[uprobe]
pub fn tls_clear(context: ProbeContext) -> u32 {
    guard(&context);
    let Some(object) = context.arg::<u64>(0) else { return 0 };
    // SAFETY: plain values.
    if unsafe { CONNECTIONS.get(key(object)) }.is_some_and(|state| state.out + state.inward > 0) {
        close(object);
    }
    0
}

/// Ends a connection, if it is known.
pub(crate) fn close(object: u64) {
    let key = key(object);
    // SAFETY: plain values; copied before the entry is removed.
    let Some(state) = (unsafe { CONNECTIONS.get(key) }).copied() else { return };
    let _ = CONNECTIONS.remove(key);
    if state.fd >= 0 {
        let _ = TLS_SOCKETS.remove(socket(state.fd));
    }
    // Also where nothing was said: its socket and its name were told.
    report(kind::CLOSE, object, &state, 0);
}

/// The same sites with nothing behind them: the floor that the cost of the others is measured against.
#[uprobe]
pub fn empty_enter(_context: ProbeContext) -> u32 {
    0
}

#[tracepoint]
pub fn empty_event(_context: TracePointContext) -> u32 {
    0
}

#[uretprobe]
pub fn empty_return(_context: RetProbeContext) -> u32 {
    0
}

/// The thread's entry, made at its first call and kept: a thread that works pays for no insertion.
#[inline(always)]
pub(crate) fn inside(thread: u64) -> Option<*mut Inside> {
    if let Some(known) = INSIDE.get_ptr_mut(thread) {
        return Some(known);
    }
    let fresh = Inside {
        object: 0,
        received: -1,
        wants_send: 0,
        read: Read::NONE,
        call: Syscall::NONE,
        vectored: Syscall::NONE,
        part: Part::default(),
        left: 0,
    };
    let _ = INSIDE.insert(thread, fresh, 0);
    INSIDE.get_ptr_mut(thread)
}

pub(crate) fn mark(thread: u64, object: u64, wants_send: u32) {
    if let Some(inside) = inside(thread) {
        // SAFETY: the entry belongs to this thread.
        unsafe {
            (*inside).object = object;
            (*inside).wants_send = wants_send;
        }
    }
}

/// A read that returned data was fed by this thread's last receive: nested or just before (memory BIO).
pub(crate) fn bind_received(fd: i32, object: u64, state: *mut ConnectionState) {
    // SAFETY: the map value stays valid for this run.
    let seen = unsafe { &mut *state };
    if fd >= 0 && seen.exact == 0 && seen.fd != fd {
        bind(object, seen, fd);
    }
}

pub(crate) fn bind(object: u64, state: &mut ConnectionState, fd: i32) {
    if state.fd == fd {
        return;
    }
    state.fd = fd;
    report(kind::BIND, object, state, fd);
}

fn server_name(object: u64, name: u64, limit: u32) {
    let Some(state) = connection(object) else { return };
    // SAFETY: the map value stays valid for this run.
    let generation = unsafe { (*state).generation };
    let Some(mut entry) = RING.reserve::<Named>(0) else {
        count(counter::EVENTS_LOST, 1);
        return;
    };
    let record = entry.as_mut_ptr();
    let limit = if limit > NAME as u32 { NAME as u32 } else { limit };
    // SAFETY: the reservation is a whole `Named`; the helper writes at most `limit` <= NAME bytes.
    unsafe {
        let length = bpf_probe_read_user_str((&raw mut (*record).name).cast(), limit, name as *const _);
        let length = if length > 0 { length as u32 - 1 } else { 0 };
        (*record).header = header(kind::SNI, 0, length);
        (*record).object = object;
        (*record).generation = generation;
        (*record).extra = 0;
        (*record).word = 0;
        (*record).parent = 0;
    }
    entry.submit(wake());
}

/// At most five arguments: 7.2 takes BTF's word for how many a function has, also where the compiler dropped some.
fn report(kind: u16, object: u64, state: &ConnectionState, fd: i32) {
    let record =
        Connection { header: header(kind, 0, 0), object, generation: state.generation, offset: 0, bytes: 0, fd, cause: 0 };
    if RING.output::<Connection>(&record, wake()).is_err() {
        count(counter::EVENTS_LOST, 1);
    }
}

/// A call's bytes on their way to the ring, as the loop's callback sees them.
struct Run {
    part: Part,
    buffer: u64,
    wanted: u64,
}

/// Hands on `length` bytes at `buffer`: full chunks, then the rest in the size class that fits. `bpf_loop` (5.17) is verified once, not
/// once a chunk.
#[inline(always)]
pub(crate) fn emit<const SLEEP: bool>(part: Part, buffer: u64, length: u64) {
    if !admits(length) {
        count(counter::HITS, 1);
        return;
    }
    emit_admitted::<SLEEP>(part, buffer, length);
}

/// The same for a call, or a part of one, that there is room for.
#[inline(always)]
pub(crate) fn emit_admitted<const SLEEP: bool>(part: Part, buffer: u64, length: u64) {
    count(counter::HITS, 1);
    // SAFETY: reads a constant that the loader may change.
    let cap = u64::from(unsafe { core::ptr::read_volatile(&raw const CALL_BYTES) });
    let (wanted, truncated) = if length > cap { (cap, length - cap) } else { (length, 0) };
    let mut run = Run { part, buffer, wanted };
    let chunks = (wanted + LARGE as u64 - 1) / LARGE as u64;
    // SAFETY: the callback has the helper's signature and sees `run`, which outlives the call.
    unsafe { bpf_loop(chunks as u32, step::<SLEEP> as *mut c_void, (&raw mut run).cast(), 0) };
    if truncated > 0 {
        count(counter::TRUNCATED, 1);
        count(counter::TRUNCATED_BYTES, truncated);
        lost(&run.part, run.part.offset + cap, truncated, loss::TRUNCATED);
    }
}

extern "C" fn step<const SLEEP: bool>(index: u64, run: *mut Run) -> i64 {
    // SAFETY: the loop hands on the pointer that `emit` gave it.
    let run = unsafe { &*run };
    let at = index * LARGE as u64;
    if at >= run.wanted {
        return 1;
    }
    piece::<SLEEP>(&run.part, run.buffer + at, at, run.wanted - at);
    0
}

/// At most one chunk of `left` bytes, in the size class that fits.
#[inline(always)]
pub(crate) fn piece<const SLEEP: bool>(part: &Part, buffer: u64, at: u64, left: u64) {
    if left <= SMALL as u64 {
        chunk::<SMALL, SLEEP>(part, buffer, at, left as u32);
    } else if left <= MEDIUM as u64 {
        chunk::<MEDIUM, SLEEP>(part, buffer, at, left as u32);
    } else {
        chunk::<LARGE, SLEEP>(part, buffer, at, if left < LARGE as u64 { left as u32 } else { LARGE as u32 });
    }
}

#[inline(never)]
fn chunk<const N: usize, const SLEEP: bool>(part: &Part, buffer: u64, at: u64, length: u32) {
    count(counter::CHUNKS, 1);
    let offset = part.offset + at;
    let Some(mut entry) = RING.reserve::<Chunk<N>>(0) else {
        count(counter::RING_FULL, 1);
        count(counter::RING_FULL_BYTES, u64::from(length));
        return;
    };
    // Volatile, so that the comparison stays: the verifier must see it on the very value that the helper gets.
    // SAFETY: reads a local.
    let mut length = unsafe { core::ptr::read_volatile(&raw const length) };
    if length > N as u32 {
        length = N as u32;
    }
    let record = entry.as_mut_ptr();
    // SAFETY: the reservation is a whole `Chunk<N>` and `length` is at most N.
    let fault = unsafe {
        (*record).head = ChunkHead {
            header: header(kind::CHUNK, part.flags, length),
            object: part.object,
            generation: part.generation,
            offset,
            fd: part.fd,
            source: u32::from(part.source),
        };
        let data = (&raw mut (*record).data).cast();
        // A page that is not in memory costs the second, sleeping read.
        bpf_probe_read_user(data, length, buffer as *const _) != 0
            && (!SLEEP || bpf_copy_from_user(data, length, buffer as *const _) != 0)
    };
    if fault {
        entry.discard(0);
        count(counter::READ_FAULT, 1);
        count(counter::READ_FAULT_BYTES, u64::from(length));
        lost(part, offset, u64::from(length), loss::READ_FAULT);
        return;
    }
    entry.submit(wake());
    count(counter::DELIVERED, 1);
    count(counter::DELIVERED_BYTES, u64::from(length));
}

/// The daemon looks every few milliseconds; it is woken early only when much waits, and only when it sleeps: a wake-up costs an
/// interrupt, and one that is behind needs none.
#[inline(always)]
pub(crate) fn wake() -> u64 {
    const FORCE_WAKEUP: u64 = 2;
    const WAITING: u64 = 256 << 10;
    let Some(sleeps) = READER.get_ptr_mut(reader::SLEEPS) else { return NO_WAKEUP };
    // SAFETY: one word that is only read or replaced whole; two that see it set wake twice, which harms nothing.
    unsafe {
        if core::ptr::read_volatile(sleeps) == 0 {
            return NO_WAKEUP;
        }
        // A small ring is full before much waits.
        let waits = RING.query(AVAILABLE);
        if waits < WAITING && waits < RING.query(SIZE) / 4 {
            return NO_WAKEUP;
        }
        core::ptr::write_volatile(sleeps, 0);
    }
    count(counter::WOKEN, 1);
    FORCE_WAKEUP
}

/// A frame of its own: kernels before 6.13 add up the frames of a call and its callbacks, up to 512 bytes.
#[inline(never)]
pub(crate) fn lost(part: &Part, offset: u64, bytes: u64, cause: u32) {
    let record = Connection {
        header: header(kind::LOST, part.flags | FLAG_TRUNCATED, 0),
        object: part.object,
        generation: part.generation,
        offset,
        bytes,
        fd: part.fd,
        cause,
    };
    if RING.output::<Connection>(&record, wake()).is_err() {
        count(counter::EVENTS_LOST, 1);
    }
}
