//! ArcSight CEF 0: `CEF:0|vendor|product|version|signature|name|severity|extension`.
//!
//! `\` and `|` are escaped in the header, `\`, `=` and line breaks in the extension (ArcSight CEF implementation standard).

use super::{PRODUCT, VENDOR, VERSION, first, millis, severity_rank, text};
use crate::base::Value;
use crate::deliver::line::{invisible, printable};

/// Extension keys with the pointers that feed them; a label follows each custom string.
const EXTENSION: &[(&str, &[&str])] = &[
    ("externalId", &["/uid"]),
    ("suser", &["/actor/user/id"]),
    ("sproc", &["/actor/proc/name"]),
    ("spid", &["/actor/proc/pid"]),
    ("outcome", &["/proof"]),
    ("cnt", &["/count"]),
    ("cs1", &["/actor/agent/name", "/actor/agent/id"]),
    ("cs2", &["/matched"]),
    ("cs3", &["/object"]),
    ("cs4", &["/actor/tenant/id"]),
    ("cs5", &["/workflow"]),
    ("cs6", &["/tags"]),
    ("msg", &["/fix"]),
];

const LABELS: &[(&str, &str)] =
    &[("cs1", "agent"), ("cs2", "matched"), ("cs3", "object"), ("cs4", "tenant"), ("cs5", "workflow"), ("cs6", "tags")];

/// 0 to 10 for info, low, medium, high, critical.
const SEVERITIES: [u8; 5] = [1, 3, 5, 8, 10];

pub(super) fn encode(alert: &Value) -> String {
    let severity = SEVERITIES[usize::from(severity_rank(alert))];
    let mut line = format!(
        "CEF:0|{VENDOR}|{PRODUCT}|{VERSION}|{}|{}|{severity}|rt={} cat=agent-api-violation",
        header(&text(alert, "/rule/id")),
        header(&text(alert, "/rule/title")),
        millis(alert),
    );
    for (key, pointers) in EXTENSION {
        let Some(value) = first(alert, pointers) else { continue };
        line.push_str(&format!(" {key}={}", extension(&value)));
        if let Some((_, label)) = LABELS.iter().find(|(name, _)| name == key) {
            line.push_str(&format!(" {key}Label={label}"));
        }
    }
    line
}

fn header(value: &str) -> String {
    printable(&value.replace(['\r', '\n'], " ")).replace('\\', "\\\\").replace('|', "\\|")
}

/// Other control characters become visible escapes; a receiver reads them as text.
fn extension(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '=' => out.push_str("\\="),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push(' '),
            other if invisible(other) => out.push_str(&format!("\\\\u{{{:x}}}", other as u32)),
            other => out.push(other),
        }
    }
    out
}
