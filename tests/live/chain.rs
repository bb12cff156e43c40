//! Who did what for whom, over several agents: a user asks a desk, whose model asks a writer, whose model calls a tool of an MCP server,
//! whose shell writes a file. Each of these is one workflow, whatever the others do at the same time, and each edge is right.
//!
//! The programs are services with the real SDKs (`tests/peers/risks`). Which process did which step they say themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use agent_tests::peers::Server;
use agent_tests::{Scratch, json_lines, program};
use serde_json::Value;

use crate::risks::{Played, play};

/// What stands in a workflow: a step, and what it follows from, as `kind process [in]`; `in` is the server's side of a call. `{call}` is
/// the call that goes from one agent to the other.
const CHAIN: &[(&str, &[Edge])] = &[
    ("api.request desk in", &[]),
    ("llm.request desk", &[edge("api.request desk in", "serving_request", 0.8)]),
    ("llm.response desk", &[edge("llm.request desk", "answer", 1.0)]),
    ("tool.call desk", &[edge("llm.response desk", "declared_tool_call", 1.0)]),
    ("{call} desk", &[edge("tool.call desk", "same_arguments", 0.8)]),
    ("{call} writer in", &[edge("{call} desk", "same_socket", 1.0)]),
    ("llm.request writer", &[edge("{call} writer in", "serving_request", 0.8)]),
    ("llm.response writer", &[edge("llm.request writer", "answer", 1.0)]),
    ("tool.call writer", &[edge("llm.response writer", "declared_tool_call", 1.0)]),
    ("mcp.request server in", &[edge("tool.call writer", "same_arguments", 0.95)]),
    ("process.exec shell", &[edge("mcp.request server in", "serving_request", 0.85)]),
    ("file.write shell", &[edge("process.exec shell", "child_process", 0.95)]),
    ("tool.result writer", &[edge("tool.call writer", "tool_result", 1.0), edge("mcp.request server in", "effect_result", 0.8)]),
    (
        "llm.request writer 2",
        &[edge("tool.result writer", "tool_result", 1.0), edge("llm.response writer", "history_prefix", 0.95)],
    ),
    ("llm.response writer 2", &[edge("llm.request writer 2", "answer", 1.0)]),
    ("tool.result desk", &[edge("tool.call desk", "tool_result", 1.0), edge("{call} desk", "effect_result", 0.8)]),
    ("llm.request desk 2", &[edge("tool.result desk", "tool_result", 1.0), edge("llm.response desk", "history_prefix", 0.95)]),
    ("llm.response desk 2", &[edge("llm.request desk 2", "answer", 1.0)]),
];

/// From, why, and at least so sure.
type Edge = (&'static str, &'static str, f64);

const fn edge(from: &'static str, why: &'static str, confidence: f64) -> Edge {
    (from, why, confidence)
}

/// How the desk asks the writer.
const DOORS: &[(&str, &str, usize)] = &[("desk-a2a", "a2a.request", 500), ("desk-http", "api.request", 600)];

