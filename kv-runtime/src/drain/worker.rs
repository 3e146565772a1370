//! The loop of a drainer's worker: read, apply, settle, wait.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, watch};

use super::backoff::Backoff;
use super::isolate::isolate;
use super::lease::{Assigned, Report};
use super::plan::{
    Context, Held, Plan, WentBack, plan, rows_to_look_up, settle_again, steps, trims,
};
use super::progress::{Place, Progress};
use super::share::{Share, Waiting};
use super::{rebuild, repair};
use crate::durability::Durability;
use crate::durable_store::{DurableStoreError, Offset};
use crate::entry::{EntryId, RawEntry};
use crate::failpoint;
use crate::hot_store::{
    EntryMark, HotStoreError, NotReplicated, PartitionState, ReadRequest, Settlement,
};
use crate::key::Partition;
use crate::stores::Stores;

/// How often offsets may be found elsewhere in a row before it is told: replays move them too.
const MOVES_UNTOLD: u32 = 3;

/// What an entry is taken to weigh before one was seen, in bytes.
const USUAL_ENTRY: usize = 512;

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
    #[error(transparent)]
    WentBack(#[from] WentBack),
}

/// What is left after a step that succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backlog {
    /// The queues hold more.
    More,
    /// The end of the queues was reached.
    Empty,
}

/// Where the worker stands between two steps.
#[derive(Debug)]
struct Standing {
    partitions: Vec<Partition>,
    /// As PostgreSQL has committed them.
    offsets: Vec<Offset>,
    /// The next batch, if it was prepared while the last one was committed.
    next: Option<Prepared>,
    /// What comes after that, if it was read meanwhile.
    ahead: Option<Read>,
    /// What the last commit has left to settle.
    unsettled: Vec<Settlement>,
    /// When the last commit was, while it still keeps drained entries.
    committed_at: Option<Instant>,
}

/// Entries of each partition.
#[derive(Debug)]
struct Read {
    /// The first entry that was asked for.
    from: Vec<EntryId>,
    entries: Vec<Vec<RawEntry>>,
    backlog: Backlog,
}

impl Read {
    /// The last entry of each partition, from which the next read begins.
    fn ends(&self) -> Vec<EntryId> {
        let ends = self.from.iter().zip(&self.entries);
        ends.map(|(from, entries)| entries.last().map_or(*from, |entry| entry.id)).collect()
    }

    /// What an entry of it weighs, in bytes.
    fn weight(&self) -> usize {
        let count: usize = self.entries.iter().map(Vec::len).sum();
        let bytes: usize = self.entries.iter().flatten().map(RawEntry::byte_len).sum();
        bytes.checked_div(count).unwrap_or(USUAL_ENTRY).max(1)
    }
}

