//! A server that is slow, paused or gone, and what the handle makes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use kv_runtime::RedisSettings;
use kv_runtime::redis::{ConnectionState, EntryPosition, Error, Redis};
use kv_runtime::testing::RedisServer;
use kv_tests::waiting::until;

use super::common::{ask, private_server, soon};

/// A handle on a server, and how often its hook was called.
async fn watched(settings: &RedisSettings) -> (Redis, Arc<AtomicU32>) {
    let redis = Redis::connect(settings, Some("acme")).await.expect("the server is up");
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    redis.on_error(move |error| {
        assert!(matches!(error, Error::Unavailable { .. } | Error::Timeout { .. }), "{error:?}");
        counted.fetch_add(1, Ordering::Relaxed);
    });
    (redis, calls)
}

fn settings_of(server: &RedisServer) -> RedisSettings {
    let mut settings = RedisSettings::new(server.url());
    settings.command_timeout = Duration::from_millis(300);
    settings
}

#[tokio::test]
async fn connections_are_as_many_as_are_set_and_used_again() {
    let server = private_server();
    let mut settings = settings_of(&server);
    settings.command_timeout = Duration::from_secs(30);
    settings.connections = 3;
    let (redis, calls) = watched(&settings).await;
    for _ in 0..100 {
        let sets = (0..100).map(|number| redis.set("number", number));
        for set in join_all(sets).await {
            set.expect("set");
        }
    }
    let streams = [("stream", EntryPosition::START)];
    for _ in 0..10 {
        let wait = Duration::from_millis(1);
        redis.xread_blocking(&streams, None, wait).await.expect("no error");
    }
    let clients: String = ask(server.url(), &["CLIENT", "LIST"]).await;
    // One more for the reads that block, and the one that asks.
    assert_eq!(clients.lines().count(), 3 + 1 + 1, "{clients}");
    assert_eq!((redis.state(), calls.load(Ordering::Relaxed)), (ConnectionState::Connected, 0));
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_told_once() {
    let server = private_server();
    let (redis, calls) = watched(&settings_of(&server)).await;
    let () = ask(server.url(), &["CLIENT", "PAUSE", "5000"]).await;
    let error = redis.set("a", 1).await.expect_err("it is paused");
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    assert_eq!(error.to_string(), "set of `a`: Redis did not answer in time");
    until("it is noticed", async || redis.state() == ConnectionState::Unresponsive).await;
    for _ in 0..3 {
        redis.set("a", 1).await.expect_err("it is paused");
    }
    until("it is back", async || redis.set("a", 2).await.is_ok()).await;
    until("that is noticed", async || redis.state() == ConnectionState::Connected).await;
    assert_eq!(calls.load(Ordering::Relaxed), 1, "once for the outage");
}

#[tokio::test]
async fn a_long_wait_for_entries_is_no_outage() {
    let server = private_server();
    let (redis, calls) = watched(&settings_of(&server)).await;
    // Whoever reads over a connection of its own waits without a time-out of the connection.
    let streams = [("stream", EntryPosition::START)];
    let wait = Duration::from_millis(900);
    assert!(redis.xread_blocking(&streams, None, wait).await.expect("no error").is_empty());
    assert_eq!((redis.state(), calls.load(Ordering::Relaxed)), (ConnectionState::Connected, 0));
}

#[tokio::test]
async fn what_is_on_its_way_is_bounded() {
    let server = private_server();
    let mut settings = settings_of(&server);
    settings.in_flight_max = 4;
    settings.command_timeout = Duration::from_secs(2);
    let redis = Redis::connect(&settings, Some("acme")).await.expect("the server is up");
    let () = ask(server.url(), &["CLIENT", "PAUSE", "60000", "WRITE"]).await;
    // The first four take the places for two seconds; those behind them wait as long for one.
    let pushes = (0..10).map(async |number| redis.rpush("list", &[number]).await);
    let results = join_all(pushes).await;
    let sent = results.iter().filter(|result| matches!(result, Err(Error::Timeout { .. }))).count();
    let is_refused = |error: &&Error| matches!(error, Error::Overloaded { in_flight_max: 4, .. });
    let refused =
        results.iter().filter_map(|result| result.as_ref().err()).filter(is_refused).count();
    assert!(sent >= 4 && refused >= 1 && sent + refused == 10, "{results:?}");
    let () = ask(server.url(), &["CLIENT", "UNPAUSE"]).await;
    // What was refused was not sent.
    until("what was sent is done", async || {
        redis.llen("list").await.is_ok_and(|length| length == sent as u64)
    })
    .await;
}

#[tokio::test]
async fn an_outage_is_told_once_and_passes_by_itself() {
    let mut server = private_server();
    let mut settings = settings_of(&server);
    settings.connections = 3;
    let (redis, calls) = watched(&settings).await;
    for outage in 1..=2 {
        redis.set("a", 1).await.expect("set");
        server.kill().expect("it is there");
        for _ in 0..10 {
            let error = redis.set("a", 1).await.expect_err("it is down");
            assert!(
                matches!(error, Error::Unavailable { .. } | Error::Timeout { .. }),
                "{error:?}"
            );
        }
        assert_eq!(redis.state(), ConnectionState::Reconnecting);
        server.restart().expect("it starts again");
        // Without a command of ours.
        until("it is back", async || redis.state() == ConnectionState::Connected).await;
        for _ in 0..30 {
            redis.set("a", 1).await.expect("all connections are back");
        }
        assert_eq!(calls.load(Ordering::Relaxed), outage, "once for each outage");
    }
}

#[tokio::test]
async fn a_blocking_read_does_not_outlive_its_server() {
    let mut server = private_server();
    let (redis, _) = watched(&settings_of(&server)).await;
    let streams = [("stream", EntryPosition::START)];
    let wait = Duration::from_millis(1);
    redis.xread_blocking(&streams, None, wait).await.expect("no error");
    server.restart().expect("it starts again");
    // Its connection is not used again after an error.
    let error = redis.xread_blocking(&streams, None, wait).await.expect_err("it was cut");
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    redis.xread_blocking(&streams, None, wait).await.expect("a new connection");

    let reading = redis.xread_blocking(&streams, None, Duration::from_secs(3_600));
    let (read, ()) = soon("it is told", async {
        tokio::join!(reading, async {
            until("it waits", async || {
                let clients: String = ask(server.url(), &["CLIENT", "LIST"]).await;
                clients.contains("flags=b")
            })
            .await;
            server.kill().expect("it is there");
        })
    })
    .await;
    assert!(matches!(read, Err(Error::Unavailable { .. })), "{read:?}");
}

/// Else the server would hand entries to somebody who has gone.
#[tokio::test]
async fn a_cancelled_blocking_read_is_closed() {
    let server = private_server();
    let (redis, _) = watched(&settings_of(&server)).await;
    let waiting = async || {
        let clients: String = ask(server.url(), &["CLIENT", "LIST"]).await;
        clients.lines().filter(|line| line.contains("flags=b")).count()
    };
    let reader = redis.clone();
    let reading = tokio::spawn(async move {
        let streams = [("stream", EntryPosition::START)];
        reader.xread_blocking(&streams, None, Duration::from_secs(3_600)).await
    });
    until("it waits", async || waiting().await == 1).await;
    reading.abort();
    until("it does not wait any more", async || waiting().await == 0).await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_without_the_password() {
    let settings = RedisSettings::new("redis://:secret@127.0.0.1:1");
    let error = Redis::connect(&settings, None).await.expect_err("there is none");
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(error.to_string().contains("redis://***@127.0.0.1:1"), "{error}");
    assert!(!format!("{error:?}").contains("secret"));
}
