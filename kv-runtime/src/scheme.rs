//! How a model is stored: what its rows are written to first, and who else has them.

mod direct;
mod front;
pub(crate) mod known;
mod layouts;
mod learn;
mod past;
mod switch;
mod turns;

use std::fmt;
use std::str::FromStr;

pub(crate) use self::known::KnownSchemes;
pub use self::switch::SwitchError;
pub(crate) use self::turns::Turns;

/// How the rows of a model are stored.
///
/// Chosen for all models by [`Settings::scheme`](crate::Settings::scheme), for one by
/// `#[kv(scheme = "write_through")]`, and changed while everything is running by
/// [`Kv::switch_scheme`](crate::Kv::switch_scheme). The repository is the same under each. What was
/// chosen first is remembered in PostgreSQL (`kv_offsets`), and from then on only a switch changes
/// it. Models that share a queue share its scheme.
///
/// | | a write is acknowledged by | reads | without Redis | without PostgreSQL |
/// | --- | --- | --- | --- | --- |
/// | `WriteBehind` | Redis, with its entry | Redis, then PostgreSQL | nothing | all that Redis has, and writes of it |
/// | `WriteThrough` | PostgreSQL, by way of the queue | the same | nothing | reads of what Redis has |
/// | `CacheAside` | PostgreSQL | the same | reads | reads of what Redis has |
/// | `RedisOnly` | Redis, with its entry | Redis | nothing | everything, until the queue is full |
/// | `PostgresOnly` | PostgreSQL | PostgreSQL | everything | nothing |
///
/// Where PostgreSQL acknowledges a write, it is also PostgreSQL that refuses it: the caller is told
/// by [`Error::Refused`](crate::Error::Refused), and there is no dead letter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StorageScheme {
    /// Redis first; a drainer brings what was written to PostgreSQL.
    #[default]
    WriteBehind,
    /// The same, and a write waits until that has happened. It takes as long as the drainer does.
    WriteThrough,
    /// PostgreSQL first; Redis keeps what was read, for [`Settings::row_ttl`](crate::Settings).
    ///
    /// A write removes the row from Redis before it and after it, so that nobody reads what was
    /// there before. A writer that is killed in between keeps the row out of Redis for a minute.
    CacheAside,
    /// Redis alone, without a time to live. The model needs no table, and cannot be queried.
    ///
    /// Its queue is drained all the same, into nowhere: so it needs a drainer like any other.
    ///
    /// A queue that is switched to it takes all rows along that PostgreSQL has. These stay there as
    /// they were, and are asked for by nobody, until a switch back writes what has changed, deletions
    /// included. Meanwhile Redis keeps a small key for each of these rows that is deleted.
    RedisOnly,
    /// PostgreSQL alone.
    PostgresOnly,
}

impl StorageScheme {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::WriteBehind,
        Self::WriteThrough,
        Self::CacheAside,
        Self::RedisOnly,
        Self::PostgresOnly,
    ];

    /// The name, as in an attribute and in `kv_offsets`.
    pub fn name(self) -> &'static str {
        match self {
            Self::WriteBehind => "write_behind",
            Self::WriteThrough => "write_through",
            Self::CacheAside => "cache_aside",
            Self::RedisOnly => "redis_only",
            Self::PostgresOnly => "postgres_only",
        }
    }

    /// Whether writes go past the queue.
    pub(crate) fn is_direct(self) -> bool {
        matches!(self, Self::CacheAside | Self::PostgresOnly)
    }
}

impl fmt::Display for StorageScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no storage scheme.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "it should be one of `write_behind`, `write_through`, `cache_aside`, `redis_only` and \
     `postgres_only`"
)]
pub struct UnknownScheme;

impl FromStr for StorageScheme {
    type Err = UnknownScheme;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|scheme| scheme.name() == text).ok_or(UnknownScheme)
    }
}
