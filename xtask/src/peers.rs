//! The real programs that demo and live tests run: a Python environment and an npm folder with pinned packages.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{setup, sh};

/// Where they are installed.
pub fn folder() -> PathBuf {
    sh::target().join("peers")
}

pub fn python() -> PathBuf {
    folder().join("venv/bin/python")
}

pub fn sources() -> PathBuf {
    sh::root().join("tests/peers")
}

/// The Python clients, from PyPI.
pub fn prepare_python() -> Result<()> {
    python_environment("venv", &sources().join("requirements.txt"))
}

/// What reads alerts in the tests of sinks, from PyPI.
pub fn prepare_receivers() -> Result<()> {
    python_environment("receivers", &sh::root().join("tests/receivers/requirements.txt"))
}

fn python_environment(name: &str, wanted: &Path) -> Result<()> {
    setup::need(&[("python3", "python3"), ("openssl", "openssl")])?;
    if sh::output(sh::command("python3").args(["-c", "import ensurepip, venv"])).is_err() {
        setup::install(&["python3-venv"])?;
    }
    once(wanted, name, |venv| {
        sh::run(sh::command("python3").args(["-m", "venv"]).arg(venv))?;
        sh::run(sh::command(venv.join("bin/pip")).args(["install", "-q", "--disable-pip-version-check", "-r"]).arg(wanted))
    })
}

/// The Node clients, from npm.
pub fn prepare_node() -> Result<()> {
    npm(&sources().join("package.json"), "node")
}

/// The accessibility audit of the web console, from npm.
pub fn prepare_audit() -> Result<()> {
    npm(&sh::root().join("tests/console/package.json"), "audit")
}

fn npm(wanted: &Path, name: &str) -> Result<()> {
    setup::need(&[("node", "nodejs"), ("npm", "npm")])?;
    once(wanted, name, |node| {
        fs::create_dir_all(node)?;
        fs::copy(wanted, node.join("package.json"))?;
        sh::run(sh::command("npm").args(["install", "--no-audit", "--no-fund", "--silent"]).current_dir(node))
    })
}

/// Runs `make` unless `name` was made from the same `wanted` before.
fn once(wanted: &Path, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let text = fs::read_to_string(wanted).with_context(|| format!("cannot read {}", wanted.display()))?;
    let (made, stamp) = (folder().join(name), folder().join(format!("{name}.made")));
    if fs::read_to_string(&stamp).is_ok_and(|old| old == text) {
        return Ok(());
    }
    eprintln!("installing into {}: what {} names", made.display(), wanted.display());
    if made.exists() {
        fs::remove_dir_all(&made)?;
    }
    fs::create_dir_all(folder())?;
    make(&made)?;
    Ok(fs::write(stamp, text)?)
}
