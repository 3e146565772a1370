//! The loop of a drainer's worker: read, apply, settle, wait.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{Semaphore, SemaphorePermit, mpsc, watch};

use super::backoff::Backoff;
use super::causal::Past;
use super::context::Context;
use super::isolate::isolate;
use super::lease::{Assigned, Report};
use super::pace::Pace;
use super::plan::{Plan, WentBack, trims};
use super::progress::{Place, Progress};
use super::read::{Backlog, Decided, Prepared, Read};
use super::repair;
use super::share::Share;
use crate::durability::Durability;
use crate::durable_store::{DurableStoreError, Offset};
use crate::entry::EntryId;
use crate::failpoint;
use crate::hot_store::{EntryMark, HotStoreError, NotReplicated, ReadSize, Settlement};
use crate::key::Partition;
use crate::scheme::{StorageScheme, known};
use crate::settings::Settings;
use crate::stores::Stores;

/// How often an idle worker looks whether the offsets are still its own.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How often offsets may be found elsewhere in a row before it is told: replays move them too.
const MOVES_UNTOLD: u32 = 3;

/// What the drainer's handle asks of its workers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Request {
    /// Raised to cut a wait short.
    pub(super) wakes: u64,
    /// Finish the batch and end.
    pub(super) stop: bool,
}

/// Drains its share of the partitions.
#[derive(Debug, Clone)]
pub(super) struct Worker {
    pub(super) number: usize,
    pub(super) context: Arc<Context>,
    pub(super) stores: Arc<Stores>,
    pub(super) progress: Arc<Progress>,
    /// The partitions that it has leases of.
    pub(super) assigned: watch::Receiver<Vec<Assigned>>,
    pub(super) requests: watch::Receiver<Request>,
    pub(super) reports: mpsc::UnboundedSender<Report>,
    /// What the workers of other tenants want, too.
    pub(super) turns: Option<Arc<Semaphore>>,
}

