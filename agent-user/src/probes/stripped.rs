//! Probes for TLS functions that the resolver found: which program stands where.

use agent_wire::{cookie, result, source};

use super::elf::Elf;
use super::family::{Family, Site, place, place_return};
use super::kernel::Program;
use crate::resolve::{Function, Report, Role, Stack};

/// Sites of everything in the report that symbols did not name already. `named` says that `SSL_read` was found by its name.
pub(super) fn sites(elf: &Elf<'_>, report: &Report, named: bool) -> (Vec<Family>, Vec<Site>) {
    let (mut families, mut sites) = (Vec::new(), Vec::new());
    let mut judged = 0;
    // One layer is read, not two: where rustls is found, the ciphers below it are not.
    for found in report.found.iter().filter(|found| found.stack != Stack::AwsLc) {
        let ssl = matches!(found.stack, Stack::Openssl | Stack::Boringssl);
        if ssl && named {
            continue;
        }
        families.push(family(found.stack));
        for function in &found.functions {
            let from = sites.len();
            plan(elf, found.stack, function, &mut sites);
            judged += 1;
            // Numbered within the file; the attacher makes the numbers unique.
            sites[from..].iter_mut().for_each(|site| site.judged = judged);
        }
    }
    (families, sites)
}

pub(super) fn family(stack: Stack) -> Family {
    match stack {
        Stack::Openssl => Family::Openssl,
        Stack::Boringssl => Family::Boringssl,
        Stack::Go => Family::Go,
        Stack::Rustls | Stack::AwsLc => Family::Rustls,
    }
}

fn plan(elf: &Elf<'_>, stack: Stack, function: &Function, sites: &mut Vec<Site>) {
    let source = if stack == Stack::Boringssl { source::BORINGSSL } else { source::OPENSSL };
    let plain = cookie(source, result::LENGTH);
    let pointer = cookie(source, result::POINTER_4);
    let address = function.address;
    let mut exactly = |name, program, offset| sites.push(Site { program, offset, cookie: 0, function: name, judged: 0 });
    match &function.role {
        Role::Read => {
            place(elf, sites, "SSL_read", address, Program::ReadEnter, plain);
            place_return(elf, sites, "SSL_read", address, Program::ReadReturn, plain);
        }
        Role::ReadInto => {
            place(elf, sites, "ssl_read_internal", address, Program::ReadEnter, pointer);
            place_return(elf, sites, "ssl_read_internal", address, Program::ReadReturn, pointer);
        }
        Role::Write => place(elf, sites, "SSL_write", address, Program::WriteEnter, plain),
        Role::WriteFrom => place(elf, sites, "ssl_write_internal", address, Program::WriteEnter, pointer),
        Role::Encrypt => place(elf, sites, "MessageEncrypter::encrypt", address, Program::RustlsEncrypt, 0),
        Role::Decrypt => {
            place(elf, sites, "MessageDecrypter::decrypt", address, Program::RustlsDecryptEnter, 0);
            place_return(elf, sites, "MessageDecrypter::decrypt", address, Program::RustlsDecryptReturn, 0);
        }
        Role::GoRead { returns } => {
            exactly("Conn.Read", Program::GoReadEnter, function.offset);
            for offset in returns.iter().filter_map(|at| elf.file_offset(*at)) {
                exactly("Conn.Read", Program::GoReadReturn, offset);
            }
        }
        Role::GoWrite => exactly("Conn.Write", Program::GoWriteEnter, function.offset),
        Role::GoClose => exactly("Conn.Close", Program::GoClose, function.offset),
        Role::Seal | Role::SealScatter | Role::Open | Role::OpenGather => {}
    }
}
