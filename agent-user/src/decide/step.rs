//! A step as rules read it: groups of facts with the names of the field registry, borrowed where the step has them ready.

use crate::base::value::Number;
use crate::base::{Incomplete, Value};
use crate::correlate::{Influence, Provenance, Step};
use crate::understand::{Action, Claim, Effect, Http, Identity, Llm, Mcp, Object, Tool};

/// Names of the first level, in the order in which a whole event shows them.
pub(super) const GROUPS: [&str; 33] = [
    "kind",
    "op",
    "effect",
    "time",
    "workflow",
    "step",
    "status",
    "declared",
    "inbound",
    "side_call",
    "incomplete",
    "anomalies",
    "agent",
    "user",
    "asked_by",
    "tenant",
    "token",
    "credential",
    "proc",
    "object",
    "arg",
    "result",
    "http",
    "tool",
    "mcp",
    "a2a",
    "file",
    "system",
    "model",
    "provider",
    "usage",
    "llm",
    "provenance",
];

/// Fields that only an answer brings: rules that read none of them are judged when the request is seen.
pub(super) const ANSWER_FIELDS: [&str; 5] = ["result", "status", "http.status", "mcp.is_error", "incomplete"];

/// One fact of a step.
pub(super) enum Leaf<'s> {
    Text(&'s str),
    Number(u64),
    Bool(bool),
    /// What a call carries.
    Tree(&'s Value),
    Made(Value),
}

impl From<Leaf<'_>> for Value {
    fn from(leaf: Leaf<'_>) -> Value {
        match leaf {
            Leaf::Text(text) => Value::text(text),
            Leaf::Number(number) => Value::Number(Number { text: number.to_string().into() }),
            Leaf::Bool(flag) => Value::Bool(flag),
            Leaf::Tree(value) => value.clone(),
            Leaf::Made(value) => value,
        }
    }
}

/// Takes the facts of a group; absent ones are not handed on.
struct Fields<'f, 's>(&'f mut dyn FnMut(&'static str, Leaf<'s>));

impl<'s> Fields<'_, 's> {
    fn put(&mut self, name: &'static str, leaf: Leaf<'s>) {
        (self.0)(name, leaf);
    }

    fn text(&mut self, name: &'static str, text: Option<&'s (impl AsRef<str> + ?Sized)>) {
        if let Some(text) = text {
            self.put(name, Leaf::Text(text.as_ref()));
        }
    }

    fn number(&mut self, name: &'static str, number: Option<u64>) {
        if let Some(number) = number {
            self.put(name, Leaf::Number(number));
        }
    }

    fn flag(&mut self, name: &'static str, flag: Option<bool>) {
        if let Some(flag) = flag {
            self.put(name, Leaf::Bool(flag));
        }
    }

    fn texts<'t>(&mut self, name: &'static str, texts: impl IntoIterator<Item = &'t str>) {
        self.put(name, Leaf::Made(Value::list(texts.into_iter().map(Value::text))));
    }
}

/// The fact of that name, or below that group.
pub(super) fn leaf<'s>(step: &'s Step, group: &str, below: Option<&str>) -> Option<Leaf<'s>> {
    let Some(below) = below else { return single(step, group).or_else(|| value(step, group).map(Leaf::Made)) };
    let mut found = None;
    let mut take = |name: &'static str, leaf| {
        if name == below {
            found = Some(leaf);
        }
    };
    // What a call carries has names of its own.
    match single(step, group) {
        Some(Leaf::Tree(value)) => return value.get(below).map(Leaf::Tree),
        Some(_) => return None,
        None => facts(step, group, &mut Fields(&mut take)),
    }
    found
}

/// A group as a value. One without facts is absent.
pub(super) fn value(step: &Step, group: &str) -> Option<Value> {
    if let Some(leaf) = single(step, group) {
        return Some(leaf.into());
    }
    let mut fields = Vec::new();
    facts(step, group, &mut Fields(&mut |name, leaf| fields.push((name, Value::from(leaf)))));
    (!fields.is_empty()).then(|| Value::map(fields))
}

