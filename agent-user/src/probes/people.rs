//! Processes by what is known of them: who is watched, who is not, and what those said about whom that is open.
//!
//! In: observations. Out: those of watched processes, and [`Change`]s that the keeper carries out in the kernel. No IO.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::scope::{Scope, Selectors, is_agent_program, is_model_host, speaks_as_agent};
use crate::base::Direction;
use crate::capture::{Exec, Loss, Observation, Role, Seen, SocketOp};

/// Bytes held per process until it is known whether it is an agent. An LLM request with a long history fits; one that talks
/// about other things for longer than this is no agent by its first words.
const HELD_BYTES: usize = 1 << 20;
const HELD_TOTAL: usize = 32 << 20;

/// How long a process that turned out to be no agent is left alone, at first and at most; each time twice as long. After that, its
/// next connection is looked at again.
const PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// A verdict has changed, or is due to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// It is an agent or descends from one.
    Watch(u32),
    /// The same, and it has just started a program.
    Started(u32),
    /// It is none, as far as can be seen.
    Dismiss(u32),
    /// Its next connection is of interest again.
    Await(u32),
    /// It may be an agent: it is not known, or it connects to somewhere new.
    Suspect(u32),
    /// It has ended.
    Gone(u32),
}

#[derive(Default)]
pub(super) struct People {
    pub(super) agents: HashSet<u32>,
    /// Identity of those that are no agents (yet).
    others: HashMap<u32, Observation>,
    parents: HashMap<u32, u32>,
    held: HashMap<u32, Held>,
    held_total: usize,
    bystanders: HashMap<u32, Bystander>,
    pub(super) changes: Vec<Change>,
}

#[derive(Default)]
struct Held {
    bytes: usize,
    observations: Vec<Observation>,
}

#[derive(Clone, Copy)]
struct Bystander {
    since: Instant,
    pause: Duration,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    LeftAlone,
    /// The kernel tells of its next connection.
    Awaited,
    /// It made one: what it says there is looked at.
    Suspected,
}

