//! Warnings: what is allowed and probably not meant.

use std::fmt;

use super::{Block, Mode, Pack, Rule};
use crate::base::Value;
use crate::base::limits::OBJECT_VIEWERS;
use crate::decide::lang::{Comparison, Expr, Function, terms};

/// Something to look at; it keeps no pack from loading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub file: String,
    pub line: usize,
    pub reason: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: warning: {}", self.file, self.line, self.reason)
    }
}

/// Frameworks whose ids tags begin with.
const FRAMEWORKS: [&str; 8] = ["api:", "llm:", "asi:", "atlas:", "attack:", "cwe:", "threat:", "pack:"];

/// Bytes that one key of a block takes at most, as measured by `cargo xtask bench policy`.
pub fn bytes_per_key(block: &Block) -> usize {
    const ENTRY: usize = 96;
    ENTRY
        + match block {
            Block::Count { over, .. } => 8 * (*over as usize + 1).min(4096),
            Block::Sum { .. } => 16 * 256,
            Block::Distinct { over, .. } => 16 * (*over as usize + 1).min(4096),
            Block::Sequence { steps, .. } => 16 * steps.len(),
            Block::Needs { .. } => 8 * 64,
            Block::Then { .. } => 2048,
            Block::Owned { .. } => 16 * OBJECT_VIEWERS,
            Block::Flow { .. } => 40 * 4096,
            Block::Drift { .. } => 48 * 64,
        }
}

/// `today` in seconds since the epoch: exceptions end on their day.
pub fn lint(pack: &Pack, today: i64) -> Vec<Warning> {
    let mut found = Vec::new();
    let mut say = |line: usize, reason: String| found.push(Warning { file: pack.file.clone(), line, reason });
    for rule in &pack.rules {
        let id = &rule.reference.id;
        let fires = rule.tests.iter().any(|test| test.alerts > 0);
        let silent = rule.tests.iter().any(|test| test.alerts == 0);
        if !fires || !silent {
            say(rule.line, format!("{id} has no test that {}", if fires { "stays silent" } else { "fires" }));
        }
        if rule.tags.is_empty() {
            say(rule.line, format!("{id} has no tags; for example `api:API6`"));
        }
        for tag in rule.tags.iter().filter(|tag| !FRAMEWORKS.iter().any(|front| tag.starts_with(front))) {
            say(rule.line, format!("{id}: the tag `{tag}` names no framework ({})", FRAMEWORKS.join(" ")));
        }
        if rule.fix.is_empty() {
            say(rule.line, format!("{id} does not say what to do (`fix`)"));
        }
        if rule.mode == Mode::Off {
            say(rule.line, format!("{id} is off"));
        }
        if let Some(Block::Count { over: 0, .. } | Block::Distinct { over: 0, .. }) = &rule.block {
            say(rule.line, format!("{id}: `over = 0` fires on the first match; leave the block out"));
        }
        if let Some(block) = &rule.block {
            let (bytes, most) = (bytes_per_key(block) * rule.max_keys, 512 << 20);
            if bytes > most {
                say(rule.line, format!("{id} may keep {} MiB; set a lower `max_keys` or `over`", bytes >> 20));
            }
            let unbound = matches!(block, Block::Count { by, .. } | Block::Distinct { by, .. } | Block::Sum { by, .. } if by.names(0).is_empty());
            if unbound {
                say(rule.line, format!("{id} counts everything together; name keys with `by`"));
            }
        }
        for condition in rule.conditions() {
            if let Some((one, other)) = contradiction(&condition.expression) {
                say(rule.line, format!("{id} is never reached: `{one}` and `{other}` cannot both hold"));
            }
            if let Some(field) = negated(&condition.expression, &condition.text) {
                say(rule.line, format!("{id}: `!` over `{field}` never holds where the field is absent; add has({field})"));
            }
            if scans_everything(&condition.expression) && !rule.conditions().iter().any(|other| narrowed(&other.expression)) {
                say(rule.line, format!("{id} searches the whole text of every action; name a kind or an effect first"));
            }
        }
        exceptions(rule, today, &mut say);
    }
    for filter in &pack.filters {
        let exception = &filter.exception;
        if exception.until.is_some_and(|until| until < today) {
            say(exception.line, "this filter is past its day and no longer holds; renew or remove it".into());
        }
        if exception.by.is_none() || exception.until.is_none() {
            say(exception.line, "a filter needs an owner (`by`) and a day on which it ends (`until`)".into());
        }
    }
    found
}

fn exceptions(rule: &Rule, today: i64, say: &mut impl FnMut(usize, String)) {
    for exception in &rule.except {
        let id = &rule.reference.id;
        if exception.until.is_some_and(|until| until < today) {
            say(exception.line, format!("{id}: this exception is past its day and no longer holds; renew or remove it"));
        }
        if exception.why.is_none() {
            say(exception.line, format!("{id}: an exception says `why`"));
        }
    }
}

