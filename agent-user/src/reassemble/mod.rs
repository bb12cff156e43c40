//! **reassemble**: chunks of one direction become one ordered stream; what is missing becomes a [`StreamEvent::Gap`].
//!
//! In: [`Observation`]. Out: [`StreamEvent`]: ordered bytes per flow and direction, and the facts about processes, sockets and
//! files, passed by in order. It knows nothing of any protocol.

mod half;
mod process;
mod socket;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::base::limits::{FLOWS, OUT_OF_ORDER_BYTES, REASSEMBLY_TOTAL};
use crate::base::{ConnId, Direction, FlowId, LossCause, ProcessKey, Sensitive, Timestamp};
use crate::capture::{Chunk, FileEffect, Loss, Observation, Role, Seen, Socket, SocketOp, Source};

use half::{Half, PIECE_COST, Run};
use process::Processes;
use socket::Sockets;

/// A connection, as far as it is known by now. A later fact (a peer address that was bound late) makes a new `Arc`
/// of the same `id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    pub id: FlowId,
    pub conn: ConnId,
    pub process: ProcessKey,
    pub source: Source,
    pub role: Option<Role>,
    pub sni: Option<Arc<str>>,
    pub peer: Option<Arc<str>>,
    pub local: Option<Arc<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// The next bytes of a direction. `off` counts from the first byte that was ever seen of it.
    Data {
        flow: Arc<Flow>,
        ts: Timestamp,
        dir: Direction,
        off: u64,
        bytes: Sensitive<Bytes>,
    },
    /// Bytes are missing before whatever comes next in that direction. `missing` is `None` when nobody knows how many.
    Gap {
        flow: Arc<Flow>,
        ts: Timestamp,
        dir: Direction,
        off: u64,
        missing: Option<u64>,
        cause: LossCause,
    },
    /// No more bytes in either direction. `Evicted` when our table was full.
    Closed {
        flow: Arc<Flow>,
        ts: Timestamp,
        evicted: bool,
    },
    Fact {
        ts: Timestamp,
        fact: Fact,
    },
}

/// What is no stream, with processes resolved to keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    Exec {
        process: ProcessKey,
        parent: Option<ProcessKey>,
        exec: crate::capture::Exec,
    },
    Fork {
        child: ProcessKey,
        parent: ProcessKey,
    },
    Exit {
        process: ProcessKey,
        code: Option<i64>,
    },
    Socket {
        process: ProcessKey,
        socket: Socket,
    },
    File {
        process: ProcessKey,
        effect: FileEffect,
    },
    /// `peer` is that of the connection, where the loss names one.
    Loss {
        process: Option<ProcessKey>,
        peer: Option<Arc<str>>,
        loss: Loss,
    },
}

/// The stage.
#[derive(Default)]
pub struct Reassemble {
    flows: HashMap<FlowKey, Tracked>,
    /// The flows of each process that has any.
    owned: HashMap<ProcessKey, BTreeMap<FlowId, ConnId>>,
    /// One entry a flow, by the time it was last used; an entry may be out of date and is then put back.
    idle: BinaryHeap<Reverse<(Timestamp, FlowId, FlowKey)>>,
    /// Flows with a direction that waits for a chunk.
    waiting: BTreeMap<FlowId, FlowKey>,
    waiting_cost: usize,
    opened: u64,
    processes: Processes,
    sockets: Sockets,
    loss: Option<LossCause>,
    runs: Vec<Run>,
}

/// A connection's name counts within one process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct FlowKey {
    process: ProcessKey,
    conn: ConnId,
}

struct Tracked {
    flow: Arc<Flow>,
    halves: [Half; 2],
    /// Chunks of one direction that came while the other waits: whether they answer what is missing is not known before.
    held: Vec<(Timestamp, Direction, Option<u64>, Bytes)>,
    held_cost: usize,
    used: Timestamp,
    loss: Option<LossCause>,
}

/// How long a chunk waits for the one before it: ring slots are filled out of order within one call at most.
const OVERTAKE: Duration = Duration::from_millis(50);

