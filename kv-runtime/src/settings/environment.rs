//! Settings from environment variables.

use std::str::FromStr;
use std::time::Duration;

use super::redis::URL_VARIABLE;
use super::{OnFull, RedisSettings, Settings, SettingsError};
use crate::checks::Check;
use crate::scheme::StorageScheme;

impl Settings {
    /// Reads the variables of [`RedisSettings::from_env`], of which one that names the server is
    /// required unless `KV_SCHEME` is `postgres_only`, and `DATABASE_URL`, which is always required;
    /// and where they are set
    /// `KV_PARTITIONS`, `KV_TENANT`, `KV_ROW_TTL_S`, `KV_QUEUE_CAPACITY`, `KV_SERIAL_BLOCK`,
    /// `KV_ON_FULL_BLOCK_MS` (zero rejects), `KV_MAX_ENTRY_BYTES`,
    /// `KV_OVERLAY_MAX`, `KV_OVERLAY_TIMEOUT_MS`, `KV_SCHEME`, `KV_WRITE_THROUGH_TIMEOUT_MS`,
    /// `KV_SWITCH_TIMEOUT_MS`, `DATABASE_MAX_CONNECTIONS`, `DATABASE_MIN_IDLE`,
    /// `DATABASE_MAX_LIFETIME_S`, `DATABASE_IDLE_TIMEOUT_S`, `DATABASE_CHECKOUT_TIMEOUT_MS`,
    /// `DATABASE_STATEMENT_TIMEOUT_MS`, `DATABASE_TLS` (`off`, `system` or `insecure`),
    /// `DATABASE_CA_FILE`, `DATABASE_REPLICA_URLS` (with spaces between them),
    /// `DATABASE_REPLICA_MAX_LAG_MS` (or `none`), `DATABASE_TENANT_SCHEMA`, `KV_DRAIN_INTERVAL_MS`,
    /// `KV_DRAIN_INTERVAL_MAX_MS`, `KV_DRAIN_BATCH_ENTRIES`, `KV_DRAIN_WORKERS` and
    /// `KV_DRAIN_LEASE_MS`; and for the start-up checks `KV_CHECKS_EVICTION`,
    /// `KV_CHECKS_PERSISTENCE`, `KV_CHECKS_REDIS_VERSION`, `KV_CHECKS_POSTGRES_VERSION`,
    /// `KV_CHECKS_SCHEMA`, `KV_CHECKS_MIGRATIONS` and `KV_CHECKS_PARTITIONS`, each of them
    /// `refuse`, `warn` or `off`.
    ///
    /// # Errors
    /// The first variable that is missing or malformed, by name.
    pub fn from_env() -> Result<Self, SettingsError> {
        Self::from_lookup(from_environment)
    }

