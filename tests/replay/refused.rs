//! Input that cannot be used: one message that names the file, the place and what to do, and code 2. What stood before the fault counts.

use std::fs;

use agent_tests::Scratch;
use agent_tests::program::agentward;

use super::{built, data, printed};

/// A pack of one rule; `#` stands for the line that a case spoils.
const PACK: &str = "[pack]\nname = \"x\"\nversion = \"1.0.0\"\nengine = \">=0.1\"\n\n[[rule]]\nid = \"x.y\"\ntitle = \"T\"\nseverity = \"high\"\n#\nwhy = \"w\"\nfix = \"f\"\n";

struct Bench(Scratch);

impl Bench {
    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.0.path(name);
        fs::write(&path, bytes).expect("the scratch folder is writable");
        path.to_str().expect("plain name").to_owned()
    }

    /// Code 2 and one line that holds each of `words`; gives what was printed before the fault.
    fn check(&self, arguments: &[&str], words: &[&str]) -> String {
        let done = agentward(arguments);
        let said = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "{arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{arguments:?}: one message: {said}");
        for word in words {
            assert!(said.contains(word), "{arguments:?}: names `{word}`: {said}");
        }
        String::from_utf8(done.stdout).expect("UTF-8")
    }
}

fn recording() -> String {
    data("bad-run.jsonl").to_str().expect("plain name").to_owned()
}

