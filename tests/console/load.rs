//! The console under the traffic of a busy host: run by `cargo xtask bench console`, which prints what it measured.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use agent_tests::Scratch;
use agent_tests::program::agentward;
use serde_json::{Value, json};

use crate::door::{get, status};
use crate::hostile::{chunk, post, reply};
use crate::{Console, pages};

const WORKFLOWS: u64 = 10_000;
const ALERTS: u64 = 1_000;
const HOUR: u64 = 3_600_000_000_000;
const BEGIN: u64 = 1_790_000_000_000_000_000;
/// Agents that share the workflows.
const AGENTS: u64 = 50;

/// An hour of a busy host: each workflow is a question, a tool call with its API call and its result, and an answer; every tenth one pays
/// money that nobody asked for.
fn hour(file: &Path) {
    let mut out = String::new();
    let mut put = |record: Value| writeln!(out, "{record}").expect("writing to a String cannot fail");
    for agent in 0..AGENTS {
        let pid = 6000 + agent;
        put(
            json!({"ts": BEGIN, "kind": "exec", "pid": pid, "ppid": 1, "start": BEGIN, "uid": 1000, "exe": format!("/usr/bin/agent{agent}"), "argv": ["agent"], "cwd": "/srv", "cgroup": "/"}),
        );
    }
    for number in 0..WORKFLOWS {
        let pid = usize::try_from(6000 + number % AGENTS).expect("small");
        let ts = BEGIN + 1_000_000_000 + number * (HOUR / WORKFLOWS);
        let bad = number % (WORKFLOWS / ALERTS) == 0;
        let (name, arguments) = if bad {
            ("transfer_money", json!({"account": format!("DE{number:08}"), "amount": 4900}))
        } else {
            ("get_order", json!({"order_id": number}))
        };
        let prompt = json!({"role": "user", "content": format!("Where is my order {number}? It should have come on Monday.")});
        let call = json!({"id": format!("call_{number}"), "type": "function", "function": {"name": name, "arguments": arguments.to_string()}});
        let tools = json!([{"type": "function", "function": {"name": name}}]);
        let said = json!({"role": "assistant", "content": null, "tool_calls": [call]});
        let result = json!({"role": "tool", "tool_call_id": call["id"], "content": "{\"state\": \"sent\"}"});
        let model = |messages: Value| {
            post("/v1/chat/completions", "api.openai.com", &json!({"model": "gpt-5", "tools": tools, "messages": messages}))
        };
        let answer = |message: &Value, why: &str| {
            reply(
                &json!({"id": format!("r{number}"), "model": "gpt-5", "choices": [{"index": 0, "finish_reason": why, "message": message}],
                "usage": {"prompt_tokens": 120, "completion_tokens": 20}}),
            )
        };
        let api = |path: &str, body: &Value| {
            let mut record = chunk(0, pid, "out", &post(path, "shop.example", body));
            record["conn"] = json!(format!("shop{pid}"));
            record["sni"] = json!("shop.example");
            record
        };
        let at = |mut record: Value, after: u64| {
            record["ts"] = json!(ts + after * 1_000_000);
            record
        };
        let mut shop = chunk(0, pid, "in", &reply(&json!({"state": "sent"})));
        shop["conn"] = json!(format!("shop{pid}"));
        let path = if bad { "/v1/transfers" } else { "/v1/orders/search" };
        put(at(chunk(0, pid, "out", &model(json!([prompt]))), 1));
        put(at(chunk(0, pid, "in", &answer(&said, "tool_calls")), 2));
        put(at(api(path, &arguments), 3));
        put(at(shop, 4));
        put(at(chunk(0, pid, "out", &model(json!([prompt, said, result]))), 5));
        put(at(chunk(0, pid, "in", &answer(&json!({"role": "assistant", "content": "It was sent."}), "stop")), 6));
    }
    fs::write(file, out).expect("the scratch folder is writable");
}

/// Seconds of processor time that a process has used.
fn used(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the daemon runs");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name ends").split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().expect("a number") + fields[12].parse::<f64>().expect("a number");
    ticks / 100.0
}

/// Cores that a process uses over a time.
fn cores(pid: u32, time: Duration) -> f64 {
    let (before, begun) = (used(pid), Instant::now());
    std::thread::sleep(time);
    (used(pid) - before) / begun.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn seconds(name: &str, otherwise: u64) -> Duration {
    Duration::from_secs(std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise))
}

