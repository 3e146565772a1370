//! What a queue's storage scheme lets into the in-memory hot side.

use std::time::Duration;

use super::data::{Content, Data, Mark, Slot, Stored};
use super::values::Values;
use crate::entry::EntryId;
use crate::hot_store::{HotStoreError, LOADED, Load, SchemeMark};
use crate::key::{Layout, Partition, RowKey};
use crate::scheme::StorageScheme;

impl Data {
    pub(super) fn mark(&self, partition: Partition) -> SchemeMark {
        self.marks.get(&partition).copied().unwrap_or(SchemeMark::None)
    }

    pub(super) fn check_takes_entries(&self, partition: Partition) -> Result<(), HotStoreError> {
        match self.mark(partition) {
            SchemeMark::Moved => Err(HotStoreError::Moved),
            mark if mark.is_closed() => Err(HotStoreError::Elsewhere),
            _ => Ok(()),
        }
    }

    /// The rules of `move.lua`.
    pub(super) fn move_on(&mut self, queue: &'static str, layouts: &[Layout]) {
        let old = layouts.split_last().map_or(&[][..], |(_, old)| old);
        for partition in old.iter().flat_map(|layout| layout.partitions(queue)) {
            self.marks.insert(partition, SchemeMark::Moved);
            self.switches.remove(&partition);
        }
        self.layouts.insert(queue, layouts.to_vec());
    }

    /// The rules of `close.lua`.
    pub(super) fn close(&mut self, partition: Partition, switch: &str) {
        if self.mark(partition) != SchemeMark::Moved {
            self.marks.insert(partition, SchemeMark::Closed);
        }
        self.switches.insert(partition, switch.to_owned());
    }

    fn is_closed_by(&self, partition: Partition, switch: &str) -> bool {
        self.switches.get(&partition).is_some_and(|by| by == switch)
    }

    /// The rules of `load.lua`.
    pub(super) fn load(&mut self, load: &Load, switch: &str) -> bool {
        let Load { key, row, entry, value_keys } = load;
        if !self.is_closed_by(key.partition(), switch) {
            return false;
        }
        let stored = Stored {
            row: row.clone().unwrap_or_default(),
            entry: *entry,
            operation_id: LOADED.to_owned(),
            mark: Mark::None,
            values: Values::of(value_keys.clone()),
            is_stored: true,
        };
        let content = match row {
            Some(_) => Content::Row(stored),
            None => Content::Tombstone(stored),
        };
        self.slots.insert(key.key.clone(), Slot::pinned(content));
        self.give_values(&key.key, *entry, value_keys);
        true
    }

    /// The rules of `drop.lua`.
    pub(super) fn drop_row(&mut self, key: &RowKey, switch: &str) -> bool {
        let is_closed = self.is_closed_by(key.partition(), switch);
        if is_closed {
            self.release_values(&key.key);
            self.slots.remove(&key.key);
        }
        is_closed
    }

    /// The rules of `open.lua`.
    pub(super) fn open(
        &mut self,
        partition: Partition,
        scheme: StorageScheme,
        from: Option<EntryId>,
    ) {
        self.marks.insert(partition, SchemeMark::Of(scheme));
        self.switches.remove(&partition);
        if let Some(from) = from.filter(|_| !scheme.is_direct()) {
            self.newest = self.newest.max(from);
            let queue = self.queues.entry(partition).or_default();
            if queue.state.newest <= from {
                (queue.state.settled, queue.state.undrained) = (from, 0);
            }
        }
    }

    /// The rules of `bar.lua`.
    pub(super) fn bar(&mut self, key: &str, token: &str, ttl: Duration) -> bool {
        let mut tokens = match self.slot(key).map(|slot| &mut slot.content) {
            Some(Content::Row(stored) | Content::Tombstone(stored))
                if !stored.operation_id.is_empty() =>
            {
                return false;
            }
            Some(Content::Barred(tokens)) => std::mem::take(tokens),
            _ => Vec::new(),
        };
        tokens.push(token.to_owned());
        self.slots.insert(key.to_owned(), Slot::expiring(Content::Barred(tokens), ttl));
        true
    }

    /// The rules of `lift.lua`.
    pub(super) fn lift(&mut self, key: &str, token: &str) {
        let is_over = match self.slot(key).map(|slot| &mut slot.content) {
            Some(Content::Row(stored) | Content::Tombstone(stored)) => {
                stored.operation_id.is_empty()
            }
            Some(Content::Token(_)) => true,
            Some(Content::Barred(tokens)) => {
                tokens.retain(|other| other != token);
                tokens.is_empty()
            }
            None => false,
        };
        if is_over {
            self.slots.remove(key);
        }
    }
}
