//! The built `agentward`: recording, replaying, running.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::{json_lines, wait_for};

/// The checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests is a folder of the checkout")
}

/// The program under test: `AGENTWARD_BIN`, else the release build.
pub fn binary() -> PathBuf {
    std::env::var_os("AGENTWARD_BIN").map_or_else(|| root().join("target/release/agentward"), PathBuf::from)
}

/// `agentward` with arguments, run to its end.
///
/// # Panics
/// When it cannot be started.
pub fn agentward<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Output {
    let program = binary();
    let done = Command::new(&program).args(arguments).stdin(Stdio::null()).output();
    done.unwrap_or_else(|error| panic!("{}: {error}; build it with `cargo xtask build`", program.display()))
}

/// `replay FILE --emit WHAT --format json`, with more arguments.
///
/// # Panics
/// When it does not exit with 0 or prints something else than JSON lines.
pub fn replay(file: &Path, emit: &str, more: &[&str]) -> Vec<Value> {
    let file = file.to_str().expect("test files have plain names");
    let done = agentward(["replay", file, "--emit", emit, "--format", "json"].iter().chain(more));
    let words = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "replay {emit}: {}: {words}", done.status);
    assert!(words.is_empty(), "replay {emit} complains: {words}");
    json_lines(&String::from_utf8_lossy(&done.stdout))
}

/// A long-running `agentward`, with what it says on standard error.
pub struct Daemon {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Daemon {
    /// Starts it and waits for the line `ready`.
    ///
    /// # Panics
    /// When it ends before, or says nothing.
    pub fn start(arguments: &[&str]) -> Daemon {
        let mut child = Command::new(binary())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; build it with `cargo xtask build`", binary().display()));
        let said = Arc::new(Mutex::new(String::new()));
        let (lines, heard) = (BufReader::new(child.stderr.take().expect("stderr is piped")), said.clone());
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let mut said = heard.lock().expect("nobody panics while holding this");
                said.push_str(&line);
                said.push('\n');
            }
        });
        let mut daemon = Daemon { child, said };
        wait_for("`ready`", || {
            assert!(daemon.child.try_wait().ok().flatten().is_none(), "{arguments:?} ended early: {}", daemon.said());
            daemon.said().lines().any(|line| line == "ready").then_some(())
        });
        daemon
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn said(&self) -> String {
        self.said.lock().expect("nobody panics while holding this").clone()
    }

    /// SIGINT, then the end: code 0 is part of the contract.
    ///
    /// # Panics
    /// When it ends otherwise.
    pub fn stop(mut self) -> String {
        signal("INT", self.pid());
        let status = wait_for("the end of the daemon", || self.child.try_wait().expect("the daemon is our child"));
        assert!(status.success(), "ended with {status}: {}", self.said());
        self.said()
    }

    /// SIGKILL: no chance to clean up.
    ///
    /// # Panics
    /// When it was gone already.
    pub fn kill(mut self) {
        self.child.kill().expect("the daemon is our child");
        self.child.wait().expect("the daemon is our child");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal by name.
///
/// # Panics
/// When there is no such process.
pub fn signal(name: &str, pid: u32) {
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "kill -{name} {pid}");
}

/// Runs `work` while a recording of every process is taken, and gives the recording's name.
///
/// # Panics
/// When the recorder fails.
pub fn record<T>(file: &Path, more: &[&str], work: impl FnOnce() -> T) -> T {
    let name = file.to_str().expect("test files have plain names");
    let recorder = Daemon::start(&[&["record", "-o", name][..], more].concat());
    let out = work();
    recorder.stop();
    out
}
