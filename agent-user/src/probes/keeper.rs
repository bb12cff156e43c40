//! The half of a capture that needs rights: loads, attaches and detaches, looks at what attached programs cost and whether they are in
//! place. It reads files and `/proc`, and nothing that was captured.
//!
//! In: [`Order`]s of the watcher. Out: [`Tiding`]s for it.

use std::collections::{HashMap, HashSet};
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use agent_wire::{counter, tracked};
use serde::{Deserialize, Serialize};

use super::attachments::{Attachments, Moved};
use super::audit::Audit;
use super::facts::Host;
use super::kernel::{Kernel, Link};
use super::people::Change;
use super::scope::Scope;
use super::{LibraryStatus, Settings, StartError, preflight, processes};

/// Between two looks at the counters of loss, and at budgets and bystanders.
const LOSSES: Duration = Duration::from_millis(100);
const LOOK_AROUND: Duration = Duration::from_millis(100);

/// Between two looks at places that turned out to be others, and breakpoints that are gone.
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

/// What the watcher saw that concerns attaching.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// A process starts a program.
    Exec(u32, String),
    /// Parent, and a child or a thread.
    Fork(u32, u32),
    Exit(u32),
    Change(Change),
    /// Processes that are watched or may yet be, when [`Tiding::Overspent`] asked for them.
    Wanted(Vec<u32>),
}

/// What the keeper saw that concerns the watcher.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tiding {
    /// Chunks that found no room since the last one, and their bytes.
    RingFull(u64, u64),
    /// Other records that found none.
    EventsLost(u64),
    /// A probe of this process is gone: function and file.
    Changed(u32, String),
    /// A place in a file of this process is not what it was taken for.
    Refuted(u32, String),
    /// Bystanders have spent a library's budget.
    Overspent,
    Kept(Kept),
}

/// What the keeper says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub(super) libraries: Vec<LibraryStatus>,
    /// Breakpoints that the last audit found in their place.
    pub(super) audited: u64,
    /// `agent_wire::counter` by index.
    pub(super) counters: Vec<u64>,
}

pub struct Keeper {
    settings: Settings,
    boot: u64,
    kernel: Kernel,
    attachments: Attachments,
    /// Links to events; those to system calls only while somebody may be watched.
    process_events: Vec<Link>,
    socket_events: Vec<Link>,
    /// Young processes: when to look next, and which look it is.
    young: HashMap<u32, (Instant, usize)>,
    /// Verdicts as the watcher gave them.
    agents: HashSet<u32>,
    bystanders: HashSet<u32>,
    /// The watcher was asked who is wanted.
    asked: bool,
    counted: Vec<u64>,
    counted_at: Instant,
    looked_at: Instant,
    covered_at: Instant,
    audit: Audit,
    tidings: Vec<Tiding>,
    /// Nothing is attached any more, nor will be.
    stopped: bool,
}

impl Keeper {
    /// Loads the kernel side and listens to it; no library is attached to before [`Keeper::begin`]. On error nothing stays behind.
    pub fn load(settings: Settings, boot: u64) -> Result<Keeper, StartError> {
        preflight()?;
        raise_file_limit();
        let mut kernel = Kernel::load(settings.ring_bytes, settings.call_bytes, settings.empty)?;
        // Whoever is not known yet is listened to: who is no agent is dropped at the door of the watcher, then in the kernel.
        let files = if settings.scope == Scope::All { tracked::FILES } else { 0 };
        kernel.judge_others(tracked::CONTENT | tracked::SYSCALLS | files);
        let process_events = kernel.attach_process_events()?;
        for pid in processes::all() {
            kernel.note_stdio(pid, processes::stdio(pid));
        }
        Ok(Keeper {
            settings,
            boot,
            kernel,
            attachments: Attachments::start()?,
            process_events,
            socket_events: Vec::new(),
            young: HashMap::new(),
            agents: HashSet::new(),
            bystanders: HashSet::new(),
            asked: false,
            counted: vec![0; counter::COUNT as usize],
            counted_at: Instant::now(),
            looked_at: Instant::now(),
            covered_at: Instant::now(),
            audit: Audit::default(),
            tidings: Vec::new(),
            stopped: false,
        })
    }

