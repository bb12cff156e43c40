//! Small programs made by hand: each holds just what a method looks for, or almost.

use super::*;

const CODE: u64 = 0x40_0000;
const DATA: u64 = 0x50_0000;

/// A program of one executable and one writable segment, loaded where it was linked.
#[derive(Default)]
struct Program {
    code: Vec<u8>,
    data: Vec<u8>,
}

impl Program {
    /// Starts a function on the next aligned address, behind padding.
    fn function(&mut self, bytes: &[u8]) -> u64 {
        self.code.push(0xcc);
        while !self.code.len().is_multiple_of(16) {
            self.code.push(0xcc);
        }
        let address = self.end();
        self.code.extend(bytes);
        address
    }

    fn end(&self) -> u64 {
        CODE + self.code.len() as u64
    }

    /// `call target` at the end of what is there.
    fn call(&mut self, target: u64) {
        let next = self.end() + 5;
        let distance = i32::try_from(target.cast_signed() - next.cast_signed()).expect("near");
        self.code.push(0xe8);
        self.code.extend(distance.to_le_bytes());
    }

    fn text(&mut self, text: &str) -> u64 {
        let address = CODE + self.code.len() as u64;
        self.code.extend(text.as_bytes());
        self.code.push(0);
        address
    }

    fn words(&mut self, words: &[u64]) {
        words.iter().for_each(|word| self.data.extend(word.to_le_bytes()));
    }

