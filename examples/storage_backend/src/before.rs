//! How it was before: a part of the storage of BSPs as it is written by hand, once for PostgreSQL
//! and once more as a mock. `docs/migrating.md` sets it beside what has come of it, line by line, and
//! a test has both answer the same.

mod mock;
mod postgres;
mod rows;

use async_trait::async_trait;
use kv_runtime::PoolError;

pub use self::mock::MockBsps;
pub use self::postgres::PostgresBsps;
use crate::models::{Bsp, NewBsp};
use crate::page::Page;
use crate::values::{Amount, OnchainId};

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// There is no connection.
    #[error("no connection to the database")]
    Pool(#[from] PoolError),
    /// PostgreSQL says no.
    #[error("the database refuses it")]
    Database(#[from] diesel::result::Error),
    /// There is no such row.
    #[error("there is no such row")]
    NotFound,
    /// There is such a row already.
    #[error("there is such a row already")]
    Duplicate,
    /// A column holds what it should not.
    #[error("the column `{0}` holds no valid value")]
    Invalid(&'static str),
}

/// What both did.
#[async_trait]
pub trait BspOperations: Send + Sync {
    /// Makes a BSP.
    async fn create_bsp(&self, new: NewBsp) -> Result<Bsp, RepositoryError>;

    /// A BSP by its id.
    async fn get_bsp(&self, id: i64) -> Result<Bsp, RepositoryError>;

    /// A BSP by what the chain calls it.
    async fn find_bsp_by_onchain_id(&self, id: &OnchainId) -> Result<Option<Bsp>, RepositoryError>;

    /// Changes how much a BSP can keep.
    async fn set_bsp_capacity(&self, id: i64, capacity: Amount) -> Result<(), RepositoryError>;

    /// The BSPs, in the order of their ids.
    async fn list_bsps(&self, page: Page) -> Result<Vec<Bsp>, RepositoryError>;
}
