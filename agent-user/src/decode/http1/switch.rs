//! Where HTTP/1 may end on a connection: what is held back until that is known, and what the next protocol gets.

use std::sync::Arc;

use super::head::Head;
use super::{Http1, Reading, Step, has_token, held_bytes, new_response};
use crate::base::limits::UNDECIDED_BYTES;
use crate::base::{Anomaly, Timestamp};
use crate::decode::{HttpEvent, Out, Piece, Upgrade, What, header, note};

/// 101 to a request that did not ask for it.
const UNASKED_SWITCH: Anomaly = Anomaly::new("http1.ambiguous_switch");

/// The connection becomes something else; the pieces that were not read yet, in order.
pub(crate) struct Switch {
    pub(crate) to: Upgrade,
    pub(crate) rest: Vec<Piece>,
}

impl Http1 {
    /// Nobody waits so long for an answer: what was held is read as requests.
    pub(super) fn check_hold(&mut self) {
        if let Reading::Hold(held) = &self.request.reading
            && held_bytes(held) > UNDECIDED_BYTES
            && let Some(open) = self.open.back_mut()
        {
            open.wants_upgrade = false;
        }
    }

    /// Reads what was held back once the connection is known to stay as it is.
    pub(super) fn release(&mut self, out: &mut Out<'_>) -> Option<Switch> {
        let waits = self.open.back().is_some_and(|open| open.wants_upgrade && open.response.is_none());
        let Reading::Hold(held) = &mut self.request.reading else { return None };
        if waits {
            return None;
        }
        let mut held = std::mem::take(held).into_iter();
        self.request.reading = Reading::Head;
        let turn = self.turn;
        while let Some(Piece { dir, ts, what }) = held.next() {
            match what {
                What::Data(bytes) => {
                    if let Some(mut switch) = self.data(dir, ts, bytes, out) {
                        switch.rest.extend(held);
                        return Some(switch);
                    }
                }
                What::Gap { missing, cause } => self.gap(dir, ts, missing, &cause, out),
            }
        }
        self.turn = turn;
        None
    }

    /// 101: the exchange is over, and so is HTTP/1 on this connection.
    pub(super) fn switch_protocols(&mut self, head: Head, head_ts: Timestamp, ts: Timestamp, out: &mut Out<'_>) -> Step {
        let client = self.client;
        let Some(open) = self.open.front_mut() else { return Step::Again };
        if !open.wants_upgrade {
            note(&mut open.anomalies, UNASKED_SWITCH);
        }
        open.announce(out);
        let names =
            |word: &str| header(&head.headers, "upgrade").is_some_and(|value| value.eq_ignore_ascii_case(word.as_bytes()));
        if names("h2c")
            && let Some(request) = open.request.clone()
            && has_token(&request.headers, "upgrade", b"h2c")
        {
            let id = open.id;
            self.open.pop_front();
            return Step::Switch(Upgrade::H2c { id, client, request });
        }
        let upgrade = if names("websocket") {
            let extensions = head.headers.iter().filter(|field| &*field.name == "sec-websocket-extensions");
            let extensions: Vec<&[u8]> = extensions.map(|field| field.value.expose_content().as_ref()).collect();
            Upgrade::Websocket { id: open.id, client, extensions: extensions.join(&b","[..]).into() }
        } else {
            Upgrade::Tunnel
        };
        let mut response = new_response(101, head.headers, head_ts);
        response.body.complete = true;
        let response = Arc::new(response);
        out.events.push(HttpEvent::ResponseHead { id: open.id, ts: head_ts, response: response.clone() });
        open.response = Some(response);
        self.answer(ts, out);
        Step::Switch(upgrade)
    }

    /// Everything that was not read goes to the next protocol, what the client sent first.
    pub(super) fn switch(&mut self, to: Upgrade, rest: Piece, out: &mut Out<'_>) -> Switch {
        let mut pieces = match std::mem::replace(&mut self.request.reading, Reading::Head) {
            Reading::Hold(held) => held,
            Reading::Head | Reading::Body { .. } | Reading::Lost => Vec::new(),
        };
        let ts = rest.ts;
        if !matches!(&rest.what, What::Data(bytes) if bytes.is_empty()) {
            pieces.push(rest);
        }
        while let Some(mut open) = self.open.pop_front() {
            open.give_up(None);
            open.finish(ts, out);
        }
        Switch { to, rest: pieces }
    }
}
