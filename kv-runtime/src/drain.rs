//! The drainer: it carries entries from the queues to PostgreSQL.
//!
//! Each worker owns a share of the partitions. A step of it reads entries from
//! the offsets on, folds them by row, applies them together with the new
//! offsets in one transaction, and settles the rows in Redis. A crash anywhere
//! repeats nothing and skips nothing, because rows and offsets commit together;
//! what a crash between commit and settle leaves is settled at the next start.

mod backoff;
mod fold;
mod gate;
mod plan;
mod progress;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::plan::Context;
use self::progress::Progress;
use self::worker::{Request, Worker, age};
use crate::checks::{self, CheckError};
use crate::entry::EntryId;
use crate::error::Source;
use crate::hot_store::{HotStoreError, ReadRequest};
use crate::key::Partition;
use crate::model::{KvModel, ModelDescriptor};
use crate::stores::Stores;

/// How long a worker may take to end after it was asked to.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Says which models a drainer carries; made by [`Kv::drainer`](crate::Kv::drainer).
#[derive(Debug)]
#[must_use = "nothing is drained until it is spawned"]
pub struct DrainerBuilder {
    stores: Arc<Stores>,
    models: Vec<&'static ModelDescriptor>,
}

impl DrainerBuilder {
    pub(crate) fn new(stores: Arc<Stores>) -> Self {
        Self { stores, models: Vec::new() }
    }

    /// Adds a model. A parent comes before its children, where foreign keys tie their tables.
    ///
    /// # Panics
    /// If another model has the same key prefix: their rows would overwrite each other.
    pub fn model<M: KvModel>(mut self) -> Self {
        let model = M::DESCRIPTOR;
        match self.models.iter().find(|other| other.key_prefix == model.key_prefix) {
            None => self.models.push(model),
            Some(other) => assert!(
                *other == model,
                "models `{}` and `{}` have the same key prefix `{}`; \
                 give one of them another with `#[kv(key_prefix = \"…\")]`",
                other.name,
                model.name,
                model.key_prefix
            ),
        }
        self
    }

    /// Checks the models' tables, the runtime's own ones and the number of partitions, as
    /// [`Checks::run`](crate::Checks::run) does: for who wants to know before it spawns.
    ///
    /// # Errors
    /// [`CheckError`], with all problems in one go.
    pub async fn check(&self) -> Result<(), CheckError> {
        checks::check_models(&self.stores, &self.models).await
    }

    /// Starts draining, on the Tokio runtime that this is called on.
    ///
    /// It needs no server to be up: what is missing is waited for and reported by
    /// [`Drainer::status`] and as warnings. The start-up checks are made first; a problem that
    /// they refuse is reported as an error, and nothing is drained until it is gone.
    pub fn spawn(self) -> Drainer {
        let Self { stores, models } = self;
        let mut partitions: Vec<Partition> = Vec::new();
        for model in &models {
            if !partitions.iter().any(|partition| partition.queue == model.queue) {
                partitions.extend(stores.keys.partitions_of(model.queue));
            }
        }
        let progress = Arc::new(Progress::new());
        let (requests, receiver) = watch::channel(Request::default());
        let checked = gate::wait_until_checked(
            Arc::clone(&stores),
            models.clone(),
            Arc::clone(&progress),
            receiver.clone(),
        );
        let checked = checked.boxed().shared();
        let context = Arc::new(Context {
            models,
            keys: stores.keys.clone(),
            settings: stores.settings.clone(),
        });
        let workers = context.settings.drain.workers.min(partitions.len());
        let tasks = (0..workers).map(|number| {
            let share = partitions.iter().skip(number).step_by(workers).copied();
            let worker = Worker {
                number,
                context: Arc::clone(&context),
                hot: Arc::clone(&stores.hot),
                durable: Arc::clone(&stores.durable),
                partitions: share.collect(),
                progress: Arc::clone(&progress),
                requests: receiver.clone(),
            };
            let checked = checked.clone();
            tokio::spawn(async move {
                if checked.await {
                    worker.run().await;
                }
            })
        });
        let tasks = tasks.collect();
        Drainer { stores, partitions, progress, requests, tasks }
    }
}

/// A drainer at work. Dropping it stops it after the batches that are on their way.
///
/// One drainer at a time carries a queue: one that is spawned takes the queues over, and an
/// earlier one, in whatever process, can commit nothing more and ends.
#[derive(Debug)]
#[must_use = "dropping it stops the drainer"]
pub struct Drainer {
    stores: Arc<Stores>,
    partitions: Vec<Partition>,
    progress: Arc<Progress>,
    requests: watch::Sender<Request>,
    tasks: Vec<JoinHandle<()>>,
}

