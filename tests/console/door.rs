//! Strangers at the door, over plain sockets: nothing is told before the login, and what is odd is refused.

use std::io::{Read, Write};
use std::net::TcpStream;

use agent_tests::PATIENCE;
use agent_tests::program::agentward;

use crate::{Console, sample_runs};

/// Sends bytes and reads until the server closes.
fn ask(console: &Console, request: &str) -> String {
    let address = console.origin.strip_prefix("http://").expect("an address");
    let mut stream = TcpStream::connect(address).expect("the console listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    // A server that refuses early may close while we still write.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

pub fn get(console: &Console, path: &str, lines: &str) -> String {
    let host = console.origin.strip_prefix("http://").expect("an address");
    ask(console, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{lines}\r\n"))
}

pub fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[test]
#[ignore = "starts the built program; run by `cargo xtask test`"]
fn nothing_is_told_before_the_login() {
    let runs = sample_runs();
    let console = Console::of(&[&runs[0]]);
    let bearer = format!("Authorization: Bearer {}\r\n", console.token);
    let alerts = get(&console, "/api/v1/alerts", &bearer);
    assert_eq!(status(&alerts), "200", "{alerts}");
    let uid = alerts.split("\"uid\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("an alert has a uid");
    let paths = [
        "/",
        "/alerts",
        &format!("/alerts/{uid}"),
        &format!("/alerts/{uid}/report.html"),
        "/workflows",
        "/workflows/w2",
        "/workflows/w2/graph.svg",
        "/workflows/w2/graph.mmd",
        "/workflows/w2/graph.dot",
        "/agents",
        "/rules",
        "/api/v1/overview",
        "/api/v1/status",
        "/api/v1/agents",
        "/api/v1/workflows",
        "/api/v1/workflows/w2",
        "/api/v1/alerts",
        &format!("/api/v1/alerts/{uid}"),
        "/api/v1/rules",
        "/api/v1/openapi.json",
        "/api/v1/events?",
        "/metrics",
    ];
    for path in paths {
        let known = if path.contains("events") { String::new() } else { get(&console, path, &bearer) };
        assert!(path.contains("events") || status(&known) == "200", "{path}: {known:.300}");
        for lines in ["", "Cookie: agentward=0123\r\n", "Authorization: Bearer 0123456789abcdef0123456789abcdef\r\n"] {
            let answer = get(&console, path, lines);
            let expected = if path.starts_with("/api/") || path == "/metrics" { "401" } else { "303" };
            assert_eq!(status(&answer), expected, "{path} {lines}: {answer}");
            for word in ["refund", "gpt-5", "core.", "ticket", "python"] {
                assert!(!answer.contains(word), "{path} tells {word}: {answer}");
            }
        }
    }
    console.daemon.stop();
}

#[test]
#[ignore = "starts the built program; run by `cargo xtask test`"]
fn odd_requests_are_refused() {
    let runs = sample_runs();
    let console = Console::of(&[&runs[0]]);
    let host = console.origin.strip_prefix("http://").expect("an address").to_owned();
    let bearer = format!("Authorization: Bearer {}\r\n", console.token);
    let long = "a".repeat(5_000);
    let port = host.split(':').nth(1).expect("a port");
    for (what, request, expected) in [
        ("a rebound name", format!("GET / HTTP/1.1\r\nHost: evil.example:{port}\r\n{bearer}Connection: close\r\n\r\n"), "421"),
        ("no host", format!("GET / HTTP/1.0\r\n{bearer}\r\n"), "421"),
        (
            "two hosts",
            format!("GET / HTTP/1.1\r\nHost: {host}\r\nHost: evil.example\r\n{bearer}Connection: close\r\n\r\n"),
            "421",
        ),
        (
            "another origin",
            format!(
                "GET /api/v1/alerts HTTP/1.1\r\nHost: {host}\r\nOrigin: http://evil.example\r\n{bearer}Connection: close\r\n\r\n"
            ),
            "403",
        ),
        (
            "another port of this host",
            format!(
                "POST /login HTTP/1.1\r\nHost: {host}\r\nOrigin: http://127.0.0.1:1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            ),
            "403",
        ),
        (
            "a picture tag of another site",
            format!(
                "GET / HTTP/1.1\r\nHost: {host}\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\n{bearer}Connection: close\r\n\r\n"
            ),
            "403",
        ),
        ("a long path", format!("GET /{long} HTTP/1.1\r\nHost: {host}\r\n{bearer}Connection: close\r\n\r\n"), "414"),
        (
            "a large body that is announced",
            format!("POST /login HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5000\r\nConnection: close\r\n\r\ntoken={long}"),
            "413",
        ),
        (
            "a large body that is not announced",
            format!(
                "POST /login HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n1388\r\n{long}\r\n0\r\n\r\n"
            ),
            "413",
        ),
        (
            "a large head",
            format!("GET / HTTP/1.1\r\nHost: {host}\r\n{}Connection: close\r\n\r\n", format!("X-Much: {long}\r\n").repeat(20)),
            "431",
        ),
        ("a method that changes", format!("DELETE /alerts HTTP/1.1\r\nHost: {host}\r\n{bearer}Connection: close\r\n\r\n"), "405"),
        (
            "a path out of the assets",
            format!("GET /assets/../../etc/passwd HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"),
            "404",
        ),
        (
            "a wrong token",
            format!("POST /login HTTP/1.1\r\nHost: {host}\r\nContent-Length: 11\r\nConnection: close\r\n\r\ntoken=wrong"),
            "401",
        ),
    ] {
        let answer = ask(&console, &request);
        assert_eq!(status(&answer), expected, "{what}: {answer:.300}");
        assert!(!answer.contains("core."), "{what} was told something: {answer:.300}");
        assert!(!answer.contains("set-cookie"), "{what} got a session: {answer:.300}");
    }
    let right = format!("token={}", console.token);
    let login = format!(
        "POST /login HTTP/1.1\r\nHost: {host}\r\nOrigin: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{right}",
        console.origin,
        right.len()
    );
    let answer = ask(&console, &login);
    assert!(status(&answer) == "303" && answer.contains("HttpOnly; SameSite=Strict"), "{answer}");
    for header in ["content-security-policy: default-src 'none'", "x-content-type-options: nosniff", "cache-control: no-store"] {
        assert!(answer.contains(header), "{header} is missing: {answer}");
    }
    assert!(!console.daemon.stop().contains("fault"));
}

#[test]
#[ignore = "starts the built program; run by `cargo xtask test`"]
fn only_this_host_is_listened_to() {
    let runs = sample_runs();
    for (listen, reason) in [("0.0.0.0:0", "not loopback"), ("unix:here", "absolute"), ("8790", "neither")] {
        let done = agentward(["console", "--listen", listen, "--from", &runs[0]]);
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.code() == Some(2) && said.contains(reason), "{listen}: {said}");
    }
}
