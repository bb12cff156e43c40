//! `agentward rules …`: authoring without root, kernel or daemon.
//!
//! Exit codes: 0 all is well, 1 a test failed or an alert was lost, 2 a file cannot be used.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use super::input::each_observation;
use super::{Failure, Format, Outcome};
use crate::base::Value;
use crate::decide::pack::{Fault, Pack, Rule, lint, read};
use crate::decide::{Alert, RuleSet, builtin, trial};
use crate::deliver::line::printable;
use crate::pipeline::{Output, Pipeline};

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
    /// Show why a rule exists, what it reads, and what to do.
    Explain {
        /// Rule id.
        rule: String,
        #[command(flatten)]
        files: Files,
    },
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
    /// What the rules would have raised on recordings.
    Backtest {
        #[command(flatten)]
        files: Files,
        /// Recordings.
        #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
        on: Vec<PathBuf>,
    },
    /// Alerts that one set of rules raises on recordings and another does not.
    Diff {
        old: PathBuf,
        new: PathBuf,
        #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
        on: Vec<PathBuf>,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
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
        Command::Explain { rule, files } => explain(rule, files),
        Command::Fmt { paths, check } => tidy(paths, *check),
        Command::New { id } => new(id),
        Command::Backtest { files, on } => backtest(files, on),
        Command::Diff { old, new, on, format } => diff(old, new, on, *format),
    }
}

/// Rule files of a path: itself, or every `.toml` below it, in the order of their names.
pub(super) fn rule_files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
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
    if found.is_empty() {
        return Err(Failure::Input(format!("{}: holds no .toml file", path.display())));
    }
    found.sort();
    Ok(found)
}

/// Packs of the paths; every fault of every file is told.
pub(super) fn read_packs(paths: &[PathBuf]) -> Result<Vec<Pack>, Failure> {
    let mut packs = Vec::new();
    let mut faults = Vec::new();
    for path in paths {
        for file in rule_files(path)? {
            let text = fs::read_to_string(&file).map_err(|error| Failure::file(&file, "read", &error))?;
            match read(&file.display().to_string(), &text) {
                Ok(pack) => packs.push(pack),
                Err(mut found) => faults.append(&mut found),
            }
        }
    }
    if faults.is_empty() { Ok(packs) } else { Err(told(&faults)) }
}

