//! How the services are built, and what the client asks the storage for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use diesel_async::SimpleAsyncConnection;
use kv_runtime::{Failure, Kv, Memory, Verb};
use kv_storage_backend::models::{Bsp, ServiceState};
use kv_storage_backend::storage::{ReadStorage, WriteStorage};
use kv_storage_backend::values::Amount;
use kv_storage_backend::{Config, Services, StorageMode};

use super::samples::{a_bucket, new_bsp, new_file, onchain_id, snapshot_of_a_bsp};
use super::setup::{settings, setup};

/// A little of everything, by what callers see.
async fn works(services: &Services) {
    let db: Arc<dyn WriteStorage> = services.db.clone();
    let bsp = db.create_bsp(new_bsp(1), &[b"/dns/a".to_vec()]).await.expect("a new row");
    assert_eq!(db.get_bsp(bsp.id).await.expect("the row"), bsp);
    let bucket = a_bucket(&*db).await;
    let _ = db.create_file(new_file(1, bucket.id), &[]).await.expect("a new row");
    services.flush().await.expect("everything can be drained");
    let picked = services.reports.pick_bsps(3).await.expect("an answer");
    assert_eq!(picked, [bsp]);
}

#[tokio::test]
async fn mocks_are_services_like_any_others() {
    works(&Services::mocks()).await;
    let variable = |name: &str| (name == "STORAGE_MODE").then(|| "memory".to_owned());
    let config = Config::read(variable);
    let configured = Services::new(config.expect("valid variables")).await.expect("no servers");
    works(&configured).await;
    let on_servers = setup("", "").await;
    works(&on_servers).await;
    let status = on_servers.shutdown().await.expect("everything is drained");
    assert_eq!((status.undrained, status.dead_letters), (0, 0));
}

#[tokio::test]
async fn the_tables_are_made_once_and_only_where_they_are_wanted() {
    let settings = settings(StorageMode::Postgres).await;
    let config = Config::new(StorageMode::Postgres, settings);
    let unwanted = Config { makes_tables: false, ..config.clone() };
    let without = Services::new(unwanted).await.expect("the servers are up");
    assert!(without.db.get_bsp(1).await.is_err_and(|error| !error.is_not_found()));
    let (first, second) =
        tokio::join!(Services::new(config.clone()), Services::new(config.clone()));
    let (first, second) = (first.expect("the tables"), second.expect("the tables"));
    let bsp = first.db.create_bsp(new_bsp(1), &[]).await.expect("a new row");
    assert_eq!(second.db.get_bsp(bsp.id).await.expect("the row"), bsp);
    assert_eq!(without.db.get_bsp(bsp.id).await.expect("the row"), bsp);
}

/// A test of a service's own begins and ends with what is in the tables.
#[tokio::test]
async fn rows_that_were_there_before_are_found() {
    let services = setup("", &snapshot_of_a_bsp()).await;
    let kv = services.kv.clone();
    let found = services.db.find_bsp_by_onchain_id(&onchain_id(1)).await.expect("an answer");
    let found = found.expect("the row");
    assert_eq!((&*found.account, &found.stake), ("a", &Amount::from(2)));
    let new = services.db.create_bsp(new_bsp(2), &[]).await.expect("a new row");
    assert!(new.id > found.id, "the sequence goes on");
    services.db.set_bsp_stake(found.id, Amount::from(3)).await.expect("a row");
    services.shutdown().await.expect("everything is drained");
    let mut rows = kv.durable_rows::<Bsp>().await.expect("the rows");
    rows.sort_by_key(|row| row.id);
    assert_eq!(rows[1], new);
    assert_eq!((rows.len(), &rows[0].stake), (2, &Amount::from(3)));
}

fn on(memory: &Memory, config: &Config) -> Services {
    Services::on(memory.kv(), config)
}

