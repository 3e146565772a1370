//! The backend of a storage provider, on `kv-runtime`: providers, buckets, files and the streams
//! that pay for them, as models; read and write traits for business code; and one contract that
//! holds in memory, on PostgreSQL alone and on Redis with PostgreSQL.
//!
//! ```
//! use std::sync::Arc;
//!
//! use kv_storage_backend::Services;
//! use kv_storage_backend::models::NewBucket;
//! use kv_storage_backend::storage::WriteStorage;
//! use kv_storage_backend::values::OnchainId;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let services = Services::mocks(); // or Services::new(Config::from_env()?).await?
//! let storage: Arc<dyn WriteStorage> = services.db.clone();
//! let bucket = storage.create_bucket(NewBucket {
//!     onchain_bucket_id: OnchainId([7; 32]),
//!     user_account: "user".into(),
//!     msp_id: None,
//!     name: b"pictures".to_vec(),
//!     collection_id: None,
//!     private: true,
//! });
//! let bucket = bucket.await?;
//! assert_eq!(storage.get_bucket(bucket.id).await?, bucket);
//! services.shutdown().await?;
//! # Ok(())
//! # }
//! ```
//!
//! `docs/models.md` in this repository says how the models came about, `docs/migrating.md` how a
//! hand-written repository becomes one of them.

pub mod before;
mod client;
mod config;
mod error;
pub mod models;
mod page;
pub mod reports;
mod services;
pub mod storage;
pub mod tables;
pub mod values;

pub use client::{ClientSettings, DBClient};
pub use config::{Config, ConfigError, StorageMode};
pub use error::StorageError;
pub use page::{Listed, Page};
pub use services::Services;

/// Compiles what the guides show.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../../docs/models.md")]
    struct Models;

    #[doc = include_str!("../../../docs/migrating.md")]
    struct Migrating;
}
