//! What is counted instead of timed: examples of the test package, because it makes the input and has the oracle.

use anyhow::Result;

use crate::{build, peers, sh};

#[derive(clap::Args)]
pub struct Arguments {
    /// Passed on. Detection: `--each N`, `--seed N`, `--missed`, `--write FOLDER`; expressions: `--count N`, `--seed N`;
    /// agentdojo: `--every N`, `--wording NAME`, `--missed`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// A public suite instead of our own scenes: `--every N` tasks, `--wording NAME`, `--missed`.
pub fn agentdojo(arguments: &Arguments) -> Result<()> {
    let python = peers::prepare_agentdojo()?;
    build::run()?;
    let mut play = sh::command(python);
    play.arg(peers::sources().join("agentdojo/play.py")).arg(build::daemon()).arg(sh::target().join("bench-agentdojo"));
    sh::run(play.args(&arguments.rest))
}

/// The program as it is built for operators, on a large recording.
pub fn backtest(arguments: &Arguments) -> Result<()> {
    build::run()?;
    run("backtest", arguments)
}

pub fn run(example: &str, arguments: &Arguments) -> Result<()> {
    let mut cargo = sh::cargo();
    cargo.args(["run", "--release", "--quiet", "--package", "agent-tests", "--example", example, "--"]);
    sh::run(cargo.args(&arguments.rest))
}
