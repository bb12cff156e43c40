//! One agent as it is seen at work: who it is, what it uses, what it was offered and never used, what is new about it.

use std::collections::VecDeque;

use indexmap::IndexMap;

use super::rows::{AgentDetail, AgentRow, Pairs, ScopeRow, Text, ToolRow, Use};
use super::step::cut;
use crate::base::limits::PICTURE_NAMES;
use crate::correlate::Step;
use crate::deliver::Redactor;
use crate::understand::{Kind, Tool};

/// An agent is known after this long; what it uses for the first time later is new.
const KNOWN_AFTER: u64 = 10 * 60 * 1_000_000_000;

/// Rates count the last minute in slots of this length.
const SLOT: u64 = 5_000_000_000;
const SLOTS: u64 = 12;

/// Names with how often they were seen. Past [`PICTURE_NAMES`] the one that was seen least recently is forgotten.
#[derive(Clone, Debug, Default)]
pub(super) struct Uses(IndexMap<Text, Use>);

impl Uses {
    pub(super) fn note(&mut self, name: &str, now: u64, known_since: u64) {
        if name.is_empty() {
            return;
        }
        let name = cut(name);
        let new = now.saturating_sub(known_since) > KNOWN_AFTER;
        let entry = self.0.entry(name.clone()).or_insert_with(|| Use { name, count: 0, first: now, last: now, new });
        entry.count += 1;
        entry.last = now;
        if self.0.len() > PICTURE_NAMES
            && let Some(oldest) = self.0.values().min_by_key(|entry| entry.last).map(|entry| entry.name.clone())
        {
            self.0.swap_remove(&oldest);
        }
    }

    /// Most used first.
    pub(super) fn rows(&self) -> Vec<Use> {
        let mut rows: Vec<Use> = self.0.values().cloned().collect();
        rows.sort_by(|one, other| other.count.cmp(&one.count).then_with(|| one.name.cmp(&other.name)));
        rows
    }

    fn latest(&self) -> Text {
        self.0.values().max_by_key(|entry| entry.last).map(|entry| entry.name.clone()).unwrap_or_default()
    }
}

#[derive(Clone, Debug, Default)]
struct Offer {
    hash: Option<Text>,
    changed: bool,
}

/// Steps of the last minute.
#[derive(Clone, Debug, Default)]
pub(super) struct Rate(VecDeque<(u64, u64)>);

impl Rate {
    pub(super) fn note(&mut self, now: u64) {
        let slot = now / SLOT;
        match self.0.back_mut() {
            Some((last, count)) if *last >= slot => *count += 1,
            Some(_) | None => self.0.push_back((slot, 1)),
        }
        while self.0.len() as u64 > SLOTS {
            self.0.pop_front();
        }
    }

