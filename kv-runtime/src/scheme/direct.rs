//! Writes past the queue: in one transaction of PostgreSQL, under the lock of their partition.
//!
//! The lock is the partition's offset row, as everywhere. Under it nobody else writes a row of the
//! partition, so what is read of a row is so until the commit; and the scheme cannot be switched.
//! The offset moves with each write, to a place and no entry: it is where versions come from, and what
//! the entries of a queue that is used again come behind. By no clock: so it is never in the future of
//! a Redis that goes on from there.

use std::borrow::Cow;
use std::collections::HashMap;

use super::StorageScheme;
use crate::drain::{fault_of_others, in_queue_order};
use crate::durable_store::{
    DurableStore, DurableStoreError, Offset, OffsetMove, Outcome, Refusal, Transaction,
};
use crate::entry::{Change, Entry, EntryId, RowChange};
use crate::hot_store::{
    HotStoreError, Observed, ReadOutcome, Stamp, Unit, UnitOutcome, Write, WriteOutcome,
};
use crate::key::{Partition, RowKey};
use crate::model::ModelDescriptor;
use crate::row::EncodedRow;

/// Why nothing was written.
pub(super) enum DirectError {
    /// The scheme is another one.
    Elsewhere,
    Store(DurableStoreError),
    /// The answer to the commit was lost.
    OutcomeUnknown(DurableStoreError),
}

impl From<DurableStoreError> for DirectError {
    fn from(error: DurableStoreError) -> Self {
        Self::Store(error)
    }
}

impl From<DirectError> for HotStoreError {
    fn from(error: DirectError) -> Self {
        match error {
            DirectError::Elsewhere => Self::Elsewhere,
            DirectError::Store(error) => Self::Durable(error),
            DirectError::OutcomeUnknown(error) => Self::OutcomeUnknown(error.into_source()),
        }
    }
}

/// Writes in a partition that nobody else writes in meanwhile.
struct Writing<'a> {
    transaction: Box<dyn Transaction + 'a>,
    movement: OffsetMove,
    models: Vec<&'static ModelDescriptor>,
}

/// Rows by key, as they are; `None` for one that is not there.
type Found = HashMap<String, Option<EncodedRow>>;

impl<'a> Writing<'a> {
    async fn begin(
        durable: &'a dyn DurableStore,
        partition: Partition,
        scheme: StorageScheme,
    ) -> Result<Self, DirectError> {
        let transaction = durable.begin(&[partition]).await?;
        let is_here = |offset: &&Offset| offset.scheme == scheme && !offset.is_moved;
        let offset = transaction.offsets().first().filter(is_here);
        let Some(to) = offset.cloned() else { return Err(DirectError::Elsewhere) };
        let movement = OffsetMove { from: to.position, from_held: to.held, to };
        Ok(Self { transaction, movement, models: Vec::new() })
    }

    /// Reads the rows that are written.
    async fn find(&mut self, keys: impl Iterator<Item = &RowKey>) -> Result<Found, DirectError> {
        let mut of_models: Vec<Vec<RowKey>> = Vec::new();
        for key in keys {
            let at = self.model(key.model);
            of_models.resize_with(self.models.len().max(of_models.len()), Vec::new);
            of_models[at].push(key.clone());
        }
        let mut found = Found::new();
        for keys in of_models {
            let Some(first) = keys.first() else { continue };
            let rows = self.transaction.fetch(first.model, &keys).await?;
            found.extend(keys.into_iter().map(|key| key.key).zip(rows));
        }
        Ok(found)
    }

    fn model(&mut self, model: &'static ModelDescriptor) -> usize {
        let known = self.models.iter().position(|known| known.key_prefix == model.key_prefix);
        known.unwrap_or_else(|| {
            self.models.push(model);
            self.models.len() - 1
        })
    }

    /// Changes as an entry would have them made.
    fn entry<'b>(
        &mut self,
        id: EntryId,
        changes: impl Iterator<Item = (&'b RowKey, Change)>,
    ) -> Entry {
        let change = |(key, change): (&RowKey, Change)| {
            let change = change.without_foreign(key.model).with_version(key.model, id);
            let (row_id, id_values) = (key.id.clone(), key.id_values.clone());
            RowChange { model: self.model(key.model), row_id, id_values, change }
        };
        Entry { id, after: Vec::new(), changes: changes.map(change).collect() }
    }

    /// Makes the changes of entries, all of them or none: why not, if not.
    async fn attempt(&mut self, entries: Vec<Entry>) -> Result<Option<Refusal>, DirectError> {
        let Some(last) = entries.last().map(|entry| entry.id) else { return Ok(None) };
        let refusal = self.transaction.attempt(&in_queue_order(entries, &self.models)).await?;
        if let Some(fault) = refusal.as_ref().and_then(fault_of_others) {
            return Err(fault.into());
        }
        if refusal.is_none() {
            self.movement.to.position = last;
            self.movement.to.nonce = String::new();
        }
        Ok(refusal)
    }

    /// What becomes of writes, one after the other, and the entries that they come to.
    fn resolve(&mut self, writes: &[&Write], found: &mut Found) -> (Vec<WriteOutcome>, Vec<Entry>) {
        let (mut outcomes, mut entries) = (Vec::with_capacity(writes.len()), Vec::new());
        let mut id = self.movement.to.position;
        for write in writes {
            let row = found.entry(write.key.key.clone()).or_default();
            let resolved = match misfit(&write.change, row.is_some()) {
                Some(refusal) => Err(refusal),
                None => write.resolve(row.as_ref()).map(Cow::into_owned),
            };
            outcomes.push(match resolved {
                Err(refusal) => refusal,
                Ok(change) => {
                    id = id.next();
                    let result = write.result(&change);
                    let entry = self.entry(id, std::iter::once((&write.key, change)));
                    *row = after(row.take(), &entry.changes[0].change);
                    entries.push(entry);
                    WriteOutcome::Stored { entry: id, result }
                }
            });
        }
        (outcomes, entries)
    }

