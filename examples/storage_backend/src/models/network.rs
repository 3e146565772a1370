//! Where providers and peers are reached.

use chrono::{DateTime, Utc};
use kv_runtime::KvModel;

/// An address of the peer-to-peer network, which several providers may have.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "multiaddresses")]
pub struct Multiaddress {
    /// Given by a sequence of PostgreSQL.
    #[kv(id, serial)]
    pub id: i64,
    /// In its binary form.
    #[kv(unique)]
    pub address: Vec<u8>,
    /// When the row was made.
    #[kv(default = Utc::now())]
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    #[kv(default = Utc::now())]
    pub updated_at: DateTime<Utc>,
}

/// Who a peer of the network is.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "peer_ids")]
pub struct PeerId {
    /// Given by a sequence of PostgreSQL.
    #[kv(id, serial)]
    pub id: i64,
    /// The hash of the peer's public key, in its binary form.
    #[kv(unique)]
    pub peer: Vec<u8>,
    /// When the row was made.
    #[kv(default = Utc::now())]
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    #[kv(default = Utc::now())]
    pub updated_at: DateTime<Utc>,
}
