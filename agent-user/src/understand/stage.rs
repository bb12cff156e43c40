//! The stage itself: which reader a message goes to, and what waits for its answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;

use super::calls::{Known, server_key};
use super::llm::Dialect;
use super::ownership::Owners;
use super::paths::{self, Paths, Segments};
use super::retry::Retries;
use super::rpc::{self, Protocol};
use super::socket::{self, Said, Socket};
use super::sources::{Asked, HostSources};
use super::streams::{self, Streams};
use super::{Action, Draft, Effect, Kind, Llm, Tool, api, call_of, identity, memory, side, words};
use crate::base::limits::OPEN_ACTIONS;
use crate::base::{ActionId, Direction, ExchangeId, Incomplete, KeyedHash, ProcessKey, Sensitive, Timestamp, Value};
use crate::capture::{Role as End, Source};
use crate::decode::{Exchange, Frame, HttpEvent, Opcode, Request, Response, json};
use crate::reassemble::Flow;

/// Names of servers and hashes of tools that are remembered.
pub(super) const NAMES: usize = 16_384;

pub struct Understand {
    pub(super) hash: KeyedHash,
    last: u64,
    open: BTreeMap<ExchangeId, Open>,
    /// MCP servers by session, address or pipe; hashes of their tools, by the server's name.
    pub(super) servers: IndexMap<Arc<str>, Known>,
    pub(super) tools: IndexMap<(Arc<str>, Arc<str>), Arc<str>>,
    pub(super) streams: Streams,
    /// Names of the tools that models called, by process and id: a request that only continues an answer has results without their calls.
    declared: IndexMap<(ProcessKey, Arc<str>), Arc<str>>,
    owners: Owners,
    retries: Retries,
    paths: Paths,
    /// Of the vocabulary, the more particular first.
    sources: Arc<[HostSources]>,
    /// Calls whose server asked the user something, until they are sent again with the answer.
    pub(super) held: BTreeMap<String, Box<Action>>,
    /// Connections that carry a model API, until they close.
    sockets: BTreeMap<ExchangeId, Socket>,
}

impl Default for Understand {
    /// With a fixed key: fingerprints repeat from run to run.
    fn default() -> Understand {
        Understand::new(KeyedHash::new([0; 16]))
    }
}

/// How an exchange went.
struct Settled {
    status: u16,
    begun: Timestamp,
    incomplete: Vec<Incomplete>,
    anomalies: Vec<crate::base::Anomaly>,
}

/// A request whose answer is to come.
enum Open {
    Llm {
        dialect: Dialect,
        request: Box<Action>,
    },
    /// `key` names the server, and the streams in which it may answer.
    Rpc {
        call: rpc::Call,
        action: Box<Action>,
        key: Arc<str>,
    },
    Api {
        action: Box<Action>,
    },
    /// A notification, or the answer of another call: nothing of it is to come.
    Said,
}

impl Understand {
    pub fn new(hash: KeyedHash) -> Understand {
        Understand {
            hash,
            last: 0,
            open: BTreeMap::new(),
            servers: IndexMap::new(),
            tools: IndexMap::new(),
            streams: Streams::default(),
            declared: IndexMap::new(),
            owners: Owners::default(),
            retries: Retries::default(),
            paths: Paths::default(),
            sources: Arc::default(),
            held: BTreeMap::new(),
            sockets: BTreeMap::new(),
        }
    }

    /// Later requests of these hosts say by these sources who acts.
    pub fn set_sources(&mut self, sources: Arc<[HostSources]>) {
        self.sources = sources;
    }

