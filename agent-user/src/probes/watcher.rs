//! The half of a capture that reads what was captured: drains the ring, names connections, decides who is watched. It needs no right:
//! facts of the host it asks for ([`Facts`]), and what must be attached it says ([`Order`]).

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use agent_wire::counter;

use super::drain::Drain;
use super::events::Events;
use super::facts::{Facts, Host};
use super::keeper::{Keeper, Kept, Order, Tiding};
use super::ledger::{Ledger, Spot};
use super::people::{Change, People};
use super::rings::Rings;
use super::scope::{Scope, Selectors};
use super::session::since_boot;
use super::share::Share;
use super::shed::Shed;
use super::spots::Spots;
use super::{Settings, StartError, Status};
use crate::base::{LossCause, Timestamp};
use crate::capture::ring::{self, What};
use crate::capture::{Loss, Observation, Seen};

/// Between two looks at the ring: bounds the delay of an event that woke nobody. Longer when nothing came for a while.
const BUSY: Duration = Duration::from_millis(2);
const QUIET: Duration = Duration::from_millis(8);
const LULL: Duration = Duration::from_millis(250);

/// What is taken from the ring at once.
const PORTION_BYTES: usize = 32 << 10;
const PORTION_RECORDS: usize = 4096;

/// Between two looks at who may be suspected again, and at what is not seen.
const LOOK_AROUND: Duration = Duration::from_millis(100);
const COVERAGE: Duration = Duration::from_millis(250);

/// The keeper as the watcher knows it: the object itself, or a line to another process.
pub trait Line {
    fn order(&mut self, order: Order);

    /// What it has to tell. All orders are on their way when this returns.
    fn tidings(&mut self, out: &mut Vec<Tiding>) -> io::Result<()>;
}

impl Line for Keeper {
    fn order(&mut self, order: Order) {
        self.take(order);
    }

    fn tidings(&mut self, out: &mut Vec<Tiding>) -> io::Result<()> {
        self.tick(Instant::now());
        Keeper::tidings(self, out);
        Ok(())
    }
}

pub struct Watcher {
    scope: Scope,
    selectors: Selectors,
    empty: bool,
    /// None for one that takes all the time that it needs.
    shed: Option<(Shed, Share)>,
    drain: Drain,
    facts: Facts,
    events: Events,
    people: People,
    ledger: Ledger,
    rings: Rings,
    spots: Spots,
    kept: Kept,
    busy_at: Instant,
    looked_at: Instant,
    covered_at: Instant,
    wakeups: u64,
    /// Chunks were lost since coverage was last looked at: nobody knows whose plaintext is missing.
    lossy: bool,
    heard: Vec<Tiding>,
    translated: Vec<Observation>,
    passed: Vec<Observation>,
}

impl Watcher {
    /// Beside a keeper in this process.
    pub(super) fn here(settings: &Settings, boot: u64, ring: [OwnedFd; 2], host: Host) -> Result<Watcher, StartError> {
        Watcher::new(settings, boot, ring, Facts::here(host))
    }

    /// `ring` is [`Keeper::ring`]'s, `facts` leads to a [`Host`], `boot` is the epoch time of boot in nanoseconds.
    pub fn apart(settings: &Settings, boot: u64, ring: [OwnedFd; 2], facts: UnixStream) -> Result<Watcher, StartError> {
        Watcher::new(settings, boot, ring, Facts::of(facts))
    }

    fn new(settings: &Settings, boot: u64, [ring, reader]: [OwnedFd; 2], facts: Facts) -> Result<Watcher, StartError> {
        let now = Instant::now();
        Ok(Watcher {
            scope: settings.scope,
            selectors: settings.selectors.clone(),
            empty: settings.empty,
            shed: settings.sheds.map(|part| (Shed::default(), Share::open(part, now))),
            drain: Drain::open(ring, &reader)?,
            facts,
            events: Events::new(boot),
            people: People::default(),
            ledger: Ledger::default(),
            rings: Rings::default(),
            spots: Spots::default(),
            kept: Kept::default(),
            busy_at: now,
            looked_at: now,
            covered_at: now,
            wakeups: 0,
            lossy: false,
            heard: Vec::new(),
            translated: Vec::new(),
            passed: Vec::new(),
        })
    }

