//! The stage: each draft finds its workflow, its causes and its place.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::announced::Announced;
use super::conversation::{Conversation, is_effect};
use super::ends::{Ends, word_prints};
use super::going::{Former, Going, Process};
use super::index::{ConversationId, Index, Key, Prints, link, print_of_answer, tells};
use super::tree::Tree;
use super::{Cause, Correlated, Influence, Proc, Step, Workflow, WorkflowId};
use crate::base::limits::{CONVERSATIONS, FINGERPRINTS_TOTAL, OPEN_ACTIONS, WORKFLOW_STEPS};
use crate::base::{ActionId, ExchangeId, KeyedHash, ProcessKey, Sensitive, Timestamp};
use crate::understand::{Action, Claim, Draft, Kind, Llm, Role};

/// A workflow in which nothing happens for this long is over.
const QUIET: Duration = Duration::from_secs(15 * 60);

pub struct Correlate {
    pub(super) hash: KeyedHash,
    pub(super) tree: Tree,
    /// Since when they talk to a model.
    pub(super) agents: BTreeMap<ProcessKey, Timestamp>,
    pub(super) conversations: BTreeMap<ConversationId, Conversation>,
    index: Index,
    /// Conversations of an agent with decisions whose results are not known, and its latest one.
    pub(super) busy: HashMap<ProcessKey, BTreeSet<ConversationId>>,
    pub(super) announced: Announced,
    pub(super) latest: HashMap<ProcessKey, ConversationId>,
    pub(super) workflows: BTreeMap<WorkflowId, Line>,
    /// One entry a workflow, by the time something last happened in it; an entry may be out of date and is then put back.
    due: BinaryHeap<Reverse<(Timestamp, WorkflowId)>>,
    /// The workflow of a process that talks to no model.
    ambient: HashMap<ProcessKey, WorkflowId>,
    /// The workflow of an A2A context.
    contexts: HashMap<Arc<str>, WorkflowId>,
    /// Model requests, for their answers and calls.
    of_exchange: BTreeMap<(ExchangeId, Option<Arc<str>>), Pending>,
    /// Tool results that wait for the request they stand in.
    results: Vec<Action>,
    /// Steps whose action is not complete.
    open: BTreeMap<ActionId, Step>,
    pub(super) ends: Ends,
    pub(super) started_for: HashMap<u32, Started>,
    last_workflow: u64,
    /// Processes of before a restart, and those whose first workflow since then goes on.
    former: Former,
    resumed: BTreeSet<ProcessKey>,
    last_conversation: u64,
    /// Fingerprints of all conversations; those that may still hold some, oldest first.
    remembered: usize,
    remembering: VecDeque<ConversationId>,
    /// Actions that this stage makes itself are numbered apart from those of understand.
    pub(super) made: u64,
}

/// A workflow and what its steps share.
pub(super) struct Line {
    pub(super) workflow: Workflow,
    conversations: Vec<ConversationId>,
    /// Who asked, where it entered.
    pub(super) asked_by: Option<Claim>,
    count: u32,
}

/// What a process was started for.
#[derive(Clone, Copy)]
pub(super) struct Started {
    pub(super) workflow: WorkflowId,
    pub(super) exec: ActionId,
    pub(super) at: Timestamp,
    pub(super) declared: bool,
}

#[derive(Clone, Copy)]
struct Pending {
    workflow: WorkflowId,
    conversation: Option<ConversationId>,
    request: ActionId,
    response: Option<ActionId>,
    /// The chain of the request's messages, to which the answer is added.
    chain: u64,
    first: bool,
}

impl Default for Correlate {
    fn default() -> Correlate {
        Correlate::new(KeyedHash::new([0; 16]))
    }
}

