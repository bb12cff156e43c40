//! **probes**: the live source of observations: loads the kernel side, finds TLS libraries, attaches, names connections, decides who is
//! watched.
//!
//! In: the host. Out: [`Observation`]s through [`Session::poll`]. Nothing here interprets plaintext beyond recognising an agent.
//!
//! It has two halves, which may run in one process or in two: a [`Keeper`] with the rights to load, attach and look into `/proc`, and a
//! [`Watcher`] that reads what was captured and needs none.

mod attachments;
mod audit;
mod btf;
mod drain;
pub mod elf;
mod events;
mod facts;
mod family;
#[cfg(test)]
mod frames;
mod halves;
mod hello;
mod keeper;
mod kernel;
mod ledger;
mod libraries;
mod needs;
mod people;
mod processes;
mod reader;
mod rings;
mod rounds;
mod scope;
mod session;
mod share;
mod shed;
pub mod site;
mod spots;
mod stripped;
mod survey;
mod watcher;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::Value;

pub use facts::Host;
pub use keeper::{Keeper, Order, Tiding};
pub use rounds::Rounds;
pub use scope::{Scope, Selectors};
pub use session::{Session, boot_time};
pub use survey::{Survey, SurveyFile, survey};
pub use watcher::{Line, Watcher};

/// What to watch and with how much memory.
#[derive(Clone, Debug)]
pub struct Settings {
    pub scope: Scope,
    pub selectors: Selectors,
    /// Size of the kernel ring.
    pub ring_bytes: u32,
    /// Most bytes read of one call.
    pub call_bytes: u32,
    /// Programs that do nothing at the same places: what being probed costs by itself.
    pub empty: bool,
    /// Gives up what the loudest processes say rather than be late for the others, or take more than this part of all processors' time on
    /// a host where none is idle. None for one that takes all the time that it needs.
    pub sheds: Option<f64>,
    /// Programs, or folders of them, to be ready for before they first run.
    pub programs: Vec<std::path::PathBuf>,
}

/// Why this host cannot be watched. Nothing is attached when one of these is returned.
#[derive(Debug)]
pub enum StartError {
    /// Capabilities that this process lacks.
    NoRights(Vec<&'static str>),
    /// The program was built without the probe object.
    NoObject,
    NoTracefs(std::io::Error),
    /// Features that this kernel lacks.
    Lacks(Vec<String>),
    /// The kernel refused a step.
    Refused {
        what: String,
        why: String,
    },
}

impl StartError {
    fn refused(what: &str, error: &dyn std::error::Error) -> StartError {
        let mut why = gist(&error.to_string());
        let mut source = error.source();
        while let Some(deeper) = source {
            let text = gist(&deeper.to_string());
            if !why.contains(&text) {
                why = format!("{why}: {text}");
            }
            source = deeper.source();
        }
        StartError::Refused { what: what.into(), why }
    }
}

/// A verifier log has thousands of lines: the first, and those right before its statistics, say why.
fn gist(text: &str) -> String {
    const STATISTICS: [&str; 5] = ["verification time", "stack depth", "insns processed", "processed ", "max_states"];
    let mut lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.len() > 4 {
        lines.retain(|line| !STATISTICS.iter().any(|start| line.starts_with(start)));
    }
    match lines.as_slice() {
        [first, .., a, b, c] if lines.len() > 4 => format!("{first} … {a}; {b}; {c}"),
        few => few.join("; "),
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::NoRights(missing) => {
                write!(
                    f,
                    "watching needs root, or at least the capabilities that are missing here ({}): start it with sudo",
                    missing.join(", ")
                )
            }
            StartError::NoObject => f.write_str("this program was built without its probes: build it with `cargo xtask build`"),
            StartError::NoTracefs(error) => {
                write!(f, "tracefs is not mounted and cannot be: {error}; run `mount -t tracefs none /sys/kernel/tracing`")
            }
            StartError::Lacks(features) => {
                write!(
                    f,
                    "kernel {} lacks {}: agentward needs Linux 6.1 or later; nothing was attached",
                    kernel_release(),
                    features.join(", ")
                )
            }
            StartError::Refused { what, why } => {
                write!(
                    f,
                    "kernel {} refuses {what}: {why}; agentward needs Linux 6.1 or later with BPF, uprobes and ring buffers (`agentward doctor` says more)",
                    kernel_release()
                )
            }
        }
    }
}

