//! The language of conditions: a strict, typed subset of CEL (policy text in, yes, no or "cannot know" out).
//!
//! An absent field is an error value that `&&` and `||` absorb, as in CEL; at the top it means "no match" and is counted. There are no
//! loops but `exists` and `all`, which share a budget; every regular expression runs in linear time and is compiled once.
//!
//! Where it differs from CEL, on purpose: numbers are one type, so `1 == 1.0` and `1 + 0.5` are what they look like; `has(x)` asks
//! for any absent part of a path; an entity equals its id; `contains` also asks a list for an item; text that a field's type rules out is refused when a rule is loaded; an
//! unknown escape in text keeps its backslash; `*`, `/`, `%`, `map`, `filter` and text concatenation are left out.

mod eval;
mod fields;
mod lex;
mod parse;
mod program;
mod show;
mod slots;

pub(crate) use eval::glob;
pub use eval::{Absent, BUDGET, Context, Grant, Seen, evaluate};
pub use fields::{FIELDS, Type, is_entity, is_known, nearest, suggest, type_of};
pub use parse::{Comparison, Expr, Function, fields as read_fields, parse, remembers};
pub use program::{Compiler, Node, Set, Where, WordHash};
pub use show::terms;
pub use slots::{Fact, Paths, Slot, Slots};

use std::fmt;

/// A fault in an expression: byte offset from its start, and the reason with a remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub at: usize,
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

#[cfg(test)]
mod tests;
