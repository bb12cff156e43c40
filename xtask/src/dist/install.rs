//! The package's whole life in a small Debian of its own: installed, at work, upgraded, removed, purged.
//!
//! The Debian lies in a folder; its own dpkg works there, in namespaces of its own for mounts, processes and network. The daemon alone
//! shares the host's processes: they are what it watches. It runs with the rights of its unit and no others, under the packaged
//! settings; what it has to find is an unmodified agent of this host that pays a stranger.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{Build, Packed, VERSION, deb};
use crate::{peers, setup, sh};

/// Of the rule that the agent breaks.
const RULE: &str = "core.injected-call";

/// Whom the unit's dynamic user stands for here.
const NOBODY: u32 = 65_534;

/// Where the daemon keeps its things; systemd would make these folders for it.
const PLACES: [&str; 4] = ["var/lib/agentward", "var/log/agentward", "var/cache/agentward", "run/agentward"];

pub(super) fn prove(build: &Build, packed: &Packed) -> Result<String> {
    ensure!(sh::is_root(), "needs root");
    setup::need(&[("debootstrap", "debootstrap"), ("unshare", "util-linux")])?;
    peers::prepare_python()?;
    let _alone = sh::alone("the installed daemon")?;
    let root = Root { path: build.out.join("root") };
    root.make()?;
    let before = root.files()?;
    root.dpkg(&["--install"], Some(&packed.deb))?;
    let said = root.run(&["agentward", "--version"])?;
    ensure!(said.contains(VERSION), "the installed program says {said}");
    let enabled = root.path.join("etc/systemd/system/multi-user.target.wants/agentward.service");
    ensure!(enabled.is_symlink(), "the unit is not enabled");
    root.unit_reads_well()?;
    let first = root.catches_an_agent()?;

    // An upgrade keeps what the administrator wrote and what the daemon had found.
    let settings = root.path.join("etc/agentward/agentward.toml");
    let mine = fs::read_to_string(&settings)? + "\n# mine\n";
    fs::write(&settings, &mine)?;
    let newer = deb::build(build, &packed.folder, &format!("{VERSION}+upgrade"))?;
    root.dpkg(&["--install", "--force-confold"], Some(&newer))?;
    fs::remove_file(&newer)?;
    ensure!(root.version()?.ends_with("+upgrade"), "dpkg knows version {}", root.version()?);
    ensure!(fs::read_to_string(&settings)? == mine, "the upgrade lost the administrator's settings");
    let second = root.catches_an_agent()?;
    ensure!(second > first && first > 0, "{first} alerts before the upgrade, {second} with those behind it");
    let verdict = root.run(&["agentward", "evidence", "verify"])?;

    root.dpkg(&["--remove", "agentward"], None)?;
    ensure!(!root.path.join("usr/bin/agentward").exists(), "removal left the program");
    ensure!(root.alerts()? == second && settings.exists(), "removal must keep evidence and settings");
    root.dpkg(&["--purge", "agentward"], None)?;
    let after = root.files()?;
    let names = |paths: &mut dyn Iterator<Item = &PathBuf>| paths.map(|path| path.display().to_string()).collect::<Vec<_>>();
    let left = names(&mut after.difference(&before));
    ensure!(left.is_empty(), "purge left {}", left.join(" "));
    let lost = names(&mut before.difference(&after));
    ensure!(lost.is_empty(), "purge took {}", lost.join(" "));
    Ok(format!(
        "installed; with its unit's rights it raised {first} alerts on an agent, upgraded {} more; evidence: {}; purged: of {} files the \
         same are there",
        second - first,
        verdict.trim().lines().next().unwrap_or_default(),
        before.len()
    ))
}

/// A Debian in a folder.
struct Root {
    path: PathBuf,
}

impl Root {
    /// Once: it is the same after each proof, which is what is proved.
    fn make(&self) -> Result<()> {
        if self.path.join("made").exists() {
            // A proof that failed leaves its package.
            if self.path.join("usr/bin/agentward").exists() {
                self.dpkg(&["--purge", "agentward"], None)?;
            }
            // And maybe what its daemon said.
            let _ = fs::remove_file(self.path.join("tmp/said"));
            return Ok(());
        }
        if self.path.exists() {
            fs::remove_dir_all(&self.path)?;
        }
        eprintln!("making a Debian in {}", self.path.display());
        let mut debootstrap = sh::command("debootstrap");
        debootstrap
            .args(["--variant=minbase", "--include=systemd,init-system-helpers", "bookworm"])
            .arg(&self.path)
            .args(mirror());
        sh::run(&mut debootstrap)?;
        Ok(fs::write(self.path.join("made"), "")?)
    }

    fn run(&self, words: &[&str]) -> Result<String> {
        sh::output(sh::command("chroot").arg(&self.path).args(words))
    }