    pub fn push(&mut self, event: HttpEvent, out: &mut Vec<Draft>) {
        match event {
            HttpEvent::Request { id, flow, request, .. } => {
                if socket::speaks(&request) && flow.role != Some(End::Server) {
                    self.sockets.insert(id, Socket::new(request.clone(), flow.clone()));
                    if self.sockets.len() > OPEN_ACTIONS {
                        self.sockets.pop_first();
                    }
                }
                self.request(id, &flow, &request, out);
                match self.open.get(&id) {
                    Some(Open::Rpc { call, action, .. }) if call.protocol == Protocol::Mcp && streams::takes_events(&request) => {
                        self.streams.expect(id, &flow, &request, action.mcp.as_ref());
                    }
                    Some(Open::Api { .. }) if &*request.method == "GET" && streams::takes_events(&request) => {
                        self.streams.expect(id, &flow, &request, None);
                    }
                    _ => {}
                }
            }
            HttpEvent::Done { ts, exchange } => self.done(ts, &exchange, out),
            HttpEvent::Fact { ts, fact } => out.push(Draft::Fact { ts, fact }),
            HttpEvent::Frame { id, ts, dir, frame: Frame::WebSocket { opcode: Opcode::Text, body, .. }, .. } => {
                self.message(id, ts, dir, body.kept.expose_content(), out);
            }
            HttpEvent::Frame { id, ts, frame: Frame::Sse { event, data, .. }, .. } => {
                self.server_says(id, ts, event.as_deref(), data.expose_content(), out);
            }
            HttpEvent::FlowClosed { flow, .. } => self.sockets.retain(|_, socket| socket.flow.id != flow.id),
            HttpEvent::ResponseHead { .. } | HttpEvent::Frame { .. } | HttpEvent::Anomaly { .. } => {}
        }
    }

    pub fn tick(&mut self, _now: Timestamp, _out: &mut Vec<Draft>) {}

    pub fn finish(&mut self, _now: Timestamp, out: &mut Vec<Draft>) {
        for (_, action) in std::mem::take(&mut self.held) {
            out.push(Draft::Completed(action));
        }
        for (_, open) in std::mem::take(&mut self.open) {
            self.give_up(open, Incomplete::RESPONSE_MISSING, out);
        }
        for action in self.streams.finish() {
            unanswered(Box::new(action), Incomplete::RESPONSE_MISSING, out);
        }
    }

    fn next_id(&mut self) -> ActionId {
        self.last += 1;
        ActionId(self.last)
    }

