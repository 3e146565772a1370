//! The dirty rows of a model: what PostgreSQL does not have as it is.
//!
//! They are read before PostgreSQL is asked, in this order: how far the queues are settled, the
//! entries behind that, the rows that these name, and which rows are held. A row that is settled
//! meanwhile is in PostgreSQL by the time that is asked. One that is not among them was settled
//! before the first look, so PostgreSQL has it as it was then, or as it became later.

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;

use super::consistency::Behind;
use super::select::Dirty;
use crate::entry::{EntryId, RawEntry};
use crate::error::{Error, Operation};
use crate::hot_store::{HotStoreError, ReadOutcome, ReadSize, Tail};
use crate::key::{self, Partition, RowKey};
use crate::model::ModelDescriptor;
use crate::settled::SettledWatch;
use crate::stores::Stores;
use std::sync::Arc;

/// How many rows are read at once, so that nobody on the same connection waits for long.
const READ_AT_ONCE: usize = 1_000;

/// The dirty rows of a model, at least those that were dirty when this was called.
pub(super) async fn dirty_rows(
    stores: &Arc<Stores>,
    model: &'static ModelDescriptor,
    at: Operation,
) -> Result<Dirty, Error> {
    let from_hot = |error| Error::from_hot(at, "", error);
    let tails = Tails::read(stores, model).await.map_err(from_hot)?;
    let mut seen = HashSet::new();
    let mut keys = Vec::new();
    if tails.undrained() > stores.settings.overlay_max {
        tails.wait_until_passed(stores, at).await?;
    } else {
        for entry in tails.entries(stores).await.map_err(from_hot)? {
            keys.extend(rows_of(&entry, stores, model).filter(|key| seen.insert(key.id.clone())));
        }
    }
    let (read, held) = tokio::join!(read_rows(stores, &keys), stores.durable.held_rows_of(model));
    let mut dirty = read.map_err(from_hot)?;
    let held = held.map_err(|error| Error::from_durable(at, error))?;
    let held: Vec<RowKey> = held
        .iter()
        .filter_map(|row_id| key_of(row_id, stores, model))
        .filter(|key| seen.insert(key.id.clone()))
        .collect();
    let held = read_rows(stores, &held).await.map_err(from_hot)?;
    dirty.ids.extend(held.ids);
    dirty.rows.extend(held.rows);
    Ok(dirty)
}

/// The rows of the model that an entry changes.
fn rows_of(
    entry: &RawEntry,
    stores: &Stores,
    model: &'static ModelDescriptor,
) -> impl Iterator<Item = RowKey> {
    let rows = entry.rows().into_iter();
    rows.filter(move |(key_prefix, _)| *key_prefix == model.key_prefix)
        .filter_map(move |(_, row_id)| key_of(&row_id, stores, model))
}

/// The key of a row, unless its id is not one of the model as it is now.
fn key_of(row_id: &str, stores: &Stores, model: &'static ModelDescriptor) -> Option<RowKey> {
    let id = key::parse_id(row_id).filter(|id| id.len() == model.id.len())?;
    Some(stores.keys.row(model, id))
}

/// The rows as the hot side has them; those that it does not have any more are left out, because
/// they were settled meanwhile.
async fn read_rows(stores: &Stores, keys: &[RowKey]) -> Result<Dirty, HotStoreError> {
    let mut dirty = Dirty::default();
    for keys in keys.chunks(READ_AT_ONCE) {
        for (key, outcome) in keys.iter().zip(stores.hot.read(keys).await?) {
            match outcome {
                ReadOutcome::Row(row) => {
                    dirty.ids.push(key.id_values.clone());
                    dirty.rows.push(row);
                }
                ReadOutcome::Deleted => dirty.ids.push(key.id_values.clone()),
                ReadOutcome::Missing { .. } => {}
            }
        }
    }
    Ok(dirty)
}

