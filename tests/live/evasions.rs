//! Programs that hide, each in its own way: what each does is captured as its server received it, or an alert on a blind spot names the
//! process within 15 s, or it is silent. Each silent one fails the test.
//!
//! Oracle: what the servers wrote down, and the line with which a program says that it hides from now on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use agent_tests::peers::{World, packages, script};
use agent_tests::program::{self, Daemon};
use agent_tests::wait_for;
use serde_json::Value;

/// How soon a blind spot must be an alert: part of the contract, so it is a bound here.
const SOON: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Every exchange that the server received was seen once, whole and equal.
    Captured,
    /// An alert on a blind spot names the process.
    Told,
    Silent,
}

/// What runs it.
#[derive(Clone, Copy)]
enum By {
    /// A function of a Python file.
    Python(&'static str),
    /// A program that was built for it, with arguments before the port and others behind it.
    Built(&'static str, &'static [&'static str]),
    Java,
}

struct Case {
    /// Row of the table of threats that it belongs to.
    row: &'static str,
    name: &'static str,
    by: By,
    /// It disturbs others: it runs when they have ended.
    alone: bool,
}

const PROBES: By = By::Python("probes.py");
const PURE: By = By::Python("pure.py");
const WIRES: By = By::Python("wires.py");

const fn case(row: &'static str, name: &'static str, by: By) -> Case {
    Case { row, name, by, alone: false }
}

impl Case {
    const fn alone(mut self) -> Case {
        self.alone = true;
        self
    }
}

const CASES: [Case; 44] = [
    case("E1", "probe_restored_by_mem", PROBES),
    case("E1", "probe_restored_by_mprotect", PROBES),
    case("E1", "probe_lifted_for_each_call", PROBES),
    case("E2", "library_copy", PROBES),
    case("E2", "library_copy_late", PROBES),
    case("E2", "library_copy_nameless", PROBES),
    case("E2", "code_copy_in_anonymous_memory", PROBES),
    case("E2", "code_copy_after_honest_calls", PROBES),
    case("E2", "own_records", PROBES),
    case("E2", "preloaded_shim", PROBES),
    case("E3", "python_tls", PURE),
    case("E3", "python_tls_once", PURE),
    case("E3", "python_tls_on_a_claimed_socket", PURE),
    case("E3", "decoy", PURE),
    case("E3", "beside_honest_calls", PURE),
    case("E3", "java_tls", By::Java),
    case("E3", "rustls_stripped", By::Built("rustls-ring/release/rustls-client", &[])),
    case("E3", "openssl_stripped", By::Built("openssl-static/client", &["CA"])),
    case("E4", "http_on_an_odd_port", WIRES),
    case("E4", "http_by_sendmmsg", WIRES),
    case("E4", "http_by_sendfile", WIRES),
    case("E4", "http_by_splice", WIRES),
    case("E4", "noise_over_tcp", WIRES),
    case("E4", "noise_after_a_banner", WIRES),
    case("E4", "noise_over_udp", WIRES),
    case("E4", "raw_packets", WIRES),
    case("E4", "names_of_data", WIRES),
    case("E4", "quic", WIRES),
    case("E4", "ssh_tunnel", WIRES),
    case("E5", "ring_direct", By::Built("evasions-c/rings", &["direct"])),
    case("E5", "ring_fixed", By::Built("evasions-c/rings", &["fixed"])),
    case("E5", "ring_tls", By::Built("evasions-c/rings", &["tls"])),
    case("E7", "pages_that_come_late", By::Built("evasions-c/buffers", &["CA", "NAME"])),
    case("E9", "flood", PURE).alone(),
    case("E10", "forks", PROBES),
    case("E10", "short_processes", PURE),
    case("E11", "from_memory", PROBES),
    case("E11", "deleted_program", PROBES),
    case("E11", "interpreter_chain", PROBES),
    case("E12", "forged_name", PROBES),
    case("E13", "fake_symbols", PROBES),
    case("E14", "symlink_swapped", PROBES),
    case("E14", "mount_namespace", PROBES),
    case("E29", "maps_edited", PROBES).alone(),
];

impl Case {
    fn command(&self, world: &World, ports: &str, scope: &str) -> Command {
        let evasions = |name: &str| script("evasions").join(name);
        let python = packages().join("evasions/bin/python");
        let (port, authority) = (world.port().to_string(), world.path("ca.pem").display().to_string());
        let mut words = match self.by {
            By::Python(file) => vec![python.display().to_string(), evasions(file).display().to_string(), self.name.into()],
            By::Java => vec!["java".into(), evasions("Own.java").display().to_string(), port, self.name.into()],
            By::Built(file, arguments) => {
                let mut words = vec![packages().join(file).display().to_string()];
                match arguments {
                    [] => {}
                    ["CA"] => words.extend([port, authority]),
                    ["CA", ..] => words.extend([port, authority, self.name.into()]),
                    _ => {
                        let plain = serde_json::from_str::<Value>(ports).expect("the server writes JSON")["http"].to_string();
                        let port = if *arguments == ["tls"] { port } else { plain };
                        words.extend([arguments[0].into(), port, self.name.into()]);
                    }
                }
                words
            }
        };
        if scope == "auto" {
            words.splice(0..0, [python.display().to_string(), evasions("agent.py").display().to_string()]);
        }
        let mut command = world.client(&words[0]);
        command.args(&words[1..]).env("EVASION_PORTS", ports);
        for (name, file) in [("SHIM", "libshim.so"), ("FAKE", "libfake.so")] {
            command.env(format!("EVASION_{name}"), packages().join("evasions-c").join(file));
        }
        command.env("EVASION_CLIENT", packages().join("openssl-static/client"));
        command
    }
}

/// A program under way: what it says, and when it began to hide.
struct Running {
    child: Child,
    said: Arc<Mutex<Said>>,
}

#[derive(Clone, Debug, Default)]
struct Said {
    since: Option<SystemTime>,
    pids: BTreeSet<u64>,
    acted: usize,
}

impl Running {
    fn start(mut command: Command) -> Running {
        let log = command.get_envs().count();
        assert!(log > 0, "a program needs to know where its servers are");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let said: Arc<Mutex<Said>> = Arc::default();
        said.lock().expect("nobody panics while holding this").pids.insert(u64::from(child.id()));
        let (lines, heard) = (BufReader::new(child.stdout.take().expect("stdout is piped")), said.clone());
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                let mut said = heard.lock().expect("nobody panics while holding this");
                match line.split_once(' ') {
                    Some(("hidden", pid)) => {
                        said.since = Some(SystemTime::now());
                        said.pids.extend(pid.parse::<u64>());
                    }
                    Some(("process", pid)) => said.pids.extend(pid.parse::<u64>()),
                    Some(("acted", _)) => said.acted += 1,
                    _ => {}
                }
            }
        });
        Running { child, said }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Programs at once: more than that, and they compete for the processors rather than hide.
const AT_ONCE: usize = 14;

/// Runs programs in `scope`, a few at a time.
fn check(scope: &str, cases: &[&Case]) {
    let (alone, together): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(|case| case.alone);
    let mut counts: BTreeMap<Outcome, usize> = BTreeMap::new();
    let (mut silent, mut broken) = (Vec::new(), Vec::new());
    for batch in together.chunks(AT_ONCE).chain(alone.chunks(1)) {
        for (case, outcome) in run(scope, batch) {
            let outcome = match outcome {
                Ok(outcome) => outcome,
                Err(why) => {
                    broken.push(format!("{}: {why}", case.name));
                    continue;
                }
            };
            *counts.entry(outcome).or_default() += 1;
            if outcome == Outcome::Silent {
                silent.push(case.name);
            }
        }
    }
    eprintln!("scope {scope}: {counts:?} of {} programs that hide", cases.len());
    assert!(broken.is_empty() && silent.is_empty(), "scope {scope}: silent {silent:?}, broken {broken:#?}");
}

/// Runs programs beside each other, under a daemon of their own; an error says why one did not do what it is there for.
fn run<'a>(scope: &str, cases: &[&'a Case]) -> Vec<(&'a Case, Result<Outcome, String>)> {
    let world = World::start(&format!("evasions-{scope}"));
    // The other ends need the packages of the evasions.
    let ports = world.path("evasion_ports");
    let mut servers = Command::new(packages().join("evasions/bin/python"));
    servers.arg(script("evasions/servers.py")).arg(world.folder()).stdin(Stdio::piped());
    servers.stderr(fs::File::create(world.path("servers.log")).expect("the scratch folder is writable"));
    let servers = Running { child: servers.spawn().expect("the packages are installed"), said: Arc::default() };
    let ports = wait_for("the servers of the evasions", || fs::read_to_string(&ports).ok());
    let file = world.path("recording.awr");
    // Programs that carry a library are known before they first run, as installed agents are.
    let config = world.path("agentward.toml");
    let known = ["openssl-static/client", "rustls-ring/release/rustls-client"].map(|name| packages().join(name));
    fs::write(&config, format!("[capture]\nprograms = {known:?}\n")).expect("the scratch folder is writable");
    let (name, config) = (file.to_str().expect("plain name"), config.to_str().expect("plain name"));
    let daemon = Daemon::start(&["record", "-o", name, "--scope", scope, "--config", config]);
    let mut running: Vec<Running> = cases.iter().map(|case| Running::start(case.command(&world, &ports, scope))).collect();
    let ends: Vec<ExitStatus> = running.iter_mut().map(|program| program.child.wait().expect("it is our child")).collect();
    let said: Vec<Said> = running.iter().map(|program| program.said.lock().expect("nobody panics").clone()).collect();
    let last = said.iter().filter_map(|said| said.since).max();
    let left = last.and_then(|since| SOON.checked_sub(since.elapsed().unwrap_or_default())).unwrap_or_default();
    std::thread::sleep(left);
    daemon.stop();
    let seen = Seen {
        rows: [world.ledger(), world.rows("plain.jsonl")].concat(),
        exchanges: program::replay(&file, "exchanges", &["--reveal"]),
        alerts: program::replay(&file, "alerts", &[]),
        servers: BTreeSet::from([u64::from(world.standin()), u64::from(servers.child.id())]),
    };
    let outcome = |case: &Case, status: ExitStatus, said: &Said| {
        if !status.success() {
            return Err(status.to_string());
        }
        if said.since.is_none() && !matches!(case.by, By::Built(_, [] | ["CA"])) {
            return Err("it never hid".into());
        }
        let (outcome, how) = seen.outcome(case.name, said);
        eprintln!("{scope:4} {:3} {:32} {outcome:?} {how}", case.row, case.name);
        Ok(outcome)
    };
    cases.iter().zip(ends).zip(&said).map(|((case, status), said)| (*case, outcome(case, status, said))).collect()
}

