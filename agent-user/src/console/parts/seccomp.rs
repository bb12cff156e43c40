//! The system calls of a part that is shut in. What is not listed is refused with `EPERM`, as if the right were missing: a library that
//! tries something new goes on without it.

use std::collections::BTreeMap;

use libc::{
    CLONE_THREAD, F_ADD_SEALS, FIOCLEX, FIONBIO, FIONREAD, PR_SET_NAME, PR_SET_VMA, PROT_EXEC, TCGETS, TIOCGWINSZ, c_long,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

/// What every part needs: memory, threads of its own, clocks, descriptors that it has, files that Landlock leaves to it.
const COMMON: &[c_long] = &[
    libc::SYS_accept4,
    libc::SYS_access,
    libc::SYS_brk,
    libc::SYS_chmod,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_copy_file_range,
    libc::SYS_dup,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd2,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fallocate,
    libc::SYS_fchmod,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_futex,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpeername,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_getuid,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_newfstatat,
    libc::SYS_open,
    libc::SYS_openat,
    libc::SYS_pipe2,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_read,
    libc::SYS_readlink,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_restart_syscall,
    libc::SYS_rmdir,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_set_robust_list,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_sigaltstack,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_statx,
    libc::SYS_sysinfo,
    libc::SYS_time,
    libc::SYS_uname,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_write,
    libc::SYS_writev,
];

/// What connecting asks for besides: sockets of these families, and those of name resolution.
const CONNECTING: &[c_long] = &[libc::SYS_bind, libc::SYS_connect, libc::SYS_recvmmsg, libc::SYS_sendmmsg, libc::SYS_socketpair];
const FAMILIES: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Requests of `ioctl` that change only a descriptor, or ask whether it is a terminal and how wide.
const IOCTLS: [u64; 5] = [FIONBIO, FIONREAD, FIOCLEX, TCGETS, TIOCGWINSZ];

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Shuts the calling thread in, and those that it starts. `connects` lets it make sockets.
pub(super) fn apply(connects: bool) -> Result<(), seccompiler::Error> {
    // Its arguments lie in memory, where no filter can see them: the C library falls back to the old call, which is looked at.
    install([(libc::SYS_clone3, Vec::new())].into(), SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))?;
    install(rules(connects)?, SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Allow)
}

fn install(rules: Rules, otherwise: SeccompAction, listed: SeccompAction) -> Result<(), seccompiler::Error> {
    let program: BpfProgram = SeccompFilter::new(rules, otherwise, listed, TargetArch::x86_64)?.try_into()?;
    seccompiler::apply_filter(&program)
}

fn rules(connects: bool) -> Result<Rules, seccompiler::Error> {
    let own = u64::from(std::process::id());
    let mut rules: Rules = COMMON.iter().map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_clone3, Vec::new());
    // Threads, and no processes.
    rules.insert(libc::SYS_clone, vec![masked(0, CLONE_THREAD as u64, CLONE_THREAD as u64)?]);
    // Memory, and no code.
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![masked(2, PROT_EXEC as u64, 0)?]);
    }
    // The memory of this page is sealed already; another's cannot be made.
    rules.insert(libc::SYS_fcntl, vec![not(1, F_ADD_SEALS as u64)?]);
    rules.insert(libc::SYS_ioctl, any_of(1, IOCTLS)?);
    rules.insert(libc::SYS_prctl, any_of(0, [PR_SET_NAME as u64, PR_SET_VMA as u64])?);
    // Limits are asked for, not set; signals go to this process alone.
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![equal(2, SeccompCmpArgLen::Qword, 0)?])?]);
    rules.insert(libc::SYS_tgkill, any_of(0, [own])?);
    if connects {
        rules.extend(CONNECTING.iter().map(|call| (*call, Vec::new())));
        rules.insert(libc::SYS_socket, any_of(0, FAMILIES.map(|family| family as u64))?);
    }
    Ok(rules)
}

/// The lower half of an argument, which is all that the kernel looks at where it takes an `int`.
fn equal(argument: u8, length: SeccompCmpArgLen, value: u64) -> Result<SeccompCondition, seccompiler::Error> {
    Ok(SeccompCondition::new(argument, length, SeccompCmpOp::Eq, value)?)
}

fn any_of<const N: usize>(argument: u8, values: [u64; N]) -> Result<Vec<SeccompRule>, seccompiler::Error> {
    values.into_iter().map(|value| Ok(SeccompRule::new(vec![equal(argument, SeccompCmpArgLen::Dword, value)?])?)).collect()
}

fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompRule, seccompiler::Error> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(mask), value)?;
    Ok(SeccompRule::new(vec![condition])?)
}

fn not(argument: u8, value: u64) -> Result<SeccompRule, seccompiler::Error> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value)?;
    Ok(SeccompRule::new(vec![condition])?)
}
