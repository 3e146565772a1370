//! Opening a pair on servers, and why it may not open.

#[cfg(feature = "postgres")]
use std::sync::Arc;

#[cfg(feature = "postgres")]
use super::Kv;
use crate::checks::CheckError;
#[cfg(feature = "postgres")]
use crate::checks::check_servers;
#[cfg(feature = "postgres")]
use crate::durable_store::DurableStoreError;
#[cfg(feature = "postgres")]
use crate::durable_store::postgres::PostgresDurableStore;
use crate::error::Source;
#[cfg(all(feature = "redis", feature = "postgres"))]
use crate::hot_store::HotStoreError;
#[cfg(feature = "postgres")]
use crate::hot_store::memory::MemoryHotStore;
#[cfg(all(feature = "redis", feature = "postgres"))]
use crate::hot_store::redis::RedisHotStore;
#[cfg(feature = "postgres")]
use crate::key::KeySpace;
#[cfg(feature = "postgres")]
use crate::settings::Settings;
use crate::settings::SettingsError;

/// Why a pair of stores could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// A setting is out of its range.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// Redis did not take the connection.
    #[error("Redis at {url} does not take connections; is it running, and is `redis.url` right?")]
    Redis {
        /// The address, without its password.
        url: String,
        /// What it or the connection said.
        #[source]
        source: Source,
    },
    /// PostgreSQL did not take the connection.
    #[error(
        "PostgreSQL at {url} does not take connections; is it running, and is `postgres.url` right?"
    )]
    PostgreSql {
        /// The address, without its password.
        url: String,
        /// What it or the connection said.
        #[source]
        source: Source,
    },
    /// The servers take connections, and are not fit for the runtime.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// The runtime's own tables could not be created.
    #[error("the runtime's own tables cannot be created")]
    Migration(#[source] Source),
    /// The models' tables could not be created.
    #[error("the models' tables cannot be created")]
    Tables(#[source] Source),
}

#[cfg(feature = "postgres")]
impl Kv {
    /// Redis and PostgreSQL. Connects to both, so that a wrong address or password shows now, and
    /// checks what does not depend on the models: Redis' memory policy and persistence, and the
    /// versions of both. [`Settings::checks`] says what becomes of a problem.
    ///
    /// With [`Settings::postgres_only`] it is PostgreSQL alone.
    ///
    /// # Errors
    /// [`ConnectError`], naming the server or the setting.
    pub async fn connect(settings: Settings) -> Result<Self, ConnectError> {
        settings.check()?;
        let keys = KeySpace::of(&settings);
        let durable = PostgresDurableStore::new(&settings)?;
        let kv = match settings.is_without_redis() {
            true => {
                tried_out(durable.try_out().await, &settings)?;
                // It has leases to give, and nothing that they are for.
                let hot = MemoryHotStore::new(&settings, keys.clone(), None);
                Self::new(Arc::new(hot), Arc::new(durable), keys, settings)
            }
            false => Self::connect_both(durable, keys, settings).await?,
        };
        check_servers(&kv.stores).await?;
        Ok(kv)
    }

    #[cfg(feature = "redis")]
    async fn connect_both(
        durable: PostgresDurableStore,
        keys: KeySpace,
        settings: Settings,
    ) -> Result<Self, ConnectError> {
        let (hot, postgres) =
            tokio::join!(RedisHotStore::connect(&settings, keys.clone()), durable.try_out());
        let hot = both(hot, postgres, &settings)?;
        let kv = Self::new(Arc::new(hot), Arc::new(durable), keys, settings);
        Ok(Self { redis: Some(Arc::default()), ..kv })
    }

    #[cfg(not(feature = "redis"))]
    async fn connect_both(
        _: PostgresDurableStore,
        _: KeySpace,
        _: Settings,
    ) -> Result<Self, ConnectError> {
        let problem = "names a Redis, which takes the feature `redis` of `kv-runtime`";
        Err(SettingsError::new("redis.url", problem).into())
    }
}

/// The hot side, if both sides take connections.
#[cfg(all(feature = "redis", feature = "postgres"))]
pub(super) fn both<H>(
    hot: Result<H, HotStoreError>,
    durable: Result<(), DurableStoreError>,
    settings: &Settings,
) -> Result<H, ConnectError> {
    let hot = hot.map_err(|error| ConnectError::Redis {
        url: settings.redis.address(),
        source: error.into_source(),
    })?;
    tried_out(durable, settings)?;
    Ok(hot)
}

#[cfg(feature = "postgres")]
fn tried_out(
    durable: Result<(), DurableStoreError>,
    settings: &Settings,
) -> Result<(), ConnectError> {
    durable.map_err(|error| ConnectError::PostgreSql {
        url: settings.postgres.url.to_string(),
        source: error.into_source(),
    })
}
