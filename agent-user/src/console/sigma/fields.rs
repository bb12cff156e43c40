//! What Sigma's log sources and fields are called here.

use std::collections::BTreeMap;

use crate::decide::lang::{is_known, suggest};

/// The kind of action that a log source speaks of: by its category, else by none.
const KINDS: [(&str, &str); 12] = [
    ("process_creation", "process.exec"),
    ("file_event", "file.write"),
    ("file_change", "file.write"),
    ("file_rename", "file.write"),
    ("file_delete", "file.write"),
    ("network_connection", "net.connect"),
    ("proxy", "api.request"),
    ("webserver", "api.request"),
    ("tool_call", "tool.call"),
    ("mcp", "mcp.request"),
    ("llm", "llm.request"),
    ("api", "api.request"),
];

/// Names of Sigma's taxonomy.
const FIELDS: [(&str, &str); 22] = [
    ("Image", "proc.exe"),
    ("CommandLine", "proc.args"),
    ("ProcessName", "proc.name"),
    ("ProcessId", "proc.pid"),
    ("CurrentDirectory", "proc.cwd"),
    ("TargetFilename", "file.path"),
    ("DestinationHostname", "http.host"),
    ("DestinationIp", "http.peer"),
    ("cs-method", "http.method"),
    ("cs-host", "http.host"),
    ("r-dns", "http.host"),
    ("c-uri", "http.path"),
    ("c-uri-path", "http.path"),
    ("cs-uri", "http.path"),
    ("cs-uri-stem", "http.path"),
    ("cs-uri-query", "http.query"),
    ("c-uri-query", "http.query"),
    ("sc-status", "http.status"),
    ("cs-username", "user.id"),
    ("User", "user.id"),
    ("c-useragent", "agent.framework"),
    ("cs-user-agent", "agent.framework"),
];

pub(super) fn kind(category: &str) -> Option<&'static str> {
    KINDS.iter().find(|(name, _)| *name == category).map(|(_, kind)| *kind)
}

/// The field of an action: as the caller maps it, by Sigma's taxonomy, or by our own name. The error says what else there is.
pub(super) fn field(name: &str, map: &BTreeMap<String, String>) -> Result<String, String> {
    if let Some(own) = map.get(name) {
        return Ok(own.clone());
    }
    if let Some((_, own)) = FIELDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        return Ok((*own).into());
    }
    if is_known(name) {
        return Ok(name.into());
    }
    let hint = suggest(name).map(|near| format!("did you mean `{near}`? Else ")).unwrap_or_default();
    Err(format!("no field of an action is called `{name}`; {hint}say what it is with --map {name}=FIELD"))
}