impl Correlate {
    pub fn new(hash: KeyedHash) -> Correlate {
        Correlate {
            hash,
            tree: Tree::default(),
            agents: BTreeMap::new(),
            conversations: BTreeMap::new(),
            index: Index::default(),
            busy: HashMap::new(),
            announced: Announced::default(),
            latest: HashMap::new(),
            workflows: BTreeMap::new(),
            due: BinaryHeap::new(),
            ambient: HashMap::new(),
            contexts: HashMap::new(),
            of_exchange: BTreeMap::new(),
            results: Vec::new(),
            open: BTreeMap::new(),
            ends: Ends::default(),
            started_for: HashMap::new(),
            last_workflow: 0,
            former: Former::default(),
            resumed: BTreeSet::new(),
            last_conversation: 0,
            remembered: 0,
            remembering: VecDeque::new(),
            made: 0,
        }
    }

    pub fn push(&mut self, draft: Draft, out: &mut Vec<Correlated>) {
        match draft {
            Draft::Opened(action) => self.opened(action, out),
            Draft::Completed(action) => self.completed(action, out),
            Draft::Fact { ts, fact } => self.fact(ts, fact, out),
            Draft::Exchange { ts, exchange } => out.push(Correlated::Exchange { ts, exchange }),
        }
    }

    pub fn tick(&mut self, now: Timestamp, out: &mut Vec<Correlated>) {
        while let Some(Reverse((at, id))) = self.due.peek().copied() {
            if now.since(at) <= QUIET {
                break;
            }
            self.due.pop();
            let Some(line) = self.workflows.get(&id) else { continue };
            let last = line.workflow.ended.unwrap_or(line.workflow.started);
            if now.since(last) > QUIET { self.close(id, out) } else { self.due.push(Reverse((last, id))) }
        }
    }

    /// Closes every workflow.
    pub fn finish(&mut self, _now: Timestamp, out: &mut Vec<Correlated>) {
        for result in std::mem::take(&mut self.results) {
            self.tool_result(Box::new(result), None, out);
        }
        for id in self.workflows.keys().copied().collect::<Vec<_>>() {
            self.close(id, out);
        }
    }

    fn opened(&mut self, action: Box<Action>, out: &mut Vec<Correlated>) {
        let step = self.effect(action, false);
        self.ends.opened(&step, &self.hash);
        if self.open.len() < OPEN_ACTIONS {
            self.open.insert(step.action.id, step.clone());
        }
        out.push(Correlated::Step(Box::new(step)));
    }

    fn completed(&mut self, action: Box<Action>, out: &mut Vec<Correlated>) {
        if let Some(mut step) = self.open.remove(&action.id) {
            self.ends.completed(&action, &self.hash);
            self.touch(step.workflow, action.time);
            step.completed = true;
            step.action = Arc::from(action);
            return out.push(Correlated::Step(Box::new(step)));
        }
        match action.kind {
            Kind::LlmRequest => self.model_request(action, out),
            Kind::LlmResponse => self.model_response(action, out),
            Kind::ToolCall => self.tool_call(action, out),
            // Of a tool that the provider ran: it came with the answer, no request brings it.
            Kind::ToolResult if action.llm.is_some() => self.remote_result(action, out),
            Kind::ToolResult => self.results.push(*action),
            Kind::McpRequest
            | Kind::ApiRequest
            | Kind::ApiResponse
            | Kind::A2aRequest
            | Kind::ProcessExec
            | Kind::FileWrite
            | Kind::NetConnect
            | Kind::MemoryWrite
            | Kind::SelfReport => {
                let step = self.effect(action, true);
                out.push(Correlated::Step(Box::new(step)));
            }
        }
    }

