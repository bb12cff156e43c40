//! **deliver**: what leaves the process, after redaction: JSON views, lines for people, the journal, sinks.
//!
//! In: the outputs of the stages before. Out: bytes. The only place that opens [`Sensitive`](crate::base::Sensitive) content to
//! show it, and it does so through [`Redactor`] alone.

use std::sync::Arc;

use crate::base::{Direction, ExchangeId, Incomplete, Timestamp};
use crate::decode::{Body, Opcode};
use crate::reassemble::Flow;

pub mod codec;
#[cfg(feature = "sinks")]
pub mod evidence;
#[cfg(feature = "cli")]
pub mod journal;
pub mod line;
#[cfg(feature = "sinks")]
pub mod outbox;
pub mod redact;
#[cfg(feature = "sinks")]
pub mod sink;
pub mod view;

pub use redact::Redactor;

/// One WebSocket message, reported beside the exchange that upgraded its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub exchange: ExchangeId,
    pub flow: Arc<Flow>,
    pub ts: Timestamp,
    pub dir: Direction,
    pub opcode: Opcode,
    pub body: Body,
    pub incomplete: Vec<Incomplete>,
}
