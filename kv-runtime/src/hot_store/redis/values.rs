//! Unique values that lie in other slots of a cluster than the rows that have them.
//!
//! No script reaches both. So a value is first taken for a row, until a time that stands with it; then
//! the row's script runs, if the nonce is still there that was put beside the row before; then the
//! value is told that the row has it. Whoever finds a value that is being taken after that time
//! removes the nonce first: so the script has run by then, or never will, and the row says which.

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use redis::{Cmd, RedisError, Value};

use super::connection::Connection;
use super::script::{EXPIRE_VALUE, RESERVE_VALUE, SWAP_VALUE, TAKE_VALUE};
use super::{TOKEN_TTL, milliseconds, reply};
use crate::entry::EntryId;
use crate::hot_store::{Claim, Load, Unit, UnitOutcome, ValueContent};
use crate::key::KeySpace;
use crate::rows::random_id;

/// How long a row's script may take to run. Then others may have the values that it was to take.
const TAKING_MAX: Duration = Duration::from_secs(3);
/// Longer than that, and not for ever: a process may die before it is used.
const NONCE_TTL: Duration = Duration::from_secs(60);

/// A value that was taken for a row.
struct Taken {
    key: String,
    row_key: String,
    /// What is under its key now.
    taking: String,
    /// What was before, and how many milliseconds that had to live, if it was not pinned.
    before: String,
    time_to_live: Option<u64>,
}

/// The values that were taken for a try to write a unit.
pub(super) struct TakenValues {
    values: Vec<Taken>,
    /// The key of the try's nonce. Each has its own: after a nonce was removed, no call that is late
    /// must find it again.
    pub(super) nonce_key: String,
}

/// What is to become of a value whose row was settled or is gone.
pub(super) struct ValueToDo {
    pub(super) key: String,
    /// The row's key, the time to live, its newest entry and that one's operation, as
    /// `expire_value.lua` has them.
    pub(super) arguments: [String; 4],
}

/// Whether a unit takes any values.
pub(super) fn takes_values(unit: &Unit) -> bool {
    claims(unit).next().is_some()
}

/// With the places of the row and of the claim, and the row's key.
fn claims(unit: &Unit) -> impl Iterator<Item = (usize, usize, &str, &Claim)> {
    unit.rows.iter().enumerate().flat_map(|(row, unit_row)| {
        let claims = unit_row.claims.iter().flatten().enumerate();
        let claims = claims.filter(|(_, claim)| claim.key.is_some());
        claims.map(move |(place, claim)| (row, place, unit_row.key.key.as_str(), claim))
    })
}

/// Takes the values of a unit, all of them or none; else what stands in the way.
pub(super) async fn take(
    connection: &Connection,
    keys: &KeySpace,
    unit: &Unit,
) -> Result<Result<TakenValues, UnitOutcome>, RedisError> {
    let nonce = format!("{}.{}", unit.operation_id, random_id());
    let nonce_key = keys.nonce(unit.partition, &nonce);
    let mut put = Cmd::new();
    put.arg("SET").arg(&nonce_key).arg(1).arg("PX").arg(milliseconds(NONCE_TTL));
    read(connection.send_one(&put).await?)?;
    let taken = claims(unit).map(async |(row, place, row_key, claim)| {
        let (key, found) = claim.arguments();
        let mut call = TAKE_VALUE.call(1);
        call.arg(key).arg(row_key).arg(found).arg(&nonce);
        call.arg(unit.partition.number).arg(milliseconds(TAKING_MAX));
        let answer = connection.call(&TAKE_VALUE, vec![call]).await?.pop().unwrap_or(Value::Nil);
        let Some((taking, before, time_to_live)) = reply::taken(answer)? else {
            return Ok(Err(UnitOutcome::ValueRefused { row, claim: place }));
        };
        let (key, row_key) = (key.to_owned(), row_key.to_owned());
        Ok::<_, RedisError>(Ok(Taken { key, row_key, taking, before, time_to_live }))
    });
    let (mut values, mut obstacle) = (Vec::new(), None);
    for taken in join_all(taken).await {
        match taken {
            Ok(Ok(taken)) => values.push(taken),
            Ok(Err(refusal)) => obstacle = Some(Ok(Err(refusal))),
            Err(error) => obstacle = Some(Err(error)),
        }
    }
    let taken = TakenValues { values, nonce_key };
    match obstacle {
        None => Ok(Ok(taken)),
        Some(obstacle) => {
            taken.give_back(connection).await;
            obstacle
        }
    }
}

