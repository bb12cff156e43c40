//! Delivery: durable alerts a second with and without group commit, and a worker that is killed at random.

use anyhow::Result;

use crate::{build, sh};

#[derive(clap::Args)]
pub struct Arguments {
    #[arg(long, default_value_t = 100_000)]
    alerts: u64,
    #[arg(long, default_value_t = 500)]
    kills: u32,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let folder = sh::target().join("bench-deliver");
    for words in [vec!["rates".to_owned()], vec!["kills".to_owned()]] {
        let mut cargo = build::cargo()?;
        cargo.args(["run", "--release", "-q", "-p", "agent-tests", "--example", "deliver", "--", &words[0]]).arg(&folder);
        if words[0] == "kills" {
            cargo.args([arguments.alerts.to_string(), arguments.kills.to_string()]);
        }
        sh::run(&mut cargo)?;
    }
    Ok(())
}
