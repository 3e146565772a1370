//! All that the service consists of, built once.

use std::sync::Arc;

use kv_runtime::{ConnectError, DrainError, DrainStatus, Drainer, Kv};

use crate::client::DBClient;
use crate::config::{Config, StorageMode};
use crate::reports::{MemoryReports, PostgresReports, Reports};
use crate::storage::KvStorage;
use crate::tables;

/// What callers take from; which stores are behind it shows nowhere.
pub struct Services {
    /// The storage, to be handed on as `Arc<dyn ReadStorage>` or `Arc<dyn WriteStorage>`.
    pub db: Arc<DBClient>,
    /// The questions beside it.
    pub reports: Arc<dyn Reports>,
    /// The pair of stores.
    pub kv: Kv,
    drainer: Drainer,
}

impl Services {
    /// The services as they are configured: on servers, or in memory.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn new(config: Config) -> Result<Self, ConnectError> {
        if config.mode == StorageMode::Memory {
            return Ok(Self::on(Kv::memory_with(config.settings.clone())?, &config));
        }
        let kv = Kv::connect(config.settings.clone()).await?;
        kv.migrate().await?;
        if config.makes_tables {
            kv.create_tables(&tables::all()).await?;
        }
        Ok(Self::on(kv, &config))
    }

    /// The same services in memory, for tests and for a first try; on a Tokio runtime.
    pub fn mocks() -> Self {
        Self::on(Kv::memory(), &Config::mocks())
    }

    /// The services on a pair that is open, and has the tables.
    pub fn on(kv: Kv, config: &Config) -> Self {
        let storage = Arc::new(KvStorage::new(kv.clone()));
        let reports: Arc<dyn Reports> = match config.mode {
            StorageMode::Memory => Arc::new(MemoryReports::new(kv.clone())),
            StorageMode::Postgres | StorageMode::Redis => {
                Arc::new(PostgresReports::new(kv.clone()))
            }
        };
        let drainer = kv.drainer().models(&tables::all()).spawn();
        Self { db: Arc::new(DBClient::new(storage, config.client)), reports, kv, drainer }
    }

    /// Waits until all that was written is drained.
    ///
    /// # Errors
    /// [`DrainError`].
    pub async fn flush(&self) -> Result<(), DrainError> {
        self.drainer.flush().await
    }

    /// Drains everything, and ends.
    ///
    /// # Errors
    /// [`DrainError`].
    pub async fn shutdown(self) -> Result<DrainStatus, DrainError> {
        self.drainer.shutdown().await
    }
}
