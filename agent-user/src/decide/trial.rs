//! Inline tests of rules: tiny events against the rule alone.

use std::sync::Arc;
use std::time::Duration;

use super::pack::{Rule, Test, duration};
use super::{Decide, RuleSet};
use crate::base::{Timestamp, Value};

/// What a test saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub expected: usize,
    pub found: usize,
}

impl Outcome {
    pub fn passed(&self) -> bool {
        self.expected == self.found
    }
}

/// Between two events of a test that say nothing else. `after` in an event sets the pause before it.
const PAUSE: Duration = Duration::from_secs(1);

/// An hour into 2026: windows that look back must not start before the epoch.
const START: Timestamp = Timestamp(1_767_229_200_000_000_000);

/// Runs one test with the vocabulary of `set` and no other rule.
pub fn run(set: &RuleSet, rule: &Arc<Rule>, test: &Test) -> Outcome {
    let alone = set.only(rule);
    let mut decide = Decide::default();
    let mut alerts = Vec::new();
    let mut now = START;
    for event in &test.events {
        let pause = event.get("after").and_then(Value::as_str).and_then(duration).unwrap_or(PAUSE);
        now = now.plus(pause);
        decide.tick(&alone, now, &mut alerts);
        decide.push_event(&alone, event, now, &mut alerts);
    }
    decide.tick(&alone, now.plus(Duration::from_secs(366 * 86_400)), &mut alerts);
    let mut uids: Vec<&str> = alerts.iter().map(|alert| &*alert.uid).collect();
    uids.sort_unstable();
    uids.dedup();
    Outcome { expected: test.alerts, found: uids.len() }
}

#[cfg(test)]
mod tests {
    use super::super::{builtin, pack};
    use super::*;

    #[test]
    fn every_built_in_rule_fires_and_stays_silent_as_its_tests_say() {
        let set = RuleSet::join(builtin().unwrap_or_else(|faults| panic!("{faults:#?}"))).expect("the packs join");
        let mut count = 0;
        for rule in &set.rules {
            assert!(rule.tests.len() >= 2 || rule.reference.id.ends_with("enumeration"), "{} lacks tests", rule.reference.id);
            assert!(
                !rule.fix.is_empty() && !rule.why.is_empty() && !rule.tags.is_empty(),
                "{} lacks documentation",
                rule.reference.id
            );
            for test in &rule.tests {
                let outcome = run(&set, rule, test);
                assert!(outcome.passed(), "{}: {}: {outcome:?}", rule.reference.id, test.name);
                count += 1;
            }
        }
        assert!(count >= 50, "{count}");
    }

    fn check(blocks: &str, events: &str, alerts: usize) {
        let text = format!(
            "[pack]\nname = \"t\"\nversion = \"1\"\n[[rule]]\nid = \"r\"\ntitle = \"t\"\nseverity = \"low\"\n{blocks}\n[[rule.test]]\nname = \"n\"\nevents = [{events}]\nalerts = {alerts}\n"
        );
        let pack = pack::read("t.toml", &text).unwrap_or_else(|faults| panic!("{text}\n{faults:#?}"));
        let set = RuleSet::join(vec![pack]).expect("joins");
        let outcome = run(&set, &set.rules[0], &set.rules[0].tests[0]);
        assert!(outcome.passed(), "{blocks}\n{events}\n{outcome:?}");
    }

