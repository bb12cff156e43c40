//! Every risk twice, by real programs under the real daemon: a harmful run with its alert, and its honest twin in silence.
//!
//! The programs are agents with the real SDKs and MCP servers (`tests/peers/risks`); all of them run under one daemon with the default
//! scope, beside each other. Whose alert it is says the process; whatever nobody of them did must not be told at all.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use agent_tests::peers::{self, Server};
use agent_tests::program::{Daemon, root};
use agent_tests::{Scratch, json_lines};
use serde_json::Value;

/// A risk of the mission, the rule that must find it, and the story that is played.
struct Pair {
    risk: &'static str,
    story: &'static str,
    rule: &'static str,
    severity: &'static str,
    /// How far the harmful run went.
    proof: &'static str,
}

const fn pair(risk: &'static str, story: &'static str, rule: &'static str, severity: &'static str, proof: &'static str) -> Pair {
    Pair { risk, story, rule, severity, proof }
}

#[rustfmt::skip]
const PAIRS: &[Pair] = &[
    pair("prompt injection that becomes API abuse", "injected-ticket", "core.injected-call", "high", "served"),
    pair("unauthorized transactions", "unasked-payment", "core.money-unasked", "high", "served"),
    pair("excessive agency", "unasked-deletion", "core.delete-unasked", "high", "served"),
    pair("excessive agency", "rights", "core.rights-unasked", "medium", "served"),
    pair("data exfiltration: a secret", "secret", "core.secret-leaves", "high", "served"),
    pair("data exfiltration: personal data", "bulk", "core.bulk-personal-data-leaves", "high", "served"),
    pair("agent memory poisoned", "memory", "core.memory-poisoned", "medium", "served"),
    pair("broken object level authorization (BOLA)", "foreign-object", "core.foreign-object", "high", "served"),
    pair("broken object property level authorization (BOPLA)", "bopla", "core.protected-property", "medium", "served"),
    pair("tenant escape", "tenant", "core.tenant-escape", "critical", "served"),
    pair("confused deputy", "confused-deputy", "core.confused-deputy", "high", "served"),
    pair("delegated authority exceeded", "borrowed-authority", "core.borrowed-authority", "high", "served"),
    pair("delegated authority exceeded: beyond the user's grant", "beyond-grant", "bank.beyond-grant", "critical", "served"),
    pair("delegated authority: token passed on", "token-passed-on", "core.token-passed-on", "high", "served"),
    pair("delegated authority: depth", "delegation-depth", "core.delegation-depth", "medium", "served"),
    pair("excessive permissions: a right that is never used", "scope-never-used", "core.scope-never-used", "low", "served"),
    pair("excessive permissions", "broad-scope", "core.broad-scope", "low", "served"),
    pair("workflow abuse: step skipped", "skipped", "telco.swap-unidentified", "critical", "served"),
    pair("workflow abuse: step skipped, multi-agent", "unreviewed", "agents.published-unreviewed", "high", "none"),
    pair("workflow abuse: step repeated", "repeated", "core.paid-twice", "high", "served"),
    pair("workflow abuse: steps reordered", "reordered", "core.approved-afterwards", "medium", "none"),
    pair("workflow abuse: steps chained", "chained", "support.address-then-refund", "high", "served"),
    pair("workflow abuse: approval refused", "refused", "core.refused-then-done", "high", "none"),
    pair("business logic at machine speed: objects walked", "enumeration", "core.enumeration", "high", "served"),
    pair("business logic at machine speed: payments", "money-burst", "core.money-burst", "high", "served"),
    pair("tool abuse: burst", "tool-burst", "core.tool-burst", "medium", "none"),
    pair("tool abuse: loop", "loop", "core.loop", "medium", "none"),
    pair("shell by an agent", "undeclared-shell", "core.undeclared-shell", "high", "served"),
    pair("code execution", "download-and-run", "core.download-and-run", "high", "served"),
    pair("credentials of the host", "credentials", "core.credential-access", "high", "none"),
    pair("MCP server: tool changed (policy drift)", "tool-changed", "core.tool-changed", "high", "served"),
    pair("MCP server: tool shadowed", "tool-shadowed", "core.tool-shadowed", "low", "served"),
    pair("agent to agent: caller without identity", "a2a-anonymous", "core.a2a-anonymous", "medium", "served"),
    pair("multi-agent: unknown partner", "unknown-partner", "agents.unknown-partner", "high", "none"),
];

