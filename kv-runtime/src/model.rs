//! What the derive says about a model: a trait of thin conversions, and a
//! descriptor that the non-generic bodies of the runtime work from.

mod numeric;

use std::fmt;
use std::hash::Hash;
use std::time::Duration;

pub use self::numeric::NumericBounds;
use crate::durability::Durability;
use crate::lookup::Lookup;
use crate::row::{EncodedPatch, EncodedRow, RowDecoder, RowEncoder};
use crate::schema;
use crate::schema::name::quote_one;
use crate::scheme::StorageScheme;
use crate::value::ValueError;

/// A struct whose values are rows: written by `#[derive(KvModel)]`, not by hand.
///
/// The attributes are described at [the derive](macro@crate::KvModel).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a model",
    label = "not a `KvModel`",
    note = "annotate the struct with `#[derive(KvModel)]` and its id with `#[kv(id)]`"
)]
pub trait KvModel: Sized + Send + Sync + 'static {
    /// The type of the id: that of the `#[kv(id)]` field, or a tuple of them.
    type Id: Clone + fmt::Debug + PartialEq + Send + Sync + 'static;
    /// The change of some fields.
    type Patch: KvPatch;
    /// The names of the fields, as an enum.
    type Field: Copy + fmt::Debug + Eq + Hash + Into<&'static str> + Send + Sync + 'static;

    /// The fields, for queries.
    type Fields: Copy + Send + Sync + 'static;

    /// The fields, for queries.
    const FIELDS: Self::Fields;

    /// The repository's methods for the model's indexes; of a model without any, there is nothing
    /// to see.
    type Finders: Clone + fmt::Debug + From<Lookup<Self>> + Send + Sync + 'static;

    /// The model as data.
    const DESCRIPTOR: &'static ModelDescriptor;

    /// The SQL that makes the model's table, with its types, indexes and foreign keys.
    ///
    /// ```
    /// # use kv_runtime::KvModel;
    /// #[derive(Debug, Clone, PartialEq, KvModel)]
    /// struct Booking {
    ///     #[kv(id, fresh)]
    ///     id: i64,
    ///     #[kv(unique)]
    ///     reference: String,
    /// }
    ///
    /// assert_eq!(
    ///     Booking::ddl(),
    ///     r#"CREATE TABLE "bookings" (
    ///     "id" bigint NOT NULL,
    ///     "reference" text NOT NULL,
    ///     PRIMARY KEY ("id")
    /// );
    ///
    /// ALTER TABLE "bookings" ADD CONSTRAINT "bookings_reference_key" UNIQUE ("reference") DEFERRABLE;
    /// "#
    /// );
    /// ```
    ///
    /// Where models share a type or refer to each other, take [`schema::Schema`], which also
    /// writes migrations.
    fn ddl() -> String {
        schema::Schema::new().model::<Self>().create().up()
    }

    /// The row's id.
    fn row_id(&self) -> Self::Id;

    /// Writes every field, in the order of the descriptor's columns.
    ///
    /// # Errors
    /// The first field that cannot be stored.
    fn encode(&self, row: &mut RowEncoder) -> Result<(), FieldError>;

    /// Reads every field, in the same order.
    ///
    /// # Errors
    /// The first field that cannot be read.
    fn decode(row: &mut RowDecoder<'_>) -> Result<Self, FieldError>;

    /// Writes the id's fields, in the order of the descriptor's `id`.
    ///
    /// # Errors
    /// The first field that cannot be stored.
    fn encode_id(id: &Self::Id, row: &mut RowEncoder) -> Result<(), FieldError>;

    /// Reads the id's fields, in the same order.
    ///
    /// # Errors
    /// The first field that cannot be read.
    fn decode_id(row: &mut RowDecoder<'_>) -> Result<Self::Id, FieldError>;
}

/// The change of some fields of a row, built by the setters the derive writes.
///
/// A field that was not set is left alone; one that was set to `None` becomes NULL.
pub trait KvPatch: Send + Sync + 'static {
    /// Writes the fields that were set.
    ///
    /// # Errors
    /// The first field that cannot be stored.
    fn encode(&self, patch: &mut EncodedPatch) -> Result<(), FieldError>;
}

