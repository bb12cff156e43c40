//! A function's instructions, and the constants that it hands to its error calls.
//!
//! C libraries report errors by `f(library, function, reason, FILE, line)`: the file is an address that can be found, the reason a public
//! number that no release moves. Which functions report which reasons in which file tells them apart without names.

use std::collections::BTreeSet;

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, OpAccess, OpKind, Register};
use iced_x86::{InstructionInfoFactory, Mnemonic};

use super::image::Run;

/// Instructions decoded of one function.
const INSTRUCTIONS: usize = 32_768;

pub(super) struct Body {
    pub(super) address: u64,
    pub(super) length: u64,
    instructions: Vec<Instruction>,
    targets: BTreeSet<u64>,
}

/// What an error call says: reason and, with OpenSSL 1.1, the number of the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Report {
    pub(super) reason: u32,
    pub(super) function: Option<u32>,
}

/// Where the error call takes its arguments: the compiler drops the unused second one when it sees all callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Convention {
    /// Library edi, function esi, reason edx, file rcx.
    Whole,
    /// Library edi, reason esi, file rdx.
    Shifted,
}

impl Body {
    pub(super) fn decode(run: Run<'_>) -> Body {
        let decoder = Decoder::with_ip(64, run.bytes, run.address, DecoderOptions::NONE);
        let instructions: Vec<Instruction> = decoder.into_iter().take(INSTRUCTIONS).collect();
        let targets = instructions.iter().filter(|one| is_jump(one)).map(Instruction::near_branch_target).collect();
        Body { address: run.address, length: run.bytes.len() as u64, instructions, targets }
    }

    pub(super) fn instructions(&self) -> &[Instruction] {
        &self.instructions
    }

    pub(super) fn index_of(&self, address: u64) -> Option<usize> {
        self.instructions.binary_search_by_key(&address, Instruction::ip).ok()
    }

    /// Targets of `call` and of jumps that leave the function.
    pub(super) fn callees(&self) -> BTreeSet<u64> {
        let inside = self.address..self.address + self.length;
        let leaves = |one: &&Instruction| one.is_call_near() || (is_jump(one) && !inside.contains(&one.near_branch_target()));
        self.instructions.iter().filter(leaves).map(Instruction::near_branch_target).collect()
    }

    /// Addresses of instructions that return.
    pub(super) fn returns(&self) -> Vec<u64> {
        let returns = |one: &&Instruction| one.mnemonic() == Mnemonic::Ret;
        self.instructions.iter().filter(returns).map(Instruction::ip).collect()
    }

    /// True when an instruction could not be decoded: then nothing behind it can be trusted.
    pub(super) fn is_broken(&self) -> bool {
        self.instructions.iter().any(Instruction::is_invalid)
    }

    /// Registers that receive file strings decide the convention. A string in rsi is an assertion's.
    pub(super) fn convention_at(&self, index: usize) -> Option<Convention> {
        match self.instructions[index].op0_register().full_register() {
            Register::RCX => Some(Convention::Whole),
            Register::RDX => Some(Convention::Shifted),
            _ => None,
        }
    }

    /// The error calls around the instruction that loads the file string.
    pub(super) fn reports_at(&self, index: usize, convention: Convention) -> Vec<Report> {
        let (reason, function) = match convention {
            Convention::Whole => (Register::EDX, Some(Register::ESI)),
            Convention::Shifted => (Register::ESI, None),
        };
        let reasons = self.values_at(index, reason);
        let functions = function.map(|register| self.values_at(index, register)).unwrap_or_default();
        let function = if functions.len() == 1 { functions.first().copied() } else { None };
        reasons.into_iter().map(|reason| Report { reason, function }).collect()
    }

    /// Constants that a register may have at the call that follows `index`: set between here and the call, else before in this basic block,
    /// else in the blocks that jump here.
    fn values_at(&self, index: usize, register: Register) -> BTreeSet<u32> {
        if let Some(value) = self.forward(index, register) {
            return BTreeSet::from([value]);
        }
        let mut values = BTreeSet::new();
        match self.backward(index, register) {
            Found::Value(value) => {
                values.insert(value);
            }
            Found::Start { of, falls_in } => {
                for from in self.jumps_to(self.instructions[of].ip()) {
                    if let Found::Value(value) = self.backward(from, register) {
                        values.insert(value);
                    }
                }
                if falls_in
                    && of > 0
                    && let Found::Value(value) = self.backward_from(of - 1, register)
                {
                    values.insert(value);
                }
            }
            Found::Spoiled => {}
        }
        values
    }

