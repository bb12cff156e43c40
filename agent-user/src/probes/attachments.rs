//! Where probes are. A library is probed machine-wide while bystanders leave it alone: so no first request is lost, however short a
//! program lives. Once processes that nobody wants have spent its budget of hits, it is probed in the processes that are wanted, each
//! by links of its own, and bystanders have no breakpoint left in their memory.
//!
//! While both kinds are in place for a moment, the kernel side takes the hits of one of them: see `tracked::OWN`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use agent_wire::{COOKIE_LIBRARY, COOKIE_OWN, LIBRARIES, tracked};

use super::StartError;
use super::kernel::{Kernel, Link};
use super::libraries::{Catalogue, Inode, Library, inode_of, installed, mapped};

/// Hits of bystanders that a library's machine-wide probes may cost: some milliseconds of a busy server, once.
const BUDGET: u64 = 1000;

struct Attached {
    library: Library,
    account: u32,
    /// Empty when the library is probed per process.
    wide: Vec<Link>,
    own: HashMap<u32, Vec<Link>>,
    /// The account's reading at which the budget is spent.
    limit: u64,
    /// Bystanders that have it mapped. When the last of them has ended, the library is probed machine-wide again.
    spenders: HashSet<u32>,
}

pub(super) struct Attachments {
    catalogue: Catalogue,
    libraries: BTreeMap<Inode, Attached>,
}

impl Attachments {
    pub(super) fn start() -> Result<Attachments, StartError> {
        let catalogue = Catalogue::start().map_err(|error| StartError::refused("start a thread", &error))?;
        Ok(Attachments { catalogue, libraries: BTreeMap::new() })
    }

    /// What was there at the start is attached: from now on files are read beside the session's work.
    pub(super) fn hurry(&mut self) {
        self.catalogue.hurry();
    }

    /// Begins to read a program that has just been started.
    pub(super) fn expect(&mut self, path: &Path) {
        self.catalogue.expect(path);
    }

    /// Libraries that lie where programs will map them.
    pub(super) fn look_ahead(&mut self, kernel: &mut Kernel, programs: &[PathBuf]) -> Result<(), StartError> {
        for path in installed(programs) {
            if let Some(inode) = inode_of(&path) {
                self.discover(kernel, &path, inode)?;
            }
        }
        Ok(())
    }

    /// Attaches to what a process has mapped and nobody has seen yet; for one that is wanted, also to what is probed per process.
    /// True when it has a library.
    pub(super) fn look_at(&mut self, kernel: &mut Kernel, pid: u32, wanted: bool) -> Result<bool, StartError> {
        let mut any = false;
        for file in mapped(pid) {
            let inode = if self.catalogue.is_known(file.inode) {
                file.inode
            } else {
                let inode = inode_of(&file.path).unwrap_or(file.inode);
                self.discover(kernel, &file.path, inode)?;
                inode
            };
            let Some(attached) = self.libraries.get_mut(&inode) else { continue };
            any = true;
            if wanted {
                attached.attach_own(kernel, pid)?;
            }
        }
        Ok(any)
    }

    /// A wanted process starts a program: its libraries are probed before the loader maps them.
    pub(super) fn prepare(&mut self, kernel: &mut Kernel, pid: u32) -> Result<(), StartError> {
        self.libraries.values_mut().try_for_each(|attached| attached.attach_own(kernel, pid))
    }

    /// A process that was forked has its parent's libraries.
    pub(super) fn inherit(&mut self, kernel: &mut Kernel, parent: u32, child: u32) -> Result<(), StartError> {
        let of_parent = self.libraries.values_mut().filter(|attached| attached.own.contains_key(&parent));
        of_parent.into_iter().try_for_each(|attached| attached.attach_own(kernel, child))
    }

    /// True when anything is probed in this process alone.
    pub(super) fn has_own(&self, pid: u32) -> bool {
        self.libraries.values().any(|attached| attached.own.contains_key(&pid))
    }

    /// Bits of a verdict: libraries that are probed in this process alone.
    pub(super) fn own_bits(&self, pid: u32) -> u32 {
        let of_process = self.libraries.values().filter(|attached| attached.own.contains_key(&pid));
        of_process.fold(0, |bits, attached| bits | tracked::own(attached.account))
    }

    /// Nothing is wanted of this process any more.
    pub(super) fn release(&mut self, kernel: &mut Kernel, pid: u32) {
        for attached in self.libraries.values_mut() {
            if let Some(links) = attached.own.remove(&pid) {
                kernel.detach(links);
            }
        }
    }

    /// A process has ended.
    pub(super) fn gone(&mut self, kernel: &mut Kernel, pid: u32) {
        self.release(kernel, pid);
        for attached in self.libraries.values_mut() {
            attached.spenders.remove(&pid);
        }
    }

