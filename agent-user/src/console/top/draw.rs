//! The app as cells of a terminal: from 80 by 24 up, with or without colour.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Clear, Paragraph, Row, Table, TableState, Wrap};

use super::app::{App, Detail, Open, Tab};
use crate::console::graph::{columns, offset};
use crate::console::picture::rows::{AgentDetail, AlertDetail, AlertRow, Pairs, StepRow, Text, Use, WorkflowDetail};
use crate::deliver::line::printable;

/// Below this the lists of models, tools and hosts have no place.
const ROOM_FOR_USES: u16 = 18;

/// Colours, or none.
#[derive(Clone, Copy)]
struct Look {
    colour: bool,
}

impl Look {
    fn of(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    fn severity(self, name: &str) -> Style {
        match name {
            "critical" | "high" => self.of(Color::Red).add_modifier(Modifier::BOLD),
            "medium" => self.of(Color::Yellow),
            "low" => self.of(Color::Cyan),
            _ => Style::new(),
        }
    }

    fn soft(self) -> Style {
        if self.colour { Style::new().fg(Color::DarkGray) } else { Style::new() }
    }

    fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }
}

pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App, colour: bool) {
    let look = Look { colour };
    let [head, tabs, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Length(1), Constraint::Min(3), Constraint::Length(1)])
            .areas(frame.area());
    frame.render_widget(Paragraph::new(head_line(app, look)), head);
    frame.render_widget(Paragraph::new(tab_line(app, look)), tabs);
    match (app.open.is_empty(), app.tab) {
        (false, _) => draw_detail(frame, body, app, look),
        (true, Tab::Agents) => draw_agents(frame, body, app, look),
        (true, Tab::Workflows) => draw_workflows(frame, body, app, look),
        (true, Tab::Alerts) => draw_alerts(frame, body, app, look),
        (true, Tab::Coverage) => draw_coverage(frame, body, app, look),
    }
    frame.render_widget(Paragraph::new(foot_line(app, look)), foot);
    if app.help {
        draw_help(frame);
    }
}

fn head_line(app: &App, look: Look) -> Line<'static> {
    let overview = &app.overview;
    let state = match (app.paused, overview.recording) {
        (true, _) => "PAUSED",
        (false, true) => "recording",
        (false, false) => "live",
    };
    let rate: u64 = overview.agents.iter().map(|agent| agent.steps_last_minute).sum();
    let grave = overview.alerts.high + overview.alerts.critical;
    Line::from(vec![
        Span::styled("agentward ", look.strong()),
        Span::raw(format!("{state} {}  ", clock(overview.now))),
        Span::styled(
            format!("{} alerts, {grave} high", overview.alerts.total()),
            if grave > 0 { look.severity("high") } else { Style::new() },
        ),
        Span::styled(
            format!("  {} blind", overview.coverage.blind.len()),
            if overview.coverage.blind.is_empty() { Style::new() } else { look.severity("medium") },
        ),
        Span::raw(format!("  {} agents, {} open, {rate}/min", overview.agents.len(), overview.open_workflows)),
    ])
}

fn tab_line(app: &App, look: Look) -> Line<'static> {
    let mut spans = Vec::new();
    for (tab, name) in Tab::ALL {
        let style = if tab == app.tab { Style::new().add_modifier(Modifier::REVERSED) } else { Style::new() };
        spans.push(Span::styled(format!(" {name} "), style));
        spans.push(Span::raw(" "));
    }
    if app.filtering || !app.filter.is_empty() {
        let cursor = if app.filtering { "_" } else { "" };
        spans.push(Span::styled(format!("filter: {}{cursor}", printable(&app.filter)), look.strong()));
    }
    Line::from(spans)
}

