//! Under the default scope, an agent that nobody configured is recognised, and nothing of it is lost: not even its first request.

use std::fs;

use agent_tests::compare::{self, End};
use agent_tests::json_lines;
use agent_tests::peers::{World, finish};
use agent_tests::program;

fn agent(world: &World, ticket: &str) {
    let mut agent = world.python("agent.py");
    agent.arg(ticket);
    finish(agent);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_agent_is_recognised_and_seen_from_its_first_request() {
    let world = World::start("agent");
    let file = world.path("recording.jsonl");
    program::record(&file, &["--scope", "auto"], || {
        agent(&world, "T-1");
        agent(&world, "T-2");
    });
    let ledger = world.ledger();
    assert!(ledger.len() >= 12, "two runs of at least six exchanges, got {}", ledger.len());
    compare::check_programs(&ledger, &json_lines(&fs::read_to_string(&file).expect("the recorder wrote it")));
    compare::check(&ledger, &program::replay(&file, "exchanges", &["--reveal"]), End::Client);
    eprintln!("scope auto: {} exchanges made by two agents, as many seen", ledger.len());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_bad_run_raises_an_alert_and_the_honest_one_does_not() {
    for (ticket, expected) in [("T-1", false), ("T-2", true)] {
        let world = World::start(&format!("alert-{ticket}"));
        let file = world.path("recording.jsonl");
        program::record(&file, &["--scope", "auto"], || agent(&world, ticket));
        let alerts = program::replay(&file, "alerts", &[]);
        let raised: Vec<String> = alerts.iter().map(|alert| alert["rule"]["id"].to_string()).collect();
        assert_eq!(!raised.is_empty(), expected, "ticket {ticket} raised {raised:?}");
    }
}
