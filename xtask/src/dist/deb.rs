//! The Debian package: the tarball's files where Debian wants them, and the maintainer scripts of `xtask/dist`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{Build, files_below};
use crate::sh;

const DOCS: &str = "usr/share/doc/agentward";

/// Packs what lies in `folder` as `version`.
pub(super) fn build(build: &Build, folder: &Path, version: &str) -> Result<PathBuf> {
    let tree = build.out.join("deb-root");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    let put = |from: &Path, to: &str, mode: u32| place(&tree, from, to, mode);
    put(&folder.join("agentward"), "usr/bin/agentward", 0o755)?;
    put(&folder.join("agentward.service"), "usr/lib/systemd/system/agentward.service", 0o644)?;
    put(&folder.join("agentward.toml"), "etc/agentward/agentward.toml", 0o644)?;
    fs::create_dir_all(tree.join("etc/agentward/rules"))?;
    for name in ["README.md", "SECURITY.md", "sbom.cdx.json", "THIRD-PARTY.txt"] {
        put(&folder.join(name), &format!("{DOCS}/{name}"), 0o644)?;
    }
    put(&folder.join("LICENSE"), &format!("{DOCS}/copyright"), 0o644)?;
    for name in ["Containerfile", "daemonset.yaml", "network.conf"] {
        put(&folder.join(name), &format!("{DOCS}/examples/{name}"), 0o644)?;
    }
    put(&folder.join("CHANGELOG.md"), &format!("{DOCS}/changelog"), 0o644)?;
    for file in files_below(&folder.join("rules"))?.into_iter().chain(files_below(&folder.join("observe"))?) {
        let inside = file.strip_prefix(folder).context("lies in the folder")?.to_string_lossy().into_owned();
        put(&file, &format!("usr/share/agentward/{inside}"), 0o644)?;
    }
    for file in files_below(&folder.join("man"))? {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        put(&file, &format!("usr/share/man/man1/{name}"), 0o644)?;
    }
    for (from, to) in [
        ("agentward.bash", "usr/share/bash-completion/completions/agentward"),
        ("_agentward", "usr/share/zsh/vendor-completions/_agentward"),
        ("agentward.fish", "usr/share/fish/vendor_completions.d/agentward.fish"),
    ] {
        put(&folder.join("completions").join(from), to, 0o644)?;
    }
    for file in files_below(&tree.join("usr/share/man"))?
        .iter()
        .chain(&["changelog", "THIRD-PARTY.txt"].map(|name| tree.join(DOCS).join(name)))
    {
        sh::output(sh::command("gzip").arg("-9n").arg(file))?;
    }
    let kilobytes: u64 =
        files_below(&tree)?.iter().map(|file| fs::metadata(file).map_or(0, |data| data.len().div_ceil(1024))).sum();
    let control = tree.join("DEBIAN");
    fs::create_dir_all(&control)?;
    fs::write(control.join("control"), fields(&folder.join("agentward"), version, kilobytes)?)?;
    fs::write(control.join("conffiles"), "/etc/agentward/agentward.toml\n")?;
    for name in ["postinst", "prerm", "postrm"] {
        place(&tree, &build.root.join("xtask/dist").join(name), &format!("DEBIAN/{name}"), 0o755)?;
    }
    let deb = build.out.join(format!("agentward_{version}_amd64.deb"));
    for entry in files_below(&tree)?.iter().map(PathBuf::as_path).chain(folders_of(&tree)?.iter().map(PathBuf::as_path)) {
        if entry.is_dir() {
            fs::set_permissions(entry, fs::Permissions::from_mode(0o755))?;
        }
    }
    let mut pack = sh::command("dpkg-deb");
    pack.args(["--root-owner-group", "-Zgzip", "-z9", "--build"]).arg(&tree).arg(&deb).env("SOURCE_DATE_EPOCH", &build.epoch);
    sh::run(&mut pack)?;
    fs::remove_dir_all(&tree)?;
    Ok(deb)
}

fn place(tree: &Path, from: &Path, to: &str, mode: u32) -> Result<()> {
    let to = tree.join(to);
    fs::create_dir_all(to.parent().context("lies in a folder")?)?;
    fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(fs::set_permissions(&to, fs::Permissions::from_mode(mode))?)
}

fn folders_of(tree: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = vec![tree.to_owned()];
    let mut next = 0;
    while next < folders.len() {
        for entry in fs::read_dir(&folders[next])? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            }
        }
        next += 1;
    }
    Ok(folders)
}

fn fields(program: &Path, version: &str, kilobytes: u64) -> Result<String> {
    Ok(format!(
        "Package: agentward\n\
         Version: {version}\n\
         Architecture: amd64\n\
         Maintainer: The agentward authors <agentward@localhost>\n\
         Installed-Size: {kilobytes}\n\
         Depends: libc6 (>= {})\n\
         Recommends: systemd\n\
         Section: admin\n\
         Priority: optional\n\
         Description: sees what AI agents do through APIs, and says when it breaks policy\n \
         Kernel probes read the plaintext of API calls at the TLS library's own door, the\n \
         daemon rebuilds it into calls and workflows, and judges each step against rules\n \
         that people write in TOML. Nothing in the agents changes. Needs Linux 6.1 or later.\n",
        libc(program)?
    ))
}

/// The newest glibc version that the program's symbols ask for.
fn libc(program: &Path) -> Result<String> {
    let symbols = sh::output(sh::command("objdump").arg("-T").arg(program))?;
    let version = |word: &str| -> Option<Vec<u32>> {
        word.trim_matches(|letter| letter == '(' || letter == ')')
            .strip_prefix("GLIBC_")?
            .split('.')
            .map(|part| part.parse().ok())
            .collect()
    };
    let newest = symbols.split_whitespace().filter_map(version).max().context("the program names no glibc version")?;
    Ok(newest.iter().map(u32::to_string).collect::<Vec<_>>().join("."))
}
