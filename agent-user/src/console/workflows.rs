//! `agentward workflows`: what the daemon or a recording has seen, as trees for people, and for programs that draw.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use serde::de::DeserializeOwned;

use super::config::Config;
use super::graph::Graph;
use super::picture::rows::{WorkflowDetail, WorkflowRow};
use super::{Failure, Outcome, RuleSource, control, show};
use crate::deliver::line::printable;

/// Workflows that are shown when none is named.
const SHOWN: usize = 200;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// One workflow alone, e.g. w2.
    id: Option<String>,
    /// Recordings in place of the running daemon.
    #[arg(long, num_args = 1.., value_name = "FILE")]
    from: Vec<PathBuf>,
    #[command(flatten)]
    rules: RuleSource,
    /// Of recordings: show content and secrets.
    #[arg(long)]
    reveal: bool,
    /// Of recordings: skip unknown kinds, ignore unknown fields, accept a cut end.
    #[arg(long)]
    lenient: bool,
    /// The daemon's configuration, for the place of its socket.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[arg(long, value_enum, default_value = "text")]
    format: Notation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Notation {
    /// A tree: what followed from what.
    Text,
    /// Closed workflows of the daemon, one object a line, as `replay --emit workflows` prints them.
    Json,
    /// A flowchart, of one workflow.
    Mermaid,
    /// A graph for Graphviz, of one workflow.
    Dot,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    if arguments.format == Notation::Json {
        return as_json(arguments);
    }
    let details = if arguments.from.is_empty() { of_daemon(arguments)? } else { of_recordings(arguments)? };
    if let (Notation::Mermaid | Notation::Dot, [_, _, ..]) = (arguments.format, details.as_slice()) {
        let names: Vec<&str> = details.iter().map(|detail| &*detail.row.id).collect();
        return Err(Failure::Input(format!("one drawing holds one workflow: name one of {}", names.join(", "))));
    }
    for detail in &details {
        let graph = Graph::of_workflow(detail);
        match arguments.format {
            Notation::Text | Notation::Json => println!("{}\n{}", headline(&detail.row), graph.tree()),
            Notation::Mermaid => print!("{}", graph.mermaid()),
            Notation::Dot => print!("{}", graph.dot()),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(arguments: &Arguments) -> Outcome {
    if !arguments.from.is_empty() {
        return Err(Failure::Input("JSON of recordings is `agentward replay FILE --emit workflows --format json`".into()));
    }
    let answer = control::request(&Config::load(arguments.config.as_deref())?.socket(), "workflows")?;
    let id = |line: &str| Some(read::<serde_json::Value>(line)?.get("id")?.as_str()?.to_owned());
    let wanted = |line: &&str| arguments.id.is_none() || id(line) == arguments.id;
    answer.lines().filter(wanted).for_each(|line| println!("{line}"));
    Ok(ExitCode::SUCCESS)
}

fn of_recordings(arguments: &Arguments) -> Result<Vec<WorkflowDetail>, Failure> {
    let board = show::painted(&arguments.from, &arguments.rules, arguments.reveal, arguments.lenient)?;
    let all = || in_order(&board.picture.workflows(SHOWN));
    let wanted = arguments.id.clone().map_or_else(all, |id| vec![id]);
    let found = wanted.iter().map(|id| board.picture.workflow(id).ok_or_else(|| unknown(id)));
    found.collect()
}

fn of_daemon(arguments: &Arguments) -> Result<Vec<WorkflowDetail>, Failure> {
    let socket = Config::load(arguments.config.as_deref())?.socket();
    let ask = |path: &str| control::request(&socket, &format!("get /v1/{path}"));
    let wanted = match &arguments.id {
        Some(id) => vec![id.clone()],
        None => in_order(&read::<Vec<WorkflowRow>>(&ask(&format!("workflows?limit={SHOWN}"))?).unwrap_or_default()),
    };
    wanted.iter().map(|id| read(&ask(&format!("workflows/{id}"))?).ok_or_else(|| unknown(id))).collect()
}

/// The API gives the latest first; a terminal shows the latest last.
fn in_order(rows: &[WorkflowRow]) -> Vec<String> {
    rows.iter().rev().map(|row| row.id.to_string()).collect()
}

fn read<T: DeserializeOwned>(answer: &str) -> Option<T> {
    serde_json::from_str(answer).ok()
}

fn unknown(id: &str) -> Failure {
    Failure::Input(format!("there is no workflow {:?}: `agentward workflows` names those that there are", printable(id)))
}

fn headline(row: &WorkflowRow) -> String {
    let mut line = format!("{}  {}", row.id, printable(&row.agent_name));
    if !row.user.is_empty() {
        line += &format!(" for {}", printable(&row.user));
    }
    line += &format!("  {} steps", row.steps);
    if row.alerts > 0 {
        line += &format!(", {} alerts ({})", row.alerts, row.severity);
    }
    if row.open { line + ", open" } else { line }
}
