//! `--emit workflows`.

use std::sync::Arc;

use super::action::process;
use super::{Fields, claim, float, texts, time};
use crate::base::Value;
use crate::correlate::Workflow;
use crate::deliver::Redactor;
use crate::understand::Claim;

/// `alerts`: the uids of the alerts raised in it, in the order they were raised.
pub fn workflow(workflow: &Workflow, alerts: &[Arc<str>], redactor: &Redactor) -> Value {
    let mut agent = process(&workflow.agent, redactor);
    agent.some_text("agent", workflow.agent_name.as_ref());
    let mut fields = Fields::default();
    fields
        .text("id", workflow.id.to_string())
        .put("agent", agent.done())
        .put("user", who(workflow.user.as_ref()))
        .put("tenant", who(workflow.tenant.as_ref()))
        .put("started", time(workflow.started))
        .some("ended", workflow.ended.map(time))
        .put("steps", Value::list(workflow.steps.iter().map(|step| Value::text(step.to_string()))))
        .put(
            "edges",
            Value::list(workflow.edges.iter().map(|(from, to, why, confidence)| {
                Value::list([Value::text(from.to_string()), Value::text(to.to_string()), Value::text(*why), float(*confidence)])
            })),
        )
        .put("alerts", texts(alerts));
    fields.done()
}

fn who(known: Option<&Claim>) -> Value {
    let Some(known) = known else { return Value::Null };
    let mut fields = Fields::default();
    claim(&mut fields, known);
    fields.done()
}
