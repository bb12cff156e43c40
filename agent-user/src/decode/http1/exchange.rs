//! One exchange while it is under way.

use std::borrow::Cow;
use std::sync::Arc;

use crate::base::{Anomaly, ExchangeId, Incomplete, LossCause, Timestamp};
use crate::decode::body::Assembled;
use crate::decode::{Body, Exchange, HttpEvent, Out, Protocol, Request, Response, note};

use super::framing::{Answers, Plan};
use super::head::Kind;

/// An exchange whose end has not been seen.
pub(super) struct Open {
    pub(super) id: ExchangeId,
    pub(super) protocol: Protocol,
    pub(super) request: Option<Arc<Request>>,
    pub(super) request_done: bool,
    pub(super) announced: bool,
    pub(super) response: Option<Arc<Response>>,
    pub(super) response_done: bool,
    pub(super) answers: Answers,
    /// Answers of status 1xx so far.
    pub(super) interims: usize,
    /// CONNECT or `Upgrade`: the answer decides what the bytes after the request are.
    pub(super) wants_upgrade: bool,
    pub(super) incomplete: Vec<Incomplete>,
    pub(super) anomalies: Vec<Anomaly>,
}

impl Open {
    /// An answer to something that was not seen.
    pub(super) fn unasked(id: ExchangeId, protocol: Protocol, hole: Option<&LossCause>) -> Open {
        let mut incomplete = vec![Incomplete::REQUEST_MISSING];
        incomplete.extend(hole.map(Incomplete::gap));
        Open {
            id,
            protocol,
            request: None,
            request_done: true,
            announced: true,
            response: None,
            response_done: false,
            answers: Answers::default(),
            interims: 0,
            wants_upgrade: false,
            incomplete,
            anomalies: Vec::new(),
        }
    }

    /// Says that the request is there, once: whole, or as far as it came before its answer.
    pub(super) fn announce(&mut self, out: &mut Out<'_>) {
        if std::mem::replace(&mut self.announced, true) {
            return;
        }
        let Some(request) = self.request.clone() else { return };
        out.events.push(HttpEvent::Request { id: self.id, flow: out.flow.clone(), protocol: self.protocol, request });
    }

    /// Notes what is odd about the framing, and what other readers would make of it.
    pub(super) fn take_plan(&mut self, kind: Kind, plan: Plan) {
        for anomaly in plan.anomalies {
            note(&mut self.anomalies, anomaly);
        }
        let side = match kind {
            Kind::Request => "request",
            Kind::Response => "response",
        };
        for length in plan.other_lengths {
            note(&mut self.anomalies, Anomaly(Cow::Owned(format!("http1.other_reading:{side}_length={length}"))));
        }
    }

    pub(super) fn absorb(&mut self, assembled: Assembled) -> Body {
        for reason in assembled.incomplete {
            note(&mut self.incomplete, reason);
        }
        for anomaly in assembled.anomalies {
            note(&mut self.anomalies, anomaly);
        }
        assembled.body
    }

    /// No more of it will be seen.
    pub(super) fn give_up(&mut self, hole: Option<&LossCause>) {
        if !self.request_done {
            note(&mut self.incomplete, Incomplete::REQUEST_CUT);
        }
        if self.response.is_none() {
            note(&mut self.incomplete, Incomplete::RESPONSE_MISSING);
            if let Some(hole) = hole {
                note(&mut self.incomplete, Incomplete::gap(hole));
            }
        } else if !self.response_done {
            note(&mut self.incomplete, Incomplete::RESPONSE_CUT);
        }
    }

    pub(super) fn finish(mut self, ts: Timestamp, out: &mut Out<'_>) {
        self.announce(out);
        let exchange = Exchange {
            id: self.id,
            flow: out.flow.clone(),
            protocol: self.protocol,
            stream: None,
            request: self.request,
            response: self.response,
            incomplete: self.incomplete,
            anomalies: self.anomalies,
        };
        out.events.push(HttpEvent::Done { ts, exchange: Arc::new(exchange) });
    }
}
