//! The policy engine beside its rivals. They live in a workspace of their own: none of them is a dependency of the project.

use anyhow::Result;

use crate::{setup, sh};

#[derive(clap::Args)]
pub struct Arguments {
    /// Passed on: keys for the bound of memory (10000000), then parts to measure instead of all: `condition`, `scaling`, `rivals`, `texts`,
    /// `blocks`, `memory`.
    rest: Vec<String>,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    setup::install(&["libhyperscan-dev"])?;
    let manifest = sh::root().join("tests/rivals/Cargo.toml");
    let target = sh::root().join("target/rivals");
    let mut cargo = sh::cargo();
    cargo.args(["run", "--release", "--quiet", "--manifest-path"]).arg(manifest).arg("--target-dir").arg(target);
    sh::run(cargo.arg("--").args(&arguments.rest))
}
