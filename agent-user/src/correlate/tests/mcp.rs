//! Messages of MCP and A2A: what they are, and which belong together though they do not stand together.

use super::{At, World, client};
use crate::base::Direction;
use crate::capture::Source;
use crate::understand::Kind;

#[test]
fn a_call_that_waited_for_the_user_is_one_call_and_an_approval() {
    let mut world = World::default();
    world.exec(20, 1, "/usr/bin/python3", &["python3", "worker.py"]);
    let pipe = At { source: Source::Stdio, ..client(20, "pipe") };
    let call = |id: u32, more: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"pay","arguments":{{"amount":50}}{more}}}}}"#
        )
    };
    let say = |world: &mut World, dir, text: String| world.bytes(&pipe, dir, format!("{text}\n"));
    say(&mut world, Direction::Out, call(1, ""));
    let wants = r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","inputRequests":{"ok":{"method":"elicitation/create","params":{"message":"Pay 50?"}}},"requestState":"st-1"}}"#;
    say(&mut world, Direction::In, wants.to_owned());
    say(
        &mut world,
        Direction::Out,
        call(2, r#","requestState":"st-1","inputResponses":{"ok":{"action":"accept","content":{}}}"#),
    );
    say(&mut world, Direction::In, r#"{"jsonrpc":"2.0","id":2,"result":{"content":[{"type":"text","text":"paid"}]}}"#.to_owned());
    let told: Vec<(String, String)> = world
        .done()
        .iter()
        .map(|step| {
            (
                step.action.op.as_deref().unwrap_or_default().to_owned(),
                step.action.effect.as_deref().unwrap_or_default().to_owned(),
            )
        })
        .collect();
    let wanted = [("mcp:elicitation", "approve"), ("mcp:pay", "money")].map(|(op, effect)| (op.to_owned(), effect.to_owned()));
    assert_eq!(told, wanted);
    let paid = world.find(|step| step.completed && step.action.op.as_deref() == Some("mcp:pay"));
    assert!(paid.action.result.as_ref().is_some_and(|result| result.expose_content().to_json().contains("paid")));
}

/// Over HTTP a server asks in its event streams, and with the SSE transport all its answers stand in one.
#[test]
fn messages_of_mcp_find_each_other_across_exchanges() {
    const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = |event: &str, data: &str| {
        let text = format!("event: {event}\ndata: {data}\n\n");
        format!("{:x}\r\n{text}\r\n", text.len())
    };
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay","arguments":{"amount":50}}}"#;
    let asks = r#"{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"message":"Pay 50?"}}"#;
    let says = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"waiting"}}"#;
    let agreed = r#"{"jsonrpc":"2.0","id":1,"result":{"action":"accept"}}"#;
    let paid = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"paid"}]}}"#;
    let accepted = "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n".to_owned();
    // In a stream of the call's own, or of all calls; that the call arrived is confirmed before its answer, after it, or never.
    for (path, headers, alone, confirmed) in [
        ("/mcp", "mcp-session-id: s1\r\naccept: application/json, text/event-stream\r\n", false, "before"),
        ("/messages?id=7", "", true, "before"),
        ("/messages?id=7", "", true, "after"),
        ("/messages?id=7", "", true, "never"),
    ] {
        let mut world = World::default();
        world.exec(20, 1, "/usr/bin/python3", &["python3", "clerk.py"]);
        let (stream, calls, other) = (client(20, "stream"), client(20, "calls"), client(20, "other"));
        let ask = |world: &mut World, at: &At, body| world.ask(at, "desk.example", path, headers, body);
        if alone {
            let head = "GET /sse HTTP/1.1\r\nhost: desk.example\r\naccept: text/event-stream\r\n\r\n";
            world.bytes(&stream, Direction::Out, head.to_owned());
            world.bytes(&stream, Direction::In, format!("{EVENTS}{}", chunk("endpoint", path)));
            ask(&mut world, &calls, call);
            if confirmed == "before" {
                world.bytes(&calls, Direction::In, accepted.clone());
            }
        } else {
            ask(&mut world, &stream, call);
            world.bytes(&stream, Direction::In, EVENTS.to_owned());
        }
        world.bytes(&stream, Direction::In, chunk("message", says));
        world.bytes(&stream, Direction::In, chunk("message", asks));
        ask(&mut world, &other, agreed);
        world.bytes(&other, Direction::In, accepted.clone());
        world.bytes(&stream, Direction::In, format!("{}0\r\n\r\n", chunk("message", paid)));
        if alone && confirmed == "after" {
            world.bytes(&calls, Direction::In, accepted.clone());
        }
        world.end();
        // The stream of the SSE transport stays an API call of its own.
        let mut told = Vec::new();
        for step in world.done().iter().filter(|step| step.action.op.as_deref() != Some("GET desk.example/sse")) {
            let result = step.action.result.as_ref().map(|result| result.expose_content().to_json());
            told.push((step.action.op.as_deref().unwrap_or_default(), result));
        }
        let wanted = [
            ("mcp:notifications/message", None),
            ("mcp:elicitation", Some(r#"{"action":"accept"}"#.to_owned())),
            ("mcp:pay", Some(r#"{"content":[{"type":"text","text":"paid"}]}"#.to_owned())),
        ];
        assert_eq!(told, wanted, "{path} {confirmed}");
    }
}

/// Methods that both protocols have, and A2A without JSON-RPC. Who wants a login of its client has approved nothing.
#[test]
fn calls_of_other_agents_are_told_from_those_of_tools() {
    let pipe = At { source: Source::Stdio, ..client(20, "pipe") };
    let https = client(20, "https");
    let rpc = |method: &str, params: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
    let message = r#"{"message":{"role":"ROLE_USER","messageId":"m","parts":[{"text":"pay"}]}}"#;
    let login = r#"{"task":{"id":"t","status":{"state":"TASK_STATE_AUTH_REQUIRED"}}}"#;
    let result = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{login}}}"#);
    for (path, asked, answered, kind, op, effect) in [
        ("", rpc("tasks/get", r#"{"taskId":"t"}"#), &*result, Kind::McpRequest, "mcp:tasks/get", "read"),
        ("/a2a", rpc("tasks/get", r#"{"id":"t"}"#), &*result, Kind::A2aRequest, "a2a:tasks/get", "read"),
        ("/a2a", rpc("SendMessage", message), &*result, Kind::A2aRequest, "a2a:SendMessage", "egress"),
        ("/v1/message:send", message.to_owned(), login, Kind::A2aRequest, "a2a:message/send", "egress"),
        (
            "/v1/message:send",
            r#"{"text":"pay"}"#.to_owned(),
            "{}",
            Kind::ApiRequest,
            "POST desk.example/v1/message:send",
            "egress",
        ),
    ] {
        let mut world = World::default();
        if path.is_empty() {
            world.bytes(&pipe, Direction::Out, format!("{asked}\n"));
            world.bytes(&pipe, Direction::In, format!("{answered}\n"));
        } else {
            world.ask(&https, "desk.example", path, "", &asked);
            world.answer(&https, answered);
        }
        let done = world.done();
        let told: Vec<_> = done
            .iter()
            .map(|step| (step.action.kind, step.action.op.as_deref().unwrap_or_default(), step.action.effect.as_deref()))
            .collect();
        assert_eq!(told, [(kind, op, Some(effect))], "{path}");
    }
}
