//! Ring records as data: bytes of the kernel's record in, a typed [`Event`] out. No state, no IO.
//!
//! A record that is shorter than its kind, or of an unknown kind, is `None`: object and daemon come from one build, so it never
//! happens, and must not end the daemon if it does.

use agent_wire::{
    Argv, ChunkHead, Connection, FLAG_OUT, FLAG_RECORD, FLAG_SERVER, Fork, Header, Named, SocketAddress, file, kind, loss, source,
};
use bytes::Bytes;

use super::{FileOp, Source};
use crate::base::{Direction, LossCause};

/// A record of the kernel. Times are nanoseconds since boot.
#[derive(Clone, Debug)]
pub struct Event {
    pub time: u64,
    pub tgid: u32,
    pub tid: u32,
    pub what: What,
}

/// A connection as the kernel names it, within its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Object {
    pub address: u64,
    pub generation: u64,
}

#[derive(Clone, Debug)]
pub enum What {
    Exec {
        exe: String,
        uid: u32,
        cgroup: u64,
    },
    Argv(Vec<String>),
    Fork {
        child: u32,
        tracked: bool,
    },
    Exit,
    Chunk {
        object: Object,
        dir: Direction,
        offset: u64,
        fd: i32,
        source: Source,
        server: bool,
        data: Bytes,
    },
    Close(Object),
    Bind {
        object: Object,
        fd: i32,
    },
    ServerName {
        object: Object,
        name: String,
    },
    Lost {
        object: Object,
        dir: Direction,
        bytes: u64,
        cause: LossCause,
    },
    Connect {
        fd: i32,
        result: i32,
        peer: Option<String>,
    },
    Accept {
        fd: i32,
        peer: Option<String>,
    },
    /// What the kernel counted where TLS records passed, else 0.
    FdClosed {
        fd: i32,
        asked: u64,
        answered: u64,
    },
    /// The first TLS record of a socket that no probed library is known to use; `file` and `generation` name its account in the kernel.
    Record {
        file: u64,
        generation: u64,
        fd: i32,
        dir: Direction,
        data: Bytes,
    },
    /// A relative path starts from the descriptor `directory`, or from where the process is.
    File {
        done: FileDone,
        directory: i32,
        path: String,
    },
    IoUring,
}

/// What a process did to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileDone {
    Op(FileOp),
    /// The second half of a rename.
    RenamedTo,
}

/// Reads one record.
pub fn event(record: &[u8]) -> Option<Event> {
    let header: Header = read(record)?;
    let what = match header.kind {
        kind::EXEC => {
            let named: Named = read(record)?;
            What::Exec { exe: name(&named), uid: named.word, cgroup: named.extra }
        }
        kind::ARGV => What::Argv(arguments(record, header.length)),
        kind::FORK => {
            let fork: Fork = read(record)?;
            What::Fork { child: fork.child, tracked: fork.tracked != 0 }
        }
        kind::EXIT => What::Exit,
        kind::CHUNK => chunk(record, &header)?,
        kind::CLOSE => What::Close(object(&read(record)?)),
        kind::BIND => {
            let connection: Connection = read(record)?;
            What::Bind { object: object(&connection), fd: connection.fd }
        }
        kind::SNI => {
            let named: Named = read(record)?;
            What::ServerName { object: Object { address: named.object, generation: named.generation }, name: name(&named) }
        }
        kind::LOST => {
            let connection: Connection = read(record)?;
            let cause = match connection.cause {
                loss::RING_FULL => LossCause::RingFull,
                loss::TRUNCATED => LossCause::Truncated,
                loss::MISSED => LossCause::Missed,
                _ => LossCause::ReadFault,
            };
            What::Lost { object: object(&connection), dir: direction(&header), bytes: connection.bytes, cause }
        }
        kind::CONNECT => {
            let socket: SocketAddress = read(record)?;
            What::Connect { fd: socket.fd, result: socket.result, peer: address(&socket.address) }
        }
        kind::ACCEPT => {
            let socket: SocketAddress = read(record)?;
            What::Accept { fd: socket.result, peer: address(&socket.address) }
        }
        kind::FD_CLOSE => {
            let closed: Connection = read(record)?;
            What::FdClosed { fd: closed.fd, asked: closed.offset, answered: closed.bytes }
        }
        kind::FILE => {
            let named: Named = read(record)?;
            let done = match named.word {
                file::WRITE => FileDone::Op(FileOp::Write),
                file::CREATE => FileDone::Op(FileOp::Create),
                file::UNLINK => FileDone::Op(FileOp::Unlink),
                file::RENAME => FileDone::Op(FileOp::Rename),
                file::RENAMED_TO => FileDone::RenamedTo,
                _ => return None,
            };
            What::File { done, directory: named.extra as u32 as i32, path: name(&named) }
        }
        kind::IO_URING => What::IoUring,
        _ => return None,
    };
    Some(Event { time: header.time, tgid: header.tgid, tid: header.tid, what })
}

