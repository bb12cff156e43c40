//! Which TLS library a file is, by what it exports, and which program goes where in it.

use agent_wire::{cookie, result, source};

use super::elf::Elf;
use super::kernel::Program;
use super::site::{HEAD, callees, cheap_site, is_instruction_start};
use super::stripped;
use crate::resolve::{Report, Stack};

/// A library family that was recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// libssl of OpenSSL 1.1 and 3, shared or linked into a program that exports it (Node).
    Openssl,
    Gnutls,
    Boringssl,
    Rustls,
    Go,
    /// More than one of them in one file.
    Several,
}

impl Family {
    pub fn name(self) -> &'static str {
        match self {
            Family::Openssl => "openssl",
            Family::Gnutls => "gnutls",
            Family::Boringssl => "boringssl",
            Family::Rustls => "rustls",
            Family::Go => "go",
            Family::Several => "several",
        }
    }
}

/// One program at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Site {
    pub(super) program: Program,
    /// In the file.
    pub(super) offset: u64,
    pub(super) cookie: u64,
    /// For `doctor`: the function it belongs to.
    pub(super) function: &'static str,
    /// Not 0 where it was found without a symbol: hits of such a place are judged, under this number within the file.
    pub(super) judged: u32,
}

impl Site {
    /// The number under which its hits are judged, as the kernel knows it; 0 where they are not.
    pub(super) fn place(&self) -> u32 {
        u32::try_from(self.cookie >> 32).unwrap_or(0)
    }
}

const OPENSSL: &[(&str, Program)] = &[
    ("SSL_set_fd", Program::SetFd),
    ("SSL_set_rfd", Program::SetFd),
    ("SSL_set_wfd", Program::SetFd),
    ("SSL_set_bio", Program::SetBio),
    ("SSL_ctrl", Program::Ctrl),
    ("SSL_free", Program::Free),
    ("SSL_clear", Program::Clear),
];

const GNUTLS: &[(&str, Program)] = &[
    ("gnutls_transport_set_int2", Program::SetFd),
    ("gnutls_server_name_set", Program::GnutlsName),
    ("gnutls_deinit", Program::Free),
];

/// The symbols that a reader of the file must keep.
pub(super) fn wanted(name: &str) -> bool {
    name.starts_with("SSL_") || name.starts_with("gnutls_")
}

/// Recognises families by what the file exports, then by what was resolved in it, and plans their probes; `None` for a file that holds no
/// library that can be read.
pub(super) fn plan(elf: &Elf<'_>, resolved: &Report) -> Option<(Family, Vec<Site>)> {
    let (mut families, mut sites) = (Vec::new(), Vec::new());
    let named = elf.function("SSL_read").is_some() && elf.function("SSL_write").is_some();
    if named {
        let boring = resolved.found.iter().any(|found| found.stack == Stack::Boringssl);
        families.push(if boring { Family::Boringssl } else { Family::Openssl });
        sites.extend(openssl(elf, if boring { source::BORINGSSL } else { source::OPENSSL }));
    }
    if elf.function("gnutls_record_recv").is_some() {
        families.push(Family::Gnutls);
        sites.extend(gnutls(elf));
    }
    let (more, found) = stripped::sites(elf, resolved, named);
    families.extend(more);
    sites.extend(found);
    match families.as_slice() {
        [] => None,
        [only] => Some((*only, sites)),
        _ => Some((Family::Several, sites)),
    }
}

fn openssl(elf: &Elf<'_>, source: u8) -> Vec<Site> {
    let mut sites = Vec::new();
    let plain = cookie(source, result::LENGTH);
    let pointer = cookie(source, result::POINTER_4);
    match shared_callee(elf, "SSL_read", "SSL_read_ex") {
        // `ssl_read_internal(s, buffer, length, length_at)` serves both and returns as `SSL_read_ex` does.
        Some(internal) => {
            place(elf, &mut sites, "SSL_read", internal, Program::ReadEnter, pointer);
            place_return(elf, &mut sites, "SSL_read", internal, Program::ReadReturn, pointer);
        }
        None => {
            read(elf, &mut sites, "SSL_read", plain);
            read(elf, &mut sites, "SSL_read_ex", pointer);
        }
    }
    read(elf, &mut sites, "SSL_read_early_data", pointer);
    at_symbol(elf, &mut sites, "SSL_write", Program::WriteEnter, plain);
    // From 3.3 on `SSL_write_ex` goes through `SSL_write_ex2`: one of them, or its bytes come twice.
    let extended = if elf.function("SSL_write_ex2").is_some() { "SSL_write_ex2" } else { "SSL_write_ex" };
    at_symbol(elf, &mut sites, extended, Program::WriteEnter, pointer);
    at_symbol(elf, &mut sites, "SSL_write_early_data", Program::WriteEnter, pointer);
    for (name, program) in OPENSSL {
        at_symbol(elf, &mut sites, name, *program, plain);
    }
    sites
}

fn gnutls(elf: &Elf<'_>) -> Vec<Site> {
    let mut sites = Vec::new();
    let cookie = cookie(source::GNUTLS, result::LENGTH);
    read(elf, &mut sites, "gnutls_record_recv", cookie);
    // `gnutls_record_send` is a jump to `gnutls_record_send2` where that exists (from 3.6.3).
    let send = if elf.function("gnutls_record_send2").is_some() { "gnutls_record_send2" } else { "gnutls_record_send" };
    at_symbol(elf, &mut sites, send, Program::WriteEnter, cookie);
    for (name, program) in GNUTLS {
        at_symbol(elf, &mut sites, name, *program, cookie);
    }
    sites
}

/// The one function that both call, when there is exactly one and it starts with an instruction that the kernel emulates.
fn shared_callee(elf: &Elf<'_>, one: &str, other: &str) -> Option<u64> {
    let calls = |name| elf.function(name).map(|address| callees(elf.code(address, HEAD), address));
    let others = calls(other)?;
    let mut shared = calls(one)?.into_iter().filter(|callee| others.contains(callee));
    let internal = shared.next()?;
    let alone = shared.next().is_none();
    let head = elf.code(internal, HEAD);
    (alone && cheap_site(head, internal) == internal && matches!(head.first(), Some(0x50..=0x57 | 0x41))).then_some(internal)
}

fn read(elf: &Elf<'_>, sites: &mut Vec<Site>, name: &'static str, cookie: u64) {
    if let Some(address) = elf.function(name) {
        place(elf, sites, name, address, Program::ReadEnter, cookie);
        place_return(elf, sites, name, address, Program::ReadReturn, cookie);
    }
}

fn at_symbol(elf: &Elf<'_>, sites: &mut Vec<Site>, name: &'static str, program: Program, cookie: u64) {
    if let Some(address) = elf.function(name) {
        place(elf, sites, name, address, program, cookie);
    }
}

/// Entry programs go to the cheapest instruction of the prologue.
pub(super) fn place(elf: &Elf<'_>, sites: &mut Vec<Site>, function: &'static str, address: u64, program: Program, cookie: u64) {
    let head = elf.code(address, HEAD);
    let site = cheap_site(head, address);
    if !is_instruction_start(head, address, site) {
        return;
    }
    sites.extend(elf.file_offset(site).map(|offset| Site { program, offset, cookie, function, judged: 0 }));
}

/// A return program must stand at the very entry: there it finds the return address on the stack.
pub(super) fn place_return(
    elf: &Elf<'_>,
    sites: &mut Vec<Site>,
    function: &'static str,
    address: u64,
    program: Program,
    cookie: u64,
) {
    sites.extend(elf.file_offset(address).map(|offset| Site { program, offset, cookie, function, judged: 0 }));
}
