//! The durable side in this process: the embedded default, and the mock.
//!
//! It refuses what the model's table would refuse, as far as that can be told without SQL, and a
//! batch takes effect as a whole or not at all.

mod constraints;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use tokio::sync::{Mutex, OwnedMutexGuard};

use self::constraints::{Constraints, KnownModels, id_is_taken};
use super::{
    Batch, DurableStore, DurableStoreError, Fetched, HeldRow, Letter, Offset, OffsetMove,
    Operation, Outcome, Refusal, Statement, Transaction,
};
use crate::checks::StoreChecks;
use crate::dead_letters::{DeadLetter, DeadLetterFilter};
use crate::entry::EntryId;
use crate::key::{Layout, Partition, RowKey};
use crate::model::ModelDescriptor;
use crate::query::evaluate::evaluate;
use crate::query::select::Select;
use crate::row::{EncodedPatch, EncodedRow};
use crate::scheme::StorageScheme;
use crate::unique;

/// Tables and offsets in this process.
#[derive(Debug)]
pub(crate) struct MemoryDurableStore {
    /// Held for as long as a transaction takes, so that nobody sees its effect before its end.
    data: Arc<Mutex<Data>>,
    known: KnownModels,
    /// By queue: held by who switches it to another scheme.
    switching: std::sync::Mutex<HashMap<&'static str, Arc<Mutex<()>>>>,
    tenants: std::sync::Mutex<BTreeSet<String>>,
}

impl Default for MemoryDurableStore {
    fn default() -> Self {
        let known = KnownModels::default();
        let constraints = Constraints::new(Arc::clone(&known));
        let data = Data { constraints, ..Data::default() };
        let (switching, tenants) = Default::default();
        Self { data: Arc::new(Mutex::new(data)), known, switching, tenants }
    }
}

impl MemoryDurableStore {
    /// Never held across an await.
    fn tenants(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rows of each table, by id.
type Tables = HashMap<&'static str, HashMap<EncodedRow, EncodedRow>>;

#[derive(Debug, Default)]
struct Data {
    tables: Tables,
    constraints: Constraints,
    offsets: HashMap<Partition, Offset>,
    /// Those that queues have had, where they were changed.
    layouts: HashMap<&'static str, Vec<Layout>>,
    letters: Vec<StoredLetter>,
    last_letter: i64,
    /// The last number of each table's sequence.
    sequences: HashMap<&'static str, i64>,
}

#[derive(Debug)]
struct StoredLetter {
    letter: DeadLetter,
    released: bool,
}

/// A change that takes a batch's effect back.
#[derive(Debug)]
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
        let before = rows.remove(&id);
        self.constraints.replace(table, &id, before.as_ref(), row.as_ref());
        if let Some(row) = row {
            rows.insert(id.clone(), row);
        }
        undo.push(Undo { table, id, before });
    }

    fn row(&self, table: &'static str, id: &EncodedRow) -> Option<&EncodedRow> {
        self.tables.get(table)?.get(id)
    }

    fn run(&mut self, statement: &Statement, undo: &mut Vec<Undo>) -> Result<(), Refusal> {
        let Statement { model, operation } = statement;
        let table = model.table;
        let first = undo.len();
        self.constraints.prepare(model);
        for row in operation.rows() {
            match operation {
                Operation::Insert(_) => {
                    let id = model.id_of(row);
                    if self.row(table, &id).is_some() {
                        return Err(id_is_taken(model));
                    }
                    self.put(model, id, row.clone(), undo)?;
                }
                Operation::Upsert(_) => self.put(model, model.id_of(row), row.clone(), undo)?,
                Operation::Patch { columns, .. } => {
                    let (id, values) = split_patch(model, columns, row);
                    let before = self.row(table, &id);
                    let after = before.map(|before| values.apply_to(before));
                    let Some(after) = after else {
                        let reason = "there is no row with the id of a patch";
                        return Err(refusal("KV404", table, reason));
                    };
                    self.put(model, id, after, undo)?;
                }
                Operation::Delete(_) => self.set(table, row.clone(), None, undo),
            }
        }
        self.constraints.check_references(model, &undo[first..], &self.tables)
    }