#[test]
#[ignore = "a measurement: cargo xtask bench console"]
fn load_of_a_busy_host() {
    let scratch = Scratch::new("load");
    let file = scratch.path("hour.jsonl");
    hour(&file);
    let name = file.to_str().expect("a plain name");

    // What painting adds to a replay of the same hour: the cost with the console configured and no page open.
    let replayed = |arguments: &[&str]| {
        let begun = Instant::now();
        assert!(agentward(arguments).status.success());
        begun.elapsed().as_secs_f64()
    };
    let bare = median((0..3).map(|_| replayed(&["replay", name, "--format", "json"])).collect());
    let mut loads = Vec::new();
    let mut console = None;
    for _ in 0..3 {
        let begun = Instant::now();
        console = Some(Console::of(&[name]));
        loads.push(begun.elapsed().as_secs_f64());
    }
    let console = console.expect("three were started");
    let painting = (median(loads) - bare).max(0.0) / 3600.0;
    println!(
        "one hour: {WORKFLOWS} workflows; replay {bare:.1} s; painting adds {painting:.6} cores while no page is open (wanted: zero)"
    );

    let bearer = format!("Authorization: Bearer {}\r\n", console.token);
    let overview = get(&console, "/api/v1/overview", &bearer);
    let overview: Value = serde_json::from_str(overview.split("\r\n\r\n").nth(1).expect("a body")).expect("JSON");
    println!("the picture knows {} workflows and {} alerts", overview["workflows"], overview["alerts"]);
    let alert = get(&console, "/api/v1/alerts?limit=1", &bearer);
    let uid = alert.split("\"uid\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("an alert").to_owned();
    for path in ["/", "/alerts", "/workflows", "/agents", "/rules", &format!("/alerts/{uid}")] {
        let times: Vec<f64> = (0..15)
            .map(|_| {
                let begun = Instant::now();
                assert_eq!(status(&get(&console, path, &bearer)), "200", "{path}");
                begun.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        println!("{path:.12}: {:.1} ms from the server (wanted: at most 300 with the browser)", median(times));
    }
    let mut browser = console.browser("load-first");
    let first: Vec<f64> = (0..9)
        .map(|_| {
            let begun = Instant::now();
            browser.open(&format!("{}/", console.origin));
            begun.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    println!("overview, opened in the browser until all is loaded: {:.0} ms (wanted: at most 300)", median(first));
    drop(browser);
    console.daemon.stop();

    let time = seconds("AGENTWARD_LOAD_SECONDS", 20);
    let paced = Console::start(&["console", "--listen", "127.0.0.1:0", "--pace", "1", "--from", name]);
    let pid = paced.daemon.pid();
    let closed = cores(pid, time);
    let mut browser = paced.browser("load");
    let heap_before = browser.heap();
    let open = cores(pid, time);
    println!(
        "same rate live: {closed:.4} cores closed, {open:.4} open: the page costs {:.4} (wanted: at most 0.02)",
        (open - closed).max(0.0)
    );

    // How far the page is behind the API, which reads the picture itself.
    let bearer = format!("Authorization: Bearer {}\r\n", paced.token);
    let shown = "Number(document.querySelector('#numbers .card:nth-child(3) .big').textContent)";
    let mut behind = Vec::new();
    while behind.len() < 5 {
        let before = browser.eval(shown);
        let begun = Instant::now();
        let known = loop {
            let answer = get(&paced, "/api/v1/overview", &bearer);
            let overview: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).expect("a body")).expect("JSON");
            let total: u64 = overview["alerts"].as_object().expect("counts").values().filter_map(Value::as_u64).sum();
            if before.as_u64().is_none_or(|before| total > before) {
                break total;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "no alert came");
            std::thread::sleep(Duration::from_millis(20));
        };
        let seen = Instant::now();
        while browser.eval(shown).as_u64().is_none_or(|shown| shown < known) {
            assert!(seen.elapsed() < Duration::from_secs(60), "the page does not follow");
            std::thread::sleep(Duration::from_millis(20));
        }
        behind.push(seen.elapsed().as_secs_f64() * 1e3);
    }
    println!(
        "an alert is on the page {:.0} ms after the picture has it, {:.0} at worst (wanted: at most 1000)",
        median(behind.clone()),
        behind.iter().copied().fold(0.0, f64::max)
    );

    let watched = seconds("AGENTWARD_MEMORY_SECONDS", 60);
    let mut heaps = vec![heap_before];
    for _ in 0..6 {
        std::thread::sleep(watched / 6);
        heaps.push(browser.heap());
    }
    let mib: Vec<String> = heaps.iter().map(|bytes| format!("{:.2}", *bytes as f64 / f64::from(1 << 20))).collect();
    println!("heap of the page over {} s, MiB: {} (wanted: flat)", watched.as_secs(), mib.join(" "));
    assert_eq!(browser.eval(pages::LAYOUT), json!([]));
    drop(browser);
    paced.daemon.stop();
}