/// A batch that was read and planned.
#[derive(Debug)]
struct Prepared {
    read: Read,
    held: Held,
    plan: Plan,
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
            let step = self.step(&mut share, &mut standing).await;
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
                        Backlog::Empty => self.context.settings.drain.interval,
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
            // Another drainer, a replay, or a commit of one's own whose answer was lost: the
            // offsets are read again.
            StepError::Durable(DurableStoreError::OffsetMoved) => Ok(()),
            StepError::WentBack(went_back) => {
                tracing::error!(error = %went_back, "the partition is repaired");
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
        let Standing { offsets, next, ahead, unsettled, committed_at, .. } = match standing {
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
                    unsettled: Vec::new(),
                    committed_at: None,
                })
            }
        };
        let prepared = match next.take() {
            Some(prepared) => prepared,
            None => self.prepare(offsets, ahead).await?,
        };
        let backlog = prepared.read.backlog;
        self.rest_before_blocked(share, &prepared.plan);
        if prepared.plan.entries == 0 {
            self.settle(offsets, unsettled).await?;
            unsettled.clear();
            let retention = self.context.settings.drain.retention;
            if committed_at.is_some_and(|at| at.elapsed() >= retention) {
                // Nothing comes that would trim the entries of the last batches, nor would find
                // a PostgreSQL that went back in time and needs them.
                let partitions: Vec<Partition> = offsets.iter().map(|at| at.partition).collect();
                if self.stores.durable.offsets(&partitions).await? != *offsets {
                    return Err(DurableStoreError::OffsetMoved.into());
                }
                self.stores.hot.settle(&trims(offsets)).await?;
                *committed_at = None;
            }
            return Ok(backlog);
        }
        let after = moved(offsets, &prepared.plan);
        let prepare_next = async {
            match backlog {
                Backlog::More => self.prepare(&after, ahead).await.map(Some),
                Backlog::Empty => Ok(None),
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
        self.begin_waits(share, offsets).await?;
        // What was prepared begins where the first plan ended.
        *next = if *offsets == after { prepared_next? } else { None };
        *unsettled = replanned.unwrap_or(prepared.plan).settlements;
        if next.is_none() {
            self.settle(offsets, unsettled).await?;
            unsettled.clear();
        }
        Ok(backlog)
    }

    /// Plans what was read ahead, or reads it; and reads ahead again meanwhile.
    async fn prepare(
        &self,
        offsets: &[Offset],
        ahead: &mut Option<Read>,
    ) -> Result<Prepared, StepError> {
        let from: Vec<EntryId> = offsets.iter().map(|offset| offset.position).collect();
        let partitions = || offsets.iter().map(|offset| offset.partition);
        let mut weight = USUAL_ENTRY;
        let read = match ahead.take() {
            // A plan that ended early leaves entries before those.
            Some(read) if read.from == from => read,
            read => {
                weight = read.map_or(weight, |read| read.weight());
                self.read(partitions(), from, weight).await?
            }
        };
        failpoint::reach("after_read");
        let read_ahead = async {
            match read.backlog {
                Backlog::More => self.read(partitions(), read.ends(), read.weight()).await.ok(),
                Backlog::Empty => None,
            }
        };
        let planning = async {
            let held = self.look_up_held(offsets, &read.entries).await?;
            let steps = steps(&self.context, offsets, &read.entries, &held)?;
            Ok::<_, StepError>((plan(&self.context, offsets, steps), held))
        };
        let (read_ahead, planned) = tokio::join!(read_ahead, planning);
        // A failure to read ahead comes again where it is read in earnest.
        *ahead = read_ahead;
        let (plan, held) = planned?;
        Ok(Prepared { read, held, plan })
    }

    async fn look_up_held(
        &self,
        offsets: &[Offset],
        read: &[Vec<RawEntry>],
    ) -> Result<Held, StepError> {
        let rows = rows_to_look_up(offsets, read);
        if rows.is_empty() {
            return Ok(Held::new());
        }
        let found = self.stores.durable.held(&rows).await?;
        let held = rows.into_iter().zip(found);
        Ok(held.filter_map(|(row, entry)| Some((row, entry?))).collect())
    }

    /// Takes partitions over, or finds out how far they were committed; and settles what
    /// a crash between commit and settle has left.
    async fn load_offsets(
        &self,
        share: &mut Share,
        partitions: &[Partition],
    ) -> Result<Vec<Offset>, StepError> {
        let is_new = |partition: &&Partition| share.epoch(**partition).is_none();
        let new: Vec<Partition> = partitions.iter().filter(is_new).copied().collect();
        if !new.is_empty() {
            let offsets = self.stores.durable.take_over(&new).await?;
            share.taken_over(&offsets);
            repair::finish_releases(&self.stores, &offsets).await?;
        }
        let offsets = self.stores.durable.offsets(partitions).await?;
        let is_lost = |offset: &&Offset| share.epoch(offset.partition) != Some(offset.epoch);
        let lost: Vec<Partition> =
            offsets.iter().filter(is_lost).map(|offset| offset.partition).collect();
        if !lost.is_empty() {
            return Err(StepError::Fenced(lost));
        }
        self.settle_again(&offsets).await?;
        self.progress.settled(&offsets);
        Ok(offsets)
    }

    async fn settle_again(&self, offsets: &[Offset]) -> Result<(), StepError> {
        let partitions: Vec<Partition> = offsets.iter().map(|offset| offset.partition).collect();
        let states = self.stores.hot.states(&partitions).await?;
        for (offset, state) in offsets.iter().zip(states) {
            if state.settled < offset.position {
                self.settle_partition_again(state.settled, offset).await?;
            } else if state.settled > offset.position {
                self.follow_postgresql_back(offset, &state).await?;
            }
        }
        Ok(())
    }

    async fn follow_postgresql_back(
        &self,
        offset: &Offset,
        state: &PartitionState,
    ) -> Result<(), StepError> {
        let Offset { partition, position, .. } = *offset;
        self.progress.set_back();
        if position >= state.trimmed {
            tracing::error!(%partition, %position, settled = %state.settled,
                "PostgreSQL went back in time; the entries since are applied again");
            self.stores.hot.rebase(partition, position).await?;
            return Ok(());
        }
        tracing::error!(%partition, %position, settled = %state.settled, trimmed = %state.trimmed,
            "PostgreSQL went back further than entries are retained; its rows are brought back from \
             Redis, and those that are not there any more are lost");
        rebuild::after_postgresql_went_back(&self.context, &self.stores, offset, state).await?;
        // The offset is another one now.
        Err(DurableStoreError::OffsetMoved.into())
    }

    async fn settle_partition_again(
        &self,
        mut from: EntryId,
        offset: &Offset,
    ) -> Result<(), StepError> {
        let count = self.context.settings.drain.batch_entries;
        while from < offset.position {
            let request = ReadRequest { partition: offset.partition, from, count: count + 1 };
            let read = self.stores.hot.read_entries(&[request]).await?;
            let entries = read.into_iter().next().unwrap_or_default();
            // Where the queue ends before the offset, the rest of it is gone: nothing to settle.
            let last = entries.last().map_or(offset.position, |entry| entry.id);
            let reached = if last > from { last.min(offset.position) } else { offset.position };
            let to = Offset { position: reached, ..offset.clone() };
            let read = [entries];
            let held = self.look_up_held(std::slice::from_ref(offset), &read).await?;
            let settlement = settle_again(&self.context, from, &to, &read[0], &held);
            self.stores.hot.settle(&[settlement]).await?;
            from = reached;
        }
        Ok(())
    }

    /// Reads from an entry of each partition on, itself included; a second time from those that
    /// have more, if the first left room in the batch. `weight` is what an entry is likely to have.
    async fn read(
        &self,
        partitions: impl Iterator<Item = Partition>,
        from: Vec<EntryId>,
        weight: usize,
    ) -> Result<Read, StepError> {
        let settings = &self.context.settings.drain;
        let room = settings.batch_entries.min(settings.batch_bytes / weight).max(1);
        let share = room.div_ceil(from.len().max(1)) + 1;
        let first: Vec<ReadRequest> = partitions
            .zip(&from)
            .map(|(partition, &from)| ReadRequest { partition, from, count: share })
            .collect();
        let mut entries = self.stores.hot.read_entries(&first).await?;
        let full: Vec<usize> =
            (0..entries.len()).filter(|&at| entries[at].len() == share).collect();
        if full.is_empty() {
            return Ok(Read { from, entries, backlog: Backlog::Empty });
        }
        let used: usize = entries.iter().map(Vec::len).sum();
        let more = room.saturating_sub(used) / full.len();
        if more > 0 {
            let request = |&at: &usize| ReadRequest {
                partition: first[at].partition,
                from: entries[at].last().map_or(from[at], |entry| entry.id),
                count: more + 1,
            };
            let second: Vec<ReadRequest> = full.iter().map(request).collect();
            let rest = self.stores.hot.read_entries(&second).await?;
            for (at, rest) in full.into_iter().zip(rest) {
                entries[at].extend(rest.into_iter().skip(1));
            }
        }
        Ok(Read { from, entries, backlog: Backlog::More })
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
                Some(self.apply_isolated(share, offsets, prepared).await?)
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
        for step in &plan.batch.moves {
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
        prepared: &Prepared,
    ) -> Result<Plan, StepError> {
        let steps = steps(&self.context, offsets, &prepared.read.entries, &prepared.held)?;
        let partitions: Vec<Partition> = offsets.iter().map(|offset| offset.partition).collect();
        let transaction = self.stores.durable.begin(&partitions).await?;
        let may_refuse = |partition, entry| share.has_waited(partition, entry);
        let plan = isolate(transaction, &self.context, offsets, steps, &may_refuse).await?;
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

    /// Lets partitions rest that stand before an entry that is not understood.
    fn rest_before_blocked(&self, share: &mut Share, plan: &Plan) {
        for blocked in &plan.blocked {
            let partition = blocked.partition;
            if plan.batch.moves.iter().any(|step| step.to.partition == partition) {
                // What comes before the entry is drained first.
                continue;
            }
            let wait = share.rest(partition);
            let error = blocked.to_string();
            tracing::error!(error, ?wait, "an entry is not understood, a newer drainer is needed");
            self.progress.failed(Place::Partition(partition), error);
            let _ = self.reports.send(Report::StepAside(partition.queue));
        }
    }

    /// Partitions that stopped before an entry begin to wait for the others.
    async fn begin_waits(&self, share: &mut Share, offsets: &[Offset]) -> Result<(), StepError> {
        for offset in offsets {
            let (Some(entry), partition) = (offset.waits_at, offset.partition) else { continue };
            if share.has_waited(partition, entry) {
                continue;
            }
            let mut others = self.context.partitions();
            others.retain(|other| *other != partition);
            let states = self.stores.hot.states(&others).await?;
            let tails = others.into_iter().zip(states.iter().map(|state| state.newest)).collect();
            tracing::warn!(%partition, %entry, "a constraint ties an entry to a row that is not there: \
                it waits until the other partitions are drained");
            share.wait(partition, Waiting { entry, tails, is_over: false });
        }
        Ok(())
    }

    /// Finds out which of the waiting partitions have waited for long enough.
    async fn look_at_waiting(&self, share: &mut Share) -> Result<(), StepError> {
        if share.waiting().all(|(_, waiting)| waiting.is_over) {
            return Ok(());
        }
        let offsets = self.stores.durable.offsets(&self.context.partitions()).await?;
        for (partition, waiting) in share.waiting() {
            waiting.is_over |= waiting.has_ended(partition, &offsets);
        }
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
