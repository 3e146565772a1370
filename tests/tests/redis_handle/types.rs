//! What can be sent to other threads, and whose an error is.

use std::time::Duration;

use kv_runtime::Kv;
use kv_runtime::redis::{
    EntryPosition, Error, Message, Pipeline, Redis, Script, StreamEntries, Subscription,
};

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

#[tokio::test]
async fn a_refusal_is_of_the_operations_family() {
    let redis = handle().await;
    redis.rpush("list", &[1]).await.expect("pushed");
    redis.set("word", "a").await.expect("set");
    let auto = EntryPosition::Auto;
    macro_rules! refused {
        ($call:expr, $family:ident, $operation:literal) => {
            match $call.await.expect_err("it is of another type") {
                Error::$family { call, source } => {
                    assert_eq!(call.operation, $operation);
                    assert!(source.to_string().contains("WRONGTYPE"), "{source}");
                }
                other => panic!("{other:?}"),
            }
        };
    }
    refused!(redis.get::<String>("list"), String, "get");
    refused!(redis.hset("word", "field", 1), Hash, "hset");
    refused!(redis.hget::<String>("word", "field"), Hash, "hget");
    refused!(redis.rpush("word", &[1]), List, "rpush");
    refused!(redis.sadd("word", &[1]), Set, "sadd");
    refused!(redis.xadd("word", auto, &[("a", 1)]), Stream, "xadd");
    refused!(redis.group_create("word", "group", EntryPosition::START), Group, "group_create");
    let script = Script::new("return redis.call('LPUSH', KEYS[1], 1)");
    refused!(redis.eval::<i64>(&script, &["word"], None::<&str>), Script, "eval");
    let mut pipeline = redis.pipeline();
    pipeline.rpush("word", &[1]);
    refused!(pipeline.run::<(i64,)>(), Pipeline, "pipeline");
}
