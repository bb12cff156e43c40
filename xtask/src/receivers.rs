//! Alerts into real receivers: rsyslog, NATS, Kafka, OTLP and HTTP services, each read back and compared field by field.

use anyhow::Result;

use crate::{build, peers, setup, sh};

#[derive(clap::Args)]
pub struct Arguments {
    /// Hostile alerts through each codec and each sink.
    #[arg(long, default_value_t = 5000)]
    alerts: u32,
    /// Only the cases whose name contains this.
    #[arg(long, value_name = "WORD")]
    only: Option<String>,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    prepare()?;
    build::run()?;
    let mut python = sh::command(peers::folder().join("receivers/bin/python"));
    python.arg(sh::root().join("tests/receivers/receive.py")).arg(build::daemon());
    python.arg(sh::target().join("receivers")).arg(arguments.alerts.to_string()).args(&arguments.only);
    sh::check(&mut python)
}

/// A slice of it, for `cargo xtask test`.
pub fn slice() -> Result<()> {
    run(&Arguments { alerts: 150, only: None })
}

#[derive(clap::Args)]
pub struct OutageArguments {
    /// Alerts that are sent while receivers fail.
    #[arg(long, default_value_t = 1000)]
    alerts: u32,
    /// Milliseconds between two of them.
    #[arg(long, default_value_t = 20)]
    every: u32,
    /// Leave out the failures that a sink notices only after half a minute.
    #[arg(long)]
    quick: bool,
}

/// Receivers that fail while others work.
pub fn outage(arguments: &OutageArguments) -> Result<()> {
    prepare()?;
    // The quick form is part of the tests, which have built all examples.
    let profile = if arguments.quick { "debug" } else { "release" };
    let mut cargo = sh::cargo();
    cargo.args(["build", "-q", "-p", "agent-tests", "--example", "outage"]).args((!arguments.quick).then_some("--release"));
    sh::run(&mut cargo)?;
    let mut python = sh::command(peers::folder().join("receivers/bin/python"));
    python.arg(sh::root().join("tests/receivers/outage.py")).arg(sh::target().join(profile).join("examples/outage"));
    python.arg(sh::target().join("outage")).args([arguments.alerts.to_string(), arguments.every.to_string()]);
    sh::check(python.args(arguments.quick.then_some("quick")))
}

/// A slice of it, for `cargo xtask test`.
pub fn outage_slice() -> Result<()> {
    outage(&OutageArguments { alerts: 150, every: 10, quick: true })
}

fn prepare() -> Result<()> {
    setup::need(&[("rsyslogd", "rsyslog"), ("nats-server", "nats-server"), ("lognormalizer", "liblognorm-utils")])?;
    setup::install(&["rsyslog-openssl"])?;
    peers::prepare_receivers()
}
