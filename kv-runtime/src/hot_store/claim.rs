//! Unique values, and what a write does to them.
//!
//! A unique value has a key of its own in Redis, which says whose it is:
//!
//! ```text
//! row <entry> <key of the row>                             taken, by that entry
//! reading <token>                                          a reader is asking PostgreSQL whose it is
//! taking <nonce> <time> <partition> <key of the row>       being taken until then, from another slot
//! late <nonce> <time> <partition> <key of the row>         the same when that time is over
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

/// A write that takes a value from another slot of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Taking<'a> {
    /// That of the try: the operation id of its unit, and more.
    pub(crate) nonce: &'a str,
    /// The number of that one's partition.
    pub(crate) partition: u16,
    pub(crate) row_key: &'a str,
    /// Whether its time is over.
    pub(crate) is_late: bool,
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

    /// The key of the row that has it, if one has; or of the one that it is being taken for.
    pub(crate) fn row_key(&self) -> Option<&str> {
        match self.0.strip_prefix("row ") {
            Some(rest) => rest.split_once(' ').map(|(_, key)| key),
            None => self.taking().map(|taking| taking.row_key),
        }
    }

    /// Whether nobody knows whose it is.
    #[cfg(feature = "redis")]
    pub(crate) fn is_token(&self) -> bool {
        self.0.starts_with("reading ")
    }

    /// Who is taking it.
    pub(crate) fn taking(&self) -> Option<Taking<'_>> {
        let mut words = self.0.splitn(5, ' ');
        let is_late = match words.next()? {
            "taking" => false,
            "late" => true,
            _ => return None,
        };
        let (nonce, _, partition, row_key) =
            (words.next()?, words.next()?, words.next()?, words.next()?);
        Some(Taking { nonce, partition: partition.parse().ok()?, row_key, is_late })
    }
}

/// A value whose row was found, to be put where its token still is.
#[derive(Debug)]
pub(crate) struct ValueFill {
    pub(crate) key: String,
    pub(crate) found: ValueContent,
    pub(crate) row: RowKey,
}
