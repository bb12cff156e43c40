//! `cargo xtask bench resolve`: the resolver on files whose symbols are known, after their symbols were taken away.
//!
//! In: files. Out: for each what was found, right, refused and wrong, with time and peak memory. Wrong is a fault. The truth is a symbol
//! of the same name; for the inner function that two exported ones share, the one that both call, or the exported one that takes the
//! same arguments.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::ExitCode;
use std::time::Instant;

use agentward::resolve::{Function, Knowledge, Role, Stack, resolve};

fn main() -> ExitCode {
    let knowledge = Knowledge::embedded();
    let (mut files, mut sums) = (0, [0; 4]);
    println!("{:>6} {:>6} {:>7} {:>5} {:>7} {:>8}  file", "found", "right", "refused", "wrong", "s", "peak MB");
    for path in std::env::args().skip(1) {
        let data = fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let Some(elf) = Elf::read(&data) else { continue };
        let truth = Truth::of(&elf);
        if truth.stacks.is_empty() {
            continue;
        }
        let bare = elf.without_names();
        drop(data);
        reset_peak();
        let (before, started) = (memory("VmRSS:"), Instant::now());
        let report = resolve(&bare, &knowledge).unwrap_or_default();
        let (took, peak) = (started.elapsed().as_secs_f64(), memory("VmHWM:").saturating_sub(before) + bare.len() / 1024);
        let mut row = [0; 4];
        // What stands below rustls is no door of its own.
        for found in report.found.iter().filter(|found| found.stack != Stack::AwsLc) {
            for function in &found.functions {
                row[0] += 1;
                match truth.verdict(function) {
                    Some(true) => row[1] += 1,
                    Some(false) => {
                        row[3] += 1;
                        println!("WRONG {:?} at {:#x} by {}", function.role, function.address, function.by);
                    }
                    None => {}
                }
            }
        }
        let missing = truth.stacks.iter().filter(|stack| !report.found.iter().any(|found| found.stack.name() == **stack));
        row[2] = missing.count();
        files += 1;
        sums.iter_mut().zip(row).for_each(|(sum, more)| *sum += more);
        let [found, right, refused, wrong] = row;
        println!("{found:>6} {right:>6} {refused:>7} {wrong:>5} {took:>7.2} {:>8}  {path}", peak / 1024);
        report.doubts.iter().filter(|doubt| doubt.stack != Stack::AwsLc).for_each(|doubt| {
            println!("        refused: {}: {}", doubt.stack.name(), doubt.reason);
        });
    }
    let [found, right, refused, wrong] = sums;
    println!("{files} files: {found} found, {right} right, {refused} stacks refused, {wrong} wrong");
    if wrong == 0 && files > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Where functions are, by the file's own symbols.
struct Truth {
    named: BTreeMap<String, u64>,
    read: BTreeSet<u64>,
    write: BTreeSet<u64>,
    stacks: BTreeSet<&'static str>,
}

impl Truth {
    fn of(elf: &Elf<'_>) -> Truth {
        let sized = elf.functions();
        let named: BTreeMap<String, u64> = sized.iter().map(|(name, (address, _))| (name.clone(), *address)).collect();
        let callees = |name: &str| sized.get(name).map(|(address, size)| elf.callees(*address, *size)).unwrap_or_default();
        // Where the compiler copied the inner function into its callers, the one that takes the same arguments is as good a door.
        let shared = |one: &str, others: [&str; 2], inner: &str| -> BTreeSet<u64> {
            let called: BTreeSet<u64> = others.iter().flat_map(|other| callees(other)).collect();
            let same = others.iter().chain([&inner]).filter_map(|name| named.get(*name).copied());
            callees(one).intersection(&called).copied().chain(same).collect()
        };
        let read = shared("SSL_read", ["SSL_read_ex", "ssl_read_internal"], "ssl_read_internal");
        let write = shared("SSL_write", ["SSL_write_ex", "SSL_write_ex2"], "ssl_write_internal");
        let mut stacks = BTreeSet::new();
        if named.contains_key("SSL_read") {
            stacks.insert(if named.contains_key("SSL_CTX_set_grease_enabled") { "boringssl" } else { "openssl" });
        }
        if named.contains_key("crypto/tls.(*Conn).Read") {
            stacks.insert("go");
        }
        Truth { named, read, write, stacks }
    }

    /// `None` where the symbols do not say.
    fn verdict(&self, function: &Function) -> Option<bool> {
        let is = |name: &str| self.named.get(name).map(|address| *address == function.address);
        match &function.role {
            Role::Read => is("SSL_read"),
            Role::Write => is("SSL_write"),
            Role::ReadInto => (!self.read.is_empty()).then(|| self.read.contains(&function.address)),
            Role::WriteFrom => (!self.write.is_empty()).then(|| self.write.contains(&function.address)),
            Role::GoRead { .. } => is("crypto/tls.(*Conn).Read"),
            Role::GoWrite => is("crypto/tls.(*Conn).Write"),
            Role::GoClose => is("crypto/tls.(*Conn).Close"),
            Role::Encrypt | Role::Decrypt | Role::Seal | Role::SealScatter | Role::Open | Role::OpenGather => None,
        }
    }
}

/// As much of an ELF file (x86-64) as the truth needs. Not the resolver's own reader: two readers do not make the same mistake.
struct Elf<'a> {
    data: &'a [u8],
    sections: Vec<Section>,
}

