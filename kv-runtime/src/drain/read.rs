//! Reads batches, and has them planned.

use std::collections::{HashMap, HashSet};

use super::causal::{Past, dependencies};
use super::plan::{Held, Plan, Steps, plan, rows_to_look_up, steps};
use super::share::Share;
use super::worker::{StepError, Worker};
use crate::durable_store::Offset;
use crate::entry::{EntryId, RawEntry};
use crate::failpoint;
use crate::hot_store::ReadRequest;
use crate::key::Partition;

/// What an entry is taken to weigh before one was seen, in bytes.
const USUAL_ENTRY: usize = 512;

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

    /// What an entry of it weighs, in bytes.
    fn weight(&self) -> usize {
        let count: usize = self.entries.iter().map(Vec::len).sum();
        let bytes: usize = self.entries.iter().flatten().map(RawEntry::byte_len).sum();
        bytes.checked_div(count).unwrap_or(USUAL_ENTRY).max(1)
    }
}

/// A batch that was read and planned.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) read: Read,
    pub(super) held: Held,
    /// How far partitions are drained that are not in the batch, as far as it depends on them.
    pub(super) drained: HashMap<Partition, EntryId>,
    pub(super) plan: Plan,
}

impl Worker {
    /// Plans what was read ahead, or reads it; and reads ahead again meanwhile.
    pub(super) async fn prepare(
        &self,
        share: &Share,
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
            let drained = self.look_up_drained(offsets, &steps).await?;
            let has_waited = |partition, entry| share.has_waited(partition, entry);
            let past = Past { drained: &drained, has_waited: &has_waited };
            let plan = plan(&self.context, offsets, steps, &past);
            Ok::<_, StepError>((plan, held, drained))
        };
        let (read_ahead, planned) = tokio::join!(read_ahead, planning);
        // A failure to read ahead comes again where it is read in earnest.
        *ahead = read_ahead;
        let (plan, held, drained) = planned?;
        Ok(Prepared { read, held, drained, plan })
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
}
