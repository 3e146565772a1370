//! What a patch asks of the row that it finds.

use std::borrow::Cow;

use super::{Write, WriteOutcome};
use crate::entry::{Change, EntryId};
use crate::row::{EncodedPatch, EncodedRow};

/// What a patch asks of the row that it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Terms {
    /// Nothing; or the change is no patch.
    Any,
    /// It has this version.
    Version(i64),
    /// It has a counter. The patch has what is added in the place of the result.
    Increment(Increment),
}

/// An addition to a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Increment {
    /// The counter, as a position in the model's columns.
    pub(crate) column: usize,
    pub(crate) by: i64,
    /// The least and the most that the counter can hold.
    pub(crate) least: i64,
    pub(crate) most: i64,
}

impl Increment {
    /// The patch before the result is known.
    pub(crate) fn to_patch(self) -> EncodedPatch {
        self.set(self.by)
    }

    /// The patch with the result, and the result; or a refusal.
    pub(crate) fn apply(self, row: &EncodedRow) -> Result<(EncodedPatch, i64), WriteOutcome> {
        let before = row.get(self.column).ok_or(WriteOutcome::Null)?;
        let sum = before.parse::<i64>().ok().and_then(|before| before.checked_add(self.by));
        let sum = sum.filter(|sum| (self.least..=self.most).contains(sum));
        sum.map(|sum| (self.set(sum), sum)).ok_or(WriteOutcome::Overflow)
    }

    fn set(self, value: i64) -> EncodedPatch {
        EncodedPatch::from_changes([(self.column, Some(value.to_string().as_str()))])
    }
}

impl Write {
    /// The operation's name, as the scripts have it.
    pub(crate) fn operation(&self) -> &'static str {
        match self.terms {
            Terms::Increment(_) => "increment",
            Terms::Any | Terms::Version(_) => self.change.name(),
        }
    }

    /// The field that an increment is about, for messages.
    pub(crate) fn counter(&self) -> &'static str {
        match self.terms {
            Terms::Increment(increment) => self.key.model.columns[increment.column].field,
            Terms::Any | Terms::Version(_) => "",
        }
    }
}

/// The rules of `write.lua`, for the adapter that has no scripts.
impl Write {
    /// The change as it takes effect on the row that is there, or a refusal.
    pub(crate) fn resolve(
        &self,
        row: Option<&EncodedRow>,
    ) -> Result<Cow<'_, Change>, WriteOutcome> {
        match (self.terms, row) {
            (Terms::Version(expected), Some(row))
                if self.key.model.version_of(row) != Some(&*expected.to_string()) =>
            {
                Err(WriteOutcome::Stale)
            }
            (Terms::Increment(increment), Some(row)) => {
                Ok(Cow::Owned(Change::Patch(increment.apply(row)?.0)))
            }
            _ => Ok(Cow::Borrowed(&self.change)),
        }
    }

    /// What an increment comes to by a change.
    pub(crate) fn result(&self, change: &Change) -> Option<i64> {
        match (self.terms, change) {
            (Terms::Increment(counter), Change::Patch(patch)) => {
                let (_, value) = patch.iter().find(|(column, _)| *column == counter.column)?;
                value?.parse().ok()
            }
            _ => None,
        }
    }

    /// What it answers, once it is done and this is the row.
    pub(crate) fn done(&self, entry: EntryId, row: &EncodedRow) -> WriteOutcome {
        let counter = match self.terms {
            Terms::Increment(increment) => row.get(increment.column),
            Terms::Any | Terms::Version(_) => None,
        };
        match counter.and_then(|value| value.parse().ok()) {
            Some(value) => WriteOutcome::Counted(entry, value),
            None => WriteOutcome::Written(entry),
        }
    }
}
