//! The daemon's socket and the commands that talk to it.
//!
//! One request line (`status`, `alerts`, `workflows`, or `get PATH` of the API), one JSON answer a line, then the connection ends.
//! Only root and the daemon's own user are answered: the answers name people and objects.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indexmap::IndexMap;

use super::api;
use super::config::Config;
use super::picture::Picture;
use super::{Failure, Format, Outcome};
use crate::base::{Anomaly, Value};
use crate::decide::RuleSet;
use crate::deliver::line::printable;

/// Alerts and closed workflows that the socket can show; the journal has all alerts.
const SHOWN: usize = 1000;

/// Longest request line.
const REQUEST_BYTES: u64 = 256;

/// Numbers of a running daemon.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    /// Process id of the daemon: of its loader.
    pub(super) pid: u32,
    pub(super) observations: u64,
    pub(super) exchanges: u64,
    pub(super) incomplete: u64,
    pub(super) messages: u64,
    pub(super) actions: u64,
    pub(super) workflows: u64,
    pub(super) alerts: u64,
    pub(super) shadow_alerts: u64,
    pub(super) panics: u64,
    /// What was odd in the traffic, by name.
    pub(super) anomalies: BTreeMap<String, u64>,
    pub(super) journal_written: u64,
    pub(super) journal_dropped: u64,
    pub(super) disk_errors: u64,
    pub(super) disk_failing: bool,
    pub(super) sinks: Vec<SinkState>,
    /// What the probes say of themselves.
    pub(super) probes: Option<Value>,
}

/// How one sink is.
#[derive(Clone, Debug, Default)]
pub(super) struct SinkState {
    pub(super) name: String,
    pub(super) delivered: u64,
    pub(super) failures: u64,
    pub(super) lost: u64,
    pub(super) dead: u64,
    pub(super) bytes: u64,
    pub(super) queued: u64,
    /// Time of the oldest record that waits, nanoseconds since the epoch; 0 when none does.
    pub(super) oldest: u64,
    pub(super) broken: bool,
}

impl Snapshot {
    pub(super) fn count(&mut self, anomaly: &Anomaly) {
        match self.anomalies.get_mut(anomaly.kind()) {
            Some(count) => *count += 1,
            None => drop(self.anomalies.insert(anomaly.kind().to_owned(), 1)),
        }
    }

    pub(super) fn json(&self) -> Value {
        let sinks = self.sinks.iter().map(|sink| {
            Value::map([
                ("name", Value::text(sink.name.as_str())),
                ("delivered", Value::count(sink.delivered)),
                ("failures", Value::count(sink.failures)),
                ("lost", Value::count(sink.lost)),
                ("dead", Value::count(sink.dead)),
                ("bytes", Value::count(sink.bytes)),
                ("queued", Value::count(sink.queued)),
                ("oldest", Value::count(sink.oldest)),
                ("broken", Value::Bool(sink.broken)),
            ])
        });
        Value::map([
            ("version", Value::text(super::VERSION)),
            ("pid", Value::count(u64::from(self.pid))),
            ("observations", Value::count(self.observations)),
            ("exchanges", Value::count(self.exchanges)),
            ("incomplete", Value::count(self.incomplete)),
            ("messages", Value::count(self.messages)),
            ("actions", Value::count(self.actions)),
            ("workflows_closed", Value::count(self.workflows)),
            ("alerts", Value::count(self.alerts)),
            ("shadow_alerts", Value::count(self.shadow_alerts)),
            ("internal_faults", Value::count(self.panics)),
            ("anomalies", Value::map(self.anomalies.iter().map(|(name, count)| (name.as_str(), Value::count(*count))))),
            (
                "journal",
                Value::map([
                    ("written", Value::count(self.journal_written)),
                    ("dropped", Value::count(self.journal_dropped)),
                    ("disk_errors", Value::count(self.disk_errors)),
                    ("disk_failing", Value::Bool(self.disk_failing)),
                ]),
            ),
            ("sinks", Value::list(sinks)),
            ("probes", self.probes.clone().unwrap_or(Value::Null)),
        ])
    }
}

/// What the daemon hangs out for the socket and the console to read.
pub(super) struct Board {
    posted: Mutex<Posted>,
    pub(super) picture: Picture,
}

#[derive(Default)]
struct Posted {
    status: Snapshot,
    /// The latest view, and how often its uid was posted before.
    alerts: IndexMap<Arc<str>, (String, u32)>,
    workflows: VecDeque<String>,
}

impl Board {
    pub(super) fn new(rules: Arc<RuleSet>) -> Board {
        Board { posted: Mutex::default(), picture: Picture::new(rules) }
    }

    pub(super) fn status(&self) -> Snapshot {
        self.posted().status.clone()
    }

    pub(super) fn status_json(&self) -> String {
        self.posted().status.json().to_json()
    }

