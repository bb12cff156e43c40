//! Measurements on this host. Ratios of medians of interleaved rounds: on a shared machine nothing else means much.

mod attach;
mod capture;
mod decode;
mod deliver;
mod detection;
mod flood;
mod latency;
mod memory;
mod nginx;
mod policy;
mod replay;
mod resolve;
mod rounds;
mod soak;
mod understand;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use crate::{build, sh};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// What a breakpoint costs at the address that is chosen for a function, beside one at its entry, for each library (root).
    Attach,
    /// What watching costs a TLS server, beside bpftrace (root; installs nginx, wrk, bpftrace).
    Capture(capture::Arguments),
    /// The decoders' inner paths, each beside the bare library in the same run (installs libnghttp2-dev).
    Decode,
    /// Durable alerts a second with and without group commit, a worker that is killed at random, and one whose disk fails.
    Deliver(deliver::Arguments),
    /// 100 violations of one process while another writes junk at full speed: how many arrive, and when (root).
    Flood,
    /// Receivers that fail while others work: each kind of sink by each kind of failure, in one outbox.
    Outage(crate::receivers::OutageArguments),
    /// Throughput of the pure pipeline beside a bare parse of the same bytes.
    Replay,
    /// The built-in rules over a recording of 1 GB that is made first: time, rate, memory (`--megabytes N`, `--keep`).
    Backtest(detection::Arguments),
    /// What the built-in rules find in attacked workflows, and how many honest ones they accuse.
    Detection(detection::Arguments),
    /// AgentDojo's tasks and injections (PyPI), played without a model: what the core pack finds, and whom it accuses.
    Agentdojo(detection::Arguments),
    /// Random expressions against another implementation of CEL.
    Expressions(detection::Arguments),
    /// Model SDKs of PyPI and npm against a stand-in, MCP packages against each other: what is read of each call beside what the SDK
    /// itself asked and read. Figures for each.
    Sdks(crate::test::SdkArguments),
    /// The policy engine beside rsigma, cel, Hyperscan and a bare hash map (installs libhyperscan-dev).
    Policy(policy::Arguments),
    /// The web console on an hour of a busy host: time of a page, delay, cost, memory of the browser. `AGENTWARD_LOAD_SECONDS` and
    /// `AGENTWARD_MEMORY_SECONDS` set how long it looks.
    Console,
    /// Actions a second, state of an open workflow with 100,000 open, and the cost of a growing history.
    Understand,
    /// Resident memory of the daemon beside bpftrace, idle and after many exchanges (root).
    Memory,
    /// Slope and peak of the daemon's memory under steady traffic (root).
    Soak(soak::Arguments),
    /// What the resolver finds in real files whose names were taken away: found, right, refused, wrong, time and memory (downloads 600 MB).
    Resolve,
    /// Probes that come and go in processes that are busy with TLS: who crashes, hangs or reads something else (root).
    Rounds(rounds::Arguments),
    /// Time from a TLS call to the alert in the sink's file, on an idle host (root).
    Latency(latency::Arguments),
}

pub fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.what {
        What::Attach => attach::run(),
        What::Capture(arguments) => capture::run(arguments),
        What::Decode => decode::run(),
        What::Deliver(arguments) => deliver::run(arguments),
        What::Flood => flood::run(),
        What::Outage(arguments) => crate::receivers::outage(arguments),
        What::Replay => replay::run(),
        What::Policy(arguments) => policy::run(arguments),
        What::Sdks(arguments) => crate::test::sdks(arguments),
        What::Backtest(arguments) => detection::backtest(arguments),
        What::Detection(arguments) => detection::run("detection", arguments),
        What::Agentdojo(arguments) => detection::agentdojo(arguments),
        What::Expressions(arguments) => detection::run("expressions", arguments),
        What::Understand => understand::run(),
        What::Resolve => resolve::run(),
        What::Rounds(arguments) => rounds::run(arguments),
        What::Soak(arguments) => soak::run(arguments),
        What::Memory => memory::run(),
        What::Console => crate::test::console_load(),
        What::Latency(arguments) => latency::run(arguments),
    }
}

/// An empty folder for a measurement of this name.
fn fresh(name: &str) -> Result<PathBuf> {
    let folder = sh::target().join(format!("bench-{name}"));
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
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

/// bpftrace under a script that says `ready`; it goes on writing to a file that has no name.
fn bpftrace(script: &Path, out: &Path) -> Result<Beside> {
    let mut bpftrace = Command::new("bpftrace");
    bpftrace.args(["-B", "line"]).arg(script).env("BPFTRACE_STRLEN", "200").stdin(Stdio::null());
    let beside = Beside { child: bpftrace.stdout(std::fs::File::create(out)?).stderr(Stdio::null()).spawn()? };
    wait_for("bpftrace", || std::fs::read_to_string(out).ok()?.contains("ready").then_some(()))?;
    std::fs::remove_file(out)?;
    Ok(beside)
}

/// Numbers of a running daemon, from its socket.
struct Status(String);

fn status(folder: &Path) -> Result<Status> {
    // The daemon renews them four times a second.
    std::thread::sleep(Duration::from_millis(600));
    let mut command = sh::command(build::daemon());
    Ok(Status(sh::output(command.args(["status", "--format", "json", "--config"]).arg(folder.join("agentward.toml")))?))
}

impl Status {
    /// The number of this name: the probes' own, else the first.
    fn number(&self, name: &str) -> f64 {
        let probes = self.0.find("\"probes\":").map_or("", |at| &self.0[at..]);
        let text = if probes.contains(&format!("\"{name}\":")) { probes } else { &self.0 };
        let digits = |rest: &str| rest.trim_start().split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok();
        text.split_once(&format!("\"{name}\":")).and_then(|(_, rest)| digits(rest)).unwrap_or(f64::NAN)
    }

    fn grown(&self, before: &Status, name: &str) -> f64 {
        self.number(name) - before.number(name)
    }
}

/// A process and its children: all parts of a daemon.
fn family(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    std::iter::once(pid).chain(children.split_whitespace().filter_map(|child| child.parse().ok())).collect()
}

/// CPU time of a process: user and system, proc(5) fields 14 and 15. A tick is 10 ms on every Linux that we build for.
fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(") ").context("as proc(5) says")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}

/// The same of all parts of a daemon.
fn family_seconds(pid: u32) -> Result<f64> {
    family(pid).into_iter().map(cpu_seconds).sum()
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
