//! The same answers without a PostgreSQL, out of the rows: for mocks.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use bigdecimal::BigDecimal;
use kv_runtime::Kv;

use super::{FileOfUser, Reports, Usage};
use crate::error::StorageError;
use crate::models::{Bsp, Bucket, File};
use crate::page::Page;

/// The reports on a pair in memory.
#[derive(Debug, Clone)]
pub struct MemoryReports {
    kv: Kv,
}

impl MemoryReports {
    /// The reports on this pair.
    pub fn new(kv: Kv) -> Self {
        Self { kv }
    }

    /// The files with their buckets.
    async fn join(&self) -> Result<Vec<(File, Bucket)>, StorageError> {
        let buckets = self.kv.durable_rows::<Bucket>().await?;
        let buckets: HashMap<i64, Bucket> =
            buckets.into_iter().map(|bucket| (bucket.id, bucket)).collect();
        let mut files = self.kv.durable_rows::<File>().await?;
        files.sort_unstable_by_key(|file| file.id);
        let joined = files.into_iter().filter_map(|file| {
            let bucket = buckets.get(&file.bucket_id)?.clone();
            Some((file, bucket))
        });
        Ok(joined.collect())
    }
}

#[async_trait]
impl Reports for MemoryReports {
    async fn list_files_of_user(
        &self,
        user_account: &str,
        page: Page,
    ) -> Result<Vec<FileOfUser>, StorageError> {
        let joined = self.join().await?.into_iter();
        let files = joined.filter(|(_, bucket)| bucket.user_account == user_account);
        let files = files.map(|(file, bucket)| FileOfUser {
            file_id: file.id,
            location: file.location,
            bucket_name: bucket.name,
        });
        let as_count = |number| usize::try_from(number).unwrap_or(usize::MAX);
        let limit = page.limit.map_or(usize::MAX, as_count);
        Ok(files.skip(as_count(page.offset)).take(limit).collect())
    }

    async fn usage_by_msp(&self) -> Result<Vec<Usage>, StorageError> {
        let mut groups: BTreeMap<i64, Usage> = BTreeMap::new();
        for (file, bucket) in self.join().await? {
            let Some(msp_id) = bucket.msp_id else { continue };
            let none = || Usage { msp_id, files: 0, bytes: BigDecimal::default() };
            let usage = groups.entry(msp_id).or_insert_with(none);
            usage.files += 1;
            usage.bytes += BigDecimal::from(file.size);
        }
        Ok(groups.into_values().collect())
    }

    async fn pick_bsps(&self, count: u32) -> Result<Vec<Bsp>, StorageError> {
        let ids = self.kv.durable_rows::<Bsp>().await?.into_iter().map(|row| row.id);
        let ids = fastrand::choose_multiple(ids, usize::try_from(count).unwrap_or(usize::MAX));
        let rows = self.kv.repository::<Bsp>().get_many(&ids).await?;
        Ok(rows.into_iter().flatten().collect())
    }
}
