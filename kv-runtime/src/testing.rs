//! Testing kit for users (feature `testing`): private throw-away Redis, Redis Cluster and
//! PostgreSQL, the test pool, the in-memory pair, the fault proxy; all that this project's own tests
//! use.
//!
//! Take the feature for tests alone:
//!
//! ```toml
//! [dev-dependencies]
//! kv-runtime = { version = "0.1", features = ["testing"] }
//! ```
//!
//! | a test of | takes |
//! | --- | --- |
//! | business code | the in-memory pair, [`Memory`](crate::Memory): no server, and it fails when told to |
//! | SQL of one's own, types, constraints | the test pool, [`Kv::test`](crate::Kv::test): servers that tests share, on which nothing stays |
//! | a service as a whole | [`servers`]: one Redis and one PostgreSQL for the process, a fresh database for each test |
//! | a server that dies or comes back | [`RedisServer`] or [`PostgresServer`], the test's own |
//! | a failover | [`RedisCluster`] or [`RedisSentinel`] |
//! | a network that fails | [`Proxy`], before any server |
//!
//! # The in-memory pair
//!
//! It keeps the same rules as the servers, and is in this process. It needs no feature.
//!
//! ```
//! # use kv_runtime::KvModel;
//! use kv_runtime::{Failure, Memory, Verb};
//!
//! #[derive(Debug, Clone, PartialEq, KvModel)]
//! struct Booking {
//!     #[kv(id, fresh)]
//!     id: i64,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let memory = Memory::new();
//! let bookings = memory.kv().repository::<Booking>();
//! memory.fail_next::<Booking>(Verb::Create, Failure::Unavailable);
//! assert!(bookings.create(&Booking { id: 7 }).await.is_err());
//! bookings.create(&Booking { id: 7 }).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # The test pool
//!
//! One connection to PostgreSQL, in a transaction that is never committed, and a tenant in Redis
//! whose keys go in the end. Any number of tests have such a pair at once.
//!
//! ```no_run
//! # use kv_runtime::KvModel;
//! use kv_runtime::testing::servers;
//! use kv_runtime::{Kv, Settings};
//! # #[derive(Debug, Clone, PartialEq, KvModel)]
//! # struct Booking { #[kv(id, fresh)] id: i64 }
//!
//! #[tokio::test]
//! async fn a_booking_is_drained() -> Result<(), Box<dyn std::error::Error>> {
//!     let kv = Kv::test(Settings::new(servers().redis_url(), servers().postgres_url())).await?;
//!     kv.repository::<Booking>().create(&Booking { id: 7 }).await?;
//!     kv.drainer().model::<Booking>().spawn().shutdown().await?;
//!     assert_eq!(kv.durable_rows::<Booking>().await?.len(), 1);
//!     Ok(())
//! }
//! ```
//!
//! # Servers that tests share
//!
//! [`servers`] starts them on first use.
//!
//! ```no_run
//! use kv_runtime::testing::servers;
//! use kv_runtime::{Kv, Settings};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let mut settings = Settings::new(servers().redis_url(), servers().create_database());
//! settings.tenant = Some("this-test".to_owned()); // the others have the same Redis
//! let kv = Kv::connect(settings).await?;
//! kv.migrate().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # A Redis of the test's own
//!
//! ```no_run
//! use kv_runtime::testing::{RedisOptions, RedisServer};
//!
//! # fn main() -> Result<(), kv_runtime::testing::ServerError> {
//! let mut redis = RedisServer::start_with(RedisOptions::new().append_only(true))?;
//! redis.kill()?;
//! redis.restart()?;
//! assert_eq!(redis.ask("DBSIZE")?, "0");
//! # Ok(())
//! # }
//! ```
//!
//! # A PostgreSQL of the test's own
//!
//! ```no_run
//! use kv_runtime::testing::{PostgresOptions, PostgresServer};
//!
//! # fn main() -> Result<(), kv_runtime::testing::ServerError> {
//! let mut postgres = PostgresServer::start_with(PostgresOptions::new().fsync(true))?;
//! let url = postgres.create_database("orders")?;
//! let standby = postgres.start_standby()?;
//! postgres.kill()?;
//! postgres.restart()?;
//! # let _ = (url, standby);
//! # Ok(())
//! # }
//! ```
//!
//! # A Redis Cluster
//!
//! Six nodes: masters are killed, and slots moved. [`Servers::redis_cluster`] is one that tests share.
//!
//! ```no_run
//! use kv_runtime::Settings;
//! use kv_runtime::testing::{RedisCluster, servers};
//!
//! # fn main() -> Result<(), kv_runtime::testing::ServerError> {
//! let mut cluster = RedisCluster::start()?;
//! let mut settings = Settings::new("", servers().create_database());
//! settings.redis.cluster_nodes = cluster.urls();
//! cluster.move_slot(7, 0, 1)?;
//! cluster.nodes_mut()[0].kill()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Redis with sentinels
//!
//! Three servers and three sentinels. [`Servers::redis_sentinel`] is one that tests share.
//!
//! ```no_run
//! use kv_runtime::Settings;
//! use kv_runtime::testing::{RedisSentinel, servers};
//!
//! # fn main() -> Result<(), kv_runtime::testing::ServerError> {
//! let mut redis = RedisSentinel::start()?;
//! let mut settings = Settings::new("redis://localhost", servers().create_database());
//! settings.redis.sentinel_nodes = redis.urls();
//! settings.redis.sentinel_service = Some(redis.service().to_owned());
//! let primary = redis.primary()?;
//! redis.servers_mut()[primary].kill()?;
//! redis.await_other_primary(primary)?;
//! # Ok(())
//! # }
//! ```
//!
//! # The fault proxy
//!
//! It stands before a server, whose address is then the proxy's.
//!
//! ```no_run
//! use kv_runtime::Settings;
//! use kv_runtime::testing::{Proxy, servers};
//!
//! # async fn run() -> Result<(), kv_runtime::testing::ServerError> {
//! let proxy = Proxy::to(servers().redis_url()).await?;
//! let settings = Settings::new(proxy.url(), servers().create_database());
//! proxy.stall_answers(); // what is asked is done, and nobody hears of it
//! proxy.cut();
//! proxy.resume();
//! # let _ = settings;
//! # Ok(())
//! # }
//! ```
//!
//! # What becomes of them
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
