//! What cannot be read is told: programs that hide from the probes, each in its own way, and ordinary ones that do not.
//!
//! Oracle: the programs themselves, which do nothing else than what they are here for.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agent_tests::load::Load;
use agent_tests::peers::{World, packages};
use agent_tests::program::{self, Daemon};
use agent_tests::{json_lines, wait_for};
use serde_json::Value;

/// How soon a blind spot must be an alert: part of the contract, so it is a bound here.
const SOON: Duration = Duration::from_secs(15);

/// A running program; it is ended with this.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Running {
        Running(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}; `cargo xtask test` prepares it")))
    }

    fn pid(&self) -> u64 {
        u64::from(self.0.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program and what is said of it.
struct Case {
    name: &'static str,
    start: fn(&World, u16) -> Command,
    op: Option<&'static str>,
}

const CASES: [Case; 4] = [
    Case { name: "TLS in Python", start: |world, _| world.python("blind/pure.py"), op: Some("blind:tls") },
    Case { name: "probes written over", start: |world, _| world.python("blind/rewrite.py"), op: Some("blind:probe_changed") },
    Case {
        name: "io_uring",
        start: |_, port| {
            let mut command = Command::new(packages().join("uring/client"));
            command.arg(port.to_string());
            command
        },
        op: Some("blind:io_uring"),
    },
    Case {
        name: "the same library, honestly",
        start: |world, _| {
            let mut command = world.python("blind/rewrite.py");
            command.arg("honest");
            command
        },
        op: None,
    },
];

/// Answers 4000 bytes to each 1000.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            while stream.read_exact(&mut [0; 1000]).and_then(|()| stream.write_all(&[7; 4000])).is_ok() {}
        }
    });
    port
}

fn alerts(world: &World) -> Vec<Value> {
    let text = std::fs::read_to_string(world.path("state/alerts.jsonl")).unwrap_or_default();
    // The last line may be under way.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    json_lines(whole).into_iter().filter(|alert| alert["rule"]["id"] == "core.blind").collect()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_cannot_be_read_is_an_alert_and_what_can_is_none() {
    let world = World::start("blind");
    let echo = echo();
    let config = world.path("agentward.toml");
    let folder = world.folder().display();
    std::fs::write(&config, format!("state_dir = \"{folder}/state\"\nsocket = \"{folder}/socket\"\n"))
        .expect("the scratch folder is writable");
    let config = config.to_str().expect("test files have plain names");
    let daemon = Daemon::start(&["run", "--config", config, "--scope", "all"]);
    let mut ordinary = Load::start(&world);
    ordinary.make(3, "small");
    let started = Instant::now();
    let programs: Vec<Running> = CASES
        .iter()
        .map(|case| {
            let mut command = (case.start)(&world, echo);
            Running::start({
                command.stdout(Stdio::piped());
                command
            })
        })
        .collect();
    let told = |pid: u64| alerts(&world).into_iter().filter(|alert| alert["actor"]["proc"]["pid"] == pid).collect::<Vec<_>>();
    for (case, program) in CASES.iter().zip(&programs) {
        let Some(op) = case.op else { continue };
        let alert = wait_for(case.name, || told(program.pid()).pop());
        assert!(started.elapsed() < SOON, "{}: told after {:?}", case.name, started.elapsed());
        assert_eq!(alert["matched"]["op"], op, "{}: {alert}", case.name);
        eprintln!("{}: {op}, {} ms after its start", case.name, started.elapsed().as_millis());
    }
    // Whoever is still honest when a whole round of the audit has passed stays unmentioned.
    ordinary.make(200, "mixed");
    std::thread::sleep(SOON.saturating_sub(started.elapsed()));
    for (case, program) in CASES.iter().zip(&programs) {
        assert_eq!(told(program.pid()).len(), usize::from(case.op.is_some()), "{}: {:?}", case.name, told(program.pid()));
    }
    assert_eq!(told(u64::from(ordinary.pid())), [] as [Value; 0]);
    let status = program::agentward(["status", "--config", config, "--format", "json"]);
    let status: Value = serde_json::from_slice(&status.stdout).expect("status is JSON");
    let blind = status["probes"]["blind"].as_array().expect("a list");
    for (case, program) in CASES.iter().zip(&programs).filter(|(case, _)| case.op.is_some()) {
        assert!(blind.iter().any(|spot| spot["pid"] == program.pid()), "{}: {blind:?}", case.name);
    }
    assert!(status["probes"]["audited"].as_u64() > Some(0), "the audit looks at something: {}", status["probes"]);
    drop(programs);
    daemon.stop();
}