    /// Attaches to what is installed and what runs. The watcher's first verdicts must be in: probes that begin with a known bystander's
    /// hits would end at once.
    pub fn begin(&mut self) -> Result<(), StartError> {
        if self.settings.scope != Scope::Match && self.socket_events.is_empty() {
            self.socket_events = self.kernel.attach_socket_events()?;
        }
        self.attachments.look_ahead(&mut self.kernel, &self.settings.programs)?;
        for pid in processes::all() {
            self.attachments.look_at(&mut self.kernel, pid, false)?;
        }
        self.attachments.hurry();
        give_back_memory();
        Ok(())
    }

    /// Ring and wake-up word, for the watcher.
    pub fn ring(&self) -> [BorrowedFd<'_>; 2] {
        self.kernel.ring()
    }

    /// Who answers the watcher's questions.
    pub fn host(&self) -> Result<Host, StartError> {
        Ok(Host::new(self.boot, self.settings.selectors.env.clone(), Some(self.kernel.files()?)))
    }

    /// Who is watched and who is left alone, for a watcher that takes over.
    pub fn verdicts(&mut self) -> (Vec<u32>, Vec<u32>) {
        self.asked = false;
        (self.agents.iter().copied().collect(), self.bystanders.iter().copied().collect())
    }

    pub fn take(&mut self, order: Order) {
        if self.stopped {
            return;
        }
        match order {
            Order::Exec(pid, exe) => {
                // The process may end before it is looked at: then the file is known when it next runs.
                self.attachments.expect(std::path::Path::new(&exe));
                self.young.insert(pid, (Instant::now(), 0));
            }
            // A thread is told of like a process.
            Order::Fork(parent, child) => {
                if self.attachments.has_own(parent) && processes::is_process(child) {
                    // Refused: it is not watched until it connects.
                    let _ = self.attachments.inherit(&mut self.kernel, parent, child);
                    self.listen(child, self.agents.contains(&parent));
                }
            }
            Order::Exit(pid) => self.audit.gone(pid),
            Order::Change(change) => self.carry_out(change),
            Order::Wanted(wanted) => self.narrow(&wanted),
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant) {
        if self.stopped {
            return;
        }
        self.look_at_young(now);
        self.look_around(now);
        self.look_for_blind_spots(now);
        self.count_losses(now);
    }

    /// How long nothing is due.
    pub fn idle(&self, now: Instant) -> Duration {
        let young = self.young.values().map(|(at, _)| at.saturating_duration_since(now)).min();
        young.unwrap_or(LOSSES).min(LOSSES)
    }

    /// What there is to tell since the last time.
    pub fn tidings(&mut self, out: &mut Vec<Tiding>) {
        out.append(&mut self.tidings);
    }

    pub fn kept(&self) -> Kept {
        Kept { libraries: self.attachments.status(&self.kernel), audited: self.audit.sound, counters: self.kernel.counters() }
    }

    /// Detaches; nothing more comes into the ring when this returns.
    pub fn stop(&mut self) {
        self.attachments.detach_all();
        self.process_events.clear();
        self.socket_events.clear();
        self.count_losses(Instant::now() + LOSSES);
        self.stopped = true;
    }

    fn look_at_young(&mut self, now: Instant) {
        if self.young.is_empty() {
            return;
        }
        let due: Vec<u32> = self.young.iter().filter(|(_, (at, _))| *at <= now).map(|(pid, _)| *pid).collect();
        for pid in due {
            self.look_at(pid, !self.bystanders.contains(&pid));
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
            self.listen(pid, false);
        }
    }

    /// What a process says is read; what an agent, or who descends from one, does to files too.
    fn listen(&mut self, pid: u32, descends: bool) {
        let whole = descends || self.settings.scope == Scope::All || self.agents.contains(&pid);
        let files = if whole { tracked::FILES } else { 0 };
        self.kernel.judge(pid, tracked::CONTENT | tracked::SYSCALLS | files | self.attachments.own_bits(pid));
    }

    /// Now and then: whose budget is spent.
    fn look_around(&mut self, now: Instant) {
        if now.duration_since(self.looked_at) < LOOK_AROUND {
            return;
        }
        self.looked_at = now;
        self.attachments.widen(&mut self.kernel);
        if !self.asked && self.attachments.overspent(&self.kernel) {
            self.asked = true;
            self.tidings.push(Tiding::Overspent);
        }
    }

    fn narrow(&mut self, wanted: &[u32]) {
        self.asked = false;
        // Refused: a process that stays without probes of its own until it connects.
        if let Ok(moved) = self.attachments.narrow(&mut self.kernel, wanted, self.bystanders.iter().copied()) {
            self.hand_over(moved);
        }
    }

    fn hand_over(&mut self, moved: Moved) {
        for pid in moved.processes {
            self.listen(pid, false);
        }
        if !moved.links.is_empty() {
            self.kernel.detach(moved.links);
        }
    }

    /// Now and then: places that turned out to be others, breakpoints that are gone.
    fn look_for_blind_spots(&mut self, now: Instant) {
        if now.duration_since(self.covered_at) < COVERAGE || self.settings.empty {
            return;
        }
        self.covered_at = now;
        let (all, agents, attachments) = (self.settings.scope == Scope::All, &self.agents, &self.attachments);
        let watched = || if all { processes::all() } else { agents.iter().copied().collect() };
        let changed = self.audit.step(now, watched, |pid, inode| attachments.probed(pid, inode));
        self.tidings.extend(changed.into_iter().map(|spot| Tiding::Changed(spot.pid, spot.what)));
        for (what, users) in self.attachments.refute(&mut self.kernel, processes::all) {
            tracing::warn!("{what} is not what it was taken for: it is not probed any more");
            self.tidings.extend(users.into_iter().map(|pid| Tiding::Refuted(pid, what.clone())));
        }
    }

    /// Verdicts reach the kernel.
    fn carry_out(&mut self, change: Change) {
        match change {
            Change::Watch(pid) => {
                self.agents.insert(pid);
                self.bystanders.remove(&pid);
                self.look_at(pid, true);
                self.listen(pid, false);
                if self.socket_events.is_empty() {
                    // Refused now what the other scopes need at the start: its connections stay without an address.
                    self.socket_events = self.kernel.attach_socket_events().unwrap_or_default();
                }
            }
            Change::Started(pid) => {
                // As for `look_at`.
                let _ = self.attachments.prepare(&mut self.kernel, pid);
                self.listen(pid, false);
            }
            Change::Dismiss(pid) => {
                self.bystanders.insert(pid);
                self.kernel.judge(pid, 0);
                self.attachments.release(&mut self.kernel, pid);
            }
            Change::Await(pid) => self.kernel.judge(pid, tracked::CONNECTS),
            Change::Suspect(pid) => {
                self.bystanders.remove(&pid);
                self.look_at(pid, true);
                self.listen(pid, false);
            }
            Change::Gone(pid) => {
                self.agents.remove(&pid);
                self.bystanders.remove(&pid);
                self.young.remove(&pid);
                self.attachments.gone(&mut self.kernel, pid);
                if self.settings.scope == Scope::Match && self.agents.is_empty() {
                    self.kernel.detach(std::mem::take(&mut self.socket_events));
                }
            }
        }
    }

    /// Loss that no connection was told of: chunks that found no room.
    fn count_losses(&mut self, now: Instant) {
        if now.duration_since(self.counted_at) < LOSSES {
            return;
        }
        self.counted_at = now;
        let values = self.kernel.counters();
        let grown = |index: u32| values[index as usize] - self.counted[index as usize];
        let (chunks, events) = (grown(counter::RING_FULL), grown(counter::EVENTS_LOST));
        if chunks > 0 {
            self.tidings.push(Tiding::RingFull(chunks, grown(counter::RING_FULL_BYTES)));
        }
        if events > 0 {
            self.tidings.push(Tiding::EventsLost(events));
        }
        self.counted = values;
    }
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
