//! `agentward record convert A B`.

use std::path::PathBuf;
use std::process::ExitCode;

use super::input::{create_recording, each_observation};
use super::{Failure, Outcome};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Recording to read; its encoding is recognised by content.
    from: PathBuf,
    /// Recording to write, `.awr` or `.jsonl`. It holds plaintext and gets mode 0600.
    to: PathBuf,
    /// Skip unknown kinds, ignore unknown fields, accept a cut end.
    #[arg(long)]
    lenient: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    if same_file(arguments) {
        return Err(Failure::Input(format!("{}: source and target are the same file", arguments.to.display())));
    }
    if !arguments.from.exists() {
        return Err(Failure::Input(format!("{}: no such file", arguments.from.display())));
    }
    let mut writer = create_recording(&arguments.to)?;
    let failed = |error| Failure::file(&arguments.to, "write", &error);
    let read = each_observation(&arguments.from, arguments.lenient, |observation| writer.write(&observation).map_err(failed));
    writer.flush().map_err(failed)?;
    read.map(|()| ExitCode::SUCCESS)
}

fn same_file(arguments: &Arguments) -> bool {
    match (arguments.from.canonicalize(), arguments.to.canonicalize()) {
        (Ok(from), Ok(to)) => from == to,
        _ => false,
    }
}