fn foot_line(app: &App, look: Look) -> Line<'static> {
    if !app.note.is_empty() {
        return Line::from(Span::styled(printable(&app.note), look.severity("medium")));
    }
    let keys = match app.open.last() {
        Some((Open::Alert(_), _)) => "Esc back  Enter its workflow  j/k scroll  y copy uid  p pause  ? help  q quit",
        Some((Open::Workflow(_), _)) => "Esc back  Enter its alert  j/k scroll  y copy id  p pause  ? help  q quit",
        Some((Open::Agent(_), _)) => "Esc back  j/k scroll  y copy id  p pause  ? help  q quit",
        None => "Enter open  j/k move  Tab next  / filter  y copy  p pause  ? help  q quit",
    };
    Line::from(Span::styled(keys, look.soft()))
}

/// A table with a selected row; `None` where nothing is.
fn table(
    frame: &mut Frame<'_>,
    area: Rect,
    head: &[&'static str],
    rows: Vec<Row<'static>>,
    widths: &[Constraint],
    selected: usize,
    empty: &'static str,
) {
    if rows.is_empty() {
        return frame.render_widget(Paragraph::new(empty), area);
    }
    let head = Row::new(head.iter().map(|name| Cell::from(*name))).style(Style::new().add_modifier(Modifier::UNDERLINED));
    let table = Table::new(rows, widths)
        .header(head)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
        .highlight_symbol("> ")
        .column_spacing(1);
    let mut state = TableState::new().with_selected(Some(selected));
    frame.render_stateful_widget(table, area, &mut state);
}

fn draw_agents(frame: &mut Frame<'_>, area: Rect, app: &App, look: Look) {
    let uses = if area.height >= ROOM_FOR_USES { (area.height / 3).clamp(6, 14) } else { 0 };
    let [upper, lower] = Layout::vertical([Constraint::Min(4), Constraint::Length(uses)]).areas(area);
    let rows = app
        .shown_agents()
        .into_iter()
        .map(|agent| {
            Row::new(vec![
                cell(&agent.name),
                Cell::from(agent.pid.to_string()),
                cell(&agent.model),
                Cell::from(agent.steps_last_minute.to_string()),
                Cell::from(agent.steps.to_string()),
                Cell::from(agent.workflows.to_string()),
                Cell::from(format!(
                    "{}{}",
                    agent.alerts,
                    if agent.grave > 0 { format!(" ({} high)", agent.grave) } else { String::new() }
                ))
                .style(if agent.grave > 0 { look.severity("high") } else { Style::new() }),
                Cell::from(clock(agent.last)),
            ])
        })
        .collect();
    let widths = [
        Constraint::Fill(2),
        Constraint::Length(7),
        Constraint::Fill(1),
        Constraint::Length(5),
        Constraint::Length(6),
        Constraint::Length(5),
        Constraint::Length(12),
        Constraint::Length(8),
    ];
    table(
        frame,
        upper,
        &["Agent", "Pid", "Model", "/min", "Steps", "Flows", "Alerts", "Last"],
        rows,
        &widths,
        app.selected,
        "No agent has been seen yet.",
    );
    if uses > 0 {
        let columns: [Rect; 3] = Layout::horizontal([Constraint::Fill(1); 3]).areas(lower);
        for (area, (title, rows)) in columns.into_iter().zip([
            ("Models", &app.overview.models),
            ("Tools", &app.overview.tools),
            ("Hosts", &app.overview.hosts),
        ]) {
            draw_uses(frame, area, title, rows);
        }
    }
}

fn draw_uses(frame: &mut Frame<'_>, area: Rect, title: &'static str, rows: &[Use]) {
    let block = Block::new().borders(Borders::TOP).title(title);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let width = usize::from(inner.width).saturating_sub(2);
    let lines: Vec<Line<'_>> = rows
        .iter()
        .take(usize::from(inner.height))
        .map(|row| {
            let count = row.count.to_string();
            let mark = if row.new { " new" } else { "" };
            let room = width.saturating_sub(count.len() + mark.len() + 1);
            Line::from(format!("{:<room$}{mark} {count}", fit(&row.name, room)))
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), inner);
}

fn draw_workflows(frame: &mut Frame<'_>, area: Rect, app: &App, look: Look) {
    let fixed = 6 + 4 + 8 + 12 + 5 + 10 + 8;
    let room = usize::from(area.width).saturating_sub(fixed);
    let rows = app
        .shown_workflows()
        .into_iter()
        .map(|row| {
            Row::new(vec![
                cell(&row.id),
                Cell::from(if row.open { "open" } else { "" }),
                Cell::from(clock(row.last)),
                Cell::from(fit(&row.agent_name, 12)),
                Cell::from(row.steps.to_string()),
                Cell::from(if row.alerts > 0 { format!("{} {}", row.alerts, row.severity) } else { String::new() })
                    .style(look.severity(&row.severity)),
                Cell::from(fit(&row.prompt, room)),
            ])
        })
        .collect();
    let widths = [
        Constraint::Length(6),
        Constraint::Length(4),
        Constraint::Length(8),
        Constraint::Length(12),
        Constraint::Length(5),
        Constraint::Length(10),
        Constraint::Fill(1),
    ];
    table(
        frame,
        area,
        &["Flow", "", "Last", "Agent", "Steps", "Alerts", "Asked for"],
        rows,
        &widths,
        app.selected,
        "No workflow has been seen yet.",
    );
}

fn draw_alerts(frame: &mut Frame<'_>, area: Rect, app: &App, look: Look) {
    let fixed = 8 + 8 + 9 + 3 + 10 + 5 + 8;
    let room = usize::from(area.width).saturating_sub(fixed);
    let rows = app.shown_alerts().into_iter().map(|row| alert_row(row, room, look)).collect();
    let widths = [
        Constraint::Length(8),
        Constraint::Length(8),
        Constraint::Length(9),
        Constraint::Length(3),
        Constraint::Fill(1),
        Constraint::Length(10),
        Constraint::Length(5),
    ];
    table(frame, area, &["Time", "Severity", "Proof", "x", "What", "Agent", "Flow"], rows, &widths, app.selected, "No alert.");
}

/// `room`: columns for the title.
fn alert_row(row: &AlertRow, room: usize, look: Look) -> Row<'static> {
    Row::new(vec![
        Cell::from(clock(row.time)),
        cell(&row.severity).style(look.severity(&row.severity)),
        cell(&row.proof),
        Cell::from(row.count.to_string()),
        Cell::from(fit(&row.title, room)),
        Cell::from(fit(&row.agent_name, 10)),
        cell(&row.workflow),
    ])
}