    #[test]
    fn state_blocks_mean_what_the_schema_says() {
        let count = "when = 'kind == \"x\"'\ncount = { by = [\"op\"], within = \"10s\", over = 2 }";
        check(count, "{ kind = \"x\", op = \"a\" }, { kind = \"x\", op = \"a\" }", 0);
        check(count, "{ kind = \"x\", op = \"a\" }, { kind = \"x\", op = \"a\" }, { kind = \"x\", op = \"a\" }", 1);
        check(count, "{ kind = \"x\", op = \"a\" }, { kind = \"x\", op = \"a\" }, { kind = \"x\", op = \"b\" }", 0);
        check(
            count,
            "{ kind = \"x\", op = \"a\" }, { kind = \"x\", op = \"a\" }, { after = \"20s\", kind = \"x\", op = \"a\" }",
            0,
        );
        let sum = "when = 'effect == \"money\"'\nsum = { of = \"arg.amount\", by = [\"user\"], within = \"1h\", over = 100 }";
        check(
            sum,
            "{ effect = \"money\", user = { id = \"u\" }, arg = { amount = 60 } }, { effect = \"money\", user = { id = \"u\" }, arg = { amount = 40 } }",
            0,
        );
        check(
            sum,
            "{ effect = \"money\", user = { id = \"u\" }, arg = { amount = 60 } }, { effect = \"money\", user = { id = \"u\" }, arg = { amount = 40.5 } }",
            1,
        );
        check(
            sum,
            "{ effect = \"money\", user = { id = \"u\" }, arg = { amount = 60 } }, { effect = \"money\", user = { id = \"v\" }, arg = { amount = 60 } }",
            0,
        );
        let distinct = "when = 'kind == \"x\"'\ndistinct = { of = \"object.id\", by = [\"op\"], within = \"1m\", over = 1 }";
        check(
            distinct,
            "{ kind = \"x\", op = \"a\", object = { id = \"1\" } }, { kind = \"x\", op = \"a\", object = { id = \"1\" } }",
            0,
        );
        check(
            distinct,
            "{ kind = \"x\", op = \"a\", object = { id = \"1\" } }, { kind = \"x\", op = \"a\", object = { id = \"2\" } }",
            1,
        );
        let needs = "when = 'op == \"pay\"'\nneeds = { earlier = 'op == \"ok\"', same = [\"workflow\", \"arg.amount\"], within = \"15m\", use_once = true, voided_by = 'op == \"void\"' }";
        check(needs, "{ op = \"pay\", workflow = \"w\", arg = { amount = 5 } }", 1);
        check(
            needs,
            "{ op = \"ok\", workflow = \"w\", arg = { amount = 5 } }, { op = \"pay\", workflow = \"w\", arg = { amount = 5.0 } }",
            0,
        );
        check(
            needs,
            "{ op = \"ok\", workflow = \"w\", arg = { amount = 5 } }, { op = \"pay\", workflow = \"w\", arg = { amount = 6 } }",
            1,
        );
        check(
            needs,
            "{ op = \"ok\", workflow = \"w\", arg = { amount = 5 } }, { op = \"pay\", workflow = \"w\", arg = { amount = 5 } }, { op = \"pay\", workflow = \"w\", arg = { amount = 5 } }",
            1,
        );
        check(
            needs,
            "{ op = \"ok\", workflow = \"w\", arg = { amount = 5 } }, { after = \"16m\", op = \"pay\", workflow = \"w\", arg = { amount = 5 } }",
            1,
        );
        check(
            needs,
            "{ op = \"ok\", workflow = \"w\", arg = { amount = 5 } }, { op = \"void\", workflow = \"w\", arg = { amount = 5 } }, { op = \"pay\", workflow = \"w\", arg = { amount = 5 } }",
            1,
        );
        let sequence = "sequence = { steps = ['op == \"a\"', 'op == \"b\"'], same = [\"object.id\"], within = \"1h\", without = 'op == \"c\"' }";
        check(sequence, "{ op = \"a\", object = { id = \"1\" } }, { op = \"b\", object = { id = \"1\" } }", 1);
        check(sequence, "{ op = \"b\", object = { id = \"1\" } }, { op = \"a\", object = { id = \"1\" } }", 0);
        check(sequence, "{ op = \"a\", object = { id = \"1\" } }, { op = \"b\", object = { id = \"2\" } }", 0);
        check(
            sequence,
            "{ op = \"a\", object = { id = \"1\" } }, { op = \"c\", object = { id = \"1\" } }, { op = \"b\", object = { id = \"1\" } }",
            0,
        );
        check(sequence, "{ op = \"a\", object = { id = \"1\" } }, { after = \"2h\", op = \"b\", object = { id = \"1\" } }", 0);
        let then = "when = 'op == \"open\"'\nthen = { later = 'op == \"close\"', same = [\"object.id\"], within = \"5m\" }";
        check(then, "{ op = \"open\", object = { id = \"1\" } }", 1);
        check(then, "{ op = \"open\", object = { id = \"1\" } }, { op = \"close\", object = { id = \"1\" } }", 0);
        check(then, "{ op = \"open\", object = { id = \"1\" } }, { after = \"6m\", op = \"close\", object = { id = \"1\" } }", 1);
        let owned = "owned = { object = \"account\", by = \"user\", unknown = \"alert\" }";
        check(owned, "{ kind = \"api.request\", user = { id = \"u\" }, object = { type = \"account\", id = \"9\" } }", 1);
        check(
            owned,
            "{ kind = \"api.request\", user = { id = \"u\", prompt = \"show account 9\" }, object = { type = \"account\", id = \"9\" } }",
            0,
        );
        check(
            owned,
            "{ kind = \"api.request\", user = { id = \"u\" }, object = { type = \"accounts\", id = \"x\" }, status = 200, result = { items = [{ id = \"9\" }] } }, { kind = \"api.request\", user = { id = \"u\" }, object = { type = \"account\", id = \"9\" } }",
            0,
        );
        let flow = "flow = { from = 'op == \"read\"', to = 'effect == \"egress\"', within = \"1h\", overlap = 1, not_from = \"user.prompt\" }";
        check(
            flow,
            "{ op = \"read\", workflow = \"w\", result = { iban = \"DE89370400440532013000\" } }, { effect = \"egress\", workflow = \"w\", arg = { text = \"pay DE89370400440532013000 now\" } }",
            1,
        );
        check(
            flow,
            "{ op = \"read\", workflow = \"w\", result = { iban = \"DE89370400440532013000\" } }, { effect = \"egress\", workflow = \"w\", arg = { text = \"hello\" } }",
            0,
        );
        check(
            flow,
            "{ op = \"read\", workflow = \"w\", result = { iban = \"DE89370400440532013000\" } }, { effect = \"egress\", workflow = \"w\", arg = { text = \"DE89370400440532013000\" }, user = { prompt = \"send DE89370400440532013000\" } }",
            0,
        );
        check(
            flow,
            "{ op = \"read\", workflow = \"w\", result = { iban = \"DE89370400440532013000\" } }, { effect = \"egress\", workflow = \"v\", arg = { text = \"DE89370400440532013000\" } }",
            0,
        );
    }

