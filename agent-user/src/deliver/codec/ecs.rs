//! Elastic Common Schema 9: nested objects, one document an alert.

use super::{Object, PRODUCT, VENDOR, VERSION, first, rfc3339, severity_rank, tags_of};
use crate::base::Value;

pub(super) fn encode(alert: &Value) -> Value {
    let severity = i64::from(severity_rank(alert));
    let outcome = match alert.pointer("/proof").and_then(Value::as_str) {
        Some("served") => "success",
        Some("attempted") => "unknown",
        _ => "unknown",
    };
    let event = Object::new()
        .put("kind", Value::text("alert"))
        .put("category", Value::list([Value::text("api"), Value::text("intrusion_detection")]))
        .put("type", Value::list([Value::text("info")]))
        .put("outcome", Value::text(outcome))
        .put("severity", Value::int(severity))
        .text("id", first(alert, &["/uid"]))
        .text("reason", first(alert, &["/fix"]))
        .put("module", Value::text(PRODUCT))
        .put("dataset", Value::text("agentward.alert"))
        .done();
    let rule = Object::new()
        .text("id", first(alert, &["/rule/id"]))
        .text("name", first(alert, &["/rule/title"]))
        .text("version", first(alert, &["/rule/version"]))
        .text("ruleset", first(alert, &["/rule/pack"]))
        .done();
    let process = Object::new()
        .text("name", first(alert, &["/actor/proc/name"]))
        .text("executable", first(alert, &["/actor/proc/exe"]))
        .some("pid", alert.pointer("/actor/proc/pid").cloned())
        .nonempty();
    let techniques: Vec<Value> = tags_of(alert, "attack.").map(|technique| Value::text(technique.to_uppercase())).collect();
    let threat = (!techniques.is_empty()).then(|| Value::map([("technique", Value::map([("id", Value::list(techniques))]))]));
    Object::new()
        .put("@timestamp", Value::text(rfc3339(alert)))
        .put("ecs", Value::map([("version", Value::text("9.0.0"))]))
        .text("message", first(alert, &["/rule/title"]))
        .put("event", event)
        .put("rule", rule)
        .put("log", Value::map([("level", Value::text(super::text(alert, "/severity")))]))
        .put(
            "observer",
            Value::map([("vendor", Value::text(VENDOR)), ("product", Value::text(PRODUCT)), ("version", Value::text(VERSION))]),
        )
        .some("user", Object::new().text("id", first(alert, &["/actor/user/id"])).nonempty())
        .some("organization", Object::new().text("id", first(alert, &["/actor/tenant/id"])).nonempty())
        .some("process", process)
        .some("threat", threat)
        .some("trace", Object::new().text("id", first(alert, &["/workflow"])).nonempty())
        .some("tags", alert.pointer("/tags").cloned())
        // Everything, under our own name, so that nothing is lost in the mapping.
        .put("agentward", alert.clone())
        .done()
}
