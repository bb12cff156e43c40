//! What `/proc` says of processes, and addresses of sockets that belong to others.

use std::fs;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
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

/// Control groups of the unified hierarchy: number, that is the inode's, and path.
pub(super) fn groups() -> Vec<(u64, String)> {
    use std::os::unix::fs::MetadataExt;
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let Some(root) =
        mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2")).and_then(|line| line.split(' ').nth(1))
    else {
        return Vec::new();
    };
    let (mut found, mut ahead) = (Vec::new(), vec![PathBuf::from(root)]);
    while let Some(folder) = ahead.pop() {
        let (Ok(metadata), Ok(entries)) = (fs::metadata(&folder), fs::read_dir(&folder)) else { continue };
        let below = folder.strip_prefix(root).map(|below| below.to_string_lossy().into_owned()).unwrap_or_default();
        found.push((metadata.ino(), format!("/{below}")));
        let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        ahead.extend(folders.map(|entry| entry.path()));
    }
    found
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

/// False for a thread other than its process's first, and for one that is gone.
pub(super) fn is_process(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix("Tgid:")).is_some_and(|group| group.trim().parse() == Ok(pid))
}

/// True when the process has one of these environment variables.
pub(super) fn has_environment(pid: u32, names: &[String]) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|entry| {
        let name = entry.split(|byte| *byte == b'=').next().unwrap_or_default();
        names.iter().any(|wanted| wanted.as_bytes() == name)
    })
}

/// Inodes of a running process's standard input and output. Where those are no pipes or sockets (any more), the only pipe that it reads
/// (or writes) from (or to) somebody else: servers move their wire away from 0 and 1.
pub(super) fn stdio(pid: u32) -> agent_wire::Stdio {
    let mut inherited = [0; 2];
    // Inode, and whether it is written.
    let mut pipes: Vec<(u64, bool)> = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
        let Some(fd) = entry.file_name().to_str().and_then(|name| name.parse::<usize>().ok()) else { continue };
        let link = fs::read_link(entry.path()).unwrap_or_default();
        let link = link.to_string_lossy();
        let inode = |sort: &str| link.strip_prefix(sort)?.strip_suffix(']')?.parse::<u64>().ok();
        match fd {
            0 | 1 => inherited[fd] = inode("pipe:[").or_else(|| inode("socket:[")).unwrap_or(0),
            _ => {
                if let Some(inode) = inode("pipe:[") {
                    pipes.push((inode, is_written(pid, fd)));
                }
            }
        }
    }
    let stderr = fs::read_link(format!("/proc/{pid}/fd/2")).unwrap_or_default();
    let only = |written: bool| {
        let both_ends = |inode: u64| pipes.iter().any(|(other, direction)| *other == inode && *direction != written);
        let own = |inode: u64| stderr.to_string_lossy() == format!("pipe:[{inode}]");
        let mut found = pipes.iter().filter(|(inode, direction)| *direction == written && !both_ends(*inode) && !own(*inode));
        found.next().filter(|_| found.next().is_none()).map_or(0, |(inode, _)| *inode)
    };
    let moved = inherited[0] == 0;
    agent_wire::Stdio {
        input: if moved { only(false) } else { inherited[0] },
        output: if moved { only(true) } else { inherited[1] },
    }
}

/// `O_WRONLY` or `O_RDWR` among the octal flags that `/proc/PID/fdinfo` shows.
fn is_written(pid: u32, fd: usize) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap_or_default();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).is_some_and(|flags| flags & 3 != 0)
}

/// Local and peer address of a socket in another process: its descriptor is duplicated for a moment, so namespaces do not matter.
pub(super) fn addresses(pid: u32, fd: i32) -> Option<(Option<String>, String)> {
    let target = borrow(pid, fd)?;
    let peer = rustix::net::getpeername(&target).ok().flatten().and_then(|address| SocketAddr::try_from(address).ok())?;
    let local = rustix::net::getsockname(&target).ok().and_then(|address| SocketAddr::try_from(address).ok());
    Some((local.map(canonical), canonical(peer)))
}

/// A duplicate of a descriptor of another process.
pub(super) fn borrow(pid: u32, fd: i32) -> Option<OwnedFd> {
    let process = rustix::process::pidfd_open(
        rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)?,
        rustix::process::PidfdFlags::empty(),
    )
    .ok()?;
    rustix::process::pidfd_getfd(&process, fd, rustix::process::PidfdGetfdFlags::empty()).ok()
}