fn draw_coverage(frame: &mut Frame<'_>, area: Rect, app: &App, look: Look) {
    let coverage = &app.overview.coverage;
    let mut lines = vec![Line::from(Span::styled("What is not seen", look.strong()))];
    if coverage.blind.is_empty() {
        lines.push(Line::from("  nothing is known to be missing"));
    }
    lines.extend(
        coverage.blind.iter().map(|spot| Line::from(Span::styled(format!("  {}", printable(spot)), look.severity("medium")))),
    );
    lines.push(Line::default());
    lines.push(Line::from(Span::styled("Capture", look.strong())));
    lines.push(Line::from(format!(
        "  {} observations, {} exchanges ({} incomplete), {} connections, {} faults, {} records let go",
        coverage.observations,
        coverage.exchanges,
        coverage.incomplete,
        coverage.connections,
        coverage.faults,
        app.overview.forgotten
    )));
    lines.extend(
        coverage
            .libraries
            .iter()
            .map(|library| Line::from(format!("  {:>3} sites  {}  {}", library.sites, library.family, printable(&library.path)))),
    );
    if !coverage.sinks.is_empty() {
        lines.push(Line::default());
        lines.push(Line::from(Span::styled("Sinks", look.strong())));
        lines.extend(coverage.sinks.iter().map(|sink| {
            Line::from(format!(
                "  {}: {} delivered, {} failures, {} lost",
                printable(&sink.name),
                sink.delivered,
                sink.failures,
                sink.lost
            ))
        }));
    }
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), area);
}

