//! An instance of the service: what it is made of, and how it starts and ends.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use diesel_async::SimpleAsyncConnection;
use kv_runtime::redis::Redis;
use kv_runtime::schema::Schema;
use kv_runtime::{Drainer, Kv};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::api;
use crate::board::Board;
use crate::config::Config;
use crate::delivery::{Delivery, Parts};
use crate::gateway::Gateway;
use crate::health::{SharedHealth, watch_alone};
use crate::metrics::Metrics;
use crate::model::{ADD_CREATED_AT, Payment};
use crate::session::SessionCache;
use crate::store::Store;

/// A running instance. Dropping it is as if its process had died; [`Instance::stop`] is an orderly
/// end.
#[derive(Debug)]
pub struct Instance {
    address: SocketAddr,
    board: Board,
    kv: Kv,
    drainer: Drainer,
    tasks: JoinSet<()>,
}

impl Instance {
    /// Connects to what the flags ask for, makes the tables where they are missing, and serves.
    ///
    /// # Errors
    /// What cannot be connected to or listened at.
    pub async fn start(config: Config) -> Result<Self> {
        let kv = open(&config).await?;
        let redis = open_redis(&config, &kv).await?;
        let board = Board::new(config.delivery.slow);
        let gateway = Gateway::new(config.processors.clone(), config.delivery.timeout);
        let metrics = Arc::new(Metrics::default());
        let sessions = SessionCache::new(redis.clone().filter(|_| config.redis_session_cache));
        let (payments, queues) = (kv.repository(), kv.queues().model::<Payment>());
        let store = Store { payments, queues, sessions };
        let (delivery, taken) = Delivery::new(Parts {
            store: store.clone(),
            gateway: gateway.clone(),
            board: board.clone(),
            metrics: Arc::clone(&metrics),
            settings: config.delivery,
        });
        let router = api::router(api::Parts {
            store,
            delivery: delivery.clone(),
            board: board.clone(),
            metrics,
        });
        let listener = TcpListener::bind(&config.listen).await;
        let listener = listener.with_context(|| format!("cannot listen at {}", config.listen))?;
        let address = listener.local_addr().context("the listener has no address")?;

        let drainer = kv.drainer().model::<Payment>().spawn();
        let mut tasks = JoinSet::new();
        match redis.filter(|_| config.redis_health_monitoring) {
            Some(redis) => tasks.spawn(SharedHealth::new(redis).watch(gateway, board.clone())),
            None => tasks.spawn(watch_alone(gateway, board.clone())),
        };
        tasks.spawn(delivery.run(taken));
        tasks.spawn(async move {
            let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
                // An answer is small, and should not wait for the next one.
                let _ = stream.set_nodelay(true);
            });
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the service does not listen any more");
            }
        });
        Ok(Self { address, board, kv, drainer, tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as `http://host:port`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it knows of the processors.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Where it stores payments.
    pub fn kv(&self) -> &Kv {
        &self.kv
    }

    /// Ends: what was written is drained. What is on its way to a processor is taken over by
    /// another instance, or by the next one.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
        if let Err(error) = self.drainer.shutdown().await {
            tracing::warn!(%error, "not everything is drained");
        }
    }
}

async fn open(config: &Config) -> Result<Kv> {
    if !config.database_storage {
        return Ok(Kv::memory_with(config.settings.clone())?);
    }
    let kv = Kv::connect(config.settings.clone()).await?;
    // Instances start together, and tables are made once.
    kv.migrate().await?;
    kv.create_tables(&Schema::new().model::<Payment>()).await?;
    let added = kv.connection().await?.batch_execute(ADD_CREATED_AT).await;
    added.context("the column `created_at` cannot be added")?;
    Ok(kv)
}

/// Redis itself, where a flag needs it: the store's, or one of its own.
async fn open_redis(config: &Config, kv: &Kv) -> Result<Option<Redis>> {
    if !config.redis_health_monitoring && !config.redis_session_cache {
        return Ok(None);
    }
    if config.database_storage {
        return Ok(Some(kv.redis().await?));
    }
    let settings = &config.settings;
    Ok(Some(Redis::connect(&settings.redis, settings.tenant.as_deref()).await?))
}
