//! LEEF 2.0: `LEEF:2.0|vendor|product|version|event id|delimiter|key=value…`.
//!
//! The delimiter is declared as `x1f` (unit separator), which no JSON text holds unescaped; it is replaced in values, as are
//! line breaks, because the format has no escape for them.

use super::{PRODUCT, VENDOR, VERSION, first, rfc3339, severity_rank, text};
use crate::base::Value;
use crate::deliver::line::invisible;

const DELIMITER: char = '\u{1f}';

const ATTRIBUTES: &[(&str, &[&str])] = &[
    ("externalId", &["/uid"]),
    ("usrName", &["/actor/user/id"]),
    ("agent", &["/actor/agent/name", "/actor/agent/id"]),
    ("tenant", &["/actor/tenant/id"]),
    ("process", &["/actor/proc/name"]),
    ("pid", &["/actor/proc/pid"]),
    ("ruleTitle", &["/rule/title"]),
    ("proof", &["/proof"]),
    ("count", &["/count"]),
    ("object", &["/object"]),
    ("matched", &["/matched"]),
    ("workflow", &["/workflow"]),
    ("tags", &["/tags"]),
    ("fix", &["/fix"]),
];

/// 1 to 10 for info, low, medium, high, critical.
const SEVERITIES: [u8; 5] = [1, 3, 5, 8, 10];

pub(super) fn encode(alert: &Value) -> String {
    let severity = SEVERITIES[usize::from(severity_rank(alert))];
    let mut line = format!(
        "LEEF:2.0|{VENDOR}|{PRODUCT}|{VERSION}|{}|x1f|cat=agent-api-violation{DELIMITER}sev={severity}{DELIMITER}devTime={}{DELIMITER}devTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSX",
        plain(&text(alert, "/rule/id")).replace('|', "/"),
        rfc3339(alert),
    );
    for (key, pointers) in ATTRIBUTES {
        if let Some(value) = first(alert, pointers) {
            line.push(DELIMITER);
            line.push_str(key);
            line.push('=');
            line.push_str(&plain(&value));
        }
    }
    line
}

/// Control characters become visible escapes.
fn plain(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            other if invisible(other) => out.push_str(&format!("\\u{{{:x}}}", other as u32)),
            other => out.push(other),
        }
    }
    out
}
