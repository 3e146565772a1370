//! What the in-memory hot side holds, and the rules of the scripts over it.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::values::{Value, Values};
use crate::entry::{Change, EntryId, RawEntry, set_version};
use crate::hot_store::{
    Fill, HotStoreError, PartitionState, Probe, ReadOutcome, SchemeMark, SettledRow, Stamp, Unit,
    UnitOutcome, Write, WriteOutcome,
};
use crate::key::{Layout, Partition, RowKey};
use crate::row::EncodedRow;

#[derive(Debug, Default)]
pub(super) struct Data {
    pub(super) slots: HashMap<String, Slot>,
    /// By the keys of unique values.
    pub(super) values: HashMap<String, Value>,
    pub(super) queues: HashMap<Partition, Queue>,
    pub(super) marks: HashMap<Partition, SchemeMark>,
    /// Those that keep partitions closed.
    pub(super) switches: HashMap<Partition, String>,
    /// Those that queues have had, where they were changed.
    pub(super) layouts: HashMap<&'static str, Vec<Layout>>,
    /// The newest entry of all queues. Drainers go by the ids to tell which of two entries came
    /// first, and here thousands come in a millisecond.
    pub(super) newest: EntryId,
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
    /// Those of writers, which no reader shares.
    Barred(Vec<String>),
}

