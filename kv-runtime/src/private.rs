//! All that the derive's expansion may name beside the public items.

#[cfg(feature = "postgres")]
pub use diesel;

#[cfg(feature = "postgres")]
pub use self::postgres::{Assignments, FitsColumn, HasPrimaryKey, read_text, write_text};

pub use crate::__kv_if_postgres as if_postgres;
pub use crate::model::fingerprint;
pub use crate::new_row::{is_integer, serial};
pub use crate::version::VersionField;

/// Keeps what it is given where the feature `postgres` is on.
///
/// A macro, because the derive cannot see the features this crate is built with.
#[doc(hidden)]
#[macro_export]
#[cfg(feature = "postgres")]
macro_rules! __kv_if_postgres {
    ($($items:tt)*) => { $($items)* };
}

/// Drops what it is given: the feature `postgres` is off.
#[doc(hidden)]
#[macro_export]
#[cfg(not(feature = "postgres"))]
macro_rules! __kv_if_postgres {
    ($($items:tt)*) => {};
}

/// What the derive's Diesel items share.
#[cfg(feature = "postgres")]
mod postgres {
    use std::io::Write;

    use diesel::deserialize::{self, FromSqlRow};
    use diesel::expression::{AsExpression, TypedExpressionType};
    use diesel::pg::{Pg, PgValue};
    use diesel::query_builder::AstPass;
    use diesel::serialize::{self, Output, ToSql};
    use diesel::sql_types::{HasSqlType, SqlType};
    use diesel::{Column, QueryResult, Table};

    use crate::value::{IsNull, KvValue, ValueError};

    /// Holds where a field of the type `Self` can be written to and read from a column of the
    /// SQL type `ST`.
    ///
    /// One trait for all that Diesel asks of such a type, for the sake of its message.
    #[diagnostic::on_unimplemented(
        message = "a field of the type `{Self}` does not fit a column of the SQL type `{ST}`",
        label = "the `table!` has `{ST}` here",
        note = "change the type of the field or that of the column; \
                or write `#[kv(table = \"…\")]`, which needs no `table!`"
    )]
    pub trait FitsColumn<ST> {
        /// Sends the value along with a statement.
        ///
        /// # Errors
        /// A value that Diesel cannot write.
        fn bind<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()>;
    }

    #[diagnostic::do_not_recommend]
    impl<T, ST> FitsColumn<ST> for T
    where
        T: AsExpression<ST> + FromSqlRow<ST, Pg> + ToSql<ST, Pg>,
        ST: SqlType + TypedExpressionType,
        Pg: HasSqlType<ST>,
    {
        fn bind<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
            out.push_bind_param::<ST, T>(self)
        }
    }

    /// Holds where the table's primary key is `Columns`; it exists for the sake of its message.
    #[diagnostic::on_unimplemented(
        message = "the fields with `#[kv(id)]` are not the primary key of `{Self}`",
        label = "not the `table!`'s primary key",
        note = "the fields with `#[kv(id)]` must be the primary key's columns in the same order"
    )]
    pub trait HasPrimaryKey<Columns> {}

    #[diagnostic::do_not_recommend]
    impl<T: Table<PrimaryKey = Columns>, Columns> HasPrimaryKey<Columns> for T {}

    /// Writes a patch as the assignments of an `UPDATE`: a field that was not set is left out.
    pub struct Assignments<'a, 'b> {
        out: AstPass<'a, 'b, Pg>,
        is_empty: bool,
    }

    impl<'a, 'b> Assignments<'a, 'b> {
        /// Starts an empty list.
        pub fn new(out: AstPass<'a, 'b, Pg>) -> Self {
            Self { out, is_empty: true }
        }

        /// Appends the assignment of a column.
        ///
        /// # Errors
        /// What Diesel says to the column's name or its value.
        pub fn field<C, T>(&mut self, _column: C, value: &'b Option<T>) -> QueryResult<()>
        where
            C: Column,
            T: FitsColumn<C::SqlType>,
        {
            let Some(value) = value else { return Ok(()) };
            if !self.is_empty {
                self.out.push_sql(", ");
            }
            self.is_empty = false;
            self.out.push_identifier(C::NAME)?;
            self.out.push_sql(" = ");
            value.bind(&mut self.out)
        }
    }

    /// Writes a value to a column whose binary form is its text, as that of `text` and of enums.
    ///
    /// # Errors
    /// A value that PostgreSQL cannot hold.
    pub fn write_text<T: KvValue>(value: &T, out: &mut Output<'_, '_, Pg>) -> serialize::Result {
        let mut text = String::new();
        match value.encode(&mut text)? {
            IsNull::Yes => Ok(serialize::IsNull::Yes),
            IsNull::No => {
                out.write_all(text.as_bytes())?;
                Ok(serialize::IsNull::No)
            }
        }
    }

    /// Reads a value from such a column.
    ///
    /// # Errors
    /// A text that is not one of this type.
    pub fn read_text<T: KvValue>(value: &PgValue<'_>) -> deserialize::Result<T> {
        let text = std::str::from_utf8(value.as_bytes())
            .map_err(|_| ValueError::Invalid { expected: "UTF-8 text" })?;
        Ok(T::decode(Some(text))?)
    }
}
