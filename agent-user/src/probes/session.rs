//! A capture under way: drains the ring, follows processes, attaches to libraries as they appear.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use agent_wire::{counter, tracked};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::BorrowedFd;

use super::attachments::{Attachments, Moved};
use super::audit::Audit;
use super::events::Events;
use super::kernel::{Kernel, Link};
use super::ledger::{Ledger, Spot};
use super::people::{Change, People};
use super::rings::Rings;
use super::scope::Scope;
use super::spots::Spots;
use super::{Settings, StartError, Status, preflight, processes};
use crate::base::{LossCause, Timestamp};
use crate::capture::ring::{self, What};
use crate::capture::{Loss, Observation, Seen};

/// Between two looks at the ring: bounds the delay of an event that woke nobody. Longer when nothing came for a while.
const BUSY: Duration = Duration::from_millis(2);
const QUIET: Duration = Duration::from_millis(8);
const LULL: Duration = Duration::from_millis(250);

/// What is taken from the ring at once.
const PORTION_BYTES: usize = 1 << 20;
const PORTION_RECORDS: usize = 4096;

/// Between two looks at the counters of loss, and at budgets and bystanders.
const LOSSES: Duration = Duration::from_millis(100);
const LOOK_AROUND: Duration = Duration::from_millis(100);

/// Between two looks at what is not seen.
const COVERAGE: Duration = Duration::from_millis(250);

/// Young processes are looked at again after these: the loader maps libraries after exec.
const LOOK_AGAIN: [Duration; 7] = [
    Duration::from_millis(3),
    Duration::from_millis(15),
    Duration::from_millis(60),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(4),
    Duration::from_secs(15),
];

pub struct Session {
    settings: Settings,
    kernel: Kernel,
    events: Events,
    attachments: Attachments,
    /// Links to events; those to system calls only while somebody may be watched.
    process_events: Vec<Link>,
    socket_events: Vec<Link>,
    /// Young processes: when to look next, and which look it is.
    young: HashMap<u32, (Instant, usize)>,
    people: People,
    counted: Vec<u64>,
    counted_at: Instant,
    looked_at: Instant,
    busy_at: Instant,
    wakeups: u64,
    ledger: Ledger,
    rings: Rings,
    audit: Audit,
    spots: Spots,
    covered_at: Instant,
    /// Chunks lost when coverage was last looked at: afterwards nobody knows whose plaintext is missing.
    lost: u64,
    translated: Vec<Observation>,
    passed: Vec<Observation>,
}

impl Session {
    /// Loads, attaches and looks at everything that runs. On error nothing stays behind.
    pub fn start(settings: Settings) -> Result<Session, StartError> {
        preflight()?;
        raise_file_limit();
        let mut kernel = Kernel::load(settings.ring_bytes, settings.call_bytes, settings.empty)?;
        // Whoever is not known yet is listened to: who is no agent is dropped at the door of `poll`, then in the kernel.
        kernel.judge_others(tracked::CONTENT | tracked::SYSCALLS);
        let process_events = kernel.attach_process_events()?;
        let events = Events::new(boot_time());
        let mut session = Session {
            settings,
            kernel,
            events,
            attachments: Attachments::start()?,
            process_events,
            socket_events: Vec::new(),
            young: HashMap::new(),
            people: People::default(),
            counted: vec![0; counter::COUNT as usize],
            counted_at: Instant::now(),
            looked_at: Instant::now(),
            busy_at: Instant::now(),
            wakeups: 0,
            ledger: Ledger::default(),
            rings: Rings::default(),
            audit: Audit::default(),
            spots: Spots::default(),
            covered_at: Instant::now(),
            lost: 0,
            translated: Vec::new(),
            passed: Vec::new(),
        };
        for pid in processes::all() {
            session.kernel.note_stdio(pid, processes::stdio(pid));
            if session.settings.scope == Scope::All {
                session.rings.look_for(pid);
            }
            if let Some(exec) = processes::identity(pid, session.events.boot) {
                let ts = Timestamp(exec.start.unwrap_or(0));
                session.translated.push(Observation { ts, what: Seen::Exec(exec) });
            }
        }
        // Verdicts first: probes that begin with a known bystander's hits would end at once.
        session.admit();
        if session.settings.scope != Scope::Match && session.socket_events.is_empty() {
            session.socket_events = session.kernel.attach_socket_events()?;
        }
        session.attachments.look_ahead(&mut session.kernel, &session.settings.programs)?;
        for pid in processes::all() {
            session.attachments.look_at(&mut session.kernel, pid, false)?;
        }
        session.attachments.hurry();
        give_back_memory();
        Ok(session)
    }

