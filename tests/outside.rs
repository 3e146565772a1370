//! A look at the servers from outside, as `redis-cli` and `psql` would have it.

use std::collections::BTreeMap;

use diesel::QueryableByName;
use diesel::sql_types::{Nullable, Text};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use kv_runtime::testing::servers;
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisError};

use crate::pair::Pair;

/// What a tenant has in Redis.
#[derive(Debug, Clone)]
pub struct RedisView {
    connection: MultiplexedConnection,
    tenant: String,
}

impl RedisView {
    /// A connection of its own to the pair's server.
    pub async fn of(pair: &Pair) -> Self {
        Self::of_url(pair, pair.settings.redis.url.expose()).await
    }

    /// What the pair's tenant has on another server.
    pub async fn of_url(pair: &Pair, url: &str) -> Self {
        let tenant = pair.settings.tenant.clone().expect("real pairs have a tenant");
        Self { connection: connect(url).await, tenant }
    }

    /// The answer to a command, or what the server said against it.
    pub async fn try_ask<T: FromRedisValue>(&self, words: &[&str]) -> Result<T, RedisError> {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query_async(&mut self.connection.clone()).await
    }

    /// The answer to a command.
    pub async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let answer = self.try_ask(words).await;
        answer.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// How long a key has to live in milliseconds; -1 where nothing ends it, -2 where it is not.
    pub async fn ttl_ms(&self, key: &str) -> i64 {
        self.ask(&["PTTL", key]).await
    }

    /// The keys of the tenant's rows, tombstones and tokens.
    pub async fn row_keys(&self) -> Vec<String> {
        let mut keys = self.keys("hash").await;
        keys.retain(|key| !key.contains(".state"));
        keys
    }

    /// The streams of the tenant's queues.
    pub async fn streams(&self) -> Vec<String> {
        self.keys("stream").await
    }

    /// How many entries are on the tenant's queues, drained or not.
    pub async fn entries(&self) -> usize {
        let mut entries = 0;
        for stream in self.streams().await {
            entries += self.ask::<usize>(&["XLEN", &stream]).await;
        }
        entries
    }

    /// How many entries the tenant's queues hold beside those that are told to be drained.
    pub async fn undrained(&self) -> i64 {
        let mut undrained = 0;
        for stream in self.streams().await {
            let (queue, tag) = stream.split_at(stream.find('{').unwrap_or(stream.len()));
            let state = format!("{queue}.state{tag}");
            let retained: Option<i64> = self.ask(&["HGET", &state, "retained"]).await;
            let length: i64 = self.ask(&["XLEN", &stream]).await;
            undrained += length - retained.unwrap_or(0);
        }
        undrained
    }

    /// Removes everything of the tenant.
    pub async fn empty(&self) {
        for key in self.all_keys().await {
            self.ask::<i64>(&["DEL", &key]).await;
        }
    }

    /// Everything of the tenant: keys with their contents and times to live.
    pub async fn snapshot(&self) -> Vec<(String, Vec<u8>, i64)> {
        let mut snapshot = Vec::new();
        for key in self.all_keys().await {
            // A lease may end between the commands.
            if let Some(content) = self.ask::<Option<Vec<u8>>>(&["DUMP", &key]).await {
                let ttl_ms = self.ttl_ms(&key).await;
                snapshot.push((key, content, ttl_ms));
            }
        }
        snapshot
    }

    /// Puts a snapshot in the place of everything of the tenant, at once.
    pub async fn restore(&self, snapshot: &[(String, Vec<u8>, i64)]) {
        let mut pipeline = redis::pipe();
        pipeline.atomic();
        for key in self.all_keys().await {
            pipeline.del(key).ignore();
        }
        for (key, content, ttl_ms) in snapshot {
            pipeline.cmd("RESTORE").arg(key).arg((*ttl_ms).max(0)).arg(content).ignore();
        }
        let restored: Result<(), RedisError> =
            pipeline.query_async(&mut self.connection.clone()).await;
        restored.expect("the snapshot fits");
    }

    async fn all_keys(&self) -> Vec<String> {
        // Test servers are small, and a scan could see a key twice.
        self.ask(&["KEYS", &format!("{}/*", self.tenant)]).await
    }

    /// How many leases each drainer has of the tenant's partitions, by its token.
    pub async fn leases(&self) -> BTreeMap<String, usize> {
        let keys: Vec<String> = self.ask(&["KEYS", &format!("{}/*.lease*", self.tenant)]).await;
        let mut leases = BTreeMap::new();
        for key in keys {
            // It may have ended since.
            if let Some(owner) = self.ask::<Option<String>>(&["GET", &key]).await {
                *leases.entry(owner).or_default() += 1;
            }
        }
        leases
    }

    /// The tenant's keys of one type of Redis.
    pub async fn keys(&self, of_type: &str) -> Vec<String> {
        let keys = self.all_keys().await;
        let mut chosen = Vec::new();
        for key in keys {
            if self.ask::<String>(&["TYPE", &key]).await == of_type {
                chosen.push(key);
            }
        }
        chosen.sort();
        chosen
    }
}

/// A connection to a Redis server.
pub async fn connect(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).expect("a valid address");
    client.get_multiplexed_async_connection().await.expect("the server is up")
}

/// The slot of a cluster that a key lies in.
pub fn slot_of(key: &str) -> u16 {
    let answer = servers().redis_cluster().nodes()[0].ask(&format!("CLUSTER KEYSLOT {key}"));
    answer.expect("the server is up").parse().expect("a number")
}

/// The stream of a queue that lies in the same partition as a row.
pub fn stream_beside(row_key: &str, queue: &str) -> String {
    let (tenant, rest) = row_key.split_once('/').expect("the key of a tenant");
    let tag = rest.find('{').map_or("", |at| &rest[at..]);
    format!("{tenant}/{queue}{tag}")
}

#[derive(QueryableByName)]
struct TextRow {
    #[diesel(sql_type = Nullable<Text>)]
    value: Option<String>,
}

impl Pair {
    /// The texts that a query on the real pair's database answers in its column `value`.
    pub async fn texts(&self, sql: &str) -> Vec<Option<String>> {
        let url = self.database_url.as_deref().expect("a pair of servers");
        let mut connection = AsyncPgConnection::establish(url).await.expect("the server is up");
        let rows: Vec<TextRow> =
            diesel::sql_query(sql).load(&mut connection).await.expect("valid SQL");
        rows.into_iter().map(|row| row.value).collect()
    }
}
