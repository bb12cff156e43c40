//! `agentward rules import`: Sigma rules as a pack on standard output.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use super::told;
use crate::console::{Failure, Outcome, sigma};
use crate::decide::pack::read;

#[derive(clap::Args)]
pub(in crate::console) struct Arguments {
    /// YAML files with rules, correlations and filters, which may name each other.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Name of the pack.
    #[arg(long, default_value = "sigma")]
    pack: String,
    /// Which field of an action a field of Sigma is, for example `EventID=arg.event`.
    #[arg(long, value_name = "SIGMA=FIELD")]
    map: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let mut map = BTreeMap::new();
    for pair in &arguments.map {
        let wrong = || Failure::Input(format!("--map {pair}: expected SIGMA=FIELD, for example EventID=arg.event"));
        let (sigma, own) = pair.split_once('=').ok_or_else(wrong)?;
        map.insert(sigma.to_owned(), own.to_owned());
    }
    let mut files = Vec::new();
    for path in &arguments.files {
        let text = fs::read_to_string(path).map_err(|error| Failure::file(path, "read", &error))?;
        files.push((path.display().to_string(), text));
    }
    let pack = sigma::convert(&files, &arguments.pack, &map).map_err(|faults| told(&faults))?;
    // What Sigma allows and a field's type does not is told by rule: the text it stands in is not the user's.
    read("the pack", &pack).map_err(|faults| {
        let lines: Vec<&str> = pack.lines().collect();
        let rule =
            |line: usize| lines[..line.min(lines.len())].iter().rev().find_map(|line| line.strip_prefix("id = ")).unwrap_or("?");
        let reasons: Vec<String> = faults.iter().map(|fault| format!("rule {}: {}", rule(fault.line), fault.reason)).collect();
        Failure::Input(reasons.join("\nagentward: "))
    })?;
    print!("{pack}");
    Ok(ExitCode::SUCCESS)
}
