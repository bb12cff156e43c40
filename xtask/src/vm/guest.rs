//! One boot: the kernel under qemu with the image as its root, and what it leaves behind on its second serial line.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::Guest;
use crate::sh;

/// An emulated guest takes one to three minutes.
const SECONDS: &str = "900";

/// What a guest reported.
pub(super) struct Seen {
    pub(super) folder: PathBuf,
    fields: BTreeMap<String, String>,
}

impl Seen {
    /// A line `name=value` of its report; empty when it has none.
    pub(super) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// A file that it left.
    pub(super) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }
}

pub(super) fn boot(guest: &Guest, kernel: &Path, image: &Path, folder: &Path) -> Result<Seen> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    let (console, parcel) = (folder.join("console.log"), folder.join("parcel.b64"));
    let mut qemu = sh::command("timeout");
    qemu.args([SECONDS, "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", "2048", "-nodefaults"]);
    qemu.args(["-display", "none", "-no-reboot", "-smp", &guest.cpus.to_string()]);
    qemu.arg("-kernel").arg(kernel).arg("-initrd").arg(image);
    qemu.arg("-serial").arg(format!("file:{}", console.display()));
    qemu.arg("-serial").arg(format!("file:{}", parcel.display()));
    qemu.arg("-append").arg(format!(
        "console=ttyS0 quiet no_timer_check panic=-1 oops=panic random.trust_cpu=on agentward.plan={} {}",
        guest.plan.name(),
        guest.boot
    ));
    let ended = sh::run(&mut qemu);
    let last = || {
        let text = fs::read(&console).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    };
    ended.with_context(|| format!("the guest did not end by itself; its last words:\n{}", last()))?;
    let mut unpack = sh::command("sh");
    unpack.args(["-c", "base64 -di parcel.b64 | tar -xz"]).current_dir(folder);
    ensure!(sh::run(&mut unpack).is_ok(), "the guest left no report; its last words:\n{}", last());
    let report = fs::read_to_string(folder.join("report")).context("the guest left no report")?;
    let fields = report.lines().filter_map(|line| line.split_once('=')).map(|(name, value)| (name.into(), value.into()));
    Ok(Seen { folder: folder.to_owned(), fields: fields.collect() })
}
