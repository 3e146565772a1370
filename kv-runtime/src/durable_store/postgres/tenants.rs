//! The list of tenants, and their schemas.

use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

use super::classify;
use crate::durable_store::DurableStoreError;
use crate::schema::ddl::literal;
use crate::schema::name::quote_one;

#[derive(diesel::QueryableByName)]
struct NameRow {
    #[diesel(sql_type = Text)]
    name: String,
}

/// Makes a schema, where it is missing: only then the right to is needed.
pub(super) async fn create_schema(
    connection: &mut AsyncPgConnection,
    schema: &str,
) -> Result<(), DurableStoreError> {
    let looked_for = format!(
        "SELECT nspname::text AS name FROM pg_namespace WHERE nspname = {}",
        literal(schema)
    );
    let found: Vec<NameRow> =
        diesel::sql_query(looked_for).load(connection).await.map_err(classify)?;
    if !found.is_empty() {
        return Ok(());
    }
    let create = format!("CREATE SCHEMA {}", quote_one(schema));
    connection.batch_execute(&create).await.map_err(classify)
}

/// All that were added, in order.
pub(super) async fn names(
    connection: &mut AsyncPgConnection,
) -> Result<Vec<String>, DurableStoreError> {
    let query = diesel::sql_query("SELECT name FROM kv_tenants ORDER BY name COLLATE \"C\"");
    let rows: Vec<NameRow> = query.load(connection).await.map_err(classify)?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

pub(super) async fn add(
    connection: &mut AsyncPgConnection,
    name: &str,
) -> Result<(), DurableStoreError> {
    let sql = "INSERT INTO kv_tenants (name) VALUES ($1) ON CONFLICT (name) DO NOTHING";
    let added = diesel::sql_query(sql).bind::<Text, _>(name).execute(connection).await;
    added.map(drop).map_err(classify)
}

pub(super) async fn remove(
    connection: &mut AsyncPgConnection,
    name: &str,
) -> Result<(), DurableStoreError> {
    let sql = "DELETE FROM kv_tenants WHERE name = $1";
    let removed = diesel::sql_query(sql).bind::<Text, _>(name).execute(connection).await;
    removed.map(drop).map_err(classify)
}
