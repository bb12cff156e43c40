//! The loader's view of a part: started, watched, started again.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::{Errand, Hello, Notice, Ready, Report, Role, User, exit_code};
use crate::console::Failure;
use crate::deliver::outbox::Shared;
use crate::deliver::sink::{Broker, Plan};
use crate::probes::{Host, Keeper};
use crate::relay;

/// The pause before a part that died is started again: doubled each time until it has lived for [`SOUND`].
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MOST: Duration = Duration::from_secs(5);
const SOUND: Duration = Duration::from_secs(10);

/// How long a part may take over its last deliveries and writes.
const FAREWELL: Duration = Duration::from_secs(60);

/// A worker that is at work and says nothing for this long is ended and started again.
const SILENCE: Duration = Duration::from_secs(20);

/// Longest that a worker may leave its line full.
const STUCK: Duration = Duration::from_secs(10);

/// Reports that wait for the loader. One that gives more must wait itself.
const REPORTS: usize = 4096;

/// A running part. It is ended with this.
pub(super) struct Part {
    child: Child,
    pub(super) socket: UnixStream,
    began: Instant,
}

impl Part {
    pub(super) fn start(hello: &Hello, descriptors: &[BorrowedFd<'_>]) -> io::Result<Part> {
        let (socket, theirs) = UnixStream::pair()?;
        // This very program, also when its file was replaced by an upgrade meanwhile.
        let child = Command::new("/proc/self/exe").arg("part").stdin(Stdio::from(OwnedFd::from(theirs))).spawn()?;
        let part = Part { child, socket, began: Instant::now() };
        relay::send(&part.socket, hello, descriptors)?;
        Ok(part)
    }

    /// Waits until it is at work; else its exit code: it has said why.
    pub(super) fn ready(&mut self) -> io::Result<Result<Ready, ExitCode>> {
        match relay::receive(&self.socket, &mut Vec::new()) {
            Ok(Some(ready)) => Ok(Ok(ready)),
            Ok(None) | Err(_) => Ok(Err(exit_code(self.child.wait()?))),
        }
    }

    fn is_gone(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Waits for an end that it was asked for.
    fn join(&mut self) {
        let asked = Instant::now();
        while !self.is_gone() && asked.elapsed() < FAREWELL {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// When a part that died may be started again.
pub(super) struct Patience {
    pause: Duration,
    /// Since when it is gone.
    gone: Option<Instant>,
}

impl Patience {
    pub(super) fn new() -> Patience {
        Patience { pause: PAUSE_FIRST, gone: None }
    }

    /// True when it is gone and its pause is over.
    pub(super) fn is_over(&mut self, part: &mut Part, name: &str) -> bool {
        if !part.is_gone() {
            return false;
        }
        let gone = *self.gone.get_or_insert_with(|| {
            eprintln!("agentward: the {name} died and is started again");
            self.pause = if part.began.elapsed() >= SOUND { PAUSE_FIRST } else { (self.pause * 2).min(PAUSE_MOST) };
            Instant::now()
        });
        gone.elapsed() >= self.pause
    }

    pub(super) fn restarted(&mut self) {
        self.gone = None;
    }
}

/// The part that delivers.
pub(in crate::console) struct Exporter {
    part: Part,
    patience: Patience,
    hello: Hello,
    broker: Arc<Broker>,
    shared: Arc<Shared>,
}

impl Exporter {
    /// Starts it and waits until it is shut in; `Err` with the exit code when it refused, and said why.
    pub(in crate::console) fn start(
        config: &str,
        plans: &[Plan],
        user: Option<User>,
    ) -> Result<Result<Exporter, ExitCode>, Failure> {
        let failed = |error: io::Error| Failure::Internal(anyhow::Error::new(error).context("the exporter cannot be started"));
        let hello = Hello { role: Role::Exporter, config: config.to_owned(), loader: std::process::id(), user };
        let broker = Arc::new(Broker::of(plans));
        let shared = Arc::new(Shared::create(plans.len()).map_err(failed)?);
        let mut part = exporter(&hello, &broker, &shared).map_err(failed)?;
        match part.ready().map_err(failed)? {
            Err(code) => Ok(Err(code)),
            Ok(ready) => {
                for lack in &ready.lacks {
                    eprintln!("agentward: the kernel offers no {lack}: the daemon's parts are shut in without it");
                }
                Ok(Ok(Exporter { part, patience: Patience::new(), hello, broker, shared }))
            }
        }
    }

    /// What it is told by, and what it tells.
    pub(in crate::console) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Starts it again where it died; its cursors say where it goes on.
    pub(in crate::console) fn watch(&mut self) {
        if self.patience.is_over(&mut self.part, "exporter") {
            self.patience.restarted();
            match exporter(&self.hello, &self.broker, &self.shared) {
                Ok(part) => self.part = part,
                Err(error) => eprintln!("agentward: the exporter cannot be started: {error}"),
            }
        }
    }

    /// Lets it deliver once more what is durable.
    pub(in crate::console) fn end(mut self) {
        self.shared.end();
        self.part.join();
    }
}

fn exporter(hello: &Hello, broker: &Arc<Broker>, shared: &Shared) -> io::Result<Part> {
    let (ours, theirs) = UnixStream::pair()?;
    let [memory, bell] = shared.descriptors();
    let part = Part::start(hello, &[theirs.as_fd(), memory, bell])?;
    let broker = broker.clone();
    std::thread::Builder::new().name("broker".into()).spawn(move || {
        // The exporter that asked is gone, or says what it should not: its successor gets a new one.
        let _ = broker.serve(&ours);
    })?;
    Ok(part)
}

/// The part that reads what was captured.
pub(in crate::console) struct Worker {
    part: Part,
    patience: Patience,
    hello: Hello,
    errand: Errand,
    /// What every worker gets besides: the exporter's memory, and the sockets to listen on.
    shared: Arc<Shared>,
    listeners: Vec<OwnedFd>,
    /// Which of the workers this is: what an earlier one said does not count.
    number: u64,
    said: SyncSender<(u64, Heard)>,
    hears: Receiver<(u64, Heard)>,
    /// When it last said something, once it is at work.
    heard: Option<Instant>,
}

/// What comes of a worker.
pub(in crate::console) enum Heard {
    Ready(Vec<String>),
    Said(Report),
    Gone,
}

impl Worker {
    /// Starts it. What it says comes by [`Worker::hear`].
    pub(in crate::console) fn start(
        config: &str,
        user: Option<User>,
        errand: Errand,
        shared: Arc<Shared>,
        listeners: Vec<OwnedFd>,
        keeper: &Keeper,
    ) -> Result<Worker, Failure> {
        let failed = |error: io::Error| Failure::Internal(anyhow::Error::new(error).context("the worker cannot be started"));
        let hello = Hello { role: Role::Worker(errand.clone()), config: config.to_owned(), loader: std::process::id(), user };
        let (said, hears) = sync_channel(REPORTS);
        let host = keeper.host().map_err(|error| Failure::Host(error.to_string()))?;
        let part = worker(&hello, &shared, &listeners, keeper, host, (0, said.clone())).map_err(failed)?;
        let patience = Patience::new();
        Ok(Worker { part, patience, hello, errand, shared, listeners, number: 0, said, hears, heard: None })
    }

    /// The next thing of the worker that runs, waiting for it at most `longest`.
    pub(in crate::console) fn hear(&mut self, longest: Duration) -> Option<Heard> {
        let until = Instant::now() + longest;
        loop {
            match self.hears.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok((number, heard)) if number == self.number => {
                    self.heard = match heard {
                        Heard::Gone => None,
                        Heard::Ready(_) | Heard::Said(_) => Some(Instant::now()),
                    };
                    return Some(heard);
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// A worker that does not take it is ended, and started again by [`Worker::watch`].
    pub(in crate::console) fn tell(&mut self, notice: &Notice) {
        if relay::send(&self.part.socket, notice, &[]).is_err() {
            // Gone already is as good.
            let _ = self.part.child.kill();
        }
    }

    /// Its exit code, when it ended by itself.
    pub(in crate::console) fn exit_code(&mut self) -> ExitCode {
        self.part.child.wait().map_or(ExitCode::FAILURE, exit_code)
    }

    /// Ends it where it hangs, and starts it again where it is gone: it goes on where the ring and the journal stand.
    pub(in crate::console) fn watch(&mut self, keeper: &mut Keeper) {
        if self.heard.is_some_and(|heard| heard.elapsed() > SILENCE) {
            eprintln!("agentward: the worker says nothing any more: it is ended");
            let _ = self.part.child.kill();
            self.heard = None;
        }
        if !self.patience.is_over(&mut self.part, "worker") {
            return;
        }
        self.patience.restarted();
        self.number += 1;
        self.errand.resume = Some(keeper.verdicts());
        self.hello.role = Role::Worker(self.errand.clone());
        let started = keeper
            .host()
            .map_err(io::Error::other)
            .and_then(|host| worker(&self.hello, &self.shared, &self.listeners, keeper, host, (self.number, self.said.clone())));
        match started {
            Ok(part) => self.part = part,
            Err(error) => eprintln!("agentward: the worker cannot be started: {error}"),
        }
    }

    /// The rules that a worker which is started again follows.
    pub(in crate::console) fn follow(&mut self, rules: Vec<(String, String)>) {
        self.errand.rules = rules;
    }

    /// Lets it work off what is in the ring.
    pub(in crate::console) fn end(mut self) {
        self.tell(&Notice::Detached);
        self.part.join();
    }
}

fn worker(
    hello: &Hello,
    shared: &Shared,
    listeners: &[OwnedFd],
    keeper: &Keeper,
    host: Host,
    (number, said): (u64, SyncSender<(u64, Heard)>),
) -> io::Result<Part> {
    let (answers, asks) = UnixStream::pair()?;
    let [ring, reader] = keeper.ring();
    let [memory, bell] = shared.descriptors();
    let mut descriptors = vec![asks.as_fd(), ring, reader, memory, bell];
    descriptors.extend(listeners.iter().map(AsFd::as_fd));
    let part = Part::start(hello, &descriptors)?;
    part.socket.set_write_timeout(Some(STUCK))?;
    std::thread::Builder::new().name("facts".into()).spawn(move || {
        // The worker that asked is gone, or says what it should not: its successor gets a new one.
        let _ = host.serve(&answers);
    })?;
    let socket = part.socket.try_clone()?;
    std::thread::Builder::new().name("reports".into()).spawn(move || {
        let say = |heard| said.send((number, heard)).is_ok();
        let mut next =
            relay::receive::<Ready>(&socket, &mut Vec::new()).map(|ready| ready.map(|ready| Heard::Ready(ready.lacks)));
        while let Ok(Some(heard)) = next {
            if !say(heard) {
                return;
            }
            next = relay::receive::<Report>(&socket, &mut Vec::new()).map(|report| report.map(Heard::Said));
        }
        say(Heard::Gone);
    })?;
    Ok(part)
}
