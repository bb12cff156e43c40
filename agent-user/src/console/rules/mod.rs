//! `agentward rules …`: authoring without root, kernel or daemon.
//!
//! Exit codes: 0 all is well, 1 a test or an expectation failed or an alert was lost, 2 a file cannot be used.

mod explain;
mod import;
mod layout;
mod trials;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use super::{Failure, Format, Outcome};
use crate::base::Value;
use crate::decide::pack::{Fault, Pack, lint, read};
use crate::decide::{RuleSet, builtin, trial};
use crate::deliver::line::printable;

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Read and type-check packs.
    Check(Files),
    /// Run the tests inside the rules.
    Test {
        #[command(flatten)]
        files: Files,
        /// Write the results in JUnit form, too.
        #[arg(long, value_name = "FILE")]
        junit: Option<PathBuf>,
    },
    /// Show rules with severity and title.
    List {
        #[command(flatten)]
        files: Files,
        /// As a table for a README.
        #[arg(long)]
        markdown: bool,
    },
    /// Show why a rule exists, what it reads, and what to do; with events or a recording, why it did or did not fire on them.
    Explain(explain::Arguments),
    /// Tidy the layout of rule files in place; what they say stays.
    Fmt {
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// Change nothing; exit 1 when a file would change.
        #[arg(long)]
        check: bool,
    },
    /// Print a rule to start from.
    New {
        /// Rule id.
        id: String,
    },
    /// What the rules would have raised on recordings: alerts, groups, cost and state of each rule.
    Backtest(trials::Arguments),
    /// Alerts that one set of rules raises on recordings and another does not.
    Diff {
        old: PathBuf,
        new: PathBuf,
        #[arg(long, alias = "from", required = true, num_args = 1.., value_name = "FILE")]
        on: Vec<PathBuf>,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
    /// Print Sigma rules (YAML) as a pack.
    Import(import::Arguments),
}

#[derive(clap::Args)]
pub(super) struct Files {
    /// Rule files or folders; without any, the built-in packs.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(command: &Command) -> Outcome {
    match command {
        Command::Check(files) => check(files),
        Command::Test { files, junit } => test(files, junit.as_deref()),
        Command::List { files, markdown: true } => markdown(files),
        Command::List { files, markdown: false } => list(files),
        Command::Explain(arguments) => explain::run(arguments),
        Command::Fmt { paths, check } => tidy(paths, *check),
        Command::New { id } => new(id),
        Command::Backtest(arguments) => trials::backtest(arguments),
        Command::Diff { old, new, on, format } => trials::diff(old, new, on, *format),
        Command::Import(arguments) => import::run(arguments),
    }
}

/// Rule files of a path: itself, or every `.toml` below it, in the order of their names. A folder without any is a mistake of whoever
/// named it.
pub(super) fn rule_files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let found = files_of(path)?;
    if found.is_empty() {
        return Err(Failure::Input(format!("{}: holds no .toml file", path.display())));
    }
    Ok(found)
}

