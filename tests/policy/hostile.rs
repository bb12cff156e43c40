//! Rule sets that somebody got wrong, or wrote to harm: each is refused with place and reason, the last good one goes on judging.

use agentward::base::{Timestamp, Value};
use agentward::decide::pack::{Fault, read};
use agentward::decide::{Decide, RuleSet};

const HEAD: &str = "[pack]\nname = \"p\"\nversion = \"1\"\n";

fn rule(body: &str) -> String {
    format!("{HEAD}\n[[rule]]\nid = \"r\"\ntitle = \"t\"\nseverity = \"low\"\n{body}\n")
}

/// What a person, a program or an attacker may write; none of it may load.
fn sets() -> Vec<String> {
    let mut sets = Vec::new();
    // Conditions.
    for condition in [
        "knd == \"x\"",
        "kind == ",
        "kind = \"x\"",
        "kind == \"x",
        "kind == 'x' &&",
        "(kind == \"x\"",
        "kind == \"x\")",
        "kind ==== \"x\"",
        "status == \"404\"",
        "kind == 1",
        "kind < 5",
        "status",
        "kind",
        "1 + 1",
        "!status",
        "status && true",
        "kind.startsWith(1)",
        "kind.startsWit(\"a\")",
        "kind.matches(\"(\")",
        "kind.matches(\"[\")",
        "kind.matches(\"a{1000}{1000}{1000}\")",
        "kind.matches(kind)",
        "kind.matches(\"(?P<n\")",
        "size()",
        "size(status) > 1",
        "has(1)",
        "has()",
        "has(kind, op)",
        "kind in \"x\"",
        "kind in status",
        "kind in list.nowhere",
        "proc.name in list.shels",
        "tool.nme == \"x\"",
        "arg.exists(k)",
        "arg.exists(1, true)",
        "arg.exists(k, k + 1)",
        "kind.exists(k, true)",
        "kind ? true : false",
        "declared ? kind : op",
        "kind + op == \"x\"",
        "kind * 2 == 4",
        "status / 2 == 4",
        "status % 2 == 0",
        "kind and op",
        "not declared",
        "declared or inbound",
        "nosuch()",
        "nosuch(kind)",
        "kind.nosuch()",
        "user.roles.map(r, r)",
        "user.roles.filter(r, true)",
        "kind == \"x\" kind",
        "@kind",
        "kind # 1",
        "$x",
        "kind == \"\\u00\"",
        "granted(user)",
        "granted(1, op)",
        "has_scope(1)",
        "cidr(http.host)",
        "host_in(http.host, \"x\")",
        "glob(kind)",
        "entropy(status) > 1",
        "json(status) == 1",
        "in_business_hours(1)",
        "time(kind)",
        "kind == \"x\" ? 1",
        "[kind] == 1",
        "-kind == 1",
        "list.x.y == 1",
        "arg..x == 1",
        ".kind == 1",
        "kind. == 1",
        "kind[0",
        "arg[\"x\"",
        "true && 1",
        "1 && true",
        "\"x\" || true",
    ] {
        sets.push(rule(&format!("when = '''{condition}'''")));
    }
    sets.push(rule(&format!("when = '{}kind == \"x\"{}'", "(".repeat(900), ")".repeat(900))));
    sets.push(rule(&format!("when = '{}declared'", "!".repeat(900))));
    sets.push(rule(&format!("when = '{}true'", "true && ".repeat(9000))));
    sets.push(rule(&format!("when = 'kind == \"{}'", "x".repeat(100_000))));
    // Keys and shapes of a rule.
    for key in [
        "whn",
        "When",
        "severty",
        "tag",
        "fixes",
        "exception",
        "counts",
        "distnct",
        "sums",
        "sequnce",
        "need",
        "than",
        "owner",
        "flows",
        "drifts",
        "modes",
        "groups",
        "quite",
        "max_key",
        "tests",
        "false_positive",
        "enabled",
        "priority",
        "condition",
        "output",
    ] {
        sets.push(rule(&format!("when = 'declared'\n{key} = \"x\"")));
    }
    for body in [
        "",
        "when = 5",
        "when = ['declared']",
        "when = ''",
        "when = 'declared'\nseverity = \"low\"",
        "when = 'declared'\ntags = \"x\"",
        "when = 'declared'\ntags = [1]",
        "when = 'declared'\nmode = \"on\"",
        "when = 'declared'\nmode = true",
        "when = 'declared'\ngroup = \"workflow\"",
        "when = 'declared'\ngroup = [\"workflw\"]",
        "when = 'declared'\nquiet = \"soon\"",
        "when = 'declared'\nquiet = 5",
        "when = 'declared'\nmax_keys = 0",
        "when = 'declared'\nmax_keys = 99999999",
        "when = 'declared'\nmax_keys = -1",
        "when = 'declared'\nexcept = {}",
        "when = 'declared'\nexcept = [{}]",
        "when = 'declared'\nexcept = [{ why = \"x\" }]",
        "when = 'declared'\nexcept = [{ knd = \"x\" }]",
        "when = 'declared'\nexcept = [{ kind = \"x\", until = \"tomorrow\" }]",
        "when = 'declared'\nexcept = [{ kind = \"x\", until = 5 }]",
        "when = 'declared'\nexcept = [{ proc.nme = \"x\" }]",
    ] {
        sets.push(rule(body));
    }
    // State blocks.
    for block in [
        "count = {}",
        "count = { within = \"1m\" }",
        "count = { over = 1 }",
        "count = { within = \"1\", over = 1 }",
        "count = { within = \"\", over = 1 }",
        "count = { within = \"0s\", over = 1 }",
        "count = { within = \"-1m\", over = 1 }",
        "count = { within = \"1y\", over = 1 }",
        "count = { within = \"99999d\", over = 1 }",
        "count = { within = \"1m\", over = -1 }",
        "count = { within = \"1m\", over = 1.5 }",
        "count = { within = \"1m\", over = \"1\" }",
        "count = { within = \"1m\", over = 99999999999 }",
        "count = { by = \"user\", within = \"1m\", over = 1 }",
        "count = { by = [\"usr\"], within = \"1m\", over = 1 }",
        "count = { by = [1], within = \"1m\", over = 1 }",
        "count = { within = \"1m\", over = 1, max = 5 }",
        "distinct = { within = \"1m\", over = 1 }",
        "distinct = { of = \"objct.id\", within = \"1m\", over = 1 }",
        "distinct = { of = 1, within = \"1m\", over = 1 }",
        "sum = { of = \"arg.x\", within = \"1m\", over = \"many\" }",
        "sum = { of = \"arg.x\", within = \"1m\", over = nan }",
        "sum = { of = \"arg.x\", within = \"1m\", over = inf }",
        "sum = { of = \"amount\", within = \"1m\", over = 1 }",
        "sequence = { steps = [], within = \"1m\" }",
        "sequence = { steps = ['declared'], within = \"1m\" }",
        "sequence = { steps = ['declared', 'knd == 1'], within = \"1m\" }",
        "sequence = { steps = ['declared', 'inbound'] }",
        "sequence = { steps = ['declared', 'inbound'], within = \"1m\", order = \"some\" }",
        "sequence = { steps = ['declared', 'inbound'], within = \"1m\", without = 'nope' }",
        "sequence = { steps = 'declared', within = \"1m\" }",
        "needs = { within = \"1m\" }",
        "needs = { earlier = 'declared' }",
        "needs = { earlier = 'declard', within = \"1m\" }",
        "needs = { earlier = 'declared', within = \"1m\", use_once = \"yes\" }",
        "needs = { earlier = 'declared', within = \"1m\", voided_by = 'x y' }",
        "needs = { earlier = 'declared', within = \"1m\", same = [\"arg amount\"] }",
        "then = { within = \"1m\" }",
        "then = { later = 'declared' }",
        "then = { later = 'status', within = \"1m\" }",
        "owned = {}",
        "owned = { object = \"x\" }",
        "owned = { object = \"x\", by = \"usr\" }",
        "owned = { object = \"x\", by = \"user\", unknown = \"maybe\" }",
        "owned = { object = \"x\", by = \"user\", learn = \"long\" }",
        "flow = {}",
        "flow = { from = 'declared', within = \"1m\" }",
        "flow = { from = 'declared', to = 'knd', within = \"1m\" }",
        "flow = { from = 'declared', to = 'inbound', within = \"1m\", overlap = -1 }",
        "flow = { from = 'declared', to = 'inbound', within = \"1m\", match = \"fuzzy\" }",
        "flow = { from = 'declared', to = 'inbound', within = \"1m\", not_from = \"user.promt\" }",
        "flow = { from = 'declared', to = 'inbound', within = \"1m\", not_from = 5 }",
        "drift = {}",
        "drift = { of = \"tool.schema_hash\", alert = \"changed\" }",
        "drift = { of = \"tool.hash\", key = [\"tool.name\"], alert = \"changed\" }",
        "drift = { of = \"tool.schema_hash\", key = [\"tool.name\"], alert = \"always\" }",
        "drift = { of = \"tool.schema_hash\", key = [\"tool.nam\"], alert = \"new\" }",
        "count = { within = \"1m\", over = 1 }\nsum = { of = \"arg.x\", within = \"1m\", over = 1 }",
        "count = 5",
        "count = []",
        "needs = \"declared\"",
    ] {
        sets.push(rule(&format!("when = 'declared'\n{block}")));
    }
    for block in [
        "count = { within = \"1m\", over = 1 }",
        "sum = { of = \"arg.x\", within = \"1m\", over = 1 }",
        "then = { later = 'declared', within = \"1m\" }",
    ] {
        sets.push(rule(block));
    }
    // Tests of a rule.
    for test in [
        "name = \"n\"\nalerts = 1",
        "name = \"n\"\nevents = []\nalerts = 1",
        "name = \"n\"\nevents = [{ knd = \"x\" }]\nalerts = 1",
        "name = \"n\"\nevents = [{ tool = { nme = \"x\" } }]\nalerts = 1",
        "name = \"n\"\nevents = [{ kind = \"x\" }]",
        "events = [{ kind = \"x\" }]\nalerts = 1",
        "name = \"n\"\nevents = [{ kind = \"x\" }]\nalerts = -1",
        "name = \"n\"\nevents = [{ kind = \"x\" }]\nalerts = 1\nexpect = 1",
        "name = \"n\"\nevents = [{ kind = \"x\", after = \"later\" }]\nalerts = 1",
        "name = \"n\"\nevents = [5]\nalerts = 1",
    ] {
        sets.push(format!("{}\n[[rule.test]]\n{test}\n", rule("when = 'declared'")));
    }
    // Vocabulary.
    for vocabulary in [
        "[[operation]]\nid = \"o\"",
        "[[operation]]\nid = \"o\"\nmatch = \"GET nowhere\"",
        "[[operation]]\nid = \"o\"\nmatch = \"FETCH a/b\"",
        "[[operation]]\nid = \"o\"\nmatch = \"get a/b\"",
        "[[operation]]\nid = \"o\"\nmatch = \"tol:x\"",
        "[[operation]]\nid = \"o\"\nmatch = \"GET a/{b\"",
        "[[operation]]\nid = \"\"\nmatch = \"GET a/b\"",
        "[[operation]]\nmatch = \"GET a/b\"",
        "[[operation]]\nid = \"o\"\nmatch = \"GET a/b\"\neffect = \"mony\"",
        "[[operation]]\nid = \"o\"\nmatch = \"GET a/b\"\nobject = { typ = \"x\" }",
        "[[operation]]\nid = \"o\"\nmatch = \"GET a/b\"\nobject = { id = \"pth:b\" }",
        "[[operation]]\nid = \"o\"\nmatch = \"GET a/b\"\nobject = { id = \"path:c\" }",
        "[[operation]]\nid = \"o\"\nmatch = \"GET a/b\"\narg = { x = \"body:x\" }",
        "[[operation]]\nid = \"o\"\nmatch = \"GET a/b\"\narg = { x = \"body:/x integer\" }",
        "[[operation]]\nid = \"o\"\nmatch = \"GET a/b\"\narg = { x = 5 }",
        "[[operation]]\nid = \"o\"\nmatch = \"GET a/b\"\narg = { x = \"usr.id\" }",
        "[[operation]]\nid = \"o\"\nmatch = \"GET a/b\"\nreturns = { ids = \"result:/x\" }",
        "[[operation]]\nid = \"o\"\nmatch = \"GET a/b\"\n[[operation]]\nid = \"o\"\nmatch = \"GET a/b\"",
        "[[operation]]\nid = \"o\"\nmach = \"GET a/b\"",
        "[list]\nx = 5",
        "[list]\nx = \"a\"",
        "[list]\nx = [[1]]",
        "[list]\nx = [{ a = 1 }]",
        "[list]\nx = { value = [] }",
        "[list]\nx = { values = 5 }",
        "[list]\nx = { values = [], merge = \"add\" }",
        "[list]\nx = {}",
        "[[grant]]\nops = [\"a\"]",
        "[[grant]]\nwho = {}\nops = [\"a\"]",
        "[[grant]]\nwho = { role = \"a\", user = \"b\" }\nops = [\"a\"]",
        "[[grant]]\nwho = { role = \"a\" }\nops = []",
        "[[grant]]\nwho = { rol = \"a\" }\nops = [\"a\"]",
        "[[grant]]\nwho = { role = \"a\" }",
        "[[filter]]\nrules = [\"r\"]",
        "[[filter]]\nrules = [\"r\"]\nexcept = {}",
        "[[filter]]\nrules = [\"nosuch\"]\nexcept = { kind = \"x\" }",
        "[[filter]]\nrules = [\"r\"]\nexcept = { knd = \"x\" }",
        "[[filter]]\nexcept = { kind = \"x\" }",
        "[[identity]]\nuser = [\"jwt:/sub\"]",
        "[[identity]]\nfor = \"a\"\nuser = [\"jtw:/sub\"]",
        "[[identity]]\nfor = \"a\"\nuser = [\"sub\"]",
        "[[identity]]\nfor = \"a\"\ntrust_headers_from = [\"everywhere\"]",
        "[[identity]]\nfor = \"a\"\nusr = []",
        "[[operations]]\nid = \"o\"",
        "[[rules]]\nid = \"r\"",
        "[lists]\nx = []",
        "[[rule]]\nid = \"r\"\ntitle = \"t\"\nseverity = \"low\"\nwhen = 'declared'\n[[rule]]\nid = \"r\"\ntitle = \"t\"\nseverity = \"low\"\nwhen = 'declared'",
    ] {
        sets.push(format!("{HEAD}\n{vocabulary}\n"));
    }
    // Heads, and files that are no packs.
    for whole in [
        "",
        "\n",
        "[pack",
        "[pack]",
        "[pack]\nname = \"p\"",
        "[pack]\nversion = \"1\"",
        "[pack]\nname = 5\nversion = \"1\"",
        "[pack]\nname = \"\"\nversion = \"1\"",
        "[pack]\nname = \"p\"\nversion = \"\"",
        "[pack]\nname = \"p\"\nversion = \"1\"\nengine = \">=9\"",
        "[pack]\nname = \"p\"\nversion = \"1\"\nengine = \"<0.1\"",
        "[pack]\nname = \"p\"\nversion = \"1\"\nengine = \"new\"",
        "[pack]\nname = \"p\"\nversion = \"1\"\nengin = \">=0.1\"",
        "[pack]\nname = \"p\"\nversion = \"1\"\nrequires = [\"nosuch\"]",
        "[pack]\nname = \"p\"\nversion = \"1\"\n[pack]\nname = \"q\"",
        "name = \"p\"",
        "pack = 5",
        "{\"pack\": {}}",
        "- pack:\n    name: p",
        "<pack/>",
        "\u{0}\u{1}\u{2}",
        "[[rule]]\nid = \"r\"",
        "[pack]\nname = \"p\"\nversion = \"1\"\n[[rule]]",
        "[pack]\nname = \"p\"\nversion = \"1\"\n[[rule]]\nid = \"r\"",
        "[pack]\nname = \"p\"\nversion = \"1\"\n[[rule]]\nid = \"r\"\ntitle = \"t\"\nwhen = 'declared'",
        "[pack]\nname = \"p\"\nversion = \"1\"\n[[rule]]\nid = \"r\"\ntitle = \"t\"\nseverity = \"urgent\"\nwhen = 'declared'",
        "[pack]\nname = \"p\"\nversion = \"1\"\n[[rule]]\nid = \"r\"\ntitle = \"\"\nseverity = \"low\"\nwhen = 'declared'",
        "[pack]\nname = \"p\"\nversion = \"1\"\n[[rule]]\nid = \"\"\ntitle = \"t\"\nseverity = \"low\"\nwhen = 'declared'",
        "[pack]\nname = \"p\"\nversion = \"1\"\n[[rule]]\nid = \"a b\"\ntitle = \"t\"\nseverity = \"low\"\nwhen = 'declared'",
        "[pack]\nname = \"p\"\nversion = \"1\"\n[[rule]]\nid = \"r\"\nid = \"s\"\ntitle = \"t\"\nseverity = \"low\"\nwhen = 'declared'",
        "[pack]\nname = \"p\"\nversion = \"1\"\n[[rule]]\nid = \"r\"\ntitle = \"t\"\nseverity = \"low\"\nwhen = \"declared",
    ] {
        sets.push(whole.to_owned());
    }
    sets.push(format!("{HEAD}# {}", "x".repeat(5 << 20)));
    // A set that is good but for one letter, cut anywhere.
    let good = rule("when = 'kind == \"x\" && status < 400'\ntags = [\"api:API1\"]");
    for cut in (10..good.len() - 24).step_by(3) {
        sets.push(good[..cut].to_owned());
    }
    sets
}

