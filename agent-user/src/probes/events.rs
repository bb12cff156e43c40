//! Kernel events become observations: connections get names and addresses, processes their identity.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::facts::{Facts, Program};
use super::halves::Halves;
use crate::base::{ConnId, Sensitive, Timestamp};
use crate::capture::ring::{Event, FileDone, Object, What};
use crate::capture::{Chunk, Exec, FileEffect, FileOp, Loss, Observation, Role, Seen, Socket, SocketOp, Source};

/// Connections named at once. A process that makes library objects without end loses the names of its own oldest ones.
const CONNECTIONS: usize = 65_536;

/// Renames under way at once: each is two records of a thread.
const RENAMED: usize = 4096;

/// What is known of a connection beyond its bytes.
struct Connection {
    id: ConnId,
    sni: Option<Arc<str>>,
    peer: Option<Arc<str>>,
    local: Option<Arc<str>>,
    role: Option<Role>,
    /// Something was learned since the last chunk.
    news: bool,
}

/// State between kernel events and observations.
#[derive(Default)]
pub(super) struct Events {
    /// Epoch time of boot, nanoseconds.
    pub(super) boot: u64,
    connections: HashMap<(u32, Object), Connection>,
    /// Birth of processes that were forked under our eyes: parent and epoch time.
    born: HashMap<u32, (u32, u64)>,
    /// Arguments of an exec under way, by thread group.
    argv: HashMap<u32, Vec<String>>,
    /// Addresses that were connected to or accepted from, by process and fd.
    sockets: HashMap<(u32, i32), Peer>,
    /// Plaintext sockets by process and fd. Standard input and output are not here: their conversation ends with the process.
    plain: HashMap<(u32, i32), Object>,
    /// The old name of a rename whose new one follows, by thread.
    renamed: HashMap<u32, Arc<str>>,
    halves: Halves,
}

/// Which end a socket is, and who is at the other.
type Peer = (Role, Option<Arc<str>>);

impl Events {
    pub(super) fn new(boot: u64) -> Events {
        Events { boot, ..Events::default() }
    }

    /// The observations of one event, in order.
    pub(super) fn translate(&mut self, event: Event, facts: &Facts, out: &mut Vec<Observation>) {
        let mut joined = Vec::new();
        self.halves.take(event, &mut joined);
        for event in joined {
            self.translate_one(event, facts, out);
        }
    }

    fn translate_one(&mut self, event: Event, facts: &Facts, out: &mut Vec<Observation>) {
        let ts = Timestamp(self.boot + event.time);
        let pid = event.tgid;
        match event.what {
            What::Fork { child, .. } => {
                self.born.insert(child, (pid, ts.0));
            }
            What::Argv(argv) => {
                self.argv.insert(pid, argv);
            }
            What::Exec { exe, uid, cgroup } => self.exec((ts, pid), exe, uid, cgroup, facts, out),
            What::Exit => self.exit(ts, pid, out),
            What::Chunk { object, dir, offset, fd, source, server, data } => {
                if !source.is_tls() && !server {
                    self.plain.insert((pid, fd), object);
                }
                self.first_sight(ts, pid, out);
                let connection = self.connection(pid, object);
                // Of a pipe nobody knows more than before.
                if connection.peer.is_none() && fd >= 0 && (source != Source::Stdio || connection.news) {
                    self.learn_socket(ts, pid, object, fd, facts, out);
                }
                let connection = self.connection(pid, object);
                let news = std::mem::take(&mut connection.news);
                let told = |fact: &Option<Arc<str>>| fact.clone().filter(|_| news);
                let chunk = Chunk {
                    pid,
                    tid: Some(event.tid),
                    conn: connection.id.clone(),
                    dir,
                    off: Some(offset),
                    data: Sensitive::new(data),
                    source,
                    sni: told(&connection.sni),
                    peer: told(&connection.peer),
                    local: told(&connection.local),
                    // Standard input and output are watched on the serving side: requests come in.
                    role: if server { Some(Role::Server) } else { connection.role.filter(|_| news) },
                };
                out.push(Observation { ts, what: Seen::Chunk(chunk) });
            }
            What::Bind { object, fd } => self.learn_socket(ts, pid, object, fd, facts, out),
            What::ServerName { object, name } => {
                let connection = self.connection(pid, object);
                connection.sni = Some(name.into());
                connection.news = true;
            }
            What::Lost { object, dir, bytes, cause } => {
                let conn = Some(self.connection(pid, object).id.clone());
                let loss = Loss { cause, count: 1, pid: Some(pid), conn, dir: Some(dir), bytes: Some(bytes) };
                out.push(Observation { ts, what: Seen::Loss(loss) });
            }
            What::Close(object) => {
                if let Some(connection) = self.connections.remove(&(pid, object)) {
                    out.push(Observation { ts, what: Seen::Close { pid, conn: connection.id } });
                }
            }
            What::Connect { fd, result, peer } => self.connected(ts, pid, fd, result, peer, out),
            What::Accept { fd, peer } => {
                if fd >= 0 {
                    self.sockets.insert((pid, fd), (Role::Server, peer.map(Arc::from)));
                }
            }
            What::FdClosed { fd, .. } => {
                self.sockets.remove(&(pid, fd));
                if let Some(object) = self.plain.remove(&(pid, fd))
                    && let Some(connection) = self.connections.remove(&(pid, object))
                {
                    out.push(Observation { ts, what: Seen::Close { pid, conn: connection.id } });
                }
            }
            What::File { done, directory, path } => self.file((ts, pid, event.tid), (done, directory, path), facts, out),
            What::Record { .. } | What::IoUring => {}
        }
    }

