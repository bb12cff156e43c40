//! Every door of the decode stage; `AGENTWARD_FUZZ` names one, else the first byte of the input chooses.
#![no_main]

use std::sync::LazyLock;

use agentward::decode::fuzz::DOORS;
use libfuzzer_sys::fuzz_target;

static CHOSEN: LazyLock<Option<fn(&[u8])>> = LazyLock::new(|| {
    let name = std::env::var("AGENTWARD_FUZZ").ok()?;
    let (_, target) = DOORS.iter().find(|(known, _)| *known == name).expect("AGENTWARD_FUZZ names a target");
    Some(*target)
});

fuzz_target!(|data: &[u8]| {
    match (*CHOSEN, data) {
        (Some(target), data) => target(data),
        (None, [choice, data @ ..]) => DOORS[usize::from(*choice) % DOORS.len()].1(data),
        (None, []) => {}
    }
});
