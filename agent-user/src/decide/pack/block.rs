//! State blocks as they are written.

use std::time::Duration;

use toml::Spanned;

use super::raw::{RawDriftAlert, RawMatch, RawOrder, RawRule, RawUnknown};
use super::read::{Reader, is_of_answer};
use super::{Block, Condition, Drift, Fault, Keys, Match};

/// Largest counter threshold: what is above it is a budget, and `sum` counts it.
const HIGHEST: u64 = 100_000;

const TWO_NAMES: &str = "two names: that of `when`, and that of the other step";

impl Reader<'_> {
    fn over(&self, over: &Spanned<u64>) -> Result<u64, Fault> {
        if *over.get_ref() <= HIGHEST {
            return Ok(*over.get_ref());
        }
        Err(self.fault(over.span().start, format!("`over` is at most {HIGHEST}; a budget above it is a `sum`")))
    }

    /// A window is longer than nothing and at most 30 days.
    fn window(&self, text: &Spanned<String>) -> Result<Duration, Fault> {
        const LONGEST: Duration = Duration::from_secs(30 * 86_400);
        let window = self.duration(text)?;
        if window.is_zero() {
            return Err(self.fault(text.span().start, "a window of no length holds nothing; for example `15m`"));
        }
        if window > LONGEST {
            return Err(self.fault(text.span().start, "a window is at most `30d`: state is kept no longer"));
        }
        Ok(window)
    }

    fn key(&self, name: &Spanned<String>) -> Result<Keys, Fault> {
        self.keys(std::slice::from_ref(name))
    }

    fn keys(&self, names: &[Spanned<String>]) -> Result<Keys, Fault> {
        Ok(Keys::new(vec![self.names(names)?]))
    }

    /// `same`: a name for all parts of the block, or a list with one for each.
    fn parts(&self, written: &[Spanned<toml::Value>], count: usize, wanted: &str) -> Result<Keys, Fault> {
        let mut parts = vec![Vec::with_capacity(written.len()); count];
        let differ = written.iter().any(|name| name.get_ref().is_array());
        for name in written {
            let names = self.one_or_many(name)?;
            if name.get_ref().is_array() && names.len() != count {
                return Err(self.fault(name.span().start, format!("a list in `same` has {wanted}")));
            }
            parts.iter_mut().enumerate().for_each(|(at, part)| part.push(names[at % names.len()].clone()));
        }
        if !differ {
            parts.truncate(1);
        }
        Ok(Keys::new(parts))
    }

    pub(super) fn block(&self, raw: &RawRule, at: usize) -> Result<Option<Block>, Fault> {
        let given = [
            raw.count.is_some(),
            raw.distinct.is_some(),
            raw.sum.is_some(),
            raw.sequence.is_some(),
            raw.needs.is_some(),
            raw.then.is_some(),
            raw.owned.is_some(),
            raw.flow.is_some(),
            raw.drift.is_some(),
        ];
        if given.iter().filter(|given| **given).count() > 1 {
            return Err(self.fault(at, "a rule has at most one state block; write two rules"));
        }
        let needs_when = |block: &str| match raw.when {
            Some(_) => Ok(()),
            None => Err(self.fault(at, format!("`{block}` needs a `when`"))),
        };
        if let Some(block) = &raw.count {
            needs_when("count")?;
            return Ok(Some(Block::Count {
                by: self.keys(&block.by)?,
                within: self.window(&block.within)?,
                over: self.over(&block.over)?,
                without: block.without.as_ref().map(|text| self.condition(text)).transpose()?,
            }));
        }
        if let Some(block) = &raw.distinct {
            needs_when("distinct")?;
            let (of, by, within) = (self.key(&block.of)?, self.keys(&block.by)?, self.window(&block.within)?);
            return Ok(Some(Block::Distinct { of, by, within, over: self.over(&block.over)? }));
        }
        if let Some(block) = &raw.sum {
            needs_when("sum")?;
            let written = block.over.get_ref();
            let over = written.as_float().or(written.as_integer().map(|number| number as f64)).filter(|over| over.is_finite());
            let over = over.ok_or_else(|| self.fault(block.over.span().start, "`over` is a number"))?;
            return Ok(Some(Block::Sum {
                of: self.key(&block.of)?,
                by: self.keys(&block.by)?,
                within: self.window(&block.within)?,
                over,
            }));
        }
        if let Some(block) = &raw.sequence {
            let written = block.steps.get_ref();
            if !(2..=16).contains(&written.len()) {
                return Err(self.fault(block.steps.span().start, "a sequence has two to sixteen steps"));
            }
            let steps: Vec<Condition> = written.iter().map(|step| self.condition(step)).collect::<Result<_, _>>()?;
            let without = block.without.as_ref().map(|text| self.condition(text)).transpose()?;
            let ordered = !matches!(block.order, Some(RawOrder::Any));
            return Ok(Some(Block::Sequence {
                same: self.parts(&block.same, steps.len(), "a name for each step")?,
                steps,
                within: self.window(&block.within)?,
                without,
                ordered,
            }));
        }
        if let Some(block) = &raw.needs {
            needs_when("needs")?;
            return Ok(Some(Block::Needs {
                earlier: self.condition(&block.earlier)?,
                same: self.parts(&block.same, 2, TWO_NAMES)?,
                within: self.window(&block.within)?,
                use_once: block.use_once,
                voided_by: block.voided_by.as_ref().map(|text| self.condition(text)).transpose()?,
            }));
        }
        if let Some(block) = &raw.then {
            needs_when("then")?;
            return Ok(Some(Block::Then {
                later: self.condition(&block.later)?,
                same: self.parts(&block.same, 2, TWO_NAMES)?,
                within: self.window(&block.within)?,
            }));
        }
        if let Some(block) = &raw.owned {
            const DAY: Duration = Duration::from_secs(24 * 3600);
            return Ok(Some(Block::Owned {
                object: block.object.clone(),
                by: self.key(&block.by)?,
                unknown: matches!(block.unknown, Some(RawUnknown::Alert)),
                learn: block.learn.as_ref().map_or(Ok(DAY), |text| self.duration(text))?,
            }));
        }
        if let Some(block) = &raw.flow {
            let not_from = block.not_from.as_ref().map_or(Ok(Vec::new()), |names| self.one_or_many(names))?;
            return Ok(Some(Block::Flow {
                from: Condition { reads_answer: true, ..self.condition(&block.from)? },
                to: self.condition(&block.to)?,
                within: self.window(&block.within)?,
                overlap: block.overlap.unwrap_or(1).max(1),
                kind: match block.kind {
                    Some(RawMatch::Values) => Match::Values,
                    Some(RawMatch::Text) => Match::Text,
                    Some(RawMatch::Any) | None => Match::Any,
                },
                not_from,
            }));
        }
        if let Some(block) = &raw.drift {
            return Ok(Some(Block::Drift {
                of: self.key(&block.of)?,
                key: self.keys(&block.key)?,
                learn: block.learn.as_ref().map_or(Ok(Duration::ZERO), |text| self.duration(text))?,
                alert: match block.alert {
                    RawDriftAlert::New => Drift::New,
                    RawDriftAlert::Changed => Drift::Changed,
                    RawDriftAlert::Rare => Drift::Rare,
                },
            }));
        }
        Ok(None)
    }
}

