//! The hot side in this process: the embedded default, and the mock.
//!
//! It follows the scripts of the Redis side rule by rule, so that what passes
//! here passes there.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{
    EntryMark, Fill, HotStore, HotStoreError, Invalidated, Membership, NotReplicated,
    PartitionState, Probe, ReadOutcome, ReadRequest, RowState, SettledRow, Settlement, Standing,
    Write, WriteOutcome,
};
use crate::checks::StoreChecks;
use crate::durability::Durability;
use crate::entry::{Change, EntryId, RawEntry};
use crate::key::{KeySpace, Partition, RowKey};
use crate::model::ModelDescriptor;
use crate::row::EncodedRow;
use crate::settings::{OnHeld, Settings};

/// Rows, queues and their state in this process.
#[derive(Debug)]
pub(crate) struct MemoryHotStore {
    partition_capacity: u64,
    takes_held: bool,
    keys: KeySpace,
    data: Mutex<Data>,
}

#[derive(Debug, Default)]
struct Data {
    slots: HashMap<String, Slot>,
    queues: HashMap<Partition, Queue>,
    /// With the time at which each ends.
    leases: HashMap<Partition, (String, Instant)>,
    members: HashMap<&'static str, BTreeMap<String, Instant>>,
}

/// What lies under a row's key.
#[derive(Debug)]
struct Slot {
    content: Content,
    /// `None` pins it.
    expires_at: Option<Instant>,
}

#[derive(Debug)]
enum Content {
    Row(Stored),
    Tombstone(Stored),
    Token(String),
}

/// A row, or the id of the operation that deleted it, with its newest entry.
#[derive(Debug)]
struct Stored {
    row: EncodedRow,
    entry: EntryId,
    operation_id: String,
    mark: Mark,
}

/// What is known of a row beside its entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    None,
    /// It has dead letters, of which this entry is one.
    Held(EntryId),
    /// PostgreSQL may have it otherwise, so it goes when it is clean.
    Stale,
}

#[derive(Debug, Default)]
struct Queue {
    entries: BTreeMap<EntryId, RawEntry>,
    state: PartitionState,
}

impl Slot {
    fn pinned(content: Content) -> Self {
        Self { content, expires_at: None }
    }

    fn expiring(content: Content, after: Duration) -> Self {
        Self { content, expires_at: Some(Instant::now() + after) }
    }
}

impl Data {
    /// What lies under a key, if it has not expired.
    fn slot(&mut self, key: &str) -> Option<&mut Slot> {
        let has_expired = |slot: &Slot| slot.expires_at.is_some_and(|at| at <= Instant::now());
        if self.slots.get(key).is_some_and(has_expired) {
            self.slots.remove(key);
        }
        self.slots.get_mut(key)
    }

    fn read(&mut self, key: &str) -> ReadOutcome {
        match self.slot(key).map(|slot| &slot.content) {
            Some(Content::Row(stored)) => ReadOutcome::Row(stored.row.clone()),
            Some(Content::Tombstone(_)) => ReadOutcome::Deleted,
            Some(Content::Token(token)) => ReadOutcome::Missing { token: Some(token.clone()) },
            None => ReadOutcome::Missing { token: None },
        }
    }

