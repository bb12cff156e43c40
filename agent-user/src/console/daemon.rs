//! The daemon's middle: observations in, lines and journal records out. It owns the pipeline; the probes feed it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Failure;
use super::config::{Config, Sink};
use super::control::{Board, SinkState, Snapshot};
use crate::base::{KeyedHash, Timestamp, Value};
use crate::capture::Observation;
use crate::decide::{Alert, RuleSet};
use crate::deliver::evidence::Log;
use crate::deliver::journal::{Journal, Limits};
use crate::deliver::line::{self, Palette};
use crate::deliver::outbox::{Entry, EntryKind, Outbox, Outlet, Shared, SinkCounters, notice};
use crate::deliver::sink::{HEARTBEAT, Plan};
use crate::deliver::{Redactor, view};
use crate::pipeline::{Output, Pipeline};

const HEARTBEAT_EVERY: Duration = Duration::from_secs(60);

/// What rules remember is written so often: a daemon that is killed forgets no more than this.
const SAVE_EVERY: Duration = Duration::from_secs(5 * 60);

pub(super) struct Daemon {
    pipeline: Pipeline,
    outputs: Vec<Output>,
    redactor: Redactor,
    palette: Palette,
    outbox: Outbox,
    /// Names of the sinks, and what the exporter tells of them.
    sinks: Vec<String>,
    exporter: Arc<Shared>,
    board: Arc<Board>,
    seen: Snapshot,
    beaten: Timestamp,
    /// The evidence log's.
    checkpoint: PathBuf,
    /// What rules remember, and when it was written.
    memory: PathBuf,
    saved: Timestamp,
}

impl Daemon {
    /// Opens journal and evidence log below the state folder; the sinks are the exporter's. `pid` is what the operator knows the daemon by.
    pub(super) fn open(
        config: &Config,
        rules: Arc<RuleSet>,
        board: Arc<Board>,
        exporter: Arc<Shared>,
        pid: u32,
    ) -> Result<Daemon, Failure> {
        let state = config.state_dir();
        let folder = state.join("journal");
        let journal =
            Journal::open(&folder, limits(config)).map_err(|error| Failure::file(&folder, "open the journal", &error))?;
        let sinks = plans(config)?.into_iter().map(|plan| plan.name).collect();
        let mut outlets = Vec::new();
        if config.evidence.log {
            let folder = config.evidence_dir();
            let log =
                Log::open(&folder, &origin(config)).map_err(|error| Failure::file(&folder, "open the evidence log", &error))?;
            outlets.push(Outlet::evidence(log));
        }
        let outbox = Outbox::start(journal, &folder, outlets, Some(exporter.clone()))
            .map_err(|error| Failure::file(&folder, "start the sinks", &error))?;
        let hash = hash_key(&state)?;
        let memory = state.join("rules.state");
        let kept = match std::fs::read(&memory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            other => Some(other.map_err(|error| Failure::file(&memory, "read what rules remember", &error))?),
        };
        let (pipeline, readable) = Pipeline::remembering(rules, hash.clone(), kept.as_deref());
        if !readable {
            eprintln!("agentward: {}: written by another version; rules begin to remember anew", memory.display());
        }
        Ok(Daemon {
            pipeline,
            outputs: Vec::new(),
            redactor: Redactor::new(hash, false),
            palette: super::palette(),
            outbox,
            sinks,
            exporter,
            board,
            seen: Snapshot { pid, ..Snapshot::default() },
            beaten: Timestamp::default(),
            checkpoint: config.evidence_dir().join("checkpoint"),
            memory,
            saved: Timestamp::default(),
        })
    }

    pub(super) fn set_rules(&mut self, rules: Arc<RuleSet>) {
        self.board.picture.set_rules(rules.clone());
        self.pipeline.set_rules(rules);
    }

    /// Rules that could not be taken over are an alert of their own: who relies on them must know that they do not judge.
    pub(super) fn refused_rules(&mut self, now: Timestamp, reason: &str) {
        const ID: &str = "agentward.rules-not-reloaded";
        let uid = format!("{ID}-{}", now.0);
        let matched = Value::map([("reason", Value::text(line::printable(reason)))]);
        let json =
            notice(ID, "Changed rules were not taken over; the last good ones go on judging", "medium", &uid, now.0, matched);
        self.board.alert(&Arc::from(uid.as_str()), json.clone());
        self.seen.alerts += 1;
        self.outbox.send(Entry { kind: EntryKind::Alert, time: now.0, uid, revision: 0, json });
    }

