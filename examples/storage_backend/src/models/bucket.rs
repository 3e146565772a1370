//! Buckets, which users keep files in.

use chrono::{DateTime, Utc};
use kv_runtime::KvModel;

use crate::values::{Digest, OnchainId};

/// A user's bucket, kept by an MSP.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "buckets", index(user_account, msp_id))]
pub struct Bucket {
    /// Given by a sequence of PostgreSQL.
    #[kv(id, serial)]
    pub id: i64,
    /// Given by the chain.
    #[kv(unique)]
    pub onchain_bucket_id: OnchainId,
    /// Whose it is.
    #[kv(index)]
    pub user_account: String,
    /// Who keeps it; NULL while nobody does.
    #[kv(references = "msps(id)")]
    pub msp_id: Option<i64>,
    /// As the user wrote it, which need not be UTF-8.
    pub name: Vec<u8>,
    /// The collection of tokens that says who may read a private one.
    pub collection_id: Option<String>,
    /// Whether not everybody may read it.
    pub private: bool,
    /// Of all its files.
    #[kv(default = Digest::ZERO)]
    pub merkle_root: Digest,
    /// The bytes of all its files.
    #[kv(default = 0)]
    pub total_size: i64,
    /// How many files it has.
    #[kv(default = 0)]
    pub file_count: i64,
    /// When the row was made.
    #[kv(default = Utc::now())]
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    #[kv(default = Utc::now())]
    pub updated_at: DateTime<Utc>,
}
