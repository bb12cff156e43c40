//! A workflow or a chain as a graph: who asked, what the model decided, which calls followed. SVG, Mermaid, DOT.
//!
//! The layout is a swim-lane chart: a column for each kind of actor, a row for each step in the order of time. No row holds two boxes,
//! so nothing overlaps whatever the graph is. All text is captured content: it is escaped for each notation.

use std::fmt::Write;

use maud::{Markup, html};

use super::picture::rows::{AlertDetail, LinkRow, StepRow, WorkflowDetail};
use crate::deliver::line::printable;

/// Steps that one picture shows; the list beside it has the rest.
pub(super) const DRAWN: usize = 150;

/// Pixels of the drawing.
const LANE: usize = 150;
const LEFT: usize = 84;
const BOX: usize = 400;
const HEIGHT: usize = 46;
const ROW: usize = 62;
const TOP: usize = 34;
const WIDTH: usize = LEFT + LANE * (LANES.len() - 1) + BOX + 8;
/// Width of a box's second line, in letters of the widest common font; what is wider still is clipped.
const LETTERS: usize = 46;

const LANES: [&str; 5] = ["User", "Model", "Tool", "API, MCP", "System"];

/// A picture that is linked to or sent brings its own colours.
const ALONE: &str = "svg{font-family:system-ui,sans-serif;background:#fff}.lane-title{font-size:12px;font-weight:600;fill:#475569}\
.lane-line{stroke:#e2e8f0}.clock{font-size:11px;fill:#475569}.box rect{fill:#f8fafc;stroke:#64748b;stroke-width:1.2}\
.box .what{font-size:11px;fill:#475569}.box .text{font-size:13px;fill:#0f172a}.lane0 rect{fill:#dbeafe}.lane1 rect{fill:#ede9fe}\
.lane2 rect{fill:#ccfbf1}.lane3 rect{fill:#dcfce7}.lane4 rect{fill:#ffedd5}.bad rect{stroke:#b91c1c;stroke-width:3}\
.tainted rect{stroke-dasharray:5 3;stroke:#b45309;stroke-width:2}.edge{fill:none;stroke:#64748b;stroke-width:1.5}.edge.weak{stroke-dasharray:4 4}\
.head{fill:#64748b}";

pub(super) struct Graph {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    began: u64,
    left_out: usize,
}

struct Node {
    id: String,
    kind: String,
    text: String,
    lane: usize,
    time: u64,
    mark: Mark,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    None,
    /// Carries a value that others could write.
    Tainted,
    /// The violation.
    Bad,
}

struct Edge {
    from: usize,
    to: usize,
    why: String,
    /// The main cause; others are drawn dashed.
    main: bool,
}

impl Graph {
    /// The whole workflow; the steps that raised alerts are marked.
    pub(super) fn of_workflow(workflow: &WorkflowDetail) -> Graph {
        let drawn = &workflow.steps[..workflow.steps.len().min(DRAWN)];
        let mut graph = Graph {
            nodes: drawn.iter().map(|step| node(step)).collect(),
            edges: Vec::new(),
            began: drawn.first().map_or(0, |step| step.time),
            left_out: workflow.steps.len() - drawn.len(),
        };
        for node in &mut graph.nodes {
            if workflow.alerts.iter().any(|alert| *alert.action == *node.id) {
                node.mark = Mark::Bad;
            }
        }
        for (to, step) in drawn.iter().enumerate() {
            let known = |id: &str| drawn[..to].iter().position(|step| *step.id == *id);
            let causes: Vec<_> = step.causes.iter().filter_map(|cause| Some((known(&cause.id)?, cause))).collect();
            // The strongest, and of equals the latest: what happened just before.
            let strongest = causes.iter().max_by(|(at, one), (other_at, other)| {
                one.confidence.total_cmp(&other.confidence).then_with(|| at.cmp(other_at))
            });
            let main = strongest.map(|(from, _)| *from);
            for (from, cause) in &causes {
                graph.edges.push(Edge { from: *from, to, why: cause.why.to_string(), main: Some(*from) == main });
            }
        }
        graph
    }

    /// From the user's request to the violation.
    pub(super) fn of_alert(alert: &AlertDetail) -> Graph {
        let tainted = |link: &LinkRow| {
            alert.steps.iter().any(|step| step.id == link.id && step.arguments.iter().any(|argument| argument.untrusted))
        };
        let last = alert.chain.len().saturating_sub(1);
        let nodes: Vec<Node> = alert
            .chain
            .iter()
            .enumerate()
            .map(|(at, link)| Node {
                id: link.id.to_string(),
                kind: link.kind.to_string(),
                text: link.summary.to_string(),
                lane: lane(&link.kind),
                time: link.time,
                mark: match (at == last, tainted(link)) {
                    (true, _) => Mark::Bad,
                    (false, true) => Mark::Tainted,
                    (false, false) => Mark::None,
                },
            })
            .collect();
        let edges = (1..nodes.len()).map(|to| Edge { from: to - 1, to, why: String::new(), main: true }).collect();
        Graph { began: nodes.first().map_or(0, |node| node.time), nodes, edges, left_out: 0 }
    }

