//! What the host knows of processes: `/proc`, their sockets, what the kernel counted. Whoever may ask does ([`Host`]); whoever may not
//! asks that one over a socket.
//!
//! Answers are facts of the host and no captured content. A question that gets none is answered as if the process were gone.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use aya::maps::{HashMap as BpfHashMap, MapData};
use serde::{Deserialize, Serialize};

use super::ledger::{Counted, Passed};
use super::{processes, rings};
use crate::base::Sensitive;
use crate::capture::Exec;
use crate::relay;

#[derive(Debug, Serialize, Deserialize)]
enum Question {
    Everybody,
    Program(u32),
    Group(u64),
    Addresses(u32, i32),
    Marked(u32),
    HasRing(u32),
    Sockets(u32),
    Passed(Vec<Counted>),
    Touched(u32),
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Everybody(Vec<Person>),
    Program(Program),
    Group(Option<String>),
    Addresses(Option<Ends>),
    Yes(bool),
    Sockets(Vec<Tcp>),
    Passed(Vec<Option<Passed>>),
    Inodes(HashSet<u64>),
}

/// A process that runs.
#[derive(Debug, Serialize, Deserialize)]
struct Person {
    pid: u32,
    ppid: Option<u32>,
    start: Option<u64>,
    uid: Option<u32>,
    exe: String,
    argv: Vec<String>,
    cwd: Option<String>,
    cgroup: Option<String>,
}

/// What `/proc` says of a process that has just started a program.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Program {
    pub(super) exe: Option<String>,
    pub(super) cwd: Option<String>,
    pub(super) cgroup: Option<String>,
    /// Parent, and start in nanoseconds since the epoch.
    pub(super) birth: Option<(u32, u64)>,
}

/// Local and peer address.
pub(super) type Ends = (Option<String>, String);

/// A TCP socket of a process and what passed it, in bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Tcp {
    pub(super) fd: i32,
    pub(super) inode: u64,
    pub(super) sent: u64,
    pub(super) received: u64,
}

/// The one who may look.
pub struct Host {
    /// Epoch time of boot, nanoseconds.
    boot: u64,
    /// Environment variables that mark an agent.
    environment: Vec<String>,
    /// `FileState` of the kernel side, by file and process.
    files: Option<BpfHashMap<MapData, [u64; 2], [u64; 5]>>,
    groups: Mutex<Groups>,
}

/// Control groups by number, and when they were last looked at.
#[derive(Default)]
struct Groups {
    known: HashMap<u64, String>,
    looked_at: Option<Instant>,
}

/// Control groups that are remembered by number. More than these are looked for, in vain, each time that one of them is met.
const GROUPS: usize = 4096;

/// Between two looks at all control groups: somebody may make new ones without end.
const LOOK: Duration = Duration::from_millis(100);

impl Host {
    pub(super) fn new(boot: u64, environment: Vec<String>, files: Option<BpfHashMap<MapData, [u64; 2], [u64; 5]>>) -> Host {
        Host { boot, environment, files, groups: Mutex::default() }
    }

    /// Answers at the other end of `socket`, until that is closed or says what nobody of ours says.
    pub fn serve(&self, socket: &UnixStream) -> io::Result<()> {
        while let Some(question) = relay::receive(socket, &mut Vec::new())? {
            relay::send(socket, &self.answer(&question), &[])?;
        }
        Ok(())
    }

