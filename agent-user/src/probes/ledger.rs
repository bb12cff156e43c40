//! The coverage ledger: what passes a TLS connection's socket against the plaintext that was read of it. A connection that asks and is
//! answered while nothing is read of it is a blind spot: an unknown library, a private copy of a function, a probe that is gone.
//!
//! In: kernel events, and what the kernel counted of a socket. Out: [`Spot`]s. No IO.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use agent_wire::ASKED;
use serde::{Deserialize, Serialize};

use super::hello;
use crate::base::Direction;
use crate::capture::Source;
use crate::capture::ring::{Event, Object, What};

/// Bytes received after [`ASKED`] that are an answer; session tickets alone may reach it, which does not matter once something was asked.
const ANSWERED: u64 = 100;

/// How long plaintext may be late: a program whose file is still being read is found by then.
const PATIENCE: Duration = Duration::from_secs(3);

/// TLS sockets and library objects at once. A process that opens more than this loses the accounts of all.
const ACCOUNTS: usize = 16_384;

/// Plaintext of objects whose socket is not known.
const LOOSE: i32 = -1;

/// What the kernel counted of a TLS socket, handshake left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Passed {
    pub(super) asked: u64,
    pub(super) answered: u64,
}

/// The open file that the kernel counts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct Counted {
    pub(super) pid: u32,
    pub(super) file: u64,
    pub(super) generation: u64,
}

/// Something of a process that is not seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) pid: u32,
    pub(super) why: &'static str,
    /// What is not seen: a server's name, a function.
    pub(super) what: String,
    pub(super) socket: Option<Where>,
    /// Bytes that were sent unseen.
    pub(super) bytes: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Where {
    pub(super) fd: i32,
    /// Tells the socket from others of this descriptor.
    pub(super) generation: u64,
    pub(super) peer: Option<String>,
    pub(super) accepted: bool,
}

struct Account {
    counted: Counted,
    peer: Option<String>,
    server_name: String,
    accepted: bool,
    /// The kernel does not count it.
    tunnel: bool,
    passed: Passed,
    /// What had passed, and been read, when something was last read.
    mark: Passed,
    read_at_mark: u64,
    /// Since when it asks and is answered unread.
    silent: Option<Instant>,
    told: bool,
}

#[derive(Default)]
pub(super) struct Ledger {
    accounts: HashMap<(u32, i32), Account>,
    /// Plaintext that was sent, by process and descriptor.
    read: HashMap<(u32, i32), u64>,
    /// The part of [`LOOSE`] plaintext that each object has.
    loose: HashMap<(u32, Object), u64>,
    /// Plaintext that came in, as `read`: what a server was asked.
    heard: HashMap<(u32, i32), u64>,
}

impl Ledger {
    /// Takes what concerns it; gives the spot of a connection that ends unread. `peer_of` knows the other end of a descriptor.
    pub(super) fn see(
        &mut self,
        event: &Event,
        now: Instant,
        peer_of: impl Fn(i32) -> Option<String>,
        count: impl Fn(Counted) -> Option<Passed>,
    ) -> Vec<Spot> {
        let pid = event.tgid;
        match &event.what {
            What::Record { file, generation, fd, dir, data } => {
                self.bound();
                let counted = Counted { pid, file: *file, generation: *generation };
                let mut account = Account::new(counted, peer_of(*fd), data, *dir);
                account.read_at_mark = self.read_of(pid, *fd);
                self.accounts.insert((pid, *fd), account);
            }
            What::Chunk { fd, dir, source: Source::Plain, data, .. } => self.tunnelled(pid, *fd, *dir, data, peer_of),
            What::Chunk { object, dir: Direction::Out, fd, source, data, .. } if source.is_tls() => {
                self.note(pid, *object, *fd, data.len() as u64);
            }
            // A server's own share of the talk, before its answer, are session tickets: that its request was read says enough.
            What::Chunk { dir: Direction::In, fd, source, data, .. } if source.is_tls() => {
                self.bound();
                *self.heard.entry((pid, (*fd).max(LOOSE))).or_default() += data.len() as u64;
            }
            What::Lost { object, dir: Direction::Out, bytes, .. } => self.note(pid, *object, LOOSE, *bytes),
            What::Bind { object, fd } => {
                let late = self.loose.remove(&(pid, *object)).unwrap_or(0);
                *self.read.entry((pid, *fd)).or_default() += late;
                if let Some(loose) = self.read.get_mut(&(pid, LOOSE)) {
                    *loose -= late.min(*loose);
                }
            }
            What::Close(object) => {
                self.loose.remove(&(pid, *object));
            }
            What::FdClosed { fd, asked, answered } => {
                let Some(mut account) = self.accounts.remove(&(pid, *fd)) else { return Vec::new() };
                if !account.tunnel {
                    account.passed = Passed { asked: *asked, answered: *answered };
                }
                let read = self.read.remove(&(pid, *fd)).unwrap_or(0);
                let spot = self.conclude(&account, *fd, read);
                self.heard.remove(&(pid, *fd));
                return spot.into_iter().collect();
            }
            What::Exit => return self.exit(pid, now, count),
            _ => {}
        }
        Vec::new()
    }

