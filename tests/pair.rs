//! A pair of stores with tables of its own, for one test.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use kv_runtime::testing::{RedisCluster, RedisSentinel, servers};
use kv_runtime::{
    CheckMode, DrainStatus, Drainer, DrainerBuilder, Durability, Kv, KvModel, Repository, Settings,
    StorageScheme,
};
use tokio::sync::OnceCell;

use crate::models;

/// A pair of stores that no other test sees.
#[derive(Debug)]
pub struct Pair {
    /// The stores.
    pub kv: Kv,
    /// The database of the real pair.
    pub database_url: Option<String>,
    /// What the stores were opened with.
    pub settings: Settings,
    /// A drainer that is at work all the time, where writes wait for one.
    pub background: Option<Drainer>,
}

/// Which state the rows of a test are brought to before they are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// As they were written: in Redis alone.
    Write,
    /// In both.
    Drain,
    /// In PostgreSQL alone.
    Eviction,
}

impl After {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Write, Self::Drain, Self::Eviction];
}

impl Pair {
    /// Both sides in this process.
    pub async fn memory() -> Self {
        let settings = quick(Settings::in_memory());
        let kv = Kv::memory_with(settings.clone()).expect("valid settings");
        Self { kv, database_url: None, settings, background: None }
    }

    /// Real servers, with a database and a tenant of the test's own.
    pub async fn servers() -> Self {
        Self::open(Self::settings().await).await
    }

    /// The same with the Redis Cluster that the tests share.
    pub async fn cluster() -> Self {
        Self::on_cluster(servers().redis_cluster()).await
    }

    /// The same with a Redis Cluster of the test's own.
    pub async fn on_cluster(cluster: &RedisCluster) -> Self {
        let mut settings = Self::settings().await;
        settings.redis.cluster_nodes = cluster.urls();
        Self::open(settings).await
    }

    /// The same with the Redis that sentinels watch over and tests share.
    pub async fn sentinel() -> Self {
        Self::on_sentinel(servers().redis_sentinel()).await
    }

    /// The same with a Redis of the test's own that sentinels watch over.
    pub async fn on_sentinel(redis: &RedisSentinel) -> Self {
        let mut settings = Self::settings().await;
        settings.redis.sentinel_nodes = redis.urls();
        settings.redis.sentinel_service = Some(redis.service().to_owned());
        Self::open(settings).await
    }

    /// PostgreSQL alone, with a database of the test's own.
    pub async fn postgres_alone() -> Self {
        let mut settings = Self::settings().await;
        settings.redis.url = "".into();
        settings.scheme = StorageScheme::PostgresOnly;
        Self::open(settings).await
    }

    /// Settings for real servers, with a database, which has the tables, and a tenant of their own.
    async fn settings() -> Settings {
        static TENANTS: AtomicU64 = AtomicU64::new(0);
        let database_url = database_with_tables().await;
        let mut settings = quick(Settings::new(servers().redis_url(), database_url.as_str()));
        let number = TENANTS.fetch_add(1, Ordering::Relaxed);
        settings.tenant = Some(format!("t{}-{number}", std::process::id()));
        settings
    }

    /// What another process has, which is told of nothing; in memory there is none.
    pub async fn other_process(&self) -> Kv {
        match self.has_servers() {
            true => Kv::connect(self.settings.clone()).await.expect("the servers are up"),
            false => self.kv.clone(),
        }
    }

    /// A tenant of the pair, with tables of its own.
    pub async fn tenant(&self, name: &str) -> Self {
        let kv = self.kv.tenant(name).expect("a name that a schema can have");
        kv.migrate().await.expect("the pair's tables are there");
        if self.has_servers() {
            let mut connection = kv.connection().await.expect("the server is up");
            connection.batch_execute(models::TABLES).await.expect("an empty schema");
        }
        let (database_url, settings) = (self.database_url.clone(), self.settings.clone());
        Self { kv, database_url, settings, background: None }
    }

    /// Real servers, with these settings; makes the tables.
    pub async fn connect(settings: Settings) -> Self {
        let pair = Self::open(settings).await;
        pair.kv.migrate().await.expect("an empty database");
        pair.sql(models::TABLES).await;
        pair
    }

