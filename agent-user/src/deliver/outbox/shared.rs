//! What the process that writes the journal and the one that delivers it know of each other: a page of numbers that both have mapped,
//! and a bell. It outlives either, so that one that is started again goes on.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::SinkCounters;
use crate::deliver::journal::Sequence;

/// The number after the last durable record, plus one; 0 before the journal was opened.
const LEVEL: usize = 0;
/// 1 when nothing more will come.
const ENDED: usize = 1;
/// Where the numbers of the first sink begin, and how many each has.
const SINKS: usize = 8;
const NUMBERS: usize = 8;

pub struct Shared {
    words: NonNull<AtomicU64>,
    bytes: usize,
    sinks: usize,
    memory: OwnedFd,
    bell: OwnedFd,
}

// SAFETY: the page is mapped as long as this lives, and only touched by atomic operations.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// How far the journal is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// The number after the last durable record; `None` before the journal was opened.
    pub next: Option<Sequence>,
    pub ended: bool,
}

impl Shared {
    /// For this many sinks.
    pub fn create(sinks: usize) -> io::Result<Shared> {
        let memory = memfd_create("agentward", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&memory, size(sinks) as u64)?;
        // Whoever shortened it would end the others by SIGBUS.
        fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Shared::open(memory, bell, sinks)
    }

    /// What [`Shared::descriptors`] gave, in another process.
    pub fn open(memory: OwnedFd, bell: OwnedFd, sinks: usize) -> io::Result<Shared> {
        let bytes = size(sinks);
        // SAFETY: a new mapping at a place of the kernel's choice touches no other memory.
        let page =
            unsafe { mmap(std::ptr::null_mut(), bytes, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &memory, 0) }?;
        let words = NonNull::new(page.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))?;
        Ok(Shared { words, bytes, sinks, memory, bell })
    }

    /// Memory and bell.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.memory.as_fd(), self.bell.as_fd()]
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        assert!((at + 1) * size_of::<AtomicU64>() <= self.bytes, "within the page");
        // SAFETY: within the mapping, aligned, and any bits are a value.
        unsafe { self.words.add(at).as_ref() }
    }

    /// More is durable.
    pub fn rise(&self, next: Sequence) {
        self.word(LEVEL).store(next.0 + 1, Ordering::Release);
        self.ring();
    }

    /// Nothing more will come: what is there is delivered once more.
    pub fn end(&self) {
        self.word(ENDED).store(1, Ordering::Release);
        self.ring();
    }

    fn ring(&self) {
        // A bell that was rung 2^64 times and never heard is still one that rings.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    /// Waits for the bell, at most `longest`.
    pub fn wait(&self, longest: Duration) -> io::Result<Level> {
        let wait = Timespec { tv_sec: longest.as_secs().cast_signed(), tv_nsec: i64::from(longest.subsec_nanos()) };
        match poll(&mut [PollFd::new(&self.bell, PollFlags::IN)], Some(&wait)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => {
                // Somebody else may have heard it first.
                let _ = rustix::io::read(&self.bell, &mut [0_u8; 8]);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(self.level())
    }

    pub fn level(&self) -> Level {
        let next = self.word(LEVEL).load(Ordering::Acquire).checked_sub(1).map(Sequence);
        Level { next, ended: self.word(ENDED).load(Ordering::Acquire) != 0 }
    }

    /// Makes the numbers of a sink known.
    pub fn tell(&self, sink: usize, counters: &SinkCounters) {
        for (at, number) in numbers(counters).into_iter().enumerate() {
            self.word(SINKS + sink * NUMBERS + at).store(number, Ordering::Relaxed);
        }
    }

    /// The numbers of a sink: all 0 for one that is not there.
    pub fn told(&self, sink: usize) -> SinkCounters {
        let number = |at| if sink < self.sinks { self.word(SINKS + sink * NUMBERS + at).load(Ordering::Relaxed) } else { 0 };
        SinkCounters {
            delivered: number(0).into(),
            failures: number(1).into(),
            lost: number(2).into(),
            dead: number(3).into(),
            bytes: number(4).into(),
            queued: number(5).into(),
            oldest: number(6).into(),
            broken: (number(7) != 0).into(),
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: mapped by `open` and used by nobody else: references to its words do not outlive `self`.
        let _ = unsafe { munmap(self.words.as_ptr().cast(), self.bytes) };
    }
}

fn size(sinks: usize) -> usize {
    ((SINKS + sinks * NUMBERS) * size_of::<AtomicU64>()).next_multiple_of(4096)
}

fn numbers(counters: &SinkCounters) -> [u64; NUMBERS] {
    let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
    [
        of(&counters.delivered),
        of(&counters.failures),
        of(&counters.lost),
        of(&counters.dead),
        of(&counters.bytes),
        of(&counters.queued),
        of(&counters.oldest),
        u64::from(counters.broken.load(Ordering::Relaxed)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_see_one_page() {
        let one = Shared::create(3).expect("memory");
        let copies = one.descriptors().map(|descriptor| descriptor.try_clone_to_owned().expect("a descriptor is free"));
        let [memory, bell] = copies;
        assert!(ftruncate(&memory, 0).is_err(), "sealed");
        let other = Shared::open(memory, bell, 3).expect("the same memory");
        assert_eq!(other.level(), Level { next: None, ended: false });
        one.rise(Sequence(0));
        assert_eq!(other.wait(Duration::from_secs(60)).expect("a bell"), Level { next: Some(Sequence(0)), ended: false });
        let counters = SinkCounters { delivered: 7.into(), broken: true.into(), ..SinkCounters::default() };
        other.tell(2, &counters);
        assert_eq!(numbers(&one.told(2)), [7, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(numbers(&one.told(3)), [0; NUMBERS], "no such sink");
        one.end();
        assert!(other.wait(Duration::from_secs(60)).expect("a bell").ended);
    }
}
