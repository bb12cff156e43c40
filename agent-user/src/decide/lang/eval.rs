//! An expression over one event: a value, or [`Absent`].

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::net::IpAddr;

use super::parse::{Comparison, Expr, Function};
use crate::base::Value;
use crate::base::shapes;
use crate::base::value::Number;

/// A field that the event does not have, or a comparison of things that do not compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absent;

/// Lists and grants that conditions refer to.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    pub lists: BTreeMap<String, Vec<Value>>,
    pub grants: Vec<Grant>,
}

/// What a user or role may do without an agent.
#[derive(Clone, Debug)]
pub struct Grant {
    pub user: Option<String>,
    pub role: Option<String>,
    /// Globs over operation ids.
    pub ops: Vec<String>,
}

impl Vocabulary {
    fn granted(&self, user: &Value, op: &str) -> bool {
        let id = user.as_str().or_else(|| user.get("id").and_then(Value::as_str));
        let roles = user.get("roles").and_then(Value::as_list).unwrap_or_default();
        self.grants.iter().any(|grant| {
            let named = grant.user.as_deref().is_some_and(|wanted| id == Some(wanted));
            let in_role = grant.role.as_deref().is_some_and(|wanted| roles.iter().any(|role| role.as_str() == Some(wanted)));
            (named || in_role) && grant.ops.iter().any(|pattern| glob(op.as_bytes(), pattern.as_bytes()))
        })
    }
}

/// What an expression is judged against.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub event: &'a Value,
    pub vocabulary: &'a Vocabulary,
}

/// Items that `exists` and `all` look at; a longer list is made to cost us time.
const ITEMS: usize = 1024;

/// The truth of a condition.
pub fn evaluate<'a>(expression: &'a Expr, context: &Context<'a>) -> Result<bool, Absent> {
    let found = value(expression, context, &mut Vec::new())?;
    truth(&found)
}

type Scope = Vec<(String, Value)>;

fn truth(value: &Value) -> Result<bool, Absent> {
    value.as_bool().ok_or(Absent)
}

fn value<'a>(expression: &'a Expr, context: &Context<'a>, scope: &mut Scope) -> Result<Cow<'a, Value>, Absent> {
    let flag = |truth: bool| Ok(Cow::Owned(Value::Bool(truth)));
    match expression {
        Expr::Literal(literal) => Ok(Cow::Borrowed(literal)),
        Expr::List(items) => {
            let items: Result<Vec<Value>, Absent> =
                items.iter().map(|item| Ok(value(item, context, scope)?.into_owned())).collect();
            Ok(Cow::Owned(Value::list(items?)))
        }
        Expr::Field(path) => field(context.event, path).map(Cow::Borrowed).ok_or(Absent),
        Expr::NamedList(name) => {
            context.vocabulary.lists.get(name).map(|items| Cow::Owned(Value::list(items.iter().cloned()))).ok_or(Absent)
        }
        Expr::Variable(name, path) => {
            let found = scope.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value).ok_or(Absent)?;
            path.iter().try_fold(found, |value, part| value.get(part)).map(|value| Cow::Owned(value.clone())).ok_or(Absent)
        }
        Expr::Index(of, at) => {
            let (of, at) = (value(of, context, scope)?, value(at, context, scope)?);
            let found = match &*at {
                Value::Text(name) => of.get(name),
                Value::Number(number) => number.as_f64().is_sign_positive().then(|| of.index(number.as_f64() as usize)).flatten(),
                Value::Null | Value::Bool(_) | Value::List(_) | Value::Map(_) => None,
            };
            found.map(|value| Cow::Owned(value.clone())).ok_or(Absent)
        }
        Expr::Not(one) => flag(!truth(&*value(one, context, scope)?)?),
        Expr::Negate(one) => Ok(Cow::Owned(number(-value(one, context, scope)?.as_f64().ok_or(Absent)?))),
        Expr::And(one, other) => absorb(false, one, other, context, scope),
        Expr::Or(one, other) => absorb(true, one, other, context, scope),
        Expr::Choose(condition, yes, no) => {
            if truth(&*value(condition, context, scope)?)? {
                value(yes, context, scope)
            } else {
                value(no, context, scope)
            }
        }
        Expr::Compare(comparison, one, other) => {
            let (one, other) = (value(one, context, scope)?, value(other, context, scope)?);
            flag(compare(*comparison, &one, &other)?)
        }
        Expr::In(one, other) => {
            let (one, other) = (value(one, context, scope)?, value(other, context, scope)?);
            match &*other {
                Value::List(items) => flag(items.iter().any(|item| equal(item, &one) == Some(true))),
                Value::Map(entries) => flag(one.as_str().is_some_and(|name| entries.iter().any(|(key, _)| &**key == name))),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => Err(Absent),
            }
        }
        Expr::Add(one, other) => {
            let (one, other) = (value(one, context, scope)?, value(other, context, scope)?);
            Ok(Cow::Owned(number(one.as_f64().ok_or(Absent)? + other.as_f64().ok_or(Absent)?)))
        }
        Expr::Subtract(one, other) => {
            let (one, other) = (value(one, context, scope)?, value(other, context, scope)?);
            Ok(Cow::Owned(number(one.as_f64().ok_or(Absent)? - other.as_f64().ok_or(Absent)?)))
        }
        Expr::Has(one) => {
            let found = value(one, context, scope);
            flag(found.is_ok_and(|value| !matches!(*value, Value::Null)))
        }
        Expr::Matches(one, regex) => flag(regex.is_match(value(one, context, scope)?.as_str().ok_or(Absent)?)),
        Expr::Call(function, arguments) => call(*function, arguments, context, scope),
        Expr::Every { any, over, variable, body } => {
            let over = value(over, context, scope)?;
            let items: Vec<Value> = match &*over {
                Value::List(items) => items.iter().take(ITEMS).cloned().collect(),
                Value::Map(entries) => entries.iter().take(ITEMS).map(|(key, _)| Value::Text(key.clone())).collect(),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => return Err(Absent),
            };
            every(*any, &items, variable, body, context, scope).map(|truth| Cow::Owned(Value::Bool(truth)))
        }
    }
}

