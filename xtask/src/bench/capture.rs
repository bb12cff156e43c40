//! What watching costs the watched: nginx under wrk, CPU time of the worker a request, rounds interleaved.
//!
//! Modes: nobody watches; agentward watches others; programs that do nothing stand where agentward's would; agentward watches nginx;
//! bpftrace copies 200 bytes of each message. A round runs each mode once; a ratio is that of one round, the table has medians. Then
//! nginx is loaded at half of its unwatched rate: everything must arrive.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::nginx::{Nginx, SIZES};
use super::{Beside, bpftrace, cpu_seconds, daemon, family_seconds, median, status, wait_for};
use crate::{build, setup, sh};

#[derive(clap::Args)]
pub struct Arguments {
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds a leg.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    None,
    /// Scope `match`, and nothing matches.
    Others,
    /// Scope `auto`, and nginx is no agent.
    Auto,
    Empty,
    Agentward,
    Bpftrace,
}

const MODES: [(Mode, &str); 6] = [
    (Mode::None, "nobody watches"),
    (Mode::Others, "agentward, watching others"),
    (Mode::Auto, "agentward, looking for agents"),
    (Mode::Empty, "empty programs at the same sites"),
    (Mode::Agentward, "agentward, watching nginx"),
    (Mode::Bpftrace, "bpftrace, 200 bytes a message"),
];

/// Both doors of the library, as bpftrace's users write it.
pub(super) const SCRIPT: &str = r#"
BEGIN { printf("ready\n"); }
uprobe:LIB:SSL_write { printf("%r\n", buf(arg1, 200)); }
uprobe:LIB:SSL_read { @buffer[tid] = arg1; }
uretprobe:LIB:SSL_read /@buffer[tid]/ { printf("%r\n", buf(@buffer[tid], 200)); delete(@buffer[tid]); }
"#;

#[derive(Clone, Copy)]
struct Leg {
    /// Microseconds of the worker's CPU a request.
    cost: f64,
    rate: f64,
    /// Microseconds of the watcher's CPU a request.
    beside: f64,
    /// Messages that the daemon got a wake-up.
    batch: f64,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let _alone = sh::alone("this measurement")?;
    setup::need(&[
        ("nginx", "nginx"),
        ("wrk", "wrk"),
        ("bpftrace", "bpftrace"),
        ("openssl", "openssl"),
        ("h2load", "nghttp2-client"),
        ("bpftool", "bpftool"),
    ])?;
    build::run()?;
    let folder = sh::target().join("bench-capture");
    fs::create_dir_all(&folder)?;
    let nginx = Nginx::start(&folder)?;
    let mut legs = vec![vec![Vec::new(); MODES.len()]; SIZES.len()];
    let mut left = 0;
    for round in 1..=arguments.rounds {
        eprintln!("round {round} of {}", arguments.rounds);
        for (number, (mode, _)) in MODES.iter().enumerate() {
            let beside = watcher(*mode, &folder, nginx.library.as_str())?;
            for (size, (_, bytes)) in SIZES.iter().enumerate() {
                legs[size][number].push(leg(&nginx, *mode, beside.as_ref(), &folder, *bytes, arguments.seconds)?);
            }
            if matches!(mode, Mode::Others | Mode::Auto) {
                left = left.max(nginx.breakpoints()?);
            }
            drop(beside);
        }
    }
    for ((name, _), legs) in SIZES.iter().zip(&legs) {
        table(name, legs);
    }
    println!("\nbreakpoints in an nginx that nobody watches: {left}");
    for ((name, bytes), legs) in SIZES.iter().zip(&legs) {
        let saturation = median(legs[0].iter().map(|leg| leg.rate).collect());
        half(&nginx, &folder, name, *bytes, saturation / 2.0, arguments.seconds)?;
    }
    traps(&nginx, &folder)
}