impl Reassemble {
    pub fn push(&mut self, observation: Observation, out: &mut Vec<StreamEvent>) {
        let ts = observation.ts;
        match observation.what {
            Seen::Exec(exec) => {
                let process = self.processes.exec(exec.pid, exec.start, ts);
                let parent = exec.ppid.filter(|&ppid| ppid != exec.pid).map(|ppid| self.processes.key(ppid, ts));
                out.push(StreamEvent::Fact { ts, fact: Fact::Exec { process, parent, exec } });
            }
            Seen::Fork { pid, ppid } => {
                let parent = self.processes.key(ppid, ts);
                let child = self.processes.fork(pid, ts);
                out.push(StreamEvent::Fact { ts, fact: Fact::Fork { child, parent } });
            }
            Seen::Exit { pid, code } => {
                let process = self.processes.exit(pid, ts);
                self.close_process(process, ts, out);
                out.push(StreamEvent::Fact { ts, fact: Fact::Exit { process, code } });
            }
            Seen::Socket(socket) => self.socket(ts, socket, out),
            Seen::Chunk(chunk) => self.chunk(ts, chunk, out),
            Seen::Close { pid, conn } => {
                let process = self.processes.key(pid, ts);
                self.close(&FlowKey { process, conn }, ts, false, out);
            }
            Seen::Loss(loss) => self.lose(ts, loss, out),
            Seen::File(effect) => {
                let process = self.processes.key(effect.pid, ts);
                out.push(StreamEvent::Fact { ts, fact: Fact::File { process, effect } });
            }
        }
    }

    /// Idle time: gives up waiting for an overtaken chunk.
    pub fn tick(&mut self, now: Timestamp, out: &mut Vec<StreamEvent>) {
        let late: Vec<FlowKey> = self
            .waiting
            .values()
            .filter(|key| {
                let waits = |half: &Half| half.is_waiting() && now.since(half.waits_since()) >= OVERTAKE;
                self.flows.get(*key).is_some_and(|tracked| tracked.halves.iter().any(waits))
            })
            .cloned()
            .collect();
        for key in late {
            self.each_half(&key, now, out, Half::give_up);
        }
    }

    /// End of a recording: what still waits is handed on, with gaps.
    pub fn finish(&mut self, now: Timestamp, out: &mut Vec<StreamEvent>) {
        let mut keys: Vec<(FlowId, FlowKey)> = self.flows.iter().map(|(key, tracked)| (tracked.flow.id, key.clone())).collect();
        keys.sort();
        for (_, key) in keys {
            self.each_half(&key, now, out, Half::end);
        }
    }

    fn chunk(&mut self, ts: Timestamp, chunk: Chunk, out: &mut Vec<StreamEvent>) {
        let process = self.processes.key(chunk.pid, ts);
        let key = FlowKey { process, conn: chunk.conn.clone() };
        if !self.flows.contains_key(&key) {
            self.open(&key, ts, &chunk, out);
        }
        let tracked = self.flows.get_mut(&key).expect("it was there or has just been opened");
        tracked.used = tracked.used.max(ts);
        tracked.learn(chunk.sni, chunk.peer, chunk.local, chunk.role);
        let (dir, off, data) = (chunk.dir, chunk.off, chunk.data.into_content());
        if tracked.halves[dir as usize].begins_turn(off) {
            // What the turn before lacks will not come any more, and answers must find their requests.
            self.with_half(&key, dir, ts, out, Half::give_up);
            self.release(&key, ts, out);
        }
        let tracked = self.flows.get_mut(&key).expect("holes are given up, flows are not");
        if tracked.halves[dir.opposite() as usize].is_waiting() {
            tracked.halves[dir.opposite() as usize].hear_other();
            let cost = data.len() + PIECE_COST;
            tracked.held.push((ts, dir, off, data));
            tracked.held_cost += cost;
            self.waiting_cost += cost;
            if tracked.held_cost > OUT_OF_ORDER_BYTES || self.waiting_cost > REASSEMBLY_TOTAL {
                self.each_half(&key, ts, out, Half::give_up);
            }
            return;
        }
        self.with_half(&key, dir, ts, out, |half, runs| half.push(ts, off, data, runs));
        self.release(&key, ts, out);
    }