    const HEAD: &str = "[pack]\nname = \"t\"\nversion = \"1\"\n[[rule]]\nid = \"r\"\ntitle = \"t\"\nseverity = \"low\"\n";

    fn set_of(body: &str) -> RuleSet {
        let pack = pack::read("t.toml", &format!("{HEAD}{body}")).unwrap_or_else(|faults| panic!("{faults:#?}"));
        RuleSet::join(vec![pack]).expect("joins")
    }

    fn event_of(text: &str) -> Value {
        crate::decode::json::parse(text.as_bytes()).value.expect("JSON")
    }

    /// Pushes the event `times` times, a second apart from `start` on; the number of alerts.
    fn pushed(decide: &mut Decide, set: &RuleSet, event: &str, start: u64, times: u64) -> usize {
        let mut alerts = Vec::new();
        for second in start..start + times {
            decide.push_event(set, &event_of(event), START.plus(Duration::from_secs(second)), &mut alerts);
        }
        alerts.len()
    }

    #[test]
    fn state_survives_a_reload_and_a_restart_when_the_block_is_the_same() {
        let body = "when = 'kind == \"x\"'\ncount = { by = [\"op\"], within = \"1h\", over = 3 }\n";
        let event = r#"{"kind":"x","op":"a"}"#;
        for (change, alerts) in
            [(body.to_owned(), 1), (body.to_owned() + "fix = \"other words\"\n", 1), (body.replace("1h", "2h"), 0)]
        {
            let (old, new) = (set_of(body), set_of(&change));
            let mut decide = Decide::default();
            assert_eq!(pushed(&mut decide, &old, event, 0, 3), 0);
            let saved = decide.save();
            assert_eq!(pushed(&mut decide, &new, event, 3, 1), alerts, "reload: {change}");
            let mut restarted = Decide::default();
            assert!(restarted.restore(&new, &saved));
            assert_eq!(pushed(&mut restarted, &new, event, 3, 1), alerts, "restart: {change}");
        }
        assert!(!Decide::default().restore(&set_of(body), b"no memory"));
    }

