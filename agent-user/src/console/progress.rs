//! How far a long piece of work is: a bar with rate and time left on a terminal, a line now and then elsewhere, nothing when it is
//! done before anybody wonders.

use std::io::{IsTerminal, Read, Write};
use std::time::{Duration, Instant};

/// Work that takes no longer than this shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a bar moves, and how often a line is said.
const BAR: Duration = Duration::from_millis(200);
const LINE: Duration = Duration::from_secs(10);
/// Cells of the bar.
const CELLS: u64 = 24;

/// A reader that shows how much of it was read.
pub(super) struct Progress<R> {
    inner: R,
    what: String,
    total: u64,
    done: u64,
    begun: Instant,
    shown: Option<Instant>,
    terminal: bool,
}

impl<R: Read> Progress<R> {
    /// `prints`: the work writes on the terminal meanwhile, so a bar there would be in its way.
    pub(super) fn new(inner: R, what: &str, total: u64, prints: bool) -> Progress<R> {
        let terminal = std::io::stderr().is_terminal() && !(prints && std::io::stdout().is_terminal());
        Progress { inner, what: what.to_owned(), total, done: 0, begun: Instant::now(), shown: None, terminal }
    }

    fn moved(&mut self) {
        let pace = if self.terminal { BAR } else { LINE };
        let waited = self.shown.map_or(self.begun, |shown| shown);
        if waited.elapsed() < if self.shown.is_none() { pace.max(PATIENCE) } else { pace } {
            return;
        }
        self.shown = Some(Instant::now());
        let text = text(&self.what, self.done, self.total, self.begun.elapsed());
        // A terminal that went away must not end the work.
        let _ = if self.terminal {
            write!(std::io::stderr(), "\r\x1b[K{text}")
        } else {
            writeln!(std::io::stderr(), "agentward: {text}")
        };
    }
}

impl<R: Read> Read for Progress<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.done += read as u64;
        self.moved();
        Ok(read)
    }
}

impl<R> Drop for Progress<R> {
    fn drop(&mut self) {
        if self.terminal && self.shown.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// `night.awr [############------------]  50 %  120 MB/s  12 s left`.
fn text(what: &str, done: u64, total: u64, elapsed: Duration) -> String {
    // A file that grows meanwhile has no more than all of it read.
    let total = total.max(done).max(1);
    let filled = usize::try_from(done.saturating_mul(CELLS) / total).unwrap_or(0);
    let bar = format!("{}{}", "#".repeat(filled), "-".repeat(CELLS as usize - filled));
    let rate = done as f64 / elapsed.as_secs_f64().max(0.001);
    let left = if rate > 0.0 { ((total - done) as f64 / rate).ceil() as u64 } else { 0 };
    let left = if left >= 120 { format!("{} min", left.div_ceil(60)) } else { format!("{left} s") };
    format!("{what} [{bar}] {:>3} %  {:.1} MB/s  {left} left", done.saturating_mul(100) / total, rate / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_how_far_and_how_long() {
        for (done, total, seconds, expected) in [
            (0, 100, 1, "a.awr [------------------------]   0 %  0.0 MB/s  0 s left"),
            (50_000_000, 100_000_000, 5, "a.awr [############------------]  50 %  10.0 MB/s  5 s left"),
            (1_000_000, 1_000_000_000, 1, "a.awr [------------------------]   0 %  1.0 MB/s  17 min left"),
            (100, 100, 1, "a.awr [########################] 100 %  0.0 MB/s  0 s left"),
            (200, 100, 1, "a.awr [########################] 100 %  0.0 MB/s  0 s left"),
            (0, 0, 0, "a.awr [------------------------]   0 %  0.0 MB/s  0 s left"),
        ] {
            assert_eq!(text("a.awr", done, total, Duration::from_secs(seconds)), expected);
        }
    }

    #[test]
    fn all_bytes_pass() {
        let mut out = Vec::new();
        Progress::new(&b"all of it"[..], "a", 9, true).read_to_end(&mut out).expect("a slice reads");
        assert_eq!(out, b"all of it");
    }
}
