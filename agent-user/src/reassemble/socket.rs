//! What socket records say about connections: addresses and which end connected.
//!
//! In: socket records, which name a connection, a descriptor, or both. Out: the facts known about a connection.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::base::limits::SOCKETS;
use crate::base::{ConnId, ProcessKey};
use crate::capture::{Role, Socket, SocketOp};

use super::FlowKey;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) role: Option<Role>,
    pub(super) peer: Option<Arc<str>>,
    pub(super) local: Option<Arc<str>>,
    conn: Option<ConnId>,
    /// Which record said so: an older one that is forgotten must not take this one along.
    serial: u64,
}

/// A descriptor is a name for a socket until it is closed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Descriptor {
    process: ProcessKey,
    fd: u32,
}

#[derive(Default)]
pub(super) struct Sockets {
    by_fd: HashMap<Descriptor, Known>,
    by_conn: HashMap<FlowKey, Known>,
    /// In order of arrival, so that the bound drops the oldest. May name entries that are gone.
    order: VecDeque<(u64, Entry)>,
    serial: u64,
}

enum Entry {
    Fd(Descriptor),
    Conn(FlowKey),
}

impl Sockets {
    /// Takes a record and says which connection it is about, where that is known.
    pub(super) fn push(&mut self, process: ProcessKey, socket: &Socket) -> Option<ConnId> {
        let descriptor = socket.fd.map(|fd| Descriptor { process, fd });
        let role = match socket.op {
            SocketOp::Connect => Role::Client,
            SocketOp::Accept => Role::Server,
            SocketOp::Close => {
                let known = descriptor.and_then(|descriptor| self.by_fd.remove(&descriptor));
                return socket.conn.clone().or(known.and_then(|known| known.conn));
            }
        };
        let earlier = descriptor.and_then(|descriptor| self.by_fd.get(&descriptor)).filter(|_| socket.peer.is_none());
        let earlier = earlier.cloned().unwrap_or_default();
        let known = Known {
            role: Some(role),
            peer: socket.peer.clone().or(earlier.peer),
            local: socket.local.clone().or(earlier.local),
            conn: socket.conn.clone().or(earlier.conn),
            serial: self.serial,
        };
        self.serial += 1;
        let conn = known.conn.clone();
        if let Some(conn) = known.conn.clone() {
            let key = FlowKey { process, conn };
            self.order.push_back((known.serial, Entry::Conn(key.clone())));
            self.by_conn.insert(key, known.clone());
        }
        if let Some(descriptor) = descriptor {
            self.order.push_back((known.serial, Entry::Fd(descriptor)));
            self.by_fd.insert(descriptor, known);
        }
        self.shrink();
        conn
    }

    pub(super) fn of_conn(&self, key: &FlowKey) -> Option<Known> {
        self.by_conn.get(key).cloned()
    }

    pub(super) fn forget_conn(&mut self, key: &FlowKey) {
        self.by_conn.remove(key);
    }

    fn shrink(&mut self) {
        while self.order.len() > SOCKETS {
            match self.order.pop_front() {
                Some((serial, Entry::Fd(descriptor))) => {
                    if self.by_fd.get(&descriptor).is_some_and(|known| known.serial == serial) {
                        self.by_fd.remove(&descriptor);
                    }
                }
                Some((serial, Entry::Conn(key))) => {
                    if self.by_conn.get(&key).is_some_and(|known| known.serial == serial) {
                        self.by_conn.remove(&key);
                    }
                }
                None => return,
            }
        }
    }
}
