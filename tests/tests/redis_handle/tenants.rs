//! Tenants: each key, stream, channel and lock has its prefix, and what has none yet is found where
//! that is wanted.

use std::collections::BTreeMap;
use std::time::Duration;

use kv_runtime::redis::{EntryPosition, Error, Expiry, Redis, Script};
use kv_runtime::{Kv, RedisSettings};
use kv_tests::pair::Pair;

use super::common::{ask, private_server, settings, soon, tenant};

async fn connect(settings: &RedisSettings, tenant: &str) -> Redis {
    Redis::connect(settings, Some(tenant)).await.expect("the server is up")
}

/// One call of each kind.
async fn call_all(redis: &Redis) -> Result<(), Error> {
    redis.set("bare", 1).await?;
    redis.set_if_absent("bare", 1).await?;
    redis.set_json("bare-json", &1).await?;
    redis.find::<i64>("bare").await?;
    redis.find_json::<i64>("bare-json").await?;
    redis.exists("bare").await?;
    redis.expire("bare", Duration::from_secs(60)).await?;
    redis.ttl("bare").await?;
    redis.hset("bare-hash", "field", 1).await?;
    redis.hset_if_absent("bare-hash", "field", 1).await?;
    redis.hfind::<i64>("bare-hash", "field").await?;
    redis.hgetall::<BTreeMap<String, i64>>("bare-hash").await?;
    redis.hdel("bare-hash", &["field"]).await?;
    redis.rpush("bare-list", &[1]).await?;
    redis.lrange::<i64>("bare-list", 0, -1).await?;
    redis.llen("bare-list").await?;
    redis.lpop::<i64>("bare-list", 1).await?;
    redis.sadd("bare-set", &[1]).await?;
    redis.smembers::<Vec<i64>>("bare-set").await?;
    redis.srem("bare-set", &[1]).await?;
    let (stream, start) = ("bare-stream", EntryPosition::START);
    let id = redis.xadd(stream, EntryPosition::Auto, &[("a", 1)]).await?;
    let wait = Duration::from_millis(1);
    assert!(redis.xread(&[(stream, start)], None).await?.contains_key(stream));
    redis.xread_blocking(&[(stream, start)], None, wait).await?;
    redis.group_create(stream, "group", start).await?;
    let undelivered = [(stream, EntryPosition::Undelivered)];
    redis.group_read("group", "consumer", &undelivered, None).await?;
    redis.group_read_blocking("group", "consumer", &undelivered, None, wait).await?;
    redis.group_pending(stream, "group").await?;
    redis.group_pending_entries(stream, "group", 1).await?;
    redis.group_claim(stream, "group", "other", Duration::ZERO, id, 1).await?;
    redis.group_ack(stream, "group", &[id]).await?;
    redis.group_set_id(stream, "group", start).await?;
    redis.group_destroy(stream, "group").await?;
    redis.xlen(stream).await?;
    redis.xtrim(stream, 1).await?;
    redis.xtrim_before(stream, id).await?;
    redis.xdel(stream, &[id]).await?;
    let script = Script::new("return redis.call('GET', KEYS[1])");
    redis.eval::<i64>(&script, &["bare", "bare-too"], &["argument"]).await?;
    let mut pipeline = redis.pipeline();
    pipeline
        .set("bare", 1, Expiry::Default)
        .get("bare")
        .hset("bare-hash", "f", 1)
        .hgetall("bare-hash")
        .rpush("bare-list", &[1])
        .sadd("bare-set", &[1])
        .xadd(stream, EntryPosition::Auto, &[("a", 1)])
        .expire("bare", Duration::from_secs(60))
        .command("INCR", "bare", None::<&str>)
        .delete("bare");
    pipeline.set_json("bare", &1, Expiry::Default)?;
    pipeline.run::<Vec<kv_runtime::redis::Value>>().await?;
    let mut channel = redis.subscribe(&["bare-channel"]).await?;
    channel.subscribe(&["bare-other"]).await?;
    channel.unsubscribe(&["bare-other"]).await?;
    let pattern = redis.subscribe_to_patterns(&["bare-*"]).await?;
    redis.publish("bare-channel", 1).await?;
    redis.publish_json("bare-channel", &1).await?;
    drop((channel, pattern));
    redis.lock("bare-lock", Duration::from_secs(60)).await?.release().await?;
    redis.delete("bare").await?;
    Ok(())
}

#[tokio::test]
async fn every_key_has_the_tenants_prefix() {
    let server = private_server();
    let client = redis::Client::open(server.url()).expect("a valid address");
    let monitor = client.get_async_monitor().await.expect("the server is up");
    let redis = connect(&RedisSettings::new(server.url()), "acme").await;
    call_all(&redis).await.expect("all calls are right");
    let () = ask(server.url(), &["ECHO", "the end"]).await;

    let mut names = 0;
    let mut commands = monitor.into_on_message::<String>();
    loop {
        let line = soon("the next command", futures_util::StreamExt::next(&mut commands)).await;
        let line = line.expect("the server is up");
        if line.contains("the end") {
            break;
        }
        let bare = line.matches("bare").count();
        let prefixed =
            line.matches("\"acme/bare").count() + line.matches("\"acme/lock:bare").count();
        assert_eq!(bare, prefixed, "a key without prefix: {line}");
        names += prefixed;
    }
    assert!(names > 60, "only {names} keys were seen");
}

