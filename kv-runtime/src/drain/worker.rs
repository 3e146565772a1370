//! The loop of a drainer's worker: read, apply, settle, wait.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use super::backoff::Backoff;
use super::plan::{Blocked, Context, Order, Plan, WentBack, plan, settle_again, trims};
use super::progress::Progress;
use crate::durable_store::{DurableStore, DurableStoreError, Offset};
use crate::entry::{EntryId, RawEntry};
use crate::failpoint;
use crate::hot_store::{HotStore, HotStoreError, ReadRequest, Settlement};
use crate::key::Partition;

/// What the drainer's handle asks of its workers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Request {
    /// Raised to cut a wait short.
    pub(super) wakes: u64,
    /// Finish the batch and end.
    pub(super) stop: bool,
}

/// Drains its share of the partitions.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) number: usize,
    pub(super) context: Arc<Context>,
    pub(super) hot: Arc<dyn HotStore>,
    pub(super) durable: Arc<dyn DurableStore>,
    pub(super) partitions: Vec<Partition>,
    pub(super) progress: Arc<Progress>,
    pub(super) requests: watch::Receiver<Request>,
}

/// Why a step did not succeed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error("Redis: {0}")]
    Hot(#[from] HotStoreError),
    #[error("PostgreSQL: {0}")]
    Durable(#[from] DurableStoreError),
    #[error("another drainer has taken the partitions over")]
    TakenOver,
    #[error(transparent)]
    WentBack(#[from] WentBack),
    #[error(transparent)]
    Blocked(#[from] Blocked),
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
}

/// A batch that was read and planned.
#[derive(Debug)]
struct Prepared {
    read: Read,
    plan: Plan,
}

impl Drop for Worker {
    /// A panic would otherwise leave its share of the partitions undrained in silence, and who
    /// flushes waiting for ever.
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(worker = self.number, "a worker of the drainer has panicked");
            self.progress.end("a worker has panicked; what it said stands on stderr");
        }
    }
}

impl Worker {
    /// Works until it is asked to stop, or another drainer takes over.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::new(&self.context.settings.drain);
        // The epoch is raised once; after a failure the offsets are read again.
        let mut epochs: Option<Vec<i64>> = None;
        let mut standing: Option<Standing> = None;
        while !self.must_stop() {
            let step = self.step(&mut epochs, &mut standing).await;
            let wait = match step {
                Ok(Backlog::More) => {
                    self.succeed(&mut backoff);
                    continue;
                }
                Ok(Backlog::Empty) => {
                    self.succeed(&mut backoff);
                    self.context.settings.drain.interval
                }
                Err(StepError::TakenOver) => {
                    tracing::error!("another drainer has taken over; this one ends");
                    self.progress.end("another drainer has taken the partitions over");
                    return;
                }
                Err(error) => {
                    standing = None;
                    let wait = backoff.failed();
                    let error = report(&error);
                    tracing::warn!(error, ?wait, "draining failed and is tried again");
                    self.progress.failed(self.number, error);
                    wait
                }
            };
            self.wait(wait).await;
        }
        if let Some(Standing { offsets, unsettled, .. }) = standing
            && let Err(error) = self.settle(&offsets, &unsettled).await
        {
            // It is settled when a drainer takes over.
            tracing::warn!(error = report(&error), "the last batch is not settled yet");
        }
    }

    fn succeed(&self, backoff: &mut Backoff) {
        backoff.succeeded();
        self.progress.succeeded(self.number);
    }

    fn must_stop(&self) -> bool {
        // A handle that was dropped asks for nothing any more.
        self.requests.borrow().stop || self.requests.has_changed().is_err()
    }

    async fn wait(&mut self, wait: Duration) {
        let _ = tokio::time::timeout(wait, self.requests.changed()).await;
    }

    /// Commits one batch. Meanwhile the next one is planned, the one after that is read, and the
    /// last one settled: only commits have to come one after the other.
    async fn step(
        &self,
        epochs: &mut Option<Vec<i64>>,
        standing: &mut Option<Standing>,
    ) -> Result<Backlog, StepError> {
        let Standing { offsets, next, ahead, unsettled, committed_at } = match standing {
            Some(standing) => standing,
            None => {
                let offsets = self.load_offsets(epochs).await?;
                standing.insert(Standing {
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
        if prepared.plan.entries == 0 {
            self.settle(offsets, unsettled).await?;
            unsettled.clear();
            let retention = self.context.settings.drain.retention;
            if committed_at.is_some_and(|at| at.elapsed() >= retention) {
                // Nothing comes that would trim the entries of the last batches.
                self.hot.settle(&trims(offsets)).await?;
                *committed_at = None;
            }
            return match prepared.plan.blocked {
                Some(blocked) => Err(blocked.into()),
                None => Ok(backlog),
            };
        }
        let after = moved(offsets, &prepared.plan);
        let prepare_next = async {
            match backlog {
                Backlog::More => self.prepare(&after, ahead).await.map(Some),
                Backlog::Empty => Ok(None),
            }
        };
        let (committed, settled, prepared_next) = tokio::join!(
            self.commit(offsets, &prepared),
            self.settle(offsets, unsettled),
            prepare_next,
        );
        let replanned = committed?;
        *committed_at = Some(Instant::now());
        settled?;
        let plan = replanned.as_ref().unwrap_or(&prepared.plan);
        *offsets = moved(offsets, plan);
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
        let read = match ahead.take() {
            // A plan that ended early leaves entries before those.
            Some(read) if read.from == from => read,
            _ => self.read(from).await?,
        };
        failpoint::reach("after_read");
        let read_ahead = async {
            match read.backlog {
                Backlog::More => self.read(read.ends()).await.ok(),
                Backlog::Empty => None,
            }
        };
        let planning = async { plan(&self.context, offsets, &read.entries, Order::Grouped) };
        let (read_ahead, planned) = tokio::join!(read_ahead, planning);
        // A failure to read ahead comes again where it is read in earnest.
        *ahead = read_ahead;
        Ok(Prepared { plan: planned?, read })
    }

    /// Takes the partitions over, or finds out how far they were committed; and settles what
    /// a crash between commit and settle has left.
    async fn load_offsets(&self, epochs: &mut Option<Vec<i64>>) -> Result<Vec<Offset>, StepError> {
        let offsets = match epochs {
            None => self.durable.take_over(&self.partitions).await?,
            Some(_) => self.durable.offsets(&self.partitions).await?,
        };
        let current: Vec<i64> = offsets.iter().map(|offset| offset.epoch).collect();
        if epochs.get_or_insert_with(|| current.clone()) != &current {
            return Err(StepError::TakenOver);
        }
        self.settle_again(&offsets).await?;
        self.progress.settled(&offsets);
        Ok(offsets)
    }

    async fn settle_again(&self, offsets: &[Offset]) -> Result<(), StepError> {
        let states = self.hot.states(&self.partitions).await?;
        for (offset, state) in offsets.iter().zip(states) {
            if state.settled < offset.position {
                self.settle_partition_again(state.settled, offset).await?;
            }
        }
        Ok(())
    }

    async fn settle_partition_again(
        &self,
        mut from: EntryId,
        offset: &Offset,
    ) -> Result<(), StepError> {
        let count = self.context.settings.drain.batch_entries;
        while from < offset.position {
            let request = ReadRequest { partition: offset.partition, from, count: count + 1 };
            let read = self.hot.read_entries(&[request]).await?;
            let entries = read.into_iter().next().unwrap_or_default();
            // Where the queue ends before the offset, the rest of it is gone: nothing to settle.
            let last = entries.last().map_or(offset.position, |entry| entry.id);
            let reached = if last > from { last.min(offset.position) } else { offset.position };
            let to = Offset { position: reached, ..offset.clone() };
            self.hot.settle(&[settle_again(&self.context, from, &to, &entries)]).await?;
            from = reached;
        }
        Ok(())
    }

    /// Reads from an entry of each partition on, itself included; a second time from those that
    /// have more, if the first left room in the batch.
    async fn read(&self, from: Vec<EntryId>) -> Result<Read, StepError> {
        let room = self.context.settings.drain.batch_entries;
        let share = room.div_ceil(from.len().max(1)) + 1;
        let requests = self.partitions.iter().zip(&from);
        let first: Vec<ReadRequest> = requests
            .map(|(&partition, &from)| ReadRequest { partition, from, count: share })
            .collect();
        let mut entries = self.hot.read_entries(&first).await?;
        let full: Vec<usize> =
            (0..entries.len()).filter(|&at| entries[at].len() == share).collect();
        if full.is_empty() {
            return Ok(Read { from, entries, backlog: Backlog::Empty });
        }
        let used: usize = entries.iter().map(Vec::len).sum();
        let more = room.saturating_sub(used) / full.len();
        if more > 0 {
            let request = |&at: &usize| ReadRequest {
                partition: self.partitions[at],
                from: entries[at].last().map_or(from[at], |entry| entry.id),
                count: more + 1,
            };
            let second: Vec<ReadRequest> = full.iter().map(request).collect();
            let rest = self.hot.read_entries(&second).await?;
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
        offsets: &[Offset],
        prepared: &Prepared,
    ) -> Result<Option<Plan>, StepError> {
        let replanned = match self.durable.apply(&prepared.plan.batch).await {
            // Values that were swapped or handed on fail in any grouped order.
            Err(DurableStoreError::Content(error)) => {
                tracing::debug!(%error, "a grouped batch was refused, trying it in queue order");
                let replanned = plan(&self.context, offsets, &prepared.read.entries, Order::Queue)?;
                self.durable.apply(&replanned.batch).await?;
                Some(replanned)
            }
            Err(error) => return Err(error.into()),
            Ok(()) => None,
        };
        failpoint::reach("after_commit");
        let plan = replanned.as_ref().unwrap_or(&prepared.plan);
        self.progress.committed(plan, plan.oldest.map(age).unwrap_or_default());
        Ok(replanned)
    }

    async fn settle(
        &self,
        offsets: &[Offset],
        settlements: &[Settlement],
    ) -> Result<(), StepError> {
        if settlements.is_empty() {
            return Ok(());
        }
        self.hot.settle(settlements).await?;
        failpoint::reach("after_settle");
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
