//! `agentward console --from RECORDING`: the web console on recorded data, for a first look and for tests.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::control::Board;
use super::input::each_observation;
use super::live::Wishes;
use super::{Failure, Outcome, RuleSource, rule_set, web};
use crate::base::{KeyedHash, Timestamp};
use crate::deliver::Redactor;
use crate::pipeline::{Output, Pipeline};

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
    /// Play it as if it happened now, this many times as fast as it was recorded, to watch the pages change.
    #[arg(long, value_name = "FACTOR", value_parser = positive)]
    pace: Option<f64>,
    /// Skip unknown kinds, ignore unknown fields, accept a cut end.
    #[arg(long)]
    lenient: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    let factor: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if factor.is_finite() && factor > 0.0 { Ok(factor) } else { Err("must be more than 0".into()) }
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let listen = web::Listen::parse(&arguments.listen).map_err(|reason| Failure::Input(format!("--listen: {reason}")))?;
    let mut painter = Painter::new(&arguments.rules, arguments.reveal)?;
    if arguments.pace.is_none() {
        painter.files(&arguments.from, arguments.lenient, |_| true)?;
    }
    let wishes = Wishes::listen()?;
    let settings = web::Settings { listen, hosts: Vec::new(), token_file: arguments.token_file.clone(), peers: None };
    let served = web::start(&settings, painter.board.clone())?;
    eprintln!("agentward: console on {}", served.link());
    eprintln!("ready");
    if let Some(factor) = arguments.pace {
        let begun = Instant::now();
        let mut first = None;
        painter.files(&arguments.from, arguments.lenient, |ts| {
            let due = ts.since(*first.get_or_insert(ts)).div_f64(factor);
            while let Some(early) = due.checked_sub(begun.elapsed()).filter(|early| !early.is_zero()) {
                if wishes.stop() {
                    return false;
                }
                std::thread::sleep(early.min(WAIT));
            }
            !wishes.stop()
        })?;
    }
    while !wishes.stop() {
        std::thread::sleep(WAIT);
    }
    Ok(ExitCode::SUCCESS)
}

/// A board with the picture of these recordings.
pub(super) fn painted(files: &[PathBuf], rules: &RuleSource, reveal: bool, lenient: bool) -> Result<Arc<Board>, Failure> {
    let mut painter = Painter::new(rules, reveal)?;
    painter.files(files, lenient, |_| true)?;
    Ok(painter.board)
}

/// How often the picture of a recording learns what rules cost, in the recording's time.
const FARES: Duration = Duration::from_secs(1);

/// A pipeline that ends in a picture; one for all files, so that their workflows keep apart.
struct Painter {
    board: Arc<Board>,
    pipeline: Pipeline,
    redactor: Redactor,
    outputs: Vec<Output>,
    /// When the picture last learnt what rules cost.
    fared: Timestamp,
}

impl Painter {
    fn new(rules: &RuleSource, reveal: bool) -> Result<Painter, Failure> {
        let rules = Arc::new(rule_set(rules)?);
        let board = Arc::new(Board::new(rules.clone()));
        board.picture.of_recording();
        let redactor = Redactor::new(KeyedHash::new(KEY), reveal);
        Ok(Painter { board, pipeline: Pipeline::new(rules), redactor, outputs: Vec::new(), fared: Timestamp::default() })
    }

    /// `due` waits until an observation of this time may happen; false ends it early.
    fn files(&mut self, files: &[PathBuf], lenient: bool, mut due: impl FnMut(Timestamp) -> bool) -> Result<(), Failure> {
        let mut going = true;
        for file in files {
            each_observation(file, lenient, |observation| {
                going = going && due(observation.ts);
                if going {
                    let ts = observation.ts;
                    self.pipeline.push(observation, &mut self.outputs);
                    self.board.picture.paint(&mut self.outputs, &self.redactor);
                    if ts.since(self.fared) >= FARES {
                        self.fared = ts;
                        self.board.picture.fares(&self.pipeline);
                    }
                }
                Ok(())
            })?;
        }
        self.pipeline.finish(&mut self.outputs);
        self.board.picture.paint(&mut self.outputs, &self.redactor);
        self.board.picture.fares(&self.pipeline);
        Ok(())
    }
}
