//! `agentward console --from RECORDING`: the web console on recorded data, for a first look and for tests.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use super::control::Board;
use super::input::each_observation;
use super::live::Wishes;
use super::{Failure, Outcome, RuleSource, rule_set, web};
use crate::base::KeyedHash;
use crate::deliver::Redactor;
use crate::pipeline::Pipeline;

/// Fingerprints of a recording are the same each time, and not those of a daemon.
const KEY: [u8; 16] = *b"agentward-replay";

/// How soon a signal ends it.
const WAIT: Duration = Duration::from_millis(100);

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Recordings, `.awr` or `.jsonl`.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    from: Vec<PathBuf>,
    /// Loopback address and port, or unix:/PATH.
    #[arg(long, default_value = "127.0.0.1:8790", value_name = "ADDRESS")]
    listen: String,
    /// Keep the token in this file across starts.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    rules: RuleSource,
    /// Show content and secrets.
    #[arg(long)]
    reveal: bool,
    /// Skip unknown kinds, ignore unknown fields, accept a cut end.
    #[arg(long)]
    lenient: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let listen = web::Listen::parse(&arguments.listen).map_err(|reason| Failure::Input(format!("--listen: {reason}")))?;
    let board = painted(&arguments.from, &arguments.rules, arguments.reveal, arguments.lenient)?;
    let wishes = Wishes::listen()?;
    let settings = web::Settings { listen, hosts: Vec::new(), token_file: arguments.token_file.clone(), peers: None };
    let served = web::start(&settings, board)?;
    eprintln!("agentward: console on {}", served.link());
    eprintln!("ready");
    while !wishes.stop() {
        std::thread::sleep(WAIT);
    }
    Ok(ExitCode::SUCCESS)
}

/// A board with the picture of these recordings, one pipeline for all: workflows of two files keep apart.
pub(super) fn painted(files: &[PathBuf], rules: &RuleSource, reveal: bool, lenient: bool) -> Result<Arc<Board>, Failure> {
    let rules = Arc::new(rule_set(rules)?);
    let board = Arc::new(Board::new(rules.clone()));
    board.picture.of_recording();
    let redactor = Redactor::new(KeyedHash::new(KEY), reveal);
    let mut pipeline = Pipeline::new(rules);
    let mut outputs = Vec::new();
    for file in files {
        each_observation(file, lenient, |observation| {
            pipeline.push(observation, &mut outputs);
            board.picture.paint(&mut outputs, &redactor);
            Ok(())
        })?;
    }
    pipeline.finish(&mut outputs);
    board.picture.paint(&mut outputs, &redactor);
    Ok(board)
}