/// CEL: one side that decides is enough, whatever the other is.
fn absorb<'a>(
    decides: bool,
    one: &'a Expr,
    other: &'a Expr,
    context: &Context<'a>,
    scope: &mut Scope,
) -> Result<Cow<'a, Value>, Absent> {
    let first = value(one, context, scope).and_then(|value| truth(&value));
    if first == Ok(decides) {
        return Ok(Cow::Owned(Value::Bool(decides)));
    }
    let second = value(other, context, scope).and_then(|value| truth(&value))?;
    if second == decides { Ok(Cow::Owned(Value::Bool(decides))) } else { first.map(|_| Cow::Owned(Value::Bool(!decides))) }
}

fn every<'a>(
    any: bool,
    items: &[Value],
    variable: &str,
    body: &'a Expr,
    context: &Context<'a>,
    scope: &mut Scope,
) -> Result<bool, Absent> {
    let mut unknown = false;
    for item in items {
        scope.push((variable.to_owned(), item.clone()));
        let one = value(body, context, scope).and_then(|value| truth(&value));
        scope.pop();
        match one {
            Ok(truth) if truth == any => return Ok(any),
            Ok(_) => {}
            Err(Absent) => unknown = true,
        }
    }
    if unknown { Err(Absent) } else { Ok(!any) }
}

fn number(number: f64) -> Value {
    Value::Number(Number::from_f64(number))
}

/// A dotted path; where objects repeat a key, the last wins as most readers choose.
pub(crate) fn field<'a>(event: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(event, |value, part| value.get(part)).filter(|value| !matches!(value, Value::Null))
}

/// `None` when the two are of different types.
fn equal(one: &Value, other: &Value) -> Option<bool> {
    match (one, other) {
        (Value::Null, Value::Null) => Some(true),
        (Value::Bool(one), Value::Bool(other)) => Some(one == other),
        (Value::Number(one), Value::Number(other)) => Some(one == other),
        (Value::Text(one), Value::Text(other)) => Some(one == other),
        (Value::List(_), Value::List(_)) | (Value::Map(_), Value::Map(_)) => Some(one == other),
        // Entities compare by their id, so that `user == "u-1"` reads as it sounds.
        (Value::Map(_), Value::Text(_)) => equal(one.get("id")?, other),
        (Value::Text(_), Value::Map(_)) => equal(one, other.get("id")?),
        _ => None,
    }
}

fn compare(comparison: Comparison, one: &Value, other: &Value) -> Result<bool, Absent> {
    match comparison {
        Comparison::Equal => equal(one, other).ok_or(Absent),
        Comparison::NotEqual => equal(one, other).map(|same| !same).ok_or(Absent),
        Comparison::Less => order(one, other).map(Ordering::is_lt),
        Comparison::LessEqual => order(one, other).map(Ordering::is_le),
        Comparison::Greater => order(one, other).map(Ordering::is_gt),
        Comparison::GreaterEqual => order(one, other).map(Ordering::is_ge),
    }
}

