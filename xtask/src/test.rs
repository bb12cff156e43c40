//! Every check there is, in the order in which a fault is cheapest to find. All run, then a summary says which failed.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{build, evasions, peers, receivers, setup, sh};

#[derive(clap::Args)]
pub struct Arguments {
    /// Leave out what needs root and a kernel: the live tests.
    #[arg(long)]
    no_live: bool,
    /// Only the steps whose name contains this.
    #[arg(long, value_name = "WORD")]
    only: Option<String>,
}

/// A step and how to run it.
struct Step {
    name: &'static str,
    run: fn() -> Result<()>,
}

const STEPS: [Step; 13] = [
    Step { name: "format", run: || sh::check(sh::cargo().args(["fmt", "--all", "--check"])) },
    Step { name: "clippy of the pure library", run: clippy_pure },
    Step { name: "pure library", run: pure },
    Step { name: "build", run: build::run },
    Step { name: "clippy", run: clippy },
    Step { name: "live library", run: library },
    Step { name: "rules and recordings", run: recordings },
    Step { name: "console in a browser and a terminal", run: console },
    Step { name: "sinks into real receivers", run: receivers::slice },
    Step { name: "outages of receivers", run: receivers::outage_slice },
    Step { name: LIVE, run: live },
    Step { name: STACKS, run: stacks },
    Step { name: DIST, run: crate::dist::prove },
];
const LIVE: &str = "live, on this kernel";
/// Only when asked for by name: it downloads the agents' own programs.
const STACKS: &str = "stacks, with the programs that agents ship";
/// Only when asked for by name: it makes a Debian in a folder.
const DIST: &str = "dist, packed, installed and removed";

pub fn run(arguments: &Arguments) -> Result<()> {
    let wanted = |step: &&Step| {
        let named = |word: &String| step.name.contains(word.as_str());
        !(arguments.no_live && step.name == LIVE) && arguments.only.as_ref().map_or(![STACKS, DIST].contains(&step.name), named)
    };
    let mut done = Vec::new();
    for step in STEPS.iter().filter(wanted) {
        eprintln!("\n== {}", step.name);
        let started = Instant::now();
        let outcome = (step.run)();
        let fault = outcome.err().map(|error| format!("{error:#}"));
        if let Some(fault) = &fault {
            eprintln!("xtask: {fault}");
        }
        done.push((step.name, fault, started.elapsed()));
    }
    eprintln!();
    for (name, fault, _) in &done {
        if let Some(fault) = fault {
            eprintln!("== {name}\n{fault}\n");
        }
    }
    for (name, fault, took) in &done {
        eprintln!("{:6} {name} ({} s)", if fault.is_none() { "ok" } else { "FAILED" }, took.as_secs());
    }
    if arguments.no_live {
        eprintln!("left out, as asked: {LIVE}");
    }
    if done.iter().all(|(_, fault, _)| fault.is_none()) { Ok(()) } else { bail!("some checks failed") }
}

fn clippy_pure() -> Result<()> {
    sh::check(sh::cargo().args(["clippy", "-p", "agentward", "--no-default-features", "--all-targets", "--", "-D", "warnings"]))
}

/// Without default features: neither kernel nor clock nor network is in the graph.
fn pure() -> Result<()> {
    sh::check(sh::cargo().args(["test", "-p", "agentward", "--no-default-features"]))
}

fn clippy() -> Result<()> {
    let mut cargo = build::cargo()?;
    sh::check(cargo.args(["clippy", "--workspace", "--exclude", "agent-ebpf", "--all-targets", "--", "-D", "warnings"]))
}

fn library() -> Result<()> {
    sh::check(build::cargo()?.args(["test", "-p", "agentward", "-p", "agent-wire", "-p", "xtask"]))
}

/// The rule packs' own tests, then recordings through the built program: goldens, contract, bad input.
fn recordings() -> Result<()> {
    peers::prepare_python()?;
    peers::prepare_sdks()?;
    build::run()?;
    if sh::root().join("rules").is_dir() {
        for verb in ["check", "test"] {
            sh::check(sh::command(build::daemon()).args(["rules", verb, "rules"]))?;
        }
    } else {
        eprintln!("this checkout has no rule packs: nothing to check");
    }
    sh::check(&mut agent_tests())
}

/// Pages in Chromium with an audit, the terminal view in tmux, strangers at the door.
fn console() -> Result<()> {
    prepare_console()?;
    sh::check(agent_tests().args([
        "--test",
        "console",
        "--",
        "--ignored",
        "--skip",
        "screenshots",
        "--skip",
        "load_",
        "--skip",
        "live_",
        "--test-threads=2",
    ]))
}

/// What the console's tests and pictures need.
fn prepare_console() -> Result<()> {
    setup::need(&[("chromium", "chromium"), ("tmux", "tmux"), ("fc-list", "fontconfig")])?;
    setup::install(&["fonts-dejavu-core"])?;
    peers::prepare_audit()?;
    build::run()
}

