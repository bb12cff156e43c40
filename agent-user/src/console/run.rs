//! `agentward run`: the daemon.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::config::Config;
use super::control::{Board, Socket};
use super::daemon::Daemon;
use super::live::{Wishes, now};
use super::{Failure, Outcome, RuleSource, Scope, console_settings, probe_settings, rule_set};
use crate::probes::Session;

/// Longest wait for observations.
const POLL: Duration = Duration::from_millis(20);

/// How often stages see time pass and `status` is renewed.
const TICK: Duration = Duration::from_millis(250);

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    rules: RuleSource,
    #[arg(long, value_enum)]
    scope: Option<Scope>,
    /// Serve the web console here, whatever the configuration says.
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:8790")]
    console: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    keep_memory_private()?;
    let config = Config::load(arguments.config.as_deref())?;
    let source = RuleSource {
        rules: config.rules.iter().chain(&arguments.rules.rules).cloned().collect(),
        no_builtin: config.no_builtin || arguments.rules.no_builtin,
    };
    let rules = Arc::new(followed(&source)?);
    let settings = probe_settings(&config, arguments.scope)?;
    crate::probes::preflight().map_err(|error| Failure::Host(error.to_string()))?;
    let board = Arc::new(Board::new(rules.clone()));
    let mut daemon = Daemon::open(&config, rules, board.clone())?;
    if let Some(settings) = console_settings(&config, arguments.console.as_deref())? {
        open_console(&settings, &board)?;
    }
    let _socket = Socket::listen(&config.socket(), board.clone())?;
    let wishes = Wishes::listen()?;
    let mut session = Session::start(settings).map_err(|error| Failure::Host(error.to_string()))?;
    eprintln!("agentward: watching; alerts below, in {} and on {}", config.state_dir().display(), config.socket().display());
    eprintln!("ready");
    let mut observations = Vec::new();
    let mut ticked = Instant::now();
    let mut outcome = Ok(ExitCode::SUCCESS);
    while !wishes.stop() {
        if let Err(error) = session.poll(POLL, &mut observations) {
            outcome = Err(Failure::Host(error.to_string()));
            break;
        }
        daemon.observe(&mut observations);
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
            daemon.tick(now());
            board.probes(session.status().to_value());
        }
        if wishes.reload() {
            reload(&source, &mut daemon);
        }
    }
    session.stop(&mut observations);
    daemon.observe(&mut observations);
    daemon.finish();
    outcome
}

/// No core dumps, and no other process of this user may read the memory: it holds what the watched agents sent.
fn keep_memory_private() -> Result<(), Failure> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none)
        .and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable))
        .map_err(|error| Failure::Host(format!("core dumps cannot be turned off: {error}")))
}

/// The token is shown to a person at a terminal only: a log is read by others.
fn open_console(settings: &super::web::Settings, board: &Arc<Board>) -> Result<(), Failure> {
    let served = super::web::start(settings, board.clone())?;
    match &settings.token_file {
        Some(path) if !std::io::stderr().is_terminal() => {
            eprintln!("agentward: console on {}, its token is in {}", served.address, path.display());
        }
        Some(_) | None => eprintln!("agentward: console on {}", served.link()),
    }
    Ok(())
}

/// Rules as they stand in the files now.
fn followed(source: &RuleSource) -> Result<crate::decide::RuleSet, Failure> {
    let rules = super::rules::all_trusted(&source.rules)?;
    rule_set(&RuleSource { rules, no_builtin: source.no_builtin })
}

/// Bad rules change nothing: the last good set goes on judging. Rules that fail their own tests are bad rules.
fn reload(source: &RuleSource, daemon: &mut Daemon) {
    match followed(source).and_then(|rules| super::rules::passing(&rules).map(|()| rules)) {
        Ok(rules) => {
            daemon.set_rules(Arc::new(rules));
            eprintln!("agentward: rules reloaded");
        }
        Err(failure) => {
            eprintln!("agentward: rules not reloaded, the last good ones stay: {failure}");
            daemon.refused_rules(now(), &failure.to_string());
        }
    }
}
