//! Strings and JSON, and the errors of both.

use std::time::Duration;

use kv_runtime::redis::{Error, Expiry, SetReply};
use serde::{Deserialize, Serialize};

use super::common::{handle, handle_with, settings};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Session {
    user: String,
    logins: u32,
}

fn session() -> Session {
    Session { user: "ann".to_owned(), logins: 3 }
}

#[tokio::test]
async fn a_key_is_set_read_and_deleted() {
    let redis = handle().await;
    redis.set("greeting", "hello").await.expect("set");
    assert_eq!(redis.get::<String>("greeting").await.expect("it is set"), "hello");
    redis.set("count", 42_i64).await.expect("set");
    assert_eq!(redis.get::<i64>("count").await.expect("it is set"), 42);
    assert!(redis.exists("count").await.expect("an answer"));

    assert!(redis.delete("greeting").await.expect("deleted"));
    assert!(!redis.delete("greeting").await.expect("there is nothing"));
    let error = redis.get::<String>("greeting").await.expect_err("it is deleted");
    assert!(error.is_not_found());
    assert_eq!(error.to_string(), "get of `greeting`: there is nothing");
    assert_eq!(redis.find::<String>("greeting").await.expect("no error"), None);
    assert!(!redis.exists("greeting").await.expect("an answer"));
}

#[tokio::test]
async fn what_is_set_lives_as_long_as_it_is_told() {
    let mut settings = settings();
    settings.default_ttl = Some(Duration::from_secs(1_000));
    let redis = handle_with(&settings).await;
    let ttl = async |key| redis.ttl(key).await.expect("it is there");
    // Less than it was set to, by the time that this test takes.
    let is_about = |ttl: Option<Duration>, seconds| {
        ttl.is_some_and(|ttl| ttl <= Duration::from_secs(seconds) && ttl.as_secs() > seconds / 2)
    };

    redis.set("a", 1).await.expect("set");
    assert!(is_about(ttl("a").await, 1_000));
    redis.set_with("a", 1, Expiry::After(Duration::from_secs(7_000))).await.expect("set");
    assert!(is_about(ttl("a").await, 7_000));
    redis.set_with("a", 1, Expiry::Never).await.expect("set");
    assert_eq!(ttl("a").await, None);
    assert!(redis.expire("a", Duration::from_secs(400)).await.expect("it is there"));
    assert!(is_about(ttl("a").await, 400));
    redis.set_json("b", &session()).await.expect("set");
    assert!(is_about(ttl("b").await, 1_000));

    assert!(!redis.expire("none", Duration::from_secs(400)).await.expect("no error"));
    assert!(redis.ttl("none").await.expect_err("there is none").is_not_found());
    // Not even Redis can count longer ones.
    redis.set_with("a", 1, Expiry::After(Duration::MAX)).await.expect("set");
    assert!(ttl("a").await.is_some());
}

#[tokio::test]
async fn a_key_is_set_once_if_it_is_to_be_absent() {
    let mut settings = settings();
    settings.default_ttl = Some(Duration::from_secs(1_000));
    let redis = handle_with(&settings).await;
    assert_eq!(redis.set_if_absent("first", "a").await.expect("set"), SetReply::Set);
    assert_eq!(redis.set_if_absent("first", "b").await.expect("an answer"), SetReply::NotSet);
    assert_eq!(redis.get::<String>("first").await.expect("it is set"), "a");
    assert!(redis.ttl("first").await.expect("it is there").is_some());
    let reply = redis.set_if_absent_with("second", "a", Expiry::Never).await.expect("set");
    assert_eq!((reply, redis.ttl("second").await.expect("it is there")), (SetReply::Set, None));
}

#[tokio::test]
async fn json_comes_back_and_what_is_none_names_the_type() {
    let redis = handle().await;
    redis.set_json("session", &session()).await.expect("set");
    assert_eq!(redis.get_json::<Session>("session").await.expect("it is there"), session());
    assert_eq!(redis.find_json::<Session>("none").await.expect("no error"), None);
    assert!(redis.get_json::<Session>("none").await.expect_err("none").is_not_found());

    for garbage in
        ["secret garbage", r#"{"user": "secret"}"#, r#"{"user": "a", "logins": "secret"}"#]
    {
        redis.set("session", garbage).await.expect("set");
        let error = redis.get_json::<Session>("session").await.expect_err("it is garbage");
        assert!(
            matches!(&error, Error::Parsing { type_name, .. } if type_name.ends_with("Session"))
        );
        let message = format!("{error} {error:?}");
        assert!(message.contains("Session") && message.contains("get_json of `session`"));
        assert!(!message.contains("secret"), "no value is shown: {message}");
    }
}

#[tokio::test]
async fn a_value_of_another_type_is_an_error_without_the_value() {
    let redis = handle().await;
    redis.set("word", "secret").await.expect("set");
    let error = redis.get::<i64>("word").await.expect_err("it is no number");
    assert!(matches!(&error, Error::Parsing { type_name: "i64", .. }), "{error:?}");
    assert!(!format!("{error:?}").contains("secret"));

    let map = std::collections::BTreeMap::from([((1, 2), "no text as key")]);
    let error = redis.set_json("map", &map).await.expect_err("JSON has no such keys");
    assert!(matches!(&error, Error::Encoding { .. }), "{error:?}");
    assert!(!redis.exists("map").await.expect("an answer"), "nothing was sent");
}
