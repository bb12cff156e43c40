//! Whether a place that was found without symbols is what it was taken for: each such place carries a number in its cookie, and its hits
//! are judged by what only the right function is called with. The daemon reads the counts and detaches what contradicts itself.

use aya_ebpf::helpers::bpf_probe_read_user as read_user;

use crate::maps::VERDICTS;

pub(crate) const HELD: u32 = 0;
pub(crate) const CONTRADICTED: u32 = 1;

/// Counts a hit for or against. Places that were named by symbols have no number.
#[inline(always)]
pub(crate) fn give(cookie: u64, verdict: u32) {
    let place = (cookie >> 32) as u32;
    if place == 0 {
        return;
    }
    if let Some(cell) = VERDICTS.get_ptr_mut(place * 2 + verdict) {
        // SAFETY: the map value outlives the program's run and is only ever accessed atomically.
        unsafe { core::intrinsics::atomic_xadd::<u64, u64, { core::intrinsics::AtomicOrdering::Relaxed }>(cell, 1) };
    }
}

/// Looks at the first bytes of a buffer: HTTP speaks for the place, unreadable memory against it, anything else says nothing.
#[inline(always)]
pub(crate) fn listen(cookie: u64, buffer: u64) {
    if cookie >> 32 == 0 {
        return;
    }
    // SAFETY: the helper checks the address.
    match unsafe { read_user(buffer as *const u8) } {
        Err(_) => give(cookie, CONTRADICTED),
        Ok(_) => {
            if crate::plain::speaks(buffer, false) {
                give(cookie, HELD);
            }
        }
    }
}
