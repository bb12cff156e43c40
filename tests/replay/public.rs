//! Public suites of other projects, replayed: HPACK stories, JSON that must and must not parse, compressed bodies.
//!
//! They are not part of the repository; where `../shared/testdata` is missing (a user's clone), what this project makes itself is
//! compared all the same (`conformance.rs`), and this says so. Archives and their origins: `../shared/testdata/README.md`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use agent_tests::Scratch;
use agent_tests::program::{replay, root};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

/// The archive `name`, unpacked into the folder.
fn unpacked(name: &str, scratch: &Scratch) -> bool {
    let archive = root().join("../shared/testdata").join(name);
    if !super::built() || !archive.exists() {
        eprintln!("left out: {} is not here", archive.display());
        return false;
    }
    let done = Command::new("tar").arg("xJf").arg(&archive).arg("-C").arg(scratch.folder()).status();
    assert!(done.is_ok_and(|status| status.success()), "{} cannot be unpacked", archive.display());
    true
}

/// Files below `folder`, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of the archive").map(|entry| entry.expect("can be read").path()) {
        if entry.is_dir() { all.extend(files(&entry)) } else { all.push(entry) }
    }
    all.sort();
    all
}

fn name_of(file: &Path) -> String {
    file.file_name().and_then(|name| name.to_str()).expect("a plain name").to_owned()
}

/// A recording of one process; each connection is told by its name.
struct Tape {
    lines: String,
    now: u64,
}

impl Tape {
    fn new() -> Tape {
        let mut tape = Tape { lines: String::new(), now: 1_790_000_000_000_000_000 };
        let start = tape.now;
        tape.put(json!({"kind": "exec", "pid": 1, "ppid": 0, "start": start, "uid": 0, "exe": "/bin/x", "argv": ["x"], "cwd": "/", "cgroup": "/"}));
        tape
    }

    fn put(&mut self, mut record: Value) {
        self.now += 1000;
        record["ts"] = self.now.into();
        writeln!(self.lines, "{record}").expect("a string takes it");
    }

    fn say(&mut self, conn: &str, dir: &str, data: &[u8]) {
        let data = BASE64.encode(data);
        self.put(json!({"kind": "chunk", "pid": 1, "tid": 1, "conn": conn, "dir": dir, "source": "openssl", "role": "client", "data": data}));
    }

    /// What `replay --emit exchanges` says of it, by connection.
    fn exchanges(&self, scratch: &Scratch) -> BTreeMap<String, Vec<Value>> {
        let file = scratch.path("recording.jsonl");
        fs::write(&file, &self.lines).expect("scratch is writable");
        let mut by_connection = BTreeMap::<String, Vec<Value>>::new();
        for row in replay(&file, "exchanges", &["--reveal"]) {
            by_connection.entry(row["conn"].as_str().unwrap_or_default().to_owned()).or_default().push(row);
        }
        by_connection
    }
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block as HEADERS and CONTINUATION.
fn block(stream: u32, wire: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = wire.chunks(16_000).collect();
    let last = parts.len() - 1;
    let framed = parts.iter().enumerate().map(|(at, part)| {
        let (kind, more) = if at == 0 { (1, 1) } else { (9, 0) };
        frame(kind, more | if at == last { 4 } else { 0 }, stream, part)
    });
    framed.collect::<Vec<_>>().concat()
}

fn bytes_of_hex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
}

/// The fields of a case: one object each.
fn fields(case: &Value) -> Vec<(String, String)> {
    let all = case["headers"].as_array().expect("a list").iter().flat_map(|field| field.as_object().expect("an object"));
    all.map(|(name, value)| (name.clone(), value.as_str().expect("text").to_owned())).collect()
}

