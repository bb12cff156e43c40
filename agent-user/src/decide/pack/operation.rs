//! Operations: the names that a pack gives to API calls, and where they find object and arguments.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Spanned;

use super::Fault;
use super::raw::RawOperation;
use super::read::{EFFECTS, Reader};
use crate::base::Value;
use crate::base::value::Number;
use crate::decide::Event;
use crate::decide::lang::{glob, is_known, nearest, suggest};

/// Names an API call.
#[derive(Clone, Debug)]
pub struct Operation {
    pub id: Arc<str>,
    pub pattern: Pattern,
    pub effect: Option<Arc<str>>,
    /// `type`, `id`, `owner`, `tenant`; the type is a word, not a source.
    pub object: BTreeMap<String, Target>,
    pub arg: BTreeMap<String, Target>,
    /// `type` and pointers into the answer: `id`, `owner`, `tenant`.
    pub returns: BTreeMap<String, Target>,
}

#[derive(Clone, Debug)]
pub enum Pattern {
    /// `POST host/path/{name}`; a method or host of `*` takes any.
    Http { method: String, host: String, path: Vec<String> },
    /// `mcp:tool`, `tool:name`, `a2a:method`: the inferred operation, as a glob.
    Inferred(String),
}

/// Where a value is found, and as what it is read.
#[derive(Clone, Debug)]
pub struct Target {
    pub source: Source,
    pub number: bool,
}

#[derive(Clone, Debug)]
pub enum Source {
    /// As written: the type of an object.
    Word(Arc<str>),
    /// JSON pointer into the request.
    Body(String),
    Query(String),
    /// A variable of the path.
    Path(String),
    /// JSON pointer into the answer; `*` stands for every item.
    Result(String),
    Field(String),
}

const INFERRED: [&str; 6] = ["mcp:", "tool:", "a2a:", "exec:", "jsonrpc:", "file:"];
const METHODS: [&str; 10] = ["*", "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT"];
const OBJECT: [&str; 4] = ["type", "id", "owner", "tenant"];

impl Reader<'_> {
    pub(super) fn operation(&self, raw: RawOperation) -> Result<Operation, Vec<Fault>> {
        let mut faults = Vec::new();
        if raw.id.get_ref().trim().is_empty() {
            faults.push(self.fault(raw.id.span().start, "an operation needs an id such as `order.refund`"));
        }
        if let Some(effect) = raw.effect.as_ref().filter(|effect| !EFFECTS.contains(&effect.get_ref().as_str())) {
            let hint = nearest(effect.get_ref(), EFFECTS.iter().copied())
                .map_or_else(|| format!("; one of {}", EFFECTS.join(", ")), |near| format!("; did you mean `{near}`?"));
            faults.push(self.fault(effect.span().start, format!("unknown effect `{}`{hint}", effect.get_ref())));
        }
        let pattern = self.pattern(&raw.pattern).map_err(|fault| faults.push(fault)).ok();
        let mut read = |table: &BTreeMap<String, Spanned<String>>, keys: Option<&[&str]>| {
            let mut targets = BTreeMap::new();
            for (key, text) in table {
                if let Some(keys) = keys.filter(|keys| !keys.contains(&key.as_str())) {
                    let hint = nearest(key, keys.iter().copied()).map(|near| format!("; did you mean `{near}`?"));
                    let reason =
                        format!("unknown key `{key}`{}", hint.unwrap_or_else(|| format!("; one of {}", keys.join(", "))));
                    faults.push(self.fault(text.span().start, reason));
                } else if key == "type" && keys.is_some() {
                    let source = Source::Word(text.get_ref().as_str().into());
                    targets.insert(key.clone(), Target { source, number: false });
                } else {
                    match self.target(text, pattern.as_ref()) {
                        Ok(target) => {
                            targets.insert(key.clone(), target);
                        }
                        Err(fault) => faults.push(fault),
                    }
                }
            }
            targets
        };
        let object = read(&raw.object, Some(&OBJECT));
        let arg = read(&raw.arg, None);
        let returns = read(&raw.returns, Some(&OBJECT));
        match pattern {
            Some(pattern) if faults.is_empty() => Ok(Operation {
                id: raw.id.into_inner().into(),
                pattern,
                effect: raw.effect.map(|effect| effect.into_inner().into()),
                object,
                arg,
                returns,
            }),
            _ => Err(faults),
        }
    }

    fn pattern(&self, written: &Spanned<String>) -> Result<Pattern, Fault> {
        let (text, at) = (written.get_ref(), written.span().start);
        match text.split_once(' ') {
            Some((method, target)) => {
                if !METHODS.contains(&method) {
                    let hint = nearest(&method.to_ascii_uppercase(), METHODS.iter().copied())
                        .map(|near| format!("; did you mean `{near}`?"))
                        .unwrap_or_default();
                    return Err(self.fault(at, format!("unknown method `{method}`{hint}")));
                }
                let Some((host, path)) = target.trim().split_once('/').filter(|(host, _)| !host.is_empty()) else {
                    return Err(self.fault(at, "expected METHOD host/path, for example `POST api.example.com/v1/orders/{id}`"));
                };
                let path: Vec<String> = path.split('/').map(str::to_owned).collect();
                if let Some(part) = path.iter().find(|part| part.starts_with('{') != part.ends_with('}')) {
                    return Err(self.fault(at, format!("`{part}` is not closed; a variable is `{{name}}`")));
                }
                Ok(Pattern::Http { method: method.into(), host: host.into(), path })
            }
            None if INFERRED.iter().any(|front| text.starts_with(front)) => Ok(Pattern::Inferred(text.clone())),
            None => Err(self.fault(at, "expected `METHOD host/path`, `mcp:tool`, `tool:name` or `a2a:method`")),
        }
    }

    /// `body:/amount number`, `path:tenant`, `query:q`, `result:/id`, `user.id`.
    fn target(&self, written: &Spanned<String>, pattern: Option<&Pattern>) -> Result<Target, Fault> {
        let (text, at) = (written.get_ref(), written.span().start);
        let (place, kind) = text.split_once(' ').unwrap_or((text, "text"));
        let number = match kind.trim() {
            "number" => true,
            "text" => false,
            other => return Err(self.fault(at, format!("`{other}` is no type; `number` or `text`"))),
        };
        let pointer = |pointer: &str| {
            if pointer.is_empty() || pointer.starts_with('/') {
                Ok(pointer.to_owned())
            } else {
                Err(self.fault(at, format!("a pointer begins with a slash; did you mean `/{pointer}`?")))
            }
        };
        let source = match place.split_once(':') {
            Some(("body" | "arg", path)) => Source::Body(pointer(path)?),
            Some(("result", path)) => Source::Result(pointer(path)?),
            Some(("query", name)) => Source::Query(name.into()),
            Some(("path", name)) => {
                if let Some(Pattern::Http { path, .. }) = pattern
                    && !path.iter().any(|part| part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) == Some(name))
                {
                    return Err(self.fault(at, format!("the path of `match` has no `{{{name}}}`")));
                }
                Source::Path(name.into())
            }
            Some((other, _)) => {
                let hint = nearest(other, ["body", "arg", "result", "query", "path"].into_iter())
                    .map(|near| format!("; did you mean `{near}:`?"))
                    .unwrap_or_else(|| "; one of body:, result:, query:, path: or a field".into());
                return Err(self.fault(at, format!("unknown source `{other}:`{hint}")));
            }
            None if is_known(place) => Source::Field(place.into()),
            None => {
                let hint = suggest(place).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
                return Err(self.fault(at, format!("unknown field `{place}`{hint}")));
            }
        };
        Ok(Target { source, number })
    }
}

