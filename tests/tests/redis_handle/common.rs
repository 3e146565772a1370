//! A handle with a tenant of its own, and a look at the server from outside.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kv_runtime::RedisSettings;
use kv_runtime::redis::{FromRedisValue, Redis};
use kv_runtime::testing::{RedisServer, servers};
use kv_tests::outside::connect;

/// Longer than anything takes, on any machine.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The settings of the server that all tests share.
pub(crate) fn settings() -> RedisSettings {
    RedisSettings::new(servers().redis_url())
}

/// A tenant that no other test has.
pub(crate) fn tenant() -> String {
    static TENANTS: AtomicU64 = AtomicU64::new(0);
    format!("h{}-{}", std::process::id(), TENANTS.fetch_add(1, Ordering::Relaxed))
}

/// A handle on the server that all tests share, of a tenant of its own.
pub(crate) async fn handle() -> Redis {
    handle_with(&settings()).await
}

pub(crate) async fn handle_with(settings: &RedisSettings) -> Redis {
    Redis::connect(settings, Some(&tenant())).await.expect("the server is up")
}

pub(crate) fn private_server() -> RedisServer {
    RedisServer::start().expect("a private server")
}

/// What a server answers to a command over a connection of its own.
pub(crate) async fn ask<T: FromRedisValue>(url: &str, words: &[&str]) -> T {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(*word);
    }
    let answer = command.query_async(&mut connect(url).await).await;
    answer.unwrap_or_else(|error| panic!("{words:?}: {error}"))
}

/// Waits for what has to come.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(WAIT_MAX, future).await;
    outcome.unwrap_or_else(|_| panic!("it does not come to that: {what}"))
}
