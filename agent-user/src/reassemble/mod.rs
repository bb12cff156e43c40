//! **reassemble**: chunks of one direction become one ordered stream; what is missing becomes a [`StreamEvent::Gap`].
//!
//! In: [`Observation`]. Out: [`StreamEvent`]: ordered bytes per flow and direction, and the facts about processes, sockets and
//! files, passed by in order. It knows nothing of any protocol.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::{ConnId, Direction, FlowId, LossCause, ProcessKey, Sensitive, Timestamp};
use crate::capture::{FileEffect, Loss, Observation, Role, Socket, Source};

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
    Exec { process: ProcessKey, parent: Option<ProcessKey>, exec: crate::capture::Exec },
    Fork { child: ProcessKey, parent: ProcessKey },
    Exit { process: ProcessKey, code: Option<i64> },
    Socket { process: ProcessKey, socket: Socket },
    File { process: ProcessKey, effect: FileEffect },
    Loss(Loss),
}

/// The stage.
#[derive(Default)]
pub struct Reassemble {}

impl Reassemble {
    pub fn push(&mut self, _observation: Observation, _out: &mut Vec<StreamEvent>) {}

    /// Idle time: gives up waiting for an overtaken chunk, forgets idle flows.
    pub fn tick(&mut self, _now: Timestamp, _out: &mut Vec<StreamEvent>) {}

    /// End of a recording: what still waits is handed on, with gaps.
    pub fn finish(&mut self, _now: Timestamp, _out: &mut Vec<StreamEvent>) {}
}