/// Fields without fields below them, and what the call carries.
fn single<'s>(step: &'s Step, name: &str) -> Option<Leaf<'s>> {
    let action = &*step.action;
    Some(match name {
        "kind" => Leaf::Text(action.kind.name()),
        "op" => Leaf::Text(action.op.as_ref()?),
        "effect" => Leaf::Text(action.effect.as_ref()?),
        "time" => Leaf::Number(action.time.0),
        "workflow" => Leaf::Made(Value::text(step.workflow.to_string())),
        "step" => Leaf::Number(u64::from(step.index)),
        "status" => Leaf::Number(u64::from(action.status?)),
        "declared" => Leaf::Bool(step.declared?),
        "inbound" => Leaf::Bool(action.inbound),
        "side_call" => Leaf::Bool(action.side_call),
        "incomplete" => Leaf::Made(Value::list(action.incomplete.iter().map(|Incomplete(reason)| Value::text(reason.as_ref())))),
        "anomalies" => Leaf::Made(Value::list(action.anomalies.iter().map(|anomaly| Value::text(anomaly.0.as_ref())))),
        "provider" => Leaf::Text(action.llm.as_ref()?.provider.as_ref()?),
        "arg" => Leaf::Tree(action.arg.expose_content()),
        "result" => Leaf::Tree(action.result.as_ref()?.expose_content()),
        _ => return None,
    })
}

fn facts<'s>(step: &'s Step, group: &str, fields: &mut Fields<'_, 's>) {
    let action = &*step.action;
    match group {
        "agent" => agent(step, fields),
        "user" => user(step, fields),
        "asked_by" => claim(step.asked_by.as_ref(), fields),
        "tenant" => {
            claim(action.identity.tenant.as_ref(), fields);
            fields.flag("conflict", action.identity.tenant_conflict.then_some(true));
        }
        "token" => token(&action.identity, fields),
        "credential" => fields.text("id", action.identity.credential.as_ref()),
        "proc" => process(step, fields),
        "object" => action.object.iter().for_each(|found| object(found, fields)),
        "http" => action.http.iter().for_each(|found| http(found, action.status, fields)),
        "tool" => action.tool.iter().for_each(|found| tool(found, fields)),
        "mcp" => action.mcp.iter().for_each(|found| mcp(found, fields)),
        "a2a" => a2a(action, fields),
        "file" => action.system.iter().filter(|effect| effect.path.is_some()).for_each(|effect| system(effect, fields)),
        "system" => action.system.iter().for_each(|effect| system(effect, fields)),
        "model" => action.llm.iter().for_each(|found| {
            fields.text("name", found.model.as_ref());
            fields.text("provider", found.provider.as_ref());
        }),
        "usage" => action.llm.iter().for_each(|found| {
            fields.number("input_tokens", found.usage.input_tokens);
            fields.number("output_tokens", found.usage.output_tokens);
        }),
        "llm" => action.llm.iter().for_each(|found| llm(found, fields)),
        "provenance" => step.influence.iter().for_each(|found| provenance(found, fields)),
        _ => {}
    }
}

fn agent<'s>(step: &'s Step, fields: &mut Fields<'_, 's>) {
    let identity = &step.action.identity;
    match (&identity.agent_id, step.agent) {
        (Some(claim), _) => fields.text("id", Some(&claim.value)),
        (None, Some(agent)) => fields.put("id", Leaf::Made(Value::text(format!("{}@{}", agent.pid, agent.start)))),
        (None, None) => {}
    }
    let process = step.agent.and(step.proc.name.as_ref());
    fields.text("name", identity.agent_name.as_ref().map(|claim| &claim.value).or(process));
    fields.text("version", identity.agent_version.as_ref());
    fields.text("framework", identity.agent_framework.as_ref());
}

fn user<'s>(step: &'s Step, fields: &mut Fields<'_, 's>) {
    let identity = &step.action.identity;
    claim(identity.user.as_ref(), fields);
    if !identity.user_roles.is_empty() {
        fields.texts("roles", identity.user_roles.iter().map(|role| &**role));
    }
    fields.text("prompt", step.prompt.as_ref().map(|prompt| prompt.expose_content()));
}

fn claim<'s>(claim: Option<&'s Claim>, fields: &mut Fields<'_, 's>) {
    let Some(claim) = claim else { return };
    fields.text("id", Some(&claim.value));
    fields.text("source", Some(&claim.source));
    fields.put("confidence", Leaf::Text(claim.confidence.name()));
}

fn token<'s>(identity: &'s Identity, fields: &mut Fields<'_, 's>) {
    let Some(token) = &identity.token else { return };
    fields.text("iss", token.iss.as_ref());
    fields.texts("aud", token.aud.iter().map(|word| &**word));
    fields.texts("scopes", token.scopes.iter().map(|word| &**word));
    fields.texts("act", token.act.iter().map(|word| &**word));
    fields.put("delegated", Leaf::Bool(token.delegated));
    if let Some(exp) = token.exp {
        fields.put("exp", Leaf::Made(Value::int(exp)));
    }
}

