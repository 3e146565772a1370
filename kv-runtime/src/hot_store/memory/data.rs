//! What the in-memory hot side holds, and the rules of the scripts over it.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::entry::{Change, EntryId, RawEntry, set_version};
use crate::hot_store::{Fill, PartitionState, Probe, ReadOutcome, SettledRow, Write, WriteOutcome};
use crate::key::Partition;
use crate::row::EncodedRow;

#[derive(Debug, Default)]
pub(super) struct Data {
    pub(super) slots: HashMap<String, Slot>,
    pub(super) queues: HashMap<Partition, Queue>,
    /// With the time at which each ends.
    pub(super) leases: HashMap<Partition, (String, Instant)>,
    pub(super) members: HashMap<&'static str, BTreeMap<String, Instant>>,
}

/// What lies under a row's key.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) content: Content,
    /// `None` pins it.
    pub(super) expires_at: Option<Instant>,
}

#[derive(Debug)]
pub(super) enum Content {
    Row(Stored),
    Tombstone(Stored),
    Token(String),
}

/// A row, or the id of the operation that deleted it, with its newest entry.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) row: EncodedRow,
    pub(super) entry: EntryId,
    pub(super) operation_id: String,
    pub(super) mark: Mark,
}

/// What is known of a row beside its entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    None,
    /// It has dead letters, of which this entry is one.
    Held(EntryId),
    /// PostgreSQL may have it otherwise, so it goes when it is clean.
    Stale,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) entries: BTreeMap<EntryId, RawEntry>,
    pub(super) state: PartitionState,
}

impl Slot {
    pub(super) fn pinned(content: Content) -> Self {
        Self { content, expires_at: None }
    }

    pub(super) fn expiring(content: Content, after: Duration) -> Self {
        Self { content, expires_at: Some(Instant::now() + after) }
    }
}

impl Data {
    /// What lies under a key, if it has not expired.
    pub(super) fn slot(&mut self, key: &str) -> Option<&mut Slot> {
        let has_expired = |slot: &Slot| slot.expires_at.is_some_and(|at| at <= Instant::now());
        if self.slots.get(key).is_some_and(has_expired) {
            self.slots.remove(key);
        }
        self.slots.get_mut(key)
    }

    pub(super) fn read(&mut self, key: &str) -> ReadOutcome {
        match self.slot(key).map(|slot| &slot.content) {
            Some(Content::Row(stored)) => ReadOutcome::Row(stored.row.clone()),
            Some(Content::Tombstone(_)) => ReadOutcome::Deleted,
            Some(Content::Token(token)) => ReadOutcome::Missing { token: Some(token.clone()) },
            None => ReadOutcome::Missing { token: None },
        }
    }

    /// One change with its entry: the rules of `write.lua`.
    pub(super) fn write(&mut self, write: &Write, capacity: u64, takes_held: bool) -> WriteOutcome {
        let is_whole_row = matches!(write.change, Change::Create(_) | Change::Upsert(_));
        let is_create = matches!(write.change, Change::Create(_));
        let content = self.slot(&write.key.key).map(|slot| &slot.content);
        let mut mark = Mark::None;
        if let Some(Content::Row(stored) | Content::Tombstone(stored)) = content {
            if stored.operation_id == write.operation_id {
                return write.done(stored.entry, &stored.row);
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
        let change = match write.resolve(base.as_ref()) {
            Ok(change) => change,
            Err(refusal) => return refusal,
        };
        let queue = self.queues.entry(write.key.partition()).or_default();
        if queue.state.undrained >= capacity {
            return WriteOutcome::Full;
        }
        let entry = queue.append(write, &change);
        let row = match (&*change, base) {
            (Change::Create(row) | Change::Upsert(row), _) => row.clone(),
            (Change::Patch(patch), Some(base)) => patch.apply_to(&base),
            (Change::Patch(_) | Change::Delete, _) => EncodedRow::default(),
        };
        let row = match write.change {
            Change::Delete => row,
            _ => set_version(write.key.model, row, entry),
        };
        let outcome = write.done(entry, &row);
        let stored = Stored { row, entry, operation_id: write.operation_id.clone(), mark };
        let content = match write.change {
            Change::Delete => Content::Tombstone(stored),
            _ => Content::Row(stored),
        };
        self.slots.insert(write.key.key.clone(), Slot::pinned(content));
        outcome
    }

    pub(super) fn fill(&mut self, fill: &Fill) {
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
    pub(super) fn settle_row(&mut self, row: &SettledRow) {
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
    pub(super) fn let_go(&mut self, key: &str, up_to: EntryId) {
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
    fn append(&mut self, write: &Write, change: &Change) -> EntryId {
        let id = self.next_id();
        let header = write.header().into_bytes();
        let values = change.encode_values(write.key.model).into_bytes();
        self.entries.insert(id, RawEntry { id, header, values });
        self.state.newest = id;
        self.state.undrained += 1;
        id
    }

    pub(super) fn next_id(&self) -> EntryId {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let milliseconds = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        if milliseconds > self.state.newest.milliseconds {
            return EntryId { milliseconds, sequence: 0 };
        }
        EntryId { sequence: self.state.newest.sequence + 1, ..self.state.newest }
    }
}
