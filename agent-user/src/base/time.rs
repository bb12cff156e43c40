//! Time as data: every record carries its own, no stage asks a clock.

use std::time::Duration;

/// Nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Time from `earlier` to `self`; zero when the order is reversed (records of two CPUs may arrive swapped).
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Before `other` by more than records of two CPUs may arrive swapped: it happened earlier, and was told later.
    pub fn is_before(self, other: Timestamp) -> bool {
        const SWAPPED: Duration = Duration::from_millis(50);
        other.since(self) > SWAPPED
    }

    /// Saturates at the end of time, so a hostile timestamp cannot overflow a window.
    pub fn plus(self, span: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}