    /// One change with its entry: the rules of `write.lua`.
    fn write(&mut self, write: &Write, capacity: u64, takes_held: bool) -> WriteOutcome {
        let is_whole_row = matches!(write.change, Change::Create(_) | Change::Upsert(_));
        let is_create = matches!(write.change, Change::Create(_));
        let content = self.slot(&write.key.key).map(|slot| &slot.content);
        let mut mark = Mark::None;
        if let Some(Content::Row(stored) | Content::Tombstone(stored)) = content {
            if stored.operation_id == write.operation_id {
                return WriteOutcome::Written(stored.entry);
            }
            let is_held = matches!(stored.mark, Mark::Held(_));
            if is_held && !takes_held {
                return WriteOutcome::Held;
            }
            // A whole row says all there is to say, so it is not stale any more.
            if is_held || matches!(write.change, Change::Patch(_)) {
                mark = stored.mark;
            }
        }
        let base = match content {
            Some(Content::Row(_)) if is_create => return WriteOutcome::Exists,
            Some(Content::Row(stored)) => Some(stored.row.clone()),
            Some(Content::Tombstone(_)) if !is_whole_row => return WriteOutcome::Deleted,
            Some(Content::Tombstone(_)) => None,
            Some(Content::Token(_)) | None if !is_whole_row => return WriteOutcome::Absent,
            Some(Content::Token(left)) if is_create && write.probe == Probe::Done(left.clone()) => {
                None
            }
            Some(Content::Token(_)) | None if is_create && write.probe != Probe::NotNeeded => {
                return WriteOutcome::Unprobed;
            }
            Some(Content::Token(_)) | None => None,
        };
        let queue = self.queues.entry(write.key.partition()).or_default();
        if queue.state.undrained >= capacity {
            return WriteOutcome::Full;
        }
        let entry = queue.append(write);
        let row = match (&write.change, base) {
            (Change::Create(row) | Change::Upsert(row), _) => row.clone(),
            (Change::Patch(patch), Some(base)) => patch.apply_to(&base),
            (Change::Patch(_) | Change::Delete, _) => EncodedRow::default(),
        };
        let stored = Stored { row, entry, operation_id: write.operation_id.clone(), mark };
        let content = match write.change {
            Change::Delete => Content::Tombstone(stored),
            _ => Content::Row(stored),
        };
        self.slots.insert(write.key.key.clone(), Slot::pinned(content));
        WriteOutcome::Written(entry)
    }

    fn fill(&mut self, fill: &Fill) {
        match self.slot(&fill.key.key).map(|slot| &slot.content) {
            Some(Content::Token(left)) if *left == fill.token => {}
            _ => return,
        }
        let stored = Stored {
            row: fill.row.clone(),
            entry: fill.offset,
            operation_id: String::new(),
            mark: Mark::None,
        };
        self.slots.insert(fill.key.key.clone(), Slot::expiring(Content::Row(stored), fill.ttl));
    }

    /// One row after the commit of its entry: the rules of `settle.lua`.
    fn settle_row(&mut self, row: &SettledRow) {
        let Some(slot) = self.slot(&row.key) else { return };
        let (stored, is_tombstone) = match &mut slot.content {
            Content::Row(stored) => (stored, false),
            Content::Tombstone(stored) => (stored, true),
            Content::Token(_) if row.held => return,
            Content::Token(_) => {
                self.slots.remove(&row.key);
                return;
            }
        };
        let is_newest = stored.entry == row.entry;
        let is_held = matches!(stored.mark, Mark::Held(_));
        if row.held {
            // A row that was filled since is as PostgreSQL has it.
            if is_newest && !is_held && !stored.operation_id.is_empty() {
                stored.mark = Mark::Held(row.entry);
                slot.expires_at = None;
            }
        } else if stored.entry < row.entry {
            self.slots.remove(&row.key);
        } else if is_newest && !is_held {
            if is_tombstone || stored.mark == Mark::Stale {
                self.slots.remove(&row.key);
            } else {
                slot.expires_at = Some(Instant::now() + row.ttl);
            }
        }
    }

    /// The rules of `let_go.lua`.
    fn let_go(&mut self, key: &str, up_to: EntryId) {
        let Some(slot) = self.slot(key) else { return };
        let (Content::Row(stored) | Content::Tombstone(stored)) = &mut slot.content else {
            return;
        };
        if matches!(stored.mark, Mark::Held(letter) if letter > up_to) {
            return;
        }
        if stored.operation_id.is_empty() || stored.entry <= up_to {
            self.slots.remove(key);
        } else {
            stored.mark = Mark::Stale;
        }
    }
}

impl Queue {
    /// Appends the entry of a write, in the form that a stream has it.
    fn append(&mut self, write: &Write) -> EntryId {
        let id = self.next_id();
        let header = write.header().into_bytes();
        let values = write.change.encode_values(write.key.model).into_bytes();
        self.entries.insert(id, RawEntry { id, header, values });
        self.state.newest = id;
        self.state.undrained += 1;
        id
    }

