//! The daemon's numbers for Prometheus (text format 0.0.4), served by the web console below `/metrics`.
//!
//! Labels are names of ours or of the configuration, never captured text: a stranger must not make time series.

use std::fmt::Write;

use super::control::Board;
use super::{api, picture::rows::Severities};
use crate::base::Value;

pub(super) const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Families as they are written.
#[derive(Default)]
struct Page(String);

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str, samples: impl IntoIterator<Item = (String, u64)>) {
        let name = format!("agentward_{name}");
        writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("writing to a String cannot fail");
        for (labels, value) in samples {
            writeln!(self.0, "{name}{labels} {value}").expect("writing to a String cannot fail");
        }
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help, [(String::new(), value)]);
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "gauge", help, [(String::new(), value)]);
    }
}

fn label(name: &str, value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("{{{name}=\"{value}\"}}")
}

pub(super) fn text(board: &Board) -> String {
    let (status, overview) = (board.status(), api::overview(board));
    let mut page = Page::default();
    page.family("build_info", "gauge", "The version that runs.", [(label("version", super::VERSION), 1)]);
    page.counter("observations_total", "Records that capture handed on.", status.observations);
    page.counter("exchanges_total", "Requests with their answers.", status.exchanges);
    page.counter("exchanges_incomplete_total", "Exchanges of which a part was not seen.", status.incomplete);
    page.counter("actions_total", "Steps of agents.", status.actions);
    page.counter("workflows_closed_total", "Workflows that ended.", status.workflows);
    page.counter("alerts_total", "Alerts raised.", status.alerts);
    page.counter("shadow_alerts_total", "Matches of rules on trial.", status.shadow_alerts);
    page.counter("internal_faults_total", "Flows given up after a fault of the daemon.", status.panics);
    page.counter("journal_written_total", "Records in the journal.", status.journal_written);
    page.counter("journal_dropped_total", "Records that did not reach the journal.", status.journal_dropped);
    page.counter("disk_errors_total", "Writes to the journal that failed.", status.disk_errors);
    page.gauge("disk_failing", "1 while the journal cannot be written.", u64::from(status.disk_failing));
    let Severities { info, low, medium, high, critical } = overview.alerts;
    let severities = [("info", info), ("low", low), ("medium", medium), ("high", high), ("critical", critical)];
    page.family(
        "alerts_by_severity_total",
        "counter",
        "Alerts since the console's start.",
        severities.map(|(name, count)| (label("severity", name), count)),
    );
    page.family(
        "rule_hits_total",
        "counter",
        "Matches by rule since the console's start; rules that never matched are left out.",
        board.picture.rules().iter().filter(|rule| rule.hits > 0).map(|rule| (label("rule", &rule.id), rule.hits)),
    );
    page.gauge("agents", "Agents that were seen.", overview.agents.len() as u64);
    page.gauge("open_workflows", "Workflows under way.", overview.open_workflows);
    page.gauge("blind_spots", "Things that are known not to be seen.", overview.coverage.blind.len() as u64);
    page.gauge("probes_reporting", "1 when the probes report.", u64::from(overview.coverage.probes));
    page.gauge("connections", "Connections under watch.", overview.coverage.connections);
    let sinks = || status.sinks.iter();
    page.family(
        "sink_delivered_total",
        "counter",
        "Alerts that a sink acknowledged.",
        sinks().map(|sink| (label("sink", &sink.name), sink.delivered)),
    );
    page.family(
        "sink_failures_total",
        "counter",
        "Attempts of a sink that failed.",
        sinks().map(|sink| (label("sink", &sink.name), sink.failures)),
    );
    page.family(
        "sink_lost_total",
        "counter",
        "Alerts that never reached a sink.",
        sinks().map(|sink| (label("sink", &sink.name), sink.lost)),
    );
    page.family(
        "sink_dead_letters_total",
        "counter",
        "Alerts that a receiver refused for good.",
        sinks().map(|sink| (label("sink", &sink.name), sink.dead)),
    );
    page.family(
        "sink_broken",
        "gauge",
        "1 while a sink's circuit is broken.",
        sinks().map(|sink| (label("sink", &sink.name), u64::from(sink.broken))),
    );
    page.family(
        "sink_queued",
        "gauge",
        "Alerts that wait for a sink.",
        sinks().map(|sink| (label("sink", &sink.name), sink.queued)),
    );
    let counters = status.probes.as_ref().and_then(|probes| probes.get("counters")).and_then(Value::as_map).unwrap_or_default();
    page.family(
        "kernel_total",
        "counter",
        "What the probes count in the kernel.",
        counters.iter().filter_map(|(name, value)| Some((label("counter", name), u64::try_from(value.as_i64()?).ok()?))),
    );
    page.0
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::console::{RuleSource, show};

    fn of_the_bad_run() -> String {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/bad-run.jsonl");
        let rules = RuleSource { rules: Vec::new(), no_builtin: false };
        text(&show::painted(&[file], &rules, false, false).expect("the recording reads"))
    }

    #[test]
    fn the_page_has_the_form_that_prometheus_reads() {
        let text = of_the_bad_run();
        let high = text.lines().find_map(|line| line.strip_prefix("agentward_alerts_by_severity_total{severity=\"high\"} "));
        assert!(high.is_some_and(|count| count != "0"), "{text}");
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').expect("a sample has a value");
            assert!(value.parse::<u64>().is_ok() && name.starts_with("agentward_"), "{line}");
        }
    }

    #[test]
    fn labels_are_escaped() {
        assert_eq!(label("a", "x\"y\\z\n"), "{a=\"x\\\"y\\\\z\\n\"}");
    }

    /// The dashboard and the alert rules of the package ask for nothing that is not served.
    #[test]
    fn what_the_package_asks_for_is_there() {
        let page = of_the_bad_run();
        let served: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        for text in [include_str!("../../observe/grafana.json"), include_str!("../../observe/prometheus.yml")] {
            let asked: Vec<&str> = text
                .split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
                .filter(|word| word.starts_with("agentward_"))
                .collect();
            assert!(!asked.is_empty());
            for name in asked {
                assert!(served.contains(name), "{name} is asked for and not served");
            }
        }
    }
}
