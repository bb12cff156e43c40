//! The whole daemon under steady traffic for as long as one likes: slope of its memory (all its parts, each page once), its peak, what it
//! lost.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::memory::{mib, resident};
use super::{daemon, family_seconds, fresh, status, wait_for};
use crate::{build, peers, sh};

#[derive(clap::Args)]
pub struct Arguments {
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Requests a second of all clients.
    #[arg(long, default_value_t = 500)]
    rate: u64,
}

const CLIENTS: u64 = 2;
/// Each with its part of the requests.
const TURN: Duration = Duration::from_millis(100);
/// Between two looks at the memory.
const LOOK: Duration = Duration::from_secs(5);
/// Of the time: what fills up at first is no slope.
const WARM_UP: f64 = 0.25;

pub fn run(arguments: &Arguments) -> Result<()> {
    let _alone = sh::alone("this measurement")?;
    peers::prepare_python()?;
    build::run()?;
    let folder = fresh("soak")?;
    let mut standin = sh::command(peers::python());
    standin.arg(peers::sources().join("standin.py")).arg(&folder).stdin(Stdio::piped());
    let mut standin = standin.stdout(Stdio::null()).spawn()?;
    let port = wait_for("the stand-in", || fs::read_to_string(folder.join("port")).ok())?;
    let watching = daemon(&folder, "scope = \"match\"\n[match]\nargv = [\"*load.py\"]\n")?;
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut load = sh::command(peers::python());
        load.arg(peers::sources().join("clients/load.py")).env("SSL_CERT_FILE", folder.join("ca.pem"));
        load.env("STANDIN_URL", format!("https://localhost:{}", port.trim()));
        clients.push(Client::start(load.stdin(Stdio::piped()).stdout(Stdio::piped()))?);
    }
    let (begun, busy) = (Instant::now(), family_seconds(watching.pid())?);
    let end = Duration::from_secs(arguments.minutes * 60);
    let (mut made, mut turns, mut looks, mut due) = (0, 0_u32, Vec::new(), LOOK);
    // A turn that comes late is made up for by the next.
    while begun.elapsed() < end {
        let part = arguments.rate * TURN.as_millis() as u64 / 1000 / CLIENTS;
        // Once a second on fresh connections.
        let plan = if turns % 10 == 0 { "new" } else { "small" };
        turns += 1;
        clients.iter_mut().try_for_each(|client| client.order(part, plan))?;
        clients.iter_mut().try_for_each(Client::done)?;
        made += part * CLIENTS;
        if begun.elapsed() >= due {
            due += LOOK;
            looks.push((begun.elapsed().as_secs_f64(), mib(resident(watching.pid())?)));
        }
        std::thread::sleep((TURN * turns).saturating_sub(begun.elapsed()));
    }
    let (elapsed, busy) = (begun.elapsed().as_secs_f64(), family_seconds(watching.pid())? - busy);
    let after = status(&folder)?;
    let peak = looks.iter().fold(0.0, |most: f64, (_, now)| most.max(*now));
    let count = looks.len();
    let settled: Vec<(f64, f64)> = looks.into_iter().filter(|(at, _)| *at >= elapsed * WARM_UP).collect();
    let (first, last) = (settled.first().copied().unwrap_or_default().1, settled.last().copied().unwrap_or_default().1);
    println!(
        "{made} requests in {elapsed:.0} s, {:.0} a second; the daemon used {:.2} of a core and lost {:.0} chunks",
        made as f64 / elapsed,
        busy / elapsed,
        after.number("ring_full") + after.number("read_fault")
    );
    println!(
        "resident memory behind the first quarter: {first:.1} to {last:.1} MiB, slope {:.2} MiB/h; highest of {} looks {:.1} MiB (wanted: 1, 256)",
        slope(&settled) * 3600.0,
        count,
        peak
    );
    drop((watching, clients, standin.stdin.take()));
    ensure!(standin.wait()?.success(), "the stand-in failed");
    Ok(())
}

/// A load client, told what to do by lines.
struct Client {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Client {
    fn start(command: &mut std::process::Command) -> Result<Client> {
        let mut child = command.spawn()?;
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().context("stdout is piped")?);
        Ok(Client { child, orders, answers })
    }

    fn order(&mut self, count: u64, plan: &str) -> Result<()> {
        let orders = self.orders.as_mut().context("open until the end")?;
        writeln!(orders, "{count} {plan}")?;
        Ok(orders.flush()?)
    }

    fn done(&mut self) -> Result<()> {
        let mut said = String::new();
        ensure!(self.answers.read_line(&mut said)? > 0, "a client is gone");
        ensure!(said.contains("\"errors\": 0"), "a client had errors: {said}");
        Ok(())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.child.wait();
    }
}

/// Of the line with the least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let above: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let below: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    above / below
}
