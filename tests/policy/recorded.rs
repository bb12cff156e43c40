//! Packs on recorded traffic, where a step is judged twice: when it is asked and when it is answered.

use std::fmt::Write;
use std::sync::Arc;

use agent_tests::scenes::alerts;
use agentward::decide::RuleSet;
use agentward::decide::pack::read;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

const VOCABULARY: &str = r#"
[pack]
name = "bank"
version = "1"

[[operation]]
id = "transfer.create"
match = "POST api.bank.example/v1/tenants/{tenant}/transfers"
effect = "money"
object = { type = "account", id = "body:/from", tenant = "path:tenant" }
arg = { amount = "body:/amount number", payee = "body:/to" }

[[operation]]
id = "approval.grant"
match = "mcp:elicitation"
effect = "approve"
arg = { decision = "result:/action", amount = "result:/content/amount number", payee = "result:/content/payee" }

[[operation]]
id = "crm.export"
match = "GET crm.bank.example/export"
effect = "read"

[[identity]]
for = "api.bank.example"
user = ["header:x-forwarded-user", "jwt:/sub"]
tenant = ["jwt:/tid", "path:tenant"]
agent = ["jwt:/act/sub"]
scopes = ["jwt:/scp"]
trust_headers_from = ["10.2.0.0/16"]
"#;

/// One agent's traffic, a second from call to call.
#[derive(Default)]
struct Traffic {
    lines: String,
    second: u64,
}

impl Traffic {
    fn record(&mut self, mut record: Value) {
        record["ts"] = json!(1_790_000_000_000_000_000_u64 + self.second * 1_000_000_000);
        record["pid"] = json!(7);
        writeln!(self.lines, "{record}").expect("writing to a String cannot fail");
        self.second += 1;
    }

    fn chunk(&mut self, conn: &str, dir: &str, source: &str, peer: &str, role: &str, text: &str) {
        let mut record = json!({"kind": "chunk", "tid": 7, "conn": conn, "dir": dir, "source": source, "text": text});
        if source != "stdio" {
            record["peer"] = json!(peer);
            record["role"] = json!(role);
        }
        self.record(record);
    }

    /// A call over a connection of its own, with its answer.
    fn call(mut self, line: &str, headers: &str, body: &str, status: u16, answer: &str) -> Traffic {
        let (peer, role) =
            if headers.contains("x-inbound") { ("10.2.3.4:5000", "server") } else { ("93.184.216.34:443", "client") };
        let (host, target) = line
            .split_once(' ')
            .and_then(|(method, rest)| {
                let (host, path) = rest.split_once('/')?;
                Some((host, format!("{method} /{path}")))
            })
            .expect("METHOD host/path");
        let conn = format!("c{}", self.second);
        let (out, back) = if role == "server" { ("in", "out") } else { ("out", "in") };
        let asked = format!(
            "{target} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.chunk(&conn, out, "openssl", peer, role, &asked);
        let answered =
            format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}", answer.len());
        self.chunk(&conn, back, "openssl", peer, role, &answered);
        self
    }

    /// The MCP server asks the user over the pipe, and is answered.
    fn asks_user(mut self, answer: &Value) -> Traffic {
        let line = |value: Value| format!("{value}\n");
        let asked = line(json!({"jsonrpc": "2.0", "id": 9, "method": "elicitation/create", "params": {"message": "Pay?"}}));
        self.chunk("pipe", "in", "stdio", "", "", &asked);
        self.chunk("pipe", "out", "stdio", "", "", &line(json!({"jsonrpc": "2.0", "id": 9, "result": answer})));
        self
    }
}

/// The pack's rule on the traffic: `proof user tenant agent` of each alert.
fn check(rule: &str, traffic: &Traffic, expected: &[&str]) {
    let text = format!("{VOCABULARY}\n[[rule]]\nid = \"r\"\ntitle = \"t\"\nseverity = \"high\"\n{rule}\n");
    let pack = read("bank.toml", &text).unwrap_or_else(|faults| panic!("{}", faults[0]));
    let rules = Arc::new(RuleSet::join(vec![pack]).expect("the pack joins"));
    let exec = json!({"kind": "exec", "ts": 1_789_999_999_000_000_000_u64, "pid": 7, "ppid": 1, "start": 5, "uid": 1000, "exe": "/usr/bin/agent", "argv": ["agent"], "cwd": "/", "cgroup": "/"});
    let recording = format!("{exec}\n{}", traffic.lines);
    let found: Vec<String> = alerts(&rules, &recording)
        .alerts
        .iter()
        .map(|alert| {
            let word = |pointer: &str| alert.actor.pointer(pointer).and_then(|id| id.as_str()).unwrap_or("-").to_owned();
            let agent = word("/agent/id");
            let agent = if agent.contains('@') { "-".into() } else { agent };
            format!("{} {} {} {agent}", alert.proof.name(), word("/user/id"), word("/tenant/id"))
        })
        .collect();
    assert_eq!(found, expected, "{rule}\n{recording}");
}

