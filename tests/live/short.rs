//! Processes that live for some milliseconds, each with one call, under process numbers that come again: every call is captured, and put
//! down to the right program, arguments, control group and parent.
//!
//! Oracle: what the server was asked, and the launcher, that says who it is and which program makes the call of which number.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use agent_tests::peers::{World, packages};
use agent_tests::program::Daemon;
use agent_tests::{json_lines, wait_for};
use serde_json::Value;

/// How many; `AGENTWARD_COUNT` says otherwise.
const COUNT: usize = 600;

/// Process numbers in the launcher's namespace, and the first of those outside.
const NUMBERS: usize = 500;
const FIRST: usize = 31_000;

/// Copies of one program, that differ in name and inode alone.
const PROGRAMS: usize = 4;

/// A control group of the unified hierarchy; removed with this.
struct Group {
    folder: PathBuf,
    name: String,
}

impl Group {
    /// `None` where that hierarchy is not mounted.
    fn new() -> Option<Group> {
        let mounts = fs::read_to_string("/proc/mounts").expect("Linux");
        let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"))?.split(' ').nth(1)?.to_owned();
        let name = format!("/agentward-short-{}", std::process::id());
        let folder = PathBuf::from(format!("{mount}{name}"));
        fs::create_dir(&folder).ok()?;
        Some(Group { folder, name })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}

/// The other end; it ends with this.
struct Server {
    child: Child,
    door: Option<ChildStdin>,
    asked: PathBuf,
}

impl Server {
    fn start(world: &World) -> (Server, String) {
        let asked = world.path("asked");
        let mut command = Command::new(packages().join("short/short"));
        command.arg("serve").arg(world.folder()).stdin(Stdio::piped());
        command.stdout(fs::File::create(&asked).expect("the scratch folder is writable"));
        let mut child = command.spawn().expect("`cargo xtask test` prepares it");
        let door = child.stdin.take();
        let port = wait_for("the server's port", || {
            fs::read_to_string(world.path("short_port")).ok().filter(|port| port.parse::<u16>().is_ok())
        });
        (Server { child, door, asked }, port)
    }

    /// Numbers of the calls that it was asked.
    fn asked(&self) -> Vec<usize> {
        let text = fs::read_to_string(&self.asked).expect("it writes there");
        text.lines().filter_map(number).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.door.take());
        let _ = self.child.wait();
    }
}

fn number(line: &str) -> Option<usize> {
    line.strip_prefix("GET /short/")?.split(' ').next()?.parse().ok()
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn short_processes_are_captured_and_nobody_else_is_meant() {
    let count = std::env::var("AGENTWARD_COUNT").ok().and_then(|count| count.parse().ok()).unwrap_or(COUNT);
    let world = World::start("short");
    let (server, port) = Server::start(&world);
    let programs: Vec<PathBuf> = (0..PROGRAMS).map(|at| world.path(&format!("short-{at}"))).collect();
    for program in &programs {
        fs::copy(packages().join("short/short"), program).expect("the scratch folder is writable");
    }
    let config = world.path("agentward.toml");
    let text = format!("[match]\nexe = [\"{}/short-*\"]\n[capture]\nprograms = {programs:?}\n", world.folder().display());
    fs::write(&config, text).expect("the scratch folder is writable");
    let file = world.path("recording.jsonl");
    let name = |path: &PathBuf| path.to_str().expect("plain name").to_owned();
    let daemon = Daemon::start(&["record", "-o", &name(&file), "--scope", "match", "--config", &name(&config)]);

    let group = Group::new();
    let mut launcher = Command::new("sh");
    let join = group.as_ref().map_or("true".into(), |group| format!("echo $$ > {}/cgroup.procs", group.folder.display()));
    launcher.args(["-c", &format!("{join} && exec \"$@\""), "sh"]).arg(&programs[0]).arg("launch");
    launcher
        .args([count.to_string(), NUMBERS.to_string(), FIRST.to_string()])
        .arg(&port)
        .arg(world.path("ca.pem"))
        .args(&programs);
    let mut launcher = launcher.stdout(Stdio::piped()).spawn().expect("a shell");
    let lines: Vec<String> =
        BufReader::new(launcher.stdout.take().expect("stdout is piped")).lines().map_while(Result::ok).collect();
    assert!(launcher.wait().expect("it is our child").success(), "a process made no call");
    daemon.stop();

    let parent: u64 = lines[0].strip_prefix("launcher ").and_then(|pid| pid.parse().ok()).expect("it says so first");
    let mut lives: Vec<u64> = lines.iter().filter_map(|line| line.rsplit_once(' ')?.1.parse().ok()).skip(1).collect();
    lives.sort_unstable();
    let asked = server.asked();
    assert_eq!((asked.len(), lives.len()), (count, count), "calls made");

    let records = json_lines(&fs::read_to_string(&file).expect("the recorder wrote it"));
    let mut people: HashMap<u64, &Value> = HashMap::new();
    let (mut seen, mut wrong) = (vec![0_usize; count], Vec::new());
    for record in &records {
        let pid = record["pid"].as_u64().unwrap_or(0);
        match record["kind"].as_str() {
            Some("exec") => drop(people.insert(pid, record)),
            Some("chunk") if record["dir"] == "out" => {
                let Some(call) = record["text"].as_str().and_then(number) else { continue };
                seen[call] += 1;
                let program = name(&programs[call % PROGRAMS]);
                let argv = [&program, "ask", &port, &name(&world.path("ca.pem")), &call.to_string()].map(str::to_owned);
                let who = people.get(&pid);
                let right = who.is_some_and(|who| {
                    who["exe"] == program.as_str()
                        && who["argv"] == Value::from(argv.to_vec())
                        && who["ppid"] == parent
                        && group.as_ref().is_none_or(|group| who["cgroup"] == group.name.as_str())
                });
                if !right {
                    wrong.push(format!("call {call} of {pid}, child of {parent}: {who:?}"));
                }
            }
            _ => {}
        }
    }
    let captured = seen.iter().filter(|times| **times == 1).count();
    let numbers = people.keys().filter(|pid| **pid >= FIRST as u64).count();
    let at = |part: usize| lives[(lives.len() - 1) * part / 100] as f64 / 1000.0;
    eprintln!(
        "{count} processes under {numbers} numbers, living {:.1} ms (p50), {:.1} ms (p99): {captured} calls captured, {} put down to another",
        at(50),
        at(99),
        wrong.len()
    );
    let missed: Vec<usize> = (0..count).filter(|call| seen[*call] != 1).take(20).collect();
    assert!(wrong.is_empty() && captured == count, "missed or twice: {missed:?}\nwrong: {:#?}", &wrong[..wrong.len().min(5)]);
    drop(server);
}
