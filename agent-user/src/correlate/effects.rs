//! Effects: what a process does is attributed to the decision, the call or the request that brought it about. Processes and files
//! become actions here, because only this stage knows which processes are agents.

use std::sync::Arc;

use super::conversation::{Fit, Sought};
use super::ends::Going;
use super::index::ConversationId;
use super::stage::{Correlate, Started, nothing};
use super::{Cause, Correlated, Step, WorkflowId};
use crate::base::{ActionId, ProcessKey, Sensitive, Timestamp, Value};
use crate::capture::{Exec, FileEffect, FileOp, Loss};
use crate::reassemble::Fact;
use crate::understand::{Action, Effect, Identity, Kind, Object};

/// A way in which an effect may have come about.
struct Candidate {
    workflow: WorkflowId,
    cause: Cause,
    decision: Option<(ConversationId, usize)>,
    /// Somebody announced it.
    declared: bool,
}

impl Candidate {
    /// A decision reached the process in this request, of which it is known so surely that the process works on it.
    fn came_through(&mut self, request: &Going, why: &'static str, sure: f32) {
        self.workflow = request.workflow;
        self.cause = Cause { action: request.action, why, confidence: self.cause.confidence.max(sure) };
    }
}

impl Correlate {
    /// What a process did: the decision that brought it about, the call or request it works on, or nothing that was announced.
    pub(super) fn effect(&mut self, action: Box<Action>, completed: bool) -> Step {
        if action.inbound {
            return self.came_in(action, completed);
        }
        let agent = self.agent_when(action.process, action.time);
        let candidates = self.candidates(agent, &action);
        let best =
            candidates.into_iter().reduce(|best, next| if next.cause.confidence > best.cause.confidence { next } else { best });
        // What the agent reports on its own is nobody's request, unless the model decided just that.
        let decided = |best: &Candidate| best.decision.is_some() && best.cause.confidence >= 0.7;
        if action.side_call && agent == Some(action.process) && !best.as_ref().is_some_and(decided) {
            let workflow = self.ambient_of(&action);
            return self.step(action, workflow, None, Vec::new(), None, None, completed);
        }
        let relevant = agent.is_some() && Correlate::is_effect(&action);
        let declared = relevant.then_some(best.as_ref().is_some_and(|best| best.declared));
        let mut influence = None;
        let mut causes = Vec::new();
        let mut conversation = None;
        let workflow = match best {
            Some(best) => {
                if let Some((id, at)) = best.decision {
                    influence = self.judge(id, at, &action);
                    conversation = Some(id);
                    // What came of it through a call is an effect of that call.
                    if let Some(known) = self.conversations.get_mut(&id)
                        && known.decisions[at].action == best.cause.action
                    {
                        known.decisions[at].brought_about(action.id);
                    }
                }
                causes.push(best.cause);
                best.workflow
            }
            // Nothing announced it: it stands in the agent's latest conversation.
            None => {
                let latest = agent
                    .filter(|_| relevant)
                    .and_then(|agent| self.latest.get(&agent))
                    .and_then(|id| self.conversations.get(id));
                match latest.map(|latest| (latest.workflow, latest.last_response)) {
                    Some((workflow, response)) => {
                        causes.extend(response.map(|action| Cause { action, why: "after", confidence: 0.2 }));
                        workflow
                    }
                    None => self.ambient_of(&action),
                }
            }
        };
        self.step(action, workflow, conversation, causes, declared, influence, completed)
    }

    /// A request that came in: what another process sent, or the beginning of something.
    fn came_in(&mut self, action: Box<Action>, completed: bool) -> Step {
        let other = self.ends.other_end(&action, &self.hash).filter(|other| self.workflows.contains_key(&other.workflow));
        if other.is_none()
            && action.mcp.is_some()
            && Correlate::is_effect(&action)
            && let Some(agent) = self.agent_when(action.process, action.time).filter(|agent| *agent != action.process)
        {
            return self.asked_of_server(agent, action, completed);
        }
        let (workflow, causes) = match other {
            Some(other) => (other.workflow, vec![Cause { action: other.action, why: other.why, confidence: other.confidence }]),
            None => (self.entered(&action), Vec::new()),
        };
        let declared = (action.mcp.is_some() && !causes.is_empty()).then_some(true);
        self.step(action, workflow, None, causes, declared, None, completed)
    }

