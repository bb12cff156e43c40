//! Where probes are. A library is probed machine-wide while bystanders leave it alone: so no first request is lost, however short a
//! program lives. Once processes that nobody wants have spent its budget of hits, it is probed in the processes that are wanted, each
//! by links of its own, and bystanders have no breakpoint left in their memory.
//!
//! While both kinds are in place for a moment, the kernel side takes the hits of one of them: see `tracked::OWN`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use agent_wire::{COOKIE_LIBRARY, COOKIE_OWN, LIBRARIES, tracked};

use super::audit::{Place, Probed};
use super::family::Site;
use super::kernel::{Kernel, Link};
use super::libraries::{Catalogue, Inode, Library, inode_of, installed, mapped};
use super::{LibraryStatus, StartError};

/// Hits of bystanders that a library's machine-wide probes may cost: some milliseconds of a busy server, once.
const BUDGET: u64 = 1000;

struct Attached {
    library: Library,
    account: u32,
    /// Empty when the library is probed per process.
    wide: Vec<Tied>,
    own: HashMap<u32, Vec<Tied>>,
    /// Functions whose hits contradicted what they were taken for.
    refuted: Vec<&'static str>,
    /// The account's reading at which the budget is spent.
    limit: u64,
    /// Bystanders that have it mapped. When the last of them has ended, the library is probed machine-wide again.
    spenders: HashSet<u32>,
}

/// A link and the judged place that it stands at, or 0.
struct Tied {
    place: u32,
    link: Link,
}

fn links(tied: Vec<Tied>) -> Vec<Link> {
    tied.into_iter().map(|tied| tied.link).collect()
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

    /// Ends every machine-wide probe: processes that are wanted get links of their own.
    pub(super) fn only_own(&mut self, kernel: &mut Kernel) {
        let wide = self.libraries.values_mut().flat_map(|attached| links(std::mem::take(&mut attached.wide)));
        kernel.detach(wide.collect());
    }

    /// Nothing is wanted of this process any more.
    pub(super) fn release(&mut self, kernel: &mut Kernel, pid: u32) {
        for attached in self.libraries.values_mut() {
            if let Some(tied) = attached.own.remove(&pid) {
                kernel.detach(links(tied));
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
                moved.links.extend(links(std::mem::take(&mut attached.wide)));
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

    pub(super) fn status(&self, kernel: &Kernel) -> Vec<LibraryStatus> {
        self.libraries.values().map(|attached| attached.status(kernel)).collect()
    }

    /// Ends the probes at places whose first hits show that they are not what they were taken for; gives file and function of each, and
    /// the processes that have it.
    pub(super) fn refute(&mut self, kernel: &mut Kernel, running: impl Fn() -> Vec<u32>) -> Vec<(String, Vec<u32>)> {
        let mut refuted = Vec::new();
        for (inode, attached) in &mut self.libraries {
            for function in attached.refute(kernel) {
                let users = running().into_iter().filter(|pid| mapped(*pid).iter().any(|file| file.inode == *inode));
                refuted.push((format!("{function} in {}", attached.library.path.display()), users.collect()));
            }
        }
        refuted
    }

    /// What is probed of a file in a process, for the audit.
    pub(super) fn probed(&self, pid: u32, inode: Inode) -> Option<Probed<'_>> {
        let attached = self.libraries.get(&inode)?;
        let here = !attached.wide.is_empty() || attached.own.contains_key(&pid);
        let places = attached.library.sites.iter().map(|site| Place { offset: site.offset, function: site.function });
        let library = &attached.library;
        here.then(|| Probed { path: &library.path, file: &library.file, places: places.collect() })
    }

    /// The end of everything; waits for it, so that nothing more is written to the ring afterwards.
    pub(super) fn detach_all(&mut self) {
        self.libraries.clear();
    }

    fn discover(&mut self, kernel: &mut Kernel, path: &Path, inode: Inode) -> Result<(), StartError> {
        // Nothing to attach to: what passes there unread is told by the ledger.
        let Some(library) = self.catalogue.look(path, inode).filter(|library| !library.sites.is_empty()) else { return Ok(()) };
        let account = u32::try_from(self.libraries.len()).unwrap_or(0) % LIBRARIES;
        let mut attached = Attached {
            library,
            account,
            wide: Vec::new(),
            own: HashMap::new(),
            refuted: Vec::new(),
            limit: 0,
            spenders: HashSet::new(),
        };
        attached.attach_wide(kernel)?;
        self.libraries.insert(inode, attached);
        Ok(())
    }
}

/// Against a place: several hits, and more than speak for it. One alone may be a buffer that was unmapped at that moment.
fn is_refuted((held, contradicted): (u64, u64)) -> bool {
    const SEVERAL: u64 = 3;
    contradicted >= SEVERAL && contradicted > held
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

    fn attach(&self, kernel: &mut Kernel, pid: Option<NonZeroU32>, flag: u64) -> Result<Vec<Tied>, StartError> {
        let handle = self.library.handle();
        let more = flag | u64::from(self.account) << COOKIE_LIBRARY;
        let mut tied = Vec::new();
        for site in &self.library.sites {
            for program in std::iter::once(site.program).chain(kernel.companion(site.program)) {
                let link = kernel.attach(program, &handle, site.offset, pid, site.cookie | more)?;
                tied.push(Tied { place: site.judged, link });
            }
        }
        Ok(tied)
    }

    fn refute(&mut self, kernel: &mut Kernel) -> Vec<&'static str> {
        let wrong: Vec<(u32, &'static str)> = self
            .library
            .sites
            .iter()
            .filter(|site| is_refuted(kernel.verdict(site.place())))
            .map(|site| (site.judged, site.function))
            .collect();
        let mut functions = Vec::new();
        for (place, function) in wrong {
            let mut gone = Vec::new();
            for tied in std::iter::once(&mut self.wide).chain(self.own.values_mut()) {
                gone.extend(tied.extract_if(.., |tied| tied.place == place).map(|tied| tied.link));
            }
            if !gone.is_empty() {
                kernel.detach(gone);
                functions.push(function);
            }
            self.library.sites.retain(|site| site.judged != place);
        }
        self.refuted.extend(&functions);
        functions
    }

    fn status(&self, kernel: &Kernel) -> LibraryStatus {
        let sites = &self.library.sites;
        let judged: HashSet<u32> = sites.iter().map(Site::place).filter(|place| *place != 0).collect();
        let held = judged.iter().filter(|place| kernel.verdict(**place).0 > 0).count();
        LibraryStatus {
            path: self.library.path.display().to_string(),
            family: self.library.family.name().into(),
            sites: sites.len(),
            processes: self.wide.is_empty().then_some(self.own.len()),
            method: self.library.method().into(),
            judged: judged.len(),
            held,
            refuted: self.refuted.iter().map(|function| (*function).to_owned()).collect(),
        }
    }

    fn is_overspent(&self, kernel: &Kernel) -> bool {
        !self.wide.is_empty() && kernel.spent(self.account) > self.limit
    }
}
