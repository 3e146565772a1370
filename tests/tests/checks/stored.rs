//! The checks of what is stored already: the runtime's own tables, and the number of partitions.

use kv_runtime::testing::servers;
use kv_runtime::{CheckError, CheckMode, Kv, Settings};
use kv_tests::models::{Account, Booking};
use kv_tests::pair::Pair;

async fn check(pair: &Pair) -> Result<(), CheckError> {
    pair.kv.checks().model::<Booking>().model::<Account>().run().await
}

#[tokio::test]
async fn migrations_that_have_not_run_are_refused() {
    let url = servers().create_database();
    let mut settings = Settings::new(servers().redis_url(), url.as_str());
    settings.tenant = Some(format!("m{:x}", fastrand::u64(..)));
    settings.checks.schema = CheckMode::Off;
    let kv = Kv::connect(settings.clone()).await.expect("the servers are up");
    let pair = Pair { kv, database_url: Some(url), settings, background: None };
    let error = check(&pair).await.expect_err("nothing has run").to_string();
    assert!(error.contains("`2026-11-21-000000_create_kv_offsets`, "), "{error}");
    assert!(error.contains("call `Kv::migrate`"), "{error}");
    assert!(error.contains("`checks.migrations` (KV_CHECKS_MIGRATIONS)"), "{error}");
    let tables = "SELECT relname AS value FROM pg_class WHERE relname LIKE '%diesel%'";
    assert_eq!(pair.texts(tables).await, [], "the check makes nothing");

    let pair = pair.with(|settings| settings.checks.migrations = CheckMode::Warn).await;
    check(&pair).await.expect("it is a warning");
    let pair = pair.with(|settings| settings.checks.migrations = CheckMode::Refuse).await;
    pair.kv.migrate().await.expect("an empty database");
    check(&pair).await.expect("all have run");
    pair.sql("DELETE FROM __diesel_schema_migrations").await;
    check(&pair).await.expect_err("one is pending again");
}

fn with_partitions(partitions: u16) -> impl FnOnce(&mut Settings) {
    move |settings| settings.partitions = partitions
}

/// Checks with other numbers of partitions than the eight that the data were written with.
async fn expect_refusals(mut pair: Pair) {
    let message = |ours| {
        format!(
            "queue `booking_queue` was written with 8 partitions, but the settings say {ours}; \
             set `partitions` to 8, or set `checks.partitions` (KV_CHECKS_PARTITIONS) to `warn`"
        )
    };
    for partitions in [1, 7, 16, 64, 1_024] {
        pair = pair.with(with_partitions(partitions)).await;
        let error = check(&pair).await.expect_err("another number").to_string();
        assert_eq!(error, format!("a start-up check found that {}", message(partitions)));
        pair = pair.with(|settings| settings.checks.partitions = CheckMode::Warn).await;
        check(&pair).await.expect("it is a warning");
        pair = pair.with(|settings| settings.checks.partitions = CheckMode::Refuse).await;
    }
    pair = pair.with(with_partitions(8)).await;
    check(&pair).await.expect("the same number");
}

#[tokio::test]
async fn another_number_of_partitions_is_refused_before_anything_is_drained() {
    let pair = Pair::servers().await;
    // Many, so that each partition has some.
    let rows: Vec<Booking> = (0..200).map(|_| Booking::sample()).collect();
    let created = pair.kv.repository::<Booking>().create_many(&rows).await;
    assert!(created.iter().all(Result::is_ok));
    expect_refusals(pair).await;
}

#[tokio::test]
async fn another_number_of_partitions_is_refused_where_a_drainer_has_been() {
    let pair = Pair::servers().await;
    // One: few partitions know of it in Redis, but all do in PostgreSQL.
    let _ = pair.kv.repository::<Booking>().create(&Booking::sample()).await.expect("a new row");
    let drainer = pair.kv.drainer().model::<Booking>().spawn();
    drainer.shutdown().await.expect("everything can be drained");
    expect_refusals(pair).await;
}
