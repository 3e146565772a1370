//! Units of work: several changes of rows that lie together, made as one.
//!
//! The work is done on the side, over rows as they were read; then one script looks whether all of
//! these are still so, and makes all changes with one entry. Where one is not, nothing is done, and
//! the work is done anew. So nothing is ever locked, and a unit of work that fails leaves nothing.

mod commit;
mod repository;
mod touched;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use self::repository::TransactionRepository;
use self::touched::{Seen, Touched};
use crate::durability::Durability;
use crate::entry::Change;
use crate::error::{Error, Operation};
use crate::hot_store::{ReadOutcome, Terms};
use crate::key::RowKey;
use crate::kv::Kv;
use crate::model::KvModel;
use crate::receipt::Receipt;
use crate::row::EncodedRow;
use crate::rows::{LOADS_MAX, Rows, random_id};
use crate::stores::Stores;
use crate::unique;

/// How often the work is done anew because others have changed what it read.
const TRIES_MAX: u32 = 20;
/// The first pause between two tries; they grow.
const PAUSE_MIN: Duration = Duration::from_micros(500);

/// What a unit of work has come to.
#[derive(Debug)]
#[non_exhaustive]
pub struct Committed<T> {
    /// What the work has answered.
    pub value: T,
    /// Where its entry stands; `None` if it has changed nothing.
    pub receipt: Option<Receipt>,
}

/// A unit of work while it is done; see [`Kv::transaction`].
#[derive(Debug, Clone)]
pub struct Transaction {
    stores: Arc<Stores>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    rows: Vec<Touched>,
    by_key: HashMap<String, usize>,
    has_ended: bool,
    /// The row that was touched before its queue got other partitions, where another was touched since.
    scattered: Option<(Operation, String)>,
}

/// How a try has ended.
enum Attempt {
    Committed(Option<Receipt>),
    /// What it read was changed by others.
    Stale(Error),
}

impl Kv {
    /// Makes several changes as one: all of them, or none.
    ///
    /// In Redis they are one script with one entry; PostgreSQL gets them in one transaction, and if
    /// it refuses them they are one dead letter. What the work reads is still so when its changes
    /// are made: if others have changed it meanwhile, the work is done anew, on what is there then.
    /// So it may run several times, and should do nothing that cannot be repeated. If it answers
    /// an error, nothing is changed.
    ///
    /// It should take less than ten seconds: what it found to be absent is remembered for so long.
    ///
    /// The rows have to lie in one partition of one queue: let their models share it with
    /// `#[kv(queue = "…", partition_by = …)]`.
    ///
    /// ```
    /// # use kv_runtime::{Error, Kv, KvModel};
    /// #[derive(Debug, Clone, PartialEq, KvModel)]
    /// #[kv(queue = "bank", partition_by = branch)]
    /// struct Account {
    ///     #[kv(id, fresh)]
    ///     branch: i64,
    ///     #[kv(id, fresh)]
    ///     number: i64,
    ///     balance: i64,
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Error> {
    /// # let kv = Kv::memory();
    /// # for number in 1..3 {
    /// #     kv.repository::<Account>().create(&Account { branch: 7, number, balance: 100 }).await?;
    /// # }
    /// kv.transaction(async |unit| {
    ///     let accounts = unit.repository::<Account>();
    ///     let (from, to) = (accounts.get_by_id(&(7, 1)).await?, accounts.get_by_id(&(7, 2)).await?);
    ///     accounts.update(&(7, 1), Account::patch().balance(from.balance - 30)).await?;
    ///     accounts.update(&(7, 2), Account::patch().balance(to.balance + 30)).await?;
    ///     Ok::<_, Error>(())
    /// })
    /// .await?;
    /// assert_eq!(kv.repository::<Account>().get_by_id(&(7, 2)).await?.balance, 130);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What the work answers; [`Error::Apart`] where its rows do not lie together;
    /// [`Error::Conflict`] where others were faster again and again; and those of its writes, which
    /// are known when all of them are made: [`Error::Duplicate`], [`Error::NotFound`], and those
    /// named at [`Repository`](crate::Repository).
    pub async fn transaction<T, E, W>(&self, work: W) -> Result<Committed<T>, E>
    where
        // Not `AsyncFn`, whose futures cannot be told to be `Send` in a task.
        W: AsyncFnOnce(Transaction) -> Result<T, E> + Clone,
        E: From<Error>,
    {
        let mut tries = Tries::default();
        loop {
            let transaction = Transaction::new(Arc::clone(self.stores()));
            let worked = work.clone()(transaction.clone()).await;
            let rows = transaction.end();
            if let Some(conflict) = transaction.scattered() {
                tries.pause(conflict).await?;
                continue;
            }
            let value = worked?;
            match transaction.commit(rows, None).await? {
                Attempt::Committed(receipt) => return Ok(Committed { value, receipt }),
                Attempt::Stale(conflict) => tries.pause(conflict).await?,
            }
        }
    }
}

/// How often the work was done.
#[derive(Debug, Default)]
struct Tries(u32);

impl Tries {
    /// Waits before the next try; the conflict if there were enough.
    async fn pause(&mut self, conflict: Error) -> Result<(), Error> {
        self.0 += 1;
        if self.0 == TRIES_MAX {
            return Err(conflict);
        }
        // Those who met must not meet again.
        let pause = PAUSE_MIN * self.0 * self.0;
        tokio::time::sleep(pause.mul_f64(fastrand::f64())).await;
        Ok(())
    }
}

impl Transaction {
    fn new(stores: Arc<Stores>) -> Self {
        Self { stores, state: Arc::default() }
    }

