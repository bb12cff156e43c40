//! Every map. Sizes that depend on the host are set by the loader.

use agent_wire::{Account, Stdio, counter, reader};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, ProgramArray, RingBuf};

/// To the daemon. Sized by the loader.
#[map]
pub static RING: RingBuf = RingBuf::with_byte_size(16 << 20, 0);

/// What [`RING`] is asked: bytes that wait in it, and its size (`BPF_RB_AVAIL_DATA`, `BPF_RB_RING_SIZE`, linux/bpf.h, as is the next).
pub const AVAILABLE: u64 = 0;
pub const SIZE: u64 = 1;

/// `BPF_RB_NO_WAKEUP`.
pub const NO_WAKEUP: u64 = 1;

/// By CPU, so that no two fight for a line; added to atomically, because a program may be interrupted by another on its CPU.
#[map]
pub static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(counter::COUNT, 0);

/// The verdict on processes by tgid: the flags of `agent_wire::tracked`, none for one that is not wanted.
#[map]
pub static TRACKED: HashMap<u32, u32> = HashMap::with_max_entries(65_536, 0);

/// The same for processes that have no verdict yet.
#[map]
pub static UNJUDGED: Array<u32> = Array::with_max_entries(1, 0);

/// A rustls record between entry and return of its decryption, by thread.
#[map]
pub static RECORDS: LruHashMap<u64, Record> = LruHashMap::with_max_entries(16_384, 0);

/// A read of Go's crypto/tls between entry and return, by process and goroutine.
#[map]
pub static GO_READS: LruHashMap<ConnectionKey, Read> = LruHashMap::with_max_entries(16_384, 0);

/// Hits for and against each place that was found without symbols: two counters a place.
#[map]
pub static VERDICTS: Array<u64> = Array::with_max_entries(agent_wire::PLACES * 2, 0);

/// Hits of unwanted processes by library.
#[map]
pub static SPENT: Array<u64> = Array::with_max_entries(agent_wire::LIBRARIES, 0);

/// The words of `agent_wire::reader`. Whoever reads the ring has it mapped: to write it takes no right and no system call.
#[map]
pub static READER: Array<u64> = Array::with_max_entries(reader::COUNT, MAPPABLE);

/// What processes added to the ring while there was an allowance.
#[map]
pub static ACCOUNTS: LruHashMap<u32, Account> = LruHashMap::with_max_entries(4096, 0);

/// `BPF_F_MMAPABLE` (linux/bpf.h, 5.5).
const MAPPABLE: u32 = 1 << 10;

/// The connection that a thread last used, to learn its fd from the system calls in between, and its read and system call under
/// way. LRU: killed
/// tasks leave entries behind.
#[map]
pub static INSIDE: LruHashMap<u64, Inside> = LruHashMap::with_max_entries(16_384, 0);

/// Connections by process and library object.
#[map]
pub static CONNECTIONS: LruHashMap<ConnectionKey, ConnectionState> = LruHashMap::with_max_entries(65_536, 0);

/// Sockets that a TLS library reads and writes itself, by process and descriptor.
#[map]
pub static TLS_SOCKETS: LruHashMap<ConnectionKey, u64> = LruHashMap::with_max_entries(16_384, 0);

/// Plaintext sockets and pipes by process and open file.
#[map]
pub static FILES: LruHashMap<ConnectionKey, FileState> = LruHashMap::with_max_entries(65_536, 0);

/// What a process's standard input and output were when its program started. Programs move them to other descriptors to keep
/// stray prints out of the wire (the Python MCP package does), so the descriptor's number says nothing later.
#[map]
pub static STDIO: LruHashMap<u32, Stdio> = LruHashMap::with_max_entries(16_384, 0);

/// When a process last closed a descriptor: a library object whose socket was closed lives again under the same address.
#[map]
pub static CLOSED: LruHashMap<ConnectionKey, u64> = LruHashMap::with_max_entries(65_536, 0);

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

/// A read call between entry and return.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Read {
    pub object: u64,
    pub buffer: u64,
    pub length_at: u64,
    /// 0: none is under way.
    pub stack: u64,
}

impl Read {
    pub const NONE: Read = Read { object: 0, buffer: 0, length_at: 0, stack: 0 };
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Record {
    /// The decrypter.
    pub object: u64,
    pub input: u64,
    pub length: u64,
    pub sequence: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Inside {
    pub object: u64,
    /// Last fd that this thread received from, or -1.
    pub received: i32,
    /// A write waits for the first send that follows it.
    pub wants_send: u32,
    pub read: Read,
    pub call: Syscall,
    /// A call with several buffers on its way to the ring: what it was, where the next byte belongs, how many are left.
    pub vectored: Syscall,
    pub part: Part,
    pub left: u64,
}

/// Where a run of bytes belongs.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Part {
    pub object: u64,
    pub generation: u64,
    pub offset: u64,
    pub fd: i32,
    pub flags: u16,
    /// Wider than its values, so that no byte of padding is copied: 6.1 refuses to read what nobody wrote.
    pub source: u16,
}

/// A system call between enter and exit.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Syscall {
    pub buffer: u64,
    pub length: u64,
    /// -1: none is under way.
    pub fd: i32,
    pub vectors: u32,
}

impl Syscall {
    pub const NONE: Syscall = Syscall { buffer: 0, length: 0, fd: -1, vectors: 0 };
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