/// Before the daemon follows rules: every file of these paths is one that only those may write who may stop it, too.
#[cfg(feature = "live")]
pub(super) fn all_trusted(paths: &[PathBuf]) -> Result<(), Failure> {
    for path in paths {
        for file in rule_files(path)? {
            trusted(&file)?;
        }
    }
    Ok(())
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
                    Value::map([("ok", Value::Bool(true)), ("packs", count(set.packs.len())), ("rules", count(set.rules.len()))])
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

fn count(number: usize) -> Value {
    Value::int(i64::try_from(number).unwrap_or(i64::MAX))
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
            let reason = format!("expected {} alerts, found {}", outcome.expected, outcome.found);
            match files.format {
                Format::Json => println!(
                    "{}",
                    Value::map([
                        ("rule", Value::Text(rule.reference.id.clone())),
                        ("test", Value::text(case.name.as_str())),
                        ("passed", Value::Bool(ok)),
                        ("expected", count(outcome.expected)),
                        ("found", count(outcome.found)),
                        ("line", count(case.line)),
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
                    ("tests", count(rule.tests.len())),
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

fn explain(id: &str, files: &Files) -> Outcome {
    let set = load(files)?;
    let Some(rule) = set.rules.iter().find(|rule| &*rule.reference.id == id) else {
        let near = set.rules.iter().min_by_key(|rule| strsim::damerau_levenshtein(&rule.reference.id, id));
        let hint = near.map(|rule| format!("; did you mean {}?", rule.reference.id)).unwrap_or_default();
        return Err(Failure::Input(format!("no rule is called {id}{hint}")));
    };
    let fields: Vec<Value> =
        rule.when.iter().flat_map(|condition| &condition.fields).map(|field| Value::text(field.as_str())).collect();
    let when = rule.when.as_ref().map_or("", |condition| condition.text.as_str());
    match files.format {
        Format::Json => println!(
            "{}",
            Value::map([
                ("id", Value::Text(rule.reference.id.clone())),
                ("title", Value::Text(rule.reference.title.clone())),
                ("severity", Value::text(rule.severity.name())),
                ("when", Value::text(when)),
                ("fields", Value::List(fields.into())),
                ("why", Value::Text(rule.why.clone())),
                ("fix", Value::Text(rule.fix.clone())),
            ])
            .to_json()
        ),
        Format::Text => print_rule(rule, when),
    }
    Ok(ExitCode::SUCCESS)
}

fn print_rule(rule: &Rule, when: &str) {
    println!("{} ({}, pack {} {})", rule.reference.title, rule.severity.name(), rule.reference.pack, rule.reference.version);
    println!("  when   {when}");
    if let Some(block) = &rule.block {
        let shown = format!("{block:?}");
        println!("  state  {}", shown.split([' ', '{']).next().unwrap_or_default().to_lowercase());
    }
    println!("  group  {}", rule.group.join(", "));
    println!("  why    {}", rule.why);
    println!("  fix    {}", rule.fix);
    println!("  tags   {}", rule.tags.join(", "));
    println!("  tests  {}", rule.tests.len());
}

/// Spaces at line ends go, runs of blank lines become one, the file ends with one line feed. Text inside `"""` and `'''` stays.
fn tidied(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut quoted: Option<&str> = None;
    let mut blank = 0;
    for line in text.lines() {
        let inside = quoted.is_some();
        for quote in ["\"\"\"", "'''"] {
            for _ in 0..line.matches(quote).count() {
                quoted = match quoted {
                    Some(open) if open == quote => None,
                    None => Some(quote),
                    other => other,
                };
            }
        }
        let line = if inside || quoted.is_some() { line } else { line.trim_end() };
        blank = if line.is_empty() && !inside { blank + 1 } else { 0 };
        if blank < 2 && !(line.is_empty() && out.is_empty()) {
            out.push_str(line);
            out.push('\n');
        }
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn tidy(paths: &[PathBuf], check: bool) -> Outcome {
    let mut changed = 0;
    for path in paths {
        for file in rule_files(path)? {
            let text = fs::read_to_string(&file).map_err(|error| Failure::file(&file, "read", &error))?;
            read(&file.display().to_string(), &text).map_err(|faults| told(&faults))?;
            let tidy = tidied(&text);
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

/// The final form of every alert that the rules raise on the recordings.
fn alerts_on(set: &Arc<RuleSet>, recordings: &[PathBuf]) -> Result<(Vec<Alert>, u64), Failure> {
    let mut alerts: indexmap::IndexMap<Arc<str>, Alert> = indexmap::IndexMap::new();
    let mut steps = 0;
    for recording in recordings {
        let mut pipeline = Pipeline::new(set.clone());
        let mut outputs = Vec::new();
        let mut take = |outputs: &mut Vec<Output>| {
            for output in outputs.drain(..) {
                match output {
                    Output::Alert(alert) => {
                        alerts.insert(alert.uid.clone(), *alert);
                    }
                    Output::Step(step) => steps += u64::from(step.completed),
                    Output::Exchange(_)
                    | Output::Message(_)
                    | Output::Odd { .. }
                    | Output::Workflow(_)
                    | Output::Panicked { .. } => {}
                }
            }
        };
        each_observation(recording, false, |observation| {
            pipeline.push(observation, &mut outputs);
            take(&mut outputs);
            Ok(())
        })?;
        pipeline.finish(&mut outputs);
        take(&mut outputs);
    }
    Ok((alerts.into_values().collect(), steps))
}

fn backtest(files: &Files, recordings: &[PathBuf]) -> Outcome {
    let set = Arc::new(load(files)?);
    let started = Instant::now();
    let (alerts, steps) = alerts_on(&set, recordings)?;
    for rule in &set.rules {
        let own: Vec<&Alert> = alerts.iter().filter(|alert| alert.rule.id == rule.reference.id).collect();
        let matches: u64 = own.iter().map(|alert| alert.count).sum();
        match files.format {
            Format::Json => println!(
                "{}",
                Value::map([
                    ("rule", Value::Text(rule.reference.id.clone())),
                    ("alerts", count(own.len())),
                    ("matches", Value::int(i64::try_from(matches).unwrap_or(i64::MAX))),
                ])
                .to_json()
            ),
            Format::Text if !own.is_empty() => println!("{:>6} alerts {:>8} matches  {}", own.len(), matches, rule.reference.id),
            Format::Text => {}
        }
    }
    if files.format == Format::Text {
        println!("{} alerts on {steps} steps in {} ms", alerts.len(), started.elapsed().as_millis());
    }
    Ok(ExitCode::SUCCESS)
}

fn diff(old: &Path, new: &Path, recordings: &[PathBuf], format: Format) -> Outcome {
    let load = |path: &Path| -> Result<Arc<RuleSet>, Failure> {
        let packs = read_packs(&[path.to_owned()])?;
        Ok(Arc::new(RuleSet::join(packs).map_err(|faults| told(&faults))?))
    };
    // The uid holds the pack's version: what happened is compared, not by which version it was found.
    let what = |alert: &Alert| (alert.rule.id.clone(), alert.group.to_json(), alert.action, alert.time);
    let before = alerts_on(&load(old)?, recordings)?.0;
    let after = alerts_on(&load(new)?, recordings)?.0;
    let mut lost = 0;
    for (sign, from, other) in [("-", &before, &after), ("+", &after, &before)] {
        for alert in from.iter().filter(|alert| other.iter().all(|known| what(known) != what(alert))) {
            lost += u32::from(sign == "-");
            match format {
                Format::Json => println!(
                    "{}",
                    Value::map([
                        ("change", Value::text(if sign == "-" { "lost" } else { "gained" })),
                        ("rule", Value::Text(alert.rule.id.clone())),
                        ("action", Value::text(alert.action.to_string())),
                        ("workflow", Value::text(alert.workflow.to_string())),
                    ])
                    .to_json()
                ),
                Format::Text => println!("{sign} {} {} {}", alert.rule.id, alert.workflow, alert.action),
            }
        }
    }
    Ok(if lost == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_tidied_and_text_kept() {
        assert_eq!(tidied("\n\na = 1  \n\n\n\nb = 2\n\n"), "a = 1\n\nb = 2\n");
        let quoted = "a = '''\nx  \n\n\n\ny'''\n";
        assert_eq!(tidied(quoted), quoted);
    }
}
