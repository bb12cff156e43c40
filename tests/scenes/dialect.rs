//! Turns of an agent as the providers' clients put them on the wire.

use serde_json::{Value, json};

use super::fill::Random;

/// One turn of a conversation.
#[derive(Clone, Debug)]
pub enum Turn {
    System(String),
    User(String),
    /// The model says something and goes on with a call.
    Think(String),
    Call {
        tool: String,
        arguments: Value,
    },
    /// The answer of the call before it.
    Result(String),
    Say(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Chat,
    ChatStream,
    Anthropic,
    AnthropicStream,
    Gemini,
    Responses,
    Ollama,
}

impl Dialect {
    pub const ALL: [Dialect; 7] = [
        Dialect::Chat,
        Dialect::Anthropic,
        Dialect::Responses,
        Dialect::ChatStream,
        Dialect::Gemini,
        Dialect::AnthropicStream,
        Dialect::Ollama,
    ];

    fn host(self) -> &'static str {
        match self {
            Dialect::Chat | Dialect::ChatStream | Dialect::Responses => "api.openai.com",
            Dialect::Anthropic | Dialect::AnthropicStream => "api.anthropic.com",
            Dialect::Gemini => "generativelanguage.googleapis.com",
            Dialect::Ollama => "localhost:11434",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Dialect::Chat | Dialect::ChatStream => "/v1/chat/completions",
            Dialect::Anthropic | Dialect::AnthropicStream => "/v1/messages",
            Dialect::Gemini => "/v1beta/models/gemini-2.5-pro:generateContent",
            Dialect::Responses => "/v1/responses",
            Dialect::Ollama => "/api/chat",
        }
    }

    /// The recording of a whole conversation: a request whenever the model has to speak; `api` calls of the tools between them.
    pub fn record(self, turns: &[Turn], tools: &[&str], api: &str, random: &mut Random) -> String {
        let mut wire = Wire::new(random);
        let with_api = random.one_in(3);
        wire.exec();
        let mut at = 0;
        while at < turns.len() {
            let speaks = matches!(turns[at], Turn::Call { .. } | Turn::Say(_) | Turn::Think(_));
            if !speaks {
                at += 1;
                continue;
            }
            // What the model says in one answer: an optional thought, then a call or the end.
            let start = at;
            if matches!(turns[at], Turn::Think(_)) && matches!(turns.get(at + 1), Some(Turn::Call { .. })) {
                at += 1;
            }
            wire.exchange(
                "llm",
                self.host(),
                "POST",
                self.path(),
                &self.request(&turns[..start], tools),
                &self.answer(&turns[start..=at], start),
            );
            if let Turn::Call { tool, arguments } = &turns[at]
                && with_api
                && let Some((method, path)) = route(tool)
            {
                let body = if method == "GET" { String::new() } else { arguments.to_string() };
                wire.exchange("api", api, method, &path, &body, &Answer::json(&json!({"status": "ok"})));
            }
            at += 1;
        }
        wire.out
    }

    fn request(self, turns: &[Turn], tools: &[&str]) -> String {
        let schema = json!({"type": "object", "properties": {}});
        let described = |tool: &str| format!("Tool {}", tool.replace('_', " "));
        match self {
            Dialect::Chat | Dialect::ChatStream | Dialect::Ollama => {
                let ollama = self == Dialect::Ollama;
                let messages: Vec<Value> =
                    turns.iter().enumerate().map(|(at, turn)| chat_message(turns, at, turn, ollama)).collect();
                let tools: Vec<Value> = tools
                    .iter()
                    .map(|tool| json!({"type": "function", "function": {"name": tool, "description": described(tool), "parameters": schema}}))
                    .collect();
                let model = if ollama { "qwen3" } else { "gpt-4o-2024-05-13" };
                json!({"model": model, "messages": messages, "tools": tools, "stream": self == Dialect::ChatStream}).to_string()
            }
            Dialect::Anthropic | Dialect::AnthropicStream => {
                let system = turns.iter().find_map(|turn| if let Turn::System(text) = turn { Some(text.as_str()) } else { None });
                let messages: Vec<Value> =
                    turns.iter().enumerate().filter_map(|(at, turn)| anthropic_message(turns, at, turn)).collect();
                let tools: Vec<Value> = tools
                    .iter()
                    .map(|tool| json!({"name": tool, "description": described(tool), "input_schema": schema}))
                    .collect();
                json!({"model": "claude-sonnet-4-5", "max_tokens": 1024, "system": system, "messages": messages, "tools": tools,
                    "stream": self == Dialect::AnthropicStream})
                .to_string()
            }
            Dialect::Gemini => {
                let contents: Vec<Value> =
                    turns.iter().enumerate().filter_map(|(at, turn)| gemini_content(turns, at, turn)).collect();
                let system = turns.iter().find_map(|turn| if let Turn::System(text) = turn { Some(text.as_str()) } else { None });
                let tools: Vec<Value> = tools
                    .iter()
                    .map(|tool| json!({"name": tool, "description": described(tool), "parameters": schema}))
                    .collect();
                json!({"contents": contents, "systemInstruction": {"parts": [{"text": system}]}, "tools": [{"functionDeclarations": tools}]}).to_string()
            }
            Dialect::Responses => {
                let input: Vec<Value> = turns.iter().enumerate().map(|(at, turn)| responses_item(turns, at, turn)).collect();
                let tools: Vec<Value> = tools
                    .iter()
                    .map(|tool| json!({"type": "function", "name": tool, "description": described(tool), "parameters": schema}))
                    .collect();
                json!({"model": "gpt-5", "input": input, "tools": tools}).to_string()
            }
        }
    }

