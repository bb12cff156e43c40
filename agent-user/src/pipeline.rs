//! The one file that knows the order of the stages.
//!
//! In: [`Observation`]s in the order of their arrival, and the passing of time. Out: [`Output`]: what each stage concluded, for
//! sinks, the terminal and `replay`. Time is that of the observations: live and replay of the same ones conclude the same.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Anomaly, Direction, FlowId, KeyedHash, Timestamp};
use crate::capture::Observation;
use crate::correlate::{Correlate, Correlated, Going, Step, Workflow};
use crate::decide::{Alert, Counts, Decide, RuleSet};
use crate::decode::{Decode, Exchange, Frame, HttpEvent};
use crate::deliver::Message;
use crate::reassemble::{Flow, Reassemble, StreamEvent};
use crate::understand::{Draft, Understand};

/// Stages see time pass in steps of this size at most, whoever drives them: a clock or the records of a recording.
const TICK: Duration = Duration::from_millis(100);

/// What the pipeline concluded.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    Exchange(Arc<Exchange>),
    Message(Message),
    /// Odd bytes outside of any exchange, and how many.
    Odd {
        flow: Arc<Flow>,
        ts: Timestamp,
        dir: Direction,
        anomaly: Anomaly,
        bytes: u64,
    },
    Step(Box<Step>),
    Workflow(Box<Workflow>),
    Alert(Box<Alert>),
    /// A stage panicked while it handled this flow: a defect of ours. The flow is given up, the rest goes on.
    Panicked {
        stage: &'static str,
        flow: Option<FlowId>,
    },
}

/// The stages and the buffers between them, which are empty between two calls.
pub struct Pipeline {
    reassemble: Reassemble,
    decode: Decode,
    understand: Understand,
    correlate: Correlate,
    decide: Decide,
    rules: Arc<RuleSet>,
    now: Timestamp,
    ticked: Timestamp,
    streams: Vec<StreamEvent>,
    events: Vec<HttpEvent>,
    drafts: Vec<Draft>,
    correlated: Vec<Correlated>,
    alerts: Vec<Alert>,
}

impl Pipeline {
    pub fn new(rules: Arc<RuleSet>) -> Pipeline {
        let mut understand = Understand::default();
        understand.set_sources(rules.identities());
        Pipeline {
            reassemble: Reassemble::default(),
            decode: Decode::default(),
            understand,
            correlate: Correlate::default(),
            decide: Decide::default(),
            rules,
            now: Timestamp::default(),
            ticked: Timestamp::default(),
            streams: Vec::new(),
            events: Vec::new(),
            drafts: Vec::new(),
            correlated: Vec::new(),
            alerts: Vec::new(),
        }
    }

    /// How each rule fares.
    pub fn rule_counts(&self) -> impl Iterator<Item = (&Arc<str>, Counts)> {
        self.decide.counts()
    }

    /// The same with what rules remembered when [`Pipeline::memory`] was asked, in fingerprints of `hash`. False when `saved` is not
    /// readable: then they begin anew.
    pub fn remembering(rules: Arc<RuleSet>, hash: KeyedHash, saved: Option<&[u8]>) -> (Pipeline, bool) {
        let mut decide = Decide::new(hash);
        let mut correlate = Correlate::default();
        let readable = saved.is_none_or(|mut saved| {
            let going: Option<Going> = rmp_serde::from_read(&mut saved).ok();
            going.is_some_and(|going| {
                let readable = decide.restore(&rules, saved);
                if readable {
                    correlate.resume(going);
                }
                readable
            })
        });
        (Pipeline { decide, correlate, ..Pipeline::new(rules) }, readable)
    }

    /// What rules remember and the workflows that they remember it of, for a file.
    pub fn memory(&self) -> Vec<u8> {
        let mut saved = rmp_serde::to_vec(&self.correlate.going()).expect("numbers can be written");
        saved.extend(self.decide.save());
        saved
    }

    /// Later steps are judged by `rules`.
    pub fn set_rules(&mut self, rules: Arc<RuleSet>) {
        self.understand.set_sources(rules.identities());
        self.rules = rules;
    }

    pub fn push(&mut self, observation: Observation, out: &mut Vec<Output>) {
        // Records of two CPUs may arrive swapped; time does not go back.
        self.now = self.now.max(observation.ts);
        self.tick(self.now, out);
        let ran = guarded(|| self.reassemble.push(observation, &mut self.streams));
        self.report("reassemble", None, ran, out);
        self.flow_down(out);
    }

