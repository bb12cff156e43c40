//! System calls of watched processes: which socket belongs to which TLS object, connect and accept, plaintext on sockets and pipes.

use agent_wire::{
    ASKED, Connection, FLAG_OUT, FLAG_RECORD, FLAG_SERVER, Header, MEDIUM, SocketAddress, Stdio, counter, kind, source, tracked,
};
use aya_ebpf::cty::c_void;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::{bpf_ktime_get_boot_ns, bpf_loop, bpf_probe_read_user};
use aya_ebpf::macros::tracepoint;
use aya_ebpf::programs::TracePointContext;

use crate::budget::admits;
use crate::descriptor::{Descriptor, Sort};
use crate::maps::{CLOSED, ConnectionKey, FILES, FileState, INSIDE, Inside, Part, RING, STDIO, Syscall, TLS_SOCKETS};
use crate::tls::{bind, connection, emit_admitted, inside, piece, socket, wake, watched};
use crate::{count, header, tgid};

/// `EAGAIN`: the socket took nothing.
const AGAIN: i64 = -11;

/// What [`Syscall::buffer`] points to.
const BUFFER: u32 = 0;
const MESSAGE: u32 = 1;
const VECTOR: u32 = 2;

/// Buffers of one vectored call that are read.
const VECTORS: u32 = 64;

/// Standard input and output of a process are one conversation under this object; inode numbers of pipes and sockets are small.
const CONVERSATION: u64 = 1 << 63;

/// [`FileState::verdict`].
const UNDECIDED: u32 = 0;
const WANTED: u32 = 1;
const UNWANTED: u32 = 2;
/// TLS records pass: they are counted, for the daemon to compare with the plaintext that it sees.
const CIPHERED: u32 = 3;

/// `ContentType` of a TLS record (RFC 8446, 5.1).
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// Calls on a pipe or socket that may pass before it must have begun to speak: servers greet on their output before the first request.
const TRIES: u32 = 16;

#[inline(always)]
fn enter(context: &TracePointContext, buffer_at: usize, length_at: usize, vectors: u32) -> u32 {
    enter_for(tracked::CONTENT, context, buffer_at, length_at, vectors)
}

