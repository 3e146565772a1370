//! The entry point: a pair of stores, and what is made from it.

mod connect;
#[cfg(all(feature = "testing", feature = "redis", feature = "postgres"))]
mod test;

use std::sync::Arc;

#[cfg(feature = "redis")]
use tokio::sync::OnceCell;

use crate::checks::Checks;
#[cfg(feature = "postgres")]
use crate::connection::{Connection, PoolError};
use crate::dead_letters::DeadLetters;
use crate::drain::{DrainerBuilder, Queues};
use crate::durable_store::DurableStore;
use crate::durable_store::memory::MemoryDurableStore;
use crate::error::{Error, Operation};
use crate::hot_store::HotStore;
use crate::hot_store::memory::{MemoryHotStore, Watch};
use crate::key::KeySpace;
use crate::model::KvModel;
#[cfg(feature = "redis")]
use crate::redis::Redis;
use crate::repository::Repository;
use crate::row;
use crate::schema::Schema;
use crate::scheme::StorageScheme;
use crate::settings::Settings;
use crate::stores::Stores;
use crate::tenants::{TenantError, Tenants};

pub use self::connect::ConnectError;

/// A pair of stores: Redis and PostgreSQL, or both in memory.
///
/// Cheap to clone; clones share their connections.
///
/// ```
/// # use kv_runtime::{Kv, KvModel};
/// #[derive(Debug, Clone, PartialEq, KvModel)]
/// #[kv(table = "bookings")]
/// struct Booking {
///     #[kv(id, fresh)]
///     id: i64,
///     status: String,
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let kv = Kv::memory();
/// let drainer = kv.drainer().model::<Booking>().spawn();
/// let bookings = kv.repository::<Booking>();
///
/// bookings.create(&Booking { id: 7, status: "new".into() }).await?;
/// bookings.update(&7, Booking::patch().status("done")).await?;
/// assert_eq!(bookings.get_by_id(&7).await?.status, "done");
///
/// drainer.shutdown().await?;
/// assert_eq!(kv.durable_rows::<Booking>().await?.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Kv {
    stores: Arc<Stores>,
    tenants: Arc<Tenants>,
    /// The handle on Redis, when it was asked for; `None` without one.
    #[cfg(feature = "redis")]
    redis: Option<Arc<OnceCell<Redis>>>,
}

impl Kv {
    /// Both sides in this process, with the default settings: for a first try, for tests, and
    /// for a service that is to run without servers. Nothing outlives the process.
    ///
    /// It refuses what the servers would, dead letters included: a second row of an id or of a
    /// `unique` value, a foreign key (`references`) to no row of a model that this pair knows, NULL
    /// in a field that is no `Option`. What only SQL can say, it cannot: a `unique` of some rows
    /// (`when`) and a `check` refuse nothing here.
    ///
    /// For unit tests there is [`Memory`](crate::Memory), which fails when told to.
    pub fn memory() -> Self {
        Self::in_memory(Settings::in_memory(), Arc::default(), None)
    }

    /// Both sides in this process, with settings of one's own.
    ///
    /// # Errors
    /// [`ConnectError::Settings`].
    pub fn memory_with(settings: Settings) -> Result<Self, ConnectError> {
        settings.check()?;
        Ok(Self::in_memory(settings, Arc::default(), None))
    }

    pub(crate) fn in_memory(
        settings: Settings,
        durable: Arc<MemoryDurableStore>,
        watch: Option<Arc<Watch>>,
    ) -> Self {
        let keys = KeySpace::of(&settings);
        let hot = Arc::new(MemoryHotStore::new(&settings, keys.clone(), watch));
        Self::new(hot, durable, keys, settings)
    }

    fn new(
        hot: Arc<dyn HotStore>,
        durable: Arc<dyn DurableStore>,
        keys: KeySpace,
        settings: Settings,
    ) -> Self {
        let stores = Arc::new(Stores::new(hot, durable, keys, settings));
        Self {
            tenants: Arc::new(Tenants::new(Arc::clone(&stores))),
            stores,
            #[cfg(feature = "redis")]
            redis: None,
        }
    }

