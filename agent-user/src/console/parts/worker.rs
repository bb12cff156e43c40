//! The worker: from the ring to the journal, without any right.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::confine::{Cell, Folder, confine};
use super::{Descriptors, Errand, Hello, Notice, Ready, Report};
use crate::console::config::Config;
use crate::console::control::{self, Board};
use crate::console::daemon::{Daemon, origin, plans};
use crate::console::live::now;
use crate::console::{Failure, Outcome, console_settings, probe_settings, rule_set_of, rules, web};
use crate::deliver::outbox::Shared;
use crate::probes::{Line, Order, Tiding, Watcher};
use crate::relay;

/// Longest wait for observations.
const POLL: Duration = Duration::from_millis(20);

/// How often stages see time pass and `status` is renewed.
const TICK: Duration = Duration::from_millis(250);

/// A worker that says nothing for longer is not there, to the loader.
const PULSE: Duration = Duration::from_secs(1);

pub(super) fn run(
    hello: &Hello,
    errand: &Errand,
    mut config: Config,
    socket: UnixStream,
    mut descriptors: Descriptors,
) -> Outcome {
    let internal = |error: io::Error| Failure::Internal(error.into());
    let settings = probe_settings(&config, errand.scope)?;
    let ruleset = Arc::new(rule_set_of(&errand.rules, errand.no_builtin)?);
    let board = Arc::new(Board::new(ruleset.clone()));
    let facts = UnixStream::from(descriptors.take()?);
    let ring = [descriptors.take()?, descriptors.take()?];
    let sinks = plans(&config)?.len();
    let shared = Arc::new(Shared::open(descriptors.take()?, descriptors.take()?, sinks).map_err(internal)?);
    let control = UnixListener::from(descriptors.take()?);
    let console = match console_settings(&config, errand.console.as_deref())? {
        None => None,
        Some(settings) => {
            let bound = web::Bound::passed(&settings, descriptors.take()?);
            let prepared = web::prepare(&settings, bound, board.clone())?;
            if errand.resume.is_none() {
                prepared.served.say(settings.token_file.as_deref());
            }
            Some(prepared)
        }
    };
    let refused = |error: crate::probes::StartError| Failure::Host(error.to_string());
    let mut watcher = Watcher::apart(&settings, errand.boot, ring, facts).map_err(refused)?;
    config.evidence.origin = Some(origin(&config));
    let mut folders = [Folder::open(&config.state_dir())?, Folder::open(&config.evidence_dir())?];
    let lacks = confine(Cell::worker(hello.loader, hello.user, &mut folders))?;
    let [state, evidence] = &folders;
    (config.state_dir, config.evidence.folder) = (Some(state.path.clone()), Some(evidence.path.clone()));

    let mut daemon = Daemon::open(&config, ruleset, board.clone(), shared, hello.loader)?;
    control::answer(control, board.clone()).map_err(internal)?;
    if let Some(console) = console {
        console.begin()?;
    }
    relay::send(&socket, &Ready { lacks }, &[]).map_err(internal)?;
    let mut far = Far::new(socket);
    if let Some((agents, bystanders)) = &errand.resume {
        watcher.resume(agents.clone(), bystanders.clone());
    }
    watcher.meet(&mut far);
    far.flush().and_then(|()| relay::send(&far.socket, &Report::Met, &[])).map_err(internal)?;
    let mut observations = Vec::new();
    let mut ticked = Instant::now();
    while !far.detached {
        watcher.poll(POLL, &mut far, &mut observations).map_err(internal)?;
        daemon.observe(&mut observations);
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
            daemon.tick(now());
            board.probes(watcher.status().to_value());
        }
        if let Some(texts) = far.rules.take() {
            reload(texts, errand.no_builtin, &mut daemon);
        }
    }
    watcher.finish(&mut far, &mut observations);
    daemon.observe(&mut observations);
    daemon.finish();
    Ok(ExitCode::SUCCESS)
}

/// Bad rules change nothing: the last good set goes on judging. Rules that fail their own tests are bad rules.
fn reload(texts: Result<Vec<(String, String)>, String>, no_builtin: bool, daemon: &mut Daemon) {
    let read = texts.map_err(Failure::Input).and_then(|texts| rule_set_of(&texts, no_builtin));
    match read.and_then(|set| rules::passing(&set).map(|()| set)) {
        Ok(set) => {
            daemon.set_rules(Arc::new(set));
            eprintln!("agentward: rules reloaded");
        }
        Err(failure) => {
            eprintln!("agentward: rules not reloaded, the last good ones stay: {failure}");
            daemon.refused_rules(now(), &failure.to_string());
        }
    }
}

/// The keeper, at the other end of a socket.
struct Far {
    socket: UnixStream,
    orders: Vec<Order>,
    said: Instant,
    /// The last that were sent, until they are taken over.
    rules: Option<Result<Vec<(String, String)>, String>>,
    detached: bool,
}

impl Far {
    fn new(socket: UnixStream) -> Far {
        Far { socket, orders: Vec::new(), said: Instant::now(), rules: None, detached: false }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.orders.is_empty() && self.said.elapsed() < PULSE {
            return Ok(());
        }
        self.said = Instant::now();
        relay::send(&self.socket, &Report::Orders(std::mem::take(&mut self.orders)), &[])
    }

    fn is_told(&self) -> io::Result<bool> {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&at_once)) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Line for Far {
    fn order(&mut self, order: Order) {
        let urgent = matches!(order, Order::Exec(..));
        self.orders.push(order);
        if urgent {
            // Its libraries are to be probed before it first speaks. That nobody hears it any more is noticed with the next tidings.
            let _ = self.flush();
        }
    }

    fn tidings(&mut self, out: &mut Vec<Tiding>) -> io::Result<()> {
        self.flush()?;
        while !self.detached && self.is_told()? {
            match relay::receive(&self.socket, &mut Vec::new())? {
                Some(Notice::Tidings(tidings)) => out.extend(tidings),
                Some(Notice::Rules(texts)) => self.rules = Some(texts),
                Some(Notice::Detached) => self.detached = true,
                None => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
        Ok(())
    }
}
