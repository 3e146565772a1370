//! What a repository does, without the model's type.

mod many;
mod read;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::durability::Durability;
use crate::entry::{Change, EntryId};
use crate::error::{Error, Operation};
use crate::hot_store::{
    EntryMark, HotStoreError, Invalidated, Probe, RowState, Terms, Write, WriteOutcome,
};
use crate::key::RowKey;
use crate::model::ModelDescriptor;
use crate::receipt::Receipt;
use crate::room::RoomWait;
use crate::row::{EncodedPatch, EncodedRow};
use crate::stores::Stores;
use crate::transaction::Transaction;
use crate::{counter, unique, version};

/// How often a write brings its row in, before it says that others keep removing it.
pub(crate) const LOADS_MAX: usize = 10;

/// The rows of one model, untyped.
#[derive(Debug, Clone)]
pub(crate) struct Rows {
    stores: Arc<Stores>,
    model: &'static ModelDescriptor,
    durability: Durability,
}

/// How a row stands between Redis and PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// There is no such row.
    Absent,
    /// It was deleted, and PostgreSQL does not know yet.
    Deleted,
    /// It was written, and PostgreSQL does not know yet.
    Dirty,
    /// PostgreSQL has it as it is.
    Clean,
    /// PostgreSQL refused a change of it: it has dead letters.
    Held,
}

impl Rows {
    pub(crate) fn new(stores: Arc<Stores>, model: &'static ModelDescriptor) -> Self {
        let durability = model.durability.unwrap_or(stores.settings.durability);
        Self { stores, model, durability }
    }

    pub(crate) fn stores(&self) -> &Arc<Stores> {
        &self.stores
    }

