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
    check(count, "{ kind = \"x\", op = \"a\" }, { kind = \"x\", op = \"a\" }, { after = \"20s\", kind = \"x\", op = \"a\" }", 0);
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
    let sequence =
        "sequence = { steps = ['op == \"a\"', 'op == \"b\"'], same = [\"object.id\"], within = \"1h\", without = 'op == \"c\"' }";
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

#[test]
fn chains_are_judged_by_their_oldest_step() {
    let abc = "sequence = { steps = ['op == \"a\"', 'op == \"b\"', 'op == \"c\"'], same = [\"workflow\"], within = \"1h\" }";
    // The first step again does not make an old second step young.
    check(abc, &steps(&[("a", "0s"), ("b", "30m"), ("a", "29m"), ("c", "21m")]), 0);
    check(abc, &steps(&[("a", "0s"), ("b", "10m"), ("a", "10m"), ("c", "20m")]), 1);
    let aab = "sequence = { steps = ['op == \"a\"', 'op == \"a\"', 'op == \"b\"'], same = [\"workflow\"], within = \"1h\" }";
    check(aab, &steps(&[("a", "0s"), ("b", "1s")]), 0);
    check(aab, &steps(&[("a", "0s"), ("a", "1s"), ("b", "1s")]), 1);
    // The last two of three first steps are inside the window.
    check(aab, &steps(&[("a", "0s"), ("a", "59m"), ("a", "59m"), ("b", "1m")]), 1);
    let any =
        "sequence = { steps = ['op in [\"a\", \"b\"]', 'op == \"a\"'], same = [\"workflow\"], within = \"1h\", order = \"any\" }";
    check(any, &steps(&[("a", "0s")]), 0);
    check(any, &steps(&[("a", "0s"), ("a", "1s")]), 1);
}

