//! `agentward doctor`: what this host allows, which TLS libraries its processes have, and what is not seen. Nothing is attached.

use std::process::ExitCode;

use super::config::Config;
use super::{Failure, Format, Outcome, control};
use crate::base::Value;
use crate::deliver::line::printable;
use crate::probes::{self, Survey};

/// Code 3 when this host cannot be watched, else 0: a library that cannot be read is told, and is no failure of the host.
pub(super) fn run(arguments: &control::Arguments) -> Outcome {
    let config = Config::load(arguments.config.as_deref())?;
    let refusal = probes::preflight().err().map(|error| error.to_string());
    let survey = probes::survey().map_err(|error| Failure::Host(error.to_string()))?;
    // No daemon: then what it would know is not shown.
    let daemon = control::request(&config.socket(), "status").ok().and_then(|answer| serde_json::from_str(&answer).ok());
    match arguments.format {
        Format::Json => println!("{}", json(refusal.as_deref(), &survey, daemon.as_ref()).to_json()),
        Format::Text => print!("{}", text(refusal.as_deref(), &survey, daemon.as_ref())),
    }
    Ok(ExitCode::from(if refusal.is_some() { 3 } else { 0 }))
}

fn json(refusal: Option<&str>, survey: &Survey, daemon: Option<&serde_json::Value>) -> Value {
    let files = survey.files.iter().map(|file| {
        Value::map([
            ("path", Value::text(file.path.as_str())),
            ("family", file.family.map_or(Value::Null, Value::text)),
            ("method", Value::text(file.method)),
            ("sites", Value::count(file.sites)),
            ("processes", Value::count(file.processes)),
            ("doubts", Value::list(file.doubts.iter().map(|doubt| Value::text(doubt.as_str())))),
        ])
    });
    Value::map([
        ("kernel", Value::text(survey.kernel.as_str())),
        ("watchable", Value::Bool(refusal.is_none())),
        ("refusal", refusal.map_or(Value::Null, Value::text)),
        ("daemon", Value::Bool(daemon.is_some())),
        ("libraries", Value::list(files)),
        ("blind", Value::list(blind(daemon).into_iter().map(Value::text))),
    ])
}

fn text(refusal: Option<&str>, survey: &Survey, daemon: Option<&serde_json::Value>) -> String {
    let mut lines = vec![match refusal {
        None => format!("kernel {}: can be watched", survey.kernel),
        Some(reason) => format!("cannot be watched: {reason}"),
    }];
    lines.push(format!("TLS libraries in {} running processes:", survey.processes));
    for file in &survey.files {
        let found = match file.family {
            Some(family) => format!("{family} by {}, {} places", file.method, file.sites),
            None => "not readable".to_owned(),
        };
        lines.push(format!("  {} ({} processes): {found}", file.path, file.processes));
        lines.extend(file.doubts.iter().map(|doubt| format!("    not found in it: {doubt}")));
    }
    lines.push(match daemon {
        Some(_) => "the daemon runs; what it does not see:".to_owned(),
        None => "no daemon runs: start it with `agentward run`".to_owned(),
    });
    let blind = blind(daemon);
    if daemon.is_some() && blind.is_empty() {
        lines.push("  nothing that is known of".to_owned());
    }
    lines.extend(blind.iter().map(|spot| format!("  {spot}")));
    lines.iter().flat_map(|line| [printable(line), "\n".into()]).collect()
}

/// What the daemon says it does not see, one line each.
fn blind(daemon: Option<&serde_json::Value>) -> Vec<String> {
    let spots = daemon.and_then(|status| status.pointer("/probes/blind")).and_then(serde_json::Value::as_array);
    let word = |spot: &serde_json::Value, name: &str| spot[name].as_str().unwrap_or_default().to_owned();
    let told = |spot: &serde_json::Value| {
        let facts = ["why", "what", "peer"].map(|name| word(spot, name));
        let facts: Vec<&str> = facts.iter().map(String::as_str).filter(|fact| !fact.is_empty()).collect();
        format!("process {} ({}): {}", spot["pid"], word(spot, "exe"), facts.join(", "))
    };
    spots.into_iter().flatten().map(told).collect()
}