    fn model_request(&mut self, action: Box<Action>, out: &mut Vec<Correlated>) {
        let llm = action.llm.clone().unwrap_or_default();
        self.agents.entry(action.process).or_insert(action.time);
        let waiting = std::mem::take(&mut self.results);
        let (own, others): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|result| result.exchange == action.exchange);
        self.results = others;
        let prints = Prints::of(&llm, &self.hash);
        let mut causes = Vec::new();
        let served = self.served_by(&action, &llm);
        let (conversation, known) =
            if action.side_call { (None, 0) } else { self.conversation_of(&action, &llm, &prints, served, &mut causes, out) };
        let workflow = match conversation.and_then(|id| self.conversations.get(&id)) {
            Some(conversation) => conversation.workflow,
            None => self.new_workflow(&action),
        };
        let mut by_call = BTreeMap::new();
        for result in own {
            if let Some(call) = result.tool.as_ref().and_then(|tool| tool.call_id.clone()) {
                by_call.insert(call, result.id);
            }
            causes.push(Cause { action: result.id, why: "tool_result", confidence: 1.0 });
            self.tool_result(Box::new(result), Some((workflow, conversation)), out);
        }
        if let Some((request, _, confidence)) = served.filter(|_| !causes.iter().any(|cause| cause.why == "tool_result")) {
            causes.push(Cause { action: request, why: "serving_request", confidence });
        }
        self.note_who_asked(workflow, served.map(|(request, ..)| request), &action);
        if let Some(id) = conversation {
            self.listen(id, &action, &llm, known, &by_call, &prints);
        }
        if let Some(exchange) = action.exchange {
            let first = llm.messages.iter().all(|message| matches!(message.role, Role::System | Role::User));
            let pending = Pending { workflow, conversation, request: action.id, response: None, chain: prints.last(), first };
            self.of_exchange.insert((exchange, llm.lane.clone()), pending);
            if self.of_exchange.len() > OPEN_ACTIONS {
                self.of_exchange.pop_first();
            }
        }
        let step = self.step(action, workflow, conversation, causes, None, None, true);
        out.push(Correlated::Step(Box::new(step)));
    }

    /// The request that came in and that this model call works on.
    fn served_by(&self, action: &Action, llm: &Llm) -> Option<(ActionId, WorkflowId, f32)> {
        let spoken = llm.messages.iter().rev().find(|message| message.role == Role::User);
        let said = spoken.map(|message| word_prints(message.text.expose_content(), &self.hash)).unwrap_or_default();
        let (going, confidence) = self.ends.serving(action.process, action.identity.traceparent.as_deref(), &said)?;
        Some((going.action, going.workflow, confidence))
    }

    /// The user who asked is the one who entered the agent; the model's request may name an alias of the user.
    fn note_who_asked(&mut self, workflow: WorkflowId, served: Option<ActionId>, action: &Action) {
        let entered = served
            .and_then(|request| self.open.get(&request))
            .and_then(|step| step.asked_by.clone().or_else(|| step.action.identity.user.clone()));
        if let Some(line) = self.workflows.get_mut(&workflow) {
            line.asked_by = line.asked_by.take().or(entered).or_else(|| action.identity.user.clone());
        }
    }

    fn listen(
        &mut self,
        id: ConversationId,
        action: &Action,
        llm: &Llm,
        known: usize,
        results: &BTreeMap<Arc<str>, ActionId>,
        prints: &Prints,
    ) {
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        let before = conversation.memory.size();
        conversation.listen(llm, known, results);
        conversation.last_at = action.time;
        self.remembered += conversation.memory.size().saturating_sub(before);
        self.latest.insert(action.process, id);
        self.know(id, Key::Chain(action.process, prints.last()), true);
        if let Some(name) = &llm.conversation_id {
            self.know(id, Key::Named(action.process, name.clone()), false);
        }
        self.forget_oldest(id);
    }

    /// A key of a conversation; a chain takes the place of the one before it.
    fn know(&mut self, id: ConversationId, key: Key, replaces: bool) {
        const MOST: usize = 512;
        let Some(conversation) = self.conversations.get_mut(&id) else { return };
        if replaces {
            let (old, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut conversation.keys)
                .into_iter()
                .partition(|key| matches!(key, Key::Chain(..) | Key::Failed(..) | Key::Answer(..)));
            conversation.keys = kept;
            old.iter().for_each(|key| self.index.remove(key, id));
        }
        if conversation.keys.len() < MOST {
            conversation.keys.push(key.clone());
            self.index.put(key, id);
        }
    }

    /// The conversation that a request continues, and how many of its messages are known.
    fn conversation_of(
        &mut self,
        action: &Action,
        llm: &Llm,
        prints: &Prints,
        served: Option<(ActionId, WorkflowId, f32)>,
        causes: &mut Vec<Cause>,
        out: &mut Vec<Correlated>,
    ) -> (Option<ConversationId>, usize) {
        if let Some(found) = self.index.find(action.process, llm, prints)
            && let Some(conversation) = self.conversations.get(&found.id)
        {
            causes.extend(conversation.last_response.map(|response| Cause {
                action: response,
                why: found.why,
                confidence: found.confidence,
            }));
            return (Some(found.id), found.known);
        }
        let workflow =
            match served.filter(|(_, workflow, confidence)| *confidence >= 0.5 && self.workflows.contains_key(workflow)) {
                Some((_, workflow, _)) => workflow,
                None => self.new_workflow(action),
            };
        self.last_conversation += 1;
        let id = ConversationId(self.last_conversation);
        self.conversations.insert(id, Conversation::new(action.process, workflow, self.hash.clone()));
        self.remembering.push_back(id);
        if let Some(line) = self.workflows.get_mut(&workflow) {
            line.conversations.push(id);
        }
        if self.conversations.len() > CONVERSATIONS
            && let Some(oldest) = self.conversations.values().next().map(|conversation| conversation.workflow)
        {
            self.close(oldest, out);
        }
        (Some(id), 0)
    }

    /// All conversations together keep so much; past it the oldest forgets what its tools returned.
    fn forget_oldest(&mut self, spared: ConversationId) {
        while self.remembered > FINGERPRINTS_TOTAL
            && let Some(oldest) = self.remembering.pop_front()
        {
            if let Some(conversation) = self.conversations.get_mut(&oldest).filter(|_| oldest != spared) {
                self.remembered = self.remembered.saturating_sub(conversation.memory.size());
                conversation.memory.forget();
            }
        }
    }

    /// What is to go on after a restart.
    pub fn going(&self) -> Going {
        let mut of: BTreeMap<ProcessKey, (Timestamp, u64)> = BTreeMap::new();
        for process in self.former.all() {
            of.insert(ProcessKey { pid: process.pid, start: process.start }, (process.last, process.workflow));
        }
        for (id, line) in &self.workflows {
            if let Some(process) = line.workflow.agent.key {
                let last = line.workflow.ended.unwrap_or(line.workflow.started);
                let latest = of.entry(self.former.name(process)).or_insert((last, id.0));
                *latest = (*latest).max((last, id.0));
            }
        }
        let agents: BTreeSet<ProcessKey> = self.agents.keys().map(|agent| self.former.name(*agent)).collect();
        let of = of.into_iter().map(|(process, (last, workflow))| {
            let agent = agents.contains(&process) || self.former.is_agent(process);
            Process { pid: process.pid, start: process.start, workflow, last, agent }
        });
        Going { last_workflow: self.last_workflow, processes: of.collect() }
    }

    /// Goes on where [`Correlate::going`] was asked.
    pub fn resume(&mut self, going: Going) {
        self.last_workflow = self.last_workflow.max(going.last_workflow);
        self.former = Former::new(going.processes);
    }

    /// The workflow that this process was in before a restart, for what it does first.
    fn resumed(&mut self, process: ProcessKey, now: Timestamp) -> Option<WorkflowId> {
        let id = self.former.workflow(process, now, QUIET)?;
        (self.resumed.insert(process) && !self.workflows.contains_key(&id)).then_some(id)
    }

    pub(super) fn new_workflow(&mut self, action: &Action) -> WorkflowId {
        let agent = self.agent_of(action.process).unwrap_or(action.process);
        let id = self.resumed(agent, action.time).unwrap_or_else(|| {
            self.last_workflow += 1;
            WorkflowId(self.last_workflow)
        });
        let proc = self.tree.get(agent);
        let workflow = Workflow {
            id,
            agent_name: action.identity.agent_name.as_ref().map(|claim| claim.value.clone()).or_else(|| proc.name.clone()),
            agent: proc,
            user: None,
            tenant: None,
            started: action.time,
            ended: Some(action.time),
            steps: Vec::new(),
            edges: Vec::new(),
        };
        self.workflows.insert(id, Line { workflow, conversations: Vec::new(), asked_by: None, count: 0 });
        self.due.push(Reverse((action.time, id)));
        id
    }

    fn pending(&self, action: &Action) -> Option<Pending> {
        let pending = self.of_exchange.get(&(action.exchange?, lane(action))).copied()?;
        self.workflows.contains_key(&pending.workflow).then_some(pending)
    }

    fn model_response(&mut self, action: Box<Action>, out: &mut Vec<Correlated>) {
        let Some(pending) = self.pending(&action) else {
            let workflow = self.ambient_of(&action);
            let step = self.step(action, workflow, None, Vec::new(), None, None, true);
            return out.push(Correlated::Step(Box::new(step)));
        };
        if let Some(exchange) = action.exchange
            && let Some(pending) = self.of_exchange.get_mut(&(exchange, lane(&action)))
        {
            pending.response = Some(action.id);
        }
        if let Some(id) = pending.conversation
            && let Some(conversation) = self.conversations.get_mut(&id)
        {
            conversation.answered(&action);
            let failed = conversation.failed;
            let llm = action.llm.as_deref();
            if let Some(response) = llm.and_then(|llm| llm.response_id.clone()) {
                self.know(id, Key::Response(response), false);
            }
            if failed {
                if pending.first {
                    self.know(id, Key::Failed(action.process, pending.chain), false);
                }
            } else if let Some(llm) = llm {
                let print = print_of_answer(llm, &self.hash);
                self.know(id, Key::Chain(action.process, link(pending.chain, print, &self.hash)), true);
                // The request alone, for agents that rewrite answers before they send them back.
                self.know(id, Key::Chain(action.process, pending.chain), false);
                if tells(llm) {
                    self.know(id, Key::Answer(action.process, print), false);
                }
            }
        }
        let causes = vec![Cause { action: pending.request, why: "answer", confidence: 1.0 }];
        let step = self.step(action, pending.workflow, pending.conversation, causes, None, None, true);
        out.push(Correlated::Step(Box::new(step)));
    }

    fn tool_call(&mut self, action: Box<Action>, out: &mut Vec<Correlated>) {
        let pending = self.pending(&action);
        let workflow = pending.map_or_else(|| self.ambient_of(&action), |pending| pending.workflow);
        let mut causes = Vec::new();
        let mut influence = None;
        let conversation = pending.and_then(|pending| pending.conversation);
        if let Some(response) = pending.and_then(|pending| pending.response) {
            causes.push(Cause { action: response, why: "declared_tool_call", confidence: 1.0 });
        }
        if let Some(id) = conversation
            && let Some(known) = self.conversations.get_mut(&id)
        {
            let name = action.tool.as_ref().map(|tool| tool.name.clone()).unwrap_or_default();
            influence = Some(Arc::new(known.memory.judge(&name, action.effect.as_deref(), action.arg.expose_content())));
            known.decide(&action);
            if let Some(decision) = known.decisions.last() {
                self.announced.put(known.agent, id, decision, &mut known.announced, &self.hash);
            }
            self.busy.entry(known.agent).or_default().insert(id);
            if let Some(call) =
                action.tool.as_ref().and_then(|tool| tool.call_id.clone()).filter(|call| call.len() >= 4 && &**call != "null")
            {
                self.know(id, Key::Call(Some(action.process), call.clone()), false);
                self.know(id, Key::Call(None, call), false);
            }
        }
        let step = self.step(action, workflow, conversation, causes, None, influence, true);
        out.push(Correlated::Step(Box::new(step)));
    }

    fn remote_result(&mut self, action: Box<Action>, out: &mut Vec<Correlated>) {
        let pending = self.pending(&action);
        let conversation = pending.and_then(|pending| pending.conversation);
        if let Some(known) = conversation.and_then(|id| self.conversations.get_mut(&id))
            && let Some(result) = &action.result
        {
            let before = known.memory.size();
            let tool = action.tool.as_ref().map(|tool| &tool.name);
            known.memory.tool(&result.expose_content().plain(), tool, None, Some(action.id));
            self.remembered += known.memory.size().saturating_sub(before);
        }
        self.tool_result(action, pending.map(|pending| (pending.workflow, conversation)), out);
    }

    fn tool_result(
        &mut self,
        action: Box<Action>,
        known: Option<(WorkflowId, Option<ConversationId>)>,
        out: &mut Vec<Correlated>,
    ) {
        let (workflow, conversation) = match known {
            Some(known) => known,
            None => (self.ambient_of(&action), None),
        };
        let mut causes = Vec::new();
        let call = action.tool.as_ref().and_then(|tool| tool.call_id.clone());
        let name = action.tool.as_ref().map(|tool| tool.name.clone());
        if let Some(id) = conversation
            && let Some(conversation) = self.conversations.get_mut(&id)
            && let Some(decision) = conversation.decisions.iter_mut().rev().find(|decision| match &call {
                Some(call) => decision.call_id.as_ref() == Some(call),
                None => !decision.answered && Some(&decision.tool) == name.as_ref(),
            })
        {
            decision.answered = true;
            causes.push(Cause { action: decision.action, why: "tool_result", confidence: 1.0 });
            causes.extend(decision.effects.iter().map(|effect| Cause { action: *effect, why: "effect_result", confidence: 0.8 }));
            if conversation.decisions.iter().all(|decision| decision.answered) {
                let agent = conversation.agent;
                self.announced.remove(agent, id, &mut conversation.announced);
                if let Some(busy) = self.busy.get_mut(&agent) {
                    busy.remove(&id);
                }
            }
        }
        let step = self.step(action, workflow, conversation, causes, None, None, true);
        out.push(Correlated::Step(Box::new(step)));
    }

    pub(super) fn ambient_of(&mut self, action: &Action) -> WorkflowId {
        let owner = self.agent_of(action.process).unwrap_or(action.process);
        if let Some(id) = self.ambient.get(&owner).copied().filter(|id| self.workflows.contains_key(id)) {
            return id;
        }
        let id = self.new_workflow(action);
        self.ambient.insert(owner, id);
        id
    }

    /// The workflow of a request that came in and whose sender is not watched: its A2A context, else one of its own.
    pub(super) fn entered(&mut self, action: &Action) -> WorkflowId {
        const MOST: usize = 65_536;
        let arguments = action.arg.expose_content();
        let context =
            ["/message/contextId", "/contextId", "/message/context_id"].iter().find_map(|at| arguments.pointer(at)?.as_str());
        if let Some(context) = context {
            if let Some(id) = self.contexts.get(context).copied().filter(|id| self.workflows.contains_key(id)) {
                return id;
            }
            let id = self.new_workflow(action);
            if self.contexts.len() < MOST {
                self.contexts.insert(context.into(), id);
            }
            return id;
        }
        if action.mcp.is_some() { self.ambient_of(action) } else { self.new_workflow(action) }
    }

    /// The nearest of the process and its ancestors that talks to a model.
    pub(super) fn agent_of(&mut self, process: ProcessKey) -> Option<ProcessKey> {
        let is_agent = |key: &ProcessKey| self.agents.contains_key(key) || self.former.is_agent(*key);
        if is_agent(&process) {
            return Some(process);
        }
        let line = self.tree.line(process.pid);
        line.into_iter().skip(1).find_map(|pid| {
            let key = self.tree.get(ProcessKey { pid, start: 0 }).key?;
            is_agent(&key).then_some(key)
        })
    }

    /// The same for something that happened then: what was done before the process was an agent may be told later.
    pub(super) fn agent_when(&mut self, process: ProcessKey, at: Timestamp) -> Option<ProcessKey> {
        let agent = self.agent_of(process)?;
        self.agents.get(&agent).is_none_or(|since| !at.is_before(*since)).then_some(agent)
    }

    #[expect(clippy::too_many_arguments, reason = "a step is what its parts say; a struct would only name them twice")]
    pub(super) fn step(
        &mut self,
        action: Box<Action>,
        id: WorkflowId,
        conversation: Option<ConversationId>,
        causes: Vec<Cause>,
        declared: Option<bool>,
        influence: Option<Arc<Influence>>,
        completed: bool,
    ) -> Step {
        let proc: Arc<Proc> = self.tree.get(action.process);
        let agent = self.agent_of(action.process).map(|agent| self.former.name(agent));
        let of_line = || self.workflows.get(&id).and_then(|line| line.conversations.last()).copied();
        let prompt =
            conversation.or_else(of_line).and_then(|id| self.conversations.get(&id)).and_then(|known| known.prompt.clone());
        let mut index = 0;
        let mut asked_by = None;
        if let Some(line) = self.workflows.get_mut(&id) {
            line.count = line.count.saturating_add(1);
            index = line.count;
            if action.inbound && line.asked_by.is_none() {
                line.asked_by.clone_from(&action.identity.user);
            }
            asked_by.clone_from(&line.asked_by);
            let workflow = &mut line.workflow;
            workflow.ended = workflow.ended.max(Some(action.time));
            if workflow.steps.len() < WORKFLOW_STEPS {
                workflow.steps.push(action.id);
                workflow.edges.extend(causes.iter().map(|cause| (cause.action, action.id, cause.why, cause.confidence)));
            }
            let user = asked_by.clone().or_else(|| action.identity.user.clone());
            workflow.user = workflow.user.take().or(user);
            workflow.tenant = workflow.tenant.take().or_else(|| action.identity.tenant.clone());
        }
        Step {
            completed,
            action: Arc::from(action),
            workflow: id,
            index,
            causes,
            proc,
            agent,
            asked_by,
            declared,
            influence,
            prompt,
        }
    }

    fn touch(&mut self, id: WorkflowId, at: Timestamp) {
        if let Some(line) = self.workflows.get_mut(&id) {
            line.workflow.ended = line.workflow.ended.max(Some(at));
        }
    }

    fn close(&mut self, id: WorkflowId, out: &mut Vec<Correlated>) {
        let Some(line) = self.workflows.remove(&id) else { return };
        for id in line.conversations {
            let Some(mut conversation) = self.conversations.remove(&id) else { continue };
            self.announced.remove(conversation.agent, id, &mut conversation.announced);
            self.remembered = self.remembered.saturating_sub(conversation.memory.size());
            conversation.keys.iter().for_each(|key| self.index.remove(key, id));
            if let Some(busy) = self.busy.get_mut(&conversation.agent) {
                busy.remove(&id);
            }
            if self.latest.get(&conversation.agent) == Some(&id) {
                self.latest.remove(&conversation.agent);
            }
        }
        out.push(Correlated::WorkflowClosed(Box::new(line.workflow)));
    }

    /// A process is gone: nothing will follow from it.
    pub(super) fn forget_process(&mut self, process: ProcessKey) {
        self.started_for.remove(&process.pid);
        self.ends.forget(process);
        self.former.forget(process.pid);
        self.resumed.remove(&process);
        self.ambient.remove(&process);
        self.busy.remove(&process);
    }

    /// What a process does is judged with what its conversation has read.
    pub(super) fn judge(&self, id: ConversationId, decision: usize, action: &Action) -> Option<Arc<Influence>> {
        let conversation = self.conversations.get(&id)?;
        let name = &conversation.decisions.get(decision)?.tool;
        Some(Arc::new(conversation.memory.judge(name, action.effect.as_deref(), action.arg.expose_content())))
    }

    pub(super) fn is_effect(action: &Action) -> bool {
        let keeps_house = action.mcp.as_ref().is_some_and(|mcp| keeps_house(&mcp.method));
        is_effect(action.kind) && (!action.inbound || action.mcp.is_some()) && !keeps_house
    }
}

/// What an MCP client and its server say to know each other: no model decides it.
fn keeps_house(method: &str) -> bool {
    let begins = ["notifications/", "logging/", "subscriptions/"].iter().any(|begin| method.starts_with(begin));
    begins || method.ends_with("/list") || matches!(method, "initialize" | "ping" | "server/discover")
}

/// Which of several answers on one connection an action is about.
fn lane(action: &Action) -> Option<Arc<str>> {
    action.llm.as_ref().and_then(|llm| llm.lane.clone())
}

/// Content of nobody: an action that this stage makes has no arguments until it is given some.
pub(super) fn nothing() -> Sensitive<crate::base::Value> {
    Sensitive::new(crate::base::Value::Null)
}