    #[cfg(feature = "cache")]
    pub(crate) fn model(&self) -> &'static ModelDescriptor {
        self.model
    }

    pub(crate) fn with_durability(&self, durability: Durability) -> Self {
        Self { durability, ..self.clone() }
    }

    pub(crate) fn durability(&self) -> Durability {
        self.durability
    }

    /// How long a clean row stays.
    pub(crate) fn ttl(&self) -> Duration {
        self.model.ttl.unwrap_or(self.stores.settings.row_ttl)
    }

    pub(crate) fn key(&self, id: EncodedRow) -> RowKey {
        self.stores.keys.row(self.model, id)
    }

    pub(crate) fn parse_key(&self, key: &str) -> Option<RowKey> {
        self.stores.keys.parse_row(self.model, key)
    }

    /// Writes a whole row.
    pub(crate) async fn write_row(&self, at: Operation, change: Change) -> Result<Receipt, Error> {
        let key = self.key_of(&change);
        self.write_by_id(at, key, change).await
    }

    /// Makes one change, and waits until it is as safe as it has to be.
    pub(crate) async fn write_by_id(
        &self,
        at: Operation,
        key: RowKey,
        change: Change,
    ) -> Result<Receipt, Error> {
        if unique::concerns(self.model, &change) {
            return self.write_alone(at, key, change, Terms::Any).await;
        }
        let write = self.new_write(at, key, change)?;
        self.write_new(at, write).await
    }

    /// Makes one change as a unit of work, because it is about unique values too.
    async fn write_alone(
        &self,
        at: Operation,
        key: RowKey,
        change: Change,
        terms: Terms,
    ) -> Result<Receipt, Error> {
        let (stores, durability) = (Arc::clone(&self.stores), self.durability);
        // Apart, because it would make the future of every write larger.
        Box::pin(Transaction::write_one(stores, at, key, change, terms, durability)).await
    }

    /// Replaces a row that still has the unique values of the new one; `None` if it has not.
    pub(crate) async fn replace_owner(
        &self,
        at: Operation,
        key: RowKey,
        row: EncodedRow,
        index: usize,
    ) -> Result<Option<Receipt>, Error> {
        let stores = Arc::clone(&self.stores);
        Transaction::replace_owner(stores, at, key, row, index, self.durability).await
    }

    /// Changes a row that is there on some terms.
    pub(crate) async fn patch_on(
        &self,
        at: Operation,
        key: RowKey,
        terms: Terms,
        patch: EncodedPatch,
    ) -> Result<Receipt, Error> {
        let change = Change::Patch(patch);
        if unique::concerns(self.model, &change) {
            return self.write_alone(at, key, change, terms).await;
        }
        let write = self.new_write(at, key, change)?;
        self.write_new(at, Write { terms, ..write }).await
    }

    async fn write_new(&self, at: Operation, write: Write) -> Result<Receipt, Error> {
        let write = Arc::new(write);
        let mut room = RoomWait::new(self.stores.settings.on_full);
        if self.durability.is_fast() {
            let receipt = self.write_one(at, Arc::clone(&write), &mut room).await?;
            if !self.stores.waits_for_drain(self.model.queue) {
                return Ok(receipt);
            }
            // Apart, because it would make the future of every write larger.
            return Box::pin(receipt.through(at, &write.key.id)).await;
        }
        let durability = self.durability;
        let checked = self.stores.check_durability(self.model, durability).await;
        checked.map_err(|error| Error::from_hot(at, &write.key.id, error))?;
        let receipt = self.write_one(at, Arc::clone(&write), &mut room).await?;
        let receipt = receipt.replicate(at, &write.key.id, durability).await?;
        Box::pin(receipt.through(at, &write.key.id)).await
    }

    /// Makes one write, and brings the row in first where it has to be.
    async fn write_one(
        &self,
        at: Operation,
        mut write: Arc<Write>,
        room: &mut RoomWait,
    ) -> Result<Receipt, Error> {
        for _ in 0..LOADS_MAX {
            let outcome = room.write(&self.stores, std::slice::from_ref(&write)).await.pop();
            if let Some(Err(HotStoreError::Moved)) = outcome {
                let key = self.stores.follow(&write.key).await;
                write = Arc::new(Write { key, ..Write::clone(&write) });
                continue;
            }
            let answer = outcome.and_then(|outcome| self.answer(at, &write, outcome, room));
            if let Some(answer) = answer {
                return answer;
            }
            if let Some(probe) = self.prepare(at, &write.key, &write.change).await? {
                write = Arc::new(Write { probe, ..Write::clone(&write) });
            }
        }
        Err(Error::busy(at, &write.key.id))
    }

    /// Makes changes of whole rows, in as few calls as the hot side takes.
    pub(crate) async fn write_many(
        &self,
        at: Operation,
        changes: Vec<Result<Change, Error>>,
    ) -> Vec<Result<Receipt, Error>> {
        if self.concern_unique_values(changes.iter().flatten()) {
            let with_key = |change: Result<Change, Error>| {
                let change = change?;
                Ok((self.key_of(&change), change))
            };
            return self.write_each(at, changes.into_iter().map(with_key).collect()).await;
        }
        let checked = self.stores.check_durability(self.model, self.durability).await;
        let mut results: Vec<Option<Result<Receipt, Error>>> = Vec::with_capacity(changes.len());
        let mut places = Vec::with_capacity(changes.len());
        let mut writes = Vec::with_capacity(changes.len());
        for (place, change) in changes.into_iter().enumerate() {
            let write = change.and_then(|change| self.new_write(at, self.key_of(&change), change));
            results.push(match (write, &checked) {
                (Ok(write), Ok(())) => {
                    places.push(place);
                    writes.push(write);
                    None
                }
                (Ok(write), Err(error)) => {
                    Some(Err(Error::from_hot(at, &write.key.id, error.repeat())))
                }
                (Err(error), _) => Some(Err(error)),
            });
        }
        if !self.model.id_is_fresh
            && let Err(error) = self.probe_all(at, &mut writes).await
        {
            // Each row then asks by itself, and tells its caller what it met.
            tracing::debug!(%error, "the ids could not be probed together");
        }
        let writes: Vec<Arc<Write>> = writes.into_iter().map(Arc::new).collect();
        let mut room = RoomWait::new(self.stores.settings.on_full);
        let outcomes = room.write(&self.stores, &writes).await;
        let mut answers = Vec::with_capacity(writes.len());
        for (write, outcome) in writes.iter().zip(outcomes) {
            answers.push(match self.answer(at, write, outcome, &room) {
                Some(answer) => answer,
                None => self.write_one(at, Arc::clone(write), &mut room).await,
            });
        }
        let answers = self.make_safe(at, &writes, answers).await;
        for (place, answer) in places.into_iter().zip(answers) {
            results[place] = Some(answer);
        }
        results.into_iter().flatten().collect()
    }

    /// Waits until writes are as safe as they have to be, all together.
    async fn make_safe(
        &self,
        at: Operation,
        writes: &[Arc<Write>],
        answers: Vec<Result<Receipt, Error>>,
    ) -> Vec<Result<Receipt, Error>> {
        let answers = self.replicate_all(at, writes, answers).await;
        if !self.stores.waits_for_drain(self.model.queue) {
            return answers;
        }
        let through = writes.iter().zip(answers).map(async |(write, answer)| {
            let receipt = answer?;
            receipt.through(at, &write.key.id).await
        });
        join_all(through).await
    }

    async fn replicate_all(
        &self,
        at: Operation,
        writes: &[Arc<Write>],
        answers: Vec<Result<Receipt, Error>>,
    ) -> Vec<Result<Receipt, Error>> {
        if self.durability.is_fast() {
            return answers;
        }
        // Each of them: where they took several calls, another server may have taken over in between,
        // which has a later one and not those before it.
        let marks: Vec<EntryMark> = answers
            .iter()
            .flatten()
            .filter(|receipt| !receipt.is_durable)
            .map(Receipt::mark)
            .collect();
        if marks.is_empty() {
            return answers;
        }
        let Err(error) = self.stores.hot.replicate(&marks, self.durability).await else {
            return answers;
        };
        let not_replicated = |(write, answer): (&Arc<Write>, Result<Receipt, Error>)| {
            let (id, error) = (&write.key.id, error.repeat());
            Err(Error::not_replicated(at, id, answer?, self.durability, error))
        };
        writes.iter().zip(answers).map(not_replicated).collect()
    }

    fn key_of(&self, change: &Change) -> RowKey {
        match change {
            Change::Create(row) | Change::Upsert(row) => self.key(self.model.id_of(row)),
            // Callers with an id of their own pass it along.
            Change::Patch(_) | Change::Delete => self.key(EncodedRow::default()),
        }
    }

    fn new_write(&self, at: Operation, key: RowKey, change: Change) -> Result<Write, Error> {
        let probe = match change {
            Change::Create(_) if !self.model.id_is_fresh => Probe::Missing,
            _ => Probe::NotNeeded,
        };
        let change = change.without_foreign(self.model);
        let write = Write { key, change, operation_id: random_id(), probe, terms: Terms::Any };
        let max = self.stores.settings.max_entry_bytes;
        match write.entry_bytes_over(max) {
            Some(bytes) => Err(Error::TooLarge { at, id: write.key.id, bytes, max }),
            None => Ok(write),
        }
    }

    /// What a write's outcome means to its caller; `None` where the row has to be looked for first.
    fn answer(
        &self,
        at: Operation,
        write: &Write,
        outcome: Result<WriteOutcome, HotStoreError>,
        room: &RoomWait,
    ) -> Option<Result<Receipt, Error>> {
        let id = || write.key.id.clone();
        Some(match outcome {
            Ok(WriteOutcome::Written(entry)) => Ok(self.receipt(write, entry)),
            Ok(WriteOutcome::Counted(entry, result)) => {
                let mut receipt = self.receipt(write, entry);
                receipt.result = Some(result);
                Ok(receipt)
            }
            Ok(WriteOutcome::Stored { entry, result }) => {
                let mut receipt = self.receipt(write, entry);
                (receipt.result, receipt.is_durable) = (result, true);
                Ok(receipt)
            }
            Ok(WriteOutcome::Refused(refusal)) => Err(Error::refused(at, &write.key.id, refusal)),
            Ok(outcome @ (WriteOutcome::Null | WriteOutcome::Overflow)) => {
                Err(counter::refused(at, &write.key.id, write.counter(), &outcome))
            }
            Ok(WriteOutcome::Exists) => Err(Error::Duplicate { at, id: id() }),
            Ok(WriteOutcome::Deleted) => Err(Error::NotFound { at, id: id() }),
            Ok(WriteOutcome::Full) => Err(Error::Full { at, waited: room.waited() }),
            Ok(WriteOutcome::Held) => Err(Error::Held { at, id: id() }),
            Ok(WriteOutcome::Stale) => {
                Err(Error::Conflict { at, id: id(), reason: version::CONFLICT })
            }
            Ok(WriteOutcome::Absent | WriteOutcome::Unprobed) | Err(HotStoreError::Moved) => {
                return None;
            }
            Err(error) => Err(Error::from_hot(at, &write.key.id, error)),
        })
    }

    fn receipt(&self, write: &Write, entry: EntryId) -> Receipt {
        let (nonce, stores) = (write.operation_id.clone(), Arc::clone(&self.stores));
        Receipt::new(write.key.partition(), entry, nonce, stores)
    }

    pub(crate) async fn status(&self, at: Operation, key: RowKey) -> Result<Status, Error> {
        let state = self.stores.row_state(&key).await;
        Ok(match state.map_err(|error| Error::from_hot(at, &key.id, error))? {
            RowState::Clean => Status::Clean,
            RowState::Dirty => Status::Dirty,
            RowState::Deleted => Status::Deleted,
            RowState::Held => Status::Held,
            RowState::Missing => {
                let fetched = self.stores.fetch(self.model, &[key]).await;
                let fetched = fetched.map_err(|error| Error::from_durable(at, error))?;
                if fetched.iter().any(Option::is_some) { Status::Clean } else { Status::Absent }
            }
        })
    }

    /// The next serial id; 0 where the model has none, which nobody looks at.
    pub(crate) async fn serial(&self, at: Operation) -> Result<i64, Error> {
        if self.model.serial.is_none() {
            return Ok(0);
        }
        let taken = self.stores.serials.next(&self.stores, self.model).await;
        taken.map_err(|error| Error::from_durable(at, error))
    }

    pub(crate) async fn invalidate(&self, at: Operation, key: RowKey) -> Result<(), Error> {
        let invalidated = self.stores.invalidate(&key).await;
        match invalidated.map_err(|error| Error::from_hot(at, &key.id, error))? {
            Invalidated::Clean => Ok(()),
            Invalidated::Dirty => Err(Error::Conflict {
                at,
                id: key.id,
                reason: "has an entry that is not drained yet; try again when it is",
            }),
        }
    }
}

/// The id of an operation, or a token: random enough never to come twice.
pub(crate) fn random_id() -> String {
    format!("{:016x}", fastrand::u64(..))
}
