//! Where the function around an address starts and ends.
//!
//! The unwind table says so exactly. Programs without one (Bun, Deno) are measured: if most targets of direct calls are aligned to 16, an
//! aligned target or pointer target starts a function; else (size-optimised) a frame-pointer prologue does.

use memchr::memmem;

use super::Refused;
use super::image::{Image, Run, UnwindTable, u32_at};

/// Bytes of the longest function that is looked at, and how far back a start is searched for.
pub(super) const FUNCTION: u64 = 64 << 10;

/// Share of aligned call targets from which alignment counts as a rule, in percent.
const ALIGNED: u64 = 60;

/// `push rbp; mov rbp, rsp`.
const PROLOGUE: [u8; 4] = [0x55, 0x48, 0x89, 0xe5];

pub(super) enum Starts<'a> {
    Unwind(UnwindTable<'a>),
    /// One bit for each 16 bytes of code: a call or a pointer leads there.
    Aligned(Vec<Marks>),
    Prologue,
}

/// Marked 16-byte slots of one executable segment.
pub(super) struct Marks {
    address: u64,
    bits: Vec<u64>,
}

impl Marks {
    fn place(&self, address: u64) -> Option<(usize, u32)> {
        let slot = address.checked_sub(self.address)? / 16;
        let word = usize::try_from(slot / 64).ok()?;
        (word < self.bits.len()).then_some((word, (slot % 64) as u32))
    }

    fn mark(&mut self, address: u64) {
        if let Some((word, bit)) = self.place(address) {
            self.bits[word] |= 1 << bit;
        }
    }

    fn is_marked(&self, address: u64) -> bool {
        self.place(address).is_some_and(|(word, bit)| self.bits[word] >> bit & 1 == 1)
    }
}

impl<'a> Starts<'a> {
    pub(super) fn of(image: &Image<'a>) -> Starts<'a> {
        match image.unwind_table() {
            Some(table) => Starts::Unwind(table),
            None => measured(image),
        }
    }

    /// The function that holds `address`.
    pub(super) fn around<'i>(&self, image: &Image<'i>, address: u64) -> Result<Run<'i>, Refused> {
        let (start, end) = match self {
            Starts::Unwind(table) => {
                let (start, description, next) = table.before(address).ok_or(Refused::NoFunction(address))?;
                let length = image.described_length(description).filter(|length| *length > 0);
                let described = length.and_then(|length| start.checked_add(length));
                let end = described.or(next).unwrap_or(start.saturating_add(FUNCTION));
                (start, end)
            }
            Starts::Aligned(marks) => {
                let marked = |at: &u64| marks.iter().any(|marks| marks.is_marked(*at));
                let before = (0..FUNCTION / 16).map(|back| (address & !15).saturating_sub(back * 16)).find(marked);
                let after = (1..=FUNCTION / 16).map(|on| (address & !15).saturating_add(on * 16)).find(marked);
                let start = before.ok_or(Refused::NoFunction(address))?;
                (start, after.unwrap_or(start.saturating_add(FUNCTION)))
            }
            Starts::Prologue => {
                let from = address.saturating_sub(FUNCTION);
                let before = memmem::rfind(image.bytes(from, address + 1 - from), &PROLOGUE).map(|at| from + at as u64);
                let start = before.ok_or(Refused::NoFunction(address))?;
                let after = memmem::find(image.bytes(address + 1, FUNCTION), &PROLOGUE).map(|at| address + 1 + at as u64);
                (start, after.unwrap_or(start.saturating_add(FUNCTION)))
            }
        };
        if !(start..end).contains(&address) || end - start > FUNCTION || !image.is_code(start) {
            return Err(Refused::NoFunction(address));
        }
        Ok(Run { address: start, bytes: image.bytes(start, end - start) })
    }
}

fn measured<'a>(image: &Image<'_>) -> Starts<'a> {
    let mut marks: Vec<Marks> =
        image.code().map(|run| Marks { address: run.address & !15, bits: vec![0; run.bytes.len() / (16 * 64) + 2] }).collect();
    let (mut aligned, mut all) = (0_u64, 0_u64);
    each_call(image, |_, target, call| {
        // A jump's target may be the head of a loop, which compilers align, too.
        if !call {
            return;
        }
        all += 1;
        if target.is_multiple_of(16) {
            aligned += 1;
            marks.iter_mut().for_each(|marks| marks.mark(target));
        }
    });
    if aligned * 100 < all * ALIGNED {
        return Starts::Prologue;
    }
    image.pointers(|_, value| {
        // Tables of jumps hold pointers into functions; before a function stands padding or a return.
        let before = value.checked_sub(1).and_then(|before| image.bytes(before, 1).first());
        if value.is_multiple_of(16) && matches!(before, Some(0xcc | 0xc3 | 0x90 | 0x00)) {
            marks.iter_mut().for_each(|marks| marks.mark(value));
        }
    });
    Starts::Aligned(marks)
}

/// Visits what looks like a direct call or a long jump to code: place, target, whether it is a call. Bytes inside other instructions that
/// happen to look so are visited, too.
pub(super) fn each_call(image: &Image<'_>, mut visit: impl FnMut(u64, u64, bool)) {
    for run in image.code() {
        for at in memchr::memchr2_iter(0xe8, 0xe9, run.bytes) {
            let Some(distance) = u32_at(run.bytes, at + 1) else { continue };
            let place = run.address + at as u64;
            let target = place.wrapping_add(5).wrapping_add_signed(i64::from(distance.cast_signed()));
            if image.is_code(target) {
                visit(place, target, run.bytes[at] == 0xe8);
            }
        }
    }
}
