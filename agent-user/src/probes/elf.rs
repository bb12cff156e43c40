//! What a file offers to probes: its functions by name and their file offsets. Pure over bytes, safe against hostile files.

use std::collections::HashMap;

use object::elf::{ET_DYN, ET_EXEC, FileHeader64, PF_X, PT_LOAD, STT_FUNC};
use object::read::elf::{ElfFile64, FileHeader as _, ProgramHeader as _};
use object::{LittleEndian, Object as _, ObjectSymbol as _};

/// Largest file that is looked at: agents ship binaries of a few hundred MiB.
pub const FILE_BYTES: u64 = 1 << 30;

/// An ELF file of this machine's kind, read as far as probes need.
pub struct Elf<'a> {
    data: &'a [u8],
    /// Executable segments: address, file offset, length.
    code: Vec<(u64, u64, u64)>,
    /// Wanted functions by name: address and size.
    functions: HashMap<&'a str, (u64, u64)>,
}

impl<'a> Elf<'a> {
    /// `wanted` decides which symbols are kept. `None` when the bytes are no ELF program or library for x86-64.
    pub fn read(data: &'a [u8], wanted: impl Fn(&str) -> bool) -> Option<Elf<'a>> {
        let header = FileHeader64::<LittleEndian>::parse(data).ok()?;
        let endian = header.endian().ok()?;
        if header.e_machine.get(endian) != object::elf::EM_X86_64 || !matches!(header.e_type.get(endian), ET_DYN | ET_EXEC) {
            return None;
        }
        let mut code = Vec::new();
        for segment in header.program_headers(endian, data).ok()? {
            if segment.p_type(endian) == PT_LOAD && segment.p_flags(endian) & PF_X != 0 {
                code.push((segment.p_vaddr(endian), segment.p_offset(endian), segment.p_filesz(endian)));
            }
        }
        let file = ElfFile64::<LittleEndian>::parse(data).ok()?;
        let mut functions = HashMap::new();
        for symbol in file.dynamic_symbols().chain(file.symbols()) {
            let raw = symbol.elf_symbol();
            if raw.st_type() != STT_FUNC || symbol.address() == 0 || symbol.is_undefined() {
                continue;
            }
            if let Some(name) = symbol.name().ok().filter(|name| wanted(name)) {
                functions.entry(name).or_insert((symbol.address(), symbol.size()));
            }
        }
        Some(Elf { data, code, functions })
    }

    pub fn function(&self, name: &str) -> Option<u64> {
        self.functions.get(name).map(|(address, _)| *address)
    }

    /// Where an address of code lies in the file.
    pub fn file_offset(&self, address: u64) -> Option<u64> {
        self.code.iter().find_map(|(start, offset, length)| {
            let inside = address.checked_sub(*start).filter(|inside| inside < length)?;
            offset.checked_add(inside)
        })
    }

    /// At most `length` bytes of code at an address.
    pub fn code(&self, address: u64, length: usize) -> &'a [u8] {
        let Some(start) = self.file_offset(address).and_then(|offset| usize::try_from(offset).ok()) else { return &[] };
        let rest = self.data.get(start..).unwrap_or_default();
        &rest[..rest.len().min(length)]
    }
}
