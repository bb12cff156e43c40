//! The guest's root file system: busybox, real TLS clients, a Python that runs the tests' server, and the daemon. One cpio archive.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{build, peers, sh};

const INIT: &str = include_str!("guest/init.sh");
const PROBED: &str = include_str!("guest/probed.py");

/// What the server, the clients and the checks import, now or lazily.
const MODULES: &str = "argparse, ctypes, gzip, hashlib, http.server, json, mmap, os, random, re, select, socket, ssl, subprocess, sys, \
    threading, time, urllib.parse, encodings.ascii, encodings.idna, encodings.latin_1, encodings.utf_8, stringprep, unicodedata, zipfile";

/// Debian's own: its files are where the guest looks for them.
const PYTHON: &str = "/usr/bin/python3";

/// Packs the image anew: it takes a second or two, and the daemon may have changed.
pub(super) fn build(folder: &Path) -> Result<PathBuf> {
    let root = folder.join("root");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    for name in ["dev", "proc", "sys", "tmp", "scene", "run", "etc/ssl", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "peers"] {
        fs::create_dir_all(root.join(name))?;
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), root.join(name))?;
    }
    let image = Image { root: root.clone() };
    image.program(Path::new(PYTHON), "usr/bin/python3")?;
    for name in ["busybox", "curl", "wget", "openssl"] {
        let program = sh::which(name).with_context(|| format!("{name} is not installed"))?;
        image.program(&program, &format!("usr/bin/{name}"))?;
    }
    image.program(&build::daemon(), "usr/bin/agentward")?;
    image.python()?;
    for name in ["standin.py", "ledger.py", "clients/load.py", "clients/cold.py"] {
        image.file(&peers::sources().join(name), &format!("peers/{}", name.trim_start_matches("clients/")))?;
    }
    if Path::new("/etc/ssl/openssl.cnf").exists() {
        image.file(Path::new("/etc/ssl/openssl.cnf"), "etc/ssl/openssl.cnf")?;
        fs::create_dir_all(root.join("usr/lib/ssl"))?;
        symlink("/etc/ssl/openssl.cnf", root.join("usr/lib/ssl/openssl.cnf"))?;
    }
    for (name, text) in [
        ("etc/passwd", "root:x:0:0:root:/:/bin/sh\n"),
        ("etc/hosts", "127.0.0.1 localhost\n"),
        ("etc/nsswitch.conf", "hosts: files\npasswd: files\n"),
        ("peers/probed.py", PROBED),
        ("init", INIT),
    ] {
        fs::write(root.join(name), text)?;
    }
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
    let archive = folder.join("image.cpio");
    let mut pack = sh::command("sh");
    pack.args(["-c", "find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 > ../image.cpio"]).current_dir(&root);
    sh::run(&mut pack)?;
    Ok(archive)
}

struct Image {
    root: PathBuf,
}

impl Image {
    /// A copy of what `from` names, links followed.
    fn file(&self, from: &Path, to: &str) -> Result<()> {
        let to = self.root.join(to);
        if to.exists() {
            return Ok(());
        }
        fs::create_dir_all(to.parent().unwrap_or(&self.root))?;
        fs::copy(from, &to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
        Ok(())
    }

    /// A program or library with the libraries that it asks for, at the paths at which it asks.
    fn program(&self, from: &Path, to: &str) -> Result<()> {
        self.file(from, to)?;
        // A static program has none.
        let needed = sh::output(sh::command("ldd").arg(from)).unwrap_or_default();
        for path in needed.split_whitespace().filter(|word| word.starts_with('/')) {
            self.library(Path::new(path))?;
        }
        Ok(())
    }

    fn library(&self, path: &Path) -> Result<()> {
        let inside = path.strip_prefix("/").unwrap_or(path);
        // The image is merged: /lib is /usr/lib.
        let place = if inside.starts_with("usr") { inside.to_owned() } else { Path::new("usr").join(inside) };
        self.file(path, &place.to_string_lossy())
    }

    /// The interpreter's modules, compiled so that the guest takes them without looking at the clock.
    fn python(&self) -> Result<()> {
        let program = format!(
            "import {MODULES}\nimport sys, sysconfig\nprint(sysconfig.get_path('stdlib'))\n\
             for m in list(sys.modules.values()):\n  if getattr(m, '__file__', None): print(m.__file__)"
        );
        let listed = sh::output(sh::command(PYTHON).args(["-I", "-c", &program]))?;
        let mut lines = listed.lines();
        let library = lines.next().context("python3 names no library")?.to_owned();
        let files: BTreeSet<&str> = lines.filter(|line| line.starts_with(&library)).collect();
        for file in files {
            if file.ends_with(".so") {
                self.program(Path::new(file), file.trim_start_matches('/'))?;
            } else {
                self.file(Path::new(file), file.trim_start_matches('/'))?;
            }
        }
        fs::create_dir_all(self.root.join(library.trim_start_matches('/')).join("lib-dynload"))?;
        let mut compile = sh::command(PYTHON);
        compile.args(["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "-s"]);
        compile.arg(&self.root).args(["-p", "/"]).arg(self.root.join(library.trim_start_matches('/')));
        sh::run(&mut compile)
    }
}
