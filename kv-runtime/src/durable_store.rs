//! The durable side, as the rest of the runtime sees it: batches and offsets.
//!
//! [`postgres`] keeps them on a server, [`memory`] in this process. Both take
//! the same batches and refuse the same ones.

pub(crate) mod memory;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;

use async_trait::async_trait;

use std::sync::Arc;
use std::time::Duration;

use crate::checks::StoreChecks;
use crate::dead_letters::{DeadLetter, DeadLetterFilter};
use crate::entry::{EntryId, RawEntry};
use crate::error::Source;
use crate::key::{Layout, Partition, RowKey};
use crate::model::ModelDescriptor;
use crate::query::select::Select;
use crate::row::EncodedRow;
use crate::scheme::StorageScheme;

/// How far a partition was drained, as the durable side has committed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offset {
    pub(crate) partition: Partition,
    /// The newest entry whose effect is committed.
    pub(crate) position: EntryId,
    /// That entry's nonce.
    pub(crate) nonce: String,
    /// Raised by every drainer that takes the partition over.
    pub(crate) epoch: i64,
    /// How many dead letters the partition has.
    pub(crate) held: i64,
    /// The entry before which it waits for other partitions.
    pub(crate) waits_at: Option<EntryId>,
    /// How the rows of its queue are stored.
    pub(crate) scheme: StorageScheme,
    /// Whether its queue has other partitions by now.
    pub(crate) is_moved: bool,
}

impl Offset {
    /// Before the first entry of a partition that no drainer has taken yet.
    pub(crate) fn start(partition: Partition) -> Self {
        let (position, nonce) = (EntryId::ZERO, String::new());
        let scheme = StorageScheme::default();
        let (held, waits_at, is_moved) = (0, None, false);
        Self { partition, position, nonce, epoch: 0, held, waits_at, scheme, is_moved }
    }

    /// Whether somebody has taken the partition, so that its scheme is settled.
    pub(crate) fn is_stored(&self) -> bool {
        self.epoch > 0
    }
}

/// The move of a partition's offset, in the same transaction as the rows. It fails where the
/// offset's epoch, position or number of dead letters is another one.
#[derive(Debug, Clone)]
pub(crate) struct OffsetMove {
    pub(crate) from: EntryId,
    pub(crate) from_held: i64,
    pub(crate) to: Offset,
}

/// What is done to some rows of one model by one statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Insert whole rows; one that is there is a refusal.
    Insert(Vec<EncodedRow>),
    /// Insert whole rows, or replace those that are there.
    Upsert(Vec<EncodedRow>),
    /// Set some columns; a row that is not there is a refusal.
    /// Each row has the id's values, and then the new ones.
    Patch { columns: Vec<usize>, rows: Vec<EncodedRow> },
    /// Delete rows by id.
    Delete(Vec<EncodedRow>),
}

impl Operation {
    /// The rows of it, whatever their columns.
    pub(crate) fn rows(&self) -> &[EncodedRow] {
        match self {
            Self::Insert(rows)
            | Self::Upsert(rows)
            | Self::Patch { rows, .. }
            | Self::Delete(rows) => rows,
        }
    }
}

/// One statement of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) model: &'static ModelDescriptor,
    pub(crate) operation: Operation,
}

/// What one transaction does: statements in order, and the offsets they lead to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batch {
    pub(crate) statements: Vec<Statement>,
    pub(crate) letters: Vec<Letter>,
    pub(crate) moves: Vec<OffsetMove>,
}

/// The row of an entry, on its queue: what is held, and what its entries are in order of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct HeldRow {
    pub(crate) partition: Partition,
    /// The key prefix of its model.
    pub(crate) model: Arc<str>,
    /// Its escaped id.
    pub(crate) row_id: String,
}

impl HeldRow {
    /// The rows that an entry names.
    pub(crate) fn all_of(partition: Partition, raw: &RawEntry) -> Vec<Self> {
        let row =
            |(model, row_id): (String, String)| Self { partition, model: model.into(), row_id };
        raw.rows().into_iter().map(row).collect()
    }
}

/// Why PostgreSQL refuses some statements.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) sqlstate: Option<String>,
    pub(crate) message: String,
    pub(crate) detail: Option<String>,
    pub(crate) constraint: Option<String>,
}

impl Refusal {
    /// Whether another row has a value that is unique.
    pub(crate) fn is_of_unique_value(&self) -> bool {
        self.sqlstate.as_deref() == Some("23505")
    }
}

/// An entry that is to become a dead letter.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    pub(crate) partition: Partition,
    pub(crate) entry: RawEntry,
    /// Those that the entry names.
    pub(crate) rows: Vec<HeldRow>,
    pub(crate) refusal: Refusal,
    /// The refused entry of its row, if it is not this one.
    pub(crate) behind: Option<EntryId>,
}