    /// For a page, which has the colours; a box with an `anchor` leads to the step of that name on the page.
    pub(super) fn svg(&self, label: &str, anchor: bool) -> Markup {
        let height = TOP + ROW * self.nodes.len().max(1) + 8;
        html! {
            svg.graph xmlns="http://www.w3.org/2000/svg" role=(if anchor { "group" } else { "img" }) aria-label=(label)
                viewBox=(format!("0 0 {WIDTH} {height}")) width=(WIDTH) height=(height) {
                defs {
                    marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse" {
                        path.head d="M0 0L8 4L0 8z" {}
                    }
                }
                @for (at, lane) in LANES.iter().enumerate() {
                    text.lane-title x=(LEFT + LANE * at + 4) y="18" { (lane) }
                    line.lane-line x1=(LEFT + LANE * at) y1="26" x2=(LEFT + LANE * at) y2=(height) {}
                }
                @for edge in self.edges.iter().filter(|edge| !edge.main) { (self.edge(edge)) }
                @for edge in self.edges.iter().filter(|edge| edge.main) { (self.edge(edge)) }
                @for (row, node) in self.nodes.iter().enumerate() { (node.svg(row, self.began, anchor)) }
            }
            @if self.left_out > 0 { p.note { (self.left_out) " later steps are in the list below." } }
        }
    }

    /// A file of its own.
    pub(super) fn svg_file(&self, label: &str) -> String {
        let drawing = self.svg(label, false).into_string();
        let drawing = drawing.split("<p class=\"note\"").next().unwrap_or_default();
        let styled = drawing.replacen("<defs>", &format!("<style>{ALONE}</style><defs>"), 1);
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{styled}\n")
    }

    /// Out of the cause's lower edge, straight down to the row of the effect, then to its side, or into its top where it lies below.
    fn edge(&self, edge: &Edge) -> Markup {
        let (from, to) = (&self.nodes[edge.from], &self.nodes[edge.to]);
        // Lines that run down the same lane stand beside each other.
        let x = LEFT + LANE * from.lane + 14 + (edge.from % 4) * 12;
        let begin = TOP + ROW * edge.from + HEIGHT;
        let left = LEFT + LANE * to.lane;
        let top = TOP + ROW * edge.to;
        let path = if (left..=left + BOX).contains(&x) {
            format!("M{x} {begin}V{}", top - 2)
        } else if x < left {
            format!("M{x} {begin}V{}H{}", top + HEIGHT / 2, left - 2)
        } else {
            format!("M{x} {begin}V{}H{}", top + HEIGHT / 2, left + BOX + 2)
        };
        let class = if edge.main { "edge" } else { "edge weak" };
        html! { path class=(class) d=(path) marker-end="url(#arrow)" { @if !edge.why.is_empty() { title { (printable(&edge.why.replace('_', " "))) } } } }
    }

    /// Steps in the order of time, each set in below what it followed from. What continues a conversation is not set in, or a long one
    /// would leave the page.
    pub(super) fn tree(&self) -> String {
        let mut depths: Vec<usize> = Vec::with_capacity(self.nodes.len());
        let mut out = String::new();
        for (at, node) in self.nodes.iter().enumerate() {
            let causes = || self.edges.iter().filter(|edge| edge.to == at);
            let main = causes().find(|edge| edge.main);
            let depth = match main {
                None => 0,
                // A result stands beside its call, and what a model says next beside what it said last.
                Some(_) if matches!(&*node.kind, "llm.request" | "llm.response" | "tool.result") => {
                    let entered = causes().all(|edge| edge.why == "serving_request");
                    causes().map(|edge| depths[edge.from]).min().unwrap_or(0) + usize::from(entered)
                }
                Some(edge) => depths[edge.from] + 1,
            };
            depths.push(depth);
            let mark = match node.mark {
                Mark::None => "  ",
                Mark::Tainted => "? ",
                Mark::Bad => "! ",
            };
            let why = main.filter(|_| depth > 0).map_or_else(String::new, |edge| format!("  <- {}", printable(&edge.why)));
            let (text, set_in) = (shortened(&printable(&node.text), 2 * LETTERS), "   ".repeat(depth));
            writeln!(out, "{mark}{:>10}  {set_in}{} {text}{why}", offset(node.time, self.began), node.kind)
                .expect("writing to a String cannot fail");
        }
        if self.left_out > 0 {
            writeln!(out, "  {} later steps are not shown", self.left_out).expect("writing to a String cannot fail");
        }
        out
    }

    pub(super) fn mermaid(&self) -> String {
        let mut out = String::from("flowchart TD\n");
        for (at, node) in self.nodes.iter().enumerate() {
            writeln!(out, "    n{at}[\"{}: {}\"]", mermaid_text(&node.kind), mermaid_text(&shortened(&node.text, LETTERS)))
                .expect("writing to a String cannot fail");
        }
        for edge in &self.edges {
            let arrow = if edge.main { "-->" } else { "-.->" };
            let why = if edge.why.is_empty() { String::new() } else { format!("|\"{}\"|", mermaid_text(&edge.why)) };
            writeln!(out, "    n{} {arrow}{why} n{}", edge.from, edge.to).expect("writing to a String cannot fail");
        }
        for (at, _) in self.nodes.iter().enumerate().filter(|(_, node)| node.mark == Mark::Bad) {
            writeln!(out, "    style n{at} stroke:#b91c1c,stroke-width:3px").expect("writing to a String cannot fail");
        }
        out
    }

    pub(super) fn dot(&self) -> String {
        let mut out = String::from("digraph workflow {\n    node [shape=box, fontname=\"sans-serif\"];\n");
        for (at, node) in self.nodes.iter().enumerate() {
            let colour = if node.mark == Mark::Bad { ", color=\"#b91c1c\", penwidth=3" } else { "" };
            writeln!(
                out,
                "    n{at} [label=\"{}: {}\"{colour}];",
                dot_text(&node.kind),
                dot_text(&shortened(&node.text, LETTERS))
            )
            .expect("writing to a String cannot fail");
        }
        for edge in &self.edges {
            let style = if edge.main { "solid" } else { "dashed" };
            writeln!(out, "    n{} -> n{} [label=\"{}\", style={style}];", edge.from, edge.to, dot_text(&edge.why))
                .expect("writing to a String cannot fail");
        }
        out.push_str("}\n");
        out
    }
}

