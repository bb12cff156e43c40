//! `drift`: what a key was like until now, and what is new, changed or rare.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Cell, Memory, Moment, Verdict, told};
use crate::base::{Timestamp, Value};
use crate::decide::lang::Fact;
use crate::decide::pack::Drift;

/// A value is rare when it makes up less than one in a hundred of at least as many.
const RARE: u32 = 100;

/// Different values that are remembered of one key.
const VALUES: usize = 64;

/// What values a key had.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Baseline {
    since: Timestamp,
    /// Print of the last value, and the value.
    last: (u64, Box<str>),
    /// Hashes of the values, with how often each was seen.
    seen: VecDeque<(u64, u32)>,
    total: u32,
}

impl Memory {
    /// Of a list each item is a value; it changed when it holds other items than before.
    pub(super) fn drift(
        &mut self,
        key: u128,
        fact: Fact<'_>,
        learn: Duration,
        alert: Drift,
        most: usize,
        moment: &Moment<'_>,
    ) -> Verdict {
        let (one, many);
        let items: &[Cow<'_, str>] = match fact {
            Fact::Tree(Value::List(list)) => {
                let mut items: Vec<Cow<'_, str>> = list.iter().map(text).collect();
                items.sort_unstable();
                items.dedup();
                many = items;
                &many
            }
            Fact::Tree(value) => {
                one = [text(value)];
                &one
            }
            single => {
                one = [told(single)?];
                &one
            }
        };
        let print = |text: &str| moment.hash.print(text.as_bytes());
        let whole = || if let [one] = items { Cow::Borrowed(&**one) } else { Cow::Owned(items.join(" ")) };
        let now = (print(&whole()), whole);
        let mut known = true;
        let fresh = || {
            known = false;
            let seen = items.iter().map(|item| (print(item), 0)).collect();
            Cell::Baseline(Box::new(Baseline { since: moment.now, last: (now.0, now.1().into()), seen, total: 0 }))
        };
        let Cell::Baseline(baseline) = self.cell(key, most, fresh) else { return None };
        let learning = moment.now.since(baseline.since) < learn;
        let changed = baseline.last.0 != now.0;
        let mut odd = Vec::new();
        for item in items {
            let (new, rare) = baseline.take(if items.len() == 1 { now.0 } else { print(item) });
            if matches!(alert, Drift::New) && new || matches!(alert, Drift::Rare) && rare {
                odd.push(Value::text(&**item));
            }
        }
        let fires = known && !learning && if matches!(alert, Drift::Changed) { changed } else { !odd.is_empty() };
        let before = changed.then(|| std::mem::replace(&mut baseline.last, (now.0, now.1().into())).1);
        fires.then(|| {
            let shown = now.1();
            let before = Value::text(before.as_deref().unwrap_or(&shown));
            Value::map([("before", before), ("now", Value::text(&*shown)), ("odd", Value::list(odd))])
        })
    }
}

impl Baseline {
    /// Counts a value; says whether it was never seen before, and whether it is rare.
    fn take(&mut self, hash: u64) -> (bool, bool) {
        let place = self.seen.iter().position(|(seen, _)| *seen == hash);
        let at = place.unwrap_or_else(|| {
            self.seen.push_back((hash, 0));
            if self.seen.len() > VALUES {
                self.seen.pop_front();
            }
            self.seen.len() - 1
        });
        self.seen[at].1 = self.seen[at].1.saturating_add(1);
        self.total = self.total.saturating_add(1);
        let times = self.seen[at].1;
        (place.is_none(), self.total >= RARE && times.saturating_mul(RARE) < self.total)
    }
}

fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Number(number) => format!("{}", number.as_f64()).into(),
        Value::Map(_) => value.get("id").or(value.get("name")).unwrap_or(value).plain(),
        other => other.plain(),
    }
}