/// The field under a `!` that nothing says is there.
fn negated<'a>(expression: &'a Expr, text: &str) -> Option<&'a str> {
    if let Expr::Not(one) = expression
        && let Expr::Compare(_, field, _) | Expr::In(field, _) | Expr::Matches(field, _) = &**one
        && let Expr::Field(name) = &**field
        && name.contains('.')
        && !text.contains(&format!("has({name})"))
    {
        return Some(name);
    }
    expression.parts().into_iter().find_map(|part| negated(part, text))
}

/// Two terms of a conjunction that want one field to be two things: equal to, or among, values that have nothing in common.
fn contradiction(expression: &Expr) -> Option<(&Expr, &Expr)> {
    let wants = |term| wanted(term).map(|(field, values)| (term, field, values));
    let wants: Vec<_> = terms(expression).into_iter().filter_map(wants).collect();
    wants.iter().enumerate().find_map(|(position, (other, field, values))| {
        let apart = |(_, earlier, among): &&(&Expr, &str, Vec<&Value>)| {
            earlier == field && !values.iter().any(|value| among.contains(value))
        };
        wants[..position].iter().find(apart).map(|(one, ..)| (*one, *other))
    })
}

/// The field that a term compares with literals, and those that it may be.
fn wanted(term: &Expr) -> Option<(&str, Vec<&Value>)> {
    fn literal(part: &Expr) -> Option<&Value> {
        if let Expr::Literal(value) = part { Some(value) } else { None }
    }
    match term {
        Expr::Compare(Comparison::Equal, one, other) => match (&**one, &**other) {
            (Expr::Field(field), Expr::Literal(value)) | (Expr::Literal(value), Expr::Field(field)) => Some((field, vec![value])),
            _ => None,
        },
        Expr::In(field, list) => match (&**field, &**list) {
            (Expr::Field(field), Expr::List(items)) => Some((field, items.iter().map(literal).collect::<Option<_>>()?)),
            _ => None,
        },
        _ => None,
    }
}

fn scans_everything(expression: &Expr) -> bool {
    let whole = |part: &Expr| matches!(part, Expr::Call(Function::Text | Function::HasSecret | Function::HasPersonal, _));
    whole(expression) || expression.parts().into_iter().any(scans_everything)
}

fn narrowed(expression: &Expr) -> bool {
    let names =
        |part: &Expr| matches!(part, Expr::Field(name) if matches!(name.as_str(), "kind" | "effect" | "op" | "tool.name"));
    names(expression) || expression.parts().into_iter().any(narrowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::pack::read;

    /// The only warning about a rule with this condition, that lacks nothing else.
    fn check(condition: &str, warning: Option<&str>) {
        let text = format!(
            r#"
pack = {{ name = "p", version = "1.0.0", engine = ">=0.1" }}
[[rule]]
id = "p.r"
title = "t"
severity = "low"
tags = ["api:API6"]
when = '{condition}'
why = "w"
fix = "f"
[[rule.test]]
name = "one"
events = [{{ kind = "tool.call" }}]
alerts = 1
[[rule.test]]
name = "none"
events = [{{ kind = "tool.call" }}]
alerts = 0
"#
        );
        let pack = read("p.toml", &text).unwrap_or_else(|faults| panic!("{condition}: {}", faults[0]));
        let said: Vec<String> = lint(&pack, 0).into_iter().map(|warning| warning.reason).collect();
        assert_eq!(said, Vec::from_iter(warning.map(|warning| format!("p.r{warning}"))), "{condition}");
    }

    #[test]
    fn conditions_that_are_probably_not_meant() {
        check(r#"kind == "tool.call" && effect == "money""#, None);
        check(
            r#"kind == "tool.call" && effect == "money" && kind == "api.request""#,
            Some(r#" is never reached: `kind == "tool.call"` and `kind == "api.request"` cannot both hold"#),
        );
        check(
            r#"kind in ["tool.call", "api.request"] && "mcp.request" == kind"#,
            Some(r#" is never reached: `kind in ["tool.call", "api.request"]` and `"mcp.request" == kind` cannot both hold"#),
        );
        check(r#"kind in ["tool.call", "api.request"] && kind in ["api.request", "mcp.request"]"#, None);
        check(r#"kind == "tool.call" || kind == "api.request""#, None);
        check(r#"arg.amount == 1 && arg.amount == 1.0"#, None);
        check(
            r#"!(http.status == 200)"#,
            Some(": `!` over `http.status` never holds where the field is absent; add has(http.status)"),
        );
        check(r#"text(arg).contains("x")"#, Some(" searches the whole text of every action; name a kind or an effect first"));
    }
}
