//! `cargo xtask bench attach`: what a breakpoint costs at the address that is chosen for a function, beside the one at its entry.
//!
//! In: a name, a file that holds a TLS library, and a command that uses it. Out: nanoseconds of processor time for each hit, both ways,
//! over what the command takes without breakpoints, and how far its runs without breakpoints lie apart: what is below that is not told
//! from nothing, and no ratio is made of it. Nothing is read at them: the kernel's own events (`uprobe_events` of tracefs), which
//! count, are all that stands there. Rounds are interleaved and medians compared.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use agentward::probes::elf::Elf;
use agentward::probes::site::{HEAD, cheap_site};
use agentward::resolve::{Knowledge, Role, Stack, resolve};

const TRACING: &str = "/sys/kernel/tracing";
const GROUP: &str = "agentward_bench";
const ROUNDS: usize = 5;

/// Functions that carry plaintext, where they have names.
const NAMES: [&str; 7] =
    ["SSL_read", "SSL_read_ex", "SSL_write", "SSL_write_ex", "gnutls_record_recv", "gnutls_record_send2", "SSL_set_bio"];

/// A function, and offsets in the file: of its entry, and of the chosen instruction.
struct Place {
    function: String,
    entry: u64,
    chosen: u64,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [name, file, command @ ..] = words.as_slice() else {
        eprintln!("attach NAME FILE COMMAND...");
        return ExitCode::from(2);
    };
    match measure(name, Path::new(file), command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(name: &str, file: &Path, command: &[String]) -> io::Result<()> {
    let data = fs::read(file)?;
    let places = places(&data);
    if places.is_empty() {
        return Err(io::Error::other("no function was found in it"));
    }
    let events = Events::new()?;
    let mut taken: [Vec<(f64, u64)>; 3] = Default::default();
    run(command)?;
    for _ in 0..ROUNDS {
        for (way, taken) in taken.iter_mut().enumerate() {
            let at: Vec<u64> = match way {
                0 => Vec::new(),
                1 => places.iter().map(|place| place.entry).collect(),
                _ => places.iter().map(|place| place.chosen).collect(),
            };
            events.set(file, &at)?;
            let before = events.hits()?;
            let seconds = run(command)?;
            taken.push((seconds, events.hits()? - before));
            events.clear()?;
        }
    }
    let median = |way: usize| {
        let mut seconds: Vec<f64> = taken[way].iter().map(|(seconds, _)| *seconds).collect();
        seconds.sort_by(f64::total_cmp);
        seconds[seconds.len() / 2]
    };
    let hits = |way: usize| taken[way].iter().map(|(_, hits)| *hits).max().unwrap_or(0);
    let each = |seconds: f64, way: usize| seconds * 1e9 / hits(way).max(1) as f64;
    let [entry, chosen] = [1, 2].map(|way| each(median(way) - median(0), way));
    let bare = || taken[0].iter().map(|(seconds, _)| *seconds);
    let apart = each(bare().fold(0.0, f64::max) - bare().fold(f64::INFINITY, f64::min), 1);
    let ratio = if places.iter().all(|place| place.chosen == place.entry) {
        "the entry itself".to_owned()
    } else if entry <= apart {
        "lost in noise".to_owned()
    } else {
        format!("{}{:.2}", if chosen <= apart { "below " } else { "" }, chosen.max(apart) / entry)
    };
    println!("{name:22} {:>8} {entry:>8.0} {chosen:>8.0} {apart:>8.0} {ratio}", hits(2));
    for place in &places {
        println!(
            "    {} at {:#x}, chosen {:+}",
            place.function,
            place.entry,
            place.chosen.cast_signed() - place.entry.cast_signed()
        );
    }
    Ok(())
}

/// The functions of a file that carry plaintext.
fn places(data: &[u8]) -> Vec<Place> {
    let Some(elf) = Elf::read(data, |name| NAMES.contains(&name)) else { return Vec::new() };
    let place = |function: String, address: u64| {
        let chosen = cheap_site(elf.code(address, HEAD), address);
        Some(Place { function, entry: elf.file_offset(address)?, chosen: elf.file_offset(chosen)? })
    };
    let named: Vec<Place> = NAMES.iter().filter_map(|name| place((*name).to_owned(), elf.function(name)?)).collect();
    if !named.is_empty() {
        return named;
    }
    let report = resolve(data, &Knowledge::embedded()).unwrap_or_default();
    let found = report.found.iter().filter(|found| found.stack != Stack::AwsLc);
    let functions = found.flat_map(|found| &found.functions);
    functions
        .filter_map(|function| match function.role {
            Role::GoRead { .. } | Role::GoWrite | Role::GoClose => {
                let entry = elf.file_offset(function.address)?;
                Some(Place { function: format!("{:?}", function.role), entry, chosen: function.offset })
            }
            _ => place(format!("{:?}", function.role), function.address),
        })
        .collect()
}

/// Runs a command to its end; processor seconds that it took, of the system and its own.
fn run(command: &[String]) -> io::Result<f64> {
    let before = children()?;
    let status = Command::new(&command[0]).args(&command[1..]).stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    if !status.success() {
        return Err(io::Error::other(format!("{}: {status}", command.join(" "))));
    }
    Ok(children()? - before)
}

/// Processor time of ended children: fields 16 and 17 of `stat`, in hundredths of a second.
fn children() -> io::Result<f64> {
    let text = fs::read_to_string("/proc/self/stat")?;
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().skip(13).take(2);
    Ok(fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0)
}

/// Breakpoints of the kernel's own, in a trace of their own.
struct Events {
    instance: PathBuf,
}

impl Events {
    fn new() -> io::Result<Events> {
        let instance = Path::new(TRACING).join("instances").join(GROUP);
        if !instance.exists() {
            fs::create_dir(&instance)?;
        }
        let events = Events { instance };
        events.clear()?;
        Ok(events)
    }

    fn set(&self, file: &Path, offsets: &[u64]) -> io::Result<()> {
        for (number, offset) in offsets.iter().enumerate() {
            append(&format!("p:{GROUP}/at{number} {}:{offset:#x}", file.display()))?;
        }
        if offsets.is_empty() { Ok(()) } else { fs::write(self.instance.join(format!("events/{GROUP}/enable")), "1") }
    }

    /// Hits of all of them.
    fn hits(&self) -> io::Result<u64> {
        let profile = fs::read_to_string(Path::new(TRACING).join("uprobe_profile"))?;
        let own = profile.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        Ok(own
            .filter(|words| words.len() > 2 && words[1].starts_with("at"))
            .filter_map(|words| words[2].parse::<u64>().ok())
            .sum())
    }

    fn clear(&self) -> io::Result<()> {
        let enable = self.instance.join(format!("events/{GROUP}/enable"));
        if enable.exists() {
            fs::write(enable, "0")?;
            for line in fs::read_to_string(Path::new(TRACING).join("uprobe_events"))?.lines() {
                if let Some(event) =
                    line.split(' ').next().and_then(|event| event.strip_prefix("p:")).filter(|event| event.starts_with(GROUP))
                {
                    append(&format!("-:{event}"))?;
                }
            }
        }
        Ok(())
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        let _ = self.clear();
        let _ = fs::remove_dir(&self.instance);
    }
}

fn append(line: &str) -> io::Result<()> {
    use std::io::Write;
    let mut file = fs::OpenOptions::new().append(true).open(Path::new(TRACING).join("uprobe_events"))?;
    file.write_all(line.as_bytes())
}
