//! The bytes that kernel and daemon agree on: ring records, map keys and values, counters, names.
//!
//! Every record starts with a [`Header`]. Numbers are in host order: both ends run on one machine. A change here changes both ends;
//! the object is embedded in the daemon, so they never meet another version.

#![no_std]

/// Kinds of [`Header::kind`].
pub mod kind {
    pub const EXEC: u16 = 1;
    pub const FORK: u16 = 2;
    pub const EXIT: u16 = 3;
    pub const CHUNK: u16 = 4;
    pub const CLOSE: u16 = 5;
    pub const SNI: u16 = 6;
    pub const BIND: u16 = 7;
    pub const CONNECT: u16 = 8;
    pub const ACCEPT: u16 = 9;
    pub const FD_CLOSE: u16 = 10;
    pub const LOST: u16 = 11;
    pub const FILE: u16 = 12;
    pub const MMAP: u16 = 13;
    pub const ARGV: u16 = 14;
    /// A process made a ring of io_uring: what it does there passes no system call. Header only.
    pub const IO_URING: u16 = 15;
}

/// Where the plaintext was read: the attach cookie's low byte, and [`ChunkHead::source`].
pub mod source {
    pub const OPENSSL: u8 = 1;
    pub const GNUTLS: u8 = 2;
    pub const BORINGSSL: u8 = 3;
    /// A socket's own bytes.
    pub const PLAIN: u8 = 4;
    /// A pipe or a unix socket.
    pub const STDIO: u8 = 5;
    pub const RUSTLS: u8 = 6;
    pub const GO: u8 = 7;
}

/// How a read function reports its length: bits 8 to 15 of the attach cookie.
pub mod result {
    /// The return value is the length (`SSL_read`, `gnutls_record_recv`).
    pub const LENGTH: u8 = 0;
    /// 1 on success, the length behind the fourth argument (`SSL_read_ex`).
    pub const POINTER_4: u8 = 1;
}

/// Places found without symbols that are judged by their hits: bits 32 to 63 of the attach cookie number them from 1.
pub const PLACES: u32 = 4096;

/// Bytes that a process must send on a TLS connection, handshake messages left out, before what it receives counts as an answer.
pub const ASKED: u64 = 200;

/// Puts a source and a result convention into an attach cookie.
pub const fn cookie(source: u8, result: u8) -> u64 {
    source as u64 | (result as u64) << 8
}

/// Bits 16 to 23 of an attach cookie number the library: [`LIBRARIES`] accounts, which later ones share.
pub const COOKIE_LIBRARY: u32 = 16;
pub const LIBRARIES: u32 = 256;
/// The link is for one process alone.
pub const COOKIE_OWN: u64 = 1 << 24;

/// Start of every record.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Header {
    /// `bpf_ktime_get_boot_ns`.
    pub time: u64,
    pub tgid: u32,
    pub tid: u32,
    pub kind: u16,
    pub flags: u16,
    /// Bytes of payload that follow the record's fixed part, where it has one.
    pub length: u32,
}

/// Direction out of the process; else into it.
pub const FLAG_OUT: u16 = 1;
/// The call had more bytes than the cap: this is the last chunk of what was read.
pub const FLAG_TRUNCATED: u16 = 2;
/// The process is the serving side of this conversation: it is on its standard input and output.
pub const FLAG_SERVER: u16 = 4;

/// The chunk holds the first TLS record of a socket that no probed library is known to use: not plaintext. `object` is the open file.
pub const FLAG_RECORD: u16 = 8;

/// A piece of plaintext. `object` and `generation` name the connection: a library object, or a socket by its fd.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ChunkHead {
    pub header: Header,
    pub object: u64,
    pub generation: u64,
    /// Offset of the first byte in its direction since the connection was first seen.
    pub offset: u64,
    pub fd: i32,
    pub source: u32,
}

/// Size classes of a chunk's payload.
pub const SMALL: usize = 512;
pub const MEDIUM: usize = 4 << 10;
pub const LARGE: usize = 16 << 10;