    fn request(&mut self, id: ExchangeId, flow: &Arc<Flow>, request: &Request, out: &mut Vec<Draft>) {
        if self.open.contains_key(&id) {
            return;
        }
        let body = api::body(&request.headers, &request.body);
        let stdio = flow.source == Source::Stdio || request.host.is_empty();
        let mut action = self.action(request.ts, Kind::ApiRequest, flow, Some(id));
        action.identity = identity::of(&request.headers, &self.hash);
        let mut segments = Segments::of(&request.path);
        let mut template = segments.template(&request.path);
        if !request.host.is_empty() {
            action.http = Some(api::http(request, flow, template.clone()));
        }
        if !request.body.complete {
            action.incomplete.push(Incomplete::REQUEST_CUT);
        }
        let empty = Value::Null;
        let value = body.as_ref().unwrap_or(&empty);
        if let Some(host) = self.sources.iter().find(|known| known.speaks_of(&request.host)) {
            let claims = identity::claims(&request.headers);
            let asked = Asked { request, flow, body: value, claims, inbound: action.inbound };
            host.apply(&mut action.identity, &asked);
        }
        // The serving side of a model call is an ordinary request that came in: the decisions are its caller's.
        if let Some(dialect) = Dialect::of(&request.method, &request.path, value).filter(|_| !action.inbound) {
            return self.model_request(dialect, action, request, value, id, out);
        }
        if let Some(call) = rpc::call(request, value, stdio) {
            let key = server_key(flow, request);
            rpc::describe(&mut action, &call, request);
            action.anomalies.extend(rpc::mismatch(&call, request));
            if let Some(answers) = call.params.get("inputResponses")
                && let Some(first) = rpc::continued(&call, None).and_then(|key| self.held.remove(&key))
            {
                // The same call again, with what the user said: an approval, then the rest of the first call.
                action.op = Some(rpc::ELICITATION.into());
                action.effect = Some("approve".into());
                action.arg = Sensitive::new(first.arg.expose_content().clone());
                action.result = Some(Sensitive::new(rpc::answered(answers)));
                self.name_server(&mut action, &key, request);
                out.push(Draft::Completed(Box::new(action)));
                return self.wait(id, Open::Rpc { call, action: first, key }, out);
            }
            self.know_owner(&mut action);
            self.name_server(&mut action, &key, request);
            let server = action.mcp.as_ref().and_then(|mcp| mcp.server.as_deref());
            if action.tool.as_ref().is_some_and(|tool| memory::writes(&tool.name, server)) {
                remembers(&mut action);
            }
            action.repeats = self.retries.of(&action, &request.headers, &call.params, &self.hash);
            let notification = call.id.is_none();
            if notification {
                out.push(Draft::Completed(Box::new(action)));
                return self.wait(id, Open::Said, out);
            }
            out.push(Draft::Opened(Box::new(action.clone())));
            return self.wait(id, Open::Rpc { call, action: Box::new(action), key }, out);
        }
        if self.client_answers(flow, request, value, out) {
            return self.wait(id, Open::Said, out);
        }
        let arguments = api::arguments(request);
        if self.paths.read(&request.host, &mut segments, &self.hash) {
            template = segments.template(&request.path);
            if let Some(http) = &mut action.http {
                http.template = Some(template.clone());
            }
        }
        if segments.full {
            action.anomalies.push(paths::FULL);
        }
        action.object = api::object(&request.path, segments.last_object(), arguments.expose_content());
        self.know_owner(&mut action);
        action.op = Some(format!("{} {}{template}", request.method, request.host).into());
        let effect = if api::asks_for_token(arguments.expose_content()) {
            "read"
        } else {
            words::effect_of_call(&request.method, &request.path)
        };
        action.effect = Some(effect.into());
        if let Some(op) = rpc::a2a_over_http(request, value) {
            action.kind = Kind::A2aRequest;
            action.effect = Some(rpc::effect_of_a2a(op).into());
            action.op = Some(format!("a2a:{op}").into());
        }
        action.side_call = !action.inbound && side::reports(request, value);
        action.arg = arguments;
        if !action.inbound && memory::stores(&request.method, &request.host, &request.path) {
            remembers(&mut action);
        }
        action.repeats = self.retries.of(&action, &request.headers, &Value::Null, &self.hash);
        out.push(Draft::Opened(Box::new(action.clone())));
        self.wait(id, Open::Api { action: Box::new(action) }, out);
    }

    fn model_request(
        &mut self,
        dialect: Dialect,
        action: Action,
        request: &Request,
        body: &Value,
        id: ExchangeId,
        out: &mut Vec<Draft>,
    ) {
        let llm = dialect.request(request, body);
        let asked = self.asked(action, llm, out);
        self.wait(id, Open::Llm { dialect, request: asked }, out);
    }

    /// A message of a model API over WebSocket.
    fn message(&mut self, id: ExchangeId, ts: Timestamp, dir: Direction, bytes: &[u8], out: &mut Vec<Draft>) {
        let Some(mut socket) = self.sockets.remove(&id) else { return };
        let said = json::parse(bytes).value.and_then(|value| socket.read(&value, dir == Direction::Out));
        match said {
            Some((lane, Said::Asked(mut llm))) => {
                let request = socket.request.clone();
                let mut action = self.action(ts, Kind::LlmRequest, &socket.flow, Some(id));
                action.identity = identity::of(&request.headers, &self.hash);
                let template = Segments::of(&request.path).template(&request.path);
                action.http = Some(api::http(&request, &socket.flow, template));
                llm.provider = Some(Dialect::Responses.provider(&request.host));
                llm.lane = (!lane.is_empty()).then(|| lane.clone());
                let asked = self.asked(action, *llm, out);
                socket.waits(lane, asked);
            }
            Some((lane, Said::Answered(llm))) => {
                if let Some(asked) = socket.asked(&lane) {
                    self.answered(&asked, *llm, ts, None, out);
                }
            }
            None => {}
        }
        self.sockets.insert(id, socket);
    }

