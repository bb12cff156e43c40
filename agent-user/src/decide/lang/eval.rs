//! A program over one event: a value, or [`Absent`].

use std::cell::Cell;
use std::cmp::Ordering;
use std::net::IpAddr;
use std::sync::Arc;

use super::parse::{Comparison, Function};
use super::program::{Node, Set, Where};
use super::slots::{Fact, Slots};
use crate::base::Value;
pub(crate) use crate::base::glob::matches as glob;
use crate::base::shapes;
use crate::base::value::Number;
use crate::decode::json;

/// A field that the event does not have, or an operation on things that it does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absent;

/// What a user or role may do without an agent.
#[derive(Clone, Debug)]
pub struct Grant {
    pub user: Option<String>,
    pub role: Option<String>,
    /// Globs over operation ids.
    pub ops: Vec<String>,
}

/// Items that one judgement looks at inside `exists` and `all`, nested ones multiplied: content decides how long lists are, and a
/// list of lists of lists would stop the daemon. Past it the answer is unknown, and the rule is over its budget.
pub const BUDGET: u32 = 20_000;

/// Says whether a value was seen under a label.
pub type Seen<'a> = dyn Fn(&str, &Value) -> bool + 'a;

/// What a program is judged against.
pub struct Context<'a, 'e> {
    pub slots: &'a Slots<'e>,
    pub grants: &'a [Grant],
    /// What is left of the budget.
    pub left: Cell<u32>,
    /// Whether a value was seen under a label; without a memory, nothing was.
    pub seen: Option<&'a Seen<'a>>,
}

impl<'a, 'e> Context<'a, 'e> {
    pub fn new(slots: &'a Slots<'e>, grants: &'a [Grant]) -> Context<'a, 'e> {
        Context { slots, grants, left: Cell::new(BUDGET), seen: None }
    }

    /// The judgement was cut short.
    pub fn spent(&self) -> bool {
        self.left.get() == 0
    }

    fn granted(&self, user: &Operand<'_>, op: &str) -> bool {
        let tree = user.tree();
        let id = user.text().or_else(|| tree.and_then(|user| user.get("id")).and_then(Value::as_str));
        let roles = tree.and_then(|user| user.get("roles")).and_then(Value::as_list).unwrap_or_default();
        self.grants.iter().any(|grant| {
            let named = grant.user.as_deref().is_some_and(|wanted| id == Some(wanted));
            let in_role = grant.role.as_deref().is_some_and(|wanted| roles.iter().any(|role| role.as_str() == Some(wanted)));
            (named || in_role) && grant.ops.iter().any(|pattern| glob(op.as_bytes(), pattern.as_bytes()))
        })
    }
}

