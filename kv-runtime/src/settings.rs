//! Everything that can be chosen, from a struct or from the environment.

mod drain;
mod postgres;
mod redis;
mod secret;
mod url;

use std::str::FromStr;
use std::time::Duration;

pub use self::drain::DrainSettings;
pub use self::postgres::{PostgresSettings, PostgresTls};
pub use self::redis::RedisSettings;
pub use self::secret::Secret;
pub use self::url::ServerUrl;
use crate::checks::{Check, CheckSettings};
use crate::durability::Durability;
use crate::key::MAX_PARTITIONS;
use crate::scheme::StorageScheme;

/// A shorter lease would be lost to a hiccup of the network.
const LEASE_MIN: Duration = Duration::from_millis(100);
/// PostgreSQL counts its time-outs, which go by the lease, in milliseconds of 31 bits.
const LEASE_MAX: Duration = Duration::from_millis(i32::MAX as u64);

/// How the runtime connects and behaves.
///
/// ```
/// # use kv_runtime::Settings;
/// let mut settings = Settings::new("redis://localhost:6379", "postgres://localhost/app");
/// settings.partitions = 16;
/// settings.drain.interval = std::time::Duration::from_millis(50);
/// settings.check()?;
/// # Ok::<(), kv_runtime::SettingsError>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// The hot side's server.
    pub redis: RedisSettings,
    /// The durable side's server.
    pub postgres: PostgresSettings,
    /// How many partitions each queue begins with: a fixed share of the keys each. From 1 to 1,024.
    /// Default 64.
    ///
    /// Data that are there already cannot be used with another number, which the start-up checks
    /// refuse. [`Kv::change_partitions`](crate::Kv::change_partitions) is what changes it; from then on
    /// the queue has the number that it was given, whatever stands here.
    pub partitions: u16,
    /// What stands before every key, so that several users of one Redis do not meet. It does not
    /// keep them apart in PostgreSQL: give each a database of its own. For tenants that share the
    /// servers and a process there is [`Kv::tenant`](crate::Kv::tenant), whose keys begin with this
    /// and then the tenant's name.
    pub tenant: Option<String>,
    /// How long a clean row stays in Redis, unless its model says otherwise. Default 1 hour.
    pub row_ttl: Duration,
    /// What a write waits for before it is acknowledged, unless its model or its call says
    /// otherwise. Default [`Durability::Fast`].
    pub durability: Durability,
    /// How many undrained entries a queue may hold in all its partitions together; what becomes
    /// of more, `on_full` says. Default 4,000,000.
    ///
    /// Each partition has its even share of it. A process that finds room uses a sixteenth of that
    /// before it looks again, so that more than sixteen processes can together exceed it a little.
    pub queue_capacity: u64,
    /// How many serial ids (`#[kv(id, serial)]`) a process takes from a sequence at once. Those that
    /// it has left when it ends are never used. Default 1,000.
    pub serial_block: u32,
    /// What becomes of a write of a row that has dead letters. Default [`OnHeld::Refuse`].
    pub on_held: OnHeld,
    /// What a write does that finds its partition full. Default [`OnFull::Reject`].
    pub on_full: OnFull,
    /// The most bytes of an entry; a larger one is refused at the write with
    /// [`Error::TooLarge`](crate::Error::TooLarge). Default 1 MiB.
    ///
    /// While Redis takes a value in, it does nothing else: about a millisecond for each MiB.
    pub max_entry_bytes: usize,
    /// How many undrained entries of its model's queue a query lays over what PostgreSQL answers;
    /// with more, it waits until the drainer has passed those that it found. Default 10,000.
    pub overlay_max: u64,
    /// How long a query waits for the drainer, for that or for a write that it was told to wait
    /// for. Default 10 s.
    pub overlay_timeout: Duration,
    /// How models are stored that do not choose. Default [`StorageScheme::WriteBehind`].
    pub scheme: StorageScheme,
    /// How long a write waits to be drained under [`StorageScheme::WriteThrough`]. Default 10 s.
    pub write_through_timeout: Duration,
    /// How long a switch of the storage scheme waits for the queue to be drained, and a write for
    /// the end of a switch. Default 30 s.
    pub switch_timeout: Duration,
    /// The drainer's choices.
    pub drain: DrainSettings,
    /// Which of the start-up checks are made. In memory there is nothing to check.
    pub checks: CheckSettings,
}

/// What becomes of a write of a row that has dead letters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnHeld {
    /// It is refused with [`Error::Held`](crate::Error::Held).
    #[default]
    Refuse,
    /// It is written in Redis, and its entry becomes a dead letter behind the others.
    Queue,
}

/// What a write does that finds its partition full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFull {
    /// It is refused at once with [`Error::Full`](crate::Error::Full).
    #[default]
    Reject,
    /// It waits for the drainer to make room, and is refused when the time is over.
    Block {
        /// How long a call waits at most, whatever number of rows it writes.
        timeout: Duration,
    },
}