impl Block {
    /// It counts, joins or compares by something that only the answer brings: its conditions wait for it.
    pub(super) fn reads_answer(&self) -> bool {
        let (one, keys) = match self {
            Block::Count { by, .. } => (None, by),
            Block::Distinct { of, by, .. } | Block::Sum { of, by, .. } => (Some(of), by),
            Block::Sequence { same, .. } | Block::Needs { same, .. } | Block::Then { same, .. } => (None, same),
            Block::Drift { of, key, .. } => (Some(of), key),
            Block::Owned { .. } | Block::Flow { .. } => return false,
        };
        one.into_iter().chain([keys]).flat_map(Keys::all).any(|name| is_of_answer(name))
    }
}

/// By what an alert of the block is grouped: the names of the event that raises it.
pub(super) fn default_group(block: Option<&Block>) -> Vec<String> {
    let keys = match block {
        Some(Block::Count { by, .. } | Block::Distinct { by, .. } | Block::Sum { by, .. }) => by.names(0),
        Some(Block::Drift { key, .. }) => key.names(0),
        Some(Block::Sequence { steps, same, .. }) => same.names(steps.len() - 1),
        Some(Block::Needs { same, .. } | Block::Then { same, .. }) => same.names(0),
        Some(Block::Owned { .. } | Block::Flow { .. }) | None => &[],
    };
    if keys.is_empty() { vec!["workflow".into()] } else { keys.to_vec() }
}