    /// Hands on a model's request, the tool results in it first.
    fn asked(&mut self, mut action: Action, mut llm: Llm, out: &mut Vec<Draft>) -> Box<Action> {
        let results = new_results(&llm);
        action.kind = Kind::LlmRequest;
        action.op = llm.model.as_ref().map(|model| format!("llm:{model}").into());
        action.effect = Some("read".into());
        action.side_call = side::asks(&llm);
        let mut drafts = Vec::new();
        for at in results {
            let name = self.tool_of(action.process, &llm.messages, at);
            // Later stages need not look for it again.
            llm.messages[at].tool_name.clone_from(&name);
            let message = &llm.messages[at];
            let mut result = Action { id: self.next_id(), kind: Kind::ToolResult, http: None, ..action.clone() };
            result.tool = Some(Tool {
                name: name.clone().unwrap_or_else(|| "?".into()),
                call_id: message.answers.clone(),
                ..Tool::default()
            });
            result.op = name.map(|name| format!("tool:{name}").into());
            tell_result(&mut result, message);
            self.settle_owner(&mut result);
            drafts.push(Draft::Completed(Box::new(result)));
        }
        // The results stand in the request: they come before it.
        out.append(&mut drafts);
        action.id = self.next_id();
        action.llm = Some(Box::new(llm));
        out.push(Draft::Completed(Box::new(action.clone())));
        Box::new(action)
    }

    /// The tool whose result a message is: as it says itself, by the call that it answers, or by an answer of before.
    fn tool_of(&self, process: ProcessKey, messages: &[super::Message], at: usize) -> Option<Arc<str>> {
        let message = &messages[at];
        let before = || self.declared.get(&(process, message.answers.clone()?)).cloned();
        message.tool_name.clone().or_else(|| Some(call_of(messages, at)?.name.clone())).or_else(before)
    }

    fn done(&mut self, ts: Timestamp, exchange: &Arc<Exchange>, out: &mut Vec<Draft>) {
        if !self.open.contains_key(&exchange.id)
            && let Some(request) = &exchange.request
        {
            self.request(exchange.id, &exchange.flow, request, out);
        }
        match (self.open.remove(&exchange.id), &exchange.response) {
            (Some(Open::Llm { dialect, request }), Some(response)) => {
                self.model_response(dialect, &request, response, exchange, out)
            }
            (Some(Open::Rpc { call, action, key }), Some(response)) => {
                self.rpc_answer(call, action, &key, response, exchange, out);
            }
            (Some(Open::Api { mut action }), Some(response)) => {
                settle(&mut action, exchange);
                action.status = Some(response.status).filter(|status| *status != 0);
                action.result = api::body(&response.headers, &response.body).map(Sensitive::new);
                self.settle_owner(&mut action);
                out.push(Draft::Completed(action));
            }
            (Some(Open::Said), _) => {}
            (Some(open), None) => self.give_up(open, missing(exchange), out),
            (None, Some(response)) if exchange.request.is_none() => {
                let mut action = self.action(response.ts, Kind::ApiResponse, &exchange.flow, Some(exchange.id));
                settle(&mut action, exchange);
                action.status = Some(response.status).filter(|status| *status != 0);
                action.result = api::body(&response.headers, &response.body).map(Sensitive::new);
                out.push(Draft::Completed(Box::new(action)));
            }
            (None, _) => {}
        }
        for action in self.streams.ended(exchange.id) {
            unanswered(Box::new(action), Incomplete::RESPONSE_MISSING, out);
        }
        out.push(Draft::Exchange { ts, exchange: exchange.clone() });
    }

