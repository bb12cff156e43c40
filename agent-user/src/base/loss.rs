//! Loss is data: what was not seen, why, and what that leaves incomplete.

use std::borrow::Cow;
use std::fmt;

/// Why bytes or events are missing. Unknown words of a recording are kept and shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LossCause {
    /// The kernel ring had no room.
    RingFull,
    /// The kernel could not read the user's buffer.
    ReadFault,
    /// The kernel skipped the probe (recursion, nested probe).
    Missed,
    /// Our own table was full and the oldest entry went.
    Evicted,
    /// The per-call cap was reached.
    Truncated,
    Other(Box<str>),
}

/// How the cause of a blind spot begins.
const BLIND: &str = "blind:";

impl LossCause {
    /// A blind spot: no loss of some bytes, but something of a process that is not seen at all. `why` is a word, `what` names the
    /// thing (a library, a function) and may be empty.
    pub fn blind(why: &str, what: &str) -> LossCause {
        let colon = if what.is_empty() { "" } else { ":" };
        LossCause::Other(format!("{BLIND}{why}{colon}{what}").into())
    }

    /// Why and what of a blind spot.
    pub fn blind_spot(&self) -> Option<(&str, &str)> {
        let LossCause::Other(word) = self else { return None };
        let spot = word.strip_prefix(BLIND)?;
        Some(spot.split_once(':').unwrap_or((spot, "")))
    }

    pub fn name(&self) -> &str {
        match self {
            LossCause::RingFull => "ring_full",
            LossCause::ReadFault => "read_fault",
            LossCause::Missed => "missed",
            LossCause::Evicted => "evicted",
            LossCause::Truncated => "truncated",
            LossCause::Other(word) => word,
        }
    }

    pub fn from_name(name: &str) -> LossCause {
        match name {
            "ring_full" => LossCause::RingFull,
            "read_fault" => LossCause::ReadFault,
            "missed" => LossCause::Missed,
            "evicted" => LossCause::Evicted,
            "truncated" => LossCause::Truncated,
            other => LossCause::Other(other.into()),
        }
    }
}

/// One reason why an exchange or action is not whole, in words that a rule can compare: `gap:ring_full`,
/// `response_missing`, `headers_unknown`, `body_over_limit`, ….
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incomplete(pub Cow<'static, str>);

impl Incomplete {
    pub const fn new(reason: &'static str) -> Incomplete {
        Incomplete(Cow::Borrowed(reason))
    }

    /// A hole in the stream with its cause.
    pub fn gap(cause: &LossCause) -> Incomplete {
        Incomplete(Cow::Owned(format!("gap:{}", cause.name())))
    }

    pub const REQUEST_MISSING: Incomplete = Incomplete::new("request_missing");
    pub const RESPONSE_MISSING: Incomplete = Incomplete::new("response_missing");
    pub const REQUEST_CUT: Incomplete = Incomplete::new("request_cut");
    pub const RESPONSE_CUT: Incomplete = Incomplete::new("response_cut");
    pub const HEADERS_UNKNOWN: Incomplete = Incomplete::new("headers_unknown");
    pub const BODY_OVER_LIMIT: Incomplete = Incomplete::new("body_over_limit");
    pub const UNDECODABLE: Incomplete = Incomplete::new("content_undecodable");
    pub const EVICTED: Incomplete = Incomplete::new("evicted");
}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
