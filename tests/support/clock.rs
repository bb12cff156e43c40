//! What measurements are made with.

use rustix::time::{ClockId, clock_gettime};

/// Seconds that this thread was on a CPU: neighbours on a shared machine do not count.
pub fn spent() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
