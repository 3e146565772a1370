//! The SQL of the tables.

use diesel::dsl::sql;
use diesel::sql_types::Bool;
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection};
use kv_runtime::schema::Schema;
use kv_runtime::{ColumnType, DrainerBuilder, Kv, KvModel, ModelDescriptor};

use crate::error::StorageError;
use crate::models::{
    Bsp, BspFile, BspMultiaddress, Bucket, File, FilePeerId, Msp, MspFile, MspMultiaddress,
    Multiaddress, PaymentStream, PeerId, ServiceState,
};

/// Calls the method `model` of what is given for each model, parents before their children.
macro_rules! with_models {
    ($builder:expr) => {
        $builder
            .model::<ServiceState>()
            .model::<Multiaddress>()
            .model::<PeerId>()
            .model::<Bsp>()
            .model::<Msp>()
            .model::<Bucket>()
            .model::<File>()
            .model::<BspMultiaddress>()
            .model::<MspMultiaddress>()
            .model::<BspFile>()
            .model::<MspFile>()
            .model::<FilePeerId>()
            .model::<PaymentStream>()
    };
}

/// Has a drainer carry all models.
pub fn drain_all(drainer: DrainerBuilder) -> DrainerBuilder {
    with_models!(drainer)
}

/// The SQL that makes all tables in an empty database.
pub fn create() -> String {
    let tables = with_models!(Schema::new()).create().up();
    let amounts = [Bsp::DESCRIPTOR, Msp::DESCRIPTOR, PaymentStream::DESCRIPTOR];
    amounts.iter().fold(tables, |sql, model| sql + &with_whole_amounts(model))
}

/// Makes all tables, unless they are there. Of several processes that start at once, one does.
///
/// # Errors
/// [`StorageError::Connection`] or [`StorageError::Query`].
pub async fn install(kv: &Kv) -> Result<(), StorageError> {
    let mut connection = kv.connection().await?;
    let made = connection.transaction(async |connection| {
        connection.batch_execute("SELECT pg_advisory_xact_lock(hashtext('make tables'))").await?;
        let is_there = sql::<Bool>("to_regclass('service_state') IS NOT NULL");
        if !diesel::select(is_there).get_result::<bool>(connection).await? {
            connection.batch_execute(&create()).await?;
        }
        Ok::<_, diesel::result::Error>(())
    });
    Ok(made.await?)
}

/// The columns of a model's amounts as `numeric(38, 0)`: a model says that they are `numeric`.
fn with_whole_amounts(model: &ModelDescriptor) -> String {
    let amounts = model.columns.iter().filter(|column| column.ty == ColumnType::Numeric);
    let changes = amounts.map(|column| {
        format!("ALTER TABLE {} ALTER {} TYPE numeric(38, 0);\n", model.table, column.column)
    });
    changes.collect()
}
