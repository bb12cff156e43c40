//! RFC 5424 syslog lines around any codec.

use super::{Codec, rfc3339, severity_rank, text};
use crate::base::Value;

/// Facility 13, log audit (RFC 5424 section 6.2.1).
const FACILITY: u8 = 13;

/// Severities of RFC 5424 for info, low, medium, high, critical: informational, notice, warning, error, critical.
const SEVERITIES: [u8; 5] = [6, 5, 4, 3, 2];

/// Private enterprise number of examples and documentation (RFC 5612): the project has none of its own.
const SD_ID: &str = "agentward@32473";

/// `<PRI>1 TIME HOST agentward PID ALERT [SD] BOM MSG`.
pub fn message(alert: &Value, codec: Codec, host: &str, pid: u32) -> String {
    let priority = FACILITY * 8 + SEVERITIES[usize::from(severity_rank(alert))];
    format!(
        "<{priority}>1 {} {} agentward {pid} ALERT [{SD_ID} id=\"{}\" rule=\"{}\" severity=\"{}\" proof=\"{}\"] \u{feff}{}",
        rfc3339(alert),
        name(host),
        parameter(&text(alert, "/uid")),
        parameter(&text(alert, "/rule/id")),
        parameter(&text(alert, "/severity")),
        parameter(&text(alert, "/proof")),
        codec.encode(alert),
    )
}

/// HOSTNAME: printable US-ASCII, at most 255, `-` when unknown.
fn name(host: &str) -> String {
    let plain: String = host.chars().filter(char::is_ascii_graphic).take(255).collect();
    if plain.is_empty() { "-".into() } else { plain }
}

/// PARAM-VALUE: `"`, `\` and `]` are escaped (section 6.3.3); control characters become spaces.
fn parameter(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '"' | '\\' | ']' => {
                out.push('\\');
                out.push(character);
            }
            other if other.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out
}
