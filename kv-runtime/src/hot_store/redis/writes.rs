//! How writes are sent, and sent again where an answer was lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::failure::classify;
use super::lane::{self, SendWrites, WriteResult};
use super::{RedisHotStore, values};
use crate::hot_store::{HotStoreError, Unit, UnitOutcome, Write};

/// The waits before the retries of a write whose answer was lost.
const WRITE_RETRIES: [Duration; 3] =
    [Duration::from_millis(20), Duration::from_millis(200), Duration::from_millis(800)];

impl RedisHotStore {
    /// Makes writes, those of a partition in order.
    pub(super) async fn write_all(&self, writes: &[Arc<Write>]) -> Vec<WriteResult> {
        let partition = |write: &Arc<Write>| write.key.partition;
        let is_one = writes.windows(2).all(|pair| partition(&pair[0]) == partition(&pair[1]));
        if is_one || !self.entries.is_cluster() {
            return self.write_together(writes).await;
        }
        let mut by_partition: BTreeMap<u16, (Vec<usize>, Vec<Arc<Write>>)> = BTreeMap::new();
        for (place, write) in writes.iter().enumerate() {
            let (places, writes) = by_partition.entry(partition(write)).or_default();
            places.push(place);
            writes.push(Arc::clone(write));
        }
        let written = by_partition.values().map(async |(places, writes)| {
            let results = self.write_together(writes).await;
            places.iter().copied().zip(results).collect::<Vec<_>>()
        });
        let mut results: Vec<_> = join_all(written).await.into_iter().flatten().collect();
        results.sort_unstable_by_key(|(place, _)| *place);
        results.into_iter().map(|(_, result)| result).collect()
    }

    /// Makes writes that go over one lane.
    async fn write_together(&self, writes: &[Arc<Write>]) -> Vec<WriteResult> {
        let Some(first) = writes.first() else { return Vec::new() };
        let began_ms = self.writer.now_at_least_ms();
        let lane = self.lane(first.key.partition);
        let results = match writes {
            [write] => vec![lane.write(write, &self.writer).await],
            // They are together already. All calls go over one lane, so that a row that comes
            // twice is written in order.
            writes => {
                let connection = lane.connection();
                let calls = lane::calls(writes, connection.is_cluster());
                let calls = calls.map(|call| self.writer.send(connection, call));
                match self.entries.is_cluster() {
                    // One that is sent elsewhere could be overtaken.
                    true => one_by_one(calls).await,
                    false => join_all(calls).await.into_iter().flatten().collect(),
                }
            }
        };
        let is_unknown =
            |result: &WriteResult| matches!(result, Err(HotStoreError::OutcomeUnknown(_)));
        if !results.iter().any(is_unknown) {
            return results;
        }
        let retried = writes.iter().zip(results).map(|(write, result)| {
            // Over the lane of the first try, so that it cannot overtake that.
            retry(result, move || self.writer.call_one(lane.connection(), write, began_ms))
        });
        // Apart, because this rare case would make the future of every write larger.
        Box::pin(join_all(retried)).await
    }

    /// Makes the changes of a unit, all of them or none.
    pub(super) async fn write_as_one(&self, unit: &Unit) -> Result<UnitOutcome, HotStoreError> {
        let began_ms = self.writer.now_at_least_ms();
        let connection = self.lane(unit.partition.number).connection();
        let call = async |nonce_key| {
            let result = self.writer.call_unit(connection, unit, nonce_key, 0).await;
            retry(result, || self.writer.call_unit(connection, unit, nonce_key, began_ms)).await
        };
        if !self.entries.is_cluster() || !values::takes_values(unit) {
            return call(None).await;
        }
        let taken = values::take(connection, &self.keys, unit).await.map_err(classify)?;
        let taken = match taken {
            Ok(taken) => taken,
            Err(refusal) => return Ok(refusal),
        };
        let outcome = call(Some(taken.nonce_key.as_str())).await;
        match &outcome {
            // The write is done; whoever looks before that finds out by the row.
            Ok(UnitOutcome::Written(entry)) => {
                drop(tokio::spawn(taken.keep(connection.clone(), *entry)));
            }
            // It may be done, or be done yet.
            Err(HotStoreError::OutcomeUnknown(_)) => {}
            _ => taken.give_back(connection).await,
        }
        outcome
    }
}

async fn one_by_one(
    calls: impl Iterator<Item = impl Future<Output = Vec<WriteResult>>>,
) -> Vec<WriteResult> {
    let mut results = Vec::new();
    for call in calls {
        results.extend(call.await);
    }
    results
}

/// What becomes of a write whose answer was lost: `again` asks for it, and makes it if nothing did.
async fn retry<T, A>(
    first: Result<T, HotStoreError>,
    again: impl Fn() -> A,
) -> Result<T, HotStoreError>
where
    A: Future<Output = Result<T, HotStoreError>>,
{
    let mut result = first;
    for wait in WRITE_RETRIES {
        let Err(HotStoreError::OutcomeUnknown(error)) = &result else { break };
        tracing::debug!(%error, "the answer to a write was lost, asking for it");
        tokio::time::sleep(wait).await;
        result = match again().await {
            // Unavailable now says nothing about the first try.
            Err(HotStoreError::Unavailable(error)) => Err(HotStoreError::OutcomeUnknown(error)),
            other => other,
        };
    }
    result
}
