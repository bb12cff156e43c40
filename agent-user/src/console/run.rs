//! `agentward run`: the daemon. This process is its loader: see [`super::parts`].

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::config::Config;
use super::control::Socket;
use super::daemon::plans;
use super::live::Wishes;
use super::parts::{self, Errand, Exporter, Heard, Notice, Report, Worker};
use super::{Failure, Outcome, RuleSource, Scope, console_settings, probe_settings, rule_set_of, rules, web};
use crate::probes::{Keeper, StartError, Tiding, boot_time, preflight};

/// How often the worker learns how the probes are, and the other parts are looked at.
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

/// Has the allocator return what held a program's file: glibc (2.36) would learn from the first large block to keep the next ones, some
/// thirty MiB of them.
fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    for option in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        // SAFETY: it sets a number of the allocator, before another thread is there.
        unsafe { libc::mallopt(option, 256 << 10) };
    }
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let host = |what: &'static str| move |error: io::Error| Failure::Host(format!("{what}: {error}"));
    parts::keep_memory_private().map_err(host("core dumps cannot be turned off"))?;
    give_memory_back();
    let (config, text) = Config::load_text(arguments.config.as_deref())?;
    let source = RuleSource {
        rules: config.rules.iter().chain(&arguments.rules.rules).cloned().collect(),
        no_builtin: config.no_builtin || arguments.rules.no_builtin,
    };
    let texts = trusted_texts(&source)?;
    // Only to refuse bad ones before anything is opened: the worker judges by its own.
    drop(rule_set_of(&texts, source.no_builtin)?);
    let settings = probe_settings(&config, arguments.scope)?;
    let plans = plans(&config)?;
    let refused = |error: StartError| Failure::Host(error.to_string());
    preflight().map_err(refused)?;
    let console = console_settings(&config, arguments.console.as_deref())?.map(|settings| web::bind(&settings)).transpose()?;
    let (_socket, control) = Socket::listen(&config.socket())?;
    let user = parts::user();
    parts::hand_over(&config.state_dir(), user)?;
    parts::hand_over(&config.state_dir().join("journal"), user)?;
    parts::hand_over(&config.evidence_dir(), user)?;
    let boot = boot(&config.state_dir());
    parts::keep_few().map_err(host("rights that are not needed cannot be given up"))?;

    let wishes = Wishes::listen()?;
    let mut exporter = match Exporter::start(&text, &plans, user)? {
        Ok(exporter) => exporter,
        Err(code) => return Ok(code),
    };
    let mut keeper = Keeper::load(settings, boot).map_err(refused)?;
    let errand = Errand {
        scope: arguments.scope,
        rules: texts,
        no_builtin: source.no_builtin,
        boot,
        console: arguments.console.clone(),
        resume: None,
    };
    let mut listeners = vec![OwnedFd::from(control)];
    if let Some(console) = &console {
        listeners.push(console.as_fd().try_clone_to_owned().map_err(host("the console's socket cannot be passed on"))?);
    }
    let mut worker = Worker::start(&text, user, errand, exporter.shared().clone(), listeners, &keeper)?;
    if let Err(code) = first_verdicts(&mut worker, &mut keeper) {
        return Ok(code);
    }
    keeper.begin().map_err(refused)?;
    eprintln!("agentward: watching; alerts below, in {} and on {}", config.state_dir().display(), config.socket().display());
    eprintln!("ready");

    let mut ticked = Instant::now();
    let mut tidings = Vec::new();
    while !wishes.stop() {
        let mut heard = worker.hear(keeper.idle(Instant::now()));
        while let Some(some) = heard {
            if let Heard::Said(Report::Orders(orders)) = some {
                orders.into_iter().for_each(|order| keeper.take(order));
            }
            heard = worker.hear(Duration::ZERO);
        }
        keeper.tick(Instant::now());
        keeper.tidings(&mut tidings);
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
            tidings.push(Tiding::Kept(keeper.kept()));
            exporter.watch();
            worker.watch(&mut keeper);
        }
        if !tidings.is_empty() {
            worker.tell(&Notice::Tidings(std::mem::take(&mut tidings)));
        }
        if wishes.reload() {
            let texts = trusted_texts(&source).map_err(|failure| failure.to_string());
            if let Ok(texts) = &texts {
                worker.follow(texts.clone());
            }
            worker.tell(&Notice::Rules(texts));
        }
    }
    keeper.stop();
    keeper.tidings(&mut tidings);
    worker.tell(&Notice::Tidings(tidings));
    worker.end();
    exporter.end();
    Ok(ExitCode::SUCCESS)
}

/// When this host booted, the same for every start of the daemon: agents are named by when they started, and what rules remember of them
/// must be found again. The clock alone would give another nanosecond each time.
fn boot(state: &Path) -> u64 {
    let file = state.join("boot");
    let Ok(id) = std::fs::read_to_string("/proc/sys/kernel/random/boot_id") else { return boot_time() };
    let known = std::fs::read_to_string(&file).unwrap_or_default();
    if let Some(known) = known.strip_prefix(&id).and_then(|time| time.trim().parse().ok()) {
        return known;
    }
    let time = boot_time();
    // The folder belongs to parts with fewer rights: what they may have put there is neither followed nor written to.
    let fresh = file.with_extension("new");
    let _ = std::fs::remove_file(&fresh);
    let made = std::fs::OpenOptions::new().write(true).create_new(true).open(&fresh);
    let written = made.and_then(|mut made| io::Write::write_all(&mut made, format!("{id}{time}\n").as_bytes()));
    if let Err(error) = written.and_then(|()| std::fs::rename(&fresh, &file)) {
        eprintln!("agentward: {}: cannot be written, so a restart forgets agents that still run: {error}", file.display());
    }
    time
}

/// Until the worker has judged everybody who runs; its exit code when it ends instead: it has said why.
fn first_verdicts(worker: &mut Worker, keeper: &mut Keeper) -> Result<(), ExitCode> {
    loop {
        match worker.hear(Duration::from_secs(60)) {
            Some(Heard::Ready(lacks)) => lacks.iter().for_each(|lack| {
                eprintln!("agentward: the kernel offers no {lack}: what reads captured bytes is shut in without it");
            }),
            Some(Heard::Said(Report::Orders(orders))) => orders.into_iter().for_each(|order| keeper.take(order)),
            Some(Heard::Said(Report::Met)) => return Ok(()),
            Some(Heard::Gone) => return Err(worker.exit_code()),
            None => {}
        }
    }
}

/// Rule files of nobody but root and the daemon's user.
fn trusted_texts(source: &RuleSource) -> Result<Vec<(String, String)>, Failure> {
    rules::read_texts(&rules::all_trusted(&source.rules)?)
}