/// Pictures of the pages, for people who look at a change; one of them stands in the README.
pub fn screenshots(folder: &std::path::Path) -> Result<()> {
    prepare_console()?;
    std::fs::create_dir_all(folder)?;
    let folder = folder.canonicalize()?;
    sh::check(agent_tests().args(["--test", "console", "--", "--ignored", "screenshots"]).env("AGENTWARD_SHOTS", &folder))?;
    std::fs::copy(folder.join("readme.png"), sh::root().join("tests/console/alert.png"))?;
    eprintln!("pictures are in {}; the README's is tests/console/alert.png", folder.display());
    Ok(())
}

/// Real clients under the probes. Root, because the kernel asks for it.
fn live() -> Result<()> {
    setup::need(&[("curl", "curl"), ("wget", "wget"), ("git", "git"), ("ip", "iproute2")])?;
    peers::prepare_python()?;
    peers::prepare_node()?;
    peers::prepare_stacks(false)?;
    peers::prepare_short()?;
    build::run()?;
    let _alone = sh::alone("a live test (`--no-live` leaves them out)")?;
    // One at a time: each test watches the whole host.
    let mut tests = agent_tests();
    tests.args(["--test", "live", "--", "--ignored", "--test-threads=1"]);
    for verbs_own in [EVERY_STACK, evasions::EVERY_EVASION, evasions::ORDINARY_WORK] {
        tests.args(["--skip", verbs_own]);
    }
    sh::check(&mut tests)?;
    prepare_console()?;
    sh::check(agent_tests().args(["--test", "console", "--", "--ignored", "live_", "--nocapture", "--test-threads=1"]))
}

/// The live test of all risks, and its table into the rules' README.
pub fn risks() -> Result<()> {
    peers::prepare_python()?;
    build::run()?;
    let _alone = sh::alone("playing the risks")?;
    let table = sh::target().join("risks.md");
    let mut tests = agent_tests();
    tests.args(["--test", "live", "--", "--ignored", "--nocapture", "every_risk"]).env("AGENTWARD_RISKS_TABLE", &table);
    sh::check(&mut tests)?;
    let readme = sh::root().join("rules/README.md");
    let text = std::fs::read_to_string(&readme)?;
    let (before, rest) = text.split_once(RISKS_BEGIN).context("rules/README.md has no place for the table of risks")?;
    let (_, after) = rest.split_once(RISKS_END).context("the table of risks in rules/README.md has no end")?;
    std::fs::write(&readme, format!("{before}{RISKS_BEGIN}\n\n{}\n{RISKS_END}{after}", std::fs::read_to_string(table)?))?;
    eprintln!("the table is in {}", readme.display());
    Ok(())
}

const RISKS_BEGIN: &str = "<!-- made by `cargo xtask risks` -->";
const RISKS_END: &str = "<!-- end of what `cargo xtask risks` made -->";

/// The console under load; prints what it measured.
pub fn console_load() -> Result<()> {
    prepare_console()?;
    sh::check(agent_tests().args(["--test", "console", "--", "--ignored", "load_", "--nocapture"]))
}

/// The live test that needs what [`peers::prepare_stacks`] downloads.
const EVERY_STACK: &str = "every_stack";

/// Processes that live for some milliseconds, as many as wanted.
pub fn short(count: u32) -> Result<()> {
    peers::prepare_python()?;
    peers::prepare_short()?;
    build::run()?;
    let _alone = sh::alone("this test")?;
    let mut tests = agent_tests();
    tests.args(["--test", "live", "--", "--ignored", "--nocapture", "short_processes"]);
    sh::check(tests.env("AGENTWARD_COUNT", count.to_string()))
}

fn stacks() -> Result<()> {
    setup::need(&[("npm", "npm")])?;
    peers::prepare_python()?;
    peers::prepare_stacks(true)?;
    build::run()?;
    let _alone = sh::alone("this test")?;
    sh::check(agent_tests().args(["--test", "live", "--", "--ignored", "--nocapture", EVERY_STACK]))
}

/// What every model SDK asks and reads, beside what is read of its traffic.
pub fn sdks(arguments: &SdkArguments) -> Result<()> {
    peers::prepare_sdks()?;
    let mut tests = agent_tests();
    tests.args(["--test", "sdks", "--", "--ignored", "--nocapture"]);
    sh::check(tests.env("AGENTWARD_CASES", arguments.cases.to_string()).env("AGENTWARD_SEED", arguments.seed.to_string()))
}

#[derive(clap::Args)]
pub struct SdkArguments {
    /// Conversations that go through every SDK, whole and as a stream; calls in each talk of MCP packages.
    #[arg(long, default_value_t = 60)]
    cases: u32,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub fn agent_tests() -> Command {
    let mut cargo = sh::cargo();
    cargo.args(["test", "-p", "agent-tests"]);
    cargo.env("AGENTWARD_BIN", build::daemon()).env("AGENTWARD_PEERS", peers::folder());
    cargo
}