impl Target {
    pub(crate) fn find(&self, event: &Event<'_>, variables: &BTreeMap<String, String>) -> Option<Value> {
        let found = match &self.source {
            Source::Word(word) => Value::Text(word.clone()),
            Source::Body(pointer) => event.get("arg")?.pointer(pointer)?.clone(),
            Source::Query(name) => event.get("arg")?.get(name)?.clone(),
            Source::Path(name) => Value::text(variables.get(name)?.as_str()),
            Source::Result(pointer) => event.get("result")?.pointer(pointer)?.clone(),
            Source::Field(path) => event.field(path)?.clone(),
        };
        match &found {
            Value::Text(text) if self.number => text.trim().parse().ok().map(|number| Value::Number(Number::from_f64(number))),
            _ => Some(found),
        }
    }
}

impl Operation {
    /// Its object or an argument stands in the answer: a step of it is judged when the answer is there.
    pub(crate) fn reads_answer(&self) -> bool {
        let mut targets = self.object.values().chain(self.arg.values());
        targets.any(|target| matches!(&target.source, Source::Result(_)))
    }

    /// The variables of the path when the operation is the event's.
    pub(crate) fn matches(&self, event: &Event<'_>) -> Option<BTreeMap<String, String>> {
        let word = |group, below| event.text(group, below).unwrap_or_default();
        let (method, host, path) = match &self.pattern {
            Pattern::Inferred(pattern) => {
                return glob(word("op", None).as_bytes(), pattern.as_bytes()).then(BTreeMap::new);
            }
            Pattern::Http { method, host, path } => (method, host, path),
        };
        let named = word("http", Some("host"));
        if named.is_empty() || !(method == "*" || word("http", Some("method")) == method) {
            return None;
        }
        let bare = named.rsplit_once(':').map_or(named, |(name, _)| name);
        if !(glob(named.as_bytes(), host.as_bytes()) || glob(bare.as_bytes(), host.as_bytes())) {
            return None;
        }
        let mut variables = BTreeMap::new();
        let mut segments = word("http", Some("path")).trim_start_matches('/').split('/');
        for pattern in path {
            let segment = segments.next()?;
            match pattern.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                Some(name) if !segment.is_empty() => {
                    let decoded = percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned();
                    variables.insert(name.to_owned(), decoded);
                }
                None if glob(segment.as_bytes(), pattern.as_bytes()) => {}
                Some(_) | None => return None,
            }
        }
        segments.next().is_none().then_some(variables)
    }

    /// What this operation says of the event.
    pub(crate) fn name(&self, event: &Event<'_>, variables: &BTreeMap<String, String>) -> Vec<(&'static str, Value)> {
        let mut changed: Vec<(&'static str, Value)> = vec![("op", Value::Text(self.id.clone()))];
        if let Some(effect) = &self.effect {
            changed.push(("effect", Value::Text(effect.clone())));
        }
        if !self.object.is_empty() {
            let found = self.object.iter().filter_map(|(key, target)| Some((key.as_str(), target.find(event, variables)?)));
            changed.push(("object", Value::map(found)));
        }
        if !self.arg.is_empty() {
            let mut arguments: Vec<(Arc<str>, Value)> = event.get("arg").and_then(Value::as_map).unwrap_or_default().to_vec();
            for (key, target) in &self.arg {
                if let Some(value) = target.find(event, variables) {
                    arguments.retain(|(name, _)| **name != **key);
                    arguments.push((Arc::from(key.as_str()), value));
                }
            }
            changed.push(("arg", Value::Map(arguments.into())));
        }
        changed
    }
}
