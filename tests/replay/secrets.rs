//! A thousand planted secrets in 25 formats, in every place where a call can hold one: none of them is in what the program prints.

use std::fmt::Write;

use agent_tests::Scratch;
use agent_tests::program::agentward;
use serde_json::{Value, json};

const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const DIGITS: &[u8] = b"0123456789";
const UPPER: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const HEX: &[u8] = b"0123456789abcdef";

/// Numbers that look random and repeat (SplitMix64, Steele et al. 2014).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % sides as u64) as usize
    }

    fn text(&mut self, length: usize, alphabet: &[u8]) -> String {
        (0..length).map(|_| char::from(alphabet[self.roll(alphabet.len())])).collect()
    }
}

/// A format: what the secret looks like, and the field that names it where its shape alone does not.
type Format = (&'static str, fn(&mut Dice) -> String, Option<&'static str>);

const FORMATS: [Format; 25] = [
    ("OpenAI", |dice| format!("sk-proj-{}", dice.text(48, LETTERS)), None),
    ("Anthropic", |dice| format!("sk-ant-api03-{}-{}", dice.text(60, LETTERS), dice.text(8, LETTERS)), None),
    ("AWS key id", |dice| format!("AKIA{}", dice.text(16, UPPER)), None),
    ("AWS secret", |dice| dice.text(40, LETTERS), Some("aws_secret_access_key")),
    ("GitHub", |dice| format!("ghp_{}", dice.text(36, LETTERS)), None),
    ("GitHub fine-grained", |dice| format!("github_pat_{}_{}", dice.text(22, LETTERS), dice.text(59, LETTERS)), None),
    ("GitLab", |dice| format!("glpat-{}", dice.text(20, LETTERS)), None),
    ("Slack", |dice| format!("xoxb-{}-{}", dice.text(12, DIGITS), dice.text(24, LETTERS)), None),
    ("Google key", |dice| format!("AIza{}", dice.text(35, LETTERS)), None),
    ("Google token", |dice| format!("ya29.{}", dice.text(60, LETTERS)), None),
    ("Stripe", |dice| format!("sk_live_{}", dice.text(24, LETTERS)), None),
    ("SendGrid", |dice| format!("SG.{}.{}", dice.text(22, LETTERS), dice.text(43, LETTERS)), None),
    ("npm", |dice| format!("npm_{}", dice.text(36, LETTERS)), None),
    ("PyPI", |dice| format!("pypi-AgEIcHlwaS5vcmc{}", dice.text(60, LETTERS)), None),
    ("Hugging Face", |dice| format!("hf_{}", dice.text(34, LETTERS)), None),
    ("Vault", |dice| format!("hvs.{}", dice.text(24, LETTERS)), None),
    ("Telegram", |dice| format!("4{}:{}", dice.text(8, DIGITS), dice.text(35, LETTERS)), None),
    ("JWT", |dice| format!("eyJhbGciOiJIUzI1NiJ9.eyJ{}.{}", dice.text(54, LETTERS), dice.text(43, LETTERS)), None),
    ("private key", |dice| format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----", dice.text(64, LETTERS)), None),
    ("password", |dice| dice.text(14, LETTERS), Some("password")),
    ("session", |dice| dice.text(32, HEX), Some("session_token")),
    ("card", card, None),
    ("IBAN", iban, None),
    (
        "US social security number",
        |dice| format!("{}-{}-{}", 100 + dice.roll(799), 10 + dice.roll(89), 1000 + dice.roll(8999)),
        None,
    ),
    ("e-mail", |dice| format!("{}@example.com", dice.text(14, HEX)), None),
];

fn card(dice: &mut Dice) -> String {
    let digits = format!("4{}", dice.text(14, DIGITS));
    let sum: u32 = digits
        .bytes()
        .enumerate()
        .map(|(place, digit)| {
            let digit = u32::from(digit - b'0') * if place % 2 == 0 { 2 } else { 1 };
            digit / 10 + digit % 10
        })
        .sum();
    format!("{digits}{}", (10 - sum % 10) % 10)
}

fn iban(dice: &mut Dice) -> String {
    let account = dice.text(18, DIGITS);
    let rest = format!("{account}131400").bytes().fold(0_u32, |rest, digit| (rest * 10 + u32::from(digit - b'0')) % 97);
    format!("DE{:02}{account}", 98 - rest)
}

/// The part that must not be seen: a key without its frame, an address without its domain.
fn core(secret: &str) -> &str {
    let inner = secret.lines().find(|line| !line.starts_with('-')).unwrap_or(secret);
    inner.split('@').next().unwrap_or(inner)
}

fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' => out.push(char::from(byte)),
            other => write!(out, "%{other:02X}").expect("writing to a String cannot fail"),
        }
        out
    })
}