    fn bytes(&self) -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
        for word in [CODE, 64, 0] {
            file.extend(u64::to_le_bytes(word));
        }
        file.extend([0, 0, 0, 0, 64, 0, 56, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        let code_at = 64 + 2 * 56;
        let data_at = code_at + self.code.len();
        for (flags, offset, address, length) in [(5_u32, code_at, CODE, self.code.len()), (6, data_at, DATA, self.data.len())] {
            file.extend(1_u32.to_le_bytes());
            file.extend(flags.to_le_bytes());
            for word in [offset as u64, address, address, length as u64, length as u64, 0x1000] {
                file.extend(word.to_le_bytes());
            }
        }
        file.extend(&self.code);
        file.extend(&self.data);
        file
    }

    fn resolve(&self) -> Report {
        resolve(&self.bytes(), &Knowledge::embedded()).expect("a program")
    }
}

/// Role and address of what was found, in order; and the doubts' stacks.
fn check(program: &Program, found: &[(Role, u64)], doubts: &[Stack]) {
    let report = program.resolve();
    let seen: Vec<(Role, u64)> =
        report.found.iter().flat_map(|found| &found.functions).map(|one| (one.role.clone(), one.address)).collect();
    assert_eq!(seen, found, "{report:?}");
    assert_eq!(report.doubts.iter().map(|doubt| doubt.stack).collect::<Vec<_>>(), doubts, "{report:?}");
}

/// `ERR_put_error(16, 0, reason, file, line)`, or without the second parameter.
fn reports(program: &mut Program, sink: u64, file: u64, reasons: &[u32], shifted: bool) {
    let file = u32::try_from(file).expect("low").to_le_bytes();
    for reason in reasons {
        let (file_register, reason_register) = if shifted { (0xba, 0xbe) } else { (0xb9, 0xba) };
        program.code.push(0xbf);
        program.code.extend(16_u32.to_le_bytes());
        program.code.push(file_register);
        program.code.extend(file);
        program.code.push(reason_register);
        program.code.extend(reason.to_le_bytes());
        program.call(sink);
    }
}

/// A BoringSSL of four functions; `readers` of them read.
fn boringssl(shifted: bool, writers: usize, readers: usize, peeks: bool) -> (Program, Vec<(Role, u64)>) {
    let mut program = Program::default();
    let file = program.text("../../vendor/boringssl/ssl/ssl_lib.cc");
    let sink = program.function(&[0xc3]);
    let mut addresses = Vec::new();
    let begin = |program: &mut Program| program.function(&[0x55]);
    let inner = begin(&mut program);
    reports(&mut program, sink, file, &[226, 215], shifted);
    program.code.push(0xc3);
    for _ in 0..writers {
        addresses.push((Role::Write, begin(&mut program)));
        reports(&mut program, sink, file, &[66, 226, 215, 111], shifted);
        program.code.push(0xc3);
    }
    for _ in 0..readers {
        addresses.push((Role::Read, begin(&mut program)));
        reports(&mut program, sink, file, &[66], shifted);
        program.call(inner);
        // mov [rbx + 8], rax: the cursor
        program.code.extend([0x48, 0x89, 0x43, 0x08, 0xc3]);
    }
    if peeks {
        begin(&mut program);
        reports(&mut program, sink, file, &[66], shifted);
        program.call(inner);
        program.code.push(0xc3);
    }
    // Somebody calls each of them, so that their starts are known.
    let starts: Vec<u64> = (CODE..program.end()).filter(|at| at.is_multiple_of(16)).collect();
    let caller = begin(&mut program);
    for start in starts {
        let inside = usize::try_from(start - CODE).expect("small");
        if matches!(program.code[inside], 0x55 | 0xc3) && program.code[inside - 1] == 0xcc {
            program.call(start);
        }
    }
    program.code.push(0xc3);
    assert!(caller > 0);
    (program, addresses)
}

#[test]
fn boringssl_is_told_apart_by_what_it_reports() {
    for shifted in [false, true] {
        for peeks in [false, true] {
            let (program, addresses) = boringssl(shifted, 1, 1, peeks);
            check(&program, &addresses, &[]);
        }
    }
}

#[test]
fn two_answers_are_no_answer() {
    check(&boringssl(false, 2, 1, false).0, &[], &[Stack::Boringssl]);
    check(&boringssl(false, 1, 2, false).0, &[], &[Stack::Boringssl]);
    check(&boringssl(false, 0, 1, false).0, &[], &[Stack::Boringssl]);
}

/// Tables of two record ciphers: the decrypter's, a gap, the encrypter's.
fn rustls(leaf: &[u8], size: u64, align: u64) -> (Program, [u64; 2]) {
    let mut program = Program::default();
    let encrypt = program.function(&[0x55, 0xc3]);
    let decrypt = program.function(&[0x55, 0x5d, 0xc3]);
    let leaf = program.function(leaf);
    program.words(&[0, size, align, decrypt, 0, 0, 0, 0, size, align, encrypt, leaf]);
    (program, [encrypt, decrypt])
}

#[test]
fn rustls_is_told_by_its_tables() {
    let cases: [(&[u8], u64, u64, bool); 6] = [
        (&[0x48, 0x8d, 0x46, 0x11, 0xc3], 560, 16, true),
        (&[0x55, 0x48, 0x89, 0xe5, 0x48, 0x8d, 0x46, 0x11, 0x5d, 0xc3], 48, 8, true),
        // One more byte than TLS 1.3 adds; TLS 1.2 alone; an impossible size and alignment.
        (&[0x48, 0x8d, 0x46, 0x12, 0xc3], 48, 8, false),
        (&[0x48, 0x8d, 0x46, 0x18, 0xc3], 48, 8, false),
        (&[0x48, 0x8d, 0x46, 0x11, 0xc3], 1 << 40, 8, false),
        (&[0x48, 0x8d, 0x46, 0x11, 0xc3], 48, 7, false),
    ];
    for (leaf, size, align, found) in cases {
        let (program, [encrypt, decrypt]) = rustls(leaf, size, align);
        let expected = [(Role::Encrypt, encrypt), (Role::Decrypt, decrypt)];
        check(&program, if found { &expected } else { &[] }, &[]);
    }
}

#[test]
fn a_file_that_is_no_program_is_refused_with_a_reason() {
    let whole = rustls(&[0x48, 0x8d, 0x46, 0x11, 0xc3], 48, 8).0.bytes();
    let with = |at: usize, bytes: &[u8]| {
        let mut file = whole.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let cases = [
        (Vec::new(), Refused::NotElf),
        (b"#!/bin/sh".to_vec(), Refused::NotElf),
        (with(18, &[183]), Refused::OtherMachine),
        (with(16, &[1]), Refused::NotProgram),
        (with(32, &[0xff; 8]), Refused::Broken("program header table outside of the file")),
        (with(56, &[0xff; 2]), Refused::Broken("program header table of impossible size")),
        (with(64 + 16, &[0xff; 8]), Refused::Broken("segment wraps around the address space")),
        (with(64 + 4, &[4]), Refused::Broken("no code")),
    ];
    for (file, refused) in cases {
        assert_eq!(resolve(&file, &Knowledge::embedded()), Err(refused));
    }
}

#[test]
fn too_many_of_anything_is_refused() {
    let mut strings = Program::default();
    (0..100).for_each(|_| {
        strings.text("ssl/ssl_lib.cc");
    });
    strings.function(&[0xc3]);
    check(&strings, &[], &[Stack::Openssl]);

    let shapes = Program { code: [0x48, 0x8d, 0x46, 0x11, 0xc3].repeat(70_000), data: Vec::new() };
    check(&shapes, &[], &[Stack::Rustls]);
}

/// Every header byte and every length: what comes out is an answer, never a panic.
#[test]
fn broken_files_are_survived() {
    let knowledge = Knowledge::embedded();
    for program in [boringssl(true, 1, 1, true).0, rustls(&[0x48, 0x8d, 0x46, 0x11, 0xc3], 48, 8).0] {
        let whole = program.bytes();
        for end in 0..whole.len() {
            let _ = resolve(&whole[..end], &knowledge);
        }
        for at in 0..64 + 2 * 56 {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut file = whole.clone();
                file[at] = value;
                let Ok(report) = resolve(&file, &knowledge) else { continue };
                for function in report.found.iter().flat_map(|found| &found.functions) {
                    assert!(function.offset < file.len() as u64);
                }
            }
        }
    }
}