/// A model as data: its names, columns and choices.
#[derive(Debug, PartialEq, Eq)]
pub struct ModelDescriptor {
    /// The struct's name, for messages.
    pub name: &'static str,
    /// The PostgreSQL table.
    pub table: &'static str,
    /// What a row's key begins with; the model's name on its queue.
    pub key_prefix: &'static str,
    /// The queue that carries the model's entries.
    pub queue: &'static str,
    /// The columns, in the order of the fields.
    pub columns: &'static [ColumnDescriptor],
    /// The id's columns, as positions in `columns`, in the order of the fields.
    pub id: &'static [usize],
    /// Whether a new row's id is known to be new: a client-made UUID, or an id declared
    /// `#[kv(id, fresh)]` or `#[kv(id, serial)]`. A create then asks PostgreSQL nothing.
    pub id_is_fresh: bool,
    /// The fields of the id whose values choose the partition, as positions in `id`:
    /// all of them, unless the model declares `partition_by`.
    pub partition_by: &'static [usize],
    /// How long a clean row stays in Redis; `None` takes the settings' default.
    pub ttl: Option<Duration>,
    /// What a write waits for; `None` takes the settings' default.
    pub durability: Option<Durability>,
    /// How its rows are stored, if the model chooses.
    pub scheme: Option<StorageScheme>,
    /// The columns whose values belong to one row: `#[kv(unique)]`.
    pub unique: &'static [IndexDescriptor],
    /// The columns by whose values rows are found: `#[kv(index)]`. Unique ones are not among them.
    pub indexes: &'static [IndexDescriptor],
    /// The columns whose values are those of a row of another table: `#[kv(references = "…")]`.
    pub references: &'static [ReferenceDescriptor],
    /// The SQL conditions that every row meets: `#[kv(check = "…")]`.
    pub checks: &'static [&'static str],
    /// The column that every change of a row raises, as a position in `columns`: `#[kv(version)]`.
    pub version: Option<usize>,
    /// The id that the sequence of its column numbers, as a position in `columns`:
    /// `#[kv(id, serial)]`.
    pub serial: Option<usize>,
    /// What [`fingerprint`] makes of the columns: every entry carries it.
    pub fingerprint: u64,
}

/// Columns by whose values rows are found.
#[derive(Debug, PartialEq, Eq)]
pub struct IndexDescriptor {
    /// The names of the fields, joined by `_and_`.
    pub name: &'static str,
    /// As positions in the model's columns.
    pub columns: &'static [usize],
    /// An SQL condition on the rows that it is about; `None` if these are all.
    pub when: Option<&'static str>,
}

/// A foreign key.
#[derive(Debug, PartialEq, Eq)]
pub struct ReferenceDescriptor {
    /// As positions in the model's columns.
    pub columns: &'static [usize],
    /// The table that they refer to.
    pub table: &'static str,
    /// The columns of that table, one for each of [`columns`](Self::columns).
    pub targets: &'static [&'static str],
}

/// One column of a model.
#[derive(Debug, PartialEq, Eq)]
pub struct ColumnDescriptor {
    /// The struct's field.
    pub field: &'static str,
    /// Its name in the Redis hash and in an entry.
    pub name: &'static str,
    /// The table's column.
    pub column: &'static str,
    /// The column's type.
    pub ty: ColumnType,
    /// How many digits the column keeps: `#[kv(column_type = "numeric(38, 0)")]`.
    pub numeric: Option<NumericBounds>,
    /// Whether the field is an `Option`.
    pub nullable: bool,
    /// Whether PostgreSQL alone fills it: `#[kv(read_only)]`.
    pub read_only: bool,
}

impl ColumnDescriptor {
    /// The column's type as SQL writes it, with its bounds.
    pub(crate) fn sql_type(&self) -> String {
        self.numeric.map_or_else(|| self.ty.to_string(), |bounds| bounds.to_string())
    }
}

/// The PostgreSQL type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ColumnType {
    /// `boolean`
    Bool,
    /// `smallint`
    SmallInt,
    /// `integer`
    Integer,
    /// `bigint`
    BigInt,
    /// `real`
    Real,
    /// `double precision`
    Double,
    /// `numeric`
    Numeric,
    /// `text`
    Text,
    /// `bytea`
    Bytea,
    /// `uuid`
    Uuid,
    /// `date`
    Date,
    /// `time`
    Time,
    /// `timestamp`
    Timestamp,
    /// `timestamptz`
    Timestamptz,
    /// `jsonb`
    Jsonb,
    /// An array of a scalar.
    Array(&'static ColumnType),
    /// An enum of the user's.
    Enum {
        /// The type's name.
        name: &'static str,
        /// Its values, in their order.
        labels: &'static [&'static str],
    },
    /// Another type of the user's, by name.
    Named(&'static str),
}

