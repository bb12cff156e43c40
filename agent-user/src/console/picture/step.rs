//! One step as the views show it: bounded in size, redacted, with the origin of each argument.

use std::sync::Arc;

use super::rows::{Argument, CauseRow, Pairs, StepRow, Text};
use crate::base::Value;
use crate::correlate::Step;
use crate::deliver::{Redactor, line};
use crate::understand::Kind;

/// Longest value that a row keeps; an agent may write megabytes into one argument.
const VALUE_SHOWN: usize = 256;
/// Arguments and result fields of one step.
const FIELDS_SHOWN: usize = 24;
/// Nesting that is spelled as a dotted name.
const DEPTH: usize = 8;

pub(super) fn row(step: &Step, redactor: &Redactor) -> StepRow {
    let action = &*step.action;
    let influence = step.influence.as_deref();
    let texts = |items: Vec<&str>| items.into_iter().map(Text::from).collect();
    StepRow {
        id: action.id.to_string().into(),
        index: step.index,
        time: action.time.0,
        kind: action.kind.name().into(),
        op: action.op.clone().unwrap_or_default(),
        effect: action.effect.clone().unwrap_or_default(),
        summary: cut(&phrase(step, redactor)),
        process: step.proc.name.clone().unwrap_or_default(),
        status: action.status,
        completed: step.completed,
        undeclared: step.declared == Some(false),
        causes: step.causes.iter().take(FIELDS_SHOWN).map(cause).collect(),
        arguments: arguments(step, redactor),
        result: action.result.as_ref().map(|result| pairs(&redactor.sensitive(result))).unwrap_or_default(),
        injected: influence.map_or(0.0, |influence| influence.injected),
        reasons: influence.map(|influence| texts(influence.reasons.clone())).unwrap_or_default(),
        incomplete: action.incomplete.iter().map(|reason| Text::from(reason.0.as_ref())).collect(),
        anomalies: action.anomalies.iter().map(|anomaly| Text::from(anomaly.0.as_ref())).collect(),
    }
}

fn cause(cause: &crate::correlate::Cause) -> CauseRow {
    CauseRow { id: cause.action.to_string().into(), why: cause.why.into(), confidence: cause.confidence }
}

/// The words of the user where a conversation is asked on; else what the step did.
fn phrase(step: &Step, redactor: &Redactor) -> String {
    match (step.action.kind, &step.prompt) {
        (Kind::LlmRequest, Some(prompt)) => {
            let words: String = prompt.expose_content().chars().take(VALUE_SHOWN).collect();
            redactor.text(&words).into_owned()
        }
        _ => line::summary(&step.action, redactor),
    }
}

fn arguments(step: &Step, redactor: &Redactor) -> Vec<Argument> {
    let known = step.influence.as_deref().map(|influence| influence.arguments.as_slice()).unwrap_or_default();
    pairs(&redactor.sensitive(&step.action.arg))
        .into_iter()
        .map(|(name, value)| {
            let judged = known.iter().find(|argument| argument.argument == name);
            Argument {
                origin: judged.map(|argument| argument.origin.into()).unwrap_or_default(),
                from: judged.and_then(|argument| argument.from).map(|id| id.to_string().into()).unwrap_or_default(),
                untrusted: judged.is_some_and(|argument| argument.third_party),
                name,
                value,
            }
        })
        .collect()
}

/// Nested maps as dotted names; the items of a list bear the list's name, as in provenance.
pub(super) fn pairs(value: &Value) -> Pairs {
    fn collect(name: &str, value: &Value, depth: usize, out: &mut Pairs) {
        if out.len() >= FIELDS_SHOWN {
            return;
        }
        match value {
            Value::Map(entries) if depth < DEPTH => {
                for (key, nested) in entries.iter() {
                    let name = if name.is_empty() { key.to_string() } else { format!("{name}.{key}") };
                    collect(&name, nested, depth + 1, out);
                }
            }
            Value::List(items) if depth < DEPTH => items.iter().for_each(|item| collect(name, item, depth + 1, out)),
            Value::Null => {}
            Value::Text(text) => out.push((cut(name), cut(text))),
            Value::Bool(_) | Value::Number(_) | Value::Map(_) | Value::List(_) => out.push((cut(name), cut(&value.to_json()))),
        }
    }
    let mut out = Pairs::new();
    collect("", value, 0, &mut out);
    out
}

/// Cut at a character's border.
pub(super) fn cut(text: &str) -> Text {
    match text.char_indices().nth(VALUE_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => Arc::from(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_values_become_dotted_names() {
        let value = Value::map([
            ("a", Value::map([("b", Value::int(1)), ("c", Value::list([Value::text("x"), Value::text("y")]))])),
            ("d", Value::Null),
        ]);
        let shown: Vec<(String, String)> =
            pairs(&value).into_iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        assert_eq!(shown, [("a.b", "1"), ("a.c", "x"), ("a.c", "y")].map(|(name, value)| (name.into(), value.into())));
    }

    #[test]
    fn a_row_stays_small_whatever_it_is_given() {
        let long = "é".repeat(VALUE_SHOWN + 1);
        assert_eq!(cut(&long).chars().count(), VALUE_SHOWN + 1);
        assert_eq!(&*cut(&long[..VALUE_SHOWN * 2]), &long[..VALUE_SHOWN * 2]);
        let wide = Value::map((0..FIELDS_SHOWN + 1).map(|at| (format!("k{at}"), Value::int(1))));
        assert_eq!(pairs(&wide).len(), FIELDS_SHOWN);
        let deep = (0..DEPTH + 5).fold(Value::int(1), |inner, _| Value::map([("k", inner)]));
        assert_eq!(pairs(&deep).len(), 1);
    }
}
