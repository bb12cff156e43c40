//! What users install: a `.deb` and a tarball, with sums, a bill of materials, manual, completions, unit, container and cluster recipes.
//!
//! In: the checkout. Out: `target/dist`. The same sources give the same bytes in any folder: paths are mapped away, times are those of
//! the last commit. `--check` proves what can be proved without a running systemd or cluster ([`check`]); `--twice` builds a second time
//! in another folder and compares. Nothing here installs the package on this host.

mod check;
mod deb;
mod install;
mod licences;
mod sbom;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::{setup, sh};

#[derive(clap::Args)]
pub struct Arguments {
    /// Validate unit, manifests and bill of materials, ask cargo-deny, install, upgrade, use and purge the package in a root of its own.
    #[arg(long)]
    check: bool,
    /// Build a second time in another folder and compare.
    #[arg(long)]
    twice: bool,
    /// Pack the program of the last `cargo xtask build`: quick, for work on the packages, but not the same bytes in every folder.
    #[arg(long, conflicts_with = "twice")]
    built: bool,
}

/// One build and what it is made of.
struct Build {
    /// The checkout.
    root: PathBuf,
    /// Cargo's folder for it.
    target: PathBuf,
    /// Seconds since the epoch that every file carries.
    epoch: String,
    /// Where the packages go.
    out: PathBuf,
    /// Take the program that was built last.
    built: bool,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

pub fn run(arguments: &Arguments) -> Result<()> {
    setup::need(&[("tar", "tar"), ("gzip", "gzip"), ("sha256sum", "coreutils"), ("dpkg-deb", "dpkg"), ("objdump", "binutils")])?;
    let dist = sh::target().join("dist");
    let epoch = epoch();
    let first =
        Build { root: sh::root().to_owned(), target: dist.join("build"), epoch, out: dist.clone(), built: arguments.built };
    let packed = pack(&first)?;
    if arguments.twice {
        twice(&first, &packed)?;
    }
    if arguments.check {
        check::all(&first, &packed)?;
    }
    for file in &packed.files {
        println!("{}", file.display());
    }
    Ok(())
}

/// For `cargo xtask test --only dist`: the packages of the last build, and all that can be proved of them.
pub fn prove() -> Result<()> {
    crate::build::run()?;
    run(&Arguments { check: true, twice: false, built: true })
}

/// The last commit's time, so that a build of the same sources carries the same.
fn epoch() -> String {
    let commit = || sh::output(sh::command("git").args(["log", "-1", "--format=%ct"])).ok();
    let given = std::env::var("SOURCE_DATE_EPOCH").ok().or_else(commit).unwrap_or_default();
    let digits = given.trim().to_owned();
    if digits.is_empty() { "0".into() } else { digits }
}

/// What came out.
struct Packed {
    /// The unpacked tarball.
    folder: PathBuf,
    deb: PathBuf,
    files: Vec<PathBuf>,
}

fn pack(build: &Build) -> Result<Packed> {
    let (program, object, manual) = compile(build)?;
    let name = format!("agentward-{VERSION}-{}-linux", std::env::consts::ARCH);
    let folder = build.out.join(&name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let put = |from: &Path, to: &str, mode: u32| -> Result<()> {
        let to = folder.join(to);
        fs::create_dir_all(to.parent().context("lies in a folder")?)?;
        fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        Ok(fs::set_permissions(&to, fs::Permissions::from_mode(mode))?)
    };
    put(&program, "agentward", 0o755)?;
    let program = folder.join("agentward");
    if build.built {
        // The names and lines of a plain build are nine tenths of it.
        sh::run(sh::command("strip").arg(&program))?;
    }
    for file in ["README.md", "CHANGELOG.md", "SECURITY.md", "LICENSE"] {
        put(&build.root.join(file), file, 0o644)?;
    }
    for file in ["agentward.service", "agentward.toml", "network.conf", "Containerfile", "daemonset.yaml"] {
        put(&build.root.join("xtask/dist").join(file), file, 0o644)?;
    }
    let rules = files_below(&build.root.join("rules"))?;
    for file in rules.into_iter().chain(files_below(&build.root.join("agent-user/observe"))?) {
        let inside = file.strip_prefix(&build.root).context("lies in the checkout")?;
        let inside = inside.strip_prefix("agent-user").unwrap_or(inside);
        put(&file, &inside.to_string_lossy(), 0o644)?;
    }
    for file in files_below(&manual)? {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let place = if name.ends_with(".1") { "man" } else { "completions" };
        put(&file, &format!("{place}/{name}"), 0o644)?;
    }
    let linked = sbom::linked(build)?;
    fs::write(folder.join("THIRD-PARTY.txt"), licences::list(&linked)?)?;
    let bill = sbom::bill(build, &program, &object, &linked)?;
    let bill_file = folder.join("sbom.cdx.json");
    fs::write(&bill_file, &bill)?;

    let tarball = build.out.join(format!("{name}.tar.gz"));
    let mut tar = sh::command("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=u+rw,go+r,go-w", "--format=ustar"]);
    tar.arg(format!("--mtime=@{}", build.epoch)).arg("-C").arg(&build.out).args(["--use-compress-program", "gzip -9n", "-cf"]);
    sh::run(tar.arg(&tarball).arg(&name))?;
    let deb = deb::build(build, &folder, VERSION)?;
    let bill_beside = build.out.join(format!("{name}.cdx.json"));
    fs::write(&bill_beside, &bill)?;
    let files = vec![tarball, deb.clone(), bill_beside];
    let sums = build.out.join("SHA256SUMS");
    let mut text = String::new();
    for file in &files {
        text += &format!("{}  {}\n", sha256(file)?, file.file_name().unwrap_or_default().to_string_lossy());
    }
    fs::write(&sums, text)?;
    Ok(Packed { folder, deb, files: files.into_iter().chain([sums]).collect() })
}

/// Program, probe object, and the folder of manual pages and completions.
fn compile(build: &Build) -> Result<(PathBuf, PathBuf, PathBuf)> {
    let maps = setup::path_maps(&build.root, &build.target);
    let object_of = |target: &Path| target.join("bpf/bpfel-unknown-none/release/agent-ebpf");
    let object = if build.built { object_of(&sh::target()) } else { crate::build::probes_of(&build.root, &build.target)? };
    let cargo = |what: &[&str]| {
        let mut cargo = sh::cargo();
        cargo
            .args(what)
            .args(["--locked", "--package", "agentward"])
            .current_dir(&build.root)
            .env("AGENTWARD_BPF_OBJECT", &object);
        if !build.built {
            cargo.args(["--profile", "dist", "--config", "profile.dist.strip=true", "--target-dir"]).arg(&build.target);
            cargo
                .env("SOURCE_DATE_EPOCH", &build.epoch)
                .env_remove("RUSTFLAGS")
                .env("CARGO_ENCODED_RUSTFLAGS", maps.join("\x1f"));
            let c: Vec<String> = maps.iter().map(|map| map.replace("--remap-path-prefix", "-ffile-prefix-map")).collect();
            cargo.env("CFLAGS", c.join(" "));
        }
        cargo
    };
    let program = if build.built {
        crate::build::daemon()
    } else {
        sh::run(&mut cargo(&["build"]))?;
        build.target.join("dist/agentward")
    };
    let manual = build.target.join("manual");
    // Making it links the library once more; for work on the packages that of an earlier time will do.
    if build.built && manual.exists() {
        return Ok((program, object, manual));
    }
    if manual.exists() {
        fs::remove_dir_all(&manual)?;
    }
    sh::run(cargo(&["run", "--quiet", "--example", "manual"]).arg("--").arg(&manual))?;
    Ok((program, object, manual))
}

/// The same checkout, copied elsewhere and built there, must give the same bytes.
fn twice(first: &Build, packed: &Packed) -> Result<()> {
    let elsewhere = std::env::temp_dir().join(format!("agentward-second-build-{}", std::process::id()));
    let root = elsewhere.join("a/longer/way/to/the/checkout");
    fs::create_dir_all(&root)?;
    let listed = sh::output(sh::command("git").args(["ls-files", "-z"])).context("--twice copies what git knows")?;
    for name in listed.split('\0').filter(|name| !name.is_empty()) {
        let (from, to) = (first.root.join(name), root.join(name));
        fs::create_dir_all(to.parent().context("lies in the checkout")?)?;
        fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    let out = elsewhere.join("out");
    fs::create_dir_all(&out)?;
    let second = Build { root, target: elsewhere.join("target"), epoch: first.epoch.clone(), out, built: false };
    let again = pack(&second)?;
    let mut same = true;
    for (one, two) in packed.files.iter().zip(&again.files) {
        let (left, right) = (sha256(one)?, sha256(two)?);
        let verdict = if left == right { "equal" } else { "DIFFERENT" };
        println!("{verdict}  {left}  {}", one.file_name().unwrap_or_default().to_string_lossy());
        same &= left == right;
    }
    ensure!(same, "two builds differ; the second is kept in {}", elsewhere.display());
    Ok(fs::remove_dir_all(&elsewhere)?)
}

/// Every file below a folder, sorted.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}

fn sha256(file: &Path) -> Result<String> {
    let line = sh::output(sh::command("sha256sum").arg(file))?;
    Ok(line.split_whitespace().next().context("sha256sum says nothing")?.to_owned())
}
