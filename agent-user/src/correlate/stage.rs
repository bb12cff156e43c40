//! The stage: each draft finds its workflow, its causes and its place.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::conversation::{Conversation, is_effect, prints};
use super::tree::Tree;
use super::{Cause, Correlated, Influence, Proc, Step, Workflow, WorkflowId};
use crate::base::limits::{CONVERSATIONS, FINGERPRINTS_TOTAL, OPEN_ACTIONS, WORKFLOW_STEPS};
use crate::base::{ActionId, ExchangeId, KeyedHash, ProcessKey, Sensitive, Timestamp, Value};
use crate::capture::{Exec, FileEffect, FileOp};
use crate::reassemble::Fact;
use crate::understand::{Action, Claim, Draft, Effect, Identity, Kind};

/// A workflow in which nothing happens for this long is over.
const QUIET: Duration = Duration::from_secs(15 * 60);

pub struct Correlate {
    hash: KeyedHash,
    tree: Tree,
    agents: BTreeSet<ProcessKey>,
    conversations: BTreeMap<WorkflowId, Conversation>,
    /// Conversations of an agent, oldest first.
    of_agent: HashMap<ProcessKey, Vec<WorkflowId>>,
    workflows: BTreeMap<WorkflowId, Workflow>,
    /// The workflow of a process that talks to no model.
    ambient: HashMap<ProcessKey, WorkflowId>,
    /// The workflow of a model request, for its answer and its calls.
    of_exchange: BTreeMap<ExchangeId, WorkflowId>,
    /// Tool results that wait for the request they stand in.
    results: Vec<Action>,
    /// Steps whose action is not complete.
    open: BTreeMap<ActionId, Step>,
    /// What a process was started for: its workflow and the exec.
    started_for: HashMap<u32, (WorkflowId, ActionId)>,
    /// Requests that a process is serving, latest last.
    serving: HashMap<ProcessKey, Vec<ActionId>>,
    last_workflow: u64,
    /// Fingerprints of all conversations; those that may still hold some, oldest first.
    remembered: usize,
    remembering: VecDeque<WorkflowId>,
    /// Actions that this stage makes itself count down from the top, apart from those of understand.
    made: u64,
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
            agents: BTreeSet::new(),
            conversations: BTreeMap::new(),
            of_agent: HashMap::new(),
            workflows: BTreeMap::new(),
            ambient: HashMap::new(),
            of_exchange: BTreeMap::new(),
            results: Vec::new(),
            open: BTreeMap::new(),
            started_for: HashMap::new(),
            serving: HashMap::new(),
            last_workflow: 0,
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
        let quiet: Vec<WorkflowId> = self
            .workflows
            .values()
            .filter(|workflow| now.since(workflow.ended.unwrap_or(workflow.started)) > QUIET)
            .map(|workflow| workflow.id)
            .collect();
        for id in quiet {
            self.close(id, out);
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
        if self.open.len() < OPEN_ACTIONS {
            self.open.insert(step.action.id, step.clone());
        }
        if step.action.inbound {
            self.serving.entry(step.action.process).or_default().push(step.action.id);
        }
        out.push(Correlated::Step(Box::new(step)));
    }

