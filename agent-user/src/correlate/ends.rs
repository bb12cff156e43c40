//! Both ends of one call: a request that one process sent is the one that another serves.
//!
//! In: requests as they open and complete. Out: for a request that came in, the one that went out; for a process, the request that it
//! is serving. Both ends are known by the socket pair, by the same bytes, or by the trace that they name.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Step, WorkflowId};
use crate::base::limits::OPEN_ACTIONS;
use crate::base::{ActionId, KeyedHash, ProcessKey, Timestamp};
use crate::understand::Action;

/// A request that is open at one end.
#[derive(Clone, Debug)]
pub(super) struct Going {
    pub(super) action: ActionId,
    /// What brought it about: a decision, or the other end.
    pub(super) from: Option<ActionId>,
    pub(super) workflow: WorkflowId,
    pub(super) process: ProcessKey,
    pub(super) at: Timestamp,
    socket: Option<String>,
    bytes: u64,
    trace: Option<Arc<str>>,
    taken: bool,
    pub(super) mcp: bool,
    /// Words of its arguments, as fingerprints, to tell which of several requests a process works on.
    words: Vec<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Ends {
    out: HashMap<u64, Vec<Going>>,
    /// By process: what it sent and waits for, and what it serves.
    waits: HashMap<ProcessKey, Vec<Going>>,
    serves: HashMap<ProcessKey, Vec<Going>>,
    count: usize,
}

/// The other end of a request that came in.
pub(super) struct OtherEnd {
    pub(super) action: ActionId,
    pub(super) workflow: WorkflowId,
    pub(super) why: &'static str,
    pub(super) confidence: f32,
}

impl Ends {
    pub(super) fn opened(&mut self, step: &Step, hash: &KeyedHash) {
        if self.count >= OPEN_ACTIONS {
            return;
        }
        let action = &*step.action;
        let going = Going {
            action: action.id,
            from: step.causes.first().map(|cause| cause.action),
            workflow: step.workflow,
            process: action.process,
            at: action.time,
            socket: pair(action, action.inbound),
            bytes: bytes(action, hash),
            trace: trace(action),
            taken: false,
            mcp: action.mcp.is_some(),
            words: if action.inbound { words(action, hash) } else { Vec::new() },
        };
        self.count += 1;
        if action.inbound {
            self.serves.entry(action.process).or_default().push(going);
        } else {
            self.waits.entry(action.process).or_default().push(going.clone());
            self.out.entry(going.bytes).or_default().push(going);
        }
    }

    pub(super) fn completed(&mut self, action: &Action, hash: &KeyedHash) {
        let table = if action.inbound { &mut self.serves } else { &mut self.waits };
        if let Some(list) = table.get_mut(&action.process) {
            let before = list.len();
            list.retain(|going| going.action != action.id);
            self.count -= before - list.len();
            if list.is_empty() {
                table.remove(&action.process);
            }
        }
        let bytes = bytes(action, hash);
        if let Some(list) = self.out.get_mut(&bytes) {
            list.retain(|going| going.action != action.id);
            if list.is_empty() {
                self.out.remove(&bytes);
            }
        }
    }

    /// The request that another process sent and this one received.
    pub(super) fn other_end(&mut self, action: &Action, hash: &KeyedHash) -> Option<OtherEnd> {
        let list = self.out.get_mut(&bytes(action, hash))?;
        let socket = pair(action, true);
        let trace = trace(action);
        let of_others = |going: &&mut Going| going.process != action.process;
        let same_socket = list.iter().position(|going| going.socket.is_some() && going.socket == socket);
        let same_trace =
            || list.iter().position(|going| trace.is_some() && going.trace == trace && going.process != action.process);
        let (why, confidence, at) = if let Some(at) = same_socket {
            ("same_socket", 1.0, at)
        } else if let Some(at) = same_trace() {
            ("traceparent", 0.97, at)
        } else {
            let free = list.iter().filter(|going| !going.taken && going.process != action.process).count();
            let at = list.iter_mut().position(|going| of_others(&going) && !going.taken)?;
            ("same_bytes", if free == 1 { 0.95 } else { 0.7 }, at)
        };
        let going = &mut list[at];
        going.taken = true;
        Some(OtherEnd { action: going.action, workflow: going.workflow, why, confidence })
    }