/// A row, or the id of the operation that deleted it, with its newest entry.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) row: EncodedRow,
    pub(super) entry: EntryId,
    pub(super) operation_id: String,
    pub(super) mark: Mark,
    pub(super) values: Values,
    /// Whether PostgreSQL has a row of this id from before only this store had it.
    pub(super) is_stored: bool,
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
            Some(Content::Barred(_)) | None => ReadOutcome::Missing { token: None },
        }
    }

    /// The same; where nothing is, a token is left.
    pub(super) fn reserve(
        &mut self,
        key: &RowKey,
        token: &str,
        ttl: Duration,
    ) -> Result<ReadOutcome, HotStoreError> {
        let outcome = self.read(&key.key);
        if self.slot(&key.key).is_some() {
            return Ok(outcome);
        }
        match self.mark(key.partition()) {
            SchemeMark::Moved => return Err(HotStoreError::Moved),
            mark if !mark.takes_rows() => return Ok(outcome),
            _ => {}
        }
        let slot = Slot::expiring(Content::Token(token.to_owned()), ttl);
        self.slots.insert(key.key.clone(), slot);
        Ok(ReadOutcome::Missing { token: Some(token.to_owned()) })
    }

    /// One change with its entry: the rules of `write.lua`.
    pub(super) fn write(&mut self, write: &Write, capacity: u64, takes_held: bool) -> WriteOutcome {
        let Write { key, change, operation_id, probe, .. } = write;
        let base = match self.slot(&key.key).map(|slot| &slot.content) {
            Some(Content::Row(stored)) => Some(stored.row.clone()),
            _ => None,
        };
        if let Some(entry) = self.earlier_try(&key.key, operation_id) {
            return write.done(entry, &base.unwrap_or_default());
        }
        if let Some(refusal) = self.refusal(&key.key, change, probe, takes_held) {
            return refusal;
        }
        let change = match write.resolve(base.as_ref()) {
            Ok(change) => change,
            Err(refusal) => return refusal,
        };
        let queue = self.queues.entry(key.partition()).or_default();
        if queue.state.undrained >= capacity {
            return WriteOutcome::Full;
        }
        let values = change.encode_values(key.model);
        let entry = queue.append(&mut self.newest, write.header(), values);
        let row = self.change_row(key, &change, entry, operation_id);
        write.done(entry, &row)
    }

    /// Changes with one entry: the rules of `write_unit.lua`.
    pub(super) fn write_unit(
        &mut self,
        unit: &Unit,
        capacity: u64,
        takes_held: bool,
    ) -> UnitOutcome {
        for (place, row) in unit.rows.iter().enumerate() {
            let key = &row.key.key;
            if row.change.is_some()
                && let Some(entry) = self.earlier_try(key, &unit.operation_id)
            {
                return UnitOutcome::Written(entry);
            }
            if row.seen.as_ref().is_some_and(|seen| *seen != self.stamp(key)) {
                return UnitOutcome::Refused(place, WriteOutcome::Stale);
            }
            if let Some(change) = &row.change
                && let Some(refusal) = self.refusal(key, change, &row.probe, takes_held)
            {
                return UnitOutcome::Refused(place, refusal);
            }
        }
        if let Some(refusal) = self.claim_refusal(unit) {
            return refusal;
        }
        let Some((header, values)) = unit.encode() else { return UnitOutcome::Unchanged };
        let queue = self.queues.entry(unit.partition).or_default();
        if queue.state.undrained >= capacity {
            return UnitOutcome::Refused(0, WriteOutcome::Full);
        }
        let entry = queue.append(&mut self.newest, header, values);
        for row in &unit.rows {
            let Some(change) = &row.change else { continue };
            let taken = row.claims.as_ref();
            let taken = taken.map(|claims| self.take_values(&row.key.key, change, entry, claims));
            let _ = self.change_row(&row.key, change, entry, &unit.operation_id);
            if let (Some(taken), Some(Content::Row(stored) | Content::Tombstone(stored))) =
                (taken, self.slot(&row.key.key).map(|slot| &mut slot.content))
            {
                stored.values = taken;
            }
        }
        UnitOutcome::Written(entry)
    }

    /// What tells a row, or its absence, from what else was or will be under its key.
    pub(super) fn stamp(&mut self, key: &str) -> Stamp {
        let stored =
            |stored: &Stored| format!("{} {} {:?}", stored.entry, stored.operation_id, stored.mark);
        Stamp(match self.slot(key).map(|slot| &slot.content) {
            Some(Content::Row(row)) => stored(row),
            Some(Content::Tombstone(row)) => format!("{} deleted", stored(row)),
            Some(Content::Token(token)) => format!("reading {token}"),
            Some(Content::Barred(tokens)) => format!("reading !{}", tokens.join(" !")),
            None => String::new(),
        })
    }

    fn earlier_try(&mut self, key: &str, operation_id: &str) -> Option<EntryId> {
        match &self.slot(key)?.content {
            Content::Row(stored) | Content::Tombstone(stored)
                if stored.operation_id == operation_id =>
            {
                Some(stored.entry)
            }
            _ => None,
        }
    }

    /// Why a change cannot be made to a row, if it cannot.
    fn refusal(
        &mut self,
        key: &str,
        change: &Change,
        probe: &Probe,
        takes_held: bool,
    ) -> Option<WriteOutcome> {
        let is_whole_row = matches!(change, Change::Create(_) | Change::Upsert(_));
        let is_create = matches!(change, Change::Create(_));
        let content = self.slot(key).map(|slot| &slot.content);
        if let Some(Content::Row(stored) | Content::Tombstone(stored)) = content
            && matches!(stored.mark, Mark::Held(_))
            && !takes_held
        {
            return Some(WriteOutcome::Held);
        }
        match content {
            Some(Content::Row(_)) => is_create.then_some(WriteOutcome::Exists),
            Some(Content::Tombstone(_)) => (!is_whole_row).then_some(WriteOutcome::Deleted),
            Some(Content::Token(_) | Content::Barred(_)) | None if !is_whole_row => {
                Some(WriteOutcome::Absent)
            }
            Some(Content::Token(left)) if *probe == Probe::Done(left.clone()) => None,
            Some(Content::Token(_) | Content::Barred(_)) | None => {
                (is_create && *probe != Probe::NotNeeded).then_some(WriteOutcome::Unprobed)
            }
        }
    }

    /// Makes a change that is not refused to a row, after its entry: the row as it is then.
    fn change_row(
        &mut self,
        key: &RowKey,
        change: &Change,
        entry: EntryId,
        operation_id: &str,
    ) -> EncodedRow {
        let content = self.slot(&key.key).map(|slot| &slot.content);
        let is_stored = match content {
            Some(Content::Row(stored) | Content::Tombstone(stored)) => stored.is_stored,
            Some(Content::Token(_) | Content::Barred(_)) | None => false,
        };
        let (base, mark, values) = match content {
            Some(Content::Row(stored)) => {
                (Some(stored.row.clone()), stored.mark, stored.values.clone())
            }
            Some(Content::Tombstone(stored)) => (None, stored.mark, stored.values.clone()),
            Some(Content::Token(_) | Content::Barred(_)) | None => {
                (None, Mark::None, Values::default())
            }
        };
        // A whole row says all there is to say, so it is not stale any more.
        let keeps_mark = matches!(mark, Mark::Held(_)) || matches!(change, Change::Patch(_));
        let mark = if keeps_mark { mark } else { Mark::None };
        let row = match (change, base) {
            (Change::Create(row) | Change::Upsert(row), _) => row.clone(),
            (Change::Patch(patch), Some(base)) => patch.apply_to(&base),
            (Change::Patch(_) | Change::Delete, _) => EncodedRow::default(),
        };
        let row = match change {
            Change::Delete => row,
            _ => set_version(key.model, row, entry),
        };
        let operation_id = operation_id.to_owned();
        let stored = Stored { row: row.clone(), entry, operation_id, mark, values, is_stored };
        let content = match change {
            Change::Delete => Content::Tombstone(stored),
            _ => Content::Row(stored),
        };
        self.slots.insert(key.key.clone(), Slot::pinned(content));
        row
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
            values: Values::of(fill.value_keys.clone()),
            is_stored: false,
        };
        self.slots.insert(fill.key.key.clone(), Slot::expiring(Content::Row(stored), fill.ttl));
    }

    /// One row after the commit of its entry: the rules of `settle.lua`.
    pub(super) fn settle_row(&mut self, row: &SettledRow) {
        let Some(slot) = self.slot(&row.key) else { return };
        let (stored, is_tombstone) = match &mut slot.content {
            Content::Row(stored) => (stored, false),
            Content::Tombstone(stored) => (stored, true),
            Content::Token(_) | Content::Barred(_) if row.held => return,
            Content::Token(_) | Content::Barred(_) => {
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
            self.release_values(&row.key);
            self.slots.remove(&row.key);
        } else if is_newest && !is_held {
            if is_tombstone || stored.mark == Mark::Stale {
                let stays = row.ttl.is_none() && is_tombstone && stored.is_stored;
                self.release_values(&row.key);
                if !stays {
                    self.slots.remove(&row.key);
                }
            } else {
                self.forget_freed(&row.key, row.entry);
                if let Some(ttl) = row.ttl {
                    // Before the row, which lists them, and with no time left is gone at once.
                    self.expire_values(&row.key, ttl);
                    if let Some(slot) = self.slot(&row.key) {
                        slot.expires_at = Some(Instant::now() + ttl);
                    }
                }
            }
        } else if stored.entry > row.entry {
            self.forget_freed(&row.key, row.entry);
        }
    }

    /// The rules of `let_go.lua`.
    pub(super) fn let_go(&mut self, key: &str, up_to: EntryId) {
        let Some(slot) = self.slot(key) else { return };
        let (Content::Row(stored) | Content::Tombstone(stored)) = &mut slot.content else {
            self.slots.remove(key);
            return;
        };
        if matches!(stored.mark, Mark::Held(letter) if letter > up_to) {
            return;
        }
        if stored.operation_id.is_empty() || stored.entry <= up_to {
            self.release_values(key);
            self.slots.remove(key);
        } else {
            stored.mark = Mark::Stale;
        }
    }
}

impl Queue {
    /// Appends an entry, in the form that a stream has it.
    fn append(&mut self, newest: &mut EntryId, header: String, values: String) -> EntryId {
        let id = next_id(*newest);
        *newest = id;
        let (header, values) = (header.into_bytes(), values.into_bytes());
        self.entries.insert(id, RawEntry { id, header, values });
        self.state.newest = id;
        self.state.undrained += 1;
        id
    }
}

/// The id of an entry behind another, by this machine's clock.
fn next_id(newest: EntryId) -> EntryId {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let milliseconds = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    if milliseconds > newest.milliseconds {
        return EntryId { milliseconds, sequence: 0 };
    }
    newest.next()
}
