//! The models that are written, and their tables.

use kv_runtime::{KvModel, KvPatch};

use crate::change::{Patch, Row};

/// The tables, rows that unique values clash with, and a log that PostgreSQL keeps of what is
/// done to the rows.
pub(crate) const TABLES: &str = include_str!("models.sql");

/// What PostgreSQL has of all models: key and row, without the rows that values clash with.
pub(crate) const ROWS: &str = "
    SELECT 'account:' || id AS key, to_jsonb(accounts)::text AS value FROM accounts
    UNION ALL
    SELECT 'seat:' || flight || ':' || number, to_jsonb(seats)::text FROM seats
    UNION ALL
    SELECT 'parcel:' || id, to_jsonb(parcels)::text FROM parcels WHERE id >= 0";

/// All changes of rows, in order.
pub(crate) const CHANGES: &str = "
    SELECT key, operation || ' of revision ' || revision AS value FROM changes ORDER BY number";

/// Changes of rows that did not come one after the other: every write of a row has a greater
/// revision than the one before, so one that took effect twice or late shows.
pub(crate) const CHANGES_OUT_OF_ORDER: &str = "
    SELECT key, operation || ' of revision ' || revision || ' after revision ' || before AS value
    FROM (
        SELECT *, lag(revision) OVER (PARTITION BY key ORDER BY number) AS before FROM changes
    ) AS numbered
    WHERE revision < before OR (revision = before AND operation <> 'DELETE')
    ORDER BY number";

/// How many parcels there are whose labels are taken from the start.
pub(crate) const LABELS_TAKEN: u32 = 10;

/// A model whose id is told to be fresh.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "accounts", queue = "desk_queue")]
pub(crate) struct Account {
    #[kv(id, fresh)]
    id: i64,
    revision: i64,
    note: Option<String>,
    active: bool,
}

/// A model whose id PostgreSQL may know and Redis may not.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "seats", partition_by = flight)]
pub(crate) struct Seat {
    #[kv(id)]
    flight: String,
    #[kv(id)]
    number: i16,
    revision: i64,
    passenger: Option<String>,
}

/// A model whose table refuses some rows; it shares a queue with one whose table takes them all.
#[derive(Debug, Clone, PartialEq, KvModel)]
#[kv(table = "parcels", queue = "desk_queue")]
pub(crate) struct Parcel {
    #[kv(id, fresh)]
    id: i64,
    revision: i64,
    label: String,
    weight: i32,
    note: Option<String>,
}

/// A model whose values the ledgers can hold.
pub(crate) trait Ledgered: KvModel<Patch: KvPatch + Send> + Send + Sync {
    /// The id within a key.
    fn id_of(key: &str) -> Option<Self::Id>;
    fn from_row(row: &Row) -> Option<Self>;
    fn to_row(&self) -> Row;
    fn patch_of(patch: &Patch) -> Option<Self::Patch>;
}

fn row_of<const N: usize>(values: [(&str, Option<String>); N]) -> Row {
    let values = values.into_iter();
    values.filter_map(|(column, value)| Some((column.to_owned(), value?))).collect()
}

fn parse<T: std::str::FromStr>(row: &Row, column: &str) -> Option<T> {
    row.get(column)?.parse().ok()
}

/// Passes the columns that a patch has on to the setters of the model's patch.
macro_rules! patch {
    ($model:ty, $patch:ident: $($column:ident: $type:ty),* | $($nullable:ident),*) => {{
        let mut made = <$model>::patch();
        $(if let Some(value) = $patch.get(stringify!($column)) {
            made = made.$column(value.as_deref()?.parse::<$type>().ok()?);
        })*
        $(if let Some(value) = $patch.get(stringify!($nullable)) {
            made = made.$nullable(value.clone());
        })*
        Some(made)
    }};
}

impl Ledgered for Account {
    fn id_of(key: &str) -> Option<i64> {
        key.strip_prefix("account:")?.parse().ok()
    }

    fn from_row(row: &Row) -> Option<Self> {
        Some(Self {
            id: parse(row, "id")?,
            revision: parse(row, "revision")?,
            note: row.get("note").cloned(),
            active: parse(row, "active")?,
        })
    }

    fn to_row(&self) -> Row {
        row_of([
            ("id", Some(self.id.to_string())),
            ("revision", Some(self.revision.to_string())),
            ("note", self.note.clone()),
            ("active", Some(self.active.to_string())),
        ])
    }

    fn patch_of(patch: &Patch) -> Option<Self::Patch> {
        patch!(Self, patch: revision: i64, active: bool | note)
    }
}

impl Ledgered for Seat {
    fn id_of(key: &str) -> Option<Self::Id> {
        let (flight, number) = key.strip_prefix("seat:")?.split_once(':')?;
        Some((flight.to_owned(), number.parse().ok()?))
    }

    fn from_row(row: &Row) -> Option<Self> {
        Some(Self {
            flight: parse(row, "flight")?,
            number: parse(row, "number")?,
            revision: parse(row, "revision")?,
            passenger: row.get("passenger").cloned(),
        })
    }

    fn to_row(&self) -> Row {
        row_of([
            ("flight", Some(self.flight.clone())),
            ("number", Some(self.number.to_string())),
            ("revision", Some(self.revision.to_string())),
            ("passenger", self.passenger.clone()),
        ])
    }

    fn patch_of(patch: &Patch) -> Option<Self::Patch> {
        patch!(Self, patch: revision: i64 | passenger)
    }
}

impl Ledgered for Parcel {
    fn id_of(key: &str) -> Option<i64> {
        key.strip_prefix("parcel:")?.parse().ok()
    }

    fn from_row(row: &Row) -> Option<Self> {
        Some(Self {
            id: parse(row, "id")?,
            revision: parse(row, "revision")?,
            label: parse(row, "label")?,
            weight: parse(row, "weight")?,
            note: row.get("note").cloned(),
        })
    }

    fn to_row(&self) -> Row {
        row_of([
            ("id", Some(self.id.to_string())),
            ("revision", Some(self.revision.to_string())),
            ("label", Some(self.label.clone())),
            ("weight", Some(self.weight.to_string())),
            ("note", self.note.clone()),
        ])
    }

    fn patch_of(patch: &Patch) -> Option<Self::Patch> {
        patch!(Self, patch: revision: i64, label: String, weight: i32 | note)
    }
}
