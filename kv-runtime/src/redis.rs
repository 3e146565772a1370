//! Redis itself, for what is no row: strings, hashes, lists, sets, streams with consumer groups,
//! scripts, pipelines, pub/sub and locks.
//!
//! [`Redis`] is a pool of multiplexed connections. A [`Kv`](crate::Kv) has one ([`Kv::redis`]), and
//! [`Redis::connect`] opens one by itself. Every key, stream, channel and lock gets the tenant's
//! prefix, so that tenants do not meet; what comes back is without it. A value is anything that the
//! `redis` crate writes and reads ([`ToSingleRedisArg`], [`FromRedisValue`]), or by the methods
//! that end in `_json` anything that serde does.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use kv_runtime::RedisSettings;
//! use kv_runtime::redis::{EntryPosition, Expiry, Redis, SetReply};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, Serialize, Deserialize)]
//! struct Session {
//!     user: String,
//!     logins: u32,
//! }
//!
//! # async fn run() -> Result<(), kv_runtime::redis::Error> {
//! let redis = Redis::connect(&RedisSettings::default(), Some("acme")).await?;
//!
//! let session = Session { user: "ann".into(), logins: 1 };
//! redis.set_json("session:1", &session).await?; // `acme/session:1`, for the default time
//! let session: Session = redis.get_json("session:1").await?;
//! let ttl = Expiry::After(Duration::from_secs(60));
//! assert_eq!(redis.set_if_absent_with("seen:1", "yes", ttl).await?, SetReply::Set);
//! # let _ = session;
//! # Ok(())
//! # }
//! ```
//!
//! [`Kv::redis`]: crate::Kv::redis

pub(crate) mod client;
mod error;
mod groups;
mod hashes;
mod health;
mod link;
mod lists;
mod lock;
mod pipeline;
mod pool;
pub(crate) mod primary;
mod pubsub;
mod scripts;
pub(crate) mod sentinel;
mod streams;
mod strings;
#[cfg(feature = "redis-tls")]
mod tls;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, ScriptInvocation};
pub use redis::{FromRedisValue, Script, ToRedisArgs, ToSingleRedisArg, Value};

use self::error::{At, Family};
pub use self::error::{Call, Error};
pub use self::groups::{Claimed, Pending, PendingEntry};
pub use self::health::ConnectionState;
pub use self::lock::Lock;
pub use self::pipeline::Pipeline;
use self::pool::Pool;
pub use self::pubsub::{Message, Subscription};
pub use self::streams::{EntryPosition, StreamEntries, StreamEntry};
pub use self::strings::{Expiry, SetReply};
use crate::key;
use crate::settings::{RedisSettings, SettingsError};

/// A tenant's hand on Redis: a pool of multiplexed connections, and the prefix of its keys.
///
/// Cheap to clone; clones share their connections. A connection that is lost comes back by itself,
/// as [`RedisSettings`] says. A write whose answer was lost is not done again: it ends in
/// [`Error::Timeout`] or [`Error::Unavailable`], and may be done. Only in a cluster, the connection is
/// lost and made again below that, and a write can be done twice; rows and queues have ways of their
/// own, which this does not concern.
///
/// In a cluster, the keys of one call (of a pipeline, a script, or a read of several streams) have
/// to lie in one slot: give them the same hash tag, `{…}`.
#[derive(Clone)]
pub struct Redis {
    pool: Arc<Pool>,
    prefix: Arc<str>,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Redis {
    /// Connects, so that a wrong address or password shows now. `None` is no tenant, and no prefix.
    ///
    /// ```no_run
    /// # use kv_runtime::RedisSettings;
    /// # use kv_runtime::redis::{Error, Redis};
    /// # async fn run() -> Result<(), Error> {
    /// let redis = Redis::connect(&RedisSettings::at("localhost", 6379), Some("acme")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Settings`] or [`Error::Connect`].
    pub async fn connect(settings: &RedisSettings, tenant: Option<&str>) -> Result<Self, Error> {
        settings.check()?;
        if tenant == Some("") {
            let problem = "must not be empty; `None` is no tenant".to_owned();
            return Err(SettingsError { setting: "tenant", problem }.into());
        }
        let pool = Pool::connect(settings).await.map_err(|error| Error::Connect {
            address: settings.address(),
            source: Box::new(error),
        })?;
        Ok(Self { pool: Arc::new(pool), prefix: key::tenant_prefix(tenant).into() })
    }

    /// The same connections with another prefix.
    pub(crate) fn with_prefix(&self, prefix: &str) -> Self {
        Self { pool: Arc::clone(&self.pool), prefix: prefix.into() }
    }

    /// How it stands with the connections.
    pub fn state(&self) -> ConnectionState {
        self.pool.health().state()
    }

    /// Calls `hook` when a connection is lost or Redis stops to answer: once for each outage,
    /// however many commands fail in it, with [`Error::Unavailable`] or [`Error::Timeout`]. It is
    /// called by whoever notices, and should not block.
    pub fn on_error(&self, hook: impl Fn(&Error) + Send + Sync + 'static) {
        self.pool.health().on_error(Arc::new(hook));
    }

    fn settings(&self) -> &RedisSettings {
        self.pool.settings()
    }

    /// A key as Redis has it.
    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Whether it is looked under the key without prefix, too.
    fn falls_back(&self) -> bool {
        self.settings().fallback_to_unprefixed && !self.prefix.is_empty()
    }

    /// Sends a command.
    async fn query<T: FromRedisValue>(&self, at: At<'_>, command: &Cmd) -> Result<T, Error> {
        let mut link = self.pool.link();
        read(at, self.pool.run(at, command.query_async(&mut link)).await?)
    }

    /// Sends commands in one round trip; an error of one of them is that of all.
    async fn query_all<T: FromRedisValue>(
        &self,
        at: At<'_>,
        pipeline: &redis::Pipeline,
    ) -> Result<T, Error> {
        let mut link = self.pool.link();
        read(at, self.pool.run(at, pipeline.query_async(&mut link)).await?)
    }

    async fn invoke<T: FromRedisValue>(
        &self,
        at: At<'_>,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, Error> {
        let mut link = self.pool.link();
        read(at, self.pool.run(at, call.invoke_async(&mut link)).await?)
    }

    /// The answer to a command that reads the key; where there is nothing, and it is fallen back,
    /// that of the key without prefix.
    async fn found(&self, at: At<'_>, command: impl Fn(&str) -> Cmd) -> Result<Value, Error> {
        let answer = self.query(at, &command(&self.key(at.key))).await?;
        let is_nothing = match &answer {
            Value::Nil => true,
            Value::Array(items) | Value::Set(items) => items.is_empty(),
            Value::Map(items) => items.is_empty(),
            _ => false,
        };
        if is_nothing && self.falls_back() {
            return self.query(at, &command(at.key)).await;
        }
        Ok(answer)
    }
}

/// What Redis answered, as a `T`.
fn read<T: FromRedisValue>(at: At<'_>, answer: Value) -> Result<T, Error> {
    T::from_redis_value(answer).map_err(|_| at.no_such_type::<T>())
}

/// A time as Redis takes it: a millisecond at least, and not more than it can count.
fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).clamp(1, MILLISECONDS_MAX)
}

/// A thousand years, which can be added to the time of day without an overflow.
const MILLISECONDS_MAX: i64 = 1_000 * 365 * 86_400_000;
