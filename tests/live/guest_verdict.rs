//! `cargo xtask vm`'s comparison: what a guest's server noted beside what its recording replays to. Prints `seen / made`.

use std::fs;
use std::path::PathBuf;

use agent_tests::compare::{self, End};
use agent_tests::json_lines;

fn main() {
    let folder = PathBuf::from(std::env::args().nth(1).expect("the folder that the guest left"));
    let rows = |name: &str| json_lines(&fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}")));
    let (ledger, exchanges) = (rows("ledger.jsonl"), rows("exchanges.jsonl"));
    assert!(ledger.len() >= 10, "the guest's clients made {} exchanges only", ledger.len());
    compare::check_programs(&ledger, &rows("processes.jsonl"));
    compare::check(&ledger, &exchanges, End::Client);
    let report = fs::read_to_string(folder.join("report")).unwrap_or_default();
    assert!(!report.contains("trouble="), "a client failed: {report}");
    println!("{0} / {0}", ledger.len());
}
