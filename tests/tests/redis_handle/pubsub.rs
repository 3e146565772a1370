//! Publishing and subscribing.

use futures_util::StreamExt;
use kv_runtime::RedisSettings;
use kv_runtime::redis::{Error, Redis, Subscription};
use kv_tests::waiting::until;
use serde::{Deserialize, Serialize};

use super::common::{ask, handle, handle_with, private_server, soon};

async fn next(subscription: &mut Subscription) -> (String, String) {
    let message = soon("a message comes", subscription.next()).await.expect("it goes on");
    (message.channel.clone(), message.get().expect("a text"))
}

fn texts(channel: &str, payload: &str) -> (String, String) {
    (channel.to_owned(), payload.to_owned())
}

#[tokio::test]
async fn a_message_reaches_those_who_have_subscribed() {
    let redis = handle().await;
    let mut news = redis.subscribe(&["news", "more"]).await.expect("subscribed");
    assert_eq!(redis.publish("news", "it rains").await.expect("published"), 1);
    assert_eq!(redis.publish("none", "nobody hears it").await.expect("published"), 0);
    redis.publish("more", 42).await.expect("published");
    assert_eq!(next(&mut news).await, texts("news", "it rains"));
    assert_eq!(next(&mut news).await, texts("more", "42"));

    news.subscribe(&["third"]).await.expect("subscribed");
    news.unsubscribe(&["news"]).await.expect("given up");
    assert_eq!(redis.publish("news", "nobody hears it").await.expect("published"), 0);
    redis.publish("third", "as a stream").await.expect("published");
    let message = soon("it comes", StreamExt::next(&mut news)).await.expect("it goes on");
    assert_eq!((message.channel.as_str(), news.missed()), ("third", 0));

    drop(news);
    until("the connection is closed", async || {
        redis.publish("third", "").await.expect("published") == 0
    })
    .await;
    let error = redis.subscribe(&[]).await.expect_err("to nothing");
    assert!(matches!(error, Error::PubSub { .. }), "{error:?}");
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct News {
    title: String,
}

#[tokio::test]
async fn json_is_published() {
    let redis = handle().await;
    let mut channel = redis.subscribe(&["news"]).await.expect("subscribed");
    let news = News { title: "it rains".to_owned() };
    redis.publish_json("news", &news).await.expect("published");
    redis.publish("news", "\"secret\"").await.expect("published");
    let message = soon("it comes", channel.next()).await.expect("it goes on");
    assert_eq!(message.json::<News>().expect("it is news"), news);
    let message = soon("it comes", channel.next()).await.expect("it goes on");
    let error = message.json::<News>().expect_err("it is no news");
    assert!(matches!(&error, Error::Parsing { type_name, .. } if type_name.ends_with("News")));
    assert!(!format!("{error:?}").contains("secret"));
}

/// Whatever is in a tenant's name has no meaning in its patterns.
#[tokio::test]
async fn patterns_are_the_tenants_own() {
    let settings = super::common::settings();
    let prefix = super::common::tenant();
    let connect = async |name: &str| {
        let tenant = format!("{prefix}{name}");
        Redis::connect(&settings, Some(&tenant)).await.expect("the server is up")
    };
    let (wild, other) = (connect("*[a-z]?\\").await, connect("xb").await);
    let mut news = wild.subscribe_to_patterns(&["news.*"]).await.expect("subscribed");
    assert_eq!(other.publish("news.sports", "theirs").await.expect("published"), 0);
    assert_eq!(wild.publish("news.sports", "ours").await.expect("published"), 1);
    let message = soon("it comes", news.next()).await.expect("it goes on");
    assert_eq!(
        (message.channel.as_str(), message.pattern.as_deref()),
        ("news.sports", Some("news.*"))
    );
    assert_eq!(message.get::<String>().expect("a text"), "ours");
}

/// Publishes until somebody has it.
async fn publish_until_heard(redis: &Redis, channel: &str, payload: &str) {
    until("somebody hears it", async || {
        redis.publish(channel, payload).await.is_ok_and(|heard| heard > 0)
    })
    .await;
}

#[tokio::test]
async fn a_subscription_outlives_its_connection() {
    let server = private_server();
    let redis = handle_with(&RedisSettings::new(server.url())).await;
    let mut news = redis.subscribe(&["news"]).await.expect("subscribed");
    let mut all = redis.subscribe_to_patterns(&["n*"]).await.expect("subscribed");
    for round in ["a", "b"] {
        redis.publish("news", round).await.expect("published");
        assert_eq!(next(&mut news).await, texts("news", round));
        assert_eq!(next(&mut all).await, texts("news", round));
        let killed: u8 = ask(server.url(), &["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        assert_eq!(killed, 2);
        until("both are back", async || {
            redis.publish("news", "back").await.expect("published") == 2
        })
        .await;
        // One of them may have been back before the other.
        while next(&mut news).await.1 != "back" {}
        while next(&mut all).await.1 != "back" {}
        publish_until_heard(&redis, "news", "marker").await;
        while next(&mut news).await.1 != "marker" {}
        while next(&mut all).await.1 != "marker" {}
    }
}

/// Longer than the library tries to connect by itself.
#[tokio::test]
async fn a_subscription_outlives_an_outage() {
    let mut server = private_server();
    let mut settings = RedisSettings::new(server.url());
    settings.reconnect_retries = 0;
    let redis = handle_with(&settings).await;
    let mut news = redis.subscribe(&["news"]).await.expect("subscribed");
    server.kill().expect("it is there");
    // It is noticed, and tried again in vain.
    for _ in 0..3 {
        redis.publish("news", "into the void").await.expect_err("it is down");
    }
    server.restart().expect("it starts again");
    publish_until_heard(&redis, "news", "back").await;
    assert_eq!(next(&mut news).await, texts("news", "back"));
}
