//! Kernels of other Debian releases: downloaded and unpacked under the target folder, never installed.
//!
//! The archive is the one that this host uses; apt checks its signatures. Indexes are kept for a day.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::sh;

const MIRROR: &str = "AGENTWARD_DEBIAN_MIRROR";
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Names the kernel that a release's cloud images boot.
const META: &str = "linux-image-cloud-amd64";
const INDEX_AGE: Duration = Duration::from_secs(24 * 3600);

/// The bootable kernel of a release.
pub(super) fn fetch(folder: &Path, suite: &str) -> Result<PathBuf> {
    let home = folder.join("kernels").join(suite);
    fs::create_dir_all(home.join("lists/partial"))?;
    let archive = Archive { home: home.clone() };
    archive.update(suite)?;
    let image = archive
        .depends(META)?
        .into_iter()
        .find(|name| name.starts_with("linux-image-"))
        .with_context(|| format!("{suite} has no {META}"))?;
    let tree = home.join(&image);
    if let Some(kernel) = kernel_in(&tree) {
        return Ok(kernel);
    }
    // Newer releases keep the kernel itself in a package of its own.
    let mut wanted = archive.depends(&image)?;
    wanted.retain(|name| name.starts_with("linux-binary-"));
    wanted.push(image.clone());
    eprintln!("downloading from Debian {suite}, without installing: {}", wanted.join(" "));
    sh::run(archive.apt("apt-get").arg("download").args(&wanted).current_dir(&home))?;
    for entry in fs::read_dir(&home)? {
        let file = entry?.path();
        if file.extension().is_some_and(|ending| ending == "deb") {
            sh::run(sh::command("dpkg-deb").arg("-x").arg(&file).arg(&tree))?;
            fs::remove_file(&file)?;
        }
    }
    kernel_in(&tree).with_context(|| format!("{image} holds no vmlinuz"))
}

fn kernel_in(tree: &Path) -> Option<PathBuf> {
    let starts = |folder: PathBuf, start: &'static str| {
        let entries = fs::read_dir(folder).ok()?;
        entries
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start)))
    };
    starts(tree.join("boot"), "vmlinuz-").or_else(|| {
        let release = starts(tree.join("usr/lib/modules"), "")?;
        Some(release.join("vmlinuz")).filter(|kernel| kernel.exists())
    })
}

/// apt with a source list, indexes and nothing else of its own.
struct Archive {
    home: PathBuf,
}

impl Archive {
    fn apt(&self, program: &str) -> Command {
        let mut apt = sh::command(program);
        for (key, value) in [("Dir::Etc::sourcelist", "sources.list"), ("Dir::State::Lists", "lists")] {
            apt.arg("-o").arg(format!("{key}={}", self.home.join(value).display()));
        }
        for setting in [
            "Dir::Etc::sourceparts=-",
            "Dir::Cache::pkgcache=",
            "Dir::Cache::srcpkgcache=",
            "Acquire::Languages=none",
            "Acquire::Check-Valid-Until=false",
            "APT::Sandbox::User=root",
        ] {
            apt.args(["-o", setting]);
        }
        apt
    }

    fn update(&self, suite: &str) -> Result<()> {
        let stamp = self.home.join("updated");
        let age = fs::metadata(&stamp).and_then(|data| data.modified()).ok().and_then(|time| time.elapsed().ok());
        if age.is_some_and(|age| age < INDEX_AGE) {
            return Ok(());
        }
        let signed = if Path::new(KEYS).exists() { format!("[arch=amd64 signed-by={KEYS}] ") } else { "[arch=amd64] ".into() };
        fs::write(self.home.join("sources.list"), format!("deb {signed}{} {suite} main\n", mirror()?))?;
        let mut update = self.apt("apt-get");
        sh::run(update.args(["-q", "update"]))?;
        Ok(fs::write(stamp, "")?)
    }

    /// Names of the packages that a package depends on.
    fn depends(&self, package: &str) -> Result<Vec<String>> {
        let shown = sh::output(self.apt("apt-cache").args(["show", "--no-all-versions", package]))?;
        let line = shown.lines().find_map(|line| line.strip_prefix("Depends: ")).unwrap_or_default();
        let name = |entry: &str| entry.split_whitespace().next().unwrap_or_default().to_owned();
        Ok(line.split(',').map(name).collect())
    }
}

/// Where this host gets Debian from.
fn mirror() -> Result<String> {
    if let Ok(mirror) = std::env::var(MIRROR) {
        return Ok(mirror);
    }
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    for text in files.iter().filter_map(|file| fs::read_to_string(file).ok()) {
        let lines = text.lines().filter(|line| line.starts_with("deb ") || line.starts_with("URIs:"));
        if let Some(address) = lines
            .flat_map(str::split_whitespace)
            .find(|word| word.contains("://") && word.trim_end_matches('/').ends_with("/debian"))
        {
            return Ok(address.to_owned());
        }
    }
    bail!("this host's apt sources name no Debian archive to take kernels from; set {MIRROR} to one")
}
