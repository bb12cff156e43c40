//! `agentward sinks test NAME`: a marked synthetic alert, or the alerts of a file, through one sink of the configuration, until the
//! receiver has acknowledged. No journal and no daemon take part; exit code 1 says that it did not arrive.

use std::io::BufRead;
use std::path::PathBuf;
use std::process::ExitCode;

use super::config::Config;
use super::daemon::{host_name, plans};
use super::{Failure, Format, Outcome};
use crate::base::Value;
use crate::decode::json;
use crate::deliver::journal::Sequence;
use crate::deliver::outbox::notice;
use crate::deliver::sink::{Fate, Parcel, TroubleKind};

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Send a marked synthetic alert through one sink and wait for the acknowledgement.
    Test(Test),
}

#[derive(clap::Args)]
pub(super) struct Test {
    /// The sink's name in the configuration.
    name: String,
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Send these alerts instead: one native alert a line, as `replay --emit alerts --format json` prints them.
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// A delivery that came to nothing is tried this often: somebody waits for the answer.
const TRIES: u32 = 3;

pub(super) fn run(command: &Command) -> Outcome {
    let Command::Test(test) = command;
    let config = Config::load(test.config.as_deref())?;
    let plans = plans(&config)?;
    let Some(plan) = plans.iter().find(|plan| plan.name == test.name) else {
        let names: Vec<&str> = plans.iter().map(|plan| plan.name.as_str()).collect();
        return Err(Failure::Input(format!("no sink is called `{}`; there are: {}", test.name, names.join(", "))));
    };
    let alerts = match &test.from {
        Some(path) => read(path)?,
        None => vec![synthetic()],
    };
    let mut sink = plan.build(&host_name()).map_err(|error| Failure::Input(format!("sink `{}`: {error}", plan.name)))?;
    let parcels = alerts.into_iter().filter(|alert| plan.filter.wants(alert)).enumerate().map(|(number, alert)| Parcel {
        sequence: Sequence(number as u64 + 1),
        uid: alert.pointer("/uid").and_then(Value::as_str).unwrap_or_default().to_owned(),
        revision: 0,
        time: time(&alert),
        text: plan.codec.encode(&alert),
        alert,
    });
    let parcels: Vec<Parcel> = parcels.collect();
    let started = std::time::Instant::now();
    let (mut delivered, mut refused, mut last) = (0, 0, String::new());
    for batch in parcels.chunks(plan.batch) {
        let mut open: Vec<Parcel> = batch.to_vec();
        for _ in 0..TRIES {
            if open.is_empty() {
                break;
            }
            let fates = match sink.deliver(&open) {
                Ok(fates) => fates,
                Err(trouble) => {
                    last = trouble.why;
                    if trouble.kind == TroubleKind::Refused {
                        break;
                    }
                    continue;
                }
            };
            let mut fates = fates.into_iter();
            open.retain(|_| match fates.next() {
                Some(Fate::Delivered) => {
                    delivered += 1;
                    false
                }
                Some(Fate::Refused(why)) => {
                    refused += 1;
                    last = why;
                    false
                }
                Some(Fate::Later) | None => true,
            });
        }
        if !open.is_empty() && delivered == 0 {
            break;
        }
    }
    let failed = parcels.len() - delivered;
    let took = started.elapsed();
    match test.format {
        Format::Json => println!(
            "{}",
            serde_json::json!({"sink": plan.name, "sent": parcels.len(), "delivered": delivered, "refused": refused,
                "milliseconds": u64::try_from(took.as_millis()).unwrap_or(u64::MAX), "reason": last})
        ),
        Format::Text if failed == 0 => {
            let noun = if delivered == 1 { "alert" } else { "alerts" };
            println!("sink `{}`: {delivered} {noun} acknowledged in {} ms", plan.name, took.as_millis());
        }
        Format::Text => println!("sink `{}`: {failed} of {} not delivered: {last}", plan.name, parcels.len()),
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

fn time(alert: &Value) -> u64 {
    match alert.pointer("/time") {
        Some(Value::Number(number)) => number.text.parse().unwrap_or(0),
        _ => 0,
    }
}

fn synthetic() -> Value {
    let now = super::live::now().0;
    let uid = format!("test-{now}");
    let matched = Value::map([("note", Value::text("sent by `agentward sinks test`; nothing happened on this host"))]);
    let json = notice("agentward.test", "Test of an alert sink", "info", &uid, now, matched);
    json::parse(json.as_bytes()).value.unwrap_or(Value::Null)
}

fn read(path: &std::path::Path) -> Result<Vec<Value>, Failure> {
    let failed = |error| Failure::file(path, "read", &error);
    let file = std::io::BufReader::new(std::fs::File::open(path).map_err(failed)?);
    let mut alerts = Vec::new();
    for (number, line) in file.lines().enumerate() {
        let line = line.map_err(failed)?;
        let alert = json::parse(line.as_bytes())
            .value
            .ok_or_else(|| Failure::Input(format!("{}:{}: no JSON object", path.display(), number + 1)))?;
        alerts.push(alert);
    }
    Ok(alerts)
}
