//! What is shown and selected, and what keys do to it. No terminal in here.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::source::Source;
use crate::console::Failure;
use crate::console::picture::rows::{AgentDetail, AgentRow, AlertDetail, AlertRow, Overview, WorkflowDetail, WorkflowRow};

/// Longest filter: nobody reads more on one line.
const FILTER: usize = 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tab {
    Agents,
    Workflows,
    Alerts,
    Coverage,
}

impl Tab {
    pub(super) const ALL: [(Tab, &'static str); 4] =
        [(Tab::Agents, "1 Agents"), (Tab::Workflows, "2 Workflows"), (Tab::Alerts, "3 Alerts"), (Tab::Coverage, "4 Coverage")];

    fn at(position: usize) -> Tab {
        Tab::ALL[position % Tab::ALL.len()].0
    }

    fn position(self) -> usize {
        Tab::ALL.iter().position(|(tab, _)| *tab == self).unwrap_or(0)
    }
}

/// One thing, opened from a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Open {
    Agent(String),
    Workflow(String),
    Alert(String),
}

/// What the opened thing is now.
pub(super) enum Detail {
    Agent(Box<AgentDetail>),
    Workflow(Box<WorkflowDetail>),
    Alert(Box<AlertDetail>),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    None,
    Renew,
    Copy(String),
    End,
}

pub(super) struct App {
    pub(super) overview: Overview,
    pub(super) workflows: Vec<WorkflowRow>,
    pub(super) alerts: Vec<AlertRow>,
    pub(super) tab: Tab,
    pub(super) selected: usize,
    /// Opened things, the latest on top, each with how far it is scrolled.
    pub(super) open: Vec<(Open, u16)>,
    pub(super) detail: Option<Detail>,
    pub(super) filter: String,
    /// Keys go into the filter.
    pub(super) filtering: bool,
    pub(super) paused: bool,
    pub(super) help: bool,
    /// One line for the reader: what went wrong or was done.
    pub(super) note: String,
}

impl App {
    pub(super) fn new(overview: Overview) -> App {
        App {
            overview,
            workflows: Vec::new(),
            alerts: Vec::new(),
            tab: Tab::Agents,
            selected: 0,
            open: Vec::new(),
            detail: None,
            filter: String::new(),
            filtering: false,
            paused: false,
            help: false,
            note: String::new(),
        }
    }

    /// Asks for what is on the screen, and for no more.
    pub(super) fn renew(&mut self, source: &Source) {
        match self.ask(source) {
            Ok(()) => {}
            Err(failure) => self.note = failure.to_string(),
        }
        self.selected = self.selected.min(self.rows().saturating_sub(1));
    }

    fn ask(&mut self, source: &Source) -> Result<(), Failure> {
        self.overview = source.overview()?;
        match self.tab {
            Tab::Workflows => self.workflows = source.workflows()?,
            Tab::Alerts => self.alerts = source.alerts()?,
            Tab::Agents | Tab::Coverage => {}
        }
        self.detail = match self.open.last() {
            Some((Open::Agent(id), _)) => Some(Detail::Agent(Box::new(source.agent(id)?))),
            Some((Open::Workflow(id), _)) => Some(Detail::Workflow(Box::new(source.workflow(id)?))),
            Some((Open::Alert(uid), _)) => Some(Detail::Alert(Box::new(source.alert(uid)?))),
            None => None,
        };
        Ok(())
    }

    pub(super) fn shown_agents(&self) -> Vec<&AgentRow> {
        self.overview.agents.iter().filter(|row| self.passes(&[&row.name, &row.model, &row.id])).collect()
    }

    pub(super) fn shown_workflows(&self) -> Vec<&WorkflowRow> {
        let passes = |row: &&WorkflowRow| self.passes(&[&row.id, &row.agent_name, &row.prompt, &row.user, &row.severity]);
        self.workflows.iter().filter(passes).collect()
    }

    pub(super) fn shown_alerts(&self) -> Vec<&AlertRow> {
        let passes =
            |row: &&AlertRow| self.passes(&[&row.title, &row.rule, &row.severity, &row.agent_name, &row.workflow, &row.proof]);
        self.alerts.iter().filter(passes).collect()
    }

    fn passes(&self, texts: &[&str]) -> bool {
        let wanted = self.filter.to_lowercase();
        wanted.split_whitespace().all(|word| texts.iter().any(|text| text.to_lowercase().contains(word)))
    }

    pub(super) fn rows(&self) -> usize {
        match self.tab {
            Tab::Agents => self.shown_agents().len(),
            Tab::Workflows => self.shown_workflows().len(),
            Tab::Alerts => self.shown_alerts().len(),
            Tab::Coverage => 0,
        }
    }

