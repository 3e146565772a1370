//! Redis fails under load: what was acknowledged is there, what was refused is not, and nothing
//! is there twice.

use std::time::Duration;

use kv_runtime::Settings;
use kv_runtime::testing::{Proxy, RedisOptions, RedisServer, servers};
use kv_tests::models::Account;
use kv_tests::outside::RedisView;
use kv_tests::pair::Pair;

use super::course::{account, flush, spawn, until};
use super::storm::Storm;

/// A pair on this server of Redis alone, which keeps all entries.
async fn pair_on(redis_url: &str) -> Pair {
    let mut settings = Settings::new(redis_url, servers().create_database());
    settings.tenant = Some("private".to_owned());
    settings.partitions = 8;
    settings.drain.interval = Duration::from_millis(5);
    settings.drain.backoff_max = Duration::from_millis(500);
    settings.drain.lease = Duration::from_millis(600);
    settings.drain.retention = Duration::from_secs(3_600);
    Pair::connect(settings).await
}

fn private_server() -> RedisServer {
    RedisServer::start().expect("a private server")
}

/// Each write is on disk before it is acknowledged, so none is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_only_redis_that_is_killed_or_restarted_has_what_it_acknowledged() {
    let options = RedisOptions::new().append_only(true).setting("appendfsync", "always");
    let mut server = RedisServer::start_with(options).expect("a private server");
    let pair = pair_on(server.url()).await;
    let drainer = spawn(&pair);
    let storm = Storm::begin(&pair);
    for is_killed in [true, false, true] {
        storm.is_acknowledged(200).await;
        if is_killed {
            server.kill().expect("it is there");
        }
        server.restart().expect("it starts again");
        storm.is_acknowledged(200).await;
    }
    let answers = storm.end().await;
    flush(&drainer).await;
    let status = drainer.shutdown().await.expect("everything can be drained");
    assert_eq!((status.setbacks, status.dead_letters), (0, 0), "nothing was lost");
    answers.check(&pair).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_the_server_has_forgotten_are_loaded_again() {
    let server = private_server();
    let pair = pair_on(server.url()).await;
    let redis = RedisView::of(&pair).await;
    let drainer = spawn(&pair);
    let storm = Storm::begin(&pair);
    for _ in 0..300 {
        let () = redis.ask(&["SCRIPT", "FLUSH"]).await;
        storm.is_acknowledged(2).await;
    }
    let answers = storm.end().await;
    assert!(answers.unknown.is_empty() && answers.refused.is_empty(), "{answers:?}");
    flush(&drainer).await;
    drainer.shutdown().await.expect("everything can be drained");
    answers.check(&pair).await;
}

/// It takes commands and does them later, when their callers have given up waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_pauses_does_nothing_twice() {
    let server = private_server();
    let pair = pair_on(server.url()).await;
    let pair =
        pair.with(|settings| settings.redis.command_timeout = Duration::from_millis(250)).await;
    let redis = RedisView::of(&pair).await;
    let drainer = spawn(&pair);
    let storm = Storm::begin(&pair);
    // Shorter and longer than writes are tried for.
    for pause_ms in ["400", "4000", "400"] {
        storm.is_acknowledged(100).await;
        let () = redis.ask(&["CLIENT", "PAUSE", pause_ms]).await;
    }
    storm.is_acknowledged(100).await;
    let answers = storm.end().await;
    assert!(!answers.unknown.is_empty(), "the long pause was told");
    flush(&drainer).await;
    drainer.shutdown().await.expect("everything can be drained");
    answers.check(&pair).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_cut_in_the_middle_is_asked_for_again() {
    let server = private_server();
    let proxy = Proxy::to(server.url()).await.expect("a proxy");
    let pair = pair_on(proxy.url()).await;
    let drainer = spawn(&pair);
    let storm = Storm::begin(&pair);
    for _ in 0..40 {
        storm.is_acknowledged(20).await;
        proxy.cut_answers_after(fastrand::u64(1..400));
    }
    storm.is_acknowledged(20).await;
    let answers = storm.end().await;
    flush(&drainer).await;
    drainer.shutdown().await.expect("everything can be drained");
    answers.check(&pair).await;
}

/// What is drained makes room: so draining has to go on where no write is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_redis_refuses_writes_and_is_drained() {
    let server = private_server();
    let pair = pair_on(server.url()).await;
    let redis = RedisView::of(&pair).await;
    let storm = Storm::begin(&pair);
    storm.is_acknowledged(500).await;
    let () = redis.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let error = pair.kv.repository::<Account>().create(&account(-1)).await.expect_err("no memory");
    assert!(error.is_transient() && format!("{error:?}").contains("OOM"), "{error:?}");
    // Members, leases and settled rows need memory too.
    let drainer = spawn(&pair);
    flush(&drainer).await;
    let status = until(&drainer, |status| status.undrained == 0).await;
    assert_eq!((status.partitions, status.last_error), (8, None));
    let () = redis.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
    storm.is_acknowledged(200).await;
    let answers = storm.end().await;
    assert!(!answers.refused.is_empty() && answers.unknown.is_empty());
    drainer.shutdown().await.expect("everything can be drained");
    answers.check(&pair).await;
}
