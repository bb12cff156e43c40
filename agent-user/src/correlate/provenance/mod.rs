//! Where the values of a call come from: the user's words, instructions, what tools returned, or the model alone.
//!
//! Only keyed fingerprints of values and words are kept. A value is found again through re-wrapping, JSON, base64, URL encoding, case and
//! white space. That a value is not the user's says nothing yet: agents look things up all day. What separates a steered call is kept as
//! facts (see [`Provenance`] and [`Influence`]); [`weigh`] sums them up, with its reasons.

mod content;
mod forms;
mod listen;
mod memory;
mod speech;
#[cfg(test)]
mod tests;
mod weigh;

pub(super) use memory::Memory;

use super::{Influence, Provenance};
