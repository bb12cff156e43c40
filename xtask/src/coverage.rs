//! Lines of a stage that its unit tests run, by the compiler's own instrumentation (`-C instrument-coverage`) and LLVM's tools of the
//! same version. Tests beside the code are lines of its files, too; files that are nothing else are left out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::{setup, sh};

#[derive(clap::Args)]
pub struct Arguments {
    /// The stage: a folder of `agent-user/src`.
    #[arg(default_value = "decode")]
    stage: String,
    /// The least, in percent.
    #[arg(long, default_value_t = 90.0)]
    least: f64,
}

/// Files of tests and of what only they use.
const TESTS: &str = r"(/|^)(tests|testing|hostile|fuzz|bench)\.rs$";

pub fn run(arguments: &Arguments) -> Result<()> {
    let sources = sh::root().join("agent-user/src").join(&arguments.stage);
    ensure!(sources.is_dir(), "there is no stage {}", sources.display());
    let tools = tools()?;
    let folder = sh::target().join("coverage");
    let profiles = folder.join("profiles");
    let _ = fs::remove_dir_all(&profiles);
    fs::create_dir_all(&profiles)?;
    let mut cargo = sh::cargo();
    cargo.args(["test", "--package", "agentward", "--no-default-features", "--lib", "--no-run", "--message-format=json"]);
    cargo.arg("--target-dir").arg(&folder).env("RUSTFLAGS", "-C instrument-coverage");
    // Scripts of the build are instrumented, too.
    let built = sh::output(cargo.env("LLVM_PROFILE_FILE", folder.join("build.profraw")))?;
    let program = built.lines().filter_map(executable).next_back().context("the build names its test program")?;
    let mut tests = Command::new(&program);
    tests.arg(format!("{}::", arguments.stage)).env("LLVM_PROFILE_FILE", profiles.join("tests.profraw"));
    sh::run(&mut tests)?;
    let merged = folder.join("merged.profdata");
    sh::run(
        Command::new(tools.join("llvm-profdata"))
            .args(["merge", "-sparse"])
            .arg(profiles.join("tests.profraw"))
            .arg("-o")
            .arg(&merged),
    )?;
    let mut report = Command::new(tools.join("llvm-cov"));
    report.args(["export", "--summary-only", &format!("--ignore-filename-regex={TESTS}")]);
    let said = sh::output(report.arg(format!("--instr-profile={}", merged.display())).arg(&program).arg(&sources))?;
    let said: serde_json::Value = serde_json::from_str(&said)?;
    for file in said["data"][0]["files"].as_array().context("llvm-cov lists files")? {
        let name = Path::new(file["filename"].as_str().unwrap_or_default());
        println!("{:6.2} %  {}", percent(&file["summary"]), name.strip_prefix(&sources).unwrap_or(name).display());
    }
    let totals = &said["data"][0]["totals"];
    let whole = percent(totals);
    println!("{whole:.2} % of {} lines of {} (at least {})", totals["lines"]["count"], arguments.stage, arguments.least);
    ensure!(whole >= arguments.least, "too few lines are run by tests");
    Ok(())
}

fn percent(summary: &serde_json::Value) -> f64 {
    summary["lines"]["percent"].as_f64().unwrap_or(0.0)
}

fn executable(message: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    Some(message["executable"].as_str()?.into())
}

/// The folder of LLVM's tools that read what this compiler writes: the formats change with LLVM's major version.
fn tools() -> Result<PathBuf> {
    let major = setup::llvm(&sh::output(sh::command("rustc").arg("-vV"))?)?;
    let folder = PathBuf::from(format!("/usr/lib/llvm-{major}/bin"));
    if !folder.join("llvm-cov").exists() {
        setup::install(&[&format!("llvm-{major}")])?;
    }
    Ok(folder)
}
