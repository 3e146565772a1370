//! Unique values, and what a write does to them.
//!
//! A unique value has a key of its own in Redis, which says whose it is:
//!
//! ```text
//! row <entry> <key of the row>     taken, by that entry
//! reading <token>                  a reader is asking PostgreSQL whose it is
//! ```
//!
//! A row lists the keys of its values in its field `@values`. They are pinned with it, and expire
//! with it; a value without a key is whose PostgreSQL says.
//!
//! Who finds a value taken asks the row, which may have given it up since. Until that is drained the
//! key stays as it is (the row lists it in `@freed`), and who takes the value then notes in the own
//! entry what that has to take effect after: a drainer that comes to the new row first leaves it
//! for later.

use crate::entry::{Dependency, EntryId};
use crate::key::RowKey;
use crate::row::EncodedRow;

/// What a write wants of a unique value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    /// The position of the index in the model's unique ones.
    pub(crate) index: usize,
    /// The values of its columns; of which none is NULL where there is a key.
    pub(crate) values: EncodedRow,
    /// The key of the value; `None` where it is NULL, which belongs to nobody.
    pub(crate) key: Option<String>,
    /// What the keys of the index begin with: the row gives up the one it had.
    pub(crate) prefix: String,
    /// What was found out, once it was asked.
    pub(crate) probe: Option<FreeValue>,
}

/// A value that is nobody's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FreeValue {
    /// As long as this is under its key: what was there when it was asked.
    pub(crate) found: ValueContent,
    /// The entry that has given it up, or a later one of that row.
    pub(crate) after: Option<Dependency>,
}

impl Claim {
    /// As the scripts have it: the key (of NULL, the prefix), and what may be under it (of NULL, a
    /// dash).
    pub(crate) fn arguments(&self) -> (&str, &str) {
        let Some(key) = &self.key else { return (&self.prefix, "-") };
        (key, self.probe.as_ref().map_or("?", |free| &free.found.0))
    }
}

/// What is under the key of a unique value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ValueContent(pub(crate) String);

impl ValueContent {
    pub(crate) fn token(token: &str) -> Self {
        Self(format!("reading {token}"))
    }

    pub(crate) fn taken(by: EntryId, row_key: &str) -> Self {
        Self(format!("row {by} {row_key}"))
    }

    /// The key of the row that has it, if one has.
    pub(crate) fn row_key(&self) -> Option<&str> {
        self.0.strip_prefix("row ")?.split_once(' ').map(|(_, key)| key)
    }
}

/// A value whose row was found, to be put where its token still is.
#[derive(Debug)]
pub(crate) struct ValueFill {
    pub(crate) key: String,
    pub(crate) found: ValueContent,
    pub(crate) row: RowKey,
}