/// A value on its way through an expression; borrowed where it can be.
#[derive(Clone, Debug)]
enum Operand<'a> {
    Null,
    Bool(bool),
    Number(f64),
    Text(&'a str),
    Owned(Arc<str>),
    /// A list or map.
    Tree(&'a Value),
    Made(Value),
}

impl<'a> Operand<'a> {
    fn of(value: &'a Value) -> Operand<'a> {
        match Fact::from(value) {
            Fact::Null | Fact::Unread | Fact::Absent => Operand::Null,
            Fact::Bool(flag) => Operand::Bool(flag),
            Fact::Number(number) => Operand::Number(number),
            Fact::Text(text) => Operand::Text(text),
            Fact::Tree(value) => Operand::Tree(value),
        }
    }

    fn made<'b>(value: &Value) -> Operand<'b> {
        match value {
            Value::Null => Operand::Null,
            Value::Bool(flag) => Operand::Bool(*flag),
            Value::Number(number) => Operand::Number(number.as_f64()),
            Value::Text(text) => Operand::Owned(text.clone()),
            Value::List(_) | Value::Map(_) => Operand::Made(value.clone()),
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Operand::Text(text) => Some(text),
            Operand::Owned(text) => Some(text),
            _ => None,
        }
    }

    fn number(&self) -> Result<f64, Absent> {
        if let Operand::Number(number) = self { Ok(*number) } else { Err(Absent) }
    }

    fn tree(&self) -> Option<&Value> {
        match self {
            Operand::Tree(value) => Some(value),
            Operand::Made(value) => Some(value),
            _ => None,
        }
    }

    fn list(&self) -> Result<&[Value], Absent> {
        self.tree().and_then(Value::as_list).ok_or(Absent)
    }

    fn value(&self) -> Value {
        match self {
            Operand::Null => Value::Null,
            Operand::Bool(flag) => Value::Bool(*flag),
            Operand::Number(number) => Value::Number(Number::from_f64(*number)),
            Operand::Text(text) => Value::text(*text),
            Operand::Owned(text) => Value::Text(text.clone()),
            Operand::Tree(value) => Value::clone(value),
            Operand::Made(value) => value.clone(),
        }
    }
}

type Scope<'a> = Vec<Operand<'a>>;

/// The truth of a condition.
pub fn evaluate<'a>(program: &'a Node, context: &'a Context<'a, '_>) -> Result<bool, Absent> {
    truth(program, context, &mut Vec::new())
}

fn truth<'a>(node: &'a Node, context: &'a Context<'a, '_>, scope: &mut Scope<'a>) -> Result<bool, Absent> {
    match node {
        Node::TextIs(slot, text, is) => match context.slots.read(*slot) {
            Fact::Text(found) => Ok((found == &**text) == *is),
            Fact::Absent | Fact::Unread => Err(Absent),
            Fact::Tree(value) => Ok(entity_is(value, text) == *is),
            Fact::Null | Fact::Bool(_) | Fact::Number(_) => Ok(!*is),
        },
        Node::Part(slot, place, text) => match (context.slots.read(*slot), place) {
            (Fact::Text(found), Where::Start) => Ok(found.starts_with(&**text)),
            (Fact::Text(found), Where::End) => Ok(found.ends_with(&**text)),
            (Fact::Text(found), Where::Within) => Ok(memchr::memmem::find(found.as_bytes(), text.as_bytes()).is_some()),
            (Fact::Tree(Value::List(items)), Where::Within) => {
                Ok(items.iter().any(|item| equal(&Operand::of(item), &Operand::Text(text))))
            }
            _ => Err(Absent),
        },
        Node::NumberIs(slot, comparison, number) => match context.slots.read(*slot) {
            Fact::Number(found) => Ok(holds(*comparison, found.partial_cmp(number))),
            Fact::Absent | Fact::Unread => Err(Absent),
            Fact::Null | Fact::Bool(_) | Fact::Text(_) | Fact::Tree(_) => match comparison {
                Comparison::Equal => Ok(false),
                Comparison::NotEqual => Ok(true),
                _ => Err(Absent),
            },
        },
        Node::BoolIs(slot, wanted) => match context.slots.read(*slot) {
            Fact::Bool(found) => Ok(found == *wanted),
            _ => Err(Absent),
        },
        Node::TextIn(slot, set) => match context.slots.read(*slot) {
            Fact::Text(found) => Ok(set.has_text(found)),
            Fact::Absent | Fact::Unread => Err(Absent),
            Fact::Tree(value) => Ok(set.texts.iter().any(|text| entity_is(value, text))),
            Fact::Null | Fact::Bool(_) | Fact::Number(_) => Ok(false),
        },
        Node::All(parts) => {
            let mut unknown = false;
            for part in parts {
                match truth(part, context, scope) {
                    Ok(true) => {}
                    Ok(false) => return Ok(false),
                    Err(Absent) => unknown = true,
                }
            }
            if unknown { Err(Absent) } else { Ok(true) }
        }
        Node::Any(parts) => {
            let mut unknown = false;
            for part in parts {
                match truth(part, context, scope) {
                    Ok(true) => return Ok(true),
                    Ok(false) => {}
                    Err(Absent) => unknown = true,
                }
            }
            if unknown { Err(Absent) } else { Ok(false) }
        }
        Node::Not(one) => truth(one, context, scope).map(|truth| !truth),
        Node::Bool(flag) => Ok(*flag),
        other => match operand(other, context, scope)? {
            Operand::Bool(flag) => Ok(flag),
            _ => Err(Absent),
        },
    }
}