    /// A tenant: all that is made of this pair is its own, and no other tenant's.
    ///
    /// Its name stands before every key in Redis, and its schema before every table in PostgreSQL, as
    /// the only one of the search path ([`PostgresSettings::tenant_schema`]); so equal ids, queues,
    /// unique values and dead letters of two tenants do not meet, and each has storage schemes of its
    /// own. Connections are shared. Asked twice, it is the same tenant; asked of a tenant, it is
    /// another one of the whole pair.
    ///
    /// ```
    /// # use kv_runtime::{Kv, KvModel};
    /// # #[derive(Debug, Clone, PartialEq, KvModel)]
    /// # #[kv(table = "bookings")]
    /// # struct Booking { #[kv(id, fresh)] id: i64, status: String }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let kv = Kv::memory();
    /// let acme = kv.tenant("acme")?;
    /// acme.migrate().await?; // its schema with the runtime's own tables, once
    /// acme.repository::<Booking>().create(&Booking { id: 7, status: "new".into() }).await?;
    ///
    /// let globex = kv.tenant("globex")?;
    /// globex.migrate().await?;
    /// assert_eq!(globex.repository::<Booking>().find_by_id(&7).await?, None);
    ///
    /// let drainer = kv.drainer().model::<Booking>().all_tenants().spawn();
    /// drainer.shutdown().await?;
    /// assert_eq!(acme.durable_rows::<Booking>().await?.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A tenant that nobody has migrated can be written to in Redis, and is not drained before. Its
    /// models' tables are made as those of the pair are, in its schema: [`Schema`] writes their SQL,
    /// and [`connection`](Self::connection) finds names there and nowhere else, not even in `public`:
    /// what an extension brings has to be in the tenant's schema, or be named with its own.
    ///
    /// Give no process a [`Settings::tenant`] that is a tenant here, over the same Redis: the keys
    /// would be the same ones, and the tables others.
    ///
    /// [`PostgresSettings::tenant_schema`]: crate::PostgresSettings::tenant_schema
    /// [`Schema`]: crate::schema::Schema
    ///
    /// # Errors
    /// [`TenantError::Name`] of one that is empty, has a zero byte, or whose schema would be longer
    /// than 63 bytes or one of PostgreSQL's own; [`TenantError::InTest`] of a pair of `Kv::test`.
    ///
    /// # Panics
    /// Outside of a Tokio runtime, where the pair is not in memory. A repository or drainer of a
    /// tenant panics where the model's table is named with a schema.
    pub fn tenant(&self, name: &str) -> Result<Self, TenantError> {
        Ok(Self { stores: self.tenants.open(name)?, ..self.clone() })
    }

    /// The tenants that were migrated, and not removed since, by any process; in memory, those that
    /// were asked for.
    ///
    /// # Errors
    /// [`TenantError::List`].
    pub async fn tenants(&self) -> Result<Vec<String>, TenantError> {
        self.tenants.names().await
    }

    /// Takes a tenant off the list: drainers of all tenants leave it within a second or two. What it
    /// has, in Redis and PostgreSQL, stays as it is; [`migrate`](Self::migrate) puts it back.
    ///
    /// # Errors
    /// [`TenantError::List`].
    pub async fn remove_tenant(&self, name: &str) -> Result<(), TenantError> {
        self.tenants.remove(name).await
    }

    /// Creates the runtime's own tables in PostgreSQL, where they are missing. Of a tenant also its
    /// schema, and it is put on the list of [`tenants`](Self::tenants), which the pair itself must
    /// have been migrated for.
    ///
    /// Call it before a drainer is spawned; where nothing is missing it does nothing. The same
    /// migrations can be run with the Diesel CLI: they are in the folder `migrations` of this
    /// package, to be copied among your own.
    ///
    /// # Errors
    /// [`ConnectError::Migration`].
    pub async fn migrate(&self) -> Result<(), ConnectError> {
        self.stores
            .durable
            .migrate()
            .await
            .map_err(|error| ConnectError::Migration(error.into_source()))?;
        if let Some(name) = &self.stores.tenant {
            let added = self.tenants.add(name).await;
            added.map_err(|error| ConnectError::Migration(error.into_source()))?;
        }
        Ok(())
    }

