//! A host that cannot be watched: one clear message that names what is missing, code 3, nothing attached.

use std::process::{Command, Output};

use agent_tests::Scratch;
use agent_tests::load::Load;
use agent_tests::peers::{World, python};
use agent_tests::program::binary;

/// Runs what follows with one system call answered by an error number: a kernel that was built without it, or is locked down.
const WITHOUT: &str = "
import ctypes, os, struct, sys
call, error = int(sys.argv[1]), int(sys.argv[2])
steps = [(0x20, 0, 0, 0), (0x15, 0, 1, call), (0x06, 0, 0, 0x00050000 | error), (0x06, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *step) for step in steps))
filter = ctypes.create_string_buffer(struct.pack('HxxxxxxQ', len(steps), ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, filter) == 0, ctypes.get_errno()
os.execv(sys.argv[3], sys.argv[3:])
";
const BPF: &str = "321";
const PERF_EVENT_OPEN: &str = "298";

/// How the daemon is started, and what the message must name.
struct Case {
    what: &'static str,
    prefix: &'static [&'static str],
    words: &'static [&'static str],
}

const CASES: [Case; 7] = [
    Case {
        what: "not root",
        prefix: &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
        words: &["root", "CAP_BPF", "CAP_PERFMON", "CAP_SYS_PTRACE", "sudo"],
    },
    Case {
        what: "root without capabilities",
        prefix: &["setpriv", "--bounding-set=-all", "--inh-caps=-all"],
        words: &["CAP_BPF", "CAP_DAC_READ_SEARCH"],
    },
    Case {
        what: "root without one capability",
        prefix: &["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"],
        words: &["missing here (CAP_SYS_PTRACE)"],
    },
    Case { what: "a kernel without BPF", prefix: &["without", BPF, "38"], words: &["kernel", "BPF"] },
    Case { what: "a kernel locked down", prefix: &["without", BPF, "1"], words: &["kernel", "refuses BPF", "not permitted"] },
    Case { what: "a kernel with another idea of BPF", prefix: &["without", BPF, "22"], words: &["kernel", "BPF ring buffers"] },
    // Everything loads, then the first attachment fails.
    Case { what: "no perf events", prefix: &["without", PERF_EVENT_OPEN, "13"], words: &["kernel", "refuses", "denied"] },
];

fn run(case: &Case, arguments: &[&str]) -> Output {
    let mut command = match case.prefix {
        ["without", rest @ ..] => {
            let mut command = Command::new(python());
            command.args(["-c", WITHOUT]).args(rest);
            command
        }
        prefix => {
            let mut command = Command::new(prefix[0]);
            command.args(&prefix[1..]);
            command
        }
    };
    command.arg(binary()).args(arguments).current_dir("/");
    command.output().expect("setpriv is part of util-linux")
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_host_that_refuses_gets_one_message_and_keeps_nothing() {
    let world = World::start("refusal");
    let scratch = Scratch::new("refusal-out");
    let mut client = Load::start(&world);
    client.make(1, "small");
    let file = scratch.path("out.awr");
    let state = scratch.path("agentward.toml");
    let text = format!("state_dir = \"{0}/state\"\nsocket = \"{0}/socket\"\n", scratch.folder().display());
    std::fs::write(&state, text).expect("the scratch folder is writable");
    let record = ["record", "-o", file.to_str().expect("plain name"), "--scope", "all"];
    let daemon = ["run", "--config", state.to_str().expect("plain name")];
    for case in &CASES {
        for arguments in [&record[..], &daemon] {
            let done = run(case, arguments);
            let said = String::from_utf8_lossy(&done.stderr);
            assert_eq!(done.status.code(), Some(3), "{}: {said}", case.what);
            assert_eq!(said.lines().count(), 1, "{}: one message: {said}", case.what);
            for word in case.words {
                assert!(said.contains(word), "{}: names `{word}`: {said}", case.what);
            }
            assert_eq!(client.probed_bytes(), 0, "{}: nothing stays attached", case.what);
        }
        eprintln!("{}: refused with one message, nothing attached", case.what);
    }
}