#[inline(always)]
fn enter_for(flags: u32, context: &TracePointContext, buffer_at: usize, length_at: usize, vectors: u32) -> u32 {
    if !watched(flags) {
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
    if let Some(inside) = inside(bpf_get_current_pid_tgid()) {
        // SAFETY: the entry belongs to this thread.
        unsafe { (*inside).call = Syscall { buffer, length, fd: fd as i32, vectors } };
    }
    0
}

/// What is known of this thread, the call that it entered, and what that returned.
#[inline(always)]
pub(crate) fn leave(context: &TracePointContext) -> Option<(*mut Inside, Syscall, i64)> {
    let inside = INSIDE.get_ptr_mut(bpf_get_current_pid_tgid())?;
    // SAFETY: the entry belongs to this thread.
    let call = unsafe { (*inside).call };
    if call.fd < 0 {
        return None;
    }
    // SAFETY: as above.
    unsafe { (*inside).call.fd = -1 };
    // SAFETY: `ret` stands at 16 in every sys_exit event.
    let returned = unsafe { context.read_at::<i64>(16) }.ok()?;
    Some((inside, call, returned))
}

/// True for a socket that a TLS library reads and writes itself: what passes there is no plaintext.
#[inline(always)]
fn carries_tls(fd: i32) -> bool {
    // SAFETY: plain values.
    unsafe { TLS_SOCKETS.get(socket(fd)) }.is_some()
}

/// A send after (or inside) a write tells the write's fd.
#[inline(always)]
fn sent(context: &TracePointContext) -> u32 {
    let Some((inside, call, returned)) = leave(context) else { return 0 };
    // SAFETY: the entry belongs to this thread.
    let inside = unsafe { &mut *inside };
    if !carries_tls(call.fd) {
        plaintext(inside, &call, returned, FLAG_OUT);
    }
    if inside.wants_send == 0 {
        return 0;
    }
    inside.wants_send = 0;
    let Some(state) = connection(inside.object) else { return 0 };
    // SAFETY: the map value stays valid for this run.
    let seen = unsafe { &mut *state };
    let short = returned == AGAIN || (call.vectors == BUFFER && returned >= 0 && (returned as u64) < call.length);
    if short && seen.memory_bio == 0 {
        seen.blocked = 1;
    }
    // Half a connection (see `rustls`) keeps the socket that it met first: what it encrypts may wait while the thread sends elsewhere.
    let settled = inside.object & 3 != 0 && seen.fd >= 0;
    if seen.exact == 0 && !settled && (returned >= 0 || returned == AGAIN) {
        bind(inside.object, seen, call.fd);
    }
    0
}

/// The last receive of a thread feeds the read that returns next.
#[inline(always)]
fn received(context: &TracePointContext) -> u32 {
    let Some((inside, call, returned)) = leave(context) else { return 0 };
    if returned <= 0 {
        return 0;
    }
    // SAFETY: the entry belongs to this thread.
    let inside = unsafe { &mut *inside };
    if !carries_tls(call.fd) {
        if inside.read.stack != 0 {
            // Received inside of a read of a TLS library: the library's own socket.
            let _ = TLS_SOCKETS.insert(socket(call.fd), inside.object, 0);
        } else {
            plaintext(inside, &call, returned, 0);
        }
    }
    inside.received = call.fd;
    0
}

#[tracepoint]
pub fn write_enter(context: TracePointContext) -> u32 {
    enter(&context, 24, 32, BUFFER)
}

#[tracepoint]
pub fn write_exit(context: TracePointContext) -> u32 {
    sent(&context)
}

#[tracepoint]
pub fn read_enter(context: TracePointContext) -> u32 {
    enter(&context, 24, 32, BUFFER)
}

#[tracepoint]
pub fn read_exit(context: TracePointContext) -> u32 {
    received(&context)
}

/// `sendmsg`, `recvmsg`: a message header instead of a buffer.
#[tracepoint]
pub fn message_enter(context: TracePointContext) -> u32 {
    enter(&context, 24, 32, MESSAGE)
}

/// `readv`, `writev`: a list of buffers and its length.
#[tracepoint]
pub fn vector_enter(context: TracePointContext) -> u32 {
    enter(&context, 24, 32, VECTOR)
}

/// `connect(fd, address, length)`.
#[tracepoint]
pub fn connect_enter(context: TracePointContext) -> u32 {
    enter_for(tracked::CONTENT | tracked::CONNECTS, &context, 24, 32, BUFFER)
}

#[tracepoint]
pub fn connect_exit(context: TracePointContext) -> u32 {
    address(&context, kind::CONNECT)
}

/// `accept4(fd, address, length_at)`.
#[tracepoint]
pub fn accept_enter(context: TracePointContext) -> u32 {
    enter(&context, 24, 32, BUFFER)
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
    if RING.output::<SocketAddress>(&record, wake()).is_err() {
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
    if carries_tls(fd as i32) {
        let _ = TLS_SOCKETS.remove(socket(fd as i32));
    }
    // Regular files are closed all the time and mean nothing here.
    let Some(open) = Descriptor::of(fd as i32) else { return 0 };
    if open.sort() == Sort::Other {
        return 0;
    }
    let key = ConnectionKey { object: fd as u32 as u64, tgid: tgid(), pad: 0 };
    // SAFETY: the helper takes nothing.
    let _ = CLOSED.insert(key, unsafe { bpf_ktime_get_boot_ns() }, 0);
    let mut record = Connection { header: header(kind::FD_CLOSE, 0, 0), object: open.file, fd: fd as i32, ..Default::default() };
    // SAFETY: plain values.
    if let Some(seen) = (unsafe { FILES.get(ConnectionKey { object: open.file, tgid: tgid(), pad: 0 }) })
        && seen.verdict == CIPHERED
        && seen.inode == open.inode
    {
        (record.generation, record.offset, record.bytes) = (seen.generation, seen.out, seen.inward);
    }
    if RING.output::<Connection>(&record, wake()).is_err() {
        count(counter::EVENTS_LOST, 1);
    }
    0
}

/// `io_uring_setup(entries, parameters)`.
#[tracepoint]
pub fn ring_enter(_: TracePointContext) -> u32 {
    if watched(tracked::CONTENT) && RING.output::<Header>(&header(kind::IO_URING, 0, 0), wake()).is_err() {
        count(counter::EVENTS_LOST, 1);
    }
    0
}

/// Bytes that a socket or pipe really took or gave. Kept from the first ones on that speak HTTP or JSON.
#[inline(always)]
fn plaintext(inside: &mut Inside, call: &Syscall, returned: i64, flags: u16) {
    if returned <= 0 || !watched(tracked::SYSCALLS) {
        return;
    }
    let Some(open) = Descriptor::of(call.fd) else { return };
    let key = ConnectionKey { object: open.file, tgid: tgid(), pad: 0 };
    let known = FILES.get_ptr_mut(key);
    // SAFETY: a map value stays valid for this run.
    let current = known.is_some_and(|known| unsafe { (*known).inode } == open.inode);
    if !current {
        // SAFETY: the helper takes nothing.
        let generation = unsafe { bpf_ktime_get_boot_ns() };
        let verdict = if open.sort() == Sort::Other { UNWANTED } else { UNDECIDED };
        let fresh = FileState { generation, inode: open.inode, out: 0, inward: 0, verdict, tries: 0 };
        let _ = FILES.insert(key, fresh, 0);
    }
    let Some(state) = FILES.get_ptr_mut(key) else { return };
    // SAFETY: as above.
    let seen = unsafe { &mut *state };
    if seen.verdict == UNWANTED {
        return;
    }
    if seen.verdict == CIPHERED {
        tally(seen, call, returned, flags);
        return;
    }
    let served = is_stdio(open.inode, flags);
    let sort = open.sort();
    if seen.verdict == UNDECIDED {
        let (first, length) = buffer(call, 0);
        if sort == Sort::Socket && length > 2 && is_record(first) {
            seen.verdict = CIPHERED;
            let part = Part {
                object: open.file,
                generation: seen.generation,
                offset: 0,
                fd: call.fd,
                flags: flags | FLAG_RECORD,
                source: u16::from(source::PLAIN),
            };
            let passed = if length < returned as u64 { length } else { returned as u64 };
            piece::<false>(&part, first, 0, if passed < MEDIUM as u64 { passed } else { MEDIUM as u64 });
            return;
        }
        // A pipe that is nobody's standard input or output is no conversation by itself: its answers come on another one.
        let json = served || sort == Sort::UnixSocket;
        if length > 0 && (sort != Sort::Pipe || served) && speaks(first, json) {
            seen.verdict = WANTED;
        } else {
            seen.tries += 1;
            if seen.tries >= TRIES || (sort == Sort::Pipe && !served) {
                seen.verdict = UNWANTED;
            }
            return;
        }
    }
    let offset = if flags & FLAG_OUT != 0 { seen.out } else { seen.inward };
    if flags & FLAG_OUT != 0 {
        seen.out += returned as u64;
    } else {
        seen.inward += returned as u64;
    }
    let part = if served {
        // Input and output are two files: what names the conversation must be the same for both.
        Part {
            object: CONVERSATION,
            generation: 0,
            offset,
            fd: call.fd,
            flags: flags | FLAG_SERVER,
            source: u16::from(source::STDIO),
        }
    } else {
        let source = u16::from(if sort == Sort::Socket { source::PLAIN } else { source::STDIO });
        Part { object: open.inode, generation: seen.generation, offset, fd: call.fd, flags, source }
    };
    // Once for all buffers: in the callback, Linux 6.1 would count too deep a stack.
    if !admits(returned as u64) {
        count(counter::HITS, 1);
        return;
    }
    if call.vectors == BUFFER {
        emit_admitted::<false>(part, call.buffer, returned as u64);
        return;
    }
    // The callback sees the call in the thread's entry: the verifier forgets what it knew of a number that it reads from a map, else it
    // (7.2) walks through every combination of lengths of 64 buffers.
    (inside.vectored, inside.part, inside.left) = (*call, part, returned as u64);
    // SAFETY: the callback has the helper's signature and takes nothing.
    unsafe { bpf_loop(VECTORS, vector as *mut c_void, core::ptr::null_mut(), 0) };
    // The callback wrote it behind the compiler's back.
    // SAFETY: the entry belongs to this thread.
    let left = unsafe { core::ptr::read_volatile(&raw const inside.left) };
    if left > 0 {
        count(counter::TRUNCATED, 1);
        count(counter::TRUNCATED_BYTES, left);
    }
}

/// What is sent, but for the handshake; and what comes once enough was sent to be a request.
#[inline(always)]
fn tally(seen: &mut FileState, call: &Syscall, returned: i64, flags: u16) {
    if flags & FLAG_OUT == 0 {
        if seen.out >= ASKED {
            seen.inward += returned as u64;
        }
        return;
    }
    // Once enough was sent the handshake no longer decides anything.
    if seen.out >= ASKED || start(buffer(call, 0).0).is_none_or(|start| start[0] != HANDSHAKE) {
        seen.out += returned as u64;
    }
}

/// The first four bytes are those of a TLS record: type, version 3.1 to 3.4 as all send it.
fn is_record(address: u64) -> bool {
    let Some([kind, major, minor, _]) = start(address) else { return false };
    kind >= CHANGE_CIPHER_SPEC && kind <= APPLICATION_DATA && major == 3 && minor >= 1 && minor <= 4
}

fn start(address: u64) -> Option<[u8; 4]> {
    let mut start = [0_u8; 4];
    // SAFETY: four bytes into a local.
    let read = unsafe { bpf_probe_read_user((&raw mut start).cast(), 4, address as *const _) };
    if read == 0 { Some(start) } else { None }
}

extern "C" fn vector(index: u64, _: *mut c_void) -> i64 {
    let Some(inside) = INSIDE.get_ptr_mut(bpf_get_current_pid_tgid()) else { return 1 };
    // SAFETY: the entry belongs to this thread.
    let inside = unsafe { &mut *inside };
    let (start, length) = buffer(&inside.vectored, index);
    let taken = if length < inside.left { length } else { inside.left };
    if start == 0 || inside.left == 0 {
        return 1;
    }
    if taken > 0 {
        let part = inside.part;
        inside.part.offset += taken;
        inside.left -= taken;
        emit_admitted::<false>(part, start, taken);
    }
    0
}

/// Address and length of the call's buffer number `index`.
#[inline(always)]
fn buffer(call: &Syscall, index: u64) -> (u64, u64) {
    if call.vectors == BUFFER {
        return if index == 0 { (call.buffer, call.length) } else { (0, 0) };
    }
    let (mut list, mut count) = (call.buffer, call.length);
    if call.vectors == MESSAGE {
        // `struct user_msghdr`: msg_iov at 16, msg_iovlen at 24.
        list = word(call.buffer + 16);
        count = word(call.buffer + 24);
    }
    if index >= count {
        return (0, 0);
    }
    (word(list + index * 16), word(list + index * 16 + 8))
}

fn word(address: u64) -> u64 {
    let mut value = 0_u64;
    // SAFETY: eight bytes into a local; the helper checks the address and leaves zero on a fault.
    unsafe { bpf_probe_read_user((&raw mut value).cast(), 8, address as *const _) };
    value
}

/// True for what was this process's standard input (or output, by direction) when its program started.
#[inline(always)]
fn is_stdio(inode: u64, flags: u16) -> bool {
    // SAFETY: plain values.
    let Some(stdio) = (unsafe { STDIO.get(tgid()) }) else { return false };
    inode == if flags & FLAG_OUT != 0 { stdio.output } else { stdio.input }
}

/// Notes what standard input and output are, before the program can move them.
#[inline(always)]
pub(crate) fn note_stdio() {
    let stdio = Stdio { input: local_inode(0), output: local_inode(1) };
    let _ = STDIO.insert(tgid(), stdio, 0);
}

/// In a frame of its own 6.1 refuses it: what the compiler keeps on the stack there is not written on every way.
#[inline(always)]
fn local_inode(fd: i32) -> u64 {
    Descriptor::of(fd).map_or(0, |open| open.local_inode())
}

/// HTTP/1 request or response or HTTP/2 preface; where JSON-RPC may run also JSON, bare or in the framing of LSP: by the first four bytes.
pub(crate) fn speaks(address: u64, json: bool) -> bool {
    let Some(start) = start(address) else { return false };
    // An object, a batch of them, or `Content-Length`.
    if json && (start[0] == b'{' || (start[0] == b'[' && matches!(start[1], b'{' | b' ' | b'\n')) || start == *b"Cont") {
        return true;
    }
    matches!(&start, b"GET " | b"POST" | b"PUT " | b"HEAD" | b"DELE" | b"PATC" | b"OPTI" | b"CONN" | b"PRI " | b"HTTP")
}
