//! Where a host's requests say who acts: the ordered sources of a vocabulary, in place of what is inferred (policy-siem 5.1).
//!
//! The first source of a list that has a value wins. A forwarded header counts as accepted only when the peer that sent it is in one of
//! the named networks; else it is what somebody claims, and is asked last.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Claim, Confidence, Identity, Token};
use crate::base::Value;
use crate::decode::{Request, header};
use crate::reassemble::Flow;

/// A place in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// JSON pointer into the claims of the bearer token.
    Jwt(String),
    Header(String),
    Query(String),
    /// JSON pointer into the body.
    Body(String),
    /// A variable of the path, with the path templates of the host that have it.
    Path {
        name: String,
        templates: Vec<Vec<String>>,
    },
    /// The process itself: what is inferred of it stays.
    Process,
}

/// The sources of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostSources {
    /// Glob over host names.
    pub host: String,
    pub user: Vec<Source>,
    pub tenant: Vec<Source>,
    pub agent: Vec<Source>,
    pub scopes: Vec<Source>,
    /// Networks whose forwarded headers are true: address and length of the prefix.
    pub trusted: Vec<(IpAddr, u8)>,
}

/// A request with what can be read of it.
pub(super) struct Asked<'a> {
    pub(super) request: &'a Request,
    pub(super) flow: &'a Flow,
    pub(super) body: &'a Value,
    pub(super) claims: Option<Value>,
    /// The captured process is the server: the peer is who sent the headers.
    pub(super) inbound: bool,
}

impl HostSources {
    pub(super) fn speaks_of(&self, host: &str) -> bool {
        let bare = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let fits = |name: &str| crate::base::glob::matches(name.as_bytes(), self.host.as_bytes());
        fits(host) || fits(bare)
    }

    /// Puts what the sources say in place of what was inferred.
    pub(super) fn apply(&self, identity: &mut Identity, asked: &Asked<'_>) {
        if !self.user.is_empty() {
            identity.user = self.first(&self.user, asked);
        }
        if !self.tenant.is_empty() {
            let each = |source: &Source| self.claim(source, asked).map(|claim| claim.value);
            let mut values: Vec<Arc<str>> = self.tenant.iter().filter_map(each).collect();
            values.dedup();
            identity.tenant_conflict = values.len() > 1;
            identity.tenant = self.first(&self.tenant, asked);
        }
        if !self.agent.is_empty()
            && let Some(agent) = self.first(&self.agent, asked)
        {
            identity.agent_id = Some(agent);
        }
        let scopes = self.scopes.iter().find_map(|source| Some(words(&self.value(source, asked)?)));
        if let Some(scopes) = scopes.filter(|scopes| !scopes.is_empty()) {
            identity.token.get_or_insert_with(Token::default).scopes = scopes;
        }
    }

    fn first(&self, sources: &[Source], asked: &Asked<'_>) -> Option<Claim> {
        let mut claims =
            sources.iter().take_while(|source| **source != Source::Process).filter_map(|source| self.claim(source, asked));
        let doubtful = |claim: &Claim| claim.source.starts_with("header:") && claim.confidence < Confidence::Accepted;
        let all: Vec<Claim> = claims.by_ref().collect();
        all.iter().find(|claim| !doubtful(claim)).or(all.first()).cloned()
    }

    fn claim(&self, source: &Source, asked: &Asked<'_>) -> Option<Claim> {
        let value = words(&self.value(source, asked)?).into_iter().next()?;
        let (name, confidence) = match source {
            Source::Jwt(pointer) => (format!("jwt:{pointer}"), Confidence::Claimed),
            Source::Header(name) => {
                let sure = if self.trusts(asked) { Confidence::Accepted } else { Confidence::Claimed };
                (format!("header:{name}"), sure)
            }
            Source::Query(name) => (format!("query:{name}"), Confidence::Claimed),
            Source::Body(pointer) => (format!("body:{pointer}"), Confidence::Guessed),
            Source::Path { name, .. } => (format!("path:{name}"), Confidence::Claimed),
            Source::Process => return None,
        };
        Some(Claim { value, source: name.into(), confidence })
    }

    fn value(&self, source: &Source, asked: &Asked<'_>) -> Option<Value> {
        match source {
            Source::Jwt(pointer) => asked.claims.as_ref()?.pointer(pointer).cloned(),
            Source::Header(name) => {
                let value = std::str::from_utf8(header(&asked.request.headers, name)?).ok()?.trim();
                (!value.is_empty()).then(|| Value::text(value))
            }
            Source::Query(name) => super::api::form(asked.request.query.expose_content())
                .into_iter()
                .find(|(known, _)| **known == **name)
                .map(|(_, value)| value),
            Source::Body(pointer) => asked.body.pointer(pointer).cloned(),
            Source::Path { name, templates } => {
                templates.iter().find_map(|template| segment(template, &asked.request.path, name))
            }
            Source::Process => None,
        }
    }

    fn trusts(&self, asked: &Asked<'_>) -> bool {
        let peer = asked.flow.peer.as_deref().filter(|_| asked.inbound).and_then(address);
        peer.is_some_and(|peer| self.trusted.iter().any(|network| within(peer, *network)))
    }
}

/// `10.1.2.3:443`, `[::1]:443`, with or without the port.
fn address(peer: &str) -> Option<IpAddr> {
    let socket = peer.parse().map(|socket: std::net::SocketAddr| socket.ip());
    socket.or_else(|_| peer.parse()).ok().map(|address: IpAddr| address.to_canonical())
}

fn within(address: IpAddr, (network, length): (IpAddr, u8)) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)) << 96, 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    };
    let ((one, width), (other, same)) = (bits(address), bits(network));
    let differ = one ^ other;
    width == same && (length == 0 || differ >> (128 - u32::from(length.min(width))) == 0)
}

/// The variable's value where the path fits the template; further segments may follow.
fn segment(template: &[String], path: &str, name: &str) -> Option<Value> {
    let mut parts = path.trim_start_matches('/').split('/');
    let mut found = None;
    for expected in template {
        let part = parts.next()?;
        match expected.strip_prefix('{').and_then(|expected| expected.strip_suffix('}')) {
            Some(variable) if variable == name => found = Some(part),
            Some(_) => {}
            None if expected == part || expected == "*" => {}
            None => return None,
        }
    }
    let decoded = percent_encoding::percent_decode_str(found?).decode_utf8_lossy().into_owned();
    (!decoded.is_empty()).then(|| Value::text(decoded))
}

/// A list of strings, one string of words, or a number.
fn words(value: &Value) -> Vec<Arc<str>> {
    match value {
        Value::Text(text) => text.split_whitespace().map(Arc::from).collect(),
        Value::Number(number) => vec![number.text.to_string().into()],
        Value::List(items) => items.iter().filter_map(Value::as_str).map(Arc::from).collect(),
        Value::Null | Value::Bool(_) | Value::Map(_) => Vec::new(),
    }
}