impl Node {
    fn svg(&self, row: usize, began: u64, anchor: bool) -> Markup {
        let (x, y) = (LEFT + LANE * self.lane, TOP + ROW * row);
        let mark = match self.mark {
            Mark::None => "",
            Mark::Tainted => " tainted",
            Mark::Bad => " bad",
        };
        let shown = html! {
            g class=(format!("box lane{}{mark}", self.lane)) {
                title { (printable(&self.text)) }
                rect x=(x) y=(y) width=(BOX) height=(HEIGHT) rx="5" {}
                svg x=(x) y=(y) width=(BOX - 4) height=(HEIGHT) {
                    text.what x="10" y="17" { (self.kind) " " (self.id) }
                    text.text x="10" y="36" { (shortened(&printable(&self.text), LETTERS)) }
                }
            }
        };
        html! {
            text.clock x="4" y=(y + 28) { (offset(self.time, began)) }
            @if anchor { a href=(format!("#step-{}", self.id)) { (shown) } } @else { (shown) }
        }
    }
}

fn node(step: &StepRow) -> Node {
    Node {
        id: step.id.to_string(),
        kind: step.kind.to_string(),
        text: step.summary.to_string(),
        lane: lane(&step.kind),
        time: step.time,
        mark: if step.arguments.iter().any(|argument| argument.untrusted) { Mark::Tainted } else { Mark::None },
    }
}

fn lane(kind: &str) -> usize {
    match kind {
        "llm.request" => 0,
        "llm.response" => 1,
        "tool.call" | "tool.result" => 2,
        "process.exec" | "file.write" | "net.connect" | "memory.write" => 4,
        _ => 3,
    }
}

/// `+0.123 s` since the first step.
pub(super) fn offset(time: u64, began: u64) -> String {
    let millis = time.saturating_sub(began) / 1_000_000;
    match millis {
        0..10_000 => format!("+{}.{:03} s", millis / 1000, millis % 1000),
        10_000..600_000 => format!("+{} s", millis / 1000),
        _ => format!("+{} min", millis / 60_000),
    }
}

/// Ideographs and the like are two letters wide.
pub(super) fn columns(letter: char) -> usize {
    if letter >= '\u{1100}' && !matches!(letter, '\u{2000}'..='\u{2bff}') { 2 } else { 1 }
}

/// Cut at a character's border, with a sign that it was.
fn shortened(text: &str, letters: usize) -> String {
    let mut width = 0;
    for (at, letter) in text.char_indices() {
        width += columns(letter);
        if width > letters {
            return format!("{}…", &text[..at]);
        }
    }
    text.to_owned()
}

