//! PostgreSQL fails over to a replica that is behind: what the queue still keeps is applied again.

use std::time::{Duration, Instant};

use kv_tests::pair::Pair;

use super::course::{Course, Ledger, WAIT_MAX, flush, spawn, until};

/// Keeps the rows and offsets as they are.
const REPLICATE: &str = "
    CREATE TABLE accounts_before AS TABLE accounts;
    CREATE TABLE offsets_before AS TABLE kv_offsets;
";

/// Goes back to them, as to a replica that is promoted.
const PROMOTE: &str = "
    BEGIN;
    LOCK TABLE kv_offsets, accounts;
    DELETE FROM accounts;
    INSERT INTO accounts TABLE accounts_before;
    DELETE FROM kv_offsets;
    INSERT INTO kv_offsets TABLE offsets_before;
    COMMIT;
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drainer_that_starts_finds_postgresql_gone_back() {
    let pair = Pair::servers().await;
    let mut ledger = Ledger::new(&pair);
    ledger.write().await;
    pair.drain().await;
    pair.sql(REPLICATE).await;
    for _ in 0..5 {
        ledger.write().await;
    }
    pair.drain().await;
    pair.sql(PROMOTE).await;
    let drainer = spawn(&pair);
    until(&drainer, |status| status.setbacks > 0).await;
    ledger.write().await;
    flush(&drainer).await;
    let status = drainer.shutdown().await.expect("everything can be drained");
    assert_eq!((status.undrained, status.dead_letters), (0, 0));
    ledger.check(&pair).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drainer_at_work_finds_postgresql_gone_back() {
    let pair = Pair::servers().await;
    let mut course = Course::begin(&pair).await;
    pair.sql(REPLICATE).await;
    for _ in 0..5 {
        course.write().await;
    }
    course.recovers(&pair).await;
    pair.sql(PROMOTE).await;
    for _ in 0..5 {
        course.write().await;
    }
    let status = course.end(&pair).await;
    assert!(status.setbacks > 0, "{status:?}");
}

/// Nothing is written any more that would show it; it must be found before the entries go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_drainer_finds_postgresql_gone_back() {
    let pair = Pair::servers().await;
    let pair = pair.with(|settings| settings.drain.retention = Duration::from_secs(5)).await;
    let mut ledger = Ledger::new(&pair);
    ledger.write().await;
    let drainer = spawn(&pair);
    flush(&drainer).await;
    pair.sql(REPLICATE).await;
    for _ in 0..5 {
        ledger.write().await;
    }
    flush(&drainer).await;
    pair.sql(PROMOTE).await;
    let started = Instant::now();
    while !ledger.is_in_postgresql(&pair).await {
        assert!(started.elapsed() < WAIT_MAX, "it is not found: {:?}", drainer.status().await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let status = drainer.shutdown().await.expect("everything can be drained");
    assert!(status.setbacks > 0, "{status:?}");
    assert_eq!((status.undrained, status.dead_letters), (0, 0));
}
