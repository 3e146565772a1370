//! A statement with its parameters, in the form that Diesel runs.

use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text};

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

/// A statement that answers rows of texts: ordinal, values, offset.
#[derive(Debug)]
pub(super) struct FetchStatement(pub(super) Statement);

/// What a [`FetchStatement`] answers.
pub(super) type FetchedRow = (i32, Vec<Option<String>>, Option<String>);

/// A statement that answers offsets.
#[derive(Debug)]
pub(super) struct OffsetStatement(pub(super) Statement);

/// What an [`OffsetStatement`] answers: queue, partition, position, nonce, epoch, layout.
pub(super) type OffsetRow = (String, i32, String, String, i64, i32);

macro_rules! query {
    ($statement:ident: $sql_type:ty) => {
        impl QueryFragment<Pg> for $statement {
            fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
                self.0.walk_ast(out)
            }
        }

        impl QueryId for $statement {
            type QueryId = ();
            const HAS_STATIC_QUERY_ID: bool = false;
        }

        impl Query for $statement {
            type SqlType = $sql_type;
        }
    };
}

query!(FetchStatement: (Integer, Array<Nullable<Text>>, Nullable<Text>));
query!(OffsetStatement: (Text, Integer, Text, Text, BigInt, Integer));