    /// A call over the pipe between an agent and the MCP server that it started, which is read at the server's end alone: the agent's
    /// model decided it, or nobody announced it.
    fn asked_of_server(&mut self, agent: ProcessKey, action: Box<Action>, completed: bool) -> Step {
        if let Some(Candidate { workflow, cause, decision: Some((id, at)), .. }) = self.decided(agent, &action) {
            let influence = self.judge(id, at, &action);
            if let Some(known) = self.conversations.get_mut(&id) {
                known.decisions[at].brought_about(action.id);
            }
            return self.step(action, workflow, Some(id), vec![cause], Some(true), influence, completed);
        }
        let latest = self.latest.get(&agent).and_then(|id| self.conversations.get(id));
        let (workflow, causes) = match latest.map(|latest| (latest.workflow, latest.last_response)) {
            Some((workflow, response)) => {
                (workflow, response.map(|action| Cause { action, why: "after", confidence: 0.2 }).into_iter().collect())
            }
            None => (self.ambient_of(&action), Vec::new()),
        };
        self.step(action, workflow, None, causes, Some(false), None, completed)
    }

    fn candidates(&mut self, agent: Option<ProcessKey>, action: &Action) -> Vec<Candidate> {
        let mut found = Vec::new();
        let line = self.tree.line(action.process.pid);
        let mut decided = agent.and_then(|agent| self.decided(agent, action));
        let reached = decided.as_ref().map(|decided| self.brought_about(decided)).unwrap_or_default();
        // The process, or one above it, serves a request.
        let mut asked = None;
        let said = super::ends::word_prints(&action.arg.expose_content().to_json(), &self.hash);
        for (depth, pid) in line.iter().enumerate() {
            let key = if depth == 0 { Some(action.process) } else { self.tree.get(ProcessKey { pid: *pid, start: 0 }).key };
            let Some(key) = key else { continue };
            if let Some((going, confidence)) = self.ends.serving(key, action.identity.traceparent.as_deref(), &said) {
                // An agent decides for itself: the model's words tell more than the request that it serves.
                let confidence = if self.agents.contains_key(&key) { confidence.min(0.55) } else { confidence + 0.03 };
                found.push(Candidate {
                    workflow: going.workflow,
                    cause: Cause { action: going.action, why: "serving_request", confidence },
                    decision: None,
                    declared: true,
                });
                asked = Some(going.at);
                // What the agent's model decided came to a server in a request.
                if agent != Some(key)
                    && let Some(decided) = &mut decided
                    && let Some(through) = self.ends.serving_one_of(key, &reached)
                {
                    let sure = if through.action == going.action { confidence } else { 0.0 };
                    decided.came_through(through, "serving_request", sure);
                }
                break;
            }
        }
        let Some(agent) = agent.filter(|agent| *agent != action.process) else {
            found.splice(0..0, decided);
            return self.started(&line, asked, found);
        };
        // A server that the agent started before it called: the call that is open now.
        let child = line.iter().take_while(|pid| **pid != agent.pid).last().copied();
        let since = child.and_then(|pid| self.started_for.get(&pid)).map(|started| started.at);
        let calls: Vec<_> =
            self.ends.waiting(agent).iter().filter(|going| going.mcp && since.is_none_or(|at| at <= going.at)).collect();
        let single = calls.len() == 1;
        let newest = calls.last().map(|call| call.at).max(asked);
        if let Some(call) = calls.last().filter(|_| action.mcp.is_none()) {
            let confidence = if single { 0.92 } else { 0.5 };
            found.push(Candidate {
                workflow: call.workflow,
                cause: Cause { action: call.action, why: "mcp_server", confidence },
                decision: None,
                declared: true,
            });
            if let Some(decided) = decided.as_mut().filter(|decided| decided.cause.why != "serving_request")
                && let Some(through) = calls.iter().find(|call| reached.contains(&call.action))
            {
                decided.came_through(through, "mcp_server", if through.action == call.action { confidence } else { 0.0 });
            }
        }
        found.splice(0..0, decided);
        self.started(&line, newest, found)
    }

    /// A process that was started for something works on it.
    fn started(&self, line: &[u32], asked: Option<Timestamp>, mut found: Vec<Candidate>) -> Vec<Candidate> {
        let started = line.iter().find_map(|pid| self.started_for.get(pid)).copied();
        if let Some(started) = started.filter(|started| self.workflows.contains_key(&started.workflow)) {
            // A server that runs since before the request works on the request, not on what it was started for.
            let older = asked.is_some_and(|asked| started.at < asked);
            found.push(Candidate {
                workflow: started.workflow,
                cause: Cause { action: started.exec, why: "child_process", confidence: if older { 0.45 } else { 0.96 } },
                decision: None,
                declared: started.declared,
            });
        }
        found
    }

