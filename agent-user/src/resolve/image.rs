//! An ELF program as its addresses: segments, pointers that the loader will write, starts of functions. Everything comes from program
//! headers, which survive stripping; every number in them is a stranger's.

use super::Refused;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_NOTE: u32 = 4;
const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
const DT_RELA: u64 = 7;
const DT_RELASZ: u64 = 8;
const DT_RELRSZ: u64 = 35;
const DT_RELR: u64 = 36;
const R_X86_64_RELATIVE: u64 = 8;
const NOTE_BUILD_ID: u32 = 3;

/// Segments of a program. Linkers make about a dozen; more are there to cost time.
const SEGMENTS: usize = 128;

/// Relocations that are looked at: the largest agent has 255,000.
const RELOCATIONS: u64 = 16 << 20;

#[derive(Clone, Copy, Debug)]
struct Segment {
    address: u64,
    offset: u64,
    length: u64,
    executable: bool,
    writable: bool,
}

impl Segment {
    fn contains(&self, address: u64) -> bool {
        address.checked_sub(self.address).is_some_and(|inside| inside < self.length)
    }
}

/// A range of file bytes and the address of the first.
#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    pub(super) address: u64,
    pub(super) bytes: &'a [u8],
}

pub(super) struct Image<'a> {
    data: &'a [u8],
    segments: Vec<Segment>,
    /// Loaded where the linker put it: code then names data by absolute address.
    pub(super) fixed: bool,
    rela: Option<(u64, u64)>,
    relr: Option<(u64, u64)>,
    unwind: Option<Segment>,
    notes: Vec<Segment>,
}

