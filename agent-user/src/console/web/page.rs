//! The frame of every page, and the small parts that pages share.
//!
//! Markup is made with `maud`, which escapes what it is given; captured text also goes through [`Shown`], so that control and
//! bidirectional characters are seen instead of obeyed.

use maud::{DOCTYPE, Markup, Render, html};

use crate::console::picture::rows::{AlertRow, Pairs, Use, WorkflowRow};
use crate::deliver::line::printable;

/// Captured text on a page.
pub(super) struct Shown<'a>(pub(super) &'a str);

impl Render for Shown<'_> {
    fn render_to(&self, out: &mut String) {
        printable(self.0).render_to(out);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    Overview,
    Alerts,
    Workflows,
    Agents,
    Rules,
}

const TABS: [(Tab, &str, &str, &str); 5] = [
    (Tab::Overview, "/", "Overview", "o"),
    (Tab::Alerts, "/alerts", "Alerts", "a"),
    (Tab::Workflows, "/workflows", "Workflows", "w"),
    (Tab::Agents, "/agents", "Agents", "g"),
    (Tab::Rules, "/rules", "Rules", "r"),
];

fn head(title: &str, script: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (Shown(title)) " - agentward" }
            link rel="stylesheet" href="/assets/style.css";
            link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
            script src=(format!("/assets/{script}")) defer {}
        }
    }
}

/// A page behind the login. Sections with an `id` are renewed in place when something changed.
pub(super) fn page(tab: Tab, title: &str, recording: bool, body: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(title, "console.js"))
            body {
                a.skip href="#main" { "Skip to the content" }
                header {
                    span.brand { "agentward" }
                    nav aria-label="Pages" {
                        @for (at, path, name, key) in TABS {
                            a href=(path) data-key=(key) aria-current=[(at == tab).then_some("page")] { (name) }
                        }
                    }
                    span #live-state role="status" { @if recording { "recording" } @else { "connecting" } }
                    button #pause type="button" aria-pressed="false" { "Pause" }
                    form method="post" action="/logout" { button type="submit" { "Log out" } }
                }
                main #main tabindex="-1" {
                    h1 { (Shown(title)) }
                    (body)
                }
                footer {
                    "Keys: " kbd { "o" } " " kbd { "a" } " " kbd { "w" } " " kbd { "g" } " " kbd { "r" } " pages, "
                    kbd { "/" } " filter, " kbd { "j" } " " kbd { "k" } " rows, " kbd { "Enter" } " opens, " kbd { "p" } " pause. "
                    "Times are UTC. "
                    a href="/api/v1/openapi.json" { "API" }
                }
            }
        }
    }
    .into_string()
}

pub(super) fn login(wrong: bool) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head("Log in", "login.js"))
            body.login {
                main {
                    h1 { "agentward" }
                    p { "The token stands in the file that the daemon named at its start (" code { "console.token" } " in its state folder)." }
                    form method="post" action="/login" {
                        label for="token" { "Token" }
                        input #token name="token" type="password" autocomplete="current-password" required autofocus
                            aria-describedby=[wrong.then_some("fault")];
                        @if wrong { p #fault.fault role="alert" { "That is not the token." } }
                        button type="submit" { "Log in" }
                    }
                }
            }
        }
    }
    .into_string()
}

pub(super) fn fault(title: &str, text: &str) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            (head(title, "console.js"))
            body.login { main { h1 { (title) } p { (text) } p { a href="/" { "To the overview" } } } }
        }
    }
    .into_string()
}

/// `2026-11-24 14:03:27.123`.
pub(super) fn time(nanos: u64) -> Markup {
    let at = jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or_default();
    html! { time datetime=(at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()) { (at.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()) } }
}

/// Only the time of the day.
pub(super) fn clock(nanos: u64) -> Markup {
    let at = jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or_default();
    html! { time datetime=(at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()) { (at.strftime("%H:%M:%S").to_string()) } }
}

/// A word, not a colour alone.
pub(super) fn severity(name: &str) -> Markup {
    html! { @if !name.is_empty() { span class=(format!("severity {name}")) { (name) } } }
}

