//! Every door of the decode stage, and that of the whole pipeline; `AGENTWARD_FUZZ` names one, else the first byte of the input chooses.
#![no_main]

use std::sync::LazyLock;

use agentward::fuzz::{Door, doors};
use libfuzzer_sys::fuzz_target;

static CHOSEN: LazyLock<Option<fn(&[u8])>> = LazyLock::new(|| {
    let name = std::env::var("AGENTWARD_FUZZ").ok()?;
    let (_, target) = doors().find(|(known, _)| *known == name).expect("AGENTWARD_FUZZ names a target");
    Some(target)
});

static ALL: LazyLock<Vec<Door>> = LazyLock::new(|| doors().collect());

fuzz_target!(|data: &[u8]| {
    match (*CHOSEN, data) {
        (Some(target), data) => target(data),
        (None, [choice, data @ ..]) => ALL[usize::from(*choice) % ALL.len()].1(data),
        (None, []) => {}
    }
});
