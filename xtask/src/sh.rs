//! Running other programs: every command that changes something is shown before it runs.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The checkout.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the checkout")
}

/// Build products, also those of other tools.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |folder| root().join(folder))
}

/// A command that starts in the checkout.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// The cargo that runs us, without what it told us about itself: an inner build decides anew.
pub fn cargo() -> Command {
    let mut command = command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text == "CARGO_MANIFEST_DIR" || text == "CARGO_MANIFEST_PATH" {
            command.env_remove(&name);
        }
    }
    command
}

/// The same command with the rights of root: itself, or through sudo.
pub fn as_root(program: impl AsRef<OsStr>) -> Command {
    if is_root() {
        return command(program);
    }
    let mut sudo = command("sudo");
    sudo.arg("--preserve-env").arg(program);
    sudo
}

pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Waits until no other checkout of this host watches it, and keeps the others away as long as the value lives: a daemon sees the
/// traffic of the whole host, and restored breakpoints are only restored when nobody else wants them.
pub fn alone(what: &str) -> Result<File> {
    if !is_root() {
        bail!("{what} loads probes and needs root: run `sudo -E cargo xtask …`");
    }
    let path = Path::new("/run/lock/agentward-live");
    let lock = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    if lock.try_lock().is_err() {
        eprintln!("another checkout watches this host: waiting for its end");
        lock.lock()?;
    }
    Ok(lock)
}

fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Shows the command, runs it, and fails with its status.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    eprintln!("$ {shown}");
    let status = command.status().with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` ended with {status}");
    }
    Ok(())
}

/// Like [`run`], and its error repeats the lines that name a fault: the whole output may be thousands of lines above the verdict.
pub fn check(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    eprintln!("$ {shown}");
    let cannot = || format!("cannot start `{shown}`");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().with_context(cannot)?;
    let (said, complained) = (child.stdout.take(), child.stderr.take());
    let faults = std::thread::scope(|scope| {
        let other = scope.spawn(|| pass_on(complained, &mut std::io::stderr()));
        let mut faults = pass_on(said, &mut std::io::stdout());
        faults.extend(other.join().unwrap_or_default());
        faults
    });
    let status = child.wait().with_context(cannot)?;
    if !status.success() {
        bail!("`{shown}` ended with {status}\n{}", faults.join("\n"));
    }
    Ok(())
}

/// Copies line by line; gives the last lines that name a fault, each with the one behind it (where a panic says why).
fn pass_on(from: Option<impl Read>, to: &mut impl Write) -> Vec<String> {
    const KEPT: usize = 12;
    let (mut faults, mut behind) = (Vec::new(), false);
    for line in from.into_iter().flat_map(|from| BufReader::new(from).split(b'\n')).map_while(Result::ok) {
        let text = String::from_utf8_lossy(&line).into_owned();
        // A closed output is no fault of the check.
        drop(writeln!(to, "{text}"));
        let names = ["FAILED", "panicked at", "error:", "error["].iter().any(|word| text.contains(word));
        if names || behind {
            faults.push(text.chars().take(400).collect());
            if faults.len() > KEPT {
                faults.remove(0);
            }
        }
        behind = names;
    }
    faults
}

/// Runs quietly and gives standard output; fails with the last words of standard error.
pub fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let done = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{shown}`"))?;
    if !done.status.success() {
        let words = String::from_utf8_lossy(&done.stderr);
        bail!("`{shown}` ended with {}: {}", done.status, words.trim_end().lines().next_back().unwrap_or_default());
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Where a program is found: in `PATH`, or in the folders that an ordinary user's `PATH` lacks.
pub fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .chain(home.map(|home| home.join("bin")))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
