//! What a caller of a repository can be told.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use crate::durability::Durability;
use crate::durable_store::{DurableStoreError, Refusal};
use crate::hot_store::{HotStoreError, NotReplicated};
use crate::key::RowKey;
use crate::model::{FieldError, ModelDescriptor};
use crate::receipt::{DurabilityError, Receipt};

/// The underlying error, kept for its message and its own sources.
pub type Source = Box<dyn StdError + Send + Sync + 'static>;

/// Why an operation of a repository failed.
///
/// Each variant names the model and the operation, and none carries a value of
/// the row beside its id.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No row has this id.
    #[error("{at}: there is no row with id `{id}`")]
    NotFound {
        /// The model and the operation.
        at: Operation,
        /// The id as in the row's key.
        id: String,
    },
    /// No row has this value of a unique field, or of several: of a `get_by_…`.
    #[error("{at}: there is no row with this `{fields}`")]
    NotFoundBy {
        /// The model and the operation.
        at: Operation,
        /// The names of the fields, joined by `_and_`.
        fields: &'static str,
    },
    /// A row with this id is there already.
    #[error("{at}: a row with id `{id}` is there already")]
    Duplicate {
        /// The model and the operation.
        at: Operation,
        /// The id as in the row's key.
        id: String,
    },
    /// Another row has this value of a unique field, or of several.
    #[error("{at}: another row than the one with id `{id}` has the same `{fields}` already")]
    NotUnique {
        /// The model and the operation.
        at: Operation,
        /// The id as in the row's key.
        id: String,
        /// The names of the fields, joined by `_and_`.
        fields: &'static str,
    },
    /// The row was not in the state the operation needs.
    #[error("{at}: the row with id `{id}` {reason}")]
    Conflict {
        /// The model and the operation.
        at: Operation,
        /// The id as in the row's key.
        id: String,
        /// What stands in the way, and what to do.
        reason: &'static str,
    },
    /// A unit of work is about rows that do not lie together.
    #[error("{at}: the row with id `{id}` cannot be in one unit of work with the others: {reason}")]
    Apart {
        /// The model and the operation.
        at: Operation,
        /// The id as in the row's key.
        id: String,
        /// Where the rows lie, and what to declare.
        reason: String,
    },
    /// PostgreSQL refuses the write, and nothing of it is left.
    ///
    /// Only where it is PostgreSQL that acknowledges writes: see
    /// [`StorageScheme`](crate::StorageScheme). Otherwise its refusal becomes a dead letter.
    #[error("{at}: PostgreSQL refuses the write of the row with id `{id}`: {message}")]
    Refused {
        /// The model and the operation.
        at: Operation,
        /// The id as in the row's key.
        id: String,
        /// What PostgreSQL said.
        message: Box<str>,
        /// What PostgreSQL calls the error, where it has a name for it.
        sqlstate: Option<Box<str>>,
        /// The constraint that is violated.
        constraint: Option<Box<str>>,
    },
    /// The write is done, but it is not drained in time, as a write-through is to be.
    ///
    /// Nothing takes it back: to write it again would be a second write. Its receipt tells when it
    /// is durable.
    #[error(
        "{at}: the row with id `{id}` is written, but not drained after {waited:?}; is the drainer \
         running, and does it keep up? (`Settings::write_through_timeout`)"
    )]
    NotDrained {
        /// The model and the operation.
        at: Operation,
        /// The id as in the row's key.
        id: String,
        /// What the write would have answered.
        receipt: Box<Receipt>,
        /// How long it was waited.
        waited: Duration,
    },
    /// A query is about rows that only Redis has.
    #[error(
        "{at}: rows of a model that is stored in Redis only cannot be queried; declare another \
         `scheme`, or move it with `kv.switch_scheme`"
    )]
    RedisOnly {
        /// The model and the operation.
        at: Operation,
    },
    /// A counter cannot hold what the increment would come to; nothing was changed.
    #[error("{at}: the counter `{field}` of the row with id `{id}` would overflow")]
    Overflow {
        /// The model and the operation.
        at: Operation,
        /// The id as in the row's key.
        id: String,
        /// The counter.
        field: &'static str,
    },
    /// PostgreSQL refused an earlier change of the row; this one would wait behind it.
    #[error(
        "{at}: the row with id `{id}` is held by a dead letter; replay or discard it \
         (`kv.dead_letters()`), or let writes queue behind it (`Settings::on_held`)"
    )]
    Held {
        /// The model and the operation.
        at: Operation,
        /// The id as in the row's key.
        id: String,
    },
    /// The partition's queue holds as many undrained entries as it may.
    #[error(
        "{at}: the queue is full, also after {waited:?}; the drainer does not keep up or is not \
         running (`Settings::queue_capacity` is the bound)"
    )]
    Full {
        /// The model and the operation.
        at: Operation,
        /// How long the call has waited for room: see [`OnFull`](crate::OnFull).
        waited: Duration,
    },
    /// The entry would be larger than it may be; nothing was sent.
    #[error(
        "{at}: the entry of the row with id `{id}` has {bytes} bytes, and {max} are allowed; make \
         its values smaller, or raise `Settings::max_entry_bytes`"
    )]
    TooLarge {
        /// The model and the operation.
        at: Operation,
        /// The id as in the row's key.
        id: String,
        /// The bytes of the entry: the values of the columns that the write is about, their
        /// names, and its header.
        bytes: usize,
        /// [`Settings::max_entry_bytes`](crate::Settings::max_entry_bytes).
        max: usize,
    },
    /// The write is done, but it is not known to be as safe as its [`Durability`] says.
    ///
    /// Nothing takes it back: it can be read, and it is drained. To write it again would be a
    /// second write.
    #[error(
        "{at}: the row with id `{id}` is written, but not as safe as asked: {}",
        durability.shortfall(*acknowledged)
    )]
    NotReplicated {
        /// The model and the operation.
        at: Operation,
        /// The id as in the row's key.
        id: String,
        /// What the write would have answered.
        receipt: Box<Receipt>,
        /// What was asked for.
        durability: Durability,
        /// How many replicas said in time that they have it; of
        /// [`Fsynced`](Durability::Fsynced) whether Redis said so, 0 or 1.
        acknowledged: u32,
        /// What went wrong, if it was not the time that ran out.
        #[source]
        source: Option<Source>,
    },
    /// A server could not be reached, or refused for a reason that is not the row's.
    #[error("{at}: {server} is unavailable")]
    Unavailable {
        /// The model and the operation.
        at: Operation,
        /// Which server.
        server: Server,
        /// What it or the connection to it said.
        #[source]
        source: Source,
    },
    /// A server did not answer a read in time.
    #[error("{at}: {server} did not answer in time")]
    Timeout {
        /// The model and the operation.
        at: Operation,
        /// Which server.
        server: Server,
        /// What the connection said.
        #[source]
        source: Source,
    },
    /// The connection was lost before the answer to a write came: it may or may not be done.
    ///
    /// Read the row to know.
    #[error("{at}: the outcome is unknown, the answer for the row with id `{id}` was lost")]
    OutcomeUnknown {
        /// The model and the operation.
        at: Operation,
        /// The id as in the row's key.
        id: String,
        /// What the connection said.
        #[source]
        source: Source,
    },
    /// A value cannot be stored, or a stored one cannot be read.
    #[error("{at}: a value cannot be written or read")]
    Encoding {
        /// The model and the operation.
        at: Operation,
        /// The field and what is wrong with its value.
        #[source]
        source: FieldError,
    },
    /// A query has waited for the drainer in vain: there are more undrained entries than it lays
    /// over PostgreSQL's answer, or the write that it was to wait for is not drained.
    #[error(
        "{at}: the drainer is still not as far as the query needs after {waited:?}; is it running, \
         and does it keep up? (`Settings::overlay_max` is how many undrained entries a query \
         takes in, `Settings::overlay_timeout` how long it waits)"
    )]
    Behind {
        /// The model and the operation.
        at: Operation,
        /// How long it has waited.
        waited: Duration,
    },
    /// The write that a query was to wait for will not be in PostgreSQL by itself.
    #[error("{at}: the write that the query waits for is not in PostgreSQL")]
    NotDurable {
        /// The model and the operation.
        at: Operation,
        /// What became of it.
        #[source]
        source: Box<DurabilityError>,
    },
    /// A query is refused: for what it says, or for what it comes upon in the rows, such as a label
    /// that PostgreSQL's enum does not have, a sum that its type cannot hold, or conditions that
    /// are nested too deep.
    #[error("{at}: the query is refused")]
    QueryRefused {
        /// The model and the operation.
        at: Operation,
        /// What PostgreSQL said, or what is wrong with it before that is asked.
        #[source]
        source: Source,
    },
    /// A cursor was given to another query than it came from.
    #[error(
        "{at}: the cursor is of another query; use it with the model and the orders of the query \
         whose page it ended"
    )]
    Cursor {
        /// The model and the operation.
        at: Operation,
    },
    /// The settings, the servers' state and the models do not fit together.
    #[error("{at}: the configuration is wrong")]
    Configuration {
        /// The model and the operation.
        at: Operation,
        /// What does not fit, and what to do.
        #[source]
        source: Source,
    },
}

