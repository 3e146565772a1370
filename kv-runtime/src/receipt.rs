//! What a write answers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::dead_letters::{DeadLetterFilter, DeadLetters};
use crate::durability::Durability;
use crate::durable_store::{DurableStoreError, Refusal};
use crate::entry::EntryId;
use crate::error::{Error, Operation, Server, Source};
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
    /// Whether PostgreSQL had it before it was acknowledged.
    pub(crate) is_durable: bool,
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
        /// The constraint that is violated.
        constraint: Option<String>,
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
        let (version, result, is_durable) = (entry.version(), None, false);
        Self { partition, entry, version, result, is_durable, nonce, stores }
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
        if self.is_durable {
            return Ok(());
        }
        self.await_settled().await?;
        self.check_not_refused().await
    }

    /// Waits until the write is as safe in Redis as a mode says.
    pub(crate) async fn replicate(
        self,
        at: Operation,
        id: &str,
        durability: Durability,
    ) -> Result<Self, Error> {
        if self.is_durable {
            return Ok(self);
        }
        match self.stores.hot.replicate(&[self.mark()], durability).await {
            Ok(()) => Ok(self),
            Err(error) => Err(Error::not_replicated(at, id, self, durability, error)),
        }
    }

    /// Waits until the write is drained, if its queue is written through.
    pub(crate) async fn through(self, at: Operation, id: &str) -> Result<Self, Error> {
        if self.is_durable || !self.stores.waits_for_drain(self.partition.queue) {
            return Ok(self);
        }
        let waited = self.stores.settings.write_through_timeout;
        match tokio::time::timeout(waited, self.await_durable()).await {
            Ok(Ok(())) => Ok(self),
            Ok(Err(DurabilityError::Refused { message, sqlstate, constraint, .. })) => {
                // The caller knows of it, so nobody else has to. What cannot be discarded now stays
                // a dead letter.
                let letters = DeadLetters::new(Arc::clone(&self.stores));
                if let Err(error) = letters.withdraw(self.partition, self.entry).await {
                    tracing::warn!(%error, "a refused write stays a dead letter");
                }
                let refusal = Refusal { message, sqlstate, constraint, ..Refusal::default() };
                Err(Error::refused(at, id, refusal))
            }
            Ok(Err(source)) => Err(Error::NotDurable { at, source: Box::new(source) }),
            Err(_) => {
                Err(Error::NotDrained { at, id: id.to_owned(), receipt: Box::new(self), waited })
            }
        }
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
                        constraint: letter.constraint,
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
