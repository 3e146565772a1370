//! Dead letters: entries that PostgreSQL refused for their content, and what queued behind them.
//!
//! They are kept in the table `kv_dead_letters`, in the order of their entries, until they are
//! replayed or discarded. Their rows are held meanwhile: they can be read in Redis as they were
//! written, and are not changed in PostgreSQL.

mod filter;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

pub use self::filter::DeadLetterFilter;
use crate::drain::in_queue_order;
use crate::durable_store::{
    DurableStoreError, HeldRow, Offset, OffsetMove, Outcome, Refusal, Transaction,
};
use crate::entry::{Entry, EntryError, EntryId, RawEntry};
use crate::error::Source;
use crate::failpoint;
use crate::hot_store::HotStoreError;
use crate::key::Partition;
use crate::model::ModelDescriptor;
use crate::stores::Stores;

/// An entry that was refused, or that queues behind one of the same row.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Its number.
    pub id: i64,
    /// The queue that it was on.
    pub queue: String,
    /// The number of its partition.
    pub partition: u16,
    /// The entry.
    pub entry: EntryId,
    /// The key prefix of the row's model, if the entry names a row; of a unit of work, the first.
    pub model: Option<String>,
    /// The row's id as in its key, if the entry names a row; of a unit of work, the first.
    pub row_id: Option<String>,
    /// The entry's header: operation, key prefix, id, operation id and fingerprint.
    pub change: String,
    /// The changed columns as JSON; of a unit of work, its changes.
    pub values: String,
    /// What PostgreSQL calls the error, where it was PostgreSQL that refused it.
    pub sqlstate: Option<String>,
    /// Why it was refused.
    pub message: String,
    /// What PostgreSQL said beside that.
    pub detail: Option<String>,
    /// The constraint that is violated.
    pub constraint: Option<String>,
    /// The refused entry that it queues behind; `None` if it was refused itself.
    pub behind: Option<EntryId>,
    /// When that was.
    pub refused_at: SystemTime,
    /// The bytes of the entry, which need not be text.
    pub(crate) raw: RawEntry,
}

impl DeadLetter {
    /// The rows that it is about, each by the key prefix of its model and its id as in its key:
    /// one, or those of a unit of work.
    pub fn rows(&self) -> Vec<(String, String)> {
        self.raw.rows()
    }

    pub(crate) fn held_rows(&self, partition: Partition) -> Vec<HeldRow> {
        HeldRow::all_of(partition, &self.raw)
    }
}

/// What a replay came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replayed {
    /// Dead letters whose effect is committed now.
    pub applied: u64,
    /// Dead letters that were refused again, or queue behind one that was.
    pub still_held: u64,
}

/// Why dead letters could not be listed, replayed or discarded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeadLetterError {
    /// PostgreSQL did not do it, or its answer was lost: list the dead letters to know.
    #[error("PostgreSQL does not answer about the dead letters; list them to know what is done")]
    PostgreSql(#[source] Source),
    /// Redis could not be told that rows are let go. A drainer does it later.
    #[error("it is done in PostgreSQL, but Redis cannot be told yet that the rows are let go")]
    Redis(#[source] Source),
    /// A drainer, or another replay, was at the same partition again and again.
    #[error("the partition is too busy; try again")]
    Busy,
    /// A dead letter is of a model that this process has no repository and no drainer of.
    #[error(
        "model `{0}` is not known to this process; make its repository with `kv.repository::<…>()` \
         before the replay"
    )]
    UnknownModel(String),
}

impl From<DurableStoreError> for DeadLetterError {
    fn from(error: DurableStoreError) -> Self {
        match error {
            DurableStoreError::OffsetMoved => Self::Busy,
            error => Self::PostgreSql(error.into_source()),
        }
    }
}

impl From<HotStoreError> for DeadLetterError {
    fn from(error: HotStoreError) -> Self {
        Self::Redis(error.into_source())
    }
}

/// The dead letters of a [`Kv`](crate::Kv); made by [`Kv::dead_letters`](crate::Kv::dead_letters).
///
/// ```
/// # use kv_runtime::{DeadLetterFilter, Kv};
/// # async fn run(kv: Kv) -> Result<(), Box<dyn std::error::Error>> {
/// for letter in kv.dead_letters().list(&DeadLetterFilter::new().limit(10)).await? {
///     println!("{} {:?}: {}", letter.entry, letter.row_id, letter.message);
/// }
/// // After the table was mended:
/// kv.dead_letters().replay(&DeadLetterFilter::new().error("23514")).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct DeadLetters {
    stores: Arc<Stores>,
}

/// What is to become of the dead letters of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disposal {
    Replay,
    Discard,
}

