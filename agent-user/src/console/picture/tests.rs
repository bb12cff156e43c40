//! The picture of a recorded bad run, and its bounds.

use std::sync::Arc;

use super::Picture;
use super::rows::{AlertRow, WorkflowDetail};
use crate::base::limits::{PICTURE_AGENTS, PICTURE_STEPS, PICTURE_STEPS_EACH, PICTURE_WORKFLOWS};
use crate::base::{KeyedHash, Sensitive, Value};
use crate::correlate::{Step, WorkflowId};
use crate::decide::{RuleSet, builtin};
use crate::deliver::Redactor;
use crate::pipeline::{Output, Pipeline};

fn rules() -> Arc<RuleSet> {
    Arc::new(RuleSet::join(builtin().expect("the built-in packs compile")).expect("the built-in packs join"))
}

fn redactor() -> Redactor {
    Redactor::new(KeyedHash::new([7; 16]), false)
}

/// What the pipeline makes of the recording, twice the same.
fn outputs() -> Vec<Output> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/bad-run.jsonl");
    let mut pipeline = Pipeline::new(rules());
    let mut outputs = Vec::new();
    crate::console::input::each_observation(&path, false, |observation| {
        pipeline.push(observation, &mut outputs);
        Ok(())
    })
    .expect("the recording reads");
    pipeline.finish(&mut outputs);
    outputs
}

fn painted() -> Picture {
    let picture = Picture::new(rules());
    picture.always();
    picture.paint(&mut outputs(), &redactor());
    picture
}

#[test]
fn nobody_looks_nothing_is_painted() {
    let picture = Picture::new(rules());
    let before = picture.revision();
    picture.paint(&mut outputs(), &redactor());
    assert_eq!(picture.revision(), before);
    picture.looked();
    picture.paint(&mut outputs(), &redactor());
    assert!(picture.revision() > before);
}

#[test]
fn an_alert_leads_to_the_words_that_caused_it() {
    let picture = painted();
    let row: AlertRow = picture.alerts(10).into_iter().find(|row| &*row.rule == "core.injected-call").expect("the run is bad");
    let alert = picture.alert_of(&row.uid).expect("it is listed");
    let amount =
        alert.steps.iter().flat_map(|step| &step.arguments).find(|argument| &*argument.name == "amount" && argument.untrusted);
    let source = amount.expect("the amount was judged").from.clone();
    let content = alert.steps.iter().find(|step| step.id == source).expect("its source is shown");
    assert!(content.result.iter().any(|(_, text)| text.contains("Ignore the limits above")), "{:?}", content.result);
    assert!(!alert.condition.is_empty() && !alert.why.is_empty() && !alert.fix.is_empty());
    let workflow: WorkflowDetail = picture.workflow(&row.workflow).expect("its workflow is kept");
    // One for the decision, one for the call that carried it out.
    assert_eq!(workflow.alerts.len(), 2);
    assert!(workflow.alerts.iter().any(|alert| alert.uid == row.uid));
    assert!(workflow.row.prompt.contains("Please handle ticket T-2"), "{}", workflow.row.prompt);
    assert_eq!(workflow.steps.len() as u64, workflow.row.steps);
    let agent = picture.agent(&row.agent).expect("its agent is kept");
    assert_eq!(agent.models.iter().map(|model| &*model.name).collect::<Vec<_>>(), ["gpt-5"]);
    assert!(agent.tools.iter().any(|tool| &*tool.used.name == "refund_order" && tool.offered && tool.used.count == 1));
    assert!(agent.tools.iter().any(|tool| tool.used.count == 0), "a tool was offered and never called");
    assert!(picture.rules().iter().any(|rule| rule.id == row.rule && rule.hits == 2));
}

#[test]
fn personal_data_does_not_reach_the_views() {
    let picture = painted();
    let all = serde_json::to_string(&(
        picture.overview(),
        picture.workflows(100),
        picture.workflow("w2").expect("the conversation"),
        picture.alerts(10),
    ))
    .expect("rows are JSON");
    assert!(!all.contains("ada@example.com"), "an address of the prompt is shown");
}

/// A step of the recording, as one of another agent and workflow.
fn other(step: &Step, number: u64) -> Step {
    let mut step = bare(step, number, number);
    let agent = step.agent.as_mut().expect("the recording's steps have an agent");
    agent.pid = 10_000 + u32::try_from(number).expect("few");
    step
}

#[test]
fn a_flood_of_agents_and_workflows_stays_within_bounds() {
    let step = some_step();
    let picture = Picture::new(rules());
    picture.always();
    let flood = PICTURE_WORKFLOWS as u64 + 10;
    for number in 1..=flood {
        picture.step(&other(&step, number), &redactor());
    }
    let overview = picture.overview();
    assert_eq!(overview.agents.len(), PICTURE_AGENTS);
    assert_eq!(picture.workflows(usize::MAX).len(), PICTURE_WORKFLOWS);
    assert_eq!(overview.workflows, flood);
    assert_eq!(overview.forgotten, 10 + flood - PICTURE_AGENTS as u64);
    assert!(picture.workflow("w1").is_none() && picture.workflow("w11").is_some());
}

/// Step `number` of a workflow, with nothing in it.
fn bare(step: &Step, workflow: u64, number: u64) -> Step {
    let mut next = step.clone();
    let mut action = (*next.action).clone();
    action.id.0 = number;
    action.arg = Sensitive::new(Value::Null);
    (action.result, action.http, action.llm) = (None, None, None);
    next.workflow = WorkflowId(workflow);
    next.action = Arc::new(action);
    next
}

fn some_step() -> Step {
    let found = outputs().into_iter().find_map(|output| match output {
        Output::Step(step) if step.agent.is_some() => Some(*step),
        _ => None,
    });
    found.expect("an agent acts")
}

#[test]
fn endless_workflows_stay_within_their_bounds() {
    let step = some_step();
    let picture = Picture::new(rules());
    picture.always();
    let each = PICTURE_STEPS_EACH as u64;
    for number in 0..=each {
        picture.step(&bare(&step, 1, number), &redactor());
    }
    let workflow = picture.workflow("w1").expect("it is kept");
    assert_eq!(workflow.steps.len() as u64, each);
    assert_eq!(workflow.row.steps, each + 1);
    // All together: as many full ones as fit, then the oldest goes.
    let fit = (PICTURE_STEPS / PICTURE_STEPS_EACH) as u64;
    for workflow in 2..=fit + 1 {
        for number in 0..each {
            picture.step(&bare(&step, workflow, workflow * each + number), &redactor());
        }
        assert_eq!(picture.workflow("w1").is_some(), workflow <= fit, "{workflow}");
    }
}
