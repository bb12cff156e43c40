//! Fuzzing of the decoders with cargo-fuzz, which wants a nightly toolchain. The targets are a workspace of their own.

use anyhow::{Result, ensure};

use crate::sh;

#[derive(clap::Args)]
pub struct Arguments {
    /// The target; all of them, one after the other, when none is named.
    target: Option<String>,
    /// Seconds a target.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let folder = sh::root().join("tests/fuzz");
    ensure!(folder.is_dir(), "this checkout has no fuzz targets ({} is missing)", folder.display());
    if sh::which("cargo-fuzz").is_none() {
        eprintln!("installing with cargo: cargo-fuzz");
        sh::run(sh::cargo().args(["install", "--locked", "cargo-fuzz"]))?;
    }
    let fuzz = |words: &[&str]| {
        let mut rustup = sh::command("rustup");
        rustup.args(["run", "nightly", "cargo", "fuzz"]).args(words).current_dir(&folder);
        rustup
    };
    let names = match &arguments.target {
        Some(name) => vec![name.clone()],
        None => sh::output(&mut fuzz(&["list"]))?.lines().map(str::to_owned).collect(),
    };
    for name in names {
        let limit = format!("-max_total_time={}", arguments.seconds);
        sh::run(&mut fuzz(&["run", &name, "--", &limit]))?;
    }
    Ok(())
}
