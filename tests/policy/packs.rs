//! Every pack of the repository: it loads, joins with the others, and each rule fires and stays silent as its tests say.

use std::path::{Path, PathBuf};

use agentward::decide::pack::{Pack, lint, read};
use agentward::decide::{RuleSet, trial};

fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("the folder of rules") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|ending| ending == "toml") {
            out.push(path);
        }
    }
}

fn packs() -> Vec<Pack> {
    let mut found = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../rules"), &mut found);
    found.sort();
    found
        .iter()
        .map(|file| {
            let text = std::fs::read_to_string(file).expect("a rule file");
            read(&file.display().to_string(), &text).unwrap_or_else(|faults| panic!("{}", faults[0]))
        })
        .collect()
}

#[test]
fn every_rule_of_every_pack_fires_and_stays_silent() {
    let packs = packs();
    assert!(packs.len() >= 9, "core and eight uses");
    let warnings: Vec<String> =
        packs.iter().flat_map(|pack| lint(pack, 1_790_000_000)).map(|warning| warning.to_string()).collect();
    assert!(warnings.is_empty(), "{warnings:#?}");
    let set = RuleSet::join(packs).unwrap_or_else(|faults| panic!("{}", faults[0]));
    let mut failed = Vec::new();
    for rule in &set.rules {
        for test in &rule.tests {
            let outcome = trial::run(&set, rule, test);
            if !outcome.passed() {
                failed.push(format!("{}: {}: {outcome:?}", rule.reference.id, test.name));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
