//! Questions that the derive has no words for: a join, groups over a join, chance. Written by hand,
//! beside what the derive writes.

mod memory;
mod postgres;

use async_trait::async_trait;
use bigdecimal::BigDecimal;

pub use self::memory::MemoryReports;
pub use self::postgres::PostgresReports;
use crate::error::StorageError;
use crate::models::Bsp;
use crate::page::Page;

/// The questions. They are about what was drained, and may be as late as the drainer.
#[async_trait]
pub trait Reports: Send + Sync {
    /// The files of all of a user's buckets, in the order of their ids: a join.
    async fn list_files_of_user(
        &self,
        user_account: &str,
        page: Page,
    ) -> Result<Vec<FileOfUser>, StorageError>;

    /// What each MSP keeps, of those that keep a file: groups over a join.
    async fn usage_by_msp(&self) -> Result<Vec<Usage>, StorageError>;

    /// Some BSPs to ask for room, so that not always the same are asked.
    async fn pick_bsps(&self, count: u32) -> Result<Vec<Bsp>, StorageError>;
}

/// A file, and the bucket it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOfUser {
    /// The file's id.
    pub file_id: i64,
    /// The path in the bucket.
    pub location: Vec<u8>,
    /// What the user calls the bucket.
    pub bucket_name: Vec<u8>,
}

/// What an MSP keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The MSP's id.
    pub msp_id: i64,
    /// How many files.
    pub files: i64,
    /// How many bytes these are, which need not fit into 64 bits.
    pub bytes: BigDecimal,
}
