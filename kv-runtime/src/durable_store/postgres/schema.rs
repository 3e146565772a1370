//! The tables as they are: what PostgreSQL's catalog says, for the start-up checks to compare
//! with the models.

mod verdict;

use diesel::sql_types::{Array, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Deserialize;

use super::classify;
use crate::checks::Problem;
use crate::durable_store::DurableStoreError;
use crate::model::ModelDescriptor;

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
    /// Columns that are unique together, as ON CONFLICT needs it.
    unique_keys: Vec<Vec<String>>,
    triggers: Vec<Trigger>,
    foreign_keys: Vec<ForeignKey>,
    rules: Vec<String>,
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
    is_not_null: bool,
    has_default: bool,
    is_generated: bool,
}

#[derive(Debug, Deserialize)]
struct Trigger {
    name: String,
    table: String,
}

#[derive(Debug, Deserialize)]
struct ForeignKey {
    name: String,
    definition: String,
}

#[derive(Debug, diesel::QueryableByName)]
struct Described {
    #[diesel(sql_type = Nullable<Text>)]
    value: Option<String>,
}

/// What does not fit between some models and their tables.
pub(super) async fn problems(
    connection: &mut AsyncPgConnection,
    models: &[&'static ModelDescriptor],
) -> Result<Vec<Problem>, DurableStoreError> {
    let (schemas, names): (Vec<Option<&str>>, Vec<&str>) =
        models.iter().map(|model| split(model.table)).unzip();
    let described: Vec<Described> = diesel::sql_query(include_str!("schema.sql"))
        .bind::<Array<Nullable<Text>>, _>(schemas)
        .bind::<Array<Text>, _>(names)
        .load(connection)
        .await
        .map_err(classify)?;
    let mut problems = Vec::new();
    for (model, Described { value }) in models.iter().zip(described) {
        let table: Option<Table> = value
            .map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|error| DurableStoreError::Configuration(Box::new(error)))?;
        problems.extend(verdict::of(model, table.as_ref()));
    }
    Ok(problems)
}

/// The schema, if one is named, and the table.
fn split(table: &str) -> (Option<&str>, &str) {
    match table.split_once('.') {
        Some((schema, name)) => (Some(schema), name),
        None => (None, table),
    }
}