    fn model_response(
        &mut self,
        dialect: Dialect,
        request: &Action,
        response: &Response,
        exchange: &Exchange,
        out: &mut Vec<Draft>,
    ) {
        let llm = dialect.response(response);
        let settled = Settled {
            status: response.status,
            begun: response.ts,
            incomplete: exchange.incomplete.clone(),
            anomalies: exchange.anomalies.clone(),
        };
        self.answered(request, llm, response.ended.max(response.ts), Some(settled), out);
    }

    /// Hands on a model's answer and the calls that it declares.
    fn answered(&mut self, request: &Action, mut llm: Llm, at: Timestamp, settled: Option<Settled>, out: &mut Vec<Draft>) {
        let asked = request.llm.as_deref();
        llm.lane = asked.and_then(|asked| asked.lane.clone());
        let settled = settled.unwrap_or_else(|| Settled { status: 0, begun: at, incomplete: Vec::new(), anomalies: Vec::new() });
        llm.provider = asked.and_then(|asked| asked.provider.clone());
        llm.model = llm.model.or_else(|| asked.and_then(|asked| asked.model.clone()));
        let calls = llm.tool_calls.clone();
        let mut action = Action {
            id: self.next_id(),
            time: settled.begun,
            kind: Kind::LlmResponse,
            status: Some(settled.status).filter(|status| *status != 0),
            incomplete: settled.incomplete,
            anomalies: settled.anomalies,
            ..request.clone()
        };
        action.llm = Some(Box::new(llm.clone()));
        out.push(Draft::Completed(Box::new(action.clone())));
        for call in calls {
            if let Some(id) = &call.id {
                self.declared.insert((action.process, id.clone()), call.name.clone());
                if self.declared.len() > OPEN_ACTIONS {
                    self.declared.swap_remove_index(0);
                }
            }
            let offered = asked.and_then(|asked| asked.tools.iter().find(|tool| tool.name == call.name));
            let mut declared = Action { id: self.next_id(), time: at, kind: Kind::ToolCall, status: None, ..action.clone() };
            declared.http = None;
            declared.op = Some(format!("tool:{}", call.name).into());
            declared.effect = words::effect_of_tool(&call.name).map(Arc::from);
            declared.object = api::argument_id(call.arguments.expose_content()).map(|(kind, id)| super::Object {
                kind: Some(kind.into()),
                id: Some(id.into()),
                ..super::Object::default()
            });
            self.know_owner(&mut declared);
            declared.tool = Some(Tool {
                name: call.name.clone(),
                schema_hash: offered.and_then(|tool| tool.schema_hash.clone()),
                call_id: call.id.clone(),
                ..Tool::default()
            });
            if call.partial {
                declared.incomplete.push(Incomplete::RESPONSE_CUT);
            }
            declared.arg = call.arguments.clone();
            declared.llm = Some(Box::new(Llm {
                model: llm.model.clone(),
                provider: llm.provider.clone(),
                lane: llm.lane.clone(),
                ..Llm::default()
            }));
            // What the provider ran has its result in the same answer: later calls of the answer may follow from it.
            let given = llm.results.iter().find(|result| call.id.is_some() && result.answers == call.id);
            let template = given.is_some().then(|| declared.clone());
            out.push(Draft::Completed(Box::new(declared)));
            if let Some((given, template)) = given.zip(template) {
                let mut result = Action { id: self.next_id(), arg: Sensitive::new(Value::map::<&str>([])), ..template };
                tell_result(&mut result, given);
                self.settle_owner(&mut result);
                out.push(Draft::Completed(Box::new(result)));
            }
        }
    }

    /// Where the ids of an action count: at its host, its MCP server, or among the tools of its process.
    fn place(action: &Action) -> Arc<str> {
        let tools = || format!("tools of {}@{}", action.process.pid, action.process.start).into();
        let server = action.mcp.as_ref().and_then(|mcp| mcp.server.clone());
        server
            .or_else(|| action.http.as_ref().map(|http| http.host.clone()).filter(|host| !host.is_empty()))
            .unwrap_or_else(tools)
    }