#[repr(C)]
pub struct Chunk<const N: usize> {
    pub head: ChunkHead,
    pub data: [u8; N],
}

/// A connection learned something: closed, bound to an fd, or lost bytes (`bytes` at `offset`, `cause` of [`loss`]).
/// FD_CLOSE: `object` is the open file; where TLS records passed on it, `offset` is what was sent and `bytes` what came then, else 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Connection {
    pub header: Header,
    pub object: u64,
    pub generation: u64,
    pub offset: u64,
    pub bytes: u64,
    pub fd: i32,
    pub cause: u32,
}

pub const NAME: usize = 256;

/// A name of known length: SNI of a connection, path of a file or executable.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Named {
    pub header: Header,
    pub object: u64,
    pub generation: u64,
    /// EXEC: cgroup id. FILE: descriptor of the directory that a relative name starts from.
    pub extra: u64,
    /// EXEC: user id. FILE: what was done, of [`file`].
    pub word: u32,
    pub parent: u32,
    pub name: [u8; NAME],
}

/// What was done to a file: [`Named::word`].
pub mod file {
    pub const WRITE: u32 = 1;
    pub const CREATE: u32 = 2;
    pub const UNLINK: u32 = 3;
    /// The name that it had; the name that it has now follows.
    pub const RENAME: u32 = 4;
    pub const RENAMED_TO: u32 = 5;
}

pub const ARGV_BYTES: usize = 4 << 10;

/// The arguments of a program that starts, each ended by NUL.
#[repr(C)]
pub struct Argv {
    pub header: Header,
    pub data: [u8; ARGV_BYTES],
}

/// connect, accept.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SocketAddress {
    pub header: Header,
    pub fd: i32,
    pub result: i32,
    /// `struct sockaddr` as the process gave or got it: family first.
    pub address: [u8; 28],
    pub reserved: u32,
}

/// fork: `header` is the parent's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Fork {
    pub header: Header,
    pub child: u32,
    pub tracked: u32,
}

/// Index into the `COUNTERS` map.
pub mod counter {
    /// Probe hits with bytes of a watched process.
    pub const HITS: u32 = 0;
    /// Chunks handed to the ring, and their bytes.
    pub const DELIVERED: u32 = 1;
    pub const DELIVERED_BYTES: u32 = 2;
    /// Chunks for which the ring had no room.
    pub const RING_FULL: u32 = 3;
    pub const RING_FULL_BYTES: u32 = 4;
    /// Chunks that could not be read from the user's memory.
    pub const READ_FAULT: u32 = 5;
    pub const READ_FAULT_BYTES: u32 = 6;
    /// Calls cut at the cap.
    pub const TRUNCATED: u32 = 7;
    pub const TRUNCATED_BYTES: u32 = 8;
    /// Hits of processes that are not watched.
    pub const FILTERED: u32 = 9;
    /// Records other than chunks that found no room.
    pub const EVENTS_LOST: u32 = 10;
    /// Reads whose entry was not seen (attached in between) or was overwritten.
    pub const UNPAIRED: u32 = 11;
    /// Repeated writes after the library asked to retry.
    pub const RETRIED: u32 = 12;
    /// Chunks attempted: delivered plus every loss.
    pub const CHUNKS: u32 = 13;
    /// Times that the kernel side woke the daemon before its time.
    pub const WOKEN: u32 = 14;
    pub const COUNT: u32 = 16;
}

/// Words of the `READER` map: what the reader of the ring says of itself.
pub mod reader {
    /// Not zero while it sleeps.
    pub const SLEEPS: u32 = 0;
    /// Bytes that a process may add to the ring in a while of [`super::WHILE`]; 0: as many as find room.
    pub const ALLOWANCE: u32 = 1;
    pub const COUNT: u32 = 2;
}

/// An allowance is for 2^28 ns, 0.27 s.
pub const WHILE: u32 = 28;

/// What a record takes besides its bytes, at least.
pub const RECORD: u64 = 96;

