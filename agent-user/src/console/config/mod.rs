//! The daemon's configuration file: TOML, every key optional, unknown keys refused.

#[cfg(feature = "sinks")]
mod sink;

use std::path::{Path, PathBuf};

use serde::Deserialize;

#[cfg(feature = "sinks")]
pub use sink::Sink;

use super::Failure;

/// Where `run` looks when `--config` is not given.
pub const DEFAULT_FILE: &str = "/etc/agentward/agentward.toml";

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub scope: Option<super::Scope>,
    /// Who is watched under `scope = "match"`, and who besides the recognised agents under `auto`.
    #[serde(rename = "match")]
    pub selectors: Selectors,
    /// Folders or files of rule packs, used beside the built-in ones.
    pub rules: Vec<PathBuf>,
    /// Leave the built-in packs out.
    pub no_builtin: bool,
    /// Journal, cursors and keys. Default: `$STATE_DIRECTORY` (systemd), else `/var/lib/agentward`.
    pub state_dir: Option<PathBuf>,
    /// The socket that `agentward status` talks to. Default: `$RUNTIME_DIRECTORY/control.sock`, else `/run/agentward/control.sock`.
    pub socket: Option<PathBuf>,
    pub capture: Capture,
    pub journal: Journal,
    pub evidence: Evidence,
    #[cfg(feature = "sinks")]
    #[serde(rename = "sink")]
    pub sinks: Vec<Sink>,
    pub console: Console,
}

/// The web console: off unless `listen` is given here or `--console` on the command line.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Console {
    /// `127.0.0.1:8790`, `[::1]:8790` or `unix:/run/agentward/console.sock`. Only loopback: a proxy brings TLS and other hosts.
    pub listen: Option<String>,
    /// Host names, with port where it is no standard one, that a proxy passes on.
    pub hosts: Vec<String>,
    /// Made at the first start. Default: `console.token` in the state folder.
    pub token_file: Option<PathBuf>,
    /// Users (names or numbers) whom the unix socket lets in without the token. Leave it empty behind a proxy: it would vouch for all.
    pub users: Vec<String>,
}

/// A process is selected when any entry matches it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Selectors {
    /// Globs over the executable's path.
    pub exe: Vec<String>,
    /// Globs over each argument.
    pub argv: Vec<String>,
    /// User names or numbers.
    pub user: Vec<String>,
    /// Globs over the cgroup path: containers and units.
    pub cgroup: Vec<String>,
    /// Names of environment variables that mark an agent.
    pub env: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Capture {
    /// Size of the kernel ring in bytes, a power of two and a multiple of the page size.
    pub ring_bytes: u32,
    /// Most bytes that are read of one call.
    pub call_bytes: u32,
    /// Most of all processors' time that is taken while none is idle: more than 0, at most 1. Who says more than can be read in it loses the
    /// rest, counted.
    pub busy_share: f64,
    /// For measurements: programs that do nothing stand where the probes would.
    pub empty: bool,
    /// Programs with a TLS library of their own, or folders of them, to be ready for before they first run. Others are read when they
    /// first run, and their first words may come before that is done.
    pub programs: Vec<PathBuf>,
}

impl Default for Capture {
    fn default() -> Capture {
        Capture { ring_bytes: 16 << 20, call_bytes: 4 << 20, busy_share: 0.05, empty: false, programs: Vec::new() }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Journal {
    pub segment_bytes: u64,
    pub total_bytes: u64,
    /// Kept free for alerts, for the day the disk is full.
    pub reserve_bytes: u64,
    /// Older records are removed; 0 keeps them until `total_bytes`.
    pub max_age_days: u32,
}

impl Default for Journal {
    fn default() -> Journal {
        Journal { segment_bytes: 16 << 20, total_bytes: 256 << 20, reserve_bytes: 8 << 20, max_age_days: 0 }
    }
}

/// The tamper-evident log.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Evidence {
    pub log: bool,
    /// Names the log and its key. Default: the host's name and `/agentward`.
    pub origin: Option<String>,
    /// Default: `evidence` in the state folder.
    pub folder: Option<PathBuf>,
}

impl Default for Evidence {
    fn default() -> Evidence {
        Evidence { log: true, origin: None, folder: None }
    }
}

impl Config {
    /// `None` reads [`DEFAULT_FILE`] where it exists, else gives the defaults.
    pub fn load(path: Option<&Path>) -> Result<Config, Failure> {
        Config::load_text(path).map(|(config, _)| config)
    }

    /// The same, with the text that it was read from.
    pub(super) fn load_text(path: Option<&Path>) -> Result<(Config, String), Failure> {
        let path = match path {
            Some(path) => path,
            None if Path::new(DEFAULT_FILE).exists() => Path::new(DEFAULT_FILE),
            None => return Ok(Default::default()),
        };
        let text = std::fs::read_to_string(path).map_err(|error| Failure::file(path, "read", &error))?;
        let config = Config::parse(&text).map_err(|fault| Failure::Input(format!("{}:{fault}", path.display())))?;
        Ok((config, text))
    }

