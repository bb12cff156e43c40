//! `agentward replay FILE… --emit WHAT`.

use std::collections::HashMap;
use std::io::{self, BufWriter, ErrorKind, Stdout, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::ValueEnum;
use indexmap::IndexMap;

use super::input::{each_observation, each_observation_printed};
use super::{Failure, Format, Outcome, RuleSource, Scope};
use crate::base::{KeyedHash, Value};
use crate::correlate::{Workflow, WorkflowId};
use crate::decide::Alert;
use crate::deliver::line::{self, Palette};
use crate::deliver::{Redactor, view};
use crate::pipeline::{Output, Pipeline};

/// A replay must give the same bytes every time, so its hashes have a fixed key. They do not match those of a daemon.
const REPLAY_KEY: [u8; 16] = *b"agentward-replay";

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Recordings, `.awr` or `.jsonl`; each is a capture of its own, run one after the other.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[arg(long, value_enum, default_value = "alerts")]
    emit: Emit,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Which processes count as watched. A recording holds what somebody chose to record, so: all.
    #[arg(long, value_enum, default_value = "all")]
    scope: Scope,
    #[command(flatten)]
    rules: RuleSource,
    /// Show content and secrets.
    #[arg(long)]
    reveal: bool,
    /// Skip unknown kinds, ignore unknown fields, accept a cut end.
    #[arg(long)]
    lenient: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Emit {
    Exchanges,
    /// What was odd: ambiguous, over a bound, malformed or unknown, in exchanges and outside of them.
    Anomalies,
    Actions,
    Workflows,
    Alerts,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let rules = Arc::new(super::rule_set(&arguments.rules)?);
    let mut printer = Printer {
        emit: arguments.emit,
        format: arguments.format,
        palette: super::palette(),
        redactor: Redactor::new(KeyedHash::new(REPLAY_KEY), arguments.reveal),
        out: BufWriter::with_capacity(1 << 16, io::stdout()),
        alerts: IndexMap::new(),
        workflows: Vec::new(),
        closed: false,
    };
    let mut fault = None;
    for file in &arguments.files {
        let mut pipeline = Pipeline::new(rules.clone());
        let mut outputs = Vec::new();
        let take = |observation| {
            pipeline.push(observation, &mut outputs);
            printer.take(&mut outputs)
        };
        let read = match arguments.emit {
            Emit::Exchanges | Emit::Anomalies | Emit::Actions => each_observation_printed(file, arguments.lenient, take),
            Emit::Workflows | Emit::Alerts => each_observation(file, arguments.lenient, take),
        };
        pipeline.finish(&mut outputs);
        printer.take(&mut outputs)?;
        printer.end_of_recording()?;
        if let Err(error) = read {
            fault = Some(error);
            break;
        }
    }
    printer.flush()?;
    fault.map_or(Ok(ExitCode::SUCCESS), Err)
}

struct Printer {
    emit: Emit,
    format: Format,
    palette: Palette,
    redactor: Redactor,
    out: BufWriter<Stdout>,
    /// Alerts in the order they were raised, each in its latest form.
    alerts: IndexMap<Arc<str>, Box<Alert>>,
    workflows: Vec<Workflow>,
    /// The reader of our output went away: nothing more to print.
    closed: bool,
}

impl Printer {
    fn take(&mut self, outputs: &mut Vec<Output>) -> Result<(), Failure> {
        for output in outputs.drain(..) {
            match (output, self.emit) {
                (Output::Exchange(exchange), Emit::Exchanges) => match self.format {
                    Format::Json => self.json(&view::exchange(&exchange, &self.redactor))?,
                    Format::Text => self.line(line::exchange(&exchange, &self.redactor, self.palette))?,
                },
                (Output::Exchange(exchange), Emit::Anomalies) => {
                    for anomaly in &exchange.anomalies {
                        self.json(&view::anomaly(&exchange.flow, Some(exchange.id), None, anomaly))?;
                    }
                }
                (Output::Odd { flow, dir, anomaly, bytes, .. }, Emit::Anomalies) => {
                    self.json(&view::anomaly(&flow, None, Some((dir, bytes)), &anomaly))?;
                }
                (Output::Message(message), Emit::Exchanges) => self.json(&view::message(&message, &self.redactor))?,
                (Output::Step(step), Emit::Actions) if step.completed => match self.format {
                    Format::Json => self.json(&view::action(&step, &self.redactor))?,
                    Format::Text => self.line(line::step(&step, &self.redactor, self.palette))?,
                },
                (Output::Workflow(workflow), Emit::Workflows) => self.workflows.push(*workflow),
                (Output::Alert(alert), Emit::Alerts | Emit::Workflows) => {
                    self.alerts.insert(alert.uid.clone(), alert);
                }
                (Output::Panicked { stage, .. }, _) => eprintln!("agentward: internal fault in {stage}: one flow was given up"),
                (
                    Output::Exchange(_)
                    | Output::Message(_)
                    | Output::Odd { .. }
                    | Output::Step(_)
                    | Output::Workflow(_)
                    | Output::Alert(_),
                    Emit::Exchanges | Emit::Anomalies | Emit::Actions | Emit::Workflows | Emit::Alerts,
                ) => {}
            }
        }
        Ok(())
    }

    /// Alerts and workflows change until the end, so they are printed then.
    fn end_of_recording(&mut self) -> Result<(), Failure> {
        let alerts = std::mem::take(&mut self.alerts);
        let workflows = std::mem::take(&mut self.workflows);
        let mut raised: HashMap<WorkflowId, Vec<Arc<str>>> = HashMap::new();
        for alert in alerts.values().filter(|alert| !alert.shadow) {
            raised.entry(alert.workflow).or_default().push(alert.uid.clone());
        }
        for workflow in workflows {
            let uids = raised.get(&workflow.id).map_or(&[][..], Vec::as_slice);
            self.json(&view::workflow(&workflow, uids, &self.redactor))?;
        }
        if self.emit == Emit::Alerts {
            for alert in alerts.values() {
                match self.format {
                    Format::Json => self.json(&view::alert(alert, &self.redactor))?,
                    Format::Text => self.line(line::alert(alert, &self.redactor, self.palette))?,
                }
            }
        }
        Ok(())
    }

    fn json(&mut self, value: &Value) -> Result<(), Failure> {
        self.line(value.to_json())
    }

    fn line(&mut self, mut line: String) -> Result<(), Failure> {
        line.push('\n');
        self.written(|out| out.write_all(line.as_bytes()))
    }

    fn flush(&mut self) -> Result<(), Failure> {
        self.written(Write::flush)
    }

    /// `replay … | head` is no failure.
    fn written(&mut self, write: impl FnOnce(&mut BufWriter<Stdout>) -> io::Result<()>) -> Result<(), Failure> {
        if self.closed {
            return Ok(());
        }
        match write(&mut self.out) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            Err(error) => Err(Failure::Internal(anyhow::Error::new(error).context("standard output"))),
        }
    }
}
