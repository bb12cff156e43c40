//! Blind spots as observations and as state: what is told of a [`Spot`] once its process is known to be watched.

use std::collections::VecDeque;

use super::BlindSpot;
use super::ledger::{Spot, Where};
use crate::base::{ConnId, LossCause, Timestamp};
use crate::capture::{Loss, Observation, Seen, Socket, SocketOp};

/// Spots that `status` shows.
pub(super) const KEPT: usize = 64;

#[derive(Default)]
pub(super) struct Spots {
    latest: VecDeque<BlindSpot>,
}

impl Spots {
    /// The observations that tell of it: the connection where there is one, then what is blind.
    pub(super) fn tell(&self, ts: Timestamp, spot: &Spot, out: &mut Vec<Observation>) {
        let conn = spot.socket.as_ref().map(|place| conn(spot.pid, place));
        if let Some(place) = &spot.socket {
            let op = if place.accepted { SocketOp::Accept } else { SocketOp::Connect };
            let peer = place.peer.as_deref().map(Into::into);
            let socket = Socket { pid: spot.pid, fd: u32::try_from(place.fd).ok(), op, local: None, peer, conn: conn.clone() };
            out.push(Observation { ts, what: Seen::Socket(socket) });
        }
        let cause = LossCause::blind(spot.why, &spot.what);
        let loss = Loss { cause, count: 1, pid: Some(spot.pid), conn, dir: None, bytes: spot.bytes };
        out.push(Observation { ts, what: Seen::Loss(loss) });
    }

    pub(super) fn keep(&mut self, spot: &Spot, exe: String) {
        self.latest.push_back(BlindSpot {
            pid: spot.pid,
            exe,
            why: spot.why,
            what: spot.what.clone(),
            peer: spot.socket.as_ref().and_then(|place| place.peer.clone()).unwrap_or_default(),
        });
        if self.latest.len() > KEPT {
            self.latest.pop_front();
        }
    }

    pub(super) fn latest(&self) -> Vec<BlindSpot> {
        self.latest.iter().cloned().collect()
    }
}

fn conn(pid: u32, place: &Where) -> ConnId {
    ConnId(format!("{pid}-fd{}-{:x}", place.fd, place.generation).into())
}
