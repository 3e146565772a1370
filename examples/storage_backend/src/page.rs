//! Parts of long answers.

use kv_runtime::{KvModel, Query};

/// Which part of an answer is wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Page {
    /// How many rows at most; `None` leaves it to who answers.
    pub limit: Option<u64>,
    /// How many rows are left out in front.
    pub offset: u64,
}

impl Page {
    /// So many rows from an offset on.
    pub fn new(limit: u64, offset: u64) -> Self {
        Self { limit: Some(limit), offset }
    }

    /// That part of what a query answers.
    pub(crate) fn of<M: KvModel>(self, query: Query<M>) -> Query<M> {
        let query = query.offset(self.offset);
        match self.limit {
            Some(limit) => query.limit(limit),
            None => query,
        }
    }
}

/// A part of an answer, and how long the whole is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    /// The part.
    pub rows: Vec<T>,
    /// How many there are in all.
    pub total: u64,
}