fn draw_detail(frame: &mut Frame<'_>, area: Rect, app: &mut App, look: Look) {
    let lines = match &app.detail {
        Some(Detail::Agent(agent)) => agent_lines(agent, look),
        Some(Detail::Workflow(workflow)) => workflow_lines(workflow, look),
        Some(Detail::Alert(alert)) => alert_lines(alert, look),
        None => vec![Line::from("It is not there any more; Esc goes back.")],
    };
    let lines = wrapped(lines, usize::from(area.width));
    let length = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    let Some((_, scroll)) = app.open.last_mut() else { return };
    *scroll = (*scroll).min(length.saturating_sub(area.height));
    frame.render_widget(Paragraph::new(lines).scroll((*scroll, 0)), area);
}

/// Lines that are too long go on below, a little to the right: how many there are is known before they are drawn.
fn wrapped(lines: Vec<Line<'static>>, width: usize) -> Vec<Line<'static>> {
    const INDENT: usize = 4;
    if width <= 2 * INDENT {
        return lines;
    }
    let mut out = Vec::with_capacity(lines.len());
    for line in lines {
        let mut spans: Vec<Span<'static>> = Vec::new();
        let mut used = 0;
        for span in line.spans {
            let mut part = String::new();
            for letter in span.content.chars() {
                if used + columns(letter) > width {
                    spans.push(Span::styled(std::mem::take(&mut part), span.style));
                    out.push(Line::from(std::mem::take(&mut spans)));
                    spans.push(Span::raw(" ".repeat(INDENT)));
                    used = INDENT;
                }
                used += columns(letter);
                part.push(letter);
            }
            spans.push(Span::styled(part, span.style));
        }
        out.push(Line::from(spans));
    }
    out
}

fn title(text: &str, look: Look) -> Line<'static> {
    Line::from(Span::styled(printable(text), look.strong()))
}

fn pair_lines(pairs: &Pairs, out: &mut Vec<Line<'static>>) {
    out.extend(pairs.iter().map(|(name, value)| Line::from(format!("  {:<20} {}", printable(name), printable(value)))));
}

fn alert_lines(alert: &AlertDetail, look: Look) -> Vec<Line<'static>> {
    let row = &alert.row;
    let proof = match &*row.proof {
        "served" => "it happened: the other side did it",
        "attempted" => "it was tried: refused, or no answer yet",
        _ => "it was decided: no answer proves it",
    };
    let mut lines = vec![
        Line::from(vec![
            Span::styled(row.severity.to_uppercase(), look.severity(&row.severity)),
            Span::raw(" "),
            Span::styled(printable(&row.title), look.strong()),
        ]),
        Line::from(format!("{} x{}, {proof}", printable(&row.rule), row.count)),
        Line::from(format!(
            "{} UTC, agent {}, workflow {}, step {}",
            clock(row.time),
            printable(&row.agent_name),
            row.workflow,
            row.action
        )),
        Line::default(),
        title("What to do", look),
        Line::from(format!("  {}", printable(&alert.fix))),
        Line::default(),
        title("What happened", look),
    ];
    let began = alert.chain.first().map_or(0, |link| link.time);
    for (at, link) in alert.chain.iter().enumerate() {
        let style = if at + 1 == alert.chain.len() { look.severity("high") } else { Style::new() };
        lines.push(Line::from(vec![
            Span::styled(format!("  {:>9} {:<12} ", offset(link.time, began), link.kind), look.soft()),
            Span::styled(printable(&link.summary), style),
        ]));
    }
    for step in alert.steps.iter().filter(|step| step.arguments.iter().any(|argument| argument.untrusted)) {
        lines.push(Line::default());
        lines.push(title(&format!("Values of {} {}", step.kind, step.op), look));
        argument_lines(step, "  ", look, &mut lines);
    }
    for (name, pairs) in [
        ("Values that the rule matched", &alert.matched),
        ("Its memory", &alert.state),
        ("Who", &alert.actor),
        ("To what", &alert.object),
    ] {
        if !pairs.is_empty() {
            lines.push(Line::default());
            lines.push(title(name, look));
            pair_lines(pairs, &mut lines);
        }
    }
    if !alert.incomplete.is_empty() {
        lines.push(Line::default());
        lines.push(Line::from(format!("Not seen: {}", joined(&alert.incomplete))));
    }
    lines.push(Line::default());
    lines.push(Line::from(format!("{}  uid {}", joined(&alert.tags), row.uid)));
    lines
}

