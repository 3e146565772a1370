//! The durable side on a PostgreSQL server, by Diesel.

mod array;
mod refusal;
mod sql;
mod statement;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use diesel::ConnectionError;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::async_connection_wrapper::AsyncConnectionWrapper;
use diesel_async::pooled_connection::bb8::{Pool, PooledConnection};
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, PoolError, RecyclingMethod,
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use futures_util::FutureExt;

use self::array::ColumnArray;
use self::statement::{FetchStatement, FetchedRow, OffsetRow, OffsetStatement, Statement};
use super::{
    Batch, DurableStore, DurableStoreError, Fetched, Offset, OffsetMove, Operation, Refusal,
};
use crate::entry::EntryId;
use crate::failpoint;
use crate::key::{Partition, RowKey};
use crate::model::{FieldError, ModelDescriptor};
use crate::row::EncodedRow;
use crate::settings::Settings;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations");

/// Any number that all who migrate agree on.
const MIGRATION_LOCK: i64 = 0x6b76_5f6d_6967;

/// Tables and offsets on a PostgreSQL server.
pub(crate) struct PostgresDurableStore {
    pool: Pool<AsyncPgConnection>,
    last_failure: LastFailure,
    partitions: u16,
}

impl fmt::Debug for PostgresDurableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresDurableStore").finish_non_exhaustive()
    }
}

impl PostgresDurableStore {
    /// Connects once, which proves that the address and the password are right.
    pub(crate) async fn connect(settings: &Settings) -> Result<Self, DurableStoreError> {
        let store = Self::new(settings);
        // Not one of the pool's, which would only say that none came up in time.
        store.dedicated_connection().await?;
        Ok(store)
    }

    fn new(settings: &Settings) -> Self {
        // The text forms of values must not depend on how the server is set up.
        let session = format!(
            "SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET bytea_output = 'hex'; \
             SET extra_float_digits = 1; SET statement_timeout = {}",
            settings.postgres.statement_timeout.as_millis()
        );
        let mut config = ManagerConfig::default();
        config.recycling_method = RecyclingMethod::Fast;
        config.custom_setup = Box::new(move |url| {
            let session = session.clone();
            async move {
                let mut connection = AsyncPgConnection::establish(url).await?;
                let set_up = connection.batch_execute(&session).await;
                set_up.map_err(ConnectionError::CouldntSetupConfiguration)?;
                Ok(connection)
            }
            .boxed()
        });
        let url = settings.postgres.url.expose();
        let manager = AsyncDieselConnectionManager::new_with_config(url, config);
        let last_failure = LastFailure::default();
        let pool = Pool::builder()
            .max_size(settings.postgres.max_connections)
            .connection_timeout(settings.postgres.checkout_timeout)
            .error_sink(Box::new(last_failure.clone()))
            .build_unchecked(manager);
        Self { pool, last_failure, partitions: settings.partitions }
    }

    async fn dedicated_connection(&self) -> Result<AsyncPgConnection, DurableStoreError> {
        self.pool.dedicated_connection().await.map_err(pool_error)
    }

    pub(crate) async fn connection(
        &self,
    ) -> Result<PooledConnection<'_, AsyncPgConnection>, DurableStoreError> {
        let connection = self.pool.get().await.map_err(|error| match error {
            bb8::RunError::User(error) => pool_error(error),
            bb8::RunError::TimedOut => match self.last_failure.get() {
                Some(failure) => DurableStoreError::Unavailable(failure.into()),
                None => DurableStoreError::Timeout(
                    "all connections were in use for too long; `postgres.max_connections` is \
                     the bound"
                        .into(),
                ),
            },
        })?;
        self.last_failure.forget();
        Ok(connection)
    }

    /// Runs a statement on offsets, and answers them in the order of the partitions.
    async fn query_offsets(
        &self,
        sql: String,
        partitions: &[Partition],
    ) -> Result<Vec<Offset>, DurableStoreError> {
        let statement = Statement { sql, parameters: partition_columns(partitions) };
        let mut connection = self.connection().await?;
        let rows: Vec<OffsetRow> =
            OffsetStatement(statement).load(&mut connection).await.map_err(classify)?;
        let find = |&partition: &Partition| {
            let number = i32::from(partition.number);
            let row = rows.iter().find(|row| row.0 == partition.queue && row.1 == number);
            row.map_or(Ok(Offset::start(partition)), |row| self.offset(partition, row))
        };
        partitions.iter().map(find).collect()
    }

    fn offset(&self, partition: Partition, row: &OffsetRow) -> Result<Offset, DurableStoreError> {
        let (_, _, position, nonce, epoch, layout) = row;
        if *layout != i32::from(self.partitions) {
            return Err(DurableStoreError::Configuration(
                format!(
                    "queue `{}` was written with {layout} partitions, but the settings say {}; \
                     set `partitions` to {layout}",
                    partition.queue, self.partitions
                )
                .into(),
            ));
        }
        let malformed =
            || DurableStoreError::Configuration("`kv_offsets` was changed by hand".into());
        Ok(Offset {
            partition,
            position: position.parse().map_err(|_| malformed())?,
            nonce: nonce.clone(),
            epoch: *epoch,
        })
    }
}

