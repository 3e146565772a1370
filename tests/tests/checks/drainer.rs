//! A drainer makes the checks by itself, and waits, loudly, until they pass.

use std::time::Duration;

use kv_runtime::testing::servers;
use kv_runtime::{CheckMode, DrainError, Drainer, Kv, Settings};
use kv_tests::models::{self, Booking, Seat};
use kv_tests::pair::Pair;

use super::log::Log;

/// What stands in the drainer's way, once something does.
async fn complaint(drainer: &Drainer) -> String {
    let complaint = async {
        loop {
            let status = drainer.status().await.expect("a status");
            if let Some(error) = status.last_error {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), complaint).await.expect("it complains")
}

#[tokio::test]
async fn nothing_is_drained_until_the_checks_pass() {
    let (log, _guard) = Log::begin();
    let pair = Pair::servers().await;
    pair.sql("ALTER TABLE seats RENAME TO not_there_yet").await;
    let _ = pair.kv.repository::<Booking>().create(&Booking::sample()).await.expect("a new row");
    let error = pair.drainer().check().await.expect_err("a table is missing").to_string();
    let drainer = pair.spawn_drainer();
    let complained = complaint(&drainer).await;
    assert_eq!(complained, error);
    assert!(complained.contains("model `Seat`: there is no table `seats`"), "{complained}");
    assert!(log.text().contains("ERROR") && log.text().contains("no table `seats`"));
    // Writes go on.
    let seat = Seat { flight: "AA".to_owned(), number: 1, passenger: None };
    let _ = pair.kv.repository::<Seat>().upsert(&seat).await.expect("a row");
    let status = drainer.status().await.expect("a status");
    assert_eq!((status.batches, status.undrained), (0, 2));

    pair.sql("ALTER TABLE not_there_yet RENAME TO seats").await;
    let status = drainer.shutdown().await.expect("everything can be drained");
    assert_eq!((status.entries_drained, status.undrained, status.last_error), (2, 0, None));
    assert_eq!(pair.kv.durable_rows::<Seat>().await.expect("the rows"), [seat]);
}

#[tokio::test]
async fn with_a_warning_it_drains_what_it_can() {
    let (log, _guard) = Log::begin();
    let pair = Pair::servers().await;
    let pair = pair.with(|settings| settings.checks.schema = CheckMode::Warn).await;
    pair.sql("DROP TABLE seats").await;
    let _ = pair.kv.repository::<Booking>().create(&Booking::sample()).await.expect("a new row");
    assert_eq!(pair.drain().await.entries_drained, 1);
    assert!(log.text().contains("WARN") && log.text().contains("no table `seats`"));
}

#[tokio::test]
async fn a_drainer_may_be_spawned_before_the_migrations_run() {
    let url = servers().create_database();
    let mut settings = Settings::new(servers().redis_url(), url.as_str());
    settings.tenant = Some(format!("d{:x}", fastrand::u64(..)));
    settings.partitions = 8;
    settings.drain.backoff_max = Duration::from_millis(500);
    let kv = Kv::connect(settings.clone()).await.expect("the servers are up");
    let pair = Pair { kv, database_url: Some(url), settings, background: None };
    let _ = pair.kv.repository::<Booking>().create(&Booking::sample()).await.expect("a new row");
    let drainer = pair.spawn_drainer();
    let complained = complaint(&drainer).await;
    assert!(complained.contains("call `Kv::migrate`"), "{complained}");
    pair.kv.migrate().await.expect("an empty database");
    pair.sql(models::TABLES).await;
    let status = drainer.shutdown().await.expect("everything can be drained");
    assert_eq!((status.entries_drained, status.last_error), (1, None));
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_the_checks_for_ever() {
    let pair = Pair::servers().await;
    let pair =
        pair.with(|settings| settings.drain.shutdown_timeout = Duration::from_millis(200)).await;
    pair.sql("DROP TABLE seats").await;
    let _ = pair.kv.repository::<Booking>().create(&Booking::sample()).await.expect("a new row");
    let drainer = pair.spawn_drainer();
    let error = drainer.shutdown().await.expect_err("the table is missing");
    let DrainError::Undrained { undrained: 1, reason } = error else { panic!("{error}") };
    assert!(reason.contains("no table `seats`"), "{reason}");
}

/// In memory there is nothing to find, and so nothing to wait for.
#[tokio::test]
async fn in_memory_everything_passes() {
    let pair = Pair::memory().await;
    pair.drainer().check().await.expect("nothing to find");
    pair.kv.checks().model::<Booking>().run().await.expect("nothing to find");
}