    /// Creates the tables of models in PostgreSQL, where they are missing, with the types, indexes
    /// and keys that [`KvModel::ddl`] says. A service calls it when it starts, in as many instances
    /// as there are: one makes them, all of them at once, and the others wait for it.
    ///
    /// A table that is there stays as it is, whatever it lacks: what that is, the start-up checks
    /// tell, and [`Schema`] writes the migration. In memory there is nothing to make.
    ///
    /// ```
    /// # use kv_runtime::{Kv, KvModel};
    /// use kv_runtime::schema::Schema;
    ///
    /// # #[derive(Debug, Clone, PartialEq, KvModel)]
    /// # struct Driver { #[kv(id, fresh)] id: i64 }
    /// # #[derive(Debug, Clone, PartialEq, KvModel)]
    /// # struct Booking {
    /// #     #[kv(id, fresh)] id: i64,
    /// #     #[kv(references = "drivers(id)")] driver_id: Option<i64>,
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let kv = Kv::memory();
    /// let models = Schema::new().model::<Driver>().model::<Booking>();
    /// kv.migrate().await?;
    /// kv.create_tables(&models).await?;
    /// let drainer = kv.drainer().models(&models).spawn();
    /// # drainer.shutdown().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ConnectError::Tables`].
    ///
    /// # Panics
    /// If two models have the same key prefix; of a tenant, if the table of a model is named with a
    /// schema.
    pub async fn create_tables(&self, schema: &Schema) -> Result<(), ConnectError> {
        let models = schema.models();
        models.iter().for_each(|model| self.stores.know(model));
        let made = self.stores.durable.create_tables(models).await;
        made.map_err(|error| ConnectError::Tables(error.into_source()))
    }

