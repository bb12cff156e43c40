//! Heavy work that hides nothing: no alert on a blind spot, in either scope, while an agent does it.
//!
//! Oracle: the workloads themselves, which do nothing else than what they are named after, and say how much.

use std::fs;
use std::process::{Child, Command, Stdio};

use agent_tests::peers::{World, packages, script};
use agent_tests::program::{self, Daemon};
use agent_tests::wait_for;

/// A workload, and what may be said of it all the same: that nobody reads a protocol which nobody can read is true.
struct Workload {
    name: &'static str,
    may_say: Option<&'static str>,
}

const fn quiet(name: &'static str) -> Workload {
    Workload { name, may_say: None }
}

const WORKLOADS: [Workload; 14] = [
    quiet("pip_install"),
    quiet("git_clone"),
    quiet("curl_downloads"),
    quiet("wget_downloads"),
    quiet("node_fetch"),
    quiet("postgres"),
    quiet("key_value_store"),
    quiet("video"),
    quiet("name_lookups"),
    quiet("worker_processes"),
    quiet("pooled_tls"),
    quiet("tls_in_memory"),
    quiet("files_by_http"),
    Workload { name: "secure_shell", may_say: Some("blind:protocol") },
];

/// How long each works; `AGENTWARD_SECONDS` says otherwise.
const SECONDS: &str = "60";

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn check(scope: &str) {
    let world = World::start(&format!("ordinary-{scope}"));
    let seconds = std::env::var("AGENTWARD_SECONDS").unwrap_or_else(|_| SECONDS.into());
    let python = packages().join("evasions/bin/python");
    let mut servers = Command::new(&python);
    servers.arg(script("evasions/servers.py")).arg(world.folder()).stdin(Stdio::piped());
    servers.stderr(fs::File::create(world.path("servers.log")).expect("the scratch folder is writable"));
    let servers = Running(servers.spawn().expect("the packages are installed"));
    let ports = wait_for("the servers of the evasions", || fs::read_to_string(world.path("evasion_ports")).ok());
    repository(&world);
    let file = world.path("recording.awr");
    let daemon = Daemon::start(&["record", "-o", file.to_str().expect("plain name"), "--scope", scope]);
    let only = std::env::var("AGENTWARD_CASE").ok();
    let wanted = |workload: &&Workload| only.as_deref().is_none_or(|only| workload.name == only);
    let running: Vec<(&Workload, Running)> = WORKLOADS
        .iter()
        .filter(wanted)
        .map(|workload| {
            let mut command = world.client(&python);
            command.arg(script("evasions/agent.py")).arg(&python).arg(script("evasions/ordinary.py"));
            command.args([workload.name, &seconds]).env("EVASION_PORTS", &ports);
            (workload, Running(command.spawn().expect("the packages are installed")))
        })
        .collect();
    let mut broken = Vec::new();
    for (workload, mut program) in running {
        let status = program.0.wait().expect("it is our child");
        if !status.success() {
            broken.push(format!("{}: {status}", workload.name));
        }
    }
    daemon.stop();
    drop(servers);
    let said: Vec<String> = program::replay(&file, "alerts", &[])
        .iter()
        .filter_map(|alert| {
            let op = alert["matched"]["op"].as_str().filter(|op| op.starts_with("blind:"))?;
            let known = WORKLOADS.iter().any(|workload| workload.may_say == Some(op));
            (!known).then(|| format!("{op}: {} {}", alert["actor"]["proc"], alert["object"]))
        })
        .collect();
    eprintln!("scope {scope}: {} ordinary workloads, {seconds} s each, {} false alarms", WORKLOADS.len(), said.len());
    assert!(broken.is_empty() && said.is_empty(), "broken: {broken:#?}\nsaid of honest work: {said:#?}");
}

/// What is cloned: a megabyte that does not compress.
fn repository(world: &World) {
    let place = world.path("repo");
    let git = |words: &[&str]| {
        let done = Command::new("git").arg("-C").arg(&place).args(words).env("GIT_CONFIG_GLOBAL", "/dev/null").output();
        let done = done.expect("git is installed");
        assert!(done.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&done.stderr));
    };
    fs::create_dir_all(&place).expect("the scratch folder is writable");
    git(&["init", "-q"]);
    let noise: Vec<u8> = (0..1_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(place.join("file"), noise).expect("the scratch folder is writable");
    git(&["add", "."]);
    git(&["-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "-m", "one"]);
    git(&["update-server-info"]);
}

#[test]
#[ignore = "needs root, and minutes: cargo xtask evasions --only-ordinary"]
fn ordinary_work_is_no_blind_spot() {
    let scope = std::env::var("AGENTWARD_SCOPE").ok();
    for wanted in ["all", "auto"].into_iter().filter(|wanted| scope.as_deref().is_none_or(|scope| scope == *wanted)) {
        check(wanted);
    }
}
