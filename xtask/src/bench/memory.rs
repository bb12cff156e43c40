//! Resident memory of the whole daemon: idle, after 10,000 exchanges, after 100,000.

use std::fs;

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::{daemon, wait_for};
use crate::{build, peers, setup, sh};

const RING: u64 = 16 << 20;

pub fn run() -> Result<()> {
    let _alone = sh::alone("this measurement")?;
    peers::prepare_python()?;
    setup::need(&[("bpftrace", "bpftrace")])?;
    build::run()?;
    let folder = sh::target().join("bench-memory");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    let script = |name: &str| peers::sources().join(name);
    let mut standin = sh::command(peers::python());
    let mut standin = standin.arg(script("standin.py")).arg(&folder).stdin(Stdio::piped()).spawn()?;
    let port = wait_for("the stand-in", || fs::read_to_string(folder.join("port")).ok())?;
    let watched =
        daemon(&folder, &format!("scope = \"match\"\n[match]\nargv = [\"*load.py\"]\n[capture]\nring_bytes = {RING}\n"))?;
    let idle = resident(watched.pid())?;
    println!(
        "idle: {:.1} MiB, each page once (ring {} MiB; the rest {:.1} MiB); each page for every time that it is mapped: {:.1} MiB",
        mib(idle),
        RING >> 20,
        mib(idle.saturating_sub(RING)),
        mib(sum(watched.pid(), "Rss:")?)
    );
    let other = bpftrace(&folder)?;
    println!("bpftrace with two probes: {:.1} MiB; agentward {:.2} of it", mib(other), idle as f64 / other as f64);
    let mut load = sh::command(peers::python());
    load.arg(script("clients/load.py")).env("SSL_CERT_FILE", folder.join("ca.pem"));
    load.env("STANDIN_URL", format!("https://localhost:{port}"));
    let mut after = Vec::new();
    for (total, more) in [(10_000, 10_000), (100_000, 90_000)] {
        fs::write(folder.join("order"), format!("{more} small\n"))?;
        fed(&mut load, &folder.join("order"))?;
        let now = resident(watched.pid())?;
        println!("after {total} exchanges: {:.1} MiB", mib(now));
        after.push(now as f64);
    }
    if let [first, last] = after.as_slice() {
        println!("growth from 10000 to 100000: {:.3}", last / first);
    }
    drop(watched);
    drop(standin.stdin.take());
    standin.wait()?;
    Ok(())
}

/// Resident memory of bpftrace at its own defaults while it copies from the doors of a TLS library.
fn bpftrace(folder: &Path) -> Result<u64> {
    let library =
        ["/usr/lib/x86_64-linux-gnu/libssl.so.3", "/usr/lib64/libssl.so.3"].into_iter().find(|path| Path::new(path).exists());
    let library = library.context("no shared libssl.so.3 on this host")?;
    let script = folder.join("copy.bt");
    fs::write(&script, super::capture::SCRIPT.replace("LIB", library))?;
    let beside = super::bpftrace(&script, &folder.join("copy.out"))?;
    resident(beside.pid())
}

pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Of all parts of a program, what they share divided among them (proc(5), `Pss`): a page is resident once, however many map it.
pub fn resident(pid: u32) -> Result<u64> {
    sum(pid, "Pss:")
}

fn sum(pid: u32, name: &str) -> Result<u64> {
    super::family(pid).into_iter().map(|part| one(part, name)).sum()
}

fn one(pid: u32, name: &str) -> Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix(name)).context("a process has memory")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes << 10)
}

/// Runs a command with a file as its standard input.
fn fed(command: &mut Command, input: &Path) -> Result<()> {
    let status = command.stdin(fs::File::open(input)?).stdout(Stdio::null()).status()?;
    ensure!(status.success(), "the load client ended with {status}");
    Ok(())
}