impl TakenValues {
    /// The row's script has not run, and will not: so the values are as they were.
    pub(super) async fn give_back(self, connection: &Connection) {
        if let Err(error) = revoke(connection, self.nonce_key).await {
            // The values are the try's until its time is over.
            tracing::debug!(%error, "a nonce was not removed");
            return;
        }
        let calls = self.values.into_iter().map(|taken| {
            let was_token = ValueContent(taken.before.clone()).is_token();
            let before = if was_token { "" } else { &taken.before };
            let time_to_live = taken.time_to_live.map(|left| left.to_string()).unwrap_or_default();
            swap_call(&taken.key, &taken.taking, before, &time_to_live)
        });
        run(connection, calls.collect()).await;
    }

    /// The row's script has run, by this entry.
    pub(super) async fn keep(self, connection: Connection, entry: EntryId) {
        let calls = self.values.into_iter().map(|taken| {
            let row = ValueContent::taken(entry, &taken.row_key);
            swap_call(&taken.key, &taken.taking, &row.0, "")
        });
        run(&connection, calls.collect()).await;
    }
}

/// Has rows own their values that were put here while nobody writes; what readers leave under the
/// keys of these makes way.
pub(super) async fn give(
    connection: &Connection,
    rows: &[Load],
    nonce: &str,
) -> Result<(), RedisError> {
    let of_row = |row| move |key| (row, key);
    let mut left: Vec<(&Load, &String)> =
        rows.iter().flat_map(|row| row.value_keys.iter().map(of_row(row))).collect();
    while !left.is_empty() {
        let looks = left.iter().map(|(_, key)| reserve_call(key, nonce));
        let found = connection.call(&RESERVE_VALUE, looks.collect()).await?.into_iter();
        let found = found.map(reply::value_content).collect::<Result<Vec<_>, _>>()?;
        let calls = left.iter().zip(found).map(|((row, key), found)| {
            let mut call = TAKE_VALUE.call(1);
            call.arg(key).arg(&row.key.key).arg(found.0).arg(nonce);
            call.arg(row.key.partition).arg(milliseconds(TAKING_MAX));
            call
        });
        let answers = connection.call(&TAKE_VALUE, calls.collect()).await?;
        let (mut others, mut swaps) = (Vec::new(), Vec::new());
        for ((row, key), answer) in left.into_iter().zip(answers) {
            match reply::taken(answer)? {
                Some((taking, ..)) => {
                    let content = ValueContent::taken(row.entry, &row.key.key);
                    swaps.push(swap_call(key, &taking, &content.0, ""));
                }
                None => others.push((row, key)),
            }
        }
        connection.call(&SWAP_VALUE, swaps).await.and_then(reply::all_done)?;
        left = others;
    }
    Ok(())
}

/// Looks what is under a value's key, and leaves a token where nothing is.
pub(super) fn reserve_call(key: &str, token: &str) -> Cmd {
    let mut call = RESERVE_VALUE.call(1);
    call.arg(key).arg(token).arg(milliseconds(TOKEN_TTL));
    call
}

/// Changes what is under a value's key from one content to another.
pub(super) fn swap_call(key: &str, from: &str, to: &str, time_to_live: &str) -> Cmd {
    let mut call = SWAP_VALUE.call(1);
    call.arg(key).arg(from).arg(to).arg(time_to_live);
    call
}

/// Who comes next finds out by itself what was not done.
async fn run(connection: &Connection, calls: Vec<Cmd>) {
    if let Err(error) = connection.call(&SWAP_VALUE, calls).await.and_then(reply::all_done) {
        tracing::debug!(%error, "taken values were not told what became of them");
    }
}

/// Lets values expire or go whose rows were settled or are gone.
async fn expire(connection: &Connection, values: Vec<ValueToDo>) -> Result<(), RedisError> {
    let calls = values.into_iter().map(async |ValueToDo { key, arguments }| {
        let mut call = EXPIRE_VALUE.call(1);
        call.arg(key);
        for argument in arguments {
            call.arg(argument);
        }
        connection.call(&EXPIRE_VALUE, vec![call]).await.and_then(reply::all_done)
    });
    try_join_all(calls).await.map(drop)
}

/// What a script that is about unique values has answered, once what it leaves to do is done.
pub(super) async fn done(connection: &Connection, answer: Value) -> Result<Value, RedisError> {
    let (answer, values) = reply::with_values(answer)?;
    reply::all_done(vec![answer.clone()])?;
    expire(connection, values).await?;
    Ok(answer)
}

/// Makes sure that a script which has not run yet never will.
pub(super) async fn revoke(connection: &Connection, nonce_key: String) -> Result<(), RedisError> {
    let mut delete = Cmd::new();
    delete.arg("DEL").arg(nonce_key);
    read(connection.send_one(&delete).await?)
}

fn read(answer: Value) -> Result<(), RedisError> {
    reply::all_done(vec![answer])
}