    /// Hands on what was held back for the other direction, once that one waits no more. True if there was anything.
    fn release(&mut self, key: &FlowKey, now: Timestamp, out: &mut Vec<StreamEvent>) -> bool {
        let Some(tracked) = self.flows.get_mut(key) else { return false };
        if tracked.held.is_empty() || tracked.halves.iter().any(Half::is_waiting) {
            return false;
        }
        self.waiting_cost -= std::mem::take(&mut tracked.held_cost);
        for (ts, dir, off, data) in std::mem::take(&mut tracked.held) {
            self.with_half(key, dir, now, out, |half, runs| half.push(ts, off, data, runs));
        }
        true
    }

    fn open(&mut self, key: &FlowKey, ts: Timestamp, chunk: &Chunk, out: &mut Vec<StreamEvent>) {
        while self.flows.len() >= FLOWS {
            self.evict(ts, out);
        }
        self.opened += 1;
        let id = FlowId(self.opened);
        let known = self.sockets.of_conn(key).unwrap_or_default();
        let flow = Flow {
            id,
            conn: key.conn.clone(),
            process: key.process,
            source: chunk.source,
            role: known.role,
            sni: None,
            peer: known.peer,
            local: known.local,
        };
        self.owned.entry(key.process).or_default().insert(id, key.conn.clone());
        let tracked =
            Tracked { flow: Arc::new(flow), halves: Default::default(), held: Vec::new(), held_cost: 0, used: ts, loss: None };
        self.flows.insert(key.clone(), tracked);
        self.idle.push(Reverse((ts, id, key.clone())));
    }

    /// Gives up the flow that was idle longest.
    fn evict(&mut self, now: Timestamp, out: &mut Vec<StreamEvent>) {
        let Some(Reverse((used, id, key))) = self.idle.pop() else { return };
        let Some(tracked) = self.flows.get(&key).filter(|tracked| tracked.flow.id == id) else { return };
        if tracked.used > used {
            return self.idle.push(Reverse((tracked.used, id, key)));
        }
        self.close(&key, now, true, out);
    }

    fn close(&mut self, key: &FlowKey, ts: Timestamp, evicted: bool, out: &mut Vec<StreamEvent>) {
        self.each_half(key, ts, out, Half::end);
        self.sockets.forget_conn(key);
        let Some(tracked) = self.flows.remove(key) else { return };
        if let Some(owned) = self.owned.get_mut(&key.process) {
            owned.remove(&tracked.flow.id);
            if owned.is_empty() {
                self.owned.remove(&key.process);
            }
        }
        out.push(StreamEvent::Closed { flow: tracked.flow, ts, evicted });
        // Closed flows leave their entry in the heap behind; it must not outgrow the table.
        if self.idle.len() > 2 * FLOWS {
            let flows = &self.flows;
            self.idle.retain(|Reverse((_, id, key))| flows.get(key).is_some_and(|tracked| tracked.flow.id == *id));
        }
    }

    fn close_process(&mut self, process: ProcessKey, ts: Timestamp, out: &mut Vec<StreamEvent>) {
        let owned: Vec<ConnId> = self.owned.get(&process).map(|owned| owned.values().cloned().collect()).unwrap_or_default();
        for conn in owned {
            self.close(&FlowKey { process, conn }, ts, false, out);
        }
    }

    fn socket(&mut self, ts: Timestamp, socket: Socket, out: &mut Vec<StreamEvent>) {
        let process = self.processes.key(socket.pid, ts);
        if let Some(conn) = self.sockets.push(process, &socket) {
            let key = FlowKey { process, conn };
            match socket.op {
                SocketOp::Close => self.close(&key, ts, false, out),
                SocketOp::Connect | SocketOp::Accept => {
                    let known = self.sockets.of_conn(&key).unwrap_or_default();
                    if let Some(tracked) = self.flows.get_mut(&key) {
                        tracked.learn(None, known.peer, known.local, known.role);
                    }
                }
            }
        }
        out.push(StreamEvent::Fact { ts, fact: Fact::Socket { process, socket } });
    }

