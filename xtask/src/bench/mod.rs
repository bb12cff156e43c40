//! Measurements on this host. Ratios of medians of interleaved rounds: on a shared machine nothing else means much.

mod capture;
mod decode;
mod detection;
mod memory;
mod policy;
mod replay;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Subcommand;

use crate::{build, sh};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// What watching costs a TLS server, beside bpftrace (root; installs nginx, wrk, bpftrace).
    Capture(capture::Arguments),
    /// The decoders' inner paths, each beside the bare library in the same run (installs libnghttp2-dev).
    Decode,
    /// Throughput of the pure pipeline beside a bare parse of the same bytes.
    Replay,
    /// What the built-in rules find in attacked workflows, and how many honest ones they accuse.
    Detection(detection::Arguments),
    /// Random expressions against another implementation of CEL.
    Expressions(detection::Arguments),
    /// The policy engine beside rsigma, cel, Hyperscan and a bare hash map (installs libhyperscan-dev).
    Policy,
    /// Resident memory of the daemon, idle and after many exchanges (root).
    Memory,
    /// The web console on an hour of a busy host: time of a page, delay, cost, memory of the browser. `AGENTWARD_LOAD_SECONDS` and
    /// `AGENTWARD_MEMORY_SECONDS` set how long it looks.
    Console,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.what {
        What::Capture(arguments) => capture::run(arguments),
        What::Decode => decode::run(),
        What::Replay => replay::run(),
        What::Policy => policy::run(),
        What::Detection(arguments) => detection::run("detection", arguments),
        What::Expressions(arguments) => detection::run("expressions", arguments),
        What::Memory => memory::run(),
        What::Console => crate::test::console_load(),
    }
}

/// A program that runs beside the measured one until it is dropped.
struct Beside {
    child: Child,
}

impl Beside {
    /// Starts it; `sign` in a line of its standard error says that it is in place.
    fn start(command: &mut Command, sign: &str) -> Result<Beside> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("cannot start {:?}", command.get_program()))?;
        let mut lines = BufReader::new(child.stderr.take().context("stderr is piped")?).lines();
        let mut said = Vec::new();
        for line in lines.by_ref().map_while(Result::ok) {
            if line.contains(sign) {
                // Somebody must go on reading, or the program stops when the pipe is full.
                std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
                return Ok(Beside { child });
            }
            said.push(line);
        }
        child.wait()?;
        bail!("{:?} did not start: {}", command.get_program(), said.join("; "))
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let interrupted = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        if !interrupted.is_ok_and(|status| status.success()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// The whole daemon under this configuration, with its state in `folder`.
fn daemon(folder: &Path, config: &str) -> Result<Beside> {
    let file = folder.join("agentward.toml");
    let socket = folder.join("control.sock");
    std::fs::write(
        &file,
        format!("socket = \"{}\"\nstate_dir = \"{}\"\n{config}", socket.display(), folder.join("state").display()),
    )?;
    let mut command = sh::command(build::daemon());
    Beside::start(command.args(["run", "--config"]).arg(file), "ready")
}

fn need_root() -> Result<()> {
    ensure!(sh::is_root(), "this measurement loads probes and needs root: sudo -E cargo xtask bench …");
    Ok(())
}

/// Waits for something that is bound to come.
fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> Result<T> {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(30) {
        if let Some(found) = ready() {
            return Ok(found);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    bail!("waited in vain for {what}")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
