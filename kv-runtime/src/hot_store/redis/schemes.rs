//! What a queue's storage scheme lets into Redis.

use std::time::Duration;

use redis::{Cmd, RedisError, Value};

use super::connection::Connection;
use super::script::{BAR, CLOSE, LIFT, OPEN};
use super::{milliseconds, reply};
use crate::entry::EntryId;
use crate::hot_store::SchemeMark;
use crate::key::{KeySpace, Partition};
use crate::scheme::StorageScheme;

/// How long a row is kept out for a writer that does not come back: longer than a transaction of
/// PostgreSQL takes, whose statements end by themselves.
const BAR_TTL: Duration = Duration::from_secs(60);

pub(super) async fn mark(
    connection: &Connection,
    keys: &KeySpace,
    partition: Partition,
) -> Result<SchemeMark, RedisError> {
    let mut command = Cmd::new();
    command.arg("HGET").arg(keys.state(partition)).arg("scheme");
    reply::scheme_mark(connection.send_one(&command).await?)
}

pub(super) async fn close(
    connection: &Connection,
    keys: &KeySpace,
    partitions: &[Partition],
    switch: &str,
) -> Result<(), RedisError> {
    let calls = partitions.iter().map(|&partition| close_call(keys, partition, "closed", switch));
    connection.call(&CLOSE, calls.collect()).await.and_then(reply::all_done)
}

fn close_call(keys: &KeySpace, partition: Partition, mark: &str, switch: &str) -> Cmd {
    let mut call = CLOSE.call(2);
    call.arg(keys.state(partition)).arg(keys.stream(partition)).arg(mark).arg(switch);
    call
}

pub(super) async fn open(
    connection: &Connection,
    keys: &KeySpace,
    partition: Partition,
    scheme: StorageScheme,
    from: Option<EntryId>,
) -> Result<(), RedisError> {
    if scheme.is_direct() {
        let call = close_call(keys, partition, scheme.name(), "");
        return connection.call(&CLOSE, vec![call]).await.and_then(reply::all_done);
    }
    let mut call = OPEN.call(2);
    call.arg(keys.state(partition))
        .arg(keys.stream(partition))
        .arg(scheme.name())
        .arg(keys.partitions())
        .arg(from.unwrap_or(EntryId::ZERO).to_string());
    connection.call(&OPEN, vec![call]).await.and_then(reply::all_done)
}

pub(super) async fn bar(
    connection: &Connection,
    keys: &[String],
    token: &str,
) -> Result<bool, RedisError> {
    let calls = keys.iter().map(|key| {
        let mut call = BAR.call(1);
        call.arg(key).arg(token).arg(milliseconds(BAR_TTL));
        call
    });
    let answers = connection.call(&BAR, calls.collect()).await?;
    let is_out = answers.iter().all(|answer| *answer == Value::Int(1));
    reply::all_done(answers).map(|()| is_out)
}

pub(super) async fn lift(
    connection: &Connection,
    keys: &[String],
    token: &str,
) -> Result<(), RedisError> {
    let calls = keys.iter().map(|key| {
        let mut call = LIFT.call(1);
        call.arg(key).arg(token);
        call
    });
    connection.call(&LIFT, calls.collect()).await.and_then(reply::all_done)
}