    fn completed(&mut self, action: Box<Action>, out: &mut Vec<Correlated>) {
        if let Some(mut step) = self.open.remove(&action.id) {
            if let Some(serving) = self.serving.get_mut(&action.process) {
                serving.retain(|id| *id != action.id);
            }
            self.touch(step.workflow, action.time);
            step.completed = true;
            step.action = Arc::from(action);
            return out.push(Correlated::Step(Box::new(step)));
        }
        match action.kind {
            Kind::LlmRequest => self.model_request(action, out),
            Kind::LlmResponse => self.model_response(action, out),
            Kind::ToolCall => self.tool_call(action, out),
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
        self.agents.insert(action.process);
        let waiting = std::mem::take(&mut self.results);
        let (own, others): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|result| result.exchange == action.exchange);
        self.results = others;
        let seen = prints(&llm, &self.hash);
        let (id, known, mut causes) = if action.side_call {
            (self.new_workflow(&action), 0, Vec::new())
        } else {
            self.find_conversation(&action, &llm, &seen)
        };
        let mut by_call = BTreeMap::new();
        for result in own {
            if let Some(call) = result.tool.as_ref().and_then(|tool| tool.call_id.clone()) {
                by_call.insert(call, result.id);
            }
            causes.push(Cause { action: result.id, why: "tool_result", confidence: 1.0 });
            self.tool_result(Box::new(result), Some(id), out);
        }
        let served = self.serving.get(&action.process).and_then(|serving| serving.last()).copied();
        if let Some(request) = served.filter(|_| causes.is_empty()) {
            causes.push(Cause { action: request, why: "serving_request", confidence: 0.8 });
        }
        let asked_by = served.and_then(|request| self.open.get(&request)).and_then(|step| step.action.identity.user.clone());
        if let Some(conversation) = self.conversations.get_mut(&id) {
            let before = conversation.memory.size();
            conversation.listen(&llm, seen, known, &by_call);
            self.remembered += conversation.memory.size().saturating_sub(before);
            conversation.last_request = Some(action.id);
            conversation.last_at = action.time;
            conversation.named = llm.conversation_id.clone().or(conversation.named.take());
            conversation.asked_by = asked_by.or(conversation.asked_by.take()).or_else(|| action.identity.user.clone());
        }
        self.forget_oldest(id);
        if let Some(exchange) = action.exchange {
            self.of_exchange.insert(exchange, id);
            if self.of_exchange.len() > OPEN_ACTIONS {
                self.of_exchange.pop_first();
            }
        }
        let step = self.step(action, id, causes, None, None, true);
        out.push(Correlated::Step(Box::new(step)));
    }

    /// The conversation that a request continues, how many of its messages are known, and why.
    fn find_conversation(
        &mut self,
        action: &Action,
        llm: &crate::understand::Llm,
        seen: &[u64],
    ) -> (WorkflowId, usize, Vec<Cause>) {
        let candidates = self.of_agent.get(&action.process).cloned().unwrap_or_default();
        if let Some(previous) = &llm.previous_response_id
            && let Some(id) = candidates.iter().rev().find(|id| self.conversations[id].answered_by(previous))
        {
            let cause = self.conversations[id].last_response.map(|response| Cause {
                action: response,
                why: "response_id",
                confidence: 1.0,
            });
            return (*id, 0, cause.into_iter().collect());
        }
        if let Some(name) = &llm.conversation_id
            && let Some(id) = candidates.iter().rev().find(|id| self.conversations[id].named.as_ref() == Some(name))
        {
            let cause = self.conversations[id].last_response.map(|response| Cause {
                action: response,
                why: "conversation_id",
                confidence: 1.0,
            });
            return (*id, 0, cause.into_iter().collect());
        }
        // A first request (no turn of the model in it) that says the same words again is another conversation.
        let continues = llm.messages.iter().any(|message| message.role == crate::understand::Role::Assistant);
        let best = candidates
            .iter()
            .filter(|_| continues)
            .filter_map(|id| Some((self.conversations[id].shared(seen)?, *id)))
            .max_by_key(|(shared, id)| (*shared, self.conversations[id].last_at));
        if let Some((shared, id)) = best {
            let cause = self.conversations[&id].last_response.map(|response| Cause {
                action: response,
                why: "history_prefix",
                confidence: 0.95,
            });
            return (id, shared, cause.into_iter().collect());
        }
        (self.new_conversation(action), 0, Vec::new())
    }

    fn new_conversation(&mut self, action: &Action) -> WorkflowId {
        let id = self.new_workflow(action);
        self.conversations.insert(id, Conversation::new(action.process, self.hash.clone()));
        self.of_agent.entry(action.process).or_default().push(id);
        self.remembering.push_back(id);
        if self.conversations.len() > CONVERSATIONS
            && let Some((oldest, conversation)) = self.conversations.pop_first()
            && let Some(list) = self.of_agent.get_mut(&conversation.agent)
        {
            list.retain(|id| *id != oldest);
        }
        id
    }

