//! Identifiers. All come from the input or from counters that a stage owns, so a replay gives the same ones.

use std::fmt;
use std::sync::Arc;

/// A connection's name, unique in a recording; live: process, library object and generation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub Arc<str>);

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which way bytes went, seen from the process that was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    Out,
    In,
}

impl Direction {
    pub fn opposite(self) -> Direction {
        match self {
            Direction::Out => Direction::In,
            Direction::In => Direction::Out,
        }
    }

    /// `out` or `in`, as recordings spell it.
    pub fn name(self) -> &'static str {
        match self {
            Direction::Out => "out",
            Direction::In => "in",
        }
    }
}

/// A process that cannot be confused with a later one of the same pid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessKey {
    pub pid: u32,
    /// Start time in nanoseconds since the epoch; 0 when it was never learned.
    pub start: u64,
}

/// One connection as `reassemble` numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(pub u64);

/// One request and its response as `decode` numbers it; printed `x1`, `x2`, ….
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(pub u64);

impl fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "x{}", self.0)
    }
}

/// One action as `understand` numbers it, printed `a1`, `a2`, …; or an effect as `correlate` numbers it from [`ActionId::EFFECTS`] on,
/// printed `e1`, `e2`, ….
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionId(pub u64);

impl ActionId {
    /// Above any number that `understand` reaches.
    pub const EFFECTS: u64 = 1 << 40;
}

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.checked_sub(ActionId::EFFECTS) {
            Some(effect) => write!(f, "e{effect}"),
            None => write!(f, "a{}", self.0),
        }
    }
}
