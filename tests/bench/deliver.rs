//! Delivery measured and tormented, without a kernel: alerts through the real journal, outbox, file sink and evidence log.
//!
//! `deliver rates FOLDER`: durable alerts a second with one sync a group, and with one sync an alert.
//! `deliver kills FOLDER ALERTS KILLS`: a worker that delivers is killed at random again and again, until every alert arrived; then what
//! the receiver and the evidence log hold is compared with what was sent. Exit code 1 when an alert is missing or changed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use agentward::deliver::codec::Codec;
use agentward::deliver::evidence::{Log, Verdict, Verifier, verify};
use agentward::deliver::journal::{Journal, Limits};
use agentward::deliver::outbox::{Entry, EntryKind, Outbox, Outlet};
use agentward::deliver::sink::{Filter, Plan, Target};

const USAGE: &str = "usage: deliver rates FOLDER | deliver kills FOLDER ALERTS KILLS";

/// Alerts that are under way at once: what the pipeline would hold back at most, far below the bound of the queue.
const UNDER_WAY: u64 = 4096;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse().expect(USAGE);
    match words[..] {
        ["rates", folder] => rates(Path::new(folder)),
        ["kills", folder, alerts, kills] => return torment(Path::new(folder), number(alerts), number(kills)),
        ["worker", folder, alerts] => work(Path::new(folder), number(alerts)),
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
        let outbox = Outbox::start(journal, &folder, Vec::new()).expect("starts");
        send(&outbox, 0, total, &outbox.counters.written);
        total as f64 / started.elapsed().as_secs_f64()
    };
    println!("one sync an alert: {single:.0} durable alerts/s");
    println!("one sync a group:  {grouped:.0} durable alerts/s, {:.0} times as many", grouped / single);
    println!("peak resident memory: {:.1} MiB", peak());
}

/// Sends the alerts and waits until the counter has seen them all.
fn send(outbox: &Outbox, from: u64, to: u64, done: &std::sync::atomic::AtomicU64) {
    let already = done.load(Ordering::Relaxed);
    let seen = || from + done.load(Ordering::Relaxed) - already;
    for number in from..to {
        while number >= seen() + UNDER_WAY {
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

/// Goes on from what is durable, as a source does that gives again what was not confirmed.
fn work(folder: &Path, total: u64) {
    let place = folder.join("journal");
    let journal = Journal::open(&place, Limits { total: 4 << 30, ..Limits::default() }).expect("opens after any kill");
    let from = journal.next().0;
    let log = Log::open(&folder.join("evidence"), "bench").expect("the log opens after any kill");
    let mut outbox = Outbox::start(journal, &place, vec![file_sink(folder), Outlet::evidence(log)]).expect("starts");
    let sink = outbox.sinks[0].1.clone();
    std::thread::spawn(move || {
        while sink.delivered.load(Ordering::Relaxed) == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        println!("delivered");
    });
    send(&outbox, from, total, &outbox.counters.written);
    let all = || outbox.sinks.iter().all(|(_, sink)| sink.queued.load(Ordering::Relaxed) == 0);
    let end = Instant::now() + Duration::from_secs(60);
    while !all() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    outbox.stop();
    println!("done");
}

fn torment(folder: &Path, total: u64, kills: u64) -> ExitCode {
    fresh(folder);
    let program = std::env::current_exe().expect("runs");
    let (mut killed, mut slowest) = (0_u64, Duration::ZERO);
    // Spread over the whole of the work, however fast this host is.
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
    let mut longest = Duration::from_millis(200);
    loop {
        let started = Instant::now();
        let mut child = Command::new(&program)
            .args(["worker".as_ref(), folder.as_os_str(), total.to_string().as_ref()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts itself");
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let (say, said) = std::sync::mpsc::channel();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| say.send((line, Instant::now())).unwrap_or(())));
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let life =
            if killed < kills { longest.mul_f64((dice >> 40) as f64 / (1_u64 << 24) as f64) } else { Duration::from_secs(300) };
        let mut finished = false;
        while let Ok((line, at)) = said.recv_timeout(life.saturating_sub(started.elapsed())) {
            match line.as_str() {
                "delivered" => slowest = slowest.max(at - started),
                _ => finished = line == "done",
            }
        }
        // Its end may come between; killing what has ended is no error.
        let _ = child.kill();
        child.wait().expect("was started");
        if !finished {
            killed += 1;
        } else if killed >= kills {
            break;
        } else {
            // Faster than the kills: the rest of them meets workers with nothing left to do, so they come sooner from now on.
            longest /= 2;
            if longest < Duration::from_millis(2) {
                break;
            }
        }
    }
    judge(folder, total, killed, slowest)
}

fn judge(folder: &Path, total: u64, killed: u64, slowest: Duration) -> ExitCode {
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
    println!(
        "{total} alerts, {killed} kills: {lost} lost, {twice} delivered more than once with their own uid, {broken} lines cut by a kill"
    );
    println!("slowest start to first delivery: {} ms", slowest.as_millis());
    println!("evidence log: {verdict:?}");
    if lost == 0 && verdict == Verdict::Holds(total) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// MiB, as the kernel counted.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
}