pub(super) fn pairs(rows: &Pairs) -> Markup {
    html! {
        @if rows.is_empty() { p.none { "Nothing is known." } }
        @else {
            dl.pairs { @for (name, value) in rows { dt { (Shown(name)) } dd { (Shown(value)) } } }
        }
    }
}

pub(super) fn filter(what: &str) -> Markup {
    html! {
        p.filter {
            label for="filter" { "Filter " (what) }
            input #filter type="search" autocomplete="off" spellcheck="false";
            span #filter-count role="status" {}
        }
    }
}

/// On an `own` page all are of that agent.
pub(super) fn alert_table(rows: &[AlertRow], caption: &str, own: bool) -> Markup {
    html! {
        @if rows.is_empty() { p.none { "No alert." } }
        @else {
            div.scroll tabindex="0" role="region" aria-label=(caption) {
                table.rows {
                    thead { tr { th scope="col" { "Time" } th scope="col" { "Severity" } th scope="col" { "What" } th scope="col" { "Proof" } @if !own { th scope="col" { "Agent" } } th scope="col" { "Workflow" } } }
                    tbody {
                        @for alert in rows {
                            tr {
                                td.nowrap { (clock(alert.time)) }
                                td { (severity(&alert.severity)) }
                                td { a href=(format!("/alerts/{}", alert.uid)) { (Shown(&alert.title)) } @if alert.count > 1 { " \u{d7}" (alert.count) } div.sub { (Shown(&alert.rule)) } }
                                td { (alert.proof) }
                                @if !own { td { @if !alert.agent.is_empty() { a href=(agent_path(&alert.agent)) { (Shown(&alert.agent_name)) } } @else { "-" } } }
                                td { a href=(format!("/workflows/{}", alert.workflow)) { (alert.workflow) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn workflow_table(rows: &[WorkflowRow], caption: &str, own: bool) -> Markup {
    html! {
        @if rows.is_empty() { p.none { "No workflow." } }
        @else {
            div.scroll tabindex="0" role="region" aria-label=(caption) {
                table.rows {
                    thead { tr { th scope="col" { "Last step" } th scope="col" { "Workflow" } th scope="col" { "Asked for" } @if !own { th scope="col" { "Agent" } } th scope="col" { "User" } th.number scope="col" { "Steps" } th scope="col" { "Alerts" } } }
                    tbody {
                        @for row in rows {
                            tr {
                                td.nowrap { (clock(row.last)) @if row.open { " " span.open { "open" } } }
                                td { a href=(format!("/workflows/{}", row.id)) { (row.id) } }
                                td.words { (Shown(&row.prompt)) @if row.prompt.is_empty() { span.none { "no request of a user" } } }
                                @if !own { td { @if !row.agent.is_empty() { a href=(agent_path(&row.agent)) { (Shown(&row.agent_name)) } } @else { (Shown(&row.agent_name)) } } }
                                td { (Shown(&row.user)) }
                                td.number { (row.steps) }
                                td { @if row.alerts > 0 { (row.alerts) " " (severity(&row.severity)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Names with bars as long as they are often used.
pub(super) fn uses(title: &str, rows: &[Use], most: usize) -> Markup {
    let largest = rows.iter().map(|row| row.count).max().unwrap_or(1).max(1);
    html! {
        section.uses id=(format!("uses-{}", title.to_ascii_lowercase())) {
            h2 { (title) }
            @if rows.is_empty() { p.none { "None yet." } }
            @else {
                ul.bars {
                    @for row in rows.iter().take(most) {
                        li {
                            span.name { (Shown(&row.name)) @if row.new { " " span.new { "new" } } }
                            span.count { (row.count) }
                            meter min="0" max=(largest) value=(row.count) aria-label=(format!("{} of {largest}", row.count)) {}
                        }
                    }
                }
                @if rows.len() > most { p.note { (rows.len() - most) " more" } }
            }
        }
    }
}

pub(super) fn agent_path(id: &str) -> String {
    format!("/agents/{id}")
}