    /// Sockets that [`Ledger::judge`] asks about.
    pub(super) fn counted(&self) -> Vec<Counted> {
        self.accounts.values().filter(|account| !account.told).map(|account| account.counted).collect()
    }

    /// Connections that have been silent for too long. `count` asks the kernel; `lossy` says that plaintext was lost meanwhile, and nobody
    /// knows whose.
    pub(super) fn judge(&mut self, now: Instant, lossy: bool, count: impl Fn(Counted) -> Option<Passed>) -> Vec<Spot> {
        let mut late = Vec::new();
        for ((pid, fd), account) in self.accounts.iter_mut().filter(|(_, account)| !account.told) {
            account.passed = count(account.counted).unwrap_or(account.passed);
            let read = self.read.get(&(*pid, *fd)).copied().unwrap_or(0);
            if read > account.read_at_mark || lossy {
                (account.mark, account.read_at_mark, account.silent) = (account.passed, read, None);
            } else if account.is_silent() && now.duration_since(*account.silent.get_or_insert(now)) >= PATIENCE {
                late.push((*pid, *fd));
            }
        }
        let mut spots = Vec::new();
        for key in late {
            let spot = self.accounts.get(&key).and_then(|account| self.conclude(account, key.1, account.read_at_mark));
            if let (Some(spot), Some(account)) = (spot, self.accounts.get_mut(&key)) {
                account.told = true;
                spots.push(spot);
            }
        }
        spots
    }

    /// True when plaintext is read by this descriptor.
    pub(super) fn reads(&self, pid: u32, fd: i32) -> bool {
        self.read.contains_key(&(pid, fd))
    }

    /// Plaintext of a process that no socket is known for.
    pub(super) fn loose_of(&self, pid: u32) -> u64 {
        self.read_of(pid, LOOSE)
    }

    fn exit(&mut self, pid: u32, now: Instant, count: impl Fn(Counted) -> Option<Passed>) -> Vec<Spot> {
        let mut spots = Vec::new();
        if self.accounts.keys().any(|(owner, _)| *owner == pid) {
            spots = self.judge(now, false, &count);
            let left = self.accounts.iter().filter(|((owner, _), account)| *owner == pid && !account.told);
            spots.extend(left.filter_map(|((_, fd), account)| self.conclude(account, *fd, self.read_of(pid, *fd))));
        }
        self.accounts.retain(|(owner, _), _| *owner != pid);
        self.read.retain(|(owner, _), _| *owner != pid);
        self.loose.retain(|(owner, _), _| *owner != pid);
        self.heard.retain(|(owner, _), _| *owner != pid);
        spots
    }

    /// TLS inside of a plaintext connection, as through a proxy (`CONNECT`): the kernel hands on all of it, and it is counted here.
    fn tunnelled(&mut self, pid: u32, fd: i32, dir: Direction, data: &[u8], peer_of: impl Fn(i32) -> Option<String>) {
        let handshake = matches!(data, [22, 3, 0..=4, ..]);
        if handshake && dir == Direction::Out && fd >= 0 && !self.accounts.contains_key(&(pid, fd)) {
            self.bound();
            let mut account = Account::new(Counted { pid, file: 0, generation: 0 }, peer_of(fd), data, dir);
            (account.tunnel, account.read_at_mark) = (true, self.read_of(pid, fd));
            self.accounts.insert((pid, fd), account);
        }
        let Some(account) = self.accounts.get_mut(&(pid, fd)).filter(|account| account.tunnel) else { return };
        match dir {
            Direction::Out if !handshake => account.passed.asked += data.len() as u64,
            Direction::In if account.passed.asked >= ASKED => account.passed.answered += data.len() as u64,
            Direction::Out | Direction::In => {}
        }
    }

    fn note(&mut self, pid: u32, object: Object, fd: i32, bytes: u64) {
        self.bound();
        let fd = if fd < 0 { LOOSE } else { fd };
        *self.read.entry((pid, fd)).or_default() += bytes;
        if fd == LOOSE {
            *self.loose.entry((pid, object)).or_default() += bytes;
        }
    }

