//! A capture under way: drains the ring, follows processes, attaches to libraries as they appear.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::time::{Duration, Instant};

use agent_wire::{counter, tracked};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::BorrowedFd;

use super::events::Events;
use super::kernel::{Kernel, Link};
use super::libraries::{Catalogue, Inode, Library, inode_of, installed, mapped};
use super::scope::{Scope, is_agent_program, is_model_host, speaks_as_agent};
use super::{Settings, StartError, Status, preflight, processes};
use crate::base::{Direction, LossCause, Timestamp};
use crate::capture::ring::{self, What};
use crate::capture::{Exec, Loss, Observation, Role, Seen};

/// Between two looks at the ring while it is quiet: bounds the delay of an event that woke nobody.
const QUIET: Duration = Duration::from_millis(2);

/// Young processes are looked at again after these: the loader maps libraries after exec.
const LOOK_AGAIN: [Duration; 5] = [
    Duration::from_millis(3),
    Duration::from_millis(15),
    Duration::from_millis(60),
    Duration::from_millis(250),
    Duration::from_secs(1),
];

/// Bytes held per process until it is known whether it is an agent. An LLM request with a long history fits; one that talks
/// about other things for longer than this is no agent by its first words.
const HELD_BYTES: usize = 1 << 20;
const HELD_TOTAL: usize = 32 << 20;

pub struct Session {
    settings: Settings,
    kernel: Kernel,
    events: Events,
    catalogue: Catalogue,
    libraries: BTreeMap<Inode, (Library, Vec<Link>)>,
    /// Young processes: when to look next, and which look it is.
    young: HashMap<u32, (Instant, usize)>,
    people: People,
    counted: Vec<u64>,
    counted_at: Instant,
    translated: Vec<Observation>,
}

/// Processes by what is known of them.
#[derive(Default)]
struct People {
    agents: HashSet<u32>,
    /// Identity of those that are no agents (yet).
    others: HashMap<u32, Observation>,
    parents: HashMap<u32, u32>,
    held: HashMap<u32, Held>,
    held_total: usize,
}

#[derive(Default)]
struct Held {
    bytes: usize,
    observations: Vec<Observation>,
    /// More was said than fits, so this one is no agent by its first words.
    full: bool,
}

impl Session {
    /// Loads, attaches and looks at everything that runs. On error nothing stays behind.
    pub fn start(settings: Settings) -> Result<Session, StartError> {
        preflight()?;
        let mut kernel = Kernel::load(settings.ring_bytes, settings.call_bytes)?;
        // Plaintext of everybody reaches the daemon; who is no agent is dropped at the door of `poll`.
        kernel.track(0, tracked::CONTENT | tracked::SYSCALLS);
        kernel.attach_events()?;
        let events = Events::new(boot_time());
        let mut session = Session {
            settings,
            kernel,
            events,
            catalogue: Catalogue::default(),
            libraries: BTreeMap::new(),
            young: HashMap::new(),
            people: People::default(),
            counted: vec![0; counter::COUNT as usize],
            counted_at: Instant::now(),
            translated: Vec::new(),
        };
        for path in installed() {
            if let Some(inode) = inode_of(&path) {
                session.look(&path, inode)?;
            }
        }
        for pid in processes::all() {
            session.kernel.note_stdio(pid, processes::stdio(pid));
            session.look_at(pid)?;
            if let Some(exec) = processes::identity(pid, session.events.boot) {
                let ts = Timestamp(exec.start.unwrap_or(0));
                session.translated.push(Observation { ts, what: Seen::Exec(exec) });
            }
        }
        Ok(session)
    }

