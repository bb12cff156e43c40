//! From the pipeline to the sinks without ever blocking the pipeline: two bounded lanes, a writer thread that makes records durable
//! in groups, and one thread a sink that delivers from the journal and acknowledges.
//!
//! In: [`Entry`]s. Out: what [`Counters`] and [`SinkCounters`] say. Alerts go before evidence; what is given up is counted and becomes
//! a gap record, which is itself delivered.

mod dead;
mod driver;
mod lanes;
mod shared;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::codec::Codec;
use super::evidence::Log;
use super::journal::{Cursor, Journal, Sequence};
use super::sink::{Filter, Plan, Sink};
use crate::base::Value;
use driver::Driver;
use lanes::Lanes;
pub use shared::{Level, Shared};
use writer::Writer;

/// What stands in a journal record, as MessagePack. `json` is the redacted native view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub kind: EntryKind,
    /// Nanoseconds since the epoch.
    pub time: u64,
    pub uid: String,
    /// 0 for a finding, then counting its updates.
    #[serde(default)]
    pub revision: u32,
    pub json: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    Alert,
    /// What was lost, and why.
    Gap,
    /// A step that the policy keeps; no sink of alerts gets it.
    Evidence,
    /// A sign of life with the daemon's counters.
    Heartbeat,
}

/// Counters for `status` and metrics.
#[derive(Debug, Default)]
pub struct Counters {
    pub written: AtomicU64,
    /// Alerts given up because the queue was full while the disk refused to write.
    pub dropped: AtomicU64,
    /// Evidence given up for the same reason, or because the disk was full.
    pub evidence_dropped: AtomicU64,
    pub disk_errors: AtomicU64,
    /// The journal cannot be written at the moment.
    pub disk_failing: AtomicBool,
}

#[derive(Debug, Default)]
pub struct SinkCounters {
    pub delivered: AtomicU64,
    /// Deliveries that came to nothing, and will be tried again.
    pub failures: AtomicU64,
    /// Records that retention removed before they were delivered.
    pub lost: AtomicU64,
    /// Records that the receiver refused for good.
    pub dead: AtomicU64,
    pub bytes: AtomicU64,
    /// Records in the journal that this sink has not taken yet.
    pub queued: AtomicU64,
    /// Time of the oldest of them, nanoseconds since the epoch; 0 when there is none.
    pub oldest: AtomicU64,
    /// The receiver failed again and again: one record at a time is tried until one arrives.
    pub broken: AtomicBool,
}

/// The cursor of the evidence log; no sink can be called so.
pub const EVIDENCE: &str = "evidence.log";

/// A sink with what the driver needs to know.
pub struct Outlet {
    pub name: String,
    pub codec: Codec,
    pub filter: Filter,
    pub batch: usize,
    /// Takes every record, evidence too: the evidence log.
    pub everything: bool,
    pub sink: Box<dyn Sink>,
}

impl Outlet {
    pub fn new(plan: &Plan, host: &str) -> io::Result<Outlet> {
        let sink = plan.build(host)?;
        let (name, filter) = (plan.name.clone(), plan.filter.clone());
        Ok(Outlet { name, codec: plan.codec, filter, batch: plan.batch, everything: false, sink })
    }

    /// The evidence log, driven like a sink.
    pub fn evidence(log: Log) -> Outlet {
        let (name, filter, sink) = (EVIDENCE.into(), Filter::default(), Box::new(log));
        Outlet { name, codec: Codec::Native, filter, batch: 1024, everything: true, sink }
    }
}

/// How far the journal is durable, and whether the end has come; sink threads wait on it.
#[derive(Default)]
struct Tide {
    state: Mutex<(u64, bool)>,
    risen: Condvar,
    /// Another process that is told, too. Whether the end has come for it is not said here: the writer may be started again.
    elsewhere: Option<Arc<Shared>>,
}

impl Tide {
    fn set(&self, next: Sequence, ended: bool) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = (next.0, ended);
        self.risen.notify_all();
        if let Some(elsewhere) = &self.elsewhere {
            elsewhere.rise(next);
        }
    }

    /// Waits until a durable record at or after `from` exists, the end, or `longest`. Gives the number of the first record that is not
    /// durable, and whether the end has come.
    fn wait(&self, from: Sequence, longest: Duration) -> (Sequence, bool) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.risen.wait_timeout_while(state, longest, |(next, ended)| *next <= from.0 && !*ended);
        let state = waited.unwrap_or_else(PoisonError::into_inner).0;
        (Sequence(state.0), state.1)
    }

    /// Waits for the end, at most `longest`; true when it has come.
    fn ended_within(&self, longest: Duration) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.risen.wait_timeout_while(state, longest, |(_, ended)| !*ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.1
    }
}

/// The sinks' end of it: a thread each.
pub struct Sinks {
    tide: Arc<Tide>,
    pub counters: Vec<(String, Arc<SinkCounters>)>,
    threads: Vec<JoinHandle<()>>,
}

impl Sinks {
    /// `folder` is the journal's, durable up to before `start`; a sink that was never seen before starts there.
    pub fn start(folder: &Path, start: Sequence, outlets: Vec<Outlet>) -> io::Result<Sinks> {
        Sinks::behind(folder, start, outlets, Arc::new(Tide::default()))
    }

