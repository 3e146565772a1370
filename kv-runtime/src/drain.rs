//! The drainer: it carries entries from the queues to PostgreSQL.
//!
//! Each worker owns a share of the partitions. A step of it reads entries from
//! the offsets on, folds them by row, applies them together with the new
//! offsets in one transaction, and settles the rows in Redis. A crash anywhere
//! repeats nothing and skips nothing, because rows and offsets commit together;
//! what a crash between commit and settle leaves is settled at the next start.

mod backoff;
mod causal;
mod context;
mod fold;
mod gate;
mod isolate;
mod lease;
mod plan;
mod progress;
mod queues;
mod read;
mod rebuild;
mod repair;
mod share;
mod take_over;
mod wait;
mod worker;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::backoff::Backoff;
use self::context::Context;
pub(crate) use self::fold::in_queue_order;
pub(crate) use self::isolate::fault_of_others;
use self::lease::Keeper;
use self::progress::{Place, Progress};
pub use self::queues::{QueueStatus, Queues};
use self::worker::{Request, Worker};
use crate::checks::{self, CheckError};
use crate::error::Source;
use crate::hot_store::HotStoreError;
use crate::model::{KvModel, ModelDescriptor};
use crate::stores::Stores;

/// How long the workers may take to end after they were asked to.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the leases may take to be given back after that.
const GIVE_BACK_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a wait looks for what other drainers have done.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

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
        self.stores.know(model);
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
        let context = Arc::new(Context {
            models,
            keys: stores.keys.clone(),
            settings: stores.settings.clone(),
        });
        let progress = Arc::new(Progress::new());
        let (requests, requested) = watch::channel(Request::default());
        let (reports, reported) = mpsc::unbounded_channel();
        // Those that have no partitions wait for a change that gives them some.
        let count = context.settings.drain.workers;
        let (assignments, assigned): (Vec<_>, Vec<_>) =
            (0..count).map(|_| watch::channel(Vec::new())).unzip();
        let workers = assigned.into_iter().enumerate().map(|(number, assigned)| Worker {
            number,
            context: Arc::clone(&context),
            stores: Arc::clone(&stores),
            progress: Arc::clone(&progress),
            assigned,
            requests: requested.clone(),
            reports: reports.clone(),
        });
        let workers = workers.map(|worker| tokio::spawn(supervise(worker))).collect();
        drop(reports);
        let (checked, shown) = (Arc::clone(&stores), Arc::clone(&progress));
        let (kept, queues) = (Arc::clone(&stores), context.queues());
        let keeper = Some(tokio::spawn(async move {
            // Until the checks are passed, the partitions are left to other drainers.
            if gate::wait_until_checked(&checked, &context, &shown, requested).await {
                Keeper::new(context, kept, shown, assignments, reported).run().await;
            }
        }));
        let queues = Queues::of(Arc::clone(&stores), queues);
        Drainer { stores, queues, progress, requests, workers, keeper }
    }
}

/// Lets a worker work until it is asked to stop; after a panic, anew.
async fn supervise(worker: Worker) {
    let mut backoff = Backoff::new(&worker.context.settings.drain);
    // What it holds is dropped with it, and what it had not committed is not committed.
    while AssertUnwindSafe(worker.clone().run()).catch_unwind().await.is_err() {
        let wait = backoff.failed();
        tracing::error!(worker = worker.number, ?wait, "a worker of the drainer has panicked");
        let error = "a worker has panicked and is started again; what it said stands on stderr";
        worker.progress.panicked();
        worker.progress.failed(Place::Worker(worker.number), error.to_owned());
        tokio::time::sleep(wait).await;
    }
}

