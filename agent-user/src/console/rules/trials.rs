//! `agentward rules backtest` and `diff`: rules on recorded traffic.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indexmap::IndexMap;

use super::{Files, load, read_packs, told, xml};
use crate::base::{ActionId, Timestamp, Value};
use crate::console::input::each_observation;
use crate::console::{Failure, Format, Outcome};
use crate::correlate::{Step, WorkflowId};
use crate::decide::pack::{Rule, bytes_per_key, duration};
use crate::decide::{Alert, Counts, Decide, RuleSet};
use crate::deliver::line::printable;
use crate::pipeline::{Output, Pipeline};

/// Steps over which each rule is timed alone.
const TIMED: usize = 5_000;

/// Groups that are named of each rule: those with most matches.
const TOP: usize = 3;

#[derive(clap::Args)]
pub(in crate::console) struct Arguments {
    #[command(flatten)]
    files: Files,
    /// Recordings.
    #[arg(long, alias = "from", required = true, num_args = 1.., value_name = "FILE")]
    on: Vec<PathBuf>,
    /// Only alerts of the last so long before the end of the recordings, for example 7d.
    #[arg(long, value_name = "DURATION")]
    since: Option<String>,
    /// How many alerts each rule is to raise: a TOML file with `"rule.id" = 3` or `"rule.id" = { min = 1, max = 5 }`; rules that it
    /// does not name may raise any number. Exit 1 when one does not.
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Write what was expected and found in JUnit form, too.
    #[arg(long, value_name = "FILE", requires = "expect")]
    junit: Option<PathBuf>,
}

/// An alert, as much as is asked of it: a recording of weeks has many.
struct Told {
    rule: Arc<str>,
    group: Box<str>,
    count: u64,
    time: Timestamp,
    action: ActionId,
    workflow: WorkflowId,
}

impl From<Alert> for Told {
    fn from(alert: Alert) -> Told {
        Told {
            rule: alert.rule.id.clone(),
            group: alert.group.to_json().into(),
            count: alert.count,
            time: alert.time,
            action: alert.action,
            workflow: alert.workflow,
        }
    }
}

/// What a run over recordings gave.
#[derive(Default)]
struct Ran {
    /// By their uids, in their final form.
    alerts: IndexMap<u128, Told>,
    steps: u64,
    end: Timestamp,
    counts: BTreeMap<Arc<str>, Counts>,
    /// The first steps, to time rules on.
    sample: Vec<Step>,
}

fn ran(set: &Arc<RuleSet>, recordings: &[PathBuf], sample: usize) -> Result<Ran, Failure> {
    let mut ran = Ran::default();
    for recording in recordings {
        let mut pipeline = Pipeline::new(set.clone());
        let mut outputs = Vec::new();
        each_observation(recording, false, |observation| {
            ran.end = ran.end.max(observation.ts);
            pipeline.push(observation, &mut outputs);
            ran.take(&mut outputs, sample);
            Ok(())
        })?;
        pipeline.finish(&mut outputs);
        ran.take(&mut outputs, sample);
        for (id, counts) in pipeline.rule_counts() {
            let sum = ran.counts.entry(id.clone()).or_default();
            sum.judged += counts.judged;
            sum.matched += counts.matched;
            sum.unknown += counts.unknown;
            sum.keys += counts.keys;
            sum.evicted += counts.evicted;
        }
    }
    Ok(ran)
}

impl Ran {
    fn take(&mut self, outputs: &mut Vec<Output>, sample: usize) {
        for output in outputs.drain(..) {
            match output {
                Output::Alert(alert) => {
                    let uid = u128::from_str_radix(&alert.uid, 16).unwrap_or_default();
                    self.alerts.insert(uid, Told::from(*alert));
                }
                Output::Step(step) => {
                    self.steps += u64::from(step.completed);
                    if self.sample.len() < sample {
                        self.sample.push(*step);
                    }
                }
                Output::Exchange(_) | Output::Message(_) | Output::Odd { .. } | Output::Workflow(_) | Output::Panicked { .. } => {
                }
            }
        }
    }