    /// Takes over from a watcher that died: [`Keeper::verdicts`] says who was watched. What that one had read is lost, and said so.
    pub fn resume(&mut self, agents: Vec<u32>, bystanders: Vec<u32>) {
        self.people.resume(agents, bystanders);
        let cause = LossCause::Other("worker_restarted".into());
        let loss = Loss { cause, count: 1, pid: None, conn: None, dir: None, bytes: None };
        self.translated.push(Observation { ts: now(), what: Seen::Loss(loss) });
    }

    /// Judges everybody who runs.
    pub fn meet(&mut self, line: &mut impl Line) {
        for exec in self.facts.everybody() {
            if self.scope == Scope::All {
                self.rings.look_for(exec.pid, |pid| self.facts.has_ring(pid));
            }
            let ts = Timestamp(exec.start.unwrap_or(0));
            self.translated.push(Observation { ts, what: Seen::Exec(exec) });
        }
        self.admit(line);
    }

    /// Waits at most `timeout`, then hands on what there is: a bounded portion, so that a flood is worked through at the pace of
    /// what follows, and what finds no room meanwhile is counted in the kernel.
    pub fn poll(&mut self, timeout: Duration, line: &mut impl Line, out: &mut Vec<Observation>) -> io::Result<()> {
        let deadline = Instant::now() + timeout;
        loop {
            let more = self.drain(line);
            let now = Instant::now();
            if !self.translated.is_empty() {
                self.busy_at = now;
            }
            let mut heard = std::mem::take(&mut self.heard);
            line.tidings(&mut heard)?;
            for tiding in heard.drain(..) {
                self.hear(tiding, line);
            }
            self.heard = heard;
            if now.duration_since(self.looked_at) >= LOOK_AROUND {
                self.looked_at = now;
                self.people.tick(now, self.scope);
            }
            if let Some((shed, share)) = &mut self.shed
                && let Some(allowance) = share.taken(now).and_then(|taken| shed.spend(taken, since_boot()))
            {
                self.drain.allow(allowance);
            }
            self.look_for_blind_spots(now);
            self.admit(line);
            out.append(&mut self.passed);
            if more || !out.is_empty() || now >= deadline {
                return Ok(());
            }
            let quiet = if now.duration_since(self.busy_at) < LULL { BUSY } else { QUIET };
            self.drain.sleep(quiet.min(deadline - now))?;
            self.wakeups += 1;
        }
    }

    /// Hands on what is still in the ring, after the keeper has detached.
    pub fn finish(&mut self, line: &mut impl Line, out: &mut Vec<Observation>) {
        self.shed = None;
        // A portion is as much as is held at once: each must leave before the next is taken.
        while self.drain(line) {
            self.admit(line);
        }
        let mut heard = Vec::new();
        // The keeper may be gone by now; what it would tell is of no use any more.
        let _ = line.tidings(&mut heard);
        for tiding in heard {
            self.hear(tiding, line);
        }
        self.admit(line);
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
        let values = &self.kept.counters;
        let (shed, shed_bytes) = self.shed.as_ref().map_or((0, 0), |(shed, _)| shed.given_up);
        let mut agents: Vec<u32> = self.people.agents.iter().copied().collect();
        agents.sort_unstable();
        Status {
            libraries: self.kept.libraries.clone(),
            blind: self.spots.latest(),
            audited: self.kept.audited,
            agents,
            counters: NAMES
                .iter()
                .map(|(name, index)| (*name, values.get(*index as usize).copied().unwrap_or(0)))
                .chain([("shed", shed), ("shed_bytes", shed_bytes)])
                .collect(),
            connections: self.events.connections(),
            wakeups: self.wakeups,
        }
    }

