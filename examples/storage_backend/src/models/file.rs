//! Files, and the peers that have brought them.

use chrono::{DateTime, NaiveDateTime, Utc};
use kv_runtime::{KvModel, KvValue};

use crate::values::Digest;

/// A file in a bucket.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "files", queue = "files")]
pub struct File {
    /// Given by a sequence of PostgreSQL.
    #[kv(id, serial)]
    pub id: i64,
    /// The hash of where it is and what is in it.
    #[kv(unique)]
    pub file_key: Digest,
    /// Where it is.
    #[kv(index, references = "buckets(id)")]
    pub bucket_id: i64,
    /// The path in the bucket, which need not be UTF-8.
    pub location: Vec<u8>,
    /// The hash of what is in it, which other files may have, too.
    #[kv(index)]
    pub fingerprint: Digest,
    /// In bytes.
    pub size: i64,
    /// How far it has come.
    #[kv(default = FileStep::Requested)]
    pub step: FileStep,
    /// Why it is to go; NULL of a file that stays.
    #[kv(default = None)]
    pub deletion: Option<Deletion>,
    /// When the row was made. Without a time zone, as the tables of old have it.
    #[kv(default = Utc::now().naive_utc())]
    pub created_at: NaiveDateTime,
    /// When it was last changed.
    #[kv(default = Utc::now())]
    pub updated_at: DateTime<Utc>,
}

/// How far a file has come. Stored as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, KvValue)]
pub enum FileStep {
    /// The user has asked for it to be stored.
    Requested,
    /// A provider has it.
    Stored,
    /// Nobody has taken it in time.
    Expired,
}

/// Why a file is to go. Stored as an enum of PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, KvValue)]
#[kv(pg_type = "file_deletion")]
pub enum Deletion {
    /// The user wants it.
    Requested,
    /// Nobody pays for it.
    Unpaid,
}

/// A peer has brought a file.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "file_peer_ids", queue = "files", partition_by = file_id)]
pub struct FilePeerId {
    /// The file.
    #[kv(id, references = "files(id)")]
    pub file_id: i64,
    /// The peer.
    #[kv(id, references = "peer_ids(id)")]
    pub peer_id: i64,
}