    /// A connection of the pool, for any query that Diesel can say: a join, a group-by, a report.
    ///
    /// It sees what was drained, and nothing else. It is for reading: what it writes to the table of
    /// a model, Redis does not know of (see [`Repository::invalidate`]).
    ///
    /// Its session has the time zone UTC, and the time-outs of the settings: a statement may take
    /// [`PostgresSettings::statement_timeout`](crate::PostgresSettings::statement_timeout) and wait
    /// half of [`DrainSettings::lease`](crate::DrainSettings::lease) for a lock; a transaction in
    /// which nothing is asked for as long as that (`idle_in_transaction_session_timeout`, 5 seconds
    /// by default) is rolled back, and its connection closed. Where something else has to take its
    /// time within a transaction, raise it with `SET LOCAL`, which ends with the transaction: leave
    /// the session as you found it.
    ///
    /// ```no_run
    /// # use kv_runtime::{Kv, PoolError};
    /// use diesel::prelude::*;
    /// use diesel_async::RunQueryDsl;
    ///
    /// diesel::table! { bookings (id) { id -> BigInt, driver_id -> BigInt } }
    /// diesel::table! { drivers (id) { id -> BigInt, name -> Text } }
    /// diesel::joinable!(bookings -> drivers (driver_id));
    /// diesel::allow_tables_to_appear_in_same_query!(bookings, drivers);
    ///
    /// # async fn run(kv: Kv) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut connection = kv.connection().await?;
    /// let names: Vec<(i64, String)> = bookings::table
    ///     .inner_join(drivers::table)
    ///     .select((bookings::id, drivers::name))
    ///     .load(&mut *connection)
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`PoolError`].
    #[cfg(feature = "postgres")]
    pub async fn connection(&self) -> Result<Connection<'_>, PoolError> {
        let postgres = self.stores.durable.as_postgres().ok_or(PoolError::InMemory)?;
        Ok(Connection::new(postgres.lend().await?))
    }

    /// Redis itself, for what is no row, with the tenant's prefix on every key: see
    /// [`redis`](crate::redis). It connects when it is asked for the first time; all clones share
    /// the one pool of connections.
    ///
    /// Keep away from the keys of rows and queues, which begin with the models' names.
    ///
    /// ```no_run
    /// # use kv_runtime::Kv;
    /// # async fn run(kv: Kv) -> Result<(), kv_runtime::redis::Error> {
    /// let redis = kv.redis().await?;
    /// redis.set("maintenance", "from noon on").await?;
    /// let notice: String = redis.get("maintenance").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`redis::Error::InMemory`](crate::redis::Error::InMemory) or
    /// [`Connect`](crate::redis::Error::Connect).
    #[cfg(feature = "redis")]
    pub async fn redis(&self) -> Result<Redis, crate::redis::Error> {
        let shared = self.redis.as_ref().ok_or(crate::redis::Error::InMemory)?;
        let settings = &self.stores.settings;
        let connect = || Redis::connect(&settings.redis, settings.tenant.as_deref());
        let redis = shared.get_or_try_init(connect).await?;
        Ok(redis.with_prefix(self.stores.keys.prefix()))
    }

    pub(crate) fn stores(&self) -> &Arc<Stores> {
        &self.stores
    }

    /// What PostgreSQL refused.
    pub fn dead_letters(&self) -> DeadLetters {
        DeadLetters::new(Arc::clone(&self.stores))
    }

    /// The repository of a model.
    ///
    /// # Panics
    /// If another model has the same key prefix, as that of a struct with the same name in another
    /// module has: their rows would overwrite each other. Give one of them a
    /// [`key_prefix`](macro@crate::KvModel#key_prefix) of its own.
    #[track_caller]
    pub fn repository<M: KvModel>(&self) -> Repository<M> {
        Repository::new(Arc::clone(&self.stores))
    }

    /// The start-up checks of some models, to be told them and run.
    ///
    /// A drainer runs them by itself; a service that has none, or wants to know before it goes on,
    /// asks for them:
    ///
    /// ```
    /// # use kv_runtime::{CheckError, Kv, KvModel};
    /// # #[derive(Debug, Clone, PartialEq, KvModel)]
    /// # #[kv(table = "bookings")]
    /// # struct Booking { #[kv(id, fresh)] id: i64, status: String }
    /// # async fn check(kv: &Kv) -> Result<(), CheckError> {
    /// kv.checks().model::<Booking>().run().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn checks(&self) -> Checks {
        Checks::new(Arc::clone(&self.stores))
    }

    /// A drainer, to be told its models and spawned.
    pub fn drainer(&self) -> DrainerBuilder {
        DrainerBuilder::new(Arc::clone(&self.stores), Arc::clone(&self.tenants))
    }

    /// A look at the queues, to be told whose models' they are: for a process that leaves the
    /// draining to others.
    pub fn queues(&self) -> Queues {
        Queues::new(Arc::clone(&self.stores))
    }

    /// All rows of a model on the durable side, in no order: what was drained, and nothing else.
    ///
    /// For checks and small tables; it reads everything at once.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::Timeout`] or [`Error::Encoding`].
    pub async fn durable_rows<M: KvModel>(&self) -> Result<Vec<M>, Error> {
        let at = Operation::new(M::DESCRIPTOR, "durable_rows");
        if matches!(self.stores.scheme(M::DESCRIPTOR).await, Ok(StorageScheme::RedisOnly)) {
            return Err(Error::RedisOnly { at });
        }
        let rows = self.stores.durable.fetch_all(M::DESCRIPTOR).await;
        let rows = rows.map_err(|error| Error::from_durable(at, error))?;
        let decoded = rows.iter().map(row::decode);
        decoded.collect::<Result<_, _>>().map_err(|error| Error::encoding(at, error))
    }
}