/// Events of one workflow: operation, and how long after the one before.
fn steps(steps: &[(&str, &str)]) -> String {
    let one = |(op, after): &(&str, &str)| format!("{{ op = \"{op}\", workflow = \"w\", after = \"{after}\" }}");
    steps.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[test]
fn approvals_are_used_voided_and_never_given_by_the_step_itself() {
    let needs =
        "when = 'op == \"pay\"'\nneeds = { earlier = 'op in [\"ok\", \"pay\"]', same = [\"workflow\"], within = \"15m\" }";
    check(needs, &steps(&[("pay", "0s")]), 1);
    check(needs, &steps(&[("ok", "0s"), ("pay", "1s")]), 0);
    let joined = "when = 'op == \"pay\"'\nneeds = { earlier = 'op == \"ok\"', same = [\"workflow\", \"arg.amount\"], within = \"15m\", voided_by = 'op == \"plan\"' }";
    let ok = "{ op = \"ok\", workflow = \"w\", arg = { amount = 5 } }";
    let pay = "{ op = \"pay\", workflow = \"w\", arg = { amount = 5 } }";
    // What voids an approval knows the workflow, not the amount.
    check(joined, &format!("{ok}, {{ op = \"plan\", workflow = \"w\" }}, {pay}"), 1);
    check(joined, &format!("{ok}, {{ op = \"plan\", workflow = \"v\" }}, {pay}"), 0);
    check(joined, &format!("{{ op = \"plan\", workflow = \"w\" }}, {ok}, {pay}"), 0);
    check(joined, &format!("{ok}, {{ op = \"plan\" }}, {pay}"), 1);
}

#[test]
fn a_later_step_must_come_again_and_again() {
    let beat = "when = 'op == \"a\"'\nthen = { later = 'op == \"a\"', same = [\"workflow\"], within = \"5m\" }\nquiet = \"1s\"";
    check(beat, &steps(&[("a", "0s"), ("a", "1m"), ("a", "1m")]), 1);
    check(beat, &steps(&[("a", "0s"), ("a", "20m")]), 2);
}

#[test]
fn parts_of_a_key_that_are_not_known_are_one_value() {
    let sum =
        "when = 'effect == \"money\"'\nsum = { of = \"arg.amount\", by = [\"tenant\", \"user\"], within = \"1h\", over = 100 }";
    let paid = |user: &str| format!("{{ effect = \"money\", user = {{ {user} }}, arg = {{ amount = 60 }} }}");
    check(sum, &[paid("id = \"u\""), paid("id = \"u\"")].join(", "), 1);
    check(sum, &[paid("id = \"u\""), paid("id = \"v\"")].join(", "), 0);
    // Nobody is nobody's budget.
    check(sum, &[paid("prompt = \"x\""), paid("prompt = \"x\"")].join(", "), 0);
}

/// Whatever is told, and when: the last word of a finding has its whole count, and a flood is no flood of alerts.
#[test]
fn many_repetitions_are_told_together() {
    let set = set_of("when = 'kind == \"x\"'\n");
    let event = event_of(r#"{"kind":"x","op":"a"}"#);
    for (every, ticks, told) in [(1, false, 26), (1, true, 26), (2_000, false, 10_000), (2_000, true, 10_000)] {
        let (mut decide, mut out) = (Decide::default(), Vec::new());
        for number in 0..10_000_u64 {
            let now = Timestamp((1_000_000 + number * every) * 1_000_000);
            decide.push_event(&set, &event, now, &mut out);
            if ticks {
                decide.tick(&set, now, &mut out);
            }
        }
        decide.finish(&mut out);
        assert_eq!(out.last().map(|alert| alert.count), Some(10_000), "every {every} ms");
        assert!(out.windows(2).all(|pair| pair[0].count < pair[1].count && pair[0].uid == pair[1].uid), "every {every} ms");
        assert_eq!(out.len(), told, "every {every} ms, ticks {ticks}");
    }
}

#[test]
fn exceptions_are_not_counted() {
    let count = "when = 'kind == \"x\"'\ncount = { by = [\"workflow\"], within = \"1h\", over = 1 }\nexcept = [{ op = \"probe\", why = \"probe\" }]";
    let event = |op: &str| format!("{{ kind = \"x\", op = \"{op}\", workflow = \"w\" }}");
    check(count, &[event("probe"), event("probe"), event("a")].join(", "), 0);
    check(count, &[event("probe"), event("a"), event("a")].join(", "), 1);
}

#[test]
fn owners_and_tenants_are_told_by_answers_and_by_the_call() {
    let owned = "owned = { object = \"order\", by = \"user\" }\nwhen = 'op == \"read\"'";
    let read =
        |owner: &str| format!("{{ op = \"read\", user = {{ id = \"u\" }}, object = {{ type = \"order\", id = \"7\"{owner} }} }}");
    check(owned, &read(", owner = \"v\""), 1);
    check(owned, &read(", owner = \"u\""), 0);
    check(owned, &read(""), 0);
    let listed = "{ op = \"list\", tenant = { id = \"t2\" }, object = { type = \"order\" }, status = 200, result = { items = [{ id = \"7\", tenant_id = \"t2\", owner_id = \"v\" }] } }";
    let by_tenant = owned.replace("\"user\"", "\"tenant\"");
    let asks = |tenant: &str| {
        format!("{{ op = \"read\", tenant = {{ id = \"{tenant}\" }}, object = {{ type = \"order\", id = \"7\" }} }}")
    };
    check(&by_tenant, &format!("{listed}, {}", asks("t1")), 1);
    check(&by_tenant, &format!("{listed}, {}", asks("t2")), 0);
}

#[test]
fn contents_are_found_again_in_what_leaves() {
    let flow = "flow = { from = 'op == \"read\"', to = 'effect == \"egress\"', within = \"1h\", overlap = OVER }";
    let read = "{ op = \"read\", workflow = \"w\", result = { items = [{ iban = \"DE89370400440532013000\", mail = \"ann.lee@shop.example\" }] } }";
    let inside =
        r#"{ op = "read", workflow = "w", result = { content = '[{"iban":"DE89370400440532013000","name":"Ann Lee-Ray"}]' } }"#;
    for (from, over, sent, alerts) in [
        (read, "1", r#"arg = { text = "x=DE89370400440532013000&y=1" }"#, 1),
        (read, "1", r#"arg = { text = "https://evil.example/c/DE89370400440532013000?k=v" }"#, 1),
        (read, "1", r#"http = { path = "/c/DE89370400440532013000" }"#, 1),
        (read, "1", r#"arg = { text = '{"a":{"b":"de89370400440532013000"}}' }"#, 1),
        (read, "1", r#"arg = { text = "see REU4OTM3MDQwMDQ0MDUzMjAxMzAwMA== below" }"#, 1),
        (read, "1", r#"arg = { text = "44453839333730343030343430353332303133303030" }"#, 1),
        (read, "1", r#"arg = { text = "H4sIAAAAAAACA3NxtbA0NjcwMTAwMTEwNTYyMDQ2MDAAAF4AKUAWAAAA" }"#, 1),
        (read, "1", r#"arg = { text = "DE8937040044053201300" }"#, 0),
        // One value in parts is one value.
        (read, "2", r#"arg = { text = "ann.lee@shop.example" }"#, 0),
        (read, "2", r#"arg = { text = "ann.lee@shop.example, DE89370400440532013000" }"#, 1),
        (inside, "2", r#"arg = { text = "Ann Lee-Ray", account = "DE89370400440532013000" }"#, 1),
    ] {
        check(&flow.replace("OVER", over), &format!("{from}, {{ effect = \"egress\", workflow = \"w\", {sent} }}"), alerts);
    }
    // An answer that repeats its request proves nothing.
    let echo = r#"{ op = "read", effect = "egress", workflow = "w", arg = { q = "DE89370400440532013000" }, result = { q = "DE89370400440532013000" }, status = 200 }"#;
    check(&flow.replace("OVER", "1"), echo, 0);
}

#[test]
fn drift_of_lists_is_that_of_their_items() {
    let new = "drift = { of = \"token.scopes\", key = [\"agent\"], alert = \"new\" }";
    let event = |scopes: &str| format!("{{ kind = \"x\", agent = {{ id = \"a\" }}, token = {{ scopes = {scopes} }} }}");
    check(new, &[event("[\"r\", \"w\"]"), event("[\"w\"]"), event("[\"w\", \"r\"]")].join(", "), 0);
    check(new, &[event("[\"r\", \"w\"]"), event("[\"w\", \"admin\"]")].join(", "), 1);
    let answer = "drift = { of = \"result.version\", key = [\"http.host\"], alert = \"changed\" }";
    let told = |version: &str| format!("{{ kind = \"x\", http = {{ host = \"h\" }}, result = {{ version = \"{version}\" }} }}");
    check(answer, &[told("1"), told("1")].join(", "), 0);
    check(answer, &[told("1"), told("2")].join(", "), 1);
}

#[test]
fn tests_may_ask_what_an_alert_says() {
    let text = |expect: &str| {
        format!(
            "{HEAD}when = 'arg.amount > 5'\n[[rule.test]]\nname = \"n\"\nevents = [{{ kind = \"api.request\", status = 200, arg = {{ amount = 9 }}, time = 2026-03-01T09:30:00Z }}]\nalerts = 1\nexpect = [{expect}]\n"
        )
    };
    for (expect, reason) in [
        ("{ severity = \"low\", proof = \"served\", matched = { arg.amount = 9 } }", None),
        ("{ severity = \"high\" }", Some("expected `severity` to be \"high\", it is \"low\"")),
        ("{ object.id = \"7\" }", Some("expected `object.id` to be \"7\", it is absent")),
    ] {
        let set = RuleSet::join(vec![pack::read("t.toml", &text(expect)).expect("reads")]).expect("joins");
        let outcome = run(&set, &set.rules[0], &set.rules[0].tests[0]);
        assert_eq!(outcome.unlike.as_deref(), reason, "{expect}");
    }
    let faults = pack::read("t.toml", &text("{ sevrity = \"low\" }")).expect_err("no such field");
    assert_eq!(faults[0].to_string(), "t.toml:13:11: an alert has no `sevrity`; did you mean `severity`?");
}

#[test]
fn what_waits_for_a_later_step_waits_on_after_a_restart() {
    let set = set_of("when = 'op == \"open\"'\nthen = { later = 'op == \"close\"', same = [\"object.id\"], within = \"5m\" }\n");
    let mut decide = Decide::default();
    let open = r#"{"op":"open","object":{"id":"1"},"arg":{"note":"said in confidence"}}"#;
    assert_eq!(pushed(&mut decide, &set, open, 0, 1), 0);
    let saved = decide.save();
    assert!(!String::from_utf8_lossy(&saved).contains("confidence"));
    let mut restarted = Decide::default();
    assert!(restarted.restore(&set, &saved));
    let mut alerts = Vec::new();
    restarted.tick(&set, START.plus(Duration::from_secs(400)), &mut alerts);
    assert_eq!(alerts.len(), 1);
}

#[test]
fn rules_that_search_a_field_are_found_by_its_text_and_by_its_items() {
    let set = set_of("when = 'arg.note.contains(\"secret\") || arg.note.matches(\"pass(word|phrase)\")'\n");
    for (event, alerts, judged) in [
        (r#"{"kind":"x","arg":{"note":"a secret"}}"#, 1, 1),
        (r#"{"kind":"x","arg":{"note":"the password"}}"#, 1, 1),
        (r#"{"kind":"x","arg":{"note":["secret","other"]}}"#, 1, 1),
        (r#"{"kind":"x","arg":{"note":["a secret"]}}"#, 0, 1),
        (r#"{"kind":"x","arg":{"note":"nothing"}}"#, 0, 0),
        (r#"{"kind":"x","arg":{"note":7}}"#, 0, 0),
    ] {
        let mut decide = Decide::default();
        assert_eq!(pushed(&mut decide, &set, event, 0, 1), alerts, "{event}");
        assert_eq!(decide.counts().next().map(|(_, counts)| counts.judged), Some(judged), "{event}");
    }
}

/// First of its kind, over all rules that use the label.
#[test]
fn seen_asks_what_earlier_events_brought() {
    let first = "when = 'kind == \"x\" && effect == \"money\" && !seen(\"payee\", arg.to)'";
    let pay = |effect: &str, to: &str| format!("{{ kind = \"x\", effect = \"{effect}\", arg = {{ to = {to} }} }}");
    let events = |all: &[(&str, &str)]| all.iter().map(|(effect, to)| pay(effect, to)).collect::<Vec<_>>().join(", ");
    let quiet = "group = [\"arg.to\", \"effect\"]";
    for (all, alerts) in [
        (vec![("money", "\"a\"")], 1),
        (vec![("money", "\"a\""), ("money", "\"b\"")], 2),
        (vec![("money", "\"a\""), ("money", "\"a\""), ("money", "\"b\"")], 2),
        // What the condition could never hold for brings nothing.
        (vec![("read", "\"a\""), ("money", "\"a\"")], 1),
        // The text `1` is not the number 1.
        (vec![("money", "\"1\""), ("money", "1")], 2),
    ] {
        check(&format!("{first}\n{quiet}"), &events(&all), alerts);
    }
    let again = "when = 'seen(\"payee\", arg.to) && kind == \"x\"'";
    check(again, &events(&[("money", "\"a\"")]), 0);
    check(again, &events(&[("money", "\"a\""), ("read", "\"a\"")]), 1);
}

#[test]
fn what_seen_remembers_is_bounded_and_kept() {
    use crate::base::limits::SIGHTINGS;
    let text = "[pack]\nname = \"t\"\nversion = \"1\"\n[[rule]]\nid = \"r\"\ntitle = \"t\"\nseverity = \"low\"\nwhen = 'seen(\"n\", arg.n)'\n";
    let set = RuleSet::join(vec![pack::read("t.toml", text).expect("reads")]).expect("joins");
    let event = |number: usize| Value::map([("arg", Value::map([("n", Value::count(number))]))]);
    let mut decide = Decide::default();
    let mut alerts = Vec::new();
    for number in 0..=SIGHTINGS {
        decide.push_event(&set, &event(number), START, &mut alerts);
    }
    assert_eq!((decide.seen().0, decide.seen().1, alerts.len()), (SIGHTINGS, 1, 0));
    let mut later = Decide::default();
    assert!(later.restore(&set, &decide.save()));
    for (number, found) in [(SIGHTINGS, 1), (0, 1), (0, 2)] {
        later.push_event(&set, &event(number), START, &mut alerts);
        assert_eq!(alerts.last().map_or(0, |alert| alert.count), found, "{number}");
    }
}

/// To whom an object was shown is told apart up to a bound; then it is public, and another owner is still another owner.
#[test]
fn what_was_shown_to_many_is_public() {
    use crate::base::limits::OBJECT_VIEWERS;
    let text = "[pack]\nname = \"t\"\nversion = \"1\"\n[[rule]]\nid = \"r\"\ntitle = \"t\"\nseverity = \"low\"\nwhen = 'op == \"ask\"'\nowned = { object = \"doc\", by = \"user\", unknown = \"alert\" }\n";
    let set = RuleSet::join(vec![pack::read("t.toml", text).expect("reads")]).expect("joins");
    let event = |op: &str, user: usize, result: Value| {
        let object = Value::map([("type", Value::text("doc")), ("id", Value::text("9"))]);
        let user = Value::map([("id", Value::count(user))]);
        Value::map([("op", Value::text(op)), ("user", user), ("object", object), ("result", result)])
    };
    let shown = || Value::map([("id", Value::text("9"))]);
    for (viewers, found) in [(OBJECT_VIEWERS, 1), (OBJECT_VIEWERS + 1, 0)] {
        let mut decide = Decide::default();
        let mut alerts = Vec::new();
        for user in 0..viewers {
            decide.push_event(&set, &event("show", user, shown()), START, &mut alerts);
        }
        decide.push_event(&set, &event("ask", 1_000_000, Value::Null), START, &mut alerts);
        assert_eq!(alerts.len(), found, "{viewers} viewers");
        let owned = Value::map([("id", Value::text("9")), ("owner_id", Value::text("somebody"))]);
        decide.push_event(&set, &event("show", 1, owned), START, &mut alerts);
        decide.push_event(&set, &event("ask", 1_000_001, Value::Null), START, &mut alerts);
        assert_eq!(alerts.len(), found + 1, "{viewers} viewers, another owner");
    }
}

/// The value that joins may have another name in each step.
#[test]
fn steps_name_what_joins_them_each_in_its_way() {
    let event = |op: &str, name: &str, value: u32| format!("{{ op = \"{op}\", arg = {{ {name} = {value} }} }}");
    let needs =
        "when = 'op == \"pay\"'\nneeds = { earlier = 'op == \"ok\"', same = [[\"arg.total\", \"arg.amount\"]], within = \"1h\" }";
    check(needs, &[event("ok", "amount", 5), event("pay", "total", 5)].join(", "), 0);
    check(needs, &[event("ok", "amount", 5), event("pay", "total", 6)].join(", "), 1);
    check(needs, &[event("ok", "total", 5), event("pay", "total", 5)].join(", "), 1);
    let then =
        "when = 'op == \"open\"'\nthen = { later = 'op == \"close\"', same = [[\"arg.id\", \"arg.of\"]], within = \"5m\" }";
    check(then, &[event("open", "id", 1), event("close", "of", 1)].join(", "), 0);
    check(then, &[event("open", "id", 1), event("close", "id", 1)].join(", "), 1);
    for (order, turned) in [("strict", 0), ("any", 1)] {
        let sequence = format!(
            "sequence = {{ steps = ['op == \"a\"', 'op == \"b\"', 'op == \"c\"'], same = [[\"arg.x\", \"arg.y\", \"arg.x\"]], within = \"1h\", without = 'op == \"no\"', order = \"{order}\" }}"
        );
        let [a, b, c] = [event("a", "x", 1), event("b", "y", 1), event("c", "x", 1)];
        check(&sequence, &[&*a, &b, &c].join(", "), 1);
        check(&sequence, &[&*b, &a, &c].join(", "), turned);
        check(&sequence, &[&*a, &event("b", "y", 2), &c].join(", "), 0);
        check(&sequence, &[&*a, &b, &event("no", "x", 1), &c].join(", "), 0);
        check(&sequence, &[&*a, &b, &event("no", "x", 2), &c].join(", "), 1);
    }
    let faults = pack::read("t.toml", "[pack]\nname = \"t\"\nversion = \"1\"\n[[rule]]\nid = \"r\"\ntitle = \"t\"\nseverity = \"low\"\nsequence = { steps = ['op == \"a\"', 'op == \"b\"'], same = [\n[\"op\"]], within = \"1h\" }\n").expect_err("one name for two steps");
    assert_eq!(faults[0].to_string(), "t.toml:9:1: a list in `same` has a name for each step");
}