/// Requests of users to each desk: one alone, then ten at once.
const REQUESTS: usize = 11;

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_request_is_one_workflow_over_agents_servers_shells_and_files() {
    let scratch = Scratch::new("chain");
    let office = Server::start(&["risks/office.py"], scratch.folder(), "port");
    let file = scratch.path("recording.jsonl");
    let (runs, deputy) = program::record(&file, &["--scope", "auto"], || {
        let runs: Vec<Played> =
            DOORS.iter().map(|(story, _, number)| play(story, false, *number, &scratch, office.port())).collect();
        (runs, play("service-deputy", false, 700, &scratch, office.port()))
    });
    let actions = program::replay(&file, "actions", &["--reveal"]);
    let workflows = program::replay(&file, "workflows", &[]);
    let notes = json_lines(&std::fs::read_to_string(scratch.path("notes.jsonl")).expect("the servers wrote it"));
    let mut faults = String::new();
    for ((_, call, number), run) in DOORS.iter().zip(&runs) {
        assert_eq!(run.failed, None);
        let cast = Cast::new(run, &notes, *number);
        assert_eq!(cast.cases.len(), REQUESTS, "{notes:?}");
        for case in &cast.cases {
            check(&cast, call, case, &actions, &workflows, &mut faults);
        }
        let inside: BTreeSet<&str> = cast.cases.iter().filter_map(|case| workflow_of(case, &actions)).collect();
        for action in actions.iter().filter(|action| cast.role(action).is_some()) {
            let listing = action["op"].as_str().is_some_and(|op| STARTING.contains(&op));
            if !listing && !action["workflow"].as_str().is_some_and(|id| inside.contains(id)) {
                writeln!(faults, "outside of every chain: {}", brief(action)).expect("writing to a String cannot fail");
            }
        }
    }
    assert!(faults.is_empty(), "{faults}");
    eprintln!("{} requests over two agents, each a workflow of {} steps", DOORS.len() * REQUESTS, CHAIN.len());
    check_deputy(&deputy, &actions, &program::replay(&file, "alerts", &[]));
}

/// What a client and a server of MCP say before there is any request.
const STARTING: &[&str] = &["mcp:server/discover", "mcp:initialize", "mcp:tools/list"];

/// The processes of one run.
struct Cast {
    /// Process -> who it is; shells by the note that they write.
    roles: BTreeMap<u64, String>,
    cases: Vec<String>,
}

impl Cast {
    fn new(run: &Played, notes: &[Value], number: usize) -> Cast {
        let mut roles: BTreeMap<u64, String> = run.pids.iter().copied().zip(["desk", "writer"].map(str::to_owned)).collect();
        let mut cases = Vec::new();
        for row in notes {
            let case = row["note"].as_str().expect("a note has a name");
            if !case.starts_with(&format!("N-{number}")) {
                continue;
            }
            let pid = |name: &str| row[name].as_u64().expect("a process has a number");
            assert_eq!(row["code"], 0, "{row}");
            assert!(Path::new(row["file"].as_str().expect("a name")).exists(), "{row}");
            roles.insert(pid("server"), "server".into());
            roles.insert(pid("shell"), format!("shell {case}"));
            cases.push(case.to_owned());
        }
        Cast { roles, cases }
    }

    fn role(&self, action: &Value) -> Option<&str> {
        self.roles.get(&action["proc"]["pid"].as_u64()?).map(String::as_str)
    }
}

/// The workflow that the user's request for this note is in.
fn workflow_of<'a>(case: &str, actions: &'a [Value]) -> Option<&'a str> {
    let asked = actions.iter().find(|action| {
        let text = action["arg"]["text"].as_str().unwrap_or_default();
        action["inbound"] == true && action["kind"] == "api.request" && text.starts_with(&format!("Please have note {case} "))
    })?;
    asked["workflow"].as_str()
}

