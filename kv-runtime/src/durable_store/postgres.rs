//! The durable side on a PostgreSQL server, by Diesel.

pub(crate) mod array;
mod attempt;
mod letters;
mod offsets;
mod pool;
mod replicas;
mod schema;
mod select;
mod serials;
mod server;
mod session;
mod sql;
mod statement;
mod tables;
mod tenants;
#[cfg(feature = "testing")]
mod test_transaction;
#[cfg(feature = "postgres-tls")]
mod tls;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection,
    TransactionManager,
};

use self::array::ColumnArray;
use self::attempt::PostgresTransaction;
use self::offsets::{Access, partition_columns};
use self::pool::Pool;
pub(crate) use self::pool::PooledConnection;
use self::replicas::Replicas;
use self::session::Schema;
use self::sql::Source;
use self::statement::{Query, Statement};
use super::{
    Batch, DurableStore, DurableStoreError, Fetched, HeldRow, Offset, Operation, StoredRows,
    Transaction,
};
use crate::dead_letters::{DeadLetter, DeadLetterFilter};
use crate::entry::EntryId;
use crate::failpoint;
use crate::key::{Layout, Partition, RowKey};
use crate::model::{FieldError, ModelDescriptor};
use crate::query::select::Select;
use crate::row::EncodedRow;
use crate::schema::ddl::literal;
use crate::schema::step::Step;
use crate::settings::{Settings, SettingsError};

/// Else a statement is planned for ten rows, in a table that has as many as when it was prepared: an
/// empty one is scanned, and so it is when it has millions, until PostgreSQL analyses it.
///
/// What has no index is scanned all the same, but taken to cost so much that it would be compiled
/// first, which takes longer than the scan: a foreign key's look for children, for example.
const BY_INDEX: &str = "SET LOCAL enable_seqscan = off; SET LOCAL jit = off";

/// Any number that all who switch a queue agree on.
const SWITCH_LOCK: i32 = 0x6b76_7377;

/// Tables and offsets on a PostgreSQL server.
pub(crate) struct PostgresDurableStore {
    pool: Arc<Pool>,
    replicas: Arc<Replicas>,
    /// That of the tenant whose tables these are.
    schema: Schema,
    partitions: u16,
    statement_timeout: Duration,
}

impl fmt::Debug for PostgresDurableStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresDurableStore").finish_non_exhaustive()
    }
}

impl PostgresDurableStore {
    /// Connects in the background at most.
    pub(crate) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        Self::over(Pool::of_primary(settings)?, settings)
    }

    /// All over one connection, in a transaction that is never committed.
    #[cfg(feature = "testing")]
    pub(crate) fn for_test(settings: &Settings) -> Result<Self, SettingsError> {
        Self::over(Pool::of_test(settings)?, settings)
    }

    fn over(pool: Pool, settings: &Settings) -> Result<Self, SettingsError> {
        let statement_timeout = settings.postgres.statement_timeout;
        Ok(Self {
            pool: Arc::new(pool),
            replicas: Arc::new(Replicas::new(settings)?),
            schema: None,
            partitions: settings.partitions,
            statement_timeout,
        })
    }

    /// The same, where names are found in a schema alone; `None` is where they are found now.
    pub(crate) fn in_schema(self, schema: Option<&str>) -> Self {
        let schema = schema.map(Into::into).or_else(|| self.schema.clone());
        Self { schema, ..self }
    }

    /// Connects once, which proves that the address and the password are right.
    pub(crate) async fn try_out(&self) -> Result<(), DurableStoreError> {
        self.pool.try_out().await
    }

    /// The steps from the tables to some models among others.
    pub(crate) async fn difference(
        &self,
        models: &[&'static ModelDescriptor],
        all: &[&'static ModelDescriptor],
    ) -> Result<Vec<Step>, DurableStoreError> {
        schema::difference(&mut *self.connection().await?, models, all).await
    }

    pub(crate) async fn connection(&self) -> Result<PooledConnection<'_>, DurableStoreError> {
        self.pool.get(&self.schema).await
    }

    /// A connection for a user, who may do anything with it.
    pub(crate) async fn lend(&self) -> Result<PooledConnection<'_>, DurableStoreError> {
        self.pool.lend(&self.schema).await
    }

    async fn load_offsets(
        &self,
        partitions: &[Partition],
        access: Access,
    ) -> Result<Vec<Offset>, DurableStoreError> {
        let mut connection = self.connection().await?;
        offsets::load(&mut connection, partitions, self.partitions, access).await
    }
}