/// A drainer at work. Dropping it stops it after the batches that are on their way.
///
/// Any number of drainers, in any processes, share the partitions of the queues evenly: each has
/// leases, for [`DrainSettings::lease`](crate::DrainSettings::lease). One that was paused for longer
/// and comes back can commit nothing that another has taken over.
#[derive(Debug)]
#[must_use = "dropping it stops the drainer"]
pub struct Drainer {
    stores: Arc<Stores>,
    queues: Queues,
    progress: Arc<Progress>,
    requests: watch::Sender<Request>,
    workers: Vec<JoinHandle<()>>,
    /// Ends after the workers.
    keeper: Option<JoinHandle<()>>,
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
    /// Entries that PostgreSQL refused for their content, or that queued behind such a one.
    pub dead_letters: u64,
    /// How often Redis or PostgreSQL was found to have gone back in time; each was repaired.
    pub setbacks: u64,
    /// How often a worker has panicked and was started again.
    pub panics: u64,
    /// The partitions that it has leases of.
    pub partitions: usize,
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
    /// Waits until everything that was written before this call is drained, by whichever drainer.
    ///
    /// It waits for as long as that takes; an outage is reported by [`status`](Self::status). What
    /// Redis loses meanwhile is not waited for.
    ///
    /// # Errors
    /// [`DrainError::Unavailable`].
    pub async fn flush(&self) -> Result<(), DrainError> {
        let mut targets = self.queues.newest().await?;
        let mut changes = self.progress.subscribe();
        self.requests.send_modify(|request| request.wakes += 1);
        let mut look_again = tokio::time::interval_at(Instant::now() + LOOK_AGAIN, LOOK_AGAIN);
        loop {
            changes.mark_unchanged();
            targets = self.progress.unreached(&targets);
            if targets.is_empty() {
                return Ok(());
            }
            tokio::select! {
                _ = changes.changed() => {}
                // Those of other drainers are seen in Redis alone.
                _ = look_again.tick() => targets = self.queues.unsettled(targets).await?,
            }
        }
    }

    /// What it has done, and what is left to do.
    ///
    /// # Errors
    /// [`DrainError::Unavailable`].
    pub async fn status(&self) -> Result<DrainStatus, DrainError> {
        let counts = self.progress.counts();
        let QueueStatus { undrained, lag } = self.queues.status().await?;
        Ok(DrainStatus {
            entries_drained: counts.entries_drained,
            rows_written: counts.rows_written,
            entries_folded: counts
                .entries_drained
                .saturating_sub(counts.rows_written + counts.dead_letters),
            batches: counts.batches,
            dead_letters: counts.dead_letters,
            setbacks: counts.setbacks,
            panics: counts.panics,
            partitions: counts.partitions,
            undrained,
            lag,
            lag_max: counts.lag_max,
            last_error: self.progress.last_error(),
        })
    }

    /// Drains everything that was written before this call, and stops.
    ///
    /// A dead letter counts as drained.
    ///
    /// # Errors
    /// [`DrainError::Undrained`] if that takes longer than `drain.shutdown_timeout`; the
    /// entries stay on their queues. It has stopped in any case.
    pub async fn shutdown(mut self) -> Result<DrainStatus, DrainError> {
        let timeout = self.stores.settings.drain.shutdown_timeout;
        let flushed = tokio::time::timeout(timeout, self.flush()).await;
        self.end().await;
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

    /// Stops: batches that are on their way are finished or rolled back, and the leases are given
    /// back. What is not drained stays on the queues. It takes three seconds at most.
    pub async fn stop(mut self) {
        self.end().await;
    }

    async fn end(&mut self) {
        self.requests.send_modify(|request| request.stop = true);
        // What a worker has not committed by then is not committed.
        end_all(std::mem::take(&mut self.workers), STOP_TIMEOUT).await;
        // It gives back the leases of those that hang too: whoever takes them fences what is left
        // of these in PostgreSQL. Those that it cannot give back end by themselves.
        end_all(self.keeper.take(), GIVE_BACK_TIMEOUT).await;
    }
}

/// Waits until tasks have ended; aborts those that take too long.
async fn end_all(tasks: impl IntoIterator<Item = JoinHandle<()>>, timeout: Duration) {
    let deadline = Instant::now() + timeout;
    for mut task in tasks {
        if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
            task.abort();
        }
    }
}