const TRANSFER: &str = "POST api.bank.example/v1/tenants/t1/transfers";
const BODY: &str = r#"{"from":"a-1","to":"DE1","amount":"2000"}"#;

fn bearer(claims: &Value) -> String {
    format!("authorization: Bearer {}.{}.x\r\n", URL_SAFE_NO_PAD.encode("{}"), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

#[test]
fn approvals_whose_terms_stand_in_the_answer() {
    let rule = "when = 'op == \"transfer.create\" && arg.amount >= 1000.0'\nneeds = { earlier = 'op == \"approval.grant\" && arg.decision == \"accept\"', same = [\"arg.amount\", \"arg.payee\"], within = \"15m\", use_once = true }";
    let yes = json!({"action": "accept", "content": {"amount": 2000.0, "payee": "DE1"}});
    let pay = |traffic: Traffic| traffic.call(TRANSFER, "", BODY, 201, "{}");
    check(rule, &pay(Traffic::default()), &["served - t1 -"]);
    check(rule, &pay(Traffic::default().asks_user(&yes)), &[]);
    check(rule, &pay(Traffic::default().asks_user(&json!({"action": "decline"}))), &["served - t1 -"]);
    check(rule, &pay(pay(Traffic::default().asks_user(&yes))), &["served - t1 -"]);
    // The same call again is the same transfer.
    let key = "idempotency-key: k-1\r\n";
    let again = Traffic::default().asks_user(&yes).call(TRANSFER, key, BODY, 503, "{}").call(TRANSFER, key, BODY, 201, "{}");
    check(rule, &again, &[]);
}

/// A payment that is tried again is one payment; another one under the same key is not.
#[test]
fn what_is_sent_again_is_served_once() {
    let rule = "when = 'op == \"transfer.create\" && status < 300'\ncount = { by = [\"op\"], within = \"1h\", over = 1 }";
    let key = "idempotency-key: k-1\r\n";
    let pay = |traffic: Traffic, headers: &str, body: &str| traffic.call(TRANSFER, headers, body, 201, "{}");
    let once = |headers: &str| pay(Traffic::default(), headers, BODY);
    check(rule, &pay(once(key), key, BODY), &[]);
    check(rule, &pay(once(""), "", BODY), &["served - t1 -"]);
    check(rule, &pay(once(key), key, &BODY.replace("DE1", "DE2")), &["served - t1 -"]);
}

/// The first look at an object already shows whose it is.
#[test]
fn an_answer_that_names_another_owner_is_told_once() {
    let rule = "when = 'has(user.id)'\nowned = { object = \"*\", by = \"user.id\", unknown = \"ignore\" }";
    let token = bearer(&json!({"sub": "u-1"}));
    let look = |traffic: Traffic, owner: &str, status: u16| {
        traffic.call("GET shop.example/v1/orders/17", &token, "", status, &json!({"id": "17", "owner_id": owner}).to_string())
    };
    check(rule, &look(Traffic::default(), "u-2", 200), &["served u-1 - -"]);
    check(rule, &look(Traffic::default(), "u-2", 403), &[]);
    check(rule, &look(look(Traffic::default(), "u-1", 200), "u-1", 200), &[]);
    check(rule, &look(look(Traffic::default(), "u-2", 200), "u-2", 200), &["served u-1 - -"]);
}

#[test]
fn what_an_api_answered_turns_up_elsewhere() {
    let rule = "flow = { from = 'op == \"crm.export\"', to = '!host_in(http.host, [\"*.bank.example\"])', within = \"2h\", overlap = 2 }";
    let export = |traffic: Traffic| {
        traffic.call(
            "GET crm.bank.example/export",
            "",
            "",
            200,
            r#"{"items":[{"iban":"DE89370400440532013000","mail":"ann@shop.example"}]}"#,
        )
    };
    let sent = r#"{"text":"DE89370400440532013000 ann@shop.example"}"#;
    check(rule, &export(Traffic::default()).call("POST paste.example/new", "", sent, 200, "{}"), &["served - - -"]);
    check(rule, &export(Traffic::default()).call("POST paste.example/new", "", sent, 403, "{}"), &["attempted - - -"]);
    check(rule, &export(Traffic::default()).call("POST ledger.bank.example/new", "", sent, 200, "{}"), &[]);
    check(rule, &Traffic::default().call("POST paste.example/new", "", sent, 200, "{}"), &[]);
}

#[test]
fn who_acts_is_said_by_the_sources_of_the_host() {
    let rule = "when = 'op == \"transfer.create\" && has_scope(\"pay\")'";
    let token = bearer(&json!({"sub": "u-1", "tid": "t1", "act": {"sub": "bot"}, "scp": ["pay"]}));
    check(rule, &Traffic::default().call(TRANSFER, &token, BODY, 201, "{}"), &["served u-1 t1 bot"]);
    // A forwarded user counts before the token only where its network is trusted.
    let forged = format!("{token}x-forwarded-user: boss\r\n");
    check(rule, &Traffic::default().call(TRANSFER, &forged, BODY, 201, "{}"), &["served u-1 t1 bot"]);
    let gateway = format!("{forged}x-inbound: 1\r\n");
    check(rule, &Traffic::default().call(TRANSFER, &gateway, BODY, 201, "{}"), &["served boss t1 bot"]);
    let other = bearer(&json!({"sub": "u-1", "tid": "t2", "act": {"sub": "bot"}, "scp": "pay read"}));
    let crosses = "when = 'op == \"transfer.create\" && tenant.conflict && status < 400'";
    check(crosses, &Traffic::default().call(TRANSFER, &other, BODY, 201, "{}"), &["served u-1 t2 bot"]);
    check(crosses, &Traffic::default().call(TRANSFER, &token, BODY, 201, "{}"), &[]);
}

#[test]
fn what_is_remembered_has_a_kind_of_its_own() {
    let rule = "when = 'kind == \"memory.write\" && effect == \"write\"'";
    let upsert = r#"{"vectors":[{"id":"1","values":[0.1]}]}"#;
    check(rule, &Traffic::default().call("POST index.pinecone.io/vectors/upsert", "", upsert, 200, "{}"), &["served - - -"]);
    check(rule, &Traffic::default().call("POST index.pinecone.io/query", "", upsert, 200, "{}"), &[]);
    let tool = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"save_memory","arguments":{"text":"x"}}}"#;
    let done = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#;
    check(rule, &Traffic::default().call("POST mcp.example/mcp", "", tool, 200, done), &["served - - -"]);
    check(rule, &Traffic::default().call("POST mcp.example/mcp", "", &tool.replace("save", "search"), 200, done), &[]);
}

