//! What a pack says of others: who acts, and lists of words.

use toml::Spanned;

use super::raw::RawIdentity;
use super::read::{Reader, value};
use super::{Fault, NamedList};
use crate::decide::lang::nearest;
use crate::understand::{HostSources, Source};

impl Reader<'_> {
    pub(super) fn identity(&self, raw: &RawIdentity) -> Result<HostSources, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut sources = |written: &[Spanned<String>]| -> Vec<Source> {
            written.iter().filter_map(|source| self.source(source).map_err(|fault| faults.push(fault)).ok()).collect()
        };
        let (user, tenant) = (sources(&raw.user), sources(&raw.tenant));
        let (agent, scopes) = (sources(&raw.agent), sources(&raw.scopes));
        let mut trusted = Vec::new();
        for network in &raw.trust_headers_from {
            match parse_network(network.get_ref()) {
                Some(network) => trusted.push(network),
                None => faults.push(self.fault(network.span().start, "a network is such as `10.2.0.0/16`")),
            }
        }
        if raw.host.get_ref().trim().is_empty() {
            faults
                .push(self.fault(raw.host.span().start, "`for` names a host, for example `api.example.com` or `*.corp.example`"));
        }
        let host = raw.host.get_ref().clone();
        if faults.is_empty() { Ok(HostSources { host, user, tenant, agent, scopes, trusted }) } else { Err(faults) }
    }

    /// `jwt:/sub`, `header:x-forwarded-user`, `path:tenant`, `query:user`, `body:/user_id`, `proc:exe`.
    fn source(&self, written: &Spanned<String>) -> Result<Source, Fault> {
        const SOURCES: [&str; 6] = ["jwt", "header", "path", "query", "body", "proc"];
        let (text, at) = (written.get_ref(), written.span().start);
        let (front, rest) = text.split_once(':').unwrap_or((text, ""));
        let pointer = || {
            let fault = || self.fault(at, format!("a pointer begins with a slash; did you mean `{front}:/{rest}`?"));
            if rest.starts_with('/') { Ok(rest.to_owned()) } else { Err(fault()) }
        };
        if rest.is_empty() && SOURCES.contains(&front) {
            return Err(self.fault(at, format!("`{front}:` names nothing; for example `jwt:/sub` or `header:x-forwarded-user`")));
        }
        match front {
            "jwt" => Ok(Source::Jwt(pointer()?)),
            "body" => Ok(Source::Body(pointer()?)),
            "header" => Ok(Source::Header(rest.to_ascii_lowercase())),
            "query" => Ok(Source::Query(rest.into())),
            "path" => Ok(Source::Path { name: rest.into(), templates: Vec::new() }),
            "proc" => Ok(Source::Process),
            _ => {
                let hint = nearest(text, SOURCES.iter().copied()).map(|near| format!("; did you mean `{near}:…`?"));
                let hint = hint.unwrap_or_else(|| "; one of jwt:, header:, path:, query:, body:, proc:".into());
                Err(self.fault(at, format!("unknown source `{text}`{hint}")))
            }
        }
    }

    /// `name = [...]`, or a table with `values` and `merge = "append"`.
    pub(super) fn list(&self, written: &Spanned<toml::Value>) -> Result<NamedList, Fault> {
        let at = written.span().start;
        let shape = || self.fault(at, "a list is `[\"a\", \"b\"]` or `{ values = [\"a\"], merge = \"append\" }`");
        let (items, append) = match written.get_ref() {
            toml::Value::Array(items) => (items, false),
            toml::Value::Table(table) => {
                if let Some(key) = table.keys().find(|key| !["values", "merge"].contains(&key.as_str())) {
                    let hint = nearest(key, ["values", "merge"].into_iter()).map(|near| format!("; did you mean `{near}`?"));
                    return Err(self.fault(at, format!("unknown key `{key}`{}", hint.unwrap_or_default())));
                }
                let append = match table.get("merge").map(toml::Value::as_str) {
                    None | Some(Some("replace")) => false,
                    Some(Some("append")) => true,
                    Some(_) => return Err(self.fault(at, "`merge` is `append` or `replace`")),
                };
                (table.get("values").and_then(toml::Value::as_array).ok_or_else(shape)?, append)
            }
            _ => return Err(shape()),
        };
        if items.iter().any(|item| item.is_table() || item.is_array()) {
            return Err(self.fault(at, "a list holds texts, numbers and truth values, no lists or tables"));
        }
        Ok(NamedList { values: items.iter().cloned().map(value).collect(), append, line: self.place(at).0 })
    }
}

/// An address with the length of its prefix; without one, the address alone.
fn parse_network(text: &str) -> Option<(std::net::IpAddr, u8)> {
    let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    let address: std::net::IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Some(most), |length| length.parse().ok())?;
    (length <= most).then_some((address, length))
}