    /// Down to the call; through at most two jumps into shared tails.
    fn forward(&self, index: usize, register: Register) -> Option<u32> {
        let (mut at, mut jumps, mut value) = (index, 0, None);
        for _ in 0..48 {
            let one = self.instructions.get(at)?;
            if let Some(set) = self.constant(at, register) {
                value = Some(set);
            }
            match one.flow_control() {
                FlowControl::Next => at += 1,
                FlowControl::UnconditionalBranch if jumps < 2 => {
                    at = self.index_of(one.near_branch_target())?;
                    jumps += 1;
                }
                _ => return value,
            }
        }
        None
    }

    fn backward(&self, index: usize, register: Register) -> Found {
        if self.targets.contains(&self.instructions[index].ip()) {
            return Found::Start { of: index, falls_in: self.falls_into(index) };
        }
        match index.checked_sub(1) {
            Some(before) if self.falls_into(index) => self.backward_from(before, register),
            _ => Found::Spoiled,
        }
    }

    /// Looks at `index` and what stands before it in its basic block.
    fn backward_from(&self, index: usize, register: Register) -> Found {
        let mut info = InstructionInfoFactory::new();
        let mut at = index;
        for _ in 0..48 {
            let one = &self.instructions[at];
            if let Some(value) = self.constant(at, register) {
                return Found::Value(value);
            }
            if one.flow_control() != FlowControl::Next {
                return Found::Spoiled;
            }
            let writes = info.info(one).used_registers().iter().any(|used| {
                used.register().full_register() == register.full_register()
                    && !matches!(used.access(), OpAccess::Read | OpAccess::CondRead | OpAccess::None | OpAccess::NoMemAccess)
            });
            if writes {
                return Found::Spoiled;
            }
            if self.targets.contains(&one.ip()) {
                return Found::Start { of: at, falls_in: self.falls_into(at) };
            }
            if !self.falls_into(at) {
                return Found::Spoiled;
            }
            at -= 1;
        }
        Found::Spoiled
    }

    /// True when the instruction before this one goes on to it.
    fn falls_into(&self, index: usize) -> bool {
        index.checked_sub(1).is_some_and(|before| {
            !matches!(
                self.instructions[before].flow_control(),
                FlowControl::UnconditionalBranch | FlowControl::Return | FlowControl::IndirectBranch | FlowControl::Exception
            )
        })
    }

    fn jumps_to(&self, address: u64) -> impl Iterator<Item = usize> + '_ {
        let leads = move |one: &Instruction| is_jump(one) && one.near_branch_target() == address;
        self.instructions.iter().enumerate().filter(move |(_, one)| leads(one)).map(|(index, _)| index)
    }

    /// The constant that this instruction puts into the register: `mov r32, imm32`, `xor r, r`, or `pop` of a constant just pushed.
    fn constant(&self, index: usize, register: Register) -> Option<u32> {
        let one = &self.instructions[index];
        if one.op_count() == 0 || one.op0_kind() != OpKind::Register {
            return None;
        }
        if one.op0_register().full_register() != register.full_register() {
            return None;
        }
        match one.mnemonic() {
            Mnemonic::Mov if one.op1_kind() == OpKind::Immediate32 => Some(one.immediate32()),
            Mnemonic::Xor if one.op1_kind() == OpKind::Register && one.op1_register() == one.op0_register() => Some(0),
            Mnemonic::Pop => {
                let pushed = self.instructions.get(index.checked_sub(1)?)?;
                (pushed.code() == Code::Pushq_imm8).then(|| pushed.immediate8to64().cast_unsigned() as u32)
            }
            _ => None,
        }
    }

    /// Full-width stores through pointers other than the stack's: what consumes data moves a cursor in an object.
    pub(super) fn moves_a_cursor(&self) -> bool {
        self.instructions.iter().any(|one| {
            one.op_count() >= 1
                && one.op0_kind() == OpKind::Memory
                && !matches!(one.memory_base(), Register::RSP | Register::RBP | Register::RIP | Register::None)
                && one.memory_size().size() >= 8
                && matches!(
                    one.mnemonic(),
                    Mnemonic::Mov
                        | Mnemonic::Add
                        | Mnemonic::Sub
                        | Mnemonic::Movups
                        | Mnemonic::Movdqu
                        | Mnemonic::Movaps
                        | Mnemonic::Vmovups
                        | Mnemonic::Vmovdqu
                )
        })
    }
}

enum Found {
    Value(u32),
    /// The basic block begins at this instruction.
    Start {
        of: usize,
        falls_in: bool,
    },
    Spoiled,
}

fn is_jump(one: &Instruction) -> bool {
    one.is_jcc_short_or_near() || one.is_jmp_short_or_near()
}