fn operand<'a>(node: &'a Node, context: &'a Context<'a, '_>, scope: &mut Scope<'a>) -> Result<Operand<'a>, Absent> {
    match node {
        Node::Constant(value) => Ok(Operand::of(value)),
        Node::Number(number) => Ok(Operand::Number(*number)),
        Node::Text(text) => Ok(Operand::Text(text)),
        Node::Slot(slot) => match context.slots.read(*slot) {
            Fact::Unread | Fact::Absent => Err(Absent),
            Fact::Null => Ok(Operand::Null),
            Fact::Bool(flag) => Ok(Operand::Bool(flag)),
            Fact::Number(number) => Ok(Operand::Number(number)),
            Fact::Text(text) => Ok(Operand::Text(text)),
            Fact::Tree(value) => Ok(Operand::Tree(value)),
        },
        Node::Variable(depth, path) => {
            let found = scope.get(*depth).ok_or(Absent)?;
            if path.is_empty() {
                return Ok(found.clone());
            }
            match found {
                Operand::Tree(value) => {
                    path.iter().try_fold(*value, |value, part| value.get(part)).map(Operand::of).ok_or(Absent)
                }
                Operand::Made(value) => {
                    path.iter().try_fold(value, |value, part| value.get(part)).map(Operand::made).ok_or(Absent)
                }
                _ => Err(Absent),
            }
        }
        Node::List(items) => {
            let items: Result<Vec<Value>, Absent> = items.iter().map(|item| Ok(operand(item, context, scope)?.value())).collect();
            Ok(Operand::Made(Value::list(items?)))
        }
        Node::Named(set) => Ok(Operand::Made(Value::List(set.values.clone()))),
        Node::Index(of, at) => {
            let (of, at) = (operand(of, context, scope)?, operand(at, context, scope)?);
            let find = |tree: &Value| -> Option<Value> {
                match &at {
                    Operand::Number(number) => {
                        let whole = *number >= 0.0 && number.fract() == 0.0 && *number <= 1e9;
                        whole.then(|| tree.index(*number as usize)).flatten().cloned()
                    }
                    other => tree.get(other.text()?).cloned(),
                }
            };
            match (&of, &at) {
                (Operand::Tree(tree), Operand::Number(number)) if *number >= 0.0 && number.fract() == 0.0 && *number <= 1e9 => {
                    tree.index(*number as usize).map(Operand::of).ok_or(Absent)
                }
                (Operand::Tree(tree), other) => other.text().and_then(|name| tree.get(name)).map(Operand::of).ok_or(Absent),
                _ => of.tree().and_then(find).as_ref().map(Operand::made).ok_or(Absent),
            }
        }
        Node::Negate(one) => operand(one, context, scope)?.number().map(|number| Operand::Number(-number)),
        Node::Choose(parts) => {
            let (condition, yes, no) = &**parts;
            operand(if truth(condition, context, scope)? { yes } else { no }, context, scope)
        }
        Node::Compare(comparison, one, other) => {
            let (one, other) = (operand(one, context, scope)?, operand(other, context, scope)?);
            compare(*comparison, &one, &other).map(Operand::Bool)
        }
        Node::InSet(one, set) => {
            let one = operand(one, context, scope)?;
            Ok(Operand::Bool(in_set(&one, set)))
        }
        Node::In(one, other) => {
            let (one, other) = (operand(one, context, scope)?, operand(other, context, scope)?);
            match other.tree() {
                Some(Value::List(items)) => Ok(Operand::Bool(items.iter().any(|item| equal(&Operand::of(item), &one)))),
                Some(Value::Map(entries)) => {
                    Ok(Operand::Bool(one.text().is_some_and(|name| entries.iter().any(|(key, _)| &**key == name))))
                }
                _ => Err(Absent),
            }
        }
        Node::Add(one, other) => {
            let (one, other) = (operand(one, context, scope)?, operand(other, context, scope)?);
            Ok(Operand::Number(one.number()? + other.number()?))
        }
        Node::Subtract(one, other) => {
            let (one, other) = (operand(one, context, scope)?, operand(other, context, scope)?);
            Ok(Operand::Number(one.number()? - other.number()?))
        }
        Node::Has(one) => Ok(Operand::Bool(operand(one, context, scope).is_ok())),
        Node::Matches(one, regex) => {
            let one = operand(one, context, scope)?;
            one.text().map(|text| Operand::Bool(regex.is_match(text))).ok_or(Absent)
        }
        Node::TextOf(slot) => match context.slots.as_text(*slot) {
            Some(text) => Ok(Operand::Text(text)),
            None => operand_of(context.slots.read(*slot)).map(|value| Operand::Owned(value.value().to_json().into())),
        },
        Node::Call(function, arguments) => call(*function, arguments, context, scope),
        Node::Every { any, over, body } => {
            let over = operand(over, context, scope)?;
            every(*any, &over, body, context, scope).map(Operand::Bool)
        }
        Node::Bool(_)
        | Node::Not(_)
        | Node::All(_)
        | Node::Any(_)
        | Node::TextIs(..)
        | Node::NumberIs(..)
        | Node::BoolIs(..)
        | Node::TextIn(..)
        | Node::Part(..) => truth(node, context, scope).map(Operand::Bool),
    }
}

