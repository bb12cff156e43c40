//! The probe object, then the daemon that carries it.
//!
//! The object lies at a fixed place under the target folder; the daemon's build script finds it through `AGENTWARD_BPF_OBJECT`.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::{setup, sh};

/// Environment variable by which the daemon's build script finds the object.
const OBJECT: &str = "AGENTWARD_BPF_OBJECT";

/// Where the built daemon is.
pub fn daemon() -> PathBuf {
    sh::target().join("release/agentward")
}

/// Builds the object if its sources changed, and tells every later build where it is.
pub fn probes() -> Result<PathBuf> {
    probes_of(sh::root(), &sh::target())
}

/// The same for a checkout and a target folder of their own.
pub fn probes_of(root: &Path, target: &Path) -> Result<PathBuf> {
    let road = setup::run()?;
    let folder = target.join("bpf");
    let mut cargo = road.cargo_build(&setup::path_maps(root, target));
    cargo.current_dir(root);
    cargo.args(["--release", "--package", "agent-ebpf", "--target", "bpfel-unknown-none", "--target-dir"]).arg(&folder);
    sh::run(&mut cargo)?;
    let object = folder.join("bpfel-unknown-none/release/agent-ebpf");
    ensure!(object.is_file(), "the probe build left no object at {}", object.display());
    Ok(object)
}

/// `cargo`, told where the probe object is.
pub fn cargo() -> Result<std::process::Command> {
    let object = probes()?;
    let mut cargo = sh::cargo();
    cargo.env(OBJECT, object);
    Ok(cargo)
}

pub fn run() -> Result<()> {
    daemon_in("release").map(drop)
}

/// Builds the daemon with this profile of the workspace; gives the program.
pub fn daemon_in(profile: &str) -> Result<PathBuf> {
    sh::run(cargo()?.args(["build", "--profile", profile, "--package", "agentward"]))?;
    Ok(sh::target().join(profile).join("agentward"))
}