    fn lose(&mut self, ts: Timestamp, loss: Loss, out: &mut Vec<StreamEvent>) {
        let process = loss.pid.map(|pid| self.processes.key(pid, ts));
        let named = process.zip(loss.conn.clone()).map(|(process, conn)| FlowKey { process, conn });
        let peer = named.and_then(|key| self.sockets.of_conn(&key)).and_then(|known| known.peer);
        match (loss.pid, &loss.conn) {
            // What is not seen at all leaves no hole in what is.
            _ if loss.cause.blind_spot().is_some() => {}
            (Some(pid), Some(conn)) => {
                let key = FlowKey { process: self.processes.key(pid, ts), conn: conn.clone() };
                self.lose_in(&key, ts, &loss, out);
            }
            (None, Some(conn)) => {
                let mut keys: Vec<FlowKey> = self.flows.keys().filter(|key| key.conn == *conn).cloned().collect();
                keys.sort();
                for key in keys {
                    self.lose_in(&key, ts, &loss, out);
                }
            }
            (Some(pid), None) => self.processes.lose(pid, ts, &loss.cause),
            (None, None) => self.loss = Some(loss.cause.clone()),
        }
        out.push(StreamEvent::Fact { ts, fact: Fact::Loss { process, peer, loss } });
    }

    fn lose_in(&mut self, key: &FlowKey, ts: Timestamp, loss: &Loss, out: &mut Vec<StreamEvent>) {
        let Some(tracked) = self.flows.get_mut(key) else { return };
        tracked.loss = Some(loss.cause.clone());
        match loss.dir {
            Some(dir) => self.with_half(key, dir, ts, out, |half, runs| half.lose(loss.bytes, runs)),
            // It hit one of the two, and nobody knows which: neither is trusted beyond this point.
            None => self.each_half(key, ts, out, |half, runs| half.lose(None, runs)),
        }
    }

    fn each_half(
        &mut self,
        key: &FlowKey,
        now: Timestamp,
        out: &mut Vec<StreamEvent>,
        mut act: impl FnMut(&mut Half, &mut Vec<Run>),
    ) {
        loop {
            for dir in [Direction::Out, Direction::In] {
                self.with_half(key, dir, now, out, &mut act);
            }
            // What was held back may have a hole of its own.
            if !self.release(key, now, out) {
                return;
            }
        }
    }

    /// Lets `act` change one direction and hands on what comes out.
    fn with_half(
        &mut self,
        key: &FlowKey,
        dir: Direction,
        now: Timestamp,
        out: &mut Vec<StreamEvent>,
        act: impl FnOnce(&mut Half, &mut Vec<Run>),
    ) {
        let Some(tracked) = self.flows.get_mut(key) else { return };
        let half = &mut tracked.halves[dir as usize];
        let mut runs = std::mem::take(&mut self.runs);
        let before = half.cost();
        act(half, &mut runs);
        if self.waiting_cost - before + half.cost() > REASSEMBLY_TOTAL {
            half.give_up(&mut runs);
        }
        self.waiting_cost = self.waiting_cost - before + half.cost();
        if tracked.halves.iter().any(Half::is_waiting) {
            self.waiting.insert(tracked.flow.id, key.clone());
        } else {
            self.waiting.remove(&tracked.flow.id);
        }
        for run in runs.drain(..) {
            out.push(match run {
                Run::Data { ts, off, bytes } => {
                    StreamEvent::Data { flow: tracked.flow.clone(), ts, dir, off, bytes: Sensitive::new(bytes) }
                }
                Run::Gap { off, missing } => {
                    let nearest = tracked.loss.as_ref().or(self.processes.loss(key.process.pid)).or(self.loss.as_ref());
                    let cause = nearest.cloned().unwrap_or_else(|| LossCause::Other("unknown".into()));
                    StreamEvent::Gap { flow: tracked.flow.clone(), ts: now, dir, off, missing, cause }
                }
            });
        }
        self.runs = runs;
    }
}

impl Tracked {
    /// Takes what is new; what was known stays unless a later record says otherwise.
    fn learn(&mut self, sni: Option<Arc<str>>, peer: Option<Arc<str>>, local: Option<Arc<str>>, role: Option<Role>) {
        fn differs<T: PartialEq>(new: &Option<T>, known: &Option<T>) -> bool {
            new.is_some() && new != known
        }
        let flow = &self.flow;
        if differs(&sni, &flow.sni) || differs(&peer, &flow.peer) || differs(&local, &flow.local) || differs(&role, &flow.role) {
            let mut flow = Flow::clone(flow);
            flow.sni = sni.or(flow.sni);
            flow.peer = peer.or(flow.peer);
            flow.local = local.or(flow.local);
            flow.role = role.or(flow.role);
            self.flow = Arc::new(flow);
        }
    }
}
