//! The web console: what agents do, at a glance, in a browser on this host.
//!
//! In: the daemon's [`Board`]. Out: HTML, JSON ([`super::api`]), SVG, server-sent events. It runs in a thread of its own and only
//! when the configuration or an argument asks for it; it changes nothing, so nobody can use it to change something. It listens on
//! loopback or a unix socket only: a proxy of the operator's brings TLS and other hosts.
//!
//! The server is hyper alone, without a framework: ten routes need no router. Pages are rendered here and renewed in place by forty
//! lines of script; there is no build step for the front end, and nothing is loaded from elsewhere.

mod gate;
mod page;
mod pages;
mod server;
#[cfg(test)]
mod tests;

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener};

use self::gate::Gate;
use self::server::Console;
use super::Failure;
use super::control::Board;

const STYLE: &str = include_str!("assets/style.css");
const OPENAPI: &str = include_str!("assets/openapi.json");

/// Name, type, content. Served without a login: they say nothing.
const ASSETS: [(&str, &str, &str); 4] = [
    ("style.css", "text/css; charset=utf-8", STYLE),
    ("console.js", "text/javascript; charset=utf-8", include_str!("assets/console.js")),
    ("login.js", "text/javascript; charset=utf-8", include_str!("assets/login.js")),
    ("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];

/// Where and for whom.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) listen: Listen,
    /// Names beside loopback's that a proxy sends as `Host`.
    pub(super) hosts: Vec<String>,
    /// Kept across starts in this file; `None`: a new one, which only the caller knows.
    pub(super) token_file: Option<PathBuf>,
    /// User ids that the unix socket vouches for.
    pub(super) peers: Option<Vec<u32>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Listen {
    Loopback(SocketAddr),
    Unix(PathBuf),
}

impl Listen {
    /// `127.0.0.1:8790`, `[::1]:8790`, `unix:/path`.
    pub(super) fn parse(text: &str) -> Result<Listen, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let absolute = path.starts_with('/');
            return if absolute { Ok(Listen::Unix(path.into())) } else { Err("a socket's path must be absolute".into()) };
        }
        let address: SocketAddr = text.parse().map_err(|_| format!("{text} is neither ADDRESS:PORT nor unix:/PATH"))?;
        if !address.ip().is_loopback() {
            return Err(format!("{address} is not loopback: the console speaks no TLS; put a proxy before it"));
        }
        Ok(Listen::Loopback(address))
    }
}

/// What a person needs to open it.
pub(super) struct Served {
    pub(super) address: String,
    pub(super) token: String,
}

impl Served {
    /// Tells where it is. The token is shown to a person at a terminal only: a log is read by others.
    pub(super) fn say(&self, token_file: Option<&Path>) {
        match token_file {
            Some(path) if !std::io::stderr().is_terminal() => {
                eprintln!("agentward: console on {}, its token is in {}", self.address, path.display());
            }
            Some(_) | None => eprintln!("agentward: console on {}", self.link()),
        }
    }

    /// Opens without typing the token: what stands behind the `#` stays in the browser.
    pub(super) fn link(&self) -> String {
        match self.address.starts_with("http") {
            true => format!("{}login#token={}", self.address, self.token),
            false => self.address.clone(),
        }
    }
}

/// Begins to serve, in a thread of its own.
pub(super) fn start(settings: &Settings, board: Arc<Board>) -> Result<Served, Failure> {
    let prepared = prepare(settings, bind(settings)?, board)?;
    let served = Served { address: prepared.served.address.clone(), token: prepared.served.token.clone() };
    prepared.begin()?;
    Ok(served)
}

/// The socket to serve on.
pub(super) enum Bound {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

impl Bound {
    /// One that another process has bound by these settings.
    pub(super) fn passed(settings: &Settings, descriptor: OwnedFd) -> Bound {
        match settings.listen {
            Listen::Loopback(_) => Bound::Tcp(descriptor.into()),
            Listen::Unix(_) => Bound::Unix(descriptor.into()),
        }
    }
}

impl AsFd for Bound {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Bound::Tcp(listener) => listener.as_fd(),
            Bound::Unix(listener) => listener.as_fd(),
        }
    }
}

