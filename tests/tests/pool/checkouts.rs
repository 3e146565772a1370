//! How many connections there are, and for how long.

use std::time::Duration;

use diesel_async::AsyncConnection;
use diesel_async::AsyncPgConnection;
use kv_runtime::testing::servers;
use kv_runtime::{Kv, PoolError, Settings};

use super::ask;

fn settings() -> Settings {
    Settings::new(servers().redis_url(), servers().create_database())
}

#[tokio::test]
async fn one_more_than_there_may_be_is_refused_in_time() {
    let mut settings = settings();
    settings.postgres.max_connections = 3;
    settings.postgres.checkout_timeout = Duration::from_secs(1);
    let kv = Kv::connect(settings).await.expect("the servers are up");
    let mut taken = Vec::new();
    for _ in 0..3 {
        taken.push(kv.connection().await.expect("one of three"));
    }
    let refused = kv.connection().await.expect_err("no fourth one");
    assert!(matches!(refused, PoolError::Timeout(_)), "{refused}");
    taken.pop();
    let _again = kv.connection().await.expect("the one that came back");
}

#[tokio::test]
async fn a_pool_has_32_connections_by_default() {
    let mut settings = settings();
    settings.postgres.checkout_timeout = Duration::from_secs(2);
    let kv = Kv::connect(settings).await.expect("the servers are up");
    let mut taken = Vec::new();
    for _ in 0..32 {
        taken.push(kv.connection().await.expect("one of 32"));
    }
    let refused = kv.connection().await.expect_err("no 33rd one");
    assert!(matches!(refused, PoolError::Timeout(_)), "{refused}");
}

#[tokio::test]
async fn connections_are_kept_ready_and_sessions_are_set_up() {
    let mut settings = settings();
    settings.postgres.min_idle = 4;
    settings.postgres.statement_timeout = Duration::from_millis(1_234);
    settings.drain.lease = Duration::from_secs(14);
    let url = settings.postgres.url.expose().to_owned();
    let kv = Kv::connect(settings).await.expect("the servers are up");
    let mut outside = AsyncPgConnection::establish(&url).await.expect("the server is up");
    let ready = "SELECT (count(*) >= 4)::text AS value FROM pg_stat_activity \
                 WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let ready = async {
        while ask(&mut outside, ready).await != "true" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ready).await.expect("four connections");
    let mut connection = kv.connection().await.expect("one of them");
    for (setting, expected) in [
        ("statement_timeout", "1234ms"),
        ("lock_timeout", "7s"),
        ("idle_in_transaction_session_timeout", "7s"),
    ] {
        let value = format!("SELECT current_setting('{setting}') AS value");
        assert_eq!(ask(&mut connection, &value).await, expected, "{setting}");
    }
}
