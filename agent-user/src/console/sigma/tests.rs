use std::time::Duration;

use super::*;
use crate::base::{Timestamp, Value};
use crate::decide::pack::read;
use crate::decide::{Decide, RuleSet};
use crate::decode::json;

const SHELL: &str = r"
title: Shell with a download
name: shell_download
level: high
tags: [attack.execution, attack.t1059.004]
logsource: { category: process_creation }
detection:
  shell:
    Image|endswith: ['/sh', '/bash']
  fetch:
    CommandLine|contains|all: ['CURL', 'http']
  health:
    CommandLine|startswith: 'sh -c /healthz'
  condition: shell and fetch and not health
";

const TOOL: &str = r"
title: A transfer
id: 0f06a3a5-6a09-413f-8743-e6cf35561297
detection:
  sel:
    tool.name: ['pay*', transfer]
    arg.amount|gte: 100
  other: { kind: tool.call }
  condition: all of them
";

/// What the imported pack says of events a second apart: rule ids of its alerts.
fn alerts(sigma: &str, events: &[&str]) -> Vec<String> {
    let text = convert(&[("t.yml".into(), sigma.into())], "t", &BTreeMap::new()).unwrap_or_else(|faults| panic!("{faults:#?}"));
    let pack = read("t.toml", &text).unwrap_or_else(|faults| panic!("{text}\n{faults:#?}"));
    let set = RuleSet::join(vec![pack]).expect("joins");
    let mut found = Vec::new();
    let mut decide = Decide::default();
    for (event, second) in events.iter().zip(0..) {
        let event: Value = json::parse(event.as_bytes()).value.expect("JSON");
        let now = Timestamp(1_800_000_000_000_000_000).plus(Duration::from_secs(second));
        decide.push_event(&set, &event, now, &mut found);
    }
    found.into_iter().filter(|alert| alert.count == 1).map(|alert| alert.rule.id.to_string()).collect()
}

