//! The release archive: program, rule packs, licence, documents.

use std::fs;

use anyhow::{Context, Result};

use crate::{build, setup, sh};

pub fn run() -> Result<()> {
    setup::need(&[("tar", "tar"), ("sha256sum", "coreutils")])?;
    build::run()?;
    let name = format!("agentward-{}-{}-linux", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let dist = sh::target().join("dist");
    let folder = dist.join(&name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    fs::copy(build::daemon(), folder.join("agentward")).context("cannot copy the daemon")?;
    for file in ["README.md", "CHANGELOG.md", "SECURITY.md", "LICENSE"] {
        fs::copy(sh::root().join(file), folder.join(file)).with_context(|| format!("cannot copy {file}"))?;
    }
    sh::run(sh::command("cp").args(["-r", "rules"]).arg(folder.join("rules")))?;
    sh::run(sh::command("cp").args(["-r", "agent-user/observe"]).arg(folder.join("observe")))?;
    // The same sources give the same archive.
    let mut tar = sh::command("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "-C"]).arg(&dist);
    sh::run(tar.args(["-czf", &format!("{}.tar.gz", folder.display()), &name]))?;
    sh::run(sh::command("sha256sum").arg(format!("{name}.tar.gz")).current_dir(&dist))
}