    fn posted(&self) -> std::sync::MutexGuard<'_, Posted> {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn publish(&self, status: &Snapshot) {
        let mut posted = self.posted();
        let probes = posted.status.probes.take();
        posted.status = Snapshot { probes, ..status.clone() };
    }

    pub(super) fn probes(&self, status: Value) {
        self.posted().status.probes = Some(status);
    }

    /// How often this uid was posted before.
    pub(super) fn alert(&self, uid: &Arc<str>, json: String) -> u32 {
        let mut posted = self.posted();
        let revision = posted.alerts.get(uid).map_or(0, |(_, revision)| revision.saturating_add(1));
        posted.alerts.insert(uid.clone(), (json, revision));
        if posted.alerts.len() > SHOWN {
            posted.alerts.shift_remove_index(0);
        }
        revision
    }

    pub(super) fn workflow(&self, json: String) {
        let mut posted = self.posted();
        posted.workflows.push_back(json);
        if posted.workflows.len() > SHOWN {
            posted.workflows.pop_front();
        }
    }

    fn answer(&self, request: &str) -> String {
        if let Some(path) = request.strip_prefix("get ") {
            return api::answer(self, path).unwrap_or_else(|| "{\"error\":\"not found\"}".into()) + "\n";
        }
        if request == "metrics" {
            return super::metrics::text(self);
        }
        let posted = self.posted();
        match request {
            "status" => posted.status.json().to_json() + "\n",
            "alerts" => posted.alerts.values().flat_map(|(json, _)| [json.as_str(), "\n"]).collect(),
            "workflows" => posted.workflows.iter().flat_map(|json| [json.as_str(), "\n"]).collect(),
            _ => "{\"error\":\"unknown request\"}\n".into(),
        }
    }
}

/// A socket's file, removed when dropped.
pub(super) struct Socket(PathBuf);

impl Socket {
    /// The socket that [`answer`] takes.
    pub(super) fn listen(path: &Path) -> Result<(Socket, UnixListener), Failure> {
        let failed = |error| Failure::file(path, "listen", &error);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        if UnixStream::connect(path).is_ok() {
            return Err(Failure::Input(format!(
                "{}: another daemon answers here; stop it, or give this one another `socket`",
                path.display()
            )));
        }
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).map_err(failed)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok((Socket(path.to_owned()), listener))
    }
}

/// Answers from `board` in a thread of its own.
pub(super) fn answer(listener: UnixListener, board: Arc<Board>) -> std::io::Result<()> {
    let answering = move || {
        for stream in listener.incoming().flatten() {
            // A client that hangs up early has its answer cut; nobody else cares.
            let _ = serve(stream, &board);
        }
    };
    std::thread::Builder::new().name("control".into()).spawn(answering).map(drop)
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn serve(mut stream: UnixStream, board: &Board) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.set_write_timeout(Some(Duration::from_secs(2)))?;
    let peer = rustix::net::sockopt::socket_peercred(&stream)?;
    if !peer.uid.is_root() && peer.uid != rustix::process::geteuid() {
        return stream.write_all(b"{\"error\":\"not allowed\"}\n");
    }
    let mut line = String::new();
    BufReader::new((&stream).take(REQUEST_BYTES)).read_line(&mut line)?;
    stream.write_all(board.answer(line.trim()).as_bytes())
}

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The daemon's configuration, for the place of its socket.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: Format,
}

/// One question to the daemon that answers at `path`.
pub(super) fn request(path: &Path, request: &str) -> Result<String, Failure> {
    let unreachable = |error| {
        Failure::Input(format!("{}: no daemon answers ({error}); start it with `agentward run`, and ask as root", path.display()))
    };
    let mut stream = UnixStream::connect(path).map_err(unreachable)?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).map_err(unreachable)?;
    stream.write_all(format!("{request}\n").as_bytes()).map_err(unreachable)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(unreachable)?;
    Ok(answer)
}

/// `agentward status`, `alerts`, `workflows`.
pub(super) fn ask(question: &str, arguments: &Arguments) -> Outcome {
    let answer = request(&Config::load(arguments.config.as_deref())?.socket(), question)?;
    for line in answer.lines() {
        let shown = match arguments.format {
            Format::Json => line.to_owned(),
            Format::Text => text(line),
        };
        println!("{shown}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Printed as it came.
pub(super) fn ask_plain(question: &str, arguments: &Arguments) -> Outcome {
    print!("{}", request(&Config::load(arguments.config.as_deref())?.socket(), question)?);
    Ok(ExitCode::SUCCESS)
}

/// A JSON object as `name  value` rows.
fn text(line: &str) -> String {
    let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(line) else { return printable(line) };
    let rows: Vec<String> =
        fields.iter().map(|(name, value)| format!("{name:<18} {}", printable(value.to_string().trim_matches('"')))).collect();
    rows.join("\n") + "\n"
}