    async fn commit(self, durable: &dyn DurableStore) -> Result<(), DirectError> {
        let OffsetMove { from, to, .. } = &self.movement;
        if from == &to.position {
            return Ok(());
        }
        let (partition, from) = (to.partition, *from);
        let outcome = Outcome { moves: vec![self.movement], ..Outcome::default() };
        let Err(error) = self.transaction.commit(outcome).await else { return Ok(()) };
        // With the offset where it was, nothing was committed; and nothing can be any more, because
        // this waits for a lock that a commit under way would hold.
        match durable.begin(&[partition]).await {
            Ok(look) if look.offsets().iter().all(|offset| offset.position == from) => {
                Err(error.into())
            }
            _ => Err(DirectError::OutcomeUnknown(error)),
        }
    }
}

/// Why a change cannot be made to a row that is there, or to one that is not.
fn misfit(change: &Change, is_there: bool) -> Option<WriteOutcome> {
    match change {
        Change::Create(_) if is_there => Some(WriteOutcome::Exists),
        Change::Patch(_) | Change::Delete if !is_there => Some(WriteOutcome::Deleted),
        _ => None,
    }
}

/// The row after a change.
fn after(before: Option<EncodedRow>, change: &Change) -> Option<EncodedRow> {
    match change {
        Change::Create(row) | Change::Upsert(row) => Some(row.clone()),
        Change::Patch(patch) => before.map(|row| patch.apply_to(&row)),
        Change::Delete => None,
    }
}

/// Makes changes of rows of one partition, each or not at all, whatever becomes of the others.
pub(super) async fn write(
    durable: &dyn DurableStore,
    writes: &[&Write],
    scheme: StorageScheme,
) -> Result<Vec<WriteOutcome>, DirectError> {
    let Some(first) = writes.first() else { return Ok(Vec::new()) };
    let mut writing = Writing::begin(durable, first.key.partition(), scheme).await?;
    let mut found = writing.find(writes.iter().map(|write| &write.key)).await?;
    let (mut outcomes, entries) = writing.resolve(writes, &mut found.clone());
    if let Some(refusal) = writing.attempt(entries).await? {
        outcomes = match writes {
            [_] => vec![WriteOutcome::Refused(refusal)],
            writes => one_by_one(&mut writing, writes, &mut found).await?,
        };
    }
    writing.commit(durable).await?;
    Ok(outcomes)
}

/// Makes changes each by itself, because one of them is refused.
async fn one_by_one(
    writing: &mut Writing<'_>,
    writes: &[&Write],
    found: &mut Found,
) -> Result<Vec<WriteOutcome>, DirectError> {
    let mut outcomes = Vec::with_capacity(writes.len());
    for write in writes {
        let before = found.get(&write.key.key).cloned();
        let (outcome, entry) = writing.resolve(std::slice::from_ref(write), found);
        match writing.attempt(entry).await? {
            None => outcomes.extend(outcome),
            Some(refusal) => {
                found.insert(write.key.key.clone(), before.flatten());
                outcomes.push(WriteOutcome::Refused(refusal));
            }
        }
    }
    Ok(outcomes)
}

/// Makes the changes of a unit of work, if all that it has read is still so.
pub(super) async fn write_unit(
    durable: &dyn DurableStore,
    unit: &Unit,
    scheme: StorageScheme,
) -> Result<UnitOutcome, DirectError> {
    let mut writing = Writing::begin(durable, unit.partition, scheme).await?;
    let found = writing.find(unit.rows.iter().map(|row| &row.key)).await?;
    for (place, row) in unit.rows.iter().enumerate() {
        let found = found.get(&row.key.key).and_then(Option::as_ref);
        let is_same = row.seen.as_ref().is_none_or(|seen| *seen == stamp(found));
        let change = row.change.as_ref();
        let misfit = change.and_then(|change| misfit(change, found.is_some()));
        let refusal = if is_same { misfit } else { Some(WriteOutcome::Stale) };
        if let Some(refusal) = refusal {
            return Ok(UnitOutcome::Refused(place, refusal));
        }
    }
    let Some(first) = unit.rows.iter().position(|row| row.change.is_some()) else {
        return Ok(UnitOutcome::Unchanged);
    };
    let changes = unit.rows.iter().filter_map(|row| Some((&row.key, row.change.clone()?)));
    let id = writing.movement.to.position.next();
    let entry = writing.entry(id, changes);
    if let Some(refusal) = writing.attempt(vec![entry]).await? {
        return Ok(UnitOutcome::Refused(first, WriteOutcome::Refused(refusal)));
    }
    writing.commit(durable).await?;
    Ok(UnitOutcome::Stored(id))
}

/// Reads a row for a unit of work.
pub(super) async fn observe(
    durable: &dyn DurableStore,
    key: &RowKey,
) -> Result<Observed, HotStoreError> {
    let fetched = durable.fetch(key.model, std::slice::from_ref(key)).await?;
    let row = fetched.into_iter().next().flatten().map(|fetched| fetched.row);
    let stamp = stamp(row.as_ref());
    Ok(Observed { outcome: row.map_or(ReadOutcome::Deleted, ReadOutcome::Row), stamp })
}

/// A row is the same if its values are. No stamp of Redis is like that.
fn stamp(row: Option<&EncodedRow>) -> Stamp {
    let values: Option<Vec<Option<&str>>> = row.map(|row| row.iter().collect());
    Stamp(format!("stored {values:?}"))
}
