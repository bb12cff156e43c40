//! Sliding windows of one key: sums over time, and how many different values.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::Timestamp;

/// Amounts kept exactly; past it neighbours are joined, and what falls out of the window does so a little later.
const EXACT: usize = 256;

/// Times or values that are kept one by one; thresholds above it are estimated.
const COUNTED: u64 = 4096;

fn start(newest: Timestamp, within: Duration) -> Timestamp {
    Timestamp(newest.0.saturating_sub(u64::try_from(within.as_nanos()).unwrap_or(u64::MAX)))
}

/// Amounts with their times, oldest first. The window ends at the newest: what arrives late is counted where it belongs.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Window {
    entries: VecDeque<(Timestamp, f64)>,
    total: f64,
}

impl Window {
    /// Adds an amount; gives the total inside the window.
    pub(super) fn add(&mut self, now: Timestamp, amount: f64, within: Duration) -> f64 {
        let newest = self.entries.back().map_or(now, |(at, _)| now.max(*at));
        let start = start(newest, within);
        let mut left = false;
        while let Some((_, old)) = self.entries.pop_front_if(|(at, _)| *at < start) {
            self.total -= old;
            left = true;
        }
        if now >= start {
            let place = self.entries.iter().rposition(|(at, _)| *at <= now).map_or(0, |at| at + 1);
            self.entries.insert(place, (now, amount));
            self.total += amount;
        }
        if self.entries.len() > EXACT {
            self.shorten();
            left = true;
        }
        // What was subtracted leaves rounding errors, which must not push a sum over its threshold.
        if left && self.total.fract() != 0.0 {
            self.total = self.entries.iter().map(|(_, amount)| amount).sum();
        }
        self.total
    }

    fn shorten(&mut self) {
        let entries = self.entries.make_contiguous();
        self.entries =
            entries.chunks(2).map(|pair| (pair[pair.len() - 1].0, pair.iter().map(|(_, amount)| amount).sum())).collect();
        self.total = self.entries.iter().map(|(_, amount)| amount).sum();
    }
}

/// How many events, by their times.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ring {
    Exact(VecDeque<Timestamp>),
    Joined(Box<Window>),
}

impl Ring {
    pub(super) fn new(over: u64) -> Ring {
        if over <= COUNTED { Ring::Exact(VecDeque::new()) } else { Ring::Joined(Box::default()) }
    }

    /// Counts one more; a counter that is over its threshold knows no more than that.
    pub(super) fn add(&mut self, now: Timestamp, within: Duration, over: u64) -> u64 {
        let times = match self {
            Ring::Exact(times) => times,
            Ring::Joined(window) => return window.add(now, 1.0, within) as u64,
        };
        let start = start(times.back().map_or(now, |newest| now.max(*newest)), within);
        while times.pop_front_if(|at| *at < start).is_some() {}
        if now >= start {
            let place = times.iter().rposition(|at| *at <= now).map_or(0, |at| at + 1);
            times.insert(place, now);
        }
        while times.len() as u64 > over.saturating_add(1) {
            times.pop_front();
        }
        times.len() as u64
    }
}

/// Different values with the times they were last seen.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Distinct {
    Exact(VecDeque<(Timestamp, u64)>),
    Sketch(Box<Sketch>),
}

impl Distinct {
    pub(super) fn new(over: u64) -> Distinct {
        if over <= COUNTED { Distinct::Exact(VecDeque::new()) } else { Distinct::Sketch(Box::default()) }
    }

    pub(super) fn add(&mut self, now: Timestamp, value: u64, within: Duration, over: u64) -> u64 {
        match self {
            Distinct::Exact(values) => {
                let start = now.0.saturating_sub(u64::try_from(within.as_nanos()).unwrap_or(u64::MAX));
                while values.pop_front_if(|(at, _)| at.0 < start).is_some() {}
                if let Some(place) = values.iter().position(|(_, known)| *known == value) {
                    values.remove(place);
                }
                values.push_back((now, value));
                while values.len() as u64 > over.saturating_add(1) {
                    values.pop_front();
                }
                values.len() as u64
            }
            Distinct::Sketch(sketch) => sketch.add(now, value, within),
        }
    }
}

/// HyperLogLog in eight slices of the window: 512 registers each, about 5 % off.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Sketch {
    slices: Vec<(u64, Vec<u8>)>,
}

const SLICES: u64 = 8;
const REGISTERS: usize = 512;

impl Sketch {
    fn add(&mut self, now: Timestamp, value: u64, within: Duration) -> u64 {
        let length = (u64::try_from(within.as_nanos()).unwrap_or(u64::MAX) / SLICES).max(1);
        let slice = now.0 / length;
        self.slices.retain(|(at, _)| slice.saturating_sub(*at) <= SLICES);
        if self.slices.iter().all(|(at, _)| *at != slice) {
            self.slices.push((slice, vec![0; REGISTERS]));
        }
        let register = (value as usize) % REGISTERS;
        let rank = u8::try_from((value >> 9).leading_zeros().saturating_sub(9) + 1).unwrap_or(u8::MAX);
        if let Some((_, registers)) = self.slices.iter_mut().find(|(at, _)| *at == slice) {
            registers[register] = registers[register].max(rank);
        }
        self.estimate()
    }

    fn estimate(&self) -> u64 {
        let merged = (0..REGISTERS).map(|at| self.slices.iter().map(|(_, registers)| registers[at]).max().unwrap_or(0));
        let (mut sum, mut zeros) = (0.0, 0);
        for rank in merged {
            sum += 2_f64.powi(-i32::from(rank));
            zeros += usize::from(rank == 0);
        }
        let count = REGISTERS as f64;
        let raw = 0.7213 / (1.0 + 1.079 / count) * count * count / sum;
        let estimate = if raw <= 2.5 * count && zeros > 0 { count * (count / zeros as f64).ln() } else { raw };
        estimate as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_slide_and_stay_bounded() {
        let mut window = Window::default();
        for second in 0..10_000_u64 {
            window.add(Timestamp(second * 1_000_000_000), 2.0, Duration::from_secs(1000));
            assert!(window.entries.len() <= EXACT + 1);
        }
        let total = window.total;
        assert!((1900.0..2300.0).contains(&total), "{total}");
    }

    #[test]
    fn sketches_count_what_lists_cannot() {
        let mut distinct = Distinct::new(50_000);
        let mut count = 0;
        for value in 0..60_000_u64 {
            let spread = value.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (value << 32);
            let mixed = (spread ^ (spread >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            count = distinct.add(Timestamp(value * 1000), mixed ^ (mixed >> 32), Duration::from_secs(60), 50_000);
        }
        assert!((51_000..69_000).contains(&count), "{count}");
    }
}
