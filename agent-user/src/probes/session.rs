//! A capture under way within one process: a watcher beside its keeper.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::keeper::Keeper;
use super::watcher::Watcher;
use super::{Settings, StartError};
use crate::capture::Observation;

pub struct Session {
    watcher: Watcher,
    keeper: Keeper,
}

impl Session {
    /// Loads, attaches and looks at everything that runs. On error nothing stays behind.
    pub fn start(settings: &Settings) -> Result<Session, StartError> {
        let boot = boot_time();
        let mut keeper = Keeper::load(settings.clone(), boot)?;
        let copy = |error: io::Error| StartError::refused("share its ring", &error);
        let [ring, reader] = keeper.ring().map(|map| map.as_fd().try_clone_to_owned());
        let mut watcher = Watcher::here(settings, boot, [ring.map_err(copy)?, reader.map_err(copy)?], keeper.host()?)?;
        watcher.meet(&mut keeper);
        keeper.begin()?;
        Ok(Session { watcher, keeper })
    }

    /// As [`Watcher::poll`].
    pub fn poll(&mut self, timeout: Duration, out: &mut Vec<Observation>) -> io::Result<()> {
        self.watcher.poll(timeout, &mut self.keeper, out)
    }

    /// Detaches, then hands on what was still in the ring.
    pub fn stop(&mut self, out: &mut Vec<Observation>) {
        self.keeper.stop();
        self.watcher.finish(&mut self.keeper, out);
    }
}

/// Epoch time at which the boot clock was zero, in nanoseconds.
pub fn boot_time() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX) - since_boot()
}

/// The clock of the kernel's records, in nanoseconds.
pub(super) fn since_boot() -> u64 {
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(boot.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(boot.tv_nsec).unwrap_or(0)
}
