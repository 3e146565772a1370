//! Pairs of servers that each belong to one test.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use diesel::result::Error as DieselError;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use kv_runtime::schema::Schema;
use kv_runtime::testing::{RedisServer, servers};
use kv_runtime::{CheckMode, DeadLetterFilter, Kv, PoolError, Settings, StorageScheme};
use kv_tests::models::{self, Account, Counter};
use tokio::runtime::Runtime;

use super::ask;

/// What nothing here should take, on the slowest machine.
const LONG: Duration = Duration::from_secs(60);

/// How long it takes to write a few rows and drain them at the most. Who waits for the only
/// connection while having it waits for longer.
const DRAINED: Duration = Duration::from_secs(5);

/// A database that has the models' tables, and no others.
async fn database() -> Settings {
    let url = servers().create_database();
    outside(&url).await.batch_execute(models::TABLES).await.expect("an empty database");
    settings(servers().redis_url(), &url)
}

fn settings(redis_url: &str, database_url: &str) -> Settings {
    let mut settings = Settings::new(redis_url, database_url);
    settings.drain.interval = Duration::from_millis(5);
    settings.partitions = 8;
    settings
}

/// A connection that is not the test's.
async fn outside(url: &str) -> AsyncPgConnection {
    AsyncPgConnection::establish(url).await.expect("the server is up")
}

async fn kv(settings: &Settings) -> Kv {
    Kv::test(settings.clone()).await.expect("the servers are up")
}

fn counter(id: i64) -> Counter {
    Counter { id, total: id * 10, r#type: String::new() }
}

/// Drains all that is queued, which has to come to an end.
async fn drain(kv: &Kv) {
    let drainer = kv.drainer().model::<Counter>().model::<Account>().spawn();
    let drained = tokio::time::timeout(DRAINED, drainer.shutdown()).await;
    drained.expect("no deadlock").expect("all is drained");
}

async fn count(connection: &mut AsyncPgConnection) -> String {
    ask(connection, "SELECT count(*)::text AS value FROM counters").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_transaction_begins_once_whoever_comes_first() {
    let mut settings = database().await;
    // It would be the first to come.
    settings.checks.postgres_version = CheckMode::Off;
    settings.postgres.checkout_timeout = LONG;
    let kv = kv(&settings).await;
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let kv = kv.clone();
            tokio::spawn(async move {
                let mut connection = kv.connection().await.expect("a turn");
                let transaction = "SELECT concat(pg_backend_pid(), ' ', txid_current()) AS value";
                ask(&mut connection, transaction).await
            })
        })
        .collect();
    let mut transactions = BTreeSet::new();
    for task in tasks {
        transactions.insert(task.await.expect("no panic"));
    }
    assert_eq!(transactions.len(), 1, "{transactions:?}");
}

#[tokio::test]
async fn a_test_has_one_connection() {
    let mut settings = database().await;
    settings.postgres.checkout_timeout = Duration::from_secs(1);
    let kv = kv(&settings).await;
    let connection = kv.connection().await.expect("the only one");
    let error = kv.connection().await.expect_err("no second one");
    assert!(matches!(error, PoolError::Timeout(_)), "{error}");
    drop(connection);
    let _again = kv.connection().await.expect("the only one");
}

#[tokio::test]
async fn what_is_written_is_drained_over_the_same_connection() {
    let settings = database().await;
    let kv = kv(&settings).await;
    kv.migrate().await.expect("nothing is missing");
    let counters = kv.repository::<Counter>();
    for id in 1..=100 {
        let _ = counters.create(&counter(id)).await.expect("a new row");
    }
    drain(&kv).await;
    assert_eq!(kv.durable_rows::<Counter>().await.expect("rows").len(), 100);
    counters.invalidate(&7).await.expect("a clean row");
    assert_eq!(counters.find_by_id(&7).await.expect("an answer"), Some(counter(7)));
    let _ = counters.update(&7, Counter::patch().total(1)).await.expect("a row");
    assert_eq!(counters.query().count().await.expect("an answer"), 100);
    drain(&kv).await;
    assert_eq!(
        counters.query().stored().sum(|c| c.total).await.expect("an answer").value,
        Some(50_431.into())
    );
}

