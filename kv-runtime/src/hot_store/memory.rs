//! The hot side in this process: the embedded default, and the mock.
//!
//! It follows the scripts of the Redis side rule by rule, so that what passes
//! here passes there.

mod data;
mod schemes;
mod values;
mod watch;

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use self::data::{Content, Data, Mark, Stored};
pub(crate) use self::watch::Watch;
use super::{
    EntryMark, Fill, HotStore, HotStoreError, Invalidated, Load, Membership, NotReplicated,
    Observed, PartitionState, ReadOutcome, ReadRequest, RowState, SchemeMark, Settlement, Standing,
    Tail, Unit, UnitOutcome, ValueContent, ValueFill, Write, WriteOutcome,
};
use crate::checks::StoreChecks;
use crate::durability::Durability;
use crate::entry::{EntryId, RawEntry};
use crate::key::{KeySpace, Layout, Partition, RowKey};
use crate::model::ModelDescriptor;
use crate::notices::Notices;
use crate::scheme::StorageScheme;
use crate::settings::{OnHeld, Settings};

/// Rows, queues and their state in this process.
#[derive(Debug)]
pub(crate) struct MemoryHotStore {
    queue_capacity: u64,
    takes_held: bool,
    keys: KeySpace,
    data: Mutex<Data>,
    /// Of a pair that a unit test has its hand on.
    watch: Option<Arc<Watch>>,
    /// That of all tenants.
    written: Arc<Mutex<Written>>,
    tenant: Option<String>,
    notices: Notices,
}

/// Which tenants were written to, and when: the how-manieth write that was.
#[derive(Debug, Default)]
struct Written {
    last: u64,
    by_tenant: HashMap<String, u64>,
}

impl MemoryHotStore {
    pub(crate) fn new(settings: &Settings, keys: KeySpace, watch: Option<Arc<Watch>>) -> Self {
        Self {
            queue_capacity: settings.queue_capacity,
            takes_held: settings.on_held == OnHeld::Queue,
            keys,
            data: Mutex::default(),
            watch,
            written: Arc::default(),
            tenant: None,
            notices: Notices::default(),
        }
    }

    /// The bound of a partition's undrained entries.
    fn capacity(&self, partition: Partition) -> u64 {
        Settings::partition_capacity(self.queue_capacity, self.keys.partitions_with(partition))
    }

    /// Says that the tenant was written to.
    fn tell(&self) {
        let Some(tenant) = &self.tenant else { return };
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.last += 1;
        let last = written.last;
        written.by_tenant.insert(tenant.clone(), last);
    }

    /// Never held across an await; nothing that is done under it leaves the data half-changed,
    /// so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, Data> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a reader may take from its miss to its fill.
const TOKEN_TTL: Duration = Duration::from_secs(10);

impl StoreChecks for MemoryHotStore {}

#[async_trait]
impl HotStore for MemoryHotStore {
    fn is_watched(&self) -> bool {
        self.watch.is_some()
    }

    fn notices(&self) -> &Notices {
        &self.notices
    }

    fn of_tenant(&self, name: &str, keys: KeySpace) -> Arc<dyn HotStore> {
        Arc::new(Self {
            queue_capacity: self.queue_capacity,
            takes_held: self.takes_held,
            keys,
            data: Mutex::default(),
            watch: self.watch.clone(),
            written: Arc::clone(&self.written),
            tenant: Some(name.to_owned()),
            notices: self.notices.clone(),
        })
    }

    async fn written_since(&self, number: u64) -> Result<(u64, Vec<String>), HotStoreError> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let since = written.by_tenant.iter().filter(|(_, at)| **at > number);
        Ok((written.last, since.map(|(tenant, _)| tenant.clone()).collect()))
    }

