//! The architecture as a test: who may import whom, and what the pure part may not touch.

use std::fs;
use std::path::{Path, PathBuf};

/// In the order of the pipeline: a stage may import `base` and stages before it.
const STAGES: [&str; 7] = ["capture", "reassemble", "decode", "understand", "correlate", "decide", "deliver"];

/// What a pure stage must not name: clocks, IO, threads, randomness.
const IMPURE: [&str; 10] = [
    "std::fs",
    "std::net::Tcp",
    "std::net::Udp",
    "std::env",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant::now",
    "RandomState",
    "tokio::",
];

/// Folders of the shell: they do IO on purpose.
const SHELL: [&str; 7] =
    ["deliver/journal", "deliver/evidence", "deliver/outbox", "deliver/sink", "capture/ring", "console", "probes"];

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the source tree is readable") {
        let path = entry.expect("the source tree is readable").path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            out.push(path);
        }
    }
}

/// Each source file with its path below `src` and its text without tests and comments.
fn each_source(mut check: impl FnMut(&str, &str)) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    for file in files {
        let name = file.strip_prefix(&root).expect("below the root").to_str().expect("our names are ASCII").to_owned();
        if name.ends_with("tests.rs") || name.contains("/tests/") || name == "tidy.rs" {
            continue;
        }
        let text = fs::read_to_string(&file).expect("sources are UTF-8");
        let code = text.split("#[cfg(test)]\nmod tests").next().expect("split gives a first part");
        let code: String =
            code.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect();
        check(&name, &code);
    }
}

#[test]
fn stages_import_only_what_stands_before_them() {
    let mut faults = Vec::new();
    each_source(|name, code| {
        let Some(stage) = STAGES.iter().position(|stage| name.starts_with(&format!("{stage}/"))) else { return };
        for later in STAGES[stage + 1..].iter().chain(&["pipeline", "console", "probes"]) {
            if code.contains(&format!("crate::{later}::")) || code.contains(&format!("crate::{later};")) {
                faults.push(format!("{name} imports {later}"));
            }
        }
    });
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn base_imports_no_stage() {
    let mut faults = Vec::new();
    each_source(|name, code| {
        let names_a_stage = STAGES.iter().any(|stage| code.contains(&format!("crate::{stage}")));
        if name.starts_with("base/") && names_a_stage {
            faults.push(name.to_owned());
        }
    });
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn the_middle_is_pure() {
    let mut faults = Vec::new();
    each_source(|name, code| {
        if !SHELL.iter().any(|shell| name.starts_with(shell)) && STAGES.iter().any(|stage| name.starts_with(&format!("{stage}/")))
        {
            faults.extend(IMPURE.iter().filter(|word| code.contains(*word)).map(|word| format!("{name} names {word}")));
        }
    });
    assert!(faults.is_empty(), "{faults:#?}");
}
