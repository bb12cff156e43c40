use super::*;
use crate::base::Value;
use crate::decode::json;

fn judge(expression: &str, event: &str) -> Result<bool, Absent> {
    let event = json::parse(event.as_bytes()).value.expect("JSON");
    let parsed = parse(expression).unwrap_or_else(|fault| panic!("{expression}: {fault} at {}", fault.at));
    let vocabulary = Vocabulary {
        lists: [("shells".to_owned(), vec![Value::text("sh"), Value::text("bash")])].into(),
        grants: vec![Grant { user: None, role: Some("admin".into()), ops: vec!["a.*".into()] }],
    };
    let context = Context { event: &event, vocabulary: &vocabulary };
    evaluate(&parsed, &context)
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
        (r#"kind == 1"#, Err(Absent)),
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
        ("has(1)", 0, "has() takes a field"),
        ("kind == 'a' kind", 12, "expected an operator"),
        ("kind.foo", 0, "unknown field `kind.foo`"),
    ] {
        let fault = parse(expression).expect_err(expression);
        assert_eq!(fault.at, at, "{expression}: {fault}");
        assert!(fault.reason.contains(words), "{expression}: {fault}");
    }
    let deep = "(".repeat(5000) + &")".repeat(5000);
    assert!(parse(&deep).expect_err("too deep").reason.contains("deeply"));
    assert!(parse(&"!".repeat(5000)).expect_err("too deep").reason.contains("deeply"));
}