impl<'a> Image<'a> {
    pub(super) fn read(data: &'a [u8]) -> Result<Image<'a>, Refused> {
        if data.get(..4) != Some(b"\x7fELF") {
            return Err(Refused::NotElf);
        }
        // 64 bits, little-endian, x86-64.
        if data.get(4..6) != Some(&[2, 1]) || u16_at(data, 18) != Some(62) {
            return Err(Refused::OtherMachine);
        }
        let kind = u16_at(data, 16).unwrap_or(0);
        if kind != 2 && kind != 3 {
            return Err(Refused::NotProgram);
        }
        let table = u64_at(data, 32).ok_or(Refused::Broken("header ends early"))?;
        let size = u64::from(u16_at(data, 54).unwrap_or(0));
        let count = usize::from(u16_at(data, 56).unwrap_or(0));
        if size < 56 || count > SEGMENTS {
            return Err(Refused::Broken("program header table of impossible size"));
        }
        let mut image =
            Image { data, segments: Vec::new(), fixed: kind == 2, rela: None, relr: None, unwind: None, notes: Vec::new() };
        let mut dynamic = None;
        for index in 0..count as u64 {
            let at = table.checked_add(index * size).ok_or(Refused::Broken("program header table outside of the file"))?;
            let header = slice(data, at, 56).ok_or(Refused::Broken("program header table outside of the file"))?;
            let word = |at| u64_at(header, at).unwrap_or(0);
            let flags = u32_at(header, 4).unwrap_or(0);
            let (offset, address) = (word(8), word(16));
            // A segment that is longer than the file ends with it.
            let length = word(32).min((data.len() as u64).saturating_sub(offset));
            let segment = Segment { address, offset, length, executable: flags & 1 != 0, writable: flags & 2 != 0 };
            if address.checked_add(length).is_none() {
                return Err(Refused::Broken("segment wraps around the address space"));
            }
            match u32_at(header, 0).unwrap_or(0) {
                PT_LOAD if length > 0 => image.segments.push(segment),
                PT_DYNAMIC => dynamic = Some(segment),
                PT_GNU_EH_FRAME => image.unwind = Some(segment),
                PT_NOTE => image.notes.push(segment),
                _ => {}
            }
        }
        if !image.segments.iter().any(|segment| segment.executable) {
            return Err(Refused::Broken("no code"));
        }
        if let Some(dynamic) = dynamic {
            image.read_dynamic(dynamic);
        }
        Ok(image)
    }

    fn read_dynamic(&mut self, dynamic: Segment) {
        let (mut rela, mut rela_size, mut relr, mut relr_size) = (None, 0, None, 0);
        let entries = slice(self.data, dynamic.offset, dynamic.length.min(64 << 10)).unwrap_or_default();
        for entry in entries.chunks_exact(16) {
            let (tag, value) = (u64_at(entry, 0).unwrap_or(0), u64_at(entry, 8).unwrap_or(0));
            match tag {
                0 => break,
                DT_RELA => rela = Some(value),
                DT_RELASZ => rela_size = value,
                DT_RELR => relr = Some(value),
                DT_RELRSZ => relr_size = value,
                _ => {}
            }
        }
        self.rela = rela.map(|at| (at, rela_size));
        self.relr = relr.map(|at| (at, relr_size));
    }

    /// GNU build-id, in hexadecimal.
    pub(super) fn build_id(&self) -> Option<String> {
        for notes in &self.notes {
            let mut rest = slice(self.data, notes.offset, notes.length.min(64 << 10))?;
            while let (Some(name), Some(length), Some(kind)) = (u32_at(rest, 0), u32_at(rest, 4), u32_at(rest, 8)) {
                let padded = |length: u32| (length as usize).saturating_add(3) & !3;
                let start = 12_usize.saturating_add(padded(name));
                let Some(body) = rest.get(start..start.saturating_add(length as usize)) else { break };
                if kind == NOTE_BUILD_ID && rest.get(12..16) == Some(b"GNU\0") && (8..=64).contains(&length) {
                    return Some(body.iter().map(|byte| format!("{byte:02x}")).collect());
                }
                rest = rest.get(start.saturating_add(padded(length))..).unwrap_or_default();
            }
        }
        None
    }

    pub(super) fn file_offset(&self, address: u64) -> Option<u64> {
        let segment = self.segments.iter().find(|segment| segment.contains(address))?;
        segment.offset.checked_add(address - segment.address)
    }

    pub(super) fn is_code(&self, address: u64) -> bool {
        self.segments.iter().any(|segment| segment.executable && segment.contains(address))
    }

    /// File bytes from an address to the end of its segment, `length` at most.
    pub(super) fn bytes(&self, address: u64, length: u64) -> &'a [u8] {
        let Some(segment) = self.segments.iter().find(|segment| segment.contains(address)) else { return &[] };
        let inside = address - segment.address;
        segment
            .offset
            .checked_add(inside)
            .and_then(|offset| slice(self.data, offset, length.min(segment.length - inside)))
            .unwrap_or_default()
    }

    pub(super) fn code(&self) -> impl Iterator<Item = Run<'a>> + '_ {
        self.segments.iter().filter(|segment| segment.executable).map(|segment| self.run(segment))
    }

    /// Every loaded byte: strings may stand in a segment of any kind.
    pub(super) fn loaded(&self) -> impl Iterator<Item = Run<'a>> + '_ {
        self.segments.iter().map(|segment| self.run(segment))
    }

