//! Attaching to processes and detaching again, over and over: what a host of short-lived watchers would do to those that are watched.
//! It is here for the test of that, and takes the same way as the keeper.
//!
//! In: processes. Out: nothing; what is captured is thrown away.

use std::os::fd::AsFd;
use std::time::Duration;

use agent_wire::tracked;

use super::attachments::Attachments;
use super::drain::Drain;
use super::kernel::Kernel;
use super::{StartError, preflight};

const RING_BYTES: u32 = 1 << 20;
const CALL_BYTES: u32 = 64 << 10;

pub struct Rounds {
    kernel: Kernel,
    attachments: Attachments,
    drain: Drain,
}

impl Rounds {
    /// Finds the libraries of these processes; nothing is attached to them when this returns.
    pub fn start(pids: &[u32]) -> Result<Rounds, StartError> {
        preflight()?;
        let mut kernel = Kernel::load(RING_BYTES, CALL_BYTES, false)?;
        kernel.judge_others(tracked::CONTENT | tracked::SYSCALLS);
        let copy = |error: std::io::Error| StartError::refused("share its ring", &error);
        let [ring, sleeps] = kernel.ring().map(|map| map.as_fd().try_clone_to_owned());
        let drain = Drain::open(ring.map_err(copy)?, &sleeps.map_err(copy)?)?;
        let mut attachments = Attachments::start()?;
        for pid in pids {
            attachments.look_at(&mut kernel, *pid, false)?;
        }
        attachments.only_own(&mut kernel);
        let mut rounds = Rounds { kernel, attachments, drain };
        rounds.settle();
        Ok(rounds)
    }

    /// Attaches to what the process has, and detaches; waits until the kernel has done so. False when it has nothing to attach to.
    pub fn round(&mut self, pid: u32) -> Result<bool, StartError> {
        self.attachments.look_at(&mut self.kernel, pid, true)?;
        let any = self.attachments.has_own(pid);
        if any {
            self.kernel.judge(pid, tracked::CONTENT | tracked::SYSCALLS | self.attachments.own_bits(pid));
        }
        self.attachments.release(&mut self.kernel, pid);
        self.settle();
        Ok(any)
    }

    fn settle(&mut self) {
        while !self.kernel.is_settled() {
            while self.drain.next().is_some() {}
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
