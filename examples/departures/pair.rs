//! The pair of sides that a run writes to.

use anyhow::{Context, Result};
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use kv_runtime::testing::{PostgresOptions, PostgresServer, RedisServer};
use kv_runtime::{ConnectError, Kv, ServerUrl, Settings};

use crate::args::Args;
use crate::model::CREATE_TABLE;

/// A [`Kv`], with the servers that were started for it.
pub(crate) struct Pair {
    pub(crate) name: &'static str,
    pub(crate) kv: Kv,
    /// Where there are servers.
    pub(crate) urls: Option<Urls>,
    /// They stop when they are dropped.
    _servers: Option<(RedisServer, PostgresServer)>,
}

/// Where the servers are.
pub(crate) struct Urls {
    pub(crate) redis: ServerUrl,
    pub(crate) database: ServerUrl,
}

impl Pair {
    /// Opens the pair that the flags choose, with its tables.
    pub(crate) async fn open(args: &Args) -> Result<Self> {
        match (&args.redis, &args.database) {
            (Some(redis), Some(database)) => {
                let urls = Urls { redis: redis.into(), database: database.into() };
                let kv = connect(&urls).await?;
                let name = "your Redis and PostgreSQL";
                Ok(Self { name, kv, urls: Some(urls), _servers: None })
            }
            _ if args.servers => {
                eprintln!("starting a private Redis and a private PostgreSQL…");
                let started = tokio::task::spawn_blocking(start_servers).await;
                let (redis, postgres) = started.context("starting the servers broke")??;
                let urls = Urls { redis: redis.url().into(), database: postgres.url().into() };
                let kv = connect(&urls).await?;
                let name = "private Redis and PostgreSQL";
                Ok(Self { name, kv, urls: Some(urls), _servers: Some((redis, postgres)) })
            }
            _ => Ok(Self { name: "memory", kv: Kv::memory(), urls: None, _servers: None }),
        }
    }
}

fn start_servers() -> Result<(RedisServer, PostgresServer)> {
    let hint = "run without --servers to stay in this process, \
                or name servers of yours with --redis and --database";
    let redis = RedisServer::start().context(hint)?;
    // As durable as a real one, or its figures would mean nothing.
    let postgres = PostgresServer::start_with(PostgresOptions::new().fsync(true)).context(hint)?;
    Ok((redis, postgres))
}

async fn connect(urls: &Urls) -> Result<Kv> {
    let Urls { redis, database } = urls;
    let kv =
        Kv::connect(Settings::new(redis.expose(), database.expose())).await.map_err(|error| {
            let flag = match &error {
                ConnectError::Redis { .. } => "--redis",
                ConnectError::Check(_) => "--redis or --database",
                _ => "--database",
            };
            anyhow::Error::new(error).context(flag)
        })?;
    kv.migrate().await.context("--database")?;
    // A service has migrations of its own for its tables; the runtime lends no connection yet.
    let connection = AsyncPgConnection::establish(database.expose()).await;
    let mut connection = connection.context("--database: PostgreSQL takes no more connections")?;
    let created = connection.batch_execute(CREATE_TABLE).await;
    created.context("--database: the table `flights` cannot be created; may this user do so?")?;
    Ok(kv)
}