    /// Takes a portion of the ring into `translated`; true when there is more.
    fn drain(&mut self, line: &mut impl Line) -> bool {
        let (mut bytes, now) = (0, since_boot());
        while bytes < PORTION_BYTES && self.translated.len() < PORTION_RECORDS {
            let Some(item) = self.drain.next() else { return false };
            bytes += item.len();
            let Some(mut event) = ring::event(&item) else { continue };
            drop(item);
            match event.what {
                What::Exec { ref exe, .. } => line.order(Order::Exec(event.tgid, exe.clone())),
                What::Fork { child, .. } => line.order(Order::Fork(event.tgid, child)),
                What::IoUring => self.rings.made(event.tgid),
                What::Exit => {
                    self.rings.gone(event.tgid);
                    line.order(Order::Exit(event.tgid));
                }
                _ => {}
            }
            let (facts, events) = (&self.facts, &self.events);
            let peer = |fd| events.peer(event.tgid, fd, facts);
            let passed = |counted| facts.passed(vec![counted]).get(&counted).copied();
            for spot in self.ledger.see(&event, Instant::now(), peer, passed) {
                self.tell(&spot);
            }
            if let Some((shed, _)) = &mut self.shed {
                if let Some(allowance) = shed.pace(event.time, now) {
                    self.drain.allow(allowance);
                }
                shed.look(&mut event, now);
            }
            self.events.translate(event, &self.facts, &mut self.translated);
        }
        true
    }

    fn hear(&mut self, tiding: Tiding, line: &mut impl Line) {
        match tiding {
            Tiding::RingFull(count, bytes) => {
                self.lossy = true;
                self.lost(LossCause::RingFull, count, Some(bytes));
            }
            Tiding::EventsLost(count) => self.lost(LossCause::Other("event_lost".into()), count, None),
            Tiding::Changed(pid, what) => self.tell(&Spot { pid, why: "probe_changed", what, socket: None, bytes: None }),
            Tiding::Refuted(pid, what) => self.tell(&Spot { pid, why: "probe_refuted", what, socket: None, bytes: None }),
            Tiding::Overspent => line.order(Order::Wanted(self.people.wanted())),
            Tiding::Kept(kept) => self.kept = kept,
        }
    }

    fn lost(&mut self, cause: LossCause, count: u64, bytes: Option<u64>) {
        let loss = Loss { cause, count, pid: None, conn: None, dir: None, bytes };
        self.translated.push(Observation { ts: now(), what: Seen::Loss(loss) });
    }

    /// Now and then: connections that nothing is read of.
    fn look_for_blind_spots(&mut self, now: Instant) {
        if now.duration_since(self.covered_at) < COVERAGE || self.empty {
            return;
        }
        self.covered_at = now;
        let passed = self.facts.passed(self.ledger.counted());
        let mut spots = self.ledger.judge(now, std::mem::take(&mut self.lossy), |counted| passed.get(&counted).copied());
        let (facts, ledger) = (&self.facts, &self.ledger);
        spots.extend(self.rings.look(
            now,
            facts,
            |pid| facts.touched(pid),
            |pid, fd| ledger.reads(pid, fd),
            |pid| ledger.loose_of(pid) > 0,
        ));
        for spot in spots {
            self.tell(&spot);
        }
    }

    /// Whether its process is watched is decided at the door, as for all that is told of a process.
    fn tell(&mut self, spot: &Spot) {
        self.spots.tell(now(), spot, &mut self.translated);
        if self.scope == Scope::All || self.people.agents.contains(&spot.pid) {
            self.spots.keep(spot, self.facts.program(spot.pid).exe.unwrap_or_default());
        }
    }

    /// Lets through what belongs to watched processes.
    fn admit(&mut self, line: &mut impl Line) {
        if self.scope == Scope::All {
            self.passed.append(&mut self.translated);
            return;
        }
        let facts = &self.facts;
        for observation in self.translated.drain(..) {
            self.people.admit(self.scope, &self.selectors, &|pid| facts.marked(pid), observation, &mut self.passed);
        }
        for change in std::mem::take(&mut self.people.changes) {
            if let Change::Watch(pid) = change {
                self.rings.look_for(pid, |pid| facts.has_ring(pid));
            }
            line.order(Order::Change(change));
        }
    }
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
