//! Ten conversations at once, by the real `openai` package: which steps belong together.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use agent_tests::{Scratch, peers};
use agentward::correlate::Step;

use crate::steps;

/// In one asyncio program and in ten programs: at least a thousand steps, none in the wrong workflow.
#[test]
fn conversations_at_once_are_kept_apart() {
    let Some(python) = crate::python() else { return };
    let scratch = Scratch::new("many");
    let made =
        Command::new(python).arg(peers::script("sdks/many.py")).arg(scratch.folder()).output().expect("the interpreter is there");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let [(one, wrong), (ten, wrong_of_ten)] = ["one.jsonl", "ten.jsonl"].map(|name| sorted(&steps(&scratch.path(name))));
    eprintln!("in one program {wrong} of {one} steps in the wrong workflow, in ten programs {wrong_of_ten} of {ten}");
    assert!(one + ten >= 1_000, "{one} + {ten}");
    assert_eq!((wrong, wrong_of_ten), (0, 0));
}

/// Steps whose conversation is known by the order that they name, and those of them that are not where most of it is.
fn sorted(steps: &[Step]) -> (usize, usize) {
    let mut belongs: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for step in steps.iter().filter(|step| step.completed) {
        if let Some(number) = conversation(step) {
            belongs.entry(number).or_default().push(step.workflow.0);
        }
    }
    let most = |of: &[u64]| of.iter().copied().max_by_key(|id| of.iter().filter(|other| *other == id).count());
    let homes: BTreeMap<u64, u64> = belongs.iter().filter_map(|(number, of)| Some((*number, most(of)?))).collect();
    assert_eq!(homes.values().collect::<BTreeSet<_>>().len(), 10, "each conversation has a workflow of its own: {homes:?}");
    let wrong = belongs.iter().map(|(number, of)| of.iter().filter(|id| homes[number] != **id).count()).sum();
    (belongs.values().map(Vec::len).sum(), wrong)
}

/// By the first order in what the step says.
fn conversation(step: &Step) -> Option<u64> {
    let action = &step.action;
    let mut said = vec![action.arg.expose_content().to_json()];
    said.extend(action.result.as_ref().map(|result| result.expose_content().to_json()));
    said.extend(action.http.as_ref().map(|http| http.path.to_string()));
    if let Some(llm) = action.llm.as_deref() {
        said.extend(llm.messages.iter().map(|message| message.text.expose_content().to_string()));
        said.extend(llm.tool_calls.iter().map(|call| call.arguments.expose_content().to_json()));
    }
    let text = said.join(" ");
    let orders = text.split(|letter: char| !letter.is_ascii_digit()).filter_map(|number| number.parse::<u64>().ok());
    orders.filter(|order| (70_000..71_000).contains(order)).map(|order| (order - 70_000) / 100).next()
}
