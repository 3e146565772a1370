//! The tables of models that are not there yet.

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};

use super::super::classify;
use super::describe;
use super::difference::types;
use crate::durable_store::DurableStoreError;
use crate::model::ModelDescriptor;
use crate::schema::ddl;

/// Makes them, with their types; within a transaction, of which one runs at a time.
pub(in super::super) async fn create(
    connection: &mut AsyncPgConnection,
    models: &[&'static ModelDescriptor],
) -> Result<(), DurableStoreError> {
    let names: Vec<&str> = models.iter().map(|model| model.table).collect();
    let tables = describe(connection, &names).await?;
    let missing = models.iter().zip(&tables).filter(|(_, table)| table.is_none());
    let missing: Vec<_> = missing.map(|(model, _)| *model).collect();
    // Without anything to make, not even the right to is needed.
    if missing.is_empty() {
        return Ok(());
    }
    types(connection, &missing).await?;
    let steps = ddl::create_tables(&missing, models);
    let sql: Vec<&str> = steps.iter().map(|step| step.up.as_str()).collect();
    connection.batch_execute(&sql.join(";\n")).await.map_err(classify)
}
