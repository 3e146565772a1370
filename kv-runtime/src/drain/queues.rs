//! A look at the queues, by which no entry is drained.

use std::sync::Arc;
use std::time::Duration;

use super::worker::age;
use super::{DrainError, LOOK_AGAIN};
use crate::entry::EntryId;
use crate::hot_store::{HotStoreError, ReadRequest};
use crate::key::Partition;
use crate::model::{KvModel, ModelDescriptor};
use crate::schema::Schema;
use crate::stores::Stores;

/// A look at the queues of some models, for a process that leaves the draining to others; made by
/// [`Kv::queues`](crate::Kv::queues).
///
/// ```
/// # use std::time::Duration;
/// # use kv_runtime::{Kv, KvModel};
/// # #[derive(Debug, Clone, PartialEq, KvModel)]
/// # #[kv(table = "bookings")]
/// # struct Booking {
/// #     #[kv(id, fresh)]
/// #     id: i64,
/// # }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let kv = Kv::memory();
/// let queues = kv.queues().model::<Booking>();
/// kv.repository::<Booking>().create(&Booking { id: 7 }).await?;
/// assert_eq!(queues.status().await?.undrained, 1);
/// # let drainer = kv.drainer().model::<Booking>().spawn();
/// // With a drainer at work, here or in another process:
/// tokio::time::timeout(Duration::from_secs(10), queues.wait_until_drained()).await??;
/// assert_eq!(queues.status().await?.undrained, 0);
/// # drainer.shutdown().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Queues {
    stores: Arc<Stores>,
    queues: Vec<&'static str>,
}

/// What waits on some queues.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStatus {
    /// Entries that wait to be drained.
    pub undrained: u64,
    /// The age of the oldest of them; zero where none waits.
    pub lag: Duration,
}

impl QueueStatus {
    /// What waits there and on other queues.
    pub(super) fn and(self, other: Self) -> Self {
        Self { undrained: self.undrained + other.undrained, lag: self.lag.max(other.lag) }
    }
}

impl Queues {
    pub(crate) fn new(stores: Arc<Stores>) -> Self {
        Self { stores, queues: Vec::new() }
    }

    pub(super) fn of(stores: Arc<Stores>, queues: Vec<&'static str>) -> Self {
        Self { stores, queues }
    }

    /// Adds the queue of a model; other models may share it.
    #[must_use]
    pub fn model<M: KvModel>(mut self) -> Self {
        self.add(M::DESCRIPTOR);
        self
    }

    /// Adds the queues of all models of a schema, as [`model`](Self::model) does.
    #[must_use]
    pub fn models(mut self, schema: &Schema) -> Self {
        schema.models().iter().for_each(|model| self.add(model));
        self
    }

    fn add(&mut self, model: &ModelDescriptor) {
        if !self.queues.contains(&model.queue) {
            self.queues.push(model.queue);
        }
    }

    /// The partitions that the queues have now.
    async fn partitions(&self) -> Vec<Partition> {
        for queue in &self.queues {
            self.stores.look_at_layouts(queue).await;
        }
        self.queues.iter().flat_map(|queue| self.stores.keys.partitions_of(queue)).collect()
    }

    /// What waits there now.
    ///
    /// # Errors
    /// [`DrainError::Unavailable`].
    pub async fn status(&self) -> Result<QueueStatus, DrainError> {
        let partitions = self.partitions().await;
        let states = self.stores.hot.states(&partitions).await?;
        let mut undrained = 0;
        let mut waiting = Vec::new();
        for (&partition, state) in partitions.iter().zip(&states) {
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
        Ok(QueueStatus { undrained, lag: oldest.map(age).unwrap_or_default() })
    }

    /// Waits until everything that was written before this call is drained, by whichever drainer.
    /// Where none is at work, that is for ever. What Redis loses meanwhile is not waited for.
    ///
    /// # Errors
    /// [`DrainError::Unavailable`].
    pub async fn wait_until_drained(&self) -> Result<(), DrainError> {
        let mut targets = self.newest().await?;
        loop {
            targets = self.unsettled(targets).await?;
            if targets.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// The newest entry of each partition.
    pub(super) async fn newest(&self) -> Result<Vec<(Partition, EntryId)>, HotStoreError> {
        let partitions = self.partitions().await;
        let states = self.stores.hot.states(&partitions).await?;
        Ok(partitions.into_iter().zip(states.iter().map(|state| state.newest)).collect())
    }

    /// Those of the targets that no drainer has settled yet. What Redis has lost meanwhile is not
    /// among them: nobody ever will.
    pub(super) async fn unsettled(
        &self,
        mut targets: Vec<(Partition, EntryId)>,
    ) -> Result<Vec<(Partition, EntryId)>, HotStoreError> {
        let partitions: Vec<Partition> = targets.iter().map(|target| target.0).collect();
        let states = self.stores.hot.states(&partitions).await?;
        let mut states = states.iter();
        targets.retain(|(_, target)| {
            states.next().is_none_or(|state| state.settled < *target && *target <= state.newest)
        });
        Ok(targets)
    }
}