    /// Puts a row, if its table takes it.
    fn put(
        &mut self,
        model: &'static ModelDescriptor,
        id: EncodedRow,
        row: EncodedRow,
        undo: &mut Vec<Undo>,
    ) -> Result<(), Refusal> {
        Constraints::check_row(model, &row)?;
        self.set(model.table, id, Some(row), undo);
        Ok(())
    }

    fn offsets(&self, partitions: &[Partition]) -> Vec<Offset> {
        let offset = |at: &Partition| self.offsets.get(at).cloned();
        partitions.iter().map(|at| offset(at).unwrap_or_else(|| Offset::start(*at))).collect()
    }

    /// All of the statements, or none.
    fn attempt(&mut self, statements: &[Statement], undo: &mut Vec<Undo>) -> Result<(), Refusal> {
        let before = undo.len();
        let outcome = statements.iter().try_for_each(|step| self.run(step, undo));
        let outcome =
            outcome.and_then(|()| self.constraints.check_unique(&undo[before..], &self.tables));
        if outcome.is_err() {
            self.roll_back(undo.drain(before..).rev());
        }
        outcome
    }

    fn roll_back(&mut self, undo: impl Iterator<Item = Undo>) {
        for Undo { table, id, before } in undo {
            self.set(table, id, before, &mut Vec::new());
        }
    }

    fn move_offsets(&mut self, moves: &[OffsetMove]) -> Result<(), DurableStoreError> {
        let is_ours = |step: &OffsetMove| {
            self.offsets.get(&step.to.partition).is_some_and(|offset| {
                offset.epoch == step.to.epoch
                    && offset.position == step.from
                    && offset.held == step.from_held
            })
        };
        if !moves.iter().all(is_ours) {
            return Err(DurableStoreError::OffsetMoved);
        }
        for step in moves {
            self.offsets.insert(step.to.partition, step.to.clone());
        }
        Ok(())
    }

    /// Has a queue go on with other partitions than these.
    fn change_layout(&mut self, from: &[Offset], to: Layout) {
        let Some(first) = from.first() else { return };
        let queue = first.partition.queue;
        let last = from.iter().map(|offset| offset.position).max().unwrap_or_default();
        for offset in from {
            let offset = Offset { is_moved: true, epoch: offset.epoch + 1, ..offset.clone() };
            self.offsets.insert(offset.partition, offset);
        }
        for partition in to.partitions(queue) {
            let (position, scheme) = (last, first.scheme);
            let offset = Offset { position, scheme, epoch: 1, ..Offset::start(partition) };
            self.offsets.insert(partition, offset);
        }
        let layouts = self.layouts.entry(queue).or_default();
        if layouts.is_empty() {
            let count = u16::try_from(from.len()).unwrap_or_default();
            layouts.push(Layout { first: first.partition.number, count });
        }
        layouts.push(to);
    }

    fn keep(&mut self, letters: &[Letter]) {
        for letter in letters {
            self.last_letter += 1;
            let letter = dead_letter(self.last_letter, letter);
            self.letters.push(StoredLetter { letter, released: false });
        }
        self.letters.sort_by_key(|stored| stored.letter.entry);
    }

    fn letters(&self, filter: &DeadLetterFilter) -> Vec<DeadLetter> {
        let chosen = self.letters.iter().filter(|at| filter.matches(&at.letter, at.released));
        let limit = filter.limit.map_or(usize::MAX, |limit| limit as usize);
        chosen.take(limit).map(|stored| stored.letter.clone()).collect()
    }

