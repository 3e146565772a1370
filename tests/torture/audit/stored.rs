//! What the servers have, as `redis-cli` and `psql` would show it.

use std::collections::BTreeMap;
use std::fmt;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Integer, Nullable, Text};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use kv_tests::outside;
use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisError};

use crate::Failure;
use crate::change::Row;
use crate::models;

/// A partition of a queue.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Partition {
    pub(super) queue: String,
    pub(super) number: i32,
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{{{}}}", self.queue, self.number)
    }
}

impl Partition {
    /// The partition of a key that ends in its tag: a number, and letters.
    pub(super) fn of_key(key: &str) -> Option<Self> {
        let (queue, tag) = key.strip_suffix('}')?.split_once('{')?;
        let letters_at = tag.find(|c: char| !c.is_ascii_digit()).unwrap_or(tag.len());
        let queue = queue.split('.').next()?.to_owned();
        Some(Self { queue, number: tag[..letters_at].parse().ok()? })
    }
}

/// How far a partition is committed.
#[derive(Debug, Clone, QueryableByName)]
pub(super) struct Offset {
    #[diesel(sql_type = Text)]
    queue: String,
    #[diesel(sql_type = Integer)]
    partition: i32,
    #[diesel(sql_type = Text)]
    pub(super) position: String,
    #[diesel(sql_type = BigInt)]
    pub(super) held: i64,
}

/// An entry that PostgreSQL refused, or that queues behind one.
#[derive(Debug, Clone, QueryableByName)]
pub(super) struct Letter {
    #[diesel(sql_type = Text)]
    queue: String,
    #[diesel(sql_type = Integer)]
    partition: i32,
    #[diesel(sql_type = Text)]
    pub(super) entry: String,
    #[diesel(sql_type = Text)]
    change: String,
    #[diesel(sql_type = Text)]
    pub(super) values: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) sqlstate: Option<String>,
    #[diesel(sql_type = Text)]
    message: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub(super) behind: Option<String>,
}

impl Letter {
    pub(super) fn partition(&self) -> Partition {
        Partition { queue: self.queue.clone(), number: self.partition }
    }

    pub(super) fn operation(&self) -> &str {
        self.change.split(' ').next().unwrap_or_default()
    }

    /// The key of its row, without tag.
    fn key(&self) -> String {
        let mut words = self.change.split(' ').skip(1);
        let mut word = || words.next().unwrap_or_default();
        format!("{}:{}", word(), word())
    }
}

#[derive(QueryableByName)]
struct Pair {
    #[diesel(sql_type = Text)]
    key: String,
    #[diesel(sql_type = Text)]
    value: String,
}

/// What PostgreSQL has.
pub(super) struct Durable(AsyncPgConnection);

impl Durable {
    pub(super) async fn of(url: &str) -> Result<Self, Failure> {
        Ok(Self(AsyncPgConnection::establish(url).await?))
    }

    /// What a query answers in its columns `key` and `value`.
    pub(super) async fn pairs(&mut self, sql: &str) -> Result<Vec<(String, String)>, Failure> {
        let pairs: Vec<Pair> = diesel::sql_query(sql).load(&mut self.0).await?;
        Ok(pairs.into_iter().map(|pair| (pair.key, pair.value)).collect())
    }

    /// The rows of all models, by key.
    pub(super) async fn rows(&mut self) -> Result<BTreeMap<String, Row>, Failure> {
        let mut rows = BTreeMap::new();
        for (key, json) in self.pairs(models::ROWS).await? {
            let values: BTreeMap<String, serde_json::Value> = serde_json::from_str(&json)?;
            let texts = values.into_iter().filter_map(|(column, value)| match value {
                serde_json::Value::Null => None,
                serde_json::Value::String(text) => Some((column, text)),
                other => Some((column, other.to_string())),
            });
            rows.insert(key, texts.collect());
        }
        Ok(rows)
    }

    pub(super) async fn offsets(&mut self) -> Result<BTreeMap<Partition, Offset>, Failure> {
        let sql = "SELECT queue, partition, position, held FROM kv_offsets";
        let offsets: Vec<Offset> = diesel::sql_query(sql).load(&mut self.0).await?;
        let keyed = offsets.into_iter().map(|offset| {
            (Partition { queue: offset.queue.clone(), number: offset.partition }, offset)
        });
        Ok(keyed.collect())
    }

    /// The letters of each row, in the order of their entries.
    pub(super) async fn letters(&mut self) -> Result<BTreeMap<String, Vec<Letter>>, Failure> {
        // TEMPORARY until the table is there.
        if self
            .pairs("SELECT '' AS key, '' AS value WHERE to_regclass('kv_dead_letters') IS NOT NULL")
            .await?
            .is_empty()
        {
            return Ok(BTreeMap::new());
        }
        let sql = "SELECT queue, partition, entry, convert_from(change, 'UTF8') AS change,
                       convert_from(\"values\", 'UTF8') AS \"values\", sqlstate, message, behind
                   FROM kv_dead_letters
                   ORDER BY split_part(entry, '-', 1)::bigint, split_part(entry, '-', 2)::bigint";
        let letters: Vec<Letter> = diesel::sql_query(sql).load(&mut self.0).await?;
        let mut by_key: BTreeMap<String, Vec<Letter>> = BTreeMap::new();
        for letter in letters {
            by_key.entry(letter.key()).or_default().push(letter);
        }
        Ok(by_key)
    }
}

/// What Redis has.
pub(super) struct Hot(MultiplexedConnection);

/// A queue's stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) partition: Partition,
    pub(super) newest: Option<String>,
}

impl Hot {
    pub(super) async fn of(url: &str) -> Self {
        Self(outside::connect(url).await)
    }

    pub(super) async fn ask<T: FromRedisValue>(&mut self, words: &[&str]) -> Result<T, RedisError> {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query_async(&mut self.0).await
    }

    /// All keys, with their types.
    pub(super) async fn keys(&mut self) -> Result<BTreeMap<String, String>, RedisError> {
        let mut keys = BTreeMap::new();
        let mut cursor = "0".to_owned();
        loop {
            let (next, found): (String, Vec<String>) =
                self.ask(&["SCAN", &cursor, "COUNT", "1000"]).await?;
            for key in found {
                let key_type: String = self.ask(&["TYPE", &key]).await?;
                // What has expired meanwhile has none.
                if key_type != "none" {
                    keys.insert(key, key_type);
                }
            }
            if next == "0" {
                return Ok(keys);
            }
            cursor = next;
        }
    }

    pub(super) async fn streams(&mut self) -> Result<Vec<Stream>, RedisError> {
        let mut streams = Vec::new();
        for (key, key_type) in self.keys().await? {
            if key_type == "stream"
                && let Some(partition) = Partition::of_key(&key)
            {
                let newest = self.newest(&key).await?;
                streams.push(Stream { partition, newest });
            }
        }
        Ok(streams)
    }

    /// The id of a stream's last entry.
    pub(super) async fn newest(&mut self, stream: &str) -> Result<Option<String>, RedisError> {
        let last: Vec<(String, Vec<(String, String)>)> =
            self.ask(&["XREVRANGE", stream, "+", "-", "COUNT", "1"]).await?;
        Ok(last.into_iter().map(|(entry, _)| entry).next())
    }
}
