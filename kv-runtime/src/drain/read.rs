//! Reads batches, and has them planned.

use std::collections::{HashMap, HashSet};

use super::causal::{Past, dependencies};
use super::pace::Pace;
use super::plan::{Held, Plan, Steps, plan, rows_to_look_up, steps};
use super::share::Share;
use super::worker::{StepError, Worker};
use crate::durable_store::Offset;
use crate::entry::{EntryId, RawEntry};
use crate::failpoint;
use crate::hot_store::{ReadRequest, ReadSize};
use crate::key::Partition;

/// What is left after a step that succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backlog {
    /// The queues hold more.
    More,
    /// The end of the queues was reached.
    Empty,
}

/// Entries of each partition.
#[derive(Debug)]
pub(super) struct Read {
    /// The first entry that was asked for.
    from: Vec<EntryId>,
    pub(super) entries: Vec<Vec<RawEntry>>,
    pub(super) backlog: Backlog,
}

impl Read {
    /// The last entry of each partition, from which the next read begins.
    fn ends(&self) -> Vec<EntryId> {
        let ends = self.from.iter().zip(&self.entries);
        ends.map(|(from, entries)| entries.last().map_or(*from, |entry| entry.id)).collect()
    }
}

/// A batch that was read and planned. Its entries are not kept: where they are wanted once more, they
/// are still on the queues.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) plan: Plan,
    pub(super) backlog: Backlog,
}

/// What is to be done with the entries that were read, and what that was decided by.
pub(super) struct Decided<'a> {
    pub(super) steps: Steps<'a>,
    /// How far partitions are drained that are not in the batch, as far as it depends on them.
    pub(super) drained: HashMap<Partition, EntryId>,
}

impl Worker {
    /// Plans what was read ahead, or reads it; and reads ahead again meanwhile.
    pub(super) async fn prepare(
        &self,
        share: &Share,
        offsets: &[Offset],
        ahead: &mut Option<Read>,
        size: &mut ReadSize,
        pace: &Pace,
    ) -> Result<Prepared, StepError> {
        let from: Vec<EntryId> = offsets.iter().map(|offset| offset.position).collect();
        let partitions = || offsets.iter().map(|offset| offset.partition);
        let most = pace.batch_entries(&self.context.settings.drain);
        let read = match ahead.take() {
            // A plan that ended early leaves entries before those.
            Some(read) if read.from == from => read,
            _ => self.read(partitions(), from, most, size).await?,
        };
        failpoint::reach("after_read");
        let read_ahead = async {
            match read.backlog {
                Backlog::More => self.read(partitions(), read.ends(), most, size).await.ok(),
                Backlog::Empty => None,
            }
        };
        let planning = async {
            let Decided { steps, drained } = self.decide(offsets, &read.entries).await?;
            let has_waited = |partition, entry| share.has_waited(partition, entry);
            let past = Past { drained: &drained, has_waited: &has_waited };
            Ok::<_, StepError>(plan(&self.context, offsets, steps, &past))
        };
        let (read_ahead, planned) = tokio::join!(read_ahead, planning);
        // A failure to read ahead comes again where it is read in earnest.
        *ahead = read_ahead;
        Ok(Prepared { plan: planned?, backlog: read.backlog })
    }