/// Letters and harmless signs stay; all else becomes an entity code, which Mermaid shows as the character.
fn mermaid_text(text: &str) -> String {
    printable(text)
        .chars()
        .map(|letter| match letter {
            letter if letter.is_alphanumeric() => letter.to_string(),
            ' ' | '.' | ',' | ':' | '-' | '_' | '/' | '…' => letter.to_string(),
            other => format!("#{};", other as u32),
        })
        .collect()
}

fn dot_text(text: &str) -> String {
    printable(text).replace('\\', "\\\\").replace('"', "\\\"").replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::console::picture::rows::{AlertRow, CauseRow};

    /// Id, kind, summary, causes.
    type Row<'a> = (&'a str, &'a str, &'a str, &'a [(&'a str, f32)]);

    fn workflow(steps: &[Row<'_>]) -> WorkflowDetail {
        let steps = steps.iter().enumerate().map(|(at, (id, kind, summary, causes))| {
            Arc::new(StepRow {
                id: (*id).into(),
                kind: (*kind).into(),
                summary: (*summary).into(),
                time: at as u64 * 1_000_000_000,
                causes: causes
                    .iter()
                    .map(|(id, confidence)| CauseRow { id: (*id).into(), why: "answer".into(), confidence: *confidence })
                    .collect(),
                ..StepRow::default()
            })
        });
        let alerts = vec![AlertRow { action: "a3".into(), ..AlertRow::default() }];
        WorkflowDetail { steps: steps.collect(), alerts, ..WorkflowDetail::default() }
    }

    const HOSTILE: &str = "</title></svg><script>alert(1)</script>\"\u{1b}[2J\u{202e} end\"] --> x";

    fn sample() -> WorkflowDetail {
        workflow(&[
            ("a1", "llm.request", "please", &[]),
            ("a2", "llm.response", HOSTILE, &[("a1", 1.0)]),
            ("a3", "process.exec", "rm", &[("a1", 0.5), ("a2", 0.9)]),
            ("a4", "tool.result", "done", &[("a3", 1.0), ("gone", 1.0)]),
        ])
    }

    #[test]
    fn each_notation_holds_what_it_is_given() {
        let graph = Graph::of_workflow(&sample());
        for (notation, nodes, edges) in [
            (graph.svg_file("w"), "class=\"box ", "class=\"edge"),
            (graph.mermaid(), "[\"", ">|"),
            (graph.dot(), "[label=\"", " -> "),
        ] {
            assert!(
                !notation.contains("<script") && !notation.contains('\u{1b}') && !notation.contains('\u{202e}'),
                "{notation}"
            );
            assert!(notation.matches(nodes).count() >= 4, "{notation}");
            assert_eq!(notation.matches(edges).count(), 4, "{notation}");
        }
        assert!(!graph.mermaid().contains("] --> x"));
        assert!(graph.dot().contains("\\\""));
    }

    #[test]
    fn a_tree_sets_in_what_followed() {
        let tree = Graph::of_workflow(&sample()).tree();
        let lines: Vec<&str> = tree.lines().collect();
        for (line, told) in lines.iter().zip([
            "    +0.000 s  llm.request please",
            "    +1.000 s  llm.response </title>",
            "!   +2.000 s     process.exec rm  <- answer",
            "    +3.000 s     tool.result done  <- answer",
        ]) {
            assert!(line.starts_with(told), "{line:?} is not {told:?}");
        }
        assert!(lines.len() == 4 && !tree.contains(['\u{1b}', '\u{202e}']), "{tree}");
    }

    #[test]
    fn the_violation_is_marked_and_its_main_cause_is_the_strongest() {
        let svg = Graph::of_workflow(&sample()).svg("w", false).into_string();
        assert_eq!(svg.matches(" bad\"").count(), 1);
        assert_eq!(svg.matches("edge weak").count(), 1, "a1 -> a3 is the weak one");
    }

    #[test]
    fn boxes_do_not_overlap_and_lie_inside() {
        let rows: Vec<(usize, usize)> = (0..DRAWN).map(|row| (TOP + ROW * row, TOP + ROW * row + HEIGHT)).collect();
        assert!(rows.windows(2).all(|pair| pair[0].1 < pair[1].0));
        assert!(LEFT + LANE * (LANES.len() - 1) + BOX <= WIDTH);
    }

    #[test]
    fn a_long_workflow_is_drawn_in_part_and_says_so() {
        let mut long = sample();
        long.steps = std::iter::repeat_n(long.steps[0].clone(), DRAWN + 2).collect();
        let svg = Graph::of_workflow(&long).svg("w", false).into_string();
        assert!(svg.contains("2 later steps"));
    }

    #[test]
    fn offsets_read_well() {
        for (nanos, text) in
            [(0, "+0.000 s"), (1_234_000_000, "+1.234 s"), (75_000_000_000, "+75 s"), (660_000_000_000, "+11 min")]
        {
            assert_eq!(offset(nanos, 0), text);
        }
    }
}
