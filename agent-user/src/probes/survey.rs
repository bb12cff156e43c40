//! Which TLS libraries the processes of this host have, and how each would be read. Nothing is attached.

use std::collections::BTreeMap;
use std::fs;

use super::libraries::{Catalogue, Inode, inode_of, mapped};
use super::{StartError, processes};

/// What `doctor` says of the host.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    pub kernel: String,
    /// Processes that have a program of their own: kernel threads have none.
    pub processes: usize,
    pub files: Vec<SurveyFile>,
}

/// A file that holds a TLS library, or seems to.
#[derive(Clone, Debug)]
pub struct SurveyFile {
    pub path: String,
    /// `None` when nothing in it can be attached to.
    pub family: Option<&'static str>,
    /// `symbols`, `resolved`, or `none`.
    pub method: &'static str,
    pub sites: usize,
    pub processes: usize,
    /// Stacks that are there and were not found, with the reason.
    pub doubts: Vec<String>,
}

/// Reads what every process has mapped executable, each file once.
pub fn survey() -> Result<Survey, StartError> {
    let mut catalogue = Catalogue::start().map_err(|error| StartError::refused("start a thread", &error))?;
    let mut survey = Survey { kernel: super::kernel_release(), ..Survey::default() };
    let mut found: BTreeMap<Inode, SurveyFile> = BTreeMap::new();
    for pid in processes::all() {
        let files = mapped(pid);
        survey.processes += usize::from(!files.is_empty());
        for file in files {
            let inode = inode_of(&file.path).unwrap_or(file.inode);
            if let Some(library) = catalogue.look(&file.path, inode) {
                let name = fs::read_link(&file.path).unwrap_or_else(|_| library.path.clone());
                found.insert(
                    inode,
                    SurveyFile {
                        path: name.display().to_string(),
                        family: (!library.sites.is_empty()).then_some(library.family.name()),
                        method: library.method(),
                        sites: library.sites.len(),
                        processes: 0,
                        doubts: library.doubts,
                    },
                );
            }
            if let Some(known) = found.get_mut(&inode) {
                known.processes += 1;
            }
        }
    }
    survey.files = found.into_values().collect();
    Ok(survey)
}