fn malformed(table: &str) -> DurableStoreError {
    DurableStoreError::Configuration(format!("`{table}` was changed by hand").into())
}

fn wrong_length(model: &ModelDescriptor, values: usize, columns: usize) -> DurableStoreError {
    let table = model.table;
    let message = format!("table `{table}`: {values} values are there for {columns} columns");
    DurableStoreError::Refused(message.into())
}

/// Turns rows into columns: an array for each of the model's columns at these positions.
fn columns_of<'a, R>(
    model: &'static ModelDescriptor,
    positions: impl Iterator<Item = usize>,
    rows: impl Iterator<Item = R>,
) -> Result<Vec<ColumnArray>, DurableStoreError>
where
    R: ExactSizeIterator<Item = Option<&'a str>>,
{
    let columns: Vec<_> = positions.map(|position| &model.columns[position]).collect();
    let mut arrays: Vec<ColumnArray> =
        columns.iter().map(|column| ColumnArray::new(column.ty)).collect();
    for row in rows {
        // Arrays of unequal lengths would make rows of parts of others.
        if row.len() != columns.len() {
            return Err(wrong_length(model, row.len(), columns.len()));
        }
        for ((array, value), column) in arrays.iter_mut().zip(row).zip(&columns) {
            array.push(value).map_err(|source| {
                DurableStoreError::Refused(Box::new(FieldError { field: column.field, source }))
            })?;
        }
    }
    Ok(arrays)
}

/// Rows by id, each with the offset of its partition.
async fn fetch(
    connection: &mut AsyncPgConnection,
    model: &'static ModelDescriptor,
    keys: &[RowKey],
) -> Result<Vec<Option<Fetched>>, DurableStoreError> {
    let ids = keys.iter().map(|key| key.id_values.iter());
    let mut parameters = columns_of(model, model.id.iter().copied(), ids)?;
    parameters.extend(partition_columns(&keys.iter().map(RowKey::partition).collect::<Vec<_>>()));
    let statement = Query::of_texts(Statement { sql: sql::fetch(model), parameters });
    let columns = model.columns.len();
    let mut fetched: Vec<Option<Fetched>> = vec![None; keys.len()];
    for mut row in statement.load_texts(connection).await.map_err(classify)? {
        let place = row.get(columns).and_then(|ordinal| ordinal.parse::<usize>().ok());
        let offset = row.get(columns + 1).and_then(|offset| offset.parse().ok());
        row.truncate(columns);
        if let Some(place) = place.and_then(|ordinal| fetched.get_mut(ordinal.checked_sub(1)?)) {
            *place = Some(Fetched { row, offset: offset.unwrap_or(EntryId::ZERO) });
        }
    }
    Ok(fetched)
}

/// The statement of an operation.
fn statement_of(
    model: &'static ModelDescriptor,
    operation: &Operation,
) -> Result<Statement, DurableStoreError> {
    let source = Source::Arrays;
    let all = 0..model.columns.len();
    let id = model.id.iter().copied();
    let rows = operation.rows().iter().map(EncodedRow::iter);
    let (sql, parameters) = match operation {
        Operation::Insert(_) => (sql::insert(model, source), columns_of(model, all, rows)?),
        Operation::Upsert(_) => (sql::upsert(model, source), columns_of(model, all, rows)?),
        Operation::Patch { columns, .. } => {
            let positions = id.chain(columns.iter().copied());
            (sql::patch(model, columns, source), columns_of(model, positions, rows)?)
        }
        Operation::Delete(_) => (sql::delete(model, source), columns_of(model, id, rows)?),
    };
    Ok(Statement { sql, parameters })
}

/// Runs a batch's statements in a transaction that is open.
async fn run_batch(
    connection: &mut AsyncPgConnection,
    batch: &Batch,
) -> Result<(), DurableStoreError> {
    failpoint::reach("after_begin");
    offsets::move_all(connection, &batch.moves).await?;
    failpoint::reach("after_move_offsets");
    let finds_rows = |step: &super::Statement| {
        matches!(step.operation, Operation::Patch { .. } | Operation::Delete(_))
    };
    if batch.statements.iter().any(finds_rows) {
        connection.batch_execute(BY_INDEX).await.map_err(classify)?;
    }
    for step in &batch.statements {
        let statement = statement_of(step.model, &step.operation)?;
        let changed = statement.execute(connection).await.map_err(classify)?;
        // An insert fails by itself, and a delete of no row has nothing left to do.
        if matches!(step.operation, Operation::Patch { .. })
            && changed < step.operation.rows().len()
        {
            return Err(DurableStoreError::Refused(
                format!("table `{}`: there is no row with the id of a patch", step.model.table)
                    .into(),
            ));
        }
        failpoint::reach("after_statement");
    }
    letters::insert(connection, &batch.letters).await?;
    failpoint::reach("before_commit");
    Ok(())
}

