//! Malformed or suspicious input as a named event: hostile traffic is data, not an error.

use std::borrow::Cow;

/// What was odd, e.g. `http1.duplicate_length`, `limit.header_bytes`, `json.duplicate_key`. The part before the dot is
/// the layer that saw it; `limit.` means that a bound of [`super::limits`] gave something up; `ambiguous` anywhere means
/// that two readers of the same bytes may disagree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Anomaly(pub Cow<'static, str>);

impl Anomaly {
    pub const fn new(name: &'static str) -> Anomaly {
        Anomaly(Cow::Borrowed(name))
    }

    pub fn name(&self) -> &str {
        &self.0
    }

    /// The name without what a colon sets apart: there are only so many.
    pub fn kind(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }
}