    /// Nanoseconds a step that the rule costs alone.
    fn cost(&self, set: &RuleSet, rule: &Arc<Rule>) -> u64 {
        let alone = set.only(rule);
        let mut decide = Decide::default();
        let mut alerts = Vec::new();
        let started = Instant::now();
        for step in &self.sample {
            decide.push(&alone, step, &mut alerts);
        }
        let spent = started.elapsed().as_nanos() / (self.sample.len() as u128).max(1);
        u64::try_from(spent).unwrap_or(u64::MAX)
    }
}

pub(super) fn backtest(arguments: &Arguments) -> Outcome {
    let since = match &arguments.since {
        None => None,
        Some(text) => {
            let wrong =
                || Failure::Input(format!("--since {text}: a duration is a number with ms, s, m, h or d, for example 7d"));
            Some(duration(text).ok_or_else(wrong)?)
        }
    };
    let expected = arguments.expect.as_deref().map(expectations).transpose()?;
    let set = Arc::new(load(&arguments.files)?);
    if let Some((path, id)) = arguments.expect.as_ref().zip(expected.as_ref()).and_then(|(path, expected)| {
        expected.keys().find(|id| set.rules.iter().all(|rule| *rule.reference.id != ***id)).map(|id| (path, id))
    }) {
        return Err(Failure::Input(format!("{}: no rule is called {id}", path.display())));
    }
    let started = Instant::now();
    let mut ran = ran(&set, &arguments.on, TIMED)?;
    let spent = started.elapsed();
    if let Some(since) = since {
        let nanos = u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let start = Timestamp(ran.end.0.saturating_sub(nanos));
        ran.alerts.retain(|_, alert| alert.time >= start);
    }
    let mut cases = Vec::new();
    for rule in &set.rules {
        let own: Vec<&Told> = ran.alerts.values().filter(|alert| alert.rule == rule.reference.id).collect();
        print(&set, rule, &own, &ran, arguments.files.format);
        if let Some((least, most)) = expected.as_ref().and_then(|expected| expected.get(&*rule.reference.id)) {
            let met = (*least..=*most).contains(&own.len());
            cases.push((rule.reference.id.clone(), met, format!("expected {least} to {most} alerts, found {}", own.len())));
        }
    }
    if arguments.files.format == Format::Text {
        println!("{} alerts on {} steps in {} ms", ran.alerts.len(), ran.steps, spent.as_millis());
        for (id, _, reason) in cases.iter().filter(|(_, met, _)| !met) {
            println!("FAILED {id}: {reason}");
        }
    }
    if let Some(path) = &arguments.junit {
        junit(path, &cases, spent)?;
    }
    Ok(if cases.iter().all(|(_, met, _)| *met) { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn print(set: &RuleSet, rule: &Arc<Rule>, own: &[&Told], ran: &Ran, format: Format) {
    let matches: u64 = own.iter().map(|alert| alert.count).sum();
    let mut groups: IndexMap<&str, u64> = IndexMap::new();
    own.iter().for_each(|alert| *groups.entry(&*alert.group).or_default() += alert.count);
    groups.sort_by(|_, one, _, other| other.cmp(one));
    let counts = ran.counts.get(&rule.reference.id).copied().unwrap_or_default();
    let bytes = rule.block.as_ref().map_or(0, bytes_per_key) * counts.keys;
    match format {
        Format::Json => {
            let top = groups
                .iter()
                .take(TOP)
                .map(|(group, times)| Value::map([("group", Value::text(*group)), ("matches", Value::count(*times))]));
            let line = Value::map([
                ("rule", Value::Text(rule.reference.id.clone())),
                ("alerts", Value::count(own.len())),
                ("matches", Value::count(matches)),
                ("groups", Value::count(groups.len())),
                ("top", Value::list(top.collect::<Vec<_>>())),
                ("judged", Value::count(counts.judged)),
                ("unknown", Value::count(counts.unknown)),
                ("ns_per_step", Value::count(ran.cost(set, rule))),
                ("keys", Value::count(counts.keys)),
                ("evicted", Value::count(counts.evicted)),
                ("state_bytes_at_most", Value::count(bytes)),
            ]);
            println!("{}", line.to_json());
        }
        Format::Text if !own.is_empty() => {
            println!(
                "{:>6} alerts {matches:>8} matches {:>6} groups {:>6} ns/step {:>8} keys  {}",
                own.len(),
                groups.len(),
                ran.cost(set, rule),
                counts.keys,
                rule.reference.id
            );
            for (group, times) in groups.iter().take(TOP) {
                println!("{:>6} {times:>15} {}", "", printable(group));
            }
        }
        Format::Text => {}
    }
}

/// Least and most alerts of each rule that a file names.
fn expectations(path: &Path) -> Result<BTreeMap<String, (usize, usize)>, Failure> {
    let text = fs::read_to_string(path).map_err(|error| Failure::file(path, "read", &error))?;
    let wrong = |reason: String| Failure::Input(format!("{}: {reason}", path.display()));
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| wrong(error.to_string()))?;
    let number = |value: &toml::Value| value.as_integer().and_then(|number| usize::try_from(number).ok());
    let mut found = BTreeMap::new();
    for (id, value) in &table {
        let bounds = match value {
            toml::Value::Table(bounds) if bounds.keys().all(|key| key == "min" || key == "max") => {
                let bound = |name: &str, other: usize| bounds.get(name).map_or(Some(other), number);
                bound("min", 0).zip(bound("max", usize::MAX))
            }
            single => number(single).map(|number| (number, number)),
        };
        let shape = || wrong(format!("\"{id}\" is a number of alerts, or {{ min = 1, max = 5 }}"));
        found.insert(id.clone(), bounds.ok_or_else(shape)?);
    }
    Ok(found)
}

fn junit(path: &Path, cases: &[(Arc<str>, bool, String)], spent: Duration) -> Result<(), Failure> {
    let failed = cases.iter().filter(|(_, met, _)| !met).count();
    let lines: String = cases
        .iter()
        .map(|(id, met, reason)| {
            let failure = if *met { String::new() } else { format!("<failure message=\"{}\"/>", xml(reason)) };
            format!("  <testcase classname=\"backtest\" name=\"{}\">{failure}</testcase>\n", xml(id))
        })
        .collect();
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"agentward backtest\" tests=\"{}\" failures=\"{failed}\" time=\"{:.3}\">\n{lines}</testsuite>\n",
        cases.len(),
        spent.as_secs_f64()
    );
    fs::write(path, text).map_err(|error| Failure::file(path, "write", &error))
}

pub(super) fn diff(old: &Path, new: &Path, recordings: &[PathBuf], format: Format) -> Outcome {
    let load = |path: &Path| -> Result<Arc<RuleSet>, Failure> {
        let packs = read_packs(&[path.to_owned()])?;
        Ok(Arc::new(RuleSet::join(packs).map_err(|faults| told(&faults))?))
    };
    // The uid holds the pack's version: what happened is compared, not by which version it was found.
    let what = |alert: &Told| (alert.rule.clone(), alert.group.clone(), alert.action, alert.time);
    let before = ran(&load(old)?, recordings, 0)?.alerts;
    let after = ran(&load(new)?, recordings, 0)?.alerts;
    let mut lost = 0;
    for (sign, from, other) in [("-", &before, &after), ("+", &after, &before)] {
        let known: std::collections::BTreeSet<_> = other.values().map(what).collect();
        for alert in from.values().filter(|alert| !known.contains(&what(alert))) {
            lost += u32::from(sign == "-");
            match format {
                Format::Json => println!(
                    "{}",
                    Value::map([
                        ("change", Value::text(if sign == "-" { "lost" } else { "gained" })),
                        ("rule", Value::Text(alert.rule.clone())),
                        ("action", Value::text(alert.action.to_string())),
                        ("workflow", Value::text(alert.workflow.to_string())),
                    ])
                    .to_json()
                ),
                Format::Text => println!("{sign} {} {} {}", alert.rule, alert.workflow, alert.action),
            }
        }
    }
    Ok(if lost == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