    /// [`from_env`](Self::from_env), with the variables from elsewhere: a file, a secret store, a
    /// service's own names.
    ///
    /// ```
    /// # use kv_runtime::{Settings, SettingsError};
    /// let stored = |name: &str| match name {
    ///     "REDIS_URL" => Some("redis://localhost".to_owned()),
    ///     "DATABASE_URL" => Some("postgres://rides@localhost/rides".to_owned()),
    ///     "KV_PARTITIONS" => Some("16".to_owned()),
    ///     _ => None,
    /// };
    /// assert_eq!(Settings::from_variables(stored)?.partitions, 16);
    /// # Ok::<_, SettingsError>(())
    /// ```
    ///
    /// # Errors
    /// The first variable that is missing or malformed, by name.
    pub fn from_variables(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, SettingsError> {
        Self::from_lookup(|name| Ok(variable(name)))
    }

    fn from_lookup(
        lookup: impl Fn(&'static str) -> Result<Option<String>, SettingsError>,
    ) -> Result<Self, SettingsError> {
        let required = |name, example| {
            lookup(name)?.filter(|value| !value.is_empty()).ok_or_else(|| {
                SettingsError::new(name, format!("is not set; it should be like `{example}`"))
            })
        };
        let mut scheme = StorageScheme::default();
        if let Some(name) = lookup("KV_SCHEME")? {
            scheme = name.trim().parse().map_err(|problem| {
                SettingsError::new("KV_SCHEME", format!("is `{name}`, but {problem}"))
            })?;
        }
        let redis = match RedisSettings::from_lookup(&lookup) {
            Err(error)
                if scheme == StorageScheme::PostgresOnly && error.setting == URL_VARIABLE =>
            {
                RedisSettings::new("")
            }
            redis => redis?,
        };
        let postgres_url = required("DATABASE_URL", "postgres://user@localhost/database")?;
        let mut settings = Self::new(redis.url.clone(), postgres_url);
        settings.redis = redis;
        settings.tenant = lookup("KV_TENANT")?.filter(|tenant| !tenant.is_empty());
        set(&mut settings.partitions, "KV_PARTITIONS", &lookup)?;
        set(&mut settings.queue_capacity, "KV_QUEUE_CAPACITY", &lookup)?;
        set(&mut settings.serial_block, "KV_SERIAL_BLOCK", &lookup)?;
        let (second, millisecond) = (Duration::from_secs, Duration::from_millis);
        let mut timeout = Duration::ZERO;
        set_duration(&mut timeout, millisecond, "KV_ON_FULL_BLOCK_MS", &lookup)?;
        if !timeout.is_zero() {
            settings.on_full = OnFull::Block { timeout };
        }
        set(&mut settings.max_entry_bytes, "KV_MAX_ENTRY_BYTES", &lookup)?;
        set(&mut settings.overlay_max, "KV_OVERLAY_MAX", &lookup)?;
        settings.scheme = scheme;
        settings.postgres.read(&lookup)?;
        let drain = &mut settings.drain;
        set(&mut drain.batch_entries, "KV_DRAIN_BATCH_ENTRIES", &lookup)?;
        set(&mut drain.workers, "KV_DRAIN_WORKERS", &lookup)?;
        set_duration(&mut settings.row_ttl, second, "KV_ROW_TTL_S", &lookup)?;
        for (target, name) in [
            (&mut settings.overlay_timeout, "KV_OVERLAY_TIMEOUT_MS"),
            (&mut settings.write_through_timeout, "KV_WRITE_THROUGH_TIMEOUT_MS"),
            (&mut settings.switch_timeout, "KV_SWITCH_TIMEOUT_MS"),
            (&mut drain.interval, "KV_DRAIN_INTERVAL_MS"),
            (&mut drain.interval_max, "KV_DRAIN_INTERVAL_MAX_MS"),
            (&mut drain.lease, "KV_DRAIN_LEASE_MS"),
        ] {
            set_duration(target, millisecond, name, &lookup)?;
        }
        for check in Check::ALL {
            let name = check.variable();
            let Some(text) = lookup(name)? else { continue };
            *settings.checks.mode_mut(check) = text.trim().parse().map_err(|problem| {
                SettingsError::new(name, format!("is `{text}`, but {problem}"))
            })?;
        }
        settings.check()?;
        Ok(settings)
    }
}

pub(super) fn from_environment(name: &'static str) -> Result<Option<String>, SettingsError> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(SettingsError::new(name, "is not UTF-8")),
    }
}

pub(super) fn set<T: FromStr>(
    target: &mut T,
    name: &'static str,
    lookup: impl Fn(&'static str) -> Result<Option<String>, SettingsError>,
) -> Result<(), SettingsError> {
    let Some(text) = lookup(name)? else { return Ok(()) };
    *target = text.trim().parse().map_err(|_| {
        SettingsError::new(name, format!("is `{text}`, which is not a number in range"))
    })?;
    Ok(())
}

pub(super) fn set_duration(
    target: &mut Duration,
    of: fn(u64) -> Duration,
    name: &'static str,
    lookup: impl Fn(&'static str) -> Result<Option<String>, SettingsError>,
) -> Result<(), SettingsError> {
    if lookup(name)?.is_some() {
        let mut number = 0;
        set(&mut number, name, lookup)?;
        *target = of(number);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::{CheckMode, CheckSettings};
    use crate::settings::{PostgresTls, ServerUrl};

    fn from(variables: &[(&'static str, &str)]) -> Result<Settings, SettingsError> {
        Settings::from_lookup(|name| {
            Ok(variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        })
    }

    const SERVERS: [(&str, &str); 2] =
        [("REDIS_URL", "redis://localhost"), ("DATABASE_URL", "postgres://u:secret@localhost/app")];

    #[test]
    fn the_environment_names_what_is_missing_or_malformed() {
        assert_eq!(from(&[]).expect_err("nothing is set").setting, "REDIS_URL");
        assert_eq!(from(&SERVERS[..1]).expect_err("no database").setting, "DATABASE_URL");
        let [redis, database] = SERVERS;
        let alone = from(&[database, ("KV_SCHEME", "postgres_only")]).expect("no Redis is needed");
        assert!(alone.is_without_redis());
        assert!(!from(&SERVERS).expect("valid settings").is_without_redis());
        for (name, value, setting) in [
            ("KV_PARTITIONS", "many", "KV_PARTITIONS"),
            ("KV_PARTITIONS", "0", "partitions"),
            ("KV_PARTITIONS", "2000", "partitions"),
            ("KV_MAX_ENTRY_BYTES", "0", "max_entry_bytes"),
            ("KV_ON_FULL_BLOCK_MS", "1s", "KV_ON_FULL_BLOCK_MS"),
            ("KV_DRAIN_WORKERS", "0", "drain.workers"),
            ("KV_DRAIN_INTERVAL_MS", "0", "drain.interval"),
            ("KV_DRAIN_INTERVAL_MAX_MS", "1s", "KV_DRAIN_INTERVAL_MAX_MS"),
            ("KV_ROW_TTL_S", "-1", "KV_ROW_TTL_S"),
        ] {
            let error = from(&[redis, database, (name, value)]).expect_err(name);
            assert_eq!(error.setting, setting);
        }
        let settings = from(&[redis, database, ("KV_PARTITIONS", "8")]).expect("valid settings");
        assert_eq!(settings.partitions, 8);
        assert_eq!(settings.on_full, OnFull::Reject);
        let settings = from(&[redis, database, ("KV_ON_FULL_BLOCK_MS", "250")]).expect("valid");
        assert_eq!(settings.on_full, OnFull::Block { timeout: Duration::from_millis(250) });
    }

    #[test]
    fn each_variable_that_is_malformed_is_named_without_what_is_secret() {
        let [redis, database] = SERVERS;
        for name in [
            "DATABASE_CHECKOUT_TIMEOUT_MS",
            "DATABASE_IDLE_TIMEOUT_S",
            "DATABASE_MAX_CONNECTIONS",
            "DATABASE_MAX_LIFETIME_S",
            "DATABASE_MIN_IDLE",
            "DATABASE_REPLICA_MAX_LAG_MS",
            "DATABASE_STATEMENT_TIMEOUT_MS",
            "DATABASE_TLS",
            "KV_CHECKS_EVICTION",
            "KV_CHECKS_MIGRATIONS",
            "KV_CHECKS_PARTITIONS",
            "KV_CHECKS_PERSISTENCE",
            "KV_CHECKS_POSTGRES_VERSION",
            "KV_CHECKS_REDIS_VERSION",
            "KV_CHECKS_SCHEMA",
            "KV_DRAIN_BATCH_ENTRIES",
            "KV_DRAIN_INTERVAL_MAX_MS",
            "KV_DRAIN_INTERVAL_MS",
            "KV_DRAIN_LEASE_MS",
            "KV_DRAIN_WORKERS",
            "KV_MAX_ENTRY_BYTES",
            "KV_ON_FULL_BLOCK_MS",
            "KV_OVERLAY_MAX",
            "KV_OVERLAY_TIMEOUT_MS",
            "KV_PARTITIONS",
            "KV_QUEUE_CAPACITY",
            "KV_ROW_TTL_S",
            "KV_SCHEME",
            "KV_SERIAL_BLOCK",
            "KV_SWITCH_TIMEOUT_MS",
            "KV_WRITE_THROUGH_TIMEOUT_MS",
        ] {
            let error = from(&[redis, database, (name, "-some")]).expect_err(name);
            assert_eq!(error.setting, name);
            let text = error.to_string();
            assert!(text.contains(name) && !text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn a_cluster_is_given_by_its_nodes() {
        let nodes = ("REDIS_CLUSTER_NODES", "redis://one:7000, redis://:secret@two:7001,");
        let settings = from(&[nodes, SERVERS[1]]).expect("valid settings");
        assert!(settings.redis.is_cluster());
        assert_eq!(settings.redis.address(), "redis://one:7000, redis://***@two:7001");
        let settings = from(&SERVERS).expect("valid settings");
        assert_eq!(
            (settings.redis.is_cluster(), settings.redis.address().as_str()),
            (false, SERVERS[0].1)
        );
    }

    #[test]
    fn the_pool_is_what_the_environment_says() {
        let read = |variables: &[(&'static str, &str)]| from(&[&SERVERS, variables].concat());
        let settings = read(&[
            ("DATABASE_MAX_CONNECTIONS", "7"),
            ("DATABASE_MIN_IDLE", "2"),
            ("DATABASE_MAX_LIFETIME_S", "60"),
            ("DATABASE_IDLE_TIMEOUT_S", "6"),
            ("DATABASE_CHECKOUT_TIMEOUT_MS", "50"),
            ("DATABASE_STATEMENT_TIMEOUT_MS", "0"),
            ("DATABASE_REPLICA_URLS", "postgres://a/app  postgres://b/app"),
            ("DATABASE_REPLICA_MAX_LAG_MS", "250"),
        ]);
        let postgres = settings.expect("valid settings").postgres;
        assert_eq!((postgres.max_connections, postgres.min_idle), (7, 2));
        assert_eq!(postgres.max_lifetime, Duration::from_secs(60));
        assert_eq!(postgres.idle_timeout, Duration::from_secs(6));
        assert_eq!(postgres.checkout_timeout, Duration::from_millis(50));
        assert_eq!(postgres.statement_timeout, Duration::ZERO);
        assert_eq!(
            postgres.replicas,
            ["postgres://a/app", "postgres://b/app"].map(ServerUrl::from)
        );
        assert_eq!(postgres.replica_max_lag, Some(Duration::from_millis(250)));
        let unbounded = read(&[("DATABASE_REPLICA_MAX_LAG_MS", "none")]).expect("valid settings");
        assert_eq!(unbounded.postgres.replica_max_lag, None);
        assert_eq!(read(&[]).expect("the defaults").postgres.max_connections, 32);
        for (variables, setting) in [
            (&[("DATABASE_MIN_IDLE", "-1")][..], "DATABASE_MIN_IDLE"),
            (&[("DATABASE_MIN_IDLE", "33")], "postgres.min_idle"),
            (&[("DATABASE_CHECKOUT_TIMEOUT_MS", "0")], "postgres.checkout_timeout"),
            (&[("DATABASE_TLS", "on")], "DATABASE_TLS"),
            (&[("DATABASE_TLS", "insecure"), ("DATABASE_CA_FILE", "a.pem")], "DATABASE_CA_FILE"),
        ] {
            assert_eq!(read(variables).expect_err(setting).setting, setting);
        }
    }

    #[cfg(feature = "postgres-tls")]
    #[test]
    fn the_environment_says_whose_certificates_are_taken() {
        for (name, value, expected) in [
            ("DATABASE_TLS", "off", PostgresTls::Off),
            ("DATABASE_TLS", "system", PostgresTls::SystemRoots),
            ("DATABASE_TLS", "insecure", PostgresTls::Insecure),
            ("DATABASE_CA_FILE", "ca.pem", PostgresTls::CaFile("ca.pem".into())),
        ] {
            let [redis, database] = SERVERS;
            let settings = from(&[redis, database, (name, value)]).expect(value);
            assert_eq!(settings.postgres.tls, expected, "{name}={value}");
        }
    }

    #[test]
    fn each_check_has_a_variable_of_its_own() {
        let [redis, database] = SERVERS;
        for check in Check::ALL {
            let variable = check.variable();
            let settings = from(&[redis, database, (variable, "off")]).expect(variable);
            let mut expected = CheckSettings::default();
            *expected.mode_mut(check) = CheckMode::Off;
            assert_eq!(settings.checks, expected, "{variable}");
            let error = from(&[redis, database, (variable, "no")]).expect_err(variable);
            let problem = "is `no`, but should be `refuse`, `warn` or `off`";
            assert_eq!((error.setting, error.problem.as_str()), (variable, problem));
        }
    }
}