impl std::error::Error for StartError {}

/// Cheap checks before anything is opened or attached.
pub fn preflight() -> Result<(), StartError> {
    needs::rights()?;
    tracefs().map_err(StartError::NoTracefs)?;
    needs::kernel()
}

/// Tracepoints are attached by the numbers that tracefs lists.
fn tracefs() -> std::io::Result<()> {
    const PLACE: &str = "/sys/kernel/tracing";
    if std::path::Path::new(PLACE).join("events").exists() {
        return Ok(());
    }
    let none = c"none";
    let kind = c"tracefs";
    let place = std::ffi::CString::new(PLACE).expect("has no NUL");
    // SAFETY: three C strings that outlive the call, no data.
    let done = unsafe { libc::mount(none.as_ptr(), place.as_ptr(), kind.as_ptr(), 0, std::ptr::null()) };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

pub(crate) fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// What a session says of itself, for `status` and `doctor`.
#[derive(Clone, Debug, Default)]
pub struct Status {
    pub libraries: Vec<LibraryStatus>,
    /// What is not seen of watched processes: the latest [`spots::KEPT`].
    pub blind: Vec<BlindSpot>,
    /// Breakpoints that the last audit found in their place.
    pub audited: u64,
    pub agents: Vec<u32>,
    /// Name and value of each kernel counter.
    pub counters: Vec<(&'static str, u64)>,
    pub connections: usize,
    /// Times that the daemon slept on the ring.
    pub wakeups: u64,
}

/// A library that is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryStatus {
    pub path: String,
    pub family: String,
    pub sites: usize,
    /// In how many processes alone it is probed, unless machine-wide.
    pub processes: Option<usize>,
    /// `symbols`, or `resolved` where names are missing.
    pub method: String,
    /// Functions found without a name, and those of them whose hits have shown that they are the right ones.
    pub judged: usize,
    pub held: usize,
    /// Functions that turned out to be others, and are not probed any more.
    pub refuted: Vec<String>,
}

/// What is not seen of a process, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlindSpot {
    pub pid: u32,
    pub exe: String,
    /// `tls`, `io_uring`, `probe_changed`, `probe_refuted`.
    pub why: &'static str,
    pub what: String,
    pub peer: String,
}

impl Status {
    pub fn to_value(&self) -> Value {
        Value::map([
            (
                "libraries",
                Value::list(self.libraries.iter().map(|library| {
                    Value::map([
                        ("path", Value::text(library.path.as_str())),
                        ("family", Value::text(library.family.as_str())),
                        ("sites", Value::count(library.sites)),
                        ("processes", library.processes.map_or(Value::text("all"), Value::count)),
                        ("method", Value::text(library.method.as_str())),
                        ("judged", Value::count(library.judged as u64)),
                        ("held", Value::count(library.held as u64)),
                        ("refuted", Value::list(library.refuted.iter().map(|function| Value::text(function.as_str())))),
                    ])
                })),
            ),
            (
                "blind",
                Value::list(self.blind.iter().map(|spot| {
                    Value::map([
                        ("pid", Value::count(u64::from(spot.pid))),
                        ("exe", Value::text(spot.exe.as_str())),
                        ("why", Value::text(spot.why)),
                        ("what", Value::text(spot.what.as_str())),
                        ("peer", Value::text(spot.peer.as_str())),
                    ])
                })),
            ),
            ("audited", Value::count(self.audited)),
            ("agents", Value::list(self.agents.iter().map(|pid| Value::count(u64::from(*pid))))),
            ("connections", Value::count(self.connections as u64)),
            ("wakeups", Value::count(self.wakeups)),
            ("counters", Value::map(self.counters.iter().map(|(name, value)| (*name, Value::count(*value))))),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_of_a_verifier_log_is_told() {
        let instructions: String = (0..100).map(|at| format!("{at}: (bf) r2 = r10\n")).collect();
        for (log, expected) in [
            ("Permission denied".to_owned(), "Permission denied"),
            (
                format!(
                    "first\n{instructions}combined stack size of 5 calls is 544. Too large\nverification time 3 usec\nstack depth 208+0\nprocessed 6432 insns (limit 1000000)\n"
                ),
                "first … 98: (bf) r2 = r10; 99: (bf) r2 = r10; combined stack size of 5 calls is 544. Too large",
            ),
        ] {
            assert_eq!(gist(&log), expected);
        }
    }
}
