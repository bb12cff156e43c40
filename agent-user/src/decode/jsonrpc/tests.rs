use super::super::Engine;
use super::super::testing::{Step, events, in_all_pieces, incoming, lines, out, split_everywhere};
use super::*;

fn engine() -> Option<Engine> {
    Some(Engine::Jsonrpc(Box::default()))
}

/// What is shown of a message: its method or `-`, and its bytes.
fn check(steps: &[Step], expected: &[&str]) {
    assert_eq!(in_all_pieces(engine, steps, 30), expected);
}

#[test]
fn messages_of_a_text() {
    let read = |text: &str| {
        let value = json::parse(text.as_bytes()).value.expect("JSON");
        messages(&value).iter().map(|message| format!("{message:?}")).collect::<Vec<_>>()
    };
    let kinds = |text: &str| read(text).iter().map(|shown| shown.split(' ').next().unwrap_or("").to_owned()).collect::<Vec<_>>();
    assert_eq!(kinds(r#"{"jsonrpc":"2.0","id":1,"method":"a"}"#), ["Request"]);
    assert_eq!(kinds(r#"{"jsonrpc":"2.0","id":null,"method":"a"}"#), ["Request"]);
    assert_eq!(kinds(r#"{"jsonrpc":"2.0","method":"a"}"#), ["Notification"]);
    assert_eq!(kinds(r#"{"jsonrpc":"2.0","id":1,"result":null}"#), ["Response"]);
    assert_eq!(kinds(r#"{"jsonrpc":"2.0","id":1,"error":{}}"#), ["Response"]);
    assert_eq!(kinds(r#"{"jsonrpc":"2.0","error":{}}"#), ["Response"]);
    assert_eq!(kinds(r#"[{"id":1,"method":"a"},7,{"id":1,"result":2},{}]"#), ["Request", "Response"]);
    for none in ["{}", "[]", "7", r#"{"id":1,"method":7}"#] {
        assert!(kinds(none).is_empty(), "{none}");
    }
}

#[test]
fn requests_and_answers_out_of_order() {
    check(
        &[
            out("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\"}\n{\"jsonrpc\":\"2.0\",\"id\":\"1\",\"method\":\"b\"}\n"),
            out("{\"jsonrpc\":\"2.0\",\"method\":\"n\"}\r\n"),
            incoming("{\"jsonrpc\":\"2.0\",\"id\":\"1\",\"result\":2}\n{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{}}\n"),
        ],
        &[
            r#"x3 jsonrpc: n stdio:// "{\"jsonrpc\":\"2.0\",\"method\":\"n\"}" => -"#,
            r#"x2 jsonrpc: b stdio:// "{\"jsonrpc\":\"2.0\",\"id\":\"1\",\"method\":\"b\"}" => 0 "{\"jsonrpc\":\"2.0\",\"id\":\"1\",\"result\":2}""#,
            r#"x1 jsonrpc: a stdio:// "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\"}" => 0 "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{}}""#,
        ],
    );
}

const V: &str = r#""jsonrpc":"2.0""#;

/// The lines of a feed with bodies and addresses left out.
fn brief(steps: &[Step]) -> Vec<String> {
    let shorten = |line: String| {
        let mut shown = String::new();
        let mut quoted = false;
        let mut escaped = false;
        for character in line.replace(" stdio://", "").chars() {
            match character {
                '"' if !escaped => quoted = !quoted,
                other if !quoted => shown.push(other),
                _ => {}
            }
            escaped = character == '\\' && !escaped;
        }
        shown.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    in_all_pieces(engine, steps, 20).into_iter().map(shorten).collect()
}

#[test]
fn both_sides_ask_with_the_same_ids() {
    assert_eq!(
        brief(&[
            out(format!("{{{V},\"id\":1,\"method\":\"tools/call\"}}\n")),
            incoming(format!("{{{V},\"id\":1,\"method\":\"sampling/createMessage\"}}\n")),
            out(format!("{{{V},\"id\":1,\"result\":{{}}}}\n")),
            incoming(format!("{{{V},\"id\":1,\"result\":{{}}}}\n")),
        ]),
        ["x2 jsonrpc: sampling/createMessage => 0", "x1 jsonrpc: tools/call => 0"]
    );
}

#[test]
fn batches_are_taken_apart() {
    let batch = format!(
        "[{{{V},\"id\":1,\"method\":\"a\",\"params\":[\"],[\\\"\"]}}, {{{V},\"method\":\"b\"}},{{{V},\"id\":2,\"method\":\"c\"}}]\n"
    );
    let answer = format!(" [ {{{V},\"id\":2,\"result\":1}} , {{{V},\"id\":1,\"result\":[1,[2]]}} ] \n");
    assert_eq!(brief(&[out(batch), incoming(answer)]), ["x2 jsonrpc: b => -", "x3 jsonrpc: c => 0", "x1 jsonrpc: a => 0"]);
}

#[test]
fn framed_by_length() {
    let framed = |text: &str| format!("Content-Length: {}\r\n\r\n{text}", text.len());
    let typed = |text: &str| {
        format!("Content-Length: {}\r\nContent-Type: application/vscode-jsonrpc; charset=utf-8\r\n\r\n{text}", text.len())
    };
    let request = format!("{{{V},\"id\":1,\n\"method\":\"a\"}}");
    let answer = format!("{{{V},\"id\":1,\"result\":\"Content-Length: 5\"}}");
    let note = format!("{{{V},\"method\":\"n\"}}");
    assert_eq!(
        brief(&[out(framed(&request) + &typed(&note)), incoming(typed(&answer) + &framed(&note))]),
        ["x2 jsonrpc: n => -", "x1 jsonrpc: a => 0", "x3 jsonrpc: n => -"]
    );
}

#[test]
fn other_text_is_counted() {
    assert_eq!(
        brief(&[
            incoming("Server ready\nCaution: x\n\n{\"a\":1}\n{broken\n"),
            out(format!("{{{V},\"id\":1,\"method\":\"a\"}}\n")),
            incoming(format!("{{\"id\":1,\"result\":{{}}}}\n{{{V},\"id\":9,\"result\":1}}\nend")),
        ]),
        ["x1 jsonrpc: a => 0 ~jsonrpc.version", "x2 jsonrpc: - => 0 !request_missing", "in ~jsonrpc.other_text 39"]
    );
}

#[test]
fn holes_and_ends() {
    let ask = format!("{{{V},\"id\":1,\"method\":\"a\"}}\n");
    let answer = format!("{{{V},\"id\":1,\"result\":{{}}}}\n");
    // The last line needs no end.
    assert_eq!(brief(&[out(&ask), incoming(answer.trim_end())]), ["x1 jsonrpc: a => 0"]);
    assert_eq!(brief(&[out(&ask)]), ["x1 jsonrpc: a => - !response_missing"]);
    let cut = [out(&ask), incoming(&answer[..9]), Step::Gap(Direction::In, Some(4)), incoming(&answer[13..])];
    assert_eq!(
        brief(&cut),
        ["x1 jsonrpc: a => - !response_missing !gap:ring_full", &format!("in ~jsonrpc.other_text {}", answer.len() - 4)]
    );
    // A line that begins right behind the hole is whole.
    let late = [out(&ask), Step::Gap(Direction::In, Some(40)), incoming(&answer)];
    assert_eq!(brief(&late), ["x1 jsonrpc: a => 0"]);
    let body = answer.trim_end();
    let framed = format!("Content-Length: {}\r\n\r\n{body}", body.len());
    let at = framed.len() - 5;
    let cut =
        [out(&ask), incoming(&framed[..at]), Step::Gap(Direction::In, Some(2)), incoming(framed[at + 2..].to_owned() + &framed)];
    assert_eq!(brief(&cut), ["x1 jsonrpc: a => 0", &format!("in ~jsonrpc.other_text {}", body.len() - 2)]);
    assert_eq!(
        brief(&[out(ask.clone() + &ask), incoming(&answer)]),
        ["x1 jsonrpc: a => - !response_missing ~jsonrpc.ambiguous_id", "x2 jsonrpc: a => 0"]
    );
}

#[test]
fn bounds() {
    let fill = |len: usize| {
        let shell = format!("{{{V},\"method\":\"\"}}").len();
        lines(&events(engine(), &[out(format!("{{{V},\"method\":\"{}\"}}\n", "m".repeat(len - shell)))], 1 << 20))
    };
    assert!(fill(JSONRPC_MESSAGE_BYTES)[0].starts_with("x1 "));
    assert_eq!(
        fill(JSONRPC_MESSAGE_BYTES + 1),
        ["out ~limit.jsonrpc_message 0".to_owned(), format!("out ~jsonrpc.other_text {}", JSONRPC_MESSAGE_BYTES + 1)]
    );
    let batch = |count: usize| {
        let text = vec![format!("{{{V},\"method\":\"a\"}}"); count].join(",");
        lines(&events(engine(), &[out(format!("[{text}]\n"))], 1 << 20))
    };
    assert!(batch(JSONRPC_BATCH).iter().all(|line| line.starts_with('x')));
    let over = batch(JSONRPC_BATCH + 1);
    assert_eq!(over.len(), JSONRPC_BATCH + 2);
    assert_eq!(over[JSONRPC_BATCH..], ["out ~limit.jsonrpc_batch 0", "out ~jsonrpc.other_text 31"]);
    let asks = |count: usize| {
        let text: String = (0..count).map(|id| format!("{{{V},\"id\":{id},\"method\":\"a\"}}\n")).collect();
        lines(&events(engine(), &[out(text)], 1 << 20)).into_iter().filter(|line| line.contains("limit")).collect::<Vec<_>>()
    };
    assert!(asks(OPEN_EXCHANGES).is_empty());
    let over = asks(OPEN_EXCHANGES + 1);
    assert!(over.len() == 1 && over[0].starts_with("x1 ") && over[0].contains("!evicted"), "{over:?}");
}

#[test]
fn told_by_the_first_line() {
    assert_eq!(guess(b""), Guess::More);
    assert_eq!(guess(b"  {\"jsonrpc\":\"2.0\""), Guess::More);
    assert_eq!(guess(b"{\"jsonrpc\":\"2.0\",\"method\":\"a\"}\n"), Guess::Yes);
    assert_eq!(guess(b"[{\"jsonrpc\":\"2.0\",\"method\":\"a\"}]\n"), Guess::Yes);
    assert_eq!(guess(b"Content-Len"), Guess::More);
    assert_eq!(guess(b"Content-Length: 5\r\n"), Guess::Yes);
    for other in [&b"{\"a\":1}\n"[..], b"{\"jsonrpc\":\"2.0\"}\n", b"hello", b"{\"jsonrpc\"\n"] {
        assert_eq!(guess(other), Guess::No);
    }
}

#[test]
fn the_same_in_every_split() {
    let text =
        format!("{{{V},\"id\":1,\"method\":\"a\"}}\n[{{{V},\"id\":2,\"method\":\"b\"}},{{{V},\"method\":\"c\"}}]\nlog line\n");
    let framed = format!(
        "Content-Length: 36\r\nContent-Type: x\r\n\r\n{{{V},\"id\":1,\"result\":12345}}  \n{{{V},\"id\":2,\"result\":1}}"
    );
    split_everywhere(engine, &[(Direction::Out, text.as_bytes()), (Direction::In, framed.as_bytes())]);
}