    fn next_id(&self) -> EntryId {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let milliseconds = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        if milliseconds > self.state.newest.milliseconds {
            return EntryId { milliseconds, sequence: 0 };
        }
        EntryId { sequence: self.state.newest.sequence + 1, ..self.state.newest }
    }
}

impl MemoryHotStore {
    pub(crate) fn new(settings: &Settings, keys: KeySpace) -> Self {
        Self {
            partition_capacity: settings.partition_capacity(),
            takes_held: settings.on_held == OnHeld::Queue,
            keys,
            data: Mutex::default(),
        }
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
    async fn write(&self, writes: &[Arc<Write>]) -> Vec<Result<WriteOutcome, HotStoreError>> {
        let mut data = self.lock();
        let write =
            |write: &Arc<Write>| Ok(data.write(write, self.partition_capacity, self.takes_held));
        writes.iter().map(write).collect()
    }

    async fn read(&self, keys: &[RowKey]) -> Result<Vec<ReadOutcome>, HotStoreError> {
        let mut data = self.lock();
        Ok(keys.iter().map(|key| data.read(&key.key)).collect())
    }

    async fn reserve(
        &self,
        keys: &[RowKey],
        token: &str,
    ) -> Result<Vec<ReadOutcome>, HotStoreError> {
        let mut data = self.lock();
        let outcomes = keys.iter().map(|key| {
            let outcome = data.read(&key.key);
            if outcome != (ReadOutcome::Missing { token: None }) {
                return outcome;
            }
            let slot = Slot::expiring(Content::Token(token.to_owned()), TOKEN_TTL);
            data.slots.insert(key.key.clone(), slot);
            ReadOutcome::Missing { token: Some(token.to_owned()) }
        });
        Ok(outcomes.collect())
    }

    async fn fill(&self, fills: &[Fill]) -> Result<(), HotStoreError> {
        let mut data = self.lock();
        fills.iter().for_each(|fill| data.fill(fill));
        Ok(())
    }

    async fn invalidate(&self, key: &RowKey) -> Result<Invalidated, HotStoreError> {
        let mut data = self.lock();
        let is_dirty = data.slot(&key.key).is_some_and(|slot| slot.expires_at.is_none());
        if is_dirty {
            return Ok(Invalidated::Dirty);
        }
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
            settlement.rows.iter().for_each(|row| data.settle_row(row));
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
            Content::Token(_) => RowState::Missing,
            Content::Row(Stored { mark: Mark::Held(_), .. })
            | Content::Tombstone(Stored { mark: Mark::Held(_), .. }) => RowState::Held,
            Content::Tombstone(_) => RowState::Deleted,
            Content::Row(_) if slot.expires_at.is_none() => RowState::Dirty,
            Content::Row(_) => RowState::Clean,
        })
    }

    async fn let_go(&self, keys: &[String], up_to: EntryId) -> Result<(), HotStoreError> {
        let mut data = self.lock();
        keys.iter().for_each(|key| data.let_go(key, up_to));
        Ok(())
    }

    async fn scan(
        &self,
        model: &'static ModelDescriptor,
        partition: Partition,
    ) -> Result<Vec<String>, HotStoreError> {
        let data = self.lock();
        let is_of = |key: &&String| {
            let row = self.keys.parse_row(model, key);
            row.is_some_and(|row| row.partition() == partition)
        };
        Ok(data.slots.keys().filter(is_of).cloned().collect())
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
        let state = |partition| data.queues.get(partition).map(|queue| queue.state);
        Ok(partitions.iter().map(|partition| state(partition).unwrap_or_default()).collect())
    }

    async fn settled(&self, partitions: &[Partition]) -> Result<Vec<EntryId>, HotStoreError> {
        let states = self.states(partitions).await?;
        Ok(states.iter().map(|state| state.settled).collect())
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
