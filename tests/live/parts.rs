//! The daemon's processes: what they may not do, and what becomes of the daemon when one of them dies.

use std::fs;
use std::process::{Command, Stdio};

use agent_tests::load::Load;
use agent_tests::peers::World;
use agent_tests::program::{self, Daemon, binary};
use agent_tests::{Scratch, json_lines, wait_for};
use serde_json::Value;

/// Errors by which the kernel refuses: `EPERM`, `EACCES`, and in a cell `ENOSYS` for a call that is said not to be there.
const REFUSED: [i64; 3] = [1, 13, 38];

/// Runs every forbidden action in a cell, or in none: name, error number, and whether the cell may have it.
fn trial(cell: &str) -> Vec<(String, i64, bool)> {
    let scratch = Scratch::new(&format!("trial-{cell}"));
    let mut target = Command::new("sleep").arg("600").spawn().expect("sleep is part of coreutils");
    let target_id = target.id().to_string();
    let mut trial = Command::new(binary());
    trial.args(["trial", cell, &target_id]).arg(scratch.folder()).stdin(Stdio::null());
    let done = trial.output().expect("the program is built");
    target.kill().and_then(|()| target.wait()).expect("it is our child");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.is_empty(), "{cell}: {}: {said}", done.status);
    let number = |line: &Value| line["errno"].as_i64().expect("a number");
    let lines = json_lines(&String::from_utf8_lossy(&done.stdout));
    lines.iter().map(|line| (line["action"].to_string(), number(line), line["allowed"] == true)).collect()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn confined_parts_are_refused_what_a_free_process_may() {
    let free = trial("free");
    let unfree: Vec<_> = free.iter().filter(|(_, error, _)| REFUSED[..2].contains(error)).collect();
    assert!(unfree.is_empty(), "refused outside of any cell, so they prove nothing: {unfree:?}");
    for (cell, least) in [("worker", 40), ("exporter", 40)] {
        let tried = trial(cell);
        assert_eq!(tried.len(), free.len(), "{cell}");
        let forbidden = tried.iter().filter(|(_, _, allowed)| !allowed);
        let done: Vec<_> = forbidden.clone().filter(|(_, error, _)| !REFUSED.contains(error)).collect();
        assert!(done.is_empty(), "{cell}: not refused: {done:?}");
        let barred: Vec<_> = tried.iter().filter(|(_, error, allowed)| *allowed && REFUSED.contains(error)).collect();
        assert!(barred.is_empty(), "{cell}: what it lives by is refused: {barred:?}");
        let count = forbidden.count();
        assert!(count >= least, "{cell}: {count} actions");
        eprintln!("{cell}: {count} of {count} forbidden actions refused, none of {} outside", free.len());
    }
}

/// A process of the daemon by the name that the kernel shows.
fn part(daemon: &Daemon, name: &str) -> Option<u32> {
    let children = |entry: fs::DirEntry| -> Option<u32> {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (front, fields) = stat.rsplit_once(')')?;
        let parent: u32 = fields.split_whitespace().nth(1)?.parse().ok()?;
        (parent == daemon.pid() && front.ends_with(&format!("({name}")) && !fields.starts_with(" Z")).then_some(pid)
    };
    fs::read_dir("/proc").expect("it is mounted").flatten().find_map(children)
}

/// Fields of `/proc/PID/status`.
fn check_status(pid: u32, expected: &[(&str, &str)]) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    for (field, value) in expected {
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(":\t")).unwrap_or_default();
        assert_eq!(line, *value, "{field} of {status}");
    }
    let user = status.lines().find_map(|line| line.strip_prefix("Uid:\t")).expect("as proc(5) says");
    assert!(!user.split('\t').any(|id| id == "0"), "root: {user}");
}

const NONE: &str = "0000000000000000";
const CONFINED: [(&str, &str); 8] = [
    ("CapInh", NONE),
    ("CapPrm", NONE),
    ("CapEff", NONE),
    ("CapBnd", NONE),
    ("CapAmb", NONE),
    ("NoNewPrivs", "1"),
    ("Seccomp", "2"),
    ("Groups", " "),
];

