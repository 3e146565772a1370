//! Private, throw-away servers on loopback, for tests and examples.
//!
//! [`servers`] is what most tests need: one Redis and one PostgreSQL for the whole process,
//! started on first use, and a fresh database for each test that asks.
//!
//! ```no_run
//! let servers = kv_runtime::testing::servers();
//! let redis_url = servers.redis_url();
//! let database_url = servers.create_database();
//! ```
//!
//! A test that takes a server away starts one of its own:
//!
//! ```no_run
//! use kv_runtime::testing::{RedisOptions, RedisServer};
//!
//! # fn main() -> Result<(), kv_runtime::testing::ServerError> {
//! let mut redis = RedisServer::start_with(RedisOptions::new().append_only(true))?;
//! redis.kill()?;
//! redis.restart()?;
//! # Ok(())
//! # }
//! ```
//!
//! one that takes the way to a server away puts a [`Proxy`] before it, and one of a Redis Cluster has
//! [`Servers::redis_cluster`], or starts a [`RedisCluster`] whose nodes it kills or whose slots it
//! moves. `Kv::test` makes a pair that leaves nothing on servers that tests share.
//!
//! The servers and their directories go away with the process that started them, however it
//! ends: a small watcher process notices that the process is gone and cleans up.
//!
//! # Environment
//!
//! | variable | effect |
//! | --- | --- |
//! | `REDIS_URL` | [`servers`] takes this Redis instead of starting one |
//! | `DATABASE_URL` | [`servers`] takes this PostgreSQL instead of starting one |
//! | `KV_TESTING_REDIS_SERVER` | the program of all Redis servers, for example `/usr/bin/valkey-server` |
//! | `PATH` | searched first, so a directory in front chooses the version |
//! | `KV_TESTING_INSTALL=never` | a missing server is an error; by default it is installed where `apt-get` may be run without a password |

mod error;
mod install;
mod postgres;
mod process;
mod proxy;
mod redis;
mod redis_cluster;
mod redis_sentinel;
mod watcher;

use std::sync::OnceLock;

pub use self::error::ServerError;
pub use self::postgres::{PostgresOptions, PostgresServer};
pub use self::proxy::Proxy;
pub use self::redis::{RedisOptions, RedisServer};
pub use self::redis_cluster::RedisCluster;
pub use self::redis_sentinel::RedisSentinel;
use crate::error::with_sources;

static SHARED: OnceLock<Result<Servers, ServerError>> = OnceLock::new();

/// One Redis and one PostgreSQL, shared by all tests of a process.
#[derive(Debug)]
pub struct Servers {
    redis: Server<RedisServer>,
    postgres: Server<PostgresServer>,
    cluster: OnceLock<Result<RedisCluster, ServerError>>,
    sentinel: OnceLock<Result<RedisSentinel, ServerError>>,
}

/// A server of our own, or the URL of one that the environment names.
#[derive(Debug)]
enum Server<S> {
    Private(S),
    Given(String),
}

impl Servers {
    fn start() -> Result<Self, ServerError> {
        let redis = match url_in_environment("REDIS_URL") {
            Some(url) => Server::Given(url),
            None => Server::Private(RedisServer::start()?),
        };
        let postgres = match url_in_environment("DATABASE_URL") {
            Some(url) => Server::Given(url),
            None => Server::Private(PostgresServer::start()?),
        };
        Ok(Self { redis, postgres, cluster: OnceLock::new(), sentinel: OnceLock::new() })
    }

    /// A Redis Cluster, started on first use.
    ///
    /// Tests share its keys, as those of [`redis_url`](Self::redis_url).
    ///
    /// # Panics
    ///
    /// When it cannot be started, with the reason.
    #[must_use]
    #[track_caller]
    pub fn redis_cluster(&self) -> &RedisCluster {
        match self.cluster.get_or_init(RedisCluster::start) {
            Ok(cluster) => cluster,
            Err(error) => panic!("{}", with_sources(error)),
        }
    }

    /// A Redis that sentinels watch over, started on first use.
    ///
    /// Tests share its keys, as those of [`redis_url`](Self::redis_url).
    ///
    /// # Panics
    ///
    /// When it cannot be started, with the reason.
    #[must_use]
    #[track_caller]
    pub fn redis_sentinel(&self) -> &RedisSentinel {
        match self.sentinel.get_or_init(RedisSentinel::start) {
            Ok(sentinel) => sentinel,
            Err(error) => panic!("{}", with_sources(error)),
        }
    }

    /// The URL of the Redis server.
    ///
    /// Tests share its keys: give each test a prefix of its own, or start a [`RedisServer`].
    #[must_use]
    pub fn redis_url(&self) -> &str {
        match &self.redis {
            Server::Private(server) => server.url(),
            Server::Given(url) => url,
        }
    }

    /// The URL of the PostgreSQL database that all tests share.
    #[must_use]
    pub fn postgres_url(&self) -> &str {
        match &self.postgres {
            Server::Private(server) => server.url(),
            Server::Given(url) => url,
        }
    }

    /// Creates an empty database with a name of its own and answers its URL.
    ///
    /// On a server that `DATABASE_URL` names the database stays; drop it there when done.
    ///
    /// # Panics
    ///
    /// When the database cannot be created, with the reason.
    #[must_use]
    #[track_caller]
    pub fn create_database(&self) -> String {
        match self.try_create_database() {
            Ok(url) => url,
            Err(error) => panic!("{}", with_sources(&error)),
        }
    }

    /// [`create_database`](Self::create_database), with the failure as an error.
    ///
    /// # Errors
    ///
    /// When the server refuses it or cannot be reached.
    pub fn try_create_database(&self) -> Result<String, ServerError> {
        // Random, not counted: a given server outlives the process and sees the next one's names.
        let name = format!("kv_{:016x}", fastrand::u64(..));
        match &self.postgres {
            Server::Private(server) => server.create_database(&name),
            Server::Given(url) => postgres::create_database(&install::psql()?, url, &name),
        }
    }
}

/// The servers that all tests of this process share, started on first use.
///
/// `REDIS_URL` and `DATABASE_URL` name servers to use instead. Set them for a runner that gives
/// each test a process of its own, which would start a pair of servers for each test.
///
/// # Panics
///
/// When a server can be neither found, installed nor started, with what to do about it.
#[must_use]
#[track_caller]
pub fn servers() -> &'static Servers {
    match try_servers() {
        Ok(servers) => servers,
        Err(error) => panic!("{}", with_sources(error)),
    }
}

/// [`servers`], with the failure as an error, for examples.
///
/// # Errors
///
/// When a server can be neither found, installed nor started. The first answer is kept.
pub fn try_servers() -> Result<&'static Servers, &'static ServerError> {
    SHARED.get_or_init(Servers::start).as_ref()
}

/// An empty variable counts as unset, as a shell or a CI file may have no other way to unset it.
fn url_in_environment(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|url| !url.is_empty())
}