    pub(super) fn key(&mut self, key: KeyEvent) -> Wish {
        self.note.clear();
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return if key.code == KeyCode::Char('c') { Wish::End } else { Wish::None };
        }
        if self.filtering {
            return self.key_of_filter(key.code);
        }
        if self.help {
            self.help = false;
            return Wish::None;
        }
        match key.code {
            KeyCode::Char('q') => Wish::End,
            KeyCode::Char('?' | 'h') => {
                self.help = true;
                Wish::None
            }
            KeyCode::Char('p' | ' ') => {
                self.paused = !self.paused;
                if self.paused { Wish::None } else { Wish::Renew }
            }
            KeyCode::Char('y') => self.copied(),
            KeyCode::Char(digit @ '1'..='4') => self.go(digit as usize - '1' as usize),
            KeyCode::Tab | KeyCode::Right => self.go(self.tab.position() + 1),
            KeyCode::BackTab | KeyCode::Left => self.go(self.tab.position() + Tab::ALL.len() - 1),
            KeyCode::Char('/') if self.open.is_empty() => {
                self.filtering = true;
                Wish::None
            }
            KeyCode::Esc | KeyCode::Backspace => self.back(),
            KeyCode::Enter => self.enter(),
            KeyCode::Char('w') => self.workflow_of_alert(),
            KeyCode::Up | KeyCode::Char('k') => self.by(-1),
            KeyCode::Down | KeyCode::Char('j') => self.by(1),
            KeyCode::PageUp => self.by(-10),
            KeyCode::PageDown => self.by(10),
            KeyCode::Home | KeyCode::Char('g') => self.by(i32::MIN),
            KeyCode::End | KeyCode::Char('G') => self.by(i32::MAX),
            _ => Wish::None,
        }
    }

    fn key_of_filter(&mut self, code: KeyCode) -> Wish {
        match code {
            KeyCode::Enter => self.filtering = false,
            KeyCode::Esc => {
                self.filtering = false;
                self.filter.clear();
            }
            KeyCode::Backspace => {
                self.filter.pop();
            }
            KeyCode::Char(letter) if self.filter.chars().count() < FILTER => self.filter.push(letter),
            _ => {}
        }
        self.selected = 0;
        Wish::None
    }

    fn go(&mut self, position: usize) -> Wish {
        self.tab = Tab::at(position);
        self.selected = 0;
        self.open.clear();
        self.detail = None;
        Wish::Renew
    }

    fn back(&mut self) -> Wish {
        if self.open.pop().is_none() {
            self.filter.clear();
        }
        self.detail = None;
        Wish::Renew
    }

    fn enter(&mut self) -> Wish {
        if !self.open.is_empty() {
            return self.workflow_of_alert();
        }
        let selected = self.selected;
        let open = match self.tab {
            Tab::Agents => self.shown_agents().get(selected).map(|row| Open::Agent(row.id.to_string())),
            Tab::Workflows => self.shown_workflows().get(selected).map(|row| Open::Workflow(row.id.to_string())),
            Tab::Alerts => self.shown_alerts().get(selected).map(|row| Open::Alert(row.uid.to_string())),
            Tab::Coverage => None,
        };
        self.opened(open)
    }

    fn workflow_of_alert(&mut self) -> Wish {
        let open = match &self.detail {
            Some(Detail::Alert(alert)) => Some(Open::Workflow(alert.row.workflow.to_string())),
            Some(Detail::Workflow(workflow)) => workflow.alerts.first().map(|alert| Open::Alert(alert.uid.to_string())),
            Some(Detail::Agent(_)) | None => None,
        };
        self.opened(open)
    }

    fn opened(&mut self, open: Option<Open>) -> Wish {
        let Some(open) = open else { return Wish::None };
        self.open.retain(|(known, _)| *known != open);
        self.open.push((open, 0));
        self.detail = None;
        Wish::Renew
    }

    fn by(&mut self, step: i32) -> Wish {
        let moved = |at: usize, most: usize| {
            let at = i64::try_from(at).unwrap_or(i64::MAX).saturating_add(i64::from(step));
            usize::try_from(at.max(0)).unwrap_or(0).min(most)
        };
        match self.open.last_mut() {
            // The end of the text is known when it is drawn.
            Some((_, scroll)) => *scroll = u16::try_from(moved(usize::from(*scroll), usize::from(u16::MAX))).unwrap_or(u16::MAX),
            None => self.selected = moved(self.selected, self.rows().saturating_sub(1)),
        }
        Wish::None
    }

    fn copied(&mut self) -> Wish {
        let text = match (&self.detail, self.tab) {
            (Some(Detail::Alert(alert)), _) => Some(alert.row.uid.to_string()),
            (Some(Detail::Workflow(workflow)), _) => Some(workflow.row.id.to_string()),
            (Some(Detail::Agent(agent)), _) => Some(agent.row.id.to_string()),
            (None, Tab::Agents) => self.shown_agents().get(self.selected).map(|row| row.id.to_string()),
            (None, Tab::Workflows) => self.shown_workflows().get(self.selected).map(|row| row.id.to_string()),
            (None, Tab::Alerts) => self.shown_alerts().get(self.selected).map(|row| row.uid.to_string()),
            (None, Tab::Coverage) => None,
        };
        match text {
            Some(text) => {
                self.note = format!("copied {text}");
                Wish::Copy(text)
            }
            None => Wish::None,
        }
    }
}
