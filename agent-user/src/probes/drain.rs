//! The reading end of the ring: memory that kernel and reader share. Once it is open, it takes no system call but `poll`, and no right.

use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aya::maps::{Map, MapData, RingBuf};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::StartError;

/// The kernel makes whole pages of such a map.
const PAGE: usize = 4096;

pub(super) struct Drain {
    ring: RingBuf<MapData>,
    sleeps: Word,
}

impl Drain {
    /// `sleeps` is the map in which the kernel side looks whether a wake-up is of use.
    pub(super) fn open(ring: OwnedFd, sleeps: &OwnedFd) -> Result<Drain, StartError> {
        let refused = |error: aya::maps::MapError| StartError::refused("read its ring", &error);
        let ring = MapData::from_fd(ring).and_then(Map::from_map_data).and_then(RingBuf::try_from).map_err(refused)?;
        let sleeps = Word::map(sleeps).map_err(|error| StartError::refused("share memory with its programs", &error))?;
        Ok(Drain { ring, sleeps })
    }

    /// The next record. Its room is free again when it is dropped.
    pub(super) fn next(&mut self) -> Option<impl Deref<Target = [u8]> + '_> {
        self.ring.next()
    }

    /// Waits for much to come, at most `pause`.
    pub(super) fn sleep(&mut self, pause: Duration) -> io::Result<()> {
        self.sleeps.store(1);
        let ring: BorrowedFd<'_> = self.ring.as_fd();
        let wait = Timespec { tv_sec: 0, tv_nsec: i64::from(pause.subsec_nanos()) };
        let woken = poll(&mut [PollFd::new(&ring, PollFlags::IN)], Some(&wait));
        self.sleeps.store(0);
        match woken {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// One word of memory that the kernel's programs read and write, too.
struct Word(NonNull<AtomicU64>);

// SAFETY: the page is mapped as long as this lives, and only touched by atomic operations.
unsafe impl Send for Word {}

impl Word {
    fn map(map: &OwnedFd) -> io::Result<Word> {
        // SAFETY: a new mapping at a place of the kernel's choice touches no other memory.
        let page = unsafe { mmap(std::ptr::null_mut(), PAGE, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, map, 0) }?;
        NonNull::new(page.cast()).map(Word).ok_or_else(|| io::Error::other("mapped at address 0"))
    }

    fn store(&self, value: u64) {
        // SAFETY: at the start of the mapping, aligned, and any bits are a value.
        unsafe { self.0.as_ref() }.store(value, Ordering::SeqCst);
    }
}

impl Drop for Word {
    fn drop(&mut self) {
        // SAFETY: mapped by `Word::map` and used by nobody else.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), PAGE) };
    }
}
