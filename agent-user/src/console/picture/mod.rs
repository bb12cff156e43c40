//! The picture of what goes on, painted by the daemon for those who look: `agentward top`, the web console, the API on the socket.
//!
//! In: what the pipeline concluded. Out: rows ([`rows`], version 1 of the API). While nobody looks and no console is configured,
//! nothing is painted: the daemon pays one atomic load a step. Everything is bounded by `base::limits::PICTURE_*`; the journal has
//! all alerts, this has the recent ones with the steps around them.

mod agent;
mod model;
pub(super) mod rows;
mod step;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use self::model::Model;
use self::rows::{AgentDetail, AlertDetail, AlertRow, Overview, RuleRow, WorkflowDetail, WorkflowRow};
use crate::base::Timestamp;
use crate::correlate::{Step, Workflow};
use crate::decide::{Alert, RuleSet};
use crate::deliver::Redactor;
use crate::pipeline::{Output, Pipeline};

/// Painting goes on for this long after the last look.
const LOOKED: Duration = Duration::from_secs(120);

/// Shared by the daemon's thread, which paints, and those that answer.
pub(super) struct Picture {
    model: Mutex<Model>,
    begun: Instant,
    /// Milliseconds since `begun` until which somebody looks.
    wanted_until: AtomicU64,
}

impl Picture {
    pub(super) fn new(rules: Arc<RuleSet>) -> Picture {
        let mut model = Model::default();
        model.set_rules(rules);
        Picture { model: Mutex::new(model), begun: Instant::now(), wanted_until: AtomicU64::new(0) }
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        // A reader that panicked left the model whole: it only reads.
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A console is configured: paint from the start.
    pub(super) fn always(&self) {
        self.wanted_until.store(u64::MAX, Ordering::Relaxed);
    }

    /// What is shown is a recording, not this host.
    pub(super) fn of_recording(&self) {
        self.always();
        self.model().recording = true;
    }

    pub(super) fn is_recording(&self) -> bool {
        self.model().recording
    }

    /// Somebody looks now.
    pub(super) fn looked(&self) {
        self.wanted_until.fetch_max(self.elapsed().saturating_add(millis(LOOKED)), Ordering::Relaxed);
    }

    fn elapsed(&self) -> u64 {
        millis(self.begun.elapsed())
    }

    fn wanted(&self) -> bool {
        let until = self.wanted_until.load(Ordering::Relaxed);
        until != 0 && (until == u64::MAX || self.elapsed() < until)
    }

    pub(super) fn set_rules(&self, rules: Arc<RuleSet>) {
        self.model().set_rules(rules);
    }

    pub(super) fn step(&self, step: &Step, redactor: &Redactor) {
        if self.wanted() {
            self.model().step(step, redactor);
        }
    }

    pub(super) fn alert(&self, alert: &Alert, redactor: &Redactor) {
        if self.wanted() {
            self.model().alert(alert, redactor);
        }
    }

    pub(super) fn closed(&self, workflow: &Workflow) {
        if self.wanted() {
            self.model().closed(workflow);
        }
    }

    pub(super) fn tick(&self, now: Timestamp) {
        if self.wanted() {
            self.model().tick(now.0);
        }
    }

    /// What rules cost by now.
    pub(super) fn fares(&self, pipeline: &Pipeline) {
        if self.wanted() {
            self.model().fares(pipeline.rule_counts().map(|(id, counts)| (id.clone(), counts)));
        }
    }

    /// All that a pipeline handed out, for a replay.
    pub(super) fn paint(&self, outputs: &mut Vec<Output>, redactor: &Redactor) {
        for output in outputs.drain(..) {
            match output {
                Output::Step(step) => self.step(&step, redactor),
                Output::Alert(alert) => self.alert(&alert, redactor),
                Output::Workflow(workflow) => self.closed(&workflow),
                Output::Exchange(_) | Output::Message(_) | Output::Odd { .. } | Output::Panicked { .. } => {}
            }
        }
    }

    pub(super) fn revision(&self) -> u64 {
        self.model().revision
    }

    /// Without coverage, which the daemon's board knows.
    pub(super) fn overview(&self) -> Overview {
        self.model().overview()
    }

    pub(super) fn workflows(&self, limit: usize) -> Vec<WorkflowRow> {
        self.model().workflow_rows(limit)
    }

    pub(super) fn workflow(&self, id: &str) -> Option<WorkflowDetail> {
        self.model().workflow_detail(id)
    }

    pub(super) fn alerts(&self, limit: usize) -> Vec<AlertRow> {
        self.model().alert_rows(limit)
    }

    pub(super) fn alert_of(&self, uid: &str) -> Option<AlertDetail> {
        self.model().alert_detail_of(uid)
    }

    pub(super) fn agent(&self, id: &str) -> Option<AgentDetail> {
        self.model().agent_detail(id)
    }

    pub(super) fn rules(&self) -> Vec<RuleRow> {
        self.model().rule_rows()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
