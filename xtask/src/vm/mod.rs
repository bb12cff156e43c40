//! Debian's kernels in emulated guests: what this host's kernel cannot show.
//!
//! In: the built program, Debian's archive, programs of this host. Out: one row a guest. A guest is a kernel and a small root file
//! system in memory ([`image`]): real clients ask a real server over TLS under `agentward record`, the recording is replayed, and the
//! exchanges are compared with what the server itself noted, as the live tests do. Kernels without what the probes need must be
//! refused with one message and nothing attached. Nothing here needs KVM or installs a kernel.

mod guest;
mod image;
mod kernels;

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::{build, setup, sh};

#[derive(clap::Args)]
pub struct Arguments {
    /// The guests to boot; all of them, one after the other, when none is named.
    #[arg(value_parser = names())]
    guests: Vec<String>,
    /// Take the program that was built last, as it is.
    #[arg(long)]
    built: bool,
}

/// What a guest does once it has booted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// Watch curl, wget and Python.
    Watch,
    /// Watch two busy clients that share the guest's one CPU, and a third that writes from memory that was never touched.
    Load,
    /// Be told that this kernel lacks something.
    Refuse,
}

impl Plan {
    fn name(self) -> &'static str {
        match self {
            Plan::Watch => "watch",
            Plan::Load => "load",
            Plan::Refuse => "refuse",
        }
    }
}

struct Guest {
    name: &'static str,
    /// The Debian release whose cloud kernel is booted.
    suite: &'static str,
    plan: Plan,
    /// Added to the kernel's command line.
    boot: &'static str,
    cpus: u32,
}

/// Private BPF stacks, which preempted programs would share, exist from 6.13 on: that guest needs the newest kernel.
const GUESTS: [Guest; 5] = [
    Guest { name: "5.10", suite: "bullseye", plan: Plan::Refuse, boot: "", cpus: 2 },
    Guest { name: "6.1", suite: "bookworm", plan: Plan::Watch, boot: "", cpus: 2 },
    Guest { name: "6.12", suite: "trixie", plan: Plan::Watch, boot: "", cpus: 2 },
    Guest { name: "newest", suite: "sid", plan: Plan::Watch, boot: "", cpus: 2 },
    Guest { name: "preempt", suite: "sid", plan: Plan::Load, boot: "preempt=full", cpus: 1 },
];

fn names() -> clap::builder::PossibleValuesParser {
    clap::builder::PossibleValuesParser::new(GUESTS.iter().map(|guest| guest.name))
}

/// What is printed of a guest.
struct Row {
    name: &'static str,
    release: String,
    probes: &'static str,
    exchanges: String,
    seconds: u64,
    fault: Option<String>,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    if !arguments.built {
        build::run()?;
    }
    setup::need(&[
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("busybox", "busybox-static"),
        ("cpio", "cpio"),
        ("curl", "curl"),
        ("wget", "wget"),
        ("openssl", "openssl"),
        ("dpkg-deb", "dpkg"),
        ("apt-get", "apt"),
    ])?;
    setup::install(&["python3"])?;
    let folder = sh::target().join("vm");
    fs::create_dir_all(&folder)?;
    let image = image::build(&folder)?;
    let mut rows = Vec::new();
    for guest in
        GUESTS.iter().filter(|guest| arguments.guests.is_empty() || arguments.guests.iter().any(|name| name == guest.name))
    {
        eprintln!("\n== guest {}", guest.name);
        let started = Instant::now();
        let mut row = Row { name: guest.name, release: "-".into(), probes: "-", exchanges: "-".into(), seconds: 0, fault: None };
        if let Err(error) = one(guest, &folder, &image, &mut row) {
            row.fault = Some(format!("{error:#}"));
        }
        row.seconds = started.elapsed().as_secs();
        rows.push(row);
    }
    println!("{:<8} {:<42} {:<9} {:>12} {:>5}  verdict", "guest", "kernel", "probes", "seen / made", "s");
    for row in &rows {
        let verdict = row.fault.as_deref().unwrap_or("ok");
        println!("{:<8} {:<42} {:<9} {:>12} {:>5}  {verdict}", row.name, row.release, row.probes, row.exchanges, row.seconds);
    }
    ensure!(rows.iter().all(|row| row.fault.is_none()), "some guests failed; their words are under {}", folder.display());
    Ok(())
}

fn one(guest: &Guest, folder: &Path, image: &Path, row: &mut Row) -> Result<()> {
    let kernel = kernels::fetch(folder, guest.suite)?;
    let seen = guest::boot(guest, &kernel, image, &folder.join(guest.name))?;
    row.release = format!("{} {}", seen.field("release"), guest.boot).trim_end().to_owned();
    ensure!(seen.field("kernel_faults") == "0", "the kernel complained: {}", seen.text("dmesg"));
    ensure!(seen.field("attached_after") == "0", "{} probed bytes stayed behind", seen.field("attached_after"));
    let (code, words) = (seen.field("code"), seen.text("said"));
    if guest.plan == Plan::Refuse {
        row.probes = "refused";
        ensure!(code == "3", "exit code {code} where 3 was wanted: {words}");
        ensure!(words.lines().count() == 1, "one message was wanted: {words}");
        ensure!(words.contains("6.1") && words.contains("5.10"), "the message names neither kernel nor remedy: {words}");
        eprintln!("{}", words.trim_end());
        return Ok(());
    }
    if seen.field("ready") != "yes" {
        row.probes = "no";
        bail!("not ready, exit code {code}: {}", words.trim_end());
    }
    row.probes = "attached";
    ensure!(seen.field("attached_during") != "0", "no byte of the TLS library was probed");
    ensure!(code == "0", "the recorder ended with {code}: {words}");
    let mut compare = build::cargo()?;
    compare.args(["run", "--quiet", "-p", "agent-tests", "--example", "guest-verdict", "--"]).arg(&seen.folder);
    let done = compare.output().context("cannot start the comparison")?;
    row.exchanges = String::from_utf8_lossy(&done.stdout).trim().to_owned();
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr).trim_end());
    Ok(())
}