fn joined(words: &[Text]) -> String {
    printable(&words.join(", "))
}

fn argument_lines(step: &StepRow, indent: &str, look: Look, out: &mut Vec<Line<'static>>) {
    for argument in &step.arguments {
        let (origin, style) = match &*argument.origin {
            "document" => ("untrusted content", look.of(Color::Red)),
            "tool_result" => ("tool result", look.of(Color::Cyan)),
            "user" => ("user", look.of(Color::Blue)),
            "model" => ("model", look.of(Color::Magenta)),
            other => (other, Style::new()),
        };
        let from = if argument.from.is_empty() { String::new() } else { format!(" {}", argument.from) };
        let origin = if origin.is_empty() { String::new() } else { format!("  <- {origin}{from}") };
        out.push(Line::from(vec![
            Span::raw(format!("{indent}{} = {}", printable(&argument.name), printable(&argument.value))),
            Span::styled(printable(&origin), style),
        ]));
    }
}

/// Steps under those who caused them, as deep as their kind: user, model, tool, call, system.
fn workflow_lines(workflow: &WorkflowDetail, look: Look) -> Vec<Line<'static>> {
    let row = &workflow.row;
    let began = workflow.steps.first().map_or(0, |step| step.time);
    let mut lines = vec![
        title(
            &format!(
                "Workflow {}: {}",
                row.id,
                if row.prompt.is_empty() { "no request of a user was seen" } else { &row.prompt }
            ),
            look,
        ),
        Line::from(format!(
            "agent {} {}, {} steps, {}",
            printable(&row.agent_name),
            row.agent,
            row.steps,
            if row.open { "open" } else { "closed" }
        )),
        Line::default(),
    ];
    for step in &workflow.steps {
        let depth = match &*step.kind {
            "llm.request" => 0,
            "llm.response" => 1,
            "tool.call" | "tool.result" => 2,
            "process.exec" | "file.write" | "net.connect" | "memory.write" => 4,
            _ => 3,
        };
        let bad = workflow.alerts.iter().find(|alert| alert.action == step.id);
        let branch = if depth == 0 { String::new() } else { format!("{}\u{2514} ", "  ".repeat(depth - 1)) };
        lines.push(Line::from(vec![
            Span::styled(format!("{:>9} ", offset(step.time, began)), look.soft()),
            Span::raw(branch),
            Span::styled(format!("{} ", step.kind), look.strong()),
            Span::styled(printable(&step.summary), if bad.is_some() { look.severity("high") } else { Style::new() }),
        ]));
        let indent = format!("{:10}{}  ", "", "  ".repeat(depth));
        if step.arguments.iter().any(|argument| !argument.origin.is_empty()) {
            argument_lines(step, &indent, look, &mut lines);
        }
        if let Some(alert) = bad {
            lines.push(Line::from(Span::styled(
                format!("{indent}! {}: {} ({})", alert.severity.to_uppercase(), printable(&alert.title), alert.proof),
                look.severity(&alert.severity),
            )));
        }
        if step.undeclared {
            lines.push(Line::from(format!("{indent}! not announced by the model")));
        }
        if !step.incomplete.is_empty() {
            lines.push(Line::from(format!("{indent}not complete: {}", joined(&step.incomplete))));
        }
    }
    lines
}