/// What a drainer has done, and what is left to do.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DrainStatus {
    /// Entries whose effect is committed, since it was spawned.
    pub entries_drained: u64,
    /// Rows written to PostgreSQL for them.
    pub rows_written: u64,
    /// Entries that needed no statement of their own, because others of their row had one.
    pub entries_folded: u64,
    /// Transactions.
    pub batches: u64,
    /// Entries that wait on the queues.
    pub undrained: u64,
    /// The age of the oldest of them; zero where none waits.
    pub lag: Duration,
    /// The greatest age of an entry at its commit.
    pub lag_max: Duration,
    /// What stands in the way of some worker now, if anything does.
    pub last_error: Option<String>,
}

/// Why a drainer could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DrainError {
    /// Redis did not answer.
    #[error("Redis cannot be asked for the state of the queues")]
    Unavailable(#[source] Source),
    /// The drainer ended by itself.
    #[error("the drainer has ended: {reason}")]
    Ended {
        /// Why.
        reason: &'static str,
    },
    /// The time for draining ran out. The entries are safe on their queues.
    #[error(
        "{undrained} entries are not drained yet; they stay queued for the next drainer ({reason})"
    )]
    Undrained {
        /// How many.
        undrained: u64,
        /// What stood in the way, as far as is known.
        reason: String,
    },
}

impl From<HotStoreError> for DrainError {
    fn from(error: HotStoreError) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

impl Drainer {
    /// Waits until everything that was written before this call is drained.
    ///
    /// It waits for as long as that takes; an outage is reported by [`status`](Self::status).
    ///
    /// # Errors
    /// [`DrainError::Unavailable`] or [`DrainError::Ended`].
    pub async fn flush(&self) -> Result<(), DrainError> {
        let states = self.stores.hot.states(&self.partitions).await?;
        let targets: Vec<(Partition, EntryId)> =
            self.partitions.iter().copied().zip(states.iter().map(|state| state.newest)).collect();
        let mut changes = self.progress.subscribe();
        self.requests.send_modify(|request| request.wakes += 1);
        loop {
            changes.mark_unchanged();
            if self.progress.has_reached(&targets) {
                return Ok(());
            }
            if let Some(reason) = self.progress.ended() {
                return Err(DrainError::Ended { reason });
            }
            if changes.changed().await.is_err() {
                return Err(DrainError::Ended { reason: "its workers are gone" });
            }
        }
    }

    /// What it has done, and what is left to do.
    ///
    /// # Errors
    /// [`DrainError::Unavailable`].
    pub async fn status(&self) -> Result<DrainStatus, DrainError> {
        let counts = self.progress.counts();
        let states = self.stores.hot.states(&self.partitions).await?;
        let mut undrained = 0;
        let mut waiting = Vec::new();
        for (&partition, state) in self.partitions.iter().zip(&states) {
            if state.newest > state.settled {
                undrained += state.undrained;
                waiting.push(ReadRequest { partition, from: state.settled, count: 2 });
            }
        }
        let read = self.stores.hot.read_entries(&waiting).await?;
        let oldest: Option<EntryId> = waiting
            .iter()
            .zip(&read)
            .filter_map(|(request, entries)| entries.iter().find(|entry| entry.id > request.from))
            .map(|entry| entry.id)
            .min();
        Ok(DrainStatus {
            entries_drained: counts.entries_drained,
            rows_written: counts.rows_written,
            entries_folded: counts.entries_drained.saturating_sub(counts.rows_written),
            batches: counts.batches,
            undrained,
            lag: oldest.map(age).unwrap_or_default(),
            lag_max: counts.lag_max,
            last_error: self.progress.last_error(),
        })
    }

    /// Drains everything that was written before this call, and stops.
    ///
    /// # Errors
    /// [`DrainError::Undrained`] if that takes longer than `drain.shutdown_timeout`; the
    /// entries stay on their queues. It has stopped in any case.
    pub async fn shutdown(mut self) -> Result<DrainStatus, DrainError> {
        let timeout = self.stores.settings.drain.shutdown_timeout;
        let deadline = tokio::time::Instant::now() + timeout;
        let flushed = tokio::time::timeout_at(deadline, self.flush()).await;
        self.requests.send_modify(|request| request.stop = true);
        // A batch that is on its way gets a moment more than the flush.
        let deadline = deadline.max(tokio::time::Instant::now() + STOP_TIMEOUT);
        for mut task in std::mem::take(&mut self.tasks) {
            if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
                // What it has not committed is not committed: the next drainer does it.
                task.abort();
            }
        }
        if let Ok(Err(error)) = flushed {
            return Err(error);
        }
        let status = self.status().await?;
        if flushed.is_err() {
            let reason = status.last_error.unwrap_or_else(|| "the time ran out".to_owned());
            return Err(DrainError::Undrained { undrained: status.undrained, reason });
        }
        Ok(status)
    }
}
