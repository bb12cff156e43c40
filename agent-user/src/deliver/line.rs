//! Lines for a person at a terminal: one a step, a short block an alert, a tree a workflow.
//!
//! Captured text is redacted first, then made printable: a hostile server must not move the cursor, set the title or hide text
//! with bidirectional controls (CVE-2021-42574 and the like).

use std::fmt::Write;

use super::Redactor;
use crate::base::{Timestamp, Value};
use crate::correlate::Step;
use crate::decide::{Alert, Severity};
use crate::decode::Exchange;
use crate::understand::{Action, Kind};

/// Longest argument list in a step line; the whole is in the JSON views.
const ARGUMENTS_SHOWN: usize = 120;

/// Colour only where a person looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Palette {
    Plain,
    Colour,
}

impl Palette {
    /// SGR sequences of ECMA-48 around `text`.
    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Palette::Plain => text.to_owned(),
            Palette::Colour => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }

    fn severity(self, severity: Severity) -> String {
        let code = match severity {
            Severity::Critical => "1;97;41",
            Severity::High => "1;31",
            Severity::Medium => "1;33",
            Severity::Low => "36",
            Severity::Info => "2",
        };
        self.paint(code, &severity.name().to_uppercase())
    }
}

/// Control and format characters become escapes, so that one line stays one line and shows what it holds.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => out.push_str("\\n"),
            '\t' => out.push(' '),
            _ if invisible(character) => write!(out, "\\u{{{:x}}}", character as u32).expect("writing to a String cannot fail"),
            _ => out.push(character),
        }
    }
    out
}

