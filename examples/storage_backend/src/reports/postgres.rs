//! The answers of PostgreSQL, by Diesel over a connection of the runtime's pool.

use async_trait::async_trait;
use bigdecimal::BigDecimal;
use diesel::dsl::{count_star, sql, sum};
use diesel::prelude::*;
use diesel::sql_types::Double;
use diesel_async::RunQueryDsl;
use kv_runtime::{Kv, Repository};

use super::{FileOfUser, Reports, Usage};
use crate::error::StorageError;
use crate::models::Bsp;
use crate::page::Page;

diesel::table! {
    bsps (id) {
        id -> BigInt,
    }
}

diesel::table! {
    buckets (id) {
        id -> BigInt,
        user_account -> Text,
        msp_id -> Nullable<BigInt>,
        name -> Binary,
    }
}

diesel::table! {
    files (id) {
        id -> BigInt,
        bucket_id -> BigInt,
        location -> Binary,
        size -> BigInt,
    }
}

diesel::joinable!(files -> buckets (bucket_id));
diesel::allow_tables_to_appear_in_same_query!(files, buckets);

/// The reports on a pair with a PostgreSQL.
#[derive(Debug, Clone)]
pub struct PostgresReports {
    kv: Kv,
    rows: Repository<Bsp>,
}

impl PostgresReports {
    /// The reports on this pair.
    pub fn new(kv: Kv) -> Self {
        Self { rows: kv.repository(), kv }
    }
}

#[async_trait]
impl Reports for PostgresReports {
    async fn list_files_of_user(
        &self,
        user_account: &str,
        page: Page,
    ) -> Result<Vec<FileOfUser>, StorageError> {
        let mut files = files::table
            .inner_join(buckets::table)
            .filter(buckets::user_account.eq(user_account))
            .order_by(files::id)
            .select((files::id, files::location, buckets::name))
            .offset(i64::try_from(page.offset).unwrap_or(i64::MAX))
            .into_boxed();
        if let Some(limit) = page.limit {
            files = files.limit(i64::try_from(limit).unwrap_or(i64::MAX));
        }
        let mut connection = self.kv.connection().await?;
        let found: Vec<(i64, Vec<u8>, Vec<u8>)> = files.load(&mut *connection).await?;
        let file = |(file_id, location, bucket_name)| FileOfUser { file_id, location, bucket_name };
        Ok(found.into_iter().map(file).collect())
    }

    async fn usage_by_msp(&self) -> Result<Vec<Usage>, StorageError> {
        let mut connection = self.kv.connection().await?;
        let groups: Vec<(Option<i64>, i64, Option<BigDecimal>)> = files::table
            .inner_join(buckets::table)
            .filter(buckets::msp_id.is_not_null())
            .group_by(buckets::msp_id)
            .order_by(buckets::msp_id)
            .select((buckets::msp_id, count_star(), sum(files::size)))
            .load(&mut *connection)
            .await?;
        let usage = |(msp_id, files, bytes): (Option<i64>, i64, Option<BigDecimal>)| {
            Some(Usage { msp_id: msp_id?, files, bytes: bytes.unwrap_or_default() })
        };
        Ok(groups.into_iter().filter_map(usage).collect())
    }

    async fn pick_bsps(&self, count: u32) -> Result<Vec<Bsp>, StorageError> {
        let ids: Vec<i64> = {
            let mut connection = self.kv.connection().await?;
            bsps::table
                .order_by(sql::<Double>("random()"))
                .limit(count.into())
                .select(bsps::id)
                .load(&mut *connection)
                .await?
        };
        // The rows as they are by now, from where a read is cheapest.
        Ok(self.rows.get_many(&ids).await?.into_iter().flatten().collect())
    }
}
