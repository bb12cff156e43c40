//! A thousand payloads in captured traffic, in every place that a page shows: each is text, none is obeyed.

use std::fmt::Write;

use agent_tests::Scratch;
use serde_json::{Value, json};

use crate::Console;

const PAYLOADS: usize = 1000;
/// Tool calls of one conversation.
const CALLS: usize = 20;

/// Ways out of text into markup, attributes, scripts, styles, SVG, URLs, terminals; numbered, so that each can be found again.
const SHAPES: [&str; 20] = [
    "<script>window.pwned=N</script>",
    "\"><img src=x onerror=window.pwned=N>",
    "'><svg onload=window.pwned=N>",
    "</title><script>window.pwned=N</script>",
    "</textarea><iframe srcdoc='<script>parent.pwned=N</script>'>",
    "javascript:window.pwned=N",
    "<a href=javascript:window.pwned=N>N</a>",
    "{{constructor.constructor('window.pwned=N')()}}",
    "</style><style>*{display:none}N</style>",
    "<math><mtext></mtext><script>window.pwned=N</script></math>",
    "--><!--><script>window.pwned=N</script>",
    "]]><script>window.pwned=N</script>",
    "<base href=//evil.example/N>",
    "<form action=//evil.example/N><button autofocus onfocus=window.pwned=N>",
    "&#60;script&#62;window.pwned=N&#60;/script&#62;",
    "\u{1b}]0;N\u{7}\u{1b}[2J\u{202e}N",
    "\u{0}<script>\u{0}window.pwned=N</script>",
    "<object data=data:text/html,<script>window.pwned=N</script>>",
    "\" autofocus onfocus=window.pwned=N x=\"",
    "<meta http-equiv=refresh content='0;url=//evil.example/N'>",
];

fn payload(number: usize) -> String {
    SHAPES[number % SHAPES.len()].replace('N', &format!("9{number:04}"))
}

pub fn chunk(ts: u64, pid: usize, dir: &str, text: &str) -> Value {
    json!({"ts": ts, "kind": "chunk", "pid": pid, "tid": pid, "conn": format!("c{pid}"), "dir": dir, "text": text, "source": "openssl",
        "role": "client", "sni": "api.openai.com"})
}

pub fn post(path: &str, host: &str, body: &Value) -> String {
    let body = body.to_string();
    format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

pub fn reply(body: &Value) -> String {
    let body = body.to_string();
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Agents whose program, arguments, prompt, model, tools, arguments and results are payloads, and whose money tools raise alerts.
pub fn recording() -> String {
    let mut out = String::new();
    for (agent, first) in (0..PAYLOADS).step_by(CALLS).enumerate() {
        let pid = 5000 + agent;
        let ts = 1_790_000_000_000_000_000 + agent as u64 * 1_000_000_000;
        let evil = payload(first);
        let calls: Vec<Value> = (first..first + CALLS)
            .map(|number| {
                let arguments = json!({"amount": 10, "note": payload(number)}).to_string();
                json!({"id": format!("call_{number}"), "type": "function", "function": {"name": format!("transfer_money {}", payload(number)), "arguments": arguments}})
            })
            .collect();
        let tools: Vec<Value> = calls
            .iter()
            .map(|call| json!({"type": "function", "function": {"name": call["function"]["name"], "description": evil}}))
            .collect();
        let asked = json!({"model": evil, "user": evil, "tools": tools, "messages": [{"role": "user", "content": format!("hello {evil}")}]});
        let said = json!({"id": "r", "model": evil, "choices": [{"index": 0, "finish_reason": "tool_calls",
            "message": {"role": "assistant", "content": null, "tool_calls": calls}}]});
        let mut messages = asked["messages"].as_array().expect("a list").clone();
        messages.push(said["choices"][0]["message"].clone());
        messages.extend(calls.iter().map(|call| json!({"role": "tool", "tool_call_id": call["id"], "content": evil})));
        let again = json!({"model": evil, "messages": messages});
        let done = json!({"id": "r2", "model": evil, "choices": [{"index": 0, "finish_reason": evil, "message": {"role": "assistant", "content": evil}}]});
        for record in [
            json!({"ts": ts, "kind": "exec", "pid": pid, "ppid": 1, "start": ts, "uid": 1000, "exe": format!("/usr/bin/{evil}"), "argv": ["agent", evil], "cwd": evil, "cgroup": evil}),
            chunk(ts + 1, pid, "out", &post("/v1/chat/completions", "api.openai.com", &asked)),
            chunk(ts + 2, pid, "in", &reply(&said)),
            chunk(ts + 3, pid, "out", &post("/v1/chat/completions", "api.openai.com", &again)),
            chunk(ts + 4, pid, "in", &reply(&done)),
        ] {
            writeln!(out, "{record}").expect("writing to a String cannot fail");
        }
    }
    out
}

/// What may stand on a page; anything else came from a payload.
const FOREIGN: &str = r"(() => {
  const found = [];
  if ('pwned' in window) found.push(`a script ran: ${window.pwned}`);
  if (document.scripts.length !== 1) found.push(`${document.scripts.length} scripts`);
  for (const node of document.querySelectorAll('img, iframe, object, embed, base, math, style, textarea, meta[http-equiv], form:not([action^=\'/log\'])')) found.push(node.outerHTML.slice(0, 100));
  for (const node of document.querySelectorAll('*'))
    for (const name of node.getAttributeNames()) if (name.startsWith('on') || /^\s*javascript:/i.test(node.getAttribute(name))) found.push(`${node.tagName} ${name}`);
  if (/[\u0000-\u0008\u000b-\u001f\u007f\u202a-\u202e]/.test(document.documentElement.textContent)) found.push('a control character');
  return found;
})()";