fn message(head: &str, body: &Value) -> String {
    let body = body.to_string();
    format!("{head}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// One exchange with the secret at a place, the same answer of the server included.
fn exchange(number: usize, secret: &str, field: Option<&str>) -> (String, String) {
    let named = field.unwrap_or("data");
    // A secret that only its field's name gives away stands in a field of that name.
    let place = match (number / FORMATS.len() % 6, field) {
        (2 | 4 | 5, Some(_)) => 0,
        (place, _) => place,
    };
    let one_line = !secret.contains('\n');
    let (mut path, mut headers) = ("/v1/things".to_owned(), String::new());
    let mut body = json!({"note": "hello", "number": number});
    let mut answer = json!({"ok": true});
    match place {
        1 => body = json!({"nested": [{"deep": {(named): secret}}]}),
        2 => body = json!({"text": format!("please use {secret} for this")}),
        3 => path = format!("{path}?{named}={}", encoded(secret)),
        4 if one_line => headers = format!("\r\nAuthorization: Bearer {secret}\r\nCookie: s={secret}"),
        5 => {
            path = "/v1/chat/completions".into();
            body = json!({"model": "gpt-5", "messages": [{"role": "user", "content": format!("my secret is {secret}")}]});
            let call = json!({"name": "delete_account", "arguments": json!({"value": secret}).to_string()});
            answer = json!({"id": "r", "model": "gpt-5", "choices": [{"finish_reason": "tool_calls", "message": {"role": "assistant",
                "content": null, "tool_calls": [{"id": format!("t{number}"), "type": "function", "function": call}]}}]});
        }
        _ => body = json!({(named): secret}),
    }
    if place < 3 {
        answer = json!({"echo": body});
    }
    let request = message(&format!("POST {path} HTTP/1.1\r\nHost: api.example.com{headers}"), &body);
    (request, message("HTTP/1.1 200 OK", &answer))
}

#[test]
fn no_planted_secret_is_printed() {
    if !super::built() {
        return;
    }
    let mut dice = Dice(25);
    let (mut secrets, mut lines, mut ts) = (Vec::new(), String::new(), 1_790_000_000_000_000_000_u64);
    let mut record = |value: Value| writeln!(lines, "{value}").expect("writing to a String cannot fail");
    record(json!({"ts": ts, "kind": "exec", "pid": 9, "ppid": 1, "start": 5, "uid": 1000, "exe": "/usr/bin/python3",
        "argv": ["python3", "agent.py"], "cwd": "/", "cgroup": "/"}));
    for number in 0..1000 {
        let (format, make, field) = FORMATS[number % FORMATS.len()];
        let secret = make(&mut dice);
        let (request, response) = exchange(number, &secret, field);
        for (dir, text) in [("out", request), ("in", response)] {
            ts += 1_000_000;
            record(json!({"ts": ts, "kind": "chunk", "pid": 9, "tid": 9, "conn": format!("c{number}"), "dir": dir,
                "source": "openssl", "peer": "192.0.2.1:443", "text": text}));
        }
        record(json!({"ts": ts, "kind": "close", "pid": 9, "conn": format!("c{number}")}));
        secrets.push((format, core(&secret).to_owned()));
    }
    let scratch = Scratch::new("secrets");
    let file = scratch.path("secrets.jsonl");
    std::fs::write(&file, &lines).expect("the scratch folder is writable");
    let file = file.to_str().expect("plain name");
    let mut leaked = Vec::new();
    for emit in ["exchanges", "actions", "workflows", "alerts"] {
        let done = agentward(["replay", file, "--emit", emit, "--format", "json"]);
        let printed = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success() && printed.lines().count() > 10, "{emit}: {}", printed.lines().count());
        let seen = |secret: &String| printed.contains(secret.as_str()) || printed.contains(&encoded(secret));
        leaked.extend(secrets.iter().filter(|(_, secret)| seen(secret)).map(|(format, _)| (emit, *format)));
    }
    assert!(leaked.is_empty(), "{} of 4000: {:?}", leaked.len(), &leaked[..leaked.len().min(20)]);
}