/// What became of the dead letters of some rows.
struct Disposed {
    rows: HashSet<HeldRow>,
    /// Dead letters that are no more.
    done: u64,
    left: u64,
}

impl DeadLetters {
    pub(crate) fn new(stores: Arc<Stores>) -> Self {
        Self { stores }
    }

    /// Those that the filter chooses, the oldest first.
    ///
    /// # Errors
    /// [`DeadLetterError::PostgreSql`].
    pub async fn list(
        &self,
        filter: &DeadLetterFilter,
    ) -> Result<Vec<DeadLetter>, DeadLetterError> {
        Ok(self.stores.durable.letters(filter).await?)
    }

    /// The one with this number.
    ///
    /// # Errors
    /// [`DeadLetterError::PostgreSql`].
    pub async fn show(&self, id: i64) -> Result<Option<DeadLetter>, DeadLetterError> {
        Ok(self.list(&DeadLetterFilter::new().id(id)).await?.pop())
    }

    /// Applies the dead letters of every row that the filter meets, all of a row's in order,
    /// and lets the row go; up to the first that is refused again.
    ///
    /// Each row is a transaction of its own, in which its dead letters end: replaying them twice
    /// is not possible. Rows that a unit of work ties together go together.
    ///
    /// # Errors
    /// [`DeadLetterError`]; rows that were replayed before it stay replayed.
    pub async fn replay(&self, filter: &DeadLetterFilter) -> Result<Replayed, DeadLetterError> {
        self.dispose_all(filter, Disposal::Replay).await
    }

    /// Drops the dead letters of every row that the filter meets, all of a row's, and lets the
    /// row go: it is then as PostgreSQL has it. Answers how many were dropped.
    ///
    /// # Errors
    /// [`DeadLetterError`]; what was discarded before it stays discarded.
    pub async fn discard(&self, filter: &DeadLetterFilter) -> Result<u64, DeadLetterError> {
        Ok(self.dispose_all(filter, Disposal::Discard).await?.applied)
    }

    /// Disposes of the rows of the dead letters that the filter chooses, and of those tied to them.
    async fn dispose_all(
        &self,
        filter: &DeadLetterFilter,
        disposal: Disposal,
    ) -> Result<Replayed, DeadLetterError> {
        let mut seen: HashSet<HeldRow> = HashSet::new();
        let mut replayed = Replayed::default();
        for letter in self.list(filter).await? {
            let rows = match letter.model {
                Some(_) => letter.held_rows(self.partition(&letter)?),
                None => Vec::new(),
            };
            match rows.first() {
                Some(row) if seen.contains(row) => {}
                Some(row) => {
                    let disposed = self.dispose(row, disposal).await?;
                    replayed.applied += disposed.done;
                    replayed.still_held += disposed.left;
                    seen.extend(disposed.rows);
                }
                None if disposal == Disposal::Replay => replayed.still_held += 1,
                None => replayed.applied += self.discard_one(&letter).await?,
            }
        }
        Ok(replayed)
    }

    fn partition(&self, letter: &DeadLetter) -> Result<Partition, DeadLetterError> {
        let model = self.stores.models().into_iter().find(|model| model.queue == letter.queue);
        let queue = model.map(|model| model.queue);
        let unknown = || letter.model.clone().unwrap_or_else(|| letter.queue.clone());
        let queue = queue.ok_or_else(|| DeadLetterError::UnknownModel(unknown()))?;
        Ok(Partition { queue, number: letter.partition })
    }

    /// Ends the dead letters of a row and of those tied to it, and lets rows go that have none left.
    async fn dispose(
        &self,
        row: &HeldRow,
        disposal: Disposal,
    ) -> Result<Disposed, DeadLetterError> {
        let models = self.stores.models();
        let mut transaction = self.stores.durable.begin(&[row.partition]).await?;
        let (rows, letters) = tied_together(transaction.as_mut(), row).await?;
        let mut done = letters.len();
        let mut outcome = Outcome::default();
        if disposal == Disposal::Replay {
            let refused = apply_in_order(transaction.as_mut(), &letters, &models).await?;
            if let Some((at, refusal)) = refused {
                done = at;
                outcome.refused_again = Some((letters[at].id, refusal));
            }
        }
        outcome.released = letters[..done].iter().map(|letter| letter.id).collect();
        let offset = transaction.offsets().first().cloned();
        let offset = offset.unwrap_or_else(|| Offset::start(row.partition));
        outcome.moves.push(fewer_held(&offset, done));
        let released = outcome.released.clone();
        transaction.commit(outcome).await?;
        failpoint::reach("after_release");
        let (_, left) = letters.split_at(done);
        let still_held: HashSet<HeldRow> =
            left.iter().flat_map(|letter| letter.held_rows(row.partition)).collect();
        for row in rows.difference(&still_held) {
            self.stores.let_go(row, offset.position).await?;
        }
        failpoint::reach("after_let_go");
        self.forget(&released).await;
        Ok(Disposed { rows, done: done as u64, left: left.len() as u64 })
    }

