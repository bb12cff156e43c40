//! Sigma rules into a pack: `agentward rules import` (Sigma specification 2.1).
//!
//! In: YAML files with rules, correlations and filters. Out: the text of a pack, or every [`Fault`] with its place. What Sigma can say
//! and a rule cannot is refused by name, never dropped. Correlations become state blocks: `event_count` counts, `value_count` counts
//! different values, `value_sum` sums, `temporal` and `temporal_ordered` are sequences.

mod detection;
mod fields;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::decide::pack::{Fault, duration};
use detection::Reader;
use yaml::{Kind, Node, documents};

/// A document with the file that it stands in.
struct Document<'a> {
    file: &'a str,
    node: Node,
}

impl Document<'_> {
    fn fault(&self, node: Option<&Node>, reason: impl Into<String>) -> Fault {
        node.unwrap_or(&self.node).fault(self.file, reason)
    }

    fn word(&self, name: &str) -> Option<String> {
        self.node.get(name).and_then(Node::word)
    }

    /// What other documents call it.
    fn names(&self) -> impl Iterator<Item = String> {
        ["name", "id"].into_iter().filter_map(|key| self.word(key))
    }

    fn id(&self) -> String {
        let title = self.word("title").unwrap_or_default();
        self.names().next().unwrap_or_else(|| slug(&title))
    }
}

