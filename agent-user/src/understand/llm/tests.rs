use super::*;
use crate::base::{Sensitive, Timestamp};
use crate::decode::{Body as Bytes, Header};

fn response(media: &str, body: &str) -> Response {
    let kept = bytes::Bytes::copy_from_slice(body.as_bytes());
    Response {
        ts: Timestamp(1),
        ended: Timestamp(2),
        status: 200,
        headers: vec![Header {
            name: "content-type".into(),
            value: Sensitive::new(bytes::Bytes::copy_from_slice(media.as_bytes())),
        }],
        body: Bytes { len: kept.len() as u64, kept: Sensitive::new(kept), sha256: [0; 32], complete: true, json: None },
        trailers: Vec::new(),
        events: 0,
    }
}

struct Told<'a> {
    text: &'a str,
    calls: &'a [(&'a str, &'a str, &'a str)],
    stop: &'a str,
    tokens: (u64, u64),
}

/// The answer without stream and as a stream must both read as told.
fn check(dialect: Dialect, whole: &str, stream: (&str, &str), told: &Told<'_>) {
    for (media, body) in [("application/json", whole), stream] {
        let llm = dialect.response(&response(media, body));
        let calls: Vec<(String, String, String)> = llm
            .tool_calls
            .iter()
            .map(|call| {
                (call.id.as_deref().unwrap_or("").into(), call.name.to_string(), call.arguments.expose_content().to_json())
            })
            .collect();
        let expected: Vec<(String, String, String)> =
            told.calls.iter().map(|(id, name, json)| ((*id).into(), (*name).into(), (*json).into())).collect();
        assert_eq!(calls, expected, "{dialect:?} {media}");
        assert_eq!(llm.text.as_ref().map_or("", |text| text.expose_content()), told.text, "{dialect:?} {media}");
        assert_eq!(llm.stop_reason.as_deref(), Some(told.stop), "{dialect:?} {media}");
        assert_eq!(
            (llm.usage.input_tokens, llm.usage.output_tokens),
            (Some(told.tokens.0), Some(told.tokens.1)),
            "{dialect:?} {media}"
        );
        assert!(llm.tool_calls.iter().all(|call| !call.partial));
    }
}

#[test]
fn chat_completions() {
    check(
        Dialect::Chat,
        r#"{"id":"c","model":"gpt-5","choices":[{"finish_reason":"tool_calls","message":{"role":"assistant","content":"ok","tool_calls":[{"id":"call_1","type":"function","function":{"name":"refund","arguments":"{\"id\":1}"}}]}}],"usage":{"prompt_tokens":5,"completion_tokens":7}}"#,
        (
            "text/event-stream",
            "data: {\"id\":\"c\",\"model\":\"gpt-5\",\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"o\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"k\",\"tool_calls\":[{\"index\":0,\"id\":\"call_1\",\"function\":{\"name\":\"refund\",\"arguments\":\"\"}}]}}]}\n\ndata: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"id\\\"\"}}]}}]}\n\ndata: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\":1}\"}}]}}]}\n\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":7}}\n\ndata: [DONE]\n\n",
        ),
        &Told { text: "ok", calls: &[("call_1", "refund", "{\"id\":1}")], stop: "tool_calls", tokens: (5, 7) },
    );
}

#[test]
fn responses() {
    let whole = r#"{"id":"resp_1","model":"gpt-5","status":"completed","output":[{"type":"reasoning","summary":[]},{"type":"message","content":[{"type":"output_text","text":"hi"}]},{"type":"function_call","call_id":"call_9","name":"pay","arguments":"{\"a\":2}"}],"usage":{"input_tokens":3,"output_tokens":4}}"#;
    let stream = format!(
        "event: response.created\ndata: {{\"type\":\"response.created\",\"response\":{{\"id\":\"resp_1\"}}}}\n\nevent: response.completed\ndata: {{\"type\":\"response.completed\",\"response\":{whole}}}\n\n"
    );
    check(
        Dialect::Responses,
        whole,
        ("text/event-stream", &stream),
        &Told { text: "hi", calls: &[("call_9", "pay", "{\"a\":2}")], stop: "completed", tokens: (3, 4) },
    );
}