    fn know_owner(&self, action: &mut Action) {
        let place = Understand::place(action);
        if let Some(object) = &mut action.object {
            self.owners.fill(&place, object);
        }
    }

    /// Learns from an answer that was given, then fills in what it says of the call's own object.
    pub(super) fn settle_owner(&mut self, action: &mut Action) {
        if action.status.is_none_or(|status| (200..300).contains(&status))
            && let Some(result) = &action.result
        {
            let place = Understand::place(action);
            self.owners.learn(&place, action.object.as_ref(), result.expose_content());
        }
        self.know_owner(action);
    }

    /// The answer will not come by the exchange itself. A model's request was handed on when it was seen.
    fn give_up(&mut self, open: Open, reason: Incomplete, out: &mut Vec<Draft>) {
        match open {
            Open::Llm { .. } | Open::Said => {}
            Open::Api { action } => unanswered(action, reason, out),
            Open::Rpc { call, action, key } => match self.streams.early(&action, &call, &key) {
                Some(answer) => self.answered_by(&call, action, answer, &key, out),
                None => unanswered(action, reason, out),
            },
        }
    }

    fn wait(&mut self, id: ExchangeId, open: Open, out: &mut Vec<Draft>) {
        self.open.insert(id, open);
        if self.open.len() > OPEN_ACTIONS
            && let Some((_, oldest)) = self.open.pop_first()
        {
            self.give_up(oldest, Incomplete::EVICTED, out);
        }
    }

    pub(super) fn action(&mut self, time: Timestamp, kind: Kind, flow: &Arc<Flow>, exchange: Option<ExchangeId>) -> Action {
        Action {
            id: self.next_id(),
            time,
            kind,
            process: flow.process,
            flow: Some(flow.clone()),
            exchange,
            op: None,
            effect: None,
            identity: super::Identity::default(),
            object: None,
            arg: Sensitive::new(Value::map::<&str>([])),
            result: None,
            status: None,
            http: None,
            tool: None,
            mcp: None,
            llm: None,
            system: None::<Effect>,
            inbound: flow.role == Some(End::Server),
            side_call: false,
            repeats: None,
            incomplete: Vec::new(),
            anomalies: Vec::new(),
        }
    }
}

fn tell_result(result: &mut Action, message: &super::Message) {
    result.kind = Kind::ToolResult;
    result.effect = Some("read".into());
    let text = message.text.expose_content();
    let value = json::parse(text.as_bytes()).value.unwrap_or_else(|| Value::Text(text.clone()));
    result.result = Some(Sensitive::new(value));
}

/// What is kept for later conversations is written, whatever the call's name sounds like.
fn remembers(action: &mut Action) {
    action.kind = Kind::MemoryWrite;
    if action.effect.as_deref().is_none_or(|effect| effect == "read") {
        action.effect = Some("write".into());
    }
}

/// Tool messages after the model's last turn: the history before it was sent with earlier requests.
fn new_results(llm: &Llm) -> Vec<usize> {
    use super::Role;
    let last_turn = llm.messages.iter().rposition(|message| message.role == Role::Assistant);
    let from = last_turn.map_or(0, |at| at + 1);
    (from..llm.messages.len()).filter(|at| llm.messages[*at].role == Role::Tool).collect()
}

pub(super) fn settle(action: &mut Action, exchange: &Exchange) {
    action.incomplete.clone_from(&exchange.incomplete);
    action.anomalies.extend(exchange.anomalies.iter().cloned());
}

fn missing(exchange: &Exchange) -> Incomplete {
    exchange.incomplete.first().cloned().unwrap_or(Incomplete::RESPONSE_MISSING)
}

pub(super) fn unanswered(mut action: Box<Action>, reason: Incomplete, out: &mut Vec<Draft>) {
    if !action.incomplete.contains(&reason) {
        action.incomplete.push(reason);
    }
    out.push(Draft::Completed(action));
}