    async fn write(&self, writes: &[Arc<Write>]) -> Vec<Result<WriteOutcome, HotStoreError>> {
        let mut data = self.lock();
        let write = |write: &Arc<Write>| {
            data.check_takes_entries(write.key.partition())?;
            let capacity = self.capacity(write.key.partition());
            let mut act = || data.write(write, capacity, self.takes_held);
            match &self.watch {
                None => Ok(act()),
                Some(watch) => watch.write(write, act),
            }
        };
        let results = writes.iter().map(write).collect();
        self.tell();
        results
    }

    async fn write_unit(&self, unit: &Unit) -> Result<UnitOutcome, HotStoreError> {
        let mut data = self.lock();
        data.check_takes_entries(unit.partition)?;
        let capacity = self.capacity(unit.partition);
        let mut act = || data.write_unit(unit, capacity, self.takes_held);
        let outcome = match &self.watch {
            None => Ok(act()),
            Some(watch) => watch.write_unit(unit, act),
        };
        self.tell();
        outcome
    }

    async fn observe(&self, key: &RowKey, token: &str) -> Result<Observed, HotStoreError> {
        let mut data = self.lock();
        let outcome = data.reserve(key, token, TOKEN_TTL)?;
        Ok(Observed { outcome, stamp: data.stamp(&key.key) })
    }

    async fn read(&self, keys: &[RowKey]) -> Result<Vec<ReadOutcome>, HotStoreError> {
        let mut data = self.lock();
        let act = |key: &RowKey| data.read(&key.key);
        match &self.watch {
            None => Ok(keys.iter().map(act).collect()),
            Some(watch) => watch.read(keys, act),
        }
    }

    async fn reserve(
        &self,
        keys: &[RowKey],
        token: &str,
    ) -> Result<Vec<ReadOutcome>, HotStoreError> {
        let mut data = self.lock();
        keys.iter().map(|key| data.reserve(key, token, TOKEN_TTL)).collect()
    }

    async fn fill(&self, fills: &[Fill]) -> Result<(), HotStoreError> {
        let mut data = self.lock();
        fills.iter().for_each(|fill| data.fill(fill));
        Ok(())
    }

    async fn reserve_values(
        &self,
        keys: &[String],
        token: &str,
    ) -> Result<Vec<ValueContent>, HotStoreError> {
        let mut data = self.lock();
        Ok(keys.iter().map(|key| data.reserve_value(key, token, TOKEN_TTL)).collect())
    }

    async fn fill_value(&self, fill: &ValueFill, ttl: Duration) -> Result<(), HotStoreError> {
        self.lock().fill_value(fill, ttl);
        Ok(())
    }

    async fn revoke(&self, _: Partition, _: &str) -> Result<(), HotStoreError> {
        // Values are taken together with their rows.
        Ok(())
    }

    async fn invalidate(&self, key: &RowKey) -> Result<Invalidated, HotStoreError> {
        let mut data = self.lock();
        let is_dirty = data.slot(&key.key).is_some_and(|slot| slot.expires_at.is_none());
        if is_dirty {
            return Ok(Invalidated::Dirty);
        }
        let content = data.slot(&key.key).map(|slot| &slot.content);
        if matches!(content, Some(Content::Barred(_))) {
            return Ok(Invalidated::Clean);
        }
        data.release_values(&key.key);
        data.slots.remove(&key.key);
        Ok(Invalidated::Clean)
    }