    #[test]
    fn keys_are_bounded_and_the_used_ones_stay() {
        let set = set_of("when = 'kind == \"x\"'\ncount = { by = [\"op\"], within = \"24h\", over = 1000 }\nmax_keys = 64\n");
        let mut decide = Decide::default();
        for key in 0..10_000 {
            pushed(&mut decide, &set, &format!(r#"{{"kind":"x","op":"o{key}"}}"#), key, 1);
            pushed(&mut decide, &set, r#"{"kind":"x","op":"busy"}"#, key, 1);
        }
        let (_, counts) = decide.counts().next().expect("one rule");
        assert_eq!(counts.keys, 64);
        assert_eq!(counts.evicted, 10_001 - 64);
    }

    #[test]
    fn any_reading_of_repeated_keys_violates() {
        let set = set_of("when = 'arg.amount > 100'\n");
        for (event, alerts) in [
            (r#"{"kind":"x","arg":{"amount":5,"amount":500}}"#, 1),
            (r#"{"kind":"x","arg":{"amount":500,"amount":5}}"#, 1),
            (r#"{"kind":"x","arg":{"amount":5,"amount":6}}"#, 0),
        ] {
            assert_eq!(pushed(&mut Decide::default(), &set, event, 0, 1), alerts, "{event}");
        }
    }

    #[test]
    fn a_rule_over_its_budget_goes_into_the_shadow_and_says_so() {
        let set = set_of("when = 'arg.a.all(x, arg.a.all(y, arg.a.all(z, z == 1)))'\n");
        let ones = vec!["1"; 100].join(",");
        let event = event_of(&format!(r#"{{"kind":"x","arg":{{"a":[{ones}]}}}}"#));
        let mut decide = Decide::default();
        let mut alerts = Vec::new();
        for second in 0..20 {
            decide.push_event(&set, &event, START.plus(Duration::from_secs(second)), &mut alerts);
        }
        let told: Vec<&str> = alerts.iter().map(|alert| &*alert.rule.id).collect();
        assert_eq!(told, ["agentward.rule-over-budget"]);
        decide.push_event(&set, &event_of(r#"{"kind":"x","arg":{"a":[1]}}"#), START.plus(Duration::from_secs(30)), &mut alerts);
        assert!(alerts.last().is_some_and(|alert| alert.shadow && &*alert.rule.id == "r"));
    }

    #[test]
    fn exceptions_hold_until_their_day() {
        let rule = "when = 'kind == \"x\"'\nexcept = [{ \"op\" = \"probe*\", why = \"probe\", until = 2027-01-31 }]";
        check(rule, "{ kind = \"x\", op = \"probe-1\" }", 0);
        check(rule, "{ kind = \"x\", op = \"other\" }", 1);
        check(&rule.replace("2027-01-31", "2025-01-31"), "{ kind = \"x\", op = \"probe-1\" }", 1);
    }

    #[test]
    fn faults_name_file_line_and_column() {
        let head = "[pack]\nname = \"t\"\nversion = \"1\"\n";
        for (text, place) in [
            (
                format!("{head}[[rule]]\nid = \"r\"\ntitle = \"t\"\nseverity = \"low\"\nwhen = 'knd == 1'\n"),
                "t.toml:8:9: unknown field `knd`; did you mean `kind`?",
            ),
            (
                format!("{head}[[rule]]\nid = \"r\"\ntitle = \"t\"\nseverty = \"low\"\n"),
                "t.toml:7:1: unknown key `severty`; did you mean `severity`?",
            ),
            (
                format!("{head}[[rule]]\nid = \"r\"\ntitle = \"t\"\nseverity = \"low\"\n"),
                "t.toml:5:6: a rule needs `when` or a state block",
            ),
            (
                format!(
                    "{head}[[rule]]\nid = \"r\"\ntitle = \"t\"\nseverity = \"low\"\nwhen = 'true'\ncount = {{ within = \"1x\", over = 1 }}\n"
                ),
                "t.toml:9:20: a duration is",
            ),
            (format!("{head}[[operation]]\nid = \"o\"\nmatch = \"GET nowhere\"\n"), "t.toml:6:9: expected METHOD host/path"),
            ("[pack\n".into(), "t.toml:1:6"),
        ] {
            let faults = pack::read("t.toml", &text).expect_err(&text);
            assert!(faults[0].to_string().starts_with(place), "{text}\n{}", faults[0]);
        }
    }
}