fn check(cast: &Cast, call: &str, case: &str, actions: &[Value], workflows: &[Value], faults: &mut String) {
    let mut fault = |text: String| writeln!(faults, "{call} {case}: {text}").expect("writing to a String cannot fail");
    let Some(id) = workflow_of(case, actions) else { return fault("the user's request was not seen".into()) };
    let steps: Vec<&Value> = actions.iter().filter(|action| action["workflow"] == id).collect();
    let names = names(cast, case, &steps);
    let name_of = |id: &Value| id.as_str().and_then(|id| names.get(id)).map_or("?", String::as_str);
    let mut wanted: BTreeMap<String, &[Edge]> =
        CHAIN.iter().map(|(name, edges)| (name.replace("{call}", call), *edges)).collect();
    for step in &steps {
        let name = name_of(&step["id"]);
        let Some(edges) = wanted.remove(name) else {
            fault(format!("does not belong here: {name}: {}", brief(step)));
            continue;
        };
        let causes = step["caused_by"].as_array().map_or(&[][..], Vec::as_slice);
        let fits = |(from, why, least): &Edge| {
            let is = |cause: &&Value| {
                let sure = cause["confidence"].as_f64().unwrap_or_default() + 0.001;
                name_of(&cause["id"]) == from.replace("{call}", call) && cause["why"] == *why && sure >= *least
            };
            causes.iter().any(|cause| is(&cause))
        };
        if causes.len() != edges.len() || !edges.iter().all(fits) {
            let found: Vec<String> = causes
                .iter()
                .map(|cause| format!("{} ({} {})", name_of(&cause["id"]), cause["why"], cause["confidence"]))
                .collect();
            fault(format!("{name} follows from {found:?}, not from {edges:?}"));
        }
        if step["asked_by"]["id"] != format!("u-{}", &case[2..]) {
            fault(format!("{name} was asked for by {}", step["asked_by"]));
        }
    }
    for name in wanted.keys() {
        fault(format!("missing: {name}"));
    }
    // What a workflow shows is what its steps say.
    let Some(workflow) = workflows.iter().find(|workflow| workflow["id"] == id) else { return fault("no workflow".into()) };
    let told: BTreeSet<String> = strings(&workflow["steps"]);
    let made: BTreeSet<String> = steps.iter().map(|step| step["id"].to_string()).collect();
    let edges: BTreeSet<String> = steps
        .iter()
        .flat_map(|step| {
            let causes = step["caused_by"].as_array().into_iter().flatten();
            causes.map(|cause| format!("[{},{},{},{}]", cause["id"], step["id"], cause["why"], cause["confidence"]))
        })
        .collect();
    if told != made || strings(&workflow["edges"]) != edges {
        fault(format!("the workflow shows other steps or edges: {workflow}"));
    }
}

fn strings(list: &Value) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().map(Value::to_string).collect()
}

/// By the id of each action: its kind, who did it, which side of a call it is, and the how manieth it is of several.
fn names(cast: &Cast, case: &str, steps: &[&Value]) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    let own_shell = format!("shell {case}");
    for step in steps {
        let role = cast.role(step).map_or("nobody", |role| if role == own_shell { "shell" } else { role });
        let side = if step["inbound"] == true { " in" } else { "" };
        let name = format!("{} {role}{side}", step["kind"].as_str().unwrap_or_default());
        let count = counted.entry(name.clone()).or_default();
        *count += 1;
        let name = if *count == 1 { name } else { format!("{name} {count}") };
        names.insert(step["id"].as_str().unwrap_or_default().to_owned(), name);
    }
    names
}

fn brief(action: &Value) -> String {
    format!("{} {} {} {} {}", action["id"], action["kind"], action["op"], action["proc"]["pid"], action["arg"])
}

/// The user asked, the agent's own token acts, and the object is another user's: all of it stands in the action, and it is told.
fn check_deputy(run: &Played, actions: &[Value], alerts: &[Value]) {
    assert_eq!(run.failed, None);
    let acts = |action: &&Value| {
        action["proc"]["pid"] == run.pids[0] && action["op"].as_str().is_some_and(|op| op.starts_with("PATCH "))
    };
    let [action] = actions.iter().filter(acts).collect::<Vec<_>>()[..] else { panic!("one change is made") };
    let shown = |path: &str| action.pointer(path).map_or(String::new(), |value| value.as_str().unwrap_or("?").to_owned());
    for (path, wanted) in [
        ("/asked_by/id", "u-700"),
        ("/asked_by/source", "jwt:/sub"),
        ("/user/id", "svc-desk"),
        ("/user/source", "jwt:/sub"),
        ("/object/type", "order"),
        ("/object/id", "70012"),
        ("/object/owner", "u-700-other"),
    ] {
        assert_eq!(shown(path), wanted, "{path} of {action}");
    }
    let told: Vec<&str> =
        alerts.iter().filter(|alert| alert["action"] == action["id"]).filter_map(|alert| alert["rule"]["id"].as_str()).collect();
    assert!(told.contains(&"core.confused-deputy"), "{told:?}");
}
