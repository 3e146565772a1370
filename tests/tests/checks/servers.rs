//! The checks of the servers, which are made when a pair is opened.

use kv_runtime::testing::{RedisOptions, RedisServer, servers};
use kv_runtime::{Check, CheckError, CheckMode, ConnectError, Kv, Settings};
use kv_tests::outside::connect;

use super::log::Log;

/// What opening the pair is refused for.
async fn refusal(settings: &Settings) -> CheckError {
    match Kv::connect(settings.clone()).await.expect_err("it is not fit") {
        ConnectError::Check(error) => error,
        other => panic!("{other}"),
    }
}

fn settings_for(redis: &RedisServer) -> Settings {
    Settings::new(redis.url(), servers().create_database())
}

fn redis_with(policy: &str, append_only: bool) -> RedisServer {
    let options = RedisOptions::new().append_only(append_only).setting("maxmemory-policy", policy);
    RedisServer::start_with(options).expect("a private server")
}

#[tokio::test]
async fn a_policy_that_evicts_pinned_rows_is_refused() {
    let (log, _guard) = Log::begin();
    let redis = redis_with("allkeys-lru", true);
    let mut settings = settings_for(&redis);
    let error = refusal(&settings).await;
    assert_eq!(
        error.to_string(),
        "a start-up check found that Redis evicts any key when memory is short \
         (`maxmemory-policy allkeys-lru`), and so loses rows that are not drained; set it to \
         `noeviction` or one of `volatile-*`, or set `checks.eviction` (KV_CHECKS_EVICTION) to \
         `warn`"
    );
    assert_eq!(log.text(), "");

    settings.checks.eviction = CheckMode::Warn;
    Kv::connect(settings.clone()).await.expect("it is a warning");
    assert!(log.text().contains("WARN") && log.text().contains("allkeys-lru"), "{}", log.text());
    let warned = log.text();
    settings.checks.eviction = CheckMode::Off;
    Kv::connect(settings.clone()).await.expect("nobody looks");
    assert_eq!(log.text(), warned);

    settings.checks.eviction = CheckMode::Refuse;
    let mut connection = connect(redis.url()).await;
    for policy in ["noeviction", "volatile-lru", "volatile-ttl"] {
        let set = redis::cmd("CONFIG").arg(&["SET", "maxmemory-policy", policy]).to_owned();
        let () = set.query_async(&mut connection).await.expect("a policy");
        Kv::connect(settings.clone()).await.expect(policy);
    }
}

#[tokio::test]
async fn a_redis_without_an_append_only_file_is_warned_of() {
    let (log, _guard) = Log::begin();
    let redis = redis_with("noeviction", false);
    let mut settings = settings_for(&redis);
    Kv::connect(settings.clone()).await.expect("it is a warning");
    assert!(log.text().contains("set `appendonly yes`"), "{}", log.text());
    assert!(log.text().contains("set `checks.persistence` to `off`"), "{}", log.text());

    settings.checks.persistence = CheckMode::Refuse;
    let error = refusal(&settings).await.to_string();
    assert!(error.contains("Redis keeps no append-only file"), "{error}");
    assert!(error.contains("KV_CHECKS_PERSISTENCE"), "{error}");
    let redis = redis_with("noeviction", true);
    settings.redis.url = redis.url().into();
    Kv::connect(settings).await.expect("it has one");
}

#[tokio::test]
async fn all_problems_of_the_servers_are_told_in_one_go() {
    let mut settings = settings_for(&redis_with("allkeys-lfu", false));
    let redis = redis_with("allkeys-lfu", false);
    settings.redis.url = redis.url().into();
    settings.checks.persistence = CheckMode::Refuse;
    let CheckError::Refused(problems) = refusal(&settings).await else { panic!("an outage") };
    let found: Vec<Check> = problems.iter().map(|problem| problem.check).collect();
    assert_eq!(found, [Check::Eviction, Check::Persistence]);
}

/// A managed server may keep `INFO` to itself. What nobody knows is no reason to refuse.
#[tokio::test]
async fn a_redis_that_tells_nothing_is_warned_of() {
    let (log, _guard) = Log::begin();
    let redis = redis_with("allkeys-lru", false);
    let mut connection = connect(redis.url()).await;
    let user = ["SETUSER", "app", "on", ">word", "~*", "&*", "+@all", "-info", "-config"];
    let set = redis::cmd("ACL").arg(&user).to_owned();
    let () = set.query_async(&mut connection).await.expect("a user");
    let url = redis.url().replace("redis://", "redis://app:word@");
    Kv::connect(Settings::new(url, servers().create_database())).await.expect("nobody knows");
    for field in ["redis_version", "maxmemory_policy", "aof_enabled"] {
        let text = format!("Redis does not tell its `{field}`");
        assert!(log.text().contains(&text), "{}", log.text());
    }
}

/// The versions of old servers are tested where they are read.
#[tokio::test]
async fn the_servers_of_the_tests_are_new_enough() {
    let (log, _guard) = Log::begin();
    let mut settings = settings_for(&redis_with("noeviction", true));
    let redis = redis_with("noeviction", true);
    settings.redis.url = redis.url().into();
    settings.checks.redis_version = CheckMode::Warn;
    settings.checks.postgres_version = CheckMode::Warn;
    Kv::connect(settings).await.expect("they are up");
    assert_eq!(log.text(), "");
}