fn slug(title: &str) -> String {
    let letters =
        title.to_lowercase().chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect::<String>();
    letters.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

/// What a rule becomes before it is written.
struct Draft {
    id: String,
    /// `when`, or none where the block says it all.
    when: Option<String>,
    block: Option<String>,
}

/// Converts files, each with its text. `map` says which of our fields a field of Sigma is.
pub(super) fn convert(files: &[(String, String)], pack: &str, map: &BTreeMap<String, String>) -> Result<String, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut all = Vec::new();
    for (file, text) in files {
        match documents(file, text) {
            Ok(found) => all.extend(found.into_iter().map(|node| Document { file, node })),
            Err(fault) => faults.push(fault),
        }
    }
    let mut conditions: BTreeMap<String, String> = BTreeMap::new();
    let mut alone = BTreeSet::new();
    for document in all.iter().filter(|document| document.node.get("detection").is_some()) {
        match rule_condition(document, &all, map) {
            Ok(condition) => {
                document.names().chain([document.id()]).for_each(|name| drop(conditions.insert(name, condition.clone())));
                alone.insert(document.id());
            }
            Err(fault) => faults.push(fault),
        }
    }
    let mut blocks = Vec::new();
    for document in &all {
        let Some(correlation) = document.node.get("correlation") else { continue };
        if correlation.get("generate").is_none_or(|generate| !matches!(generate.kind, Kind::Bool(true))) {
            let used = correlation.get("rules").map(Node::items).unwrap_or_default();
            let used: Vec<String> = used.into_iter().filter_map(Node::word).collect();
            alone.retain(|id| !all.iter().any(|other| other.id() == *id && other.names().any(|name| used.contains(&name))));
        }
        match correlated(document, correlation, &all, &conditions, map) {
            Ok(draft) => blocks.push((document, draft)),
            Err(fault) => faults.push(fault),
        }
    }
    for document in &all {
        let known = ["detection", "correlation", "filter"].iter().any(|part| document.node.get(part).is_some());
        if !known {
            faults.push(document.fault(None, "neither `detection` nor `correlation` nor `filter`: no Sigma document"));
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let mut out = format!("[pack]\nname = {}\nversion = \"1\"\n", detection::quoted(pack));
    for document in all.iter().filter(|document| alone.contains(&document.id()) && document.node.get("detection").is_some()) {
        let draft = Draft { id: document.id(), when: conditions.get(&document.id()).cloned(), block: None };
        write_rule(&mut out, document, &draft);
    }
    blocks.iter().for_each(|(document, draft)| write_rule(&mut out, document, draft));
    Ok(out)
}

/// The condition of a rule: its log source, its detection, and what filters take away.
fn rule_condition(document: &Document<'_>, all: &[Document<'_>], map: &BTreeMap<String, String>) -> Result<String, Fault> {
    let reader = Reader { file: document.file, map };
    let mut parts = Vec::new();
    if let Some(source) = document.node.get("logsource")
        && let Some(category) = source.get("category")
    {
        match category.text().and_then(fields::kind) {
            Some(kind) => parts.push(format!("kind == \"{kind}\"")),
            None => {
                let reason = format!("no action comes from the log source `{}`", category.word().unwrap_or_default());
                return Err(document.fault(Some(category), reason));
            }
        }
    }
    let detection = document.node.get("detection").expect("asked for by the caller");
    parts.push(reader.condition(detection)?);
    for other in all {
        let Some(filter) = other.node.get("filter") else { continue };
        let named = filter.get("rules").map(Node::items).unwrap_or_default();
        let mut named = named.into_iter().filter_map(Node::word);
        if named.any(|name| name == "any" || document.names().any(|own| own == name)) {
            let reader = Reader { file: other.file, map };
            parts.push(format!("!({})", reader.guarded(filter)?));
        }
    }
    Ok(parts.join(" && "))
}

fn correlated(
    document: &Document<'_>,
    correlation: &Node,
    all: &[Document<'_>],
    conditions: &BTreeMap<String, String>,
    map: &BTreeMap<String, String>,
) -> Result<Draft, Fault> {
    let wrong = |node: Option<&Node>, reason: &str| document.fault(node.or(Some(correlation)), reason);
    let (mut used, mut names) = (Vec::new(), Vec::new());
    for rule in correlation.get("rules").map(Node::items).unwrap_or_default() {
        let name = rule.word().unwrap_or_default();
        let reason = format!("no rule with a detection is called `{name}`");
        used.push(conditions.get(&name).ok_or_else(|| wrong(Some(rule), &reason))?.clone());
        let named = all.iter().find(|other| other.names().chain([other.id()]).any(|known| known == name));
        names.push(named.map_or_else(|| vec![name], |other| other.names().chain([other.id()]).collect::<Vec<_>>()));
    }
    if used.is_empty() {
        return Err(wrong(None, "a correlation names `rules`"));
    }
    let kind = correlation.get("type");
    let steps = matches!(kind.and_then(Node::text), Some("temporal" | "temporal_ordered"));
    let aliases = Aliases { written: correlation.get("aliases"), rules: &names, steps, map };
    let by: Result<Vec<String>, Fault> = correlation
        .get("group-by")
        .map(Node::items)
        .unwrap_or_default()
        .into_iter()
        .map(|name| aliases.field(&name.word().unwrap_or_default()).map_err(|reason| wrong(Some(name), &reason)))
        .collect();
    let by = by?.join(", ");
    let span = correlation.get("timespan");
    let within = span.and_then(Node::text).filter(|text| duration(text).is_some());
    let within = within.ok_or_else(|| wrong(span, "a `timespan` is a number with s, m, h or d, for example `5m`"))?;
    let when = match used.as_slice() {
        [one] => one.clone(),
        many => many.iter().map(|one| format!("({one})")).collect::<Vec<_>>().join(" || "),
    };
    let counted = |of: bool| -> Result<(String, f64, bool), Fault> {
        let condition = correlation.get("condition").ok_or_else(|| wrong(None, "expected a `condition` such as `gte: 10`"))?;
        let field = match condition.get("field") {
            Some(name) => aliases.field(&name.word().unwrap_or_default()).map_err(|reason| wrong(Some(name), &reason))?,
            None if of => return Err(wrong(Some(condition), "expected the `field` whose values are counted")),
            None => String::new(),
        };
        let number = |name: &str| condition.get(name).and_then(|value| value.word()?.parse::<f64>().ok());
        match (number("gt"), number("gte")) {
            (Some(over), None) => Ok((field, over, false)),
            (None, Some(least)) => Ok((field, least, true)),
            _ => Err(wrong(
                Some(condition),
                "only `gt` and `gte` can be imported: that something is missing is a block `needs` or `then`",
            )),
        }
    };
    let whole = |(field, number, least): (String, f64, bool)| (field, if least { number.ceil() - 1.0 } else { number.floor() });
    let id = document.id();
    let (when, block) = match kind.and_then(Node::text) {
        Some("event_count") => {
            let (_, over) = whole(counted(false)?);
            (Some(when), format!("count = {{ by = [{by}], within = \"{within}\", over = {over} }}"))
        }
        Some("value_count") => {
            let (field, over) = whole(counted(true)?);
            (Some(when), format!("distinct = {{ of = {field}, by = [{by}], within = \"{within}\", over = {over} }}"))
        }
        Some("value_sum") => {
            let (field, number, least) = counted(true)?;
            let over = if least { number.next_down() } else { number };
            (Some(when), format!("sum = {{ of = {field}, by = [{by}], within = \"{within}\", over = {over:?} }}"))
        }
        Some(ordered @ ("temporal" | "temporal_ordered")) => {
            let steps: Vec<String> = used.iter().map(|one| format!("  {},\n", literal(one))).collect();
            let order = if ordered == "temporal" { "any" } else { "strict" };
            let steps = steps.concat();
            (None, format!("[rule.sequence]\nsteps = [\n{steps}]\nsame = [{by}]\nwithin = \"{within}\"\norder = \"{order}\""))
        }
        Some(other) => return Err(wrong(kind, &format!("the correlation `{other}` cannot be imported"))),
        None => return Err(wrong(None, "a correlation has a `type`")),
    };
    Ok(Draft { id, when, block: Some(block) })
}

/// Names that a correlation gives to fields which its rules call differently.
struct Aliases<'a> {
    written: Option<&'a Node>,
    /// The rules that it joins, in order, each with all of its names.
    rules: &'a [Vec<String>],
    /// Each rule is a step that may have a name of its own.
    steps: bool,
    map: &'a BTreeMap<String, String>,
}

impl Aliases<'_> {
    /// What `name` is in a pack: a field in quotes, or a list with one for each step.
    fn field(&self, name: &str) -> Result<String, String> {
        let Some(alias) = self.written.and_then(|written| written.get(name)) else {
            return fields::field(name, self.map).map(|field| detection::quoted(&field));
        };
        let of = |rule: &Vec<String>| {
            let said = rule.iter().find_map(|known| alias.get(known)?.word());
            let said = said.ok_or_else(|| format!("the alias `{name}` says no field for the rule `{}`", rule[0]))?;
            fields::field(&said, self.map).map(|field| detection::quoted(&field))
        };
        let mut found = self.rules.iter().map(of).collect::<Result<Vec<_>, String>>()?;
        if found.windows(2).all(|pair| pair[0] == pair[1]) {
            found.truncate(1);
        }
        match found.as_slice() {
            [one] => Ok(one.clone()),
            several if self.steps => Ok(format!("[{}]", several.join(", "))),
            _ => Err(format!("the alias `{name}` is another field in each rule: only `temporal` correlations can join those")),
        }
    }
}

