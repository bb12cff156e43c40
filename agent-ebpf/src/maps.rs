//! Every map. Sizes that depend on the host are set by the loader.

use agent_wire::{Stdio, counter};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, ProgramArray, RingBuf};

/// To the daemon. Sized by the loader.
#[map]
pub static RING: RingBuf = RingBuf::with_byte_size(16 << 20, 0);

#[map]
pub static COUNTERS: Array<u64> = Array::with_max_entries(counter::COUNT, 0);

/// Watched processes by tgid; the flags of `agent_wire::tracked`. Key 0 with a flag means everybody.
#[map]
pub static TRACKED: HashMap<u32, u32> = HashMap::with_max_entries(65_536, 0);

/// A read call between entry and return, by thread. LRU: longjmp, cancelled threads and killed tasks leave entries behind.
#[map]
pub static READS: LruHashMap<u64, Read> = LruHashMap::with_max_entries(16_384, 0);

/// The connection that a thread last used, to learn its fd from the system calls in between.
#[map]
pub static INSIDE: LruHashMap<u64, Inside> = LruHashMap::with_max_entries(16_384, 0);

/// Connections by process and library object.
#[map]
pub static CONNECTIONS: LruHashMap<ConnectionKey, ConnectionState> = LruHashMap::with_max_entries(65_536, 0);

/// A system call between enter and exit, by thread.
#[map]
pub static SYSCALLS: LruHashMap<u64, Syscall> = LruHashMap::with_max_entries(16_384, 0);

/// Plaintext sockets and pipes by process and open file.
#[map]
pub static FILES: LruHashMap<ConnectionKey, FileState> = LruHashMap::with_max_entries(65_536, 0);

/// What a process's standard input and output were when its program started. Programs move them to other descriptors to keep
/// stray prints out of the wire (the Python MCP package does), so the descriptor's number says nothing later.
#[map]
pub static STDIO: LruHashMap<u32, Stdio> = LruHashMap::with_max_entries(16_384, 0);

/// Never filled: a program with a tail call gets no private stack.
#[map]
pub static NOWHERE: ProgramArray = ProgramArray::with_max_entries(1, 0);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct ConnectionKey {
    /// SSL*, gnutls_session_t, or a `struct file*`.
    pub object: u64,
    pub tgid: u32,
    pub pad: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct ConnectionState {
    /// Boot time at which this object was first seen; names the connection among those that reuse its address.
    pub generation: u64,
    pub out: u64,
    pub inward: u64,
    /// Last write, to know its repetition after `SSL_ERROR_WANT_WRITE`.
    pub last_buffer: u64,
    pub last_length: u64,
    pub fd: i32,
    /// The fd came from SSL_set_fd.
    pub exact: u8,
    /// SSL_set_bio without an fd: bytes leave by another road.
    pub memory_bio: u8,
    /// The last nested send was refused or short: the same bytes may come again.
    pub blocked: u8,
    pub votes: u8,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Read {
    pub object: u64,
    pub buffer: u64,
    pub length_at: u64,
    pub stack: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Inside {
    pub object: u64,
    /// Last fd that this thread received from, or -1.
    pub received: i32,
    /// A write waits for the first send that follows it.
    pub wants_send: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Syscall {
    pub buffer: u64,
    pub length: u64,
    pub fd: i32,
    pub vectors: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct FileState {
    pub generation: u64,
    /// Tells a file from a later one at the same address.
    pub inode: u64,
    pub out: u64,
    pub inward: u64,
    pub verdict: u32,
    /// Calls whose first bytes were not the beginning of a conversation.
    pub tries: u32,
}