    /// All conversations together keep so much; past it the oldest forgets what its tools returned.
    fn forget_oldest(&mut self, spared: WorkflowId) {
        while self.remembered > FINGERPRINTS_TOTAL
            && let Some(oldest) = self.remembering.pop_front()
        {
            if let Some(conversation) = self.conversations.get_mut(&oldest).filter(|_| oldest != spared) {
                self.remembered = self.remembered.saturating_sub(conversation.memory.size());
                conversation.memory.forget();
            }
        }
    }

    fn new_workflow(&mut self, action: &Action) -> WorkflowId {
        self.last_workflow += 1;
        let id = WorkflowId(self.last_workflow);
        let agent = self.agent_of(action.process).unwrap_or(action.process);
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
        self.workflows.insert(id, workflow);
        id
    }

    fn model_response(&mut self, action: Box<Action>, out: &mut Vec<Correlated>) {
        let id = self.of_exchange_or_ambient(&action);
        let conversation = self.conversations.get_mut(&id);
        let request = conversation.as_ref().and_then(|conversation| conversation.last_request);
        if let Some(conversation) = conversation {
            conversation.answered(&action);
        }
        let causes = request.map(|request| Cause { action: request, why: "answer", confidence: 1.0 }).into_iter().collect();
        let step = self.step(action, id, causes, None, None, true);
        out.push(Correlated::Step(Box::new(step)));
    }

    fn tool_call(&mut self, action: Box<Action>, out: &mut Vec<Correlated>) {
        let id = self.of_exchange_or_ambient(&action);
        let mut causes = Vec::new();
        let mut influence = None;
        if let Some(conversation) = self.conversations.get_mut(&id) {
            causes.extend(conversation.last_response.map(|response| Cause {
                action: response,
                why: "declared_tool_call",
                confidence: 1.0,
            }));
            let name = action.tool.as_ref().map(|tool| tool.name.clone()).unwrap_or_default();
            influence = Some(Arc::new(conversation.memory.judge(&name, action.effect.as_deref(), action.arg.expose_content())));
            conversation.decide(&action);
        }
        let step = self.step(action, id, causes, None, influence, true);
        out.push(Correlated::Step(Box::new(step)));
    }

    fn tool_result(&mut self, action: Box<Action>, id: Option<WorkflowId>, out: &mut Vec<Correlated>) {
        let id = id.unwrap_or_else(|| self.of_exchange_or_ambient(&action));
        let mut causes = Vec::new();
        let call = action.tool.as_ref().and_then(|tool| tool.call_id.clone());
        if let Some(conversation) = self.conversations.get_mut(&id)
            && let Some(decision) =
                conversation.decisions.iter_mut().rev().find(|decision| decision.call_id.is_some() && decision.call_id == call)
        {
            decision.answered = true;
            causes.push(Cause { action: decision.action, why: "tool_result", confidence: 1.0 });
            causes.extend(decision.effects.iter().map(|effect| Cause { action: *effect, why: "effect_result", confidence: 0.8 }));
        }
        let step = self.step(action, id, causes, None, None, true);
        out.push(Correlated::Step(Box::new(step)));
    }

    fn of_exchange_or_ambient(&mut self, action: &Action) -> WorkflowId {
        match action.exchange.and_then(|exchange| self.of_exchange.get(&exchange)).copied() {
            Some(id) if self.workflows.contains_key(&id) => id,
            _ => self.ambient_of(action),
        }
    }

