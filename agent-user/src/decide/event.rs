//! A step as rules read it: a map with the names of the field registry.

use crate::base::value::Number;
use crate::base::{Incomplete, Value};
use crate::correlate::{Influence, Step};
use crate::understand::{Claim, Identity, Llm};

/// Builds maps field by field; absent facts are left out.
#[derive(Default)]
struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    fn put(&mut self, name: &'static str, value: Value) {
        self.0.push((name, value));
    }

    fn text(&mut self, name: &'static str, text: Option<impl AsRef<str>>) {
        if let Some(text) = text {
            self.put(name, Value::text(text.as_ref()));
        }
    }

    fn number(&mut self, name: &'static str, number: Option<u64>) {
        if let Some(number) = number {
            self.put(name, Value::Number(Number { text: number.to_string().into() }));
        }
    }

    fn nested(&mut self, name: &'static str, fields: Fields) {
        if !fields.0.is_empty() {
            self.put(name, Value::map(fields.0));
        }
    }
}

/// Fields that only an answer brings: rules that read none of them are judged when the request is seen.
pub(super) const ANSWER_FIELDS: [&str; 5] = ["result", "status", "http.status", "mcp.is_error", "incomplete"];

pub(super) fn event(step: &Step) -> Value {
    let action = &*step.action;
    let mut event = Fields::default();
    event.text("kind", Some(action.kind.name()));
    event.text("op", action.op.as_ref());
    event.text("effect", action.effect.as_ref());
    event.number("time", Some(action.time.0));
    event.text("workflow", Some(step.workflow.to_string()));
    event.number("step", Some(u64::from(step.index)));
    event.number("status", action.status.map(u64::from));
    if let Some(declared) = step.declared {
        event.put("declared", Value::Bool(declared));
    }
    event.put("inbound", Value::Bool(action.inbound));
    event.put("side_call", Value::Bool(action.side_call));
    event.put("incomplete", Value::list(action.incomplete.iter().map(|Incomplete(reason)| Value::text(reason.as_ref()))));
    event.put("anomalies", Value::list(action.anomalies.iter().map(|anomaly| Value::text(anomaly.0.as_ref()))));
    identity(&mut event, &action.identity, step);
    process(&mut event, step);
    if let Some(object) = &action.object {
        let mut fields = Fields::default();
        fields.text("type", object.kind.as_ref());
        fields.text("id", object.id.as_ref());
        fields.text("owner", object.owner.as_ref());
        fields.text("tenant", object.tenant.as_ref());
        event.nested("object", fields);
    }
    event.put("arg", action.arg.expose_content().clone());
    if let Some(result) = &action.result {
        event.put("result", result.expose_content().clone());
    }
    if let Some(http) = &action.http {
        let mut fields = Fields::default();
        fields.text("method", Some(&http.method));
        fields.text("host", Some(&http.host));
        fields.text("path", Some(&http.path));
        fields.text("query", Some(http.query.expose_content()));
        fields.text("template", http.template.as_ref());
        fields.text("scheme", Some(http.scheme));
        fields.text("peer", http.peer.as_ref());
        fields.number("status", action.status.map(u64::from));
        event.nested("http", fields);
    }
    if let Some(tool) = &action.tool {
        let mut fields = Fields::default();
        fields.text("name", Some(&tool.name));
        fields.text("server", tool.server.as_ref());
        fields.text("schema_hash", tool.schema_hash.as_ref());
        fields.text("call_id", tool.call_id.as_ref());
        event.nested("tool", fields);
    }
    if let Some(mcp) = &action.mcp {
        let mut fields = Fields::default();
        fields.text("server", mcp.server.as_ref());
        fields.text("version", mcp.version.as_ref());
        fields.text("method", Some(&mcp.method));
        fields.text("session", mcp.session.as_ref());
        fields.text("client", mcp.client.as_ref());
        if let Some(failed) = mcp.is_error {
            fields.put("is_error", Value::Bool(failed));
        }
        event.nested("mcp", fields);
    }
    if let Some(method) = action.op.as_deref().and_then(|op| op.strip_prefix("a2a:")) {
        let context = action.arg.expose_content().pointer("/message/contextId").cloned();
        event.put("a2a", Value::map([("method", Value::text(method)), ("context", context.unwrap_or(Value::Null))]));
    }
    if let Some(effect) = &action.system {
        let mut fields = Fields::default();
        fields.text("op", Some(effect.op));
        fields.text("path", effect.path.as_ref());
        fields.text("to", effect.to.as_ref());
        let map = Value::map(fields.0);
        if effect.path.is_some() {
            event.put("file", map.clone());
        }
        event.put("system", map);
    }
    if let Some(llm) = action.llm.as_deref() {
        model(&mut event, llm);
    }
    if let Some(influence) = step.influence.as_deref() {
        event.put("provenance", provenance(influence));
    }
    Value::map(event.0)
}

