//! Version 1 of the API: a path in, JSON out. The web console serves it below `/api`, the control socket by `get PATH`.
//!
//! Described for other programs in `web/assets/openapi.json`; a test holds the two together.

use serde::Serialize;

use super::control::Board;
use super::picture::rows::{Coverage, Library, Overview, SinkRow, Text};
use crate::base::Value;

/// Rows that a list gives at most, and without `limit`.
const MOST_ROWS: usize = 2_000;
const ROWS: usize = 200;

/// Counters of the kernel that count something seen, not something missed.
const GOOD_COUNTERS: [&str; 5] = ["hits", "chunks", "delivered", "delivered_bytes", "filtered"];

/// `None`: no such thing. The path has no query of its own beyond `limit=N`.
pub(super) fn answer(board: &Board, path: &str) -> Option<String> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let limit = limit(query);
    let picture = &board.picture;
    picture.looked();
    match path.strip_prefix("/v1/")? {
        "overview" => json(&overview(board)),
        "status" => Some(board.status_json()),
        "agents" => json(&overview(board).agents),
        "workflows" => json(&picture.workflows(limit)),
        "alerts" => json(&picture.alerts(limit)),
        "rules" => json(&picture.rules()),
        other => match other.split_once('/')? {
            ("agents", id) => json(&picture.agent(id)?),
            ("workflows", id) => json(&picture.workflow(id)?),
            ("alerts", uid) => json(&picture.alert_of(uid)?),
            _ => None,
        },
    }
}

fn json(rows: &impl Serialize) -> Option<String> {
    serde_json::to_string(rows).ok()
}

fn limit(query: &str) -> usize {
    let asked = query.split('&').find_map(|part| part.strip_prefix("limit=")?.parse().ok());
    asked.unwrap_or(ROWS).min(MOST_ROWS)
}

/// With what only the daemon's board knows.
pub(super) fn overview(board: &Board) -> Overview {
    let mut overview = board.picture.overview();
    overview.coverage = coverage(board, &overview);
    overview
}

fn coverage(board: &Board, overview: &Overview) -> Coverage {
    let status = board.status();
    let probes = status.probes.as_ref();
    let list = |name: &str| probes.and_then(|probes| probes.get(name)).and_then(Value::as_list).unwrap_or_default();
    let number = |value: Option<&Value>| value.and_then(Value::as_i64).and_then(|number| u64::try_from(number).ok()).unwrap_or(0);
    let text = |value: Option<&Value>| Text::from(value.and_then(Value::as_str).unwrap_or_default());
    let libraries: Vec<Library> = list("libraries")
        .iter()
        .map(|library| Library {
            path: text(library.get("path")),
            family: text(library.get("family")),
            sites: number(library.get("sites")),
        })
        .collect();
    let counters: Vec<(Text, u64)> = probes
        .and_then(|probes| probes.get("counters"))
        .and_then(Value::as_map)
        .unwrap_or_default()
        .iter()
        .map(|(name, value)| (name.clone(), number(Some(value))))
        .collect();
    let sinks: Vec<SinkRow> = status
        .sinks
        .iter()
        .map(|sink| SinkRow {
            name: sink.name.as_str().into(),
            delivered: sink.delivered,
            failures: sink.failures,
            lost: sink.lost,
        })
        .collect();
    let mut blind: Vec<Text> = Vec::new();
    if probes.is_none() && !overview.recording {
        blind.push("No probe has reported yet: nothing is seen.".into());
    }
    for library in libraries.iter().filter(|library| library.sites == 0) {
        blind.push(
            format!("{} ({}) is loaded but no probe is attached: its traffic is not seen.", library.path, library.family).into(),
        );
    }
    for spot in list("blind") {
        let word = |name| spot.get(name).and_then(Value::as_str).unwrap_or_default();
        let (why, what, peer) = (word("why"), word("what"), word("peer"));
        let aim = [what, peer].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(", ");
        blind.push(format!("Process {} ({}) is not seen: {why} {aim}.", number(spot.get("pid")), word("exe")).into());
    }
    for (name, count) in counters.iter().filter(|(name, count)| *count > 0 && !GOOD_COUNTERS.contains(&&**name)) {
        blind.push(format!("{}: {count} since the start.", name.replace('_', " ")).into());
    }
    if status.panics > 0 {
        blind.push(format!("{} flows were given up after an internal fault.", status.panics).into());
    }
    if status.journal_dropped > 0 {
        blind.push(format!("{} records did not reach the journal.", status.journal_dropped).into());
    }
    for sink in sinks.iter().filter(|sink| sink.lost > 0) {
        blind.push(format!("{} alerts never reached the sink {}.", sink.lost, sink.name).into());
    }
    for (reason, count) in &overview.incomplete {
        blind.push(format!("{count} steps are incomplete: {reason}.").into());
    }
    Coverage {
        probes: probes.is_some(),
        libraries,
        connections: number(probes.and_then(|probes| probes.get("connections"))),
        counters,
        observations: status.observations,
        exchanges: status.exchanges,
        incomplete: status.incomplete,
        faults: status.panics,
        sinks,
        blind,
    }
}
