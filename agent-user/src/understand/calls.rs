//! The part of the stage that reads JSON-RPC calls: their answers wherever they come, what servers say of their own, and what answers
//! teach of servers and tools.

use std::sync::Arc;

use super::paths::Segments;
use super::rpc::{self, Protocol};
use super::stage::{NAMES, Understand, settle, unanswered};
use super::streams::{self, Asker, Place, SESSION, Stream};
use super::{Action, Draft, Kind, api, identity};
use crate::base::limits::OPEN_ACTIONS;
use crate::base::{ExchangeId, Incomplete, Sensitive, Timestamp, Value};
use crate::decode::jsonrpc::{Message, messages};
use crate::decode::{Exchange, Request, Response, json};
use crate::reassemble::Flow;

impl Understand {
    pub(super) fn rpc_answer(
        &mut self,
        call: rpc::Call,
        mut action: Box<Action>,
        key: &Arc<str>,
        response: &Response,
        exchange: &Exchange,
        out: &mut Vec<Draft>,
    ) {
        settle(&mut action, exchange);
        action.status = Some(response.status).filter(|status| *status != 0);
        if let Some(mcp) = &mut action.mcp {
            mcp.session = mcp.session.take().or_else(|| rpc::text(&response.headers, SESSION));
        }
        if let Some(answer) = rpc::answer(&call, response) {
            // The answer to a handshake names the session that it begins.
            let key = action.mcp.as_ref().and_then(|mcp| mcp.session.clone()).unwrap_or_else(|| key.clone());
            return self.answered_by(&call, action, answer, &key, out);
        }
        if let Some(answer) = self.streams.early(&action, &call, key) {
            return self.answered_by(&call, action, answer, key, out);
        }
        // The answer comes in the one stream of all answers, or in one that goes on where this one stopped.
        let elsewhere = match response.status {
            202 => self.streams.listens(action.process, key),
            _ => response.events > 0 && response.body.complete,
        };
        if let (true, Protocol::Mcp, Some(id)) = (elsewhere, call.protocol, call.id.clone()) {
            self.streams.wait(Place::of(&action, key.clone(), id), call, action);
            return self.bound_streams(out);
        }
        let said = response.status == 0 || (200..300).contains(&response.status);
        match said {
            true => unanswered(action, Incomplete::RESPONSE_MISSING, out),
            false => out.push(Draft::Completed(action)),
        }
    }

    pub(super) fn answered_by(
        &mut self,
        call: &rpc::Call,
        mut action: Box<Action>,
        answer: rpc::Answer,
        key: &Arc<str>,
        out: &mut Vec<Draft>,
    ) {
        if let Some(mcp) = &mut action.mcp {
            mcp.is_error = Some(answer.is_error);
        }
        if rpc::wants_input(&answer.result)
            && self.held.len() < OPEN_ACTIONS
            && let Some(key) = rpc::continued(call, Some(&answer.result))
        {
            self.held.insert(key, action);
            return;
        }
        self.learn(call, &mut action, &answer.result, key);
        action.result = Some(Sensitive::new(answer.result));
        self.settle_owner(&mut action);
        out.push(Draft::Completed(action));
    }

    /// A message in an event stream: of the server's own, or an answer to a call that another exchange carried.
    pub(super) fn server_says(&mut self, id: ExchangeId, ts: Timestamp, event: Option<&str>, data: &[u8], out: &mut Vec<Draft>) {
        let Some(stream) = self.streams.at(id, event, data) else { return };
        let Some(value) = json::parse(data).value else { return };
        for message in messages(&value) {
            match message {
                Message::Request { id: asked, method, params } => {
                    let call = rpc::Call::new(Protocol::Mcp, Some(asked), method, params);
                    self.server_asks(id, ts, &stream, call, out);
                }
                Message::Notification { method, params } => {
                    let call = rpc::Call::new(Protocol::Mcp, None, method, params);
                    self.server_asks(id, ts, &stream, call, out);
                }
                Message::Response { .. } => {
                    let Some((answered, answer)) = rpc::Answer::of(&message).filter(|(id, _)| !stream.is_own(id)) else {
                        continue;
                    };
                    let place = stream.place(Asker::Client, answered);
                    if let Some((call, action, answer)) = self.streams.answer(place, answer, true) {
                        self.answered_by(&call, action, answer, &stream.session, out);
                    }
                }
            }
        }
        self.bound_streams(out);
    }

    fn server_asks(&mut self, id: ExchangeId, ts: Timestamp, stream: &Stream, call: rpc::Call, out: &mut Vec<Draft>) {
        let place = call.id.clone().map(|asked| stream.place(Asker::Server, asked));
        if place.as_ref().is_some_and(|place| self.streams.waits(place)) {
            return;
        }
        let request = &stream.request;
        let mut action = self.action(ts, Kind::McpRequest, &stream.flow, Some(id));
        action.identity = identity::of(&request.headers, &self.hash);
        let template = Segments::of(&request.path).template(&request.path);
        action.http = Some(api::http(request, &stream.flow, template));
        rpc::describe(&mut action, &call, request);
        if let (Some(mcp), Some(own)) = (&mut action.mcp, &stream.own) {
            mcp.version = mcp.version.take().or_else(|| own.version.clone());
            mcp.client.clone_from(&own.client);
        }
        self.name_server(&mut action, &stream.session, request);
        let Some(place) = place else { return out.push(Draft::Completed(Box::new(action))) };
        out.push(Draft::Opened(Box::new(action.clone())));
        // The client's answer is a request of its own: it cannot have come before.
        self.streams.wait(place, call, Box::new(action));
    }

