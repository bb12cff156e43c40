//! Whole runs through the stages up to this one, as capture hands them on: who belongs to which workflow, and why.

mod mcp;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;

use super::{Correlate, Correlated, Step};
use crate::base::{ConnId, Direction, LossCause, Sensitive, Timestamp};
use crate::capture::{Chunk, Exec, FileEffect, FileOp, Loss, Observation, Role, Seen, Socket, SocketOp, Source};
use crate::decode::Decode;
use crate::reassemble::Reassemble;
use crate::understand::{Kind, Understand};

/// The stages, and a clock that each record moves.
#[derive(Default)]
struct World {
    reassemble: Reassemble,
    decode: Decode,
    understand: Understand,
    correlate: Correlate,
    now: u64,
    steps: Vec<Step>,
}

/// One end of a connection.
#[derive(Clone)]
struct At {
    pid: u32,
    conn: String,
    role: Role,
    source: Source,
    local: Option<&'static str>,
    peer: Option<&'static str>,
}

fn client(pid: u32, conn: impl Into<String>) -> At {
    At { pid, conn: conn.into(), role: Role::Client, source: Source::Openssl, local: None, peer: None }
}

fn server(pid: u32, conn: impl Into<String>) -> At {
    At { role: Role::Server, ..client(pid, conn) }
}

impl World {
    fn see(&mut self, what: Seen) {
        self.now += 1_000_000;
        let ts = Timestamp(1_790_000_000_000_000_000 + self.now);
        let (mut streams, mut events, mut drafts, mut out) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        self.reassemble.push(Observation { ts, what }, &mut streams);
        streams.into_iter().for_each(|event| self.decode.push(event, &mut events));
        events.into_iter().for_each(|event| self.understand.push(event, &mut drafts));
        drafts.into_iter().for_each(|draft| self.correlate.push(draft, &mut out));
        self.take(out);
    }

    /// The input ends.
    fn end(&mut self) {
        let (mut events, mut drafts, mut out) = (Vec::new(), Vec::new(), Vec::new());
        let now = Timestamp(1_790_000_000_000_000_000 + self.now);
        self.decode.finish(now, &mut events);
        events.into_iter().for_each(|event| self.understand.push(event, &mut drafts));
        self.understand.finish(now, &mut drafts);
        drafts.into_iter().for_each(|draft| self.correlate.push(draft, &mut out));
        self.take(out);
    }

    fn take(&mut self, out: Vec<Correlated>) {
        for correlated in out {
            if let Correlated::Step(step) = correlated {
                self.steps.push(*step);
            }
        }
    }

    fn bytes(&mut self, at: &At, dir: Direction, text: String) {
        self.see(Seen::Chunk(Chunk {
            pid: at.pid,
            tid: None,
            conn: ConnId(at.conn.as_str().into()),
            dir,
            off: None,
            data: Sensitive::new(Bytes::from(text)),
            source: at.source,
            sni: None,
            peer: at.peer.map(Arc::from),
            local: at.local.map(Arc::from),
            role: Some(at.role),
        }));
    }