    /// Makes one change as a unit of its own, on terms that the row has to meet.
    pub(crate) async fn write_one(
        stores: Arc<Stores>,
        at: Operation,
        key: RowKey,
        change: Change,
        terms: Terms,
        durability: Durability,
    ) -> Result<Receipt, Error> {
        let mut tries = Tries::default();
        loop {
            let key = stores.keys.renewed(&key);
            let transaction = Self::new(Arc::clone(&stores));
            let (mut change, mut result) = (change.clone(), None);
            if terms != Terms::Any {
                transaction.see(at, &key).await?;
                (change, result) =
                    transaction.touch(at, &key, |row| row.on_terms(change, terms))??;
            }
            transaction.write(at, key.clone(), change).await?;
            match transaction.finish(durability).await? {
                Attempt::Committed(Some(mut receipt)) => {
                    receipt.result = result;
                    return Ok(receipt);
                }
                Attempt::Committed(None) => return Err(Error::busy(at, &key.id)),
                Attempt::Stale(conflict) => tries.pause(conflict).await?,
            }
        }
    }

    /// Replaces a row that still has the values of the new one by a unique index; `None` if not.
    pub(crate) async fn replace_owner(
        stores: Arc<Stores>,
        at: Operation,
        key: RowKey,
        row: EncodedRow,
        index: usize,
        durability: Durability,
    ) -> Result<Option<Receipt>, Error> {
        let transaction = Self::new(stores);
        transaction.see(at, &key).await?;
        let (model, index) = (key.model, &key.model.unique[index]);
        let values = model.select(index.columns, &row);
        let current = transaction.touch(at, &key, |touched| touched.row())??;
        if !current.is_some_and(|current| unique::has_values(model, index, &current, &values)) {
            return Ok(None);
        }
        transaction.write(at, key, Change::Upsert(row)).await?;
        match transaction.finish(durability).await? {
            Attempt::Committed(receipt) => Ok(receipt),
            Attempt::Stale(_) => Ok(None),
        }
    }

    /// Ends the work, and makes its changes.
    async fn finish(&self, durability: Durability) -> Result<Attempt, Error> {
        let rows = self.end();
        self.commit(rows, Some(durability)).await
    }

