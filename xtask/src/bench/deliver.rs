//! Delivery: durable alerts a second with and without group commit, a worker that is killed at random, and one whose disk fails.

use anyhow::Result;

use crate::{build, setup, sh};

#[derive(clap::Args)]
pub struct Arguments {
    #[arg(long, default_value_t = 100_000)]
    alerts: u64,
    #[arg(long, default_value_t = 500)]
    kills: u32,
    /// Only this part.
    #[arg(value_parser = ["rates", "kills", "faults"])]
    only: Option<String>,
}

/// Enough that more than 200 faults are met.
const ALERTS_OF_FAULTS: u32 = 250;

pub fn run(arguments: &Arguments) -> Result<()> {
    let folder = sh::target().join("bench-deliver");
    let parts = [
        ("rates", vec![]),
        ("kills", vec![arguments.alerts.to_string(), arguments.kills.to_string()]),
        ("faults", vec![ALERTS_OF_FAULTS.to_string()]),
    ];
    for (part, more) in parts.iter().filter(|(part, _)| arguments.only.as_ref().is_none_or(|only| only == part)) {
        if *part == "faults" {
            setup::need(&[("strace", "strace")])?;
        }
        let mut cargo = build::cargo()?;
        cargo.args(["run", "--release", "-q", "-p", "agent-tests", "--example", "deliver", "--", part]).arg(&folder);
        sh::run(cargo.args(more))?;
    }
    Ok(())
}