impl Letter {
    /// The row that it is listed by.
    pub(crate) fn first_row(&self) -> Option<&HeldRow> {
        self.rows.first()
    }
}

/// What a transaction leaves beside the rows.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) moves: Vec<OffsetMove>,
    pub(crate) letters: Vec<Letter>,
    /// Dead letters that were replayed or discarded, by number.
    pub(crate) released: Vec<i64>,
    /// A dead letter that was refused again, with the new reason.
    pub(crate) refused_again: Option<(i64, Refusal)>,
}

/// A transaction with the offsets of some partitions locked. Dropped, it is rolled back.
#[async_trait]
pub(crate) trait Transaction: Send {
    /// The offsets, in the order in which they were asked for.
    fn offsets(&self) -> &[Offset];

    /// Runs statements: all of them, or none and the reason.
    async fn attempt(
        &mut self,
        statements: &[Statement],
    ) -> Result<Option<Refusal>, DurableStoreError>;

    /// Reads rows by id, all of one model, as the transaction has left them.
    async fn fetch(
        &mut self,
        model: &'static ModelDescriptor,
        keys: &[RowKey],
    ) -> Result<Vec<Option<EncodedRow>>, DurableStoreError>;

    /// Dead letters in the order of their entries.
    async fn letters(
        &mut self,
        filter: &DeadLetterFilter,
    ) -> Result<Vec<DeadLetter>, DurableStoreError>;

    /// Changes the scheme of the partitions whose offsets it has locked; with
    /// [`OffsetMoved`](DurableStoreError::OffsetMoved) where one has another scheme than `from`.
    /// Their epoch is raised, and their position is a place and no entry then.
    async fn set_scheme(
        &mut self,
        from: StorageScheme,
        to: StorageScheme,
    ) -> Result<(), DurableStoreError>;

    /// Has the queue of the partitions whose offsets it has locked go on with others, behind all of
    /// their positions; with [`OffsetMoved`](DurableStoreError::OffsetMoved) where it has done so
    /// already. The epoch of the old ones is raised.
    async fn change_layout(&mut self, to: Layout) -> Result<(), DurableStoreError>;

    /// Commits what was attempted with success.
    async fn commit(self: Box<Self>, outcome: Outcome) -> Result<(), DurableStoreError>;
}

/// A row and the offset of its partition, in one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fetched {
    pub(crate) row: EncodedRow,
    pub(crate) offset: EntryId,
}

/// What a query answers that may miss something.
#[derive(Debug)]
pub(crate) struct StoredRows {
    pub(crate) rows: Vec<EncodedRow>,
    /// How far the replica that answers may be behind; zero of the primary, `None` where nobody
    /// knows.
    pub(crate) replica_lag: Option<Duration>,
}

impl StoredRows {
    pub(crate) fn of_primary(rows: Vec<EncodedRow>) -> Self {
        Self { rows, replica_lag: Some(Duration::ZERO) }
    }
}

