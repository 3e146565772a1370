//! A row in a unit of work: what was read of it, and what is to become of it.

use crate::entry::Change;
use crate::error::{Error, Operation};
use crate::hot_store::{Probe, Stamp, Terms, UnitRow, WriteOutcome};
use crate::key::{KeySpace, RowKey};
use crate::model::FieldError;
use crate::row::EncodedRow;
use crate::value::ValueError;
use crate::{unique, version};

/// A row as it was read.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) stamp: Stamp,
    /// `None` where there is none.
    pub(super) row: Option<EncodedRow>,
}

/// A row that a unit of work has read or changed.
#[derive(Debug)]
pub(super) struct Touched {
    pub(super) key: RowKey,
    /// What touched it last.
    pub(super) at: Operation,
    pub(super) seen: Option<Seen>,
    /// What all changes of it come to.
    change: Option<Change>,
}

impl Touched {
    pub(super) fn new(key: RowKey, at: Operation) -> Self {
        Self { key, at, seen: None, change: None }
    }

    pub(super) fn has_changed(&self) -> bool {
        self.change.is_some()
    }

    /// Whether the row has to be read before a change: the one before it would no longer tell, in
    /// the end, whether it was allowed.
    pub(super) fn must_be_seen_before(&self, next: &Change) -> bool {
        let replaces = matches!(
            (&self.change, next),
            (Some(Change::Create(_) | Change::Upsert(_)), Change::Delete)
                | (Some(Change::Patch(_)), Change::Upsert(_))
                | (Some(Change::Delete), Change::Create(_) | Change::Upsert(_))
        );
        (replaces || unique::needs_row(self.key.model, next)) && self.seen.is_none()
    }

    /// A change on terms that the row has to meet; what an increment comes to is answered as well.
    pub(super) fn on_terms(
        &self,
        change: Change,
        terms: Terms,
    ) -> Result<(Change, Option<i64>), Error> {
        let (at, id) = (self.at, || self.key.id.clone());
        let seen = self.seen.as_ref().and_then(|seen| seen.row.as_ref());
        let row = seen.ok_or_else(|| self.not_found())?;
        match terms {
            Terms::Any => Ok((change, None)),
            Terms::Version(expected) => match self.key.model.version_of(row) {
                Some(version) if *version == expected.to_string() => Ok((change, None)),
                _ => Err(Error::Conflict { at, id: id(), reason: version::CONFLICT }),
            },
            Terms::Increment(increment) => {
                let field = self.key.model.columns[increment.column].field;
                match increment.apply(row) {
                    Ok((patch, sum)) => Ok((Change::Patch(patch), Some(sum))),
                    Err(WriteOutcome::Overflow) => Err(Error::Overflow { at, id: id(), field }),
                    Err(_) => {
                        let source = ValueError::UnexpectedNull;
                        Err(Error::encoding(at, FieldError { field, source }))
                    }
                }
            }
        }
    }

    /// Whether the row has to be read for its content to be known.
    pub(super) fn must_be_seen_to_read(&self) -> bool {
        matches!(self.change, None | Some(Change::Patch(_))) && self.seen.is_none()
    }

    /// The row as it is within the unit of work; it must have been seen where it has to be.
    pub(super) fn row(&self) -> Result<Option<EncodedRow>, Error> {
        let seen = self.seen.as_ref().and_then(|seen| seen.row.as_ref());
        match (&self.change, seen) {
            (Some(Change::Create(row) | Change::Upsert(row)), _) => Ok(Some(row.clone())),
            (Some(Change::Delete), _) => Ok(None),
            (Some(Change::Patch(patch)), Some(row)) => Ok(Some(patch.apply_to(row))),
            (Some(Change::Patch(_)), None) => Err(self.not_found()),
            (None, row) => Ok(row.cloned()),
        }
    }

    /// Whether the row is there, as far as it is known.
    fn is_there(&self) -> Option<bool> {
        match &self.change {
            Some(Change::Delete) => Some(false),
            Some(_) => Some(true),
            None => self.seen.as_ref().map(|seen| seen.row.is_some()),
        }
    }

    /// Makes one more change.
    pub(super) fn change(&mut self, at: Operation, next: Change) -> Result<(), Error> {
        self.at = at;
        self.check_against_seen()?;
        match (&next, self.is_there()) {
            (Change::Create(_), Some(true)) => {
                return Err(Error::Duplicate { at, id: self.key.id.clone() });
            }
            (Change::Patch(_) | Change::Delete, Some(false)) => return Err(self.not_found()),
            _ => {}
        }
        let was_there = self.seen.as_ref().is_some_and(|seen| seen.row.is_some());
        self.change = match (self.change.take(), next) {
            (Some(Change::Create(_)), Change::Upsert(row)) => Some(Change::Create(row)),
            (Some(Change::Create(row)), Change::Patch(patch)) => {
                Some(Change::Create(patch.apply_to(&row)))
            }
            (Some(Change::Create(_)), Change::Delete) => None,
            (Some(Change::Upsert(row)), Change::Patch(patch)) => {
                Some(Change::Upsert(patch.apply_to(&row)))
            }
            (Some(Change::Upsert(_)), Change::Delete) => was_there.then_some(Change::Delete),
            (Some(Change::Patch(earlier)), Change::Patch(patch)) => {
                Some(Change::Patch(earlier.merge(&patch)))
            }
            (Some(Change::Delete), Change::Create(row)) => Some(Change::Upsert(row)),
            (_, next) => Some(next),
        };
        Ok(())
    }

