//! What a write answers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::dead_letters::DeadLetterFilter;
use crate::durable_store::DurableStoreError;
use crate::entry::EntryId;
use crate::error::{Server, Source};
use crate::hot_store::{EntryMark, HotStoreError, Standing};
use crate::key::Partition;
use crate::settled::SettledWatch;
use crate::stores::Stores;

/// A queue that went back does not move: it is looked at itself this often.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The pause before a server that is away is asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// What a write answers: where its entry stands.
#[derive(Clone)]
#[non_exhaustive]
pub struct Receipt {
    /// The partition of the queue.
    pub partition: Partition,
    /// The entry.
    pub entry: EntryId,
    /// The row's version after it: [`EntryId::version`].
    pub version: i64,
    /// What an increment came to.
    pub(crate) result: Option<i64>,
    /// The id of the operation that wrote the entry.
    nonce: String,
    stores: Arc<Stores>,
}

/// Why a write is not in PostgreSQL, and will not be by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DurabilityError {
    /// PostgreSQL refused the entry for its content, or an earlier one of the same row: it is a
    /// dead letter.
    #[error("entry {entry} of {partition} was refused: {message}")]
    Refused {
        /// The partition of the queue.
        partition: Partition,
        /// The entry.
        entry: EntryId,
        /// What PostgreSQL said.
        message: String,
        /// PostgreSQL's code for it, where it has one.
        sqlstate: Option<String>,
    },
    /// Redis went back in time and has the entry no more: PostgreSQL may have its effect, or it
    /// is lost. Read the row to know.
    #[error("entry {entry} of {partition} is gone from its queue; read the row to know its state")]
    Lost {
        /// The partition of the queue.
        partition: Partition,
        /// The entry.
        entry: EntryId,
    },
    /// A server refuses to tell, for a reason that waiting does not mend, such as a missing right.
    #[error("{server} does not tell whether the write is durable")]
    Unavailable {
        /// Which server.
        server: Server,
        /// What it said.
        #[source]
        source: Source,
    },
}

impl Receipt {
    pub(crate) fn new(
        partition: Partition,
        entry: EntryId,
        nonce: String,
        stores: Arc<Stores>,
    ) -> Self {
        Self { partition, entry, version: entry.version(), result: None, nonce, stores }
    }

    pub(crate) fn mark(&self) -> EntryMark {
        EntryMark { partition: self.partition, id: self.entry, nonce: self.nonce.clone() }
    }

    /// Waits until the write has committed in PostgreSQL.
    ///
    /// It takes as long as the drainer takes, through outages of either server: put
    /// `tokio::time::timeout` around it to bound it. It can be dropped and called again.
    ///
    /// # Errors
    /// [`DurabilityError`]: the write was refused, or is lost.
    pub async fn await_durable(&self) -> Result<(), DurabilityError> {
        self.await_settled().await?;
        self.check_not_refused().await
    }

    async fn await_settled(&self) -> Result<(), DurabilityError> {
        let mark = self.mark();
        loop {
            match self.stores.hot.standing(&mark).await {
                Ok(Standing::Settled) => return Ok(()),
                Ok(Standing::Queued) => {}
                Ok(Standing::Gone) => {
                    return Err(DurabilityError::Lost {
                        partition: self.partition,
                        entry: self.entry,
                    });
                }
                Err(HotStoreError::Configuration(source)) => {
                    return Err(DurabilityError::Unavailable { server: Server::Redis, source });
                }
                Err(error) => {
                    tracing::debug!(%error, "a receipt waits for Redis");
                    tokio::time::sleep(RETRY_PAUSE).await;
                    continue;
                }
            }
            let passed = SettledWatch::passed(&self.stores, self.partition, self.entry);
            let _ = tokio::time::timeout(LOOK_AGAIN, passed).await;
        }
    }

    async fn check_not_refused(&self) -> Result<(), DurabilityError> {
        let filter = DeadLetterFilter::of_entry(self.partition, self.entry);
        loop {
            match self.stores.durable.letters(&filter).await {
                Ok(letters) => {
                    let Some(letter) = letters.into_iter().next() else { return Ok(()) };
                    return Err(DurabilityError::Refused {
                        partition: self.partition,
                        entry: self.entry,
                        message: letter.message,
                        sqlstate: letter.sqlstate,
                    });
                }
                Err(
                    DurableStoreError::Unavailable(source)
                    | DurableStoreError::Timeout(source)
                    | DurableStoreError::Refused(source),
                ) => {
                    tracing::debug!(error = %source, "a receipt waits for PostgreSQL");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                Err(other) => {
                    let (server, source) = (Server::PostgreSql, other.into_source());
                    return Err(DurabilityError::Unavailable { server, source });
                }
            }
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt")
            .field("partition", &self.partition)
            .field("entry", &self.entry)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Receipt {
    fn eq(&self, other: &Self) -> bool {
        (self.partition, self.entry, &self.nonce) == (other.partition, other.entry, &other.nonce)
    }
}

impl Eq for Receipt {}
