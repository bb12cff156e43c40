//! What `core` alone finds: an example of the test package, because it makes the workflows.

use anyhow::Result;

use crate::sh;

#[derive(clap::Args)]
pub struct Arguments {
    /// Passed on: `--each N`, `--seed N`, `--missed`, `--write FOLDER`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let mut cargo = sh::cargo();
    cargo.args(["run", "--release", "--quiet", "--package", "agent-tests", "--example", "detection", "--"]);
    sh::run(cargo.args(&arguments.rest))
}