    /// The fault is `line:column: reason`.
    pub(super) fn parse(text: &str) -> Result<Config, String> {
        let config: Config = toml::from_str(text).map_err(|error| {
            let (line, column) = error.span().map_or((1, 1), |span| place(text, span.start));
            format!("{line}:{column}: {}", error.message().trim_end().replace('\n', ", "))
        })?;
        let told = |key: &str, reason: &str, from: usize| {
            let (line, column) = text[from..].find(key).map_or((1, 1), |at| place(text, from + at));
            format!("{line}:{column}: {key}: {reason}")
        };
        config.check().map_err(|(key, reason)| told(key, &reason, 0))?;
        #[cfg(feature = "sinks")]
        for (number, sink) in config.sinks.iter().enumerate() {
            let from = text.match_indices("[[sink]]").nth(number).map_or(0, |(at, _)| at);
            sink.plan().map_err(|(key, reason)| told(&key, &reason, from))?;
            if config.sinks[..number].iter().any(|other| other.name == sink.name) {
                return Err(told("name", &format!("`{}` is taken by another sink", sink.name), from));
            }
        }
        Ok(config)
    }

    fn check(&self) -> Result<(), (&'static str, String)> {
        let ring = self.capture.ring_bytes;
        if !ring.is_power_of_two() || ring < 64 << 10 {
            return Err(("ring_bytes", format!("{ring} is not a power of two of at least 65536")));
        }
        if !(self.capture.busy_share > 0.0 && self.capture.busy_share <= 1.0) {
            return Err(("busy_share", format!("{} is not more than 0 and at most 1", self.capture.busy_share)));
        }
        if self.capture.call_bytes < 4 << 10 {
            return Err(("call_bytes", "must be at least 4096".into()));
        }
        if self.journal.total_bytes < 2 * self.journal.segment_bytes {
            return Err(("total_bytes", "must hold at least two segments".into()));
        }
        let odd = |origin: &String| origin.is_empty() || origin.contains(|letter: char| letter.is_whitespace() || letter == '+');
        if self.evidence.origin.as_ref().is_some_and(odd) {
            return Err(("origin", "must be a name without spaces and `+`, such as `host.example/agentward`".into()));
        }
        Ok(())
    }

    pub fn state_dir(&self) -> PathBuf {
        self.state_dir.clone().or_else(|| folder("STATE_DIRECTORY")).unwrap_or_else(|| "/var/lib/agentward".into())
    }

    pub fn evidence_dir(&self) -> PathBuf {
        self.evidence.folder.clone().unwrap_or_else(|| self.state_dir().join("evidence"))
    }

    pub fn socket(&self) -> PathBuf {
        let runtime = || folder("RUNTIME_DIRECTORY").unwrap_or_else(|| "/run/agentward".into()).join("control.sock");
        self.socket.clone().unwrap_or_else(runtime)
    }
}

/// systemd gives these as absolute paths, colon-separated when a unit names several.
fn folder(variable: &str) -> Option<PathBuf> {
    let value = std::env::var(variable).ok()?;
    value.split(':').next().filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Line and column, both from 1, of a byte offset.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..offset.min(text.len())];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_line_and_column() {
        for (text, fault) in [
            ("scop = \"all\"\n", "1:1: unknown field `scop`"),
            ("scope = \"all\"\n[capture]\nring = 1\n", "3:1: unknown field `ring`"),
            ("scope = \"some\"\n", "1:9: unknown variant `some`"),
            ("scope = \n", "1:"),
            ("[capture]\nbusy_share = 0.0\n", "2:1: busy_share: 0 is not more than 0"),
            ("[capture]\nring_bytes = 1000\n", "2:1: ring_bytes: 1000 is not a power of two"),
            ("[[sink]]\ntype = \"fax\"\nname = \"a\"\n", "2:8: unknown variant `fax`"),
            ("[[sink]]\ntype = \"stdout\"\nname = \"../a\"\n", "3:1: name: must be of letters"),
            ("[[sink]]\ntype = \"stdout\"\nname = \"a\"\n[[sink]]\ntype = \"stdout\"\nname = \"a\"\n", "6:1: name: `a` is taken"),
            ("[[sink]]\ntype = \"stdout\"\nname = \"a\"\nurl = \"x\"\n", "4:1: url: means nothing"),
            ("[[sink]]\ntype = \"http\"\nname = \"a\"\n", "3:1: name: the sink `a` needs the key `url`"),
            ("[[sink]]\ntype = \"elastic\"\nname = \"a\"\nurl = \"x\"\nuser = \"u\"\n", "5:1: user: needs `password_file`"),
        ] {
            let found = Config::parse(text).expect_err(text);
            assert!(found.starts_with(fault), "{text}: {found}");
        }
    }

    #[test]
    fn a_full_file_is_read() {
        let text = "scope = \"match\"\nrules = [\"/etc/agentward/rules\"]\nstate_dir = \"/tmp/s\"\n[match]\nexe = [\"*/python3\"]\n[capture]\nring_bytes = 65536\n[[sink]]\ntype = \"file\"\nname = \"alerts\"\npath = \"/tmp/a.jsonl\"\n";
        let config = Config::parse(text).expect("reads");
        assert_eq!(config.scope, Some(super::super::Scope::Match));
        assert_eq!(config.selectors.exe, ["*/python3"]);
        assert_eq!((config.capture.ring_bytes, config.capture.call_bytes), (65536, 4 << 20));
        assert_eq!(config.sinks.len(), 1);
        assert_eq!(config.state_dir(), Path::new("/tmp/s"));
    }
}
