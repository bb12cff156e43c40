//! A host that cannot be watched: one clear message, code 3, nothing attached.

use std::process::{Command, Output};

use agent_tests::Scratch;
use agent_tests::load::Load;
use agent_tests::peers::World;
use agent_tests::program::binary;

/// Runs the daemon with fewer rights.
fn with_less(rights: &[&str], arguments: &[&str]) -> Output {
    let mut command = Command::new("setpriv");
    command.args(rights).arg(binary()).args(arguments).current_dir("/");
    command.output().expect("setpriv is part of util-linux")
}

fn check(what: &str, done: &Output, remedy: &str) {
    let words = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(3), "{what}: {words}");
    assert_eq!(words.lines().count(), 1, "{what}: one message: {words}");
    assert!(words.contains(remedy), "{what}: names {remedy}: {words}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_host_that_refuses_gets_one_message_and_keeps_nothing() {
    let world = World::start("refusal");
    let scratch = Scratch::new("refusal-out");
    let mut client = Load::start(&world);
    client.make(1, "small");
    let file = scratch.path("out.awr");
    let record = ["record", "-o", file.to_str().expect("plain name"), "--scope", "all"];
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    check("not root", &with_less(&nobody, &record), "root");
    // What a kernel without the feature, or a lockdown, answers to the first call.
    let powerless = ["--bounding-set=-all", "--inh-caps=-all"];
    check("no capabilities", &with_less(&powerless, &record), "");
    assert_eq!(client.probed_bytes(), 0, "nothing stays attached");
}
