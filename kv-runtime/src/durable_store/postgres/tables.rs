//! Makes the tables: the framework's own by migrations, the models' from their descriptors.

use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::session::path_sql;
use super::{PostgresDurableStore, Rollback, classify, schema, tenants};
use crate::durable_store::DurableStoreError;
use crate::model::ModelDescriptor;

pub(super) const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// Any number that all who migrate agree on.
const MIGRATION_LOCK: i64 = 0x6b76_5f6d_6967;

/// The framework's own tables.
pub(super) async fn migrate(store: &PostgresDurableStore) -> Result<(), DurableStoreError> {
    #[cfg(feature = "testing")]
    if store.pool.test().is_some() {
        // They are made with the transaction.
        return store.connection().await.map(|_| ());
    }
    let mut connection = connection_for_tables(store).await?;
    if let Some(schema) = &store.schema {
        tenants::create_schema(&mut connection, schema).await?;
        connection.batch_execute(&path_sql(&store.schema)).await.map_err(classify)?;
    }
    // The harness blocks, and would panic on a runtime of one thread.
    let migrated = tokio::task::spawn_blocking(move || {
        let mut connection: AsyncConnectionWrapper<AsyncPgConnection> = connection.into();
        connection.run_pending_migrations(MIGRATIONS).map(|_| ())
    });
    match migrated.await {
        Ok(outcome) => outcome.map_err(DurableStoreError::Configuration),
        Err(panic) => Err(DurableStoreError::Configuration(Box::new(panic))),
    }
}

/// The tables of models that are missing.
pub(super) async fn create(
    store: &PostgresDurableStore,
    models: &[&'static ModelDescriptor],
) -> Result<(), DurableStoreError> {
    #[cfg(feature = "testing")]
    if store.pool.test().is_some() {
        // They are made in its own schema, where nobody else makes any.
        return create_missing(&mut *store.connection().await?, models).await;
    }
    let mut connection = connection_for_tables(store).await?;
    connection.batch_execute(&path_sql(&store.schema)).await.map_err(classify)?;
    create_missing(&mut connection, models).await
}

/// A connection of its own, for who makes tables: of all processes, one has it at a time, and
/// its end makes room for the next one.
async fn connection_for_tables(
    store: &PostgresDurableStore,
) -> Result<AsyncPgConnection, DurableStoreError> {
    let mut connection = store.pool.dedicated().await?;
    // It waits as long as a statement may take: the time-out of locks is for those of rows.
    let lock = format!(
        "BEGIN; SET LOCAL lock_timeout = 0; SELECT pg_advisory_lock({MIGRATION_LOCK}); COMMIT"
    );
    connection.batch_execute(&lock).await.map_err(classify)?;
    Ok(connection)
}

/// Makes the tables that are missing, all of them or none.
async fn create_missing(
    connection: &mut AsyncPgConnection,
    models: &[&'static ModelDescriptor],
) -> Result<(), DurableStoreError> {
    let transaction = connection.transaction(async |connection| {
        schema::create(connection, models).await.map_err(Rollback::Store)
    });
    transaction.await.map_err(Rollback::into_error)
}
