//! What our rights and the kernel must offer, asked before anything is loaded: the message names what is missing.
//!
//! The kernel is asked by loading two-instruction programs and one tiny map, which are gone when this returns. A distribution may carry
//! a feature back or leave it out, so the version number decides nothing here.

use aya::maps::MapType;
use aya::programs::{ProgramError, ProgramType};
use aya::sys::{BpfHelper, is_helper_supported, is_map_supported};

use super::StartError;

/// Capabilities by their number in `capabilities(7)`: what loading, attaching, reading other processes' maps and opening their libraries
/// asks for. Root has them all; a service may be given these alone.
const RIGHTS: [(&str, u32); 5] =
    [("CAP_BPF", 39), ("CAP_PERFMON", 38), ("CAP_SYS_PTRACE", 19), ("CAP_DAC_READ_SEARCH", 2), ("CAP_CHECKPOINT_RESTORE", 40)];
/// Stands for those that were split off from it: 38 and above.
const SYS_ADMIN: u32 = 21;

/// Helpers of the TLS probes, and the kernel that brought each.
const HELPERS: [(&str, BpfHelper, &str); 5] = [
    ("bpf_probe_read_user", BpfHelper::BPF_FUNC_probe_read_user, "5.5"),
    ("bpf_ringbuf_reserve", BpfHelper::BPF_FUNC_ringbuf_reserve, "5.8"),
    ("bpf_ktime_get_boot_ns", BpfHelper::BPF_FUNC_ktime_get_boot_ns, "5.8"),
    ("bpf_get_attach_cookie", BpfHelper::BPF_FUNC_get_attach_cookie, "5.15"),
    ("bpf_loop", BpfHelper::BPF_FUNC_loop, "5.17"),
];

/// Fails with every right that this process lacks.
pub(super) fn rights() -> Result<(), StartError> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let missing = missing_rights(&status);
    if missing.is_empty() { Ok(()) } else { Err(StartError::NoRights(missing)) }
}

fn missing_rights(status: &str) -> Vec<&'static str> {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0);
    let has = |number: u32| effective >> number & 1 == 1;
    let covered = |number: u32| has(number) || (number >= 38 && has(SYS_ADMIN));
    RIGHTS.iter().filter(|(_, number)| !covered(*number)).map(|(name, _)| *name).collect()
}

/// Fails with every kernel feature that is missing.
pub(super) fn kernel() -> Result<(), StartError> {
    let refused = |error: &dyn std::error::Error| StartError::refused("BPF programs", error);
    let mut missing = Vec::new();
    if !is_map_supported(MapType::RingBuf).map_err(|error| refused(&error))? {
        missing.push("BPF ring buffers (Linux 5.8)".to_owned());
    }
    for (name, helper, since) in HELPERS {
        match is_helper_supported(ProgramType::KProbe, helper) {
            Ok(true) => {}
            Ok(false) => missing.push(format!("{name} (Linux {since})")),
            Err(error @ ProgramError::SyscallError(_)) => return Err(refused(&error)),
            Err(_) => missing.push(format!("{name} (Linux {since}) in uprobes")),
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(StartError::Lacks(missing)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_rights_are_named() {
        for (effective, missing) in [
            ("000001ffffffffff", &[][..]),
            ("0000000000000000", &["CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "CAP_CHECKPOINT_RESTORE"]),
            // CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH: an older container's way.
            ("0000000000280004", &[]),
            // CAP_BPF and CAP_PERFMON alone.
            ("000000c000000000", &["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "CAP_CHECKPOINT_RESTORE"]),
        ] {
            assert_eq!(missing_rights(&format!("Name:\ta\nCapEff:\t{effective}\n")), missing, "{effective}");
        }
        assert_eq!(missing_rights("").len(), RIGHTS.len(), "a status without the line");
    }
}
