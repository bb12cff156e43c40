//! The command line: arguments in, exit code out. Only here and below are clocks, files and terminals touched.
//!
//! Exit codes: 0 done; 1 the answer is no (a rule test failed, evidence does not verify) or an internal fault; 2 unusable input
//! (arguments, files); 3 this host cannot be watched (rights, kernel).

#[cfg(feature = "live")]
mod api;
pub mod config;
#[cfg(feature = "live")]
mod control;
mod convert;
#[cfg(feature = "live")]
mod daemon;
#[cfg(feature = "live")]
mod doctor;
#[cfg(feature = "sinks")]
mod evidence;
#[cfg(feature = "live")]
mod graph;
mod input;
#[cfg(feature = "live")]
mod live;
#[cfg(feature = "live")]
mod metrics;
#[cfg(feature = "live")]
mod parts;
#[cfg(feature = "live")]
mod picture;
mod progress;
#[cfg(feature = "live")]
mod record;
mod replay;
mod rules;
#[cfg(feature = "live")]
mod run;
#[cfg(feature = "live")]
mod show;
mod sigma;
#[cfg(feature = "live")]
mod sinks;
#[cfg(feature = "live")]
mod top;
#[cfg(feature = "live")]
mod web;
#[cfg(feature = "live")]
mod workflows;

use std::fmt;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::deliver::line::Palette;

/// The text that `--version` prints and recordings carry.
pub const VERSION: &str = concat!("agentward ", env!("CARGO_PKG_VERSION"));

/// What `--help` says of exit codes; the module comment says the same.
const EXIT_CODES: &str = "Exit codes:
  0  done (also when alerts were raised)
  1  the answer is no (a rule test failed, evidence does not verify), or an internal fault
  2  unusable input: arguments, configuration, rules, recordings; the message names file, place and remedy
  3  this host cannot be watched: rights or kernel; the message names what is missing, nothing stays attached";

/// Sees what AI agents do through APIs, on whose behalf, and says when it breaks policy.
#[derive(Parser)]
#[command(name = "agentward", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run recordings through the same pipeline as live traffic: no root, no kernel.
    Replay(replay::Arguments),
    /// Write what the probes see to a file until SIGINT or SIGTERM; or convert a recording between its encodings.
    #[command(args_conflicts_with_subcommands = true)]
    Record {
        #[command(subcommand)]
        action: Option<RecordAction>,
        #[cfg(feature = "live")]
        #[command(flatten)]
        arguments: record::Arguments,
    },
    /// Write, check, test and try out rules.
    Rules {
        #[command(subcommand)]
        command: rules::Command,
    },
    /// Watch this host: alerts on the terminal, in the journal and at the sinks.
    #[cfg(feature = "live")]
    Run(run::Arguments),
    /// A part of the daemon, started by it.
    #[cfg(feature = "live")]
    #[command(hide = true)]
    Part,
    /// Try from inside a part's confinement what it must refuse.
    #[cfg(feature = "live")]
    #[command(hide = true)]
    Trial(parts::trial::Arguments),
    /// Try a sink of the configuration.
    #[cfg(feature = "live")]
    Sinks {
        #[command(subcommand)]
        command: sinks::Command,
    },
    /// Check the tamper-evident log, or take one alert's evidence out of it. Offline, from files alone.
    #[cfg(feature = "sinks")]
    Evidence {
        #[command(subcommand)]
        command: evidence::Command,
    },
    /// What this host allows, which TLS libraries its processes have, what is blind and why. Attaches nothing.
    #[cfg(feature = "live")]
    Doctor(control::Arguments),
    /// How the running daemon is.
    #[cfg(feature = "live")]
    Status(control::Arguments),
    /// The running daemon's numbers, as Prometheus reads them.
    #[cfg(feature = "live")]
    Metrics(control::Arguments),
    /// The latest alerts of the running daemon.
    #[cfg(feature = "live")]
    Alerts(control::Arguments),
    /// Workflows of the running daemon, or of recordings: as trees, as JSON, or for programs that draw.
    #[cfg(feature = "live")]
    Workflows(workflows::Arguments),
    /// What goes on, on the whole terminal: agents, workflows, alerts, blind spots.
    #[cfg(feature = "live")]
    Top(top::Arguments),
    /// Open the web console on a recording: no root, no kernel. The daemon's own is `run --console`.
    #[cfg(feature = "live")]
    Console(show::Arguments),
}