/// Why the durable side could not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DurableStoreError {
    #[error("the server is unavailable")]
    Unavailable(#[source] Source),
    #[error("the server did not answer in time")]
    Timeout(#[source] Source),
    /// A statement was refused, for its content or for another reason: attempts will tell.
    #[error("a statement was refused")]
    Refused(#[source] Source),
    /// A query was refused for what it says, or for what it comes upon in the rows.
    #[error("a query was refused")]
    RefusedQuery(#[source] Source),
    #[error("the database's schema does not fit")]
    Configuration(#[source] Source),
    /// Another drainer has taken the partition over, or a commit of one's own whose answer was
    /// lost has come through meanwhile.
    #[error("an offset is not where this drainer left it")]
    OffsetMoved,
}

impl DurableStoreError {
    /// What the server or the connection to it said.
    pub(crate) fn into_source(self) -> Source {
        match self {
            Self::Unavailable(source)
            | Self::Timeout(source)
            | Self::Refused(source)
            | Self::RefusedQuery(source)
            | Self::Configuration(source) => source,
            Self::OffsetMoved => Box::new(self),
        }
    }

    /// The same error for another row of the same call.
    pub(crate) fn repeat(&self) -> Self {
        match self {
            Self::Unavailable(source) => Self::Unavailable(source.to_string().into()),
            Self::Timeout(source) => Self::Timeout(source.to_string().into()),
            Self::Refused(source) => Self::Refused(source.to_string().into()),
            Self::Configuration(source) => Self::Configuration(source.to_string().into()),
            Self::RefusedQuery(source) => Self::RefusedQuery(source.to_string().into()),
            Self::OffsetMoved => Self::OffsetMoved,
        }
    }
}

/// The port of the durable side.
#[async_trait]
pub(crate) trait DurableStore: StoreChecks + std::fmt::Debug + Send + Sync {
    /// Takes partitions over: raises their epoch, so that an earlier holder can commit nothing.
    async fn take_over(&self, partitions: &[Partition]) -> Result<Vec<Offset>, DurableStoreError>;

    /// The offsets as committed now, in the order of `partitions`.
    async fn offsets(&self, partitions: &[Partition]) -> Result<Vec<Offset>, DurableStoreError>;

    /// The layouts that a queue has had, the oldest first; none where nobody has drained it.
    async fn layouts(&self, queue: &'static str) -> Result<Vec<Layout>, DurableStoreError>;

    /// Makes sure that partitions have an offset.
    async fn create_offsets(&self, partitions: &[Partition]) -> Result<(), DurableStoreError>;

    /// Waits until nobody else switches the queue; nobody can until the answer is dropped.
    async fn exclude(&self, queue: &'static str)
    -> Result<Box<dyn Send + Sync>, DurableStoreError>;

    /// Applies a batch and moves its offsets in one transaction.
    async fn apply(&self, batch: &Batch) -> Result<(), DurableStoreError>;

    /// Begins a transaction in which statements are attempted one by one.
    async fn begin<'a>(
        &'a self,
        partitions: &[Partition],
    ) -> Result<Box<dyn Transaction + 'a>, DurableStoreError>;

    /// For each row the first entry that it is held behind, if it is held.
    async fn held(&self, rows: &[HeldRow]) -> Result<Vec<Option<EntryId>>, DurableStoreError>;

    /// Dead letters in the order of their entries.
    async fn letters(
        &self,
        filter: &DeadLetterFilter,
    ) -> Result<Vec<DeadLetter>, DurableStoreError>;

    /// Forgets dead letters that were released.
    async fn forget_letters(&self, ids: &[i64]) -> Result<(), DurableStoreError>;

    /// Reads rows by id, all of one model.
    async fn fetch(
        &self,
        model: &'static ModelDescriptor,
        keys: &[RowKey],
    ) -> Result<Vec<Option<Fetched>>, DurableStoreError>;

    /// The row that has these values in the columns of the unique index at this position.
    async fn find_by(
        &self,
        model: &'static ModelDescriptor,
        index: usize,
        values: &EncodedRow,
    ) -> Result<Option<EncodedRow>, DurableStoreError>;

    /// Reads all rows of a model.
    async fn fetch_all(
        &self,
        model: &'static ModelDescriptor,
    ) -> Result<Vec<EncodedRow>, DurableStoreError>;

    /// Answers a query.
    async fn select(&self, select: &Select) -> Result<Vec<EncodedRow>, DurableStoreError>;

    /// Answers a query that may miss what was committed a moment ago.
    async fn select_stored(&self, select: &Select) -> Result<StoredRows, DurableStoreError> {
        self.select(select).await.map(StoredRows::of_primary)
    }

    /// The escaped ids of the model's rows with dead letters, released ones included.
    async fn held_rows_of(
        &self,
        model: &'static ModelDescriptor,
    ) -> Result<Vec<String>, DurableStoreError>;

    /// Takes so many numbers from the sequence of a model's serial id.
    async fn serials(
        &self,
        model: &'static ModelDescriptor,
        count: u32,
    ) -> Result<Vec<i64>, DurableStoreError>;

    /// The server, if that is what it is.
    #[cfg(feature = "postgres")]
    fn as_postgres(&self) -> Option<&postgres::PostgresDurableStore> {
        None
    }

    /// The tables of a tenant, over the same connections; `None` where there can be none.
    fn of_tenant(&self, name: &str, schema: &str) -> Option<Arc<dyn DurableStore>>;

    /// The tenants that were added, in order.
    async fn tenants(&self) -> Result<Vec<String>, DurableStoreError>;

    /// Adds a tenant, if it is not there.
    async fn add_tenant(&self, name: &str) -> Result<(), DurableStoreError>;

    /// Removes a tenant; its tables stay.
    async fn remove_tenant(&self, name: &str) -> Result<(), DurableStoreError>;

    /// Is told of a model before its rows are written.
    fn know(&self, _model: &'static ModelDescriptor) {}

    /// Creates the runtime's own tables, where they are missing.
    async fn migrate(&self) -> Result<(), DurableStoreError>;

    /// Creates the tables of models, where they are missing.
    async fn create_tables(
        &self,
        models: &[&'static ModelDescriptor],
    ) -> Result<(), DurableStoreError>;
}
