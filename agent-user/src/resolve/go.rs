//! Go: the runtime's table of functions survives stripping, because stack traces need it.

use memchr::memmem;

use super::body::Body;
use super::image::{Image, Run, u32_at, u64_at};
use super::knowledge::Go;
use super::starts::FUNCTION;
use super::{Function, Refused, Role, function};

/// Start of the table on x86-64: magic of Go 1.20 or 1.18, padding, instruction quantum 1, pointers of 8 bytes.
const HEADS: [[u8; 8]; 2] = [[0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8], [0xf0, 0xff, 0xff, 0xff, 0, 0, 1, 8]];

/// Functions of one program: the largest Go programs have a few hundred thousand.
const FUNCTIONS: u64 = 4 << 20;

/// `None` when the file is not Go.
pub(super) fn find(image: &Image<'_>, wanted: &Go) -> Option<Result<Vec<Function>, Refused>> {
    let mut refused = None;
    for run in image.loaded() {
        for head in &HEADS {
            for at in memmem::find_iter(run.bytes, head) {
                match Table::read(image, run.address + at as u64) {
                    Some(table) => match table.functions(image, wanted) {
                        Ok(functions) => return Some(Ok(functions)),
                        Err(reason) => refused = Some(reason),
                    },
                    None => continue,
                }
            }
        }
    }
    refused.map(Err)
}

struct Table<'a> {
    count: u64,
    names: &'a [u8],
    /// Pairs of 32 bits: start within the text, place of the function's record within this same table.
    entries: &'a [u8],
    text: u64,
}

impl<'a> Table<'a> {
    fn read(image: &Image<'a>, address: u64) -> Option<Table<'a>> {
        let header = image.bytes(address, 72);
        let word = |index: usize| u64_at(header, 8 + index * 8);
        let (count, text, names, entries) = (word(0)?, word(2)?, word(3)?, word(7)?);
        if !(16..FUNCTIONS).contains(&count) || names >= entries {
            return None;
        }
        let entries = image.bytes(address.checked_add(entries)?, u64::MAX);
        if (entries.len() as u64) < count * 8 {
            return None;
        }
        let names = image.bytes(address.checked_add(names)?, u64::MAX);
        let mut table = Table { count, names, entries, text: 0 };
        table.text = table.place(image, text)?;
        Some(table)
    }

    fn start(&self, index: u64) -> Option<u64> {
        u32_at(self.entries, usize::try_from(index * 8).ok()?).map(u64::from)
    }

    /// Where the text starts. The header says so only in programs that are not moved, and not in every release: so it is a candidate
    /// beside the segments' own starts, and the padding before functions decides.
    fn place(&self, image: &Image<'_>, said: u64) -> Option<u64> {
        let nearby = image.code().flat_map(|run| (0..1024).map(move |step| run.address + step * 16));
        std::iter::once(said).chain(nearby).find(|text| self.fits(image, *text))
    }

    /// Linkers fill the gaps between Go functions with `int3`.
    fn fits(&self, image: &Image<'_>, text: u64) -> bool {
        const SAMPLE: u64 = 64;
        let step = (self.count / SAMPLE).max(1);
        let (mut seen, mut padded) = (0, 0);
        for index in (1..self.count).step_by(usize::try_from(step).unwrap_or(1)) {
            let Some(start) = self.start(index) else { return false };
            let Some(address) = text.checked_add(start).filter(|address| image.is_code(*address)) else { return false };
            seen += 1;
            // The function before ends with padding, a return, or a jump back to its start after growing the stack.
            let before = image.bytes(address.saturating_sub(5), 5);
            let ends = matches!(before.last(), Some(0xcc | 0xc3 | 0x0b | 0x90)) || before.first() == Some(&0xe9);
            let jumps = before.get(3) == Some(&0xeb);
            padded += u64::from(ends || jumps);
        }
        seen > 0 && padded * 100 >= seen * 90
    }

    fn name(&self, index: u64) -> Option<&'a [u8]> {
        let record = u32_at(self.entries, usize::try_from(index * 8 + 4).ok()?)?;
        let name = u32_at(self.entries, usize::try_from(record).ok()?.checked_add(4)?)?;
        let bytes = self.names.get(usize::try_from(name).ok()?..)?;
        let bytes = &bytes[..bytes.len().min(256)];
        Some(&bytes[..memchr::memchr(0, bytes)?])
    }

    fn functions(&self, image: &Image<'a>, wanted: &Go) -> Result<Vec<Function>, Refused> {
        let (mut read, mut write, mut close) = (None, None, None);
        for index in 0..self.count {
            let Some(name) = self.name(index) else { continue };
            let place = if name == wanted.read.as_bytes() {
                &mut read
            } else if name == wanted.write.as_bytes() {
                &mut write
            } else if name == wanted.close.as_bytes() {
                &mut close
            } else {
                continue;
            };
            if place.replace(index).is_some() {
                return Err(Refused::Ambiguous { what: "a method of crypto/tls.Conn", candidates: 2 });
            }
        }
        // A Go program without TLS.
        let (Some(read), Some(write)) = (read, write) else { return Ok(Vec::new()) };
        let body = |index: u64| {
            let broken = Refused::Broken("function table");
            let start = self.start(index).ok_or(broken.clone())?;
            let end = self.start(index + 1).filter(|end| *end > start && end - start <= FUNCTION).ok_or(broken)?;
            let address = self.text + start;
            let bytes = image.bytes(address, end - start);
            let code = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0xcc).count();
            let body = Body::decode(Run { address, bytes: &bytes[..code] });
            if body.is_broken() { Err(Refused::Inconsistent("the function's code cannot be decoded")) } else { Ok(body) }
        };
        let reader = body(read)?;
        let returns = reader.returns();
        if returns.is_empty() || returns.len() > 64 {
            return Err(Refused::Inconsistent("Read has no returns"));
        }
        let mut functions = Vec::new();
        let by = "the runtime's function table";
        functions.push(function(image, Role::GoRead { returns }, after_stack_check(&reader), by)?);
        functions.push(function(image, Role::GoWrite, after_stack_check(&body(write)?), by)?);
        if let Some(close) = close {
            functions.push(function(image, Role::GoClose, after_stack_check(&body(close)?), by)?);
        }
        Ok(functions)
    }
}

/// A function whose stack is too small grows it and starts again: a probe before that check would see the call twice. Behind it stands
/// `push rbp`, with the arguments still in their registers.
fn after_stack_check(body: &Body) -> u64 {
    let mut head = body.instructions().iter().take(4);
    head.find(|one| one.is_jcc_short_or_near()).map_or(body.address, iced_x86::Instruction::next_ip)
}
