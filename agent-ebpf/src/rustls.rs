//! rustls record ciphers: plaintext before `MessageEncrypter::encrypt`, and after `MessageDecrypter::decrypt`.
//!
//! ```text
//! encrypt(result rdi, self rsi, message rdx, sequence rcx)   rustls 0.23, rustc 1.93 to 1.100
//!     message: chunks of four words, content type at +32
//!     chunks:  0, pointer, length                    one slice
//!              slices, count, start, end             several; the compiler chooses the order of the first two
//! decrypt(result rdi, self rsi, message rdx, sequence rcx) -> result
//!     message: pointer, length; the record's five bytes of header stand before the pointer
//!     result:  tag, pointer, length, content type (low byte)
//! ```
//!
//! Ciphers of the two directions are two objects, which the daemon joins by the socket. `sequence` counts records: what it skips was missed.

use agent_wire::{FLAG_OUT, counter, loss, source};
use aya_ebpf::cty::c_void;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::bpf_probe_read_user as read_user;
use aya_ebpf::helpers::generated::{bpf_ktime_get_boot_ns, bpf_loop};
use aya_ebpf::macros::{uprobe, uretprobe};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};

use crate::budget::admits;
use crate::count;
use crate::maps::{ConnectionState, INSIDE, Part, RECORDS, Record};
use crate::tls::{bind_received, connection, cookie, guard, lost, mark, piece, wanted};
use crate::verdict::{self, CONTRADICTED, HELD};

/// Numbers of rustls's own `ContentType`.
const APPLICATION_DATA: u8 = 3;

/// Longest record.
const RECORD: u64 = 16_384;

/// Slices of one record that are walked.
const SLICES: u32 = 64;

/// Objects are aligned: the low bits tell the directions apart where an encrypter lives at a decrypter's old address, and halves from whole
/// connections.
const OUT: u64 = 1;
const IN: u64 = 2;

#[uprobe]
pub fn rustls_encrypt(context: ProbeContext) -> u32 {
    guard(&context);
    if !wanted(&context) {
        return 0;
    }
    let (Some(object), Some(message), Some(sequence)) = (context.arg::<u64>(1), context.arg::<u64>(2), context.arg::<u64>(3))
    else {
        return 0;
    };
    let cookie = cookie(&context);
    // One after the other: 6.1 does not follow that what a failed read left unwritten is not used later.
    // SAFETY: the helper checks the addresses.
    let Ok(words) = (unsafe { read_user(message as *const [u64; 4]) }) else {
        verdict::give(cookie, CONTRADICTED);
        return 0;
    };
    // SAFETY: as above.
    let Ok(kind) = (unsafe { read_user((message + 32) as *const u8) }) else {
        verdict::give(cookie, CONTRADICTED);
        return 0;
    };
    if kind != APPLICATION_DATA {
        return 0;
    }
    let mut walk = Slices { list: 0, count: 1, left: words[2], skip: 0, part: Part::default() };
    if words[0] != 0 {
        (walk.list, walk.count) = if words[0] < 1 << 16 { (words[1], words[0]) } else { (words[0], words[1]) };
        walk.skip = words[2];
        walk.left = words[3].wrapping_sub(words[2]);
    }
    if walk.left > RECORD || walk.count > 1 << 16 {
        verdict::give(cookie, CONTRADICTED);
        return 0;
    }
    verdict::give(cookie, HELD);
    let object = object | OUT;
    let Some(state) = epoch(object, sequence, FLAG_OUT) else { return 0 };
    mark(bpf_get_current_pid_tgid(), object, 1);
    // SAFETY: the map value stays valid for this run.
    let seen = unsafe { &mut *state };
    let offset = seen.out;
    seen.out = offset + walk.left;
    walk.part =
        Part { object, generation: seen.generation, offset, fd: seen.fd, flags: FLAG_OUT, source: u16::from(source::RUSTLS) };
    count(counter::HITS, 1);
    if !admits(walk.left) {
        return 0;
    }
    if walk.list == 0 {
        piece::<false>(&walk.part, words[1], 0, walk.left);
        return 0;
    }
    // SAFETY: the callback has the helper's signature and sees `walk`, which outlives the call.
    unsafe { bpf_loop(SLICES, slice as *mut c_void, (&raw mut walk).cast(), 0) };
    if walk.left > 0 {
        count(counter::TRUNCATED, 1);
        count(counter::TRUNCATED_BYTES, walk.left);
        lost(&walk.part, walk.part.offset, walk.left, loss::TRUNCATED);
    }
    0
}

/// What is left of a record's slices.
struct Slices {
    list: u64,
    count: u64,
    left: u64,
    skip: u64,
    part: Part,
}

