//! What the service knows of itself.

use chrono::{DateTime, Utc};
use kv_runtime::KvModel;

/// How far the service has come with the chain: the table's only row.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "service_state", check = "id = 1")]
pub struct ServiceState {
    /// Always [`ServiceState::ID`].
    #[kv(id)]
    pub id: i32,
    /// The last block of the chain whose events are in the tables.
    pub last_indexed_block: i64,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

impl ServiceState {
    /// The id of the only row.
    pub const ID: i32 = 1;

    /// The row of a service that has come as far as this block.
    pub fn at_block(last_indexed_block: i64) -> Self {
        let now = Utc::now();
        Self { id: Self::ID, last_indexed_block, created_at: now, updated_at: now }
    }
}
