//! Live, a clock drives the stages between records; a replay has the records alone. Both judge the same.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use agent_tests::scenes::runs;
use agentward::base::{KeyedHash, Timestamp};
use agentward::capture::recording::Reader;
use agentward::decide::{RuleSet, builtin};
use agentward::deliver::{Redactor, view};
use agentward::pipeline::{Output, Pipeline};

/// Every alert in its last form, by its uid. `clock`: how far a daemon's ticks are apart, and where the first stands.
fn judged(rules: &Arc<RuleSet>, recording: &str, clock: Option<(Duration, Duration)>) -> BTreeMap<Arc<str>, String> {
    let mut reader = Reader::new(Cursor::new(recording.as_bytes()), false).expect("a recording");
    let mut pipeline = Pipeline::new(rules.clone());
    let (mut outputs, mut last) = (Vec::new(), BTreeMap::new());
    let redactor = Redactor::new(KeyedHash::new([0; 16]), false);
    let mut take = |outputs: &mut Vec<Output>| {
        for output in outputs.drain(..) {
            if let Output::Alert(alert) = output {
                last.insert(alert.uid.clone(), view::alert(&alert, &redactor).to_json());
            }
        }
    };
    let mut next: Option<Timestamp> = None;
    while let Some(observation) = reader.next_observation().expect("a record") {
        if let Some((apart, first)) = clock {
            let mut tick = next.unwrap_or_else(|| observation.ts.plus(first));
            while tick <= observation.ts {
                pipeline.tick(tick, &mut outputs);
                tick = tick.plus(apart);
            }
            next = Some(tick);
        }
        pipeline.push(observation, &mut outputs);
        take(&mut outputs);
    }
    pipeline.finish(&mut outputs);
    take(&mut outputs);
    last
}

#[test]
fn a_clock_between_records_changes_no_alert() {
    let rules = Arc::new(RuleSet::join(builtin().expect("the built-in packs load")).expect("the packs join"));
    let mut alerts = 0;
    for run in runs(7, 6) {
        let replayed = judged(&rules, &run.recording, None);
        alerts += replayed.len();
        for milliseconds in [1, 250, 1009] {
            let clock = (Duration::from_millis(milliseconds), Duration::from_millis(milliseconds / 3));
            assert_eq!(judged(&rules, &run.recording, Some(clock)), replayed, "{}, a tick each {milliseconds} ms", run.name);
        }
    }
    assert!(alerts > 40, "only {alerts} alerts");
}