fn leg(nginx: &Nginx, mode: Mode, beside: Option<&Beside>, folder: &Path, bytes: usize, seconds: u32) -> Result<Leg> {
    let ours = mode == Mode::Agentward;
    let numbers = || if ours { status(folder).map(Some) } else { Ok(None) };
    let watcher = || beside.map_or(Ok(0.0), |beside| family_seconds(beside.pid()));
    let (before, spent_before, watched_before) = (numbers()?, cpu_seconds(nginx.worker)?, watcher()?);
    let (requests, rate) = nginx.saturate(bytes, seconds)?;
    let (after, spent, watched) = (numbers()?, cpu_seconds(nginx.worker)?, watcher()?);
    let batch = match (before, after) {
        (Some(before), Some(after)) => after.grown(&before, "delivered") / after.grown(&before, "wakeups"),
        _ => f64::NAN,
    };
    let each = |seconds: f64| seconds * 1e6 / requests;
    Ok(Leg { cost: each(spent - spent_before), rate, beside: each(watched - watched_before), batch })
}

/// The whole daemon at half of the rate that nginx reaches unwatched: what was made and what was seen.
fn half(nginx: &Nginx, folder: &Path, name: &str, bytes: usize, rate: f64, seconds: u32) -> Result<()> {
    let beside = watcher(Mode::Agentward, folder, &nginx.library)?;
    let before = status(folder)?;
    let made = nginx.pace(bytes, rate, seconds * 2)?;
    // What h2load had under way when its time was over was answered, too.
    let after = wait_for("the last exchange", || {
        let now = status(folder).ok()?;
        (now.grown(&before, "exchanges") >= made as f64).then_some(now)
    })?;
    let grown = |name| after.grown(&before, name);
    let lost = ["ring_full", "read_fault", "truncated", "events_lost"].map(grown).iter().sum::<f64>();
    println!(
        "{name} at half of the unwatched rate, {:.0} requests/s: {made} made, {:.0} exchanges seen, {:.0} incomplete, {lost:.0} records lost, \
         {:.1} messages a wake-up",
        made as f64 / f64::from(seconds * 2),
        grown("exchanges"),
        grown("incomplete"),
        grown("delivered") / grown("wakeups"),
    );
    drop(beside);
    Ok(())
}

/// How often the kernel ran a probe for each message, and how long: counted by it, not by us.
fn traps(nginx: &Nginx, folder: &Path) -> Result<()> {
    const STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";
    let old = fs::read_to_string(STATISTICS)?;
    fs::write(STATISTICS, "1")?;
    let counted = (|| {
        let beside = watcher(Mode::Agentward, folder, &nginx.library)?.context("it was started")?;
        // The load client has the library, too: its hits end with the machine-wide probes.
        nginx.pace(1 << 10, 2000.0, 2)?;
        let before = Runs::read()?;
        let made = nginx.pace(1 << 10, 1000.0, 3)? as f64;
        let after = Runs::read()?;
        let [writes, enters, returns] =
            ["tls_write_enter", "tls_read_enter", "tls_read_return"].map(|name| after.grown(&before, name));
        println!(
            "probes run by the kernel for {made:.0} exchanges: {:.2} a write ({:.0} ns each); {:.2} a read ({:.0} and {:.0} ns), {:.2} reads an exchange",
            writes.0 / made,
            writes.1 / writes.0,
            (enters.0 + returns.0) / enters.0,
            enters.1 / enters.0,
            returns.1 / returns.0,
            enters.0 / made,
        );
        drop(beside);
        ensure!(writes.0 > 0.0, "no probe ran");
        Ok(())
    })();
    fs::write(STATISTICS, old)?;
    counted
}

/// What the kernel counted of the loaded programs.
struct Runs(String);

impl Runs {
    fn read() -> Result<Runs> {
        Ok(Runs(sh::output(Command::new("bpftool").args(["prog", "show"]))?))
    }

