//! The pages: overview, alerts, workflows, agents, rules. Rows in, markup out; no access to anything else.

use maud::{Markup, html};

use super::page::*;
use crate::console::graph::{Graph, offset};
use crate::console::picture::rows::*;

/// Rows of a list inside another page.
const FEW: usize = 10;

pub(super) fn overview(overview: &Overview, alerts: &[AlertRow]) -> String {
    let per_minute: u64 = overview.agents.iter().map(|agent| agent.steps_last_minute).sum();
    let severities = [
        ("critical", overview.alerts.critical),
        ("high", overview.alerts.high),
        ("medium", overview.alerts.medium),
        ("low", overview.alerts.low),
        ("info", overview.alerts.info),
    ];
    let body = html! {
        section #numbers.cards aria-label="Numbers" {
            div.card { span.big { (overview.agents.len()) } " agents" div.sub { (per_minute) " steps in the last minute" } }
            div.card { span.big { (overview.open_workflows) } " open workflows" div.sub { (overview.workflows) " since " (clock(overview.since)) } }
            div.card { span.big { (overview.alerts.total()) } " alerts"
                div.sub { @if overview.alerts.total() == 0 { "none" } @for (name, count) in severities { @if count > 0 { (count) " " (severity(name)) " " } } } }
            div.card { span.big { (overview.coverage.blind.len()) } " blind spots" div.sub { a href="#coverage" { "what is not seen" } } }
        }
        section #latest { h2 { "Latest alerts" } (alert_table(&alerts[..alerts.len().min(FEW)], "Latest alerts", false)) @if alerts.len() > FEW { p { a href="/alerts" { "All alerts" } } } }
        section #minutes { h2 { "The last hour" } (minutes(&overview.minutes)) }
        section #agents { h2 { "Agents" } (agent_table(&overview.agents)) }
        div.columns {
            (uses("Models", &overview.models, 8))
            (uses("Tools", &overview.tools, 8))
            (uses("Hosts", &overview.hosts, 8))
        }
        section #coverage { h2 { "Coverage" } (coverage(&overview.coverage, overview.recording)) }
    };
    page(Tab::Overview, "Overview", overview.recording, &body)
}

/// Bars for steps, and before them, to another scale, for alerts.
fn minutes(minutes: &[Minute]) -> Markup {
    const STEP: usize = 14;
    const HEIGHT: usize = 90;
    let most_steps = minutes.iter().map(|minute| minute.steps).max().unwrap_or(0).max(1);
    let most_alerts = minutes.iter().map(|minute| minute.alerts).max().unwrap_or(0).max(1);
    let tall = |count: u64, most: u64, full: usize| {
        let height =
            usize::try_from(count).unwrap_or(usize::MAX).saturating_mul(full) / usize::try_from(most).unwrap_or(1).max(1);
        if count > 0 { height.max(3) } else { 0 }
    };
    let width = STEP * minutes.len().max(1);
    let (steps, alerts) =
        (minutes.iter().map(|minute| minute.steps).sum::<u64>(), minutes.iter().map(|minute| minute.alerts).sum::<u64>());
    let clock_of = |minute: Option<&Minute>| minute.map(|minute| clock(minute.at)).unwrap_or_default();
    html! {
        figure {
            svg.minutes role="img" aria-label=(format!("{steps} steps and {alerts} alerts in the last {} minutes", minutes.len())) viewBox=(format!("0 0 {width} {}", HEIGHT * 2 + 6)) preserveAspectRatio="none" {
                @for (at, minute) in minutes.iter().enumerate() {
                    @let x = at * STEP;
                    @let alerts = tall(minute.alerts, most_alerts, HEIGHT - 8);
                    @let grave = tall(minute.grave, most_alerts, HEIGHT - 8);
                    @let steps = tall(minute.steps, most_steps, HEIGHT - 8);
                    rect.alerts x=(x) y=(HEIGHT - alerts) width=(STEP - 3) height=(alerts) { title { (minute.alerts) " alerts" } }
                    rect.grave x=(x) y=(HEIGHT - grave) width=(STEP - 3) height=(grave) { title { (minute.grave) " of them high or critical" } }
                    rect.steps x=(x) y=(HEIGHT * 2 + 6 - steps) width=(STEP - 3) height=(steps) { title { (minute.steps) " steps" } }
                }
                line.axis x1="0" y1=(HEIGHT + 1) x2=(width) y2=(HEIGHT + 1) {}
            }
            figcaption {
                span { (clock_of(minutes.first())) }
                span { span.key.alerts {} " alerts (most: " (minutes.iter().map(|minute| minute.alerts).max().unwrap_or(0)) " a minute), "
                    span.key.grave {} " high or critical, " span.key.steps {} " steps (most: " (minutes.iter().map(|minute| minute.steps).max().unwrap_or(0)) " a minute)" }
                span { (clock_of(minutes.last())) }
            }
        }
    }
}

