//! The durable side, as the rest of the runtime sees it: batches and offsets.
//!
//! [`postgres`] keeps them on a server, [`memory`] in this process. Both take
//! the same batches and refuse the same ones.

pub(crate) mod memory;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;

use async_trait::async_trait;

use crate::entry::EntryId;
use crate::error::Source;
use crate::key::{Partition, RowKey};
use crate::model::ModelDescriptor;
use crate::row::EncodedRow;

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
}

impl Offset {
    /// Before the first entry of a partition that no drainer has taken yet.
    pub(crate) fn start(partition: Partition) -> Self {
        Self { partition, position: EntryId::ZERO, nonce: String::new(), epoch: 0 }
    }
}

/// The move of a partition's offset, in the same transaction as the rows.
#[derive(Debug, Clone)]
pub(crate) struct OffsetMove {
    pub(crate) from: EntryId,
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
    pub(crate) moves: Vec<OffsetMove>,
}

/// A row and the offset of its partition, in one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fetched {
    pub(crate) row: EncodedRow,
    pub(crate) offset: EntryId,
}

/// Why an entry has no effect on the durable side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) message: String,
    pub(crate) sqlstate: Option<String>,
}

/// Why the durable side could not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DurableStoreError {
    #[error("the server is unavailable")]
    Unavailable(#[source] Source),
    #[error("the server did not answer in time")]
    Timeout(#[source] Source),
    /// A row was refused for its content.
    #[error("a row was refused")]
    Content(#[source] Source),
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
            | Self::Content(source)
            | Self::Configuration(source) => source,
            Self::OffsetMoved => Box::new(self),
        }
    }
}

/// The port of the durable side.
#[async_trait]
pub(crate) trait DurableStore: std::fmt::Debug + Send + Sync {
    /// Takes partitions over: raises their epoch, so that an earlier holder can commit nothing.
    async fn take_over(&self, partitions: &[Partition]) -> Result<Vec<Offset>, DurableStoreError>;

    /// The offsets as committed now, in the order of `partitions`.
    async fn offsets(&self, partitions: &[Partition]) -> Result<Vec<Offset>, DurableStoreError>;

    /// Applies a batch and moves its offsets in one transaction.
    async fn apply(&self, batch: &Batch) -> Result<(), DurableStoreError>;

    /// Reads rows by id, all of one model.
    async fn fetch(
        &self,
        model: &'static ModelDescriptor,
        keys: &[RowKey],
    ) -> Result<Vec<Option<Fetched>>, DurableStoreError>;

    /// Reads all rows of a model.
    async fn fetch_all(
        &self,
        model: &'static ModelDescriptor,
    ) -> Result<Vec<EncodedRow>, DurableStoreError>;

    /// Whether an entry, settled already, was refused.
    async fn refusal(
        &self,
        partition: Partition,
        entry: EntryId,
    ) -> Result<Option<Refusal>, DurableStoreError>;

    /// Creates the runtime's own tables, where they are missing.
    async fn migrate(&self) -> Result<(), DurableStoreError>;
}