#[test]
fn hpack_stories_of_four_encoders_give_their_fields() {
    let scratch = Scratch::new("hpack");
    if !unpacked("hpack-test-case-4.tar.xz", &scratch) {
        return;
    }
    let mut tape = Tape::new();
    let mut stories = Vec::new();
    for file in files(scratch.folder()).iter().filter(|file| name_of(file).starts_with("story")) {
        let story: Value = serde_json::from_slice(&fs::read(file).expect("just unpacked")).expect("JSON");
        let conn = format!("{}/{}", name_of(file.parent().expect("a folder")), name_of(file));
        let cases = story["cases"].as_array().expect("a list").clone();
        let asks = cases.iter().any(|case| fields(case).iter().any(|(name, _)| name == ":method"));
        let table = cases.iter().filter_map(|case| case["header_table_size"].as_u64()).max().unwrap_or(4096);
        let settings = [&[0, 1][..], &u32::try_from(table).expect("small").to_be_bytes()].concat();
        tape.say(&conn, "out", &[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, &settings)].concat());
        tape.say(&conn, "in", &[frame(4, 0, 0, &settings), frame(4, 1, 0, b"")].concat());
        tape.say(&conn, "out", &frame(4, 1, 0, b""));
        for (number, case) in cases.iter().enumerate() {
            let stream = u32::try_from(2 * number + 1).expect("small");
            let told = block(stream, &bytes_of_hex(case["wire"].as_str().expect("hex")));
            // The other side says a block that touches no table: `:status: 200`, or GET https `/` of host `a`.
            if asks {
                tape.say(&conn, "out", &told);
                tape.say(&conn, "in", &frame(1, 5, stream, b"\x88"));
            } else {
                tape.say(&conn, "out", &frame(1, 5, stream, b"\x82\x87\x84\x01\x01a"));
                tape.say(&conn, "in", &told);
            }
        }
        stories.push((conn, asks, cases));
    }
    let seen = tape.exchanges(&scratch);
    let (mut blocks, mut faults) = (0, Vec::new());
    for (conn, asks, cases) in &stories {
        let rows = seen.get(conn).map(Vec::as_slice).unwrap_or_default();
        for (number, case) in cases.iter().enumerate() {
            blocks += 1;
            let row = rows.iter().find(|row| row["stream"] == 2 * number + 1).unwrap_or(&Value::Null);
            let side = &row[if *asks { "request" } else { "response" }];
            let wanted = fields(case);
            let plain: Vec<Value> =
                wanted.iter().filter(|(name, _)| !name.starts_with(':')).map(|(name, value)| json!([name, value])).collect();
            let pseudo = |name: &str| wanted.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
            let target = [side["path"].as_str(), side["query"].as_str()].into_iter().flatten().filter(|part| !part.is_empty());
            let same = side["headers"] == Value::Array(plain)
                && if *asks {
                    side["method"].as_str() == pseudo(":method")
                        && side["host"].as_str() == pseudo(":authority")
                        && Some(target.collect::<Vec<_>>().join("?").as_str()) == pseudo(":path")
                } else {
                    side["status"].as_u64() == pseudo(":status").and_then(|status| status.parse().ok())
                };
            if !same || row["incomplete"] != json!([]) {
                faults.push(format!("{conn}, block {number}: {side}"));
            }
        }
    }
    eprintln!("{blocks} header blocks of {} stories, {} differ", stories.len(), faults.len());
    assert!(blocks > 10_000 && faults.is_empty(), "{}", faults[..faults.len().min(10)].join("\n"));
}

#[test]
fn json_that_must_not_parse_is_named_and_json_that_must_is_not() {
    let scratch = Scratch::new("json");
    if !unpacked("jsontestsuite.tar.xz", &scratch) {
        return;
    }
    let mut tape = Tape::new();
    let cases = files(scratch.folder());
    for file in &cases {
        let body = fs::read(file).expect("just unpacked");
        let head =
            format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        tape.say(&name_of(file), "out", &[head.as_bytes(), &body].concat());
        tape.say(&name_of(file), "in", b"HTTP/1.1 204 No Content\r\n\r\n");
    }
    let seen = tape.exchanges(&scratch);
    let (mut counted, mut faults) = ([0, 0], Vec::new());
    for file in &cases {
        let name = name_of(file);
        let rows = seen.get(&name).map(Vec::as_slice).unwrap_or_default();
        let anomalies: Vec<&str> =
            rows.iter().flat_map(|row| row["anomalies"].as_array()).flatten().filter_map(Value::as_str).collect();
        // Two readers of a repeated key may differ although both must accept it.
        let odd = anomalies.iter().any(|anomaly| *anomaly != "json.duplicate_key");
        let fault = match name.split('_').next() {
            Some("y") => (0, odd),
            Some("n") => (1, !odd),
            _ => continue,
        };
        counted[fault.0] += 1;
        if fault.1 || rows.len() != 1 {
            faults.push(format!("{name}: {anomalies:?}, {} exchanges", rows.len()));
        }
    }
    eprintln!("{} texts that must parse, {} that must not, {} judged otherwise", counted[0], counted[1], faults.len());
    assert!(counted[0] > 80 && counted[1] > 150 && faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn compressed_bodies_that_must_fail_do_and_the_others_are_read_whole() {
    let scratch = Scratch::new("codings");
    if !unpacked("zstd-golden.tar.xz", &scratch) || !unpacked("brotli-testdata.tar.xz", &scratch) {
        return;
    }
    let mut tape = Tape::new();
    let all = files(scratch.folder());
    let cases: Vec<&PathBuf> =
        all.iter().filter(|file| name_of(file).ends_with(".zst") || name_of(file).ends_with(".compressed")).collect();
    for file in &cases {
        let body = fs::read(file).expect("just unpacked");
        let coding = if name_of(file).ends_with(".zst") { "zstd" } else { "br" };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-length: {}\r\n\r\n", body.len());
        tape.say(&name_of(file), "out", b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        tape.say(&name_of(file), "in", &[head.as_bytes(), &body].concat());
    }
    let seen = tape.exchanges(&scratch);
    for file in &cases {
        let name = name_of(file);
        let body = &seen[&name][0]["response"]["body"];
        let broken = file.components().any(|part| part.as_os_str() == "golden-decompression-errors");
        assert_eq!(body["complete"], !broken, "{name}: {body}");
        let original = file.with_extension("");
        if !broken && original.exists() {
            assert_eq!(body["len"], fs::metadata(&original).expect("exists").len(), "{name}");
        }
    }
    assert!(cases.len() >= 8, "{} cases", cases.len());
}