    fn run(&self, segment: &Segment) -> Run<'a> {
        Run { address: segment.address, bytes: slice(self.data, segment.offset, segment.length).unwrap_or_default() }
    }

    /// Visits every pointer into this image that stands in its data: slot and value.
    pub(super) fn pointers(&self, mut visit: impl FnMut(u64, u64)) {
        if self.fixed {
            self.plain_pointers(&mut visit);
        }
        if let Some((at, size)) = self.rela {
            let table = self.bytes(at, size.min(RELOCATIONS * 24));
            for entry in table.chunks_exact(24) {
                let word = |at| u64_at(entry, at).unwrap_or(0);
                if word(8) & 0xffff_ffff == R_X86_64_RELATIVE {
                    visit(word(0), word(16));
                }
            }
        }
        if let Some((at, size)) = self.relr {
            self.packed_pointers(self.bytes(at, size.min(RELOCATIONS)), &mut visit);
        }
    }

    /// In a program that is not moved, a pointer is just its value.
    fn plain_pointers(&self, visit: &mut impl FnMut(u64, u64)) {
        for segment in self.segments.iter().filter(|segment| !segment.executable) {
            let run = self.run(segment);
            let skew = usize::try_from(run.address.wrapping_neg() & 7).unwrap_or(0);
            let words = run.bytes.get(skew..).unwrap_or_default();
            for (index, word) in words.chunks_exact(8).enumerate() {
                let value = u64_at(word, 0).unwrap_or(0);
                if value != 0 && self.is_code(value) {
                    visit(run.address + (skew + index * 8) as u64, value);
                }
            }
        }
    }

    /// `DT_RELR`: an even word is the slot, odd words are bitmaps of the 63 slots that follow. The value stands in the file at the slot.
    fn packed_pointers(&self, table: &[u8], visit: &mut impl FnMut(u64, u64)) {
        let mut next = 0_u64;
        let mut at = |slot: u64| {
            if let Some(value) = u64_at(self.bytes(slot, 8), 0) {
                visit(slot, value);
            }
        };
        for entry in table.chunks_exact(8) {
            let word = u64_at(entry, 0).unwrap_or(0);
            if word & 1 == 0 {
                at(word);
                next = word.wrapping_add(8);
                continue;
            }
            let mut bits = word >> 1;
            while bits != 0 {
                at(next.wrapping_add(8 * u64::from(bits.trailing_zeros())));
                bits &= bits - 1;
            }
            next = next.wrapping_add(8 * 63);
        }
    }

    /// The sorted table of function starts that unwinding needs: present unless the program was built without it.
    pub(super) fn unwind_table(&self) -> Option<UnwindTable<'a>> {
        let segment = self.unwind?;
        let bytes = slice(self.data, segment.offset, segment.length)?;
        // Version 1; the count is `udata4`, table entries are `datarel | sdata4`: what every linker writes.
        if bytes.first() != Some(&1) || bytes.get(2..4) != Some(&[0x03, 0x3b]) {
            return None;
        }
        let first = if bytes[1] == 0xff { 4 } else { 8 };
        let count = u32_at(bytes, first)? as usize;
        let entries = bytes.get(first + 4..)?;
        let entries = entries.get(..count.checked_mul(8)?.min(entries.len() & !7))?;
        (!entries.is_empty()).then_some(UnwindTable { base: segment.address, entries })
    }

    /// Length of the function whose frame description stands at `address`.
    pub(super) fn described_length(&self, address: u64) -> Option<u64> {
        // length, pointer to the common part, start (`pcrel | sdata4`), length of the function
        u32_at(self.bytes(address, 16), 12).map(u64::from)
    }

    /// Writable segments hold no strings that code refers to as constants; `true` for the others.
    pub(super) fn is_constant(&self, address: u64) -> bool {
        self.segments.iter().any(|segment| !segment.writable && segment.contains(address))
    }
}

/// `.eh_frame_hdr`'s search table.
#[derive(Clone, Copy)]
pub(super) struct UnwindTable<'a> {
    base: u64,
    entries: &'a [u8],
}

impl UnwindTable<'_> {
    fn len(&self) -> usize {
        self.entries.len() / 8
    }

    fn entry(&self, index: usize) -> (u64, u64) {
        let word = |at: usize| i64::from(u32_at(self.entries, index * 8 + at).unwrap_or(0).cast_signed());
        (self.base.wrapping_add_signed(word(0)), self.base.wrapping_add_signed(word(4)))
    }

    /// Start of the function at or before an address, its description, and where the next one starts.
    pub(super) fn before(&self, address: u64) -> Option<(u64, u64, Option<u64>)> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.entry(middle).0 <= address {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let (start, description) = self.entry(low.checked_sub(1)?);
        Some((start, description, (low < self.len()).then(|| self.entry(low).0)))
    }
}

pub(super) fn slice(data: &[u8], offset: u64, length: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    data.get(start..start.checked_add(usize::try_from(length).ok()?)?)
}

pub(super) fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(data.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

pub(super) fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(data.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

pub(super) fn u64_at(data: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(data.get(at..at.checked_add(8)?)?.try_into().ok()?))
}