/// A good and a bad run of each pack's use: what the model decides, and the calls that follow.
#[test]
fn every_pack_tells_a_bad_run_from_a_good_one() {
    let yes = json!({"action": "accept", "content": {"amount": 2000, "payee": "DE1"}});
    let clerk = bearer(&json!({"sub": "u-1"}));
    let transfer = |run: Run| {
        run.api(
            "POST api.bank.example/v1/tenants/t1/transfers",
            &clerk,
            r#"{"from_account":"A9","to":"DE1","amount":2000}"#,
            "{}",
        )
    };
    let accounts = |run: Run| {
        run.api("GET api.bank.example/v1/tenants/t1/accounts", &clerk, "", r#"{"items":[{"id":"A9","owner_id":"u-1"}]}"#)
    };
    let swap = |run: Run| run.api("POST api.telco.example/v1/lines/17/sim-swaps", "", "{}", "{}");
    let refund = |run: Run, amount: u32| {
        run.api("POST api.shop.example/v1/orders/77/refunds", "", &format!("{{\"amount\":{amount}}}"), "{}")
    };
    let order = |run: Run| run.api("POST erp.firm.example/v1/purchase-orders", "", r#"{"number":"P-7","total":4000}"#, "{}");
    let approve = |run: Run, who: &str| run.api("POST erp.firm.example/v1/purchase-orders/P-7/approvals", who, "{}", "{}");
    let other = bearer(&json!({"sub": "u-2", "azp": "approver"}));
    for (pack, run, expected) in [
        ("banking", transfer(Run::new("pay_bill")), vec!["bank.account-never-shown", "bank.transfer-without-approval"]),
        ("banking", transfer(accounts(Run::new("pay_bill")).asks_user(&yes)), vec![]),
        ("telecom", swap(Run::new("swap_sim")), vec!["telco.swap-unidentified"]),
        ("telecom", swap(Run::new("swap_sim").api("POST api.telco.example/v1/lines/17/identifications", "", "{}", "{}")), vec![]),
        ("customer-support", refund(Run::new("refund"), 900), vec!["support.refund-limit", "support.refund-unseen"]),
        (
            "customer-support",
            refund(Run::new("refund").api("GET api.shop.example/v1/orders/77", "", "", r#"{"id":"77"}"#), 90),
            vec![],
        ),
        ("procurement", approve(order(Run::new("buy")), ""), vec!["purchase.own-approval"]),
        ("procurement", approve(order(Run::new("buy")), &other), vec![]),
        (
            "it-operations",
            Run::new("look").tool("run_command", &json!({"command": "rm -rf /var/lib"})),
            vec!["ops.destructive-command"],
        ),
        ("it-operations", Run::new("look").tool("run_command", &json!({"command": "ls -l"})), vec![]),
        ("security-operations", Run::new("look").tool("close_alert", &json!({"id": "5"})), vec!["soc.closed-unread"]),
        (
            "security-operations",
            Run::new("look").tool("get_alert", &json!({"id": "5"})).tool("close_alert", &json!({"id": "5"})),
            vec![],
        ),
        (
            "software-development",
            Run::new("look")
                .tool("run_tests", &json!({}))
                .tool("push_commits", &json!({"branch": "main"}))
                .tool("merge_pull_request", &json!({"id": "1"})),
            vec!["code.merged-untested", "code.protected-branch"],
        ),
        (
            "software-development",
            Run::new("look")
                .tool("push_commits", &json!({"branch": "fix"}))
                .tool("run_tests", &json!({}))
                .tool("merge_pull_request", &json!({"id": "1"})),
            vec![],
        ),
        (
            "multi-agent-workflow",
            Run::new("look").tool("publish_article", &json!({"article": "7"})),
            vec!["agents.published-unreviewed"],
        ),
        (
            "multi-agent-workflow",
            Run::new("look")
                .tool("submit_review", &json!({"article": "7", "verdict": "accept"}))
                .tool("publish_article", &json!({"article": "7"})),
            vec![],
        ),
    ] {
        let file = format!("{}/../rules/{pack}/{pack}.toml", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&file).expect("a pack");
        let packs = vec![read(&file, &text).unwrap_or_else(|faults| panic!("{}", faults[0]))];
        let rules = Arc::new(RuleSet::join(packs).expect("the pack joins"));
        let recording = run.recording();
        let mut found: Vec<String> = alerts(&rules, &recording).alerts.iter().map(|alert| alert.rule.id.to_string()).collect();
        found.sort();
        found.dedup();
        assert_eq!(found, expected, "{pack}\n{recording}");
    }
}

/// A conversation with its calls.
struct Run {
    traffic: Traffic,
    messages: Vec<Value>,
}

impl Run {
    /// The user asks, and the model decides for a tool whose calls follow.
    fn new(tool: &str) -> Run {
        let ask = json!({"role": "user", "content": "Please do what is needed for case 4711."});
        Run { traffic: Traffic::default(), messages: vec![ask] }.tool(tool, &json!({}))
    }

    /// The model decides for a call, whose result the next request carries.
    fn tool(mut self, tool: &str, arguments: &Value) -> Run {
        let id = format!("call_{}", self.messages.len());
        let function = json!({"name": tool, "arguments": arguments.to_string()});
        let said =
            json!({"role": "assistant", "content": null, "tool_calls": [{"id": id, "type": "function", "function": function}]});
        let asked = json!({"model": "gpt-5", "messages": self.messages}).to_string();
        let answer = json!({"id": id, "object": "chat.completion", "model": "gpt-5", "choices": [{"index": 0, "finish_reason": "tool_calls", "message": said}]});
        self.traffic = self.traffic.call("POST api.openai.com/v1/chat/completions", "", &asked, 200, &answer.to_string());
        self.messages.push(said);
        self.messages.push(json!({"role": "tool", "tool_call_id": id, "content": "done"}));
        self
    }

    fn api(mut self, line: &str, headers: &str, body: &str, answer: &str) -> Run {
        self.traffic = self.traffic.call(line, headers, body, 200, answer);
        self
    }

    fn asks_user(mut self, answer: &Value) -> Run {
        self.traffic = self.traffic.asks_user(answer);
        self
    }

    fn recording(&self) -> String {
        let exec = json!({"kind": "exec", "ts": 1_789_999_999_000_000_000_u64, "pid": 7, "ppid": 1, "start": 5, "uid": 1000, "exe": "/usr/bin/agent", "argv": ["agent"], "cwd": "/", "cgroup": "/"});
        format!("{exec}\n{}", self.traffic.lines)
    }
}
