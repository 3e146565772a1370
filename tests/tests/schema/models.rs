//! Models with all that a table can have.

use diesel::sql_types::Text;
use diesel::{QueryableByName, sql_query};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use kv_runtime::{KvModel, KvValue, Settings};
use kv_tests::pair::Pair;
use uuid::Uuid;

/// What others refer to, with an id of two parts, in a schema of its own.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "fleet.shops", partition_by = merchant_id)]
pub(crate) struct Shop {
    #[kv(id)]
    pub(crate) merchant_id: i64,
    #[kv(id)]
    pub(crate) id: i64,
    #[kv(unique)]
    pub(crate) name: String,
    #[kv(index)]
    pub(crate) code: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, KvValue)]
#[kv(pg_type = "ride state")]
pub(crate) enum State {
    New,
    #[kv(rename = "it's on")]
    On,
    Over,
}

/// A model that has one of everything.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "rides", check = "fare >= 0", check = "seats between 1 and 9 and note <> 'no'")]
#[kv(unique(merchant_id, number), unique(driver_id, when = "state = 'it''s on'"))]
#[kv(index(state, when = "state <> 'over'"), index(merchant_id, fare))]
#[kv(references(merchant_id, shop_id, to = "fleet.shops(merchant_id, id)"))]
pub(crate) struct Ride {
    #[kv(id)]
    pub(crate) id: Uuid,
    pub(crate) merchant_id: i64,
    pub(crate) shop_id: Option<i64>,
    pub(crate) number: i32,
    #[kv(unique)]
    pub(crate) reference: String,
    pub(crate) driver_id: Option<Uuid>,
    #[kv(index, references = "rides(id)")]
    pub(crate) before: Option<Uuid>,
    pub(crate) state: State,
    pub(crate) states: Vec<State>,
    pub(crate) fare: i64,
    pub(crate) seats: i16,
    pub(crate) note: Option<String>,
}

/// A database with the runtime's own tables and the schema `fleet`, and no table of a model.
pub(crate) async fn empty() -> Pair {
    let pair = without_tables().await;
    pair.kv.migrate().await.expect("an empty database");
    pair
}

/// The same without any table.
pub(crate) async fn without_tables() -> Pair {
    let database_url = kv_runtime::testing::servers().create_database();
    let redis_url = kv_runtime::testing::servers().redis_url();
    let mut settings = Settings::new(redis_url, database_url.as_str());
    settings.tenant = Some(format!("schema-{:016x}", fastrand::u64(..)));
    settings.drain.interval = std::time::Duration::from_millis(5);
    let kv = kv_runtime::Kv::connect(settings.clone()).await.expect("the servers are up");
    let pair = Pair { kv, database_url: Some(database_url), settings, background: None };
    pair.sql("CREATE SCHEMA fleet").await;
    pair
}

/// Runs SQL in one transaction, as the Diesel CLI does with a migration.
pub(crate) async fn migrate(pair: &Pair, sql: &str) {
    pair.sql(&format!("BEGIN; {sql}; COMMIT")).await;
}

/// What PostgreSQL says to some SQL, if it refuses it.
pub(crate) async fn refusal(pair: &Pair, sql: &str) -> Option<String> {
    let mut connection = connect(pair).await;
    connection.batch_execute(sql).await.err().map(|error| error.to_string())
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = Text)]
    line: String,
}

/// The answers of a query with one column, `line`.
pub(crate) async fn lines(pair: &Pair, sql: &str) -> Vec<String> {
    let rows: Vec<Line> = sql_query(sql).load(&mut connect(pair).await).await.expect("an answer");
    rows.into_iter().map(|row| row.line).collect()
}

async fn connect(pair: &Pair) -> AsyncPgConnection {
    let url = pair.database_url.as_deref().expect("a real pair");
    AsyncPgConnection::establish(url).await.expect("the server is up")
}