struct Seen {
    rows: Vec<Value>,
    exchanges: Vec<Value>,
    alerts: Vec<Value>,
    servers: BTreeSet<u64>,
}

impl Seen {
    fn outcome(&self, name: &str, said: &Said) -> (Outcome, String) {
        let mark = format!("trick={name}&");
        let own = |pid: &Value, query: &Value| {
            pid.as_u64().is_some_and(|pid| said.pids.contains(&pid))
                || query.as_str().is_some_and(|query| query.starts_with(&mark))
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut made: Vec<(String, String)> = self
            .rows
            .iter()
            .filter(|row| own(&row["client"]["pid"], &row["query"]))
            .map(|row| (text(&row["query"]), text(&row["request"]["sha256"])))
            .collect();
        let mut read: Vec<(String, String)> = self
            .exchanges
            .iter()
            .filter(|exchange| own(&exchange["pid"], &exchange["request"]["query"]))
            .filter(|exchange| exchange["pid"].as_u64().is_none_or(|pid| !self.servers.contains(&pid)))
            .filter(|exchange| exchange["incomplete"].as_array().is_some_and(Vec::is_empty))
            .map(|exchange| (text(&exchange["request"]["query"]), text(&exchange["request"]["body"]["sha256"])))
            // The agent's own first words.
            .filter(|(query, _)| !query.is_empty())
            .collect();
        made.retain(|(query, _)| !query.is_empty());
        made.sort();
        read.sort();
        let how = format!("{} of {}", read.len(), made.len());
        if !made.is_empty() && made == read {
            return (Outcome::Captured, how);
        }
        let since = said.since.and_then(|since| since.duration_since(SystemTime::UNIX_EPOCH).ok()).unwrap_or_default();
        let told = self.alerts.iter().find_map(|alert| {
            let blind = alert["matched"]["op"].as_str().is_some_and(|op| op.starts_with("blind:"));
            let its = alert["actor"]["proc"]["pid"].as_u64().is_some_and(|pid| said.pids.contains(&pid));
            let at = Duration::from_nanos(alert["time"].as_u64()?);
            // A protocol may be known by its greeting.
            let late = at.saturating_sub(since);
            (blind && its && late < SOON).then(|| format!("{} after {} ms", alert["matched"]["op"], late.as_millis()))
        });
        match told {
            Some(told) => (Outcome::Told, format!("{how}, {told}")),
            None => (Outcome::Silent, how),
        }
    }
}

#[test]
#[ignore = "needs root, and packages that `cargo xtask evasions` installs"]
fn every_evasion_is_captured_or_told() {
    let only = std::env::var("AGENTWARD_CASE").ok();
    let cases: Vec<&Case> = CASES.iter().filter(|case| only.as_deref().is_none_or(|only| case.name == only)).collect();
    let scope = std::env::var("AGENTWARD_SCOPE").ok();
    if cases.is_empty() {
        return;
    }
    for wanted in ["all", "auto"].into_iter().filter(|wanted| scope.as_deref().is_none_or(|scope| scope == *wanted)) {
        check(wanted, &cases);
    }
}