#[test]
#[ignore = "needs Chromium, which `cargo xtask test` installs"]
fn a_thousand_payloads_are_text() {
    let scratch = Scratch::new("hostile");
    let file = scratch.path("hostile.jsonl");
    std::fs::write(&file, recording()).expect("the scratch folder is writable");
    let console = Console::of(&[file.to_str().expect("a plain name"), "--reveal"]);
    let mut browser = console.browser("hostile");
    let list = |browser: &mut agent_tests::browser::Browser, page: &str| -> Vec<String> {
        let links = browser.eval(&format!(
            "[...document.querySelectorAll('#list tbody a[href^=\"/{page}/\"]')].map((link) => link.getAttribute('href'))"
        ));
        links.as_array().expect("a list").iter().map(|link| link.as_str().expect("an address").to_owned()).collect()
    };
    let mut pages: Vec<String> = ["/", "/alerts", "/workflows", "/agents", "/rules"].map(str::to_owned).to_vec();
    let mut found = Vec::new();
    for page in ["alerts", "workflows", "agents"] {
        browser.open(&format!("{}/{page}", console.origin));
        found.push(list(&mut browser, page));
    }
    let workflows = found[1].clone();
    assert_eq!(workflows.len(), PAYLOADS / CALLS, "each conversation is a workflow");
    assert!(!found[0].is_empty(), "nothing raised an alert");
    pages.extend(found[0].iter().take(5).cloned());
    pages.extend(workflows);
    pages.extend(found[2].iter().take(20).cloned());
    let mut text = String::new();
    let mut faults = Vec::new();
    for page in &pages {
        browser.open(&format!("{}{page}", console.origin));
        let foreign = browser.eval(FOREIGN);
        faults.extend(foreign.as_array().into_iter().flatten().map(|fault| format!("{page}: {fault}")));
        faults.extend(browser.problems(&console.origin).into_iter().map(|fault| format!("{page}: {fault}")));
        text.push_str(browser.eval("document.body.textContent").as_str().unwrap_or_default());
    }
    assert!(faults.is_empty(), "{faults:#?}");
    let unseen: Vec<usize> = (0..PAYLOADS).filter(|number| !text.contains(&format!("9{number:04}"))).collect();
    assert!(unseen.is_empty(), "payloads that no page showed, so that nothing was proved about them: {unseen:?}");
    assert!(text.contains("<script>window.pwned=90000</script>"), "a payload is not shown as it was sent");
    console.daemon.stop();
}