    /// Waits at most `timeout`, then hands on what there is.
    pub fn poll(&mut self, timeout: Duration, out: &mut Vec<Observation>) -> io::Result<()> {
        let deadline = Instant::now() + timeout;
        loop {
            let drained = self.drain();
            self.look_at_young();
            self.count_losses();
            if drained || !self.translated.is_empty() {
                self.admit(out);
            }
            if !out.is_empty() || Instant::now() >= deadline {
                return Ok(());
            }
            // SAFETY: the ring's descriptor lives as long as `self.kernel`.
            let ring = unsafe { BorrowedFd::borrow_raw(self.kernel.ring_fd()) };
            let wait = Timespec { tv_sec: 0, tv_nsec: i64::from(QUIET.subsec_nanos()) };
            match poll(&mut [PollFd::new(&ring, PollFlags::IN)], Some(&wait)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Detaches, then hands on what was still in the ring.
    pub fn stop(&mut self, out: &mut Vec<Observation>) {
        for (_, (_, links)) in std::mem::take(&mut self.libraries) {
            for link in links {
                self.kernel.detach(link);
            }
        }
        self.kernel.untrack(0);
        self.drain();
        self.counted_at = Instant::now() - Duration::from_secs(1);
        self.count_losses();
        self.admit(out);
    }

    pub fn status(&self) -> Status {
        const NAMES: [(&str, u32); 14] = [
            ("hits", counter::HITS),
            ("chunks", counter::CHUNKS),
            ("delivered", counter::DELIVERED),
            ("delivered_bytes", counter::DELIVERED_BYTES),
            ("ring_full", counter::RING_FULL),
            ("ring_full_bytes", counter::RING_FULL_BYTES),
            ("read_fault", counter::READ_FAULT),
            ("read_fault_bytes", counter::READ_FAULT_BYTES),
            ("truncated", counter::TRUNCATED),
            ("truncated_bytes", counter::TRUNCATED_BYTES),
            ("filtered", counter::FILTERED),
            ("events_lost", counter::EVENTS_LOST),
            ("unpaired", counter::UNPAIRED),
            ("retried", counter::RETRIED),
        ];
        let values = self.kernel.counters();
        let mut agents: Vec<u32> = self.people.agents.iter().copied().collect();
        agents.sort_unstable();
        Status {
            libraries: self
                .libraries
                .values()
                .map(|(library, links)| (library.path.display().to_string(), library.family.name(), links.len()))
                .collect(),
            agents,
            counters: NAMES.iter().map(|(name, index)| (*name, values.get(*index as usize).copied().unwrap_or(0))).collect(),
            connections: self.events.connections(),
        }
    }

    /// Empties the ring into `translated`.
    fn drain(&mut self) -> bool {
        let mut any = false;
        while let Some(item) = self.kernel.ring.next() {
            any = true;
            let Some(event) = ring::event(&item) else { continue };
            if let What::Exec { .. } = event.what {
                self.young.insert(event.tgid, (Instant::now(), 0));
            }
            self.events.translate(event, &mut self.translated);
        }
        any
    }

    fn look_at_young(&mut self) {
        let now = Instant::now();
        let due: Vec<u32> = self.young.iter().filter(|(_, (at, _))| *at <= now).map(|(pid, _)| *pid).collect();
        for pid in due {
            // A library that cannot be attached to is a blind spot of that process, not the end of the daemon.
            let _ = self.look_at(pid);
            let Some((at, round)) = self.young.get_mut(&pid) else { continue };
            match LOOK_AGAIN.get(*round) {
                Some(pause) => {
                    *at = now + *pause;
                    *round += 1;
                }
                None => {
                    self.young.remove(&pid);
                }
            }
        }
    }

    /// Attaches to the libraries that a process has mapped and that are not attached yet.
    fn look_at(&mut self, pid: u32) -> Result<(), StartError> {
        for file in mapped(pid) {
            if !self.catalogue.is_known(file.inode) {
                let inode = inode_of(&file.path).unwrap_or(file.inode);
                self.look(&file.path, inode)?;
            }
        }
        Ok(())
    }

    fn look(&mut self, path: &std::path::Path, inode: Inode) -> Result<(), StartError> {
        let Some(library) = self.catalogue.look(path, inode) else { return Ok(()) };
        let mut links = Vec::new();
        let handle = library.handle();
        for site in &library.sites {
            links.push(self.kernel.attach(site.program, &handle, site.offset, None, site.cookie)?);
        }
        self.libraries.insert(inode, (library, links));
        Ok(())
    }

    /// Loss that no connection was told of: chunks that found no room.
    fn count_losses(&mut self) {
        if self.counted_at.elapsed() < Duration::from_millis(100) {
            return;
        }
        self.counted_at = Instant::now();
        let values = self.kernel.counters();
        for (cause, count, bytes) in [
            (LossCause::RingFull, counter::RING_FULL, Some(counter::RING_FULL_BYTES)),
            (LossCause::Other("event_lost".into()), counter::EVENTS_LOST, None),
        ] {
            let grown = |index: u32| values[index as usize] - self.counted[index as usize];
            if grown(count) > 0 {
                let loss = Loss { cause, count: grown(count), pid: None, conn: None, dir: None, bytes: bytes.map(grown) };
                self.translated.push(Observation { ts: now(), what: Seen::Loss(loss) });
            }
        }
        self.counted = values;
    }

    /// Lets through what belongs to watched processes.
    fn admit(&mut self, out: &mut Vec<Observation>) {
        let translated = std::mem::take(&mut self.translated);
        if self.settings.scope == Scope::All {
            out.extend(translated);
            return;
        }
        for observation in translated {
            self.admit_one(observation, out);
        }
    }

    fn admit_one(&mut self, observation: Observation, out: &mut Vec<Observation>) {
        let pid = match &observation.what {
            Seen::Exec(exec) => {
                if let Some(parent) = exec.ppid {
                    self.people.parents.insert(exec.pid, parent);
                }
                let known = self.is_watched(exec.pid) || self.is_agent_by_identity(exec);
                let pid = exec.pid;
                if known {
                    self.adopt(pid, out);
                    out.push(observation);
                } else {
                    self.people.others.insert(pid, observation);
                }
                return;
            }
            Seen::Fork { pid, ppid } => {
                self.people.parents.insert(*pid, *ppid);
                *pid
            }
            Seen::Exit { pid, .. } => {
                let pid = *pid;
                self.forget(pid, observation, out);
                return;
            }
            Seen::Loss(Loss { pid: None, .. }) => {
                out.push(observation);
                return;
            }
            Seen::Socket(socket) => socket.pid,
            Seen::Chunk(chunk) => chunk.pid,
            Seen::Close { pid, .. } => *pid,
            Seen::Loss(Loss { pid: Some(pid), .. }) => *pid,
            Seen::File(file) => file.pid,
        };
        if self.is_watched(pid) {
            out.push(observation);
        } else if self.settings.scope == Scope::Auto && self.recognise(&observation) {
            self.adopt(pid, out);
            out.push(observation);
        } else {
            self.hold(pid, observation);
        }
    }

    fn is_agent_by_identity(&self, exec: &Exec) -> bool {
        let selected = self.settings.selectors.select(exec);
        selected || (self.settings.scope == Scope::Auto && is_agent_program(exec))
    }

    fn recognise(&self, observation: &Observation) -> bool {
        match &observation.what {
            // A server that answers model calls or MCP is no agent by that: only who asks is.
            Seen::Chunk(chunk) if chunk.dir == Direction::Out && chunk.role != Some(Role::Server) => {
                let start = chunk.off.is_none_or(|offset| offset < 16 << 10);
                chunk.sni.as_deref().is_some_and(is_model_host) || (start && speaks_as_agent(chunk.data.expose_content()))
            }
            _ => false,
        }
    }

    /// True for agents and their descendants.
    fn is_watched(&mut self, pid: u32) -> bool {
        let mut line = vec![pid];
        let mut at = pid;
        // Deeper lines than this are made to cost us time.
        for _ in 0..64 {
            if self.people.agents.contains(&at) {
                self.people.agents.extend(line);
                return true;
            }
            match self.people.parents.get(&at) {
                Some(parent) if *parent > 1 => at = *parent,
                _ => return false,
            }
            line.push(at);
        }
        false
    }

    /// Makes an agent of a process: its ancestors' identity and its own first words go out now.
    fn adopt(&mut self, pid: u32, out: &mut Vec<Observation>) {
        self.people.agents.insert(pid);
        let mut line = Vec::new();
        let mut at = Some(pid);
        while let Some(person) = at.filter(|_| line.len() < 64) {
            line.extend(self.people.others.remove(&person));
            at = self.people.parents.get(&person).copied().filter(|parent| *parent > 0);
        }
        out.extend(line.into_iter().rev());
        if let Some(held) = self.people.held.remove(&pid) {
            self.people.held_total -= held.bytes;
            out.extend(held.observations);
        }
    }

    fn hold(&mut self, pid: u32, observation: Observation) {
        if self.settings.scope == Scope::Match {
            return;
        }
        let bytes = match &observation.what {
            Seen::Chunk(chunk) => chunk.data.expose_content().len() + 256,
            _ => 256,
        };
        let held = self.people.held.entry(pid).or_default();
        if held.full || held.bytes + bytes > HELD_BYTES || self.people.held_total + bytes > HELD_TOTAL {
            self.people.held_total -= held.bytes;
            *held = Held { full: true, ..Held::default() };
            return;
        }
        held.bytes += bytes;
        self.people.held_total += bytes;
        held.observations.push(observation);
    }

    fn forget(&mut self, pid: u32, observation: Observation, out: &mut Vec<Observation>) {
        if self.is_watched(pid) {
            out.push(observation);
        }
        self.people.agents.remove(&pid);
        self.people.others.remove(&pid);
        if let Some(held) = self.people.held.remove(&pid) {
            self.people.held_total -= held.bytes;
        }
        self.young.remove(&pid);
    }
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Epoch time at which the boot clock was zero.
fn boot_time() -> u64 {
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let since_boot = u64::try_from(boot.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(boot.tv_nsec).unwrap_or(0);
    now().0 - since_boot
}
