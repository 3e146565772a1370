//! Locks.

use std::time::Duration;

use kv_runtime::RedisSettings;
use kv_runtime::redis::{Error, Redis};
use kv_tests::waiting::until;

use super::common::{ask, handle, handle_with, private_server, settings, soon, tenant};

const LONG: Duration = Duration::from_secs(3_600);

#[tokio::test]
async fn a_lock_is_one_guards_at_a_time() {
    let redis = handle().await;
    let lock = redis.lock("invoices", LONG).await.expect("nobody has it");
    assert!(lock.is_held());
    let error = redis.lock("invoices", LONG).await.expect_err("it is taken");
    assert!(error.is_locked());
    assert_eq!(error.to_string(), "lock of `invoices`: it is locked");
    redis.lock("others", LONG).await.expect("another lock").release().await.expect("released");
    lock.release().await.expect("released");
    redis.lock("invoices", LONG).await.expect("it is free again");
}

#[tokio::test]
async fn a_guard_that_is_dropped_gives_its_lock_back() {
    let redis = handle().await;
    drop(redis.lock("invoices", LONG).await.expect("nobody has it"));
    until("it is free", async || redis.lock("invoices", LONG).await.is_ok()).await;
}

#[tokio::test]
async fn a_lock_that_is_anothers_is_not_released() {
    let tenant = tenant();
    let settings = settings();
    let redis = Redis::connect(&settings, Some(&tenant)).await.expect("the server is up");
    let lock = redis.lock("invoices", LONG).await.expect("nobody has it");
    let key = format!("{tenant}/lock:invoices");
    let url = settings.url.expose();
    let () = ask(url, &["SET", &key, "another's token"]).await;
    let error = lock.release().await.expect_err("it is not the guard's");
    assert!(matches!(error, Error::LockLost { .. }), "{error:?}");
    assert_eq!(ask::<String>(url, &["GET", &key]).await, "another's token");
    assert!(redis.lock("invoices", LONG).await.expect_err("it is taken").is_locked());
}

#[tokio::test]
async fn a_lock_lasts_as_long_as_its_guard_renews_it() {
    let tenant = tenant();
    let settings = settings();
    let redis = Redis::connect(&settings, Some(&tenant)).await.expect("the server is up");
    let ttl = Duration::from_secs(6);
    let lock = redis.lock("invoices", ttl).await.expect("nobody has it");
    let key = format!("{tenant}/lock:invoices");
    let url = settings.url.expose();
    let left = async || ask::<i64>(url, &["PTTL", &key]).await;
    let mut renewals = 0;
    let mut last = left().await;
    while renewals < 2 {
        let now = left().await;
        assert!(now > 0, "it has ended");
        renewals += u32::from(now > last);
        last = now;
    }
    assert!(lock.is_held());
}

#[tokio::test]
async fn a_lost_lock_is_told() {
    let tenant = tenant();
    let settings = settings();
    let redis = Redis::connect(&settings, Some(&tenant)).await.expect("the server is up");
    let lock = redis.lock("invoices", Duration::from_millis(300)).await.expect("nobody has it");
    let _: u8 = ask(settings.url.expose(), &["DEL", &format!("{tenant}/lock:invoices")]).await;
    soon("it is told", lock.lost()).await;
    assert!(!lock.is_held());
}

#[tokio::test]
async fn a_lock_is_lost_when_it_cannot_be_renewed_in_time() {
    let mut server = private_server();
    let redis = handle_with(&RedisSettings::new(server.url())).await;
    let lock = redis.lock("invoices", Duration::from_millis(600)).await.expect("nobody has it");
    server.kill().expect("it is there");
    soon("it is told", lock.lost()).await;
    assert!(!lock.is_held());
}

/// A process that dies gives nothing back; its locks end by themselves.
#[test]
fn a_lock_of_nobody_ends() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().expect("a runtime")
    };
    let (tenant, settings) = (tenant(), settings());
    let connect =
        async || Redis::connect(&settings, Some(&tenant)).await.expect("the server is up");
    let dying = runtime();
    let lock = dying.block_on(async {
        connect().await.lock("invoices", Duration::from_millis(200)).await.expect("nobody has it")
    });
    // With its tasks, the renewal too.
    drop(dying);
    runtime()
        .block_on(until("it ends", async || connect().await.lock("invoices", LONG).await.is_ok()));
    assert!(!lock.is_held());
}