    pub(super) fn observe(&mut self, observations: &mut Vec<Observation>) {
        self.seen.observations += observations.len() as u64;
        for observation in observations.drain(..) {
            self.pipeline.push(observation, &mut self.outputs);
        }
        self.hand_on();
    }

    pub(super) fn tick(&mut self, now: Timestamp) {
        self.pipeline.tick(now, &mut self.outputs);
        self.hand_on();
        self.board.picture.tick(now);
        self.board.picture.fares(&self.pipeline);
        self.publish();
        self.heartbeat(now);
        if self.saved == Timestamp::default() {
            self.saved = now;
        }
        if now.since(self.saved) >= SAVE_EVERY {
            self.saved = now;
            self.save();
        }
    }

    /// A disk that fails must not end the daemon: what rules remember is then as old as the last time it could be written.
    fn save(&self) {
        if let Err(error) = private(&self.memory, &self.pipeline.memory()) {
            eprintln!("agentward: {}: cannot be written: {error}", self.memory.display());
        }
    }

    /// Once a minute. Whoever keeps these has checkpoints that a later rewriting of the evidence log cannot explain.
    fn heartbeat(&mut self, now: Timestamp) {
        if now.since(self.beaten) < HEARTBEAT_EVERY {
            return;
        }
        self.beaten = now;
        let checkpoint = std::fs::read_to_string(&self.checkpoint).unwrap_or_default();
        let matched = Value::map([("status", self.seen.json()), ("checkpoint", Value::text(checkpoint))]);
        let uid = format!("heartbeat-{}", now.0);
        let json = notice(HEARTBEAT, "The daemon is alive", "info", &uid, now.0, matched);
        self.outbox.send(Entry { kind: EntryKind::Heartbeat, time: now.0, uid, revision: 0, json });
    }

    /// End: what is open is concluded, what is queued is delivered once more.
    pub(super) fn finish(&mut self) {
        self.save();
        self.pipeline.finish(&mut self.outputs);
        self.hand_on();
        self.outbox.stop();
        self.publish();
    }

    fn hand_on(&mut self) {
        let mut lines = String::new();
        let mut outputs = std::mem::take(&mut self.outputs);
        for output in outputs.drain(..) {
            match output {
                Output::Step(step) => {
                    self.board.picture.step(&step, &self.redactor);
                    if step.completed {
                        self.seen.actions += 1;
                        lines.push_str(&line::step(&step, &self.redactor, self.palette));
                        lines.push('\n');
                    }
                }
                Output::Alert(alert) => self.alert(&alert, &mut lines),
                Output::Exchange(exchange) => {
                    self.seen.exchanges += 1;
                    self.seen.incomplete += u64::from(!exchange.incomplete.is_empty());
                    exchange.anomalies.iter().for_each(|anomaly| self.seen.count(anomaly));
                }
                Output::Odd { anomaly, .. } => self.seen.count(&anomaly),
                Output::Message(_) => self.seen.messages += 1,
                Output::Workflow(workflow) => {
                    self.seen.workflows += 1;
                    self.board.picture.closed(&workflow);
                    self.board.workflow(view::workflow(&workflow, &[], &self.redactor).to_json());
                }
                Output::Panicked { stage, .. } => {
                    self.seen.panics += 1;
                    eprintln!("agentward: internal fault in {stage}: one flow was given up");
                }
            }
        }
        self.outputs = outputs;
        if !lines.is_empty() {
            // A terminal that went away must not end the daemon: the journal has everything.
            let _ = io::stdout().lock().write_all(lines.as_bytes());
        }
    }

    fn alert(&mut self, alert: &Alert, lines: &mut String) {
        self.board.picture.alert(alert, &self.redactor);
        if alert.shadow {
            self.seen.shadow_alerts += 1;
            return;
        }
        let json = view::alert(alert, &self.redactor).to_json();
        let revision = self.board.alert(&alert.uid, json.clone());
        if revision == 0 {
            self.seen.alerts += 1;
            lines.push_str(&line::alert(alert, &self.redactor, self.palette));
        } else {
            lines.push_str(&line::alert_update(alert, &self.redactor, self.palette));
        }
        lines.push('\n');
        self.outbox.send(Entry { kind: EntryKind::Alert, time: alert.time.0, uid: alert.uid.to_string(), revision, json });
    }

