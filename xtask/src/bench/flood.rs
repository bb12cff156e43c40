//! One process floods, another breaks a rule: every violation must arrive, and soon.
//!
//! Both are watched. The flood comes in four kinds (`tests/peers/clients/flood.py`); what of it finds no room is counted as lost, and
//! only of it anything may be.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use super::latency::{self, World};
use super::{daemon, fresh, status, wait_for};
use crate::{peers, sh};

const KINDS: [(&str, &str); 4] = [
    ("large", "junk over TLS, 1 MiB a write"),
    ("small", "junk over TLS, 64 bytes a write"),
    ("http", "requests over TLS, pipelined and answered"),
    ("plain", "requests over a bare socket, pipelined and answered"),
];

pub fn run() -> Result<()> {
    let _alone = sh::alone("this measurement")?;
    let mut missing = Vec::new();
    for (kind, what) in KINDS {
        let folder = fresh("flood")?;
        let world = World::start(&folder)?;
        let mut drain = sh::command(peers::python());
        let drain = drain.arg(peers::sources().join("drain.py")).arg(&folder).stdin(Stdio::piped()).spawn()?;
        let _drain = Beside(drain);
        let port = wait_for("the drain", || std::fs::read_to_string(folder.join("drain_port")).ok())?;
        let watching = daemon(&folder, &world.config("*.py"))?;
        let before = status(&folder)?;
        let mut flood = sh::command(peers::python());
        flood.arg(peers::sources().join("clients/flood.py")).args([kind, port.trim()]);
        let mut flood = Beside(flood.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
        let mut said = BufReader::new(flood.0.stdout.take().context("stdout is piped")?);
        said.read_line(&mut String::new())?;
        let started = Instant::now();
        let delays = world.ask(&latency::Arguments { requests: 100, pause: 50 })?;
        let after = status(&folder)?;
        drop(flood.0.stdin.take());
        let mut total = String::new();
        said.read_to_string(&mut total)?;
        let rate = total.trim().parse::<f64>().unwrap_or(f64::NAN) / started.elapsed().as_secs_f64() / 1e6;
        println!(
            "{what}: {rate:.0} MB/s written, {:.0} MB read and {:.0} MB lost of it; of 100 violations {delays}",
            after.grown(&before, "delivered_bytes") / 1e6,
            (after.grown(&before, "ring_full_bytes") + after.grown(&before, "shed_bytes")) / 1e6
        );
        drop(watching);
        missing.extend(delays.complete().err());
    }
    missing.into_iter().next().map_or(Ok(()), Err)
}

/// A peer that ends when its standard input closes.
struct Beside(Child);

impl Drop for Beside {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
