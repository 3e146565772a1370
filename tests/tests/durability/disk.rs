//! `fsynced`: on a server without WAITAOF it is refused before anything is written.

use std::time::{Duration, Instant};

use kv_runtime::testing::{RedisOptions, RedisServer, servers};
use kv_runtime::{Durability, Error, Settings};
use kv_tests::models::Booking;
use kv_tests::outside::RedisView;
use kv_tests::pair::Pair;

const PATIENCE: Duration = Duration::from_secs(20);
const FSYNCED: Durability = Durability::Fsynced { timeout: PATIENCE };

async fn pair_of(redis: &RedisServer) -> Pair {
    let mut settings = Settings::new(redis.url(), servers().create_database());
    settings.tenant = Some("disk".to_owned());
    Pair::connect(settings).await
}

/// Whether the server on `PATH` has the command.
async fn has_waitaof(redis: &RedisView) -> bool {
    redis.ask::<Vec<redis::Value>>(&["COMMAND", "INFO", "WAITAOF"]).await != [redis::Value::Nil]
}

/// Writes that must be refused as a misfit, with what the message says.
async fn refused(pair: &Pair) -> String {
    let bookings = pair.kv.repository::<Booking>().with_durability(FSYNCED);
    let booking = Booking::sample();
    let error = bookings.create(&booking).await.expect_err("not on this server");
    let Error::Configuration { source, .. } = &error else { panic!("{error}") };
    let message = source.to_string();
    let started = Instant::now();
    let many = bookings.create_many(std::slice::from_ref(&booking)).await.remove(0);
    assert!(started.elapsed() < PATIENCE, "there is nothing to wait for");
    let error = many.expect_err("not on this server");
    assert!(matches!(error, Error::Configuration { .. }), "{error}");
    assert!(!bookings.exists(&booking.id).await.expect("an answer"), "nothing was written");
    message
}

#[tokio::test]
async fn a_write_is_acknowledged_when_it_is_on_disk() {
    let options = RedisOptions::new().append_only(true).setting("appendfsync", "always");
    let mut redis = RedisServer::start_with(options).expect("a private server");
    let pair = pair_of(&redis).await;
    if !has_waitaof(&RedisView::of(&pair).await).await {
        let message = refused(&pair).await;
        assert!(message.contains("Redis 7.2") && message.contains("Valkey"), "{message}");
        return;
    }
    let bookings = pair.kv.repository::<Booking>().with_durability(FSYNCED);
    let booking = Booking::sample();
    let _ = bookings.create(&booking).await.expect("it gets there");
    // Nothing syncs from here on, and nobody is told otherwise.
    let view = RedisView::of(&pair).await;
    let _: String = view.ask(&["CONFIG", "SET", "appendfsync", "no"]).await;
    let hasty = Durability::Fsynced { timeout: Duration::from_millis(100) };
    let late = Booking::sample();
    let error = bookings.with_durability(hasty).create(&late).await.expect_err("not on disk");
    let Error::NotReplicated { acknowledged, .. } = error else { panic!("{error}") };
    assert_eq!(acknowledged, 0);
    assert!(bookings.exists(&late.id).await.expect("an answer"), "it is written");
    redis.kill().expect("it runs");
    redis.restart().expect("it starts");
    let pair = pair.with(|_| {}).await;
    let bookings = pair.kv.repository::<Booking>();
    assert_eq!(bookings.get_by_id(&booking.id).await.expect("the row"), booking);
}

#[tokio::test]
async fn a_server_without_append_only_file_is_told_apart() {
    let redis = RedisServer::start().expect("a private server");
    let pair = pair_of(&redis).await;
    let expected = match has_waitaof(&RedisView::of(&pair).await).await {
        true => "turn `appendonly` on",
        false => "Redis 7.2",
    };
    let message = refused(&pair).await;
    assert!(message.contains(expected), "{message}");
}