    /// Decides about entries that were read of each partition, from its offset on.
    pub(super) async fn decide<'a>(
        &self,
        offsets: &[Offset],
        read: &'a [Vec<RawEntry>],
    ) -> Result<Decided<'a>, StepError> {
        let held = self.look_up_held(offsets, read).await?;
        let steps = steps(&self.context, offsets, read, &held)?;
        let drained = self.look_up_drained(offsets, &steps).await?;
        Ok(Decided { steps, drained })
    }

    /// Reads the entries of a plan once more, and no others: what is behind them was not waited for
    /// to be replicated.
    pub(super) async fn read_again(
        &self,
        offsets: &[Offset],
        plan: &Plan,
    ) -> Result<Vec<Vec<RawEntry>>, StepError> {
        // Settlements are in the order of the offsets.
        let mut settlements = plan.settlements.iter().peekable();
        let mut requests = Vec::with_capacity(offsets.len());
        let mut ends = Vec::with_capacity(offsets.len());
        for &Offset { partition, position: from, .. } in offsets {
            let part = settlements.next_if(|settlement| settlement.partition == partition);
            // The offset's own entry, too.
            let count = part.map_or(0, |settlement| settlement.entries) + 1;
            requests.push(ReadRequest { partition, from, count });
            ends.push(part.map_or(from, |settlement| settlement.to));
        }
        let mut entries = self.stores.hot.read_entries(&requests).await?;
        for (entries, end) in entries.iter_mut().zip(ends) {
            entries.retain(|entry| entry.id <= end);
        }
        Ok(entries)
    }

    /// How far other partitions are drained that entries of a batch depend on.
    async fn look_up_drained(
        &self,
        offsets: &[Offset],
        steps: &Steps<'_>,
    ) -> Result<HashMap<Partition, EntryId>, StepError> {
        let mut others = HashSet::new();
        for (offset, steps) in offsets.iter().zip(&steps.of_partitions) {
            let numbers = steps.iter().flat_map(dependencies).map(|on| on.partition);
            let queue = offset.partition.queue;
            others.extend(numbers.map(|number| Partition { queue, number }));
        }
        others.retain(|other| offsets.iter().all(|offset| offset.partition != *other));
        if others.is_empty() {
            return Ok(HashMap::new());
        }
        let others: Vec<Partition> = others.into_iter().collect();
        let drained = self.stores.durable.offsets(&others).await?;
        Ok(drained.into_iter().map(|offset| (offset.partition, offset.position)).collect())
    }

    pub(super) async fn look_up_held(
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

    /// Reads from an entry of each partition on, itself included; and again from those that have more,
    /// while there is room in the batch. It has at most so many entries.
    async fn read(
        &self,
        partitions: impl Iterator<Item = Partition>,
        from: Vec<EntryId>,
        most: usize,
        size: &mut ReadSize,
    ) -> Result<Read, StepError> {
        let partitions: Vec<Partition> = partitions.collect();
        let (mut room, mut bytes) = (most, self.context.settings.drain.batch_bytes);
        let mut entries: Vec<Vec<RawEntry>> = partitions.iter().map(|_| Vec::new()).collect();
        let mut open: Vec<usize> = (0..partitions.len()).collect();
        // The entry that is read from, too.
        let mut count = room.min(size.count()).div_ceil(open.len().max(1)) + 1;
        while count > 0 {
            let request = |&at: &usize| ReadRequest {
                partition: partitions[at],
                from: entries[at].last().map_or(from[at], |entry| entry.id.next()),
                count,
            };
            let requests: Vec<ReadRequest> = open.iter().map(request).collect();
            let read = match self.stores.hot.read_entries(&requests).await {
                Ok(read) => read,
                // What there is goes on; the rest may have been too much for an answer.
                Err(_) if room < most => {
                    *size = ReadSize::default();
                    break;
                }
                Err(error) => return Err(error.into()),
            };
            size.learn(read.iter().flatten());
            let mut full = Vec::new();
            for (at, read) in open.into_iter().zip(read) {
                room = room.saturating_sub(read.len());
                let read_bytes: usize = read.iter().map(RawEntry::byte_len).sum();
                bytes = bytes.saturating_sub(read_bytes);
                if read.len() == count {
                    full.push(at);
                }
                entries[at].extend(read);
            }
            open = full;
            let wanted = if bytes > 0 { room.min(size.count()) } else { 0 };
            count = wanted.checked_div(open.len()).unwrap_or_default();
        }
        let backlog = if open.is_empty() { Backlog::Empty } else { Backlog::More };
        Ok(Read { from, entries, backlog })
    }
}
