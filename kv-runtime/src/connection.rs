//! A connection of the pool, for any query of the user's.

use std::fmt;
use std::ops::{Deref, DerefMut};

use diesel_async::AsyncPgConnection;

use crate::durable_store::DurableStoreError;
use crate::durable_store::postgres::PooledConnection;
use crate::error::Source;

/// A connection to PostgreSQL out of the runtime's pool; made by
/// [`Kv::connection`](crate::Kv::connection). It goes back there when it is dropped.
pub struct Connection<'a> {
    pooled: PooledConnection<'a>,
}

impl<'a> Connection<'a> {
    pub(crate) fn new(pooled: PooledConnection<'a>) -> Self {
        Self { pooled }
    }
}

impl fmt::Debug for Connection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Deref for Connection<'_> {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &Self::Target {
        &self.pooled
    }
}

impl DerefMut for Connection<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.pooled
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// The pair is in memory.
    #[error(
        "the in-memory pair has no connection to PostgreSQL; open one with `Kv::connect`, or keep \
         what needs one behind a trait of your own"
    )]
    InMemory,
    /// None was free in time.
    #[error("no connection to PostgreSQL was free in time")]
    Timeout(#[source] Source),
    /// PostgreSQL could not be reached.
    #[error("PostgreSQL is unavailable")]
    Unavailable(#[source] Source),
}

impl From<DurableStoreError> for PoolError {
    fn from(error: DurableStoreError) -> Self {
        match error {
            DurableStoreError::Timeout(source) => Self::Timeout(source),
            other => Self::Unavailable(other.into_source()),
        }
    }
}
