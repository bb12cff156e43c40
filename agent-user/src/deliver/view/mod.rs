//! JSON views of what the stages concluded: the lines of `replay --emit` and of the native codec.
//!
//! Field names are a contract with other programs; absent facts are left out rather than null, except where the contract says null.

mod action;
mod alert;
mod exchange;
mod workflow;

use std::sync::Arc;

use crate::base::{Incomplete, Timestamp, Value};
use crate::understand::Claim;

pub use action::action;
pub use alert::alert;
pub use exchange::{anomaly, exchange, message};
pub use workflow::workflow;

/// A map that is built field by field and leaves absent ones out.
#[derive(Default)]
struct Fields(Vec<(Arc<str>, Value)>);

impl Fields {
    fn put(&mut self, name: &'static str, value: Value) -> &mut Self {
        self.0.push((name.into(), value));
        self
    }

    fn text(&mut self, name: &'static str, text: impl Into<Arc<str>>) -> &mut Self {
        self.put(name, Value::text(text))
    }

    fn some(&mut self, name: &'static str, value: Option<Value>) -> &mut Self {
        if let Some(value) = value {
            self.put(name, value);
        }
        self
    }

    fn some_text(&mut self, name: &'static str, text: Option<&Arc<str>>) -> &mut Self {
        self.some(name, text.map(|text| Value::text(text.clone())))
    }

    fn number(&mut self, name: &'static str, number: u64) -> &mut Self {
        self.put(name, unsigned(number))
    }

    /// Leaves the map out when it has no entry.
    fn nested(&mut self, name: &'static str, fields: Fields) -> &mut Self {
        if fields.0.is_empty() { self } else { self.put(name, fields.done()) }
    }

    fn done(self) -> Value {
        Value::Map(self.0.into())
    }
}

fn unsigned(number: u64) -> Value {
    Value::Number(crate::base::value::Number { text: number.to_string().into() })
}

fn float(number: f32) -> Value {
    Value::Number(crate::base::value::Number::share(number))
}

fn time(at: Timestamp) -> Value {
    unsigned(at.0)
}

fn texts(items: &[Arc<str>]) -> Value {
    Value::list(items.iter().map(|item| Value::text(item.clone())))
}

fn reasons(incomplete: &[Incomplete]) -> Value {
    Value::list(incomplete.iter().map(|reason| Value::text(reason.0.as_ref())))
}

fn claim(fields: &mut Fields, claim: &Claim) {
    fields.text("id", claim.value.clone()).text("source", claim.source.clone()).text("confidence", claim.confidence.name());
}
