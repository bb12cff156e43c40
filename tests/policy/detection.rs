//! Generated workflows through the pure pipeline; `cargo xtask bench detection` counts what `core` finds in many of them.

use agent_tests::scenes::{alerts, core, runs};

#[test]
fn the_same_recording_gives_the_same_alerts() {
    let rules = core();
    for run in runs(3, 1) {
        let uids = |found: agent_tests::scenes::Found| found.alerts.into_iter().map(|alert| alert.uid).collect::<Vec<_>>();
        assert_eq!(uids(alerts(&rules, &run.recording)), uids(alerts(&rules, &run.recording)), "{}", run.name);
    }
}
