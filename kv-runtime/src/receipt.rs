//! What a write answers.

use crate::entry::EntryId;
use crate::key::Partition;

/// What a write answers: where its entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The partition of the queue.
    pub partition: Partition,
    /// The entry.
    pub entry: EntryId,
    /// The row's version after it: [`EntryId::version`].
    pub version: i64,
}