    /// Whether a request is the client's answer to what the server asked.
    pub(super) fn client_answers(&mut self, flow: &Flow, request: &Request, body: &Value, out: &mut Vec<Draft>) -> bool {
        let mut known = false;
        for (id, answer) in rpc::answers(body) {
            let key = streams::session(request);
            let place = Place::new(flow, key.clone(), Asker::Server, id);
            if let Some((call, action, answer)) = self.streams.answer(place, answer, false) {
                known = true;
                self.answered_by(&call, action, answer, &key, out);
            }
        }
        known
    }

    fn bound_streams(&mut self, out: &mut Vec<Draft>) {
        if let Some(oldest) = self.streams.overflow() {
            unanswered(oldest, Incomplete::EVICTED, out);
        }
    }

    /// What answers teach: the server's name, the definitions of its tools.
    fn learn(&mut self, call: &rpc::Call, action: &mut Action, result: &Value, key: &Arc<str>) {
        if call.protocol != Protocol::Mcp {
            return;
        }
        // Names of long ago make room.
        while self.servers.len() >= NAMES {
            self.servers.swap_remove_index(0);
        }
        while self.tools.len() >= NAMES {
            self.tools.swap_remove_index(0);
        }
        // Since 2026-07-28 there is no handshake: each answer names its server.
        if let Some(name) = rpc::server_of(result) {
            if self.servers.get(key).is_none_or(|known| known.name != name) {
                // Over a pipe there is one client; over HTTP each call says whose it is.
                let one = action.mcp.as_ref().filter(|_| action.http.is_none());
                let (version, client) = one.map_or((None, None), |mcp| (mcp.version.clone(), mcp.client.clone()));
                self.servers.insert(key.clone(), Known { name: name.clone(), version, client });
            }
            if let Some(tool) = &mut action.tool {
                tool.server = Some(name.clone());
                let hash = self.tools.get(&(name.clone(), tool.name.clone())).cloned();
                tool.schema_hash = hash.or(tool.schema_hash.take());
            }
            if let Some(mcp) = &mut action.mcp {
                mcp.server = Some(name);
            }
        }
        match &*call.method {
            "initialize" => {
                if let Some(name) = result.pointer("/serverInfo/name").and_then(Value::as_str) {
                    let version = result.get("protocolVersion").and_then(Value::as_str).map(Arc::from);
                    let client = action.mcp.as_ref().and_then(|mcp| mcp.client.clone());
                    let known = Known { name: name.into(), version, client };
                    if let Some(mcp) = &mut action.mcp {
                        mcp.server = Some(known.name.clone());
                        mcp.version = known.version.clone().or(mcp.version.take());
                    }
                    self.servers.insert(key.clone(), known);
                }
            }
            "tools/list" => {
                let server = self.servers.get(key).map_or(key, |known| &known.name).clone();
                for tool in result.get("tools").and_then(Value::as_list).unwrap_or_default() {
                    if let Some(name) = tool.get("name").and_then(Value::as_str) {
                        self.tools.insert((server.clone(), name.into()), super::definition_hash(tool));
                    }
                }
            }
            _ => {}
        }
    }

    /// Says whose call this is, by what the handshake of its session told.
    pub(super) fn name_server(&self, action: &mut Action, key: &Arc<str>, request: &Request) {
        let Some(mcp) = &mut action.mcp else { return };
        let known = self.servers.get(key);
        if let Some(known) = known {
            mcp.version = mcp.version.take().or_else(|| known.version.clone());
            mcp.client = mcp.client.take().or_else(|| known.client.clone());
        }
        // What nobody named has the name of its host; a pipe only where that is all that its tools are known by.
        let listed = || action.tool.as_ref().is_some_and(|tool| self.tools.contains_key(&(key.clone(), tool.name.clone())));
        let host = || if request.host.is_empty() { listed().then(|| key.clone()) } else { Some(request.host.clone()) };
        let server = known.map(|known| known.name.clone()).or_else(host);
        if let Some(tool) = &mut action.tool {
            let hash = |place: &Arc<str>| self.tools.get(&(place.clone(), tool.name.clone()));
            tool.schema_hash = server.as_ref().and_then(hash).or_else(|| hash(key)).cloned();
            tool.server.clone_from(&server);
        }
        mcp.server = server;
    }
}

/// What a handshake told.
pub(super) struct Known {
    name: Arc<str>,
    version: Option<Arc<str>>,
    client: Option<Arc<str>>,
}

/// One MCP server: by its session, else its address, else its pipe.
pub(super) fn server_key(flow: &Flow, request: &Request) -> Arc<str> {
    if request.host.is_empty() { flow.conn.0.clone() } else { streams::session(request) }
}