#[tokio::test]
async fn each_scheme_works_over_the_only_connection() {
    for scheme in [
        StorageScheme::WriteThrough,
        StorageScheme::CacheAside,
        StorageScheme::RedisOnly,
        StorageScheme::PostgresOnly,
    ] {
        let mut settings = database().await;
        settings.scheme = scheme;
        let kv = kv(&settings).await;
        let drainer = kv.drainer().model::<Counter>().spawn();
        let counters = kv.repository::<Counter>();
        let worked = async {
            let _ = counters.create(&counter(1)).await.expect("a new row");
            let _ = counters.update(&1, Counter::patch().total(2)).await.expect("a row");
            let found = counters.find_by_id(&1).await.expect("an answer");
            assert_eq!(found.map(|row| row.total), Some(2), "{scheme}");
            kv.switch_scheme::<Counter>(StorageScheme::WriteBehind).await.expect("a switch");
            let found = counters.find_by_id(&1).await.expect("an answer");
            assert_eq!(found.map(|row| row.total), Some(2), "{scheme}");
        };
        tokio::time::timeout(DRAINED, worked).await.expect("no deadlock");
        let drained = tokio::time::timeout(DRAINED, drainer.shutdown()).await;
        drained.expect("no deadlock").expect("all is drained");
    }
}

#[tokio::test]
async fn a_statement_that_fails_is_undone_and_nothing_else() {
    let settings = database().await;
    let kv = kv(&settings).await;
    let insert = "INSERT INTO counters (id, total_count, type) VALUES";
    let mut connection = kv.connection().await.expect("a turn");
    connection.batch_execute(&format!("{insert} (1, 1, '')")).await.expect("a new row");
    drop(connection);
    let mut connection = kv.connection().await.expect("a turn");
    let twice = connection.batch_execute(&format!("{insert} (1, 1, '')")).await;
    assert!(matches!(twice, Err(DieselError::DatabaseError(..))), "{twice:?}");
    drop(connection);
    let mut connection = kv.connection().await.expect("a turn");
    assert_eq!(count(&mut connection).await, "1");
    // A transaction within the test's: one that is kept, and one that is not.
    for (id, is_kept) in [(2, true), (3, false)] {
        let nested = connection.transaction(async |connection| {
            connection.batch_execute(&format!("{insert} ({id}, 1, '')")).await?;
            if is_kept { Ok(()) } else { Err(DieselError::RollbackTransaction) }
        });
        assert_eq!(nested.await.is_ok(), is_kept);
    }
    assert_eq!(count(&mut connection).await, "2");
    drop(connection);
    let counters = kv.repository::<Counter>();
    assert_eq!(counters.query().stored().count().await.expect("an answer").value, 2);
}

#[tokio::test]
async fn a_transaction_that_is_left_open_is_undone() {
    let settings = database().await;
    let kv = kv(&settings).await;
    let insert = "INSERT INTO counters (id, total_count, type) VALUES";
    let mut connection = kv.connection().await.expect("a turn");
    let never_ends = connection.transaction(async |connection| {
        connection.batch_execute(&format!("{insert} (1, 1, '')")).await?;
        std::future::pending::<Result<(), DieselError>>().await
    });
    let cut_off = tokio::time::timeout(Duration::from_millis(100), never_ends).await;
    assert!(cut_off.is_err());
    drop(connection);
    let mut connection = kv.connection().await.expect("a turn");
    assert_eq!(count(&mut connection).await, "0");
    connection.batch_execute(&format!("{insert} (1, 1, '')")).await.expect("a new row");
    drop(connection);
    drain(&kv).await;
    assert_eq!(kv.durable_rows::<Counter>().await.expect("rows").len(), 1);
}

#[tokio::test]
async fn what_is_refused_is_a_dead_letter_and_nothing_else_is() {
    let settings = database().await;
    outside(settings.postgres.url.expose())
        .await
        .batch_execute("ALTER TABLE counters ADD CHECK (total_count < 100)")
        .await
        .expect("valid SQL");
    let kv = kv(&settings).await;
    let counters = kv.repository::<Counter>();
    for id in [1, 20, 3] {
        let _ = counters.create(&counter(id)).await.expect("a new row");
    }
    drain(&kv).await;
    assert_eq!(kv.durable_rows::<Counter>().await.expect("rows").len(), 2);
    let letters = kv.dead_letters().list(&DeadLetterFilter::new()).await.expect("letters");
    assert_eq!(letters.len(), 1);
}

