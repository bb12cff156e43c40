//! Tokens into an expression, checked: known fields, known functions, patterns that compile.

use regex::Regex;

use super::Fault;
use super::fields::{is_known, suggest};
use super::lex::{Token, tokens};
use crate::base::Value;
use crate::base::value::Number;

/// Deeper nesting than this is no rule that a person wrote.
const DEEPEST: usize = 64;

#[derive(Clone, Debug)]
pub enum Expr {
    Literal(Value),
    List(Vec<Expr>),
    /// A field of the event, dotted.
    Field(String),
    /// A list of the pack.
    NamedList(String),
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
    /// A value as text.
    Text,
}

/// Name, function, number of arguments; methods count their receiver.
const FUNCTIONS: &[(&str, Function, usize, bool)] = &[
    ("startsWith", Function::StartsWith, 2, true),
    ("endsWith", Function::EndsWith, 2, true),
    ("contains", Function::Contains, 2, true),
    ("size", Function::Size, 1, true),
    ("lowerAscii", Function::Lower, 1, true),
    ("size", Function::Size, 1, false),
    ("host_in", Function::HostIn, 2, false),
    ("cidr", Function::Cidr, 2, false),
    ("glob", Function::Glob, 2, false),
    ("granted", Function::Granted, 2, false),
    ("has_scope", Function::HasScope, 1, false),
    ("entropy", Function::Entropy, 1, false),
    ("has_secret", Function::HasSecret, 1, false),
    ("has_personal", Function::HasPersonal, 1, false),
    ("text", Function::Text, 1, false),
];

/// Parses and checks one expression.
pub fn parse(text: &str) -> Result<Expr, Fault> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens, at: 0, variables: Vec::new(), depth: 0 };
    let expression = parser.expression()?;
    match parser.peek() {
        Token::End => Ok(expression),
        _ => Err(parser.fault("expected an operator or the end")),
    }
}

/// Calls `visit` for every field that the expression reads.
pub fn fields<'a>(expression: &'a Expr, visit: &mut dyn FnMut(&'a str)) {
    match expression {
        Expr::Field(name) => visit(name),
        Expr::Literal(_) | Expr::NamedList(_) | Expr::Variable(..) => {}
        Expr::List(items) => items.iter().for_each(|item| fields(item, visit)),
        Expr::Not(one) | Expr::Negate(one) | Expr::Has(one) | Expr::Matches(one, _) => fields(one, visit),
        Expr::Index(one, other)
        | Expr::And(one, other)
        | Expr::Or(one, other)
        | Expr::Compare(_, one, other)
        | Expr::In(one, other)
        | Expr::Add(one, other)
        | Expr::Subtract(one, other) => {
            fields(one, visit);
            fields(other, visit);
        }
        Expr::Choose(one, two, three) => {
            fields(one, visit);
            fields(two, visit);
            fields(three, visit);
        }
        Expr::Call(Function::HasScope, arguments) => {
            visit("token.scopes");
            arguments.iter().for_each(|argument| fields(argument, visit));
        }
        Expr::Call(_, arguments) => arguments.iter().for_each(|argument| fields(argument, visit)),
        Expr::Every { over, body, .. } => {
            fields(over, visit);
            fields(body, visit);
        }
    }
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
        let condition = self.or()?;
        let expression = if self.take("?") {
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
        let mut left = self.and()?;
        while self.take("||") {
            left = Expr::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expr, Fault> {
        let mut left = self.relation()?;
        while self.take("&&") {
            left = Expr::And(Box::new(left), Box::new(self.relation()?));
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
        let mut left = self.sum()?;
        loop {
            if let Some((_, comparison)) = SIGNS.iter().find(|(sign, _)| self.take(sign)) {
                left = Expr::Compare(*comparison, Box::new(left), Box::new(self.sum()?));
            } else if *self.peek() == Token::Name("in".into()) {
                self.next();
                left = Expr::In(Box::new(left), Box::new(self.sum()?));
            } else {
                return Ok(left);
            }
        }
    }

    fn sum(&mut self) -> Result<Expr, Fault> {
        let mut left = self.unary()?;
        loop {
            if self.take("+") {
                left = Expr::Add(Box::new(left), Box::new(self.unary()?));
            } else if self.take("-") {
                left = Expr::Subtract(Box::new(left), Box::new(self.unary()?));
            } else {
                return Ok(left);
            }
        }
    }

    fn unary(&mut self) -> Result<Expr, Fault> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.fault("nested too deeply"));
        }
        let expression = if self.take("!") {
            Expr::Not(Box::new(self.unary()?))
        } else if self.take("-") {
            Expr::Negate(Box::new(self.unary()?))
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
            return Ok(Expr::NamedList(path.remove(1)));
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
                let pattern_place = self.place();
                let arguments = self.items(")")?;
                let [Expr::Literal(Value::Text(pattern))] = arguments.as_slice() else {
                    return Err(Fault { at: pattern_place, reason: "matches() takes a pattern in quotes".into() });
                };
                // The default limit of the crate bounds the compiled size; matching is linear in the text.
                let regex = Regex::new(pattern).map_err(|error| Fault {
                    at: pattern_place,
                    reason: format!("pattern: {}", error.to_string().lines().last().unwrap_or("invalid")),
                })?;
                Ok(Expr::Matches(Box::new(receiver), regex))
            }
            _ => {
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
        self.variables.push(variable.clone());
        let body = self.expression()?;
        self.variables.pop();
        self.expect(")")?;
        Ok(Expr::Every { any, over: Box::new(over), variable, body: Box::new(body) })
    }

    fn call(&self, name: &str, method: bool, arguments: Vec<Expr>, place: usize) -> Result<Expr, Fault> {
        let found = FUNCTIONS.iter().find(|(known, _, _, as_method)| *known == name && *as_method == method);
        let Some((_, function, count, _)) = found else {
            let near = FUNCTIONS.iter().map(|(known, ..)| *known).find(|known| strsim::damerau_levenshtein(known, name) <= 2);
            let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            return Err(Fault { at: place, reason: format!("unknown function `{name}`{hint}") });
        };
        if arguments.len() != *count {
            let expected = count - usize::from(method);
            return Err(Fault {
                at: place,
                reason: format!("`{name}` takes {expected} argument{}", if expected == 1 { "" } else { "s" }),
            });
        }
        Ok(Expr::Call(*function, arguments))
    }
}
