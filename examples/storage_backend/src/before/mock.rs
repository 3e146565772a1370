//! The same methods once more, for tests.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::Utc;

use super::{BspOperations, RepositoryError};
use crate::models::{Bsp, NewBsp};
use crate::page::Page;
use crate::values::{Amount, Digest, OnchainId};

/// The BSPs in a map.
#[derive(Debug, Default)]
pub struct MockBsps {
    rows: Mutex<BTreeMap<i64, Bsp>>,
}

impl MockBsps {
    fn rows(&self) -> MutexGuard<'_, BTreeMap<i64, Bsp>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl BspOperations for MockBsps {
    async fn create_bsp(&self, new: NewBsp) -> Result<Bsp, RepositoryError> {
        let mut rows = self.rows();
        if rows.values().any(|row| row.onchain_bsp_id == new.onchain_bsp_id) {
            return Err(RepositoryError::Duplicate);
        }
        let now = Utc::now();
        let bsp = Bsp {
            id: rows.last_key_value().map_or(1, |(last, _)| last + 1),
            onchain_bsp_id: new.onchain_bsp_id,
            account: new.account,
            capacity: new.capacity,
            stake: new.stake,
            last_tick_proven: None,
            merkle_root: Digest::ZERO,
            created_at: now,
            updated_at: now,
        };
        rows.insert(bsp.id, bsp.clone());
        Ok(bsp)
    }

    async fn get_bsp(&self, id: i64) -> Result<Bsp, RepositoryError> {
        self.rows().get(&id).cloned().ok_or(RepositoryError::NotFound)
    }

    async fn find_bsp_by_onchain_id(&self, id: &OnchainId) -> Result<Option<Bsp>, RepositoryError> {
        Ok(self.rows().values().find(|row| row.onchain_bsp_id == *id).cloned())
    }

    async fn set_bsp_capacity(&self, id: i64, capacity: Amount) -> Result<(), RepositoryError> {
        let mut rows = self.rows();
        let row = rows.get_mut(&id).ok_or(RepositoryError::NotFound)?;
        row.capacity = capacity;
        row.updated_at = Utc::now();
        Ok(())
    }

    async fn list_bsps(&self, page: Page) -> Result<Vec<Bsp>, RepositoryError> {
        let as_count = |number| usize::try_from(number).unwrap_or(usize::MAX);
        let limit = page.limit.map_or(usize::MAX, as_count);
        Ok(self.rows().values().skip(as_count(page.offset)).take(limit).cloned().collect())
    }
}