    fn held(&self, row: &HeldRow) -> Option<EntryId> {
        let is_of_row = |stored: &&StoredLetter| {
            let letter = &stored.letter;
            !stored.released
                && letter.queue == row.partition.queue
                && letter.partition == row.partition.number
                && letter.held_rows(row.partition).contains(row)
        };
        self.letters.iter().find(is_of_row).map(|stored| stored.letter.entry)
    }
}

fn dead_letter(id: i64, letter: &Letter) -> DeadLetter {
    let Letter { partition, entry, rows, refusal, behind } = letter.clone();
    let row = rows.into_iter().next();
    DeadLetter {
        id,
        queue: partition.queue.to_owned(),
        partition: partition.number,
        entry: entry.id,
        model: row.as_ref().map(|row| row.model.to_string()),
        row_id: row.map(|row| row.row_id),
        change: String::from_utf8_lossy(&entry.header).into_owned(),
        values: String::from_utf8_lossy(&entry.values).into_owned(),
        sqlstate: refusal.sqlstate,
        message: refusal.message,
        detail: refusal.detail,
        constraint: refusal.constraint,
        behind,
        refused_at: SystemTime::now(),
        raw: entry,
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

fn refusal(sqlstate: &str, table: &str, reason: impl std::fmt::Display) -> Refusal {
    Refusal {
        sqlstate: Some(sqlstate.to_owned()),
        message: format!("table `{table}`: {reason}"),
        ..Refusal::default()
    }
}

/// The data, locked until it ends; dropped, it takes back what it did.
#[derive(Debug)]
struct MemoryTransaction {
    data: OwnedMutexGuard<Data>,
    undo: Vec<Undo>,
    offsets: Vec<Offset>,
    /// What the scheme of these is to be.
    scheme: Option<StorageScheme>,
    /// What comes after these.
    layout: Option<Layout>,
}

impl Drop for MemoryTransaction {
    fn drop(&mut self) {
        let undo = std::mem::take(&mut self.undo);
        self.data.roll_back(undo.into_iter().rev());
    }
}

#[async_trait]
impl Transaction for MemoryTransaction {
    fn offsets(&self) -> &[Offset] {
        &self.offsets
    }

    async fn attempt(
        &mut self,
        statements: &[Statement],
    ) -> Result<Option<Refusal>, DurableStoreError> {
        Ok(self.data.attempt(statements, &mut self.undo).err())
    }

    async fn fetch(
        &mut self,
        model: &'static ModelDescriptor,
        keys: &[RowKey],
    ) -> Result<Vec<Option<EncodedRow>>, DurableStoreError> {
        Ok(keys.iter().map(|key| self.data.row(model.table, &key.id_values).cloned()).collect())
    }

    async fn letters(
        &mut self,
        filter: &DeadLetterFilter,
    ) -> Result<Vec<DeadLetter>, DurableStoreError> {
        Ok(self.data.letters(filter))
    }

    async fn set_scheme(
        &mut self,
        from: StorageScheme,
        to: StorageScheme,
    ) -> Result<(), DurableStoreError> {
        self.scheme = Some(to);
        let is_from = |offset: &Offset| offset.scheme == from;
        let all_are = self.offsets.iter().all(is_from);
        if all_are { Ok(()) } else { Err(DurableStoreError::OffsetMoved) }
    }

    async fn change_layout(&mut self, to: Layout) -> Result<(), DurableStoreError> {
        self.layout = Some(to);
        let is_moved = self.offsets.iter().any(|offset| offset.is_moved);
        if is_moved { Err(DurableStoreError::OffsetMoved) } else { Ok(()) }
    }

    async fn commit(mut self: Box<Self>, outcome: Outcome) -> Result<(), DurableStoreError> {
        self.data.move_offsets(&outcome.moves)?;
        for offset in self.scheme.iter().flat_map(|_| self.offsets.clone()).collect::<Vec<_>>() {
            let (scheme, nonce) = (self.scheme.unwrap_or_default(), String::new());
            let offset = Offset { scheme, nonce, epoch: offset.epoch + 1, ..offset };
            self.data.offsets.insert(offset.partition, offset);
        }
        if let Some(layout) = self.layout {
            let offsets = std::mem::take(&mut self.offsets);
            self.data.change_layout(&offsets, layout);
        }
        self.data.keep(&outcome.letters);
        for stored in &mut self.data.letters {
            stored.released |= outcome.released.contains(&stored.letter.id);
            if let Some((id, refusal)) = &outcome.refused_again
                && stored.letter.id == *id
            {
                let Refusal { sqlstate, message, detail, constraint } = refusal.clone();
                let letter = &mut stored.letter;
                (letter.sqlstate, letter.message) = (sqlstate, message);
                (letter.detail, letter.constraint) = (detail, constraint);
                letter.behind = None;
            }
        }
        self.undo.clear();
        Ok(())
    }
}

impl StoreChecks for MemoryDurableStore {}

#[async_trait]
impl DurableStore for MemoryDurableStore {
    async fn take_over(&self, partitions: &[Partition]) -> Result<Vec<Offset>, DurableStoreError> {
        let mut data = self.data.lock().await;
        let take = |partition: &Partition| {
            let offset =
                data.offsets.entry(*partition).or_insert_with(|| Offset::start(*partition));
            offset.epoch += 1;
            offset.clone()
        };
        Ok(partitions.iter().map(take).collect())
    }

    async fn offsets(&self, partitions: &[Partition]) -> Result<Vec<Offset>, DurableStoreError> {
        Ok(self.data.lock().await.offsets(partitions))
    }

    async fn layouts(&self, queue: &'static str) -> Result<Vec<Layout>, DurableStoreError> {
        Ok(self.data.lock().await.layouts.get(queue).cloned().unwrap_or_default())
    }

    async fn create_offsets(&self, _: &[Partition]) -> Result<(), DurableStoreError> {
        // One that is missing is one at the start.
        Ok(())
    }

    async fn exclude(
        &self,
        queue: &'static str,
    ) -> Result<Box<dyn Send + Sync>, DurableStoreError> {
        let switching = {
            let mut queues = self.switching.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(queues.entry(queue).or_default())
        };
        Ok(Box::new(switching.lock_owned().await))
    }

    async fn apply(&self, batch: &Batch) -> Result<(), DurableStoreError> {
        let mut data = self.data.lock().await;
        let mut undo = Vec::new();
        data.attempt(&batch.statements, &mut undo)
            .map_err(|refusal| DurableStoreError::Refused(refusal.message.into()))?;
        if let Err(error) = data.move_offsets(&batch.moves) {
            data.roll_back(undo.into_iter().rev());
            return Err(error);
        }
        data.keep(&batch.letters);
        Ok(())
    }

    async fn begin<'a>(
        &'a self,
        partitions: &[Partition],
    ) -> Result<Box<dyn Transaction + 'a>, DurableStoreError> {
        let data = Arc::clone(&self.data).lock_owned().await;
        let offsets = data.offsets(partitions);
        Ok(Box::new(MemoryTransaction {
            data,
            undo: Vec::new(),
            offsets,
            scheme: None,
            layout: None,
        }))
    }

    async fn held(&self, rows: &[HeldRow]) -> Result<Vec<Option<EntryId>>, DurableStoreError> {
        let data = self.data.lock().await;
        Ok(rows.iter().map(|row| data.held(row)).collect())
    }

    async fn letters(
        &self,
        filter: &DeadLetterFilter,
    ) -> Result<Vec<DeadLetter>, DurableStoreError> {
        Ok(self.data.lock().await.letters(filter))
    }

    async fn forget_letters(&self, ids: &[i64]) -> Result<(), DurableStoreError> {
        let mut data = self.data.lock().await;
        data.letters.retain(|stored| !(stored.released && ids.contains(&stored.letter.id)));
        Ok(())
    }

    async fn fetch(
        &self,
        model: &'static ModelDescriptor,
        keys: &[RowKey],
    ) -> Result<Vec<Option<Fetched>>, DurableStoreError> {
        let data = self.data.lock().await;
        let fetch = |key: &RowKey| {
            let row = data.row(model.table, &key.id_values)?.clone();
            let offset = data.offsets.get(&key.partition()).map_or(EntryId::ZERO, |at| at.position);
            Some(Fetched { row, offset })
        };
        Ok(keys.iter().map(fetch).collect())
    }

    async fn find_by(
        &self,
        model: &'static ModelDescriptor,
        index: usize,
        values: &EncodedRow,
    ) -> Result<Option<EncodedRow>, DurableStoreError> {
        let data = self.data.lock().await;
        let index = &model.unique[index];
        let mut rows = data.tables.get(model.table).into_iter().flat_map(HashMap::values);
        Ok(rows.find(|row| unique::has_values(model, index, row, values)).cloned())
    }

    async fn fetch_all(
        &self,
        model: &'static ModelDescriptor,
    ) -> Result<Vec<EncodedRow>, DurableStoreError> {
        let data = self.data.lock().await;
        let rows = data.tables.get(model.table).map(|rows| rows.values().cloned().collect());
        Ok(rows.unwrap_or_default())
    }

    async fn serials(
        &self,
        model: &'static ModelDescriptor,
        count: u32,
    ) -> Result<Vec<i64>, DurableStoreError> {
        let mut data = self.data.lock().await;
        let last = data.sequences.entry(model.table).or_default();
        let first = *last + 1;
        *last += i64::from(count);
        Ok((first..=*last).collect())
    }

    async fn select(&self, select: &Select) -> Result<Vec<EncodedRow>, DurableStoreError> {
        let data = self.data.lock().await;
        let dirty: HashSet<&EncodedRow> = select.dirty.ids.iter().collect();
        let table = data.tables.get(select.model.table).into_iter().flatten();
        let stored = table.filter(|(id, _)| !dirty.contains(id)).map(|(_, row)| row);
        evaluate(select, stored.chain(&select.dirty.rows))
            .map_err(|error| DurableStoreError::RefusedQuery(Box::new(error)))
    }

    async fn held_rows_of(
        &self,
        model: &'static ModelDescriptor,
    ) -> Result<Vec<String>, DurableStoreError> {
        let data = self.data.lock().await;
        let letters = data.letters.iter().map(|stored| &stored.letter);
        let rows = letters.filter(|letter| letter.queue == model.queue).flat_map(DeadLetter::rows);
        let of_model = rows.filter(|(key_prefix, _)| key_prefix == model.key_prefix);
        Ok(of_model.map(|(_, row_id)| row_id).collect())
    }

    fn of_tenant(&self, name: &str, _schema: &str) -> Option<Arc<dyn DurableStore>> {
        // There is nothing to be made before it is used.
        self.tenants().insert(name.to_owned());
        Some(Arc::new(Self::default()))
    }

    async fn tenants(&self) -> Result<Vec<String>, DurableStoreError> {
        Ok(self.tenants().iter().cloned().collect())
    }

    async fn add_tenant(&self, name: &str) -> Result<(), DurableStoreError> {
        self.tenants().insert(name.to_owned());
        Ok(())
    }

    async fn remove_tenant(&self, name: &str) -> Result<(), DurableStoreError> {
        self.tenants().remove(name);
        Ok(())
    }

    fn know(&self, model: &'static ModelDescriptor) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).push(model);
    }

    async fn migrate(&self) -> Result<(), DurableStoreError> {
        Ok(())
    }

    async fn create_tables(
        &self,
        _models: &[&'static ModelDescriptor],
    ) -> Result<(), DurableStoreError> {
        Ok(())
    }
}
