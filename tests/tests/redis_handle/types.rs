//! What can be sent to other threads.

use std::time::Duration;

use kv_runtime::Kv;
use kv_runtime::redis::{Error, Message, Pipeline, Redis, Script, StreamEntries, Subscription};

use super::common::handle;

fn is_shareable<T: Send + Sync + 'static>() {}

fn is_sendable<T: Send>(_: &T) {}

#[tokio::test]
async fn all_types_are_shareable_and_their_futures_sendable() {
    is_shareable::<Kv>();
    is_shareable::<Redis>();
    is_shareable::<Pipeline>();
    is_shareable::<Subscription>();
    is_shareable::<Message>();
    is_shareable::<StreamEntries>();
    is_shareable::<kv_runtime::redis::Lock>();
    is_shareable::<Error>();

    let redis = handle().await;
    let script = Script::new("return 1");
    is_sendable(&redis.get::<String>("key"));
    is_sendable(&redis.set_json("key", &1));
    is_sendable(&redis.hset("key", "field", 1));
    is_sendable(&redis.lpop::<i64>("key", 1));
    is_sendable(&redis.xread(&[], None));
    is_sendable(&redis.xread_blocking(&[], None, Duration::ZERO));
    is_sendable(&redis.group_read("group", "consumer", &[], None));
    is_sendable(&redis.eval::<i64>(&script, &[], None::<&str>));
    is_sendable(&redis.pipeline().run::<()>());
    is_sendable(&redis.subscribe(&[]));
    is_sendable(&redis.lock("name", Duration::ZERO));
    let task = tokio::spawn(async move { redis.set("key", 1).await });
    task.await.expect("no panic").expect("set");
}
