//! The methods on PostgreSQL.

use async_trait::async_trait;
use bigdecimal::BigDecimal;
use chrono::Utc;
use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::RunQueryDsl;
use kv_runtime::Kv;

use super::rows::{BspRow, NewBspRow, bsps};
use super::{BspOperations, RepositoryError};
use crate::models::{Bsp, NewBsp};
use crate::page::Page;
use crate::values::{Amount, OnchainId};

/// The BSPs in PostgreSQL. The pool is that of the runtime, so that there is one while methods move.
#[derive(Debug, Clone)]
pub struct PostgresBsps {
    pool: Kv,
}

impl PostgresBsps {
    /// Those of this database.
    pub fn new(pool: Kv) -> Self {
        Self { pool }
    }
}

#[async_trait]
impl BspOperations for PostgresBsps {
    async fn create_bsp(&self, new: NewBsp) -> Result<Bsp, RepositoryError> {
        let mut connection = self.pool.connection().await?;
        let created = diesel::insert_into(bsps::table)
            .values(NewBspRow::from(new))
            .returning(BspRow::as_returning())
            .get_result(&mut *connection)
            .await;
        match created {
            Ok(row) => row.try_into(),
            Err(DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _)) => {
                Err(RepositoryError::Duplicate)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn get_bsp(&self, id: i64) -> Result<Bsp, RepositoryError> {
        let mut connection = self.pool.connection().await?;
        let row = bsps::table
            .find(id)
            .select(BspRow::as_select())
            .first(&mut *connection)
            .await
            .optional()?;
        row.ok_or(RepositoryError::NotFound)?.try_into()
    }

    async fn find_bsp_by_onchain_id(&self, id: &OnchainId) -> Result<Option<Bsp>, RepositoryError> {
        let mut connection = self.pool.connection().await?;
        let row = bsps::table
            .filter(bsps::onchain_bsp_id.eq(id.to_string()))
            .select(BspRow::as_select())
            .first(&mut *connection)
            .await
            .optional()?;
        row.map(Bsp::try_from).transpose()
    }

    async fn set_bsp_capacity(&self, id: i64, capacity: Amount) -> Result<(), RepositoryError> {
        let mut connection = self.pool.connection().await?;
        let changed = diesel::update(bsps::table.find(id))
            .set((bsps::capacity.eq(BigDecimal::from(capacity)), bsps::updated_at.eq(Utc::now())))
            .execute(&mut *connection)
            .await?;
        if changed == 0 {
            return Err(RepositoryError::NotFound);
        }
        Ok(())
    }

    async fn list_bsps(&self, page: Page) -> Result<Vec<Bsp>, RepositoryError> {
        let mut query = bsps::table
            .order_by(bsps::id)
            .offset(i64::try_from(page.offset).unwrap_or(i64::MAX))
            .select(BspRow::as_select())
            .into_boxed();
        if let Some(limit) = page.limit {
            query = query.limit(i64::try_from(limit).unwrap_or(i64::MAX));
        }
        let mut connection = self.pool.connection().await?;
        let rows = query.load(&mut *connection).await?;
        rows.into_iter().map(Bsp::try_from).collect()
    }
}
