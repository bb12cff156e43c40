//! The state behind the picture: what is known of agents, workflows and alerts, each kind bounded.
//!
//! Fed by the daemon with what the pipeline concluded; read as rows. No IO, no clock: time is that of the steps and of `tick`.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use indexmap::IndexMap;

use super::agent::{Agent, Rate, Uses};
use super::rows::*;
use super::step::{cut, pairs, row};
use crate::base::limits::{PICTURE_AGENTS, PICTURE_ALERTS, PICTURE_STEPS, PICTURE_STEPS_EACH, PICTURE_WORKFLOWS};
use crate::base::{ProcessKey, Value};
use crate::correlate::{Step, Workflow, WorkflowId};
use crate::decide::pack::{Mode, Rule};
use crate::decide::{Alert, Counts, RuleSet, Severity};
use crate::deliver::Redactor;
use crate::understand::Kind;

const MINUTE: u64 = 60_000_000_000;
/// Minutes that the overview draws.
const MINUTES: u64 = 60;

#[derive(Default)]
pub(super) struct Model {
    pub(super) revision: u64,
    pub(super) recording: bool,
    now: u64,
    since: u64,
    agents: IndexMap<Text, Agent>,
    workflows: IndexMap<WorkflowId, Arc<Flow>>,
    /// Steps kept in all workflows together.
    steps: usize,
    seen_workflows: u64,
    alerts: IndexMap<Text, Arc<AlertDetail>>,
    severities: Severities,
    hits: IndexMap<Text, Hits>,
    fares: HashMap<Text, Counts>,
    rules: Arc<RuleSet>,
    models: Uses,
    tools: Uses,
    hosts: Uses,
    minutes: VecDeque<Minute>,
    rate: Rate,
    incomplete: IndexMap<Text, u64>,
    forgotten: u64,
}

#[derive(Clone, Default)]
struct Hits {
    hits: u64,
    shadow: u64,
    last: u64,
    /// The latest alert and how often it had matched: better proof of the same is no further hit.
    latest: (Text, u64),
}

#[derive(Clone, Default)]
struct Flow {
    row: WorkflowRow,
    steps: Vec<Arc<StepRow>>,
    alerts: Vec<Text>,
    worst: Option<Severity>,
}

fn agent_id(agent: ProcessKey) -> Text {
    format!("{}@{}", agent.pid, agent.start).into()
}

impl Model {
    pub(super) fn set_rules(&mut self, rules: Arc<RuleSet>) {
        self.rules = rules;
        self.revision += 1;
    }

