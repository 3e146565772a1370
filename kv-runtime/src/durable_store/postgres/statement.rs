//! A statement with its parameters, in the form that Diesel runs.

use std::marker::PhantomData;

use diesel::pg::Pg;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::QueryResult;

use super::array::ColumnArray;
use super::sql::PARAMETER;

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
