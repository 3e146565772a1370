//! The environment and the flags.

use std::time::Duration;

use kv_payments::{Config, ConfigError, Processor, Processors};
use kv_runtime::testing::servers;
use uuid::Uuid;

use super::common::{World, on_servers, until};

const PROCESSORS: [(&str, &str); 2] = [
    ("PROCESSOR_DEFAULT_URL", "http://localhost:8001"),
    ("PROCESSOR_FALLBACK_URL", "http://localhost:8002"),
];

fn from(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let all: Vec<_> = PROCESSORS.iter().chain(variables).copied().collect();
    Config::from_lookup(&|name| {
        all.iter().rev().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    })
}

#[test]
fn what_is_not_said_is_the_default() {
    let config = from(&[]).expect("the processors are enough");
    assert!(!config.database_storage && !config.redis_health_monitoring);
    assert!(!config.redis_session_cache);
    assert_eq!(config.listen, "0.0.0.0:9999");
    assert_eq!(config.processors.url(Processor::Fallback), "http://localhost:8002");
    assert_eq!(config.settings.postgres.max_connections, 25);
    assert_eq!(config.settings.postgres.checkout_timeout, Duration::from_secs(30));
    assert_eq!(config.settings.redis.connect_timeout, Duration::from_secs(5));
}

#[test]
fn the_environment_says_where_the_servers_are() {
    let config = from(&[
        ("USE_DATABASE_STORAGE", "true"),
        ("USE_REDIS_HEALTH_MONITORING", "true"),
        ("USE_REDIS_SESSION_CACHE", "true"),
        ("DATABASE_URL", "postgres://rinha:word@postgres/rinha?sslmode=disable"),
        ("DATABASE_MAX_CONNECTIONS", "7"),
        ("DATABASE_CONN_TIMEOUT", "500ms"),
        ("REDIS_URL", "redis://redis:6379"),
        ("REDIS_DB", "3"),
        ("REDIS_PASSWORD", "another"),
        ("REDIS_CONN_TIMEOUT", "2s"),
        ("PROCESSOR_TIMEOUT", "3"),
    ]);
    let config = config.expect("all is well");
    assert!(config.database_storage && config.redis_health_monitoring);
    assert!(config.redis_session_cache);
    let (redis, postgres) = (&config.settings.redis, &config.settings.postgres);
    assert_eq!(redis.url.expose(), "redis://redis:6379/3");
    assert_eq!(redis.password, Some("another".into()));
    assert_eq!(redis.connect_timeout, Duration::from_secs(2));
    assert_eq!(postgres.max_connections, 7);
    assert_eq!(postgres.checkout_timeout, Duration::from_millis(500));
    assert_eq!(config.delivery.timeout, Duration::from_secs(3));
    assert!(!format!("{config:?}").contains("another"), "no password is shown");
}

#[test]
fn what_is_wrong_is_named_without_its_value() {
    let storage = ("USE_DATABASE_STORAGE", "true");
    let redis = ("REDIS_URL", "redis://localhost");
    let database = ("DATABASE_URL", "postgres://localhost/app");
    for (variables, wrong) in [
        (vec![("PROCESSOR_DEFAULT_URL", "")], "PROCESSOR_DEFAULT_URL"),
        (vec![("USE_DATABASE_STORAGE", "secret")], "USE_DATABASE_STORAGE"),
        (vec![("USE_REDIS_SESSION_CACHE", "secret")], "USE_REDIS_SESSION_CACHE"),
        (vec![("USE_REDIS_HEALTH_MONITORING", "true")], "REDIS_URL"),
        (vec![storage, redis], "DATABASE_URL"),
        (vec![storage, database], "REDIS_URL"),
        (vec![storage, database, ("REDIS_URL", "http://secret")], "REDIS_URL"),
        (vec![("DATABASE_MAX_CONNECTIONS", "secret")], "DATABASE_MAX_CONNECTIONS"),
        (vec![("DATABASE_CONN_TIMEOUT", "secret")], "DATABASE_CONN_TIMEOUT"),
        (vec![("REDIS_CONN_TIMEOUT", "0s")], "REDIS_CONN_TIMEOUT"),
        (vec![("REDIS_DB", "-1")], "REDIS_DB"),
        (vec![("PAYMENT_LEASE", "1s")], "PAYMENT_LEASE"),
    ] {
        let error = from(&variables).expect_err(wrong);
        assert_eq!(error.variable, wrong, "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_choice_of_flags_boots_and_serves() {
    for choice in 0..8_u8 {
        let is_on = |flag: u8| choice & flag != 0;
        let configure = |processors: Processors| {
            let mut config = match is_on(1) {
                true => on_servers(processors),
                false => {
                    let mut config = Config::in_memory(processors);
                    config.settings.redis.url = servers().redis_url().into();
                    config.settings.tenant = Some(format!("f{}-{choice}", std::process::id()));
                    config
                }
            };
            config.database_storage = is_on(1);
            config.redis_health_monitoring = is_on(2);
            config.redis_session_cache = is_on(4);
            config
        };
        let world = World::start(configure, 1).await;
        let id = Uuid::new_v4();
        assert_eq!(world.pay(id, "1.00").await.status, 202, "{choice}");
        world.processed(id).await;
        assert_eq!(world.summary("").await.default.total_requests, 1, "{choice}");
        let is_shared = is_on(2);
        let settings = &world.config.settings;
        if is_shared || is_on(4) {
            let redis =
                kv_runtime::redis::Redis::connect(&settings.redis, settings.tenant.as_deref());
            let redis = redis.await.expect("the server is up");
            let health = redis.exists("processor:health:default").await.expect("an answer");
            assert_eq!(health, is_shared, "{choice}");
            let key = format!("payment:correlation:{id}");
            if is_on(4) {
                until("it is cached", async || redis.exists(&key).await.expect("an answer")).await;
            } else {
                assert!(!redis.exists(&key).await.expect("an answer"), "{choice}");
            }
        }
    }
}