    fn answer(self, turns: &[Turn], at: usize) -> Answer {
        let text = turns.iter().find_map(|turn| match turn {
            Turn::Think(text) | Turn::Say(text) => Some(text.clone()),
            _ => None,
        });
        let last = at + turns.len() - 1;
        let call = turns.iter().find_map(|turn| match turn {
            Turn::Call { tool, arguments } => Some((tool.clone(), arguments.clone())),
            _ => None,
        });
        match self {
            Dialect::Chat | Dialect::Ollama => {
                let message = chat_message(turns, turns.len() - 1, &turns[turns.len() - 1], self == Dialect::Ollama);
                let mut message = message;
                if let Some((tool, arguments)) = &call {
                    message = chat_call(last, tool, arguments, self == Dialect::Ollama);
                    message["content"] = text.map_or(Value::Null, Value::String);
                }
                if self == Dialect::Ollama {
                    if message["content"].is_null() {
                        message["content"] = json!("");
                    }
                    return Answer::lines(&[
                        json!({"model": "qwen3", "created_at": "2026-01-01T00:00:00Z", "message": message, "done": true,
                        "done_reason": "stop", "prompt_eval_count": 100, "eval_count": 10}),
                    ]);
                }
                let reason = if call.is_some() { "tool_calls" } else { "stop" };
                Answer::json(&json!({"id": format!("chatcmpl-{at}"), "object": "chat.completion", "model": "gpt-4o-2024-05-13",
                    "choices": [{"index": 0, "message": message, "finish_reason": reason}],
                    "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}}))
            }
            Dialect::ChatStream => {
                let chunk = |delta: Value, reason: Value| {
                    json!({"id": format!("chatcmpl-{at}"), "object": "chat.completion.chunk", "model": "gpt-4o-2024-05-13",
                        "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})
                };
                let mut events = vec![chunk(json!({"role": "assistant", "content": text.unwrap_or_default()}), Value::Null)];
                if let Some((tool, arguments)) = &call {
                    events.push(chunk(json!({"tool_calls": [{"index": 0, "id": call_id(last), "type": "function", "function": {"name": tool, "arguments": ""}}]}), Value::Null));
                    let whole = arguments.to_string();
                    let half = whole.char_indices().nth(whole.chars().count() / 2).map_or(0, |(at, _)| at);
                    for part in [&whole[..half], &whole[half..]] {
                        events.push(chunk(json!({"tool_calls": [{"index": 0, "function": {"arguments": part}}]}), Value::Null));
                    }
                }
                events.push(chunk(json!({}), json!(if call.is_some() { "tool_calls" } else { "stop" })));
                Answer::events(events.iter().map(|event| format!("data: {event}\n\n")).chain(["data: [DONE]\n\n".to_owned()]))
            }
            Dialect::Anthropic | Dialect::AnthropicStream => {
                let mut content = Vec::new();
                if let Some(text) = &text {
                    content.push(json!({"type": "text", "text": text}));
                }
                if let Some((tool, arguments)) = &call {
                    content.push(json!({"type": "tool_use", "id": call_id(last), "name": tool, "input": arguments}));
                }
                let reason = if call.is_some() { "tool_use" } else { "end_turn" };
                if self == Dialect::Anthropic {
                    return Answer::json(
                        &json!({"id": format!("msg_{at}"), "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
                        "content": content, "stop_reason": reason, "usage": {"input_tokens": 100, "output_tokens": 10}}),
                    );
                }
                let mut events = vec![
                    json!({"type": "message_start", "message": {"id": format!("msg_{at}"), "type": "message", "role": "assistant",
                    "model": "claude-sonnet-4-5", "content": [], "usage": {"input_tokens": 100, "output_tokens": 1}}}),
                ];
                for (index, block) in content.iter().enumerate() {
                    let (start, delta) = if block["type"] == "text" {
                        (json!({"type": "text", "text": ""}), json!({"type": "text_delta", "text": block["text"]}))
                    } else {
                        (
                            json!({"type": "tool_use", "id": block["id"], "name": block["name"], "input": {}}),
                            json!({"type": "input_json_delta", "partial_json": block["input"].to_string()}),
                        )
                    };
                    events.push(json!({"type": "content_block_start", "index": index, "content_block": start}));
                    events.push(json!({"type": "content_block_delta", "index": index, "delta": delta}));
                    events.push(json!({"type": "content_block_stop", "index": index}));
                }
                events.push(json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 10}}));
                events.push(json!({"type": "message_stop"}));
                Answer::events(
                    events
                        .iter()
                        .map(|event| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default())),
                )
            }
            Dialect::Gemini => {
                let mut parts = Vec::new();
                parts.extend(text.map(|text| json!({"text": text})));
                parts.extend(call.map(|(tool, arguments)| json!({"functionCall": {"name": tool, "args": arguments}})));
                Answer::json(
                    &json!({"candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP"}], "modelVersion": "gemini-2.5-pro",
                    "usageMetadata": {"promptTokenCount": 100, "candidatesTokenCount": 10, "totalTokenCount": 110}}),
                )
            }
            Dialect::Responses => {
                let mut output = Vec::new();
                output.extend(text.map(|text| {
                    json!({"type": "message", "id": format!("m_{at}"), "role": "assistant", "status": "completed",
                        "content": [{"type": "output_text", "text": text, "annotations": []}]})
                }));
                output.extend(call.map(|(tool, arguments)| {
                    json!({"type": "function_call", "id": format!("fc_{at}"), "call_id": call_id(last), "name": tool, "arguments": arguments.to_string(), "status": "completed"})
                }));
                Answer::json(
                    &json!({"id": format!("resp_{at}"), "object": "response", "status": "completed", "model": "gpt-5", "output": output,
                    "usage": {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}}),
                )
            }
        }
    }
}