/// A TOML string in which nothing needs an escape, where that is possible.
fn literal(text: &str) -> String {
    if text.contains("'''") || text.ends_with('\'') { detection::quoted(text) } else { format!("'''{text}'''") }
}

fn write_rule(out: &mut String, document: &Document<'_>, draft: &Draft) {
    let word = |name: &str| document.word(name).unwrap_or_default();
    let severity = match &*word("level") {
        "informational" => "info".into(),
        level @ ("low" | "medium" | "high" | "critical") => level.to_owned(),
        _ => "medium".into(),
    };
    let tags = document.node.get("tags").map(Node::items).unwrap_or_default();
    let tags: Vec<String> = tags.into_iter().filter_map(Node::word).filter_map(|tag| framework(&tag)).collect();
    let positives = document.node.get("falsepositives").map(Node::items).unwrap_or_default();
    let positives: Vec<String> = positives.into_iter().filter_map(Node::word).collect();
    let mut line = |name: &str, value: String| writeln!(out, "{name} = {value}").expect("writing to a String cannot fail");
    line("\n[[rule]]\nid", detection::quoted(&draft.id));
    line("title", detection::quoted(&document.word("title").unwrap_or_else(|| draft.id.clone())));
    line("severity", detection::quoted(&severity));
    draft.when.iter().for_each(|when| line("when", literal(when)));
    if !tags.is_empty() {
        line("tags", format!("[{}]", tags.iter().map(|tag| detection::quoted(tag)).collect::<Vec<_>>().join(", ")));
    }
    for (name, text) in [("why", word("description")), ("false_positives", positives.join("; "))] {
        if !text.is_empty() {
            line(name, detection::quoted(text.trim()));
        }
    }
    draft.block.iter().for_each(|block| {
        out.push_str(block);
        out.push('\n');
    });
}

/// `attack.t1059.001` is `attack:T1059.001`; tactics and other namespaces name no technique.
fn framework(tag: &str) -> Option<String> {
    let (space, name) = tag.split_once('.')?;
    match space {
        "attack" if name.starts_with(['t', 'T']) && name[1..].starts_with(|letter: char| letter.is_ascii_digit()) => {
            Some(format!("attack:{}", name.to_uppercase()))
        }
        "atlas" => Some(format!("atlas:{}", name.to_uppercase())),
        "cwe" => Some(format!("cwe:{name}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
