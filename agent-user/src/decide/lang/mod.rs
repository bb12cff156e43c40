//! The language of conditions: a strict, typed subset of CEL (policy text in, yes, no or "cannot know" out).
//!
//! An absent field is an error value that `&&` and `||` absorb, as in CEL; at the top it means "no match" and is counted. There are no
//! loops but `exists` and `all`, which are bounded; every regular expression runs in linear time and is compiled once.

mod eval;
mod fields;
mod lex;
mod parse;

pub use eval::{Absent, Context, Grant, Vocabulary, evaluate};
pub(crate) use eval::{field, glob};
pub use fields::{is_known, suggest};
pub use parse::{Comparison, Expr, fields as read_fields, parse};

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