/// A setting that is missing or cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("setting `{setting}` {problem}")]
pub struct SettingsError {
    /// The setting's name: a path within [`Settings`], or an environment variable.
    pub setting: &'static str,
    /// What is wrong with it, and what it should be.
    pub problem: String,
}

impl SettingsError {
    pub(crate) fn new(setting: &'static str, problem: impl Into<String>) -> Self {
        Self { setting, problem: problem.into() }
    }
}

impl Settings {
    /// The defaults, with these servers.
    pub fn new(redis_url: impl Into<ServerUrl>, postgres_url: impl Into<ServerUrl>) -> Self {
        Self {
            redis: RedisSettings::new(redis_url),
            postgres: PostgresSettings::new(postgres_url.into()),
            ..Self::in_memory()
        }
    }

    /// The defaults for the in-memory pair, which connects to nothing.
    pub fn in_memory() -> Self {
        Self {
            redis: RedisSettings::new(""),
            postgres: PostgresSettings::new("".into()),
            partitions: 64,
            tenant: None,
            row_ttl: Duration::from_secs(3_600),
            durability: Durability::Fast,
            queue_capacity: 4_000_000,
            serial_block: 1_000,
            on_held: OnHeld::default(),
            on_full: OnFull::Reject,
            max_entry_bytes: 1024 * 1024,
            overlay_max: 10_000,
            overlay_timeout: Duration::from_secs(10),
            scheme: StorageScheme::default(),
            write_through_timeout: Duration::from_secs(10),
            switch_timeout: Duration::from_secs(30),
            drain: DrainSettings::default(),
            checks: CheckSettings::default(),
        }
    }

    /// Reads the variables of [`RedisSettings::from_env`], of which one that names the server is
    /// required, and `DATABASE_URL`, which is required too; and where they are set
    /// `KV_PARTITIONS`, `KV_TENANT`, `KV_ROW_TTL_S`, `KV_QUEUE_CAPACITY`,
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
        let redis = RedisSettings::from_lookup(&lookup)?;
        let postgres_url = required("DATABASE_URL", "postgres://user@localhost/database")?;
        let mut settings = Self::new(redis.url.clone(), postgres_url);
        settings.redis = redis;
        settings.tenant = lookup("KV_TENANT")?.filter(|tenant| !tenant.is_empty());
        set(&mut settings.partitions, "KV_PARTITIONS", &lookup)?;
        set(&mut settings.queue_capacity, "KV_QUEUE_CAPACITY", &lookup)?;
        set(&mut settings.serial_block, "KV_SERIAL_BLOCK", &lookup)?;
        let mut milliseconds = 0_u64;
        set(&mut milliseconds, "KV_ON_FULL_BLOCK_MS", &lookup)?;
        if milliseconds > 0 {
            settings.on_full = OnFull::Block { timeout: Duration::from_millis(milliseconds) };
        }
        set(&mut settings.max_entry_bytes, "KV_MAX_ENTRY_BYTES", &lookup)?;
        set(&mut settings.overlay_max, "KV_OVERLAY_MAX", &lookup)?;
        let mut milliseconds = 10_000_u64;
        set(&mut milliseconds, "KV_OVERLAY_TIMEOUT_MS", &lookup)?;
        settings.overlay_timeout = Duration::from_millis(milliseconds);
        if let Some(name) = lookup("KV_SCHEME")? {
            settings.scheme = name.trim().parse().map_err(|problem| {
                SettingsError::new("KV_SCHEME", format!("is `{name}`, but {problem}"))
            })?;
        }
        let mut milliseconds = 10_000_u64;
        set(&mut milliseconds, "KV_WRITE_THROUGH_TIMEOUT_MS", &lookup)?;
        settings.write_through_timeout = Duration::from_millis(milliseconds);
        let mut milliseconds = 30_000_u64;
        set(&mut milliseconds, "KV_SWITCH_TIMEOUT_MS", &lookup)?;
        settings.switch_timeout = Duration::from_millis(milliseconds);
        settings.postgres.read(&lookup)?;
        set(&mut settings.drain.batch_entries, "KV_DRAIN_BATCH_ENTRIES", &lookup)?;
        set(&mut settings.drain.workers, "KV_DRAIN_WORKERS", &lookup)?;
        let mut seconds = settings.row_ttl.as_secs();
        set(&mut seconds, "KV_ROW_TTL_S", &lookup)?;
        settings.row_ttl = Duration::from_secs(seconds);
        let mut milliseconds = 100_u64;
        set(&mut milliseconds, "KV_DRAIN_INTERVAL_MS", &lookup)?;
        settings.drain.interval = Duration::from_millis(milliseconds);
        let milliseconds = Duration::from_millis;
        let interval_max = &mut settings.drain.interval_max;
        set_duration(interval_max, milliseconds, "KV_DRAIN_INTERVAL_MAX_MS", &lookup)?;
        let mut milliseconds = 10_000_u64;
        set(&mut milliseconds, "KV_DRAIN_LEASE_MS", &lookup)?;
        settings.drain.lease = Duration::from_millis(milliseconds);
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

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// The first that is not, by name.
    pub fn check(&self) -> Result<(), SettingsError> {
        let rules = [
            (
                (1..=MAX_PARTITIONS).contains(&self.partitions),
                "partitions",
                "must be from 1 to 1024",
            ),
            (
                self.tenant.as_deref() != Some(""),
                "tenant",
                "must not be empty; `None` is no tenant",
            ),
            (!self.row_ttl.is_zero(), "row_ttl", "must be longer than zero"),
            (self.queue_capacity > 0, "queue_capacity", "must be greater than zero"),
            (self.serial_block > 0, "serial_block", "must be greater than zero"),
            (
                self.durability.is_possible(),
                "durability",
                "must ask for at least one replica, and give it at least a millisecond",
            ),
            (self.max_entry_bytes > 0, "max_entry_bytes", "must be greater than zero"),
            (self.drain.batch_entries > 0, "drain.batch_entries", "must be greater than zero"),
            (self.drain.batch_bytes > 0, "drain.batch_bytes", "must be greater than zero"),
            (
                (LEASE_MIN..=LEASE_MAX).contains(&self.drain.lease),
                "drain.lease",
                "must be from 100 milliseconds to 24 days",
            ),
            (self.drain.workers > 0, "drain.workers", "must be greater than zero"),
            (!self.drain.interval.is_zero(), "drain.interval", "must be longer than zero"),
            (!self.drain.backoff_min.is_zero(), "drain.backoff_min", "must be longer than zero"),
            (
                self.drain.backoff_max >= self.drain.backoff_min,
                "drain.backoff_max",
                "must not be shorter than `drain.backoff_min`",
            ),
        ];
        for (holds, setting, problem) in rules {
            if !holds {
                return Err(SettingsError::new(setting, problem));
            }
        }
        self.redis.check()?;
        self.postgres.check()
    }