    /// Time passed without an observation.
    pub fn tick(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        if self.ticked == Timestamp::default() {
            self.ticked = now;
        }
        if now.since(self.ticked) < TICK {
            return;
        }
        self.now = self.now.max(now);
        self.ticked = now;
        self.reassemble.tick(now, &mut self.streams);
        self.flow_down(out);
        self.decode.tick(now, &mut self.events);
        self.flow_down(out);
        self.understand.tick(now, &mut self.drafts);
        self.flow_down(out);
        self.correlate.tick(now, &mut self.correlated);
        self.flow_down(out);
        self.decide.tick(&self.rules, now, &mut self.alerts);
        self.flow_down(out);
    }

    /// End of input: every stage hands on what it still holds.
    pub fn finish(&mut self, out: &mut Vec<Output>) {
        let now = self.now;
        self.reassemble.finish(now, &mut self.streams);
        self.flow_down(out);
        self.decode.finish(now, &mut self.events);
        self.flow_down(out);
        self.understand.finish(now, &mut self.drafts);
        self.flow_down(out);
        self.decide.tick(&self.rules, now, &mut self.alerts);
        self.correlate.finish(now, &mut self.correlated);
        self.flow_down(out);
        self.decide.finish(&mut self.alerts);
        self.flow_down(out);
    }

    /// Empties every buffer, first stage first.
    fn flow_down(&mut self, out: &mut Vec<Output>) {
        let mut streams = std::mem::take(&mut self.streams);
        for event in streams.drain(..) {
            let flow = flow_of(&event);
            let ran = guarded(|| self.decode.push(event, &mut self.events));
            self.report("decode", flow, ran, out);
        }
        self.streams = streams;
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            self.tap(&event, out);
            let ran = guarded(|| self.understand.push(event, &mut self.drafts));
            self.report("understand", None, ran, out);
        }
        self.events = events;
        let mut drafts = std::mem::take(&mut self.drafts);
        for draft in drafts.drain(..) {
            let ran = guarded(|| self.correlate.push(draft, &mut self.correlated));
            self.report("correlate", None, ran, out);
        }
        self.drafts = drafts;
        let mut correlated = std::mem::take(&mut self.correlated);
        for correlated in correlated.drain(..) {
            match correlated {
                Correlated::Step(step) => {
                    let ran = guarded(|| self.decide.push(&self.rules, &step, &mut self.alerts));
                    self.report("decide", None, ran, out);
                    out.push(Output::Step(step));
                    out.extend(self.alerts.drain(..).map(|alert| Output::Alert(Box::new(alert))));
                }
                Correlated::WorkflowClosed(workflow) => out.push(Output::Workflow(workflow)),
                Correlated::Exchange { .. } => {}
            }
        }
        self.correlated = correlated;
        out.extend(self.alerts.drain(..).map(|alert| Output::Alert(Box::new(alert))));
    }

    /// Exchanges and messages leave here: later stages turn them into actions.
    fn tap(&self, event: &HttpEvent, out: &mut Vec<Output>) {
        match event {
            HttpEvent::Done { exchange, .. } => out.push(Output::Exchange(exchange.clone())),
            HttpEvent::Frame { id, flow, ts, dir, frame: Frame::WebSocket { opcode, body, incomplete } } => {
                out.push(Output::Message(Message {
                    exchange: *id,
                    flow: flow.clone(),
                    ts: *ts,
                    dir: *dir,
                    opcode: *opcode,
                    body: body.clone(),
                    incomplete: incomplete.clone(),
                }));
            }
            HttpEvent::Anomaly { flow, ts, dir, anomaly, bytes } => {
                let (flow, anomaly) = (flow.clone(), anomaly.clone());
                out.push(Output::Odd { flow, ts: *ts, dir: *dir, anomaly, bytes: *bytes });
            }
            HttpEvent::Frame { .. }
            | HttpEvent::Request { .. }
            | HttpEvent::ResponseHead { .. }
            | HttpEvent::FlowClosed { .. }
            | HttpEvent::Fact { .. } => {}
        }
    }

    fn report(&self, stage: &'static str, flow: Option<FlowId>, ran: bool, out: &mut Vec<Output>) {
        if ran {
            return;
        }
        out.push(Output::Panicked { stage, flow });
    }
}

/// Runs one step of a stage; false when it panicked. The stage stays usable: what it held of the flow is thrown away.
fn guarded(step: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(step)).is_ok()
}

fn flow_of(event: &StreamEvent) -> Option<FlowId> {
    match event {
        StreamEvent::Data { flow, .. } | StreamEvent::Gap { flow, .. } | StreamEvent::Closed { flow, .. } => Some(flow.id),
        StreamEvent::Fact { .. } => None,
    }
}
