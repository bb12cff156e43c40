//! The fields that rules may read, with their types. `arg`, `result` and what lies below them are whatever a call carries.

/// What a field or an expression can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Known only when an event is there.
    Any,
    Bool,
    Number,
    Text,
    List,
    Map,
    /// A map that compares by its `id`: `user == "u-1"`.
    Entity,
    Null,
}

impl Type {
    pub fn name(self) -> &'static str {
        match self {
            Type::Any => "anything",
            Type::Bool => "true or false",
            Type::Number => "a number",
            Type::Text => "text",
            Type::List => "a list",
            Type::Map => "a map",
            Type::Entity => "an entity",
            Type::Null => "null",
        }
    }
}

/// Names with a dot for each level. A name that ends with `.*` takes anything below it.
pub const FIELDS: &[(&str, Type)] = &[
    ("kind", Type::Text),
    ("op", Type::Text),
    ("effect", Type::Text),
    ("status", Type::Number),
    ("step", Type::Number),
    ("workflow", Type::Text),
    ("declared", Type::Bool),
    ("inbound", Type::Bool),
    ("side_call", Type::Bool),
    ("incomplete", Type::List),
    ("anomalies", Type::List),
    ("time", Type::Number),
    ("provider", Type::Text),
    ("agent", Type::Entity),
    ("agent.id", Type::Text),
    ("agent.name", Type::Text),
    ("agent.version", Type::Text),
    ("agent.framework", Type::Text),
    ("user", Type::Entity),
    ("user.id", Type::Text),
    ("user.roles", Type::List),
    ("user.source", Type::Text),
    ("user.confidence", Type::Text),
    ("user.prompt", Type::Text),
    ("asked_by", Type::Entity),
    ("asked_by.id", Type::Text),
    ("asked_by.source", Type::Text),
    ("asked_by.confidence", Type::Text),
    ("tenant", Type::Entity),
    ("tenant.id", Type::Text),
    ("tenant.source", Type::Text),
    ("tenant.confidence", Type::Text),
    ("tenant.conflict", Type::Bool),
    ("token", Type::Map),
    ("token.iss", Type::Text),
    ("token.aud", Type::List),
    ("token.scopes", Type::List),
    ("token.act", Type::List),
    ("token.delegated", Type::Bool),
    ("token.exp", Type::Number),
    ("credential", Type::Entity),
    ("credential.id", Type::Text),
    ("proc", Type::Map),
    ("proc.pid", Type::Number),
    ("proc.name", Type::Text),
    ("proc.exe", Type::Text),
    ("proc.args", Type::Text),
    ("proc.uid", Type::Number),
    ("proc.cwd", Type::Text),
    ("proc.cgroup", Type::Text),
    ("proc.ancestors", Type::List),
    ("container", Type::Entity),
    ("container.id", Type::Text),
    ("object", Type::Entity),
    ("object.type", Type::Text),
    ("object.id", Type::Text),
    ("object.owner", Type::Text),
    ("object.tenant", Type::Text),
    ("arg", Type::Any),
    ("arg.*", Type::Any),
    ("result", Type::Any),
    ("result.*", Type::Any),
    ("http", Type::Map),
    ("http.method", Type::Text),
    ("http.host", Type::Text),
    ("http.path", Type::Text),
    ("http.query", Type::Text),
    ("http.template", Type::Text),
    ("http.scheme", Type::Text),
    ("http.status", Type::Number),
    ("http.peer", Type::Text),
    ("tool", Type::Map),
    ("tool.name", Type::Text),
    ("tool.server", Type::Text),
    ("tool.schema_hash", Type::Text),
    ("tool.call_id", Type::Text),
    ("mcp", Type::Map),
    ("mcp.server", Type::Text),
    ("mcp.version", Type::Text),
    ("mcp.method", Type::Text),
    ("mcp.session", Type::Text),
    ("mcp.client", Type::Text),
    ("mcp.is_error", Type::Bool),
    ("a2a", Type::Map),
    ("a2a.method", Type::Text),
    ("a2a.context", Type::Any),
    ("model", Type::Map),
    ("model.name", Type::Text),
    ("model.provider", Type::Text),
    ("usage", Type::Map),
    ("usage.input_tokens", Type::Number),
    ("usage.output_tokens", Type::Number),
    ("llm", Type::Map),
    ("llm.tool_calls", Type::List),
    ("llm.stop_reason", Type::Text),
    ("llm.refusal", Type::Bool),
    ("llm.messages", Type::Number),
    ("llm.tools", Type::List),
    ("llm.error", Type::Text),
    ("system", Type::Map),
    ("system.path", Type::Text),
    ("system.to", Type::Text),
    ("system.op", Type::Text),
    ("file", Type::Map),
    ("file.path", Type::Text),
    ("file.to", Type::Text),
    ("file.op", Type::Text),
    ("provenance", Type::Map),
    ("provenance.injected", Type::Number),
    ("provenance.asked", Type::Bool),
    ("provenance.third_party", Type::Bool),
    ("provenance.instructed", Type::Bool),
    ("provenance.delegated", Type::Bool),
    ("provenance.beside", Type::Bool),
    ("provenance.serves", Type::Bool),
    ("provenance.delegation", Type::Text),
    ("provenance.named", Type::Bool),
    ("provenance.from_text", Type::Bool),
    ("provenance.from_field", Type::Bool),
    ("provenance.targets", Type::List),
    ("provenance.invented", Type::List),
    ("provenance.unsaid", Type::List),
    ("provenance.origins", Type::List),
    ("provenance.reasons", Type::List),
];

/// The type of a path that rules may read.
pub fn type_of(path: &str) -> Option<Type> {
    let exact = FIELDS.iter().find(|(name, _)| *name == path);
    exact
        .or_else(|| FIELDS.iter().find(|(name, _)| name.strip_suffix('*').is_some_and(|front| path.starts_with(front))))
        .map(|(_, kind)| *kind)
}

/// True when rules may read this path.
pub fn is_known(path: &str) -> bool {
    type_of(path).is_some()
}

/// The known name that is most like it, when one is.
pub fn suggest(path: &str) -> Option<&'static str> {
    let names = FIELDS.iter().map(|(name, _)| *name).filter(|name| !name.ends_with('*'));
    nearest(path, names)
}

/// The most similar of the names, when it is similar enough to be what was meant.
pub fn nearest<'a>(word: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let best = names.map(|name| (strsim::jaro_winkler(word, name), name));
    best.max_by(|one, other| one.0.total_cmp(&other.0)).filter(|(likeness, _)| *likeness > 0.8).map(|(_, name)| name)
}

/// True for what stands for its id, or its name: a user, an agent, an object.
pub fn is_entity(path: &str) -> bool {
    matches!(type_of(path), Some(Type::Entity))
}