    /// Its own dpkg, which cannot reach this host's services, network or processes.
    fn dpkg(&self, words: &[&str], package: Option<&Path>) -> Result<()> {
        let inside = Path::new("tmp/package.deb");
        if let Some(package) = package {
            fs::copy(package, self.path.join(inside))?;
        }
        let mut dpkg = sh::command("unshare");
        dpkg.args(["--mount", "--pid", "--fork", "--net", "--ipc", "--uts", "chroot"]).arg(&self.path).arg("dpkg").args(words);
        dpkg.args(package.map(|_| Path::new("/").join(inside)));
        sh::run(dpkg.env("DEBIAN_FRONTEND", "noninteractive").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"))?;
        if package.is_some() {
            fs::remove_file(self.path.join(inside))?;
        }
        Ok(())
    }

    fn version(&self) -> Result<String> {
        self.run(&["dpkg-query", "-W", "-f", "${Version}", "agentward"])
    }

    /// What there is, without what dpkg itself keeps for its own use.
    fn files(&self) -> Result<BTreeSet<PathBuf>> {
        let listed = sh::output(sh::command("find").arg(&self.path).args(["-xdev", "-mindepth", "1", "-printf", "%P\\n"]))?;
        let own = |path: &str| {
            let dpkg = path.starts_with("var/lib/dpkg/") && !path.contains("agentward");
            let noise =
                ["var/log/dpkg.log", "var/cache/debconf", "var/log/alternatives.log"].iter().any(|start| path.starts_with(start));
            dpkg || noise
        };
        Ok(listed.lines().filter(|path| !own(path)).map(PathBuf::from).collect())
    }

    /// The installed unit and its programs, as systemd reads them; the manual that it names is there.
    fn unit_reads_well(&self) -> Result<()> {
        ensure!(self.path.join("usr/share/man/man1/agentward.1.gz").is_file(), "the manual is not installed");
        let mut verify = sh::command("systemd-analyze");
        verify.arg(format!("--root={}", self.path.display())).args(["--man=no", "verify", "agentward.service"]);
        let read = verify.output().context("systemd-analyze")?;
        let said = String::from_utf8_lossy(&read.stderr);
        ensure!(!said.lines().any(|line| line.contains("agentward")), "systemd complains: {said}");
        Ok(())
    }

    /// Runs the installed daemon while an agent of this host does what it should not, and gives how many alerts there are by then.
    fn catches_an_agent(&self) -> Result<usize> {
        for place in PLACES.map(|place| self.path.join(place)) {
            fs::create_dir_all(&place)?;
            fs::set_permissions(&place, fs::Permissions::from_mode(0o700))?;
            chown(&place, Some(NOBODY), Some(NOBODY))?;
        }
        let before = self.of_rule()?;
        let mut daemon = self.start()?;
        sh::run(sh::command(peers::python()).arg(peers::sources().join("demo.py")).arg("bad"))?;
        let found = wait_for("the alert", || self.of_rule().ok().filter(|found| *found > before));
        let said = daemon.end()?;
        found.with_context(|| format!("the daemon said: {said}"))?;
        self.alerts()
    }

    /// `agentward run` as its unit has it.
    fn start(&self) -> Result<Ended> {
        let unit = fs::read_to_string(self.path.join("usr/lib/systemd/system/agentward.service"))?;
        let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("no {key}"));
        let rights: Vec<String> =
            value("AmbientCapabilities=")?.split_whitespace().map(|name| format!("+{}", name[4..].to_lowercase())).collect();
        let rights = format!("-all,{}", rights.join(","));
        // Namespaces of its own, as the unit asks for: nothing has to be unmounted afterwards.
        let script = "mount -t proc -o hidepid=invisible,subset=pid proc \"$1/proc\" && mount --rbind /sys \"$1/sys\" && exec chroot \"$1\" setpriv --reuid=\"$3\" \
            --regid=\"$3\" --clear-groups --no-new-privs --bounding-set=\"$2\" --inh-caps=\"$2\" --ambient-caps=\"$2\" $4";
        let words = self.path.join("tmp/said");
        let mut daemon = sh::command("unshare");
        ensure!(value("ProcSubset=")? == "pid" && value("PrivateNetwork=")? == "yes", "the proof has more room than the unit");
        daemon.args(["--mount", "--net", "--propagation", "private", "sh", "-c", script, "sh"]).arg(&self.path).arg(&rights);
        daemon.arg(NOBODY.to_string()).arg(value("ExecStart=")?);
        daemon.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&words)?);
        let mut daemon = Ended { child: daemon.spawn().context("the installed daemon")?, words };
        wait_for("the installed daemon", || {
            (daemon.is_over() || daemon.said().lines().any(|line| line == "ready")).then_some(())
        })?;
        ensure!(!daemon.is_over(), "the installed daemon ended: {}", daemon.said());
        Ok(daemon)
    }

    fn alerts(&self) -> Result<usize> {
        Ok(fs::read_to_string(self.path.join("var/log/agentward/alerts.jsonl"))?.lines().count())
    }

    fn of_rule(&self) -> Result<usize> {
        let text = fs::read_to_string(self.path.join("var/log/agentward/alerts.jsonl")).unwrap_or_default();
        Ok(text.lines().filter(|line| line.contains(RULE)).count())
    }
}

/// The archive that this host's own packages come from.
fn mirror() -> Option<String> {
    let policy = sh::output(sh::command("apt-cache").arg("policy").arg("base-files")).ok()?;
    let url = policy.split_whitespace().find(|word| word.starts_with("http"))?;
    Some(url.to_owned())
}

/// A daemon that does not outlive the check, and what it said.
struct Ended {
    child: Child,
    words: PathBuf,
}

impl Ended {
    fn is_over(&mut self) -> bool {
        self.child.try_wait().ok().flatten().is_some()
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.words).unwrap_or_default()
    }

    /// As systemd ends it.
    fn end(&mut self) -> Result<String> {
        sh::output(sh::command("kill").args(["-TERM", &self.child.id().to_string()]))?;
        let status = self.child.wait()?;
        let said = self.said();
        ensure!(status.success(), "with the unit's rights it ended with {status}: {said}");
        fs::remove_file(&self.words)?;
        Ok(said)
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> Result<T> {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(60) {
        if let Some(found) = ready() {
            return Ok(found);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("waited in vain for {what}")
}
