//! What the daemon takes of a host whose processors are all busy: time that watched programs would have had.
//!
//! In: its own processor time, and the host's idle time (proc(5), `/proc/stat`). Out: how many times its share it took.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// A host with less of its time left has no processor to spare.
const IDLE: f64 = 0.05;

/// `/proc/stat` counts in these on every Linux that we build for.
const TICK: f64 = 0.01;

pub(super) struct Share {
    /// Of all processors' time.
    part: f64,
    /// Opened before the process gives up what it may open. None where it is hidden: then the host counts as busy.
    stat: Option<File>,
    last: Look,
}

#[derive(Clone, Copy)]
struct Look {
    at: Instant,
    /// Seconds of this process on processors.
    own: f64,
    host: Option<Ticks>,
}

/// Sums over all processors.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ticks {
    idle: f64,
    all: f64,
}

impl Share {
    pub(super) fn open(part: f64, now: Instant) -> Share {
        let stat = File::open("/proc/stat").ok();
        let last = look(stat.as_ref(), now);
        Share { part, stat, last }
    }

    /// Of the time since the last look, when that is long enough: how many times its share the daemon took. 0 while a processor is idle.
    pub(super) fn taken(&mut self, now: Instant) -> Option<f64> {
        if now.duration_since(self.last.at) < LOOK {
            return None;
        }
        let before = std::mem::replace(&mut self.last, look(self.stat.as_ref(), now));
        let (own, passed) = (self.last.own - before.own, now.duration_since(before.at).as_secs_f64());
        let host = before
            .host
            .zip(self.last.host)
            .map(|(before, now)| Ticks { idle: now.idle - before.idle, all: now.all - before.all });
        Some(taken(own, passed, host) / self.part)
    }
}

/// The part of all processors' time that was taken from others.
fn taken(own: f64, passed: f64, host: Option<Ticks>) -> f64 {
    match host {
        Some(host) if host.idle > host.all * IDLE => 0.0,
        Some(host) if host.all > 0.0 => own / (host.all * TICK),
        _ => own / passed,
    }
}

fn look(stat: Option<&File>, at: Instant) -> Look {
    let own = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Look { at, own: own.tv_sec as f64 + own.tv_nsec as f64 / 1e9, host: stat.and_then(read) }
}

fn read(stat: &File) -> Option<Ticks> {
    // The first line has ten numbers of at most twenty digits.
    let mut line = [0; 256];
    let length = stat.read_at(&mut line, 0).ok()?;
    ticks(std::str::from_utf8(&line[..length]).ok()?)
}

/// `cpu  user nice system idle iowait irq softirq steal …`; what guests use stands in `user` already.
fn ticks(stat: &str) -> Option<Ticks> {
    let numbers = stat.lines().next()?.strip_prefix("cpu ")?;
    let numbers: Vec<f64> = numbers.split_ascii_whitespace().take(8).map_while(|number| number.parse().ok()).collect();
    Some(Ticks { idle: numbers.get(3)? + numbers.get(4)?, all: numbers.iter().sum() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_what_all_processors_did() {
        let ticks = ticks("cpu  10 1 20 300 40 5 6 7 2 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n");
        assert_eq!(ticks, Some(Ticks { idle: 340.0, all: 389.0 }));
        for odd in ["", "cpu0 1 2 3 4 5", "cpu  1 2 3", "intr 1 2 3 4 5 6"] {
            assert_eq!(super::ticks(odd), None, "{odd}");
        }
    }

    #[test]
    fn only_time_that_nobody_has_to_spare_is_taken() {
        let host = |idle, all| Some(Ticks { idle, all });
        // Two processors for half a second.
        assert_eq!(taken(0.25, 0.5, host(0.0, 100.0)), 0.25);
        assert_eq!(taken(0.25, 0.5, host(5.0, 100.0)), 0.25);
        assert_eq!(taken(0.25, 0.5, host(6.0, 100.0)), 0.0);
        assert_eq!(taken(0.25, 0.5, None), 0.5, "where the host cannot be seen");
        assert_eq!(taken(0.25, 0.5, host(0.0, 0.0)), 0.5, "before its clock ticked");
    }
}