fn call_id(at: usize) -> String {
    format!("call_{at:04}")
}

/// The name of the tool that the result at this place answers, with the id of its call.
fn answered(turns: &[Turn], at: usize) -> (String, String) {
    let found = turns[..at].iter().enumerate().rev().find_map(|(place, turn)| match turn {
        Turn::Call { tool, .. } => Some((tool.clone(), call_id(place))),
        _ => None,
    });
    found.unwrap_or_default()
}

fn chat_call(at: usize, tool: &str, arguments: &Value, ollama: bool) -> Value {
    let arguments = if ollama { arguments.clone() } else { json!(arguments.to_string()) };
    let mut call = json!({"id": call_id(at), "type": "function", "function": {"name": tool, "arguments": arguments}});
    if ollama {
        call = json!({"function": {"name": tool, "arguments": arguments}});
    }
    json!({"role": "assistant", "content": null, "tool_calls": [call]})
}

fn chat_message(turns: &[Turn], at: usize, turn: &Turn, ollama: bool) -> Value {
    match turn {
        Turn::System(text) => json!({"role": "system", "content": text}),
        Turn::User(text) => json!({"role": "user", "content": text}),
        Turn::Think(text) | Turn::Say(text) => json!({"role": "assistant", "content": text}),
        Turn::Call { tool, arguments } => {
            let mut message = chat_call(at, tool, arguments, ollama);
            if ollama {
                message["content"] = json!("");
            }
            message
        }
        Turn::Result(text) => {
            let (tool, id) = answered(turns, at);
            if ollama {
                json!({"role": "tool", "tool_name": tool, "content": text})
            } else {
                json!({"role": "tool", "tool_call_id": id, "content": text})
            }
        }
    }
}

fn anthropic_message(turns: &[Turn], at: usize, turn: &Turn) -> Option<Value> {
    Some(match turn {
        Turn::System(_) => return None,
        Turn::User(text) => json!({"role": "user", "content": text}),
        Turn::Think(text) | Turn::Say(text) => json!({"role": "assistant", "content": [{"type": "text", "text": text}]}),
        Turn::Call { tool, arguments } => {
            json!({"role": "assistant", "content": [{"type": "tool_use", "id": call_id(at), "name": tool, "input": arguments}]})
        }
        Turn::Result(text) => {
            json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": answered(turns, at).1, "content": [{"type": "text", "text": text}]}]})
        }
    })
}