    fn behind(folder: &Path, start: Sequence, outlets: Vec<Outlet>, tide: Arc<Tide>) -> io::Result<Sinks> {
        tide.set(start, false);
        let mut sinks = Sinks { tide, counters: Vec::new(), threads: Vec::new() };
        // All that can fail comes before the first thread: one that runs waits for a writer.
        let mut drivers = Vec::new();
        for outlet in outlets {
            let mut cursor = Cursor::open(folder, &outlet.name, start)?;
            cursor.clamp(start);
            let seen = Arc::new(SinkCounters::default());
            sinks.counters.push((outlet.name.clone(), seen.clone()));
            let name = format!("sink-{}", outlet.name);
            drivers.push((name, Driver::new(cursor, outlet, folder, seen, sinks.tide.clone())));
        }
        for (name, driver) in drivers {
            sinks.threads.push(std::thread::Builder::new().name(name).spawn(move || driver.run())?);
        }
        Ok(sinks)
    }

    /// More is durable, or nothing more will come.
    pub fn rise(&self, next: Sequence, ended: bool) {
        self.tide.set(next, ended);
    }

    /// Waits until each sink has delivered once more; the end must have been said.
    pub fn join(&mut self) {
        for thread in self.threads.drain(..) {
            // A sink that panicked has nothing left to say; its cursor stands where its receiver acknowledged.
            let _ = thread.join();
        }
    }
}

/// The pipeline's end of it.
pub struct Outbox {
    lanes: Arc<Lanes>,
    pub counters: Arc<Counters>,
    pub sinks: Sinks,
    writer: Option<JoinHandle<()>>,
}

impl Outbox {
    /// Starts the threads. `folder` is the journal's; `elsewhere` tells another process that delivers from it, too.
    pub fn start(journal: Journal, folder: &Path, outlets: Vec<Outlet>, elsewhere: Option<Arc<Shared>>) -> io::Result<Outbox> {
        let lanes = Arc::new(Lanes::default());
        let counters = Arc::new(Counters::default());
        let tide = Arc::new(Tide { elsewhere, ..Tide::default() });
        let start = journal.next();
        let sinks = Sinks::behind(folder, start, outlets, tide.clone())?;
        let (writer, waiting) = (Writer::new(journal, folder, counters.clone(), tide), lanes.clone());
        let writer = std::thread::Builder::new().name("journal".into()).spawn(move || writer.run(&waiting));
        // Without a writer nothing will ever come.
        let writer = writer.inspect_err(|_| sinks.rise(start, true))?;
        Ok(Outbox { lanes, counters, sinks, writer: Some(writer) })
    }

    /// Never blocks.
    pub fn send(&self, entry: Entry) {
        let counter = match entry.kind {
            EntryKind::Evidence => &self.counters.evidence_dropped,
            EntryKind::Alert | EntryKind::Gap | EntryKind::Heartbeat => &self.counters.dropped,
        };
        if !self.lanes.push(entry) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what is queued, lets each sink deliver once more, ends the threads.
    pub fn stop(&mut self) {
        self.lanes.close();
        if let Some(writer) = self.writer.take() {
            // It says the end last of all; one that panicked cannot, and its sinks are left to the end of the process.
            if writer.join().is_ok() {
                self.sinks.join();
            }
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The native view of something that the daemon says of itself: it looks like an alert, so that every codec and SIEM can show it.
pub fn notice(id: &str, title: &str, severity: &str, uid: &str, time: u64, matched: Value) -> String {
    let text = |text: &str| Value::text(text);
    Value::map([
        ("uid", text(uid)),
        ("time", Value::Number(crate::base::value::Number { text: time.to_string().into() })),
        (
            "rule",
            Value::map([
                ("id", text(id)),
                ("title", text(title)),
                ("version", text(env!("CARGO_PKG_VERSION"))),
                ("pack", text("agentward")),
                ("pack_hash", text("")),
            ]),
        ),
        ("severity", text(severity)),
        ("proof", text("none")),
        ("group", Value::Null),
        ("count", Value::int(1)),
        ("workflow", text("")),
        ("action", text("")),
        ("chain", Value::list([])),
        ("actor", Value::map::<&str>([])),
        ("object", Value::Null),
        ("matched", matched),
        ("state", Value::Null),
        ("tags", Value::list([text("agentward.health")])),
        ("fix", text("")),
        ("incomplete", Value::list([])),
    ])
    .to_json()
}

/// Tells the receivers, in their own stream, what they will never get.
fn gap(lane: &str, from: u64, count: u64, cause: &str, time: u64) -> Entry {
    let matched = Value::map([
        ("lane", Value::text(lane)),
        ("from", Value::count(from)),
        ("count", Value::count(count)),
        ("cause", Value::text(cause)),
    ]);
    let uid = format!("gap-{lane}-{from}-{count}");
    let json = notice("agentward.gap", "Records were lost before they were delivered", "medium", &uid, time, matched);
    Entry { kind: EntryKind::Gap, time, uid, revision: 0, json }
}

/// Tells a person, where one still reads it: a terminal or a log that went away must not end a thread that delivers.
pub(in crate::deliver) fn tell(words: std::fmt::Arguments<'_>) {
    use io::Write;
    let _ = writeln!(io::stderr(), "agentward: {words}");
}

/// The shell's clock.
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