fn identity(event: &mut Fields, identity: &Identity, step: &Step) {
    let mut agent = Fields::default();
    let known = |claim: &Option<Claim>| claim.as_ref().map(|claim| claim.value.clone());
    let process = step.agent.map(|agent| format!("{}@{}", agent.pid, agent.start));
    agent.text("id", known(&identity.agent_id).map(|id| id.to_string()).or(process));
    agent.text("name", known(&identity.agent_name).or_else(|| step.agent.and(step.proc.name.clone())));
    agent.text("version", identity.agent_version.as_ref());
    agent.text("framework", identity.agent_framework.as_ref());
    event.nested("agent", agent);
    let mut user = claim(identity.user.as_ref());
    if !identity.user_roles.is_empty() {
        user.put("roles", Value::list(identity.user_roles.iter().map(|role| Value::Text(role.clone()))));
    }
    user.text("prompt", step.prompt.as_ref().map(|prompt| prompt.expose_content()));
    event.nested("user", user);
    event.nested("asked_by", claim(step.asked_by.as_ref()));
    let mut tenant = claim(identity.tenant.as_ref());
    if identity.tenant_conflict {
        tenant.put("conflict", Value::Bool(true));
    }
    event.nested("tenant", tenant);
    if let Some(token) = &identity.token {
        let words = |words: &[std::sync::Arc<str>]| Value::list(words.iter().map(|word| Value::Text(word.clone())));
        let mut fields = Fields::default();
        fields.text("iss", token.iss.as_ref());
        fields.put("aud", words(&token.aud));
        fields.put("scopes", words(&token.scopes));
        fields.put("act", words(&token.act));
        fields.put("delegated", Value::Bool(token.delegated));
        if let Some(exp) = token.exp {
            fields.put("exp", Value::int(exp));
        }
        event.nested("token", fields);
    }
    if let Some(credential) = &identity.credential {
        event.put("credential", Value::map([("id", Value::Text(credential.clone()))]));
    }
}

fn claim(claim: Option<&Claim>) -> Fields {
    let mut fields = Fields::default();
    if let Some(claim) = claim {
        fields.text("id", Some(&claim.value));
        fields.text("source", Some(&claim.source));
        fields.text("confidence", Some(claim.confidence.name()));
    }
    fields
}

fn process(event: &mut Fields, step: &Step) {
    let proc = &*step.proc;
    let mut fields = Fields::default();
    fields.number("pid", proc.key.map(|key| u64::from(key.pid)));
    fields.text("name", proc.name.as_ref());
    fields.text("exe", proc.exe.as_ref());
    let args = proc.args.expose_content();
    fields.text("args", (!args.is_empty()).then_some(args));
    fields.number("uid", proc.uid.map(u64::from));
    fields.text("cwd", proc.cwd.as_ref());
    fields.text("cgroup", proc.cgroup.as_ref());
    if !proc.ancestors.is_empty() {
        fields.put("ancestors", Value::list(proc.ancestors.iter().map(|name| Value::Text(name.clone()))));
    }
    event.nested("proc", fields);
}

fn model(event: &mut Fields, llm: &Llm) {
    let mut model = Fields::default();
    model.text("name", llm.model.as_ref());
    model.text("provider", llm.provider.as_ref());
    event.nested("model", model);
    event.text("provider", llm.provider.as_ref());
    let mut usage = Fields::default();
    usage.number("input_tokens", llm.usage.input_tokens);
    usage.number("output_tokens", llm.usage.output_tokens);
    event.nested("usage", usage);
    let mut fields = Fields::default();
    fields.put("tool_calls", Value::list(llm.tool_calls.iter().map(|call| Value::Text(call.name.clone()))));
    fields.put("tools", Value::list(llm.tools.iter().map(|tool| Value::Text(tool.name.clone()))));
    fields.number("messages", Some(llm.messages.len() as u64));
    fields.text("stop_reason", llm.stop_reason.as_ref());
    fields.text("error", llm.error.as_ref());
    fields.put("refusal", Value::Bool(llm.refusal));
    event.nested("llm", fields);
}

fn provenance(influence: &Influence) -> Value {
    let any = |test: fn(&crate::correlate::Provenance) -> bool| Value::Bool(influence.arguments.iter().any(test));
    let mut origins: Vec<&str> = influence.arguments.iter().map(|argument| argument.origin).collect();
    origins.sort_unstable();
    origins.dedup();
    let mut fields = Fields::default();
    fields.put("injected", Value::Number(Number::from_f64(f64::from(influence.injected))));
    if let Some(asked) = influence.asked {
        fields.put("asked", Value::Bool(asked));
    }
    fields.put("third_party", any(|argument| argument.third_party));
    fields.put("instructed", any(|argument| argument.instructed));
    fields.put("delegated", any(|argument| argument.delegated));
    fields.put("serves", Value::Bool(influence.serves));
    fields.put("beside", Value::Bool(influence.beside));
    fields.text("delegation", Some(influence.delegation));
    fields.put("named", any(|argument| argument.named));
    let targets = influence.arguments.iter().filter(|argument| argument.target && argument.third_party);
    fields.put("from_text", Value::Bool(targets.clone().any(|argument| argument.shape == "text")));
    fields.put("from_field", Value::Bool(targets.clone().any(|argument| argument.shape == "field")));
    fields.put("targets", Value::list(targets.map(|argument| Value::Text(argument.argument.clone()))));
    let invented = influence.arguments.iter().filter(|argument| argument.origin == "model");
    fields.put("invented", Value::list(invented.map(|argument| Value::Text(argument.argument.clone()))));
    fields.put("origins", Value::list(origins.into_iter().map(Value::text)));
    fields.put("reasons", Value::list(influence.reasons.iter().map(|reason| Value::text(*reason))));
    Value::map(fields.0)
}
