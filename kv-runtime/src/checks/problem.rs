//! What the start-up checks find, in words.

use std::fmt;

use crate::durable_store::DurableStoreError;
use crate::error::{Server, Source};
use crate::hot_store::HotStoreError;

/// One of the start-up checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Check {
    /// Redis evicts no row that is not drained.
    Eviction,
    /// Redis keeps an append-only file.
    Persistence,
    /// Redis is new enough.
    RedisVersion,
    /// PostgreSQL is new enough.
    PostgresVersion,
    /// The models fit their tables.
    Schema,
    /// The runtime's own tables are there.
    Migrations,
    /// The queues have as many partitions as the settings say.
    Partitions,
}

impl Check {
    pub(crate) const ALL: [Self; 7] = [
        Self::Eviction,
        Self::Persistence,
        Self::RedisVersion,
        Self::PostgresVersion,
        Self::Schema,
        Self::Migrations,
        Self::Partitions,
    ];

    /// Where its mode stands within the settings, and the environment variable for it.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Eviction => ("checks.eviction", "KV_CHECKS_EVICTION"),
            Self::Persistence => ("checks.persistence", "KV_CHECKS_PERSISTENCE"),
            Self::RedisVersion => ("checks.redis_version", "KV_CHECKS_REDIS_VERSION"),
            Self::PostgresVersion => ("checks.postgres_version", "KV_CHECKS_POSTGRES_VERSION"),
            Self::Schema => ("checks.schema", "KV_CHECKS_SCHEMA"),
            Self::Migrations => ("checks.migrations", "KV_CHECKS_MIGRATIONS"),
            Self::Partitions => ("checks.partitions", "KV_CHECKS_PARTITIONS"),
        }
    }

    /// Its path within [`Settings`](crate::Settings).
    pub fn setting(self) -> &'static str {
        self.names().0
    }

    /// The environment variable that [`Settings::from_env`](crate::Settings::from_env) reads.
    pub fn variable(self) -> &'static str {
        self.names().1
    }
}

/// Something that a start-up check has found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The check that found it.
    pub check: Check,
    /// What does not fit, and what to do.
    pub message: String,
    /// It may be as it is wanted: never more than a warning.
    pub(crate) is_advice: bool,
}

impl Problem {
    pub(crate) fn new(check: Check, message: impl Into<String>) -> Self {
        Self { check, message: message.into(), is_advice: false }
    }

    pub(crate) fn advice(check: Check, message: impl Into<String>) -> Self {
        Self { is_advice: true, ..Self::new(check, message) }
    }

    /// Both sides know how many partitions a queue was written with.
    pub(crate) fn partitions(queue: &str, written: &str, ours: u16) -> Self {
        let message = format!(
            "queue `{queue}` was written with {written} partitions, but the settings say {ours}; \
             set `partitions` to {written}"
        );
        Self::new(Check::Partitions, message)
    }

    /// The same of a queue whose number of partitions was changed since it began.
    pub(crate) fn other_partitions(queue: &str, changed_to: &str, ours: u16) -> Self {
        let message = format!(
            "queue `{queue}` was given {changed_to} partitions, and has them, though the settings \
             say {ours}; nothing is wrong with that"
        );
        Self::advice(Check::Partitions, message)
    }
}

impl fmt::Display for Problem {
    /// With the way to override it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (setting, variable) = self.check.names();
        write!(f, "{}, or set `{setting}` ({variable}) to `warn`", self.message)
    }
}

/// Why the start-up checks did not pass.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// Something does not fit; all of it is here.
    #[error("{}", list(.0))]
    Refused(Vec<Problem>),
    /// A server could not be asked.
    #[error("{server} cannot be asked for what the start-up checks need")]
    Unavailable {
        /// Which server.
        server: Server,
        /// What it or the connection to it said.
        #[source]
        source: Source,
    },
}

fn list(problems: &[Problem]) -> String {
    let problems: Vec<String> = problems.iter().map(Problem::to_string).collect();
    match problems.as_slice() {
        [problem] => format!("a start-up check found that {problem}"),
        problems => {
            format!(
                "the start-up checks found {} problems:\n- {}",
                problems.len(),
                problems.join("\n- ")
            )
        }
    }
}

impl From<HotStoreError> for CheckError {
    fn from(error: HotStoreError) -> Self {
        Self::Unavailable { server: Server::Redis, source: error.into_source() }
    }
}

impl From<DurableStoreError> for CheckError {
    fn from(error: DurableStoreError) -> Self {
        Self::Unavailable { server: Server::PostgreSql, source: error.into_source() }
    }
}
