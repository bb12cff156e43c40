//! A slice of `cargo xtask bench detection`.

use agent_tests::scenes::{Found, alerts, core, runs, score};

#[test]
fn core_finds_attacks_and_leaves_honest_work_alone() {
    let score = score(&runs(1, 14), &core());
    // The whole set is judged by 0.95 and 0.01; a slice of it has a few runs of each kind only.
    assert!(score.found_share() >= 0.93, "missed {:#?}", score.missed);
    assert!(score.accused_share() <= 0.02, "accused {:#?}", score.accused);
}

#[test]
fn the_same_recording_gives_the_same_alerts() {
    let rules = core();
    for run in runs(3, 1) {
        let uids = |found: Found| found.alerts.into_iter().map(|alert| alert.uid).collect::<Vec<_>>();
        assert_eq!(uids(alerts(&rules, &run.recording)), uids(alerts(&rules, &run.recording)), "{}", run.name);
    }
}
