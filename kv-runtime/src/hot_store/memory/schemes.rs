//! What a queue's storage scheme lets into the in-memory hot side.

use std::time::Duration;

use super::data::{Content, Data, Slot};
use crate::entry::EntryId;
use crate::hot_store::SchemeMark;
use crate::key::Partition;
use crate::scheme::StorageScheme;

impl Data {
    pub(super) fn mark(&self, partition: Partition) -> SchemeMark {
        self.marks.get(&partition).copied().unwrap_or(SchemeMark::None)
    }

    pub(super) fn is_closed(&self, partition: Partition) -> bool {
        self.mark(partition).is_closed()
    }

    /// The rules of `open.lua`.
    pub(super) fn open(
        &mut self,
        partition: Partition,
        scheme: StorageScheme,
        from: Option<EntryId>,
    ) {
        self.marks.insert(partition, SchemeMark::Of(scheme));
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
