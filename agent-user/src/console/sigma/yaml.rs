//! YAML documents with the place of every value.

use saphyr::{LoadableYamlNode, MarkedYaml, Scalar, YamlData};

use crate::decide::pack::Fault;

/// Largest file: Sigma rules are written by hand.
const FILE_BYTES: usize = 1 << 20;

pub(super) struct Node {
    /// Line and column, from 1.
    pub(super) at: (usize, usize),
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Node {
    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A scalar as it would be written.
    pub(super) fn word(&self) -> Option<String> {
        match &self.kind {
            Kind::Text(text) => Some(text.clone()),
            Kind::Number(number) => Some(number.to_string()),
            Kind::Bool(flag) => Some(flag.to_string()),
            Kind::Null | Kind::List(_) | Kind::Map(_) => None,
        }
    }

    pub(super) fn entries(&self) -> &[(Node, Node)] {
        match &self.kind {
            Kind::Map(entries) => entries,
            _ => &[],
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Node> {
        self.entries().iter().find(|(key, _)| key.text() == Some(name)).map(|(_, value)| value)
    }

    /// The items of a list; anything else is a list of one.
    pub(super) fn items(&self) -> Vec<&Node> {
        match &self.kind {
            Kind::List(items) => items.iter().collect(),
            _ => vec![self],
        }
    }

    pub(super) fn fault(&self, file: &str, reason: impl Into<String>) -> Fault {
        Fault { file: file.into(), line: self.at.0, column: self.at.1, reason: reason.into() }
    }
}

/// Every document of a file that holds something.
pub(super) fn documents(file: &str, text: &str) -> Result<Vec<Node>, Fault> {
    if text.len() > FILE_BYTES {
        let reason = format!("longer than {FILE_BYTES} bytes; split it");
        return Err(Fault { file: file.into(), line: 1, column: 1, reason });
    }
    let documents = MarkedYaml::load_from_str(text).map_err(|error| {
        let at = error.marker();
        Fault { file: file.into(), line: at.line(), column: at.col() + 1, reason: format!("no YAML: {}", error.info()) }
    })?;
    Ok(documents.iter().map(node).filter(|node| !matches!(node.kind, Kind::Null)).collect())
}

fn node(yaml: &MarkedYaml<'_>) -> Node {
    let kind = match &yaml.data {
        YamlData::Value(Scalar::Boolean(flag)) => Kind::Bool(*flag),
        YamlData::Value(Scalar::Integer(number)) => Kind::Number(*number as f64),
        YamlData::Value(Scalar::FloatingPoint(number)) => Kind::Number(number.into_inner()),
        YamlData::Value(Scalar::String(text)) => Kind::Text(text.to_string()),
        YamlData::Representation(text, ..) => Kind::Text(text.to_string()),
        YamlData::Sequence(items) => Kind::List(items.iter().map(node).collect()),
        YamlData::Mapping(entries) => Kind::Map(entries.iter().map(|(key, value)| (node(key), node(value))).collect()),
        YamlData::Tagged(_, inner) => return node(inner),
        YamlData::Value(Scalar::Null) | YamlData::Alias(_) | YamlData::BadValue => Kind::Null,
    };
    Node { at: (yaml.span.start.line(), yaml.span.start.col() + 1), kind }
}