#[async_trait]
impl DurableStore for PostgresDurableStore {
    async fn take_over(&self, partitions: &[Partition]) -> Result<Vec<Offset>, DurableStoreError> {
        let mut connection = self.connection().await?;
        offsets::create(&mut connection, partitions, self.partitions).await?;
        offsets::load(&mut connection, partitions, self.partitions, Access::TakeOver).await
    }

    async fn offsets(&self, partitions: &[Partition]) -> Result<Vec<Offset>, DurableStoreError> {
        self.load_offsets(partitions, Access::Read).await
    }

    async fn begin<'a>(
        &'a self,
        partitions: &[Partition],
    ) -> Result<Box<dyn Transaction + 'a>, DurableStoreError> {
        let mut connection = self.connection().await?;
        AnsiTransactionManager::begin_transaction(&mut *connection).await.map_err(classify)?;
        let offsets =
            offsets::load(&mut connection, partitions, self.partitions, Access::Lock).await?;
        Ok(Box::new(PostgresTransaction { connection, offsets }))
    }

    async fn held(&self, rows: &[HeldRow]) -> Result<Vec<Option<EntryId>>, DurableStoreError> {
        letters::held(&mut *self.connection().await?, rows).await
    }

    async fn letters(
        &self,
        filter: &DeadLetterFilter,
    ) -> Result<Vec<DeadLetter>, DurableStoreError> {
        letters::load(&mut *self.connection().await?, filter).await
    }

    async fn forget_letters(&self, ids: &[i64]) -> Result<(), DurableStoreError> {
        letters::forget(&mut *self.connection().await?, ids).await
    }

    async fn layouts(&self, queue: &'static str) -> Result<Vec<Layout>, DurableStoreError> {
        offsets::layouts(&mut *self.connection().await?, queue).await
    }

    async fn create_offsets(&self, partitions: &[Partition]) -> Result<(), DurableStoreError> {
        offsets::create(&mut *self.connection().await?, partitions, self.partitions).await
    }

    async fn exclude(
        &self,
        queue: &'static str,
    ) -> Result<Box<dyn Send + Sync>, DurableStoreError> {
        #[cfg(feature = "testing")]
        if let Some(test) = self.pool.test() {
            return Ok(Box::new(test.exclude().await));
        }
        // Whose end ends the lock.
        let mut connection = self.pool.dedicated().await?;
        // Locks are the database's, and tenants are others.
        let schema = self.schema.as_deref().map(|schema| format!(" in {schema}"));
        let name = literal(&format!("switch of {queue}{}", schema.unwrap_or_default()));
        let lock = format!(
            "SET lock_timeout = 0; SELECT pg_advisory_lock({SWITCH_LOCK}, hashtext({name}))"
        );
        connection.batch_execute(&lock).await.map_err(classify)?;
        Ok(Box::new(std::sync::Mutex::new(connection)))
    }

    async fn apply(&self, batch: &Batch) -> Result<(), DurableStoreError> {
        let mut connection = self.connection().await?;
        let transaction = connection.transaction(async |connection| {
            run_batch(connection, batch).await.map_err(Rollback::Store)
        });
        transaction.await.map_err(Rollback::into_error)
    }

    async fn fetch(
        &self,
        model: &'static ModelDescriptor,
        keys: &[RowKey],
    ) -> Result<Vec<Option<Fetched>>, DurableStoreError> {
        fetch(&mut *self.connection().await?, model, keys).await
    }

    async fn find_by(
        &self,
        model: &'static ModelDescriptor,
        index: usize,
        values: &EncodedRow,
    ) -> Result<Option<EncodedRow>, DurableStoreError> {
        let columns = model.unique[index].columns;
        let parameters = columns_of(model, columns.iter().copied(), [values.iter()].into_iter())?;
        let statement = Statement { sql: sql::find_by(model, columns), parameters };
        let mut connection = self.connection().await?;
        let rows = Query::of_texts(statement).load_texts(&mut connection).await;
        Ok(rows.map_err(classify)?.into_iter().next())
    }

    async fn fetch_all(
        &self,
        model: &'static ModelDescriptor,
    ) -> Result<Vec<EncodedRow>, DurableStoreError> {
        let statement = Statement { sql: sql::fetch_all(model), parameters: Vec::new() };
        let mut connection = self.connection().await?;
        Query::of_texts(statement).load_texts(&mut connection).await.map_err(classify)
    }

    async fn select(&self, select: &Select) -> Result<Vec<EncodedRow>, DurableStoreError> {
        select::load(&mut *self.connection().await?, select, self.statement_timeout).await
    }

    async fn select_stored(&self, select: &Select) -> Result<StoredRows, DurableStoreError> {
        match self.replicas.select(&self.pool, &self.schema, select).await? {
            Some(rows) => Ok(rows),
            None => Ok(StoredRows::of_primary(self.select(select).await?)),
        }
    }

    async fn held_rows_of(
        &self,
        model: &'static ModelDescriptor,
    ) -> Result<Vec<String>, DurableStoreError> {
        letters::held_rows_of(&mut *self.connection().await?, model).await
    }

    async fn serials(
        &self,
        model: &'static ModelDescriptor,
        count: u32,
    ) -> Result<Vec<i64>, DurableStoreError> {
        serials::take(&mut *self.connection().await?, model, count).await
    }

    fn as_postgres(&self) -> Option<&PostgresDurableStore> {
        Some(self)
    }

    fn of_tenant(&self, _name: &str, schema: &str) -> Option<Arc<dyn DurableStore>> {
        #[cfg(feature = "testing")]
        if self.pool.test().is_some() {
            return None;
        }
        self.pool.share();
        Some(Arc::new(Self {
            pool: Arc::clone(&self.pool),
            replicas: Arc::clone(&self.replicas),
            schema: Some(schema.into()),
            ..*self
        }))
    }

    async fn tenants(&self) -> Result<Vec<String>, DurableStoreError> {
        tenants::names(&mut *self.connection().await?).await
    }

    async fn add_tenant(&self, name: &str) -> Result<(), DurableStoreError> {
        tenants::add(&mut *self.connection().await?, name).await
    }

    async fn remove_tenant(&self, name: &str) -> Result<(), DurableStoreError> {
        tenants::remove(&mut *self.connection().await?, name).await
    }

    async fn migrate(&self) -> Result<(), DurableStoreError> {
        tables::migrate(self).await
    }

    async fn create_tables(
        &self,
        models: &[&'static ModelDescriptor],
    ) -> Result<(), DurableStoreError> {
        tables::create(self, models).await
    }
}