#[derive(Clone, Copy)]
struct Section {
    kind: u32,
    address: u64,
    offset: usize,
    size: usize,
    link: usize,
}

/// `SHT_SYMTAB`, `SHT_DYNSYM`, `SHT_NOBITS` (gABI, section header types).
const SYMBOLS: u32 = 2;
const DYNAMIC_SYMBOLS: u32 = 11;
const NO_BITS: u32 = 8;

impl<'a> Elf<'a> {
    fn read(data: &'a [u8]) -> Option<Elf<'a>> {
        if data.get(..4)? != b"\x7fELF" {
            return None;
        }
        let (start, size, count) = (word(data, 40)?, half(data, 58)?, half(data, 60)?);
        let sections = (0..count).map_while(|index| {
            let at = usize::try_from(start).ok()? + index * size;
            Some(Section {
                kind: u32::try_from(word(data, at + 4)? & 0xffff_ffff).ok()?,
                address: word(data, at + 16)?,
                offset: usize::try_from(word(data, at + 24)?).ok()?,
                size: usize::try_from(word(data, at + 32)?).ok()?,
                link: usize::try_from(word(data, at + 40)? & 0xffff_ffff).ok()?,
            })
        });
        Some(Elf { data, sections: sections.collect() })
    }

    fn tables(&self) -> impl Iterator<Item = (Section, Section)> {
        let tables = self.sections.iter().filter(|section| [SYMBOLS, DYNAMIC_SYMBOLS].contains(&section.kind));
        tables.filter_map(|table| Some((*table, *self.sections.get(table.link)?)))
    }

    /// Defined functions with address and size.
    fn functions(&self) -> BTreeMap<String, (u64, u64)> {
        let mut found = BTreeMap::new();
        for (table, names) in self.tables() {
            for at in (table.offset..table.offset + table.size).step_by(24) {
                let (Some(head), Some(address), Some(size)) =
                    (word(self.data, at), word(self.data, at + 8), word(self.data, at + 16))
                else {
                    break;
                };
                // `STT_FUNC`.
                if head >> 32 & 0xf != 2 || address == 0 {
                    continue;
                }
                let name = names.offset + usize::try_from(head & 0xffff_ffff).unwrap_or(0);
                let text = self.data.get(name..).unwrap_or_default();
                let text = &text[..text.iter().position(|byte| *byte == 0).unwrap_or(0)];
                let name = String::from_utf8_lossy(text);
                found.insert(name.split('@').next().unwrap_or_default().to_owned(), (address, size));
            }
        }
        found
    }

    /// Targets of `call rel32` and `jmp rel32` in a function, with what only looks like one.
    fn callees(&self, address: u64, size: u64) -> BTreeSet<u64> {
        let inside = |section: &&Section| {
            section.kind != NO_BITS && (section.address..section.address + section.size as u64).contains(&address)
        };
        let Some(section) = self.sections.iter().filter(|section| section.address != 0).find(inside) else {
            return BTreeSet::new();
        };
        let start = section.offset + usize::try_from(address - section.address).unwrap_or(0);
        let code = self.data.get(start..start + usize::try_from(size).unwrap_or(0)).unwrap_or_default();
        let targets = code.windows(5).enumerate().filter(|(_, bytes)| [0xe8, 0xe9].contains(&bytes[0])).map(|(at, bytes)| {
            let distance = i32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
            (address + at as u64 + 5).wrapping_add_signed(i64::from(distance))
        });
        targets.filter(|target| !(address..address + size).contains(target)).collect()
    }

    /// The same bytes with every name of a symbol replaced.
    fn without_names(&self) -> Vec<u8> {
        let mut bare = self.data.to_vec();
        for (_, names) in self.tables() {
            let end = (names.offset + names.size).min(bare.len());
            bare[names.offset.min(end)..end].iter_mut().filter(|byte| **byte != 0).for_each(|byte| *byte = b'x');
        }
        bare
    }
}

fn word(data: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(data.get(at..at + 8)?.try_into().ok()?))
}

fn half(data: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_le_bytes(data.get(at..at + 2)?.try_into().ok()?)))
}

/// The peak counts from now on.
fn reset_peak() {
    fs::write("/proc/self/clear_refs", "5").expect("a process may reset its own peak");
}

/// Kilobytes.
fn memory(field: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}