    /// Libraries whose spenders have all ended are probed machine-wide again: not before their old links are gone, or hits would count
    /// twice. Processes that have links of their own keep them.
    pub(super) fn widen(&mut self, kernel: &mut Kernel) {
        if !kernel.is_settled() {
            return;
        }
        for attached in self.libraries.values_mut() {
            if attached.wide.is_empty() && attached.spenders.is_empty() {
                // Refused now what was granted before: the library stays probed per process.
                let _ = attached.attach_wide(kernel);
            }
        }
    }

    /// True when some library's budget is spent and [`Attachments::narrow`] is due.
    pub(super) fn overspent(&self, kernel: &Kernel) -> bool {
        self.libraries.values().any(|attached| attached.is_overspent(kernel))
    }

    /// Ends the machine-wide probes of libraries whose budget is spent. `wanted` and `bystanders` are asked for their maps.
    pub(super) fn narrow(
        &mut self,
        kernel: &mut Kernel,
        wanted: &[u32],
        bystanders: impl Iterator<Item = u32>,
    ) -> Result<Moved, StartError> {
        let spent: Vec<Inode> =
            self.libraries.iter().filter(|(_, attached)| attached.is_overspent(kernel)).map(|(inode, _)| *inode).collect();
        let mut moved = Moved::default();
        for inode in &spent {
            if let Some(attached) = self.libraries.get_mut(inode) {
                moved.links.append(&mut attached.wide);
            }
        }
        for pid in wanted {
            if self.look_at(kernel, *pid, true)? {
                moved.processes.push(*pid);
            }
        }
        for pid in bystanders {
            for file in mapped(pid).iter().filter(|file| spent.contains(&file.inode)) {
                if let Some(attached) = self.libraries.get_mut(&file.inode) {
                    attached.spenders.insert(pid);
                }
            }
        }
        Ok(moved)
    }

    /// Path, family, number of sites; and in how many processes alone it is probed, unless machine-wide.
    pub(super) fn status(&self) -> impl Iterator<Item = (String, &'static str, usize, Option<usize>)> {
        self.libraries.values().map(|attached| {
            let library = &attached.library;
            let own = attached.wide.is_empty().then_some(attached.own.len());
            (library.path.display().to_string(), library.family.name(), library.sites.len(), own)
        })
    }

    /// The end of everything; waits for it, so that nothing more is written to the ring afterwards.
    pub(super) fn detach_all(&mut self) {
        self.libraries.clear();
    }

    fn discover(&mut self, kernel: &mut Kernel, path: &Path, inode: Inode) -> Result<(), StartError> {
        let Some(library) = self.catalogue.look(path, inode) else { return Ok(()) };
        let account = u32::try_from(self.libraries.len()).unwrap_or(0) % LIBRARIES;
        let mut attached =
            Attached { library, account, wide: Vec::new(), own: HashMap::new(), limit: 0, spenders: HashSet::new() };
        attached.attach_wide(kernel)?;
        self.libraries.insert(inode, attached);
        Ok(())
    }
}

/// Processes whose hits come from other links now: their verdicts must say so before the old links end.
#[derive(Default)]
pub(super) struct Moved {
    pub(super) processes: Vec<u32>,
    pub(super) links: Vec<Link>,
}

impl Attached {
    fn attach_wide(&mut self, kernel: &mut Kernel) -> Result<(), StartError> {
        self.limit = kernel.spent(self.account) + BUDGET;
        self.wide = self.attach(kernel, None, 0)?;
        Ok(())
    }

    /// Attaches in one process, unless that is done or the library is probed machine-wide.
    fn attach_own(&mut self, kernel: &mut Kernel, pid: u32) -> Result<(), StartError> {
        if !self.wide.is_empty() || self.own.contains_key(&pid) {
            return Ok(());
        }
        let Some(only) = NonZeroU32::new(pid) else { return Ok(()) };
        let links = self.attach(kernel, Some(only), COOKIE_OWN)?;
        self.own.insert(pid, links);
        Ok(())
    }

    fn attach(&self, kernel: &mut Kernel, pid: Option<NonZeroU32>, flag: u64) -> Result<Vec<Link>, StartError> {
        let handle = self.library.handle();
        let more = flag | u64::from(self.account) << COOKIE_LIBRARY;
        let mut links = Vec::new();
        for site in &self.library.sites {
            for program in std::iter::once(site.program).chain(kernel.companion(site.program)) {
                links.push(kernel.attach(program, &handle, site.offset, pid, site.cookie | more)?);
            }
        }
        Ok(links)
    }

    fn is_overspent(&self, kernel: &Kernel) -> bool {
        !self.wide.is_empty() && kernel.spent(self.account) > self.limit
    }
}
