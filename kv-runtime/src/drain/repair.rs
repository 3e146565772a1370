//! Puts right what a crash, or a server that went back in time, has left between the stores.

use super::context::Context;
use super::plan::WentBack;
use super::worker::StepError;
use crate::dead_letters::DeadLetterFilter;
use crate::durable_store::{DurableStoreError, HeldRow, Offset, OffsetMove, Outcome};
use crate::entry::EntryId;
use crate::hot_store::ReadRequest;
use crate::key::{Partition, RowKey};
use crate::model::ModelDescriptor;
use crate::scheme::StorageScheme;
use crate::stores::Stores;

/// Rows of one call.
const ROWS: usize = 500;

/// Redis lost its newest entries, or all of them: goes on with those that are younger than the
/// offset, which are new.
///
/// PostgreSQL has every row at least as new as Redis has it, but for those new entries. So rows in
/// Redis go, at once or when their new entries are drained. They go first: a crash in between only
/// repeats it.
pub(super) async fn after_redis_went_back(
    context: &Context,
    stores: &Stores,
    went_back: &WentBack,
) -> Result<(), StepError> {
    let WentBack { partition, position } = *went_back;
    let before = stores.durable.offsets(&[partition]).await?;
    if before.iter().any(|offset| offset.position != position) {
        // It was trimmed by another drainer, which has moved the partition on since.
        return Err(DurableStoreError::OffsetMoved.into());
    }
    tracing::error!(error = %went_back, "the partition is repaired");
    let drained = newest_drained(stores, partition, position).await?;
    // Rows that nobody else has stay, whatever became of their entries.
    let is_kept = before.iter().any(|offset| offset.scheme == StorageScheme::RedisOnly);
    let is_of_queue = |model: &&&ModelDescriptor| model.queue == partition.queue && !is_kept;
    for model in context.models.iter().filter(is_of_queue) {
        let keys = stores.hot.scan(model, Some(partition)).await?;
        for keys in keys.chunks(ROWS) {
            let keys = without_held(context, stores, model, keys).await?;
            stores.hot.let_go(&keys, drained).await?;
        }
    }
    let transaction = stores.durable.begin(&[partition]).await?;
    let offset = transaction.offsets().first().cloned();
    let offset = offset.unwrap_or_else(|| Offset::start(partition));
    if offset.position != position {
        return Err(DurableStoreError::OffsetMoved.into());
    }
    // Without a nonce it is a place and no entry.
    let to = Offset { position: drained, nonce: String::new(), waits_at: None, ..offset.clone() };
    let moves = vec![OffsetMove { from: position, from_held: offset.held, to }];
    transaction.commit(Outcome { moves, ..Outcome::default() }).await?;
    stores.hot.rebase(partition, drained).await?;
    Ok(())
}

/// The keys of rows that have no dead letters: the others stay as they were written, and held.
async fn without_held(
    context: &Context,
    stores: &Stores,
    model: &'static ModelDescriptor,
    keys: &[String],
) -> Result<Vec<String>, StepError> {
    let rows: Vec<RowKey> =
        keys.iter().filter_map(|key| context.keys.parse_row(model, key)).collect();
    let held_row = |row: &RowKey| HeldRow {
        partition: row.partition(),
        model: model.key_prefix.into(),
        row_id: row.id.clone(),
    };
    let held = stores.durable.held(&rows.iter().map(held_row).collect::<Vec<_>>()).await?;
    let free = rows.into_iter().zip(held).filter(|(_, letter)| letter.is_none());
    Ok(free.map(|(row, _)| row.key).collect())
}

/// The offset, or what is before it where a new entry has got the same id.
async fn newest_drained(
    stores: &Stores,
    partition: Partition,
    position: EntryId,
) -> Result<EntryId, StepError> {
    let request = ReadRequest { partition, from: position, count: 1 };
    let read = stores.hot.read_entries(&[request]).await?;
    let has_same_id = read.iter().flatten().any(|entry| entry.id == position);
    Ok(if has_same_id { position.before() } else { position })
}

/// Lets rows go whose dead letters were replayed or discarded by someone who did not get so far.
pub(super) async fn finish_releases(stores: &Stores, offsets: &[Offset]) -> Result<(), StepError> {
    let partitions: Vec<Partition> = offsets.iter().map(|offset| offset.partition).collect();
    let filter = DeadLetterFilter {
        partitions: Some(partitions),
        released: true,
        ..DeadLetterFilter::default()
    };
    let letters = stores.durable.letters(&filter).await?;
    for letter in &letters {
        let of_letter = |offset: &&Offset| {
            offset.partition.queue == letter.queue && offset.partition.number == letter.partition
        };
        let Some(offset) = offsets.iter().find(of_letter) else { continue };
        for row in letter.held_rows(offset.partition) {
            // Others of its dead letters may be left.
            let held = stores.durable.held(std::slice::from_ref(&row)).await?;
            if held.iter().all(Option::is_none) {
                stores.let_go(&row, offset.position).await?;
            }
        }
    }
    let ids: Vec<i64> = letters.iter().map(|letter| letter.id).collect();
    Ok(stores.durable.forget_letters(&ids).await?)
}