#[tokio::test]
async fn tests_on_one_database_do_not_see_each_other() {
    let settings = database().await;
    let (first, second) = (kv(&settings).await, kv(&settings).await);
    for (kv, id) in [(&first, 1), (&second, 2)] {
        let _ = kv.repository::<Counter>().create(&counter(id)).await.expect("a new row");
    }
    // Each has an open transaction, in which the same partitions were drained.
    tokio::join!(drain(&first), drain(&second));
    for (kv, id) in [(&first, 1), (&second, 2)] {
        assert_eq!(kv.durable_rows::<Counter>().await.expect("rows"), [counter(id)]);
        let counters = kv.repository::<Counter>();
        assert_eq!(counters.query().load().await.expect("rows"), [counter(id)]);
        assert_eq!(counters.find_by_id(&(3 - id)).await.expect("an answer"), None);
    }
    drop(first);
    let _ = second.repository::<Counter>().create(&counter(1)).await.expect("a new row");
    drain(&second).await;
    assert_eq!(second.durable_rows::<Counter>().await.expect("rows").len(), 2);
}

/// A test that ends while a drainer is at work: well, or by a panic.
fn run_test(settings: &Settings, panics: bool) {
    let runtime = Runtime::new().expect("a runtime");
    let ended = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let kv = kv(settings).await;
            let redis = kv.redis().await.expect("a handle");
            redis.set("notice", "closed today").await.expect("room");
            assert!(!redis.exists("test-other").await.expect("up"));
            let drainer = kv.drainer().model::<Counter>().spawn();
            let counters = kv.repository::<Counter>();
            for id in 1..=20 {
                let _ = counters.create(&counter(id)).await.expect("a new row");
            }
            drainer.flush().await.expect("all is drained");
            let _ = counters.create(&counter(21)).await.expect("a new row");
            let mut connection = kv.connection().await.expect("a turn");
            // The drainer may be at the last one.
            assert!(["20", "21"].contains(&count(&mut connection).await.as_str()));
            let schemas = "SELECT count(*)::text AS value FROM pg_namespace \
                           WHERE nspname LIKE 'kv_test_%'";
            assert_eq!(ask(&mut connection, schemas).await, "1");
            assert!(!panics, "a test that fails");
        });
    }));
    assert_eq!(ended.is_err(), panics);
}

#[test]
fn a_test_leaves_nothing_however_it_ends() {
    let redis = RedisServer::start().expect("a server");
    let runtime = Runtime::new().expect("a runtime");
    let shared = runtime.block_on(database());
    let settings = settings(redis.url(), shared.postgres.url.expose());
    let client = redis::Client::open(redis.url()).expect("an address");
    let mut in_redis = client.get_connection().expect("Redis is up");
    // Of somebody else, whose name begins like a test's.
    redis::cmd("SET").arg("test-other").arg(1).exec(&mut in_redis).expect("room");
    for panics in [false, true] {
        run_test(&settings, panics);
        let keys: Vec<String> =
            redis::cmd("KEYS").arg("*").query(&mut in_redis).expect("Redis is up");
        assert_eq!(keys, ["test-other"], "panics: {panics}");
        runtime.block_on(async {
            let mut outside = outside(settings.postgres.url.expose()).await;
            assert_eq!(count(&mut outside).await, "0");
            let open = "SELECT count(*)::text AS value FROM pg_stat_activity \
                        WHERE datname = current_database() AND pid <> pg_backend_pid()";
            let ended = async {
                while ask(&mut outside, open).await != "0" {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            tokio::time::timeout(LONG, ended).await.expect("the transaction is over");
            let left = "SELECT count(*)::text AS value FROM pg_namespace \
                        WHERE nspname LIKE 'kv_test_%'";
            assert_eq!(ask(&mut outside, left).await, "0");
        });
    }
}

#[tokio::test]
async fn tables_that_a_test_makes_are_its_own() {
    let settings = settings(servers().redis_url(), &servers().create_database());
    let models = Schema::new().model::<Counter>().model::<Account>();
    for _ in 0..2 {
        let kv = kv(&settings).await;
        kv.create_tables(&models).await.expect("they are not there");
        kv.create_tables(&models).await.expect("they are there");
        let _ = kv.repository::<Counter>().create(&counter(1)).await.expect("a new row");
        drain(&kv).await;
        let mut connection = kv.connection().await.expect("a turn");
        assert_eq!(count(&mut connection).await, "1");
    }
    let left = "SELECT count(*)::text AS value FROM pg_class WHERE relname = 'counters'";
    let mut outside = outside(settings.postgres.url.expose()).await;
    assert_eq!(ask(&mut outside, left).await, "0");
}
