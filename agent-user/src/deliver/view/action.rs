//! `--emit actions`: one line per action, in its final state.

use super::{Fields, claim, float, reasons, texts, time, unsigned};
use crate::base::Value;
use crate::correlate::{Influence, Proc, Step};
use crate::deliver::Redactor;
use crate::understand::{Action, Claim, Effect, Identity, Llm, Mcp, Object, Tool, ToolCall};

pub fn action(step: &Step, redactor: &Redactor) -> Value {
    let action = &*step.action;
    let mut fields = Fields::default();
    fields
        .text("id", action.id.to_string())
        .put("time", time(action.time))
        .text("workflow", step.workflow.to_string())
        .number("step", u64::from(step.index))
        .text("kind", action.kind.name())
        .some_text("op", action.op.as_ref())
        .some_text("effect", action.effect.as_ref())
        .some("exchange", action.exchange.map(|id| Value::text(id.to_string())))
        .put("caused_by", causes(step));
    identity(&mut fields, &action.identity, step.asked_by.as_ref(), redactor);
    fields
        .nested("proc", process(&step.proc, redactor))
        .some("object", action.object.as_ref().map(object))
        .put("arg", redactor.sensitive(&action.arg))
        .some("result", action.result.as_ref().map(|result| redactor.sensitive(result)))
        .some("status", action.status.map(|status| unsigned(u64::from(status))));
    http(&mut fields, action, redactor);
    fields
        .some("tool", action.tool.as_ref().map(|seen| tool(seen, redactor)))
        .some("mcp", action.mcp.as_ref().map(mcp))
        .some("system", action.system.as_ref().map(|effect| system(effect, redactor)));
    if let Some(seen) = action.llm.as_deref() {
        llm(&mut fields, seen, redactor);
    }
    fields.some("declared", step.declared.map(Value::Bool));
    if let Some(influence) = step.influence.as_deref() {
        fields.put("provenance", provenance(influence));
    }
    if action.inbound {
        fields.put("inbound", Value::Bool(true));
    }
    if action.side_call {
        fields.put("side_call", Value::Bool(true));
    }
    if !action.anomalies.is_empty() {
        fields.put("anomalies", Value::list(action.anomalies.iter().map(|anomaly| Value::text(anomaly.0.as_ref()))));
    }
    fields.put("incomplete", reasons(&action.incomplete));
    fields.done()
}

fn causes(step: &Step) -> Value {
    Value::list(step.causes.iter().map(|cause| {
        Value::map([
            ("id", Value::text(cause.action.to_string())),
            ("why", Value::text(cause.why)),
            ("confidence", float(cause.confidence)),
        ])
    }))
}

fn identity(fields: &mut Fields, identity: &Identity, asked_by: Option<&Claim>, redactor: &Redactor) {
    let mut agent = Fields::default();
    agent
        .some_text("id", identity.agent_id.as_ref().map(|claim| &claim.value))
        .some_text("name", identity.agent_name.as_ref().map(|claim| &claim.value))
        .some_text("version", identity.agent_version.as_ref())
        .some_text("framework", identity.agent_framework.as_ref());
    fields.nested("agent", agent);
    let mut user = Fields::default();
    if let Some(known) = &identity.user {
        claim(&mut user, known);
    }
    if !identity.user_roles.is_empty() {
        user.put("roles", texts(&identity.user_roles));
    }
    fields.nested("user", user);
    if let Some(known) = asked_by {
        let mut asked = Fields::default();
        claim(&mut asked, known);
        fields.nested("asked_by", asked);
    }
    let mut tenant = Fields::default();
    if let Some(known) = &identity.tenant {
        claim(&mut tenant, known);
    }
    if identity.tenant_conflict {
        tenant.put("conflict", Value::Bool(true));
    }
    fields.nested("tenant", tenant);
    if let Some(token) = &identity.token {
        let mut shown = Fields::default();
        shown
            .some_text("iss", token.iss.as_ref())
            .put("aud", texts(&token.aud))
            .put("scopes", texts(&token.scopes))
            .put("act", texts(&token.act))
            .put("delegated", Value::Bool(token.delegated))
            .some("exp", token.exp.map(Value::int));
        fields.nested("token", shown);
    }
    if let Some(credential) = &identity.credential {
        fields.put("credential", Value::map([("id", Value::text(credential.clone()))]));
    }
    fields.some("traceparent", identity.traceparent.as_ref().map(|parent| Value::text(redactor.text(parent))));
}

pub(super) fn process(process: &Proc, redactor: &Redactor) -> Fields {
    let mut fields = Fields::default();
    if let Some(key) = process.key {
        fields.number("pid", u64::from(key.pid));
        if key.start != 0 {
            fields.number("start", key.start);
        }
    }
    fields
        .some("parent", process.parent.map(|parent| unsigned(u64::from(parent))))
        .some_text("name", process.name.as_ref())
        .some_text("exe", process.exe.as_ref());
    let args = process.args.expose_content();
    if !args.is_empty() {
        fields.text("args", redactor.text(args));
    }
    fields
        .some("uid", process.uid.map(|uid| unsigned(u64::from(uid))))
        .some_text("cwd", process.cwd.as_ref())
        .some_text("cgroup", process.cgroup.as_ref());
    if !process.ancestors.is_empty() {
        fields.put("ancestors", texts(&process.ancestors));
    }
    fields
}

pub(super) fn object(object: &Object) -> Value {
    let mut fields = Fields::default();
    fields
        .some_text("type", object.kind.as_ref())
        .some_text("id", object.id.as_ref())
        .some_text("owner", object.owner.as_ref())
        .some_text("tenant", object.tenant.as_ref());
    fields.done()
}