fn agent_table(rows: &[AgentRow]) -> Markup {
    html! {
        @if rows.is_empty() { p.none { "No agent has been seen." } }
        @else {
            div.scroll tabindex="0" role="region" aria-label="Agents" {
                table.rows {
                    thead { tr { th scope="col" { "Agent" } th scope="col" { "Process" } th scope="col" { "Model" } th.number scope="col" { "Steps a minute" } th.number scope="col" { "Steps" } th.number scope="col" { "Workflows" } th scope="col" { "Alerts" } th scope="col" { "Last seen" } } }
                    tbody {
                        @for agent in rows {
                            tr {
                                td { a href=(agent_path(&agent.id)) { (Shown(&agent.name)) } }
                                td { (agent.pid) }
                                td { (Shown(&agent.model)) }
                                td.number { (agent.steps_last_minute) }
                                td.number { (agent.steps) }
                                td.number { (agent.workflows) }
                                td { (agent.alerts) @if agent.grave > 0 { " " span.severity.high { (agent.grave) " high" } } }
                                td.nowrap { (clock(agent.last)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn coverage(coverage: &Coverage, recording: bool) -> Markup {
    html! {
        @if coverage.blind.is_empty() { p.good { "Nothing is known to be missing." } }
        @else { ul.blind { @for spot in &coverage.blind { li { (Shown(spot)) } } } }
        @if recording { p.note { "This is a recording: what was not recorded is not seen." } }
        @else {
            dl.pairs {
                dt { "Observations" } dd { (coverage.observations) }
                dt { "Exchanges" } dd { (coverage.exchanges) ", of them incomplete " (coverage.incomplete) }
                dt { "Open connections" } dd { (coverage.connections) }
            }
            @if !coverage.libraries.is_empty() {
                details #libraries { summary { (coverage.libraries.len()) " TLS libraries with probes" }
                    ul { @for library in &coverage.libraries { li { code { (Shown(&library.path)) } " " (library.family) ", " (library.sites) " sites" } } } }
            }
            @if !coverage.sinks.is_empty() {
                ul { @for sink in &coverage.sinks { li { "Sink " (Shown(&sink.name)) ": " (sink.delivered) " delivered, " (sink.failures) " failures, " (sink.lost) " lost" } } }
            }
        }
    }
}

pub(super) fn alerts(rows: &[AlertRow], recording: bool) -> String {
    let body = html! {
        (filter("alerts"))
        section #list { (alert_table(rows, "Alerts", false)) }
        p.note { "The latest come first; the journal has all." }
    };
    page(Tab::Alerts, "Alerts", recording, &body)
}

pub(super) fn alert(alert: &AlertDetail, recording: bool) -> String {
    page(Tab::Alerts, &alert.row.title, recording, &alert_body(alert, true))
}

/// `linked`: on a page, with ways to the others; else in a file of its own.
pub(super) fn alert_body(alert: &AlertDetail, linked: bool) -> Markup {
    let row = &alert.row;
    let sources: Vec<&StepRow> = alert
        .steps
        .iter()
        .map(|step| &**step)
        .filter(|step| {
            !step.result.is_empty()
                && alert.steps.iter().flat_map(|step| &step.arguments).any(|argument| argument.from == step.id)
        })
        .collect();
    html! {
        section #head {
            p.lead {
                (severity(&row.severity)) " "
                @match &*row.proof {
                    "served" => { strong { "It happened" } ": the other side did it (proof: served)." }
                    "attempted" => { strong { "It was tried" } ": the other side refused or has not answered (proof: attempted)." }
                    _ => { strong { "It was decided" } ": no answer proves it (proof: none)." }
                }
                @if row.count > 1 { " Seen " (row.count) " times." }
            }
            dl.pairs {
                dt { "When" } dd { (time(row.time)) " UTC" }
                dt { "Agent" } dd { @if linked && !row.agent.is_empty() { a href=(agent_path(&row.agent)) { (Shown(&row.agent_name)) } } @else { (Shown(&row.agent_name)) } " " (Shown(&row.agent)) }
                dt { "Workflow" } dd { @if linked { a #workflow-link href=(format!("/workflows/{}", row.workflow)) { (row.workflow) } } @else { (row.workflow) } ", step " (row.action) }
            }
        }
        section #fix { h2 { "What to do" } p.fix { (Shown(&alert.fix)) } }
        section #chain { h2 { "What happened" }
            @if alert.chain.is_empty() { p.none { "No step is known: the rule judged that something did not come." } }
            @else {
                div.scroll tabindex="0" role="region" aria-label="From the request to the violation" { (Graph::of_alert(alert).svg("From the request to the violation", false)) }
                details #chain-list { summary { "The same as a list" }
                    ol { @for link in &alert.chain { li { (time(link.time)) " " code { (link.kind) } " " (Shown(&link.summary)) } } } }
            }
        }
        @if !alert.steps.is_empty() {
            section #arguments { h2 { "Where the values came from" } (legend()) @for step in alert.steps.iter().filter(|step| !step.arguments.is_empty()) { h3 { code { (step.kind) } " " (Shown(&step.op)) } (arguments(step)) (judged(step)) } }
        }
        @if !sources.is_empty() {
            section #excerpt { h2 { "What the agent had read" } @for step in sources { h3 { code { (step.kind) } " " (Shown(&step.op)) } blockquote { @for (name, text) in &step.result { p { @if !name.is_empty() { span.sub { (Shown(name)) ": " } } (Shown(text)) } } } } }
        }
        section #rule { h2 { "The rule" }
            p { code { (Shown(&row.rule)) } " " (Shown(&alert.why)) }
            @if !alert.condition.is_empty() { pre.scroll tabindex="0" { code { (Shown(&alert.condition)) } } }
            h3 { "Values it matched" } (pairs(&alert.matched))
            @if !alert.state.is_empty() { h3 { "Its memory" } (pairs(&alert.state)) }
        }
        section #who { h2 { "Who" } (pairs(&alert.actor)) }
        section #object { h2 { "To what" } (pairs(&alert.object)) }
        @if !alert.incomplete.is_empty() { section #missing { h2 { "What was not seen" } ul.blind { @for reason in &alert.incomplete { li { (Shown(reason)) } } } } }
        section #tags { h2 { "Frameworks" } @if alert.tags.is_empty() { p.none { "The rule names none." } } p.tags { @for tag in &alert.tags { span.tag { (Shown(tag)) } " " } } }
        section #evidence { h2 { "Evidence" }
            dl.pairs {
                dt { "Alert" } dd { code { (row.uid) } }
                dt { "Rule pack" } dd { (Shown(&alert.pack)) " " (alert.rule_version) ", SHA-256 " code.wrap { (alert.pack_hash) } }
                dt { "Check" } dd { "run " code { "agentward evidence verify" } " where the daemon runs: the record of this uid must be in the log" }
            }
            @if linked { p { a href=(format!("/alerts/{}/report.html", row.uid)) { "Report as one file" } " for a ticket or for printing. " a href=(format!("/api/v1/alerts/{}", row.uid)) { "JSON" } } }
        }
    }
}

fn legend() -> Markup {
    html! {
        p.legend {
            span.origin.user { "user" } " asked so, "
            span.origin.system { "system" } " the operator's prompt, "
            span.origin.tool_result { "tool result" } " looked up, "
            span.origin.document { "untrusted" } " others can write it, "
            span.origin.model { "model" } " made it up"
        }
    }
}

fn arguments(step: &StepRow) -> Markup {
    html! {
        dl.pairs.arguments {
            @for argument in &step.arguments {
                dt { (Shown(&argument.name)) }
                dd {
                    span class=(format!("value {}", argument.origin)) { (Shown(&argument.value)) } " "
                    @match &*argument.origin {
                        "" => {}
                        "document" => { span.origin.document { "untrusted content" } }
                        "tool_result" => { span.origin.tool_result { "tool result" } }
                        other => { span class=(format!("origin {other}")) { (other) } }
                    }
                    @if !argument.from.is_empty() { " from " (argument.from) }
                }
            }
        }
    }
}

fn judged(step: &StepRow) -> Markup {
    html! {
        @if step.injected > 0.0 || !step.reasons.is_empty() {
            p.judged { "Steered by content: " (format!("{:.0} %", step.injected * 100.0)) @if !step.reasons.is_empty() { " (" (Shown(&step.reasons.join("; "))) ")" } }
        }
    }
}

pub(super) fn workflows(rows: &[WorkflowRow], recording: bool) -> String {
    let body = html! {
        (filter("workflows"))
        section #list { (workflow_table(rows, "Workflows", false)) }
    };
    page(Tab::Workflows, "Workflows", recording, &body)
}

pub(super) fn workflow(workflow: &WorkflowDetail, recording: bool) -> String {
    let row = &workflow.row;
    let began = workflow.steps.first().map_or(row.started, |step| step.time);
    let bad = |step: &StepRow| workflow.alerts.iter().find(|alert| alert.action == step.id);
    let body = html! {
        section #head {
            dl.pairs {
                dt { "Asked for" } dd { @if row.prompt.is_empty() { span.none { "no request of a user was seen" } } (Shown(&row.prompt)) }
                dt { "Agent" } dd { @if row.agent.is_empty() { (Shown(&row.agent_name)) } @else { a href=(agent_path(&row.agent)) { (Shown(&row.agent_name)) } " " (Shown(&row.agent)) } }
                @if !row.user.is_empty() { dt { "User" } dd { (Shown(&row.user)) } }
                dt { "Time" } dd { (time(row.started)) " to " (time(row.last)) " UTC, " @if row.open { "open" } @else { "closed" } }
                dt { "Steps" } dd { (row.steps) @if row.steps > workflow.steps.len() as u64 { ", the first " (workflow.steps.len()) " are kept here" } }
            }
        }
        @if !workflow.alerts.is_empty() { section #alerts { h2 { "Alerts" } (alert_table(&workflow.alerts, "Alerts of this workflow", false)) } }
        section #graph { h2 { "Graph" }
            p.note { "Down is time; a solid line leads from the cause, a dashed one from a weaker cause. A thick red border marks a violation, a dashed amber one a value that others could write." }
            div.scroll tabindex="0" role="region" aria-label="Graph of the workflow" { (Graph::of_workflow(workflow).svg(&format!("Workflow {}", row.id), true)) }
            p { "As a file: " a href=(format!("/workflows/{}/graph.svg", row.id)) { "SVG" } " " a href=(format!("/workflows/{}/graph.mmd", row.id)) { "Mermaid" } " " a href=(format!("/workflows/{}/graph.dot", row.id)) { "DOT" } " " a href=(format!("/api/v1/workflows/{}", row.id)) { "JSON" } }
        }
        section #timeline { h2 { "Time line" } (legend())
            ol.timeline {
                @for step in &workflow.steps {
                    li id=(format!("step-{}", step.id)) class=[bad(step).map(|_| "bad")] tabindex="-1" {
                        div.when { (offset(step.time, began)) }
                        div.what {
                            code { (step.kind) } " " span.sub { (step.id) " " (Shown(&step.process)) }
                            @if let Some(status) = step.status { " " span.status { (status) } }
                            @if !step.effect.is_empty() && &*step.effect != "read" { " " span.effect { (Shown(&step.effect)) } }
                            @if step.undeclared { " " span.severity.medium { "not announced by the model" } }
                            @if !step.completed { " " span.open { "waiting for its answer" } }
                            @if let Some(alert) = bad(step) { " " a href=(format!("/alerts/{}", alert.uid)) { (severity(&alert.severity)) " " (Shown(&alert.title)) } }
                            p.words { (Shown(&step.summary)) }
                            @if !step.arguments.is_empty() { (arguments(step)) }
                            (judged(step))
                            @if !step.incomplete.is_empty() { p.blind { "Not complete: " (Shown(&step.incomplete.join(", "))) } }
                            @if !step.result.is_empty() { details id=(format!("result-{}", step.id)) { summary { "Result" } (pairs(&step.result)) } }
                            @if !step.causes.is_empty() { p.sub { "Because of " @for (at, cause) in step.causes.iter().enumerate() { @if at > 0 { ", " } a href=(format!("#step-{}", cause.id)) { (cause.id) } " (" (Shown(&cause.why.replace('_', " "))) ", " (format!("{:.0} %", cause.confidence * 100.0)) ")" } } }
                        }
                    }
                }
            }
        }
    };
    page(Tab::Workflows, &format!("Workflow {}", row.id), recording, &body)
}

pub(super) fn agents(overview: &Overview) -> String {
    let body = html! {
        (filter("agents"))
        section #list { (agent_table(&overview.agents)) }
    };
    page(Tab::Agents, "Agents", overview.recording, &body)
}

pub(super) fn agent(agent: &AgentDetail, recording: bool) -> String {
    let row = &agent.row;
    let body = html! {
        section #numbers.cards aria-label="Numbers" {
            div.card { span.big { (row.steps) } " steps" div.sub { (row.steps_last_minute) " in the last minute" } }
            div.card { span.big { (row.workflows) } " workflows" div.sub { "since " (clock(row.first)) } }
            div.card { span.big { (row.alerts) } " alerts" div.sub { (row.grave) " high or critical" } }
            div.card { span.big { (agent.input_tokens + agent.output_tokens) } " tokens" div.sub { (agent.input_tokens) " in, " (agent.output_tokens) " out" } }
        }
        section #identity { h2 { "Identity" } (pairs(&agent.identity)) }
        @if !agent.users.is_empty() { (uses("Users", &agent.users, 20)) }
        section #tools { h2 { "Tools" }
            @if agent.tools.is_empty() { p.none { "No tool was offered or called." } }
            @else { div.scroll tabindex="0" role="region" aria-label="Tools" { table.rows {
                thead { tr { th scope="col" { "Tool" } th.number scope="col" { "Calls" } th scope="col" { "First" } th scope="col" { "Last" } th scope="col" { "Remarks" } } }
                tbody { @for tool in &agent.tools { tr {
                    td { (Shown(&tool.used.name)) }
                    td.number { (tool.used.count) }
                    td.nowrap { @if tool.used.count > 0 { (clock(tool.used.first)) } }
                    td.nowrap { @if tool.used.count > 0 { (clock(tool.used.last)) } }
                    td { @if tool.used.count == 0 { "offered, never called: could be taken away" } @else if !tool.offered { "called, never seen offered" } @if tool.changed { " " span.severity.medium { "definition changed" } } @if tool.used.new { " " span.new { "new" } } }
                } } }
            } } }
        }
        section #scopes { h2 { "Scopes of its tokens" }
            @if agent.scopes.is_empty() { p.none { "No token with scopes was seen." } }
            @else { ul { @for scope in &agent.scopes { li { code { (Shown(&scope.scope)) } @if scope.used { " used" } @else { " no call needed it so far" } } } } p.note { "Judged by the words of scope and call." } }
        }
        div.columns { (uses("Models", &agent.models, 20)) (uses("Hosts", &agent.hosts, 20)) }
        section #alerts { h2 { "Alerts" } (alert_table(&agent.alerts, "Alerts of this agent", true)) }
        section #workflows { h2 { "Workflows" } (workflow_table(&agent.workflows, "Workflows of this agent", true)) }
    };
    page(Tab::Agents, &format!("Agent {}", row.name), recording, &body)
}

pub(super) fn rules(rows: &[RuleRow], recording: bool) -> String {
    let body = html! {
        (filter("rules"))
        section #list {
            div.scroll tabindex="0" role="region" aria-label="Rules" { table.rows {
                thead { tr { th scope="col" { "Rule" } th scope="col" { "Severity" } th scope="col" { "Mode" } th.number scope="col" { "Hits" } th.number scope="col" { "Shadow" } th scope="col" { "Last" } th.number scope="col" { "Looked at" } th.number scope="col" { "Remembers" } th scope="col" { "Exceptions" } } }
                tbody { @for rule in rows { tr {
                    td { strong { (Shown(&rule.title)) } div.sub { code { (Shown(&rule.id)) } " " (Shown(&rule.pack)) " " (rule.version) }
                        @if !rule.condition.is_empty() { details id=(format!("rule-{}", rule.id)) { summary { "Condition" } code.wrap { (Shown(&rule.condition)) } } } }
                    td { (severity(&rule.severity)) }
                    td { (rule.mode) }
                    td.number { (rule.hits) }
                    td.number { (rule.shadow_hits) }
                    td.nowrap { @if rule.last > 0 { (clock(rule.last)) } }
                    td.number { (rule.judged) @if rule.over_budget > 0 { " " span.severity.medium { "too dear" } } }
                    td.number { (rule.keys) @if rule.evicted > 0 { " " span.severity.medium { "gave up " (rule.evicted) } } }
                    td { @for exception in &rule.exceptions { div { code { (Shown(&exception.fields)) } " " (Shown(&exception.why)) @if let Some(until) = exception.until { " " (until_text(until, exception.expired)) } @else { " no end" } } } }
                } } }
            } }
        }
        p.note { "Hits are counted while this console runs. A rule costs what it looks at, steps that the index could not keep from it, and the keys that it remembers." }
    };
    page(Tab::Rules, "Rules", recording, &body)
}

fn until_text(until: i64, expired: bool) -> Markup {
    let day = jiff::Timestamp::from_second(until).map(|at| at.strftime("%Y-%m-%d").to_string()).unwrap_or_default();
    html! { @if expired { span.severity.medium { "expired " (day) } } @else { span.open { "until " (day) } } }
}

/// One file without a script, a link out, or anything to load: for a ticket, for printing, to PDF.
pub(super) fn report(alert: &AlertDetail) -> String {
    html! {
        (maud::DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "agentward alert " (alert.row.uid) }
                style { (maud::PreEscaped(super::STYLE)) }
            }
            body.report { main { h1 { (Shown(&alert.row.title)) } (alert_body(alert, false)) } footer { "agentward alert " (alert.row.uid) } }
        }
    }
    .into_string()
}
