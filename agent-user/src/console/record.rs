//! `agentward record -o FILE`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use super::config::Config;
use super::input::create_recording;
use super::live::Wishes;
use super::{Failure, Outcome, Scope, probe_settings};
use crate::probes::{Session, Settings};

/// Longest wait for observations: how soon a signal is heard when nothing happens.
const POLL: Duration = Duration::from_millis(50);

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// File to write, `.awr` or `.jsonl`. It holds the plaintext that was seen and gets mode 0600.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[arg(long, value_enum)]
    scope: Option<Scope>,
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Writes what capture hands on until SIGINT or SIGTERM; `ready` on standard error says that every probe is in place.
pub(super) fn run(arguments: &Arguments) -> Outcome {
    let Some(output) = &arguments.output else {
        return Err(Failure::Input("record needs a file to write: agentward record -o FILE.awr (or .jsonl)".into()));
    };
    let config = Config::load(arguments.config.as_deref())?;
    // It takes all the time that it needs.
    let settings = Settings { sheds: None, ..probe_settings(&config, arguments.scope)? };
    crate::probes::preflight().map_err(|error| Failure::Host(error.to_string()))?;
    let mut writer = create_recording(output)?;
    let wishes = Wishes::listen()?;
    let mut session = Session::start(&settings).map_err(|error| Failure::Host(error.to_string()))?;
    eprintln!("agentward: recording plaintext to {} (mode 0600)", output.display());
    eprintln!("ready");
    let failed = |error| Failure::file(output, "write", &error);
    let mut observations = Vec::new();
    let mut outcome = Ok(());
    while !wishes.stop() && outcome.is_ok() {
        outcome = poll(&mut session, &mut observations);
        if observations.is_empty() {
            // Whoever follows the file sees all that happened, and a recorder that is killed loses little.
            outcome = outcome.and(writer.flush().map_err(failed));
        }
        for observation in observations.drain(..) {
            outcome = outcome.and(writer.write(&observation).map_err(failed));
        }
    }
    session.stop(&mut observations);
    for observation in observations.drain(..) {
        outcome = outcome.and(writer.write(&observation).map_err(failed));
    }
    writer.flush().map_err(failed)?;
    outcome.map(|()| ExitCode::SUCCESS)
}

fn poll(session: &mut Session, observations: &mut Vec<crate::capture::Observation>) -> Result<(), Failure> {
    session.poll(POLL, observations).map_err(|error| Failure::Host(error.to_string()))
}