    fn answer(&self, question: &Question) -> Answer {
        match question {
            Question::Everybody => {
                let known = processes::all().into_iter().filter_map(|pid| processes::identity(pid, self.boot));
                Answer::Everybody(known.map(|exec| Person::of(&exec)).collect())
            }
            Question::Program(pid) => Answer::Program(Program {
                // Where the process still lives, /proc has the resolved name; a script's interpreter, not the script.
                exe: fs::read_link(format!("/proc/{pid}/exe")).map(|path| path.to_string_lossy().into_owned()).ok(),
                cwd: processes::cwd(*pid).map(|path| path.to_string()),
                cgroup: processes::cgroup(*pid).map(|path| path.to_string()),
                birth: processes::parent_and_start(*pid, self.boot),
            }),
            Question::Group(number) => Answer::Group(self.group(*number)),
            Question::Addresses(pid, fd) => Answer::Addresses(processes::addresses(*pid, *fd)),
            Question::Marked(pid) => Answer::Yes(processes::has_environment(*pid, &self.environment)),
            Question::HasRing(pid) => Answer::Yes(rings::has_ring(*pid)),
            Question::Sockets(pid) => Answer::Sockets(rings::sockets(*pid)),
            Question::Passed(asked) => Answer::Passed(asked.iter().map(|counted| self.passed(*counted)).collect()),
            Question::Touched(pid) => Answer::Inodes(self.touched(*pid)),
        }
    }

    /// The path of a control group of the unified hierarchy by its number, for processes that are gone before they are looked at.
    fn group(&self, number: u64) -> Option<String> {
        let mut groups = self.groups.lock().ok()?;
        if !groups.known.contains_key(&number) && groups.looked_at.is_none_or(|at| at.elapsed() >= LOOK) {
            *groups = Groups { known: processes::groups().into_iter().take(GROUPS).collect(), looked_at: Some(Instant::now()) };
        }
        groups.known.get(&number).cloned()
    }

    /// What passed a TLS socket; `None` when the kernel forgot it.
    fn passed(&self, counted: Counted) -> Option<Passed> {
        let key = [counted.file, u64::from(counted.pid)];
        let [generation, _, asked, answered, _] = self.files.as_ref()?.get(&key, 0).ok()?;
        (generation == counted.generation).then_some(Passed { asked, answered })
    }

    /// Inodes of sockets and pipes that system calls of a process were seen on.
    fn touched(&self, pid: u32) -> HashSet<u64> {
        let files = self.files.iter().flat_map(BpfHashMap::iter).filter_map(Result::ok);
        files.filter(|([_, process], _)| *process == u64::from(pid)).map(|(_, [_, inode, ..])| inode).collect()
    }
}

type Ask = dyn Fn(&Question) -> Option<Answer> + Send;

/// The one who asks.
pub(super) struct Facts(Box<Ask>);

impl Facts {
    /// In this very process.
    pub(super) fn here(host: Host) -> Facts {
        Facts(Box::new(move |question| Some(host.answer(question))))
    }

    /// Of whoever serves the other end.
    pub(super) fn of(socket: UnixStream) -> Facts {
        Facts(Box::new(move |question| {
            relay::send(&socket, question, &[]).ok()?;
            relay::receive(&socket, &mut Vec::new()).ok()?
        }))
    }

    pub(super) fn everybody(&self) -> Vec<Exec> {
        match (self.0)(&Question::Everybody) {
            Some(Answer::Everybody(people)) => people.into_iter().map(Person::exec).collect(),
            _ => Vec::new(),
        }
    }

    pub(super) fn program(&self, pid: u32) -> Program {
        match (self.0)(&Question::Program(pid)) {
            Some(Answer::Program(program)) => program,
            _ => Program::default(),
        }
    }

    /// The path of a control group by its number.
    pub(super) fn group(&self, number: u64) -> Option<String> {
        match (self.0)(&Question::Group(number)) {
            Some(Answer::Group(path)) => path,
            _ => None,
        }
    }

    pub(super) fn addresses(&self, pid: u32, fd: i32) -> Option<Ends> {
        match (self.0)(&Question::Addresses(pid, fd)) {
            Some(Answer::Addresses(ends)) => ends,
            _ => None,
        }
    }

    /// True when it has an environment variable that marks an agent.
    pub(super) fn marked(&self, pid: u32) -> bool {
        matches!((self.0)(&Question::Marked(pid)), Some(Answer::Yes(true)))
    }

