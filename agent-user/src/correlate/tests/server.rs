//! An MCP server that serves several conversations of its agent at once: whose each call is, and whose what the server does for it.

use std::collections::BTreeSet;

use super::{At, World, client, user};
use crate::base::Direction;
use crate::capture::{FileEffect, FileOp, Role, Seen, Source};
use crate::understand::Kind;

const AGENT: u32 = 10;
const SERVER: u32 = 20;

/// The pipe is read at the server's end alone, the agent was no agent yet when it started the server, and all conversations call the same
/// tool with the same words but for one.
#[test]
fn what_a_server_does_belongs_to_the_conversation_that_asked_for_it() {
    // So few that all are looked at, and more.
    [4, 200].into_iter().for_each(at_once);
}

fn at_once(conversations: u32) {
    let notes: Vec<String> = (0..conversations).map(|number| format!("N-{}", 1000 + number)).collect();
    let mut world = World::default();
    world.exec(AGENT, 1, "/usr/bin/python3", &["python3", "agent.py"]);
    let begun = world.now;
    world.now += 5_000_000_000;
    let arguments = |note: &str| format!(r#"{{"note":"{note}","text":"The delivery comes on Friday."}}"#);
    for note in &notes {
        let call = format!("call_{note}_0001");
        world.model(
            &client(AGENT, format!("model-{note}")),
            &[user(&format!("Please have {note} written"))],
            Some((&call, "write_note", &arguments(note))),
        );
    }
    let pipe = At { pid: SERVER, conn: "pipe".into(), role: Role::Server, source: Source::Stdio, local: None, peer: None };
    let asked = |world: &mut World, id: usize, method: &str, params: &str| {
        let line = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#);
        world.bytes(&pipe, Direction::In, format!("{line}\n"));
    };
    // Told only now that the agent is one.
    let now = std::mem::replace(&mut world.now, begun);
    world.exec(SERVER, AGENT, "/usr/bin/python3", &["python3", "server.py"]);
    asked(&mut world, 1, "initialize", "{}");
    world.now = now;
    for (at, note) in notes.iter().enumerate() {
        asked(&mut world, 1000 + at, "tools/list", "{}");
        asked(&mut world, 2000 + at, "tools/call", &format!(r#"{{"name":"write_note","arguments":{}}}"#, arguments(note)));
    }
    for (at, note) in (0..).zip(&notes) {
        let command = format!("echo 'The delivery comes on Friday.' > /srv/{note}.txt");
        world.exec(30 + at, SERVER, "/bin/sh", &["sh", "-c", &command]);
        let path = format!("/srv/{note}.txt").into();
        world.see(Seen::File(FileEffect { pid: 30 + at, op: FileOp::Create, path, to: None }));
    }
    for (at, note) in (0..).zip(&notes) {
        let said = |kind: Kind| {
            world.find(|step| {
                let text = step.action.arg.expose_content().to_json();
                step.action.kind == kind && text.contains(note.as_str())
            })
        };
        let chain = [
            (Kind::McpRequest, SERVER, "same_arguments", Kind::ToolCall),
            (Kind::ProcessExec, 30 + at, "serving_request", Kind::McpRequest),
            (Kind::FileWrite, 30 + at, "child_process", Kind::ProcessExec),
        ];
        for (kind, pid, why, from) in chain {
            let (step, cause) = (said(kind), said(from));
            let told: Vec<_> = step.causes.iter().map(|cause| (cause.action, cause.why)).collect();
            assert_eq!(told, [(cause.action.id, why)], "{} of {note}", kind.name());
            assert_eq!((step.action.process.pid, step.declared), (pid, Some(true)), "{} of {note}", kind.name());
            assert_eq!(step.workflow, cause.workflow);
        }
    }
    let own: BTreeSet<_> =
        world.steps.iter().filter(|step| step.action.kind == Kind::ToolCall).map(|step| step.workflow).collect();
    assert_eq!(own.len(), notes.len());
    // What client and server say to know each other is nobody's, and so is what was before there was an agent.
    let listed = |op: &str| world.steps.iter().filter(|step| step.action.op.as_deref() == Some(op)).collect::<Vec<_>>();
    let housekeeping = [listed("mcp:initialize"), listed("mcp:tools/list")].concat();
    assert!(housekeeping.len() > notes.len(), "{housekeeping:?}");
    assert!(housekeeping.iter().all(|step| !own.contains(&step.workflow) && step.causes.is_empty()), "{housekeeping:?}");
    assert!(!world.steps.iter().any(|step| step.action.kind == Kind::ProcessExec && step.action.process.pid == SERVER));
}