/// A record of the wire crate at the start of `record`.
fn read<T: Copy>(record: &[u8]) -> Option<T> {
    // SAFETY: the wire's records are `repr(C)` structs of integers and byte arrays, so any bytes are a value; the length is checked,
    // and the read may be unaligned.
    (record.len() >= size_of::<T>()).then(|| unsafe { record.as_ptr().cast::<T>().read_unaligned() })
}

fn chunk(record: &[u8], header: &Header) -> Option<What> {
    let head: ChunkHead = read(record)?;
    let start = size_of::<ChunkHead>();
    let data = record.get(start..start + header.length as usize)?;
    if header.flags & FLAG_RECORD != 0 {
        let data = Bytes::copy_from_slice(data);
        return Some(What::Record { file: head.object, generation: head.generation, fd: head.fd, dir: direction(header), data });
    }
    let source = match head.source as u8 {
        source::GNUTLS => Source::Gnutls,
        source::BORINGSSL => Source::Boringssl,
        source::PLAIN => Source::Plain,
        source::STDIO => Source::Stdio,
        source::RUSTLS => Source::Rustls,
        source::GO => Source::Go,
        _ => Source::Openssl,
    };
    Some(What::Chunk {
        object: Object { address: head.object, generation: head.generation },
        dir: direction(header),
        offset: head.offset,
        fd: head.fd,
        source,
        server: header.flags & FLAG_SERVER != 0,
        data: Bytes::copy_from_slice(data),
    })
}

fn object(connection: &Connection) -> Object {
    Object { address: connection.object, generation: connection.generation }
}

fn direction(header: &Header) -> Direction {
    if header.flags & FLAG_OUT != 0 { Direction::Out } else { Direction::In }
}

fn name(named: &Named) -> String {
    let length = (named.header.length as usize).min(named.name.len());
    String::from_utf8_lossy(&named.name[..length]).into_owned()
}

fn arguments(record: &[u8], length: u32) -> Vec<String> {
    let start = std::mem::offset_of!(Argv, data);
    let data = record.get(start..start + length as usize).unwrap_or_default();
    let mut arguments: Vec<String> =
        data.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned()).collect();
    // Each argument ends with NUL, so the last piece is empty.
    arguments.pop();
    arguments
}

/// `ip:port` of a `struct sockaddr`; `None` for other families.
fn address(bytes: &[u8; 28]) -> Option<String> {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
    let family = u16::from_ne_bytes([bytes[0], bytes[1]]);
    let port = u16::from_be_bytes([bytes[2], bytes[3]]);
    let ip = match i32::from(family) {
        libc::AF_INET => Ipv4Addr::from(<[u8; 4]>::try_from(&bytes[4..8]).ok()?).into(),
        libc::AF_INET6 => Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[8..24]).ok()?).into(),
        _ => return None,
    };
    Some(canonical(SocketAddr::new(ip, port)))
}

/// IPv4 inside IPv6 is shown as IPv4: a dual-stack socket and a plain one name the same peer.
pub fn canonical(address: std::net::SocketAddr) -> String {
    std::net::SocketAddr::new(address.ip().to_canonical(), address.port()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_unknown_records_are_refused() {
        assert!(event(&[]).is_none());
        let mut record = [0_u8; 64];
        record[16] = 200;
        assert!(event(&record).is_none());
        record[16] = u8::try_from(kind::CHUNK).expect("small");
        record[20] = 255;
        assert!(event(&record).is_none(), "a length past the record");
    }

    #[test]
    fn addresses_are_read_by_family() {
        let mut bytes = [0; 28];
        bytes[..8].copy_from_slice(&[2, 0, 0x01, 0xbb, 127, 0, 0, 1]);
        assert_eq!(address(&bytes).as_deref(), Some("127.0.0.1:443"));
        let mut bytes = [0; 28];
        bytes[..4].copy_from_slice(&[10, 0, 0x20, 0xfb]);
        bytes[18..24].copy_from_slice(&[0xff, 0xff, 10, 0, 0, 7]);
        assert_eq!(address(&bytes).as_deref(), Some("10.0.0.7:8443"));
        assert_eq!(address(&[1; 28]), None);
    }
}
