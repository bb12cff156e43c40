//! `--emit alerts`, and the native codec of sinks.

use super::{Fields, reasons, texts, time};
use crate::base::Value;
use crate::decide::Alert;
use crate::deliver::Redactor;

pub fn alert(alert: &Alert, redactor: &Redactor) -> Value {
    let rule = &*alert.rule;
    let mut fields = Fields::default();
    fields
        .text("uid", alert.uid.clone())
        .put("time", time(alert.time))
        .put(
            "rule",
            Value::map([
                ("id", Value::text(rule.id.clone())),
                ("title", Value::text(rule.title.clone())),
                ("version", Value::text(rule.version.clone())),
                ("pack", Value::text(rule.pack.clone())),
                ("pack_hash", Value::text(rule.pack_hash.clone())),
            ]),
        )
        .text("severity", alert.severity.name())
        .text("proof", alert.proof.name())
        .put("group", redactor.value(&alert.group))
        .number("count", alert.count)
        .text("workflow", alert.workflow.to_string())
        .text("action", alert.action.to_string())
        .put(
            "chain",
            Value::list(alert.chain.iter().map(|link| {
                Value::map([
                    ("action", Value::text(link.action.to_string())),
                    ("kind", Value::text(link.kind)),
                    ("time", time(link.time)),
                    ("summary", Value::text(redactor.text(&link.summary))),
                ])
            })),
        )
        .put("actor", map(redactor.value(&alert.actor)))
        .put("object", redactor.value(&alert.object))
        .put("matched", map(redactor.value(&alert.matched)))
        .put("state", redactor.value(&alert.state))
        .put("tags", texts(&alert.tags))
        .text("fix", alert.fix.clone())
        .put("incomplete", reasons(&alert.incomplete));
    if alert.shadow {
        fields.put("shadow", Value::Bool(true));
    }
    fields.done()
}

/// The contract wants a map here, an empty one when nothing is known.
fn map(value: Value) -> Value {
    match value {
        Value::Map(_) => value,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => Value::map::<&str>([]),
    }
}
