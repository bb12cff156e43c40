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

/// Blocks that a late reader did not hear.
const LATE: usize = 3;

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
        // The same story as one hears it who comes in the middle.
        if cases.len() > LATE {
            let late = format!("late/{conn}");
            for (number, case) in cases.iter().enumerate().skip(LATE) {
                let stream = u32::try_from(2 * number + 1).expect("small");
                let told = block(stream, &bytes_of_hex(case["wire"].as_str().expect("hex")));
                tape.say(&late, if asks { "out" } else { "in" }, &told);
            }
        }
        stories.push((conn, asks, cases));
    }
    let seen = tape.exchanges(&scratch);
    let rows_of = |conn: &str| seen.get(conn).map(Vec::as_slice).unwrap_or_default();
    let (mut blocks, mut late, mut faults) = (0, 0, Vec::new());
    for (conn, asks, cases) in &stories {
        for (number, case) in cases.iter().enumerate() {
            blocks += 1;
            let side = |rows: &[Value]| {
                let row = rows.iter().find(|row| row["stream"] == 2 * number + 1).cloned().unwrap_or_default();
                (row["incomplete"] == json!([]), row[if *asks { "request" } else { "response" }].clone())
            };
            let wanted = fields(case);
            let (whole, told) = side(rows_of(conn));
            if !whole || !is_told(&told, *asks, &wanted) {
                faults.push(format!("{conn}, block {number}: {told}"));
            }
            let (_, part) = side(rows_of(&format!("late/{conn}")));
            late += usize::from(!part.is_null());
            if !is_part(&part, &wanted) {
                faults.push(format!("late/{conn}, block {number}: {part}"));
            }
        }
    }
    eprintln!("{blocks} header blocks of {} stories, {late} of them heard late, {} differ", stories.len(), faults.len());
    assert!(faults.is_empty(), "{}", faults[..faults.len().min(10)].join("\n"));
    assert!(blocks > 10_000 && late > blocks / 2, "{blocks} blocks, {late} late");
}

/// The head has the fields of the story, in their order.
fn is_told(side: &Value, asks: bool, wanted: &[(String, String)]) -> bool {
    let plain: Vec<Value> =
        wanted.iter().filter(|(name, _)| !name.starts_with(':')).map(|(name, value)| json!([name, value])).collect();
    let pseudo = |name: &str| wanted.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let target = [side["path"].as_str(), side["query"].as_str()].into_iter().flatten().filter(|part| !part.is_empty());
    side["headers"] == Value::Array(plain)
        && if asks {
            side["method"].as_str() == pseudo(":method")
                && side["host"].as_str() == pseudo(":authority")
                && Some(target.collect::<Vec<_>>().join("?").as_str()) == pseudo(":path")
        } else {
            side["status"].as_u64() == pseudo(":status").and_then(|status| status.parse().ok())
        }
}

/// What the head has is true and in order; what was said before it was heard may be unknown.
fn is_part(side: &Value, wanted: &[(String, String)]) -> bool {
    let mut rest = wanted.iter();
    side["headers"].as_array().into_iter().flatten().all(|seen| {
        let fits = |seen: &Value, said: &String| *seen == json!(said) || *seen == json!("<unknown>");
        rest.any(|(name, value)| fits(&seen[0], name) && fits(&seen[1], value))
    })
}

/// Says what is wrong with the exchanges that were printed.
type Fault = dyn Fn(&[Value]) -> Option<String>;

/// A file of an archive as one exchange on a connection of its own.
struct Row {
    /// What is counted together.
    group: &'static str,
    asks: Vec<u8>,
    answer: Vec<u8>,
    /// What is wrong with what was printed of it.
    fault: Box<Fault>,
}

/// Every file of the archives of which `row` makes a case; at least so many of each group must be there.
fn check(archives: &[&str], least: &[(&str, usize)], row: impl Fn(&Path) -> Option<Row>) {
    let scratch = Scratch::new("public");
    if !archives.iter().all(|name| unpacked(name, &scratch)) {
        return;
    }
    let mut tape = Tape::new();
    let rows = files(scratch.folder()).into_iter().filter_map(|file| Some((name_of(&file), row(&file)?)));
    let rows: Vec<(String, Row)> = rows.collect();
    for (name, row) in &rows {
        tape.say(name, "out", &row.asks);
        tape.say(name, "in", &row.answer);
    }
    let seen = tape.exchanges(&scratch);
    let (mut counted, mut faults) = (BTreeMap::<&str, usize>::new(), Vec::new());
    for (name, row) in &rows {
        *counted.entry(row.group).or_default() += 1;
        let fault = (row.fault)(seen.get(name).map(Vec::as_slice).unwrap_or_default());
        faults.extend(fault.map(|fault| format!("{name}: {fault}")));
    }
    eprintln!("{counted:?}, {} judged otherwise", faults.len());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let few = least.iter().find(|(group, least)| counted.get(group).is_none_or(|count| count < least));
    assert!(few.is_none(), "{few:?} of {counted:?}");
}

fn contents(file: &Path) -> Vec<u8> {
    fs::read(file).expect("just unpacked")
}

/// A message with `body` behind a head of these lines and its length.
fn message(lines: &str, body: &[u8]) -> Vec<u8> {
    [format!("{lines}content-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

#[test]
fn json_that_must_not_parse_is_named_and_json_that_must_is_not() {
    check(&["jsontestsuite.tar.xz"], &[("must parse", 80), ("must not", 150)], |file| {
        let group = match name_of(file).split('_').next() {
            Some("y") => "must parse",
            Some("n") => "must not",
            _ => return None,
        };
        Some(Row {
            group,
            asks: message("POST / HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n", &contents(file)),
            answer: b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
            fault: Box::new(move |rows| {
                let anomalies: Vec<&str> =
                    rows.iter().flat_map(|row| row["anomalies"].as_array()).flatten().filter_map(Value::as_str).collect();
                // Two readers of a repeated key may differ although both must accept it.
                let odd = anomalies.iter().any(|anomaly| *anomaly != "json.duplicate_key");
                let right = odd == (group == "must not") && rows.len() == 1;
                (!right).then(|| format!("{anomalies:?}, {} exchanges", rows.len()))
            }),
        })
    });
}

#[test]
fn compressed_bodies_that_must_fail_do_and_the_others_are_read_whole() {
    check(&["zstd-golden.tar.xz", "brotli-testdata.tar.xz"], &[("whole", 5), ("broken", 1)], |file| {
        let coding = match file.extension()?.to_str()? {
            "zst" => "zstd",
            "compressed" => "br",
            _ => return None,
        };
        let broken = file.components().any(|part| part.as_os_str() == "golden-decompression-errors");
        let length = fs::metadata(file.with_extension("")).ok().filter(|_| !broken).map(|original| original.len());
        Some(Row {
            group: if broken { "broken" } else { "whole" },
            asks: b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
            answer: message(&format!("HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\n"), &contents(file)),
            fault: Box::new(move |rows| {
                let body = rows.first().map_or(&Value::Null, |row| &row["response"]["body"]);
                let right = body["complete"] == !broken && length.is_none_or(|length| body["len"] == length);
                (!right).then(|| body.to_string())
            }),
        })
    });
}