/// Queues and partition numbers as the first two parameters.
fn partition_columns(partitions: &[Partition]) -> Vec<ColumnArray> {
    let queues = partitions.iter().map(|partition| partition.queue);
    let numbers = partitions.iter().map(|partition| partition.number.to_string());
    vec![ColumnArray::of_texts(queues), ColumnArray::of_texts(numbers)]
}

fn move_statement(moves: &[OffsetMove]) -> Statement {
    let partitions: Vec<Partition> = moves.iter().map(|step| step.to.partition).collect();
    let mut parameters = partition_columns(&partitions);
    let mut add = |text: fn(&OffsetMove) -> String| {
        parameters.push(ColumnArray::of_texts(moves.iter().map(text)));
    };
    add(|step| step.to.epoch.to_string());
    add(|step| step.from.to_string());
    add(|step| step.to.position.to_string());
    add(|step| step.to.nonce.clone());
    Statement { sql: sql::move_offsets(), parameters }
}

/// Turns rows into columns: an array for each of the model's columns at these positions.
fn columns_of<'a, R>(
    model: &'static ModelDescriptor,
    positions: impl Iterator<Item = usize>,
    rows: impl Iterator<Item = R>,
) -> Result<Vec<ColumnArray>, DurableStoreError>
where
    R: Iterator<Item = Option<&'a str>>,
{
    let columns: Vec<_> = positions.map(|position| &model.columns[position]).collect();
    let mut arrays: Vec<ColumnArray> =
        columns.iter().map(|column| ColumnArray::new(column.ty)).collect();
    for row in rows {
        for ((array, value), column) in arrays.iter_mut().zip(row).zip(&columns) {
            array.push(value).map_err(|source| {
                DurableStoreError::Content(Box::new(FieldError { field: column.field, source }))
            })?;
        }
    }
    Ok(arrays)
}

/// The statement of an operation.
fn statement_of(
    model: &'static ModelDescriptor,
    operation: &Operation,
) -> Result<Statement, DurableStoreError> {
    let all = 0..model.columns.len();
    let id = model.id.iter().copied();
    let rows = operation.rows().iter().map(EncodedRow::iter);
    let (sql, parameters) = match operation {
        Operation::Insert(_) => (sql::insert(model), columns_of(model, all, rows)?),
        Operation::Upsert(_) => (sql::upsert(model), columns_of(model, all, rows)?),
        Operation::Patch { columns, .. } => {
            let positions = id.chain(columns.iter().copied());
            (sql::patch(model, columns), columns_of(model, positions, rows)?)
        }
        Operation::Delete(_) => (sql::delete(model), columns_of(model, id, rows)?),
    };
    Ok(Statement { sql, parameters })
}

/// Runs a batch's statements in a transaction that is open.
async fn run_batch(
    connection: &mut AsyncPgConnection,
    batch: &Batch,
) -> Result<(), DurableStoreError> {
    failpoint::reach("after_begin");
    let moved = move_statement(&batch.moves).execute(connection).await.map_err(classify)?;
    if moved != batch.moves.len() {
        return Err(DurableStoreError::OffsetMoved);
    }
    failpoint::reach("after_move_offsets");
    for step in &batch.statements {
        let statement = statement_of(step.model, &step.operation)?;
        let changed = statement.execute(connection).await.map_err(classify)?;
        // An insert fails by itself, and a delete of no row has nothing left to do.
        if matches!(step.operation, Operation::Patch { .. })
            && changed < step.operation.rows().len()
        {
            return Err(DurableStoreError::Content(
                format!("table `{}`: there is no row with the id of a patch", step.model.table)
                    .into(),
            ));
        }
        failpoint::reach("after_statement");
    }
    failpoint::reach("before_commit");
    Ok(())
}

#[async_trait]
impl DurableStore for PostgresDurableStore {
    async fn take_over(&self, partitions: &[Partition]) -> Result<Vec<Offset>, DurableStoreError> {
        let mut parameters = partition_columns(partitions);
        let layout = self.partitions.to_string();
        parameters.push(ColumnArray::of_texts(partitions.iter().map(|_| layout.as_str())));
        let create = Statement { sql: sql::create_offsets(), parameters };
        {
            let mut connection = self.connection().await?;
            create.execute(&mut connection).await.map_err(classify)?;
        }
        self.query_offsets(sql::take_over(), partitions).await
    }