    fn publish(&mut self) {
        use std::sync::atomic::Ordering::Relaxed;
        self.seen.journal_written = self.outbox.counters.written.load(Relaxed);
        self.seen.journal_dropped = self.outbox.counters.dropped.load(Relaxed);
        self.seen.disk_errors = self.outbox.counters.disk_errors.load(Relaxed);
        self.seen.disk_failing = self.outbox.counters.disk_failing.load(Relaxed);
        let elsewhere = self.sinks.iter().enumerate().map(|(number, name)| state(name, &self.exporter.told(number)));
        let here = self.outbox.sinks.counters.iter().map(|(name, counters)| state(name, counters));
        self.seen.sinks = elsewhere.chain(here).collect();
        self.board.publish(&self.seen);
    }
}

fn state(name: &str, sink: &SinkCounters) -> SinkState {
    use std::sync::atomic::Ordering::Relaxed;
    SinkState {
        name: name.to_owned(),
        delivered: sink.delivered.load(Relaxed),
        failures: sink.failures.load(Relaxed),
        lost: sink.lost.load(Relaxed),
        dead: sink.dead.load(Relaxed),
        bytes: sink.bytes.load(Relaxed),
        queued: sink.queued.load(Relaxed),
        oldest: sink.oldest.load(Relaxed),
        broken: sink.broken.load(Relaxed),
    }
}

/// Writes a file that only its owner may read, whole or not at all.
fn private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let fresh = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
    file.write_all(bytes).and_then(|()| file.sync_all())?;
    std::fs::rename(fresh, path)
}

fn limits(config: &Config) -> Limits {
    let journal = config.journal;
    let age = (journal.max_age_days > 0).then(|| Duration::from_secs(u64::from(journal.max_age_days) * 86_400));
    Limits { segment: journal.segment_bytes, total: journal.total_bytes, reserve: journal.reserve_bytes, age }
}

/// The sinks as configured; a file in the state folder when there is none.
pub(super) fn plans(config: &Config) -> Result<Vec<Plan>, Failure> {
    if config.sinks.is_empty() {
        return Ok(vec![Sink::default_file(config.state_dir().join("alerts.jsonl"))]);
    }
    let told = |(key, reason): (String, String)| Failure::Input(format!("{key}: {reason}"));
    config.sinks.iter().map(|sink| sink.plan().map_err(told)).collect()
}

/// Names this installation's log; the key's name too.
pub(super) fn origin(config: &Config) -> String {
    let plain = |name: String| name.chars().filter(|letter| letter.is_ascii_alphanumeric() || ".-/".contains(*letter)).collect();
    config.evidence.origin.clone().unwrap_or_else(|| plain(format!("{}/agentward", host_name())))
}

pub(super) fn host_name() -> String {
    rustix::system::uname().nodename().to_str().map_or_else(|_| "-".into(), str::to_owned)
}

/// The key of this installation's fingerprints: made once, kept with mode 0600.
fn hash_key(state: &Path) -> Result<KeyedHash, Failure> {
    use ring::rand::SecureRandom;
    use std::os::unix::fs::OpenOptionsExt;
    let path = state.join("hash.key");
    let failed = |error| Failure::file(&path, "read or make the key of fingerprints", &error);
    if let Ok(bytes) = std::fs::read(&path) {
        let key = bytes
            .try_into()
            .map_err(|_| Failure::Input(format!("{}: must hold 16 bytes; remove it to make a new one", path.display())))?;
        return Ok(KeyedHash::new(key));
    }
    let mut key = [0; 16];
    let no_randomness = |_| failed(io::Error::other("the system gives no random bytes"));
    ring::rand::SystemRandom::new().fill(&mut key).map_err(no_randomness)?;
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path).map_err(failed)?;
    file.write_all(&key).and_then(|()| file.sync_all()).map_err(failed)?;
    Ok(KeyedHash::new(key))
}
