//! The daemon's processes, apart by what they may do.
//!
//! * The **loader** is what the operator starts: it has the rights that load and attach, opens files for the others, and starts them
//!   again when they die. It interprets nothing that was captured.
//! * The **worker** reads what was captured: it drains the ring that the loader passed it, rebuilds, judges, redacts, and writes journal and
//!   evidence. It has no rights, makes no sockets, and reaches no files but those.
//! * The **exporter** delivers from the journal: it alone connects, and it alone gets the secrets of sinks.
//!
//! Each part but the loader is this very program, started again with a socket as its standard input, and shuts itself in
//! ([`confine`]) before it reads anything that others made. When the loader dies, the kernel ends the rest.

mod confine;
mod exporter;
mod part;
mod rights;
mod seccomp;
pub(super) mod trial;
mod user;
mod worker;

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

use super::config::Config;
use super::{Failure, Outcome, Scope};
use crate::probes::{Order, Tiding};
use crate::relay;

pub(super) use confine::{User, keep_memory_private};
pub(super) use part::{Exporter, Heard, Worker};
pub(super) use rights::keep_few;
pub(super) use user::{hand_over, user};

/// The first message to a part, with its descriptors.
#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    role: Role,
    /// The text of the configuration: the file may have changed since.
    config: String,
    /// Process id of the loader.
    loader: u32,
    user: Option<User>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Role {
    /// Descriptors: the broker's socket, memory and bell of [`crate::deliver::outbox::Shared`].
    Exporter,
    /// Descriptors: a socket to a [`crate::probes::Host`], the ring and its wake-up word, memory and bell as above, the listening control
    /// socket, and that of the web console where it is asked for.
    Worker(Errand),
}

/// What the worker works by.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Errand {
    pub(super) scope: Option<Scope>,
    /// Names and texts of rule files.
    pub(super) rules: Vec<(String, String)>,
    pub(super) no_builtin: bool,
    /// Epoch time of boot, nanoseconds.
    pub(super) boot: u64,
    /// The command line's wish for a web console.
    pub(super) console: Option<String>,
    /// Agents and bystanders, as the worker before this one judged.
    pub(super) resume: Option<(Vec<u32>, Vec<u32>)>,
}

/// What the worker says to the loader.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// At least each second: an empty one says that it lives.
    Orders(Vec<Order>),
    /// Everybody who runs was judged once.
    Met,
}

/// What the loader says to the worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Notice {
    Tidings(Vec<Tiding>),
    /// Names and texts of the rule files to follow from now on, or why there are none.
    Rules(Result<Vec<(String, String)>, String>),
    /// Nothing more comes into the ring: work off what is there, and end.
    Detached,
}

/// What a part answers when it is shut in and at work.
#[derive(Debug, Serialize, Deserialize)]
struct Ready {
    /// What the kernel does not offer of the confinement.
    lacks: Vec<String>,
}

/// Entry of a part: `agentward part`, which only the loader starts.
pub(super) fn run() -> Outcome {
    confine::outlive_signals();
    let stranger =
        || Failure::Input("`agentward part` is started by `agentward run`, with a socket as its standard input".into());
    let socket = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3).map_err(|_| stranger())?;
    let socket = UnixStream::from(socket);
    let mut descriptors = Vec::new();
    let hello: Hello = relay::receive(&socket, &mut descriptors).ok().flatten().ok_or_else(stranger)?;
    let config = Config::parse(&hello.config).map_err(Failure::Input)?;
    // What `ps` shows; the loader keeps the program's name.
    let name = if matches!(hello.role, Role::Exporter) { c"agentward-exp" } else { c"agentward-work" };
    rustix::thread::set_name(name).map_err(|error| Failure::Internal(error.into()))?;
    match &hello.role {
        Role::Exporter => exporter::run(&hello, &config, &socket, Descriptors(descriptors)),
        Role::Worker(errand) => worker::run(&hello, errand, config, socket, Descriptors(descriptors)),
    }
}

/// Those beside a message, in its order.
struct Descriptors(Vec<OwnedFd>);

impl Descriptors {
    fn take(&mut self) -> Result<OwnedFd, Failure> {
        if self.0.is_empty() {
            return Err(Failure::Internal(anyhow::anyhow!("a part was started without its descriptors")));
        }
        Ok(self.0.remove(0))
    }
}

/// The exit of a part as that of the loader: it has said why.
fn exit_code(status: std::process::ExitStatus) -> ExitCode {
    ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0).unwrap_or(1))
}
