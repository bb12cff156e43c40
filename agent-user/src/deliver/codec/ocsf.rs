//! OCSF 1.8.0 Detection Finding (class 2004), with the call as evidence. Names and ids: schema.ocsf.io/1.8.0.

use super::{Object, PRODUCT, VENDOR, VERSION, first, millis, severity_rank, tags_of, text};
use crate::base::Value;

const CATEGORY_FINDINGS: i64 = 2;
const CLASS_DETECTION_FINDING: i64 = 2004;
const ACTIVITY_CREATE: i64 = 1;
const ACTIVITY_UPDATE: i64 = 2;

pub(super) fn encode(alert: &Value) -> Value {
    let count = alert.pointer("/count").and_then(Value::as_i64).unwrap_or(1);
    let activity = if count > 1 { ACTIVITY_UPDATE } else { ACTIVITY_CREATE };
    let severity = i64::from(severity_rank(alert)) + 1;
    let time = millis(alert);
    Object::new()
        .put("activity_id", Value::int(activity))
        .put("category_uid", Value::int(CATEGORY_FINDINGS))
        .put("class_uid", Value::int(CLASS_DETECTION_FINDING))
        .put("type_uid", Value::int(CLASS_DETECTION_FINDING * 100 + activity))
        .put("severity_id", Value::int(severity))
        .put("status_id", Value::int(1))
        .put("is_alert", Value::Bool(true))
        .put("time", Value::int(time))
        .put("count", Value::int(count))
        .text("message", first(alert, &["/rule/title"]))
        .put("metadata", metadata(alert))
        .put("finding_info", finding_info(alert, time))
        .some("evidences", evidence(alert).map(|evidence| Value::list([evidence])))
        .some("resources", resource(alert).map(|resource| Value::list([resource])))
        .some("remediation", first(alert, &["/fix"]).map(|fix| Value::map([("desc", Value::text(fix))])))
        .put("unmapped", unmapped(alert))
        .done()
}

fn metadata(alert: &Value) -> Value {
    let product = Object::new()
        .put("name", Value::text(PRODUCT))
        .put("vendor_name", Value::text(VENDOR))
        .put("version", Value::text(VERSION))
        .done();
    let labels: Vec<Value> = alert.pointer("/tags").and_then(Value::as_list).unwrap_or_default().to_vec();
    Object::new()
        .put("version", Value::text("1.8.0"))
        .put("product", product)
        .text("uid", first(alert, &["/uid"]))
        .text("correlation_uid", first(alert, &["/workflow"]))
        .text("tenant_uid", first(alert, &["/actor/tenant/id"]))
        .put("labels", Value::list(labels))
        .done()
}

fn finding_info(alert: &Value, time: i64) -> Value {
    let analytic = Object::new()
        .text("uid", first(alert, &["/rule/id"]))
        .text("name", first(alert, &["/rule/title"]))
        .text("version", first(alert, &["/rule/version"]))
        .put("type_id", Value::int(1))
        .done();
    let attacks = tags_of(alert, "attack.").map(|technique| {
        Value::map([
            ("technique", Value::map([("uid", Value::text(technique.to_uppercase()))])),
            ("version", Value::text("17.0")),
        ])
    });
    let attacks: Vec<Value> = attacks.collect();
    let related = alert.pointer("/chain").and_then(Value::as_list).unwrap_or_default().iter().map(|link| {
        Object::new()
            .text("uid", first(link, &["/action"]))
            .text("type", first(link, &["/kind"]))
            .text("title", first(link, &["/summary"]))
            .done()
    });
    Object::new()
        .text("uid", first(alert, &["/uid"]))
        .text("title", first(alert, &["/rule/title"]))
        .text("desc", first(alert, &["/rule/title"]))
        .put("analytic", analytic)
        .put("created_time", Value::int(time))
        .put("related_events", Value::list(related))
        .some("attacks", (!attacks.is_empty()).then(|| Value::list(attacks)))
        .done()
}

fn evidence(alert: &Value) -> Option<Value> {
    let user = Object::new().text("uid", first(alert, &["/actor/user/id"])).nonempty();
    let process = Object::new()
        .text("name", first(alert, &["/actor/proc/name", "/actor/process/name"]))
        .some("pid", alert.pointer("/actor/proc/pid").or(alert.pointer("/actor/process/pid")).cloned())
        .text("path", None)
        .nonempty();
    let actor = Object::new()
        .some("user", user)
        .some("process", process)
        .text("app_name", first(alert, &["/actor/agent/name"]))
        .text("app_uid", first(alert, &["/actor/agent/id"]))
        .nonempty();
    let api = first(alert, &["/matched/op", "/matched/tool.name", "/object/type"])
        .or_else(|| alert.pointer("/chain").and_then(Value::as_list).and_then(<[Value]>::last).map(|link| text(link, "/summary")))
        .map(|operation| Value::map([("operation", Value::text(operation))]));
    let data = alert.pointer("/matched").cloned().unwrap_or(Value::Null);
    Object::new().some("actor", actor).some("api", api).put("data", Value::text(data.to_json())).nonempty()
}

fn resource(alert: &Value) -> Option<Value> {
    let owner = Object::new().text("uid", first(alert, &["/object/owner"])).nonempty();
    Object::new()
        .text("uid", first(alert, &["/object/id"]))
        .text("type", first(alert, &["/object/type"]))
        .some("owner", owner)
        .nonempty()
}

fn unmapped(alert: &Value) -> Value {
    Object::new()
        .text("proof", first(alert, &["/proof"]))
        .text("action", first(alert, &["/action"]))
        .text("pack", first(alert, &["/rule/pack"]))
        .text("pack_hash", first(alert, &["/rule/pack_hash"]))
        .some("group", alert.pointer("/group").filter(|group| !matches!(group, Value::Null)).cloned())
        .some("incomplete", alert.pointer("/incomplete").cloned())
        .done()
}
