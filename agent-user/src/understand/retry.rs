//! Calls that are sent again: the same idempotency key to the same operation is one call, however often it is tried.

use indexmap::IndexMap;

use super::Action;
use crate::base::limits::OPEN_ACTIONS;
use crate::base::{ActionId, KeyedHash, Value};
use crate::decode::{Header, header};

/// Headers that carry the key (draft-ietf-httpapi-idempotency-key-header, and how it was spelt before).
const HEADERS: [&str; 2] = ["idempotency-key", "x-idempotency-key"];

/// The same in arguments, and in `_meta` of an MCP call.
const ARGUMENTS: [&str; 3] = ["idempotency_key", "idempotencyKey", "idempotency-key"];

/// First calls by their keys; the oldest make room.
#[derive(Debug, Default)]
pub(super) struct Retries {
    first: IndexMap<u128, ActionId>,
}

impl Retries {
    /// The call that this one repeats. `params` are those of a JSON-RPC call.
    pub(super) fn of(&mut self, action: &Action, headers: &[Header], params: &Value, hash: &KeyedHash) -> Option<ActionId> {
        let sent = HEADERS.iter().find_map(|name| header(headers, name)).map(|key| String::from_utf8_lossy(key).into_owned());
        let places = [params.get("_meta"), Some(params), Some(action.arg.expose_content())];
        let said = || places.iter().flatten().find_map(|place| ARGUMENTS.iter().find_map(|name| place.get(name)?.as_str()));
        let key = sent.or_else(|| said().map(str::to_owned)).filter(|key| !key.is_empty())?;
        let host = action.http.as_ref().map_or("", |http| &http.host);
        let server = action.mcp.as_ref().and_then(|mcp| mcp.server.as_deref()).unwrap_or_default();
        let op = action.op.as_deref().unwrap_or_default();
        // The key alone would let one payment hide others: what is sent again is the same.
        let path = action.http.as_ref().map_or("", |http| &http.path);
        let same = action.arg.expose_content().to_json();
        let print = hash.digest([host, server, op, path, &key, &same].join("\u{1f}").as_bytes());
        if self.first.len() >= OPEN_ACTIONS && !self.first.contains_key(&print) {
            self.first.swap_remove_index(0);
        }
        Some(*self.first.entry(print).or_insert(action.id)).filter(|first| *first != action.id)
    }
}