#[tokio::test]
async fn tenants_do_not_see_each_other() {
    let (settings, names) = (settings(), tenant());
    let one = connect(&settings, &format!("{names}-one")).await;
    let two = connect(&settings, &format!("{names}-two")).await;
    one.set("id", "of one").await.expect("set");
    assert!(two.get::<String>("id").await.expect_err("it is not theirs").is_not_found());
    assert!(!two.delete("id").await.expect("an answer"));
    two.set("id", "of two").await.expect("set");
    assert_eq!(one.get::<String>("id").await.expect("it is there"), "of one");
    let _lock = one.lock("id", Duration::from_secs(60)).await.expect("nobody has it");
    two.lock("id", Duration::from_secs(60)).await.expect("nobody of theirs has it");
    // No name brings somebody to where another's keys are.
    let within = connect(&settings, &format!("{names}-one/id")).await;
    within.set("x", 1).await.expect("set");
    assert!(!one.exists("id/x").await.expect("an answer"));
    let error = Redis::connect(&settings, Some("")).await.expect_err("no tenant is `None`");
    assert!(error.to_string().contains("tenant"), "{error}");
}

#[tokio::test]
async fn what_has_no_prefix_yet_is_found_where_that_is_wanted() {
    let (mut settings, tenant) = (settings(), tenant());
    let bare = Redis::connect(&settings, None).await.expect("the server is up");
    let moved = connect(&settings, &tenant).await;
    settings.fallback_to_unprefixed = true;
    let moving = connect(&settings, &tenant).await;
    let key = |name: &str| format!("{tenant}-{name}");

    bare.set(&key("a"), "old").await.expect("set");
    assert!(moved.get::<String>(&key("a")).await.expect_err("not there").is_not_found());
    assert!(!moved.exists(&key("a")).await.expect("an answer"));
    assert_eq!(moving.get::<String>(&key("a")).await.expect("it is found"), "old");
    assert!(moving.exists(&key("a")).await.expect("an answer"));
    moving.set(&key("a"), "new").await.expect("set");
    assert_eq!(moving.get::<String>(&key("a")).await.expect("it is found"), "new");
    assert_eq!(bare.get::<String>(&key("a")).await.expect("it is left"), "old");
    assert!(moving.delete(&key("a")).await.expect("deleted"));
    assert_eq!(moving.find::<String>(&key("a")).await.expect("an answer"), None);

    bare.hset_many(&key("h"), &[("x", 1), ("y", 2)]).await.expect("set");
    assert_eq!(moved.hfind::<u8>(&key("h"), "x").await.expect("an answer"), None);
    assert_eq!(moving.hfind::<u8>(&key("h"), "x").await.expect("an answer"), Some(1));
    let all = moving.hgetall::<BTreeMap<String, u8>>(&key("h")).await.expect("an answer");
    assert_eq!(all.len(), 2);
    // A hash that has moved is whole.
    moving.hset(&key("h"), "y", 3).await.expect("set");
    assert_eq!(moving.hfind::<u8>(&key("h"), "x").await.expect("an answer"), None);

    bare.rpush(&key("l"), &[1, 2]).await.expect("pushed");
    assert_eq!(moved.lrange::<u8>(&key("l"), 0, -1).await.expect("an answer"), [0_u8; 0]);
    assert_eq!(moving.lrange::<u8>(&key("l"), 0, -1).await.expect("an answer"), [1, 2]);
    bare.sadd(&key("s"), &[7]).await.expect("added");
    assert_eq!(moved.smembers::<Vec<u8>>(&key("s")).await.expect("an answer"), [0_u8; 0]);
    assert_eq!(moving.smembers::<Vec<u8>>(&key("s")).await.expect("an answer"), [7]);
}

#[tokio::test]
async fn the_pair_has_a_handle_of_its_tenant() {
    let pair = Pair::servers().await;
    let (one, two) =
        (pair.kv.redis().await.expect("up"), pair.kv.clone().redis().await.expect("up"));
    one.set("notice", "from noon on").await.expect("set");
    assert_eq!(two.get::<String>("notice").await.expect("it is there"), "from noon on");
    let tenant = pair.settings.tenant.as_deref().expect("real pairs have a tenant");
    let url = pair.settings.redis.url.expose();
    let notice: String = ask(url, &["GET", &format!("{tenant}/notice")]).await;
    assert_eq!(notice, "from noon on");

    let error = Kv::memory().redis().await.expect_err("there is no Redis");
    assert!(matches!(error, Error::InMemory), "{error:?}");
}