/// What a process added to the ring beyond its allowance.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Account {
    /// The while that it was last looked at.
    pub at: u64,
    pub spent: u64,
}

impl Account {
    /// Charges `bytes` at boot time `now` (ns). False, and nothing charged, for a process that has used up its `allowance`, which may be
    /// overdrawn by one call and is paid back by later ones' silence.
    #[inline(always)]
    pub fn admits(&mut self, now: u64, bytes: u64, allowance: u64) -> bool {
        const LONG: u64 = 1 << 16;
        let at = now >> WHILE;
        if at > self.at {
            let passed = if at - self.at > LONG { LONG } else { at - self.at };
            self.spent = self.spent.saturating_sub(passed * allowance);
            self.at = at;
        }
        let admitted = self.spent < allowance;
        if admitted {
            self.spent += bytes + RECORD;
        }
        admitted
    }
}

/// Causes in [`Connection::cause`].
pub mod loss {
    pub const RING_FULL: u32 = 1;
    pub const READ_FAULT: u32 = 2;
    pub const TRUNCATED: u32 = 3;
    /// The library's own count of records skipped some.
    pub const MISSED: u32 = 4;
}

/// Places in the `LAYOUT` global: where fields lie in this kernel's structures, from its BTF. All zero: not known.
pub mod layout {
    /// `task_struct.files`
    pub const TASK_FILES: usize = 0;
    /// `files_struct.fdt`
    pub const FILES_TABLE: usize = 1;
    /// `fdtable.max_fds`
    pub const TABLE_SIZE: usize = 2;
    /// `fdtable.fd`
    pub const TABLE_FILES: usize = 3;
    /// `file.f_inode`
    pub const FILE_INODE: usize = 4;
    /// `file.private_data`
    pub const FILE_DATA: usize = 5;
    /// `inode.i_mode`
    pub const INODE_MODE: usize = 6;
    /// `inode.i_ino`
    pub const INODE_NUMBER: usize = 7;
    /// `socket.sk`
    pub const SOCKET_SOCK: usize = 8;
    /// `sock_common.skc_family`
    pub const SOCK_FAMILY: usize = 9;
    /// `task_struct.mm`
    pub const TASK_MEMORY: usize = 10;
    /// `mm_struct.arg_start`, `mm_struct.arg_end`
    pub const ARGUMENTS_START: usize = 11;
    pub const ARGUMENTS_END: usize = 12;
    pub const COUNT: usize = 13;

    /// Structure and field of each place.
    pub const FIELDS: [(&str, &str); COUNT] = [
        ("task_struct", "files"),
        ("files_struct", "fdt"),
        ("fdtable", "max_fds"),
        ("fdtable", "fd"),
        ("file", "f_inode"),
        ("file", "private_data"),
        ("inode", "i_mode"),
        ("inode", "i_ino"),
        ("socket", "sk"),
        ("sock_common", "skc_family"),
        ("task_struct", "mm"),
        ("mm_struct", "arg_start"),
        ("mm_struct", "arg_end"),
    ];
}

/// Value of the `STDIO` map: inodes of a process's standard input and output, 0 where that is no pipe or socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stdio {
    pub input: u64,
    pub output: u64,
}

/// Flags in the `TRACKED` map.
pub mod tracked {
    /// Bytes of this process are copied.
    pub const CONTENT: u32 = 1;
    /// Its plaintext sockets and pipes, too.
    pub const SYSCALLS: u32 = 2;
    /// Nothing but whom it connects to: it may become an agent yet.
    pub const CONNECTS: u32 = 4;
    /// What it does to files: it is an agent, or descends from one.
    pub const FILES: u32 = 8;
    /// What a child inherits.
    pub const INHERITED: u32 = CONTENT | SYSCALLS | FILES;

    /// This library is probed in the process by links of its own: hits of machine-wide ones are not its. Libraries far apart share a
    /// bit, which matters to a process that has both of them, one probed each way.
    pub const fn own(library: u32) -> u32 {
        1 << (8 + library % 24)
    }
}
