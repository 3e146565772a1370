//! Takes partitions over, and settles what others have left of them.

use super::plan::settle_again;
use super::share::Share;
use super::worker::{StepError, Worker};
use super::{rebuild, repair};
use crate::durable_store::{DurableStoreError, Offset};
use crate::entry::EntryId;
use crate::hot_store::{PartitionState, ReadRequest, ReadSize};
use crate::key::Partition;
use crate::scheme::StorageScheme;

impl Worker {
    /// Takes partitions over, or finds out how far they were committed; and settles what
    /// a crash between commit and settle has left.
    pub(super) async fn load_offsets(
        &self,
        share: &mut Share,
        partitions: &[Partition],
    ) -> Result<Vec<Offset>, StepError> {
        let is_new = |partition: &&Partition| share.epoch(**partition).is_none();
        let new: Vec<Partition> = partitions.iter().filter(is_new).copied().collect();
        if !new.is_empty() {
            self.begin_schemes(&new).await?;
            let offsets = self.stores.durable.take_over(&new).await?;
            share.taken_over(&offsets);
        }
        let offsets = self.stores.durable.offsets(partitions).await?;
        let moved = offsets.iter().filter(|offset| offset.is_moved);
        let moved: Vec<Partition> = moved.map(|offset| offset.partition).collect();
        if !moved.is_empty() {
            return Err(StepError::Moved(moved));
        }
        let is_lost = |offset: &&Offset| share.epoch(offset.partition) != Some(offset.epoch);
        let lost: Vec<Partition> =
            offsets.iter().filter(is_lost).map(|offset| offset.partition).collect();
        if !lost.is_empty() {
            return Err(StepError::Fenced(lost));
        }
        let offsets: Vec<Offset> =
            offsets.into_iter().filter(|offset| !offset.scheme.is_direct()).collect();
        repair::finish_releases(&self.stores, &offsets).await?;
        self.settle_again(&offsets).await?;
        self.progress.settled(&offsets);
        Ok(offsets)
    }

    /// Has the schemes of queues written down that nobody has used yet, before their partitions are.
    async fn begin_schemes(&self, partitions: &[Partition]) -> Result<(), StepError> {
        let is_of = |queue: &str| partitions.iter().any(|partition| partition.queue == queue);
        for model in self.context.models.iter().filter(|model| is_of(model.queue)) {
            self.stores.scheme(model).await?;
        }
        Ok(())
    }

    async fn settle_again(&self, offsets: &[Offset]) -> Result<(), StepError> {
        let partitions: Vec<Partition> = offsets.iter().map(|offset| offset.partition).collect();
        let states = self.stores.hot.states(&partitions).await?;
        for (offset, state) in offsets.iter().zip(states) {
            if state.settled < offset.position {
                self.settle_partition_again(state.settled, offset).await?;
            } else if state.settled > offset.position {
                // Another drainer may have moved both on since the offset was read.
                self.look_at_offsets(&[offset.partition], std::slice::from_ref(offset)).await?;
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
        // Of rows that only Redis has, PostgreSQL has nothing to be brought back.
        if position >= state.trimmed || offset.scheme == StorageScheme::RedisOnly {
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
        let mut size = ReadSize::default();
        while from < offset.position {
            let count = size.count() + 1;
            let request = ReadRequest { partition: offset.partition, from, count };
            let read = self.stores.hot.read_entries(&[request]).await?;
            let entries = read.into_iter().next().unwrap_or_default();
            size.learn(entries.iter());
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
}