#[tokio::test]
async fn a_row_that_is_kept_is_not_asked_for_again() {
    let memory = Memory::new();
    let services = on(&memory, &Config::mocks());
    let bsp = services.db.create_bsp(new_bsp(1), &[]).await.expect("a new row");
    let asked = || memory.calls::<Bsp>(Verb::Read);
    for _ in 0..2 {
        let _ = services.db.get_bsp(bsp.id).await.expect("the row");
    }
    assert_eq!(asked(), 1);
    services.db.set_bsp_capacity(bsp.id, Amount::from(1)).await.expect("a row");
    for _ in 0..2 {
        let row = services.db.get_bsp(bsp.id).await.expect("the row");
        assert_eq!(row.capacity, Amount::from(1));
    }
    assert_eq!(asked(), 2);
    // Nobody knows what came of it, so nothing is kept either.
    memory.fail_next::<Bsp>(Verb::Update, Failure::AnswerLost);
    let unknown = services.db.set_bsp_capacity(bsp.id, Amount::from(2)).await;
    assert!(unknown.is_err(), "{unknown:?}");
    assert_eq!(services.db.get_bsp(bsp.id).await.expect("the row").capacity, Amount::from(2));
    assert_eq!(asked(), 3);
}

#[tokio::test]
async fn neither_an_outage_nor_an_absent_row_is_kept() {
    let memory = Memory::new();
    let services = on(&memory, &Config::mocks());
    assert!(services.db.get_bsp(1).await.expect_err("no row").is_not_found());
    let bsp = services.db.create_bsp(new_bsp(1), &[]).await.expect("a new row");
    memory.fail_next::<Bsp>(Verb::Read, Failure::Unavailable);
    let error = services.db.get_bsp(bsp.id).await.expect_err("an outage");
    assert!(!error.is_not_found(), "{error}");
    assert_eq!(services.db.get_bsp(bsp.id).await.expect("the row"), bsp);
}

#[tokio::test]
async fn a_row_is_kept_for_its_time() {
    let memory = Memory::new();
    let mut config = Config::mocks();
    config.client.cache_ttl = Duration::from_millis(20);
    let services = on(&memory, &config);
    let bsp = services.db.create_bsp(new_bsp(1), &[]).await.expect("a new row");
    let start = Instant::now();
    // Somebody else changes it, past this client.
    let others = memory.kv().repository::<Bsp>();
    let _ = services.db.get_bsp(bsp.id).await.expect("the row");
    let _ = others.update(&bsp.id, Bsp::patch().capacity(Amount::from(1))).await.expect("a row");
    while services.db.get_bsp(bsp.id).await.expect("the row").capacity != Amount::from(1) {
        assert!(start.elapsed() < Duration::from_secs(30), "the old row is kept for good");
        tokio::task::yield_now().await;
    }
}

/// What no caller of the traits can write.
#[tokio::test]
async fn the_tables_refuse_what_the_models_rule_out() {
    let services = setup("", "").await;
    services.db.set_last_indexed_block(7).await.expect("a row");
    services.flush().await.expect("everything can be drained");
    let second_row = "INSERT INTO service_state VALUES (2, 8, now(), now())";
    let stream = |rate, amount| {
        format!(
            "INSERT INTO payment_streams (user_account, provider, rate, amount_provided, \
             total_amount_paid, created_at, updated_at) \
             VALUES ('u', 'p', {rate}, {amount}, 0, now(), now())"
        )
    };
    for (sql, constraint) in [
        (second_row, "service_state"),
        (&stream("1", "1"), "payment_streams"),
        (&stream("NULL", "NULL"), "payment_streams"),
    ] {
        let error = run(&services.kv, sql).await.expect_err(sql);
        assert!(error.contains("check constraint") && error.contains(constraint), "{error}");
    }
    let error = run(&services.kv, &stream("1e38", "NULL")).await.expect_err("39 digits");
    assert!(error.contains("numeric field overflow"), "{error}");
    run(&services.kv, &stream("1", "NULL")).await.expect("one of two");
    let rows = services.kv.durable_rows::<ServiceState>().await.expect("the rows");
    assert_eq!(rows.len(), 1);
}

async fn run(kv: &Kv, sql: &str) -> Result<(), String> {
    let mut connection = kv.connection().await.expect("a connection");
    connection.batch_execute(sql).await.map_err(|error| error.to_string())
}
