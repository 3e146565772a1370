//! Hashes, lists and sets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kv_runtime::redis::{Error, Expiry, SetReply};

use super::common::{handle, handle_with, settings};

#[tokio::test]
async fn fields_of_a_hash_are_set_and_read() {
    let redis = handle().await;
    redis.hset("user", "name", "ann").await.expect("set");
    redis.hset_many("user", &[("age", "30"), ("city", "Ulm")]).await.expect("set");
    assert_eq!(redis.hget::<String>("user", "name").await.expect("it is set"), "ann");
    assert_eq!(redis.hget::<u8>("user", "age").await.expect("it is set"), 30);
    let all: BTreeMap<String, String> = redis.hgetall("user").await.expect("it is there");
    let expected = [("age", "30"), ("city", "Ulm"), ("name", "ann")];
    assert_eq!(all, expected.map(|(field, value)| (field.to_owned(), value.to_owned())).into());

    assert_eq!(redis.hdel("user", &["age", "none"]).await.expect("deleted"), 1);
    assert!(redis.hget::<u8>("user", "age").await.expect_err("it is deleted").is_not_found());
    assert_eq!(redis.hfind::<u8>("user", "age").await.expect("no error"), None);
    let none: BTreeMap<String, String> = redis.hgetall("none").await.expect("no error");
    assert!(none.is_empty());

    redis.hset_json("user", "tags", &vec!["a", "b"]).await.expect("set");
    assert_eq!(redis.hget_json::<Vec<String>>("user", "tags").await.expect("set"), ["a", "b"]);
    let error = redis.hget_json::<Vec<String>>("user", "name").await.expect_err("no JSON");
    assert!(matches!(&error, Error::Parsing { type_name, .. } if type_name.contains("Vec")));
}

#[tokio::test]
async fn a_field_is_set_once_if_it_is_to_be_absent() {
    let redis = handle().await;
    let set = async |value| redis.hset_if_absent("user", "name", value).await.expect("an answer");
    assert_eq!(set("ann").await, SetReply::Set);
    assert_eq!(set("ben").await, SetReply::NotSet);
    assert_eq!(redis.hget::<String>("user", "name").await.expect("it is set"), "ann");
}

#[tokio::test]
async fn a_hash_lives_anew_with_each_field() {
    let mut settings = settings();
    settings.default_hash_ttl = Some(Duration::from_secs(1_000));
    let redis = handle_with(&settings).await;
    let lives = async || {
        let ttl = redis.ttl("hash").await.expect("it is there").expect("it ends");
        ttl <= Duration::from_secs(1_000) && ttl > Duration::from_secs(500)
    };
    let shorten = async || {
        let ttl = Duration::from_secs(100);
        assert!(redis.expire("hash", ttl).await.expect("it is there"));
    };
    redis.hset("hash", "a", 1).await.expect("set");
    assert!(lives().await);
    shorten().await;
    assert_eq!(redis.hset_if_absent("hash", "a", 2).await.expect("no error"), SetReply::NotSet);
    assert!(!lives().await, "what was not set leaves the time");
    assert_eq!(redis.hset_if_absent("hash", "b", 2).await.expect("set"), SetReply::Set);
    assert!(lives().await);
    let ttl = Expiry::After(Duration::from_secs(90));
    redis.hset_many_with("hash", &[("c", 3)], ttl).await.expect("set");
    assert!(!lives().await);
    redis.hset_many_with("other", &[("c", 3)], Expiry::Never).await.expect("set");
    assert_eq!(redis.ttl("other").await.expect("it is there"), None);
}

#[tokio::test]
async fn a_list_is_first_in_first_out() {
    let redis = handle().await;
    assert_eq!(redis.rpush("list", &[1, 2, 3]).await.expect("pushed"), 3);
    assert_eq!(redis.rpush("list", &[4, 5]).await.expect("pushed"), 5);
    assert_eq!(redis.lrange::<u8>("list", 0, -1).await.expect("all"), [1, 2, 3, 4, 5]);
    assert_eq!(redis.lrange::<u8>("list", -2, -1).await.expect("the end"), [4, 5]);
    assert_eq!(redis.lpop::<u8>("list", 2).await.expect("taken"), [1, 2]);
    assert_eq!(redis.lpop::<u8>("list", 1).await.expect("taken"), [3]);
    assert_eq!(redis.llen("list").await.expect("an answer"), 2);
    assert_eq!(redis.lpop::<u8>("list", 9).await.expect("taken"), [4, 5]);
    assert_eq!(redis.lpop::<u8>("list", 1).await.expect("no error"), [0_u8; 0]);
}

#[tokio::test]
async fn a_member_is_in_a_set_once() {
    let redis = handle().await;
    assert_eq!(redis.sadd("set", &["a", "b", "a"]).await.expect("added"), 2);
    assert_eq!(redis.sadd("set", &["b", "c"]).await.expect("added"), 1);
    let members: BTreeSet<String> = redis.smembers("set").await.expect("an answer");
    assert_eq!(members, ["a", "b", "c"].map(str::to_owned).into());
    assert_eq!(redis.srem("set", &["a", "z"]).await.expect("removed"), 1);
    assert_eq!(redis.smembers::<Vec<String>>("set").await.expect("an answer").len(), 2);
}
