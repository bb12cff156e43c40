//! State blocks as they are written.

use std::time::Duration;

use toml::Spanned;

use super::raw::{RawDriftAlert, RawMatch, RawOrder, RawRule, RawUnknown};
use super::read::{Reader, is_of_answer};
use super::{Block, Condition, Drift, Fault, Match};

/// Largest counter threshold: what is above it is a budget, and `sum` counts it.
const HIGHEST: u64 = 100_000;

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
                by: self.names(&block.by)?,
                within: self.window(&block.within)?,
                over: self.over(&block.over)?,
                without: block.without.as_ref().map(|text| self.condition(text)).transpose()?,
            }));
        }
        if let Some(block) = &raw.distinct {
            needs_when("distinct")?;
            let (of, by, within) = (self.name(&block.of)?, self.names(&block.by)?, self.window(&block.within)?);
            return Ok(Some(Block::Distinct { of, by, within, over: self.over(&block.over)? }));
        }
        if let Some(block) = &raw.sum {
            needs_when("sum")?;
            let written = block.over.get_ref();
            let over = written.as_float().or(written.as_integer().map(|number| number as f64)).filter(|over| over.is_finite());
            let over = over.ok_or_else(|| self.fault(block.over.span().start, "`over` is a number"))?;
            return Ok(Some(Block::Sum {
                of: self.name(&block.of)?,
                by: self.names(&block.by)?,
                within: self.window(&block.within)?,
                over,
            }));
        }
        if let Some(block) = &raw.sequence {
            let written = block.steps.get_ref();
            if !(2..=16).contains(&written.len()) {
                return Err(self.fault(block.steps.span().start, "a sequence has two to sixteen steps"));
            }
            let steps = written.iter().map(|step| self.condition(step)).collect::<Result<_, _>>()?;
            let without = block.without.as_ref().map(|text| self.condition(text)).transpose()?;
            let ordered = !matches!(block.order, Some(RawOrder::Any));
            return Ok(Some(Block::Sequence {
                steps,
                same: self.names(&block.same)?,
                within: self.window(&block.within)?,
                without,
                ordered,
            }));
        }
        if let Some(block) = &raw.needs {
            needs_when("needs")?;
            return Ok(Some(Block::Needs {
                earlier: self.condition(&block.earlier)?,
                same: self.names(&block.same)?,
                within: self.window(&block.within)?,
                use_once: block.use_once,
                voided_by: block.voided_by.as_ref().map(|text| self.condition(text)).transpose()?,
            }));
        }
        if let Some(block) = &raw.then {
            needs_when("then")?;
            return Ok(Some(Block::Then {
                later: self.condition(&block.later)?,
                same: self.names(&block.same)?,
                within: self.window(&block.within)?,
            }));
        }
        if let Some(block) = &raw.owned {
            const DAY: Duration = Duration::from_secs(24 * 3600);
            return Ok(Some(Block::Owned {
                object: block.object.clone(),
                by: self.name(&block.by)?,
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
                of: self.name(&block.of)?,
                key: self.names(&block.key)?,
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
        let (one, names) = match self {
            Block::Count { by, .. } => (None, by),
            Block::Distinct { of, by, .. } | Block::Sum { of, by, .. } => (Some(of), by),
            Block::Sequence { same, .. } | Block::Needs { same, .. } | Block::Then { same, .. } => (None, same),
            Block::Drift { of, key, .. } => (Some(of), key),
            Block::Owned { .. } | Block::Flow { .. } => return false,
        };
        one.into_iter().chain(names).any(|name| is_of_answer(name))
    }
}

pub(super) fn default_group(block: Option<&Block>) -> Vec<String> {
    let keys = match block {
        Some(Block::Count { by, .. } | Block::Distinct { by, .. } | Block::Sum { by, .. }) => by.clone(),
        Some(Block::Drift { key, .. }) => key.clone(),
        Some(Block::Sequence { same, .. } | Block::Needs { same, .. } | Block::Then { same, .. }) => same.clone(),
        Some(Block::Owned { .. } | Block::Flow { .. }) | None => Vec::new(),
    };
    if keys.is_empty() { vec!["workflow".into()] } else { keys }
}
