//! Room in the ring is shared: while the daemon is late, and in the ring's last quarter, a process may add its allowance in a while and
//! no more. One that floods loses its own bytes, counted as ever; one that says little always finds room, and costs no copy.

use agent_wire::{Account, counter, reader};
use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;

use crate::maps::{ACCOUNTS, AVAILABLE, READER, RING, SIZE};
use crate::{count, tgid};

/// The part of the ring that is kept for those who say little.
const KEPT: u64 = 4;
/// A process's share of it in a while, while the daemon asks for no less.
const SHARE: u64 = 16;

/// False for a call of the current process for which there is no room: it is counted as lost.
#[inline(always)]
pub(crate) fn admits(length: u64) -> bool {
    let room = has_room(length);
    if !room {
        count(counter::CHUNKS, 1);
        count(counter::RING_FULL, 1);
        count(counter::RING_FULL_BYTES, length);
    }
    room
}

#[inline(never)]
pub(crate) fn has_room(length: u64) -> bool {
    // SAFETY: one word that the reader replaces whole.
    let asked = READER.get_ptr(reader::ALLOWANCE).map_or(0, |word| unsafe { core::ptr::read_volatile(word) });
    let allowance = if asked > 0 {
        asked
    } else {
        let size = RING.query(SIZE);
        if RING.query(AVAILABLE) + length <= size - size / KEPT {
            return true;
        }
        size / SHARE
    };
    // SAFETY: the helper takes nothing.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    let Some(known) = ACCOUNTS.get_ptr_mut(tgid()) else {
        let mut account = Account::default();
        let admitted = account.admits(now, length, allowance);
        let _ = ACCOUNTS.insert(tgid(), account, 0);
        return admitted;
    };
    // SAFETY: the map value stays valid for this run; threads that race here cost or save a call's bytes.
    unsafe { (*known).admits(now, length, allowance) }
}