/// Characters that a terminal obeys, that end a line for some readers, or that hide or reorder others.
pub fn invisible(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// `14:03:27.123 w1 a4  api.request  POST shop.example/v1/orders/1001/refunds {"amount":900} -> 201  python3[4242]`
pub fn step(step: &Step, redactor: &Redactor, palette: Palette) -> String {
    let action = &*step.action;
    let mut line = format!(
        "{} {:<4} {:<5} {:<12} {}",
        palette.paint("2", &clock(action.time)),
        step.workflow.to_string(),
        action.id.to_string(),
        palette.paint(kind_colour(action.kind), action.kind.name()),
        printable(&summary(action, redactor)),
    );
    if let (Some(name), Some(key)) = (&step.proc.name, step.proc.key) {
        line.push_str(&palette.paint("2", &format!("  {}[{}]", printable(name), key.pid)));
    }
    if !action.incomplete.is_empty() {
        let reasons: Vec<&str> = action.incomplete.iter().map(|reason| reason.0.as_ref()).collect();
        line.push_str(&palette.paint("33", &format!("  incomplete: {}", printable(&reasons.join(", ")))));
    }
    line
}

/// `14:03:27.123 x1    POST https://shop.example/v1/orders (35 bytes) -> 201 (33 bytes)  c1`
pub fn exchange(exchange: &Exchange, redactor: &Redactor, palette: Palette) -> String {
    let ts = exchange.request.as_ref().map(|request| request.ts).or(exchange.response.as_ref().map(|response| response.ts));
    let mut line = format!("{} {:<5} ", palette.paint("2", &clock(ts.unwrap_or_default())), exchange.id.to_string());
    match exchange.request.as_deref() {
        Some(request) => {
            let scheme = if request.host.is_empty() { String::new() } else { format!("{}://", request.scheme) };
            let target = format!("{} {scheme}{}{}", request.method, request.host, redactor.location(&request.path));
            write!(line, "{} ({} bytes)", printable(&target), request.body.len).expect("writing to a String cannot fail");
        }
        None => line.push_str("(request not seen)"),
    }
    match exchange.response.as_deref() {
        Some(response) => {
            write!(line, " -> {} ({} bytes)", response.status, response.body.len).expect("writing to a String cannot fail")
        }
        None => line.push_str(" -> no response"),
    }
    let place = format!("  {} {}", exchange.protocol.name(), exchange.flow.conn.0);
    line.push_str(&palette.paint("2", &printable(&place)));
    if !exchange.incomplete.is_empty() {
        let reasons: Vec<&str> = exchange.incomplete.iter().map(|reason| reason.0.as_ref()).collect();
        line.push_str(&palette.paint("33", &format!("  incomplete: {}", printable(&reasons.join(", ")))));
    }
    line
}

/// What the step did, in one phrase. Holds captured text: the caller makes it printable.
pub fn summary(action: &Action, redactor: &Redactor) -> String {
    let mut text = match action.kind {
        Kind::LlmRequest | Kind::LlmResponse => llm_summary(action),
        Kind::ToolCall | Kind::ToolResult | Kind::McpRequest => {
            let name = action.tool.as_ref().map(|tool| &*tool.name).or(action.mcp.as_ref().map(|mcp| &*mcp.method));
            format!("{}({})", name.or(action.op.as_deref()).unwrap_or("?"), arguments(action, redactor))
        }
        Kind::MemoryWrite if action.tool.is_some() => {
            let name = action.tool.as_ref().map_or("?", |tool| &*tool.name);
            format!("{name}({})", arguments(action, redactor))
        }
        Kind::ApiRequest | Kind::ApiResponse | Kind::A2aRequest | Kind::MemoryWrite => match &action.http {
            Some(http) => {
                format!("{} {}{} {}", http.method, http.host, redactor.location(&http.path), arguments(action, redactor))
            }
            None => format!("{} {}", action.op.as_deref().unwrap_or("?"), arguments(action, redactor)),
        },
        Kind::ProcessExec | Kind::FileWrite | Kind::NetConnect => system_summary(action, redactor),
        Kind::SelfReport => action.op.as_deref().unwrap_or("agentward").to_owned(),
    };
    if let Some(status) = action.status {
        write!(text, " -> {status}").expect("writing to a String cannot fail");
    }
    text
}

fn llm_summary(action: &Action) -> String {
    let Some(llm) = action.llm.as_deref() else { return action.op.as_deref().unwrap_or("?").to_owned() };
    let model = llm.model.as_deref().unwrap_or("unknown model");
    if action.kind == Kind::LlmRequest {
        return format!("{model} <- {} messages, {} tools", llm.messages.len(), llm.tools.len());
    }
    let calls: Vec<&str> = llm.tool_calls.iter().map(|call| &*call.name).collect();
    let mut text = format!("{model} -> {}", llm.stop_reason.as_deref().unwrap_or("no stop reason"));
    if !calls.is_empty() {
        write!(text, ", calls {}", calls.join(", ")).expect("writing to a String cannot fail");
    }
    if let (Some(input), Some(output)) = (llm.usage.input_tokens, llm.usage.output_tokens) {
        write!(text, ", {input}+{output} tokens").expect("writing to a String cannot fail");
    }
    text
}

fn system_summary(action: &Action, redactor: &Redactor) -> String {
    let Some(effect) = &action.system else { return action.op.as_deref().unwrap_or("?").to_owned() };
    let argv = effect.argv.expose_content();
    match action.kind {
        Kind::ProcessExec if argv.is_empty() => effect.exe.as_deref().unwrap_or("?").to_owned(),
        Kind::ProcessExec => redactor.text(&argv.join(" ")).into_owned(),
        _ => {
            let target = effect.path.as_deref().or(effect.peer.as_deref()).unwrap_or("?");
            let to = effect.to.as_deref().map(|to| format!(" -> {to}")).unwrap_or_default();
            format!("{} {target}{to}", effect.op)
        }
    }
}

fn arguments(action: &Action, redactor: &Redactor) -> String {
    let shown = redactor.sensitive(&action.arg);
    let empty = matches!(&shown, Value::Null) || shown.as_map().is_some_and(<[_]>::is_empty);
    if empty { String::new() } else { cut(shown.to_json(), ARGUMENTS_SHOWN) }
}

fn cut(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        let mut end = limit;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

/// The block an operator acts on: what happened, who, to what, why it is a violation, what to do.
pub fn alert(alert: &Alert, redactor: &Redactor, palette: Palette) -> String {
    let mut out = format!(
        "{} {} {} ({}, {})",
        palette.paint("2", &clock(alert.time)),
        palette.severity(alert.severity),
        palette.paint("1", &printable(&alert.rule.title)),
        alert.rule.id,
        alert.proof.name(),
    );
    if alert.count > 1 {
        write!(out, " x{}", alert.count).expect("writing to a String cannot fail");
    }
    let mut row = |name: &str, text: &str| {
        if !text.is_empty() {
            write!(out, "\n    {name:<7} {}", printable(text)).expect("writing to a String cannot fail");
        }
    };
    row("who", &pairs(&redactor.value(&alert.actor)));
    row("object", &pairs(&redactor.value(&alert.object)));
    row("matched", &pairs(&redactor.value(&alert.matched)));
    let chain: Vec<String> = alert.chain.iter().map(|link| redactor.text(&link.summary).into_owned()).collect();
    row("chain", &chain.join(" => "));
    if !alert.incomplete.is_empty() {
        let reasons: Vec<&str> = alert.incomplete.iter().map(|reason| reason.0.as_ref()).collect();
        row("missing", &reasons.join(", "));
    }
    row("fix", &alert.fix);
    row("ref", &format!("{} workflow {} action {}", alert.uid, alert.workflow, alert.action));
    out
}

/// An alert that is known already and now proves more or happened again: one line.
pub fn alert_update(alert: &Alert, redactor: &Redactor, palette: Palette) -> String {
    let last = alert.chain.last().map(|link| redactor.text(&link.summary).into_owned()).unwrap_or_default();
    format!(
        "{} {} again: {} ({}, {}) x{}  {}  {}",
        palette.paint("2", &clock(alert.chain.last().map_or(alert.time, |link| link.time))),
        palette.severity(alert.severity),
        printable(&alert.rule.title),
        alert.rule.id,
        alert.proof.name(),
        alert.count,
        printable(&last),
        alert.uid,
    )
}

/// `user.id=u-1, http.host=shop.example`: nested maps as dotted names.
fn pairs(value: &Value) -> String {
    fn collect(prefix: &str, value: &Value, out: &mut Vec<String>) {
        match value {
            Value::Map(entries) => {
                for (key, nested) in entries.iter() {
                    let name = if prefix.is_empty() { key.to_string() } else { format!("{prefix}.{key}") };
                    collect(&name, nested, out);
                }
            }
            Value::Null => {}
            Value::Text(text) => out.push(format!("{prefix}={}", cut(text.to_string(), ARGUMENTS_SHOWN))),
            Value::Bool(_) | Value::Number(_) | Value::List(_) => {
                out.push(format!("{prefix}={}", cut(value.to_json(), ARGUMENTS_SHOWN)))
            }
        }
    }
    let mut out = Vec::new();
    collect("", value, &mut out);
    out.join(", ")
}

fn kind_colour(kind: Kind) -> &'static str {
    match kind {
        Kind::LlmRequest | Kind::LlmResponse => "35",
        Kind::ToolCall | Kind::ToolResult => "34",
        Kind::McpRequest | Kind::A2aRequest => "36",
        Kind::ApiRequest | Kind::ApiResponse => "32",
        Kind::ProcessExec | Kind::FileWrite | Kind::NetConnect | Kind::MemoryWrite => "33",
        Kind::SelfReport => "2",
    }
}

/// Time of day in UTC, as in the JSON views and the journal.
fn clock(at: Timestamp) -> String {
    let millis = at.0 / 1_000_000;
    let (seconds, millis) = (millis / 1000 % 86_400, millis % 1000);
    format!("{:02}:{:02}:{:02}.{millis:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_captured_steers_the_terminal() {
        for (text, shown) in [
            ("plain é", "plain é"),
            ("\x1b[2J\x07", "\\u{1b}[2J\\u{7}"),
            ("a\r\nb", "a\\u{d}\\nb"),
            ("\u{202e}gpj.exe", "\\u{202e}gpj.exe"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("zero\u{200b}width", "zero\\u{200b}width"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    #[test]
    fn cut_keeps_characters_whole() {
        assert_eq!(cut("éé".into(), 3), "é…");
        assert_eq!(cut("éé".into(), 4), "éé");
    }

    #[test]
    fn colour_only_when_asked() {
        assert_eq!(Palette::Plain.severity(Severity::High), "HIGH");
        assert_eq!(Palette::Colour.severity(Severity::High), "\x1b[1;31mHIGH\x1b[0m");
    }

    #[test]
    fn times_are_readable() {
        assert_eq!(clock(Timestamp(1_790_000_000_123_456_789)), "14:13:20.123");
        assert_eq!(clock(Timestamp(u64::MAX)), "23:34:33.709");
    }
}
