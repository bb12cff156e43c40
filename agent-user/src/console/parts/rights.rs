//! The loader's own rights: those it loads and looks with, and what it does for the other parts. The rest it gives up for good.

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use super::confine::drop_from_bounding_set;

/// Programs and maps; uprobes, which many kernels grant to `CAP_SYS_ADMIN` alone since 2025; maps and descriptors of other users'
/// processes, their files and memory.
const WATCHING: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::SYS_ADMIN)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::CHECKPOINT_RESTORE);

/// Files of sinks wherever they lie; parts that are started again as another user, give up their rights, and are ended when they hang.
const SERVING: CapabilitySet = CapabilitySet::DAC_OVERRIDE
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::KILL);

/// Gives up what a loader does not need. This process must have one thread only: the others would keep theirs.
pub(in crate::console) fn keep_few() -> io::Result<()> {
    let kept = WATCHING.union(SERVING);
    drop_from_bounding_set(kept)?;
    let held = capabilities(None)?;
    let few = |set: CapabilitySet| set.intersection(kept);
    let sets =
        CapabilitySets { effective: few(held.effective), permitted: few(held.permitted), inheritable: few(held.inheritable) };
    set_capabilities(None, sets)?;
    Ok(rustix::thread::set_no_new_privs(true)?)
}