    pub(super) fn last_minute(&self, now: u64) -> u64 {
        let slot = now / SLOT;
        self.0.iter().filter(|(at, _)| at + SLOTS > slot).map(|(_, count)| count).sum()
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Agent {
    pub(super) row: AgentRow,
    identity: Pairs,
    users: Uses,
    models: Uses,
    tools: Uses,
    offers: IndexMap<Text, Offer>,
    hosts: Uses,
    scopes: IndexMap<Text, bool>,
    input_tokens: u64,
    output_tokens: u64,
    rate: Rate,
    /// Its own process was seen acting: identity is that of the agent, not of a child.
    introduced: bool,
}

impl Agent {
    pub(super) fn new(id: Text, pid: u32, now: u64) -> Agent {
        let row = AgentRow { id, name: format!("process {pid}").into(), pid, first: now, last: now, ..AgentRow::default() };
        Agent { row, ..Agent::default() }
    }

    pub(super) fn step(&mut self, step: &Step, redactor: &Redactor) {
        let action = &*step.action;
        let now = action.time.0;
        let known_since = self.row.first;
        self.row.last = self.row.last.max(now);
        self.row.steps += 1;
        self.rate.note(now);
        self.introduce(step, redactor);
        let identity = &action.identity;
        let asked = step.asked_by.as_ref().or(identity.user.as_ref());
        if let Some(user) = asked {
            self.users.note(&redactor.text(&user.value), now, known_since);
        }
        if let Some(llm) = action.llm.as_deref() {
            self.models.note(llm.model.as_deref().unwrap_or_default(), now, known_since);
            self.input_tokens += llm.usage.input_tokens.unwrap_or(0);
            self.output_tokens += llm.usage.output_tokens.unwrap_or(0);
            llm.tools.iter().for_each(|tool| self.offered(tool));
        }
        if let Some(http) = &action.http {
            self.hosts.note(&redactor.location(&http.host), now, known_since);
        }
        if action.kind == Kind::ToolCall
            && let Some(tool) = &action.tool
        {
            self.tools.note(&tool.name, now, known_since);
        }
        if let Some(token) = &identity.token {
            for scope in &token.scopes {
                if self.scopes.len() < PICTURE_NAMES {
                    self.scopes.entry(cut(&redactor.text(scope))).or_insert(false);
                }
            }
        }
        if matches!(action.kind, Kind::ApiRequest | Kind::McpRequest | Kind::ToolCall | Kind::A2aRequest | Kind::MemoryWrite) {
            let said = format!("{} {}", action.op.as_deref().unwrap_or_default(), action.effect.as_deref().unwrap_or_default());
            for (scope, used) in &mut self.scopes {
                *used = *used || names(scope, &said.to_ascii_lowercase(), action.effect.as_deref());
            }
        }
        self.row.model = self.models.latest();
    }

    fn introduce(&mut self, step: &Step, redactor: &Redactor) {
        let own = step.proc.key.is_some() && step.proc.key == step.agent;
        let claims = &step.action.identity;
        if let Some(name) = claims.agent_name.as_ref().filter(|_| own) {
            self.row.name = cut(&redactor.text(&name.value));
        } else if !self.introduced
            && own
            && let Some(name) = &step.proc.name
        {
            self.row.name = cut(&redactor.text(name));
        }
        if self.introduced && claims.agent_name.is_none() && claims.agent_framework.is_none() {
            return;
        }
        let mut identity = Pairs::new();
        let mut put = |name: &str, value: Option<String>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                identity.push((name.into(), cut(&redactor.text(&value))));
            }
        };
        let said = |claim: &Option<crate::understand::Claim>| {
            claim.as_ref().map(|claim| format!("{} ({}, {})", claim.value, claim.source, claim.confidence.name()))
        };
        put("agent id", said(&claims.agent_id));
        put("agent name", said(&claims.agent_name));
        put("version", claims.agent_version.as_deref().map(str::to_owned));
        put("client library", claims.agent_framework.as_deref().map(str::to_owned));
        put("tenant", said(&claims.tenant));
        put("credential", claims.credential.as_deref().map(str::to_owned));
        if own {
            put("program", step.proc.exe.as_deref().map(str::to_owned));
            put("arguments", Some(step.proc.args.expose_content().to_string()));
            put("user id", step.proc.uid.map(|uid| uid.to_string()));
            put("folder", step.proc.cwd.as_deref().map(str::to_owned));
            put("cgroup", step.proc.cgroup.as_deref().map(str::to_owned));
            put("started by", Some(step.proc.ancestors.join(" < ")));
            self.introduced = true;
        }
        for (name, value) in identity {
            match self.identity.iter_mut().find(|(known, _)| *known == name) {
                Some((_, old)) => *old = value,
                None => self.identity.push((name, value)),
            }
        }
    }

    fn offered(&mut self, tool: &Tool) {
        if self.offers.len() >= PICTURE_NAMES && !self.offers.contains_key(&tool.name) {
            return;
        }
        let offer = self.offers.entry(cut(&tool.name)).or_default();
        if offer.hash.is_some() && tool.schema_hash.is_some() && offer.hash != tool.schema_hash {
            offer.changed = true;
        }
        offer.hash = tool.schema_hash.clone().or(offer.hash.take());
    }

