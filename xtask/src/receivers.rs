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

fn prepare() -> Result<()> {
    setup::need(&[("rsyslogd", "rsyslog"), ("nats-server", "nats-server"), ("lognormalizer", "liblognorm-utils")])?;
    setup::install(&["rsyslog-openssl"])?;
    peers::prepare_receivers()
}