#[derive(Subcommand)]
enum RecordAction {
    /// Rewrite a recording in the encoding that the ending of the second name asks for.
    Convert(convert::Arguments),
}

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// Which processes are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Programs that talk to a model, MCP or A2A, or are known agents, with their descendants.
    Auto,
    /// Those that the selectors of the configuration name.
    Match,
    /// Every process.
    All,
}

/// What went wrong, by exit code. The message is for a person and holds no captured content.
#[derive(Debug)]
pub enum Failure {
    /// 2: file, place, reason, remedy.
    Input(String),
    /// 3.
    Host(String),
    /// 1.
    Internal(anyhow::Error),
}

impl Failure {
    fn code(&self) -> ExitCode {
        match self {
            Failure::Internal(_) => ExitCode::from(1),
            Failure::Input(_) => ExitCode::from(2),
            Failure::Host(_) => ExitCode::from(3),
        }
    }

    /// A file that cannot be used, with the system's reason.
    pub fn file(path: &std::path::Path, doing: &str, error: &std::io::Error) -> Failure {
        Failure::Input(format!("{}: cannot {doing}: {error}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Input(reason) | Failure::Host(reason) => f.write_str(reason),
            Failure::Internal(error) => write!(f, "{error:#}"),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Internal(error)
    }
}

pub type Outcome = Result<ExitCode, Failure>;

/// Where rules come from: the embedded packs, and a folder beside or instead of them.
#[derive(clap::Args, Clone, Debug)]
pub struct RuleSource {
    /// Folder or file of rule packs, used beside the built-in ones.
    #[arg(long, value_name = "DIR")]
    pub rules: Vec<PathBuf>,
    /// Leave the built-in packs out.
    #[arg(long, requires = "rules")]
    pub no_builtin: bool,
}

/// Colour only when standard output is a terminal and nobody asked against it (no-color.org).
fn palette() -> Palette {
    let wanted = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if wanted { Palette::Colour } else { Palette::Plain }
}

/// Compiles the rules that the arguments name.
fn rule_set(source: &RuleSource) -> Result<crate::decide::RuleSet, Failure> {
    rule_set_of(&rules::read_texts(&source.rules)?, source.no_builtin)
}

/// Compiles the rules of the files of these names and texts.
fn rule_set_of(texts: &[(String, String)], no_builtin: bool) -> Result<crate::decide::RuleSet, Failure> {
    let mut packs = if no_builtin { Vec::new() } else { crate::decide::builtin().map_err(|faults| rules::told(&faults))? };
    packs.extend(rules::packs_of(texts)?);
    crate::decide::RuleSet::join(packs).map_err(|faults| rules::told(&faults))
}

/// What the probes need to know of configuration and arguments.
#[cfg(feature = "live")]
fn probe_settings(config: &config::Config, scope: Option<Scope>) -> Result<crate::probes::Settings, Failure> {
    let globs = |key: &str, globs: &[String]| -> Result<Vec<regex::Regex>, Failure> {
        globs
            .iter()
            .map(|glob| compile_glob(glob).map_err(|error| Failure::Input(format!("match.{key}: {glob}: {error}"))))
            .collect()
    };
    let selectors = &config.selectors;
    let scope = match scope.or(config.scope).unwrap_or(Scope::Auto) {
        Scope::Auto => crate::probes::Scope::Auto,
        Scope::Match => crate::probes::Scope::Match,
        Scope::All => crate::probes::Scope::All,
    };
    Ok(crate::probes::Settings {
        scope,
        selectors: crate::probes::Selectors {
            exe: globs("exe", &selectors.exe)?,
            argv: globs("argv", &selectors.argv)?,
            cgroup: globs("cgroup", &selectors.cgroup)?,
            users: selectors.user.iter().map(|user| user_id(user)).collect::<Result<_, _>>()?,
            env: selectors.env.clone(),
        },
        ring_bytes: config.capture.ring_bytes,
        call_bytes: config.capture.call_bytes,
        empty: config.capture.empty,
        sheds: Some(config.capture.busy_share),
        programs: config.capture.programs.clone(),
    })
}

/// Where the web console is served, if at all: the argument before the configuration.
#[cfg(feature = "live")]
fn console_settings(config: &config::Config, argument: Option<&str>) -> Result<Option<web::Settings>, Failure> {
    let console = &config.console;
    let Some(listen) = argument.or(console.listen.as_deref()) else { return Ok(None) };
    let listen = web::Listen::parse(listen).map_err(|reason| Failure::Input(format!("console.listen: {reason}")))?;
    let users: Vec<u32> = console.users.iter().map(|user| user_id(user)).collect::<Result<_, _>>()?;
    if !users.is_empty() && !matches!(listen, web::Listen::Unix(_)) {
        return Err(Failure::Input("console.users: only a unix socket knows its users; use `listen = \"unix:/PATH\"`".into()));
    }
    Ok(Some(web::Settings {
        listen,
        hosts: console.hosts.clone(),
        token_file: Some(console.token_file.clone().unwrap_or_else(|| config.state_dir().join("console.token"))),
        peers: Some(users).filter(|users| !users.is_empty()),
    }))
}

/// `*` any text, `?` any character, all else as it stands.
#[cfg(feature = "live")]
fn compile_glob(glob: &str) -> Result<regex::Regex, regex::Error> {
    let body: String = glob
        .chars()
        .map(|character| match character {
            '*' => ".*".into(),
            '?' => ".".into(),
            other => regex::escape(other.encode_utf8(&mut [0; 4])),
        })
        .collect();
    regex::Regex::new(&format!("(?s)^{body}$"))
}

/// A number, or a name of `/etc/passwd`.
#[cfg(feature = "live")]
fn user_id(user: &str) -> Result<u32, Failure> {
    if let Ok(id) = user.parse() {
        return Ok(id);
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields.first() == Some(&user));
    found
        .and_then(|fields| fields.get(2)?.parse().ok())
        .ok_or_else(|| Failure::Input(format!("match.user: no user is called {user}")))
}

/// The command line as data: manual pages and shell completions are made of it.
pub fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Entry of the program.
pub fn main() -> ExitCode {
    quiet_panics();
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Replay(arguments) => replay::run(&arguments),
        Command::Rules { command } => rules::run(&command),
        Command::Record { action: Some(RecordAction::Convert(arguments)), .. } => convert::run(&arguments),
        #[cfg(feature = "live")]
        Command::Record { action: None, arguments } => record::run(&arguments),
        #[cfg(not(feature = "live"))]
        Command::Record { action: None } => {
            Err(Failure::Host("this program was built without the feature `live`: it can convert and replay only".into()))
        }
        #[cfg(feature = "live")]
        Command::Run(arguments) => run::run(&arguments),
        #[cfg(feature = "live")]
        Command::Part => parts::run(),
        #[cfg(feature = "live")]
        Command::Trial(arguments) => parts::trial::run(&arguments),
        #[cfg(feature = "live")]
        Command::Sinks { command } => sinks::run(&command),
        #[cfg(feature = "sinks")]
        Command::Evidence { command } => evidence::run(&command),
        #[cfg(feature = "live")]
        Command::Doctor(arguments) => doctor::run(&arguments),
        #[cfg(feature = "live")]
        Command::Status(arguments) => control::ask("status", &arguments),
        #[cfg(feature = "live")]
        Command::Metrics(arguments) => control::ask_plain("metrics", &arguments),
        #[cfg(feature = "live")]
        Command::Alerts(arguments) => control::ask("alerts", &arguments),
        #[cfg(feature = "live")]
        Command::Workflows(arguments) => workflows::run(&arguments),
        #[cfg(feature = "live")]
        Command::Top(arguments) => top::run(&arguments),
        #[cfg(feature = "live")]
        Command::Console(arguments) => show::run(&arguments),
    };
    outcome.unwrap_or_else(|failure| {
        eprintln!("agentward: {failure}");
        failure.code()
    })
}

/// A panic message may quote captured content (a slice that was out of range prints the text): only its place is shown.
fn quiet_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(|| "unknown place".into(), ToString::to_string);
        eprintln!("agentward: internal fault at {place}; please report it");
    }));
}