fn gemini_content(turns: &[Turn], at: usize, turn: &Turn) -> Option<Value> {
    Some(match turn {
        Turn::System(_) => return None,
        Turn::User(text) => json!({"role": "user", "parts": [{"text": text}]}),
        Turn::Think(text) | Turn::Say(text) => json!({"role": "model", "parts": [{"text": text}]}),
        Turn::Call { tool, arguments } => {
            json!({"role": "model", "parts": [{"functionCall": {"name": tool, "args": arguments}}]})
        }
        Turn::Result(text) => {
            let response =
                serde_json::from_str::<Value>(text).ok().filter(Value::is_object).unwrap_or_else(|| json!({"result": text}));
            json!({"role": "user", "parts": [{"functionResponse": {"name": answered(turns, at).0, "response": response}}]})
        }
    })
}

fn responses_item(turns: &[Turn], at: usize, turn: &Turn) -> Value {
    match turn {
        Turn::System(text) => json!({"role": "developer", "content": text}),
        Turn::User(text) => json!({"role": "user", "content": [{"type": "input_text", "text": text}]}),
        Turn::Think(text) | Turn::Say(text) => json!({"role": "assistant", "content": [{"type": "output_text", "text": text}]}),
        Turn::Call { tool, arguments } => {
            json!({"type": "function_call", "call_id": call_id(at), "name": tool, "arguments": arguments.to_string()})
        }
        Turn::Result(text) => json!({"type": "function_call_output", "call_id": answered(turns, at).1, "output": text}),
    }
}

/// The API call that a tool makes, as services spell them.
fn route(tool: &str) -> Option<(&'static str, String)> {
    let words: Vec<&str> = tool.split('_').collect();
    let (verb, rest) = words.split_first()?;
    let thing = rest.join("-");
    Some(match *verb {
        "get" | "list" | "search" | "read" | "check" | "find" | "lookup" | "query" => ("GET", format!("/v1/{thing}")),
        "delete" | "remove" | "cancel" => ("DELETE", format!("/v1/{thing}/7")),
        "update" | "set" | "change" => ("PATCH", format!("/v1/{thing}")),
        _ if thing.is_empty() => return None,
        other => ("POST", format!("/v1/{thing}/{other}")),
    })
}

struct Answer {
    kind: &'static str,
    body: String,
}

impl Answer {
    fn json(value: &Value) -> Answer {
        Answer { kind: "application/json", body: value.to_string() }
    }

    fn lines(values: &[Value]) -> Answer {
        Answer { kind: "application/x-ndjson", body: values.iter().map(|value| format!("{value}\n")).collect() }
    }

    fn events(events: impl Iterator<Item = String>) -> Answer {
        Answer { kind: "text/event-stream", body: events.collect() }
    }
}

/// Records of one process, in order.
struct Wire {
    out: String,
    ts: u64,
    pid: u32,
}

impl Wire {
    fn new(random: &mut Random) -> Wire {
        let start = 1_790_000_000_000_000_000 + random.next() % 1_000_000_000_000_000;
        Wire { out: String::new(), ts: start, pid: 1000 + u32::try_from(random.below(30_000)).unwrap_or(0) }
    }

    fn line(&mut self, mut record: Value) {
        self.ts += 40_000_000;
        record["ts"] = json!(self.ts);
        self.out.push_str(&record.to_string());
        self.out.push('\n');
    }

    fn exec(&mut self) {
        let (pid, start) = (self.pid, self.ts - 1_000_000);
        self.line(json!({"kind": "exec", "pid": pid, "ppid": 1, "start": start, "uid": 1000, "exe": "/usr/bin/python3.11",
            "argv": ["python3", "agent.py"], "cwd": "/srv/agent", "cgroup": "/"}));
    }

    fn exchange(&mut self, conn: &str, host: &str, method: &str, path: &str, body: &str, answer: &Answer) {
        let conn = format!("{conn}-{}", self.pid);
        let kind = if body.is_empty() {
            String::new()
        } else {
            format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len())
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer sk-test\r\nuser-agent: agent/1.0\r\n{kind}\r\n{body}"
        );
        let reply = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n{}",
            answer.kind,
            answer.body.len(),
            answer.body
        );
        for (dir, text) in [("out", request), ("in", reply)] {
            let pid = self.pid;
            self.line(json!({"kind": "chunk", "pid": pid, "tid": pid, "conn": conn, "dir": dir, "source": "openssl", "role": "client", "text": text}));
        }
    }
}