    fn read_of(&self, pid: u32, fd: i32) -> u64 {
        self.read.get(&(pid, fd)).copied().unwrap_or(0)
    }

    /// A spot, unless plaintext of the same process that belongs to no socket, or to another one than it was put down to, explains it.
    fn conclude(&self, account: &Account, fd: i32, read: u64) -> Option<Spot> {
        if account.told || read > account.read_at_mark || !account.is_silent() {
            return None;
        }
        let pid = account.counted.pid;
        let mut asked = account.passed.asked - account.mark.asked;
        if account.accepted {
            asked = asked.min(account.passed.answered.saturating_sub(account.mark.answered));
            let heard = |fd: i32| self.heard.get(&(pid, fd)).copied().unwrap_or(0);
            if heard(fd) + heard(LOOSE) >= asked / 2 {
                return None;
            }
        }
        let others = self.accounts.iter().filter(|((owner, other), _)| *owner == pid && *other != fd);
        let surplus: u64 =
            others.map(|((_, other), account)| self.read_of(pid, *other).saturating_sub(account.passed.asked)).sum();
        if self.loose_of(pid) + surplus >= asked / 2 {
            return None;
        }
        let socket = Where { fd, generation: account.counted.generation, peer: account.peer.clone(), accepted: account.accepted };
        Some(Spot { pid, why: "tls", what: account.server_name.clone(), socket: Some(socket), bytes: Some(asked) })
    }

    fn bound(&mut self) {
        if self.accounts.len() >= ACCOUNTS || self.read.len() >= ACCOUNTS || self.loose.len().max(self.heard.len()) >= ACCOUNTS {
            *self = Ledger::default();
        }
    }
}

impl Account {
    fn new(counted: Counted, peer: Option<String>, first: &[u8], dir: Direction) -> Account {
        Account {
            counted,
            peer,
            server_name: hello::server_name(first).unwrap_or_default(),
            accepted: dir == Direction::In,
            tunnel: false,
            passed: Passed::default(),
            mark: Passed::default(),
            read_at_mark: 0,
            silent: None,
            told: false,
        }
    }

