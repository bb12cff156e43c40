//! Checked expressions compiled: fields are slots, lists are sets, chains of `&&` are flat, constants are folded.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use regex::Regex;

use super::parse::{Comparison, Expr, Function};
use super::slots::{Paths, Slot};
use crate::base::Value;

/// What an expression becomes.
#[derive(Clone, Debug)]
pub enum Node {
    Constant(Arc<Value>),
    Number(f64),
    Text(Arc<str>),
    Bool(bool),
    Slot(Slot),
    /// A variable by its depth from the outermost, and what is read below it.
    Variable(usize, Box<[Box<str>]>),
    List(Box<[Node]>),
    Named(Arc<Set>),
    Index(Box<Node>, Box<Node>),
    Not(Box<Node>),
    Negate(Box<Node>),
    All(Box<[Node]>),
    Any(Box<[Node]>),
    Choose(Box<(Node, Node, Node)>),
    Compare(Comparison, Box<Node>, Box<Node>),
    /// `field == "text"` and its negation.
    TextIs(Slot, Arc<str>, bool),
    /// `field < 5` and its like.
    NumberIs(Slot, Comparison, f64),
    BoolIs(Slot, bool),
    /// `field in ["a", "b"]`.
    TextIn(Slot, Arc<Set>),
    /// `field.contains("text")` and its like.
    Part(Slot, Where, Arc<str>),
    In(Box<Node>, Box<Node>),
    InSet(Box<Node>, Arc<Set>),
    Add(Box<Node>, Box<Node>),
    Subtract(Box<Node>, Box<Node>),
    Has(Box<Node>),
    Matches(Box<Node>, Regex),
    /// `text(arg)`: made once an event.
    TextOf(Slot),
    Call(Function, Box<[Node]>),
    Every {
        any: bool,
        over: Box<Node>,
        body: Box<Node>,
    },
}

/// Where a text stands in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    Start,
    End,
    Within,
}

/// Words that stand in rules are hashed for speed alone: who makes events cannot choose them, and only looks them up.
pub type WordHash = foldhash::fast::FixedState;

/// The values of a list, texts also by hash.
#[derive(Clone, Debug, Default)]
pub struct Set {
    pub values: Arc<[Value]>,
    pub texts: HashSet<Arc<str>, WordHash>,
    /// Nothing but texts: a miss in `texts` is a miss.
    pub only_texts: bool,
}

impl Set {
    pub fn new(values: impl IntoIterator<Item = Value>) -> Set {
        let values: Arc<[Value]> = values.into_iter().collect();
        let texts: HashSet<Arc<str>, WordHash> = values
            .iter()
            .filter_map(|value| match value {
                Value::Text(text) => Some(text.clone()),
                _ => None,
            })
            .collect();
        let only_texts = values.iter().all(|value| value.as_str().is_some());
        Set { values, texts, only_texts }
    }

    pub fn has_text(&self, text: &str) -> bool {
        /// Fewer are compared one by one.
        const FEW: usize = 6;
        if self.values.len() <= FEW {
            return self.values.iter().any(|value| value.as_str() == Some(text));
        }
        self.texts.contains(text)
    }
}

/// Compiles with the paths and lists of a rule set; a list that nobody defines is empty here, and a fault where packs are joined.
pub struct Compiler<'a> {
    pub paths: &'a mut Paths,
    pub lists: &'a BTreeMap<String, Arc<Set>>,
}