fn operand_of(fact: Fact<'_>) -> Result<Operand<'_>, Absent> {
    match fact {
        Fact::Unread | Fact::Absent => Err(Absent),
        Fact::Null => Ok(Operand::Null),
        Fact::Bool(flag) => Ok(Operand::Bool(flag)),
        Fact::Number(number) => Ok(Operand::Number(number)),
        Fact::Text(text) => Ok(Operand::Text(text)),
        Fact::Tree(value) => Ok(Operand::Tree(value)),
    }
}

/// CEL: one item that decides is enough, whatever the others are.
fn every<'a>(
    any: bool,
    over: &Operand<'a>,
    body: &'a Node,
    context: &'a Context<'a, '_>,
    scope: &mut Scope<'a>,
) -> Result<bool, Absent> {
    let mut unknown = false;
    let mut judge = |item: Operand<'a>| {
        let left = context.left.get().saturating_sub(1);
        context.left.set(left);
        if left == 0 {
            return Some(Err(Absent));
        }
        scope.push(item);
        let one = truth(body, context, scope);
        scope.pop();
        match one {
            Ok(truth) if truth == any => Some(Ok(any)),
            Ok(_) => None,
            Err(Absent) => {
                unknown = true;
                None
            }
        }
    };
    let decided = match over {
        Operand::Tree(Value::List(items)) => items.iter().find_map(|item| judge(Operand::of(item))),
        Operand::Tree(Value::Map(entries)) => entries.iter().find_map(|(key, _)| judge(Operand::Text(key))),
        Operand::Made(Value::List(items)) => items.iter().find_map(|item| judge(Operand::made(item))),
        Operand::Made(Value::Map(entries)) => entries.iter().find_map(|(key, _)| judge(Operand::Owned(key.clone()))),
        _ => return Err(Absent),
    };
    match decided {
        Some(decided) => decided,
        None if unknown => Err(Absent),
        None => Ok(!any),
    }
}

/// Entities compare by their id, so that `user == "u-1"` reads as it sounds.
fn entity_is(value: &Value, text: &str) -> bool {
    value.get("id").and_then(Value::as_str) == Some(text)
}

fn in_set(one: &Operand<'_>, set: &Set) -> bool {
    match one.text() {
        Some(text) if set.only_texts => set.has_text(text),
        _ => set.values.iter().any(|item| equal(&Operand::of(item), one)),
    }
}

