//! `cargo xtask VERB`: all automation of the project. Each verb is a file; each installs what it alone needs.
//!
//! In: the checkout and the host. Out: built programs, verdicts, tables on the terminal. Nothing here ships to users, and
//! nothing here is needed to build the pure library.

mod bench;
mod build;
mod coverage;
mod demo;
mod dist;
mod evasions;
mod fuzz;
mod peers;
mod receivers;
mod run;
mod setup;
mod sh;
mod test;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Automation of agentward.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Find or install what the probe build needs.
    Setup,
    /// Build the probe object and the daemon.
    Build,
    /// Build, then watch this host with the built-in rules.
    Run(run::Arguments),
    /// Play an unmodified agent against local stand-ins: an honest run and a bad one.
    Demo(demo::Arguments),
    /// Run every check there is.
    Test(test::Arguments),
    /// Take pictures of the web console on the recorded sample runs.
    Screenshots {
        /// Folder that they go to.
        #[arg(default_value = "target/screenshots")]
        folder: std::path::PathBuf,
    },
    /// Measure: cost of capture, speed of replay, memory.
    Bench(bench::Arguments),
    /// Send alerts through every codec and sink into real receivers, and read them back.
    Receivers(receivers::Arguments),
    /// Play every risk live, harmful and honest, and write down what was told: the table in `rules/README.md`.
    Risks,
    /// Run every program that hides, then ordinary heavy work: what is captured, told or silent of each.
    Evasions(evasions::Arguments),
    /// Processes that live for some milliseconds, each with one call, under process numbers that come again.
    Short {
        /// How many.
        #[arg(default_value_t = 10_000)]
        count: u32,
    },
    /// Boot other kernels in emulated guests and watch real clients there.
    Vm(vm::Arguments),
    /// Lines of a stage that its unit tests run.
    Coverage(coverage::Arguments),
    /// Fuzz the decoders.
    Fuzz(fuzz::Arguments),
    /// Pack what users install: .deb, tarball, sums, bill of materials.
    Dist(dist::Arguments),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().verb {
        Verb::Setup => setup::run().map(|_| ()),
        Verb::Build => build::run(),
        Verb::Run(arguments) => run::run(&arguments),
        Verb::Demo(arguments) => demo::run(&arguments),
        Verb::Test(arguments) => test::run(&arguments),
        Verb::Screenshots { folder } => test::screenshots(&sh::root().join(folder)),
        Verb::Bench(arguments) => bench::run(&arguments),
        Verb::Receivers(arguments) => receivers::run(&arguments),
        Verb::Risks => test::risks(),
        Verb::Evasions(arguments) => evasions::run(&arguments),
        Verb::Short { count } => test::short(count),
        Verb::Vm(arguments) => vm::run(&arguments),
        Verb::Coverage(arguments) => coverage::run(&arguments),
        Verb::Fuzz(arguments) => fuzz::run(&arguments),
        Verb::Dist(arguments) => dist::run(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
