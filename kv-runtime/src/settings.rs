//! Everything that can be chosen.

mod drain;
mod environment;
mod postgres;
mod redis;
mod secret;
mod url;

use std::time::Duration;

pub use self::drain::DrainSettings;
pub use self::postgres::{PostgresSettings, PostgresTls};
pub use self::redis::RedisSettings;
pub use self::secret::Secret;
pub use self::url::ServerUrl;
use crate::checks::CheckSettings;
use crate::durability::Durability;
use crate::key::MAX_PARTITIONS;
use crate::scheme::StorageScheme;

/// Redis counts it in milliseconds of 64 bits, and a longer one is a mistake in the unit.
const ROW_TTL_MIN: Duration = Duration::from_millis(1);
const ROW_TTL_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
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

    /// The defaults for PostgreSQL alone: all models have the scheme
    /// [`PostgresOnly`](StorageScheme::PostgresOnly), and there is no Redis.
    ///
    /// For a service that is yet to come to Redis, or never will. [`Kv::connect`](crate::Kv::connect)
    /// takes them; what needs Redis is refused with [`Error::Configuration`](crate::Error), and
    /// nothing is kept in this process in its stead.
    ///
    /// A queue that others have under another scheme is left to them. PostgreSQL knows of it from its
    /// first drainer on: do not begin with a queue here that elsewhere is written to and not drained.
    pub fn postgres_only(postgres_url: impl Into<ServerUrl>) -> Self {
        Self { scheme: StorageScheme::PostgresOnly, ..Self::new("", postgres_url) }
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
            (
                (ROW_TTL_MIN..=ROW_TTL_MAX).contains(&self.row_ttl),
                "row_ttl",
                "must be from a millisecond to a century",
            ),
            (
                !self.is_without_redis() || self.scheme == StorageScheme::PostgresOnly,
                "redis.url",
                "must be like `redis://localhost:6379`; only the scheme `postgres_only` does without",
            ),
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

    /// Whether they name a PostgreSQL, and no Redis beside it.
    pub(crate) fn is_without_redis(&self) -> bool {
        !self.redis.names_server() && !self.postgres.url.expose().is_empty()
    }

    /// The bound of the undrained entries of each of so many partitions.
    pub(crate) fn partition_capacity(queue_capacity: u64, partitions: u16) -> u64 {
        queue_capacity.div_ceil(u64::from(partitions.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_that_is_out_of_range_is_named() {
        type Change = fn(&mut Settings);
        let changes: [(&str, Change); 16] = [
            ("partitions", |it| it.partitions = 1_025),
            ("tenant", |it| it.tenant = Some(String::new())),
            ("row_ttl", |it| it.row_ttl = Duration::ZERO),
            ("row_ttl", |it| it.row_ttl = Duration::MAX),
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
            let mut settings = Settings::in_memory();
            change(&mut settings);
            assert_eq!(settings.check().expect_err(setting).setting, setting);
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