    /// Drops the dead letter of an entry whose writer was told, and lets its rows go that have no
    /// others. What queues behind it stays: each is its own writer's.
    pub(crate) async fn withdraw(
        &self,
        partition: Partition,
        entry: EntryId,
    ) -> Result<(), DeadLetterError> {
        let mut transaction = self.stores.durable.begin(&[partition]).await?;
        let own = transaction.letters(&DeadLetterFilter::of_entry(partition, entry)).await?.pop();
        let Some(own) = own else { return Ok(()) };
        let mut free = Vec::new();
        for row in own.held_rows(partition) {
            let letters = transaction.letters(&DeadLetterFilter::of_row(&row)).await?;
            if letters.iter().all(|letter| letter.id == own.id) {
                free.push(row);
            }
        }
        let offset = transaction.offsets().first().cloned();
        let offset = offset.unwrap_or_else(|| Offset::start(partition));
        let outcome = Outcome {
            moves: vec![fewer_held(&offset, 1)],
            released: vec![own.id],
            ..Outcome::default()
        };
        transaction.commit(outcome).await?;
        for row in &free {
            self.stores.let_go(row, offset.position).await?;
        }
        self.forget(&[own.id]).await;
        Ok(())
    }

    /// Drops a dead letter that names no row.
    async fn discard_one(&self, letter: &DeadLetter) -> Result<u64, DeadLetterError> {
        let partition = self.partition(letter)?;
        let mut transaction = self.stores.durable.begin(&[partition]).await?;
        let still_there = transaction.letters(&DeadLetterFilter::new().id(letter.id)).await?;
        if still_there.is_empty() {
            return Ok(0);
        }
        let moves = transaction.offsets().iter().map(|offset| fewer_held(offset, 1)).collect();
        let outcome = Outcome { moves, released: vec![letter.id], ..Outcome::default() };
        transaction.commit(outcome).await?;
        self.forget(&[letter.id]).await;
        Ok(1)
    }

    /// What is done is done; what is left of it, a drainer forgets later.
    async fn forget(&self, released: &[i64]) {
        if let Err(error) = self.stores.durable.forget_letters(released).await {
            tracing::debug!(%error, "released dead letters are not forgotten yet");
        }
    }
}

/// The dead letters of a row in order, with those of the rows that units of work tie to it.
async fn tied_together(
    transaction: &mut dyn Transaction,
    row: &HeldRow,
) -> Result<(HashSet<HeldRow>, Vec<DeadLetter>), DeadLetterError> {
    let mut rows = HashSet::from([row.clone()]);
    let mut letters = BTreeMap::new();
    let mut unseen = vec![row.clone()];
    while let Some(next) = unseen.pop() {
        for letter in transaction.letters(&DeadLetterFilter::of_row(&next)).await? {
            let tied = letter.held_rows(row.partition).into_iter();
            unseen.extend(tied.filter(|row| rows.insert(row.clone())));
            letters.insert(letter.entry, letter);
        }
    }
    Ok((rows, letters.into_values().collect()))
}

/// Applies dead letters; answers the first that is refused again, by place.
async fn apply_in_order(
    transaction: &mut dyn Transaction,
    letters: &[DeadLetter],
    models: &[&'static ModelDescriptor],
) -> Result<Option<(usize, Refusal)>, DeadLetterError> {
    for (at, letter) in letters.iter().enumerate() {
        let refusal = match Entry::decode(&letter.raw, models) {
            Ok(entry) => transaction.attempt(&in_queue_order([entry], models)).await?,
            Err(EntryError::UnknownModel(model)) => {
                return Err(DeadLetterError::UnknownModel(model));
            }
            Err(error) => Some(Refusal { message: error.to_string(), ..Refusal::default() }),
        };
        if let Some(refusal) = refusal {
            return Ok(Some((at, refusal)));
        }
    }
    Ok(None)
}

/// An offset that stays where it is, with fewer dead letters: a drainer that knows of more
/// reads it again.
fn fewer_held(offset: &Offset, done: usize) -> OffsetMove {
    let held = offset.held - i64::try_from(done).unwrap_or(i64::MAX);
    let to = Offset { held, ..offset.clone() };
    OffsetMove { from: offset.position, from_held: offset.held, to }
}
