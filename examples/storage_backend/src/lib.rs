//! The backend of a storage provider, on `kv-runtime`: providers, buckets, files and the streams
//! that pay for them, as models; read and write traits for business code; and one contract that
//! holds in memory, on PostgreSQL alone and on Redis with PostgreSQL.
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
pub use services::{Services, ServicesError};

/// Compiles what the guides show.
#[cfg(doctest)]
mod guides {
    #[doc = include_str!("../../../docs/models.md")]
    struct Models;

    #[doc = include_str!("../../../docs/migrating.md")]
    struct Migrating;
}
