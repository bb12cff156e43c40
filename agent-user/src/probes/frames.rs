//! Proof over the probe object itself: which functions the kernel may put on a private per-CPU stack, where tasks would share it.
//!
//! From 6.13 a function of a uprobe program gets one when its frame has 64 bytes or more, unless a tail call stands somewhere in the
//! program. So every sleepable program that is loaded there must stay below, and every other must hold the guard's tail call.

use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SymbolKind};

use super::kernel::OBJECT;

/// The kernel's `BPF_PRIV_STACK_MIN_SIZE`.
const PRIVATE_FROM: i64 = 64;

const TAIL_CALL: i32 = 12;
const FRAME_POINTER: u8 = 10;

struct Instruction {
    code: u8,
    destination: u8,
    source: u8,
    offset: i64,
    immediate: i32,
}

fn decoded(bytes: &[u8]) -> Vec<Instruction> {
    let one = |insn: &[u8]| Instruction {
        code: insn[0],
        destination: insn[1] & 15,
        source: insn[1] >> 4,
        offset: i64::from(i16::from_le_bytes([insn[2], insn[3]])),
        immediate: i32::from_le_bytes([insn[4], insn[5], insn[6], insn[7]]),
    };
    bytes.chunks_exact(8).map(one).collect()
}

/// How far below its frame pointer a function reaches, rounded as the kernel rounds.
fn frame(code: &[Instruction]) -> i64 {
    let mut deepest = 0;
    for (at, insn) in code.iter().enumerate() {
        let (load, store) = (insn.code & 7 == 1, matches!(insn.code & 7, 2 | 3));
        if (load && insn.source == FRAME_POINTER) || (store && insn.destination == FRAME_POINTER) {
            deepest = deepest.max(-insn.offset);
        }
        // `rX = r10`, then `rX += number`.
        if insn.code == 0xbf && insn.source == FRAME_POINTER {
            let add = code[at + 1..].iter().find(|next| next.code == 0x07 && next.destination == insn.destination);
            deepest = deepest.max(add.map_or(0, |add| -i64::from(add.immediate)));
        }
    }
    (deepest.max(1) + 15) / 16 * 16
}

/// Every function of the object: section, name, instructions, and the functions that it names.
fn functions() -> Vec<(String, String, Vec<Instruction>, Vec<String>)> {
    let file = object::File::parse(OBJECT).expect("the object is an ELF file");
    let mut found = Vec::new();
    for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0) {
        let section = file.section_by_index(symbol.section_index().expect("functions have a section")).expect("exists");
        let range = symbol.address()..symbol.address() + symbol.size();
        let start = usize::try_from(range.start).expect("fits");
        let end = usize::try_from(range.end).expect("fits");
        let bytes = &section.data().expect("in the file")[start..end];
        let mut named = Vec::new();
        for (place, relocation) in section.relocations().filter(|(place, _)| range.contains(place)) {
            let RelocationTarget::Symbol(index) = relocation.target() else { continue };
            let target = file.symbol_by_index(index).expect("exists");
            if target.kind() == SymbolKind::Text {
                named.push(target.name().expect("UTF-8").to_owned());
            } else if target.kind() == SymbolKind::Section {
                // The instruction holds the distance within the section: a call counts instructions, a load bytes.
                let at = usize::try_from(place).expect("fits");
                let insn = &decoded(&section.data().expect("in the file")[at..at + 8])[0];
                let distance = if insn.code == 0x85 { (i64::from(insn.immediate) + 1) * 8 } else { i64::from(insn.immediate) };
                let callee = file.symbols().find(|symbol| {
                    symbol.kind() == SymbolKind::Text
                        && symbol.section_index() == target.section_index()
                        && i64::try_from(symbol.address()) == Ok(distance)
                });
                named.extend(callee.map(|callee| callee.name().expect("UTF-8").to_owned()));
            }
        }
        let name = symbol.name().expect("UTF-8").to_owned();
        found.push((section.name().expect("UTF-8").to_owned(), name, decoded(bytes), named));
    }
    found
}

#[test]
fn no_function_shares_a_private_stack_between_tasks() {
    if OBJECT.is_empty() {
        eprintln!("left out: this build carries no probes");
        return;
    }
    let all = functions();
    let by_name = |name: &str| all.iter().find(|function| function.1 == name).unwrap_or_else(|| panic!("{name} is missing"));
    let (mut small, mut guarded) = (0, 0);
    for (section, name, code, _) in &all {
        let sleeps = section.starts_with("uprobe.s") || section.starts_with("uretprobe.s");
        if !sleeps && !section.starts_with("uprobe") && !section.starts_with("uretprobe") {
            continue;
        }
        // Loaded before 6.13 only.
        if name.ends_with("_sleepable") {
            continue;
        }
        let (mut reached, mut next) = (vec![name.as_str()], 0);
        while let Some(at) = reached.get(next) {
            next += 1;
            let callees = &by_name(at).3;
            let fresh: Vec<&str> = callees.iter().map(String::as_str).filter(|name| !reached.contains(name)).collect();
            reached.extend(fresh);
        }
        let deepest = reached.iter().map(|name| frame(&by_name(name).2)).max().unwrap_or(0);
        let guard = code.iter().any(|insn| insn.code == 0x85 && insn.source == 0 && insn.immediate == TAIL_CALL);
        assert!(deepest < PRIVATE_FROM || (guard && !sleeps), "{section} {name}: a frame of {deepest} bytes, guard {guard}");
        if deepest < PRIVATE_FROM {
            small += 1;
        } else {
            guarded += 1;
        }
    }
    assert!(small > 0 && guarded > 0, "{small} programs with small frames, {guarded} with the guard");
    let touch = &by_name("tls_write_touch").3;
    assert!(touch.iter().any(|name| name.contains("touch")), "the callback was measured too: {touch:?}");
}
