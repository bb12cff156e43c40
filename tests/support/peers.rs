//! Real programs at both ends: the stand-in servers, and clients with the environment that leads them there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::program::root;
use crate::{Scratch, json_lines, wait_for};

/// Where `cargo xtask test` installed the packages.
pub fn packages() -> PathBuf {
    std::env::var_os("AGENTWARD_PEERS").map_or_else(|| root().join("target/peers"), PathBuf::from)
}

pub fn python() -> PathBuf {
    packages().join("venv/bin/python")
}

/// A file under `tests/peers`.
pub fn script(name: &str) -> PathBuf {
    root().join("tests/peers").join(name)
}

/// A server of `tests/peers`; it ends when its standard input closes.
pub struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Waits until it has written its port into `port_file` of `folder`.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(arguments: &[&str], folder: &Path, port_file: &str) -> Server {
        let mut child = Command::new(python())
            .arg(script(arguments[0]))
            .args(&arguments[1..])
            .arg(folder)
            .stdin(Stdio::piped())
            .stderr(fs::File::create(folder.join(format!("{port_file}.log"))).expect("the scratch folder is writable"))
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; install it with `cargo xtask test`", python().display()));
        let port = wait_for(arguments[0], || {
            assert!(child.try_wait().ok().flatten().is_none(), "{} ended early", arguments[0]);
            fs::read_to_string(folder.join(port_file)).ok()?.parse().ok()
        });
        Server { child, port }
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// All stand-ins, and what they received.
pub struct World {
    scratch: Scratch,
    standin: Server,
    desk: Server,
}

impl World {
    pub fn start(name: &str) -> World {
        let scratch = Scratch::new(name);
        let standin = Server::start(&["standin.py"], scratch.folder(), "port");
        let desk = Server::start(&["mcp_server.py", "http"], scratch.folder(), "mcp_port");
        World { scratch, standin, desk }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path(name)
    }

    pub fn folder(&self) -> &Path {
        self.scratch.folder()
    }

    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.standin.port)
    }

    /// The stand-in's process: the server's end of every connection but those to the MCP server.
    pub fn standin(&self) -> u32 {
        self.standin.child.id()
    }

    /// A client that trusts the stand-ins and finds them.
    pub fn client(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let authority = self.path("ca.pem");
        let mut client = Command::new(program);
        client.current_dir(self.folder()).stdin(Stdio::null());
        for name in ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO"] {
            client.env(name, &authority);
        }
        client.env("OPENAI_BASE_URL", format!("{}/v1", self.url())).env("OPENAI_API_KEY", "sk-test-not-a-key");
        client.env("ANTHROPIC_BASE_URL", self.url()).env("ANTHROPIC_API_KEY", "test-not-a-key");
        client.env("STANDIN_URL", self.url()).env("SHOP_URL", self.url());
        client.env("MCP_URL", format!("https://localhost:{}/mcp", self.desk.port)).env("MCP_LEDGER", self.path("stdio.jsonl"));
        client.env("GIT_CONFIG_GLOBAL", "/dev/null").env("PYTHONDONTWRITEBYTECODE", "1");
        client
    }

    /// A Python client of `tests/peers`.
    pub fn python(&self, name: &str) -> Command {
        let mut client = self.client(python());
        client.arg(script(name));
        client
    }

    /// A Node client: copied to where its packages are, because modules are looked up from there.
    pub fn node(&self, name: &str) -> Command {
        let copy = packages().join("node").join(name);
        fs::copy(script("clients").join(name), &copy).unwrap_or_else(|error| panic!("{}: {error}", copy.display()));
        let mut client = self.client("node");
        client.arg(copy);
        client
    }

    /// The port that the stand-in's URL names.
    pub fn port(&self) -> u16 {
        self.standin.port
    }

    /// What both HTTP servers received and sent.
    pub fn ledger(&self) -> Vec<Value> {
        [self.rows("ledger.jsonl"), self.rows("mcp.jsonl")].concat()
    }

    /// What the stdio server received and sent.
    pub fn stdio_ledger(&self) -> Vec<Value> {
        self.rows("stdio.jsonl")
    }

    /// What a server wrote into its ledger.
    pub fn rows(&self, name: &str) -> Vec<Value> {
        json_lines(&fs::read_to_string(self.path(name)).unwrap_or_default())
    }
}

/// Runs a client to its end.
///
/// # Panics
/// When it fails: then the test would compare nothing.
pub fn finish(mut client: Command) {
    let done = client.output().unwrap_or_else(|error| panic!("{client:?}: {error}"));
    assert!(done.status.success(), "{client:?}: {}: {}", done.status, String::from_utf8_lossy(&done.stderr));
}