/// Why a step did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error("Redis: {0}")]
    Hot(#[from] HotStoreError),
    #[error("PostgreSQL: {0}")]
    Durable(#[from] DurableStoreError),
    #[error("Redis: {0}")]
    NotReplicated(#[from] NotReplicated),
    #[error("another drainer has taken partitions over")]
    Fenced(Vec<Partition>),
    #[error("a queue has other partitions by now")]
    Moved(Vec<Partition>),
    #[error(transparent)]
    WentBack(#[from] WentBack),
}

/// Where the worker stands between two steps.
#[derive(Debug)]
struct Standing {
    partitions: Vec<Partition>,
    /// As PostgreSQL has committed them; without those whose queue is written past.
    offsets: Vec<Offset>,
    /// The next batch, if it was prepared while the last one was committed.
    next: Option<Prepared>,
    /// What comes after that, if it was read meanwhile.
    ahead: Option<Read>,
    read_size: ReadSize,
    /// What the last commit has left to settle.
    unsettled: Vec<Settlement>,
    /// When the last commit was, while it still keeps drained entries.
    committed_at: Option<Instant>,
    /// When the offsets were last found to be these.
    looked_at: Instant,
    pace: Pace,
}

impl Worker {
    /// Works until it is asked to stop.
    pub(super) async fn run(mut self) {
        let mut share = Share::new(&self.context.settings.drain);
        let mut backoff = Backoff::new(&self.context.settings.drain);
        let mut standing: Option<Standing> = None;
        let mut moves = 0;
        while !self.must_stop() {
            self.follow(&mut share, &mut standing).await;
            let turn = self.turn().await;
            let step = self.step(&mut share, &mut standing).await;
            drop(turn);
            moves = match &step {
                Err(StepError::Durable(DurableStoreError::OffsetMoved)) => moves + 1,
                _ => 0,
            };
            let wait = match step {
                Ok(backlog) => {
                    backoff.succeeded();
                    self.progress.succeeded(Place::Worker(self.number));
                    match backlog {
                        Backlog::More => continue,
                        Backlog::Empty => self.pause(standing.as_mut()),
                    }
                }
                Err(error) => {
                    standing = None;
                    let error = match self.recover(&mut share, error).await {
                        Ok(()) if moves < MOVES_UNTOLD => continue,
                        Ok(()) => DurableStoreError::OffsetMoved.into(),
                        Err(error) => error,
                    };
                    let wait = backoff.failed();
                    let error = report(&error);
                    tracing::warn!(error, ?wait, "draining failed and is tried again");
                    self.progress.failed(Place::Worker(self.number), error);
                    wait
                }
            };
            self.wait(wait).await;
        }
        self.settle_last(&mut standing).await;
        let _ = self.reports.send(Report::Dropped(share.follow(&[])));
    }

    fn must_stop(&self) -> bool {
        // A handle that was dropped asks for nothing any more.
        self.requests.borrow().stop || self.requests.has_changed().is_err()
    }

    /// Waits until it may take a step; other tenants, too, are waiting.
    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.turns.as_ref()?.acquire().await.ok()
    }

    /// How long it waits for more entries.
    fn pause(&self, standing: Option<&mut Standing>) -> Duration {
        let Context { settings, keys, .. } = &*self.context;
        let Some(Standing { offsets, pace, .. }) = standing else { return settings.drain.interval };
        let is_awaited = |offset: &Offset| {
            offset.scheme == StorageScheme::WriteThrough || offset.waits_at.is_some()
        };
        let counts = offsets.iter().map(|offset| keys.partitions_with(offset.partition));
        let most = counts.max().unwrap_or(1);
        let capacity = Settings::partition_capacity(settings.queue_capacity, most);
        pace.wait(&settings.drain, offsets.iter().any(is_awaited), capacity)
    }

    async fn wait(&mut self, wait: Duration) {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = self.requests.changed() => {}
            // Only looked at here; it is answered where it is followed.
            Ok(()) = self.assigned.changed() => self.assigned.mark_changed(),
        }
    }

    /// Takes the partitions that are assigned to it, and gives up the others.
    async fn follow(&mut self, share: &mut Share, standing: &mut Option<Standing>) {
        let is_news = self.assigned.has_changed().unwrap_or_default();
        let assigned = self.assigned.borrow_and_update().clone();
        let is_same = |standing: &Standing| standing.partitions == share.active(Instant::now());
        if !share.has(&assigned) || !standing.as_ref().is_some_and(is_same) {
            self.settle_last(standing).await;
            share.follow(&assigned);
        }
        if is_news {
            let _ = self.reports.send(Report::Follows { worker: self.number, assigned });
        }
    }

    /// Settles what the last commit has left, as far as Redis answers.
    async fn settle_last(&self, standing: &mut Option<Standing>) {
        if let Some(Standing { offsets, unsettled, .. }) = standing.take()
            && let Err(error) = self.settle(&offsets, &unsettled).await
        {
            // It is settled when the partitions are taken over.
            tracing::warn!(error = report(&error), "the last batch is not settled yet");
        }
    }

    /// Does what can be done about an error; one where only waiting helps comes back.
    async fn recover(&self, share: &mut Share, error: StepError) -> Result<(), StepError> {
        match error {
            StepError::Fenced(partitions) => {
                tracing::warn!(?partitions, "another drainer has taken partitions over");
                let _ = self.reports.send(Report::Dropped(share.lose(&partitions)));
                Ok(())
            }
            StepError::Moved(partitions) => {
                for partition in &partitions {
                    self.stores.learn_layouts(partition.queue).await;
                }
                tracing::info!(?partitions, "a queue has other partitions by now");
                let _ = self.reports.send(Report::Dropped(share.lose(&partitions)));
                Ok(())
            }
            // Another drainer, a replay, or a commit of one's own whose answer was lost: the
            // offsets are read again.
            StepError::Durable(DurableStoreError::OffsetMoved) => Ok(()),
            StepError::WentBack(went_back) => {
                repair::after_redis_went_back(&self.context, &self.stores, &went_back).await?;
                self.progress.set_back();
                Ok(())
            }
            StepError::Hot(_) | StepError::Durable(_) | StepError::NotReplicated(_) => Err(error),
        }
    }

    /// Commits one batch. Meanwhile the next one is planned, the one after that is read, and the
    /// last one settled: only commits have to come one after the other.
    async fn step(
        &self,
        share: &mut Share,
        standing: &mut Option<Standing>,
    ) -> Result<Backlog, StepError> {
        self.look_at_waiting(share).await?;
        let Standing {
            partitions,
            offsets,
            next,
            ahead,
            read_size,
            unsettled,
            committed_at,
            looked_at,
            pace,
        } = match standing {
            Some(standing) => standing,
            None => {
                let partitions = share.active(Instant::now());
                if partitions.is_empty() {
                    return Ok(Backlog::Empty);
                }
                let offsets = self.load_offsets(share, &partitions).await?;
                standing.insert(Standing {
                    partitions,
                    offsets,
                    next: None,
                    ahead: None,
                    read_size: ReadSize::default(),
                    unsettled: Vec::new(),
                    committed_at: None,
                    looked_at: Instant::now(),
                    pace: Pace::new(&self.context.settings.drain),
                })
            }
        };
        if offsets.len() < partitions.len() && looked_at.elapsed() >= known::LOOK_AGAIN {
            // One that was written past may be drained again.
            self.look_at_offsets(partitions, offsets).await?;
            *looked_at = Instant::now();
        }
        let prepared = match next.take() {
            Some(prepared) => prepared,
            None => self.prepare(share, offsets, ahead, read_size, pace).await?,
        };
        let backlog = prepared.backlog;
        self.rest_before_blocked(share, &prepared.plan);
        if prepared.plan.batch.moves.is_empty() {
            self.begin_waits(share, offsets, &prepared.plan).await?;
            self.settle(offsets, unsettled).await?;
            unsettled.clear();
            let retention = self.context.settings.drain.retention;
            let must_trim = committed_at.is_some_and(|at| at.elapsed() >= retention);
            if must_trim || looked_at.elapsed() >= LOOK_AGAIN {
                // Nothing comes that would find a replay whose process died, or a PostgreSQL that
                // went back in time and needs the entries of the last batches.
                self.look_at_offsets(partitions, offsets).await?;
                *looked_at = Instant::now();
            }
            if must_trim {
                self.stores.hot.settle(&trims(offsets)).await?;
                *committed_at = None;
            }
            return Ok(backlog);
        }
        let after = moved(offsets, &prepared.plan);
        let prepare_next = async {
            match backlog {
                // What is behind its letters shows when they are committed.
                Backlog::More if prepared.plan.letters == 0 => {
                    self.prepare(share, &after, ahead, read_size, pace).await.map(Some)
                }
                Backlog::More | Backlog::Empty => Ok(None),
            }
        };
        let (committed, settled, prepared_next) = tokio::join!(
            self.commit(share, offsets, &prepared),
            self.settle(offsets, unsettled),
            prepare_next,
        );
        let replanned = committed?;
        *committed_at = Some(Instant::now());
        settled?;
        let plan = replanned.as_ref().unwrap_or(&prepared.plan);
        *offsets = moved(offsets, plan);
        for step in &plan.batch.moves {
            share.moved(&step.to);
            self.progress.succeeded(Place::Partition(step.to.partition));
        }
        let plan = replanned.unwrap_or(prepared.plan);
        pace.committed(&plan);
        self.begin_waits(share, offsets, &plan).await?;
        // What was prepared begins where the first plan ended.
        *next = if *offsets == after { prepared_next? } else { None };
        *unsettled = plan.settlements;
        if next.is_none() {
            self.settle(offsets, unsettled).await?;
            unsettled.clear();
        }
        Ok(backlog)
    }

    /// An error if the partitions do not stand as they did.
    pub(super) async fn look_at_offsets(
        &self,
        partitions: &[Partition],
        offsets: &[Offset],
    ) -> Result<(), StepError> {
        let mut now = self.stores.durable.offsets(partitions).await?;
        now.retain(|offset| !offset.scheme.is_direct());
        if now == offsets { Ok(()) } else { Err(DurableStoreError::OffsetMoved.into()) }
    }

    /// Commits a batch; answers another plan where that was what could be committed.
    #[tracing::instrument(level = "debug", name = "kv.drain.commit", skip_all,
        fields(entries = prepared.plan.entries))]
    async fn commit(
        &self,
        share: &Share,
        offsets: &[Offset],
        prepared: &Prepared,
    ) -> Result<Option<Plan>, StepError> {
        self.wait_for_replicas(&prepared.plan).await?;
        let replanned = match self.stores.durable.apply(&prepared.plan.batch).await {
            Err(DurableStoreError::Refused(error)) => {
                tracing::debug!(%error, "a batch was refused, its entries are attempted");
                Some(self.apply_isolated(share, offsets, &prepared.plan).await?)
            }
            Err(error) => return Err(error.into()),
            Ok(()) => None,
        };
        failpoint::reach("after_commit");
        let plan = replanned.as_ref().unwrap_or(&prepared.plan);
        self.progress.committed(plan, plan.oldest.map(age).unwrap_or_default());
        Ok(replanned)
    }

    /// PostgreSQL must not have what a replica that takes over does not.
    async fn wait_for_replicas(&self, plan: &Plan) -> Result<(), StepError> {
        let mut waits: HashMap<Durability, Vec<EntryMark>> = HashMap::new();
        for step in plan.batch.moves.iter().filter(|step| step.to.position > step.from) {
            let Offset { partition, position: id, nonce, .. } = step.to.clone();
            for durability in self.context.durabilities(partition.queue) {
                let mark = EntryMark { partition, id, nonce: nonce.clone() };
                waits.entry(durability).or_default().push(mark);
            }
        }
        for (durability, entries) in waits {
            self.stores.hot.replicate(&entries, durability).await?;
        }
        Ok(())
    }

    async fn apply_isolated(
        &self,
        share: &Share,
        offsets: &[Offset],
        plan: &Plan,
    ) -> Result<Plan, StepError> {
        let entries = self.read_again(offsets, plan).await?;
        let Decided { steps, drained } = self.decide(offsets, &entries).await?;
        let partitions: Vec<Partition> = offsets.iter().map(|offset| offset.partition).collect();
        let transaction = self.stores.durable.begin(&partitions).await?;
        let has_waited = |partition, entry| share.has_waited(partition, entry);
        let past = Past { drained: &drained, has_waited: &has_waited };
        let plan = isolate(transaction, &self.context, offsets, steps, &past).await?;
        if plan.letters > 0 {
            tracing::error!(entries = plan.letters, "entries became dead letters");
        }
        Ok(plan)
    }

    async fn settle(
        &self,
        offsets: &[Offset],
        settlements: &[Settlement],
    ) -> Result<(), StepError> {
        if settlements.is_empty() {
            return Ok(());
        }
        let is_settled = self.stores.hot.settle(settlements).await?;
        failpoint::reach("after_settle");
        if !is_settled {
            // How far it is settled is looked up with the offsets.
            return Err(DurableStoreError::OffsetMoved.into());
        }
        self.progress.settled(offsets);
        Ok(())
    }
}

/// The offsets after a plan's commit.
fn moved(offsets: &[Offset], plan: &Plan) -> Vec<Offset> {
    let mut moved = offsets.to_vec();
    let mut steps = plan.batch.moves.iter().peekable();
    for offset in &mut moved {
        // Moves are in the order of the offsets.
        if let Some(step) = steps.next_if(|step| step.to.partition == offset.partition) {
            *offset = step.to.clone();
        }
    }
    moved
}

/// How long ago an entry was written, by its server's clock and this machine's.
pub(super) fn age(entry: EntryId) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_millis(entry.milliseconds))
}

/// An error with its sources, in one line.
pub(super) fn report(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
