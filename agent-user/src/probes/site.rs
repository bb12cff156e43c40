//! Where exactly to put a breakpoint: an instruction that the kernel emulates costs one trap, any other costs a second one to step
//! over a copy of it (20 to 30 times dearer here, about twice on metal).
//!
//! Chosen is the first emulated instruction of the straight-line prologue before which no argument register is written, the stack
//! pointer is where it was, and into which nothing in the function's head jumps. The kernel emulates `push reg`, `nop`, `call rel32`, `jmp rel`
//! and conditional jumps (arch/x86/kernel/uprobes.c).

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};

/// Bytes of a function that are looked at.
pub const HEAD: usize = 192;

/// The registers of the first five arguments (System V ABI, x86-64).
const ARGUMENTS: [Register; 5] = [Register::RDI, Register::RSI, Register::RDX, Register::RCX, Register::R8];

/// The address to attach to for the function at `address`, whose first bytes are `code`: it or one a few instructions in.
pub fn cheap_site(code: &[u8], address: u64) -> u64 {
    find(code, address).unwrap_or(address)
}

/// True when an instruction of this function starts at `site`.
pub fn is_instruction_start(code: &[u8], address: u64, site: u64) -> bool {
    Decoder::with_ip(64, code, address, DecoderOptions::NONE)
        .into_iter()
        .take_while(|instruction| instruction.ip() <= site)
        .any(|instruction| instruction.ip() == site)
}

/// The functions that this one calls or jumps to with `call rel32` / `jmp rel32`, in order of appearance.
pub fn callees(code: &[u8], address: u64) -> Vec<u64> {
    let inside = address..address + code.len() as u64;
    let mut found = Vec::new();
    for instruction in &mut Decoder::with_ip(64, code, address, DecoderOptions::NONE) {
        if instruction.is_invalid() {
            break;
        }
        let leaves = instruction.is_call_near()
            || (instruction.is_jmp_short_or_near() && !inside.contains(&instruction.near_branch_target()));
        if leaves && !found.contains(&instruction.near_branch_target()) {
            found.push(instruction.near_branch_target());
        }
        // Padding after the end of the function belongs to the next one.
        if instruction.mnemonic() == Mnemonic::Int3
            || (instruction.flow_control() == FlowControl::Return && ends(code, address, &instruction))
        {
            break;
        }
    }
    found
}

/// A return followed by padding ends a function; one in the middle does not.
fn ends(code: &[u8], address: u64, instruction: &Instruction) -> bool {
    let after = usize::try_from(instruction.next_ip() - address).unwrap_or(usize::MAX);
    matches!(code.get(after), None | Some(0xcc | 0x90 | 0x66 | 0x0f))
}

fn find(code: &[u8], address: u64) -> Option<u64> {
    let targets = jump_targets(code, address);
    let mut info = InstructionInfoFactory::new();
    for instruction in &mut Decoder::with_ip(64, code, address, DecoderOptions::NONE) {
        if instruction.is_invalid() || (instruction.ip() != address && targets.contains(&instruction.ip())) {
            return None;
        }
        if emulated(&instruction) {
            return Some(instruction.ip());
        }
        if instruction.flow_control() != FlowControl::Next {
            return None;
        }
        let spoils = info.info(&instruction).used_registers().iter().any(|used| {
            let writes =
                matches!(used.access(), OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite);
            writes && ARGUMENTS.contains(&used.register().full_register())
        });
        if spoils {
            return None;
        }
    }
    None
}

fn emulated(instruction: &Instruction) -> bool {
    match instruction.mnemonic() {
        Mnemonic::Push => instruction.op0_kind() == OpKind::Register,
        Mnemonic::Nop => true,
        Mnemonic::Call => instruction.is_call_near(),
        Mnemonic::Jmp => instruction.is_jmp_short_or_near(),
        _ => instruction.is_jcc_short_or_near(),
    }
}

fn jump_targets(code: &[u8], address: u64) -> Vec<u64> {
    Decoder::with_ip(64, code, address, DecoderOptions::NONE)
        .into_iter()
        .filter(|instruction| instruction.is_jcc_short_or_near() || instruction.is_jmp_short_or_near())
        .map(|instruction| instruction.near_branch_target())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(code: &[u8], offset: u64) {
        assert_eq!(cheap_site(code, 0x1000), 0x1000 + offset, "{code:02x?}");
        assert!(is_instruction_start(code, 0x1000, 0x1000 + offset));
    }

    #[test]
    fn the_first_emulated_instruction_is_taken() {
        check(&[0x55, 0x48, 0x89, 0xe5], 0); // push rbp
        check(&[0xf3, 0x0f, 0x1e, 0xfa, 0x41, 0x57], 4); // endbr64; push r15
        check(&[0x48, 0x83, 0xec, 0x18, 0x85, 0xd2, 0x78, 0x02, 0x90, 0x90], 6); // sub rsp; test edx; js
        check(&[0x48, 0x83, 0xec, 0x08, 0xe8, 0, 0, 0, 0], 4); // sub rsp; call
    }

    #[test]
    fn a_spoiled_argument_falls_back_to_the_entry() {
        check(&[0x48, 0x89, 0xf7, 0x55], 0); // mov rdi, rsi; push rbp
        check(&[0x31, 0xd2, 0x55], 0); // xor edx, edx; push rbp
        check(&[0xc3], 0); // ret
        assert_eq!(cheap_site(&[], 0x1000), 0x1000);
    }

    #[test]
    fn a_jump_into_the_prologue_falls_back_to_the_entry() {
        // sub rsp, 8; push rbp; ... jmp back to the push
        check(&[0x48, 0x83, 0xec, 0x08, 0x55, 0x90, 0xeb, 0xfc], 0);
    }

    #[test]
    fn the_middle_of_an_instruction_is_no_start() {
        assert!(!is_instruction_start(&[0x48, 0x83, 0xec, 0x18, 0x55], 0x1000, 0x1002));
    }
}
