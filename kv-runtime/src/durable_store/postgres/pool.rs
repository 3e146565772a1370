//! The connections to a server, and how their sessions are set up.

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::bb8::{ErrorSink, RunError};
use diesel::{ConnectionError, ConnectionResult};
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, PoolError, RecyclingMethod,
};
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use futures_util::FutureExt;

use super::classify;
use super::replicas::ANSWER_MAX;
use super::session::{Schema, Session, Sessions};
#[cfg(feature = "testing")]
use super::test_transaction::{TestTransaction, Turn};
#[cfg(feature = "postgres-tls")]
use super::tls::TlsConnector;
use crate::durable_store::DurableStoreError;
#[cfg(feature = "postgres-tls")]
use crate::settings::PostgresTls;
use crate::settings::{ServerUrl, Settings, SettingsError};

/// The connections to one server.
pub(super) struct Pool {
    connections: ::bb8::Pool<Sessions>,
    /// Whether others than the one that opened it use it, too.
    has_tenants: AtomicBool,
    last_failure: LastFailure,
    checkout_timeout: Duration,
    /// What a test has in place of them.
    #[cfg(feature = "testing")]
    test: Option<TestTransaction>,
}

/// A connection that goes back when it is dropped.
// In a box, every checkout would cost an allocation, for what only tests have.
#[allow(clippy::large_enum_variant)]
pub(crate) enum PooledConnection<'a> {
    Pooled(::bb8::PooledConnection<'a, Sessions>),
    #[cfg(feature = "testing")]
    Test(Turn<'a>),
}

impl Deref for PooledConnection<'_> {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        match self {
            Self::Pooled(connection) => connection,
            #[cfg(feature = "testing")]
            Self::Test(connection) => connection,
        }
    }
}

impl DerefMut for PooledConnection<'_> {
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        match self {
            Self::Pooled(connection) => connection,
            #[cfg(feature = "testing")]
            Self::Test(connection) => connection,
        }
    }
}

impl Pool {
    /// Of the primary. Connects in the background at most.
    pub(super) fn of_primary(settings: &Settings) -> Result<Self, SettingsError> {
        let postgres = &settings.postgres;
        Self::new(settings, "postgres.url", &postgres.url, postgres.checkout_timeout)
    }

    /// Of a replica: as the primary can answer, nobody waits for one for long.
    pub(super) fn of_replica(settings: &Settings, url: &ServerUrl) -> Result<Self, SettingsError> {
        let checkout_timeout = settings.postgres.checkout_timeout.min(ANSWER_MAX);
        Self::new(settings, "postgres.replicas", url, checkout_timeout)
    }

    fn new(
        settings: &Settings,
        setting: &'static str,
        url: &ServerUrl,
        checkout_timeout: Duration,
    ) -> Result<Self, SettingsError> {
        let postgres = &settings.postgres;
        let opener = Arc::new(Opener::new(settings, setting, url)?);
        let mut config = ManagerConfig::default();
        config.recycling_method = RecyclingMethod::Fast;
        config.custom_setup = Box::new(move |url| {
            let opener = Arc::clone(&opener);
            async move { opener.open(url).await }.boxed()
        });
        let manager = AsyncDieselConnectionManager::new_with_config(url.expose(), config);
        let last_failure = LastFailure::default();
        let connections = ::bb8::Pool::builder()
            .max_size(postgres.max_connections)
            .min_idle(postgres.min_idle)
            .max_lifetime(postgres.max_lifetime)
            .idle_timeout(postgres.idle_timeout)
            .connection_timeout(checkout_timeout)
            // What has run statements lately has them and its tables at hand, and the others become
            // idle.
            .queue_strategy(::bb8::QueueStrategy::Lifo)
            .error_sink(Box::new(last_failure.clone()))
            .build_unchecked(Sessions(manager));
        Ok(Self {
            connections,
            has_tenants: AtomicBool::default(),
            last_failure,
            checkout_timeout,
            #[cfg(feature = "testing")]
            test: None,
        })
    }

    /// Of the primary, for a test: one connection, in a transaction that is never committed.
    #[cfg(feature = "testing")]
    pub(super) fn of_test(settings: &Settings) -> Result<Self, SettingsError> {
        Ok(Self { test: Some(TestTransaction::default()), ..Self::of_primary(settings)? })
    }

    /// The transaction that all is done in, in a test.
    #[cfg(feature = "testing")]
    pub(super) fn test(&self) -> Option<&TestTransaction> {
        self.test.as_ref()
    }

    /// Has a connection answer something, which proves that address and password are right.
    pub(super) async fn try_out(&self) -> Result<(), DurableStoreError> {
        // Not one of the pool's, which would only say that none came up in time.
        let asked =
            async { self.dedicated().await?.batch_execute("SELECT 1").await.map_err(classify) };
        match tokio::time::timeout(self.checkout_timeout, asked).await {
            Ok(answered) => answered,
            Err(_) => Err(DurableStoreError::Timeout(
                "it took longer than `postgres.checkout_timeout`".into(),
            )),
        }
    }

    /// From now on it is used for tenants, too.
    pub(super) fn share(&self) {
        self.has_tenants.store(true, Ordering::Relaxed);
    }

