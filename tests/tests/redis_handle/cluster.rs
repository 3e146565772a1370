//! The handle on a Redis Cluster: commands go to the node that has their key.

use std::collections::BTreeMap;
use std::time::Duration;

use kv_runtime::RedisSettings;
use kv_runtime::redis::{EntryPosition, Redis, Script};
use kv_runtime::testing::servers;

use super::common::{handle_with, soon};
use super::streams::{append, numbers};

async fn handle() -> Redis {
    let mut settings = RedisSettings::default();
    settings.cluster_nodes = servers().redis_cluster().urls();
    handle_with(&settings).await
}

#[tokio::test]
async fn every_family_of_commands_finds_its_node() {
    let redis = handle().await;
    // Enough to have keys on every node.
    for number in 0..20_i64 {
        let key = |of: &str| format!("{of}{number}");
        redis.set(&key("string"), number).await.expect("set");
        assert_eq!(redis.get::<i64>(&key("string")).await.expect("it is set"), number);
        redis.hset(&key("hash"), "field", number).await.expect("set");
        let fields: BTreeMap<String, i64> = redis.hgetall(&key("hash")).await.expect("it is set");
        assert_eq!(fields, BTreeMap::from([("field".to_owned(), number)]));
        let add = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
        let sum = redis.eval::<i64>(&add, &[&key("string")], 100).await.expect("run");
        assert_eq!(sum, number + 100);
        let lock = redis.lock(&key("lock"), Duration::from_secs(60)).await.expect("it is free");
        assert!(redis.lock(&key("lock"), Duration::from_secs(60)).await.is_err());
        lock.release().await.expect("released");
    }
}

#[tokio::test]
async fn a_groups_entries_are_read_and_acknowledged() {
    let redis = handle().await;
    append(&redis, "events", 0..5).await;
    redis.group_create("events", "billing", EntryPosition::START).await.expect("created");
    let read = redis.group_read("billing", "one", &[("events", EntryPosition::Undelivered)], None);
    let read = read.await.expect("read");
    assert_eq!(numbers(&read["events"]), [0, 1, 2, 3, 4]);
    let ids: Vec<_> = read["events"].iter().map(|entry| entry.id).collect();
    assert_eq!(redis.group_ack("events", "billing", &ids).await.expect("acknowledged"), 5);
    assert_eq!(redis.group_pending("events", "billing").await.expect("an answer").count, 0);
}

#[tokio::test]
async fn a_message_reaches_who_has_subscribed() {
    let redis = handle().await;
    let mut news = redis.subscribe(&["news"]).await.expect("subscribed");
    redis.publish("news", "it rains").await.expect("published");
    let message = soon("it comes", news.next()).await.expect("it goes on");
    assert_eq!(message.get::<String>().expect("a text"), "it rains");
}
