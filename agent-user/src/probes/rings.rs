//! Sockets of processes that have a ring of io_uring: bytes that pass them go by no system call, so no probe sees them. Such a socket
//! is found by the kernel's own count of its bytes (`TCP_INFO`).
//!
//! In: processes with a ring. Out: [`Spot`]s. A ring alone is no blind spot: event loops make one for other work.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use agent_wire::ASKED;

use super::facts::{Facts, Tcp};
use super::ledger::{Spot, Where};
use super::processes;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// Bytes received that are an answer; a socket's handshake counts here, so more than one must have come and gone.
const ANSWERED: u64 = 1000;
const SENT: u64 = ASKED + 500;

#[derive(Default)]
pub(super) struct Rings {
    /// What had passed each socket before its process was known to have a ring; `None` before the first look.
    processes: HashMap<u32, Option<Passed>>,
    told: HashSet<(u32, u64)>,
    looked_at: Option<Instant>,
}

/// Bytes sent and received, by the socket's inode.
type Passed = HashMap<u64, (u64, u64)>;

impl Rings {
    /// It has just made a ring: all that passes its new sockets may go that way.
    pub(super) fn made(&mut self, pid: u32) {
        self.processes.entry(pid).or_insert_with(|| Some(HashMap::new()));
    }

    /// A process that is watched from now on may have a ring already.
    pub(super) fn look_for(&mut self, pid: u32, has_ring: impl FnOnce(u32) -> bool) {
        if !self.processes.contains_key(&pid) && has_ring(pid) {
            self.processes.insert(pid, None);
        }
    }

    pub(super) fn gone(&mut self, pid: u32) {
        if self.processes.remove(&pid).is_some() {
            self.told.retain(|(owner, _)| *owner != pid);
        }
    }

    /// Sockets on which both sides spoke, and no system call and no plaintext was seen. `touched` gives the inodes that system calls of
    /// a process were seen on.
    pub(super) fn look(
        &mut self,
        now: Instant,
        facts: &Facts,
        touched: impl Fn(u32) -> HashSet<u64>,
        reads: impl Fn(u32, i32) -> bool,
        loose: impl Fn(u32) -> bool,
    ) -> Vec<Spot> {
        if self.processes.is_empty() || self.looked_at.is_some_and(|at| now.duration_since(at) < PAUSE) {
            return Vec::new();
        }
        self.looked_at = Some(now);
        let mut spots = Vec::new();
        for (pid, before) in &mut self.processes {
            let sockets = facts.sockets(*pid);
            let Some(before) = before else {
                *before = Some(sockets.iter().map(|socket| (socket.inode, (socket.sent, socket.received))).collect());
                continue;
            };
            let mut unread: Vec<&Tcp> = sockets
                .iter()
                .filter(|socket| {
                    let (sent, received) = before.get(&socket.inode).copied().unwrap_or_default();
                    socket.sent - sent.min(socket.sent) >= SENT && socket.received - received.min(socket.received) >= ANSWERED
                })
                .filter(|socket| !self.told.contains(&(*pid, socket.inode)) && !reads(*pid, socket.fd))
                .collect();
            if unread.is_empty() || loose(*pid) {
                continue;
            }
            let touched = touched(*pid);
            unread.retain(|socket| !touched.contains(&socket.inode));
            for socket in unread {
                self.told.insert((*pid, socket.inode));
                let peer = facts.addresses(*pid, socket.fd).map(|(_, peer)| peer);
                let place = Where { fd: socket.fd, generation: socket.inode, peer, accepted: false };
                spots.push(Spot {
                    pid: *pid,
                    why: "io_uring",
                    what: String::new(),
                    socket: Some(place),
                    bytes: Some(socket.sent),
                });
            }
        }
        spots
    }
}

pub(super) fn has_ring(pid: u32) -> bool {
    descriptors(pid).any(|(_, link)| link == "anon_inode:[io_uring]")
}

/// TCP sockets of a process.
pub(super) fn sockets(pid: u32) -> Vec<Tcp> {
    descriptors(pid).filter_map(|(fd, link)| tcp(pid, fd, &link)).collect()
}

/// Descriptors of a process and what they lead to.
fn descriptors(pid: u32) -> impl Iterator<Item = (i32, String)> {
    fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten().filter_map(|entry| {
        let link = fs::read_link(entry.path()).ok()?;
        Some((entry.file_name().to_str()?.parse().ok()?, link.to_string_lossy().into_owned()))
    })
}

fn tcp(pid: u32, fd: i32, link: &str) -> Option<Tcp> {
    let inode = link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()?;
    let socket = processes::borrow(pid, fd)?;
    let stream = rustix::net::sockopt::socket_type(&socket).ok()? == rustix::net::SocketType::STREAM;
    let family = rustix::net::sockopt::socket_domain(&socket).ok()?;
    let internet = family == rustix::net::AddressFamily::INET || family == rustix::net::AddressFamily::INET6;
    let (sent, received) = (stream && internet).then(|| passed(&socket)).flatten()?;
    Some(Tcp { fd, inode, sent, received })
}

/// `tcpi_bytes_acked` and `tcpi_bytes_received` of `struct tcp_info` (linux/tcp.h).
fn passed(socket: &OwnedFd) -> Option<(u64, u64)> {
    const SIZE: usize = 136;
    let mut info = [0_u64; SIZE / 8];
    let mut size = libc::socklen_t::try_from(SIZE).ok()?;
    // SAFETY: the kernel writes at most `size` bytes into `info`.
    let done = unsafe {
        libc::getsockopt(socket.as_fd().as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut size)
    };
    (done == 0 && usize::try_from(size) == Ok(SIZE)).then(|| (info[15], info[16]))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::probes::facts::Host;

    /// This process speaks over loopback and is looked at as if it had a ring.
    #[test]
    fn a_socket_without_system_calls_is_told_once() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("it is bound");
        let mut client = TcpStream::connect(address).expect("it listens");
        let (mut server, _) = listener.accept().expect("a client came");
        client.write_all(&[7; 2000]).expect("it is open");
        server.read_exact(&mut [0; 2000]).expect("it was sent");
        server.write_all(&[7; 4000]).expect("it is open");
        client.read_exact(&mut [0; 4000]).expect("it was sent");
        let (pid, fd) = (std::process::id(), client.as_raw_fd());
        let link = fs::read_link(format!("/proc/self/fd/{fd}")).expect("it is open");
        let own = tcp(pid, fd, &link.to_string_lossy()).expect("a TCP socket");
        let facts = Facts::here(Host::new(0, Vec::new(), None));
        let mine = |spots: Vec<Spot>| spots.into_iter().filter(|spot| spot.socket.as_ref().is_some_and(|at| at.fd == fd)).count();
        let check = |rings: &mut Rings, touched: bool, reads: bool, loose: bool| {
            rings.looked_at = None;
            let inodes = if touched { HashSet::from([own.inode]) } else { HashSet::new() };
            mine(rings.look(Instant::now(), &facts, |_| inodes.clone(), |_, at| reads && at == fd, |_| loose))
        };
        let mut rings = Rings::default();
        assert_eq!(check(&mut rings, false, false, false), 0, "nobody has a ring");
        rings.made(pid);
        assert_eq!(check(&mut rings, true, false, false), 0, "system calls were seen");
        assert_eq!(check(&mut rings, false, true, false), 0, "its plaintext is read");
        assert_eq!(check(&mut rings, false, false, true), 0, "plaintext is read whose socket is not known");
        assert_eq!(check(&mut rings, false, false, false), 1);
        assert_eq!(check(&mut rings, false, false, false), 0, "told before");
    }
}
