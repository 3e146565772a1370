//! Rows on their way in and out, while a switch of their queue's scheme keeps its partitions closed.

use redis::{RedisError, Value};

use super::connection::Connection;
use super::script::ValueScripts;
use super::{reply, values};
use crate::hot_store::{LOADED, Load};
use crate::key::{KeySpace, RowKey};
use crate::row::EncodedRow;

/// Puts rows here; `false` where another switch, or none, keeps one of their partitions closed.
pub(super) async fn load(
    connection: &Connection,
    keys: &KeySpace,
    rows: &[Load],
    switch: &str,
    scripts: &ValueScripts,
) -> Result<bool, RedisError> {
    let calls = rows.iter().map(|Load { key, row, entry, value_keys }| {
        let mut call = scripts.load.call(2);
        call.arg(keys.state(key.partition())).arg(&key.key);
        let deleted = if row.is_none() { " deleted" } else { "" };
        call.arg(switch).arg(format!("{entry} {LOADED}{deleted}"));
        call.arg(value_keys.len()).arg(value_keys);
        for (column, value) in key.model.columns.iter().zip(row.iter().flat_map(EncodedRow::iter)) {
            if let Some(value) = value {
                call.arg(column.name).arg(value);
            }
        }
        call
    });
    let answers = connection.call(scripts.load, calls.collect()).await?;
    let is_closed = !answers.contains(&Value::Int(0));
    reply::all_done(answers)?;
    if is_closed && connection.is_cluster() {
        values::give(connection, rows, switch).await?;
    }
    Ok(is_closed)
}

/// Removes rows; `false` as above.
pub(super) async fn drop(
    connection: &Connection,
    keys: &KeySpace,
    rows: &[RowKey],
    switch: &str,
    scripts: &ValueScripts,
) -> Result<bool, RedisError> {
    let calls = rows.iter().map(|key| {
        let mut call = scripts.drop.call(2);
        call.arg(keys.state(key.partition())).arg(&key.key).arg(switch);
        call
    });
    let mut is_closed = true;
    for answer in connection.call(scripts.drop, calls.collect()).await? {
        is_closed &= values::done(connection, answer).await? != Value::Int(0);
    }
    Ok(is_closed)
}