fn agent_lines(agent: &AgentDetail, look: Look) -> Vec<Line<'static>> {
    let row = &agent.row;
    let mut lines = vec![
        title(&format!("Agent {} ({})", row.name, row.id), look),
        Line::from(format!(
            "{} steps ({} in the last minute), {} workflows, {} alerts, {} + {} tokens",
            row.steps, row.steps_last_minute, row.workflows, row.alerts, agent.input_tokens, agent.output_tokens
        )),
        Line::default(),
    ];
    pair_lines(&agent.identity, &mut lines);
    lines.push(Line::default());
    lines.push(title("Tools", look));
    for tool in &agent.tools {
        let remark = match (tool.used.count, tool.offered) {
            (0, _) => "offered, never called",
            (_, false) => "called, never seen offered",
            (_, true) => "",
        };
        let changed = if tool.changed { "  definition changed" } else { "" };
        lines.push(Line::from(format!("  {:>5} {}  {remark}{changed}", tool.used.count, printable(&tool.used.name))));
    }
    for (name, uses) in [("Models", &agent.models), ("Hosts", &agent.hosts), ("Users", &agent.users)] {
        if !uses.is_empty() {
            lines.push(Line::default());
            lines.push(title(name, look));
            lines.extend(uses.iter().map(|row| {
                Line::from(format!("  {:>5} {}{}", row.count, printable(&row.name), if row.new { "  new" } else { "" }))
            }));
        }
    }
    if !agent.scopes.is_empty() {
        lines.push(Line::default());
        lines.push(title("Scopes of its tokens", look));
        lines.extend(agent.scopes.iter().map(|row| {
            Line::from(format!("  {}  {}", printable(&row.scope), if row.used { "used" } else { "not needed so far" }))
        }));
    }
    if !agent.alerts.is_empty() {
        lines.push(Line::default());
        lines.push(title("Alerts", look));
        lines.extend(agent.alerts.iter().map(|alert| {
            Line::from(vec![
                Span::raw(format!("  {} ", clock(alert.time))),
                Span::styled(format!("{} ", alert.severity), look.severity(&alert.severity)),
                Span::raw(printable(&alert.title)),
            ])
        }));
    }
    lines
}

fn draw_help(frame: &mut Frame<'_>) {
    const HELP: [&str; 9] = [
        "1 to 4, Tab       lists: agents, workflows, alerts, coverage",
        "j k, arrows, Page move or scroll; g G first and last",
        "Enter             open; from an alert to its workflow and back",
        "Esc               back; clears the filter",
        "/                 filter by words; Enter keeps it, Esc drops it",
        "p, Space          pause and go on",
        "y                 copy uid or id to the terminal's clipboard",
        "q, Ctrl-C         end",
        "                  any key closes this",
    ];
    let area = frame.area();
    let (width, height) = (area.width.min(68), area.height.min(HELP.len() as u16 + 2));
    let window = Rect { x: (area.width - width) / 2, y: (area.height - height) / 2, width, height };
    frame.render_widget(Clear, window);
    frame.render_widget(Paragraph::new(HELP.map(Line::from).to_vec()).block(Block::bordered().title(" Keys ")), window);
}

fn cell(text: &str) -> Cell<'static> {
    Cell::from(printable(text))
}

/// As many columns as there are, with a sign that something is missing.
fn fit(text: &str, room: usize) -> String {
    let text = printable(text);
    if text.chars().count() <= room {
        return text;
    }
    let kept: String = text.chars().take(room.saturating_sub(1)).collect();
    format!("{kept}…")
}

fn clock(nanos: u64) -> String {
    let at = jiff::Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or_default();
    at.strftime("%H:%M:%S").to_string()
}