fn load(text: &str) -> Result<RuleSet, Vec<Fault>> {
    read("bad.toml", text).and_then(|pack| RuleSet::join(vec![pack]))
}

#[test]
fn bad_sets_are_refused_with_a_place_and_the_last_good_one_goes_on() {
    let mut active = load(&rule("when = 'kind == \"x\"'\ngroup = [\"object.id\"]")).expect("a good set");
    let mut decide = Decide::default();
    let sets = sets();
    let (mut refused, mut judged, mut guided) = (0, 0, 0);
    for (number, text) in sets.iter().enumerate() {
        match load(text) {
            Ok(set) => {
                // A cut may leave a whole set behind: then it is one that alerts as it says.
                assert!(set.rules.is_empty() && text.contains("[pack]"), "set {number} loads: {text:.900}");
                continue;
            }
            Err(faults) => {
                refused += 1;
                let fault = faults.first().expect("a reason");
                assert!(
                    fault.line >= 1 && fault.column >= 1 && fault.file == "bad.toml" && !fault.reason.is_empty(),
                    "{number}: {fault}"
                );
                assert!(!fault.reason.contains('\n'), "{number}: {fault}");
                guided += usize::from(
                    ["did you mean", "one of", "expected", "for example", "such as", "needs", "takes", "`"]
                        .iter()
                        .any(|word| fault.reason.contains(word)),
                );
            }
        }
        // The event between two attempts is judged by the last good set.
        let event = Value::map([("kind", Value::text("x")), ("object", Value::map([("id", Value::text(format!("o{number}")))]))]);
        let mut alerts = Vec::new();
        decide.push_event(&active, &event, Timestamp(1_790_000_000_000_000_000 + number as u64), &mut alerts);
        judged += alerts.len();
    }
    assert!(refused >= 300, "{refused} of {}", sets.len());
    assert_eq!(judged, refused, "every event was judged");
    assert!(guided * 10 >= refused * 8, "{guided} of {refused} say what to do");
    // A good one afterwards replaces it.
    active = load(&rule("when = 'kind == \"y\"'")).expect("a good set");
    assert_eq!(active.rules.len(), 1);
}