#[test]
fn rules_fire_as_sigma_says() {
    let exec = |exe: &str, args: &str| format!(r#"{{"kind":"process.exec","proc":{{"exe":"{exe}","args":"{args}"}}}}"#);
    let detection = |body: &str| format!("title: t\nname: t\ndetection:\n{body}\n");
    for (sigma, event, fires) in [
        (SHELL.to_owned(), exec("/bin/bash", "bash -c 'curl http://x'"), true),
        (SHELL.to_owned(), exec("/bin/bash", "bash -c 'ls'"), false),
        (SHELL.to_owned(), exec("/bin/SH", "sh -c /healthz curl http"), false),
        (SHELL.to_owned(), exec("/bin/zsh", "curl http"), false),
        (SHELL.to_owned(), r#"{"kind":"process.exec","proc":{"exe":"/bin/sh"}}"#.to_owned(), false),
        (TOOL.to_owned(), r#"{"kind":"tool.call","tool":{"name":"Pay_Invoice"},"arg":{"amount":100}}"#.to_owned(), true),
        (TOOL.to_owned(), r#"{"kind":"tool.call","tool":{"name":"transfer"},"arg":{"amount":99}}"#.to_owned(), false),
        // An absent field does not match, and its `not` does.
        (
            detection("  a: { kind: api.request }\n  b: { arg.note|contains: ok }\n  condition: a and not b"),
            r#"{"kind":"api.request","arg":{}}"#.to_owned(),
            true,
        ),
        (
            detection("  a: { kind: api.request }\n  b: { arg.note|contains: ok }\n  condition: a and not b"),
            r#"{"kind":"api.request","arg":{"note":"all OK"}}"#.to_owned(),
            false,
        ),
        (detection("  k: ['DROP table', truncate]\n  condition: k"), r#"{"arg":{"sql":"drop TABLE users"}}"#.to_owned(), true),
        (detection("  a: { arg.f|re: '^a.c$' }\n  condition: a"), r#"{"arg":{"f":"abc"}}"#.to_owned(), true),
        (detection("  a: { arg.f|re: '^a.c$' }\n  condition: a"), r#"{"arg":{"f":"ABC"}}"#.to_owned(), false),
        (detection("  a: { arg.f|re|i: '^a.c$' }\n  condition: a"), r#"{"arg":{"f":"ABC"}}"#.to_owned(), true),
        (detection("  a: { arg.f: 'a?c*z' }\n  condition: a"), r#"{"arg":{"f":"abcdez"}}"#.to_owned(), true),
        (detection("  a: { arg.f: 'a\\*c' }\n  condition: a"), r#"{"arg":{"f":"a*c"}}"#.to_owned(), true),
        (detection("  a: { arg.f: 'a\\*c' }\n  condition: a"), r#"{"arg":{"f":"abc"}}"#.to_owned(), false),
        (detection("  a: { arg.f: null }\n  condition: a"), r#"{"kind":"x","arg":{}}"#.to_owned(), true),
        (detection("  a: { arg.f|exists: true }\n  condition: a"), r#"{"arg":{"f":1}}"#.to_owned(), true),
        (
            detection("  a: { http.peer|cidr: '10.0.0.0/8' }\n  condition: a"),
            r#"{"http":{"peer":"10.1.2.3:80"}}"#.to_owned(),
            true,
        ),
        (
            detection("  a: { arg.f|base64offset|contains: secret }\n  condition: a"),
            r#"{"arg":{"f":"eHNlY3JldA=="}}"#.to_owned(),
            true,
        ),
        (detection("  a: { token.scopes: ADMIN }\n  condition: a"), r#"{"token":{"scopes":["read","admin"]}}"#.to_owned(), true),
        (detection("  a1: { arg.f: x }\n  a2: { arg.g: y }\n  condition: 1 of a*"), r#"{"arg":{"g":"y"}}"#.to_owned(), true),
        (detection("  a:\n    - arg.f: x\n    - arg.g: y\n  condition: a"), r#"{"arg":{"g":"y"}}"#.to_owned(), true),
        (detection("  a: { arg.f|neq: x }\n  condition: a"), r#"{"arg":{"f":"y"}}"#.to_owned(), true),
    ] {
        assert_eq!(alerts(&sigma, &[&event]).len(), usize::from(fires), "{sigma}\n{event}");
    }
}

#[test]
fn correlations_are_state_blocks() {
    let read = r#"{"kind":"tool.call","tool":{"name":"read"},"user":{"id":"u"},"object":{"id":"1"},"arg":{"amount":60}}"#;
    let again = read.replace(r#""id":"1""#, r#""id":"2""#);
    let send = read.replace(r#""read""#, r#""send""#);
    let with = |correlation: &str| {
        format!(
            "title: a\nname: a\ndetection:\n  s: {{ tool.name: read }}\n  condition: s\n---\ntitle: b\nname: b\ndetection:\n  s: {{ tool.name: send }}\n  condition: s\n---\ntitle: c\nname: c\ncorrelation:\n  group-by: [user.id]\n  timespan: 5m\n{correlation}"
        )
    };
    let count = with("  type: event_count\n  rules: [a, b]\n  condition: { gte: 2 }");
    let values = with("  type: value_count\n  rules: [a, b]\n  condition: { gte: 2, field: object.id }");
    let sum = with("  type: value_sum\n  rules: [a, b]\n  condition: { gte: 120, field: arg.amount }");
    let ordered = with("  type: temporal_ordered\n  rules: [a, b]");
    let any = with("  type: temporal\n  rules: [a, b]");
    let kept = with("  type: temporal\n  generate: true\n  rules: [a, b]");
    // What one rule calls `object.id` the other finds in an argument.
    let alias = |kind: &str| {
        let joined =
            with(&format!("  type: {kind}\n  rules: [a, b]\n  aliases:\n    what:\n      a: object.id\n      b: arg.about"));
        joined.replace("group-by: [user.id]", "group-by: [user.id, what]")
    };
    let about = send.replace("\"amount\":60", "\"about\":\"1\"");
    let other = about.replace("\"about\":\"1\"", "\"about\":\"2\"");
    let (in_order, in_any) = (alias("temporal_ordered"), alias("temporal"));
    for (sigma, events, rules) in [
        (&count, vec![read], vec![]),
        (&count, vec![read, read], vec!["c"]),
        (&values, vec![read, read], vec![]),
        (&values, vec![read, &again], vec!["c"]),
        (&sum, vec![read, read], vec!["c"]),
        (&sum, vec![read], vec![]),
        (&ordered, vec![&send, read], vec![]),
        (&ordered, vec![read, &send], vec!["c"]),
        (&any, vec![&send, read], vec!["c"]),
        (&kept, vec![read], vec!["a"]),
        (&in_order, vec![read, &about], vec!["c"]),
        (&in_order, vec![read, &other], vec![]),
        (&in_order, vec![&about, read], vec![]),
        (&in_any, vec![&about, read], vec!["c"]),
        (&in_any, vec![&other, read], vec![]),
    ] {
        assert_eq!(alerts(sigma, &events), rules, "{sigma}\n{events:?}");
    }
    let filtered = format!(
        "{TOOL}---\ntitle: f\nfilter:\n  rules: [0f06a3a5-6a09-413f-8743-e6cf35561297]\n  s: {{ user.id: boss }}\n  condition: s\n"
    );
    let paid = r#"{"kind":"tool.call","tool":{"name":"transfer"},"arg":{"amount":500}}"#;
    assert_eq!(alerts(&filtered, &[paid]).len(), 1);
    assert!(alerts(&filtered, &[&paid.replace("\"arg\"", "\"user\":{\"id\":\"boss\"},\"arg\"")]).is_empty());
}

#[test]
fn what_cannot_be_said_is_refused_with_its_place() {
    for (sigma, fault) in [
        ("title: t\ndetection:\n  s: { EventID: 1 }\n  condition: s\n", "t.yml:3:8: no field of an action is called `EventID`"),
        ("title: t\ndetection:\n  s: { kind: x }\n  condition: s | count() > 5\n", "t.yml:4:14: aggregations"),
        ("title: t\ndetection:\n  s: { kind|expand: x }\n  condition: s\n", "t.yml:3:8: the modifier `expand`"),
        ("title: t\ndetection:\n  s: { kind: x }\n  condition: s and t\n", "t.yml:4:14: no selection is called `t`"),
        (
            "title: t\nlogsource: { category: dns_query }\ndetection:\n  s: { kind: x }\n  condition: s\n",
            "t.yml:2:24: no action comes from",
        ),
        (
            "title: t\ncorrelation: { type: value_avg, rules: [a], timespan: 5m }\n",
            "t.yml:2:41: no rule with a detection is called `a`",
        ),
        (
            "title: a\nname: a\ndetection:\n  s: { kind: x }\n  condition: s\n---\ntitle: b\nname: b\ndetection:\n  s: { kind: y }\n  condition: s\n---\ntitle: c\ncorrelation: { type: event_count, rules: [a, b], timespan: 5m, group-by: [who], aliases: { who: { a: user.id, b: agent.id } } }\n",
            "t.yml:14:75: the alias `who` is another field in each rule",
        ),
        ("title: t\n", "t.yml:1:1: neither `detection`"),
        ("a: [1\n", "t.yml:2:1: no YAML"),
    ] {
        let faults = convert(&[("t.yml".into(), sigma.into())], "t", &BTreeMap::new()).expect_err(sigma);
        assert!(faults[0].to_string().starts_with(fault), "{sigma}\n{}", faults[0]);
    }
}
