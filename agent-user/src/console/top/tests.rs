//! The terminal view drawn into a buffer: what keys lead to, at the smallest size and without colour.

use std::path::Path;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::app::{App, Wish};
use super::draw::draw;
use super::source::Source;
use crate::console::{RuleSource, show};

struct Screen {
    app: App,
    source: Source,
    terminal: Terminal<TestBackend>,
}

impl Screen {
    fn new(width: u16, height: u16) -> Screen {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/bad-run.jsonl");
        let rules = RuleSource { rules: Vec::new(), no_builtin: false };
        let source = Source::Board(show::painted(&[file], &rules, false, false).expect("the recording reads"));
        let app = App::new(source.overview().expect("an overview"));
        let terminal = Terminal::new(TestBackend::new(width, height)).expect("a buffer");
        Screen { app, source, terminal }
    }

    /// Letters are keys, `\n` is Enter, `\u{1b}` Esc.
    fn press(&mut self, keys: &str) -> Wish {
        let mut last = Wish::None;
        for letter in keys.chars() {
            let code = match letter {
                '\n' => KeyCode::Enter,
                '\u{1b}' => KeyCode::Esc,
                letter => KeyCode::Char(letter),
            };
            last = self.app.key(KeyEvent::new(code, KeyModifiers::NONE));
            if last == Wish::Renew {
                self.app.renew(&self.source);
            }
        }
        last
    }

    fn text(&mut self, colour: bool) -> String {
        self.terminal.draw(|frame| draw(frame, &mut self.app, colour)).expect("a buffer");
        let buffer = self.terminal.backend().buffer();
        let width = usize::from(buffer.area.width);
        let symbols: Vec<&str> = buffer.content.iter().map(ratatui::buffer::Cell::symbol).collect();
        symbols.chunks(width).map(|line| line.concat() + "\n").collect()
    }
}

#[test]
fn keys_lead_to_what_they_say() {
    for (keys, told) in [
        ("1", &["python3.11", "gpt-5", "read_ticket", "localhost:43811"][..]),
        ("1\n", &["/usr/bin/python3.11", "refund_order", "offered, never called"]),
        ("2", &["w2", "Please handle ticket T-2"]),
        ("2\n", &["llm.request", "tool.call", "ticket = T-2  <- user"]),
        ("2\nG", &["amount = 4900.0  <- untrusted content", "! HIGH: Content that others can write"]),
        ("3", &["high", "served", "Content that others can"]),
        ("3\n", &["HIGH", "it happened", "What to do", "What happened", "llm.response"]),
        ("3\n\n", &["Workflow w2"]),
        ("3\n\n\u{1b}", &["What to do"]),
        ("4", &["What is not seen", "nothing is known to be missing"]),
        ("?", &["clears the filter"]),
        ("2/ticket", &["filter: ticket_", "w2"]),
        ("p", &["PAUSED"]),
    ] {
        let mut screen = Screen::new(80, 24);
        screen.app.renew(&screen.source);
        screen.press(keys);
        let text = screen.text(true);
        for word in told {
            assert!(text.contains(word), "{keys:?} does not show {word}:\n{text}");
        }
    }
}

#[test]
fn a_filter_hides_what_does_not_match() {
    let mut screen = Screen::new(80, 24);
    screen.press("2/nothing like this\n");
    assert!(screen.text(true).contains("No workflow"));
    screen.press("\u{1b}");
    assert!(screen.text(true).contains("Please handle"));
}

#[test]
fn without_colour_no_cell_has_one() {
    for keys in ["1", "2", "3", "4", "1\n", "2\n", "3\n"] {
        let mut screen = Screen::new(80, 24);
        screen.press(keys);
        screen.text(false);
        let coloured =
            screen.terminal.backend().buffer().content.iter().any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
        assert!(!coloured, "{keys:?}");
    }
}

/// The head and the foot are whole at the smallest size, and any other size draws without a fault.
#[test]
fn it_fits() {
    let mut screen = Screen::new(80, 24);
    screen.press("3");
    let text = screen.text(true);
    assert!(text.lines().next().is_some_and(|line| line.contains("0 blind  1 agents")), "{text}");
    assert!(text.lines().last().is_some_and(|line| line.contains("q quit")), "{text}");
    for (width, height) in [(1, 1), (20, 5), (40, 10), (200, 50), (500, 200)] {
        for keys in ["1", "2\n", "3\n", "4", "?"] {
            let mut screen = Screen::new(width, height);
            screen.press(keys);
            screen.text(true);
        }
    }
}

#[test]
fn scrolling_ends_at_the_end() {
    let mut screen = Screen::new(80, 24);
    screen.press("3\nG");
    assert!(screen.text(true).contains("uid "));
    screen.press("g");
    assert!(screen.text(true).contains("HIGH"));
}

#[test]
fn copying_gives_the_name_of_what_is_selected() {
    let mut screen = Screen::new(80, 24);
    assert_eq!(screen.press("2y"), Wish::Copy("w2".into()));
    assert!(matches!(screen.press("3y"), Wish::Copy(uid) if uid.len() == 32));
    assert_eq!(screen.press("4y"), Wish::None);
    assert_eq!(screen.press("q"), Wish::End);
}
