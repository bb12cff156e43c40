//! `agentward top`: the picture on a whole terminal, renewed each second.
//!
//! In: the API on the daemon's socket, or a recording. Out: text. It shows what the web console shows, for those who are logged in to
//! the host anyway. Captured text is printable before it is drawn; colour is decoration, words say the same.

mod app;
mod draw;
mod source;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use crossterm::event::{self, Event, KeyEventKind};
use ratatui::DefaultTerminal;

use self::app::{App, Wish};
use self::source::Source;
use super::config::Config;
use super::live::on_end;
use super::{Failure, Outcome, RuleSource, show};

/// How often the picture is asked for.
const RENEWAL: Duration = Duration::from_secs(1);
/// How soon a key or a signal is heard.
const WAIT: Duration = Duration::from_millis(200);

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The daemon's configuration, for the place of its socket.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Show recordings, not the running daemon: no root needed.
    #[arg(long, num_args = 1.., value_name = "FILE")]
    from: Vec<PathBuf>,
    #[command(flatten)]
    rules: RuleSource,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let source = if arguments.from.is_empty() {
        Source::Socket(Config::load(arguments.config.as_deref())?.socket())
    } else {
        Source::Board(show::painted(&arguments.from, &arguments.rules, false, false)?)
    };
    // The first answer before the screen changes: a daemon that is not there is said in plain words.
    let mut app = App::new(source.overview()?);
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::Input("top needs a terminal; `agentward status` and `agentward alerts` print".into()));
    }
    // A terminal that was closed reads as if keys came without end: the signal ends the program, wherever it is.
    on_end(|| {
        ratatui::restore();
        std::process::exit(0);
    })?;
    let mut terminal = ratatui::init();
    let outcome = watch(&mut terminal, &source, &mut app);
    ratatui::restore();
    outcome
}

fn watch(terminal: &mut DefaultTerminal, source: &Source, app: &mut App) -> Outcome {
    let failed = |error: io::Error| Failure::Internal(anyhow::Error::new(error).context("the terminal"));
    let colour = std::env::var_os("NO_COLOR").is_none() && std::env::var("TERM").is_ok_and(|term| term != "dumb");
    let mut renewed: Option<Instant> = None;
    loop {
        if renewed.is_none_or(|at| at.elapsed() >= RENEWAL) && !app.paused {
            app.renew(source);
            renewed = Some(Instant::now());
        }
        terminal.draw(|frame| draw::draw(frame, app, colour)).map_err(failed)?;
        if !event::poll(WAIT).map_err(failed)? {
            continue;
        }
        let Event::Key(key) = event::read().map_err(failed)? else { continue };
        if key.kind == KeyEventKind::Release {
            continue;
        }
        match app.key(key) {
            Wish::None => {}
            Wish::Renew => {
                app.renew(source);
                renewed = Some(Instant::now());
            }
            Wish::Copy(text) => copy(&text).map_err(failed)?,
            Wish::End => break,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Into the clipboard of the terminal (xterm's OSC 52); a terminal that cannot do it ignores it.
fn copy(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "\x1b]52;c;{}\x07", BASE64.encode(text))?;
    out.flush()
}