    /// Whether a change that was made without a look at the row was allowed, once it was read.
    fn check_against_seen(&self) -> Result<(), Error> {
        let Some(seen) = &self.seen else { return Ok(()) };
        match (&self.change, &seen.row) {
            (Some(Change::Create(_)), Some(_)) => {
                Err(Error::Duplicate { at: self.at, id: self.key.id.clone() })
            }
            (Some(Change::Patch(_) | Change::Delete), None) => Err(self.not_found()),
            _ => Ok(()),
        }
    }

    fn not_found(&self) -> Error {
        Error::NotFound { at: self.at, id: self.key.id.clone() }
    }

    /// As the hot side is told of it.
    pub(super) fn to_unit_row(&self, keys: &KeySpace) -> UnitRow {
        // Who has seen that it is not there needs no probe.
        let is_blind_create = matches!(self.change, Some(Change::Create(_))) && self.seen.is_none();
        let probe = match is_blind_create && !self.key.model.id_is_fresh {
            true => Probe::Missing,
            false => Probe::NotNeeded,
        };
        let seen = self.seen.as_ref().map(|seen| seen.stamp.clone());
        let change = self.change.clone().map(|change| change.without_foreign(self.key.model));
        let before = self.seen.as_ref().and_then(|seen| seen.row.as_ref());
        let claims =
            change.as_ref().and_then(|it| unique::claims(keys, self.key.model, it, before));
        UnitRow { key: self.key.clone(), seen, probe, change, claims }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelDescriptor;
    use crate::row::EncodedPatch;

    static MODEL: ModelDescriptor = ModelDescriptor {
        name: "Account",
        table: "accounts",
        key_prefix: "account",
        queue: "account_queue",
        columns: &[],
        id: &[0],
        id_is_fresh: true,
        partition_by: &[0],
        ttl: None,
        durability: None,
        scheme: None,
        unique: &[],
        indexes: &[],
        references: &[],
        checks: &[],
        version: None,
        serial: None,
        fingerprint: 0,
    };

    fn row(value: &str) -> EncodedRow {
        ["1", value].into_iter().map(Some).collect()
    }

    fn patch(value: &str) -> Change {
        Change::Patch(EncodedPatch::from_changes([(1, Some(value))]))
    }

    /// What changes come to, on a row that was seen (to be there or not) or was not.
    fn come_to(
        seen: Option<Option<EncodedRow>>,
        changes: Vec<Change>,
    ) -> Result<Option<Change>, Error> {
        let key = KeySpace::new(None, 1).row(&MODEL, ["1"].into_iter().map(Some).collect());
        let at = Operation::new(&MODEL, "test");
        let mut touched = Touched::new(key, at);
        touched.seen = seen.map(|row| Seen { stamp: Stamp(String::new()), row });
        for change in changes {
            touched.change(at, change)?;
        }
        Ok(touched.change)
    }

    #[test]
    fn changes_of_a_row_come_to_one() {
        let there = || Some(Some(row("a")));
        let (create, upsert) = (|| Change::Create(row("b")), || Change::Upsert(row("c")));
        let cases = [
            (None, vec![create(), patch("d")], Some(Change::Create(row("d")))),
            (None, vec![create(), upsert()], Some(Change::Create(row("c")))),
            (None, vec![create(), Change::Delete], None),
            (None, vec![upsert(), patch("d")], Some(Change::Upsert(row("d")))),
            (there(), vec![upsert(), Change::Delete], Some(Change::Delete)),
            (Some(None), vec![upsert(), Change::Delete], None),
            (None, vec![patch("c"), patch("d")], Some(patch("d"))),
            (None, vec![patch("c"), Change::Delete], Some(Change::Delete)),
            (there(), vec![Change::Delete, create()], Some(Change::Upsert(row("b")))),
        ];
        for (at, (seen, changes, expected)) in cases.into_iter().enumerate() {
            assert_eq!(come_to(seen, changes).expect("allowed"), expected, "case {at}");
        }
    }

    #[test]
    fn a_change_that_the_row_does_not_allow_is_refused() {
        let there = Some(Some(row("a")));
        assert!(come_to(there, vec![Change::Create(row("b"))]).is_err());
        assert!(come_to(None, vec![patch("b"), Change::Create(row("b"))]).is_err());
        assert!(come_to(Some(None), vec![patch("b")]).is_err());
        assert!(come_to(None, vec![Change::Delete, Change::Delete]).is_err());
    }
}