    fn is_silent(&self) -> bool {
        let asked = self.passed.asked.saturating_sub(self.mark.asked);
        asked >= ASKED && self.passed.answered.saturating_sub(self.mark.answered) >= ANSWERED
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const PID: u32 = 7;

    /// What happened, in order: `hello FD`, `accept FD`, `serve OBJECT FD BYTES` (a request that was read), `read OBJECT FD BYTES`, `bind OBJECT FD`, `pass FD ASKED ANSWERED` (totals), `wait SECONDS`,
    /// `loss`, `close FD`, `exit`; gives the descriptors that were told as blind.
    fn check(story: &str, told: &[i32]) {
        let (mut ledger, mut now, mut lossy) = (Ledger::default(), Instant::now(), false);
        let mut passed: HashMap<u64, Passed> = HashMap::new();
        let mut found = Vec::new();
        for line in story.split(", ") {
            let mut words = line.split(' ');
            let verb = words.next().expect("a verb");
            let numbers: Vec<u64> = words.map(|word| word.parse().expect("a number")).collect();
            let at = |index: usize| numbers[index];
            let fd = |index: usize| if numbers[index] == 99 { -1 } else { i32::try_from(numbers[index]).expect("small") };
            let object = |index: usize| Object { address: numbers[index], generation: 1 };
            let what = match verb {
                "hello" | "accept" => {
                    let data = Bytes::from_static(b"\x16\x03\x01");
                    let dir = if verb == "accept" { Direction::In } else { Direction::Out };
                    Some(What::Record { file: at(0), generation: 1, fd: fd(0), dir, data })
                }
                "serve" => Some(What::Chunk {
                    object: object(0),
                    dir: Direction::In,
                    offset: 0,
                    fd: fd(1),
                    source: Source::Openssl,
                    server: false,
                    data: Bytes::from(vec![0; usize::try_from(at(2)).expect("small")]),
                }),
                "read" => Some(What::Chunk {
                    object: object(0),
                    dir: Direction::Out,
                    offset: 0,
                    fd: fd(1),
                    source: Source::Openssl,
                    server: false,
                    data: Bytes::from(vec![0; usize::try_from(at(2)).expect("small")]),
                }),
                // Plaintext of a socket that looks like records: `plain FD BYTES TYPE IN`.
                "plain" => Some(What::Chunk {
                    object: object(0),
                    dir: if at(3) == 1 { Direction::In } else { Direction::Out },
                    offset: 0,
                    fd: fd(0),
                    source: Source::Plain,
                    server: false,
                    data: Bytes::from(
                        [u8::try_from(at(2)).expect("small"), 3, 3].repeat(usize::try_from(at(1) / 3).expect("small")),
                    ),
                }),
                "bind" => Some(What::Bind { object: object(0), fd: fd(1) }),
                "close" => {
                    let passed = passed.get(&at(0)).copied().unwrap_or_default();
                    Some(What::FdClosed { fd: fd(0), asked: passed.asked, answered: passed.answered })
                }
                "exit" => Some(What::Exit),
                "pass" => {
                    passed.insert(at(0), Passed { asked: at(1), answered: at(2) });
                    None
                }
                "loss" => {
                    lossy = true;
                    None
                }
                _ => {
                    for _ in 0..at(0) {
                        now += Duration::from_secs(1);
                        found.extend(ledger.judge(now, lossy, |counted| passed.get(&counted.file).copied()));
                        lossy = false;
                    }
                    None
                }
            };
            if let Some(what) = what {
                let event = Event { time: 0, tgid: PID, tid: PID, what };
                found.extend(ledger.see(&event, now, |_| None, |counted| passed.get(&counted.file).copied()));
            }
        }
        let fds: Vec<i32> = found.iter().filter_map(|spot| spot.socket.as_ref()).map(|socket| socket.fd).collect();
        assert_eq!(fds, told, "{story}");
    }

    #[test]
    fn an_unread_connection_is_told_once() {
        check("hello 5, wait 1, pass 5 900 4000, wait 2", &[]);
        check("hello 5, wait 1, pass 5 900 4000, wait 5, pass 5 1900 8000, wait 9, close 5", &[5]);
        check("hello 5, pass 5 900 4000, close 5", &[5]);
        check("hello 5, pass 5 900 4000, exit", &[5]);
    }

    #[test]
    fn what_was_read_is_not_blind() {
        check("hello 5, read 1 5 800, pass 5 900 4000, wait 9, close 5", &[]);
        check("hello 5, read 1 99 800, pass 5 900 4000, wait 1, bind 1 5, wait 9, close 5", &[]);
    }

    /// Session tickets are what a server says first: 510 bytes that no library call wrote.
    #[test]
    fn a_server_that_has_not_answered_yet_is_not_blind() {
        check("accept 5, serve 1 5 200, pass 5 510 230, wait 9", &[]);
        check("accept 5, serve 1 99 150, pass 5 510 230, wait 9", &[]);
        check("accept 5, pass 5 900 4000, wait 9", &[5]);
    }

    #[test]
    fn a_handshake_alone_asks_nothing() {
        check("hello 5, pass 5 80 0, wait 9, close 5", &[]);
        check("hello 5, pass 5 300 0, wait 9, close 5", &[]);
    }

    #[test]
    fn a_connection_that_falls_silent_later_is_told() {
        check("hello 5, read 1 5 800, pass 5 900 4000, wait 9, pass 5 2900 9000, wait 9", &[5]);
    }

    #[test]
    fn plaintext_put_down_to_another_socket_explains_silence() {
        check("hello 5, hello 6, read 1 5 1600, pass 5 900 4000, pass 6 900 4000, wait 9", &[]);
        check("hello 5, read 1 99 800, pass 5 900 4000, wait 9", &[]);
        check("hello 5, hello 6, read 1 5 850, pass 5 900 4000, pass 6 900 4000, wait 9", &[6]);
    }

    #[test]
    fn a_tunnel_through_a_proxy_is_counted_like_a_socket() {
        check("plain 5 900 72 0, plain 5 4000 72 1, close 5", &[]);
        check("plain 5 300 22 0, plain 5 3000 22 1, plain 5 600 23 0, plain 5 4000 23 1, close 5", &[5]);
        check("plain 5 300 22 0, plain 5 600 23 0, plain 5 4000 23 1, read 1 5 570, wait 9, close 5", &[]);
    }

    #[test]
    fn lost_plaintext_is_no_silence() {
        check("hello 5, pass 5 900 4000, loss, wait 9", &[]);
    }

    #[test]
    fn accounts_have_a_bound() {
        let mut ledger = Ledger::default();
        for number in 0..2 * ACCOUNTS as u64 {
            ledger.note(PID, Object { address: number, generation: 1 }, LOOSE, 1);
        }
        assert!(ledger.loose.len() <= ACCOUNTS);
    }
}