const PACK: &str = r#"
[pack]
name = "parts"
version = "1.0.0"
engine = ">=0.1"

[[rule]]
id = "parts.each"
title = "A request of the test"
severity = "low"
when = 'kind == "api.request" && http.path.startsWith("/echo")'
why = "It is tested."
fix = "None."
"#;

struct Watched {
    world: World,
    config: String,
}

impl Watched {
    /// A new client asks; its alert must reach the sink's file.
    fn alerts(&self, when: &str) {
        let mut client = Load::start(&self.world);
        client.make(3, "new");
        let sink = self.world.path("alerts.jsonl");
        wait_for(when, || {
            let text = fs::read_to_string(&sink).unwrap_or_default();
            let whole = text.rfind('\n').map_or("", |end| &text[..end]);
            json_lines(whole).iter().any(|alert| alert["actor"]["proc"]["pid"] == client.pid()).then_some(())
        });
    }

    fn status(&self) -> Value {
        let asked = program::agentward(["status", "--config", &self.config, "--format", "json"]);
        serde_json::from_slice(&asked.stdout).unwrap_or_else(|error| panic!("{error}: {asked:?}"))
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn parts_hold_no_rights_and_are_replaced_when_they_die() {
    let world = World::start("parts");
    let folder = world.folder().display().to_string();
    fs::write(world.path("each.toml"), PACK).expect("the scratch folder is writable");
    let config = world.path("agentward.toml");
    let text = format!(
        "scope = \"match\"\nstate_dir = \"{folder}/state\"\nsocket = \"{folder}/socket\"\nrules = [\"{folder}/each.toml\"]\n\
         [match]\nargv = [\"*clients/load.py\"]\n[[sink]]\ntype = \"file\"\nname = \"alerts\"\npath = \"{folder}/alerts.jsonl\"\n"
    );
    fs::write(&config, text).expect("the scratch folder is writable");
    let config = config.to_str().expect("test files have plain names").to_owned();
    let daemon = Daemon::start(&["run", "--config", &config]);
    let watched = Watched { world, config };
    let find = |name: &str| wait_for(name, || part(&daemon, name));
    let (worker, exporter) = (find("agentward-work"), find("agentward-exp"));
    for pid in [worker, exporter] {
        check_status(pid, &CONFINED);
    }
    watched.alerts("the first alert");
    assert_eq!(watched.status()["pid"], daemon.pid());

    program::signal("KILL", worker);
    let next = wait_for("another worker", || part(&daemon, "agentward-work").filter(|pid| *pid != worker));
    watched.alerts("an alert of the second worker");
    check_status(next, &CONFINED);

    program::signal("KILL", exporter);
    watched.alerts("an alert by the second exporter");
    let next_exporter = find("agentward-exp");
    assert_ne!(next_exporter, exporter);
    check_status(next_exporter, &CONFINED);
    let sinks = watched.status()["sinks"].clone();
    assert!(sinks[0]["delivered"].as_u64() >= Some(3) && sinks[0]["lost"] == 0, "{sinks}");

    fs::write(watched.world.path("each.toml"), PACK.replace("parts.each", "parts.again")).expect("it is writable");
    program::signal("HUP", daemon.pid());
    wait_for("the rules to be read again", || daemon.said().contains("rules reloaded").then_some(()));

    let client = Load::start(&watched.world);
    daemon.kill();
    for pid in [next, next_exporter] {
        // One that nobody has waited for yet is gone, too.
        let gone = || fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
        wait_for("the parts to end with their loader", || gone().then_some(()));
    }
    wait_for("the probed bytes to be restored", || (client.probed_bytes() == 0).then_some(()));
    eprintln!("worker and exporter: no capabilities, replaced after SIGKILL, gone with their loader");
}
