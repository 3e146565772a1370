//! The durable side in this process: the embedded default, and the mock.
//!
//! It refuses what a table with that primary key would refuse, and a batch
//! takes effect as a whole or not at all.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::{
    Batch, DurableStore, DurableStoreError, Fetched, Offset, Operation, Refusal, Statement,
};
use crate::entry::EntryId;
use crate::key::{Partition, RowKey};
use crate::model::ModelDescriptor;
use crate::row::{EncodedPatch, EncodedRow};

/// Tables and offsets in this process.
#[derive(Debug, Default)]
pub(crate) struct MemoryDurableStore {
    data: Mutex<Data>,
}

#[derive(Debug, Clone, Default)]
struct Data {
    tables: HashMap<&'static str, HashMap<EncodedRow, EncodedRow>>,
    offsets: HashMap<Partition, Offset>,
}

/// A change that takes a batch's effect back.
struct Undo {
    table: &'static str,
    id: EncodedRow,
    before: Option<EncodedRow>,
}

impl Data {
    /// Puts or removes a row, and remembers what was there.
    fn set(
        &mut self,
        table: &'static str,
        id: EncodedRow,
        row: Option<EncodedRow>,
        undo: &mut Vec<Undo>,
    ) {
        let rows = self.tables.entry(table).or_default();
        let before = match row {
            Some(row) => rows.insert(id.clone(), row),
            None => rows.remove(&id),
        };
        undo.push(Undo { table, id, before });
    }

    fn row(&self, table: &'static str, id: &EncodedRow) -> Option<&EncodedRow> {
        self.tables.get(table)?.get(id)
    }

    fn run(
        &mut self,
        statement: &Statement,
        undo: &mut Vec<Undo>,
    ) -> Result<(), DurableStoreError> {
        let Statement { model, operation } = statement;
        let table = model.table;
        for row in operation.rows() {
            match operation {
                Operation::Insert(_) => {
                    let id = model.id_of(row);
                    if self.row(table, &id).is_some() {
                        return Err(refusal(table, "a row with this id is there already"));
                    }
                    self.set(table, id, Some(row.clone()), undo);
                }
                Operation::Upsert(_) => self.set(table, model.id_of(row), Some(row.clone()), undo),
                Operation::Patch { columns, .. } => {
                    let (id, values) = split_patch(model, columns, row);
                    let before = self.row(table, &id);
                    let after = before.map(|before| values.apply_to(before));
                    if after.is_none() {
                        return Err(refusal(table, "there is no row with the id of a patch"));
                    }
                    self.set(table, id, after, undo);
                }
                Operation::Delete(_) => self.set(table, row.clone(), None, undo),
            }
        }
        Ok(())
    }

    fn move_offsets(&mut self, batch: &Batch) -> Result<(), DurableStoreError> {
        let is_ours = |held: Option<&Offset>, from: EntryId, to: &Offset| {
            held.is_some_and(|held| held.epoch == to.epoch && held.position == from)
        };
        for step in &batch.moves {
            if !is_ours(self.offsets.get(&step.to.partition), step.from, &step.to) {
                return Err(DurableStoreError::OffsetMoved);
            }
        }
        for step in &batch.moves {
            self.offsets.insert(step.to.partition, step.to.clone());
        }
        Ok(())
    }
}

/// The id of a patch's row, and its new values.
fn split_patch(
    model: &'static ModelDescriptor,
    columns: &[usize],
    row: &EncodedRow,
) -> (EncodedRow, EncodedPatch) {
    let id = row.iter().take(model.id.len()).collect();
    let values = row.iter().skip(model.id.len());
    (id, EncodedPatch::from_changes(columns.iter().copied().zip(values)))
}

fn refusal(table: &str, reason: &str) -> DurableStoreError {
    DurableStoreError::Content(format!("table `{table}`: {reason}").into())
}

impl MemoryDurableStore {
    /// Never held across an await.
    fn lock(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl DurableStore for MemoryDurableStore {
    async fn take_over(&self, partitions: &[Partition]) -> Result<Vec<Offset>, DurableStoreError> {
        let mut data = self.lock();
        let take = |partition: &Partition| {
            let offset =
                data.offsets.entry(*partition).or_insert_with(|| Offset::start(*partition));
            offset.epoch += 1;
            offset.clone()
        };
        Ok(partitions.iter().map(take).collect())
    }

    async fn offsets(&self, partitions: &[Partition]) -> Result<Vec<Offset>, DurableStoreError> {
        let data = self.lock();
        let offset = |partition: &Partition| data.offsets.get(partition).cloned();
        let offsets = partitions.iter();
        Ok(offsets.map(|at| offset(at).unwrap_or_else(|| Offset::start(*at))).collect())
    }

    async fn apply(&self, batch: &Batch) -> Result<(), DurableStoreError> {
        let mut data = self.lock();
        let mut undo = Vec::new();
        let mut outcome = batch.statements.iter().try_for_each(|step| data.run(step, &mut undo));
        if outcome.is_ok() {
            outcome = data.move_offsets(batch);
        }
        if outcome.is_err() {
            for Undo { table, id, before } in undo.into_iter().rev() {
                data.set(table, id, before, &mut Vec::new());
            }
        }
        outcome
    }

    async fn fetch(
        &self,
        model: &'static ModelDescriptor,
        keys: &[RowKey],
    ) -> Result<Vec<Option<Fetched>>, DurableStoreError> {
        let data = self.lock();
        let fetch = |key: &RowKey| {
            let row = data.row(model.table, &key.id_values)?.clone();
            let offset = data.offsets.get(&key.partition()).map_or(EntryId::ZERO, |at| at.position);
            Some(Fetched { row, offset })
        };
        Ok(keys.iter().map(fetch).collect())
    }

    async fn fetch_all(
        &self,
        model: &'static ModelDescriptor,
    ) -> Result<Vec<EncodedRow>, DurableStoreError> {
        let data = self.lock();
        let rows = data.tables.get(model.table).map(|rows| rows.values().cloned().collect());
        Ok(rows.unwrap_or_default())
    }

    async fn refusal(
        &self,
        _: Partition,
        _: EntryId,
    ) -> Result<Option<Refusal>, DurableStoreError> {
        Ok(None)
    }

    async fn migrate(&self) -> Result<(), DurableStoreError> {
        Ok(())
    }
}