    /// What a process did: the decision that brought it about, or the request it serves, or nothing that was announced.
    fn effect(&mut self, action: Box<Action>, completed: bool) -> Step {
        let agent = self.agent_of(action.process);
        let mut causes = Vec::new();
        let mut declared = None;
        let mut influence = None;
        let mut workflow = None;
        let line = self.tree.line(action.process.pid);
        let started =
            line.iter().find_map(|pid| self.started_for.get(pid)).copied().filter(|(id, _)| self.workflows.contains_key(id));
        if let Some((id, exec)) = started.filter(|_| action.kind != Kind::McpRequest) {
            causes.push(Cause { action: exec, why: "child_process", confidence: 0.9 });
            workflow = Some(id);
        }
        if let Some(request) = self.serving.get(&action.process).and_then(|serving| serving.last()).copied()
            && let Some(step) = self.open.get(&request)
        {
            causes.push(Cause { action: request, why: "serving_request", confidence: 0.8 });
            workflow = Some(step.workflow);
        }
        if let Some(agent) = agent.filter(|_| is_effect(action.kind) && (!action.inbound || action.kind == Kind::McpRequest)) {
            let found = self.decision_for(agent, &action);
            declared = Some(found.is_some() || workflow.is_some());
            if let Some((id, at, cause)) = found.filter(|_| workflow.is_none()) {
                if let Some(conversation) = self.conversations.get_mut(&id) {
                    conversation.decisions[at].effects.push(action.id);
                    let name = conversation.decisions[at].tool.clone();
                    influence =
                        Some(Arc::new(conversation.memory.judge(&name, action.effect.as_deref(), action.arg.expose_content())));
                }
                causes.push(cause);
                workflow = Some(id);
            }
            // Nothing announced it: it stands in the agent's latest conversation.
            let latest = || {
                self.of_agent.get(&agent).and_then(|list| list.iter().max_by_key(|id| self.conversations[id].last_at)).copied()
            };
            workflow = workflow.or_else(latest);
        }
        let id = workflow.unwrap_or_else(|| self.ambient_of(&action));
        self.step(action, id, causes, declared, influence, completed)
    }

    fn decision_for(&self, agent: ProcessKey, action: &Action) -> Option<(WorkflowId, usize, Cause)> {
        let list = self.of_agent.get(&agent)?;
        let found = list.iter().filter_map(|id| {
            let conversation = self.conversations.get(id)?;
            let (at, cause) = conversation.cause_of(action)?;
            Some((conversation.decisions[at].at, *id, at, cause))
        });
        found
            .max_by(|one, other| one.3.confidence.total_cmp(&other.3.confidence).then(one.0.cmp(&other.0)))
            .map(|(_, id, at, cause)| (id, at, cause))
    }

    fn ambient_of(&mut self, action: &Action) -> WorkflowId {
        let owner = self.agent_of(action.process).unwrap_or(action.process);
        if let Some(id) = self.ambient.get(&owner).copied().filter(|id| self.workflows.contains_key(id)) {
            return id;
        }
        let id = self.new_workflow(action);
        self.ambient.insert(owner, id);
        id
    }

    /// The nearest of the process and its ancestors that talks to a model.
    fn agent_of(&mut self, process: ProcessKey) -> Option<ProcessKey> {
        if self.agents.contains(&process) {
            return Some(process);
        }
        let line = self.tree.line(process.pid);
        line.into_iter().skip(1).find_map(|pid| {
            let key = self.tree.get(ProcessKey { pid, start: 0 }).key?;
            self.agents.contains(&key).then_some(key)
        })
    }

