//! `cargo xtask bench rounds`: attaches to processes and detaches again, in turn. rounds COUNT PID...

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use agentward::probes::Rounds;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).filter_map(|word| word.parse::<u32>().ok());
    let (count, pids) = (words.next().unwrap_or(0), words.collect::<Vec<u32>>());
    let fault = |text: String| {
        eprintln!("{text}");
        ExitCode::FAILURE
    };
    let mut rounds = match Rounds::start(&pids) {
        Ok(rounds) => rounds,
        Err(error) => return fault(error.to_string()),
    };
    let started = Instant::now();
    for (number, pid) in (0..count).zip(pids.iter().cycle()) {
        match rounds.round(*pid) {
            Err(error) => return fault(format!("round {number}, {pid}: {error}")),
            Ok(false) => return fault(format!("round {number}, {pid}: nothing to attach to")),
            Ok(true) => {}
        }
        if !PathBuf::from(format!("/proc/{pid}/exe")).exists() {
            return fault(format!("round {number}: {pid} has ended"));
        }
    }
    println!("{count} rounds of attaching and detaching in {} s", started.elapsed().as_secs());
    ExitCode::SUCCESS
}
