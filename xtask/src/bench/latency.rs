//! From a TLS call to the alert in the sink's file: an unmodified client asks a TLS server again and again with pauses, a rule alerts
//! on each request, and both ends are stamped by one clock.
//!
//! The first stamp is the client's, taken before it writes: TLS, loopback and the server's answer are inside. The second is that of this
//! program seeing the line in the file, which it looks for every half millisecond.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};

use super::{daemon, wait_for};
use crate::{build, peers, sh};

#[derive(clap::Args)]
pub struct Arguments {
    #[arg(long, default_value_t = 400)]
    pub(super) requests: usize,
    /// Milliseconds between two requests.
    #[arg(long, default_value_t = 20)]
    pub(super) pause: u64,
}

const PACK: &str = r#"
[pack]
name = "latency"
version = "1.0.0"
engine = ">=0.1"
description = "Alerts on every request of the measurement"

[[rule]]
id = "latency.each"
title = "A request of the measurement"
severity = "low"
when = 'kind == "api.request" && http.path.startsWith("/echo")'
group = ["http.path"]
tags = ["llm:LLM06"]
why = "It is measured."
fix = "None."
false_positives = "None."
"#;

/// Prints number and time before each request.
const CLIENT: &str = r#"
import os, socket, ssl, sys, time
port, requests, pause = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) / 1000
raw = socket.create_connection(("localhost", port))
raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
tls = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"]).wrap_socket(raw, server_hostname="localhost")
for number in range(requests):
    time.sleep(pause)
    said = time.time_ns()
    tls.sendall(b"POST /echo/%d HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}" % number)
    print(number, said, flush=True)
    data = b""
    while b"\r\n\r\n" not in data:
        data += tls.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    wanted = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    while len(body) < wanted:
        body += tls.recv(65536)
"#;

pub fn run(arguments: &Arguments) -> Result<()> {
    let _alone = sh::alone("this measurement")?;
    let folder = super::fresh("latency")?;
    let world = World::start(&folder)?;
    let watching = daemon(&folder, &world.config("*latency_client.py"))?;
    let delays = world.ask(arguments)?;
    drop(watching);
    println!("{} requests: from the TLS call to the sink's file {delays}", arguments.requests);
    delays.complete()
}

/// A stand-in server, the client, and the rule that alerts on each of its requests.
pub(super) struct World {
    folder: PathBuf,
    standin: Child,
    port: String,
}

impl World {
    /// Builds what is measured, too.
    pub(super) fn start(folder: &Path) -> Result<World> {
        peers::prepare_python()?;
        build::run()?;
        let rules = folder.join("rules");
        fs::create_dir_all(&rules)?;
        fs::write(rules.join("latency.toml"), PACK)?;
        fs::write(folder.join("latency_client.py"), CLIENT)?;
        let mut standin = sh::command(peers::python());
        let standin = standin.arg(peers::sources().join("standin.py")).arg(folder).stdin(Stdio::piped());
        let standin = standin.stdout(Stdio::null()).spawn()?;
        let port = wait_for("the stand-in", || fs::read_to_string(folder.join("port")).ok())?;
        Ok(World { folder: folder.to_owned(), standin, port })
    }

    fn sink(&self) -> PathBuf {
        self.folder.join("alerts.jsonl")
    }

    /// Watches processes with such an argument.
    pub(super) fn config(&self, argument: &str) -> String {
        format!(
            "scope = \"match\"\nrules = [\"{}\"]\n[match]\nargv = [\"{argument}\"]\n[[sink]]\ntype = \"file\"\nname = \"alerts\"\npath = \"{}\"\n",
            self.folder.join("rules").display(),
            self.sink().display()
        )
    }

    /// Lets the client ask, and compares its stamps with the alerts' arrivals.
    pub(super) fn ask(&self, arguments: &Arguments) -> Result<Delays> {
        let mut python = sh::command(peers::python());
        python.arg(self.folder.join("latency_client.py"));
        python.args([self.port.trim(), &arguments.requests.to_string(), &arguments.pause.to_string()]);
        let mut asking = python.env("SSL_CERT_FILE", self.folder.join("ca.pem")).stdout(Stdio::piped()).spawn()?;
        let said = BufReader::new(asking.stdout.take().context("stdout is piped")?);
        let told = std::thread::spawn(move || said.lines().map_while(Result::ok).collect::<Vec<_>>());
        let seen = follow(&self.sink(), arguments)?;
        ensure!(asking.wait()?.success(), "the client failed");
        let mut delays = Delays { wanted: arguments.requests, milliseconds: Vec::new() };
        for line in told.join().ok().context("the reader of the client ended")? {
            let (number, time) = line.split_once(' ').context("number and time")?;
            if let Some(at) = seen.get(&number.parse::<usize>()?) {
                delays.milliseconds.push((*at as f64 - time.parse::<f64>()?) / 1e6);
            }
        }
        delays.milliseconds.sort_by(f64::total_cmp);
        Ok(delays)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.standin.stdin.take());
        let _ = self.standin.wait();
    }
}

/// Sorted, one for each alert that came.
pub(super) struct Delays {
    wanted: usize,
    milliseconds: Vec<f64>,
}

impl Delays {
    pub(super) fn at(&self, part: f64) -> f64 {
        let place = (self.milliseconds.len() as f64 * part) as usize;
        self.milliseconds.get(place).or(self.milliseconds.last()).copied().unwrap_or(f64::NAN)
    }

    pub(super) fn complete(&self) -> Result<()> {
        ensure!(self.milliseconds.len() == self.wanted, "not every request raised its alert");
        Ok(())
    }
}

impl std::fmt::Display for Delays {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (p50, p90, p99, longest) = (self.at(0.5), self.at(0.9), self.at(0.99), self.at(1.0));
        let arrived = self.milliseconds.len();
        write!(f, "{arrived} alerts: p50 {p50:.1} ms, p90 {p90:.1} ms, p99 {p99:.1} ms, longest {longest:.1} ms")
    }
}

/// When the alert on each request was in the file.
fn follow(sink: &Path, arguments: &Arguments) -> Result<HashMap<usize, u128>> {
    let mut file = wait_for("the sink's file", || fs::File::open(sink).ok())?;
    let mut seen = HashMap::new();
    let (mut text, mut quiet) = (String::new(), Instant::now());
    while seen.len() < arguments.requests && quiet.elapsed() < Duration::from_secs(10) {
        text.clear();
        if file.read_to_string(&mut text)? == 0 {
            std::thread::sleep(Duration::from_micros(500));
            continue;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let numbers = text.split("/echo/").skip(1);
        for number in numbers.filter_map(|rest| rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()) {
            // Others that are watched may go on for ever.
            seen.entry(number).or_insert_with(|| {
                quiet = Instant::now();
                now
            });
        }
    }
    Ok(seen)
}
