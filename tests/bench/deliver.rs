//! Delivery measured and tormented, without a kernel: alerts through the real journal, outbox, file sink and evidence log.
//!
//! `deliver rates FOLDER`: durable alerts a second with one sync a group, and with one sync an alert.
//! `deliver kills FOLDER ALERTS KILLS`: a worker that delivers is killed at random, each time with a part of the alerts before it; then what
//! the receiver and the evidence log hold is compared with what was sent.
//! `deliver faults FOLDER ALERTS`: system calls of a worker fail at the disk (strace injects the errors) while it delivers.
//! Exit code 1 when an alert is missing or changed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use agentward::deliver::codec::Codec;
use agentward::deliver::evidence::{Log, Verdict, Verifier, verify};
use agentward::deliver::journal::{Journal, Limits};
use agentward::deliver::outbox::{Entry, EntryKind, Outbox, Outlet};
use agentward::deliver::sink::{Filter, Plan, Target};

const USAGE: &str = "usage: deliver rates FOLDER | deliver kills FOLDER ALERTS KILLS | deliver faults FOLDER ALERTS";

/// Alerts that are under way at once: what the pipeline would hold back at most, far below the bound of the queue.
const UNDER_WAY: u64 = 4096;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse().expect(USAGE);
    match words[..] {
        ["rates", folder] => rates(Path::new(folder)),
        ["kills", folder, alerts, kills] => return torment(Path::new(folder), number(alerts), number(kills)),
        ["faults", folder, alerts] => return spoil(Path::new(folder), number(alerts)),
        ["worker", folder, alerts, limit] => work(Path::new(folder), number(alerts), number(limit), UNDER_WAY),
        // Each alert a group of its own: as many calls that can fail as there may be.
        ["single", folder, alerts] => work(Path::new(folder), number(alerts), number(alerts), 1),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// About as long as real ones.
fn alert(number: u64) -> Entry {
    let uid = format!("u{number}");
    let json = format!(
        "{{\"uid\":\"{uid}\",\"time\":{number},\"rule\":{{\"id\":\"core.bench\",\"title\":\"A measured alert\"}},\"severity\":\"high\",\
         \"proof\":\"served\",\"count\":1,\"workflow\":\"w{}\",\"matched\":{{\"arg\":\"{}\"}}}}",
        number % 100,
        "x".repeat(700)
    );
    Entry { kind: EntryKind::Alert, time: number, uid, revision: 0, json }
}

fn fresh(folder: &Path) -> PathBuf {
    // A folder of an earlier run; the first run has none.
    let _ = std::fs::remove_dir_all(folder);
    folder.join("journal")
}

fn rates(folder: &Path) {
    let single = {
        let mut journal = Journal::open(&fresh(folder), Limits::default()).expect("opens a fresh journal");
        let bytes = rmp_serde::to_vec_named(&alert(0)).expect("serialises");
        let started = Instant::now();
        let mut count = 0_u32;
        while count < 200 || started.elapsed() < Duration::from_secs(2) {
            journal.append(&bytes).and_then(|_| journal.sync()).expect("the disk works");
            count += 1;
        }
        f64::from(count) / started.elapsed().as_secs_f64()
    };
    let (total, started) = (100_000_u64, Instant::now());
    let grouped = {
        let folder = fresh(folder);
        let journal = Journal::open(&folder, Limits::default()).expect("opens a fresh journal");
        let outbox = Outbox::start(journal, &folder, Vec::new(), None).expect("starts");
        send(&outbox, 0, total, UNDER_WAY, &outbox.counters.written);
        total as f64 / started.elapsed().as_secs_f64()
    };
    println!("one sync an alert: {single:.0} durable alerts/s");
    println!("one sync a group:  {grouped:.0} durable alerts/s, {:.0} times as many", grouped / single);
    println!("peak resident memory: {:.1} MiB", peak());
}

/// Sends the alerts and waits until the counter has seen them all.
fn send(outbox: &Outbox, from: u64, to: u64, under_way: u64, done: &std::sync::atomic::AtomicU64) {
    let already = done.load(Ordering::Relaxed);
    let seen = || from + done.load(Ordering::Relaxed) - already;
    for number in from..to {
        while number >= seen() + under_way {
            std::thread::yield_now();
        }
        outbox.send(alert(number));
    }
    while seen() < to {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn file_sink(folder: &Path) -> Outlet {
    let target = Target::File { path: folder.join("received.jsonl"), rotate: None };
    let plan = Plan { name: "file".into(), codec: Codec::Native, filter: Filter::default(), batch: 256, target };
    Outlet::new(&plan, "bench").expect("the sink's file opens")
}

/// Goes on from what is durable, as a source does that gives again what was not confirmed. One whose limit is less than all waits for its
/// end then.
fn work(folder: &Path, total: u64, limit: u64, under_way: u64) {
    let place = folder.join("journal");
    let journal = Journal::open(&place, Limits { total: 4 << 30, ..Limits::default() }).expect("opens after any kill");
    let from = journal.next().0;
    let log = Log::open(&folder.join("evidence"), "bench").expect("the log opens after any kill");
    let mut outbox = Outbox::start(journal, &place, vec![file_sink(folder), Outlet::evidence(log)], None).expect("starts");
    say("works");
    let sink = outbox.sinks.counters[0].1.clone();
    std::thread::spawn(move || {
        while sink.delivered.load(Ordering::Relaxed) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        say("delivered");
    });
    send(&outbox, from, limit, under_way, &outbox.counters.written);
    if limit < total {
        std::thread::sleep(Duration::from_secs(600));
    }
    let all = || outbox.sinks.counters.iter().all(|(_, sink)| sink.queued.load(Ordering::Relaxed) == 0);
    let end = Instant::now() + Duration::from_secs(240);
    while !all() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    outbox.stop();
    say("done");
}

/// Where writing may fail, too.
fn say(word: &str) {
    while writeln!(std::io::stdout().lock(), "{word}").is_err() {}
}

fn torment(folder: &Path, total: u64, kills: u64) -> ExitCode {
    /// From the start of work; one worker in eight dies before that. One that is through with its part of the alerts waits for its end.
    const LONGEST: Duration = Duration::from_millis(40);
    fresh(folder);
    let program = std::env::current_exe().expect("runs");
    let (mut killed, mut first) = (0_u64, Vec::new());
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
    loop {
        let started = Instant::now();
        // What a worker did not send in its life is left to the next ones.
        let limit = total * (killed + 1).min(kills + 1) / (kills + 1);
        let mut child = Command::new(&program)
            .args(["worker".as_ref(), folder.as_os_str(), total.to_string().as_ref(), limit.to_string().as_ref()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts itself");
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let (say, said) = std::sync::mpsc::channel();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| say.send((line, Instant::now())).unwrap_or(())));
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let part = LONGEST.mul_f64((dice >> 40) as f64 / (1_u64 << 24) as f64);
        let forever = Duration::from_secs(300);
        let mut end = started + if killed < kills && (dice >> 30).is_multiple_of(8) { part } else { forever };
        let mut finished = false;
        while let Ok((line, at)) = said.recv_timeout(end.saturating_duration_since(Instant::now())) {
            match line.as_str() {
                "works" if killed < kills => end = end.min(at + part),
                "works" => {}
                "delivered" => first.push(at - started),
                _ => finished = line == "done",
            }
        }
        // Its end may come between; killing what has ended is no error.
        let _ = child.kill();
        child.wait().expect("was started");
        if finished {
            break;
        }
        killed += 1;
        if killed > kills + 3 {
            println!("a worker does not come to its end");
            return ExitCode::FAILURE;
        }
    }
    let slowest = first.iter().copied().max().unwrap_or_default();
    println!("start to first delivery: {} of {} workers, slowest {} ms", first.len(), killed + 1, slowest.as_millis());
    println!("{killed} kills");
    judge(folder, total)
}

/// Calls that reach the disk, the error, the first that fails and how many then pass between two.
const FAULTS: [(&str, &str, u32, u32); 6] = [
    ("fdatasync", "EIO", 5, 7),
    ("write", "ENOSPC", 30, 1501),
    ("ftruncate", "EIO", 1, 3),
    ("rename", "EIO", 12, 5),
    ("openat", "EMFILE", 90, 11),
    ("unlink", "EIO", 1, 2),
];

/// Faults that are wanted at least.
const WANTED_FAULTS: usize = 200;

fn spoil(folder: &Path, total: u64) -> ExitCode {
    fresh(folder);
    std::fs::create_dir_all(folder).expect("the folder can be made");
    let log = folder.join("strace");
    let mut strace = Command::new("strace");
    // Under cargo it names so many folders that looking for libraries would use up the files that may be opened before the first fault.
    strace.env_remove("LD_LIBRARY_PATH");
    strace.args(["-f", "-qq", "--seccomp-bpf", "-o"]).arg(&log);
    for (call, error, first, step) in FAULTS {
        strace.args(["-e", &format!("inject={call}:error={error}:when={first}+{step}")]);
    }
    let calls: Vec<&str> = FAULTS.iter().map(|(call, ..)| *call).collect();
    strace.args(["-e", &format!("trace={}", calls.join(","))]).arg(std::env::current_exe().expect("runs"));
    strace.args(["single".as_ref(), folder.as_os_str(), total.to_string().as_ref()]);
    let started = Instant::now();
    let done = strace.stdout(Stdio::piped()).stderr(Stdio::piped()).output().expect("strace is installed");
    let elapsed = started.elapsed();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let panics = String::from_utf8_lossy(&done.stderr).matches("panicked").count();
    let met = std::fs::read_to_string(&log).expect("strace wrote it").matches("(INJECTED)").count();
    println!(
        "{met} faults of {} in {:.1} s, {panics} panics, came to its end: {}",
        calls.join(", "),
        elapsed.as_secs_f64(),
        said.contains("done")
    );
    // What a sink had not taken at the end waits in the journal.
    let rest = Command::new(std::env::current_exe().expect("runs"))
        .args(["single".as_ref(), folder.as_os_str(), total.to_string().as_ref()])
        .status();
    assert!(rest.is_ok_and(|status| status.success()), "a worker without faults ends well");
    let verdict = judge(folder, total);
    if met >= WANTED_FAULTS && panics == 0 && said.contains("done") { verdict } else { ExitCode::FAILURE }
}

fn judge(folder: &Path, total: u64) -> ExitCode {
    let received = std::fs::read_to_string(folder.join("received.jsonl")).expect("was written");
    let mut times: BTreeMap<u64, u32> = BTreeMap::new();
    let mut broken = 0_u64;
    for line in received.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        let number = value["uid"].as_str().and_then(|uid| uid.strip_prefix('u')).and_then(|number| number.parse().ok());
        match number {
            Some(number) => *times.entry(number).or_default() += 1,
            None => broken += 1,
        }
    }
    let lost = (0..total).filter(|number| !times.contains_key(number)).count();
    let twice = times.values().filter(|times| **times > 1).count();
    let log = folder.join("evidence");
    let key = std::fs::read_to_string(log.join("log.pub")).expect("was written");
    let verdict = verify(&log, &Verifier::parse(&key).expect("is a key"));
    println!("{total} alerts: {lost} lost, {twice} delivered more than once with their own uid, {broken} lines cut by a kill");
    println!("evidence log: {verdict:?}");
    if lost == 0 && verdict == Verdict::Holds(total) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// MiB, as the kernel counted.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
}
