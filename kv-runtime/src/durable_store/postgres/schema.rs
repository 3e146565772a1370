//! The tables as they are: what PostgreSQL's catalog says, for the start-up checks and migrations
//! to compare with the models; and those that are missing are made.

mod columns;
mod create;
mod difference;
mod verdict;

use diesel::sql_types::{Array, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Deserialize;

use super::classify;
use crate::checks::Problem;
use crate::durable_store::DurableStoreError;
use crate::model::ModelDescriptor;
use crate::schema::name::split;

/// A table, or what stands in its place.
#[derive(Debug, Deserialize)]
struct Table {
    /// `r` a table, `p` a partitioned one; others are none.
    kind: String,
    user: String,
    schema: String,
    is_schema_usable: bool,
    missing_rights: Vec<String>,
    columns: Vec<Column>,
    indexes: Vec<Index>,
    triggers: Vec<Trigger>,
    foreign_keys: Vec<ForeignKey>,
    checks: Vec<TableCheck>,
    rules: Vec<String>,
}

impl Table {
    /// Whether the id is unique in the way that ON CONFLICT needs.
    fn has_id_key(&self, model: &ModelDescriptor) -> bool {
        let id = column_names(model, model.id);
        let is_it = |key: &Index| key.is_key(&id) && key.is_immediate && key.condition.is_none();
        self.indexes.iter().any(is_it)
    }
}

fn column_names(model: &ModelDescriptor, positions: &[usize]) -> Vec<&'static str> {
    positions.iter().map(|&at| model.columns[at].column).collect()
}

#[derive(Debug, Deserialize)]
struct Column {
    name: String,
    /// The type as SQL writes it.
    r#type: String,
    /// The same; of a domain, what it is made of.
    base: String,
    /// The catalog's name of the type; of a domain, also of what it is made of.
    type_names: Vec<Option<String>>,
    /// Of an array, the catalog's name of its elements' type.
    element_name: Option<String>,
    /// Of an enum, or an array of one, its values in their order.
    labels: Option<Vec<String>>,
    is_not_null: bool,
    /// Whether a sequence is its own.
    has_sequence: bool,
    has_default: bool,
    is_generated: bool,
}

#[derive(Debug, Deserialize)]
struct Trigger {
    name: String,
    table: String,
}

#[derive(Debug, Deserialize)]
struct Index {
    name: String,
    /// The statement that makes it.
    definition: String,
    /// `None` where it is about expressions.
    columns: Option<Vec<String>>,
    is_unique: bool,
    is_valid: bool,
    /// Whether it refuses at once, and not at the end of a transaction.
    is_immediate: bool,
    /// The rows that it is about, as PostgreSQL writes it.
    condition: Option<String>,
    /// The constraint that it belongs to, as SQL writes it.
    constraint: Option<String>,
}

impl Index {
    /// Whether it makes these columns unique together, in whatever order it has them.
    fn is_key(&self, columns: &[&str]) -> bool {
        self.is_unique && self.is_valid && self.has_all(columns)
    }

    fn has_all(&self, columns: &[&str]) -> bool {
        let own = self.columns.as_deref().unwrap_or_default();
        own.len() == columns.len() && columns.iter().all(|name| own.iter().any(|it| it == name))
    }
}

#[derive(Debug, Deserialize)]
struct ForeignKey {
    name: String,
    definition: String,
    columns: Vec<String>,
    schema: String,
    table: String,
    is_visible: bool,
    targets: Vec<String>,
    changes_rows: bool,
}

#[derive(Debug, Deserialize)]
struct TableCheck {
    name: String,
    /// As PostgreSQL writes it.
    condition: String,
}

#[derive(Debug, diesel::QueryableByName)]
struct Described {
    #[diesel(sql_type = Nullable<Text>)]
    value: Option<String>,
}

pub(super) use self::create::create;
pub(super) use self::difference::difference;

/// What does not fit between some models and their tables.
pub(super) async fn problems(
    connection: &mut AsyncPgConnection,
    models: &[&'static ModelDescriptor],
) -> Result<Vec<Problem>, DurableStoreError> {
    let names: Vec<&str> = models.iter().map(|model| model.table).collect();
    let tables = describe(connection, &names).await?;
    Ok(models.iter().zip(&tables).flat_map(|(m, table)| verdict::of(m, table.as_ref())).collect())
}

/// What the catalog says of some tables; `None` of one that is not there.
async fn describe(
    connection: &mut AsyncPgConnection,
    tables: &[&str],
) -> Result<Vec<Option<Table>>, DurableStoreError> {
    let (schemas, names): (Vec<Option<&str>>, Vec<&str>) =
        tables.iter().map(|table| split(table)).unzip();
    let described: Vec<Described> = diesel::sql_query(include_str!("schema.sql"))
        .bind::<Array<Nullable<Text>>, _>(schemas)
        .bind::<Array<Text>, _>(names)
        .load(connection)
        .await
        .map_err(classify)?;
    let read =
        |Described { value }| value.map(|text: String| serde_json::from_str(&text)).transpose();
    let tables: Result<_, serde_json::Error> = described.into_iter().map(read).collect();
    tables.map_err(|error| DurableStoreError::Configuration(Box::new(error)))
}
