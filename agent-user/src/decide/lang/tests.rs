use std::sync::Arc;

use super::*;
use crate::base::Value;
use crate::decide::Event;
use crate::decode::json;

fn judge(expression: &str, event: &str) -> Result<bool, Absent> {
    let event = json::parse(event.as_bytes()).value.expect("JSON");
    let parsed = parse(expression).unwrap_or_else(|fault| panic!("{expression}: {fault} at {}", fault.at));
    let lists = [("shells".to_owned(), Arc::new(Set::new([Value::text("sh"), Value::text("bash")])))].into();
    let grants = [Grant { user: None, role: Some("admin".into()), ops: vec!["a.*".into()] }];
    let mut paths = Paths::default();
    let program = Compiler { paths: &mut paths, lists: &lists }.compile(&parsed);
    let event = Event::given(&event);
    let slots = Slots::new(&event, &paths);
    evaluate(&program, &Context::new(&slots, &grants))
}

#[test]
fn conditions() {
    let event = r#"{"kind":"api.request","op":"x","status":201,"arg":{"amount":900.0,"to":"bob","tags":["a","b"],"n":[{"k":1},{"k":2}]},"proc":{"name":"bash","args":"bash -c ls"},"http":{"host":"api.corp.example:8443"},"user":{"id":"u-1","roles":["admin"]},"token":{"scopes":["read"]}}"#;
    for (expression, expected) in [
        (r#"kind == "api.request""#, Ok(true)),
        (r#"kind == 'api.request' && status >= 200"#, Ok(true)),
        ("arg.amount > 899", Ok(true)),
        ("arg.amount == 900", Ok(true)),
        ("arg.missing == 1", Err(Absent)),
        ("arg.missing == 1 || true", Ok(true)),
        ("arg.missing == 1 && false", Ok(false)),
        ("false && arg.missing == 1", Ok(false)),
        ("!(arg.missing == 1)", Err(Absent)),
        ("has(arg.amount) && !has(arg.missing)", Ok(true)),
        ("proc.name in list.shells", Ok(true)),
        (r#"proc.name in ["zsh"]"#, Ok(false)),
        (r#""admin" in user.roles"#, Ok(true)),
        (r#"user == "u-1""#, Ok(true)),
        (r#"proc.args.startsWith("bash -c")"#, Ok(true)),
        (r#"proc.args.contains("ls") ? true : false"#, Ok(true)),
        (r#"proc.args.matches("^bash\s")"#, Ok(true)),
        (r#"arg.exists(k, k == "to")"#, Ok(true)),
        (r#"arg.tags.all(t, t.size() == 1)"#, Ok(true)),
        ("arg.n.exists(item, item.k == 2)", Ok(true)),
        (r#"arg["to"] == "bob""#, Ok(true)),
        (r#"arg.tags[1] == "b""#, Ok(true)),
        (r#"host_in(http.host, ["*.corp.example"])"#, Ok(true)),
        (r#"host_in(http.host, ["corp.example"])"#, Ok(false)),
        (r#"cidr("10.2.3.4:80", ["10.2.0.0/16"])"#, Ok(true)),
        (r#"glob(proc.args, "bash*l?")"#, Ok(true)),
        (r#"granted(user, "a.read")"#, Ok(true)),
        (r#"has_scope("read")"#, Ok(true)),
        ("arg.amount + 100 == 1000", Ok(true)),
        ("-arg.amount < 0", Ok(true)),
        (r#"arg.to == 1"#, Ok(false)),
        (r#"arg.to != 1"#, Ok(true)),
        (r#"arg.to < 1"#, Err(Absent)),
        (r#"arg.tags == ["a", "b"]"#, Ok(true)),
        (r#"arg.tags == ["b", "a"]"#, Ok(false)),
        (r#"arg.n[0].k == 1"#, Ok(true)),
        (r#"arg.n[2].k == 1"#, Err(Absent)),
        (r#"proc.args.matches(r"^bash\s")"#, Ok(true)),
        (r#""bash" == proc.name"#, Ok(true)),
        (r#"json('{"a": [1]}')["a"][0] == 1"#, Ok(true)),
        ("arg.exists(k, arg.exists(l, k == l && k == 'tags'))", Ok(true)),
        ("arg.all(k, k.size() > 0)", Ok(true)),
        ("[1, 2].exists(n, n == arg.n[1].k)", Ok(true)),
        ("0x10 == 16", Ok(true)),
        (r#"entropy("aaaa") == 0"#, Ok(true)),
        (r#"has_secret(arg)"#, Ok(false)),
    ] {
        assert_eq!(judge(expression, event), expected, "{expression}");
    }
}

#[test]
fn faults_point_at_the_character() {
    for (expression, at, words) in [
        (r#"knd == "x""#, 0, "did you mean `kind`"),
        (r#"kind == "x" && tool.nme == "y""#, 15, "did you mean `tool.name`"),
        ("kind ==", 7, "expected a value"),
        (r#"kind == "x"#, 8, "no closing"),
        ("kind $ 1", 5, "unexpected character"),
        (r#"kind.matches("(")"#, 13, "pattern"),
        ("kind.startsWit('a')", 5, "did you mean `startsWith`"),
        ("size()", 0, "takes 1 argument"),
        (r#"kind == 1"#, 0, "can never be equal to a number"),
        (r#"status == "404""#, 0, "did you mean `404` without quotes"),
        ("status && true", 0, "true or false; `status` is a number"),
        ("status", 0, "a condition takes true or false"),
        ("kind.size()", 0, "a condition takes"),
        ("kind + 1 == 2", 0, "arithmetic takes a number"),
        ("status.contains('x')", 7, "`contains` takes text or a list"),
        ("kind = 'x'", 5, "did you mean `==`"),
        ("declared and inbound", 9, "did you mean `&&`"),
        ("status * 2 == 4", 7, "not part of this language"),
        ("kind.exsts(k, true)", 5, "did you mean `exists`"),
        ("user.roles.map(r, r)", 11, "unknown function"),
        ("has(1)", 0, "has() takes a field"),
        ("kind == 'a' kind", 12, "expected an operator"),
        ("kind.foo", 0, "unknown field `kind.foo`"),
    ] {
        let fault = parse(expression).expect_err(expression);
        assert_eq!(fault.at, at, "{expression}: {fault}");
        assert!(fault.reason.contains(words), "{expression}: {fault}");
    }
    let deep = "(".repeat(500) + &")".repeat(500);
    assert!(parse(&deep).expect_err("too deep").reason.contains("deeply"));
    assert!(parse(&"true && ".repeat(5000)).expect_err("too long").reason.contains("longer"));
    assert!(parse(&"!".repeat(500)).expect_err("too deep").reason.contains("deeply"));
}
