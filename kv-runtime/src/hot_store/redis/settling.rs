//! The calls that settle a partition's part of a batch.

use futures_util::future::try_join_all;
use redis::{Cmd, RedisError, Value};

use super::connection::Connection;
use super::script::SETTLE;
use super::{milliseconds, reply};
use crate::hot_store::{SettledRow, Settlement};
use crate::key::KeySpace;

/// Rows of one script call: long calls would hold up everyone else.
const SETTLED_ROWS_MAX: usize = 500;

/// Settles; `false` where something else than was expected is settled.
pub(super) async fn settle(
    connection: &Connection,
    keys: &KeySpace,
    settlements: &[Settlement],
    is_cluster: bool,
) -> Result<bool, RedisError> {
    let answers = if is_cluster {
        // The call that stores the position must not overtake the others of its partition.
        let settled = settlements.iter().map(async |settlement| {
            let mut answers = Vec::new();
            for call in calls(keys, settlement) {
                let answer = connection.call(&SETTLE, vec![call]).await?;
                reply::all_done(answer.clone())?;
                answers.extend(answer);
            }
            Ok::<_, RedisError>(answers)
        });
        try_join_all(settled).await?.into_iter().flatten().collect()
    } else {
        let calls = settlements.iter().flat_map(|settlement| calls(keys, settlement));
        connection.call(&SETTLE, calls.collect()).await?
    };
    let is_settled = !answers.contains(&Value::Int(0));
    reply::all_done(answers)?;
    Ok(is_settled)
}

/// The calls for all rows of a settlement, in order.
fn calls(keys: &KeySpace, settlement: &Settlement) -> Vec<Cmd> {
    // A call is about rows with one time to live, which are mostly all.
    let kind = |row: &SettledRow| (row.ttl, row.held, row.has_values);
    let are_alike = |a: &SettledRow, b: &SettledRow| kind(a) == kind(b);
    let mut chunks: Vec<&[SettledRow]> = settlement
        .rows
        .chunk_by(are_alike)
        .flat_map(|rows| rows.chunks(SETTLED_ROWS_MAX))
        .collect();
    if chunks.is_empty() {
        chunks.push(&[]);
    }
    let last = chunks.len() - 1;
    let chunks = chunks.into_iter().enumerate();
    chunks.map(|(index, rows)| call(keys, settlement, rows, index == last)).collect()
}

/// The position is stored with the last rows: after a crash in between, all of them are settled
/// again.
fn call(keys: &KeySpace, settlement: &Settlement, rows: &[SettledRow], is_last: bool) -> Cmd {
    let mut call = SETTLE.call(2 + rows.len());
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