fn files_of(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let metadata = fs::metadata(path).map_err(|error| Failure::file(path, "read", &error))?;
    if metadata.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(|error| Failure::file(&folder, "read", &error))?;
        for entry in entries {
            let path = entry.map_err(|error| Failure::file(&folder, "read", &error))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "toml") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Names and texts of the rule files of the paths.
pub(super) fn read_texts(paths: &[PathBuf]) -> Result<Vec<(String, String)>, Failure> {
    let mut texts = Vec::new();
    for path in paths {
        for file in rule_files(path)? {
            let text = fs::read_to_string(&file).map_err(|error| Failure::file(&file, "read", &error))?;
            texts.push((file.display().to_string(), text));
        }
    }
    Ok(texts)
}

/// Packs of the paths; every fault of every file is told.
pub(super) fn read_packs(paths: &[PathBuf]) -> Result<Vec<Pack>, Failure> {
    packs_of(&read_texts(paths)?)
}

/// Packs of the files of these names and texts.
pub(super) fn packs_of(texts: &[(String, String)]) -> Result<Vec<Pack>, Failure> {
    let mut packs = Vec::new();
    let mut faults = Vec::new();
    for (name, text) in texts {
        match read(name, text) {
            Ok(pack) => packs.push(pack),
            Err(mut found) => faults.append(&mut found),
        }
    }
    if faults.is_empty() { Ok(packs) } else { Err(told(&faults)) }
}

/// The rule files that the daemon follows: every one of these paths is such that only those may write it who may stop the daemon, too.
/// A folder that holds none yet is no reason not to watch.
#[cfg(feature = "live")]
pub(super) fn all_trusted(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let files: Result<Vec<_>, _> = paths.iter().map(|path| files_of(path)).collect();
    let files = files?.concat();
    files.iter().try_for_each(|file| trusted(file))?;
    Ok(files)
}

/// Whoever can write a rule file decides what is reported: only its owner may, and that is root or the user who runs this.
#[cfg(feature = "live")]
fn trusted(file: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(file).map_err(|error| Failure::file(file, "read", &error))?;
    let own = fs::metadata("/proc/self").map_or(0, |own| own.uid());
    let owner = metadata.uid();
    if own == 0 && owner != 0 {
        let remedy = format!("chown root {}", file.display());
        return Err(Failure::Input(format!(
            "{}: belongs to user {owner}, and root would follow its rules; {remedy}",
            file.display()
        )));
    }
    if metadata.mode() & 0o022 != 0 && (own == 0 || owner != own) || metadata.mode() & 0o002 != 0 {
        let mode = metadata.mode() & 0o777;
        return Err(Failure::Input(format!(
            "{}: others may write it (mode {mode:o}); chmod go-w {}",
            file.display(),
            file.display()
        )));
    }
    Ok(())
}

pub(super) fn told(faults: &[Fault]) -> Failure {
    let lines: Vec<String> = faults.iter().map(|fault| printable(&fault.to_string())).collect();
    Failure::Input(lines.join("\nagentward: "))
}

fn load(files: &Files) -> Result<RuleSet, Failure> {
    let packs = if files.paths.is_empty() { builtin().map_err(|faults| told(&faults))? } else { read_packs(&files.paths)? };
    RuleSet::join(packs).map_err(|faults| told(&faults))
}

fn check(files: &Files) -> Outcome {
    match load(files) {
        Ok(set) => {
            let packs =
                if files.paths.is_empty() { builtin().map_err(|faults| told(&faults))? } else { read_packs(&files.paths)? };
            for warning in packs.iter().flat_map(|pack| lint(pack, today())) {
                eprintln!("agentward: {}", printable(&warning.to_string()));
            }
            match files.format {
                Format::Json => println!(
                    "{}",
                    Value::map([
                        ("ok", Value::Bool(true)),
                        ("packs", Value::count(set.packs.len())),
                        ("rules", Value::count(set.rules.len()))
                    ])
                    .to_json()
                ),
                Format::Text => println!("{} packs, {} rules: no fault", set.packs.len(), set.rules.len()),
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(Failure::Input(reasons)) if files.format == Format::Json => {
            for reason in reasons.split("\nagentward: ") {
                println!("{}", Value::map([("ok", Value::Bool(false)), ("fault", Value::text(reason))]).to_json());
            }
            Ok(ExitCode::from(2))
        }
        Err(failure) => Err(failure),
    }
}

/// Seconds since the epoch: exceptions end on their day.
fn today() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn test(files: &Files, junit: Option<&Path>) -> Outcome {
    let set = load(files)?;
    let started = Instant::now();
    let (mut passed, mut failed) = (0, 0);
    let mut cases = String::new();
    for rule in &set.rules {
        for case in &rule.tests {
            let outcome = trial::run(&set, rule, case);
            let ok = outcome.passed();
            if ok {
                passed += 1
            } else {
                failed += 1
            }
            let name = format!("{}: {}", rule.reference.id, case.name);
            let reason = outcome.reason();
            match files.format {
                Format::Json => println!(
                    "{}",
                    Value::map([
                        ("rule", Value::Text(rule.reference.id.clone())),
                        ("test", Value::text(case.name.as_str())),
                        ("passed", Value::Bool(ok)),
                        ("expected", Value::count(outcome.expected)),
                        ("found", Value::count(outcome.found)),
                        ("line", Value::count(case.line)),
                        ("reason", if ok { Value::Null } else { Value::text(reason.as_str()) }),
                    ])
                    .to_json()
                ),
                Format::Text if !ok => println!("FAILED {} (line {}): {reason}", printable(&name), case.line),
                Format::Text => {}
            }
            let failure = if ok { String::new() } else { format!("<failure message=\"{}\"/>", xml(&reason)) };
            cases.push_str(&format!(
                "  <testcase classname=\"{}\" name=\"{}\">{failure}</testcase>\n",
                xml(&rule.reference.id),
                xml(&case.name)
            ));
        }
    }
    if files.format == Format::Text {
        println!("{} rules, {passed} tests passed, {failed} failed, {} ms", set.rules.len(), started.elapsed().as_millis());
    }
    if let Some(path) = junit {
        let text = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"agentward rules\" tests=\"{}\" failures=\"{failed}\">\n{cases}</testsuite>\n",
            passed + failed
        );
        fs::write(path, text).map_err(|error| Failure::file(path, "write", &error))?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Refuses rules that fail their own tests, and names the first that does.
#[cfg(feature = "live")]
pub(super) fn passing(set: &RuleSet) -> Result<(), Failure> {
    for rule in &set.rules {
        for case in &rule.tests {
            let outcome = trial::run(set, rule, case);
            if !outcome.passed() {
                let reason = outcome.reason();
                return Err(Failure::Input(format!("the test `{}` of rule {} fails: {reason}", case.name, rule.reference.id)));
            }
        }
    }
    Ok(())
}

fn xml(text: &str) -> String {
    printable(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn list(files: &Files) -> Outcome {
    for rule in &load(files)?.rules {
        match files.format {
            Format::Json => println!(
                "{}",
                Value::map([
                    ("id", Value::Text(rule.reference.id.clone())),
                    ("title", Value::Text(rule.reference.title.clone())),
                    ("severity", Value::text(rule.severity.name())),
                    ("pack", Value::Text(rule.reference.pack.clone())),
                    ("tests", Value::count(rule.tests.len())),
                    ("tags", Value::list(rule.tags.iter().map(|tag| Value::Text(tag.clone())))),
                ])
                .to_json()
            ),
            Format::Text => {
                println!("{:<9} {:<28} {}", rule.severity.name(), printable(&rule.reference.id), printable(&rule.reference.title))
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Packs and rules as `rules/README.md` shows them: `agentward rules list --markdown rules`.
fn markdown(files: &Files) -> Outcome {
    let set = load(files)?;
    for (pack, version, _) in &set.packs {
        println!("## {} {}\n", pack, version);
        println!("| rule | severity | what it says | frameworks | fires / silent tests |");
        println!("| --- | --- | --- | --- | --- |");
        for rule in set.rules.iter().filter(|rule| rule.reference.pack == *pack) {
            let fires = rule.tests.iter().filter(|test| test.alerts > 0).count();
            println!(
                "| `{}` | {} | {} | {} | {fires} / {} |",
                rule.reference.id,
                rule.severity.name(),
                rule.reference.title,
                rule.tags.join(" "),
                rule.tests.len() - fires
            );
        }
        println!();
    }
    Ok(ExitCode::SUCCESS)
}

fn tidy(paths: &[PathBuf], check: bool) -> Outcome {
    let mut changed = 0;
    for path in paths {
        for file in rule_files(path)? {
            let text = fs::read_to_string(&file).map_err(|error| Failure::file(&file, "read", &error))?;
            read(&file.display().to_string(), &text).map_err(|faults| told(&faults))?;
            let tidy = layout::tidied(&text);
            if tidy != text {
                changed += 1;
                println!("{}", file.display());
                if !check {
                    fs::write(&file, tidy).map_err(|error| Failure::file(&file, "write", &error))?;
                }
            }
        }
    }
    Ok(if check && changed > 0 { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn new(id: &str) -> Outcome {
    println!(
        "[pack]\nname = \"my-agents\"\nversion = \"0.1.0\"\n\n[[rule]]\nid = \"{id}\"\ntitle = \"Refund above the limit\"\nseverity = \"high\"\nwhen = 'kind == \"api.request\" && effect == \"money\" && arg.amount > 500'\ntags = [\"api:API6\"]\nwhy = \"Refunds above 500 need a person.\"\nfix = \"Ask a person before the call.\"\n\n[[rule.test]]\nname = \"above\"\nevents = [{{ kind = \"api.request\", effect = \"money\", arg = {{ amount = 900 }} }}]\nalerts = 1\n\n[[rule.test]]\nname = \"below\"\nevents = [{{ kind = \"api.request\", effect = \"money\", arg = {{ amount = 90 }} }}]\nalerts = 0"
    );
    Ok(ExitCode::SUCCESS)
}