    async fn read_entries(
        &self,
        requests: &[ReadRequest],
    ) -> Result<Vec<Vec<RawEntry>>, HotStoreError> {
        let data = self.lock();
        let read = |request: &ReadRequest| {
            let Some(queue) = data.queues.get(&request.partition) else { return Vec::new() };
            let entries = queue.entries.range(request.from..);
            entries.take(request.count).map(|(_, entry)| entry.clone()).collect()
        };
        Ok(requests.iter().map(read).collect())
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<bool, HotStoreError> {
        let mut data = self.lock();
        let mut is_settled = true;
        for settlement in settlements {
            for row in &settlement.rows {
                data.settle_row(row);
                self.notices.changed(&row.key);
            }
            let queue = data.queues.entry(settlement.partition).or_default();
            if settlement.from == queue.state.settled {
                let entries = settlement.entries as u64;
                queue.state.undrained = queue.state.undrained.saturating_sub(entries);
                queue.state.settled = settlement.to;
                queue.entries = queue.entries.split_off(&settlement.retain_from);
                queue.state.trimmed = settlement.retain_from;
            } else {
                is_settled = false;
            }
        }
        Ok(is_settled)
    }

    async fn row_state(&self, key: &RowKey) -> Result<RowState, HotStoreError> {
        let mut data = self.lock();
        let Some(slot) = data.slot(&key.key) else { return Ok(RowState::Missing) };
        Ok(match &slot.content {
            Content::Token(_) | Content::Barred(_) => RowState::Missing,
            Content::Row(Stored { mark: Mark::Held(_), .. })
            | Content::Tombstone(Stored { mark: Mark::Held(_), .. }) => RowState::Held,
            Content::Tombstone(_) => RowState::Deleted,
            Content::Row(_) if slot.expires_at.is_none() => RowState::Dirty,
            Content::Row(_) => RowState::Clean,
        })
    }

    async fn let_go(&self, keys: &[String], up_to: EntryId) -> Result<(), HotStoreError> {
        let mut data = self.lock();
        for key in keys {
            data.let_go(key, up_to);
            self.notices.changed(key);
        }
        Ok(())
    }

    async fn scan(
        &self,
        model: &'static ModelDescriptor,
        partition: Option<Partition>,
    ) -> Result<Vec<String>, HotStoreError> {
        let data = self.lock();
        let is_of = |key: &&String| match partition {
            None => self.keys.is_row_of(model, key),
            Some(partition) => {
                let row = self.keys.parse_row(model, key);
                row.is_some_and(|row| row.partition() == partition)
            }
        };
        Ok(data.slots.keys().filter(is_of).cloned().collect())
    }

    async fn scheme(&self, partition: Partition) -> Result<SchemeMark, HotStoreError> {
        Ok(self.lock().mark(partition))
    }

    async fn close(&self, partitions: &[Partition], switch: &str) -> Result<(), HotStoreError> {
        let mut data = self.lock();
        partitions.iter().for_each(|&partition| data.close(partition, switch));
        Ok(())
    }

    async fn load(&self, rows: &[Load], switch: &str) -> Result<(), HotStoreError> {
        let mut data = self.lock();
        let are_loaded = rows.iter().all(|row| data.load(row, switch));
        if are_loaded { Ok(()) } else { Err(HotStoreError::Elsewhere) }
    }

    async fn drop_rows(&self, keys: &[RowKey], switch: &str) -> Result<(), HotStoreError> {
        let mut data = self.lock();
        let are_dropped = keys.iter().all(|key| data.drop_row(key, switch));
        if are_dropped { Ok(()) } else { Err(HotStoreError::Elsewhere) }
    }

    async fn open(
        &self,
        partition: Partition,
        scheme: StorageScheme,
        from: Option<EntryId>,
    ) -> Result<(), HotStoreError> {
        self.lock().open(partition, scheme, from);
        Ok(())
    }

    async fn layouts(&self, queue: &'static str) -> Result<Vec<Layout>, HotStoreError> {
        Ok(self.lock().layouts.get(queue).cloned().unwrap_or_default())
    }

    async fn move_on(&self, queue: &'static str, layouts: &[Layout]) -> Result<(), HotStoreError> {
        self.lock().move_on(queue, layouts);
        Ok(())
    }

    async fn bar(&self, keys: &[String], token: &str) -> Result<bool, HotStoreError> {
        let mut data = self.lock();
        Ok(keys.iter().all(|key| data.bar(key, token, TOKEN_TTL)))
    }

    async fn lift(&self, keys: &[String], token: &str) -> Result<(), HotStoreError> {
        let mut data = self.lock();
        keys.iter().for_each(|key| data.lift(key, token));
        Ok(())
    }

    async fn rebase(&self, partition: Partition, to: EntryId) -> Result<(), HotStoreError> {
        let mut data = self.lock();
        let queue = data.queues.entry(partition).or_default();
        queue.state.undrained = queue.entries.keys().filter(|entry| **entry > to).count() as u64;
        queue.state.settled = to;
        Ok(())
    }

    async fn join(
        &self,
        queue: &'static str,
        owner: &str,
        ttl: Duration,
    ) -> Result<Membership, HotStoreError> {
        let mut data = self.lock();
        let members = data.members.entry(queue).or_default();
        let now = Instant::now();
        members.retain(|_, ends| *ends > now);
        members.insert(owner.to_owned(), now + ttl);
        let rank = members.keys().take_while(|member| *member != owner).count();
        Ok(Membership { members: members.len(), rank })
    }

    async fn leave(&self, queue: &'static str, owner: &str) -> Result<(), HotStoreError> {
        if let Some(members) = self.lock().members.get_mut(queue) {
            members.remove(owner);
        }
        Ok(())
    }

    async fn lease(
        &self,
        partitions: &[Partition],
        owner: &str,
        ttl: Duration,
    ) -> Result<Vec<bool>, HotStoreError> {
        let mut data = self.lock();
        let now = Instant::now();
        let take = |partition: &Partition| {
            let is_free = data
                .leases
                .get(partition)
                .is_none_or(|(holder, ends)| holder == owner || *ends <= now);
            if is_free {
                data.leases.insert(*partition, (owner.to_owned(), now + ttl));
            }
            Ok(is_free)
        };
        partitions.iter().map(take).collect()
    }

    async fn give_back(&self, partitions: &[Partition], owner: &str) -> Result<(), HotStoreError> {
        let mut data = self.lock();
        data.leases
            .retain(|partition, (holder, _)| holder != owner || !partitions.contains(partition));
        Ok(())
    }

    async fn states(&self, partitions: &[Partition]) -> Result<Vec<PartitionState>, HotStoreError> {
        let data = self.lock();
        let state = |partition: &Partition| {
            let state = data.queues.get(partition).map(|queue| queue.state).unwrap_or_default();
            let is_moved = data.mark(*partition) == SchemeMark::Moved;
            PartitionState { is_moved, ..state }
        };
        Ok(partitions.iter().map(state).collect())
    }

    async fn tails(&self, partitions: &[Partition]) -> Result<Vec<Tail>, HotStoreError> {
        let states = self.states(partitions).await?;
        let tail = |PartitionState { settled, undrained, is_moved, .. }: PartitionState| Tail {
            settled,
            undrained,
            is_moved,
        };
        Ok(states.into_iter().map(tail).collect())
    }

    async fn entries_behind(
        &self,
        places: &[(Partition, EntryId)],
        count: usize,
    ) -> Result<Vec<Vec<RawEntry>>, HotStoreError> {
        let data = self.lock();
        let read = |&(partition, place): &(Partition, EntryId)| {
            let Some(queue) = data.queues.get(&partition) else { return Vec::new() };
            let entries = queue.entries.range((Bound::Excluded(place), Bound::Unbounded));
            entries.take(count).map(|(_, entry)| entry.clone()).collect()
        };
        Ok(places.iter().map(read).collect())
    }

    async fn standing(&self, entry: &EntryMark) -> Result<Standing, HotStoreError> {
        let data = self.lock();
        let Some(queue) = data.queues.get(&entry.partition) else { return Ok(Standing::Gone) };
        let is_there = queue.entries.contains_key(&entry.id);
        Ok(Standing::new(entry.id, is_there, queue.state.settled, queue.state.trimmed))
    }

    async fn check_durability(&self, _: Durability) -> Result<(), HotStoreError> {
        Ok(())
    }

    /// This process is all there is.
    async fn replicate(&self, _: &[EntryMark], _: Durability) -> Result<(), NotReplicated> {
        Ok(())
    }
}
