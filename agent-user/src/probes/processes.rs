//! What `/proc` says of processes, and addresses of sockets that belong to others.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::base::Sensitive;
use crate::capture::Exec;
use crate::capture::ring::canonical;

/// Every process, ascending.
pub(super) fn all() -> Vec<u32> {
    let mut pids: Vec<u32> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    pids
}

/// Identity of a running process from `/proc`; `None` when it is gone or a kernel thread.
pub(super) fn identity(pid: u32, boot: u64) -> Option<Exec> {
    let exe = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let (ppid, start) = parent_and_start(pid, boot)?;
    let argv = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let argv: Vec<Arc<str>> =
        argv.split(|byte| *byte == 0).filter(|text| !text.is_empty()).map(|text| String::from_utf8_lossy(text).into()).collect();
    let exe = exe.to_string_lossy();
    Some(Exec {
        pid,
        ppid: Some(ppid),
        start: Some(start),
        uid: uid(pid),
        exe: exe.strip_suffix(" (deleted)").unwrap_or(&exe).into(),
        argv: Sensitive::new(argv),
        cwd: cwd(pid),
        cgroup: cgroup(pid),
    })
}

pub(super) fn cwd(pid: u32) -> Option<Arc<str>> {
    fs::read_link(format!("/proc/{pid}/cwd")).ok().map(|path| path.to_string_lossy().into())
}

/// Path in the unified hierarchy.
pub(super) fn cgroup(pid: u32) -> Option<Arc<str>> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::")).map(Arc::from)
}

fn uid(pid: u32) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    fs::metadata(format!("/proc/{pid}")).ok().map(|metadata| metadata.uid())
}

/// Fields 4 and 22 of `/proc/PID/stat`; `start` in nanoseconds since the epoch, `boot` being the epoch time of boot.
pub(super) fn parent_and_start(pid: u32, boot: u64) -> Option<(u32, u64)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in field 2 may hold spaces and parentheses.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(19)?.parse().ok()?;
    Some((fields.get(1)?.parse().ok()?, boot + ticks * (1_000_000_000 / ticks_per_second())))
}

fn ticks_per_second() -> u64 {
    rustix::param::clock_ticks_per_second().max(1)
}

/// True when the process has one of these environment variables.
pub(super) fn has_environment(pid: u32, names: &[String]) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|entry| {
        let name = entry.split(|byte| *byte == b'=').next().unwrap_or_default();
        names.iter().any(|wanted| wanted.as_bytes() == name)
    })
}

/// Local and peer address of a socket in another process: its descriptor is duplicated for a moment, so namespaces do not matter.
pub(super) fn addresses(pid: u32, fd: i32) -> Option<(Option<String>, String)> {
    let process = rustix::process::pidfd_open(
        rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)?,
        rustix::process::PidfdFlags::empty(),
    )
    .ok()?;
    let target = rustix::process::pidfd_getfd(&process, fd, rustix::process::PidfdGetfdFlags::empty()).ok()?;
    let peer = rustix::net::getpeername(&target).ok().flatten().and_then(|address| SocketAddr::try_from(address).ok())?;
    let local = rustix::net::getsockname(&target).ok().and_then(|address| SocketAddr::try_from(address).ok());
    Some((local.map(canonical), canonical(peer)))
}
