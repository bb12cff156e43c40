//! An unmodified agent against local stand-ins, for a newcomer who has no agent at hand.

use std::path::Path;

use anyhow::Result;

use crate::{peers, sh};

#[derive(clap::Args)]
pub struct Arguments {
    /// Which runs to play; both when none is named.
    #[arg(value_parser = ["honest", "bad"])]
    runs: Vec<String>,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    peers::prepare_python()?;
    if !Path::new("/run/agentward/control.sock").exists() {
        eprintln!(
            "no agentward daemon is running here; start one in another terminal with `cargo xtask run` to see what it says"
        );
    }
    sh::run(sh::command(peers::python()).arg(peers::sources().join("demo.py")).args(&arguments.runs))
}