    pub(super) fn tick(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    pub(super) fn step(&mut self, step: &Step, redactor: &Redactor) {
        let now = step.action.time.0;
        self.passed(now);
        if let Some(agent) = step.agent
            && step.completed
        {
            self.agent(agent, now).step(step, redactor);
        }
        if step.completed {
            self.count(step, redactor);
        }
        let agent_name = step
            .agent
            .and_then(|agent| self.agents.get(&agent_id(agent)))
            .map(|agent| agent.row.name.clone())
            .unwrap_or_default();
        let row = row(step, redactor);
        let flow = self.workflow(step.workflow, step.agent, now);
        flow.row.last = flow.row.last.max(now);
        if flow.row.prompt.is_empty() && step.action.kind == Kind::LlmRequest {
            flow.row.prompt = row.summary.clone();
        }
        if let Some(user) = step.asked_by.as_ref().or(step.action.identity.user.as_ref()) {
            flow.row.user = cut(&redactor.text(&user.value));
        }
        if !agent_name.is_empty() {
            flow.row.agent_name = agent_name;
        } else if flow.row.agent_name.is_empty() {
            flow.row.agent_name = row.process.clone();
        }
        let known = flow.steps.iter_mut().rev().find(|known| known.id == row.id);
        let mut kept = 0;
        match known {
            Some(known) => *known = Arc::new(row),
            None => {
                flow.row.steps += 1;
                if flow.steps.len() < PICTURE_STEPS_EACH {
                    flow.steps.push(Arc::new(row));
                    kept = 1;
                }
            }
        }
        self.steps += kept;
        self.forget();
    }

    fn count(&mut self, step: &Step, redactor: &Redactor) {
        let action = &*step.action;
        let now = action.time.0;
        self.rate.note(now);
        if let Some(minute) = self.minutes.back_mut() {
            minute.steps += 1;
        }
        if let Some(llm) = action.llm.as_deref() {
            self.models.note(llm.model.as_deref().unwrap_or_default(), now, self.since);
        }
        if let (Kind::ToolCall, Some(tool)) = (action.kind, &action.tool) {
            self.tools.note(&tool.name, now, self.since);
        }
        if let Some(http) = &action.http {
            self.hosts.note(&redactor.location(&http.host), now, self.since);
        }
        for reason in &action.incomplete {
            *self.incomplete.entry(reason.0.as_ref().into()).or_default() += 1;
        }
    }

    /// Time moves on with the steps; a new minute begins its bar.
    fn passed(&mut self, now: u64) {
        self.revision += 1;
        self.now = self.now.max(now);
        if self.since == 0 {
            self.since = now;
        }
        let at = self.now / MINUTE * MINUTE;
        if self.minutes.back().is_none_or(|minute| minute.at < at) {
            self.minutes.push_back(Minute { at, ..Minute::default() });
            while self.minutes.len() as u64 > MINUTES {
                self.minutes.pop_front();
            }
        }
    }

    fn agent(&mut self, key: ProcessKey, now: u64) -> &mut Agent {
        let id = agent_id(key);
        if !self.agents.contains_key(&id)
            && self.agents.len() >= PICTURE_AGENTS
            && let Some(idle) = self.agents.values().min_by_key(|agent| agent.row.last).map(|agent| agent.row.id.clone())
        {
            self.agents.shift_remove(&idle);
            self.forgotten += 1;
        }
        self.agents.entry(id.clone()).or_insert_with(|| Agent::new(id, key.pid, now))
    }

    fn workflow(&mut self, id: WorkflowId, agent: Option<ProcessKey>, now: u64) -> &mut Flow {
        let agent = agent.map(agent_id).unwrap_or_default();
        if !self.workflows.contains_key(&id) {
            self.seen_workflows += 1;
            if let Some(agent) = self.agents.get_mut(&agent) {
                agent.row.workflows += 1;
            }
            let row =
                WorkflowRow { id: id.to_string().into(), agent, started: now, last: now, open: true, ..WorkflowRow::default() };
            self.workflows.insert(id, Arc::new(Flow { row, ..Flow::default() }));
        }
        Arc::make_mut(&mut self.workflows[&id])
    }

    /// Keeps within the bounds: first what is old and raised no alert goes, then what is old.
    fn forget(&mut self) {
        while self.workflows.len() > PICTURE_WORKFLOWS || self.steps > PICTURE_STEPS {
            let newest = self.workflows.len().saturating_sub(1);
            let half = self.workflows.len() / 2;
            let calm = self.workflows.values().take(half).position(|flow| flow.alerts.is_empty());
            let at = calm.unwrap_or(0);
            // The one that is being written stays: its own bound holds it.
            if at == newest {
                return;
            }
            if let Some((_, flow)) = self.workflows.shift_remove_index(at) {
                self.steps -= flow.steps.len();
                self.forgotten += 1;
            }
        }
    }

    pub(super) fn closed(&mut self, workflow: &Workflow) {
        if let Some(flow) = self.workflows.get_mut(&workflow.id) {
            Arc::make_mut(flow).row.open = false;
            self.revision += 1;
        }
    }

    pub(super) fn alert(&mut self, alert: &Alert, redactor: &Redactor) {
        self.passed(alert.time.0);
        let hits = self.hits.entry(alert.rule.id.clone()).or_default();
        let latest = (alert.uid.clone(), alert.count);
        if hits.latest != latest {
            hits.latest = latest;
            hits.last = hits.last.max(self.now);
            if alert.shadow {
                hits.shadow += 1;
            } else {
                hits.hits += 1;
            }
        }
        if alert.shadow {
            return;
        }
        let grave = alert.severity >= Severity::High;
        let first = !self.alerts.contains_key(&alert.uid);
        let mut agent_id = Text::default();
        let mut agent_name = Text::default();
        if let Some(flow) = self.workflows.get_mut(&alert.workflow) {
            let flow = Arc::make_mut(flow);
            flow.worst = flow.worst.max(Some(alert.severity));
            flow.row.severity = flow.worst.map(|severity| severity.name().into()).unwrap_or_default();
            if first && flow.alerts.len() < PICTURE_STEPS_EACH {
                flow.row.alerts += 1;
                flow.alerts.push(alert.uid.clone());
            }
            agent_id = flow.row.agent.clone();
            agent_name = flow.row.agent_name.clone();
        }
        if first {
            self.severities.add(alert.severity);
            if let Some(agent) = self.agents.get_mut(&agent_id) {
                agent.row.alerts += 1;
                agent.row.grave += u64::from(grave);
            }
            if let Some(minute) = self.minutes.back_mut() {
                minute.alerts += 1;
                minute.grave += u64::from(grave);
            }
        }
        let detail = self.alert_detail(alert, redactor, agent_id, agent_name);
        self.alerts.insert(alert.uid.clone(), Arc::new(detail));
        if self.alerts.len() > PICTURE_ALERTS {
            self.alerts.shift_remove_index(0);
            self.forgotten += 1;
        }
    }

    fn alert_detail(&self, alert: &Alert, redactor: &Redactor, agent: Text, agent_name: Text) -> AlertDetail {
        let rule = self.rules.rules.iter().find(|rule| rule.reference.id == alert.rule.id);
        let shown = |value: &Value| pairs(&redactor.value(value));
        AlertDetail {
            row: AlertRow {
                uid: alert.uid.clone(),
                time: alert.time.0,
                severity: alert.severity.name().into(),
                proof: alert.proof.name().into(),
                count: alert.count,
                rule: alert.rule.id.clone(),
                title: alert.rule.title.clone(),
                workflow: alert.workflow.to_string().into(),
                action: alert.action.to_string().into(),
                agent,
                agent_name,
            },
            chain: alert
                .chain
                .iter()
                .map(|link| LinkRow {
                    id: link.action.to_string().into(),
                    kind: link.kind.into(),
                    time: link.time.0,
                    summary: cut(&redactor.text(&link.summary)),
                })
                .collect(),
            actor: shown(&alert.actor),
            object: shown(&alert.object),
            matched: shown(&alert.matched),
            state: shown(&alert.state),
            group: shown(&alert.group),
            tags: alert.tags.clone(),
            fix: alert.fix.clone(),
            why: rule.map(|rule| rule.why.clone()).unwrap_or_default(),
            condition: rule.map(|rule| condition(rule)).unwrap_or_default(),
            rule_version: alert.rule.version.clone(),
            pack: alert.rule.pack.clone(),
            pack_hash: alert.rule.pack_hash.clone(),
            incomplete: alert.incomplete.iter().map(|reason| Text::from(reason.0.as_ref())).collect(),
            steps: Vec::new(),
        }
    }

    pub(super) fn overview(&self) -> Overview {
        let mut agents: Vec<AgentRow> = self.agents.values().map(|agent| agent.row(self.now)).collect();
        agents.sort_by(|one, other| other.last.cmp(&one.last).then_with(|| one.id.cmp(&other.id)));
        Overview {
            version: super::super::VERSION.into(),
            revision: self.revision,
            now: self.now,
            since: self.since,
            recording: self.recording,
            agents,
            models: self.models.rows(),
            tools: self.tools.rows(),
            hosts: self.hosts.rows(),
            open_workflows: self.workflows.values().filter(|flow| flow.row.open).count() as u64,
            workflows: self.seen_workflows,
            alerts: self.severities,
            minutes: self.drawn_minutes(),
            incomplete: self.incomplete.iter().map(|(reason, count)| (reason.clone(), *count)).collect(),
            coverage: Coverage::default(),
            forgotten: self.forgotten,
        }
    }

    /// Minutes in which nothing happened are drawn too.
    fn drawn_minutes(&self) -> Vec<Minute> {
        let last = self.now / MINUTE * MINUTE;
        (0..MINUTES)
            .rev()
            .map(|back| {
                let at = last.saturating_sub(back * MINUTE);
                self.minutes.iter().find(|minute| minute.at == at).copied().unwrap_or(Minute { at, ..Minute::default() })
            })
            .collect()
    }

    /// Latest first.
    pub(super) fn workflow_rows(&self, limit: usize) -> Vec<WorkflowRow> {
        let mut rows: Vec<&WorkflowRow> = self.workflows.values().map(|flow| &flow.row).collect();
        rows.sort_by(|one, other| other.last.cmp(&one.last).then_with(|| one.id.cmp(&other.id)));
        rows.into_iter().take(limit).cloned().collect()
    }

    pub(super) fn workflow_detail(&self, id: &str) -> Option<WorkflowDetail> {
        let flow = self.workflows.get(&workflow_id(id)?)?;
        let alerts = flow.alerts.iter().filter_map(|uid| self.alerts.get(uid)).map(|alert| alert.row.clone()).collect();
        Some(WorkflowDetail { row: flow.row.clone(), steps: flow.steps.clone(), alerts })
    }

    /// Latest first.
    pub(super) fn alert_rows(&self, limit: usize) -> Vec<AlertRow> {
        self.alerts.values().rev().take(limit).map(|alert| alert.row.clone()).collect()
    }

    pub(super) fn alert_detail_of(&self, uid: &str) -> Option<AlertDetail> {
        let mut detail = AlertDetail::clone(self.alerts.get(uid)?);
        let flow = workflow_id(&detail.row.workflow).and_then(|id| self.workflows.get(&id));
        if let Some(flow) = flow {
            let find = |id: &Text| flow.steps.iter().find(|step| step.id == *id).cloned();
            // The alert names the effect; its arguments were judged there, or at the tool call that declared it.
            let chain = detail.chain.iter().rev().take(3).map(|link| link.id.clone());
            let mut steps: Vec<Arc<StepRow>> =
                std::iter::once(detail.row.action.clone()).chain(chain).filter_map(|id| find(&id)).collect();
            let sources: Vec<Text> =
                steps.iter().flat_map(|step| &step.arguments).map(|argument| argument.from.clone()).collect();
            steps.extend(sources.iter().filter_map(find));
            let mut seen = std::collections::BTreeSet::new();
            steps.retain(|step| seen.insert(step.id.clone()));
            detail.steps = steps;
        }
        Some(detail)
    }

    pub(super) fn agent_detail(&self, id: &str) -> Option<AgentDetail> {
        let agent = self.agents.get(id)?;
        let mut detail = agent.detail(self.now);
        detail.workflows = self.workflow_rows(usize::MAX).into_iter().filter(|row| &*row.agent == id).take(50).collect();
        detail.alerts =
            self.alerts.values().rev().filter(|alert| &*alert.row.agent == id).take(50).map(|alert| alert.row.clone()).collect();
        Some(detail)
    }

    pub(super) fn fares(&mut self, counts: impl Iterator<Item = (Text, Counts)>) {
        self.fares = counts.collect();
    }

    pub(super) fn rule_rows(&self) -> Vec<RuleRow> {
        let seconds = i64::try_from(self.now / 1_000_000_000).unwrap_or(i64::MAX);
        let mut rows: Vec<RuleRow> = self.rules.rules.iter().map(|rule| self.rule_row(rule, seconds)).collect();
        rows.sort_by(|one, other| {
            (other.hits + other.shadow_hits).cmp(&(one.hits + one.shadow_hits)).then_with(|| one.id.cmp(&other.id))
        });
        rows
    }

    fn rule_row(&self, rule: &Rule, seconds: i64) -> RuleRow {
        let hits = self.hits.get(&rule.reference.id).cloned().unwrap_or_default();
        let fare = self.fares.get(&rule.reference.id).copied().unwrap_or_default();
        RuleRow {
            id: rule.reference.id.clone(),
            title: rule.reference.title.clone(),
            severity: rule.severity.name().into(),
            mode: match rule.mode {
                Mode::Alert => "alert",
                Mode::Shadow => "shadow",
                Mode::Off => "off",
            }
            .into(),
            pack: rule.reference.pack.clone(),
            version: rule.reference.version.clone(),
            hits: hits.hits,
            shadow_hits: hits.shadow,
            last: hits.last,
            judged: fare.judged,
            keys: fare.keys as u64,
            evicted: fare.evicted,
            over_budget: u64::from(fare.over_budget),
            condition: condition(rule),
            tags: rule.tags.clone(),
            exceptions: rule
                .except
                .iter()
                .map(|exception| ExceptionRow {
                    fields: exception
                        .fields
                        .iter()
                        .map(|(name, value)| format!("{name} = {}", value.to_json()))
                        .collect::<Vec<_>>()
                        .join(", ")
                        .into(),
                    why: exception.why.as_deref().unwrap_or_default().into(),
                    until: exception.until,
                    expired: exception.until.is_some_and(|until| until < seconds),
                })
                .collect(),
        }
    }
}

impl Severities {
    fn add(&mut self, severity: Severity) {
        match severity {
            Severity::Info => self.info += 1,
            Severity::Low => self.low += 1,
            Severity::Medium => self.medium += 1,
            Severity::High => self.high += 1,
            Severity::Critical => self.critical += 1,
        }
    }
}

/// What the rule's author wrote; a rule of state alone has no expression.
fn condition(rule: &Rule) -> Text {
    rule.when.as_ref().map(|when| Text::from(when.text.as_str())).unwrap_or_default()
}

fn workflow_id(id: &str) -> Option<WorkflowId> {
    id.strip_prefix('w')?.parse().ok().map(WorkflowId)
}
