//! What a switch of a queue's storage scheme leaves on the hot side, and puts there.

use crate::entry::EntryId;
use crate::key::RowKey;
use crate::row::EncodedRow;
use crate::scheme::StorageScheme;

/// A row, to be put where only the hot side is to have it.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) key: RowKey,
    /// `None` for one that is deleted, where the durable side has a row of this id.
    pub(crate) row: Option<EncodedRow>,
    /// Behind all entries of the partition: none that is settled late is about it.
    pub(crate) entry: EntryId,
    /// The keys of its unique values.
    pub(crate) value_keys: Vec<String>,
}

/// What stands in a loaded row's place of the operation that wrote it.
pub(crate) const LOADED: &str = "loaded";

/// What the hot side says of the scheme of a partition's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SchemeMark {
    /// Nothing: it is the one that was there first.
    None,
    /// It is on its way to another one, or the queue to other partitions.
    Closed,
    /// The queue has other partitions by now.
    Moved,
    Of(StorageScheme),
}

impl SchemeMark {
    /// Whether nothing is taken here.
    pub(crate) fn is_closed(self) -> bool {
        match self {
            Self::None => false,
            Self::Closed | Self::Moved => true,
            Self::Of(scheme) => scheme.is_direct(),
        }
    }

    /// Whether readers may put rows here.
    pub(crate) fn takes_rows(self) -> bool {
        !matches!(self, Self::Closed | Self::Moved | Self::Of(StorageScheme::PostgresOnly))
    }
}