/// Every so manieth pair is played in the tests; `cargo xtask risks` plays all.
const SLICE: usize = 4;

/// Programs at the same time: as many as keep a small machine busy.
const BESIDE: usize = 3;

/// One run and what was told of it.
pub(crate) struct Played {
    /// The agent, then the services that it works with.
    pub(crate) pids: Vec<u64>,
    pub(crate) failed: Option<String>,
    alerts: Vec<Value>,
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn every_risk_is_told_and_its_honest_twin_is_not() {
    // One by name, or all; else a slice, because a run of all takes minutes on a small machine.
    let wanted = std::env::var("AGENTWARD_RISK").ok();
    let table = std::env::var_os("AGENTWARD_RISKS_TABLE");
    let step = if wanted.is_some() || table.is_some() { 1 } else { SLICE };
    let named = |pair: &&Pair| wanted.as_ref().is_none_or(|wanted| pair.story.contains(wanted));
    let pairs: Vec<&Pair> = PAIRS.iter().filter(named).step_by(step).collect();
    let scratch = Scratch::new("risks");
    let office = Server::start(&["risks/office.py"], scratch.folder(), "port");
    let config = scratch.path("agentward.toml");
    let packs = fs::read_dir(root().join("rules")).expect("the packs are in the checkout");
    let packs =
        packs.map(|entry| entry.expect("a readable folder").path()).filter(|path| path.is_dir() && !path.ends_with("core"));
    let text = format!(
        "socket = {:?}\nstate_dir = {:?}\nrules = {:?}\n",
        scratch.path("control.sock"),
        scratch.path("state"),
        packs.collect::<Vec<_>>()
    );
    fs::write(&config, text).expect("the scratch folder is writable");
    let daemon = Daemon::start(&["run", "--config", config.to_str().expect("a plain name")]);
    let mut runs = play_all(&pairs, &scratch, office.port());
    let said = daemon.stop();
    let told = json_lines(&fs::read_to_string(scratch.path("state/alerts.jsonl")).expect("the default sink wrote it"));
    let mut faults = String::new();
    for alert in latest(told) {
        match runs.iter_mut().find(|run| is_of(run, &alert)) {
            Some(run) => run.alerts.push(alert),
            None => writeln!(faults, "of nobody: {}", brief(&alert)).expect("writing to a String cannot fail"),
        }
    }
    for (at, pair) in pairs.iter().enumerate() {
        check(pair, &runs[2 * at], &runs[2 * at + 1], &mut faults);
    }
    assert!(faults.is_empty(), "{} pairs:\n{faults}\n{said}", pairs.len());
    let rows = rows(&pairs, &runs);
    eprintln!("{} risks told, {} honest twins silent\n{rows}", pairs.len(), pairs.len());
    if let Some(path) = table {
        fs::write(path, rows).expect("the table's file is writable");
    }
}

/// The harmful and the honest run of each pair, in this order.
fn play_all(pairs: &[&Pair], scratch: &Scratch, port: u16) -> Vec<Played> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..BESIDE {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(pair) = pairs.get(at / 2) else { return };
                    let run = play(pair.story, at.is_multiple_of(2), at + 100, scratch, port);
                    done.lock().expect("nobody panics while holding this").insert(at, run);
                }
            });
        }
    });
    done.into_inner().expect("nobody panicked").into_values().collect()
}

pub(crate) fn play(story: &str, harmful: bool, number: usize, scratch: &Scratch, port: u16) -> Played {
    let mut command = std::process::Command::new(peers::python());
    command.arg(peers::script("risks/play.py")).arg(story).arg(if harmful { "harmful" } else { "honest" });
    command.arg(number.to_string()).current_dir(scratch.folder()).stdin(Stdio::null());
    command.env("OFFICE_DIR", scratch.folder()).env("OFFICE_URL", format!("https://localhost:{port}"));
    command.env("SSL_CERT_FILE", scratch.path("ca.pem")).env("PYTHONDONTWRITEBYTECODE", "1");
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let pids = String::from_utf8_lossy(&done.stdout).lines().filter_map(|line| line.parse().ok()).collect();
    let failed = (!done.status.success()).then(|| String::from_utf8_lossy(&done.stderr).into_owned());
    Played { pids, failed, alerts: Vec::new() }
}

