//! `agentward rules explain`: what a rule is, and why it did or did not fire.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::{Files, load};
use crate::base::{KeyedHash, Timestamp, Value};
use crate::console::input::each_observation;
use crate::console::{Failure, Format, Outcome};
use crate::correlate::Step;
use crate::decide::explain::{Explained, Truth};
use crate::decide::pack::Rule;
use crate::decide::{Decide, Event, RuleSet};
use crate::decode::json;
use crate::deliver::Redactor;
use crate::deliver::line::{printable, summary};
use crate::pipeline::{Output, Pipeline};

/// Steps of a recording that are shown when the rule fired on none: those that came nearest.
const NEAREST: usize = 3;

#[derive(clap::Args)]
pub(in crate::console) struct Arguments {
    /// Rule id.
    rule: String,
    /// Rule files or folders (`.toml`; without any, the built-in packs); events as JSON lines such as `replay --emit actions` prints
    /// them, recordings, or one event as text.
    #[arg(value_name = "PATH|EVENT")]
    given: Vec<String>,
    /// Events or recordings, as above.
    #[arg(long, num_args = 1.., value_name = "FILE")]
    on: Vec<String>,
    /// Show contents of recordings.
    #[arg(long)]
    reveal: bool,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// One event with what became of it.
struct Judged {
    name: String,
    fired: bool,
    excepted: Option<String>,
    state: Value,
    conditions: Vec<Explained>,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let rules = |given: &&String| !given.trim_start().starts_with('{') && (given.ends_with(".toml") || Path::new(given).is_dir());
    let paths = arguments.given.iter().filter(rules).map(PathBuf::from).collect();
    let set = load(&Files { paths, format: arguments.format })?;
    let Some(rule) = set.rules.iter().find(|rule| *rule.reference.id == *arguments.rule) else {
        let near = set.rules.iter().min_by_key(|rule| strsim::damerau_levenshtein(&rule.reference.id, &arguments.rule));
        let hint = near.map(|rule| format!("; did you mean {}?", rule.reference.id)).unwrap_or_default();
        return Err(Failure::Input(format!("no rule is called {}{hint}", arguments.rule)));
    };
    let sources: Vec<&String> = arguments.given.iter().filter(|given| !rules(given)).chain(&arguments.on).collect();
    if sources.is_empty() {
        match arguments.format {
            Format::Json => println!("{}", shown(rule).to_json()),
            Format::Text => print_rule(rule),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let redactor = Redactor::new(KeyedHash::new(*b"agentward-explai"), arguments.reveal);
    for source in sources {
        let (judged, redacts) = on(&set, rule, source)?;
        let value = |value: &Value| if redacts { redactor.value(value) } else { value.clone() };
        for judged in judged {
            match arguments.format {
                Format::Json => println!("{}", as_json(rule, &judged, &value).to_json()),
                Format::Text => print_judged(rule, &judged, &value),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Judges one source; true when what it holds was recorded and is to be redacted.
fn on(set: &RuleSet, rule: &Arc<Rule>, source: &str) -> Result<(Vec<Judged>, bool), Failure> {
    if source.trim_start().starts_with('{') {
        return Ok((events(set, rule, "the event", source)?, false));
    }
    let path = Path::new(source);
    let lines = if source.ends_with(".awr") {
        String::new()
    } else {
        fs::read_to_string(path).map_err(|error| Failure::file(path, "read", &error))?
    };
    let first = lines.lines().find(|line| !line.trim().is_empty()).and_then(|line| json::parse(line.as_bytes()).value);
    // A record of a recording has `ts`; an action has `time`.
    let recorded =
        source.ends_with(".awr") || first.is_some_and(|first| first.get("ts").is_some() || first.get("agentward").is_some());
    if recorded { Ok((steps(set, rule, path)?, true)) } else { Ok((events(set, rule, source, &lines)?, true)) }
}

/// JSON lines, or one JSON text over several.
fn events(set: &RuleSet, rule: &Arc<Rule>, name: &str, text: &str) -> Result<Vec<Judged>, Failure> {
    let whole = json::parse(text.as_bytes()).value.filter(|value| value.as_map().is_some());
    let events: Vec<(usize, Value)> = match whole {
        Some(event) => vec![(1, event)],
        None => {
            let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            let read = lines.map(|(at, line)| {
                let event = json::parse(line.as_bytes()).value.filter(|value| value.as_map().is_some());
                event.map(|event| (at + 1, event)).ok_or_else(|| Failure::Input(format!("{name}:{}: no JSON object", at + 1)))
            });
            read.collect::<Result<_, _>>()?
        }
    };
    let alone = set.only(rule);
    let mut decide = Decide::default();
    let mut now = Timestamp(1_767_229_200_000_000_000);
    let mut judged = Vec::new();
    for (line, event) in events {
        now = event.get("time").and_then(crate::decide::pack::moment).unwrap_or(now.plus(std::time::Duration::from_secs(1)));
        let mut alerts = Vec::new();
        decide.push_event(&alone, &event, now, &mut alerts);
        let id = event.get("id").and_then(Value::as_str).map_or_else(|| format!("line {line}"), str::to_owned);
        judged.push(Judged {
            name: format!("{id} {}", event.get("op").or(event.get("kind")).and_then(Value::as_str).unwrap_or_default()),
            fired: !alerts.is_empty(),
            excepted: alone.excepted(&alone.rules[0], Event::given(&event), now),
            state: alerts.last().map_or(Value::Null, |alert| alert.state.clone()),
            conditions: alone.explain(&alone.rules[0], Event::given(&event)),
        });
    }
    Ok(judged)
}

/// The steps of a recording on which the rule fired, else those that came nearest.
fn steps(set: &RuleSet, rule: &Arc<Rule>, path: &Path) -> Result<Vec<Judged>, Failure> {
    let alone = Arc::new(set.only(rule));
    let mut pipeline = Pipeline::new(alone.clone());
    let mut outputs = Vec::new();
    let mut steps: Vec<Step> = Vec::new();
    let mut fired: Vec<(crate::base::ActionId, Value)> = Vec::new();
    let mut take = |outputs: &mut Vec<Output>| {
        for output in outputs.drain(..) {
            match output {
                Output::Step(step) if step.completed => steps.push(*step),
                Output::Alert(alert) => fired.push((alert.action, alert.state.clone())),
                Output::Step(_)
                | Output::Exchange(_)
                | Output::Message(_)
                | Output::Odd { .. }
                | Output::Workflow(_)
                | Output::Panicked { .. } => {}
            }
        }
    };
    each_observation(path, false, |observation| {
        pipeline.push(observation, &mut outputs);
        take(&mut outputs);
        Ok(())
    })?;
    pipeline.finish(&mut outputs);
    take(&mut outputs);
    let redactor = Redactor::new(KeyedHash::new(*b"agentward-explai"), false);
    let mut judged: Vec<Judged> = steps
        .iter()
        .map(|step| {
            let state = fired.iter().rev().find(|(action, _)| *action == step.action.id).map(|(_, state)| state.clone());
            Judged {
                name: format!("{} {}", step.action.id, summary(&step.action, &redactor)),
                fired: state.is_some(),
                excepted: alone.excepted(&alone.rules[0], Event::of(step), step.action.time),
                state: state.unwrap_or(Value::Null),
                conditions: alone.explain(&alone.rules[0], Event::of(step)),
            }
        })
        .collect();
    if judged.iter().any(|judged| judged.fired) {
        judged.retain(|judged| judged.fired);
    } else {
        judged.sort_by_key(|judged| std::cmp::Reverse(nearness(judged)));
        judged.truncate(NEAREST);
    }
    Ok(judged)
}

/// Share of the terms that hold, of the condition that came nearest.
fn nearness(judged: &Judged) -> usize {
    let share = |condition: &Explained| {
        condition.terms.iter().filter(|term| term.truth == Truth::True).count() * 1000 / condition.terms.len().max(1)
    };
    judged.conditions.iter().map(share).max().unwrap_or_default()
}

fn as_json(rule: &Rule, judged: &Judged, value: &dyn Fn(&Value) -> Value) -> Value {
    let conditions = judged.conditions.iter().map(|condition| {
        let terms = condition.terms.iter().map(|term| {
            let fields = term.fields.iter().map(|(name, found)| (name.as_str(), found.as_ref().map_or(Value::Null, value)));
            Value::map([
                ("text", Value::text(term.text.as_str())),
                ("truth", Value::text(term.truth.name())),
                ("fields", Value::map(fields)),
            ])
        });
        Value::map([
            ("name", Value::text(condition.name.as_str())),
            ("truth", Value::text(condition.truth.name())),
            ("terms", Value::list(terms.collect::<Vec<_>>())),
        ])
    });
    Value::map([
        ("rule", Value::Text(rule.reference.id.clone())),
        ("event", Value::text(judged.name.as_str())),
        ("fired", Value::Bool(judged.fired)),
        ("excepted", judged.excepted.as_deref().map_or(Value::Null, Value::text)),
        ("conditions", Value::list(conditions.collect::<Vec<_>>())),
        ("state", value(&judged.state)),
    ])
}

fn print_judged(rule: &Rule, judged: &Judged, value: &dyn Fn(&Value) -> Value) {
    let verdict = match (&judged.excepted, judged.fired) {
        (_, true) => format!("{} fires", rule.reference.id),
        (Some(why), false) => format!("{} is excepted: {}", rule.reference.id, printable(why)),
        (None, false) => format!("{} does not fire", rule.reference.id),
    };
    println!("{}: {verdict}", printable(&judged.name));
    for condition in &judged.conditions {
        println!("  {:<12} {}", condition.name, condition.truth.name());
        for term in &condition.terms {
            let fields = term.fields.iter().map(|(name, found)| {
                found.as_ref().map_or_else(|| format!("{name} is absent"), |found| format!("{name} = {}", value(found).to_json()))
            });
            let fields = printable(&fields.collect::<Vec<_>>().join(", "));
            println!(
                "    {:<7} {}{}{fields}",
                term.truth.name(),
                printable(&term.text),
                if fields.is_empty() { "" } else { "   " }
            );
        }
    }
    if judged.state != Value::Null {
        println!("  state        {}", printable(&value(&judged.state).to_json()));
    } else if let Some(block) = &rule.block
        && !judged.fired
    {
        println!("  state        `{}` asks for more than this event shows", block.name());
    }
}

fn shown(rule: &Rule) -> Value {
    let texts = |texts: &[String]| Value::list(texts.iter().map(|text| Value::text(text.as_str())).collect::<Vec<_>>());
    let when = rule.when.as_ref();
    Value::map([
        ("id", Value::Text(rule.reference.id.clone())),
        ("title", Value::Text(rule.reference.title.clone())),
        ("severity", Value::text(rule.severity.name())),
        ("pack", Value::Text(rule.reference.pack.clone())),
        ("version", Value::Text(rule.reference.version.clone())),
        ("when", Value::text(when.map_or("", |condition| condition.text.as_str()))),
        ("fields", when.map_or_else(|| texts(&[]), |condition| texts(&condition.fields))),
        ("block", rule.block.as_ref().map_or(Value::Null, |block| Value::text(block.name()))),
        ("group", texts(&rule.group)),
        ("tags", Value::list(rule.tags.iter().map(|tag| Value::Text(tag.clone())).collect::<Vec<_>>())),
        ("why", Value::Text(rule.why.clone())),
        ("false_positives", Value::Text(rule.false_positives.clone())),
        ("fix", Value::Text(rule.fix.clone())),
        ("tests", Value::count(rule.tests.len())),
    ])
}

fn print_rule(rule: &Rule) {
    println!("{} ({}, pack {} {})", rule.reference.title, rule.severity.name(), rule.reference.pack, rule.reference.version);
    println!("  when   {}", rule.when.as_ref().map_or("", |condition| condition.text.as_str()));
    if let Some(block) = &rule.block {
        println!("  state  {}", block.name());
    }
    println!("  group  {}", rule.group.join(", "));
    println!("  why    {}", rule.why);
    println!("  known  {}", rule.false_positives);
    println!("  fix    {}", rule.fix);
    println!("  tags   {}", rule.tags.join(", "));
    println!("  tests  {}", rule.tests.len());
}
