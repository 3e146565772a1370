//! One connection for all that a test does, in a transaction that is never committed.
//!
//! Everybody takes turns. Each turn begins with a save point, so that a statement that fails, or a
//! transaction that is left open, is undone when the next one comes, and nothing else is.

use std::sync::Arc;
use std::time::Duration;

use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncPgConnection, SimpleAsyncConnection,
    TransactionManager,
};
use diesel_migrations::MigrationHarness;
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard, OwnedMutexGuard};

use super::classify;
use super::tables::MIGRATIONS;
use crate::durable_store::DurableStoreError;

/// The connection of a test, once somebody has asked for it.
#[derive(Default)]
pub(super) struct TestTransaction {
    connection: Mutex<Option<AsyncPgConnection>>,
    /// Who switches a queue: there is no other connection to hold a lock of PostgreSQL's.
    switch: Arc<Mutex<()>>,
}

/// The connection, until it is dropped.
pub(super) type Turn<'a> = MappedMutexGuard<'a, AsyncPgConnection>;

impl TestTransaction {
    /// Waits for a turn; the first one opens the connection and begins the transaction.
    pub(super) async fn turn(
        &self,
        timeout: Duration,
        open: impl Future<Output = Result<AsyncPgConnection, DurableStoreError>>,
    ) -> Result<Turn<'_>, DurableStoreError> {
        let turn = tokio::time::timeout(timeout, self.connection.lock()).await;
        let mut turn = turn.map_err(|_| {
            let problem = "the only connection of a test was in use for too long";
            DurableStoreError::Timeout(problem.into())
        })?;
        match &mut *turn {
            Some(connection) => renew(connection).await?,
            // Who is cancelled meanwhile leaves nothing, and the next one begins.
            None => *turn = Some(begin(open.await?).await?),
        }
        MutexGuard::try_map(turn, Option::as_mut).map_err(|_| is_over("it was never begun"))
    }

    /// Waits until nobody else switches a queue.
    pub(super) async fn exclude(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.switch).lock_owned().await
    }
}

/// Begins the transaction, in which there is a schema with the runtime's own tables: those of the
/// database may be locked by other tests.
async fn begin(mut connection: AsyncPgConnection) -> Result<AsyncPgConnection, DurableStoreError> {
    // It rests as long as the test does other things.
    let rest = "SET idle_in_transaction_session_timeout = 0";
    connection.batch_execute(rest).await.map_err(classify)?;
    connection.begin_test_transaction().await.map_err(classify)?;
    let schema = format!("kv_test_{:016x}", fastrand::u64(..));
    let make = format!(
        "CREATE SCHEMA {schema}; SELECT set_config('search_path', \
         concat_ws(', ', '{schema}', nullif(current_setting('search_path'), '')), false)"
    );
    connection.batch_execute(&make).await.map_err(classify)?;
    // The harness blocks, and would panic on a runtime of one thread.
    let migrated = tokio::task::spawn_blocking(move || {
        let mut connection: AsyncConnectionWrapper<AsyncPgConnection> = connection.into();
        connection.run_pending_migrations(MIGRATIONS)?;
        Ok(connection.into_inner())
    });
    let mut connection = match migrated.await {
        Ok(migrated) => migrated.map_err(DurableStoreError::Configuration)?,
        Err(panic) => return Err(DurableStoreError::Configuration(Box::new(panic))),
    };
    connection.batch_execute("SAVEPOINT kv_turn").await.map_err(classify)?;
    Ok(connection)
}

/// Keeps what the last turn has done, or undoes it where it ended in the middle.
async fn renew(connection: &mut AsyncPgConnection) -> Result<(), DurableStoreError> {
    if is_at_rest(connection) {
        // Refused where the last statement has failed.
        let kept = connection.batch_execute("RELEASE SAVEPOINT kv_turn; SAVEPOINT kv_turn").await;
        if kept.is_ok() {
            return Ok(());
        }
    }
    let undone = connection.batch_execute("ROLLBACK TO SAVEPOINT kv_turn").await;
    undone.map_err(|error| is_over(&error.to_string()))?;
    // Diesel counts what is open. There is a transaction still, so that PostgreSQL only warns of
    // the beginning of one.
    *connection.transaction_state() = AnsiTransactionManager::default();
    connection.begin_test_transaction().await.map_err(classify)
}

/// Whether nothing is open but the test's transaction itself.
fn is_at_rest(connection: &mut AsyncPgConnection) -> bool {
    let depth =
        AnsiTransactionManager::transaction_manager_status_mut(connection).transaction_depth();
    depth.is_ok_and(|depth| depth.is_some_and(|depth| depth.get() == 1))
        && !AnsiTransactionManager::is_broken_transaction_manager(connection)
}

fn is_over(why: &str) -> DurableStoreError {
    DurableStoreError::Unavailable(format!("the transaction of the test is over: {why}").into())
}
