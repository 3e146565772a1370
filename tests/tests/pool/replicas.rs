//! What replicas answer, and when the primary does instead.

use std::time::Duration;

use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use kv_runtime::testing::{PostgresServer, servers};
use kv_runtime::{Settings, Stored};
use kv_tests::models::Account;
use kv_tests::pair::Pair;

const ACCOUNT: &str = "INSERT INTO accounts VALUES";

/// A pair with a replica, and the database that is taken for it.
async fn with_second_database(max_lag: Option<Duration>) -> Pair {
    let second = Pair::servers().await;
    let there = [7, 8, 9].map(|id| format!("({id}, 1, 'there', true)")).join(", ");
    second.sql(&format!("{ACCOUNT} {there}")).await;
    let pair = Pair::servers().await;
    pair.sql(&format!("{ACCOUNT} (1, 1, 'here', true)")).await;
    let url = second.database_url.expect("a database");
    pair.with(|settings| {
        settings.postgres.replicas = vec![url.into()];
        settings.postgres.replica_max_lag = max_lag;
    })
    .await
}

/// The ids that a stored query answers, and how far the replica may be behind.
async fn stored_ids(pair: &Pair) -> (Vec<i64>, Option<Duration>) {
    let accounts = pair.kv.repository::<Account>();
    let stored = accounts.query().stored().order_by(|a| a.id.asc()).load().await;
    let Stored { value, behind } = stored.expect("an answer");
    (value.iter().map(|row| row.id).collect(), behind.expect("Redis is up").replica_lag)
}

#[tokio::test]
async fn stored_queries_go_to_a_replica_and_all_else_to_the_primary() {
    let pair = with_second_database(None).await;
    let accounts = pair.kv.repository::<Account>();
    assert_eq!(stored_ids(&pair).await, (vec![7, 8, 9], None));
    assert_eq!(accounts.query().count().await.expect("an answer"), 1);
    assert!(accounts.exists(&1).await.expect("an answer"));
    assert_eq!(accounts.find_by_id(&7).await.expect("an answer"), None);
    let row = Account { id: 2, revision: 1, note: None, active: true };
    let receipt = accounts.create(&row).await.expect("a new row");
    pair.drain().await;
    let after = accounts.query().stored().after_write(&receipt).count().await;
    assert_eq!(after.expect("an answer").value, 2);
    assert_eq!(stored_ids(&pair).await.0, [7, 8, 9]);
}

#[tokio::test]
async fn nobody_is_asked_of_whom_it_is_not_known_how_far_it_is() {
    let pair = with_second_database(Some(Duration::from_secs(60))).await;
    assert_eq!(stored_ids(&pair).await, (vec![1], Some(Duration::ZERO)));
}

#[tokio::test]
async fn where_no_replica_is_up_the_primary_answers() {
    let gone = PostgresServer::start().expect("a server");
    let url = gone.url().to_owned();
    drop(gone);
    for max_lag in [None, Some(Duration::from_secs(60))] {
        let pair = Pair::servers().await.with(|settings| {
            settings.postgres.replicas = vec![url.clone().into(), url.clone().into()];
            settings.postgres.replica_max_lag = max_lag;
        });
        let pair = pair.await;
        pair.sql(&format!("{ACCOUNT} (1, 1, 'here', true)")).await;
        assert_eq!(stored_ids(&pair).await, (vec![1], Some(Duration::ZERO)));
    }
}

/// Asks until an answer is such, which it has to be in the end.
async fn ask_until(pair: &Pair, is_such: impl Fn(&[i64], Duration) -> bool) -> Vec<i64> {
    let asked = async {
        loop {
            let (ids, lag) = stored_ids(pair).await;
            if is_such(&ids, lag.expect("it is known")) {
                return ids;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), asked).await.expect("such an answer")
}

#[tokio::test]
async fn a_standby_answers_while_it_is_near_enough() {
    let primary = PostgresServer::start().expect("a server");
    let standby = primary.start_standby().expect("a standby");
    let mut settings = Settings::new(servers().redis_url(), primary.url());
    settings.tenant = Some(format!("standby-{}", std::process::id()));
    settings.postgres.replicas = vec![standby.url().into()];
    settings.postgres.replica_max_lag = Some(Duration::from_millis(500));
    let pair = Pair::connect(settings).await;
    pair.sql(&format!("{ACCOUNT} (1, 1, 'there', true)")).await;
    let by_standby = |_: &[i64], lag: Duration| !lag.is_zero();
    ask_until(&pair, |ids, lag| by_standby(ids, lag) && ids == [1]).await;

    let mut outside = AsyncPgConnection::establish(standby.url()).await.expect("it is up");
    outside.batch_execute("SELECT pg_wal_replay_pause()").await.expect("a superuser");
    pair.sql(&format!("{ACCOUNT} (2, 1, 'here', true)")).await;
    // Soon it is too far behind, and then it stays so.
    assert_eq!(ask_until(&pair, |_, lag| lag.is_zero()).await, [1, 2]);
    for _ in 0..10 {
        assert_eq!(stored_ids(&pair).await, (vec![1, 2], Some(Duration::ZERO)));
    }

    outside.batch_execute("SELECT pg_wal_replay_resume()").await.expect("a superuser");
    assert_eq!(ask_until(&pair, by_standby).await, [1, 2]);
    drop((outside, standby));
    assert_eq!(ask_until(&pair, |_, lag| lag.is_zero()).await, [1, 2]);
}
