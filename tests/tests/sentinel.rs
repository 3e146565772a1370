//! Redis as sentinels watch over it: the primary dies, hangs or becomes a replica, and another takes
//! over. The core of the contract suite runs there as well.

use std::time::{Duration, Instant};

use kv_runtime::redis::{EntryPosition, Redis};
use kv_runtime::testing::{RedisSentinel, servers};
use kv_runtime::{ConnectError, Error, Kv, RedisSettings, Repository, Settings};
use kv_tests::audit;
use kv_tests::models::Account;
use kv_tests::pair::Pair;
use kv_tests::revisions::{RevisionWriters, WAIT_MAX};

fn private() -> RedisSentinel {
    RedisSentinel::start().expect("private servers and sentinels")
}

fn settings_of(redis: &RedisSentinel) -> RedisSettings {
    let mut settings = RedisSettings::default();
    settings.sentinel_nodes = redis.urls();
    settings.sentinel_service = Some(redis.service().to_owned());
    settings.command_timeout = Duration::from_millis(500);
    settings
}

/// Tries until it is done; outages are told as such meanwhile.
async fn write_until_done(accounts: &Repository<Account>, id: i64) {
    let started = Instant::now();
    let row = Account { id, revision: 1, note: None, active: true };
    while let Err(error) = accounts.upsert(&row).await {
        assert!(error.is_transient() || matches!(error, Error::NotReplicated { .. }), "{error:?}");
        assert!(started.elapsed() < WAIT_MAX, "{error:?}");
    }
}

