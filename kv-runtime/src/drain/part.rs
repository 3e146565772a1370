//! One tenant's share of a drainer: its workers, its leases, and what they have done.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::context::Context;
use super::lease::Keeper;
use super::progress::{Counts, Place, Progress};
use super::queues::{QueueStatus, Queues};
use super::worker::{Request, Worker};
use super::{DrainError, LOOK_AGAIN, gate};
use crate::model::ModelDescriptor;
use crate::stores::Stores;

/// How long the workers may take to end after they were asked to.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the leases may take to be given back after that.
const GIVE_BACK_TIMEOUT: Duration = Duration::from_secs(1);

/// What all tenants of a drainer share. Who waits is served in order, and for one batch: so a tenant
/// waits at most for one batch of each worker that came before it.
#[derive(Debug, Clone)]
pub(super) struct Turns {
    permits: Arc<Semaphore>,
    /// How many a tenant may have: with fewer than all, one that hangs does not hold up the others.
    of_tenant: usize,
}

impl Turns {
    pub(super) fn new(workers: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(workers)), of_tenant: (workers - 1).max(1) }
    }
}

/// A drainer of the queues of one tenant, or of the pair that has none.
#[derive(Debug)]
pub(super) struct Part {
    queues: Queues,
    progress: Arc<Progress>,
    requests: watch::Sender<Request>,
    tasks: Mutex<Tasks>,
}

#[derive(Debug, Default)]
struct Tasks {
    workers: Vec<JoinHandle<()>>,
    /// Ends after the workers.
    keeper: Option<JoinHandle<()>>,
}

impl Part {
    pub(super) fn spawn(
        stores: &Arc<Stores>,
        models: Vec<&'static ModelDescriptor>,
        turns: Option<Turns>,
    ) -> Self {
        let context = Arc::new(Context {
            models,
            keys: stores.keys.clone(),
            settings: stores.settings.clone(),
        });
        let progress = Arc::new(Progress::new());
        let (requests, requested) = watch::channel(Request::default());
        let (reports, reported) = mpsc::unbounded_channel();
        let count = turns.as_ref().map_or(context.settings.drain.workers, |turns| turns.of_tenant);
        // Those that have no partitions wait for a change that gives them some.
        let (assignments, assigned): (Vec<_>, Vec<_>) =
            (0..count).map(|_| watch::channel(Vec::new())).unzip();
        let workers = assigned.into_iter().enumerate().map(|(number, assigned)| Worker {
            number,
            context: Arc::clone(&context),
            stores: Arc::clone(stores),
            progress: Arc::clone(&progress),
            assigned,
            requests: requested.clone(),
            reports: reports.clone(),
            turns: turns.as_ref().map(|turns| Arc::clone(&turns.permits)),
        });
        let workers = workers.map(|worker| tokio::spawn(supervise(worker))).collect();
        drop(reports);
        let (checked, shown) = (Arc::clone(stores), Arc::clone(&progress));
        let (kept, queues) = (Arc::clone(stores), context.queues());
        let keeper = Some(tokio::spawn(async move {
            // Until the checks are passed, the partitions are left to other drainers.
            if gate::wait_until_checked(&checked, &context, &shown, requested).await {
                Keeper::new(context, kept, shown, assignments, reported).run().await;
            }
        }));
        let queues = Queues::of(Arc::clone(stores), queues);
        Self { queues, progress, requests, tasks: Mutex::new(Tasks { workers, keeper }) }
    }

    /// Waits until everything that was written before this call is drained, by whichever drainer.
    pub(super) async fn flush(&self) -> Result<(), DrainError> {
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

    pub(super) fn counts(&self) -> Counts {
        self.progress.counts()
    }

    pub(super) fn last_error(&self) -> Option<String> {
        self.progress.last_error()
    }

    /// What waits on its queues.
    pub(super) async fn queued(&self) -> Result<QueueStatus, DrainError> {
        self.queues.status().await
    }

    /// Stops: batches that are on their way are finished or rolled back, and the leases are given
    /// back.
    pub(super) async fn end(&self) {
        self.requests.send_modify(|request| request.stop = true);
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        // What a worker has not committed by then is not committed.
        end_all(tasks.workers, STOP_TIMEOUT).await;
        // It gives back the leases of those that hang too: whoever takes them fences what is left
        // of these in PostgreSQL. Those that it cannot give back end by themselves.
        end_all(tasks.keeper, GIVE_BACK_TIMEOUT).await;
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

/// Waits until tasks have ended; aborts those that take too long.
async fn end_all(tasks: impl IntoIterator<Item = JoinHandle<()>>, timeout: Duration) {
    let deadline = Instant::now() + timeout;
    for mut task in tasks {
        if tokio::time::timeout_at(deadline, &mut task).await.is_err() {
            task.abort();
        }
    }
}
