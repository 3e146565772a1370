//! Rows that this process holds, in front of Redis.

mod stats;
mod tier;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use self::stats::CacheStats;
pub(crate) use self::tier::Tier;
use self::tier::{AnyRow, RowType};
use crate::error::{Error, Operation};
use crate::key::RowKey;
use crate::kv::Kv;
use crate::model::{FieldError, KvModel};
use crate::repository::Repository;
use crate::row::{self, EncodedRow};
use crate::rows::Rows;
use crate::settings::SettingsError;
use crate::stores::Stores;

/// How old and how large the rows of a [`Cached`] may be.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct CacheSettings {
    /// How long ago a row may have been what a read answers: the bound that holds whatever is lost on
    /// the way. It counts from the moment before the row was asked for.
    pub stale_for: Duration,
    /// How much the rows may take together, in bytes; for a moment they may take a little more.
    ///
    /// A row is taken to have the size of its struct, the texts of its values in Redis for what the
    /// struct has elsewhere, its key, and 256 bytes for its places in the tables. Which rows stay is
    /// decided by how often and how lately they were read.
    pub bytes_max: u64,
}

impl CacheSettings {
    /// These bounds.
    pub fn new(stale_for: Duration, bytes_max: u64) -> Self {
        Self { stale_for, bytes_max }
    }

    /// Whether both are in their range.
    ///
    /// # Errors
    /// The first that is not, by name.
    pub fn check(&self) -> Result<(), SettingsError> {
        if self.stale_for.is_zero() {
            let problem = "must be longer than zero; a `Repository` is never stale";
            return Err(SettingsError::new("cache.stale_for", problem));
        }
        if self.bytes_max == 0 {
            let problem = "must be greater than zero; a `Repository` holds nothing";
            return Err(SettingsError::new("cache.bytes_max", problem));
        }
        Ok(())
    }
}

/// The rows of a model as this process holds them, for what is read far more than it is written; made
/// by [`Kv::cached`].
///
/// It is a type of its own, and no [`ReadRepository`](crate::ReadRepository), because it does not see
/// every acknowledged write: whoever is handed one knows what they read by.
///
/// | a write by | is seen by a read that begins |
/// | --- | --- |
/// | this process, by any handle of the same pair | after the write was answered |
/// | another process | after Redis has told of it: mostly within a millisecond |
/// | another process, while Redis cannot tell | [`stale_for`](CacheSettings::stale_for) after the write at the latest |
///
/// # How it is told
///
/// Redis tells of every key that changes, by whomever (`CLIENT TRACKING` in broadcasting mode, on one
/// connection for all caches of a [`Kv`] and its tenants, in a cluster one to each master). Writers
/// need not know of it, and Redis remembers nothing of who has read what. When such a connection is
/// lost, all rows are forgotten at once, and again when it is back; in between they are kept within
/// the bound. A connection that has gone silent is found out within a second and twice the
/// [`command_timeout`](crate::RedisSettings::command_timeout). The user that logs in needs the right
/// to `CLIENT TRACKING`; without it a warning is logged and the bound alone holds, see
/// [`CacheStats::is_told`].
///
/// Redis tells of nothing where rows are in PostgreSQL alone: under
/// [`StorageScheme::PostgresOnly`](crate::StorageScheme::PostgresOnly), what other processes write is
/// seen when the bound is over. The same goes for what is changed in PostgreSQL by hand, until
/// [`Repository::invalidate`] removes the row from Redis.
///
/// # What it holds
///
/// A row that is not held is read as [`Repository`] does it, by a task of the Tokio runtime and once for
/// all who ask for it meanwhile; an error is told to each of them, and not remembered, nor is that a row
/// is absent. Rows are found by their ids alone. Clones share what they hold; two calls of
/// [`Kv::cached`] do not.
///
/// ```
/// use std::time::Duration;
///
/// use kv_runtime::{CacheSettings, Kv, KvModel};
///
/// #[derive(Debug, Clone, PartialEq, KvModel)]
/// #[kv(table = "fares")]
/// struct Fare {
///     #[kv(id, fresh)]
///     zone: i64,
///     cents: i64,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let kv = Kv::memory();
/// let settings = CacheSettings::new(Duration::from_secs(5), 64 << 20);
/// let fares = kv.cached::<Fare>(settings)?;
///
/// fares.repository().create(&Fare { zone: 1, cents: 250 }).await?;
/// assert_eq!(fares.get_by_id(&1).await?.cents, 250);
/// assert_eq!(fares.get_by_id(&1).await?.cents, 250); // from memory
/// assert_eq!(fares.stats().hits, 1);
///
/// fares.repository().update(&1, Fare::patch().cents(275)).await?;
/// assert_eq!(fares.get_by_id(&1).await?.cents, 275);
/// # Ok(())
/// # }
/// ```
pub struct Cached<M: KvModel> {
    repository: Repository<M>,
    tier: Arc<Tier>,
}