impl People {
    /// Lets through what belongs to watched processes.
    ///
    /// `marked` looks for the selectors' variables in the environment of a process.
    pub(super) fn admit(
        &mut self,
        scope: Scope,
        selectors: &Selectors,
        marked: &dyn Fn(u32) -> bool,
        observation: Observation,
        out: &mut Vec<Observation>,
    ) {
        let pid = match &observation.what {
            Seen::Exec(exec) => {
                if let Some(parent) = exec.ppid {
                    self.parents.insert(exec.pid, parent);
                }
                let known = self.is_watched(exec.pid, out) || by_identity(scope, selectors, marked, exec);
                let pid = exec.pid;
                if known {
                    self.adopt(pid, out);
                    self.changes.push(Change::Started(pid));
                    out.push(observation);
                } else {
                    self.others.insert(pid, observation);
                    if scope == Scope::Match {
                        self.dismiss(pid);
                    } else if self.bystanders.remove(&pid).is_some() {
                        self.changes.push(Change::Suspect(pid));
                    }
                }
                return;
            }
            Seen::Fork { pid, ppid } => {
                self.parents.insert(*pid, *ppid);
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
        let watched = self.is_watched(pid, out);
        if let Seen::Socket(socket) = &observation.what
            && socket.op == SocketOp::Connect
            && (watched || scope == Scope::Auto)
        {
            if let Some(bystander) = self.bystanders.get_mut(&pid) {
                bystander.state = State::Suspected;
            }
            self.changes.push(Change::Suspect(pid));
        }
        if watched {
            out.push(observation);
        } else if scope == Scope::Auto && recognise(&observation) {
            self.adopt(pid, out);
            out.push(observation);
        } else if scope == Scope::Match {
            self.dismiss(pid);
        } else {
            self.hold(pid, observation);
        }
    }

    /// Goes on where another left off: who was watched still is, and who was left alone is so a little longer.
    pub(super) fn resume(&mut self, agents: Vec<u32>, bystanders: Vec<u32>) {
        self.agents.extend(agents);
        let left = Bystander { since: Instant::now(), pause: PAUSE, state: State::LeftAlone };
        self.bystanders.extend(bystanders.into_iter().map(|pid| (pid, left)));
    }

    /// Processes that are watched or may yet be: what is theirs to lose when machine-wide probes end.
    pub(super) fn wanted(&self) -> Vec<u32> {
        let suspected = self.bystanders.iter().filter(|(_, bystander)| bystander.state == State::Suspected).map(|(pid, _)| pid);
        self.agents.iter().chain(self.held.keys()).chain(suspected).copied().collect()
    }

    #[cfg(test)]
    pub(super) fn is_bystander(&self, pid: u32) -> bool {
        self.bystanders.get(&pid).is_some_and(|bystander| bystander.state != State::Suspected)
    }

    /// Those that were left alone long enough.
    pub(super) fn tick(&mut self, now: Instant, scope: Scope) {
        if scope != Scope::Auto {
            return;
        }
        for (pid, bystander) in &mut self.bystanders {
            if bystander.state == State::LeftAlone && now.duration_since(bystander.since) >= bystander.pause {
                bystander.state = State::Awaited;
                self.changes.push(Change::Await(*pid));
            }
        }
    }

    /// True for agents and their descendants. What is known of those that were started before their ancestor was known as an agent, as
    /// MCP servers are, goes out now.
    fn is_watched(&mut self, pid: u32, out: &mut Vec<Observation>) -> bool {
        if self.agents.contains(&pid) {
            return true;
        }
        let mut line = vec![pid];
        let mut at = pid;
        // Deeper lines than this are made to cost us time.
        for _ in 0..64 {
            match self.parents.get(&at) {
                Some(parent) if *parent > 1 => at = *parent,
                _ => return false,
            }
            if self.agents.contains(&at) {
                self.changes.extend(line.iter().map(|pid| Change::Watch(*pid)));
                self.bystanders.retain(|pid, _| !line.contains(pid));
                for pid in line.iter().rev() {
                    out.extend(self.others.remove(pid));
                    if let Some(held) = self.held.remove(pid) {
                        self.held_total -= held.bytes;
                        out.extend(held.observations);
                    }
                }
                self.agents.extend(line);
                return true;
            }
            line.push(at);
        }
        false
    }

    /// Makes an agent of a process: its ancestors' identity and its own first words go out now.
    fn adopt(&mut self, pid: u32, out: &mut Vec<Observation>) {
        let is_new = self.agents.insert(pid);
        if is_new {
            self.bystanders.remove(&pid);
            self.changes.push(Change::Watch(pid));
        }
        let mut line = Vec::new();
        let mut at = Some(pid);
        while let Some(person) = at.filter(|_| line.len() < 64) {
            line.extend(self.others.remove(&person));
            at = self.parents.get(&person).copied().filter(|parent| *parent > 0);
        }
        out.extend(line.into_iter().rev());
        if let Some(held) = self.held.remove(&pid) {
            self.held_total -= held.bytes;
            out.extend(held.observations);
        }
        if is_new {
            // Those that it started before, as MCP servers are: what they do next is seen from its beginning.
            let mut others: Vec<u32> = self.others.keys().copied().collect();
            others.sort_unstable();
            others.into_iter().for_each(|other| {
                self.is_watched(other, out);
            });
        }
    }

    /// Keeps what a process says until it is known who it is; at the bound it is known to be nobody.
    fn hold(&mut self, pid: u32, observation: Observation) {
        // What it said before the verdict reached the kernel.
        if self.bystanders.get(&pid).is_some_and(|bystander| bystander.state != State::Suspected) {
            return;
        }
        let bytes = match &observation.what {
            Seen::Chunk(chunk) => chunk.data.expose_content().len() + 256,
            _ => 256,
        };
        let held = self.held.entry(pid).or_default();
        if held.bytes + bytes > HELD_BYTES || self.held_total + bytes > HELD_TOTAL {
            self.dismiss(pid);
            return;
        }
        held.bytes += bytes;
        self.held_total += bytes;
        held.observations.push(observation);
    }

    fn dismiss(&mut self, pid: u32) {
        if let Some(held) = self.held.remove(&pid) {
            self.held_total -= held.bytes;
        }
        let pause = self.bystanders.get(&pid).map_or(PAUSE, |before| (before.pause * 2).min(LONGEST_PAUSE));
        self.bystanders.insert(pid, Bystander { since: Instant::now(), pause, state: State::LeftAlone });
        self.changes.push(Change::Dismiss(pid));
    }

    fn forget(&mut self, pid: u32, observation: Observation, out: &mut Vec<Observation>) {
        if self.is_watched(pid, out) {
            out.push(observation);
        }
        self.agents.remove(&pid);
        self.others.remove(&pid);
        self.bystanders.remove(&pid);
        if let Some(held) = self.held.remove(&pid) {
            self.held_total -= held.bytes;
        }
        self.changes.push(Change::Gone(pid));
    }
}

fn by_identity(scope: Scope, selectors: &Selectors, marked: &dyn Fn(u32) -> bool, exec: &Exec) -> bool {
    selectors.select(exec, marked) || (scope == Scope::Auto && is_agent_program(exec))
}

fn recognise(observation: &Observation) -> bool {
    match &observation.what {
        // It speaks to a model through a library that cannot be read.
        Seen::Loss(loss) => loss.cause.blind_spot().is_some_and(|(why, name)| why == "tls" && is_model_host(name)),
        // A server that answers model calls or MCP is no agent by that: only who asks is.
        Seen::Chunk(chunk) if chunk.dir == Direction::Out && chunk.role != Some(Role::Server) => {
            let start = chunk.off.is_none_or(|offset| offset < 16 << 10);
            chunk.sni.as_deref().is_some_and(is_model_host) || (start && speaks_as_agent(chunk.data.expose_content()))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ConnId, Sensitive, Timestamp};
    use crate::capture::{Chunk, Socket, Source};

    fn exec(pid: u32, ppid: u32, exe: &str) -> Observation {
        let exec = Exec { pid, ppid: Some(ppid), exe: exe.into(), ..Exec::default() };
        Observation { ts: Timestamp(0), what: Seen::Exec(exec) }
    }

    fn says(pid: u32, text: &str) -> Observation {
        let chunk = Chunk {
            pid,
            tid: None,
            conn: ConnId("c".into()),
            dir: Direction::Out,
            off: Some(0),
            data: Sensitive::new(text.as_bytes().to_vec().into()),
            source: Source::Openssl,
            sni: None,
            peer: None,
            local: None,
            role: None,
        };
        Observation { ts: Timestamp(0), what: Seen::Chunk(chunk) }
    }

    fn is_blind_to(pid: u32, name: &str) -> Observation {
        let cause = crate::base::LossCause::blind("tls", name);
        let loss = Loss { cause, count: 1, pid: Some(pid), conn: None, dir: None, bytes: None };
        Observation { ts: Timestamp(0), what: Seen::Loss(loss) }
    }

    #[test]
    fn whoever_speaks_to_a_model_unread_is_an_agent_too() {
        for (name, agent) in [("api.openai.com", true), ("example.com", false)] {
            let (mut people, mut out) = (People::default(), Vec::new());
            for observation in [exec(7, 1, "/opt/thing"), is_blind_to(7, name)] {
                people.admit(Scope::Auto, &Selectors::default(), &|_| false, observation, &mut out);
            }
            assert_eq!((people.agents.contains(&7), out.len()), (agent, if agent { 2 } else { 0 }), "{name}");
        }
    }

    fn connects(pid: u32) -> Observation {
        let socket = Socket { pid, fd: Some(3), op: SocketOp::Connect, local: None, peer: None, conn: None };
        Observation { ts: Timestamp(0), what: Seen::Socket(socket) }
    }

    const MODEL: &str = "POST /v1/chat/completions HTTP/1.1\r\n\r\n";

    /// How many observations come through, and what is to be done in the kernel.
    fn check(scope: Scope, observations: impl IntoIterator<Item = Observation>, passed: usize, changes: &[Change]) -> People {
        let mut people = People::default();
        let mut out = Vec::new();
        for observation in observations {
            people.admit(scope, &Selectors::default(), &|_| false, observation, &mut out);
        }
        assert_eq!(out.len(), passed);
        assert_eq!(people.changes, changes);
        people.changes.clear();
        people
    }

    #[test]
    fn first_words_make_an_agent_and_are_not_lost() {
        use Change::{Started, Watch};
        let seen = [exec(7, 1, "/bin/x"), says(7, "GET / HTTP/1.1\r\n\r\n"), says(7, MODEL), exec(8, 7, "/bin/sh")];
        check(Scope::Auto, seen, 4, &[Watch(7), Watch(8), Started(8)]);
    }

    #[test]
    fn a_server_that_was_started_before_its_agent_was_known_is_told_of() {
        let seen = [exec(7, 1, "/bin/agent"), exec(8, 7, "/bin/server"), exec(9, 1, "/bin/other"), says(7, MODEL), says(8, "{}")];
        let mut people = People::default();
        let mut out = Vec::new();
        for observation in seen {
            people.admit(Scope::Auto, &Selectors::default(), &|_| false, observation, &mut out);
        }
        let started: Vec<u32> = out
            .iter()
            .filter_map(|observation| match &observation.what {
                Seen::Exec(exec) => Some(exec.pid),
                _ => None,
            })
            .collect();
        assert_eq!((started, out.len()), (vec![7, 8], 4));
        // Before it says anything.
        assert_eq!(people.changes, [Change::Watch(7), Change::Watch(8)]);
    }

    #[test]
    fn in_scope_match_nobody_else_is_listened_to() {
        check(Scope::Match, [exec(7, 1, "/bin/x"), says(8, MODEL)], 0, &[Change::Dismiss(7), Change::Dismiss(8)]);
    }

    #[test]
    fn a_process_that_talks_about_other_things_is_left_alone_until_it_connects_anew() {
        let much = "GET / HTTP/1.1\r\n\r\n".repeat(HELD_BYTES / 18);
        let mut people = check(Scope::Auto, [says(7, &much), says(7, "GET /more HTTP/1.1\r\n\r\n")], 0, &[Change::Dismiss(7)]);
        assert!(people.is_bystander(7) && people.wanted().is_empty());
        people.tick(Instant::now() + PAUSE, Scope::Auto);
        people.tick(Instant::now() + PAUSE, Scope::Auto);
        assert_eq!(people.changes, [Change::Await(7)], "once");
        let mut out = Vec::new();
        people.admit(Scope::Auto, &Selectors::default(), &|_| false, connects(7), &mut out);
        assert!(!people.is_bystander(7));
        people.tick(Instant::now() + PAUSE, Scope::Auto);
        people.admit(Scope::Auto, &Selectors::default(), &|_| false, says(7, MODEL), &mut out);
        assert_eq!(people.changes, [Change::Await(7), Change::Suspect(7), Change::Watch(7)]);
        assert_eq!(out.len(), 2, "the connection, then the first words on it");
        assert_eq!(people.held_total, 0);
    }

    #[test]
    fn what_is_held_has_a_bound_in_total() {
        let half = "x".repeat(HELD_BYTES / 2);
        let mut people = People::default();
        for pid in 2..2 + 3 * u32::try_from(HELD_TOTAL / HELD_BYTES).expect("small") {
            people.admit(Scope::Auto, &Selectors::default(), &|_| false, says(pid, &half), &mut Vec::new());
            assert!(people.held_total <= HELD_TOTAL);
        }
        assert!(people.changes.iter().all(|change| matches!(change, Change::Dismiss(_))) && !people.changes.is_empty());
    }
}
