//! Providers of storage, and what they are associated with.

use chrono::{DateTime, Utc};
use kv_runtime::KvModel;

use crate::values::{Amount, Digest, OnchainId};

/// A backup storage provider.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "bsps", queue = "bsps")]
pub struct Bsp {
    /// Given by a sequence of PostgreSQL.
    #[kv(id, serial)]
    pub id: i64,
    /// Given by the chain.
    #[kv(unique)]
    pub onchain_bsp_id: OnchainId,
    /// Whose it is.
    #[kv(index)]
    pub account: String,
    /// In bytes.
    #[kv(column_type = "numeric(38, 0)")]
    pub capacity: Amount,
    /// What it has put up.
    #[kv(column_type = "numeric(38, 0)")]
    pub stake: Amount,
    /// When it has last proven that it has its files; NULL before the first time.
    #[kv(default = None)]
    pub last_tick_proven: Option<i64>,
    /// Of all its files.
    #[kv(default = Digest::ZERO)]
    pub merkle_root: Digest,
    /// When the row was made.
    #[kv(default = Utc::now())]
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    #[kv(default = Utc::now())]
    pub updated_at: DateTime<Utc>,
}

/// A BSP can be reached at an address.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "bsp_multiaddresses", queue = "bsps", partition_by = bsp_id)]
pub struct BspMultiaddress {
    /// The provider.
    #[kv(id, references = "bsps(id)")]
    pub bsp_id: i64,
    /// The address.
    #[kv(id, references = "multiaddresses(id)")]
    pub multiaddress_id: i64,
}

/// A BSP has a file.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "bsp_files", queue = "bsps", partition_by = bsp_id)]
pub struct BspFile {
    /// The provider.
    #[kv(id, references = "bsps(id)")]
    pub bsp_id: i64,
    /// The file.
    #[kv(id, references = "files(id)")]
    pub file_id: i64,
}

/// A main storage provider.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "msps", queue = "msps")]
pub struct Msp {
    /// Given by a sequence of PostgreSQL.
    #[kv(id, serial)]
    pub id: i64,
    /// Given by the chain.
    #[kv(unique)]
    pub onchain_msp_id: OnchainId,
    /// Whose it is.
    #[kv(index)]
    pub account: String,
    /// In bytes.
    #[kv(column_type = "numeric(38, 0)")]
    pub capacity: Amount,
    /// What it offers, in its own words.
    pub value_prop: String,
    /// When the row was made.
    #[kv(default = Utc::now())]
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    #[kv(default = Utc::now())]
    pub updated_at: DateTime<Utc>,
}

/// An MSP can be reached at an address.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "msp_multiaddresses", queue = "msps", partition_by = msp_id)]
pub struct MspMultiaddress {
    /// The provider.
    #[kv(id, references = "msps(id)")]
    pub msp_id: i64,
    /// The address.
    #[kv(id, references = "multiaddresses(id)")]
    pub multiaddress_id: i64,
}

/// An MSP has a file.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "msp_files", queue = "msps", partition_by = msp_id)]
pub struct MspFile {
    /// The provider.
    #[kv(id, references = "msps(id)")]
    pub msp_id: i64,
    /// The file.
    #[kv(id, references = "files(id)")]
    pub file_id: i64,
}