impl<M: KvModel> Clone for Cached<M> {
    fn clone(&self) -> Self {
        Self { repository: self.repository.clone(), tier: Arc::clone(&self.tier) }
    }
}

impl<M: KvModel> fmt::Debug for Cached<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Cached");
        debug.field("model", &M::DESCRIPTOR.name).field("tier", &self.tier).finish_non_exhaustive()
    }
}

impl Kv {
    /// The rows of a model, held in this process within bounds: see [`Cached`].
    ///
    /// Make one and clone it: each call holds rows of its own.
    ///
    /// # Errors
    /// The first setting that is out of its range, by name.
    ///
    /// # Panics
    /// Outside of a Tokio runtime, where the pair is not in memory.
    pub fn cached<M: KvModel>(&self, settings: CacheSettings) -> Result<Cached<M>, SettingsError> {
        settings.check()?;
        Ok(Cached::new(self.repository(), settings))
    }
}

impl<M: KvModel> Cached<M> {
    fn new(repository: Repository<M>, settings: CacheSettings) -> Self {
        let row_type = RowType { decode: decode::<M>, bytes: size_of::<M>() };
        let tier = open(repository.rows().clone(), row_type, settings);
        Self { repository, tier }
    }

    /// The rows as they are, and the way to write them.
    pub fn repository(&self) -> &Repository<M> {
        &self.repository
    }

    /// Reads a row, as old as the settings allow.
    ///
    /// # Errors
    /// Those of [`Repository::get_by_id`].
    pub async fn get_by_id(&self, id: &M::Id) -> Result<Arc<M>, Error> {
        let at = Repository::<M>::at("get_by_id");
        let key = self.repository.encode_id(at, id)?;
        let not_found = || Error::NotFound { at, id: key.id.clone() };
        self.read_one(at, &key).await?.ok_or_else(not_found)
    }

    /// Reads a row that may not be there, as old as the settings allow.
    ///
    /// # Errors
    /// Those of [`Repository::find_by_id`].
    pub async fn find_by_id(&self, id: &M::Id) -> Result<Option<Arc<M>>, Error> {
        let at = Repository::<M>::at("find_by_id");
        self.read_one(at, &self.repository.encode_id(at, id)?).await
    }

    /// Reads some rows, each as old as the settings allow, in the order of the ids; `None` for those
    /// not there. Those that are not held are read together.
    ///
    /// # Errors
    /// Those of [`Repository::get_many`].
    pub async fn get_many(&self, ids: &[M::Id]) -> Result<Vec<Option<Arc<M>>>, Error> {
        let at = Repository::<M>::at("get_many");
        let keys = ids.iter().map(|id| self.repository.encode_id(at, id));
        let rows = self.tier.read(at, keys.collect::<Result<_, _>>()?).await?;
        Ok(rows.into_iter().map(|row| row.and_then(of_model)).collect())
    }

    /// How it has done, for metrics. It does what tidying up is due first.
    pub fn stats(&self) -> CacheStats {
        self.tier.stats()
    }

    async fn read_one(&self, at: Operation, key: &RowKey) -> Result<Option<Arc<M>>, Error> {
        if let Some(row) = self.tier.hit(key) {
            return Ok(of_model(row));
        }
        let rows = self.tier.read(at, vec![key.clone()]).await?;
        Ok(rows.into_iter().next().flatten().and_then(of_model))
    }
}

/// What a cache holds, and has itself told what changes.
fn open(rows: Rows, row_type: RowType, settings: CacheSettings) -> Arc<Tier> {
    let tier = Arc::new(Tier::new(rows, row_type, settings));
    let stores: &Stores = tier.rows().stores();
    stores.hot.notices().add(stores.keys.rows_prefix(tier.rows().model()), &tier);
    stores.hot.tell_of_others();
    tier
}

fn decode<M: KvModel>(row: &EncodedRow) -> Result<AnyRow, FieldError> {
    let row: M = row::decode(row)?;
    Ok(Arc::new(row))
}

/// A row of the cache's own model, as all of its rows are.
fn of_model<M: KvModel>(row: AnyRow) -> Option<Arc<M>> {
    row.downcast().ok()
}