/// As in CEL, things of different types are different; numbers are one type.
fn equal(one: &Operand<'_>, other: &Operand<'_>) -> bool {
    match (one, other) {
        (Operand::Null, Operand::Null) => true,
        (Operand::Bool(one), Operand::Bool(other)) => one == other,
        (Operand::Number(one), Operand::Number(other)) => one == other,
        _ => match (one.text(), other.text(), one.tree(), other.tree()) {
            (Some(one), Some(other), ..) => one == other,
            (.., Some(one), Some(other)) => same(one, other),
            (Some(text), _, _, Some(tree)) | (_, Some(text), Some(tree), _) => entity_is(tree, text),
            _ => false,
        },
    }
}

/// Maps have no order; of repeated keys the last counts.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::List(one), Value::List(other)) => {
            one.len() == other.len() && one.iter().zip(other.iter()).all(|(one, other)| same(one, other))
        }
        (Value::Map(entries), Value::Map(others)) => {
            let covers = |some: &[(Arc<str>, Value)], all: &Value| some.iter().all(|(key, _)| all.get(key).is_some());
            covers(others, one)
                && entries.iter().all(|(key, _)| match (one.get(key), other.get(key)) {
                    (Some(one), Some(other)) => same(one, other),
                    _ => false,
                })
        }
        (one, other) => one == other,
    }
}

fn holds(comparison: Comparison, order: Option<Ordering>) -> bool {
    match comparison {
        Comparison::Equal => order == Some(Ordering::Equal),
        Comparison::NotEqual => order != Some(Ordering::Equal),
        Comparison::Less => order == Some(Ordering::Less),
        Comparison::LessEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        Comparison::Greater => order == Some(Ordering::Greater),
        Comparison::GreaterEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
    }
}

fn compare(comparison: Comparison, one: &Operand<'_>, other: &Operand<'_>) -> Result<bool, Absent> {
    match comparison {
        Comparison::Equal => Ok(equal(one, other)),
        Comparison::NotEqual => Ok(!equal(one, other)),
        Comparison::Less | Comparison::LessEqual | Comparison::Greater | Comparison::GreaterEqual => match (one, other) {
            (Operand::Number(one), Operand::Number(other)) => Ok(holds(comparison, one.partial_cmp(other))),
            (Operand::Bool(one), Operand::Bool(other)) => Ok(holds(comparison, Some(one.cmp(other)))),
            _ => match (one.text(), other.text()) {
                (Some(one), Some(other)) => Ok(holds(comparison, Some(one.cmp(other)))),
                _ => Err(Absent),
            },
        },
    }
}

