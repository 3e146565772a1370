//! What a queue's storage scheme lets into Redis.

use std::time::Duration;

use redis::{Cmd, RedisError, Value};

use super::connection::Connection;
use super::script::{BAR, CLOSE, LIFT, MOVE, OPEN};
use super::{milliseconds, reply};
use crate::entry::EntryId;
use crate::hot_store::SchemeMark;
use crate::key::{KeySpace, Layout, Partition};
use crate::scheme::StorageScheme;

/// How long the drained entries of partitions are kept that a queue has no more, for who tries a write
/// again.
const OLD_ENTRIES_TTL: Duration = Duration::from_secs(60 * 60);
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
        .arg(keys.partitions_with(partition))
        .arg(from.unwrap_or(EntryId::ZERO).to_string());
    connection.call(&OPEN, vec![call]).await.and_then(reply::all_done)
}

pub(super) async fn layouts(
    connection: &Connection,
    keys: &KeySpace,
    queue: &str,
) -> Result<Vec<Layout>, RedisError> {
    let mut command = Cmd::new();
    command.arg("GET").arg(keys.layouts_key(queue));
    reply::layouts(connection.send_one(&command).await?)
}

pub(super) async fn move_on(
    connection: &Connection,
    keys: &KeySpace,
    queue: &'static str,
    layouts: &[Layout],
) -> Result<(), RedisError> {
    let old = layouts.split_last().map_or(&[][..], |(_, old)| old);
    let calls = old.iter().flat_map(|layout| layout.partitions(queue)).map(|partition| {
        let mut call = MOVE.call(2);
        call.arg(keys.state(partition)).arg(keys.stream(partition));
        call.arg(milliseconds(OLD_ENTRIES_TTL));
        call
    });
    connection.call(&MOVE, calls.collect()).await.and_then(reply::all_done)?;
    let text: Vec<String> = layouts.iter().map(Layout::to_string).collect();
    let mut command = Cmd::new();
    command.arg("SET").arg(keys.layouts_key(queue)).arg(text.join(","));
    reply::all_done(vec![connection.send_one(&command).await?])
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