#[test]
fn anthropic() {
    check(
        Dialect::Anthropic,
        r#"{"id":"msg_1","model":"claude","content":[{"type":"text","text":"sure"},{"type":"tool_use","id":"toolu_1","name":"send","input":{"to":"b"}}],"stop_reason":"tool_use","usage":{"input_tokens":8,"output_tokens":9}}"#,
        (
            "text/event-stream",
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"claude\",\"content\":[],\"usage\":{\"input_tokens\":8,\"output_tokens\":1}}}\n\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"sure\"}}\n\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"send\",\"input\":{}}}\n\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"to\\\":\"}}\n\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"\\\"b\\\"}\"}}\n\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"output_tokens\":9}}\n\n",
        ),
        &Told { text: "sure", calls: &[("toolu_1", "send", "{\"to\":\"b\"}")], stop: "tool_use", tokens: (8, 9) },
    );
}

#[test]
fn gemini() {
    let end = r#"{"candidates":[{"content":{"role":"model","parts":[{"functionCall":{"name":"book","args":{"n":1}}}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":2,"candidatesTokenCount":6},"modelVersion":"gemini-2.5"}"#;
    let start = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"a"}]}}]}"#;
    let whole = r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"a"},{"functionCall":{"name":"book","args":{"n":1}}}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":2,"candidatesTokenCount":6}}"#;
    let told = Told { text: "a", calls: &[("", "book", "{\"n\":1}")], stop: "STOP", tokens: (2, 6) };
    check(Dialect::Gemini, whole, ("text/event-stream", &format!("data: {start}\r\n\r\ndata: {end}\r\n\r\n")), &told);
    check(Dialect::Gemini, whole, ("application/json", &format!("[{start},\n{end}]")), &told);
}

#[test]
fn ollama() {
    let call = r#"{"message":{"role":"assistant","content":"x","tool_calls":[{"function":{"name":"ls","arguments":{"p":"/"}}}]},"done":false}"#;
    let done = r#"{"message":{"content":"y"},"done":true,"done_reason":"stop","prompt_eval_count":1,"eval_count":2}"#;
    check(
        Dialect::Ollama,
        r#"{"message":{"role":"assistant","content":"xy","tool_calls":[{"function":{"name":"ls","arguments":{"p":"/"}}}]},"done":true,"done_reason":"stop","prompt_eval_count":1,"eval_count":2}"#,
        ("application/x-ndjson", &format!("{call}\n{done}\n")),
        &Told { text: "xy", calls: &[("", "ls", "{\"p\":\"/\"}")], stop: "stop", tokens: (1, 2) },
    );
}

