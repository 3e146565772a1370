//! A transaction in which statements are attempted, each attempt whole or without effect.

use async_trait::async_trait;
use diesel::sql_types::{Nullable, Text};
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, RunQueryDsl, TransactionManager};

use super::array::ColumnArray;
use super::sql::{self, PARAMETER, Source};
use super::statement::{Query, Statement as SqlStatement};
use super::{PooledConnection, classify, letters, offsets};
use crate::dead_letters::{DeadLetter, DeadLetterFilter};
use crate::durable_store::{
    DurableStoreError, Offset, Operation, Outcome, Refusal, Statement, Transaction,
};
use crate::key::{Layout, Partition, RowKey};
use crate::model::{ColumnType, ModelDescriptor};
use crate::row::EncodedRow;
use crate::scheme::StorageScheme;

type RefusalSql = (Nullable<Text>, Nullable<Text>, Nullable<Text>, Nullable<Text>);
type RefusalRow = (Option<String>, Option<String>, Option<String>, Option<String>);

/// A pooled connection with a transaction that is open. A connection that comes back to the pool
/// with one is closed, which rolls it back.
pub(super) struct PostgresTransaction<'a> {
    pub(super) connection: PooledConnection<'a>,
    pub(super) offsets: Vec<Offset>,
}

#[async_trait]
impl Transaction for PostgresTransaction<'_> {
    fn offsets(&self) -> &[Offset] {
        &self.offsets
    }

    async fn attempt(
        &mut self,
        statements: &[Statement],
    ) -> Result<Option<Refusal>, DurableStoreError> {
        let texts = statements.iter().map(sql_of);
        let rows = statements.iter().map(|step| rows_as_json(step.operation.rows()));
        let mut expected = ColumnArray::new(ColumnType::BigInt);
        for step in statements {
            // A number's text is a number.
            let _ = expected.push(Some(&expected_rows(&step.operation).to_string()));
        }
        let statement = SqlStatement {
            sql: format!(
                "SELECT state, reason, detail, violated \
                 FROM kv_attempt({PARAMETER}, {PARAMETER}, {PARAMETER})"
            ),
            parameters: vec![ColumnArray::of_texts(texts), ColumnArray::of_texts(rows), expected],
        };
        let query = Query::<RefusalSql>::new(statement);
        let answer = query.get_result(&mut *self.connection).await.map_err(classify)?;
        Ok(refusal(answer))
    }

    async fn fetch(
        &mut self,
        model: &'static ModelDescriptor,
        keys: &[RowKey],
    ) -> Result<Vec<Option<EncodedRow>>, DurableStoreError> {
        let fetched = super::fetch(&mut self.connection, model, keys).await?;
        Ok(fetched.into_iter().map(|fetched| fetched.map(|fetched| fetched.row)).collect())
    }

    async fn letters(
        &mut self,
        filter: &DeadLetterFilter,
    ) -> Result<Vec<DeadLetter>, DurableStoreError> {
        letters::load(&mut self.connection, filter).await
    }

    async fn set_scheme(
        &mut self,
        from: StorageScheme,
        to: StorageScheme,
    ) -> Result<(), DurableStoreError> {
        let partitions: Vec<Partition> = self.offsets.iter().map(|it| it.partition).collect();
        let changed = offsets::set_scheme(&mut self.connection, &partitions, from, to).await?;
        if changed == partitions.len() { Ok(()) } else { Err(DurableStoreError::OffsetMoved) }
    }

    async fn change_layout(&mut self, to: Layout) -> Result<(), DurableStoreError> {
        offsets::change_layout(&mut self.connection, &self.offsets, to).await
    }

    async fn commit(mut self: Box<Self>, outcome: Outcome) -> Result<(), DurableStoreError> {
        let connection = &mut *self.connection;
        letters::insert(connection, &outcome.letters).await?;
        letters::release(connection, &outcome.released).await?;
        if let Some((id, refusal)) = &outcome.refused_again {
            letters::refuse_again(connection, *id, refusal).await?;
        }
        offsets::move_all(connection, &outcome.moves).await?;
        AnsiTransactionManager::commit_transaction(connection).await.map_err(classify)
    }
}

fn refusal((sqlstate, message, detail, constraint): RefusalRow) -> Option<Refusal> {
    let empty_as_none = |text: Option<String>| text.filter(|text| !text.is_empty());
    sqlstate.map(|sqlstate| Refusal {
        sqlstate: Some(sqlstate),
        message: message.unwrap_or_default(),
        detail: empty_as_none(detail),
        constraint: empty_as_none(constraint),
    })
}

/// Why a statement is refused, if it is so again.
pub(super) async fn refusal_of(
    connection: &mut AsyncPgConnection,
    statement: SqlStatement,
) -> Result<Option<Refusal>, DurableStoreError> {
    let query = Query::<RefusalSql>::new(attempt_of(statement)).uncached();
    Ok(refusal(query.get_result(connection).await.map_err(classify)?))
}

/// A statement that attempts another one, whose parameters it hands on as one JSON text.
fn attempt_of(statement: SqlStatement) -> SqlStatement {
    let mut parts = statement.sql.split(PARAMETER);
    let mut sql = parts.next().unwrap_or_default().to_owned();
    for (at, (parameter, part)) in statement.parameters.iter().zip(parts).enumerate() {
        let ty = parameter.element_type();
        sql.push_str(&format!("ARRAY(SELECT jsonb_array_elements_text($1::jsonb->{at}))::{ty}[]"));
        sql.push_str(part);
    }
    let values = vec![format!("to_jsonb({PARAMETER})"); statement.parameters.len()].join(", ");
    let attempt = format!(
        "SELECT state, reason, detail, violated FROM kv_attempt({PARAMETER}, \
         ARRAY[to_jsonb(ARRAY[{values}]::jsonb[])::text], ARRAY[0]::bigint[])"
    );
    let parameters = [ColumnArray::of_texts([sql])].into_iter().chain(statement.parameters);
    SqlStatement { sql: attempt, parameters: parameters.collect() }
}

fn sql_of(step: &Statement) -> String {
    let (model, source) = (step.model, Source::Json);
    match &step.operation {
        Operation::Insert(_) => sql::insert(model, source),
        Operation::Upsert(_) => sql::upsert(model, source),
        Operation::Patch { columns, .. } => sql::patch(model, columns, source),
        Operation::Delete(_) => sql::delete(model, source),
    }
}

/// An insert fails by itself, and a delete of no row has nothing left to do.
fn expected_rows(operation: &Operation) -> usize {
    match operation {
        Operation::Patch { rows, .. } => rows.len(),
        _ => 0,
    }
}

fn rows_as_json(rows: &[EncodedRow]) -> String {
    let rows: Vec<Vec<Option<&str>>> = rows.iter().map(|row| row.iter().collect()).collect();
    // Texts and nulls always make JSON.
    serde_json::to_string(&rows).unwrap_or_default()
}