fn http(fields: &mut Fields, action: &Action, redactor: &Redactor) {
    let Some(http) = &action.http else { return };
    let mut shown = Fields::default();
    shown.text("method", http.method.clone()).text("host", http.host.clone()).text("path", redactor.location(&http.path));
    if !http.query.expose_content().is_empty() {
        shown.text("query", redactor.query(http.query.expose_content()));
    }
    shown
        .some_text("template", http.template.as_ref())
        .text("scheme", http.scheme)
        .some_text("peer", http.peer.as_ref())
        .some("status", action.status.map(|status| unsigned(u64::from(status))));
    fields.nested("http", shown);
}

fn tool(tool: &Tool, redactor: &Redactor) -> Value {
    let mut fields = Fields::default();
    fields
        .text("name", tool.name.clone())
        .some_text("server", tool.server.as_ref())
        .some_text("schema_hash", tool.schema_hash.as_ref())
        .some_text("call_id", tool.call_id.as_ref());
    if redactor.reveals() {
        fields.some_text("description", tool.description.as_ref().map(|text| text.expose_content()));
    }
    fields.done()
}

fn mcp(mcp: &Mcp) -> Value {
    let mut fields = Fields::default();
    fields
        .some_text("server", mcp.server.as_ref())
        .some_text("version", mcp.version.as_ref())
        .text("method", mcp.method.clone())
        .some_text("session", mcp.session.as_ref())
        .some_text("client", mcp.client.as_ref())
        .some_text("request_id", mcp.request_id.as_ref())
        .some("is_error", mcp.is_error.map(Value::Bool));
    fields.done()
}

fn system(effect: &Effect, redactor: &Redactor) -> Value {
    let mut fields = Fields::default();
    fields.text("op", effect.op).some_text("exe", effect.exe.as_ref());
    let argv = effect.argv.expose_content();
    if !argv.is_empty() {
        fields.put("argv", Value::list(argv.iter().map(|argument| Value::text(redactor.text(argument)))));
    }
    fields
        .some("path", effect.path.as_ref().map(|path| Value::text(redactor.location(path))))
        .some("to", effect.to.as_ref().map(|path| Value::text(redactor.location(path))))
        .some_text("peer", effect.peer.as_ref());
    fields.done()
}

fn llm(fields: &mut Fields, llm: &Llm, redactor: &Redactor) {
    fields.some_text("provider", llm.provider.as_ref()).some_text("model", llm.model.as_ref());
    let mut usage = Fields::default();
    usage
        .some("input_tokens", llm.usage.input_tokens.map(unsigned))
        .some("output_tokens", llm.usage.output_tokens.map(unsigned))
        .some("cached_tokens", llm.usage.cached_tokens.map(unsigned))
        .some("reasoning_tokens", llm.usage.reasoning_tokens.map(unsigned));
    fields.nested("usage", usage);
    let mut shown = Fields::default();
    if !llm.tool_calls.is_empty() {
        shown.put("tool_calls", Value::list(llm.tool_calls.iter().map(|call| tool_call(call, redactor))));
    }
    shown
        .some_text("stop_reason", llm.stop_reason.as_ref())
        .some_text("response_id", llm.response_id.as_ref())
        .some_text("previous_response_id", llm.previous_response_id.as_ref())
        .some_text("conversation_id", llm.conversation_id.as_ref())
        .some("error", llm.error.as_ref().map(|error| Value::text(redactor.content(error))));
    if llm.refusal {
        shown.put("refusal", Value::Bool(true));
    }
    if llm.streamed {
        shown.put("streamed", Value::Bool(true));
    }
    if !llm.messages.is_empty() {
        shown.number("messages", llm.messages.len() as u64);
    }
    if !llm.tools.is_empty() {
        shown.put("tools", Value::list(llm.tools.iter().map(|seen| tool(seen, redactor))));
    }
    if let Some(text) = &llm.text {
        let text = text.expose_content();
        if redactor.reveals() {
            shown.text("text", text.clone());
        } else {
            shown.number("text_len", text.len() as u64);
        }
    }
    fields.nested("llm", shown);
}

fn tool_call(call: &ToolCall, redactor: &Redactor) -> Value {
    let mut fields = Fields::default();
    fields
        .some_text("id", call.id.as_ref())
        .text("name", call.name.clone())
        .put("arguments", redactor.sensitive(&call.arguments));
    if call.remote {
        fields.put("remote", Value::Bool(true));
    }
    if call.partial {
        fields.put("partial", Value::Bool(true));
    }
    fields.done()
}

fn provenance(influence: &Influence) -> Value {
    let mut fields = Fields::default();
    fields.put(
        "arguments",
        Value::list(influence.arguments.iter().map(|argument| {
            let mut shown = Fields::default();
            shown
                .text("argument", argument.argument.clone())
                .text("origin", argument.origin)
                .some("from", argument.from.map(|id| Value::text(id.to_string())))
                .text("shape", argument.shape)
                .put("third_party", Value::Bool(argument.third_party))
                .put("instructed", Value::Bool(argument.instructed))
                .put("delegated", Value::Bool(argument.delegated))
                .put("named", Value::Bool(argument.named))
                .put("target", Value::Bool(argument.target));
            shown.done()
        })),
    );
    fields
        .some("asked", influence.asked.map(Value::Bool))
        .put("serves", Value::Bool(influence.serves))
        .put("beside", Value::Bool(influence.beside))
        .text("delegation", influence.delegation)
        .put("injected", float(influence.injected))
        .put("reasons", Value::list(influence.reasons.iter().map(|reason| Value::text(*reason))));
    fields.done()
}