    /// Waits at most `timeout`, then hands on what there is: a bounded portion, so that a flood is worked through at the pace of
    /// what follows, and what finds no room meanwhile is counted in the kernel.
    pub fn poll(&mut self, timeout: Duration, out: &mut Vec<Observation>) -> io::Result<()> {
        let deadline = Instant::now() + timeout;
        loop {
            let more = self.drain();
            let now = Instant::now();
            if !self.translated.is_empty() {
                self.busy_at = now;
            }
            self.look_at_young(now);
            self.look_around(now);
            self.look_for_blind_spots(now);
            self.count_losses(now);
            self.admit();
            out.append(&mut self.passed);
            if more || !out.is_empty() || now >= deadline {
                return Ok(());
            }
            let quiet = if now.duration_since(self.busy_at) < LULL { BUSY } else { QUIET };
            self.sleep(quiet.min(deadline - now))?;
        }
    }

    fn sleep(&mut self, pause: Duration) -> io::Result<()> {
        self.kernel.sleeps(true);
        // SAFETY: the ring's descriptor lives as long as `self.kernel`.
        let ring = unsafe { BorrowedFd::borrow_raw(self.kernel.ring_fd()) };
        let wait = Timespec { tv_sec: 0, tv_nsec: i64::from(pause.subsec_nanos()) };
        let woken = poll(&mut [PollFd::new(&ring, PollFlags::IN)], Some(&wait));
        self.kernel.sleeps(false);
        self.wakeups += 1;
        match woken {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Detaches, then hands on what was still in the ring.
    pub fn stop(&mut self, out: &mut Vec<Observation>) {
        self.attachments.detach_all();
        self.process_events.clear();
        self.socket_events.clear();
        // A portion is as much as is held at once: each must leave before the next is taken.
        while self.drain() {
            self.admit();
        }
        self.count_losses(Instant::now() + LOSSES);
        self.admit();
        out.append(&mut self.passed);
    }

    pub fn status(&self) -> Status {
        const NAMES: [(&str, u32); 15] = [
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
            ("woken", counter::WOKEN),
        ];
        let values = self.kernel.counters();
        let mut agents: Vec<u32> = self.people.agents.iter().copied().collect();
        agents.sort_unstable();
        Status {
            libraries: self.attachments.status(&self.kernel),
            blind: self.spots.latest(),
            audited: self.audit.sound,
            agents,
            counters: NAMES.iter().map(|(name, index)| (*name, values.get(*index as usize).copied().unwrap_or(0))).collect(),
            connections: self.events.connections(),
            wakeups: self.wakeups,
        }
    }

    /// Takes a portion of the ring into `translated`; true when there is more.
    fn drain(&mut self) -> bool {
        let mut bytes = 0;
        while bytes < PORTION_BYTES && self.translated.len() < PORTION_RECORDS {
            let Some(item) = self.kernel.ring.next() else { return false };
            bytes += item.len();
            let Some(event) = ring::event(&item) else { continue };
            drop(item);
            match event.what {
                What::Exec { ref exe, .. } => {
                    // The process may end before it is looked at: then the file is known when it next runs.
                    self.attachments.expect(std::path::Path::new(exe));
                    self.young.insert(event.tgid, (Instant::now(), 0));
                }
                // A thread is told of like a process.
                What::Fork { child, .. } if self.attachments.has_own(event.tgid) && processes::is_process(child) => {
                    // Refused: it is not watched until it connects.
                    let _ = self.attachments.inherit(&mut self.kernel, event.tgid, child);
                    self.judge(child, tracked::CONTENT | tracked::SYSCALLS);
                }
                What::IoUring => self.rings.made(event.tgid),
                What::Exit => {
                    self.rings.gone(event.tgid);
                    self.audit.gone(event.tgid);
                }
                _ => {}
            }
            let (kernel, events) = (&self.kernel, &self.events);
            let peer = |fd| events.peer(event.tgid, fd);
            for spot in self.ledger.see(&event, Instant::now(), peer, |counted| kernel.passed(counted)) {
                self.tell(&spot);
            }
            self.events.translate(event, &mut self.translated);
        }
        true
    }

    fn look_at_young(&mut self, now: Instant) {
        if self.young.is_empty() {
            return;
        }
        let due: Vec<u32> = self.young.iter().filter(|(_, (at, _))| *at <= now).map(|(pid, _)| *pid).collect();
        for pid in due {
            self.look_at(pid, !self.people.is_bystander(pid));
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

    /// A library that cannot be attached to is a blind spot of that process, not the end of the daemon.
    fn look_at(&mut self, pid: u32, wanted: bool) {
        let had = self.attachments.own_bits(pid);
        let _ = self.attachments.look_at(&mut self.kernel, pid, wanted);
        if had != self.attachments.own_bits(pid) {
            self.judge(pid, tracked::CONTENT | tracked::SYSCALLS);
        }
    }

    fn judge(&mut self, pid: u32, flags: u32) {
        self.kernel.judge(pid, flags | self.attachments.own_bits(pid));
    }

    /// Now and then: who may be suspected again, and whose budget is spent.
    fn look_around(&mut self, now: Instant) {
        if now.duration_since(self.looked_at) < LOOK_AROUND {
            return;
        }
        self.looked_at = now;
        self.people.tick(now, self.settings.scope);
        self.attachments.widen(&mut self.kernel);
        if !self.attachments.overspent(&self.kernel) {
            return;
        }
        let wanted = self.people.wanted();
        // Refused: a process that stays without probes of its own until it connects.
        if let Ok(moved) = self.attachments.narrow(&mut self.kernel, &wanted, self.people.bystanders()) {
            self.hand_over(moved);
        }
    }

    /// Now and then: connections that nothing is read of, places that turned out to be others, breakpoints that are gone.
    fn look_for_blind_spots(&mut self, now: Instant) {
        if now.duration_since(self.covered_at) < COVERAGE || self.settings.empty {
            return;
        }
        self.covered_at = now;
        let kernel = &self.kernel;
        let lost = kernel.counters()[counter::RING_FULL as usize];
        let lossy = lost > std::mem::replace(&mut self.lost, lost);
        let mut spots = self.ledger.judge(now, lossy, |counted| kernel.passed(counted));
        let ledger = &self.ledger;
        spots.extend(self.rings.look(
            now,
            |pid| kernel.touched(pid),
            |pid, fd| ledger.reads(pid, fd),
            |pid| ledger.loose_of(pid) > 0,
        ));
        let watched =
            || if self.settings.scope == Scope::All { processes::all() } else { self.people.agents.iter().copied().collect() };
        spots.extend(self.audit.step(now, watched, |pid, inode| self.attachments.probed(pid, inode)));
        for (what, users) in self.attachments.refute(&mut self.kernel, processes::all) {
            tracing::warn!("{what} is not what it was taken for: it is not probed any more");
            let spot = |pid| Spot { pid, why: "probe_refuted", what: what.clone(), socket: None, bytes: None };
            spots.extend(users.into_iter().map(spot));
        }
        for spot in spots {
            self.tell(&spot);
        }
    }

    /// Whether its process is watched is decided at the door, as for all that is told of a process.
    fn tell(&mut self, spot: &Spot) {
        self.spots.tell(now(), spot, &mut self.translated);
        if self.settings.scope == Scope::All || self.people.agents.contains(&spot.pid) {
            self.spots.keep(spot);
        }
    }

    fn hand_over(&mut self, moved: Moved) {
        for pid in moved.processes {
            self.judge(pid, tracked::CONTENT | tracked::SYSCALLS);
        }
        if !moved.links.is_empty() {
            self.kernel.detach(moved.links);
        }
    }

    /// Verdicts reach the kernel.
    fn carry_out(&mut self) {
        for change in std::mem::take(&mut self.people.changes) {
            match change {
                Change::Watch(pid) => {
                    self.rings.look_for(pid);
                    self.look_at(pid, true);
                    self.judge(pid, tracked::CONTENT | tracked::SYSCALLS);
                    if self.socket_events.is_empty() {
                        // Refused now what the other scopes need at the start: its connections stay without an address.
                        self.socket_events = self.kernel.attach_socket_events().unwrap_or_default();
                    }
                }
                Change::Started(pid) => {
                    // As for `look_at`.
                    let _ = self.attachments.prepare(&mut self.kernel, pid);
                    self.judge(pid, tracked::CONTENT | tracked::SYSCALLS);
                }
                Change::Dismiss(pid) => {
                    self.kernel.judge(pid, 0);
                    self.attachments.release(&mut self.kernel, pid);
                }
                Change::Await(pid) => self.kernel.judge(pid, tracked::CONNECTS),
                Change::Suspect(pid) => {
                    self.look_at(pid, true);
                    self.judge(pid, tracked::CONTENT | tracked::SYSCALLS);
                }
                Change::Gone(pid) => {
                    self.young.remove(&pid);
                    self.attachments.gone(&mut self.kernel, pid);
                    if self.settings.scope == Scope::Match && self.people.agents.is_empty() {
                        self.kernel.detach(std::mem::take(&mut self.socket_events));
                    }
                }
            }
        }
    }

    /// Loss that no connection was told of: chunks that found no room.
    fn count_losses(&mut self, now_is: Instant) {
        if now_is.duration_since(self.counted_at) < LOSSES {
            return;
        }
        self.counted_at = now_is;
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
    fn admit(&mut self) {
        if self.settings.scope == Scope::All {
            self.passed.append(&mut self.translated);
            return;
        }
        for observation in self.translated.drain(..) {
            self.people.admit(self.settings.scope, &self.settings.selectors, observation, &mut self.passed);
        }
        self.carry_out();
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

/// Links of processes cost descriptors. Where the limit cannot be raised, it stays.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// The probe object, the kernel's types and the libraries' code were read, and leave more room behind than all that follows needs.
fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer; other threads may allocate meanwhile.
    unsafe {
        libc::malloc_trim(0);
    }
}