    /// The same where the tables are.
    async fn open(settings: Settings) -> Self {
        let url = settings.postgres.url.expose().to_owned();
        let kv = Kv::connect(settings.clone()).await.expect("the servers are up");
        Self { kv, database_url: Some(url), settings, background: None }
    }

    /// The same servers, database and tenant with other settings; in memory, an empty pair.
    pub async fn with(self, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.settings;
        change(&mut settings);
        let kv = match &self.database_url {
            None => Kv::memory_with(settings.clone()).expect("valid settings"),
            Some(_) => Kv::connect(settings.clone()).await.expect("the servers are up"),
        };
        Self { kv, database_url: self.database_url, settings, background: None }
    }

    /// The same with writes that are acknowledged when a replica has them too, and that are told soon
    /// when it has not.
    pub async fn replicated(self) -> Self {
        self.with(|settings| {
            let timeout = Duration::from_secs(1);
            settings.durability = Durability::Replicated { replicas: 1, timeout };
            settings.redis.command_timeout = Duration::from_millis(500);
            // The audit's trigger is no column of a model's.
            settings.checks.schema = CheckMode::Warn;
        })
        .await
    }

    /// The same with another storage scheme, and what that needs.
    pub async fn under(self, scheme: StorageScheme) -> Self {
        let mut pair = self.with(|settings| settings.scheme = scheme).await;
        if scheme == StorageScheme::WriteThrough {
            pair.background = Some(pair.spawn_drainer());
        }
        pair
    }

    /// Whether there are servers to look at.
    pub fn has_servers(&self) -> bool {
        self.database_url.is_some()
    }

    /// Runs SQL on the real pair's database; the in-memory pair has no tables to make.
    pub async fn sql(&self, sql: &str) {
        if let Some(url) = &self.database_url {
            let mut connection = AsyncPgConnection::establish(url).await.expect("the server is up");
            connection.batch_execute(sql).await.expect("valid SQL");
        }
    }

    /// Brings rows that were written to a state.
    pub async fn bring<M: KvModel>(&self, rows: &Repository<M>, ids: &[M::Id], after: After) {
        if after != After::Write {
            assert_eq!(self.drain().await.dead_letters, 0);
        }
        if after == After::Eviction {
            for id in ids {
                rows.invalidate(id).await.expect("a clean row");
            }
        }
    }

    /// A drainer of all models of the tests.
    pub fn drainer(&self) -> DrainerBuilder {
        self.kv
            .drainer()
            .model::<models::Booking>()
            .model::<models::Flight>()
            .model::<models::Seat>()
            .model::<models::Member>()
            .model::<models::Counter>()
            .model::<models::Account>()
            .model::<models::Place>()
            .model::<models::Everything>()
            .model::<models::Wide>()
    }

    /// Spawns that drainer.
    pub fn spawn_drainer(&self) -> Drainer {
        self.drainer().spawn()
    }

    /// Drains everything that was written.
    pub async fn drain(&self) -> DrainStatus {
        match &self.background {
            Some(drainer) => {
                drainer.flush().await.expect("everything can be drained");
                drainer.status().await.expect("Redis is up")
            }
            None => self.spawn_drainer().shutdown().await.expect("everything can be drained"),
        }
    }
}

/// A database with the tables of the runtime and of all models: a copy of one that is made once.
async fn database_with_tables() -> String {
    static TEMPLATE: OnceCell<String> = OnceCell::const_new();
    static COPIES: AtomicU64 = AtomicU64::new(0);
    let template = TEMPLATE.get_or_init(make_template).await;
    let end = template.find('?').unwrap_or(template.len());
    let (server, name) = template[..end].rsplit_once('/').expect("the URL of a database");
    let copy = format!("{name}_{}", COPIES.fetch_add(1, Ordering::Relaxed));
    let sql = format!("CREATE DATABASE {copy} TEMPLATE {name}");
    let url = servers().postgres_url();
    let mut connection = AsyncPgConnection::establish(url).await.expect("the server is up");
    // Its files, instead of block by block through the log; before PostgreSQL 15 there is no choice.
    if connection.batch_execute(&format!("{sql} STRATEGY FILE_COPY")).await.is_err() {
        connection.batch_execute(&sql).await.expect("nobody uses the template");
    }
    format!("{server}/{copy}{}", &template[end..])
}