    pub(super) fn row(&self, now: u64) -> AgentRow {
        AgentRow { steps_last_minute: self.rate.last_minute(now), ..self.row.clone() }
    }

    /// Without its workflows and alerts, which others hold.
    pub(super) fn detail(&self, now: u64) -> AgentDetail {
        let mut tools: Vec<ToolRow> = self
            .tools
            .rows()
            .into_iter()
            .map(|used| {
                let offer = self.offers.get(&used.name);
                ToolRow { offered: offer.is_some(), changed: offer.is_some_and(|offer| offer.changed), used }
            })
            .collect();
        let unused = self.offers.iter().filter(|(name, _)| !self.tools.0.contains_key(*name));
        tools.extend(unused.map(|(name, offer)| ToolRow {
            used: Use { name: name.clone(), ..Use::default() },
            offered: true,
            changed: offer.changed,
        }));
        AgentDetail {
            row: self.row(now),
            identity: self.identity.clone(),
            users: self.users.rows(),
            models: self.models.rows(),
            tools,
            hosts: self.hosts.rows(),
            scopes: self.scopes.iter().map(|(scope, used)| ScopeRow { scope: scope.clone(), used: *used }).collect(),
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            workflows: Vec::new(),
            alerts: Vec::new(),
        }
    }
}

/// `orders:read` is named by a call on orders that reads: each word of the scope is a verb of the call's effect or stands in it.
fn names(scope: &str, said: &str, effect: Option<&str>) -> bool {
    let scope = scope.to_ascii_lowercase();
    let words: Vec<&str> = scope.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| word.len() > 1).collect();
    let (verbs, things): (Vec<&str>, Vec<&str>) =
        words.into_iter().partition(|word| matches!(*word, "read" | "write" | "delete" | "admin" | "all" | "readonly" | "full"));
    let effect_fits = verbs.is_empty()
        || verbs.iter().any(|verb| match *verb {
            "read" | "readonly" => effect == Some("read"),
            "write" => effect.is_some_and(|effect| effect != "read"),
            "delete" => effect == Some("delete"),
            "admin" => effect == Some("admin"),
            _ => true,
        });
    effect_fits && !things.is_empty() && things.iter().all(|thing| said.contains(thing.trim_end_matches('s')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_by_their_words() {
        for (scope, said, effect, used) in [
            ("orders:read", "get shop/v1/orders/{id} read", "read", true),
            ("orders:read", "post shop/v1/orders/{id}/refunds money", "money", false),
            ("orders:write", "post shop/v1/orders/{id}/refunds money", "money", true),
            ("refunds", "post shop/v1/orders/{id}/refunds money", "money", true),
            ("mail.send", "post shop/v1/orders money", "money", false),
            ("*", "post shop/v1/orders money", "money", false),
        ] {
            assert_eq!(names(scope, said, Some(effect)), used, "{scope} {said}");
        }
    }

    #[test]
    fn names_beyond_the_bound_push_out_the_oldest() {
        let mut uses = Uses::default();
        for at in 0..=PICTURE_NAMES as u64 {
            uses.note(&format!("host{at}"), at, 0);
        }
        assert_eq!(uses.0.len(), PICTURE_NAMES);
        assert!(!uses.0.contains_key("host0") && uses.0.contains_key("host1"));
    }

    #[test]
    fn what_comes_late_is_new() {
        let mut uses = Uses::default();
        uses.note("a", KNOWN_AFTER, 0);
        uses.note("b", KNOWN_AFTER + 1, 0);
        let new: Vec<bool> = uses.rows().into_iter().map(|row| row.new).collect();
        assert_eq!(new, [false, true]);
    }

    #[test]
    fn a_rate_forgets_after_a_minute() {
        let mut rate = Rate::default();
        for second in 0..90 {
            rate.note(second * 1_000_000_000);
        }
        assert_eq!(rate.last_minute(89 * 1_000_000_000), 60);
        assert_eq!(rate.last_minute(200 * 1_000_000_000), 0);
    }
}
