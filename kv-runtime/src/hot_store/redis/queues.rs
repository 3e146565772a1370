//! How far queues were written and settled, and their entries.

use redis::{Pipeline, RedisError};

use super::connection::Connection;
use super::reply;
use crate::entry::{EntryId, RawEntry};
use crate::hot_store::{PartitionState, ReadRequest, Tail};
use crate::key::{KeySpace, Partition};

/// Entries, for each request in order.
pub(super) async fn read(
    connection: &Connection,
    keys: &KeySpace,
    requests: &[ReadRequest],
) -> Result<Vec<Vec<RawEntry>>, RedisError> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let mut pipeline = Pipeline::with_capacity(requests.len());
    for request in requests {
        pipeline
            .cmd("XRANGE")
            .arg(keys.stream(request.partition))
            .arg(request.from.to_string())
            .arg("+")
            .arg("COUNT")
            .arg(request.count);
    }
    connection.send(&pipeline).await?.into_iter().map(reply::entries).collect()
}

/// The first entries behind a place in each partition.
pub(super) async fn read_behind(
    connection: &Connection,
    keys: &KeySpace,
    places: &[(Partition, EntryId)],
    count: usize,
) -> Result<Vec<Vec<RawEntry>>, RedisError> {
    if places.is_empty() {
        return Ok(Vec::new());
    }
    if connection.is_cluster() {
        let mut pipeline = Pipeline::with_capacity(places.len());
        for (partition, place) in places {
            let behind = format!("({place}");
            let stream = keys.stream(*partition);
            pipeline.cmd("XRANGE").arg(stream).arg(behind).arg("+").arg("COUNT").arg(count);
        }
        return connection.send(&pipeline).await?.into_iter().map(reply::entries).collect();
    }
    let streams: Vec<String> =
        places.iter().map(|(partition, _)| keys.stream(*partition)).collect();
    let mut command = redis::cmd("XREAD");
    command.arg("COUNT").arg(count).arg("STREAMS").arg(&streams);
    for (_, place) in places {
        command.arg(place.to_string());
    }
    // In the order of the question, without those where there is nothing.
    let mut answered = reply::streams(connection.send_one(&command).await?)?.into_iter().peekable();
    let of = |stream: &String| answered.next_if(|(name, _)| name == stream);
    Ok(streams.iter().map(of).map(|read| read.map(|(_, read)| read).unwrap_or_default()).collect())
}

/// How far partitions were written and settled.
pub(super) async fn states(
    connection: &Connection,
    keys: &KeySpace,
    partitions: &[Partition],
) -> Result<Vec<PartitionState>, RedisError> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let mut pipeline = Pipeline::with_capacity(partitions.len() * 3);
    for &partition in partitions {
        let stream = keys.stream(partition);
        pipeline
            .cmd("HMGET")
            .arg(keys.state(partition))
            .arg(&["retained", "position", "trimmed", "scheme"]);
        pipeline.cmd("XLEN").arg(&stream);
        pipeline.cmd("XREVRANGE").arg(stream).arg("+").arg("-").arg("COUNT").arg(1);
    }
    let mut answers = connection.send(&pipeline).await?.into_iter();
    let mut states = Vec::with_capacity(partitions.len());
    while let (Some(counters), Some(length), Some(last)) =
        (answers.next(), answers.next(), answers.next())
    {
        states.push(reply::state(counters, &length, last)?);
    }
    Ok(states)
}

/// What of partitions is not settled. Their newest entries would come with all they say.
pub(super) async fn tails(
    connection: &Connection,
    keys: &KeySpace,
    partitions: &[Partition],
) -> Result<Vec<Tail>, RedisError> {
    let mut pipeline = Pipeline::with_capacity(partitions.len() * 2);
    for &partition in partitions {
        pipeline.cmd("HMGET").arg(keys.state(partition)).arg(&["retained", "position", "scheme"]);
        pipeline.cmd("XLEN").arg(keys.stream(partition));
    }
    let mut answers = connection.send(&pipeline).await?.into_iter();
    let mut tails = Vec::with_capacity(partitions.len());
    while let (Some(counters), Some(length)) = (answers.next(), answers.next()) {
        tails.push(reply::tail(counters, &length)?);
    }
    Ok(tails)
}
