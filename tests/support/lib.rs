//! Shared by the suites: the built program, real peers, and the comparison of what was seen with what a server received.
//!
//! The oracle is never the daemon itself: servers write down what they received and sent (`tests/peers/ledger.py`).

pub mod browser;
pub mod clock;
pub mod compare;
pub mod load;
pub mod peers;
pub mod program;
#[path = "../scenes/mod.rs"]
pub mod scenes;
pub mod shape;

use std::panic::RefUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for something that is bound to come, on a slow and shared machine. Not a measurement.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A folder that goes away with its owner.
pub struct Scratch(PathBuf);

impl Scratch {
    /// # Panics
    /// When the folder for temporary files cannot be written.
    pub fn new(name: &str) -> Scratch {
        let folder = std::env::temp_dir().join(format!("agentward-test-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("the folder for temporary files is writable");
        Scratch(folder)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn folder(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What a failed test leaves is kept for the person who looks into it.
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

/// JSON lines of a text.
///
/// # Panics
/// On a line that is not JSON: both servers and the program promise JSON lines.
pub fn json_lines(text: &str) -> Vec<Value> {
    text.lines()
        .enumerate()
        .map(|(number, line)| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("line {}: {error}: {line:.200}", number + 1))
        })
        .collect()
}

/// Checks every client, or the one that `AGENTWARD_CLIENT` names; tells of all that failed, not of the first only.
///
/// # Panics
/// When one fails.
pub fn each_client<C: RefUnwindSafe>(clients: &[C], name: impl Fn(&C) -> &str, check: impl Fn(&C) + RefUnwindSafe) {
    let wanted = std::env::var("AGENTWARD_CLIENT").ok();
    let mut failed = Vec::new();
    for client in clients.iter().filter(|client| wanted.as_deref().is_none_or(|wanted| wanted == name(client))) {
        if std::panic::catch_unwind(|| check(client)).is_err() {
            failed.push(name(client));
        }
    }
    assert!(failed.is_empty(), "failed: {failed:?}");
}

/// Waits until `ready` gives something.
///
/// # Panics
/// When it gives nothing within [`PATIENCE`].
pub fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