    fn step(
        &mut self,
        action: Box<Action>,
        id: WorkflowId,
        causes: Vec<Cause>,
        declared: Option<bool>,
        influence: Option<Arc<Influence>>,
        completed: bool,
    ) -> Step {
        let proc: Arc<Proc> = self.tree.get(action.process);
        let agent = self.agent_of(action.process);
        let conversation = self.conversations.get(&id);
        let asked_by: Option<Claim> = conversation.and_then(|conversation| conversation.asked_by.clone());
        let prompt = conversation.and_then(|conversation| conversation.prompt.clone());
        let mut index = 0;
        if let Some(workflow) = self.workflows.get_mut(&id) {
            index = u32::try_from(workflow.steps.len()).unwrap_or(u32::MAX).saturating_add(1);
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
        if let Some(workflow) = self.workflows.get_mut(&id) {
            workflow.ended = workflow.ended.max(Some(at));
        }
    }

    fn close(&mut self, id: WorkflowId, out: &mut Vec<Correlated>) {
        if let Some(conversation) = self.conversations.remove(&id)
            && {
                self.remembered = self.remembered.saturating_sub(conversation.memory.size());
                true
            }
            && let Some(list) = self.of_agent.get_mut(&conversation.agent)
        {
            list.retain(|other| *other != id);
        }
        self.ambient.retain(|_, other| *other != id);
        if let Some(workflow) = self.workflows.remove(&id) {
            out.push(Correlated::WorkflowClosed(Box::new(workflow)));
        }
    }

    fn fact(&mut self, ts: Timestamp, fact: Fact, out: &mut Vec<Correlated>) {
        match fact {
            Fact::Exec { process, parent, exec } => self.exec(ts, process, parent, &exec, out),
            Fact::Fork { child, parent } => self.tree.fork(child, parent.pid),
            Fact::Exit { process, .. } => {
                self.tree.exit(process.pid);
                self.started_for.remove(&process.pid);
                self.serving.remove(&process);
            }
            Fact::File { process, effect } => self.file(ts, process, effect, out),
            Fact::Socket { .. } | Fact::Loss(_) => {}
        }
    }

    /// A program started by an agent or what it started is an effect.
    fn exec(&mut self, ts: Timestamp, process: ProcessKey, parent: Option<ProcessKey>, exec: &Exec, out: &mut Vec<Correlated>) {
        let proc = self.tree.exec(process, parent.map(|parent| parent.pid), exec);
        let descends = self.agent_of(process).is_some_and(|agent| agent != process);
        if !descends {
            return;
        }
        let argv = exec.argv.expose_content();
        let name = proc.name.clone().unwrap_or_default();
        let mut action = self.made_action(ts, Kind::ProcessExec, process);
        action.op = Some(format!("exec:{name}").into());
        action.effect = Some("exec".into());
        action.arg =
            Sensitive::new(Value::map([("exe", Value::text(exec.exe.clone())), ("command", Value::text(argv.join(" ")))]));
        action.system =
            Some(Effect { exe: Some(exec.exe.clone()), argv: exec.argv.clone(), path: None, to: None, op: "exec", peer: None });
        let step = self.effect(Box::new(action), true);
        self.started_for.insert(process.pid, (step.workflow, step.action.id));
        out.push(Correlated::Step(Box::new(step)));
    }

    fn file(&mut self, ts: Timestamp, process: ProcessKey, file: FileEffect, out: &mut Vec<Correlated>) {
        if self.agent_of(process).is_none() {
            return;
        }
        let op = match file.op {
            FileOp::Create => "create",
            FileOp::Write => "write",
            FileOp::Rename => "rename",
            FileOp::Unlink => "unlink",
        };
        let mut action = self.made_action(ts, Kind::FileWrite, process);
        action.op = Some(format!("file:{op}").into());
        action.effect = Some(if file.op == FileOp::Unlink { "delete" } else { "write" }.into());
        action.arg = Sensitive::new(Value::map([("path", Value::text(file.path.clone()))]));
        action.system =
            Some(Effect { exe: None, argv: Sensitive::default(), path: Some(file.path), to: file.to, op, peer: None });
        let step = self.effect(Box::new(action), true);
        out.push(Correlated::Step(Box::new(step)));
    }

    fn made_action(&mut self, time: Timestamp, kind: Kind, process: ProcessKey) -> Action {
        self.made += 1;
        Action {
            id: ActionId(ActionId::EFFECTS + self.made),
            time,
            kind,
            process,
            flow: None,
            exchange: None,
            op: None,
            effect: None,
            identity: Identity::default(),
            object: None,
            arg: Sensitive::new(Value::Null),
            result: None,
            status: None,
            http: None,
            tool: None,
            mcp: None,
            llm: None,
            system: None,
            inbound: false,
            side_call: false,
            incomplete: Vec::new(),
            anomalies: Vec::new(),
        }
    }
}