extern "C" fn slice(index: u64, walk: *mut Slices) -> i64 {
    // SAFETY: the loop hands on the pointer that it was given.
    let walk = unsafe { &mut *walk };
    if index >= walk.count || walk.left == 0 {
        return 1;
    }
    // SAFETY: the helper checks the address.
    let Ok([start, length]) = (unsafe { read_user((walk.list + index * 16) as *const [u64; 2]) }) else { return 1 };
    if length <= walk.skip {
        walk.skip -= length;
        return 0;
    }
    let start = start + walk.skip;
    let length = length - walk.skip;
    walk.skip = 0;
    let taken = if length < walk.left { length } else { walk.left };
    piece::<false>(&walk.part, start, 0, taken);
    walk.part.offset += taken;
    walk.left -= taken;
    0
}

#[uprobe]
pub fn rustls_decrypt_enter(context: ProbeContext) -> u32 {
    guard(&context);
    if !wanted(&context) {
        return 0;
    }
    let (Some(object), Some(message), Some(sequence)) = (context.arg::<u64>(1), context.arg::<u64>(2), context.arg::<u64>(3))
    else {
        return 0;
    };
    let cookie = cookie(&context);
    // SAFETY: the helper checks the addresses.
    let header = unsafe { read_user(message as *const [u64; 2]) }.and_then(|[input, length]| {
        unsafe { read_user(input.wrapping_sub(5) as *const [u8; 5]) }.map(|header| (input, length, header))
    });
    let Ok((input, length, header)) = header else {
        verdict::give(cookie, CONTRADICTED);
        return 0;
    };
    if header[1] != 3 || u64::from(header[3]) << 8 | u64::from(header[4]) != length {
        verdict::give(cookie, CONTRADICTED);
        return 0;
    }
    verdict::give(cookie, HELD);
    let record = Record { object, input, length, sequence };
    let _ = RECORDS.insert(bpf_get_current_pid_tgid(), record, 0);
    0
}

#[uretprobe]
pub fn rustls_decrypt_return(context: RetProbeContext) -> u32 {
    guard(&context);
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: plain values; copied before the entry is removed.
    let Some(record) = (unsafe { RECORDS.get(thread) }).copied() else { return 0 };
    let _ = RECORDS.remove(thread);
    let result = context.ret::<u64>();
    // SAFETY: the helper checks the address.
    let Ok([_, start, length, kind]) = (unsafe { read_user(result as *const [u64; 4]) }) else { return 0 };
    // Decryption is in place. What does not point into the record is an error's value.
    let inside = start >= record.input && start <= record.input + record.length && length <= record.length;
    if !inside || kind as u8 != APPLICATION_DATA {
        return 0;
    }
    let object = record.object | IN;
    let Some(state) = epoch(object, record.sequence, 0) else { return 0 };
    // The first record of a key follows its receive; later ones may come out of a buffer, after a receive from elsewhere.
    // SAFETY: the map value stays valid for this run.
    if unsafe { (*state).fd } < 0 {
        // SAFETY: plain values.
        let received = unsafe { INSIDE.get(thread) }.map_or(-1, |inside| inside.received);
        bind_received(received, object, state);
    }
    // SAFETY: the map value stays valid for this run.
    let seen = unsafe { &mut *state };
    let offset = seen.inward;
    seen.inward = offset + length;
    let part = Part { object, generation: seen.generation, offset, fd: seen.fd, flags: 0, source: u16::from(source::RUSTLS) };
    count(counter::HITS, 1);
    if admits(length) {
        piece::<false>(&part, start, 0, length);
    }
    0
}

/// The state of one direction of one key. Its records are numbered: a number that was had before begins a new life of the same address,
/// one that is skipped was missed.
#[inline(always)]
fn epoch(object: u64, sequence: u64, flags: u16) -> Option<*mut ConnectionState> {
    let state = connection(object)?;
    // SAFETY: the map value stays valid for this run.
    let seen = unsafe { &mut *state };
    let known = seen.last_length != 0;
    if known && sequence < seen.last_buffer {
        // SAFETY: the helper takes nothing.
        seen.generation = unsafe { bpf_ktime_get_boot_ns() };
        seen.out = 0;
        seen.inward = 0;
        seen.fd = -1;
    } else if known && sequence > seen.last_buffer {
        let offset = if flags & FLAG_OUT != 0 { seen.out } else { seen.inward };
        let part = Part { object, generation: seen.generation, offset, fd: seen.fd, flags, source: u16::from(source::RUSTLS) };
        lost(&part, offset, 0, loss::MISSED);
    }
    seen.last_buffer = sequence + 1;
    seen.last_length = 1;
    Some(state)
}