impl Error {
    /// Whether there is no such row: with this id, or with this value of a unique field.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::NotFoundBy { .. })
    }

    /// Whether a row is there already: with this id, or with this value of a unique field.
    pub fn is_duplicate(&self) -> bool {
        matches!(self, Self::Duplicate { .. } | Self::NotUnique { .. })
    }

    /// Whether a constraint stands in the way: of what Redis knows, a row of the same id or unique
    /// value; of what PostgreSQL refuses, any of its class 23.
    pub fn is_constraint_violation(&self) -> bool {
        match self {
            Self::Refused { sqlstate: Some(sqlstate), .. } => sqlstate.starts_with("23"),
            _ => self.is_duplicate(),
        }
    }

    /// Whether the same call may succeed a moment later without doing anything twice.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Full { .. }
                | Self::Unavailable { .. }
                | Self::Timeout { .. }
                | Self::Behind { .. }
        )
    }

    pub(crate) fn refused(at: Operation, id: &str, refusal: Refusal) -> Self {
        Self::Refused {
            at,
            id: id.to_owned(),
            message: refusal.message.into(),
            sqlstate: refusal.sqlstate.map(Into::into),
            constraint: refusal.constraint.map(Into::into),
        }
    }

    pub(crate) fn not_replicated(
        at: Operation,
        id: &str,
        receipt: Receipt,
        durability: Durability,
        error: NotReplicated,
    ) -> Self {
        let NotReplicated { acknowledged, source } = error;
        let (id, receipt) = (id.to_owned(), Box::new(receipt));
        Self::NotReplicated { at, id, receipt, durability, acknowledged, source }
    }

    /// `row` does not lie where the first one of its unit of work does.
    pub(crate) fn apart(at: Operation, row: &RowKey, first: &RowKey) -> Self {
        let (place, first_place) = (row.partition(), first.partition());
        let reason = if place.queue == first_place.queue {
            format!(
                "it lies in {place} and the first one in {first_place}; declare `partition_by` of \
                 what they have in common for their models"
            )
        } else {
            format!(
                "`{}` is on queue `{}` and `{}` on queue `{}`; declare the same `queue`, and \
                 `partition_by` of what their rows have in common",
                row.model.name, place.queue, first.model.name, first_place.queue
            )
        };
        Self::Apart { at, id: row.id.clone(), reason }
    }

    pub(crate) fn busy(at: Operation, id: &str) -> Self {
        let reason = "was removed from Redis again and again while it was brought in; try again";
        Self::Conflict { at, id: id.to_owned(), reason }
    }

    /// The same error for another caller, who has waited for the same read.
    #[cfg(feature = "cache")]
    pub(crate) fn repeat(&self, at: Operation) -> Self {
        match self {
            Self::Timeout { server, source, .. } => {
                Self::Timeout { at, server: *server, source: with_sources(&**source).into() }
            }
            Self::Unavailable { server, source, .. } => {
                Self::Unavailable { at, server: *server, source: with_sources(&**source).into() }
            }
            Self::Encoding { source, .. } => Self::Encoding { at, source: source.clone() },
            Self::Configuration { source, .. } => {
                Self::Configuration { at, source: with_sources(&**source).into() }
            }
            // Nothing else comes of a read.
            other => {
                Self::Unavailable { at, server: Server::Redis, source: with_sources(other).into() }
            }
        }
    }

    pub(crate) fn encoding(at: Operation, source: FieldError) -> Self {
        Self::Encoding { at, source }
    }

    pub(crate) fn from_hot(at: Operation, id: &str, error: HotStoreError) -> Self {
        let server = Server::Redis;
        match error {
            HotStoreError::Unavailable(source) => Self::Unavailable { at, server, source },
            HotStoreError::Timeout(source) => Self::Timeout { at, server, source },
            HotStoreError::OutcomeUnknown(source) => {
                Self::OutcomeUnknown { at, id: id.to_owned(), source }
            }
            HotStoreError::Configuration(source) => Self::Configuration { at, source },
            error @ (HotStoreError::Elsewhere | HotStoreError::Moved) => {
                Self::Unavailable { at, server, source: Box::new(error) }
            }
            HotStoreError::Durable(error) => Self::from_durable(at, error),
        }
    }

    pub(crate) fn from_durable(at: Operation, error: DurableStoreError) -> Self {
        let server = Server::PostgreSql;
        match error {
            // What is not known to be the query's fault: it was cancelled, or the server is out of
            // something.
            DurableStoreError::Unavailable(source) | DurableStoreError::Refused(source) => {
                Self::Unavailable { at, server, source }
            }
            DurableStoreError::Timeout(source) => Self::Timeout { at, server, source },
            DurableStoreError::RefusedQuery(source) => Self::QueryRefused { at, source },
            other => Self::Configuration { at, source: other.into_source() },
        }
    }
}

/// An error with those that it came of.
pub(crate) fn with_sources(error: &dyn StdError) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message.push_str(": ");
        message.push_str(&cause.to_string());
        source = cause.source();
    }
    message
}

/// What was being done when an error came up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// The model's name.
    pub model: &'static str,
    /// The repository's method.
    pub verb: &'static str,
}

impl Operation {
    pub(crate) fn new(model: &'static ModelDescriptor, verb: &'static str) -> Self {
        Self { model: model.name, verb }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.model, self.verb)
    }
}

/// One of the two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Server {
    /// The hot side.
    Redis,
    /// The durable side.
    PostgreSql,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redis => "Redis",
            Self::PostgreSql => "PostgreSQL",
        })
    }
}
