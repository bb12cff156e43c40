//! Probes that come and go in processes that are busy with TLS: none crashes, hangs, or reads anything else than what was sent. The
//! processes themselves compare every message with what they sent, and fail at the first that differs.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};

use anyhow::{Context, Result, ensure};

use super::{fresh, wait_for};
use crate::{build, peers, setup, sh};

#[derive(clap::Args)]
pub struct Arguments {
    /// How often, all processes together.
    #[arg(long, default_value_t = 10_000)]
    count: u32,
}

/// A process that is busy until its standard input ends.
struct Busy {
    name: &'static str,
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Busy {
    fn start(name: &'static str, words: &[PathBuf]) -> Result<Busy> {
        let mut command = sh::command(&words[0]);
        let mut child = command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context(name)?;
        let mut says = BufReader::new(child.stdout.take().context("stdout is piped")?);
        let mut line = String::new();
        says.read_line(&mut line)?;
        ensure!(line == "busy\n", "{name} did not start");
        Ok(Busy { name, child, says })
    }

    /// Messages that it compared.
    fn finish(mut self) -> Result<String> {
        drop(self.child.stdin.take());
        let status = wait_for(self.name, || self.child.try_wait().ok().flatten())?;
        ensure!(status.success(), "{}: {status}", self.name);
        let mut said = String::new();
        self.says.read_to_string(&mut said)?;
        Ok(format!("{} {}", self.name, said.trim()))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn run(arguments: &Arguments) -> Result<()> {
    setup::need(&[("node", "nodejs"), ("openssl", "openssl")])?;
    peers::prepare_python()?;
    peers::prepare_stacks(false)?;
    peers::prepare_busy()?;
    let mut cargo = build::cargo()?;
    sh::check(cargo.args(["build", "--quiet", "--package", "agentward", "--example", "rounds"]))?;
    let _alone = sh::alone("this check")?;
    let folder = fresh("rounds")?;
    certificate(&folder)?;
    let (packages, source) = (peers::folder(), |name: &str| peers::sources().join("busy").join(name));
    let busy = packages.join("busy/busy");
    let targets = [
        ("OpenSSL, static:", vec![busy.clone(), folder.clone()]),
        ("under seccomp:", vec![busy, folder.clone(), "confined".into()]),
        ("Python:", vec![peers::python(), source("busy.py"), folder.clone()]),
        ("Node:", vec!["node".into(), source("busy.mjs"), folder.clone()]),
        ("rustls:", vec![packages.join("rustls-ring/release/busy"), folder.clone()]),
        ("Go:", vec![packages.join("busy-go/busy"), folder]),
    ];
    let targets = targets.iter().map(|(name, words)| Busy::start(name, words)).collect::<Result<Vec<Busy>>>()?;
    let mut rounds = sh::command(sh::target().join("debug/examples/rounds"));
    rounds.arg(arguments.count.to_string()).args(targets.iter().map(|target| target.child.id().to_string()));
    sh::check(&mut rounds)?;
    let said = targets.into_iter().map(Busy::finish).collect::<Result<Vec<String>>>()?;
    println!("none crashed or hung, none read anything else than what was sent: {}", said.join(", "));
    Ok(())
}

/// A certificate for `localhost` that is its own authority: `server.crt`, `server.key`, `ca.pem`.
pub(super) fn certificate(folder: &Path) -> Result<()> {
    let mut openssl = sh::command("openssl");
    openssl.args([
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]);
    openssl.args(["-addext", "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE", "-keyout"]);
    sh::output(openssl.arg(folder.join("server.key")).arg("-out").arg(folder.join("server.crt")))?;
    std::fs::copy(folder.join("server.crt"), folder.join("ca.pem"))?;
    Ok(())
}