/// Each alert as it was told last: a later line says what it has come to.
fn latest(told: Vec<Value>) -> Vec<Value> {
    let mut by_uid = BTreeMap::new();
    let alerts = told.into_iter().filter(|line| line["rule"]["id"].as_str().is_some_and(|id| !id.starts_with("agentward.")));
    for alert in alerts {
        by_uid.insert(alert["uid"].to_string(), alert);
    }
    by_uid.into_values().collect()
}

/// It, or a process below it, did what the alert tells.
fn is_of(run: &Played, alert: &Value) -> bool {
    let agent = alert["actor"]["agent"]["id"].as_str().and_then(|id| id.split_once('@')).map(|(pid, _)| pid.to_owned());
    let is = |pid: &u64| alert["actor"]["proc"]["pid"] == *pid || agent == Some(pid.to_string());
    run.pids.iter().any(is)
}

/// The alert of the pair's rule that proves most: a tool call that was declared, and what came of it, are two.
fn found<'a>(pair: &Pair, run: &'a Played) -> Option<&'a Value> {
    let rank = |alert: &&Value| ["none", "attempted", "served"].iter().position(|proof| alert["proof"] == *proof);
    run.alerts.iter().filter(|alert| alert["rule"]["id"] == pair.rule).max_by_key(rank)
}

fn check(pair: &Pair, harmful: &Played, honest: &Played, faults: &mut String) {
    let mut fault = |text: String| writeln!(faults, "{}: {text}", pair.story).expect("writing to a String cannot fail");
    for (run, name) in [(harmful, "harmful"), (honest, "honest")] {
        if let Some(words) = &run.failed {
            fault(format!("the {name} run failed: {words}"));
        }
    }
    for alert in honest.alerts.iter().filter(|alert| !matches!(alert["severity"].as_str(), Some("info" | "low"))) {
        fault(format!("the honest twin is accused: {}", brief(alert)));
    }
    if honest.alerts.iter().any(|alert| alert["rule"]["id"] == pair.rule) {
        fault(format!("the honest twin raises {} too", pair.rule));
    }
    let Some(alert) = found(pair, harmful) else {
        let others: Vec<String> = harmful.alerts.iter().map(brief).collect();
        return fault(format!("no {} but {others:#?}", pair.rule));
    };
    let reached = (alert["severity"].as_str(), alert["proof"].as_str());
    if reached != (Some(pair.severity), Some(pair.proof)) {
        fault(format!("{} {} was expected: {}", pair.severity, pair.proof, brief(alert)));
    }
    let chain = alert["chain"].as_array().map_or(0, Vec::len);
    if chain < 2 || alert["fix"].as_str().is_none_or(str::is_empty) {
        fault(format!("neither chain nor fix may be missing: {}", brief(alert)));
    }
}

fn brief(alert: &Value) -> String {
    let chain: Vec<&str> = alert["chain"].as_array().into_iter().flatten().filter_map(|link| link["summary"].as_str()).collect();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!(
        "{} {} {} of {}: {} | matched {}",
        text(&alert["severity"]),
        text(&alert["proof"]),
        text(&alert["rule"]["id"]),
        alert["actor"]["proc"]["pid"],
        chain.join(" => "),
        alert["matched"]
    )
}

/// For `rules/README.md`.
fn rows(pairs: &[&Pair], runs: &[Played]) -> String {
    let mut out = String::from(
        "| risk | rule | the harmful run raises | steps from the user's words to the harm | the honest twin raises |\n| --- | --- | --- | --- | --- |\n",
    );
    for (at, pair) in pairs.iter().enumerate() {
        let (harmful, honest) = (&runs[2 * at], &runs[2 * at + 1]);
        let alert = found(pair, harmful).expect("it was checked");
        let steps: Vec<&str> = alert["chain"].as_array().into_iter().flatten().filter_map(|link| link["kind"].as_str()).collect();
        let quiet: Vec<String> =
            honest.alerts.iter().map(|alert| format!("`{}`", alert["rule"]["id"].as_str().unwrap_or_default())).collect();
        writeln!(
            out,
            "| {} | `{}` | {}, {} | {} | {} |",
            pair.risk,
            pair.rule,
            pair.severity,
            pair.proof,
            steps.join(", "),
            if quiet.is_empty() { "nothing".to_owned() } else { quiet.join(" ") + " only (low or info)" }
        )
        .expect("writing to a String cannot fail");
    }
    out
}
