//! The probe audit: is the breakpoint still there? A process may write over it in its own memory, and no error is raised anywhere.
//!
//! In: watched processes and the places that are probed in them. Out: [`Spot`]s of places whose bytes are neither the kernel's
//! breakpoint nor the call that it puts in the place of one.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::ledger::Spot;
use super::libraries::{Inode, regions};

/// Between two rounds.
const ROUND: Duration = Duration::from_secs(10);

/// What looks changed is looked at again after this: a probe may be on its way in or out.
const DOUBT: Duration = Duration::from_millis(500);

/// In how many steps a round is made: each process costs a read of its maps.
const STEPS: usize = 4;

/// `int3`, and the five-byte call that kernels from 6.18 put where a five-byte `nop` was (arch/x86/kernel/uprobes.c).
const BREAKPOINT: u8 = 0xcc;
const CALL: u8 = 0xe8;
const NOP5: [u8; 5] = [0x0f, 0x1f, 0x44, 0x00, 0x00];

/// A place that is probed in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) function: &'static str,
}

#[derive(Default)]
pub(super) struct Audit {
    queue: VecDeque<u32>,
    at_once: usize,
    began: Option<Instant>,
    doubted: HashMap<u32, (Instant, HashSet<(Inode, Place)>)>,
    told: HashSet<(u32, Inode)>,
    /// Places that were found as they should be, in the last whole round and in this one.
    pub(super) sound: u64,
    counting: u64,
}

/// What is probed of a file in a process.
pub(super) struct Probed<'a> {
    pub(super) path: &'a Path,
    pub(super) file: &'a File,
    pub(super) places: Vec<Place>,
}

impl Audit {
    /// Looks at the next few processes. `watched` is asked at the start of a round.
    pub(super) fn step<'a>(
        &mut self,
        now: Instant,
        watched: impl FnOnce() -> Vec<u32>,
        probed: impl Fn(u32, Inode) -> Option<Probed<'a>>,
    ) -> Vec<Spot> {
        if self.queue.is_empty() && self.began.is_none_or(|began| now.duration_since(began) >= ROUND) {
            self.sound = std::mem::take(&mut self.counting);
            self.began = Some(now);
            self.queue = watched().into();
            self.at_once = self.queue.len().div_ceil(STEPS);
        }
        let again: Vec<u32> =
            self.doubted.iter().filter(|(_, (since, _))| now.duration_since(*since) >= DOUBT).map(|(pid, _)| *pid).collect();
        let due = self.queue.len().min(self.at_once);
        let due: Vec<u32> = again.into_iter().chain(self.queue.drain(..due)).collect();
        due.into_iter().flat_map(|pid| self.look_at(now, pid, &probed)).collect()
    }

    pub(super) fn gone(&mut self, pid: u32) {
        self.doubted.remove(&pid);
        self.told.retain(|(owner, _)| *owner != pid);
    }

    fn look_at<'a>(&mut self, now: Instant, pid: u32, probed: &impl Fn(u32, Inode) -> Option<Probed<'a>>) -> Vec<Spot> {
        let mut spots = Vec::new();
        let mut changed = HashSet::new();
        let before = self.doubted.remove(&pid).filter(|(since, _)| now.duration_since(*since) >= DOUBT);
        let Ok(memory) = File::open(format!("/proc/{pid}/mem")) else { return spots };
        for region in regions(pid) {
            let Some(probed) = probed(pid, region.inode) else { continue };
            for place in probed.places.iter().filter(|place| region.holds(place.offset)) {
                match is_probed(&memory, region.address_of(place.offset), probed.file, place.offset) {
                    Some(true) => self.counting += 1,
                    Some(false) => {
                        let twice = before.as_ref().is_some_and(|(_, places)| places.contains(&(region.inode, *place)));
                        if !twice {
                            changed.insert((region.inode, *place));
                        } else if self.told.insert((pid, region.inode)) {
                            let what = format!("{} in {}", place.function, probed.path.display());
                            spots.push(Spot { pid, why: "probe_changed", what, socket: None, bytes: None });
                        }
                    }
                    None => {}
                }
            }
        }
        if !changed.is_empty() {
            self.doubted.insert(pid, (now, changed));
        }
        spots
    }
}

/// `None` when either cannot be read: the process is about to end.
fn is_probed(memory: &File, address: u64, file: &File, offset: u64) -> Option<bool> {
    let (mut there, mut first) = ([0], [0; 5]);
    memory.read_exact_at(&mut there, address).ok()?;
    file.read_exact_at(&mut first, offset).ok()?;
    Some(there[0] == BREAKPOINT || (first == NOP5 && there[0] == CALL))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::libraries::inode_of;

    /// This very process, whose code no breakpoint stands in: every "place" in it looks changed.
    #[test]
    fn a_place_without_a_breakpoint_is_told_at_the_second_look() {
        let path = std::env::current_exe().expect("a test has a file");
        let file = File::open(&path).expect("it is readable");
        let inode = inode_of(&path).expect("it is a file");
        let code = regions(std::process::id()).into_iter().find(|region| region.inode == inode).expect("it runs");
        let place = Place { offset: code.offset, function: "f" };
        let probed = |_, of: Inode| (of == inode).then(|| Probed { path: &path, file: &file, places: vec![place] });
        let (mut audit, start) = (Audit::default(), Instant::now());
        let watched = || vec![std::process::id()];
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(audit.step(at(0), watched, probed), []);
        assert_eq!(audit.step(at(0), watched, probed), [], "not looked at again at once");
        let told = audit.step(at(2), watched, probed);
        assert_eq!(told.iter().map(|spot| spot.why).collect::<Vec<_>>(), ["probe_changed"]);
        assert_eq!(audit.step(at(12), watched, probed), []);
        assert_eq!(audit.step(at(14), watched, probed), [], "told once");
    }
}
