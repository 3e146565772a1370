//! A statement with its parameters, in the form that Diesel runs.

use std::marker::PhantomData;

use diesel::deserialize::{self, QueryableByName};
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::row::{Field, NamedRow, Row};
use diesel::sql_types::Untyped;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::array::ColumnArray;
use super::sql::PARAMETER;
use crate::row::EncodedRow;

/// SQL with arrays in place of its [`PARAMETER`]s.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) parameters: Vec<ColumnArray>,
}

impl QueryFragment<Pg> for Statement {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let mut parameters = self.parameters.iter();
        for (index, part) in self.sql.split(PARAMETER).enumerate() {
            if index > 0
                && let Some(parameter) = parameters.next()
            {
                parameter.bind(&mut out)?;
            }
            out.push_sql(part);
        }
        Ok(())
    }
}

impl QueryId for Statement {
    type QueryId = ();
    // The text tells statements apart, and the cache of prepared ones goes by it.
    const HAS_STATIC_QUERY_ID: bool = false;
}

/// A statement that answers rows of an SQL type.
#[derive(Debug)]
pub(super) struct Query<T> {
    statement: Statement,
    is_cached: bool,
    answers: PhantomData<fn() -> T>,
}

impl<T> Query<T> {
    pub(super) fn new(statement: Statement) -> Self {
        Self { statement, is_cached: true, answers: PhantomData }
    }

    /// For a statement of which there can be any number: each would stay prepared as long as its
    /// connection lives.
    pub(super) fn uncached(self) -> Self {
        Self { is_cached: false, ..self }
    }
}

impl<T> QueryFragment<Pg> for Query<T> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        if !self.is_cached {
            out.unsafe_to_cache_prepared();
        }
        self.statement.walk_ast(out)
    }
}

impl<T> QueryId for Query<T> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<T> diesel::query_builder::Query for Query<T> {
    type SqlType = T;
}

impl Query<Untyped> {
    /// For a statement whose columns all are texts, however many there are.
    pub(super) fn of_texts(statement: Statement) -> Self {
        Self::new(statement)
    }

    /// Its rows.
    pub(super) async fn load_texts(
        self,
        connection: &mut AsyncPgConnection,
    ) -> QueryResult<Vec<EncodedRow>> {
        let rows: Vec<Texts> = self.load(connection).await?;
        Ok(rows.into_iter().map(|Texts(row)| row).collect())
    }
}

/// What a row of such a statement is, by the places of its columns.
struct Texts(EncodedRow);

impl QueryableByName<Pg> for Texts {
    fn build<'a>(row: &impl NamedRow<'a, Pg>) -> deserialize::Result<Self> {
        let mut texts = EncodedRow::with_capacity(row.field_count(), 0);
        for place in 0..row.field_count() {
            let field = Row::get(row, place).ok_or("a column is missing")?;
            match field.value() {
                Some(value) => texts.push(Some(std::str::from_utf8(value.as_bytes())?)),
                None => texts.push(None),
            }
        }
        Ok(Self(texts))
    }
}
