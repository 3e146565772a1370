//! The health of the processors, as all instances know it.

use std::time::{Duration, Instant};

use chrono::Utc;
use kv_payments::{POLL_INTERVAL, Processor, REPORT_TTL, Report, SharedHealth, UPDATES};
use kv_runtime::RedisSettings;
use kv_runtime::redis::{Expiry, Redis};
use kv_runtime::testing::RedisServer;

use super::common::{World, soon, until};

const KEY: &str = "processor:health:default";

/// How soon all instances know of a change, at the best of some tries: a machine that is busy may
/// take longer at any of them.
const NEWS: Duration = Duration::from_millis(100);

const TRIES: u32 = 10;

/// A report that is newer than what is known.
fn unhealthy() -> Report {
    Report {
        processor: Processor::Default,
        healthy: false,
        min_response_ms: 7,
        timestamp: Utc::now(),
    }
}

impl World {
    fn all_know(&self, report: Report) -> bool {
        self.instances.iter().all(|one| one.board().report(report.processor) == Some(report))
    }

    /// Whether some instance knows what is newer.
    fn some_know_better(&self, report: Report) -> bool {
        let mut known = self.instances.iter().map(|one| one.board().report(report.processor));
        known.any(|known| known.is_some_and(|known| known.timestamp > report.timestamp))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_kept_in_redis_for_30_s_and_what_is_not_there_is_unhealthy() {
    let world = World::servers().await;
    let redis = world.redis().await;
    let ttl = redis.ttl(KEY).await.expect("it is there").expect("not for ever");
    assert!(ttl > Duration::ZERO && ttl <= REPORT_TTL, "{ttl:?}");
    let health = SharedHealth::new(redis.clone());
    let stored = health.find(Processor::Default).await.expect("the server is up");
    assert!(stored.is_some_and(|report| report.healthy));
    for instance in &world.instances {
        until("without the key it is unhealthy", async || {
            // Whoever polls may put it back meanwhile.
            redis.delete(KEY).await.expect("the server is up");
            !instance.board().is_healthy(Processor::Default)
        })
        .await;
    }
}

#[tokio::test]
async fn that_redis_cannot_be_asked_is_an_error() {
    let mut server = RedisServer::start().expect("a private server");
    let redis = Redis::connect(&RedisSettings::new(server.url()), None).await;
    let health = SharedHealth::new(redis.expect("the server is up"));
    assert_eq!(health.find(Processor::Default).await.expect("it is up"), None);
    server.kill().expect("it was running");
    assert!(health.find(Processor::Default).await.is_err());
    assert!(health.store(&unhealthy()).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_instance_asks_for_all_and_never_too_soon() {
    let world = World::servers().await;
    for processor in [&world.default, &world.fallback] {
        until("it is asked again", async || processor.health_calls().0 >= 3).await;
        assert_eq!(processor.health_calls().1, 0, "it was asked too soon");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_is_published_and_all_instances_learn_it() {
    let world = World::servers().await;
    let redis = world.redis().await;
    let mut updates = redis.subscribe(&[UPDATES]).await.expect("the server is up");
    let mut best = Duration::MAX;
    for _ in 0..TRIES {
        // The key stays as it was, so that nobody learns it from there.
        let report = unhealthy();
        let published = Instant::now();
        redis.publish_json(UPDATES, &report).await.expect("the server is up");
        // Whoever polls may publish what is newer, which ends a try without a result.
        while !world.all_know(report) && !world.some_know_better(report) {
            assert!(published.elapsed() < 2 * POLL_INTERVAL, "nobody learns it");
            tokio::task::yield_now().await;
        }
        if world.all_know(report) {
            best = best.min(published.elapsed());
        }
        if best < NEWS {
            break;
        }
    }
    assert!(best < NEWS, "the best of {TRIES} tries: {best:?}");

    let report = unhealthy();
    SharedHealth::new(redis).store(&report).await.expect("the server is up");
    let message = loop {
        let message = soon("it is published", updates.next()).await.expect("a message");
        let message: serde_json::Value = message.json().expect("JSON");
        if message["timestamp"] == serde_json::json!(report.timestamp) {
            break message;
        }
    };
    assert_eq!(message["healthy"], false);
    assert_eq!(message["processor"], "default");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_missed_the_message_learns_it_from_the_key() {
    let world = World::servers().await;
    let redis = world.redis().await;
    until("all know what was published by nobody", async || {
        // Again, because whoever polls may have written a newer one.
        let report = unhealthy();
        let ttl = Expiry::After(REPORT_TTL);
        redis.set_json_with(KEY, &report, ttl).await.expect("the server is up");
        tokio::time::sleep(Duration::from_millis(700)).await;
        world.all_know(report)
    })
    .await;
}
