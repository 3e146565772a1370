//! Units of work: several changes of rows that lie together, made as one.
//!
//! The work is done on the side, over rows as they were read; then one script looks whether all of
//! these are still so, and makes all changes with one entry. Where one is not, nothing is done, and
//! the work is done anew. So nothing is ever locked, and a unit of work that fails leaves nothing.

mod repository;
mod touched;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use self::repository::TransactionRepository;
use self::touched::{Seen, Touched};
use crate::durability::Durability;
use crate::entry::Change;
use crate::error::{Error, Operation};
use crate::hot_store::{ReadOutcome, Terms, Unit, UnitOutcome, UnitRow, WriteOutcome};
use crate::key::RowKey;
use crate::kv::Kv;
use crate::model::KvModel;
use crate::receipt::Receipt;
use crate::room::RoomWait;
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
            let transaction = Self::new(Arc::clone(&stores));
            let (mut change, mut result) = (change.clone(), None);
            if terms != Terms::Any {
                transaction.see(at, &key).await?;
                (change, result) =
                    transaction.touch(at, &key, |row| row.on_terms(change, terms))??;
            }
            transaction.write(at, key.clone(), change).await?;
            let rows = transaction.end();
            match transaction.commit(rows, Some(durability)).await? {
                Attempt::Committed(Some(mut receipt)) => {
                    receipt.result = result;
                    return Ok(receipt);
                }
                Attempt::Committed(None) => return Err(Error::busy(at, &key.id)),
                Attempt::Stale(conflict) => tries.pause(conflict).await?,
            }
        }
    }

    /// The rows of a model, as they are within the unit of work.
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
            let observed = self.stores.hot.observe(key, &random_id()).await;
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

    /// `durability` is what its writes wait for; `None` takes that of their models.
    async fn commit(
        &self,
        touched: Vec<Touched>,
        durability: Option<Durability>,
    ) -> Result<Attempt, Error> {
        // One row that was read alone was whatever it was.
        if touched.len() < 2 && !touched.iter().any(Touched::has_changed) {
            return Ok(Attempt::Committed(None));
        }
        let Some(first) = touched.iter().find(|row| row.has_changed()).or(touched.first()) else {
            return Ok(Attempt::Committed(None));
        };
        let (at, id) = (first.at, first.key.id.clone());
        let mut unit = Unit {
            partition: first.key.partition(),
            operation_id: random_id(),
            rows: touched.iter().map(|row| row.to_unit_row(&self.stores.keys)).collect(),
        };
        self.check_size(at, &id, &unit)?;
        check_claims_differ(at, &unit)?;
        let durabilities = self.check_durabilities(at, &unit, durability).await?;
        let mut room = RoomWait::new(self.stores.settings.on_full);
        for _ in 0..LOADS_MAX {
            let outcome = room.write_unit(&*self.stores.hot, &unit).await;
            let outcome = outcome.map_err(|error| Error::from_hot(at, &id, error))?;
            let (place, refusal) = match outcome {
                UnitOutcome::Unchanged => return Ok(Attempt::Committed(None)),
                UnitOutcome::Refused(place, WriteOutcome::Stale) => {
                    return Ok(Attempt::Stale(stale(&touched[place])));
                }
                UnitOutcome::Refused(place, refusal) => (place, refusal),
                UnitOutcome::ValueRefused { row, claim } => {
                    let at = touched[row].at;
                    unique::probe(&self.stores, at, &mut unit, row, claim).await?;
                    continue;
                }
                UnitOutcome::Written(entry) => {
                    let stores = Arc::clone(&self.stores);
                    let nonce = unit.operation_id;
                    let receipt = Receipt::new(unit.partition, entry, nonce, stores);
                    let receipt = self.replicate(at, &id, receipt, &durabilities).await?;
                    return Ok(Attempt::Committed(Some(receipt)));
                }
            };
            let at = touched[place].at;
            self.answer_refusal(at, &mut unit.rows[place], refusal, &room).await?;
        }
        Err(Error::busy(at, &id))
    }

    fn check_size(&self, at: Operation, id: &str, unit: &Unit) -> Result<(), Error> {
        let (header, values) = unit.encode().unwrap_or_default();
        let (bytes, max) = (header.len() + values.len(), self.stores.settings.max_entry_bytes);
        if bytes > max {
            Err(Error::TooLarge { at, id: id.to_owned(), bytes, max })
        } else {
            Ok(())
        }
    }

    /// The modes of the models that are written, which the server must know.
    async fn check_durabilities(
        &self,
        at: Operation,
        unit: &Unit,
        chosen: Option<Durability>,
    ) -> Result<Vec<Durability>, Error> {
        let mut durabilities = Vec::new();
        for row in unit.rows.iter().filter(|row| row.change.is_some()) {
            let durability = chosen.unwrap_or_else(|| self.rows(&row.key).durability());
            if !durability.is_fast() && !durabilities.contains(&durability) {
                let checked = self.stores.hot.check_durability(durability).await;
                checked.map_err(|error| Error::from_hot(at, &row.key.id, error))?;
                durabilities.push(durability);
            }
        }
        Ok(durabilities)
    }

    async fn replicate(
        &self,
        at: Operation,
        id: &str,
        receipt: Receipt,
        durabilities: &[Durability],
    ) -> Result<Receipt, Error> {
        for &durability in durabilities {
            if let Err(error) = self.stores.hot.replicate(&[receipt.mark()], durability).await {
                return Err(Error::not_replicated(at, id, receipt, durability, error));
            }
        }
        Ok(receipt)
    }

    /// Does what a refused change asks for, so that the unit can be tried again.
    async fn answer_refusal(
        &self,
        at: Operation,
        row: &mut UnitRow,
        refusal: WriteOutcome,
        room: &RoomWait,
    ) -> Result<(), Error> {
        let id = row.key.id.clone();
        match (refusal, &row.change) {
            (WriteOutcome::Absent | WriteOutcome::Unprobed, Some(change)) => {
                let probe = self.rows(&row.key).prepare(at, &row.key, change).await?;
                row.probe = probe.unwrap_or_else(|| row.probe.clone());
                Ok(())
            }
            (WriteOutcome::Exists, _) => Err(Error::Duplicate { at, id }),
            (WriteOutcome::Held, _) => Err(Error::Held { at, id }),
            (WriteOutcome::Full, _) => Err(Error::Full { at, waited: room.waited() }),
            _ => Err(Error::NotFound { at, id }),
        }
    }
}

fn stale(row: &Touched) -> Error {
    let reason = "was changed by others again and again while a unit of work was at it; try again";
    Error::Conflict { at: row.at, id: row.key.id.clone(), reason }
}

/// Two rows of a unit cannot have one value; the script would let the second one take it.
fn check_claims_differ(at: Operation, unit: &Unit) -> Result<(), Error> {
    let mut keys = HashSet::new();
    for row in &unit.rows {
        let claims = row.claims.iter().flatten();
        let mut with_key = claims.filter_map(|claim| Some((claim, claim.key.as_ref()?)));
        if let Some((claim, _)) = with_key.find(|(_, key)| !keys.insert(*key)) {
            return Err(unique::not_unique(at, &row.key, claim));
        }
    }
    Ok(())
}