impl Compiler<'_> {
    pub fn compile(&mut self, expression: &Expr) -> Node {
        self.node(expression, &mut Vec::new())
    }

    fn boxed(&mut self, expression: &Expr, scope: &mut Vec<String>) -> Box<Node> {
        Box::new(self.node(expression, scope))
    }

    fn node(&mut self, expression: &Expr, scope: &mut Vec<String>) -> Node {
        match expression {
            Expr::Literal(value) => literal(value),
            Expr::List(items) => {
                let nodes: Vec<Node> = items.iter().map(|item| self.node(item, scope)).collect();
                let values: Option<Vec<Value>> = nodes.iter().map(constant).collect();
                values.map_or_else(|| Node::List(nodes.into()), |values| Node::Named(Arc::new(Set::new(values))))
            }
            Expr::Field(path) => Node::Slot(self.paths.slot(path)),
            Expr::NamedList(name, _) => Node::Named(self.lists.get(name).cloned().unwrap_or_default()),
            Expr::Variable(name, path) => {
                let depth = scope.iter().rposition(|known| known == name).unwrap_or_default();
                Node::Variable(depth, path.iter().map(|part| part.as_str().into()).collect())
            }
            Expr::Index(of, at) => Node::Index(self.boxed(of, scope), self.boxed(at, scope)),
            Expr::Not(one) => match self.node(one, scope) {
                Node::Bool(flag) => Node::Bool(!flag),
                Node::BoolIs(slot, wanted) => Node::BoolIs(slot, !wanted),
                Node::Slot(slot) => Node::BoolIs(slot, false),
                node => Node::Not(Box::new(node)),
            },
            Expr::Negate(one) => match self.node(one, scope) {
                Node::Number(number) => Node::Number(-number),
                node => Node::Negate(Box::new(node)),
            },
            Expr::And(..) => {
                let mut parts = Vec::new();
                self.flatten(expression, true, scope, &mut parts);
                Node::All(parts.into())
            }
            Expr::Or(..) => {
                let mut parts = Vec::new();
                self.flatten(expression, false, scope, &mut parts);
                Node::Any(parts.into())
            }
            Expr::Choose(condition, yes, no) => {
                Node::Choose(Box::new((self.node(condition, scope), self.node(yes, scope), self.node(no, scope))))
            }
            Expr::Compare(comparison, one, other) => self.comparison(*comparison, one, other, scope),
            Expr::In(one, other) => match (self.node(one, scope), self.node(other, scope)) {
                (Node::Slot(slot), Node::Named(set)) if set.only_texts => Node::TextIn(slot, set),
                (one, Node::Named(set)) => Node::InSet(Box::new(one), set),
                (one, other) => Node::In(Box::new(one), Box::new(other)),
            },
            Expr::Add(one, other) => match (self.node(one, scope), self.node(other, scope)) {
                (Node::Number(one), Node::Number(other)) => Node::Number(one + other),
                (one, other) => Node::Add(Box::new(one), Box::new(other)),
            },
            Expr::Subtract(one, other) => match (self.node(one, scope), self.node(other, scope)) {
                (Node::Number(one), Node::Number(other)) => Node::Number(one - other),
                (one, other) => Node::Subtract(Box::new(one), Box::new(other)),
            },
            Expr::Has(one) => Node::Has(self.boxed(one, scope)),
            Expr::Matches(one, regex) => Node::Matches(self.boxed(one, scope), regex.clone()),
            Expr::Call(Function::Text, arguments) => match &arguments[0] {
                Expr::Field(path) if path == "arg" || path == "result" => Node::TextOf(self.paths.slot(path)),
                other => Node::Call(Function::Text, [self.node(other, scope)].into()),
            },
            Expr::Call(Function::HasScope, arguments) => {
                let scopes = Node::Slot(self.paths.slot("token.scopes"));
                Node::Call(Function::HasScope, [self.node(&arguments[0], scope), scopes].into())
            }
            Expr::Call(Function::BusinessHours, _) => {
                Node::Call(Function::BusinessHours, [Node::Slot(self.paths.slot("time"))].into())
            }
            Expr::Call(function, arguments) => {
                let arguments: Box<[Node]> = arguments.iter().map(|argument| self.node(argument, scope)).collect();
                let place = match function {
                    Function::StartsWith => Some(Where::Start),
                    Function::EndsWith => Some(Where::End),
                    Function::Contains => Some(Where::Within),
                    _ => None,
                };
                match (place, &*arguments) {
                    (Some(place), [Node::Slot(slot), Node::Text(text)]) => Node::Part(*slot, place, text.clone()),
                    _ => Node::Call(*function, arguments),
                }
            }
            Expr::Every { any, over, variable, body } => {
                let over = self.boxed(over, scope);
                scope.push(variable.clone());
                let body = self.boxed(body, scope);
                scope.pop();
                Node::Every { any: *any, over, body }
            }
        }
    }

    fn flatten(&mut self, expression: &Expr, and: bool, scope: &mut Vec<String>, out: &mut Vec<Node>) {
        match expression {
            Expr::And(one, other) if and => {
                self.flatten(one, and, scope, out);
                self.flatten(other, and, scope, out);
            }
            Expr::Or(one, other) if !and => {
                self.flatten(one, and, scope, out);
                self.flatten(other, and, scope, out);
            }
            other => {
                let node = self.node(other, scope);
                // A bare field is a truth of its own.
                out.push(if let Node::Slot(slot) = node { Node::BoolIs(slot, true) } else { node });
            }
        }
    }

    fn comparison(&mut self, comparison: Comparison, one: &Expr, other: &Expr, scope: &mut Vec<String>) -> Node {
        let mirrored = match comparison {
            Comparison::Less => Comparison::Greater,
            Comparison::LessEqual => Comparison::GreaterEqual,
            Comparison::Greater => Comparison::Less,
            Comparison::GreaterEqual => Comparison::LessEqual,
            same => same,
        };
        let equality = matches!(comparison, Comparison::Equal | Comparison::NotEqual);
        let is = comparison == Comparison::Equal;
        match (self.node(one, scope), self.node(other, scope)) {
            (Node::Slot(slot), Node::Text(text)) | (Node::Text(text), Node::Slot(slot)) if equality => {
                Node::TextIs(slot, text, is)
            }
            (Node::Slot(slot), Node::Number(number)) => Node::NumberIs(slot, comparison, number),
            (Node::Number(number), Node::Slot(slot)) => Node::NumberIs(slot, mirrored, number),
            (one, other) => Node::Compare(comparison, Box::new(one), Box::new(other)),
        }
    }
}

fn literal(value: &Value) -> Node {
    match value {
        Value::Bool(flag) => Node::Bool(*flag),
        Value::Number(number) => Node::Number(number.as_f64()),
        Value::Text(text) => Node::Text(text.clone()),
        Value::Null | Value::List(_) | Value::Map(_) => Node::Constant(Arc::new(value.clone())),
    }
}

fn constant(node: &Node) -> Option<Value> {
    Some(match node {
        Node::Constant(value) => Value::clone(value),
        Node::Number(number) => Value::Number(crate::base::value::Number::from_f64(*number)),
        Node::Text(text) => Value::Text(text.clone()),
        Node::Bool(flag) => Value::Bool(*flag),
        Node::Named(set) => Value::List(set.values.clone()),
        _ => return None,
    })
}