    /// The bound of the undrained entries of each of so many partitions.
    pub(crate) fn partition_capacity(queue_capacity: u64, partitions: u16) -> u64 {
        queue_capacity.div_ceil(u64::from(partitions.max(1)))
    }
}

fn from_environment(name: &'static str) -> Result<Option<String>, SettingsError> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(SettingsError::new(name, "is not UTF-8")),
    }
}

fn set<T: FromStr>(
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

fn set_duration(
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
    use crate::checks::CheckMode;

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
    fn each_field_that_is_out_of_range_is_named() {
        type Change = fn(&mut Settings);
        let changes: [(&str, Change); 15] = [
            ("partitions", |it| it.partitions = 1_025),
            ("tenant", |it| it.tenant = Some(String::new())),
            ("row_ttl", |it| it.row_ttl = Duration::ZERO),
            ("queue_capacity", |it| it.queue_capacity = 0),
            ("serial_block", |it| it.serial_block = 0),
            ("max_entry_bytes", |it| it.max_entry_bytes = 0),
            ("durability", |it| {
                let timeout = Duration::from_secs(1);
                it.durability = Durability::Replicated { replicas: 0, timeout };
            }),
            ("drain.batch_entries", |it| it.drain.batch_entries = 0),
            ("drain.batch_bytes", |it| it.drain.batch_bytes = 0),
            ("drain.lease", |it| it.drain.lease = Duration::from_millis(99)),
            ("drain.lease", |it| it.drain.lease = Duration::MAX),
            ("drain.workers", |it| it.drain.workers = 0),
            ("drain.interval", |it| it.drain.interval = Duration::ZERO),
            ("drain.backoff_min", |it| it.drain.backoff_min = Duration::ZERO),
            ("drain.backoff_max", |it| it.drain.backoff_max = Duration::ZERO),
        ];
        for (setting, change) in changes {
            let mut settings = from(&SERVERS).expect("valid settings");
            change(&mut settings);
            assert_eq!(settings.check().expect_err(setting).setting, setting);
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

    #[test]
    fn a_password_is_never_shown() {
        for url in [
            "postgres://u:secret@host/db",
            "redis://:secret@host",
            // A `?` of the password itself.
            "postgres://u:secret?w@host/db",
            "postgres://u@t:secret?w@host/db",
            "postgres://host/db?password=secret",
            "secret",
        ] {
            let url = ServerUrl::from(url);
            assert!(!format!("{url} {url:?}").contains("secret"), "{url}");
        }
    }
}