#[test]
fn bodies_of_invoke_model_by_their_maker() {
    for (body, text, stop, tokens) in [
        (
            r#"{"inputTextTokenCount":5,"results":[{"tokenCount":3,"outputText":"hi","completionReason":"FINISH"}]}"#,
            "hi",
            "FINISH",
            (5, 3),
        ),
        (r#"{"generation":"hi","prompt_token_count":5,"generation_token_count":3,"stop_reason":"stop"}"#, "hi", "stop", (5, 3)),
        (
            r#"{"output":{"message":{"role":"assistant","content":[{"text":"hi"}]}},"stopReason":"end_turn","usage":{"inputTokens":5,"outputTokens":3}}"#,
            "hi",
            "end_turn",
            (5, 3),
        ),
        (
            r#"{"type":"message","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{"input_tokens":5,"output_tokens":3}}"#,
            "hi",
            "end_turn",
            (5, 3),
        ),
    ] {
        let told = Told { text, calls: &[], stop, tokens };
        check(Dialect::Invoke, body, ("application/json", body), &told);
    }
}

#[test]
fn a_cut_stream_leaves_a_partial_call() {
    let body = "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{\"name\":\"refund\",\"arguments\":\"{\\\"id\"}}]}}]}\n\n";
    let llm = Dialect::Chat.response(&response("text/event-stream", body));
    assert!(llm.tool_calls[0].partial);
    assert_eq!(llm.stop_reason, None);
}

#[test]
fn dialects_by_path_and_body() {
    for (path, body, expected) in [
        ("/v1/chat/completions", r#"{"messages":[]}"#, Some(Dialect::Chat)),
        ("/openai/deployments/gpt/chat/completions", r#"{"messages":[]}"#, Some(Dialect::Chat)),
        ("/v1/responses", r#"{"input":"x"}"#, Some(Dialect::Responses)),
        ("/v1/messages", r#"{"messages":[],"max_tokens":1}"#, Some(Dialect::Anthropic)),
        ("/v1/messages", r#"{"text":"a chat product"}"#, None),
        ("/v1beta/models/gemini-2.5-pro:streamGenerateContent", r#"{"contents":[]}"#, Some(Dialect::Gemini)),
        ("/model/anthropic.claude/converse", r#"{"messages":[]}"#, Some(Dialect::Converse)),
        ("/api/chat", r#"{"model":"m","messages":[]}"#, Some(Dialect::Ollama)),
        ("/v2/chat", r#"{"messages":[]}"#, Some(Dialect::Cohere)),
        ("/v1/agents/completions", r#"{"messages":[]}"#, Some(Dialect::Chat)),
        ("/llm/ask", r#"{"model":"m","messages":[{"role":"user","content":"x"}]}"#, Some(Dialect::Chat)),
        ("/inbox", r#"{"messages":[{"role":"user","content":"x"}]}"#, None),
        ("/inbox", r#"{"model":"m","messages":[{"role":"sender","content":"x"}]}"#, None),
        ("/v1/orders", r#"{"messages":[]}"#, None),
    ] {
        let value = json::parse(body.as_bytes()).value.expect("JSON");
        assert_eq!(Dialect::of("POST", path, &value), expected, "{path}");
    }
}

#[test]
fn models_that_only_the_path_names() {
    for (path, expected) in [
        ("/model/anthropic.claude-opus-4-5-v1%3A0/converse", Some("anthropic.claude-opus-4-5-v1:0")),
        ("/v1beta/models/gemini-2.5-pro:streamGenerateContent", Some("gemini-2.5-pro")),
        ("/openai/deployments/desk/chat/completions", Some("desk")),
        ("/models/chat/completions", None),
        ("/v1/chat/completions", None),
    ] {
        assert_eq!(model_of_path(path).as_deref(), expected, "{path}");
    }
}

#[test]
fn what_tools_of_the_provider_gave_back_stands_in_the_answer() {
    for (dialect, body, call, text) in [
        (
            Dialect::Responses,
            r#"{"output":[{"type":"mcp_call","id":"m1","name":"find","arguments":"{}","output":"pay 7"}]}"#,
            "m1",
            "pay 7",
        ),
        (
            Dialect::Anthropic,
            r#"{"content":[{"type":"mcp_tool_use","id":"m2","name":"find","input":{}},{"type":"mcp_tool_result","tool_use_id":"m2","content":[{"type":"text","text":"pay 8"}]}]}"#,
            "m2",
            "pay 8",
        ),
    ] {
        let llm = dialect.response(&response("application/json", body));
        let found: Vec<_> =
            llm.results.iter().map(|result| (result.answers.as_deref(), &**result.text.expose_content())).collect();
        assert_eq!(found, [(Some(call), text)], "{dialect:?}");
        assert!(llm.tool_calls[0].remote);
    }
}

#[test]
fn results_hold_the_texts_of_documents() {
    for (content, expected) in [
        (r#""plain""#, "plain"),
        (r#"[{"type":"text","text":"a"},{"type":"text","text":"b"}]"#, "a\nb"),
        (r#"[{"type":"document","source":{"type":"text","media_type":"text/plain","data":"inside"}}]"#, "inside"),
        (
            r#"[{"type":"search_result","source":"https://a.example","title":"t","content":[{"type":"text","text":"found"}]}]"#,
            "found",
        ),
        (r#"[{"type":"document","document":{"data":"row"}}]"#, "row"),
        (r#"[{"type":"image","source":{"type":"base64","data":"AAAA"}}]"#, ""),
    ] {
        assert_eq!(result_of(json::parse(content.as_bytes()).value.as_ref()), expected, "{content}");
    }
}

#[test]
fn cohere_v1() {
    let whole = r#"{"response_id":"r","generation_id":"g","text":"ok","finish_reason":"COMPLETE","tool_calls":[{"name":"refund","parameters":{"id":1}}],"meta":{"tokens":{"input_tokens":5,"output_tokens":7}}}"#;
    let stream = [
        r#"{"is_finished":false,"event_type":"stream-start","generation_id":"g"}"#.to_owned(),
        r#"{"is_finished":false,"event_type":"text-generation","text":"o"}"#.to_owned(),
        r#"{"is_finished":false,"event_type":"text-generation","text":"k"}"#.to_owned(),
        format!(r#"{{"is_finished":true,"event_type":"stream-end","finish_reason":"COMPLETE","response":{whole}}}"#),
    ];
    let told = Told { text: "ok", calls: &[("", "refund", "{\"id\":1}")], stop: "COMPLETE", tokens: (5, 7) };
    check(Dialect::CohereV1, whole, ("application/stream+json", &stream.join("\n")), &told);
    let cut = Dialect::CohereV1.response(&response("application/stream+json", &stream[..3].join("\n")));
    assert_eq!(cut.text.as_ref().map(|text| &**text.expose_content()), Some("ok"), "a stream that was cut off");
    let asked = json::parse(
        br#"{"model":"command-r","preamble":"be kind","message":"go on","chat_history":[{"role":"USER","message":"refund 1"},{"role":"CHATBOT","message":"","tool_calls":[{"name":"refund","parameters":{"id":1}}]}],"tool_results":[{"call":{"name":"refund","parameters":{"id":1}},"outputs":[{"done":true}]}]}"#,
    );
    let asked = cohere_v1::request(&asked.value.expect("is JSON"));
    let roles: Vec<Role> = asked.messages.iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::System, Role::User, Role::Assistant, Role::User, Role::Tool]);
    assert_eq!(asked.messages[4].tool_name.as_deref(), Some("refund"));
    assert_eq!(&**asked.messages[4].text.expose_content(), r#"{"done":true}"#);
}

#[test]
fn a_stream_that_says_each_piece_twice_is_read_once() {
    let piece = |text: &str, stop: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":0,\"finish_reason\":{stop},\"message\":{{\"content\":\"{text}\"}},\"delta\":{{\"content\":\"{text}\"}}}}],\"usage\":{{\"prompt_tokens\":1,\"completion_tokens\":2}}}}\n\n"
        )
    };
    let read = Dialect::Chat.response(&response("text/event-stream", &(piece("Sure", "null") + &piece(", here", "\"stop\""))));
    assert_eq!(read.text.as_ref().map(|text| &**text.expose_content()), Some("Sure, here"));
}

#[test]
fn tokens_of_invoke_model_in_the_head() {
    let mut answer = response("application/json", r#"{"completion":" hi","stop_reason":"stop_sequence"}"#);
    for (name, count) in [("x-amzn-bedrock-input-token-count", "17"), ("x-amzn-bedrock-output-token-count", "4")] {
        answer.headers.push(Header { name: name.into(), value: Sensitive::new(count.into()) });
    }
    let read = Dialect::Invoke.response(&answer);
    assert_eq!((read.usage.input_tokens, read.usage.output_tokens), (Some(17), Some(4)));
}

#[test]
fn calls_are_known_by_path_and_body() {
    for (path, body, dialect) in [
        ("/v1/chat", r#"{"message":"hi","model":"command-r"}"#, Some(Dialect::CohereV1)),
        ("/v1/chat", r#"{"model":"palmyra-x4","messages":[{"role":"user","content":"hi"}]}"#, Some(Dialect::Chat)),
        ("/v1/complete", r#"{"prompt":"hi","max_tokens_to_sample":9}"#, Some(Dialect::Complete)),
        ("/v1/tasks/7/complete", r#"{"note":"done"}"#, None),
        ("/v1/chat", r#"{"text":"hi"}"#, None),
    ] {
        let body = json::parse(body.as_bytes()).value.expect("is JSON");
        assert_eq!(Dialect::of("POST", path, &body), dialect, "{path}");
    }
}