    async fn offsets(&self, partitions: &[Partition]) -> Result<Vec<Offset>, DurableStoreError> {
        self.query_offsets(sql::offsets(), partitions).await
    }

    async fn apply(&self, batch: &Batch) -> Result<(), DurableStoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction(async |connection| {
            run_batch(connection, batch).await.map_err(Rollback::Store)
        });
        transaction.await.map_err(|rollback| match rollback {
            Rollback::Store(error) => error,
            Rollback::Diesel(error) => classify(error),
        })
    }

    async fn fetch(
        &self,
        model: &'static ModelDescriptor,
        keys: &[RowKey],
    ) -> Result<Vec<Option<Fetched>>, DurableStoreError> {
        let ids = keys.iter().map(|key| key.id_values.iter());
        let mut parameters = columns_of(model, model.id.iter().copied(), ids)?;
        parameters
            .extend(partition_columns(&keys.iter().map(RowKey::partition).collect::<Vec<_>>()));
        let statement = FetchStatement(Statement { sql: sql::fetch(model), parameters });
        let mut connection = self.connection().await?;
        let rows: Vec<FetchedRow> = statement.load(&mut connection).await.map_err(classify)?;
        let mut fetched: Vec<Option<Fetched>> = vec![None; keys.len()];
        for (ordinal, values, offset) in rows {
            let offset = offset.and_then(|text| text.parse().ok()).unwrap_or(EntryId::ZERO);
            let row = values.iter().map(Option::as_deref).collect();
            let place = usize::try_from(ordinal - 1).ok().and_then(|at| fetched.get_mut(at));
            if let Some(place) = place {
                *place = Some(Fetched { row, offset });
            }
        }
        Ok(fetched)
    }

    async fn fetch_all(
        &self,
        model: &'static ModelDescriptor,
    ) -> Result<Vec<EncodedRow>, DurableStoreError> {
        let statement = Statement { sql: sql::fetch_all(model), parameters: Vec::new() };
        let mut connection = self.connection().await?;
        let rows: Vec<FetchedRow> =
            FetchStatement(statement).load(&mut connection).await.map_err(classify)?;
        let rows = rows.iter().map(|(_, values, _)| values.iter().map(Option::as_deref).collect());
        Ok(rows.collect())
    }

    async fn refusal(
        &self,
        partition: Partition,
        entry: EntryId,
    ) -> Result<Option<Refusal>, DurableStoreError> {
        let mut connection = self.connection().await?;
        refusal::find(&mut connection, partition, entry).await.map_err(classify)
    }

    async fn migrate(&self) -> Result<(), DurableStoreError> {
        // A connection of its own, because the harness wants to own one.
        let mut connection = self.dedicated_connection().await?;
        // Two processes that start together must not both create the tables.
        let lock = format!("SELECT pg_advisory_lock({MIGRATION_LOCK})");
        connection.batch_execute(&lock).await.map_err(classify)?;
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
}

/// Why a transaction is rolled back; Diesel wants to put its own errors in.
enum Rollback {
    Store(DurableStoreError),
    Diesel(DieselError),
}

impl From<DieselError> for Rollback {
    fn from(error: DieselError) -> Self {
        Self::Diesel(error)
    }
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

impl bb8::ErrorSink<PoolError> for LastFailure {
    fn sink(&self, error: PoolError) {
        *self.lock() = Some(error.to_string());
    }

    fn boxed_clone(&self) -> Box<dyn bb8::ErrorSink<PoolError>> {
        Box::new(self.clone())
    }
}

fn pool_error(error: PoolError) -> DurableStoreError {
    match error {
        PoolError::ConnectionError(error) => DurableStoreError::Unavailable(Box::new(error)),
        PoolError::QueryError(error) => classify(error),
    }
}

/// Whether the rows are to blame, the schema, or the server and the way to it.
fn classify(error: DieselError) -> DurableStoreError {
    use DatabaseErrorKind as Kind;
    let DieselError::DatabaseError(kind, details) = &error else {
        return DurableStoreError::Unavailable(Box::new(error));
    };
    match kind {
        Kind::UniqueViolation
        | Kind::ForeignKeyViolation
        | Kind::NotNullViolation
        | Kind::CheckViolation
        | Kind::ExclusionViolation
        | Kind::RestrictViolation => DurableStoreError::Content(Box::new(error)),
        // Only what PostgreSQL does not understand has a position in the statement: a table, a
        // column or a type that is not there. Diesel hides the code that would say so.
        Kind::Unknown if details.statement_position().is_some() => {
            DurableStoreError::Configuration(Box::new(error))
        }
        _ => DurableStoreError::Unavailable(Box::new(error)),
    }
}
