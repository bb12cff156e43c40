//! Build, then watch this host. The journal stays in the checkout (`.agentward/`) unless the caller chose a place.

use std::os::unix::process::CommandExt;

use anyhow::{Result, bail};

use crate::{build, sh};

#[derive(clap::Args)]
pub struct Arguments {
    /// Build it as `cargo xtask build` does: slower to build, faster to run.
    #[arg(long)]
    release: bool,
    /// Passed on to `agentward run`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let program = build::daemon_in(if arguments.release { "release" } else { "first" })?;
    let mut daemon = sh::as_root(&program);
    daemon.arg("run").args(&arguments.rest);
    if std::env::var_os("STATE_DIRECTORY").is_none() {
        daemon.env("STATE_DIRECTORY", sh::root().join(".agentward"));
    }
    // The terminal's signals are the daemon's from here on.
    let error = daemon.exec();
    bail!("cannot start {}: {error}", program.display())
}
