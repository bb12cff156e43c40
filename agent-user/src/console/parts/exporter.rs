//! The exporter: delivers what is durable in the journal, and acknowledges it there.

use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::confine::{Cell, Folder, confine};
use super::{Descriptors, Hello, Ready};
use crate::console::config::Config;
use crate::console::daemon::{host_name, plans};
use crate::console::{Failure, Outcome};
use crate::deliver::outbox::{Outlet, Shared, SinkCounters, Sinks};
use crate::deliver::sink::entrust;
use crate::relay;

/// How often the sinks' numbers are made known.
const TELL: Duration = Duration::from_millis(200);

pub(super) fn run(hello: &Hello, config: &Config, socket: &UnixStream, mut descriptors: Descriptors) -> Outcome {
    let internal = |error: std::io::Error| Failure::Internal(error.into());
    entrust(UnixStream::from(descriptors.take()?));
    let plans = plans(config)?;
    let shared = Shared::open(descriptors.take()?, descriptors.take()?, plans.len()).map_err(internal)?;
    let mut folders = [Folder::open(&config.state_dir().join("journal"))?];
    let mut outlets = Vec::new();
    for plan in &plans {
        let failed = |error| Failure::Input(format!("sink `{}`: {error}", plan.name));
        outlets.push(Outlet::new(plan, &host_name()).map_err(failed)?);
    }
    let lacks = confine(Cell::exporter(hello.loader, hello.user, &mut folders))?;
    relay::send(socket, &Ready { lacks }, &[]).map_err(internal)?;
    let journal = &folders[0].path;
    // The journal's writer may be on its way still.
    let start = loop {
        let level = shared.wait(TELL).map_err(internal)?;
        if let Some(next) = level.next {
            break next;
        }
        if level.ended {
            return Ok(ExitCode::SUCCESS);
        }
    };
    let mut sinks = Sinks::start(journal, start, outlets).map_err(|error| Failure::file(journal, "start the sinks", &error))?;
    go_on(&shared, &sinks);
    loop {
        let level = shared.wait(TELL).map_err(internal)?;
        sinks.rise(level.next.unwrap_or(start), level.ended);
        tell(&shared, &sinks);
        if level.ended {
            break;
        }
    }
    sinks.join();
    tell(&shared, &sinks);
    Ok(ExitCode::SUCCESS)
}

/// Counts on where the exporter before this one stopped.
fn go_on(shared: &Shared, sinks: &Sinks) {
    let numbers = |counters: &SinkCounters| {
        [&counters.delivered, &counters.failures, &counters.lost, &counters.dead, &counters.bytes]
            .map(|n| n.load(Ordering::Relaxed))
    };
    for (number, (_, counters)) in sinks.counters.iter().enumerate() {
        let [delivered, failures, lost, dead, bytes] = numbers(&shared.told(number));
        counters.delivered.fetch_add(delivered, Ordering::Relaxed);
        counters.failures.fetch_add(failures, Ordering::Relaxed);
        counters.lost.fetch_add(lost, Ordering::Relaxed);
        counters.dead.fetch_add(dead, Ordering::Relaxed);
        counters.bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

fn tell(shared: &Shared, sinks: &Sinks) {
    for (number, (_, counters)) in sinks.counters.iter().enumerate() {
        shared.tell(number, counters);
    }
}