/// How far PostgreSQL is behind the hot side with a model's queue.
pub(super) async fn behind(
    stores: &Stores,
    model: &'static ModelDescriptor,
) -> Result<Behind, HotStoreError> {
    let tails = Tails::read(stores, model).await?;
    let first = stores.hot.entries_behind(&tails.places(), 1).await?;
    let oldest = first.iter().flatten().map(|entry| entry.id);
    let age = oldest.min().map_or(Duration::ZERO, |entry| {
        let written = UNIX_EPOCH + Duration::from_millis(entry.milliseconds);
        SystemTime::now().duration_since(written).unwrap_or_default()
    });
    Ok(Behind { entries: tails.undrained(), age, ..Behind::default() })
}

/// What is not settled of the partitions of a queue.
struct Tails {
    partitions: Vec<Partition>,
    tails: Vec<Tail>,
}

impl Tails {
    async fn read(stores: &Stores, model: &'static ModelDescriptor) -> Result<Self, HotStoreError> {
        // It says which partitions the queue has.
        stores.scheme(model).await?;
        let mut tails = Self::read_there(stores, model).await?;
        if tails.tails.iter().any(|tail| tail.is_moved) {
            stores.learn_layouts(model.queue).await;
            tails = Self::read_there(stores, model).await?;
        }
        Ok(tails)
    }

    async fn read_there(
        stores: &Stores,
        model: &'static ModelDescriptor,
    ) -> Result<Self, HotStoreError> {
        let partitions: Vec<Partition> = stores.keys.partitions_of(model.queue).collect();
        let tails = stores.hot.tails(&partitions).await?;
        Ok(Self { partitions, tails })
    }

    fn undrained(&self) -> u64 {
        self.tails.iter().map(|tail| tail.undrained).sum()
    }

    /// Behind which entry each begins.
    fn places(&self) -> Vec<(Partition, EntryId)> {
        let settled = self.tails.iter().map(|tail| tail.settled);
        self.partitions.iter().copied().zip(settled).collect()
    }

    /// The entries that are not settled.
    async fn entries(&self, stores: &Stores) -> Result<Vec<RawEntry>, HotStoreError> {
        let mut entries = Vec::new();
        // All are asked for, whatever they count: an entry that is missed is a row that is wrong.
        let mut places = self.places();
        let mut with_entries = self.tails.iter().filter(|tail| tail.undrained > 0).count();
        let mut size = ReadSize::default();
        while !places.is_empty() {
            let count = size.count().div_ceil(with_entries.max(1));
            let read = stores.hot.entries_behind(&places, count).await?;
            size.learn(read.iter().flatten());
            let goes_on = places.iter().zip(&read).filter(|(_, read)| read.len() >= count);
            places = goes_on
                .filter_map(|((partition, _), read)| Some((*partition, read.last()?.id)))
                .collect();
            with_entries = places.len();
            entries.extend(read.into_iter().flatten());
        }
        Ok(entries)
    }

    /// Waits until the drainer has passed all that there is, so that PostgreSQL has it.
    async fn wait_until_passed(&self, stores: &Arc<Stores>, at: Operation) -> Result<(), Error> {
        let waited = stores.settings.overlay_timeout;
        let passed = async {
            let states = stores.hot.states(&self.partitions).await?;
            let newest = || self.partitions.iter().zip(states.iter().map(|state| state.newest));
            loop {
                let tails = stores.hot.tails(&self.partitions).await?;
                let left: Vec<_> = newest()
                    .zip(tails)
                    .filter(|((_, newest), tail)| *newest > tail.settled)
                    .map(|((&partition, newest), _)| {
                        SettledWatch::passed(stores, partition, newest)
                    })
                    .collect();
                if left.is_empty() {
                    return Ok(());
                }
                join_all(left).await;
            }
        };
        match tokio::time::timeout(waited, passed).await {
            Ok(passed) => passed.map_err(|error| Error::from_hot(at, "", error)),
            Err(_) => Err(Error::Behind { at, waited }),
        }
    }
}