    /// True when it has a ring of io_uring.
    pub(super) fn has_ring(&self, pid: u32) -> bool {
        matches!((self.0)(&Question::HasRing(pid)), Some(Answer::Yes(true)))
    }

    pub(super) fn sockets(&self, pid: u32) -> Vec<Tcp> {
        match (self.0)(&Question::Sockets(pid)) {
            Some(Answer::Sockets(sockets)) => sockets,
            _ => Vec::new(),
        }
    }

    /// What passed those sockets, where the kernel still knows it.
    pub(super) fn passed(&self, counted: Vec<Counted>) -> HashMap<Counted, Passed> {
        if counted.is_empty() {
            return HashMap::new();
        }
        let question = Question::Passed(counted);
        match ((self.0)(&question), question) {
            (Some(Answer::Passed(passed)), Question::Passed(counted)) => {
                counted.into_iter().zip(passed).filter_map(|(counted, passed)| Some((counted, passed?))).collect()
            }
            _ => HashMap::new(),
        }
    }

    /// Inodes of sockets and pipes that system calls of a process were seen on.
    pub(super) fn touched(&self, pid: u32) -> HashSet<u64> {
        match (self.0)(&Question::Touched(pid)) {
            Some(Answer::Inodes(inodes)) => inodes,
            _ => HashSet::new(),
        }
    }
}

impl Person {
    fn of(exec: &Exec) -> Person {
        let text = |text: &Arc<str>| text.to_string();
        Person {
            pid: exec.pid,
            ppid: exec.ppid,
            start: exec.start,
            uid: exec.uid,
            exe: text(&exec.exe),
            argv: exec.argv.expose_content().iter().map(text).collect(),
            cwd: exec.cwd.as_ref().map(text),
            cgroup: exec.cgroup.as_ref().map(text),
        }
    }

    fn exec(self) -> Exec {
        Exec {
            pid: self.pid,
            ppid: self.ppid,
            start: self.start,
            uid: self.uid,
            exe: self.exe.into(),
            argv: Sensitive::new(self.argv.into_iter().map(Arc::from).collect()),
            cwd: self.cwd.map(Arc::from),
            cgroup: self.cgroup.map(Arc::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    use super::*;

    /// The same questions about this very process, asked here and over a socket.
    #[test]
    fn an_answer_is_the_same_from_afar() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let (fd, pid) = (stream.as_raw_fd(), std::process::id());
        let (one, other) = UnixStream::pair().expect("a pair of sockets");
        let far = std::thread::spawn(move || Host::new(5, vec!["PATH".into()], None).serve(&other));
        let (here, afar) = (Facts::here(Host::new(5, vec!["PATH".into()], None)), Facts::of(one));
        let peer = listener.local_addr().expect("bound").to_string();
        for facts in [&here, &afar] {
            assert_eq!(facts.addresses(pid, fd).map(|(_, peer)| peer).as_ref(), Some(&peer));
            assert_eq!(facts.addresses(pid, 9999), None);
            assert_eq!(facts.marked(pid), std::env::var_os("PATH").is_some());
            let me = facts.everybody().into_iter().find(|exec| exec.pid == pid).expect("it runs");
            let program = facts.program(pid);
            assert_eq!(program.exe.as_deref(), Some(&*me.exe));
            assert_eq!(program.birth, me.ppid.zip(me.start));
            let groups = crate::probes::processes::groups();
            assert!(groups.first().is_none_or(|(number, path)| facts.group(*number).as_ref() == Some(path)));
            assert_eq!(facts.group(0), None);
            assert!(facts.sockets(pid).iter().any(|socket| socket.fd == fd));
            let counted = Counted { pid, file: 1, generation: 1 };
            assert!(facts.passed(vec![counted]).is_empty() && facts.touched(pid).is_empty(), "no kernel side here");
        }
        drop(afar);
        far.join().expect("no panic").expect("the socket was closed");
    }
}
