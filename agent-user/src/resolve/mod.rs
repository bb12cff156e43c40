//! **resolve**: where a program's TLS functions are when it does not say so: stripped, linked statically, written in Rust or Go.
//!
//! In: the bytes of an ELF file, and [`Knowledge`]. Out: a [`Report`]: functions that were found, each by a method that leaves one
//! answer, and what was recognised but refused, with the reason. A guess is never handed out. Nothing here reads a file, a clock or the
//! kernel, and no input makes it panic, loop or take memory beyond a small multiple of the file's own tables.
//!
//! Libraries written in C compile the name of their source file into each error report: the functions that refer to it are found by the
//! reference, and told apart by the public error codes they report ([`anchors`], [`body`], [`ssl`], [`aead`]). rustls is found by the
//! shape of its record ciphers' method tables ([`rustls`]), Go by the table that its runtime needs for stack traces ([`go`]).

mod aead;
mod anchors;
mod body;
mod go;
mod image;
mod knowledge;
mod rustls;
mod ssl;
mod starts;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use knowledge::{Knowledge, KnowledgeError};

use image::Image;
use starts::Starts;

/// A TLS implementation inside a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stack {
    Openssl,
    Boringssl,
    /// The AEAD functions of aws-lc: below rustls.
    AwsLc,
    Rustls,
    Go,
}

impl Stack {
    pub fn name(self) -> &'static str {
        match self {
            Stack::Openssl => "openssl",
            Stack::Boringssl => "boringssl",
            Stack::AwsLc => "aws-lc",
            Stack::Rustls => "rustls",
            Stack::Go => "go",
        }
    }
}

/// What a function does for its caller, and how it takes its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// `int f(ssl, buffer, int length)`: returns the length.
    Read,
    Write,
    /// `int f(ssl, buffer, size_t length, …)`: returns 1, the length behind the fourth argument.
    ReadInto,
    WriteFrom,
    /// rustls: `encrypt(out, self, &message, sequence)`, `decrypt` likewise.
    Encrypt,
    Decrypt,
    /// `EVP_AEAD_CTX_…`.
    Seal,
    SealScatter,
    Open,
    OpenGather,
    /// Go's register convention. Addresses of instructions that return: there, and never at the return address, a probe may stand.
    GoRead {
        returns: Vec<u64>,
    },
    GoWrite,
    GoClose,
}

/// A function by address and by place in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    pub role: Role,
    pub address: u64,
    pub offset: u64,
    /// How it was told apart, for people.
    pub by: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    pub stack: Stack,
    pub functions: Vec<Function>,
}

/// A TLS stack that is there and cannot be attached to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    pub stack: Stack,
    pub reason: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub build_id: Option<String>,
    pub found: Vec<Found>,
    pub doubts: Vec<Doubt>,
}

/// Why a file, or a search in it, was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    NotElf,
    OtherMachine,
    NotProgram,
    Broken(&'static str),
    TooMany(&'static str),
    /// No function boundary around this address.
    NoFunction(u64),
    /// No function, or more than one, answers the description.
    Ambiguous {
        what: &'static str,
        candidates: usize,
    },
    /// What was found contradicts itself.
    Inconsistent(&'static str),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::NotElf => f.write_str("not an ELF file"),
            Refused::OtherMachine => f.write_str("not for x86-64"),
            Refused::NotProgram => f.write_str("neither a program nor a shared library"),
            Refused::Broken(what) => write!(f, "broken: {what}"),
            Refused::TooMany(what) => write!(f, "too many {what}"),
            Refused::NoFunction(address) => write!(f, "no function around {address:#x}"),
            Refused::Ambiguous { what, candidates } => write!(f, "{candidates} candidates for {what}"),
            Refused::Inconsistent(what) => write!(f, "inconsistent: {what}"),
        }
    }
}

impl std::error::Error for Refused {}

/// Finds the TLS functions in a file.
pub fn resolve(data: &[u8], knowledge: &Knowledge) -> Result<Report, Refused> {
    let image = Image::read(data)?;
    let mut report = Report { build_id: image.build_id(), ..Report::default() };
    let mut add = |stack: Stack, outcome: Result<Vec<Function>, Refused>| match outcome {
        Ok(functions) if functions.is_empty() => {}
        Ok(functions) => report.found.push(Found { stack, functions }),
        Err(refused) => report.doubts.push(Doubt { stack, reason: refused.to_string() }),
    };
    if let Some(outcome) = go::find(&image, &knowledge.go) {
        add(Stack::Go, outcome);
    }
    let mut starts = Lazy { image: &image, starts: None };
    for (stack, outcome) in ssl::find(&image, &mut starts, knowledge) {
        add(stack, outcome);
    }
    add(Stack::Rustls, rustls::find(&image, &knowledge.rustls));
    add(Stack::AwsLc, aead::find(&image, &mut starts, &knowledge.aead));
    Ok(report)
}

/// Build-id of a file, when it has one.
pub fn build_id(data: &[u8]) -> Option<String> {
    Image::read(data).ok()?.build_id()
}

/// Function starts, found out once and only for a file that needs them.
struct Lazy<'i, 'a> {
    image: &'i Image<'a>,
    starts: Option<Starts<'a>>,
}

impl<'i, 'a> Lazy<'i, 'a> {
    fn get(&mut self) -> &Starts<'a> {
        let image = self.image;
        self.starts.get_or_insert_with(|| Starts::of(image))
    }
}

fn function(image: &Image<'_>, role: Role, address: u64, by: impl Into<String>) -> Result<Function, Refused> {
    let offset = image.file_offset(address).filter(|_| image.is_code(address)).ok_or(Refused::NoFunction(address))?;
    Ok(Function { role, address, offset, by: by.into() })
}

/// The one element, or the reason why there is none.
fn only<T>(mut candidates: Vec<T>, what: &'static str) -> Result<T, Refused> {
    match (candidates.pop(), candidates.len()) {
        (Some(one), 0) => Ok(one),
        (_, rest) => Err(Refused::Ambiguous { what, candidates: rest + usize::from(rest > 0) }),
    }
}

/// Whatever the bytes say, reading them ends, in time, without a panic.
#[cfg(feature = "fuzz")]
pub fn fuzz(data: &[u8]) {
    let knowledge = Knowledge::embedded();
    let Ok(report) = resolve(data, &knowledge) else { return };
    for function in report.found.iter().flat_map(|found| &found.functions) {
        assert!(function.offset < data.len() as u64, "a place in the file");
    }
}
