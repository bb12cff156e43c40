//! The packs that are part of the program.

use super::pack::{Fault, Pack, read};

/// File name as faults show it, and text.
const PACKS: &[(&str, &str)] = &[("rules/core/core.toml", include_str!("../../../rules/core/core.toml"))];

/// Every built-in pack. A fault in one is a defect that a test finds.
pub fn builtin() -> Result<Vec<Pack>, Vec<Fault>> {
    PACKS.iter().map(|(file, text)| read(file, text)).collect()
}

/// The texts themselves, for evidence that shows the rule it was judged by.
pub fn sources() -> impl Iterator<Item = &'static str> {
    PACKS.iter().map(|(_, text)| *text)
}