    /// A connection to a schema that goes back when it is dropped.
    pub(super) async fn get(
        &self,
        schema: &Schema,
    ) -> Result<PooledConnection<'_>, DurableStoreError> {
        #[cfg(feature = "testing")]
        if let Some(turn) = self.turn().await? {
            return Ok(PooledConnection::Test(turn));
        }
        let mut session = self.checkout().await?;
        session.enter(schema).await.map_err(classify)?;
        Ok(PooledConnection::Pooled(session))
    }

    /// The same for a user, who may do anything with it.
    pub(super) async fn lend(
        &self,
        schema: &Schema,
    ) -> Result<PooledConnection<'_>, DurableStoreError> {
        let mut connection = self.get(schema).await?;
        match &mut connection {
            PooledConnection::Pooled(session) => {
                if session.is_stale_for(schema) {
                    **session = self.open().await?;
                    session.enter(schema).await.map_err(classify)?;
                }
                session.lend(schema, self.has_tenants.load(Ordering::Relaxed));
            }
            #[cfg(feature = "testing")]
            PooledConnection::Test(_) => {}
        }
        Ok(connection)
    }

    /// In a test, a turn with its only connection.
    #[cfg(feature = "testing")]
    async fn turn(&self) -> Result<Option<Turn<'_>>, DurableStoreError> {
        let Some(test) = &self.test else { return Ok(None) };
        test.turn(self.checkout_timeout, self.dedicated()).await.map(Some)
    }

    async fn checkout(&self) -> Result<::bb8::PooledConnection<'_, Sessions>, DurableStoreError> {
        let session = self.connections.get().await.map_err(|error| match error {
            RunError::User(error) => pool_error(error),
            RunError::TimedOut => match self.last_failure.get() {
                Some(failure) => DurableStoreError::Unavailable(failure.into()),
                None => DurableStoreError::Timeout(
                    "all connections were in use for too long; `postgres.max_connections` is \
                     the bound"
                        .into(),
                ),
            },
        })?;
        self.last_failure.forget();
        Ok(session)
    }

    /// A connection that is not one of the pool's, and says why where it does not come up.
    pub(super) async fn dedicated(&self) -> Result<AsyncPgConnection, DurableStoreError> {
        self.open().await.map(Session::into_connection)
    }

    async fn open(&self) -> Result<Session, DurableStoreError> {
        self.connections.dedicated_connection().await.map_err(pool_error)
    }
}

/// Opens connections, each with its session set up.
struct Opener {
    session: String,
    look_for_client: String,
    #[cfg(feature = "postgres-tls")]
    tls: Option<TlsConnector>,
}

impl Opener {
    fn new(
        settings: &Settings,
        setting: &'static str,
        url: &ServerUrl,
    ) -> Result<Self, SettingsError> {
        // Without the feature there is none, or this is an error.
        #[cfg_attr(not(feature = "postgres-tls"), allow(unused_variables))]
        let tls = settings.postgres.tls_of(setting, url)?;
        Ok(Self {
            session: session_sql(settings),
            look_for_client: look_for_client_sql(settings),
            #[cfg(feature = "postgres-tls")]
            tls: if tls == PostgresTls::Off { None } else { Some(TlsConnector::new(&tls)?) },
        })
    }

    async fn open(&self, url: &str) -> ConnectionResult<AsyncPgConnection> {
        let mut connection = self.establish(url).await?;
        let set_up = connection.batch_execute(&self.session).await;
        set_up.map_err(ConnectionError::CouldntSetupConfiguration)?;
        // Before version 14, and on Windows, PostgreSQL cannot; then the statement's own timeout
        // has to do.
        let _ = connection.batch_execute(&self.look_for_client).await;
        Ok(connection)
    }

    async fn establish(&self, url: &str) -> ConnectionResult<AsyncPgConnection> {
        #[cfg(feature = "postgres-tls")]
        if let Some(tls) = &self.tls {
            return tls.establish(url).await;
        }
        AsyncPgConnection::establish(url).await
    }
}

/// How a session begins.
fn session_sql(settings: &Settings) -> String {
    let lock = lock_timeout_ms(settings);
    // The text forms of values must not depend on how the server is set up.
    format!(
        "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET bytea_output = 'hex'; \
         SET extra_float_digits = 1; SET statement_timeout = {}; SET lock_timeout = {lock}; \
         SET idle_in_transaction_session_timeout = {lock}",
        settings.postgres.statement_timeout.as_millis()
    )
}

/// So that who is killed during a statement loses its locks, too.
fn look_for_client_sql(settings: &Settings) -> String {
    format!("SET client_connection_check_interval = {}", lock_timeout_ms(settings))
}

/// Who is paused within a transaction loses its locks before its lease has long passed on.
fn lock_timeout_ms(settings: &Settings) -> u128 {
    (settings.drain.lease / 2).as_millis().max(1)
}

/// Why the pool could not open a connection, the last time it tried: it tells only this.
#[derive(Debug, Clone, Default)]
struct LastFailure(Arc<Mutex<Option<String>>>);

impl LastFailure {
    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self) -> Option<String> {
        self.lock().clone()
    }

    fn forget(&self) {
        *self.lock() = None;
    }
}

impl ErrorSink<PoolError> for LastFailure {
    fn sink(&self, error: PoolError) {
        *self.lock() = Some(error.to_string());
    }

    fn boxed_clone(&self) -> Box<dyn ErrorSink<PoolError>> {
        Box::new(self.clone())
    }
}

fn pool_error(error: PoolError) -> DurableStoreError {
    match error {
        PoolError::ConnectionError(error) => DurableStoreError::Unavailable(Box::new(error)),
        PoolError::QueryError(error) => classify(error),
    }
}
