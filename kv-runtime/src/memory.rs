//! The in-memory pair with a hand on it, for unit tests of users.

use std::sync::Arc;

use crate::durable_store::memory::MemoryDurableStore;
use crate::durable_store::{Batch, DurableStore, Operation, Statement};
use crate::error::Source;
use crate::hot_store::memory::Watch;
use crate::kv::{ConnectError, Kv};
use crate::model::{FieldError, KvModel};
use crate::row;
use crate::settings::Settings;

/// An in-memory pair for unit tests: it fails when told to, counts calls, and takes rows that
/// PostgreSQL is to have from the beginning.
///
/// Give the code under test its [`Kv`], which is one of [`Kv::memory`] in all else. It is a type of
/// its own, so that neither a pair of servers nor a plain in-memory pair has anything to ask about.
///
/// ```
/// # use kv_runtime::{Error, KvModel};
/// use kv_runtime::{Failure, Memory, Verb};
///
/// #[derive(Debug, Clone, PartialEq, KvModel)]
/// struct Booking {
///     #[kv(id, fresh)]
///     id: i64,
///     status: String,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let memory = Memory::new();
/// memory.insert(&[Booking { id: 7, status: "new".into() }]).await?;
/// let bookings = memory.kv().repository::<Booking>();
///
/// memory.fail_next::<Booking>(Verb::Update, Failure::Unavailable);
/// let error = bookings.update(&7, Booking::patch().status("done")).await;
/// assert!(matches!(error, Err(Error::Unavailable { .. })));
/// bookings.update(&7, Booking::patch().status("done")).await?;
/// assert_eq!(memory.calls::<Booking>(Verb::Update), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Memory {
    kv: Kv,
    durable: Arc<MemoryDurableStore>,
    watch: Arc<Watch>,
}

/// What is done to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verb {
    /// `create`, and each row of a `create_many`.
    Create,
    /// `upsert`.
    Upsert,
    /// `update` and `update_if`.
    Update,
    /// `delete`.
    Delete,
    /// `get_by_id`, `find_by_id` and `exists`, and each row of a `get_many`.
    Read,
}

/// What is answered in place of the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Failure {
    /// [`Error::Unavailable`](crate::Error::Unavailable): nothing is done.
    Unavailable,
    /// [`Error::Timeout`](crate::Error::Timeout), of a read.
    Timeout,
    /// [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown), of a write that is not done.
    OutcomeUnknown,
    /// [`Error::OutcomeUnknown`](crate::Error::OutcomeUnknown), of a write that is done.
    AnswerLost,
    /// [`Error::Duplicate`](crate::Error::Duplicate), of a create.
    Duplicate,
    /// [`Error::NotFound`](crate::Error::NotFound), or no row, of all but creates and upserts.
    NotFound,
    /// [`Error::Full`](crate::Error::Full), of a write; one that waits for room finds some.
    Full,
    /// [`Error::Held`](crate::Error::Held), of a write.
    Held,
}

impl Failure {
    fn can_come_of(self, verb: Verb) -> bool {
        match self {
            Self::Unavailable => true,
            Self::Timeout => verb == Verb::Read,
            Self::OutcomeUnknown | Self::AnswerLost | Self::Full | Self::Held => verb != Verb::Read,
            Self::Duplicate => verb == Verb::Create,
            Self::NotFound => matches!(verb, Verb::Read | Verb::Update | Verb::Delete),
        }
    }
}

/// Why sample rows were not taken; then none of them is there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InsertError {
    /// A value cannot be stored.
    #[error(transparent)]
    Encoding(#[from] FieldError),
    /// The table would refuse them.
    #[error("the table would refuse the rows")]
    Refused(#[source] Source),
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// With the default settings.
    pub fn new() -> Self {
        Self::open(Settings::in_memory())
    }

    /// With settings of one's own.
    ///
    /// # Errors
    /// [`ConnectError::Settings`].
    pub fn with(settings: Settings) -> Result<Self, ConnectError> {
        settings.check()?;
        Ok(Self::open(settings))
    }

    fn open(settings: Settings) -> Self {
        let (durable, watch) = (Arc::new(MemoryDurableStore::default()), Arc::default());
        let kv = Kv::in_memory(settings, Arc::clone(&durable), Some(Arc::clone(&watch)));
        Self { kv, durable, watch }
    }

    /// The pair, for the code under test.
    pub fn kv(&self) -> Kv {
        self.kv.clone()
    }

    /// Has the next such call for a row of the model fail. Said several times, the next calls fail
    /// one after the other.
    ///
    /// # Panics
    /// If no server would ever answer this to such a call, as a duplicate to a read.
    #[track_caller]
    pub fn fail_next<M: KvModel>(&self, verb: Verb, failure: Failure) {
        assert!(failure.can_come_of(verb), "`{failure:?}` never comes of a `{verb:?}`");
        self.watch.fail_next(M::DESCRIPTOR, verb, failure);
    }

    /// How many such calls there were for rows of the model, those that failed among them. A unit of
    /// work counts for each of its changes.
    pub fn calls<M: KvModel>(&self, verb: Verb) -> u64 {
        self.watch.calls(M::DESCRIPTOR, verb)
    }

    /// Puts rows where PostgreSQL would have them: as if they had been drained long ago.
    ///
    /// # Errors
    /// [`InsertError`]. Parents come before their children.
    ///
    /// # Panics
    /// If another model has the same key prefix.
    pub async fn insert<M: KvModel>(&self, rows: &[M]) -> Result<(), InsertError> {
        let model = M::DESCRIPTOR;
        self.kv.stores().know(model);
        let rows = rows.iter().map(row::encode).collect::<Result<_, _>>()?;
        let statements = vec![Statement { model, operation: Operation::Insert(rows) }];
        let inserted = self.durable.apply(&Batch { statements, ..Batch::default() }).await;
        inserted.map_err(|error| InsertError::Refused(error.into_source()))
    }
}
