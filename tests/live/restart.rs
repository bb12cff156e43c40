//! What rules remember outlives the daemon: the last event of each comes after a restart.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};

use agent_tests::peers::World;
use agent_tests::program::Daemon;
use agent_tests::{json_lines, wait_for};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

const PACK: &str = r#"
[pack]
name = "restart"
version = "1.0.0"

[[operation]]
id = "order.read"
match = "GET */v1/orders/{id}"
effect = "read"
object = { type = "order", id = "path:id" }
returns = { type = "order", id = "result:/order", owner = "result:/customer" }

[[operation]]
id = "order.refund"
match = "POST */v1/orders/{id}/refunds"
effect = "money"
object = { type = "order", id = "path:id" }

[[identity]]
for = "*"
user = ["jwt:/sub"]

[[rule]]
id = "restart.count"
title = "Read three times"
severity = "low"
when = 'op == "order.read"'
count = { by = ["agent.id"], within = "1h", over = 2 }

[[rule]]
id = "restart.sequence"
title = "Read, then refunded"
severity = "low"
sequence = { steps = ['op == "order.read"', 'op == "order.refund"'], same = ["agent.id", "object.id"], within = "1h" }

[[rule]]
id = "restart.owned"
title = "Refunded by another than the owner"
severity = "low"
when = 'op == "order.refund"'
owned = { object = "order", by = "user", unknown = "ignore" }

[[rule]]
id = "restart.flow"
title = "What was read is sent"
severity = "low"
flow = { from = 'op == "order.read"', to = 'http.path == "/echo"', within = "1h", overlap = 1 }

[[rule]]
id = "restart.seen"
title = "Refunded after it was read"
severity = "low"
when = 'op == "order.refund" && seen("order", object.id)'

[[rule]]
id = "restart.note"
title = "Read for the first time"
severity = "low"
mode = "shadow"
when = 'op == "order.read" && !seen("order", object.id)'

[[rule]]
id = "restart.needs"
title = "Refunded and never read"
severity = "low"
when = 'op == "order.refund"'
needs = { earlier = 'op == "order.read"', same = ["workflow", "object.id"], within = "1h" }
"#;

/// A client that is told what to ask for.
struct Client(Child, BufReader<std::process::ChildStdout>);

impl Client {
    fn start(world: &World) -> Client {
        let mut client = world.python("clients/told.py");
        let mut child = client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the interpreter is there");
        let answers = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Client(child, answers)
    }

    fn ask(&mut self, user: &str, method: &str, path: &str, body: &Value) {
        let claims = json!({"sub": user}).to_string();
        let token = format!("Bearer {}.{}.x", URL_SAFE_NO_PAD.encode("{}"), URL_SAFE_NO_PAD.encode(claims));
        let order = json!([method, path, {"Authorization": token}, body]);
        let told = self.0.stdin.as_mut().expect("open until the end");
        writeln!(told, "{order}").and_then(|()| told.flush()).expect("the client listens");
        let mut status = String::new();
        self.1.read_line(&mut status).expect("the client answers");
        assert!(status.starts_with('2'), "{method} {path}: {status}");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_rules_remember_outlives_the_daemon() {
    const OWNER: &str = "ada@example.com";
    let world = World::start("restart");
    let folder = world.folder().display().to_string();
    fs::write(world.path("restart.toml"), PACK).expect("the scratch folder is writable");
    let config = world.path("agentward.toml");
    let text = format!(
        "scope = \"match\"\nno_builtin = true\nstate_dir = \"{folder}/state\"\nsocket = \"{folder}/socket\"\nrules = [\"{folder}/restart.toml\"]\n\
         [match]\nargv = [\"*clients/told.py\"]\n[[sink]]\ntype = \"file\"\nname = \"alerts\"\npath = \"{folder}/alerts.jsonl\"\n"
    );
    fs::write(&config, text).expect("the scratch folder is writable");
    let start = || Daemon::start(&["run", "--config", config.to_str().expect("test files have plain names")]);
    let told = || -> BTreeSet<String> {
        let text = fs::read_to_string(world.path("alerts.jsonl")).unwrap_or_default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let id = |alert: &Value| alert["rule"]["id"].as_str().filter(|id| id.starts_with("restart.")).map(str::to_owned);
        json_lines(whole).iter().filter_map(id).collect()
    };

    let daemon = start();
    let mut client = Client::start(&world);
    // Who talks to a model is an agent, known by the time of its start.
    let said = json!([{"role": "user", "content": "Look after my orders."}]);
    client.ask(OWNER, "POST", "/v1/chat/completions", &json!({"model": "gpt-5", "messages": said}));
    for _ in 0..2 {
        client.ask(OWNER, "GET", "/v1/orders/1001", &Value::Null);
    }
    // The alert of a request that needs nothing says that those before it were judged.
    client.ask(OWNER, "POST", "/v1/orders/2002/refunds", &json!({"amount": 1}));
    wait_for("the first daemon to have judged", || told().contains("restart.needs").then_some(()));
    assert_eq!(told(), BTreeSet::from(["restart.needs".to_owned()]));
    daemon.stop();

    let daemon = start();
    client.ask("mallory@example.net", "POST", "/v1/orders/1001/refunds", &json!({"amount": 25}));
    client.ask(OWNER, "POST", "/echo", &json!({"text": format!("send it to {OWNER}")}));
    client.ask(OWNER, "GET", "/v1/orders/1001", &Value::Null);
    let wanted = ["count", "flow", "needs", "owned", "seen", "sequence"].map(|block| format!("restart.{block}"));
    wait_for("an alert of each block", || (told() == BTreeSet::from(wanted.clone())).then_some(()));
    let rows = json_lines(&fs::read_to_string(world.path("alerts.jsonl")).expect("it was read before"));
    let needs = rows.iter().filter(|row| row["rule"]["id"] == "restart.needs" && row["object"]["id"] == "1001").count();
    assert_eq!(needs, 0, "the read before the restart was forgotten");
    daemon.stop();
    eprintln!("count, sequence, needs, owned, flow and seen() go on after a restart");
}
