//! The calls that settle a partition's part of a batch.

use futures_util::future::try_join_all;
use redis::{Cmd, RedisError, Value};

use super::connection::Connection;
use super::script::ValueScripts;
use super::{milliseconds, reply, values};
use crate::hot_store::{SettledRow, Settlement};
use crate::key::KeySpace;

/// Rows of one script call: long calls would hold up everyone else.
const SETTLED_ROWS_MAX: usize = 500;

/// Settles; `false` where something else than was expected is settled.
pub(super) async fn settle(
    connection: &Connection,
    keys: &KeySpace,
    settlements: &[Settlement],
    scripts: &ValueScripts,
) -> Result<bool, RedisError> {
    if connection.is_cluster() {
        let settled = settlements.iter().map(|part| settle_apart(connection, keys, part, scripts));
        return Ok(try_join_all(settled).await?.into_iter().all(|is_settled| is_settled));
    }
    let calls = settlements.iter().flat_map(|settlement| calls(keys, settlement, scripts));
    let answers = connection.call(scripts.settle, calls.collect()).await?;
    let is_settled = !answers.contains(&Value::Int(0));
    reply::all_done(answers)?;
    Ok(is_settled)
}

/// Settles a partition in a cluster. The call that stores the position comes when all else is done,
/// also what is done in other slots: after a crash before that, it is done again.
async fn settle_apart(
    connection: &Connection,
    keys: &KeySpace,
    settlement: &Settlement,
    scripts: &ValueScripts,
) -> Result<bool, RedisError> {
    let send = async |call| {
        let answer = connection.call(scripts.settle, vec![call]).await?.pop();
        let answer = values::done(connection, answer.unwrap_or(Value::Nil)).await?;
        Ok::<_, RedisError>(answer != Value::Int(0))
    };
    for rows in chunks(settlement) {
        send(call(keys, settlement, rows, false, scripts)).await?;
    }
    send(call(keys, settlement, &[], true, scripts)).await
}

/// The calls for all rows of a settlement, in order.
///
/// The position is stored with the last rows: after a crash in between, all of them are settled
/// again.
fn calls(keys: &KeySpace, settlement: &Settlement, scripts: &ValueScripts) -> Vec<Cmd> {
    let mut chunks = chunks(settlement);
    if chunks.is_empty() {
        chunks.push(&[]);
    }
    let last = chunks.len() - 1;
    let chunks = chunks.into_iter().enumerate();
    chunks.map(|(index, rows)| call(keys, settlement, rows, index == last, scripts)).collect()
}

/// The rows of each call: it is about rows with one time to live, which are mostly all.
fn chunks(settlement: &Settlement) -> Vec<&[SettledRow]> {
    let kind = |row: &SettledRow| (row.ttl, row.held, row.has_values);
    let are_alike = |a: &SettledRow, b: &SettledRow| kind(a) == kind(b);
    let alike = settlement.rows.chunk_by(are_alike);
    alike.flat_map(|rows| rows.chunks(SETTLED_ROWS_MAX)).collect()
}

fn call(
    keys: &KeySpace,
    settlement: &Settlement,
    rows: &[SettledRow],
    is_last: bool,
    scripts: &ValueScripts,
) -> Cmd {
    let mut call = scripts.settle.call(2 + rows.len());
    call.arg(keys.state(settlement.partition)).arg(keys.stream(settlement.partition));
    for row in rows {
        call.arg(&row.key);
    }
    call.arg(settlement.from.to_string())
        .arg(if is_last { settlement.to.to_string() } else { String::new() })
        .arg(settlement.entries)
        .arg(settlement.retain_from.to_string())
        .arg(match rows.first() {
            Some(row) if row.held => "held".to_owned(),
            Some(SettledRow { ttl: Some(ttl), .. }) => milliseconds(*ttl).to_string(),
            Some(_) => "kept".to_owned(),
            None => String::new(),
        })
        .arg(i32::from(rows.first().is_some_and(|row| row.has_values)));
    for row in rows {
        call.arg(format!("{} ", row.entry));
    }
    call
}
