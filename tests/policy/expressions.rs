//! A slice of `cargo xtask bench expressions`.

use super::oracle::compare;

#[test]
fn random_expressions_mean_what_they_mean_in_cel() {
    let tally = compare(11, 4_000);
    assert!(tally.unexplained.is_empty(), "{}", tally.unexplained.iter().take(5).cloned().collect::<Vec<_>>().join("\n"));
    assert!(tally.same > 3_000 && tally.held > 300 && tally.absent > 300, "{tally:?}");
}
