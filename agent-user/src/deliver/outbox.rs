//! From the pipeline to the sinks without ever blocking the pipeline: a bounded queue, a writer thread that makes records durable in
//! groups, and one thread a sink that delivers from the journal and acknowledges.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::journal::{Cursor, Journal, Read, Sequence};
use super::sink::{Record, Sink};

/// Entries that wait for the disk. A disk that hangs costs alerts past this, counted, never the capture.
const QUEUE: usize = 8192;

/// Records in one delivery.
const BATCH: usize = 256;

/// A delivery that failed is tried again after this, doubled up to [`RETRY_MOST`].
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MOST: Duration = Duration::from_secs(30);

/// What stands in a journal record, as MessagePack. `json` is the redacted native view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub kind: EntryKind,
    /// Nanoseconds since the epoch.
    pub time: u64,
    pub uid: String,
    pub json: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    Alert,
    Gap,
}

/// Counters for `status` and metrics.
#[derive(Debug, Default)]
pub struct Counters {
    pub written: AtomicU64,
    /// Entries given up because the queue was full or the disk refused them.
    pub dropped: AtomicU64,
    pub disk_errors: AtomicU64,
}

#[derive(Debug, Default)]
pub struct SinkCounters {
    pub delivered: AtomicU64,
    pub failures: AtomicU64,
    pub lost: AtomicU64,
}

/// The number of the next record to be written, and whether the end has come; sink threads wait on it.
#[derive(Default)]
struct Tide {
    state: Mutex<(u64, bool)>,
    risen: Condvar,
}

impl Tide {
    fn set(&self, next: Sequence, ended: bool) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = (next.0, ended);
        self.risen.notify_all();
    }

    /// Waits until a record at or after `from` exists, the end, or `longest`.
    fn wait(&self, from: Sequence, longest: Duration) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.risen.wait_timeout_while(state, longest, |(next, ended)| *next <= from.0 && !*ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.1
    }
}

/// The pipeline's end of it.
pub struct Outbox {
    queue: Option<SyncSender<Entry>>,
    pub counters: Arc<Counters>,
    pub sinks: Vec<(String, Arc<SinkCounters>)>,
    threads: Vec<JoinHandle<()>>,
}

impl Outbox {
    /// Starts the threads. `folder` is the journal's; a sink that was never seen before starts with the next alert.
    pub fn start(journal: Journal, folder: &Path, sinks: Vec<(String, Box<dyn Sink>)>) -> io::Result<Outbox> {
        let (sender, receiver) = sync_channel(QUEUE);
        let counters = Arc::new(Counters::default());
        let tide = Arc::new(Tide::default());
        let start = journal.next();
        tide.set(start, false);
        let mut outbox = Outbox { queue: Some(sender), counters: counters.clone(), sinks: Vec::new(), threads: Vec::new() };
        for (name, sink) in sinks {
            let cursor = Cursor::open(folder, &name, start)?;
            let seen = Arc::new(SinkCounters::default());
            outbox.sinks.push((name.clone(), seen.clone()));
            let tide = tide.clone();
            let driver = Driver { cursor, sink, seen, tide };
            outbox.threads.push(std::thread::Builder::new().name(format!("sink-{name}")).spawn(move || driver.run())?);
        }
        let writer = Writer { journal, folder: folder.to_owned(), counters, tide };
        outbox.threads.push(std::thread::Builder::new().name("journal".into()).spawn(move || writer.run(&receiver))?);
        Ok(outbox)
    }

