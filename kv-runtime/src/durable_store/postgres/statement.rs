//! A statement with its parameters, in the form that Diesel runs.

use std::io::Write;

use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::serialize::{IsNull, Output, ToSql};
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text};

use super::sql::PARAMETER;

/// The OID of `text`, which PostgreSQL fixes.
const TEXT_OID: i32 = 25;

/// A `text[]` in PostgreSQL's binary form, written once, straight from the rows.
#[derive(Debug, Default)]
pub(super) struct TextArray {
    length: i32,
    has_null: bool,
    elements: Vec<u8>,
}

impl TextArray {
    fn push(&mut self, value: Option<&str>) {
        self.length += 1;
        match value {
            Some(text) => {
                // A value beyond 2 GiB is refused by PostgreSQL; Redis takes 512 MB.
                let length = i32::try_from(text.len()).unwrap_or(i32::MAX);
                self.elements.extend_from_slice(&length.to_be_bytes());
                self.elements.extend_from_slice(text.as_bytes());
            }
            None => {
                self.has_null = true;
                self.elements.extend_from_slice(&(-1_i32).to_be_bytes());
            }
        }
    }
}

impl<S: AsRef<str>> FromIterator<S> for TextArray {
    fn from_iter<I: IntoIterator<Item = S>>(texts: I) -> Self {
        let mut array = Self::default();
        for text in texts {
            array.push(Some(text.as_ref()));
        }
        array
    }
}

/// Turns rows into columns: one array for each value of a row.
pub(super) fn columns_of<'a, R>(rows: impl Iterator<Item = R>, count: usize) -> Vec<TextArray>
where
    R: Iterator<Item = Option<&'a str>>,
{
    let mut columns: Vec<TextArray> =
        std::iter::repeat_with(TextArray::default).take(count).collect();
    for row in rows {
        for (column, value) in columns.iter_mut().zip(row) {
            column.push(value);
        }
    }
    columns
}

impl ToSql<Array<Nullable<Text>>, Pg> for TextArray {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> diesel::serialize::Result {
        let dimensions = i32::from(self.length > 0);
        for number in [dimensions, i32::from(self.has_null), TEXT_OID] {
            out.write_all(&number.to_be_bytes())?;
        }
        if self.length > 0 {
            out.write_all(&self.length.to_be_bytes())?;
            out.write_all(&1_i32.to_be_bytes())?;
            out.write_all(&self.elements)?;
        }
        Ok(IsNull::No)
    }
}

/// SQL with text arrays in place of its [`PARAMETER`]s.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) sql: String,
    pub(super) parameters: Vec<TextArray>,
}

impl QueryFragment<Pg> for Statement {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let mut parameters = self.parameters.iter();
        for (index, part) in self.sql.split(PARAMETER).enumerate() {
            if index > 0
                && let Some(parameter) = parameters.next()
            {
                out.push_bind_param::<Array<Nullable<Text>>, _>(parameter)?;
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
