//! The reading end of the ring: memory that kernel and reader share. Once it is open, it takes no system call but `poll`, and no right.

use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use agent_wire::reader;
use aya::maps::{Map, MapData, RingBuf};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::StartError;

/// The kernel makes whole pages of such a map.
const PAGE: usize = 4096;

pub(super) struct Drain {
    ring: RingBuf<MapData>,
    reader: Words,
}

impl Drain {
    /// `reader` is the map in which the kernel side looks for what is said here.
    pub(super) fn open(ring: OwnedFd, reader: &OwnedFd) -> Result<Drain, StartError> {
        let refused = |error: aya::maps::MapError| StartError::refused("read its ring", &error);
        let ring = MapData::from_fd(ring).and_then(Map::from_map_data).and_then(RingBuf::try_from).map_err(refused)?;
        let words = Words::map(reader).map_err(|error| StartError::refused("share memory with its programs", &error))?;
        // A reader that died while it was late left an allowance behind, which nobody else would take back.
        words.store(reader::ALLOWANCE, 0);
        Ok(Drain { ring, reader: words })
    }

    /// The next record. Its room is free again when it is dropped.
    pub(super) fn next(&mut self) -> Option<impl Deref<Target = [u8]> + '_> {
        self.ring.next()
    }

    /// What each process may add to the ring from now on: see [`agent_wire::reader::ALLOWANCE`].
    pub(super) fn allow(&mut self, bytes: u64) {
        self.reader.store(reader::ALLOWANCE, bytes);
    }

    /// Waits for much to come, at most `pause`.
    pub(super) fn sleep(&mut self, pause: Duration) -> io::Result<()> {
        self.reader.store(reader::SLEEPS, 1);
        let ring: BorrowedFd<'_> = self.ring.as_fd();
        let wait = Timespec { tv_sec: 0, tv_nsec: i64::from(pause.subsec_nanos()) };
        let woken = poll(&mut [PollFd::new(&ring, PollFlags::IN)], Some(&wait));
        self.reader.store(reader::SLEEPS, 0);
        match woken {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Words of [`agent_wire::reader`]: memory that the kernel's programs read and write, too.
struct Words(NonNull<AtomicU64>);

// SAFETY: the page is mapped as long as this lives, and only touched by atomic operations.
unsafe impl Send for Words {}

impl Words {
    fn map(map: &OwnedFd) -> io::Result<Words> {
        // SAFETY: a new mapping at a place of the kernel's choice touches no other memory.
        let page = unsafe { mmap(std::ptr::null_mut(), PAGE, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, map, 0) }?;
        NonNull::new(page.cast()).map(Words).ok_or_else(|| io::Error::other("mapped at address 0"))
    }

    fn store(&self, word: u32, value: u64) {
        const { assert!(reader::COUNT as usize * size_of::<u64>() <= PAGE) };
        // SAFETY: an array's values lie side by side from the start of the mapping, aligned, and any bits are a value.
        unsafe { self.0.add(word as usize).as_ref() }.store(value, Ordering::SeqCst);
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: mapped by `Words::map` and used by nobody else.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), PAGE) };
    }
}