    /// Who is at the other end of a descriptor, as far as its connect or accept was seen, or can be asked now.
    pub(super) fn peer(&self, pid: u32, fd: i32, facts: &Facts) -> Option<String> {
        self.told_peer(pid, fd).map(|peer| peer.to_string()).or_else(|| facts.addresses(pid, fd).map(|(_, peer)| peer))
    }

    /// What the accept or connect of a descriptor said. It comes before what the descriptor says when it is asked, some milliseconds
    /// later: a server that is done gives its number to the next connection. Who connects to no address in particular is asked.
    fn told_peer(&self, pid: u32, fd: i32) -> Option<Arc<str>> {
        let peer = self.sockets.get(&(pid, fd))?.1.clone()?;
        let anywhere = peer.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_unspecified());
        (!anywhere).then_some(peer)
    }

    fn exec(
        &mut self,
        (ts, pid): (Timestamp, u32),
        exe: String,
        uid: u32,
        cgroup: u64,
        facts: &Facts,
        out: &mut Vec<Observation>,
    ) {
        // The number may be another process's by now.
        let same = |program: &Program| program.birth.is_some_and(|(_, start)| start <= ts.0);
        let program = Some(facts.program(pid)).filter(same).unwrap_or_default();
        // From the fork that was seen, else from /proc.
        let (ppid, start) = self.born.get(&pid).copied().or(program.birth).unwrap_or((0, ts.0));
        let argv = self.argv.remove(&pid).unwrap_or_default();
        let exec = Exec {
            pid,
            ppid: Some(ppid),
            start: Some(start),
            uid: Some(uid),
            exe: program.exe.unwrap_or(exe).into(),
            argv: Sensitive::new(argv.into_iter().map(Arc::from).collect()),
            cwd: program.cwd.map(Arc::from),
            cgroup: program.cgroup.or_else(|| facts.group(cgroup)).map(Arc::from),
        };
        out.push(Observation { ts, what: Seen::Exec(exec) });
    }

    /// A process that was forked and acts without an exec of its own: only now it is known to be no thread.
    fn first_sight(&mut self, ts: Timestamp, pid: u32, out: &mut Vec<Observation>) {
        if let Some((ppid, born)) = self.born.get(&pid).copied()
            && born != 0
        {
            out.push(Observation { ts: Timestamp(born.min(ts.0)), what: Seen::Fork { pid, ppid } });
            self.born.insert(pid, (ppid, 0));
        }
    }

    fn exit(&mut self, ts: Timestamp, pid: u32, out: &mut Vec<Observation>) {
        self.born.remove(&pid);
        self.argv.remove(&pid);
        self.sockets.retain(|(owner, _), _| *owner != pid);
        self.plain.retain(|(owner, _), _| *owner != pid);
        self.connections.retain(|(owner, _), _| *owner != pid);
        out.push(Observation { ts, what: Seen::Exit { pid, code: None } });
    }

    fn connection(&mut self, pid: u32, object: Object) -> &mut Connection {
        if self.connections.len() >= CONNECTIONS && !self.connections.contains_key(&(pid, object)) {
            self.connections.clear();
        }
        self.connections.entry((pid, object)).or_insert_with(|| Connection {
            id: ConnId(format!("{pid}-{:x}-{:x}", object.address, object.generation).into()),
            sni: None,
            peer: None,
            local: None,
            role: None,
            news: true,
        })
    }

    /// The object's fd is known: so are its addresses.
    fn learn_socket(&mut self, ts: Timestamp, pid: u32, object: Object, fd: i32, facts: &Facts, out: &mut Vec<Observation>) {
        let role = self.sockets.get(&(pid, fd)).map(|(role, _)| *role);
        let now = facts.addresses(pid, fd);
        let peer: Option<Arc<str>> = self.told_peer(pid, fd).or_else(|| Some(now.as_ref()?.1.as_str().into()));
        let local = now.filter(|(_, other)| peer.as_deref() == Some(other)).and_then(|(local, _)| local.map(Arc::from));
        let connection = self.connection(pid, object);
        if peer.is_none() || (connection.peer == peer && connection.local == local) {
            return;
        }
        connection.peer.clone_from(&peer);
        connection.local.clone_from(&local);
        connection.role = role.or(connection.role);
        connection.news = true;
        let op = if role == Some(Role::Server) { SocketOp::Accept } else { SocketOp::Connect };
        let socket = Socket { pid, fd: u32::try_from(fd).ok(), op, local, peer, conn: Some(connection.id.clone()) };
        out.push(Observation { ts, what: Seen::Socket(socket) });
    }

    fn connected(&mut self, ts: Timestamp, pid: u32, fd: i32, result: i32, peer: Option<String>, out: &mut Vec<Observation>) {
        let started = result == 0 || result == -libc::EINPROGRESS;
        let Some(peer) = peer.filter(|_| started) else { return };
        let peer: Arc<str> = peer.into();
        self.sockets.insert((pid, fd), (Role::Client, Some(peer.clone())));
        let socket = Socket { pid, fd: u32::try_from(fd).ok(), op: SocketOp::Connect, local: None, peer: Some(peer), conn: None };
        out.push(Observation { ts, what: Seen::Socket(socket) });
    }

    fn file(
        &mut self,
        (ts, pid, tid): (Timestamp, u32, u32),
        (done, directory, path): (FileDone, i32, String),
        facts: &Facts,
        out: &mut Vec<Observation>,
    ) {
        self.first_sight(ts, pid, out);
        let here = || facts.program(pid).cwd.filter(|_| directory == libc::AT_FDCWD);
        // A process that has ended is nowhere: its names stay as it gave them.
        let path: Arc<str> = match Some(&path).filter(|path| !path.starts_with('/')).and_then(|_| here()) {
            Some(folder) => format!("{}/{}", folder.trim_end_matches('/'), path.trim_start_matches("./")).into(),
            None => path.into(),
        };
        let (op, path, to) = match done {
            FileDone::Op(FileOp::Rename) => {
                // More are those whose second half was lost.
                if self.renamed.len() >= RENAMED {
                    self.renamed.clear();
                }
                self.renamed.insert(tid, path);
                return;
            }
            FileDone::Op(op) => (op, path, None),
            FileDone::RenamedTo => match self.renamed.remove(&tid) {
                Some(old) => (FileOp::Rename, old, Some(path)),
                None => return,
            },
        };
        out.push(Observation { ts, what: Seen::File(FileEffect { pid, op, path, to }) });
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.len()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::base::Direction;
    use crate::probes::facts::Host;

    /// Ends that a chunk on a connected descriptor of this process names, after these events about it.
    fn ends(stream: &TcpStream, before: impl FnOnce(i32) -> Vec<What>) -> (Option<String>, Option<String>) {
        let (mut events, fd, pid) = (Events::new(0), stream.as_raw_fd(), std::process::id());
        let chunk = What::Chunk {
            object: Object { address: 1, generation: 1 },
            dir: Direction::In,
            offset: 0,
            fd,
            source: Source::Openssl,
            server: false,
            data: bytes::Bytes::from_static(b"x"),
        };
        let (mut out, facts) = (Vec::new(), Facts::here(Host::new(0, Vec::new(), None)));
        for what in before(fd).into_iter().chain([chunk]) {
            events.translate(Event { time: 0, tgid: pid, tid: pid, what }, &facts, &mut out);
        }
        let Some(Seen::Chunk(chunk)) = out.pop().map(|observation| observation.what) else { panic!("no chunk: {out:?}") };
        (chunk.peer.map(|peer| peer.to_string()), chunk.local.map(|local| local.to_string()))
    }

    #[test]
    fn an_accept_names_the_peer_also_when_its_descriptor_is_another_connections() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let (peer, local) =
            (stream.peer_addr().expect("connected").to_string(), stream.local_addr().expect("connected").to_string());
        let own = (Some(peer.clone()), Some(local));
        let elsewhere = || Some("192.0.2.1:4".to_owned());
        assert_eq!(ends(&stream, |_| Vec::new()), own, "asked");
        assert_eq!(ends(&stream, |fd| vec![What::Accept { fd, peer: Some(peer.clone()) }]), own, "told");
        assert_eq!(ends(&stream, |fd| vec![What::Accept { fd, peer: elsewhere() }]), (elsewhere(), None), "used anew since");
        assert_eq!(ends(&stream, |fd| vec![What::Accept { fd, peer: None }]), own, "not told");
        let anywhere = |fd| vec![What::Connect { fd, result: 0, peer: Some("0.0.0.0:4".to_owned()) }];
        assert_eq!(ends(&stream, anywhere), own, "to no address in particular");
        let closed = |fd| vec![What::Accept { fd, peer: elsewhere() }, What::FdClosed { fd, asked: 0, answered: 0 }];
        assert_eq!(ends(&stream, closed), own, "closed");
    }

    #[test]
    fn a_file_is_named_from_where_its_process_is_and_a_rename_by_both_names() {
        let (pid, here) = (std::process::id(), std::env::current_dir().expect("somewhere").display().to_string());
        let file = |tid, done, directory, path: &str| Event {
            time: 0,
            tgid: pid,
            tid,
            what: What::File { done, directory, path: path.into() },
        };
        let (op, new) = (FileDone::Op, FileDone::RenamedTo);
        let seen = [
            file(1, op(FileOp::Create), libc::AT_FDCWD, "/srv/a"),
            file(1, op(FileOp::Write), libc::AT_FDCWD, "./b"),
            file(1, op(FileOp::Unlink), 7, "c"),
            file(1, op(FileOp::Rename), libc::AT_FDCWD, "/srv/d"),
            file(2, op(FileOp::Rename), libc::AT_FDCWD, "/srv/e"),
            file(1, new, libc::AT_FDCWD, "d2"),
            file(2, new, libc::AT_FDCWD, "/srv/e2"),
            file(3, new, libc::AT_FDCWD, "/srv/f2"),
        ];
        let (mut events, mut out, facts) = (Events::new(0), Vec::new(), Facts::here(Host::new(0, Vec::new(), None)));
        seen.into_iter().for_each(|event| events.translate(event, &facts, &mut out));
        let told: Vec<_> = out
            .iter()
            .map(|observation| match &observation.what {
                Seen::File(file) => (file.op, file.path.to_string(), file.to.as_deref().map(str::to_owned)),
                other => panic!("no file: {other:?}"),
            })
            .collect();
        let wanted = [
            (FileOp::Create, "/srv/a".to_owned(), None),
            (FileOp::Write, format!("{here}/b"), None),
            (FileOp::Unlink, "c".to_owned(), None),
            (FileOp::Rename, "/srv/d".to_owned(), Some(format!("{here}/d2"))),
            (FileOp::Rename, "/srv/e".to_owned(), Some("/srv/e2".to_owned())),
        ];
        assert_eq!(told, wanted);
    }
}