    /// Runs and nanoseconds of the programs whose name begins so; the kernel keeps fifteen letters of it.
    fn of(&self, name: &str) -> (f64, f64) {
        let field = |line: &str, name: &str| {
            line.split_once(name).and_then(|(_, rest)| rest.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0)
        };
        let ours = self.0.lines().filter(|line| line.contains(&format!(" name {name}")));
        ours.fold((0.0, 0.0), |(runs, time), line| (runs + field(line, "run_cnt "), time + field(line, "run_time_ns ")))
    }

    fn grown(&self, before: &Runs, name: &str) -> (f64, f64) {
        let ((runs, time), (runs_before, time_before)) = (self.of(name), before.of(name));
        (runs - runs_before, time - time_before)
    }
}

fn watcher(mode: Mode, folder: &Path, library: &str) -> Result<Option<Beside>> {
    let selected = |exe: &str, more: &str| daemon(folder, &format!("scope = \"match\"\n[match]\nexe = [\"{exe}\"]\n{more}"));
    Ok(match mode {
        Mode::None => None,
        Mode::Others => Some(selected("/nobody/runs/this", "")?),
        Mode::Auto => Some(daemon(folder, "scope = \"auto\"\n")?),
        Mode::Empty => Some(selected("*/nginx", "[capture]\nempty = true\n")?),
        Mode::Agentward => Some(selected("*/nginx", "")?),
        Mode::Bpftrace => {
            let script = folder.join("copy.bt");
            fs::write(&script, SCRIPT.replace("LIB", library))?;
            Some(bpftrace(&script, &folder.join("copy.out"))?)
        }
    })
}

fn table(name: &str, legs: &[Vec<Leg>]) {
    println!(
        "\n{name}: worker CPU a request, requests a second at saturation, CPU of the watcher a request; medians, ratios to the same \
         round's unwatched leg with the lowest and highest"
    );
    println!("{:32} {:>8} {:>9} {:>18} {:>11} {:>18} {:>8}", "", "µs", "added", "ratio", "requests/s", "kept", "watcher");
    let unwatched = &legs[0];
    let against = |of_mode: &[Leg], value: fn(&Leg, &Leg) -> f64| -> Vec<f64> {
        of_mode.iter().zip(unwatched).map(|(leg, base)| value(leg, base)).collect()
    };
    for ((_, label), of_mode) in MODES.iter().zip(legs) {
        let of = |value: fn(&Leg, &Leg) -> f64| median(against(of_mode, value));
        let range = |value: fn(&Leg, &Leg) -> f64| {
            let mut all = against(of_mode, value);
            all.sort_by(f64::total_cmp);
            format!("{:.3} ({:.2}-{:.2})", median(all.clone()), all[0], all[all.len() - 1])
        };
        println!(
            "{label:32} {:8.2} {:9.2} {:>18} {:11.0} {:>18} {:8.2}",
            of(|leg, _| leg.cost),
            of(|leg, base| leg.cost - base.cost),
            range(|leg, base| leg.cost / base.cost),
            of(|leg, _| leg.rate),
            range(|leg, base| leg.rate / base.rate),
            of(|leg, _| leg.beside),
        );
    }
    let added: Vec<Vec<f64>> = legs.iter().map(|of_mode| against(of_mode, |leg, base| leg.cost - base.cost)).collect();
    let of = |mode: Mode| MODES.iter().position(|(other, _)| *other == mode).unwrap_or(0);
    let to =
        |one: Mode, other: Mode| median(added[of(one)].iter().zip(&added[of(other)]).map(|(one, other)| one / other).collect());
    println!(
        "added CPU of agentward: {:.3} of bpftrace's, {:.2} of the empty programs'; messages a wake-up: {:.0}",
        to(Mode::Agentward, Mode::Bpftrace),
        to(Mode::Agentward, Mode::Empty),
        median(legs[of(Mode::Agentward)].iter().map(|leg| leg.batch).collect()),
    );
}
