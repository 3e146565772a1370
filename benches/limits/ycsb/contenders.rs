//! Who runs the workloads.

use bb8::Pool;
use diesel::sql_types::{Array, BigInt, Text};
use diesel_async::pooled_connection::AsyncDieselConnectionManager;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use kv_runtime::Kv;
use kv_runtime::{Drainer, Repository, Settings};
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use super::Record;
use crate::{Bench, Outcome, by_hand};

const TABLE: &str = "CREATE TABLE usertable (key text PRIMARY KEY, field0 text NOT NULL, \
    field1 text NOT NULL, field2 text NOT NULL, field3 text NOT NULL, field4 text NOT NULL, \
    field5 text NOT NULL, field6 text NOT NULL, field7 text NOT NULL, field8 text NOT NULL, \
    field9 text NOT NULL)";

/// What the workloads ask of a store.
pub(crate) trait Store {
    async fn load(&self, records: &[Record]) -> Outcome<()>;
    async fn read(&self, key: &str) -> Outcome<Option<Record>>;
    async fn insert(&self, record: &Record) -> Outcome<()>;
    /// Sets the first field.
    async fn update(&self, key: &str, field: String) -> Outcome<()>;
    /// Reads records from a key on, in order.
    async fn scan(&self, from: &str, count: u64) -> Outcome<()>;
}

/// A hash and an entry a write, and a sorted set of the keys for scans.
pub(crate) struct ByHand {
    connection: MultiplexedConnection,
}

impl ByHand {
    pub(crate) async fn connect(bench: &Bench) -> Outcome<Self> {
        Ok(Self { connection: by_hand::connection(bench).await? })
    }
}