pub(super) fn bind(settings: &Settings) -> Result<Bound, Failure> {
    match &settings.listen {
        Listen::Loopback(address) => {
            let failed = |error: std::io::Error| Failure::Input(format!("console: cannot listen on {address}: {error}"));
            let listener = std::net::TcpListener::bind(address).map_err(failed)?;
            listener.set_nonblocking(true).map_err(failed)?;
            Ok(Bound::Tcp(listener))
        }
        Listen::Unix(path) => listen_unix(path).map(Bound::Unix).map_err(|error| Failure::file(path, "listen", &error)),
    }
}

/// All that serving takes, with no thread yet.
pub(super) struct Prepared {
    pub(super) served: Served,
    runtime: tokio::runtime::Runtime,
    listener: Listener,
    console: Arc<Console>,
}

impl Prepared {
    pub(super) fn begin(self) -> Result<(), Failure> {
        let Prepared { runtime, listener, console, .. } = self;
        let thread = std::thread::Builder::new().name("console".into());
        let spawned = thread.spawn(move || runtime.block_on(accept(&listener, &console)));
        spawned.map(drop).map_err(|error| Failure::Internal(anyhow::Error::new(error).context("the console's thread")))
    }
}

pub(super) fn prepare(settings: &Settings, bound: Bound, board: Arc<Board>) -> Result<Prepared, Failure> {
    let token = gate::token(settings.token_file.as_deref())?;
    board.picture.always();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.map_err(|error| Failure::Internal(anyhow::Error::new(error).context("the console's runtime")))?;
    let mut hosts: Vec<String> = settings.hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
    let inside = runtime.enter();
    let failed = |error: std::io::Error| Failure::Internal(anyhow::Error::new(error).context("the console's socket"));
    let (listener, address) = match bound {
        Bound::Tcp(listener) => {
            let shown = listener.local_addr().map_err(failed)?;
            hosts.extend(["127.0.0.1", "localhost", "[::1]"].map(|name| format!("{name}:{}", shown.port())));
            (Listener::Tcp(TcpListener::from_std(listener).map_err(failed)?), format!("http://{shown}/"))
        }
        Bound::Unix(listener) => {
            let path = match &settings.listen {
                Listen::Unix(path) => path.display().to_string(),
                Listen::Loopback(address) => address.to_string(),
            };
            hosts.push("localhost".into());
            (Listener::Unix(UnixListener::from_std(listener).map_err(failed)?), format!("unix:{path}"))
        }
    };
    drop(inside);
    let peers = settings.peers.clone().filter(|_| matches!(settings.listen, Listen::Unix(_)));
    let console = Console::new(board, Gate::new(hosts, &token, peers));
    Ok(Prepared { served: Served { address, token }, runtime, listener, console })
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Others may connect: who they are is asked of the kernel, or the token of them.
fn listen_unix(path: &Path) -> std::io::Result<std::os::unix::net::UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let _ = std::fs::remove_file(path);
    let listener = std::os::unix::net::UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

async fn accept(listener: &Listener, console: &Arc<Console>) {
    // Connections live on this thread beside this loop.
    loop {
        let Some(place) = console.place().await else { return };
        match listener {
            Listener::Tcp(listener) => match listener.accept().await {
                Ok((stream, _)) => {
                    tokio::spawn(console.clone().serve(stream, None, place));
                }
                Err(_) => pause().await,
            },
            Listener::Unix(listener) => match listener.accept().await {
                Ok((stream, _)) => {
                    let peer = stream.peer_cred().ok().map(|peer| peer.uid());
                    tokio::spawn(console.clone().serve(stream, peer, place));
                }
                Err(_) => pause().await,
            },
        }
    }
}

/// Out of descriptors: trying again at once would spin.
async fn pause() {
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
}
