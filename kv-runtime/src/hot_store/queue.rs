//! What is asked of a partition's queue, and told of it.

use std::time::Duration;

use crate::entry::{EntryId, RawEntry};
use crate::key::Partition;

/// Which entries to read: from an entry on, itself included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadRequest {
    pub(crate) partition: Partition,
    pub(crate) from: EntryId,
    pub(crate) count: usize,
}

/// How many entries are read at once: few before it is known what they weigh, because one may have a
/// megabyte, and an answer is to be there in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReadSize(usize);

impl ReadSize {
    const FIRST: usize = 64;
    /// What the client makes of an answer takes several times as much memory as the entries do.
    const ENTRIES_MAX: usize = 1_000;
    const BYTES_MAX: usize = 16 * 1024 * 1024;

    pub(crate) fn count(self) -> usize {
        self.0
    }

    /// What the next read may have, after one that had these.
    pub(crate) fn learn<'a>(&mut self, entries: impl Iterator<Item = &'a RawEntry>) {
        let (count, bytes) = entries.fold((0, 0), |(count, bytes): (usize, usize), entry| {
            (count + 1, bytes + entry.byte_len())
        });
        if let Some(weight) = bytes.checked_div(count) {
            let fitting = Self::BYTES_MAX / weight.max(1);
            // They may become heavier, too.
            self.0 = fitting.clamp(1, Self::ENTRIES_MAX).min(self.0.saturating_mul(4));
        }
    }
}

impl Default for ReadSize {
    fn default() -> Self {
        Self(Self::FIRST)
    }
}

/// What of a partition's queue is not settled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tail {
    /// The newest settled entry; the tail is behind it.
    pub(crate) settled: EntryId,
    /// How many entries it has.
    pub(crate) undrained: u64,
    /// Whether its queue has other partitions by now.
    pub(crate) is_moved: bool,
}

/// How far a partition's queue was written and settled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PartitionState {
    /// How many entries are not settled.
    pub(crate) undrained: u64,
    /// The newest settled entry.
    pub(crate) settled: EntryId,
    /// The newest entry.
    pub(crate) newest: EntryId,
    /// Nothing before this entry is kept.
    pub(crate) trimmed: EntryId,
    /// Whether its queue has other partitions by now.
    pub(crate) is_moved: bool,
}

/// A partition's part of a batch, after its commit.
#[derive(Debug)]
pub(crate) struct Settlement {
    pub(crate) partition: Partition,
    /// What was settled before, and what is now.
    pub(crate) from: EntryId,
    pub(crate) to: EntryId,
    /// The number of entries between.
    pub(crate) entries: usize,
    /// Entries before this one may be trimmed; never after `to`.
    pub(crate) retain_from: EntryId,
    pub(crate) rows: Vec<SettledRow>,
}

/// A row with its newest committed entry.
#[derive(Debug)]
pub(crate) struct SettledRow {
    pub(crate) key: String,
    pub(crate) entry: EntryId,
    /// How long it stays; `None` if for good.
    pub(crate) ttl: Option<Duration>,
    /// Whether it stays, and says that it is held, because the entry is a dead letter.
    pub(crate) held: bool,
    /// Whether its model has unique values.
    pub(crate) has_values: bool,
}