async fn make_template() -> String {
    let url = servers().create_database();
    // Its connections end with it; who copies the database waits until they have.
    drop(Pair::connect(Settings::postgres_only(url.as_str())).await);
    url
}

/// Settings that do not keep a test waiting, and give a busy machine the time that it takes.
fn quick(mut settings: Settings) -> Settings {
    settings.postgres.checkout_timeout = Duration::from_secs(30);
    settings.drain.interval = Duration::from_millis(5);
    settings.drain.backoff_max = Duration::from_millis(500);
    settings.drain.lease = Duration::from_secs(3);
    settings.partitions = 8;
    settings
}

/// Makes a test of each function, over each pair: `contract!(create, delete);`.
///
/// `contract!(under each scheme: create);` makes one for each storage scheme as well,
/// `contract!(under direct schemes: create);` for those without a queue, and
/// `contract!(in parallel: reads, writes);` gives the tasks of a test threads to run on.
#[macro_export]
macro_rules! contract {
    (in parallel: $($test:ident),* $(,)?) => {
        $crate::contract!(@ #[tokio::test(flavor = "multi_thread", worker_threads = 2)] $($test)*);
    };
    (on servers: $($test:ident),* $(,)?) => {
        $crate::contract!(
            @on_servers #[tokio::test(flavor = "multi_thread", worker_threads = 2)] $($test)*
        );
    };
    (@ #[$attribute:meta] $($test:ident)*) => {
        mod memory {
            $crate::contract!(@ memory #[$attribute] $($test)*);
        }

        $crate::contract!(@on_servers #[$attribute] $($test)*);
    };
    (@on_servers #[$attribute:meta] $($test:ident)*) => {
        mod servers {
            $crate::contract!(@ servers #[$attribute] $($test)*);
        }

        mod cluster {
            $crate::contract!(@ cluster #[$attribute] $($test)*);
        }
    };
    (@ $pair:ident #[$attribute:meta] $($test:ident)*) => {
        $(
            #[$attribute]
            async fn $test() {
                super::$test($crate::pair::Pair::$pair().await).await;
            }
        )*
    };
    (under each scheme: $($test:ident),* $(,)?) => {
        $crate::contract!(@ #[tokio::test] $($test)*);
        $crate::contract!(@scheme write_through WriteThrough $($test)*);
        $crate::contract!(@scheme cache_aside CacheAside $($test)*);
        $crate::contract!(@scheme redis_only RedisOnly $($test)*);
        $crate::contract!(@postgres_only $($test)*);
    };
    (under direct schemes: $($test:ident),* $(,)?) => {
        $crate::contract!(@ #[tokio::test] $($test)*);
        $crate::contract!(@scheme cache_aside CacheAside $($test)*);
        $crate::contract!(@postgres_only $($test)*);
    };
    // On the servers' side without a Redis.
    (@postgres_only $($test:ident)*) => {
        mod postgres_only {
            $crate::contract!(@of memory PostgresOnly $($test)*);

            mod servers {
                $(
                    #[tokio::test]
                    async fn $test() {
                        let pair = $crate::pair::Pair::postgres_alone().await;
                        super::super::$test(pair).await;
                    }
                )*
            }
        }
    };
    (@scheme $module:ident $scheme:ident $($test:ident)*) => {
        mod $module {
            $crate::contract!(@of memory $scheme $($test)*);
            $crate::contract!(@of servers $scheme $($test)*);
        }
    };
    (@of $pair:ident $scheme:ident $($test:ident)*) => {
        mod $pair {
            $(
                #[tokio::test]
                async fn $test() {
                    let pair = $crate::pair::Pair::$pair().await;
                    let pair = pair.under(kv_runtime::StorageScheme::$scheme).await;
                    super::super::$test(pair).await;
                }
            )*
        }
    };
    ($($test:ident),* $(,)?) => {
        $crate::contract!(@ #[tokio::test] $($test)*);
    };
}
