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

use std::net::SocketAddr;
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
    let token = gate::token(settings.token_file.as_deref())?;
    board.picture.always();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.map_err(|error| Failure::Internal(anyhow::Error::new(error).context("the console's runtime")))?;
    let mut hosts: Vec<String> = settings.hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
    let inside = runtime.enter();
    let (listener, address) = match &settings.listen {
        Listen::Loopback(address) => {
            let failed = |error: std::io::Error| Failure::Input(format!("console: cannot listen on {address}: {error}"));
            let listener = std::net::TcpListener::bind(address).map_err(failed)?;
            listener.set_nonblocking(true).map_err(failed)?;
            let port = listener.local_addr().map_err(failed)?.port();
            hosts.extend(["127.0.0.1", "localhost", "[::1]"].map(|name| format!("{name}:{port}")));
            let shown = SocketAddr::new(address.ip(), port);
            (Listener::Tcp(TcpListener::from_std(listener).map_err(failed)?), format!("http://{shown}/"))
        }
        Listen::Unix(path) => {
            let failed = |error| Failure::file(path, "listen", &error);
            hosts.push("localhost".into());
            (Listener::Unix(listen_unix(path).map_err(failed)?), format!("unix:{}", path.display()))
        }
    };
    drop(inside);
    let peers = settings.peers.clone().filter(|_| matches!(settings.listen, Listen::Unix(_)));
    let console = Console::new(board, Gate::new(hosts, &token, peers));
    let thread = std::thread::Builder::new().name("console".into());
    thread
        .spawn(move || runtime.block_on(accept(&listener, &console)))
        .map_err(|error| Failure::Internal(anyhow::Error::new(error).context("the console's thread")))?;
    Ok(Served { address, token })
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Others may connect: who they are is asked of the kernel, or the token of them.
fn listen_unix(path: &Path) -> std::io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
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