    fn ask(&mut self, at: &At, host: &str, path: &str, headers: &str, body: &str) {
        let dir = if at.role == Role::Client { Direction::Out } else { Direction::In };
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\n{headers}content-type: application/json\r\ncontent-length: {}",
            body.len()
        );
        self.bytes(at, dir, format!("{head}\r\n\r\n{body}"));
    }

    fn answer(&mut self, at: &At, body: &str) {
        let dir = if at.role == Role::Client { Direction::In } else { Direction::Out };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}", body.len());
        self.bytes(at, dir, format!("{head}\r\n\r\n{body}"));
    }

    /// A model call: the conversation so far in, and a tool call (id, name, arguments as JSON) or text out.
    fn model(&mut self, at: &At, messages: &[String], call: Option<(&str, &str, &str)>) -> String {
        self.ask(
            at,
            "api.openai.com",
            "/v1/chat/completions",
            "",
            &format!(r#"{{"model":"gpt-5","messages":[{}]}}"#, messages.join(",")),
        );
        let message = match call {
            Some((id, name, arguments)) => format!(
                r#"{{"role":"assistant","content":null,"tool_calls":[{{"id":"{id}","type":"function","function":{{"name":"{name}","arguments":"{}"}}}}]}}"#,
                arguments.replace('"', "\\\"")
            ),
            None => r#"{"role":"assistant","content":"Done, all of it."}"#.to_owned(),
        };
        let stop = if call.is_some() { "tool_calls" } else { "stop" };
        self.answer(
            at,
            &format!(r#"{{"id":"x","model":"gpt-5","choices":[{{"index":0,"finish_reason":"{stop}","message":{message}}}]}}"#),
        );
        message
    }

    fn exec(&mut self, pid: u32, parent: u32, exe: &str, argv: &[&str]) {
        let argv = Sensitive::new(argv.iter().map(|word| Arc::from(*word)).collect());
        self.see(Seen::Exec(Exec {
            pid,
            ppid: Some(parent),
            start: Some(u64::from(pid)),
            exe: exe.into(),
            argv,
            ..Exec::default()
        }));
    }

    /// Completed steps, the last state of each.
    fn done(&self) -> Vec<&Step> {
        self.steps.iter().filter(|step| step.completed).collect()
    }

    fn find(&self, what: impl Fn(&Step) -> bool) -> &Step {
        self.steps.iter().rev().find(|step| what(step)).expect("the run has that step")
    }
}

fn user(text: &str) -> String {
    format!(r#"{{"role":"user","content":"{text}"}}"#)
}

fn result(id: &str, text: &str) -> String {
    format!(r#"{{"role":"tool","tool_call_id":"{id}","content":"{text}"}}"#)
}

/// Ten conversations that begin with the same words, step by step in turns; the order number tells whose a step is.
fn concurrent(process_of: impl Fn(usize) -> u32) -> (usize, usize) {
    const ROUNDS: usize = 12;
    let mut world = World::default();
    (0..10).for_each(|number| world.exec(process_of(number), 1, "/usr/bin/python3", &["python3", "agent.py"]));
    let mut histories: Vec<Vec<String>> = (0..10).map(|_| vec![user("Please refund the open orders.")]).collect();
    let mut owner: BTreeMap<String, usize> = BTreeMap::new();
    for round in 0..ROUNDS {
        let orders: Vec<String> = (0..10).map(|number| format!("{}", 70_000 + number * 100 + round)).collect();
        for (number, order) in orders.iter().enumerate() {
            owner.insert(order.clone(), number);
            let at = client(process_of(number), format!("m{number}-{round}"));
            let call = (format!("call_{order}"), format!(r#"{{"order_id":"{order}","amount":5}}"#));
            let message = world.model(&at, &histories[number], Some((&call.0, "refund_order", &call.1)));
            histories[number].push(message);
        }
        for (number, order) in orders.iter().enumerate() {
            let at = client(process_of(number), format!("s{number}-{round}"));
            world.ask(&at, "shop.example", &format!("/v1/orders/{order}/refunds"), "", r#"{"amount":5}"#);
        }
        for (number, order) in orders.iter().enumerate().rev() {
            let at = client(process_of(number), format!("s{number}-{round}"));
            world.answer(&at, &format!(r#"{{"refunded":"{order}"}}"#));
            histories[number].push(result(&format!("call_{order}"), &format!("refunded {order}")));
        }
    }
    for (number, history) in histories.iter().enumerate() {
        world.model(&client(process_of(number), format!("end{number}")), history, None);
    }
    // Whose a step is, by what it says itself.
    let mut workflow_of: BTreeMap<usize, BTreeSet<u64>> = BTreeMap::new();
    let mut belongs = Vec::new();
    for step in world.done() {
        let text = format!(
            "{} {} {:?}",
            step.action.arg.expose_content().to_json(),
            step.action.result.as_ref().map(|result| result.expose_content().to_json()).unwrap_or_default(),
            step.action.http.as_ref().map(|http| http.path.clone()),
        );
        let llm = step.action.llm.as_deref().map(|llm| {
            let said = llm.messages.iter().map(|message| message.text.expose_content().to_string());
            let calls = llm.tool_calls.iter().map(|call| call.arguments.expose_content().to_json());
            said.chain(calls).collect::<Vec<_>>().join(" ")
        });
        let text = format!("{text} {}", llm.unwrap_or_default());
        if let Some((_, number)) = owner.iter().find(|(order, _)| text.contains(order.as_str())) {
            workflow_of.entry(*number).or_default().insert(step.workflow.0);
            belongs.push((*number, step.workflow.0));
        }
    }
    let main: BTreeMap<usize, u64> = workflow_of
        .iter()
        .map(|(number, ids)| {
            let most = ids.iter().max_by_key(|id| belongs.iter().filter(|(other, of)| other == number && of == *id).count());
            (*number, *most.expect("a set that was inserted into"))
        })
        .collect();
    let apart = main.values().collect::<BTreeSet<_>>().len();
    assert_eq!(apart, 10, "each conversation has a workflow of its own");
    let wrong = belongs.iter().filter(|(number, workflow)| main[number] != *workflow).count();
    (belongs.len(), wrong)
}

#[test]
fn ten_conversations_at_once_are_kept_apart() {
    let (one, wrong) = concurrent(|_| 100);
    let (ten, wrong_of_ten) = concurrent(|number| 100 + number as u32);
    println!("in one process {wrong} of {one} steps in the wrong workflow, in ten processes {wrong_of_ten} of {ten}");
    assert!(one + ten >= 1_000, "{one} + {ten}");
    assert_eq!((wrong, wrong_of_ten), (0, 0));
}

#[test]
fn a_chain_over_agents_servers_shells_and_files_is_one_workflow() {
    let mut world = World::default();
    world.exec(10, 1, "/usr/bin/python3", &["python3", "planner.py"]);
    world.exec(20, 1, "/usr/bin/python3", &["python3", "worker.py"]);
    world.exec(30, 20, "/usr/bin/node", &["node", "mcp-server.js"]);
    let (a, b) = (client(10, "a-llm"), client(20, "b-llm"));
    let first = [user("Have the report for March written.")];
    let decided = world.model(&a, &first, Some(("call_ask_worker", "ask_worker", r#"{"task":"write report march"}"#)));
    // A speaks to B; both ends are captured.
    let mut out =
        At { source: Source::Plain, local: Some("127.0.0.1:41000"), peer: Some("127.0.0.1:8000"), ..client(10, "a2a-out") };
    let mut came =
        At { source: Source::Plain, local: Some("127.0.0.1:8000"), peer: Some("127.0.0.1:41000"), ..server(20, "a2a-in") };
    out.role = Role::Client;
    came.role = Role::Server;
    let message = r#"{"jsonrpc":"2.0","id":"1","method":"message/send","params":{"message":{"role":"user","messageId":"m1","parts":[{"kind":"text","text":"write report march"}]}}}"#;
    world.ask(&out, "127.0.0.1:8000", "/a2a", "", message);
    world.ask(&came, "127.0.0.1:8000", "/a2a", "", message);
    let order = [user("write report march")];
    world.model(&b, &order, Some(("call_write_report", "run_report", r#"{"path":"/srv/report-march.txt"}"#)));
    // B's MCP server, on its standard input.
    let pipe = |pid, role| At { pid, conn: format!("pipe-{pid}"), role, source: Source::Stdio, local: None, peer: None };
    let call = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"run_report","arguments":{"path":"/srv/report-march.txt"}}}"#;
    world.bytes(&pipe(20, Role::Client), Direction::Out, format!("{call}\n"));
    world.bytes(&pipe(30, Role::Server), Direction::In, format!("{call}\n"));
    world.exec(40, 30, "/bin/sh", &["sh", "-c", "make-report > /srv/report-march.txt"]);
    world.see(Seen::File(FileEffect { pid: 40, op: FileOp::Create, path: "/srv/report-march.txt".into(), to: None }));
    let answered = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"written"}]}}"#;
    world.bytes(&pipe(30, Role::Server), Direction::Out, format!("{answered}\n"));
    world.bytes(&pipe(20, Role::Client), Direction::In, format!("{answered}\n"));
    let reply = r#"{"jsonrpc":"2.0","id":"1","result":{"kind":"message","parts":[{"kind":"text","text":"written"}]}}"#;
    world.answer(&came, reply);
    world.answer(&out, reply);
    world.model(&a, &[first[0].clone(), decided, result("call_ask_worker", "written")], None);

    let step =
        |kind: Kind, pid: u32| world.find(|step| step.action.kind == kind && step.action.process.pid == pid && step.completed);
    let chain = [
        (Kind::LlmResponse, 10, "answer", (Kind::LlmRequest, 10)),
        (Kind::ToolCall, 10, "declared_tool_call", (Kind::LlmResponse, 10)),
        (Kind::A2aRequest, 10, "same_arguments", (Kind::ToolCall, 10)),
        (Kind::A2aRequest, 20, "same_socket", (Kind::A2aRequest, 10)),
        (Kind::LlmRequest, 20, "serving_request", (Kind::A2aRequest, 20)),
        (Kind::ToolCall, 20, "declared_tool_call", (Kind::LlmResponse, 20)),
        (Kind::McpRequest, 20, "same_arguments", (Kind::ToolCall, 20)),
        (Kind::McpRequest, 30, "same_bytes", (Kind::McpRequest, 20)),
        (Kind::ProcessExec, 40, "serving_request", (Kind::McpRequest, 30)),
        (Kind::FileWrite, 40, "child_process", (Kind::ProcessExec, 40)),
    ];
    for (kind, pid, why, (from, of)) in chain {
        let found = if kind == Kind::LlmResponse {
            world.steps.iter().find(|step| step.action.kind == kind && step.action.process.pid == pid).expect("answered")
        } else {
            step(kind, pid)
        };
        let causes: Vec<_> = found.causes.iter().map(|cause| (cause.action, cause.why)).collect();
        let wanted = world
            .steps
            .iter()
            .any(|cause| cause.action.kind == from && cause.action.process.pid == of && causes.contains(&(cause.action.id, why)));
        assert!(wanted, "{} of {pid}: {causes:?}", kind.name());
    }
    let workflows: BTreeSet<u64> = world.done().iter().map(|step| step.workflow.0).collect();
    assert_eq!(workflows.len(), 1, "one workflow: {workflows:?}");
    assert_eq!(step(Kind::FileWrite, 40).declared, Some(true));
}

#[test]
fn an_effect_that_nobody_announced_is_marked() {
    let mut world = World::default();
    world.exec(10, 1, "/usr/bin/python3", &["python3", "agent.py"]);
    world.model(&client(10, "m"), &[user("What is the weather?")], None);
    world.exec(11, 10, "/bin/sh", &["sh", "-c", "curl evil.example"]);
    world.see(Seen::File(FileEffect { pid: 11, op: FileOp::Create, path: "/tmp/x".into(), to: None }));
    for kind in [Kind::ProcessExec, Kind::FileWrite] {
        assert_eq!(world.find(|step| step.action.kind == kind).declared, Some(false), "{}", kind.name());
    }
}

#[test]
fn a_blind_spot_is_a_step_of_its_process_and_no_hole_in_what_is_seen() {
    let mut world = World::default();
    world.exec(10, 1, "/usr/bin/python3", &["python3", "agent.py"]);
    let conn = Some(ConnId("10-fd3-1".into()));
    let peer = Some(Arc::from("192.0.2.1:443"));
    world.see(Seen::Socket(Socket { pid: 10, fd: Some(3), op: SocketOp::Connect, local: None, peer, conn: conn.clone() }));
    let mut lose = |cause, conn| {
        world.see(Seen::Loss(Loss { cause, count: 1, pid: Some(10), conn, dir: None, bytes: Some(900) }));
    };
    lose(LossCause::RingFull, None);
    lose(LossCause::blind("tls", "api.test"), conn);
    lose(LossCause::blind("probe_changed", "SSL_write in /lib/libssl.so.3"), None);
    let found: Vec<String> = world
        .steps
        .iter()
        .map(|step| {
            assert_eq!((step.action.kind, step.proc.exe.as_deref()), (Kind::SelfReport, Some("/usr/bin/python3")));
            let object = step.action.object.clone().unwrap_or_default();
            let arg = step.action.arg.expose_content().to_json();
            format!("{} {} {arg}", step.action.op.as_deref().unwrap_or_default(), object.id.as_deref().unwrap_or_default())
        })
        .collect();
    let expected = [
        r#"blind:tls 192.0.2.1:443 {"why":"tls","what":"api.test","peer":"192.0.2.1:443","bytes":900}"#,
        r#"blind:probe_changed SSL_write in /lib/libssl.so.3 {"why":"probe_changed","what":"SSL_write in /lib/libssl.so.3","bytes":900}"#,
    ];
    assert_eq!(found, expected);
    world.bytes(&client(10, "m"), Direction::Out, "GET / HTTP/1.1\r\nhost: a\r\n\r\n".into());
    let incomplete = &world.steps.last().expect("a request").action.incomplete;
    assert!(incomplete.iter().all(|reason| !reason.0.contains("blind")), "{incomplete:?}");
}

#[test]
fn a_confused_deputy_shows_both_identities_and_the_owner() {
    let mut world = World::default();
    world.exec(50, 1, "/usr/bin/python3", &["python3", "assistant.py"]);
    let token = |claims: &str| {
        format!("authorization: Bearer {}.{}.sig\r\n", URL_SAFE_NO_PAD.encode("{}"), URL_SAFE_NO_PAD.encode(claims))
    };
    let door = server(50, "door");
    world.ask(
        &door,
        "assistant.example",
        "/chat",
        &token(r#"{"sub":"u-1","tid":"t-1"}"#),
        r#"{"message":"Cancel invoice 9001 please"}"#,
    );
    world.model(
        &client(50, "m"),
        &[user("Cancel invoice 9001 please")],
        Some(("call_cancel_9001", "cancel_invoice", r#"{"invoice_id":"9001"}"#)),
    );
    let service = token(r#"{"sub":"svc-assistant","azp":"assistant","scope":"invoices:write"}"#);
    let erp = client(50, "erp");
    world.ask(&erp, "erp.example", "/v1/invoices/9001/cancel", &service, "{}");
    world.answer(&erp, r#"{"id":"9001","owner_id":"u-2","status":"cancelled"}"#);
    let step = world.find(|step| step.action.kind == Kind::ApiRequest && !step.action.inbound && step.completed);
    let object = step.action.object.clone().expect("the path names an object");
    assert_eq!(step.asked_by.as_ref().map(|claim| (&*claim.value, &*claim.source)), Some(("u-1", "jwt:/sub")));
    assert_eq!(step.action.identity.user.as_ref().map(|claim| &*claim.value), Some("svc-assistant"));
    assert_eq!(
        (object.kind.as_deref(), object.id.as_deref(), object.owner.as_deref()),
        (Some("invoice"), Some("9001"), Some("u-2"))
    );
    assert_eq!(step.causes.first().map(|cause| cause.why), Some("same_arguments"));
    assert_eq!(world.done().iter().map(|step| step.workflow.0).collect::<BTreeSet<_>>().len(), 1);
}

#[test]
fn answers_that_interleave_on_one_socket_find_their_requests() {
    use crate::base::{ExchangeId, FlowId, ProcessKey};
    use crate::decode::{Body, Frame, HttpEvent, Opcode, Protocol, Request};
    use crate::reassemble::Flow;

    let flow = Arc::new(Flow {
        id: FlowId(1),
        conn: ConnId("ws".into()),
        process: ProcessKey { pid: 9, start: 0 },
        source: Source::Openssl,
        role: Some(Role::Client),
        sni: None,
        peer: None,
        local: None,
    });
    let body = |text: &str| Body {
        kept: Sensitive::new(Bytes::copy_from_slice(text.as_bytes())),
        len: text.len() as u64,
        sha256: [0; 32],
        complete: true,
        json: None,
    };
    let request = Arc::new(Request {
        ts: Timestamp(1),
        method: "GET".into(),
        scheme: "https",
        host: "api.openai.com".into(),
        path: "/v1/responses".into(),
        query: Sensitive::default(),
        headers: Vec::new(),
        body: body(""),
        trailers: Vec::new(),
    });
    let mut understand = Understand::default();
    let mut correlate = Correlate::default();
    let (mut drafts, mut out) = (Vec::new(), Vec::new());
    let id = ExchangeId(1);
    understand.push(HttpEvent::Request { id, flow: flow.clone(), protocol: Protocol::Http11, request }, &mut drafts);
    let asked =
        |lane: &str| format!(r#"{{"type":"response.create","stream_id":"{lane}","model":"gpt-5","input":"task {lane}"}}"#);
    let answer = |lane: &str| {
        format!(
            r#"{{"type":"response.completed","stream_id":"{lane}","response":{{"id":"resp_{lane}","model":"gpt-5","status":"completed","output":[{{"type":"function_call","call_id":"call_{lane}","name":"do_{lane}","arguments":"{{}}"}}],"usage":{{"input_tokens":3,"output_tokens":4}}}}}}"#
        )
    };
    let said = [
        (Direction::Out, asked("a")),
        (Direction::Out, asked("b")),
        (Direction::In, r#"{"type":"response.created","stream_id":"b","response":{"id":"resp_b"}}"#.to_owned()),
        (Direction::In, answer("b")),
        (Direction::In, answer("a")),
    ];
    for (at, (dir, text)) in said.into_iter().enumerate() {
        let frame = Frame::WebSocket { opcode: Opcode::Text, body: body(&text), incomplete: Vec::new() };
        understand.push(HttpEvent::Frame { id, flow: flow.clone(), ts: Timestamp(10 + at as u64), dir, frame }, &mut drafts);
    }
    drafts.into_iter().for_each(|draft| correlate.push(draft, &mut out));
    let steps: Vec<Step> =
        out.into_iter().filter_map(|one| if let Correlated::Step(step) = one { Some(*step) } else { None }).collect();
    for lane in ["a", "b"] {
        let of = |kind: Kind| {
            let about = |step: &&Step| {
                step.action.kind == kind && step.action.llm.as_ref().and_then(|llm| llm.lane.as_deref()) == Some(lane)
            };
            steps.iter().find(about).unwrap_or_else(|| panic!("{} of {lane}", kind.name()))
        };
        let (asked, answered, called) = (of(Kind::LlmRequest), of(Kind::LlmResponse), of(Kind::ToolCall));
        assert_eq!(answered.causes.first().map(|cause| cause.action), Some(asked.action.id), "{lane}");
        assert_eq!(called.causes.first().map(|cause| cause.action), Some(answered.action.id), "{lane}");
        assert_eq!(called.action.tool.as_ref().map(|tool| &*tool.name), Some(&*format!("do_{lane}")));
        assert_eq!((asked.workflow, asked.workflow), (answered.workflow, called.workflow));
    }
}

#[test]
fn what_an_agent_reports_on_its_own_is_outside_of_its_users_workflow() {
    let report = r#"{"dsn":"https://key@o1.ingest.sentry.io/1","text":"order 4711 is paid"}"#;
    for (arguments, own) in [(r#"{"order":"4711"}"#, true), (report, false)] {
        let mut world = World::default();
        let at = client(10, "model");
        world.model(&at, &[user("What about order 4711?")], Some(("call_11", "look", arguments)));
        let other = client(10, "other");
        world.ask(&other, "o1.ingest.sentry.io", "/api/1/envelope/", "", report);
        world.answer(&other, "{}");
        let asked = world.find(|step| step.action.kind == Kind::LlmRequest).workflow;
        let told = world.find(|step| step.completed && step.action.side_call);
        assert_eq!(told.workflow != asked, own, "{arguments}");
        assert_eq!(told.declared, if own { None } else { Some(true) });
    }
}

/// Responses that continue an answer do not repeat its calls.
#[test]
fn a_result_without_its_call_has_the_name_of_its_tool() {
    let mut world = World::default();
    let at = client(10, "model");
    let ask = |world: &mut World, body: &str| world.ask(&at, "api.openai.com", "/v1/responses", "", body);
    ask(&mut world, r#"{"model":"gpt-5","input":"Look it up"}"#);
    world.answer(
        &at,
        r#"{"id":"resp_1","model":"gpt-5","status":"completed","output":[{"type":"function_call","call_id":"call_9","name":"lookup","arguments":"{}"}]}"#,
    );
    ask(
        &mut world,
        r#"{"model":"gpt-5","previous_response_id":"resp_1","input":[{"type":"function_call_output","call_id":"call_9","output":"paid"}]}"#,
    );
    let result = world.find(|step| step.action.kind == Kind::ToolResult);
    assert_eq!(result.action.tool.as_ref().map(|tool| &*tool.name), Some("lookup"));
    assert_eq!(result.causes.first().map(|cause| cause.why), Some("tool_result"));
}