fn fields(record: &Record) -> [(&'static str, &str); 11] {
    [
        ("key", &record.key),
        ("field0", &record.field0),
        ("field1", &record.field1),
        ("field2", &record.field2),
        ("field3", &record.field3),
        ("field4", &record.field4),
        ("field5", &record.field5),
        ("field6", &record.field6),
        ("field7", &record.field7),
        ("field8", &record.field8),
        ("field9", &record.field9),
    ]
}

fn record(fields: Vec<(String, String)>) -> Option<Record> {
    let mut fields: std::collections::HashMap<String, String> = fields.into_iter().collect();
    let mut take = |name: &str| fields.remove(name);
    Some(Record {
        key: take("key")?,
        field0: take("field0")?,
        field1: take("field1")?,
        field2: take("field2")?,
        field3: take("field3")?,
        field4: take("field4")?,
        field5: take("field5")?,
        field6: take("field6")?,
        field7: take("field7")?,
        field8: take("field8")?,
        field9: take("field9")?,
    })
}

fn hash(key: &str) -> String {
    format!("ycsb:{key}")
}

impl Store for ByHand {
    async fn load(&self, records: &[Record]) -> Outcome<()> {
        for record in records {
            self.insert(record).await?;
        }
        Ok(())
    }

    async fn read(&self, key: &str) -> Outcome<Option<Record>> {
        Ok(record(self.connection.clone().hgetall(hash(key)).await?))
    }

    async fn insert(&self, record: &Record) -> Outcome<()> {
        let fields = fields(record);
        let mut transaction = redis::pipe();
        transaction.atomic();
        transaction.hset_multiple(hash(&record.key), &fields).ignore();
        transaction.zadd("ycsb.keys", &record.key, 0).ignore();
        transaction.cmd("XADD").arg("ycsb_queue").arg("*").arg(&fields).ignore();
        Ok(transaction.exec_async(&mut self.connection.clone()).await?)
    }

    async fn update(&self, key: &str, field: String) -> Outcome<()> {
        let mut transaction = redis::pipe();
        transaction.atomic();
        transaction.hset(hash(key), "field0", &field).ignore();
        let entry = ["ycsb_queue", "*", "key", key, "field0", &field];
        transaction.cmd("XADD").arg(&entry).ignore();
        Ok(transaction.exec_async(&mut self.connection.clone()).await?)
    }

    async fn scan(&self, from: &str, count: u64) -> Outcome<()> {
        let mut connection = self.connection.clone();
        let range = format!("[{from}");
        let count = isize::try_from(count)?;
        let keys: Vec<String> =
            connection.zrangebylex_limit("ycsb.keys", range, "+", 0, count).await?;
        let mut pipeline = redis::pipe();
        for key in &keys {
            pipeline.hgetall(hash(key));
        }
        let rows: Vec<Vec<(String, String)>> = pipeline.query_async(&mut connection).await?;
        assert!(rows.into_iter().map(record).all(|record| record.is_some()));
        Ok(())
    }
}

/// PostgreSQL alone.
pub(crate) struct Diesel {
    pool: Pool<AsyncDieselConnectionManager<AsyncPgConnection>>,
}

impl Diesel {
    pub(crate) async fn connect(bench: &Bench) -> Outcome<Self> {
        let url = bench.postgres.create_database(&format!("ycsb_{}", bench.round))?;
        let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(url);
        let pool = Pool::builder().max_size(32).min_idle(32).build(manager).await?;
        pool.get().await?.batch_execute(TABLE).await?;
        Ok(Self { pool })
    }
}

impl Store for Diesel {
    async fn load(&self, records: &[Record]) -> Outcome<()> {
        let column = |of: fn(&Record) -> &String| records.iter().map(of).collect::<Vec<_>>();
        diesel::sql_query(
            "INSERT INTO usertable SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind::<Array<Text>, _>(column(|record| &record.key))
        .bind::<Array<Text>, _>(column(|record| &record.field0))
        .bind::<Array<Text>, _>(column(|record| &record.field1))
        .bind::<Array<Text>, _>(column(|record| &record.field2))
        .bind::<Array<Text>, _>(column(|record| &record.field3))
        .bind::<Array<Text>, _>(column(|record| &record.field4))
        .bind::<Array<Text>, _>(column(|record| &record.field5))
        .bind::<Array<Text>, _>(column(|record| &record.field6))
        .bind::<Array<Text>, _>(column(|record| &record.field7))
        .bind::<Array<Text>, _>(column(|record| &record.field8))
        .bind::<Array<Text>, _>(column(|record| &record.field9))
        .execute(&mut self.pool.get().await?)
        .await?;
        Ok(())
    }

    async fn read(&self, key: &str) -> Outcome<Option<Record>> {
        let query = diesel::sql_query("SELECT * FROM usertable WHERE key = $1");
        let rows: Vec<Record> =
            query.bind::<Text, _>(key).load(&mut self.pool.get().await?).await?;
        Ok(rows.into_iter().next())
    }

    async fn insert(&self, record: &Record) -> Outcome<()> {
        Store::load(self, std::slice::from_ref(record)).await
    }

    async fn update(&self, key: &str, field: String) -> Outcome<()> {
        diesel::sql_query("UPDATE usertable SET field0 = $2 WHERE key = $1")
            .bind::<Text, _>(key)
            .bind::<Text, _>(field)
            .execute(&mut self.pool.get().await?)
            .await?;
        Ok(())
    }

    async fn scan(&self, from: &str, count: u64) -> Outcome<()> {
        let query =
            diesel::sql_query("SELECT * FROM usertable WHERE key >= $1 ORDER BY key LIMIT $2");
        let query = query.bind::<Text, _>(from).bind::<BigInt, _>(i64::try_from(count)?);
        let _: Vec<Record> = query.load(&mut self.pool.get().await?).await?;
        Ok(())
    }
}

/// With its drainer beside it.
pub(crate) struct Framework {
    repository: Repository<Record>,
    drainer: Drainer,
}

impl Framework {
    pub(crate) async fn connect(bench: &Bench) -> Outcome<Self> {
        let url = bench.postgres.create_database(&format!("kv_ycsb_{}", bench.round))?;
        let mut settings = Settings::new(bench.redis.url(), url.as_str());
        settings.redis.connections = 1;
        settings.tenant = Some(format!("ycsb-{}", bench.round));
        let kv = Kv::connect(settings).await?;
        kv.migrate().await?;
        kv.connection().await?.batch_execute(TABLE).await?;
        Ok(Self { repository: kv.repository(), drainer: kv.drainer().model::<Record>().spawn() })
    }

    pub(crate) async fn shutdown(self) -> Outcome<()> {
        let status = self.drainer.shutdown().await?;
        assert_eq!(status.dead_letters, 0, "nothing is refused");
        Ok(())
    }
}

impl Store for Framework {
    async fn load(&self, records: &[Record]) -> Outcome<()> {
        for chunk in records.chunks(500) {
            for result in self.repository.create_many(chunk).await {
                let _ = result?;
            }
        }
        Ok(self.drainer.flush().await?)
    }

    async fn read(&self, key: &str) -> Outcome<Option<Record>> {
        Ok(self.repository.find_by_id(&key.to_owned()).await?)
    }

    async fn insert(&self, record: &Record) -> Outcome<()> {
        // As the others do: without asking whether it is there.
        let _ = self.repository.upsert(record).await?;
        Ok(())
    }

    async fn update(&self, key: &str, field: String) -> Outcome<()> {
        let _ = self.repository.update(&key.to_owned(), Record::patch().field0(field)).await?;
        Ok(())
    }

    async fn scan(&self, from: &str, count: u64) -> Outcome<()> {
        let query = self.repository.query().filter(|it| it.key.ge(from.to_owned()));
        query.order_by(|it| it.key.asc()).limit(count).load().await?;
        Ok(())
    }
}