fn process<'s>(step: &'s Step, fields: &mut Fields<'_, 's>) {
    let proc = &*step.proc;
    fields.number("pid", proc.key.map(|key| u64::from(key.pid)));
    fields.text("name", proc.name.as_ref());
    fields.text("exe", proc.exe.as_ref());
    let args = &**proc.args.expose_content();
    fields.text("args", (!args.is_empty()).then_some(args));
    fields.number("uid", proc.uid.map(u64::from));
    fields.text("cwd", proc.cwd.as_ref());
    fields.text("cgroup", proc.cgroup.as_ref());
    if !proc.ancestors.is_empty() {
        fields.texts("ancestors", proc.ancestors.iter().map(|name| &**name));
    }
}

fn object<'s>(object: &'s Object, fields: &mut Fields<'_, 's>) {
    fields.text("type", object.kind.as_ref());
    fields.text("id", object.id.as_ref());
    fields.text("owner", object.owner.as_ref());
    fields.text("tenant", object.tenant.as_ref());
}

fn http<'s>(http: &'s Http, status: Option<u16>, fields: &mut Fields<'_, 's>) {
    fields.text("method", Some(&http.method));
    fields.text("host", Some(&http.host));
    fields.text("path", Some(&http.path));
    fields.text("query", Some(http.query.expose_content()));
    fields.text("template", http.template.as_ref());
    fields.text("scheme", Some(http.scheme));
    fields.text("peer", http.peer.as_ref());
    fields.number("status", status.map(u64::from));
}

fn tool<'s>(tool: &'s Tool, fields: &mut Fields<'_, 's>) {
    fields.text("name", Some(&tool.name));
    fields.text("server", tool.server.as_ref());
    fields.text("schema_hash", tool.schema_hash.as_ref());
    fields.text("call_id", tool.call_id.as_ref());
}

fn mcp<'s>(mcp: &'s Mcp, fields: &mut Fields<'_, 's>) {
    fields.text("server", mcp.server.as_ref());
    fields.text("version", mcp.version.as_ref());
    fields.text("method", Some(&mcp.method));
    fields.text("session", mcp.session.as_ref());
    fields.text("client", mcp.client.as_ref());
    fields.flag("is_error", mcp.is_error);
}

fn a2a<'s>(action: &'s Action, fields: &mut Fields<'_, 's>) {
    let Some(method) = action.op.as_deref().and_then(|op| op.strip_prefix("a2a:")) else { return };
    fields.text("method", Some(method));
    let context = action.arg.expose_content().pointer("/message/contextId");
    fields.put("context", context.map_or(Leaf::Made(Value::Null), Leaf::Tree));
}

fn system<'s>(effect: &'s Effect, fields: &mut Fields<'_, 's>) {
    fields.text("op", Some(effect.op));
    fields.text("path", effect.path.as_ref());
    fields.text("to", effect.to.as_ref());
}

fn llm<'s>(llm: &'s Llm, fields: &mut Fields<'_, 's>) {
    fields.texts("tool_calls", llm.tool_calls.iter().map(|call| &*call.name));
    fields.texts("tools", llm.tools.iter().map(|tool| &*tool.name));
    fields.number("messages", Some(llm.messages.len() as u64));
    fields.text("stop_reason", llm.stop_reason.as_ref());
    fields.text("error", llm.error.as_ref());
    fields.put("refusal", Leaf::Bool(llm.refusal));
}

fn provenance<'s>(influence: &'s Influence, fields: &mut Fields<'_, 's>) {
    let any = |test: fn(&Provenance) -> bool| Leaf::Bool(influence.arguments.iter().any(test));
    fields.put("injected", Leaf::Made(Value::Number(Number::share(influence.injected))));
    fields.flag("asked", influence.asked);
    fields.put("third_party", any(|argument| argument.third_party));
    fields.put("instructed", any(|argument| argument.instructed));
    fields.put("delegated", any(|argument| argument.delegated));
    fields.put("serves", Leaf::Bool(influence.serves));
    fields.put("beside", Leaf::Bool(influence.beside));
    fields.text("delegation", Some(influence.delegation));
    fields.put("named", any(|argument| argument.named));
    let targets = || influence.arguments.iter().filter(|argument| argument.target && argument.third_party);
    fields.put("from_text", Leaf::Bool(targets().any(|argument| argument.shape == "text")));
    fields.put("from_field", Leaf::Bool(targets().any(|argument| argument.shape == "field")));
    fields.texts("targets", targets().map(|argument| &*argument.argument));
    let invented = influence.arguments.iter().filter(|argument| argument.origin == "model");
    fields.texts("invented", invented.map(|argument| &*argument.argument));
    fields.texts("unsaid", influence.unsaid.iter().map(|name| &**name));
    let mut origins: Vec<&str> = influence.arguments.iter().map(|argument| argument.origin).collect();
    origins.sort_unstable();
    origins.dedup();
    fields.texts("origins", origins);
    fields.texts("reasons", influence.reasons.iter().copied());
}