/// The whole recording in both encodings.
fn both(bench: &Bench) -> (Vec<u8>, Vec<u8>) {
    let packed = bench.0.path("whole.awr");
    let done = agentward(["record", "convert", &recording(), packed.to_str().expect("plain name")]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    (fs::read(data("bad-run.jsonl")).expect("in the checkout"), fs::read(packed).expect("just written"))
}

/// A cut recording, by every verb that reads one: the fault is named, and what stands before it is what the whole recording gives.
fn cut(bench: &Bench, name: &str, bytes: &[u8], words: &[&str]) {
    let file = bench.file(name, bytes);
    let emit = ["--emit", "exchanges", "--format", "json"];
    let printed_before = bench.check(&[&["replay", &file][..], &emit].concat(), words);
    let whole = printed(&recording(), "exchanges");
    // The last exchange may be one that the cut left open.
    for (seen, wanted) in printed_before.lines().zip(whole.lines()).filter(|(seen, _)| seen.contains("\"incomplete\":[]")) {
        assert_eq!(seen, wanted, "{name}: what stands before the cut is not changed by it");
    }
    let target = bench.0.path("converted.jsonl");
    bench.check(&["record", "convert", &file, target.to_str().expect("plain name")], words);
    let done = agentward([&["replay", &file, "--lenient"][..], &emit].concat());
    assert!(done.status.success(), "{name}, lenient: {}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(String::from_utf8_lossy(&done.stdout), printed_before, "{name}: lenient takes what stands before the cut");
}

#[test]
fn a_cut_recording_is_named_at_every_kind_of_place() {
    if !built() {
        return;
    }
    let bench = Bench(Scratch::new("cut"));
    let (lines, packed) = both(&bench);

    // Lines: in the 40th record's first word, inside a string, in the middle of a number, before the last brace.
    let start = lines.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(38).expect("has 40 lines").0 + 1;
    let line = &lines[start..start + lines[start..].iter().position(|byte| *byte == b'\n').expect("ends")];
    let text = String::from_utf8(line.to_vec()).expect("JSON is UTF-8");
    let inside = |word: &str, more: usize| start + text.find(word).unwrap_or_else(|| panic!("{word} in {text}")) + more;
    for (place, at) in [
        ("brace", start + 1),
        ("key", inside("\"kind\"", 3)),
        ("colon", inside("\"kind\"", 7)),
        ("string", inside("\"kind\":\"", 10)),
        ("number", inside("\"ts\":", 9)),
        ("close", start + line.len() - 1),
    ] {
        cut(&bench, &format!("{place}.jsonl"), &lines[..at], &[&format!("{place}.jsonl:40:"), "cut", "--lenient"]);
    }
    // A character of two bytes, halved.
    let mut halved = lines[..start].to_vec();
    halved.extend_from_slice(b"{\"ts\":1,\"kind\":\"exec\",\"pid\":1,\"exe\":\"/b\xc3");
    cut(&bench, "character.jsonl", &halved, &["character.jsonl:40:", "cut", "--lenient"]);

    // Packed: in the magic, in the header's length and body, in a record's length, right behind it, in its body, before its last byte.
    let length = |at: usize| u32::from_le_bytes(packed[at..at + 4].try_into().expect("four")) as usize;
    let header = 8 + 4 + length(8);
    let mut record = header;
    for _ in 0..39 {
        record += 4 + length(record);
    }
    let end = record + 4 + length(record);
    for (place, at) in [("magic", 5), ("header-length", 10), ("header", header - 3)] {
        // There is nothing that a lenient reader could take.
        let file = bench.file(&format!("{place}.awr"), &packed[..at]);
        for more in [&[][..], &["--lenient"]] {
            bench.check(&[&["replay", &file][..], more].concat(), &[&format!("{place}.awr:record 0"), "cut in its header"]);
        }
    }
    for (place, at) in
        [("length", record + 2), ("bare", record + 4), ("body", record + 4 + length(record) / 2), ("last", end - 1)]
    {
        cut(&bench, &format!("{place}.awr"), &packed[..at], &[&format!("{place}.awr:record 40 at byte"), "cut", "--lenient"]);
    }
    // Between two records nothing is missing that could be missed.
    for (name, bytes) in [("between.awr", &packed[..end]), ("between.jsonl", &lines[..start])] {
        let file = bench.file(name, bytes);
        assert!(agentward(["replay", &file]).status.success(), "{name}");
    }
}

#[test]
fn a_recording_that_is_none_is_refused() {
    if !built() {
        return;
    }
    let bench = Bench(Scratch::new("no-recording"));
    let (_, packed) = both(&bench);
    let mut versioned = packed.clone();
    let at = packed.windows(7).position(|bytes| bytes == b"version").expect("the header names it") + 7;
    versioned[at] = 9;
    let mut huge = packed[..8 + 4 + packed[8] as usize].to_vec();
    huge.extend_from_slice(&u32::MAX.to_le_bytes());
    for (name, bytes, words) in [
        ("picture.awr", &b"GIF89a"[..], &["picture.awr:1:1"][..]),
        ("noise.awr", &[0xff, 0x00, 0xfe], &["noise.awr:1:1"]),
        ("version.awr", &versioned, &["version.awr", "version 9", "reads 1"]),
        ("huge.awr", &huge, &["huge.awr:record 1", "damaged"]),
        ("kind.jsonl", b"{\"ts\":1,\"kind\":\"wish\",\"pid\":1}\n", &["kind.jsonl:1:9", "--lenient"]),
        ("field.jsonl", b"{\"ts\":1,\"kind\":\"exit\",\"pid\":1,\"mood\":2}\n", &["field.jsonl:1:", "mood", "--lenient"]),
        ("list.jsonl", b"[1]\n", &["list.jsonl:1:"]),
    ] {
        let file = bench.file(name, bytes);
        bench.check(&["replay", &file], words);
    }
    bench.check(&["replay", "/nowhere/at/all.awr"], &["/nowhere/at/all.awr", "No such file"]);
    bench.check(&["replay", "/"], &["/:", "directory"]);
}

#[test]
fn an_unusable_rule_file_is_refused_by_every_verb() {
    if !built() {
        return;
    }
    let bench = Bench(Scratch::new("bad-rules"));
    let spoiled = |line: &str| PACK.replace('#', line);
    let good = "when = 'kind == \"tool.call\"'";
    fs::create_dir_all(bench.0.path("empty")).expect("the scratch folder is writable");
    let double =
        [bench.file("one.toml", spoiled(good)), bench.file("two.toml", spoiled(good).replace("name = \"x\"", "name = \"z\""))];
    for (name, text, words) in [
        ("toml.toml", "[rule\n".to_owned(), &["toml.toml:1:"][..]),
        ("key.toml", spoiled(&format!("{good}\nwhyy = \"w\"")), &["key.toml:11:1", "whyy", "why"]),
        ("when.toml", spoiled("when = 'kind == '"), &["when.toml:10:17"]),
        ("field.toml", spoiled("when = 'knid == \"a\"'"), &["field.toml:10:9", "knid"]),
        ("missing.toml", spoiled(""), &["missing.toml:7:6", "when"]),
    ] {
        let file = bench.file(name, text);
        bench.check(&["rules", "check", &file], words);
        bench.check(&["rules", "test", &file], words);
        bench.check(&["replay", &recording(), "--rules", &file], words);
        bench.check(&["run", "--rules", &file], words);
    }
    let noise = bench.file("noise.toml", [0xff, 0xfe]);
    bench.check(&["rules", "check", &noise], &["noise.toml", "UTF-8"]);
    let empty = bench.0.path("empty");
    bench.check(&["replay", &recording(), "--rules", empty.to_str().expect("plain name")], &["empty", "no .toml"]);
    bench.check(&["replay", &recording(), "--rules", "/nowhere.toml"], &["/nowhere.toml", "No such file"]);
    bench.check(&["replay", &recording(), "--rules", &double[0], "--rules", &double[1]], &["two.toml:7:", "x.y", "one.toml"]);
}

#[test]
fn unusable_settings_are_refused_before_anything_is_attached() {
    if !built() {
        return;
    }
    let bench = Bench(Scratch::new("bad-settings"));
    for (name, text, words) in [
        ("key.toml", "scope = \"all\"\nrullz = 1\n", &["key.toml:2:1", "rullz"][..]),
        ("deep.toml", "[capture]\nring = 1\n", &["deep.toml:2:1", "ring_bytes"]),
        ("word.toml", "scope = \"some\"\n", &["word.toml:1:9", "auto"]),
        ("type.toml", "[capture]\nring_bytes = \"big\"\n", &["type.toml:2:14"]),
        ("bound.toml", "[capture]\nring_bytes = 1000\n", &["bound.toml:2:1", "power of two"]),
        ("cut.toml", "[capture\n", &["cut.toml:1:"]),
    ] {
        let file = bench.file(name, text);
        let out = bench.0.path("never.awr");
        bench.check(&["record", "-o", out.to_str().expect("plain name"), "--config", &file], words);
        bench.check(&["run", "--config", &file], words);
        assert!(!out.exists(), "{name}: nothing was begun");
    }
    bench.check(&["run", "--config", "/nowhere.toml"], &["/nowhere.toml", "No such file"]);
    bench.check(&["record"], &["record -o FILE"]);
    bench.check(&["record", "-o", "/nowhere/at/all.awr.gz"], &["/nowhere/at/all.awr.gz", ".awr or .jsonl"]);
}

/// Scripts rely on the codes, so help tells them.
#[test]
fn help_tells_the_exit_codes() {
    if !built() {
        return;
    }
    let done = agentward(["--help"]);
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success() && said.contains("Exit codes:"), "{said}");
    for code in ["  0  ", "  1  ", "  2  ", "  3  "] {
        assert!(said.contains(code), "{code}: {said}");
    }
}