/// Publishes until somebody has it.
async fn publish_until_heard(redis: &Redis, payload: &str) {
    let started = Instant::now();
    while !redis.publish("news", payload).await.is_ok_and(|heard| heard > 0) {
        assert!(started.elapsed() < WAIT_MAX, "nobody hears it");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_replicas_have_acknowledged_outlives_a_primary() {
    let mut redis = private();
    let pair = Pair::on_sentinel(&redis).await.replicated().await;
    pair.sql(audit::TABLES).await;
    let drainer = pair.spawn_drainer();
    let writers = RevisionWriters::start(&pair);
    let redis = tokio::task::spawn_blocking(move || {
        let mut outages = Vec::new();
        for _ in 0..2 {
            let primary = redis.primary().expect("there is one");
            redis.servers_mut()[primary].kill().expect("it is killed");
            let began = Instant::now();
            redis.await_other_primary(primary).expect("a replica takes over");
            outages.push(began.elapsed());
            // As a primary, until a sentinel tells it otherwise: nobody must go back to it.
            redis.servers_mut()[primary].restart().expect("it comes back");
            redis.await_agreement().expect("it is a replica");
        }
        println!("replicas took over after {outages:?}");
        redis
    });
    let redis = redis.await.expect("primaries are killed");
    writers.finish(&pair, drainer).await;
    drop(redis);
}

/// Its connections stay open, and it is not told that it is the primary no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_hangs_is_left() {
    let redis = private();
    let pair = Pair::on_sentinel(&redis).await.replicated().await;
    let accounts = pair.kv.repository::<Account>();
    write_until_done(&accounts, 1).await;
    let handle = Redis::connect(&settings_of(&redis), None).await.expect("there is a primary");
    let primary = redis.primary().expect("there is one");
    redis.servers()[primary].ask("CLIENT PAUSE 600000").expect("it hangs from now on");
    redis.await_other_primary(primary).expect("a replica takes over");
    write_until_done(&accounts, 2).await;
    let started = Instant::now();
    while let Err(error) = handle.set("key", "value").await {
        assert!(started.elapsed() < WAIT_MAX, "{error:?}");
    }
    assert_eq!(pair.drain().await.undrained, 0);
}

/// Nobody cuts its connections: it is by its answers alone that one knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_has_become_a_replica_is_left() {
    let redis = private();
    let pair = Pair::on_sentinel(&redis).await;
    let accounts = pair.kv.repository::<Account>();
    write_until_done(&accounts, 1).await;
    let handle = Redis::connect(&settings_of(&redis), None).await.expect("there is a primary");
    handle.set("key", "value").await.expect("it takes writes");

    let (former, next) = (&redis.servers()[0], &redis.servers()[1]);
    next.ask("REPLICAOF NO ONE").expect("it is a primary");
    let (service, port) = (redis.service(), next.port());
    for sentinel in redis.sentinels() {
        sentinel.ask(&format!("SENTINEL REMOVE {service}")).expect("it is forgotten");
        let monitor = format!("SENTINEL MONITOR {service} 127.0.0.1 {port} 2");
        sentinel.ask(&monitor).expect("it is watched");
    }
    former.ask(&format!("REPLICAOF 127.0.0.1 {port}")).expect("it is a replica");

    let row = Account { id: 2, revision: 1, note: None, active: true };
    let error = accounts.upsert(&row).await.err();
    assert!(error.as_ref().is_none_or(Error::is_transient), "{error:?}");
    write_until_done(&accounts, 2).await;
    let started = Instant::now();
    while let Err(error) = handle.set("other", "value").await {
        assert!(started.elapsed() < WAIT_MAX, "{error:?}");
    }
    assert_eq!(next.ask("EXISTS other").expect("an answer"), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_handle_and_its_subscriptions_follow_the_primary() {
    let mut redis = private();
    let handle = Redis::connect(&settings_of(&redis), None).await.expect("there is a primary");
    let mut news = handle.subscribe(&["news", "given up"]).await.expect("subscribed");
    let mut all = handle.subscribe_to_patterns(&["n*"]).await.expect("subscribed");
    news.unsubscribe(&["given up"]).await.expect("given up");
    handle.publish("news", "before").await.expect("published");
    for subscription in [&mut news, &mut all] {
        let message = subscription.next().await.expect("it goes on");
        assert_eq!(message.get::<String>().expect("a text"), "before");
    }
    let primary = redis.primary().expect("there is one");
    redis.servers_mut()[primary].kill().expect("it is killed");
    let next = redis.await_other_primary(primary).expect("a replica takes over");
    for subscription in [&mut news, &mut all] {
        // One of them may be back before the other.
        let heard = tokio::time::timeout(WAIT_MAX, async {
            loop {
                publish_until_heard(&handle, "after").await;
                let next = tokio::time::timeout(Duration::from_millis(100), subscription.next());
                if let Ok(message) = next.await {
                    return message;
                }
            }
        });
        let message = heard.await.expect("it is back").expect("it goes on");
        assert_eq!(message.get::<String>().expect("a text"), "after");
    }
    let subscribed = redis.servers()[next].ask("PUBSUB NUMSUB news").expect("an answer");
    assert_eq!(subscribed.lines().last(), Some(":1"), "{subscribed}");
    let given_up = redis.servers()[next].ask("PUBSUB NUMSUB \"given up\"").expect("an answer");
    assert_eq!(given_up.lines().last(), Some(":0"), "{given_up}");
    // A connection for reads that block is made anew as well.
    handle.xadd("stream", EntryPosition::Auto, &[("field", "value")]).await.expect("appended");
    let read = handle
        .xread_blocking(&[("stream", EntryPosition::START)], None, Duration::from_secs(1))
        .await
        .expect("an answer");
    assert_eq!(read.len(), 1);
}

#[tokio::test]
async fn what_a_test_has_there_is_removed() {
    let redis = servers().redis_sentinel();
    let mut settings = Settings::new("redis://localhost", servers().create_database());
    settings.redis = settings_of(redis);
    let kv = Kv::test(settings).await.expect("there is a primary");
    kv.redis().await.expect("it has one").set("key", "value").await.expect("set");
    let primary = &redis.servers()[redis.primary().expect("there is one")];
    let keys = || primary.ask("KEYS *test*").expect("an answer");
    assert!(keys().contains("key"), "{}", keys());
    tokio::task::spawn_blocking(move || drop(kv)).await.expect("its keys are removed");
    assert!(!keys().contains("key"), "{}", keys());
}

/// What is wrong, as those are told who connect.
async fn refusal(settings: RedisSettings) -> String {
    let mut all = Settings::new("redis://localhost", servers().postgres_url());
    all.redis = settings;
    let error = Kv::connect(all).await.expect_err("it cannot be connected");
    let ConnectError::Redis { source, .. } = &error else { panic!("{error:?}") };
    format!("{error}: {source}")
}

#[tokio::test]
async fn it_is_told_what_is_wrong_with_sentinels() {
    let redis = servers().redis_sentinel();
    let mut settings = settings_of(redis);
    settings.sentinel_service = Some("other".to_owned());
    let message = refusal(settings).await;
    assert!(message.contains("no sentinel knows") && message.contains("`other`"), "{message}");

    let mut settings = settings_of(redis);
    // Nobody listens there.
    settings.sentinel_nodes =
        vec!["redis://127.0.0.1:1".into(), "redis://:secret@127.0.0.1:2".into()];
    let message = refusal(settings).await;
    let addresses = "redis://127.0.0.1:1, redis://***@127.0.0.1:2";
    assert!(message.contains("no sentinel answers") && message.contains(addresses), "{message}");

    // One that is up is enough.
    let mut settings = settings_of(redis);
    settings.sentinel_nodes.insert(0, "redis://127.0.0.1:1".into());
    settings.sentinel_nodes.truncate(2);
    Redis::connect(&settings, None).await.expect("the other one knows");
}

#[tokio::test]
async fn sentinels_have_a_login_of_their_own() {
    let redis = servers().redis_sentinel();
    for sentinel in redis.sentinels() {
        sentinel.ask("ACL SETUSER asker on >word +@all").expect("a user");
    }
    let mut settings = settings_of(redis);
    settings.sentinel_username = Some("asker".to_owned());
    settings.sentinel_password = Some("word".into());
    Redis::connect(&settings, None).await.expect("both logins are right");
    settings.sentinel_password = Some("other".into());
    let error = Redis::connect(&settings, None).await.expect_err("a wrong password");
    let source = std::error::Error::source(&error).expect("what the sentinel said").to_string();
    assert!(source.contains("WRONGPASS") || source.contains("assword"), "{source}");
}
