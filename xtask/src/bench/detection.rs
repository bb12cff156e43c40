//! What is counted instead of timed: examples of the test package, because it makes the input and has the oracle.

use anyhow::Result;

use crate::sh;

#[derive(clap::Args)]
pub struct Arguments {
    /// Passed on. Detection: `--each N`, `--seed N`, `--missed`, `--write FOLDER`; expressions: `--count N`, `--seed N`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub fn run(example: &str, arguments: &Arguments) -> Result<()> {
    let mut cargo = sh::cargo();
    cargo.args(["run", "--release", "--quiet", "--package", "agent-tests", "--example", example, "--"]);
    sh::run(cargo.args(&arguments.rest))
}