    /// The rows of a model, as they are within the unit of work.
    ///
    /// # Panics
    /// If another model has the same key prefix.
    #[track_caller]
    pub fn repository<M: KvModel>(&self) -> TransactionRepository<M> {
        self.stores.know(M::DESCRIPTOR);
        TransactionRepository::new(self.clone())
    }

    /// Never held across an await; nothing that is done under it panics half-way.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was read and changed; a handle that is left can do nothing more.
    fn end(&self) -> Vec<Touched> {
        let mut state = self.lock();
        state.has_ended = true;
        state.by_key.clear();
        std::mem::take(&mut state.rows)
    }

    /// Why the work has to be done anew, if its rows were looked for in different partitions.
    fn scattered(&self) -> Option<Error> {
        let (at, id) = self.lock().scattered.take()?;
        Some(scattered(at, id))
    }

    /// Does something with a row, which becomes a part of the unit of work.
    fn touch<T>(
        &self,
        at: Operation,
        key: &RowKey,
        touch: impl FnOnce(&mut Touched) -> T,
    ) -> Result<T, Error> {
        let mut state = self.lock();
        if state.has_ended {
            let reason = "was touched by a unit of work that has ended already; \
                          wait for everything within its closure";
            return Err(Error::Conflict { at, id: key.id.clone(), reason });
        }
        if let Some(first) = state.rows.first()
            && first.key.partition() != key.partition()
        {
            if !self.stores.keys.is_current(first.key.partition()) {
                let id = first.key.id.clone();
                state.scattered = Some((at, id.clone()));
                return Err(scattered(at, id));
            }
            return Err(Error::apart(at, key, &first.key));
        }
        let place = match state.by_key.get(&key.key) {
            Some(place) => *place,
            None => {
                let place = state.rows.len();
                state.by_key.insert(key.key.clone(), place);
                state.rows.push(Touched::new(key.clone(), at));
                place
            }
        };
        Ok(touch(&mut state.rows[place]))
    }

    /// The row as it is within the unit of work.
    async fn read(&self, at: Operation, key: RowKey) -> Result<Option<EncodedRow>, Error> {
        if self.touch(at, &key, |row| row.must_be_seen_to_read())? {
            self.see(at, &key).await?;
        }
        self.touch(at, &key, |row| row.row())?
    }

    async fn write(&self, at: Operation, key: RowKey, change: Change) -> Result<(), Error> {
        if self.touch(at, &key, |row| row.must_be_seen_before(&change))? {
            self.see(at, &key).await?;
        }
        self.touch(at, &key, |row| row.change(at, change))?
    }

    /// Reads a row, so that it is known whether it is still the same in the end.
    async fn see(&self, at: Operation, key: &RowKey) -> Result<(), Error> {
        let rows = self.rows(key);
        for _ in 0..LOADS_MAX {
            let observed = self.stores.observe(key, &random_id()).await;
            let observed = observed.map_err(|error| Error::from_hot(at, &key.id, error))?;
            let row = match observed.outcome {
                ReadOutcome::Row(row) => Some(row),
                ReadOutcome::Deleted => None,
                // PostgreSQL is asked after the token was left: while it is there, nothing changes.
                ReadOutcome::Missing { .. } if rows.is_brought_in(at, key).await? => continue,
                ReadOutcome::Missing { .. } => None,
            };
            return self.touch(at, key, |touched| {
                // Where two read it at once, the first has told what the row is.
                touched.seen.get_or_insert(Seen { stamp: observed.stamp, row });
            });
        }
        Err(Error::busy(at, &key.id))
    }

    fn rows(&self, key: &RowKey) -> Rows {
        Rows::new(Arc::clone(&self.stores), key.model)
    }
}

fn scattered(at: Operation, id: String) -> Error {
    let reason = "was touched by a unit of work before its queue got other partitions; try again";
    Error::Conflict { at, id, reason }
}