fn call<'a>(
    function: Function,
    arguments: &'a [Node],
    context: &'a Context<'a, '_>,
    scope: &mut Scope<'a>,
) -> Result<Operand<'a>, Absent> {
    let first = operand(&arguments[0], context, scope)?;
    let second = arguments.get(1).map(|argument| operand(argument, context, scope)).transpose()?;
    let words = || Ok((first.text().ok_or(Absent)?, second.as_ref().and_then(Operand::text).ok_or(Absent)?));
    let flag = |truth: bool| Ok(Operand::Bool(truth));
    let list = || second.as_ref().ok_or(Absent)?.list();
    match function {
        Function::StartsWith => words().and_then(|(text, part)| flag(text.starts_with(part))),
        Function::EndsWith => words().and_then(|(text, part)| flag(text.ends_with(part))),
        Function::Contains => match (first.tree(), &second) {
            (Some(Value::List(items)), Some(item)) => flag(items.iter().any(|one| equal(&Operand::of(one), item))),
            _ => words().and_then(|(text, part)| flag(memchr::memmem::find(text.as_bytes(), part.as_bytes()).is_some())),
        },
        Function::Size => match (first.text(), first.tree()) {
            (Some(text), _) => Ok(Operand::Number(text.chars().count() as f64)),
            (_, Some(Value::List(items))) => Ok(Operand::Number(items.len() as f64)),
            (_, Some(Value::Map(entries))) => Ok(Operand::Number(entries.len() as f64)),
            _ => Err(Absent),
        },
        Function::Lower => Ok(Operand::Owned(first.text().ok_or(Absent)?.to_ascii_lowercase().into())),
        Function::HostIn => {
            let host = first.text().ok_or(Absent)?;
            flag(list()?.iter().filter_map(Value::as_str).any(|pattern| host_matches(host, pattern)))
        }
        Function::Cidr => {
            let address = first.text().ok_or(Absent)?;
            let networks = list()?;
            // `10.1.2.3:80`, `[::1]:80` and bare addresses.
            let bare = address
                .parse::<IpAddr>()
                .or_else(|_| address.rsplit_once(':').map_or(address, |(ip, _)| ip).trim_matches(['[', ']']).parse());
            let address = bare.map_err(|_| Absent)?;
            flag(networks.iter().filter_map(Value::as_str).any(|network| in_network(address, network)))
        }
        Function::Glob => words().and_then(|(text, pattern)| flag(glob(text.as_bytes(), pattern.as_bytes()))),
        Function::Granted => flag(context.granted(&first, second.as_ref().and_then(Operand::text).ok_or(Absent)?)),
        Function::HasScope => flag(list()?.iter().any(|scope| equal(&Operand::of(scope), &first))),
        Function::BusinessHours => {
            let seconds = (first.number()? / 1e9) as u64;
            // 1 January 1970 was a Thursday.
            let (weekday, hour) = ((seconds / 86_400 + 3) % 7, seconds / 3600 % 24);
            flag(weekday < 5 && (8..18).contains(&hour))
        }
        Function::Entropy => Ok(Operand::Number(entropy(first.text().ok_or(Absent)?))),
        Function::HasSecret => flag(shapes::holds(&first.value(), shapes::Class::Secret)),
        Function::HasPersonal => flag(shapes::holds(&first.value(), shapes::Class::Personal)),
        Function::Seen => {
            let (label, value) = (first.text().ok_or(Absent)?, second.as_ref().ok_or(Absent)?.value());
            flag(!matches!(value, Value::Null) && context.seen.is_some_and(|seen| seen(label, &value)))
        }
        Function::Json => {
            let parsed = json::parse(first.text().ok_or(Absent)?.as_bytes()).value.ok_or(Absent)?;
            Ok(Operand::made(&parsed))
        }
        Function::Text => Ok(match first.text() {
            Some(text) => Operand::Owned(text.into()),
            None => Operand::Owned(first.value().to_json().into()),
        }),
    }
}

/// `*.example.com` takes names below it, `example.com` itself only. A port is not part of the name.
fn host_matches(host: &str, pattern: &str) -> bool {
    let host =
        host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit())).map_or(host, |(name, _)| name);
    match pattern.strip_prefix("*.") {
        Some(parent) => {
            host.len() > parent.len() && host.to_ascii_lowercase().ends_with(&format!(".{}", parent.to_ascii_lowercase()))
        }
        None => host.eq_ignore_ascii_case(pattern),
    }
}

fn in_network(address: IpAddr, network: &str) -> bool {
    let (base, bits) = network.split_once('/').unwrap_or((network, ""));
    let Ok(base) = base.parse::<IpAddr>() else { return false };
    let wide = |address: IpAddr| match address {
        IpAddr::V4(four) => (u128::from(u32::from(four)) << 96, 32),
        IpAddr::V6(six) => (u128::from(six), 128),
    };
    let ((address, width), (base, base_width)) = (wide(address), wide(base));
    let bits: u32 = bits.parse().unwrap_or(width).min(width);
    let mask = if bits == 0 { 0 } else { u128::MAX << (128 - bits) };
    width == base_width && address & mask == base & mask
}

/// Shannon entropy of the bytes, in bits.
fn entropy(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    text.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    let length = text.len() as f64;
    let shares = counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / length);
    -shares.map(|share| share * share.log2()).sum::<f64>()
}
