//! Which road to a BPF build is open on this host, and what is missing on it.
//!
//! Two roads give a `core` for the BPF target: rustup's nightly with `rust-src` (built by cargo), and Debian's `rustc-web`
//! with `libstd-rust-web-dev-bpf` (prebuilt). Both need `bpf-linker` with an LLVM at least as new as that compiler's.
//! A road that stands is taken; else the one that this host can install. What is installed is said first.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::sh;

/// The version the probes are built and tested with.
const BPF_LINKER: &str = "0.13.0";
/// LLVM versions that this bpf-linker can be built with.
const LINKABLE: [u32; 3] = [21, 22, 23];

const NO_ROAD: &str = "no way to build the probes was found on this host. Either of these opens one:
  1. rustup:  rustup toolchain install nightly --profile minimal --component rust-src
  2. Debian:  apt-get update && apt-get install --no-install-recommends rustc-web libstd-rust-web-dev-bpf llvm-22-dev
then run `cargo xtask setup` again. (The library, replay and the rule tools need neither: cargo test --no-default-features)";

/// A compiler for the BPF target.
pub enum Road {
    /// Cargo builds `core` itself.
    Nightly,
    /// `core` is there.
    Debian { rustc: PathBuf },
}

impl Road {
    /// `cargo build`, prepared for the BPF target by this road, with the caller's flags for rustc; the caller adds what to build.
    pub fn cargo_build(&self, more: &[String]) -> Command {
        let mut cargo = match self {
            Road::Nightly => {
                let mut rustup = sh::command("rustup");
                rustup.args(["run", "nightly", "cargo", "build", "-Z", "build-std=core"]);
                rustup.env_remove("RUSTC").env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
                rustup
            }
            Road::Debian { rustc } => {
                let mut cargo = sh::cargo();
                // Debian's is a stable compiler; the BPF intrinsics want unstable features.
                cargo.arg("build").env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
                cargo
            }
        };
        let linker = sh::which("bpf-linker").unwrap_or_else(|| "bpf-linker".into());
        let linker = format!("linker={}", linker.display());
        let mut flags = vec!["-C", &linker, "-C", "debuginfo=2", "-C", "link-arg=--btf"];
        flags.extend(more.iter().map(String::as_str));
        let flags = flags.join("\x1f");
        cargo.env_remove("RUSTFLAGS").env_remove("RUSTC_WRAPPER").env("CARGO_ENCODED_RUSTFLAGS", flags);
        cargo
    }

    fn name(&self) -> &'static str {
        match self {
            Road::Nightly => "rustup nightly with rust-src",
            Road::Debian { .. } => "Debian's rustc with its BPF core",
        }
    }

    fn llvm(&self) -> Result<u32> {
        let version = match self {
            Road::Nightly => sh::output(sh::command("rustup").args(["run", "nightly", "rustc", "-vV"]))?,
            Road::Debian { rustc } => sh::output(sh::command(rustc).arg("-vV"))?,
        };
        llvm(&version)
    }
}

/// The major version of the LLVM in a compiler that says so of itself (`rustc -vV`).
pub fn llvm(said: &str) -> Result<u32> {
    let line = said.lines().find_map(|line| line.strip_prefix("LLVM version: "));
    line.and_then(|text| text.split('.').next()?.parse().ok()).context("the compiler does not name its LLVM")
}

/// Flags by which what is built does not say where: the checkout at `root`, its target folder, and cargo's copies of crates get fixed names.
pub fn path_maps(root: &Path, target: &Path) -> Vec<String> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo"))).unwrap_or_default();
    // The last map that fits is taken.
    [(root, "agentward"), (target, "target"), (&home.join("registry/src"), "crates")]
        .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()))
        .to_vec()
}

/// Makes sure that the probes can be built, and says how.
pub fn run() -> Result<Road> {
    need(&[("cc", "gcc"), ("ld", "binutils")])?;
    let road = match standing() {
        Some(road) => road,
        None => open()?,
    };
    linker(&road)?;
    eprintln!("probe build: {}", road.name());
    Ok(road)
}

fn standing() -> Option<Road> {
    debian().or_else(nightly)
}

fn debian() -> Option<Road> {
    let rustc = PathBuf::from("/usr/bin/rustc");
    let sysroot = sh::output(sh::command(&rustc).args(["--print", "sysroot"])).ok()?;
    Path::new(sysroot.trim()).join("lib/rustlib/bpfel-unknown-none/lib").is_dir().then_some(Road::Debian { rustc })
}

fn nightly() -> Option<Road> {
    let sysroot = sh::output(sh::command("rustup").args(["run", "nightly", "rustc", "--print", "sysroot"])).ok()?;
    Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core").is_dir().then_some(Road::Nightly)
}