    /// Never blocks.
    pub fn send(&self, entry: Entry) {
        let Some(queue) = &self.queue else { return };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = queue.try_send(entry) {
            self.counters.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what is queued, lets each sink deliver once more, ends the threads.
    pub fn stop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            // A sink that panicked has nothing left to say; its cursor stands where its receiver acknowledged.
            let _ = thread.join();
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Writer {
    journal: Journal,
    folder: PathBuf,
    counters: Arc<Counters>,
    tide: Arc<Tide>,
}

impl Writer {
    /// Group commit: everything that is queued by now becomes durable with one sync.
    fn run(mut self, queue: &Receiver<Entry>) {
        while let Ok(first) = queue.recv() {
            let mut written = 0;
            for entry in std::iter::once(first).chain(queue.try_iter().take(QUEUE)) {
                match rmp_serde::to_vec_named(&entry).map_err(io::Error::other).and_then(|bytes| self.journal.append(&bytes)) {
                    Ok(_) => written += 1,
                    Err(error) => self.refused(&error),
                }
            }
            if let Err(error) = self.journal.sync() {
                self.refused(&error);
            }
            self.counters.written.fetch_add(written, Ordering::Relaxed);
            self.tide.set(self.journal.next(), false);
        }
        self.tide.set(self.journal.next(), true);
    }

    /// Disk full or failing: counted and said, and the daemon goes on; alerts still reach the terminal.
    fn refused(&self, error: &io::Error) {
        if self.counters.disk_errors.fetch_add(1, Ordering::Relaxed) == 0 {
            eprintln!(
                "agentward: {}: the journal cannot be written: {error}; alerts go to the terminal only",
                self.folder.display()
            );
        }
        self.counters.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

struct Driver {
    cursor: Cursor,
    sink: Box<dyn Sink>,
    seen: Arc<SinkCounters>,
    tide: Arc<Tide>,
}

impl Driver {
    fn run(mut self) {
        let mut pause = RETRY_FIRST;
        loop {
            let ended = self.tide.wait(self.cursor.position(), Duration::from_secs(1));
            match self.deliver_all() {
                Ok(()) => pause = RETRY_FIRST,
                Err(_) => {
                    self.seen.failures.fetch_add(1, Ordering::Relaxed);
                    self.cursor.rewind();
                    if !ended {
                        std::thread::sleep(pause);
                        pause = (pause * 2).min(RETRY_MOST);
                    }
                }
            }
            if ended {
                return;
            }
        }
    }

    fn deliver_all(&mut self) -> io::Result<()> {
        loop {
            let batch = self.batch()?;
            let Some(last) = batch.last().map(|record| record.sequence) else { return Ok(()) };
            self.sink.deliver(&batch)?;
            self.cursor.acknowledge(last)?;
            self.seen.delivered.fetch_add(batch.len() as u64, Ordering::Relaxed);
        }
    }

    fn batch(&mut self) -> io::Result<Vec<Record>> {
        let mut batch = Vec::new();
        while batch.len() < BATCH {
            match self.cursor.read()? {
                Read::Record { sequence, payload } => {
                    let entry = rmp_serde::from_slice(&payload).map_err(io::Error::other)?;
                    batch.push(Record { sequence, entry });
                }
                Read::Lost { from, count } => {
                    self.seen.lost.fetch_add(count, Ordering::Relaxed);
                    batch.push(gap(from, count));
                }
                Read::End => break,
            }
        }
        Ok(batch)
    }
}

/// Tells the receiver, in its own stream, what it will never get.
fn gap(from: Sequence, count: u64) -> Record {
    let json = format!("{{\"gap\":{{\"from\":{},\"count\":{count},\"cause\":\"retention\"}}}}", from.0);
    let entry = Entry { kind: EntryKind::Gap, time: 0, uid: format!("gap-{}-{count}", from.0), json };
    Record { sequence: Sequence(from.0 + count - 1), entry }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::journal::Limits;

    /// Fails every second time, to prove that nothing is lost and nothing is skipped.
    struct Flaky {
        calls: u32,
        got: Arc<Mutex<Vec<String>>>,
    }

    impl Sink for Flaky {
        fn deliver(&mut self, batch: &[Record]) -> io::Result<()> {
            self.calls += 1;
            if self.calls % 2 == 1 {
                return Err(io::Error::other("no"));
            }
            self.got.lock().expect("the test does not panic in here").extend(batch.iter().map(|record| record.entry.uid.clone()));
            Ok(())
        }
    }

    #[test]
    fn a_flaky_receiver_gets_everything_in_order() {
        let folder = std::env::temp_dir().join(format!("agentward-outbox-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        let got = Arc::new(Mutex::new(Vec::new()));
        let journal = Journal::open(&folder, Limits::default()).expect("opens");
        let sink = Flaky { calls: 0, got: got.clone() };
        let mut outbox = Outbox::start(journal, &folder, vec![("flaky".into(), Box::new(sink))]).expect("starts");
        for number in 0..1000 {
            outbox.send(Entry { kind: EntryKind::Alert, time: number, uid: format!("u{number}"), json: "{}".into() });
        }
        let delivered = outbox.sinks[0].1.clone();
        while delivered.delivered.load(Ordering::Relaxed) < 1000 {
            std::thread::sleep(Duration::from_millis(5));
        }
        outbox.stop();
        let expected: Vec<String> = (0..1000).map(|number| format!("u{number}")).collect();
        assert_eq!(*got.lock().expect("the sink has ended"), expected);
        assert_eq!(outbox.counters.dropped.load(Ordering::Relaxed), 0);
        let _ = std::fs::remove_dir_all(&folder);
    }
}