    /// The request that a process works on when it says or does this.
    pub(super) fn serving(&self, process: ProcessKey, trace: Option<&str>, said: &[u64]) -> Option<(&Going, f32)> {
        let list = self.serves.get(&process)?;
        if let Some(going) =
            list.iter().find(|going| trace.is_some() && going.trace.as_deref().map(trace_id) == trace.map(trace_id))
        {
            return Some((going, 0.97));
        }
        if let [only] = list.as_slice() {
            return Some((only, 0.9));
        }
        let shared = |going: &Going| going.words.iter().filter(|word| said.contains(word)).count();
        let best = list.iter().max_by_key(|going| shared(going))?;
        match shared(best) {
            0 => list.last().map(|last| (last, 0.4)),
            count if list.iter().filter(|going| shared(going) == count).count() == 1 => Some((best, 0.85)),
            _ => Some((best, 0.5)),
        }
    }

    /// Of the requests that a process works on, one that these brought about.
    pub(super) fn serving_one_of(&self, process: ProcessKey, from: &[ActionId]) -> Option<&Going> {
        self.serves.get(&process)?.iter().rev().find(|going| going.from.is_some_and(|action| from.contains(&action)))
    }

    /// Calls of an agent that other processes may be working on.
    pub(super) fn waiting(&self, process: ProcessKey) -> &[Going] {
        self.waits.get(&process).map_or(&[], Vec::as_slice)
    }

    pub(super) fn forget(&mut self, process: ProcessKey) {
        let gone = self.serves.remove(&process).into_iter().chain(self.waits.remove(&process)).flatten();
        for going in gone {
            self.count -= 1;
            if let Some(list) = self.out.get_mut(&going.bytes) {
                list.retain(|other| other.action != going.action);
                if list.is_empty() {
                    self.out.remove(&going.bytes);
                }
            }
        }
    }
}

/// Client's address, then the server's, whichever end was seen.
fn pair(action: &Action, served: bool) -> Option<String> {
    let flow = action.flow.as_ref()?;
    let (local, peer) = (flow.local.as_ref()?, flow.peer.as_ref()?);
    Some(if served { format!("{peer}>{local}") } else { format!("{local}>{peer}") })
}

/// What both ends see alike: method and path or message, and the arguments.
fn bytes(action: &Action, hash: &KeyedHash) -> u64 {
    let place = match (&action.mcp, &action.http) {
        (Some(mcp), _) => format!("{} {}", mcp.method, mcp.request_id.as_deref().unwrap_or_default()),
        (None, Some(http)) => format!("{} {}", http.method, http.path),
        (None, None) => action.op.as_deref().unwrap_or_default().to_owned(),
    };
    let text = format!("{place}\u{0}{}", action.arg.expose_content().to_json());
    hash.print(text.as_bytes())
}

fn trace(action: &Action) -> Option<Arc<str>> {
    action.identity.traceparent.clone()
}

/// `00-<trace>-<span>-<flags>` (W3C Trace Context): the trace stays, the span changes.
pub(super) fn trace_id(parent: &str) -> &str {
    parent.split('-').nth(1).unwrap_or(parent)
}

fn words(action: &Action, hash: &KeyedHash) -> Vec<u64> {
    word_prints(&action.arg.expose_content().to_json(), hash)
}

/// Fingerprints of the longer words of a text.
pub(super) fn word_prints(text: &str, hash: &KeyedHash) -> Vec<u64> {
    const MOST: usize = 256;
    let mut prints: Vec<u64> = text
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| word.len() >= 4 || word.chars().any(|letter| letter.is_ascii_digit()))
        .take(MOST)
        .map(|word| hash.print(word.to_lowercase().as_bytes()))
        .collect();
    prints.sort_unstable();
    prints.dedup();
    prints
}