fn order(one: &Value, other: &Value) -> Result<Ordering, Absent> {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64().partial_cmp(&other.as_f64()).ok_or(Absent),
        (Value::Text(one), Value::Text(other)) => Ok(one.cmp(other)),
        _ => Err(Absent),
    }
}

fn call<'a>(
    function: Function,
    arguments: &'a [Expr],
    context: &Context<'a>,
    scope: &mut Scope,
) -> Result<Cow<'a, Value>, Absent> {
    let first = value(&arguments[0], context, scope)?;
    let second = arguments.get(1).map(|argument| value(argument, context, scope)).transpose()?;
    let words = || Ok((first.as_str().ok_or(Absent)?, second.as_deref().and_then(Value::as_str).ok_or(Absent)?));
    let flag = |truth: bool| Ok(Cow::Owned(Value::Bool(truth)));
    match function {
        Function::StartsWith => words().and_then(|(text, part)| flag(text.starts_with(part))),
        Function::EndsWith => words().and_then(|(text, part)| flag(text.ends_with(part))),
        Function::Contains => match (&*first, second.as_deref()) {
            (Value::List(items), Some(item)) => flag(items.iter().any(|one| equal(one, item) == Some(true))),
            _ => words().and_then(|(text, part)| flag(text.contains(part))),
        },
        Function::Size => match &*first {
            Value::Text(text) => Ok(Cow::Owned(number(text.chars().count() as f64))),
            Value::List(items) => Ok(Cow::Owned(number(items.len() as f64))),
            Value::Map(entries) => Ok(Cow::Owned(number(entries.len() as f64))),
            Value::Null | Value::Bool(_) | Value::Number(_) => Err(Absent),
        },
        Function::Lower => Ok(Cow::Owned(Value::text(first.as_str().ok_or(Absent)?.to_ascii_lowercase()))),
        Function::HostIn => {
            let host = first.as_str().ok_or(Absent)?;
            let list = second.as_deref().and_then(Value::as_list).ok_or(Absent)?;
            flag(list.iter().filter_map(Value::as_str).any(|pattern| host_matches(host, pattern)))
        }
        Function::Cidr => {
            let address = first.as_str().ok_or(Absent)?;
            let list = second.as_deref().and_then(Value::as_list).ok_or(Absent)?;
            let address: IpAddr =
                address.rsplit_once(':').map_or(address, |(ip, _)| ip).trim_matches(['[', ']']).parse().map_err(|_| Absent)?;
            flag(list.iter().filter_map(Value::as_str).any(|network| in_network(address, network)))
        }
        Function::Glob => words().and_then(|(text, pattern)| flag(glob(text.as_bytes(), pattern.as_bytes()))),
        Function::Granted => flag(context.vocabulary.granted(&first, second.as_deref().and_then(Value::as_str).ok_or(Absent)?)),
        Function::HasScope => {
            let scopes = field(context.event, "token.scopes").and_then(Value::as_list).ok_or(Absent)?;
            flag(scopes.iter().any(|scope| equal(scope, &first) == Some(true)))
        }
        Function::Entropy => Ok(Cow::Owned(number(entropy(first.as_str().ok_or(Absent)?)))),
        Function::HasSecret => flag(shapes::holds(&first, shapes::Class::Secret)),
        Function::HasPersonal => flag(shapes::holds(&first, shapes::Class::Personal)),
        Function::Text => Ok(Cow::Owned(Value::text(first.as_str().map_or_else(|| first.to_json(), str::to_owned)))),
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

/// `*` any text, `?` any byte. Linear in the text for each star.
pub(crate) fn glob(text: &[u8], pattern: &[u8]) -> bool {
    let (mut at, mut in_pattern) = (0, 0);
    let mut star = None;
    while at < text.len() {
        match pattern.get(in_pattern) {
            Some(b'*') => {
                star = Some((at, in_pattern));
                in_pattern += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[at] => {
                at += 1;
                in_pattern += 1;
            }
            _ => {
                let Some((from, star_at)) = star else { return false };
                star = Some((from + 1, star_at));
                at = from + 1;
                in_pattern = star_at + 1;
            }
        }
    }
    pattern[in_pattern..].iter().all(|byte| *byte == b'*')
}

/// Shannon entropy of the bytes, in bits.
fn entropy(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    text.bytes().for_each(|byte| counts[usize::from(byte)] += 1);
    let length = text.len() as f64;
    let shares = counts.iter().filter(|count| **count > 0).map(|count| f64::from(*count) / length);
    -shares.map(|share| share * share.log2()).sum::<f64>()
}
