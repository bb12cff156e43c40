//! Tokens into an expression, checked: known fields, known functions, patterns that compile.

use regex::{Regex, RegexBuilder};

use super::Fault;
use super::fields::{Type, is_known, nearest, suggest, type_of};
use super::lex::{Token, tokens};
use crate::base::Value;
use crate::base::value::Number;

/// Deeper nesting than this is no rule that a person wrote.
const DEEPEST: usize = 64;

/// Compiled size of one pattern: counted repetitions of counted repetitions grow without end.
const PATTERN_BYTES: usize = 1 << 20;

/// Words and signs of one expression; a longer one is generated, and a list says it better.
const LONGEST: usize = 4096;

#[derive(Clone, Debug)]
pub enum Expr {
    Literal(Value),
    List(Vec<Expr>),
    /// A field of the event, dotted.
    Field(String),
    /// A list of the pack, and where it is named.
    NamedList(String, usize),
    /// A variable of `exists` or `all`, with what is read below it.
    Variable(String, Vec<String>),
    Index(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Choose(Box<Expr>, Box<Expr>, Box<Expr>),
    Compare(Comparison, Box<Expr>, Box<Expr>),
    In(Box<Expr>, Box<Expr>),
    Add(Box<Expr>, Box<Expr>),
    Subtract(Box<Expr>, Box<Expr>),
    Has(Box<Expr>),
    Matches(Box<Expr>, Regex),
    Call(Function, Vec<Expr>),
    /// `exists` (true) or `all` over a list's items or a map's keys.
    Every {
        any: bool,
        over: Box<Expr>,
        variable: String,
        body: Box<Expr>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    StartsWith,
    EndsWith,
    Contains,
    Size,
    Lower,
    HostIn,
    Cidr,
    Glob,
    Granted,
    HasScope,
    Entropy,
    /// True when a value holds a secret by its shape.
    HasSecret,
    /// True when a value holds personal data by its shape.
    HasPersonal,
    /// Monday to Friday, 8 to 18 o'clock UTC.
    BusinessHours,
    /// True when an earlier event that this could hold for brought the same value under that label.
    Seen,
    /// What a text holds as JSON.
    Json,
    /// A value as text.
    Text,
}

use Type::{Any, Bool, List, Number as Num, Text as Txt};

/// A function as rules call it.
pub(super) struct Signature {
    pub(super) name: &'static str,
    pub(super) function: Function,
    /// What it takes; a method's receiver stands first.
    takes: &'static [&'static [Type]],
    gives: Type,
    pub(super) method: bool,
}

const TEXT: &[Type] = &[Txt];
const LIST: &[Type] = &[List];
const SIZED: &[Type] = &[Txt, List, Type::Map, Type::Entity];
const HOLDER: &[Type] = &[Txt, List];
const USER: &[Type] = &[Txt, Type::Entity];
const ANYTHING: &[Type] = &[Any, Bool, Num, Txt, List, Type::Map, Type::Entity, Type::Null];

const fn method(name: &'static str, function: Function, takes: &'static [&'static [Type]], gives: Type) -> Signature {
    Signature { name, function, takes, gives, method: true }
}

const fn function(name: &'static str, function: Function, takes: &'static [&'static [Type]], gives: Type) -> Signature {
    Signature { name, function, takes, gives, method: false }
}

pub(super) const FUNCTIONS: &[Signature] = &[
    method("startsWith", Function::StartsWith, &[TEXT, TEXT], Bool),
    method("endsWith", Function::EndsWith, &[TEXT, TEXT], Bool),
    method("contains", Function::Contains, &[HOLDER, ANYTHING], Bool),
    method("size", Function::Size, &[SIZED], Num),
    method("lowerAscii", Function::Lower, &[TEXT], Txt),
    function("size", Function::Size, &[SIZED], Num),
    function("host_in", Function::HostIn, &[TEXT, LIST], Bool),
    function("cidr", Function::Cidr, &[TEXT, LIST], Bool),
    function("glob", Function::Glob, &[TEXT, TEXT], Bool),
    function("granted", Function::Granted, &[USER, TEXT], Bool),
    function("has_scope", Function::HasScope, &[TEXT], Bool),
    function("in_business_hours", Function::BusinessHours, &[], Bool),
    function("entropy", Function::Entropy, &[TEXT], Num),
    function("has_secret", Function::HasSecret, &[ANYTHING], Bool),
    function("has_personal", Function::HasPersonal, &[ANYTHING], Bool),
    function("seen", Function::Seen, &[TEXT, ANYTHING], Bool),
    function("json", Function::Json, &[TEXT], Any),
    function("text", Function::Text, &[ANYTHING], Txt),
];

impl Function {
    /// The type of what it gives.
    fn gives(self) -> Type {
        FUNCTIONS.iter().find(|known| known.function == self).map_or(Any, |known| known.gives)
    }
}

impl Expr {
    /// What it is known to be without an event.
    pub fn kind(&self) -> Type {
        match self {
            Expr::Literal(Value::Null) => Type::Null,
            Expr::Literal(Value::Bool(_)) => Bool,
            Expr::Literal(Value::Number(_)) => Num,
            Expr::Literal(Value::Text(_)) => Txt,
            Expr::Literal(Value::List(_)) | Expr::List(_) | Expr::NamedList(..) => List,
            Expr::Literal(Value::Map(_)) => Type::Map,
            Expr::Field(name) => type_of(name).unwrap_or(Any),
            Expr::Variable(..) | Expr::Index(..) => Any,
            Expr::Not(_)
            | Expr::And(..)
            | Expr::Or(..)
            | Expr::Compare(..)
            | Expr::In(..)
            | Expr::Has(_)
            | Expr::Matches(..)
            | Expr::Every { .. } => Bool,
            Expr::Negate(_) | Expr::Add(..) | Expr::Subtract(..) => Num,
            Expr::Choose(_, one, other) => {
                if one.kind() == other.kind() {
                    one.kind()
                } else {
                    Any
                }
            }
            Expr::Call(function, _) => function.gives(),
        }
    }
}

/// Parses and checks one expression.
pub fn parse(text: &str) -> Result<Expr, Fault> {
    let tokens = tokens(text)?;
    if let Some((at, _)) = tokens.get(LONGEST) {
        return Err(Fault { at: *at, reason: format!("longer than {LONGEST} words and signs; use a list of the pack") });
    }
    let mut parser = Parser { tokens, at: 0, variables: Vec::new(), depth: 0 };
    let expression = parser.expression()?;
    match parser.peek() {
        Token::End => {}
        Token::Sign(sign @ ("*" | "/" | "%")) => {
            return Err(parser.fault(&format!("`{sign}` is not part of this language; compare with a number instead")));
        }
        Token::Sign("=") => return Err(parser.fault("`=` is no comparison; did you mean `==`?")),
        Token::Name(word) if matches!(word.as_str(), "and" | "or" | "not") => {
            let sign = if word == "and" {
                "&&"
            } else if word == "or" {
                "||"
            } else {
                "!"
            };
            return Err(parser.fault(&format!("expected an operator or the end; did you mean `{sign}`?")));
        }
        _ => return Err(parser.fault("expected an operator or the end")),
    }
    wants(&expression, &[Bool], 0, "a condition")?;
    Ok(expression)
}

/// Refuses what can never be of one of these types.
fn wants(expression: &Expr, types: &[Type], at: usize, what: &str) -> Result<(), Fault> {
    let found = expression.kind();
    if found == Any || types.contains(&found) {
        return Ok(());
    }
    let named: Vec<&str> = types.iter().filter(|kind| **kind != Any).map(|kind| kind.name()).collect();
    let shown = match expression {
        Expr::Field(name) => format!("`{name}`"),
        _ => "this".into(),
    };
    Err(Fault { at, reason: format!("{what} takes {}; {shown} is {}", named.join(" or "), found.name()) })
}

/// Refuses comparisons that have one answer for every event.
fn comparable(comparison: Comparison, one: &Expr, other: &Expr, at: usize) -> Result<(), Fault> {
    let (first, second) = (one.kind(), other.kind());
    if first == Any || second == Any {
        return Ok(());
    }
    let ordered = !matches!(comparison, Comparison::Equal | Comparison::NotEqual);
    let entity = |one, other| one == Type::Entity && matches!(other, Txt | Type::Map | Type::Entity);
    let fits = if ordered {
        first == second && matches!(first, Bool | Num | Txt)
    } else {
        first == second || first == Type::Null || second == Type::Null || entity(first, second) || entity(second, first)
    };
    if fits {
        return Ok(());
    }
    let shown = |expression: &Expr| match expression {
        Expr::Field(name) => format!("`{name}` is {}", expression.kind().name()),
        _ => format!("this is {}", expression.kind().name()),
    };
    let verb = if ordered { "ordered against" } else { "equal to" };
    let hint = match (one, other) {
        (Expr::Field(_), Expr::Literal(Value::Text(text))) if first == Num && text.parse::<f64>().is_ok() => {
            format!("; did you mean `{text}` without quotes?")
        }
        (Expr::Field(_), Expr::Literal(literal)) if first == Txt => format!("; did you mean `\"{}\"`?", literal.to_json()),
        _ => String::new(),
    };
    Err(Fault { at, reason: format!("{} and can never be {verb} {}{hint}", shown(one), second.name()) })
}

impl Expr {
    /// The expressions that it is made of.
    pub fn parts(&self) -> Vec<&Expr> {
        match self {
            Expr::Field(_) | Expr::Literal(_) | Expr::NamedList(..) | Expr::Variable(..) => Vec::new(),
            Expr::List(items) | Expr::Call(_, items) => items.iter().collect(),
            Expr::Not(one) | Expr::Negate(one) | Expr::Has(one) | Expr::Matches(one, _) => vec![one],
            Expr::Index(one, other)
            | Expr::And(one, other)
            | Expr::Or(one, other)
            | Expr::Compare(_, one, other)
            | Expr::In(one, other)
            | Expr::Add(one, other)
            | Expr::Subtract(one, other) => vec![one, other],
            Expr::Choose(one, two, three) => vec![one, two, three],
            Expr::Every { over, body, .. } => vec![over, body],
        }
    }
}

/// True when it asks what was seen before.
pub fn remembers(expression: &Expr) -> bool {
    matches!(expression, Expr::Call(Function::Seen, _)) || expression.parts().into_iter().any(remembers)
}

/// Calls `visit` for every field that the expression reads.
pub fn fields<'a>(expression: &'a Expr, visit: &mut dyn FnMut(&'a str)) {
    match expression {
        Expr::Field(name) => visit(name),
        Expr::Call(Function::HasScope, _) => visit("token.scopes"),
        Expr::Call(Function::BusinessHours, _) => visit("time"),
        _ => {}
    }
    expression.parts().into_iter().for_each(|part| fields(part, visit));
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    at: usize,
    variables: Vec<String>,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        &self.tokens[self.at].1
    }

    fn place(&self) -> usize {
        self.tokens[self.at].0
    }

    fn fault(&self, reason: &str) -> Fault {
        Fault { at: self.place(), reason: reason.into() }
    }

    fn next(&mut self) -> Token {
        let token = self.tokens[self.at].1.clone();
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        token
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(other) if *other == sign);
        if found {
            self.next();
        }
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), Fault> {
        if self.take(sign) { Ok(()) } else { Err(self.fault(&format!("expected `{sign}`"))) }
    }

    fn expression(&mut self) -> Result<Expr, Fault> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.fault("nested too deeply"));
        }
        let at = self.place();
        let condition = self.or()?;
        let expression = if self.take("?") {
            wants(&condition, &[Bool], at, "`? :`")?;
            let yes = self.expression()?;
            self.expect(":")?;
            Expr::Choose(Box::new(condition), Box::new(yes), Box::new(self.expression()?))
        } else {
            condition
        };
        self.depth -= 1;
        Ok(expression)
    }

    fn or(&mut self) -> Result<Expr, Fault> {
        let mut at = self.place();
        let mut left = self.and()?;
        while self.take("||") {
            wants(&left, &[Bool], at, "`||`")?;
            at = self.place();
            let right = self.and()?;
            wants(&right, &[Bool], at, "`||`")?;
            left = Expr::Or(Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expr, Fault> {
        let mut at = self.place();
        let mut left = self.relation()?;
        while self.take("&&") {
            wants(&left, &[Bool], at, "`&&`")?;
            at = self.place();
            let right = self.relation()?;
            wants(&right, &[Bool], at, "`&&`")?;
            left = Expr::And(Box::new(left), Box::new(right));
        }
        Ok(left)
    }

    fn relation(&mut self) -> Result<Expr, Fault> {
        const SIGNS: [(&str, Comparison); 6] = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessEqual),
            (">=", Comparison::GreaterEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        let at = self.place();
        let mut left = self.sum()?;
        loop {
            if let Some((_, comparison)) = SIGNS.iter().find(|(sign, _)| self.take(sign)) {
                let right = self.sum()?;
                comparable(*comparison, &left, &right, at)?;
                left = Expr::Compare(*comparison, Box::new(left), Box::new(right));
            } else if *self.peek() == Token::Name("in".into()) {
                self.next();
                let at = self.place();
                let right = self.sum()?;
                wants(&right, &[List, Type::Map, Type::Entity], at, "`in`")?;
                left = Expr::In(Box::new(left), Box::new(right));
            } else {
                return Ok(left);
            }
        }
    }

    fn sum(&mut self) -> Result<Expr, Fault> {
        let mut at = self.place();
        let mut left = self.unary()?;
        loop {
            let plus = self.take("+");
            if !plus && !self.take("-") {
                return Ok(left);
            }
            wants(&left, &[Num], at, "arithmetic")?;
            at = self.place();
            let right = self.unary()?;
            wants(&right, &[Num], at, "arithmetic")?;
            let (left_side, right_side) = (Box::new(left), Box::new(right));
            left = if plus { Expr::Add(left_side, right_side) } else { Expr::Subtract(left_side, right_side) };
        }
    }

    fn unary(&mut self) -> Result<Expr, Fault> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.fault("nested too deeply"));
        }
        let expression = if self.take("!") {
            let at = self.place();
            let one = self.unary()?;
            wants(&one, &[Bool], at, "`!`")?;
            Expr::Not(Box::new(one))
        } else if self.take("-") {
            let at = self.place();
            let one = self.unary()?;
            wants(&one, &[Num], at, "`-`")?;
            Expr::Negate(Box::new(one))
        } else {
            self.postfix()?
        };
        self.depth -= 1;
        Ok(expression)
    }

    fn postfix(&mut self) -> Result<Expr, Fault> {
        let mut left = self.primary()?;
        loop {
            if self.take("[") {
                let index = self.expression()?;
                self.expect("]")?;
                left = Expr::Index(Box::new(left), Box::new(index));
            } else if self.take(".") {
                let place = self.place();
                let Token::Name(name) = self.next() else {
                    return Err(Fault { at: place, reason: "expected a name after the dot".into() });
                };
                if !self.take("(") {
                    if matches!(left, Expr::Index(..)) {
                        left = Expr::Index(Box::new(left), Box::new(Expr::Literal(Value::text(name))));
                        continue;
                    }
                    return Err(Fault { at: place, reason: format!("`{name}` is no method; fields are read by name only") });
                }
                left = self.method(left, &name, place)?;
            } else {
                return Ok(left);
            }
        }
    }

    fn primary(&mut self) -> Result<Expr, Fault> {
        let place = self.place();
        match self.next() {
            Token::Number(number) => Ok(Expr::Literal(Value::Number(Number::from_f64(number)))),
            Token::Text(text) => Ok(Expr::Literal(Value::text(text))),
            Token::Sign("(") => {
                let inner = self.expression()?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Sign("[") => self.items("]").map(Expr::List),
            Token::Name(name) => self.named(name, place),
            Token::Sign(_) | Token::End => Err(Fault { at: place, reason: "expected a value, a field or `(`".into() }),
        }
    }

    /// Comma-separated expressions up to `close`.
    fn items(&mut self, close: &str) -> Result<Vec<Expr>, Fault> {
        let mut items = Vec::new();
        while !self.take(close) {
            items.push(self.expression()?);
            if !self.take(",") {
                self.expect(close)?;
                break;
            }
        }
        Ok(items)
    }

    fn named(&mut self, name: String, place: usize) -> Result<Expr, Fault> {
        match name.as_str() {
            "true" => return Ok(Expr::Literal(Value::Bool(true))),
            "false" => return Ok(Expr::Literal(Value::Bool(false))),
            "null" => return Ok(Expr::Literal(Value::Null)),
            _ => {}
        }
        if self.take("(") {
            return self.function(&name, place);
        }
        let mut path = vec![name];
        // A dotted name ends where a method begins.
        while let (Token::Sign("."), Some((_, Token::Name(part)))) = (self.peek(), self.tokens.get(self.at + 1)) {
            if matches!(self.tokens.get(self.at + 2), Some((_, Token::Sign("(")))) {
                break;
            }
            path.push(part.clone());
            self.next();
            self.next();
        }
        if self.variables.contains(&path[0]) {
            let variable = path.remove(0);
            return Ok(Expr::Variable(variable, path));
        }
        if path[0] == "list" && path.len() == 2 {
            return Ok(Expr::NamedList(path.remove(1), place));
        }
        let dotted = path.join(".");
        if !is_known(&dotted) {
            let hint = suggest(&dotted).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            return Err(Fault { at: place, reason: format!("unknown field `{dotted}`{hint}") });
        }
        Ok(Expr::Field(dotted))
    }

    fn function(&mut self, name: &str, place: usize) -> Result<Expr, Fault> {
        let arguments = self.items(")")?;
        if name == "has" {
            let [argument] =
                <[Expr; 1]>::try_from(arguments).map_err(|_| Fault { at: place, reason: "has() takes one field".into() })?;
            let field = matches!(argument, Expr::Field(_) | Expr::Variable(..) | Expr::Index(..));
            return if field {
                Ok(Expr::Has(Box::new(argument)))
            } else {
                Err(Fault { at: place, reason: "has() takes a field".into() })
            };
        }
        self.call(name, false, arguments, place)
    }

    fn method(&mut self, receiver: Expr, name: &str, place: usize) -> Result<Expr, Fault> {
        match name {
            "exists" | "all" => self.every(receiver, name == "exists"),
            "matches" => {
                wants(&receiver, TEXT, place, "`matches`")?;
                let pattern_place = self.place();
                let arguments = self.items(")")?;
                let [Expr::Literal(Value::Text(pattern))] = arguments.as_slice() else {
                    return Err(Fault { at: pattern_place, reason: "matches() takes a pattern in quotes".into() });
                };
                // The default limit of the crate bounds the compiled size; matching is linear in the text.
                let regex = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).build().map_err(|error| Fault {
                    at: pattern_place,
                    reason: format!("pattern: {}", error.to_string().lines().last().unwrap_or("invalid")),
                })?;
                Ok(Expr::Matches(Box::new(receiver), regex))
            }
            _ => {
                // Before its arguments: a misspelled `exists` would have them judged as fields.
                if !FUNCTIONS.iter().any(|known| known.name == name) {
                    return self.call(name, true, Vec::new(), place);
                }
                let mut arguments = vec![receiver];
                arguments.extend(self.items(")")?);
                self.call(name, true, arguments, place)
            }
        }
    }

    fn every(&mut self, over: Expr, any: bool) -> Result<Expr, Fault> {
        let place = self.place();
        let Token::Name(variable) = self.next() else {
            return Err(Fault { at: place, reason: "expected a variable name".into() });
        };
        self.expect(",")?;
        wants(&over, &[List, Type::Map, Type::Entity], place, if any { "`exists`" } else { "`all`" })?;
        self.variables.push(variable.clone());
        let at = self.place();
        let body = self.expression()?;
        self.variables.pop();
        wants(&body, &[Bool], at, if any { "`exists`" } else { "`all`" })?;
        self.expect(")")?;
        Ok(Expr::Every { any, over: Box::new(over), variable, body: Box::new(body) })
    }

    fn call(&self, name: &str, method: bool, arguments: Vec<Expr>, place: usize) -> Result<Expr, Fault> {
        let Some(found) = FUNCTIONS.iter().find(|known| known.name == name && known.method == method) else {
            let other = FUNCTIONS.iter().find(|known| known.name == name);
            let hint = match other {
                Some(_) if method => format!("; did you mean `{name}(…)`?"),
                Some(_) => format!("; did you mean `….{name}(…)`?"),
                None => nearest(name, NAMES.iter().copied().chain(FUNCTIONS.iter().map(|known| known.name)))
                    .map(|near| format!("; did you mean `{near}`?"))
                    .unwrap_or_default(),
            };
            return Err(Fault { at: place, reason: format!("unknown function `{name}`{hint}") });
        };
        if arguments.len() != found.takes.len() {
            let expected = found.takes.len() - usize::from(method);
            return Err(Fault {
                at: place,
                reason: format!("`{name}` takes {expected} argument{}", if expected == 1 { "" } else { "s" }),
            });
        }
        if found.function == Function::Seen && !matches!(arguments[0], Expr::Literal(Value::Text(_))) {
            return Err(Fault {
                at: place,
                reason: "`seen` takes a label in quotes, for example `seen(\"payee\", arg.to)`".into(),
            });
        }
        for (argument, types) in arguments.iter().zip(found.takes) {
            wants(argument, types, place, &format!("`{name}`"))?;
        }
        Ok(Expr::Call(found.function, arguments))
    }
}

/// What is written like a function and is none of the table.
const NAMES: [&str; 4] = ["has", "exists", "all", "matches"];
