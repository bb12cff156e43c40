//! Protocols beyond HTTP/1: each client against the record that its server keeps.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use agent_tests::compare::{self, End};
use agent_tests::peers::{Server, World, finish};
use agent_tests::{each_client, json_lines, program};
use serde_json::Value;

/// A client of one of the servers of `protocols.py`, and how many rows it makes there at least.
struct Case {
    name: &'static str,
    server: &'static str,
    rows: usize,
    client: fn(&World, u16) -> Command,
    compare: fn(&[Value], &[Value]),
}

const CASES: [Case; 6] = [
    Case { name: "curl_http2", server: "h2", rows: 8, client: curl, compare: http2 },
    Case {
        name: "python_httpx_http2",
        server: "h2",
        rows: 12,
        client: |world, port| h2(world.python("clients/httpx_h2.py"), port),
        compare: http2,
    },
    Case { name: "node_http2", server: "h2", rows: 26, client: |world, port| h2(world.node("h2.mjs"), port), compare: http2 },
    Case { name: "python_grpc", server: "grpc", rows: 11, client: grpc_client, compare: grpc },
    Case {
        name: "websocket",
        server: "websocket",
        rows: 30,
        client: |world, port| socket(world, port, "kept"),
        compare: websocket,
    },
    Case {
        name: "websocket_fresh",
        server: "websocket",
        rows: 30,
        client: |world, port| socket(world, port, "fresh"),
        compare: websocket,
    },
];

fn h2(mut client: Command, port: u16) -> Command {
    client.env("H2_URL", format!("https://localhost:{port}"));
    client
}

/// One connection: codings, trailers, an upload, several at once.
fn curl(world: &World, port: u16) -> Command {
    fs::write(world.path("upload"), vec![0xA5; 300_001]).expect("the scratch folder is writable");
    let url = format!("https://localhost:{port}/echo");
    let mut curl = world.client("curl");
    curl.args(["-sS", "--http2", "--parallel", "--parallel-max", "4"]);
    for ask in ["n=0", "n=1", "n=1000000", "n=70000&gzip=1", "n=5&trailers=1", "status=204"] {
        curl.args(["-o", "/dev/null", &format!("{url}?{ask}")]);
    }
    curl.args(["--next", "-sS", "--http2", "--data-binary", "@upload", "-o", "/dev/null", &format!("{url}?n=100")]);
    curl.args(["--next", "-sS", "--http2", "--head", "-o", "/dev/null", &format!("{url}?n=100")]);
    curl
}

fn grpc_client(world: &World, port: u16) -> Command {
    let mut client = world.python("clients/grpc_desk.py");
    client.env("GRPC_TARGET", format!("127.0.0.1:{port}"));
    client
}

fn socket(world: &World, port: u16, mode: &str) -> Command {
    let mut client = world.python("clients/websocket.py");
    client.arg(mode).env("WS_URL", format!("wss://localhost:{port}"));
    client
}

fn http2(made: &[Value], seen: &[Value]) {
    compare::check(made, seen, End::Client);
    assert!(seen.iter().any(|exchange| exchange["protocol"] == "http/2"), "no exchange is HTTP/2");
    assert!(seen.iter().all(|exchange| exchange.get("anomalies").is_none()), "nothing is odd about any of them");
}

/// By path and bytes of the messages: what was called, what came back, and how it ended.
fn grpc(made: &[Value], seen: &[Value]) {
    let of_client = |row: &Value| made.iter().any(|made| made["client"]["pid"] == row["pid"]);
    let seen: Vec<&Value> = seen.iter().filter(|row| of_client(row) && row["protocol"] == "grpc").collect();
    let said = |request: &Value, path: &Value, response: &Value, events: &Value, status: &Value| {
        format!(
            "{path} {} {} {} {} {events} {status}",
            request["sha256"], response["status"], response["len"], response["sha256"]
        )
    };
    let status = |row: &Value| {
        let lists = ["trailers", "headers"].map(|list| row["response"][list].as_array().cloned().unwrap_or_default());
        lists.iter().flatten().find(|field| field[0] == "grpc-status").map_or(Value::Null, |field| field[1].clone())
    };
    let made = made.iter().map(|row| said(&row["request"], &row["path"], &row["response"], &row["events"], &row["grpc_status"]));
    let seen = seen.iter().map(|row| {
        assert_eq!(row["incomplete"], Value::Array(Vec::new()), "{row}");
        let (request, response) = (&row["request"], &row["response"]);
        let body = serde_json::json!({"status": response["status"], "len": response["body"]["len"], "sha256": response["body"]["sha256"]});
        said(&request["body"], &request["path"], &body, &response["events"], &status(row))
    });
    assert_same(made, seen);
}

/// The upgrade, and each message of both directions.
fn websocket(made: &[Value], seen: &[Value]) {
    let (messages, upgrades): (Vec<Value>, Vec<Value>) = made.iter().cloned().partition(|row| row.get("dir").is_some());
    let (told, exchanges): (Vec<Value>, Vec<Value>) = seen.iter().cloned().partition(|row| row.get("dir").is_some());
    compare::check(&upgrades, &exchanges, End::Client);
    let said = |row: &Value| format!("{} {} {} {}", row["dir"], row["opcode"], row["body"]["len"], row["body"]["sha256"]);
    // The server's end of the connection is recorded as well.
    let of_client = |row: &Value| made.iter().any(|made| made["client"]["pid"] == row["pid"]);
    let conns: Vec<&Value> = exchanges.iter().filter(|row| of_client(row)).map(|row| &row["conn"]).collect();
    let is_content = |row: &Value| row["opcode"] == "text" || row["opcode"] == "binary";
    let told = told.iter().filter(|row| conns.contains(&&row["conn"]) && is_content(row));
    assert_same(messages.iter().map(said), told.map(said));
}

fn assert_same(made: impl Iterator<Item = String>, seen: impl Iterator<Item = String>) {
    let mut counts = BTreeMap::<String, [usize; 2]>::new();
    made.for_each(|row| counts.entry(row).or_default()[0] += 1);
    seen.for_each(|row| counts.entry(row).or_default()[1] += 1);
    let faults: Vec<_> = counts.iter().filter(|(_, [made, seen])| made != seen).collect();
    assert!(!counts.is_empty() && faults.is_empty(), "made and seen differ: {faults:#?}");
}

fn check(case: &Case) {
    let world = World::start(case.name);
    let server = Server::start(&["protocols.py", case.server], world.folder(), &format!("{}_port", case.server));
    let client = (case.client)(&world, server.port());
    let file = world.path("recording.jsonl");
    program::record(&file, &["--scope", "all"], || finish(client));
    let made = world.rows(&format!("{}.jsonl", case.server));
    assert!(made.len() >= case.rows, "the client made {} rows only", made.len());
    compare::check_programs(&made, &json_lines(&fs::read_to_string(&file).expect("the recorder wrote it")));
    (case.compare)(&made, &program::replay(&file, "exchanges", &["--reveal"]));
    eprintln!("{}: {} made, as many seen, bodies equal", case.name, made.len());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn other_protocols_are_seen_as_their_server_received_them() {
    each_client(&CASES, |case| case.name, check);
}
