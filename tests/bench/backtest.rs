//! `cargo xtask bench backtest`: the built-in rules over a large recording, as an operator would try them: time, rate and memory.
//!
//! The recording is made first: workflows of agents in eight uses, each of another seed and process. `--megabytes N` (1000), `--keep`.

use std::fs;
use std::io::{BufWriter, Cursor};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use agent_tests::program::binary;
use agent_tests::scenes::runs;
use agentward::base::{ConnId, Timestamp};
use agentward::capture::recording::{Encoding, Reader, Writer};
use agentward::capture::{Observation, Seen};

/// From the start of one workflow to that of the next.
const APART: Duration = Duration::from_millis(700);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wanted = arguments.iter().position(|word| word == "--megabytes").and_then(|at| arguments.get(at + 1));
    let megabytes: u64 = wanted.map_or(1000, |text| text.parse().expect("a number"));
    let folder = std::env::temp_dir().join(format!("agentward-backtest-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("the folder for temporary files is writable");
    let file = folder.join("recording.awr");
    let workflows = record(&file, megabytes << 20);
    let bytes = fs::metadata(&file).expect("just written").len();
    println!("{workflows} workflows, {:.0} MB", bytes as f64 / 1e6);
    backtest(&file, bytes);
    if arguments.iter().any(|word| word == "--keep") {
        println!("kept: {}", file.display());
    } else {
        fs::remove_dir_all(&folder).expect("it is ours");
    }
}

/// Gives how many workflows it holds.
fn record(file: &Path, bytes: u64) -> u32 {
    let out = fs::File::create(file).expect("the folder is ours");
    let mut writer = Writer::new(BufWriter::new(out), Encoding::Awr, "bench").expect("the disk has room");
    let mut start = Timestamp(1_790_000_000_000_000_000);
    let mut number = 0;
    for seed in 1_000.. {
        for run in runs(seed, 8) {
            number += 1;
            start = start.plus(APART);
            let mut reader = Reader::new(Cursor::new(run.recording.as_bytes()), false).expect("a recording");
            let mut first = None;
            let mut last = None;
            while let Some(mut observation) = reader.next_observation().expect("a record") {
                let first = *first.get_or_insert(observation.ts);
                let pid = 1000 + number % 30_000;
                moved(&mut observation, start, first, pid, number);
                writer.write(&observation).expect("the disk has room");
                last = Some((observation.ts, pid));
            }
            if let Some((ts, pid)) = last {
                writer.write(&Observation { ts, what: Seen::Exit { pid, code: Some(0) } }).expect("the disk has room");
            }
        }
        writer.flush().expect("the disk has room");
        if fs::metadata(file).expect("just written").len() >= bytes {
            break;
        }
    }
    number
}

/// The same at another time, in another process, on connections of its own.
fn moved(observation: &mut Observation, start: Timestamp, first: Timestamp, process: u32, number: u32) {
    observation.ts = start.plus(observation.ts.since(first));
    let rename = |conn: &mut ConnId| *conn = ConnId(format!("{number}-{}", conn.0).into());
    match &mut observation.what {
        Seen::Exec(exec) => {
            exec.pid = process;
            exec.start = Some(observation.ts.0);
        }
        Seen::Chunk(chunk) => {
            (chunk.pid, chunk.tid) = (process, Some(process));
            rename(&mut chunk.conn);
        }
        Seen::Close { pid, conn } => {
            *pid = process;
            rename(conn);
        }
        Seen::Exit { pid, .. } | Seen::Fork { pid, .. } => *pid = process,
        Seen::Socket(socket) => {
            socket.pid = process;
            socket.conn.iter_mut().for_each(rename);
        }
        Seen::File(file) => file.pid = process,
        Seen::Loss(_) => {}
    }
}

fn backtest(file: &Path, bytes: u64) {
    let program = binary();
    let started = Instant::now();
    let child =
        Command::new(&program).args(["rules", "backtest", "--on"]).arg(file).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{}: {error}; build it with `cargo xtask build`", program.display()));
    let mut resident = Vec::new();
    while child.try_wait().expect("it is our child").is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        resident.extend(line);
        std::thread::sleep(Duration::from_millis(200));
    }
    let spent = started.elapsed().as_secs_f64();
    let done = child.wait_with_output().expect("it is our child");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}");
    println!("{}", said.lines().last().unwrap_or_default());
    let at =
        |share: f64| resident.get((resident.len() as f64 * share) as usize).map_or(0.0, |kilobytes| *kilobytes as f64 / 1024.0);
    println!("{spent:.1} s, {:.1} MB/s", bytes as f64 / 1e6 / spent);
    println!(
        "resident: {:.0} MiB after a tenth, {:.0} after a half, {:.0} at the end, {:.0} at most",
        at(0.1),
        at(0.5),
        at(0.99),
        resident.iter().copied().max().unwrap_or(0) as f64 / 1024.0
    );
}
