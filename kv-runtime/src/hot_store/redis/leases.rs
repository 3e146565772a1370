//! The commands of leases and of memberships.

use std::time::Duration;

use redis::{Cmd, RedisError, Value};

use super::connection::Connection;
use super::script::{GIVE_BACK, JOIN, LEASE};
use super::{milliseconds, reply};
use crate::hot_store::Membership;
use crate::key::{KeySpace, Partition};

pub(super) async fn join(
    connection: &Connection,
    keys: &KeySpace,
    queue: &'static str,
    owner: &str,
    ttl: Duration,
) -> Result<Membership, RedisError> {
    let mut call = JOIN.call(1);
    call.arg(keys.drainers(queue)).arg(owner).arg(milliseconds(ttl));
    reply::membership(connection.call(&JOIN, vec![call]).await?.into_iter().next())
}

pub(super) async fn leave(
    connection: &Connection,
    keys: &KeySpace,
    queue: &'static str,
    owner: &str,
) -> Result<(), RedisError> {
    let mut command = Cmd::new();
    command.arg("ZREM").arg(keys.drainers(queue)).arg(owner);
    connection.send_one(&command).await.map(|_| ())
}

pub(super) async fn take(
    connection: &Connection,
    keys: &KeySpace,
    partitions: &[Partition],
    owner: &str,
    ttl: Duration,
) -> Result<Vec<bool>, RedisError> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let calls = partitions.iter().map(|&partition| {
        let mut call = LEASE.call(1);
        call.arg(keys.lease(partition)).arg(owner).arg(milliseconds(ttl));
        call
    });
    let answers = connection.call(&LEASE, calls.collect()).await?;
    let is_taken = |answer| match answer {
        Value::ServerError(error) => Err(RedisError::from(error)),
        answer => Ok(answer == Value::Int(1)),
    };
    answers.into_iter().map(is_taken).collect()
}

pub(super) async fn give_back(
    connection: &Connection,
    keys: &KeySpace,
    partitions: &[Partition],
    owner: &str,
) -> Result<(), RedisError> {
    if partitions.is_empty() {
        return Ok(());
    }
    let calls = partitions.iter().map(|&partition| {
        let mut call = GIVE_BACK.call(1);
        call.arg(keys.lease(partition)).arg(owner);
        call
    });
    connection.call(&GIVE_BACK, calls.collect()).await.and_then(reply::all_done)
}