impl ColumnType {
    /// Whether an element of this type stands without quotes in a JSON array.
    pub(crate) const fn is_bare_in_json(self) -> bool {
        matches!(self, Self::Bool | Self::SmallInt | Self::Integer | Self::BigInt)
    }
}

impl ColumnType {
    /// The type's name; of an array, that of its element, and of a user's type, as it was given.
    const fn name(self) -> &'static str {
        match self {
            Self::Bool => "boolean",
            Self::SmallInt => "smallint",
            Self::Integer => "integer",
            Self::BigInt => "bigint",
            Self::Real => "real",
            Self::Double => "double precision",
            Self::Numeric => "numeric",
            Self::Text => "text",
            Self::Bytea => "bytea",
            Self::Uuid => "uuid",
            Self::Date => "date",
            Self::Time => "time",
            Self::Timestamp => "timestamp",
            Self::Timestamptz => "timestamptz",
            Self::Jsonb => "jsonb",
            Self::Array(element) => element.name(),
            Self::Enum { name, .. } | Self::Named(name) => name,
        }
    }

    const fn fingerprint(self, hash: u64) -> u64 {
        let kind = match self {
            Self::Array(_) => 1,
            Self::Enum { .. } | Self::Named(_) => 2,
            _ => 0,
        };
        fnv(fnv(hash, self.name().as_bytes()), &[0xff, kind])
    }
}

impl fmt::Display for ColumnType {
    /// The type as SQL writes it; a user's type is quoted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Array(element) => write!(f, "{element}[]"),
            Self::Enum { name, .. } | Self::Named(name) => f.write_str(&quote_one(name)),
            _ => f.write_str(self.name()),
        }
    }
}

impl ModelDescriptor {
    /// The position of the column with this name in the hash, if there is one.
    ///
    /// `expected` is tried first: fields mostly arrive in the order they were written in.
    pub(crate) fn position_of(&self, name: &str, expected: usize) -> Option<usize> {
        if self.columns.get(expected).is_some_and(|column| column.name == name) {
            return Some(expected);
        }
        self.columns.iter().position(|column| column.name == name)
    }

    /// The id's values within a whole row.
    pub(crate) fn id_of(&self, row: &EncodedRow) -> EncodedRow {
        self.select(self.id, row)
    }

    /// Whether PostgreSQL fills columns that the runtime does not write.
    pub(crate) fn has_read_only(&self) -> bool {
        self.columns.iter().any(|column| column.read_only)
    }

    /// The version within a whole row, if the model has one.
    pub(crate) fn version_of<'a>(&self, row: &'a EncodedRow) -> Option<&'a str> {
        row.get(self.version?)
    }

    /// The values of some columns of a whole row.
    pub(crate) fn select(&self, positions: &[usize], row: &EncodedRow) -> EncodedRow {
        let mut selected = EncodedRow::default();
        for &position in positions {
            selected.push(row.get(position));
        }
        selected
    }
}

/// A number that changes when the columns of a model do: FNV-1a over their names and types.
///
/// It is a constant of the model, because it goes with every entry.
pub const fn fingerprint(columns: &[ColumnDescriptor]) -> u64 {
    let mut hash = FNV_BASIS;
    let mut at = 0;
    while at < columns.len() {
        let column = &columns[at];
        hash = fnv(hash, column.name.as_bytes());
        hash = fnv(hash, &[0xff, column.nullable as u8]);
        hash = column.ty.fingerprint(hash);
        at += 1;
    }
    hash
}

/// What FNV-1a begins with.
pub(crate) const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// Goes on with FNV-1a.
pub(crate) const fn fnv(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    hash
}

/// A field that cannot be stored or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}`: {source}")]
pub struct FieldError {
    /// The struct's field.
    pub field: &'static str,
    /// What is wrong with its value.
    #[source]
    pub source: ValueError,
}