/// Why a transaction is rolled back; Diesel wants to put its own errors in.
enum Rollback {
    Store(DurableStoreError),
    Diesel(DieselError),
}

impl Rollback {
    fn into_error(self) -> DurableStoreError {
        match self {
            Self::Store(error) => error,
            Self::Diesel(error) => classify(error),
        }
    }
}

impl From<DieselError> for Rollback {
    fn from(error: DieselError) -> Self {
        Self::Diesel(error)
    }
}

/// Whether the statement was refused, the schema does not fit, or it is the server and the way to it.
///
/// Diesel hides the SQLSTATE, so a refusal can have reasons that are not the rows': attempts, which
/// answer it, tell.
fn classify(error: DieselError) -> DurableStoreError {
    use DatabaseErrorKind as Kind;
    let DieselError::DatabaseError(kind, details) = &error else {
        return DurableStoreError::Unavailable(Box::new(error));
    };
    match kind {
        Kind::UnableToSendCommand
        | Kind::SerializationFailure
        | Kind::ReadOnlyTransaction
        | Kind::ClosedConnection => DurableStoreError::Unavailable(Box::new(error)),
        // Only what PostgreSQL does not understand has a position in the statement: a table, a
        // column or a type that is not there.
        Kind::Unknown if details.statement_position().is_some() => {
            DurableStoreError::Configuration(Box::new(error))
        }
        _ => DurableStoreError::Refused(Box::new(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::select::tests::MODEL;

    #[test]
    fn rows_of_another_length_are_refused() {
        let columns_of = |row: &EncodedRow| columns_of(&MODEL, 0..2, [row.iter()].into_iter());
        let row = |values: &[&str]| values.iter().copied().map(Some).collect::<EncodedRow>();
        assert_eq!(columns_of(&row(&["1", "2"])).expect("two columns").len(), 2);
        for values in [&["1"][..], &["1", "2", "3"]] {
            let refused = columns_of(&row(values)).expect_err("another length");
            assert!(matches!(refused, DurableStoreError::Refused(_)), "{refused:?}");
        }
    }
}
