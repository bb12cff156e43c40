//! Messages of MCP that belong together though they do not stand together.

use super::{At, World, client};
use crate::base::Direction;
use crate::capture::Source;

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
    for (path, headers, alone) in
        [("/mcp", "mcp-session-id: s1\r\naccept: application/json, text/event-stream\r\n", false), ("/messages?id=7", "", true)]
    {
        let mut world = World::default();
        world.exec(20, 1, "/usr/bin/python3", &["python3", "clerk.py"]);
        let (stream, other) = (client(20, "stream"), client(20, "other"));
        let ask = |world: &mut World, at: &At, body| world.ask(at, "desk.example", path, headers, body);
        if alone {
            let head = "GET /sse HTTP/1.1\r\nhost: desk.example\r\naccept: text/event-stream\r\n\r\n";
            world.bytes(&stream, Direction::Out, head.to_owned());
            world.bytes(&stream, Direction::In, format!("{EVENTS}{}", chunk("endpoint", path)));
            ask(&mut world, &other, call);
            world.bytes(&other, Direction::In, accepted.clone());
        } else {
            ask(&mut world, &stream, call);
            world.bytes(&stream, Direction::In, EVENTS.to_owned());
        }
        world.bytes(&stream, Direction::In, chunk("message", says));
        world.bytes(&stream, Direction::In, chunk("message", asks));
        ask(&mut world, &other, agreed);
        world.bytes(&other, Direction::In, accepted.clone());
        world.bytes(&stream, Direction::In, format!("{}0\r\n\r\n", chunk("message", paid)));
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
        assert_eq!(told, wanted, "{path}");
    }
}
