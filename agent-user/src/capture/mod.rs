//! **capture**: what the kernel (or a recording) says happened, as plain data.
//!
//! In: ring records (`ring`, live) or recordings ([`recording`]). Out: [`Observation`]. It keeps no state and interprets nothing.

pub mod recording;
#[cfg(feature = "live")]
pub mod ring;

use std::sync::Arc;

use bytes::Bytes;

use crate::base::{ConnId, Direction, LossCause, Sensitive, Timestamp};

/// One thing that was seen. The variants are the record kinds of a recording, field for field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    pub ts: Timestamp,
    pub what: Seen,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Exec(Exec),
    Fork { pid: u32, ppid: u32 },
    Exit { pid: u32, code: Option<i64> },
    Socket(Socket),
    Chunk(Chunk),
    Close { pid: u32, conn: ConnId },
    Loss(Loss),
    File(FileEffect),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exec {
    pub pid: u32,
    pub ppid: Option<u32>,
    /// Process start, nanoseconds since the epoch.
    pub start: Option<u64>,
    pub uid: Option<u32>,
    pub exe: Arc<str>,
    /// May hold secrets given on a command line.
    pub argv: Sensitive<Vec<Arc<str>>>,
    pub cwd: Option<Arc<str>>,
    pub cgroup: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketOp {
    Connect,
    Accept,
    Close,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    pub pid: u32,
    pub fd: Option<u32>,
    pub op: SocketOp,
    /// `ip:port`, IPv6 in brackets; a unix socket by its path.
    pub local: Option<Arc<str>>,
    pub peer: Option<Arc<str>>,
    pub conn: Option<ConnId>,
}

/// Where plaintext was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    Openssl,
    Boringssl,
    Gnutls,
    Go,
    Rustls,
    /// A socket without TLS.
    Plain,
    /// A pipe or unix socket pair.
    Stdio,
}

impl Source {
    pub fn is_tls(self) -> bool {
        !matches!(self, Source::Plain | Source::Stdio)
    }
}

/// Which end of the connection the captured process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Client,
    Server,
}

/// Plaintext bytes of one direction of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub pid: u32,
    pub tid: Option<u32>,
    pub conn: ConnId,
    pub dir: Direction,
    /// Byte offset in this direction since the connection was first seen; absent: right after the last chunk.
    pub off: Option<u64>,
    pub data: Sensitive<Bytes>,
    pub source: Source,
    pub sni: Option<Arc<str>>,
    pub peer: Option<Arc<str>>,
    pub local: Option<Arc<str>>,
    pub role: Option<Role>,
}

/// Something that was not seen. Without `conn` it may have hit anything of `pid`, without `pid` anything at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    pub cause: LossCause,
    pub count: u64,
    pub pid: Option<u32>,
    pub conn: Option<ConnId>,
    pub dir: Option<Direction>,
    pub bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileOp {
    Create,
    Write,
    Rename,
    Unlink,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEffect {
    pub pid: u32,
    pub op: FileOp,
    pub path: Arc<str>,
    /// New name of a rename.
    pub to: Option<Arc<str>>,
}
