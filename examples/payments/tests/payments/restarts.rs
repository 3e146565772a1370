//! Instances that die and servers that restart lose nothing.

use std::process::Stdio;
use std::time::Duration;

use futures_util::future::join_all;
use kv_payments::{Config, Processors, State};
use kv_runtime::testing::{RedisOptions, RedisServer};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use uuid::Uuid;

use super::common::{World, on_servers, soon, until};

/// Short, so that what an instance leaves is soon taken over.
const TIMEOUT: Duration = Duration::from_millis(500);
const LEASE: Duration = Duration::from_secs(1);

fn quick(processors: Processors) -> Config {
    let mut config = on_servers(processors);
    config.delivery.timeout = TIMEOUT;
    config.delivery.lease = LEASE;
    config
}

/// An instance in a process of its own, and where it listens.
async fn start_process(world: &World) -> (Child, String) {
    let settings = &world.config.settings;
    let mut process = Command::new(env!("CARGO_BIN_EXE_payments"))
        .arg("serve")
        .env("LISTEN", "127.0.0.1:0")
        .env("USE_DATABASE_STORAGE", "true")
        .env("USE_REDIS_HEALTH_MONITORING", "true")
        .env("USE_REDIS_SESSION_CACHE", "true")
        .env("REDIS_URL", settings.redis.url.expose())
        .env("DATABASE_URL", settings.postgres.url.expose())
        .env("DATABASE_MAX_CONNECTIONS", "5")
        .env("TENANT", settings.tenant.as_deref().unwrap_or_default())
        .env("PROCESSOR_DEFAULT_URL", world.default.url())
        .env("PROCESSOR_FALLBACK_URL", world.fallback.url())
        .env("PROCESSOR_TIMEOUT", format!("{}ms", TIMEOUT.as_millis()))
        .env("PAYMENT_LEASE", format!("{}ms", LEASE.as_millis()))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program was built");
    let output = process.stdout.take().expect("it is piped");
    let mut lines = BufReader::new(output).lines();
    let line = soon("it listens", lines.next_line()).await;
    (process, line.expect("its output").expect("a line"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_instance_leaves_is_taken_over() {
    let mut world = World::start(quick, 1).await;
    let (mut process, url) = start_process(&world).await;
    // They are on their way when it is killed, and the processor has what has come to it.
    world.default.set_records_first(true);
    world.default.set_delay(Duration::from_secs(60));
    let ids: Vec<Uuid> = (0..20).map(|_| Uuid::new_v4()).collect();
    let pay = async |id: &Uuid| {
        let body = format!(r#"{{"correlationId":"{id}","amount":1.00}}"#);
        world.client.post(&format!("{url}/payments"), body).await.expect("an answer").status
    };
    for status in join_all(ids.iter().map(pay)).await {
        assert_eq!(status, 202);
    }
    until("a payment is on its way", async || world.recorded().0 > 0).await;
    process.kill().await.expect("it was running");
    world.default.set_delay(Duration::ZERO);
    for &id in &ids {
        world.processed(id).await;
    }
    let (default, fallback) = world.recorded();
    assert_eq!(default + fallback, 20);
    world.assert_none_is_at_both();
    // The other one ends in good order, and the next one finds everything.
    world.instances.pop().expect("the instance").stop().await;
    world.add_instance().await;
    for &id in &ids {
        assert_eq!(world.find(id).await.expect("it is kept").state, State::Processed);
    }
    let summary = world.summary("").await;
    assert_eq!(summary.default.total_requests + summary.fallback.total_requests, 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_redis_loses_nothing() {
    // What is acknowledged is on its disk.
    let options = RedisOptions::new().append_only(true).setting("appendfsync", "always");
    let mut redis = RedisServer::start_with(options).expect("a private server");
    let configure = |processors| {
        let mut config = quick(processors);
        config.settings.redis.url = redis.url().into();
        config
    };
    let world = World::start(configure, 2).await;
    world.default.set_failing(true);
    world.fallback.set_failing(true);
    let ids: Vec<Uuid> = (0..20).map(|_| Uuid::new_v4()).collect();
    for &id in &ids {
        assert_eq!(world.pay(id, "1.00").await.status, 202);
    }
    redis.kill().expect("it was running");
    assert_eq!(world.pay(Uuid::new_v4(), "1.00").await.status, 503);
    redis.restart().expect("a port that was free");
    world.default.set_failing(false);
    world.fallback.set_failing(false);
    for &id in &ids {
        until("it is found", async || world.find(id).await.is_some()).await;
        world.processed(id).await;
    }
    let (default, fallback) = world.recorded();
    assert_eq!(default + fallback, 20);
    world.assert_none_is_at_both();
    let summary = world.summary("").await;
    assert_eq!(summary.default.total_requests + summary.fallback.total_requests, 20);
}