    /// The decision's action, and the effects that followed from it.
    fn brought_about(&self, decided: &Candidate) -> Vec<ActionId> {
        let decision = decided.decision.and_then(|(id, at)| self.conversations.get(&id)?.decisions.get(at));
        let effects = decision.map_or(&[][..], |decision| &decision.effects);
        [&[decided.cause.action], effects].concat()
    }

    /// The decision of the agent's model that fits best.
    fn decided(&self, agent: ProcessKey, action: &Action) -> Option<Candidate> {
        if !Correlate::is_effect(action) {
            return None;
        }
        let busy = self.busy.get(&agent)?;
        let effect = Sought::new(action);
        let found = self.announced.find(agent, busy, &effect, &self.hash).into_iter().filter_map(|id| {
            let conversation = self.conversations.get(&id)?;
            Some((conversation.cause_of(&effect)?, id, conversation.workflow))
        });
        let mut several = 0;
        let (Fit { at, mut cause, .. }, id, workflow) =
            found.inspect(|_| several += 1).max_by(|(one, ..), (other, ..)| one.order(other))?;
        if several > 1 && cause.why == "time_window" {
            cause.confidence = cause.confidence.min(0.3);
        }
        Some(Candidate { workflow, cause, decision: Some((id, at)), declared: true })
    }

    pub(super) fn fact(&mut self, ts: Timestamp, fact: Fact, out: &mut Vec<Correlated>) {
        match fact {
            Fact::Exec { process, parent, exec } => self.exec(ts, process, parent, &exec, out),
            Fact::Fork { child, parent } => self.tree.fork(child, parent.pid),
            Fact::Exit { process, .. } => {
                self.tree.exit(process.pid);
                self.forget_process(process);
            }
            Fact::File { process, effect } => self.file(ts, process, effect, out),
            Fact::Loss { process: Some(process), peer, loss } => self.blind_spot(ts, process, peer, &loss, out),
            Fact::Socket { .. } | Fact::Loss { process: None, .. } => {}
        }
    }

    /// A program started by an agent or what it started is an effect.
    fn exec(&mut self, ts: Timestamp, process: ProcessKey, parent: Option<ProcessKey>, exec: &Exec, out: &mut Vec<Correlated>) {
        let proc = self.tree.exec(process, parent.map(|parent| parent.pid), exec);
        let descends = self.agent_when(process, ts).is_some_and(|agent| agent != process);
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
        let declared = step.declared != Some(false);
        self.started_for.insert(process.pid, Started { workflow: step.workflow, exec: step.action.id, at: ts, declared });
        out.push(Correlated::Step(Box::new(step)));
    }

    fn file(&mut self, ts: Timestamp, process: ProcessKey, file: FileEffect, out: &mut Vec<Correlated>) {
        if self.agent_when(process, ts).is_none() {
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

    /// agentward on itself: something of this process is not seen.
    fn blind_spot(&mut self, ts: Timestamp, process: ProcessKey, peer: Option<Arc<str>>, loss: &Loss, out: &mut Vec<Correlated>) {
        let Some((why, what)) = loss.cause.blind_spot() else { return };
        let mut action = self.made_action(ts, Kind::SelfReport, process);
        action.op = Some(format!("blind:{why}").into());
        let mut facts = vec![("why", Value::text(why))];
        facts.extend((!what.is_empty()).then(|| ("what", Value::text(what))));
        facts.extend(peer.clone().map(|peer| ("peer", Value::Text(peer))));
        facts.extend(loss.bytes.and_then(|bytes| i64::try_from(bytes).ok()).map(|bytes| ("bytes", Value::int(bytes))));
        action.arg = Sensitive::new(Value::map(facts));
        let (kind, id) = match peer {
            Some(peer) => (Some("connection"), Some(peer)),
            None => ((!what.is_empty()).then_some("code"), (!what.is_empty()).then(|| what.into())),
        };
        action.object = kind.map(|kind| Object { kind: Some(kind.into()), id, ..Object::default() });
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
            arg: nothing(),
            result: None,
            status: None,
            http: None,
            tool: None,
            mcp: None,
            llm: None,
            system: None,
            inbound: false,
            side_call: false,
            repeats: None,
            incomplete: Vec::new(),
            anomalies: Vec::new(),
        }
    }
}