/// Installs the road that this host can have: Debian's first, because its compiler and LLVM are known to fit together.
fn open() -> Result<Road> {
    let debian_packages = ["rustc-web", "libstd-rust-web-dev-bpf"];
    if sh::which("apt-get").is_some() {
        if !has_candidate(debian_packages[1]) {
            update_index();
        }
        if has_candidate(debian_packages[1]) {
            install(&debian_packages)?;
            return debian().context("Debian's rustc was installed but its BPF core is not where it was expected");
        }
    }
    if sh::which("rustup").is_some() {
        eprintln!("installing with rustup: nightly toolchain, component rust-src");
        let mut rustup = sh::command("rustup");
        rustup.args(["toolchain", "install", "nightly", "--profile", "minimal", "--component", "rust-src"]);
        if sh::run(&mut rustup).is_ok()
            && let Some(road) = nightly()
        {
            return Ok(road);
        }
    }
    bail!(NO_ROAD)
}

/// Builds bpf-linker from crates.io against the oldest LLVM that can read what the road's compiler writes.
fn linker(road: &Road) -> Result<()> {
    if sh::which("bpf-linker").is_some() {
        return Ok(());
    }
    let wanted = road.llvm()?;
    let there = |llvm: &u32| Path::new(&format!("/usr/lib/llvm-{llvm}/include/llvm/IR/Module.h")).exists();
    let newer = || LINKABLE.into_iter().filter(|llvm| *llvm >= wanted);
    let llvm = newer().find(there).or_else(|| newer().find(|llvm| has_candidate(&format!("llvm-{llvm}-dev"))));
    let Some(llvm) = llvm else {
        bail!(
            "bpf-linker is missing and no LLVM {wanted} to {} was found to build it with; install one (Debian, Ubuntu: llvm-{wanted}-dev, \
             also from apt.llvm.org) or put a released bpf-linker {BPF_LINKER} into PATH, then run `cargo xtask setup` again",
            LINKABLE[LINKABLE.len() - 1]
        );
    };
    if !there(&llvm) {
        install(&[&format!("llvm-{llvm}-dev")])?;
    }
    let cxx = [("c++", "g++")];
    need(&cxx)?;
    eprintln!("installing with cargo: bpf-linker {BPF_LINKER} (takes some minutes)");
    let mut cargo = sh::cargo();
    cargo.args(["install", "--locked", "--no-default-features", "--features", &format!("llvm-{llvm}")]);
    // `LLVM_SYS_…` tells llvm-sys; `LLVM_PREFIX` tells bpf-linker itself, which else takes the folder above any llvm-config in PATH.
    let prefix = format!("/usr/lib/llvm-{llvm}");
    cargo.arg(format!("bpf-linker@{BPF_LINKER}")).env(format!("LLVM_SYS_{llvm}1_PREFIX"), &prefix).env("LLVM_PREFIX", &prefix);
    sh::run(&mut cargo)
}

/// Installs the package of each program that is not there.
pub fn need(programs: &[(&str, &str)]) -> Result<()> {
    let mut missing: Vec<&str> =
        programs.iter().filter(|(program, _)| sh::which(program).is_none()).map(|(_, package)| *package).collect();
    missing.dedup();
    if missing.is_empty() { Ok(()) } else { install(&missing) }
}

/// Installs with apt what is not installed, after saying so.
pub fn install(packages: &[&str]) -> Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if sh::which("apt-get").is_none() {
        bail!("this host has no apt-get; please install what Debian calls: {}", missing.join(" "));
    }
    eprintln!("installing with apt-get: {}", missing.join(" "));
    if !missing.iter().all(|package| has_candidate(package)) {
        update_index();
    }
    let mut apt = sh::as_root("apt-get");
    // Another apt may be at work on this host: wait for it rather than fail.
    apt.args(["-o", "DPkg::Lock::Timeout=600", "install", "-y", "-q", "--no-install-recommends"])
        .args(&missing)
        .env("DEBIAN_FRONTEND", "noninteractive");
    if sh::run(&mut apt).is_ok() {
        return Ok(());
    }
    // An index that is older than the archive names files that are gone.
    update_index();
    sh::run(&mut apt)
}

fn update_index() {
    if let Err(error) = sh::run(sh::as_root("apt-get").args(["update", "-q"])) {
        eprintln!("xtask: {error:#}; going on with the package index there is");
    }
}

fn is_installed(package: &str) -> bool {
    let mut query = sh::command("dpkg-query");
    sh::output(query.args(["-W", "-f", "${db:Status-Status}", package])).is_ok_and(|status| status == "installed")
}

fn has_candidate(package: &str) -> bool {
    let policy = sh::output(sh::command("apt-cache").args(["policy", package])).unwrap_or_default();
    policy.lines().any(|line| line.trim_start().starts_with("Candidate:") && !line.contains("(none)"))
}
