//! A rule file exactly as it is written. Nothing is checked here but keys and shapes.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPack {
    pub(super) pack: RawHead,
    #[serde(default)]
    pub(super) list: BTreeMap<String, Spanned<toml::Value>>,
    #[serde(default)]
    pub(super) operation: Vec<RawOperation>,
    #[serde(default)]
    pub(super) identity: Vec<RawIdentity>,
    #[serde(default)]
    pub(super) grant: Vec<RawGrant>,
    #[serde(default)]
    pub(super) filter: Vec<RawFilter>,
    #[serde(default)]
    pub(super) rule: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHead {
    pub(super) name: Spanned<String>,
    pub(super) version: Spanned<String>,
    pub(super) engine: Option<Spanned<String>>,
    #[serde(default)]
    #[expect(dead_code, reason = "for the reader of the pack")]
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) requires: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOperation {
    pub(super) id: Spanned<String>,
    #[serde(rename = "match")]
    pub(super) pattern: Spanned<String>,
    pub(super) effect: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) object: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    pub(super) arg: BTreeMap<String, Spanned<String>>,
    #[serde(default)]
    pub(super) returns: BTreeMap<String, Spanned<String>>,
}

/// Where requests of a host say who acts: sources in the order in which they are asked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawIdentity {
    #[serde(rename = "for")]
    pub(super) host: Spanned<String>,
    #[serde(default)]
    pub(super) user: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) tenant: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) agent: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) scopes: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) trust_headers_from: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGrant {
    pub(super) who: Spanned<RawWho>,
    pub(super) ops: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWho {
    pub(super) role: Option<String>,
    pub(super) user: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFilter {
    pub(super) rules: Vec<Spanned<String>>,
    pub(super) except: Spanned<toml::Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRule {
    pub(super) id: Spanned<String>,
    pub(super) title: Spanned<String>,
    pub(super) severity: RawSeverity,
    pub(super) when: Option<Spanned<String>>,
    pub(super) count: Option<RawCount>,
    pub(super) distinct: Option<RawDistinct>,
    pub(super) sum: Option<RawSum>,
    pub(super) sequence: Option<RawSequence>,
    pub(super) needs: Option<RawNeeds>,
    pub(super) then: Option<RawThen>,
    pub(super) owned: Option<RawOwned>,
    pub(super) flow: Option<RawFlow>,
    pub(super) drift: Option<RawDrift>,
    #[serde(default)]
    pub(super) except: Vec<Spanned<toml::Table>>,
    #[serde(default)]
    pub(super) tags: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) fix: String,
    #[serde(default)]
    pub(super) why: String,
    #[serde(default)]
    pub(super) false_positives: String,
    pub(super) mode: Option<RawMode>,
    pub(super) group: Option<Vec<Spanned<String>>>,
    pub(super) quiet: Option<Spanned<String>>,
    pub(super) max_keys: Option<Spanned<usize>>,
    #[serde(default)]
    pub(super) test: Vec<Spanned<RawTest>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawSeverity {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawMode {
    Alert,
    Shadow,
    Off,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCount {
    #[serde(default)]
    pub(super) by: Vec<Spanned<String>>,
    pub(super) within: Spanned<String>,
    pub(super) over: Spanned<u64>,
    pub(super) without: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDistinct {
    pub(super) of: Spanned<String>,
    #[serde(default)]
    pub(super) by: Vec<Spanned<String>>,
    pub(super) within: Spanned<String>,
    pub(super) over: Spanned<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSum {
    pub(super) of: Spanned<String>,
    #[serde(default)]
    pub(super) by: Vec<Spanned<String>>,
    pub(super) within: Spanned<String>,
    pub(super) over: Spanned<toml::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSequence {
    pub(super) steps: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    pub(super) same: Vec<Spanned<toml::Value>>,
    pub(super) within: Spanned<String>,
    pub(super) without: Option<Spanned<String>>,
    pub(super) order: Option<RawOrder>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawOrder {
    Strict,
    Any,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawNeeds {
    pub(super) earlier: Spanned<String>,
    #[serde(default)]
    pub(super) same: Vec<Spanned<toml::Value>>,
    pub(super) within: Spanned<String>,
    #[serde(default)]
    pub(super) use_once: bool,
    pub(super) voided_by: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawThen {
    pub(super) later: Spanned<String>,
    #[serde(default)]
    pub(super) same: Vec<Spanned<toml::Value>>,
    pub(super) within: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOwned {
    pub(super) object: String,
    pub(super) by: Spanned<String>,
    pub(super) unknown: Option<RawUnknown>,
    pub(super) learn: Option<Spanned<String>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawUnknown {
    Alert,
    Ignore,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFlow {
    pub(super) from: Spanned<String>,
    pub(super) to: Spanned<String>,
    pub(super) within: Spanned<String>,
    pub(super) overlap: Option<usize>,
    #[serde(rename = "match")]
    pub(super) kind: Option<RawMatch>,
    pub(super) not_from: Option<Spanned<toml::Value>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawMatch {
    Any,
    Values,
    Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDrift {
    pub(super) of: Spanned<String>,
    pub(super) key: Vec<Spanned<String>>,
    pub(super) learn: Option<Spanned<String>>,
    pub(super) alert: RawDriftAlert,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawDriftAlert {
    New,
    Changed,
    Rare,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTest {
    pub(super) name: String,
    pub(super) events: Vec<Spanned<toml::Table>>,
    pub(super) alerts: usize,
    #[serde(default)]
    pub(super) expect: Vec<Spanned<toml::Table>>,
}
